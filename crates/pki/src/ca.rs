//! The private CA: certificates for an installation that has none of its own.
//!
//! A [`PrivateCa`] lives in a folder: `root.pem` and `root.der`, which users import into their mail programs, and
//! `private/root.key`, which nobody but the daemon reads. From it [`PrivateCa::ensure_server_identity`] keeps one
//! certificate in force: issued at the first start, issued again before it expires or when the names change, always
//! for the same key.
//!
//! Keys are written before the certificates that need them and never replaced, so that a crash between two writes
//! leaves a folder from which the next start goes on. A broken file is an error that names it; nothing is
//! overwritten. What it deliberately does not do: revoke (a new CA is the remedy), or sign for anyone but ourselves.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::ParsedCertificate;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::files::{self, Existing, PRIVATE_FILE, PRIVATE_FOLDER, PUBLIC_FILE, PUBLIC_FOLDER};
use crate::identity::{fingerprint, timestamp};
use crate::{Error, Loaded, TlsIdentity};

/// How long a root is good for: about ten years. Importing a new one into every mail program is a nuisance.
const ROOT_LIFE: SignedDuration = SignedDuration::from_hours(3653 * 24);
/// How long a server certificate is good for.
const SERVER_LIFE: SignedDuration = SignedDuration::from_hours(90 * 24);
/// A server certificate with less time left is issued anew.
const RENEW_BEFORE: SignedDuration = SignedDuration::from_hours(30 * 24);
/// Certificates begin a little in the past, for clients whose clocks are late.
const BACKDATED: SignedDuration = SignedDuration::from_hours(1);
/// The longest common name (RFC 5280 appendix A.1, ub-common-name).
const LONGEST_COMMON_NAME: usize = 64;

/// Postern's own certificate authority, for one installation.
pub struct PrivateCa {
    folder: PathBuf,
    root: CertificateDer<'static>,
    not_after: Timestamp,
    issuer: Issuer<'static, KeyPair>,
}

/// A server identity under the private CA, and where its files are.
#[derive(Debug, Clone)]
pub struct ServerIdentity {
    /// The identity and what is not as it should be.
    pub loaded: Loaded,
    /// The certificate's PEM file.
    pub certificate: PathBuf,
    /// The key's PEM file.
    pub key: PathBuf,
    /// Whether it was issued just now.
    pub issue: Issue,
}

/// Whether a certificate was issued just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Issue {
    /// It was there and is still good.
    Kept,
    /// It was issued just now.
    New,
}

impl PrivateCa {
    /// Opens the CA in this folder, or makes one there. The label (the organisation or host name) tells people whose
    /// it is when they import its root.
    ///
    /// # Errors
    /// Local: a file is unreadable or broken, the key is missing or belongs to another root, or the root expired.
    /// Nothing is overwritten then.
    pub fn open_or_create(folder: &Path, label: &str, now: Timestamp) -> Result<Self, Error> {
        let (root_path, key_path) = (root_pem(folder), root_key(folder));
        if root_path.exists() && !key_path.exists() {
            return Err(Error::CaKeyMissing { key: key_path, root: root_path });
        }
        files::make_folder(folder, PUBLIC_FOLDER)?;
        let key = key_at(&key_path)?;
        if !root_path.exists() {
            let root = make_root(&key, label, now)?;
            files::write(&root_path, root.pem().as_bytes(), PUBLIC_FILE, Existing::Keep)?;
        }
        let ca = Self::open(folder, key, now)?;
        ca.keep_der_copy()?;
        Ok(ca)
    }

    /// The root certificate for programs that want PEM.
    pub fn root_pem_path(&self) -> PathBuf {
        root_pem(&self.folder)
    }

    /// The root certificate for programs that want DER (Windows, most telephones).
    pub fn root_der_path(&self) -> PathBuf {
        self.folder.join("root.der")
    }

