//! Our ports: are they bound, is it Postern that answers there, does TLS come about, and can they be reached by our name?
//!
//! Each listener is visited as a client would, up to EHLO under TLS and QUIT. Where no listener stands at a port that mail programs
//! use, it is looked whether somebody else does. What is seen from this machine is not what is seen from elsewhere:
//! `postern check-server` is for that.
//!
//! What it deliberately does not do: sign in, or visit a listener that takes this machine for a proxy any further than its door.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use futures_util::stream;
use postern_pki::{ClientTls, PeerPolicy};
use postern_smtp::client::Protocol;
use postern_smtp::reply::Reply;
use postern_smtp::tls::TlsFault;

use super::room::{Room, is_public, listed};
use super::{Check, Finding};
use crate::config::{Greets, Listener, Role};
use crate::outbound::route::{NextHop, Socket};
use crate::ports::{SUBMISSIONS, USUAL};
use crate::probe::dialogue::Clock;
use crate::probe::session::{Door, Reach, Seen, Start, examine};
use crate::session::looks::DOCTOR;

/// For one step of a visit.
const STEP: Duration = Duration::from_secs(5);
/// So much is visited at the same time.
const AT_ONCE: usize = 8;
/// So many addresses of one listener are visited.
const ADDRESSES_MOST: usize = 8;

/// One visit.
struct Visit {
    /// The listener, or what else it is about.
    about: String,
    at: SocketAddr,
    start: Start,
    depth: Depth,
}

/// How far a visit goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    /// To the end of what needs no sign-in.
    Whole,
    /// The connection alone: this machine counts as a proxy there.
    Door,
}

pub(super) async fn look(room: &Room) -> Vec<Finding> {
    let bound = bound(&room.config.data_dir).await;
    let mut findings = Vec::new();
    if !room.is_running() {
        let evidence = "Postern does not run";
        findings.push(Finding::warning(Check::Ports, evidence, "start it: systemctl start postern"));
    }
    let visits = room.config.listeners.iter().flat_map(|listener| visits(listener, &bound, room));
    let seen = go(room, visits.collect()).await;
    findings.extend(seen.iter().map(|(visit, seen)| judge(visit, seen, &room.hostname, room.is_running())));
    let others = go(room, others(room)).await;
    findings.extend(others.iter().filter_map(|(visit, seen)| judge_other(visit, seen)));
    let outside = go(room, from_outside(room).await).await;
    findings.extend(outside.iter().map(|(visit, seen)| judge_outside(visit, seen, &room.hostname)));
    findings
}

