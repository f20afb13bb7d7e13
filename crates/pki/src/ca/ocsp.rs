//! The responder: whether a certificate counts, asked and answered one by one (OCSP, RFC 6960).
//!
//! Answers are signed by a certificate of their own, whose key lies open in the CA's folder, so that they need nobody's
//! passphrase. Nobody asks whether that certificate was revoked, so it lives a month and is renewed half-way.
//!
//! Questions come from anybody: their size and number are bounded, and what they say is only compared. What this
//! deliberately does not do: listen, keep answers, or speak for another CA.

use aws_lc_rs::digest::{Algorithm, SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use jiff::{SignedDuration, Timestamp};
use pkcs8::der::asn1::{AnyRef, BitStringRef, GeneralizedTime, ObjectIdentifier, OctetStringRef};
use pkcs8::der::{self, Decode as _, Encode as _, Reader as _, SliceReader, Tag, TagNumber, Tagged as _};
use rcgen::SigningKey as _;
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::certify::since_1970;
use super::records::{self, Standing};
use super::{Authority, AuthorityError, Reason, Serial, Signer, keyfile};
use crate::files::{self, Existing, PRIVATE_FILE, PUBLIC_FILE};
use crate::identity::timestamp;
use crate::request::pem;
use crate::{KeyKind, PrivateKey};

/// A larger question is not read, in octets.
pub const LARGEST_OCSP_REQUEST: usize = 8 * 1024;
/// More certificates are not asked about at once.
pub const MOST_OCSP_QUESTIONS: usize = 16;
/// How long an answer is good for.
const ANSWER_LIFE: SignedDuration = SignedDuration::from_hours(12);
/// How long the responder's certificate is good for.
const RESPONDER_LIFE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The longest nonce that is repeated (RFC 9654 §2.1), in octets.
const LONGEST_NONCE: usize = 32;
/// The longest nonce there is (RFC 9654 §2.1), in octets.
const LONGEST_NONCE_EVER: usize = 128;

const SHA1_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");
const SHA256_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");
const BASIC_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.1");
const NONCE_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.6.1.5.5.7.48.1.2");
const ECDSA_SHA256_OID: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");

/// Why there is no answer (RFC 6960 §4.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refusal {
    Malformed = 1,
    Internal = 2,
    TryLater = 3,
    Unauthorized = 6,
}

/// What is asked.
struct Questions<'a> {
    certificates: Vec<Question<'a>>,
    nonce: Option<&'a [u8]>,
}

/// One certificate that is asked about (RFC 6960 §4.1.1, CertID).
struct Question<'a> {
    whole: AnyRef<'a>,
    algorithm: ObjectIdentifier,
    issuer_name: &'a [u8],
    issuer_key: &'a [u8],
    serial: Serial,
}

/// What answers are signed with.
struct Responder {
    key: PrivateKey,
    certificate: CertificateDer<'static>,
    not_after: Timestamp,
}

impl Authority {
    /// Answers a question about certificates; the question and the answer are OCSP in DER. It always answers something,
    /// if only that the question is broken or that nobody can answer now. It reads files, so it may block.
    pub fn ocsp(&self, request: &[u8], now: Timestamp) -> Vec<u8> {
        self.answer(request, now).unwrap_or_else(|refusal| {
            // RFC 6960 §4.2.1: a status without any response.
            vec![0x30, 0x03, 0x0a, 0x01, refusal as u8]
        })
    }

