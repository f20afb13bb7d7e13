//! Why mail waits, in words that an administrator can act on: a pure function from what an attempt recorded.
//!
//! [`diagnose`] turns a [`Trouble`] into a [`Diagnosis`]: what is wrong, the evidence, and what to do about it. The same words
//! stand in `postern queue why`, in delay warnings and in bounces. It is a table with one row for each kind of trouble; who
//! demanded the protection decides who can lower it: what a destination publishes about itself only its owner can mend.
//!
//! What it deliberately does not do: look anything up, or decide what happens to a message.

use std::fmt::Write as _;

use postern_queue::Destination;
use postern_smtp::outcome::{Evidence, Reason, Step, Trouble};
use postern_smtp::tls::{CertificateSeen, TlsFault, TlsRequirement};
use serde::{Deserialize, Serialize};

/// The cause where nothing is known but that TLS is at fault.
const UNKNOWN_FAULT: &str = "TLS trouble";

/// Why mail waits or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// The cause in a few words: a heading.
    pub cause: String,
    /// What happened, at which host.
    pub explanation: String,
    /// What was seen: certificate, protocol, reply, demands; one fact each.
    pub evidence: Vec<String>,
    /// What to do.
    pub remedy: String,
}

/// Says why.
pub fn diagnose(trouble: &Trouble, destination: &Destination) -> Diagnosis {
    let nothing = Evidence::default();
    let evidence = trouble.evidence.as_deref().unwrap_or(&nothing);
    let case = Case { trouble, evidence, destination: &destination.0 };
    let (cause, remedy) = match trouble.fault() {
        Some(fault) => case.of_fault(fault),
        None => case.of_reason(),
    };
    Diagnosis { cause: cause.to_owned(), explanation: case.explanation(), evidence: case.facts(), remedy }
}

impl Diagnosis {
    /// All of it as one paragraph, for reports that people read.
    pub fn paragraph(&self) -> String {
        let mut text = format!("{}.", self.explanation);
        for fact in &self.evidence {
            let _ = write!(text, " {}.", capitalised(fact));
        }
        let _ = write!(text, " What the administrator can do: {}.", self.remedy);
        text
    }
}

struct Case<'a> {
    trouble: &'a Trouble,
    evidence: &'a Evidence,
    destination: &'a str,
}

