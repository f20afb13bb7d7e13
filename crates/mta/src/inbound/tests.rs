//! What is demanded of clients, over real TLS against a whole daemon: versions, certificates, policies.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use postern_pki::{MinimumVersion, Pin};
use postern_smtp::secret::Secret;
use rustls::client::{ClientConfig, WebPkiServerVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWrite, AsyncWriteExt, BufStream};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::certificates::{Authority, Issued, Life};
use crate::config::{
    AddressSpace, Allowance, ClientCertificates, Config, InboundPolicy, InboundTls, NamedCertificates,
    Surroundings,
};
use crate::daemon::Daemon;
use crate::directory::Users;
use crate::observe::{Observer, Record, Sink};

/// How long anything may take before it counts as failed.
const PATIENCE: Duration = Duration::from_secs(20);

const CONFIG: &str = "
    hostname = 'mx.example.org'
    [[listener]]
    name = 'mx'
    role = 'relay'
    bind = ['127.0.0.1:0']
    [[listener]]
    name = 'submission'
    role = 'submission'
    bind = ['127.0.0.1:0']
    tls = 'required'
    [[domain]]
    name = 'example.org'
    deliver = 'store'
    mailboxes = ['info']
    [[connector]]
    name = 'store'
    to = 'maildir:/nowhere/{local}'
";

/// A daemon, and what it says.
struct House {
    folder: TempDir,
    daemon: Daemon,
    said: Said,
}

#[derive(Clone)]
struct Said(watch::Sender<Vec<String>>);

impl Sink for Said {
    fn record(&self, record: &Record) {
        self.0.send_modify(|lines| lines.push(record.event.to_string()));
    }
}

impl Said {
    /// Waits until a line with all of these texts was said.
    async fn line(&self, texts: &[&str]) -> String {
        let fits = |line: &&String| texts.iter().all(|text| line.contains(text));
        let mut lines = self.0.subscribe();
        let found = timeout(PATIENCE, lines.wait_for(|lines| lines.iter().any(|line| fits(&line)))).await;
        let Ok(Ok(lines)) = found else { panic!("nobody said {texts:?}: {:#?}", *self.0.borrow()) };
        lines.iter().find(fits).cloned().unwrap_or_default()
    }

    fn count(&self, text: &str) -> usize {
        self.0.borrow().iter().filter(|line| line.contains(text)).count()
    }
}

impl House {
    /// Both listeners treat clients' certificates as given; more is set by the caller.
    async fn new(certificates: ClientCertificates, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        for listener in &mut config.listeners {
            listener.client_certificates = certificates.clone();
        }
        change(&mut config);
        let said = Said(watch::Sender::default());
        let users = Users::open(&config.data_dir).unwrap();
        users.add("anna", &Secret::new("secret word"), &["anna@example.org".parse().unwrap()]).unwrap();
        users.add("bob", &Secret::new("other word"), &["bob@example.org".parse().unwrap()]).unwrap();
        let daemon = Daemon::start(config, Observer::new(vec![Box::new(said.clone())]), mpsc::channel(1).0);
        Self { daemon: daemon.await.unwrap(), folder, said }
    }

    fn address(&self, listener: &str) -> SocketAddr {
        self.daemon.addresses().into_iter().find(|(name, _)| name == listener).unwrap().1
    }

    /// A client that has read the banner and said EHLO.
    async fn call(&self, listener: &str) -> Caller {
        let stream = TcpStream::connect(self.address(listener)).await.unwrap();
        let mut caller = Caller(Box::new(BufStream::new(stream)));
        assert!(caller.reply().await.unwrap().starts_with("220"));
        assert!(caller.say("EHLO client.example").await.unwrap().starts_with("250"));
        caller
    }

    /// A client that has said EHLO under TLS, or how that failed.
    async fn call_with(
        &self,
        listener: &str,
        version: &'static SupportedProtocolVersion,
        shown: Option<&Issued>,
    ) -> io::Result<(Caller, String)> {
        let stream = TcpStream::connect(self.address(listener)).await?;
        let mut caller = BufStream::new(stream);
        for command in ["", "EHLO client.example\r\n", "STARTTLS\r\n"] {
            caller.write_all(command.as_bytes()).await?;
            caller.flush().await?;
            read_reply(&mut caller).await?;
        }
        let connector = TlsConnector::from(self.client(version, shown));
        let name = ServerName::try_from("localhost").unwrap();
        let stream = timeout(PATIENCE, connector.connect(name, caller.into_inner())).await??;
        let mut caller = Caller(Box::new(BufStream::new(stream)));
        let announced = caller.say("EHLO client.example").await?;
        Ok((caller, announced))
    }

    fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        shown: Option<&Issued>,
    ) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.folder.path().join("ca/root.pem")).unwrap()).unwrap();
        let provider = postern_pki::provider();
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_webpki_verifier(verifier.build().unwrap());
        Arc::new(match shown {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                builder.with_client_auth_cert(vec![issued.certificate.clone()], issued.key()).unwrap()
            }
        })
    }
}

fn config(folder: &Path) -> Config {
    let path = folder.join("postern.toml");
    std::fs::write(&path, CONFIG).unwrap();
    let mut config = Config::load(&path, &Surroundings::default()).unwrap();
    folder.clone_into(&mut config.data_dir);
    config
}

trait Duplex: AsyncBufRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncBufRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// One connection.
struct Caller(Box<dyn Duplex>);

impl Caller {
    /// Says a line; the whole reply.
    async fn say(&mut self, line: &str) -> io::Result<String> {
        self.0.write_all(format!("{line}\r\n").as_bytes()).await?;
        self.0.flush().await?;
        self.reply().await
    }

    async fn reply(&mut self) -> io::Result<String> {
        read_reply(&mut self.0).await
    }

    /// Says a line and expects a reply with this code and this text.
    #[track_caller]
    fn expects<'a>(&'a mut self, line: &'a str, reply: &'a [&'a str]) -> impl Future<Output = ()> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let said = self.say(line).await.unwrap();
            assert!(reply.iter().all(|text| said.contains(text)), "{caller}: {line}: {said}");
        }
    }
}

async fn read_reply(stream: &mut (impl AsyncBufRead + Unpin)) -> io::Result<String> {
    let mut reply = String::new();
    loop {
        let mut line = String::new();
        if timeout(PATIENCE, stream.read_line(&mut line)).await?? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        reply.push_str(&line);
        if line.as_bytes().get(3) == Some(&b' ') {
            return Ok(reply);
        }
    }
}

fn asked(authority: &Authority) -> ClientCertificates {
    ClientCertificates::Asked(authority.root())
}

#[tokio::test]
async fn a_listeners_minimum_version_is_refused_below_and_taken_from_there() {
    let house = House::new(ClientCertificates::Ignored, |config| {
        config.listeners[0].minimum = MinimumVersion::Tls13;
    })
    .await;
    assert!(house.call_with("mx", &TLS12, None).await.is_err());
    house.said.line(&["TLS", "127.0.0.1", "mx", "only TLS 1.3 is taken here"]).await;
    assert!(house.call_with("mx", &TLS13, None).await.is_ok());
    assert!(house.call_with("submission", &TLS12, None).await.is_ok(), "each listener has its own");
}

#[tokio::test]
async fn what_is_no_report_is_refused_at_the_end_of_data_unless_it_has_other_recipients() {
    let house = House::new(ClientCertificates::Ignored, |config| {
        config.tls_reports.receive = Some("tls@example.org".parse().unwrap());
    })
    .await;
    let mut caller = house.call("mx").await;
    let refusal = ["550 5.6.1", "only TLS reports: the message holds no TLS report", "(no-tls-report)"];
    for (recipients, reply) in [
        (&["TLS@example.org"][..], &refusal[..]),
        (&["tls@example.org", "info@example.org"], &["250 2.0.0 Q"]),
    ] {
        caller.expects("MAIL FROM:<x@branch.example>", &["250"]).await;
        for recipient in recipients {
            caller.expects(&format!("RCPT TO:<{recipient}>"), &["250"]).await;
        }
        caller.expects("DATA", &["354"]).await;
        caller.expects("Subject: x\r\n\r\nIs anybody there?\r\n.", reply).await;
    }
    house.said.line(&["refused at end of content", "(no-tls-report)"]).await;
    house.said.line(&["dropped, the address takes only TLS reports"]).await;
}

