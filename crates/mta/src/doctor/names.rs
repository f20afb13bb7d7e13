//! Names and addresses: does our name lead here, do our addresses bear it, does our mail come here?
//!
//! Other servers judge a mail server by this before they look at anything else (RFC 5321 §4.1.4, §5.1). Gathered are a
//! [`Place`], the names of each address ([`Borne`]), and the hosts of each domain ([`Exchanger`]).
//!
//! What it deliberately does not do: ask from outside. Behind a router, what the world sees is only guessed.

use std::net::IpAddr;

use futures_util::StreamExt as _;
use futures_util::stream;
use postern_dns::{LookupError, Mx, Resolver};

use super::room::{Room, is_public, listed};
use super::{Check, Finding};
use crate::config::Way;
use crate::ports;

/// So much is asked at the same time.
const AT_ONCE: usize = 16;
/// So many hosts of a domain are looked up.
const HOSTS_MOST: usize = 10;
/// Ends of names that are nobody's in the world (RFC 6762 §3, RFC 8375, RFC 6761).
const PRIVATE_ENDS: [&str; 7] =
    ["local", "localdomain", "localhost", "lan", "home.arpa", "internal", "invalid"];

/// Our name, where it leads, and where we are.
#[derive(Debug, Clone)]
struct Place {
    name: String,
    leads_to: Result<Vec<IpAddr>, LookupError>,
    /// The addresses of this machine.
    own: Vec<IpAddr>,
}

/// One of our addresses, the name that we say there, and the names that it bears.
#[derive(Debug, Clone)]
struct Borne {
    address: IpAddr,
    said: String,
    names: Result<Vec<String>, LookupError>,
    /// Whether one of those names leads back to the address.
    confirmed: bool,
}

/// A host that takes a domain's mail.
#[derive(Debug, Clone)]
struct Exchanger {
    host: String,
    addresses: Result<Vec<IpAddr>, LookupError>,
    is_alias: bool,
}

/// The hosts of a domain, the best first; or why they are not known.
type Exchangers = Result<Vec<Exchanger>, LookupError>;

/// Whether our name is a full one and leads here.
pub(super) async fn host_name(room: &Room) -> Vec<Finding> {
    let leads_to = room.resolver().addresses(&room.hostname).await.map(|answer| answer.records);
    let place = Place { name: room.hostname.clone(), leads_to, own: room.own.clone() };
    vec![place.judge()]
}

impl Place {
    fn judge(&self) -> Finding {
        let Self { name, leads_to, .. } = self;
        if !is_full(name) {
            let evidence = format!("{name} is no name that the world knows");
            let remedy = "set hostname to the full name that mail servers and mail programs use, such as mail.example.org";
            return Finding::failed(Check::HostName, evidence, remedy);
        }
        match leads_to {
            Ok(addresses) => self.judge_addresses(addresses),
            Err(error) if error.is_negative() => Finding::failed(
                Check::HostName,
                format!("{name} has no address in the DNS: {error}"),
                "publish an A record (and AAAA) for it with this server's public address",
            ),
            Err(error) => Finding::unknown(
                Check::HostName,
                format!("{name} cannot be looked up: {error}"),
                "see the check resolver",
            ),
        }
    }

