//! All that follows from one configuration: the policy, the resolver, the listeners' settings, certificates and
//! trusted roots.
//!
//! A [`Site`] is built whole at the start, at a reload, and when a certificate is renewed; it never changes, and whoever
//! works with one may keep it to the end of what he does. What cannot be loaded is an alarm, not a reason to stop: the
//! rest goes on.
//!
//! What it deliberately does not do: open the store or the users, bind sockets, or load certificates. Those outlive a
//! configuration.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use postern_pki::{Challenges, ClientCertificates, ClientTls, ServerOptions, TlsIdentity, TrustAnchors};
use postern_queue::Destination;
use postern_queue::retry::Schedule;
use postern_smtp::sasl::Mechanism;
use postern_smtp::server::{ClearSignIn, Settings};
use postern_smtp::tls::{Level, Proof};

use super::network::Network;
use super::revocations::Revocations;
use crate::certificates::watch::Watch;
use crate::config::{self, Config, Connector, Role, SpacePolicy};
use crate::device;
use crate::directory::Directories;
use crate::event::Event;
use crate::inbound::listener::{Listener, ServerTls};
use crate::observe::Observer;
use crate::outbound::own_addresses;
use crate::outbound::plan::HostTerms;
use crate::policy::ledger;
use crate::routing::Routing;
use crate::sender::Senders;

/// One configuration, ready to be used.
pub struct Site {
    /// The configuration itself.
    pub(crate) config: Arc<Config>,
    /// Who may send where, and by which way.
    pub(crate) routing: Arc<Routing>,
    /// Who may send as what.
    pub(crate) senders: Arc<Senders>,
    /// Who may sign in.
    pub(crate) directories: Arc<Directories>,
    /// Whom to ask for names and policies.
    pub(crate) network: Network,
    /// The listeners, in the order of the file.
    pub(crate) listeners: Vec<Arc<Listener>>,
    trust: Arc<HashMap<Option<PathBuf>, Result<ClientTls, String>>>,
    /// For a connector that is none of this configuration's.
    no_trust: Result<ClientTls, String>,
    identities: Vec<Arc<TlsIdentity>>,
    /// What the private CA revoked.
    revocations: Revocations,
}

/// Who is asked by the daemon, as one configuration has it.
pub(crate) struct Outside {
    /// For names and policies.
    pub(crate) network: Network,
    /// Who somebody is.
    pub(crate) directories: Arc<Directories>,
}

/// What a site is built with besides its configuration.
pub(crate) struct Means<'a> {
    /// What authorities that validate a name are shown.
    pub(crate) challenges: &'a Challenges,
    /// Who is told what cannot be loaded.
    pub(crate) observer: &'a Observer,
    /// What the private CA was known to have revoked before.
    pub(crate) revocations: &'a Revocations,
}

impl Site {
    /// Loads what a configuration names besides its certificates. What cannot be loaded is an alarm and never a silent loss:
    /// without a certificate STARTTLS stays announced and is answered 454, and mail that needs a proof waits where the
    /// trusted roots are missing.
    pub(crate) fn new(
        config: Config,
        Outside { network, directories }: Outside,
        identities: Vec<Arc<TlsIdentity>>,
        means: &Means<'_>,
    ) -> Self {
        let config = Arc::new(config);
        let revocations = Revocations::look(&config, means.revocations, means.observer);
        let means = Means { revocations: &revocations, ..*means };
        Self {
            routing: Arc::new(Routing::new(Arc::clone(&config))),
            listeners: make_listeners(&config, &identities, &directories.mechanisms(), &means),
            senders: Arc::new(Senders::new(&config)),
            directories,
            network,
            trust: Arc::new(load_trust(&config, means.observer)),
            no_trust: no_trust(),
            identities,
            revocations,
            config,
        }
    }

