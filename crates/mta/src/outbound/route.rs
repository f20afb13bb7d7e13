//! Which hosts take a destination's mail, in the order in which they are to be tried (RFC 5321 §5.1).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use postern_dns::{LookupError, MailHosts, Resolver, mail_hosts};
use postern_queue::Destination;
use postern_smtp::outcome::{Outcome, Reason, Step, Trouble};

use crate::config::{Connector, LmtpAddress, SmtpHost, Way};
use crate::daemon::Shared;

/// At most so many hosts of an MX list are tried in one attempt, and so many addresses of each.
const HOSTS_MOST: usize = 8;
const ADDRESSES_MOST: usize = 4;

/// One host to hand mail to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NextHop {
    /// The name that the peer's certificate must bear, and that people know it by.
    pub(crate) host: String,
    /// Where to connect.
    pub(crate) at: Socket,
}

/// A socket to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Socket {
    /// TCP.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for NextHop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.at {
            Socket::Tcp(address) => write!(f, "{} [{}]:{}", self.host, address.ip(), address.port()),
            Socket::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// The hosts for a destination by a connector, best first.
///
/// # Errors
/// What becomes of every recipient when there is none: deferred when DNS did not answer, failed when it said no.
pub(crate) async fn next_hops(
    shared: &Shared,
    connector: &Connector,
    destination: &Destination,
) -> Result<Vec<NextHop>, Outcome> {
    match &connector.to {
        Way::Mx { port } => mx_hosts(shared, destination, *port).await,
        Way::Smtp(hosts) => named_hosts(&*shared.resolver(), hosts).await,
        Way::Lmtp(LmtpAddress::Tcp(host, port)) => one_host(&*shared.resolver(), host, *port).await,
        Way::Lmtp(LmtpAddress::Unix(path)) => {
            Ok(vec![NextHop { host: "localhost".into(), at: Socket::Unix(path.clone()) }])
        }
        Way::Maildir(_) | Way::TlsReports => Ok(Vec::new()),
    }
}

/// Those that can be looked up, in order; why the first could not be when none can.
async fn named_hosts(resolver: &dyn Resolver, hosts: &[SmtpHost]) -> Result<Vec<NextHop>, Outcome> {
    let (mut found, mut unanswered) = (Vec::new(), None);
    for SmtpHost { host, port, .. } in hosts {
        match one_host(resolver, host, *port).await {
            Ok(next_hops) => found.extend(next_hops),
            Err(outcome) => unanswered = unanswered.or(Some(outcome)),
        }
    }
    if found.is_empty() { unanswered.map_or(Ok(found), Err) } else { Ok(found) }
}

async fn one_host(resolver: &dyn Resolver, host: &str, port: u16) -> Result<Vec<NextHop>, Outcome> {
    let found = addresses(resolver, host).await.map_err(|error| {
        // Our own configuration names this host, so its absence is our fault and not the message's.
        deferred(Reason::LookupFailed(format!("{host}: {error}")))
    })?;
    Ok(found.into_iter().map(|ip| next_hop(host, ip, port)).collect())
}

async fn mx_hosts(shared: &Shared, destination: &Destination, port: u16) -> Result<Vec<NextHop>, Outcome> {
    if let Some(ip) = address_literal(&destination.0) {
        return Ok(vec![next_hop(&destination.0, ip, port)]);
    }
    let groups = mail_host_groups(&*shared.resolver(), &destination.0).await?;
    let mut found = Found::default();
    for group in &groups {
        if found.resolve_group(shared, group, port).await {
            break;
        }
    }
    found.conclude()
}

/// The destination's mail hosts in groups of equal preference, best group first.
async fn mail_host_groups(resolver: &dyn Resolver, domain: &str) -> Result<Vec<Vec<String>>, Outcome> {
    let route = mail_hosts(domain, resolver.mx(domain).await, |below| fastrand::usize(..below));
    match route.map(|route| route.hosts) {
        Ok(MailHosts::Hosts(groups)) => Ok(groups),
        Ok(MailHosts::Implicit(domain)) => Ok(vec![vec![domain]]),
        Ok(MailHosts::NullMx) => Err(failed(Reason::NullMx)),
        Err(error) if error.is_temporary() => Err(deferred(Reason::LookupFailed(error.to_string()))),
        Err(_) => Err(failed(Reason::NoSuchDomain)),
    }
}

/// What the walk through the groups has found.
#[derive(Default)]
struct Found {
    next_hops: Vec<NextHop>,
    hosts: usize,
    ourselves: Option<String>,
    /// The last lookup of a host that did not come to an answer.
    unanswered: Option<LookupError>,
}

impl Found {
    /// Resolves a group of equals. `true` ends the walk: enough hosts, or this server is one of the group, so that
    /// hosts of this and any worse preference must not be tried (RFC 5321 §5.1).
    async fn resolve_group(&mut self, shared: &Shared, group: &[String], port: u16) -> bool {
        let mut of_group = Vec::new();
        for host in group {
            if self.hosts >= HOSTS_MOST {
                break;
            }
            match addresses(&*shared.resolver(), host).await {
                Ok(ips) => {
                    self.hosts += 1;
                    of_group.extend(ips.into_iter().map(|ip| next_hop(host, ip, port)));
                }
                Err(error) if error.is_temporary() => self.unanswered = Some(error),
                Err(_) => {}
            }
        }
        if let Some(own) = of_group.iter().find(|next_hop| is_ourselves(shared, next_hop)) {
            self.ourselves = Some(own.host.clone());
            return true;
        }
        self.next_hops.extend(of_group);
        self.hosts >= HOSTS_MOST
    }

    fn conclude(self) -> Result<Vec<NextHop>, Outcome> {
        if !self.next_hops.is_empty() {
            return Ok(self.next_hops);
        }
        // A better host may be there once DNS answers; only then is it certain that we are the best.
        match (self.unanswered, self.ourselves) {
            (Some(error), _) => Err(deferred(Reason::LookupFailed(error.to_string()))),
            (_, Some(host)) => Err(failed(Reason::OwnHost(host))),
            _ => Err(failed(Reason::NoSuchDomain)),
        }
    }
}

fn is_ourselves(shared: &Shared, next_hop: &NextHop) -> bool {
    let Socket::Tcp(address) = &next_hop.at else { return false };
    let own_name = next_hop.host.parse() == Ok(shared.site.load().config.hostname.clone());
    let own = shared.own_addresses.load();
    own.contains(address) || (own_name && own.iter().any(|own| own.port() == address.port()))
}

async fn addresses(resolver: &dyn Resolver, host: &str) -> Result<Vec<IpAddr>, LookupError> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Ok(vec![ip]);
    }
    let mut found = resolver.addresses(host).await?.records;
    found.truncate(ADDRESSES_MOST);
    Ok(found)
}

/// `[192.0.2.1]` or `[IPv6:2001:db8::1]` as a destination (RFC 5321 §4.1.3).
fn address_literal(destination: &str) -> Option<IpAddr> {
    let inner = destination.strip_prefix('[')?.strip_suffix(']')?;
    inner.strip_prefix("IPv6:").or(Some(inner))?.parse().ok()
}

fn next_hop(host: &str, ip: IpAddr, port: u16) -> NextHop {
    NextHop { host: host.to_owned(), at: Socket::Tcp(SocketAddr::new(ip, port)) }
}

fn deferred(reason: Reason) -> Outcome {
    Outcome::Deferred(Trouble::new(Step::Lookup, reason))
}

fn failed(reason: Reason) -> Outcome {
    Outcome::Failed(Trouble::new(Step::Lookup, reason))
}
