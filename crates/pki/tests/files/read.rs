//! Everything that other programs write is read.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use postern_pki::{Bundle, BundleTrouble, Item};

use crate::{Desk, holds_key, secret};

#[test]
fn certificates_are_read_in_every_form() {
    let desk = Desk::with_chain();
    let host = desk.certificate("host.pem");
    for (make, file) in [
        ("x509 -in host.pem -out a.der -outform DER", "a.der"),
        ("x509 -in host.pem -text -out a.txt", "a.txt"),
        ("x509 -in host.pem -addtrust serverAuth -trustout -out a.trusted", "a.trusted"),
        ("crl2pkcs7 -nocrl -certfile host.pem -out a.p7b", "a.p7b"),
        ("crl2pkcs7 -nocrl -certfile host.pem -outform DER -out b.p7b", "b.p7b"),
        ("pkcs12 -export -nokeys -in host.pem -passout pass: -out c.p12", "c.p12"),
    ] {
        desk.openssl(make);
        let bundle = desk.read(file, None).unwrap_or_else(|error| panic!("{make}: {error}"));
        assert_eq!(bundle.certificates, std::slice::from_ref(&host), "{make}");
        assert!(bundle.keys.is_empty() && bundle.requests.is_empty(), "{make}");
        bundle.expect(Item::Certificate, file).unwrap();
    }
}

#[test]
fn text_is_read_whatever_an_editor_or_a_form_made_of_it() {
    let desk = Desk::with_chain();
    let host = desk.certificate("host.pem");
    let pem = String::from_utf8(desk.bytes("host.pem")).unwrap();
    let bare = STANDARD.encode(&host);
    let der_with_line_end = [&host[..], b"\r\n"].concat();
    for (how, octets) in [
        ("CR LF", pem.replace('\n', "\r\n").into_bytes()),
        ("CR", pem.replace('\n', "\r").into_bytes()),
        ("byte order mark", format!("\u{feff}{pem}").into_bytes()),
        ("text around", format!("Dear customer,\n\n{pem}\nyours: the authority").into_bytes()),
        ("indented", pem.replace('\n', "\n   ").into_bytes()),
        ("twice", format!("{pem}{pem}").into_bytes()),
        ("another label", pem.replace(" CERTIFICATE", " X509 CERTIFICATE").into_bytes()),
        ("without padding", pem.replace('=', "").into_bytes()),
        ("base64 alone", bare.into_bytes()),
        ("DER and a line end", der_with_line_end),
        (
            "with a public key",
            [pem.as_bytes(), desk.openssl("x509 -in host.pem -noout -pubkey").as_bytes()].concat(),
        ),
    ] {
        let bundle = Bundle::parse(&octets, how, None).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(bundle.certificates, std::slice::from_ref(&host), "{how}");
    }
}

#[test]
fn a_chain_is_read_in_the_order_of_its_file() {
    let desk = Desk::with_chain();
    desk.join("all.pem", &["issuing.pem", "host.key", "root.pem", "host.csr", "host.pem"]);
    let bundle = desk.read("all.pem", None).unwrap();
    let all = ["issuing.pem", "root.pem", "host.pem"].map(|name| desk.certificate(name));
    assert_eq!(bundle.certificates, all);
    assert!(holds_key(&bundle, &all[2]));
    assert_eq!(bundle.requests.len(), 1);
    assert_eq!(bundle.requests[0].subject.common_name.as_deref(), Some("mail.example.org"));
    desk.openssl("crl2pkcs7 -nocrl -certfile all.pem -outform DER -out all.p7b");
    let mut bundle = desk.read("all.p7b", None).unwrap();
    bundle.certificates.sort_by_key(|certificate| certificate.to_vec());
    let mut all = all.to_vec();
    all.sort_by_key(|certificate| certificate.to_vec());
    assert_eq!(bundle.certificates, all);
}

