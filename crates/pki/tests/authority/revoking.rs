//! Revocation: the list, and answers one by one.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::thread;

use postern_pki::ca::{AuthorityError, LARGEST_OCSP_REQUEST, MOST_OCSP_QUESTIONS, Reason, Which};
use x509_parser::prelude::FromDer;
use x509_parser::revocation_list::CertificateRevocationList;

use super::*;
use crate::tools::{Said, certtool, openssl, tries};

impl Office {
    fn revoke(&self, issued: &Issued, reason: Reason) {
        let which = Which::Serial(issued.serial.clone());
        assert_eq!(self.authority.revoke(&which, reason, now()).unwrap().len(), 1);
    }

    fn verify(&self, issued: &Issued) -> Said {
        let (leaf, authorities) = self.files(issued);
        let crl = self.authority.crl_pem_path();
        tries(&format!(
            "verify -x509_strict -crl_check -CAfile {} -CRLfile {} {}",
            authorities.display(),
            crl.display(),
            leaf.display()
        ))
    }

    /// What openssl makes of our answer about a certificate. `options` are those of `openssl ocsp`.
    fn ask(&self, issued: &Issued, options: &str) -> String {
        let (leaf, authorities) = self.files(issued);
        let issuer = self.write("issuer.pem", pem_of(self.authority.issuer()));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let line = format!(
            "ocsp {options} -issuer {} -cert {} -url http://{}/ca/ocsp -CAfile {} -resp_text",
            issuer.display(),
            leaf.display(),
            listener.local_addr().unwrap(),
            authorities.display()
        );
        let said = thread::scope(|scope| {
            scope.spawn(|| answer_once(&listener, |question| self.authority.ocsp(question, now())));
            openssl(&line)
        });
        assert!(said.contains("Response verify OK"), "{said}");
        said
    }
}

/// One request of HTTP/1.0, and its answer.
fn answer_once(listener: &TcpListener, answer: impl Fn(&[u8]) -> Vec<u8>) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        match line.trim().to_ascii_lowercase().split_once(':') {
            Some(("content-length", value)) => length = value.trim().parse().unwrap(),
            None if line.trim().is_empty() => break,
            _ => {}
        }
    }
    let mut question = vec![0; length];
    reader.read_exact(&mut question).unwrap();
    let answer = answer(&question);
    let head = format!(
        "HTTP/1.0 200 OK\r\nContent-Type: application/ocsp-response\r\nContent-Length: {}\r\n\r\n",
        answer.len()
    );
    stream.write_all(&[head.as_bytes(), &answer].concat()).unwrap();
}

fn pem_of(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

#[test]
fn a_revoked_certificate_is_on_the_next_list_and_openssl_refuses_it() {
    for shape in [Shape::RootAlone, Shape::WithIntermediate] {
        let office = office(shape);
        let (bad, _) = office.issue(&["mail.example.org"], Purpose::Server);
        let (good, _) = office.issue(&["smtp.example.org"], Purpose::Server);
        office.revoke(&bad, Reason::KeyCompromise);
        assert!(office.verify(&bad).content, "the list is not signed yet");
        office.authority.sign_crl(&office.signer, &office.policy, now()).unwrap();
        let said = office.verify(&bad);
        assert!(!said.content && said.text.contains("certificate revoked"), "{}", said.text);
        assert!(office.verify(&good).content, "{}", office.verify(&good).text);
        let crl = office.authority.crl_pem_path();
        let text = openssl(&format!("crl -in {} -noout -text", crl.display()));
        assert!(text.contains("Key Compromise") && text.contains("Version 2"), "{text}");
        assert!(text.to_lowercase().replace(':', "").contains(bad.serial.as_str()), "{text}");
        openssl(&format!("crl -inform DER -in {} -noout", office.crl_der().display()));
        certtool(&format!("--crl-info --infile {}", crl.display()));
    }
}

#[test]
fn lists_are_numbered_upwards_and_the_files_are_what_is_on_record() {
    let office = office(Shape::RootAlone);
    let sign = || office.authority.sign_crl(&office.signer, &office.policy, now()).unwrap();
    let numbers: Vec<_> = (0..15).map(|_| sign().number).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "{numbers:?}");
    let last = office.authority.crl().unwrap().unwrap();
    assert_eq!(Some(&last.number), numbers.last());
    assert_eq!(fs::read(office.crl_der()).unwrap(), last.der);
    assert_eq!(fs::read_to_string(office.authority.crl_pem_path()).unwrap(), last.pem());
    let (_, parsed) = CertificateRevocationList::from_der(&last.der).unwrap();
    assert_eq!(parsed.next_update().unwrap().timestamp(), last.next_update.as_second());
}

