//! TLS reports: those of others as they really come, hostile ones, and ours as a mail program sees them.

use std::io::Write;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use postern_message::header::Headers;
use postern_message::tls_report::{
    DateRange, ExtractError, FailureDetail, MAX_FAILURES, MAX_JSON, MAX_LINES, MAX_MAIL, MAX_POLICIES, Mail,
    ParseError, Policy, PolicyKind, PolicyReport, ResultType, TlsReport, extract, gunzip, gzip,
};
use postern_smtp::address::Mailbox;
use proptest::prelude::*;
use serde_json::{Value, json};

/// RFC 8460, Appendix B.
const EXAMPLE: &str = include_str!("reports/rfc8460.json");

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn mailbox(text: &str) -> Mailbox {
    text.parse().expect("a mailbox")
}

fn example() -> TlsReport {
    TlsReport::parse(EXAMPLE.as_bytes()).expect("the example of the RFC")
}

fn compose(report: &TlsReport) -> Vec<u8> {
    let (from, to) = (mailbox("tlsrpt@company-x.example"), mailbox("reports@company-y.example"));
    report.compose_mail(&Mail {
        from: &from,
        to: &to,
        domain: "company-y.example",
        submitter: "mail.company-x.example",
        now: at("2016-04-02T01:00:00Z"),
        unique: "4cY1",
    })
}

/// The example with one of its members changed.
fn changed(pointer: &str, value: Value) -> Vec<u8> {
    let mut report: Value = serde_json::from_str(EXAMPLE).expect("JSON");
    *report.pointer_mut(pointer).expect("a member") = value;
    serde_json::to_vec(&report).expect("JSON")
}

fn without(pointer: &str, member: &str) -> Vec<u8> {
    let mut report: Value = serde_json::from_str(EXAMPLE).expect("JSON");
    let holder = report.pointer_mut(pointer).and_then(Value::as_object_mut).expect("an object");
    holder.remove(member).expect("a member");
    serde_json::to_vec(&report).expect("JSON")
}

fn why_refused(json: &[u8]) -> String {
    TlsReport::parse(json).expect_err("refused").to_string()
}

#[test]
fn the_example_of_the_rfc_is_understood() {
    let report = example();
    assert_eq!(report.organization, "Company-X");
    assert_eq!(report.date_range.start, at("2016-04-01T00:00:00Z"));
    assert_eq!(report.date_range.end, at("2016-04-01T23:59:59Z"));
    assert_eq!(report.contact_info.as_deref(), Some("sts-reporting@company-x.example"));
    assert_eq!(report.report_id, "5065427c-23d3-47ca-b6e0-946ea0e8c4be");
    let [only] = report.policies.as_slice() else { panic!("one policy") };
    assert_eq!(only.policy.kind, PolicyKind::Sts);
    assert_eq!(only.policy.strings.len(), 4);
    assert_eq!(only.policy.domain, "company-y.example");
    assert_eq!(only.policy.mx_hosts, ["*.mail.company-y.example"]);
    assert_eq!((only.successful, only.failed), (5326, 303));
    let results: Vec<_> = only.failures.iter().map(|failure| failure.result.as_str()).collect();
    assert_eq!(results, ["certificate-expired", "starttls-not-supported", "validation-failure"]);
    let second = &only.failures[1];
    assert_eq!(second.failed_sessions, 200);
    assert_eq!(second.receiving_ip.as_deref(), Some("203.0.113.56"));
    assert_eq!(second.receiving_mx_helo, None);
    assert!(second.additional_information.as_deref().is_some_and(|uri| uri.starts_with("https://")));
    let code = only.failures[2].failure_reason_code.as_deref();
    assert_eq!(code, Some("X509_V_ERR_PROXY_PATH_LENGTH_EXCEEDED"));
}

#[test]
fn the_example_written_again_has_the_same_members() {
    let mut expected: Value = serde_json::from_str(EXAMPLE).expect("JSON");
    // The text of the RFC says that this is a list; its example has it otherwise.
    expected["policies"][0]["policy"]["mx-host"] = json!(["*.mail.company-y.example"]);
    let written: Value = serde_json::from_slice(&example().to_json()).expect("JSON");
    assert_eq!(written, expected);
}