#[test]
fn keys_of_every_kind_and_form_are_read() {
    let desk = Desk::new();
    for (kind, words) in [
        ("RSA -pkeyopt rsa_keygen_bits:2048", "RSA 2048"),
        ("EC -pkeyopt ec_paramgen_curve:P-256", "P-256"),
        ("EC -pkeyopt ec_paramgen_curve:P-384", "P-384"),
        ("EC -pkeyopt ec_paramgen_curve:P-521", "P-521"),
        ("ED25519", "Ed25519"),
    ] {
        desk.openssl(&format!("genpkey -algorithm {kind} -out a.key"));
        desk.openssl("req -x509 -key a.key -subj /CN=a -out a.pem");
        let certificate = desk.certificate("a.pem");
        let mut forms = vec![
            "pkey -in a.key -out b.key",
            "pkey -in a.key -outform DER -out b.key",
            "pkcs8 -topk8 -in a.key -passout pass:geheim -out b.key",
            "pkcs8 -topk8 -in a.key -passout pass:geheim -outform DER -out b.key",
            "pkcs8 -topk8 -in a.key -passout pass:geheim -iter 100000 -v2 aes-128-cbc -out b.key",
            "pkcs8 -topk8 -in a.key -passout pass:geheim -scrypt -out b.key",
        ];
        if kind != "ED25519" {
            forms.extend([
                "pkey -in a.key -traditional -out b.key",
                "pkey -in a.key -traditional -outform DER -out b.key",
            ]);
        }
        if kind.starts_with("EC") {
            forms.push("ec -in a.key -out b.key");
        }
        for form in forms {
            desk.openssl(form);
            let bundle =
                desk.read("b.key", Some("geheim")).unwrap_or_else(|error| panic!("{kind}, {form}: {error}"));
            assert!(holds_key(&bundle, &certificate), "{kind}, {form}");
            assert_eq!(bundle.keys[0].describe(), words);
        }
    }
}

#[test]
fn curve_parameters_before_a_key_are_no_trouble() {
    let desk = Desk::new();
    desk.openssl("ecparam -name prime256v1 -genkey -out a.key");
    assert!(String::from_utf8(desk.bytes("a.key")).unwrap().contains("BEGIN EC PARAMETERS"));
    desk.openssl("req -x509 -key a.key -subj /CN=a -out a.pem");
    assert!(holds_key(&desk.read("a.key", None).unwrap(), &desk.certificate("a.pem")));
}

#[test]
fn requests_are_read_in_every_form() {
    let desk = Desk::with_chain();
    desk.openssl("req -in host.csr -outform DER -out a.der");
    desk.openssl("req -in host.csr -newhdr -out a.new");
    desk.openssl("req -in host.csr -text -out a.txt");
    for file in ["host.csr", "a.der", "a.new", "a.txt"] {
        let bundle = desk.read(file, None).unwrap();
        assert_eq!(bundle.requests.len(), 1, "{file}");
        bundle.expect(Item::Request, file).unwrap();
    }
}

#[test]
fn pkcs12_files_are_read_old_and_new() {
    let desk = Desk::with_chain();
    let (host, issuing) = (desk.certificate("host.pem"), desk.certificate("issuing.pem"));
    let export = "pkcs12 -export -inkey host.key -in host.pem -certfile issuing.pem -name mail -out a.p12";
    for (how, passphrase) in [
        ("-passout pass:geheim", "geheim"),
        ("-passout pass:geheim -legacy", "geheim"),
        ("-passout pass:geheim -certpbe PBE-SHA1-3DES -keypbe PBE-SHA1-3DES -macalg sha1", "geheim"),
        ("-passout pass:geheim -keypbe AES-128-CBC -certpbe AES-128-CBC", "geheim"),
        ("-passout pass:geheim -iter 100000 -macalg sha512", "geheim"),
        ("-passout pass:geheim -certpbe NONE", "geheim"),
        ("-passout pass:geheim -nomac", "geheim"),
        ("-passout pass:grüße", "grüße"),
        ("-passout pass: -legacy", ""),
        ("-passout pass:", ""),
        ("-passout pass: -keypbe NONE -certpbe NONE -nomac", ""),
    ] {
        desk.openssl(&format!("{export} {how}"));
        let bundle = desk.read("a.p12", Some(passphrase)).unwrap_or_else(|error| panic!("{how}: {error}"));
        assert!(holds_key(&bundle, &host), "{how}");
        assert!(bundle.certificates.contains(&host) && bundle.certificates.contains(&issuing), "{how}");
        if passphrase.is_empty() {
            assert!(holds_key(&desk.read("a.p12", None).unwrap(), &host), "{how}, no passphrase at all");
        }
    }
}

#[test]
fn what_gnutls_writes_is_read() {
    let desk = Desk::with_chain();
    let host = desk.certificate("host.pem");
    desk.certtool("--load-certificate host.pem --load-privkey host.key --to-p12 --p12-name mail --password geheim --outder --outfile a.p12");
    let bundle = desk.read("a.p12", Some("geheim")).unwrap();
    assert!(holds_key(&bundle, &host) && bundle.certificates == [host.clone()]);
    desk.certtool("--to-p8 --load-privkey host.key --password geheim --outfile a.key");
    assert!(holds_key(&desk.read("a.key", Some("geheim")).unwrap(), &host));
    desk.certtool("--generate-privkey --key-type ed25519 --no-text --outfile b.key");
    assert_eq!(desk.read("b.key", None).unwrap().keys[0].describe(), "Ed25519");
    desk.certtool("--generate-privkey --key-type rsa --bits 2048 --outfile c.key");
    assert_eq!(desk.read("c.key", None).unwrap().keys[0].describe(), "RSA 2048");
    desk.certtool("--p7-generate --load-certificate host.pem --outfile a.p7b");
    assert!(desk.read("a.p7b", None).unwrap().certificates.contains(&host));
}

