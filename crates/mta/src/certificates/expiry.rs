//! Who hears when that a certificate comes to its end. Pure: certificates, the time and what was said go in, what is to be
//! said comes out.
//!
//! - [`Watched`]: a certificate that something depends on, with whoever depends on it.
//! - [`due`]: the [`Warning`]s that are to be said now, by the time spans of the configuration and what [`Said`] remembers:
//!   each span once for each certificate, and once it is over, each day.
//! - [`findings`]: the same without a memory, for monitoring: how bad is it now?
//!
//! What it deliberately does not do: look at files, or send anything; [`warn`](super::warn) does.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use postern_pki::ChainLink;
use serde::{Deserialize, Serialize};

use super::renewal::Renewal;

/// A certificate that is over is spoken of once in so long.
const OVER_AGAIN: SignedDuration = SignedDuration::from_hours(24);
/// So long after its end, a certificate that nobody uses any more is forgotten.
const FORGET: SignedDuration = SignedDuration::from_hours(90 * 24);

/// A certificate that something depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watched {
    /// What depends on it: an identity by its name, or the private CA.
    pub owner: Owner,
    /// Which certificate of a chain it is.
    pub position: Position,
    /// The certificate.
    pub link: ChainLink,
    /// Who renews it.
    pub renewal: Renewal,
}

/// What a certificate belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// An identity, by its name.
    Identity(String),
    /// The private CA.
    PrivateCa,
}

/// Which certificate of a chain it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Position {
    /// The one with the server's names.
    Own,
    /// One between it and the root.
    Intermediate,
    /// The root.
    Root,
}

/// Something to be said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    /// Whose certificates it is about: one of them, and who depends on it as well.
    owners: Vec<Owner>,
    watched: Watched,
    left: Left,
}

/// How much of its life a certificate has left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    /// So long, and it has passed this warning.
    Some { left: SignedDuration, span: Duration },
    /// None.
    None,
}

/// What was said, so that a restart does not repeat it. Certificates are known by their fingerprints.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Said(BTreeMap<String, Told>);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    not_after: Timestamp,
    /// The shortest span that was warned of, in seconds.
    span: u64,
    /// When it was last said that it is over.
    over: Option<Timestamp>,
}

/// How bad something is, with the exit codes of monitoring plug-ins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Nothing is wrong: 0.
    Ok,
    /// It has to be seen to: 1.
    Warning,
    /// It is over or about to be: 2.
    Critical,
}

/// What `postern cert check` has to say of one certificate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it belongs to.
    pub owner: Owner,
    /// What is so, in a sentence.
    pub what: String,
    /// What to do; empty where there is nothing.
    pub remedy: String,
    /// When the certificate ends, where there is one.
    pub not_after: Option<Timestamp>,
}

impl Severity {
    /// The exit code of a monitoring plug-in.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Critical => 2,
        }
    }
}

/// What is to be said now. A certificate that several depend on, such as an intermediate, is one warning.
pub(crate) fn due(watched: &[Watched], spans: &[Duration], said: &Said, now: Timestamp) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = Vec::new();
    for watched in watched {
        let fingerprint = &watched.link.fingerprint_sha256;
        let known = warnings.iter_mut().find(|known| known.watched.link.fingerprint_sha256 == *fingerprint);
        if let Some(known) = known {
            if !known.owners.contains(&watched.owner) {
                known.owners.push(watched.owner.clone());
            }
            continue;
        }
        let Some(left) = left(watched, spans, now) else { continue };
        if is_news(left, said.0.get(fingerprint), now) {
            let owners = vec![watched.owner.clone()];
            warnings.push(Warning { owners, watched: watched.clone(), left });
        }
    }
    warnings
}

impl Said {
    /// Remembers that a warning was said, and forgets certificates that ended long ago.
    pub(crate) fn remember(&mut self, warning: &Warning, now: Timestamp) {
        let link = &warning.watched.link;
        let blank = Told { not_after: link.not_after, span: u64::MAX, over: None };
        let told = self.0.entry(link.fingerprint_sha256.clone()).or_insert(blank);
        match warning.left {
            Left::Some { span, .. } => told.span = span.as_secs(),
            Left::None => told.over = Some(now),
        }
        self.0.retain(|_, told| now.duration_since(told.not_after) < FORGET || told.over == Some(now));
    }
}

