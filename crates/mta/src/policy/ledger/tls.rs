//! What sessions came to, by UTC day, domain, policy and failure.
//!
//! Counters are added to, read by day, and thrown away after a while. Each table is bounded, in rows and in octets: what a
//! day has no room for goes under [`OTHER_DOMAINS`], what a policy has no room for under [`Failure::various`]. A row that
//! cannot be read is passed over. What it deliberately does not do: judge sessions, or know what a report looks like.

use std::net::IpAddr;

use postern_message::tls_report::ResultType;
use rusqlite::{OptionalExtension as _, Row, Transaction, params};

use super::{Ledger, LedgerError};
use crate::policy::day::Day;
use crate::policy::reports::{DomainSeen, FailureSeen, PolicySeen};
use crate::policy::tls_results::{
    DomainCounts, Failure, FailureCount, OTHER_DOMAINS, PolicyApplied, PolicyCounts,
};

/// Policies of one day, over all domains: beyond it new domains share one counter.
const POLICIES_A_DAY: i64 = 200_000;
/// What the rows of one day take together, in octets, roughly.
const OCTETS_A_DAY: usize = 64 * 1024 * 1024;
/// A policy's row and its place in two indexes without its texts, in octets, roughly.
const POLICY_ROW: usize = 200;
/// A failure's row without host and words.
const FAILURE_ROW: usize = 100;
/// Different policies of one domain on one day.
const POLICIES_A_DOMAIN: i64 = 64;
/// Different failures under one policy.
const FAILURES_A_POLICY: i64 = 500;

impl Ledger {
    /// Adds to the counters: all of it or nothing.
    ///
    /// # Errors
    /// Local: the file could not be written.
    pub(crate) async fn add_tls_counts(&self, counted: Vec<DomainCounts>) -> Result<(), LedgerError> {
        self.write(move |transaction| counted.iter().try_for_each(|domain| add_domain(transaction, domain)))
            .await
    }

    /// The counters of one day: of one domain, or of all.
    ///
    /// # Errors
    /// Local: the file could not be read.
    pub(crate) async fn tls_counts(
        &self,
        day: Day,
        domain: Option<&str>,
    ) -> Result<Vec<DomainCounts>, LedgerError> {
        let domain = domain.map(str::to_owned);
        self.read(move |transaction| {
            let sql = "SELECT domain, id, policy, succeeded FROM tls_policy
                       WHERE day = ?1 AND (?2 IS NULL OR domain = ?2) ORDER BY domain, id";
            let mut statement = transaction.prepare_cached(sql)?;
            let mut rows = statement.query(params![day.to_string(), domain])?;
            let mut found: Vec<DomainCounts> = Vec::new();
            while let Some(row) = rows.next()? {
                let domain: String = row.get(0)?;
                let Some(policy) = read_policy(transaction, row)? else { continue };
                match found.last_mut().filter(|last| last.domain == domain) {
                    Some(last) => last.policies.push(policy),
                    None => found.push(DomainCounts { day, domain, policies: vec![policy] }),
                }
            }
            Ok(found)
        })
        .await
    }

    /// The domains that were counted on a day.
    ///
    /// # Errors
    /// Local: the file could not be read.
    pub(crate) async fn tls_domains(&self, day: Day) -> Result<Vec<String>, LedgerError> {
        self.read(move |transaction| {
            let sql =
                "SELECT DISTINCT domain FROM tls_policy WHERE day = ?1 AND domain <> ?2 ORDER BY domain";
            let mut statement = transaction.prepare_cached(sql)?;
            statement.query_map(params![day.to_string(), OTHER_DOMAINS], |row| row.get(0))?.collect()
        })
        .await
    }

