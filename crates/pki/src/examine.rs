//! Looking at a certificate before it is installed, so that nobody finds out from users what is wrong with it.
//!
//! [`examine`] looks at everything at once and decides nothing: every [`Finding`] says how bad it is, what it is about, and
//! what to do. Whoever installs refuses where one says [`Severity::Refuse`].
//!
//! What it deliberately does not do: connect anywhere, look at DNS (TLSA and MTA-STS are `mta`'s affair), or ask whether a
//! certificate was revoked.

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use postern_smtp::text::clean;
use postern_smtp::tls::{TlsFailure, TlsFault};
use rustls::RootCertStore;
use rustls_pki_types::{CertificateDer, ServerName};
use x509_parser::asn1_rs::{Any, Tag};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{AttributeTypeAndValue, X509Certificate};

use crate::certificate::{Certificate, Life, key_words};
use crate::chain::{Chain, MissingIssuer, Purpose};
use crate::checks::{Aspect, unix};
use crate::identity::{day, timestamp};
use crate::judge::{Shown, match_name, weak_key, weak_signature};
use crate::{Name, PrivateKey};

/// Apple's programs refuse server certificates of public authorities that live longer, in days.
const LONGEST_PUBLIC_LIFE: i64 = 398;
/// Apple's programs refuse any server certificate that lives longer, in days.
const LONGEST_LIFE: i64 = 825;
/// A certificate with less time left will be renewed before anybody gets used to it, in days.
const SHORT_REST: i64 = 7;
/// So many names are listed in a sentence.
const NAMES_LISTED: usize = 10;

/// What a certificate is expected to be good for.
#[derive(Debug, Clone, Copy)]
pub struct Expectations<'a> {
    /// The names that it must bear: those of the listeners that will use it.
    pub names: &'a [Name],
    /// When it is to be good.
    pub now: Timestamp,
    /// The authorities that this machine trusts, and its own.
    pub roots: &'a RootCertStore,
    /// What it is to be used for.
    pub purpose: Purpose,
}

/// Everything that there is to say about a certificate, the worst first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examination {
    /// What was found. Nothing means that all is well.
    pub findings: Vec<Finding>,
}

/// Something about a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is about.
    pub about: Aspect,
    /// What was found.
    pub sentence: String,
    /// What to do about it.
    pub remedy: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Nobody could use it: it is not installed.
    Refuse,
    /// Some could not use it, unless somebody does something.
    Warn,
    /// Good to know.
    Note,
}

/// Looks at a certificate with its chain and its key.
pub fn examine(chain: &Chain, key: &PrivateKey, expected: &Expectations<'_>) -> Examination {
    let mut examiner = Examiner { chain, expected, findings: Vec::new() };
    examiner.fit(key);
    match Certificate::new(chain.leaf()).parsed() {
        Some(leaf) => {
            examiner.names(leaf);
            examiner.dates(leaf);
            examiner.purpose(leaf);
        }
        None => {
            examiner.refuse(
                Aspect::Chain,
                "the certificate cannot be read",
                "ask the authority for it again",
            );
        }
    }
    examiner.strength();
    examiner.chain();
    examiner.left_over();
    let mut findings = examiner.findings;
    findings.sort_by_key(|finding| finding.severity);
    Examination { findings }
}

impl Examination {
    /// Whether it should not be installed.
    pub fn is_refused(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Refuse)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Refuse => "refused",
            Self::Warn => "warning",
            Self::Note => "note",
        })
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.severity, self.sentence)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", self.remedy) }
    }
}

struct Examiner<'a> {
    chain: &'a Chain,
    expected: &'a Expectations<'a>,
    findings: Vec<Finding>,
}

