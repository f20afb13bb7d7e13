//! How the outside is asked: names, policies, and whatever else is fetched.
//!
//! A [`Network`] follows from `[dns]` alone and is kept, with its caches, until that changes. What it deliberately does not
//! do: deliver mail, or know any other part of the configuration.

use std::mem::discriminant;
use std::sync::{Arc, Mutex, PoisonError};

use postern_dns::{Opened, Resolver, Validation};
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
    told: Arc<Mutex<Told>>,
}

/// What administrators know about DNSSEC.
#[derive(Default)]
struct Told {
    last: Option<Validation>,
    /// When it was last known whether answers are validated, they were.
    worked: bool,
}

impl Network {
    /// As `[dns]` says; what is learnt about destinations is kept in the ledger.
    ///
    /// # Errors
    /// Local: no resolver can be set up, or TLS cannot.
    pub(crate) fn open(dns: &Dns, ledger: &Ledger, observer: &Observer) -> Result<Self, Error> {
        let opened = postern_dns::open(&dns.options())?;
        let resolver = Arc::clone(&opened.resolver);
        let https = Https::new(Arc::clone(&resolver), ClientTls::new(&TrustAnchors::System)?);
        let sts = StsPolicies::new(
            Arc::clone(&resolver),
            https.clone(),
            ledger.clone(),
            observer.clone(),
            StsOptions::default(),
        );
        Ok(Self { resolver, https, sts: Arc::new(sts), opened: Arc::new(opened), told: Arc::default() })
    }

    /// Looks whether DNSSEC is validated at all, and says so when that is news: without it DANE has no effect. Lookups
    /// follow what it finds.
    pub(crate) async fn announce(&self, observer: &Observer) {
        let found = self.validation().await;
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(news) = told.news(found) {
            observer.daemon(news);
        }
    }

    /// Whether DNSSEC ought to be validated and, as was last seen, is not: by the resolver's fault, so that it may be
    /// mended any time.
    pub(crate) fn misses_validation(&self) -> bool {
        use Validation::{Broken, Missing, Unknown};
        matches!(self.opened.seen(), Some(Broken(_) | Missing(_) | Unknown(_)))
    }

    /// Who validates DNSSEC, as far as was seen.
    pub(crate) async fn validation(&self) -> Validation {
        self.opened.probe().await
    }
}

impl Told {
    /// What is to be told now; `None` when it is no news.
    fn news(&mut self, found: Validation) -> Option<Event> {
        let same = self.last.as_ref().is_some_and(|last| discriminant(last) == discriminant(&found));
        let lost = self.worked && matches!(found, Validation::Missing(_));
        self.worked = found.works() || (self.worked && !lost);
        let what = found.to_string();
        let news = match &found {
            Validation::Broken(_) => Event::Alarm { what, remedy: "until then that mail waits".into() },
            Validation::Missing(_) if lost => Event::Alarm {
                what: format!("DNSSEC is no longer validated: {what}"),
                remedy: "it is looked at again each minute; until then mail goes without DANE".into(),
            },
            _ => Event::Dnssec { status: what },
        };
        // Who switched it off knows.
        let worth_telling = !same && !matches!(found, Validation::Off);
        self.last = Some(found);
        worth_telling.then_some(news)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use postern_dns::{Dnssec, DnssecMode, Validator};
    use postern_testkit::dns::{Server, Zone, serve};

    use super::*;
    use crate::observe::{Record, Sink};

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<Event>>>);

    impl Sink for Heard {
        fn record(&self, record: &Record) {
            self.0.lock().unwrap().push(record.event.clone());
        }
    }

    impl Heard {
        fn news(&self) -> Vec<Event> {
            std::mem::take(&mut *self.0.lock().unwrap())
        }
    }

    fn network(server: &Server, observer: &Observer) -> Network {
        let (servers, timeout) = (vec![server.address()], Duration::from_millis(500));
        let dns = Dns { servers, timeout, dnssec: DnssecMode::Resolver };
        Network::open(&dns, &crate::policy::ledger::in_memory().unwrap(), observer).unwrap()
    }

    #[test]
    fn a_resolver_that_was_away_before_it_ceased_to_validate_is_an_alarm_all_the_same() {
        let (works, missing) = (Validation::Works(Validator::Resolver), Validation::Missing("x".into()));
        let mut told = Told::default();
        assert!(matches!(told.news(missing.clone()), Some(Event::Dnssec { .. })), "it never did");
        for found in [works, Validation::Unknown("gone".into())] {
            assert!(matches!(told.news(found), Some(Event::Dnssec { .. })));
        }
        assert!(matches!(told.news(missing.clone()), Some(Event::Alarm { .. })));
        assert!(told.news(missing).is_none());
    }

    #[tokio::test]
    async fn a_resolver_that_ceases_to_validate_is_an_alarm_and_lookups_follow() {
        let zone = || Zone::new().txt("example.org", "x").ttl(300);
        let server = serve(zone().all_secure()).await.unwrap();
        let heard = Heard::default();
        let observer = Observer::new(vec![Box::new(heard.clone())]);
        let network = network(&server, &observer);
        let status = async || network.resolver.txt("example.org").await.unwrap().dnssec;
        let works =
            |news: &[Event]| matches!(news, [Event::Dnssec { status }] if status.contains("validates"));

        network.announce(&observer).await;
        assert!(works(&heard.news()) && !network.misses_validation());
        assert_eq!(status().await, Dnssec::Secure);
        network.announce(&observer).await;
        assert_eq!(heard.news().len(), 0, "it is no news");

        server.change(|_| zone());
        network.announce(&observer).await;
        let news = heard.news();
        assert!(matches!(&news[..], [Event::Alarm { what, .. }] if what.contains("no longer")), "{news:?}");
        assert!(network.misses_validation());
        assert_eq!(status().await, Dnssec::Indeterminate);
        network.announce(&observer).await;
        assert_eq!(heard.news().len(), 0, "an alarm is given once");

        server.change(Zone::all_secure);
        network.announce(&observer).await;
        assert!(works(&heard.news()) && !network.misses_validation());
        assert_eq!(status().await, Dnssec::Secure);
    }
}
