//! The listener's side of TLS: which certificate is shown to whom, and what is offered.
//!
//! [`ServerOptions`] says what a listener has and demands, [`server_config`] makes of it what the TLS library needs. The
//! certificate is chosen by name through an index that is made once, so that a listener may have thousands.
//!
//! What it deliberately does not do: change while it is in use. A renewed certificate means a new configuration; sessions
//! go on with the one they began with. ACME's challenges are a matter of their own, see [`Challenges`](crate::Challenges).

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, SignatureScheme, SupportedProtocolVersion};

use crate::{ClientCertificates, Error, Standing, TlsIdentity};

/// What a listener offers.
#[derive(Debug, Clone)]
pub struct ServerOptions {
    /// The identities. Among several for one name, the first that the client can verify is shown.
    pub identities: Vec<Arc<TlsIdentity>>,
    /// The name that clients are taken to mean who ask for none or for an unknown one. Where none of the administrator's
    /// identities bears it, they are shown the first of those; one that stands in only where there is no other
    /// ([`Standing`]).
    pub default_name: Option<String>,
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
    let mut config = ServerConfig::builder_with_provider(crate::provider())
        .with_protocol_versions(&options.minimum.versions())
        .map_err(|error| Error::Crypto(error.to_string()))?
        .with_client_cert_verifier(options.client_certificates.verifier())
        .with_cert_resolver(Arc::new(ByName::new(options)));
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
    pub(crate) fn versions(self) -> Vec<&'static SupportedProtocolVersion> {
        match self {
            Self::Tls12 => vec![&rustls::version::TLS13, &rustls::version::TLS12],
            Self::Tls13 => vec![&rustls::version::TLS13],
        }
    }
}

fn ticketer() -> Result<Arc<dyn rustls::server::ProducesTickets>, Error> {
    rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| Error::Crypto(error.to_string()))
}

/// Chooses the identity by the name that the client asks for (SNI, RFC 6066 §3), through an index: it takes as long
/// among thousands as among a few.
#[derive(Debug)]
struct ByName {
    identities: Vec<Arc<TlsIdentity>>,
    /// Name → the identities that bear it, in their order.
    exact: HashMap<String, Vec<usize>>,
    /// What stands behind the star → the identities with this wildcard.
    wildcards: HashMap<String, Vec<usize>>,
    /// Whom a client is taken to have asked for that asked for nobody we know.
    default: Vec<usize>,
    /// The first identity of each kind of key: where none of the right name can be verified, one of these can.
    kinds: Vec<usize>,
}

impl ByName {
    fn new(options: &ServerOptions) -> Self {
        // Whoever stands in comes last, wherever he stood.
        let mut identities = options.identities.clone();
        identities.sort_by_key(|identity| identity.standing == Standing::StandIn);
        let mut index = Self {
            exact: HashMap::new(),
            wildcards: HashMap::new(),
            default: Vec::new(),
            kinds: first_of_each_kind(&identities),
            identities,
        };
        for (place, identity) in index.identities.iter().enumerate() {
            for name in &identity.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut index.wildcards, parent),
                    None => (&mut index.exact, name.as_str()),
                };
                names.entry(name.to_owned()).or_default().push(place);
            }
        }
        let default = options.default_name.as_deref().map(normal);
        index.default = default.map(|name| index.chosen_bearing(&name).collect()).unwrap_or_default();
        index
    }

    /// Those with exactly this name, then wildcards that cover it (RFC 6125 §6.4.3: the star is the leftmost label).
    fn bearing(&self, name: &str) -> impl Iterator<Item = usize> {
        let exact = self.exact.get(name);
        let parent = name.split_once('.').filter(|(label, _)| !label.is_empty()).map(|(_, parent)| parent);
        let covering = parent.and_then(|parent| self.wildcards.get(parent));
        exact.into_iter().chain(covering).flatten().copied()
    }

    /// The same without whoever only stands in.
    fn chosen_bearing(&self, name: &str) -> impl Iterator<Item = usize> {
        let is_chosen = |identity: &Arc<TlsIdentity>| identity.standing == Standing::Chosen;
        self.bearing(name).filter(move |place| self.identities.get(*place).is_some_and(is_chosen))
    }

    /// Whom to show, the best first: by name, else the default; behind them one of each kind of key.
    fn candidates(&self, asked: Option<&str>) -> impl Iterator<Item = &Arc<TlsIdentity>> {
        let mut named = asked.into_iter().flat_map(|name| self.bearing(name)).peekable();
        let default = if named.peek().is_some() { &[] } else { self.default.as_slice() };
        let places = named.chain(default.iter().copied()).chain(self.kinds.iter().copied());
        places.filter_map(|place| self.identities.get(place))
    }

    fn choose(&self, asked: Option<&str>, schemes: &[SignatureScheme]) -> Option<&Arc<TlsIdentity>> {
        let usable = |identity: &&Arc<TlsIdentity>| verifiable(identity, schemes);
        self.candidates(asked).find(usable).or_else(|| self.candidates(asked).next())
    }
}

