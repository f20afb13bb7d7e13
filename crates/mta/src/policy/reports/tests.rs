use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use postern_message::tls_report::{GZIP_TYPE, TlsReport, extract};
use postern_queue::{Body, Draft, Filter, MemoryStore, Selection, SenderTls};
use postern_smtp::address::ReversePath;
use postern_smtp::tls::{TlsFailure, TlsFault};
use postern_testkit::dns::{ScriptedResolver, Zone};

use super::receive::Reception;
use super::show::{PolicySeen, overview};
use super::*;
use crate::config::{File, Surroundings};
use crate::https::scripted::{Authority, Host, Script};
use crate::observe::{Record, Sink};
use crate::policy::day::Day;
use crate::policy::ledger::reports::ReceivedPolicy;
use crate::policy::tls_results::{PolicyApplied, PolicyResult, SessionSeen, TlsResults};

const COLLECTOR: &str = "collector.example";
const CONFIG: &str = r#"
    hostname = "mail.us.example"
    [tls_reports]
    send = true
    organization = "Us"
    contact = "tls@us.example"
    from = "reports@us.example"
    receive = "incoming@us.example"
    [[listener]]
    name = "mx"
    role = "relay"
    bind = ["127.0.0.1:0"]
    [[domain]]
    name = "us.example"
    deliver = "store"
    mailboxes = ["anna"]
    [[connector]]
    name = "store"
    to = "maildir:/srv/mail/{local}"
"#;

#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<String>>>);

impl Sink for Said {
    fn record(&self, record: &Record) {
        self.0.lock().unwrap().push(record.event.to_string());
    }
}

struct Lab {
    results: TlsResults,
    store: MemoryStore,
    wake: Notify,
    resolver: Arc<ScriptedResolver>,
    https: Https,
    routing: Routing,
    users: Users,
    config: Arc<Config>,
    observer: Observer,
    said: Said,
    collector: Host,
    _folder: tempfile::TempDir,
}

/// Noon of the day after the one that is reported on.
fn noon() -> Timestamp {
    "2026-11-21T12:00:00Z".parse().unwrap()
}

fn hours(count: i64) -> SignedDuration {
    SignedDuration::from_hours(count)
}

fn yesterday() -> Day {
    Day::of(noon()).earlier(1)
}

impl Lab {
    /// `others.example` wants its reports as this text record says; `PORT` stands for the collector's port.
    async fn new(record: &str) -> Self {
        let authority = Authority::new();
        let taken = Script::reply("201 Created", "", "thank you");
        let collector = Host::start(authority.host(&[COLLECTOR]), taken).await;
        let record = record.replace("PORT", &collector.port.to_string());
        let zone = Zone::new().address(COLLECTOR, [127, 0, 0, 1]).txt("_smtp._tls.others.example", &record);
        let resolver = Arc::new(ScriptedResolver::new(zone));
        let said = Said::default();
        let more = |n| format!("[[domain]]\nname = \"d{n:02}.example\"\ndeliver = \"store\"\n");
        let config = CONFIG.to_owned() + &(0..20).map(more).collect::<String>();
        let config = File::parse(&config, "test").unwrap().resolve(&Surroundings::default()).unwrap();
        let config = Arc::new(config);
        let folder = tempfile::tempdir().unwrap();
        Self {
            results: TlsResults::new(crate::policy::ledger::in_memory().unwrap()),
            store: MemoryStore::new(),
            wake: Notify::new(),
            https: Https::new(resolver.clone(), authority.client()),
            resolver,
            routing: Routing::new(Arc::clone(&config)),
            users: Users::open(folder.path()).unwrap(),
            config,
            observer: Observer::new(vec![Box::new(said.clone())]),
            said,
            collector,
            _folder: folder,
        }
    }

