//! A session in words: what is known of it, what was said in it, and as text that can be pasted into a mail.
//!
//! [`in_words`] is what is known, a property a line. [`transcript`] is the dialogue, `C:` and `S:` with the time of each line.
//! [`export`] is all of it in 72 columns of ASCII. Whatever comes from here is clean, whatever was in the facts: no control
//! character, none that turns the direction of text, no line without end.
//!
//! What it deliberately does not do: ask a clock or a file.

use std::fmt::Write as _;

use postern_smtp::server::{CloseReason, Line, Said};
use postern_smtp::text::clean;
use postern_smtp::tls::TlsOffer;

use super::keeper::Shown;
use super::kept::Summary;
use super::{End, Facts, Opening, Refusal, SignIn, Stage, TlsBegun};
use crate::config::{Greets, Otherwise, Role};
use crate::diagnosis::session::{Confidence, Words};
use crate::directory::SignInFault;
use crate::event::Proof;

/// So long a line of a transcript may be, in octets.
const LINE_MOST: usize = 400;
/// So many lines a reply may have.
const REPLY_LINES_MOST: usize = 60;
/// So long a property may be, in octets.
const VALUE_MOST: usize = 600;
/// So many cipher suites and groups are told by number.
const NUMBERS_MOST: usize = 6;
/// So wide is what can be pasted into a mail.
const COLUMNS: usize = 72;

/// What a line says, ready to be shown: `C: EHLO x`; a reply of several lines is several.
pub(crate) fn spoken(line: &Line) -> Vec<String> {
    let client = |text: String| vec![clean(format!("C: {text}"), LINE_MOST)];
    match &line.said {
        Said::Command { text, .. } => client(text.clone()),
        Said::Withheld { octets } => client(format!("[{octets} octets withheld]")),
        Said::Overlong => client("[a line that is too long]".to_owned()),
        Said::Content { octets } => client(format!("[{octets} octets]")),
        Said::Reply { text, .. } => {
            let lines = text.lines().take(REPLY_LINES_MOST);
            lines.map(|line| clean(format!("S: {line}"), LINE_MOST)).collect()
        }
        Said::Tls { version, cipher } => vec![clean(format!("-- {version}, {cipher}"), LINE_MOST)],
    }
}

/// The dialogue, a line each, with the seconds since the session began.
pub fn transcript(facts: &Facts) -> Vec<String> {
    let (before, omitted) = facts.dialogue.omitted();
    let mut lines = Vec::new();
    for (number, line) in facts.dialogue.lines().enumerate() {
        if number == before && omitted > 0 {
            lines.push(format!("          -- {omitted} lines are left out here"));
        }
        let at = format!("{:>5}.{:03}", line.at / 1000, line.at % 1000);
        lines.extend(spoken(line).into_iter().map(|text| format!("{at} {text}")));
    }
    lines
}

/// What is known of a session, name and value; a value may have several lines.
pub fn in_words(facts: &Facts) -> Vec<(&'static str, String)> {
    let place = &facts.place;
    let greets = match (place.greets, place.otherwise) {
        (Greets::InClear, Otherwise::Fails) => "begins in clear",
        (Greets::AfterTls, Otherwise::Fails) => "begins with TLS",
        (Greets::InClear, Otherwise::Served) => "begins in clear, or with TLS",
        (Greets::AfterTls, Otherwise::Served) => "begins with TLS, or in clear",
    };
    let way = match place.role {
        Role::Relay => "other servers",
        Role::Submission => "signed-in people",
        Role::Device => "devices",
    };
    let listener = format!("{}, port {} ({greets}; for {way})", place.listener, place.port);
    let mut words = vec![
        ("session", facts.id.clone()),
        ("began", format!("{:.0}", facts.began)),
        ("lasted", format!("{}.{:03} s", facts.lasted / 1000, facts.lasted % 1000)),
        ("client", facts.client.to_string()),
        ("listener", listener),
        ("began with", opening(&facts.opening, facts.place.greets)),
        ("TLS offered", facts.offer.as_ref().map(offer).unwrap_or_default()),
        ("TLS", tls(facts)),
        ("EHLO name", facts.hello.clone().unwrap_or_default()),
        ("mechanisms", facts.dialogue.mechanisms().join(", ")),
        ("sign-ins", lines(&facts.sign_ins, sign_in)),
        ("refused", lines(&facts.refusals, refusal)),
        ("signed in as", facts.user.clone().unwrap_or_default()),
        ("messages", facts.accepted.to_string()),
        ("ended", end(&facts.end)),
    ];
    for (_, value) in &mut words {
        *value = cleaned(value, VALUE_MOST * 4);
    }
    words
}

