//! The address of an LDAP server: `ldap://ldap.example.org` or `ldaps://ldap.example.org:636`.
//!
//! What RFC 4516 allows behind the host (a base, a filter) has keys of its own in the configuration, and is refused here.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use postern_pki::server_name;

/// Where a server is, and when TLS begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LdapUrl {
    scheme: Scheme,
    /// Without the brackets of an IPv6 address.
    host: String,
    port: u16,
}

/// When TLS begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `ldap:`: by StartTLS.
    Ldap,
    /// `ldaps:`: with the first octet.
    Ldaps,
}

impl LdapUrl {
    pub(super) fn scheme(&self) -> Scheme {
        self.scheme
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Whether it is on this very machine, and TLS is not begun with the first octet: only there may TLS be left out.
    pub fn may_be_clear(&self) -> bool {
        let loopback =
            self.host.parse::<IpAddr>().map_or(self.host == "localhost", |address| address.is_loopback());
        loopback && self.scheme == Scheme::Ldap
    }
}

impl FromStr for LdapUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        let (scheme, rest, port) = match lower.split_once("://") {
            Some(("ldap", rest)) => (Scheme::Ldap, rest, 389),
            Some(("ldaps", rest)) => (Scheme::Ldaps, rest, 636),
            _ => return Err(format!("\"{text}\" begins with neither ldap:// nor ldaps://")),
        };
        let place = rest.strip_suffix('/').unwrap_or(rest);
        if place.contains(['/', '?', '@', '#']) {
            return Err(format!(
                "\"{text}\" has more than a host and a port; base, filter and bind_dn are keys of their own"
            ));
        }
        let (host, port) = match place.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            Some((host, "")) => (host, Ok(port)),
            Some((host, behind)) => (host, behind.strip_prefix(':').unwrap_or("").parse()),
            None => place.split_once(':').map_or((place, Ok(port)), |(host, port)| (host, port.parse())),
        };
        let port =
            port.ok().filter(|port| *port > 0).ok_or_else(|| format!("the port of \"{text}\" is none"))?;
        server_name(host).map_err(|_| format!("the host of \"{text}\" is neither a name nor an address"))?;
        Ok(Self { scheme, host: host.to_owned(), port })
    }
}

impl fmt::Display for LdapUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, usual) = match self.scheme {
            Scheme::Ldap => ("ldap", 389),
            Scheme::Ldaps => ("ldaps", 636),
        };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{scheme}://{host}")?;
        if self.port == usual { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        for (text, shown) in [
            ("ldap://LDAP.example.org", "ldap://ldap.example.org"),
            ("ldaps://ldap.example.org/", "ldaps://ldap.example.org"),
            ("ldap://127.0.0.1:3890", "ldap://127.0.0.1:3890"),
            ("ldaps://[::1]:636", "ldaps://[::1]"),
        ] {
            assert_eq!(text.parse::<LdapUrl>().unwrap().to_string(), shown);
        }
        for text in [
            "",
            "ldap://",
            "http://x",
            "ldap.example.org",
            "ldap://x:0",
            "ldap://x:y",
            "ldap://[::1]x",
            "ldap://x/dc=x",
            "ldap://a@x",
            "ldap://x??sub",
            "ldapi:///run/ldapi",
            "ldap://a b",
        ] {
            assert!(text.parse::<LdapUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn clear_text_stays_on_this_machine() {
        let may = |text: &str| text.parse::<LdapUrl>().unwrap().may_be_clear();
        assert!(may("ldap://localhost") && may("ldap://127.0.0.1:3890") && may("ldap://[::1]"));
        assert!(
            !may("ldap://192.0.2.1") && !may("ldaps://localhost") && !may("ldap://localhost.evil.example")
        );
    }
}
