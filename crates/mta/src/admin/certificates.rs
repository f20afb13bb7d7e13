//! What an administrator can do about our certificates: `postern cert`, and later the console.
//!
//! [`Certificates`] is the whole desk: proposals and requests, installing, listing, handing on. It works on the certificate
//! store directly, whether or not the daemon runs; a running one is told afterwards, and serves what is new without a
//! session noticing. Files that people bring are given as octets ([`Offer`]), because whoever may read them need not
//! be the user that Postern runs as.
//!
//! What it deliberately does not do: parse command lines, ask questions, or render answers for people.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use postern_pki::{About, Origin, SentTo, pkcs12};
use postern_smtp::tls::CertificateSeen;
use serde::{Deserialize, Serialize};

pub use postern_pki::pkcs12::Compatibility;
pub use postern_pki::{
    Chain, Finding, IdentityStore, KeyKind, Name, Passphrase, PrivateKey, RequestDetails, Severity,
    SigningRequest, Subject, check_name, describe_certificate,
};
pub use zeroize::Zeroizing;

pub use crate::authority::NAME as PRIVATE_CA;
pub use crate::certificates::Error;
pub use crate::certificates::Served;
pub use crate::certificates::assign::{AssignError, Binding, Change, assign};
pub use crate::certificates::deploy::{Deployed, Deployment};
pub use crate::certificates::expiry;
pub use crate::certificates::install::{Doubts, KeyFrom, Offer, Plan};
pub use crate::certificates::listing::{Listed, OnDisk};
pub use crate::certificates::proposal::{Concern, Proposal};
pub use crate::certificates::request::{Ask, Earlier, KeyChoice};

use super::acme::{self, LogRequest, OrderView};
use super::{Admin, Response, socket};
use crate::certificates::install::{Bench, Delivery, Silence};
use crate::certificates::renewal::Renewal;
use crate::certificates::{deploy, install, listing, private_ca, proposal, published, request, warn, watch};
use crate::config::Config;
use crate::daemon::Shared;
use crate::daemon::network::Network;
use crate::observe::Observer;
use crate::policy::ledger;

/// The operations on our certificates.
pub struct Certificates<'a> {
    config: &'a Config,
    store: IdentityStore,
}

/// Whether a passphrase, or another one, would help.
pub fn needs_passphrase(error: &super::Error) -> bool {
    let super::Error::Certificates(Error::File(error)) = error else { return false };
    error.trouble.is_of_passphrase()
}

/// What is asked of the running daemon about certificates.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Request {
    /// What is being served?
    Served,
    /// Look at the files now, also at those of the private CA, and then the same.
    Look,
    /// Renew an identity that an `[[acme]]` issues, now.
    Renew {
        /// Which one.
        identity: String,
    },
    /// What happened with ACME orders?
    AcmeLog(LogRequest),
}

/// What a renewal came to.
#[derive(Debug)]
pub enum Renewed {
    /// A request was made, to be sent to the authority that issued the certificate.
    Requested(Box<Waiting>),
    /// The private CA issued it, and it is installed.
    Installed(Box<CertificateSeen>, Daemon),
    /// An ACME authority was asked; what came of the order.
    Ordered(Box<OrderView>),
}

/// Whether a daemon runs and has heard of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Daemon {
    /// It serves what is new from now on.
    Told,
    /// None runs; it will serve it when it is started.
    Absent,
}

/// A request that waits for its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// What the identity is called, or will be.
    pub identity: String,
    /// The request.
    pub request: SigningRequest,
    /// Where it lies, as PEM and as DER.
    pub paths: [std::path::PathBuf; 2],
    /// When it was made.
    pub made: Timestamp,
}

impl Admin {
    /// The operations on this installation's certificates.
    pub fn certificates(&self) -> Certificates<'_> {
        Certificates { config: &self.config, store: IdentityStore::new(&self.config.data_dir) }
    }
}

