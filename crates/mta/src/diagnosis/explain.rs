//! What a token means: one that ends a refusal of ours, or the name of a trouble.
//!
//! [`explain`] looks it up in the catalogue of replies and among the causes, and puts together what both say; [`near`] helps
//! who has mistyped it; [`tokens`] lists them all. [`page`] makes the page "When someone cannot send" from the same table.
//!
//! What it deliberately does not do: look at any session (see [`session`](super::session)), or set text in columns.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use postern_smtp::reply::catalogue::{ALL, Entry};
use serde::Serialize;

use super::session::{Cause, Program, Section};
use crate::config::reference::nearest;

const INTRODUCTION: &str = "# When someone cannot send

Every trouble that Postern recognises by itself, what it looks like from outside, what to tell the person, and what to do. This
page is generated from the table that `postern explain` reads; `postern trouble list` and `postern session show` name the troubles
by the same tokens.

In what is said to people, `{host}` stands for the server's name, `{starttls_port}` for 587, `{tls_port}` for 465, `{user}` for
the user name, `{login}` for the words \"user name\" with it and `{account}` for \"the account\" with it;
`postern explain TOKEN --sentence` fills in those of your configuration. What each reply means by itself stands in
[replies](replies.md).

## By what the mail program shows

Codes of Outlook (0x…) say little by themselves: the first reply of the server that stands beside them says more. Where several
sections are named, the first one is the usual reason.

| shown | see |
|---|---|
";

/// What there is to say about a token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explained {
    /// The token.
    pub token: &'static str,
    /// The replies that it ends.
    pub replies: Vec<ReplyOf>,
    /// What is behind it, the usual reason first.
    pub causes: Vec<Named>,
}

/// A reply of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReplyOf {
    /// Its code, the enhanced one behind it.
    pub code: String,
    /// Its words; `{word}` stands for what is filled in.
    pub text: &'static str,
    /// What it means.
    pub meaning: &'static str,
    /// Where it comes from.
    pub source: &'static str,
}

/// A cause with its section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Named {
    /// Its token.
    pub cause: Cause,
    /// What there is to say about it.
    #[serde(flatten)]
    pub section: Section,
}

/// Looks a token up. `None`: there is no such token.
pub fn explain(token: &str) -> Option<Explained> {
    let token = token.trim_matches(['(', ')']);
    let entries: Vec<&Entry> = ALL.iter().filter(|entry| entry.token == Some(token)).collect();
    let known = entries.first().and_then(|entry| entry.token);
    let token = known.or_else(|| Cause::named(token).map(Cause::token))?;
    let mut causes = if entries.is_empty() { Vec::new() } else { causes_behind(token) };
    let named = Cause::named(token).filter(|cause| !causes.contains(cause));
    causes.extend(named);
    Some(Explained {
        token,
        replies: entries.into_iter().map(ReplyOf::of).collect(),
        causes: causes.into_iter().map(Named::of).collect(),
    })
}

/// Tokens that somebody may have meant: those that hold the word, else the one that looks most like it.
pub fn near(word: &str) -> Vec<&'static str> {
    let all: Vec<&'static str> = tokens().into_keys().collect();
    let holding: Vec<&'static str> =
        all.iter().copied().filter(|token| !word.is_empty() && token.contains(word)).take(8).collect();
    if holding.is_empty() { nearest(word, all.into_iter()).into_iter().collect() } else { holding }
}

/// All tokens with a heading each.
pub fn tokens() -> BTreeMap<&'static str, &'static str> {
    let replies = ALL.iter().filter_map(|entry| Some((entry.token?, entry.text)));
    let titled = |(token, text)| (token, Cause::behind(token).map_or(text, |cause| cause.section().title));
    let causes = Cause::ALL.iter().map(|cause| (cause.token(), cause.section().title));
    replies.map(titled).chain(causes).collect()
}

/// The causes behind a help token of a reply, the usual one first.
fn causes_behind(token: &str) -> Vec<Cause> {
    let others: &[Cause] = match token {
        "bad-credentials" => &[
            Cause::UnknownAccount,
            Cause::NameWithoutDomain,
            Cause::NameWithWrongDomain,
            Cause::UnusableName,
            Cause::AccountDisabled,
            Cause::AppPasswordNeeded,
            Cause::AccountBanned,
            Cause::TokenRejected,
            Cause::ActingAsRefused,
            Cause::OtherChannel,
            Cause::CertificateOfNobody,
            Cause::ProofNotJudged,
        ],
        "starttls-first" => &[Cause::AuthInClear, Cause::StarttlsHidden],
        "timed-out" => &[Cause::SilentClient],
        "bad-sequence" => &[Cause::ClearAfterStarttls],
        _ => &[],
    };
    Cause::behind(token).into_iter().chain(others.iter().copied()).collect()
}

impl ReplyOf {
    fn of(entry: &Entry) -> Self {
        let code = match entry.enhanced {
            Some(enhanced) => format!("{} {enhanced}", entry.code),
            None => entry.code.to_string(),
        };
        Self { code, text: entry.text, meaning: entry.meaning, source: entry.section }
    }
}

