//! What stands in a certificate, and that others believe it.

use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{FromDer, X509Certificate};

use postern_pki::ca::{AuthorityError, Order, PolicyError};

use super::*;
use crate::tools::openssl;

const URL: &str = "http://ca.example.org:8080";

fn text(office: &Office, issued: &Issued) -> String {
    openssl(&format!("x509 -in {} -noout -text", office.files(issued).0.display()))
}

#[test]
fn a_servers_certificate_is_good_for_servers_and_nothing_else() {
    for shape in [Shape::RootAlone, Shape::WithIntermediate] {
        let office = office_with(shape, Policy { url: Some(URL.into()), ..policy() });
        let (issued, key) = office.issue(&["mail.example.org", "*.example.org", "10.1.2.3"], Purpose::Server);
        assert!(key.fits(&issued.der));
        let (leaf, _) = office.files(&issued);
        let chain = office.write("chain.pem", office.authority.chain_pem(&issued.der));
        let (root, crl) = (office.authority.root_pem_path(), office.authority.crl_pem_path());
        let verify = |purpose: &str| {
            crate::tools::tries(&format!(
                "verify -x509_strict -crl_check -purpose {purpose} -verify_hostname mail.example.org -CAfile {} -untrusted {} \
                 -CRLfile {} {}",
                root.display(),
                chain.display(),
                crl.display(),
                leaf.display()
            ))
        };
        assert!(verify("sslserver").content, "{}", verify("sslserver").text);
        assert!(!verify("sslclient").content);
        let text = text(&office, &issued);
        for part in [
            "CN = mail.example.org",
            "DNS:mail.example.org, DNS:*.example.org, IP Address:10.1.2.3",
            "CA:FALSE",
            "Digital Signature",
            "TLS Web Server Authentication",
            "URI:http://ca.example.org:8080/ca/crl.der",
            "OCSP - URI:http://ca.example.org:8080/ca/ocsp",
            "CA Issuers - URI:http://ca.example.org:8080/ca/issuer.der",
            "Authority Key Identifier",
            "Subject Key Identifier",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
        assert!(!text.contains("Client Authentication") && !text.contains("Certificate Sign"), "{text}");
    }
}

#[test]
fn a_persons_certificate_bears_a_mail_address_and_is_good_for_clients_alone() {
    let office = office(Shape::WithIntermediate);
    let (issued, _) = office.issue(&["anna@example.org"], Purpose::Client);
    let (leaf, authorities) = office.files(&issued);
    let line = |purpose: &str| {
        format!("verify -x509_strict -purpose {purpose} -CAfile {} {}", authorities.display(), leaf.display())
    };
    openssl(&line("sslclient"));
    assert!(!crate::tools::tries(&line("sslserver")).content);
    let text = text(&office, &issued);
    assert!(
        text.contains("email:anna@example.org") && text.contains("TLS Web Client Authentication"),
        "{text}"
    );
    assert!(!text.contains("CRL Distribution") && !text.contains("Authority Information Access"), "{text}");
}

#[test]
fn an_rsa_key_of_a_server_may_also_encipher() {
    let office = office(Shape::RootAlone);
    let kind = KeyKind::Rsa2048;
    let usage = |purpose, name: &str| {
        let made = office.issue_for(&office.approval(), &[name], purpose, kind);
        text(&office, &made.unwrap().0).contains("Key Encipherment")
    };
    assert!(usage(Purpose::Server, "mail.example.org"));
    assert!(!usage(Purpose::Client, "anna@example.org"));
}

#[test]
fn a_life_is_the_policys_and_ends_with_the_cas_at_the_latest() {
    let office = office(Shape::WithIntermediate);
    let (server, _) = office.issue(&["mail.example.org"], Purpose::Server);
    let (client, _) = office.issue(&["anna@example.org"], Purpose::Client);
    assert_eq!(server.not_after, server.issued + days(90));
    assert_eq!(client.not_after, client.issued + days(365));
    let late = now() + days(990);
    let order = Order::of_request(&request(&["mail.example.org"]), Purpose::Server).unwrap();
    let last = office.authority.issue(&order, &office.approval(), late).unwrap();
    assert_eq!(last.not_after, office.authority.not_after());
    let (_, parsed) = X509Certificate::from_der(&last.der).unwrap();
    assert_eq!(parsed.validity().not_after.timestamp(), office.authority.not_after().as_second());
}

#[test]
fn numbers_are_positive_long_and_never_the_same() {
    let office = office(Shape::RootAlone);
    let (one, _) = office.issue(&["mail.example.org"], Purpose::Server);
    let (other, _) = office.issue(&["mail.example.org"], Purpose::Server);
    assert_ne!(one.serial, other.serial);
    for issued in [one, other] {
        let octets = issued.serial.octets();
        assert!(octets.len() == 16 && octets[0] & 0x80 == 0, "{octets:?}");
        let (_, parsed) = X509Certificate::from_der(&issued.der).unwrap();
        assert_eq!(parsed.raw_serial(), octets);
    }
}

#[test]
fn the_identifiers_lead_from_the_certificate_to_what_signed_it() {
    let office = office(Shape::WithIntermediate);
    let (issued, _) = office.issue(&["mail.example.org"], Purpose::Server);
    let authority_key = |der: &[u8]| {
        let (_, parsed) = X509Certificate::from_der(der).unwrap();
        parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
            _ => None,
        })
    };
    let subject_key = |der: &[u8]| {
        let (_, parsed) = X509Certificate::from_der(der).unwrap();
        parsed.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(id.0.to_vec()),
            _ => None,
        })
    };
    let intermediate = office.authority.intermediate().unwrap();
    assert_eq!(authority_key(&issued.der), subject_key(intermediate));
    assert_eq!(authority_key(intermediate), subject_key(office.authority.root()));
    assert!(subject_key(&issued.der).is_some_and(|id| !id.is_empty()));
}

#[test]
fn names_that_do_not_fit_or_are_missing_are_not_issued() {
    let office = office(Shape::RootAlone);
    for (wanted, purpose) in [
        (&["anna@example.org"][..], Purpose::Server),
        (&["*.example.org"], Purpose::Client),
        (&[], Purpose::Server),
    ] {
        let kind = KeyKind::EcdsaP256;
        let error = office.issue_for(&office.approval(), wanted, purpose, kind).unwrap_err();
        assert!(
            matches!(error, AuthorityError::Forbidden(PolicyError::Kind { .. } | PolicyError::NoNames)),
            "{error}"
        );
    }
    assert_eq!(office.authority.tally().unwrap().issued, 0);
}

#[test]
fn a_name_too_long_for_a_common_name_stands_among_the_names_alone() {
    let office = office(Shape::RootAlone);
    let long = format!("{}.example.org", "a".repeat(60));
    let (issued, _) = office.issue(&[&long], Purpose::Server);
    let (_, parsed) = X509Certificate::from_der(&issued.der).unwrap();
    assert_eq!(parsed.subject().iter().count(), 0);
    let (leaf, authorities) = office.files(&issued);
    openssl(&format!("verify -x509_strict -CAfile {} {}", authorities.display(), leaf.display()));
    assert!(parsed.subject_alternative_name().unwrap().unwrap().critical);
}
