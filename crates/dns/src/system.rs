//! Lookups without DNSSEC at real name servers, over hickory-resolver.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::lookup::Lookup;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::rr::{Name, RData, RecordType};

use crate::families::both_families;
use crate::open::Options;
use crate::{Answer, Dnssec, LookupError, Mx, Resolver, TlsaRecord};

/// Nobody checks.
const UNCHECKED: Dnssec = Dnssec::Indeterminate;

/// Aliases followed before a chain counts as endless.
const MAX_ALIASES: usize = 16;

/// Asks the system's or given name servers, and remembers answers for as long as they hold.
///
/// Nothing is validated, so every answer says [`Dnssec::Indeterminate`]. `/etc/hosts` is honoured for addresses.
#[derive(Clone)]
pub struct SystemResolver {
    resolver: TokioResolver,
}

impl SystemResolver {
    /// A resolver as the options say, whatever they say of DNSSEC. Call it from within a tokio runtime.
    ///
    /// # Errors
    /// [`LookupError::Temporary`] when the system's configuration cannot be read.
    pub fn new(options: &Options) -> Result<Self, LookupError> {
        let resolver = build(options).map_err(|error| LookupError::Temporary(error.to_string()))?;
        Ok(Self { resolver })
    }

    async fn lookup<T>(
        &self,
        name: Name,
        kind: RecordType,
        pick: fn(&RData) -> Option<T>,
    ) -> Result<Answer<Vec<T>>, LookupError> {
        let lookup = self.resolver.lookup(name.clone(), kind).await.map_err(|error| explain(&error))?;
        select(&lookup, name, kind, pick)
    }
}

#[async_trait]
impl Resolver for SystemResolver {
    async fn mx(&self, domain: &str) -> Result<Answer<Vec<Mx>>, LookupError> {
        let pick = |data: &RData| match data {
            RData::MX(mx) => Some(Mx { preference: mx.preference, exchange: host_text(&mx.exchange) }),
            _ => None,
        };
        self.lookup(absolute(domain)?, RecordType::MX, pick).await
    }

    async fn addresses(&self, host: &str) -> Result<Answer<Vec<IpAddr>>, LookupError> {
        let name = absolute(host)?;
        let (six, four) = future::join(
            self.lookup(name.clone(), RecordType::AAAA, RData::ip_addr),
            self.lookup(name, RecordType::A, RData::ip_addr),
        )
        .await;
        both_families(six, four)
    }

    async fn ptr(&self, address: IpAddr) -> Result<Answer<Vec<String>>, LookupError> {
        let pick = |data: &RData| match data {
            RData::PTR(name) => Some(host_text(name)),
            _ => None,
        };
        let mut name = Name::from(address);
        name.set_fqdn(true);
        self.lookup(name, RecordType::PTR, pick).await
    }

    async fn txt(&self, name: &str) -> Result<Answer<Vec<String>>, LookupError> {
        let pick = |data: &RData| match data {
            RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
            _ => None,
        };
        self.lookup(absolute(name)?, RecordType::TXT, pick).await
    }

    async fn tlsa(&self, name: &str) -> Result<Answer<Vec<TlsaRecord>>, LookupError> {
        let pick = |data: &RData| match data {
            RData::TLSA(tlsa) => Some(TlsaRecord {
                usage: tlsa.cert_usage.into(),
                selector: tlsa.selector.into(),
                matching: tlsa.matching.into(),
                data: tlsa.cert_data.clone(),
            }),
            _ => None,
        };
        self.lookup(absolute(name)?, RecordType::TLSA, pick).await
    }

    async fn alias(&self, name: &str) -> Result<Answer<String>, LookupError> {
        let pick = |data: &RData| match data {
            RData::CNAME(target) => Some(host_text(&target.0)),
            _ => None,
        };
        let Answer { records, owner, dnssec, ttl } =
            self.lookup(absolute(name)?, RecordType::CNAME, pick).await?;
        let target = records.into_iter().next().ok_or(LookupError::NoRecords { dnssec })?;
        Ok(Answer { records: target, owner, dnssec, ttl })
    }
}

