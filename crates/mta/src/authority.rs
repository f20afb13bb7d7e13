//! The private CA of this installation: where it lies, and what opens its key.
//!
//! - [`open`]: the CA in the data directory. [`signer`]: the open key of what signs daily, with a passphrase that was given
//!   or the one in `[ca] passphrase_file`; [`root_signer`]: the root's, likewise.
//! - [`read_request`]: a certificate request as people bring it, PEM or DER.
//!
//! What it deliberately does not do: decide what is issued (that is `postern_pki::ca`), ask for passphrases, or keep a key
//! open: each signing opens it anew.

use std::path::PathBuf;

use jiff::Timestamp;
use postern_pki::ca::{Authority, AuthorityError, KeyState, Signer};
use postern_pki::{Passphrase, RequestError, SigningRequest};
use rustls_pki_types::pem::{PemObject as _, SectionKind};

use crate::config::Config;

/// What the private CA is called where an issuer or an identity is named.
pub const NAME: &str = "private-ca";

/// What some programs write above a request (RFC 7468 §7 asks to take it), and what it means.
const OLD_LABEL: &str = "NEW CERTIFICATE REQUEST";
const LABEL: &str = "CERTIFICATE REQUEST";

/// Why something with the private CA cannot be done. Nothing was changed then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The CA itself, its records, or what was asked of it.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// The file of `[ca] passphrase_file`.
    #[error(
        "the passphrase of the private CA cannot be had: {0}; mend the file, or [ca] passphrase_file, which names it"
    )]
    PassphraseFile(Box<postern_pki::Error>),
    /// There is no intermediate that could be renewed.
    #[error(
        "{folder}: this CA has no intermediate, its root signs everything; a root is not renewed but replaced by a new CA"
    )]
    NoIntermediate {
        /// The CA's folder.
        folder: PathBuf,
    },
    /// What was brought as a request is none.
    #[error("{0}")]
    NoRequest(&'static str),
    /// A name that cannot stand in a certificate.
    #[error(transparent)]
    Name(#[from] postern_pki::BadName),
    /// What was issued makes no chain.
    #[error(transparent)]
    Chain(#[from] postern_pki::ChainError),
    /// A time that is longer than time lasts.
    #[error("{0} is too long")]
    Life(String),
    /// The data directory cannot be used.
    #[error(transparent)]
    DataDir(#[from] Box<crate::daemon::Error>),
}

impl From<postern_pki::Error> for Error {
    fn from(error: postern_pki::Error) -> Self {
        Self::Authority(error.into())
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        Self::Authority(error.into())
    }
}

/// Where the private CA lies.
pub(crate) fn folder(config: &Config) -> PathBuf {
    config.data_dir.join("ca")
}

/// Where the private CA's root certificate lies, in PEM, if there is a CA.
pub(crate) fn root(config: &Config) -> PathBuf {
    Authority::root_pem_in(&folder(config))
}

/// Where the private CA's revocation list lies, in PEM, once there is one.
pub(crate) fn revocation_list(config: &Config) -> PathBuf {
    Authority::crl_pem_in(&folder(config))
}

/// The private CA, without its key.
///
/// # Errors
/// There is none, it has ended, or its files are broken.
pub(crate) fn open(config: &Config, now: Timestamp) -> Result<Authority, AuthorityError> {
    Authority::open(&folder(config), now)
}

/// The open key of what signs daily.
///
/// # Errors
/// It is missing, or locked and the passphrase is not at hand or wrong.
pub(crate) fn signer(
    authority: &Authority,
    config: &Config,
    given: Option<&Passphrase>,
) -> Result<Signer, Error> {
    let passphrase = passphrase(authority.key_state(), config, given)?;
    Ok(authority.signer(passphrase.as_ref())?)
}

/// The open key of the root.
///
/// # Errors
/// As [`signer`].
pub(crate) fn root_signer(
    authority: &Authority,
    config: &Config,
    given: Option<&Passphrase>,
) -> Result<Signer, Error> {
    let passphrase = passphrase(authority.root_key_state(), config, given)?;
    Ok(authority.root_signer(passphrase.as_ref())?)
}

/// What opens a key that lies like this: what was given, or what the configuration names.
///
/// # Errors
/// The file that the configuration names cannot be used.
pub(crate) fn passphrase(
    key: KeyState,
    config: &Config,
    given: Option<&Passphrase>,
) -> Result<Option<Passphrase>, Error> {
    match (key, given, &config.ca.passphrase_file) {
        (KeyState::Locked, None, Some(path)) => {
            let read = Passphrase::in_file(path);
            Ok(Some(read.map_err(|error| Error::PassphraseFile(Box::new(error)))?))
        }
        (KeyState::Locked, given, _) => Ok(given.cloned()),
        _ => Ok(None),
    }
}

/// Whether the key opens without anybody's help.
pub(crate) fn signs_alone(authority: &Authority, config: &Config) -> bool {
    match authority.key_state() {
        KeyState::Open => true,
        KeyState::Locked => config.ca.passphrase_file.is_some(),
        KeyState::Missing => false,
    }
}

/// A certificate request (PKCS #10) in PEM or DER. Its signature is checked.
///
/// # Errors
/// It is something else, broken, or its signature is wrong.
pub(crate) fn read_request(octets: &[u8]) -> Result<SigningRequest, Error> {
    // DER begins with a SEQUENCE (X.690 §8.9); no PEM does.
    if octets.first() == Some(&0x30) && !octets.starts_with(b"0\r") && !octets.starts_with(b"0\n") {
        return Ok(SigningRequest::from_der(octets)?);
    }
    let Ok(text) = std::str::from_utf8(octets) else {
        return Err(Error::NoRequest("this is neither PEM nor DER; send a certificate request (PKCS #10)"));
    };
    let text = text.replace(OLD_LABEL, LABEL);
    let mut sections = <(SectionKind, Vec<u8>)>::pem_slice_iter(text.as_bytes());
    match sections.next() {
        Some(Ok((SectionKind::Csr, der))) => match sections.next() {
            None => Ok(SigningRequest::from_der(&der)?),
            Some(_) => Err(Error::NoRequest("there is more than the request in it; send one request alone")),
        },
        Some(Ok((SectionKind::Certificate, _))) => {
            Err(Error::NoRequest("this is a certificate; send the request (PKCS #10) from which one is made"))
        }
        Some(Ok((SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey, _))) => {
            Err(Error::NoRequest(
                "this is a private key, which nobody else may see: make a new key, and send the certificate request \
                 (PKCS #10) alone",
            ))
        }
        Some(Ok(_)) => Err(Error::NoRequest("this is no certificate request (PKCS #10), but something else")),
        Some(Err(_)) => Err(Error::NoRequest("the PEM is damaged; copy it whole, from BEGIN to END")),
        None => Err(Error::NoRequest(
            "there is no certificate request in it; send the PKCS #10 as PEM (-----BEGIN CERTIFICATE REQUEST-----) or DER",
        )),
    }
}

#[cfg(test)]
mod tests {
    use postern_pki::{KeyKind, PrivateKey, RequestDetails, Subject};

    use super::*;

    fn request() -> (SigningRequest, PrivateKey) {
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let names = vec!["mail.example.org".parse().unwrap()];
        (SigningRequest::make(&RequestDetails { subject: Subject::default(), names }, &key).unwrap(), key)
    }

    fn refusal(octets: &[u8]) -> String {
        read_request(octets).unwrap_err().to_string()
    }

    #[test]
    fn a_request_is_read_as_pem_of_either_label_and_as_der() {
        let (request, _) = request();
        let pem = request.pem();
        for octets in [
            request.der().to_vec(),
            pem.clone().into_bytes(),
            format!("My request:\r\n\r\n{}", pem.replace('\n', "\r\n")).into_bytes(),
            pem.replace(LABEL, OLD_LABEL).into_bytes(),
        ] {
            assert_eq!(read_request(&octets).unwrap().der(), request.der());
        }
    }

    #[test]
    fn what_is_no_request_is_called_by_its_name() {
        let (request, key) = request();
        assert!(refusal(key.to_pem().as_bytes()).contains("nobody else may see"));
        assert!(
            refusal(request.pem().replace(LABEL, "CERTIFICATE").as_bytes()).contains("this is a certificate")
        );
        assert!(refusal(format!("{0}{0}", request.pem()).as_bytes()).contains("more than the request"));
        assert!(refusal(b"hello").contains("BEGIN CERTIFICATE REQUEST"));
        assert!(refusal(b"").contains("BEGIN CERTIFICATE REQUEST"));
        assert!(refusal(&[0xff, 0xfe, 0]).contains("neither PEM nor DER"));
        assert!(refusal(&request.der()[..40]).contains("damaged"));
        let cut: String = request.pem().lines().take(3).map(|line| format!("{line}\n")).collect();
        assert!(!refusal(cut.as_bytes()).is_empty());
    }

    #[test]
    fn a_request_that_was_changed_is_refused() {
        let (request, _) = request();
        let mut der = request.der().to_vec();
        let last = der.len() - 1;
        der[last] ^= 1;
        assert!(refusal(&der).contains("signature"), "{}", refusal(&der));
    }
}