    /// The root certificate itself.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// When the root expires.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Makes sure that there is a certificate for these names in the folder, and loads it.
    ///
    /// Names are host names, wildcards (`*.example.org`) and IP addresses; the first gives the files their name. The
    /// certificate is issued when there is none, when less than 30 days remain, when the names changed, or when it
    /// is not this CA's. Its key is made once and kept.
    ///
    /// # Errors
    /// Local: no name or an impossible one, a broken file (which is left alone), or a folder that cannot be written.
    pub fn ensure_server_identity(
        &self,
        folder: &Path,
        names: &[String],
        now: Timestamp,
    ) -> Result<ServerIdentity, Error> {
        let names = names.iter().map(|name| normal(name)).collect::<Result<Vec<_>, _>>()?;
        let first = names.first().ok_or(Error::NoNames)?;
        let stem = first.replace('*', "_").replace(':', "-");
        let (certificate, key) = (folder.join(format!("{stem}.pem")), folder.join(format!("{stem}.key")));
        if certificate.exists() {
            let loaded = TlsIdentity::load(first, &certificate, &key, now)?;
            if self.is_still_good(&loaded.identity, &names, now) {
                return Ok(ServerIdentity { loaded, certificate, key, issue: Issue::Kept });
            }
        }
        let issued = self.issue_server(&key_at(&key)?, &names, now)?;
        files::write(&certificate, issued.as_bytes(), PUBLIC_FILE, Existing::Replace)?;
        let loaded = TlsIdentity::load(first, &certificate, &key, now)?;
        Ok(ServerIdentity { loaded, certificate, key, issue: Issue::New })
    }

    fn open(folder: &Path, key: KeyPair, now: Timestamp) -> Result<Self, Error> {
        let path = root_pem(folder);
        let root = files::read_certificates(&path)?.swap_remove(0);
        let not_after = examine_root(&root, &key, &path, folder)?;
        if not_after < now {
            return Err(Error::CaExpired { root: path, not_after });
        }
        let issuer = Issuer::from_ca_cert_der(&root, key)
            .map_err(|error| Error::Broken { path, reason: error.to_string() })?;
        Ok(Self { folder: folder.to_owned(), root, not_after, issuer })
    }

    /// The DER file is only a copy: missing or different, it is written again.
    fn keep_der_copy(&self) -> Result<(), Error> {
        let path = self.root_der_path();
        if std::fs::read(&path).is_ok_and(|content| content == self.root.as_ref()) {
            return Ok(());
        }
        files::write(&path, &self.root, PUBLIC_FILE, Existing::Replace)
    }

    fn is_still_good(&self, identity: &TlsIdentity, names: &[String], now: Timestamp) -> bool {
        let same_names =
            identity.names.iter().collect::<BTreeSet<_>>() == names.iter().collect::<BTreeSet<_>>();
        // Near the root's own end there is no more than its remaining time to be had.
        let wanted = (now + RENEW_BEFORE).min(self.not_after);
        same_names && identity.not_before <= now && identity.not_after >= wanted && self.signed(identity, now)
    }

    fn signed(&self, identity: &TlsIdentity, now: Timestamp) -> bool {
        let mut roots = RootCertStore::empty();
        let (Ok(()), Some(leaf)) = (roots.add(self.root.clone()), identity.certified_key.cert.first()) else {
            return false;
        };
        let Ok(leaf) = ParsedCertificate::try_from(leaf) else {
            return false;
        };
        let seconds = u64::try_from(now.as_second()).unwrap_or_default();
        let now = UnixTime::since_unix_epoch(Duration::from_secs(seconds));
        let algorithms = crate::provider().signature_verification_algorithms;
        verify_server_cert_signed_by_trust_anchor(&leaf, &roots, &[], now, algorithms.all).is_ok()
    }

    fn issue_server(&self, key: &KeyPair, names: &[String], now: Timestamp) -> Result<String, Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(names.first().map_or("", String::as_str));
        params.subject_alt_names = names.iter().map(|name| san(name)).collect::<Result<_, _>>()?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        set_life(&mut params, now, (now + SERVER_LIFE).min(self.not_after))?;
        let certificate = params.signed_by(key, &self.issuer).map_err(|error| crypto(&error))?;
        Ok(certificate.pem())
    }
}