    fn reporter(&self) -> Reporter<'_> {
        Reporter {
            results: &self.results,
            store: &self.store,
            wake: &self.wake,
            resolver: &*self.resolver,
            https: &self.https,
            routing: &self.routing,
            users: &self.users,
            config: &self.config,
            observer: &self.observer,
        }
    }

    /// Three sessions with a domain went well and two failed.
    fn count(&self, domain: &str, when: Timestamp) {
        let expired = || Err(TlsFailure::new(TlsFault::Expired, "it expired yesterday"));
        for result in [Ok(()), Ok(()), Ok(()), expired(), expired()] {
            let policies = vec![PolicyResult { policy: PolicyApplied::NoPolicy, result }];
            let (domain, host) = (domain.to_owned(), "mx.others.example".to_owned());
            let peer = Some(IpAddr::from([192, 0, 2, 25]));
            self.results.count(SessionSeen { domain, policies, host, peer, local: None }, when);
        }
    }

    async fn send_due(&self, now: Timestamp) {
        self.reporter().send_due(now, &|| true).await.unwrap();
    }

    async fn mail(&self) -> Vec<postern_queue::Delivery> {
        self.store.find(Filter::default(), Selection { limit: 100, offset: 0 }).await.unwrap()
    }

    async fn content(&self, delivery: &postern_queue::Delivery) -> Vec<u8> {
        whole(self.store.body(delivery.message.id).await.unwrap()).await
    }

    fn posts(&self) -> usize {
        self.collector.requests().len()
    }

    fn said(&self) -> Vec<String> {
        self.said.0.lock().unwrap().clone()
    }

    async fn receive(&self, content: Vec<u8>) -> Taken {
        let id = self.store.begin(noon()).id();
        let envelope = self.reporter().envelope(vec!["incoming@us.example".parse().unwrap()], true);
        let draft = Draft::from_bytes(id, content);
        let message = postern_queue::NewMessage { envelope, head: bytes::Bytes::new(), draft, hold: None };
        let id = self.store.enqueue(noon(), message).await.unwrap();
        let mut body = self.store.body(id).await.unwrap();
        let (ledger, routing, observer) = (self.results.ledger(), &self.routing, &self.observer);
        Reception { ledger, routing, observer, id }.take(&mut body, noon()).await
    }
}

async fn whole(mut body: Body) -> Vec<u8> {
    let mut content = Vec::new();
    while let Some(piece) = body.next().await.unwrap() {
        content.extend_from_slice(&piece);
    }
    content
}

const BY_HTTPS: &str = "v=TLSRPTv1; rua=https://collector.example:PORT/v1";
const BY_MAIL: &str = "v=TLSRPTv1; rua=mailto:tls@others.example";

#[tokio::test]
async fn yesterdays_counts_are_reported_by_mail_and_over_https_once() {
    let lab = Lab::new(&format!("{BY_HTTPS},mailto:tls@others.example")).await;
    lab.count("others.example", noon() - hours(24));
    lab.count("others.example", noon());
    for _ in 0..2 {
        lab.send_due(noon()).await;
        lab.send_due(noon() + hours(2)).await;
    }
    assert_eq!(lab.posts(), 1, "{:?}", lab.said());
    let request = lab.collector.requests().remove(0).to_lowercase();
    assert!(request.starts_with("post /v1 http/1.1\r\n"), "{request}");
    assert!(request.contains(&format!("content-type: {GZIP_TYPE}\r\n")), "{request}");
    let [mail] = lab.mail().await.try_into().unwrap();
    assert_eq!(mail.message.from, ReversePath::Mailbox("reports@us.example".parse().unwrap()));
    assert_eq!(mail.message.tls, SenderTls::NotRequired);
    assert_eq!(mail.recipients[0].recipient.address, "tls@others.example".parse().unwrap());
    let report = extract(&lab.content(&mail).await).unwrap();
    assert_eq!(report.date_range.end, yesterday().end());
    assert_eq!((report.policies[0].successful, report.policies[0].failed), (3, 2));
    assert_eq!(report.policies[0].failures[0].result.as_str(), "certificate-expired");
}

#[tokio::test]
async fn nothing_is_sent_before_the_hosts_time_behind_midnight() {
    let lab = Lab::new(BY_MAIL).await;
    lab.count("others.example", noon() - hours(24));
    lab.send_due(yesterday().end()).await;
    assert!(lab.mail().await.is_empty());
    lab.send_due(yesterday().end() + hours(5)).await;
    assert_eq!(lab.mail().await.len(), 1);
}

