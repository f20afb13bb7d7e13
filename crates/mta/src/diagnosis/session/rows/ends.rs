//! How a session ended, where nothing else tells what went wrong.

use postern_smtp::server::{CloseReason, Said};

use super::{Found, certain, likely};
use crate::diagnosis::session::Cause;
use crate::diagnosis::session::sight::Sight;
use crate::session::{End, Stage};

/// There was no session.
pub(super) fn turned_away(sight: &Sight<'_>) -> Option<Found> {
    let End::TurnedAway { reason, token } = &sight.facts.end else { return None };
    let cause = token.as_deref().and_then(Cause::behind).unwrap_or(Cause::LocalError);
    certain(cause, format!("the client was turned away: {reason}"))
}

/// The message was under way.
pub(super) fn in_content(sight: &Sight<'_>) -> Option<Found> {
    if sight.stage() != Some(Stage::Content) {
        return None;
    }
    let octets = sight.facts.dialogue.lines().filter_map(|line| match line.said {
        Said::Content { octets } => Some(octets),
        _ => None,
    });
    let after = octets.last().map(|octets| format!(" after {octets} octets")).unwrap_or_default();
    match &sight.facts.end {
        End::Lost { error, .. } => certain(
            Cause::LostInContent,
            format!("the connection broke in the middle of the message{after}: {error}"),
        ),
        End::Closed { reason: CloseReason::ClientLeft, .. } => certain(
            Cause::LostInContent,
            format!("the client closed the connection in the middle of the message{after}"),
        ),
        End::Closed { reason: CloseReason::TimedOut, .. } => {
            certain(Cause::StoppedMidway, format!("the message stopped{after}, and nothing more came"))
        }
        _ => None,
    }
}

/// It never said a word.
pub(super) fn said_nothing(sight: &Sight<'_>) -> Option<Found> {
    if !sight.is_mute() || sight.facts.tls_fault.is_some() {
        return None;
    }
    match &sight.facts.end {
        End::Closed { reason: CloseReason::TimedOut, .. } => certain(
            Cause::SilentClient,
            format!("the client got the greeting and said nothing for {} s", sight.facts.lasted / 1000),
        ),
        End::Closed { reason: CloseReason::ClientLeft, .. } | End::Lost { .. }
            if !sight.waited_for_a_banner() =>
        {
            certain(Cause::PortScan, "the client connected and left without a word")
        }
        _ => None,
    }
}

/// We ended it.
pub(super) fn sent_away(sight: &Sight<'_>) -> Option<Found> {
    let End::Closed { reason, stage } = sight.facts.end else { return None };
    let idle = sight.facts.accepted > 0 || sight.facts.user.is_some() && stage != Stage::Transaction;
    match reason {
        _ if idle => None,
        CloseReason::TimedOut if sight.refused_with("session-too-long").is_some() => certain(
            Cause::SessionTooLong,
            format!("the session had lasted {} s and was not done", sight.facts.lasted / 1000),
        ),
        CloseReason::TimedOut => {
            likely(Cause::StoppedMidway, format!("the client stopped {}", where_it_stood(stage)))
        }
        CloseReason::Drained => certain(Cause::ShuttingDown, "the server shut down during the session"),
        _ => None,
    }
}

/// It went away before it was done.
pub(super) fn midway(sight: &Sight<'_>) -> Option<Found> {
    match &sight.facts.end {
        End::Lost { error, stage } if *stage != Stage::Done => {
            likely(Cause::ConnectionLost, format!("the connection broke {}: {error}", where_it_stood(*stage)))
        }
        End::Closed { reason: CloseReason::ClientLeft | CloseReason::Quit, stage: Stage::Transaction }
            if sight.facts.accepted == 0 =>
        {
            likely(Cause::StoppedMidway, "the client left with a transaction open")
        }
        _ => None,
    }
}

fn where_it_stood(stage: Stage) -> &'static str {
    match stage {
        Stage::Greeting => "before it had said EHLO",
        Stage::Hello => "after EHLO",
        Stage::SigningIn => "in the middle of its sign-in",
        Stage::Transaction => "with a transaction open",
        Stage::Content => "in the middle of the message",
        Stage::Done => "after its mail was taken",
    }
}
