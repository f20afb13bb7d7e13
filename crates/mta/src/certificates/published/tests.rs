use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use postern_dns::tlsa::Tlsa;
use postern_pki::TrustAnchors;
use postern_testkit::dns::{ScriptedResolver, Zone};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, PublicKeyData as _};
use tempfile::TempDir;

use super::*;
use crate::https::Https;
use crate::https::scripted::{Authority, Host, Script};
use crate::policy::mta_sts::StsOptions;

const HOST: &str = "mail.example.org";
const NAME: &str = "_25._tcp.mail.example.org";

/// A chain that an authority of the test's own vouches for.
struct Ours {
    chain: Vec<CertificateDer<'static>>,
    spki: Vec<u8>,
    root: CertificateDer<'static>,
    root_spki: Vec<u8>,
    roots: ClientTls,
    _folder: TempDir,
}

impl Ours {
    fn new() -> Self {
        let root_key = KeyPair::generate().unwrap();
        let root_spki = root_key.subject_public_key_info();
        let mut authority = CertificateParams::default();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, root_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([HOST.to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &authority).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("root.pem");
        fs::write(&file, authority.pem()).unwrap();
        let roots = ClientTls::new(&TrustAnchors::File(file)).unwrap();
        let (chain, root) = (vec![leaf.der().clone()], authority.der().clone());
        Self { chain, spki: key.subject_public_key_info(), root, root_spki, roots, _folder: folder }
    }

    fn key(&self, matching: Matching) -> TlsaRecord {
        tlsa_of_key(&self.spki, matching).record()
    }

    fn judge(&self, facts: &Facts) -> Published {
        judge(facts, &self.chain, &self.spki, &self.roots, Timestamp::now())
    }

    fn tlsa(&self, records: Vec<TlsaRecord>, dnssec: Dnssec) -> TlsaState {
        self.found(TlsaFound::Records { name: NAME.into(), records, dnssec })
    }

    fn found(&self, found: TlsaFound) -> TlsaState {
        let facts = Facts { tlsa: vec![(place(HOST, 25), found)], mta_sts: Vec::new() };
        self.judge(&facts).tlsa.remove(0)
    }

    fn sts(&self, host: &str, policy: PolicyFound) -> StsVerdict {
        self.sts_of(Ok(vec![host.to_owned()]), policy)
    }

    fn sts_of(&self, hosts: Result<Vec<String>, String>, policy: PolicyFound) -> StsVerdict {
        let facts = StsFacts { domain: "example.org".into(), policy, hosts };
        self.judge(&Facts { tlsa: Vec::new(), mta_sts: vec![facts] }).mta_sts.remove(0).verdict
    }
}

fn place(host: &str, port: u16) -> Place {
    Place { host: host.to_owned(), port }
}

/// The record of a key that is nobody's.
fn stranger(matching: Matching) -> TlsaRecord {
    tlsa_of_key(b"another key", matching).record()
}

fn policy(mode: &str, mx: &str) -> PolicyFound {
    PolicyFound::Policy(Policy::parse(text(mode, mx).as_bytes()).unwrap())
}

fn text(mode: &str, mx: &str) -> String {
    format!("version: STSv1\nmode: {mode}\nmx: {mx}\nmax_age: 86400\n")
}

#[test]
fn tlsa_records_bind_as_senders_read_them() {
    use Dnssec::{Indeterminate, Insecure, Secure};
    use Matching::{Sha256, Sha512};
    let ours = Ours::new();
    let own = |matching| ours.key(matching);
    let web = TlsaRecord { usage: 1, ..own(Sha256) };
    let kept = [
        (vec![own(Sha256)], Secure),
        (vec![own(Sha512)], Secure),
        // The roll-over: the new key's record stands beside the old one's.
        (vec![stranger(Sha256), own(Sha256)], Secure),
        (vec![web.clone(), own(Sha256)], Secure),
        (vec![own(Sha256)], Indeterminate),
    ];
    for (records, dnssec) in kept {
        assert_eq!(ours.tlsa(records.clone(), dnssec).verdict, TlsaVerdict::Kept, "{records:?}");
    }
    let verdict = |records, dnssec| ours.tlsa(records, dnssec).verdict;
    assert_eq!(verdict(vec![stranger(Sha256)], Insecure), TlsaVerdict::NotSigned);
    let unknown = verdict(vec![stranger(Sha256)], Indeterminate);
    assert!(
        matches!(&unknown, TlsaVerdict::Unknown { why } if why.contains("cannot be told")),
        "{unknown:?}"
    );
    let state = ours.tlsa(vec![web], Secure);
    assert_eq!(state.verdict, TlsaVerdict::NoneUsable);
    assert!(state.unusable[0].contains("certificate usage 1 is not for mail"), "{state:?}");
    assert_eq!(ours.found(TlsaFound::Nothing).verdict, TlsaVerdict::NotPublished);
    let lost = ours.found(TlsaFound::Unanswered("no answer".into())).verdict;
    assert_eq!(lost, TlsaVerdict::Unknown { why: "no answer".into() });
}

#[test]
fn a_new_key_that_no_record_names_is_a_contradiction_and_its_record_is_given() {
    let ours = Ours::new();
    for (published, proposed) in [
        (vec![stranger(Matching::Sha256)], Matching::Sha256),
        // Beside the better digest senders would pass over the weaker one.
        (vec![stranger(Matching::Sha512)], Matching::Sha512),
        (vec![stranger(Matching::Sha512), ours.key(Matching::Sha256)], Matching::Sha512),
    ] {
        let mut both = published.clone();
        let state = ours.tlsa(published, Dnssec::Secure);
        let TlsaVerdict::Contradicted { first, .. } = state.verdict else { panic!("{state:?}") };
        let record = ours.key(proposed);
        assert_eq!(first, [format!("{NAME}. 3600 IN TLSA {record}")]);
        // With it, the chain may be installed.
        both.push(record);
        assert_eq!(ours.tlsa(both, Dnssec::Secure).verdict, TlsaVerdict::Kept);
    }
}

#[test]
fn a_chain_without_a_certificate_keeps_to_nothing() {
    let ours = Ours { chain: Vec::new(), ..Ours::new() };
    let verdict = ours.tlsa(vec![ours.key(Matching::Sha256)], Dnssec::Secure).verdict;
    assert!(
        matches!(&verdict, TlsaVerdict::Contradicted { why, .. } if why.contains("no certificate")),
        "{verdict:?}"
    );
    let verdict = ours.sts(HOST, policy("enforce", HOST));
    assert!(
        matches!(&verdict, StsVerdict::Contradicted { why } if why[0].contains("no certificate")),
        "{verdict:?}"
    );
}

#[test]
fn a_trust_anchor_counts_only_if_the_chain_has_it() {
    let mut ours = Ours::new();
    let anchor = Tlsa { usage: Usage::TrustAnchor, ..tlsa_of_key(&ours.root_spki, Matching::Sha256) };
    let verdict = |ours: &Ours| ours.tlsa(vec![anchor.record()], Dnssec::Secure).verdict;
    assert!(matches!(verdict(&ours), TlsaVerdict::Contradicted { .. }));
    ours.chain.push(ours.root.clone());
    assert_eq!(verdict(&ours), TlsaVerdict::Kept);
}

#[test]
fn a_policy_in_force_demands_a_listed_host_and_a_trusted_chain() {
    let ours = Ours::new();
    assert_eq!(ours.sts(HOST, policy("enforce", HOST)), StsVerdict::Kept);
    assert_eq!(ours.sts(HOST, policy("enforce", "*.example.org")), StsVerdict::Kept);
    assert_eq!(ours.sts(HOST, policy("testing", HOST)), StsVerdict::Kept);
    for (host, mx, expected) in [
        (HOST, "mx.example.org", "no mx of the policy is for it"),
        ("other.example.org", "*.example.org", "other.example.org: "),
    ] {
        let StsVerdict::Contradicted { why } = ours.sts(host, policy("enforce", mx)) else {
            panic!("{host}")
        };
        assert!(why.len() == 1 && why[0].contains(expected), "{why:?}");
        let tested = ours.sts(host, policy("testing", mx));
        assert_eq!(tested, StsVerdict::Reported { why });
        assert_eq!(ours.sts(host, policy("none", mx)), StsVerdict::NotConcerned);
    }
    let distrusted = Ours { roots: Ours::new().roots, ..ours };
    let verdict = distrusted.sts(HOST, policy("enforce", HOST));
    assert!(matches!(verdict, StsVerdict::Contradicted { .. }), "{verdict:?}");
}

#[test]
fn a_policy_binds_only_hosts_of_ours_that_the_mail_comes_to() {
    let ours = Ours::new();
    assert_eq!(ours.sts_of(Ok(Vec::new()), policy("enforce", "mx.example.net")), StsVerdict::NotConcerned);
    let lost = ours.sts_of(Err("MX records: no answer".into()), policy("enforce", HOST));
    assert_eq!(lost, StsVerdict::Unknown { why: "MX records: no answer".into() });
    assert_eq!(ours.sts(HOST, PolicyFound::Nothing), StsVerdict::NotPublished);
    let broken = ours.sts(HOST, PolicyFound::Broken("status 404".into()));
    assert_eq!(broken, StsVerdict::Broken { why: "status 404".into() });
}

#[test]
fn what_is_said_ends_with_the_records_to_publish_first() {
    let ours = Ours::new();
    let of = |port| {
        let name = tlsa_name(port, HOST);
        (
            place(HOST, port),
            TlsaFound::Records { name, records: vec![stranger(Matching::Sha256)], dnssec: Dnssec::Secure },
        )
    };
    let sts = StsFacts {
        domain: "example.org".into(),
        policy: PolicyFound::Unanswered("no answer".into()),
        hosts: Ok(Vec::new()),
    };
    let silent = (place(HOST, 587), TlsaFound::Nothing);
    let published = ours.judge(&Facts { tlsa: vec![of(25), of(465), silent], mta_sts: vec![sts] });
    assert!(published.is_contradicted() && published.is_unknown());
    assert_eq!(published.records_first(), tlsa_records("Mail.example.org.", &[25, 465], &ours.spki));
    let sentences = published.sentences();
    assert_eq!(sentences.len(), 4, "{sentences:?}");
    assert!(sentences[0].starts_with("TLSA of mail.example.org port 25: no TLSA record"), "{}", sentences[0]);
    assert!(sentences[2].contains("nobody knows"), "{}", sentences[2]);
    let own = ours.key(Matching::Sha256);
    assert!(sentences[3].contains(&format!("\n{NAME}. 3600 IN TLSA {own}\n")), "{}", sentences[3]);
    let findings = published.findings();
    assert!(
        findings.len() == 3 && findings.iter().all(|finding| finding.severity == Severity::Refuse),
        "{findings:?}"
    );
    assert!(
        findings[0].remedy.contains(&format!("publish {NAME}. 3600 IN TLSA {own} beside")),
        "{findings:?}"
    );
    let text = serde_json::to_string(&published).unwrap();
    assert_eq!(serde_json::from_str::<Published>(&text).unwrap(), published);
}

#[test]
fn nothing_published_is_nothing_to_say() {
    let ours = Ours::new();
    let sts = StsFacts { domain: "example.org".into(), policy: PolicyFound::Nothing, hosts: Ok(Vec::new()) };
    let published =
        ours.judge(&Facts { tlsa: vec![(place(HOST, 25), TlsaFound::Nothing)], mta_sts: vec![sts] });
    assert!(!published.is_contradicted() && !published.is_unknown());
    assert!(published.sentences().is_empty(), "{:?}", published.sentences());
    assert_eq!(published.findings(), []);
}

/// What is looked up for one place and `example.org`, where only the policy host's DNS and `zone` are scripted.
async fn looked_up(zone: Zone, script: Script) -> Facts {
    let authority = Authority::new();
    let web = Host::start(authority.host(&["mta-sts.example.org"]), script).await;
    with(zone, &authority, &web, Duration::from_secs(20)).await
}

async fn with(zone: Zone, authority: &Authority, web: &Host, time: Duration) -> Facts {
    let zone = zone.address("mta-sts.example.org", Ipv4Addr::LOCALHOST);
    let resolver = ScriptedResolver::new(zone);
    let https = Https::new(Arc::new(resolver.clone()), authority.client());
    let options = StsOptions { port: web.port, ..StsOptions::default() };
    let asking = Asking { resolver: &resolver, https: &https, options, time };
    let (places, domains) = ([place(HOST, 25)], ["example.org".to_owned()]);
    let facts: BoxFuture<'_, Facts> = look_up(&asking, &places, &domains).boxed(); // fit for a task of its own
    facts.await
}

fn says(status: &str, body: &str) -> Script {
    Script::reply(status, "Content-Type: text/plain\r\n", body)
}

fn announced_zone() -> Zone {
    Zone::new().txt("_mta-sts.example.org", "v=STSv1; id=1;").mx("example.org", 10, "MAIL.example.org")
}

#[tokio::test]
async fn records_and_policies_are_found_as_senders_find_them() {
    let zone = announced_zone()
        .mx("example.org", 20, "backup.example.net")
        .address(HOST, Ipv4Addr::LOCALHOST)
        .tlsa(NAME, 3, 1, 1, &[7; 32])
        .all_secure();
    let facts = looked_up(zone, says("200 OK", &text("enforce", HOST))).await;
    let record = TlsaRecord { usage: 3, selector: 1, matching: 1, data: vec![7; 32] };
    let found = TlsaFound::Records { name: NAME.into(), records: vec![record], dnssec: Dnssec::Secure };
    assert_eq!(facts.tlsa, [(place(HOST, 25), found)]);
    let expected = StsFacts {
        domain: "example.org".into(),
        policy: policy("enforce", HOST),
        hosts: Ok(vec![HOST.to_owned()]),
    };
    assert_eq!(facts.mta_sts, [expected]);
}

#[tokio::test]
async fn where_an_alias_leads_comes_before_the_alias() {
    let there = "_25._tcp.mx7.example.net";
    let zone = Zone::new()
        .cname(HOST, "mx7.example.net")
        .address("mx7.example.net", Ipv4Addr::LOCALHOST)
        .tlsa(there, 3, 1, 1, &[1; 32])
        .tlsa(NAME, 3, 1, 1, &[2; 32])
        .all_secure();
    let found = |facts: &Facts| match &facts.tlsa[0].1 {
        TlsaFound::Records { name, dnssec, .. } => (name.clone(), *dnssec),
        other => panic!("{other:?}"),
    };
    let facts = looked_up(zone.clone(), says("404 Not Found", "")).await;
    assert_eq!(found(&facts), (there.to_owned(), Dnssec::Secure));
    let facts = looked_up(zone.insecure("mx7.example.net").insecure(there), says("404 Not Found", "")).await;
    assert_eq!(found(&facts), (NAME.to_owned(), Dnssec::Secure));
}

#[tokio::test]
async fn what_is_not_published_is_not_asked_any_further() {
    let facts = looked_up(Zone::new().address(HOST, Ipv4Addr::LOCALHOST), says("500 Oh", "")).await;
    assert_eq!(facts.tlsa[0].1, TlsaFound::Nothing);
    assert_eq!(facts.mta_sts[0].policy, PolicyFound::Nothing);
}

#[tokio::test]
async fn silence_and_forgery_are_unknown_and_never_nothing() {
    for zone in [
        Zone::new().failing(NAME),
        Zone::new().failing(HOST),
        Zone::new().address(HOST, Ipv4Addr::LOCALHOST).tlsa(NAME, 3, 1, 1, &[7; 32]).all_secure().bogus(NAME),
    ] {
        let facts = looked_up(zone.failing("_mta-sts.example.org"), says("200 OK", "")).await;
        assert!(matches!(facts.tlsa[0].1, TlsaFound::Unanswered(_)), "{facts:?}");
        assert!(matches!(facts.mta_sts[0].policy, PolicyFound::Unanswered(_)), "{facts:?}");
    }
    let facts =
        looked_up(announced_zone().failing("example.org"), says("200 OK", &text("enforce", HOST))).await;
    assert!(facts.mta_sts[0].hosts.as_ref().is_err_and(|why| why.starts_with("MX records: ")), "{facts:?}");
}

#[tokio::test]
async fn a_policy_that_nobody_can_use_is_told_from_one_that_may_come_later() {
    for (script, broken) in [
        (says("404 Not Found", ""), true),
        (says("200 OK", "mode: enforce"), true),
        (Script::reply("200 OK", "Content-Type: text/html\r\n", ""), true),
        (says("503 Busy", ""), false),
        (Script::NoTls, false),
    ] {
        let policy = looked_up(announced_zone(), script.clone()).await.mta_sts.remove(0).policy;
        match policy {
            PolicyFound::Broken(_) if broken => {}
            PolicyFound::Unanswered(_) if !broken => {}
            other => panic!("{script:?}: {other:?}"),
        }
    }
    // The policy host may show the very certificate that is to be replaced.
    let authority = Authority::new();
    let web = Host::start(authority.expired_host(&["mta-sts.example.org"]), says("200 OK", "")).await;
    let facts = with(announced_zone(), &authority, &web, Duration::from_secs(20)).await;
    assert!(matches!(facts.mta_sts[0].policy, PolicyFound::Broken(_)), "{facts:?}");
}

#[tokio::test]
async fn the_whole_look_up_ends_in_its_time() {
    let authority = Authority::new();
    let web = Host::start(authority.host(&["mta-sts.example.org"]), Script::NoHandshake).await;
    let zone = announced_zone().silent(HOST);
    let facts = with(zone, &authority, &web, Duration::from_millis(300)).await;
    assert!(matches!(facts.tlsa[0].1, TlsaFound::Unanswered(_)), "{facts:?}");
    assert_eq!(facts.mta_sts[0].policy, PolicyFound::Unanswered("no answer in time".into()));
}

fn config(listeners: &str) -> Config {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("postern.toml");
    let head = "hostname = \"mail.example.org\"\ndata_dir = \"data\"\n\
                [[tls.identity]]\nname = \"first\"\nnames = [\"mail.example.org\"]\n\
                [[tls.identity]]\nname = \"second\"\nnames = [\"www.example.org\"]\n";
    fs::write(&file, format!("{head}{listeners}")).unwrap();
    Config::load(&file, &crate::config::Surroundings::default())
        .unwrap_or_else(|problems| panic!("{problems}"))
}

fn names(names: &[&str]) -> Vec<Name> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn an_identity_is_seen_at_the_ports_of_the_listeners_that_show_it() {
    let config = config(
        "[[listener]]\nname = \"in\"\nrole = \"relay\"\nbind = [\"127.0.0.1:2525\"]\n\
         [[listener]]\nname = \"sub\"\nrole = \"submission\"\nbind = [\"127.0.0.1:2587\"]\nidentities = [\"second\"]\n\
         [[listener]]\nname = \"subs\"\nrole = \"submission\"\ntls = \"implicit\"\nbind = [\"127.0.0.1:2465\"]\nidentities = [\"first\"]\n",
    );
    let first = places(
        &config,
        "first",
        &names(&["MAIL.example.org", "mx.example.org", "192.0.2.1", "*.example.net"]),
    );
    assert_eq!(
        first,
        [place(HOST, 25), place(HOST, 465), place("mx.example.org", 25), place("mx.example.org", 465)]
    );
    // Where it is shown to those who ask for nothing else, our own name counts as well.
    let second = places(&config, "second", &names(&["www.example.org"]));
    assert_eq!(second, [place(HOST, 587), place("www.example.org", 25), place("www.example.org", 587)]);
    let wildcard = places(&config, "third", &names(&["*.example.org"]));
    assert_eq!(wildcard, [place(HOST, 25)]);
}

/// A name server of the test's own, and a configuration that asks it.
async fn compared(zone: Zone, dnssec: &str, identity: &str) -> Published {
    let server = postern_testkit::dns::serve(zone).await.unwrap();
    let config = config(&format!(
        "[dns]\nservers = [\"{}\"]\ndnssec = \"{dnssec}\"\n\
         [[listener]]\nname = \"in\"\nrole = \"relay\"\nbind = [\"127.0.0.1:2525\"]\nidentities = [\"first\"]\n",
        server.address()
    ));
    let ours = Ours::new();
    let new = New { identity, names: &names(&[HOST]), chain: &ours.chain, spki: &ours.spki };
    compare(&config, &new, Timestamp::now()).await.unwrap()
}

#[tokio::test]
async fn a_configuration_is_enough_to_compare() {
    let zone = || Zone::new().address(HOST, Ipv4Addr::LOCALHOST).tlsa(NAME, 3, 1, 1, &[7; 32]);
    let published = compared(zone().all_secure(), "resolver", "first").await;
    assert!(published.is_contradicted() && !published.is_unknown(), "{published:?}");
    // Who does not look at DNSSEC does not know what others see.
    let published = compared(zone(), "off", "first").await;
    assert!(published.is_unknown() && !published.is_contradicted(), "{published:?}");
    let published = compared(zone().all_secure(), "resolver", "second").await;
    assert_eq!(published, Published::default());
}
