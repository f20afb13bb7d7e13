//! Our own trace field, `Received` (RFC 5321 §4.4), which says how a message came to us.
//!
//! What the client said of itself is cleaned and bounded before it gets there. The signed-in user is not named: the
//! field travels to strangers.

use std::net::IpAddr;

use jiff::Timestamp;
use postern_smtp::address::Mailbox;

use crate::text::{self, Charset};

/// What a `Received` field says.
#[derive(Debug, Clone)]
pub struct Received<'a> {
    /// What the client called itself in EHLO or HELO.
    pub from_hello: &'a str,
    /// The client's address.
    pub client: IpAddr,
    /// The name that DNS knows the client by, when it is confirmed.
    pub client_name: Option<&'a str>,
    /// The device that the client is known as.
    pub device: Option<&'a str>,
    /// Our host name.
    pub by: &'a str,
    /// `ESMTPSA` and the like: see [`protocol`].
    pub protocol: &'static str,
    /// TLS version and cipher suite.
    pub tls: Option<(&'a str, &'a str)>,
    /// The queue id.
    pub id: &'a str,
    /// The recipient, given only when there is a single one: others must not learn of each other (RFC 5321 §7.2).
    pub recipient: Option<&'a Mailbox>,
    /// When the message was accepted.
    pub date: Timestamp,
}

/// How the message was transferred, as far as the protocol's name depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(clippy::struct_excessive_bools)] // four independent facts, as RFC 3848 names them
pub struct Transfer {
    /// The client said EHLO.
    pub extended: bool,
    /// The session was under TLS.
    pub tls: bool,
    /// The client had signed in.
    pub authenticated: bool,
    /// MAIL asked for SMTPUTF8.
    pub utf8: bool,
}

/// The protocol's name in a `Received` field (RFC 3848; RFC 6531 §4.3 for the UTF8 ones).
pub fn protocol(transfer: Transfer) -> &'static str {
    let Transfer { extended, tls, authenticated, utf8 } = transfer;
    match (utf8, tls, authenticated) {
        (true, false, false) => "UTF8SMTP",
        (true, true, false) => "UTF8SMTPS",
        (true, false, true) => "UTF8SMTPA",
        (true, true, true) => "UTF8SMTPSA",
        (false, false, false) if !extended => "SMTP",
        (false, false, false) => "ESMTP",
        (false, true, false) => "ESMTPS",
        (false, false, true) => "ESMTPA",
        (false, true, true) => "ESMTPSA",
    }
}

/// A date as header fields write it (RFC 5322 §3.3), in UTC.
pub fn date(at: Timestamp) -> String {
    text::date(at)
}

impl Received<'_> {
    /// The field, folded, with its last CRLF.
    pub fn render(&self) -> Vec<u8> {
        let charset = if self.protocol.starts_with("UTF8") { Charset::Utf8 } else { Charset::Ascii };
        let mut clauses = vec![
            format!("from {} ({})", hello(self.from_hello), self.tcp_info()),
            format!("by {} (Postern) with {}", host(self.by), self.protocol),
        ];
        if let Some(device) = self.device {
            clauses.push(format!("(device {})", host(device)));
        }
        if let Some((version, cipher)) = self.tls {
            clauses.push(format!("(using {} with {})", host(version), host(cipher)));
        }
        clauses.push(format!("id {}{};", host(self.id), self.for_clause(charset)));
        clauses.push(text::date(self.date));
        text::clauses("Received", &clauses).into_bytes()
    }

    /// RFC 6531 §3.7.3: an address beyond ASCII may stand here only in a message that was UTF8SMTP.
    fn for_clause(&self, charset: Charset) -> String {
        match self.recipient.map(ToString::to_string) {
            Some(recipient) if recipient.is_ascii() || charset == Charset::Utf8 => {
                format!(" for <{}>", text::clean(&recipient, charset, 320))
            }
            _ => String::new(),
        }
    }

    /// RFC 5321 §4.4 TCP-info.
    fn tcp_info(&self) -> String {
        let literal = literal(self.client);
        match self.client_name {
            Some(name) => format!("{} {literal}", host(name)),
            None => literal,
        }
    }
}

/// RFC 5321 §4.1.3. An IPv4 client on an IPv6 socket is an IPv4 client.
fn literal(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(four) => format!("[{four}]"),
        IpAddr::V6(six) => format!("[IPv6:{six}]"),
    }
}

