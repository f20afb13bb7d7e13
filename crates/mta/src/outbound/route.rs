//! Which hosts take a destination's mail, in the order in which they are to be tried (RFC 5321 §5.1), and how far DNSSEC
//! vouches for each.
//!
//! The types to know: [`Route`], the hosts of one destination by one connector; [`RoutedHost`], one of them with the
//! sockets to connect to; [`NextHop`], one socket; [`NoHost`], why there is none. What it deliberately does not do: decide how well a connection must be
//! protected (that is [`plan`](super::plan)'s) or connect.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use postern_dns::{Answer, Dnssec, LookupError, MailHosts, MailRoute, Resolver, mail_hosts};
use postern_queue::Destination;
use postern_smtp::outcome::{Outcome, Reason, Step, Trouble};
use postern_smtp::tls::{TlsFailure, TlsFault};

use crate::config::{Connector, IpPreference, LmtpAddress, SmtpHost, Way};
use crate::daemon::Site;

/// At most so many hosts of an MX list are tried in one attempt, and so many addresses of each.
const HOSTS_MOST: usize = 8;
const ADDRESSES_MOST: usize = 4;

/// One socket to hand mail to.
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

/// The hosts of one destination.
#[derive(Debug, Default)]
pub(crate) struct Route {
    /// Best first. Never empty once found.
    pub(crate) hosts: Vec<RoutedHost>,
    /// Better or equal hosts whose addresses could not be found out now, and why.
    pub(crate) unresolved: Vec<(String, LookupError)>,
    /// The names besides a host's own that its certificate may bear under DANE (RFC 7672 §3.2.2).
    pub(crate) domain_names: Vec<String>,
}

/// Why a destination has no host, and what becomes of its mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoHost {
    /// It waits: one may be found later.
    Waits(Trouble),
    /// It fails: DNS says that there is none.
    Fails(Trouble),
}

impl From<NoHost> for Outcome {
    fn from(none: NoHost) -> Self {
        match none {
            NoHost::Waits(trouble) => Self::Deferred(trouble),
            NoHost::Fails(trouble) => Self::Failed(trouble),
        }
    }
}

/// One host and where it is.
#[derive(Debug, Clone)]
pub(crate) struct RoutedHost {
    /// Its name, or an address where none was given.
    pub(crate) name: String,
    /// Its name after aliases.
    pub(crate) owner: String,
    /// The port.
    pub(crate) port: u16,
    /// Whether TLS starts with the first byte.
    pub(crate) implicit_tls: bool,
    /// How its name was come by: configured, or by an MX record with this status.
    pub(crate) name_status: Dnssec,
    /// The status of its addresses.
    pub(crate) address_status: Dnssec,
    /// Where to connect, in order. Never empty.
    pub(crate) sockets: Vec<NextHop>,
}

/// Asks where mail goes.
#[derive(Clone, Copy)]
pub(crate) struct Router<'a> {
    /// The configuration of the moment and the resolver.
    pub(crate) site: &'a Site,
    /// Where our own listeners can be reached.
    pub(crate) own_addresses: &'a [SocketAddr],
}