#[tokio::test]
async fn what_cannot_be_stored_counts_for_nothing_and_the_burst_is_told_of_with_the_first_that_is() {
    let trusted = Authority::new();
    let house = House::new(asked(&trusted), |config| {
        let two = Some(Allowance { most: 2, per: Duration::from_hours(1) });
        config.protection.rates.principal.messages = two;
        config.protection.bursts.floor = 0;
    })
    .await;
    let anna = trusted.issue("anna@example.org", Life::Current);
    let (mut caller, _) = house.call_with("submission", &TLS13, Some(&anna)).await.unwrap();
    caller.expects("AUTH EXTERNAL =", &["235"]).await;
    let queue = rusqlite::Connection::open(house.folder.path().join("queue.db")).unwrap();
    let full = "CREATE TRIGGER full BEFORE INSERT ON message BEGIN SELECT RAISE(FAIL, 'no more room'); END";
    queue.execute_batch(full).unwrap();
    for (round, reply) in ["451", "451", "451", "250", "250", "450"].into_iter().enumerate() {
        if round == 3 {
            queue.execute_batch("DROP TRIGGER full").unwrap();
            assert_eq!(house.said.count("suddenly sends much more"), 0, "nothing is held yet");
        }
        if reply == "450" {
            caller.expects("MAIL FROM:<anna@example.org>", &["(too-fast)"]).await;
            break;
        }
        caller.expects("MAIL FROM:<anna@example.org>", &["250"]).await;
        caller.expects("RCPT TO:<x@elsewhere.example>", &["250"]).await;
        caller.expects("DATA", &["354"]).await;
        caller.expects("From: anna@example.org\r\n\r\nHello.\r\n.", &[reply]).await;
    }
    house.said.line(&["anna suddenly sends much more than usual: 1 recipients"]).await;
    assert_eq!(house.said.count("anna suddenly sends much more"), 1);
}

#[tokio::test]
async fn a_banned_client_behind_a_front_end_is_told_of_once_a_minute_as_any_other_is() {
    let house = House::new(ClientCertificates::Ignored, |config| {
        for listener in &mut config.listeners {
            listener.xclient.networks = vec!["127.0.0.0/8".parse().unwrap()];
        }
        config.protection.guessing.network.most = 1;
    })
    .await;
    let (mut caller, _) = house.call_with("submission", &TLS13, None).await.unwrap();
    caller.expects("XCLIENT ADDR=203.0.113.9 PORT=4711", &["220"]).await;
    caller.expects("EHLO guesser.example", &["250"]).await;
    // anna, and a wrong password.
    caller.expects("AUTH PLAIN AGFubmEAd3Jvbmc=", &["421"]).await;
    for _ in 0..3 {
        let mut caller = house.call("mx").await;
        caller.expects("XCLIENT ADDR=203.0.113.9 PORT=4711", &["554 5.7.1", "(banned)"]).await;
    }
    house.said.line(&["turned away: 203.0.113.9 on mx"]).await;
    assert_eq!(house.said.count("turned away"), 1);
    assert_eq!(house.said.count("refused at XCLIENT"), 0);
}

#[tokio::test]
async fn where_a_certificate_is_required_only_one_that_verifies_gets_through() {
    let (trusted, foreign) = (Authority::new(), Authority::new());
    let house = House::new(ClientCertificates::Required(trusted.root()), |_| ()).await;
    let good = trusted.issue("mail.branch.example", Life::Current);
    let expired = trusted.issue("mail.branch.example", Life::Expired);
    let strange = foreign.issue("mail.branch.example", Life::Current);
    for version in [&TLS12, &TLS13] {
        for bad in [None, Some(&expired), Some(&strange)] {
            assert!(house.call_with("mx", version, bad).await.is_err());
        }
        assert!(house.call_with("mx", version, Some(&good)).await.is_ok());
    }
}

#[tokio::test]
async fn where_a_certificate_is_asked_for_a_bad_one_or_none_makes_a_stranger() {
    let (trusted, foreign) = (Authority::new(), Authority::new());
    let house = House::new(asked(&trusted), |config| list_branch(config, Vec::new())).await;
    let expired = trusted.issue("mail.branch.example", Life::Expired);
    let strange = foreign.issue("mail.branch.example", Life::Current);
    for version in [&TLS12, &TLS13] {
        for shown in [None, Some(&expired), Some(&strange)] {
            let (mut caller, announced) = house.call_with("submission", version, shown).await.unwrap();
            assert!(announced.contains(" PLAIN LOGIN") && !announced.contains("EXTERNAL"), "{announced}");
            caller.expects("AUTH EXTERNAL =", &["504", "(unknown-mechanism)"]).await;
            let (mut caller, _) = house.call_with("mx", version, shown).await.unwrap();
            caller.expects("MAIL FROM:<x@branch.example>", &["250"]).await;
            caller.expects("RCPT TO:<x@elsewhere.example>", &["550", "(relay-denied)"]).await;
            caller.expects("RCPT TO:<nobody@example.org>", &["550", "(unknown-user)"]).await;
            caller.expects("RCPT TO:<info@example.org>", &["250"]).await;
        }
    }
    house
        .said
        .line(&["refused at RCPT", "(relay-denied)", "its certificate does not verify", "expired"])
        .await;
    let unknown = house.said.line(&["(unknown-user)"]).await;
    assert!(!unknown.contains("certificate"), "that has nothing to do with it: {unknown}");
    assert_eq!(house.said.count("may relay by"), 0);
}

