//! Tells people that a certificate comes to its end: in the log, by mail to the postmaster, and for monitoring.
//!
//! - [`run`]: looks every hour at what is served and at the private CA's own certificates, and says what is due.
//! - [`check`]: the same for `postern cert check`, from what lies on disk, without a daemon and without a memory.
//!
//! What was said is kept in `certificate-warnings.json` in the data directory, so that a restart does not say it again. It
//! is kept only once the mail is queued: what could not be said is said later.
//!
//! What it deliberately does not do: decide what is due (see [`expiry`](super::expiry)), or renew anything.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postern_pki::{IdentityStore, Standing, TlsIdentity};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

use super::expiry::{self, Finding, Owner, Position, Said, Severity, Warning, Watched};
use super::private_ca;
use super::renewal::Renewal;
use super::watch::{AUTOMATIC, Watch};
use crate::config::Config;
use crate::daemon::{Phase, Shared, Site};
use crate::event::Event;
use crate::postmaster::{self, Letter};

/// So often it is looked whether something comes to its end.
const ROUND: Duration = Duration::from_hours(1);
/// Where it stands what was said.
const FILE: &str = "certificate-warnings.json";
/// That file is never so large, in octets, unless somebody else wrote it.
const FILE_MOST: u64 = 4 * 1024 * 1024;

/// Says what is due, until the daemon drains.
pub(crate) async fn run(shared: Arc<Shared>, mut phase: watch::Receiver<Phase>) {
    let data_dir = shared.site.load().config.data_dir.clone();
    let path = data_dir.join(FILE);
    let mut said = match read(&path) {
        Ok(said) => said,
        Err(error) => {
            complain(&shared, &path, "cannot be read", &error);
            Said::default()
        }
    };
    loop {
        round(&shared, &path, &mut said, Timestamp::now()).await;
        // Whether it drains or the daemon is gone: there is nothing left to do.
        if tokio::time::timeout(ROUND, phase.wait_for(|phase| *phase != Phase::Running)).await.is_ok() {
            return;
        }
    }
}

