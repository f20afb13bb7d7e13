//! Header sections and replies of strangers, and the reports that are made of them.

use jiff::Timestamp;
use postern_message::address_list;
use postern_message::dsn::{Kind, Original, Recipient, Report, TlsDemand};
use postern_message::header::Headers;
use postern_message::inspect::Inspector;
use postern_smtp::address::Mailbox;
use postern_smtp::outcome::{Reason, Step, Trouble};
use postern_smtp::reply::{Enhanced, Reply, ReplyParser};

use crate::assert_clean;
use crate::tape::Tape;

/// The fields that may stand in the head of a report.
const REPORT_FIELDS: &[&str] = &[
    "From",
    "To",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Auto-Submitted",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

/// A header section and an address list: what is found lies where it says, does not depend on how the content was cut,
/// and every mailbox is one that a path could hold.
pub fn header(data: &[u8]) {
    let (headers, problem) = Headers::scan(data);
    assert_eq!(Headers::parse(data).is_ok(), problem.is_none());
    let mut behind = 0;
    for field in headers.iter() {
        assert!(field.range.start >= behind && field.range.end <= data.len());
        behind = field.range.end;
        assert!(data[field.range.clone()].starts_with(field.name.as_bytes()));
        assert!(!field.text().contains(['\r', '\n']));
        mailboxes(field.value);
    }
    mailboxes(data);
    let whole = inspect(data, data.len().max(1));
    assert_eq!(whole, inspect(data, 1));
    assert_eq!(whole, inspect(data, 7));
}

/// A report about whatever a sender and a next hop said: a message of three parts, whose head and boundaries are ours.
pub fn dsn(data: &[u8]) {
    let (mut tape, said) = Tape::split(data);
    let original = clean_lines(said);
    let words = String::from_utf8_lossy(said);
    let mailbox = |text: &str| text.parse::<Mailbox>().expect("an address");
    let (postmaster, sender) = (mailbox("postmaster@example.org"), mailbox("ann@example.org"));
    let kind = tape.pick(&[Kind::Failed, Kind::Delayed, Kind::Delivered, Kind::Relayed]);
    let (headers, _) = Headers::scan(&original);
    let message_id = headers.message_id();
    let report = Report {
        kind,
        reporting_mta: "mail.example.org",
        arrival: Timestamp::UNIX_EPOCH,
        envid: Some(&words),
        from_address: &postmaster,
        to: &sender,
        message_id: tape.pick(&[message_id.as_deref(), Some(&words)]),
        queue_id: "4cX9",
        recipients: vec![recipient(kind, said, &words, &mut tape)],
        original: tape.pick(&[Original::Headers(&original), Original::Full(&original)]),
        tls: tape.pick(&[TlsDemand::Unsaid, TlsDemand::Always]),
        utf8: tape.next() % 2 == 1,
    };
    let composed = report.compose(Timestamp::UNIX_EPOCH, "4cY1");
    assert_clean(&composed);
    assert_ours(&composed);
}

fn inspect(data: &[u8], piece: usize) -> postern_message::inspect::Inspection {
    let mut inspector = Inspector::new(64);
    data.chunks(piece).for_each(|piece| inspector.feed(piece));
    inspector.finish()
}

fn mailboxes(value: &[u8]) {
    for mailbox in address_list::parse(value).unwrap_or_default() {
        assert_eq!(mailbox.to_string().parse::<Mailbox>(), Ok(mailbox));
    }
}

fn recipient(kind: Kind, said: &[u8], words: &str, tape: &mut Tape<'_>) -> Recipient {
    let reply = ReplyParser::new().feed(said).ok().and_then(|(_, reply)| reply);
    let raw = Reply { code: 550, enhanced: None, lines: words.split('\n').map(str::to_owned).collect() };
    let reasons = [Reason::Refused, Reason::Expired, Reason::Protocol(words.to_owned())];
    let address = tape.pick(&["bob@example.net", "\"a> b\"@example.net", "ü@bücher.example"]);
    Recipient {
        address: address.parse().expect("an address"),
        original: None,
        action: kind,
        status: Enhanced::new(5, 1, 1),
        trouble: Some(Trouble::new(Step::Rcpt, tape.pick(&reasons)).with_reply(reply.or(Some(raw)))),
        last_trouble: None,
        explanation: Some(words.to_owned()),
        remote_mta: Some(words.to_owned()),
        diagnostic: None,
        last_attempt: Some(Timestamp::UNIX_EPOCH),
        will_retry_until: Some(Timestamp::UNIX_EPOCH),
    }
}

/// Content as a session passes it on.
fn clean_lines(data: &[u8]) -> Vec<u8> {
    let lines: Vec<_> = data.split(|octet| *octet == b'\n').collect();
    let mut clean = lines.join(&b"\r\n"[..]);
    let mut before = 0;
    clean = clean
        .iter()
        .enumerate()
        .filter(|(at, octet)| **octet != 0 && (**octet != b'\r' || clean.get(at + 1) == Some(&b'\n')))
        .map(|(_, octet)| *octet)
        .collect();
    clean.retain(|octet| {
        let keep = !(*octet == b'\r' && before == b'\r');
        before = *octet;
        keep
    });
    clean
}

fn assert_ours(report: &[u8]) {
    let text = String::from_utf8_lossy(report);
    let (head, body) = text.split_once("\r\n\r\n").expect("a head and a body");
    let head = format!("{head}\r\n");
    let headers = Headers::parse(head.as_bytes()).expect("a well-formed head");
    for field in headers.iter() {
        assert!(REPORT_FIELDS.contains(&field.name), "{}", field.name);
        assert_eq!(headers.all(field.name).count(), 1, "{}", field.name);
    }
    let kind = headers.find("Content-Type").expect("a type").text();
    let (_, boundary) = kind.split_once("boundary=\"").expect("a boundary");
    let delimiter = format!("--{}", boundary.trim_end_matches('"'));
    assert_eq!(
        body.split("\r\n").filter(|line| line.starts_with(&delimiter)).count(),
        4,
        "three parts and the end"
    );
}
