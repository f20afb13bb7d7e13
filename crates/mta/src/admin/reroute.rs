//! Sending waiting mail by the ways that the configuration has for it now.
//!
//! Mail is routed at each attempt, so that a changed connector counts from the next attempt on; [`reroute`] brings that
//! attempt forward, begins the retry schedule anew, and says by which connectors the mail goes now.
//!
//! What it deliberately does not do: look up names, or release what is held.

use std::collections::BTreeMap;

use jiff::Timestamp;
use postern_queue::{Change, Error, Filter, Store};
use serde::{Deserialize, Serialize};

use super::pages::{FewOf, Names, Pages};
use crate::routing::Routing;

/// What was rerouted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Rerouted {
    /// By which ways it goes now.
    pub ways: Vec<WayOut>,
    /// How many deliveries there were.
    pub deliveries: u64,
}

/// The deliveries that one connector takes.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct WayOut {
    /// Its name; `None` for those that no connector takes.
    pub connector: Option<String>,
    /// Whether it is in service.
    pub enabled: bool,
    /// How many deliveries.
    pub deliveries: u64,
    /// Where to.
    pub destinations: FewOf,
}

#[derive(Default)]
struct Open {
    enabled: bool,
    deliveries: u64,
    destinations: Names,
}

/// Makes what a filter means due now, by the ways of this policy.
///
/// # Errors
/// The store cannot be read or written; then nothing was changed.
pub(super) async fn reroute(
    store: &dyn Store,
    routing: &Routing,
    filter: Filter,
    now: Timestamp,
) -> Result<Rerouted, Error> {
    let mut ways: BTreeMap<Option<String>, Open> = BTreeMap::new();
    let mut pages = Pages::new(store, filter.clone());
    while let Some(page) = pages.next().await? {
        for delivery in page {
            let connector = routing.connector(&delivery.destination);
            let way = ways.entry(connector.map(|connector| connector.name.0.clone())).or_default();
            way.enabled = connector.is_some_and(|connector| connector.enabled);
            way.deliveries += 1;
            way.destinations.add(&delivery.destination.0);
        }
    }
    let deliveries = store.amend(now, filter, Change::Reroute).await?;
    let way = |(connector, Open { enabled, deliveries, destinations })| WayOut {
        connector,
        enabled,
        deliveries,
        destinations: destinations.few(),
    };
    Ok(Rerouted { ways: ways.into_iter().map(way).collect(), deliveries })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use postern_queue::MemoryStore;

    use super::super::pages::tests::enqueue;
    use super::*;
    use crate::config::{File, Surroundings};

    const CONFIG: &str = r#"
        hostname = "mail.example.org"
        [[listener]]
        name = "mx"
        role = "relay"
        bind = ["127.0.0.1:0"]
        [[connector]]
        name = "partner"
        to = "smtp:relay.partner.example"
        address_space = ["partner.example", "*.partner.example"]
        enabled = false
        [[connector]]
        name = "rest"
        to = "mx"
        address_space = ["*"]
    "#;

    #[tokio::test]
    async fn it_says_which_connector_takes_what_and_which_is_out_of_service() {
        let config = File::parse(CONFIG, "test").unwrap().resolve(&Surroundings::default()).unwrap();
        let (store, routing) = (MemoryStore::new(), Routing::new(Arc::new(config)));
        let to = ["a@partner.example", "b@mx.partner.example", "c@elsewhere.example"];
        enqueue(&store, Timestamp::now(), &to).await;
        let rerouted = reroute(&store, &routing, Filter::default(), Timestamp::now()).await.unwrap();
        assert_eq!(rerouted.deliveries, 3);
        let told: Vec<(Option<&str>, bool, u64)> =
            rerouted.ways.iter().map(|way| (way.connector.as_deref(), way.enabled, way.deliveries)).collect();
        assert_eq!(told, [(Some("partner"), false, 2), (Some("rest"), true, 1)]);
    }
}
