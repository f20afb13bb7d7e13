//! Which program it probably was: from how it greets, how it writes, and how it begins TLS.
//!
//! Only marks that are a program's own by design are used: names that it always says, names that its maker gives to devices,
//! the spelling of its verbs, the order of its cipher suites.
//!
//! What it deliberately does not do: take a guess for a fact; nothing rests on it but which remedy comes first.

use postern_smtp::command::Verb;
use postern_smtp::server::Said;
use postern_smtp::tls::TlsOffer;

use super::Confidence;
use super::section::Program;
use crate::config::Role;
use crate::session::Facts;

/// Names that devices have from their makers, in front of their hardware address: HP, Brother, Ricoh, Kyocera, Canon, Xerox,
/// Epson, Lexmark, Samsung, Konica Minolta.
const DEVICES: [&str; 12] =
    ["npi", "hp", "brn", "brw", "rnp", "km", "canon", "xrx", "epson", "et00", "sec", "kmbt"];
/// The first suites of NSS, the library of Thunderbird: it alone prefers ChaCha20 to AES-256 there.
const NSS: [u16; 3] = [0x1301, 0x1303, 0x1302];

impl Program {
    /// Which it probably is.
    pub fn guess(facts: &Facts) -> Option<(Self, Confidence)> {
        let by_hello = Self::by_hello(facts);
        match by_hello {
            Some((_, Confidence::Likely | Confidence::Certain)) => by_hello,
            _ => by_spelling(facts).or(by_hello).or_else(|| by_role(facts)),
        }
    }

    /// By the name that it gave with EHLO, in clear or in TLS.
    pub(super) fn by_hello(facts: &Facts) -> Option<(Self, Confidence)> {
        let name = facts.dialogue_hello()?;
        let lower = name.to_ascii_lowercase();
        Some(match &*lower {
            "smtpclient.apple" => (Self::AppleMail, Confidence::Likely),
            "mail.example.com" | "openssl.client.net" => (Self::OpensslClient, Confidence::Likely),
            "ehlo.thunderbird.net" => (Self::ThunderbirdAndroid, Confidence::Likely),
            "[127.0.0.1]" if facts.offer.as_ref().is_some_and(is_nss) => {
                (Self::Thunderbird, Confidence::Likely)
            }
            "[127.0.0.1]" => (Self::Thunderbird, Confidence::Possible),
            "localhost" => (Self::Msmtp, Confidence::Possible),
            "localhost.localdomain" => (Self::NetSmtp, Confidence::Possible),
            _ if is_device(&lower) => (Self::Printer, Confidence::Likely),
            _ if lower.starts_with("desktop-") || lower.starts_with("laptop-") => {
                (Self::OutlookClassic, Confidence::Likely)
            }
            _ => return None,
        })
    }
}

impl Facts {
    /// The name that the client gave last, also where TLS began after it and the session has forgotten it.
    pub(crate) fn dialogue_hello(&self) -> Option<&str> {
        if let Some(hello) = &self.hello {
            return Some(hello);
        }
        let hellos = self.dialogue.lines().filter_map(|line| match &line.said {
            Said::Command { verb: Verb::Ehlo | Verb::Helo, text, .. } => text.split_ascii_whitespace().nth(1),
            _ => None,
        });
        hellos.last()
    }
}

/// Whether the offer has the mark of NSS.
pub(super) fn is_nss(offer: &TlsOffer) -> bool {
    offer.ciphers.starts_with(&NSS)
}

/// Python writes `ehlo`, `mail FROM:` and `rcpt TO:`; nobody else mixes them so.
fn by_spelling(facts: &Facts) -> Option<(Program, Confidence)> {
    let first = facts.dialogue.lines().find_map(|line| match &line.said {
        Said::Command { verb: Verb::Ehlo, text, .. } => Some(text),
        _ => None,
    })?;
    first.starts_with("ehlo ").then_some((Program::Smtplib, Confidence::Likely))
}

/// Who comes to the port for servers is one.
fn by_role(facts: &Facts) -> Option<(Program, Confidence)> {
    let name = facts.dialogue_hello()?;
    let a_server = facts.place.role == Role::Relay
        && facts.place.port == 25
        && name.contains('.')
        && !name.starts_with('[');
    a_server.then_some((Program::MailServer, Confidence::Possible))
}

/// A maker's name with at least six digits of a hardware address behind it.
fn is_device(name: &str) -> bool {
    let label = name.split('.').next().unwrap_or_default();
    DEVICES.iter().any(|maker| {
        label.strip_prefix(maker).is_some_and(|address| {
            address.len() >= 6 && address.bytes().all(|octet| octet.is_ascii_hexdigit())
        })
    })
}
