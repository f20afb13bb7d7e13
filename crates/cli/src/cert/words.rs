//! A certificate in words, as all the subcommands show it.
//!
//! Names come from whoever made the certificate, and are cleaned before they reach a terminal.

use jiff::Timestamp;
use postern_mta::event::clean;
use postern_smtp::tls::CertificateSeen;

/// Of a certificate's names, so many are shown.
const NAMES_MOST: usize = 20;
/// So many digits tell two certificates apart at a glance.
const DIGITS: usize = 8;

/// A certificate on a few lines.
pub(super) fn in_full(seen: &CertificateSeen, now: Timestamp) -> String {
    let issuer = if seen.self_signed { "itself".to_owned() } else { clean(&seen.issuer) };
    let left = left(&seen.not_after, now);
    format!(
        "{}\nsigned by {issuer}\nfor {}\nfrom {} to {} ({left}), {}\nsha256:{}\nspki-sha256:{}",
        clean(&seen.subject),
        names(seen),
        seen.not_before,
        seen.not_after,
        clean(&seen.key),
        seen.sha256,
        seen.spki_sha256
    )
}

/// A certificate on one line: until when, and the first digits of its fingerprint.
pub(super) fn brief(sha256: &str, not_after: &str) -> String {
    let day = not_after.split('T').next().unwrap_or_default();
    let digits: String = sha256.chars().take(DIGITS).collect();
    format!("{digits} until {day}")
}

/// How much time there is until then: `89 days left`, `ended 3 days ago`.
pub(super) fn left(not_after: &str, now: Timestamp) -> String {
    let Some(days) = days_left(not_after, now) else { return "of no known end".to_owned() };
    match days {
        0 => "ends within a day".to_owned(),
        1 => "1 day left".to_owned(),
        2.. => format!("{days} days left"),
        _ => "ended".to_owned(),
    }
}

/// Whole days until then; fewer than none once it is past.
pub(super) fn days_left(not_after: &str, now: Timestamp) -> Option<i64> {
    let end: Timestamp = not_after.parse().ok()?;
    Some(end.duration_since(now).as_secs().div_euclid(86_400))
}

fn names(seen: &CertificateSeen) -> String {
    if seen.names.is_empty() {
        return "no name at all".to_owned();
    }
    seen.names.iter().take(NAMES_MOST).map(|name| clean(name)).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_that_is_left_is_counted_in_whole_days() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        for (end, said) in [
            ("2027-02-19T12:00:00Z", "90 days left"),
            ("2026-11-23T11:00:00Z", "1 day left"),
            ("2026-11-22T11:59:59Z", "ends within a day"),
            ("2026-11-21T11:59:59Z", "ended"),
            ("soon", "of no known end"),
        ] {
            assert_eq!(left(end, now), said, "{end}");
        }
        assert_eq!(brief("0123456789abcdef", "2027-02-19T12:00:00Z"), "01234567 until 2027-02-19");
    }
}
