//! The listener's side of TLS: which certificate is shown to whom, and what is offered.

use std::sync::Arc;

use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SupportedProtocolVersion};

use crate::{ClientCertificates, Error, TlsIdentity};

/// What a listener offers.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The identities. The first is shown to clients that ask for no name or for an unknown one.
    pub identities: Vec<Arc<TlsIdentity>>,
    /// The oldest protocol version that is taken.
    pub minimum: MinimumVersion,
    /// Whether clients may resume earlier connections.
    pub tickets: Tickets,
    /// What is done about the clients' certificates. A listener that asks for them gives no tickets, whatever is said
    /// there: a resumed session would carry another connection's judgement.
    pub client_certificates: ClientCertificates,
}

/// The oldest protocol version that is taken. TLS 1.0 and 1.1 are not spoken at all (RFC 8996).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MinimumVersion {
    /// TLS 1.2 and 1.3.
    #[default]
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

/// Whether clients get session tickets and may resume earlier connections with them.
///
/// They spare a returning client some work, but some senders of mail stumble over them on port 25.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tickets {
    /// No tickets, no session ids, no resumption of any kind.
    #[default]
    Off,
    /// Tickets that the client keeps; nothing is kept in memory here.
    On,
}

/// Builds what the TLS library needs for a listener.
///
/// # Errors
/// Local: [`Error::NoIdentity`] when there is no identity, [`Error::Crypto`] when no ticket key could be made.
pub fn server_config(options: &ServerOptions) -> Result<Arc<ServerConfig>, Error> {
    if options.identities.is_empty() {
        return Err(Error::NoIdentity);
    }
    let chooser = Arc::new(ChooseByName { identities: options.identities.clone() });
    let mut config = ServerConfig::builder_with_provider(crate::provider())
        .with_protocol_versions(&options.minimum.versions())
        .map_err(|error| Error::Crypto(error.to_string()))?
        .with_client_cert_verifier(options.client_certificates.verifier())
        .with_cert_resolver(chooser);
    // Tickets are kept by the client; a table of session ids would only cost memory.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    match options.tickets {
        _ if options.client_certificates.are_wanted() => config.send_tls13_tickets = 0,
        Tickets::Off => config.send_tls13_tickets = 0,
        Tickets::On => config.ticketer = ticketer()?,
    }
    Ok(Arc::new(config))
}

impl MinimumVersion {
    fn versions(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Tls12 => vec![&rustls::version::TLS13, &rustls::version::TLS12],
            Self::Tls13 => vec![&rustls::version::TLS13],
        }
    }
}

fn ticketer() -> Result<Arc<dyn rustls::server::ProducesTickets>, Error> {
    rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| Error::Crypto(error.to_string()))
}

/// Chooses the identity by the name that the client asks for (SNI, RFC 6066 §3).
#[derive(Debug)]
struct ChooseByName {
    identities: Vec<Arc<TlsIdentity>>,
}

impl ResolvesServerCert for ChooseByName {
    /// An unknown name never fails the handshake: MX hosts are reached under many names, and senders that verify
    /// nothing would otherwise be lost. Among several for one name the first that the client can verify is taken.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let usable = |identity: &&Arc<TlsIdentity>| {
            identity.certified_key.key.choose_scheme(hello.signature_schemes()).is_some()
        };
        let candidates = self.by_preference(hello.server_name());
        let chosen = candidates.iter().copied().find(usable).or_else(|| candidates.first().copied());
        chosen.map(|identity| identity.certified_key.clone())
    }
}

impl ChooseByName {
    /// Those with exactly this name, then wildcards that cover it, then the others in their order.
    fn by_preference(&self, asked: Option<&str>) -> Vec<&Arc<TlsIdentity>> {
        let mut candidates: Vec<_> = self.identities.iter().collect();
        if let Some(asked) = asked {
            let asked = asked.trim_end_matches('.').to_ascii_lowercase();
            candidates.sort_by_key(|identity| match () {
                () if identity.names.contains(&asked) => 0,
                () if identity.is_for(&asked) => 1,
                () => 2,
            });
        }
        candidates
    }
}
