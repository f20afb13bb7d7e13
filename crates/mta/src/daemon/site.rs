//! All that follows from one configuration: the policy, the resolver, the listeners' settings, certificates and
//! trusted roots.
//!
//! A [`Site`] is built whole at the start, at a reload, and every few hours so that renewed certificates are served; it
//! never changes, and whoever works with one may keep it to the end of what he does. What cannot be loaded is an alarm,
//! not a reason to stop: the rest goes on.
//!
//! What it deliberately does not do: open the store or the users, or bind sockets. Those outlive a configuration.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use postern_pki::{
    Challenges, ClientCa, ClientCertificates, ClientTls, Loaded, PrivateCa, ServerOptions, TlsIdentity,
    TrustAnchors,
};
use postern_queue::Destination;
use postern_queue::retry::Schedule;
use postern_smtp::server::Settings;
use postern_smtp::tls::{Level, Proof};

use super::network::Network;
use crate::config::{self, Config, Connector, SpacePolicy};
use crate::event::Event;
use crate::inbound::listener::{Listener, ServerTls};
use crate::observe::Observer;
use crate::outbound::own_addresses;
use crate::outbound::plan::HostTerms;
use crate::policy::ledger::Ledger;
use crate::routing::Routing;

/// One configuration, ready to be used.
pub struct Site {
    /// The configuration itself.
    pub(crate) config: Arc<Config>,
    /// Who may send where, and by which way.
    pub(crate) routing: Routing,
    /// Whom to ask for names and policies.
    pub(crate) network: Network,
    /// The listeners, in the order of the file.
    pub(crate) listeners: Vec<Arc<Listener>>,
    trust: HashMap<Option<PathBuf>, Result<ClientTls, String>>,
    /// For a connector that is none of this configuration's.
    no_trust: Result<ClientTls, String>,
    identities: Vec<Arc<TlsIdentity>>,
}