    fn answer(&self, request: &[u8], now: Timestamp) -> Result<Vec<u8>, Refusal> {
        if request.len() > LARGEST_OCSP_REQUEST {
            return Err(Refusal::Malformed);
        }
        let questions =
            Questions::read(request).map_err(|_| Refusal::Malformed)?.ok_or(Refusal::Malformed)?;
        let (_, issuer) = X509Certificate::from_der(&self.seat().der).map_err(|_| Refusal::Internal)?;
        // RFC 6960 §2.3: who is asked about others' certificates alone is not the one to answer.
        if !questions.certificates.iter().any(|question| question.is_about(&issuer)) {
            return Err(Refusal::Unauthorized);
        }
        let responder = Responder::load(self).map_err(|_| Refusal::TryLater)?;
        if now >= responder.not_after {
            return Err(Refusal::TryLater);
        }
        let standings = self.standings(&questions, &issuer).map_err(|_| Refusal::Internal)?;
        responder.sign(&questions, &standings, now).map_err(|_| Refusal::Internal)
    }

    fn standings(
        &self,
        questions: &Questions<'_>,
        issuer: &X509Certificate<'_>,
    ) -> Result<Vec<Standing>, AuthorityError> {
        self.records.read(|transaction| {
            let standing = |question: &Question<'_>| {
                if !question.is_about(issuer) {
                    return Ok(Standing::Unknown);
                }
                records::standing(transaction, &self.seat().id, &question.serial)
            };
            questions.certificates.iter().map(standing).collect()
        })
    }
}

/// From when until when the responder's certificate counts, if there is one of this CA's.
pub(super) fn responder_life(authority: &Authority) -> Option<(Timestamp, Timestamp)> {
    let responder = Responder::load(authority).ok()?;
    let (_, parsed) = X509Certificate::from_der(&responder.certificate).ok()?;
    let (_, issuer) = X509Certificate::from_der(&authority.seat().der).ok()?;
    let begin = timestamp(parsed.validity().not_before.timestamp());
    (parsed.issuer().as_raw() == issuer.subject().as_raw()).then_some((begin, responder.not_after))
}

/// Gives the responder a new certificate, and a key if it has none. Says when it ends.
pub(super) fn renew_responder(
    authority: &Authority,
    signer: &Signer,
    now: Timestamp,
) -> Result<Timestamp, AuthorityError> {
    authority.check_signer(signer, now)?;
    let path = authority.folder.responder_key();
    if !path.exists() {
        let key = PrivateKey::generate(KeyKind::EcdsaP256)?;
        files::write(&path, key.to_pem().as_bytes(), PRIVATE_FILE, Existing::Keep)?;
    }
    // Read back even when just made: another process may have been faster.
    let key = keyfile::read(&path, None)?;
    let span = signer.span(RESPONDER_LIFE, now)?;
    let certificate = signer.certify_responder(&key.spki(), &span)?;
    let text = pem("CERTIFICATE", &certificate);
    files::write(&authority.folder.responder_pem(), text.as_bytes(), PUBLIC_FILE, Existing::Replace)?;
    Ok(span.not_after)
}

impl<'a> Questions<'a> {
    /// `None`: it is DER, and no question.
    fn read(request: &'a [u8]) -> der::Result<Option<Self>> {
        let Some(tbs) = parts(AnyRef::from_der(request)?)?.into_iter().next() else { return Ok(None) };
        let (mut list, mut nonce) = (None, None);
        for part in parts(tbs)? {
            match part.tag() {
                Tag::Sequence => list = Some(part),
                Tag::ContextSpecific { number: TagNumber(2), .. } => match nonce_of(part)? {
                    Extensions::Broken => return Ok(None),
                    Extensions::Nonce(found) => nonce = found,
                },
                // The version, and who asks.
                Tag::ContextSpecific { .. } => {}
                _ => return Ok(None),
            }
        }
        let Some(list) = list else { return Ok(None) };
        let asked = parts(list)?;
        if asked.is_empty() || asked.len() > MOST_OCSP_QUESTIONS {
            return Ok(None);
        }
        let read = asked.into_iter().map(Question::read).collect::<der::Result<Option<Vec<_>>>>()?;
        Ok(read.map(|certificates| Self { certificates, nonce }))
    }
}

/// What the extensions of a question come to.
enum Extensions<'a> {
    Nonce(Option<&'a [u8]>),
    Broken,
}

