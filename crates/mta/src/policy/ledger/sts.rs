//! The MTA-STS policies in the ledger.
//!
//! [`FetchedPolicy`] is one of them, with the record's id that it was fetched for and when. A row that cannot be read
//! is removed and counts as absent: the policy is fetched again. What it deliberately does not do: decide whether a
//! policy still binds; it only throws away what expired.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_dns::mta_sts::{Policy, RecordId};
use rusqlite::{OptionalExtension as _, params};

use super::{Ledger, LedgerError};

/// A policy, and when it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedPolicy {
    /// The id that the domain's record had then.
    pub id: RecordId,
    /// The policy.
    pub policy: Policy,
    /// When it was fetched.
    pub fetched: Timestamp,
}

impl FetchedPolicy {
    /// When it ceases to bind, unless it is fetched again before (RFC 8461 §3.2: `max_age`).
    pub fn expires(&self) -> Timestamp {
        later(self.fetched, self.policy.max_age)
    }

    /// Whether it binds at this time.
    pub fn binds(&self, now: Timestamp) -> bool {
        now < self.expires()
    }
}

/// The moment so much later.
pub(crate) fn later(when: Timestamp, by: Duration) -> Timestamp {
    let by = SignedDuration::try_from(by).unwrap_or(SignedDuration::MAX);
    when.saturating_add(by).unwrap_or(Timestamp::MAX)
}

impl Ledger {
    /// What was last fetched for a domain, if it still binds.
    ///
    /// # Errors
    /// Local: the file could not be read.
    pub async fn sts_policy(
        &self,
        domain: &str,
        now: Timestamp,
    ) -> Result<Option<FetchedPolicy>, LedgerError> {
        let key = domain.to_owned();
        let found = self
            .read(move |transaction| {
                let sql = "SELECT record, policy, fetched FROM sts_policy WHERE domain = ?1 AND expires > ?2";
                let mut statement = transaction.prepare_cached(sql)?;
                let row = |row: &rusqlite::Row<'_>| Ok(Row(row.get(0)?, row.get(1)?, row.get(2)?));
                statement.query_row(params![key, now.as_second()], row).optional()
            })
            .await?;
        let Some(row) = found else { return Ok(None) };
        match row.read(now) {
            Some(policy) => Ok(Some(policy)),
            None => self.remove_sts_policy(domain).await.map(|()| None),
        }
    }

    /// Keeps a policy in the place of the domain's earlier one.
    ///
    /// # Errors
    /// Local: the file could not be written.
    pub async fn keep_sts_policy(&self, domain: &str, policy: &FetchedPolicy) -> Result<(), LedgerError> {
        let (domain, id, text) = (domain.to_owned(), policy.id.to_string(), policy.policy.to_string());
        let (fetched, expires) = (policy.fetched.as_second(), policy.expires().as_second());
        self.write(move |transaction| {
            let sql = "INSERT INTO sts_policy (domain, record, policy, fetched, expires, used)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?4) ON CONFLICT (domain) DO UPDATE
                       SET record = ?2, policy = ?3, fetched = ?4, expires = ?5";
            let mut statement = transaction.prepare_cached(sql)?;
            statement.execute(params![domain, id, text, fetched, expires]).map(|_| ())
        })
        .await
    }

    /// Notes that mail is planned under a domain's policy, so that it goes on being refreshed.
    ///
    /// # Errors
    /// Local: the file could not be written.
    pub async fn note_sts_use(&self, domain: &str, now: Timestamp) -> Result<(), LedgerError> {
        let domain = domain.to_owned();
        self.write(move |transaction| {
            let sql = "UPDATE sts_policy SET used = ?2 WHERE domain = ?1";
            transaction.prepare_cached(sql)?.execute(params![domain, now.as_second()]).map(|_| ())
        })
        .await
    }

    /// Some of the domains whose policy was used after a time, and was fetched before another or has less than a quarter
    /// of its time left; at most `most`.
    ///
    /// # Errors
    /// Local: the file could not be read.
    pub async fn sts_due(
        &self,
        fetched_before: Timestamp,
        now: Timestamp,
        used_after: Timestamp,
        most: u32,
    ) -> Result<Vec<String>, LedgerError> {
        let (fetched, now, used) = (fetched_before.as_second(), now.as_second(), used_after.as_second());
        self.read(move |transaction| {
            // By chance, so that those that fail for weeks keep no others waiting.
            let sql = "SELECT domain FROM sts_policy
                       WHERE (fetched <= ?1 OR fetched + (expires - fetched) / 4 * 3 <= ?2) AND used >= ?3
                       ORDER BY random() LIMIT ?4";
            let mut statement = transaction.prepare_cached(sql)?;
            statement.query_map(params![fetched, now, used, most], |row| row.get(0))?.collect()
        })
        .await
    }