    fn judge_addresses(&self, addresses: &[IpAddr]) -> Finding {
        let (name, found) = (&self.name, listed(addresses));
        let here: Vec<&IpAddr> = addresses.iter().filter(|address| self.own.contains(address)).collect();
        let strangers = addresses.iter().filter(|address| !self.own.contains(address));
        let finding = |make: fn(Check, String, String) -> Finding, evidence: String, remedy: String| {
            make(Check::HostName, evidence, remedy)
        };
        if !addresses.iter().any(|address| is_public(*address)) {
            let evidence = format!("{name} leads to {found}, which nobody outside can reach");
            let remedy = "if people or servers outside are to reach this server: publish its public address";
            return finding(Finding::note, evidence, remedy.into());
        }
        if here.len() == addresses.len() {
            return Finding::ok(Check::HostName, format!("{name} leads here: {found}"));
        }
        if here.is_empty() && !self.own.iter().any(|address| is_public(*address)) {
            let evidence = format!(
                "{name} leads to {found}; this machine has only addresses that are not public, so a router must stand before it"
            );
            let remedy = format!(
                "have the router hand on the ports {} to this machine; try it from outside: postern check-server {name}",
                ports::in_words()
            );
            return finding(Finding::note, evidence, remedy);
        }
        let elsewhere = listed(strangers);
        let evidence =
            format!("{name} leads to {elsewhere}, which is not this machine ({})", listed(&self.own));
        let remedy =
            "correct the address record, or hostname; behind a load balancer this is as it should be";
        finding(Finding::warning, evidence, remedy.into())
    }
}

/// Whether a name is one that others can look up.
fn is_full(name: &str) -> bool {
    let ends_in = |end: &&str| name.strip_suffix(*end).is_some_and(|rest| rest.ends_with('.'));
    name.contains('.') && name.parse::<IpAddr>().is_err() && !PRIVATE_ENDS.iter().any(ends_in)
}

/// Whether our addresses bear the names that we say there.
pub(super) async fn reverse_name(room: &Room) -> Vec<Finding> {
    let looks: Vec<_> =
        spoken(room).await.into_iter().map(|(address, said)| borne(room.resolver(), address, said)).collect();
    let found: Vec<Borne> = stream::iter(looks).buffered(AT_ONCE).collect().await;
    if found.is_empty() {
        let evidence = "no address is known from which mail leaves to the world";
        return vec![Finding::note(Check::ReverseName, evidence, "")];
    }
    found.iter().map(|borne| borne.judge(room.sends_itself())).collect()
}

/// From which addresses we speak to other servers, and by which name.
pub(super) async fn spoken(room: &Room) -> Vec<(IpAddr, String)> {
    let mut spoken: Vec<(IpAddr, String)> = Vec::new();
    let by_smtp = room.config.connectors.iter().filter(|one| one.enabled && matches!(one.to, Way::Mx { .. }));
    for connector in by_smtp {
        spoken.extend(connector.source.iter().map(|source| (*source, connector.hello.clone())));
    }
    let forward = room.resolver().addresses(&room.hostname).await.map(|answer| answer.records);
    let own = room.own.iter().copied().chain(forward.unwrap_or_default());
    if spoken.is_empty() {
        spoken.extend(own.map(|address| (address, room.hostname.clone())));
    }
    spoken.retain(|(address, _)| is_public(*address));
    spoken.sort();
    spoken.dedup();
    spoken.truncate(HOSTS_MOST);
    spoken
}

async fn borne(resolver: &dyn Resolver, address: IpAddr, said: String) -> Borne {
    let names = resolver.ptr(address).await.map(|answer| answer.records);
    let mut confirmed = false;
    for name in names.iter().flatten().take(HOSTS_MOST) {
        let back = resolver.addresses(name).await.map(|answer| answer.records).unwrap_or_default();
        confirmed |= back.contains(&address);
    }
    Borne { address, said, names, confirmed }
}

impl Borne {
    fn judge(&self, sends_itself: bool) -> Finding {
        let Self { address, said, names, confirmed } = self;
        let bad = if sends_itself { Finding::warning } else { Finding::note };
        let ask = format!("ask whoever gave you the address {address} to set its reverse name to {said}");
        match names {
            Ok(names) => {
                let same = names.iter().any(|name| name.trim_end_matches('.').eq_ignore_ascii_case(said));
                let found = listed(names);
                match (same, confirmed) {
                    (true, true) => {
                        Finding::ok(Check::ReverseName, format!("{address} bears the name {said}"))
                    }
                    (true, false) => bad(
                        Check::ReverseName,
                        format!("{address} bears the name {said}, which does not lead back to it"),
                        format!("publish an address record for {said} with {address}"),
                    ),
                    (false, true) => Finding::note(
                        Check::ReverseName,
                        format!("{address} bears the name {found}, and Postern says {said} there"),
                        ask,
                    ),
                    (false, false) => bad(
                        Check::ReverseName,
                        format!(
                            "{address} bears the name {found}, which does not lead back to it; many servers refuse mail from there"
                        ),
                        ask,
                    ),
                }
            }
            Err(error) if error.is_negative() => bad(
                Check::ReverseName,
                format!("{address} has no reverse name; many servers refuse mail from there"),
                ask,
            ),
            Err(error) => Finding::unknown(
                Check::ReverseName,
                format!("the names of {address} cannot be looked up: {error}"),
                "see the check resolver",
            ),
        }
    }
}

