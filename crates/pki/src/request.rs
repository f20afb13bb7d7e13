//! Certificate signing requests (PKCS #10, RFC 2986): made here, or brought by others.
//!
//! [`RequestDetails`] is what somebody wants in a certificate; [`SigningRequest`] is the signed request, whoever made it.
//! One that was brought is believed only as far as its own signature goes: that whoever made it has the key. Names are
//! taken strictly ([`Name`]): a NUL or a letter beyond ASCII in one is an error, never something to be cleaned up.
//!
//! What it deliberately does not do: decide whether anybody may have a certificate (see [`ca`](crate::ca)).

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{CertificateParams, DistinguishedName, DnType, DnValue, SanType};
use serde::{Deserialize, Serialize};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::{ExtensionRequest, ParsedCriAttribute};
use x509_parser::error::X509Error;
use x509_parser::extensions::{ExtendedKeyUsage, GeneralName, ParsedExtension};
use x509_parser::oid_registry::{self, Oid};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::{SubjectPublicKeyInfo, X509Name};

use crate::certificate::clean_name;
use crate::identity::{address, fingerprint};
use crate::key::describe_spki;
use crate::{Error, PrivateKey};

/// A larger request is none that a person made, in octets.
const LARGEST: usize = 64 * 1024;
/// Bits of an RSA key, below which none is taken.
const SHORTEST_RSA: usize = 2048;
/// More names than these nobody wants in one certificate.
pub(crate) const MOST_NAMES: usize = 100;
/// The longest host name (RFC 1035 §2.3.4), in octets.
const LONGEST_HOST: usize = 253;
/// The longest label of one (RFC 1035 §2.3.4), in octets.
const LONGEST_LABEL: usize = 63;

/// Whom a certificate is for (RFC 5280 §4.1.2.6). What is absent is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// The common name: the host's or person's name.
    pub common_name: Option<String>,
    /// The organisation.
    pub organisation: Option<String>,
    /// Its unit.
    pub unit: Option<String>,
    /// The country, as two letters (ISO 3166).
    pub country: Option<String>,
    /// The state or province.
    pub state: Option<String>,
    /// The town.
    pub locality: Option<String>,
}

/// A name that a certificate is good for (RFC 5280 §4.2.1.6).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Name {
    /// A host name in ASCII and lower case, or a wildcard such as `*.example.org`.
    Dns(String),
    /// An IP address.
    Address(IpAddr),
    /// A mail address, in certificates for people.
    Mail(String),
}

/// What a certificate is asked for with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestDetails {
    /// Whom it is for.
    pub subject: Subject,
    /// What it is to be good for.
    pub names: Vec<Name>,
}

/// A signed request, its signature checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningRequest {
    der: Vec<u8>,
    spki: Vec<u8>,
    /// Whom it is for.
    pub subject: Subject,
    /// What it is to be good for.
    pub names: Vec<Name>,
    /// What else it asks for.
    pub wishes: Wishes,
}

/// What a request asks for besides names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wishes {
    /// To be an authority itself, by its basic constraints or its key usage.
    pub authority: bool,
    /// What it would be used for (extended key usage), as object identifiers in dotted form.
    pub purposes: Vec<String>,
    /// Extensions that are neither names nor usages, as object identifiers in dotted form.
    pub others: Vec<String>,
}