impl Case<'_> {
    fn explanation(&self) -> String {
        match &self.evidence.host {
            Some(host) => format!("{host}, at {}: {}", self.trouble.step, self.trouble.reason),
            None => format!("{}, at {}: {}", self.destination, self.trouble.step, self.trouble.reason),
        }
    }

    fn facts(&self) -> Vec<String> {
        let mut facts = Vec::new();
        if let Some(protocol) = &self.evidence.protocol {
            facts.push(format!("the connection was {protocol}"));
        }
        if let Some(certificate) = &self.evidence.certificate {
            facts.push(certificate_in_words(certificate));
        }
        if !self.evidence.demands.is_empty() {
            facts.push(format!("demanded: {}", self.evidence.demands));
        }
        if let Some(reply) = &self.trouble.reply {
            facts.push(format!("it said: {}", reply.one_line()));
        }
        facts
    }

    /// A flat table: one row for each kind of TLS trouble.
    fn of_fault(&self, fault: TlsFault) -> (&'static str, String) {
        match fault {
            TlsFault::NotOffered => (
                "no STARTTLS",
                self.or_lower(
                    "ask its postmaster to offer STARTTLS; if it used to, look for a firewall on the way that hides it (postern probe tells)",
                ),
            ),
            TlsFault::Stripped => (
                "STARTTLS hidden on the way",
                "a device between here and there rewrites SMTP: switch off \"SMTP inspection\" or \"fixup\" on the firewall, or take another way out"
                    .to_owned(),
            ),
            TlsFault::Refused => {
                ("STARTTLS refused", self.or_lower("its TLS is broken at the moment: wait, or tell its postmaster"))
            }
            TlsFault::Injected => (
                "replies injected before TLS",
                "somebody on the way writes into the connection, or the server is broken (CVE-2011-0411): do not lower the requirement; tell its postmaster"
                    .to_owned(),
            ),
            TlsFault::Stalled | TlsFault::Broken | TlsFault::Handshake | TlsFault::NotTls => (
                "TLS handshake broken",
                self.or_lower(
                    "its TLS breaks in the handshake: tell its postmaster; if it breaks on large hellos only, set post_quantum = false for this connector",
                ),
            ),
            TlsFault::NoCommonProtocol => (
                "no common TLS version",
                self.or_lower("it speaks no TLS 1.2 or 1.3: its postmaster has to update it"),
            ),
            TlsFault::ClientCertificate => (
                "client certificate wanted",
                "it wants a certificate of ours: set identity for this connector, and have it admitted there".to_owned(),
            ),
            TlsFault::NoCertificate => ("no certificate", self.ask_or_lower("show a certificate")),
            TlsFault::HostMismatch => ("certificate for another name", self.ask_or_lower("put its host name into its certificate")),
            TlsFault::Expired => ("certificate expired", self.ask_or_lower("renew its certificate")),
            TlsFault::NotYetValid => (
                "certificate not valid yet",
                self.ask_or_lower("mend its certificate, unless it is our clock that is wrong (compare: date -u), and"),
            ),
            TlsFault::SelfSigned | TlsFault::UnknownIssuer => (
                "certificate of an unknown authority",
                self.ask_or_pin("get a certificate of a public authority, or give you its root for trust"),
            ),
            TlsFault::IncompleteChain => {
                ("incomplete certificate chain", self.ask_or_pin("send its intermediate certificate too"))
            }
            TlsFault::WeakKey => ("certificate with a weak key", self.ask_or_lower("get a certificate with a key of 2048 bits or more")),
            TlsFault::WeakSignature => {
                ("certificate with a broken signature algorithm", self.ask_or_lower("get a certificate signed with SHA-256"))
            }
            TlsFault::Revoked => (
                "certificate is distrusted",
                "its key stands in distrust, or its authority revoked it: it must get a new key; do not take the entry back before it has"
                    .to_owned(),
            ),
            TlsFault::BadCertificate => ("certificate unusable", self.ask_or_pin("get a sound certificate")),
            TlsFault::DaneMismatch => (
                "certificate does not match its TLSA records",
                "it changed its certificate without its DNS, or somebody poses as it: only its postmaster can mend that; tell him"
                    .to_owned(),
            ),
            TlsFault::PinMismatch => (
                "certificate is not the pinned one",
                "ask its postmaster by telephone whether the key was changed; if so, write the new spki-sha256 into pins"
                    .to_owned(),
            ),
            TlsFault::NoTlsa => (
                "no TLSA records",
                self.or_lower("it publishes no TLSA records under DNSSEC, or our resolver does not validate (postern probe tells)"),
            ),
            TlsFault::TlsaUnusable => {
                ("unusable TLSA records", self.ask_or_lower("publish TLSA records with usage 3 or 2 (RFC 7672)"))
            }
            TlsFault::Bogus => (
                "DNSSEC says bogus",
                "its DNS signatures are wrong, or somebody forges answers: tell its postmaster; check our clock and our resolver with another bogus name"
                    .to_owned(),
            ),
            TlsFault::Unanswered => (
                "DNS does not answer",
                "its security records cannot be looked up: check our resolver (unbound-host, delv); if that is well, its name servers are at fault"
                    .to_owned(),
            ),
            TlsFault::NotInPolicy => (
                "host is not in the MTA-STS policy",
                "its MX records and its MTA-STS policy contradict each other: only its postmaster can mend that; tell him"
                    .to_owned(),
            ),
            TlsFault::PolicyUnfetched => (
                "MTA-STS policy cannot be fetched",
                "its record promises a policy, and the host mta-sts. under its domain does not give it: tell its postmaster, unless port 443 is blocked for us"
                    .to_owned(),
            ),
            TlsFault::PolicyInvalid => (
                "MTA-STS policy is broken",
                "its postmaster has to mend the record or the policy (RFC 8461); tell him".to_owned(),
            ),
            TlsFault::PolicyHostUntrusted => (
                "MTA-STS policy host does not prove who it is",
                "the host mta-sts. under its domain needs a certificate of a public authority for its name: tell its postmaster"
                    .to_owned(),
            ),
            TlsFault::NoRequireTls => {
                ("no REQUIRETLS", "the sender has to send it without REQUIRETLS, or by another way".to_owned())
            }
            TlsFault::InsecureName => (
                "nobody vouches for the host",
                "the sender demands REQUIRETLS, and the destination has neither DNSSEC nor MTA-STS".to_owned(),
            ),
            TlsFault::OurTrust => (
                "our own trust anchors are missing",
                "install ca-certificates, or mend the file that trust names, then postern reload".to_owned(),
            ),
            // Only a fault that is newer than this table; a test sees to it that there is none.
            _ => (UNKNOWN_FAULT, self.or_lower("run postern probe for the details")),
        }
    }

    /// A flat table: one row for each other kind of trouble.
    fn of_reason(&self) -> (&'static str, String) {
        let (cause, remedy) = match &self.trouble.reason {
            Reason::Refused if self.trouble.step == Step::Authenticate => {
                ("sign-in refused", "check user and secret of this connector; then postern queue retry")
            }
            Reason::SignInRefused(_) => {
                ("sign-in refused", "check user and token of this connector, and its rights at the provider")
            }
            Reason::Refused => {
                ("refused by the other server", "its reply says why; only its postmaster can do more")
            }
            Reason::NullMx => {
                ("takes no mail", "the domain says that it never takes mail: the address is wrong")
            }
            Reason::NoSuchDomain => ("no such domain", "the address is wrong, or the domain has lapsed"),
            Reason::LookupFailed(_) => (
                "DNS does not answer",
                "check our resolver ([dns] servers, /etc/resolv.conf); if others resolve, it is theirs",
            ),
            Reason::NoRoute => {
                ("no connector", "add a connector with this address space, then postern queue reroute")
            }
            Reason::OwnHost(_) => {
                ("leads back to us", "add a [[domain]] for it if it is ours, or mend its MX records")
            }
            Reason::ConnectFailed(_) => (
                "no connection",
                "if it is so for all destinations, port 25 is blocked for us: use a smarthost; else the other side is down",
            ),
            Reason::TimedOut | Reason::ConnectionLost => (
                "connection breaks",
                "the other side is overloaded or a device on the way cuts connections: wait",
            ),
            Reason::Protocol(_) => ("protocol broken", "the other server is broken: tell its postmaster"),
            Reason::TlsFailed(_) | Reason::SecurityUnmet(_) => {
                (UNKNOWN_FAULT, "run postern probe for the details")
            }
            Reason::CredentialsWithheld(_) => (
                "not signed in",
                "our credentials go only to a server that proves who it is: mend its certificate, set trust or pins, or mend \
                 the file with the secret",
            ),
            Reason::NeedsRequireTls => {
                ("no REQUIRETLS", "the sender has to send it without REQUIRETLS, or by another way")
            }
            Reason::SwitchedOff => (
                "connector is switched off",
                "set enabled = true for this connector and reload, or reroute the mail",
            ),
            Reason::NeedsEightBit | Reason::NeedsBinary | Reason::NeedsUtf8 => {
                ("content not taken", "the other server is old: the sender has to send plain text")
            }
            Reason::TooLarge(_) => ("too large", "the sender has to send it in another way"),
            Reason::Local(_) => {
                ("trouble on this machine", "look at the disk and at the mailbox's permissions")
            }
            Reason::NoTlsReport(_) => (
                "not a TLS report",
                "the address in [tls_reports] receive is for reports alone: publish another one for people",
            ),
            Reason::Expired => ("too late", "nothing: the sender was told"),
            Reason::Withdrawn => ("ended by an administrator", "nothing: the sender was told"),
        };
        (cause, remedy.to_owned())
    }

    /// Asks the other side, or else lowers what we demand.
    fn ask_or_lower(&self, what: &str) -> String {
        self.or_lower(&format!("ask its postmaster to {what}"))
    }

    /// Asks the other side, or pins what it has, or else lowers what we demand.
    fn ask_or_pin(&self, what: &str) -> String {
        let pin = match (&self.evidence.certificate, self.is_published()) {
            (Some(certificate), false) => format!(
                ", or, once he has confirmed it, pin its key: tls = \"pinned\", pins = [\"spki-sha256:{}\"]",
                certificate.spki_sha256
            ),
            _ => String::new(),
        };
        self.or_lower(&format!("ask its postmaster to {what}{pin}"))
    }

    /// Who could lower the demand. What a destination demands of those who send to it is not ours to lower.
    fn or_lower(&self, first: &str) -> String {
        let demands = self.evidence.demands.iter().filter(|demand| !demand.requirement.allows_clear());
        let lowerable: Vec<String> = demands.filter_map(|demand| demand.source.setting()).collect();
        if self.is_published() {
            return format!(
                "{first}; the destination itself demands this protection, so it is not ours to lower"
            );
        }
        match lowerable.as_slice() {
            [] => first.to_owned(),
            places => format!("{first}; to send with less protection, lower {}", places.join(" and ")),
        }
    }

    /// Whether the destination or the sender, and not we, demand something.
    fn is_published(&self) -> bool {
        let mut demands = self.evidence.demands.iter();
        demands.any(|demand| !demand.source.is_ours() && demand.requirement != TlsRequirement::NONE)
    }
}

