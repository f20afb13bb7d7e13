//! Whatever people have: files with certificates, keys and requests, read in every form that authorities and other
//! programs write, or refused in a sentence that says what the file is and what to do.
//!
//! - [`Bundle`] is what a file held: certificates in its order, keys, requests.
//! - [`BundleError`] says which file it is about; [`BundleTrouble`] is what is wrong with it.
//!
//! Read are PEM with anything between its blocks, DER, base64 without its BEGIN line, PKCS #7 and PKCS #12, keys with and
//! without a passphrase. The form is told by looking at the content: names of files are not asked. Everything is bounded:
//! octets, certificates, and the rounds of key derivation that a file may ask for before anybody can know whether
//! its passphrase is right.
//!
//! What it deliberately does not do: decide which certificate belongs to which key ([`chain`](crate::chain)), or whether
//! any of them is good ([`examine`](crate::examine())).

mod ber;
mod der;
mod error;
mod foreign;
mod locked;
mod pem;
mod rounds;

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use crate::{Passphrase, PrivateKey, SigningRequest};

pub use error::{BundleError, BundleTrouble, Item, Locked};

use der::Form;

/// The largest file that is read, in octets. A chain with its key has 5 to 10 KiB.
pub const LARGEST_FILE: usize = 1024 * 1024;
/// So many certificates may be in one file, and so many keys and requests each.
const MOST_ITEMS: usize = 64;

/// What was in a file.
#[derive(Debug, Default)]
pub struct Bundle {
    /// The certificates, in the order of the file, each once.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The private keys, each once.
    pub keys: Vec<PrivateKey>,
    /// The signing requests; their signatures are good.
    pub requests: Vec<SigningRequest>,
}

impl Bundle {
    /// Reads a file in any form. The passphrase is needed only where the file is protected by one.
    ///
    /// # Errors
    /// The file cannot be read, or is none of what is read here: see [`BundleTrouble`]. A file of more than 1 MiB is refused
    /// without being read.
    pub fn read(path: &Path, passphrase: Option<&Passphrase>) -> Result<Self, BundleError> {
        Self::parse(&Self::octets(path)?, &path.display().to_string(), passphrase)
    }

    /// What is in a file, for [`Bundle::parse`] later on, perhaps as another user.
    ///
    /// # Errors
    /// The file cannot be read, or is of more than 1 MiB.
    pub fn octets(path: &Path) -> Result<Zeroizing<Vec<u8>>, BundleError> {
        octets_of(path).map_err(|trouble| BundleError { what: path.display().to_string(), trouble })
    }

    /// Takes what is already in memory; `what` is what errors call it.
    ///
    /// # Errors
    /// As [`Bundle::read`].
    pub fn parse(octets: &[u8], what: &str, passphrase: Option<&Passphrase>) -> Result<Self, BundleError> {
        collect(octets, passphrase).map_err(|trouble| BundleError { what: what.to_owned(), trouble })
    }

    /// Adds what another file held.
    pub fn join(&mut self, other: Self) {
        other.certificates.into_iter().for_each(|certificate| self.add_certificate(certificate));
        other.keys.into_iter().for_each(|key| self.add_key(key));
        other.requests.into_iter().for_each(|request| self.add_request(request));
    }

    /// Makes sure that there is a certificate, a key or a request in what was read.
    ///
    /// # Errors
    /// What there is instead, and what to do.
    pub fn expect(&self, wanted: Item, what: &str) -> Result<(), BundleError> {
        let (certificates, keys, requests) =
            (!self.certificates.is_empty(), !self.keys.is_empty(), !self.requests.is_empty());
        let there = match wanted {
            Item::Certificate => certificates,
            Item::Key => keys,
            Item::Request => requests,
        };
        if there {
            return Ok(());
        }
        let held = [(certificates, Item::Certificate), (keys, Item::Key), (requests, Item::Request)];
        let found = held.into_iter().filter_map(|(there, item)| there.then_some(item)).collect();
        Err(BundleError { what: what.to_owned(), trouble: BundleTrouble::Instead { wanted, found } })
    }