/// Why a request cannot be made or believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// It is too large.
    #[error("the request is larger than {} KiB; a request is about 1 KiB", LARGEST / 1024)]
    TooLarge,
    /// It is no request.
    #[error("this is no certificate request (PKCS #10), or it is damaged: {0}")]
    Unreadable(String),
    /// Its signature is not its key's.
    #[error(
        "the request's signature does not fit its key: it was changed after it was made; make it again from its key"
    )]
    BadSignature,
    /// No certificate is issued for a key like this one.
    #[error(
        "no certificate can be made for a key of this kind ({found}): make a P-256, P-384 or RSA key of 2048 to 4096 bits"
    )]
    Key {
        /// The key in words.
        found: String,
    },
    /// A name that no certificate can bear.
    #[error(transparent)]
    Name(#[from] BadName),
    /// It asks for too many names.
    #[error("the request asks for more than {MOST_NAMES} names; divide them over several certificates")]
    TooManyNames,
    /// It asks for no name.
    #[error("a certificate needs at least one name: the host name that mail programs are set to")]
    NoNames,
    /// A part of the subject cannot be written.
    #[error("{part}: {fault}")]
    Subject {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        fault: String,
    },
}

/// A name that no certificate can bear.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no certificate can bear the name {shown:?}: {reason}")]
pub struct BadName {
    /// The name, as far as it can be shown.
    pub shown: String,
    /// Why not.
    pub reason: &'static str,
}

impl RequestDetails {
    /// What stands in a certificate, for asking for its successor.
    ///
    /// # Errors
    /// It cannot be read, or bears a name that is not asked for any more.
    pub fn of_certificate(der: &[u8]) -> Result<Self, RequestError> {
        let (_, parsed) =
            X509Certificate::from_der(der).map_err(|error| RequestError::Unreadable(error.to_string()))?;
        let names = match parsed.subject_alternative_name() {
            Ok(Some(extension)) => {
                extension.value.general_names.iter().map(Name::of).collect::<Result<_, _>>()?
            }
            _ => Vec::new(),
        };
        Ok(Self { subject: Subject::of(parsed.subject()), names })
    }
}

impl SigningRequest {
    /// Makes a request and signs it with the key that it is for.
    ///
    /// # Errors
    /// No names, too many, or a subject that cannot be written.
    pub fn make(details: &RequestDetails, key: &PrivateKey) -> Result<Self, RequestError> {
        if details.names.is_empty() {
            return Err(RequestError::NoNames);
        }
        if details.names.len() > MOST_NAMES {
            return Err(RequestError::TooManyNames);
        }
        details.subject.check()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = details.subject.to_library();
        params.subject_alt_names = details.names.iter().map(Name::to_library).collect::<Result<_, _>>()?;
        let request = params.serialize_request(key.pair());
        let request = request.map_err(|error| RequestError::Unreadable(error.to_string()))?;
        Self::from_der(request.der())
    }

    /// Reads a request and checks its signature, which proves that its maker has the key.
    ///
    /// # Errors
    /// Whose sender is to mend it: damaged, changed, or with a name that no certificate can bear.
    pub fn from_der(der: &[u8]) -> Result<Self, RequestError> {
        if der.len() > LARGEST {
            return Err(RequestError::TooLarge);
        }
        let (rest, parsed) = X509CertificationRequest::from_der(der)
            .map_err(|error| RequestError::Unreadable(error.to_string()))?;
        if !rest.is_empty() {
            return Err(RequestError::Unreadable("something follows it".to_owned()));
        }
        let info = &parsed.certification_request_info;
        check_key(&info.subject_pki)?;
        parsed.verify_signature().map_err(|error| of_signature(&error, &info.subject_pki))?;
        if extension_requests(&parsed).count() > 1 {
            return Err(RequestError::Unreadable("it asks for extensions twice".to_owned()));
        }
        let mut asked = Asked::default();
        for extension in parsed.requested_extensions().into_iter().flatten() {
            asked.take(extension)?;
        }
        asked.wishes.others.extend(unknown_extensions(&parsed));
        let subject = Subject::of(&info.subject);
        subject.check()?;
        let spki = info.subject_pki.raw.to_vec();
        Ok(Self { der: der.to_vec(), spki, subject, names: asked.names, wishes: asked.wishes })
    }

    /// In DER.
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// In PEM, as authorities' forms want it.
    pub fn pem(&self) -> String {
        pem("CERTIFICATE REQUEST", &self.der)
    }

