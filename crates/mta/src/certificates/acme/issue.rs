//! One identity, looked after once: what lies in the store is held against what is wanted, and an order is placed if it
//! must be.
//!
//! [`look_after`] is all of it. The present certificate is not touched before the new one is whole, fits its key and bears
//! the names. What this deliberately does not do: decide when to look (the runner does).

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jiff::{SignedDuration, Timestamp};
use postern_dns::update::{TsigKey, Zone};
use postern_pki::acme::{
    AcmeError, Ca, Client, ExternalAccount, Issued, Order, Solver, Step, Tell, Transport,
};
use postern_pki::{
    About, ClientTls, IdentityStore, Origin, PrivateKey, RequestDetails, SentTo, SigningRequest, Subject,
    TlsIdentity, TrustAnchors,
};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::spawn_blocking;
use zeroize::Zeroizing;

use super::due::{Held, Hint, Verdict, Wanted, Why, judge};
use super::pace::{Asked, next_try};
use super::solve::{Handshakes, Pages, Records};
use super::story::{Ended, NewOrder, Standing, TroubleView};
use super::transport::Wire;
use crate::certificates::dns_challenge::{Aliases, DynamicUpdate, Hook, Publisher};
use crate::certificates::install::{Bench, Delivery, Doubts, Silence, plan_for};
use crate::certificates::watch::look_now;
use crate::config::{self, AcmeProof, DnsPublisher};
use crate::daemon::{Phase, Shared};
use crate::event::Event;
use crate::https::Https;
use crate::secret_file::first_line;

/// Where the CA says nothing of renewal, or does not answer, it is asked again after this (RFC 9773 §4.3.3).
const ASK_AGAIN: SignedDuration = SignedDuration::from_hours(6);
/// A certificate that lasts less than this and cannot be renewed is an alarm.
const URGENT: SignedDuration = SignedDuration::from_hours(7 * 24);

/// What is to be looked after, and with what.
pub(super) struct Job {
    pub(super) shared: Arc<Shared>,
    pub(super) wanted: Wanted,
    pub(super) authority: config::Acme,
    pub(super) hint: Hint,
    pub(super) call: Call,
    pub(super) phase: watch::Receiver<Phase>,
    /// Held while the account at this CA is looked for: two orders at once would make two.
    pub(super) account: Arc<Mutex<()>>,
}

/// Who wants it to be looked after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Call {
    /// An administrator wants a new certificate, now.
    ByHand,
    /// The time has come to look.
    Routine,
}

/// What came of it.
pub(super) struct Done {
    /// What is known now of the CA's wishes.
    pub(super) hint: Hint,
    /// When to look again.
    pub(super) next: Timestamp,
    /// The order in the story, if one was placed.
    pub(super) order: Option<i64>,
}

/// Why there is no certificate.
enum Trouble {
    Acme(AcmeError),
    /// What, and what to do.
    Local(String, String),
}

/// Looks after one identity. Never fails: what goes wrong is told, and tried again later.
pub(super) async fn look_after(mut job: Job, now: Timestamp) -> Done {
    let held = job.held().await;
    if job.call == Call::Routine
        && let Some(until) = job.puts_off(now).await
    {
        return Done { hint: job.hint, next: until, order: None };
    }
    let mut verdict = job.judge(held.as_ref(), now);
    if verdict == Verdict::Ask
        && let Some(held) = &held
    {
        job.hint = job.ask(held, now).await;
        verdict = job.judge(Some(held), now);
    }
    match verdict {
        Verdict::Order(why) => job.order(why, held.as_ref(), now).await,
        Verdict::Wait(next) => Done { hint: job.hint, next, order: None },
        Verdict::Ask => Done { hint: job.hint, next: later(now, ASK_AGAIN), order: None },
    }
}

impl Job {
    fn judge(&self, held: Option<&Held>, now: Timestamp) -> Verdict {
        match self.call {
            Call::ByHand => Verdict::Order(Why::ByHand),
            Call::Routine => judge(&self.wanted, held, &self.hint, now),
        }
    }

    fn store(&self) -> IdentityStore {
        IdentityStore::new(&self.data_dir())
    }

