//! What a check of a server says: settings for mail programs, findings, and what was seen at each port.
//!
//! All of it is plain data, in a form of JSON that does not change; texts of the other side are clean and bounded.
//!
//! What it deliberately does not do: judge (`verdict` does), or lay anything out.

use std::net::IpAddr;

use postern_smtp::text::clean;
use postern_smtp::tls::CertificateSeen;
use serde::Serialize;

use crate::doctor::Verdict;

/// The form of the JSON. It changes when a field is taken away or means something else.
pub const FORMAT: u32 = 1;
/// So many octets of one text are kept.
const TEXT_MOST: usize = 1000;

/// Everything that was found out.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// The server, as the DNS knows it.
    pub host: String,
    /// Its addresses, as this machine finds them.
    pub addresses: Vec<IpAddr>,
    /// The worst of everything.
    pub verdict: Verdict,
    /// What works, the best first.
    pub settings: Vec<Setting>,
    /// What is in the way, the worst first.
    pub findings: Vec<Finding>,
    /// What was seen at each port.
    pub ports: Vec<PortReport>,
    /// Whether the password works, if somebody asked.
    pub sign_in: Option<SignedIn>,
}

/// What a mail program can be set to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// The address that it was tried at.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
    /// When TLS begins.
    pub encryption: Encryption,
    /// Why programs here do not trust the server; `None`: they do.
    pub distrust: Option<String>,
    /// The ways to sign in that the server offers under TLS.
    pub mechanisms: Vec<String>,
}

/// How a mail program encrypts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encryption {
    /// With the first octet (RFC 8314 §3.3).
    Tls,
    /// After STARTTLS (RFC 3207).
    Starttls,
}

/// What is in the way, or worth knowing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub verdict: Verdict,
    /// What was seen, in a sentence.
    pub what: String,
    /// What to do; empty where there is nothing.
    pub remedy: String,
}

/// One port at one address.
#[derive(Debug, Clone, Serialize)]
pub struct PortReport {
    /// The port.
    pub port: u16,
    /// The address.
    pub address: Option<IpAddr>,
    /// What is there.
    pub state: PortState,
    /// Why, where it is no mail server.
    pub why: String,
    /// The banner.
    pub banner: Option<String>,
    /// The ways to sign in that are offered without any TLS.
    pub clear_sign_in: Vec<String>,
    /// TLS with the first octet.
    pub tls: Mode,
    /// TLS after STARTTLS.
    pub starttls: Mode,
}

/// What is at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortState {
    /// A mail server.
    Mail,
    /// The connection is refused.
    Refused,
    /// Nobody answers.
    TimedOut,
    /// There is no way there.
    Unreachable,
    /// Something that is no mail server.
    SomethingElse,
    /// It takes the connection and says nothing.
    Silent,
    /// There was no time left.
    NotTried,
}

/// One way to encrypt.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Mode {
    /// Whether SMTP was spoken under TLS.
    pub works: bool,
    /// Why not.
    pub why: String,
    /// Version, suite and key exchange.
    pub protocol: Option<String>,
    /// Whether programs here trust the certificate.
    pub trust: Option<Trust>,
    /// The certificate.
    pub certificate: Option<Box<CertificateSeen>>,
    /// The ways to sign in.
    pub mechanisms: Vec<String>,
}

/// Whether a certificate is trusted here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// It is, for the name of the server.
    Trusted,
    /// It is not, and why.
    Untrusted(String),
}

/// What became of the password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum SignedIn {
    /// It works.
    Yes,
    /// The server says no.
    Refused {
        /// Its words.
        reply: String,
    },
    /// It could not be found out.
    NotNow {
        /// Why.
        why: String,
    },
    /// It was not sent.
    NotTried {
        /// Why.
        why: String,
    },
}

impl Encryption {
    /// What mail programs call it.
    pub fn words(self) -> &'static str {
        match self {
            Self::Tls => "SSL/TLS",
            Self::Starttls => "STARTTLS",
        }
    }

    /// The same in each of the programs that have other words.
    pub fn in_programs(self) -> [(&'static str, &'static str); 3] {
        match self {
            Self::Tls => [
                ("Outlook", "encryption method SSL/TLS"),
                ("Thunderbird", "connection security SSL/TLS"),
                ("Apple Mail", "\"Use TLS/SSL\" ticked"),
            ],
            Self::Starttls => [
                ("Outlook", "encryption method STARTTLS (older ones: TLS)"),
                ("Thunderbird", "connection security STARTTLS"),
                ("Apple Mail", "\"Use TLS/SSL\" ticked"),
            ],
        }
    }
}

impl Setting {
    /// What mail programs call the way to sign in.
    pub fn authentication(&self) -> &'static str {
        let offers = |wanted: &[&str]| self.mechanisms.iter().any(|one| wanted.contains(&one.as_str()));
        if offers(&["PLAIN", "LOGIN"]) {
            "normal password"
        } else if offers(&["XOAUTH2", "OAUTHBEARER"]) {
            "OAuth2"
        } else if self.mechanisms.iter().any(|one| one.starts_with("SCRAM-") || one == "CRAM-MD5") {
            "encrypted password"
        } else {
            "certificate"
        }
    }
}

impl Finding {
    pub(super) fn new(verdict: Verdict, what: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        let bounded = |text: &str| clean(text, TEXT_MOST);
        Self { verdict, what: bounded(what.as_ref()), remedy: bounded(remedy.as_ref()) }
    }
}

impl Report {
    /// Adds what became of the password.
    pub(super) fn take_sign_in(&mut self, result: SignedIn) {
        let finding = match &result {
            SignedIn::Yes => None,
            SignedIn::Refused { reply } => Some(Finding::new(
                Verdict::Failed,
                format!("the server does not take this name and password: {reply}"),
                "check the form of the name (usually the whole mail address), then the password; some accounts need an app password",
            )),
            SignedIn::NotNow { why } => Some(Finding::new(
                Verdict::Unknown,
                format!("whether the password works could not be found out: {why}"),
                "try again in a while",
            )),
            SignedIn::NotTried { why } => Some(Finding::new(
                Verdict::Warning,
                format!("the password was not sent: {why}"),
                "mend that first; a private authority can be named with --ca FILE",
            )),
        };
        self.findings.extend(finding);
        self.findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
        self.verdict = self.findings.iter().map(|finding| finding.verdict).max().unwrap_or(self.verdict);
        self.sign_in = Some(result);
    }

    /// 0: programs can be set up here; 1: they can, but something is in the way; 2: they cannot, or the password is wrong; 3: it
    /// could not be found out.
    pub fn exit_code(&self) -> u8 {
        self.verdict.exit_code()
    }
}
