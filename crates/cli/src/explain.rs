//! `postern explain`: what a token means, and what to do about it.
//!
//! The answer comes from [`postern_mta::diagnosis::explain`], the table that the page "When someone cannot send" is made from.
//! Names and ports are those of the configuration where one can be read; it works without one, too.

use std::fmt::Write as _;
use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use postern_mta::diagnosis::explain::{Explained, Named, ReplyOf, explain, near, tokens};
use postern_mta::diagnosis::session::{Program, Words};
use postern_mta::event::clean;

use crate::table::facts;
use crate::{Done, say};

/// Arguments of `postern explain`. Exits with 1 when there is no such token.
#[derive(Args)]
#[command(after_help = "Exit code: 0 when the token is known, 1 when it is not.")]
pub(crate) struct Arguments {
    /// The word in brackets at the end of a refusal, or a cause that another command has named; without one, all are listed
    #[arg(value_name = "TOKEN")]
    token: Option<String>,
    /// Only what to tell the person
    #[arg(long, requires = "token", conflicts_with = "json")]
    user: bool,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Carries it out.
pub(crate) fn run(arguments: &Arguments, path: &Path) -> Done {
    let Some(token) = &arguments.token else { return list(arguments.json) };
    let Some(explained) = explain(token) else { return Ok(unknown(token)) };
    if arguments.json {
        say(&(serde_json::to_string_pretty(&explained)? + "\n"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let names = Names::of(path);
    let words = names.words();
    say(&if arguments.user { sentences(&explained, &words) } else { render(&explained, &words) })?;
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool) -> Done {
    let all = tokens();
    if json {
        say(&(serde_json::to_string_pretty(&all)? + "\n"))?;
    } else {
        say(&facts(all.into_iter().map(|(token, title)| (token, title.replace('\n', " ")))))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn unknown(token: &str) -> ExitCode {
    let near = near(token);
    let hint = if near.is_empty() {
        "`postern explain` lists all".to_owned()
    } else {
        format!("did you mean {}?", near.join(" or "))
    };
    eprintln!("postern: there is no token {}; {hint}", clean(token));
    ExitCode::FAILURE
}

/// What to tell the person, a line for each reason that it may have.
fn sentences(explained: &Explained, words: &Words<'_>) -> String {
    let sentences = explained.causes.iter().map(|named| words.fill(named.section.user) + "\n");
    let replies = explained.replies.iter().map(|reply| format!("{}\n", reply.meaning));
    if explained.causes.is_empty() { replies.collect() } else { sentences.collect() }
}

fn render(explained: &Explained, words: &Words<'_>) -> String {
    let mut text = String::new();
    for reply in &explained.replies {
        text += &said(explained.token, reply);
    }
    for (index, named) in explained.causes.iter().enumerate() {
        if index > 0 || !explained.replies.is_empty() {
            text.push('\n');
        }
        text += &section(named, words);
    }
    text
}

fn said(token: &str, ReplyOf { code, text, meaning, source }: &ReplyOf) -> String {
    let mut said = format!("{token}\n");
    said += &facts([
        ("reply", format!("{code} {text} ({token})")),
        ("means", (*meaning).to_owned()),
        ("source", (*source).to_owned()),
    ]);
    said
}

fn section(Named { cause, section }: &Named, words: &Words<'_>) -> String {
    let mut text = format!("{}: {}\n", cause.token(), section.title);
    text += &facts([
        ("what it is", words.fill(section.meaning)),
        ("tell them", words.fill(section.user)),
        ("to do", words.fill(section.remedy)),
    ]);
    if !section.programs.is_empty() {
        let steps = section.programs.iter();
        let _ = writeln!(text, "  in the program");
        text += &facts(steps.map(|(program, step)| (Program::name(*program), words.fill(step))));
    }
    text
}

/// What the places in the texts stand for.
struct Names {
    host: String,
    starttls_port: u16,
    tls_port: u16,
}

impl Names {
    /// Of the configuration, else the usual ones.
    fn of(path: &Path) -> Self {
        let host = crate::load(path)
            .map_or_else(|_| "mail.example.org".to_owned(), |config| config.hostname.as_str().to_owned());
        Self { host, starttls_port: 587, tls_port: 465 }
    }

    fn words(&self) -> Words<'_> {
        let Self { host, starttls_port, tls_port } = self;
        Words { host, starttls_port: *starttls_port, tls_port: *tls_port, user: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names::of(Path::new("no such file"))
    }

    #[test]
    fn a_help_token_is_answered_with_its_reply_and_with_what_to_do() {
        let text = render(&explain("sign-in-first").unwrap(), &names().words());
        assert!(text.contains("530 5.7.0 Authentication required (sign-in-first)"), "{text}");
        assert!(
            text.contains("sign-in-not-used: \"My server requires authentication\" is not ticked"),
            "{text}"
        );
        assert!(text.contains("Thunderbird"), "{text}");
        assert!(!text.contains("{host}") && text.contains("mail.example.org"), "{text}");
    }

    #[test]
    fn for_the_person_there_is_only_the_sentence() {
        let text = sentences(&explain("relay-denied").unwrap(), &names().words());
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("port 587 with STARTTLS"), "{text}");
    }

    #[test]
    fn a_reply_without_a_cause_says_at_least_what_it_means() {
        let text = sentences(&explain("expn-refused").unwrap(), &names().words());
        assert!(!text.trim().is_empty());
    }
}