    fn data_dir(&self) -> std::path::PathBuf {
        self.shared.site.load().config.data_dir.clone()
    }

    /// What lies in the store; what cannot be read counts as nothing.
    async fn held(&self) -> Option<Held> {
        let (store, identity) = (self.store(), self.wanted.identity.clone());
        spawn_blocking(move || held(&store, &identity)).await.ok()?
    }

    /// Until when it is put off because of earlier failures. Failures under other settings do not count.
    async fn puts_off(&self, now: Timestamp) -> Option<Timestamp> {
        let standing = self.shared.acme.story.standing(&self.wanted.identity).await.ok()??;
        (standing.terms == self.terms() && standing.next > now).then_some(standing.next)
    }

    /// What failures are about.
    fn terms(&self) -> String {
        format!("{:?} {:?}", self.wanted, self.authority)
    }

    /// Does what waits for the CA, and may be dropped at any time when the daemon stops.
    async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T, Trouble>>) -> Result<T, Trouble> {
        tokio::select! {
            biased;
            () = stopped(self.phase.clone()) => Err(Trouble::Acme(AcmeError::Stopped)),
            done = work => done,
        }
    }

    /// When the CA wants the certificate to be renewed. That it does not answer is no failure: there is time.
    async fn ask(&self, held: &Held, now: Timestamp) -> Hint {
        let asked = async {
            let ca = self.ca().await?;
            let client = self.client(&ca, &|_| {}).await?;
            client.renewal_window(&held.certificate).await.map_err(Trouble::Acme)
        };
        match self.unless_stopped(asked).await {
            Ok(Some(window)) => {
                let again = now
                    .checked_add(window.ask_again)
                    .unwrap_or(now)
                    .max(later(now, SignedDuration::from_mins(1)));
                Hint::Window(window, again)
            }
            Ok(None) | Err(_) => Hint::None(later(now, ASK_AGAIN)),
        }
    }

    /// Places an order, and writes down what happens.
    async fn order(self, why: Why, held: Option<&Held>, now: Timestamp) -> Done {
        let story = &self.shared.acme.story;
        let names: Vec<_> = self.wanted.names.iter().map(ToString::to_string).collect();
        let (identity, authority) = (self.wanted.identity.clone(), self.authority.name.clone());
        let id = match story.begin(NewOrder { identity, authority, names: names.clone(), why }, now).await {
            Ok(id) => Some(id),
            Err(error) => {
                self.not_written(&error);
                None
            }
        };
        let (steps, heard) = mpsc::unbounded_channel();
        let tell: Box<Tell> = Box::new(move |step: Step| {
            let _ = steps.send((Timestamp::now(), step));
        });
        let writer = self.write_steps(id, heard);
        let (outcome, ()) = tokio::join!(self.obtain(&names, why, held, tell), writer);
        self.conclude(id, why, held, outcome).await
    }

    async fn write_steps(&self, order: Option<i64>, mut heard: mpsc::UnboundedReceiver<(Timestamp, Step)>) {
        while let Some((at, step)) = heard.recv().await {
            let Some(order) = order else { continue };
            if let Err(error) = self.shared.acme.story.step(order, at, step).await {
                self.not_written(&error);
            }
        }
    }

    /// From the account to the store. `tell` is dropped at the end, so that the writer of steps ends as well.
    async fn obtain(
        &self,
        names: &[String],
        why: Why,
        held: Option<&Held>,
        tell: Box<Tell>,
    ) -> Result<Timestamp, Trouble> {
        let tell = &*tell;
        let key = self.key(why).await?;
        let details = RequestDetails { subject: Subject::default(), names: self.wanted.names.clone() };
        let request = SigningRequest::make(&details, &key).map_err(|error| of_request(&error))?;
        let (ca, solver) = (self.ca().await?, self.solver().await?);
        let mut client = self.unless_stopped(self.client(&ca, tell)).await?;
        // Only one of the same CA is replaced (RFC 9773 §5).
        let ours = |held: &&Held| held.origin == Origin::Acme(self.authority.name.clone());
        let order = Order {
            names,
            request: request.der(),
            profile: self.authority.profile.as_deref(),
            replaces: held.filter(ours).map(|held| &held.certificate),
        };
        let issued =
            client.order(order, &*solver, stopped(self.phase.clone())).await.map_err(Trouble::Acme)?;
        let installed = self.install(issued, key, details).await;
        if installed.is_ok() {
            look_now(&self.shared).await;
        }
        tell(match &installed {
            Ok(until) => Step::Installed { what: format!("good until {until:.0}") },
            Err(Trouble::Local(why, _)) => Step::NotInstalled { why: why.clone() },
            Err(Trouble::Acme(error)) => Step::NotInstalled { why: error.to_string() },
        });
        installed
    }

    /// The key of the request that was sent here, else the one that was made beforehand, else the one in use, so that TLSA records stay true; a new one where the kind is
    /// to change, and at the first issue.
    async fn key(&self, why: Why) -> Result<PrivateKey, Trouble> {
        let (store, identity, kind) = (self.store(), self.wanted.identity.clone(), self.wanted.key);
        let sent_here = Some(SentTo::Acme(self.authority.name.clone()));
        let found = spawn_blocking(move || {
            if let Some(pending) = store.pending(&identity)?.filter(|pending| pending.note.sent == sent_here)
            {
                return Ok(pending.key);
            }
            if let Some(key) = store.next_key(&identity)? {
                return Ok(key);
            }
            let present = store.read(&identity).ok().map(|stored| stored.key);
            match present.filter(|key| why != Why::Missing && key.kind() == Some(kind)) {
                Some(key) => Ok(key),
                None => PrivateKey::generate(kind),
            }
        });
        let found = found.await.map_err(|error| broken_off(&error))?;
        found.map_err(|error| {
            Trouble::Local(error.to_string(), "mend or remove the file that it names".to_owned())
        })
    }

    async fn ca(&self) -> Result<Ca, Trouble> {
        let external = match &self.authority.external {
            Some(external) => Some(ExternalAccount {
                key_id: external.key_id.clone(),
                key: mac_key(&external.key_file).await?,
            }),
            None => None,
        };
        let folder = self.data_dir().join("acme").join(&self.authority.name);
        Ok(Ca {
            directory: self.authority.directory.clone(),
            contact: self.authority.contact.iter().map(|address| format!("mailto:{address}")).collect(),
            external,
            account_file: folder.join("account.json"),
        })
    }

    async fn client<'a>(&self, ca: &'a Ca, tell: &'a Tell) -> Result<Client<'a>, Trouble> {
        let network = self.shared.network();
        let https = match self.authority.trust.clone() {
            None => network.https,
            Some(file) => {
                let tls = spawn_blocking(move || ClientTls::new(&TrustAnchors::File(file)));
                let tls = tls.await.map_err(|error| broken_off(&error))?;
                let unusable = |error: postern_pki::Error| {
                    Trouble::Local(error.to_string(), "mend trust in the [[acme]] section".to_owned())
                };
                Https::new(network.resolver, tls.map_err(unusable)?)
            }
        };
        let transport: Arc<dyn Transport> = Arc::new(Wire(https));
        let _one = self.account.lock().await;
        Client::open(ca, transport, tell).await.map_err(Trouble::Acme)
    }

    async fn solver(&self) -> Result<Box<dyn Solver>, Trouble> {
        Ok(match &self.authority.proof {
            AcmeProof::Http { .. } => Box::new(Pages(self.shared.acme.answers.clone())),
            AcmeProof::TlsAlpn { .. } => Box::new(Handshakes(self.shared.challenges.clone())),
            AcmeProof::Dns(publisher) => Box::new(Records(self.publisher(publisher).await?)),
        })
    }

    async fn publisher(&self, publisher: &DnsPublisher) -> Result<Box<dyn Publisher>, Trouble> {
        let (server, zone, key_name, key_file, algorithm) = match publisher {
            DnsPublisher::Hook(program) => return Ok(Box::new(Hook::new(program.clone()))),
            DnsPublisher::Update { server, zone, key_name, key_file, algorithm } => {
                (server, zone, key_name, key_file, algorithm)
            }
        };
        let secret =
            first_line(key_file).await.map_err(|why| Trouble::Local(why, "mend dns_key_file".to_owned()))?;
        let key = TsigKey::new(key_name, *algorithm, secret.expose_str().unwrap_or_default());
        let key =
            key.map_err(|error| Trouble::Local(error.to_string(), "mend the dns_key settings".to_owned()))?;
        let zone = Zone { server: *server, name: zone.as_ref().map(ToString::to_string), key };
        Ok(Box::new(DynamicUpdate::new(zone, self.shared.network().resolver, Aliases::Followed)))
    }

    /// Judges the new certificate as any other, puts it into the store, in the place of the present one, and says until when
    /// it is good.
    async fn install(
        &self,
        issued: Issued,
        key: PrivateKey,
        details: RequestDetails,
    ) -> Result<Timestamp, Trouble> {
        let now = Timestamp::now();
        let origin = Origin::Acme(self.authority.name.clone());
        let about = About { origin, installed: now, asked: Some(details) };
        let identity = self.wanted.identity.clone();
        let delivery = Delivery { identity, certificates: issued.chain, key, about };
        let (store, site) = (self.store(), self.shared.site.load_full());
        let planned = {
            let (store, config) = (store.clone(), Arc::clone(&site.config));
            spawn_blocking(move || plan_for(Bench { config: &config, store: &store, now }, delivery))
        };
        let mut plan =
            planned.await.map_err(|error| broken_off(&error))?.map_err(|error| not_installed(&error))?;
        plan.hold_against_published(&site.config, Silence::Passes, now)
            .await
            .map_err(|error| not_installed(&error))?;
        let done = spawn_blocking(move || plan.carry_out(&store, Doubts::Heed));
        done.await.map_err(|error| broken_off(&error))?.map_err(|error| not_installed(&error))?;
        Ok(issued.not_after)
    }

    /// Writes down how it ended, tells it, and says when to look again.
    async fn conclude(
        self,
        order: Option<i64>,
        why: Why,
        held: Option<&Held>,
        outcome: Result<Timestamp, Trouble>,
    ) -> Done {
        let now = Timestamp::now();
        let (identity, authority) = (self.wanted.identity.clone(), self.authority.name.clone());
        let (trouble, next, hint) = match outcome {
            Ok(until) => {
                self.note(self.shared.acme.story.recover(&identity).await);
                let why = why.to_string();
                self.shared.observer.daemon(Event::CertificateIssued { identity, authority, why, until });
                // The new one is looked at right away: the CA is asked about it, too.
                (None, now, Hint::Unknown)
            }
            Err(Trouble::Acme(error @ AcmeError::Stopped)) => (
                Some(TroubleView { what: error.to_string(), remedy: error.remedy() }),
                now,
                self.hint.clone(),
            ),
            Err(trouble) => {
                let next = self.put_off(&trouble, held, now).await;
                let view = trouble.view();
                self.complain(&view, held, next, now);
                (Some(view), next, self.hint.clone())
            }
        };
        if let Some(order) = order {
            self.note(self.shared.acme.story.end(order, Ended { at: now, trouble }).await);
        }
        Done { hint, next, order }
    }

    /// Notes the failure, and says when it is tried again.
    async fn put_off(&self, trouble: &Trouble, held: Option<&Held>, now: Timestamp) -> Timestamp {
        self.shared.counters.acme_failed(&self.wanted.identity);
        let story = &self.shared.acme.story;
        let before = story.standing(&self.wanted.identity).await.ok().flatten();
        let before = before.filter(|standing| standing.terms == self.terms());
        let failures = before.map_or(0, |standing| standing.failures).saturating_add(1);
        let after = match trouble {
            Trouble::Acme(error) => error.retry_after().map(|after| after.from(now)),
            Trouble::Local(..) => None,
        };
        // What has ended already has no time left, and is treated so.
        let rest =
            held.map(|held| Duration::try_from(held.not_after.duration_since(now)).unwrap_or_default());
        let next = next_try(failures, Asked { after, rest }, fastrand::f64(), now);
        let identity = self.wanted.identity.clone();
        self.note(story.stand(Standing { identity, failures, next, terms: self.terms() }).await);
        next
    }

    fn complain(&self, trouble: &TroubleView, held: Option<&Held>, next: Timestamp, now: Timestamp) {
        let (identity, authority) = (self.wanted.identity.clone(), self.authority.name.clone());
        let TroubleView { what, remedy } = trouble.clone();
        let lasts = held.is_some_and(|held| held.not_after.duration_since(now) > URGENT);
        self.shared.observer.daemon(if lasts {
            Event::CertificateNotIssued { identity, authority, trouble: what, remedy, next }
        } else {
            let what =
                format!("certificate not issued: {identity} by {authority}: {what}; next try {next:.0}");
            Event::Alarm { what, remedy }
        });
    }

    fn note(&self, written: Result<(), crate::ledger::LedgerError>) {
        if let Err(error) = written {
            self.not_written(&error);
        }
    }

    fn not_written(&self, error: &crate::ledger::LedgerError) {
        self.shared.observer.daemon(Event::Alarm {
            what: format!("the story of an ACME order cannot be written: {error}"),
            remedy: "look at the disk that holds the data directory; the order goes on".into(),
        });
    }
}