#[test]
fn a_policy_that_was_not_found_has_neither_lines_nor_hosts() {
    let mut report = example();
    report.policies[0] = PolicyReport {
        policy: Policy {
            kind: PolicyKind::NoPolicyFound,
            strings: Vec::new(),
            domain: "example.net".into(),
            mx_hosts: Vec::new(),
        },
        successful: 7,
        failed: 0,
        failures: Vec::new(),
    };
    let written: Value = serde_json::from_slice(&report.to_json()).expect("JSON");
    let expected = json!({
        "policy": { "policy-type": "no-policy-found", "policy-domain": "example.net" },
        "summary": { "total-successful-session-count": 7, "total-failure-session-count": 0 }
    });
    assert_eq!(written["policies"][0], expected);
    assert_eq!(TlsReport::parse(&report.to_json()), Ok(report));
}

#[test]
fn what_real_senders_leave_out_or_write_otherwise_is_understood() {
    let policy = "/policies/0/policy";
    let sloppy = [
        without("", "contact-info"),
        changed("/contact-info", Value::Null),
        without("/policies/0", "failure-details"),
        changed("/policies/0/failure-details", Value::Null),
        changed("/policies/0/failure-details", json!([])),
        changed("/policies/0/failure-details/0/sending-mta-ip", Value::Null),
        changed("/policies/0/failure-details/0/sending-mta-ip", json!("")),
        without(policy, "mx-host"),
        changed("/policies/0/policy/mx-host", Value::Null),
        changed("/policies/0/policy/mx-host", json!(["a.example", "b.example"])),
        without(policy, "policy-string"),
        changed("/policies/0/policy/policy-string", json!("version: STSv1")),
        without("/policies/0/summary", "total-failure-session-count"),
        without("/policies/0/failure-details/0", "failed-session-count"),
        changed("/policies/0/policy/policy-domain", json!({"unknown": [1]})),
    ];
    let (wrong, good) = sloppy.split_last().expect("some");
    for json in good {
        assert!(TlsReport::parse(json).is_ok(), "{}", String::from_utf8_lossy(json));
    }
    assert!(TlsReport::parse(wrong).is_err());
}

#[test]
fn unknown_members_are_skipped_and_unknown_results_kept() {
    let mut report: Value = serde_json::from_str(EXAMPLE).expect("JSON");
    report["policies"][0]["failure-details"][0]["result-type"] = json!("quantum-doubt");
    report["policies"][0]["failure-details"][0]["severity"] = json!({ "a": [1.5, null] });
    report["policies"][0]["x"] = json!(1);
    report["version"] = json!("2");
    let read = TlsReport::parse(&serde_json::to_vec(&report).expect("JSON")).expect("understood");
    assert_eq!(read.policies[0].failures[0].result, ResultType::Other("quantum-doubt".into()));
}

#[test]
fn every_registered_result_is_known_by_its_name() {
    let names = [
        "starttls-not-supported",
        "certificate-host-mismatch",
        "certificate-expired",
        "certificate-not-trusted",
        "validation-failure",
        "tlsa-invalid",
        "dnssec-invalid",
        "dane-required",
        "sts-policy-fetch-error",
        "sts-policy-invalid",
        "sts-webpki-invalid",
    ];
    for name in names {
        let result = ResultType::named(name);
        assert_eq!(result.as_str(), name);
        assert!(!matches!(result, ResultType::Other(_)), "{name}");
    }
}

