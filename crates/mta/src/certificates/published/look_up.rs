//! Looking up what we have published, as the world sees it.
//!
//! [`look_up`] asks the DNS and our domains' policy hosts, many at once and within a time. What did not come is said to be
//! unanswered. The resolver should not be one that remembers from before the last change: make a new one.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join;
use futures_util::stream;
use postern_dns::mta_sts::policy_domain;
use postern_dns::tlsa::tlsa_name;
use postern_dns::{Dnssec, LookupError, MailHosts, Resolver, mail_hosts};
use tokio::time::{Instant, timeout_at};

use super::{Facts, Place, PolicyFound, StsFacts, TlsaFound};
use crate::https::{Https, HttpsError};
use crate::policy::mta_sts::{StsFault, StsOptions, announced};

/// So much is asked at the same time.
const AT_ONCE: usize = 16;

/// Whom to ask, and how long it may take.
pub struct Asking<'a> {
    /// For names.
    pub resolver: &'a dyn Resolver,
    /// For policies.
    pub https: &'a Https,
    /// How policies are fetched.
    pub options: StsOptions,
    /// For all of it.
    pub time: Duration,
}

/// What is published at these places and for these domains of ours.
///
/// # Cancel safety
/// May be dropped at any time.
pub async fn look_up(asking: &Asking<'_>, places: &[Place], domains: &[String]) -> Facts {
    let until = Instant::now() + asking.time;
    let tlsa: Vec<_> = places.iter().map(|place| tlsa_at(asking, place, until)).collect();
    let mta_sts: Vec<_> = domains.iter().map(|domain| sts_of(asking, domain, places, until)).collect();
    let tlsa = stream::iter(tlsa).buffered(AT_ONCE).collect();
    let mta_sts = stream::iter(mta_sts).buffered(AT_ONCE).collect();
    let (tlsa, mta_sts) = join(tlsa, mta_sts).await;
    Facts { tlsa, mta_sts }
}

async fn tlsa_at(asking: &Asking<'_>, place: &Place, until: Instant) -> (Place, TlsaFound) {
    let found = timeout_at(until, records(asking.resolver, place)).await;
    let found = found.unwrap_or_else(|_| Err(late()));
    let found = found.unwrap_or_else(|error| TlsaFound::Unanswered(error.to_string()));
    (place.clone(), found)
}

/// RFC 7672 §2.2.2: where the host's aliases lead comes first, then the host's own name.
async fn records(resolver: &dyn Resolver, place: &Place) -> Result<TlsaFound, LookupError> {
    let mut bases = vec![place.host.clone()];
    match resolver.addresses(&place.host).await {
        Ok(answer) if answer.came_by_alias(&place.host) && answer.dnssec != Dnssec::Insecure => {
            bases.insert(0, answer.owner);
        }
        Err(error) if error.is_temporary() => return Err(error),
        Ok(_) | Err(_) => {}
    }
    let mut unsigned = TlsaFound::Nothing;
    for base in bases {
        let name = tlsa_name(place.port, &base);
        match resolver.tlsa(&name).await {
            Ok(answer) => {
                let found = TlsaFound::Records { name, records: answer.records, dnssec: answer.dnssec };
                if answer.dnssec != Dnssec::Insecure {
                    return Ok(found);
                }
                unsigned = found;
            }
            Err(error) if error.is_negative() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(unsigned)
}

async fn sts_of(asking: &Asking<'_>, domain: &str, places: &[Place], until: Instant) -> StsFacts {
    let policy = timeout_at(until, policy(asking, domain)).await;
    let policy = policy.unwrap_or_else(|_| PolicyFound::Unanswered(late().to_string()));
    let hosts = match policy {
        PolicyFound::Policy(_) => timeout_at(until, hosts(asking.resolver, domain, places)).await,
        PolicyFound::Nothing | PolicyFound::Broken(_) | PolicyFound::Unanswered(_) => Ok(Ok(Vec::new())),
    };
    let hosts = hosts.unwrap_or_else(|_| Err(late())).map_err(|error| format!("MX records: {error}"));
    StsFacts { domain: domain.to_owned(), policy, hosts }
}

async fn policy(asking: &Asking<'_>, domain: &str) -> PolicyFound {
    let Some(domain) = policy_domain(domain) else { return PolicyFound::Nothing };
    match announced(asking.resolver, asking.https, &domain, &asking.options).await {
        Ok(None) => PolicyFound::Nothing,
        Ok(Some(policy)) => PolicyFound::Policy(policy),
        Err(fault) if may_pass(&fault) => PolicyFound::Unanswered(fault.to_string()),
        Err(fault) => PolicyFound::Broken(fault.to_string()),
    }
}

/// Whether it may be only the moment. What is wrong with the policy host's certificate is not: it may be the very one that is
/// about to be replaced.
fn may_pass(fault: &StsFault) -> bool {
    match fault {
        StsFault::Unread(_) | StsFault::Lookup(_) => true,
        StsFault::Fetch(error) => {
            !matches!(error, HttpsError::Certificate { .. } | HttpsError::BadUrl { .. })
        }
        StsFault::Status(status) => *status >= 500,
        StsFault::Record(_) | StsFault::MediaType(_) | StsFault::Policy(_) => false,
    }
}

/// Those of our hosts that take the domain's mail, at port 25.
async fn hosts(resolver: &dyn Resolver, domain: &str, places: &[Place]) -> Result<Vec<String>, LookupError> {
    let is_ours = |host: &str| places.iter().any(|place| place.port == 25 && place.host == host);
    // In which order does not matter.
    let found = match mail_hosts(domain, resolver.mx(domain).await, |_| 0) {
        Ok(route) => match route.hosts {
            MailHosts::Hosts(groups) => groups.concat(),
            MailHosts::NullMx => Vec::new(),
            MailHosts::Implicit(host) => vec![host.to_ascii_lowercase()],
        },
        Err(error) if error.is_negative() => Vec::new(),
        Err(error) => return Err(error),
    };
    Ok(found.into_iter().filter(|host| is_ours(host)).collect())
}

fn late() -> LookupError {
    LookupError::Temporary("no answer in time".to_owned())
}