    /// Throws away what no longer binds; says how many there were.
    ///
    /// # Errors
    /// Local: the file could not be written.
    pub async fn drop_expired_sts(&self, now: Timestamp) -> Result<usize, LedgerError> {
        self.write(move |transaction| {
            let sql = "DELETE FROM sts_policy WHERE expires <= ?1";
            transaction.prepare_cached(sql)?.execute([now.as_second()])
        })
        .await
    }

    async fn remove_sts_policy(&self, domain: &str) -> Result<(), LedgerError> {
        let domain = domain.to_owned();
        self.write(move |transaction| {
            transaction.execute("DELETE FROM sts_policy WHERE domain = ?1", [domain]).map(|_| ())
        })
        .await
    }
}

/// `record`, `policy`, `fetched`.
struct Row(String, String, i64);

impl Row {
    fn read(self, now: Timestamp) -> Option<FetchedPolicy> {
        let id = self.0.parse().ok()?;
        let policy = Policy::parse_written(&self.1).ok()?;
        // A clock that was ahead must not make a policy bind for longer than it may.
        let fetched = Timestamp::from_second(self.2).ok()?.min(now);
        Some(FetchedPolicy { id, policy, fetched })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn policy(id: &str, fetched: i64) -> FetchedPolicy {
        let text = b"version: STSv1\nmode: enforce\nmx: *.example.org\nmx: a.example\nmax_age: 100\n";
        FetchedPolicy { id: id.parse().unwrap(), policy: Policy::parse(text).unwrap(), fetched: at(fetched) }
    }

    async fn found(ledger: &Ledger, domain: &str, now: i64) -> Option<FetchedPolicy> {
        ledger.sts_policy(domain, at(now)).await.unwrap()
    }

    #[tokio::test]
    async fn a_policy_is_found_until_it_expires() {
        let ledger = crate::policy::ledger::in_memory().unwrap();
        assert_eq!(found(&ledger, "example.org", 1000).await, None);
        ledger.keep_sts_policy("example.org", &policy("1", 1000)).await.unwrap();
        ledger.keep_sts_policy("example.org", &policy("2", 1010)).await.unwrap();
        assert_eq!(found(&ledger, "example.org", 1109).await, Some(policy("2", 1010)));
        assert_eq!(found(&ledger, "example.org", 1110).await, None);
        assert_eq!(ledger.drop_expired_sts(at(1109)).await.unwrap(), 0);
        assert_eq!(ledger.drop_expired_sts(at(1110)).await.unwrap(), 1);
    }

    #[tokio::test]
    async fn a_row_that_cannot_be_read_is_removed() {
        let ledger = crate::policy::ledger::in_memory().unwrap();
        let sql = "INSERT INTO sts_policy VALUES ('example.org', '1', 'no policy', 1000, 9999, 1000)";
        ledger.write(move |transaction| transaction.execute(sql, [])).await.unwrap();
        assert_eq!(found(&ledger, "example.org", 1000).await, None);
        let count = "SELECT count(*) FROM sts_policy";
        let left: i64 =
            ledger.read(move |transaction| transaction.query_row(count, [], |row| row.get(0))).await.unwrap();
        assert_eq!(left, 0);
    }

    #[tokio::test]
    async fn a_policy_that_fills_its_file_is_found_again() {
        let ledger = crate::policy::ledger::in_memory().unwrap();
        let hosts: String = (0..930).map(|n| format!("mx:h{n:03}.{}.example\n", "x".repeat(53))).collect();
        let file = format!("version:STSv1\nmode:enforce\nmax_age:100\n{hosts}");
        let large = FetchedPolicy { policy: Policy::parse(file.as_bytes()).unwrap(), ..policy("1", 1000) };
        ledger.keep_sts_policy("example.org", &large).await.unwrap();
        assert_eq!(found(&ledger, "example.org", 1000).await, Some(large));
    }

    #[tokio::test]
    async fn a_policy_fetched_under_a_clock_that_was_ahead_binds_from_now_on_only() {
        let ledger = crate::policy::ledger::in_memory().unwrap();
        ledger.keep_sts_policy("example.org", &policy("1", 999_000)).await.unwrap();
        assert_eq!(found(&ledger, "example.org", 1000).await.unwrap().expires(), at(1100));
    }

    #[tokio::test]
    async fn those_fetched_long_ago_and_used_lately_are_due() {
        let ledger = crate::policy::ledger::in_memory().unwrap();
        for (domain, fetched) in [("old.example", 10), ("idle.example", 10), ("new.example", 90)] {
            ledger.keep_sts_policy(domain, &policy("1", fetched)).await.unwrap();
        }
        ledger.note_sts_use("old.example", at(80)).await.unwrap();
        let due = async |fetched, now, used, most| {
            ledger.sts_due(at(fetched), at(now), at(used), most).await.unwrap()
        };
        assert_eq!(due(50, 80, 60, 9).await, ["old.example"]);
        assert_eq!(due(90, 90, 0, 2).await.len(), 2);
        assert_eq!(due(0, 84, 60, 9).await, Vec::<String>::new());
        assert_eq!(due(0, 85, 60, 9).await, ["old.example"], "less than a quarter is left");
    }
}