/// How things stand with every certificate on disk, the worst first. An identity whose files cannot be used is critical.
pub fn check(config: &Config, now: Timestamp) -> Vec<Finding> {
    let mut watch = Watch::default();
    let looked = watch.look_without_authority(config, now);
    let broken = watch.served().into_iter().filter_map(|served| {
        Some(Finding {
            severity: Severity::Critical,
            what: format!("TLS identity {} cannot be used: {}", served.identity, served.trouble?),
            owner: Owner::Identity(served.identity),
            remedy: "put a certificate and the key that belongs to it there".to_owned(),
            not_after: None,
        })
    });
    let (mut watched, trouble) = match private_ca::authorities(config) {
        Ok(authorities) => (authorities, None),
        Err(error) => (Vec::new(), Some(unreadable(&error))),
    };
    let (automatic, bare) = match stand_in(config, &looked.identities, now) {
        Ok(automatic) => (automatic, None),
        Err(bare) => (None, Some(*bare)),
    };
    let identities: Vec<_> = looked.identities.into_iter().chain(automatic).collect();
    watched.extend(of_identities(config, &identities));
    let ends = expiry::findings(&watched, &config.certificates.warn, now);
    let mut findings: Vec<Finding> = broken.chain(trouble).chain(bare).chain(ends).collect();
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

/// Every certificate whose end is watched: what is served, and the private CA's own. It blocks, for as long as the disk
/// takes.
pub(crate) fn watched(site: &Site) -> Vec<Watched> {
    let mut watched = of_identities(&site.config, site.identities());
    // That the CA cannot be opened is said where it is needed.
    watched.extend(private_ca::authorities(&site.config).unwrap_or_default());
    watched
}

/// Every certificate that these identities show, with whoever renews it.
fn of_identities(config: &Config, identities: &[Arc<TlsIdentity>]) -> Vec<Watched> {
    let mut watched = Vec::new();
    for identity in identities {
        let renewal = renewal(config, identity);
        for (place, link) in identity.chain().into_iter().enumerate() {
            let position = if place == 0 { Position::Own } else { Position::Intermediate };
            let owner = Owner::Identity(identity.name.clone());
            watched.push(Watched { owner, position, link, renewal: renewal.clone() });
        }
    }
    watched
}

/// The private CA's automatic certificate, where no other identity bears the host name.
///
/// # Errors
/// There is none either: then clients see the certificate of another name, or no TLS at all.
fn stand_in(
    config: &Config,
    others: &[Arc<TlsIdentity>],
    now: Timestamp,
) -> Result<Option<Arc<TlsIdentity>>, Box<Finding>> {
    let host = config.hostname.as_str();
    if others.iter().any(|identity| identity.is_for(host)) {
        return Ok(None);
    }
    let (why, remedy) = match private_ca::automatic(config, now) {
        Ok(Some(issued)) => {
            let mut identity = issued.loaded.identity;
            AUTOMATIC.clone_into(&mut identity.name);
            identity.standing = Standing::StandIn;
            return Ok(Some(Arc::new(identity)));
        }
        Ok(None) => (
            String::new(),
            "start Postern, which has the private CA issue one, or ask for one: postern cert request",
        ),
        Err(error) => (
            format!(": {error}"),
            "see postern ca status, or get a certificate elsewhere: postern cert request",
        ),
    };
    let (severity, seen) = match others {
        [] => (Severity::Critical, "no listener can have TLS"),
        _ => (Severity::Warning, "clients are shown another name"),
    };
    Err(Box::new(Finding {
        severity,
        owner: Owner::Identity(AUTOMATIC.to_owned()),
        what: format!("{seen}: there is no certificate for {host}, and the private CA has issued none{why}"),
        remedy: remedy.to_owned(),
        not_after: None,
    }))
}

fn unreadable(error: &postern_pki::Error) -> Finding {
    Finding {
        severity: Severity::Critical,
        owner: Owner::PrivateCa,
        what: format!("the private CA cannot be opened: {error}"),
        remedy: "postern ca status".to_owned(),
        not_after: None,
    }
}

/// The one that nobody chose is the private CA's.
fn renewal(config: &Config, identity: &TlsIdentity) -> Renewal {
    match identity.standing {
        Standing::StandIn => Renewal::PrivateCa,
        Standing::Chosen => Renewal::of(config, &IdentityStore::new(&config.data_dir), &identity.name),
    }
}

async fn round(shared: &Arc<Shared>, path: &Path, said: &mut Said, now: Timestamp) {
    let site = shared.site.load_full();
    let in_service = Arc::clone(&site);
    let Ok(watched) = spawn_blocking(move || watched(&in_service)).await else { return };
    let due = expiry::due(&watched, &site.config.certificates.warn, said, now);
    if due.is_empty() {
        return;
    }
    for warning in &due {
        let alarm = Event::Alarm { what: warning.to_string(), remedy: warning.remedy() };
        shared.observer.daemon(alarm);
    }
    if site.config.certificates.mail
        && let Err(error) = mail(shared, &site, &due, now).await
    {
        let what = format!("the postmaster could not be told of certificates that end: {error}");
        let remedy = "it is tried again in an hour; see that the queue's disk has room".to_owned();
        shared.observer.daemon(Event::Alarm { what, remedy });
        return;
    }
    for warning in &due {
        said.remember(warning, now);
    }
    if let Err(error) = write(path, said) {
        complain(shared, path, "cannot be written", &error);
    }
}

/// Queues the mail.
async fn mail(
    shared: &Arc<Shared>,
    site: &Site,
    due: &[Warning],
    now: Timestamp,
) -> Result<(), postern_queue::Error> {
    let letter = Letter {
        kind: "certificate-warning",
        subject: subject(due, site.config.hostname.as_str()),
        paragraphs: paragraphs(due),
    };
    postmaster::tell(shared, site, letter, now).await
}

fn subject(due: &[Warning], hostname: &str) -> String {
    match due {
        [only] => format!("{hostname}: {}", only.headline()),
        several => format!("{hostname}: {} certificates come to their end", several.len()),
    }
}

fn paragraphs(due: &[Warning]) -> Vec<String> {
    let mut paragraphs = Vec::new();
    for warning in due {
        paragraphs.push(format!("{warning}."));
        paragraphs.push(format!("What to do: {}.", warning.remedy()));
        paragraphs.push(String::new());
    }
    paragraphs.push("How things stand at any time: postern cert check".to_owned());
    paragraphs
}

fn complain(shared: &Shared, path: &Path, what: &str, error: &io::Error) {
    let what = format!("{} {what}: {error}", path.display());
    let remedy =
        "mend or remove it; until then a restart repeats warnings of certificates that end".to_owned();
    shared.observer.daemon(Event::Alarm { what, remedy });
}

fn read(path: &Path) -> io::Result<Said> {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Said::default()),
        Ok(metadata) if metadata.len() > FILE_MOST => {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it is much too large"));
        }
        _ => {}
    }
    let text = fs::read(path)?;
    serde_json::from_slice(&text).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Whole or not at all.
