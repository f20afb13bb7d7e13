//! Whether all name servers of a zone show a record yet.
//!
//! An authority asks any of them, so the slowest counts. [`Zone::until_visible`] asks the primary server which they are, and
//! then each of them at each of its addresses again and again. One that never answers is not waited for as long as another
//! shows the record: an authority will not wait for it either.
//!
//! All are asked on the port of the primary server. That is 53 everywhere but in a laboratory.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use domain::base::{ParsedName, Rtype};
use domain::rdata::Ns;
use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::{Instant, sleep, timeout_at};

use super::{Txt, UpdateError, UpdateFault, Zone, name};
use crate::message::{self, Checking, Kind, TXT, WireName};
use crate::upstream::Upstream;
use crate::{Dnssec, LookupError, Resolver};

/// So many name servers are asked, at so many addresses each.
const SERVERS_MOST: usize = 13;
const ADDRESSES_MOST: usize = 4;

/// How long one answer may take, and how often in a row a server may fail before it is no longer asked.
const ANSWER: Duration = Duration::from_secs(3);
const FAILURES_MOST: usize = 3;

/// The pause between two questions to one server: it doubles from the first to the last.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(5);

const NS: Kind<String> = Kind::new(Rtype::NS, |record| {
    let record = record.to_record::<Ns<ParsedName<_>>>().ok()??;
    Some(record.data().nsdname().to_string().to_ascii_lowercase())
});

/// One name server at one address, and what it showed at last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its name.
    pub server: String,
    /// Where it was asked; `None` when its name leads nowhere.
    pub address: Option<SocketAddr>,
    /// What it showed.
    pub sight: Sight,
}

/// What a name server shows of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// The record is there.
    There,
    /// It answers, and the record is not there.
    Missing,
    /// It does not answer, and why not.
    Unanswered(String),
}

/// As in `ns1.example.org (192.0.2.1:53) shows it`.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.server)?;
        if let Some(address) = self.address {
            write!(f, " ({address})")?;
        }
        match &self.sight {
            Sight::There => f.write_str(" shows it"),
            Sight::Missing => f.write_str(" does not show it"),
            Sight::Unanswered(why) => write!(f, " does not answer: {why}"),
        }
    }
}

impl Zone {
    /// Waits until every name server of the zone that answers shows the record, for `time` at most, and says what each of
    /// them showed. The resolver knows their addresses.
    ///
    /// # Errors
    /// [`UpdateError`]; [`UpdateFault::NotVisible`] when one does not show it in time, or when none answers.
    ///
    /// # Cancel safety
    /// May be dropped at any time.
    pub async fn until_visible(
        &self,
        txt: &Txt,
        resolver: &dyn Resolver,
        now: Timestamp,
        time: Duration,
    ) -> Result<Vec<Seen>, UpdateError> {
        let until = Instant::now() + time;
        let servers = self.within(time, self.name_servers(txt, now)).await?;
        let found = join_all(servers.iter().map(|server| self.addresses(server, resolver, until))).await;
        let watched = found.into_iter().flatten().map(|seen| watch(seen, txt, until));
        let seen = join_all(watched).await;
        let is_shown = seen.iter().any(|seen| seen.sight == Sight::There);
        if is_shown && !seen.iter().any(|seen| seen.sight == Sight::Missing) {
            return Ok(seen);
        }
        let late = seen.iter().filter(|seen| seen.sight != Sight::There).map(ToString::to_string).collect();
        Err(UpdateError { server: self.server, fault: UpdateFault::NotVisible(late) })
    }

    async fn name_servers(&self, txt: &Txt, now: Timestamp) -> Result<Vec<String>, UpdateFault> {
        let zone = self.zone_of(&name(&txt.name)?, now).await?;
        let answer = self.ask(&zone, Rtype::NS, now).await?;
        let read = |message| message::read(message, &zone, &NS, Dnssec::Indeterminate).ok();
        let not_primary = || UpdateFault::NotPrimary { zone: zone.to_string() };
        let mut servers = answer.message.as_ref().and_then(read).ok_or_else(not_primary)?.records;
        servers.truncate(SERVERS_MOST);
        Ok(servers)
    }

    /// Where a name server is; where it has no address, that is what there is to see.
    async fn addresses(&self, server: &str, resolver: &dyn Resolver, until: Instant) -> Vec<Seen> {
        let late = || LookupError::Temporary("no answer in time".to_owned());
        let found = timeout_at(until, resolver.addresses(server)).await.unwrap_or_else(|_| Err(late()));
        let seen = |address, sight| Seen { server: server.to_owned(), address, sight };
        match found {
            Ok(answer) => {
                let addresses = answer.records.into_iter().take(ADDRESSES_MOST);
                let places = addresses.map(|address| SocketAddr::new(address, self.server.port()));
                let unasked = || Sight::Unanswered("no answer in time".to_owned());
                places.map(|place| seen(Some(place), unasked())).collect()
            }
            Err(error) => vec![seen(None, Sight::Unanswered(format!("it has no address: {error}")))],
        }
    }
}

/// Asks one server until it shows the record, is given up, or the time is over.
async fn watch(mut seen: Seen, txt: &Txt, until: Instant) -> Seen {
    let (Some(address), Ok(owner)) = (seen.address, message::wire_name(&txt.name)) else { return seen };
    let server = Upstream::new(&[address], ANSWER);
    let (mut pause, mut failures) = (FIRST_PAUSE, 0);
    let watching = async {
        while failures < FAILURES_MOST {
            seen.sight = look(&server, &owner, &txt.value).await;
            failures = match &seen.sight {
                Sight::There => return,
                Sight::Missing => 0,
                Sight::Unanswered(_) => failures + 1,
            };
            sleep(pause).await;
            pause = (pause * 2).min(LAST_PAUSE);
        }
    };
    // What was seen until then counts.
    let _ = timeout_at(until, watching).await;
    seen
}

async fn look(server: &Upstream, owner: &WireName, value: &str) -> Sight {
    match texts(server, owner).await {
        Ok(texts) if texts.iter().any(|text| text == value) => Sight::There,
        Ok(_) => Sight::Missing,
        Err(error) if error.is_negative() => Sight::Missing,
        Err(error) => Sight::Unanswered(error.to_string()),
    }
}

async fn texts(server: &Upstream, owner: &WireName) -> Result<Vec<String>, LookupError> {
    let question = message::question(owner, Rtype::TXT, Checking::Disabled)?;
    let asked = server.ask_server(0, &question).await?;
    if !message::is_conclusive(&asked.answer) {
        return Err(LookupError::Temporary(message::failure(&asked.answer)));
    }
    Ok(message::read(&asked.answer, owner, &TXT, Dnssec::Indeterminate)?.records)
}