    fn add_certificate(&mut self, certificate: CertificateDer<'static>) {
        if !self.certificates.contains(&certificate) {
            self.certificates.push(certificate);
        }
    }

    fn add_key(&mut self, key: PrivateKey) {
        if !self.keys.iter().any(|other| other.spki() == key.spki()) {
            self.keys.push(key);
        }
    }

    fn add_request(&mut self, request: SigningRequest) {
        if !self.requests.contains(&request) {
            self.requests.push(request);
        }
    }
}

/// A whole file, unless it is too large. Its octets may be a key's.
fn octets_of(path: &Path) -> Result<Zeroizing<Vec<u8>>, BundleTrouble> {
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => BundleTrouble::Missing,
        ErrorKind::IsADirectory => BundleTrouble::Folder,
        _ => BundleTrouble::Unreadable(error),
    };
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if about.is_dir() {
        return Err(BundleTrouble::Folder);
    }
    let most = LARGEST_FILE as u64;
    if about.len() > most {
        return Err(BundleTrouble::TooLarge);
    }
    // A pipe has no length; and no second buffer with a key in it is left behind by growing.
    let mut octets = Zeroizing::new(Vec::with_capacity(LARGEST_FILE + 1));
    file.take(most + 1).read_to_end(&mut octets).map_err(failed)?;
    Ok(octets)
}

fn collect(octets: &[u8], passphrase: Option<&Passphrase>) -> Result<Bundle, BundleTrouble> {
    if octets.len() > LARGEST_FILE {
        return Err(BundleTrouble::TooLarge);
    }
    let octets = octets.strip_prefix(b"\xef\xbb\xbf").unwrap_or(octets);
    if octets.trim_ascii().is_empty() {
        return Err(BundleTrouble::Empty);
    }
    if let Some(trouble) = foreign::recognise(octets) {
        return Err(trouble);
    }
    let mut collector = Collector { passphrase, bundle: Bundle::default(), rounds: 0, others: Vec::new() };
    if pem::is_likely(octets) {
        collector.sections(octets)?;
    } else if let Some(der) = pem::bare_base64(octets) {
        collector.elements(&der)?;
    } else {
        collector.elements(octets)?;
    }
    collector.finish()
}

/// What was found so far in one file.
struct Collector<'a> {
    passphrase: Option<&'a Passphrase>,
    bundle: Bundle,
    /// Rounds of key derivation that were spent.
    rounds: u64,
    /// What else there was, and is of no use here.
    others: Vec<String>,
}

