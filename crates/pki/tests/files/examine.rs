//! What is said of a certificate before it is installed.

use jiff::Timestamp;
use postern_pki::{
    Aspect, Chain, Examination, Expectations, Finding, Name, PrivateKey, Purpose, Severity, examine,
};
use rustls::RootCertStore;

use crate::Desk;

/// Looks at `host.pem` and the other files with `host.key`, for these names, trusting `root.pem`.
struct Look<'a> {
    desk: &'a Desk,
    files: &'a [&'a str],
    names: &'a [&'a str],
    trusted: &'a [&'a str],
    purpose: Purpose,
    now: Timestamp,
}

impl<'a> Look<'a> {
    fn at(desk: &'a Desk) -> Self {
        let files = &["host.pem", "issuing.pem"];
        let (names, trusted) = (&["mail.example.org"], &["root.pem"]);
        Self { desk, files, names, trusted, purpose: Purpose::Server, now: Timestamp::now() }
    }

    fn examination(&self) -> Examination {
        let heap = self.files.iter().map(|file| self.desk.certificate(file)).collect();
        let key = self.desk.read("host.key", None).unwrap().keys.swap_remove(0);
        let mut roots = RootCertStore::empty();
        for file in self.trusted {
            roots.add(self.desk.certificate(file)).unwrap();
        }
        let names: Vec<Name> = self.names.iter().map(|name| name.parse().unwrap()).collect();
        let chain = Chain::arrange(heap, &key.spki()).unwrap().towards(&roots, self.now, self.purpose);
        examine(
            &chain,
            &key,
            &Expectations { names: &names, now: self.now, roots: &roots, purpose: self.purpose },
        )
    }

    /// The one finding, which must be of this kind and say these words.
    fn finds(&self, severity: Severity, about: Aspect, words: &str) -> Finding {
        let examination = self.examination();
        let [finding] = &examination.findings[..] else { panic!("{words}: {examination:#?}") };
        assert_eq!((finding.severity, finding.about), (severity, about), "{finding}");
        assert!(finding.to_string().contains(words), "{finding}");
        assert_eq!(examination.is_refused(), severity == Severity::Refuse);
        finding.clone()
    }
}

fn reissued(extensions: &str) -> Desk {
    let desk = Desk::with_chain();
    desk.write("other", extensions.as_bytes());
    desk.sign("host", "mail.example.org", "issuing", "other", 90);
    desk
}

fn after(days: i64) -> Timestamp {
    Timestamp::now() + jiff::SignedDuration::from_hours(24 * days)
}

const SAN: &str = "subjectAltName=DNS:mail.example.org\n";

#[test]
fn a_good_certificate_has_no_findings() {
    let desk = Desk::with_chain();
    assert_eq!(Look::at(&desk).examination(), Examination::default());
    let desk = reissued("subjectAltName=DNS:*.example.org,IP:192.0.2.1,email:me@example.org\n");
    let names = &["mail.example.org", "*.example.org", "192.0.2.1", "Me@example.org"];
    assert_eq!(Look { names, ..Look::at(&desk) }.examination(), Examination::default());
}

#[test]
fn the_key_of_another_certificate_is_refused() {
    let desk = Desk::with_chain();
    let key = PrivateKey::generate(postern_pki::KeyKind::Rsa2048).unwrap();
    let leaf = desk.read("host.key", None).unwrap().keys[0].spki();
    let chain =
        Chain::arrange(vec![desk.certificate("host.pem"), desk.certificate("issuing.pem")], &leaf).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(desk.certificate("root.pem")).unwrap();
    let expected =
        Expectations { names: &[], now: Timestamp::now(), roots: &roots, purpose: Purpose::Server };
    let examination = examine(&chain, &key, &expected);
    let [finding] = &examination.findings[..] else { panic!("{examination:?}") };
    assert_eq!((finding.severity, finding.about), (Severity::Refuse, Aspect::Fit));
    assert!(
        finding
            .sentence
            .contains("the private key (RSA 2048) is not that of the certificate (whose key is P-256)")
    );
}

#[test]
fn names_that_are_not_covered_are_listed() {
    let desk = Desk::with_chain();
    let look = Look { names: &["mail.example.org", "imap.example.org", "192.0.2.1"], ..Look::at(&desk) };
    let finding = look.finds(
        Severity::Refuse,
        Aspect::Name,
        "not for imap.example.org, 192.0.2.1; it bears: mail.example.org",
    );
    assert!(finding.remedy.contains("request one that bears all of these names"));
    let desk = reissued("keyUsage=digitalSignature\n");
    let words = "it bears no name at all (subjectAltName), and that its subject is CN=mail.example.org does not count";
    Look::at(&desk).finds(Severity::Refuse, Aspect::Name, words);
}

#[test]
fn names_that_deceive_are_refused() {
    for name in ["mail.example.org\0.evil.example", "m\u{0430}il.example.org", "mail.example.org\n"] {
        let tagged =
            |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
        let names = [tagged(0x82, b"mail.example.org"), tagged(0x82, name.as_bytes())].concat();
        let der = tagged(0x30, &names);
        let hex: Vec<String> = der.iter().map(|octet| format!("{octet:02x}")).collect();
        let desk = reissued(&format!("subjectAltName=DER:{}\n", hex.join(":")));
        let examination = Look::at(&desk).examination();
        let found = examination.findings.iter().any(|finding| {
            finding.severity == Severity::Refuse
                && finding.sentence.contains("programs and people read differently")
        });
        assert!(found, "{name:?}: {examination:?}");
    }
}

