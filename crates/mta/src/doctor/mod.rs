//! Whether everything around this Postern is as it should be: the network, the DNS, the certificates, the disk, the machine.
//!
//! [`examine`] looks at all that a configuration rests on, whether or not its daemon runs, and changes nothing. The types to
//! know: [`Check`], what is looked at; [`Finding`], what was found, with its [`Verdict`], evidence and remedy; [`Report`].
//!
//! Each check has two halves: what gathers evidence, within a time and many at once, and a pure function that judges it. Only the
//! second has opinions, and it is tested on its own. Lookups are made anew: no answer is older than the question.
//!
//! What it deliberately does not do: repair anything, or judge the configuration itself (`config check` does).

mod certificates;
mod clock;
mod directory;
mod disk;
mod domains;
mod finding;
mod mail;
mod names;
mod permissions;
mod ports;
mod process;
mod published;
mod room;
mod spf;

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use tokio::time::timeout;

use crate::config::Config;
use crate::daemon;

pub use finding::{Check, FORMAT, Finding, NoSuchCheck, Report, Verdict};
use room::Room;

/// What is looked at, and for how long.
#[derive(Debug, Clone)]
pub struct Options {
    /// These checks; empty: all.
    pub only: Vec<Check>,
    /// The longest time for one check. They run at the same time.
    pub time: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { only: Vec::new(), time: Duration::from_secs(20) }
    }
}

/// Looks at everything that this configuration rests on.
///
/// # Errors
/// Local: no resolver can be set up. Whatever is found is in the report.
///
/// # Cancel safety
/// May be dropped at any time.
pub async fn examine(config: Config, options: &Options, now: Timestamp) -> Result<Report, daemon::Error> {
    let room = Room::enter(config, options.time, now).await?;
    let wanted = |check: &&Check| options.only.is_empty() || options.only.contains(check);
    let looks = Check::ALL.iter().filter(wanted).map(|check| bounded(*check, &room));
    let findings = join_all(looks).await.concat();
    Ok(Report::of(room.hostname.clone(), room.is_running(), findings))
}

async fn bounded(check: Check, room: &Room) -> Vec<Finding> {
    let late = |_| {
        let seconds = room.time.as_secs();
        let remedy = "ask again with a longer --timeout; what it waits for does not answer";
        vec![Finding::unknown(check, format!("nothing was found out in {seconds} s"), remedy)]
    };
    timeout(room.time, look(check, room)).await.unwrap_or_else(late)
}

async fn look(check: Check, room: &Room) -> Vec<Finding> {
    match check {
        Check::HostName => names::host_name(room).await,
        Check::ReverseName => names::reverse_name(room).await,
        Check::Mx => names::mx(room).await,
        Check::Ports => ports::look(room).await,
        Check::Certificates => certificates::look(room).await,
        Check::Trust => certificates::trust(room),
        Check::Spf => domains::spf(room).await,
        Check::Dkim => domains::dkim(room).await,
        Check::Dmarc => domains::dmarc(room).await,
        Check::Published => published::look(room).await,
        Check::TlsReports => domains::tls_reports(room).await,
        Check::Clock => clock::look(room).await,
        Check::Disk => disk::room(room).await,
        Check::Sync => disk::sync(room).await,
        Check::Directory => directory::look(room).await,
        Check::Resolver => mail::resolver(room).await,
        Check::Limits => process::look(room),
        Check::Permissions => permissions::look(room).await,
        Check::Queue => mail::queue(room).await,
        Check::Troubles => mail::troubles(room).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{File, Surroundings};

    /// A configuration with these sections.
    pub(super) fn config(sections: &str) -> Config {
        let text = format!("hostname = \"mail.example.org\"\ndata_dir = \"/var/lib/postern\"\n{sections}");
        let file = File::parse(&text, "postern.toml").unwrap_or_else(|problem| panic!("{problem}"));
        file.resolve(&Surroundings::default()).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_answer_in_its_time_is_unknown() {
        let never = "[dns]\nservers = [\"127.0.0.1:1\"]\n[[listener]]\nname = \"x\"\nrole = \"relay\"\nbind = [\"127.0.0.1:0\"]\n";
        let options = Options { only: vec![Check::HostName], time: Duration::ZERO };
        let report = examine(config(never), &options, Timestamp::UNIX_EPOCH).await.unwrap();
        assert_eq!(report.findings.len(), 1);
        assert_eq!((report.verdict, report.exit_code()), (Verdict::Unknown, 3));
    }
}
