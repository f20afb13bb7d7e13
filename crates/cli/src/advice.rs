//! What was found in a session, and what to do about it, in words: the same for `postern session show` and
//! `postern trouble show`, and its parts for `postern explain`.
//!
//! The types to know: none; [`diagnosis_in_words`] sets a [`Diagnosis`] in 100 columns, [`steps`] what to do in each program.
//! What it deliberately does not do: find or judge anything.

use postern_mta::cases::ServerSettings;
use postern_mta::diagnosis::session::{Diagnosis, Program};
use postern_mta::session::transcript::sure;

use crate::table::{facts_set_in, harmless, set_in};

/// What was found, what to do, what to tell the person, and the steps in each program.
pub(crate) fn diagnosis_in_words(found: &Diagnosis, settings: &ServerSettings, user: Option<&str>) -> String {
    let words = settings.words(user);
    let section = found.cause.section();
    let mut text = format!("\n{} ({}, {})\n\n", section.title, found.cause.token(), sure(found.confidence));
    text += &paragraph(&found.explanation);
    text += &paragraph(&words.fill(section.meaning));
    text += "\nWhat to do\n\n";
    text += &paragraph(&found.remedy(&words));
    text += "\nWhat to tell the person\n\n";
    text += &paragraph(&found.user_sentence(&words));
    let remedies = found.remedies(&words);
    if !remedies.is_empty() {
        text += "\nIn each program\n\n";
        text += &steps(&remedies);
    }
    text
}

/// A program a line, its steps set in behind it.
pub(crate) fn steps(steps: &[(Program, String)]) -> String {
    facts_set_in(steps.iter().map(|(program, step)| (program.name(), harmless(step))))
}

fn paragraph(text: &str) -> String {
    harmless(text).split('\n').map(|line| set_in("  ", line)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use postern_mta::diagnosis::session::{Cause, Confidence};

    fn found(cause: Cause) -> Diagnosis {
        let explanation = "It said x\u{1b}[2J. ".repeat(20);
        Diagnosis { cause, confidence: Confidence::Certain, explanation, user: None, program: None }
    }

    #[test]
    fn every_diagnosis_fits_the_terminal_and_no_step_is_cut() {
        let settings = ServerSettings::usual();
        for &cause in Cause::ALL {
            let found = found(cause);
            let text = diagnosis_in_words(&found, &settings, Some("anna"));
            let in_one_line = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
            for (_, step) in found.remedies(&settings.words(Some("anna"))) {
                assert!(in_one_line(&text).contains(&in_one_line(&step)), "{step} is not in {text}");
            }
            let long = |line: &&str| line.chars().count() > 100 && line.trim().contains(' ');
            assert_eq!(text.lines().find(long), None, "{}", cause.token());
            assert!(!text.contains('\u{1b}'));
        }
    }
}
