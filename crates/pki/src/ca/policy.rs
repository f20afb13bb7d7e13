//! What may be asked of the private CA, and what is issued without anybody looking.
//!
//! [`Policy::judge`] is pure: a request and what its certificate is for go in, a [`Verdict`] or the reason against it
//! comes out. Names are compared as the request has them on the wire, in A-labels; [`Name`] lets nothing else in.
//!
//! What it deliberately does not do: believe a request's subject. Nobody checks an organisation or a town, so none is
//! certified; a common name must be one of the names.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use jiff::SignedDuration;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::oid_registry;
use x509_parser::prelude::FromDer as _;

use super::Purpose;
use crate::certificate::clean_name;
use crate::key::describe_spki;
use crate::{BadName, KeyKind, Name, SigningRequest};

/// What may be asked for, and what the certificates are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The names that may be asked for. Empty: none.
    pub names: Vec<NamePattern>,
    /// The names whose certificates are issued without approval, provided that they may be asked for.
    pub automatic: Vec<NamePattern>,
    /// How long a server's certificate is good for.
    pub server_life: SignedDuration,
    /// How long a person's or device's certificate is good for.
    pub client_life: SignedDuration,
    /// The keys that certificates are issued for.
    pub keys: Vec<KeyKind>,
    /// Where this CA is reached over HTTP, without a slash at the end: it goes into certificates, for revocation.
    pub url: Option<String>,
    /// How long a revocation list is good for. Half-way through, the next is signed.
    pub crl_life: SignedDuration,
}

/// Names that may be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum NamePattern {
    /// This host, `mail.example.org`.
    Host(String),
    /// All hosts below a domain however deep, and the wildcard itself: `*.example.org`.
    Below(String),
    /// This mail address, `anna@example.org`.
    Mailbox(String),
    /// All mail addresses of a domain: `*@example.org`.
    Mailboxes(String),
    /// The addresses of a network: `192.0.2.0/24`, `2001:db8::1`.
    Network(IpAddr, u8),
}

/// What the policy says to a request that it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its certificate can be issued at once.
    Automatic,
    /// Somebody has to approve it.
    NeedsApproval,
}

/// Why the policy forbids a request, in words for whoever sent it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// It asks for no name.
    #[error("the request asks for no name; put the host names or mail addresses into it as subjectAltName")]
    NoNames,
    /// A name that may not be asked for.
    #[error("{name}: this authority issues no certificate for this name; it issues them for {allowed}")]
    Name {
        /// The name.
        name: String,
        /// What may be asked for.
        allowed: String,
    },
    /// A wildcard that is not allowed as such.
    #[error(
        "{name}: this wildcard is not among the names of this authority; ask for the host names themselves"
    )]
    Wildcard {
        /// The wildcard.
        name: String,
    },
    /// A name of a kind that has no meaning for this purpose.
    #[error("{name}: {reason}")]
    Kind {
        /// The name.
        name: String,
        /// Why it does not fit.
        reason: &'static str,
    },
    /// A common name that is none of the names.
    #[error(
        "the common name {common_name:?} is none of the names asked for; make it one of them, or leave it out: programs \
         look at the names alone"
    )]
    CommonName {
        /// The common name.
        common_name: String,
    },
    /// It asks to be an authority.
    #[error(
        "the request asks for an authority's certificate (CA:TRUE or the right to sign certificates or lists)"
    )]
    Authority,
    /// It asks for something that is not understood and that it calls indispensable.
    #[error("the request demands the extension {oid}, which this authority does not issue")]
    Extension {
        /// Its object identifier.
        oid: String,
    },
    /// It asks for a use that is not the purpose.
    #[error("the request asks for the use {oid}, but the certificate would be for a {purpose}")]
    Use {
        /// The use's object identifier.
        oid: String,
        /// The purpose.
        purpose: Purpose,
    },
    /// Its key is of a kind that is not issued for.
    #[error("the key is {found}; this authority issues certificates for {allowed}")]
    Key {
        /// What it is.
        found: String,
        /// What may be.
        allowed: String,
    },
    /// The request cannot be read.
    #[error("the request cannot be read: {0}")]
    Unreadable(String),
}

