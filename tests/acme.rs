//! Certificates from an ACME server, Pebble, by all three challenges: issued, served, renewed; and what is told when not.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;

use postern_testkit::updatable::{UpdatableZones, ZoneKey};
use serde_json::{Value, json};

use crate::support::pebble::{EXTERNAL, Pebble, Ways};
use crate::support::programs::{fail, program, succeed, text};
use crate::support::{Client, Postern, Setup, wait_for};

/// What certificates are issued for.
const NAME: &str = "mail.acme.test";
/// A key that may change zones.
const SECRET: &str = "c2VjcmV0IGZvciB0ZXN0cyBvbmx5LCAzMiBvY3RldHM=";

/// A Postern to be started, and a Pebble that runs.
struct Town {
    setup: Setup,
    pebble: Pebble,
}

impl Town {
    fn new(ways: Ways) -> Town {
        let setup = Setup::new();
        let pebble = Pebble::start(setup.folder(), setup.authority(), ways);
        // What is published about our certificates is asked for before one is installed.
        let dns = format!("[dns]\nservers = [\"{}\"]\ndnssec = \"off\"", pebble.resolver());
        let setup = setup.tables(&dns);
        Town { setup, pebble }
    }

    /// The `[[acme]]` with these keys, and one identity for these names.
    fn identity(mut self, names: &[&str], keys: &str) -> Town {
        self.setup = self.setup.tables(&identity("pebble", names));
        self.authority(keys)
    }

    /// The `[[acme]]` with these keys.
    fn authority(mut self, keys: &str) -> Town {
        let acme = acme(&self.pebble.directory(), &self.setup.authority().root(), keys);
        self.setup = self.setup.tables(&acme);
        self
    }

    fn start(self) -> (Postern, Pebble) {
        (self.setup.start(), self.pebble)
    }
}

fn acme(directory: &str, trust: &Path, keys: &str) -> String {
    format!(
        "[[acme]]\nname = \"pebble\"\ndirectory = \"{directory}\"\nterms_agreed = true\ntrust = {trust:?}\n\
         contact = [\"postmaster@home.test\"]\n{keys}"
    )
}

fn identity(name: &str, names: &[&str]) -> String {
    format!("[[tls.identity]]\nname = \"{name}\"\nissuer = \"pebble\"\nnames = {names:?}")
}

/// By pages where Pebble asks for them.
fn by_http(pebble: &Pebble) -> String {
    format!("challenge = \"http-01\"\nbind = [\"{}\"]", pebble.http)
}

/// Asks the running daemon.
fn ask(postern: &Postern, request: &Value) -> Value {
    let mut stream = UnixStream::connect(postern.data_dir().join("control.sock")).unwrap();
    writeln!(stream, "{request}").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer).unwrap();
    serde_json::from_str(&answer).unwrap()
}

/// The stories of an identity's orders, the newest last.
fn orders(postern: &Postern, identity: &str) -> Vec<Value> {
    let answer = ask(postern, &json!({"certificates": {"acme-log": {"identity": identity, "most": 10}}}));
    answer["acme-log"]["orders"].as_array().unwrap().clone()
}

/// The last order of an identity, once there are so many that came to an end.
#[track_caller]
fn wait_for_end(postern: &Postern, identity: &str, count: usize) -> Value {
    wait_for(&format!("{count} orders for {identity} to end"), || {
        let ended: Vec<_> =
            orders(postern, identity).into_iter().filter(|order| !order["ended"].is_null()).collect();
        (ended.len() >= count).then(|| ended.last().unwrap().clone())
    })
}

/// Waits until an order went well, and what it issued is served.
#[track_caller]
fn wait_for_issue(postern: &Postern, pebble: &Pebble, name: &str) -> Value {
    let order = wait_for_end(postern, "pebble", 1);
    assert_eq!(order["ended"]["trouble"], Value::Null, "{order:#}");
    wait_until_served(postern, pebble, name);
    order
}

#[track_caller]
fn wait_until_served(postern: &Postern, pebble: &Pebble, name: &str) {
    let root = pebble.issues_under();
    wait_for("the certificate to be served", || {
        Client::is_presented(postern.at("submission"), &root, name).then_some(())
    });
}

fn steps(order: &Value) -> Vec<String> {
    let name = |step: &Value| match &step["step"] {
        Value::String(name) => name.clone(),
        other => other.as_object().unwrap().keys().next().unwrap().clone(),
    };
    order["steps"].as_array().unwrap().iter().map(name).collect()
}

/// What is wrong with an order, and what to do.
fn trouble(order: &Value) -> (String, String) {
    let trouble = &order["ended"]["trouble"];
    (trouble["what"].as_str().unwrap().to_owned(), trouble["remedy"].as_str().unwrap().to_owned())
}