    /// The same with other certificates.
    pub(crate) fn with_identities(
        &self,
        identities: Vec<Arc<TlsIdentity>>,
        challenges: &Challenges,
        observer: &Observer,
    ) -> Self {
        let revocations = Revocations::look(&self.config, &self.revocations, observer);
        let means = Means { challenges, observer, revocations: &revocations };
        Self {
            config: Arc::clone(&self.config),
            routing: Arc::clone(&self.routing),
            senders: Arc::clone(&self.senders),
            directories: Arc::clone(&self.directories),
            network: self.network.clone(),
            listeners: make_listeners(&self.config, &identities, &self.directories.mechanisms(), &means),
            trust: Arc::clone(&self.trust),
            no_trust: no_trust(),
            identities,
            revocations,
        }
    }

    /// What is needed to say where mail would go without a daemon, and nothing besides: no listeners, no private CA, and no
    /// file is made. What cannot be loaded is an alarm here too.
    ///
    /// # Errors
    /// Local: no resolver can be set up, or what is remembered of destinations cannot be read.
    pub(crate) fn for_planning(
        config: Config,
        observer: &Observer,
        now: Timestamp,
    ) -> Result<Self, super::Error> {
        let ledger = ledger::open_for_reading(&config.data_dir)?;
        let network = Network::open(&config.dns, &ledger, observer)?;
        let config = Arc::new(config);
        let looked = Watch::default().look_without_authority(&config, now);
        for event in looked.events {
            observer.daemon(event);
        }
        Ok(Self {
            routing: Arc::new(Routing::new(Arc::clone(&config))),
            senders: Arc::new(Senders::new(&config)),
            directories: Arc::new(Directories::nobody()?),
            network,
            listeners: Vec::new(),
            trust: Arc::new(load_trust(&config, observer)),
            no_trust: no_trust(),
            identities: looked.identities,
            revocations: Revocations::default(),
            config,
        })
    }

    /// Where the listeners can be reached by the configuration alone, whether or not they are bound.
    pub(crate) fn configured_addresses(&self) -> Vec<SocketAddr> {
        let binds = self.config.listeners.iter().flat_map(|listener| listener.bind.iter().copied());
        own_addresses(&binds.collect::<Vec<_>>())
    }

    /// When mail for a destination is tried again, and when it is given up.
    pub(crate) fn schedule_for(&self, destination: &Destination) -> &Schedule {
        self.routing.connector(destination).map_or(&self.config.queue.retry, |connector| &connector.retry)
    }

    /// The identity of this name, to be shown to servers that ask for a client certificate.
    pub(crate) fn identity(&self, name: &str) -> Option<Arc<TlsIdentity>> {
        self.identities.iter().find(|identity| identity.name == name).cloned()
    }

    /// What the private CA revoked, for the site that comes after this one.
    pub(crate) fn revocations(&self) -> &Revocations {
        &self.revocations
    }

    /// All identities that can be used, in order.
    pub(crate) fn identities(&self) -> &[Arc<TlsIdentity>] {
        &self.identities
    }

    /// Says what is allowed but probably not meant: once for each configuration, at its start.
    pub(crate) fn announce(&self, observer: &Observer) {
        for warning in &self.config.warnings {
            observer.daemon(Event::ConfigWarning { problem: warning.to_string() });
        }
        let waiting: Vec<&str> = self.connectors_without_roots().collect();
        if !waiting.is_empty() {
            observer.daemon(Event::Alarm {
                what: format!(
                    "this system trusts no root certificates, but verified TLS is demanded by connector {}",
                    waiting.join(", ")
                ),
                remedy:
                    "install them (Debian: ca-certificates) or name a file in connector.trust, then reload; until then that mail waits"
                        .into(),
            });
        }
    }

    /// Those that verify by the system's roots, where it has none.
    fn connectors_without_roots(&self) -> impl Iterator<Item = &str> {
        let verifies = |connector: &&Connector| {
            connector.peer.requirement.proofs().contains(Proof::Verified)
                && connector.peer.trust.is_none()
                && self.client_tls(None).as_ref().is_ok_and(|tls| tls.trusted_roots() == 0)
        };
        self.config.connectors.iter().filter(verifies).map(|connector| connector.name.0.as_str())
    }

