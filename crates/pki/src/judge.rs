//! What a peer's certificate proves, by everything that it is judged by, and what exactly is wrong with it.
//!
//! - [`judge`] looks for each proof that the policy gives the means for (trusted roots, TLSA records, pins), whether or
//!   not it is demanded, and says what was given and what was wrong with the rest.
//! - [`Judgement::refusal`] is where the policy's demand is compared with what was given.
//! - [`fault`] tells apart what the TLS library calls by one name: a certificate signed by itself, one whose chain lacks a
//!   link, one of an authority that nobody knows.
//!
//! What it deliberately does not do: make the connection fail. That is the verifier's, in `client`.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postern_smtp::text::clean;
use postern_smtp::tls::{Level, Proof, Proofs, TlsFailure, TlsFault, TlsRequirement};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error as TlsError, RootCertStore};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::certificate::{Certificate, Life};
use crate::identity::{day, sha256};
use crate::{PeerPolicy, Pin, dane, describe};

/// So many links of a chain are looked at to say what is wrong with it. Real chains have two to four.
const LONGEST_CHAIN: usize = 16;
/// The longest explanation, in octets.
const LONGEST_WHY: usize = 600;

/// What a peer showed, and what it should have been.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    /// Its own certificate.
    pub(crate) leaf: &'a CertificateDer<'a>,
    /// What it showed besides, in its order.
    pub(crate) others: &'a [CertificateDer<'a>],
    /// The host that was connected to; a client has no name to match.
    pub(crate) host: Option<&'a ServerName<'a>>,
    /// Names that will do as well under DANE.
    pub(crate) names: &'a [String],
    /// The time of the handshake.
    pub(crate) now: UnixTime,
}

impl<'a> Shown<'a> {
    /// What a client showed.
    pub(crate) fn by_client(
        leaf: &'a CertificateDer<'a>,
        others: &'a [CertificateDer<'a>],
        now: UnixTime,
    ) -> Self {
        Self { leaf, others, host: None, names: &[], now }
    }
}

/// What a certificate is worth.
#[derive(Debug, Clone, Default)]
pub(crate) struct Judgement {
    /// The proofs that were given.
    pub(crate) given: Proofs,
    /// What was wrong with those that were not; about no particular proof when the certificate is distrusted.
    missing: Vec<(Option<Proof>, TlsFailure)>,
}

/// Looks for every proof that can be looked for. `roots`: the trusted authorities.
pub(crate) fn judge(policy: &PeerPolicy, roots: &RootCertStore, shown: &Shown<'_>) -> Judgement {
    let mut judgement = Judgement::default();
    if let Some(revoked) = distrusted(&policy.distrust, shown) {
        judgement.missing.push((None, revoked));
        return judgement;
    }
    let demanded = policy.requirement.proofs();
    let named = policy.verify_as.as_deref().and_then(|name| ServerName::try_from(name).ok());
    let own_name = Shown { host: named.as_ref().or(shown.host), ..*shown };
    judgement.note(Proof::Verified, verified(roots, &own_name));
    if !policy.tlsa.is_empty() || demanded.contains(Proof::Dane) {
        judgement.note(Proof::Dane, dane::prove(&policy.tlsa, shown));
    }
    if !policy.pins.is_empty() || demanded.contains(Proof::Pinned) {
        judgement.note(Proof::Pinned, pinned(&policy.pins, shown));
    }
    judgement
}

impl Judgement {
    fn note(&mut self, proof: Proof, result: Result<(), TlsFailure>) {
        match result {
            Ok(()) => self.given = self.given.with(proof),
            Err(failure) => self.missing.push((Some(proof), failure)),
        }
    }

    /// What was wrong, in the order in which it was looked for.
    pub(crate) fn missing(&self) -> Vec<TlsFailure> {
        self.missing.iter().map(|(_, failure)| failure.clone()).collect()
    }

    /// Why a connection with this peer would not satisfy the requirement; `None` when it would.
    pub(crate) fn refusal(&self, requirement: TlsRequirement) -> Option<&TlsFailure> {
        let demanded = requirement.proofs();
        let any = requirement.level() < Level::Authenticated || !self.given.is_empty();
        if any && self.given.contains_all(demanded) {
            return None;
        }
        let counts = |proof: Option<Proof>| proof.is_none_or(|proof| demanded.contains(proof));
        let of_a_demand = self.missing.iter().find(|(proof, _)| counts(*proof));
        // Where any proof will do, the means that were given last are the most particular to this peer.
        of_a_demand.or(self.missing.last()).map(|(_, failure)| failure)
    }
}

