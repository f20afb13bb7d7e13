use postern_pki::ClientHello;
use postern_smtp::outcome::Trouble;
use postern_smtp::sasl::ChannelBindings;
use postern_smtp::tls::{PeerProof, TlsFacts, TlsFailure};

use super::*;
use crate::probe::session::Try;

const HOST: &str = "mail.example.org";
const EHLO: &[&str] = &["mail.example.org", "PIPELINING", "8BITMIME", "DSN"];

fn reply(code: u16, lines: &[&str]) -> Reply {
    Reply { code, enhanced: None, lines: lines.iter().map(|&line| line.to_owned()).collect() }
}

fn with(lines: &[&'static str], more: &[&'static str]) -> Reply {
    reply(250, &[lines, more].concat())
}

fn certificate(issuer: &str) -> CertificateSeen {
    let names = vec![HOST.to_owned()];
    CertificateSeen {
        issuer: issuer.into(),
        sha256: format!("5e{issuer}"),
        names,
        ..CertificateSeen::default()
    }
}

/// A handshake that came about; `fault` is what programs have against the certificate.
fn secured(issuer: &str, fault: Option<TlsFault>) -> Try {
    let mut peer = fault.map_or_else(PeerProof::verified, |_| PeerProof::default());
    peer.missing.extend(fault.map(|fault| TlsFailure::new(fault, "no trusted authority signed it")));
    let facts = TlsFacts {
        version: "TLSv1.3".into(),
        cipher: "TLS_AES_256_GCM_SHA384".into(),
        group: None,
        server_name: None,
        peer,
        channel_bindings: ChannelBindings::default(),
    };
    let took = std::time::Duration::ZERO;
    Try {
        hello: ClientHello::Full,
        took,
        result: Ok(facts),
        chain: vec![certificate(issuer)],
        checks: Vec::new(),
    }
}

/// Not reached, in this way.
fn away(reach: Reach) -> Seen {
    let halt = Some(Trouble::new(Step::Connect, Reason::ConnectFailed("nobody answers".into())));
    Seen { reach, halt, ..Seen::default() }
}

/// A connection on which nothing was said.
fn mute() -> Seen {
    let halt = Some(Trouble::new(Step::Greeting, Reason::TimedOut));
    Seen { reach: Reach::Open, halt, ..Seen::default() }
}

