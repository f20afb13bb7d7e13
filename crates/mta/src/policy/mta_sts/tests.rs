use std::future::Future;
use std::mem;
use std::task::{Context, Waker};

use futures_util::future::join_all;
use postern_testkit::dns::{Kind, ScriptedResolver, Zone};

use super::*;
use crate::https::scripted::{Authority, Host, Script};
use crate::observe::{Record, Sink};

const DOMAIN: &str = "example.org";
const HOST: &str = "mta-sts.example.org";
const RECORD: &str = "_mta-sts.example.org";
const DAY: i64 = 24 * 3600;

/// The domain's DNS and policy host, and who asks them.
struct Laboratory {
    resolver: ScriptedResolver,
    host: Host,
    authority: Authority,
    ledger: Ledger,
    heard: Heard,
    policies: StsPolicies,
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Event>>>);

impl Sink for Heard {
    fn record(&self, record: &Record) {
        self.0.lock().unwrap().push(record.event.clone());
    }
}

impl Heard {
    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().iter().map(ToString::to_string).collect()
    }
}

impl Laboratory {
    async fn new(script: Script) -> Self {
        let authority = Authority::new();
        let host = Host::start(authority.host(&[HOST]), script).await;
        Self::of(authority, host)
    }

    fn of(authority: Authority, host: Host) -> Self {
        let zone = zone("1");
        let (resolver, heard) = (ScriptedResolver::new(zone), Heard::default());
        let ledger = crate::policy::ledger::in_memory().unwrap();
        let policies = policies(&resolver, &authority, &host, &ledger, &heard);
        Self { resolver, host, authority, ledger, heard, policies }
    }

    /// Another daemon with the same ledger.
    fn restart(&mut self) {
        self.policies = policies(&self.resolver, &self.authority, &self.host, &self.ledger, &self.heard);
    }

    async fn found(&self, second: i64) -> Found {
        self.policies.policy_for(DOMAIN, at(second)).await
    }

    /// The first host of the policy, and its source.
    async fn mx(&self, second: i64) -> Option<(String, Source)> {
        let binding = self.found(second).await.policy?;
        Some((binding.fetched.policy.mx[0].to_string(), binding.source))
    }

    async fn fault(&self, second: i64) -> Option<StsFault> {
        self.found(second).await.trouble.map(|trouble| trouble.fault.clone())
    }

    fn names(&self, zone: Zone) {
        self.resolver.change(|_| zone);
    }

    fn fetches(&self) -> usize {
        self.host.requests().len()
    }

    fn records_asked(&self) -> usize {
        self.resolver.queries().iter().filter(|(name, kind)| name == RECORD && *kind == Kind::Txt).count()
    }

    /// Until what was begun in the background has ended.
    async fn rest(&self) {
        let tasks = mem::take(&mut *self.policies.tasks.lock().unwrap());
        tasks.join_all().await;
    }
}

fn policies(
    resolver: &ScriptedResolver,
    authority: &Authority,
    host: &Host,
    ledger: &Ledger,
    heard: &Heard,
) -> StsPolicies {
    let resolver: Arc<dyn Resolver> = Arc::new(resolver.clone());
    let https = Https::new(resolver.clone(), authority.client());
    let observer = Observer::new(vec![Box::new(heard.clone())]);
    let options = StsOptions { port: host.port, domains_most: 10, ..StsOptions::default() };
    StsPolicies::new(resolver, https, ledger.clone(), observer, options)
}

fn zone(id: &str) -> Zone {
    without_record().txt(RECORD, &format!("v=STSv1; id={id};"))
}

