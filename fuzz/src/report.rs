//! TLS reports of strangers: as they are, compressed, and in a message.

use jiff::Timestamp;
use postern_message::header::Headers;
use postern_message::tls_report::{Mail, TlsReport, extract, gzip};
use postern_smtp::address::Mailbox;

use crate::assert_clean;

/// The example of RFC 8460, Appendix B.
const EXAMPLE: &[u8] = include_bytes!("../../crates/message/tests/reports/rfc8460.json");

/// A report in any wrapping: what is understood of it is harmless, and survives being written, compressed and mailed.
pub fn tls_report(data: &[u8]) {
    let plain = TlsReport::parse(data);
    assert_eq!(TlsReport::unpack(&gzip(data)), plain);
    for report in [plain.ok(), TlsReport::unpack(data).ok(), extract(data).ok()].into_iter().flatten() {
        assert_harmless(&report);
        assert_eq!(TlsReport::parse(&report.to_json()).as_ref(), Ok(&report));
        let mail = compose(&report);
        assert_clean(&mail);
        assert_ours(&mail);
        assert_eq!(extract(&mail).as_ref(), Ok(&report));
    }
}

/// What to begin with: a good report in each of its wrappings, and its name.
pub fn tls_report_seeds() -> Vec<(&'static str, Vec<u8>)> {
    let report = TlsReport::parse(EXAMPLE).expect("the example of the RFC");
    vec![("json", EXAMPLE.to_vec()), ("gzip", gzip(EXAMPLE)), ("mail", compose(&report))]
}

fn compose(report: &TlsReport) -> Vec<u8> {
    let mailbox = |text: &str| text.parse::<Mailbox>().expect("an address");
    report.compose_mail(&Mail {
        from: &mailbox("tlsrpt@example.org"),
        to: &mailbox("reports@example.net"),
        domain: "example.net",
        submitter: "mail.example.org",
        now: Timestamp::UNIX_EPOCH,
        unique: "4cY1",
    })
}

fn assert_harmless(report: &TlsReport) {
    let policies = report.policies.iter();
    let failures = report.policies.iter().flat_map(|entry| &entry.failures);
    let texts = [&report.organization, &report.report_id]
        .into_iter()
        .chain(&report.contact_info)
        .chain(policies.flat_map(|entry| entry.policy.strings.iter().chain(&entry.policy.mx_hosts)))
        .chain(
            failures.flat_map(|failure| failure.failure_reason_code.iter().chain(&failure.receiving_mx_helo)),
        );
    for text in texts {
        assert!(!text.contains(char::is_control), "{text:?}");
    }
    assert!(report.date_range.start <= report.date_range.end);
}

fn assert_ours(mail: &[u8]) {
    let text = String::from_utf8_lossy(mail);
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let head = format!("{head}\r\n");
    let headers = Headers::parse(head.as_bytes()).expect("a well-formed head");
    assert_eq!(headers.iter().count(), 11);
    let kind = headers.find("Content-Type").expect("a type").text();
    let (_, boundary) = kind.split_once("boundary=\"").expect("a boundary");
    let delimiter = format!("--{}", boundary.trim_end_matches('"'));
    let delimiters = body.split("\r\n").filter(|line| line.starts_with(&delimiter)).count();
    assert_eq!(delimiters, 3, "two parts and the end");
}
