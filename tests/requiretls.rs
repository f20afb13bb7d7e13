//! REQUIRETLS (RFC 8689 §4): what came with it goes on with it, over proven connections to servers that promise the same, or comes
//! back; and `TLS-Required: No`, which gets past what a destination publishes and never past our own configuration.

use postern_testkit::dns::Zone;

use crate::support::certificates::{Identity, Kind};
use crate::support::client::stuffed;
use crate::support::https_host::{Answer, HttpsHost};
use crate::support::names::{Names, Street, ip};
use crate::support::peer::Setup as PeerSetup;
use crate::support::postern::{ANNA, PASSWORD};
use crate::support::{Client, Do, Peer, Postern, Setup, content, wait_for};

const BEN: &str = "ben@away.test";

/// Anna sends with REQUIRETLS.
#[track_caller]
fn submit_requiring_tls(postern: &Postern, to: &str, content: &[u8]) {
    let mut client = postern.signed_in();
    client.say(&format!("MAIL FROM:<{ANNA}> REQUIRETLS")).expect(250);
    client.say(&format!("RCPT TO:<{to}>")).expect(250);
    client.say("DATA").expect(354);
    client.send(&stuffed(content));
    client.reply().expect(250);
}

fn letter() -> Vec<u8> {
    content::with_body(ANNA, BEN, "In confidence", b"The secret of the house.\r\n")
}

/// The same with the header field by which a sender does without TLS.
fn postcard() -> Vec<u8> {
    [&b"TLS-Required: No\r\n"[..], &letter()].concat()
}

fn server(identity: &Identity) -> PeerSetup {
    Peer::scripted(|_| Do::Usual).tls(identity.server_config())
}

/// A Postern that sends all mail for the domain to this port, over TLS that its own authority vouches for.
fn smarthost(setup: Setup, port: u16, tls: &str) -> Postern {
    let trust = setup.authority().root();
    let connector = format!(
        "name = \"out\"\naddress_space = [\"away.test\"]\nto = \"smtp:localhost:{port}\"\ntls = \"{tls}\"\ntrust = {trust:?}"
    );
    setup.connector(&connector).start()
}

#[test]
fn a_chain_of_servers_that_prove_themselves_carries_it_to_the_end() {
    let last_setup = Setup::new();
    let identity = last_setup.authority().issue(&["localhost"]);
    let last = server(&identity).offering("REQUIRETLS").start();
    // The middle one sends to a peer that its own authority vouches for; the first one trusts the middle one.
    let out = format!(
        "name = \"on\"\naddress_space = [\"away.test\"]\nto = \"smtp:localhost:{}\"\ntrust = {:?}",
        last.port(),
        last_setup.authority().root()
    );
    let middle = last_setup
        .connector(&out)
        .tables("[[relay.networks]]\nname = \"first\"\nnetworks = [\"127.0.0.1\"]")
        .start();
    let first = {
        let out = format!(
            "name = \"out\"\naddress_space = [\"away.test\"]\nto = \"smtp:localhost:{}\"\ntrust = {:?}",
            middle.at("mx").port(),
            middle.root()
        );
        Setup::new().connector(&out).start()
    };
    submit_requiring_tls(&first, BEN, &letter());
    let taken = last.wait_for(1).remove(0);
    assert!(taken.tls && taken.from.contains("REQUIRETLS"), "{}", taken.from);
    first.wait_for_empty_queue();
    middle.wait_for_empty_queue();
    for postern in [&first, &middle] {
        assert!(postern.log().contains(", verified)"), "{}", postern.log());
    }
}

#[test]
fn a_server_that_does_not_promise_it_gets_nothing_and_the_report_shows_no_content() {
    let setup = Setup::new();
    let identity = setup.authority().issue(&["localhost"]);
    let peer = server(&identity).start();
    let postern = smarthost(setup, peer.port(), "opportunistic");
    submit_requiring_tls(&postern, BEN, &letter());
    let report = String::from_utf8(postern.wait_for_mail("anna", 1).remove(0)).unwrap();
    assert!(report.contains("Status: 5.7.30") && report.contains(BEN), "{report}");
    assert!(report.contains("In confidence") && !report.contains("The secret of the house"), "{report}");
    assert!(!peer.heard("MAIL"), "{:?}", peer.said());
    postern.wait_for_empty_queue();
}

