//! What is served over HTTP, and where, by the configuration of the moment.
//!
//! [`services`] is asked at the start and at each reload; what it lists is bound by [`Bound`](super::bind::Bound). What a
//! service has to remember over a reload belongs into [`Shared`], not into its handler.

use std::sync::Arc;

use super::Shared;
use crate::certificates::acme;
use crate::http::Service;
use crate::http::authority::Face;
use crate::metrics;

pub(super) fn services(shared: &Arc<Shared>) -> Vec<Arc<Service>> {
    let mut services = vec![Arc::new(authority(shared)), Arc::new(figures(shared))];
    services.extend(acme::services(&shared.site.load().config, &shared.acme));
    services
}

/// The private CA's public face.
fn authority(shared: &Shared) -> Service {
    let config = Arc::clone(&shared.site.load().config);
    let (observer, quotas) = (shared.observer.clone(), Arc::clone(&shared.quotas));
    let bind = config.http.bind.clone();
    Service { name: "http".into(), bind, handler: Arc::new(Face::new(config, observer, quotas)) }
}

/// Figures for a monitoring system.
fn figures(shared: &Arc<Shared>) -> Service {
    let bind = shared.site.load().config.metrics.bind.clone();
    Service { name: "metrics".into(), bind, handler: metrics::handler(shared) }
}
