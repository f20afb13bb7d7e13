//! Where mail to an address would go now, and what would be demanded on the way, without sending anything.
//!
//! [`RouteView`] is the answer: what the address means here, and a [`Leg`] for each destination that it leads to. It is made
//! by the planner of real deliveries, from the configuration, the directory and the caches of the moment, so that it
//! cannot say anything else than what a delivery would do. [`ask`] is the question in a running daemon; [`ask_directly`] is
//! for when none runs: it opens what there is for reading, and makes no file.
//!
//! What it deliberately does not do: connect to anybody but name servers and policy hosts, or sign in anywhere.

mod view;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use postern_queue::retry::Schedule;
use postern_queue::{Destination, SenderTls};
use postern_smtp::address::{AddressError, ForwardPath, Host, Mailbox};
use postern_smtp::outcome::{Outcome, Reason, Step, Trouble};
use postern_smtp::tls::{TlsFailure, TlsFault, TlsRequirement};
use tokio::time::timeout;

pub use view::{
    ConnectorView, DaneView, HostView, Leg, Meaning, Memory, NamedBy, Other, RouteView, SocketView,
    StsSource, StsView, Unresolved, Verdict,
};

use super::Error;
use crate::config::{Config, Connector, Rate, Way};
use crate::daemon::{Shared, Site};
use crate::diagnosis::diagnose;
use crate::directory::Users;
use crate::observe::Observer;
use crate::outbound::attempt::decisive;
use crate::outbound::dane::Dane;
use crate::outbound::ladder::Ladder;
use crate::outbound::plan::{HostTerms, Plan, PlannedHost, Planner, demands_of};
use crate::outbound::route::{NextHop, NoHost, RoutedHost, Router, Socket};
use crate::policy::mta_sts::Found;
use crate::routing::{Recipient, Routing};

/// Name servers that say nothing are waited for so long in all.
const PATIENCE: Duration = Duration::from_secs(50);
/// An alias may stand for thousands of addresses; so many destinations are looked at.
const LEGS_MOST: usize = 8;

/// Asks in the running daemon.
///
/// # Errors
/// Why there is no answer, in words.
pub(super) async fn ask(shared: &Shared, to: &str) -> Result<RouteView, String> {
    let (site, own_addresses) = (shared.site.load_full(), shared.own_addresses.load_full());
    let planning = Planning {
        site: &site,
        users: &shared.users,
        own_addresses: &own_addresses,
        ladder: Some(&shared.ladder),
        now: Timestamp::now(),
    };
    planning.answer(to).await
}

/// Asks the configuration, when no daemon runs.
///
/// # Errors
/// What cannot be opened, or why there is no answer.
pub(super) async fn ask_directly(config: &Config, to: &str) -> Result<RouteView, Error> {
    let now = Timestamp::now();
    let site = Site::for_planning(config.clone(), &Observer::new(Vec::new()), now)?;
    let users = Users::open_for_reading(&config.data_dir)?;
    let own_addresses = site.configured_addresses();
    let planning = Planning { site: &site, users: &users, own_addresses: &own_addresses, ladder: None, now };
    planning.answer(to).await.map_err(Error::Failed)
}

/// What a question is answered from.
struct Planning<'a> {
    site: &'a Site,
    users: &'a Users,
    own_addresses: &'a [SocketAddr],
    /// Only a running daemon has one.
    ladder: Option<&'a Ladder>,
    now: Timestamp,
}

/// What was asked for.
enum Asked {
    Address(ForwardPath),
    Domain(Destination),
}

