//! What is not SMTP, or was damaged on its way.

use super::{Found, certain};
use crate::diagnosis::session::Cause;
use crate::diagnosis::session::sight::{Sight, Strange};
use crate::session::Opening;

/// Methods of HTTP, as the first word of what is no command.
const METHODS: [&str; 8] = ["GET", "POST", "HEAD", "PUT", "OPTIONS", "CONNECT", "PROPFIND", "PRI"];
/// Words by which POP3 (RFC 1939), FTP and others begin; IMAP has a tag of its own.
const WORDS: [(&str, &str); 11] = [
    ("USER", "POP3 or FTP"),
    ("PASS", "POP3 or FTP"),
    ("CAPA", "POP3"),
    ("STLS", "POP3"),
    ("APOP", "POP3"),
    ("CAPABILITY", "IMAP"),
    ("LOGIN", "IMAP"),
    ("LHLO", "LMTP"),
    ("NICK", "IRC"),
    ("DESCRIBE", "RTSP"),
    ("INVITE", "SIP"),
];

/// A browser, or a check of the wrong kind.
pub(super) fn http(sight: &Sight<'_>) -> Option<Found> {
    let facts = sight.facts;
    if let Opening::Http { method } = &facts.opening {
        return certain(Cause::HttpSpoken, format!("what came first was a request of HTTP: {method}"));
    }
    let web = |name: &&String| name.starts_with("http/") || *name == "h2";
    let spoken = facts.offer.as_ref().and_then(|offer| offer.protocols.iter().find(web));
    if let Some(protocol) = spoken.filter(|_| sight.course.lines == 0) {
        return certain(
            Cause::HttpSpoken,
            format!("in its handshake the client asked for {protocol}, which is HTTP"),
        );
    }
    let method = first_word(sight.unknown.first()?.text);
    METHODS
        .contains(&method)
        .then(|| format!("what came first was a request of HTTP: {method}"))
        .and_then(|words| certain(Cause::HttpSpoken, words))
}

/// A firewall that overwrites what it does not know, letter by letter.
pub(super) fn garbled(sight: &Sight<'_>) -> Option<Found> {
    let crossed = |strange: &&Strange<'_>| {
        let word = first_word(strange.text);
        word.len() >= 4 && word.bytes().all(|octet| octet.eq_ignore_ascii_case(&b'X'))
    };
    let Strange { text, more } = sight.unknown.iter().find(crossed)?;
    let meant = match first_word(text).len() {
        8 => "; STARTTLS has as many letters",
        4 if *more > 0 => "; EHLO has as many letters",
        _ => "",
    };
    certain(Cause::CommandsGarbled, format!("a command arrived as \"{text}\"{meant}"))
}

/// Mail fetched by the port for sending, or a scanner's octets.
pub(super) fn other_protocol(sight: &Sight<'_>) -> Option<Found> {
    if let Opening::Binary { octets } = &sight.facts.opening {
        return certain(
            Cause::OtherProtocol,
            format!("the first octets are no text: {octets}{}", binary(octets)),
        );
    }
    let Strange { text, more } = sight.unknown.first()?;
    let word = first_word(text);
    let known = WORDS.iter().find(|(first, _)| word.eq_ignore_ascii_case(first));
    if let Some((_, protocol)) = known {
        return certain(Cause::OtherProtocol, format!("the client said \"{text}\", which is {protocol}"));
    }
    let tag = is_imap_tag(word) && *more > 0;
    if tag && sight.course.lines == sight.unknown.len() {
        return certain(Cause::OtherProtocol, format!("the client said \"{text}\", which looks like IMAP"));
    }
    None
}

/// What some first octets are.
fn binary(octets: &str) -> &'static str {
    match octets {
        _ if octets.starts_with("0300") => ", which is the beginning of RDP",
        _ if octets.starts_with("ff") => ", which is the beginning of Telnet",
        _ if octets.starts_with("04") || octets.starts_with("05") => ", which may be the beginning of SOCKS",
        _ => "",
    }
}

/// `a1`, `A0001`, `1`, `x.3`: what IMAP programs begin their commands with (RFC 9051 §2.2.1).
fn is_imap_tag(word: &str) -> bool {
    word.len() <= 8
        && word.bytes().any(|octet| octet.is_ascii_digit())
        && word.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'.')
}

fn first_word(text: &str) -> &str {
    text.split_ascii_whitespace().next().unwrap_or_default()
}
