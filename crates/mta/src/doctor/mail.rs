//! What concerns mail under way: names that it needs, the queue, and people who cannot send.
//!
//! What it deliberately does not do: explain why a message waits (`postern queue why` does), or answer a trouble (`postern trouble` does).

use jiff::{SignedDuration, Timestamp};
use postern_dns::{LookupError, Validation};
use postern_queue::{Filter, Selection};

use super::room::Room;
use super::{Check, Finding};
use crate::admin::{Request, Response, Status, troubles};
use crate::cases::Case;
use crate::diagnosis::session::Gravity;

/// Mail that waits for longer than this is told.
const OLD: SignedDuration = SignedDuration::from_hours(4);
/// So many old deliveries are counted.
const COUNTED_MOST: usize = 1000;
/// So many troubles are told.
const TOLD_MOST: usize = 5;

/// Whether names can be looked up, and who validates.
pub(super) async fn resolver(room: &Room) -> Vec<Finding> {
    // The root cannot be asked for by this trait. Our own name can, and that it does not exist is an answer too.
    let answered = room.resolver().addresses(&room.hostname).await.map(drop);
    let validation = room.opened.probe().await;
    vec![judge_resolver(&room.hostname, &answered, &validation, any_dane(room))]
}

fn any_dane(room: &Room) -> bool {
    room.config.connectors.iter().any(|connector| connector.dane && connector.enabled)
}

fn judge_resolver(
    name: &str,
    answered: &Result<(), LookupError>,
    validation: &Validation,
    dane: bool,
) -> Finding {
    use Validation::{Broken, Missing, Works};
    if let Err(LookupError::Temporary(why)) = answered {
        // They answered the question for the root.
        if matches!(validation, Works(_) | Broken(_) | Missing(_)) {
            let evidence = format!("the name servers answer, but not for our own name {name}: {why}");
            let remedy = "see the servers of that name's zone; others cannot look it up either";
            return Finding::warning(Check::Resolver, evidence, remedy);
        }
        let evidence = format!("the name servers do not answer: {why}; mail that needs DNS waits");
        let remedy = "see [dns] servers, or /etc/resolv.conf, and that port 53 is let out";
        return Finding::failed(Check::Resolver, evidence, remedy);
    }
    let evidence = validation.to_string();
    let remedy = "without DNSSEC there is no DANE: see [dns] dnssec in docs/configuration.md";
    match validation {
        Works(_) => Finding::ok(Check::Resolver, evidence),
        Broken(_) => Finding::failed(Check::Resolver, evidence, remedy),
        Validation::Off => Finding::note(Check::Resolver, evidence, remedy),
        _ if dane => Finding::warning(Check::Resolver, evidence, remedy),
        _ => Finding::note(Check::Resolver, evidence, remedy),
    }
}

/// What is in the queue.
pub(super) async fn queue(room: &Room) -> Vec<Finding> {
    if !room.is_running() && !room.config.data_dir.join("queue.db").exists() {
        return vec![Finding::ok(Check::Queue, "there is no mail yet")];
    }
    let filter =
        Filter { accepted_before: room.now.checked_sub(OLD).ok(), held: Some(false), ..Filter::default() };
    let page = Selection { limit: COUNTED_MOST, offset: 0 };
    let old = match room.admin.call(Request::Find { filter, page }).await {
        Ok(Response::Deliveries(old)) => old,
        Ok(_) => return vec![unread("the running Postern answered something else")],
        Err(error) => return vec![unread(&error.to_string())],
    };
    let oldest = old.iter().map(|delivery| delivery.message.accepted).min();
    match room.admin.call(Request::Status).await {
        Ok(Response::Status(status)) => judge_queue(&status, old.len(), oldest),
        Ok(_) => vec![unread("the running Postern answered something else")],
        Err(error) => vec![unread(&error.to_string())],
    }
}

fn unread(why: &str) -> Finding {
    Finding::unknown(Check::Queue, format!("the queue cannot be looked at: {why}"), "")
}

fn judge_queue(status: &Status, old: usize, oldest: Option<Timestamp>) -> Vec<Finding> {
    let Status { deliveries, held, quarantined } = status;
    let mut findings = Vec::new();
    if let Some((id, why)) = quarantined.first() {
        let evidence = format!(
            "{} messages could not be read and were set aside, {id} among them: {why}",
            quarantined.len()
        );
        findings.push(Finding::failed(
            Check::Queue,
            evidence,
            "look at the disk; the messages stay where they are",
        ));
    }
    if *held > 0 {
        let remedy = "see: postern queue list --held, and postern burst list";
        findings.push(Finding::note(Check::Queue, format!("{held} deliveries are held"), remedy));
    }
    if let Some(oldest) = oldest {
        let at_least = if old == COUNTED_MOST { "at least " } else { "" };
        let evidence =
            format!("{at_least}{old} deliveries wait for more than 4 hours, the oldest since {oldest}");
        findings.push(Finding::warning(Check::Queue, evidence, "see why: postern queue why"));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(Check::Queue, format!("{deliveries} deliveries wait, none for long")));
    }
    findings
}

