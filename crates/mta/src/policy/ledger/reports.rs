//! TLS reports: what becomes of ours, and what others' told about us.
//!
//! - [`Outgoing`]: one of ours on its way to one address, or to be asked for. Rows stay until they are old, so that a
//!   restart neither repeats nor forgets one. Written before it is sent, noted after: a kill in between sends it twice,
//!   with the same id, which receivers count once.
//! - [`Received`]: a summary of another's report on one of our domains. Each report counts once; of too many the oldest
//!   go, be it by their number or by the room they take. Anybody can send them.
//!
//! What it deliberately does not do: decide what is due, or read reports.

use jiff::Timestamp;
use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::tls::{count, number, size};
use super::{Ledger, LedgerError};
use crate::policy::day::Day;
use crate::policy::tls_results::OTHER_DOMAINS;

/// So many summaries are kept.
const RECEIVED_MOST: u32 = 20_000;
/// Together they take so many octets, roughly.
const RECEIVED_OCTETS: usize = 64 * 1024 * 1024;
/// A summary's own row and its place in two indexes without its texts, in octets, roughly.
const ROW: usize = 400;
/// The same of one policy's row.
const POLICY_ROW: usize = 100;

/// A report of ours that is to be sent, or tried again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// The day that it is about.
    pub(crate) day: Day,
    /// The domain that it is about.
    pub(crate) domain: String,
    /// Where to: a URI; empty while the domain was not asked.
    pub(crate) address: String,
    /// How often it was tried.
    pub(crate) tries: u32,
}

/// What became of an [`Outgoing`] report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReportState {
    /// It is tried at this time.
    Waiting(Timestamp),
    /// It is sent.
    Sent(Timestamp),
    /// The domain wants no reports.
    Unwanted(Timestamp),
    /// It was tried often enough.
    GivenUp(Timestamp),
}

/// What one report of another's says about one domain of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) organization: String,
    /// The report's id.
    pub(crate) report: String,
    pub(crate) domain: String,
    pub(crate) contact: String,
    pub(crate) start: Timestamp,
    pub(crate) end: Timestamp,
    pub(crate) policies: Vec<ReceivedPolicy>,
}

/// What it says about one policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReceivedPolicy {
    pub(crate) kind: String,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) failures: Vec<ReceivedFailure>,
}

/// One way in which sessions with us failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReceivedFailure {
    pub(crate) result: String,
    pub(crate) host: String,
    pub(crate) why: String,
    pub(crate) sessions: u64,
}

impl Ledger {
    /// Makes a report wait for each domain that was counted in these days and has none yet.
    ///
    /// # Errors
    /// Local: the file could not be written.
    pub(crate) async fn open_tls_reports(
        &self,
        first: Day,
        last: Day,
        now: Timestamp,
    ) -> Result<usize, LedgerError> {
        self.write(move |transaction| {
            let sql = "INSERT INTO tls_report (day, domain, address, state, tries, due, note)
                       SELECT DISTINCT day, domain, '', 'waiting', 0, ?3, '' FROM tls_policy AS counted
                       WHERE day BETWEEN ?1 AND ?2 AND domain <> ?4 AND NOT EXISTS
                       (SELECT 1 FROM tls_report WHERE day = counted.day AND domain = counted.domain)";
            let days = (first.to_string(), last.to_string());
            transaction.prepare_cached(sql)?.execute(params![days.0, days.1, now.as_second(), OTHER_DOMAINS])
        })
        .await
    }

