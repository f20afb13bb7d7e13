//! The CA's problem documents (RFC 8555 §6.7) in plain words, with what to do about each.
//!
//! [`Problem`] keeps type, detail and what is said of single names as the CA wrote them, made harmless and bounded.
//! [`Problem::meaning`] and [`Problem::remedy`] are one table over [`ProblemKind`]. What it deliberately does not do:
//! recover meaning from the CA's detail, which is free text.

use std::fmt;

use postern_smtp::text;
use serde::{Deserialize, Serialize};

use super::ChallengeKind;

/// What all types begin with.
const URN: &str = "urn:ietf:params:acme:error:";
/// Of a CA's text so many octets are kept.
const DETAIL_MOST: usize = 600;
/// Of a type or a name so many.
const WORD_MOST: usize = 300;
/// So many subproblems are kept.
const SUBPROBLEMS_MOST: usize = 100;

/// What the CA says is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Its type, without the URN that all types begin with: `rateLimited`.
    pub kind: String,
    /// The CA's explanation, for people.
    pub detail: String,
    /// The name that it is about, when the CA says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it says of single names (RFC 8555 §6.7.1).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subproblems: Vec<Problem>,
}

/// The types that mean something to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProblemKind {
    /// The account is not known to the CA.
    AccountDoesNotExist,
    /// Another order replaces the same certificate (RFC 9773 §7.4).
    AlreadyReplaced,
    /// The certificate request is not acceptable.
    BadCsr,
    /// The nonce is not accepted: try again with another.
    BadNonce,
    /// The key is not acceptable.
    BadPublicKey,
    /// CAA records forbid it.
    Caa,
    /// Several problems, in the subproblems.
    Compound,
    /// The CA could not connect to us.
    Connection,
    /// The CA's lookup failed.
    Dns,
    /// The CA takes only accounts that it knows from elsewhere.
    ExternalAccountRequired,
    /// The answer to the challenge was wrong.
    IncorrectResponse,
    /// A contact address is not acceptable.
    InvalidContact,
    /// No profile of this name.
    InvalidProfile,
    /// The request is not sound.
    Malformed,
    /// Too many requests.
    RateLimited,
    /// The CA does not issue for this name.
    RejectedIdentifier,
    /// The CA has a problem of its own.
    ServerInternal,
    /// The CA's TLS connection to us failed.
    Tls,
    /// We may not do that, or the name is not proved.
    Unauthorized,
    /// The kind of contact is not supported.
    UnsupportedContact,
    /// The kind of name is not supported.
    UnsupportedIdentifier,
    /// A person has to do something at the CA's site.
    UserActionRequired,
    /// Any other.
    Other,
}

/// What a problem is about: remedies depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About<'a> {
    /// The account, the order or the request.
    Order,
    /// The proof of one name, by this kind of challenge.
    Name(&'a str, ChallengeKind),
}

impl Problem {
    /// Which of the types it is.
    pub fn kind(&self) -> ProblemKind {
        KINDS.iter().find(|(word, _)| *word == self.kind).map_or(ProblemKind::Other, |(_, kind)| *kind)
    }

