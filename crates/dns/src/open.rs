//! Which resolver to use, out of what an administrator says.
//!
//! [`open`] makes it. The types to know: [`Options`], which servers and who checks signatures ([`DnssecMode`]); [`Opened`], the
//! resolver, with [`Opened::probe`] to see whether its validation works; and [`OpenError`], what is wrong with the options.
//!
//! What it deliberately does not do: ask anybody before the first lookup or probe, choose another mode than the one that
//! was asked for, or follow changes of `/etc/resolv.conf`: it is read when the resolver is made.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::system_conf::read_system_conf;

use crate::anchors::{AnchorError, Anchors};
use crate::cached::{Cached, Limits};
use crate::signed::DnssecResolver;
use crate::system::SystemResolver;
use crate::validation::Validation;
use crate::{LookupError, Resolver};

/// How to ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The recursive name servers; empty means the system's (`/etc/resolv.conf`).
    pub servers: Vec<SocketAddr>,
    /// How long to wait for one server's answer; `None` means 5 s, or what the system's configuration says.
    pub timeout: Option<Duration>,
    /// Who checks signatures.
    pub dnssec: DnssecMode,
}

/// Who checks signatures.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum DnssecMode {
    /// Nobody; there is no DANE.
    #[default]
    Off,
    /// A validating resolver on this machine, whose AD bit is believed. Servers elsewhere are asked, not believed.
    Resolver,
    /// This process, through whatever recursive servers there are, as long as they pass signatures on.
    Own {
        /// A file of DS or DNSKEY records to start from; `None` means the root's keys, which are built in.
        anchors: Option<PathBuf>,
    },
}

/// A resolver that remembers answers, and what is known of its validation.
#[derive(Clone)]
pub struct Opened {
    /// For all to share.
    pub resolver: Arc<dyn Resolver>,
    signed: Option<Arc<Cached<DnssecResolver>>>,
}

impl Opened {
    /// Looks whether answers are validated. To be called at the start, so that an operator learns it, and from time to
    /// time, because resolvers change; lookups before that find out by themselves. When it no longer is as it was, what
    /// is remembered is forgotten: it bears the wrong status. Takes as long as the servers do.
    pub async fn probe(&self) -> Validation {
        let Some(signed) = &self.signed else { return Validation::Off };
        let before = signed.resolver().seen();
        let found = signed.resolver().probe().await;
        if before.is_some_and(|before| before.works() != found.works()) {
            signed.forget();
        }
        found
    }

    /// What is known of that without asking anybody; `None` before anybody looked.
    pub fn seen(&self) -> Option<Validation> {
        match &self.signed {
            Some(signed) => signed.resolver().seen(),
            None => Some(Validation::Off),
        }
    }
}

/// Why there is no resolver. The fault is in the configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The system's configuration cannot be read or is unusable.
    #[error("the system's DNS configuration cannot be used: {0}")]
    System(String),
    /// There is nobody to ask.
    #[error("no name server is configured")]
    NoServers,
    /// The trust anchors cannot be used.
    #[error("DNSSEC trust anchors: {0}")]
    Anchors(#[from] AnchorError),
}

/// The resolver that the options describe. Call it from within a tokio runtime. Asks nobody yet.
///
/// # Errors
/// [`OpenError`].
pub fn open(options: &Options) -> Result<Opened, OpenError> {
    let signed = match &options.dnssec {
        DnssecMode::Off => return unsigned(options),
        DnssecMode::Resolver => {
            let (servers, timeout) = servers(options)?;
            DnssecResolver::of_resolver(&servers, timeout)
        }
        DnssecMode::Own { anchors } => {
            let (servers, timeout) = servers(options)?;
            DnssecResolver::of_anchors(&servers, timeout, Anchors::load(anchors.as_deref())?)
        }
    };
    let signed = Arc::new(Cached::new(signed, Limits::default()));
    Ok(Opened { resolver: signed.clone(), signed: Some(signed) })
}

fn unsigned(options: &Options) -> Result<Opened, OpenError> {
    let system = SystemResolver::new(options).map_err(|error| match error {
        LookupError::Temporary(what) => OpenError::System(what),
        other => OpenError::System(other.to_string()),
    })?;
    Ok(Opened { resolver: Arc::new(Cached::new(system, Limits::default())), signed: None })
}

/// Whom to ask and how long to wait for each.
fn servers(options: &Options) -> Result<(Vec<SocketAddr>, Duration), OpenError> {
    const USUAL: Duration = Duration::from_secs(5);
    if !options.servers.is_empty() {
        return Ok((options.servers.clone(), options.timeout.unwrap_or(USUAL)));
    }
    let (config, system) = read_system_conf().map_err(|error| OpenError::System(error.to_string()))?;
    let addresses = config.name_servers().iter().map(|server| {
        let port = server.connections.first().map_or(53, |connection| connection.port);
        SocketAddr::new(server.ip, port)
    });
    let mut servers = Vec::new();
    for address in addresses.take(8) {
        if !servers.contains(&address) {
            servers.push(address);
        }
    }
    if servers.is_empty() {
        return Err(OpenError::NoServers);
    }
    Ok((servers, options.timeout.unwrap_or(system.timeout)))
}
