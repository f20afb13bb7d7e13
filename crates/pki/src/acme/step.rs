//! What happens on the way to a certificate, one value for each step: the story of an order is a list of them.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{ChallengeKind, Problem};

/// Hears of each step when it is done.
pub type Tell = dyn Fn(Step) + Send + Sync;

/// One step of an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Step {
    /// An account was made at the CA.
    AccountMade {
        /// Its address there.
        url: String,
    },
    /// The account that we had is not to be used any more; its file was set aside.
    AccountLost {
        /// Why.
        why: String,
    },
    /// The CA has other contact addresses now.
    ContactChanged,
    /// The CA does not take the order as a replacement of the old certificate (RFC 9773 §5); it is placed as a new one.
    NotReplacing {
        /// Why.
        why: String,
    },
    /// The CA took the order.
    Ordered {
        /// The order's address.
        url: String,
    },
    /// The CA has a proof of this name from before.
    ProvedBefore {
        /// The name.
        name: String,
    },
    /// The answer to a challenge is up.
    Prepared {
        /// The name.
        name: String,
        /// What kind of challenge it is.
        challenge: ChallengeKind,
    },
    /// The answer to a challenge could not be put up.
    NotPrepared {
        /// The name.
        name: String,
        /// Why.
        why: String,
    },
    /// The CA was told to look.
    Asked {
        /// The name.
        name: String,
    },
    /// The CA is convinced.
    Proved {
        /// The name.
        name: String,
    },
    /// The CA is not convinced.
    NotProved {
        /// The name.
        name: String,
        /// Why, when it says so.
        problem: Option<Problem>,
    },
    /// The answer to a challenge is down again.
    CleanedUp {
        /// The name.
        name: String,
    },
    /// The answer to a challenge is still up.
    NotCleanedUp {
        /// The name.
        name: String,
        /// Why.
        why: String,
    },
    /// The CA has the certificate request.
    Requested,
    /// The certificate is here.
    Issued,
    /// The certificate is in the store.
    Installed {
        /// What it is, for people.
        what: String,
    },
    /// The certificate was not installed.
    NotInstalled {
        /// Why.
        why: String,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AccountMade { url } => write!(f, "account made: {url}"),
            Self::AccountLost { why } => write!(f, "the account cannot be used any more: {why}"),
            Self::ContactChanged => f.write_str("contact addresses changed at the CA"),
            Self::NotReplacing { why } => write!(f, "placed as a new order, not as a replacement: {why}"),
            Self::Ordered { url } => write!(f, "ordered: {url}"),
            Self::ProvedBefore { name } => write!(f, "{name}: proved before"),
            Self::Prepared { name, challenge } => write!(f, "{name}: ready for {challenge}"),
            Self::NotPrepared { name, why } => write!(f, "{name}: could not be made ready: {why}"),
            Self::Asked { name } => write!(f, "{name}: the CA was told to look"),
            Self::Proved { name } => write!(f, "{name}: proved"),
            Self::NotProved { name, problem: Some(problem) } => write!(f, "{name}: not proved: {problem}"),
            Self::NotProved { name, problem: None } => {
                write!(f, "{name}: not proved; the CA does not say why")
            }
            Self::CleanedUp { name } => write!(f, "{name}: cleaned up"),
            Self::NotCleanedUp { name, why } => write!(f, "{name}: could not be cleaned up: {why}"),
            Self::Requested => f.write_str("the CA has the certificate request"),
            Self::Issued => f.write_str("the certificate is here"),
            Self::Installed { what } => write!(f, "installed: {what}"),
            Self::NotInstalled { why } => write!(f, "not installed: {why}"),
        }
    }
}
