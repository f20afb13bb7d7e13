//! A report's JSON (RFC 8460 §4.4), written as the RFC has it and read as senders really write it.
//!
//! Reading goes twice over the octets: [`Shape`] counts first and keeps nothing, so that no report can make us keep more
//! than the limits allow.
//!
//! What it deliberately does not do: judge what a report says. Texts lose their control characters and nothing else.

use std::fmt;
use std::ops::AddAssign;

use jiff::Timestamp;
use postern_smtp::text;
use serde::de::{Error as _, IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    DateRange, FailureDetail, MAX_FAILURES, MAX_LINES, MAX_POLICIES, ParseError, Policy, PolicyKind,
    PolicyReport, ResultType, TlsReport,
};

/// How many octets of any text are kept.
const MAX_TEXT: usize = 2_000;

pub(super) fn write(report: &TlsReport) -> Vec<u8> {
    // Texts, numbers and lists: nothing here that JSON could not hold.
    serde_json::to_vec_pretty(&Document::from(report)).unwrap_or_default()
}

pub(super) fn read(json: &[u8]) -> Result<TlsReport, ParseError> {
    count(json)?.check()?;
    let document: Document = serde_json::from_slice(json).map_err(malformed)?;
    if document.date_range.end_datetime < document.date_range.start_datetime {
        return Err(ParseError::BackwardRange);
    }
    Ok(document.into())
}

fn malformed(error: impl fmt::Display) -> ParseError {
    ParseError::Malformed(text::clean(error, 500))
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Document {
    organization_name: String,
    date_range: Range,
    #[serde(skip_serializing_if = "Option::is_none")]
    contact_info: Option<String>,
    report_id: String,
    policies: Vec<Entry>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Range {
    #[serde(deserialize_with = "moment")]
    start_datetime: Timestamp,
    #[serde(deserialize_with = "moment")]
    end_datetime: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Entry {
    policy: Applied,
    summary: Summary,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_details: Option<Vec<Detail>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Applied {
    policy_type: Kind,
    #[serde(default, skip_serializing_if = "Lines::is_empty")]
    policy_string: Lines,
    policy_domain: String,
    #[serde(default, skip_serializing_if = "Lines::is_empty")]
    mx_host: Lines,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    Tlsa,
    Sts,
    NoPolicyFound,
}

/// Writers that leave out zeros are common.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Summary {
    total_successful_session_count: Option<u64>,
    total_failure_session_count: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Detail {
    result_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    sending_mta_ip: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiving_mx_hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiving_mx_helo: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    receiving_ip: Option<String>,
    failed_session_count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_information: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failure_reason_code: Option<String>,
}

impl From<&TlsReport> for Document {
    fn from(report: &TlsReport) -> Self {
        let DateRange { start, end } = report.date_range;
        Self {
            organization_name: report.organization.clone(),
            date_range: Range { start_datetime: start, end_datetime: end },
            contact_info: report.contact_info.clone(),
            report_id: report.report_id.clone(),
            policies: report.policies.iter().map(Entry::from).collect(),
        }
    }
}

impl From<&PolicyReport> for Entry {
    fn from(entry: &PolicyReport) -> Self {
        let details: Vec<_> = entry.failures.iter().map(Detail::from).collect();
        Self {
            policy: Applied {
                policy_type: entry.policy.kind.into(),
                policy_string: Lines(entry.policy.strings.clone()),
                policy_domain: entry.policy.domain.clone(),
                mx_host: Lines(entry.policy.mx_hosts.clone()),
            },
            summary: Summary {
                total_successful_session_count: Some(entry.successful),
                total_failure_session_count: Some(entry.failed),
            },
            failure_details: (!details.is_empty()).then_some(details),
        }
    }
}

impl From<&FailureDetail> for Detail {
    fn from(detail: &FailureDetail) -> Self {
        Self {
            result_type: detail.result.as_str().to_owned(),
            sending_mta_ip: detail.sending_mta_ip.clone(),
            receiving_mx_hostname: detail.receiving_mx_hostname.clone(),
            receiving_mx_helo: detail.receiving_mx_helo.clone(),
            receiving_ip: detail.receiving_ip.clone(),
            failed_session_count: Some(detail.failed_sessions),
            additional_information: detail.additional_information.clone(),
            failure_reason_code: detail.failure_reason_code.clone(),
        }
    }
}

impl From<PolicyKind> for Kind {
    fn from(kind: PolicyKind) -> Self {
        match kind {
            PolicyKind::Tlsa => Self::Tlsa,
            PolicyKind::Sts => Self::Sts,
            PolicyKind::NoPolicyFound => Self::NoPolicyFound,
        }
    }
}

impl From<Document> for TlsReport {
    fn from(document: Document) -> Self {
        let Range { start_datetime: start, end_datetime: end } = document.date_range;
        Self {
            organization: harmless(&document.organization_name),
            date_range: DateRange { start, end },
            contact_info: said(document.contact_info),
            report_id: harmless(&document.report_id),
            policies: document.policies.into_iter().map(PolicyReport::from).collect(),
        }
    }
}

impl From<Entry> for PolicyReport {
    fn from(entry: Entry) -> Self {
        let Entry { policy, summary, failure_details } = entry;
        Self {
            policy: Policy {
                kind: policy.policy_type.into(),
                strings: policy.policy_string.harmless(),
                domain: harmless(&policy.policy_domain),
                mx_hosts: policy.mx_host.harmless(),
            },
            successful: summary.total_successful_session_count.unwrap_or(0),
            failed: summary.total_failure_session_count.unwrap_or(0),
            failures: failure_details.unwrap_or_default().into_iter().map(FailureDetail::from).collect(),
        }
    }
}

impl From<Detail> for FailureDetail {
    fn from(detail: Detail) -> Self {
        Self {
            result: ResultType::named(&harmless(&detail.result_type)),
            sending_mta_ip: said(detail.sending_mta_ip),
            receiving_mx_hostname: said(detail.receiving_mx_hostname),
            receiving_mx_helo: said(detail.receiving_mx_helo),
            receiving_ip: said(detail.receiving_ip),
            failed_sessions: detail.failed_session_count.unwrap_or(0),
            additional_information: said(detail.additional_information),
            failure_reason_code: said(detail.failure_reason_code),
        }
    }
}

impl From<Kind> for PolicyKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Tlsa => Self::Tlsa,
            Kind::Sts => Self::Sts,
            Kind::NoPolicyFound => Self::NoPolicyFound,
        }
    }
}

/// RFC 3339.
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let said = String::deserialize(deserializer)?;
    said.parse().map_err(|_| {
        let shown = text::clean(&said, 50);
        D::Error::custom(format!("\"{shown}\" is no date and time such as 2026-11-20T00:00:00Z"))
    })
}