#[test]
fn what_is_revoked_by_name_is_all_that_bears_it_and_counts() {
    let office = office(Shape::RootAlone);
    let (one, _) = office.issue(&["mail.example.org", "smtp.example.org"], Purpose::Server);
    let (two, _) = office.issue(&["smtp.example.org"], Purpose::Server);
    let (three, _) = office.issue(&["imap.example.org"], Purpose::Server);
    office.revoke(&two, Reason::Superseded);
    let which = Which::of("SMTP.example.org");
    let revoked = office.authority.revoke(&which, Reason::CessationOfOperation, now()).unwrap();
    assert_eq!(revoked.iter().map(|issued| &issued.serial).collect::<Vec<_>>(), [&one.serial]);
    let reason = |issued: &Issued| {
        let found = office.authority.find(&Which::Serial(issued.serial.clone())).unwrap().remove(0);
        found.revoked.map(|revocation| revocation.reason)
    };
    assert_eq!(reason(&two), Some(Reason::Superseded), "the first reason stays");
    assert_eq!((reason(&one), reason(&three)), (Some(Reason::CessationOfOperation), None));
    let again = office.authority.revoke(&which, Reason::Unspecified, now()).unwrap_err();
    assert!(matches!(again, AuthorityError::AlreadyRevoked { .. }), "{again}");
    let nobody =
        office.authority.revoke(&Which::of("nobody.example.org"), Reason::Unspecified, now()).unwrap_err();
    assert!(matches!(nobody, AuthorityError::NoSuchCertificate { .. }), "{nobody}");
}

#[test]
fn what_ended_long_ago_leaves_the_list() {
    let office = office(Shape::RootAlone);
    let (issued, _) = office.issue(&["mail.example.org"], Purpose::Server);
    office.revoke(&issued, Reason::Unspecified);
    let listed = |at| {
        let list = office.authority.sign_crl(&office.signer, &office.policy, at).unwrap();
        let (_, parsed) = CertificateRevocationList::from_der(&list.der).unwrap();
        parsed.iter_revoked_certificates().count()
    };
    assert_eq!([listed(now()), listed(now() + days(91)), listed(now() + days(98))], [1, 1, 0]);
}

#[test]
fn openssl_is_told_good_revoked_and_why() {
    for shape in [Shape::RootAlone, Shape::WithIntermediate] {
        let office = office(shape);
        let (issued, _) = office.issue(&["mail.example.org"], Purpose::Server);
        for options in ["", "-no_nonce", "-sha256"] {
            let said = office.ask(&issued, options);
            assert!(said.contains("issued.pem: good"), "{options}: {said}");
            // A nonce that is not repeated is a warning.
            assert!(!said.to_lowercase().contains("nonce in response"), "{options}: {said}");
            assert_eq!(said.contains("OCSP Nonce"), options != "-no_nonce", "{said}");
        }
        office.revoke(&issued, Reason::CessationOfOperation);
        let said = office.ask(&issued, "");
        assert!(said.contains("issued.pem: revoked") && said.contains("cessationOfOperation"), "{said}");
    }
}

#[test]
fn a_certificate_that_was_never_issued_is_unknown() {
    let (office, twin) = (office(Shape::RootAlone), office(Shape::RootAlone));
    let (issued, _) = office.issue(&["mail.example.org"], Purpose::Server);
    fs::remove_file(office.ca().join("records.db")).unwrap();
    for rest in ["records.db-wal", "records.db-shm"] {
        let _ = fs::remove_file(office.ca().join(rest));
    }
    let forgetful = Authority::begin_records_again(&office.ca()).unwrap();
    let office = Office { authority: forgetful, ..office };
    assert!(office.ask(&issued, "").contains("issued.pem: unknown"));
    let question = question(&office, &issued);
    assert_eq!(
        twin.authority.ocsp(&question, now()),
        [0x30, 3, 10, 1, 6],
        "unauthorized: not its certificate"
    );
}

fn question(office: &Office, issued: &Issued) -> Vec<u8> {
    let (leaf, _) = office.files(issued);
    let issuer = office.write("issuer.pem", pem_of(office.authority.issuer()));
    let path = office.folder.path().join("question");
    openssl(&format!(
        "ocsp -issuer {} -cert {} -reqout {}",
        issuer.display(),
        leaf.display(),
        path.display()
    ));
    fs::read(path).unwrap()
}

