//! `postern explain`: what a token means, and what to do about it.
//!
//! The answer comes from [`postern_mta::diagnosis::explain`], the table that the page "When someone cannot send" is made from.
//! Names and ports are those of the configuration where one can be read; it works without one, too. A token that may have
//! several causes is answered with the list of them: what to do differs.

use std::path::Path;
use std::process::ExitCode;

use clap::Args;
use postern_mta::cases::ServerSettings;
use postern_mta::diagnosis::explain::{Explained, Named, ReplyOf, explain, near, tokens};
use postern_mta::diagnosis::session::{Program, Section, Words};
use postern_mta::event::clean;

use crate::advice::steps;
use crate::table::{facts, facts_set_in, set_in};
use crate::{Done, in_json, say};

/// Arguments of `postern explain`. Exits with 1 when there is no such token.
#[derive(Args)]
#[command(
    after_help = "Exit codes: 0: the token is known. 1: it is not, or there are no such steps. 2: wrong usage."
)]
pub(crate) struct Arguments {
    /// The word in brackets at the end of a refusal, or a cause that another command has named; without one, all are listed
    #[arg(value_name = "TOKEN")]
    token: Option<String>,
    /// Only what to tell the person
    #[arg(long, requires = "token", conflicts_with_all = ["json", "program"])]
    sentence: bool,
    /// Only the steps in this program, such as thunderbird
    #[arg(long, value_name = "NAME", requires = "token", conflicts_with = "json")]
    program: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Carries it out.
pub(crate) fn run(arguments: &Arguments, path: &Path) -> Done {
    let Some(token) = &arguments.token else { return list(arguments.json) };
    let Some(explained) = explain(token) else { return Ok(unknown(token)) };
    if arguments.json {
        say(&in_json(&explained)?)?;
        return Ok(ExitCode::SUCCESS);
    }
    let settings =
        crate::load(path).map_or_else(|_| ServerSettings::usual(), |config| ServerSettings::of(&config));
    let words = settings.words(None);
    say(&match &arguments.program {
        Some(program) => steps_in(&explained, program, &words)?,
        None if arguments.sentence => sentences(&explained, &words),
        None => render(&explained, &words),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn list(json: bool) -> Done {
    let all = tokens();
    if json {
        say(&in_json(&all)?)?;
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

/// The steps in the programs whose names hold the word.
///
/// # Errors
/// In words: the token has several causes, or there are no such steps.
fn steps_in(explained: &Explained, program: &str, words: &Words<'_>) -> Result<String, String> {
    let section = match explained.causes.as_slice() {
        [named] => named.section,
        [] => return Err(format!("{} has no steps in programs", explained.token)),
        several => {
            let tokens: Vec<&str> = several.iter().map(|named| named.cause.token()).collect();
            return Err(format!("{} has several causes; name one: {}", explained.token, tokens.join(", ")));
        }
    };
    let all = filled(&section, words);
    let wanted = program.to_lowercase();
    let found: Vec<(Program, String)> =
        all.iter().filter(|(program, _)| program.name().to_lowercase().contains(&wanted)).cloned().collect();
    if found.is_empty() {
        let names: Vec<&str> = all.iter().map(|(program, _)| program.name()).collect();
        let there = if names.is_empty() { "none".to_owned() } else { names.join("; ") };
        return Err(format!("there are no steps for {}; there are: {there}", clean(program)));
    }
    Ok(steps(&found))
}

fn filled(section: &Section, words: &Words<'_>) -> Vec<(Program, String)> {
    section.programs.iter().filter_map(|(program, step)| Some((*program, words.step(step)?))).collect()
}

fn render(explained: &Explained, words: &Words<'_>) -> String {
    let mut parts: Vec<String> = explained.replies.iter().map(|reply| said(explained.token, reply)).collect();
    match explained.causes.as_slice() {
        [] => {}
        [named] => parts.push(section(named, words)),
        several => parts.push(choice(several, words)),
    }
    parts.join("\n")
}

fn said(token: &str, ReplyOf { code, text, meaning, source }: &ReplyOf) -> String {
    let facts = [
        ("reply", format!("{code} {text} ({token})")),
        ("means", (*meaning).to_owned()),
        ("source", (*source).to_owned()),
    ];
    format!("{token}\n{}", facts_set_in(facts))
}

/// What to do differs: each cause is named, the usual one first.
fn choice(causes: &[Named], words: &Words<'_>) -> String {
    let mut text = "It may have several causes, the usual one first:\n".to_owned();
    for Named { cause, section } in causes {
        text += &format!("\n  {}\n", section.title);
        text += &set_in("    ", &words.fill(section.meaning));
        text += &format!("    -> postern explain {}\n", cause.token());
    }
    text
}

fn section(Named { cause, section }: &Named, words: &Words<'_>) -> String {
    let mut text = format!("{}: {}\n", cause.token(), section.title);
    text += &facts_set_in([
        ("what it is", words.fill(section.meaning)),
        ("tell them", words.fill(section.user)),
        ("to do", words.fill(section.remedy)),
    ]);
    let all = filled(section, words);
    if !all.is_empty() {
        text += "  in the program\n";
        text += &steps(&all);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(token: &str) -> String {
        render(&explain(token).unwrap(), &ServerSettings::usual().words(None))
    }

    #[test]
    fn a_help_token_is_answered_with_its_reply_and_with_what_to_do() {
        let text = rendered("sign-in-first");
        assert!(text.contains("530 5.7.0 Authentication required (sign-in-first)"), "{text}");
        assert!(
            text.contains("sign-in-not-used: \"My server requires authentication\" is not ticked"),
            "{text}"
        );
        assert!(text.contains("Thunderbird"), "{text}");
        assert!(!text.contains("{host}") && text.contains("mail.example.org"), "{text}");
    }

    #[test]
    fn a_token_with_several_causes_names_them_and_says_how_to_ask_further() {
        let text = rendered("bad-credentials");
        for token in ["wrong-password", "unknown-account", "app-password-needed"] {
            assert!(text.contains(&format!("-> postern explain {token}\n")), "{text}");
        }
        assert!(!text.contains("Thunderbird"), "{text}");
        assert!(text.lines().count() < 80, "{}", text.lines().count());
    }

    #[test]
    fn everything_fits_the_terminal() {
        for token in tokens().into_keys() {
            let text = rendered(token);
            let long = |line: &&str| line.chars().count() > 100 && line.trim().split("  ").count() < 2;
            assert_eq!(text.lines().find(long), None, "{token}");
        }
    }

    #[test]
    fn one_programs_steps_can_be_asked_for() {
        let settings = ServerSettings::usual();
        let of = |token, program| steps_in(&explain(token).unwrap(), program, &settings.words(None));
        let text = of("tls-on-starttls-port", "apple").unwrap_or_default()
            + &of("tls-on-starttls-port", "mac").unwrap();
        assert!(text.contains("Mail on a Mac") && !text.contains("Mutt"), "{text}");
        assert!(of("bad-credentials", "mutt").unwrap_err().contains("wrong-password"));
        assert!(of("tls-on-starttls-port", "pine").unwrap_err().contains("Thunderbird"));
    }

    #[test]
    fn for_the_person_there_is_only_the_sentence() {
        let text = sentences(&explain("relay-denied").unwrap(), &ServerSettings::usual().words(None));
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(text.contains("port 587 with STARTTLS"), "{text}");
    }

    #[test]
    fn a_reply_without_a_cause_says_at_least_what_it_means() {
        let text = sentences(&explain("expn-refused").unwrap(), &ServerSettings::usual().words(None));
        assert!(!text.trim().is_empty());
    }
}