fn harmless(said: &str) -> String {
    text::clean(said.trim(), MAX_TEXT).trim_end().to_owned()
}

/// An empty text says nothing.
fn said(text: Option<String>) -> Option<String> {
    text.map(|text| harmless(&text)).filter(|text| !text.is_empty())
}

/// A list of texts, which some write as one text.
#[derive(Default, Serialize)]
struct Lines(Vec<String>);

impl Lines {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn harmless(&self) -> Vec<String> {
        self.0.iter().map(|line| harmless(line)).filter(|line| !line.is_empty()).collect()
    }
}

impl<'de> Deserialize<'de> for Lines {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMore;
        impl<'de> Visitor<'de> for OneOrMore {
            type Value = Lines;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a list of texts")
            }

            fn visit_str<E>(self, text: &str) -> Result<Lines, E> {
                Ok(Lines(vec![text.to_owned()]))
            }

            fn visit_unit<E>(self) -> Result<Lines, E> {
                Ok(Lines::default())
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Lines, A::Error> {
                let mut lines = Vec::new();
                while let Some(line) = list.next_element()? {
                    lines.push(line);
                }
                Ok(Lines(lines))
            }
        }
        deserializer.deserialize_any(OneOrMore)
    }
}

/// How much of everything a report holds.
#[derive(Default, Clone, Copy)]
struct Counts {
    policies: usize,
    failures: usize,
    lines: usize,
}

impl Counts {
    fn check(self) -> Result<(), ParseError> {
        let limits = [
            ("policies", self.policies, MAX_POLICIES),
            ("failure details", self.failures, MAX_FAILURES),
            ("lines of policies", self.lines, MAX_LINES),
        ];
        match limits.into_iter().find(|(_, count, most)| count > most) {
            Some((what, _, most)) => Err(ParseError::TooMany { what, most }),
            None => Ok(()),
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.policies += other.policies;
        self.failures += other.failures;
        self.lines += other.lines;
    }
}

fn count(json: &[u8]) -> Result<Counts, ParseError> {
    let shape: Shape = serde_json::from_slice(json).map_err(malformed)?;
    Ok(shape.policies.0)
}

/// A report in which only the lengths of lists matter.
#[derive(Deserialize)]
struct Shape {
    policies: EntryCounts,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct EntryShape {
    policy: PolicyShape,
    #[serde(default)]
    failure_details: Length,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct PolicyShape {
    #[serde(default)]
    policy_string: Length,
    #[serde(default)]
    mx_host: Length,
}

/// The sums over all policies.
struct EntryCounts(Counts);

impl<'de> Deserialize<'de> for EntryCounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Sum;
        impl<'de> Visitor<'de> for Sum {
            type Value = EntryCounts;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of policies")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<EntryCounts, A::Error> {
                let mut counts = Counts::default();
                while let Some(entry) = list.next_element::<EntryShape>()? {
                    let lines = entry.policy.policy_string.0 + entry.policy.mx_host.0;
                    counts += Counts { policies: 1, failures: entry.failure_details.0, lines };
                }
                Ok(EntryCounts(counts))
            }
        }
        deserializer.deserialize_seq(Sum)
    }
}

/// The length of a list; one for what is no list.
#[derive(Default)]
struct Length(usize);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Count;
        impl<'de> Visitor<'de> for Count {
            type Value = Length;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_str<E>(self, _: &str) -> Result<Length, E> {
                Ok(Length(1))
            }

            fn visit_unit<E>(self) -> Result<Length, E> {
                Ok(Length(0))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Length, A::Error> {
                let mut length = 0;
                while list.next_element::<IgnoredAny>()?.is_some() {
                    length += 1;
                }
                Ok(Length(length))
            }
        }
        deserializer.deserialize_any(Count)
    }
}
