//! What was said in a session, as it may be kept and shown: for transcripts, and for whoever explains why it went wrong.
//!
//! The session writes down each line as what it *is*: a command, an answer of a sign-in, content, our reply. What may hold a
//! secret is never kept at all, only how long it was ([`Said::Withheld`]); so nobody further out can forget to strike it
//! out. Once AUTH was said, a line that is no command is such an answer too: clients go on with a sign-in that was refused.
//!
//! The types to know: [`Dialogue`], all of it, bounded whatever the client does; [`Line`] and [`Said`]. What it deliberately
//! does not do: judge, or write anything for people.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::command::{Command, SyntaxError, Verb};
use crate::reply::{Enhanced, Reply};
use crate::sasl::Mechanism;
use crate::text::clean;

/// Of the first lines so many are kept, and of the last ones; what comes between is counted.
const FIRST: usize = 100;
/// So many of the last.
const LAST: usize = 100;
/// Of one line so many octets are kept.
const LINE_MOST: usize = 300;
/// Of a reply to EHLO with all its keywords, or of another long one, so many octets are kept.
const REPLY_MOST: usize = 1000;
/// Of the first word of what is no command so many octets are kept.
const WORD_MOST: usize = 40;
/// How a mechanism is kept that nobody knows.
const UNKNOWN: &str = "[unknown]";
/// Mechanisms that clients ask for and we do not have (IANA's list of SASL mechanisms).
const OTHERS: [&str; 16] = [
    "ANONYMOUS",
    "CRAM-MD5",
    "DIGEST-MD5",
    "ECDH-X25519-CHALLENGE",
    "EAP-AES128",
    "GS2-KRB5",
    "GSSAPI",
    "GSS-SPNEGO",
    "KERBEROS_V4",
    "KERBEROS_V5",
    "NTLM",
    "OTP",
    "SCRAM-SHA-512",
    "SECURID",
    "SKEY",
    "SRP",
];

/// A session's lines, from both sides. Bounded: some 200 lines, whatever is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialogue {
    first: Vec<Line>,
    last: VecDeque<Line>,
    /// So many lines between the first and the last were not kept.
    omitted: u64,
    /// AUTH mechanisms that were asked for, each once, the last one last.
    mechanisms: Vec<String>,
    #[serde(skip)]
    began: Option<Instant>,
    #[serde(skip)]
    now: Duration,
    #[serde(skip)]
    auth: AuthSaid,
    #[serde(skip)]
    asked: Option<Verb>,
    /// What is no command may be a message's content.
    #[serde(skip)]
    may_be_content: bool,
    /// What the next reply offers.
    #[serde(skip)]
    offering: Vec<Offer>,
    #[serde(skip)]
    writing: Writing,
}

/// Whether lines are written down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Writing {
    #[default]
    Down,
    Nothing,
}

/// Whether AUTH was said: then what is no command may be an answer of a sign-in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum AuthSaid {
    #[default]
    No,
    Yes,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Milliseconds since the session began.
    pub at: u64,
    /// What was said, by whom.
    #[serde(flatten)]
    pub said: Said,
}

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "said", rename_all = "kebab-case")]
pub enum Said {
    /// The client said a command, or tried to; cleaned, without any credential that it bears.
    Command {
        /// Which one.
        verb: Verb,
        /// As it was said.
        text: String,
        /// So many octets behind its first word were not kept.
        #[serde(default, skip_serializing_if = "is_nothing")]
        more: usize,
    },
    /// The client said something that may be secret.
    Withheld {
        /// Octets of it.
        octets: usize,
    },
    /// The client said a line that is longer than a line may be; nothing of it is kept.
    Overlong,
    /// The client sent content.
    Content {
        /// Octets of it.
        octets: u64,
    },
    /// We said this.
    Reply {
        /// The code.
        code: u16,
        /// The enhanced code, where it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        enhanced: Option<Enhanced>,
        /// Its help token, where it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        token: Option<String>,
        /// What it offers, where it answers EHLO.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        offers: Vec<Offer>,
        /// All of it, lines separated by LF.
        text: String,
    },
    /// TLS began.
    Tls {
        /// `TLSv1.3`.
        version: String,
        /// The cipher suite.
        cipher: String,
    },
}

