//! What an administrator can do about our certificates: `postern cert`, and later the console.
//!
//! [`Certificates`] is the whole desk: proposals and requests, installing, listing, handing on. It works on the certificate
//! store directly, whether or not the daemon runs; a running one is told afterwards, and serves what is new without a
//! session noticing. Files that people bring are given as octets ([`Offer`]), because whoever may read them need not
//! be the user that Postern runs as.
//!
//! What it deliberately does not do: parse command lines, ask questions, or render answers for people.

use jiff::Timestamp;
use postern_pki::pkcs12;

pub use postern_pki::pkcs12::Compatibility;
pub use postern_pki::{
    Chain, Finding, IdentityStore, KeyKind, Name, Passphrase, PrivateKey, RequestDetails, Severity,
    SigningRequest, Subject, check_name,
};
pub use zeroize::Zeroizing;

pub use crate::certificates::Error;
pub use crate::certificates::assign::{AssignError, Binding, Change, assign};
pub use crate::certificates::deploy::{Deployed, Deployment};
pub use crate::certificates::install::{Doubts, KeyFrom, Offer, Plan, needs_passphrase};
pub use crate::certificates::proposal::{Concern, Proposal};
pub use crate::certificates::request::{Ask, Earlier, KeyChoice};

use super::{Admin, socket};
use crate::certificates::install::Bench;
use crate::certificates::{deploy, install, listing, proposal, published, request};
use crate::config::Config;
use crate::daemon::network::Network;
use crate::observe::Observer;
use crate::policy::ledger::Ledger;

/// The operations on our certificates.
pub struct Certificates<'a> {
    config: &'a Config,
    store: IdentityStore,
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
        proposal::propose(self.config, identity)
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
    #[expect(clippy::unused_async, reason = "what is published is looked up next")]
    pub async fn plan(
        &self,
        offers: &[Offer],
        passphrase: Option<&Passphrase>,
        named: Option<&str>,
    ) -> Result<Plan, Error> {
        install::plan(self.bench(Timestamp::now()), offers, passphrase, named)
    }

    /// Puts a certificate into the store, in the place of the present one, and has the running daemon serve it. Says whether
    /// a daemon runs.
    ///
    /// # Errors
    /// Something speaks against it and was not overridden, or the disk. Nothing is changed then.
    pub async fn install(&self, plan: Plan, doubts: Doubts) -> Result<Daemon, super::Error> {
        plan.carry_out(&self.store, doubts)?;
        self.tell_daemon().await
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

    /// Takes an identity out of the store, with its key.
    ///
    /// # Errors
    /// Something is bound to it, it is not in the store, or the disk.
    pub async fn remove(&self, identity: &str) -> Result<Daemon, super::Error> {
        let place = listing::find(self.config, &self.store, identity)?;
        let by = listing::bound_by(self.config, &place);
        if !by.is_empty() {
            return Err(Error::Bound { identity: identity.to_owned(), by }.into());
        }
        self.store.remove(identity).map_err(Error::from)?;
        self.tell_daemon().await
    }

    /// Has the running daemon look at its certificates at once, instead of within a few seconds.
    async fn tell_daemon(&self) -> Result<Daemon, super::Error> {
        match socket::call(&self.config.data_dir, &super::Request::Reload).await? {
            None => Ok(Daemon::Absent),
            Some(super::Response::Done) => Ok(Daemon::Told),
            Some(super::Response::Failed(why)) => Err(super::Error::Failed(why)),
            Some(other) => Err(super::Error::Garbled(format!("{other:?}"))),
        }
    }

    fn bench(&self, now: Timestamp) -> Bench<'_> {
        Bench { config: self.config, store: &self.store, now }
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
        let ledger = Ledger::open_for_reading(&self.config.data_dir)?;
        Ok(Network::open(&self.config.dns, &ledger, &Observer::new(Vec::new()))?)
    }
}
