//! Asking a policy host (RFC 8461 §3.3).

use postern_dns::Resolver;
use postern_dns::mta_sts::{POLICY_MOST, Policy, PolicyError, policy_host, record_id, record_name};

use super::{StsFault, StsOptions};
use crate::https::{Https, HttpsError, HttpsUrl, Limits, Reply};

/// The policy that a domain announces and shows now, whatever is kept of it; `None` when it announces none.
///
/// # Errors
/// What is wrong with it, or why nobody knows.
pub(crate) async fn announced(
    resolver: &dyn Resolver,
    https: &Https,
    domain: &str,
    options: &StsOptions,
) -> Result<Option<Policy>, StsFault> {
    let texts = match resolver.txt(&record_name(domain)).await {
        Ok(answer) => answer.records,
        Err(error) if error.is_negative() => return Ok(None),
        Err(error) => return Err(StsFault::Lookup(error.to_string())),
    };
    if record_id(&texts).map_err(StsFault::Record)?.is_none() {
        return Ok(None);
    }
    let limits = Limits { body_most: POLICY_MOST, time: options.time };
    fetch(https, domain, options.port, limits).await.map(Some)
}

pub(super) async fn fetch(
    https: &Https,
    domain: &str,
    port: u16,
    limits: Limits,
) -> Result<Policy, StsFault> {
    let url = format!("https://{}:{port}/.well-known/mta-sts.txt", policy_host(domain));
    let url: HttpsUrl = url.parse().map_err(StsFault::Fetch)?;
    match https.get(&url, limits).await {
        Ok(reply) => judge(&reply),
        // What is too large need not be a policy.
        Err(HttpsError::TooLarge { status, .. }) if status != 200 => Err(StsFault::Status(status)),
        Err(HttpsError::TooLarge { .. }) => Err(StsFault::Policy(PolicyError::TooLarge)),
        Err(error) => Err(StsFault::Fetch(error)),
    }
}

fn judge(reply: &Reply) -> Result<Policy, StsFault> {
    // RFC 8461 §3.3: redirects are not followed, and only 200 is a success.
    if reply.status != 200 {
        return Err(StsFault::Status(reply.status));
    }
    // RFC 8461 §3.2: on hosts where anybody may put files, a policy is at least no web page.
    if reply.media_type.as_deref() != Some("text/plain") {
        return Err(StsFault::MediaType(reply.media_type.clone()));
    }
    Policy::parse(&reply.body).map_err(StsFault::Policy)
}
