//! What we have published about our own certificates, and whether a new chain would keep to it.
//!
//! A TLSA record of ours (RFC 7672) or an MTA-STS policy (RFC 8461) tells the world what to expect of our hosts. A chain that
//! breaks such a promise costs mail, so this is asked before it is installed. The types to know:
//! - [`places`]: under which names and ports an identity will be seen. [`look_up`]: what is published there, as [`Facts`].
//! - [`judge`]: the facts held against a chain, pure. [`Published`] says for each promise whether the chain keeps it, and
//!   which records must be published first.
//! - [`compare`] does all of that for a configuration. [`Published::findings`] is for those who install.
//! - [`tlsa_records`]: the records of a key, to be put into a zone.
//!
//! What cannot be looked up is unknown, and never counts as well.
//!
//! What it deliberately does not do: decide whether a chain is installed, publish anything, or judge a chain by itself (that is
//! `postern_pki::examine`).

mod compare;
mod look_up;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;

use jiff::Timestamp;
use postern_dns::mta_sts::{Mode, Policy};
use postern_dns::tlsa::{Matching, Selector, Tlsa, Usage, strongest, tlsa_name};
use postern_dns::{Dnssec, TlsaRecord};
use postern_pki::{Aspect, ClientTls, Finding, Name, Severity, fits_tlsa, tlsa_of_key};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

use crate::config::{Config, Greets, Listener, Role};
use crate::ports::{SUBMISSION, SUBMISSIONS};

pub use compare::{New, compare};
pub use look_up::{Asking, look_up};

/// The time to live of the records that we propose, in seconds.
const TTL: u32 = 3600;

/// What to do where nobody knows.
const TRY_AGAIN: &str = "try again later, or insist on it if you know what is published";

/// A host and port where TLS clients will be shown the identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// In lower case without a last dot.
    pub host: String,
    /// As the world knows it: 25, 465 or 587.
    pub port: u16,
}

/// What is published, as it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// At each place.
    pub tlsa: Vec<(Place, TlsaFound)>,
    /// For each own domain.
    pub mta_sts: Vec<StsFacts>,
}

/// TLSA records, as they were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TlsaFound {
    /// There are none.
    Nothing,
    /// These, with the name that has them and how far DNSSEC vouches for them.
    Records {
        /// As in `_25._tcp.mail.example.org`.
        name: String,
        /// All of them.
        records: Vec<TlsaRecord>,
        /// What the resolver says.
        dnssec: Dnssec,
    },
    /// Nobody knows, and why.
    Unanswered(String),
}

/// What is known of MTA-STS for one own domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StsFacts {
    /// The domain.
    pub domain: String,
    /// Its policy.
    pub policy: PolicyFound,
    /// Those of our hosts that its mail comes to, by its MX records; or why they are not known.
    pub hosts: Result<Vec<String>, String>,
}

/// A policy, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PolicyFound {
    /// The domain announces none.
    Nothing,
    /// This one.
    Policy(Policy),
    /// One that nobody can use, and why.
    Broken(String),
    /// Nobody knows, and why.
    Unanswered(String),
}

/// What we have published, held against a chain.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// TLSA records, place by place.
    pub tlsa: Vec<TlsaState>,
    /// MTA-STS policies, domain by domain.
    pub mta_sts: Vec<StsState>,
}

/// The TLSA records of one place, held against a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TlsaState {
    /// The host.
    pub host: String,
    /// The port.
    pub port: u16,
    /// The records that mail can use, as in a zone file: `3 1 1 2bb1…`.
    pub records: Vec<String>,
    /// The others, and why not.
    pub unusable: Vec<String>,
    /// Whether the chain keeps to them.
    pub verdict: TlsaVerdict,
}

