//! Figures for a monitoring system, as OpenMetrics text under `/metrics`.
//!
//! - [`handler`]: what answers on `[metrics] bind`. What can be looked up is looked up when it is asked for, so that nobody
//!   has to keep it right.
//! - [`Counters`]: what only a counter knows. Whoever sees such a thing happen counts it there.
//!
//! What it deliberately does not do: keep a history, or judge; the monitoring system does both.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use async_trait::async_trait;
use hyper::{Method, StatusCode};
use jiff::Timestamp;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::task::spawn_blocking;

use crate::certificates::expiry::{Owner, Position, Watched};
use crate::certificates::{Served, warn, watch};
use crate::daemon::Shared;
use crate::http::{Handler, Request, Response};
use crate::limits::{Scope, What};

/// The media type of OpenMetrics text.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const DAY: f64 = 86_400.0;

/// What is counted since the start. Cheap to clone; all clones count together.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    acme_failures: Family<OfIdentity, Counter>,
    bans: Counter,
    turned_away: Counter,
    too_fast: Family<OfRate, Counter>,
    held: Counter,
}

impl Counters {
    /// An ACME order for this identity failed.
    pub(crate) fn acme_failed(&self, identity: &str) {
        self.acme_failures.get_or_create(&OfIdentity { identity: identity.to_owned() }).inc();
    }

    /// A guesser was banned.
    pub(crate) fn banned(&self) {
        self.bans.inc();
    }

    /// Somebody who is banned was turned away.
    pub(crate) fn turned_away(&self) {
        self.turned_away.inc();
    }

    /// A rate refused something.
    pub(crate) fn too_fast(&self, scope: Scope, what: What) {
        self.too_fast.get_or_create(&OfRate { scope, what }).inc();
    }

    /// A message of a burst was held.
    pub(crate) fn held(&self) {
        self.held.inc();
    }
}

/// What answers with all figures.
pub(crate) fn handler(shared: &Arc<Shared>) -> Arc<dyn Handler> {
    Arc::new(Figures(Arc::clone(shared)))
}

struct Figures(Arc<Shared>);

#[async_trait]
impl Handler for Figures {
    async fn answer(&self, request: Request) -> Response {
        if request.path() != "/metrics" {
            return Response::not_found();
        }
        if request.method != Method::GET {
            return Response::only("GET, HEAD");
        }
        let facts = Facts::gather(&self.0).await;
        let Ok(text) = facts.render(&self.0.counters, Timestamp::now()) else {
            let status = StatusCode::INTERNAL_SERVER_ERROR;
            return Response::problem(status, "the figures could not be written", "ask again");
        };
        Response::found(OPEN_METRICS, text)
    }
}

/// How things stand at one moment.
#[derive(Debug, Default)]
struct Facts {
    certificates: Vec<Watched>,
    served: Vec<Served>,
    /// Deliveries in the queue, and how many of them are held; `None`: the queue cannot be asked.
    queue: Option<(u64, u64)>,
    sessions: usize,
    /// Bans in force, and accounts whose mail is held.
    limits: (usize, usize),
}

/// Whose rate of what a figure is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct OfRate {
    scope: Scope,
    what: What,
}

/// Which certificate a figure is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct OfCertificate {
    owner: Owner,
    position: Position,
}

/// Which identity a figure is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct OfIdentity {
    identity: String,
}

impl Facts {
    async fn gather(shared: &Arc<Shared>) -> Self {
        let site = shared.site.load_full();
        let certificates = spawn_blocking(move || warn::watched(&site)).await;
        Self {
            certificates: certificates.unwrap_or_default(),
            served: watch::served(shared).await,
            queue: shared.store.count().await.ok(),
            sessions: shared.sessions.open_now(),
            limits: shared.limits.figures(Timestamp::now()),
        }
    }

