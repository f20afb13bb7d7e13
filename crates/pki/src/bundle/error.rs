//! Why a file cannot be used, each with what to do about it.

use std::fmt;
use std::io;

use crate::RequestError;

use super::{LARGEST_FILE, MOST_ITEMS, rounds};

/// A file that cannot be used, and why.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {}", trouble.sentence(what))]
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

/// What is wrong with a file.
#[derive(Debug)]
#[non_exhaustive]
pub enum BundleTrouble {
    /// It is not there.
    Missing,
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is a folder.
    Folder,
    /// There is nothing in it.
    Empty,
    /// It is larger than anything that it could be.
    TooLarge,
    /// It holds more certificates, keys or requests than anybody needs.
    TooMany,
    /// It is a web page.
    WebPage,
    /// It is a key for SSH.
    Ssh,
    /// It belongs to PGP.
    Pgp,
    /// It is a Java key store.
    JavaKeystore,
    /// It is packed.
    Archive(&'static str),
    /// It is text in UTF-16.
    Utf16,
    /// It is a list of revoked certificates.
    RevocationList,
    /// It is a public key alone.
    PublicKey,
    /// There is nothing in it that can be used; these blocks are.
    Nothing(Vec<String>),
    /// It is not what is wanted, but something else.
    Instead {
        /// What is wanted.
        wanted: Item,
        /// What there is.
        found: Vec<Item>,
    },
    /// A block says that it is one thing and is another.
    Mislabelled {
        /// What it says.
        label: String,
        /// The line in which it begins.
        line: usize,
        /// What it is.
        holds: &'static str,
    },
    /// A block has no end.
    NoEnd {
        /// What it says that it is.
        label: String,
        /// The line in which it begins.
        line: usize,
    },
    /// A block has no beginning.
    NoBegin {
        /// The line in which it ends.
        line: usize,
    },
    /// A BEGIN or END line is not as it should be.
    BadBoundary {
        /// The line.
        line: usize,
    },
    /// A line of a block is no base64.
    Base64 {
        /// The line.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// It says that it is longer than it is.
    Truncated {
        /// So many octets are there.
        has: usize,
        /// So many there should be.
        wants: u64,
    },
    /// It leaves its length open (BER) and never ends.
    NoEndOfContents,
    /// It is what it should be, but damaged.
    Damaged {
        /// What it is.
        item: &'static str,
        /// What was found.
        reason: String,
    },
    /// Something is wrong with one block of several.
    Block {
        /// The line in which it begins.
        line: usize,
        /// What is wrong.
        trouble: Box<BundleTrouble>,
    },
    /// A private key is of a kind that cannot be used, or damaged.
    UnusableKey(String),
    /// A request cannot be believed.
    Request(RequestError),
    /// A passphrase is needed.
    PassphraseNeeded(&'static str),
    /// The passphrase is wrong.
    WrongPassphrase(&'static str),
    /// A key is protected in the old way of OpenSSL.
    LegacyLock {
        /// The line in which it begins.
        line: usize,
    },
    /// It is protected in a way that cannot be opened here.
    UnknownLock(&'static str),
    /// Opening it would take too long.
    Costly {
        /// So many rounds it asks for.
        rounds: u64,
    },
    /// It is in a form of PKCS #7 or PKCS #12 that is not read.
    UnknownContainer(&'static str),
    /// It is none of what is known.
    Garbage,
}

impl BundleTrouble {
    pub(super) fn in_block(self, line: usize) -> Self {
        Self::Block { line, trouble: Box::new(self) }
    }

    /// What is wrong and what to do, about the file of this name.
    fn sentence(&self, file: &str) -> String {
        match self {
            Self::Missing => "there is no such file".to_owned(),
            Self::Unreadable(error) => format!("cannot be read: {error}"),
            Self::Folder => "this is a folder; name the file in it that holds the certificate".to_owned(),
            Self::Empty => "the file is empty; download or copy it again".to_owned(),
            Self::TooLarge => format!(
                "the file is larger than {} KiB; no certificate is, so this is another file",
                LARGEST_FILE / 1024
            ),
            Self::TooMany => {
                format!(
                    "holds more than {MOST_ITEMS} certificates or keys; take out those that belong together"
                )
            }
            Self::Instead { wanted, found } => instead(*wanted, found),
            Self::Block { line, trouble } => {
                format!("the block that begins in line {line}: {}", trouble.sentence(file))
            }
            Self::LegacyLock { .. } | Self::UnknownLock(_) | Self::JavaKeystore | Self::Utf16 => {
                self.with_command(file)
            }
            Self::WebPage
            | Self::Ssh
            | Self::Pgp
            | Self::Archive(_)
            | Self::RevocationList
            | Self::PublicKey
            | Self::Nothing(_)
            | Self::Garbage => self.other_file(),
            _ => self.broken(),
        }
    }

    /// What another program can turn into something that is read.
    fn with_command(&self, file: &str) -> String {
        match self {
            Self::LegacyLock { line } => format!(
                "the private key that begins in line {line} is protected in the old way of OpenSSL, which is not safe; \
                 convert it: openssl pkcs8 -topk8 -in {file} -out converted.key"
            ),
            Self::UnknownLock("PKCS #12 file") => format!(
                "this PKCS #12 file is protected in a way that is not supported; convert it: \
                 openssl pkcs12 -legacy -in {file} -out converted.pem"
            ),
            Self::UnknownLock(item) => format!(
                "this {item} is protected in a way that is not supported; convert it: \
                 openssl pkcs8 -in {file} -out plain.key && openssl pkcs8 -topk8 -v2 aes-256-cbc -in plain.key -out \
                 converted.key"
            ),
            Self::JavaKeystore => format!(
                "this is a Java key store; convert it: keytool -importkeystore -srckeystore {file} \
                 -destkeystore converted.p12 -deststoretype PKCS12"
            ),
            _ => format!(
                "this is text in UTF-16, as Windows' Notepad and PowerShell write it; save it as UTF-8, or convert it: \
                 iconv -f UTF-16 -t UTF-8 {file} > converted.pem"
            ),
        }
    }

    /// Something that is whole, but not what is looked for.
    fn other_file(&self) -> String {
        match self {
            Self::WebPage => "this is a web page, not a certificate; use the authority's download button, or copy \
                              only what stands from -----BEGIN to -----END"
                .to_owned(),
            Self::Ssh => "this is a key for SSH, which has no certificate of this kind; make a request with \
                          `postern cert request`, which makes the key too"
                .to_owned(),
            Self::Pgp => "this belongs to PGP (GnuPG), which has certificates of another kind".to_owned(),
            Self::Archive(kind) => format!("this is a {kind} file; unpack it and name the files in it"),
            Self::RevocationList => {
                "this is a list of revoked certificates (CRL), not a certificate".to_owned()
            }
            Self::PublicKey => {
                "this is a public key alone; the certificate or the private key is needed".to_owned()
            }
            Self::Nothing(labels) if labels.is_empty() => {
                "holds no certificate, no private key and no request".to_owned()
            }
            Self::Nothing(labels) => {
                format!("holds no certificate, no private key and no request, only: {}", labels.join(", "))
            }
            _ => "this is no certificate, key or request in any form that is known (PEM, DER, PKCS #7, PKCS #12), or \
                  it is badly damaged; download or copy it again"
                .to_owned(),
        }
    }

    /// Something that is looked for, but not whole or not to be opened.
    fn broken(&self) -> String {
        match self {
            Self::Mislabelled { label, line, holds } => mislabelled(label, *line, holds),
            Self::NoEnd { label, line } => format!(
                "the block {label} that begins in line {line} has no -----END {label}----- line: the rest is missing; \
                 copy the whole of it"
            ),
            Self::NoBegin { line } => format!(
                "line {line} ends a block that nothing begins: the -----BEGIN line is missing; copy the whole of it"
            ),
            Self::BadBoundary { line } => format!(
                "line {line} is not as it should be: -----BEGIN CERTIFICATE----- has five plain hyphens on either side \
                 and stands in a line of its own; copy it again as plain text"
            ),
            Self::Base64 { line, reason } => {
                format!("line {line} is damaged: {reason}; copy the whole block again")
            }
            Self::Truncated { has, wants } => format!(
                "is cut off: {has} octets are there, and there should be {wants}; download or copy it again"
            ),
            Self::NoEndOfContents => {
                "is cut off or damaged: it leaves its length open, as some programs write it, and \
                                      does not end; download or copy it again"
                    .to_owned()
            }
            Self::Damaged { item, reason } => {
                format!("holds a {item} that is damaged: {reason}; download or copy it again")
            }
            Self::UnusableKey(reason) => {
                format!(
                    "the private key cannot be used: {reason}; make a new key with `postern cert request`"
                )
            }
            Self::Request(error) => error.to_string(),
            Self::PassphraseNeeded(item) => {
                format!("this {item} is protected by a passphrase, and none was given")
            }
            Self::WrongPassphrase(item) => format!("the passphrase does not open this {item}"),
            Self::Costly { rounds } => format!(
                "asks for {} rounds of key derivation to be opened, more than the {} that are tried; if it is yours, \
                 write it again with fewer",
                if *rounds == u64::MAX { "too many".to_owned() } else { rounds.to_string() },
                rounds::MOST
            ),
            Self::UnknownContainer(reason) => (*reason).to_owned(),
            _ => "cannot be used".to_owned(),
        }
    }
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

fn mislabelled(label: &str, line: usize, holds: &str) -> String {
    let remedy = match holds {
        "private key" | "protected private key" => {
            "a private key is never shown to anybody; if this went out, make a new key"
        }
        "certificate request" => "the authority makes a certificate of it; install that",
        _ => "copy the right block into it",
    };
    format!("the block that begins in line {line} says {label}, but holds a {holds}: {remedy}")
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