    /// The public key with its algorithm (SubjectPublicKeyInfo) in DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The kind and strength of its key in words.
    pub fn key(&self) -> String {
        describe_spki(&self.spki)
    }

    /// SHA-256 of its public key (SPKI), in hexadecimal digits: what whoever made the key can compare.
    pub fn spki_sha256(&self) -> String {
        fingerprint(&self.spki)
    }

    /// SHA-256 of the request, in hexadecimal digits.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.der)
    }
}

/// What the extensions of a request ask for.
#[derive(Default)]
struct Asked {
    names: Vec<Name>,
    wishes: Wishes,
}

impl Asked {
    fn take(&mut self, extension: &ParsedExtension<'_>) -> Result<(), RequestError> {
        match extension {
            ParsedExtension::SubjectAlternativeName(names) => {
                if names.general_names.len() > MOST_NAMES {
                    return Err(RequestError::TooManyNames);
                }
                for name in &names.general_names {
                    self.names.push(Name::of(name)?);
                }
            }
            ParsedExtension::BasicConstraints(basic) => self.wishes.authority |= basic.ca,
            ParsedExtension::KeyUsage(usage) => {
                self.wishes.authority |= usage.key_cert_sign() || usage.crl_sign();
            }
            ParsedExtension::ExtendedKeyUsage(usage) => self.wishes.purposes.extend(purposes(usage)),
            _ => {}
        }
        Ok(())
    }
}

fn purposes(usage: &ExtendedKeyUsage<'_>) -> Vec<String> {
    let known = [
        (usage.any, "2.5.29.37.0"),
        (usage.server_auth, "1.3.6.1.5.5.7.3.1"),
        (usage.client_auth, "1.3.6.1.5.5.7.3.2"),
        (usage.code_signing, "1.3.6.1.5.5.7.3.3"),
        (usage.email_protection, "1.3.6.1.5.5.7.3.4"),
        (usage.time_stamping, "1.3.6.1.5.5.7.3.8"),
        (usage.ocsp_signing, "1.3.6.1.5.5.7.3.9"),
    ];
    let named = known.into_iter().filter(|(asked, _)| *asked).map(|(_, oid)| oid.to_owned());
    named.chain(usage.other.iter().map(Oid::to_id_string)).collect()
}

/// A short key is told from a signature that was changed, which the library that checks signatures does not.
fn check_key(spki: &SubjectPublicKeyInfo<'_>) -> Result<(), RequestError> {
    match spki.parsed() {
        Ok(PublicKey::RSA(key)) if key.key_size() < SHORTEST_RSA => {
            Err(RequestError::Key { found: describe_spki(spki.raw) })
        }
        _ => Ok(()),
    }
}

fn of_signature(error: &X509Error, spki: &SubjectPublicKeyInfo<'_>) -> RequestError {
    match error {
        X509Error::SignatureUnsupportedAlgorithm => RequestError::Key { found: describe_spki(spki.raw) },
        _ => RequestError::BadSignature,
    }
}

fn extension_requests<'r>(
    parsed: &'r X509CertificationRequest<'r>,
) -> impl Iterator<Item = &'r ExtensionRequest<'r>> {
    parsed.certification_request_info.iter_attributes().filter_map(|attribute| {
        match attribute.parsed_attribute() {
            ParsedCriAttribute::ExtensionRequest(requested) => Some(requested),
            _ => None,
        }
    })
}

/// Extensions that nobody here looks at. Harmless ones, such as key identifiers, are not mentioned.
fn unknown_extensions(parsed: &X509CertificationRequest<'_>) -> Vec<String> {
    let known = [
        oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME,
        oid_registry::OID_X509_EXT_BASIC_CONSTRAINTS,
        oid_registry::OID_X509_EXT_KEY_USAGE,
        oid_registry::OID_X509_EXT_EXTENDED_KEY_USAGE,
        oid_registry::OID_X509_EXT_SUBJECT_KEY_IDENTIFIER,
    ];
    extension_requests(parsed)
        .flat_map(|requested| &requested.extensions)
        .filter(|extension| !known.contains(&extension.oid))
        .map(|extension| extension.oid.to_id_string())
        .collect()
}