/// RFC 9654 §2.1: a nonce of no octets or more than 128 breaks the question; one that is longer than ours are is not
/// repeated. What is not known and not critical is passed over (RFC 6960 §4.4).
fn nonce_of(explicit: AnyRef<'_>) -> der::Result<Extensions<'_>> {
    let mut nonce = None;
    for list in parts(explicit)? {
        for extension in parts(list)? {
            let fields = parts(extension)?;
            let critical =
                fields.get(1).is_some_and(|field| field.tag() == Tag::Boolean && field.value() == [0xff]);
            let (Some(id), Some(value)) = (fields.first(), fields.last()) else {
                return Ok(Extensions::Broken);
            };
            if id.decode_as::<ObjectIdentifier>()? != NONCE_OID {
                if critical {
                    return Ok(Extensions::Broken);
                }
                continue;
            }
            let inner = <&OctetStringRef>::from_der(value.value())?.as_bytes();
            if inner.is_empty() || inner.len() > LONGEST_NONCE_EVER {
                return Ok(Extensions::Broken);
            }
            nonce = Some(inner).filter(|inner| inner.len() <= LONGEST_NONCE);
        }
    }
    Ok(Extensions::Nonce(nonce))
}

impl<'a> Question<'a> {
    fn read(request: AnyRef<'a>) -> der::Result<Option<Self>> {
        let Some(whole) = parts(request)?.into_iter().next() else { return Ok(None) };
        let [algorithm, name, key, serial] = parts(whole)?[..] else { return Ok(None) };
        let Some(algorithm) = parts(algorithm)?.into_iter().next() else { return Ok(None) };
        let in_form =
            name.tag() == Tag::OctetString && key.tag() == Tag::OctetString && serial.tag() == Tag::Integer;
        Ok(in_form.then_some(Self {
            whole,
            algorithm: algorithm.decode_as()?,
            issuer_name: name.value(),
            issuer_key: key.value(),
            serial: Serial::new(serial.value()),
        }))
    }

    /// Whether it is about a certificate of this issuer.
    fn is_about(&self, issuer: &X509Certificate<'_>) -> bool {
        let algorithm: &'static Algorithm = match self.algorithm {
            SHA1_OID => &SHA1_FOR_LEGACY_USE_ONLY,
            SHA256_OID => &SHA256,
            _ => return false,
        };
        let is = |hash: &[u8], of: &[u8]| digest(algorithm, of).as_ref() == hash;
        is(self.issuer_name, issuer.subject().as_raw())
            && is(self.issuer_key, &issuer.public_key().subject_public_key.data)
    }
}

impl Responder {
    fn load(authority: &Authority) -> Result<Self, AuthorityError> {
        let folder = &authority.folder;
        let certificate = files::read_certificates(&folder.responder_pem())?.swap_remove(0);
        let key = keyfile::read(&folder.responder_key(), None)?;
        let (_, parsed) =
            X509Certificate::from_der(&certificate).map_err(|error| AuthorityError::crypto(&error))?;
        let not_after = timestamp(parsed.validity().not_after.timestamp());
        if !key.fits(&certificate) {
            let (key, certificate) = (folder.responder_key(), folder.responder_pem());
            return Err(crate::Error::KeyMismatch { key, certificate }.into());
        }
        Ok(Self { key, certificate, not_after })
    }

    fn sign(
        &self,
        questions: &Questions<'_>,
        standings: &[Standing],
        now: Timestamp,
    ) -> Result<Vec<u8>, AuthorityError> {
        let coded = |error: der::Error| AuthorityError::crypto(&error);
        let data = self.data(questions, standings, now).map_err(coded)?;
        let signature = self.key.pair().sign(&data).map_err(|error| AuthorityError::crypto(&error))?;
        self.wrap(data, &signature).map_err(coded)
    }

