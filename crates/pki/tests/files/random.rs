//! Any octets at all, and good files that were cut or written over: an answer, always.

use std::sync::OnceLock;

use postern_pki::{Bundle, BundleError, Chain};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::{Desk, secret};

/// One file of each form, with few rounds of key derivation.
fn good_files() -> &'static Vec<Vec<u8>> {
    static FILES: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    FILES.get_or_init(|| {
        let desk = Desk::with_chain();
        let export =
            "pkcs12 -export -inkey host.key -in host.pem -certfile issuing.pem -passout pass:geheim -iter 2";
        let made = [
            ("a", "x509 -in host.pem -outform DER -out a".to_owned()),
            ("b", "req -in host.csr -outform DER -out b".to_owned()),
            ("c", "crl2pkcs7 -nocrl -certfile host.pem -certfile issuing.pem -outform DER -out c".to_owned()),
            ("d", format!("{export} -out d")),
            ("e", format!("{export} -legacy -out e")),
            ("f", "pkcs8 -topk8 -in host.key -passout pass:geheim -iter 2 -out f".to_owned()),
            ("g", "ec -in host.key -outform DER -out g".to_owned()),
            ("h", "pkey -in host.key -outform DER -out h".to_owned()),
        ];
        desk.join("chain", &["host.key", "host.pem", "issuing.pem", "host.csr"]);
        let mut files = vec![desk.bytes("chain")];
        for (name, arguments) in made {
            desk.openssl(&arguments);
            files.push(desk.bytes(name));
        }
        files
    })
}

/// Reads it, and makes of what is in it whatever can be made.
fn take(octets: &[u8]) -> Result<Bundle, BundleError> {
    let read = Bundle::parse(octets, "file", Some(&secret("geheim")));
    match &read {
        Ok(bundle) => {
            for key in &bundle.keys {
                if let Ok(chain) = Chain::arrange(bundle.certificates.clone(), &key.spki()) {
                    assert!(key.fits(chain.leaf()));
                }
            }
        }
        Err(error) => {
            let sentence = error.to_string();
            assert!(!sentence.contains(char::is_control) && sentence.len() < 1000, "{sentence:?}");
        }
    }
    read
}

#[test]
fn the_good_files_are_good() {
    for file in good_files() {
        take(file).unwrap();
    }
}

#[test]
fn whatever_is_cut_off_is_refused() {
    for file in &good_files()[1..] {
        for length in (0..file.len()).step_by(7) {
            assert!(take(&file[..length]).is_err(), "{length} of {}", file.len());
        }
    }
}

/// A place in a file, an octet to put there, and how many to put it in place of.
fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8, usize)>> {
    vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_usize), 1..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn any_octets_have_an_answer(octets in vec(any::<u8>(), 0..300)) {
        let _ = take(&octets);
    }

    #[test]
    fn any_text_has_an_answer(text in "(-----(BEGIN|END) (CERTIFICATE|PRIVATE KEY|X)-----|[A-Z=:\n]{1,9}|\r|\\PC){0,20}") {
        let _ = take(text.as_bytes());
    }

    #[test]
    fn any_der_has_an_answer(content in vec(prop_oneof![Just(0x30_u8), Just(2), Just(4), Just(6), 0..32_u8, any::<u8>()], 0..120)) {
        let header = [0x30, u8::try_from(content.len()).unwrap()];
        let _ = take(&[&header[..], &content].concat());
    }

    #[test]
    fn a_good_file_that_was_written_over_has_an_answer(
        file in prop::sample::select(good_files().clone()),
        changes in changes(),
    ) {
        let mut octets = file;
        for (place, octet, instead_of) in changes {
            let at = place.index(octets.len());
            let end = octets.len().min(at + instead_of);
            octets.splice(at..end, [octet]);
        }
        let _ = take(&octets);
    }

    #[test]
    fn a_good_file_with_one_bit_turned_has_an_answer(
        file in prop::sample::select(good_files().clone()),
        place in any::<prop::sample::Index>(),
        bit in 0..8_u8,
    ) {
        let mut octets = file;
        let at = place.index(octets.len());
        octets[at] ^= 1 << bit;
        let _ = take(&octets);
    }
}
