//! Making certificates: what stands in a root, an intermediate, a server's, a client's and a responder's.
//!
//! [`Signer`] is what signs: a CA certificate with its open key. What it deliberately does not do: decide whether a
//! certificate may be issued, or record it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use pkcs8::der::Encode as _;
use pkcs8::der::asn1::{AnyRef, Ia5StringRef, ObjectIdentifier};
use pkcs8::der::{self, Tag, TagNumber};
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, CustomExtension, DistinguishedName,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData as _,
    SerialNumber, SubjectPublicKeyInfo,
};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, ParsedExtension, X509Certificate};

use super::{AuthorityError, Purpose, Serial};
use crate::identity::{fingerprint, timestamp};
use crate::{Error, Name, PrivateKey, Subject, files};

/// Certificates begin a little in the past, for clients whose clocks are late.
const BACKDATED: SignedDuration = SignedDuration::from_hours(1);
/// Below the CA's address: the certificate of what signs, in DER.
pub const ISSUER_PATH: &str = "/ca/issuer.der";
/// Below the CA's address: the revocation list, in DER.
pub const CRL_PATH: &str = "/ca/crl.der";
/// Below the CA's address: who answers about revocation (OCSP).
pub const OCSP_PATH: &str = "/ca/ocsp";
/// The longest common name (RFC 5280 Appendix A.1), in characters.
const LONGEST_COMMON_NAME: usize = 64;

/// A CA's certificate, and what is needed of it again and again.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) der: CertificateDer<'static>,
    pub(super) path: PathBuf,
    pub(super) key_path: PathBuf,
    pub(super) not_after: Timestamp,
    /// SHA-256 of its public key: stays when it is renewed.
    pub(super) id: String,
    /// Its subject in words.
    pub(super) subject: String,
}

/// What signs: a CA's certificate and its open key. It cannot be printed.
pub struct Signer {
    pub(super) seat: Seat,
    key: PrivateKey,
}

/// What a certificate for a server or client bears.
#[derive(Debug)]
pub(super) struct Leaf<'a> {
    pub(super) purpose: Purpose,
    pub(super) names: &'a [Name],
    pub(super) common_name: Option<&'a str>,
    pub(super) spki: &'a [u8],
    pub(super) url: Option<&'a str>,
}

/// When a certificate is good, and its number.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) serial: Serial,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

impl Seat {
    /// Reads a CA's certificate.
    pub(super) fn read(path: &Path, key_path: &Path) -> Result<Self, AuthorityError> {
        let der = files::read_certificates(path)?.swap_remove(0);
        let broken = |reason: String| Error::Broken { path: path.to_owned(), reason };
        let (_, parsed) = X509Certificate::from_der(&der).map_err(|error| broken(error.to_string()))?;
        if !parsed.is_ca() {
            return Err(broken("this certificate is not a CA's".to_owned()).into());
        }
        Ok(Self {
            path: path.to_owned(),
            key_path: key_path.to_owned(),
            not_after: timestamp(parsed.validity().not_after.timestamp()),
            id: fingerprint(parsed.public_key().raw),
            subject: crate::certificate::Certificate::new(&der).subject(),
            der: der.clone(),
        })
    }

    /// # Errors
    /// Local: it ended.
    pub(super) fn check_life(&self, now: Timestamp) -> Result<(), AuthorityError> {
        if now <= self.not_after {
            return Ok(());
        }
        let (certificate, not_after) = (self.path.clone(), self.not_after);
        let remedy = "if it is the intermediate, renew it (postern ca renew-intermediate); a root cannot be: make a new CA and import its root wherever this one is trusted";
        Err(AuthorityError::Ended { certificate, not_after, remedy })
    }

    /// The identifier that certificates below this one point to (RFC 5280 §4.2.1.2).
    pub(super) fn key_id(&self) -> Result<KeyIdMethod, AuthorityError> {
        let (_, parsed) =
            X509Certificate::from_der(&self.der).map_err(|error| AuthorityError::crypto(&error))?;
        let identifier =
            parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
                _ => None,
            });
        Ok(identifier.map_or(KeyIdMethod::Sha256, KeyIdMethod::PreSpecified))
    }
}

impl Signer {
    pub(super) fn new(seat: Seat, key: PrivateKey) -> Result<Self, AuthorityError> {
        if !key.fits(&seat.der) {
            let (key, certificate) = (seat.key_path, seat.path);
            return Err(Error::KeyMismatch { key, certificate }.into());
        }
        Ok(Self { seat, key })
    }

