//! What a mail program meets on its way to a server: asked from where the program runs.
//!
//! [`check`] tries every port in every way that programs have: TLS at once, STARTTLS, and clear. It needs no configuration, no daemon
//! and no rights, and it works against any server. The types to know: [`Options`]; [`Report`] with the [`Setting`]s that a program
//! should have, and the [`Finding`]s: blocked ports, stripped STARTTLS, certificates that somebody replaced.
//!
//! How it is built: `tries` gathers, by the same sessions as `postern probe`; `verdict` judges what was seen, and is pure; `password` signs
//! in, only ever by TLS with a server that proved who it is.
//!
//! What it deliberately does not do: say MAIL, or send a password in any other way.

mod password;
mod report;
mod tries;
mod verdict;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use postern_pki::{ClientTls, TrustAnchors};
use postern_smtp::secret::Secret;

use crate::ports::{RELAY, SUBMISSION, SUBMISSIONS};
use crate::probe::dialogue::Clock;
use crate::secret_file::first_line;

pub use report::{
    Encryption, FORMAT, Finding, Mode, PortReport, PortState, Report, Setting, SignedIn, Trust,
};

/// What is tried.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server's name as it stands in the mail program; or its address.
    pub host: String,
    /// The ports, those that are preferred first.
    pub ports: Vec<u16>,
    /// PEM: trusted authorities in place of the system's.
    pub trust: Option<PathBuf>,
    /// The longest time for a step: connecting, a reply, a handshake.
    pub step: Duration,
    /// The longest time for everything but the password.
    pub whole: Duration,
}

/// Who signs in.
#[derive(Debug)]
pub struct Person {
    /// The name, as it stands in the mail program.
    pub user: String,
    /// The password.
    pub password: Secret,
}

impl Person {
    /// With the password that is the first line of a file.
    ///
    /// # Errors
    /// In words: it cannot be read, is too large, or its first line is empty.
    pub async fn of_file(user: String, path: &Path) -> Result<Self, String> {
        Ok(Self { user, password: first_line(path).await? })
    }
}

impl Options {
    /// The usual ports of this server.
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            ports: vec![SUBMISSIONS, SUBMISSION, RELAY],
            trust: None,
            step: Duration::from_secs(6),
            whole: Duration::from_secs(18),
        }
    }
}

/// Why nothing can be tried. The fault is here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The trusted authorities.
    #[error("the trusted authorities cannot be loaded: {0}")]
    Trust(#[from] postern_pki::Error),
    /// The server's name.
    #[error("{0:?} is no name of a server, and no address")]
    BadHost(String),
}

/// Tries everything, and the password if somebody gives one.
///
/// # Errors
/// Local: what was asked for cannot be tried at all. Whatever the network or the server does is in the report.
///
/// # Cancel safety
/// May be dropped at any time; the connections close.
pub async fn check(options: &Options, person: Option<Person>) -> Result<Report, Error> {
    let host = host_of(&options.host)?;
    let anchors = options.trust.clone().map_or(TrustAnchors::System, TrustAnchors::File);
    let tls = ClientTls::new(&anchors)?;
    let roots = tls.trusted_roots();
    let tls = Ok(tls);
    let clock = Clock { step: options.step, end: Instant::now() + options.whole };
    let addresses = tries::addresses(&host, clock).await;
    let tried = match &addresses {
        Ok(addresses) => tries::go(&host, addresses, &options.ports, &tls, clock).await,
        Err(_) => Vec::new(),
    };
    let mut report = verdict::judge(&host, addresses, &tried, roots);
    if let Some(person) = person {
        let clock = Clock { step: options.step, end: Instant::now() + options.whole };
        report.take_sign_in(password::sign_in(&host, report.settings.first(), person, &tls, clock).await);
    }
    Ok(report)
}

/// The name in the form that the DNS knows, or an address without brackets.
fn host_of(text: &str) -> Result<String, Error> {
    let bare = text.trim().trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(address.to_string());
    }
    let bad = || Error::BadHost(text.chars().take(100).collect());
    let domain: postern_smtp::address::Domain = bare.parse().map_err(|_| bad())?;
    domain.to_ascii().map(|name| name.to_ascii_lowercase()).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_called_by_a_name_or_an_address() {
        for (text, host) in [
            ("Mail.Example.Org.", "mail.example.org"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("192.0.2.1", "192.0.2.1"),
            ("bücher.example", "xn--bcher-kva.example"),
        ] {
            assert_eq!(host_of(text).unwrap(), host);
        }
        for text in ["", "a b", "mail.example.org:587", "anna@example.org"] {
            assert!(host_of(text).is_err(), "{text}");
        }
    }
}