#[tokio::test]
async fn who_publishes_no_address_gets_no_report_and_is_asked_once() {
    let lab = Lab::new("v=spf1 -all").await;
    for domain in ["others.example", "silent.example"] {
        lab.count(domain, noon() - hours(24));
    }
    lab.send_due(noon()).await;
    lab.send_due(noon() + hours(1)).await;
    assert!(lab.mail().await.is_empty());
    assert_eq!(lab.resolver.queries().len(), 2, "{:?}", lab.resolver.queries());
}

#[tokio::test]
async fn a_collector_that_fails_is_tried_again_for_a_day_and_then_given_up() {
    let lab = Lab::new(BY_HTTPS).await;
    lab.collector.now_says(Script::reply("503 Busy", "", ""));
    lab.count("others.example", noon() - hours(24));
    for step in 0..4 * 36 {
        lab.send_due(noon() + SignedDuration::from_mins(15 * step)).await;
    }
    assert_eq!(lab.posts(), 7);
    let said = lab.said();
    assert!(said[0].contains("answered with status 503; next try 2026-11-21T12:15:00Z"), "{}", said[0]);
    assert!(said[6].ends_with("given up"), "{}", said[6]);
    assert_eq!(said.len(), 7);
}

#[tokio::test]
async fn a_collector_that_recovers_gets_the_report_with_the_same_id() {
    let lab = Lab::new(BY_HTTPS).await;
    lab.collector.now_says(Script::reply("503 Busy", "", ""));
    lab.count("others.example", noon() - hours(24));
    lab.send_due(noon()).await;
    lab.collector.now_says(Script::reply("200 OK", "", &"x".repeat(100_000)));
    lab.send_due(noon() + hours(1)).await;
    lab.send_due(noon() + hours(9)).await;
    assert_eq!(lab.posts(), 2);
    let requests = lab.collector.requests();
    assert_eq!(requests[0], requests[1]);
    assert!(lab.said()[1].contains("taken with status 200"), "{:?}", lab.said());
}

#[tokio::test]
async fn a_lookup_that_fails_is_repeated() {
    let lab = Lab::new(BY_MAIL).await;
    lab.resolver.change(|zone| zone.failing("_smtp._tls.others.example"));
    lab.count("others.example", noon() - hours(24));
    lab.send_due(noon()).await;
    assert!(lab.mail().await.is_empty());
    assert!(lab.said()[0].contains("could not be looked up"), "{:?}", lab.said());
    let good = Zone::new().txt("_smtp._tls.others.example", BY_MAIL);
    lab.resolver.change(|_| good);
    lab.send_due(noon() + hours(1)).await;
    assert_eq!(lab.mail().await.len(), 1);
}

#[tokio::test]
async fn addresses_that_strangers_publish_reach_neither_ip_addresses_nor_mailboxes_that_do_not_exist() {
    for (rua, why) in [
        ("https://127.0.0.1:PORT/", "must have a name"),
        ("mailto:root@[127.0.0.1]", "must have a domain"),
        ("mailto:nobody@us.example", "nobody here has that address"),
        ("mailto:..@others.example", "no mail address"),
    ] {
        let lab = Lab::new(&format!("v=TLSRPTv1; rua={rua}")).await;
        lab.count("others.example", noon() - hours(24));
        lab.send_due(noon()).await;
        lab.send_due(noon() + hours(12)).await;
        assert!(lab.mail().await.is_empty() && lab.posts() == 0, "{rua}");
        let said = lab.said();
        assert!(said.len() == 1 && said[0].contains(why) && said[0].ends_with("given up"), "{rua}: {said:?}");
    }
}

#[tokio::test]
async fn a_drain_stops_between_reports_and_the_rest_is_sent_after_the_restart() {
    let lab = Lab::new(BY_MAIL).await;
    lab.count("others.example", noon() - hours(24));
    lab.reporter().send_due(noon(), &|| false).await.unwrap();
    assert!(lab.mail().await.is_empty());
    lab.send_due(noon()).await;
    assert_eq!(lab.mail().await.len(), 1);
}

