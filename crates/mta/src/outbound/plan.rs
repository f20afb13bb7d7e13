//! What must be true of each host's connection before mail goes over it, and who says so.
//!
//! [`plan`] makes a [`Plan`] for one destination by one connector: the hosts in order, each with its own demands (those of
//! our configuration) and those that the destination publishes (DANE and MTA-STS). The two are kept apart because a
//! sender may waive the published ones with `TLS-Required: No` (RFC 8689 §4.1), and never ours. [`PlannedHost::terms`] joins
//! them for one message. Nothing is remembered here: every lookup behind it is cached, so that a plan with warm caches
//! costs microseconds.
//!
//! Each source turns its *own* lookup failures into a demand as its RFC says; there is no global "on error". What it
//! deliberately does not do: connect, or choose what happens to a message that no host may get.

use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use postern_dns::Dnssec;
use postern_dns::mta_sts::Mode;
use postern_dns::tlsa::Tlsa;
use postern_pki::{ClientHello, PeerPolicy, Pin, TlsIdentity};
use postern_queue::{Destination, SenderTls};
use postern_smtp::outcome::{Step, Trouble};
use postern_smtp::tls::{Demands, Proof, Source, TlsFailure, TlsFault, TlsRequirement};

use super::dane::{self, Dane};
use super::route::{NextHop, NoHost, Route, RoutedHost, Router, unanswered};
use crate::config::{Connector, PeerDemand, SpacePolicy, Way};
use crate::policy::mta_sts::Found;

/// The hosts for a destination and what is demanded of each.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Best first; those that must not be used included, with the reason.
    pub(crate) hosts: Vec<PlannedHost>,
    /// Hosts whose addresses could not be found out now, and why.
    pub(crate) unresolved: Vec<(String, Trouble)>,
    /// What the destination's MTA-STS policy is; `None` where none was looked for.
    pub(crate) sts: Option<Found>,
}

/// One host with its demands.
#[derive(Debug, Clone)]
pub(crate) struct PlannedHost {
    /// The host.
    pub(crate) host: RoutedHost,
    /// What our configuration demands.
    pub(crate) own: Demands,
    /// What the destination's DANE and MTA-STS demand.
    pub(crate) published: Demands,
    /// Why the destination's own policies forbid to use it.
    pub(crate) barred: Option<TlsFailure>,
    /// What its TLSA records say.
    pub(crate) dane: Dane,
    /// What certificates are judged by.
    pub(crate) judgement: Arc<Judgement>,
}

/// What a connector and an address space say about the certificates of their hosts.
#[derive(Debug, Default)]
pub(crate) struct Judgement {
    /// A file with trust anchors in place of the system's.
    pub(crate) trust: Option<PathBuf>,
    /// The connector and the address space name different files, and nobody can satisfy both.
    two_trusts: bool,
    pins: Vec<Pin>,
    distrust: Vec<Pin>,
    /// The names besides the host's own under DANE.
    names: Vec<String>,
    identity: Option<Arc<TlsIdentity>>,
    post_quantum: bool,
}

/// What must hold for one message at one host.
#[derive(Debug, Clone)]
pub(crate) struct HostTerms {
    /// The demands with their sources.
    pub(crate) demands: Demands,
    /// Their join, with what certificates are judged by.
    pub(crate) peer: PeerPolicy,
    /// The file with trust anchors, when it is not the system's.
    pub(crate) trust: Option<PathBuf>,
}

/// What is demanded of a host: under its terms, or by what rules it out.
pub(crate) fn demands_of(terms: &Result<HostTerms, Box<Trouble>>) -> Demands {
    match terms {
        Ok(terms) => terms.demands.clone(),
        Err(trouble) => trouble.evidence.as_ref().map(|seen| seen.demands.clone()).unwrap_or_default(),
    }
}

impl HostTerms {
    /// Whether a connection that was opened on the other terms is as good as one opened on these.
    pub(crate) fn same_as(&self, other: &Self) -> bool {
        let (own, others) = (&self.peer, &other.peer);
        self.demands == other.demands
            && self.trust == other.trust
            && (&own.pins, &own.distrust, &own.tlsa) == (&others.pins, &others.distrust, &others.tlsa)
            && (&own.names, &own.verify_as) == (&others.names, &others.verify_as)
    }
}

