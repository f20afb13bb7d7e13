//! What a probe is about: a domain, or one host.
//!
//! [`Target`] is read from what somebody typed. What it deliberately does not do: look anything up.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use postern_smtp::address::{Domain, Mailbox};

use crate::ports::RELAY;

/// What is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Mail to this domain (A-labels in lower case) or address literal, by the way that it would take.
    Domain(String),
    /// This host and port.
    Host {
        /// Name (A-labels) or address, without brackets.
        host: String,
        /// The port.
        port: u16,
    },
}

/// What is not a domain and not a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is neither a domain, nor a host or address with or without a port (example.net, mx.example.net:25, [::1]:25)"
)]
pub struct UnknownTarget(String);

impl FromStr for Target {
    type Err = UnknownTarget;

    /// A name alone is a domain, as is what stands behind the `@` of an address; a name with a port, and an address of the
    /// network, is a host.
    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        let unknown = || UnknownTarget(text.chars().take(100).collect());
        let bare = text.trim_end_matches('.');
        let literal = bare.strip_prefix('[').and_then(|bare| bare.strip_suffix(']')).unwrap_or(bare);
        if let Ok(ip) = literal.trim_start_matches("IPv6:").parse::<IpAddr>() {
            return Ok(Self::Host { host: ip.to_string(), port: RELAY });
        }
        if let Ok(address) = bare.parse::<SocketAddr>() {
            return Ok(Self::Host { host: address.ip().to_string(), port: address.port() });
        }
        if bare.contains('@') {
            let mailbox: Mailbox = bare.parse().map_err(|_| unknown())?;
            return Ok(Self::Domain(mailbox.host.key().into_owned()));
        }
        let (name, port) = match bare.rsplit_once(':') {
            Some((name, port)) => {
                let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(unknown)?;
                (name.trim_end_matches('.'), Some(port))
            }
            None => (bare, None),
        };
        let domain: Domain = name.parse().map_err(|_| unknown())?;
        let name = domain.key().to_ascii_lowercase();
        Ok(port.map_or_else(|| Self::Domain(name.clone()), |port| Self::Host { host: name.clone(), port }))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Domain(domain) => f.write_str(domain),
            Self::Host { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Host { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(name: &str) -> Target {
        Target::Domain(name.to_owned())
    }

    fn host(name: &str, port: u16) -> Target {
        Target::Host { host: name.to_owned(), port }
    }

    #[test]
    fn a_name_is_a_domain_and_with_a_port_a_host() {
        for (text, target) in [
            ("Example.NET", domain("example.net")),
            ("example.net.", domain("example.net")),
            ("anna@example.net", domain("example.net")),
            ("bücher.example", domain("xn--bcher-kva.example")),
            ("mx.example.net:587", host("mx.example.net", 587)),
            ("192.0.2.1", host("192.0.2.1", 25)),
            ("192.0.2.1:465", host("192.0.2.1", 465)),
            ("2001:db8::1", host("2001:db8::1", 25)),
            ("[2001:db8::1]", host("2001:db8::1", 25)),
            ("[IPv6:2001:db8::1]", host("2001:db8::1", 25)),
            ("[2001:db8::1]:587", host("2001:db8::1", 587)),
        ] {
            assert_eq!(text.parse(), Ok(target), "{text}");
        }
    }

    #[test]
    fn what_is_shown_is_read_as_the_same() {
        for target in [domain("example.net"), host("mx.example.net", 25), host("2001:db8::1", 465)] {
            assert_eq!(target.to_string().parse(), Ok(target));
        }
    }

    #[test]
    fn what_names_nothing_is_refused() {
        for text in
            ["", ".", "a b", "mx.example.net:0", "mx.example.net:65536", "@", "anna@", "a..b", ":25", "[::1"]
        {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
