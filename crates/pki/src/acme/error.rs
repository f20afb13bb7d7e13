//! Why there is no certificate: whose fault it is, in the CA's words and ours, and what to do.

use std::path::PathBuf;

use postern_smtp::text;

use super::{About, ChallengeKind, Fault, Problem, ProblemKind, RetryAfter, TransportError};
use crate::Error;

/// Of another program's words, so many octets are kept.
const WORDS_MOST: usize = 300;

/// Why an account, an order or renewal information could not be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcmeError {
    /// The CA cannot be reached, or what answers is no ACME server.
    #[error("{0}")]
    Transport(TransportError),
    /// The CA refuses the account, the order or the request.
    #[error("{doing}: {problem}")]
    Refused {
        /// What was being done.
        doing: &'static str,
        /// What the CA says.
        problem: Box<Problem>,
        /// When it wants to be asked again.
        retry_after: Option<RetryAfter>,
    },
    /// Some names could not be proved. The others are not to blame.
    #[error("{}", list(.0))]
    Names(Vec<NameFault>),
    /// The CA needs longer than we wait.
    #[error("the CA was not ready after {0} minutes: {1}")]
    TooSlow(u64, &'static str),
    /// The CA does not follow the protocol.
    #[error("the CA does not keep to the protocol: {0}")]
    Protocol(String),
    /// The account's file cannot be read or is not one of ours.
    #[error("{path}: holds no account: {reason}")]
    AccountFile {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// A local trouble with files or keys.
    #[error(transparent)]
    Local(#[from] Error),
    /// Postern shuts down; the answers to challenges are down.
    #[error("broken off: Postern shuts down")]
    Stopped,
}

/// Why one name could not be proved.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name}: {what}")]
pub struct NameFault {
    /// The name.
    pub name: String,
    /// Why, in one sentence.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl AcmeError {
    /// What to do about it.
    pub fn remedy(&self) -> String {
        match self {
            Self::Transport(error) => of_transport(error.fault).to_owned(),
            Self::Refused { problem, .. } => problem.remedy(About::Order),
            Self::Names(faults) => {
                faults.iter().map(|fault| fault.remedy.as_str()).collect::<Vec<_>>().join("; ")
            }
            Self::TooSlow(..) => {
                "nothing: it is tried again by itself; look at the CA's status page".to_owned()
            }
            Self::Protocol(_) => {
                "see whether directory is the address of an ACME server (RFC 8555)".to_owned()
            }
            Self::AccountFile { path, .. } => {
                format!("put it back from a backup, or remove {}: then a new account is made", path.display())
            }
            Self::Local(_) => "mend what the message names; it is tried again by itself".to_owned(),
            Self::Stopped => "nothing: it is tried again after the start".to_owned(),
        }
    }

    /// When the CA wants to be asked again, if it said so.
    pub fn retry_after(&self) -> Option<RetryAfter> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Whether the CA says that our account is none: it forgot it, or it was deactivated (RFC 8555 §7.3.6).
    pub(super) fn is_of_account(&self) -> bool {
        use ProblemKind::{AccountDoesNotExist, Unauthorized};
        matches!(self, Self::Refused { problem, .. } if matches!(problem.kind(), AccountDoesNotExist | Unauthorized))
    }

    /// From the library, at what was being done.
    pub(super) fn of(
        doing: &'static str,
        error: instant_acme::Error,
        retry_after: Option<RetryAfter>,
    ) -> Self {
        match error {
            instant_acme::Error::Api(problem) => {
                Self::Refused { doing, problem: Box::new(Problem::from(&problem)), retry_after }
            }
            instant_acme::Error::Other(error) => match error.downcast::<TransportError>() {
                Ok(error) => Self::Transport(*error),
                Err(error) => Self::Protocol(format!("{doing}: {}", text::clean(error, WORDS_MOST))),
            },
            error => Self::Protocol(format!("{doing}: {}", text::clean(error, WORDS_MOST))),
        }
    }
}

impl NameFault {
    /// The CA is not convinced.
    pub(super) fn of_problem(name: &str, challenge: ChallengeKind, problem: Option<&Problem>) -> Self {
        let (what, remedy) = match problem {
            Some(problem) => (problem.to_string(), problem.remedy(About::Name(name, challenge))),
            None => (
                "the CA does not say why".to_owned(),
                "nothing: it is tried again by itself; if it lasts, look at the CA's status page".to_owned(),
            ),
        };
        Self { name: name.to_owned(), what: format!("not proved by {challenge}: {what}"), remedy }
    }

    /// We could not put up the answer.
    pub(super) fn of_solver(name: &str, challenge: ChallengeKind, why: &str) -> Self {
        let remedy = match challenge {
            ChallengeKind::Dns01 => "mend what the message says of the zone, its server or the hook",
            ChallengeKind::Http01 | ChallengeKind::TlsAlpn01 => "mend what the message says of the listener",
        };
        let what = format!("could not be made ready for {challenge}: {}", text::clean(why, 1000));
        Self { name: name.to_owned(), what, remedy: remedy.to_owned() }
    }
}

fn of_transport(fault: Fault) -> &'static str {
    match fault {
        Fault::Untrusted => {
            "if it is a CA of your own, set trust in the [[acme]] section to its root's PEM file; else look at the \
             network: somebody may be in between"
        }
        Fault::Unreachable => "see that this machine can reach the CA by HTTPS; it is tried again by itself",
        Fault::NotAcme => {
            "mend directory in the [[acme]] section: the CA's documentation names the right address"
        }
    }
}

fn list(faults: &[NameFault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}
