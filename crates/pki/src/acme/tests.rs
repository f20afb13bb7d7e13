use std::collections::BTreeSet;
use std::future::pending;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use tempfile::TempDir;
use tokio::sync::Notify;
use zeroize::Zeroizing;

use super::scripted::{BASE, ScriptedCa};
use super::*;

struct Fixture {
    folder: TempDir,
    ca: Ca,
    server: Arc<ScriptedCa>,
    steps: Arc<Mutex<Vec<Step>>>,
}

/// Notes what is up, and fails for some names.
#[derive(Default)]
struct Board {
    up: Mutex<BTreeSet<String>>,
    ever: Mutex<Vec<String>>,
    fails: Option<&'static str>,
    hangs: Option<Arc<Notify>>,
    kind: Option<ChallengeKind>,
}

#[async_trait]
impl Solver for Board {
    fn kind(&self) -> ChallengeKind {
        self.kind.unwrap_or(ChallengeKind::Http01)
    }

    async fn prepare(&self, challenges: &[Challenge]) -> Vec<Result<(), String>> {
        for challenge in challenges {
            assert!(challenge.answer.text().starts_with("token."));
            self.up.lock().unwrap().insert(challenge.name.clone());
            self.ever.lock().unwrap().push(challenge.name.clone());
        }
        if let Some(reached) = &self.hangs {
            reached.notify_one();
            pending::<()>().await;
        }
        let one = |challenge: &Challenge| match self.fails {
            Some(name) if name == challenge.name => Err("no such zone".to_owned()),
            _ => Ok(()),
        };
        challenges.iter().map(one).collect()
    }

    async fn clean_up(&self, challenges: &[Challenge]) -> Vec<Result<(), String>> {
        let mut up = self.up.lock().unwrap();
        challenges
            .iter()
            .map(|challenge| up.remove(&challenge.name).then_some(()).ok_or_else(String::new))
            .collect()
    }
}

impl Fixture {
    fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let ca = Ca {
            directory: format!("{BASE}/directory"),
            contact: vec!["mailto:postmaster@example.org".to_owned()],
            external: None,
            account_file: folder.path().join("acme/le/account.json"),
        };
        let server = Arc::new(ScriptedCa::default());
        server.script().chain = issued().pem();
        Self { folder, ca, server, steps: Arc::default() }
    }

    fn file(&self) -> PathBuf {
        self.ca.account_file.clone()
    }

    fn steps(&self) -> Vec<String> {
        std::mem::take(&mut *self.steps.lock().unwrap()).iter().map(ToString::to_string).collect()
    }

    fn tell(&self) -> Box<Tell> {
        let steps = Arc::clone(&self.steps);
        Box::new(move |step| steps.lock().unwrap().push(step))
    }

    async fn open(&self) -> Result<(), AcmeError> {
        let tell = self.tell();
        Client::open(&self.ca, self.server.clone(), &*tell).await.map(|_| ())
    }

    async fn order(&self, names: &[&str], board: &Board) -> Result<Issued, AcmeError> {
        self.order_for(names, None, board).await
    }

    async fn order_for(
        &self,
        names: &[&str],
        replaces: Option<&CertificateDer<'_>>,
        board: &Board,
    ) -> Result<Issued, AcmeError> {
        let stop = async {
            match &board.hangs {
                Some(reached) => reached.notified().await,
                None => pending().await,
            }
        };
        self.order_until(names, replaces, board, stop).await
    }

    async fn order_until(
        &self,
        names: &[&str],
        replaces: Option<&CertificateDer<'_>>,
        board: &Board,
        stop: impl Future<Output = ()>,
    ) -> Result<Issued, AcmeError> {
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let order = Order { names: &names, request: b"request", profile: Some("tlsserver"), replaces };
        let tell = self.tell();
        let mut client = Client::open(&self.ca, self.server.clone(), &*tell).await?;
        client.order(order, board, stop).await
    }
}

/// A certificate with an authority key identifier.
fn certificate() -> CertificateDer<'static> {
    issued().der().clone()
}

