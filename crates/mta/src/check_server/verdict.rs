//! From what was seen to what it means. Pure.
//!
//! [`judge`] makes the [`Report`]: what each port is, which settings work, and what is in the way. Ports are compared with each other, for
//! what is done to one of them on the way shows only so: a banner of another server, a certificate of another issuer, a missing
//! STARTTLS.
//!
//! What it deliberately does not do: ask anybody anything.

use std::collections::BTreeSet;
use std::net::IpAddr;

use postern_smtp::extension::Capabilities;
use postern_smtp::outcome::{Reason, Step};
use postern_smtp::reply::Reply;
use postern_smtp::tls::{CertificateSeen, TlsFault};

use super::report::{Encryption, FORMAT, Finding, Mode, PortReport, PortState, Report, Setting, Trust};
use super::tries::Tried;
use crate::doctor::Verdict;
use crate::event::clean;
use crate::ports::{RELAY, SUBMISSION, SUBMISSIONS};
use crate::probe::session::{Reach, Seen};

/// What makers of programs and boxes that open TLS write into the certificates that they make.
const OPENERS: [&str; 30] = [
    "avast",
    "avg ",
    "kaspersky",
    "eset ",
    "bitdefender",
    "norton",
    "symantec web",
    "mcafee",
    "trend micro",
    "dr.web",
    "drweb",
    "g data",
    "f-secure",
    "fortinet",
    "fortigate",
    "sophos",
    "zscaler",
    "netskope",
    "palo alto",
    "check point",
    "blue coat",
    "bluecoat",
    "barracuda",
    "watchguard",
    "sonicwall",
    "cisco umbrella",
    "untangle",
    "forcepoint",
    "websense",
    "mail scanner",
];
/// Keywords that servers announce alike in clear and under TLS.
const ALIKE: [&str; 6] = ["PIPELINING", "8BITMIME", "DSN", "CHUNKING", "SMTPUTF8", "ENHANCEDSTATUSCODES"];

/// What it all means. `roots` is how many authorities are trusted here.
pub(super) fn judge(
    host: &str,
    addresses: Result<Vec<IpAddr>, String>,
    tried: &[Tried],
    roots: usize,
) -> Report {
    let mut findings = Vec::new();
    let addresses = addresses.unwrap_or_else(|why| {
        findings.push(not_found(host, &why));
        Vec::new()
    });
    let ports: Vec<PortReport> = tried.iter().map(port_report).collect();
    let settings = settings(&ports);
    findings.extend(reachability(host, &ports));
    findings.extend(others(&ports));
    findings.extend(tried.iter().zip(&ports).filter_map(|(tried, port)| stripped(tried, port, &ports)));
    findings.extend(tried.iter().filter_map(turned_away));
    findings.extend(replaced(&ports));
    findings.extend(distrust(host, &ports, tried, roots));
    findings.extend(remarks(host, &ports));
    if settings.is_empty() && ports.iter().any(|port| port.state == PortState::Mail) {
        findings.push(nowhere_to_sign_in(&ports));
    }
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
    let mut told = BTreeSet::new();
    findings.retain(|finding| told.insert(finding.what.clone()));
    let verdict = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
    Report {
        format: FORMAT,
        host: host.to_owned(),
        addresses,
        verdict,
        settings,
        findings,
        ports,
        sign_in: None,
    }
}

fn not_found(host: &str, why: &str) -> Finding {
    let what = format!("{host} cannot be found from here: {why}");
    Finding::new(
        Verdict::Failed,
        what,
        "check the spelling of the server's name, and whether this machine is online at all",
    )
}

fn port_report(tried: &Tried) -> PortReport {
    let (state, why) = state(tried);
    let banner = tried.clear.greeting.as_ref().or(tried.at_once.greeting.as_ref());
    let starttls = match mode(&tried.clear) {
        mode if !mode.works && mode.why.is_empty() && tried.clear.lacks_starttls() => {
            Mode { why: "it is not offered".into(), ..mode }
        }
        mode => mode,
    };
    PortReport {
        port: tried.port,
        address: tried.address,
        state,
        why,
        banner: banner.map(Reply::one_line),
        clear_sign_in: tried.clear.before.as_ref().map(mechanisms).unwrap_or_default(),
        tls: mode(&tried.at_once),
        starttls,
    }
}