/// What a reply to EHLO offers, as far as sessions go wrong without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Offer {
    /// STARTTLS (RFC 3207).
    StartTls,
    /// Some mechanism of AUTH (RFC 4954).
    Auth,
}

impl Dialogue {
    pub(super) fn new(now: Instant) -> Self {
        Self { began: Some(now), ..Self::default() }
    }

    /// The lines in order: first ones, then, after [`omitted`](Self::omitted) others, the last ones.
    pub fn lines(&self) -> impl Iterator<Item = &Line> {
        self.first.iter().chain(&self.last)
    }

    /// So many lines are left out between the first `n` and the others; `(n, omitted)`.
    pub fn omitted(&self) -> (usize, u64) {
        (self.first.len(), self.omitted)
    }

    /// So many lines were said so far, those between included.
    pub fn said(&self) -> u64 {
        self.omitted + (self.first.len() + self.last.len()) as u64
    }

    /// What was said after the first `heard` lines, as far as it is kept.
    pub fn since(&self, heard: u64) -> impl Iterator<Item = &Line> {
        let (first, omitted) = (self.first.len() as u64, self.omitted);
        let skipped = if heard <= first { heard } else { first + (heard - first).saturating_sub(omitted) };
        self.lines().skip(usize::try_from(skipped).unwrap_or(usize::MAX))
    }

    /// The AUTH mechanisms that were asked for, each once, the last one last; `[unknown]` for one that nobody knows.
    pub fn mechanisms(&self) -> &[String] {
        &self.mechanisms
    }

    /// The verbs that were said, in order.
    pub fn verbs(&self) -> impl Iterator<Item = Verb> {
        self.lines().filter_map(|line| match &line.said {
            Said::Command { verb, .. } => Some(*verb),
            _ => None,
        })
    }

    /// Our replies that said no, in order: code, help token, text.
    pub fn refusals(&self) -> impl Iterator<Item = (u16, Option<&str>, &str)> {
        self.lines().filter_map(|line| match &line.said {
            Said::Reply { code, token, text, .. } if *code >= 400 => Some((*code, token.as_deref(), &**text)),
            _ => None,
        })
    }

    /// From here on nothing is written down.
    pub(super) fn stop(&mut self) {
        *self = Self { writing: Writing::Nothing, ..Self::default() };
    }

    /// Everything that is said from here on is said now.
    pub(super) fn time(&mut self, now: Instant) {
        self.now = self.began.map_or(Duration::ZERO, |began| now.saturating_duration_since(began));
    }

    pub(super) fn command(&mut self, line: &[u8], parsed: &Result<Command, SyntaxError>) {
        if self.writing == Writing::Nothing {
            return;
        }
        let verb = parsed.as_ref().map_or_else(SyntaxError::verb, Command::verb);
        if self.may_be_content && is_orderly(verb, parsed.is_ok()) {
            self.may_be_content = false;
        }
        self.asked = Some(verb);
        let auth = verb == Verb::Auth || line.get(..4).is_some_and(|word| word.eq_ignore_ascii_case(b"AUTH"));
        let whole = |text| (text, 0);
        let (text, more) = match (verb, parsed) {
            (Verb::Auth, Ok(Command::Auth { mechanism, initial })) => {
                let octets = initial.as_ref().map(|initial| initial.expose().len());
                let more = octets.map(|octets| format!(" [{octets} octets]")).unwrap_or_default();
                whole(format!("AUTH {}{more}", self.mechanism(mechanism)))
            }
            _ if auth => whole(format!("AUTH [{} octets]", line.len().saturating_sub(4))),
            (Verb::Unknown, _) if self.auth == AuthSaid::Yes || self.may_be_content => {
                return self.add(Said::Withheld { octets: line.len() });
            }
            (Verb::Unknown, Ok(Command::Unknown(word))) => first_word(word, line),
            // Only addresses and names are worth reading, and only where they can be such.
            (Verb::Ehlo | Verb::Helo | Verb::Mail | Verb::Rcpt | Verb::Xclient | Verb::Bdat, read)
                if read.is_ok() || !self.may_be_content =>
            {
                whole(clean(String::from_utf8_lossy(line), LINE_MOST))
            }
            (verb, _) => first_word(&verb.to_string(), line),
        };
        if auth {
            self.auth = AuthSaid::Yes;
        }
        self.add(Said::Command { verb, text, more });
    }

