//! What is remembered of each device: when it was last seen, how many messages it sent, and when it last went without TLS or
//! without signing in. So an administrator sees which exceptions nobody needs any more.
//!
//! The types to know: [`DeviceLog`], the daemon's; [`DeviceView`], what `postern device list` shows. What is noted is kept in
//! memory and carried to `devices.db` every minute and at the end: a crash loses no more than that. How fast each device sends is
//! known in memory only.
//!
//! What it deliberately does not do: keep anything of a message.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};

use super::Using;
use crate::config::{Config, Device, DeviceTls, OtherSenders, SignIn};
use crate::ledger::{Layout, Ledger, LedgerError};
use crate::pace::Pace;
use postern_smtp::server::ClearSignIn;

/// The file.
const LAYOUT: Layout = Layout {
    file: "devices.db",
    migrations: &["
    CREATE TABLE device (
        name            TEXT PRIMARY KEY,
        address         TEXT NOT NULL,     -- it was last seen at
        seen            INTEGER NOT NULL,  -- seconds since 1970
        messages        INTEGER NOT NULL,
        without_tls     INTEGER,           -- when a message last came so; NULL: never
        without_sign_in INTEGER
    ) STRICT, WITHOUT ROWID;
"],
    lost: "when devices were last seen is not known any more",
};

/// What is remembered of devices, and how fast each sends. One for the whole daemon.
pub(crate) struct DeviceLog {
    ledger: Ledger,
    noted: Mutex<HashMap<String, Noted>>,
    paces: Mutex<HashMap<String, Pace>>,
}

/// What is known of one device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Noted {
    address: String,
    seen: Timestamp,
    messages: u64,
    without_tls: Option<Timestamp>,
    without_sign_in: Option<Timestamp>,
}

/// A device as an administrator sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says one thing that the device may do, and none depends on another"
)]
pub struct DeviceView {
    /// Its name.
    pub name: String,
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Why the list is so wide, where that was written.
    pub because: Option<String>,
    /// The address it sends as.
    pub sender: String,
    /// Whether other senders are replaced by that.
    pub rewrites: bool,
    /// The domains it may send to.
    pub recipient_domains: Vec<String>,
    /// Whether it may go without TLS.
    pub may_skip_tls: bool,
    /// Whether it may go without signing in.
    pub may_skip_sign_in: bool,
    /// Whether its password may cross the network in clear.
    pub may_sign_in_in_clear: bool,
    /// When a message of its last came, if ever.
    pub seen: Option<Timestamp>,
    /// From which address.
    pub seen_at: Option<String>,
    /// Messages in all.
    pub messages: u64,
    /// When a message last came without TLS.
    pub without_tls: Option<Timestamp>,
    /// When a message last came without signing in.
    pub without_sign_in: Option<Timestamp>,
}

impl DeviceLog {
    /// Opens what is in the data directory, or begins anew; the second is what was in the way.
    ///
    /// # Errors
    /// Only when not even a database in memory can be had.
    pub(crate) fn open(data_dir: &Path) -> Result<(Self, Option<LedgerError>), LedgerError> {
        let opened = Ledger::open(data_dir, &LAYOUT)?;
        Ok((Self::of(opened.ledger), opened.trouble))
    }

    fn of(ledger: Ledger) -> Self {
        Self { ledger, noted: Mutex::default(), paces: Mutex::default() }
    }

    /// How long a device has to wait until it may send another message; zero: not at all.
    pub(crate) fn wait(&self, device: &Device, now: Instant) -> Duration {
        let Some(rate) = &device.rate else { return Duration::ZERO };
        let paces = lock(&self.paces);
        paces.get(&device.name).map_or(Duration::ZERO, |pace| pace.wait(rate, now))
    }

    /// Counts a message against the device's rate. As many devices are kept as are configured.
    ///
    /// # Errors
    /// How long it has to wait: there is no room for the message now.
    pub(crate) fn take(&self, device: &Device, now: Instant) -> Result<(), Duration> {
        let Some(rate) = &device.rate else { return Ok(()) };
        let mut paces = lock(&self.paces);
        let pace = paces.entry(device.name.clone()).or_default();
        let wait = pace.wait(rate, now);
        if wait.is_zero() {
            pace.take(rate, now);
            return Ok(());
        }
        Err(wait)
    }