/// How things stand with each certificate, the worst first.
pub(crate) fn findings(watched: &[Watched], spans: &[Duration], now: Timestamp) -> Vec<Finding> {
    let last = spans.iter().min().copied().unwrap_or_default();
    let finding = |watched: &Watched| {
        let left = left(watched, spans, now);
        let severity = match left {
            None => Severity::Ok,
            Some(Left::Some { span, .. }) if span > last => Severity::Warning,
            Some(_) => Severity::Critical,
        };
        let life = Left::Some { left: watched.link.not_after.duration_since(now), span: Duration::ZERO };
        let warning = Warning {
            owners: vec![watched.owner.clone()],
            watched: watched.clone(),
            left: left.unwrap_or(life),
        };
        let remedy = if severity == Severity::Ok { String::new() } else { warning.remedy() };
        let not_after = Some(watched.link.not_after);
        Finding { severity, owner: watched.owner.clone(), what: warning.to_string(), remedy, not_after }
    };
    let mut findings: Vec<Finding> = watched.iter().map(finding).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// The shortest warning that a certificate has passed, if any. A span that is a large part of its whole life tells nothing:
/// of half of it by hand, and of a third where Postern renews, which it does about then.
fn left(watched: &Watched, spans: &[Duration], now: Timestamp) -> Option<Left> {
    let link = &watched.link;
    let left = link.not_after.duration_since(now);
    if left <= SignedDuration::ZERO {
        return Some(Left::None);
    }
    let life = link.not_after.duration_since(link.not_before);
    let share = match watched.renewal {
        Renewal::Files(_) | Renewal::ByHand => 2,
        Renewal::PrivateCa | Renewal::Acme(_) => 3,
    };
    let most = Duration::try_from(life / share).unwrap_or_default();
    // The last warning is always given.
    let last = spans.iter().min().copied();
    let telling = spans.iter().copied().filter(|span| *span < most || Some(*span) == last);
    let passed = telling.filter(|span| SignedDuration::try_from(*span).is_ok_and(|span| left <= span));
    passed.min().map(|span| Left::Some { left, span })
}

fn is_news(left: Left, told: Option<&Told>, now: Timestamp) -> bool {
    match (left, told) {
        (_, None) => true,
        (Left::Some { span, .. }, Some(told)) => span.as_secs() < told.span,
        (Left::None, Some(told)) => told.over.is_none_or(|last| now.duration_since(last) >= OVER_AGAIN),
    }
}

impl Warning {
    /// What to do about it.
    pub(crate) fn remedy(&self) -> String {
        match (self.watched.position, &self.watched.renewal) {
            (Position::Root, Renewal::PrivateCa) => {
                "begin a new private CA in its place before then, and import its root into the mail programs"
                    .to_owned()
            }
            (Position::Intermediate, Renewal::PrivateCa) if self.watched.owner == Owner::PrivateCa => {
                "renew the private CA's intermediate with the root's key: postern ca renew-intermediate".to_owned()
            }
            (_, Renewal::PrivateCa) => {
                "the private CA should have renewed it by itself: postern ca status says what keeps it from that"
                    .to_owned()
            }
            (_, Renewal::Acme(_)) => {
                let identity = self.identity();
                format!("Postern should have renewed it by itself: postern cert acme log {identity} says why it has not")
            }
            (Position::Own, Renewal::Files(path)) => {
                format!("see to it that a new one is put into {}; it is served at once", path.display())
            }
            (Position::Own, Renewal::ByHand) => {
                let identity = self.identity();
                format!("postern cert renew {identity}, then postern cert install what the authority gives you")
            }
            (Position::Intermediate | Position::Root, Renewal::Files(path)) => {
                format!("put the chain that the authority gives today into {}", path.display())
            }
            (Position::Intermediate | Position::Root, Renewal::ByHand) => {
                "install the chain that the authority gives today: postern cert install".to_owned()
            }
        }
    }

    /// The same without the details, for a subject line.
    pub(crate) fn headline(&self) -> String {
        let Watched { owner, position, .. } = &self.watched;
        match self.left {
            Left::Some { left, .. } => format!("{position} of {owner} ends in {}", span_in_words(left)),
            Left::None => format!("{position} of {owner} is over"),
        }
    }

    fn identity(&self) -> &str {
        match &self.watched.owner {
            Owner::Identity(name) => name,
            Owner::PrivateCa => "",
        }
    }
}

/// One sentence for the log and for mail.
impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owners: Vec<String> = self.owners.iter().map(ToString::to_string).collect();
        let Watched { position, link, .. } = &self.watched;
        write!(f, "{position} of {} ({}) ", owners.join(" and "), link.subject)?;
        match self.left {
            Left::Some { left, .. } => write!(f, "ends in {}, on {:.0}", span_in_words(left), link.not_after),
            Left::None => write!(f, "ended on {:.0}: clients refuse it", link.not_after),
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(name) => write!(f, "TLS identity {name}"),
            Self::PrivateCa => f.write_str("the private CA"),
        }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Own => "the certificate",
            Self::Intermediate => "an intermediate certificate",
            Self::Root => "the root certificate",
        })
    }
}