#[test]
fn wrong_types_are_refused_and_the_error_says_what_and_where() {
    for (pointer, value, what) in [
        ("/organization-name", json!(1), "a string"),
        ("/policies", json!({}), "a list of policies"),
        ("/policies/0/policy/mx-host", json!(5), "a list"),
        ("/policies/0/policy/mx-host", json!([5]), "a string"),
        ("/policies/0/policy/policy-type", json!("none"), "unknown variant"),
        ("/policies/0/summary/total-failure-session-count", json!("303"), "u64"),
        ("/policies/0/summary/total-failure-session-count", json!(-1), "u64"),
        ("/policies/0/summary/total-failure-session-count", json!(1.5), "u64"),
        ("/policies/0/failure-details/0", json!("x"), "invalid type"),
        ("/date-range/end-datetime", json!("yesterday"), "yesterday"),
    ] {
        let why = why_refused(&changed(pointer, value));
        assert!(why.contains(what) && why.contains("line 1 column"), "{pointer}: {why}");
    }
    assert!(why_refused(&without("", "report-id")).contains("missing field `report-id`"));
    assert!(why_refused(&without("/policies/0", "summary")).contains("missing field `summary`"));
    let huge = EXAMPLE.replace("5326", "18446744073709551616");
    assert!(why_refused(huge.as_bytes()).contains("u64"));
    let twice = EXAMPLE.replacen("\"report-id\"", "\"report-id\": \"x\", \"report-id\"", 1);
    assert!(why_refused(twice.as_bytes()).contains("duplicate field"));
}

#[test]
fn a_range_that_ends_before_it_begins_is_refused() {
    let json = changed("/date-range/end-datetime", json!("2016-03-31T23:59:59Z"));
    assert_eq!(TlsReport::parse(&json), Err(ParseError::BackwardRange));
}

#[test]
fn control_characters_reach_nobody_and_errors_hold_none_either() {
    let report = changed("/organization-name", json!("Evil\u{1b}[2J\r\nCorp\u{202e}\u{0}"));
    let report = TlsReport::parse(&report).expect("understood");
    assert_eq!(report.organization, "Evil?[2J??Corp??");
    let why = why_refused(&changed("/policies/0/policy/policy-type", json!("\u{1b}[31m\n")));
    assert!(!why.contains(char::is_control), "{why:?}");
}

#[test]
fn too_much_of_anything_is_refused_before_it_is_kept() {
    let many = |value: Value, count: usize| Value::Array(vec![value; count]);
    let detail = json!({ "result-type": "x" });
    let entry: Value = serde_json::from_str::<Value>(EXAMPLE).expect("JSON")["policies"][0].clone();
    let details = "/policies/0/failure-details";
    let lines = "/policies/0/policy/policy-string";
    let too_many = |json: Vec<u8>, what| {
        let Err(ParseError::TooMany { what: found, .. }) = TlsReport::parse(&json) else { panic!("{what}") };
        assert_eq!(found, what);
    };
    too_many(changed("/policies", many(entry.clone(), MAX_POLICIES + 1)), "policies");
    too_many(changed(details, many(detail.clone(), MAX_FAILURES + 1)), "failure details");
    too_many(changed(lines, many(json!("x"), MAX_LINES)), "lines of policies");
    assert!(TlsReport::parse(&changed("/policies", many(entry, MAX_POLICIES))).is_ok());
    assert!(TlsReport::parse(&changed(details, many(detail, MAX_FAILURES))).is_ok());
    let spread = json!({
        "policy": { "policy-type": "sts", "policy-domain": "x" }, "summary": {},
        "failure-details": many(json!({ "result-type": "x" }), MAX_FAILURES / 10)
    });
    too_many(changed("/policies", many(spread, 11)), "failure details");
}

#[test]
fn deep_nesting_and_large_input_are_refused() {
    let deep = EXAMPLE.replacen('{', &format!("{{\"x\": {},", "[".repeat(100_000)), 1);
    assert!(matches!(TlsReport::parse(deep.as_bytes()), Err(ParseError::Malformed(_))));
    let closed = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let _ = TlsReport::parse(EXAMPLE.replacen('{', &format!("{{\"x\": {closed},"), 1).as_bytes());
    let large = format!("{EXAMPLE}{}", " ".repeat(MAX_JSON));
    assert_eq!(TlsReport::parse(large.as_bytes()), Err(ParseError::TooLarge));
    for json in ["", "null", "[]", "{}", "\u{feff}{}", "<html>", "{\"policies\": []}"] {
        assert!(matches!(TlsReport::parse(json.as_bytes()), Err(ParseError::Malformed(_))), "{json}");
    }
}

