//! Connectors in full: several hosts, source addresses, address families, greetings, client certificates, signing in with passwords
//! and tokens, rates, schedules of their own, the switch, address spaces, policies on top of them, pins and distrust.

use std::fs::{self, Permissions};
use std::net::{Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use postern_testkit::dns::Zone;

use crate::support::certificates::{Identity, Kind};
use crate::support::dovecot::DovecotAuth;
use crate::support::https_host::{Answer, HttpsHost, Request};
use crate::support::names::{self, Names, ip};
use crate::support::peer::{Setup as PeerSetup, Step};
use crate::support::postern::{ANNA, PASSWORD, QUIET};
use crate::support::postfix::Postfix;
use crate::support::{Do, Peer, Postern, Setup, content, unused_address, wait_for, wait_for_maildir};

const BEN: &str = "ben@elsewhere.test";

/// A connector for everybody.
fn out(to: &str, keys: &str) -> String {
    format!("name = \"out\"\naddress_space = [\"*\"]\nto = {to}\n{keys}")
}

/// The one host at a port of `localhost`.
fn localhost(port: u16) -> String {
    format!("\"smtp:localhost:{port}\"")
}

/// Verified by the test's authority.
fn trust(setup: &Setup) -> String {
    format!("tls = \"verified\"\ntrust = {:?}\n", setup.authority().root())
}

#[track_caller]
fn submit(postern: &Postern, to: &str) {
    postern.submit(&[to], &content::plain(ANNA, to, "By a connector"));
}

fn server(identity: &Identity) -> PeerSetup {
    Peer::scripted(|_| Do::Usual).tls(identity.server_config())
}

/// A file for Postern's eyes only.
fn secret(setup: &Setup, name: &str, text: &str) -> PathBuf {
    let path = setup.folder().join(name);
    fs::write(&path, format!("{text}\n")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    path
}

/// The message waits for this reason, and the peer heard nothing of it.
#[track_caller]
fn assert_held_back(postern: &Postern, peer: &Peer, words: &str) {
    let shown = postern.wait_for_attempts(2);
    assert!(shown.contains(words), "no {words:?} in {shown}");
    assert!(!peer.heard("MAIL") && peer.taken().is_empty(), "{:?}", peer.said());
}

#[test]
fn the_next_host_takes_the_mail_when_those_before_it_do_not() {
    let busy = Peer::scripted(|step| if step.is("CONNECT") { Do::Say("421 4.3.2 Busy") } else { Do::Usual });
    let (dead, busy, healthy) = (unused_address(), busy.start(), Peer::start());
    let hosts = [dead, busy.address(), healthy.address()].map(|address| format!("\"smtp:{address}\""));
    let to = format!("[{}]", hosts.join(", "));
    let keys = "tls = \"none\"\nmessages_per_connection = 1";
    let postern = Setup::new().connector(&out(&to, keys)).start();
    submit(&postern, BEN);
    healthy.wait_for(1);
    postern.wait_for_empty_queue();
    assert_eq!(busy.sessions(), 1);
    let revived = Peer::scripted(|_| Do::Usual).start_at(dead);
    submit(&postern, BEN);
    revived.wait_for(1);
    assert_eq!((busy.sessions(), healthy.taken().len()), (1, 1));
}

#[test]
fn connections_come_from_the_source_address_and_greet_with_the_connector_s_name() {
    let receiver = Setup::new()
        .only_domain("name = \"elsewhere.test\"\ndeliver = \"mailboxes\"\nmailboxes = [\"ben\"]")
        .without_user()
        .start();
    let keys = "tls = \"none\"\nsource = [\"127.0.0.2\"]\nhello = \"out.home.test\"\nip = \"ipv4-only\"";
    let sender = Setup::new().connector(&out(&localhost(receiver.at("mx").port()), keys)).start();
    submit(&sender, BEN);
    let mail = String::from_utf8(receiver.wait_for_mail("ben", 1).remove(0)).unwrap();
    assert!(mail.contains("from out.home.test") && mail.contains("[127.0.0.2]"), "{mail}");
}

#[test]
fn the_address_family_is_the_connector_s_choice() {
    for (ip_key, by_six) in
        [("ipv6-first", true), ("ipv6-only", true), ("ipv4-first", false), ("ipv4-only", false)]
    {
        let six = Peer::scripted(|_| Do::Usual).start_at((Ipv6Addr::LOCALHOST, 0).into());
        let four = Peer::scripted(|_| Do::Usual).start_at((names::address(), six.port()).into());
        let zone = Zone::new().address("dual.test", ip(&four)).address("dual.test", Ipv6Addr::LOCALHOST);
        let names = Names::serve(zone);
        let keys = format!("tls = \"none\"\nip = \"{ip_key}\"");
        let to = format!("\"smtp:dual.test:{}\"", six.port());
        let postern = Setup::new().connector(&out(&to, &keys)).tables(&names.table()).start();
        submit(&postern, BEN);
        let (chosen, other) = if by_six { (&six, &four) } else { (&four, &six) };
        chosen.wait_for(1);
        postern.wait_for_empty_queue();
        assert_eq!(other.sessions(), 0, "{ip_key}");
    }
}

#[test]
fn the_other_family_is_tried_when_the_first_does_not_answer_and_only_where_it_may() {
    for (ip_key, arrives) in [("ipv6-first", true), ("ipv6-only", false)] {
        let four = Peer::scripted(|_| Do::Usual).start_at((names::address(), 0).into());
        let zone = Zone::new().address("dual.test", ip(&four)).address("dual.test", Ipv6Addr::LOCALHOST);
        let names = Names::serve(zone);
        let keys = format!("tls = \"none\"\nip = \"{ip_key}\"");
        let to = format!("\"smtp:dual.test:{}\"", four.port());
        let postern = Setup::new().connector(&out(&to, &keys)).tables(&names.table()).start();
        submit(&postern, BEN);
        if arrives {
            four.wait_for(1);
        } else {
            let shown = postern.wait_for_attempts(2);
            assert!(shown.contains("no connection"), "{shown}");
            assert_eq!(four.sessions(), 0);
        }
    }
}

#[test]
fn a_smarthost_with_tls_from_the_first_octet_gets_mail() {
    let setup = Setup::new();
    let identity = setup.authority().issue(&["localhost"]);
    let peer = Peer::scripted(|_| Do::Usual).implicit_tls(identity.server_config()).start();
    let keys = trust(&setup) + "implicit_tls = true";
    let postern = setup.connector(&out(&localhost(peer.port()), &keys)).start();
    submit(&postern, BEN);
    assert!(peer.wait_for(1)[0].content.ends_with(b"Good morning.\r\n"));
    postern.wait_for_empty_queue();
    assert!(!peer.heard("STARTTLS") && postern.log().contains(", verified)"));
}

#[test]
fn a_connection_carries_no_more_messages_than_allowed() {
    let peer = Peer::start();
    let keys = "tls = \"none\"\nmessages_per_connection = 2\nconcurrency = 1";
    let postern = Setup::new().connector(&out(&localhost(peer.port()), keys)).start();
    for count in 1..=4 {
        submit(&postern, BEN);
        peer.wait_for(count);
        postern.wait_for_empty_queue();
    }
    let sessions: Vec<usize> = peer.taken().iter().map(|taken| taken.session).collect();
    assert_eq!(sessions, [0, 0, 1, 1]);
}

/// Postern with a connector to a peer that demands client certificates, which shows the one for `shown`.
fn with_client_certificate(shown: Option<&str>) -> (Peer, Postern) {
    let setup = Setup::new();
    let identity = setup.authority().issue(&["localhost"]);
    let peer =
        Peer::scripted(|_| Do::Usual).tls(identity.server_config_for_clients_of(setup.authority())).start();
    let client = setup.authority().issue_client(shown.unwrap_or("nobody.test"));
    let table = format!(
        "[[tls.identity]]\nname = \"client\"\ncertificate = {:?}\nkey = {:?}\n",
        client.certificate, client.key
    );
    let keys = trust(&setup) + shown.map_or("", |_| "identity = \"client\"");
    let postern = setup.connector(&out(&localhost(peer.port()), &keys)).tables(&table).start();
    (peer, postern)
}

#[test]
fn a_peer_that_asks_for_a_client_certificate_is_shown_the_connector_s() {
    let (peer, postern) = with_client_certificate(Some("mail.home.test"));
    submit(&postern, BEN);
    assert!(peer.wait_for(1)[0].tls);
}

#[test]
fn without_a_client_certificate_a_peer_that_demands_one_takes_nothing_and_the_queue_says_so() {
    let (peer, postern) = with_client_certificate(None);
    submit(&postern, BEN);
    assert_held_back(&postern, &peer, "client certificate");
}

#[test]
fn a_relay_knows_a_sender_by_the_certificate_of_its_connector() {
    let peer = Peer::start();
    let house = Setup::new();
    let client = house.authority().issue_client("mail.branch.test");
    let ca = house.authority().root();
    let listener = format!(
        "[[listener]]\nname = \"mx\"\nrole = \"relay\"\nbind = [\"127.0.0.1:0\"]\nclient_certificates = \"asked\"\nclient_ca = {ca:?}\n"
    );
    let admitted = "[[relay.certificates]]\nname = \"branch\"\nnames = [\"mail.branch.test\"]";
    let relay = house.listeners(&listener).tables(admitted).without_user().next_hop(peer.address()).start();
    let table = format!(
        "[[tls.identity]]\nname = \"client\"\ncertificate = {:?}\nkey = {:?}\n",
        client.certificate, client.key
    );
    let to = localhost(relay.at("mx").port());
    for (keys, arrives) in [("", false), ("identity = \"client\"", true)] {
        let keys = format!("trust = {:?}\n{keys}", relay.root());
        let postern = Setup::new().connector(&out(&to, &keys)).tables(&table).start();
        submit(&postern, BEN);
        if arrives {
            peer.wait_for(1);
        } else {
            let report = String::from_utf8(postern.wait_for_mail("anna", 1).remove(0)).unwrap();
            assert!(report.contains("Status: 5.7."), "{report}");
        }
        postern.wait_for_empty_queue();
    }
    relay.wait_for_log("branch");
}

/// A relay that takes mail for everybody from those who have signed in, and what it sends on arrives at this peer.
fn relay() -> (Peer, Postern) {
    let peer = Peer::start();
    let postern = Setup::new().next_hop(peer.address()).start();
    (peer, postern)
}

/// A connector to this Postern's submission listener that signs in as Anna.
fn sign_in_at(setup: Setup, relay: &Postern, password: &str, keys: &str) -> Postern {
    let file = secret(&setup, "password", password);
    let keys = format!("trust = {:?}\nuser = \"anna\"\npassword_file = {file:?}\n{keys}", relay.root());
    let to = localhost(relay.at("submission").port());
    setup.connector(&out(&to, &keys)).start()
}

#[test]
fn postern_signs_in_at_postern() {
    for (mechanism, how) in
        [("", " by SCRAM: "), ("mechanism = \"plain\"", ": "), ("mechanism = \"login\"", ": ")]
    {
        let (peer, relay) = relay();
        let postern = sign_in_at(Setup::new(), &relay, PASSWORD, mechanism);
        submit(&postern, BEN);
        peer.wait_for(1);
        relay.wait_for_log(&format!("signed in{how}anna"));
    }
}

#[test]
fn a_refused_password_keeps_the_mail_waiting_and_the_queue_says_so() {
    let (peer, relay) = relay();
    let setup = Setup::new().queue("retry = [\"1h\"]");
    let postern = sign_in_at(setup, &relay, "another", "");
    submit(&postern, BEN);
    let shown = postern.wait_for_attempts(1);
    assert!(shown.contains("535") && shown.contains("AUTH"), "{shown}");
    assert!(peer.taken().is_empty());
    assert_eq!(postern.queue().len(), 1);
}

#[test]
fn a_password_is_not_said_to_a_peer_that_does_not_prove_itself() {
    let setup = Setup::new();
    let identity = setup.authority().issue_as(Kind::SelfSigned, &["localhost"]);
    let peer = server(&identity).offering("AUTH PLAIN LOGIN").start();
    let file = secret(&setup, "password", PASSWORD);
    // Whoever signs in demands "verified" without saying so.
    let keys = format!("user = \"anna\"\npassword_file = {file:?}");
    let postern = setup.connector(&out(&localhost(peer.port()), &keys)).start();
    submit(&postern, BEN);
    assert_held_back(&postern, &peer, "signed by itself");
    assert!(!peer.heard("AUTH"), "{:?}", peer.said());
}

#[test]
fn postern_signs_in_at_postfix_with_scram_and_the_others() {
    let dovecot = DovecotAuth::start("office", "Pass+7/word");
    let setup = Setup::new();
    let identity = setup.authority().issue(&["localhost"]);
    let postfix = Postfix::start_with_sign_in("elsewhere.test", &identity, &dovecot);
    let file = secret(&setup, "password", "Pass+7/word");
    let keys = trust(&setup) + &format!("user = \"office\"\npassword_file = {file:?}\n");
    let to = localhost(postfix.address().port());
    // The strongest that it offers, then each by name.
    for mechanism in ["", "mechanism = \"scram-sha-256\"", "mechanism = \"plain\"", "mechanism = \"login\""] {
        let postern = Setup::new().connector(&out(&to, &(keys.clone() + mechanism))).start();
        submit(&postern, BEN);
        postern.wait_for_empty_queue();
    }
    for mail in wait_for_maildir(&postfix.maildir(), 4) {
        let mail = String::from_utf8(mail).unwrap();
        assert!(mail.contains("(Authenticated sender: office)"), "{mail}");
    }
    let log = postfix.log();
    assert_eq!(log.matches("sasl_method=SCRAM-SHA-256").count(), 2, "{log}");
    assert!(log.contains("sasl_method=PLAIN") && log.contains("sasl_method=LOGIN"), "{log}");
}

/// A provider that takes tokens, and the host that hands them out.
struct Provider {
    setup: Setup,
    smtp: Peer,
    tokens: HttpsHost,
    names: Names,
}

/// What the SMTP side says to AUTH, and the token side to each request.
fn provider(auth: &'static str, tokens: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Provider {
    let setup = Setup::new().trusting_its_authority();
    let identity = setup.authority().issue(&["smtp.provider.test"]);
    let script = move |step: &Step<'_>| if step.is("AUTH") { Do::Say(auth) } else { Do::Usual };
    let smtp = Peer::scripted(script).tls(identity.server_config()).offering("AUTH XOAUTH2");
    let smtp = smtp.start_at((names::address(), 0).into());
    let tokens = HttpsHost::start(&setup.authority().issue(&["login.provider.test"]), tokens);
    let zone =
        Zone::new().address("smtp.provider.test", ip(&smtp)).address("login.provider.test", tokens.ip());
    let refresh = secret(&setup, "refresh", "first-refresh");
    let client = secret(&setup, "client", "client-secret");
    let keys = format!(
        "user = \"{ANNA}\"\nmechanism = \"xoauth2\"\nmessages_per_connection = 1\n[connector.oauth]\n\
         token_url = \"https://login.provider.test/token\"\nclient_id = \"postern\"\nscope = \"smtp send\"\n\
         client_secret_file = {client:?}\nrefresh_token_file = {refresh:?}"
    );
    let to = format!("\"smtp:smtp.provider.test:{}\"", smtp.port());
    let names = Names::serve(zone);
    let setup = setup.connector(&out(&to, &keys)).tables(&names.table());
    Provider { setup, smtp, tokens, names }
}

const TOKEN: &str = r#"{"access_token": "the-token", "token_type": "Bearer", "expires_in": 3600, "refresh_token": "second-refresh"}"#;

/// AUTH XOAUTH2 with this token, as it goes over the wire.
fn xoauth2(token: &str) -> String {
    use base64::Engine as _;
    let words = format!("user={ANNA}\x01auth=Bearer {token}\x01\x01");
    format!("AUTH XOAUTH2 {}", base64::engine::general_purpose::STANDARD.encode(words))
}

#[test]
fn a_token_is_fetched_once_for_many_messages_and_a_renewed_refresh_token_outlives_a_restart() {
    let Provider { setup, smtp, tokens, names: _names } =
        provider("235 2.7.0 Welcome", |_| Answer::json("200 OK", TOKEN));
    let mut postern = setup.start();
    for count in 1..=2 {
        submit(&postern, BEN);
        smtp.wait_for(count);
        postern.wait_for_empty_queue();
    }
    assert_eq!(
        smtp.said().iter().filter(|line| **line == xoauth2("the-token")).count(),
        2,
        "{:?}",
        smtp.said()
    );
    let first = tokens.requests();
    assert_eq!(first.len(), 1);
    assert_eq!(first[0].what, "POST /token");
    assert_eq!(
        first[0].text(),
        "grant_type=refresh_token&refresh_token=first-refresh&client_id=postern&client_secret=client-secret&scope=smtp%20send"
    );
    postern.terminate();
    postern.start();
    submit(&postern, BEN);
    smtp.wait_for(3);
    assert!(tokens.requests()[1].text().contains("refresh_token=second-refresh&"), "{:?}", tokens.requests());
    assert!(!postern.log().contains("the-token") && !postern.log().contains("refresh"), "{}", postern.log());
}

#[test]
fn a_provider_that_gives_no_token_is_not_asked_for_every_attempt_and_the_queue_says_why() {
    let answer = r#"{"error": "invalid_grant", "error_description": "consent was revoked"}"#;
    let Provider { setup, smtp, tokens, names: _names } =
        provider("235 2.7.0 Welcome", move |_| Answer::json("400 Bad Request", answer));
    let postern = setup.start();
    submit(&postern, BEN);
    assert_held_back(&postern, &smtp, "invalid_grant consent was revoked");
    postern.wait_for_attempts(4);
    assert_eq!(tokens.requests().len(), 1);
    assert_eq!(smtp.sessions(), 0);
}

#[test]
fn a_token_that_the_server_refuses_keeps_the_mail_waiting() {
    let Provider { setup, smtp, tokens: _tokens, names: _names } =
        provider("535 5.7.8 Token expired", |_| Answer::json("200 OK", TOKEN));
    let postern = setup.start();
    submit(&postern, BEN);
    assert_held_back(&postern, &smtp, "Token expired");
    assert!(postern.mail_of("anna").is_empty());
}

#[test]
fn a_connector_keeps_to_its_rate() {
    let peer = Peer::start();
    let keys = "tls = \"none\"\nrate = \"2/1s\"";
    let postern = Setup::new().connector(&out(&localhost(peer.port()), keys)).start();
    let began = Instant::now();
    for _ in 0..5 {
        submit(&postern, BEN);
    }
    peer.wait_for(5);
    // Two at once, then one in each half of a second.
    assert!(began.elapsed() >= Duration::from_millis(1400), "five in {:?}", began.elapsed());
}

#[test]
fn a_connector_gives_up_by_its_own_schedule() {
    let dead = unused_address();
    let connector = |name: &str, keys: &str| {
        format!(
            "name = \"{name}\"\naddress_space = [\"{name}.test\"]\nto = \"smtp:{dead}\"\ntls = \"none\"\n{keys}"
        )
    };
    let postern = Setup::new()
        .queue("retry = [\"1h\"]")
        .connector(&connector(
            "hasty",
            "retry = [\"200ms\"]\njitter = 0.0\nexpire = \"1s\"\ndelay_warning = \"never\"",
        ))
        .connector(&connector("patient", ""))
        .start();
    submit(&postern, "ben@hasty.test");
    submit(&postern, "ben@patient.test");
    let report = String::from_utf8(postern.wait_for_mail("anna", 1).remove(0)).unwrap();
    assert!(report.contains("ben@hasty.test") && report.contains("Action: failed"), "{report}");
    wait_for("the patient one to wait alone", || (postern.queue().len() == 1).then_some(()));
    let list = postern.cli(&["queue", "list"]);
    assert!(list.contains("patient.test") && !list.contains("hasty.test"), "{list}");
}

#[test]
fn mail_for_a_connector_out_of_service_waits_and_takes_no_other() {
    let (peer, other) = (Peer::start(), Peer::start());
    let partner = |enabled: bool| {
        format!(
            "name = \"partner\"\naddress_space = [\"elsewhere.test\"]\nto = {}\ntls = \"none\"\nenabled = {enabled}",
            localhost(peer.port())
        )
    };
    let mut postern = Setup::new()
        .queue("retry = [\"1h\"]")
        .connector(&out(&localhost(other.port()), "tls = \"none\""))
        .connector(&partner(false))
        .start();
    submit(&postern, BEN);
    let shown = postern.wait_for_attempts(1);
    assert!(shown.contains("switched off by an administrator"), "{shown}");
    submit(&postern, "ben@third.test");
    other.wait_for(1);
    postern.reload(|setup| setup.replace_connector(&partner(false), &partner(true)));
    postern.wait_for_log("configuration reloaded");
    peer.wait_for(1);
    postern.wait_for_empty_queue();
    assert_eq!(other.taken().len(), 1);
}

#[test]
fn the_most_specific_address_space_wins_and_then_the_lowest_cost() {
    let spaces = [
        ("all", "\"*\"", 1),
        ("below", "\"*.partner.test\"", 10),
        ("deeper", "\"*.east.partner.test\"", 10),
        ("exact", "\"partner.test\", \"one.east.partner.test\"", 30),
        ("dear", "\"*.partner.test\"", 20),
    ];
    let (mut setup, mut peers) = (Setup::new(), Vec::new());
    for (name, space, cost) in spaces {
        let peer = Peer::start();
        let to = localhost(peer.port());
        setup = setup.connector(&format!(
            "name = \"{name}\"\naddress_space = [{space}]\ncost = {cost}\nto = {to}\ntls = \"none\""
        ));
        peers.push(peer);
    }
    let postern = setup.start();
    for (domain, winner) in [
        ("partner.test", 3),
        ("west.partner.test", 1),
        ("a.b.partner.test", 1),
        ("two.east.partner.test", 2),
        ("one.east.partner.test", 3),
        ("notpartner.test", 0),
    ] {
        let before = peers[winner].taken().len();
        submit(&postern, &format!("ben@{domain}"));
        let taken = peers[winner].wait_for(before + 1);
        assert!(taken[before].to[0].contains(&format!("@{domain}>")), "{:?}", taken[before].to);
    }
    assert!(peers[4].taken().is_empty());
}

/// Four domains by one connector, which demands little; two policies demand more for some of them.
#[test]
fn a_policy_for_an_address_space_adds_to_what_the_connector_demands() {
    let setup = Setup::new();
    let identity = setup.authority().issue_as(Kind::SelfSigned, &["localhost"]);
    let peer = server(&identity).start();
    let policy =
        |space: &str, keys: &str| format!("[[outbound.policy]]\naddress_space = [{space}]\n{keys}\n");
    let right = format!("pins = [\"spki-sha256:{}\"]", identity.leaf().spki_sha256());
    let wrong = format!("pins = [\"sha256:{}\"]", "5e".repeat(32));
    let postern = setup
        .connector(&out(&localhost(peer.port()), "tls = \"opportunistic\""))
        .tables(&policy("\"bank.test\"", &right))
        .tables(&policy("\"*.bank.test\"", &wrong))
        .tables(&policy("\"strict.test\"", "tls = \"verified\""))
        .start();
    for to in ["ben@loose.test", "ben@bank.test"] {
        submit(&postern, to);
        postern.wait_for_log(&format!("delivered: {to}"));
    }
    let log = postern.log();
    let proof =
        |to: &str| log.lines().find(|line| line.contains(&format!("delivered: {to}"))).unwrap().to_owned();
    assert!(
        proof("ben@loose.test").contains("unverified") && proof("ben@bank.test").contains(", pinned)"),
        "{log}"
    );
    for (to, words) in
        [("ben@branch.bank.test", "no pin matches the certificate"), ("ben@strict.test", "signed by itself")]
    {
        submit(&postern, to);
        let shown = postern.wait_for_attempts(2);
        assert!(shown.contains(words) && shown.contains(to), "{shown}");
        postern.cli(&["queue", "remove", "--all"]);
    }
    assert_eq!(peer.taken().len(), 2);
}

#[test]
fn a_pinned_connector_takes_that_key_and_no_other() {
    let setup = Setup::new();
    // Bad by every other measure.
    let pinned = setup.authority().issue_as(Kind::SelfSigned, &["other.test"]);
    let stranger = setup.authority().issue(&["localhost"]);
    for (identity, arrives) in [(&pinned, true), (&stranger, false)] {
        let peer = server(identity).start();
        let keys = format!("pins = [\"sha256:{}\"]", pinned.leaf().sha256());
        let postern = Setup::new().connector(&out(&localhost(peer.port()), &keys)).start();
        submit(&postern, BEN);
        if arrives {
            peer.wait_for(1);
            postern.wait_for_log(", pinned)");
        } else {
            assert_held_back(&postern, &peer, "no pin matches the certificate");
        }
    }
}

#[test]
fn a_distrusted_key_proves_nothing_however_good_its_certificate() {
    let setup = Setup::new();
    let identity = setup.authority().issue(&["localhost"]);
    let peer = server(&identity).start();
    let keys = trust(&setup) + &format!("distrust = [\"spki-sha256:{}\"]", identity.leaf().spki_sha256());
    let postern = setup.connector(&out(&localhost(peer.port()), &keys)).start();
    submit(&postern, BEN);
    assert_held_back(&postern, &peer, "distrusted here");
}

#[test]
fn a_connector_that_is_down_for_good_leaves_the_others_alone() {
    let (dead, peer): (SocketAddr, _) = (unused_address(), Peer::start());
    let postern = Setup::new()
        .connector(&out(&localhost(peer.port()), "tls = \"none\""))
        .connector(&format!(
            "name = \"dead\"\naddress_space = [\"dead.test\"]\nto = \"smtp:{dead}\"\ntls = \"none\""
        ))
        .start();
    submit(&postern, "ben@dead.test");
    postern.wait_for_attempts(1);
    submit(&postern, BEN);
    peer.wait_for(1);
    std::thread::sleep(QUIET);
    assert!(postern.mail_of("anna").is_empty());
}