/// Whether any certificate that was shown is one that the administrator will not have.
pub(crate) fn distrusted(distrust: &[Pin], shown: &Shown<'_>) -> Option<TlsFailure> {
    if distrust.is_empty() {
        return None;
    }
    let chain = std::iter::once(shown.leaf).chain(shown.others);
    let hit = chain.flat_map(|certificate| pins_of(certificate)).find(|pin| distrust.contains(pin))?;
    Some(TlsFailure::new(TlsFault::Revoked, format!("the certificate is distrusted here ({hit})")))
}

pub(crate) fn pinned(pins: &[Pin], shown: &Shown<'_>) -> Result<(), TlsFailure> {
    if pins.is_empty() {
        return Err(TlsFailure::without_pins());
    }
    let own = pins_of(shown.leaf);
    if own.iter().any(|pin| pins.contains(pin)) {
        return Ok(());
    }
    let key = own.last().map(|pin| format!(", whose key is {pin}")).unwrap_or_default();
    Err(TlsFailure::new(TlsFault::PinMismatch, format!("no pin matches the certificate{key}")))
}

/// The pins that a certificate would match: its own and its key's.
fn pins_of(certificate: &CertificateDer<'_>) -> Vec<Pin> {
    let key = Certificate::new(certificate).spki().map(|spki| Pin::Spki(sha256(&spki)));
    std::iter::once(Pin::Certificate(sha256(certificate))).chain(key).collect()
}

/// RFC 5280 §6 for the chain, RFC 6125 §6 for the name.
pub(crate) fn verified(roots: &RootCertStore, shown: &Shown<'_>) -> Result<(), TlsFailure> {
    if roots.is_empty() {
        return Err(TlsFailure::new(TlsFault::OurTrust, NO_ROOTS));
    }
    long_enough(shown)?;
    lead_to(roots, shown).map_err(|error| fault(&error, shown))?;
    // The other names count under DANE only (RFC 7672 §3.2.2); here it must be the host's own (RFC 8461 §4.1).
    match_name(&Shown { names: &[], ..*shown })
}