    /// ResponseData (RFC 6960 §4.2.1).
    fn data(
        &self,
        questions: &Questions<'_>,
        standings: &[Standing],
        now: Timestamp,
    ) -> der::Result<Vec<u8>> {
        let until = now.checked_add(ANSWER_LIFE).unwrap_or(now).min(self.not_after);
        let times = [time(now)?, explicit(0, &time(until)?)?].concat();
        let mut answers = Vec::new();
        for (question, standing) in questions.certificates.iter().zip(standings) {
            answers.push(sequence(&[question.whole.to_der()?, status(*standing)?, times.clone()])?);
        }
        // The responder is named by its key's SHA-1, whatever else is used (RFC 6960 §4.2.1, KeyHash).
        let spki = self.key.spki();
        let (_, spki) = x509_parser::x509::SubjectPublicKeyInfo::from_der(&spki)
            .map_err(|_| Tag::Sequence.value_error())?;
        let hash = digest(&SHA1_FOR_LEGACY_USE_ONLY, &spki.subject_public_key.data);
        let id = explicit(2, &octets(hash.as_ref())?)?;
        let mut fields = vec![id, time(now)?, sequence(&answers)?];
        if let Some(nonce) = questions.nonce {
            let extension = sequence(&[NONCE_OID.to_der()?, octets(&octets(nonce)?)?])?;
            fields.push(explicit(1, &sequence(&[extension])?)?);
        }
        sequence(&fields)
    }

    /// BasicOCSPResponse within an OCSPResponse (RFC 6960 §4.2.1).
    fn wrap(&self, data: Vec<u8>, signature: &[u8]) -> der::Result<Vec<u8>> {
        let algorithm = sequence(&[ECDSA_SHA256_OID.to_der()?])?;
        let signature = BitStringRef::from_bytes(signature)?.to_der()?;
        let certificates = explicit(0, &sequence(&[self.certificate.to_vec()])?)?;
        let basic = sequence(&[data, algorithm, signature, certificates])?;
        let bytes = sequence(&[BASIC_OID.to_der()?, octets(&basic)?])?;
        let successful = AnyRef::new(Tag::Enumerated, &[0])?.to_der()?;
        sequence(&[successful, explicit(0, &bytes)?])
    }
}

/// CertStatus (RFC 6960 §4.2.1).
fn status(standing: Standing) -> der::Result<Vec<u8>> {
    match standing {
        Standing::Good => Ok(vec![0x80, 0]),
        Standing::Unknown => Ok(vec![0x82, 0]),
        Standing::Revoked(revocation) => {
            let mut info = time(revocation.at)?;
            if revocation.reason != Reason::Unspecified {
                let reason = AnyRef::new(Tag::Enumerated, &[revocation.reason.code()])?.to_der()?;
                info.extend(explicit(0, &reason)?);
            }
            explicit(1, &info)
        }
    }
}

/// What a constructed value is made of.
fn parts(whole: AnyRef<'_>) -> der::Result<Vec<AnyRef<'_>>> {
    if !whole.tag().is_constructed() {
        return Err(whole.tag().value_error().into());
    }
    let mut reader = SliceReader::new(whole.value())?;
    let mut parts = Vec::new();
    while !reader.is_finished() {
        parts.push(AnyRef::decode(&mut reader)?);
    }
    Ok(parts)
}

fn sequence(parts: &[Vec<u8>]) -> der::Result<Vec<u8>> {
    AnyRef::new(Tag::Sequence, &parts.concat())?.to_der()
}

fn explicit(number: u32, content: &[u8]) -> der::Result<Vec<u8>> {
    AnyRef::new(Tag::ContextSpecific { constructed: true, number: TagNumber(number) }, content)?.to_der()
}

fn octets(content: &[u8]) -> der::Result<Vec<u8>> {
    OctetStringRef::new(content)?.to_der()
}

fn time(time: Timestamp) -> der::Result<Vec<u8>> {
    GeneralizedTime::from_unix_duration(since_1970(time))?.to_der()
}