/// Makes plans.
#[derive(Clone, Copy)]
pub(crate) struct Planner<'a> {
    /// Finds hosts.
    pub(crate) router: Router<'a>,
}

impl Planner<'_> {
    /// The hosts for a destination by a connector, and what is demanded of each.
    ///
    /// # Errors
    /// There is no host.
    pub(crate) async fn plan(
        &self,
        connector: &Connector,
        destination: &Destination,
        now: Timestamp,
    ) -> Result<Plan, NoHost> {
        let Route { hosts, unresolved, domain_names } = self.router.route(connector, destination).await?;
        let sts = self.sts_for(connector, destination, now).await;
        let (own, judgement) = self.own_demands(connector, destination, domain_names);
        let resolver = &*self.router.site.network.resolver;
        let mut planned = Vec::with_capacity(hosts.len());
        for host in hosts {
            let asks = connector.dane && !host.is_on_this_machine();
            let dane = if asks { dane::look_up(resolver, &host).await } else { Dane::Nothing };
            let sts = sts.as_ref().map(|found| (destination.0.as_str(), found));
            planned.push(PlannedHost::new(host, own.clone(), Arc::clone(&judgement), dane, sts));
        }
        let lost = |(host, error): (String, _)| {
            let trouble = unanswered(&host, &error);
            (host, trouble)
        };
        Ok(Plan { hosts: planned, unresolved: unresolved.into_iter().map(lost).collect(), sts })
    }

    /// RFC 8461 is about mail routed by MX only.
    async fn sts_for(
        &self,
        connector: &Connector,
        destination: &Destination,
        now: Timestamp,
    ) -> Option<Found> {
        let by_mx = matches!(connector.to, Way::Mx { .. }) && !destination.0.starts_with('[');
        if !by_mx || !connector.mta_sts {
            return None;
        }
        Some(self.router.site.network.sts.policy_for(&destination.0, now).await)
    }

    /// What our configuration demands for a destination by a connector.
    fn own_demands(
        &self,
        connector: &Connector,
        destination: &Destination,
        names: Vec<String>,
    ) -> (Demands, Arc<Judgement>) {
        let outbound = &self.router.site.config.outbound;
        let mut demands =
            Demands::one(connector.peer.requirement, Source::Connector(connector.name.0.clone()));
        if outbound.requirement != TlsRequirement::NONE {
            demands.add(outbound.requirement, Source::AllMail);
        }
        let policy = policy_for(&outbound.policies, destination);
        if let Some((policy, space)) = &policy {
            demands.add(policy.peer.requirement, Source::AddressSpace(space.clone()));
        }
        let nothing = PeerDemand::default();
        let of_space = policy.as_ref().map_or(&nothing, |(policy, _)| &policy.peer);
        let identity = connector.identity.as_ref().and_then(|name| self.router.site.identity(name));
        let judgement = Judgement {
            two_trusts: of_space.trust.is_some()
                && connector.peer.trust.is_some()
                && of_space.trust != connector.peer.trust,
            trust: of_space.trust.clone().or_else(|| connector.peer.trust.clone()),
            pins: both(&connector.peer.pins, &of_space.pins),
            distrust: [connector.peer.distrust.as_slice(), &of_space.distrust].concat(),
            names,
            identity,
            post_quantum: connector.post_quantum,
        };
        (demands, Arc::new(judgement))
    }
}

impl PlannedHost {
    fn new(
        host: RoutedHost,
        own: Demands,
        judgement: Arc<Judgement>,
        dane: Dane,
        sts: Option<(&str, &Found)>,
    ) -> Self {
        // What crosses no wire needs no protection.
        let own = if host.is_on_this_machine() { Demands::default() } else { own };
        let mut planned = Self { host, own, published: Demands::default(), barred: None, dane, judgement };
        planned.heed_dane();
        if let Some((domain, found)) = sts {
            planned.heed_sts(domain, found);
        }
        planned
    }

    fn heed_dane(&mut self) {
        match &self.dane {
            Dane::Nothing => {}
            Dane::Records { base, .. } => {
                self.published.add(TlsRequirement::DANE, Source::Dane(base.clone()));
            }
            Dane::Unusable(_) => {
                self.published.add(TlsRequirement::REQUIRED, Source::Dane(self.host.name.clone()));
            }
            Dane::Barred(failure) => self.barred = Some(failure.clone()),
        }
    }