    fn render(&self, counters: &Counters, now: Timestamp) -> Result<String, fmt::Error> {
        let mut registry = Registry::with_prefix("postern");
        self.register_certificates(&mut registry, now);
        let failures = "ACME orders that failed, by identity";
        registry.register("acme_failures", failures, counters.acme_failures.clone());
        registry.register("sessions_open", "SMTP sessions that are open", gauge(self.sessions));
        self.register_limits(&mut registry, counters);
        if let Some((deliveries, held)) = self.queue {
            registry.register("queue_deliveries", "Deliveries in the queue", gauge(deliveries));
            registry.register("queue_held", "Deliveries in the queue that are held", gauge(held));
        }
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }

    fn register_limits(&self, registry: &mut Registry, counters: &Counters) {
        let (bans, bursts) = self.limits;
        registry.register(
            "bans_in_force",
            "Addresses, networks and accounts that are banned now",
            gauge(bans),
        );
        registry.register(
            "bursts_undecided",
            "Accounts whose mail is held until somebody decides",
            gauge(bursts),
        );
        registry.register("bans", "Bans because of guessing", counters.bans.clone());
        registry.register(
            "turned_away",
            "Sessions of banned clients that were turned away",
            counters.turned_away.clone(),
        );
        let help = "What was refused because a rate was used up, by whose rate and of what";
        registry.register("too_fast", help, counters.too_fast.clone());
        registry.register("burst_messages_held", "Messages held because of a burst", counters.held.clone());
    }

    /// Of several intermediates of one identity, the one that ends first.
    fn register_certificates(&self, registry: &mut Registry, now: Timestamp) {
        let mut ends: BTreeMap<OfCertificate, Timestamp> = BTreeMap::new();
        for Watched { owner, position, link, .. } in &self.certificates {
            let label = OfCertificate { owner: owner.clone(), position: *position };
            let end = ends.entry(label).or_insert(link.not_after);
            *end = link.not_after.min(*end);
        }
        let (not_after, days) =
            (Family::<_, Gauge>::default(), Family::<_, Gauge<f64, AtomicU64>>::default());
        for (label, end) in ends {
            not_after.get_or_create(&label).set(end.as_second());
            days.get_or_create(&label).set(end.duration_since(now).as_secs_f64() / DAY);
        }
        let help = "When a certificate in service ends, in seconds since 1970";
        registry.register_with_unit("certificate_not_after", help, Unit::Seconds, not_after);
        registry.register("certificate_days_left", "Days until a certificate in service ends", days);
        let in_service = Family::<OfIdentity, Gauge>::default();
        for Served { identity, fingerprint, trouble, .. } in &self.served {
            let is_so = fingerprint.is_some() && trouble.is_none();
            let label = OfIdentity { identity: identity.clone() };
            in_service.get_or_create(&label).set(i64::from(is_so));
        }
        let help =
            "1: what lies on disk is served; 0: it cannot be used, and an older certificate or none is";
        registry.register("certificate_on_disk_is_served", help, in_service);
    }
}

/// A count as a gauge.
fn gauge(count: impl TryInto<i64>) -> Gauge {
    let gauge = Gauge::default();
    gauge.set(count.try_into().unwrap_or(i64::MAX));
    gauge
}

impl EncodeLabelSet for OfIdentity {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        [("identity", self.identity.as_str())].encode(encoder)
    }
}

impl EncodeLabelSet for OfRate {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        [("scope", self.scope.to_string()), ("of", self.what.to_string())].encode(encoder)
    }
}

impl EncodeLabelSet for OfCertificate {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        let identity = match &self.owner {
            Owner::Identity(name) => name,
            Owner::PrivateCa => crate::authority::NAME,
        };
        let position = match self.position {
            Position::Own => "own",
            Position::Intermediate => "intermediate",
            Position::Root => "root",
        };
        [("identity", identity), ("position", position)].encode(encoder)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use postern_pki::ChainLink;

    use super::*;
    use crate::certificates::renewal::Renewal;