/// serverAuth and clientAuth (RFC 5280 §4.2.1.12).
const SERVER_AUTH: &str = "1.3.6.1.5.5.7.3.1";
const CLIENT_AUTH: &str = "1.3.6.1.5.5.7.3.2";
/// Uses that add nothing to what a certificate for clients is good for.
const EMAIL_PROTECTION: &str = "1.3.6.1.5.5.7.3.4";

impl Policy {
    /// Whether a certificate may be issued for this request, and whether at once.
    ///
    /// # Errors
    /// The request's sender is to mend it: what is forbidden, and why.
    pub fn judge(&self, request: &SigningRequest, purpose: Purpose) -> Result<Verdict, PolicyError> {
        check_form(request, purpose)?;
        self.check_key(request.spki())?;
        for name in &request.names {
            self.check_name(name)?;
        }
        let automatic = |name| self.automatic.iter().any(|pattern| pattern.covers(name));
        // Whoever has a client certificate may sign in or relay with it: somebody has to know him.
        let at_once = purpose == Purpose::Server && request.names.iter().all(automatic);
        Ok(if at_once { Verdict::Automatic } else { Verdict::NeedsApproval })
    }

    /// How long a certificate for this purpose is good for.
    pub fn life(&self, purpose: Purpose) -> SignedDuration {
        match purpose {
            Purpose::Server => self.server_life,
            Purpose::Client => self.client_life,
        }
    }

    fn check_name(&self, name: &Name) -> Result<(), PolicyError> {
        if self.names.iter().any(|pattern| pattern.covers(name)) {
            return Ok(());
        }
        let shown = name.to_string();
        let below = |pattern: &NamePattern| match (pattern, name) {
            (NamePattern::Below(domain), Name::Dns(name)) => name.ends_with(&format!(".{domain}")),
            _ => false,
        };
        if name.is_wildcard() && self.names.iter().any(below) {
            return Err(PolicyError::Wildcard { name: shown });
        }
        Err(PolicyError::Name { name: shown, allowed: listed(&self.names) })
    }

    fn check_key(&self, spki: &[u8]) -> Result<(), PolicyError> {
        let found = describe_spki(spki);
        if self.keys.iter().any(|kind| key_words(*kind) == found) {
            return Ok(());
        }
        Err(PolicyError::Key {
            found,
            allowed: self.keys.iter().map(|kind| key_words(*kind)).collect::<Vec<_>>().join(", "),
        })
    }
}

impl Default for Policy {
    /// Nothing may be asked for; servers' certificates for 90 days, people's and devices' for a year, lists for a week.
    fn default() -> Self {
        Self {
            names: Vec::new(),
            automatic: Vec::new(),
            server_life: SignedDuration::from_hours(90 * 24),
            client_life: SignedDuration::from_hours(365 * 24),
            keys: KeyKind::ALL.to_vec(),
            url: None,
            crl_life: SignedDuration::from_hours(7 * 24),
        }
    }
}

/// What must be true of a request whatever the policy says: plain names that fit the purpose, a common name among them,
/// and no wish to be more than a server or client.
pub(super) fn check_form(request: &SigningRequest, purpose: Purpose) -> Result<(), PolicyError> {
    check_names(&request.names, purpose)?;
    let common_name = request.subject.common_name.as_deref().unwrap_or_default();
    if !common_name.is_empty() && !request.names.iter().any(|name| is_same(name, common_name)) {
        return Err(PolicyError::CommonName { common_name: clean_name(common_name) });
    }
    if request.wishes.authority {
        return Err(PolicyError::Authority);
    }
    let fits = |oid: &&String| match purpose {
        // Requests for servers are often made for both uses; what is issued is for one.
        Purpose::Server => [SERVER_AUTH, CLIENT_AUTH].contains(&oid.as_str()),
        Purpose::Client => [CLIENT_AUTH, EMAIL_PROTECTION].contains(&oid.as_str()),
    };
    if let Some(oid) = request.wishes.purposes.iter().find(|oid| !fits(oid)) {
        return Err(PolicyError::Use { oid: oid.clone(), purpose });
    }
    match unknown_critical(request.der())? {
        Some(oid) => Err(PolicyError::Extension { oid }),
        None => Ok(()),
    }
}

