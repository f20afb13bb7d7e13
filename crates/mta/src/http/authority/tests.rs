//! The public face of a real CA in a folder, asked without a network.

use bytes::Bytes;
use hyper::Method;
use postern_pki::{KeyKind, PrivateKey, RequestDetails, SigningRequest, Subject};
use serde_json::Value;
use tempfile::TempDir;

use super::*;
use crate::admin::Admin;
use crate::admin::authority::{Actor, Locks, Passphrase, Reason, Setup};
use crate::config::{File, Surroundings};
use crate::observe::{Record, Sink};

const POLICY: &str = "hostname = 'mail.example.org'\n[[listener]]\nname = 'mx'\nrole = 'relay'\nbind = ['[::1]:0']\n\
    [ca]\nnames = ['*.example.org', '*@example.org']\nautomatic = ['*.auto.example.org']\n";

/// What was said, each as a line.
#[derive(Clone, Default)]
struct Said(Arc<std::sync::Mutex<Vec<String>>>);

impl Sink for Said {
    fn record(&self, record: &Record) {
        self.0.lock().unwrap().push(record.event.to_string());
    }
}

struct Office {
    _folder: TempDir,
    admin: Admin,
    face: Face,
    said: Said,
}

impl Office {
    /// An installation with a CA, locked by a passphrase if one is given.
    fn with_ca(passphrase: Option<&str>) -> Self {
        let office = Self::without_ca(POLICY);
        let setup = Setup {
            label: "Office CA".into(),
            organisation: None,
            key: KeyKind::EcdsaP256,
            life: std::time::Duration::from_hours(24 * 365),
            intermediate: None,
            locks: Locks::Root,
        };
        let passphrase = passphrase.map(|text| Passphrase::new(text.into()));
        office.admin.authority().init(setup, passphrase.as_ref(), Timestamp::now()).unwrap();
        office
    }

    fn without_ca(text: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config =
            File::parse(text, "postern.toml").unwrap().resolve(&Surroundings::default()).unwrap();
        folder.path().clone_into(&mut config.data_dir);
        let said = Said::default();
        let observer = Observer::new(vec![Box::new(said.clone())]);
        let face = Face::new(Arc::new(config.clone()), observer, Arc::default());
        Self { _folder: folder, admin: Admin::new(config), face, said }
    }

    async fn answer(&self, asked: Asked<'_>) -> (u16, Vec<u8>) {
        let mut request = hyper::Request::new(());
        *request.uri_mut() = asked.path.parse().unwrap();
        *request.method_mut() = asked.method;
        for (name, value) in asked.fields {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        let request =
            Request::new(asked.client.parse().unwrap(), request.into_parts().0, Bytes::from(asked.body));
        let response = self.face.answer(request).await;
        (response.status.as_u16(), response.body.to_vec())
    }

    async fn get(&self, path: &str) -> (u16, Vec<u8>) {
        self.answer(Asked { path, ..Asked::default() }).await
    }

    async fn told(&self, path: &str) -> (u16, Value) {
        let (status, body) = self.get(path).await;
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// Sends a request and says what came of it.
    async fn ask(
        &self,
        client: &str,
        names: &[&str],
        fields: &'static [(&'static str, &'static str)],
    ) -> (u16, Value) {
        self.send(client, request(names).pem().into_bytes(), fields).await
    }

    async fn send(
        &self,
        client: &str,
        body: Vec<u8>,
        fields: &'static [(&'static str, &'static str)],
    ) -> (u16, Value) {
        let asked = Asked { method: Method::POST, path: "/ca/requests", client, body, fields };
        let (status, body) = self.answer(asked).await;
        (status, serde_json::from_slice(&body).unwrap())
    }
}

struct Asked<'a> {
    method: Method,
    path: &'a str,
    client: &'a str,
    body: Vec<u8>,
    fields: &'static [(&'static str, &'static str)],
}

impl Default for Asked<'_> {
    fn default() -> Self {
        Self { method: Method::GET, path: "/", client: "192.0.2.7", body: Vec::new(), fields: &[] }
    }
}

fn request(names: &[&str]) -> SigningRequest {
    let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
    let names = names.iter().map(|name| name.parse().unwrap()).collect();
    SigningRequest::make(&RequestDetails { subject: Subject::default(), names }, &key).unwrap()
}

const ACTOR: Actor<'_> = Actor { name: "anna", passphrase: None };

