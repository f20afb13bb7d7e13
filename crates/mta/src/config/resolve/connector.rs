//! `[[connector]]`: the ways out, each with what its peers must prove, what it signs in with, and its pace.
//!
//! [`connectors`] reads them all. The types to know: [`Common`], what they take from other sections; [`Connector`], what comes
//! out. Where none serves every destination, the connector [`IMPLICIT`] is added, so that a configuration without any sends
//! mail to its MX hosts. `way` reads where a connector leads, `sign_in` what it signs in with.
//!
//! What it deliberately does not do: choose a connector for a destination (`routing` does), or read the files that it
//! names.

mod sign_in;
mod way;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::LazyLock;
use std::time::Duration;

use postern_queue::retry::Schedule;
use postern_smtp::address::Domain;
use postern_smtp::tls::TlsRequirement;

use super::certificates::Identities;
use super::peer::{DaneUse, peer, warn_of_no_effect};
use super::{Unique, outbound, schedule};
use crate::config::model::{
    AddressSpace, Connector, ConnectorName, Dns, IpPreference, PeerDemand, Rate, Way,
};
use crate::config::reader::{Reader, Section};
use crate::config::units;
use crate::config::value::Table;
use way::Target;

/// The name of the connector that exists when none serves everybody.
pub(super) const IMPLICIT: &str = "mx";
/// What would be written for it. The cost is higher than any that people are likely to write.
const IMPLICIT_TEXT: &str = r#"
name = "mx"
to = "mx"
address_space = ["*"]
cost = 100
"#;
static IMPLICIT_TABLE: LazyLock<Table> = LazyLock::new(|| toml::from_str(IMPLICIT_TEXT).unwrap_or_default());

/// What connectors take from other sections.
#[derive(Clone, Copy)]
pub(super) struct Common<'c> {
    pub(super) hostname: Option<&'c Domain>,
    pub(super) dns: Option<&'c Dns>,
    pub(super) retry: Option<&'c Schedule>,
    pub(super) outbound: &'c outbound::Read,
    /// The identities that a connector may name.
    pub(super) identities: &'c Identities<'c>,
}

pub(super) fn connectors<'a>(
    reader: &mut Reader<'a>,
    top: &Section<'a>,
    common: Common<'_>,
) -> Option<Vec<Connector>> {
    let sections = reader.sections(top, "connector");
    let mut names = Unique::new("a connector");
    let mut spaces = HashMap::new();
    let mut connectors = Vec::new();
    for at in &sections {
        connectors.push(connector(reader, at, common, &mut spaces));
        names.check(reader, at, None);
    }
    let mut connectors: Vec<_> = connectors.into_iter().collect::<Option<_>>()?;
    if !connectors.iter().any(|connector| connector.spaces.contains(&AddressSpace::Any)) {
        connectors.push(implicit(reader, top, &connectors, common)?);
    }
    Some(connectors)
}

fn connector<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    common: Common<'_>,
    served: &mut Served,
) -> Option<Connector> {
    let name = reader.name(at, "name");
    let target = way::target(reader, at);
    let (spaces, sound_spaces) = reader.list_and_items(at, "address_space", address_space);
    let cost = reader.count(at, "cost");
    let enabled = reader.switch(at, "enabled", None);
    if let (Some(name), Some(cost)) = (&name, cost) {
        refuse_ambiguity(reader, at, Claim { name, spaces: &sound_spaces, cost }, served);
    }
    let way = target.clone().and_then(|target| way::way(reader, at, target));
    let protection = protection(reader, at, target.as_ref(), common);
    if let (Some(protection), Some(way)) = (&protection, &way) {
        refuse_clear_on_tls_port(reader, at, protection.peer.requirement, way);
    }
    let origin = if target.as_ref().is_none_or(Target::has_wire) {
        origin(reader, at)
    } else {
        Some(Origin::default())
    };
    let hello: Option<Domain> =
        reader.parsed(at, "hello", common.hostname.map(|name| name.as_str().to_owned()));
    let pace = pace(reader, at);
    let retry = schedule(reader, at, common.retry);
    let sign_in = sign_in::sign_in(reader, at, target.as_ref());
    let (protection, origin, pace) = (protection?, origin?, pace?);
    Some(Connector {
        name: ConnectorName(name?),
        to: way?,
        spaces: spaces?,
        cost: cost?,
        peer: protection.peer,
        dane: protection.dane,
        mta_sts: protection.mta_sts,
        post_quantum: protection.post_quantum,
        source: origin.source,
        ip: origin.ip,
        credential: sign_in.credential,
        mechanism: sign_in.mechanism,
        identity: protection.identity,
        concurrency: pace.concurrency,
        messages_per_connection: pace.messages_per_connection,
        idle: pace.idle,
        hello: hello?.as_str().to_owned(),
        rate: pace.rate,
        retry: retry?,
        enabled: enabled?,
    })
}

