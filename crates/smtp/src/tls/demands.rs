//! Who demanded what of a connection, kept beside what it comes to.
//!
//! The types to know: [`Demands`], all that hold for one connection; [`Demand`], one of them; and [`Source`], whose it is.
//! A connection is held against the join of all ([`Demands::requirement`]). The sources are for people: they tell who
//! could lower a demand, an administrator here ([`Source::is_ours`]) or only the other side.
//!
//! What it deliberately does not do: look demands up, or let a later one weaken an earlier one.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::TlsRequirement;

/// The demands that hold for a connection, each with its source. What must be true is their join.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Demands(Vec<Demand>);

/// One demand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demand {
    /// What is demanded.
    pub requirement: TlsRequirement,
    /// By whom.
    pub source: Source,
}

/// Where a demand comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// `[outbound]`: for all mail.
    AllMail,
    /// The connector of this name.
    Connector(String),
    /// The `[[outbound.policy]]` for this address space.
    AddressSpace(String),
    /// The TLSA records of this host (RFC 7672).
    Dane(String),
    /// The published policy of this domain (RFC 8461).
    MtaSts(String),
    /// The message's sender (RFC 8689).
    RequireTls,
}

impl Demands {
    /// One demand.
    pub fn one(requirement: TlsRequirement, source: Source) -> Self {
        Self(vec![Demand { requirement, source }])
    }

    /// Adds a demand. It can only strengthen what is demanded already.
    pub fn add(&mut self, requirement: TlsRequirement, source: Source) {
        self.0.push(Demand { requirement, source });
    }

    /// With one more demand.
    #[must_use]
    pub fn with(mut self, requirement: TlsRequirement, source: Source) -> Self {
        self.add(requirement, source);
        self
    }

    /// What satisfies all of them.
    pub fn requirement(&self) -> TlsRequirement {
        self.0.iter().fold(TlsRequirement::NONE, |joined, demand| joined.join(demand.requirement))
    }

    /// The demands in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Demand> {
        self.0.iter()
    }

    /// Whether nobody demands anything.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Source {
    /// The setting of ours that says it. `None` where the destination or the sender demands it: then only they can
    /// lower it.
    pub fn setting(&self) -> Option<String> {
        match self {
            Self::AllMail => Some("tls in [outbound]".to_owned()),
            Self::Connector(name) => Some(format!("tls of connector \"{name}\"")),
            Self::AddressSpace(space) => Some(format!("tls in the [[outbound.policy]] for {space}")),
            Self::Dane(_) | Self::MtaSts(_) | Self::RequireTls => None,
        }
    }

    /// Whether an administrator of this machine demands it.
    pub fn is_ours(&self) -> bool {
        self.setting().is_some()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AllMail => f.write_str("[outbound] for all mail"),
            Self::Connector(name) => write!(f, "connector \"{name}\""),
            Self::AddressSpace(space) => write!(f, "[[outbound.policy]] for {space}"),
            Self::Dane(host) => write!(f, "DANE: the TLSA records of {host}"),
            Self::MtaSts(domain) => write!(f, "the MTA-STS policy of {domain}"),
            Self::RequireTls => f.write_str("the sender, by REQUIRETLS"),
        }
    }
}

impl fmt::Display for Demand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.requirement, self.source)
    }
}

/// All of them in one line.
impl fmt::Display for Demands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(Demand::to_string).collect();
        f.write_str(&words.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_demanded_what_is_kept_beside_the_join() {
        let demands = Demands::one(TlsRequirement::OPPORTUNISTIC, Source::Connector("mx".into()))
            .with(TlsRequirement::DANE, Source::Dane("mx.example.net".into()))
            .with(TlsRequirement::VERIFIED, Source::MtaSts("example.net".into()));
        assert_eq!(demands.requirement().to_string(), "verified+dane");
        assert_eq!(
            demands.to_string(),
            "opportunistic by connector \"mx\", dane by DANE: the TLSA records of mx.example.net, \
             verified by the MTA-STS policy of example.net"
        );
    }

    #[test]
    fn what_others_publish_or_ask_for_is_not_ours() {
        let name = || "partner.example".to_owned();
        for ours in [Source::AllMail, Source::Connector(name()), Source::AddressSpace(name())] {
            assert!(ours.is_ours(), "{ours}");
        }
        for theirs in [Source::Dane(name()), Source::MtaSts(name()), Source::RequireTls] {
            assert!(!theirs.is_ours(), "{theirs}");
        }
    }

    #[test]
    fn no_demand_demands_nothing() {
        assert_eq!(Demands::default().requirement(), TlsRequirement::NONE);
    }
}
