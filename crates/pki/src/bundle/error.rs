//! Why a file cannot be used, each with what to do about it.

use std::fmt;
use std::io;

use crate::RequestError;

use super::{LARGEST_FILE, MOST_ITEMS, rounds};

/// A file that cannot be used, and why.
#[derive(Debug)]
pub struct BundleError {
    /// The file, or what else the octets were called.
    pub what: String,
    /// What is wrong with it.
    pub trouble: BundleTrouble,
}

/// What a file can hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// A certificate.
    Certificate,
    /// A private key.
    Key,
    /// A certificate signing request.
    Request,
}

/// What a passphrase protects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locked {
    /// A private key.
    Key,
    /// A whole PKCS #12 file.
    Pkcs12,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleTrouble {
    /// It is not there.
    #[error("there is no such file")]
    Missing,
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// It is a folder.
    #[error("this is a folder; name the file in it that holds the certificate")]
    Folder,
    /// There is nothing in it.
    #[error("the file is empty; download or copy it again")]
    Empty,
    /// It is larger than anything that it could be.
    #[error("the file is larger than {} KiB; no certificate is, so this is another file", LARGEST_FILE / 1024)]
    TooLarge,
    /// It holds more certificates, keys or requests than anybody needs.
    #[error("holds more than {MOST_ITEMS} certificates or keys; take out those that belong together")]
    TooMany,
    /// It is a web page.
    #[error(
        "this is a web page, not a certificate; use the authority's download button, or copy only what stands from \
         -----BEGIN to -----END"
    )]
    WebPage,
    /// It is a key for SSH.
    #[error(
        "this is a key for SSH, which has no certificate of this kind; make a request with `postern cert request`, \
         which makes the key too"
    )]
    Ssh,
    /// It belongs to PGP.
    #[error("this belongs to PGP (GnuPG), which has certificates of another kind")]
    Pgp,
    /// It is a Java key store.
    #[error("this is a Java key store; convert it")]
    JavaKeystore,
    /// It is packed.
    #[error("this is a {0} file; unpack it and name the files in it")]
    Archive(&'static str),
    /// It is text in UTF-16.
    #[error(
        "this is text in UTF-16, as Windows' Notepad and PowerShell write it; save it as UTF-8, or convert it"
    )]
    Utf16,
    /// It is a list of revoked certificates.
    #[error("this is a list of revoked certificates (CRL), not a certificate")]
    RevocationList,
    /// It is a public key alone.
    #[error("this is a public key alone; the certificate or the private key is needed")]
    PublicKey,
    /// There is nothing in it that can be used; these blocks are.
    #[error("holds no certificate, no private key and no request{}", only(.0))]
    Nothing(Vec<String>),
    /// It is not what is wanted, but something else.
    #[error("{}", instead(*.wanted, .found))]
    Instead {
        /// What is wanted.
        wanted: Item,
        /// What there is.
        found: Vec<Item>,
    },
    /// A block says that it is one thing and is another.
    #[error("the block that begins in line {line} says {label}, but holds a {holds}: {}", what_to_copy(*.item))]
    Mislabelled {
        /// What it says.
        label: String,
        /// The line in which it begins.
        line: usize,
        /// What it is.
        holds: &'static str,
        /// What that is good for, if it is good for anything.
        item: Option<Item>,
    },
    /// A block has no end.
    #[error(
        "the block {label} that begins in line {line} has no -----END {label}----- line: the rest is missing; copy the \
         whole of it"
    )]
    NoEnd {
        /// What it says that it is.
        label: String,
        /// The line in which it begins.
        line: usize,
    },
    /// A block has no beginning.
    #[error(
        "line {line} ends a block that nothing begins: the -----BEGIN line is missing; copy the whole of it"
    )]
    NoBegin {
        /// The line in which it ends.
        line: usize,
    },
    /// A BEGIN or END line is not as it should be.
    #[error(
        "line {line} is not as it should be: -----BEGIN CERTIFICATE----- has five plain hyphens on either side and \
         stands in a line of its own; copy it again as plain text"
    )]
    BadBoundary {
        /// The line.
        line: usize,
    },
    /// A line of a block is no base64.
    #[error("line {line} is damaged: {reason}; copy the whole block again")]
    Base64 {
        /// The line.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// It says that it is longer than it is.
    #[error("is cut off: {has} octets are there, and there should be {wants}; download or copy it again")]
    Truncated {
        /// So many octets are there.
        has: usize,
        /// So many there should be.
        wants: u64,
    },
    /// It leaves its length open (BER) and never ends.
    #[error(
        "is cut off or damaged: it leaves its length open, as some programs write it, and does not end; download or \
         copy it again"
    )]
    NoEndOfContents,
    /// It is what it should be, but damaged.
    #[error("holds a {item} that is damaged: {reason}; download or copy it again")]
    Damaged {
        /// What it is.
        item: &'static str,
        /// What was found.
        reason: String,
    },
    /// Something is wrong with one block of several.
    #[error("the block that begins in line {line}: {trouble}")]
    Block {
        /// The line in which it begins.
        line: usize,
        /// What is wrong.
        trouble: Box<BundleTrouble>,
    },
    /// A private key is of a kind that cannot be used, or damaged.
    #[error("the private key cannot be used: {0}; make a new key with `postern cert request`")]
    UnusableKey(String),
    /// A request cannot be believed.
    #[error(transparent)]
    Request(RequestError),
    /// A passphrase is needed.
    #[error("this {0} is protected by a passphrase, and none was given")]
    PassphraseNeeded(Locked),
    /// The passphrase is wrong.
    #[error("the passphrase does not open this {0}")]
    WrongPassphrase(Locked),
    /// A key is protected in the old way of OpenSSL.
    #[error(
        "the private key that begins in line {line} is protected in the old way of OpenSSL, which is not safe; \
             convert it"
    )]
    LegacyLock {
        /// The line in which it begins.
        line: usize,
    },
    /// It is protected in a way that cannot be opened here.
    #[error("this {0} is protected in a way that is not supported; convert it")]
    UnknownLock(Locked),
    /// Opening it would take too long.
    #[error(
        "asks for {} rounds of key derivation to be opened, more than the {} that are tried; if it is yours, write it \
         again with fewer",
        number(*.rounds), rounds::MOST
    )]
    Costly {
        /// So many rounds it asks for.
        rounds: u64,
    },
    /// It is in a form of PKCS #7 or PKCS #12 that is not read.
    #[error("{0}")]
    UnknownContainer(&'static str),
    /// It is none of what is known.
    #[error(
        "this is no certificate, key or request in any form that is known (PEM, DER, PKCS #7, PKCS #12), or it is \
         badly damaged; download or copy it again"
    )]
    Garbage,
}