#[tokio::test]
async fn an_administrator_sends_at_once_and_a_finished_day_is_not_sent_again() {
    let lab = Lab::new(BY_MAIL).await;
    lab.count("others.example", noon() - hours(24));
    lab.count("others.example", noon());
    lab.results.flush().await.unwrap();
    for day in [yesterday(), Day::of(noon())] {
        let sent = lab.reporter().send_now(day, "others.example", noon()).await.unwrap();
        assert_eq!(sent[0].address, "mailto:tls@others.example");
        assert!(sent[0].outcome.as_ref().unwrap().starts_with("queued as"), "{sent:?}");
    }
    lab.send_due(noon()).await;
    assert_eq!(lab.mail().await.len(), 2);
    lab.send_due(noon() + hours(24)).await;
    let mut ids = BTreeSet::new();
    for mail in lab.mail().await {
        ids.insert(extract(&lab.content(&mail).await).unwrap().report_id);
    }
    let expected = ["2026-11-20T23:59:59Z", "2026-11-21T12:00:00Z", "2026-11-21T23:59:59Z"];
    assert_eq!(ids, expected.map(|end| format!("{end}.others.example@mail.us.example")).into());
}

#[tokio::test]
async fn what_cannot_be_sent_on_demand_is_told() {
    let lab = Lab::new("v=TLSRPTv1; rua=tel:1").await;
    for domain in ["others.example", "silent.example"] {
        lab.count(domain, noon());
    }
    lab.results.flush().await.unwrap();
    let today = Day::of(noon());
    for (domain, why) in [
        ("others.example", "names no address"),
        ("silent.example", "wants no reports"),
        ("uncounted.example", "no session with uncounted.example was counted on 2026-11-21"),
    ] {
        let told = lab.reporter().send_now(today, domain, noon()).await.unwrap_err();
        assert!(told.contains(why), "{told}");
    }
}

/// One policy of a report: seven sessions went well, three did not.
fn policy(domain: &str, kind: &str, failures: &[(&str, u64)]) -> String {
    let detail = |(why, sessions): &(&str, u64)| {
        format!(
            r#"{{"result-type":"certificate-expired","receiving-mx-hostname":"mx.us.example",
            "failure-reason-code":"{why}","failed-session-count":{sessions}}}"#
        )
    };
    let failures: Vec<_> = failures.iter().map(detail).collect();
    format!(
        r#"{{"policy":{{"policy-type":"{kind}","policy-domain":"{domain}"}},
        "summary":{{"total-successful-session-count":7,"total-failure-session-count":3}},
        "failure-details":[{}]}}"#,
        failures.join(",")
    )
}

/// Somebody's report in a message.
fn report(id: &str, policies: &[String]) -> Vec<u8> {
    let json = format!(
        r#"{{"organization-name":"Them","contact-info":"them@example.net","report-id":"{id}",
        "date-range":{{"start-datetime":"2026-11-20T00:00:00Z","end-datetime":"2026-11-20T23:59:59Z"}},
        "policies":[{}]}}"#,
        policies.join(",")
    );
    let report = TlsReport::parse(json.as_bytes()).unwrap();
    let address = "them@example.net".parse().unwrap();
    report.compose_mail(&postern_message::tls_report::Mail {
        from: &address,
        to: &"incoming@us.example".parse().unwrap(),
        domain: "us.example",
        submitter: "example.net",
        now: noon(),
        unique: "1",
    })
}

/// What we would report about ourselves, as if somebody else did.
fn about_us(id: &str, domain: &str) -> Vec<u8> {
    report(id, &[policy(domain, "sts", &[("", 1), ("", 2)])])
}

#[tokio::test]
async fn received_reports_count_once_and_are_summed_up() {
    let lab = Lab::new(BY_MAIL).await;
    for (id, domain) in [("1", "us.example"), ("1", "US.example."), ("2", "us.example")] {
        assert_eq!(lab.receive(about_us(id, domain)).await, Taken::Kept);
    }
    let days = (yesterday(), Day::of(noon()));
    let overview = overview(lab.results.ledger(), Some("us.example"), days).await.unwrap();
    let [by] = overview.reported.try_into().unwrap();
    assert_eq!((by.organization.as_str(), by.domain.as_str(), by.reports), ("Them", "us.example", 2));
    assert_eq!(by.policies, [PolicySeen { policy: "sts".into(), succeeded: 14, failed: 6 }]);
    assert_eq!((by.failures.len(), by.failures[0].sessions), (1, 6));
    assert_eq!(lab.said().len(), 2, "{:?}", lab.said());
    assert!(lab.said()[0].contains("Them (unproved)"), "{:?}", lab.said());
}

