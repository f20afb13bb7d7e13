//! The table of rows: one small function for each trouble, in the order in which they are asked.
//!
//! A row looks at one session and says what it finds, or nothing. The first that is certain wins; where none is, the surest,
//! and among equals the first. So a row may leave a doubt to those behind it.
//!
//! The types to know: [`ROWS`], [`Found`]. What it deliberately does not do: hold texts for people beyond what happened in
//! this session.

mod ends;
mod policy;
mod protocol;
mod signing_in;
mod tls;

use super::sight::Sight;
use super::{Cause, Confidence};

/// What a row found.
pub(super) struct Found {
    pub(super) cause: Cause,
    pub(super) confidence: Confidence,
    pub(super) explanation: String,
}

/// A row.
pub(super) type Row = fn(&Sight<'_>) -> Option<Found>;

/// All rows. What came first in the session comes first here; what follows from something else comes behind it.
pub(super) const ROWS: &[Row] = &[
    ends::turned_away,
    protocol::http,
    protocol::garbled,
    tls::at_once_where_it_begins_in_clear,
    tls::late_hello,
    tls::no_identity,
    tls::clear_where_it_begins_with_tls,
    tls::nothing_in_common,
    tls::rejected_certificate,
    tls::demanded_certificate,
    tls::antivirus,
    tls::cut_short,
    tls::failed_otherwise,
    tls::clear_behind_starttls,
    protocol::other_protocol,
    signing_in::failed,
    signing_in::refused,
    policy::tokens,
    policy::malformed,
    ends::in_content,
    tls::name_not_borne,
    tls::left_after_handshake,
    signing_in::broken_off,
    tls::starttls_hidden,
    ends::said_nothing,
    ends::sent_away,
    policy::follow_ups,
    ends::midway,
];

/// It leaves nothing else.
#[allow(clippy::unnecessary_wraps, reason = "it is what a row returns")]
fn certain(cause: Cause, explanation: impl Into<String>) -> Option<Found> {
    Some(Found { cause, confidence: Confidence::Certain, explanation: explanation.into() })
}

/// It is the usual reason.
#[allow(clippy::unnecessary_wraps, reason = "it is what a row returns")]
fn likely(cause: Cause, explanation: impl Into<String>) -> Option<Found> {
    Some(Found { cause, confidence: Confidence::Likely, explanation: explanation.into() })
}

/// It fits.
#[allow(clippy::unnecessary_wraps, reason = "it is what a row returns")]
fn possible(cause: Cause, explanation: impl Into<String>) -> Option<Found> {
    Some(Found { cause, confidence: Confidence::Possible, explanation: explanation.into() })
}
