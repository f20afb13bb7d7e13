//! The private CA over HTTP and at the command line, with curl and openssl as everybody else has them.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::programs::{fail, program, succeed, text};
use crate::support::{Postern, Setup, unused_address};

/// A Postern with a CA: an intermediate under a locked root.
struct Office {
    postern: Postern,
    http: SocketAddr,
}

impl Office {
    fn open() -> Office {
        let http = unused_address();
        let tables = format!(
            "[http]\nbind = [\"{http}\"]\n[ca]\nnames = [\"*.office.test\", \"*@office.test\"]\n\
             automatic = [\"*.auto.office.test\"]\nautomatic_from = [\"127.0.0.0/8\"]\nurl = \"http://{http}\"\n"
        );
        let postern = Setup::new().tables(&tables).without_user().prepare();
        let passphrase = postern.folder().join("passphrase");
        fs::write(&passphrase, "correct horse\n").unwrap();
        let lock = ["--intermediate", "--passphrase-file", text(&passphrase), "--yes"];
        postern.cli(&[&["ca", "init", "--label", "Office"][..], &lock].concat());
        let mut postern = postern;
        postern.start();
        Office { postern, http }
    }

    fn url(&self, path: &str) -> String {
        if path.starts_with("http://") { path.to_owned() } else { format!("http://{}{path}", self.http) }
    }

    /// What curl fetches: the status and the body.
    fn curl(&self, path: &str, arguments: &[&str]) -> (u16, String) {
        let mut command = program("curl");
        command.args(["--silent", "--show-error", "--max-time", "60", "--write-out", "\n%{http_code}"]);
        let said = succeed(command.args(arguments).arg(self.url(path)));
        let (body, status) = said.trim_end().rsplit_once('\n').unwrap_or(("", said.trim()));
        (status.parse().unwrap(), body.to_owned())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.postern.folder().join(name)
    }

    /// Fetches into a file.
    fn fetch(&self, path: &str, name: &str) -> PathBuf {
        let file = self.file(name);
        let (status, _) = self.curl(path, &["--output", text(&file)]);
        assert_eq!(status, 200, "{path}");
        file
    }

    /// A request as openssl makes it, with its key beside it.
    fn request(&self, name: &str, host: &str) -> PathBuf {
        let (key, request) = (self.file(&format!("{name}.key")), self.file(&format!("{name}.csr")));
        let san = format!("subjectAltName=DNS:{host}");
        succeed(program("openssl").args([
            "req",
            "-new",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-subj",
            "/",
            "-addext",
            &san,
            "-keyout",
            text(&key),
            "-out",
            text(&request),
        ]));
        request
    }

    /// Sends a request in curl's plain way.
    fn ask(&self, request: &Path, arguments: &[&str]) -> (u16, Value) {
        let data = format!("@{}", text(request));
        let (status, body) = self.curl("/ca/requests", &[&["--data-binary", &data][..], arguments].concat());
        (status, serde_json::from_str(&body).unwrap_or_else(|error| panic!("{error}: {body}")))
    }

    /// What `openssl ocsp` says of a certificate.
    fn ocsp(&self, certificate: &Path) -> String {
        let issuer = self.fetch("/ca/issuer.der", "issuer.der");
        let (pem, chain) = (self.file("issuer.pem"), self.fetch("/ca/chain.pem", "chain.pem"));
        succeed(program("openssl").args([
            "x509",
            "-inform",
            "DER",
            "-in",
            text(&issuer),
            "-out",
            text(&pem),
        ]));
        succeed(program("openssl").args([
            "ocsp",
            "-issuer",
            text(&pem),
            "-cert",
            text(certificate),
            "-CAfile",
            text(&chain),
            "-url",
            &self.url("/ca/ocsp"),
        ]))
    }
}