/// Whether names fit the purpose.
pub(super) fn check_names(names: &[Name], purpose: Purpose) -> Result<(), PolicyError> {
    if names.is_empty() {
        return Err(PolicyError::NoNames);
    }
    for name in names {
        let reason = match (purpose, name) {
            (Purpose::Server, Name::Mail(_)) => {
                "a mail address is no server's name; ask for a client's certificate"
            }
            (Purpose::Client, Name::Address(_)) => {
                "people and devices are known by mail address or host name, not by IP address"
            }
            (Purpose::Client, name) if name.is_wildcard() => "a wildcard names no person or device",
            _ => continue,
        };
        return Err(PolicyError::Kind { name: name.to_string(), reason });
    }
    Ok(())
}

fn is_same(name: &Name, common_name: &str) -> bool {
    match name {
        Name::Dns(name) => name.eq_ignore_ascii_case(common_name),
        Name::Mail(name) => name == common_name,
        Name::Address(address) => common_name.parse() == Ok(*address),
    }
}

/// An extension that the request calls critical and that is not known here.
fn unknown_critical(der: &[u8]) -> Result<Option<String>, PolicyError> {
    let known = [
        oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME,
        oid_registry::OID_X509_EXT_BASIC_CONSTRAINTS,
        oid_registry::OID_X509_EXT_KEY_USAGE,
        oid_registry::OID_X509_EXT_EXTENDED_KEY_USAGE,
    ];
    let (_, request) = X509CertificationRequest::from_der(der)
        .map_err(|error| PolicyError::Unreadable(error.to_string()))?;
    for attribute in request.certification_request_info.iter_attributes() {
        let ParsedCriAttribute::ExtensionRequest(requested) = attribute.parsed_attribute() else { continue };
        let strange = requested.extensions.iter().find(|asked| asked.critical && !known.contains(&asked.oid));
        if let Some(extension) = strange {
            return Ok(Some(extension.oid.to_id_string()));
        }
    }
    Ok(None)
}

/// A kind of key as keys are described.
fn key_words(kind: KeyKind) -> &'static str {
    match kind {
        KeyKind::EcdsaP256 => "P-256",
        KeyKind::EcdsaP384 => "P-384",
        KeyKind::Rsa2048 => "RSA 2048",
        KeyKind::Rsa3072 => "RSA 3072",
        KeyKind::Rsa4096 => "RSA 4096",
    }
}

fn listed(patterns: &[NamePattern]) -> String {
    if patterns.is_empty() {
        return "none that is sent to it".to_owned();
    }
    patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl NamePattern {
    /// Whether this name is one of those meant.
    pub fn covers(&self, name: &Name) -> bool {
        match (self, name) {
            (Self::Host(host), Name::Dns(name)) => host == name,
            (Self::Below(domain), Name::Dns(name)) => match name.strip_prefix("*.") {
                Some(parent) => parent == domain,
                None => name.strip_suffix(domain).is_some_and(|head| head.len() > 1 && head.ends_with('.')),
            },
            (Self::Mailbox(address), Name::Mail(name)) => address == name,
            (Self::Mailboxes(domain), Name::Mail(name)) => {
                name.rsplit_once('@').is_some_and(|(_, of)| of == domain)
            }
            (Self::Network(network, bits), Name::Address(address)) => in_network(*network, *bits, *address),
            _ => false,
        }
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(name) | Self::Mailbox(name) => f.write_str(name),
            Self::Below(domain) => write!(f, "*.{domain}"),
            Self::Mailboxes(domain) => write!(f, "*@{domain}"),
            Self::Network(address, bits) if *bits == width(*address) => write!(f, "{address}"),
            Self::Network(address, bits) => write!(f, "{address}/{bits}"),
        }
    }
}

impl FromStr for NamePattern {
    type Err = String;