impl BundleTrouble {
    /// Whether another passphrase, or one at all, would help.
    pub fn is_of_passphrase(&self) -> bool {
        match self {
            Self::Block { trouble, .. } => trouble.is_of_passphrase(),
            Self::PassphraseNeeded(_) | Self::WrongPassphrase(_) => true,
            _ => false,
        }
    }

    pub(super) fn in_block(self, line: usize) -> Self {
        Self::Block { line, trouble: Box::new(self) }
    }

    /// The command that makes a file of this name into one that is read, where there is one.
    pub fn command(&self, file: &str) -> Option<String> {
        match self {
            Self::Block { trouble, .. } => trouble.command(file),
            Self::LegacyLock { .. } => Some(format!("openssl pkcs8 -topk8 -in {file} -out converted.key")),
            Self::UnknownLock(Locked::Pkcs12) => {
                Some(format!("openssl pkcs12 -legacy -in {file} -out converted.pem"))
            }
            Self::UnknownLock(Locked::Key) => Some(format!(
                "openssl pkcs8 -in {file} -out plain.key && \
                 openssl pkcs8 -topk8 -v2 aes-256-cbc -in plain.key -out converted.key"
            )),
            Self::JavaKeystore => Some(format!(
                "keytool -importkeystore -srckeystore {file} -destkeystore converted.p12 -deststoretype PKCS12"
            )),
            Self::Utf16 => Some(format!("iconv -f UTF-16 -t UTF-8 {file} > converted.pem")),
            _ => None,
        }
    }
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.trouble)?;
        match self.trouble.command(&self.what) {
            Some(command) => write!(f, ": {command}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BundleError {}

fn only(labels: &[String]) -> String {
    if labels.is_empty() { String::new() } else { format!(", only: {}", labels.join(", ")) }
}

fn number(rounds: u64) -> String {
    if rounds == u64::MAX { "too many".to_owned() } else { rounds.to_string() }
}

fn instead(wanted: Item, found: &[Item]) -> String {
    let remedy = match (wanted, found) {
        (Item::Certificate, [Item::Key, ..]) => {
            "name the certificate that the authority sent; keep the key to yourself, and make a new one if others \
             have seen it"
        }
        (Item::Certificate, [Item::Request, ..]) => {
            "send the request to an authority, and install the certificate that comes back"
        }
        (Item::Certificate, _) => "name the certificate that the authority sent",
        (Item::Key, _) => "name the file of the key that the certificate was requested with",
        (Item::Request, _) => "name the request (it begins with -----BEGIN CERTIFICATE REQUEST-----)",
    };
    let words: Vec<String> = found.iter().map(Item::to_string).collect();
    if words.is_empty() {
        return format!("holds no {wanted}: {remedy}");
    }
    format!("holds a {} and no {wanted}: {remedy}", words.join(" and a "))
}

fn what_to_copy(item: Option<Item>) -> &'static str {
    match item {
        Some(Item::Key) => "a private key is never shown to anybody; if this went out, make a new key",
        Some(Item::Request) => "the authority makes a certificate of it; install that",
        _ => "copy the right block into it",
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Certificate => "certificate",
            Self::Key => "private key",
            Self::Request => "certificate request",
        })
    }
}

impl fmt::Display for Locked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "private key",
            Self::Pkcs12 => "PKCS #12 file",
        })
    }
}