impl Planning<'_> {
    async fn answer(&self, to: &str) -> Result<RouteView, String> {
        let asked = parse(to).map_err(|error| format!("{to} is neither an address nor a domain: {error}"))?;
        let late =
            |_| format!("name servers did not answer within {} s; check [dns] servers", PATIENCE.as_secs());
        timeout(PATIENCE, self.view(to, asked)).await.map_err(late)
    }

    async fn view(&self, to: &str, asked: Asked) -> RouteView {
        let (meaning, mut destinations) = self.meaning(asked);
        let beyond = destinations.len().saturating_sub(LEGS_MOST);
        destinations.truncate(LEGS_MOST);
        let mut legs = Vec::with_capacity(destinations.len());
        for (destination, recipients) in destinations {
            legs.push(self.leg(&destination, recipients).await);
        }
        let validation = self.site.network.validation().await;
        RouteView {
            asked: to.to_owned(),
            meaning,
            legs,
            beyond,
            validates: validation.works(),
            dnssec: validation.to_string(),
            daemon: self.ladder.is_some(),
        }
    }

    /// What was asked for means here, and where it leads.
    fn meaning(&self, asked: Asked) -> (Meaning, Vec<(Destination, Vec<String>)>) {
        let routing = &self.site.routing;
        let path = match asked {
            Asked::Domain(destination) => {
                let ours = routing.is_own_domain(&destination);
                let meaning = if ours { Meaning::OurDomain } else { Meaning::ForeignDomain };
                return (meaning, vec![(destination, Vec::new())]);
            }
            Asked::Address(path) => path,
        };
        match routing.recipient(&path, self.users) {
            Ok(Recipient::Local(mailboxes)) => (Meaning::Ours, self.by_destination(&mailboxes)),
            Ok(Recipient::Foreign(mailbox)) => (Meaning::Foreign, self.by_destination(&[mailbox])),
            Ok(Recipient::Unknown) => (Meaning::Nobody, Vec::new()),
            Err(denied) => (Meaning::Undecided(denied.to_string()), Vec::new()),
        }
    }

    fn by_destination(&self, mailboxes: &[Mailbox]) -> Vec<(Destination, Vec<String>)> {
        let mut groups: Vec<(Destination, Vec<String>)> = Vec::new();
        for mailbox in mailboxes {
            let destination = self.site.routing.destination_of(mailbox);
            match groups.iter_mut().find(|(known, _)| *known == destination) {
                Some((_, addresses)) => addresses.push(mailbox.to_string()),
                None => groups.push((destination, vec![mailbox.to_string()])),
            }
        }
        groups
    }

    async fn leg(&self, destination: &Destination, recipients: Vec<String>) -> Leg {
        let mut leg = Leg::new(destination.0.clone(), recipients);
        let Some(connector) = self.site.routing.connector(destination) else {
            leg.wait_for(&Trouble::new(Step::Route, Reason::NoRoute));
            return leg;
        };
        leg.connector =
            Some(connector_view(&self.site.routing, &self.site.config.queue.retry, connector, destination));
        leg.others = self.others(connector, destination);
        let router = Router { site: self.site, own_addresses: self.own_addresses };
        match (Planner { router }).plan(connector, destination, self.now).await {
            Ok(plan) => self.fill(&mut leg, connector, &plan),
            Err(NoHost::Fails(trouble)) => leg.fail_by(&trouble),
            Err(NoHost::Waits(trouble)) => leg.wait_for(&trouble),
        }
        if !connector.enabled {
            leg.wait_for(&Trouble::new(Step::Route, Reason::SwitchedOff));
        }
        leg
    }

    fn fill(&self, leg: &mut Leg, connector: &Connector, plan: &Plan) {
        let destination = Destination(leg.destination.clone());
        leg.mta_sts = plan.sts.as_ref().map(sts_view);
        leg.unresolved = plan
            .unresolved
            .iter()
            .map(|(host, trouble)| Unresolved {
                host: host.clone(),
                diagnosis: diagnose(trouble, &destination),
            })
            .collect();
        let mut waits: Vec<Outcome> =
            plan.unresolved.iter().map(|(_, trouble)| Outcome::Deferred(trouble.clone())).collect();
        for host in &plan.hosts {
            let terms = host.terms(SenderTls::AsPolicy).and_then(|terms| self.with_trust(host, terms));
            leg.hosts.push(self.host_view(connector, host, &terms, &destination));
            waits.extend(terms.err().map(|trouble| Outcome::Deferred(*trouble)));
        }
        if leg.hosts.iter().any(|host| host.barred.is_none()) {
            return;
        }
        let waits: Vec<&Outcome> = waits.iter().collect();
        let decisive = decisive(&waits).and_then(|index| waits.get(index)?.trouble());
        if let Some(trouble) = decisive {
            leg.wait_for(trouble);
        }
    }

    /// Where a host must prove who it is, a missing file of trust anchors makes it unusable.
    fn with_trust(&self, host: &PlannedHost, terms: HostTerms) -> Result<HostTerms, Box<Trouble>> {
        let clear = terms.peer.requirement.allows_clear() && !host.host.implicit_tls;
        let Err(why) = self.site.roots_for(&terms) else { return Ok(terms) };
        if clear || host.host.is_on_this_machine() {
            return Ok(terms);
        }
        let failure = TlsFailure::new(TlsFault::OurTrust, why.clone());
        let mut trouble = Trouble::of_tls(Reason::SecurityUnmet(why.clone()), &failure);
        let evidence = trouble.evidence_mut();
        evidence.host = Some(host.host.name.clone());
        evidence.demands = terms.demands;
        Err(Box::new(trouble))
    }

    /// The other connectors that could have taken it, best first.
    fn others(&self, chosen: &Connector, destination: &Destination) -> Vec<Other> {
        if self.site.routing.is_own_domain(destination) {
            return Vec::new();
        }
        let candidates = self.site.routing.candidates(destination).into_iter();
        let others = candidates.filter(|(connector, _)| connector.name != chosen.name);
        let other = |(connector, space): (&Arc<Connector>, _)| Other {
            name: connector.name.0.clone(),
            space: ToString::to_string(space),
            cost: connector.cost,
            enabled: connector.enabled,
        };
        others.map(other).collect()
    }

    fn host_view(
        &self,
        connector: &Connector,
        planned: &PlannedHost,
        terms: &Result<HostTerms, Box<Trouble>>,
        destination: &Destination,
    ) -> HostView {
        let host = &planned.host;
        let demands = demands_of(terms);
        let ladder = self.ladder.filter(|_| demands.requirement() == TlsRequirement::OPPORTUNISTIC);
        HostView {
            name: host.name.clone(),
            alias_of: Some(&host.owner).filter(|owner| **owner != host.name).cloned(),
            port: host.port,
            implicit_tls: host.implicit_tls,
            named_by: named_by(connector, host),
            name_status: host.name_status.to_string(),
            address_status: host.address_status.to_string(),
            sockets: host.sockets.iter().map(|next_hop| self.socket_view(next_hop, ladder)).collect(),
            dane: dane_view(connector, planned),
            requirement: demands.requirement(),
            demands,
            barred: terms.as_ref().err().map(|trouble| diagnose(trouble, destination)),
        }
    }

    fn socket_view(&self, next_hop: &NextHop, ladder: Option<&Ladder>) -> SocketView {
        let now = Instant::now();
        let address = match &next_hop.at {
            Socket::Tcp(address) => address.ip().to_string(),
            Socket::Unix(path) => path.display().to_string(),
        };
        let remembered = ladder.and_then(|ladder| ladder.remembered(&next_hop.to_string(), now));
        let memory = remembered.map(|remembered| Memory {
            reached: remembered.rung.to_string(),
            until: self.later(remembered.left(now)),
            why: remembered.why,
        });
        SocketView { address, memory }
    }

    fn later(&self, by: Duration) -> Timestamp {
        let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
        self.now.saturating_add(by).unwrap_or(Timestamp::MAX)
    }
}