fn issued() -> rcgen::Certificate {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut root = rcgen::CertificateParams::default();
    root.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer = rcgen::Issuer::new(root, key);
    let mut params = rcgen::CertificateParams::new(vec!["a.example".to_owned()]).unwrap();
    params.use_authority_key_identifier_extension = true;
    params.signed_by(&rcgen::KeyPair::generate().unwrap(), &issuer).unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_order_goes_the_whole_way_and_every_step_is_told() {
    let fixture = Fixture::new();
    let board = Board::default();
    let issued = fixture.order(&["a.example", "b.example"], &board).await.unwrap();
    assert_eq!((issued.chain.len(), issued.names.as_slice()), (1, &["a.example".to_owned()][..]));
    assert_eq!(
        fixture.steps(),
        [
            "account made: https://ca.example/account/1",
            "ordered: https://ca.example/order",
            "a.example: ready for http-01",
            "b.example: ready for http-01",
            "a.example: the CA was told to look",
            "b.example: the CA was told to look",
            "a.example: proved",
            "b.example: proved",
            "a.example: cleaned up",
            "b.example: cleaned up",
            "the CA has the certificate request",
            "the certificate is here",
        ]
    );
    assert!(board.up.lock().unwrap().is_empty());
    assert_eq!(fixture.server.script().profile.as_deref(), Some("tlsserver"));
}

#[tokio::test(start_paused = true)]
async fn what_is_issued_must_be_certificates() {
    let fixture = Fixture::new();
    for chain in ["", "<html>", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
        fixture.server.script().chain = chain.to_owned();
        let error = fixture.order(&["a.example"], &Board::default()).await.unwrap_err();
        assert!(error.to_string().contains("is no certificate"), "{chain}: {error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_account_is_made_once_and_kept_for_its_owner_alone() {
    let fixture = Fixture::new();
    fixture.open().await.unwrap();
    assert_eq!(std::fs::metadata(fixture.file()).unwrap().permissions().mode() & 0o777, 0o600);
    fixture.open().await.unwrap();
    assert_eq!(fixture.steps(), ["account made: https://ca.example/account/1"]);
    assert_eq!(fixture.server.script().accounts.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn changed_contact_addresses_are_told_to_the_ca_once() {
    let mut fixture = Fixture::new();
    fixture.open().await.unwrap();
    fixture.ca.contact = vec!["mailto:other@example.org".to_owned()];
    fixture.open().await.unwrap();
    fixture.open().await.unwrap();
    assert_eq!(fixture.steps()[1..], ["contact addresses changed at the CA"]);
    assert_eq!(fixture.server.script().contact, serde_json::json!(["mailto:other@example.org"]));
}

#[tokio::test(start_paused = true)]
async fn an_account_that_the_ca_forgot_is_made_anew_and_the_old_one_set_aside() {
    let fixture = Fixture::new();
    fixture.open().await.unwrap();
    let before = std::fs::read(fixture.file()).unwrap();
    fixture.server.script().accounts.clear();
    fixture.order(&["a.example"], &Board::default()).await.unwrap();
    let steps = fixture.steps();
    assert!(
        steps[1].starts_with("the account cannot be used any more: placing the order: the CA does not know")
    );
    assert_eq!(steps[2], "account made: https://ca.example/account/2");
    assert_eq!(std::fs::read(fixture.file().with_extension("json.previous")).unwrap(), before);
}

#[tokio::test(start_paused = true)]
async fn an_account_at_another_ca_is_not_used() {
    let mut fixture = Fixture::new();
    fixture.open().await.unwrap();
    fixture.ca.directory = format!("{BASE}/directory?other");
    fixture.open().await.unwrap();
    assert!(fixture.steps()[1].contains("it is one at https://ca.example/directory"));
    assert_eq!(fixture.server.script().accounts.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_broken_account_file_is_an_error_and_stays() {
    let fixture = Fixture::new();
    fixture.open().await.unwrap();
    std::fs::write(fixture.file(), "{\"directory\":").unwrap();
    let error = fixture.open().await.unwrap_err();
    assert!(matches!(error, AcmeError::AccountFile { .. }) && error.remedy().contains("backup"), "{error}");
    assert_eq!(std::fs::read_to_string(fixture.file()).unwrap(), "{\"directory\":");
    assert_eq!(std::fs::read_dir(fixture.folder.path().join("acme/le")).unwrap().count(), 1);
}

#[tokio::test(start_paused = true)]
async fn of_several_names_the_one_that_is_not_proved_is_named_with_a_remedy() {
    let fixture = Fixture::new();
    fixture.server.script().unproved.insert("b.example", "connection");
    let board = Board::default();
    let error = fixture.order(&["a.example", "b.example", "c.example"], &board).await.unwrap_err();
    let AcmeError::Names(faults) = &error else { panic!("{error}") };
    assert_eq!(faults.len(), 1);
    assert_eq!(
        error.to_string(),
        "b.example: not proved by http-01: the CA could not connect to this server (connection: the CA's words)"
    );
    assert!(error.remedy().contains("b.example leads to this server and that port 80"));
    let steps = fixture.steps();
    for told in ["a.example: proved", "c.example: proved", "b.example: cleaned up"] {
        assert!(steps.iter().any(|step| step == told), "{told} in {steps:?}");
    }
    assert!(board.up.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_cannot_be_made_ready_ends_the_order_and_nothing_stays_up() {
    let fixture = Fixture::new();
    let board = Board { fails: Some("a.example"), ..Board::default() };
    let error = fixture.order(&["a.example", "b.example"], &board).await.unwrap_err();
    assert!(
        error.to_string().starts_with("a.example: could not be made ready for http-01: no such zone"),
        "{error}"
    );
    assert!(board.up.lock().unwrap().is_empty());
    assert_eq!(board.ever.lock().unwrap().len(), 2);
    assert_eq!(fixture.server.state_of("b.example"), "deactivated", "nothing is left open at the CA");
}

#[tokio::test(start_paused = true)]
async fn refused_nonces_are_replaced_until_one_is_taken() {
    let fixture = Fixture::new();
    fixture.server.script().bad_nonces = 20;
    fixture.order(&["a.example"], &Board::default()).await.unwrap();
    fixture.server.script().bad_nonces = 1000;
    let error = fixture.order(&["a.example"], &Board::default()).await.unwrap_err();
    assert!(error.to_string().contains("refuses every nonce"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_says_when_to_come_again() {
    let fixture = Fixture::new();
    fixture.server.script().no_orders = Some(("rateLimited", "3600"));
    let error = fixture.order(&["a.example"], &Board::default()).await.unwrap_err();
    assert_eq!(error.retry_after(), Some(RetryAfter::In(Duration::from_hours(1))));
    assert!(
        error.to_string().contains("too many requests") && error.remedy().contains("when the CA allows"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn an_account_that_is_forbidden_a_name_is_kept() {
    let fixture = Fixture::new();
    fixture.server.script().no_orders = Some(("unauthorized", ""));
    let error = fixture.order(&["a.example"], &Board::default()).await.unwrap_err();
    assert!(error.to_string().contains("unauthorized"), "{error}");
    assert_eq!(fixture.server.script().accounts.len(), 1);
    assert!(!fixture.file().with_extension("json.previous").exists());
}

#[tokio::test(start_paused = true)]
async fn an_account_is_bound_to_the_one_that_the_ca_knows() {
    let mut fixture = Fixture::new();
    fixture.server.script().wants_binding = true;
    let error = fixture.open().await.unwrap_err();
    assert!(error.remedy().contains("eab_key_id"), "{}", error.remedy());
    assert!(!fixture.file().exists());
    fixture.ca.external =
        Some(ExternalAccount { key_id: "kid-1".to_owned(), key: Zeroizing::new(vec![1; 32]) });
    fixture.open().await.unwrap();
    assert_eq!(fixture.server.script().binding.as_deref(), Some("kid-1"));
    assert!(!format!("{:?}", fixture.ca).contains("key: "), "the MAC key is not shown");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_breaks_the_order_off_and_takes_the_answers_down() {
    let fixture = Fixture::new();
    let board = Board { hangs: Some(Arc::default()), ..Board::default() };
    let error = fixture.order(&["a.example"], &board).await.unwrap_err();
    assert!(matches!(error, AcmeError::Stopped), "{error}");
    assert_eq!(*board.ever.lock().unwrap(), ["a.example"]);
    assert!(board.up.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_name_that_was_not_ordered_is_not_proved() {
    let fixture = Fixture::new();
    fixture.server.script().smuggled = Some("victim.example");
    let board = Board::default();
    let error = fixture.order(&["a.example"], &board).await.unwrap_err();
    assert!(error.to_string().contains("victim.example to be proved, which was not ordered"), "{error}");
    assert!(board.ever.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn more_to_be_proved_than_was_ordered_is_not_even_looked_at() {
    let fixture = Fixture::new();
    fixture.server.script().repeats = 100;
    let error = fixture.order(&["a.example"], &Board::default()).await.unwrap_err();
    assert!(error.to_string().contains("101 names to be proved, and 1 were ordered"), "{error}");
    assert_eq!(fixture.server.script().looked, 0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_no_ca_whatever_it_is_slow_at() {
    for silent in ["/new-order", "/authorisation", "/challenge"] {
        let fixture = Fixture::new();
        fixture.server.script().silent = Some(silent);
        let (board, began) = (Board::default(), tokio::time::Instant::now());
        let stop = tokio::time::sleep(Duration::from_secs(5));
        let error = fixture.order_until(&["a.example"], None, &board, stop).await.unwrap_err();
        assert!(matches!(error, AcmeError::Stopped), "{silent}: {error}");
        assert!(began.elapsed() < Duration::from_secs(20), "{silent}: {:?}", began.elapsed());
        assert!(board.up.lock().unwrap().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn an_order_that_gets_nowhere_ends() {
    let fixture = Fixture::new();
    fixture.server.script().silent = Some("/authorisation");
    let (board, began) = (Board::default(), tokio::time::Instant::now());
    let error = fixture.order_until(&["a.example"], None, &board, pending()).await.unwrap_err();
    assert!(matches!(error, AcmeError::TooSlow(40, _)), "{error}");
    assert!(began.elapsed() < Duration::from_mins(41));
}

#[tokio::test(start_paused = true)]
async fn a_challenge_that_the_ca_does_not_offer_is_told_with_those_that_it_does() {
    let fixture = Fixture::new();
    fixture.server.script().only = Some("dns-01");
    let error = fixture.order(&["*.a.example"], &Board::default()).await.unwrap_err();
    assert!(
        error.to_string().contains("does not take http-01") && error.to_string().contains("Dns01"),
        "{error}"
    );
    let board = Board { kind: Some(ChallengeKind::Dns01), ..Board::default() };
    fixture.order(&["*.a.example"], &board).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn the_renewal_window_is_what_the_ca_suggests() {
    let fixture = Fixture::new();
    let tell = fixture.tell();
    let certificate = certificate();
    let client = Client::open(&fixture.ca, fixture.server.clone(), &*tell).await.unwrap();
    assert_eq!(client.renewal_window(&certificate).await.unwrap(), None);
    fixture.server.script().window = Some(("2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"));
    let client = Client::open(&fixture.ca, fixture.server.clone(), &*tell).await.unwrap();
    let window = client.renewal_window(&certificate).await.unwrap().unwrap();
    assert_eq!(window.start, "2026-11-21T00:00:00Z".parse::<Timestamp>().unwrap());
    assert_eq!(window.end, "2026-11-22T00:00:00Z".parse::<Timestamp>().unwrap());
    assert!((21_000..=21_600).contains(&window.ask_again.as_secs()), "six hours where the CA says nothing");
}

#[tokio::test(start_paused = true)]
async fn a_renewal_names_the_certificate_that_it_replaces_unless_the_ca_will_not_have_it() {
    let fixture = Fixture::new();
    let (old, board) = (certificate(), Board::default());
    fixture.order_for(&["a.example"], Some(&old), &board).await.unwrap();
    assert_eq!(fixture.server.script().replaces, None, "the CA knows nothing of replacing");
    fixture.server.script().window = Some(("2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z"));
    fixture.order_for(&["a.example"], Some(&old), &board).await.unwrap();
    assert!(fixture.server.script().replaces.is_some());
    fixture.server.script().no_replacing = Some("alreadyReplaced");
    fixture.steps();
    fixture.order_for(&["a.example"], Some(&old), &board).await.unwrap();
    assert_eq!(fixture.server.script().replaces, None);
    assert!(fixture.steps()[0].starts_with("placed as a new order, not as a replacement"));
}
