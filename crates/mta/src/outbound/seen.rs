//! What a session came to, as the TLS reports count it (RFC 8460 §4.4).
//!
//! [`session`] holds one session against each policy that its destination publishes: the TLSA records of the host, the
//! MTA-STS policy of the domain, or neither. A session that failed for reasons that have nothing to do with TLS is not
//! counted. What it deliberately does not do: count, keep or send anything.

use std::net::IpAddr;

use postern_dns::mta_sts::Mode;
use postern_smtp::outcome::Outcome;
use postern_smtp::tls::{FaultKind, Proof, TlsFacts, TlsFailure, TlsFault};

use super::Live;
use super::dane::Dane;
use super::plan::PlannedHost;
use super::route::{NextHop, Socket};
use crate::policy::mta_sts::Found;
use crate::policy::tls_results::{PolicyApplied, PolicyResult, SessionSeen};

/// How a session began.
pub(crate) enum SessionEnd {
    /// With TLS.
    Encrypted(TlsFacts),
    /// Without, or not at all, because of this.
    Failed(TlsFailure),
}

/// Where a session was.
pub(crate) struct Whereabouts<'a> {
    pub(crate) domain: &'a str,
    pub(crate) host: &'a PlannedHost,
    pub(crate) next_hop: Option<&'a NextHop>,
    pub(crate) local: Option<IpAddr>,
}

impl SessionEnd {
    /// What TLS came to; `None` when it did not come so far. `fallen` is why a session is in clear although TLS was tried.
    pub(crate) fn of(opened: &Result<Live, Outcome>, fallen: Option<TlsFailure>) -> Option<Self> {
        match opened {
            Ok(live) => Some(match live.facts() {
                Some(facts) => Self::Encrypted(facts.clone()),
                None => Self::Failed(fallen.unwrap_or_else(TlsFailure::not_offered)),
            }),
            Err(outcome) => {
                let trouble = outcome.trouble()?;
                let fault = trouble.fault().filter(|fault| !is_our_own_affair(*fault))?;
                Some(Self::Failed(TlsFailure::new(fault, trouble.reason.to_string())))
            }
        }
    }

    fn proves(&self, proof: Proof, otherwise: TlsFault) -> Result<(), TlsFailure> {
        match self {
            Self::Encrypted(facts) if facts.peer.given.contains(proof) => Ok(()),
            Self::Encrypted(facts) => Err(facts.peer.doubt().cloned().unwrap_or_else(|| {
                TlsFailure::new(otherwise, "the server's certificate does not prove who it is")
            })),
            Self::Failed(failure) => Err(failure.clone()),
        }
    }
}

/// What only our own configuration, or the message's sender, has an objection to: no business of the domain's.
fn is_our_own_affair(fault: TlsFault) -> bool {
    let demanded_here = [TlsFault::PinMismatch, TlsFault::Revoked, TlsFault::NoTlsa, TlsFault::InsecureName];
    fault.kind() == FaultKind::Ours || fault == TlsFault::NoRequireTls || demanded_here.contains(&fault)
}

/// One session, held against every policy there is.
pub(crate) fn session(at: &Whereabouts<'_>, sts: &Found, end: &SessionEnd) -> SessionSeen {
    let mut policies: Vec<PolicyResult> = of_dane(at.host, end).into_iter().collect();
    policies.extend(of_sts(at.host, sts, end));
    if policies.is_empty() {
        let result = match end {
            SessionEnd::Encrypted(_) => Ok(()),
            // Nobody but us demanded a proof: the domain's TLS did work.
            SessionEnd::Failed(failure) if failure.fault.kind() == FaultKind::Certificate => Ok(()),
            SessionEnd::Failed(failure) => Err(failure.clone()),
        };
        policies.push(PolicyResult { policy: PolicyApplied::NoPolicy, result });
    }
    let peer = at.next_hop.and_then(|next_hop| match &next_hop.at {
        Socket::Tcp(address) => Some(address.ip()),
        Socket::Unix(_) => None,
    });
    SessionSeen {
        domain: at.domain.to_owned(),
        policies,
        host: at.host.host.name.clone(),
        peer,
        local: at.local,
    }
}

fn of_dane(host: &PlannedHost, end: &SessionEnd) -> Option<PolicyResult> {
    let (records, result) = match &host.dane {
        Dane::Nothing => return None,
        Dane::Records { records, .. } => {
            let records = records.iter().map(ToString::to_string).collect();
            (records, end.proves(Proof::Dane, TlsFault::DaneMismatch))
        }
        Dane::Unusable(why) => (Vec::new(), Err(TlsFailure::new(TlsFault::TlsaUnusable, why.clone()))),
        Dane::Barred(failure) => (Vec::new(), Err(failure.clone())),
    };
    Some(PolicyResult { policy: PolicyApplied::Tlsa(records), result })
}

fn of_sts(host: &PlannedHost, sts: &Found, end: &SessionEnd) -> Option<PolicyResult> {
    let nothing = || PolicyApplied::Sts { lines: Vec::new(), mx: Vec::new() };
    let Some(policy) = sts.policy().filter(|policy| policy.mode != Mode::None) else {
        let result = Err(sts.failure()?);
        return Some(PolicyResult { policy: nothing(), result });
    };
    let allowed = policy.allows(&host.host.name);
    let outside = || TlsFailure::new(TlsFault::NotInPolicy, "the host is not in the policy");
    let result = if allowed { end.proves(Proof::Verified, TlsFault::UnknownIssuer) } else { Err(outside()) };
    let mx = policy.mx.iter().map(ToString::to_string).collect();
    Some(PolicyResult { policy: PolicyApplied::Sts { lines: policy.lines(), mx }, result })
}
