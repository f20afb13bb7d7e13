//! DANE: whether what a mail host shows is what its TLSA records announce (RFC 6698, RFC 7671, RFC 7672).
//!
//! - DANE-EE(3): the host's own certificate or key matches. Its names, its dates and who signed it do not matter
//!   (RFC 7672 §3.1.1).
//! - DANE-TA(2): the chain that the host shows leads to a certificate or key that matches; names and dates are checked
//!   (RFC 7672 §3.1.2, §3.2.2). The trust anchor must be in the chain, unless the record has all of it.
//!
//! What it deliberately does not do: look records up, ask whether they are signed, or choose among digests (RFC 7671 §9
//! is `postern_dns::tlsa`'s). The records that are given here are all equally good.

use std::borrow::Cow;
use std::cell::OnceCell;

use aws_lc_rs::digest;
use jiff::Timestamp;
use postern_dns::tlsa::{Matching, Selector, Tlsa, Usage};
use postern_smtp::tls::{TlsFailure, TlsFault};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, Der, TrustAnchor};
use x509_parser::asn1_rs::{Any, FromDer};

use crate::certificate::{Certificate, Life};
use crate::identity::{hexadecimal, sha256};
use crate::judge::{Shown, fault, lead_to, long_enough, match_name, out_of_date, shown_as};

/// So many certificates of a chain are compared with the records. Real chains have two to four.
const LONGEST_CHAIN: usize = 16;
/// So many records are repeated when none matches, and so many octets of each.
const RECORDS_SHOWN: usize = 3;
const OCTETS_SHOWN: usize = 8;

