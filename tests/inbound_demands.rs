//! What Postern demands of clients, and what their certificates are good for: refusals by TLS version, by the sender's domain and by
//! the client's network, certificates that are asked for or required, relaying and signing in by certificate.
//!
//! The client is Python's smtplib over OpenSSL, which can be held to TLS 1.2, show a certificate and call from another address;
//! msmtp signs in with EXTERNAL. `client_ca` is an authority of its own: the one that vouches for Postern counts for no client.

use serde_json::{Value, json};

use crate::support::certificates::{Authority, Identity};
use crate::support::client::stuffed;
use crate::support::postern::{ANNA, listeners};
use crate::support::programs::{program, python, succeed, text};
use crate::support::{Peer, Postern, Reply, Setup, content, wait_for};

/// Says lines, and prints the reply to the last EHLO and those to the lines, or how TLS failed.
const CLIENT: &str = "
import json, smtplib, ssl, sys
job = json.loads(sys.argv[1])
session = smtplib.SMTP(job['host'], job['port'], 'client.test', 30, (job['from'], 0))
replies = [session.ehlo()]
assert replies[0][0] == 250, replies
if job['tls']:
    context = ssl.create_default_context(cafile=job['root'])
    context.maximum_version = ssl.TLSVersion[job['tls']]
    if job['shows']:
        context.load_cert_chain(*job['shows'])
    try:
        session.starttls(context=context)
        replies = [session.ehlo()]
    except (ssl.SSLError, ConnectionError, smtplib.SMTPServerDisconnected) as error:
        print(json.dumps(repr(error)))
        sys.exit()
for line in job['lines']:
    session.send(line + '\\r\\n')
    replies.append(session.getreply())
print(json.dumps([[code, text.decode()] for code, text in replies]))
";

/// The newest TLS that a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    None,
    V12,
    V13,
}

/// A client as it comes.
#[derive(Clone, Copy)]
struct Guest<'a> {
    postern: &'a Postern,
    listener: &'static str,
    address: &'static str,
    tls: Tls,
    shows: Option<&'a Identity>,
}

impl<'a> Guest<'a> {
    /// In clear from 127.0.0.1 to the listener `mx`.
    fn of(postern: &'a Postern) -> Guest<'a> {
        Guest { postern, listener: "mx", address: "127.0.0.1", tls: Tls::None, shows: None }
    }

    fn over(self, tls: Tls) -> Guest<'a> {
        Guest { tls, ..self }
    }