fn root_pem(folder: &Path) -> PathBuf {
    folder.join("root.pem")
}

fn root_key(folder: &Path) -> PathBuf {
    folder.join("private").join("root.key")
}

/// The key in this file, made first if there is none.
fn key_at(path: &Path) -> Result<KeyPair, Error> {
    if !path.exists() {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|error| crypto(&error))?;
        files::make_folder(path.parent().unwrap_or(Path::new(".")), PRIVATE_FOLDER)?;
        files::write(path, key.serialize_pem().as_bytes(), PRIVATE_FILE, Existing::Keep)?;
    }
    // Read back even when just made: another process may have been faster.
    let key = files::read_key(path)?;
    KeyPair::try_from(&key)
        .map_err(|error| Error::UnusableKey { path: path.to_owned(), reason: error.to_string() })
}

fn make_root(key: &KeyPair, label: &str, now: Timestamp) -> Result<rcgen::Certificate, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = common_name(&format!("Postern CA for {label}"));
    // Two roots of one name and different keys would be taken for each other, and fail with misleading words.
    let key_id: String = fingerprint(&key.subject_public_key_info()).chars().take(12).collect();
    params.distinguished_name.push(DnType::OrganizationalUnitName, format!("key {key_id}"));
    // It signs server certificates and nothing in between.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    set_life(&mut params, now, now + ROOT_LIFE)?;
    params.self_signed(key).map_err(|error| crypto(&error))
}

/// Checks that this is a CA certificate and that the key is its own; says when it expires.
fn examine_root(
    root: &CertificateDer<'_>,
    key: &KeyPair,
    path: &Path,
    folder: &Path,
) -> Result<Timestamp, Error> {
    let broken = |reason: String| Error::Broken { path: path.to_owned(), reason };
    let (_, parsed) = X509Certificate::from_der(root).map_err(|error| broken(error.to_string()))?;
    if !parsed.is_ca() {
        return Err(broken("this certificate is not a CA's".to_owned()));
    }
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err(Error::KeyMismatch { key: root_key(folder), certificate: path.to_owned() });
    }
    Ok(timestamp(parsed.validity().not_after.timestamp()))
}

fn set_life(params: &mut CertificateParams, now: Timestamp, until: Timestamp) -> Result<(), Error> {
    let since_1970 =
        |time: Timestamp| Duration::from_secs(u64::try_from(time.as_second()).unwrap_or_default());
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + since_1970(now - BACKDATED);
    params.not_after = epoch + since_1970(until);
    // A number derived from the key would repeat when the key is kept, which browsers and NSS refuse.
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|error| crypto(&error))?;
    // Positive (RFC 5280 §4.1.2.2), and of full length.
    serial[0] = serial[0] & 0x7f | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(())
}

fn common_name(text: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    let text: String = text.chars().filter(|c| !c.is_control()).take(LONGEST_COMMON_NAME).collect();
    name.push(DnType::CommonName, text);
    name
}

/// The form in which names are compared: lower case, no dot at the end, addresses as the library writes them.
fn normal(name: &str) -> Result<String, Error> {
    let lower = name.trim().trim_end_matches('.').to_ascii_lowercase();
    if let Ok(address) = lower.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    match ServerName::try_from(lower.strip_prefix("*.").unwrap_or(&lower)) {
        Ok(ServerName::DnsName(_)) => Ok(lower),
        _ => Err(Error::BadName { name: name.to_owned() }),
    }
}

fn san(name: &str) -> Result<SanType, Error> {
    if let Ok(address) = name.parse::<IpAddr>() {
        return Ok(SanType::IpAddress(address));
    }
    let ascii = name.try_into().map_err(|_| Error::BadName { name: name.to_owned() })?;
    Ok(SanType::DnsName(ascii))
}

fn crypto(error: &dyn std::error::Error) -> Error {
    Error::Crypto(error.to_string())
}
