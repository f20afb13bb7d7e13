//! What an administrator can ask of TLS reports.
//!
//! All but sending needs nothing but the ledger, and works while Postern does not run.

use jiff::Timestamp;
use postern_dns::mta_sts::policy_domain;
use serde::{Deserialize, Serialize};

use super::DAYS_KEPT;
use super::compose::{Reporting, compose};
use super::show::{Overview, overview};
use crate::config::Config;
use crate::policy::day::Day;
use crate::policy::ledger::{Ledger, LedgerError};
use crate::policy::tls_results::OTHER_DOMAINS;

/// An operation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// What did sessions come to, and what do others report?
    Show {
        /// With or about this domain only.
        domain: Option<String>,
        /// So many days back, today included.
        days: u16,
    },
    /// Which domains were counted?
    Domains {
        /// On which day.
        day: Day,
    },
    /// What is reported?
    Preview {
        /// About which day.
        day: Day,
        /// To which domain.
        domain: String,
    },
    /// Send a report now.
    Send {
        /// About which day.
        day: Day,
        /// To which domain.
        domain: String,
    },
}

/// What came of an operation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// Both lists.
    Overview(Overview),
    /// Domains.
    Domains(Vec<String>),
    /// A report in JSON, as RFC 8460 has it.
    Report(String),
    /// What became of the report at each address.
    Sent(Vec<SentTo>),
}

/// What became of a report at one address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SentTo {
    /// A `mailto:` or `https:` URI.
    pub address: String,
    /// How it went, or why not.
    pub outcome: Result<String, String>,
}

/// Carries an operation out on the ledger alone.
///
/// # Errors
/// In words: why it could not be done.
pub(crate) async fn carry_out_alone(
    ledger: &Ledger,
    config: &Config,
    request: Request,
    now: Timestamp,
) -> Result<Response, String> {
    let wrong = |error: LedgerError| error.to_string();
    match request {
        Request::Show { domain, days } => {
            let domain = domain.as_deref().map(canonical).transpose()?;
            let last = Day::of(now);
            let first = last.earlier(days.clamp(1, DAYS_KEPT + 1) - 1);
            let overview = overview(ledger, domain.as_deref(), (first, last)).await;
            overview.map(Response::Overview).map_err(wrong)
        }
        Request::Domains { day } => ledger.tls_domains(day).await.map(Response::Domains).map_err(wrong),
        Request::Preview { day, domain } => {
            let domain = canonical(&domain)?;
            let counts = ledger.tls_counts(day, Some(&domain)).await.map_err(wrong)?;
            let counts =
                counts.first().ok_or_else(|| format!("no session with {domain} was counted on {day}"))?;
            let json = compose(counts, &Reporting::of(config), now).to_json();
            Ok(Response::Report(String::from_utf8_lossy(&json).into_owned()))
        }
        Request::Send { .. } => Err("Postern is not running, and only then can it send reports".to_owned()),
    }
}

pub(super) fn canonical(domain: &str) -> Result<String, String> {
    if domain == OTHER_DOMAINS {
        return Ok(domain.to_owned());
    }
    let name = policy_domain(domain).ok_or_else(|| format!("{domain:?} is not a domain"))?;
    Ok(name.into_owned())
}