impl Named {
    fn of(cause: Cause) -> Self {
        Self { cause, section: *cause.section() }
    }
}

/// The page "When someone cannot send".
pub fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    for (shown, causes) in symptoms() {
        let links: Vec<String> = causes.iter().map(|cause| format!("[{0}](#{0})", cause.token())).collect();
        let _ = writeln!(page, "| `{}` | {} |", cell(&shown), links.join(", "));
    }
    for cause in Cause::ALL {
        section(&mut page, *cause);
    }
    page
}

/// What mail programs show, with what may be behind it.
fn symptoms() -> BTreeMap<String, Vec<Cause>> {
    let mut symptoms: BTreeMap<String, Vec<Cause>> = BTreeMap::new();
    for entry in ALL {
        let Some(token) = entry.token else { continue };
        let causes = causes_behind(token);
        if !causes.is_empty() {
            let reply = ReplyOf::of(entry);
            symptoms.insert(format!("{} {} ({token})", reply.code, reply.text), causes);
        }
    }
    for cause in Cause::ALL {
        for symptom in cause.section().symptoms {
            symptoms.entry((*symptom).to_owned()).or_default().push(*cause);
        }
    }
    symptoms
}

/// One section, with its token as the anchor.
fn section(page: &mut String, cause: Cause) {
    let Section { title, meaning, user, remedy, programs, .. } = cause.section();
    let _ = write!(
        page,
        "\n## {}\n\n**{title}.** {}\n\n*Tell the person:* {}\n\n*What to do:* {}\n",
        cause.token(),
        prose(meaning),
        prose(user),
        prose(remedy)
    );
    if !programs.is_empty() {
        page.push_str("\n| in | set |\n|---|---|\n");
    }
    for (program, step) in *programs {
        let _ = writeln!(page, "| {} | {} |", Program::name(*program), cell(&prose(step)));
    }
}

/// Keys in double brackets are no links, and paths in angle brackets no tags.
fn prose(text: &str) -> String {
    let mut prose = String::with_capacity(text.len());
    for (index, part) in text.split('`').enumerate() {
        if index > 0 {
            prose.push('`');
        }
        if index % 2 == 1 {
            prose.push_str(part);
        } else {
            prose.push_str(&part.replace('[', "\\[").replace('<', "&lt;").replace('>', "&gt;"));
        }
    }
    prose
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_token_is_explained_with_its_brackets_or_without() {
        for token in tokens().into_keys() {
            let explained = explain(token).unwrap_or_else(|| panic!("{token}"));
            assert_eq!(explained.token, token);
            assert!(!explained.replies.is_empty() || !explained.causes.is_empty(), "{token}");
            assert_eq!(explain(&format!("({token})")), Some(explained));
        }
    }

    #[test]
    fn a_reply_that_hides_the_reason_names_all_that_it_may_be_the_usual_one_first() {
        let explained = explain("bad-credentials").unwrap();
        assert_eq!(explained.replies[0].code, "535 5.7.8");
        assert_eq!(explained.causes[0].cause, Cause::WrongPassword);
        assert!(explained.causes.iter().any(|named| named.cause == Cause::UnknownAccount));
    }

    #[test]
    fn a_cause_and_a_reply_of_the_same_name_are_one_answer() {
        let explained = explain("too-large").unwrap();
        assert_eq!((explained.replies.len(), explained.causes.len()), (1, 1));
    }

    #[test]
    fn who_mistypes_a_token_is_told_what_he_may_have_meant() {
        assert_eq!(explain("relay-deneid"), None);
        assert_eq!(near("relay-deneid"), ["relay-denied"]);
        assert!(near("certificate").contains(&"certificate-expired"));
        assert_eq!(near("something else altogether"), [""; 0]);
    }

    /// `POSTERN_BLESS=1 cargo test -p postern-mta explain` writes it anew.
    #[test]
    fn the_page_in_the_docs_is_fresh() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/when-someone-cannot-send.md");
        if std::env::var_os("POSTERN_BLESS").is_some() {
            std::fs::write(path, page()).unwrap();
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            written == page(),
            "docs/when-someone-cannot-send.md is stale: run this test again with POSTERN_BLESS=1"
        );
    }

    #[test]
    fn the_words_that_programs_show_lead_to_the_right_section() {
        let page = page();
        for (words, token) in [
            (
                "550 5.7.1 {recipient}... Relaying denied. Proper authentication required. (relay-denied)",
                "relay-denied",
            ),
            ("530 5.7.0 Must issue a STARTTLS command first (starttls-first)", "starttls-not-used"),
            (
                "454 4.7.0 TLS not available due to temporary reason (tls-unavailable)",
                "no-usable-certificate",
            ),
            ("untrusted root", "unknown-authority"),
        ] {
            let row = page.lines().find(|line| line.starts_with(&format!("| `{words}` |")));
            let row = row.unwrap_or_else(|| panic!("{words}"));
            assert!(row.contains(&format!("(#{token})")), "{row}");
        }
    }
}