/// In days while there are two, else in hours.
fn span_in_words(left: SignedDuration) -> String {
    let hours = left.as_hours();
    match (hours / 24, hours) {
        (days @ 2.., _) => format!("{days} days"),
        (_, 1) => "1 hour".to_owned(),
        (_, 0) => "less than an hour".to_owned(),
        (_, hours) => format!("{hours} hours"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn spans() -> Vec<Duration> {
        [30, 14, 7, 1].map(|days| Duration::from_secs(days * DAY)).to_vec()
    }

    fn start() -> Timestamp {
        "2026-11-21T10:00:00Z".parse().unwrap()
    }

    fn after_days(days: i64) -> Timestamp {
        start() + SignedDuration::from_hours(24 * days)
    }

    fn watched(owner: &str, position: Position, days: i64, renewal: Renewal) -> Watched {
        let link = ChainLink {
            subject: "CN=mail.example.org".to_owned(),
            not_before: start(),
            not_after: after_days(days),
            fingerprint_sha256: format!("{owner}-{position:?}-{days}"),
        };
        let owner = match owner {
            "" => Owner::PrivateCa,
            name => Owner::Identity(name.to_owned()),
        };
        Watched { owner, position, link, renewal }
    }

    /// What is said while the clock runs by hours for so many days, with the hour at which it was said.
    fn run(watched: &[Watched], days: i64) -> Vec<(i64, String)> {
        let (mut said, mut lines) = (Said::default(), Vec::new());
        for hour in 0..=24 * days {
            let now = start() + SignedDuration::from_hours(hour);
            for warning in due(watched, &spans(), &said, now) {
                said.remember(&warning, now);
                lines.push((hour, format!("{warning} | {}", warning.remedy())));
            }
            // A restart forgets nothing.
            said = serde_json::from_str(&serde_json::to_string(&said).unwrap()).unwrap();
        }
        lines
    }

    #[test]
    fn a_certificate_of_ninety_days_is_warned_of_four_times() {
        let lines = run(&[watched("mail", Position::Own, 90, Renewal::ByHand)], 89);
        let remedy = "postern cert renew mail, then postern cert install what the authority gives you";
        let line = |hour: i64, left: &str| {
            let end = "2027-02-19T10:00:00Z";
            (
                hour,
                format!(
                    "the certificate of TLS identity mail (CN=mail.example.org) ends in {left}, on {end} | {remedy}"
                ),
            )
        };
        let expected = [
            line(60 * 24, "30 days"),
            line(76 * 24, "14 days"),
            line(83 * 24, "7 days"),
            line(89 * 24, "24 hours"),
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn what_is_over_is_said_each_day() {
        let lines = run(&[watched("mail", Position::Own, 90, Renewal::ByHand)], 93);
        let over: Vec<i64> = lines
            .iter()
            .filter(|(_, line)| line.contains("clients refuse it"))
            .map(|(hour, _)| *hour)
            .collect();
        assert_eq!(over, [90 * 24, 91 * 24, 92 * 24, 93 * 24]);
    }

    #[test]
    fn an_intermediate_that_ends_before_its_certificate_is_warned_of_for_all_who_show_it() {
        let intermediate = |owner: &str| {
            let mut one = watched(owner, Position::Intermediate, 60, Renewal::ByHand);
            one.link.subject = "CN=Authority X1".to_owned();
            one.link.fingerprint_sha256 = "shared".to_owned();
            one
        };
        let all = [
            watched("mail", Position::Own, 90, Renewal::ByHand),
            intermediate("mail"),
            watched("shop", Position::Own, 90, Renewal::ByHand),
            intermediate("shop"),
        ];
        let lines = run(&all, 59);
        // Its spans are 14, 7 and 1: thirty days are half of its life.
        assert_eq!(lines.iter().map(|(hour, _)| hour / 24).collect::<Vec<_>>(), [46, 53, 59]);
        let words =
            "an intermediate certificate of TLS identity mail and TLS identity shop (CN=Authority X1) ends";
        assert!(lines.iter().all(|(_, line)| line.starts_with(words)), "{lines:?}");
        assert!(
            lines[0].1.ends_with("install the chain that the authority gives today: postern cert install")
        );
    }

    #[test]
    fn the_private_cas_root_is_warned_of_with_its_own_remedy() {
        let root = watched("", Position::Root, 3650, Renewal::PrivateCa);
        let lines = run(&[root], 3649);
        assert_eq!(lines.iter().map(|(hour, _)| hour / 24).collect::<Vec<_>>(), [3620, 3636, 3643, 3649]);
        assert!(lines[0].1.starts_with("the root certificate of the private CA"), "{lines:?}");
        assert!(lines[0].1.contains("import its root into the mail programs"), "{lines:?}");
    }

    #[test]
    fn what_postern_renews_is_warned_of_only_when_it_has_not_been() {
        let acme = watched("mail", Position::Own, 90, Renewal::Acme("letters".to_owned()));
        let lines = run(&[acme], 89);
        assert_eq!(lines.iter().map(|(hour, _)| hour / 24).collect::<Vec<_>>(), [76, 83, 89]);
        assert!(lines[0].1.contains("postern cert acme log mail"), "{lines:?}");
        let short = watched("mail", Position::Own, 6, Renewal::Acme("letters".to_owned()));
        assert_eq!(run(&[short], 5).len(), 1, "the last one is always given");
    }

    #[test]
    fn who_begins_late_is_told_once_and_not_four_times() {
        let mut late = watched("mail", Position::Own, 5, Renewal::ByHand);
        late.link.not_before = after_days(-85);
        let lines = run(&[late], 3);
        assert_eq!(lines.len(), 1, "{lines:?}");
    }

    #[test]
    fn a_renewed_certificate_is_another_one() {
        let mut said = Said::default();
        let old = watched("mail", Position::Own, 90, Renewal::ByHand);
        let warning = due(&[old], &spans(), &said, after_days(89)).remove(0);
        said.remember(&warning, after_days(89));
        let new = watched("mail", Position::Own, 180, Renewal::ByHand);
        assert!(due(std::slice::from_ref(&new), &spans(), &said, after_days(89)).is_empty());
        assert_eq!(due(&[new], &spans(), &said, after_days(150)).len(), 1);
    }

    #[test]
    fn monitoring_is_told_how_bad_it_is() {
        let severity = |days: i64| {
            let one = watched("mail", Position::Own, 90, Renewal::ByHand);
            findings(&[one], &spans(), after_days(days)).remove(0)
        };
        for (day, expected) in [(0, 0), (59, 0), (60, 1), (84, 1), (89, 2), (90, 2), (400, 2)] {
            assert_eq!(severity(day).severity.exit_code(), expected, "day {day}");
        }
        assert!(severity(0).what.contains("ends in 90 days") && severity(0).remedy.is_empty());
        let both = [
            watched("fresh", Position::Own, 90, Renewal::ByHand),
            watched("old", Position::Own, 1, Renewal::ByHand),
        ];
        let worst = findings(&both, &spans(), start()).remove(0);
        assert_eq!((worst.owner, worst.severity), (Owner::Identity("old".to_owned()), Severity::Critical));
    }
}
