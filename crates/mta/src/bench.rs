//! What `bench/run` measures from the inside: planning a destination, and [`history`]. Not for any other use.

pub mod history;

use std::sync::Arc;

use jiff::Timestamp;
use postern_dns::mta_sts::{Policy, RecordId};
use postern_pki::Challenges;
use postern_queue::{Destination, SenderTls};

use crate::config::Config;
use crate::daemon::network::Network;
use crate::daemon::{Means, Outside, Revocations, Site};
use crate::directory::Directories;
use crate::observe::Observer;
use crate::outbound::plan::Planner;
use crate::outbound::route::Router;
use crate::policy::ledger::sts::FetchedPolicy;
use crate::policy::ledger::{self, Ledger, LedgerError};

/// Plans destinations as the daemon does, with caches that fill as it goes.
pub struct Planning {
    site: Site,
    ledger: Ledger,
}

impl Planning {
    /// For a configuration.
    ///
    /// # Errors
    /// What keeps a daemon with it from starting.
    pub fn new(config: Config) -> Result<Self, crate::daemon::Error> {
        let observer = Observer::new(Vec::new());
        let ledger = ledger::in_memory()?;
        let network = Network::open(&config.dns, &ledger, &observer)?;
        let (challenges, revocations) = (Challenges::default(), Revocations::default());
        let means = Means { challenges: &challenges, observer: &observer, revocations: &revocations };
        let outside = Outside { network, directories: Arc::new(Directories::nobody()?) };
        Ok(Self { site: Site::new(config, outside, Vec::new(), &means), ledger })
    }

    /// Keeps an MTA-STS policy as if it had just been fetched. To be called before the domain is planned.
    ///
    /// # Errors
    /// The ledger could not be written.
    pub async fn keep_policy(&self, domain: &str, id: RecordId, policy: Policy) -> Result<(), LedgerError> {
        let fetched = FetchedPolicy { id, policy, fetched: Timestamp::now() };
        self.ledger.keep_sts_policy(domain, &fetched).await
    }

    /// Plans one destination and joins the demands of its hosts; how many demands there are in all.
    pub async fn plan(&self, destination: &str) -> usize {
        let destination = Destination(destination.to_owned());
        let Some(connector) = self.site.routing.connector(&destination).map(Arc::clone) else { return 0 };
        let planner = Planner { router: Router { site: &self.site, own_addresses: &[] } };
        let Ok(plan) = planner.plan(&connector, &destination, Timestamp::now()).await else { return 0 };
        let terms = plan.hosts.iter().filter_map(|host| host.terms(SenderTls::AsPolicy).ok());
        terms.map(|terms| terms.demands.iter().count()).sum()
    }
}