    /// Reports to be tried now, those that wait longest first.
    ///
    /// # Errors
    /// Local: the file could not be read.
    pub(crate) async fn tls_reports_due(
        &self,
        now: Timestamp,
        most: u32,
    ) -> Result<Vec<Outgoing>, LedgerError> {
        self.read(move |transaction| {
            let sql = "SELECT day, domain, address, tries FROM tls_report
                       WHERE state = 'waiting' AND due <= ?1 ORDER BY due LIMIT ?2";
            let mut statement = transaction.prepare_cached(sql)?;
            let row = |row: &rusqlite::Row<'_>| {
                let day: String = row.get(0)?;
                let waiting =
                    |day| Ok(Outgoing { day, domain: row.get(1)?, address: row.get(2)?, tries: row.get(3)? });
                day.parse().ok().map(waiting).transpose()
            };
            let found: Vec<Option<Outgoing>> =
                statement.query_map(params![now.as_second(), most], row)?.collect::<Result<_, _>>()?;
            Ok(found.into_iter().flatten().collect())
        })
        .await
    }

    /// Puts one report for each address in the place of the question where the domain wants it.
    ///
    /// # Errors
    /// Local: the file could not be written.
    pub(crate) async fn address_tls_report(
        &self,
        waiting: &Outgoing,
        addresses: Vec<String>,
        now: Timestamp,
    ) -> Result<(), LedgerError> {
        let (day, domain) = (waiting.day.to_string(), waiting.domain.clone());
        self.write(move |transaction| {
            let question = "DELETE FROM tls_report WHERE day = ?1 AND domain = ?2 AND address = ''";
            transaction.prepare_cached(question)?.execute(params![day, domain])?;
            let sql = "INSERT INTO tls_report (day, domain, address, state, tries, due, note)
                       VALUES (?1, ?2, ?3, 'waiting', 0, ?4, '') ON CONFLICT DO NOTHING";
            let mut statement = transaction.prepare_cached(sql)?;
            for address in addresses {
                statement.execute(params![day, domain, address, now.as_second()])?;
            }
            Ok(())
        })
        .await
    }

    /// Notes what became of a report, whether it was waiting or not. `tries` counts the one just made.
    ///
    /// # Errors
    /// Local: the file could not be written.
    pub(crate) async fn note_tls_report(
        &self,
        report: Outgoing,
        state: ReportState,
        note: String,
    ) -> Result<(), LedgerError> {
        let (state, when) = match state {
            ReportState::Waiting(due) => ("waiting", due),
            ReportState::Sent(at) => ("sent", at),
            ReportState::Unwanted(at) => ("unwanted", at),
            ReportState::GivenUp(at) => ("given-up", at),
        };
        self.write(move |transaction| {
            let sql = "INSERT INTO tls_report (day, domain, address, state, tries, due, note)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (day, domain, address) DO UPDATE
                       SET state = ?4, tries = ?5, due = ?6, note = ?7";
            let Outgoing { day, domain, address, tries } = report;
            let row = params![day.to_string(), domain, address, state, tries, when.as_second(), note];
            transaction.prepare_cached(sql)?.execute(row).map(|_| ())
        })
        .await
    }

    /// Forgets what became of the reports about all days before this one.
    ///
    /// # Errors
    /// Local: the file could not be written.
    pub(crate) async fn drop_tls_reports(&self, before: Day) -> Result<usize, LedgerError> {
        self.write(move |transaction| {
            transaction.execute("DELETE FROM tls_report WHERE day < ?1", [before.to_string()])
        })
        .await
    }

    /// Keeps the summaries of one report. Says how many are new: a report that comes again counts once.
    ///
    /// # Errors
    /// Local: the file could not be written.
    pub(crate) async fn keep_received(
        &self,
        summaries: Vec<Received>,
        now: Timestamp,
    ) -> Result<usize, LedgerError> {
        self.write(move |transaction| {
            let mut new = 0;
            for summary in summaries {
                new += usize::from(keep_summary(transaction, summary, now)?);
            }
            if new > 0 {
                make_room(transaction)?;
            }
            Ok(new)
        })
        .await
    }

    /// Summaries of reports about days from this one on that came so far: about one domain, or about all.
    ///
    /// # Errors
    /// Local: the file could not be read.
    pub(crate) async fn received_since(
        &self,
        first: Day,
        domain: Option<&str>,
    ) -> Result<Vec<Received>, LedgerError> {
        let domain = domain.map(str::to_owned);
        self.read(move |transaction| {
            let sql = "SELECT id, organization, report, domain, contact, start, end FROM tls_received
                       WHERE end >= ?1 AND (?2 IS NULL OR domain = ?2) ORDER BY organization, domain, start, id";
            let mut statement = transaction.prepare_cached(sql)?;
            let mut rows = statement.query(params![first.start().as_second(), domain])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(read_received(transaction, row)?);
            }
            Ok(found)
        })
        .await
    }

    /// Throws away the summaries that came before this time.
    ///
    /// # Errors
    /// Local: the file could not be written.
    pub(crate) async fn drop_received(&self, before: Timestamp) -> Result<usize, LedgerError> {
        self.write(move |transaction| {
            transaction.execute("DELETE FROM tls_received WHERE received < ?1", [before.as_second()])
        })
        .await
    }
}