    /// What the sessions of some days came to, the domains with the most failures first: of one domain, or of at most
    /// `most` domains, each with its most frequent failures.
    ///
    /// # Errors
    /// Local: the file could not be read.
    pub(crate) async fn tls_seen(
        &self,
        (first, last): (Day, Day),
        domain: Option<&str>,
        most: usize,
        failures_most: usize,
    ) -> Result<Vec<DomainSeen>, LedgerError> {
        let domain = domain.map(str::to_owned);
        self.read(move |transaction| {
            let days = Days { transaction, first: first.to_string(), last: last.to_string() };
            let mut seen = Vec::new();
            for domain in days.worst(domain.as_deref(), most)? {
                let policies = days.policies(&domain)?;
                let failures = days.failures(&domain, failures_most)?;
                seen.push(DomainSeen { domain, policies, failures });
            }
            Ok(seen)
        })
        .await
    }

    /// Throws away the counters of all days before this one.
    ///
    /// # Errors
    /// Local: the file could not be written.
    pub(crate) async fn drop_tls_counts(&self, before: Day) -> Result<usize, LedgerError> {
        self.write(move |transaction| {
            let before = before.to_string();
            transaction.execute("DELETE FROM tls_room WHERE day < ?1", [&before])?;
            transaction.execute("DELETE FROM tls_policy WHERE day < ?1", [&before])
        })
        .await
    }
}

/// A span of days, being read.
struct Days<'a> {
    transaction: &'a Transaction<'a>,
    first: String,
    last: String,
}

impl Days<'_> {
    fn worst(&self, domain: Option<&str>, most: usize) -> rusqlite::Result<Vec<String>> {
        let sql = "SELECT domain FROM tls_policy
                   LEFT JOIN (SELECT policy, sum(sessions) AS failed FROM tls_failure GROUP BY policy) AS bad
                   ON bad.policy = tls_policy.id
                   WHERE day BETWEEN ?1 AND ?2 AND (?3 IS NULL OR domain = ?3)
                   GROUP BY domain ORDER BY sum(coalesce(failed, 0)) DESC, sum(succeeded) DESC, domain LIMIT ?4";
        let mut statement = self.transaction.prepare_cached(sql)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        statement.query_map(params![self.first, self.last, domain, most], |row| row.get(0))?.collect()
    }

    fn policies(&self, domain: &str) -> rusqlite::Result<Vec<PolicySeen>> {
        let sql = "SELECT kind, sum(succeeded), sum(coalesce(
                       (SELECT sum(sessions) FROM tls_failure WHERE tls_failure.policy = tls_policy.id), 0))
                   FROM tls_policy WHERE day BETWEEN ?1 AND ?2 AND domain = ?3 GROUP BY kind ORDER BY kind";
        let row = |row: &Row<'_>| {
            let (succeeded, failed) = (count(row.get(1)?), count(row.get(2)?));
            Ok(PolicySeen { policy: row.get(0)?, succeeded, failed })
        };
        let mut statement = self.transaction.prepare_cached(sql)?;
        statement.query_map(params![self.first, self.last, domain], row)?.collect()
    }

    fn failures(&self, domain: &str, most: usize) -> rusqlite::Result<Vec<FailureSeen>> {
        let sql = "SELECT result, host, why, sum(sessions) AS failed
                   FROM tls_failure JOIN tls_policy ON tls_failure.policy = tls_policy.id
                   WHERE day BETWEEN ?1 AND ?2 AND domain = ?3
                   GROUP BY result, host, why ORDER BY failed DESC, result, host, why LIMIT ?4";
        let row = |row: &Row<'_>| {
            let sessions = count(row.get(3)?);
            Ok(FailureSeen { result: row.get(0)?, host: row.get(1)?, why: row.get(2)?, sessions })
        };
        let mut statement = self.transaction.prepare_cached(sql)?;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        statement.query_map(params![self.first, self.last, domain, most], row)?.collect()
    }
}