fn write(path: &Path, said: &Said) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(said)?;
    let new: PathBuf = path.with_extension("new");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&text)?;
    file.sync_all()?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;
    use tempfile::TempDir;

    use super::*;
    use crate::config::{File, Surroundings};

    fn installation() -> (TempDir, Config, Timestamp) {
        let folder = tempfile::tempdir().unwrap();
        let text = format!(
            "hostname = 'mail.example.org'\ndata_dir = {:?}\n[[listener]]\nname = 'mx'\nrole = 'relay'\n\
             bind = ['127.0.0.1:0']\n",
            folder.path()
        );
        let config = File::parse(&text, "test").unwrap().resolve(&Surroundings::default()).unwrap();
        (folder, config, "2026-11-21T10:00:00Z".parse().unwrap())
    }

    fn worst(config: &Config, now: Timestamp) -> (Severity, String) {
        let first = check(config, now).remove(0);
        (first.severity, format!("{}; {}", first.what, first.remedy))
    }

    #[test]
    fn listeners_that_have_nothing_to_show_are_critical_before_the_first_start() {
        let (_folder, config, now) = installation();
        let (severity, words) = worst(&config, now);
        assert_eq!(severity, Severity::Critical);
        assert!(
            words.starts_with("no listener can have TLS: there is no certificate for mail.example.org"),
            "{words}"
        );
        assert!(words.contains("start Postern"), "{words}");
        assert!(!config.data_dir.join("ca").exists(), "a look makes nothing");
    }

    #[test]
    fn the_automatic_certificate_is_looked_at_and_so_is_the_key_that_keeps_it_in_force() {
        let (_folder, config, now) = installation();
        private_ca::ensure_automatic(&config, now).unwrap();
        let findings = check(&config, now);
        let owner = Owner::Identity(AUTOMATIC.to_owned());
        assert!(findings.iter().any(|finding| finding.owner == owner), "{findings:?}");
        assert!(findings.iter().all(|finding| finding.severity == Severity::Ok), "{findings:?}");
        let later = now + SignedDuration::from_hours(24 * 400);
        assert!(
            check(&config, later)
                .iter()
                .any(|finding| { finding.owner == owner && finding.severity == Severity::Critical })
        );
        std::fs::remove_dir_all(config.data_dir.join("ca").join("private")).unwrap();
        let (severity, words) = worst(&config, now);
        assert_eq!(severity, Severity::Critical);
        assert!(words.contains("no listener can have TLS") && words.contains("postern ca status"), "{words}");
    }
}