/// Open cases of people who cannot send.
pub(super) async fn troubles(room: &Room) -> Vec<Finding> {
    let listing = troubles::Request::List(crate::cases::WhichCases::default());
    match room.admin.call(Request::Troubles(listing)).await {
        Ok(Response::Troubles(troubles::Response::Listed(cases))) => judge_troubles(&cases),
        Ok(_) => vec![untold("the running Postern answered something else")],
        Err(error) => vec![untold(&error.to_string())],
    }
}

fn untold(why: &str) -> Finding {
    Finding::unknown(Check::Troubles, format!("whether anybody cannot send is not known: {why}"), "")
}

fn judge_troubles(cases: &[Case]) -> Vec<Finding> {
    let people: Vec<&Case> = cases.iter().filter(|case| case.gravity() == Gravity::Person).collect();
    let told = people.iter().take(TOLD_MOST).map(|case| {
        let times = if case.count == 1 { "once".to_owned() } else { format!("{} times", case.count) };
        let evidence = format!("{}: {}, {times}, last on {}", case.whom, case.explanation, case.last);
        Finding::warning(Check::Troubles, evidence, format!("see: postern trouble show {}", case.id))
    });
    let mut findings: Vec<Finding> = told.collect();
    if people.len() > TOLD_MOST {
        let evidence = format!("{} more people cannot send", people.len() - TOLD_MOST);
        findings.push(Finding::warning(Check::Troubles, evidence, "see: postern trouble list"));
    }
    if findings.is_empty() {
        findings.push(Finding::ok(Check::Troubles, "nobody is known who cannot send"));
    }
    findings
}

#[cfg(test)]
mod tests {
    use postern_dns::{Dnssec, Validator};
    use postern_queue::QueueId;

    use super::super::Verdict;
    use super::*;
    use crate::cases::{State, Whom};
    use crate::diagnosis::session::{Cause, Confidence};

    #[test]
    fn a_resolver_must_answer_and_should_validate() {
        let answered = Err(LookupError::NoRecords { dnssec: Dnssec::Indeterminate });
        let silent = Err(LookupError::Temporary("late".into()));
        let missing = || Validation::Missing("no AD".into());
        for (answered, validation, dane, verdict) in [
            (&answered, Validation::Works(Validator::Own), true, Verdict::Ok),
            (&answered, Validation::Off, true, Verdict::Note),
            (&answered, missing(), true, Verdict::Warning),
            (&answered, missing(), false, Verdict::Note),
            (&answered, Validation::Broken("x".into()), true, Verdict::Failed),
            (&silent, Validation::Works(Validator::Own), true, Verdict::Warning),
            (&silent, Validation::Unknown("late".into()), true, Verdict::Failed),
            (&silent, Validation::Off, false, Verdict::Failed),
        ] {
            assert_eq!(
                judge_resolver("mail.example.org", answered, &validation, dane).verdict,
                verdict,
                "{validation:?}"
            );
        }
    }

    #[test]
    fn old_held_and_broken_mail_is_told() {
        let status = |deliveries, held, quarantined| Status { deliveries, held, quarantined };
        let verdicts = |status: Status, old, oldest| -> Vec<Verdict> {
            judge_queue(&status, old, oldest).iter().map(|finding| finding.verdict).collect()
        };
        let since = Some("2026-11-21T00:00:00Z".parse().unwrap());
        assert_eq!(verdicts(status(3, 0, vec![]), 0, None), [Verdict::Ok]);
        assert_eq!(verdicts(status(3, 1, vec![]), 2, since), [Verdict::Note, Verdict::Warning]);
        let broken = vec![("0000000000001".parse::<QueueId>().unwrap(), "row".to_owned())];
        assert_eq!(verdicts(status(0, 0, broken), 0, None), [Verdict::Failed]);
    }

    fn case(id: u64, gravity: Gravity) -> Case {
        let cause = *Cause::ALL.iter().find(|cause| cause.section().gravity == gravity).unwrap();
        let at = Timestamp::UNIX_EPOCH;
        Case {
            id,
            cause,
            whom: Whom::User("anna".into()),
            count: 3,
            first: at,
            last: at,
            confidence: Confidence::Certain,
            explanation: "the password is wrong".into(),
            claimed: None,
            program: None,
            listeners: Vec::new(),
            ways: Vec::new(),
            programs: Vec::new(),
            addresses: Vec::new(),
            sessions: Vec::new(),
            state: State::Open,
            answered: None,
        }
    }

    #[test]
    fn people_who_cannot_send_are_told_and_noise_is_not() {
        assert_eq!(judge_troubles(&[])[0].verdict, Verdict::Ok);
        assert_eq!(judge_troubles(&[case(1, Gravity::Noise)])[0].verdict, Verdict::Ok);
        let found = judge_troubles(&[case(1, Gravity::Noise), case(7, Gravity::Person)]);
        assert_eq!(found.len(), 1);
        assert!(found[0].evidence.contains("anna: the password is wrong, 3 times"), "{found:?}");
        assert!(found[0].remedy.ends_with("postern trouble show 7"));
        let many: Vec<Case> = (0..9).map(|id| case(id, Gravity::Person)).collect();
        assert!(judge_troubles(&many)[5].evidence.starts_with("4 more people"));
    }
}