/// The addresses that the daemon says it is bound to, by the names of the listeners.
async fn bound(data_dir: &Path) -> BTreeMap<String, Vec<SocketAddr>> {
    let text = tokio::fs::read(data_dir.join("listeners.json")).await.unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

fn visits(listener: &Listener, bound: &BTreeMap<String, Vec<SocketAddr>>, room: &Room) -> Vec<Visit> {
    let told = bound.get(&listener.name).filter(|_| room.is_running());
    let addresses = told.unwrap_or(&listener.bind).iter().take(ADDRESSES_MOST);
    let visit = |address: &SocketAddr| {
        let at = near(*address);
        let is_proxy = listener.proxy_from.iter().any(|network| network.contains(&at.ip()));
        Visit {
            about: format!("listener {}", listener.name),
            at,
            start: match listener.tls.greets(address.port()) {
                Greets::AfterTls => Start::Implicit,
                Greets::InClear => Start::Upgrade,
            },
            depth: if is_proxy { Depth::Door } else { Depth::Whole },
        }
    };
    // Port 0 is chosen by the system, and only a running daemon knows it.
    addresses.filter(|address| address.port() != 0).map(visit).collect()
}

/// Where a wildcard is reached from this machine.
fn near(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(v4) if v4.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(v6) if v6.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The usual ports that none of our listeners stands at.
fn others(room: &Room) -> Vec<Visit> {
    let is_ours = |port: &u16| {
        let mut bind = room.config.listeners.iter().flat_map(|listener| &listener.bind);
        bind.any(|address| address.port() == *port)
    };
    let visit = |port: u16| Visit {
        about: format!("port {port}"),
        at: (Ipv4Addr::LOCALHOST, port).into(),
        start: if port == SUBMISSIONS { Start::Implicit } else { Start::Never },
        depth: Depth::Whole,
    };
    USUAL.into_iter().filter(|port| !is_ours(port)).map(visit).collect()
}

/// Our usual ports, by the public addresses of our name.
async fn from_outside(room: &Room) -> Vec<Visit> {
    let addresses = room.resolver().addresses(&room.hostname).await.map(|answer| answer.records);
    let public = addresses.unwrap_or_default().into_iter().filter(|address| is_public(*address)).take(4);
    let listeners = room.config.listeners.iter().filter(|listener| listener.role != Role::Device);
    let bind = listeners.flat_map(|listener| &listener.bind);
    let ports: BTreeSet<u16> = bind.map(SocketAddr::port).filter(|port| USUAL.contains(port)).collect();
    let visit = |address: IpAddr, port: u16| Visit {
        about: format!("{} port {port}", room.hostname),
        at: SocketAddr::new(address, port),
        start: Start::Never,
        depth: Depth::Door,
    };
    let mut all = Vec::new();
    for address in public {
        all.extend(ports.iter().map(|port| visit(address, *port)));
    }
    all
}

async fn go(room: &Room, visits: Vec<Visit>) -> Vec<(Visit, Seen)> {
    let goings: Vec<_> = visits.into_iter().map(|visit| visited(room, visit)).collect();
    stream::iter(goings).buffered(AT_ONCE).collect().await
}

async fn visited(room: &Room, visit: Visit) -> (Visit, Seen) {
    let next_hop = NextHop { host: room.hostname.clone(), at: Socket::Tcp(visit.at) };
    let policy = PeerPolicy::default();
    let tls: &Result<ClientTls, String> = &room.roots;
    let clock = Clock { step: STEP, end: Instant::now() + room.time };
    if visit.depth == Depth::Door {
        let seen = Seen::of_door(&next_hop.at, clock).await;
        return (visit, seen);
    }
    let door = Door {
        next_hop: &next_hop,
        server_name: &room.hostname,
        start: visit.start,
        protocol: Protocol::Smtp,
        hello: DOCTOR,
        source: &[],
        policy: &policy,
        tls,
        clock,
    };
    let seen = examine(door).await;
    (visit, seen)
}

fn judge(visit: &Visit, seen: &Seen, hostname: &str, running: bool) -> Finding {
    let Visit { about, at, .. } = visit;
    let make = |verdict: fn(Check, String, String) -> Finding, evidence: String, remedy: &str| {
        verdict(Check::Ports, evidence, remedy.to_owned())
    };
    match seen.reach {
        Reach::Open => judge_open(visit, seen, hostname),
        Reach::Closed if !running => {
            make(Finding::note, format!("{about}: nobody listens at {at}"), "Postern does not run")
        }
        Reach::Closed => make(
            Finding::failed,
            format!("{about}: nobody listens at {at}, although Postern runs"),
            "see its log; perhaps the configuration was changed: postern reload",
        ),
        Reach::Filtered => make(
            Finding::failed,
            format!("{about}: {at} does not answer"),
            "see the firewall of this machine, and whether Postern is overloaded",
        ),
        Reach::Unreachable | Reach::NotTried => {
            make(Finding::unknown, format!("{about}: {at} cannot be reached from here: {}", halt(seen)), "")
        }
    }
}

fn judge_open(visit: &Visit, seen: &Seen, hostname: &str) -> Finding {
    let Visit { about, at, depth, .. } = visit;
    if *depth == Depth::Door {
        return Finding::ok(
            Check::Ports,
            format!("{about} is bound at {at}; from here it wants the PROXY protocol"),
        );
    }
    if let Some(greeting) = &seen.greeting
        && !greets_as(greeting, hostname)
        && greeting.code == 220
    {
        let evidence = format!("{about}: another program answers at {at}: {}", greeting.one_line());
        return Finding::failed(
            Check::Ports,
            evidence,
            "stop it, or give Postern another address: ss -ltnp shows who it is",
        );
    }
    if let Some(reply) = seen.greeting.as_ref().filter(|reply| reply.code != 220) {
        let evidence = format!("{about} at {at} turns this machine away: {}", reply.one_line());
        return Finding::warning(Check::Ports, evidence, "see: postern ban list, and the limits of sessions");
    }
    let failure = seen.tries.first().and_then(|attempt| attempt.result.as_ref().err());
    match (seen.secured(), failure) {
        (Some((_, facts)), _) => {
            Finding::ok(Check::Ports, format!("{about} answers at {at}, with {}", facts.protocol()))
        }
        (None, Some(failure)) if failure.fault == TlsFault::ClientCertificate => {
            Finding::ok(Check::Ports, format!("{about} answers at {at}, and wants a client certificate"))
        }
        (None, Some(failure)) => {
            let evidence = format!("{about} at {at}: TLS does not come about: {}", failure.why);
            Finding::failed(Check::Ports, evidence, "see the checks certificates and trust")
        }
        (None, None) if seen.starttls.is_some() => {
            let evidence = format!("{about} at {at} offers STARTTLS and refuses it: {}", halt(seen));
            Finding::failed(Check::Ports, evidence, "see the check certificates: perhaps there is none")
        }
        (None, None) if seen.before.is_some() => {
            Finding::note(Check::Ports, format!("{about} answers at {at}, without TLS"), "")
        }
        (None, None) => {
            let evidence = format!(
                "{about}: at {at} somebody takes connections and does not answer as Postern does: {}",
                halt(seen)
            );
            Finding::failed(Check::Ports, evidence, "see who it is: ss -ltnp")
        }
    }
}

/// RFC 5321 §4.2: the banner begins with the name of the host.
fn greets_as(greeting: &Reply, hostname: &str) -> bool {
    let first = greeting.lines.first().map(String::as_str).unwrap_or_default();
    first.split_ascii_whitespace().next().is_some_and(|name| name.eq_ignore_ascii_case(hostname))
}

fn judge_other(visit: &Visit, seen: &Seen) -> Option<Finding> {
    if seen.reach != Reach::Open {
        return None;
    }
    let banner = seen.greeting.as_ref().map(Reply::one_line).unwrap_or_default();
    let evidence = format!("{} is another program's: {banner}", visit.about);
    let remedy =
        "mail programs that are set to that port do not reach Postern; stop it, or add a [[listener]] there";
    Some(Finding::warning(Check::Ports, evidence, remedy))
}

fn judge_outside(visit: &Visit, seen: &Seen, hostname: &str) -> Finding {
    let Visit { about, at, .. } = visit;
    if seen.reach == Reach::Open {
        return Finding::ok(
            Check::Ports,
            format!("{about} can be reached by its public address {}", at.ip()),
        );
    }
    let evidence =
        format!("{about} cannot be reached from here by its public address {}: {}", at.ip(), halt(seen));
    let remedy = format!(
        "many routers hand nothing back to the inside: try it from elsewhere: postern check-server {hostname}; if it fails there too, open {} in router and firewall",
        listed([at.port()])
    );
    Finding::unknown(Check::Ports, evidence, remedy)
}

fn halt(seen: &Seen) -> String {
    seen.halt.as_ref().map_or_else(|| "it says nothing".into(), |trouble| trouble.reason.to_string())
}

#[cfg(test)]
mod tests {
    use postern_smtp::outcome::{Reason, Step, Trouble};

    use super::super::Verdict;
    use super::*;

    fn visit(depth: Depth) -> Visit {
        Visit {
            about: "listener mx".into(),
            at: "127.0.0.1:25".parse().unwrap(),
            start: Start::Upgrade,
            depth,
        }
    }

    fn seen(reach: Reach) -> Seen {
        let halt = Some(Trouble::new(Step::Connect, Reason::ConnectionLost));
        Seen { reach, halt, ..Seen::default() }
    }

    fn greeted(line: &str) -> Seen {
        let (code, text) = line.split_once(' ').unwrap();
        let greeting = Reply { code: code.parse().unwrap(), enhanced: None, lines: vec![text.to_owned()] };
        Seen { reach: Reach::Open, greeting: Some(greeting), ..Seen::default() }
    }

    #[test]
    fn a_port_that_nobody_holds_is_a_failure_only_while_postern_runs() {
        let of =
            |reach, running| judge(&visit(Depth::Whole), &seen(reach), "mail.example.org", running).verdict;
        assert_eq!(of(Reach::Closed, true), Verdict::Failed);
        assert_eq!(of(Reach::Closed, false), Verdict::Note);
        assert_eq!(of(Reach::Filtered, true), Verdict::Failed);
        assert_eq!(of(Reach::Unreachable, true), Verdict::Unknown);
    }

    #[test]
    fn another_program_at_our_port_is_told_by_its_banner() {
        let of = |line: &str| judge(&visit(Depth::Whole), &greeted(line), "mail.example.org", true);
        let other = of("220 mail.example.org.evil ESMTP Exim");
        assert!(other.verdict == Verdict::Failed && other.evidence.contains("Exim"), "{other:?}");
        assert_eq!(of("554 mail.example.org go away").verdict, Verdict::Warning);
        assert_eq!(judge(&visit(Depth::Door), &seen(Reach::Open), "x", true).verdict, Verdict::Ok);
    }

    #[test]
    fn a_port_of_mail_programs_that_somebody_else_holds_is_told() {
        assert!(judge_other(&visit(Depth::Whole), &seen(Reach::Closed)).is_none());
        let found = judge_other(&visit(Depth::Whole), &greeted("220 x ESMTP Postfix")).unwrap();
        assert!(found.evidence.contains("Postfix"), "{found:?}");
    }

    #[test]
    fn what_cannot_be_seen_from_inside_is_not_called_broken() {
        assert_eq!(judge_outside(&visit(Depth::Door), &seen(Reach::Filtered), "x").verdict, Verdict::Unknown);
        assert_eq!(judge_outside(&visit(Depth::Door), &seen(Reach::Open), "x").verdict, Verdict::Ok);
    }
}