    /// When its certificate ends; nothing that it signs outlives it.
    pub fn not_after(&self) -> Timestamp {
        self.seat.not_after
    }

    pub(super) fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, AuthorityError> {
        Issuer::from_ca_cert_der(&self.seat.der, self.key.pair())
            .map_err(|error| AuthorityError::crypto(&error))
    }

    /// A random number of 16 octets, and a life that neither outlasts what is asked for nor the CA's own.
    pub(super) fn span(&self, life: SignedDuration, now: Timestamp) -> Result<Span, AuthorityError> {
        let not_after = now.checked_add(life).unwrap_or(Timestamp::MAX).min(self.seat.not_after);
        Ok(Span { serial: new_serial()?, not_before: backdated(now), not_after })
    }

    /// A certificate for a server or client.
    pub(super) fn certify(
        &self,
        leaf: &Leaf<'_>,
        span: &Span,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let mut params = CertificateParams::default();
        params.distinguished_name = subject(leaf).to_library();
        params.subject_alt_names = leaf
            .names
            .iter()
            .map(Name::to_library)
            .collect::<Result<_, _>>()
            .map_err(crate::RequestError::from)?;
        let usage = match leaf.purpose {
            Purpose::Server => ExtendedKeyUsagePurpose::ServerAuth,
            Purpose::Client => ExtendedKeyUsagePurpose::ClientAuth,
        };
        if let Some(url) = leaf.url {
            let uris = vec![format!("{url}{CRL_PATH}")];
            params.crl_distribution_points = vec![CrlDistributionPoint { uris }];
            params.custom_extensions.push(access(url)?);
        }
        self.sign_leaf(params, usage, leaf.spki, span)
    }

    /// A certificate for the responder (RFC 6960 §4.2.2.2). Nobody asks whether it is revoked, so its life is short.
    pub(super) fn certify_responder(
        &self,
        spki: &[u8],
        span: &Span,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        /// id-pkix-ocsp-nocheck (RFC 6960 §4.2.2.2.1), whose value is NULL.
        const NO_CHECK: [u64; 10] = [1, 3, 6, 1, 5, 5, 7, 48, 1, 5];
        let mut params = CertificateParams::default();
        params.distinguished_name = Subject::named("Postern OCSP responder").to_library();
        params.custom_extensions.push(CustomExtension::from_oid_content(&NO_CHECK, vec![5, 0]));
        self.sign_leaf(params, ExtendedKeyUsagePurpose::OcspSigning, spki, span)
    }

    fn sign_leaf(
        &self,
        mut params: CertificateParams,
        usage: ExtendedKeyUsagePurpose,
        spki: &[u8],
        span: &Span,
    ) -> Result<CertificateDer<'static>, AuthorityError> {
        let key = SubjectPublicKeyInfo::from_der(spki).map_err(|error| AuthorityError::crypto(&error))?;
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if is_rsa(spki) && usage == ExtendedKeyUsagePurpose::ServerAuth {
            // TLS 1.2 has ways to agree on keys that encrypt with RSA (RFC 5246 §7.4.2).
            params.key_usages.push(KeyUsagePurpose::KeyEncipherment);
        }
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        span.write(&mut params);
        let signed = params.signed_by(&key, &self.issuer()?);
        Ok(signed.map_err(|error| AuthorityError::crypto(&error))?.der().clone())
    }

    /// A certificate for an intermediate below this root.
    pub(super) fn certify_intermediate(
        &self,
        name: &Subject,
        spki: &[u8],
        span: &Span,
    ) -> Result<rcgen::Certificate, AuthorityError> {
        let key = SubjectPublicKeyInfo::from_der(spki).map_err(|error| AuthorityError::crypto(&error))?;
        let mut params = authority(name.to_library(), 0);
        params.use_authority_key_identifier_extension = true;
        span.write(&mut params);
        params.signed_by(&key, &self.issuer()?).map_err(|error| AuthorityError::crypto(&error))
    }

    /// A new certificate for an intermediate that has one: the same name and key, another life.
    pub(super) fn certify_again(
        &self,
        seat: &Seat,
        span: &Span,
    ) -> Result<rcgen::Certificate, AuthorityError> {
        let (_, parsed) =
            X509Certificate::from_der(&seat.der).map_err(|error| AuthorityError::crypto(&error))?;
        self.certify_intermediate(&Subject::of(parsed.subject()), parsed.public_key().raw, span)
    }

    /// Whether it is the one that signs for this seat.
    pub(super) fn is_for(&self, seat: &Seat) -> bool {
        self.seat.id == seat.id
    }
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.seat.subject)
    }
}