    fn now() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn watched(owner: Owner, position: Position, days: i64) -> Watched {
        let not_after = now() + SignedDuration::from_hours(24 * days);
        let link = ChainLink {
            subject: "CN=x".to_owned(),
            not_before: Timestamp::UNIX_EPOCH,
            not_after,
            fingerprint_sha256: format!("{owner}{position}{days}"),
        };
        Watched { owner, position, link, renewal: Renewal::ByHand }
    }

    fn served(identity: &str, trouble: Option<&str>) -> Served {
        Served {
            identity: identity.to_owned(),
            fingerprint: Some("00".to_owned()),
            not_after: None,
            since: None,
            certificate: "c.pem".into(),
            key: "k.pem".into(),
            trouble: trouble.map(str::to_owned),
            listeners: Vec::new(),
            connectors: Vec::new(),
        }
    }

    #[test]
    fn every_figure_has_its_line() {
        let mail = || Owner::Identity("mail".to_owned());
        let facts = Facts {
            certificates: vec![
                watched(mail(), Position::Own, 10),
                watched(mail(), Position::Intermediate, 90),
                watched(mail(), Position::Intermediate, -1),
                watched(Owner::PrivateCa, Position::Root, 100),
            ],
            served: vec![served("mail", None), served("odd\"\n", Some("broken"))],
            queue: Some((7, 2)),
            sessions: 3,
            limits: (4, 1),
        };
        let counters = Counters::default();
        counters.acme_failed("mail");
        counters.clone().acme_failed("mail");
        counters.too_fast(Scope::Principal, What::NewRecipients);
        counters.banned();
        let text = facts.render(&counters, now()).unwrap();
        let end = now().as_second() + 10 * 86_400;
        for line in [
            &format!("postern_certificate_not_after_seconds{{identity=\"mail\",position=\"own\"}} {end}"),
            "postern_certificate_days_left{identity=\"mail\",position=\"own\"} 10.0",
            "postern_certificate_days_left{identity=\"mail\",position=\"intermediate\"} -1.0",
            "postern_certificate_days_left{identity=\"private-ca\",position=\"root\"} 100.0",
            "postern_certificate_on_disk_is_served{identity=\"mail\"} 1",
            "postern_certificate_on_disk_is_served{identity=\"odd\\\"\\n\"} 0",
            "postern_acme_failures_total{identity=\"mail\"} 2",
            "postern_queue_deliveries 7",
            "postern_queue_held 2",
            "postern_sessions_open 3",
            "postern_bans_in_force 4",
            "postern_bursts_undecided 1",
            "postern_bans_total 1",
            "postern_turned_away_total 0",
            "postern_too_fast_total{scope=\"principal\",of=\"new recipients\"} 1",
        ] {
            assert!(text.lines().any(|written| written == line), "{line} in:\n{text}");
        }
        assert!(text.ends_with("# EOF\n"), "{text}");
    }

    #[test]
    fn the_page_about_metrics_has_every_figure_and_no_other() {
        let mail = || Owner::Identity("mail".to_owned());
        let facts = Facts {
            certificates: vec![watched(mail(), Position::Own, 10)],
            served: vec![served("mail", None)],
            queue: Some((0, 0)),
            sessions: 0,
            limits: (0, 0),
        };
        let counters = Counters::default();
        counters.acme_failed("mail");
        counters.too_fast(Scope::Address, What::Sessions);
        let text = facts.render(&counters, now()).unwrap();
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let mut written: Vec<&str> = samples.filter_map(|line| line.split(['{', ' ']).next()).collect();
        let page = include_str!("../../../docs/metrics.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
        let mut listed: Vec<&str> = rows.collect();
        written.sort_unstable();
        listed.sort_unstable();
        assert_eq!(listed, written);
    }

    #[test]
    fn a_queue_that_cannot_be_asked_has_no_figure_rather_than_a_wrong_one() {
        let text = Facts::default().render(&Counters::default(), now()).unwrap();
        assert!(!text.contains("postern_queue") && text.contains("postern_sessions_open 0"), "{text}");
    }
}
