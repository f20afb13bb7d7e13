//! What is allowed when: one row per verb, and the only place that says so.
//!
//! [`check`] reads the table before the session looks at a command's arguments, so a malformed command out of place is
//! answered as one out of place. A test renders the table into `docs/smtp-verbs.md`, where a postmaster can object.
//! What a command then does is not here: effects are functions of the session.

use super::settings::{AuthOffer, ClearSignIn, TlsMode};
use crate::command::Verb;

/// Where a session stands between two commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Nobody has said EHLO or HELO yet, or TLS made us forget it.
    Greeting,
    /// Between transactions.
    Ready,
    /// MAIL was accepted, no recipient yet.
    Sender,
    /// At least one recipient was accepted.
    Recipients,
    /// Between the chunks of a message.
    Chunks,
}

/// Whether a verb waits for TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tls {
    /// Allowed before TLS on every listener.
    Never,
    /// Not before TLS where the listener requires it.
    WhereRequired,
    /// Not before TLS, but for listeners that let people sign in without.
    UnlessClear,
}

/// Whether a verb asks for a signed-in principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Principal {
    /// It does not matter.
    Any,
    /// Only for the signed-in where the listener demands it.
    WhereMandatory,
    /// Only once: not for those who are signed in already (RFC 4954 §4).
    NotYet,
}

/// What a verb does to an open transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// It is a step of one.
    Advances,
    /// It leaves it alone, and is counted: a session that does nothing else ends.
    Idles,
    /// It throws it away, and is counted too.
    Resets,
}

/// Whether a client may send more before it has the reply (RFC 2920 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Group {
    /// Yes.
    GoesOn,
    /// No: the replies so far are sent at once.
    Ends,
}

struct Rule {
    verb: Verb,
    places: &'static [Place],
    tls: Tls,
    principal: Principal,
    progress: Progress,
    group: Group,
}

/// Why a verb is not allowed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Illegal {
    /// TLS must come first.
    TlsFirst,
    /// EHLO or HELO must come first.
    HelloFirst,
    /// Signing in must come first.
    SignInFirst,
    /// The client is signed in already.
    SignedInAlready,
    /// Not at this place of a transaction.
    Misplaced(Place),
}

/// What a session's standing is apart from its place.
#[derive(Debug, Clone, Copy)]
pub(super) struct Standing {
    pub(super) place: Place,
    pub(super) mode: TlsMode,
    pub(super) encrypted: bool,
    pub(super) offer: AuthOffer,
    pub(super) clear: ClearSignIn,
    pub(super) signed_in: bool,
}

const ANYWHERE: &[Place] = &[Place::Greeting, Place::Ready, Place::Sender, Place::Recipients, Place::Chunks];

/// RFC 5321 §4.1.4 (order), RFC 3207 §4 (before TLS), RFC 4954 §4 (AUTH), RFC 3030 §2 (BDAT), RFC 2920 §3.1 (groups);
/// XCLIENT as Postfix has it.
const TABLE: &[Rule] = &[
    rule(Verb::Ehlo, ANYWHERE, Tls::Never, Principal::Any, Progress::Resets, Group::Ends),
    rule(Verb::Helo, ANYWHERE, Tls::Never, Principal::Any, Progress::Resets, Group::Ends),
    rule(Verb::StartTls, &[Place::Ready], Tls::Never, Principal::Any, Progress::Idles, Group::Ends),
    rule(Verb::Auth, &[Place::Ready], Tls::UnlessClear, Principal::NotYet, Progress::Idles, Group::Ends),
    rule(
        Verb::Xclient,
        &[Place::Greeting, Place::Ready],
        Tls::WhereRequired,
        Principal::Any,
        Progress::Resets,
        Group::Ends,
    ),
    rule(
        Verb::Mail,
        &[Place::Ready],
        Tls::WhereRequired,
        Principal::WhereMandatory,
        Progress::Advances,
        Group::GoesOn,
    ),
    rule(
        Verb::Rcpt,
        &[Place::Sender, Place::Recipients],
        Tls::WhereRequired,
        Principal::WhereMandatory,
        Progress::Advances,
        Group::GoesOn,
    ),
    rule(
        Verb::Data,
        &[Place::Recipients],
        Tls::WhereRequired,
        Principal::WhereMandatory,
        Progress::Advances,
        Group::Ends,
    ),
    rule(
        Verb::Bdat,
        &[Place::Recipients, Place::Chunks],
        Tls::WhereRequired,
        Principal::WhereMandatory,
        Progress::Advances,
        Group::GoesOn,
    ),
    rule(Verb::Rset, ANYWHERE, Tls::Never, Principal::Any, Progress::Resets, Group::GoesOn),
    rule(Verb::Noop, ANYWHERE, Tls::Never, Principal::Any, Progress::Idles, Group::Ends),
    rule(Verb::Help, ANYWHERE, Tls::Never, Principal::Any, Progress::Idles, Group::Ends),
    rule(Verb::Vrfy, ANYWHERE, Tls::WhereRequired, Principal::Any, Progress::Idles, Group::Ends),
    rule(Verb::Expn, ANYWHERE, Tls::WhereRequired, Principal::Any, Progress::Idles, Group::Ends),
    rule(Verb::Quit, ANYWHERE, Tls::Never, Principal::Any, Progress::Resets, Group::Ends),
    rule(Verb::Unknown, ANYWHERE, Tls::WhereRequired, Principal::Any, Progress::Idles, Group::Ends),
];

/// One argument for each column of the table, so that its rows read as rows.
const fn rule(
    verb: Verb,
    places: &'static [Place],
    tls: Tls,
    principal: Principal,
    progress: Progress,
    group: Group,
) -> Rule {
    Rule { verb, places, tls, principal, progress, group }
}