    /// The sending side of TLS that trusts the roots in this file, or the system's, or why it could not be set up.
    pub(crate) fn client_tls(&self, trust: Option<&PathBuf>) -> &Result<ClientTls, String> {
        self.trust.get(&trust.cloned()).unwrap_or(&self.no_trust)
    }

    /// The trusted roots for a host under these terms, or why there are none. Where none of them is to vouch for anybody,
    /// encryption does not depend on the file being sound: the system's do as well.
    pub(crate) fn roots_for(&self, terms: &HostTerms) -> &Result<ClientTls, String> {
        let roots = self.client_tls(terms.trust.as_ref());
        let nothing_to_prove = terms.peer.requirement.level() < Level::Authenticated;
        if roots.is_err() && nothing_to_prove { self.client_tls(None) } else { roots }
    }
}

fn no_trust() -> Result<ClientTls, String> {
    Err("its trusted roots were not loaded".into())
}

fn make_listeners(
    config: &Config,
    identities: &[Arc<TlsIdentity>],
    mechanisms: &[Mechanism],
    means: &Means<'_>,
) -> Vec<Arc<Listener>> {
    let Means { challenges, observer, revocations } = *means;
    let make = |listener: &config::Listener| {
        let tls =
            client_certificates(config, listener, revocations, observer).and_then(|client_certificates| {
                let options = ServerOptions {
                    identities: shown_by(listener, identities),
                    default_name: Some(config.hostname.to_string()),
                    minimum: listener.minimum,
                    tickets: listener.session_tickets,
                    client_certificates,
                };
                listener_tls(listener, &options, challenges, observer)
            });
        Arc::new(make_listener(config, listener, mechanisms, tls))
    };
    config.listeners.iter().map(make).collect()
}

/// The listeners as they would be with certificates, for those who only ask what a session would say: none of them can
/// begin TLS.
pub(crate) fn listeners_for_questions(config: &Config, mechanisms: &[Mechanism]) -> Vec<Arc<Listener>> {
    let make = |listener: &config::Listener| {
        let mut made = make_listener(config, listener, mechanisms, None);
        let settings = Settings { tls_available: true, ..(*made.settings).clone() };
        if listener.role == Role::Device {
            made.devices = device::admitted(&config.devices, &settings);
        }
        made.settings = Arc::new(settings);
        Arc::new(made)
    };
    config.listeners.iter().map(make).collect()
}

/// The identities that a listener wants, the first one first; all when it names none that can be used.
fn shown_by(listener: &config::Listener, identities: &[Arc<TlsIdentity>]) -> Vec<Arc<TlsIdentity>> {
    let wanted = |name: &String| identities.iter().find(|identity| identity.name == *name).cloned();
    let shown: Vec<_> = listener.identities.iter().filter_map(wanted).collect();
    if shown.is_empty() { identities.to_vec() } else { shown }
}

fn make_listener(
    config: &Config,
    listener: &config::Listener,
    mechanisms: &[Mechanism],
    tls: Option<ServerTls>,
) -> Listener {
    let settings = Settings {
        hostname: config.hostname.to_string(),
        tls: listener.tls.mode(),
        tls_available: tls.is_some(),
        auth: listener.auth,
        clear_sign_in: ClearSignIn::Refused,
        mechanisms: mechanisms.into(),
        line_endings: listener.line_endings,
        limits: listener.limits.smtp.clone(),
        timeouts: listener.limits.timeouts.clone(),
    };
    let devices = match listener.role {
        Role::Device => device::admitted(&config.devices, &settings),
        Role::Relay | Role::Submission => Vec::new(),
    };
    Listener { config: listener.clone(), settings: Arc::new(settings), tls, devices }
}

