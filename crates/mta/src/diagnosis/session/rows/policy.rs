//! What was refused by its help token, or by its code where it has none.

use postern_smtp::command::Verb;

use super::{Found, certain};
use crate::diagnosis::session::Cause;
use crate::diagnosis::session::sight::{Asked, Refused, Sight};

/// Replies that follow from an earlier one, or only end what others began.
const FOLLOW: [&str; 12] = [
    "mail-first",
    "rcpt-first",
    "nested-mail",
    "no-valid-recipients",
    "bad-sequence",
    "chunking-begun",
    "too-many-errors",
    "too-many-commands",
    "too-many-sign-ins",
    "timed-out",
    "shutting-down",
    "session-too-long",
];

/// The first refusal whose token says what it is. The first, for a program that ignores one gets more.
pub(super) fn tokens(sight: &Sight<'_>) -> Option<Found> {
    let telling = |refused: &&Refused<'_>| refused.token.is_some_and(|token| !FOLLOW.contains(&token));
    let refused = sight.refused.iter().find(telling)?;
    let cause = Cause::behind(refused.token?)?;
    certain(cause, in_words(sight, refused))
}

/// A refusal without a token: the form was wrong.
pub(super) fn malformed(sight: &Sight<'_>) -> Option<Found> {
    sight.refused.iter().find_map(|refused| {
        let cause = of_form(refused)?;
        certain(cause, in_words(sight, refused))
    })
}

/// What follows from something else, and stands alone all the same.
pub(super) fn follow_ups(sight: &Sight<'_>) -> Option<Found> {
    let refused = sight.refused.iter().find(|refused| {
        refused
            .token
            .is_some_and(|token| !matches!(token, "timed-out" | "shutting-down" | "session-too-long"))
    })?;
    let cause = Cause::behind(refused.token?)?;
    certain(cause, in_words(sight, refused))
}

fn of_form(refused: &Refused<'_>) -> Option<Cause> {
    if refused.token.is_some() {
        return None;
    }
    Some(match (refused.code, refused.enhanced?, refused.asked) {
        (500, (5, 5, 2), _) => Cause::LineTooLong,
        (501, (5, 1, 3 | 7), _) => Cause::BadAddress,
        (501, (5, 5, 2), _) => Cause::BadCharacters,
        (500 | 502, (5, 5, 1), Asked::Command(verb, _)) if verb != Verb::Auth => Cause::UnknownCommand,
        (501 | 555, (5, 5, 4), Asked::Command(verb, _)) if verb != Verb::Auth => Cause::UnknownCommand,
        (503, (5, 5, 1), _) => Cause::BadSequence,
        _ => return None,
    })
}

/// What was said, what was answered, and what only we know.
fn in_words(sight: &Sight<'_>, refused: &Refused<'_>) -> String {
    let asked = match refused.asked {
        Asked::Command(_, text) => format!("\"{text}\""),
        Asked::Content => "the message".to_owned(),
        Asked::Answer => "the sign-in".to_owned(),
        Asked::Overlong => "a line of more octets than any may have".to_owned(),
        Asked::Nothing => "the client".to_owned(),
    };
    let why = sight.why(refused).map(|why| format!("; {why}")).unwrap_or_default();
    format!("{asked} was refused: {}{why}", refused.reply.trim_end())
}
