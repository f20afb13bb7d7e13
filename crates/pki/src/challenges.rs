//! Answers to ACME's TLS-ALPN-01 challenge (RFC 8737) on a listener that does other work as well.
//!
//! [`Challenges`] is a table that is shared: whoever asks for a certificate puts the challenge certificate of a name into
//! it, and listeners look at the client's hello. One that speaks `acme-tls/1` and nothing else is an authority that
//! validates: it is shown the challenge certificate of the name that it asks for, and the connection has no other use.
//! Every other client is served as if there were no such thing.
//!
//! What it deliberately does not do: make challenge certificates, or bind a port.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustls::ServerConfig;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::{Error, MinimumVersion};

/// What a validating authority says it speaks (RFC 8737 §6.2).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// The challenge certificates that may be asked for at the moment. Cheap to clone; all clones are one table.
#[derive(Clone, Default)]
pub struct Challenges {
    open: Arc<RwLock<HashMap<String, Arc<CertifiedKey>>>>,
}

impl Challenges {
    /// Shows this certificate to an authority that validates the name, until [`clear`](Self::clear). The name is a host
    /// name, or for an address its name in the reverse tree (RFC 8738 §6).
    pub fn set(&self, name: &str, certificate: CertifiedKey) {
        self.write().insert(normal(name), Arc::new(certificate));
    }

    /// Forgets the challenge certificate of a name.
    pub fn clear(&self, name: &str) {
        self.write().remove(&normal(name));
    }

    /// Whether there is any; without, nobody need look at a client's hello.
    pub fn are_open(&self) -> bool {
        !self.read().is_empty()
    }

    /// Whether this client is an authority that validates: it speaks `acme-tls/1` and nothing else (RFC 8737 §3).
    pub fn concern(hello: &ClientHello<'_>) -> bool {
        let Some(mut spoken) = hello.alpn() else { return false };
        spoken.next() == Some(ACME_TLS) && spoken.next().is_none()
    }

    /// What the TLS library needs for such a client. A name without a challenge fails its handshake.
    ///
    /// # Errors
    /// Local: [`Error::Crypto`].
    pub fn config(&self) -> Result<Arc<ServerConfig>, Error> {
        let mut config = ServerConfig::builder_with_provider(crate::provider())
            .with_protocol_versions(&MinimumVersion::Tls12.versions())
            .map_err(|error| Error::Crypto(error.to_string()))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![ACME_TLS.to_vec()];
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<String, Arc<CertifiedKey>>> {
        self.open.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<String, Arc<CertifiedKey>>> {
        self.open.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ResolvesServerCert for Challenges {
    /// The hello is looked at again: who speaks more than `acme-tls/1` is shown nothing.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        if !Self::concern(&hello) {
            return None;
        }
        self.read().get(&normal(hello.server_name()?)).cloned()
    }
}

/// The names, and no keys.
impl fmt::Debug for Challenges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.read().keys()).finish()
    }
}

fn normal(name: &str) -> String {
    name.trim_end_matches('.').to_ascii_lowercase()
}