#[tokio::test]
async fn of_a_report_with_a_thousand_policies_little_is_kept_and_nothing_of_the_sums_is_lost() {
    let lab = Lab::new(BY_MAIL).await;
    let reasons: Vec<_> = (0..10).map(|n| format!("{n}{}", "x".repeat(500))).collect();
    let failures: Vec<_> = reasons.iter().map(|why| (why.as_str(), 1)).collect();
    let kinds = ["sts", "tlsa", "no-policy-found"];
    let policies: Vec<_> = (0..999).map(|n| policy("us.example", kinds[n % 3], &failures)).collect();
    assert_eq!(lab.receive(report("1", &policies)).await, Taken::Kept);
    let [kept] = lab.results.ledger().received_since(yesterday(), None).await.unwrap().try_into().unwrap();
    let figures = |policy: &ReceivedPolicy| (policy.kind.clone(), policy.succeeded, policy.failed);
    let figures: Vec<_> = kept.policies.iter().map(figures).collect();
    let expected = ["no-policy-found", "sts", "tlsa"].map(|kind| (kind.to_owned(), 333 * 7, 333 * 3));
    assert_eq!(figures, expected);
    let failures = kept.policies.iter().flat_map(|policy| &policy.failures);
    assert_eq!(failures.clone().map(|failure| failure.sessions).collect::<BTreeSet<_>>(), [333].into());
    assert!(failures.clone().count() == 30 && failures.clone().all(|failure| failure.why.len() <= 100));
}

#[tokio::test]
async fn of_a_reports_failures_the_most_frequent_are_kept_over_all_its_policies() {
    let lab = Lab::new(BY_MAIL).await;
    let reasons: Vec<_> = (0..60).map(|n| n.to_string()).collect();
    // Twenty that are frequent, under one policy; sixty that are not, under another.
    let often: Vec<_> = reasons[..20].iter().map(|why| (why.as_str(), 9)).collect();
    let seldom: Vec<_> = reasons.iter().map(|why| (why.as_str(), 2)).collect();
    let policies = [policy("us.example", "tlsa", &often), policy("us.example", "sts", &seldom)];
    assert_eq!(lab.receive(report("1", &policies)).await, Taken::Kept);
    let [kept] = lab.results.ledger().received_since(yesterday(), None).await.unwrap().try_into().unwrap();
    let counts: Vec<_> =
        kept.policies.iter().map(|policy| (policy.kind.as_str(), policy.failures.len())).collect();
    assert_eq!(counts, [("sts", 30), ("tlsa", 20)]);
}

#[tokio::test]
async fn a_report_on_names_below_our_domains_or_on_many_makes_few_rows_and_one_line() {
    let lab = Lab::new(BY_MAIL).await;
    let below: Vec<_> = (0..900).map(|n| policy(&format!("{n}.us.example"), "sts", &[])).collect();
    assert_eq!(lab.receive(report("1", &below)).await, Taken::Dropped);
    let own = ["us.example", "mail.us.example"].into_iter().map(str::to_owned);
    let own = own.chain((0..20).map(|n| format!("d{n:02}.example")));
    let all: Vec<_> = own.map(|domain| policy(&domain, "sts", &[])).chain(below).collect();
    assert_eq!(lab.receive(report("2", &all[..900])).await, Taken::Kept);
    let kept = lab.results.ledger().received_since(yesterday(), None).await.unwrap();
    assert_eq!(kept.len(), 10);
    let said = lab.said();
    assert!(said.len() == 2 && said[1].contains("d07.example, mail.us.example, us.example"), "{said:?}");
    assert!(said[1].ends_with("70 sessions well, 30 failed"), "{said:?}");
}