fn state(tried: &Tried) -> (PortState, String) {
    let Tried { clear, at_once, .. } = tried;
    let spoke = |seen: &Seen| seen.greeting.is_some();
    if spoke(clear) || spoke(at_once) {
        return (PortState::Mail, String::new());
    }
    let why = halt(clear);
    let state = match either(clear.reach, at_once.reach) {
        Reach::Closed => PortState::Refused,
        Reach::Filtered => PortState::TimedOut,
        Reach::Unreachable => PortState::Unreachable,
        Reach::NotTried => PortState::NotTried,
        Reach::Open if at_once.secured().is_some() => {
            return (PortState::SomethingElse, "it speaks TLS, but not SMTP behind it".into());
        }
        Reach::Open if is_other(clear) => PortState::SomethingElse,
        Reach::Open => PortState::Silent,
    };
    (state, why)
}

/// What two connections to one socket come to: one that was taken shows that it is open.
fn either(one: Reach, other: Reach) -> Reach {
    if other == Reach::Open || one == Reach::NotTried { other } else { one }
}

fn is_other(seen: &Seen) -> bool {
    seen.halt.as_ref().is_some_and(|halt| matches!(halt.reason, Reason::Protocol(_)))
}

fn halt(seen: &Seen) -> String {
    seen.halt.as_ref().map(|trouble| clean(&trouble.reason.to_string())).unwrap_or_default()
}

fn mode(seen: &Seen) -> Mode {
    let Some((attempt, facts)) = seen.secured() else {
        let failure = seen.tries.first().and_then(|attempt| attempt.result.as_ref().err());
        let refused = seen.starttls.as_ref().filter(|reply| reply.code != 220).map(Reply::one_line);
        let why = failure.map(|failure| clean(&failure.why)).or(refused);
        return Mode { why: why.unwrap_or_else(|| halt(seen)), ..Mode::default() };
    };
    let doubt =
        || facts.peer.doubt().map_or_else(|| "it shows no certificate".to_owned(), |doubt| clean(&doubt.why));
    let trust = if facts.peer.is_authenticated() { Trust::Trusted } else { Trust::Untrusted(doubt()) };
    Mode {
        works: seen.after.is_some(),
        why: if seen.after.is_some() { String::new() } else { halt(seen) },
        protocol: Some(facts.protocol()),
        trust: Some(trust),
        certificate: attempt.chain.first().cloned().map(Box::new),
        mechanisms: seen.after.as_ref().map(mechanisms).unwrap_or_default(),
    }
}

fn mechanisms(reply: &Reply) -> Vec<String> {
    Capabilities::parse(reply).auth.into_iter().take(20).map(|one| clean(&one)).collect()
}

impl PortReport {
    fn modes(&self) -> [(Encryption, &Mode); 2] {
        [(Encryption::Tls, &self.tls), (Encryption::Starttls, &self.starttls)]
    }

    fn offers_starttls(&self) -> bool {
        self.starttls.works
    }
}

/// What works: where people are trusted to sign in, the most usual first (RFC 8314 §3.3).
fn settings(ports: &[PortReport]) -> Vec<Setting> {
    let mut found: Vec<Setting> = Vec::new();
    for port in ports {
        for (encryption, mode) in port.modes().into_iter().filter(|(_, mode)| mode.works) {
            let known = found.iter().any(|one| (one.port, one.encryption) == (port.port, encryption));
            let (Some(address), false, false) = (port.address, known, mode.mechanisms.is_empty()) else {
                continue;
            };
            let distrust = match &mode.trust {
                Some(Trust::Untrusted(why)) => Some(why.clone()),
                Some(Trust::Trusted) => None,
                None => Some("it shows no certificate".to_owned()),
            };
            let mechanisms = mode.mechanisms.clone();
            found.push(Setting { address, port: port.port, encryption, distrust, mechanisms });
        }
    }
    found.sort_by_key(|setting| (setting.distrust.is_some(), rank(setting)));
    found
}

fn rank(setting: &Setting) -> u8 {
    match (setting.port, setting.encryption) {
        (SUBMISSIONS, Encryption::Tls) => 0,
        (SUBMISSION, Encryption::Starttls) => 1,
        (RELAY, _) => 4,
        (_, Encryption::Tls) => 2,
        (_, Encryption::Starttls) => 3,
    }
}

/// Ports that cannot be reached.
fn reachability(host: &str, ports: &[PortReport]) -> Vec<Finding> {
    let reached = |port: &PortReport| {
        matches!(port.state, PortState::Mail | PortState::SomethingElse | PortState::Silent)
    };
    if ports.is_empty() {
        return Vec::new();
    }
    if !ports.iter().any(reached) {
        return vec![nothing_reached(host, ports)];
    }
    let numbers: BTreeSet<u16> = ports.iter().map(|port| port.port).collect();
    let mut findings: Vec<Finding> =
        numbers.into_iter().filter_map(|number| blocked(number, ports)).collect();
    findings.extend(family_out_of_reach(ports));
    findings
}