/// The connector that takes a destination's mail, as people see it. `usual` is when mail is tried again where it does not say.
pub(super) fn connector_view(
    routing: &Routing,
    usual: &Schedule,
    connector: &Connector,
    destination: &Destination,
) -> ConnectorView {
    let candidates = routing.candidates(destination);
    let space = candidates.iter().find(|(candidate, _)| candidate.name == connector.name);
    ConnectorView {
        name: connector.name.0.clone(),
        to: connector.to.to_string(),
        space: space.filter(|_| !routing.is_own_domain(destination)).map(|(_, space)| space.to_string()),
        cost: connector.cost,
        enabled: connector.enabled,
        dane: connector.dane,
        mta_sts: connector.mta_sts,
        signs_in: connector.credential.is_some(),
        rate: connector.rate.as_ref().map(rate_in_words),
        retry: (connector.retry != *usual).then(|| schedule_in_words(&connector.retry)),
    }
}

/// An address, `postmaster`, a domain, or an address literal.
fn parse(to: &str) -> Result<Asked, AddressError> {
    if to.eq_ignore_ascii_case("postmaster") {
        return Ok(Asked::Address(ForwardPath::Postmaster));
    }
    if to.contains('@') {
        let bare = to.strip_prefix('<').and_then(|inner| inner.strip_suffix('>')).unwrap_or(to);
        return Ok(Asked::Address(ForwardPath::Mailbox(bare.parse()?)));
    }
    let host: Host = to.strip_suffix('.').unwrap_or(to).parse()?;
    Ok(Asked::Domain(Destination(host.key().into_owned())))
}