/// What protects the mail on its way.
struct Protection {
    peer: PeerDemand,
    dane: bool,
    mta_sts: bool,
    post_quantum: bool,
    identity: Option<String>,
}

fn protection<'a>(
    reader: &mut Reader<'a>,
    at: &Section<'a>,
    target: Option<&Target>,
    common: Common<'_>,
) -> Option<Protection> {
    if target.is_some_and(|target| !target.has_wire()) {
        // No wire, no TLS; that its keys are out of place has been said.
        let peer = PeerDemand::default();
        return Some(Protection { peer, dane: false, mta_sts: false, post_quantum: false, identity: None });
    }
    let default = if sign_in::is_written(at) { "verified" } else { "opportunistic" };
    let peer = peer(reader, at, default);
    let exchanges = target.is_none_or(Target::is_mail_exchange);
    let dane = if exchanges { reader.switch(at, "dane", common.outbound.dane) } else { Some(false) };
    let by_mx = target.is_none_or(|target| matches!(target, Target::Mx));
    let mta_sts = if by_mx { reader.switch(at, "mta_sts", common.outbound.mta_sts) } else { Some(false) };
    let post_quantum = reader.switch(at, "post_quantum", None);
    let identity = identity(reader, at, common.identities);
    if let Some(peer) = &peer {
        judge_requirement(reader, at, peer.requirement);
        let general = common.outbound.requirement.filter(|_| exchanges).unwrap_or_default();
        warn_of_no_effect(reader, at, peer, general);
        judge_dane(
            reader,
            at,
            peer.requirement,
            DaneUse { exchanges, dane, dns: common.dns },
            common.outbound,
        );
    }
    Some(Protection { peer: peer?, dane: dane?, mta_sts: mta_sts?, post_quantum: post_quantum?, identity })
}

fn identity<'a>(reader: &mut Reader<'a>, at: &Section<'a>, known: &Identities<'_>) -> Option<String> {
    let name = reader.name(at, "identity")?;
    if !known.knows(&name) {
        known.refuse_unknown(reader, at, "identity", &name);
    }
    Some(name)
}

/// What is wrong with `[outbound]` alone has been said there.
fn judge_dane(
    reader: &mut Reader<'_>,
    at: &Section<'_>,
    requirement: TlsRequirement,
    dane: DaneUse<'_>,
    outbound: &outbound::Read,
) {
    dane.judge(reader, at, "tls", requirement);
    if at.writes("dane") && requirement != TlsRequirement::DANE {
        let general = outbound.requirement.unwrap_or_default();
        DaneUse { dns: None, ..dane }.judge(reader, at, "dane", general);
    }
}

/// Secrets are for those who prove who they are.
fn judge_requirement(reader: &mut Reader<'_>, at: &Section<'_>, requirement: TlsRequirement) {
    if sign_in::is_written(at) && requirement.proofs().is_empty() {
        let what =
            format!("with \"{requirement}\" the password could be sent to anybody who poses as the host");
        let remedy = "remove the key or write tls = \"verified\"; for a private CA set trust, for a certificate of its own pins";
        reader.complain(at, "tls", what, remedy);
    }
}

fn refuse_clear_on_tls_port(
    reader: &mut Reader<'_>,
    at: &Section<'_>,
    requirement: TlsRequirement,
    way: &Way,
) {
    let Way::Smtp(hosts) = way else { return };
    if requirement == TlsRequirement::NONE && hosts.iter().any(|host| host.implicit_tls) {
        let what = "it says never to use TLS, and implicit_tls (or port 465) says always";
        reader.complain(at, "tls", what, "remove the key, or use another port and implicit_tls = false");
    }
}

/// Where connections come from.
#[derive(Default)]
struct Origin {
    source: Vec<IpAddr>,
    ip: IpPreference,
}

fn origin<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<Origin> {
    let (source, sound) = reader.list_and_items(at, "source", source_address);
    let families = [
        ("ipv6-first", IpPreference::Ipv6First),
        ("ipv4-first", IpPreference::Ipv4First),
        ("ipv4-only", IpPreference::Ipv4Only),
        ("ipv6-only", IpPreference::Ipv6Only),
    ];
    let ip = reader.choice(at, "ip", None, &families);
    refuse_second_source(reader, at, &sound);
    if let Some(ip) = ip {
        refuse_unused_source(reader, at, &sound, ip);
    }
    Some(Origin { source: source?, ip: ip? })
}