#[test]
fn compressed_and_plain_reports_are_told_apart_by_their_octets() {
    let report = example();
    assert_eq!(TlsReport::unpack(&gzip(&report.to_json())), Ok(report.clone()));
    assert_eq!(TlsReport::unpack(&report.to_json()), Ok(report));
}

#[test]
fn a_bomb_is_not_unpacked() {
    let bomb = gzip(&vec![b' '; MAX_JSON + 1]);
    assert!(bomb.len() < 20_000);
    assert_eq!(gunzip(&bomb), Err(ParseError::TooLarge));
    assert_eq!(gunzip(&gzip(&vec![b' '; MAX_JSON])).map(|json| json.len()), Ok(MAX_JSON));
    assert_eq!(gunzip(&vec![0; MAX_JSON + 1]), Err(ParseError::TooLarge));
}

#[test]
fn broken_compression_is_an_error() {
    let packed = gzip(EXAMPLE.as_bytes());
    assert!(matches!(gunzip(&packed[..packed.len() / 2]), Err(ParseError::Gzip(_))));
    assert!(matches!(gunzip(b""), Err(ParseError::Gzip(_))));
    let mut spoilt = packed.clone();
    let last = spoilt.len() - 5;
    spoilt[last] ^= 1;
    assert!(matches!(gunzip(&spoilt), Err(ParseError::Gzip(_))), "the checksum is looked at");
    assert_eq!(gunzip(&[packed.as_slice(), b"\r\n"].concat()).as_deref(), Ok(EXAMPLE.as_bytes()));
}

#[test]
fn the_file_name_has_the_form_of_the_rfc() {
    let report = TlsReport { report_id: "0-0.1!/..".into(), ..example() };
    let name = report.file_name("mail.company-x.example", "company-y.example");
    assert_eq!(name, "mail.company-x.example!company-y.example!1459468800!1459555199!001.json.gz");
    let nameless = TlsReport { report_id: "../".into(), ..example() };
    assert_eq!(nameless.file_name("a/../b\"", "c!d"), "a?..?b?!c?d!1459468800!1459555199.json.gz");
}

#[test]
fn our_mail_has_the_head_that_the_rfc_wants_and_asks_to_travel_without_tls() {
    let mail = String::from_utf8(compose(&example())).expect("ASCII");
    let (head, body) = mail.split_once("\r\n\r\n").expect("a head and a body");
    let head = format!("{head}\r\n");
    let headers = Headers::parse(head.as_bytes()).expect("a good head");
    let field =
        |name: &str| headers.find(name).map(|field| field.text().trim().to_owned()).unwrap_or_default();
    assert_eq!(field("From"), "TLS reports <tlsrpt@company-x.example>");
    assert_eq!(field("To"), "<reports@company-y.example>");
    assert_eq!(
        field("Subject"),
        "Report Domain: company-y.example Submitter: mail.company-x.example Report-ID: \
         <5065427c-23d3-47ca-b6e0-946ea0e8c4be@mail.company-x.example>"
    );
    assert_eq!(field("TLS-Report-Domain"), "company-y.example");
    assert_eq!(field("TLS-Report-Submitter"), "mail.company-x.example");
    assert_eq!(field("TLS-Required"), "No");
    assert_eq!(field("Auto-Submitted"), "auto-generated");
    assert!(field("Content-Type").starts_with("multipart/report; report-type=\"tlsrpt\"; boundary="));
    assert!(mail.is_ascii() && mail.lines().all(|line| line.len() <= 200));
    for sentence in
        ["from Company-X", "as they should be: 5326", "failed: 303", "starttls-not-supported: 200"]
    {
        assert!(body.contains(sentence), "{sentence}: {body}");
    }
    let places = ["starttls-not-supported: 200", "certificate-expired: 100", "validation-failure: 3"]
        .map(|kind| body.find(kind).expect("told"));
    assert!(places.is_sorted(), "the most frequent first");
}

#[test]
fn our_own_mail_is_understood_again() {
    let report = example();
    assert_eq!(extract(&compose(&report)), Ok(report));
}