#[test]
fn a_server_that_does_not_prove_itself_gets_nothing() {
    let setup = Setup::new();
    let identity = setup.authority().issue_as(Kind::SelfSigned, &["localhost"]);
    let peer = server(&identity).offering("REQUIRETLS").start();
    let postern = smarthost(setup, peer.port(), "opportunistic");
    submit_requiring_tls(&postern, BEN, &letter());
    let shown = postern.wait_for_attempts(2);
    assert!(shown.contains("signed by itself"), "{shown}");
    assert!(!peer.heard("MAIL"), "{:?}", peer.said());
    // What does not require it goes at once, over a connection of its own.
    postern.submit(&[BEN], &letter());
    assert!(!peer.wait_for(1)[0].from.contains("REQUIRETLS"));
}

#[test]
fn it_is_neither_offered_nor_taken_in_clear() {
    let postern = Setup::new().start();
    let mut client = Client::connect(postern.at("mx"));
    assert!(!client.say("EHLO client.test").offers("REQUIRETLS"));
    client.say("MAIL FROM:<a@stranger.test> REQUIRETLS").expect(530);
    let mut client = Client::connect_starttls(postern.at("mx"), &postern.root(), "localhost");
    assert!(client.say("EHLO client.test").offers("REQUIRETLS"));
    client.sign_in("anna", PASSWORD).expect(235);
    client.say(&format!("MAIL FROM:<{ANNA}> REQUIRETLS")).expect(250);
}

/// One mail domain that publishes policies; its host and its names.
struct Town {
    setup: Setup,
    street: Street,
    peer: Peer,
    zone: Zone,
}

impl Town {
    fn new(kind: Kind) -> Town {
        let setup = Setup::new().trusting_its_authority();
        let identity = setup.authority().issue_as(kind, &["mx.away.test"]);
        let street = Street::new();
        let peer = street.house(server(&identity).offering("REQUIRETLS"));
        let zone = Zone::new().mx("away.test", 10, "mx.away.test").address("mx.away.test", ip(&peer));
        Town { setup, street, peer, zone }
    }

    /// With a TLSA record that nobody matches.
    fn with_tlsa(mut self) -> Town {
        let name = format!("_{}._tcp.mx.away.test", self.street.port());
        self.zone = self.zone.tlsa(&name, 3, 1, 1, &[0x5e; 32]).all_secure();
        self
    }

    /// With an MTA-STS policy that names the host, enforced.
    fn with_policy(mut self) -> (Town, HttpsHost) {
        let identity = self.setup.authority().issue(&["mta-sts.away.test"]);
        let host = HttpsHost::start(&identity, |_| {
            Answer::text("version: STSv1\nmode: enforce\nmx: mx.away.test\nmax_age: 86400\n")
        });
        self.zone =
            self.zone.txt("_mta-sts.away.test", "v=STSv1; id=1;").address("mta-sts.away.test", host.ip());
        (self, host)
    }

    fn start(self, tls: &str) -> (Names, Peer, Postern) {
        let connector = format!(
            "name = \"out\"\nto = \"mx\"\naddress_space = [\"*\"]\nport = {}\ntls = \"{tls}\"",
            self.street.port()
        );
        let names = Names::serve(self.zone);
        let postern = self.setup.connector(&connector).tables(&names.table()).start();
        (names, self.peer, postern)
    }
}

#[test]
fn a_host_that_nobody_vouches_for_gets_nothing_that_requires_tls() {
    let (_names, peer, postern) = Town::new(Kind::Good).start("opportunistic");
    submit_requiring_tls(&postern, BEN, &letter());
    let shown = postern.wait_for_attempts(2);
    assert!(shown.contains("vouched for by nobody"), "{shown}");
    assert_eq!(peer.sessions(), 0);
}

