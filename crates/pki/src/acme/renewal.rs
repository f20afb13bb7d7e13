//! When to renew what a CA suggests a window for (RFC 9773). Without one, see [`renewal_moment`](crate::renewal_moment).
//!
//! All of it is pure. The moment within the window is drawn from certificate and window, so that it is the same after a
//! restart, another for each certificate, and evenly spread over all of them, as RFC 9773 §4.2 wants it.

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;

use crate::identity::sha256;

/// When the CA wants a certificate to be renewed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Not before.
    pub start: Timestamp,
    /// Not after.
    pub end: Timestamp,
    /// A page that says why the window is as it is.
    pub explanation: Option<String>,
    /// How long this is good for.
    pub ask_again: std::time::Duration,
}

/// The moment within the window to renew this certificate at; if it is over, that is now.
pub fn renew_at(window: &Window, certificate: &CertificateDer<'_>) -> Timestamp {
    let (start, end) = (window.start.as_second(), window.end.as_second());
    let Some(length) = end.checked_sub(start).filter(|length| *length > 0) else {
        return window.start;
    };
    let mut drawn = certificate.to_vec();
    drawn.extend(start.to_be_bytes());
    drawn.extend(end.to_be_bytes());
    let digest = sha256(&drawn);
    let number = digest.iter().take(8).fold(0u64, |number, octet| number << 8 | u64::from(*octet));
    // Lengths are far below 2^63, so that the remainder is as good as evenly spread.
    let offset = number % length.unsigned_abs();
    let offset = i64::try_from(offset).unwrap_or(length);
    Timestamp::from_second(start.saturating_add(offset)).unwrap_or(window.start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn window(start: &str, end: &str) -> Window {
        let ask_again = std::time::Duration::from_hours(1);
        Window { start: time(start), end: time(end), explanation: None, ask_again }
    }

    #[test]
    fn the_moment_lies_in_the_window_and_is_spread_and_stays_the_same() {
        let window = window("2026-11-21T00:00:00Z", "2026-11-23T00:00:00Z");
        let moments: Vec<_> =
            (0..200u8).map(|number| renew_at(&window, &CertificateDer::from(vec![number]))).collect();
        assert!(moments.iter().all(|moment| (window.start..window.end).contains(moment)));
        let early = moments.iter().filter(|moment| **moment < time("2026-11-22T00:00:00Z")).count();
        assert!((60..140).contains(&early), "{early} of 200 in the first half");
        assert_eq!(renew_at(&window, &CertificateDer::from(vec![7])), moments[7]);
    }

    #[test]
    fn a_window_without_length_or_upside_down_is_its_start() {
        for end in ["2026-11-21T00:00:00Z", "2026-11-20T00:00:00Z"] {
            let window = window("2026-11-21T00:00:00Z", end);
            assert_eq!(renew_at(&window, &CertificateDer::from(vec![1])), window.start);
        }
    }
}