/// A session that ended, in one line.
pub(crate) fn ending(summary: &Summary) -> String {
    let Summary { listener, client, user, accepted, cause, explanation, .. } = summary;
    let mut text = format!("-- {client} on {listener} ended");
    // Writing into a text cannot fail.
    let _ = user.iter().try_for_each(|user| write!(text, ", {user}"));
    let _ = write!(text, ", {accepted} messages");
    if let (Some(cause), Some(explanation)) = (cause, explanation) {
        let _ = write!(text, ": {explanation} ({})", cause.token());
    }
    clean(text, LINE_MOST)
}

/// Lines that may stay lines, each clean and bounded.
pub(crate) fn cleaned(text: &str, most: usize) -> String {
    let mut whole = text.lines().map(|line| clean(line, VALUE_MOST)).collect::<Vec<_>>().join("\n");
    whole.truncate(whole.floor_char_boundary(most));
    whole
}

/// Everything about a session, to be pasted into a mail: 72 columns of ASCII.
pub fn export(shown: &Shown, words: &Words<'_>) -> String {
    let Shown { facts, diagnosis } = shown;
    let mut page = Page::default();
    page.line("", "Session of a mail program with Postern");
    page.gap();
    for (name, value) in in_words(facts).into_iter().filter(|(_, value)| !value.is_empty()) {
        for (number, line) in value.lines().enumerate() {
            let name = if number == 0 { format!("{name}:") } else { String::new() };
            page.line(&format!("{name:<14}"), line);
        }
    }
    page.gap();
    page.line("", "What was said (C: the client, S: the server; seconds since it began)");
    page.gap();
    for line in transcript(facts) {
        page.line("", &line);
    }
    if let Some(found) = diagnosis {
        let section = found.cause.section();
        page.gap();
        page.line("", &format!("What went wrong ({}): {}", found.cause.token(), sure(found.confidence)));
        page.gap();
        page.line("  ", &clean(&found.explanation, VALUE_MOST));
        page.line("  ", section.meaning);
        page.gap();
        page.line("", "What to do");
        page.gap();
        page.line("  ", &words.fill(section.remedy));
    }
    page.gap();
    page.line("", "Left out: passwords and all else that is said to sign in, and the content of messages; of \
        either only how long it was. Long lines are cut; what is not ASCII, and what could change how this text looks, is \
        shown as a question mark.");
    page.0
}

/// How sure a cause is, in words.
pub fn sure(confidence: Confidence) -> &'static str {
    match confidence {
        Confidence::Possible => "possible",
        Confidence::Likely => "likely",
        Confidence::Certain => "certain",
    }
}

fn opening(opening: &Opening, greets: Greets) -> String {
    match opening {
        Opening::Silence if greets == Greets::AfterTls => String::new(),
        Opening::Silence => "nothing".to_owned(),
        Opening::Tls => "a TLS handshake".to_owned(),
        Opening::Http { method } => format!("HTTP ({method})"),
        Opening::Words => "words".to_owned(),
        Opening::Binary { octets } => format!("octets that are no text: {octets}"),
    }
}

fn offer(offer: &TlsOffer) -> String {
    let TlsOffer { versions, server_name, protocols, ciphers, groups } = offer;
    let versions: Vec<String> = versions.iter().map(|version| named_version(*version)).collect();
    let mut lines = vec![versions.join(", ")];
    lines.push(match server_name {
        Some(name) => format!("for the server name {name}"),
        None => "without a server name (SNI)".to_owned(),
    });
    if !protocols.is_empty() {
        lines.push(format!("for {}", protocols.join(", ")));
    }
    lines.push(format!("cipher suites: {}", numbers(ciphers)));
    if !groups.is_empty() {
        lines.push(format!("groups: {}", numbers(groups)));
    }
    lines.join("\n")
}

fn named_version(version: u16) -> String {
    match version {
        0x0304 => "TLS 1.3".to_owned(),
        0x0303 => "TLS 1.2".to_owned(),
        0x0302 => "TLS 1.1".to_owned(),
        0x0301 => "TLS 1.0".to_owned(),
        0x0300 => "SSLv3".to_owned(),
        0x0002 => "SSLv2".to_owned(),
        other => format!("version {other:04x}"),
    }
}

fn numbers(numbers: &[u16]) -> String {
    let told: Vec<String> = numbers.iter().take(NUMBERS_MOST).map(|number| format!("{number:04x}")).collect();
    match numbers.len().saturating_sub(NUMBERS_MOST) {
        0 => told.join(" "),
        more => format!("{} and {more} more", told.join(" ")),
    }
}

fn tls(facts: &Facts) -> String {
    if let Some((_, reason)) = &facts.tls_fault {
        return format!("failed: {reason}");
    }
    let Some(stood) = &facts.tls else { return "none".to_owned() };
    let begun = match stood.begun {
        TlsBegun::AtOnce => "from the first octet",
        TlsBegun::StartTls => "by STARTTLS",
    };
    let name = match (&stood.server_name, stood.name_borne) {
        (None, _) => ", without a server name (SNI)".to_owned(),
        (Some(name), Some(false)) => format!(", for {name}, which the certificate does not bear"),
        (Some(name), _) => format!(", for {name}"),
    };
    format!("{} {}, {begun}{name}", stood.version, stood.cipher)
}

