//! What the wizard for a certificate request proposes, and what it warns of.
//!
//! [`propose`] knows the configuration: the host name, and the names that its identities are for; and what the certificate that
//! there is was asked for with. [`concerns`] asks the DNS
//! whether people who type one of the names come out here. What it deliberately does not do: refuse anything; a name
//! that leads to a load balancer, or that will be published tomorrow, is as good as any.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;
use postern_dns::{LookupError, Resolver};
use postern_pki::{IdentityStore, Name, RequestDetails, Subject};

use super::request;
use crate::config::{Config, IdentitySource};

/// What could be asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// What the identity could be called.
    pub identity: String,
    /// Whom it is for, and its names: the host name first.
    pub details: RequestDetails,
}

/// Something about a name or an identity that is allowed but probably not meant.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Concern {
    /// The DNS knows no such host.
    Unknown(Name),
    /// The name leads to other machines.
    Elsewhere(Name, Vec<IpAddr>),
    /// The DNS did not answer.
    Unanswered(Name, String),
    /// Every listener with TLS shows other identities.
    Unused(String),
}

/// The proposal for an identity of this name, or for the one that the configuration suggests. One that has a certificate in the
/// store is proposed the same names again.
pub fn propose(config: &Config, store: &IdentityStore, identity: Option<&str>) -> Proposal {
    let host = config.hostname.to_string();
    let identity = identity.map_or_else(|| first_label(&host), str::to_owned);
    let listed = config.tls.identities.iter().find(|listed| listed.name == identity);
    let names = match listed.map(|listed| &listed.source) {
        Some(IdentitySource::Store { names, issuer: Some(_), .. }) => names.clone(),
        source => asked_before(store, &identity).unwrap_or_else(|| match source {
            Some(IdentitySource::Store { names, .. }) => names.clone(),
            _ => host.parse().into_iter().collect(),
        }),
    };
    let subject = Subject::named(&names.first().map_or(host, ToString::to_string));
    Proposal { identity, details: RequestDetails { subject, names } }
}

/// The names of the certificate that there is; `None` where there is none, or it bears none.
fn asked_before(store: &IdentityStore, identity: &str) -> Option<Vec<Name>> {
    let ask = request::again(store, identity, request::Earlier::Keep).ok()?;
    Some(ask.details.names).filter(|names| !names.is_empty())
}

/// What probably is not meant with this identity and these names.
pub(crate) async fn concerns(
    config: &Config,
    resolver: &dyn Resolver,
    identity: &str,
    names: &[Name],
) -> Vec<Concern> {
    let mut concerns = Vec::new();
    let here = own_addresses(config);
    for name in names {
        concerns.extend(doubt(resolver, name, &here).await);
    }
    if !is_shown_by_any(config, identity) {
        concerns.push(Concern::Unused(identity.to_owned()));
    }
    concerns
}

/// Whether people who type this name come out at one of our addresses.
async fn doubt(resolver: &dyn Resolver, name: &Name, here: &BTreeSet<IpAddr>) -> Option<Concern> {
    let Name::Dns(host) = name else { return None };
    if name.is_wildcard() {
        return None;
    }
    match resolver.addresses(host).await {
        Ok(answer) if answer.records.iter().any(|address| here.contains(address)) => None,
        Ok(answer) => Some(Concern::Elsewhere(name.clone(), answer.records)),
        Err(LookupError::NoSuchDomain { .. } | LookupError::NoRecords { .. }) => {
            Some(Concern::Unknown(name.clone()))
        }
        Err(error) => Some(Concern::Unanswered(name.clone(), error.to_string())),
    }
}

/// The addresses of this machine, and those that listeners name.
fn own_addresses(config: &Config) -> BTreeSet<IpAddr> {
    let bound =
        config.listeners.iter().flat_map(|listener| listener.bind.iter().map(std::net::SocketAddr::ip));
    let mut own: BTreeSet<IpAddr> = bound.filter(|address| !address.is_unspecified()).collect();
    for interface in getifaddrs().into_iter().flatten() {
        let Some(address) = interface.address else { continue };
        let v4 = address.as_sockaddr_in().map(|socket| IpAddr::V4(socket.ip()));
        own.extend(v4.or_else(|| address.as_sockaddr_in6().map(|socket| IpAddr::V6(socket.ip()))));
    }
    own
}

/// Whether any listener shows it. One that names no identities shows all.
fn is_shown_by_any(config: &Config, identity: &str) -> bool {
    let shows = |names: &Vec<String>| names.is_empty() || names.iter().any(|name| name == identity);
    config.listeners.iter().any(|listener| shows(&listener.identities))
}

/// `mail` for `mail.example.org`: short enough to be typed.
fn first_label(host: &str) -> String {
    host.split('.').next().filter(|label| !label.is_empty()).unwrap_or("mail").to_owned()
}

impl fmt::Display for Concern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => {
                write!(
                    f,
                    "{name}: the DNS knows no such host; publish its address, or mail programs cannot find it"
                )
            }
            Self::Elsewhere(name, addresses) => {
                let addresses: Vec<String> = addresses.iter().take(4).map(ToString::to_string).collect();
                let addresses = addresses.join(", ");
                write!(
                    f,
                    "{name}: leads to {addresses}, none of which is an address of this machine; \
                     that is right behind a load balancer or address translation, else correct the DNS"
                )
            }
            Self::Unanswered(name, why) => write!(f, "{name}: it could not be asked where it leads: {why}"),
            Self::Unused(identity) => write!(
                f,
                "no listener shows the identity \"{identity}\"; bind it with: postern cert assign {identity} --listener NAME"
            ),
        }
    }
}