#[test]
fn a_first_certificate_comes_by_http_and_is_served() {
    let town = Town::new(Ways::default());
    let keys = by_http(&town.pebble);
    let (postern, pebble) = town.identity(&[NAME, "smtp.acme.test"], &keys).start();
    let order = wait_for_issue(&postern, &pebble, "smtp.acme.test");
    let told = steps(&order);
    assert_eq!(told.first().map(String::as_str), Some("account-made"));
    assert_eq!(told.iter().filter(|step| *step == "proved").count(), 2);
    assert_eq!(told.last().map(String::as_str), Some("installed"));
    postern.wait_for_log("certificate issued: pebble by pebble");
    let account = postern.data_dir().join("acme/pebble/account.json");
    assert_eq!(fs::metadata(&account).unwrap().permissions().mode() & 0o777, 0o600);
    // OpenSSL sees it too, on the listener with TLS from the first byte.
    let submissions = postern.at("submissions").to_string();
    let mut openssl = program("openssl");
    openssl.args(["s_client", "-connect", &submissions, "-servername", NAME, "-verify_hostname", NAME]);
    openssl.args(["-CAfile", text(&pebble.issues_under()), "-verify_return_error"]);
    assert!(succeed(&mut openssl).contains("Verify return code: 0 (ok)"));
}

#[test]
fn the_port_for_challenges_answers_nothing_else() {
    let town = Town::new(Ways::default());
    let keys = by_http(&town.pebble);
    let (_postern, pebble) = town.identity(&[NAME], &keys).start();
    for path in ["/", "/.well-known/acme-challenge/", "/.well-known/acme-challenge/unknown", "/ca/root.pem"] {
        let mut curl = program("curl");
        curl.args(["--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--path-as-is"]);
        assert_eq!(succeed(curl.arg(format!("http://{}{path}", pebble.http))), "404", "{path}");
    }
}

#[test]
fn a_certificate_comes_by_tls_alpn_at_a_port_of_its_own() {
    let town = Town::new(Ways::default());
    let keys = format!("challenge = \"tls-alpn-01\"\nbind = [\"{}\"]", town.pebble.tls);
    let (postern, pebble) = town.identity(&[NAME], &keys).start();
    wait_for_issue(&postern, &pebble, NAME);
}

#[test]
fn a_certificate_comes_by_tls_alpn_at_a_listener_with_implicit_tls() {
    let mut town = Town::new(Ways::default());
    let submissions = format!("tls = \"implicit\"\nbind = [\"{}\"]", town.pebble.tls);
    let listeners = crate::support::postern::listeners("127.0.0.1:0");
    let listeners = listeners.replace("tls = \"implicit\"\nbind = [\"127.0.0.1:0\"]", &submissions);
    town.setup = town.setup.listeners(&listeners);
    let (postern, pebble) = town.identity(&[NAME], "challenge = \"tls-alpn-01\"").start();
    wait_for_issue(&postern, &pebble, NAME);
}

#[test]
fn a_wildcard_comes_by_dynamic_update_and_the_zone_is_clean_afterwards() {
    let key = ZoneKey { name: "postern", algorithm: "hmac-sha256", secret: SECRET, may_update: true };
    let zones = UpdatableZones::start(&[("acme.test", "")], &[key]);
    let town = Town::new(Ways { names: Some(zones.address), ..Ways::default() });
    let secret = town.setup.folder().join("tsig.key");
    fs::write(&secret, format!("{SECRET}\n")).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let keys = format!(
        "challenge = \"dns-01\"\ndns_server = \"{}\"\ndns_key_name = \"postern\"\ndns_key_file = {secret:?}",
        zones.address
    );
    let (postern, pebble) = town.identity(&["acme.test", "*.acme.test"], &keys).start();
    let order = wait_for_issue(&postern, &pebble, "any.acme.test");
    assert_eq!(steps(&order).iter().filter(|step| *step == "cleaned-up").count(), 2);
    let mut dig = program("kdig");
    let server = format!("@{}", zones.address.ip());
    dig.args([
        &server,
        "-p",
        &zones.address.port().to_string(),
        "+short",
        "_acme-challenge.acme.test",
        "TXT",
    ]);
    assert_eq!(succeed(&mut dig).trim(), "");
}