fn nothing_reached(host: &str, ports: &[PortReport]) -> Finding {
    let dropped = ports.iter().any(|port| port.state == PortState::TimedOut);
    let how = if dropped {
        "nobody answers at any of its ports"
    } else {
        "it refuses connections at all of its ports"
    };
    let remedy = "either the name is wrong, the server is down, or this network lets no mail out: try from another network, such as a phone's";
    Finding::new(Verdict::Failed, format!("{host} cannot be reached: {how} ({})", numbers(ports)), remedy)
}

fn numbers(ports: &[PortReport]) -> String {
    let numbers: BTreeSet<u16> = ports.iter().map(|port| port.port).collect();
    numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// A port that no address of the server answers at, while others do.
fn blocked(number: u16, ports: &[PortReport]) -> Option<Finding> {
    let mut same = ports.iter().filter(|port| port.port == number);
    let all = |state: PortState| {
        same.clone().all(|port| port.state == state || port.state == PortState::Unreachable)
    };
    let (gravity, how) = match () {
        () if same.clone().all(|port| port.state == PortState::Unreachable) => return None,
        () if all(PortState::TimedOut) => {
            (Verdict::Warning, "is not let through: something between here and the server drops it")
        }
        () if all(PortState::Refused) => {
            (Verdict::Note, "is refused: the server does not offer it, or this network does not allow it")
        }
        () => return None,
    };
    same.next()?;
    let (gravity, remedy) = match number {
        RELAY => (Verdict::Note, "nothing: it is for mail between servers, and many networks block it"),
        _ => (gravity, "use one of the ports that work; or ask whoever runs this network to open it"),
    };
    Some(Finding::new(gravity, format!("port {number} {how}"), remedy))
}

/// One family of addresses is dropped on the way while the other works.
fn family_out_of_reach(ports: &[PortReport]) -> Option<Finding> {
    let of = |v6: bool| {
        ports.iter().filter(move |port| port.address.is_some_and(|address| address.is_ipv6() == v6))
    };
    let works = |v6| of(v6).any(|port| port.state == PortState::Mail);
    let dropped = |v6| of(v6).next().is_some() && of(v6).all(|port| port.state == PortState::TimedOut);
    let family = match () {
        () if works(false) && dropped(true) => "IPv6",
        () if works(true) && dropped(false) => "IPv4",
        () => return None,
    };
    let what = format!(
        "the server's {family} address does not answer from here, so programs that try it first wait long"
    );
    Some(Finding::new(
        Verdict::Warning,
        what,
        format!("tell the server's administrator, or whoever runs this network, that {family} is broken"),
    ))
}

/// Ports that somebody else answers.
fn others(ports: &[PortReport]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for port in ports.iter().filter(|port| port.state == PortState::SomethingElse) {
        let what =
            format!("port {} is answered by something that is no mail server: {}", port.port, port.why);
        let remedy = "in hotels and trains: sign in to the network with a web browser first; else ask whoever runs this network";
        findings.push(Finding::new(Verdict::Warning, what, remedy));
    }
    for port in ports.iter().filter(|port| port.state == PortState::Silent) {
        let what = format!("port {} takes connections and says nothing: {}", port.port, port.why);
        findings.push(Finding::new(
            Verdict::Warning,
            what,
            "something on the way, or on this machine, may hold it: try another network",
        ));
    }
    findings.extend(other_server(ports));
    findings
}

/// Banners of two servers under one name and address.
fn other_server(ports: &[PortReport]) -> Option<Finding> {
    let name = |port: &PortReport| {
        let banner = port.banner.as_deref()?.strip_prefix("220")?;
        let first = banner.trim_start_matches(['-', ' ']).split_whitespace().next()?;
        Some((port.port, first.to_ascii_lowercase()))
    };
    let named: Vec<(u16, String)> =
        ports.iter().filter_map(name).filter(|(_, name)| name.contains('.')).collect();
    let (first, known) = named.first()?;
    let (other, stranger) = named.iter().find(|(_, name)| name != known)?;
    let what = format!("port {first} is answered by {known}, and port {other} by {stranger}");
    let remedy = "if these are not two servers of one house, this network redirects one of the ports: use the other one";
    Some(Finding::new(Verdict::Warning, what, remedy))
}

/// STARTTLS that is missing, overwritten or broken on the way.
fn stripped(tried: &Tried, port: &PortReport, all: &[PortReport]) -> Option<Finding> {
    let number = port.port;
    let remedy = "use a port with SSL/TLS, which nobody can take apart; switch off \"SMTP inspection\" in the firewall, or mail scanning in the anti-virus program";
    let warn = |what: String| Some(Finding::new(Verdict::Warning, what, remedy));
    if let Some(sign) = &tried.clear.middlebox {
        return warn(format!("port {number}: something on the way rewrites what the server says: {sign}"));
    }
    if tried.clear.lacks_starttls() {
        let elsewhere = all.iter().find(|other| other.port != number && other.offers_starttls());
        if port.tls.works {
            return warn(format!(
                "port {number}: STARTTLS is missing, although the server speaks TLS at this very port: something on the way hides it"
            ));
        }
        if let Some(other) = elsewhere {
            return warn(format!(
                "port {number}: STARTTLS is missing, although port {} offers it: something on the way may hide it",
                other.port
            ));
        }
        let what = format!("port {number} offers no encryption (no STARTTLS)");
        return Some(Finding::new(Verdict::Note, what, "do not sign in there"));
    }
    let failed = tried.clear.starttls.is_some() && !port.starttls.works;
    if failed {
        return warn(format!(
            "port {number}: STARTTLS is offered and does not come about: {}",
            port.starttls.why
        ));
    }
    let lost = lost_keywords(&tried.clear);
    if lost.len() > 1 {
        return warn(format!(
            "port {number}: in clear the server does not say {}, and under TLS it does: something on the way takes it out",
            lost.join(", ")
        ));
    }
    None
}

/// A server that is there and does not want to hear, or does not get to hear, what programs say first.
fn turned_away(tried: &Tried) -> Option<Finding> {
    let port = tried.port;
    let halts = [&tried.clear.halt, &tried.at_once.halt].into_iter().flatten();
    let refused = halts.into_iter().find_map(|halt| Some((halt.step, halt.reply.as_ref()?.one_line())));
    let way = "something on the way may garble it: use a port with SSL/TLS, which nobody can take apart";
    let (what, remedy) = match (refused, &tried.clear.misunderstood) {
        (Some((Step::Greeting, reply)), _) => (
            format!("port {port} turns this machine away: {reply}"),
            "the server may be overloaded, or have banned this address: ask its administrator",
        ),
        (Some((Step::Hello, reply)), _) => {
            (format!("port {port} does not take the first command (EHLO): {reply}"), way)
        }
        (_, Some(reply)) if tried.clear.middlebox.is_none() => {
            (format!("port {port} does not understand the first command (EHLO): {}", reply.one_line()), way)
        }
        _ => return None,
    };
    Some(Finding::new(Verdict::Warning, what, remedy))
}

/// What the server announces under TLS and not in clear.
fn lost_keywords(seen: &Seen) -> Vec<&'static str> {
    let (Some(before), Some(after)) = (&seen.before, &seen.after) else { return Vec::new() };
    let has = |reply: &Reply, keyword: &str| {
        let keywords = reply.lines.iter().skip(1).filter_map(|line| line.split(' ').next());
        keywords.into_iter().any(|found| found.eq_ignore_ascii_case(keyword))
    };
    ALIKE.into_iter().filter(|keyword| has(after, keyword) && !has(before, keyword)).collect()
}