#[test]
fn a_request_is_sent_approved_fetched_and_revoked_with_openssl_as_judge() {
    let office = Office::open();
    let request = office.request("mail", "mail.office.test");
    let (status, told) = office.ask(&request, &[]);
    assert_eq!((status, told["state"].as_str()), (202, Some("waiting")), "{told}");
    let (id, url) = (told["id"].as_str().unwrap(), told["url"].as_str().unwrap());
    office.postern.wait_for_log(&format!("postern ca approve {id}"));
    assert_eq!(office.ask(&request, &[]).1["id"], id, "the same request is the same one");
    assert!(office.postern.cli(&["ca", "requests"]).contains("mail.office.test"));
    let shown = office.postern.cli(&["ca", "requests", id]);
    for words in ["P-256", "its SHA-256"] {
        assert!(shown.contains(words), "{words}: {shown}");
    }
    assert_eq!(office.curl(&format!("{url}/certificate.pem"), &[]).0, 409);

    office.postern.cli(&["ca", "approve", id]);
    let (_, told) = office.curl(url, &[]);
    assert!(told.contains("\"state\":\"issued\""), "{told}");
    let certificate = office.fetch(&format!("{url}/certificate.pem"), "mail.pem");
    let der = office.fetch(&format!("{url}/certificate.der"), "mail.der");
    let chain = office.fetch(&format!("{url}/chain.pem"), "mail-chain.pem");
    let p7b = office.fetch(&format!("{url}/certificate.p7b"), "mail.p7b");
    let root = office.fetch("/ca/root.pem", "root.pem");
    let said =
        succeed(program("openssl").args(["x509", "-inform", "DER", "-in", text(&der), "-noout", "-text"]));
    assert!(said.contains("DNS:mail.office.test") && said.contains(&office.url("/ca/crl.der")), "{said}");
    let said = succeed(program("openssl").args([
        "pkcs7",
        "-inform",
        "DER",
        "-in",
        text(&p7b),
        "-print_certs",
        "-noout",
    ]));
    assert_eq!(said.matches("subject=").count(), 2, "{said}");

    let crl = || {
        let (der, pem) = (office.fetch("/ca/crl.der", "crl.der"), office.file("crl.pem"));
        succeed(program("openssl").args(["crl", "-inform", "DER", "-in", text(&der), "-out", text(&pem)]));
        pem
    };
    let check = |crl: &Path| {
        let mut command = program("openssl");
        command.args(["verify", "-crl_check", "-purpose", "sslserver", "-CAfile", text(&root), "-untrusted"]);
        command.args([text(&chain), "-CRLfile", text(crl), text(&certificate)]);
        command
    };
    succeed(&mut check(&crl()));
    let said = office.ocsp(&certificate);
    assert!(said.contains("mail.pem: good") && !said.contains("Error"), "{said}");

    office.postern.cli(&["ca", "revoke", "mail.office.test", "--reason", "key-compromise", "--yes"]);
    let said = fail(&mut check(&crl()));
    assert!(said.contains("certificate revoked"), "{said}");
    let said = office.ocsp(&certificate);
    assert!(said.contains("mail.pem: revoked") && said.contains("keyCompromise"), "{said}");
}

#[test]
fn what_is_automatic_is_issued_at_once_pasted_uploaded_or_sent_as_der() {
    let office = Office::open();
    let request = office.request("web", "web.auto.office.test");
    let (status, told) = office.ask(&request, &[]);
    assert_eq!((status, told["state"].as_str()), (201, Some("issued")), "{told}");
    let certificate = office.fetch(told["chain"].as_str().unwrap(), "web.pem");
    let root = office.fetch("/ca/root.pem", "root.pem");
    succeed(program("openssl").args([
        "verify",
        "-CAfile",
        text(&root),
        "-untrusted",
        text(&certificate),
        text(&certificate),
    ]));
    let id = told["id"].as_str().unwrap();
    let der = office.file("web.csr.der");
    succeed(program("openssl").args(["req", "-in", text(&request), "-outform", "DER", "-out", text(&der)]));
    let (pasted, uploaded) = (format!("request@{}", text(&request)), format!("request=@{}", text(&request)));
    for arguments in [vec!["--data-urlencode", &pasted], vec!["--form", &uploaded]] {
        let (status, body) = office.curl("/ca/requests", &arguments);
        assert!(status == 201 && body.contains(id), "{arguments:?}: {status} {body}");
    }
    assert_eq!(office.ask(&der, &["--header", "Content-Type: application/pkcs10"]).1["id"], id);
    // A browser sends what some page wants it to.
    let other = office.request("other", "other.auto.office.test");
    let (status, told) = office.ask(&other, &["--header", "Origin: http://elsewhere.example"]);
    assert_eq!((status, told["state"].as_str()), (202, Some("waiting")), "{told}");
}