impl ResolvesServerCert for ByName {
    /// An unknown name never fails the handshake: MX hosts are reached under many names, and senders that verify
    /// nothing would otherwise be lost. Among several for one name the first that the client can verify is taken.
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let asked = hello.server_name().map(normal);
        let chosen = self.choose(asked.as_deref(), hello.signature_schemes());
        chosen.map(|identity| identity.certified_key.clone())
    }
}

fn verifiable(identity: &TlsIdentity, schemes: &[SignatureScheme]) -> bool {
    identity.certified_key.key.choose_scheme(schemes).is_some()
}

/// Two keys are of one kind when they can sign by the same schemes.
fn first_of_each_kind(identities: &[Arc<TlsIdentity>]) -> Vec<usize> {
    let schemes = crate::provider().signature_verification_algorithms.supported_schemes();
    let mut kinds: Vec<(Vec<bool>, usize)> = Vec::new();
    for (place, identity) in identities.iter().enumerate() {
        let kind: Vec<bool> = schemes.iter().map(|scheme| verifiable(identity, &[*scheme])).collect();
        if kinds.iter().all(|(known, _)| *known != kind) {
            kinds.push((kind, place));
        }
    }
    kinds.into_iter().map(|(_, place)| place).collect()
}

/// The form in which names are compared; most come in it.
fn normal(name: &str) -> Cow<'_, str> {
    let name = name.trim_end_matches('.');
    if name.bytes().any(|octet| octet.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;

    const ECDSA: &[SignatureScheme] = &[SignatureScheme::ECDSA_NISTP256_SHA256];
    const RSA: &[SignatureScheme] = &[SignatureScheme::RSA_PSS_SHA256];

    fn key(pair: &rcgen::KeyPair) -> Arc<CertifiedKey> {
        let der = rustls_pki_types::PrivateKeyDer::try_from(pair.serialize_der()).unwrap();
        let key = crate::provider().key_provider.load_private_key(der).unwrap();
        Arc::new(CertifiedKey::new(Vec::new(), key))
    }

    /// One of each kind, made once: RSA keys take their time.
    fn keys() -> [Arc<CertifiedKey>; 2] {
        let rsa = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048);
        [key(&rcgen::KeyPair::generate().unwrap()), key(&rsa.unwrap())]
    }

    fn identity(name: &str, names: &[String], certified_key: &Arc<CertifiedKey>) -> Arc<TlsIdentity> {
        Arc::new(TlsIdentity {
            name: name.to_owned(),
            certified_key: Arc::clone(certified_key),
            names: names.to_vec(),
            not_before: Timestamp::UNIX_EPOCH,
            not_after: Timestamp::MAX,
            fingerprint_sha256: String::new(),
            standing: Standing::Chosen,
        })
    }

    fn chooser(identities: Vec<Arc<TlsIdentity>>, default_name: Option<&str>) -> ByName {
        ByName::new(&ServerOptions {
            identities,
            default_name: default_name.map(str::to_owned),
            minimum: MinimumVersion::Tls12,
            tickets: Tickets::Off,
            client_certificates: ClientCertificates::Ignored,
        })
    }

    /// The rule in the shortest words there are, without an index.
    fn by_the_rule(identities: &[Arc<TlsIdentity>], asked: &str, schemes: &[SignatureScheme]) -> String {
        let mut candidates: Vec<_> = identities.iter().collect();
        candidates.sort_by_key(|identity| match () {
            () if identity.names.iter().any(|name| name == asked) => 0,
            () if identity.is_for(asked) => 1,
            () => 2,
        });
        let usable = candidates.iter().find(|identity| verifiable(identity, schemes));
        usable.unwrap_or(&candidates[0]).name.clone()
    }

    proptest! {
        #[test]
        fn the_index_chooses_as_the_rule_says(
            drawn in prop::collection::vec((prop::collection::vec(0..8_usize, 0..3), any::<bool>()), 1..8),
            asked in 0..8_usize,
            rsa in any::<bool>(),
        ) {
            const NAMES: [&str; 8] = [
                "a.example", "b.example", "*.example", "x.a.example", "*.a.example", "example", "y.x.a.example", "::1",
            ];
            thread_local!(static KEYS: [Arc<CertifiedKey>; 2] = keys());
            let [ecdsa_key, rsa_key] = KEYS.with(Clone::clone);
            let make = |(place, (names, rsa)): (usize, &(Vec<usize>, bool))| {
                let names: Vec<String> = names.iter().map(|name| NAMES[*name].to_owned()).collect();
                identity(&place.to_string(), &names, if *rsa { &rsa_key } else { &ecdsa_key })
            };
            let identities: Vec<_> = drawn.iter().enumerate().map(make).collect();
            let schemes = if rsa { RSA } else { ECDSA };
            let chosen = chooser(identities.clone(), None).choose(Some(NAMES[asked]), schemes).unwrap().name.clone();
            prop_assert_eq!(chosen, by_the_rule(&identities, NAMES[asked], schemes));
        }
    }

    #[test]
    fn who_asks_for_nobody_or_for_a_stranger_is_shown_the_host_name() {
        let ([ecdsa, rsa], names) = (keys(), |name: &str| vec![name.to_owned()]);
        let identities = vec![
            identity("shop", &names("shop.example"), &ecdsa),
            identity("mail", &names("mail.example"), &ecdsa),
            identity("mail-rsa", &names("*.example"), &rsa),
        ];
        let by_name = chooser(identities.clone(), Some("Mail.example."));
        for asked in [None, Some("stranger.test"), Some("")] {
            assert_eq!(by_name.choose(asked, ECDSA).unwrap().name, "mail", "{asked:?}");
            assert_eq!(by_name.choose(asked, RSA).unwrap().name, "mail-rsa", "{asked:?}");
            assert_eq!(by_name.choose(asked, &[]).unwrap().name, "mail", "{asked:?}");
        }
        assert_eq!(by_name.choose(Some("shop.example"), ECDSA).unwrap().name, "shop");
        let nobody = chooser(identities, Some("elsewhere.test"));
        assert_eq!(nobody.choose(None, ECDSA).unwrap().name, "shop", "without the host name, the first");
    }

    #[test]
    fn what_stands_in_is_shown_for_its_names_and_to_nobody_else_while_there_is_another() {
        let [ecdsa, rsa] = keys();
        let names = |name: &str| vec![name.to_owned()];
        let standing_in = TlsIdentity {
            standing: Standing::StandIn,
            ..TlsIdentity::clone(&identity("own", &names("mail.example"), &ecdsa))
        };
        let standing_in = Arc::new(standing_in);
        let shop = identity("shop", &names("shop.example"), &rsa);
        let both = chooser(vec![Arc::clone(&standing_in), shop], Some("mail.example"));
        let everything = [ECDSA, RSA].concat();
        for asked in [None, Some("stranger.test"), Some("shop.example")] {
            assert_eq!(both.choose(asked, &everything).unwrap().name, "shop", "{asked:?}");
        }
        assert_eq!(both.choose(Some("mail.example"), &everything).unwrap().name, "own");
        assert_eq!(
            both.choose(None, ECDSA).unwrap().name,
            "own",
            "one that can be verified is better than none"
        );
        let alone = chooser(vec![standing_in], Some("mail.example"));
        assert_eq!(alone.choose(None, &everything).unwrap().name, "own");
    }
}
