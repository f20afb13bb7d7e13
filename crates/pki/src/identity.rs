//! TLS identities: a private key and the certificate chain that goes with it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls::{Error as TlsError, InconsistentKeys};
use rustls_pki_types::CertificateDer;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::certificate::Certificate;
use crate::{Error, files};

/// A key and its certificate chain, as a listener presents them.
#[derive(Debug, Clone)]
pub struct TlsIdentity {
    /// What the configuration calls it.
    pub name: String,
    /// The chain and the key, ready for use.
    pub certified_key: Arc<CertifiedKey>,
    /// The names that the certificate is good for: DNS names in lower case (`*.example.org` too) and IP addresses.
    pub names: Vec<String>,
    /// The certificate is good from this time on.
    pub not_before: Timestamp,
    /// The certificate is good until this time.
    pub not_after: Timestamp,
    /// SHA-256 of the certificate in lower-case hexadecimal digits.
    pub fingerprint_sha256: String,
    /// Whose choice it is.
    pub standing: Standing,
}

/// Whose choice an identity is, which decides what clients see that ask for no name we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Standing {
    /// An administrator's.
    #[default]
    Chosen,
    /// Nobody's: the private CA's own certificate stands in, for the names that no other identity bears, and for all where
    /// there is no other.
    StandIn,
}

/// An identity that was read from files, and what is not as it should be.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The identity; usable whatever the warnings say.
    pub identity: TlsIdentity,
    /// What an administrator should know.
    pub warnings: Vec<Warning>,
}

/// A certificate of a chain, and for how long it is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainLink {
    /// Whose it is, as people read it: the distinguished name.
    pub subject: String,
    /// It is good from this time on.
    pub not_before: Timestamp,
    /// It is good until this time.
    pub not_after: Timestamp,
    /// SHA-256 of the certificate in lower-case hexadecimal digits.
    pub fingerprint_sha256: String,
}

impl ChainLink {
    /// Looks at a certificate in DER; `None` when it cannot be read.
    pub fn of(der: &[u8]) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(der).ok()?;
        Some(Self {
            subject: Certificate::new(der).subject(),
            not_before: timestamp(parsed.validity().not_before.timestamp()),
            not_after: timestamp(parsed.validity().not_after.timestamp()),
            fingerprint_sha256: fingerprint(der),
        })
    }
}

/// Something about an identity that does not stop Postern, but that clients may stumble over.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The certificate is over.
    Expired {
        /// Its file.
        path: PathBuf,
        /// When it expired.
        not_after: Timestamp,
    },
    /// The certificate is not yet good; perhaps the machine's clock is wrong.
    NotYetValid {
        /// Its file.
        path: PathBuf,
        /// When it begins.
        not_before: Timestamp,
    },
    /// Others than the owner can read or change the private key.
    KeyExposed {
        /// Its file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The certificate bears no name at all, so that no client can verify it.
    NoNames {
        /// Its file.
        path: PathBuf,
    },
}

impl TlsIdentity {
    /// Reads a certificate chain and its key from PEM files, which may be the same file.
    ///
    /// The key may be PKCS#8, PKCS#1 or SEC1. The certificate that the key belongs to is presented first, wherever
    /// it stands in the file.
    ///
    /// # Errors
    /// Local: a file is missing, unreadable, not PEM or broken, holds no certificate or no key, or the key does not
    /// belong to the certificate. An expired certificate is a [`Warning`].
    pub fn load(name: &str, certificate: &Path, key: &Path, now: Timestamp) -> Result<Loaded, Error> {
        let provider = crate::provider();
        let chain = files::read_certificates(certificate)?;
        let certified_key = Arc::new(fit(chain, certificate, key, &provider)?);
        let identity = Self::describe_chain(name, certified_key, certificate)?;
        let warnings = identity.warnings(certificate, key, now);
        Ok(Loaded { identity, warnings })
    }

    /// The certificates of its chain, its own first.
    pub fn chain(&self) -> Vec<ChainLink> {
        self.certified_key.cert.iter().filter_map(|der| ChainLink::of(der)).collect()
    }

    /// Whether the certificate is good for this host name or IP address, by RFC 6125's rules.
    pub fn is_for(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.names.iter().any(|name| *name == host || wildcard_covers(name, &host))
    }

    fn describe_chain(name: &str, certified_key: Arc<CertifiedKey>, path: &Path) -> Result<Self, Error> {
        let leaf =
            certified_key.cert.first().ok_or_else(|| Error::NoCertificate { path: path.to_owned() })?;
        let (_, parsed) = X509Certificate::from_der(leaf)
            .map_err(|error| Error::Broken { path: path.to_owned(), reason: error.to_string() })?;
        Ok(Self {
            name: name.to_owned(),
            names: names_of(&parsed),
            not_before: timestamp(parsed.validity().not_before.timestamp()),
            not_after: timestamp(parsed.validity().not_after.timestamp()),
            fingerprint_sha256: fingerprint(leaf),
            certified_key,
            standing: Standing::Chosen,
        })
    }