impl Subject {
    /// A subject that is only a name; cut where it is longer than a common name may be.
    pub fn named(common_name: &str) -> Self {
        let text: String = common_name.chars().filter(|c| !c.is_control()).take(64).collect();
        Self { common_name: Some(text), ..Self::default() }
    }

    /// The parts that are there, with the names and the limits that they have (RFC 5280 Appendix A.1).
    fn parts(&self) -> impl Iterator<Item = (&'static str, &str, DnType, usize)> {
        let parts = [
            ("country", &self.country, DnType::CountryName, 2),
            ("state", &self.state, DnType::StateOrProvinceName, 128),
            ("locality", &self.locality, DnType::LocalityName, 128),
            ("organisation", &self.organisation, DnType::OrganizationName, 64),
            ("unit", &self.unit, DnType::OrganizationalUnitName, 64),
            ("common name", &self.common_name, DnType::CommonName, 64),
        ];
        parts.into_iter().filter_map(|(name, value, kind, most)| Some((name, value.as_deref()?, kind, most)))
    }

    /// Whether it can be written into a certificate.
    ///
    /// # Errors
    /// Which part cannot, and why.
    pub fn check(&self) -> Result<(), RequestError> {
        for (part, value, kind, most) in self.parts() {
            let fault = match value {
                _ if value.trim().is_empty() => "is empty; leave it out instead".to_owned(),
                _ if value.chars().any(char::is_control) => "holds a control character".to_owned(),
                _ if kind == DnType::CountryName && !is_country(value) => {
                    format!(
                        "\"{}\" is no country code: two capital letters, such as DE or US",
                        clean_name(value)
                    )
                }
                _ if value.chars().count() > most => format!("is longer than {most} characters"),
                _ => continue,
            };
            return Err(RequestError::Subject { part, fault });
        }
        Ok(())
    }

    pub(crate) fn to_library(&self) -> DistinguishedName {
        let mut name = DistinguishedName::new();
        for (_, value, kind, _) in self.parts() {
            match (&kind, value.try_into()) {
                // RFC 5280 Appendix A.1: the country is a PrintableString.
                (DnType::CountryName, Ok(printable)) => name.push(kind, DnValue::PrintableString(printable)),
                _ => name.push(kind, value),
            }
        }
        name
    }

    /// The last of each part, as most programs read it.
    pub(crate) fn of(name: &X509Name<'_>) -> Self {
        let part = |oid: &Oid<'_>| {
            name.iter_by_oid(oid).last().and_then(|value| value.as_str().ok()).map(str::to_owned)
        };
        Self {
            common_name: part(&oid_registry::OID_X509_COMMON_NAME),
            organisation: part(&oid_registry::OID_X509_ORGANIZATION_NAME),
            unit: part(&oid_registry::OID_X509_ORGANIZATIONAL_UNIT),
            country: part(&oid_registry::OID_X509_COUNTRY_NAME),
            state: part(&oid_registry::OID_X509_STATE_OR_PROVINCE_NAME),
            locality: part(&oid_registry::OID_X509_LOCALITY_NAME),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |name| match name {
            "country" => "C",
            "state" => "ST",
            "locality" => "L",
            "organisation" => "O",
            "unit" => "OU",
            _ => "CN",
        };
        let parts: Vec<String> =
            self.parts().map(|(name, value, ..)| format!("{}={}", short(name), clean_name(value))).collect();
        f.write_str(&parts.join(", "))
    }
}

fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|octet| octet.is_ascii_uppercase())
}