/// Whether mail for our domains comes here.
pub(super) async fn mx(room: &Room) -> Vec<Finding> {
    let domains = room.domains();
    if domains.is_empty() {
        return vec![Finding::note(Check::Mx, "there is no [[domain]]: no mail is to come here", "")];
    }
    let ours = Ours::of(room).await;
    let found = all_exchangers(room, &domains).await;
    let judged = domains.iter().zip(&found);
    judged.flat_map(|(domain, found)| judge_mx(domain, found, &ours, room.takes_mail())).collect()
}

/// The names by which MX records of our domains call this server.
pub(super) async fn hosts_of_ours(room: &Room) -> Vec<String> {
    let ours = Ours::of(room).await;
    let found = all_exchangers(room, &room.domains()).await;
    let hosts = found.iter().flatten().flatten().filter(|host| ours.is(host));
    hosts.map(|host| host.host.to_ascii_lowercase()).collect()
}

async fn all_exchangers(room: &Room, domains: &[String]) -> Vec<Exchangers> {
    let looks: Vec<_> = domains.iter().map(|domain| exchangers(room.resolver(), domain)).collect();
    stream::iter(looks).buffered(AT_ONCE).collect().await
}

/// How we are known.
struct Ours<'a> {
    name: &'a str,
    addresses: Vec<IpAddr>,
}

impl<'a> Ours<'a> {
    async fn of(room: &'a Room) -> Self {
        let named = room.resolver().addresses(&room.hostname).await;
        let named = named.map(|answer| answer.records).unwrap_or_default();
        Self { name: &room.hostname, addresses: room.own.iter().copied().chain(named).collect() }
    }

    fn is(&self, exchanger: &Exchanger) -> bool {
        let addresses = exchanger.addresses.iter().flatten();
        exchanger.host.eq_ignore_ascii_case(self.name)
            || addresses.into_iter().any(|address| self.addresses.contains(address))
    }
}

async fn exchangers(resolver: &dyn Resolver, domain: &str) -> Exchangers {
    let mut records: Vec<Mx> = resolver.mx(domain).await?.records;
    records.sort_by_key(|mx| mx.preference);
    let mut found = Vec::new();
    for Mx { exchange, .. } in records.into_iter().take(HOSTS_MOST) {
        let (addresses, is_alias) = match resolver.addresses(&exchange).await {
            Ok(answer) => (Ok(answer.records.clone()), answer.came_by_alias(&exchange)),
            Err(error) => (Err(error), false),
        };
        found.push(Exchanger { host: exchange, addresses, is_alias });
    }
    Ok(found)
}

fn judge_mx(domain: &str, found: &Exchangers, ours: &Ours<'_>, takes_mail: bool) -> Vec<Finding> {
    let publish = format!("publish: {domain}. IN MX 10 {}.", ours.name);
    let hosts = match found {
        Ok(hosts) => hosts,
        Err(error) if error.is_negative() => {
            let make = if takes_mail { Finding::failed } else { Finding::note };
            return vec![make(Check::Mx, format!("{domain} has no MX record: {error}"), publish)];
        }
        Err(error) => {
            let evidence = format!("the MX records of {domain} cannot be looked up: {error}");
            return vec![Finding::unknown(Check::Mx, evidence, "see the check resolver")];
        }
    };
    let mut findings = vec![judge_way(domain, hosts, ours, takes_mail, publish)];
    findings.extend(hosts.iter().filter_map(|host| blemish(domain, host)));
    findings
}

