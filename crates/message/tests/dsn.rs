//! Reports, as a mail program sees them: taken apart again by a small strict reader, and by Python's.

use std::io::Write;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use postern_message::dsn::{Kind, Original, Recipient, Report, TlsDemand};
use postern_message::header::Headers;
use postern_smtp::address::Mailbox;
use postern_smtp::envelope::OriginalRecipient;
use postern_smtp::outcome::{Reason, Step, Trouble};
use postern_smtp::reply::{Enhanced, Reply};
use postern_smtp::tls::{TlsFailure, TlsFault};
use proptest::prelude::*;

const HEADERS: &[u8] = b"From: ann@example.org\r\nSubject: Hello\r\nMessage-ID: <1@example.org>\r\n";

fn at(text: &str) -> Timestamp {
    text.parse().expect("a time")
}

fn mailbox(text: &str) -> Mailbox {
    text.parse().expect("a mailbox")
}

fn refusal(code: u16, enhanced: Enhanced, text: &str) -> Trouble {
    Trouble::new(Step::Rcpt, Reason::Refused).with_reply(Some(Reply::new(code, enhanced, text)))
}

fn failed(address: &str, trouble: Trouble) -> Recipient {
    Recipient {
        address: mailbox(address),
        original: None,
        action: Kind::Failed,
        status: trouble.enhanced(5),
        trouble: Some(trouble),
        last_trouble: None,
        explanation: None,
        remote_mta: Some("mx.example.net".into()),
        diagnostic: None,
        last_attempt: Some(at("2026-11-20T19:29:00Z")),
        will_retry_until: None,
    }
}

fn no_such_user() -> Recipient {
    failed("bob@example.net", refusal(550, Enhanced::new(5, 1, 1), "No such user here"))
}

struct Case {
    kind: Kind,
    recipients: Vec<Recipient>,
    original: &'static [u8],
    full: bool,
    tls: TlsDemand,
    utf8: bool,
}

impl Case {
    fn new(kind: Kind, recipients: Vec<Recipient>) -> Self {
        Self { kind, recipients, original: HEADERS, full: false, tls: TlsDemand::Unsaid, utf8: false }
    }

    fn compose(self) -> String {
        let (postmaster, sender) = (mailbox("postmaster@mail.example.org"), mailbox("ann@example.org"));
        let report = Report {
            kind: self.kind,
            reporting_mta: "mail.example.org",
            arrival: at("2026-11-20T15:30:00Z"),
            envid: Some("QQ314159"),
            from_address: &postmaster,
            to: &sender,
            message_id: Some("<1@example.org>"),
            queue_id: "4cX9",
            recipients: self.recipients,
            original: if self.full {
                Original::Full(self.original)
            } else {
                Original::Headers(self.original)
            },
            tls: self.tls,
            utf8: self.utf8,
        };
        String::from_utf8(report.compose(at("2026-11-20T19:30:00Z"), "4cY1")).expect("UTF-8")
    }
}

/// A part: its header fields and its content.
struct Part {
    head: String,
    content: String,
}

impl Part {
    fn new(text: &str) -> Self {
        let (head, content) = text.split_once("\r\n\r\n").expect("an empty line behind the header fields");
        Self { head: format!("{head}\r\n"), content: content.to_owned() }
    }

    fn field(&self, name: &str) -> Option<String> {
        let headers = Headers::parse(self.head.as_bytes()).expect("good header fields");
        assert!(headers.all(name).count() <= 1, "{name} stands more than once:\n{}", self.head);
        headers.find(name).map(|field| field.text().trim().to_owned())
    }
}

/// The whole and its three parts.
fn take_apart(report: &str) -> (Part, [Part; 3]) {
    let whole = Part::new(report);
    let kind = whole.field("Content-Type").expect("a content type");
    let boundary =
        kind.split("boundary=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a boundary");
    let delimiter = format!("\r\n--{boundary}");
    let mut pieces = whole.content.split(delimiter.as_str()).skip(1).collect::<Vec<_>>();
    assert_eq!(pieces.pop(), Some("--\r\n"), "the last delimiter ends the report");
    let parts: Vec<Part> =
        pieces.into_iter().map(|piece| Part::new(piece.strip_prefix("\r\n").expect("a line end"))).collect();
    let parts = parts.try_into().unwrap_or_else(|parts: Vec<Part>| panic!("{} parts", parts.len()));
    (whole, parts)
}

