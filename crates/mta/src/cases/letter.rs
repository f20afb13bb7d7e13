//! A mail to the person whom a case concerns: what went wrong, what to do, and the right settings, in plain words.
//!
//! [`Letter::about`] writes it from the same table as `postern explain`. What it deliberately does not do: send it. That is
//! done only when an administrator says so.

use serde::{Deserialize, Serialize};

use super::Case;
use crate::config::{Config, Greets, Role};
use crate::diagnosis::session::{Diagnosis, Words};

/// The usual port for STARTTLS (RFC 6409 §3.1), and for TLS from the first octet (RFC 8314 §7.3).
const PORTS: (u16, u16) = (587, 465);

/// A mail in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Its subject.
    pub subject: String,
    /// Its text, a paragraph each; an empty one is an empty line.
    pub paragraphs: Vec<String>,
}

/// What people enter to send mail through this server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The server's name.
    pub host: String,
    /// The port for STARTTLS.
    pub starttls_port: u16,
    /// The port for TLS from the first octet.
    pub tls_port: u16,
}

impl Settings {
    /// Of a configuration. A listener that gets its port from the system counts as the usual one.
    pub fn of(config: &Config) -> Self {
        let submission = config.listeners.iter().filter(|one| one.role == Role::Submission);
        let bound: Vec<(u16, Greets)> = submission
            .flat_map(|one| one.bind.iter().map(|address| (address.port(), one.tls.greets(address.port()))))
            .filter(|(port, _)| *port != 0)
            .collect();
        let port = |wanted: Greets| bound.iter().find(|(_, greets)| *greets == wanted).map(|(port, _)| *port);
        Self {
            host: config.hostname.as_str().to_owned(),
            starttls_port: port(Greets::InClear).unwrap_or(PORTS.0),
            tls_port: port(Greets::AfterTls).unwrap_or(PORTS.1),
        }
    }

    /// What the places in a text about somebody stand for.
    pub fn words<'a>(&'a self, user: Option<&'a str>) -> Words<'a> {
        let Self { host, starttls_port, tls_port } = self;
        Words { host, starttls_port: *starttls_port, tls_port: *tls_port, user }
    }
}

impl Case {
    /// What was found in it, as a diagnosis of its last session.
    pub fn diagnosis(&self) -> Diagnosis {
        Diagnosis {
            cause: self.cause,
            confidence: self.confidence,
            explanation: self.explanation.clone(),
            user: self.claimed.clone(),
            program: self.program,
        }
    }

    /// The user name that a text about it is to tell, where there is one that is somebody's.
    pub fn user(&self) -> Option<&str> {
        self.whom.account()
    }
}

impl Letter {
    /// To the person whom a case concerns.
    pub(crate) fn about(case: &Case, settings: &Settings) -> Self {
        let words = settings.words(case.user());
        let found = case.diagnosis();
        let mut paragraphs = vec![
            "Good day,".to_owned(),
            String::new(),
            format!("your mail program could not send mail through {}. {}", settings.host, often(case)),
            String::new(),
            found.user_sentence(&words),
        ];
        let remedies = found.remedies(&words);
        if !remedies.is_empty() {
            paragraphs.extend([String::new(), "In your program:".to_owned()]);
            for (program, remedy) in remedies {
                paragraphs.extend([String::new(), format!("{}: {remedy}", program.name())]);
            }
        }
        paragraphs.extend([String::new(), "These settings are right:".to_owned(), String::new()]);
        paragraphs.extend(right_settings(settings, case.user()));
        paragraphs.extend([
            String::new(),
            "If it still does not work, please answer this mail, with the words that your program shows."
                .to_owned(),
        ]);
        Self { subject: format!("Your mail program cannot send through {}", settings.host), paragraphs }
    }
}

fn often(case: &Case) -> String {
    let last = case.last.strftime("%d %B %Y at %H:%M UTC");
    match case.count {
        1 => format!("It tried on {last}."),
        count => format!("It tried {count} times, last on {last}."),
    }
}

fn right_settings(settings: &Settings, user: Option<&str>) -> Vec<String> {
    let Settings { host, starttls_port, tls_port } = settings;
    vec![
        format!("  Server (SMTP, outgoing mail): {host}"),
        format!("  Port {tls_port} with SSL/TLS, or port {starttls_port} with STARTTLS"),
        "  Sign-in: normal password".to_owned(),
        format!("  User name: {}", user.unwrap_or("as for reading your mail")),
    ]
}

#[cfg(test)]
mod tests;
