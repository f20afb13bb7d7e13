//! Watches the files of our certificates, and keeps what is in service apart from what lies on disk.
//!
//! [`Watch`] remembers for each identity the certificate that is served and the stamps of its files. [`Watch::look`]
//! compares stamps, reads anew what changed and nothing else, and says what is to be served from now on. A file that
//! cannot be used leaves the certificate before it in service, with one alarm for each thing that is wrong; a pair that is
//! just being replaced, file by file, gets a little patience. What is served is there as a value: [`Served`].
//!
//! The order is that of the configuration, then the rest of the certificate store by name. The private CA's automatic
//! certificate comes only where none of those can be used for the host name, and stands in for that name alone while there is
//! another ([`Standing`]).
//!
//! What it deliberately does not do: wait, or decide when to look (the daemon does), judge a certificate's dates (see
//! [`expiry`](super::expiry)), or choose one for a client (`postern_pki` does, by its name).

use std::collections::{HashMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use postern_pki::{IdentityStore, Loaded, ServerIdentity, Standing, TlsIdentity};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use super::private_ca;
use crate::authority;
use crate::config::{Config, Identity, IdentitySource};
use crate::daemon::Shared;
use crate::event::Event;

/// So many looks at files that cannot be used pass in silence, while there is another certificate to serve.
const PATIENCE: u32 = 2;
/// Certificates that the private CA renews are looked at this often, whatever their files say.
const RENEWAL_LOOK: SignedDuration = SignedDuration::from_hours(1);

/// What the certificate is called that the private CA keeps in force by itself.
pub(super) const AUTOMATIC: &str = authority::NAME;
const NO_STORE: &str = "the certificate store cannot be read";
const NO_AUTOMATIC: &str = "there is no certificate for the host name, and the private CA has issued none";

/// What is known of our certificates on disk and in service.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    entries: HashMap<String, Entry>,
    /// Identities in their order; the first is the default where none of them bears the host name.
    order: Vec<String>,
    /// What the private CA keeps in force by itself, and when that is to be looked at again.
    automatic: Option<Automatic>,
    /// What failed last and why, so that it is said once.
    failures: HashMap<String, String>,
    /// When the private CA's renewals are looked at again.
    renewals: Option<Timestamp>,
}

/// Why files are looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// It is time to.
    Routine,
    /// Somebody asked for it: nothing is put off.
    AtOnce,
}

/// What a look has found.
#[derive(Debug)]
pub(crate) struct Looked {
    /// What is to be served, in order.
    pub(crate) identities: Vec<Arc<TlsIdentity>>,
    /// Whether that differs from before.
    pub(crate) change: Change,
    /// What is to be said.
    pub(crate) events: Vec<Event>,
}

/// Whether what is served has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is what it was.
    None,
    /// New handshakes are to see something else.
    Some,
}

/// A certificate that is served, beside what lies on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Served {
    /// The identity's name.
    pub identity: String,
    /// SHA-256 of the certificate in service, in lower-case hexadecimal digits; `None`: there is none.
    pub fingerprint: Option<String>,
    /// Until when it is good.
    pub not_after: Option<Timestamp>,
    /// Since when it is in service.
    pub since: Option<Timestamp>,
    /// The file of its chain.
    pub certificate: PathBuf,
    /// The file of its key.
    pub key: PathBuf,
    /// What is wrong with the files, so that what lies on disk is not what is served.
    pub trouble: Option<String>,
    /// The listeners that show it.
    pub listeners: Vec<String>,
    /// The connectors that show it to servers.
    pub connectors: Vec<String>,
}

/// One identity.
#[derive(Debug)]
struct Entry {
    place: Place,
    stamps: [Option<Stamp>; 2],
    served: Option<InService>,
    trouble: Option<Trouble>,
}

#[derive(Debug, Clone)]
struct InService {
    identity: Arc<TlsIdentity>,
    since: Timestamp,
}

/// Where an identity lies.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Place {
    name: String,
    certificate: PathBuf,
    key: PathBuf,
    absence: Absence,
}

/// What it means that there are no files yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absence {
    /// Somebody should have put them there.
    Wrong,
    /// An administrator has not got his certificate yet.
    NotInstalled,
    /// Its issuer will put them there, and says himself what keeps him from it.
    NotIssued,
}

/// What tells one state of a file from another, without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    size: u64,
    inode: u64,
}

/// Files that cannot be used.
#[derive(Debug)]
struct Trouble {
    words: String,
    looks: u32,
    told: bool,
}

/// What the private CA keeps in force for the host name by itself.
#[derive(Debug)]
struct Automatic {
    entry: Entry,
    next: Timestamp,
}