fn capitalised(fact: &str) -> String {
    let mut rest = fact.chars();
    rest.next().map(|first| first.to_uppercase().chain(rest).collect()).unwrap_or_default()
}

fn certificate_in_words(certificate: &CertificateSeen) -> String {
    let names = match certificate.names.as_slice() {
        [] => "no name".to_owned(),
        names => names.join(", "),
    };
    let issuer = if certificate.self_signed { "itself" } else { &certificate.issuer };
    format!(
        "its certificate: for {names}, signed by {issuer}, valid from {} to {}, {}, spki-sha256:{}",
        certificate.not_before, certificate.not_after, certificate.key, certificate.spki_sha256
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use postern_smtp::tls::{Demands, FaultKind, Source, TlsFailure};

    use super::*;

    fn trouble(fault: TlsFault, demands: Demands) -> Trouble {
        let failure = TlsFailure::new(fault, "the certificate is signed by an unknown authority");
        let mut trouble = Trouble::of_tls(Reason::SecurityUnmet(failure.why.clone()), &failure);
        let evidence = trouble.evidence_mut();
        evidence.host = Some("mx.partner.example [192.0.2.1]:25".into());
        evidence.demands = demands;
        evidence.certificate = Some(Box::new(CertificateSeen {
            names: vec!["mx.partner.example".into()],
            issuer: "CN=Private CA".into(),
            spki_sha256: "ab12".into(),
            ..CertificateSeen::default()
        }));
        trouble
    }

    fn of(trouble: &Trouble) -> Diagnosis {
        diagnose(trouble, &Destination("partner.example".into()))
    }

    #[test]
    fn what_we_demand_ourselves_can_be_pinned_or_lowered_by_name() {
        let own = Demands::one(TlsRequirement::VERIFIED, Source::Connector("partner".into()));
        let diagnosis = of(&trouble(TlsFault::UnknownIssuer, own));
        assert_eq!(diagnosis.cause, "certificate of an unknown authority");
        assert!(diagnosis.explanation.starts_with("mx.partner.example [192.0.2.1]:25, at TLS: "));
        assert!(diagnosis.remedy.contains("pins = [\"spki-sha256:ab12\"]"), "{}", diagnosis.remedy);
        assert!(diagnosis.remedy.ends_with("lower tls of connector \"partner\""), "{}", diagnosis.remedy);
        assert!(diagnosis.evidence.iter().any(|fact| fact.contains("signed by CN=Private CA")));
    }

    #[test]
    fn what_the_destination_demands_is_not_ours_to_lower_or_to_pin() {
        let demands = Demands::one(TlsRequirement::OPPORTUNISTIC, Source::Connector("mx".into()))
            .with(TlsRequirement::VERIFIED, Source::MtaSts("partner.example".into()));
        let diagnosis = of(&trouble(TlsFault::UnknownIssuer, demands));
        assert!(diagnosis.remedy.contains("not ours to lower"), "{}", diagnosis.remedy);
        assert!(!diagnosis.remedy.contains("pin"), "{}", diagnosis.remedy);
    }

    #[test]
    fn each_tls_fault_has_a_row_and_no_two_kinds_share_one() {
        let mut kinds: HashMap<String, FaultKind> = HashMap::new();
        for &fault in TlsFault::ALL {
            let diagnosis = of(&trouble(fault, Demands::default()));
            assert_ne!(diagnosis.cause, UNKNOWN_FAULT, "{fault:?}");
            assert!(!diagnosis.remedy.is_empty(), "{fault:?}");
            let kind = *kinds.entry(diagnosis.cause).or_insert(fault.kind());
            assert_eq!(kind, fault.kind(), "{fault:?}");
        }
    }

    #[test]
    fn a_trouble_without_evidence_names_the_destination() {
        let diagnosis = of(&Trouble::new(Step::Lookup, Reason::LookupFailed("timed out".into())));
        assert!(diagnosis.explanation.starts_with("partner.example, at the DNS lookup: "));
        assert!(diagnosis.paragraph().contains("What the administrator can do: check our resolver"));
    }
}