/// Each certificate that was shown, with its port, and whether it is trusted.
fn shown(ports: &[PortReport]) -> Vec<(u16, &CertificateSeen, bool)> {
    let modes = ports.iter().flat_map(|port| port.modes().map(|(_, mode)| (port.port, mode)));
    let shown = modes.filter_map(|(port, mode)| {
        Some((port, mode.certificate.as_deref()?, mode.trust == Some(Trust::Trusted)))
    });
    shown.collect()
}

/// Certificates that somebody on the way puts in the place of the server's.
fn replaced(ports: &[PortReport]) -> Vec<Finding> {
    let shown = shown(ports);
    let mut findings = Vec::new();
    for (port, certificate, _) in &shown {
        let issuer = certificate.issuer.to_ascii_lowercase();
        if OPENERS.iter().any(|opener| issuer.contains(opener)) {
            let what = format!(
                "port {port}: a program on this machine or in this network opens the encryption: its certificate is from {}",
                certificate.issuer
            );
            let remedy = "switch off its scanning of mail, or have the mail program trust its root, if you want it to read your mail";
            findings.push(Finding::new(Verdict::Warning, what, remedy));
        }
    }
    let trusted = shown.iter().find(|(_, _, trusted)| *trusted);
    let stranger = shown.iter().find(|(_, _, trusted)| !*trusted);
    if let (Some((well, good, _)), Some((bad, strange, _))) = (trusted, stranger) {
        let what = format!(
            "port {bad} shows another certificate than port {well}: one from {}, which is not trusted here, in place of one from {}",
            strange.issuer, good.issuer
        );
        let remedy = format!("use port {well}; something may open the encryption at port {bad}");
        findings.push(Finding::new(Verdict::Warning, what, remedy));
    } else if let Some((port, other, _)) = shown.iter().find(|(_, one, _)| one.sha256 != shown[0].1.sha256) {
        let (first, one) = (shown[0].0, shown[0].1);
        let same_issuer = one.issuer == other.issuer;
        let gravity = if same_issuer { Verdict::Note } else { Verdict::Warning };
        let what = format!(
            "ports {first} and {port} show different certificates, from {} and from {}",
            one.issuer, other.issuer
        );
        findings.push(Finding::new(gravity, what, "ask the server's administrator whether both are his"));
    }
    findings
}