    /// Gives back what a message was counted as that could not be stored.
    pub(crate) fn give_back(&self, device: &Device) {
        if let (Some(rate), Some(pace)) = (&device.rate, lock(&self.paces).get(&device.name)) {
            pace.give_back(rate);
        }
    }

    /// Notes a message that was accepted.
    pub(crate) fn note(&self, using: &Using, client: IpAddr, now: Timestamp) {
        let mut noted = lock(&self.noted);
        let kept = noted.entry(using.device.clone()).or_insert_with(|| Noted::at(now));
        kept.add(&Noted {
            address: client.to_canonical().to_string(),
            seen: now,
            messages: 1,
            without_tls: (!using.tls).then_some(now),
            without_sign_in: (!using.signed_in).then_some(now),
        });
    }

    /// Carries what was noted to disk.
    ///
    /// # Errors
    /// Local: the file could not be written. Then nothing is lost: it is noted on.
    ///
    /// # Cancel safety
    /// When this is dropped, what is on its way may be lost.
    pub(crate) async fn flush(&self) -> Result<(), LedgerError> {
        let noted = std::mem::take(&mut *lock(&self.noted));
        if noted.is_empty() {
            return Ok(());
        }
        let written = write(&self.ledger, noted.clone()).await;
        if written.is_err() {
            let mut later = lock(&self.noted);
            for (name, before) in noted {
                later.entry(name).and_modify(|after| after.follow(&before)).or_insert(before);
            }
        }
        written
    }

    /// All devices of a configuration.
    ///
    /// # Errors
    /// Local: the file could not be read or written.
    pub(crate) async fn list(&self, config: &Config) -> Result<Vec<DeviceView>, LedgerError> {
        self.flush().await?;
        list(&self.ledger, config).await
    }
}

/// All devices of a configuration, without a daemon.
///
/// # Errors
/// Local: the file could not be read.
pub(crate) async fn list_alone(config: &Config) -> Result<Vec<DeviceView>, LedgerError> {
    list(&Ledger::open_for_reading(&config.data_dir, &LAYOUT)?, config).await
}

impl Noted {
    fn at(now: Timestamp) -> Self {
        Self { address: String::new(), seen: now, messages: 0, without_tls: None, without_sign_in: None }
    }

    /// With what came later.
    fn add(&mut self, later: &Self) {
        self.address.clone_from(&later.address);
        self.seen = later.seen;
        self.messages += later.messages;
        self.without_tls = later.without_tls.or(self.without_tls);
        self.without_sign_in = later.without_sign_in.or(self.without_sign_in);
    }

    /// With what came earlier.
    fn follow(&mut self, earlier: &Self) {
        let mut whole = earlier.clone();
        whole.add(self);
        *self = whole;
    }

    fn of_row(row: &Row<'_>) -> rusqlite::Result<(String, Self)> {
        let moment = |second: Option<i64>| second.and_then(|second| Timestamp::from_second(second).ok());
        let noted = Self {
            address: row.get(1)?,
            seen: moment(row.get(2)?).unwrap_or(Timestamp::UNIX_EPOCH),
            messages: u64::try_from(row.get::<_, i64>(3)?).unwrap_or_default(),
            without_tls: moment(row.get(4)?),
            without_sign_in: moment(row.get(5)?),
        };
        Ok((row.get(0)?, noted))
    }
}

impl DeviceView {
    fn new(device: &Device, noted: Option<&Noted>) -> Self {
        Self {
            name: device.name.clone(),
            addresses: device.networks.iter().map(address).collect(),
            because: device.because.clone(),
            sender: device.sender.to_string(),
            rewrites: device.other_senders == OtherSenders::Replaced,
            recipient_domains: device.recipients.iter().map(ToString::to_string).collect(),
            may_skip_tls: device.tls == DeviceTls::Offered,
            may_skip_sign_in: device.sign_in == SignIn::Optional,
            may_sign_in_in_clear: device.clear_sign_in == ClearSignIn::Allowed,
            seen: noted.map(|noted| noted.seen),
            seen_at: noted.map(|noted| noted.address.clone()),
            messages: noted.map_or(0, |noted| noted.messages),
            without_tls: noted.and_then(|noted| noted.without_tls),
            without_sign_in: noted.and_then(|noted| noted.without_sign_in),
        }
    }
}