    /// # Errors
    /// Why this is no pattern, and what patterns look like.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(network) = network(text) {
            return network;
        }
        let plain = |text: &str| text.parse::<Name>().map_err(|BadName { reason, .. }| wrong(text, reason));
        if let Some(domain) = text.strip_prefix("*@") {
            return match plain(domain)? {
                Name::Dns(domain) if !domain.starts_with('*') => Ok(Self::Mailboxes(domain)),
                _ => Err(wrong(text, "what follows *@ is no domain")),
            };
        }
        Ok(match plain(text)? {
            Name::Dns(name) => match name.strip_prefix("*.") {
                Some(domain) => Self::Below(domain.to_owned()),
                None => Self::Host(name),
            },
            Name::Mail(name) => Self::Mailbox(name),
            Name::Address(address) => Self::Network(address, width(address)),
        })
    }
}

/// A network with the number of bits that are fixed; `None` if the text is meant as something else.
fn network(text: &str) -> Option<Result<NamePattern, String>> {
    let (address, bits) = text.split_once('/')?;
    let Ok(address) = address.parse::<IpAddr>() else {
        return Some(Err(wrong(text, "what stands before the slash is no IP address")));
    };
    match bits.parse::<u8>() {
        Ok(bits) if bits <= width(address) => Some(Ok(NamePattern::Network(address, bits))),
        _ => Some(Err(wrong(text, "what follows the slash is no number of bits"))),
    }
}

fn wrong(text: &str, reason: &str) -> String {
    format!(
        "{:?} is no pattern of names: {reason}; write mail.example.org, *.example.org, anna@example.org, *@example.org \
         or 192.0.2.0/24",
        clean_name(text)
    )
}