#[test]
fn hostile_requests_are_refused_in_words_and_cost_nobody_else_anything() {
    let office = Office::open();
    let (status, told) = office.ask(&office.request("evil", "mail.bank.example"), &[]);
    assert!(status == 403 && told["error"].as_str().unwrap().contains("mail.bank.example"), "{told}");
    let garbage = office.file("garbage");
    fs::write(&garbage, [0xff; 5000]).unwrap();
    assert_eq!(office.ask(&garbage, &[]).0, 400);
    let signed = office.request("forged", "forged.office.test");
    let der = office.file("forged.der");
    succeed(program("openssl").args(["req", "-in", text(&signed), "-outform", "DER", "-out", text(&der)]));
    let mut octets = fs::read(&der).unwrap();
    *octets.last_mut().unwrap() ^= 1;
    fs::write(&der, octets).unwrap();
    let (status, told) = office.ask(&der, &[]);
    assert!(status == 400 && told["error"].as_str().unwrap().contains("signature"), "{told}");
    let huge = office.file("huge");
    fs::File::create(&huge).unwrap().set_len(100 * 1024 * 1024).unwrap();
    let (status, told) = office.ask(&huge, &[]);
    assert!(status == 413 && told["error"].as_str().unwrap().contains("262144"), "{told}");

    // Somebody says his request one octet at a time; others are served meanwhile, and he is let go.
    let mut slow = TcpStream::connect(office.http).unwrap();
    slow.write_all(b"GET /ca/root.pem HTTP/1.1\r\nHost:").unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(40))).unwrap();
    let before = Instant::now();
    assert_eq!(office.curl("/ca/root.pem", &[]).0, 200);
    let mut answer = Vec::new();
    let _ = slow.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/1.1 200") && before.elapsed() < Duration::from_secs(35));

    let too_many = (0..40).map(|_| office.ask(&garbage, &[])).find(|(status, _)| *status == 429);
    let (_, told) = too_many.expect("the thirty-first request of an hour is refused");
    assert!(told["remedy"].as_str().unwrap().contains("seconds"), "{told}");
    assert_eq!(office.curl("/ca/root.pem", &[]).0, 200, "fetching is not asking");
}

#[test]
fn what_is_not_public_is_not_there_and_what_is_says_what_it_is() {
    let office = Office::open();
    for path in
        ["/ca/private/root.key", "/ca/records.db", "/ca/requests/AAAAAAAAAAAAAAAAAAAAAA", "/metrics", "/"]
    {
        assert_eq!(office.curl(path, &["--path-as-is"]).0, 404, "{path}");
    }
    for (path, media_type) in [
        ("/ca/root.crt", "application/pkix-cert"),
        ("/ca/crl.der", "application/pkix-crl"),
        ("/ca/root.mobileconfig", "application/x-apple-aspen-config"),
        ("/ca/chain.pem", "application/pem-certificate-chain"),
    ] {
        let (status, head) = office.curl(path, &["--head"]);
        let head = head.to_ascii_lowercase();
        assert!(status == 200 && head.contains(&format!("content-type: {media_type}")), "{path}: {head}");
        assert!(head.contains("x-content-type-options: nosniff"), "{path}: {head}");
    }
}