#[test]
fn dates_are_looked_at() {
    let desk = Desk::with_chain();
    let over = Look { now: after(91), ..Look::at(&desk) };
    over.finds(Severity::Refuse, Aspect::Dates, "the certificate expired on 20");
    let early = Look { now: after(-2), ..Look::at(&desk) };
    early.finds(Severity::Refuse, Aspect::Dates, "the certificate is not valid before 20");
    let soon = Look { now: after(85), ..Look::at(&desk) };
    soon.finds(Severity::Warn, Aspect::Dates, "expires on 20");
}

#[test]
fn a_long_life_is_told_with_who_minds() {
    let desk = Desk::with_chain();
    let issue = |days: u32| {
        desk.openssl(&format!("x509 -req -in host.csr -CA root.pem -CAkey root.key -CAcreateserial -days {days} -extfile leaf -out host.pem"));
    };
    let look = Look { files: &["host.pem"], now: after(1), ..Look::at(&desk) };
    issue(397);
    assert_eq!(look.examination(), Examination::default());
    issue(500);
    look.finds(
        Severity::Note,
        Aspect::Dates,
        "made for 500 days: Apple's programs refuse those of public authorities beyond 398",
    );
    issue(900);
    look.finds(
        Severity::Warn,
        Aspect::Dates,
        "made for 900 days: Apple's programs refuse any that lives longer than 825",
    );
}

#[test]
fn an_authority_that_ends_first_is_named() {
    let desk = Desk::with_chain();
    desk.openssl("x509 -req -in issuing.csr -CA root.pem -CAkey root.key -CAcreateserial -days 30 -extfile ca -out issuing.pem");
    Look::at(&desk).finds(
        Severity::Warn,
        Aspect::Dates,
        "the certificate of its authority CN=Issuing ends on 20",
    );
    let over = Look { now: after(40), ..Look::at(&desk) };
    let examination = over.examination();
    assert!(examination.is_refused());
    let words = "the certificate of its authority (CN=Issuing) has expired on 20";
    assert!(examination.findings[0].sentence.contains(words), "{examination:?}");
}

#[test]
fn short_keys_and_broken_signatures_are_refused() {
    let desk = Desk::with_chain();
    desk.openssl("x509 -req -in host.csr -CA issuing.pem -CAkey issuing.key -CAcreateserial -days 90 -extfile leaf -sha1 -out host.pem");
    let look = Look { now: after(1), ..Look::at(&desk) };
    look.finds(Severity::Refuse, Aspect::Signature, "is signed by ecdsa-with-SHA1, which can be forged");
    desk.openssl("genrsa -out issuing.key 1024");
    desk.sign("issuing", "Issuing", "root", "ca", 900);
    desk.sign("host", "mail.example.org", "issuing", "leaf", 90);
    look.finds(
        Severity::Refuse,
        Aspect::Key,
        "the RSA key of CN=Issuing has 1024 bits; fewer than 2048 protect nothing",
    );
}

#[test]
fn a_certificate_for_something_else_is_refused() {
    let desk = reissued(&format!("{SAN}extendedKeyUsage=clientAuth\n"));
    Look::at(&desk).finds(Severity::Refuse, Aspect::Purpose, "its extended key usage lacks serverAuth");
    let client = Look { purpose: Purpose::Client, ..Look::at(&desk) };
    assert_eq!(client.examination(), Examination::default());
    let desk = Desk::with_chain();
    let client = Look { purpose: Purpose::Client, ..Look::at(&desk) };
    client.finds(Severity::Refuse, Aspect::Purpose, "its extended key usage lacks clientAuth");
    let desk = reissued(&format!("{SAN}keyUsage=keyEncipherment\n"));
    Look::at(&desk).finds(Severity::Refuse, Aspect::Purpose, "lacks digitalSignature");
    let desk = reissued(&format!("{SAN}basicConstraints=critical,CA:TRUE\n"));
    Look::at(&desk).finds(Severity::Refuse, Aspect::Purpose, "the certificate of an authority");
}

#[test]
fn a_missing_link_is_refused_and_a_private_root_is_only_a_warning() {
    let desk = Desk::with_chain();
    let unknown = Look { trusted: &["host.pem"], ..Look::at(&desk) };
    let with_root = Look { files: &["host.pem", "issuing.pem", "root.pem"], ..unknown };
    let finding = with_root.finds(
        Severity::Warn,
        Aspect::Chain,
        "the chain leads to CN=Root, which this machine does not trust",
    );
    assert!(finding.remedy.contains("import the root certificate of CN=Root into every mail program"));
    let unknown = Look { trusted: &["host.pem"], ..Look::at(&desk) };
    unknown.finds(Severity::Warn, Aspect::Chain, "the chain ends at CN=Root, whose certificate is not there");
    let desk =
        reissued(&format!("{SAN}authorityInfoAccess=caIssuers;URI:http://ca.example.net/issuing.cer\n"));
    let alone = Look { files: &["host.pem"], ..Look::at(&desk) };
    let finding = alone.finds(
        Severity::Refuse,
        Aspect::Chain,
        "the chain is incomplete: the certificate of CN=Issuing is missing",
    );
    assert!(finding.remedy.contains("http://ca.example.net/issuing.cer"));
    let nobody = Look { trusted: &[], ..Look::at(&desk) };
    nobody.finds(Severity::Note, Aspect::Chain, "this machine trusts no authority");
}

#[test]
fn a_certificate_signed_by_itself_is_a_warning() {
    let desk = Desk::with_chain();
    desk.openssl("req -x509 -key host.key -subj /CN=mail.example.org -addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:mail.example.org -out host.pem");
    let look = Look { files: &["host.pem"], ..Look::at(&desk) };
    look.finds(Severity::Warn, Aspect::Chain, "signed by itself");
}
