use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use postern_pki::{Error, Loaded, TlsIdentity, Warning};
use rcgen::{CertificateParams, KeyPair};

use super::*;

/// A folder with `cert.pem` and `key.pem`.
struct Pair(TempDir);

impl Pair {
    fn of(key: &KeyPair) -> Self {
        let certificate =
            CertificateParams::new(names(&["mail.example.org"])).unwrap().self_signed(key).unwrap();
        let pair = Self(tempfile::tempdir().unwrap());
        pair.write("cert.pem", &certificate.pem());
        pair.write("key.pem", &key.serialize_pem());
        pair
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.0.path().join(name)).unwrap()
    }

    fn load_files(&self, certificate: &str, key: &str) -> Result<Loaded, Error> {
        TlsIdentity::load("test", &self.0.path().join(certificate), &self.0.path().join(key), now())
    }

    fn load(&self) -> Result<Loaded, Error> {
        self.load_files("cert.pem", "key.pem")
    }
}

fn ecdsa() -> KeyPair {
    KeyPair::generate().unwrap()
}

#[test]
fn keys_are_read_in_every_usual_form() {
    let rsa = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    for (key, label) in [(ecdsa(), "EC PRIVATE KEY"), (rsa, "RSA PRIVATE KEY")] {
        let pair = Pair::of(&key);
        pair.load().unwrap();
        pair.write("key.pem", &pem(label, &inside_of_pkcs8(key.serialized_der())));
        let loaded = pair.load().unwrap_or_else(|error| panic!("{label}: {error}"));
        assert_eq!(loaded.identity.names, ["mail.example.org"]);
        assert_eq!(loaded.identity.fingerprint_sha256.len(), 64);
    }
}

#[test]
fn certificate_and_key_may_share_a_file_and_stand_in_any_order() {
    let pair = Pair::of(&ecdsa());
    let stranger = Pair::of(&ecdsa()).read("cert.pem");
    let own = pair.load().unwrap().identity;
    pair.write("all.pem", &format!("{stranger}{}{}", pair.read("key.pem"), pair.read("cert.pem")));
    let loaded = pair.load_files("all.pem", "all.pem").unwrap();
    assert_eq!(loaded.identity.certified_key.cert.len(), 2);
    assert_eq!(
        loaded.identity.fingerprint_sha256, own.fingerprint_sha256,
        "the key's own certificate comes first"
    );
}

#[test]
fn every_trouble_with_a_file_has_its_own_words() {
    let pair = Pair::of(&ecdsa());
    pair.write("empty.pem", "");
    pair.write("other.key", &ecdsa().serialize_pem());
    pair.write("locked.key", &pem("ENCRYPTED PRIVATE KEY", b"locked"));
    pair.write("torn.pem", "-----BEGIN CERTIFICATE-----\nAAAA");
    pair.write("fake.pem", &pem("CERTIFICATE", b"not a certificate"));
    let words = |certificate, key| pair.load_files(certificate, key).unwrap_err().to_string();
    for (certificate, key, expected) in [
        ("none.pem", "key.pem", "none.pem: there is no such file"),
        ("cert.pem", "none.key", "none.key: there is no such file"),
        (".", "key.pem", "cannot be read"),
        ("empty.pem", "key.pem", "empty.pem: is not a PEM file"),
        ("key.pem", "key.pem", "key.pem: holds no certificate"),
        ("cert.pem", "cert.pem", "cert.pem: holds no private key"),
        ("cert.pem", "locked.key", "the private key is encrypted"),
        ("cert.pem", "other.key", "other.key: this key does not belong to the certificate in"),
        ("torn.pem", "key.pem", "torn.pem: is broken"),
        ("fake.pem", "key.pem", "fake.pem: is broken"),
    ] {
        let words = words(certificate, key);
        assert!(words.contains(expected), "{certificate} {key}: {words}");
    }
}

#[test]
fn an_expired_certificate_is_loaded_with_a_warning() {
    let office = office(now() - days(200));
    let issued = office.ensure(&["mail.example.org"], now() - days(200));
    let loaded = TlsIdentity::load("old", &issued.certificate, &issued.key, now()).unwrap();
    assert!(matches!(loaded.warnings[..], [Warning::Expired { .. }]), "{:?}", loaded.warnings);
    assert!(loaded.warnings[0].to_string().contains("the certificate expired on 20"));
    let early = TlsIdentity::load("new", &issued.certificate, &issued.key, now() - days(300)).unwrap();
    assert!(matches!(early.warnings[..], [Warning::NotYetValid { .. }]), "{:?}", early.warnings);
}

#[test]
fn a_key_that_others_can_read_is_loaded_with_a_warning() {
    let pair = Pair::of(&ecdsa());
    let warnings_at = |mode| {
        fs::set_permissions(pair.0.path().join("key.pem"), fs::Permissions::from_mode(mode)).unwrap();
        pair.load().unwrap().warnings
    };
    let warnings = warnings_at(0o644);
    assert!(matches!(warnings[..], [Warning::KeyExposed { mode: 0o644, .. }]));
    assert!(warnings[0].remedy().starts_with("chmod 600 "), "{}", warnings[0].remedy());
    assert!(warnings_at(0o640).is_empty(), "the owner's group may read it");
    assert!(warnings_at(0o600).is_empty());
}

#[test]
fn a_wildcard_stands_for_one_label() {
    let office = office(now());
    let identity = office.ensure(&["*.example.org", "127.0.0.1"], now()).loaded.identity;
    assert!(
        identity.is_for("mail.example.org")
            && identity.is_for("MX.Example.ORG.")
            && identity.is_for("127.0.0.1")
    );
    assert!(
        !identity.is_for("example.org")
            && !identity.is_for("a.b.example.org")
            && !identity.is_for(".example.org")
    );
    assert!(Path::new(&office.tls().join("_.example.org.pem")).exists());
}

/// The RSAPrivateKey or ECPrivateKey within a PKCS#8 key (RFC 5958 §2).
fn inside_of_pkcs8(der: &[u8]) -> Vec<u8> {
    let (_, sequence) = x509_parser::der_parser::parse_der(der).unwrap();
    sequence.as_sequence().unwrap()[2].as_slice().unwrap().to_vec()
}

pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", base64(der))
}

/// RFC 4648 §4.
fn base64(octets: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |chunk: &[u8]| {
        let octet = |position: usize| u32::from(chunk.get(position).copied().unwrap_or(0));
        let bits = octet(0) << 16 | octet(1) << 8 | octet(2);
        let digit = |position: usize| {
            if position > chunk.len() {
                return '=';
            }
            char::from(ALPHABET[(bits >> (18 - 6 * position) & 0x3f) as usize])
        };
        [digit(0), digit(1), digit(2), digit(3)]
    };
    octets.chunks(3).flat_map(group).collect()
}