/// How many bits an address has.
fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn in_network(network: IpAddr, bits: u8, address: IpAddr) -> bool {
    let as_number = |address| match address {
        IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
        IpAddr::V6(v6) => u128::from(v6),
    };
    let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
    network.is_ipv4() == address.is_ipv4() && (as_number(network) ^ as_number(address)) & mask == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PrivateKey, RequestDetails, Subject};

    fn patterns(texts: &[&str]) -> Vec<NamePattern> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    fn policy(names: &[&str], automatic: &[&str]) -> Policy {
        Policy { names: patterns(names), automatic: patterns(automatic), ..Policy::default() }
    }

    fn asking(common_name: &str, names: &[&str]) -> SigningRequest {
        let key = PrivateKey::generate(KeyKind::EcdsaP256).unwrap();
        let subject = Subject {
            common_name: (!common_name.is_empty()).then(|| common_name.to_owned()),
            ..Subject::default()
        };
        let names = names.iter().map(|name| name.parse().unwrap()).collect();
        SigningRequest::make(&RequestDetails { subject, names }, &key).unwrap()
    }

    #[test]
    fn a_pattern_covers_what_it_says_and_nothing_else() {
        for (pattern, covered, others) in [
            (
                "mail.example.org",
                vec!["mail.example.org", "MAIL.example.org."],
                vec!["a.mail.example.org", "example.org"],
            ),
            (
                "*.example.org",
                vec!["mail.example.org", "a.b.c.example.org", "*.example.org"],
                vec![
                    "example.org",
                    "evilexample.org",
                    "*.sub.example.org",
                    "mail.example.org.evil.example",
                    "anna@example.org",
                ],
            ),
            (
                "*@example.org",
                vec!["anna@example.org"],
                vec!["anna@sub.example.org", "example.org", "anna@evilexample.org"],
            ),
            ("anna@example.org", vec!["anna@example.org"], vec!["otto@example.org"]),
            (
                "192.0.2.0/24",
                vec!["192.0.2.1", "192.0.2.255"],
                vec!["192.0.3.1", "::c000:201", "2001:db8::1"],
            ),
            ("2001:db8::/32", vec!["2001:db8:1::1"], vec!["2001:db9::1", "192.0.2.1"]),
            ("192.0.2.7", vec!["192.0.2.7"], vec!["192.0.2.6"]),
            ("0.0.0.0/0", vec!["203.0.113.1"], vec!["::1"]),
        ] {
            let pattern: NamePattern = pattern.parse().unwrap();
            let covers = |name: &&str| pattern.covers(&name.parse().unwrap());
            assert_eq!(
                covered.iter().filter(|name| !covers(name)).collect::<Vec<_>>(),
                Vec::<&&str>::new(),
                "{pattern}"
            );
            assert_eq!(
                others.iter().filter(|name| covers(name)).collect::<Vec<_>>(),
                Vec::<&&str>::new(),
                "{pattern}"
            );
            assert_eq!(pattern.to_string().parse::<NamePattern>().unwrap(), pattern);
        }
    }

    #[test]
    fn what_is_no_pattern_is_said_with_examples() {
        for text in
            ["", "*", "*.org", "a.*.example.org", "*@", "*@*.example.org", "10.0.0.0/33", "x/24", "two words"]
        {
            let error = text.parse::<NamePattern>().unwrap_err();
            assert!(error.contains("*.example.org"), "{text:?}: {error}");
        }
    }

    #[test]
    fn only_what_is_named_may_be_asked_for_and_the_rest_says_which_and_why() {
        let policy = policy(&["*.example.org", "example.org", "10.0.0.0/8"], &["*.lab.example.org"]);
        let judge = |names: &[&str]| policy.judge(&asking("", names), Purpose::Server);
        assert_eq!(judge(&["mail.example.org", "10.1.2.3"]), Ok(Verdict::NeedsApproval));
        assert_eq!(judge(&["a.lab.example.org"]), Ok(Verdict::Automatic));
        assert_eq!(judge(&["a.lab.example.org", "mail.example.org"]), Ok(Verdict::NeedsApproval));
        assert_eq!(judge(&["*.example.org"]), Ok(Verdict::NeedsApproval));
        let error = judge(&["mail.example.org", "mail.evil.example"]).unwrap_err().to_string();
        assert!(error.starts_with("mail.evil.example: ") && error.contains("*.example.org"), "{error}");
        assert!(matches!(judge(&["*.sub.example.org"]), Err(PolicyError::Wildcard { .. })));
        assert!(matches!(judge(&["192.0.2.1"]), Err(PolicyError::Name { .. })));
    }

    #[test]
    fn what_is_automatic_must_be_allowed_too() {
        let policy = policy(&[], &["*.example.org"]);
        let verdict = policy.judge(&asking("", &["mail.example.org"]), Purpose::Server);
        assert!(matches!(verdict, Err(PolicyError::Name { .. })), "{verdict:?}");
    }

    #[test]
    fn a_common_name_is_one_of_the_names_or_absent() {
        let policy = policy(&["*.example.org", "*@example.org"], &[]);
        assert!(policy.judge(&asking("mail.example.org", &["mail.example.org"]), Purpose::Server).is_ok());
        let error = policy.judge(&asking("www.example.org", &["mail.example.org"]), Purpose::Server);
        assert!(matches!(error, Err(PolicyError::CommonName { .. })), "{error:?}");
        let error = policy.judge(&asking("m\u{0430}il.example.org", &["mail.example.org"]), Purpose::Server);
        assert!(matches!(error, Err(PolicyError::CommonName { .. })), "{error:?}");
    }

    #[test]
    fn names_fit_the_purpose() {
        let policy = policy(&["*.example.org", "*@example.org", "10.0.0.0/8"], &[]);
        let judge = |name: &str, purpose| policy.judge(&asking("", &[name]), purpose);
        assert!(judge("anna@example.org", Purpose::Client).is_ok());
        assert!(judge("scanner.example.org", Purpose::Client).is_ok());
        for (name, purpose) in [
            ("anna@example.org", Purpose::Server),
            ("10.0.0.1", Purpose::Client),
            ("*.example.org", Purpose::Client),
        ] {
            assert!(matches!(judge(name, purpose), Err(PolicyError::Kind { .. })), "{name}");
        }
    }

    #[test]
    fn a_key_that_is_not_wanted_is_named() {
        let policy = Policy { keys: vec![KeyKind::Rsa3072], ..policy(&["*.example.org"], &[]) };
        let error =
            policy.judge(&asking("", &["mail.example.org"]), Purpose::Server).unwrap_err().to_string();
        assert_eq!(error, "the key is P-256; this authority issues certificates for RSA 3072");
    }
}