/// What the client called itself: a literal stays one, everything else may only look like a host name.
fn hello(name: &str) -> String {
    let inner = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    match inner {
        Some(inner) => format!("[{}]", host(inner)),
        None => host(name),
    }
}

/// Letters, digits, dots, hyphens, underscores and colons; all else becomes `?`.
fn host(name: &str) -> String {
    let harmless = |c: char| {
        if c.is_ascii_alphanumeric() || ".-_:".contains(c) { c } else { '?' }
    };
    let host: String = name.chars().take(255).map(harmless).collect();
    if host.is_empty() { "unknown".to_owned() } else { host }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn received() -> Received<'static> {
        Received {
            from_hello: "client.example.org",
            client: IpAddr::from([192, 0, 2, 7]),
            client_name: None,
            device: None,
            by: "mail.example.net",
            protocol: "ESMTPSA",
            tls: Some(("TLSv1.3", "TLS_AES_256_GCM_SHA384")),
            id: "4cX9",
            recipient: None,
            date: "2026-11-20T19:30:00Z".parse().unwrap(),
        }
    }

    fn text(received: &Received<'_>) -> String {
        String::from_utf8(received.render()).expect("UTF-8")
    }

    #[test]
    fn the_field_says_from_by_with_id_and_when() {
        let rendered = text(&received());
        assert_eq!(
            rendered,
            "Received: from client.example.org ([192.0.2.7])\r\n \
             by mail.example.net (Postern) with ESMTPSA\r\n \
             (using TLSv1.3 with TLS_AES_256_GCM_SHA384)\r\n \
             id 4cX9;\r\n \
             Fri, 20 Nov 2026 19:30:00 +0000\r\n"
        );
        assert!(rendered.lines().all(|line| line.len() <= 78));
    }

    #[test]
    fn a_confirmed_name_and_a_single_recipient_are_named() {
        let mailbox: Mailbox = "ann@example.net".parse().unwrap();
        let field = Received { client_name: Some("c.example.org"), recipient: Some(&mailbox), ..received() };
        let rendered = text(&field).replace("\r\n", "");
        assert!(rendered.contains("(c.example.org [192.0.2.7])"), "{rendered}");
        assert!(rendered.contains("id 4cX9 for <ann@example.net>; "), "{rendered}");
    }

    #[test]
    fn ipv6_clients_are_written_as_literals_and_mapped_ones_as_ipv4() {
        let field = |client: &str| text(&Received { client: client.parse().unwrap(), ..received() });
        assert!(field("2001:db8::1").contains("([IPv6:2001:db8::1])"));
        assert!(field("::ffff:192.0.2.9").contains("([192.0.2.9])"));
    }

    #[test]
    fn an_address_beyond_ascii_is_left_out_unless_the_message_was_utf8smtp() {
        let mailbox: Mailbox = "änne@example.net".parse().unwrap();
        let field = Received { recipient: Some(&mailbox), ..received() };
        assert!(!text(&field).contains(" for "));
        assert!(text(&Received { protocol: "UTF8SMTPS", ..field }).contains(" for <änne@example.net>"));
    }

    #[test]
    fn the_protocol_names_are_those_of_rfc_3848() {
        let name =
            |extended, tls, authenticated, utf8| protocol(Transfer { extended, tls, authenticated, utf8 });
        assert_eq!(name(false, false, false, false), "SMTP");
        assert_eq!(name(true, false, false, false), "ESMTP");
        assert_eq!(name(true, true, false, false), "ESMTPS");
        assert_eq!(name(true, false, true, false), "ESMTPA");
        assert_eq!(name(true, true, true, false), "ESMTPSA");
        assert_eq!(name(true, true, true, true), "UTF8SMTPSA");
    }

    proptest! {
        #[test]
        fn no_hello_name_can_end_the_field_or_open_a_comment(hello in "\\PC{0,300}|[\\x00-\\x7f]{0,300}") {
            let rendered = text(&Received { from_hello: &hello, ..received() });
            let unfolded = rendered.replace("\r\n ", " ");
            prop_assert_eq!(unfolded.matches(['\r', '\n']).count(), 2);
            prop_assert!(rendered.is_ascii());
            prop_assert_eq!(rendered.matches('(').count(), rendered.matches(')').count());
            prop_assert_eq!(rendered.matches(';').count(), 1);
        }
    }
}