impl Router<'_> {
    /// The hosts for a destination by a connector, best first.
    ///
    /// # Errors
    /// There is none: mail waits when DNS did not answer, and fails when it said no.
    pub(crate) async fn route(
        &self,
        connector: &Connector,
        destination: &Destination,
    ) -> Result<Route, NoHost> {
        match &connector.to {
            Way::Mx { port } => self.by_mx(connector, destination, *port).await,
            Way::Smtp(hosts) => self.named_hosts(connector, hosts).await,
            Way::Lmtp(LmtpAddress::Tcp(host, port)) => {
                let host = SmtpHost { host: host.clone(), port: *port, implicit_tls: false };
                self.named_hosts(connector, &[host]).await
            }
            Way::Lmtp(LmtpAddress::Unix(path)) => Ok(Route::of(RoutedHost::on_this_machine(path.clone()))),
            Way::Maildir(_) | Way::TlsReports => Ok(Route::default()),
        }
    }

    fn resolver(&self) -> &dyn Resolver {
        &*self.site.network.resolver
    }

    /// Hosts that our own configuration names: that one is missing is our fault and not the message's.
    async fn named_hosts(&self, connector: &Connector, hosts: &[SmtpHost]) -> Result<Route, NoHost> {
        let mut route = Route::default();
        for host in hosts {
            let place = Place { name: &host.host, port: host.port, implicit_tls: host.implicit_tls };
            match self.resolve(connector, place, Dnssec::Secure).await {
                Ok(found) => route.hosts.push(found),
                Err(error) => route.unresolved.push((host.host.clone(), error)),
            }
        }
        match route.unresolved.first() {
            Some((host, error)) if route.hosts.is_empty() => Err(NoHost::Waits(unanswered(host, error))),
            _ => Ok(route),
        }
    }

    async fn by_mx(
        &self,
        connector: &Connector,
        destination: &Destination,
        port: u16,
    ) -> Result<Route, NoHost> {
        let domain = &destination.0;
        if let Some(ip) = address_literal(domain) {
            let place = Place { name: domain, port, implicit_tls: false };
            return Ok(Route::of(place.at(vec![ip], Dnssec::Insecure)));
        }
        let mail_route =
            mail_hosts(domain, self.resolver().mx(domain).await, |below| fastrand::usize(..below)).map_err(
                |error| match error {
                    error if error.is_temporary() => NoHost::Waits(unanswered(domain, &error)),
                    _ => failed(Reason::NoSuchDomain),
                },
            )?;
        let MailRoute { hosts, dnssec, owner } = mail_route;
        let groups = match hosts {
            MailHosts::Hosts(groups) => groups,
            MailHosts::Implicit(domain) => vec![vec![domain]],
            MailHosts::NullMx => return Err(failed(Reason::NullMx)),
        };
        let mut walk = Walk::new(*self, connector, port, dnssec);
        for group in &groups {
            if walk.resolve_group(group).await {
                break;
            }
        }
        walk.conclude(domain, owner)
    }

    /// One host's addresses.
    async fn resolve(
        &self,
        connector: &Connector,
        place: Place<'_>,
        name_status: Dnssec,
    ) -> Result<RoutedHost, LookupError> {
        if let Ok(ip) = place.name.parse::<IpAddr>() {
            return Ok(place.at(vec![ip], Dnssec::Insecure));
        }
        let Answer { mut records, owner, dnssec, .. } = self.resolver().addresses(place.name).await?;
        connector.ip.sort(&mut records);
        records.truncate(ADDRESSES_MOST);
        if records.is_empty() {
            return Err(LookupError::NoRecords { dnssec });
        }
        Ok(RoutedHost { owner, name_status, ..place.at(records, dnssec) })
    }

    fn is_ourselves(&self, host: &RoutedHost) -> bool {
        let own_name = host.name.parse() == Ok(self.site.config.hostname.clone());
        host.sockets.iter().any(|next_hop| match &next_hop.at {
            Socket::Tcp(address) => {
                let same_port = self.own_addresses.iter().any(|own| own.port() == address.port());
                self.own_addresses.contains(address) || (own_name && same_port)
            }
            Socket::Unix(_) => false,
        })
    }
}

impl IpPreference {
    /// Puts the preferred family first; leaves the other out where only one is wanted. The order within a family stays.
    pub(crate) fn sort(self, addresses: &mut Vec<IpAddr>) {
        match self {
            Self::Ipv6First => addresses.sort_by_key(IpAddr::is_ipv4),
            Self::Ipv4First => addresses.sort_by_key(IpAddr::is_ipv6),
            Self::Ipv4Only => addresses.retain(IpAddr::is_ipv4),
            Self::Ipv6Only => addresses.retain(IpAddr::is_ipv6),
        }
    }
}

/// A host before it was looked up.
#[derive(Clone, Copy)]
struct Place<'a> {
    name: &'a str,
    port: u16,
    implicit_tls: bool,
}

impl Place<'_> {
    fn at(self, addresses: Vec<IpAddr>, address_status: Dnssec) -> RoutedHost {
        let socket =
            |ip| NextHop { host: self.name.to_owned(), at: Socket::Tcp(SocketAddr::new(ip, self.port)) };
        RoutedHost {
            name: self.name.to_owned(),
            owner: self.name.to_owned(),
            port: self.port,
            implicit_tls: self.implicit_tls,
            name_status: Dnssec::Secure,
            address_status,
            sockets: addresses.into_iter().map(socket).collect(),
        }
    }
}