fn keep_summary(
    transaction: &rusqlite::Transaction<'_>,
    summary: Received,
    now: Timestamp,
) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO tls_received (organization, report, domain, contact, start, end, received, octets)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT DO NOTHING";
    // Texts and numbers: nothing that JSON could not hold.
    let written = |policy: &ReceivedPolicy| serde_json::to_string(&policy.failures).unwrap_or_default();
    let failures: Vec<String> = summary.policies.iter().map(written).collect();
    let octets = summary.octets() + failures.iter().map(|written| POLICY_ROW + written.len()).sum::<usize>();
    let Received { organization, report, domain, contact, start, end, policies } = summary;
    let (start, end) = (start.as_second(), end.as_second());
    let row = params![organization, report, domain, contact, start, end, now.as_second(), size(octets)];
    if transaction.prepare_cached(sql)?.execute(row)? == 0 {
        return Ok(false);
    }
    let id = transaction.last_insert_rowid();
    for ((place, policy), failures) in (0i64..).zip(policies).zip(failures) {
        let sql = "INSERT INTO tls_received_policy (received, number, kind, succeeded, failed, failures)
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let (succeeded, failed) = (number(policy.succeeded), number(policy.failed));
        let row = params![id, place, policy.kind, succeeded, failed, failures];
        transaction.prepare_cached(sql)?.execute(row)?;
    }
    Ok(true)
}

/// The oldest summaries go until the rest keeps within the bounds.
fn make_room(transaction: &rusqlite::Transaction<'_>) -> rusqlite::Result<()> {
    let sql = "DELETE FROM tls_received WHERE id IN (SELECT id FROM
                   (SELECT id, row_number() OVER newest AS place, sum(octets) OVER newest AS held FROM tls_received
                    WINDOW newest AS (ORDER BY received DESC, id DESC ROWS UNBOUNDED PRECEDING))
               WHERE place > ?1 OR held > ?2)";
    let bounds = params![RECEIVED_MOST, size(RECEIVED_OCTETS)];
    transaction.prepare_cached(sql)?.execute(bounds).map(|_| ())
}

impl Received {
    /// What it takes of the disk without its policies; an index holds the first three texts again.
    fn octets(&self) -> usize {
        let twice = self.organization.len() + self.report.len() + self.domain.len();
        ROW + 2 * twice + self.contact.len()
    }
}