fn without_record() -> Zone {
    Zone::new().address(HOST, [127, 0, 0, 1]).ttl(3600)
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn file(mode: &str, mx: &str, max_age: i64) -> String {
    format!("version: STSv1\r\nmode: {mode}\r\nmx: {mx}\r\nmax_age: {max_age}\r\n")
}

fn text(body: &str) -> Script {
    Script::reply("200 OK", "Content-Type: text/plain; charset=utf-8\r\n", body)
}

fn policy(mx: &str) -> Script {
    text(&file("enforce", mx, 10 * DAY))
}

#[allow(clippy::unnecessary_wraps)] // it stands beside what `mx` gives
fn is(mx: &str, source: Source) -> Option<(String, Source)> {
    Some((mx.to_owned(), source))
}

#[tokio::test]
async fn a_policy_is_fetched_once_and_then_known() {
    let lab = Laboratory::new(policy("a.example")).await;
    assert_eq!(lab.mx(0).await, is("a.example", Source::Fresh));
    assert_eq!(lab.mx(3599).await, is("a.example", Source::Cached));
    assert_eq!((lab.records_asked(), lab.fetches()), (1, 1));
    let request = lab.host.requests().remove(0).to_lowercase();
    assert!(request.starts_with("get /.well-known/mta-sts.txt http/1.1\r\n"), "{request}");
    assert!(lab.heard.lines().is_empty());
}

#[tokio::test]
async fn an_unchanged_id_costs_a_lookup_and_no_fetch() {
    let lab = Laboratory::new(policy("a.example")).await;
    lab.found(0).await;
    lab.host.now_says(policy("b.example"));
    assert_eq!(lab.mx(3600).await, is("a.example", Source::Cached));
    assert_eq!((lab.records_asked(), lab.fetches()), (2, 1));
}

#[tokio::test]
async fn a_changed_id_brings_the_new_policy_at_once() {
    let lab = Laboratory::new(policy("a.example")).await;
    lab.found(0).await;
    lab.names(zone("2"));
    lab.host.now_says(policy("b.example"));
    assert_eq!(lab.mx(3600).await, is("b.example", Source::Fresh));
    assert_eq!(lab.mx(3601).await, is("b.example", Source::Cached));
}

#[tokio::test]
async fn a_policy_whose_record_is_gone_broken_or_unanswered_binds_until_it_expires() {
    for gone in [
        without_record(),
        without_record().failing(RECORD),
        zone("2").txt(RECORD, "v=STSv1; id=3;"),
        without_record().txt(RECORD, "v=STSv1; id"),
    ] {
        let lab = Laboratory::new(policy("a.example")).await;
        lab.found(0).await;
        lab.names(gone);
        assert_eq!(lab.mx(10 * DAY - 1).await, is("a.example", Source::Stale));
        assert_eq!(lab.mx(10 * DAY).await, None);
        assert_eq!(lab.fetches(), 1);
    }
}

/// What the issue lists as bad input, one by one: no policy, a name for the report, and one fetch only.
#[tokio::test]
async fn a_bad_policy_is_none_and_says_why() {
    let invalid = |error| (StsFault::Policy(error), TlsFault::PolicyInvalid);
    let media =
        |media: Option<&str>| (StsFault::MediaType(media.map(str::to_owned)), TlsFault::PolicyInvalid);
    let status = |status| (StsFault::Status(status), TlsFault::PolicyUnfetched);
    let good = file("enforce", "a.example", DAY);
    let large = format!("{good}x: {}", "x".repeat(POLICY_MOST));
    for (script, (fault, result)) in [
        (text(&large), invalid(PolicyError::TooLarge)),
        (text(&good.replace("STSv1", "STSv2")), invalid(PolicyError::Version("STSv2".to_owned()))),
        (text("version: STSv1\nmode: enforce\nmax_age: 9\n"), invalid(PolicyError::NoMx)),
        (text(&file("enforce", "a.example", -1)), invalid(PolicyError::BadMaxAge("-1".to_owned()))),
        (text(&file("always", "a.example", 1)), invalid(PolicyError::BadMode("always".to_owned()))),
        (Script::reply("200 OK", "", &good), media(None)),
        (Script::reply("200 OK", "Content-Type: text/html\r\n", &good), media(Some("text/html"))),
        (Script::reply("301 Moved", "Location: https://b.example/\r\n", ""), status(301)),
        (Script::reply("404 Not Found", "Content-Type: text/plain\r\n", &good), status(404)),
        (Script::reply("203 Non-Authoritative", "Content-Type: text/plain\r\n", &good), status(203)),
        (Script::reply("500 Error", "Content-Type: text/plain\r\n", &large), status(500)),
    ] {
        let lab = Laboratory::new(script).await;
        for second in [0, 299] {
            let found = lab.found(second).await;
            assert!(found.policy.is_none(), "{fault}");
            let trouble = found.trouble.unwrap();
            assert_eq!(
                (&trouble.fault, trouble.fault.tls_fault(), trouble.at),
                (&fault, Some(result), at(0))
            );
        }
        assert_eq!(lab.fetches(), 1, "{fault}");
        assert_eq!(lab.heard.lines(), [format!("{DOMAIN}: {fault}; mail goes as if there were none")]);
        lab.host.now_says(policy("b.example"));
        assert_eq!(lab.mx(300).await, is("b.example", Source::Fresh));
        assert!(lab.found(300).await.trouble.is_none());
    }
}

#[tokio::test]
async fn a_policy_host_that_does_not_prove_its_name_is_not_believed() {
    let authority = Authority::new();
    for settings in [
        authority.host(&["www.example.org", DOMAIN]),
        authority.expired_host(&[HOST]),
        Authority::new().host(&[HOST]),
    ] {
        let host = Host::start(settings, policy("a.example")).await;
        let mut lab = Laboratory::of(Authority::new(), host);
        lab.policies = policies(&lab.resolver, &authority, &lab.host, &lab.ledger, &lab.heard);
        let found = lab.found(0).await;
        let fault = &found.trouble.unwrap().fault;
        assert!(found.policy.is_none());
        assert!(matches!(fault, StsFault::Fetch(HttpsError::Certificate { .. })), "{fault}");
        assert_eq!(fault.tls_fault(), Some(TlsFault::PolicyHostUntrusted));
    }
}

#[tokio::test]
async fn a_host_that_stalls_or_cannot_be_reached_is_left_alone_for_a_while() {
    let mut lab = Laboratory::new(Script::NoHandshake).await;
    let mut options = lab.policies.shared.options;
    options.time = Duration::from_millis(300);
    Arc::get_mut(&mut lab.policies.shared).unwrap().options = options;
    let fault = lab.fault(0).await.unwrap();
    assert!(matches!(fault, StsFault::Fetch(HttpsError::TimedOut { .. })), "{fault}");
    assert_eq!(fault.tls_fault(), Some(TlsFault::PolicyUnfetched));
    // The host is well again, and is not asked before the pause is over.
    lab.host.now_says(policy("a.example"));
    assert_eq!(lab.mx(299).await, None);
    lab.names(Zone::new().empty(HOST));
    assert!(matches!(lab.fault(300).await, Some(StsFault::Fetch(HttpsError::NoAddress { .. }))));
    assert_eq!(lab.fetches(), 0);
}

#[tokio::test]
async fn a_failed_update_leaves_the_earlier_policy_in_force() {
    let lab = Laboratory::new(policy("a.example")).await;
    lab.found(0).await;
    lab.names(zone("2"));
    lab.host.now_says(text("no policy"));
    assert_eq!(lab.mx(3600).await, is("a.example", Source::Stale));
    assert_eq!(lab.fault(3600).await.and_then(|fault| fault.tls_fault()), Some(TlsFault::PolicyInvalid));
    assert!(lab.heard.lines()[0].ends_with("the policy fetched earlier goes on to bind"));
}

#[tokio::test]
async fn a_policy_survives_a_restart_though_nobody_answers() {
    let mut lab = Laboratory::new(policy("a.example")).await;
    lab.found(0).await;
    lab.names(Zone::new().failing(RECORD));
    lab.restart();
    assert_eq!(lab.mx(10 * DAY - 1).await, is("a.example", Source::Stale));
    lab.restart();
    assert_eq!(lab.mx(10 * DAY).await, None);
}

#[tokio::test]
async fn a_domain_without_record_costs_one_lookup_in_five_minutes() {
    let lab = Laboratory::new(policy("a.example")).await;
    lab.names(without_record());
    for second in [0, 100, 299] {
        let found = lab.found(second).await;
        assert!(found.policy.is_none() && found.trouble.is_none());
    }
    assert_eq!((lab.records_asked(), lab.fetches()), (1, 0));
    lab.names(zone("1"));
    assert_eq!(lab.mx(300).await, is("a.example", Source::Fresh));
}

#[tokio::test]
async fn all_who_ask_at_the_same_time_share_one_lookup_and_one_fetch() {
    let lab = Laboratory::new(policy("a.example")).await;
    let found = join_all((0..50).map(|_| lab.found(0))).await;
    assert!(found.iter().all(|found| found.policy.is_some()));
    assert_eq!((lab.records_asked(), lab.fetches()), (1, 1));
}

#[tokio::test]
async fn what_was_begun_goes_on_when_nobody_waits_for_it() {
    let lab = Laboratory::new(policy("a.example")).await;
    let mut asking = Box::pin(lab.found(0));
    assert!(asking.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    drop(asking);
    lab.rest().await;
    assert_eq!(lab.mx(0).await, is("a.example", Source::Cached));
    assert_eq!(lab.fetches(), 1);
}

#[tokio::test]
async fn an_aged_policy_is_refreshed_behind_the_answer() {
    let lab = Laboratory::new(policy("a.example")).await;
    lab.found(0).await;
    lab.host.now_says(policy("b.example"));
    assert_eq!(lab.mx(DAY).await, is("a.example", Source::Cached), "nobody waits for it");
    lab.rest().await;
    assert_eq!(lab.mx(DAY).await, is("b.example", Source::Cached));
    assert_eq!(lab.mx(11 * DAY - 1).await, is("b.example", Source::Cached), "its time begins anew");
}

#[tokio::test]
async fn a_refresh_that_stalls_keeps_no_delivery_waiting() {
    let lab = Laboratory::new(policy("a.example")).await;
    lab.found(0).await;
    lab.host.now_says(Script::NoHandshake);
    let started = std::time::Instant::now();
    // The record has to be asked for again each time, which takes a turn.
    for second in [DAY, DAY + 3600, DAY + 7200] {
        assert_eq!(lab.mx(second).await, is("a.example", Source::Cached));
    }
    let slot = lab.policies.shared.slots.slot(DOMAIN);
    assert!(slot.begin_refresh().is_none(), "the first refresh is still under way");
    assert!(started.elapsed() < lab.policies.shared.options.time);
}

#[tokio::test]
async fn a_failed_refresh_is_told_and_tried_again_after_a_pause() {
    let lab = Laboratory::new(policy("a.example")).await;
    lab.found(0).await;
    lab.host.now_says(Script::reply("503 Busy", "", ""));
    for second in [DAY, DAY + 299, DAY + 300] {
        assert_eq!(lab.mx(second).await, is("a.example", Source::Cached));
        lab.rest().await;
    }
    assert_eq!(lab.fetches(), 3, "one in the beginning, two in vain");
    assert_eq!(lab.heard.lines().len(), 2);
}

#[tokio::test]
async fn upkeep_refreshes_what_is_used_and_drops_what_expired() {
    let mut lab = Laboratory::new(policy("a.example")).await;
    lab.found(0).await;
    lab.restart();
    lab.policies.refresh_due(at(DAY - 1)).await;
    lab.rest().await;
    assert_eq!(lab.fetches(), 1);
    lab.host.now_says(policy("b.example"));
    lab.policies.refresh_due(at(DAY)).await;
    lab.rest().await;
    assert_eq!((lab.fetches(), lab.mx(DAY).await), (2, is("b.example", Source::Cached)));
    lab.names(without_record());
    lab.policies.refresh_due(at(12 * DAY)).await;
    assert_eq!(lab.ledger.sts_policy(DOMAIN, at(DAY)).await.unwrap(), None);
}

#[tokio::test]
async fn a_policy_that_no_mail_is_planned_under_is_not_refreshed_for_ever() {
    let body = file("enforce", "a.example", 300 * DAY);
    let mut lab = Laboratory::new(text(&body)).await;
    lab.found(0).await;
    lab.restart();
    for day in 1..=100 {
        lab.policies.refresh_due(at(day * DAY)).await;
        lab.rest().await;
    }
    assert_eq!(lab.fetches(), 31);
    assert_eq!(lab.mx(100 * DAY).await, is("a.example", Source::Cached), "it binds all the same");
}

#[tokio::test]
async fn mode_none_is_remembered_and_its_troubles_alarm_nobody() {
    let lab = Laboratory::new(text(&file("none", "a.example", 10 * DAY))).await;
    assert_eq!(lab.found(0).await.policy.unwrap().fetched.policy.mode, Mode::None);
    lab.names(zone("2"));
    lab.host.now_says(Script::reply("410 Gone", "", ""));
    let found = lab.found(3600).await;
    assert_eq!(found.policy.unwrap().fetched.policy.mode, Mode::None);
    assert!(found.trouble.is_some());
    assert_eq!(lab.heard.lines(), Vec::<String>::new());
}

#[tokio::test]
async fn addresses_and_single_labels_are_not_looked_up() {
    let lab = Laboratory::new(policy("a.example")).await;
    for domain in ["[192.0.2.1]", "192.0.2.1", "localhost", "", &"a.".repeat(126)] {
        assert!(lab.policies.policy_for(domain, at(0)).await.policy.is_none());
    }
    assert!(lab.resolver.queries().is_empty());
    let found = lab.policies.policy_for("EXAMPLE.org.", at(0)).await;
    assert!(found.policy.is_some());
}

#[tokio::test]
async fn a_full_memory_forgets_no_policy() {
    let lab = Laboratory::new(policy("a.example")).await;
    lab.found(0).await;
    for number in 0..100 {
        lab.policies.policy_for(&format!("d{number}.example"), at(0)).await;
        assert!(lab.policies.shared.slots.len() <= 10);
    }
    lab.names(Zone::new().failing(RECORD));
    assert_eq!(lab.mx(1).await, is("a.example", Source::Stale));
}

#[tokio::test]
async fn a_ledger_that_fails_is_alarmed_in_measure_and_stops_nothing() {
    let lab = Laboratory::new(policy("a.example")).await;
    let drop = |transaction: &rusqlite::Transaction<'_>| transaction.execute_batch("DROP TABLE sts_policy");
    lab.ledger.write(drop).await.unwrap();
    assert_eq!(lab.mx(0).await, is("a.example", Source::Fresh));
    assert_eq!(lab.mx(3600).await, is("a.example", Source::Cached));
    assert_eq!(lab.heard.lines().len(), 2, "one for each ten minutes with trouble: {:?}", lab.heard.lines());
}

/// The disk fails, and works again.
async fn rename(ledger: &Ledger, from: &str, to: &str) {
    let sql = format!("ALTER TABLE {from} RENAME TO {to}");
    ledger.write(move |transaction| transaction.execute_batch(&sql)).await.unwrap();
}

#[tokio::test]
async fn while_the_ledger_cannot_be_read_it_is_not_known_whether_a_policy_binds() {
    for blocked in [Zone::new().failing(RECORD), without_record(), zone("2")] {
        let mut lab = Laboratory::new(policy("a.example")).await;
        lab.found(0).await;
        lab.names(blocked);
        lab.host.now_says(Script::reply("503 Busy", "", ""));
        lab.restart();
        rename(&lab.ledger, "sts_policy", "away").await;
        let found = join_all((0..10).map(|_| lab.found(1))).await;
        let why = found.iter().map(|found| found.unanswered().unwrap());
        assert!(why.clone().all(|why| why.fault == TlsFault::Unanswered && why.why.contains("sts_policy")));
        assert!(found.iter().all(|found| found.policy.is_none() && found.failure().is_none()));
        assert_eq!(lab.policies.shared.slots.slot(DOMAIN).known().unread_count, 1, "one try for all");
        rename(&lab.ledger, "away", "sts_policy").await;
        assert_eq!(lab.mx(1).await, is("a.example", Source::Stale), "the next who asks is told");
    }
}