impl Name {
    /// A name in a request or certificate; there it must be in the form of the wire.
    pub(crate) fn of(name: &GeneralName<'_>) -> Result<Self, BadName> {
        match name {
            GeneralName::DNSName(name) => host(name).map(Self::Dns),
            GeneralName::RFC822Name(name) => mail(name).map(Self::Mail),
            GeneralName::IPAddress(octets) => address(octets)
                .and_then(|text| text.parse().ok())
                .map(Self::Address)
                .ok_or_else(|| bad(&format!("{octets:?}"), "it is no IP address")),
            other => {
                Err(bad(&format!("{other:?}"), "only host names, IP addresses and mail addresses are issued"))
            }
        }
    }

    pub(crate) fn to_library(&self) -> Result<SanType, BadName> {
        let ascii = |text: &str| text.try_into().map_err(|_| bad(text, NOT_ASCII));
        Ok(match self {
            Self::Dns(name) => SanType::DnsName(ascii(name)?),
            Self::Mail(name) => SanType::Rfc822Name(ascii(name)?),
            Self::Address(address) => SanType::IpAddress(*address),
        })
    }

    /// Whether it stands for all the names under a domain.
    pub fn is_wildcard(&self) -> bool {
        matches!(self, Self::Dns(name) if name.starts_with("*."))
    }
}

impl FromStr for Name {
    type Err = BadName;

    /// As people write names: host names in any script become A-labels (RFC 5891).
    fn from_str(text: &str) -> Result<Self, BadName> {
        let text = text.trim();
        if let Ok(address) = text.trim_matches(['[', ']']).parse() {
            return Ok(Self::Address(address));
        }
        if text.contains('@') {
            return mail(text).map(Self::Mail);
        }
        let (star, plain) = text.strip_prefix("*.").map_or(("", text), |rest| ("*.", rest));
        let ascii = idna::domain_to_ascii_strict(plain.trim_end_matches('.'))
            .map_err(|_| bad(text, "it is no host name"))?;
        host(&format!("{star}{ascii}")).map(Self::Dns)
    }
}

impl Name {
    /// The host name in the letters that people write it in, if those are not what a certificate holds (RFC 5890 §2.3.2.1).
    pub fn in_its_script(&self) -> Option<String> {
        let Self::Dns(name) = self else { return None };
        let (written, read) = idna::domain_to_unicode(name);
        (read.is_ok() && written != *name).then_some(written)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) | Self::Mail(name) => f.write_str(name),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

impl TryFrom<String> for Name {
    type Error = BadName;

    fn try_from(text: String) -> Result<Self, BadName> {
        text.parse()
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.to_string()
    }
}

const NOT_ASCII: &str =
    "it holds a letter that is not plain ASCII; names of other scripts are written as A-labels (xn--…)";

/// A host name of letters, digits and hyphens (RFC 5890 §2.3.1), perhaps with a star as its first label.
fn host(text: &str) -> Result<String, BadName> {
    let name = text.to_ascii_lowercase();
    if name.contains('\0') {
        return Err(bad(text, "it holds a NUL, by which programs see another name than people do"));
    }
    if !name.is_ascii() {
        return Err(bad(text, NOT_ASCII));
    }
    let plain = name.strip_prefix("*.").unwrap_or(&name);
    if plain.contains('*') {
        return Err(bad(text, "a star stands only for the whole first label (*.example.org)"));
    }
    if name.starts_with("*.") && !plain.contains('.') {
        return Err(bad(text, "it stands for all the names of a top-level domain"));
    }
    if name.len() > LONGEST_HOST || !plain.split('.').all(is_label) {
        return Err(bad(text, "it is no host name"));
    }
    Ok(name)
}

fn is_label(label: &str) -> bool {
    let plain = label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-');
    plain
        && !label.is_empty()
        && label.len() <= LONGEST_LABEL
        && !label.starts_with('-')
        && !label.ends_with('-')
}

/// A mail address whose local part is written plainly.
fn mail(text: &str) -> Result<String, BadName> {
    let Some((local, domain)) = text.rsplit_once('@') else {
        return Err(bad(text, "it is no mail address"));
    };
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b".!#$%&'*+-/=?^_`{|}~".contains(&octet);
    if local.is_empty() || local.len() > 64 || !local.bytes().all(plain) || domain.starts_with('*') {
        return Err(bad(text, "it is no mail address that certificates can bear"));
    }
    Ok(format!("{local}@{}", host(domain)?))
}

fn bad(name: &str, reason: &'static str) -> BadName {
    BadName { shown: name.chars().take(LONGEST_HOST).collect(), reason }
}

/// PEM (RFC 7468) of something.
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = text.as_str();
    while !rest.is_empty() {
        let (line, more) = rest.split_at(rest.len().min(64));
        pem.push_str(line);
        pem.push('\n');
        rest = more;
    }
    pem.push_str(&format!("-----END {label}-----\n"));
    pem
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KeyKind;