/// The groups of fields in the part for machines.
fn groups(status: &Part) -> Vec<Part> {
    status.content.trim_end().split("\r\n\r\n").map(|group| Part::new(&format!("{group}\r\n\r\n"))).collect()
}

fn unfold(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_head_says_from_whom_to_whom_about_what_and_that_a_machine_wrote_it() {
    let (whole, _) = take_apart(&Case::new(Kind::Failed, vec![no_such_user()]).compose());
    let field = |name: &str| whole.field(name).unwrap_or_default();
    assert_eq!(field("From"), "Mail Delivery System <postmaster@mail.example.org>");
    assert_eq!(field("To"), "<ann@example.org>");
    assert_eq!(field("Subject"), "Not delivered: your message to bob@example.net");
    assert_eq!(field("Date"), "Fri, 20 Nov 2026 19:30:00 +0000");
    assert_eq!(field("Message-ID"), "<1795203000000.4cY1@mail.example.org>");
    assert_eq!(field("In-Reply-To"), "<1@example.org>");
    assert_eq!(field("References"), "<1@example.org>");
    assert_eq!(field("Auto-Submitted"), "auto-replied");
    assert_eq!(field("MIME-Version"), "1.0");
    assert!(field("Content-Type").starts_with("multipart/report; report-type=delivery-status; boundary="));
    assert_eq!(field("Content-Transfer-Encoding"), "");
}

#[test]
fn the_words_say_what_happened_to_whom_why_what_to_do_and_what_the_server_said() {
    let (_, [words, ..]) = take_apart(&Case::new(Kind::Failed, vec![no_such_user()]).compose());
    let text = unfold(&words.content);
    let places: Vec<usize> = [
        "could not be delivered to this address",
        "<bob@example.net>",
        "There is no mailbox with this address.",
        "Check the address",
        "The last reply of the server mx.example.net was: 550 5.1.1 No such user here",
    ]
    .iter()
    .map(|sentence| {
        text.find(sentence).unwrap_or_else(|| panic!("{sentence:?} is missing:\n{}", words.content))
    })
    .collect();
    assert!(places.is_sorted(), "{places:?}\n{}", words.content);
    assert!(words.content.lines().all(|line| line.len() <= 78), "{}", words.content);
}

#[test]
fn the_part_for_machines_holds_the_fields_of_rfc_3464() {
    let original = OriginalRecipient { address_type: "rfc822".into(), address: "robert@example.com".into() };
    let recipient = Recipient { original: Some(original), ..no_such_user() };
    let (_, [_, status, _]) = take_apart(&Case::new(Kind::Failed, vec![recipient]).compose());
    assert_eq!(status.field("Content-Type").as_deref(), Some("message/delivery-status"));
    assert_eq!(
        status.content,
        "Original-Envelope-Id: QQ314159\r\n\
         Reporting-MTA: dns; mail.example.org\r\n\
         Arrival-Date: Fri, 20 Nov 2026 15:30:00 +0000\r\n\
         \r\n\
         Original-Recipient: rfc822; robert@example.com\r\n\
         Final-Recipient: rfc822; bob@example.net\r\n\
         Action: failed\r\n\
         Status: 5.1.1\r\n\
         Remote-MTA: dns; mx.example.net\r\n\
         Diagnostic-Code: smtp; 550 5.1.1 No such user here\r\n\
         Last-Attempt-Date: Fri, 20 Nov 2026 19:29:00 +0000\r\n"
    );
}

#[test]
fn every_recipient_has_a_group_of_its_own() {
    let too_large = Trouble::new(Step::Mail, Reason::TooLarge(10_485_760));
    let recipients = vec![no_such_user(), failed("carl@example.net", too_large)];
    let (whole, [words, status, _]) = take_apart(&Case::new(Kind::Failed, recipients).compose());
    assert_eq!(whole.field("Subject").as_deref(), Some("Not delivered: your message to 2 recipients"));
    let groups = groups(&status);
    assert_eq!(groups.len(), 3);
    assert_eq!(groups[2].field("Final-Recipient").as_deref(), Some("rfc822; carl@example.net"));
    assert_eq!(groups[2].field("Status").as_deref(), Some("5.3.4"));
    assert!(unfold(&words.content).contains("takes up to 10 MiB"), "{}", words.content);
}

#[test]
fn a_delay_says_that_nothing_need_be_done_and_when_we_give_up() {
    let trouble = Trouble::new(Step::Connect, Reason::ConnectFailed("connection refused".into()));
    let recipient = Recipient {
        action: Kind::Delayed,
        status: trouble.enhanced(4),
        will_retry_until: Some(at("2026-11-25T15:30:00Z")),
        ..failed("bob@example.net", trouble)
    };
    let (whole, [words, status, _]) = take_apart(&Case::new(Kind::Delayed, vec![recipient]).compose());
    assert_eq!(whole.field("Subject").as_deref(), Some("Delayed: your message to bob@example.net"));
    let text = unfold(&words.content);
    assert!(text.contains("you need do nothing now"), "{text}");
    assert!(text.contains("We keep trying until 25 November 2026, 15:30 UTC."), "{text}");
    let group = &groups(&status)[1];
    assert_eq!(group.field("Action").as_deref(), Some("delayed"));
    assert_eq!(group.field("Status").as_deref(), Some("4.4.1"));
    assert_eq!(group.field("Will-Retry-Until").as_deref(), Some("Wed, 25 Nov 2026 15:30:00 +0000"));
}

#[test]
fn an_expired_message_names_what_was_in_the_way() {
    let full = refusal(452, Enhanced::new(4, 2, 2), "Mailbox full");
    let expired = Trouble::new(Step::Rcpt, Reason::Expired);
    let recipient = Recipient { last_trouble: Some(full), ..failed("bob@example.net", expired) };
    let (_, [words, status, _]) = take_apart(&Case::new(Kind::Failed, vec![recipient]).compose());
    let text = unfold(&words.content);
    assert!(text.contains("At the last attempt: The recipient's mailbox is full."), "{text}");
    assert!(text.contains("452 4.2.2 Mailbox full"), "{text}");
    let group = &groups(&status)[1];
    assert_eq!(group.field("Status").as_deref(), Some("5.4.7"));
    assert_eq!(group.field("Diagnostic-Code").as_deref(), Some("smtp; 452 4.2.2 Mailbox full"));
}

#[test]
fn a_confirmation_has_no_troubles() {
    let recipient = Recipient {
        action: Kind::Delivered,
        status: Enhanced::new(2, 0, 0),
        trouble: None,
        diagnostic: Some(Reply::new(250, Enhanced::new(2, 0, 0), "Saved")),
        ..no_such_user()
    };
    let (whole, [words, status, _]) = take_apart(&Case::new(Kind::Delivered, vec![recipient]).compose());
    assert_eq!(whole.field("Subject").as_deref(), Some("Delivered: your message to bob@example.net"));
    assert!(!words.content.contains("reply"), "{}", words.content);
    assert_eq!(groups(&status)[1].field("Action").as_deref(), Some("delivered"));
}

#[test]
fn the_original_comes_back_as_it_was() {
    let original = b"Subject: x\r\n\r\n.\r\nbody\r\n";
    let whole = Case { original, full: true, ..Case::new(Kind::Failed, vec![no_such_user()]) };
    let (_, [.., last]) = take_apart(&whole.compose());
    assert_eq!(last.field("Content-Type").as_deref(), Some("message/rfc822"));
    assert_eq!(last.content.as_bytes(), original);
    let (_, [.., last]) = take_apart(&Case::new(Kind::Failed, vec![no_such_user()]).compose());
    assert_eq!(last.field("Content-Type").as_deref(), Some("text/rfc822-headers"));
    assert_eq!(last.content.as_bytes(), HEADERS);
}

#[test]
fn eight_bit_content_is_declared_and_ascii_content_is_not() {
    let original = "Subject: x\r\n\r\nä\r\n".as_bytes();
    let case = Case { original, full: true, ..Case::new(Kind::Failed, vec![no_such_user()]) };
    let (whole, [words, status, last]) = take_apart(&case.compose());
    for (part, encoding) in [(whole, Some("8bit")), (words, None), (status, None), (last, Some("8bit"))] {
        assert_eq!(part.field("Content-Transfer-Encoding").as_deref(), encoding);
    }
}

#[test]
fn internationalised_mail_gets_the_kinds_of_rfc_6533() {
    let recipient = failed("bøb@example.net", refusal(550, Enhanced::new(5, 1, 1), "no"));
    let original = "Subject: ä\r\n".as_bytes();
    let case = Case { original, utf8: true, ..Case::new(Kind::Failed, vec![recipient]) };
    let (_, [words, status, last]) = take_apart(&case.compose());
    assert!(words.content.contains("<bøb@example.net>"));
    assert_eq!(status.field("Content-Type").as_deref(), Some("message/global-delivery-status"));
    assert_eq!(groups(&status)[1].field("Final-Recipient").as_deref(), Some("utf-8; bøb@example.net"));
    assert_eq!(last.field("Content-Type").as_deref(), Some("message/global-headers"));
}

#[test]
fn an_address_beyond_ascii_is_spelled_out_where_the_report_must_stay_ascii() {
    let recipient = failed("bøb@example.net", refusal(550, Enhanced::new(5, 1, 1), "no"));
    let report = Case::new(Kind::Failed, vec![recipient]).compose();
    assert!(report.is_ascii());
    let (_, [_, status, _]) = take_apart(&report);
    assert_eq!(groups(&status)[1].field("Final-Recipient").as_deref(), Some("utf-8; b\\x{F8}b@example.net"));
}

#[test]
fn an_original_that_holds_our_boundary_does_not_end_the_part() {
    let original = b"Subject: x\r\n\r\n--=_4cY1.0\r\n\r\n--=_4cY1.0--\r\n--=_4cY1.1\r\n";
    let case = Case { original, full: true, ..Case::new(Kind::Failed, vec![no_such_user()]) };
    let (_, [.., last]) = take_apart(&case.compose());
    assert_eq!(last.content.as_bytes(), original);
}

#[test]
fn a_harmful_message_id_is_left_out() {
    let (postmaster, sender) = (mailbox("postmaster@example.org"), mailbox("ann@example.org"));
    for id in ["", "<a b>", "<a>\r\nBcc: x@y", "x", "<ä>"] {
        let report = Report {
            kind: Kind::Failed,
            reporting_mta: "mail.example.org",
            arrival: at("2026-11-20T15:30:00Z"),
            envid: None,
            from_address: &postmaster,
            to: &sender,
            message_id: Some(id),
            queue_id: "4cX9",
            recipients: vec![no_such_user()],
            original: Original::Headers(HEADERS),
            tls: TlsDemand::Unsaid,
            utf8: false,
        };
        let text = String::from_utf8(report.compose(at("2026-11-20T19:30:00Z"), "4cY1")).unwrap();
        assert_eq!(take_apart(&text).0.field("References"), None, "{id:?}");
    }
}

fn tls_failed(fault: TlsFault) -> Recipient {
    let why = TlsFailure::new(fault, "the certificate is for mail.example.com");
    failed("bob@example.net", Trouble::of_tls(Reason::SecurityUnmet(why.to_string()), &why))
}

#[test]
fn the_diagnosis_stands_behind_the_reason_in_narrow_lines_for_failures_and_delays_alike() {
    let told = "mx.example.net [192.0.2.1] showed a certificate for mail.example.com, which is not the name that it is reached by.\n\n\
                Ask\u{1b} the other side's postmaster to have it issued for mx.example.net.";
    for action in [Kind::Failed, Kind::Delayed] {
        let recipient =
            Recipient { action, explanation: Some(told.to_owned()), ..tls_failed(TlsFault::HostMismatch) };
        let (_, [words, ..]) = take_apart(&Case::new(action, vec![recipient]).compose());
        let text = unfold(&words.content);
        let places = [
            "its certificate is for other names.",
            "mx.example.net [192.0.2.1] showed a certificate for mail.example.com, which is not the name",
            "Ask? the other side's postmaster",
            "In detail:",
        ]
        .map(|sentence| text.find(sentence).unwrap_or_else(|| panic!("{sentence:?}:\n{}", words.content)));
        assert!(places.is_sorted(), "{}", words.content);
        let lines: Vec<_> = words.content.lines().collect();
        let begin = lines.iter().position(|line| line.contains("showed a certificate")).expect("told");
        assert!(lines[begin..begin + 4].iter().all(|line| line.len() <= 72), "{}", words.content);
    }
}

#[test]
fn a_diagnosis_is_bounded_and_within_ascii_where_the_report_is() {
    let recipient = Recipient { explanation: Some("ä ".repeat(100_000)), ..no_such_user() };
    let report = Case::new(Kind::Failed, vec![recipient]).compose();
    assert!(report.is_ascii());
    assert!(report.len() < 15_000, "{}", report.len());
}

#[test]
fn tls_troubles_are_told_in_words_that_a_sender_understands() {
    for (fault, words) in [
        (TlsFault::Expired, "could not prove who it is: its certificate has expired"),
        (
            TlsFault::SelfSigned,
            "could not prove who it is: there is no certificate of it that can be trusted",
        ),
        (TlsFault::Bogus, "which mail server is really the recipient's"),
        (TlsFault::NotOffered, "was not sent in clear"),
        (TlsFault::OurTrust, "show this report to your own postmaster"),
        (TlsFault::NoRequireTls, "a server on it does not promise that"),
    ] {
        let (_, [said, ..]) = take_apart(&Case::new(Kind::Failed, vec![tls_failed(fault)]).compose());
        assert!(unfold(&said.content).contains(words), "{fault:?}: {}", said.content);
    }
}

#[test]
fn a_missing_promise_of_requiretls_is_told_alike_whoever_missed_it() {
    let ours = failed("bob@example.net", Trouble::new(Step::Mail, Reason::NeedsRequireTls));
    let theirs =
        failed("bob@example.net", refusal(550, Enhanced::new(5, 7, 30), "REQUIRETLS support required"));
    for recipient in [ours, theirs] {
        let (_, [words, status, _]) = take_apart(&Case::new(Kind::Failed, vec![recipient]).compose());
        let text = unfold(&words.content);
        assert!(text.contains("(REQUIRETLS), and a server on it does not promise that."), "{text}");
        assert!(text.contains("Send it again without that demand"), "{text}");
        assert_eq!(groups(&status)[1].field("Status").as_deref(), Some("5.7.30"));
    }
}

#[test]
fn of_a_message_under_requiretls_only_the_header_section_is_returned_whatever_was_asked() {
    let original = b"Subject: secret plans\r\n\r\nThe plans.\r\n\r\nMore plans.\r\n";
    let case =
        |kind| Case { original, full: true, tls: TlsDemand::Always, ..Case::new(kind, vec![no_such_user()]) };
    for kind in [Kind::Failed, Kind::Delayed] {
        let (_, [words, _, last]) = take_apart(&case(kind).compose());
        assert_eq!(last.field("Content-Type").as_deref(), Some("text/rfc822-headers"));
        assert_eq!(last.content, "Subject: secret plans\r\n");
        assert_eq!(words.content.contains("(REQUIRETLS)"), kind == Kind::Failed);
        assert!(!words.content.contains("Your message is attached"));
    }
}

/// Every reason has words of its own, which come before what is there for experts.
#[test]
fn every_reason_is_explained() {
    let text = || "why\r\nBcc: x".to_owned();
    for reason in [
        Reason::NullMx,
        Reason::NoSuchDomain,
        Reason::LookupFailed(text()),
        Reason::NoRoute,
        Reason::OwnHost(text()),
        Reason::ConnectFailed(text()),
        Reason::TimedOut,
        Reason::ConnectionLost,
        Reason::Protocol(text()),
        Reason::TlsFailed(text()),
        Reason::SecurityUnmet(text()),
        Reason::CredentialsWithheld(text()),
        Reason::SignInRefused(text()),
        Reason::NeedsRequireTls,
        Reason::SwitchedOff,
        Reason::NeedsEightBit,
        Reason::NeedsBinary,
        Reason::NeedsUtf8,
        Reason::TooLarge(1),
        Reason::Local(text()),
        Reason::Expired,
        Reason::Withdrawn,
    ] {
        let operators = unfold(&reason.to_string());
        let recipient = failed("bob@example.net", Trouble::new(Step::Content, reason));
        let (_, [words, status, _]) = take_apart(&Case::new(Kind::Failed, vec![recipient]).compose());
        let text = unfold(&words.content);
        let explained = text.split("In detail:").next().unwrap_or_default();
        assert!(!explained.contains(&operators), "only the operator's words: {operators}");
        for part in [words, status] {
            assert!(!part.content.contains("\nBcc"), "{}", part.content);
        }
    }
}

#[test]
fn experts_find_the_detail_but_nothing_of_the_inside_of_this_machine() {
    let report = |reason| {
        let recipient = failed("bob@example.net", Trouble::new(Step::Tls, reason));
        take_apart(&Case::new(Kind::Failed, vec![recipient]).compose()).1
    };
    let [words, status, _] = report(Reason::TlsFailed("certificate expired".into()));
    assert!(unfold(&words.content).contains("In detail: the TLS handshake failed: certificate expired"));
    let diagnostic = groups(&status)[1].field("Diagnostic-Code");
    assert_eq!(diagnostic.as_deref(), Some("X-Postern; the TLS handshake failed: certificate expired"));
    let [words, status, _] = report(Reason::Local("/srv/mail/bob: permission denied".into()));
    assert!(!words.content.contains("/srv") && !status.content.contains("/srv"));
}

/// Python's reader is what many programs that process bounces use.
#[test]
fn python_reads_the_report_as_three_parts() {
    let program = "import email, email.policy, sys\n\
                   m = email.message_from_binary_file(sys.stdin.buffer, policy=email.policy.default)\n\
                   s = m.get_payload(1)\n\
                   print(m.get_content_type(), m.get_param('report-type'), len(m.get_payload()))\n\
                   print(s.get_content_type(), s.get_payload(1)['Action'], s.get_payload(1)['Status'])\n\
                   print(m.get_payload(2).get_payload(0)['Subject'])\n\
                   print([p.defects for p in m.walk() if p.defects])\n";
    let original = b"Subject: Hello\r\n\r\nbody\r\n";
    let report = Case { original, full: true, ..Case::new(Kind::Failed, vec![no_such_user()]) }.compose();
    let mut python = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("this test needs python3: apt-get install python3");
    python.stdin.take().expect("a pipe").write_all(report.as_bytes()).expect("python reads");
    let output = python.wait_with_output().expect("python ends");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).lines().collect::<Vec<_>>(),
        ["multipart/report delivery-status 3", "message/delivery-status failed 5.1.1", "Hello", "[]"]
    );
}