#[tokio::test]
async fn what_is_automatic_is_issued_at_once_to_this_machine_alone() {
    let office = Office::with_ca(None);
    let (status, told) = office.ask("127.0.0.1", &["web.auto.example.org"], &[]).await;
    assert_eq!((status, told["state"].as_str()), (201, Some("issued")), "{told}");
    let path = told["certificate"].as_str().unwrap();
    let (status, pem) = office.get(path).await;
    assert!(status == 200 && pem.starts_with(b"-----BEGIN CERTIFICATE-----"));
    let base = told["url"].as_str().unwrap();
    for form in ["certificate.der", "certificate.p7b", "chain.pem"] {
        assert_eq!(office.get(&format!("{base}/{form}")).await.0, 200, "{form}");
    }
    assert!(office.said.0.lock().unwrap().iter().any(|line| line.contains("certificate issued: web.auto")));
    for (client, fields) in [
        ("192.0.2.7", &[][..]),
        ("127.0.0.1", &[("origin", "http://evil.example")]),
        ("127.0.0.1", &[("x-forwarded-for", "127.0.0.1")]),
    ] {
        let (status, told) = office.ask(client, &["web.auto.example.org"], fields).await;
        assert_eq!((status, told["state"].as_str()), (202, Some("waiting")), "{client} {fields:?}: {told}");
    }
    let (status, told) = office.ask("::1", &["web.auto.example.org", "mail.example.org"], &[]).await;
    assert_eq!((status, told["state"].as_str()), (202, Some("waiting")), "one name is not automatic: {told}");
}

#[tokio::test]
async fn a_request_waits_until_it_is_approved_and_is_the_same_when_it_is_sent_again() {
    let office = Office::with_ca(None);
    let request = request(&["mail.example.org"]);
    let (status, told) = office.send("192.0.2.7", request.pem().into_bytes(), &[]).await;
    assert_eq!(status, 202);
    let id = told["id"].as_str().unwrap().to_owned();
    let (_, again) = office.send("192.0.2.8", request.der().to_vec(), &[]).await;
    assert_eq!(again["id"], id.as_str());
    assert_eq!(office.admin.authority().requests(Timestamp::now()).unwrap().len(), 1);
    let path = format!("/ca/requests/{id}");
    let (status, early) = office.told(&format!("{path}/certificate.pem")).await;
    assert!(status == 409 && early["error"].as_str().unwrap().contains("waits for approval"), "{early}");
    office.admin.authority().approve(&id, ACTOR, Timestamp::now()).unwrap();
    let (status, told) = office.told(&path).await;
    assert_eq!((status, told["state"].as_str()), (200, Some("issued")), "{told}");
    assert_eq!(office.get(&format!("{path}/chain.pem")).await.0, 200);
    let said = office.said.0.lock().unwrap().clone();
    assert_eq!(
        said.iter().filter(|line| line.contains(&format!("postern ca approve {id}"))).count(),
        1,
        "{said:?}"
    );
}

#[tokio::test]
async fn who_was_denied_is_told_why() {
    let office = Office::with_ca(None);
    let (_, told) = office.ask("192.0.2.7", &["mail.example.org"], &[]).await;
    let id = told["id"].as_str().unwrap();
    office.admin.authority().deny(id, "that host is retired", "anna", Timestamp::now()).unwrap();
    let (_, told) = office.told(&format!("/ca/requests/{id}")).await;
    assert_eq!(
        (told["state"].as_str(), told["reason"].as_str()),
        (Some("denied"), Some("that host is retired"))
    );
    let (status, told) = office.told(&format!("/ca/requests/{id}/certificate.pem")).await;
    assert!(status == 409 && told["error"].as_str().unwrap().contains("that host is retired"), "{told}");
}

#[tokio::test]
async fn what_may_not_be_asked_for_is_refused_with_the_reason_and_a_remedy() {
    let office = Office::with_ca(None);
    let mut forged = request(&["mail.example.org"]).der().to_vec();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    let named = |names: &[&str]| request(names).pem().into_bytes();
    for (body, status, says) in [
        (named(&["mail.example.com"]), 403, "mail.example.com"),
        (named(&["a.auto.example.org", "evil.example"]), 403, "evil.example"),
        (forged, 400, "signature"),
        (b"garbage".to_vec(), 400, "BEGIN CERTIFICATE REQUEST"),
        (Vec::new(), 400, "BEGIN CERTIFICATE REQUEST"),
        (vec![0x30; 200_000], 400, "larger than"),
        (
            PrivateKey::generate(KeyKind::EcdsaP256).unwrap().to_pem().as_bytes().to_vec(),
            400,
            "nobody else may see",
        ),
    ] {
        let (found, told) = office.send("192.0.2.7", body, &[]).await;
        let error = told["error"].as_str().unwrap();
        assert!(found == status && error.contains(says), "{found}: {told}");
        assert!(!told["remedy"].as_str().unwrap().is_empty(), "{told}");
    }
    assert!(office.admin.authority().requests(Timestamp::now()).unwrap().is_empty());
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_again() {
    let office = Office::with_ca(None);
    for _ in 0..30 {
        assert_eq!(office.send("192.0.2.7", b"garbage".to_vec(), &[]).await.0, 400);
    }
    let (status, told) = office.ask("192.0.2.7", &["mail.example.org"], &[]).await;
    assert!(status == 429 && told["remedy"].as_str().unwrap().contains("seconds"), "{told}");
    assert_eq!(office.ask("192.0.2.8", &["mail.example.org"], &[]).await.0, 202);
}

#[tokio::test]
async fn a_crowd_of_strangers_gets_true_words_and_does_not_stop_what_is_automatic() {
    let office = Office::with_ca(None);
    for number in 0..4096 {
        let client = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).into();
        office.face.desk.quotas.take(client, quota::Kin::Stranger, Timestamp::now()).unwrap();
    }
    let (status, told) = office.ask("192.0.2.7", &["mail.example.org"], &[]).await;
    assert!(status == 503 && told["error"].as_str().unwrap().contains("many others"), "{told}");
    assert_eq!(office.ask("127.0.0.1", &["a.auto.example.org"], &[]).await.0, 201);
}

