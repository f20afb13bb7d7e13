//! What is done for limits while the daemon runs: counts are carried to disk, and people are told of a burst.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;

use super::bursts::Burst;
use crate::daemon::{Phase, Shared};
use crate::directory::{OWN, Principal};
use crate::event::Event;
use crate::ledger::{LedgerError, write_behind};
use crate::postmaster::{self, Letter};

/// So often what was counted is carried to disk: a crash loses no more than that.
const FLUSH: Duration = Duration::from_secs(3);
/// Why a message is held, as the queue shows it.
pub(crate) const HELD_BECAUSE: &str = "its sender suddenly sends much more than usual (postern burst)";

/// Carries counts to disk until the daemon drains. What the last sessions counted is written when it stops.
pub(crate) async fn run(shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    let end = phase.wait_for(|phase| *phase != Phase::Running);
    write_behind(FLUSH, end, || write(&shared), |error| complain(&shared, error)).await;
}

/// Carries counts to disk once more, at the end.
pub(crate) async fn flush(shared: &Shared) {
    if let Err(error) = write(shared).await {
        complain(shared, &error);
    }
}

async fn write(shared: &Shared) -> Result<(), LedgerError> {
    let config = Arc::clone(&shared.site.load().config);
    shared.limits.write(&config.protection, Timestamp::now()).await
}

fn complain(shared: &Shared, error: &LedgerError) {
    shared.observer.daemon(Event::Alarm {
        what: format!("what was counted for limits and bans cannot be written: {error}"),
        remedy: "look at the disk that holds the data directory; it is counted on, and tried again".into(),
    });
}

/// Tells the administrator that an account's mail is held: in the log, and by mail to the postmaster.
pub(crate) async fn tell_of_burst(
    shared: &Arc<Shared>,
    principal: &Principal,
    burst: &Burst,
    now: Timestamp,
) {
    let Burst { user, expected, seen, .. } = burst;
    let what = format!(
        "{user} suddenly sends much more than usual: {seen} recipients within an hour, at most {expected} were expected; \
         mail from this account is held from now on"
    );
    let remedy = format!(
        "ask {user}: if it was meant, postern burst release {user}; if not, postern burst discard {user} and {}",
        new_password(principal)
    );
    shared.observer.daemon(Event::Alarm { what: what.clone(), remedy: remedy.clone() });
    let site = shared.site.load_full();
    let letter = Letter {
        kind: "burst-warning",
        subject: format!("{}: mail from {user} is held", site.config.hostname.as_str()),
        paragraphs: vec![
            format!("{what}."),
            format!("What to do: {remedy}."),
            String::new(),
            "What is held is shown by: postern queue list --held".to_owned(),
        ],
    };
    if let Err(error) = postmaster::tell(shared, &site, letter, now).await {
        let what = format!("the postmaster could not be told that mail from {user} is held: {error}");
        let remedy = "see that the queue's disk has room".to_owned();
        shared.observer.daemon(Event::Alarm { what, remedy });
    }
}

/// How a stolen password is replaced: by us for our own users, elsewhere for others.
fn new_password(principal: &Principal) -> String {
    let Principal { name, directory, .. } = principal;
    if directory == OWN {
        return format!("set a new password: postern user passwd {name}");
    }
    format!(
        "have a new password set in the directory \"{directory}\"; app passwords are removed with postern user \
         app-password remove"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_password_is_set_where_the_account_is() {
        let own = Principal { directory: OWN.into(), ..Principal::named("anna", Vec::new()) };
        assert!(new_password(&own).ends_with("postern user passwd anna"));
        let other = Principal { directory: "corp".into(), ..own };
        let said = new_password(&other);
        assert!(said.contains("\"corp\"") && !said.contains("user passwd"), "{said}");
    }
}