fn add_domain(transaction: &Transaction<'_>, counts: &DomainCounts) -> rusqlite::Result<()> {
    let day = counts.day.to_string();
    for counted in &counts.policies {
        let id = policy_id(transaction, &day, &counts.domain, &counted.policy)?;
        let add = "UPDATE tls_policy SET succeeded = succeeded + ?2 WHERE id = ?1";
        transaction.prepare_cached(add)?.execute(params![id, number(counted.succeeded)])?;
        for failure in &counted.failures {
            fail(transaction, (&day, id), &counted.policy, failure)?;
        }
    }
    Ok(())
}

/// Counts a failure as exactly as there is room for.
fn fail(
    transaction: &Transaction<'_>,
    (day, id): (&str, i64),
    policy: &PolicyApplied,
    count: &FailureCount,
) -> rusqlite::Result<()> {
    let failure = Failure::various(count.failure.result.clone());
    let various = FailureCount { failure, sessions: count.sessions };
    if add_failure(transaction, day, id, count)? || add_failure(transaction, day, id, &various)? {
        return Ok(());
    }
    let others = policy_id(transaction, day, OTHER_DOMAINS, &policy.any_of_its_kind())?;
    if !update_failure(transaction, others, &various)? {
        insert_failure(transaction, others, &various)?;
    }
    Ok(())
}

/// The row of a policy, made when there is none and there is room for it.
fn policy_id(
    transaction: &Transaction<'_>,
    day: &str,
    domain: &str,
    policy: &PolicyApplied,
) -> rusqlite::Result<i64> {
    let find = |domain: &str, policy: &PolicyApplied| {
        let sql = "SELECT id FROM tls_policy WHERE day = ?1 AND domain = ?2 AND policy = ?3";
        let mut statement = transaction.prepare_cached(sql)?;
        statement.query_row(params![day, domain, written(policy)], |row| row.get(0)).optional()
    };
    if let Some(id) = find(domain, policy)? {
        return Ok(id);
    }
    let (of_day, of_domain) = policies_there(transaction, day, domain)?;
    let various = policy.any_of_its_kind();
    let (mut domain, mut policy) = match (of_day < POLICIES_A_DAY, of_domain < POLICIES_A_DOMAIN) {
        (true, true) => (domain, policy),
        (true, false) => (domain, &various),
        (false, _) => (OTHER_DOMAINS, &various),
    };
    let known = find(domain, policy)?;
    if known.is_some() || (domain, policy) == (OTHER_DOMAINS, &various) {
        return known.map_or_else(|| insert_policy(transaction, day, domain, policy), Ok);
    }
    let octets = POLICY_ROW + 2 * (domain.len() + written(policy).len());
    if !takes_room(transaction, day, octets)? {
        (domain, policy) = (OTHER_DOMAINS, &various);
    }
    find(domain, policy)?.map_or_else(|| insert_policy(transaction, day, domain, policy), Ok)
}

fn insert_policy(
    transaction: &Transaction<'_>,
    day: &str,
    domain: &str,
    policy: &PolicyApplied,
) -> rusqlite::Result<i64> {
    let sql = "INSERT INTO tls_policy (day, domain, kind, policy, succeeded) VALUES (?1, ?2, ?3, ?4, 0)";
    let kind = policy.kind().as_str();
    transaction.prepare_cached(sql)?.execute(params![day, domain, kind, written(policy)])?;
    Ok(transaction.last_insert_rowid())
}

/// Takes so many octets of a day's room; false when there are not so many left.
fn takes_room(transaction: &Transaction<'_>, day: &str, octets: usize) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO tls_room (day, octets) VALUES (?1, ?2)
               ON CONFLICT (day) DO UPDATE SET octets = octets + ?2 WHERE octets + ?2 <= ?3";
    let row = params![day, size(octets), size(OCTETS_A_DAY)];
    Ok(transaction.prepare_cached(sql)?.execute(row)? > 0)
}

