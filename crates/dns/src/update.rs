//! Changing a zone of ours: one TXT record is added or deleted, by dynamic update (RFC 2136) signed with TSIG (RFC 8945).
//!
//! That is how the proof gets into the DNS that a certificate authority asks for. The types to know:
//! - [`Zone`]: the server that takes updates, the zone, and the [`TsigKey`] that may change it. [`Zone::add_txt`] and
//!   [`Zone::delete_txt`] change one member of a set of records and leave the others alone.
//! - [`Zone::until_visible`]: waits until all of the zone's name servers show the record ([`Seen`]).
//! - [`follow`]: where the record must stand if its name is an alias.
//! - [`UpdateError`]: which server, and an [`UpdateFault`] that says what to mend.
//!
//! Nothing that the server says is believed unless the same key has signed it. Updates go over TCP, and over UDP where
//! nothing listens there.
//!
//! What it deliberately does not do: change records of other types, set conditions, send updates without a signature, use
//! HMAC-MD5 or HMAC-SHA1, or find out which server is the primary one.

mod exchange;
mod fault;
mod key;
mod visible;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use domain::base::name::ToName;
use domain::base::{Rtype, Ttl};
use domain::rdata::Txt as TxtData;
use jiff::Timestamp;
use tokio::time::timeout;

use crate::message::{self, WireName};
use crate::{LookupError, Resolver};
use exchange::{Answer, Change, Record};

pub use fault::{UpdateError, UpdateFault};
pub use key::{KeyError, TsigAlgorithm, TsigKey};
pub use visible::{Seen, Sight};

/// Aliases followed before a chain counts as endless.
const MAX_ALIASES: usize = 8;

/// The longest text of a record that is one string (RFC 1035 §3.3), in octets.
const MAX_TEXT: usize = 255;

/// A zone that we may change.
#[derive(Debug, Clone)]
pub struct Zone {
    /// The server that takes updates: the zone's primary one.
    pub server: SocketAddr,
    /// The zone's name; where there is none, the server is asked in which of its zones a record would be.
    pub name: Option<String>,
    /// What signs the updates.
    pub key: TsigKey,
}

/// A TXT record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Txt {
    /// Its owner in A-labels, with or without a last dot: `_acme-challenge.mail.example.org`.
    pub name: String,
    /// Its text: 1 to 255 printable ASCII characters.
    pub value: String,
    /// How long others may remember it, whole seconds. All TXT records of one name have the same; servers see to that.
    pub ttl: Duration,
}

impl Zone {
    /// Adds the record beside those that are there (RFC 2136 §2.5.1), and gives the zone's name. That it is there already
    /// is no error. `time` is for all of it.
    ///
    /// # Errors
    /// [`UpdateError`]. After [`UpdateFault::Silent`] and [`UpdateFault::NotGenuine`] nobody knows whether the record is there.
    ///
    /// # Cancel safety
    /// May be dropped at any time; the record may be there or not. Doing it again does no harm.
    pub async fn add_txt(&self, txt: &Txt, now: Timestamp, time: Duration) -> Result<String, UpdateError> {
        self.within(time, self.change(Change::Add, txt, now)).await
    }

    /// Deletes this record and no other (RFC 2136 §2.5.4), and gives the zone's name. That there is none is no error. `time`
    /// is for all of it.
    ///
    /// # Errors
    /// As for [`Zone::add_txt`].
    ///
    /// # Cancel safety
    /// As for [`Zone::add_txt`].
    pub async fn delete_txt(&self, txt: &Txt, now: Timestamp, time: Duration) -> Result<String, UpdateError> {
        self.within(time, self.change(Change::Delete, txt, now)).await
    }

    async fn change(&self, change: Change, txt: &Txt, now: Timestamp) -> Result<String, UpdateFault> {
        let owner = name(&txt.name)?;
        let text = text(&txt.value)?;
        let zone = self.zone_of(&owner, now).await?;
        if !owner.ends_with(&zone) {
            return Err(UpdateFault::NotInZone { name: owner.to_string(), zone: zone.to_string() });
        }
        let ttl = Ttl::from_secs(u32::try_from(txt.ttl.as_secs()).unwrap_or(u32::MAX).min(i32::MAX as u32));
        let draft = exchange::update(&zone, change, &Record { owner: &owner, ttl, text: &text })?;
        let answer = exchange::signed(self.server, &self.key, draft, now).await?;
        fault::judge(answer.code, &zone, &owner, &self.key)?;
        Ok(zone.to_string())
    }

    /// The zone that a name is in: the one given, or what the server says.
    async fn zone_of(&self, owner: &WireName, now: Timestamp) -> Result<WireName, UpdateFault> {
        if let Some(zone) = &self.name {
            return name(zone);
        }
        // A name that is an alias has no SOA record beside it: then its parent is asked for.
        let mut asked: Option<WireName> = Some(owner.clone());
        while let Some(about) = asked.filter(|about| !about.is_root()) {
            let answer = self.ask(&about, Rtype::SOA, now).await?;
            if let Some(zone) = answer.zone().filter(|zone| owner.ends_with(zone)) {
                return Ok(zone);
            }
            if !answer.has_alias() {
                break;
            }
            asked = about.parent().map(|parent| parent.to_name());
        }
        Err(UpdateFault::NoZone { name: owner.to_string() })
    }

    /// Asks the server itself. Signed, since the key may be what chooses the view.
    async fn ask(&self, about: &WireName, rtype: Rtype, now: Timestamp) -> Result<Answer, UpdateFault> {
        exchange::signed(self.server, &self.key, exchange::question(about, rtype)?, now).await
    }

    async fn within<T>(
        &self,
        time: Duration,
        work: impl Future<Output = Result<T, UpdateFault>>,
    ) -> Result<T, UpdateError> {
        let done = timeout(time, work).await.unwrap_or(Err(UpdateFault::Silent { time }));
        done.map_err(|fault| UpdateError { server: self.server, fault })
    }
}

/// Where a record must stand for all to see it: the name itself, or what it is an alias of, however many there are.
///
/// # Errors
/// [`LookupError`]; that a name has no alias, or is not there yet, is no error.
pub async fn follow(resolver: &dyn Resolver, name: &str) -> Result<String, LookupError> {
    let mut owner = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    for _ in 0..MAX_ALIASES {
        match resolver.alias(&owner).await {
            Ok(answer) => owner = answer.records,
            Err(error) if error.is_negative() => return Ok(owner),
            Err(error) => return Err(error),
        }
    }
    Err(LookupError::Temporary(format!("{name}: an endless chain of aliases")))
}

fn name(name: &str) -> Result<WireName, UpdateFault> {
    message::wire_name(name).map_err(|error| UpdateFault::BadName(error.to_string()))
}

fn text(value: &str) -> Result<TxtData<Vec<u8>>, UpdateFault> {
    let is_good =
        (1..=MAX_TEXT).contains(&value.len()) && value.bytes().all(|octet| matches!(octet, b' '..=b'~'));
    let text = is_good.then(|| TxtData::build_from_slice(value.as_bytes()).ok()).flatten();
    text.ok_or(UpdateFault::BadValue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_text_of_one_readable_string_is_published() {
        assert!(
            text("-9dSXLnoOKUnuzbDVjS1TkA4Ybsn3cZbPuqkyNZXdnI").is_ok() && text(&"x".repeat(255)).is_ok()
        );
        for bad in ["", "a\nb", "gr\u{fc}n", &"x".repeat(256)] {
            assert_eq!(text(bad), Err(UpdateFault::BadValue), "{bad:?}");
        }
    }
}