    fn details(names: &[&str]) -> RequestDetails {
        let subject = Subject {
            organisation: Some("Example GmbH".into()),
            country: Some("DE".into()),
            ..Subject::named("mail.example.org")
        };
        RequestDetails { subject, names: names.iter().map(|name| name.parse().unwrap()).collect() }
    }

    #[test]
    fn what_was_asked_for_is_read_back() {
        let asked =
            details(&["Mail.Example.ORG.", "*.example.org", "192.0.2.1", "2001:db8::1", "müller.example"]);
        for kind in [KeyKind::EcdsaP256, KeyKind::EcdsaP384, KeyKind::Rsa2048] {
            let key = PrivateKey::generate(kind).unwrap();
            let request = SigningRequest::make(&asked, &key).unwrap();
            assert_eq!(request.subject, asked.subject);
            assert_eq!(request.names, asked.names);
            assert_eq!(request.names[0].to_string(), "mail.example.org");
            assert_eq!(request.names[4].to_string(), "xn--mller-kva.example");
            assert_eq!(request.names[4].in_its_script().as_deref(), Some("müller.example"));
            assert_eq!(request.names[0].in_its_script(), None);
            assert_eq!(request.spki_sha256(), fingerprint(&key.spki()));
            assert_eq!(request.spki(), key.spki());
            assert_eq!(request.wishes, Wishes::default());
        }
    }

    #[test]
    fn a_changed_request_is_refused() {
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let request = SigningRequest::make(&details(&["mail.example.org"]), &key).unwrap();
        let mut der = request.der().to_vec();
        let position = der.windows(4).position(|window| window == b"mail").unwrap();
        der[position] = b'f';
        assert_eq!(SigningRequest::from_der(&der), Err(RequestError::BadSignature));
    }

    #[test]
    fn names_that_deceive_are_refused() {
        for (name, why) in [
            ("mail.example.org\0.evil.example", "NUL"),
            ("m\u{0430}il.example.org", "ASCII"),
            ("*.org", "top-level"),
            ("a.*.example.org", "star"),
            ("-a.example.org", "no host name"),
            ("under_score.example.org", "no host name"),
            ("", "no host name"),
        ] {
            let error = host(name).unwrap_err();
            assert!(error.reason.contains(why), "{name:?}: {error}");
        }
    }

    #[test]
    fn a_subject_that_cannot_be_written_names_its_part() {
        let wrong = |country: &str| Subject { country: Some(country.into()), ..Subject::default() };
        for country in ["Germany", "de", "D\u{7}"] {
            let error = wrong(country).check().unwrap_err().to_string();
            assert!(error.starts_with("country: "), "{error}");
        }
        let long = Subject { organisation: Some("x".repeat(65)), ..Subject::default() };
        assert_eq!(long.check().unwrap_err().to_string(), "organisation: is longer than 64 characters");
        assert!(Subject { unit: Some(" ".into()), ..Subject::default() }.check().is_err());
    }
}