/// How many policies a day has, and how many of them the domain.
fn policies_there(transaction: &Transaction<'_>, day: &str, domain: &str) -> rusqlite::Result<(i64, i64)> {
    // Row numbers only grow within a day, so that their span is what counting would find, at once.
    let span = "SELECT coalesce((SELECT id FROM tls_policy WHERE day = ?1 ORDER BY id DESC LIMIT 1)
                              - (SELECT id FROM tls_policy WHERE day = ?1 ORDER BY id LIMIT 1) + 1, 0)";
    let of_day = transaction.prepare_cached(span)?.query_row([day], |row| row.get(0))?;
    let count = "SELECT count(*) FROM tls_policy WHERE day = ?1 AND domain = ?2";
    let of_domain = transaction.prepare_cached(count)?.query_row([day, domain], |row| row.get(0))?;
    Ok((of_day, of_domain))
}

/// Adds to a failure's counter; false when there is none, and no room for one.
fn add_failure(
    transaction: &Transaction<'_>,
    day: &str,
    policy: i64,
    count: &FailureCount,
) -> rusqlite::Result<bool> {
    if update_failure(transaction, policy, count)? {
        return Ok(true);
    }
    let failure = &count.failure;
    let sql = "SELECT count(*) FROM tls_failure WHERE policy = ?1";
    let there: i64 = transaction.prepare_cached(sql)?.query_row([policy], |row| row.get(0))?;
    // Those without particulars are few: one for each name that reports know.
    let is_various = *failure == Failure::various(failure.result.clone());
    let octets = FAILURE_ROW + failure.host.len() + failure.why.len();
    if (there >= FAILURES_A_POLICY && !is_various) || !takes_room(transaction, day, octets)? {
        return Ok(false);
    }
    insert_failure(transaction, policy, count).map(|()| true)
}

fn update_failure(
    transaction: &Transaction<'_>,
    policy: i64,
    count: &FailureCount,
) -> rusqlite::Result<bool> {
    let sql = "UPDATE tls_failure SET sessions = sessions + ?7 WHERE policy = ?1 AND result = ?2
               AND host = ?3 AND peer = ?4 AND local = ?5 AND why = ?6";
    execute_failure(transaction, sql, policy, count).map(|changed| changed > 0)
}

fn insert_failure(transaction: &Transaction<'_>, policy: i64, count: &FailureCount) -> rusqlite::Result<()> {
    let sql = "INSERT INTO tls_failure (policy, result, host, peer, local, why, sessions)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    execute_failure(transaction, sql, policy, count).map(|_| ())
}

fn execute_failure(
    transaction: &Transaction<'_>,
    sql: &str,
    policy: i64,
    FailureCount { failure, sessions }: &FailureCount,
) -> rusqlite::Result<usize> {
    let (result, host, why) = (failure.result.as_str(), &*failure.host, &*failure.why);
    let (peer, local) = (address(failure.peer), address(failure.local));
    let row = params![policy, result, host, peer, local, why, number(*sessions)];
    transaction.prepare_cached(sql)?.execute(row)
}

/// `…, id, policy, succeeded`.
fn read_policy(transaction: &Transaction<'_>, row: &Row<'_>) -> rusqlite::Result<Option<PolicyCounts>> {
    let (id, policy, succeeded): (i64, String, i64) = (row.get(1)?, row.get(2)?, row.get(3)?);
    let Ok(policy) = serde_json::from_str(&policy) else { return Ok(None) };
    let sql = "SELECT result, host, peer, local, why, sessions FROM tls_failure
               WHERE policy = ?1 ORDER BY sessions DESC, result, host, peer, local, why";
    let mut statement = transaction.prepare_cached(sql)?;
    let failures = statement.query_map([id], read_failure)?.collect::<rusqlite::Result<_>>()?;
    Ok(Some(PolicyCounts { policy, succeeded: count(succeeded), failures }))
}

fn read_failure(row: &Row<'_>) -> rusqlite::Result<FailureCount> {
    let text = |column| row.get::<_, String>(column);
    let failure = Failure {
        result: ResultType::named(&text(0)?),
        host: text(1)?.into(),
        peer: text(2)?.parse().ok(),
        local: text(3)?.parse().ok(),
        why: text(4)?.into(),
    };
    Ok(FailureCount { failure, sessions: count(row.get(5)?) })
}

