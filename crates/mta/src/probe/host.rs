//! One host of a plan: where to knock, and what was found there.
//!
//! [`Prepared`] turns a planned host into a [`Door`] for each address and port, and what was seen behind them into a
//! [`HostView`]. What it deliberately does not do: go through the doors.

use std::net::SocketAddr;

use postern_pki::PeerPolicy;
use postern_queue::{Destination, SenderTls};
use postern_smtp::client::Protocol;
use postern_smtp::outcome::Trouble;
use postern_smtp::tls::TlsRequirement;

use super::ports::{Purpose, Visited};
use super::session::{Door, Start};
use super::verdict::{Judge, Prospect, of_session, overall};
use super::view::{DaneView, HostView, PortView, SessionView, Verdict};
use super::{Laboratory, Options};
use crate::config::{Connector, Way};
use crate::outbound::plan::{HostTerms, PlannedHost, demands_of};
use crate::outbound::route::{NextHop, Socket};

/// A host, and where to knock.
pub(super) struct Prepared<'a> {
    planned: &'a PlannedHost,
    terms: Result<HostTerms, Box<Trouble>>,
    /// What certificates are judged by, without any demand.
    policy: PeerPolicy,
    /// Where mail would go.
    sockets: &'a [NextHop],
    /// The other ports to look at.
    others: Vec<NextHop>,
    start: Start,
}

impl<'a> Prepared<'a> {
    pub(super) fn new(planned: &'a PlannedHost, options: &Options) -> Self {
        let start = match (planned.host.is_on_this_machine(), planned.host.implicit_tls) {
            (true, _) => Start::Never,
            (false, true) => Start::Implicit,
            (false, false) => Start::Upgrade,
        };
        let others = planned.sockets().iter().flat_map(|next_hop| other_ports(next_hop, &options.ports));
        Self {
            planned,
            terms: planned.terms(SenderTls::AsPolicy),
            policy: planned.peer_policy(TlsRequirement::OPPORTUNISTIC),
            sockets: planned.sockets(),
            others: others.collect(),
            start,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.planned.host.name
    }

    /// How many doors it has.
    pub(super) fn count(&self) -> usize {
        self.sockets.len() + self.others.len()
    }

    /// Where mail would go, then the other ports.
    pub(super) fn doors<'d>(
        &'d self,
        laboratory: &'d Laboratory,
        connector: &'d Connector,
    ) -> impl Iterator<Item = (Door<'d>, Purpose)> {
        let protocol = if matches!(connector.to, Way::Lmtp(_)) { Protocol::Lmtp } else { Protocol::Smtp };
        let site = &laboratory.site;
        // A host that gets no mail is looked at by the roots that its certificate would be judged by.
        let tls = match &self.terms {
            Ok(terms) => site.roots_for(terms),
            Err(_) => site.client_tls(self.planned.judgement.trust.as_ref()),
        };
        let door = move |next_hop, start, protocol| Door {
            next_hop,
            server_name: self.planned.server_name(),
            start,
            protocol,
            hello: &connector.hello,
            source: &connector.source,
            policy: &self.policy,
            tls,
            clock: laboratory.clock,
        };
        let other = move |next_hop| (door(next_hop, usual_start(next_hop), Protocol::Smtp), Purpose::Look);
        let mail = move |next_hop| (door(next_hop, self.start, protocol), Purpose::Mail);
        self.sockets.iter().map(mail).chain(self.others.iter().map(other))
    }

    /// What was found: `visited` are its doors in their order. What mail over each address would come to is added to the
    /// prospects.
    pub(super) fn view(
        &self,
        connector: &Connector,
        destination: &Destination,
        visited: &[Visited<'_>],
        prospects: &mut Vec<(String, Prospect)>,
    ) -> HostView {
        let (own, others) = visited.split_at(self.sockets.len());
        let mut here = Vec::new();
        let mut sessions = Vec::new();
        for visit in own {
            let judge = Judge { terms: &self.terms, connector, door: visit.door };
            let prospect = of_session(judge, &visit.seen);
            let verdict = Verdict::of_prospect(&prospect, destination);
            sessions.push(SessionView::of(&visit.door, &visit.seen, verdict));
            here.push((visit.door.next_hop.to_string(), prospect));
        }
        let (host, demands) = (&self.planned.host, demands_of(&self.terms));
        let shown = if others.is_empty() { &[] } else { visited };
        let mut ports: Vec<PortView> = shown.iter().filter_map(PortView::of).collect();
        ports.sort_by(|one, other| (&one.address, one.port).cmp(&(&other.address, other.port)));
        let view = HostView {
            name: host.name.clone(),
            port: host.port,
            alias_of: Some(host.owner.clone()).filter(|owner| *owner != host.name),
            name_status: host.name_status.to_string(),
            address_status: host.address_status.to_string(),
            dane: DaneView::of(self.planned),
            in_policy: None,
            requirement: demands.requirement().to_string(),
            demands,
            sessions,
            ports,
            verdict: overall(&here, destination),
        };
        prospects.extend(here);
        view
    }
}

fn other_ports<'a>(next_hop: &'a NextHop, ports: &'a [u16]) -> impl Iterator<Item = NextHop> + 'a {
    let address = match &next_hop.at {
        Socket::Tcp(address) => Some(*address),
        Socket::Unix(_) => None,
    };
    address.into_iter().flat_map(move |address| {
        let others = ports.iter().filter(move |port| **port != address.port());
        others.map(move |port| NextHop {
            host: next_hop.host.clone(),
            at: Socket::Tcp(SocketAddr::new(address.ip(), *port)),
        })
    })
}

fn usual_start(next_hop: &NextHop) -> Start {
    match &next_hop.at {
        Socket::Tcp(address) if address.port() == crate::ports::SUBMISSIONS => Start::Implicit,
        _ => Start::Upgrade,
    }
}