/// Firefox and Apple's keychain write so.
#[test]
fn files_with_open_lengths_are_read() {
    let desk = Desk::with_chain();
    let host = desk.certificate("host.pem");
    desk.openssl("cms -sign -binary -nodetach -stream -in host.pem -signer host.pem -inkey host.key -outform DER -out a.p7b");
    assert!(desk.bytes("a.p7b").starts_with(&[0x30, 0x80]));
    assert_eq!(desk.read("a.p7b", None).unwrap().certificates, std::slice::from_ref(&host));
    for how in ["", " -legacy", " -nomac"] {
        desk.openssl(&format!(
            "pkcs12 -export -inkey host.key -in host.pem -passout pass:geheim -out a.p12{how}"
        ));
        let open = opened(&desk.bytes("a.p12"));
        desk.write("open.p12", &open);
        assert!(open.starts_with(&[0x30, 0x80]) && open.ends_with(&[0, 0]));
        let bundle = desk.read("open.p12", Some("geheim")).unwrap_or_else(|error| panic!("{how}: {error}"));
        assert!(holds_key(&bundle, &host) && bundle.certificates == [host.clone()], "{how}");
        let error = desk.read("open.p12", Some("falsch")).unwrap_err();
        assert!(matches!(error.trouble, BundleTrouble::WrongPassphrase(_)), "{how}: {error}");
        desk.write("cut.p12", &open[..open.len() - 3]);
        let error = desk.read("cut.p12", Some("geheim")).unwrap_err().to_string();
        assert!(error.contains("leaves its length open"), "{error}");
    }
}

/// `nss.p12` was exported by NSS 3.87, with the passphrase `geheim`: its inside is in BER too.
#[test]
fn what_firefox_exports_is_read() {
    let file = include_bytes!("nss.p12");
    let bundle = Bundle::parse(file, "nss.p12", Some(&secret("geheim"))).unwrap();
    assert!(holds_key(&bundle, &bundle.certificates[0]) && bundle.certificates.len() == 1);
    let error = Bundle::parse(file, "nss.p12", Some(&secret("falsch"))).unwrap_err();
    assert!(matches!(error.trouble, BundleTrouble::WrongPassphrase(_)), "{error}");
}

/// The same PKCS #12 file with every length outside the octet strings left open, and those in pieces.
fn opened(der: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = der;
    while !rest.is_empty() {
        let (header, length) = crate::header(rest);
        let (content, behind) = (&rest[header..header + length], &rest[header + length..]);
        match rest[0] {
            // Octet strings, and the encrypted content, which is one.
            0x04 | 0x80 if length > 40 => {
                let (one, two) = content.split_at(length / 2);
                out.extend([rest[0] | 0x20, 0x80]);
                out.extend([piece_of(one), piece_of(two)].concat());
                out.extend([0, 0]);
            }
            tag if tag & 0x20 != 0 => {
                out.extend([tag, 0x80]);
                out.extend(opened(content));
                out.extend([0, 0]);
            }
            _ => out.extend(&rest[..header + length]),
        }
        rest = behind;
    }
    out
}

fn piece_of(content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[0x04, 0x82, length[0], length[1]], content].concat()
}

#[test]
fn several_files_become_one() {
    let desk = Desk::with_chain();
    let mut bundle = desk.read("host.pem", None).unwrap();
    for file in ["issuing.pem", "host.pem", "host.key", "host.key"] {
        bundle.join(desk.read(file, None).unwrap());
    }
    assert_eq!((bundle.certificates.len(), bundle.keys.len()), (2, 1));
}

#[test]
fn neither_a_bundle_nor_an_error_shows_a_secret() {
    let desk = Desk::with_chain();
    desk.openssl("pkcs12 -export -inkey host.key -in host.pem -passout pass:geheim -out a.p12");
    let error = Bundle::read(&desk.path("a.p12"), Some(&secret("falsch"))).unwrap_err();
    assert!(matches!(error.trouble, BundleTrouble::WrongPassphrase(_)));
    for text in [format!("{error:?} {error}"), format!("{:?}", desk.read("host.key", None).unwrap())] {
        assert!(!text.contains("falsch") && !text.contains("geheim") && text.len() < 300, "{text}");
    }
}