impl Examiner<'_> {
    fn add(
        &mut self,
        severity: Severity,
        about: Aspect,
        sentence: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.findings.push(Finding { severity, about, sentence: sentence.into(), remedy: remedy.into() });
    }

    fn refuse(&mut self, about: Aspect, sentence: impl Into<String>, remedy: impl Into<String>) {
        self.add(Severity::Refuse, about, sentence, remedy);
    }

    fn fit(&mut self, key: &PrivateKey) {
        if key.fits(self.chain.leaf()) {
            return;
        }
        let leaf = Certificate::new(self.chain.leaf());
        let its = leaf.parsed().map_or_else(|| "unknown".to_owned(), |leaf| key_words(leaf.public_key()));
        let sentence = format!(
            "the private key ({}) is not that of the certificate (whose key is {its})",
            key.describe()
        );
        self.refuse(Aspect::Fit, sentence, "name the key that the certificate was requested with");
    }

    fn names(&mut self, leaf: &X509Certificate<'_>) {
        let certificate = Certificate::new(self.chain.leaf());
        let deceptive: Vec<String> =
            certificate.general_names().iter().filter_map(deceptive).chain(deceptive_subject(leaf)).collect();
        if !deceptive.is_empty() {
            self.refuse(
                Aspect::Name,
                format!("the certificate bears names that programs and people read differently: {}", list(&deceptive)),
                "ask for one whose names are plain ASCII (A-labels, xn--…), without NUL and control characters",
            );
        }
        let uncovered: Vec<String> =
            self.expected.names.iter().filter(|name| !self.covers(name)).map(Name::to_string).collect();
        if uncovered.is_empty() {
            return;
        }
        let shown = certificate.names_shown();
        let bears = if shown.is_empty() {
            let subject = certificate.subject();
            format!(
                "it bears no name at all (subjectAltName), and that its subject is {subject} does not count"
            )
        } else {
            format!("it bears: {}", shown.join(", "))
        };
        self.refuse(
            Aspect::Name,
            format!("the certificate is not for {}; {bears}", list(&uncovered)),
            "request one that bears all of these names, or use this one where its own names are used",
        );
    }

    /// RFC 6125 §6; a mail address must be there as it is written.
    fn covers(&self, name: &Name) -> bool {
        let leaf = self.chain.leaf();
        let host = match name {
            Name::Mail(address) => {
                let (people, _) = Certificate::new(leaf).people_and_hosts();
                return people.iter().any(|person| person.eq_ignore_ascii_case(address));
            }
            // A wildcard is wanted as such.
            Name::Dns(pattern) if name.is_wildcard() => {
                return Certificate::new(leaf).people_and_hosts().1.contains(pattern);
            }
            Name::Dns(host) => ServerName::try_from(host.as_str()).ok(),
            Name::Address(address) => Some(ServerName::from(*address)),
        };
        let now = unix(self.expected.now);
        let shown = Shown { leaf, others: &[], host: host.as_ref(), names: &[], now };
        match_name(&shown).is_ok()
    }

    fn dates(&mut self, leaf: &X509Certificate<'_>) {
        let now = self.expected.now;
        match Certificate::new(self.chain.leaf()).life(unix(now)) {
            Life::Over(end) => self.refuse(
                Aspect::Dates,
                format!("the certificate expired on {}", day(end)),
                "install the renewed one, or correct this machine's clock",
            ),
            Life::NotBegun(begin) => self.refuse(
                Aspect::Dates,
                format!("the certificate is not valid before {}", day(begin)),
                "install it then, or correct this machine's clock",
            ),
            Life::InForce => self.rest_of_life(leaf),
        }
        self.whole_life(leaf);
        self.ends_of_issuers(end_of(leaf));
    }

    fn rest_of_life(&mut self, leaf: &X509Certificate<'_>) {
        let rest = end_of(leaf).duration_since(self.expected.now);
        if rest < days(SHORT_REST) {
            let sentence = format!("the certificate expires on {} already", day(end_of(leaf)));
            self.add(Severity::Warn, Aspect::Dates, sentence, "have the next one ready");
        }
    }

    /// How long it lives from its first day to its last. Only servers' certificates are measured by that.
    fn whole_life(&mut self, leaf: &X509Certificate<'_>) {
        let begin = timestamp(leaf.validity().not_before.timestamp());
        let life = end_of(leaf).duration_since(begin).as_hours() / 24;
        if self.expected.purpose != Purpose::Server || life <= LONGEST_PUBLIC_LIFE {
            return;
        }
        let (severity, who) = if life > LONGEST_LIFE {
            (Severity::Warn, format!("Apple's programs refuse any that lives longer than {LONGEST_LIFE}"))
        } else {
            let who =
                format!("Apple's programs refuse those of public authorities beyond {LONGEST_PUBLIC_LIFE}");
            (Severity::Note, who)
        };
        let sentence = format!("the certificate is made for {life} days: {who}");
        self.add(
            severity,
            Aspect::Dates,
            sentence,
            "ask for one of 90 days to a year, and renew it automatically",
        );
    }

    fn ends_of_issuers(&mut self, end: Timestamp) {
        for issuer in self.chain.issuers() {
            let issuer = Certificate::new(issuer);
            let Some(over) = issuer.parsed().map(end_of).filter(|over| *over < end) else { continue };
            let sentence = format!(
                "the certificate of its authority {} ends on {}, before the certificate itself",
                issuer.subject(),
                day(over)
            );
            let remedy = "ask the authority for its newer intermediate certificate before that day";
            self.add(Severity::Warn, Aspect::Dates, sentence, remedy);
        }
    }

    fn purpose(&mut self, leaf: &X509Certificate<'_>) {
        if leaf.is_ca() {
            self.refuse(
                Aspect::Purpose,
                "this is the certificate of an authority, which must not be used for a server or a person",
                "install a certificate that the authority issued; where one was signed by itself, make it anew with basicConstraints CA:FALSE",
            );
        }
        let extended = leaf.extended_key_usage().ok().flatten().map(|extension| extension.value);
        let (allowed, word) = match self.expected.purpose {
            Purpose::Server => (extended.is_none_or(|usage| usage.any || usage.server_auth), "serverAuth"),
            Purpose::Client => (extended.is_none_or(|usage| usage.any || usage.client_auth), "clientAuth"),
        };
        if !allowed {
            self.refuse(
                Aspect::Purpose,
                format!("the certificate may not be used for this: its extended key usage lacks {word}"),
                format!("ask the authority for one with {word}"),
            );
        }
        let usage = leaf.key_usage().ok().flatten();
        if usage.is_some_and(|extension| !extension.value.digital_signature()) {
            self.refuse(
                Aspect::Purpose,
                "the certificate's key may not sign (its key usage lacks digitalSignature), which TLS needs",
                "ask the authority for one with digitalSignature",
            );
        }
    }

    /// Keys and signatures of everything that is sent.
    fn strength(&mut self) {
        for der in self.chain.certificates() {
            let certificate = Certificate::new(der);
            if let Some(failure) = weak_key(&certificate) {
                self.refuse(Aspect::Key, failure.why, "make a new key, and request a certificate for it");
            }
            if let Some(failure) = weak_signature(&certificate) {
                let remedy = "ask the authority for one signed by SHA-256 or better";
                self.refuse(Aspect::Signature, failure.why, remedy);
            }
        }
    }

    fn chain(&mut self) {
        let Expectations { roots, now, purpose, .. } = *self.expected;
        let Err(failure) = self.chain.completes(roots, now, purpose) else { return };
        let its_own = self.chain.root() == Some(self.chain.leaf());
        if its_own {
            return self.signed_by_itself();
        }
        if self.chain.is_circle() {
            return self.circle();
        }
        match (failure.fault, self.chain.root(), self.chain.missing()) {
            (TlsFault::IncompleteChain | TlsFault::UnknownIssuer, Some(root), _) => self.unknown_root(root),
            (TlsFault::IncompleteChain | TlsFault::UnknownIssuer, None, Some(missing)) => {
                self.no_issuer(missing);
            }
            (TlsFault::OurTrust, ..) => self.add(
                Severity::Note,
                Aspect::Chain,
                "whether the chain leads to a known root cannot be told: this machine trusts no authority",
                "install the ca-certificates package",
            ),
            _ => self.other_fault(&failure),
        }
    }

    fn left_over(&mut self) {
        let strangers = self.chain.left_over();
        if strangers.is_empty() {
            return;
        }
        let subjects: Vec<String> = strangers.iter().map(|der| Certificate::new(der).subject()).collect();
        self.add(
            Severity::Note,
            Aspect::Chain,
            format!(
                "the files also hold what does not belong to the chain, and is left out: {}",
                list(&subjects)
            ),
            "",
        );
    }

    fn signed_by_itself(&mut self) {
        self.add(
            Severity::Warn,
            Aspect::Chain,
            "the certificate is signed by itself: no mail program trusts it before somebody imports it there",
            "import it wherever it is to be trusted, or use a certificate of an authority",
        );
    }

    fn circle(&mut self) {
        let subjects = self.chain.issuers().iter().map(|issuer| Certificate::new(issuer).subject());
        let subjects: Vec<String> = subjects.collect();
        self.refuse(
            Aspect::Chain,
            format!(
                "the chain goes in a circle and never comes to a root: {} vouch for one another",
                list(&subjects)
            ),
            "ask the authority for the chain that leads to its root",
        );
    }

    fn unknown_root(&mut self, root: &CertificateDer<'_>) {
        let root = Certificate::new(root).subject();
        self.add(
            Severity::Warn,
            Aspect::Chain,
            format!("the chain leads to {root}, which this machine does not trust, and others may not"),
            import(&root),
        );
    }

    /// Public authorities say where the certificate above can be had; where nothing says so, it may well be a private root.
    fn no_issuer(&mut self, missing: &MissingIssuer) {
        let name = &missing.name;
        match &missing.url {
            Some(url) => self.refuse(
                Aspect::Chain,
                format!("the chain is incomplete: the certificate of {name} is missing"),
                format!("add it to the files; it can be had at {url}"),
            ),
            None => self.add(
                Severity::Warn,
                Aspect::Chain,
                format!(
                    "the chain ends at {name}, whose certificate is not there and which is not trusted here"
                ),
                format!(
                    "add its certificate to the files if it is an intermediate one; if it is a root, {}",
                    import(name)
                ),
            ),
        }
    }

    /// Dates, strength and purpose of the certificate itself have findings of their own.
    fn other_fault(&mut self, failure: &TlsFailure) {
        let known = matches!(failure.fault, TlsFault::WeakKey | TlsFault::WeakSignature);
        let told = known || self.findings.iter().any(|finding| finding.about == Aspect::Purpose);
        if !told {
            self.refuse(Aspect::Chain, failure.why.clone(), "ask the authority for its current chain");
        }
    }
}

