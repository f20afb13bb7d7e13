//! Certificates in one file as Windows and Java like it: PKCS #7 that signs nothing (RFC 5652 §5.1, certs-only).

use rustls_pki_types::CertificateDer;

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
/// `[0]`, constructed.
const TAG_0: u8 = 0xa0;
/// 1.2.840.113549.1.7.2, id-signedData.
const SIGNED_DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x02];
/// 1.2.840.113549.1.7.1, id-data.
const DATA: &[u8] = &[0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x07, 0x01];
/// Version 1.
const VERSION: &[u8] = &[0x02, 0x01, 0x01];

/// These certificates, in DER.
pub(super) fn certificates_only(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
    let certificates: Vec<&[u8]> = certificates.iter().map(AsRef::as_ref).collect();
    let nothing = element(SET, &[]);
    let content = element(SEQUENCE, &[DATA]);
    let held = element(TAG_0, &certificates);
    let signed = element(SEQUENCE, &[VERSION, &nothing, &content, &held, &nothing]);
    element(SEQUENCE, &[SIGNED_DATA, &element(TAG_0, &[&signed])])
}

/// One element of DER (X.690 §8.1).
fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut element = vec![tag];
    let length = content.len().to_be_bytes();
    let length = &length[length.iter().take_while(|octet| **octet == 0).count()..];
    match (content.len(), u8::try_from(length.len())) {
        (short @ 0..=127, _) => element.push(short.to_le_bytes()[0]),
        (_, octets) => {
            element.push(0x80 | octets.unwrap_or(0));
            element.extend_from_slice(length);
        }
    }
    element.extend_from_slice(&content);
    element
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_written_as_short_as_they_can_be() {
        for (length, head) in [
            (0, &[0x30, 0][..]),
            (127, &[0x30, 0x7f]),
            (128, &[0x30, 0x81, 0x80]),
            (256, &[0x30, 0x82, 1, 0]),
            (70_000, &[0x30, 0x83, 1, 0x11, 0x70]),
        ] {
            let element = element(SEQUENCE, &[&vec![7; length]]);
            assert!(element.starts_with(head), "{length}");
            assert_eq!(element.len(), head.len() + length);
        }
    }

    #[test]
    fn what_is_written_is_read_as_one_whole() {
        let certificates = [CertificateDer::from(vec![0x30, 0]), CertificateDer::from(vec![0x30, 1, 5])];
        let der = certificates_only(&certificates);
        assert_eq!(usize::from(der[1]), der.len() - 2);
        let held = [0xa0, 5, 0x30, 0, 0x30, 1, 5];
        assert!(der.windows(held.len()).any(|window| window == held), "{der:02x?}");
    }
}
