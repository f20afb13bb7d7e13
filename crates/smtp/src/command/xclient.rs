//! XCLIENT, by which a trusted front end says for whom it speaks (Postfix's `XCLIENT_README`; there is no RFC).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{SyntaxError, Verb};
use crate::envelope::xtext_decode;

/// Characters of a name, and octets of a login.
const MAX_NAME: usize = 255;

/// The attributes that are understood, as EHLO announces them; `LOGIN` only where it is honoured.
pub(crate) const ATTRIBUTES: [&str; 8] =
    ["NAME", "ADDR", "PORT", "PROTO", "HELO", "DESTADDR", "DESTPORT", "LOGIN"];

/// What a front end tells of its client. What it does not tell, or says that it does not know, is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Introduction {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: Option<u16>,
    /// Its name by its address, as the front end found it in the DNS.
    pub name: Option<String>,
    /// What the client called itself.
    pub helo: Option<String>,
    /// Whether it said EHLO rather than HELO.
    pub extended: Option<bool>,
    /// Who it has proved to be at the front end.
    pub login: Option<String>,
    /// The address that the client connected to.
    pub destination: Option<IpAddr>,
    /// The port that the client connected to.
    pub destination_port: Option<u16>,
}

impl Introduction {
    /// `1*( SP attribute-name "=" attribute-value )`; names are known in any case, values are xtext, each comes once.
    pub(super) fn parse(argument: &str) -> Result<Self, SyntaxError> {
        let mut told = Self::default();
        let mut seen = [false; ATTRIBUTES.len()];
        for attribute in argument.split(' ') {
            let known = attribute.split_once('=').and_then(|(name, value)| {
                let place = ATTRIBUTES.iter().position(|known| known.eq_ignore_ascii_case(name))?;
                let first = !std::mem::replace(&mut seen[place], true);
                first.then_some((ATTRIBUTES[place], value))
            });
            let set = known.and_then(|(name, value)| told.set(name, &xtext_decode(value)?));
            set.ok_or(SyntaxError::Arguments(Verb::Xclient))?;
        }
        Ok(told)
    }

    fn set(&mut self, name: &str, value: &str) -> Option<()> {
        if ["[UNAVAILABLE]", "[TEMPUNAVAIL]"].iter().any(|unknown| unknown.eq_ignore_ascii_case(value)) {
            return Some(());
        }
        match name {
            "NAME" => self.name = Some(host(value)?),
            "ADDR" => self.address = Some(address(value)?),
            "PORT" => self.port = Some(port(value)?),
            "PROTO" => self.extended = Some(protocol(value)?),
            "HELO" => self.helo = Some(host(value)?),
            "LOGIN" => self.login = Some(login(value)?),
            "DESTADDR" => self.destination = Some(address(value)?),
            "DESTPORT" => self.destination_port = Some(port(value)?),
            _ => return None,
        }
        Some(())
    }
}

/// An IPv4 address in dotted form, or `IPV6:` and an IPv6 address.
fn address(value: &str) -> Option<IpAddr> {
    match value.split_at_checked("IPV6:".len()) {
        Some((start, address)) if start.eq_ignore_ascii_case("IPV6:") => {
            address.parse::<Ipv6Addr>().ok().map(|address| IpAddr::V6(address).to_canonical())
        }
        _ => value.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
    }
}

fn port(value: &str) -> Option<u16> {
    let digits = (1..=5).contains(&value.len()) && value.bytes().all(|octet| octet.is_ascii_digit());
    value.parse().ok().filter(|_| digits)
}

fn protocol(value: &str) -> Option<bool> {
    match () {
        () if value.eq_ignore_ascii_case("ESMTP") => Some(true),
        () if value.eq_ignore_ascii_case("SMTP") => Some(false),
        () => None,
    }
}

fn host(value: &str) -> Option<String> {
    let fits = !value.is_empty() && value.len() <= MAX_NAME && value.bytes().all(|c| c.is_ascii_graphic());
    fits.then(|| value.to_owned())
}

fn login(value: &str) -> Option<String> {
    let fits = !value.is_empty() && value.len() <= MAX_NAME && !value.contains(char::is_control);
    fits.then(|| value.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(argument: &str) -> Introduction {
        Introduction::parse(argument).unwrap_or_else(|error| panic!("{argument}: {error}"))
    }

    #[test]
    fn the_attributes_of_postfix_are_understood() {
        let all = told(
            "NAME=spike.porcupine.org ADDR=168.100.189.2 PORT=5555 PROTO=ESMTP HELO=spike LOGIN=tim DESTADDR=IPV6:2001:db8::1 DESTPORT=587",
        );
        let expected = Introduction {
            address: Some("168.100.189.2".parse().unwrap()),
            port: Some(5555),
            name: Some("spike.porcupine.org".to_owned()),
            helo: Some("spike".to_owned()),
            extended: Some(true),
            login: Some("tim".to_owned()),
            destination: Some("2001:db8::1".parse().unwrap()),
            destination_port: Some(587),
        };
        assert_eq!(all, expected);
        assert_eq!(told("addr=ipv6:::ffff:192.0.2.7").address, Some("192.0.2.7".parse().unwrap()));
        assert_eq!(told("login=zo+C3+AB+20x").login.as_deref(), Some("zoë x"));
    }

    #[test]
    fn what_the_front_end_does_not_know_is_not_told() {
        for name in ATTRIBUTES {
            for unknown in ["[UNAVAILABLE]", "[TEMPUNAVAIL]", "[unavailable]"] {
                assert_eq!(told(&format!("{name}={unknown}")), Introduction::default());
            }
        }
    }

    #[test]
    fn everything_else_is_malformed() {
        let (long, login) = (format!("HELO={}", "a".repeat(256)), format!("LOGIN={}", "a".repeat(256)));
        for argument in [
            "",
            "ADDR",
            "ADDR=",
            "ADDR=192.0.2",
            "ADDR=192.0.2.7.1",
            "ADDR=0192.0.2.7",
            "ADDR=2001:db8::1",
            "ADDR=IPV6:192.0.2.7",
            "ADDR=IPV6:fe80::1%eth0",
            "ADDR=[UNKNOWN]",
            "ADDR=192.0.2.7  PORT=1",
            "ADDR=192.0.2.7 ADDR=192.0.2.7",
            "ADDR=192.0.2.7 addr=[UNAVAILABLE]",
            "PORT=65536",
            "PORT=+1",
            "PORT=000001",
            "PROTO=LMTP",
            "NAME=a+20b",
            "NAME=a+0Ab",
            "NAME=a+0",
            "NAME=a+0a",
            "LOGIN=a+00b",
            "LOGIN=a+0D+0AMAIL",
            "LOGIN=+FF",
            "LOGIN=a=b",
            "FORGED=1",
            "ADDR =192.0.2.7",
            &long,
            &login,
        ] {
            assert!(Introduction::parse(argument).is_err(), "{argument}");
        }
    }
}