    /// RFC 8461 §5: under `enforce` a host must be in the policy and prove its name; `testing` only reports. While it is
    /// not known whether a policy binds, no mail goes.
    fn heed_sts(&mut self, domain: &str, found: &Found) {
        if let Some(failure) = found.unanswered() {
            self.barred.get_or_insert(failure);
        }
        let Some(policy) = found.policy().filter(|policy| policy.mode == Mode::Enforce) else { return };
        let source = Source::MtaSts(domain.to_owned());
        self.published.add(TlsRequirement::VERIFIED, source);
        if !policy.allows(&self.host.name) && self.barred.is_none() {
            let why = format!("{} is not among the hosts of the MTA-STS policy of {domain}", self.host.name);
            self.barred = Some(TlsFailure::new(TlsFault::NotInPolicy, why));
        }
    }

    /// What must hold for a message whose sender wishes this.
    ///
    /// # Errors
    /// Why the message must not go to this host at all.
    pub(crate) fn terms(&self, wish: SenderTls) -> Result<HostTerms, Box<Trouble>> {
        let mut demands = self.own.clone();
        if wish != SenderTls::NotRequired {
            self.published.iter().for_each(|demand| demands.add(demand.requirement, demand.source.clone()));
        }
        if wish == SenderTls::Required && !self.host.is_on_this_machine() {
            demands.add(TlsRequirement::AUTHENTICATED, Source::RequireTls);
        }
        match self.refusal(wish, &demands) {
            Some(failure) => Err(Box::new(self.security_unmet(&failure, demands))),
            None => Ok(HostTerms {
                peer: self.peer_policy(demands.requirement()),
                trust: self.judgement.trust.clone(),
                demands,
            }),
        }
    }

    /// What forbids the host before any connection is made.
    fn refusal(&self, wish: SenderTls, demands: &Demands) -> Option<TlsFailure> {
        if wish != SenderTls::NotRequired && self.barred.is_some() {
            return self.barred.clone();
        }
        if self.judgement.two_trusts && demands.requirement().proofs().contains(Proof::Verified) {
            let why = "the connector and the [[outbound.policy]] name different trust files; let only one of them name one";
            return Some(TlsFailure::new(TlsFault::OurTrust, why));
        }
        // Whoever demands DANE must not get less because nothing was published, or because it was not looked for.
        if demands.requirement().proofs().contains(Proof::Dane) && self.tlsa().is_empty() {
            let why = format!("{} publishes no usable TLSA records under DNSSEC", self.host.name);
            return Some(match &self.dane {
                Dane::Barred(failure) => failure.clone(),
                Dane::Unusable(why) => TlsFailure::new(TlsFault::TlsaUnusable, why.clone()),
                _ => TlsFailure::new(TlsFault::NoTlsa, why),
            });
        }
        // RFC 8689 §4.2.1: the host's name must come from DNSSEC, or from a policy, or from our own configuration.
        let vouched = self.host.has_proven_name()
            || self.published.iter().any(|demand| matches!(demand.source, Source::MtaSts(_)));
        if wish == SenderTls::Required && !vouched && !self.host.is_on_this_machine() {
            let why = format!("that {} is the right host is vouched for by nobody", self.host.name);
            return Some(TlsFailure::new(TlsFault::InsecureName, why));
        }
        None
    }

    fn security_unmet(&self, failure: &TlsFailure, demands: Demands) -> Trouble {
        let mut trouble = Trouble::unmet(failure, demands.requirement());
        if matches!(failure.fault, TlsFault::Bogus | TlsFault::Unanswered | TlsFault::NoTlsa) {
            trouble.step = Step::Lookup;
        }
        let evidence = trouble.evidence_mut();
        evidence.host = Some(self.host.name.clone());
        evidence.demands = demands;
        trouble
    }

    /// The TLSA records that its certificate is judged by.
    pub(crate) fn tlsa(&self) -> &[Tlsa] {
        match &self.dane {
            Dane::Records { records, .. } => records,
            _ => &[],
        }
    }

