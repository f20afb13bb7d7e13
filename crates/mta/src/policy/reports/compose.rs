//! Our report on one domain and one day, from what was counted (RFC 8460 §4.4). Pure.
//!
//! [`compose`] makes it. The type to know: [`Reporting`], who reports, as the configuration has it. Of a day that is over the
//! same counters always give the same report with the same id, so that sending one twice does no harm. Its size is
//! bounded: failures beyond the most frequent ones are summed up by kind.
//!
//! What it deliberately does not do: count (`tls_results` does), find out who wants the report, compress it, or put it
//! into a message.

use std::collections::BTreeMap;

use jiff::Timestamp;
use postern_message::tls_report::{DateRange, FailureDetail, Policy, PolicyReport, ResultType, TlsReport};
use postern_smtp::address::Mailbox;

use crate::config::{Config, TlsReports};
use crate::policy::day::Day;
use crate::policy::tls_results::{DomainCounts, Failure, FailureCount, PolicyApplied, PolicyCounts};

/// Under one policy, so many failures are told in detail; the rest is summed up by what went wrong.
const DETAILS_MOST: usize = 100;

/// Who reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reporting<'a> {
    /// As people know it.
    pub(crate) organization: &'a str,
    /// Whom to ask.
    pub(crate) contact: &'a Mailbox,
    /// Our name: makes the report's id unique.
    pub(crate) hostname: &'a str,
}

impl<'a> Reporting<'a> {
    /// As the configuration has it.
    pub(crate) fn of(config: &'a Config) -> Self {
        let TlsReports { organization, contact, .. } = &config.tls_reports;
        Self { organization, contact, hostname: config.hostname.as_str() }
    }
}

/// The report. The same counters always give the same one, with the same id, so that a receiver who gets it twice counts
/// it once. Of a day that is not over yet, it reports up to now.
pub(crate) fn compose(counts: &DomainCounts, by: &Reporting<'_>, now: Timestamp) -> TlsReport {
    let date_range = range(counts.day, now);
    TlsReport {
        organization: by.organization.to_owned(),
        date_range,
        contact_info: Some(by.contact.to_string()),
        report_id: format!("{:.0}.{}@{}", date_range.end, counts.domain, by.hostname),
        policies: counts.policies.iter().map(|policy| of_policy(&counts.domain, policy)).collect(),
    }
}

fn range(day: Day, now: Timestamp) -> DateRange {
    DateRange { start: day.start(), end: now.clamp(day.start(), day.end()) }
}

fn of_policy(domain: &str, counts: &PolicyCounts) -> PolicyReport {
    let (strings, mx_hosts) = match &counts.policy {
        PolicyApplied::Tlsa(records) => (records.clone(), Vec::new()),
        PolicyApplied::Sts { lines, mx } => (lines.clone(), mx.clone()),
        PolicyApplied::NoPolicy => (Vec::new(), Vec::new()),
    };
    PolicyReport {
        policy: Policy { kind: counts.policy.kind(), strings, domain: domain.to_owned(), mx_hosts },
        successful: counts.succeeded,
        failed: counts.failed(),
        failures: details(&counts.failures),
    }
}

/// The ledger has them in order: the most frequent first.
fn details(failures: &[FailureCount]) -> Vec<FailureDetail> {
    let (told, rest) = failures.split_at(failures.len().min(DETAILS_MOST));
    let mut sums: BTreeMap<&str, (&ResultType, u64)> = BTreeMap::new();
    for FailureCount { failure, sessions } in rest {
        let (_, sum) = sums.entry(failure.result.as_str()).or_insert((&failure.result, 0));
        *sum = sum.saturating_add(*sessions);
    }
    let summed = sums.into_values().map(|(result, sum)| detail(&Failure::various(result.clone()), sum));
    told.iter().map(|count| detail(&count.failure, count.sessions)).chain(summed).collect()
}

fn detail(failure: &Failure<'_>, sessions: u64) -> FailureDetail {
    let said = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    FailureDetail {
        result: failure.result.clone(),
        sending_mta_ip: failure.local.map(|address| address.to_string()),
        receiving_mx_hostname: said(&failure.host),
        receiving_mx_helo: None,
        receiving_ip: failure.peer.map(|address| address.to_string()),
        failed_sessions: sessions,
        additional_information: None,
        failure_reason_code: said(&failure.why),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use postern_message::tls_report::PolicyKind;

    use super::*;

    fn failing(why: &str, sessions: u64) -> FailureCount {
        let failure = Failure {
            result: ResultType::CertificateExpired,
            host: "mx.example.org".into(),
            peer: Some(IpAddr::from([192, 0, 2, 25])),
            local: None,
            why: why.to_owned().into(),
        };
        FailureCount { failure, sessions }
    }

    fn counts(failures: Vec<FailureCount>) -> DomainCounts {
        let policy = PolicyApplied::Sts { lines: vec!["mode: enforce".into()], mx: vec!["mx.x".into()] };
        let none = PolicyCounts { policy: PolicyApplied::NoPolicy, succeeded: 1, failures: vec![] };
        let policies = vec![PolicyCounts { policy, succeeded: 7, failures }, none];
        DomainCounts { day: "2026-11-20".parse().unwrap(), domain: "example.org".into(), policies }
    }

    fn composed(failures: Vec<FailureCount>, now: &str) -> TlsReport {
        let contact = "tls@us.example".parse().unwrap();
        let by = Reporting { organization: "Us", contact: &contact, hostname: "mail.us.example" };
        compose(&counts(failures), &by, now.parse().unwrap())
    }

    #[test]
    fn a_report_tells_each_policy_with_its_failures() {
        let report = composed(vec![failing("expired yesterday", 2)], "2026-11-21T03:00:00Z");
        assert_eq!(report.report_id, "2026-11-20T23:59:59Z.example.org@mail.us.example");
        let [sts, none] = report.policies.as_slice() else { panic!("{report:?}") };
        assert_eq!((sts.successful, sts.failed, sts.policy.kind), (7, 2, PolicyKind::Sts));
        assert_eq!((none.successful, none.failed, none.policy.kind), (1, 0, PolicyKind::NoPolicyFound));
        let [detail] = sts.failures.as_slice() else { panic!("{report:?}") };
        assert_eq!(detail.receiving_ip.as_deref(), Some("192.0.2.25"));
        assert_eq!(detail.sending_mta_ip, None);
        assert_eq!(detail.failure_reason_code.as_deref(), Some("expired yesterday"));
        assert_eq!(TlsReport::parse(&report.to_json()).unwrap(), report);
    }

    #[test]
    fn a_day_that_is_not_over_is_reported_up_to_now_under_an_id_of_its_own() {
        let noon = composed(vec![], "2026-11-20T12:00:00.5Z");
        assert_eq!(noon.report_id, "2026-11-20T12:00:00Z.example.org@mail.us.example");
        let late = composed(vec![], "2026-11-22T12:00:00Z");
        assert_eq!(late, composed(vec![], "2026-11-21T00:00:00Z"));
        assert_eq!(late.date_range.end, "2026-11-20T23:59:59Z".parse().unwrap());
    }

    #[test]
    fn rare_failures_are_summed_up_and_none_is_lost() {
        let many = (0..1000).map(|n| failing(&n.to_string(), 3)).collect();
        let report = composed(many, "2026-11-21T03:00:00Z");
        let sts = &report.policies[0];
        assert_eq!((sts.failed, sts.failures.len()), (3000, DETAILS_MOST + 1));
        let told: u64 = sts.failures.iter().map(|detail| detail.failed_sessions).sum();
        assert_eq!(told, 3000);
    }
}