    fn warnings(&self, certificate: &Path, key: &Path, now: Timestamp) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if self.not_after < now {
            warnings.push(Warning::Expired { path: certificate.to_owned(), not_after: self.not_after });
        }
        if now < self.not_before {
            warnings.push(Warning::NotYetValid { path: certificate.to_owned(), not_before: self.not_before });
        }
        if self.names.is_empty() {
            warnings.push(Warning::NoNames { path: certificate.to_owned() });
        }
        // The owner's group may read it (Debian's ssl-cert does so); the world may not.
        if let Some(mode) = files::mode_of(key).filter(|mode| mode & 0o027 != 0) {
            warnings.push(Warning::KeyExposed { path: key.to_owned(), mode });
        }
        warnings
    }
}

impl Warning {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Expired { .. } => "renew the certificate: a new one is served by itself".to_owned(),
            Self::NotYetValid { .. } => {
                "correct this machine's clock, or install a certificate that is good today: it is served by itself"
                    .to_owned()
            }
            Self::KeyExposed { path, .. } => {
                format!("chmod 600 {}, and renew the key if others may have read it", path.display())
            }
            Self::NoNames { .. } => {
                "install a certificate that bears the host name as a subjectAltName: it is served by itself".to_owned()
            }
        }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expired { path, not_after } => {
                write!(f, "{}: the certificate expired on {}", path.display(), day(*not_after))
            }
            Self::NotYetValid { path, not_before } => {
                let day = day(*not_before);
                write!(f, "{}: the certificate is not valid before {day}", path.display())
            }
            Self::KeyExposed { path, mode } => {
                let path = path.display();
                write!(f, "{path}: other users can reach this private key (mode {mode:04o})")
            }
            Self::NoNames { path } => {
                write!(
                    f,
                    "{}: the certificate bears no host name (subjectAltName); clients will refuse it",
                    path.display()
                )
            }
        }
    }
}

/// The date of a time, as people write it.
pub(crate) fn day(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d").to_string()
}

/// A time in seconds since 1970; certificates may lie beyond what [`Timestamp`] can hold.
pub(crate) fn timestamp(seconds: i64) -> Timestamp {
    let nearest = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(seconds).unwrap_or(nearest)
}

fn fit(
    mut chain: Vec<CertificateDer<'static>>,
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, Error> {
    let key_der = files::read_key(key)?;
    let signing_key = provider
        .key_provider
        .load_private_key(key_der)
        .map_err(|error| Error::UnusableKey { path: key.to_owned(), reason: error.to_string() })?;
    for position in 0..chain.len() {
        let candidate = CertifiedKey::new(vec![chain[position].clone()], signing_key.clone());
        match candidate.keys_match() {
            Ok(()) | Err(TlsError::InconsistentKeys(InconsistentKeys::Unknown)) => {
                chain[..=position].rotate_right(1);
                return Ok(CertifiedKey::new(chain, signing_key));
            }
            Err(TlsError::InconsistentKeys(_)) => (),
            Err(error) => {
                return Err(Error::Broken { path: certificate.to_owned(), reason: crate::describe(&error) });
            }
        }
    }
    Err(Error::KeyMismatch { key: key.to_owned(), certificate: certificate.to_owned() })
}

pub(crate) fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = certificate.subject_alternative_name() else {
        return Vec::new();
    };
    extension.value.general_names.iter().filter_map(name_of).collect()
}

pub(crate) fn name_of(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(octets) => address(octets),
        _ => None,
    }
}

pub(crate) fn address(octets: &[u8]) -> Option<String> {
    if let Ok(v4) = <[u8; 4]>::try_from(octets) {
        return Some(std::net::Ipv4Addr::from(v4).to_string());
    }
    <[u8; 16]>::try_from(octets).ok().map(|v6| std::net::Ipv6Addr::from(v6).to_string())
}

/// RFC 6125 §6.4.3: the star stands for exactly one whole label, the leftmost.
fn wildcard_covers(pattern: &str, host: &str) -> bool {
    let (Some(parent), Some((label, rest))) = (pattern.strip_prefix("*."), host.split_once('.')) else {
        return false;
    };
    !label.is_empty() && rest == parent
}

/// SHA-256 in lower-case hexadecimal digits.
pub(crate) fn fingerprint(der: &[u8]) -> String {
    hexadecimal(&sha256(der))
}

/// SHA-256.
pub(crate) fn sha256(octets: &[u8]) -> [u8; 32] {
    let mut digest = [0; 32];
    digest.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets).as_ref());
    digest
}

/// Lower-case hexadecimal digits.
pub(crate) fn hexadecimal(octets: &[u8]) -> String {
    use std::fmt::Write;
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}
