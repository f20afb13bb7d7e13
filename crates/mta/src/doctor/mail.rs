//! What concerns mail under way: names that it needs, and the queue.
//!
//! What it deliberately does not do: explain why a message waits (`postern queue why` does).

use jiff::{SignedDuration, Timestamp};
use postern_dns::{LookupError, Validation};
use postern_queue::{Filter, Selection};

use super::room::Room;
use super::{Check, Finding};
use crate::admin::{Request, Response, Status};

/// Mail that waits for longer than this is told.
const OLD: SignedDuration = SignedDuration::from_hours(4);
/// So many old deliveries are counted.
const COUNTED_MOST: usize = 1000;

/// Whether names can be looked up, and who validates.
pub(super) async fn resolver(room: &Room) -> Vec<Finding> {
    let answered = room.resolver().mx(".").await.map(drop);
    let validation = room.opened.probe().await;
    vec![judge_resolver(&answered, &validation, any_dane(room))]
}

fn any_dane(room: &Room) -> bool {
    room.config.connectors.iter().any(|connector| connector.dane && connector.enabled)
}

fn judge_resolver(answered: &Result<(), LookupError>, validation: &Validation, dane: bool) -> Finding {
    let evidence = match answered {
        // The root has no MX record, which is an answer.
        Ok(()) | Err(LookupError::NoRecords { .. } | LookupError::NoSuchDomain { .. }) => {
            validation.to_string()
        }
        Err(error) => {
            let evidence = format!("the name servers do not answer: {error}; mail that needs DNS waits");
            return Finding::failed(
                Check::Resolver,
                evidence,
                "see [dns] servers, or /etc/resolv.conf, and that port 53 is let out",
            );
        }
    };
    let remedy = "without DNSSEC there is no DANE: see [dns] dnssec in docs/configuration.md";
    match validation {
        Validation::Works(_) => Finding::ok(Check::Resolver, evidence),
        Validation::Broken(_) => Finding::failed(Check::Resolver, evidence, remedy),
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

#[cfg(test)]
mod tests {
    use postern_dns::{Dnssec, Validator};
    use postern_queue::QueueId;

    use super::super::Verdict;
    use super::*;

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
            (&silent, Validation::Works(Validator::Own), true, Verdict::Failed),
        ] {
            assert_eq!(judge_resolver(answered, &validation, dane).verdict, verdict, "{validation:?}");
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
}
