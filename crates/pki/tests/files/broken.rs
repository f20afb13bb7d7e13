//! Broken files and files that are something else: each is refused in a sentence that says what it is and what to do.

use std::fs::File;
use std::time::{Duration, Instant};

use postern_pki::{Bundle, BundleTrouble, Item, LARGEST_FILE};

use crate::{Desk, header, secret};

fn sentence(desk: &Desk, name: &str, passphrase: Option<&str>) -> String {
    match desk.read(name, passphrase) {
        Ok(bundle) => panic!("{name} is read: {bundle:?}"),
        Err(error) => error.to_string(),
    }
}

/// What is said about these octets, without their name.
fn said(octets: &[u8]) -> String {
    let error = Bundle::parse(octets, "FILE", None).unwrap_err().to_string();
    error.strip_prefix("FILE: ").unwrap().to_owned()
}

#[test]
fn what_is_something_else_is_told_what_it_is() {
    for (octets, words) in [
        (&b""[..], "is empty"),
        (b" \r\n\n", "is empty"),
        (b"<!DOCTYPE html><html><body>404", "a web page"),
        (b"\n  <HTML>", "a web page"),
        (b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI postmaster", "a key for SSH"),
        (b"-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjE\n-----END OPENSSH PRIVATE KEY-----\n", "a key for SSH"),
        (b"PuTTY-User-Key-File-3: ssh-ed25519\n", "a key for SSH"),
        (b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: 2\n\nmQE\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n", "belongs to PGP"),
        (b"\xfe\xed\xfe\xed\0\0\0\x02\0\0\0\x01", "keytool -importkeystore -srckeystore FILE"),
        (b"PK\x03\x04\x14\0\0\0", "a ZIP file; unpack it"),
        (b"\x1f\x8b\x08\0", "a gzip file; unpack it"),
        (b"%PDF-1.7", "a PDF file"),
        (b"\xff\xfe-\0-\0-\0-\0-\0B\0", "iconv -f UTF-16"),
        (b"-----BEGIN DH PARAMETERS-----\nAAAA\n-----END DH PARAMETERS-----\n", "only: DH PARAMETERS"),
        (b"hello, world", "no certificate, key or request in any form"),
        (&[0xff; 4096], "no certificate, key or request in any form"),
        (&[0; 4096], "no certificate, key or request in any form"),
        (&[0x30, 0x03, 2, 1, 0], "no certificate, key or request in any form"),
    ] {
        let sentence = said(octets);
        assert!(sentence.contains(words), "{:?}: {sentence}", String::from_utf8_lossy(octets));
    }
}

#[test]
fn what_other_programs_make_besides_certificates_is_named() {
    let desk = Desk::with_chain();
    desk.write("ca.cnf", b"[ca]\ndefault_ca=a\n[a]\ndatabase=index\ndefault_md=sha256\ndefault_crl_days=9\n");
    desk.write("index", b"");
    desk.openssl("ca -config ca.cnf -gencrl -cert root.pem -keyfile root.key -out a.crl");
    desk.openssl("crl -in a.crl -outform DER -out b.crl");
    for file in ["a.crl", "b.crl"] {
        assert!(sentence(&desk, file, None).contains("a list of revoked certificates (CRL)"), "{file}");
    }
    desk.openssl("pkey -in host.key -pubout -out public.pem");
    assert!(sentence(&desk, "public.pem", None).contains("a public key alone"));
    desk.openssl("pkey -in host.key -pubout -outform DER -out public.der");
    assert!(sentence(&desk, "public.der", None).contains("a public key alone"));
    desk.openssl("cms -sign -binary -nodetach -in host.pem -signer host.pem -inkey host.key -nocerts -outform DER -out a.p7m");
    assert!(sentence(&desk, "a.p7m", None).contains("holds no certificate, no private key"));
    desk.openssl("cms -encrypt -in host.pem -outform DER -out b.p7m -aes256 host.pem");
    assert!(sentence(&desk, "b.p7m", None).contains("holds a message, not certificates"));
}

#[test]
fn files_that_cannot_be_read_are_named() {
    let desk = Desk::new();
    assert!(sentence(&desk, "missing.pem", None).ends_with("missing.pem: there is no such file"));
    let error = Bundle::read(desk.0.path(), None).unwrap_err();
    assert!(error.to_string().contains("this is a folder"), "{error}");
}

#[test]
fn a_file_of_100_megabytes_is_refused_without_being_read() {
    let desk = Desk::new();
    File::create(desk.path("large.pem")).unwrap().set_len(100 * 1024 * 1024).unwrap();
    let begun = Instant::now();
    assert!(sentence(&desk, "large.pem", None).contains("larger than 1024 KiB"));
    assert!(begun.elapsed() < Duration::from_secs(1));
    // What has no length beforehand is not read to its end either.
    let error = Bundle::read("/dev/zero".as_ref(), None).unwrap_err();
    assert!(matches!(error.trouble, BundleTrouble::TooLarge), "{error}");
    assert!(said(&vec![b' '; LARGEST_FILE + 1]).contains("larger than 1024 KiB"));
}

#[test]
fn more_certificates_than_anybody_needs_are_refused() {
    let desk = Desk::new();
    let mut all = Vec::new();
    for number in 0..65 {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new([format!("host{number}.example.org")]).unwrap();
        all.extend(params.self_signed(&key).unwrap().pem().into_bytes());
    }
    desk.write("all.pem", &all);
    assert!(sentence(&desk, "all.pem", None).contains("more than 64 certificates"));
}

#[test]
fn what_was_cut_off_says_how_much_is_missing() {
    let desk = Desk::with_chain();
    let pem = String::from_utf8(desk.bytes("host.pem")).unwrap();
    let lines: Vec<&str> = pem.lines().collect();
    let without_end = lines[..lines.len() - 1].join("\n");
    assert!(
        said(without_end.as_bytes())
            .starts_with("the block CERTIFICATE that begins in line 1 has no -----END")
    );
    let without_begin = lines[1..].join("\n");
    let sentence = said(without_begin.as_bytes());
    assert!(
        sentence.contains(&format!("line {} ends a block that nothing begins", lines.len() - 1)),
        "{sentence}"
    );
    let without_middle = [&lines[..3], &lines[4..]].concat().join("\n");
    assert!(said(without_middle.as_bytes()).contains("is cut off: "));
    let der = desk.certificate("host.pem");
    let sentence = said(&der[..100]);
    assert_eq!(
        sentence,
        format!(
            "is cut off: 100 octets are there, and there should be {}; download or copy it again",
            der.len()
        )
    );
    assert!(said(&der[..3]).contains("is cut off: 3 octets"));
    assert!(said(&der[..1]).contains("is cut off: 1 octets"));
}

#[test]
fn what_a_word_processor_did_is_found_by_its_line() {
    let desk = Desk::with_chain();
    let pem = String::from_utf8(desk.bytes("host.pem")).unwrap();
    let lines: Vec<&str> = pem.lines().collect();
    let mut odd = lines.clone();
    odd[4] = "MIIB…";
    assert!(
        said(odd.join("\n").as_bytes())
            .starts_with("line 5 is damaged: it holds a character that is no base64")
    );
    let dashes = pem.replace("-----", "\u{2014}\u{2014}-");
    assert!(said(dashes.as_bytes()).starts_with("line 1 is not as it should be"));
    assert!(said(pem.replace('\n', " ").as_bytes()).starts_with("line 1 is not as it should be"));
}

#[test]
fn what_is_labelled_wrongly_is_named_for_what_it_is() {
    let desk = Desk::with_chain();
    let relabel = |file: &str, from: &str, to: &str| {
        let text = String::from_utf8(desk.bytes(file)).unwrap();
        said(text.replace(from, to).as_bytes())
    };
    let sentence = relabel("host.key", "PRIVATE KEY", "CERTIFICATE");
    assert!(
        sentence.contains("says CERTIFICATE, but holds a private key: a private key is never shown"),
        "{sentence}"
    );
    let sentence = relabel("host.csr", "CERTIFICATE REQUEST", "CERTIFICATE");
    assert!(
        sentence.contains("says CERTIFICATE, but holds a certificate request: the authority"),
        "{sentence}"
    );
    let sentence = relabel("host.pem", "CERTIFICATE", "PRIVATE KEY");
    assert!(sentence.contains("says PRIVATE KEY, but holds a certificate"), "{sentence}");
}

#[test]
fn a_key_or_a_request_in_a_certificates_place_says_what_to_name_instead() {
    let desk = Desk::with_chain();
    let expect =
        |file: &str, wanted| desk.read(file, None).unwrap().expect(wanted, file).unwrap_err().to_string();
    let sentence = expect("host.key", Item::Certificate);
    assert!(sentence.starts_with("host.key: holds a private key and no certificate: "), "{sentence}");
    assert!(sentence.contains("make a new one if others have seen it"), "{sentence}");
    let sentence = expect("host.csr", Item::Certificate);
    assert!(
        sentence.contains("holds a certificate request and no certificate: send the request"),
        "{sentence}"
    );
    assert!(expect("host.pem", Item::Key).contains("holds a certificate and no private key"));
    assert!(expect("host.pem", Item::Request).contains("holds a certificate and no certificate request"));
}

#[test]
fn passphrases_that_are_missing_or_wrong_are_told_apart() {
    let desk = Desk::with_chain();
    desk.openssl("pkcs8 -topk8 -in host.key -passout pass:geheim -out a.key");
    desk.openssl("pkcs12 -export -inkey host.key -in host.pem -passout pass:geheim -out a.p12");
    desk.openssl("pkcs12 -export -inkey host.key -in host.pem -passout pass:geheim -out b.p12 -legacy");
    desk.openssl("pkcs12 -export -inkey host.key -in host.pem -passout pass:geheim -out c.p12 -nomac");
    for file in ["a.key", "a.p12", "b.p12", "c.p12"] {
        let needed = sentence(&desk, file, None);
        assert!(needed.contains("protected by a passphrase, and none was given"), "{needed}");
        for wrong in ["Geheim", ""] {
            let wrong = sentence(&desk, file, Some(wrong));
            assert!(wrong.contains("the passphrase does not open this"), "{wrong}");
        }
    }
    let unusual = sentence(&desk, "a.p12", Some("\u{1f600}"));
    assert!(unusual.contains("export the file again with another password"), "{unusual}");
}

#[test]
fn protection_that_cannot_be_opened_names_the_command_that_can() {
    let desk = Desk::with_chain();
    desk.openssl("ec -in host.key -aes256 -passout pass:geheim -out old.key");
    let old = sentence(&desk, "old.key", Some("geheim"));
    assert!(old.contains("protected in the old way of OpenSSL"), "{old}");
    assert!(old.contains("openssl pkcs8 -topk8 -in ") && old.contains("old.key -out converted.key"), "{old}");
    desk.openssl("pkcs8 -topk8 -in host.key -v1 PBE-SHA1-3DES -passout pass:geheim -out v1.key");
    let v1 = sentence(&desk, "v1.key", Some("geheim"));
    assert!(v1.contains("in a way that is not supported; convert it: openssl pkcs8"), "{v1}");
}

#[test]
fn a_file_that_asks_for_days_of_work_is_refused_at_once() {
    let desk = Desk::with_chain();
    let number = [0x02, 0x02, 0x27, 0x10];
    let most = [0x02, 0x04, 0x7f, 0xff, 0xff, 0xff];
    desk.openssl("pkcs8 -topk8 -in host.key -passout pass:geheim -iter 10000 -outform DER -out a.key");
    desk.openssl("pkcs12 -export -inkey host.key -in host.pem -passout pass:geheim -iter 10000 -out a.p12");
    desk.openssl(
        "pkcs12 -export -inkey host.key -in host.pem -passout pass:geheim -iter 10000 -out b.p12 -legacy",
    );
    for file in ["a.key", "a.p12", "b.p12"] {
        let good = desk.bytes(file);
        let places: Vec<usize> =
            (0..good.len() - 4).filter(|place| good[*place..*place + 4] == number).collect();
        assert!(!places.is_empty(), "{file}");
        for place in places {
            let hostile = grow(&good, place, &most);
            let begun = Instant::now();
            let error = Bundle::parse(&hostile, file, Some(&secret("geheim"))).unwrap_err();
            assert!(
                matches!(error.trouble, BundleTrouble::Costly { rounds } if rounds >= 0x7fff_ffff),
                "{error}"
            );
            assert!(begun.elapsed() < Duration::from_secs(1), "{file}");
        }
    }
}

/// The same with another number of four octets in place of this one, and the lengths around it mended.
fn grow(der: &[u8], place: usize, number: &[u8]) -> Vec<u8> {
    let grown = number.len() - 4;
    let mut out = [&der[..place], number, &der[place + 4..]].concat();
    let mut at = 0;
    while at < place {
        let (header, length) = header(&der[at..]);
        if at + header + length > place {
            match header {
                2 => out[at + 1] += u8::try_from(grown).unwrap(),
                3 => out[at + 2] += u8::try_from(grown).unwrap(),
                _ => {
                    let longer = u16::try_from(length + grown).unwrap().to_be_bytes();
                    out[at + 2..at + 4].copy_from_slice(&longer);
                }
            }
            // Into it: constructed, or an octet string that holds DER.
            at += header;
        } else {
            at += header + length;
        }
    }
    out
}

#[test]
fn a_request_that_was_changed_is_not_believed() {
    let desk = Desk::with_chain();
    desk.openssl("req -in host.csr -outform DER -out a.der");
    let mut der = desk.bytes("a.der");
    let place = der.windows(4).position(|octets| octets == b"mail").unwrap();
    der[place] = b'f';
    assert!(said(&der).contains("the request's signature does not fit its key"), "{}", said(&der));
}
