//! Requests that OpenSSL and GnuTLS make.

use postern_pki::RequestError;
use postern_pki::ca::{AuthorityError, Order, PolicyError, Verdict};

use super::*;
use crate::tools::{certtool, openssl};

/// A request by openssl for these names, with more lines in its section of extensions.
fn by_openssl(
    office: &Office,
    subject: &str,
    alternative: &str,
    more: &str,
) -> Result<SigningRequest, RequestError> {
    let config = format!(
        "[req]\nprompt=no\ndistinguished_name=dn\nreq_extensions=ext\n[dn]\n{subject}\n[ext]\nsubjectAltName={alternative}\n{more}\n"
    );
    let (config, key) = (office.write("req.cnf", config), office.folder.path().join("req.key"));
    let out = office.folder.path().join("req.der");
    openssl(&format!(
        "req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {} -config {} -outform DER -out {}",
        key.display(),
        config.display(),
        out.display()
    ));
    SigningRequest::from_der(&std::fs::read(out).unwrap())
}

fn judged(office: &Office, request: &SigningRequest) -> Result<Verdict, PolicyError> {
    office.policy.judge(request, Purpose::Server)
}

#[test]
fn what_openssl_asks_for_is_issued() {
    let office = office(Shape::WithIntermediate);
    let asked = by_openssl(
        &office,
        "CN=mail.example.org\nO=Example GmbH",
        "DNS:mail.example.org,IP:10.1.2.3",
        "keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\nbasicConstraints=critical,CA:FALSE",
    )
    .unwrap();
    assert_eq!(judged(&office, &asked), Ok(Verdict::NeedsApproval));
    let order = Order::of_request(&asked, Purpose::Server).unwrap();
    let issued = office.authority.issue(&order, &office.approval(), now()).unwrap();
    assert_eq!(issued.names, ["mail.example.org", "10.1.2.3"]);
    let (leaf, authorities) = office.files(&issued);
    openssl(&format!("verify -x509_strict -CAfile {} {}", authorities.display(), leaf.display()));
    let public = |line: String| openssl(&line);
    let key = office.folder.path().join("req.key");
    assert_eq!(
        public(format!("pkey -in {} -pubout", key.display())),
        public(format!("x509 -in {} -pubkey -noout", leaf.display()))
    );
    // Nobody checks an organisation, so none is certified.
    let subject = openssl(&format!("x509 -in {} -noout -subject", leaf.display()));
    assert_eq!(subject.trim(), "subject=CN = mail.example.org");
}

#[test]
fn what_certtool_asks_for_is_issued_and_certtool_believes_it() {
    let office = office(Shape::RootAlone);
    let key = office.folder.path().join("gnutls.key");
    certtool(&format!("--generate-privkey --key-type rsa --bits 2048 --outfile {}", key.display()));
    let template =
        office.write("template", "cn = mail.example.org\ndns_name = mail.example.org\ntls_www_server\n");
    let out = office.folder.path().join("gnutls.csr");
    certtool(&format!(
        "--generate-request --load-privkey {} --template {} --outder --outfile {}",
        key.display(),
        template.display(),
        out.display()
    ));
    let asked = SigningRequest::from_der(&std::fs::read(out).unwrap()).unwrap();
    let order = Order::of_request(&asked, Purpose::Server).unwrap();
    let issued = office.authority.issue(&order, &office.approval(), now()).unwrap();
    let (leaf, authorities) = office.files(&issued);
    let said = certtool(&format!(
        "--verify --load-ca-certificate {} --verify-hostname mail.example.org --infile {}",
        authorities.display(),
        leaf.display()
    ));
    assert!(said.contains("Verified. The certificate is trusted."), "{said}");
    certtool(&format!("--crl-info --infile {}", office.authority.crl_pem_path().display()));
}