    /// How its certificate is judged under this requirement.
    pub(crate) fn peer_policy(&self, requirement: TlsRequirement) -> PeerPolicy {
        let Judgement { pins, distrust, names, identity, post_quantum, .. } = &*self.judgement;
        let mut names = names.clone();
        // RFC 7672 §3.2.2: of an alias that DNSSEC vouches for, both ends.
        if self.host.owner != self.host.name && self.host.address_status == Dnssec::Secure {
            names.extend([self.host.name.clone(), self.host.owner.clone()]);
        }
        PeerPolicy {
            requirement,
            names,
            tlsa: self.tlsa().to_vec(),
            pins: pins.clone(),
            distrust: distrust.clone(),
            // RFC 8461 §4.1: `verified` is about the host's own name, wherever its TLSA records stand.
            verify_as: (self.server_name() != self.host.name).then(|| self.host.name.clone()),
            hello: if *post_quantum { ClientHello::Full } else { ClientHello::Small },
            identity: identity.clone(),
        }
    }

    /// Where to connect, in order.
    pub(crate) fn sockets(&self) -> &[NextHop] {
        &self.host.sockets
    }

    /// The name to ask for in the handshake: where the TLSA records stand (RFC 7672 §8.1), else the host's own.
    pub(crate) fn server_name(&self) -> &str {
        match &self.dane {
            Dane::Records { base, .. } => base,
            _ => &self.host.name,
        }
    }
}

/// The policy with the most specific address space for a destination, and that space.
pub(crate) fn policy_for<'a>(
    policies: &'a [SpacePolicy],
    destination: &Destination,
) -> Option<(&'a SpacePolicy, String)> {
    let fit = |policy: &'a SpacePolicy| {
        let spaces = policy.spaces.iter().filter_map(|space| Some((space.matches(&destination.0)?, space)));
        spaces.max_by_key(|(fit, _)| *fit).map(|(fit, space)| (fit, policy, space))
    };
    let best = policies.iter().filter_map(fit).rev().max_by_key(|(fit, ..)| *fit);
    best.map(|(_, policy, space)| (policy, space.to_string()))
}

/// What satisfies two lists of pins: where both say something, what both say.
fn both(first: &[Pin], second: &[Pin]) -> Vec<Pin> {
    match (first.is_empty(), second.is_empty()) {
        (_, true) => first.to_vec(),
        (true, false) => second.to_vec(),
        (false, false) => first.iter().filter(|pin| second.contains(pin)).copied().collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use super::*;
    use crate::outbound::route::Socket;
    use crate::policy::mta_sts::{StsFault, StsTrouble};

    fn host() -> RoutedHost {
        let name = "mx.example.org".to_owned();
        let at = Socket::Tcp(SocketAddr::new(Ipv4Addr::new(192, 0, 2, 1).into(), 25));
        RoutedHost {
            owner: name.clone(),
            port: 25,
            implicit_tls: false,
            name_status: Dnssec::Insecure,
            address_status: Dnssec::Insecure,
            sockets: vec![NextHop { host: name.clone(), at }],
            name,
        }
    }

    fn without_policy(fault: StsFault) -> PlannedHost {
        let trouble = StsTrouble { fault, at: Timestamp::UNIX_EPOCH };
        let found = Found { policy: None, trouble: Some(Arc::new(trouble)) };
        PlannedHost::new(
            host(),
            Demands::default(),
            Arc::default(),
            Dane::Nothing,
            Some(("example.org", &found)),
        )
    }

    #[test]
    fn mail_waits_while_it_is_not_known_whether_a_policy_binds() {
        let unknown = without_policy(StsFault::Unread("the database is locked".into()));
        let trouble = unknown.terms(SenderTls::AsPolicy).expect_err("barred");
        assert_eq!((trouble.fault(), trouble.step), (Some(TlsFault::Unanswered), Step::Lookup));
        assert!(trouble.reason.to_string().contains("the database is locked"), "{}", trouble.reason);
        assert!(unknown.terms(SenderTls::NotRequired).is_ok(), "the sender waives what is published");
        // RFC 8461 §3.1: who cannot be asked for the first time has no policy.
        assert!(without_policy(StsFault::Lookup("no answer".into())).terms(SenderTls::AsPolicy).is_ok());
    }
}
