//! The ledger of policies: what was learnt about destinations and must outlive a restart.
//!
//! Each kind of knowledge has a module and a migration of its own:
//! - [`sts`]: the table of MTA-STS policies. `tls`: what sessions came to. `reports`: TLS reports sent and received.
//!
//! How the file is kept is told in [`crate::ledger`]. What it deliberately does not do: hold mail, or hold anything without
//! which mail could not go on: what is lost with it is fetched again, or was statistics.

pub(crate) mod reports;
pub mod sts;
pub(crate) mod tls;

use std::path::Path;

use crate::ledger::Layout;
pub use crate::ledger::{Ledger, LedgerError, Opened};

/// The file's name in the data directory.
pub const FILE: &str = "policy.db";

const LEDGER: Layout =
    Layout { file: FILE, migrations: MIGRATIONS, lost: "policies are fetched again, TLS reports begin anew" };

const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE sts_policy (
        domain  TEXT PRIMARY KEY,  -- A-labels in lower case
        record  TEXT NOT NULL,     -- the id that the domain's record had
        policy  TEXT NOT NULL,     -- as its file would have it
        fetched INTEGER NOT NULL,  -- seconds since 1970
        expires INTEGER NOT NULL,
        used    INTEGER NOT NULL   -- when mail was last planned under it, to the day
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX sts_policy_expires ON sts_policy (expires);
",
    "
    -- What our sessions came to.
    CREATE TABLE tls_policy (
        id        INTEGER PRIMARY KEY,
        day       TEXT NOT NULL,     -- 2026-11-21, in UTC
        domain    TEXT NOT NULL,     -- A-labels in lower case; * for those that there was no room for
        kind      TEXT NOT NULL,     -- tlsa, sts, no-policy-found
        policy    TEXT NOT NULL,     -- JSON
        succeeded INTEGER NOT NULL,  -- sessions
        UNIQUE (domain, day, policy)
    ) STRICT;
    CREATE INDEX tls_policy_day ON tls_policy (day, id);
    CREATE TABLE tls_failure (
        policy   INTEGER NOT NULL REFERENCES tls_policy (id) ON DELETE CASCADE,
        result   TEXT NOT NULL,      -- as RFC 8460 calls it
        host     TEXT NOT NULL,      -- empty: various
        peer     TEXT NOT NULL,      -- addresses; empty: unknown
        local    TEXT NOT NULL,
        why      TEXT NOT NULL,
        sessions INTEGER NOT NULL,
        PRIMARY KEY (policy, result, host, peer, local, why)
    ) STRICT, WITHOUT ROWID;
    -- What becomes of our reports.
    CREATE TABLE tls_report (
        day     TEXT NOT NULL,
        domain  TEXT NOT NULL,
        address TEXT NOT NULL,       -- mailto:… or https:…; empty while it is not known who wants the report
        state   TEXT NOT NULL,       -- waiting, sent, unwanted, given-up
        tries   INTEGER NOT NULL,
        due     INTEGER NOT NULL,    -- when it is tried, or was; seconds since 1970
        note    TEXT NOT NULL,       -- what the last try came to
        PRIMARY KEY (day, domain, address)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX tls_report_due ON tls_report (due) WHERE state = 'waiting';
    -- What others report about us.
    CREATE TABLE tls_received (
        id           INTEGER PRIMARY KEY,
        organization TEXT NOT NULL,
        report       TEXT NOT NULL,  -- its id
        domain       TEXT NOT NULL,
        contact      TEXT NOT NULL,
        start        INTEGER NOT NULL,
        end          INTEGER NOT NULL,
        received     INTEGER NOT NULL,
        UNIQUE (organization, report, domain)
    ) STRICT;
    CREATE INDEX tls_received_when ON tls_received (received);
    CREATE TABLE tls_received_policy (
        received  INTEGER NOT NULL REFERENCES tls_received (id) ON DELETE CASCADE,
        number    INTEGER NOT NULL,  -- its place in the report
        kind      TEXT NOT NULL,
        succeeded INTEGER NOT NULL,
        failed    INTEGER NOT NULL,
        failures  TEXT NOT NULL,     -- JSON
        PRIMARY KEY (received, number)
    ) STRICT, WITHOUT ROWID;
",
    "
    -- What others' reports take of the disk, roughly; those of before are measured once.
    ALTER TABLE tls_received ADD COLUMN octets INTEGER NOT NULL DEFAULT 0;
    UPDATE tls_received SET octets = 400 + 2 * (octet_length(organization) + octet_length(report))
        + octet_length(contact) + coalesce((SELECT sum(100 + octet_length(failures)) FROM tls_received_policy
                                            WHERE tls_received_policy.received = tls_received.id), 0);
    DROP INDEX tls_received_when;
    CREATE INDEX tls_received_when ON tls_received (received DESC, id DESC, octets);
    -- What the counters of a day take of the disk, roughly.
    CREATE TABLE tls_room (
        day    TEXT PRIMARY KEY,
        octets INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    INSERT INTO tls_room SELECT day, sum(200 + 2 * (octet_length(domain) + octet_length(policy))
        + coalesce((SELECT sum(100 + octet_length(host) + octet_length(why)) FROM tls_failure
                    WHERE tls_failure.policy = tls_policy.id), 0))
        FROM tls_policy GROUP BY day;
",
];

/// Opens the ledger in the data directory, or makes it there.
///
/// # Errors
/// As for [`Ledger::open`].
pub fn open(data_dir: &Path) -> Result<Opened, LedgerError> {
    Ledger::open(data_dir, &LEDGER)
}

/// The ledger in the data directory as it is, or one in memory: for those who only look.
///
/// # Errors
/// As for [`Ledger::open_for_reading`].
pub fn open_for_reading(data_dir: &Path) -> Result<Ledger, LedgerError> {
    Ledger::open_for_reading(data_dir, &LEDGER)
}

/// A ledger that ends with the process.
///
/// # Errors
/// Out of memory, or SQLite is broken.
pub fn in_memory() -> Result<Ledger, LedgerError> {
    Ledger::in_memory(&LEDGER)
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;
    use crate::ledger::APPLICATION;

    #[tokio::test]
    async fn what_an_older_file_holds_of_reports_is_measured_when_it_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let older = Connection::open(folder.path().join(FILE)).unwrap();
        MIGRATIONS[..2].iter().for_each(|migration| older.execute_batch(migration).unwrap());
        older.pragma_update(None, "user_version", 2).unwrap();
        older.pragma_update(None, "application_id", APPLICATION).unwrap();
        let rows = "INSERT INTO tls_received VALUES (1, 'Them', '1', 'a.example', '', 0, 0, 0);
                    INSERT INTO tls_received_policy VALUES (1, 0, 'sts', 1, 1, hex(zeroblob(4000)));
                    INSERT INTO tls_policy VALUES (1, '2026-11-21', 'a.example', 'sts', hex(zeroblob(1000)), 1);
                    INSERT INTO tls_failure VALUES (1, 'x', '', '', '', hex(zeroblob(500)), 1);";
        older.execute_batch(rows).unwrap();
        drop(older);
        let opened = open(folder.path()).unwrap();
        assert!(opened.trouble.is_none(), "{:?}", opened.trouble);
        let sql = "SELECT (SELECT octets FROM tls_received), (SELECT octets FROM tls_room WHERE day = '2026-11-21')";
        let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?));
        let read = move |transaction: &rusqlite::Transaction<'_>| transaction.query_row(sql, [], row);
        let (received, counted) = opened.ledger.read(read).await.unwrap();
        assert!((8000..9000).contains(&received), "{received}");
        assert!((2 * 2000 + 1000..2 * 2000 + 2000).contains(&counted), "{counted}");
    }
}