impl Watch {
    /// Looks at all files and reads those that changed. It blocks, for as long as the disk takes.
    pub(crate) fn look(&mut self, config: &Config, now: Timestamp, look: Look) -> Looked {
        let turn = if self.renewals.is_some() { Turn::Later } else { Turn::First };
        let mut round = Round { now, look, turn, events: Vec::new(), change: Change::None };
        self.renew(config, &mut round);
        self.look_at_files(config, &mut round);
        self.look_after_automatic(config, &mut round);
        self.conclude(round)
    }

    /// The same for whoever is not the daemon: the private CA issues nothing, and no file is made.
    pub(crate) fn look_without_authority(&mut self, config: &Config, now: Timestamp) -> Looked {
        let (look, turn) = (Look::AtOnce, Turn::First);
        let mut round = Round { now, look, turn, events: Vec::new(), change: Change::None };
        self.look_at_files(config, &mut round);
        self.conclude(round)
    }

    fn look_at_files(&mut self, config: &Config, round: &mut Round) {
        let places = self.places(config, round);
        let order: Vec<String> = places.iter().map(|place| place.name.clone()).collect();
        if self.order != order {
            round.change = Change::Some;
            let gone = self.entries.extract_if(|name, _| !order.contains(name));
            round.events.extend(gone.filter_map(|(_, entry)| entry.taken_away()));
            self.order = order;
        }
        for place in places {
            let entry = self.entries.entry(place.name.clone()).or_insert_with(|| Entry::new(place.clone()));
            entry.look(place, round);
        }
    }

    fn conclude(&self, round: Round) -> Looked {
        let identities = self.in_service().map(|service| Arc::clone(&service.identity)).collect();
        Looked { identities, change: round.change, events: round.events }
    }

    /// Every identity that there is: those that the configuration lists, then the rest of the certificate store by name.
    /// While the store's folder cannot be read, it holds what it held.
    fn places(&mut self, config: &Config, round: &mut Round) -> Vec<Place> {
        let store = IdentityStore::new(&config.data_dir);
        let mut places: Vec<Place> =
            config.tls.identities.iter().map(|one| Place::listed(one, config)).collect();
        let stored = match store.names() {
            Ok(names) => {
                self.failures.remove(NO_STORE);
                names
            }
            Err(error) => {
                self.fail(NO_STORE, &error.to_string(), round);
                self.order.clone()
            }
        };
        let listed: HashSet<String> = places.iter().map(|place| place.name.clone()).collect();
        for name in stored.into_iter().filter(|name| !listed.contains(name)) {
            let paths = store.paths(&name);
            let (certificate, key) = (paths.certificate, paths.key);
            places.push(Place { name, certificate, key, absence: Absence::Wrong });
        }
        places
    }

    /// What is served, and what is wrong on disk, in order. Who shows it is not known here.
    pub(crate) fn served(&self) -> Vec<Served> {
        self.all().map(Entry::describe).collect()
    }

    fn all(&self) -> impl Iterator<Item = &Entry> {
        let listed = self.order.iter().filter_map(|name| self.entries.get(name));
        listed.chain(self.automatic.iter().map(|automatic| &automatic.entry))
    }

    fn in_service(&self) -> impl Iterator<Item = &InService> {
        self.all().filter_map(|entry| entry.served.as_ref())
    }

    /// Has the private CA issue and renew what is its to issue.
    fn renew(&mut self, config: &Config, round: &mut Round) {
        if round.look == Look::Routine && self.renewals.is_some_and(|next| round.now < next) {
            return;
        }
        self.renewals = Some(round.now + RENEWAL_LOOK);
        for wanted in private_ca::wanted(config) {
            let what = format!("the private CA has issued nothing for TLS identity {}", wanted.identity);
            match private_ca::ensure_stored(config, &wanted, round.now) {
                Ok(made) => {
                    round.events.extend(made);
                    self.failures.remove(&what);
                }
                Err(error) => self.fail(&what, &error.to_string(), round),
            }
        }
    }

    /// The host name always has a certificate: if no other can be used for it, the private CA's.
    fn look_after_automatic(&mut self, config: &Config, round: &mut Round) {
        let host = config.hostname.as_str();
        let listed = self.order.iter().filter_map(|name| self.entries.get(name)?.served.as_ref());
        if listed.into_iter().any(|service| service.identity.is_for(host)) {
            if let Some(automatic) = self.automatic.take() {
                round.change = Change::Some;
                round.events.extend(automatic.entry.taken_away());
            }
            return;
        }
        if let Some(automatic) = &self.automatic
            && round.look == Look::Routine
            && round.now < automatic.next
            && automatic.entry.stamps == automatic.entry.place.stamps()
        {
            return;
        }
        match private_ca::ensure_automatic(config, round.now) {
            Ok((issued, made)) => {
                round.events.extend(made);
                self.serve_automatic(issued, round);
            }
            Err(error) => {
                self.fail(NO_AUTOMATIC, &error.to_string(), round);
            }
        }
    }

