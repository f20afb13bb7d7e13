//! Identities, the private CA and real handshakes in memory.

#![allow(clippy::unwrap_used)]

mod challenges;
mod clients;
mod dane;
mod foreign;
mod handshakes;
mod identities;
mod peers;
mod pins;
mod private_ca;
mod requirements;
mod world;

use std::path::PathBuf;

use jiff::{SignedDuration, Timestamp};
use postern_pki::{PrivateCa, ServerIdentity};
use tempfile::TempDir;

/// A private CA in a folder of its own.
struct Office {
    folder: TempDir,
    ca: PrivateCa,
}

fn now() -> Timestamp {
    Timestamp::now()
}

fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

fn office(now: Timestamp) -> Office {
    let folder = tempfile::tempdir().unwrap();
    let ca = PrivateCa::open_or_create(&folder.path().join("ca"), "mail.example.org", now).unwrap();
    Office { folder, ca }
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

impl Office {
    fn tls(&self) -> PathBuf {
        self.folder.path().join("tls")
    }

    fn ensure(&self, wanted: &[&str], now: Timestamp) -> ServerIdentity {
        self.ca.ensure_server_identity(&self.tls(), &names(wanted), now).unwrap()
    }
}