impl Trouble {
    fn view(&self) -> TroubleView {
        match self {
            Self::Acme(error) => TroubleView { what: error.to_string(), remedy: error.remedy() },
            Self::Local(what, remedy) => TroubleView { what: what.clone(), remedy: remedy.clone() },
        }
    }
}

fn held(store: &IdentityStore, identity: &str) -> Option<Held> {
    let stored = store.read(identity).ok()?;
    let about = stored.about;
    let paths = store.paths(identity);
    // Dates are not judged here, so that the moment does not matter.
    let loaded = TlsIdentity::load(identity, &paths.certificate, &paths.key, Timestamp::UNIX_EPOCH).ok()?;
    Some(Held {
        certificate: stored.chain.into_iter().next()?,
        // What was asked for: an authority may add names of its own.
        names: match about.asked {
            Some(asked) => asked.names.iter().map(ToString::to_string).collect(),
            None => loaded.identity.names.into_iter().collect(),
        },
        key: stored.key.kind(),
        origin: about.origin,
        installed: about.installed,
        not_before: loaded.identity.not_before,
        not_after: loaded.identity.not_after,
    })
}

fn not_installed(error: &crate::certificates::Error) -> Trouble {
    let remedy = match error {
        crate::certificates::Error::Refused { .. } => {
            "do what it says; it is tried again by itself, and the present certificate stays in service"
        }
        _ => "mend what it names; it is tried again by itself",
    };
    Trouble::Local(error.to_string(), remedy.to_owned())
}

