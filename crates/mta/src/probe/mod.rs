//! Trying a destination for real, up to and not including MAIL: what is there, what each check says, and what Postern would
//! do with mail now.
//!
//! [`probe`] makes the plan that a delivery would make, by the same planner, and then goes through every address of every
//! host. It needs no running daemon and touches no queue; it signs in nowhere and names no sender. The types to know:
//! - [`Target`]: a domain or a host. [`Options`]: how far to go.
//! - [`Report`] and the views below it: what was found, for people and for programs.
//! - `session` goes through one address, by `dialogue`; `middlebox` and `ports` tell what devices on the way do; `verdict`
//!   applies the rules of deliveries to what was seen.
//!
//! Everything is bounded: hosts and addresses as in a delivery, each step and the whole in time, and what others say in
//! size. What it deliberately does not do: remember anything for later deliveries.

pub(crate) mod dialogue;
mod host;
mod ports;
pub(crate) mod session;
mod target;
mod verdict;
mod view;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use jiff::Timestamp;
use postern_dns::mta_sts::record_name;
use postern_dns::{Dnssec, LookupError, Mx};
use postern_queue::Destination;
use postern_smtp::outcome::{Outcome, Reason, Step, Trouble};
use tokio::time::timeout_at;

use crate::config::{Config, Connector, SmtpHost, Way};
use crate::daemon::{self, Site};
use crate::event::{Level, clean};
use crate::observe::{Observer, Record, Sink};
use crate::outbound::plan::{Plan, Planner};
use crate::outbound::route::{NoHost, Router};
use dialogue::Clock;
use host::Prepared;
use ports::Visited;
use verdict::{Going, overall};

pub use target::{Target, UnknownTarget};
pub use view::{
    CheckView, ConnectorView, DaneView, DomainView, FORMAT, HandshakeView, HostView, MxView, Outlook,
    PortState, PortView, Report, SessionView, StsSource, StsView, UnresolvedView, Verdict,
};

/// So many addresses are gone through at the same time.
const AT_ONCE: usize = 8;
/// So many mail exchangers are listed.
const MX_SHOWN: usize = 32;
/// So many notes are kept.
const NOTES_MOST: usize = 20;

/// How far a probe goes.
#[derive(Debug, Clone)]
pub struct Options {
    /// Other ports to look at, at every address of every host. See [`USUAL_PORTS`].
    pub ports: Vec<u16>,
    /// The longest time for a step: connecting, a reply, a handshake.
    pub step: Duration,
    /// The longest time for everything.
    pub whole: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { ports: Vec::new(), step: Duration::from_secs(10), whole: Duration::from_mins(1) }
    }
}

/// Tries a destination as mail would, with this configuration.
///
/// # Errors
/// Local: no resolver can be set up, or TLS cannot. Whatever the other side does is in the report.
///
/// # Cancel safety
/// May be dropped at any time; the connections close.
pub async fn probe(config: Config, target: &Target, options: &Options) -> Result<Report, daemon::Error> {
    let notes = Notes::default();
    let observer = Observer::new(vec![Box::new(notes.clone())]);
    let site = Site::for_planning(config, &observer, Timestamp::now())?;
    let laboratory = Laboratory {
        own_addresses: site.configured_addresses(),
        site,
        options: options.clone(),
        clock: Clock { step: options.step, end: Instant::now() + options.whole },
    };
    let mut report = laboratory.report(target).await;
    report.notes.extend(notes.taken());
    Ok(report)
}

/// What a probe works with.
struct Laboratory {
    site: Site,
    own_addresses: Vec<SocketAddr>,
    options: Options,
    clock: Clock,
}

impl Laboratory {
    async fn report(&self, target: &Target) -> Report {
        let destination = Destination(match target {
            Target::Domain(domain) => domain.clone(),
            Target::Host { host, .. } => host.clone(),
        });
        let mut report = self.blank(target, &destination).await;
        let Some(connector) = self.connector(target, &destination) else { return report };
        report.connector = Some(ConnectorView::of(&connector));
        if let Way::Maildir(_) | Way::TlsReports = connector.to {
            report.verdict = Verdict::going(&Going::local());
            return report;
        }
        let plan = self.plan(&connector, &destination).await;
        if let (Target::Domain(_), Way::Mx { .. }) = (target, &connector.to) {
            let looking = self.published(&destination, plan.as_ref().ok());
            report.domain = timeout_at(self.clock.end.into(), looking).await.ok();
        }
        match plan {
            Ok(plan) => self.go_through(&connector, &destination, &plan, &mut report).await,
            Err(none) => report.verdict = Verdict::of(&none.into(), &destination),
        }
        if !connector.enabled {
            report.verdict = Verdict::of(&deferred(Step::Route, Reason::SwitchedOff), &destination);
        }
        report
    }

    /// A report of which nothing is known yet: mail that no connector takes waits.
    async fn blank(&self, target: &Target, destination: &Destination) -> Report {
        let validation = timeout_at(self.clock.end.into(), self.site.network.validation()).await;
        let silent = |_| "the name servers do not answer".to_owned();
        Report {
            format: FORMAT,
            asked: target.to_string(),
            dnssec: validation.map_or_else(silent, |seen| seen.to_string()),
            connector: None,
            domain: None,
            hosts: Vec::new(),
            unresolved: Vec::new(),
            notes: Vec::new(),
            verdict: Verdict::of(&deferred(Step::Route, Reason::NoRoute), destination),
        }
    }

