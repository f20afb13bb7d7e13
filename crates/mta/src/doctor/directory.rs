//! Whether each directory answers.
//!
//! Each is asked for itself whether it knows somebody whom nobody is called like; any answer will do. Those that answer only to a
//! password or a token are not asked: that would be a failed sign-in in somebody's log. Of LDAP servers with TLS from the first
//! octet, the certificate's end is looked at too.
//!
//! What it deliberately does not do: sign in.

use std::time::Duration;

use jiff::Timestamp;

use super::room::{Room, ascii};
use super::{Check, Finding};
use crate::config::{Config, DirectoryConfig, DirectoryKind, OwnUsers};
use crate::directory::ldap::certificate_end;
use crate::directory::{Denied, Directories, Login, Means, Users};

/// Nobody is called so.
const NOBODY: &str = "nobody-asks-postern-doctor";
/// Ends that are nearer than this are told.
const SOON: Duration = Duration::from_hours(14 * 24);

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Answered {
    /// It knows whether there is such a person.
    Yes,
    /// It has not been asked, for it answers only to proofs.
    OnlyToProofs,
    /// It did not.
    No(String),
}

pub(super) async fn look(room: &Room) -> Vec<Finding> {
    let mut findings = vec![own_users(room)];
    let users = match Users::open_for_reading(&room.config.data_dir) {
        Ok(users) => users,
        Err(error) => {
            let remedy = "see docs/directories.md; a broken users.db is best replaced from a backup";
            return vec![Finding::failed(Check::Directory, error.to_string(), remedy)];
        }
    };
    let asked = room.config.directories.iter().map(|directory| one(room, directory, &users));
    findings.extend(futures_util::future::join_all(asked).await.concat());
    findings
}

fn own_users(room: &Room) -> Finding {
    let users = Users::open_for_reading(&room.config.data_dir);
    match users.and_then(|users| users.list()) {
        Ok(_) if room.config.auth.own_users == OwnUsers::Off => {
            Finding::ok(Check::Directory, "Postern's own users are switched off")
        }
        Ok(users) if users.is_empty() && room.config.directories.is_empty() => {
            let remedy = "add the first one: postern user add NAME, or configure a [[directory]]";
            Finding::warning(Check::Directory, "there is nobody who could sign in", remedy)
        }
        Ok(users) => Finding::ok(Check::Directory, format!("Postern's own users: {}", users.len())),
        Err(error) => Finding::failed(Check::Directory, error.to_string(), "see docs/directories.md"),
    }
}

async fn one(room: &Room, directory: &DirectoryConfig, users: &Users) -> Vec<Finding> {
    let answered = ask(room, directory, users).await;
    let mut findings = vec![judge(&directory.name, &answered)];
    if let DirectoryKind::Ldap(ldap) = &directory.kind {
        for url in &ldap.urls {
            if let Some(end) = certificate_end(ldap, url).await {
                findings.push(judge_end(&directory.name, &url.to_string(), end, room.now));
            }
        }
    }
    findings
}

async fn ask(room: &Room, directory: &DirectoryConfig, users: &Users) -> Answered {
    if matches!(directory.kind, DirectoryKind::Saslauthd(_) | DirectoryKind::OAuth(_)) {
        return Answered::OnlyToProofs;
    }
    let mut alone: Config = (*room.config).clone();
    alone.directories = vec![directory.clone()];
    alone.auth.own_users = OwnUsers::Off;
    let means = Means { users, resolver: Some(&room.opened.resolver), observer: None };
    let name = match directory.domains.first() {
        Some(domain) => format!("{NOBODY}@{}", ascii(domain)),
        None => NOBODY.to_owned(),
    };
    let (Ok(directories), Some(login)) = (Directories::new(&alone, &means, None), Login::new(&name)) else {
        return Answered::No("it cannot be set up".into());
    };
    match directories.look_up(&login).await {
        Ok(_) | Err(Denied::Refused(_)) => Answered::Yes,
        Err(Denied::Unavailable(why)) => Answered::No(why),
    }
}

fn judge(name: &str, answered: &Answered) -> Finding {
    match answered {
        Answered::Yes => Finding::ok(Check::Directory, format!("directory {name} answers")),
        Answered::OnlyToProofs => Finding::note(
            Check::Directory,
            format!("directory {name} answers only to a password or a token, and was not asked"),
            "try one that is right: postern check-server HOST --user NAME",
        ),
        Answered::No(why) => Finding::failed(
            Check::Directory,
            format!("directory {name} does not answer: {why}"),
            "its people get 454 and are to try again; see docs/directories.md",
        ),
    }
}

fn judge_end(name: &str, server: &str, end: Timestamp, now: Timestamp) -> Finding {
    let left = end.duration_since(now);
    let remedy = "renew it there: without it nobody of this directory can sign in";
    if left.is_negative() || left.is_zero() {
        let evidence = format!("the certificate of {server} (directory {name}) ended on {end}");
        return Finding::failed(Check::Directory, evidence, remedy);
    }
    let evidence = format!("the certificate of {server} (directory {name}) ends on {end}");
    if left.unsigned_abs() < SOON {
        return Finding::warning(Check::Directory, evidence, remedy);
    }
    Finding::ok(Check::Directory, evidence)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;

    #[test]
    fn a_directory_that_does_not_answer_is_told_with_the_reason() {
        let no = judge("staff", &Answered::No("connection refused".into()));
        assert_eq!(no.verdict, Verdict::Failed);
        assert!(no.evidence.contains("connection refused"));
        assert_eq!(judge("staff", &Answered::Yes).verdict, Verdict::Ok);
        assert_eq!(judge("staff", &Answered::OnlyToProofs).verdict, Verdict::Note);
    }

    #[test]
    fn the_end_of_a_servers_certificate_is_told_two_weeks_before() {
        let now: Timestamp = "2026-11-22T00:00:00Z".parse().unwrap();
        let of = |end: &str| judge_end("staff", "ldaps://x", end.parse().unwrap(), now).verdict;
        assert_eq!(of("2027-01-01T00:00:00Z"), Verdict::Ok);
        assert_eq!(of("2026-12-01T00:00:00Z"), Verdict::Warning);
        assert_eq!(of("2026-11-21T00:00:00Z"), Verdict::Failed);
    }
}