/// Whether a chain keeps to the TLSA records of one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TlsaVerdict {
    /// There are none.
    NotPublished,
    /// There are some in a zone without DNSSEC: nobody counts on them.
    NotSigned,
    /// There are none that mail can use: TLS is expected, and no certificate in particular.
    NoneUsable,
    /// It does.
    Kept,
    /// It does not: senders that check them will keep their mail.
    Contradicted {
        /// What they would find wrong.
        why: String,
        /// The records to publish beside the others before it is installed.
        first: Vec<String>,
    },
    /// Nobody knows.
    Unknown {
        /// Why.
        why: String,
    },
}

/// The MTA-STS policy of one domain, held against a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StsState {
    /// The domain.
    pub domain: String,
    /// Those of our hosts that its mail comes to.
    pub hosts: Vec<String>,
    /// Whether the chain keeps to it.
    pub verdict: StsVerdict,
}

/// Whether a chain keeps to an MTA-STS policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StsVerdict {
    /// The domain announces none.
    NotPublished,
    /// Its mode is `none`, or its mail comes by hosts that are not ours.
    NotConcerned,
    /// What is announced cannot be used by anybody.
    Broken {
        /// Why.
        why: String,
    },
    /// It does.
    Kept,
    /// It does not, but the policy is only being tested: senders report it and deliver.
    Reported {
        /// What they would find wrong, host by host.
        why: Vec<String>,
    },
    /// It does not: senders that honour the policy will keep their mail.
    Contradicted {
        /// What they would find wrong, host by host.
        why: Vec<String>,
    },
    /// Nobody knows.
    Unknown {
        /// Why.
        why: String,
    },
}

/// Where an identity will be seen that has these names: at every listener that shows it, under each of its host names, and
/// under our own host name if it is for that or is shown to those who ask for nothing else.
pub fn places(config: &Config, identity: &str, names: &[Name]) -> Vec<Place> {
    let own = plain(&config.hostname.to_ascii().unwrap_or_else(|_| config.hostname.to_string()));
    let shown_by = |listener: &&Listener| listener.may_show(identity);
    let mut places = BTreeSet::new();
    for listener in config.listeners.iter().filter(shown_by) {
        for port in ports(listener) {
            let hosts = names.iter().filter_map(host_of);
            places.extend(hosts.map(|host| Place { host, port }));
            if is_default(config, listener, identity) || names.iter().any(|name| is_wildcard_for(name, &own))
            {
                places.insert(Place { host: own.clone(), port });
            }
        }
    }
    places.into_iter().collect()
}

/// The ports at which the world knows such a listener, whatever it is bound to behind a router.
fn ports(listener: &Listener) -> BTreeSet<u16> {
    let known_as = |address: &SocketAddr| match (listener.role, listener.tls.greets(address.port())) {
        (Role::Relay, _) => 25,
        (Role::Device, _) => address.port(),
        (Role::Submission, Greets::AfterTls) => SUBMISSIONS,
        (Role::Submission, Greets::InClear) => SUBMISSION,
    };
    listener.bind.iter().map(known_as).collect()
}

/// Whether the listener shows this identity to clients that ask for no name of another one.
fn is_default(config: &Config, listener: &Listener, identity: &str) -> bool {
    let listed = config.tls.identities.first().map(|first| &first.name);
    listener.identities.first().or(listed).is_some_and(|first| first == identity)
}

fn host_of(name: &Name) -> Option<String> {
    match name {
        Name::Dns(host) if !host.starts_with("*.") => Some(plain(host)),
        _ => None,
    }
}

fn is_wildcard_for(name: &Name, host: &str) -> bool {
    let Name::Dns(pattern) = name else { return false };
    let behind = host.split_once('.').map(|(_, behind)| behind);
    pattern.strip_prefix("*.").is_some_and(|pattern| behind == Some(&*plain(pattern)))
}