fn lines<T>(of: &[T], words: impl Fn(&T) -> String) -> String {
    of.iter().map(words).collect::<Vec<_>>().join("\n")
}

fn sign_in(tried: &SignIn) -> String {
    let SignIn { user, by, fault, why } = tried;
    let by = match by {
        Proof::Password => "password",
        Proof::Certificate => "certificate",
        Proof::Token => "access token",
        Proof::Scram => "SCRAM",
        Proof::FrontEnd => "front end",
    };
    let came = fault.map_or("went well", in_short);
    let why = why.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{user} by {by}: {came}{why}")
}

/// Why a sign-in failed, in few words.
pub fn in_short(fault: SignInFault) -> &'static str {
    match fault {
        SignInFault::UnknownUser => "nobody has that name",
        SignInFault::NameWithoutDomain => "the name lacks its domain",
        SignInFault::NameWithWrongDomain => "the name has a wrong domain",
        SignInFault::WrongPassword => "the password is wrong",
        SignInFault::WrongOrUnknown => "the password is wrong, or nobody has that name",
        SignInFault::UnusableName => "that cannot be a name",
        SignInFault::Disabled => "the account may not be used",
        SignInFault::AppPasswordNeeded => "it needs an app password",
        SignInFault::Banned => "the account is banned",
        SignInFault::TooManyGuesses => "too many wrong passwords came before",
        SignInFault::TooFast => "failures come too fast",
        SignInFault::BadToken => "the access token is no good",
        SignInFault::ActingAs => "it may not act as somebody else",
        SignInFault::OtherChannel => "the proof is for another channel",
        SignInFault::CertificateOfNobody => "the certificate is nobody's",
        SignInFault::NotJudgedHere => "no directory judges such proofs",
        SignInFault::DirectoryDown => "the directory is out of order",
    }
}

fn refusal(refused: &Refusal) -> String {
    let Refusal { at, address, reply, why, .. } = refused;
    let address = address.as_deref().map(|address| format!(" <{address}>")).unwrap_or_default();
    let why = why.as_deref().map(|why| format!(" ({why})")).unwrap_or_default();
    format!("{at}{address}: {reply}{why}")
}

fn end(end: &End) -> String {
    let at = |stage: &Stage| match stage {
        Stage::Greeting => "before EHLO",
        Stage::Hello => "after EHLO",
        Stage::SigningIn => "in the middle of a sign-in",
        Stage::Transaction => "in the middle of a transaction",
        Stage::Content => "in the middle of content",
        Stage::Done => "after a message",
    };
    match end {
        End::Closed { reason, stage } => {
            let how = match reason {
                CloseReason::Quit => "by QUIT",
                CloseReason::ClientLeft => "the client closed",
                CloseReason::TimedOut => "the client was silent for too long",
                CloseReason::TooManyErrors => "too many errors",
                CloseReason::Violation => "a violation of the protocol",
                CloseReason::Refused => "refused",
                CloseReason::Drained => "the server shut down",
            };
            format!("{how}, {}", at(stage))
        }
        End::Lost { error, stage } => format!("the connection was lost ({error}), {}", at(stage)),
        End::TlsFailed => "TLS did not come about".to_owned(),
        End::Validated => "an ACME authority validated a name".to_owned(),
        End::TurnedAway { reason, .. } => format!("turned away: {reason}"),
    }
}

/// Text in so many columns of ASCII.
#[derive(Default)]
struct Page(String);

impl Page {
    fn gap(&mut self) {
        self.0.push('\n');
    }

    /// A paragraph: what stands before its first line, and blanks of the same width before the others.
    fn line(&mut self, before: &str, text: &str) {
        let (before, text) = (ascii(before), ascii(text));
        let room = COLUMNS - before.len();
        let mut lead = before.clone();
        let mut rest = text.trim_end();
        loop {
            let (line, more) = cut(rest, room);
            let _ = writeln!(self.0, "{}", format!("{lead}{line}").trim_end());
            if more.is_empty() {
                return;
            }
            lead = " ".repeat(before.len());
            rest = more;
        }
    }
}

/// What fits into a line, and the rest. It is cut at a blank unless there is none; blanks at the beginning stay.
fn cut(text: &str, room: usize) -> (&str, &str) {
    if text.len() <= room {
        return (text, "");
    }
    let begin = text.len() - text.trim_start().len();
    match text[..=room].rfind(' ') {
        Some(at) if at > begin => (&text[..at], text[at..].trim_start()),
        _ => text.split_at(room),
    }
}

fn ascii(text: &str) -> String {
    text.chars().map(|c| if c == ' ' || c.is_ascii_graphic() { c } else { '?' }).collect()
}

#[cfg(test)]
mod tests;