/// Python's reader stands for the programs that take reports in.
#[test]
fn python_finds_the_report_in_our_mail() {
    let program = "import email, email.policy, gzip, json, sys\n\
                   m = email.message_from_binary_file(sys.stdin.buffer, policy=email.policy.default)\n\
                   r = m.get_payload(1)\n\
                   print(m.get_content_type(), m.get_param('report-type'), len(m.get_payload()))\n\
                   print(m['Subject'])\n\
                   print(r.get_content_type(), r.get_filename())\n\
                   print(json.loads(gzip.decompress(r.get_content()))['report-id'])\n\
                   print([p.defects for p in m.walk() if p.defects])\n";
    let mut python = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs python3: apt-get install python3");
    python.stdin.take().expect("a pipe").write_all(&compose(&example())).expect("python reads");
    let output = python.wait_with_output().expect("python ends");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).lines().collect::<Vec<_>>(),
        [
            "multipart/report tlsrpt 2",
            "Report Domain: company-y.example Submitter: mail.company-x.example Report-ID: \
             <5065427c-23d3-47ca-b6e0-946ea0e8c4be@mail.company-x.example>",
            "application/tlsrpt+gzip mail.company-x.example!company-y.example!1459468800!1459555199!\
             5065427c23d347cab6e0946ea0e8c4be.json.gz",
            "5065427c-23d3-47ca-b6e0-946ea0e8c4be",
            "[]"
        ]
    );
}

fn base64(octets: &[u8]) -> String {
    use ::base64::Engine;
    ::base64::engine::general_purpose::STANDARD.encode(octets)
}

fn mail_with(parts: &[String]) -> String {
    let parts: String = parts.iter().map(|part| format!("--b\r\n{part}\r\n")).collect();
    format!("MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{parts}--b--\r\n")
}

#[test]
fn reports_are_found_however_their_senders_label_them() {
    let packed = base64(&gzip(EXAMPLE.as_bytes()));
    let named = |kind: &str, name: &str| {
        format!(
            "Content-Type: {kind}; name=\"{name}\"\r\nContent-Transfer-Encoding: base64\r\n\
             Content-Disposition: attachment; filename=\"{name}\"\r\n\r\n{packed}"
        )
    };
    let alone = |part: &str| format!("Subject: Report\r\n{part}\r\n");
    let words = "Content-Type: text/plain\r\n\r\nSee the attachment.".to_owned();
    let plain = format!("Content-Type: application/tlsrpt+json\r\n\r\n{EXAMPLE}");
    let mails = [
        alone(&named("application/tlsrpt+gzip", "x")),
        alone(&named("Application/TLSRPT+GZIP", "x")),
        mail_with(&[words.clone(), named("application/gzip", "a!b!1!2!x.JSON.GZ")]),
        mail_with(&[words.clone(), named("application/octet-stream", "a.json.gz")]),
        mail_with(&[words.clone(), plain.clone()]),
        mail_with(&[words.clone(), named("application/json", "a.json")]),
        mail_with(&[words.clone(), named("application/gzip", "notes.json"), plain.clone()]),
        mail_with(&["Content-Type: application/tlsrpt+json\r\n\r\n{}".into(), plain.clone()]),
        mail_with(&[format!("Content-Type: message/rfc822\r\n\r\n{}", mail_with(&[words, plain]))]),
    ];
    for mail in mails {
        assert_eq!(extract(mail.as_bytes()), Ok(example()), "{mail}");
        assert_eq!(extract(mail.replace("\r\n", "\n").as_bytes()), Ok(example()), "as a file: {mail}");
    }
}

#[test]
fn a_mail_without_a_report_says_what_was_sought_and_one_with_a_broken_report_why() {
    let none = extract(b"Subject: Hello\r\n\r\nHow are you?\r\n");
    assert_eq!(none, Err(ExtractError::NoReport));
    assert!(none.expect_err("none").to_string().contains("application/tlsrpt+gzip"));
    let part = |encoding: &str, content: &str| {
        let part = format!(
            "Content-Type: application/tlsrpt+gzip\r\nContent-Transfer-Encoding: {encoding}\r\n\r\n{content}"
        );
        extract(mail_with(&[part]).as_bytes())
    };
    assert_eq!(part("base64", "*"), Err(ExtractError::Encoding));
    let bomb = base64(&gzip(&vec![b' '; MAX_JSON + 1]));
    assert_eq!(part("base64", &bomb), Err(ExtractError::Report(ParseError::TooLarge)));
    assert!(matches!(part("8bit", "{}"), Err(ExtractError::Report(ParseError::Malformed(_)))));
    assert_eq!(extract(&vec![b'\n'; MAX_MAIL + 1]), Err(ExtractError::TooLarge));
}