/// Whether a verb is allowed for a session that stands so. TLS is asked for first, then EHLO, then
/// signing in, then the order: the first thing that the client has to change is the one it is told.
pub(super) fn check(verb: Verb, standing: Standing) -> Result<(), Illegal> {
    let rule = row(verb);
    let needs_tls = match rule.tls {
        Tls::Never => false,
        Tls::WhereRequired => standing.mode != TlsMode::Offered,
        // A listener that never signs anybody in need not send anybody through TLS for it.
        Tls::UnlessClear => {
            let in_clear = standing.offer == AuthOffer::Never || standing.clear == ClearSignIn::Allowed;
            standing.mode != TlsMode::Offered || !in_clear
        }
    };
    if needs_tls && !standing.encrypted {
        return Err(Illegal::TlsFirst);
    }
    if rule.principal == Principal::NotYet && standing.signed_in {
        return Err(Illegal::SignedInAlready);
    }
    let placed = rule.places.contains(&standing.place);
    if standing.place == Place::Greeting && !placed {
        return Err(Illegal::HelloFirst);
    }
    let must_sign_in = rule.principal == Principal::WhereMandatory && standing.offer == AuthOffer::Mandatory;
    if must_sign_in && !standing.signed_in {
        return Err(Illegal::SignInFirst);
    }
    if !placed {
        return Err(Illegal::Misplaced(standing.place));
    }
    Ok(())
}

/// What a verb does to an open transaction.
pub(super) fn progress(verb: Verb) -> Progress {
    row(verb).progress
}

/// Whether the replies so far must be sent before more is read.
pub(super) fn ends_group(verb: Verb) -> bool {
    row(verb).group == Group::Ends
}

fn row(verb: Verb) -> &'static Rule {
    // `every_verb_has_exactly_one_row` proves that the fallback, the row of unknown verbs, is never taken by a known one.
    TABLE.iter().find(|rule| rule.verb == verb).unwrap_or(&TABLE[TABLE.len() - 1])
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/smtp-verbs.md");

    #[test]
    fn every_verb_has_exactly_one_row() {
        let verbs = Verb::NAMED.iter().map(|(verb, _)| *verb).chain([Verb::Unknown]);
        for verb in verbs {
            assert_eq!(TABLE.iter().filter(|rule| rule.verb == verb).count(), 1, "{verb}");
        }
        assert_eq!(TABLE.len(), Verb::NAMED.len() + 1);
        assert_eq!(TABLE[TABLE.len() - 1].verb, Verb::Unknown);
    }

    #[test]
    fn the_page_about_the_verbs_is_up_to_date() {
        let rendered = render();
        if std::env::var_os("POSTERN_BLESS").is_some() {
            std::fs::write(PAGE, &rendered).unwrap();
        }
        let on_disk = std::fs::read_to_string(PAGE).unwrap_or_default();
        assert_eq!(on_disk, rendered, "run the tests with POSTERN_BLESS=1 to write it anew");
    }

    fn render() -> String {
        let mut page = String::from(INTRODUCTION);
        for rule in TABLE {
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} | {} | {} |",
                if rule.verb == Verb::Unknown {
                    "anything else".to_owned()
                } else {
                    format!("`{}`", rule.verb)
                },
                places(rule.places),
                tls(rule.tls),
                principal(rule.principal),
                progress(rule.progress),
                if rule.group == Group::Ends { "ends it" } else { "" },
            );
        }
        page
    }

    fn places(places: &[Place]) -> String {
        if places.len() == ANYWHERE.len() {
            return "at any time".to_owned();
        }
        let names = places.iter().map(|place| match place {
            Place::Greeting => "before EHLO",
            Place::Ready => "between transactions",
            Place::Sender => "after MAIL",
            Place::Recipients => "after an accepted RCPT",
            Place::Chunks => "between chunks",
        });
        names.collect::<Vec<_>>().join(", ")
    }

    fn tls(tls: Tls) -> &'static str {
        match tls {
            Tls::Never => "",
            Tls::WhereRequired => "where the listener requires it",
            Tls::UnlessClear => "always, but for device listeners that are told to do without",
        }
    }

    fn principal(principal: Principal) -> &'static str {
        match principal {
            Principal::Any => "",
            Principal::WhereMandatory => "on submission listeners",
            Principal::NotYet => "not signed in yet",
        }
    }

    fn progress(progress: Progress) -> &'static str {
        match progress {
            Progress::Advances => "advances it",
            Progress::Idles => "leaves it alone",
            Progress::Resets => "ends it",
        }
    }

    const INTRODUCTION: &str = "\
# Which SMTP command is allowed when

This page is rendered from `crates/smtp/src/server/table.rs`, the table that every session asks before it looks at a
command's arguments; a test fails when the two differ. The replies are listed in [replies.md](replies.md).

- **When**: elsewhere the answer is 503.
- **TLS first**: before TLS the answer is `530 5.7.0 Must issue a STARTTLS command first (starttls-first)`.
- **Signed in**: otherwise the answer to MAIL is `530 5.7.0 Authentication required (sign-in-first)`. After TLS, EHLO
  must be said again and nobody is signed in, whatever was said before.
- **Transaction**: commands that do not advance one are counted; a session that says nothing else for too long is
  ended with 421. The count begins anew with each message that is accepted.
- **Pipelined group**: the client must wait for the reply before it sends more (RFC 2920 §3.1). Bytes that came behind
  STARTTLS, or behind a DATA that was refused, end the session: nobody can tell any more what they were meant to be.

| verb | when | TLS first | signed in | transaction | pipelined group |
|---|---|---|---|---|---|
";
}