/// Judges a chain that nobody was shown yet, as if this host had shown it at this moment.
pub(crate) fn shown_as(
    host: &str,
    chain: &[CertificateDer<'_>],
    now: Timestamp,
    judge: impl FnOnce(&Shown<'_>) -> Result<(), TlsFailure>,
) -> Result<(), TlsFailure> {
    let Some((leaf, others)) = chain.split_first() else {
        return Err(TlsFailure::new(TlsFault::BadCertificate, "there is no certificate in the chain"));
    };
    let Ok(host) = ServerName::try_from(host) else {
        let why = format!("{} is no host name", clean(host, LONGEST_WHY));
        return Err(TlsFailure::new(TlsFault::HostMismatch, why));
    };
    let seconds = u64::try_from(now.as_second()).unwrap_or(0);
    let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
    judge(&Shown { leaf, others, host: Some(&host), names: &[], now })
}

pub(crate) const NO_ROOTS: &str = "this machine trusts no certificate authority at all; install the ca-certificates package or name a file of roots";

/// The library checks the keys that sign certificates, but not the one that is certified.
pub(crate) fn long_enough(shown: &Shown<'_>) -> Result<(), TlsFailure> {
    weak_key(&Certificate::new(shown.leaf)).map_or(Ok(()), Err)
}

/// Whether the chain leads to one of these roots, in time, and may be used for a server.
pub(crate) fn lead_to(roots: &RootCertStore, shown: &Shown<'_>) -> Result<(), TlsError> {
    let leaf = ParsedCertificate::try_from(shown.leaf)?;
    let algorithms = crate::provider().signature_verification_algorithms;
    verify_server_cert_signed_by_trust_anchor(&leaf, roots, shown.others, shown.now, algorithms.all)
}

/// Whether the certificate bears the host's name, or one of those that will do as well (RFC 7672 §3.2.2).
pub(crate) fn match_name(shown: &Shown<'_>) -> Result<(), TlsFailure> {
    let leaf = ParsedCertificate::try_from(shown.leaf).map_err(|error| fault(&error, shown))?;
    // Who has no name to match, matches none.
    let Some(host) = shown.host else {
        return Err(TlsFailure::new(TlsFault::HostMismatch, "no name is expected"));
    };
    let Err(error) = verify_server_name(&leaf, host) else { return Ok(()) };
    for name in shown.names {
        let Ok(name) = ServerName::try_from(name.trim_end_matches('.')) else { continue };
        if verify_server_name(&leaf, &name).is_ok() {
            return Ok(());
        }
    }
    let mut failure = fault(&error, shown);
    for name in shown.names {
        failure.why.push_str(&format!(" nor for {name}"));
    }
    failure.why = clean(&failure.why, LONGEST_WHY);
    Err(failure)
}

/// What kind of trouble with a certificate this is, from the library's word for it and a look at the chain.
pub(crate) fn fault(error: &TlsError, shown: &Shown<'_>) -> TlsFailure {
    use CertificateError as Cert;
    let TlsError::InvalidCertificate(kind) = error else {
        return TlsFailure::new(TlsFault::BadCertificate, describe(error));
    };
    match kind {
        Cert::Expired | Cert::ExpiredContext { .. } | Cert::NotValidYet | Cert::NotValidYetContext { .. } => {
            out_of_date(shown)
        }
        Cert::NotValidForName | Cert::NotValidForNameContext { .. } => {
            TlsFailure::new(TlsFault::HostMismatch, describe(error))
        }
        Cert::Revoked => TlsFailure::new(TlsFault::Revoked, describe(error)),
        Cert::UnknownIssuer => {
            by_look(shown).unwrap_or_else(|| nobody_knows(&Certificate::new(shown.leaf), shown))
        }
        Cert::InvalidPurpose | Cert::InvalidPurposeContext { .. } => {
            TlsFailure::new(TlsFault::BadCertificate, describe(error))
        }
        _ => by_look(shown).unwrap_or_else(|| TlsFailure::new(TlsFault::BadCertificate, describe(error))),
    }
}

/// Which certificate is not in force, and since or until when.
pub(crate) fn out_of_date(shown: &Shown<'_>) -> TlsFailure {
    for (place, certificate) in chain(shown).enumerate() {
        let which = match place {
            0 => "the certificate".to_owned(),
            _ => format!("the certificate of its authority ({})", certificate.subject()),
        };
        match certificate.life(shown.now) {
            Life::Over(end) => {
                return TlsFailure::new(TlsFault::Expired, format!("{which} has expired on {}", day(end)));
            }
            Life::NotBegun(begin) => {
                let why = format!("{which} is not valid before {}", day(begin));
                return TlsFailure::new(TlsFault::NotYetValid, why);
            }
            Life::InForce => (),
        }
    }
    TlsFailure::new(TlsFault::Expired, "the certificate's dates make no sense")
}

fn chain<'a>(shown: &'a Shown<'a>) -> impl Iterator<Item = Certificate<'a>> {
    let all = std::iter::once(shown.leaf).chain(shown.others).take(LONGEST_CHAIN);
    all.map(|certificate| Certificate::new(certificate))
}

/// What the library has no words for, but anybody can see.
fn by_look(shown: &Shown<'_>) -> Option<TlsFailure> {
    let leaf = Certificate::new(shown.leaf);
    if let Some(weak) = weak_key(&leaf) {
        return Some(weak);
    }
    if leaf.is_self_signed() {
        let why = format!("the certificate is signed by itself ({})", leaf.subject());
        return Some(TlsFailure::new(TlsFault::SelfSigned, why));
    }
    chain(shown).find_map(|certificate| weak_key(&certificate).or_else(|| weak_signature(&certificate)))
}

pub(crate) fn weak_key(certificate: &Certificate<'_>) -> Option<TlsFailure> {
    let bits = certificate.weak_key()?;
    let subject = certificate.subject();
    let why = format!("the RSA key of {subject} has {bits} bits; fewer than 2048 protect nothing");
    Some(TlsFailure::new(TlsFault::WeakKey, why))
}

pub(crate) fn weak_signature(certificate: &Certificate<'_>) -> Option<TlsFailure> {
    // Nobody relies on a root's signature of itself.
    if certificate.names_as_issuer(certificate) {
        return None;
    }
    let algorithm = certificate.weak_signature()?;
    let subject = certificate.subject();
    let why = format!("the certificate of {subject} is signed by {algorithm}, which can be forged");
    Some(TlsFailure::new(TlsFault::WeakSignature, why))
}

/// Where the chain ends, and what that means.
fn nobody_knows(leaf: &Certificate<'_>, shown: &Shown<'_>) -> TlsFailure {
    let others: Vec<Certificate<'_>> = chain(shown).skip(1).collect();
    let Some(mut top) = others.iter().find(|other| leaf.names_as_issuer(other)) else {
        let why = format!(
            "the certificate is signed by {}, which is not trusted here, and whose own certificate was not shown: \
             either an intermediate certificate is missing from the chain, or the authority is a private one",
            leaf.issuer()
        );
        return TlsFailure::new(TlsFault::IncompleteChain, why);
    };
    for _ in 0..others.len() {
        let above = others.iter().find(|other| top.names_as_issuer(other));
        let Some(above) = above.filter(|above| above.der() != top.der()) else { break };
        top = above;
    }
    let why =
        format!("the certificate is signed by an unknown authority: its chain leads to {}", top.issuer());
    TlsFailure::new(TlsFault::UnknownIssuer, why)
}

/// A refusal as the TLS library carries it: the words survive, the alert is as exact as the library lets us choose.
pub(crate) fn as_error(failure: &TlsFailure) -> TlsError {
    TlsError::InvalidCertificate(CertificateError::Other(rustls::OtherError(Arc::new(Refused(
        failure.why.clone(),
    )))))
}

/// Why a certificate was refused, in words that stand for themselves.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Refused(String);

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    fn self_signed() -> CertificateDer<'static> {
        let params = CertificateParams::new(["mx.example.org".to_owned()]).unwrap();
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().clone()
    }

    fn judged(policy: &PeerPolicy, leaf: &CertificateDer<'_>) -> Judgement {
        let host = ServerName::try_from("mx.example.org").unwrap();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let now = UnixTime::since_unix_epoch(now);
        let shown = Shown { leaf, others: &[], host: Some(&host), names: &[], now };
        judge(policy, &RootCertStore::empty(), &shown)
    }

    #[test]
    fn a_machine_without_roots_says_so_and_still_knows_its_pins() {
        let leaf = self_signed();
        let policy = PeerPolicy { pins: pins_of(&leaf), ..PeerPolicy::of(TlsRequirement::AUTHENTICATED) };
        let judgement = judged(&policy, &leaf);
        assert_eq!(judgement.given, Proof::Pinned.into());
        let [missing] = &judgement.missing()[..] else { panic!("{judgement:?}") };
        assert_eq!((missing.fault, missing.why.as_str()), (TlsFault::OurTrust, NO_ROOTS));
        assert!(judgement.refusal(policy.requirement).is_none());
        assert_eq!(judgement.refusal(TlsRequirement::VERIFIED), Some(missing));
    }

    #[test]
    fn what_is_no_certificate_at_all_is_refused_and_breaks_nothing() {
        for rubbish in [&b""[..], b"rubbish", &[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]] {
            let judgement = judged(
                &PeerPolicy::of(TlsRequirement::VERIFIED.join(TlsRequirement::DANE)),
                &CertificateDer::from(rubbish),
            );
            assert!(judgement.given.is_empty() && judgement.missing().len() == 2);
        }
    }

    #[test]
    fn where_any_proof_will_do_the_refusal_is_about_what_was_meant_for_this_peer() {
        let policy = PeerPolicy { pins: vec![Pin::Spki([0; 32])], ..PeerPolicy::default() };
        let judgement = judged(&policy, &self_signed());
        let fault = |requirement| judgement.refusal(requirement).map(|failure| failure.fault);
        assert_eq!(fault(TlsRequirement::AUTHENTICATED), Some(TlsFault::PinMismatch));
        assert_eq!(fault(TlsRequirement::VERIFIED), Some(TlsFault::OurTrust));
        assert_eq!(fault(TlsRequirement::REQUIRED), None);
    }
}