fn harmless() -> impl Strategy<Value = String> {
    "[!-~äß]([ -~ä]{0,20}[!-~])?"
}

fn failure() -> impl Strategy<Value = FailureDetail> {
    let maybe = || proptest::option::of(harmless());
    let result = prop_oneof![
        Just(ResultType::DaneRequired),
        Just(ResultType::StsPolicyFetchError),
        harmless().prop_map(|name| ResultType::named(&name)),
    ];
    let said = (maybe(), maybe(), maybe(), maybe(), maybe(), maybe());
    (result, any::<u64>(), said).prop_map(|(result, failed_sessions, (one, two, three, four, five, six))| {
        FailureDetail {
            result,
            sending_mta_ip: one,
            receiving_mx_hostname: two,
            receiving_mx_helo: three,
            receiving_ip: four,
            failed_sessions,
            additional_information: five,
            failure_reason_code: six,
        }
    })
}

fn policy() -> impl Strategy<Value = PolicyReport> {
    let lines = || proptest::collection::vec(harmless(), 0..4);
    let kind = prop_oneof![Just(PolicyKind::Tlsa), Just(PolicyKind::Sts), Just(PolicyKind::NoPolicyFound)];
    let failures = proptest::collection::vec(failure(), 0..4);
    let policy = (kind, lines(), harmless(), lines());
    (policy, any::<u64>(), any::<u64>(), failures).prop_map(
        |((kind, strings, domain, mx_hosts), successful, failed, failures)| PolicyReport {
            policy: Policy { kind, strings, domain, mx_hosts },
            successful,
            failed,
            failures,
        },
    )
}

fn report() -> impl Strategy<Value = TlsReport> {
    let range = (0_i64..4_000_000_000, 0_i64..1_000_000);
    let policies = proptest::collection::vec(policy(), 0..4);
    (harmless(), range, proptest::option::of(harmless()), harmless(), policies).prop_map(
        |(organization, (start, span), contact_info, report_id, policies)| TlsReport {
            organization,
            date_range: DateRange {
                start: Timestamp::from_second(start).expect("in range"),
                end: Timestamp::from_second(start + span).expect("in range"),
            },
            contact_info,
            report_id,
            policies,
        },
    )
}

proptest! {
    #[test]
    fn a_report_survives_json_gzip_and_mail(report in report()) {
        prop_assert_eq!(TlsReport::parse(&report.to_json()), Ok(report.clone()));
        prop_assert_eq!(TlsReport::unpack(&gzip(&report.to_json())), Ok(report.clone()));
        let mail = compose(&report);
        prop_assert_eq!(extract(&mail), Ok(report.clone()));
        let text = String::from_utf8(mail).expect("ASCII");
        prop_assert!(text.is_ascii() && !text.replace("\r\n", "").contains(['\r', '\n']));
        let head = text.split("\r\n\r\n").next().unwrap_or_default().to_owned() + "\r\n";
        prop_assert_eq!(Headers::parse(head.as_bytes()).expect("a good head").iter().count(), 11);
    }

    #[test]
    fn no_octets_make_the_readers_panic(octets in proptest::collection::vec(any::<u8>(), 0..300), cut in 0usize..2_000) {
        let _ = TlsReport::unpack(&octets);
        let _ = extract(&octets);
        let mut json = EXAMPLE.as_bytes().to_vec();
        json.truncate(cut);
        json.extend_from_slice(&octets);
        let _ = TlsReport::unpack(&json);
        let mut mail = compose(&example());
        mail.truncate(cut);
        mail.extend_from_slice(&octets);
        let _ = extract(&mail);
    }
}
