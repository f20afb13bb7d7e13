//! What people enter to send mail through this server: its name, the ports that are really there, and how one signs in.
//!
//! The types to know: [`ServerSettings`], as a configuration has it, and [`SignInWay`], what mail programs call a way to sign
//! in. A port that no listener has is `None`, so that no text can name it (see
//! [`Words`](crate::diagnosis::session::Words)).
//!
//! What it deliberately does not do: ask a network whether anybody reaches the ports.

use std::fmt;
use std::net::SocketAddr;

use postern_smtp::sasl::Mechanism;
use serde::{Deserialize, Serialize};

use crate::config::{Config, Greets, Listener, Role};
use crate::diagnosis::session::Words;
use crate::ports::{SUBMISSION, SUBMISSIONS};

/// What people enter to send mail through this server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerSettings {
    /// The server's name.
    pub host: String,
    /// The port for STARTTLS. `None`: there is none.
    pub starttls_port: Option<u16>,
    /// The port for TLS from the first octet. `None`: there is none.
    pub tls_port: Option<u16>,
    /// How people sign in, the usual way first.
    pub sign_in: Vec<SignInWay>,
}

/// A way to sign in, as far as the setting in a mail program differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignInWay {
    /// The password goes over TLS.
    Password,
    /// It is proved without being said.
    EncryptedPassword,
    /// A token of an OAuth service.
    OAuth,
    /// The TLS certificate of the client.
    Certificate,
}

impl ServerSettings {
    /// Of a configuration. Of several ports of one kind it is the usual one, else the first that is not on loopback. A listener
    /// that gets its port from the system counts as the usual one.
    pub fn of(config: &Config) -> Self {
        let submission: Vec<&Listener> =
            config.listeners.iter().filter(|one| one.role == Role::Submission).collect();
        Self {
            host: config.hostname.as_str().to_owned(),
            starttls_port: port(&submission, Greets::InClear, SUBMISSION),
            tls_port: port(&submission, Greets::AfterTls, SUBMISSIONS),
            sign_in: ways(config.auth.mechanisms.as_deref()),
        }
    }

    /// Of a server like most, where no configuration can be read.
    pub fn usual() -> Self {
        Self {
            host: "mail.example.org".to_owned(),
            starttls_port: Some(SUBMISSION),
            tls_port: Some(SUBMISSIONS),
            sign_in: ways(None),
        }
    }

    /// What the places in a text about somebody stand for.
    pub fn words<'a>(&'a self, user: Option<&'a str>) -> Words<'a> {
        let Self { host, starttls_port, tls_port, sign_in: _ } = self;
        Words { host, starttls_port: *starttls_port, tls_port: *tls_port, user }
    }
}

fn port(submission: &[&Listener], wanted: Greets, usual: u16) -> Option<u16> {
    let bound = |one: &&Listener| -> Vec<SocketAddr> {
        one.bind.iter().copied().filter(|address| one.tls.greets(address.port()) == wanted).collect()
    };
    let all: Vec<SocketAddr> = submission.iter().flat_map(bound).collect();
    let counts = |address: &SocketAddr| if address.port() == 0 { usual } else { address.port() };
    let public: Vec<u16> = all.iter().filter(|one| !one.ip().is_loopback()).map(counts).collect();
    let ports = if public.is_empty() { all.iter().map(counts).collect() } else { public };
    ports.iter().find(|port| **port == usual).or(ports.first()).copied()
}

/// Without a list, what all directories can judge is announced: a password is among that.
fn ways(mechanisms: Option<&[Mechanism]>) -> Vec<SignInWay> {
    let Some(mechanisms) = mechanisms else { return vec![SignInWay::Password] };
    let mut ways = Vec::new();
    for way in [SignInWay::Password, SignInWay::EncryptedPassword, SignInWay::OAuth, SignInWay::Certificate] {
        if mechanisms.iter().any(|mechanism| SignInWay::of(*mechanism) == way) {
            ways.push(way);
        }
    }
    ways
}

impl SignInWay {
    fn of(mechanism: Mechanism) -> Self {
        match mechanism {
            Mechanism::Plain | Mechanism::Login => Self::Password,
            Mechanism::OauthBearer | Mechanism::Xoauth2 => Self::OAuth,
            Mechanism::External => Self::Certificate,
            Mechanism::ScramSha256Plus
            | Mechanism::ScramSha256
            | Mechanism::ScramSha1Plus
            | Mechanism::ScramSha1 => Self::EncryptedPassword,
        }
    }
}

impl fmt::Display for SignInWay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Password => "normal password",
            Self::EncryptedPassword => "encrypted password",
            Self::OAuth => "OAuth2",
            Self::Certificate => "TLS certificate",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{File, Surroundings};

    fn of(rest: &str) -> ServerSettings {
        let text = format!("hostname = \"mail.example.org\"\n{rest}");
        let file = File::parse(&text, "postern.toml").unwrap();
        ServerSettings::of(&file.resolve(&Surroundings::default()).unwrap())
    }

    #[test]
    fn a_port_where_no_listener_stands_is_none() {
        let only_tls = of(
            "[[listener]]\nname = \"s\"\nrole = \"submission\"\nbind = [\"[::]:465\"]\ntls = \"implicit\"\n",
        );
        assert_eq!((only_tls.starttls_port, only_tls.tls_port), (None, Some(465)));
        let neither = of("[[listener]]\nname = \"mx\"\nrole = \"relay\"\nbind = [\"[::]:25\"]\n");
        assert_eq!((neither.starttls_port, neither.tls_port), (None, None));
    }

    #[test]
    fn where_either_beginning_is_served_the_ports_are_told_as_programs_expect_them() {
        let auto = of(
            "[[listener]]\nname = \"s\"\nrole = \"submission\"\nbind = [\"[::]:2587\", \"[::]:587\", \"[::]:465\"]\ntls = \"auto\"\n",
        );
        assert_eq!((auto.starttls_port, auto.tls_port), (Some(587), Some(465)));
        let local = of("[[listener]]\nname = \"a\"\nrole = \"submission\"\nbind = [\"127.0.0.1:587\"]\n\
                        [[listener]]\nname = \"b\"\nrole = \"submission\"\nbind = [\"192.0.2.1:2587\"]\n");
        assert_eq!((local.starttls_port, local.tls_port), (Some(2587), None));
    }

    #[test]
    fn the_way_to_sign_in_is_what_the_mechanisms_allow() {
        let listener = "[[listener]]\nname = \"mx\"\nrole = \"relay\"\nbind = [\"[::]:25\"]\n";
        assert_eq!(of(listener).sign_in, [SignInWay::Password]);
        let mechanisms = "[auth]\nmechanisms = [\"XOAUTH2\", \"OAUTHBEARER\", \"EXTERNAL\"]\n";
        let tokens = of(&format!("{mechanisms}{listener}"));
        assert_eq!(tokens.sign_in, [SignInWay::OAuth, SignInWay::Certificate]);
    }
}