proptest! {
    #[test]
    fn no_peer_can_break_out_of_its_place(
        words in "\\PC{0,200}|[\\x00-\\x7f]{0,200}",
        host in "\\PC{0,50}|[\\x00-\\x7f]{0,50}",
        explanation in proptest::option::of("\\PC{0,200}|[\\x00-\\x7f]{0,200}"),
        demanded in any::<bool>(),
        envid in "[\\x00-\\x7f]{0,50}",
        original_type in "[\\x00-\\x7f]{0,10}",
        octets in proptest::collection::vec(prop_oneof![Just(b'\r'), Just(b'\n'), any::<u8>()], 0..300),
        utf8 in any::<bool>(),
        full in any::<bool>(),
    ) {
        let reply = Reply { code: 550, enhanced: None, lines: vec![words.clone(), format!("--=_4cY1.0\r\n{words}")] };
        let trouble = Trouble::new(Step::Rcpt, Reason::Refused).with_reply(Some(reply));
        let recipient = Recipient {
            remote_mta: Some(host.clone()),
            explanation,
            original: Some(OriginalRecipient { address_type: original_type, address: words.clone() }),
            ..failed("bob@example.net", trouble)
        };
        let (postmaster, sender) = (mailbox("postmaster@example.org"), mailbox("ann@example.org"));
        let report = Report {
            kind: Kind::Failed,
            reporting_mta: "mail.example.org",
            arrival: at("2026-11-20T15:30:00Z"),
            envid: Some(&envid),
            from_address: &postmaster,
            to: &sender,
            message_id: Some(&host),
            queue_id: &words,
            recipients: vec![recipient],
            original: if full { Original::Full(&octets) } else { Original::Headers(&octets) },
            tls: if demanded { TlsDemand::Always } else { TlsDemand::Unsaid },
            utf8,
        };
        let composed = report.compose(at("2026-11-20T19:30:00Z"), "4cY1");
        let text = String::from_utf8_lossy(&composed);
        prop_assert_eq!(text.matches("\r\n").count(), text.matches('\r').count());
        prop_assert_eq!(text.matches("\r\n").count(), text.matches('\n').count());
        prop_assert!(!composed.contains(&0));
        let (_, [said, status, _]) = take_apart(&text);
        prop_assert!(utf8 || (said.content.is_ascii() && status.content.is_ascii()));
        let groups = groups(&status);
        prop_assert_eq!(groups.len(), 2);
        prop_assert_eq!(groups[1].field("Action"), Some("failed".to_owned()));
        prop_assert_eq!(Headers::parse(groups[1].head.as_bytes()).expect("good fields").iter().count(), 7);
    }
}
