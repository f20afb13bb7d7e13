//! When something is to be done about an identity, and why. Pure.
//!
//! [`judge`] holds what is wanted against what lies in the store and what is known of the CA's wishes, at a moment.

use std::collections::BTreeSet;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use postern_pki::acme::{Window, renew_at};
use postern_pki::renewal_moment;
use postern_pki::{KeyKind, Name, Origin};
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};

/// Between two renewals there is at least this, or a third of the time that the certificate is good for.
const LEAST: SignedDuration = SignedDuration::from_hours(1);

/// What is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The identity.
    pub(super) identity: String,
    /// Its names.
    pub(super) names: Vec<Name>,
    /// Its key.
    pub(super) key: KeyKind,
    /// The `[[acme]]` that issues it.
    pub(super) authority: String,
}

/// What lies in the store.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// The certificate.
    pub(super) certificate: CertificateDer<'static>,
    /// Its names, as text.
    pub(super) names: BTreeSet<String>,
    /// The kind of its key.
    pub(super) key: Option<KeyKind>,
    /// Who issued it.
    pub(super) origin: Origin,
    /// When it was put there.
    pub(super) installed: Timestamp,
    /// Good from then.
    pub(super) not_before: Timestamp,
    /// Good until then.
    pub(super) not_after: Timestamp,
}

/// What is known of when the CA wants a certificate to be renewed.
#[derive(Debug, Clone)]
pub(super) enum Hint {
    /// It was not asked.
    Unknown,
    /// It has no such wish, or does not answer; to be asked again at this time.
    None(Timestamp),
    /// It has; to be asked again at this time.
    Window(Window, Timestamp),
}

/// Why an order is placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// There is no certificate, or none that can be read.
    Missing,
    /// It is for other names.
    Names,
    /// It has another kind of key.
    Key,
    /// Another authority issued it.
    Issuer,
    /// A third of its life is left, or 30 days.
    Due,
    /// The CA wants it to be renewed now (RFC 9773).
    Suggested,
    /// An administrator wants it.
    ByHand,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// An order.
    Order(Why),
    /// The CA is to be asked when it wants the certificate to be renewed.
    Ask,
    /// Nothing until then.
    Wait(Timestamp),
}

/// What is to be done about an identity now.
pub(super) fn judge(wanted: &Wanted, held: Option<&Held>, hint: &Hint, now: Timestamp) -> Verdict {
    let Some(held) = held else { return Verdict::Order(Why::Missing) };
    if let Some(why) = differs(wanted, held) {
        return Verdict::Order(why);
    }
    let own = renewal_moment(held.not_before, held.not_after);
    let (wished, why, ask) = match hint {
        Hint::Unknown => (own, Why::Due, now),
        Hint::None(ask) => (own, Why::Due, *ask),
        // Whatever the CA says, a certificate is not let run out.
        Hint::Window(window, ask) => {
            let suggested = renew_at(window, &held.certificate);
            let last = last_moment(held);
            if last < suggested { (last, Why::Due, *ask) } else { (suggested, Why::Suggested, *ask) }
        }
    };
    let moment = wished.max(earliest(held));
    match () {
        () if moment <= now => Verdict::Order(why),
        () if ask <= now => Verdict::Ask,
        () => Verdict::Wait(moment.min(ask)),
    }
}

/// What was just issued is not replaced at once, whatever its dates and the CA say: they could say it of the next one, too.
fn earliest(held: &Held) -> Timestamp {
    let third = held.not_after.duration_since(held.installed) / 3;
    let pause = third.clamp(SignedDuration::ZERO, LEAST);
    held.installed.checked_add(pause).unwrap_or(held.installed)
}

/// Half way from the usual moment to the end.
fn last_moment(held: &Held) -> Timestamp {
    let usual = renewal_moment(held.not_before, held.not_after);
    usual.checked_add(held.not_after.duration_since(usual) / 2).unwrap_or(usual)
}