    pub(super) fn withheld(&mut self, line: &[u8]) {
        self.add(Said::Withheld { octets: line.len() });
    }

    pub(super) fn overlong(&mut self) {
        self.add(Said::Overlong);
    }

    pub(super) fn content(&mut self, octets: u64) {
        self.add(Said::Content { octets });
    }

    pub(super) fn tls(&mut self, version: &str, cipher: &str) {
        if self.writing == Writing::Nothing {
            return;
        }
        self.add(Said::Tls { version: version.to_owned(), cipher: cipher.to_owned() });
    }

    /// A challenge may hold what the client has said: of it nothing is kept but that there was one.
    pub(super) fn reply(&mut self, reply: &Reply) {
        if self.writing == Writing::Nothing {
            return;
        }
        let token = if reply.code >= 400 { reply.help_token() } else { None };
        let text = match (reply.code, token) {
            (334, _) => "334 [challenge]".to_owned(),
            // It repeats what stood where a mechanism should.
            (code, Some("unknown-mechanism"))
                if self.mechanisms.last().is_none_or(|last| last == UNKNOWN) =>
            {
                format!("{code} Unrecognized authentication type (unknown-mechanism)")
            }
            _ => clean_lines(&reply.to_string()),
        };
        // Behind content that was refused a client may go on with it all the same.
        self.may_be_content |= reply.code >= 400 && matches!(self.asked, Some(Verb::Data | Verb::Bdat));
        let token = token.map(str::to_owned);
        let (enhanced, offers) = (reply.enhanced, std::mem::take(&mut self.offering));
        self.add(Said::Reply { code: reply.code, enhanced, token, offers, text });
    }

    /// What the next reply offers.
    pub(super) fn offering(&mut self, offers: Vec<Offer>) {
        self.offering = offers;
    }

    /// The name by which a mechanism is kept. What is none may be a credential that was said in its place.
    fn mechanism(&mut self, name: &str) -> &'static str {
        let own = Mechanism::named(name).map(Mechanism::name);
        let known = own.or_else(|| OTHERS.into_iter().find(|other| name.eq_ignore_ascii_case(other)));
        let name = known.unwrap_or(UNKNOWN);
        self.mechanisms.retain(|before| before != name);
        self.mechanisms.push(name.to_owned());
        name
    }

    fn add(&mut self, said: Said) {
        if self.writing == Writing::Nothing {
            return;
        }
        let line = Line { at: u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX), said };
        if self.first.len() < FIRST {
            return self.first.push(line);
        }
        if self.last.len() == LAST {
            self.last.pop_front();
            self.omitted += 1;
        }
        self.last.push_back(line);
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_nothing(octets: &usize) -> bool {
    *octets == 0
}

/// Whether a client that says this has understood that its content was refused.
fn is_orderly(verb: Verb, read: bool) -> bool {
    read && matches!(
        verb,
        Verb::Ehlo | Verb::Helo | Verb::Mail | Verb::Rset | Verb::StartTls | Verb::Auth | Verb::Quit
    )
}