fn import(root: &str) -> String {
    format!(
        "import the root certificate of {root} into every mail program and device that is to trust it (that of \
         Postern's own CA: `postern ca root`)"
    )
}

fn end_of(certificate: &X509Certificate<'_>) -> Timestamp {
    timestamp(certificate.validity().not_after.timestamp())
}

fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

fn list(names: &[String]) -> String {
    let mut listed = names.iter().take(NAMES_LISTED).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > NAMES_LISTED {
        listed.push_str(&format!(" and {} more", names.len() - NAMES_LISTED));
    }
    listed
}

/// A name with a letter beyond ASCII, a NUL or a control character (RFC 5280 §7.2, §7.5), as far as it can be shown.
fn deceptive(name: &GeneralName<'_>) -> Option<String> {
    let octets = match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) => name.as_bytes(),
        GeneralName::Invalid(_, octets) => octets,
        _ => return None,
    };
    let plain = !octets.is_empty() && octets.iter().all(u8::is_ascii_graphic);
    (!plain).then(|| shown(octets))
}

/// The same for a common name, of which old programs make a host name; there letters of any script are fine.
fn deceptive_subject(leaf: &X509Certificate<'_>) -> Option<String> {
    let mut names = leaf.subject().iter_common_name().map(AttributeTypeAndValue::attr_value);
    // Every other octet of plain text is a zero in this old form.
    let deceives = |value: &&Any<'_>| value.tag() != Tag::BmpString && value.data.contains(&0);
    names.find(deceives).map(|value| shown(value.data))
}

fn shown(octets: &[u8]) -> String {
    clean(octets.escape_ascii(), 100)
}