fn differs(wanted: &Wanted, held: &Held) -> Option<Why> {
    let names: BTreeSet<_> = wanted.names.iter().map(ToString::to_string).collect();
    match &held.origin {
        // Put there by hand it is good until it is due: perhaps it came from a backup.
        Origin::ByHand => {}
        Origin::Acme(authority) if *authority == wanted.authority => {}
        Origin::Acme(_) | Origin::PrivateCa => return Some(Why::Issuer),
    }
    if names != held.names {
        return Some(Why::Names);
    }
    (held.key != Some(wanted.key)).then_some(Why::Key)
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => "there is none yet",
            Self::Names => "the names changed",
            Self::Key => "the kind of key changed",
            Self::Issuer => "another authority issued the present one",
            Self::Due => "the present one comes to its end",
            Self::Suggested => "the authority suggests it",
            Self::ByHand => "an administrator asked for it",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> Timestamp {
        format!("{text}T00:00:00Z").parse().unwrap()
    }

    fn wanted() -> Wanted {
        Wanted {
            identity: "mail".to_owned(),
            names: vec!["a.example".parse().unwrap(), "b.example".parse().unwrap()],
            key: KeyKind::EcdsaP256,
            authority: "le".to_owned(),
        }
    }

    fn held() -> Held {
        Held {
            certificate: CertificateDer::from(vec![1, 2, 3]),
            names: ["a.example".to_owned(), "b.example".to_owned()].into(),
            key: Some(KeyKind::EcdsaP256),
            origin: Origin::Acme("le".to_owned()),
            installed: time("2026-01-01"),
            not_before: time("2026-01-01"),
            not_after: time("2026-04-01"),
        }
    }

    fn window(start: &str, end: &str, ask: &str) -> Hint {
        let ask_again = std::time::Duration::from_hours(6);
        let window = Window { start: time(start), end: time(end), explanation: None, ask_again };
        Hint::Window(window, time(ask))
    }

    #[test]
    fn what_is_missing_or_for_something_else_is_ordered_at_once() {
        let now = time("2026-01-02");
        let order = |held: Option<&Held>| judge(&wanted(), held, &Hint::Unknown, now);
        assert_eq!(order(None), Verdict::Order(Why::Missing));
        let names = Held { names: ["a.example".to_owned()].into(), ..held() };
        assert_eq!(order(Some(&names)), Verdict::Order(Why::Names));
        let key = Held { key: Some(KeyKind::Rsa2048), ..held() };
        assert_eq!(order(Some(&key)), Verdict::Order(Why::Key));
        for origin in [Origin::Acme("staging".to_owned()), Origin::PrivateCa] {
            assert_eq!(order(Some(&Held { origin, ..held() })), Verdict::Order(Why::Issuer));
        }
        let by_hand = Held { origin: Origin::ByHand, ..held() };
        assert_eq!(order(Some(&by_hand)), Verdict::Ask);
    }

    #[test]
    fn without_a_hint_the_last_third_is_when_it_is_renewed() {
        let none = Hint::None(time("2027-01-01"));
        let verdict = |now| judge(&wanted(), Some(&held()), &none, time(now));
        assert_eq!(verdict("2026-01-02"), Verdict::Wait(time("2026-03-02")));
        assert_eq!(verdict("2026-03-02"), Verdict::Order(Why::Due));
        assert_eq!(verdict("2026-05-01"), Verdict::Order(Why::Due));
    }

    #[test]
    fn the_cas_window_decides_sooner_or_later() {
        let verdict = |hint: &Hint, now| judge(&wanted(), Some(&held()), hint, time(now));
        let soon = window("2026-01-10", "2026-01-11", "2026-01-09");
        assert_eq!(verdict(&soon, "2026-01-08"), Verdict::Wait(time("2026-01-09")));
        assert_eq!(verdict(&soon, "2026-01-09"), Verdict::Ask);
        assert_eq!(verdict(&soon, "2026-01-11"), Verdict::Order(Why::Suggested));
        let later = window("2026-03-10", "2026-03-11", "2026-12-01");
        assert!(matches!(verdict(&later, "2026-03-05"), Verdict::Wait(at) if at >= time("2026-03-10")));
    }

    #[test]
    fn what_was_just_issued_is_not_replaced_at_once() {
        let past = window("2025-01-01", "2025-01-02", "2027-01-01");
        let judge_at = |hour: &str| {
            judge(&wanted(), Some(&held()), &past, format!("2026-01-01T{hour}Z").parse().unwrap())
        };
        assert_eq!(judge_at("00:59:59"), Verdict::Wait("2026-01-01T01:00:00Z".parse().unwrap()));
        assert_eq!(judge_at("01:00:00"), Verdict::Order(Why::Suggested));
        let over = Held { not_after: time("2025-12-01"), ..held() };
        let now = time("2026-01-01");
        assert_eq!(judge(&wanted(), Some(&over), &Hint::None(now), now), Verdict::Order(Why::Due));
    }

    #[test]
    fn no_window_lets_a_certificate_run_out() {
        let never = window("2030-01-01", "2030-01-02", "2030-01-01");
        let verdict = |now| judge(&wanted(), Some(&held()), &never, time(now));
        assert!(matches!(verdict("2026-03-03"), Verdict::Wait(_)));
        assert_eq!(verdict("2026-03-18"), Verdict::Order(Why::Due));
    }
}
