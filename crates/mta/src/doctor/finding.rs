//! What an examination says: one [`Finding`] a line, and all of them as a [`Report`].
//!
//! A finding has a [`Verdict`], the evidence it rests on, and a remedy where there is something to do. [`Check`] names what was
//! looked at; the names are fixed, because `--only` and programs that read the JSON go by them.
//!
//! What it deliberately does not do: find anything out, or lay it out for people.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::event::clean;

/// The form of the JSON. It changes when a field is taken away or means something else.
pub const FORMAT: u32 = 1;
/// So many octets of one text are kept.
const TEXT_MOST: usize = 2000;

/// How good something is. The worst is last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Nothing is wrong; it is worth knowing.
    Note,
    /// It could not be found out.
    Unknown,
    /// It should be seen to.
    Warning,
    /// Mail suffers from it now.
    Failed,
}

impl Verdict {
    /// In one word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Unknown => "unknown",
            Self::Warning => "warning",
            Self::Failed => "failed",
        }
    }

    /// What a program that came to it exits with.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ok | Self::Note => 0,
            Self::Warning => 1,
            Self::Failed => 2,
            Self::Unknown => 3,
        }
    }
}

/// Names everything that is looked at, in the order in which it is told.
macro_rules! checks {
    ($($variant:ident = $name:literal, $about:literal;)+) => {
        /// What is looked at.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Check { $(#[doc = $about] $variant,)+ }

        impl Check {
            /// All, in the order in which they are told.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// Its name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// What it is about, in a few words.
            pub fn about(self) -> &'static str {
                match self { $(Self::$variant => $about,)+ }
            }
        }
    };
}

checks! {
    HostName = "host-name", "The host name: is it a full one, and does it lead here?";
    ReverseName = "reverse-name", "The names that our addresses have in the DNS.";
    Mx = "mx", "Whether the MX records of our domains lead here.";
    Ports = "ports", "Whether our ports are bound, and who answers there.";
    Certificates = "certificates", "Certificates: their ends, and the names that they must bear.";
    Trust = "trust", "Which programs trust the certificates that we show.";
    Spf = "spf", "SPF records of our domains, and whether they name our addresses.";
    Dkim = "dkim", "DKIM keys of our domains.";
    Dmarc = "dmarc", "DMARC records of our domains.";
    Published = "published", "TLSA records and MTA-STS policies of ours, held against our certificates.";
    TlsReports = "tls-reports", "Whether our domains ask for reports about TLS.";
    Clock = "clock", "Whether the clock is right.";
    Disk = "disk", "Room on the disk of the data directory.";
    Sync = "sync", "How fast, and whether, that disk puts mail away for good.";
    Directory = "directory", "Whether each directory of people answers.";
    Resolver = "resolver", "Whether names can be looked up, and who validates DNSSEC.";
    Limits = "limits", "What the system allows the running Postern, and how it is confined.";
    Permissions = "permissions", "Who may read the data directory and the secrets.";
    Queue = "queue", "Mail that waits for long, is held, or was set aside.";
    Troubles = "troubles", "People of ours who cannot send.";
}

/// No check has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no check {:?}; there are: {}", clean(.0), Check::ALL.iter().map(|check| check.name()).collect::<Vec<_>>().join(", "))]
pub struct NoSuchCheck(String);

impl FromStr for Check {
    type Err = NoSuchCheck;

    fn from_str(text: &str) -> Result<Self, NoSuchCheck> {
        let found = Self::ALL.iter().find(|check| check.name() == text);
        found.copied().ok_or_else(|| NoSuchCheck(text.chars().take(40).collect()))
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Serialize for Check {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// One thing that was found out. All texts are clean and bounded, whoever wrote what they quote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// How good it is.
    pub verdict: Verdict,
    /// What was seen, in a sentence.
    pub evidence: String,
    /// What to do; empty where there is nothing.
    pub remedy: String,
}

impl Finding {
    /// Something that is as it should be.
    pub(super) fn ok(check: Check, evidence: impl AsRef<str>) -> Self {
        Self::new(check, Verdict::Ok, evidence, "")
    }

    /// Something that is worth knowing.
    pub(super) fn note(check: Check, evidence: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self::new(check, Verdict::Note, evidence, remedy)
    }

    /// What could not be found out, and why.
    pub(super) fn unknown(check: Check, evidence: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self::new(check, Verdict::Unknown, evidence, remedy)
    }

    /// What should be seen to.
    pub(super) fn warning(check: Check, evidence: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self::new(check, Verdict::Warning, evidence, remedy)
    }

    /// What mail suffers from.
    pub(super) fn failed(check: Check, evidence: impl AsRef<str>, remedy: impl AsRef<str>) -> Self {
        Self::new(check, Verdict::Failed, evidence, remedy)
    }

    pub(super) fn new(
        check: Check,
        verdict: Verdict,
        evidence: impl AsRef<str>,
        remedy: impl AsRef<str>,
    ) -> Self {
        Self { check, verdict, evidence: bounded(evidence.as_ref()), remedy: bounded(remedy.as_ref()) }
    }
}

fn bounded(text: &str) -> String {
    postern_smtp::text::clean(text, TEXT_MOST)
}

/// Everything that was found out.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// The host name of the configuration.
    pub hostname: String,
    /// Whether a Postern was running meanwhile.
    pub running: bool,
    /// The worst of all verdicts.
    pub verdict: Verdict,
    /// In the order of [`Check::ALL`].
    pub findings: Vec<Finding>,
}

impl Report {
    pub(super) fn of(hostname: String, running: bool, findings: Vec<Finding>) -> Self {
        let verdict = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Ok);
        Self { format: FORMAT, hostname, running, verdict, findings }
    }

    /// The exit code of a monitoring plug-in: 0 well, 1 a warning, 2 something failed, 3 nothing is wrong as far as was seen,
    /// and something could not be found out.
    pub fn exit_code(&self) -> u8 {
        self.verdict.exit_code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_check_is_found_by_its_name_and_another_name_lists_them() {
        for check in Check::ALL {
            assert_eq!(check.name().parse(), Ok(*check));
        }
        let said = "spiff\u{1b}".parse::<Check>().unwrap_err().to_string();
        assert!(said.contains("spf, dkim") && !said.contains('\u{1b}'), "{said}");
    }

    #[test]
    fn what_could_not_be_found_out_does_not_hide_what_is_wrong() {
        let of = |verdicts: &[Verdict]| {
            let finding = |verdict: &Verdict| Finding::new(Check::Spf, *verdict, "x", "");
            Report::of("mail.example.org".into(), true, verdicts.iter().map(finding).collect()).exit_code()
        };
        assert_eq!(of(&[]), 0);
        assert_eq!(of(&[Verdict::Ok, Verdict::Note]), 0);
        assert_eq!(of(&[Verdict::Ok, Verdict::Unknown]), 3);
        assert_eq!(of(&[Verdict::Unknown, Verdict::Warning]), 1);
        assert_eq!(of(&[Verdict::Unknown, Verdict::Failed, Verdict::Warning]), 2);
    }

    #[test]
    fn what_strangers_publish_is_cleaned_and_bounded() {
        let finding = Finding::ok(Check::Spf, format!("\u{1b}[2J{}", "é".repeat(5000)));
        assert!(!finding.evidence.contains('\u{1b}') && finding.evidence.len() < 2100);
    }
}