/// An address by itself has no prefix.
fn address(network: &ipnet::IpNet) -> String {
    if network.prefix_len() == network.max_prefix_len() {
        return network.addr().to_string();
    }
    network.to_string()
}

async fn write(ledger: &Ledger, noted: HashMap<String, Noted>) -> Result<(), LedgerError> {
    const SQL: &str = "INSERT INTO device VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (name) DO UPDATE SET
        address = ?2, seen = ?3, messages = messages + ?4,
        without_tls = coalesce(?5, without_tls), without_sign_in = coalesce(?6, without_sign_in)";
    ledger
        .write(move |transaction| {
            let mut statement = transaction.prepare_cached(SQL)?;
            for (name, noted) in &noted {
                statement.execute(params![
                    name,
                    noted.address,
                    noted.seen.as_second(),
                    i64::try_from(noted.messages).unwrap_or(i64::MAX),
                    noted.without_tls.map(Timestamp::as_second),
                    noted.without_sign_in.map(Timestamp::as_second),
                ])?;
            }
            Ok(())
        })
        .await
}

async fn list(ledger: &Ledger, config: &Config) -> Result<Vec<DeviceView>, LedgerError> {
    const SQL: &str = "SELECT name, address, seen, messages, without_tls, without_sign_in FROM device";
    let noted: HashMap<String, Noted> =
        ledger.read(|transaction| transaction.prepare(SQL)?.query_map([], Noted::of_row)?.collect()).await?;
    Ok(config.devices.iter().map(|device| DeviceView::new(device, noted.get(&device.name))).collect())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn using(tls: bool, signed_in: bool) -> Using {
        Using { device: "scanner".into(), tls, signed_in }
    }

    fn client() -> IpAddr {
        IpAddr::from([192, 0, 2, 7])
    }

    async fn kept(ledger: &Ledger) -> Noted {
        let sql = "SELECT name, address, seen, messages, without_tls, without_sign_in FROM device";
        ledger.read(move |transaction| transaction.query_row(sql, [], Noted::of_row)).await.unwrap().1
    }

    #[tokio::test]
    async fn what_is_noted_is_there_after_a_restart_and_adds_up() {
        let folder = tempfile::tempdir().unwrap();
        for (at, (tls, signed_in)) in
            [(true, true), (false, true), (true, false), (true, true)].into_iter().enumerate()
        {
            let (log, trouble) = DeviceLog::open(folder.path()).unwrap();
            assert!(trouble.is_none());
            log.note(&using(tls, signed_in), client(), now(i64::try_from(at).unwrap()));
            log.flush().await.unwrap();
        }
        let noted = kept(&DeviceLog::open(folder.path()).unwrap().0.ledger).await;
        assert_eq!((noted.messages, noted.seen, noted.address.as_str()), (4, now(3), "192.0.2.7"));
        assert_eq!((noted.without_tls, noted.without_sign_in), (Some(now(1)), Some(now(2))));
    }

    #[tokio::test]
    async fn what_the_file_does_not_take_is_noted_on() {
        let log = DeviceLog::of(Ledger::in_memory(&LAYOUT).unwrap());
        let rename = |from: &'static str, to: &'static str| {
            log.ledger.write(move |transaction| {
                transaction.execute_batch(&format!("ALTER TABLE {from} RENAME TO {to}"))
            })
        };
        rename("device", "elsewhere").await.unwrap();
        log.note(&using(false, true), client(), now(0));
        log.flush().await.unwrap_err();
        log.note(&using(true, true), client(), now(1));
        rename("elsewhere", "device").await.unwrap();
        log.flush().await.unwrap();
        let noted = kept(&log.ledger).await;
        assert_eq!((noted.messages, noted.seen, noted.without_tls), (2, now(1), Some(now(0))));
    }
}