impl Span {
    pub(super) fn write(&self, params: &mut CertificateParams) {
        let epoch = rcgen::date_time_ymd(1970, 1, 1);
        params.not_before = epoch + since_1970(self.not_before);
        params.not_after = epoch + since_1970(self.not_after);
        params.serial_number = Some(SerialNumber::from_slice(&self.serial.octets()));
    }
}

/// A root, signed by itself. `below` says how many authorities may stand between it and what is issued.
pub(super) fn make_root(
    key: &KeyPair,
    name: DistinguishedName,
    below: u8,
    life: SignedDuration,
    now: Timestamp,
) -> Result<rcgen::Certificate, AuthorityError> {
    let mut params = authority(name, below);
    let not_after = now.checked_add(life).unwrap_or(Timestamp::MAX);
    Span { serial: new_serial()?, not_before: backdated(now), not_after }.write(&mut params);
    params.self_signed(key).map_err(|error| AuthorityError::crypto(&error))
}

/// A unit that tells keys apart: two authorities of one name and different keys would be taken for each other, and fail
/// with misleading words.
pub(super) fn key_mark(key: &KeyPair) -> String {
    let id: String = fingerprint(&key.subject_public_key_info()).chars().take(12).collect();
    format!("key {id}")
}

/// This subject, with its key's mark in its unit.
pub(super) fn name_with_key(mut name: Subject, key: &KeyPair) -> Subject {
    let mark = key_mark(key);
    name.unit = Some(match name.unit {
        Some(unit) => format!("{}, {mark}", unit.chars().take(40).collect::<String>()),
        None => mark,
    });
    name
}

/// A time as the library counts it, from its 1 January 1970 on.
pub(super) fn since_1970(time: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(time.as_second()).unwrap_or_default())
}

fn authority(name: DistinguishedName, below: u8) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// The common name that was asked for, or the first name, if it is short enough to be one.
fn subject(leaf: &Leaf<'_>) -> Subject {
    let first = leaf.names.first().map(ToString::to_string);
    let name = leaf.common_name.map(str::to_owned).or(first);
    let fits = name.filter(|name| name.chars().count() <= LONGEST_COMMON_NAME);
    fits.map_or_else(Subject::default, |name| Subject::named(&name))
}

/// A number that nobody can foresee, positive and of full length (RFC 5280 §4.1.2.2). One derived from the key would
/// repeat when the key is kept, which browsers and NSS refuse.
fn new_serial() -> Result<Serial, AuthorityError> {
    let mut octets = [0; 16];
    aws_lc_rs::rand::fill(&mut octets).map_err(|error| AuthorityError::crypto(&error))?;
    octets[0] = octets[0] & 0x7f | 0x40;
    Ok(Serial::new(&octets))
}

fn backdated(now: Timestamp) -> Timestamp {
    now.checked_sub(BACKDATED).unwrap_or(now)
}

fn is_rsa(spki: &[u8]) -> bool {
    crate::key::describe_spki(spki).starts_with("RSA")
}

/// Where the issuer's certificate is and who answers about revocation (RFC 5280 §4.2.2.1).
fn access(url: &str) -> Result<CustomExtension, AuthorityError> {
    const AUTHORITY_ACCESS: [u64; 9] = [1, 3, 6, 1, 5, 5, 7, 1, 1];
    const OCSP: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1");
    const CA_ISSUERS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.2");
    let place = |method: ObjectIdentifier, path: &str| -> der::Result<Vec<u8>> {
        let uri = format!("{url}{path}");
        Ia5StringRef::new(&uri)?;
        let tag = Tag::ContextSpecific { constructed: false, number: TagNumber(6) };
        let location = AnyRef::new(tag, uri.as_bytes())?.to_der()?;
        AnyRef::new(Tag::Sequence, &[method.to_der()?, location].concat())?.to_der()
    };
    let both = || -> der::Result<Vec<u8>> {
        let places = [place(OCSP, OCSP_PATH)?, place(CA_ISSUERS, ISSUER_PATH)?].concat();
        AnyRef::new(Tag::Sequence, &places)?.to_der()
    };
    let content = both().map_err(|error| AuthorityError::crypto(&error))?;
    Ok(CustomExtension::from_oid_content(&AUTHORITY_ACCESS, content))
}