#[test]
fn a_policy_vouches_for_the_host() {
    let (town, _host) = Town::new(Kind::Good).with_policy();
    let (_names, peer, postern) = town.start("opportunistic");
    submit_requiring_tls(&postern, BEN, &letter());
    assert!(peer.wait_for(1)[0].from.contains("REQUIRETLS"));
    postern.wait_for_empty_queue();
}

#[test]
fn signed_names_vouch_for_the_host() {
    let mut town = Town::new(Kind::Good);
    town.zone = town.zone.all_secure();
    let (_names, peer, postern) = town.start("opportunistic");
    submit_requiring_tls(&postern, BEN, &letter());
    assert!(peer.wait_for(1)[0].from.contains("REQUIRETLS"));
    postern.wait_for_empty_queue();
}

#[test]
fn a_sender_who_does_without_tls_gets_past_an_enforced_policy() {
    let (town, _host) = Town::new(Kind::SelfSigned).with_policy();
    let (_names, peer, postern) = town.start("opportunistic");
    postern.submit(&[BEN], &letter());
    postern.wait_for_attempts(1);
    postern.submit(&[BEN], &postcard());
    let taken = peer.wait_for(1).remove(0);
    assert!(taken.content.ends_with(&postcard()), "the field goes on with the message");
    wait_for("the other one to wait alone", || (postern.queue().len() == 1).then_some(()));
    postern.wait_for_attempts(2);
    assert_eq!(peer.taken().len(), 1);
}

#[test]
fn a_sender_who_does_without_tls_gets_past_a_tlsa_record_that_does_not_match() {
    let (_names, peer, postern) = Town::new(Kind::SelfSigned).with_tlsa().start("opportunistic");
    postern.submit(&[BEN], &letter());
    postern.wait_for_attempts(1);
    postern.submit(&[BEN], &postcard());
    let taken = peer.wait_for(1).remove(0);
    // Not in clear, as long as there is TLS.
    assert!(taken.tls && taken.content.ends_with(&postcard()));
}

#[test]
fn a_sender_who_does_without_tls_gets_past_forged_tlsa_records() {
    let mut town = Town::new(Kind::SelfSigned);
    let name = format!("_{}._tcp.mx.away.test", town.street.port());
    town.zone = town.zone.tlsa(&name, 3, 1, 1, &[0x5e; 32]).all_secure().bogus(&name);
    let (_names, peer, postern) = town.start("opportunistic");
    postern.submit(&[BEN], &letter());
    let shown = postern.wait_for_attempts(1);
    assert!(shown.contains("DNSSEC does not vouch"), "{shown}");
    assert_eq!(peer.sessions(), 0);
    postern.submit(&[BEN], &postcard());
    assert!(peer.wait_for(1)[0].content.ends_with(&postcard()));
}

#[test]
fn a_sender_who_does_without_tls_does_not_get_past_our_own_configuration() {
    let setup = Setup::new();
    let identity = setup.authority().issue_as(Kind::SelfSigned, &["localhost"]);
    let peer = server(&identity).start();
    let postern = smarthost(setup, peer.port(), "verified");
    postern.submit(&[BEN], &postcard());
    let shown = postern.wait_for_attempts(2);
    assert!(shown.contains("signed by itself"), "{shown}");
    assert!(!peer.heard("MAIL"), "{:?}", peer.said());
}

#[test]
fn beside_requiretls_the_header_field_counts_for_nothing() {
    let setup = Setup::new();
    let identity = setup.authority().issue_as(Kind::SelfSigned, &["localhost"]);
    let peer = server(&identity).offering("REQUIRETLS").start();
    let postern = smarthost(setup, peer.port(), "opportunistic");
    submit_requiring_tls(&postern, BEN, &postcard());
    postern.wait_for_attempts(2);
    assert!(!peer.heard("MAIL"), "{:?}", peer.said());
}