fn plain(host: &str) -> String {
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// The TLSA records of a key, one for each port, to be put into the zone beside those that are there. `spki` is the public key
/// in DER, as certificates have it.
pub fn tlsa_records(host: &str, ports: &[u16], spki: &[u8]) -> Vec<String> {
    let tlsa = tlsa_of_key(spki, Matching::Sha256);
    ports.iter().map(|&port| zone_line(&tlsa_name(port, host), &tlsa)).collect()
}

fn zone_line(name: &str, tlsa: &Tlsa) -> String {
    format!("{name}. {TTL} IN TLSA {tlsa}")
}

/// Holds what was found against a chain, its own certificate first. `spki` is the chain's public key, `roots` has what the
/// operating system trusts, as senders that honour MTA-STS do.
pub fn judge(
    facts: &Facts,
    chain: &[CertificateDer<'_>],
    spki: &[u8],
    roots: &ClientTls,
    now: Timestamp,
) -> Published {
    let tlsa = facts.tlsa.iter().map(|(place, found)| judge_tlsa(place, found, chain, spki, now));
    let mta_sts = facts.mta_sts.iter().map(|facts| StsState {
        domain: facts.domain.clone(),
        hosts: facts.hosts.clone().unwrap_or_default(),
        verdict: judge_sts(facts, |host| {
            roots.verify(chain, host, now).map_err(|failure| format!("{host}: {}", failure.why))
        }),
    });
    Published { tlsa: tlsa.collect(), mta_sts: mta_sts.collect() }
}

fn judge_tlsa(
    place: &Place,
    found: &TlsaFound,
    chain: &[CertificateDer<'_>],
    spki: &[u8],
    now: Timestamp,
) -> TlsaState {
    let state = |records, unusable, verdict| {
        let Place { host, port } = place.clone();
        TlsaState { host, port, records, unusable, verdict }
    };
    let (name, records, dnssec) = match found {
        TlsaFound::Nothing => return state(Vec::new(), Vec::new(), TlsaVerdict::NotPublished),
        TlsaFound::Unanswered(why) => {
            return state(Vec::new(), Vec::new(), TlsaVerdict::Unknown { why: why.clone() });
        }
        TlsaFound::Records { name, records, dnssec } => (name, records, *dnssec),
    };
    let (mut usable, mut unusable) = (Vec::new(), Vec::new());
    for record in records {
        match record.usable() {
            Ok(tlsa) => usable.push(tlsa),
            Err(why) => unusable.push(format!("{record}: {why}")),
        }
    }
    let shown = usable.iter().map(ToString::to_string).collect();
    if dnssec == Dnssec::Insecure {
        return state(shown, unusable, TlsaVerdict::NotSigned);
    }
    // RFC 7671 §9: of several digests senders look at the best only.
    let counted = strongest(usable);
    let verdict = match fits_tlsa(&counted, chain, &place.host, now) {
        _ if counted.is_empty() => TlsaVerdict::NoneUsable,
        Ok(()) => TlsaVerdict::Kept,
        // Only signed records bind anybody, and here nobody can tell.
        Err(failure) if dnssec != Dnssec::Secure => {
            let why =
                format!("{}; whether the records are signed with DNSSEC cannot be told here", failure.why);
            TlsaVerdict::Unknown { why }
        }
        Err(failure) => {
            let first = vec![zone_line(name, &tlsa_of_key(spki, digest_beside(&counted)))];
            TlsaVerdict::Contradicted { why: failure.why, first }
        }
    };
    state(shown, unusable, verdict)
}

/// Which digest a new record must have to be looked at beside these.
fn digest_beside(counted: &[Tlsa]) -> Matching {
    let outdoes = |tlsa: &Tlsa| {
        (tlsa.usage, tlsa.selector, tlsa.matching) == (Usage::EndEntity, Selector::Spki, Matching::Sha512)
    };
    if counted.iter().any(outdoes) { Matching::Sha512 } else { Matching::Sha256 }
}

/// RFC 8461 §4.1: the policy must list the host, and its certificate must lead to a root that the sender trusts.
fn judge_sts(facts: &StsFacts, verify: impl Fn(&str) -> Result<(), String>) -> StsVerdict {
    let policy = match &facts.policy {
        PolicyFound::Nothing => return StsVerdict::NotPublished,
        PolicyFound::Broken(why) => return StsVerdict::Broken { why: why.clone() },
        PolicyFound::Unanswered(why) => return StsVerdict::Unknown { why: why.clone() },
        PolicyFound::Policy(policy) if policy.mode == Mode::None => return StsVerdict::NotConcerned,
        PolicyFound::Policy(policy) => policy,
    };
    let hosts = match &facts.hosts {
        Err(why) => return StsVerdict::Unknown { why: why.clone() },
        Ok(hosts) if hosts.is_empty() => return StsVerdict::NotConcerned,
        Ok(hosts) => hosts,
    };
    let listed = |host: &str| {
        let unlisted =
            || format!("{host}: no mx of the policy is for it; add it, then change the record's id");
        policy.allows(host).then_some(()).ok_or_else(unlisted)
    };
    let why: Vec<String> =
        hosts.iter().flat_map(|host| [listed(host), verify(host)]).filter_map(Result::err).collect();
    match policy.mode {
        _ if why.is_empty() => StsVerdict::Kept,
        Mode::Enforce => StsVerdict::Contradicted { why },
        Mode::Testing | Mode::None => StsVerdict::Reported { why },
    }
}

impl Published {
    /// Whether the chain breaks something that we have published: it must not be installed yet.
    pub fn is_contradicted(&self) -> bool {
        let tlsa = self.tlsa.iter().any(|state| matches!(state.verdict, TlsaVerdict::Contradicted { .. }));
        tlsa || self.mta_sts.iter().any(|state| matches!(state.verdict, StsVerdict::Contradicted { .. }))
    }

    /// Whether something could not be looked up, so that nobody knows whether the chain breaks it: it should be installed only
    /// if somebody insists.
    pub fn is_unknown(&self) -> bool {
        let tlsa = self.tlsa.iter().any(|state| matches!(state.verdict, TlsaVerdict::Unknown { .. }));
        tlsa || self.mta_sts.iter().any(|state| matches!(state.verdict, StsVerdict::Unknown { .. }))
    }

    /// The same for those who weigh a chain before its installation: what is contradicted speaks against it, and so does what
    /// nobody knows.
    pub fn findings(&self) -> Vec<Finding> {
        let tlsa = self.tlsa.iter().filter_map(TlsaState::finding);
        tlsa.chain(self.mta_sts.iter().filter_map(StsState::finding)).collect()
    }

    /// The records to publish before the chain is installed, as lines of a zone file.
    pub fn records_first(&self) -> Vec<String> {
        let mut lines = BTreeSet::new();
        for state in &self.tlsa {
            if let TlsaVerdict::Contradicted { first, .. } = &state.verdict {
                lines.extend(first.iter().cloned());
            }
        }
        lines.into_iter().collect()
    }

    /// What there is to say, a sentence each: of promises that are kept too, but not of what is not published at all.
    pub fn sentences(&self) -> Vec<String> {
        let tlsa = self.tlsa.iter().filter(|state| state.verdict != TlsaVerdict::NotPublished);
        let sts = self.mta_sts.iter().filter(|state| state.verdict != StsVerdict::NotPublished);
        let mut sentences: Vec<String> = tlsa.map(ToString::to_string).collect();
        sentences.extend(sts.map(ToString::to_string));
        let first = self.records_first();
        if !first.is_empty() {
            sentences.push(format!(
                "First publish beside the records that are there:\n{}\nThen wait twice the time to live of those, and install it again.",
                first.join("\n")
            ));
        }
        sentences
    }
}

impl TlsaState {
    fn finding(&self) -> Option<Finding> {
        let (severity, remedy) = match &self.verdict {
            TlsaVerdict::NotPublished => return None,
            TlsaVerdict::Kept if self.unusable.is_empty() => (Severity::Note, String::new()),
            TlsaVerdict::Kept => (Severity::Note, "delete the records that are not for mail".to_owned()),
            TlsaVerdict::NotSigned => (Severity::Note, "sign the zone, or delete the records".to_owned()),
            TlsaVerdict::NoneUsable => (Severity::Warn, "publish a record 3 1 1 of the key".to_owned()),
            TlsaVerdict::Contradicted { first, .. } => (
                Severity::Refuse,
                format!(
                    "publish {} beside the records that are there, wait twice the time to live of those, and install it \
                     again",
                    first.join(" and ")
                ),
            ),
            TlsaVerdict::Unknown { .. } => (Severity::Refuse, TRY_AGAIN.to_owned()),
        };
        Some(Finding { severity, about: Aspect::Dane, sentence: clause(self), remedy })
    }
}

impl StsState {
    fn finding(&self) -> Option<Finding> {
        let mend = "mend the policy or use a certificate of an authority that everybody trusts";
        let (severity, remedy) = match &self.verdict {
            StsVerdict::NotPublished | StsVerdict::NotConcerned => return None,
            StsVerdict::Kept => (Severity::Note, ""),
            StsVerdict::Broken { .. } => {
                (Severity::Warn, "mend the policy, or delete the record that announces it")
            }
            StsVerdict::Reported { .. } => (Severity::Warn, mend),
            StsVerdict::Contradicted { .. } => (Severity::Refuse, mend),
            StsVerdict::Unknown { .. } => (Severity::Refuse, TRY_AGAIN),
        };
        let (sentence, remedy) = (clause(self), remedy.to_owned());
        Some(Finding { severity, about: Aspect::Chain, sentence, remedy })
    }
}

/// Without its full stop, for a remedy follows.
fn clause(state: &impl fmt::Display) -> String {
    let mut text = state.to_string();
    text.truncate(text.trim_end_matches('.').len());
    text
}

impl fmt::Display for TlsaState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TLSA of {} port {}: ", self.host, self.port)?;
        match &self.verdict {
            TlsaVerdict::NotPublished => f.write_str("there are no records.")?,
            TlsaVerdict::NotSigned => f.write_str(
                "the zone is not signed with DNSSEC, so that nobody looks at the records; sign it, or delete them.",
            )?,
            TlsaVerdict::NoneUsable => {
                f.write_str("mail can use none of the records; senders demand TLS and check no certificate.")?;
            }
            TlsaVerdict::Kept => f.write_str("the certificate matches.")?,
            TlsaVerdict::Contradicted { why, .. } => {
                write!(f, "{why}; senders that check the records would keep their mail.")?;
            }
            TlsaVerdict::Unknown { why } => write!(f, "nobody knows whether the certificate matches: {why}.")?,
        }
        self.unusable.iter().try_for_each(|why| write!(f, " Not for mail: {why}."))
    }
}

impl fmt::Display for StsState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MTA-STS of {}: ", self.domain)?;
        match &self.verdict {
            StsVerdict::NotPublished => f.write_str("there is no policy."),
            StsVerdict::NotConcerned => f.write_str("the policy demands nothing of this certificate."),
            StsVerdict::Broken { why } => write!(f, "nobody can use the policy: {why}."),
            StsVerdict::Kept => f.write_str("the certificate is as the policy demands."),
            StsVerdict::Reported { why } => {
                write!(
                    f,
                    "{}; senders report it, and would keep their mail if the mode were enforce.",
                    why.join("; ")
                )
            }
            StsVerdict::Contradicted { why } => {
                write!(f, "{}; senders that honour the policy would keep their mail.", why.join("; "))
            }
            StsVerdict::Unknown { why } => {
                write!(f, "nobody knows whether the certificate is as the policy demands: {why}.")
            }
        }
    }
}