#[tokio::test]
async fn a_certificate_for_a_users_address_signs_him_in() {
    let trusted = Authority::new();
    let house = House::new(asked(&trusted), |_| ()).await;
    let anna = trusted.issue("anna@example.org", Life::Current);
    for line in ["AUTH EXTERNAL =", "AUTH EXTERNAL YW5uYQ==", "AUTH EXTERNAL YW5uYUBleGFtcGxlLm9yZw=="] {
        let (mut caller, announced) = house.call_with("submission", &TLS13, Some(&anna)).await.unwrap();
        assert!(announced.contains(" PLAIN LOGIN EXTERNAL"), "{announced}");
        caller.expects(line, &["235"]).await;
        caller.expects("MAIL FROM:<bob@example.org>", &["553", "(sender-not-owned)"]).await;
        caller.expects("MAIL FROM:<anna@example.org>", &["250"]).await;
        caller.expects("RCPT TO:<x@elsewhere.example>", &["250"]).await;
    }
    house.said.line(&["signed in by certificate: anna"]).await;
}

#[tokio::test]
async fn a_certificate_signs_nobody_else_in() {
    let trusted = Authority::new();
    let house = House::new(asked(&trusted), |_| ()).await;
    let anna = trusted.issue("anna@example.org", Life::Current);
    let nobody = trusted.issue("nobody@example.org", Life::Current);
    let host = trusted.issue("mx.example.org", Life::Current);
    // bob, and bob@example.org
    for (shown, line) in [
        (&anna, "AUTH EXTERNAL Ym9i"),
        (&anna, "AUTH EXTERNAL Ym9iQGV4YW1wbGUub3Jn"),
        (&nobody, "AUTH EXTERNAL ="),
        (&host, "AUTH EXTERNAL ="),
        (&host, "AUTH EXTERNAL YW5uYQ=="),
    ] {
        let (mut caller, _) = house.call_with("submission", &TLS13, Some(shown)).await.unwrap();
        caller.expects(line, &["535", "(bad-credentials)"]).await;
        caller.expects("MAIL FROM:<anna@example.org>", &["530", "(sign-in-first)"]).await;
    }
    house.said.line(&["sign-in failed: nobody@example.org"]).await;
    assert_eq!(house.said.count("signed in"), 0);
}

#[tokio::test]
async fn a_listed_certificate_relays_and_another_of_the_same_authority_does_not() {
    let trusted = Authority::new();
    let branch = trusted.issue("mail.branch.example", Life::Current);
    let other = trusted.issue("other.example", Life::Current);
    let house = House::new(asked(&trusted), |config| list_branch(config, Vec::new())).await;
    for (shown, reply) in
        [(Some(&branch), &["250"][..]), (Some(&other), &["550", "(relay-denied)"]), (None, &["550"])]
    {
        let (mut caller, _) = house.call_with("mx", &TLS13, shown).await.unwrap();
        caller.expects("MAIL FROM:<x@branch.example>", &["250"]).await;
        caller.expects("RCPT TO:<x@elsewhere.example>", reply).await;
        caller.expects("RCPT TO:<y@elsewhere.example>", reply).await;
    }
    house.said.line(&["may relay by relay.certificates branch"]).await;
    assert_eq!(house.said.count("may relay by"), 1, "once in a session");
}

#[tokio::test]
async fn the_right_to_relay_is_neither_in_clear_nor_on_a_submission_listener() {
    let trusted = Authority::new();
    let branch = trusted.issue("mail.branch.example", Life::Current);
    let house = House::new(asked(&trusted), |config| list_branch(config, Vec::new())).await;
    let mut caller = house.call("mx").await;
    caller.expects("MAIL FROM:<x@branch.example>", &["250"]).await;
    caller.expects("RCPT TO:<x@elsewhere.example>", &["550", "(relay-denied)"]).await;
    let (mut caller, _) = house.call_with("submission", &TLS13, Some(&branch)).await.unwrap();
    caller.expects("MAIL FROM:<x@branch.example>", &["530", "(sign-in-first)"]).await;
}

#[tokio::test]
async fn a_certificate_listed_by_its_digest_relays() {
    let trusted = Authority::new();
    let named = trusted.issue("printer.example", Life::Current);
    let wrong = trusted.issue("printer.example", Life::Current);
    let identity = sha256(&named.certificate);
    let house =
        House::new(asked(&trusted), |config| list_branch(config, vec![Pin::Certificate(identity)])).await;
    for (shown, reply) in [(&named, "250"), (&wrong, "550")] {
        let (mut caller, _) = house.call_with("mx", &TLS13, Some(shown)).await.unwrap();
        caller.expects("MAIL FROM:<>", &["250"]).await;
        caller.expects("RCPT TO:<x@elsewhere.example>", &[reply]).await;
    }
}

