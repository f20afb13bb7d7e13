//! What is served over HTTP, and where, by the configuration of the moment.
//!
//! [`services`] is asked at the start and at each reload; what it lists is bound by [`Bound`](super::bind::Bound). What a
//! service has to remember over a reload belongs into [`Shared`], not into its handler.

use std::sync::Arc;

use super::Shared;
use crate::certificates::acme;
use crate::http::{Service, authority};

pub(super) fn services(shared: &Arc<Shared>) -> Vec<Arc<Service>> {
    let config = &shared.site.load().config;
    let authority =
        Service { name: "http".into(), bind: config.http.bind.clone(), handler: authority::handler(config) };
    let mut services = vec![Arc::new(authority)];
    services.extend(acme::services(config, &shared.acme));
    services
}