impl Certificates<'_> {
    /// What could be asked for: under this name, or the one that the configuration suggests.
    pub fn propose(&self, identity: Option<&str>) -> Proposal {
        proposal::propose(self.config, &self.store, identity)
    }

    /// What probably is not meant with these names.
    ///
    /// # Errors
    /// No resolver can be set up.
    pub async fn concerns(&self, identity: &str, names: &[Name]) -> Result<Vec<Concern>, super::Error> {
        let network = self.network()?;
        Ok(proposal::concerns(self.config, &*network.resolver, identity, names).await)
    }

    /// The names of the identities in the certificate store.
    ///
    /// # Errors
    /// The disk.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        Ok(self.store.names()?)
    }

    /// The key that [`KeyChoice::Kept`] would ask for, in words; `None` where there is none to keep.
    ///
    /// # Errors
    /// It is there and broken.
    pub fn kept_key(&self, identity: &str) -> Result<Option<String>, Error> {
        match request::kept_key(&self.store, identity) {
            Ok(key) => Ok(Some(key.describe())),
            Err(Error::NoSuch { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a request, and keeps it with its key until its certificate comes.
    ///
    /// # Errors
    /// One waits already, a name cannot be in a certificate, or the disk.
    pub fn request(&self, ask: Ask, now: Timestamp) -> Result<Waiting, Error> {
        let identity = ask.identity.clone();
        let request = request::make(&self.store, ask, now)?;
        let paths = self.store.pending_paths(&identity);
        Ok(Waiting { identity, request, paths, made: now })
    }

    /// Makes a request for the successor of a certificate that somebody else's authority issued, with the key that there is.
    ///
    /// # Errors
    /// There is no such identity, a request waits already, or the disk.
    pub fn request_again(&self, identity: &str, earlier: Earlier, now: Timestamp) -> Result<Waiting, Error> {
        self.request(request::again(&self.store, identity, earlier)?, now)
    }

    /// The requests that wait.
    ///
    /// # Errors
    /// One of them is broken, or the disk.
    pub fn waiting(&self) -> Result<Vec<Waiting>, Error> {
        let mut waiting = Vec::new();
        for identity in self.store.pending_names()? {
            if let Some(pending) = self.store.pending(&identity)? {
                let paths = self.store.pending_paths(&identity);
                waiting.push(Waiting { identity, request: pending.request, paths, made: pending.note.made });
            }
        }
        Ok(waiting)
    }

    /// The request that waits under this name.
    ///
    /// # Errors
    /// There is none, it is broken, or the disk.
    pub fn awaited(&self, identity: &str) -> Result<Waiting, Error> {
        let waiting = self.waiting()?.into_iter().find(|waiting| waiting.identity == identity);
        waiting.ok_or_else(|| Error::NoRequest { identity: identity.to_owned() })
    }

    /// Throws a request away with its key: a certificate that comes for it later cannot be used.
    ///
    /// # Errors
    /// There is none, or the disk.
    pub fn discard(&self, identity: &str) -> Result<(), Error> {
        if self.store.pending(identity)?.is_none() {
            return Err(Error::NoRequest { identity: identity.to_owned() });
        }
        Ok(self.store.drop_pending(identity)?)
    }

    /// Makes the key of the next certificate beforehand, so that its TLSA record can be published in time. One that was made
    /// before is kept.
    ///
    /// # Errors
    /// There is no such identity, or the disk.
    pub fn next_key(&self, identity: &str, kind: KeyKind) -> Result<PrivateKey, Error> {
        if !self.store.holds(identity) {
            return Err(Error::NoSuch { identity: identity.to_owned() });
        }
        if let Some(key) = self.store.next_key(identity)? {
            return Ok(key);
        }
        let key = PrivateKey::generate(kind)?;
        self.store.set_next_key(identity, &key)?;
        Ok(key)
    }

    /// The TLSA records of a key, wherever the identity is seen: to be published before a certificate that has it is shown.
    ///
    /// # Errors
    /// There is no such identity, or it is broken.
    pub fn tlsa_records(&self, identity: &str, key: &PrivateKey) -> Result<Vec<String>, Error> {
        let (chain, _) = self.read(identity)?;
        let details = RequestDetails::of_certificate(chain.leaf()).map_err(postern_pki::Error::from)?;
        let places = published::places(self.config, identity, &details.names);
        let records =
            |place: &published::Place| published::tlsa_records(&place.host, &[place.port], &key.spki());
        Ok(places.iter().flat_map(records).collect())
    }

    /// Reads and judges what an authority sent, and changes nothing. The name is the identity's, where it is not to be found
    /// out. Also how an exported file is brought back.
    ///
    /// # Errors
    /// A file cannot be read ([`needs_passphrase`] says whether it only needs that), or its key is not there. What speaks
    /// against the certificate stands in the plan.
    pub async fn plan(
        &self,
        offers: &[Offer],
        passphrase: Option<&Passphrase>,
        named: Option<&str>,
    ) -> Result<Plan, super::Error> {
        let now = Timestamp::now();
        let mut plan = install::plan(self.bench(now), offers, passphrase, named)?;
        plan.hold_against_published(self.config, Silence::Refuses, now).await?;
        Ok(plan)
    }

    /// Puts a certificate into the store, in the place of the present one, and has the running daemon serve it. Says whether
    /// a daemon runs.
    ///
    /// # Errors
    /// Something speaks against it and was not overridden, or the disk. Nothing is changed then.
    pub async fn install(&self, plan: Plan, doubts: Doubts) -> Result<Daemon, super::Error> {
        plan.carry_out(&self.store, doubts)?;
        have_looked_at(self.config).await
    }

    /// Has the private CA certify the request that waits under this name. Nothing is installed yet.
    ///
    /// # Errors
    /// There is no request, no CA, or its key is locked and the passphrase is not at hand.
    pub async fn send_to_private_ca(
        &self,
        identity: &str,
        passphrase: Option<&Passphrase>,
    ) -> Result<Plan, super::Error> {
        let pending = self.store.pending(identity).map_err(Error::from)?;
        let pending = pending.ok_or_else(|| Error::NoRequest { identity: identity.to_owned() })?;
        self.issue(identity, pending.note.details, pending.key, passphrase).await
    }

    /// Has an ACME authority certify the request that waits under this name, and install what it issues. From then on it is
    /// renewed there.
    ///
    /// # Errors
    /// There is no request, no `[[acme]]` of that name, or no daemon runs. An order that failed is no error.
    pub async fn send_to_acme(&self, identity: &str, authority: &str) -> Result<OrderView, super::Error> {
        if !self.config.acme.iter().any(|known| known.name == authority) {
            let known = self.config.acme.iter().map(|known| known.name.clone()).collect();
            return Err(Error::NoAcme { name: authority.to_owned(), known }.into());
        }
        let pending = self.store.pending(identity).map_err(Error::from)?;
        pending.ok_or_else(|| Error::NoRequest { identity: identity.to_owned() })?;
        self.store.note_sent(identity, SentTo::Acme(authority.to_owned())).map_err(Error::from)?;
        self.order(identity).await
    }

    /// The names of the ACME authorities that the configuration has.
    pub fn acme_authorities(&self) -> Vec<String> {
        self.config.acme.iter().map(|authority| authority.name.clone()).collect()
    }

    /// Renews an identity now, in the way that it is renewed by itself; by hand, a request is made.
    ///
    /// # Errors
    /// Somebody else writes its files, a request waits already, or its authority cannot be asked.
    pub async fn renew(
        &self,
        identity: &str,
        passphrase: Option<&Passphrase>,
    ) -> Result<Renewed, super::Error> {
        let place = listing::find(self.config, &self.store, identity)?;
        match place.renewed_by {
            Renewal::Files(_) => {
                let (identity, path) = (identity.to_owned(), place.paths.certificate);
                Err(Error::Foreign { identity, path }.into())
            }
            Renewal::ByHand => {
                let waiting = self.request_again(identity, Earlier::Keep, Timestamp::now())?;
                Ok(Renewed::Requested(Box::new(waiting)))
            }
            Renewal::Acme(_) => Ok(Renewed::Ordered(Box::new(self.order(identity).await?))),
            Renewal::PrivateCa => {
                let (asked, key) = request::successor(&self.store, identity)?;
                let plan = self.issue(identity, asked, key, passphrase).await?;
                let certificate = Box::new(plan.certificate.clone());
                Ok(Renewed::Installed(certificate, self.install(plan, Doubts::Heed).await?))
            }
        }
    }

    /// How things stand with every certificate, the worst first.
    pub fn check(&self, now: Timestamp) -> Vec<expiry::Finding> {
        warn::check(self.config, now)
    }

    /// Every identity, on disk and as it is being served.
    ///
    /// # Errors
    /// The store cannot be read, or the daemon cannot be reached.
    pub async fn list(&self) -> Result<Vec<Listed>, super::Error> {
        let served = served(self.config, Request::Served).await?;
        Ok(listing::list(self.config, &self.store, served.as_deref(), Timestamp::now())?)
    }

    /// An identity's chain and key.
    ///
    /// # Errors
    /// There is none of that name, or its files are broken.
    pub fn read(&self, identity: &str) -> Result<(Chain, PrivateKey), Error> {
        listing::read(&listing::find(self.config, &self.store, identity)?)
    }

    /// An identity as one PKCS #12 file, for a backup or another program. The passphrase opens it.
    ///
    /// # Errors
    /// There is no such identity, it is broken, or the passphrase is none.
    pub fn export(
        &self,
        identity: &str,
        passphrase: &Passphrase,
        compatibility: Compatibility,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (chain, key) = self.read(identity)?;
        Ok(pkcs12::write(&key, &chain, passphrase, identity, compatibility)?)
    }

    /// Takes an identity out of the store, with its key. To override doubts is to remove it though clients see it.
    ///
    /// # Errors
    /// Something is bound to it, some listener shows it for a name that no other bears, it is not in the store, or the disk.
    pub async fn remove(&self, identity: &str, doubts: Doubts) -> Result<Daemon, super::Error> {
        let place = listing::find(self.config, &self.store, identity)?;
        let by = listing::bound_by(self.config, &place);
        if !by.is_empty() {
            return Err(Error::Bound { identity: identity.to_owned(), by }.into());
        }
        let by = listing::shown_by(self.config, &self.store, &place, Timestamp::now())?;
        if doubts == Doubts::Heed && !by.is_empty() {
            return Err(Error::Shown { identity: identity.to_owned(), by }.into());
        }
        self.store.remove(identity).map_err(Error::from)?;
        have_looked_at(self.config).await
    }

    async fn issue(
        &self,
        identity: &str,
        asked: RequestDetails,
        key: PrivateKey,
        passphrase: Option<&Passphrase>,
    ) -> Result<Plan, super::Error> {
        let now = Timestamp::now();
        let certificates = private_ca::issue(self.config, &asked, &key, passphrase, now)?;
        let about = About { origin: Origin::PrivateCa, installed: now, asked: Some(asked) };
        let delivery = Delivery { identity: identity.to_owned(), certificates, key, about };
        let mut plan = install::plan_for(self.bench(now), delivery)?;
        plan.hold_against_published(self.config, Silence::Refuses, now).await?;
        Ok(plan)
    }

    /// Places an order at an identity's ACME authority, which the running daemon does.
    async fn order(&self, identity: &str) -> Result<OrderView, super::Error> {
        match ask(self.config, Request::Renew { identity: identity.to_owned() }).await? {
            Some(Response::AcmeOrder(order)) => Ok(*order),
            Some(other) => Err(super::Error::Garbled(format!("{other:?}"))),
            None => Err(super::Error::NotRunning(self.config.data_dir.clone())),
        }
    }

    fn bench(&self, now: Timestamp) -> Bench<'_> {
        Bench { config: self.config, store: &self.store, now }
    }

    /// Where the configuration has identities handed on to, whenever they change.
    pub fn deployment(&self) -> &Deployment {
        &self.config.certificates.deployment
    }

    /// The copies of an identity, with its key, that lie in the folder of the configuration. They are other programs', and
    /// outlive the identity.
    pub fn copies(&self, identity: &str) -> Vec<PathBuf> {
        self.deployment().copies(identity)
    }

    /// Hands an identity on to other programs.
    ///
    /// # Errors
    /// There is no such identity, the folder cannot be written, or the hook failed.
    pub async fn deploy(&self, identity: &str, to: &Deployment) -> Result<Deployed, Error> {
        deploy::deploy(&self.store, identity, to).await
    }

    /// Whom to ask for names, without a daemon.
    fn network(&self) -> Result<Network, super::Error> {
        let ledger = ledger::open_for_reading(&self.config.data_dir)?;
        Ok(Network::open(&self.config.dns, &ledger, &Observer::new(Vec::new()))?)
    }
}

/// Has the running daemon look at its certificates and at the private CA at once, instead of within a few seconds.
///
/// # Errors
/// It runs, but cannot be reached or understood.
pub(super) async fn have_looked_at(config: &Config) -> Result<Daemon, super::Error> {
    let served = served(config, Request::Look).await?;
    Ok(served.map_or(Daemon::Absent, |_| Daemon::Told))
}

/// What the running daemon serves; `None` where none runs.
async fn served(config: &Config, request: Request) -> Result<Option<Vec<Served>>, super::Error> {
    match ask(config, request).await? {
        None => Ok(None),
        Some(Response::Served(served)) => Ok(Some(served)),
        Some(other) => Err(super::Error::Garbled(format!("{other:?}"))),
    }
}

/// What the running daemon answers; `None` where none runs.
async fn ask(config: &Config, request: Request) -> Result<Option<Response>, super::Error> {
    match socket::call(&config.data_dir, &super::Request::Certificates(request)).await? {
        Some(Response::Failed(why)) => Err(super::Error::Failed(why)),
        answer => Ok(answer),
    }
}

/// Carries out what is asked of a daemon, in it.
pub(super) async fn carry_out(shared: &Shared, request: Request) -> Response {
    match request {
        Request::Served => Response::Served(watch::served(shared).await),
        Request::Look => Response::Served(watch::look_now(shared).await),
        Request::Renew { identity } => acme::renew(shared, &identity).await,
        Request::AcmeLog(request) => {
            let log = acme::log_of(&shared.acme.story, request).await;
            log.map_or_else(|error| Response::Failed(error.to_string()), Response::AcmeLog)
        }
    }
}

/// The same where no daemon runs: what happened can be read all the same.
///
/// # Errors
/// Anything else needs the daemon, or the story cannot be read.
pub(super) async fn carry_out_alone(data_dir: &Path, request: Request) -> Result<Response, super::Error> {
    match request {
        Request::AcmeLog(request) => Ok(Response::AcmeLog(acme::log(data_dir, request).await?)),
        Request::Served | Request::Look | Request::Renew { .. } => {
            Err(super::Error::NotRunning(data_dir.to_owned()))
        }
    }
}