#[tokio::test]
async fn with_a_locked_key_everything_waits() {
    let office = Office::with_ca(Some("secret"));
    let (status, told) = office.ask("127.0.0.1", &["web.auto.example.org"], &[]).await;
    assert_eq!((status, told["state"].as_str()), (202, Some("waiting")), "{told}");
    let id = told["id"].as_str().unwrap();
    let error = office.admin.authority().approve(id, ACTOR, Timestamp::now()).unwrap_err().to_string();
    assert!(error.contains("passphrase"), "{error}");
    let secret = Passphrase::new("secret".into());
    let actor = Actor { passphrase: Some(&secret), ..ACTOR };
    office.admin.authority().approve(id, actor, Timestamp::now()).unwrap();
}

#[tokio::test]
async fn a_certificate_for_a_person_is_one_by_its_name_or_by_the_senders_word() {
    let office = Office::with_ca(None);
    let (_, told) = office.ask("192.0.2.7", &["anna@example.org"], &[]).await;
    assert_eq!(told["purpose"], "client");
    let body = request(&["printer.example.org"]).pem().into_bytes();
    let asked = Asked { method: Method::POST, path: "/ca/requests?purpose=client", body, ..Asked::default() };
    let told: Value = serde_json::from_slice(&office.answer(asked).await.1).unwrap();
    assert_eq!(told["purpose"], "client", "{told}");
}

#[tokio::test]
async fn the_authoritys_own_files_are_there_for_everybody_and_its_keys_for_nobody() {
    let office = Office::with_ca(None);
    for path in [
        "/ca/root.pem",
        "/ca/root.der",
        "/ca/root.crt",
        "/ca/root.mobileconfig",
        "/ca/issuer.der",
        "/ca/chain.pem",
        "/ca/crl.der",
        "/ca/crl.pem",
    ] {
        assert_eq!(office.get(path).await.0, 200, "{path}");
    }
    for path in ["/ca/private/root.key", "/ca/../ca/private/root.key", "/ca/records.db", "/ca/requests", "/"]
    {
        assert_ne!(office.get(path).await.0, 200, "{path}");
    }
    let post = Asked { method: Method::DELETE, path: "/ca/root.pem", ..Asked::default() };
    assert_eq!(office.answer(post).await.0, 405);
}

#[tokio::test]
async fn a_question_that_is_none_gets_an_answer_that_says_so() {
    let office = Office::with_ca(None);
    // RFC 6960 §4.2.1: malformedRequest.
    let malformed = vec![0x30, 3, 0x0a, 1, 1];
    assert_eq!(office.get("/ca/ocsp/!!!").await, (200, malformed.clone()));
    let asked =
        Asked { method: Method::POST, path: "/ca/ocsp", body: b"garbage".to_vec(), ..Asked::default() };
    assert_eq!(office.answer(asked).await, (200, malformed));
}

#[tokio::test]
async fn without_an_authority_that_is_what_is_said() {
    let office = Office::without_ca(POLICY);
    for path in ["/ca/root.pem", "/ca/crl.der", "/ca/requests/abc"] {
        let (status, told) = office.told(path).await;
        assert!(status == 404 && told["error"].as_str().unwrap().contains("no private CA"), "{path}: {told}");
    }
    assert!(office.said.0.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_wrong_here_is_an_alarm_and_no_news_for_strangers() {
    let office = Office::with_ca(None);
    std::fs::write(office.admin.authority().folder().join("root.pem"), "broken").unwrap();
    for _ in 0..3 {
        let (status, told) = office.told("/ca/root.pem").await;
        assert!(status == 503 && !told.to_string().contains("root.pem"), "{told}");
    }
    let said = office.said.0.lock().unwrap().clone();
    assert!(said.len() == 1 && said[0].contains("root.pem"), "{said:?}");
}

#[tokio::test]
async fn what_was_revoked_stands_on_the_list() {
    let office = Office::with_ca(None);
    let (_, told) = office.ask("127.0.0.1", &["web.auto.example.org"], &[]).await;
    let (_, before) = office.get("/ca/crl.der").await;
    let serial = told["serial"].as_str().unwrap();
    let revoked =
        office.admin.authority().revoke(serial, Reason::KeyCompromise, ACTOR, Timestamp::now()).unwrap();
    assert!(revoked.list.is_ok() && revoked.certificates[0].serial == serial);
    let (_, after) = office.get("/ca/crl.der").await;
    assert!(after.len() > before.len());
}