    /// What it means, in plain words.
    pub fn meaning(&self) -> &'static str {
        use ProblemKind as K;
        match self.kind() {
            K::AccountDoesNotExist => "the CA does not know our account",
            K::AlreadyReplaced => "another order replaces this certificate already",
            K::BadCsr => "the CA does not accept the certificate request",
            K::BadNonce => "the CA refuses every nonce that it gives out",
            K::BadPublicKey => "the CA does not accept this kind of key",
            K::Caa => "CAA records of the domain do not allow this CA",
            K::Compound => "several things are wrong",
            K::Connection => "the CA could not connect to this server",
            K::Dns => "the CA could not look the name up",
            K::ExternalAccountRequired => {
                "the CA takes only accounts that are bound to one that you have with it"
            }
            K::IncorrectResponse => "the CA saw another answer to its challenge than ours",
            K::InvalidContact => "the CA does not accept the contact address",
            K::InvalidProfile => "the CA has no such profile",
            K::Malformed => "the CA does not accept the request",
            K::RateLimited => "the CA has had too many requests",
            K::RejectedIdentifier => "the CA does not issue certificates for this name",
            K::ServerInternal => "the CA has a problem of its own",
            K::Tls => "the CA could not set up TLS with this server",
            K::Unauthorized => "the CA does not see the name as proved, or does not allow it to our account",
            K::UnsupportedContact => "the CA does not support this kind of contact address",
            K::UnsupportedIdentifier => "the CA does not support this kind of name",
            K::UserActionRequired => "the CA wants a person to do something first",
            K::Other => "the CA refuses it",
        }
    }

    /// What to do about it.
    pub fn remedy(&self, about: About<'_>) -> String {
        use ProblemKind as K;
        match (self.kind(), about) {
            (K::AccountDoesNotExist, _) => "nothing: a new account is made at the next try".to_owned(),
            (K::BadNonce | K::ServerInternal | K::AlreadyReplaced, _) => {
                "nothing: it is tried again by itself; if it lasts, look at the CA's status page".to_owned()
            }
            (K::RateLimited, _) => {
                "nothing: it is tried again when the CA allows it; do not renew by hand until then".to_owned()
            }
            (K::BadCsr | K::BadPublicKey, _) => {
                "choose another key_type for the identity: \"ecdsa-p256\" and \"rsa-2048\" are taken by all CAs".to_owned()
            }
            (K::Caa, _) => {
                "add a CAA record that names this CA to the domain's zone, or remove those that forbid it".to_owned()
            }
            (K::ExternalAccountRequired, _) => {
                "get a key id and a MAC key from the CA's site, and set eab_key_id and eab_key_file".to_owned()
            }
            (K::InvalidContact | K::UnsupportedContact, _) => "mend contact in the [[acme]] section".to_owned(),
            (K::InvalidProfile, _) => "mend or remove profile in the [[acme]] section".to_owned(),
            (K::UserActionRequired, _) => {
                "do as the CA's words say, usually: read and agree to new terms of service at its site".to_owned()
            }
            (K::RejectedIdentifier | K::UnsupportedIdentifier, About::Order) => {
                "take this name out of names, or choose another CA for it".to_owned()
            }
            (_, About::Name(name, challenge)) => self.remedy_for_name(name, challenge),
            _ => "look at the CA's words, and at its status page".to_owned(),
        }
    }

    fn remedy_for_name(&self, name: &str, challenge: ChallengeKind) -> String {
        let host = name.strip_prefix("*.").unwrap_or(name);
        match (self.kind(), challenge) {
            (ProblemKind::RejectedIdentifier | ProblemKind::UnsupportedIdentifier, _) => {
                format!("take {name} out of names, or choose another CA for it")
            }
            (ProblemKind::Dns, ChallengeKind::Http01 | ChallengeKind::TlsAlpn01) => {
                format!("publish an address for {host} in the DNS, and see that DNSSEC is in order there")
            }
            (_, ChallengeKind::Dns01) => format!(
                "see that the TXT record at _acme-challenge.{host} reaches all name servers of the zone, and that DNSSEC is in order there"
            ),
            (_, ChallengeKind::Http01) => format!(
                "see that {host} leads to this server and that port 80 is let through to it, by IPv4 and by IPv6 if it has such an address"
            ),
            (_, ChallengeKind::TlsAlpn01) => format!(
                "see that {host} leads to this server, that port 443 is let through to it, and that nothing in between ends TLS"
            ),
        }
    }

    /// This one and those of single names.
    pub fn of_names(&self) -> impl Iterator<Item = (&str, &Problem)> {
        self.subproblems.iter().filter_map(|problem| Some((problem.name.as_deref()?, problem)))
    }
}

impl From<&instant_acme::Problem> for Problem {
    fn from(problem: &instant_acme::Problem) -> Self {
        let subproblem = |sub: &instant_acme::Subproblem| Problem {
            kind: word(sub.r#type.as_deref()),
            detail: detail(sub.detail.as_deref()),
            name: sub.identifier.as_ref().map(|name| text::clean(name.authorized(false), WORD_MOST)),
            subproblems: Vec::new(),
        };
        Self {
            kind: word(problem.r#type.as_deref()),
            detail: detail(problem.detail.as_deref()),
            name: None,
            subproblems: problem.subproblems.iter().take(SUBPROBLEMS_MOST).map(subproblem).collect(),
        }
    }
}

/// Whether the CA wants the same with another nonce (RFC 8555 §6.5).
pub(super) fn is_bad_nonce(error: &instant_acme::Error) -> bool {
    matches!(error, instant_acme::Error::Api(problem) if Problem::from(problem).kind() == ProblemKind::BadNonce)
}

fn word(kind: Option<&str>) -> String {
    let kind = kind.unwrap_or("unknown");
    text::clean(kind.strip_prefix(URN).unwrap_or(kind), WORD_MOST)
}

fn detail(detail: Option<&str>) -> String {
    text::clean(detail.unwrap_or_default(), DETAIL_MOST)
}

/// One sentence: the meaning, then the CA's own words.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.meaning(), self.kind)?;
        if !self.detail.is_empty() {
            write!(f, ": {}", self.detail)?;
        }
        f.write_str(")")?;
        for (name, problem) in self.of_names() {
            write!(f, "; {name}: {} ({}: {})", problem.meaning(), problem.kind, problem.detail)?;
        }
        Ok(())
    }
}

