//! How the outside is asked: names, policies, and whatever else is fetched.
//!
//! A [`Network`] follows from `[dns]` alone and is kept, with its caches, until that changes. What it deliberately does not
//! do: deliver mail, or know any other part of the configuration.

use std::sync::Arc;

use postern_dns::{Opened, Options, Resolver, Validation};
use postern_pki::{ClientTls, TrustAnchors};

use super::Error;
use crate::config::Dns;
use crate::event::Event;
use crate::https::Https;
use crate::observe::Observer;
use crate::policy::ledger::Ledger;
use crate::policy::mta_sts::{StsOptions, StsPolicies};

/// Whom to ask. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Network {
    /// For names.
    pub(crate) resolver: Arc<dyn Resolver>,
    /// For what is fetched by HTTPS, from hosts that the system's roots vouch for.
    pub(crate) https: Https,
    /// For the MTA-STS policies of destinations.
    pub(crate) sts: Arc<StsPolicies>,
    opened: Arc<Opened>,
}

impl Network {
    /// As `[dns]` says; what is learnt about destinations is kept in the ledger.
    ///
    /// # Errors
    /// Local: no resolver can be set up, or TLS cannot.
    pub(crate) fn open(dns: &Dns, ledger: &Ledger, observer: &Observer) -> Result<Self, Error> {
        let options =
            Options { servers: dns.servers.clone(), timeout: Some(dns.timeout), dnssec: dns.dnssec.clone() };
        let opened = postern_dns::open(&options)?;
        let resolver = Arc::clone(&opened.resolver);
        let https = Https::new(Arc::clone(&resolver), ClientTls::new(&TrustAnchors::System)?);
        let sts = StsPolicies::new(
            Arc::clone(&resolver),
            https.clone(),
            ledger.clone(),
            observer.clone(),
            StsOptions::default(),
        );
        Ok(Self { resolver, https, sts: Arc::new(sts), opened: Arc::new(opened) })
    }

    /// Looks whether DNSSEC is validated at all, and says so: without it DANE has no effect.
    pub(crate) async fn announce(self, observer: Observer) {
        let validation = self.validation().await;
        let what = validation.to_string();
        observer.daemon(match validation {
            Validation::Broken(_) => Event::Alarm { what, remedy: "until then that mail waits".into() },
            _ => Event::Dnssec { status: what },
        });
    }

    /// Who validates DNSSEC, as far as was seen.
    pub(crate) async fn validation(&self) -> Validation {
        self.opened.probe().await
    }
}