fn judge_way(
    domain: &str,
    hosts: &[Exchanger],
    ours: &Ours<'_>,
    takes_mail: bool,
    publish: String,
) -> Finding {
    let names = listed(hosts.iter().map(|host| &host.host));
    match hosts.iter().position(|host| ours.is(host)) {
        _ if hosts.iter().all(|host| host.host == ".") => {
            let evidence = format!("{domain} says that it takes no mail at all (null MX)");
            Finding::failed(Check::Mx, evidence, publish)
        }
        Some(0) => Finding::ok(Check::Mx, format!("mail for {domain} comes here: {}", hosts[0].host)),
        Some(at) => Finding::note(
            Check::Mx,
            format!("mail for {domain} comes here only if {} is down", hosts[0].host),
            format!("nothing, if that is meant: this server stands as number {} among {names}", at + 1),
        ),
        None if takes_mail => Finding::warning(
            Check::Mx,
            format!("mail for {domain} goes to {names}, which is not known to be this server"),
            format!("if that is a filter in front of this server, nothing; else {publish}"),
        ),
        None => Finding::note(
            Check::Mx,
            format!("mail for {domain} goes to {names}; no listener here takes it"),
            "",
        ),
    }
}

/// What is wrong with one of the hosts, whoever's it is.
fn blemish(domain: &str, host: &Exchanger) -> Option<Finding> {
    let name = &host.host;
    if name.parse::<IpAddr>().is_ok() {
        let evidence = format!(
            "an MX record of {domain} names the address {name}, and only a host name may stand there"
        );
        return Some(Finding::failed(Check::Mx, evidence, "name the host in its place (RFC 1035 §3.3.9)"));
    }
    match &host.addresses {
        Err(error) if error.is_negative() && name != "." => {
            let evidence = format!("{name}, which an MX record of {domain} names, has no address: {error}");
            Some(Finding::failed(Check::Mx, evidence, "publish its address, or delete the MX record"))
        }
        Ok(_) if host.is_alias => {
            let evidence = format!("{name}, which an MX record of {domain} names, is an alias (CNAME)");
            Some(Finding::warning(Check::Mx, evidence, "name the host itself (RFC 2181 §10.3)"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use postern_dns::Dnssec;

    use super::super::Verdict;
    use super::*;

    const NONE: LookupError = LookupError::NoSuchDomain { dnssec: Dnssec::Indeterminate };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn late() -> LookupError {
        LookupError::Temporary("nobody answers".into())
    }

    fn host(leads_to: Result<Vec<IpAddr>, LookupError>, own: &[&str]) -> Finding {
        let own = own.iter().map(|own| ip(own)).collect();
        Place { name: "mail.example.org".into(), leads_to, own }.judge()
    }

    #[test]
    fn our_name_must_lead_here_or_to_the_router_in_front() {
        let outside = || Ok(vec![ip("192.0.2.1")]);
        for (finding, verdict, words) in [
            (host(outside(), &["127.0.0.1", "192.0.2.1"]), Verdict::Ok, "leads here"),
            (host(outside(), &["127.0.0.1", "10.0.0.2"]), Verdict::Note, "a router must stand"),
            (host(outside(), &["198.51.100.7"]), Verdict::Warning, "not this machine"),
            (host(Ok(vec![ip("10.0.0.2")]), &["10.0.0.2"]), Verdict::Note, "nobody outside"),
            (
                host(Ok(vec![ip("192.0.2.1"), ip("2001:db8::9")]), &["192.0.2.1"]),
                Verdict::Warning,
                "2001:db8::9",
            ),
            (host(Err(NONE), &[]), Verdict::Failed, "no address"),
            (host(Err(late()), &[]), Verdict::Unknown, "nobody answers"),
        ] {
            assert_eq!(finding.verdict, verdict, "{finding:?}");
            assert!(finding.evidence.contains(words), "{finding:?}");
        }
    }

    #[test]
    fn a_name_that_only_this_house_knows_is_no_host_name() {
        for name in ["mail", "mail.local", "localhost.localdomain", "192.0.2.1", "mail.internal"] {
            let place = Place { name: name.into(), leads_to: Err(late()), own: Vec::new() };
            assert_eq!(place.judge().verdict, Verdict::Failed, "{name}");
        }
        assert!(is_full("mail.example.org") && is_full("local.example"));
    }

    #[test]
    fn an_address_must_bear_the_name_that_we_say_there() {
        let found = |names: Result<Vec<&str>, LookupError>, confirmed, direct| {
            let names = names.map(|names| names.into_iter().map(str::to_owned).collect());
            let said = "mail.example.org".to_owned();
            Borne { address: ip("192.0.2.1"), said, names, confirmed }.judge(direct)
        };
        for (finding, verdict) in [
            (found(Ok(vec!["Mail.Example.org."]), true, true), Verdict::Ok),
            (found(Ok(vec!["mail.example.org"]), false, true), Verdict::Warning),
            (found(Ok(vec!["host1.provider.example"]), true, true), Verdict::Note),
            (found(Ok(vec!["host1.provider.example"]), false, true), Verdict::Warning),
            (found(Err(NONE), false, true), Verdict::Warning),
            (found(Err(NONE), false, false), Verdict::Note),
            (found(Err(late()), false, true), Verdict::Unknown),
        ] {
            assert_eq!(finding.verdict, verdict, "{finding:?}");
        }
    }

    fn exchanger(host: &str, address: &str) -> Exchanger {
        Exchanger { host: host.into(), addresses: Ok(vec![ip(address)]), is_alias: false }
    }

    fn judged(found: &Exchangers, takes_mail: bool) -> Vec<Finding> {
        let ours = Ours { name: "mail.example.org", addresses: vec![ip("192.0.2.1")] };
        judge_mx("example.org", found, &ours, takes_mail)
    }

    #[test]
    fn mail_must_come_here_by_name_or_by_address() {
        let (here, there) =
            (exchanger("mail.example.org", "198.51.100.7"), exchanger("mx.other.example", "203.0.113.5"));
        let by_address = exchanger("in.example.org", "192.0.2.1");
        for (found, takes_mail, verdict) in [
            (Ok(vec![here.clone()]), true, Verdict::Ok),
            (Ok(vec![by_address, there.clone()]), true, Verdict::Ok),
            (Ok(vec![there.clone(), here]), true, Verdict::Note),
            (Ok(vec![there.clone()]), true, Verdict::Warning),
            (Ok(vec![there]), false, Verdict::Note),
            (Err(NONE), true, Verdict::Failed),
            (Err(NONE), false, Verdict::Note),
            (Err(late()), true, Verdict::Unknown),
        ] {
            let findings = judged(&found, takes_mail);
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0].verdict, verdict, "{findings:?}");
        }
    }

    #[test]
    fn hosts_that_no_server_finds_are_named() {
        let nowhere = Exchanger { addresses: Err(NONE), ..exchanger("gone.example.org", "192.0.2.1") };
        let alias = Exchanger { is_alias: true, ..exchanger("mail.example.org", "192.0.2.1") };
        let findings = judged(&Ok(vec![alias, nowhere, exchanger("192.0.2.1", "192.0.2.1")]), true);
        let verdicts: Vec<Verdict> = findings.iter().map(|finding| finding.verdict).collect();
        assert_eq!(
            verdicts,
            [Verdict::Ok, Verdict::Warning, Verdict::Failed, Verdict::Failed],
            "{findings:?}"
        );
        let null = Exchanger { host: ".".into(), addresses: Err(NONE), is_alias: false };
        assert_eq!(judged(&Ok(vec![null]), true)[0].verdict, Verdict::Failed);
    }
}