#[tokio::test]
async fn a_senders_domain_can_demand_tls_and_a_version() {
    let policy = policy("partner mail", InboundTls::Required, &["partner.example"], &[]);
    let house = House::new(ClientCertificates::Ignored, |config| {
        config.inbound_policies = vec![InboundPolicy { minimum: MinimumVersion::Tls13, ..policy }];
    })
    .await;
    let mut caller = house.call("mx").await;
    caller.expects("MAIL FROM:<a@partner.example>", &["530", "(tls-demanded)"]).await;
    caller.expects("MAIL FROM:<a@partner.example> REQUIRETLS", &["530", "(requiretls-in-clear)"]).await;
    caller.expects("MAIL FROM:<>", &["250"]).await;
    caller.expects("RSET", &["250"]).await;
    caller.expects("MAIL FROM:<a@elsewhere.example>", &["250"]).await;
    let said = house.said.line(&["by policy partner mail", "(tls-demanded)", "in clear"]).await;
    assert!(said.contains("refused at MAIL <a@partner.example> from 127.0.0.1"), "{said}");
    let (mut caller, _) = house.call_with("mx", &TLS12, None).await.unwrap();
    caller.expects("MAIL FROM:<a@partner.example>", &["550", "TLSv1.2", "(tls-too-old)"]).await;
    let (mut caller, _) = house.call_with("mx", &TLS13, None).await.unwrap();
    caller.expects("MAIL FROM:<a@partner.example>", &["250"]).await;
}

#[tokio::test]
async fn a_clients_network_can_demand_a_certificate_of_every_sender() {
    let trusted = Authority::new();
    let good = trusted.issue("mail.branch.example", Life::Current);
    let expired = trusted.issue("mail.branch.example", Life::Expired);
    let house = House::new(asked(&trusted), |config| {
        config.inbound_policies = vec![policy("branches", InboundTls::Verified, &[], &["127.0.0.0/8"])];
    })
    .await;
    let mut caller = house.call("mx").await;
    caller.expects("MAIL FROM:<>", &["530", "(tls-demanded)"]).await;
    for (shown, reply) in [
        (None, &["550", "(certificate-needed)"][..]),
        (Some(&expired), &["454", "(certificate-unproved)"]),
        (Some(&good), &["250"]),
    ] {
        let (mut caller, _) = house.call_with("mx", &TLS13, shown).await.unwrap();
        caller.expects("MAIL FROM:<>", reply).await;
    }
    house.said.line(&["by policy branches", "(certificate-unproved)", "expired"]).await;
}

#[tokio::test]
async fn authorities_that_cannot_be_loaded_never_let_more_in() {
    let nowhere = || "/nowhere/ca.pem".into();
    for (certificates, with_tls) in
        [(ClientCertificates::Asked(nowhere()), true), (ClientCertificates::Required(nowhere()), false)]
    {
        let house = House::new(certificates, |config| list_branch(config, Vec::new())).await;
        house.said.line(&["listener mx", "/nowhere/ca.pem", "client_ca"]).await;
        let shown = Authority::new().issue("mail.branch.example", Life::Current);
        match house.call_with("mx", &TLS13, Some(&shown)).await {
            Ok((mut caller, _)) => {
                assert!(with_tls);
                caller.expects("MAIL FROM:<>", &["250"]).await;
                caller.expects("RCPT TO:<x@elsewhere.example>", &["550", "(relay-denied)"]).await;
            }
            Err(_) => assert!(!with_tls),
        }
    }
}

fn policy(name: &str, tls: InboundTls, senders: &[&str], networks: &[&str]) -> InboundPolicy {
    InboundPolicy {
        name: name.into(),
        senders: senders.iter().map(|name| AddressSpace::Exact(name.parse().unwrap())).collect(),
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        tls,
        minimum: MinimumVersion::Tls12,
    }
}

/// The host of a branch, and these digests, may relay.
fn list_branch(config: &mut Config, pins: Vec<Pin>) {
    let names = vec!["mail.branch.example".to_owned()];
    config.relay_certificates = vec![NamedCertificates { name: "branch".into(), names, pins }];
}

fn sha256(certificate: &CertificateDer<'_>) -> [u8; 32] {
    let text = postern_pki::describe_certificate(certificate, 1).sha256;
    match format!("sha256:{text}").parse().unwrap() {
        Pin::Certificate(digest) | Pin::Spki(digest) => digest,
    }
}
