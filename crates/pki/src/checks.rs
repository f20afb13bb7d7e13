//! Every check of a peer's certificate by itself, for people who want to know all that is wrong with it.
//!
//! [`judge`](crate::judge) stops at the first trouble of each proof, as a connection must; [`all`] goes on, so that a
//! certificate that has expired *and* bears another name is said to do both. Each [`Check`] is independent of the others: the
//! chain is looked at as if the certificate were in force.
//!
//! What it deliberately does not do: decide anything. What a connection is worth only `judge` says.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use postern_smtp::tls::{TlsFailure, TlsFault};
use rustls::RootCertStore;
use rustls_pki_types::UnixTime;

use crate::certificate::{Certificate, Life};
use crate::judge::{
    NO_ROOTS, Shown, distrusted, fault, lead_to, long_enough, match_name, out_of_date, pinned, weak_signature,
};
use crate::{PeerPolicy, dane};

/// One check and its verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub about: Aspect,
    /// Whether it is well; if not, why not.
    pub result: Result<(), TlsFailure>,
}

/// What is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aspect {
    /// Whether it bears the host's own name; what else counts under DANE is part of that check.
    Name,
    /// Whether it is in force.
    Dates,
    /// Whether its key is long enough.
    Key,
    /// Whether it is signed by a sound digest.
    Signature,
    /// Whether its chain leads to a trusted authority.
    Chain,
    /// Whether a TLSA record matches.
    Dane,
    /// Whether a pin matches.
    Pins,
    /// Whether the administrator will not have it.
    Distrust,
    /// Whether the private key is its own. Only who has the key can ask.
    Fit,
    /// Whether it may be used for what it is to be used for.
    Purpose,
}

/// All checks that the policy gives the means for.
pub(crate) fn all(policy: &PeerPolicy, roots: &RootCertStore, shown: &Shown<'_>) -> Vec<Check> {
    let leaf = Certificate::new(shown.leaf);
    let mut checks = vec![
        Check { about: Aspect::Name, result: match_name(&Shown { names: &[], ..*shown }) },
        Check { about: Aspect::Dates, result: in_force(&leaf, shown) },
        Check { about: Aspect::Key, result: long_enough(shown) },
        Check { about: Aspect::Signature, result: weak_signature(&leaf).map_or(Ok(()), Err) },
        Check { about: Aspect::Chain, result: known(&leaf, roots, shown) },
    ];
    if !policy.tlsa.is_empty() {
        checks.push(Check { about: Aspect::Dane, result: dane::prove(&policy.tlsa, shown) });
    }
    if !policy.pins.is_empty() {
        checks.push(Check { about: Aspect::Pins, result: pinned(&policy.pins, shown) });
    }
    if !policy.distrust.is_empty() {
        let result = distrusted(&policy.distrust, shown).map_or(Ok(()), Err);
        checks.push(Check { about: Aspect::Distrust, result });
    }
    checks
}

fn in_force(leaf: &Certificate<'_>, shown: &Shown<'_>) -> Result<(), TlsFailure> {
    match leaf.life(shown.now) {
        Life::InForce => Ok(()),
        Life::NotBegun(_) | Life::Over(_) => Err(out_of_date(shown)),
    }
}

/// Whether the chain leads to a trusted root, at a moment when the certificate is in force.
pub(crate) fn known(
    leaf: &Certificate<'_>,
    roots: &RootCertStore,
    shown: &Shown<'_>,
) -> Result<(), TlsFailure> {
    if roots.is_empty() {
        return Err(TlsFailure::new(TlsFault::OurTrust, NO_ROOTS));
    }
    let shown = Shown { now: in_its_life(leaf, shown.now), ..*shown };
    lead_to(roots, &shown).map_err(|error| fault(&error, &shown))
}

/// The moment in the certificate's life that is nearest to this one.
pub(crate) fn in_its_life(leaf: &Certificate<'_>, now: UnixTime) -> UnixTime {
    match leaf.life(now) {
        Life::InForce => now,
        Life::NotBegun(moment) | Life::Over(moment) => unix(moment),
    }
}

/// A time as the TLS library takes it.
pub(crate) fn unix(moment: Timestamp) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(moment.as_second()).unwrap_or(0)))
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "name",
            Self::Dates => "dates",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Chain => "chain",
            Self::Dane => "dane",
            Self::Pins => "pins",
            Self::Distrust => "distrust",
            Self::Fit => "fit",
            Self::Purpose => "purpose",
        })
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
    use rustls_pki_types::{CertificateDer, ServerName};

    use super::*;

    fn root() -> CertifiedIssuer<'static, KeyPair> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
    }

    /// The aspects of a certificate for `mx.example.net` that are not well, in 2026.
    fn wrong(host: &str, end: i32, trusted: bool) -> Vec<Aspect> {
        let issuer = root();
        let mut params = CertificateParams::new(["mx.example.net".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2015, 1, 1), date_time_ymd(end, 1, 1));
        let leaf: CertificateDer<'_> =
            params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap().der().clone();
        let mut roots = RootCertStore::empty();
        let other = root();
        roots.add(if trusted { issuer.der().clone() } else { other.der().clone() }).unwrap();
        let host = ServerName::try_from(host.to_owned()).unwrap();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(1_790_000_000));
        let shown = Shown { leaf: &leaf, others: &[], host: Some(&host), names: &[], now };
        let checks = all(&PeerPolicy::default(), &roots, &shown);
        assert_eq!(checks.len(), 5);
        checks.into_iter().filter(|check| check.result.is_err()).map(|check| check.about).collect()
    }

    #[test]
    fn a_good_certificate_passes_every_check() {
        assert_eq!(wrong("mx.example.net", 2040, true), []);
    }

    #[test]
    fn each_trouble_is_told_though_another_comes_first() {
        assert_eq!(wrong("mx.example.net", 2020, true), [Aspect::Dates]);
        assert_eq!(wrong("other.example.net", 2020, true), [Aspect::Name, Aspect::Dates]);
        assert_eq!(wrong("other.example.net", 2020, false), [Aspect::Name, Aspect::Dates, Aspect::Chain]);
    }
}