fn read_received(
    transaction: &rusqlite::Transaction<'_>,
    row: &rusqlite::Row<'_>,
) -> rusqlite::Result<Received> {
    let when = |column| {
        let second: i64 = row.get(column)?;
        Ok::<_, rusqlite::Error>(Timestamp::from_second(second).unwrap_or(Timestamp::UNIX_EPOCH))
    };
    let id: i64 = row.get(0)?;
    let sql = "SELECT kind, succeeded, failed, failures FROM tls_received_policy
               WHERE received = ?1 ORDER BY number";
    let policy = |row: &rusqlite::Row<'_>| {
        let failures: String = row.get(3)?;
        Ok(ReceivedPolicy {
            kind: row.get(0)?,
            succeeded: count(row.get(1)?),
            failed: count(row.get(2)?),
            failures: serde_json::from_str(&failures).unwrap_or_default(),
        })
    };
    let mut statement = transaction.prepare_cached(sql)?;
    let policies = statement.query_map([id], policy)?.collect::<rusqlite::Result<_>>()?;
    Ok(Received {
        organization: row.get(1)?,
        report: row.get(2)?,
        domain: row.get(3)?,
        contact: row.get(4)?,
        start: when(5)?,
        end: when(6)?,
        policies,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tls_results::{DomainCounts, PolicyApplied, PolicyCounts};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn day(text: &str) -> Day {
        text.parse().unwrap()
    }

    async fn counted(ledger: &Ledger, on: &str, domain: &str) {
        let policy = PolicyCounts { policy: PolicyApplied::NoPolicy, succeeded: 1, failures: vec![] };
        let counts = DomainCounts { day: day(on), domain: domain.into(), policies: vec![policy] };
        ledger.add_tls_counts(vec![counts]).await.unwrap();
    }

    fn waiting(on: &str, domain: &str, address: &str) -> Outgoing {
        Outgoing { day: day(on), domain: domain.into(), address: address.into(), tries: 0 }
    }

    async fn due(ledger: &Ledger, now: i64) -> Vec<Outgoing> {
        ledger.tls_reports_due(at(now), 10).await.unwrap()
    }

    fn received(organization: &str, report: &str) -> Received {
        let failure = ReceivedFailure {
            result: "certificate-expired".into(),
            host: "mx.ours.example".into(),
            why: String::new(),
            sessions: 2,
        };
        let policy = ReceivedPolicy { kind: "sts".into(), succeeded: 5, failed: 2, failures: vec![failure] };
        Received {
            organization: organization.into(),
            report: report.into(),
            domain: "ours.example".into(),
            contact: String::new(),
            start: at(86_400),
            end: at(172_799),
            policies: vec![policy],
        }
    }

    #[tokio::test]
    async fn a_report_waits_once_for_each_domain_that_was_counted() {
        let ledger = crate::policy::ledger::in_memory().unwrap();
        for (on, domain) in [
            ("2026-11-19", "old.example"),
            ("2026-11-20", "a.example"),
            ("2026-11-20", "a.example"),
            ("2026-11-20", OTHER_DOMAINS),
            ("2026-11-21", "a.example"),
        ] {
            counted(&ledger, on, domain).await;
        }
        for opened in [1, 0] {
            let days = (day("2026-11-20"), day("2026-11-20"));
            assert_eq!(ledger.open_tls_reports(days.0, days.1, at(9)).await.unwrap(), opened);
            assert_eq!(due(&ledger, 9).await, [waiting("2026-11-20", "a.example", "")]);
        }
        assert_eq!(due(&ledger, 8).await, []);
    }

    #[tokio::test]
    async fn a_report_goes_to_each_address_and_what_was_sent_is_never_due_again() {
        let ledger = crate::policy::ledger::in_memory().unwrap();
        counted(&ledger, "2026-11-20", "a.example").await;
        let open = async || {
            ledger.open_tls_reports(day("2026-11-20"), day("2026-11-20"), at(9)).await.unwrap();
        };
        open().await;
        let question = due(&ledger, 9).await.remove(0);
        let addresses = ["https://x.example/", "mailto:r@a.example"];
        ledger.address_tls_report(&question, addresses.map(str::to_owned).into(), at(10)).await.unwrap();
        let both = due(&ledger, 10).await;
        assert_eq!(both, addresses.map(|address| waiting("2026-11-20", "a.example", address)));
        let states = [ReportState::Waiting(at(50)), ReportState::Sent(at(10))];
        for (report, state) in both.into_iter().zip(states) {
            ledger.note_tls_report(Outgoing { tries: 1, ..report }, state, "x".into()).await.unwrap();
        }
        open().await;
        assert_eq!(due(&ledger, 49).await, []);
        let again = Outgoing { tries: 1, ..waiting("2026-11-20", "a.example", addresses[0]) };
        assert_eq!(due(&ledger, 50).await, [again]);
        assert_eq!(ledger.drop_tls_reports(day("2026-11-21")).await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_report_that_comes_again_counts_once() {
        let ledger = crate::policy::ledger::in_memory().unwrap();
        let keep = async |all| ledger.keep_received(all, at(1000)).await.unwrap();
        assert_eq!(keep(vec![received("One", "1")]).await, 1);
        assert_eq!(keep(vec![received("One", "1")]).await, 0);
        assert_eq!(keep(vec![received("One", "1"), received("One", "2"), received("Other", "1")]).await, 2);
        let all = ledger.received_since(Day::of(at(90_000)), Some("ours.example")).await.unwrap();
        assert_eq!(all, [received("One", "1"), received("One", "2"), received("Other", "1")]);
        assert_eq!(ledger.received_since(Day::of(at(180_000)), None).await.unwrap(), []);
        assert_eq!(ledger.received_since(Day::of(at(90_000)), Some("x.example")).await.unwrap(), []);
        assert_eq!(ledger.drop_received(at(1001)).await.unwrap(), 3);
    }

    /// As many summaries as there may be, each of so many octets by its row's word.
    async fn full_of(octets: usize) -> Ledger {
        let ledger = crate::policy::ledger::in_memory().unwrap();
        let fill = format!(
            "WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < {RECEIVED_MOST})
             INSERT INTO tls_received SELECT n, 'Flood', n, 'ours.example', '', 0, 0, n, {octets} FROM n"
        );
        ledger.write(move |transaction| transaction.execute_batch(&fill)).await.unwrap();
        ledger
    }

    /// How many there are, the oldest one, and all that they hold.
    async fn left(ledger: &Ledger) -> (u32, u32, usize) {
        let sql = "SELECT count(*), min(id), sum(octets) FROM tls_received";
        let row = |row: &rusqlite::Row<'_>| {
            let held = usize::try_from(row.get::<_, i64>(2)?).unwrap();
            Ok((row.get(0)?, row.get(1)?, held))
        };
        ledger.read(move |transaction| transaction.query_row(sql, [], row)).await.unwrap()
    }

    #[tokio::test]
    async fn of_too_many_summaries_the_oldest_go() {
        let ledger = full_of(1).await;
        let (later, new) =
            (at(i64::from(RECEIVED_MOST) + 1), vec![received("New", "1"), received("New", "2")]);
        assert_eq!(ledger.keep_received(new, later).await.unwrap(), 2);
        let (count, oldest, _) = left(&ledger).await;
        assert_eq!((count, oldest), (RECEIVED_MOST, 3));
    }

    #[tokio::test]
    async fn of_summaries_that_take_too_much_room_the_oldest_go() {
        let each = RECEIVED_OCTETS / 1000 + 1;
        let ledger = full_of(each).await;
        let (later, new) = (at(i64::from(RECEIVED_MOST) + 1), received("New", "1"));
        ledger.keep_received(vec![new.clone()], later).await.unwrap();
        let (count, oldest, held) = left(&ledger).await;
        assert_eq!((count, oldest), (1000, RECEIVED_MOST + 2 - 1000));
        assert!(held <= RECEIVED_OCTETS && held + each > RECEIVED_OCTETS, "{held}");
        assert!(ledger.received_since(Day::of(at(90_000)), None).await.unwrap().contains(&new));
    }

    #[tokio::test]
    async fn a_summarys_octets_are_what_it_holds() {
        let ledger = crate::policy::ledger::in_memory().unwrap();
        let mut large = received("One", "1");
        let failure = large.policies[0].failures[0].clone();
        large.policies[0].failures = vec![ReceivedFailure { why: "x".repeat(100), ..failure }; 50];
        ledger.keep_received(vec![large], at(1000)).await.unwrap();
        let (_, _, held) = left(&ledger).await;
        let sql = "SELECT max(length(failures)) FROM tls_received_policy";
        let read =
            ledger.read(move |transaction| transaction.query_row(sql, [], |row| row.get::<_, i64>(0))).await;
        let failures = usize::try_from(read.unwrap()).unwrap();
        assert!(failures > 5000 && held > failures && held < failures + 1000, "{held}: {failures}");
    }
}