#[test]
fn a_certificate_comes_by_a_hook_that_sets_the_record() {
    let town = Town::new(Ways::default());
    let (hook, calls) = (town.setup.folder().join("hook"), town.setup.folder().join("calls"));
    let script = format!(
        "#!/bin/sh\necho \"$1 $2\" >>{calls:?}\ncase $1 in\npresent) to=set-txt ;;\n*) to=clear-txt ;;\nesac\n\
         exec curl --silent --show-error --fail --data \"{{\\\"host\\\":\\\"$2.\\\",\\\"value\\\":\\\"$3\\\"}}\" {}/$to\n",
        town.pebble.management_of_names()
    );
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    let keys = format!("challenge = \"dns-01\"\nhook = {hook:?}");
    let (postern, pebble) = town.identity(&[NAME], &keys).start();
    wait_for_issue(&postern, &pebble, NAME);
    let called = fs::read_to_string(&calls).unwrap();
    assert_eq!(called, format!("present _acme-challenge.{NAME}\ncleanup _acme-challenge.{NAME}\n"));
}

#[test]
fn an_account_is_bound_to_one_that_the_authority_knows() {
    let town = Town::new(Ways { wants_binding: true, ..Ways::default() });
    let (key_id, key) = EXTERNAL;
    let file = town.setup.folder().join("eab.key");
    fs::write(&file, format!("{key}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let keys = by_http(&town.pebble);
    let bound = format!("{keys}\neab_key_id = \"{key_id}\"\neab_key_file = {file:?}");
    let (mut postern, pebble) = town.identity(&[NAME], &keys).start();
    let (what, remedy) = trouble(&wait_for_end(&postern, "pebble", 1));
    assert!(what.contains("externalAccountRequired") && remedy.contains("eab_key_id"), "{what}: {remedy}");
    // Other settings are tried at once, whatever failed before.
    postern.reload(|setup| setup.replace(&keys, &bound));
    let order = wait_for_end(&postern, "pebble", 2);
    assert_eq!(order["ended"]["trouble"], Value::Null, "{order:#}");
    wait_until_served(&postern, &pebble, NAME);
}

#[test]
fn a_certificate_is_renewed_before_its_end_with_the_same_key() {
    let town = Town::new(Ways { validity: Some(15), ..Ways::default() });
    let keys = by_http(&town.pebble);
    let (postern, _pebble) = town.identity(&[NAME], &keys).start();
    let key = postern.data_dir().join("certificates/pebble/current/key.pem");
    let first = wait_for_end(&postern, "pebble", 1);
    assert_eq!(first["why"], "missing");
    let before = fs::read(&key).unwrap();
    let second = wait_for_end(&postern, "pebble", 2);
    assert_eq!((&second["why"], &second["ended"]["trouble"]), (&json!("due"), &Value::Null), "{second:#}");
    assert_eq!(fs::read(&key).unwrap(), before);
}

#[test]
fn an_administrator_renews_at_once_and_hears_what_came_of_it() {
    let town = Town::new(Ways::default());
    let keys = by_http(&town.pebble);
    let (postern, _pebble) = town.identity(&[NAME], &keys).start();
    wait_for_end(&postern, "pebble", 1);
    let answer = ask(&postern, &json!({"certificates": {"renew": {"identity": "pebble"}}}));
    let order = &answer["acme-order"];
    assert_eq!((&order["why"], &order["ended"]["trouble"]), (&json!("by-hand"), &Value::Null), "{answer:#}");
    let refused = ask(&postern, &json!({"certificates": {"renew": {"identity": "main"}}}));
    assert!(refused["failed"].as_str().unwrap().contains("no identity that an [[acme]] issues"), "{refused}");
}

#[test]
fn one_name_that_cannot_be_proved_holds_up_no_other_identity() {
    let mut town = Town::new(Ways::default());
    // Nothing answers there.
    town.pebble.leads_to("bad.acme.test", "127.0.0.77");
    let keys = by_http(&town.pebble);
    town.setup = town.setup.tables(&identity("broken", &["good.acme.test", "bad.acme.test"]));
    let (postern, pebble) = town.identity(&[NAME], &keys).start();
    wait_for_issue(&postern, &pebble, NAME);
    let (what, remedy) = trouble(&wait_for_end(&postern, "broken", 1));
    assert!(what.starts_with("bad.acme.test: not proved by http-01: "), "{what}");
    assert!(!what.contains("good.acme.test"), "{what}");
    assert!(remedy.contains("bad.acme.test leads to this server and that port 80"), "{remedy}");
    postern.wait_for_log("certificate not issued: broken by pebble");
    let all = json!({"certificates": {"acme-log": {"identity": null, "most": 0}}});
    let standing = wait_for("the standing of the identity that failed", || {
        let answer = ask(&postern, &all);
        answer["acme-log"]["standings"].as_array()?.first().cloned()
    });
    assert_eq!((&standing["identity"], &standing["failures"]), (&json!("broken"), &json!(1)));
}

#[test]
fn what_answers_is_no_acme_server_is_told() {
    let mut town = Town::new(Ways::default());
    let keys = by_http(&town.pebble);
    let wrong = acme(&format!("{}ectory", town.pebble.directory()), &town.setup.authority().root(), &keys);
    town.setup = town.setup.tables(&identity("pebble", &[NAME])).tables(&wrong);
    let (postern, _pebble) = town.start();
    let (what, remedy) = trouble(&wait_for_end(&postern, "pebble", 1));
    assert!(what.contains("/directory") && remedy.contains("mend directory"), "{what}: {remedy}");
}

#[test]
fn an_authority_that_nobody_vouches_for_is_told_apart() {
    let mut town = Town::new(Ways::default());
    let keys = by_http(&town.pebble);
    let stranger = crate::support::certificates::Authority::new(&town.setup.folder().join("stranger"));
    let acme = acme(&town.pebble.directory(), &stranger.root(), &keys);
    town.setup = town.setup.tables(&identity("pebble", &[NAME])).tables(&acme);
    let (postern, _pebble) = town.start();
    let (what, remedy) = trouble(&wait_for_end(&postern, "pebble", 1));
    assert!(what.contains("does not prove who it is") && remedy.contains("set trust"), "{what}: {remedy}");
}

#[test]
fn whoever_does_not_agree_to_the_terms_is_told_before_anything_runs() {
    let town = Town::new(Ways::default());
    let keys = by_http(&town.pebble);
    let mut town = town.identity(&[NAME], &keys);
    town.setup = town.setup.replace("terms_agreed = true", "terms_agreed = false").without_user();
    let postern = town.setup.prepare();
    let said = crate::support::programs::fail(&mut postern.command(&["config", "check"]));
    assert!(said.contains("acme.pebble.terms_agreed") && said.contains("then write true"), "{said}");
}

#[test]
fn refused_nonces_do_not_matter() {
    let town = Town::new(Ways { refused_nonces: 50, ..Ways::default() });
    let keys = by_http(&town.pebble);
    let (postern, pebble) = town.identity(&[NAME], &keys).start();
    wait_for_issue(&postern, &pebble, NAME);
}

#[test]
fn an_account_that_the_authority_forgot_is_made_anew() {
    let town = Town::new(Ways::default());
    let keys = by_http(&town.pebble);
    let (postern, mut pebble) = town.identity(&[NAME], &keys).start();
    wait_for_end(&postern, "pebble", 1);
    pebble.restart();
    let answer = ask(&postern, &json!({"certificates": {"renew": {"identity": "pebble"}}}));
    let told = steps(&answer["acme-order"]);
    assert_eq!(told[..2], ["account-lost", "account-made"], "{answer:#}");
    assert_eq!(answer["acme-order"]["ended"]["trouble"], Value::Null, "{answer:#}");
    assert!(postern.data_dir().join("acme/pebble/account.json.previous").exists());
}

#[test]
fn a_request_is_sent_to_the_authority_and_its_certificate_is_renewed_there() {
    let town = Town::new(Ways::default());
    let keys = by_http(&town.pebble);
    let (postern, pebble) = town.authority(&keys).start();
    let asked = ["cert", "request", "--identity", "gate", "--name", NAME, "--yes", "--send", "pebble"];
    let said = succeed(&mut postern.command(&asked));
    wait_until_served(&postern, &pebble, NAME);
    assert!(said.contains("pebble"), "{said}");
    let listed = || -> Value {
        let listed = succeed(&mut postern.command(&["cert", "list", "--json"]));
        let listed: Value = serde_json::from_str(&listed).unwrap();
        let gate = |one: &&Value| one["identity"] == "gate";
        listed.as_array().unwrap().iter().find(gate).unwrap().clone()
    };
    let first = listed();
    assert_eq!(first["renewed_by"], "acme pebble", "{first:#}");
    assert_eq!(first["waiting"], false, "the request is answered");
    // From now on it is the authority's, though no [[tls.identity]] says so.
    succeed(&mut postern.command(&["cert", "renew", "gate"]));
    let second = listed();
    let of = |listed: &Value, what: &str| listed["on_disk"]["good"][what].as_str().unwrap().to_owned();
    assert_ne!(of(&first, "sha256"), of(&second, "sha256"));
    assert_eq!(of(&first, "spki_sha256"), of(&second, "spki_sha256"), "the key is kept");
    let story = succeed(&mut postern.command(&["cert", "acme", "log", "gate"]));
    assert!(story.contains("gate") && story.contains("pebble"), "{story}");
    let said = fail(&mut postern.command(&["cert", "send", "gate", "elsewhere"]));
    assert!(said.contains("no [[acme]] of that name; there is: pebble"), "{said}");
}