impl RoutedHost {
    fn on_this_machine(path: PathBuf) -> Self {
        let place = Place { name: "localhost", port: 0, implicit_tls: false };
        let next_hop = NextHop { host: place.name.to_owned(), at: Socket::Unix(path) };
        Self { sockets: vec![next_hop], ..place.at(Vec::new(), Dnssec::Insecure) }
    }

    /// Whether it is reached without any network.
    pub(crate) fn is_on_this_machine(&self) -> bool {
        self.sockets.iter().all(|next_hop| matches!(next_hop.at, Socket::Unix(_)))
    }

    /// Whether a certificate that proves its name proves that it is the host that was meant (RFC 8689 §4.2.1).
    pub(crate) fn has_proven_name(&self) -> bool {
        self.name_status == Dnssec::Secure
    }
}

impl Route {
    fn of(host: RoutedHost) -> Self {
        Self { hosts: vec![host], ..Self::default() }
    }
}

/// The walk through the groups of mail hosts.
struct Walk<'a> {
    router: Router<'a>,
    connector: &'a Connector,
    port: u16,
    /// The status of the MX answer.
    mx_status: Dnssec,
    route: Route,
    ourselves: Option<String>,
}

impl<'a> Walk<'a> {
    fn new(router: Router<'a>, connector: &'a Connector, port: u16, mx_status: Dnssec) -> Self {
        Self { router, connector, port, mx_status, route: Route::default(), ourselves: None }
    }

    /// Resolves a group of equals. `true` ends the walk: enough hosts, or this server is one of the group, so that
    /// hosts of this and any worse preference must not be tried (RFC 5321 §5.1).
    async fn resolve_group(&mut self, group: &[String]) -> bool {
        let mut of_group = Vec::new();
        for name in group {
            if self.route.hosts.len() + of_group.len() >= HOSTS_MOST {
                break;
            }
            let place = Place { name, port: self.port, implicit_tls: false };
            match self.router.resolve(self.connector, place, self.mx_status).await {
                Ok(host) => of_group.push(host),
                Err(error) if error.is_temporary() => self.route.unresolved.push((name.clone(), error)),
                Err(_) => {}
            }
        }
        if let Some(own) = of_group.iter().find(|host| self.router.is_ourselves(host)) {
            self.ourselves = Some(own.name.clone());
            return true;
        }
        self.route.hosts.extend(of_group);
        self.route.hosts.len() >= HOSTS_MOST
    }

    fn conclude(mut self, domain: &str, owner: String) -> Result<Route, NoHost> {
        if self.route.hosts.is_empty() {
            // A better host may be there once DNS answers; only then is it certain that we are the best.
            return Err(match (self.route.unresolved.first(), self.ourselves) {
                (Some((host, error)), _) => NoHost::Waits(unanswered(host, error)),
                (_, Some(host)) => failed(Reason::OwnHost(host)),
                _ => failed(Reason::NoSuchDomain),
            });
        }
        if self.mx_status == Dnssec::Secure {
            self.route.domain_names.push(domain.to_owned());
            self.route.domain_names.extend(Some(owner).filter(|owner| owner != domain));
        }
        Ok(self.route)
    }
}

/// `[192.0.2.1]` or `[IPv6:2001:db8::1]` as a destination (RFC 5321 §4.1.3).
fn address_literal(destination: &str) -> Option<IpAddr> {
    let inner = destination.strip_prefix('[')?.strip_suffix(']')?;
    inner.strip_prefix("IPv6:").or(Some(inner))?.parse().ok()
}

/// DNS does not say where a host is.
pub(super) fn unanswered(name: &str, error: &LookupError) -> Trouble {
    let mut trouble = Trouble::new(Step::Lookup, Reason::LookupFailed(format!("{name}: {error}")));
    if matches!(error, LookupError::Bogus(_)) {
        let failure = TlsFailure::new(TlsFault::Bogus, error.to_string());
        trouble.evidence_mut().fault = Some(failure.fault);
    }
    trouble
}

fn failed(reason: Reason) -> NoHost {
    NoHost::Fails(Trouble::new(Step::Lookup, reason))
}