fn build(options: &Options) -> Result<TokioResolver, NetError> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = if options.servers.is_empty() {
        TokioResolver::builder(provider)?
    } else {
        let servers = options.servers.iter().copied().map(name_server).collect();
        TokioResolver::builder_with_config(ResolverConfig::from_name_servers(servers), provider)
    };
    configure(builder.options_mut(), options.timeout);
    builder.build()
}

fn name_server(address: SocketAddr) -> NameServerConfig {
    let at_port = |mut connection: ConnectionConfig| {
        connection.port = address.port();
        connection
    };
    let connections = vec![at_port(ConnectionConfig::udp()), at_port(ConnectionConfig::tcp())];
    NameServerConfig::new(address.ip(), true, connections)
}

fn configure(resolver: &mut ResolverOpts, timeout: Option<Duration>) {
    if let Some(timeout) = timeout {
        resolver.timeout = timeout;
    }
    // A lost datagram is asked again, and a path that loses large ones is left for TCP.
    resolver.try_tcp_on_error = true;
    resolver.edns0 = true;
    // The aliases that led to an answer are needed to tell its owner (see `select`).
    resolver.preserve_intermediates = true;
}

/// The name as DNS wants it: absolute, so that no search domain is ever appended.
fn absolute(name: &str) -> Result<Name, LookupError> {
    let bad = || LookupError::BadName(name.chars().filter(|c| !c.is_control()).take(255).collect());
    if name.is_empty() || name == "." || !name.is_ascii() {
        return Err(bad());
    }
    let mut absolute = Name::from_ascii(name).map_err(|_| bad())?;
    absolute.set_fqdn(true);
    Ok(absolute)
}

fn host_text(name: &Name) -> String {
    let text = name.to_lowercase().to_ascii();
    match text.strip_suffix('.') {
        Some(host) if !host.is_empty() => host.to_owned(),
        _ => text,
    }
}

/// The records of the wanted kind that belong to the name asked for, or to what it is an alias of.
///
/// Answers out of the cache may hold other records too: asking for an alias' target once gave the alias as well.
fn select<T>(
    lookup: &Lookup,
    name: Name,
    kind: RecordType,
    pick: fn(&RData) -> Option<T>,
) -> Result<Answer<Vec<T>>, LookupError> {
    let mut owner = name;
    let mut ttl = u32::MAX;
    for _ in 0..MAX_ALIASES {
        let own = || lookup.answers().iter().filter(|record| record.name == owner);
        let wanted = own().filter(|record| record.record_type() == kind);
        let shortest = wanted.clone().map(|record| record.ttl).min();
        let records: Vec<T> = wanted.filter_map(|record| pick(&record.data)).collect();
        if !records.is_empty() {
            let seconds = u64::from(ttl.min(shortest.unwrap_or(ttl)));
            let ttl = Duration::from_secs(seconds);
            return Ok(Answer { records, owner: host_text(&owner), dnssec: UNCHECKED, ttl });
        }
        let alias = own().find_map(|record| match &record.data {
            RData::CNAME(target) => Some((target.0.clone(), record.ttl)),
            _ => None,
        });
        let Some((target, alias_ttl)) = alias else {
            return Err(LookupError::NoRecords { dnssec: UNCHECKED });
        };
        ttl = ttl.min(alias_ttl);
        owner = target;
    }
    Err(LookupError::Temporary("an endless chain of aliases".to_owned()))
}

fn explain(error: &NetError) -> LookupError {
    if error.is_nx_domain() {
        return LookupError::NoSuchDomain { dnssec: UNCHECKED };
    }
    match error {
        NetError::Dns(DnsError::NoRecordsFound(_)) => LookupError::NoRecords { dnssec: UNCHECKED },
        NetError::Dns(DnsError::ResponseCode(code)) => {
            LookupError::Temporary(format!("the name server answered: {code}"))
        }
        NetError::Timeout => LookupError::Temporary("the name server did not answer in time".to_owned()),
        NetError::NoConnections => LookupError::Temporary("no name server could be reached".to_owned()),
        other => LookupError::Temporary(other.to_string()),
    }
}