/// Whether a text can be asked about.
///
/// # Errors
/// What is wrong with it, in words.
pub fn check_question(to: &str) -> Result<String, String> {
    parse(to).map(|_| to.to_owned()).map_err(|error| format!("neither an address nor a domain: {error}"))
}

fn sts_view(found: &Found) -> StsView {
    let binding = found.policy.as_ref();
    StsView {
        mode: binding.map(|binding| binding.fetched.policy.mode.to_string()),
        source: binding.map(|binding| binding.source),
        expires: binding.map(|binding| binding.fetched.expires()),
        hosts: found.policy().map(|policy| policy.mx.iter().map(ToString::to_string).collect()),
        trouble: found.trouble.as_ref().map(ToString::to_string),
    }
}

fn dane_view(connector: &Connector, planned: &PlannedHost) -> DaneView {
    match &planned.dane {
        Dane::Nothing if !connector.dane || is_address(&planned.host) => DaneView::NotAsked,
        Dane::Nothing => DaneView::Nothing,
        Dane::Records { base, records } => DaneView::Records {
            base: base.clone(),
            records: records.iter().map(ToString::to_string).collect(),
        },
        Dane::Unusable(why) => DaneView::Unusable { why: why.clone() },
        Dane::Barred(failure) => DaneView::Barred { why: failure.why.clone() },
    }
}

fn named_by(connector: &Connector, host: &RoutedHost) -> NamedBy {
    match connector.to {
        _ if is_address(host) => NamedBy::Address,
        Way::Mx { .. } => NamedBy::Dns,
        _ => NamedBy::Configuration,
    }
}

/// Where there is no name, DNS has nothing to say.
fn is_address(host: &RoutedHost) -> bool {
    host.name.starts_with('[') || host.name.parse::<IpAddr>().is_ok() || host.is_on_this_machine()
}

fn rate_in_words(rate: &Rate) -> String {
    format!("{} messages in {}", rate.messages, duration_in_words(rate.per))
}

fn schedule_in_words(schedule: &Schedule) -> String {
    let waits: Vec<String> = schedule.intervals.iter().copied().map(duration_in_words).collect();
    format!("after {}, given up after {}", waits.join(", "), duration_in_words(schedule.expire))
}

/// In the largest units that fit: `90s`, `5m`, `5d`.
fn duration_in_words(duration: Duration) -> String {
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s"), (1, "ms")];
    let millis = duration.as_millis();
    let unit = units.into_iter().find(|(size, _)| millis >= *size && millis.is_multiple_of(*size));
    let (size, name) = unit.unwrap_or((1000, "s"));
    format!("{}{name}", millis / size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_domains_and_literals_can_be_asked_about() {
        let domain = |to: &str| match parse(to) {
            Ok(Asked::Domain(destination)) => destination.0,
            Ok(Asked::Address(path)) => path.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(domain("Bücher.Example."), "xn--bcher-kva.example");
        assert_eq!(domain("[192.0.2.1]"), "[192.0.2.1]");
        assert_eq!(domain("<ben@b.example>"), "<ben@b.example>");
        assert_eq!(domain("Postmaster"), "<postmaster>");
        for wrong in ["", "a b", "ben@", "@b.example", "[1.2.3]", "b..example"] {
            assert!(check_question(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_told_in_the_largest_unit_that_fits() {
        let told = |millis| duration_in_words(Duration::from_millis(millis));
        assert_eq!([told(200), told(90_000), told(300_000), told(432_000_000)], ["200ms", "90s", "5m", "5d"]);
        assert_eq!(told(0), "0s");
    }
}