/// TLS on a listener, or an alarm that says why there is none.
fn listener_tls(
    listener: &config::Listener,
    options: &ServerOptions,
    challenges: &Challenges,
    observer: &Observer,
) -> Option<ServerTls> {
    match ServerTls::new(options, challenges) {
        Ok(tls) => Some(tls),
        // That there is no identity has been said, with the reason, when it was looked for.
        Err(postern_pki::Error::NoIdentity) => None,
        Err(error) => {
            let what = format!("listener {} has no TLS: {error}", listener.name);
            observer.daemon(Event::Alarm { what, remedy: "reload, or restart Postern".into() });
            None
        }
    }
}

/// The authorities that a listener's clients are verified by. Without them it asks nobody, and nobody is verified; where a
/// certificate is required, `None`: it has no TLS at all rather than one that lets everybody in. The same where they are
/// the private CA, and what that revoked is not known.
fn client_certificates(
    config: &Config,
    listener: &config::Listener,
    revocations: &Revocations,
    observer: &Observer,
) -> Option<ClientCertificates> {
    use config::ClientCertificates::{Asked, Ignored, Required};
    let (path, meanwhile, fallback) = match &listener.client_certificates {
        Ignored => return Some(ClientCertificates::Ignored),
        Asked(path) => (path, "no client certificate counts there", Some(ClientCertificates::Ignored)),
        Required(path) => (path, "it has no TLS", None),
    };
    let alarm = |what: &str, first: &str| {
        let what = format!("listener {}: {what}", listener.name);
        observer
            .daemon(Event::Alarm { what, remedy: format!("{first}, then reload; until then {meanwhile}") });
    };
    if revocations.are_missed(config, path) {
        alarm("which clients' certificates the private CA revoked is not known", "mend the private CA");
        return fallback;
    }
    match (revocations.load(config, path), &listener.client_certificates) {
        (Ok(ca), Required(_)) => Some(ClientCertificates::Required(ca)),
        (Ok(ca), _) => Some(ClientCertificates::Asked(ca)),
        (Err(error), _) => {
            let what = format!("its authorities of client certificates cannot be loaded: {error}");
            alarm(&what, "mend listener.client_ca");
            fallback
        }
    }
}

/// The trusted roots of all connectors and policies, each file once, and the system's, which stand in for a file that is
/// broken.
fn load_trust(config: &Config, observer: &Observer) -> HashMap<Option<PathBuf>, Result<ClientTls, String>> {
    let of_connector = |connector: &Connector| {
        (connector.peer.trust.clone(), format!("connector {}: its trusted roots", connector.name))
    };
    let of_policy = |policy: &SpacePolicy| {
        let spaces: Vec<String> = policy.spaces.iter().map(ToString::to_string).collect();
        (policy.peer.trust.clone(), format!("outbound.policy for {}: its trusted roots", spaces.join(", ")))
    };
    let system = std::iter::once((None, "this system's trusted roots".to_owned()));
    let connectors = config.connectors.iter().map(of_connector);
    let mut trust = HashMap::new();
    for (file, whose) in system.chain(connectors).chain(config.outbound.policies.iter().map(of_policy)) {
        let loaded = |file: &Option<PathBuf>| load_roots(file.as_ref(), &whose, observer);
        trust.entry(file).or_insert_with_key(loaded);
    }
    trust
}

fn load_roots(file: Option<&PathBuf>, whose: &str, observer: &Observer) -> Result<ClientTls, String> {
    let anchors = file.cloned().map_or(TrustAnchors::System, TrustAnchors::File);
    let loaded = ClientTls::new(&anchors).map_err(|error| error.to_string());
    if let Err(error) = &loaded {
        observer.daemon(Event::Alarm {
            what: format!("{whose} cannot be loaded: {error}"),
            remedy:
                "mend trust there, then reload; until then mail waits where the server must prove who it is"
                    .into(),
        });
    }
    loaded
}