impl Site {
    /// Loads what a configuration names. What cannot be loaded is an alarm and never a silent loss: STARTTLS stays
    /// announced and is answered 454, and mail that needs a proof waits where the trusted roots are missing.
    pub(crate) fn new(
        config: Config,
        network: Network,
        challenges: &Challenges,
        observer: &Observer,
        now: Timestamp,
    ) -> Self {
        let config = Arc::new(config);
        let identities = Identities::load(&config, observer, now);
        let listener = |listener: &config::Listener| {
            let tls = listener_tls(&config, listener, &identities, challenges, observer);
            Arc::new(make_listener(&config, listener, tls))
        };
        Self {
            routing: Routing::new(Arc::clone(&config)),
            network,
            listeners: config.listeners.iter().map(listener).collect(),
            trust: load_trust(&config, observer),
            no_trust: Err("its trusted roots were not loaded".into()),
            identities: identities.0,
            config,
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
        let ledger = Ledger::open_for_reading(&config.data_dir)?;
        let network = Network::open(&config.dns, &ledger, observer)?;
        let config = Arc::new(config);
        let (identities, errors) = Identities::named(&config, observer, now);
        complain_of(&errors, "a server that asks for its certificate is shown none", observer);
        Ok(Self {
            routing: Routing::new(Arc::clone(&config)),
            network,
            listeners: Vec::new(),
            trust: load_trust(&config, observer),
            no_trust: Err("its trusted roots were not loaded".into()),
            identities: identities.0,
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
                    "install them (Debian: ca-certificates) or name a file in connector.trust, then reload; \
                         until then that mail waits"
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

/// The identities that could be loaded.
struct Identities(Vec<Arc<TlsIdentity>>);

impl Identities {
    fn load(config: &Config, observer: &Observer, now: Timestamp) -> Self {
        let (usable, errors) = if config.tls.identities.is_empty() {
            Self::admit([from_private_ca(config, observer, now)], observer)
        } else {
            Self::named(config, observer, now)
        };
        complain_of(&errors, meanwhile(usable.0.len()), observer);
        usable
    }

    /// Those that the configuration names, and what is wrong with the others.
    fn named(config: &Config, observer: &Observer, now: Timestamp) -> (Self, Vec<postern_pki::Error>) {
        let load = |identity: &config::Identity| {
            let (certificate, key) = identity.files(&config.data_dir);
            TlsIdentity::load(&identity.name, &certificate, &key, now)
        };
        Self::admit(config.tls.identities.iter().map(load), observer)
    }

    fn admit(
        loaded: impl IntoIterator<Item = Result<Loaded, postern_pki::Error>>,
        observer: &Observer,
    ) -> (Self, Vec<postern_pki::Error>) {
        let (mut usable, mut errors) = (Vec::new(), Vec::new());
        for loaded in loaded {
            match loaded {
                Ok(loaded) => usable.push(admit(loaded, observer)),
                Err(error) => errors.push(error),
            }
        }
        (Self(usable), errors)
    }

    /// Those that a listener wants, the first one first; all when it names none.
    fn of(&self, listener: &config::Listener) -> Vec<Arc<TlsIdentity>> {
        let wanted = |name: &String| self.0.iter().find(|identity| identity.name == *name).cloned();
        if listener.identities.is_empty()
            || self.0.iter().all(|identity| !listener.identities.contains(&identity.name))
        {
            return self.0.clone();
        }
        listener.identities.iter().filter_map(wanted).collect()
    }
}

fn from_private_ca(
    config: &Config,
    observer: &Observer,
    now: Timestamp,
) -> Result<Loaded, postern_pki::Error> {
    let folder = config.data_dir.join("ca");
    let was_there = folder.join("root.pem").exists();
    let ca = PrivateCa::open_or_create(&folder, config.hostname.as_str(), now)?;
    if !was_there {
        observer.daemon(Event::AuthorityMade { root: ca.root_pem_path().display().to_string() });
    }
    let mut names = vec![config.hostname.to_string()];
    // People on this very machine connect to "localhost" as often as not.
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    Ok(ca.ensure_server_identity(&config.data_dir.join("tls"), &names, now)?.loaded)
}

fn admit(loaded: Loaded, observer: &Observer) -> Arc<TlsIdentity> {
    for warning in &loaded.warnings {
        let what = format!("TLS identity {}: {warning}", loaded.identity.name);
        observer.daemon(Event::Alarm { what, remedy: warning.remedy() });
    }
    Arc::new(loaded.identity)
}

/// What identities that cannot be used mean for the listeners, where so many can.
fn meanwhile(usable: usize) -> &'static str {
    match usable {
        0 => "no listener has TLS: STARTTLS answers 454",
        _ => "clients are shown another identity",
    }
}

/// One alarm for each identity that cannot be used, which speaks for all who would have shown it.
fn complain_of(errors: &[postern_pki::Error], meanwhile: &str, observer: &Observer) {
    for error in errors {
        let what = format!("a TLS identity cannot be used: {error}");
        observer
            .daemon(Event::Alarm { what, remedy: format!("mend it, then reload; until then {meanwhile}") });
    }
}

fn make_listener(config: &Config, listener: &config::Listener, tls: Option<ServerTls>) -> Listener {
    let settings = Settings {
        hostname: config.hostname.to_string(),
        tls: listener.tls,
        tls_available: tls.is_some(),
        auth: listener.auth,
        line_endings: listener.line_endings,
        limits: listener.limits.smtp.clone(),
        timeouts: listener.limits.timeouts.clone(),
    };
    Listener { config: listener.clone(), settings: Arc::new(settings), tls }
}

/// TLS on a listener, or an alarm that says why there is none.
fn listener_tls(
    config: &Config,
    listener: &config::Listener,
    identities: &Identities,
    challenges: &Challenges,
    observer: &Observer,
) -> Option<ServerTls> {
    let options = ServerOptions {
        identities: identities.of(listener),
        default_name: Some(config.hostname.to_string()),
        minimum: listener.minimum,
        tickets: listener.session_tickets,
        client_certificates: client_certificates(listener, observer)?,
    };
    match ServerTls::new(&options, challenges) {
        Ok(tls) => Some(tls),
        // That there is no identity has been said, with the reason, when it was loaded.
        Err(postern_pki::Error::NoIdentity) => None,
        Err(error) => {
            let what = format!("listener {} has no TLS: {error}", listener.name);
            observer.daemon(Event::Alarm { what, remedy: "reload, or restart Postern".into() });
            None
        }
    }
}

/// The authorities that a listener's clients are verified by. Without them it asks nobody, and nobody is verified; where a
/// certificate is required, `None`: it has no TLS at all rather than one that lets everybody in.
fn client_certificates(listener: &config::Listener, observer: &Observer) -> Option<ClientCertificates> {
    use config::ClientCertificates::{Asked, Ignored, Required};
    let (path, meanwhile, fallback) = match &listener.client_certificates {
        Ignored => return Some(ClientCertificates::Ignored),
        Asked(path) => (path, "no client certificate counts there", Some(ClientCertificates::Ignored)),
        Required(path) => (path, "it has no TLS", None),
    };
    match (ClientCa::load(path), &listener.client_certificates) {
        (Ok(ca), Required(_)) => Some(ClientCertificates::Required(ca)),
        (Ok(ca), _) => Some(ClientCertificates::Asked(ca)),
        (Err(error), _) => {
            let what = format!(
                "listener {}: its authorities of client certificates cannot be loaded: {error}",
                listener.name
            );
            let remedy = format!("mend listener.client_ca, then reload; until then {meanwhile}");
            observer.daemon(Event::Alarm { what, remedy });
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

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::observe::{Record, Sink};

    #[derive(Clone, Default)]
    struct Said(Arc<Mutex<Vec<String>>>);

    impl Sink for Said {
        fn record(&self, record: &Record) {
            self.0.lock().unwrap().push(record.event.to_string());
        }
    }

    #[test]
    fn an_unusable_identity_is_one_alarm_with_its_reason() {
        for (usable, words) in [(0, "STARTTLS answers 454"), (1, "another identity")] {
            let said = Said::default();
            let error = postern_pki::Error::Missing { path: "mx.pem".into() };
            complain_of(&[error], meanwhile(usable), &Observer::new(vec![Box::new(said.clone())]));
            let lines = said.0.lock().unwrap().clone();
            assert_eq!(lines.len(), 1, "{lines:?}");
            assert!(
                lines[0].contains("mx.pem: there is no such file") && lines[0].contains(words),
                "{lines:?}"
            );
        }
    }
}