impl Collector<'_> {
    /// The blocks of a PEM file (RFC 7468).
    fn sections(&mut self, text: &[u8]) -> Result<(), BundleTrouble> {
        for section in pem::sections(text)? {
            let section = section?;
            if let Some(trouble) = foreign::by_label(&section.label) {
                return Err(trouble);
            }
            if section.locked == pem::Lock::Legacy {
                return Err(BundleTrouble::LegacyLock { line: section.line });
            }
            match pem::meaning(&section.label) {
                Some(meaning) => self.section(&section, meaning)?,
                None => self.others.push(section.label.clone()),
            }
        }
        Ok(())
    }

    fn section(&mut self, section: &pem::Section, meaning: pem::Meaning) -> Result<(), BundleTrouble> {
        let (element, rest) = der::element(&section.der).map_err(|trouble| trouble.in_block(section.line))?;
        let form = der::form(&element).ok_or(BundleTrouble::Garbage).map_err(|t| t.in_block(section.line))?;
        let item = form.item();
        if item != Some(meaning.item) {
            let (label, line) = (section.label.clone(), section.line);
            return Err(BundleTrouble::Mislabelled { label, line, holds: form.words(), item });
        }
        // OpenSSL's trusted certificates bear a supplement that nobody else reads.
        if !rest.is_empty() && meaning.supplement == pem::Supplement::None {
            return Err(BundleTrouble::Damaged {
                item: form.words(),
                reason: format!("{} octets follow its end", rest.len()),
            }
            .in_block(section.line));
        }
        self.take(form, &element).map_err(|trouble| trouble.in_block(section.line))
    }

    /// One DER element after the other; an editor may have left line ends behind the last.
    fn elements(&mut self, octets: &[u8]) -> Result<(), BundleTrouble> {
        let mut rest = octets;
        while !rest.trim_ascii().is_empty() {
            let (element, behind) = der::element(rest)?;
            let form = der::form(&element).ok_or(BundleTrouble::Garbage)?;
            self.take(form, &element)?;
            rest = behind;
        }
        Ok(())
    }

    fn take(&mut self, form: Form, element: &[u8]) -> Result<(), BundleTrouble> {
        match form {
            Form::Certificate => self.certificate(element)?,
            Form::Request => {
                let request = SigningRequest::from_der(element).map_err(BundleTrouble::Request)?;
                self.bundle.add_request(request);
            }
            Form::Pkcs7 => {
                for certificate in der::certificates_of_pkcs7(element)? {
                    self.certificate(certificate)?;
                }
            }
            Form::Pkcs12 => self.pkcs12(element)?,
            Form::Pkcs8 => self.key(&PrivateKeyDer::Pkcs8(element.into()))?,
            Form::Pkcs1 => self.key(&PrivateKeyDer::Pkcs1(element.into()))?,
            Form::Sec1 => self.key(&PrivateKeyDer::Sec1(element.into()))?,
            Form::LockedKey => {
                self.spend(rounds::asked_by(element))?;
                let plain = locked::open_key(element, self.passphrase)?;
                self.key(&PrivateKeyDer::Pkcs8(plain.as_bytes().into()))?;
            }
            Form::OtherKey => return Err(BundleTrouble::UnusableKey("it is a DSA key".to_owned())),
            Form::RevocationList => self.others.push(foreign::REVOCATION_LIST.to_owned()),
            Form::PublicKey => self.others.push(foreign::PUBLIC_KEY.to_owned()),
        }
        self.count()
    }

    fn certificate(&mut self, element: &[u8]) -> Result<(), BundleTrouble> {
        der::check_certificate(element)?;
        self.bundle.add_certificate(CertificateDer::from(element.to_vec()));
        self.count()
    }

    fn key(&mut self, der: &PrivateKeyDer<'_>) -> Result<(), BundleTrouble> {
        self.bundle.add_key(PrivateKey::from_der(der).map_err(BundleTrouble::UnusableKey)?);
        Ok(())
    }

    fn pkcs12(&mut self, element: &[u8]) -> Result<(), BundleTrouble> {
        self.spend(rounds::asked_by(element))?;
        let passphrase = self.passphrase.map_or("", Passphrase::expose);
        self.spend(rounds::asked_within(element, passphrase))?;
        let archive = locked::open_pkcs12(element, self.passphrase)?;
        for bag in &archive.keys {
            self.key(&PrivateKeyDer::Pkcs8(bag.key.as_der().into()))?;
        }
        for bag in &archive.certs {
            self.certificate(bag.cert.as_der())?;
        }
        Ok(())
    }

    /// Refuses what would take too long to open, before it is tried.
    fn spend(&mut self, rounds: u64) -> Result<(), BundleTrouble> {
        self.rounds = self.rounds.saturating_add(rounds);
        if self.rounds > rounds::MOST {
            return Err(BundleTrouble::Costly { rounds });
        }
        Ok(())
    }

    fn count(&self) -> Result<(), BundleTrouble> {
        let bundle = &self.bundle;
        let most = bundle.certificates.len().max(bundle.keys.len()).max(bundle.requests.len());
        if most > MOST_ITEMS { Err(BundleTrouble::TooMany) } else { Ok(()) }
    }

    fn finish(self) -> Result<Bundle, BundleTrouble> {
        let bundle = &self.bundle;
        if bundle.certificates.is_empty() && bundle.keys.is_empty() && bundle.requests.is_empty() {
            return Err(foreign::nothing(self.others));
        }
        Ok(self.bundle)
    }
}