    fn serve_automatic(&mut self, mut issued: ServerIdentity, round: &mut Round) {
        AUTOMATIC.clone_into(&mut issued.loaded.identity.name);
        issued.loaded.identity.standing = Standing::StandIn;
        let place = Place {
            name: AUTOMATIC.to_owned(),
            certificate: issued.certificate,
            key: issued.key,
            absence: Absence::Wrong,
        };
        let next = round.now + RENEWAL_LOOK;
        let automatic =
            self.automatic.get_or_insert_with(|| Automatic { entry: Entry::new(place.clone()), next });
        automatic.next = next;
        automatic.entry.stamps = place.stamps();
        automatic.entry.place = place;
        automatic.entry.take(issued.loaded, round);
        self.failures.remove(NO_AUTOMATIC);
    }

    /// Says what could not be done, once for each reason.
    fn fail(&mut self, what: &str, why: &str, round: &mut Round) {
        let before = self.failures.insert(what.to_owned(), why.to_owned());
        if before.as_deref() == Some(why) && round.look == Look::Routine {
            return;
        }
        let meanwhile = match self.in_service().next() {
            Some(_) => "clients are shown another identity",
            None => "no listener has TLS: STARTTLS answers 454",
        };
        let remedy = format!("mend it; it is tried again by itself, and at a reload; until then {meanwhile}");
        round.events.push(Event::Alarm { what: format!("{what}: {why}"), remedy });
    }
}

/// One look: when, why, and what came of it so far.
struct Round {
    now: Timestamp,
    look: Look,
    turn: Turn,
    events: Vec<Event>,
    change: Change,
}

/// Whether it was looked before: what is there at the start is no news.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    First,
    Later,
}

impl Entry {
    fn new(place: Place) -> Self {
        Self { place, stamps: [None, None], served: None, trouble: None }
    }

    fn look(&mut self, place: Place, round: &mut Round) {
        let stamps = place.stamps();
        let is_known = self.place == place && self.stamps == stamps;
        let is_settled = is_known && (self.served.is_some() || self.trouble.is_some());
        self.place = place;
        self.stamps = stamps;
        if is_settled && round.look == Look::Routine {
            self.lose_patience(round);
            return;
        }
        if is_settled && self.trouble.is_none() {
            return;
        }
        match self.place.load(round.now) {
            Ok(loaded) => self.take(loaded, round),
            Err(error) => self.leave(error.to_string(), round),
        }
    }

    /// Serves what was read.
    fn take(&mut self, loaded: Loaded, round: &mut Round) {
        let identity = loaded.identity;
        let was_told = self.trouble.take().is_some_and(|trouble| trouble.told);
        if was_told {
            round.events.push(Event::IdentityMended { identity: identity.name.clone() });
        }
        if self.served.as_ref().is_some_and(|service| is_same(&service.identity, &identity)) {
            return;
        }
        round.change = Change::Some;
        for warning in &loaded.warnings {
            let what = format!("TLS identity {}: {warning}", identity.name);
            round.events.push(Event::Alarm { what, remedy: warning.remedy() });
        }
        let (name, until) = (identity.name.clone(), identity.not_after);
        let fingerprint = identity.fingerprint_sha256.clone();
        if self.served.is_some() {
            round.events.push(Event::IdentityRenewed { identity: name, fingerprint, until });
        } else if round.turn == Turn::Later {
            let names = identity.names.clone();
            round.events.push(Event::IdentityInstalled { identity: name, names, fingerprint, until });
        }
        self.served = Some(InService { identity: Arc::new(identity), since: round.now });
    }

    /// What is to be said when it is not there any more.
    fn taken_away(self) -> Option<Event> {
        let fingerprint = self.served?.identity.fingerprint_sha256.clone();
        Some(Event::IdentityRemoved { identity: self.place.name, fingerprint })
    }

    /// Leaves in service what there is, and remembers what is wrong on disk.
    fn leave(&mut self, words: String, round: &mut Round) {
        let is_new = self.trouble.as_ref().is_none_or(|trouble| trouble.words != words);
        if is_new {
            self.trouble = Some(Trouble { words, looks: 0, told: false });
        }
        if round.look == Look::AtOnce
            && let Some(trouble) = &mut self.trouble
        {
            trouble.told = false;
            trouble.looks = PATIENCE;
        }
        self.lose_patience(round);
    }

