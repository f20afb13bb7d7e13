//! What Postern writes, other programs read.

use postern_pki::pkcs12::{Compatibility, write};
use postern_pki::{Bundle, Chain, KeyKind, PrivateKey, RequestDetails, SigningRequest, Subject};

use crate::{Desk, holds_key, secret};

fn details() -> RequestDetails {
    let subject = Subject {
        organisation: Some("Müller & Söhne".into()),
        country: Some("DE".into()),
        ..Subject::named("mail.example.org")
    };
    let names = ["mail.example.org", "*.example.org", "müller.example", "192.0.2.1", "2001:db8::1"];
    RequestDetails { subject, names: names.map(|name| name.parse().unwrap()).into() }
}

#[test]
fn requests_are_read_and_verified_by_others() {
    let desk = Desk::new();
    for kind in KeyKind::ALL {
        let key = PrivateKey::generate(kind).unwrap();
        let request = SigningRequest::make(&details(), &key).unwrap();
        desk.write("a.csr", request.pem().as_bytes());
        desk.write("a.der", request.der());
        for form in ["-in a.csr", "-in a.der -inform DER"] {
            let shown = desk.openssl(&format!("req {form} -verify -noout -text -nameopt utf8"));
            assert!(shown.contains("verify OK"), "{kind}: {shown}");
            for words in [
                "CN=mail.example.org",
                "Müller & Söhne",
                "DNS:*.example.org",
                "DNS:xn--mller-kva.example",
                "IP Address:192.0.2.1",
            ] {
                assert!(
                    shown.contains(words) || shown.contains(&words.replace('=', " = ")),
                    "{words}: {shown}"
                );
            }
        }
        let shown = desk.certtool("--crq-info --infile a.csr");
        assert!(
            shown.contains("DNSname: mail.example.org") && shown.contains("Self signature: verified"),
            "{kind}: {shown}"
        );
        assert_eq!(Bundle::parse(request.pem().as_bytes(), "own", None).unwrap().requests, [request]);
    }
}

#[test]
fn keys_are_read_by_others() {
    let desk = Desk::new();
    for kind in KeyKind::ALL {
        let key = PrivateKey::generate(kind).unwrap();
        desk.write("a.key", key.to_pem().as_bytes());
        assert!(desk.openssl("pkey -in a.key -check -noout").contains("Key is valid"), "{kind}");
        desk.openssl("req -x509 -key a.key -subj /CN=a -out a.pem");
        assert!(key.fits(&desk.certificate("a.pem")));
        let shown = desk.certtool("--key-info --infile a.key");
        assert!(shown.contains("Public Key ID"), "{kind}: {shown}");
        assert_eq!(desk.read("a.key", None).unwrap().keys[0].spki(), key.spki());
    }
}

#[test]
fn pkcs12_files_are_read_by_others() {
    let desk = Desk::with_chain();
    let key = desk.read("host.key", None).unwrap().keys.swap_remove(0);
    let all = ["host.pem", "issuing.pem", "root.pem"].map(|name| desk.certificate(name));
    let chain = Chain::arrange(all.to_vec(), &key.spki()).unwrap();
    for (compatibility, protection) in [
        (Compatibility::Modern, "PBES2, PBKDF2, AES-256-CBC, Iteration 100000, PRF hmacWithSHA256"),
        (Compatibility::Legacy, "pbeWithSHA1And3-KeyTripleDES-CBC, Iteration 2048"),
    ] {
        let file =
            write(&key, &chain, &secret("grüße"), "mail.example.org \u{1f600}", compatibility).unwrap();
        desk.write("a.p12", &file);
        let pem = desk.openssl("pkcs12 -info -in a.p12 -passin pass:grüße -nodes");
        assert_eq!(pem.matches(protection).count(), 2, "{pem}");
        assert!(pem.contains("friendlyName: mail.example.org"), "{pem}");
        let bundle = Bundle::parse(pem.as_bytes(), "by openssl", None).unwrap();
        assert!(holds_key(&bundle, &all[0]) && all.iter().all(|one| bundle.certificates.contains(one)));
        let shown = desk.certtool("--p12-info --infile a.p12 --inder --password grüße");
        assert!(shown.contains("Key ID") || shown.contains("friendlyName"), "{shown}");
        assert_eq!(shown.matches("BEGIN CERTIFICATE").count(), 3, "{shown}");
        let bundle = desk.read("a.p12", Some("grüße")).unwrap();
        assert!(holds_key(&bundle, &all[0]) && bundle.certificates.len() == 3);
        let again = Chain::arrange(bundle.certificates, &key.spki()).unwrap();
        assert_eq!(again.certificates(), chain.certificates());
    }
}

#[test]
fn a_pkcs12_file_is_not_written_behind_a_passphrase_that_helps_nobody() {
    let desk = Desk::with_chain();
    let key = desk.read("host.key", None).unwrap().keys.swap_remove(0);
    let chain = Chain::arrange(vec![desk.certificate("host.pem")], &key.spki()).unwrap();
    for (passphrase, words) in [("", "is empty"), ("\u{1f600}", "emoji")] {
        let error = write(&key, &chain, &secret(passphrase), "mail", Compatibility::Modern).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}
