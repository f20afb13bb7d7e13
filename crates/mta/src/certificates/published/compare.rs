//! What is published for a configuration, held against a chain that is to be installed.
//!
//! [`compare`] makes a resolver of its own, so that no answer is older than the question. What it deliberately does not do: keep
//! anything.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use postern_pki::{ClientTls, Error, Name, TrustAnchors};
use rustls_pki_types::CertificateDer;

use super::{Asking, Facts, Place, PolicyFound, Published, StsFacts, TlsaFound, judge, look_up, places};
use crate::config::Config;
use crate::https::Https;
use crate::policy::mta_sts::StsOptions;

/// How long all the lookups may take.
const TIME: Duration = Duration::from_secs(30);

/// A chain that is to be installed.
#[derive(Debug, Clone, Copy)]
pub struct New<'a> {
    /// The identity that it becomes.
    pub identity: &'a str,
    /// What it is for.
    pub names: &'a [Name],
    /// Its own certificate first.
    pub chain: &'a [CertificateDer<'a>],
    /// Its public key in DER, as certificates have it.
    pub spki: &'a [u8],
}

/// Whether the chain keeps to what we have published, wherever this configuration shows it. Asks nobody where it is shown
/// nowhere, and takes half a minute at most.
///
/// # Errors
/// Local: the TLS library cannot be set up. Whatever else goes wrong is in the answer.
pub async fn compare(config: &Config, new: &New<'_>, now: Timestamp) -> Result<Published, Error> {
    let roots = ClientTls::new(&TrustAnchors::System)?;
    let places = places(config, new.identity, new.names);
    // Policies are about hosts that take mail from other servers.
    let takes_mail = places.iter().any(|place| place.port == 25);
    let domains =
        config.domains.iter().filter(|_| takes_mail).map(|domain| domain.name.to_string()).collect();
    let facts = facts(config, &roots, places, domains).await;
    Ok(judge(&facts, new.chain, new.spki, &roots, now))
}

async fn facts(config: &Config, roots: &ClientTls, places: Vec<Place>, domains: Vec<String>) -> Facts {
    match postern_dns::open(&config.dns.options()) {
        Ok(opened) => {
            let https = Https::new(Arc::clone(&opened.resolver), roots.clone());
            let asking = Asking {
                resolver: &*opened.resolver,
                https: &https,
                options: StsOptions::default(),
                time: TIME,
            };
            look_up(&asking, &places, &domains).await
        }
        Err(error) => unanswered(&error.to_string(), places, domains),
    }
}

/// Nobody could be asked.
fn unanswered(why: &str, places: Vec<Place>, domains: Vec<String>) -> Facts {
    let tlsa = places.into_iter().map(|place| (place, TlsaFound::Unanswered(why.to_owned())));
    let mta_sts = domains.into_iter().map(|domain| StsFacts {
        domain,
        policy: PolicyFound::Unanswered(why.to_owned()),
        hosts: Ok(Vec::new()),
    });
    Facts { tlsa: tlsa.collect(), mta_sts: mta_sts.collect() }
}