/// The MAC key of an external account, as CAs give it: base64url, with or without padding.
async fn mac_key(file: &Path) -> Result<Zeroizing<Vec<u8>>, Trouble> {
    let wrong = |what: String| Trouble::Local(what, "mend eab_key_file in the [[acme]] section".to_owned());
    let line = first_line(file).await.map_err(wrong)?;
    let text = line.expose_str().unwrap_or_default().trim().trim_end_matches('=');
    let key = BASE64_URL_SAFE_NO_PAD.decode(text);
    key.map(Zeroizing::new).map_err(|_| wrong(format!("{}: the first line is not base64url", file.display())))
}

fn of_request(error: &postern_pki::RequestError) -> Trouble {
    Trouble::Local(error.to_string(), "mend names in the [[tls.identity]] section".to_owned())
}

/// Until the daemon stops.
async fn stopped(mut phase: watch::Receiver<Phase>) {
    let _ = phase.wait_for(|phase| *phase != Phase::Running).await;
}

fn broken_off(error: &tokio::task::JoinError) -> Trouble {
    Trouble::Local(
        format!("the work was broken off: {error}"),
        "nothing: it is tried again by itself".to_owned(),
    )
}

fn later(now: Timestamp, by: SignedDuration) -> Timestamp {
    now.checked_add(by).unwrap_or(now)
}
