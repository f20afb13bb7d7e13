//! A mail to the person whom a case concerns: what went wrong, what to do, and the right settings, in plain words.
//!
//! [`Letter::about`] writes it from the same table as `postern explain`. What it deliberately does not do: send it. That is
//! done only when an administrator says so.

use serde::{Deserialize, Serialize};

use super::{Case, ServerSettings, SignInWay};
use crate::config::Role;
use crate::diagnosis::session::{Cause, Diagnosis};
use crate::event::clean;

/// A mail in words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    /// Its subject.
    pub subject: String,
    /// Its text, a paragraph each; an empty one is an empty line.
    pub paragraphs: Vec<String>,
}

impl Case {
    /// What was found in it, as a diagnosis of its last session.
    pub fn diagnosis(&self) -> Diagnosis {
        Diagnosis {
            cause: self.cause,
            confidence: self.confidence,
            explanation: self.explanation.clone(),
            user: self.claimed.as_deref().map(clean),
            program: self.program,
        }
    }

    /// The user name that a text about it is to tell, where there is one that is somebody's.
    pub fn user(&self) -> Option<&str> {
        self.whom.account()
    }
}

impl Letter {
    /// To the person whom a case concerns. It says nothing that this server does not hold: a sentence that would name a port
    /// where nobody listens is left out, and so are a program's steps.
    pub(crate) fn about(case: &Case, settings: &ServerSettings) -> Self {
        let user = case.user().map(clean);
        let words = settings.words(user.as_deref());
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
        // What is for people is not for printers.
        if case.ways.iter().any(|way| *way != Role::Device) {
            paragraphs.extend([String::new(), "These settings are right:".to_owned(), String::new()]);
            paragraphs.extend(right_settings(case, settings));
        }
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

fn right_settings(case: &Case, settings: &ServerSettings) -> Vec<String> {
    let mut lines = vec![format!("  Server (SMTP, outgoing mail): {}", settings.host)];
    lines.extend(match (settings.tls_port, settings.starttls_port) {
        (Some(tls), Some(starttls)) => {
            Some(format!("  Port {tls} with SSL/TLS, or port {starttls} with STARTTLS"))
        }
        (Some(tls), None) => Some(format!("  Port {tls} with SSL/TLS")),
        (None, Some(starttls)) => Some(format!("  Port {starttls} with STARTTLS")),
        (None, None) => None,
    });
    lines.extend(sign_in(case.cause, &settings.sign_in).map(|way| format!("  Sign-in: {way}")));
    lines.push(format!("  User name: {}", user_name(case)));
    lines
}

/// `None`: nobody can sign in here.
fn sign_in(cause: Cause, ways: &[SignInWay]) -> Option<String> {
    let usual = ways.first()?;
    Some(match cause {
        Cause::AppPasswordNeeded => {
            let password = ways.iter().find(|way| **way == SignInWay::Password).unwrap_or(usual);
            format!("{password}; enter an app password, not the password of your account")
        }
        Cause::TokenRejected if ways.contains(&SignInWay::OAuth) => SignInWay::OAuth.to_string(),
        Cause::CertificateOfNobody | Cause::ClientCertificateNeeded | Cause::ClientCertificateUnproved
            if ways.contains(&SignInWay::Certificate) =>
        {
            SignInWay::Certificate.to_string()
        }
        Cause::ClientCertificateNeeded | Cause::ClientCertificateUnproved => {
            format!("{usual}, and the certificate that you were given")
        }
        _ => usual.to_string(),
    })
}

fn user_name(case: &Case) -> String {
    match (case.user(), case.cause) {
        (Some(name), Cause::NameWithoutDomain) if !name.contains('@') => "your whole mail address".to_owned(),
        (Some(_), Cause::NameWithWrongDomain) | (None, _) => "as for reading your mail".to_owned(),
        (Some(name), _) => clean(name),
    }
}

#[cfg(test)]
mod tests;