fn written(policy: &PolicyApplied) -> String {
    // Lists of texts: nothing that JSON could not hold.
    serde_json::to_string(policy).unwrap_or_default()
}

fn address(address: Option<IpAddr>) -> String {
    address.map(|address| address.to_string()).unwrap_or_default()
}

pub(super) fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

pub(super) fn size(octets: usize) -> i64 {
    i64::try_from(octets).unwrap_or(i64::MAX)
}

pub(super) fn count(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day() -> Day {
        "2026-11-21".parse().unwrap()
    }

    fn failing(why: &str) -> FailureCount {
        let peer = Some(IpAddr::from([192, 0, 2, 25]));
        let (host, why) = ("mx.example.org".into(), why.to_owned().into());
        let failure = Failure { result: ResultType::CertificateExpired, host, peer, local: None, why };
        FailureCount { failure, sessions: 2 }
    }

    fn counts(domain: &str, line: &str, failures: Vec<FailureCount>) -> DomainCounts {
        let policy = PolicyApplied::Sts { lines: vec![line.into()], mx: vec!["*.example.org".into()] };
        let policies = vec![PolicyCounts { policy, succeeded: 3, failures }];
        DomainCounts { day: day(), domain: domain.into(), policies }
    }

    #[tokio::test]
    async fn counters_come_back_as_they_were_added_up() {
        let ledger = crate::policy::ledger::in_memory().unwrap();
        let one = counts("a.example", "x", vec![failing("expired yesterday")]);
        let other = counts("b.example", "x", vec![]);
        for _ in 0..2 {
            ledger.add_tls_counts(vec![one.clone(), other.clone()]).await.unwrap();
        }
        let mut twice = [one, other];
        for domain in &mut twice {
            domain.policies[0].succeeded *= 2;
            domain.policies[0].failures.iter_mut().for_each(|failure| failure.sessions *= 2);
        }
        assert_eq!(ledger.tls_counts(day(), None).await.unwrap(), twice);
        assert_eq!(ledger.tls_counts(day(), Some("b.example")).await.unwrap(), twice[1..]);
        assert_eq!(ledger.tls_counts(day().earlier(1), None).await.unwrap(), []);
    }

    #[tokio::test]
    async fn old_counters_go_with_their_failures() {
        let ledger = crate::policy::ledger::in_memory().unwrap();
        ledger.add_tls_counts(vec![counts("a.example", "x", vec![failing("y")])]).await.unwrap();
        assert_eq!(ledger.drop_tls_counts(day()).await.unwrap(), 0);
        let tomorrow = "2026-11-22".parse().unwrap();
        assert_eq!(ledger.drop_tls_counts(tomorrow).await.unwrap(), 1);
        let sql = "SELECT (SELECT count(*) FROM tls_failure) + (SELECT count(*) FROM tls_room)";
        let left: i64 =
            ledger.read(move |transaction| transaction.query_row(sql, [], |row| row.get(0))).await.unwrap();
        assert_eq!(left, 0);
    }

    #[tokio::test]
    async fn policies_and_failures_beyond_the_bounds_are_counted_together() {
        let ledger = crate::policy::ledger::in_memory().unwrap();
        let many = (0..1000).map(|n| failing(&n.to_string())).collect();
        let mut all = vec![counts("a.example", "x", many)];
        all.extend((0..200).map(|n| counts("a.example", &n.to_string(), vec![])));
        ledger.add_tls_counts(all).await.unwrap();
        let found = ledger.tls_counts(day(), None).await.unwrap().remove(0);
        let rows = usize::try_from(POLICIES_A_DOMAIN).unwrap() + 1;
        assert_eq!(found.policies.len(), rows);
        assert_eq!(found.policies.iter().map(|policy| policy.succeeded).sum::<u64>(), 603);
        let first = &found.policies[0];
        assert_eq!((first.failures.len(), first.failed()), (501, 2000));
        assert_eq!(first.failures[0].failure, Failure::various(ResultType::CertificateExpired));
    }

    #[tokio::test]
    async fn a_day_without_room_counts_new_domains_together() {
        let ledger = crate::policy::ledger::in_memory().unwrap();
        let far = "INSERT INTO tls_policy VALUES (1, '2026-11-21', 'old.example', 'no-policy-found', '\"no-policy\"', 1),
                   (200000, '2026-11-21', 'late.example', 'no-policy-found', '\"no-policy\"', 1)";
        ledger.write(move |transaction| transaction.execute_batch(far)).await.unwrap();
        ledger.add_tls_counts(vec![counts("new.example", "x", vec![])]).await.unwrap();
        let found = ledger.tls_counts(day(), None).await.unwrap();
        let names: Vec<_> = found.iter().map(|domain| domain.domain.as_str()).collect();
        assert_eq!(names, [OTHER_DOMAINS, "late.example", "old.example"]);
    }

    /// Leaves so many octets of the day's room.
    async fn leave(ledger: &Ledger, octets: usize) {
        let sql = "INSERT OR REPLACE INTO tls_room VALUES (?1, ?2)";
        let held = size(OCTETS_A_DAY - octets);
        ledger
            .write(move |transaction| transaction.execute(sql, params![day().to_string(), held]))
            .await
            .unwrap();
    }

    async fn held(ledger: &Ledger) -> usize {
        let sql = "SELECT octets FROM tls_room";
        let read = |transaction: &Transaction<'_>| transaction.query_row(sql, [], |row| row.get::<_, i64>(0));
        usize::try_from(ledger.read(read).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn what_a_days_octets_do_not_hold_is_counted_with_fewer_particulars() {
        let ledger = crate::policy::ledger::in_memory().unwrap();
        let known = counts("known.example", "x", vec![failing("known")]);
        ledger.add_tls_counts(vec![known.clone()]).await.unwrap();
        leave(&ledger, FAILURE_ROW).await;
        // The first new failure finds room without its particulars, the second not even that.
        let mut more = counts("known.example", "x", vec![failing("known"), failing("new")]);
        let mut other = failing("other");
        other.failure.result = ResultType::DnssecInvalid;
        more.policies[0].failures.push(other);
        let large = counts("new.example", &"x".repeat(4000), vec![failing("new")]);
        ledger.add_tls_counts(vec![more, large.clone(), large]).await.unwrap();
        let figures = |found: &[DomainCounts]| {
            let all = |domain: &DomainCounts| {
                let policy = &domain.policies[0];
                let failures =
                    policy.failures.iter().map(|count| (count.failure.why.to_string(), count.sessions));
                (domain.domain.clone(), policy.succeeded, failures.collect::<Vec<_>>())
            };
            found.iter().map(all).collect::<Vec<_>>()
        };
        let (various, known) = ((String::new(), 2), ("known".to_owned(), 4));
        let others = vec![(String::new(), 4), various.clone()];
        let expected =
            [(OTHER_DOMAINS.to_owned(), 6, others), ("known.example".to_owned(), 6, vec![known, various])];
        assert_eq!(figures(&ledger.tls_counts(day(), None).await.unwrap()), expected);
        assert_eq!(held(&ledger).await, OCTETS_A_DAY);
    }

    #[tokio::test]
    async fn a_days_octets_are_what_its_rows_hold() {
        let ledger = crate::policy::ledger::in_memory().unwrap();
        let all = |domain: &str| counts(domain, &"x".repeat(1000), vec![failing(&"y".repeat(200))]);
        for _ in 0..2 {
            ledger.add_tls_counts(vec![all("a.example"), all("b.example")]).await.unwrap();
        }
        let held = held(&ledger).await;
        assert!(held > 2 * (2 * 1000 + 200) && held < 2 * (2 * 1000 + 200 + 600), "{held}");
    }
}
