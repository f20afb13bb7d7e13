//! Why an update was not made, and what to mend.
//!
//! [`UpdateError`] names the server, [`UpdateFault`] what it said. [`judge`] reads the code of an answer, [`refusal`]
//! what is wrong with a signature.

use std::net::SocketAddr;
use std::time::Duration;

use domain::base::iana::Rcode;
use domain::tsig::ValidationError;

use super::key::TsigKey;
use crate::message::WireName;

/// An update, or a question on the way to it, that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the name server {server} {fault}")]
pub struct UpdateError {
    /// The server that was asked.
    pub server: SocketAddr,
    /// What went wrong.
    pub fault: UpdateFault,
}

/// What went wrong. Reads on from "the name server …".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UpdateFault {
    /// Ours: a name that cannot be one.
    #[error("was not asked: {0}")]
    BadName(String),
    /// Ours: a text that is empty, too long or not ASCII.
    #[error("was not asked: the text of the record must be 1 to 255 printable ASCII characters")]
    BadValue,
    /// No connection.
    #[error("cannot be reached: {0}; it must take updates over TCP or UDP at this address and port")]
    Unreachable(String),
    /// No answer in time. Whether the record was changed nobody knows.
    #[error("did not answer within {} s; whether the record was changed is not known", .time.as_secs())]
    Silent {
        /// How long it had.
        time: Duration,
    },
    /// It took the question and hung up. Whether the record was changed nobody knows.
    #[error("hung up without an answer ({0}); whether the record was changed is not known")]
    HungUp(String),
    /// BADKEY (RFC 8945 §5.2.1). Some servers also say so when the key is known, but must not do this.
    #[error(
        "does not know the key {key} with {algorithm}, or does not let it change this: compare the key's name and \
         algorithm with those at the server, then the server's rules for updates"
    )]
    UnknownKey {
        /// The key's name.
        key: String,
        /// What it is used with.
        algorithm: String,
    },
    /// BADSIG (RFC 8945 §5.2.2).
    #[error("knows the key {key}, but not with this secret: copy the secret from the server once more")]
    WrongSecret {
        /// The key's name.
        key: String,
    },
    /// BADTIME (RFC 8945 §5.2.3).
    #[error(
        "has another time than we: its clock is {} s {} ours, and 300 s are the most; set both clocks (NTP)",
        .ahead.unsigned_abs(),
        if *.ahead < 0 { "behind" } else { "ahead of" }
    )]
    Clock {
        /// How many seconds the server's clock is ahead of ours.
        ahead: i64,
    },
    /// REFUSED.
    #[error(
        "refuses to change {name} in the zone {zone}: let the key {key} update TXT records there (BIND: update-policy; \
         Knot: acl with action update)"
    )]
    Refused {
        /// The record's name.
        name: String,
        /// The zone.
        zone: String,
        /// The key's name.
        key: String,
    },
    /// NOTAUTH for another reason than the key.
    #[error("is not the primary server of a zone {zone}: name that server, or the zone that it has")]
    NotPrimary {
        /// The zone.
        zone: String,
    },
    /// The name is not below the zone's: seen here, or NOTZONE.
    #[error(
        "cannot change {name} in the zone {zone}, which it is not in: name the zone that it is in, or none"
    )]
    NotInZone {
        /// The record's name.
        name: String,
        /// The zone.
        zone: String,
    },
    /// It was asked which zone the name is in, and has none.
    #[error(
        "has no zone that {name} is in: name the primary server of that zone, or the zone if it must not be asked"
    )]
    NoZone {
        /// The record's name.
        name: String,
    },
    /// NOTIMP.
    #[error("takes no dynamic updates (RFC 2136): use another server, or a hook program")]
    Unsupported,
    /// Any other code.
    #[error("answered {code}; its log says why")]
    Failed {
        /// The code's name.
        code: String,
    },
    /// There is an answer that may be anybody's.
    #[error(
        "seems to have answered, but the answer is not to be believed ({0}); whether the record was changed is not known"
    )]
    NotGenuine(String),
    /// Some of the zone's servers do not show the record in time.
    #[error("took the record, but it cannot be seen everywhere: {}; look at the transfers of the zone", .0.join("; "))]
    NotVisible(Vec<String>),
}

/// What the code of the answer to an update means (RFC 2136 §2.2).
pub(super) fn judge(code: Rcode, zone: &WireName, name: &WireName, key: &TsigKey) -> Result<(), UpdateFault> {
    let (zone, name) = (zone.to_string(), name.to_string());
    Err(match code {
        Rcode::NOERROR => return Ok(()),
        Rcode::REFUSED => UpdateFault::Refused { name, zone, key: key.name() },
        Rcode::NOTAUTH => UpdateFault::NotPrimary { zone },
        Rcode::NOTZONE => UpdateFault::NotInZone { name, zone },
        Rcode::NOTIMP => UpdateFault::Unsupported,
        code => UpdateFault::Failed { code: code.to_string() },
    })
}

/// What it means that an answer is not signed as it should be (RFC 8945 §5.3).
pub(super) fn refusal(error: ValidationError, key: &TsigKey) -> UpdateFault {
    match error {
        ValidationError::ServerBadKey => {
            UpdateFault::UnknownKey { key: key.name(), algorithm: key.algorithm().to_string() }
        }
        ValidationError::ServerBadSig => UpdateFault::WrongSecret { key: key.name() },
        ValidationError::ServerUnsigned => UpdateFault::NotGenuine("it is not signed".to_owned()),
        ValidationError::BadTime => {
            UpdateFault::NotGenuine("its time is more than 300 s from ours: set both clocks".to_owned())
        }
        other => UpdateFault::NotGenuine(other.to_string()),
    }
}