/// Why no certificate is trusted, if none is.
fn distrust(host: &str, ports: &[PortReport], tried: &[Tried], roots: usize) -> Option<Finding> {
    let shown = shown(ports);
    let (port, certificate, _) = shown.first()?;
    if shown.iter().any(|(_, _, trusted)| *trusted) {
        return None;
    }
    let doubts = tried.iter().flat_map(|tried| [&tried.clear, &tried.at_once]);
    let failure = doubts.into_iter().find_map(|seen| seen.secured()?.1.peer.doubt())?;
    let what = format!("mail programs here do not trust {host}: {} (port {port})", failure.why);
    let compare = format!("have the administrator confirm its fingerprint: SHA-256 {}", certificate.sha256);
    let remedy = match failure.fault {
        _ if roots == 0 => {
            "this machine trusts no authority at all: install the package ca-certificates".to_owned()
        }
        TlsFault::HostMismatch => {
            format!("use a name that stands in the certificate: {}", certificate.names.join(", "))
        }
        TlsFault::Expired | TlsFault::NotYetValid => {
            "see whether this machine's clock is right; if it is, the server's administrator must renew it"
                .to_owned()
        }
        TlsFault::UnknownIssuer | TlsFault::SelfSigned | TlsFault::IncompleteChain => {
            format!(
                "if the house has an authority of its own, import its root (here: --ca FILE); else {compare}, before anything is accepted"
            )
        }
        _ => format!("tell the server's administrator; {compare}"),
    };
    Some(Finding::new(Verdict::Warning, what, remedy))
}

/// What is worth knowing besides.
fn remarks(host: &str, ports: &[PortReport]) -> Vec<Finding> {
    let mut findings = Vec::new();
    if host.parse::<IpAddr>().is_ok() {
        let names: BTreeSet<&String> = shown(ports).into_iter().flat_map(|(_, one, _)| &one.names).collect();
        let known: Vec<&str> = names.into_iter().map(String::as_str).collect();
        let hint = if known.is_empty() { String::new() } else { format!(": {}", known.join(", ")) };
        let remedy = format!("give the mail program the server's name{hint}");
        findings.push(Finding::new(Verdict::Note, "certificates are for names, not for addresses", remedy));
    }
    for port in ports.iter().filter(|port| !port.clear_sign_in.is_empty()) {
        let what = format!("port {} lets people sign in without encryption", port.port);
        let remedy =
            "never set a program to \"no encryption\" there: everybody on the way could read the password";
        findings.push(Finding::new(Verdict::Note, what, remedy));
    }
    findings
}

fn nowhere_to_sign_in(ports: &[PortReport]) -> Finding {
    let encrypted = ports.iter().any(|port| port.modes().iter().any(|(_, mode)| mode.works));
    let (what, remedy) = if encrypted {
        (
            "the server answers, but lets nobody sign in at these ports",
            "mail programs use ports 465 and 587: see why those are not reached, or ask the server's administrator",
        )
    } else {
        (
            "no encrypted connection comes about at any port",
            "do not sign in from here; see what stands in the way, or try another network",
        )
    };
    Finding::new(Verdict::Failed, what, remedy)
}

#[cfg(test)]
mod tests;