#[tokio::test]
async fn mail_that_holds_no_report_about_us_is_dropped_and_said() {
    let lab = Lab::new(BY_MAIL).await;
    let huge = vec![b'x'; postern_message::tls_report::MAX_MAIL + 1];
    for (content, why) in [
        (letter(), "dropped, the address takes only TLS reports: the message holds no TLS report"),
        (about_us("3", "others.example"), "none of our domains"),
        (huge, "larger than"),
    ] {
        assert_eq!(lab.receive(content).await, Taken::Dropped);
        let said = lab.said().pop().unwrap();
        assert!(said.contains(why), "{said}");
    }
    assert_eq!(lab.said().len(), 3);
}

#[tokio::test]
async fn a_preview_objects_to_what_holds_no_report_about_us_as_far_as_it_sees_the_whole() {
    let lab = Lab::new(BY_MAIL).await;
    let objection = async |content: &[u8]| {
        let mut preview = Preview::new();
        content.chunks(1000).for_each(|piece| preview.feed(piece));
        preview.objection(&lab.routing).await
    };
    assert!(objection(&letter()).await.unwrap().contains("holds no TLS report"));
    assert!(objection(b"").await.unwrap().contains("holds no TLS report"));
    assert!(objection(&about_us("1", "others.example")).await.unwrap().contains("none of our domains"));
    assert_eq!(objection(&about_us("1", "us.example")).await, None);
    let mut long = letter();
    long.resize(64 * 1024, b'x');
    assert!(objection(&long).await.is_some());
    long.push(b'x');
    assert_eq!(objection(&long).await, None, "its end is not known");
}

fn letter() -> Vec<u8> {
    b"From: a@b.example\r\n\r\nHello, is anybody there?\r\n".to_vec()
}

#[tokio::test]
async fn the_overview_tells_the_worst_first_and_adds_days_up() {
    let lab = Lab::new(BY_MAIL).await;
    for (domain, times) in [("a.example", 1), ("b.example", 2), ("c.example", 1)] {
        for back in 0..times {
            lab.count(domain, noon() - hours(24 * back));
        }
    }
    lab.count("old.example", noon() - hours(24 * 9));
    lab.results.flush().await.unwrap();
    let show = async |domain| {
        let days = (Day::of(noon()).earlier(6), Day::of(noon()));
        overview(lab.results.ledger(), domain, days).await.unwrap()
    };
    let all = show(None).await;
    let domains: Vec<_> = all.seen.iter().map(|seen| seen.domain.as_str()).collect();
    assert_eq!(domains, ["b.example", "a.example", "c.example"]);
    let line = PolicySeen { policy: "no-policy-found".into(), succeeded: 6, failed: 4 };
    assert_eq!(all.seen[0].policies, [line]);
    let worst = &all.seen[0].failures[0];
    assert_eq!(
        (worst.sessions, worst.host.as_str(), worst.why.as_str()),
        (4, "mx.others.example", "it expired yesterday")
    );
    assert_eq!(show(Some("c.example")).await.seen, all.seen[2..]);
    assert!(!all.cut && all.reported.is_empty());
}

#[tokio::test]
async fn a_preview_is_the_report_and_needs_no_daemon() {
    let lab = Lab::new(BY_MAIL).await;
    lab.count("others.example", noon());
    lab.results.flush().await.unwrap();
    let ask =
        async |request| operations::carry_out_alone(lab.results.ledger(), &lab.config, request, noon()).await;
    let day = Day::of(noon());
    let Ok(Response::Domains(domains)) = ask(Request::Domains { day }).await else { panic!() };
    assert_eq!(domains, ["others.example"]);
    let domain = "Others.Example".to_owned();
    let Ok(Response::Report(json)) = ask(Request::Preview { day, domain: domain.clone() }).await else {
        panic!()
    };
    let report = TlsReport::parse(json.as_bytes()).unwrap();
    assert_eq!((report.organization.as_str(), report.policies[0].failed), ("Us", 2));
    assert!(ask(Request::Send { day, domain }).await.unwrap_err().contains("not running"));
    let domain = Some("no domain".to_owned());
    assert!(ask(Request::Show { domain, days: 7 }).await.unwrap_err().contains("is not a domain"));
}
