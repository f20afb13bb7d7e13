//! All that follows from one configuration: the policy, the listeners' settings, certificates and trusted roots.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use postern_pki::{
    ClientTls, Loaded, MinimumVersion, PrivateCa, ServerOptions, Tickets, TlsIdentity, TrustAnchors,
    server_config,
};
use postern_queue::retry::Schedule;
use postern_smtp::server::Settings;

use crate::config::{self, Config, Connector, SessionTickets, TlsVersion};
use crate::event::Event;
use crate::inbound::listener::Listener;
use crate::observe::Observer;
use crate::routing::Routing;

/// One configuration, ready to be used.
pub struct Site {
    /// The configuration itself.
    pub(crate) config: Arc<Config>,
    /// Who may send where, and by which way.
    pub(crate) routing: Routing,
    /// When to try again.
    pub(crate) schedule: Schedule,
    /// The listeners, in the order of the file.
    pub(crate) listeners: Vec<Arc<Listener>>,
    trust: HashMap<Option<PathBuf>, Result<ClientTls, String>>,
}

impl Site {
    /// Loads what a configuration names. What cannot be loaded is an alarm and never a silent loss: STARTTLS stays
    /// announced and is answered 454, and connectors without their trusted roots wait.
    pub(crate) fn new(config: Config, observer: &Observer, now: Timestamp) -> Self {
        for warning in &config.warnings {
            observer.daemon(Event::Alarm { what: warning.to_string(), remedy: warning.remedy.clone() });
        }
        let config = Arc::new(config);
        let identities = Identities::load(&config, observer, now);
        let listener =
            |listener: &config::Listener| Arc::new(make_listener(&config, listener, &identities, observer));
        let retry = &config.queue.retry;
        Self {
            routing: Routing::new(Arc::clone(&config)),
            schedule: Schedule {
                intervals: retry.intervals.clone(),
                jitter: retry.jitter,
                expire: retry.expire,
                delay_warning: retry.delay_warning,
            },
            listeners: config.listeners.iter().map(listener).collect(),
            trust: load_trust(&config, observer),
            config,
        }
    }

    /// The sending side of TLS for a connector, or why it could not be set up.
    pub(crate) fn client_tls(&self, connector: &Connector) -> &Result<ClientTls, String> {
        static UNKNOWN: Result<ClientTls, String> = Err(String::new());
        self.trust.get(&connector.trust).unwrap_or(&UNKNOWN)
    }
}

/// The identities that could be loaded.
struct Identities(Vec<Arc<TlsIdentity>>);

impl Identities {
    fn load(config: &Config, observer: &Observer, now: Timestamp) -> Self {
        let loaded = if config.tls.identities.is_empty() {
            vec![from_private_ca(config, now)]
        } else {
            let load = |files: &config::IdentityFiles| {
                TlsIdentity::load(&files.name, &files.certificate, &files.key, now)
            };
            config.tls.identities.iter().map(load).collect()
        };
        Self(loaded.into_iter().filter_map(|loaded| usable(loaded, observer)).collect())
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

fn from_private_ca(config: &Config, now: Timestamp) -> Result<Loaded, postern_pki::Error> {
    let ca = PrivateCa::open_or_create(&config.data_dir.join("ca"), config.hostname.as_str(), now)?;
    let mut names = vec![config.hostname.to_string()];
    // People on this very machine connect to "localhost" as often as not.
    names.extend(["localhost", "127.0.0.1", "::1"].map(str::to_owned));
    Ok(ca.ensure_server_identity(&config.data_dir.join("tls"), &names, now)?.loaded)
}

fn usable(loaded: Result<Loaded, postern_pki::Error>, observer: &Observer) -> Option<Arc<TlsIdentity>> {
    match loaded {
        Ok(Loaded { identity, warnings }) => {
            for warning in warnings {
                let what = format!("TLS identity {}: {warning}", identity.name);
                observer
                    .daemon(Event::Alarm { what, remedy: "install a good certificate, then reload".into() });
            }
            Some(Arc::new(identity))
        }
        Err(error) => {
            let what = format!("a TLS identity cannot be used: {error}");
            observer.daemon(Event::Alarm {
                what,
                remedy: "mend it, then reload; until then STARTTLS answers 454".into(),
            });
            None
        }
    }
}

fn make_listener(
    config: &Config,
    listener: &config::Listener,
    identities: &Identities,
    observer: &Observer,
) -> Listener {
    let options = ServerOptions {
        identities: identities.of(listener),
        minimum: match config.tls.minimum {
            TlsVersion::Tls12 => MinimumVersion::Tls12,
            TlsVersion::Tls13 => MinimumVersion::Tls13,
        },
        tickets: if listener.session_tickets == SessionTickets::Issued { Tickets::On } else { Tickets::Off },
    };
    let tls = server_config(&options);
    if let Err(error) = &tls {
        let what = format!("listener {} has no TLS: {error}", listener.name);
        observer.daemon(Event::Alarm { what, remedy: "load a usable certificate, then reload".into() });
    }
    let tls = tls.ok();
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

fn load_trust(config: &Config, observer: &Observer) -> HashMap<Option<PathBuf>, Result<ClientTls, String>> {
    let mut trust = HashMap::new();
    for connector in &config.connectors {
        if trust.contains_key(&connector.trust) {
            continue;
        }
        let anchors = connector.trust.clone().map_or(TrustAnchors::System, TrustAnchors::File);
        let loaded = ClientTls::new(&anchors).map_err(|error| error.to_string());
        if let Err(error) = &loaded {
            let what = format!("connector {}: its trusted roots cannot be loaded: {error}", connector.name);
            observer.daemon(Event::Alarm {
                what,
                remedy: "mend connector.trust, then reload; until then its mail waits".into(),
            });
        }
        trust.insert(connector.trust.clone(), loaded);
    }
    trust
}
