//! Files that are taken for certificates by mistake, told by their first octets or their labels.

use super::BundleTrouble;
use super::pem::holds;

/// The labels (RFC 7468 §6, §13) of what is often sent instead of a certificate.
pub(super) const REVOCATION_LIST: &str = "X509 CRL";
pub(super) const PUBLIC_KEY: &str = "PUBLIC KEY";

/// So many octets at the beginning are looked at for the marks of a web page.
const HEAD: usize = 512;

/// What the file is, if it is anything known that holds no certificate.
pub(super) fn recognise(octets: &[u8]) -> Option<BundleTrouble> {
    match octets {
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'-', 0, b'-', 0, ..] | [0, b'-', 0, b'-', ..] => {
            return Some(BundleTrouble::Utf16);
        }
        // JKS, and JCEKS.
        [0xfe, 0xed, 0xfe, 0xed, ..] | [0xce, 0xce, 0xce, 0xce, ..] => {
            return Some(BundleTrouble::JavaKeystore);
        }
        [b'P', b'K', 3, 4, ..] => return Some(BundleTrouble::Archive("ZIP")),
        [0x1f, 0x8b, ..] => return Some(BundleTrouble::Archive("gzip")),
        [b'%', b'P', b'D', b'F', ..] => return Some(BundleTrouble::Archive("PDF")),
        _ => (),
    }
    let text = octets.trim_ascii_start();
    if is_web_page(text) {
        return Some(BundleTrouble::WebPage);
    }
    let ssh: [&[u8]; 5] = [b"ssh-", b"ecdsa-sha2-", b"sk-ssh-", b"---- BEGIN SSH2", b"PuTTY-User-Key-File"];
    ssh.iter().any(|start| text.starts_with(start)).then_some(BundleTrouble::Ssh)
}

/// Blocks of PEM that are other programs' affair.
pub(super) fn by_label(label: &str) -> Option<BundleTrouble> {
    match label {
        _ if label.starts_with("PGP ") => Some(BundleTrouble::Pgp),
        _ if label.starts_with("OPENSSH ") || label.starts_with("SSH") => Some(BundleTrouble::Ssh),
        _ => None,
    }
}

/// What to say of a file that holds nothing of use, but these.
pub(super) fn nothing(mut labels: Vec<String>) -> BundleTrouble {
    labels.sort();
    labels.dedup();
    labels.truncate(8);
    match labels.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [REVOCATION_LIST] => BundleTrouble::RevocationList,
        [PUBLIC_KEY | "RSA PUBLIC KEY"] => BundleTrouble::PublicKey,
        _ => BundleTrouble::Nothing(labels),
    }
}

fn is_web_page(text: &[u8]) -> bool {
    if text.first() != Some(&b'<') {
        return false;
    }
    let head = text.get(..HEAD).unwrap_or(text).to_ascii_lowercase();
    let marks: [&[u8]; 5] = [b"<!doctype", b"<html", b"<head", b"<body", b"<?xml"];
    marks.iter().any(|mark| holds(&head, mark))
}