/// RFC 8555 §6.7, RFC 9773 §7.4.
const KINDS: &[(&str, ProblemKind)] = &[
    ("accountDoesNotExist", ProblemKind::AccountDoesNotExist),
    ("alreadyReplaced", ProblemKind::AlreadyReplaced),
    ("badCSR", ProblemKind::BadCsr),
    ("badNonce", ProblemKind::BadNonce),
    ("badPublicKey", ProblemKind::BadPublicKey),
    ("badSignatureAlgorithm", ProblemKind::BadPublicKey),
    ("caa", ProblemKind::Caa),
    ("compound", ProblemKind::Compound),
    ("connection", ProblemKind::Connection),
    ("dns", ProblemKind::Dns),
    ("externalAccountRequired", ProblemKind::ExternalAccountRequired),
    ("incorrectResponse", ProblemKind::IncorrectResponse),
    ("invalidContact", ProblemKind::InvalidContact),
    ("invalidProfile", ProblemKind::InvalidProfile),
    ("malformed", ProblemKind::Malformed),
    ("rateLimited", ProblemKind::RateLimited),
    ("rejectedIdentifier", ProblemKind::RejectedIdentifier),
    ("serverInternal", ProblemKind::ServerInternal),
    ("tls", ProblemKind::Tls),
    ("unauthorized", ProblemKind::Unauthorized),
    ("unsupportedContact", ProblemKind::UnsupportedContact),
    ("unsupportedIdentifier", ProblemKind::UnsupportedIdentifier),
    ("userActionRequired", ProblemKind::UserActionRequired),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Problem {
        Problem::from(&serde_json::from_str::<instant_acme::Problem>(json).unwrap())
    }

    #[test]
    fn a_problem_keeps_the_cas_words_and_says_which_name_is_meant() {
        let problem = read(
            r#"{"type":"urn:ietf:params:acme:error:malformed","detail":"Some were rejected","subproblems":[
                {"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"not for us",
                 "identifier":{"type":"dns","value":"b.example"}}]}"#,
        );
        assert_eq!(problem.kind(), ProblemKind::Malformed);
        assert_eq!(
            problem.of_names().map(|(name, sub)| (name, sub.kind())).next(),
            Some(("b.example", ProblemKind::RejectedIdentifier))
        );
        assert_eq!(
            problem.to_string(),
            "the CA does not accept the request (malformed: Some were rejected); b.example: the CA does not issue \
             certificates for this name (rejectedIdentifier: not for us)"
        );
    }

    #[test]
    fn a_cas_words_are_cleaned_and_bounded() {
        let detail = format!("line\\r\\nforged\\u001b[2J{}", "x".repeat(10_000));
        let problem = read(&format!(r#"{{"type":"x","detail":"{detail}"}}"#));
        assert!(problem.detail.len() <= DETAIL_MOST + 4, "{}", problem.detail.len());
        assert!(!problem.detail.contains(['\r', '\n', '\u{1b}']));
        assert_eq!(problem.kind(), ProblemKind::Other);
    }

    #[test]
    fn every_kind_has_its_own_meaning_and_a_remedy() {
        for (word, kind) in KINDS {
            let problem = Problem {
                kind: (*word).to_owned(),
                detail: String::new(),
                name: None,
                subproblems: Vec::new(),
            };
            assert_eq!(problem.kind(), *kind);
            for about in [About::Order, About::Name("a.example", ChallengeKind::Http01)] {
                assert!(problem.remedy(about).len() > 20, "{word}");
            }
        }
    }

    #[test]
    fn the_remedy_for_a_name_depends_on_how_it_is_proved() {
        let problem = read(r#"{"type":"urn:ietf:params:acme:error:connection"}"#);
        let remedy = |kind| problem.remedy(About::Name("*.a.example", kind));
        assert!(remedy(ChallengeKind::Http01).contains("a.example leads to this server and that port 80"));
        assert!(remedy(ChallengeKind::TlsAlpn01).contains("port 443"));
        assert!(remedy(ChallengeKind::Dns01).contains("_acme-challenge.a.example"));
    }
}
