//! Why somebody could not sign in, as far as the remedy differs: what events and the facts of sessions keep.
//!
//! [`SignInFault`] is coarser than [`Why`] where the remedy is the same, and wider: what limits refuse is in it too.
//!
//! What it deliberately does not do: say anything to the client, who hears the same for all of them.

use serde::{Deserialize, Serialize};

use super::{Denied, Why};

/// Why somebody could not sign in, as far as the remedy differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum SignInFault {
    /// Nobody has the name.
    UnknownUser,
    /// The name lacks its domain: with one of ours it would be somebody's.
    NameWithoutDomain,
    /// The name has a domain that is none of the directory's; without it, it would be somebody's.
    NameWithWrongDomain,
    /// The password is wrong. The name is somebody's.
    WrongPassword,
    /// The password is wrong, or the name is nobody's: nothing shows which.
    WrongOrUnknown,
    /// The name cannot be anybody's.
    UnusableName,
    /// The account may not be used.
    Disabled,
    /// The password is right, but only app passwords count.
    AppPasswordNeeded,
    /// The account is banned.
    Banned,
    /// Too many wrong passwords were tried, so that this one was not looked at.
    TooManyGuesses,
    /// Failures come faster than they are looked at, or too many wait already.
    TooFast,
    /// The access token is no good.
    BadToken,
    /// The proof is right, but is not for acting as somebody else.
    ActingAs,
    /// The proof was given on another channel: somebody stands between, or the program is broken.
    OtherChannel,
    /// The certificate is nobody's.
    CertificateOfNobody,
    /// No directory judges proofs of this kind.
    NotJudgedHere,
    /// The directory is out of order.
    DirectoryDown,
}

impl SignInFault {
    /// Whether nobody can fail so with a name of his own making: the account exists.
    pub(crate) fn shows_an_account(self) -> bool {
        matches!(self, Self::WrongPassword | Self::Disabled | Self::AppPasswordNeeded | Self::ActingAs)
    }
}

impl From<&Denied> for SignInFault {
    fn from(denied: &Denied) -> Self {
        let Denied::Refused(why) = denied else { return Self::DirectoryDown };
        match why {
            Why::UnknownUser => Self::UnknownUser,
            Why::WrongPassword => Self::WrongPassword,
            Why::WrongOrUnknown | Why::NoProof => Self::WrongOrUnknown,
            Why::UnusableName => Self::UnusableName,
            Why::Disabled | Why::Account(_) | Why::SeveralEntries => Self::Disabled,
            Why::AppPasswordNeeded => Self::AppPasswordNeeded,
            Why::Banned(_) => Self::Banned,
            Why::ActingAs => Self::ActingAs,
            Why::BadToken(_) => Self::BadToken,
            Why::NotJudgedHere => Self::NotJudgedHere,
            Why::VoidProof(_) => Self::OtherChannel,
            Why::CertificateOfNobody => Self::CertificateOfNobody,
        }
    }
}