/// Whether those who check these records would take a chain that is to be shown as this host's, its own certificate first.
///
/// # Errors
/// What they would find wrong with it. A chain without a certificate is wrong too.
pub fn fits_tlsa(
    records: &[Tlsa],
    chain: &[CertificateDer<'_>],
    host: &str,
    now: Timestamp,
) -> Result<(), TlsFailure> {
    shown_as(host, chain, now, |shown| prove(records, shown))
}

/// The record of a key, for the host that has it itself: `3 1 1` with SHA-256, `3 1 2` with SHA-512. `spki` is the public key
/// in DER, as certificates have it (RFC 7671 §5.1).
pub fn tlsa_of_key(spki: &[u8], matching: Matching) -> Tlsa {
    let data = match matching {
        Matching::Full => spki.to_vec(),
        Matching::Sha256 => sha256(spki).to_vec(),
        Matching::Sha512 => digest::digest(&digest::SHA512, spki).as_ref().to_vec(),
    };
    Tlsa { usage: Usage::EndEntity, selector: Selector::Spki, matching, data }
}

/// Checks what was shown against the records. One that holds is enough.
pub(crate) fn prove(records: &[Tlsa], shown: &Shown<'_>) -> Result<(), TlsFailure> {
    if records.is_empty() {
        return Err(TlsFailure::new(TlsFault::NoTlsa, "there are no TLSA records to check the host against"));
    }
    let leaf = Candidate::new(shown.leaf);
    if records.iter().any(|record| record.usage == Usage::EndEntity && leaf.matches(record)) {
        return Ok(());
    }
    match anchors(records, shown, &leaf) {
        Anchors::Leaf => by_itself(shown),
        Anchors::Known(roots) => by_chain(&roots, shown),
        Anchors::OutOfDate => Err(out_of_date(shown)),
        Anchors::None => Err(TlsFailure::new(TlsFault::DaneMismatch, nothing_matches(records, shown))),
    }
}

/// The trust anchors that records name.
enum Anchors {
    /// The host's own, self-signed certificate.
    Leaf,
    /// Those in the chain, or wholly in a record.
    Known(RootCertStore),
    /// One in the chain, whose own time is over or has not begun.
    OutOfDate,
    /// None that could be found.
    None,
}

fn anchors(records: &[Tlsa], shown: &Shown<'_>, leaf: &Candidate<'_>) -> Anchors {
    let named: Vec<&Tlsa> = records.iter().filter(|record| record.usage == Usage::TrustAnchor).collect();
    let is_named = |candidate: &Candidate<'_>| named.iter().any(|record| candidate.matches(record));
    if is_named(leaf) && Certificate::new(shown.leaf).is_self_signed() {
        return Anchors::Leaf;
    }
    let sent = if named.is_empty() { &[] } else { shown.others };
    let (current, old): (Vec<_>, Vec<_>) = sent
        .iter()
        .take(LONGEST_CHAIN)
        .filter(|certificate| is_named(&Candidate::new(certificate)))
        .partition(|certificate| Certificate::new(certificate).life(shown.now) == Life::InForce);
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(current.into_iter().cloned());
    roots.extend(named.iter().flat_map(|record| written_out(record, shown)));
    match (roots.is_empty(), old.is_empty()) {
        (false, _) => Anchors::Known(roots),
        (true, false) => Anchors::OutOfDate,
        (true, true) => Anchors::None,
    }
}

/// Anchors that a record holds itself (matching type 0), so that the host need not send them. A bare key has no name: it
/// is taken as that of every issuer named in the chain.
fn written_out(record: &Tlsa, shown: &Shown<'_>) -> Vec<TrustAnchor<'static>> {
    match (record.matching, record.selector) {
        (Matching::Full, Selector::Cert) => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates([CertificateDer::from(record.data.as_slice())]);
            roots.roots
        }
        (Matching::Full, Selector::Spki) => {
            let Some(key) = content(&record.data) else { return Vec::new() };
            let chain = std::iter::once(shown.leaf).chain(shown.others).take(LONGEST_CHAIN);
            chain.filter_map(|certificate| bare_key(key, certificate)).collect()
        }
        _ => Vec::new(),
    }
}

fn bare_key(key: &[u8], signed: &CertificateDer<'_>) -> Option<TrustAnchor<'static>> {
    let signed = Certificate::new(signed);
    let subject = content(signed.issuer_der()?)?;
    Some(TrustAnchor {
        subject: Der::from(subject.to_vec()),
        subject_public_key_info: Der::from(key.to_vec()),
        name_constraints: None,
    })
}

/// What is inside a DER value.
fn content(der: &[u8]) -> Option<&[u8]> {
    Any::from_der(der).ok().map(|(_, any)| any.data)
}

fn by_chain(roots: &RootCertStore, shown: &Shown<'_>) -> Result<(), TlsFailure> {
    long_enough(shown)?;
    lead_to(roots, shown).map_err(|error| {
        let mut failure = fault(&error, shown);
        if !is_precise(failure.fault) {
            let why =
                format!("the chain does not lead to the trust anchor of the TLSA records: {}", failure.why);
            failure = TlsFailure::new(TlsFault::DaneMismatch, why);
        }
        failure
    })?;
    match_name(shown)
}

/// A certificate that is its own trust anchor has nothing to lead to.
fn by_itself(shown: &Shown<'_>) -> Result<(), TlsFailure> {
    long_enough(shown)?;
    if Certificate::new(shown.leaf).life(shown.now) != Life::InForce {
        return Err(out_of_date(shown));
    }
    match_name(shown)
}

fn is_precise(fault: TlsFault) -> bool {
    use TlsFault::{Expired, HostMismatch, NotYetValid, WeakKey, WeakSignature};
    matches!(fault, Expired | NotYetValid | HostMismatch | WeakKey | WeakSignature)
}

fn nothing_matches(records: &[Tlsa], shown: &Shown<'_>) -> String {
    let mut published: Vec<String> = records.iter().take(RECORDS_SHOWN).map(brief).collect();
    if records.len() > RECORDS_SHOWN {
        published.push(format!("{} more", records.len() - RECORDS_SHOWN));
    }
    let own = Certificate::new(shown.leaf).spki().map(|spki| sha256_brief(&spki));
    let own = own.map(|own| format!(", whose key is 3 1 1 {own}…")).unwrap_or_default();
    let anchors = if records.iter().any(|record| record.usage == Usage::TrustAnchor) {
        " nor any other in its chain, which must hold the trust anchor"
    } else {
        ""
    };
    format!("no TLSA record ({}) matches the certificate{own}{anchors}", published.join(", "))
}

fn sha256_brief(octets: &[u8]) -> String {
    hexadecimal(&sha256(octets)[..OCTETS_SHOWN])
}

fn brief(record: &Tlsa) -> String {
    let usage = match record.usage {
        Usage::TrustAnchor => 2,
        Usage::EndEntity => 3,
    };
    let selector = match record.selector {
        Selector::Cert => 0,
        Selector::Spki => 1,
    };
    let matching = match record.matching {
        Matching::Full => 0,
        Matching::Sha256 => 1,
        Matching::Sha512 => 2,
    };
    let data = hexadecimal(&record.data[..record.data.len().min(OCTETS_SHOWN)]);
    format!("{usage} {selector} {matching} {data}…")
}

/// A certificate with its digests, each made once and only when a record asks for it.
struct Candidate<'a> {
    certificate: &'a [u8],
    spki: Option<Cow<'a, [u8]>>,
    digests: [OnceCell<digest::Digest>; 4],
}

impl<'a> Candidate<'a> {
    fn new(certificate: &'a CertificateDer<'_>) -> Self {
        let spki = Certificate::new(certificate).spki();
        Self { certificate, spki, digests: [const { OnceCell::new() }; 4] }
    }

    /// RFC 6698 §2.1.2, §2.1.3.
    fn matches(&self, record: &Tlsa) -> bool {
        let (selected, place) = match (record.selector, &self.spki) {
            (Selector::Cert, _) => (self.certificate, 0),
            (Selector::Spki, Some(spki)) => (spki.as_ref(), 2),
            (Selector::Spki, None) => return false,
        };
        let digest = |algorithm, place: usize| {
            self.digests[place].get_or_init(|| digest::digest(algorithm, selected)).as_ref() == record.data
        };
        match record.matching {
            Matching::Full => selected == record.data,
            Matching::Sha256 => digest(&digest::SHA256, place),
            Matching::Sha512 => digest(&digest::SHA512, place + 1),
        }
    }
}