fn source_address(text: &str) -> Result<IpAddr, String> {
    let address: IpAddr = text.parse().map_err(|_| format!("\"{text}\" is not an address"))?;
    let address = address.to_canonical();
    match address {
        _ if address.is_unspecified() => {
            Err(format!("\"{text}\" is no address of its own; without the key the system chooses"))
        }
        _ if address.is_multicast() => {
            Err(format!("\"{text}\" is a multicast address, and nothing can come from one"))
        }
        IpAddr::V4(v4) if v4.is_broadcast() => {
            Err(format!("\"{text}\" is the broadcast address, and nothing can come from it"))
        }
        IpAddr::V6(v6) if v6.is_unicast_link_local() => {
            Err(format!("\"{text}\" holds within one link only, and mail goes further"))
        }
        _ => Ok(address),
    }
}

fn refuse_second_source(reader: &mut Reader<'_>, at: &Section<'_>, source: &[IpAddr]) {
    for (family, of_family) in [("IPv4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("IPv6", IpAddr::is_ipv6)] {
        let mut addresses = source.iter().filter(|address| of_family(address));
        if let (Some(first), Some(second)) = (addresses.next(), addresses.next()) {
            let what =
                format!("{first} and {second} are both {family}, and a connection comes from one address");
            reader.complain(
                at,
                "source",
                what,
                "keep one address of each family; others belong in other connectors",
            );
        }
    }
}

fn refuse_unused_source(reader: &mut Reader<'_>, at: &Section<'_>, source: &[IpAddr], ip: IpPreference) {
    let (only, used): (_, fn(&IpAddr) -> bool) = match ip {
        IpPreference::Ipv4Only => ("ipv4-only", IpAddr::is_ipv4),
        IpPreference::Ipv6Only => ("ipv6-only", IpAddr::is_ipv6),
        IpPreference::Ipv4First | IpPreference::Ipv6First => return,
    };
    for unused in source.iter().filter(|address| !used(address)) {
        let what = format!("{unused} is never used with ip = \"{only}\"");
        reader.complain(at, "source", what, "remove the address, or let ip use both families");
    }
}

/// How much at a time.
struct Pace {
    concurrency: usize,
    messages_per_connection: usize,
    idle: Duration,
    rate: Option<Rate>,
}

fn pace<'a>(reader: &mut Reader<'a>, at: &Section<'a>) -> Option<Pace> {
    let concurrency = reader.count(at, "concurrency");
    let messages_per_connection = reader.count(at, "messages_per_connection");
    let idle = reader.duration(at, "idle");
    let rate = reader.turned(at, "rate", units::rate);
    Some(Pace {
        concurrency: concurrency?,
        messages_per_connection: messages_per_connection?,
        idle: idle?,
        rate: rate.map(|(messages, per)| Rate { messages, per }),
    })
}

/// `*`, `partner.example` or `*.partner.example`.
pub(super) fn address_space(text: &str) -> Result<AddressSpace, String> {
    if text == "*" {
        return Ok(AddressSpace::Any);
    }
    let parse = |name: &str| {
        let wrong = |error| format!("\"{text}\" is not \"*\", a domain or \"*.domain\": {error}");
        name.parse::<Domain>().map_err(wrong)
    };
    match text.strip_prefix("*.") {
        Some(name) => parse(name).map(AddressSpace::Below),
        None => parse(text).map(AddressSpace::Exact),
    }
}

/// Where an address space was written first, by space and cost.
type Served = HashMap<(AddressSpace, u32), String>;

/// What a connector serves, and for what cost.
#[derive(Clone, Copy)]
struct Claim<'c> {
    name: &'c str,
    spaces: &'c [AddressSpace],
    cost: u32,
}

fn refuse_ambiguity(reader: &mut Reader<'_>, at: &Section<'_>, claim: Claim<'_>, served: &mut Served) {
    for space in claim.spaces {
        let Some(other) = served.insert((space.clone(), claim.cost), claim.name.to_owned()) else {
            continue;
        };
        let what = if other == claim.name {
            format!("\"{space}\" is written twice")
        } else {
            format!("connector \"{other}\" serves \"{space}\" at the same cost, so neither would win")
        };
        reader.complain(at, "address_space", what, "remove one, or give one a higher cost: the lowest wins");
    }
}

fn implicit(
    reader: &mut Reader<'_>,
    top: &Section<'_>,
    others: &[Connector],
    common: Common<'_>,
) -> Option<Connector> {
    if others.iter().any(|other| other.name.0 == IMPLICIT) {
        let what = "no connector serves \"*\", and the name \"mx\" of the one that would be added is taken";
        reader.complain(
            top,
            "connector",
            what,
            "add address_space = [\"*\"] to a connector, or name that one otherwise",
        );
        return None;
    }
    let at = &reader.implicit("connector", &IMPLICIT_TABLE);
    connector(reader, at, common, &mut HashMap::new())
}