    /// Says what is wrong, once it has been so for long enough.
    fn lose_patience(&mut self, round: &mut Round) {
        let Some(trouble) = self.trouble.as_mut().filter(|trouble| !trouble.told) else { return };
        trouble.looks += 1;
        if self.served.is_some() && trouble.looks <= PATIENCE {
            return;
        }
        trouble.told = true;
        let (name, words) = (&self.place.name, &trouble.words);
        let is_there = self.stamps.iter().any(Option::is_some);
        let (what, remedy) = match (&self.served, self.place.absence) {
            (Some(service), _) => (
                format!("TLS identity {name}: its new files cannot be used: {words}"),
                format!(
                    "mend them, they are looked at by themselves; until then the certificate before them is served, \
                     which is good until {:.0}",
                    service.identity.not_after
                ),
            ),
            (None, Absence::NotIssued) if !is_there => return,
            (None, Absence::NotInstalled) if !is_there => (
                format!("TLS identity {name}: there is no certificate in the certificate store yet"),
                format!(
                    "postern cert request --identity {name}, and install what comes; until then another one is shown"
                ),
            ),
            (None, _) => (
                format!("a TLS identity cannot be used: {words}"),
                "mend it, it is looked at by itself; until then clients are shown another identity"
                    .to_owned(),
            ),
        };
        round.events.push(Event::Alarm { what, remedy });
    }

    fn describe(&self) -> Served {
        let identity = self.served.as_ref().map(|service| &service.identity);
        Served {
            identity: self.place.name.clone(),
            fingerprint: identity.map(|identity| identity.fingerprint_sha256.clone()),
            not_after: identity.map(|identity| identity.not_after),
            since: self.served.as_ref().map(|service| service.since),
            certificate: self.place.certificate.clone(),
            key: self.place.key.clone(),
            trouble: self.trouble.as_ref().map(|trouble| trouble.words.clone()),
            listeners: Vec::new(),
            connectors: Vec::new(),
        }
    }
}

impl Place {
    fn listed(identity: &Identity, config: &Config) -> Self {
        let (certificate, key) = identity.files(&config.data_dir);
        let absence = match &identity.source {
            IdentitySource::Files { .. } => Absence::Wrong,
            IdentitySource::Store { issuer: None, .. } => Absence::NotInstalled,
            IdentitySource::Store { issuer: Some(_), .. } => Absence::NotIssued,
        };
        Self { name: identity.name.clone(), certificate, key, absence }
    }

    fn stamps(&self) -> [Option<Stamp>; 2] {
        [Stamp::of(&self.certificate), Stamp::of(&self.key)]
    }

    /// The folder is followed once, so that the certificate and the key are of one version though the link to it is swapped
    /// meanwhile.
    fn load(&self, now: Timestamp) -> Result<Loaded, postern_pki::Error> {
        let (certificate, key) = (&self.certificate, &self.key);
        if let (Some(folder), true) = (certificate.parent(), certificate.parent() == key.parent())
            && let (Ok(version), Some(chain), Some(secret)) =
                (fs::canonicalize(folder), certificate.file_name(), key.file_name())
        {
            return TlsIdentity::load(&self.name, &version.join(chain), &version.join(secret), now);
        }
        TlsIdentity::load(&self.name, certificate, key, now)
    }
}

impl Stamp {
    /// Links are followed. `None`: there is no such file, or it cannot be looked at.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Some(Self { modified, size: metadata.size(), inode: metadata.ino() })
    }
}

/// What is served, and who shows it.
pub(crate) async fn served(shared: &Shared) -> Vec<Served> {
    let mut served = shared.watch.lock().await.served();
    let config = &shared.site.load().config;
    for one in &mut served {
        let listeners = config.listeners.iter().filter(|listener| listener.may_show(&one.identity));
        one.listeners = listeners.map(|listener| listener.name.clone()).collect();
        let connectors = config.connectors.iter();
        let shows = connectors.filter(|connector| connector.identity.as_ref() == Some(&one.identity));
        one.connectors = shows.map(|connector| connector.name.to_string()).collect();
    }
    served
}

/// Has the files of our certificates looked at, and waits until what is new is served.
pub(crate) async fn look_now(shared: &Shared) -> Vec<Served> {
    let (waits, done) = oneshot::channel();
    if shared.looks.send(waits).await.is_ok() {
        // While the daemon drains nothing is looked at any more.
        let _ = done.await;
    }
    served(shared).await
}

/// Whether two identities are the same chain and the same key.
fn is_same(one: &TlsIdentity, other: &TlsIdentity) -> bool {
    // The key belongs to the first certificate, which was checked when it was read.
    one.certified_key.cert == other.certified_key.cert
}

#[cfg(test)]
mod tests;