#[test]
fn a_broken_question_is_called_that_and_none_panics() {
    const MALFORMED: [u8; 5] = [0x30, 3, 10, 1, 1];
    let office = office(Shape::RootAlone);
    let (issued, _) = office.issue(&["mail.example.org"], Purpose::Server);
    let whole = question(&office, &issued);
    let ask = |question: &[u8]| office.authority.ocsp(question, now());
    for broken in
        [&b""[..], b"rubbish", &[0x30, 0], &[0x30, 0x80, 0, 0], &vec![0x30; LARGEST_OCSP_REQUEST + 1]]
    {
        assert_eq!(ask(broken), MALFORMED);
    }
    for length in 0..whole.len() {
        assert_eq!(ask(&whole[..length]), MALFORMED, "{length}");
    }
    for place in 0..whole.len() {
        for bit in 0..8 {
            let mut flipped = whole.clone();
            flipped[place] ^= 1 << bit;
            assert_eq!(ask(&flipped)[0], 0x30);
        }
    }
}

#[test]
fn more_questions_than_are_answered_at_once_are_refused() {
    let office = office(Shape::RootAlone);
    let (issued, _) = office.issue(&["mail.example.org"], Purpose::Server);
    let (leaf, _) = office.files(&issued);
    let issuer = office.write("issuer.pem", pem_of(office.authority.issuer()));
    let status = |count: usize| {
        let path = office.folder.path().join("question");
        let certificates = format!("-cert {} ", leaf.display()).repeat(count);
        openssl(&format!(
            "ocsp -no_nonce -issuer {} {certificates} -reqout {}",
            issuer.display(),
            path.display()
        ));
        let answer = office.authority.ocsp(&fs::read(path).unwrap(), now());
        answer.len() > 5
    };
    assert!(status(MOST_OCSP_QUESTIONS));
    assert!(!status(MOST_OCSP_QUESTIONS + 1));
}

/// RFC 9654 §2.1.
#[test]
fn a_nonce_is_repeated_if_it_is_short_enough() {
    let office = office(Shape::RootAlone);
    let (issued, _) = office.issue(&["mail.example.org"], Purpose::Server);
    let (leaf, _) = office.files(&issued);
    let issuer = office.write("issuer.pem", pem_of(office.authority.issuer()));
    let path = office.folder.path().join("question");
    openssl(&format!(
        "ocsp -no_nonce -issuer {} -cert {} -reqout {}",
        issuer.display(),
        leaf.display(),
        path.display()
    ));
    let bare = fs::read(path).unwrap();
    let with_nonce = |length: u8| {
        let long = |tag: u8, content: Vec<u8>| match u8::try_from(content.len()).unwrap() {
            short @ 0..=127 => [vec![tag, short], content].concat(),
            long => [vec![tag, 0x81, long], content].concat(),
        };
        let id = [6, 9, 43, 6, 1, 5, 5, 7, 48, 1, 2].to_vec();
        let value = long(4, long(4, vec![0xab; length.into()]));
        let extensions = long(0xa2, long(0x30, long(0x30, [id, value].concat())));
        // SEQUENCE { SEQUENCE { list } }, all of short lengths.
        let list = bare[4..].to_vec();
        long(0x30, long(0x30, [list, extensions].concat()))
    };
    let nonces = |length: u8| {
        let answer = office.authority.ocsp(&with_nonce(length), now());
        let repeated = answer
            .windows(usize::from(length).max(1))
            .any(|window| window.iter().all(|octet| *octet == 0xab));
        (answer.len() > 5, repeated)
    };
    assert_eq!((nonces(1).0, nonces(16), nonces(32)), (true, (true, true), (true, true)));
    assert_eq!(nonces(33), (true, false));
    assert!(!nonces(0).0);
    assert!(!nonces(100).1);
}

#[test]
fn nobody_answers_without_a_responder_or_after_its_end() {
    const TRY_LATER: [u8; 5] = [0x30, 3, 10, 1, 3];
    let office = office(Shape::RootAlone);
    let (issued, _) = office.issue(&["mail.example.org"], Purpose::Server);
    let question = question(&office, &issued);
    assert!(office.authority.ocsp(&question, now() + days(29)).len() > 5);
    assert_eq!(office.authority.ocsp(&question, now() + days(31)), TRY_LATER);
    fs::remove_file(office.ca().join("responder.pem")).unwrap();
    assert_eq!(office.authority.ocsp(&question, now()), TRY_LATER);
}