/// A session of STARTTLS, or where `before` lacks it in clear.
fn upgraded(before: &[&'static str], attempt: Option<Try>) -> Seen {
    let after = attempt.as_ref().map(|_| with(EHLO, &["AUTH PLAIN LOGIN"]));
    Seen {
        reach: Reach::Open,
        greeting: Some(reply(220, &["mail.example.org ESMTP"])),
        before: Some(with(EHLO, before)),
        starttls: attempt.as_ref().map(|_| reply(220, &["go"])),
        tries: attempt.into_iter().collect(),
        after,
        ..Seen::default()
    }
}

fn at_once(attempt: Try) -> Seen {
    let greeting = Some(reply(220, &["mail.example.org ESMTP"]));
    let after = Some(with(EHLO, &["AUTH SCRAM-SHA-256 PLAIN"]));
    Seen { reach: Reach::Open, greeting, tries: vec![attempt], after, ..Seen::default() }
}

fn tried(port: u16, clear: Seen, at_once: Seen) -> Tried {
    Tried { port, address: Some("192.0.2.1".parse().unwrap()), clear, at_once }
}

fn submissions(issuer: &str, fault: Option<TlsFault>) -> Tried {
    tried(465, mute(), at_once(secured(issuer, fault)))
}

fn submission(issuer: &str, fault: Option<TlsFault>) -> Tried {
    tried(587, upgraded(&["STARTTLS"], Some(secured(issuer, fault))), mute())
}

fn judged(tried: &[Tried]) -> Report {
    judge(HOST, Ok(vec!["192.0.2.1".parse().unwrap()]), tried, 100)
}

#[track_caller]
fn assert_told(report: &Report, verdict: Verdict, words: &str) {
    let found = report.findings.iter().any(|one| one.verdict == verdict && one.what.contains(words));
    assert!(found, "no {verdict:?} {words:?} in {:#?}", report.findings);
}

#[test]
fn a_server_that_is_well_gives_settings_and_nothing_else() {
    let report = judged(&[submissions("Public CA", None), submission("Public CA", None)]);
    assert!(report.findings.is_empty(), "{:#?}", report.findings);
    assert_eq!((report.verdict, report.exit_code()), (Verdict::Ok, 0));
    let settings: Vec<(u16, Encryption)> =
        report.settings.iter().map(|one| (one.port, one.encryption)).collect();
    assert_eq!(settings, [(465, Encryption::Tls), (587, Encryption::Starttls)]);
    assert_eq!(report.settings[0].authentication(), "normal password");
}

#[test]
fn a_name_that_nobody_knows_is_the_first_thing_to_mend() {
    let report = judge(HOST, Err("no such host".into()), &[], 100);
    assert_told(&report, Verdict::Failed, "cannot be found from here: no such host");
    assert_eq!(report.exit_code(), 2);
}

#[test]
fn a_blocked_port_is_told_only_as_loud_as_it_hurts() {
    let blocked = |port, reach| tried(port, away(reach), away(reach));
    let report = judged(&[submissions("CA", None), blocked(25, Reach::Filtered)]);
    assert_told(&report, Verdict::Note, "port 25 is not let through");
    let report = judged(&[submissions("CA", None), blocked(587, Reach::Filtered)]);
    assert_told(&report, Verdict::Warning, "port 587 is not let through");
    let report = judged(&[submissions("CA", None), blocked(587, Reach::Closed)]);
    assert_told(&report, Verdict::Note, "port 587 is refused");
    let report = judged(&[blocked(465, Reach::Filtered), blocked(587, Reach::Filtered)]);
    assert_told(&report, Verdict::Failed, "cannot be reached: nobody answers");
}

#[test]
fn an_address_family_that_leads_nowhere_is_told() {
    let lost = Tried {
        address: Some("2001:db8::1".parse().unwrap()),
        ..tried(465, away(Reach::Filtered), away(Reach::Filtered))
    };
    let report = judged(&[lost, submissions("CA", None)]);
    assert_told(&report, Verdict::Warning, "IPv6 address does not answer");
}

#[test]
fn starttls_that_is_missing_on_one_port_alone_was_taken_out_on_the_way() {
    let stripped = tried(587, upgraded(&[], None), mute());
    let other = tried(2525, upgraded(&["STARTTLS"], Some(secured("CA", None))), mute());
    let report = judged(&[submissions("CA", None), stripped, other]);
    assert_told(&report, Verdict::Warning, "although port 2525 offers it");
    let both_ways = tried(587, upgraded(&[], None), at_once(secured("CA", None)));
    assert_told(&judged(&[both_ways]), Verdict::Warning, "speaks TLS at this very port");
    let alone = tried(587, upgraded(&[], None), mute());
    let report = judged(&[alone]);
    assert_told(&report, Verdict::Note, "offers no encryption");
    assert_told(&report, Verdict::Failed, "no encrypted connection");
}

#[test]
fn marks_of_a_middlebox_and_lost_keywords_are_told() {
    let mut marked = upgraded(&[], None);
    marked.middlebox = Some("the banner is masked".into());
    assert_told(&judged(&[tried(587, marked, mute())]), Verdict::Warning, "the banner is masked");
    let mut cut = upgraded(&["STARTTLS"], Some(secured("CA", None)));
    cut.before = Some(reply(250, &["mail.example.org", "STARTTLS"]));
    assert_told(
        &judged(&[tried(587, cut, mute())]),
        Verdict::Warning,
        "does not say PIPELINING, 8BITMIME, DSN",
    );
}

#[test]
fn a_certificate_of_somebody_on_the_way_is_told() {
    let report =
        judged(&[submissions("Public CA", None), submission("Box CA", Some(TlsFault::UnknownIssuer))]);
    assert_told(&report, Verdict::Warning, "port 587 shows another certificate than port 465");
    assert_eq!(report.settings[0].port, 465, "the trusted one comes first");
    assert!(report.settings[1].distrust.is_some());
    let report = judged(&[submissions("CN=Avast Web/Mail Shield Root", None)]);
    assert_told(&report, Verdict::Warning, "opens the encryption");
    let report = judged(&[submissions("CA one", None), submission("CA two", None)]);
    assert_told(&report, Verdict::Warning, "show different certificates");
}

#[test]
fn distrust_names_the_way_out() {
    let remedy = |fault, roots| {
        let report = judge(HOST, Ok(Vec::new()), &[submissions("House CA", Some(fault))], roots);
        assert_told(&report, Verdict::Warning, "do not trust");
        report.findings.into_iter().find(|one| one.what.contains("do not trust")).unwrap().remedy
    };
    assert!(remedy(TlsFault::UnknownIssuer, 100).contains("--ca FILE"));
    assert!(remedy(TlsFault::HostMismatch, 100).contains(HOST));
    assert!(remedy(TlsFault::Expired, 100).contains("clock"));
    assert!(remedy(TlsFault::UnknownIssuer, 0).contains("ca-certificates"));
}

#[test]
fn somebody_else_at_the_port_is_told() {
    let portal = Seen {
        halt: Some(Trouble::new(Step::Greeting, Reason::Protocol("HTTP/1.1 302 Found".into()))),
        ..mute()
    };
    let report = judged(&[submissions("CA", None), tried(587, portal, mute())]);
    assert_told(&report, Verdict::Warning, "no mail server: ");
    let mut other = submission("CA", None);
    other.clear.greeting = Some(reply(220, &["smtp.provider.example ESMTP"]));
    let report = judged(&[submissions("CA", None), other]);
    assert_told(&report, Verdict::Warning, "port 587 by smtp.provider.example");
}

#[test]
fn a_server_without_sign_in_is_no_server_for_programs() {
    let mut relay = submission("CA", None);
    relay.clear.after = Some(with(EHLO, &[]));
    assert_told(&judged(&[relay]), Verdict::Failed, "lets nobody sign in");
}

#[test]
fn sign_in_without_encryption_is_warned_of() {
    let mut open = submission("CA", None);
    open.clear.before = Some(with(EHLO, &["STARTTLS", "AUTH PLAIN"]));
    assert_told(&judged(&[open]), Verdict::Note, "without encryption");
}

#[test]
fn an_address_in_place_of_a_name_is_answered_with_the_name() {
    let report = judge("192.0.2.1", Ok(Vec::new()), &[submissions("CA", None)], 100);
    let remark = report.findings.iter().find(|one| one.what.contains("not for addresses")).unwrap();
    assert!(remark.remedy.contains(HOST), "{remark:?}");
}

#[test]
fn what_became_of_the_password_counts() {
    use super::super::report::SignedIn;
    let after = |result| {
        let mut report = judged(&[submissions("CA", None)]);
        report.take_sign_in(result);
        report.exit_code()
    };
    assert_eq!(after(SignedIn::Yes), 0);
    assert_eq!(after(SignedIn::Refused { reply: "535 no".into() }), 2);
    assert_eq!(after(SignedIn::NotNow { why: "late".into() }), 3);
    assert_eq!(after(SignedIn::NotTried { why: "untrusted".into() }), 1);
}

#[test]
fn a_server_that_does_not_listen_is_quoted() {
    let halted = |step| {
        let said = reply(554, &["go away"]);
        let halt = Some(Trouble::new(step, Reason::Refused).with_reply(Some(said.clone())));
        Seen { reach: Reach::Open, greeting: Some(said), halt, ..Seen::default() }
    };
    let report = judged(&[submissions("CA", None), tried(587, halted(Step::Greeting), mute())]);
    assert_told(&report, Verdict::Warning, "port 587 turns this machine away: 554 go away");
    let report = judged(&[submissions("CA", None), tried(587, halted(Step::Hello), mute())]);
    assert_told(&report, Verdict::Warning, "does not take the first command (EHLO): 554 go away");
    let mut old = upgraded(&[], None);
    old.misunderstood = Some(reply(500, &["what?"]));
    let report = judged(&[submissions("CA", None), tried(587, old, mute())]);
    assert_told(&report, Verdict::Warning, "does not understand the first command");
}