#[test]
fn a_request_that_wants_to_be_more_is_refused() {
    let office = office(Shape::RootAlone);
    let name = "DNS:mail.example.org";
    let judge =
        |more: &str| judged(&office, &by_openssl(&office, "CN=mail.example.org", name, more).unwrap());
    for more in ["basicConstraints=CA:TRUE", "keyUsage=keyCertSign", "keyUsage=digitalSignature,cRLSign"] {
        assert_eq!(judge(more), Err(PolicyError::Authority), "{more}");
    }
    let unknown = judge("1.3.6.1.4.1.32473.1=critical,ASN1:NULL");
    assert_eq!(unknown, Err(PolicyError::Extension { oid: "1.3.6.1.4.1.32473.1".into() }));
    let uses = judge("extendedKeyUsage=codeSigning");
    assert!(matches!(uses, Err(PolicyError::Use { .. })), "{uses:?}");
    assert_eq!(judge("1.3.6.1.4.1.32473.1=ASN1:NULL"), Ok(Verdict::NeedsApproval));
}

#[test]
fn forbidden_names_and_deceiving_ones_are_refused() {
    let office = office(Shape::RootAlone);
    let ask = |subject: &str, names: &str| by_openssl(&office, subject, names, "");
    let request = ask("CN=mail.example.org", "DNS:mail.example.org,DNS:mail.evil.example").unwrap();
    let error = judged(&office, &request).unwrap_err().to_string();
    assert!(error.starts_with("mail.evil.example: "), "{error}");
    let request = ask("CN=mail.evil.example", "DNS:mail.example.org").unwrap();
    assert!(matches!(judged(&office, &request), Err(PolicyError::CommonName { .. })));
    let request = ask("CN=mail.example.org", "DNS:*.sub.example.org,DNS:mail.example.org").unwrap();
    assert!(matches!(judged(&office, &request), Err(PolicyError::Wildcard { .. })));
    for names in ["DNS:a.*.example.org", "URI:https://mail.example.org/", "DNS:under_score.example.org"] {
        assert!(matches!(ask("CN=x", names), Err(RequestError::Name(_))), "{names}");
    }
}

#[test]
fn a_request_whose_names_hide_a_nul_is_refused() {
    let made = request(&["mail.example.org"]);
    let mut der = made.der().to_vec();
    let position = der.windows(4).position(|window| window == b"mail").unwrap();
    der[position + 4] = 0;
    let error = SigningRequest::from_der(&der).unwrap_err();
    assert!(matches!(error, RequestError::BadSignature | RequestError::Name(_)), "{error}");
}

#[test]
fn a_short_key_is_refused() {
    let office = office(Shape::RootAlone);
    let (key, out) = (office.folder.path().join("short.key"), office.folder.path().join("short.der"));
    openssl(&format!(
        "req -new -newkey rsa:1024 -nodes -keyout {} -subj /CN=mail.example.org -addext subjectAltName=DNS:mail.example.org \
         -outform DER -out {}",
        key.display(),
        out.display()
    ));
    let error = SigningRequest::from_der(&std::fs::read(out).unwrap()).unwrap_err();
    assert_eq!(error, RequestError::Key { found: "RSA 1024".to_owned() });
}

#[test]
fn an_administrators_own_order_is_checked_for_its_form() {
    let office = office(Shape::RootAlone);
    let asked = by_openssl(&office, "CN=mail.elsewhere.example", "DNS:mail.elsewhere.example", "").unwrap();
    assert!(judged(&office, &asked).is_err());
    let order = Order::of_request(&asked, Purpose::Server).unwrap();
    office.authority.issue(&order, &office.approval(), now()).unwrap();
    let asked = by_openssl(&office, "CN=x", "DNS:mail.example.org", "basicConstraints=CA:TRUE").unwrap();
    let error = Order::of_request(&asked, Purpose::Server).unwrap_err();
    assert!(matches!(error, AuthorityError::Forbidden(PolicyError::CommonName { .. })), "{error}");
}