    async fn plan(&self, connector: &Connector, destination: &Destination) -> Result<Plan, NoHost> {
        let planner = Planner { router: Router { site: &self.site, own_addresses: &self.own_addresses } };
        let planning = planner.plan(connector, destination, Timestamp::now());
        let silent = || Reason::LookupFailed("the name servers do not answer".to_owned());
        let planned = timeout_at(self.clock.end.into(), planning).await;
        planned.unwrap_or_else(|_| Err(NoHost::Waits(Trouble::new(Step::Lookup, silent()))))
    }

    /// The way that mail for a domain takes. A host is probed as the connector that leads to it would go there, or else the
    /// one that serves its name.
    fn connector(&self, target: &Target, destination: &Destination) -> Option<Arc<Connector>> {
        let Target::Host { host, port } = target else {
            return self.site.routing.connector(destination).cloned();
        };
        let all = &self.site.config.connectors;
        if let Some((connector, named)) = all.iter().find_map(|connector| names(connector, host, *port)) {
            return Some(Arc::new(Connector { to: Way::Smtp(vec![named.clone()]), ..connector.clone() }));
        }
        let goes_out = |connector: &&Connector| matches!(connector.to, Way::Mx { .. } | Way::Smtp(_));
        let serving = self.site.routing.connector(destination).map(|connector| &**connector);
        let model = serving.filter(goes_out).or_else(|| all.iter().find(goes_out))?;
        let implicit_tls = *port == crate::ports::SUBMISSIONS;
        let to = Way::Smtp(vec![SmtpHost { host: host.clone(), port: *port, implicit_tls }]);
        Some(Arc::new(Connector { to, ..model.clone() }))
    }

    /// What the domain publishes.
    async fn published(&self, destination: &Destination, plan: Option<&Plan>) -> DomainView {
        let (resolver, domain) = (&*self.site.network.resolver, &destination.0);
        let (mut mx, status, trouble) = match resolver.mx(domain).await {
            Ok(answer) => (answer.records, answer.dnssec, None),
            Err(error) => (Vec::new(), status_of(&error), Some(error.to_string())),
        };
        mx.sort_by_key(|mx| mx.preference);
        let seen = |mx: Mx| MxView { preference: mx.preference, host: mx.exchange };
        let mta_sts = match plan.and_then(|plan| plan.sts.as_ref()) {
            Some(found) => {
                let texts = resolver.txt(&record_name(domain)).await.ok().map(|answer| answer.records);
                Some(StsView::of(found, texts.as_deref()))
            }
            None => None,
        };
        DomainView {
            name: domain.clone(),
            mx: mx.into_iter().take(MX_SHOWN).map(seen).collect(),
            mx_status: status.to_string(),
            mx_trouble: trouble,
            mta_sts,
        }
    }

    async fn go_through(
        &self,
        connector: &Connector,
        destination: &Destination,
        plan: &Plan,
        report: &mut Report,
    ) {
        let hosts: Vec<Prepared<'_>> =
            plan.hosts.iter().map(|host| Prepared::new(host, &self.options)).collect();
        let doors = hosts.iter().flat_map(|host| host.doors(self, connector));
        let visits = doors.map(Visited::by);
        let visits: Vec<_> = visits.collect();
        let mut visited: Vec<Visited<'_>> =
            futures_util::stream::iter(visits).buffered(AT_ONCE).collect().await;
        report.notes.extend(ports::compare(&mut visited));
        let (mut prospects, mut rest) = (Vec::new(), visited.as_slice());
        for (host, trouble) in &plan.unresolved {
            report.unresolved.push(UnresolvedView { host: host.clone(), why: trouble.reason.to_string() });
            prospects.push((host.clone(), Err(Outcome::Deferred(trouble.clone()))));
        }
        let policy = plan.sts.as_ref().and_then(|found| found.policy());
        for host in &hosts {
            let (own, others) = rest.split_at(host.count());
            rest = others;
            let in_policy = policy.map(|policy| policy.allows(host.name()));
            let view = host.view(connector, destination, own, &mut prospects);
            report.hosts.push(HostView { in_policy, ..view });
        }
        report.verdict = overall(&prospects, destination);
    }
}

/// The host of a connector that is this one.
fn names<'a>(connector: &'a Connector, host: &str, port: u16) -> Option<(&'a Connector, &'a SmtpHost)> {
    let Way::Smtp(hosts) = &connector.to else { return None };
    let same = |other: &&SmtpHost| other.host.eq_ignore_ascii_case(host) && other.port == port;
    hosts.iter().find(same).map(|named| (connector, named))
}

impl Going {
    fn local() -> Self {
        Self { outlook: Outlook::Local, words: "would stay on this machine".into() }
    }
}

fn deferred(step: Step, reason: Reason) -> Outcome {
    Outcome::Deferred(Trouble::new(step, reason))
}

fn status_of(error: &LookupError) -> Dnssec {
    match error {
        LookupError::NoSuchDomain { dnssec } | LookupError::NoRecords { dnssec } => *dnssec,
        LookupError::Bogus(_) => Dnssec::Bogus,
        _ => Dnssec::Indeterminate,
    }
}

/// Keeps what goes wrong on this machine while a probe is made.
#[derive(Debug, Clone, Default)]
struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Sink for Notes {
    fn record(&self, record: &Record) {
        let mut notes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if record.level > Level::Info && notes.len() < NOTES_MOST {
            notes.push(clean(&record.event.to_string()));
        }
    }
}