/// The first word of a line, and how much came behind it. A word alone is kept only if it is one: of letters.
fn first_word(word: &str, line: &[u8]) -> (String, usize) {
    let more = line.len().saturating_sub(word.len());
    match word {
        "" if line.starts_with(b"SSH-") => (format!("SSH [{} octets more]", line.len() - 3), line.len() - 3),
        word if more > 0 => {
            (format!("{} [{more} octets more]", clean(word, WORD_MOST)).trim_start().to_owned(), more)
        }
        word if word.chars().all(|letter| letter.is_ascii_alphabetic()) => (clean(word, WORD_MOST), 0),
        word => (format!("[{} octets]", word.len()), 0),
    }
}

/// A reply's lines, each cleaned, all of them bounded.
fn clean_lines(reply: &str) -> String {
    let lines: Vec<String> = reply.lines().map(|line| clean(line, LINE_MOST)).collect();
    let mut text = lines.join("\n");
    text.truncate(text.floor_char_boundary(REPLY_MOST));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &[&str]) -> Vec<Said> {
        let mut dialogue = Dialogue::new(Instant::now());
        for line in lines {
            dialogue.command(line.as_bytes(), &Command::parse(line.as_bytes()));
        }
        dialogue.lines().map(|line| line.said.clone()).collect()
    }

    fn text(said: &Said) -> &str {
        match said {
            Said::Command { text, .. } => text,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn credentials_are_never_kept_in_whichever_line_they_come() {
        let said =
            heard(&["AUTH PLAIN AHRpbQB0YW5zdGFhZg==", "dGFuc3RhYWY=", "AUTH  LOGIN dGlt x y", "tanstaaf"]);
        assert_eq!(text(&said[0]), "AUTH PLAIN [20 octets]");
        assert_eq!(said[1], Said::Withheld { octets: 12 });
        assert!(!text(&said[2]).contains("dGlt"), "{said:?}");
        assert_eq!(said[3], Said::Withheld { octets: 8 });
    }

    #[test]
    fn what_stands_in_a_mechanisms_place_is_kept_only_if_it_is_one() {
        let said = heard(&["AUTH AHRpbQBzZWNyZXQx", "AUTH cram-md5", "AUTH=LOGIN dGFuc3RhYWY"]);
        assert_eq!(text(&said[0]), "AUTH [unknown]");
        assert_eq!(text(&said[1]), "AUTH CRAM-MD5");
        assert_eq!(text(&said[2]), "AUTH [18 octets]");
        let mut dialogue = Dialogue::new(Instant::now());
        let line = b"AUTH AHRpbQBzZWNyZXQx";
        dialogue.command(line, &Command::parse(line));
        dialogue.reply(&crate::reply::catalogue::unknown_mechanism("AHRPBQBZZWNYZXQX"));
        assert_eq!(dialogue.refusals().next().unwrap().1, Some("unknown-mechanism"));
        assert!(!format!("{dialogue:?}").to_uppercase().contains("AHRP"), "{dialogue:?}");
    }

    #[test]
    fn content_behind_a_data_that_was_refused_is_not_kept() {
        let mut dialogue = Dialogue::new(Instant::now());
        dialogue.command(b"DATA", &Command::parse(b"DATA"));
        dialogue.reply(&crate::reply::catalogue::mail_first());
        for line in
            ["hunter2", "help your password is hunter2", "NOOP the key is hunter2", "MAIL to hunter2", "."]
        {
            dialogue.command(line.as_bytes(), &Command::parse(line.as_bytes()));
        }
        assert!(!format!("{dialogue:?}").contains("hunter2"), "{dialogue:?}");
        let line = b"MAIL FROM:<tim@example.org>";
        dialogue.command(line, &Command::parse(line));
        assert!(format!("{dialogue:?}").contains("tim@example.org"));
    }

    #[test]
    fn words_behind_a_verb_that_takes_none_are_not_kept() {
        for line in ["NOOP hunter2", "HELP hunter2", "QUIT hunter2", "VRFY hunter2", "hunter2"] {
            assert!(!text(&heard(&[line])[0]).contains("hunter2"), "{line}");
        }
        assert_eq!(text(&heard(&["SSH-2.0-OpenSSH_9.2"])[0]), "SSH [16 octets more]");
    }

    #[test]
    fn of_what_is_no_command_only_the_first_word_is_kept() {
        let said = heard(&["GET /?token=abc HTTP/1.1", "PASS tanstaaf", "a1 LOGIN tim tanstaaf"]);
        assert_eq!(text(&said[0]), "GET [21 octets more]");
        for said in &said {
            assert!(!text(said).contains("tanstaaf") && !text(said).contains("token"), "{said:?}");
        }
    }

    #[test]
    fn lines_are_bounded_in_length_and_in_number_and_the_gap_is_counted() {
        let long = format!("NOOP {}", "x".repeat(2000));
        let lines: Vec<&str> = std::iter::repeat_n(long.as_str(), 1000).collect();
        let mut dialogue = Dialogue::new(Instant::now());
        for line in lines {
            dialogue.command(line.as_bytes(), &Command::parse(line.as_bytes()));
        }
        assert_eq!(dialogue.lines().count(), FIRST + LAST);
        assert_eq!(dialogue.omitted(), (FIRST, 1000 - 200));
        assert!(dialogue.lines().all(|line| text(&line.said).len() <= LINE_MOST));
    }

    #[test]
    fn who_listens_hears_each_line_once_and_of_a_gap_what_is_left() {
        let mut dialogue = Dialogue::new(Instant::now());
        let mut heard = Vec::new();
        let mut hear = |dialogue: &Dialogue, from: u64| {
            heard.extend(dialogue.since(from).map(|line| text(&line.said).to_owned()));
            dialogue.said()
        };
        let mut from = 0;
        for number in 0..450 {
            let line = format!("EHLO {number}");
            dialogue.command(line.as_bytes(), &Command::parse(line.as_bytes()));
            if number % 7 == 0 {
                from = hear(&dialogue, from);
            }
        }
        hear(&dialogue, from);
        let all: Vec<String> = (0..450).map(|number| format!("EHLO {number}")).collect();
        assert_eq!(heard, all);
        assert_eq!(dialogue.since(0).count(), FIRST + LAST);
        assert_eq!(dialogue.since(120).count(), LAST);
    }

    #[test]
    fn where_nothing_is_written_down_nothing_is_kept() {
        let mut dialogue = Dialogue::new(Instant::now());
        dialogue.stop();
        dialogue.command(b"AUTH PLAIN AHRpbQ==", &Command::parse(b"AUTH PLAIN AHRpbQ=="));
        dialogue.reply(&crate::reply::catalogue::starttls_first());
        dialogue.tls("TLSv1.3", "x");
        dialogue.content(7);
        assert_eq!((dialogue.said(), dialogue.lines().count(), dialogue.mechanisms().len()), (0, 0, 0));
    }

    #[test]
    fn codes_and_how_much_was_left_out_are_values() {
        let mut dialogue = Dialogue::new(Instant::now());
        dialogue.command(b"GET / HTTP/1.1", &Command::parse(b"GET / HTTP/1.1"));
        dialogue.reply(&crate::reply::catalogue::starttls_first());
        let said: Vec<Said> = dialogue.lines().map(|line| line.said.clone()).collect();
        assert!(matches!(said[0], Said::Command { more: 11, .. }), "{said:?}");
        let Said::Reply { enhanced: Some(enhanced), .. } = &said[1] else { panic!("{said:?}") };
        assert_eq!(enhanced.to_string(), "5.7.0");
    }

    #[test]
    fn a_refusal_is_kept_with_its_help_token() {
        let mut dialogue = Dialogue::new(Instant::now());
        dialogue.reply(&crate::reply::catalogue::starttls_first());
        dialogue.reply(&crate::reply::catalogue::challenge("dGltIHNlY3JldA=="));
        let refusals: Vec<_> = dialogue.refusals().collect();
        assert_eq!(refusals[0].0, 530);
        assert_eq!(refusals[0].1, Some("starttls-first"));
        assert!(!format!("{dialogue:?}").contains("dGlt"));
    }
}