    /// Over the newest TLS with a certificate.
    fn showing(self, identity: &'a Identity) -> Guest<'a> {
        Guest { tls: Tls::V13, shows: Some(identity), ..self }
    }

    fn from(self, address: &'static str) -> Guest<'a> {
        Guest { address, ..self }
    }

    fn at(self, listener: &'static str) -> Guest<'a> {
        Guest { listener, ..self }
    }

    /// The replies to EHLO (the one under TLS, if there is TLS) and to the lines; an error is the client's word on how TLS failed.
    #[track_caller]
    fn tries(self, lines: &[&str]) -> Result<Vec<Reply>, String> {
        let address = self.postern.at(self.listener);
        let tls = match self.tls {
            Tls::None => None,
            Tls::V12 => Some("TLSv1_2"),
            Tls::V13 => Some("TLSv1_3"),
        };
        let job = json!({
            "host": address.ip(), "port": address.port(), "from": self.address, "tls": tls, "lines": lines,
            "root": text(&self.postern.root()),
            "shows": self.shows.map(|identity| [text(&identity.certificate), text(&identity.key)]),
        });
        match serde_json::from_str(&succeed(python(CLIENT).arg(job.to_string()))).unwrap() {
            Value::Array(replies) => Ok(replies.iter().map(reply).collect()),
            failure => Err(failure.to_string()),
        }
    }

    /// As [`tries`](Guest::tries), with TLS that does not fail.
    #[track_caller]
    fn says(self, lines: &[&str]) -> Vec<Reply> {
        self.tries(lines).unwrap_or_else(|error| panic!("TLS failed: {error}"))
    }

    /// The code and the help token of the reply to MAIL.
    #[track_caller]
    fn writes_as(self, sender: &str) -> String {
        brief(&self.says(&[&format!("MAIL FROM:<{sender}>"), "QUIT"])[1])
    }

    /// The code and the help token of the reply to a recipient elsewhere.
    #[track_caller]
    fn asks_to_relay(self) -> String {
        brief(&self.says(&["MAIL FROM:<eva@branch.test>", "RCPT TO:<ben@elsewhere.test>", "QUIT"])[2])
    }

    /// The code and the help token of the reply to AUTH EXTERNAL, and whether EHLO offered it.
    #[track_caller]
    fn signs_in(self, acting_as: &str) -> (String, bool) {
        let replies = self.says(&[&format!("AUTH EXTERNAL {acting_as}"), "QUIT"]);
        (brief(&replies[1]), offers_external(&replies[0]))
    }
}

fn reply(pair: &Value) -> Reply {
    let code = u16::try_from(pair[0].as_u64().unwrap()).unwrap();
    Reply { code, lines: pair[1].as_str().unwrap().lines().map(str::to_owned).collect() }
}

fn brief(reply: &Reply) -> String {
    let line = reply.text();
    let token = line.rsplit(' ').next().filter(|word| word.starts_with('('));
    token.map_or(reply.code.to_string(), |token| format!("{} {token}", reply.code))
}

fn offers_external(hello: &Reply) -> bool {
    hello.lines.iter().any(|line| line.starts_with("AUTH ") && line.ends_with(" EXTERNAL"))
}

/// Postern's setup, the authority whose clients count, and another with the same name.
struct Counter {
    setup: Setup,
    own: Authority,
    foreign: Authority,
}

impl Counter {
    /// All listeners treat client certificates in this way.
    fn new(client_certificates: &str) -> Counter {
        let setup = Setup::new();
        let own = Authority::new(&setup.folder().join("clients"));
        let foreign = Authority::new(&setup.folder().join("foreign"));
        let bind = "127.0.0.1:0\"]\n";
        let keys = format!("client_certificates = \"{client_certificates}\"\nclient_ca = {:?}\n", own.root());
        let listeners = listeners("127.0.0.1:0").replace(bind, &format!("{bind}{keys}"));
        Counter { setup: setup.listeners(&listeners), own, foreign }
    }
}

#[test]
fn a_listener_with_a_minimum_version_refuses_older_tls_and_the_others_do_not() {
    let bind = "role = \"relay\"\n";
    let strict = listeners("127.0.0.1:0").replace(bind, &format!("{bind}tls_minimum = \"1.3\"\n"));
    let postern = Setup::new().listeners(&strict).start();
    let guest = Guest::of(&postern);
    let failure = guest.over(Tls::V12).tries(&["QUIT"]).unwrap_err();
    assert!(failure.contains("PROTOCOL_VERSION"), "{failure}");
    postern.wait_for_log("TLS handshake failed: 127.0.0.1");
    guest.over(Tls::V13).says(&["QUIT"])[1].clone().expect(221);
    guest.at("submission").over(Tls::V12).says(&["QUIT"])[1].clone().expect(221);
}

#[test]
fn mail_of_a_senders_domain_is_held_to_its_policy_and_other_mail_is_not() {
    let policy = "[[inbound.policy]]\nname = \"bank-policy\"\nsenders = [\"bank.test\", \"*.bank.test\"]\n\
                  tls = \"required\"\ntls_minimum = \"1.3\"";
    let postern = Setup::new().tables(policy).start();
    let guest = Guest::of(&postern);
    for sender in ["eva@bank.test", "eva@branch.BANK.test"] {
        assert_eq!(guest.writes_as(sender), "530 (tls-demanded)", "{sender}");
    }
    assert_eq!(guest.over(Tls::V12).writes_as("eva@bank.test"), "550 (tls-too-old)");
    assert_eq!(guest.over(Tls::V13).writes_as("eva@bank.test"), "250");
    for sender in ["eva@notbank.test", "eva@elsewhere.test", ""] {
        assert_eq!(guest.writes_as(sender), "250", "<{sender}>");
    }
    let log = postern.log();
    let refused = "refused at MAIL <eva@bank.test> from 127.0.0.1 by policy bank-policy: 5";
    assert_eq!(log.matches(refused).count(), 2, "in clear and over TLS 1.2: {log}");
    assert_eq!(log.matches(" by policy ").count(), 3, "{log}");
    assert!(log.contains("; the session is in clear") && log.contains("; the session uses TLSv1.2"), "{log}");
}

#[test]
fn clients_of_a_network_are_held_to_its_policy_and_other_clients_are_not() {
    let policy =
        "[[inbound.policy]]\nname = \"branch-policy\"\nnetworks = [\"127.0.9.0/24\"]\ntls = \"verified\"";
    let Counter { setup, own, foreign } = Counter::new("asked");
    let (good, bad) = (own.issue_client("mail.branch.test"), foreign.issue_client("mail.branch.test"));
    let postern = setup.tables(policy).start();
    let branch = Guest::of(&postern).from("127.0.9.7");
    for sender in ["eva@branch.test", ""] {
        assert_eq!(branch.writes_as(sender), "530 (tls-demanded)", "<{sender}>");
        assert_eq!(branch.over(Tls::V13).writes_as(sender), "550 (certificate-needed)", "<{sender}>");
        assert_eq!(branch.showing(&bad).writes_as(sender), "454 (certificate-unproved)", "<{sender}>");
        assert_eq!(branch.showing(&good).writes_as(sender), "250", "<{sender}>");
    }
    assert_eq!(Guest::of(&postern).writes_as("eva@branch.test"), "250");
    let log = postern.log();
    let refused = "refused at MAIL <eva@branch.test> from 127.0.9.7 by policy branch-policy: ";
    assert_eq!(log.matches(refused).count(), 3, "{log}");
    for why in ["the session is in clear", "it shows no certificate", "its certificate does not verify: "] {
        assert!(log.contains(why), "{why}: {log}");
    }
}

#[test]
fn asked_for_a_certificate_any_client_may_go_on_and_a_foreign_one_proves_nothing() {
    let Counter { setup, own, foreign } = Counter::new("asked");
    let (good, bad) = (own.issue_client(ANNA), foreign.issue_client(ANNA));
    let postern = setup.start();
    let guest = Guest::of(&postern).at("submission");
    for tls in [Tls::V12, Tls::V13] {
        for (shown, proves) in [(Some(&good), true), (Some(&bad), false), (None, false)] {
            let replies = Guest { tls, shows: shown, ..guest }.says(&["QUIT"]);
            replies[1].clone().expect(221);
            assert_eq!(offers_external(&replies[0]), proves, "{tls:?} {shown:?}: {replies:?}");
        }
    }
}

#[test]
fn where_a_certificate_is_required_only_clients_with_a_good_one_come_in() {
    let Counter { setup, own, foreign } = Counter::new("required");
    let (good, bad) = (own.issue_client("mx.away.test"), foreign.issue_client("mx.away.test"));
    let for_any_use = own.issue(&["server.away.test"]);
    let postern = setup.start();
    let guest = Guest::of(&postern);
    for tls in [Tls::V12, Tls::V13] {
        for shown in [None, Some(&bad)] {
            let came_in = Guest { tls, shows: shown, ..guest }.tries(&["QUIT"]);
            assert!(came_in.is_err(), "{tls:?} {shown:?}: {came_in:?}");
        }
        Guest { tls, shows: Some(&good), ..guest }.says(&["QUIT"])[1].clone().expect(221);
    }
    // The client may know of its failure first.
    let failures = || postern.log().matches("TLS handshake failed: 127.0.0.1").count();
    wait_for("four failures in the log", || (failures() == 4).then_some(()));
    // One that does not say what it is for is good for everything.
    guest.showing(&for_any_use).says(&["QUIT"])[1].clone().expect(221);
}

#[test]
fn a_listed_name_lets_relay_and_no_other_does() {
    let allowed = "[[relay.certificates]]\nname = \"branch-servers\"\nnames = [\"mail.branch.test\"]";
    let Counter { setup, own, foreign } = Counter::new("asked");
    let good = own.issue_client("mail.BRANCH.test");
    let others = [
        own.issue_client("branch.test"),
        own.issue_client("x.mail.branch.test"),
        own.issue_client("mail.branch.test.evil.test"),
        own.issue_client("*.branch.test"),
        own.issue_client("mail@branch.test"),
        foreign.issue_client("mail.branch.test"),
    ];
    let peer = Peer::start();
    let postern = setup.tables(allowed).next_hop(peer.address()).start();
    let guest = Guest::of(&postern);
    assert_eq!(guest.over(Tls::V13).asks_to_relay(), "550 (relay-denied)");
    for other in &others {
        assert_eq!(guest.showing(other).asks_to_relay(), "550 (relay-denied)", "{other:?}");
    }
    // It is the relay listener's privilege: who submits signs in.
    let submitting = guest.at("submission").showing(&good).says(&["MAIL FROM:<eva@branch.test>", "QUIT"]);
    submitting[1].clone().expect(530);
    assert!(!postern.log().contains("may relay by"), "{}", postern.log());
    assert!(postern.log().contains("; its certificate does not verify: "), "{}", postern.log());
    relays(guest.showing(&good), &peer);
    assert!(postern.log().contains("may relay by relay.certificates branch-servers"), "{}", postern.log());
}

#[test]
fn a_pinned_certificate_lets_relay_when_it_verifies_too() {
    let Counter { setup, own, foreign } = Counter::new("asked");
    let by_key = own.issue_client("printer.branch.test");
    let whole = own.issue_client("scanner.branch.test");
    let unverified = foreign.issue_client("fax.branch.test");
    let namesake = own.issue_client("fax.branch.test");
    let allowed = format!(
        "[[relay.certificates]]\nname = \"devices\"\npins = [\"spki-sha256:{}\", \"sha256:{}\", \"sha256:{}\"]",
        by_key.leaf().spki_sha256(),
        whole.leaf().sha256(),
        unverified.leaf().sha256(),
    );
    let peer = Peer::start();
    let postern = setup.tables(&allowed).next_hop(peer.address()).start();
    let guest = Guest::of(&postern);
    for other in [&unverified, &namesake] {
        assert_eq!(guest.showing(other).asks_to_relay(), "550 (relay-denied)", "{other:?}");
    }
    assert_eq!(guest.showing(&whole).asks_to_relay(), "250");
    relays(guest.showing(&by_key), &peer);
    assert_eq!(postern.log().matches("may relay by relay.certificates devices").count(), 2);
}

/// A whole message goes through to the next hop.
#[track_caller]
fn relays(guest: Guest<'_>, peer: &Peer) {
    let letter = stuffed(&content::plain("eva@branch.test", "ben@elsewhere.test", "By certificate"));
    let letter = String::from_utf8(letter).unwrap();
    let lines = ["MAIL FROM:<eva@branch.test>", "RCPT TO:<ben@elsewhere.test>", "DATA", letter.trim_end()];
    let codes: Vec<u16> = guest.says(&lines).iter().map(|reply| reply.code).collect();
    assert_eq!(codes, [250, 250, 250, 354, 250]);
    let taken = peer.wait_for(1).remove(0);
    assert!(taken.from.starts_with("<eva@branch.test>"), "{taken:?}");
}

#[test]
fn external_signs_in_the_user_whose_address_the_certificate_bears_and_nobody_else() {
    let Counter { setup, own, foreign } = Counter::new("asked");
    let postern = setup.start();
    postern.add_user("carl", "another password", "carl@home.test");
    let annas = own.issue_client(ANNA);
    let guest = Guest::of(&postern).at("submission");
    let signed_in = || ("235".to_owned(), true);
    // Nobody in particular, anna, anna@home.test.
    for acting_as in ["=", "YW5uYQ==", "YW5uYUBob21lLnRlc3Q="] {
        assert_eq!(guest.showing(&annas).signs_in(acting_as), signed_in(), "{acting_as}");
    }
    assert!(postern.log().contains("signed in by certificate: anna"), "{}", postern.log());
    let bad = || ("535 (bad-credentials)".to_owned(), true);
    // carl, carl@home.test.
    for acting_as in ["Y2FybA==", "Y2FybEBob21lLnRlc3Q="] {
        assert_eq!(guest.showing(&annas).signs_in(acting_as), bad(), "{acting_as}");
    }
    for name in ["nobody@home.test", "anna@elsewhere.test", "anna+x@home.test", "anna.home.test"] {
        let identity = own.issue_client(name);
        for acting_as in ["=", "YW5uYQ=="] {
            assert_eq!(guest.showing(&identity).signs_in(acting_as), bad(), "{name} {acting_as}");
        }
    }
    let not_offered = || ("504 (unknown-mechanism)".to_owned(), false);
    let forged = foreign.issue_client(ANNA);
    assert_eq!(guest.showing(&forged).signs_in("="), not_offered());
    assert_eq!(guest.over(Tls::V13).signs_in("="), not_offered());
    let clear = guest.says(&["AUTH EXTERNAL =", "QUIT"]);
    assert_eq!((clear[1].code / 100, offers_external(&clear[0])), (5, false), "{clear:?}");
    assert!(!postern.log().contains("signed in by certificate: carl"), "{}", postern.log());
}

#[test]
fn who_has_signed_in_by_certificate_writes_as_himself_only() {
    let Counter { setup, own, .. } = Counter::new("asked");
    let postern = setup.start();
    postern.add_user("carl", "another password", "carl@home.test");
    let annas = own.issue_client(ANNA);
    let guest = Guest::of(&postern).at("submission").showing(&annas);
    let lines = ["AUTH EXTERNAL", "", "MAIL FROM:<carl@home.test>", "MAIL FROM:<anna@home.test>", "QUIT"];
    let codes: Vec<u16> = guest.says(&lines).iter().map(|reply| reply.code).collect();
    assert_eq!(codes, [250, 334, 235, 553, 250, 221]);
}

#[test]
fn msmtp_submits_by_certificate() {
    let Counter { setup, own, .. } = Counter::new("asked");
    let annas = own.issue_client(ANNA);
    let peer = Peer::start();
    let postern = setup.next_hop(peer.address()).start();
    let letter = postern.folder().join("letter");
    let plain = content::plain(ANNA, "ben@elsewhere.test", "By certificate");
    std::fs::write(&letter, content::unix_lines(&plain)).unwrap();
    let mut command = program("msmtp");
    command.args(["--file=/dev/null", "--host=localhost", "--tls=on", "--auth=external", "--user=anna"]);
    command.arg(format!("--port={}", postern.at("submission").port()));
    command.arg(format!("--tls-trust-file={}", text(&postern.root())));
    command.arg(format!("--tls-cert-file={}", text(&annas.certificate)));
    command.arg(format!("--tls-key-file={}", text(&annas.key)));
    command.args([&format!("--from={ANNA}"), "--timeout=20", "--", "ben@elsewhere.test"]);
    succeed(command.stdin(std::fs::File::open(letter).unwrap()));
    let taken = peer.wait_for(1).remove(0);
    let text = String::from_utf8_lossy(&taken.content).into_owned();
    assert!(taken.from.starts_with("<anna@home.test>") && text.contains("ESMTPSA"), "{taken:?}");
}
