//! What the routes stand on, and how they are put together.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use base::Clock;
use flows::Flows;
use identity::{ApiKeys, Tokens};
use ops::{Crowd, Health, Limiter, Meters};
use secrecy::SecretString;
use tower_http::catch_panic::CatchPanicLayer;

use crate::policy::{RETIRING, Retiring};
use crate::shedding::Load;
use crate::{edge, guard, headers, keyed, live_page, node, openapi, routes};

/// How the edge of this node works.
#[derive(Clone, Debug)]
pub struct Config {
    /// Origins of browsers that may call, for example `https://app.example.com`.
    pub origins: Vec<String>,
    /// How many proxies in front are ours: that many entries of `X-Forwarded-For` are believed.
    pub trusted_proxies: usize,
    /// Lets `/metrics` be read on the main address; without it that route doesn't exist there.
    pub metrics_token: Option<SecretString>,
    /// Requests at once; one more is refused, and of what matters less some sooner.
    pub in_flight: usize,
}

/// The share of the places that one address may hold: who sends his bodies slowly, or never to
/// their end, must leave the others theirs.
const ADDRESS_SHARE: usize = 8;

impl Default for Config {
    fn default() -> Self {
        Self { origins: Vec::new(), trusted_proxies: 0, metrics_token: None, in_flight: 1024 }
    }
}

/// Everything that the main address serves, but for the socket.
#[derive(Clone)]
pub struct ApiState {
    flows: Flows,
    pub(crate) health: Health,
    pub(crate) meters: Meters,
    config: Config,
}

impl ApiState {
    pub fn new(flows: Flows, health: Health, meters: Meters, config: Config) -> Self {
        Self { flows, health, meters, config }
    }
}

/// What every request passes, whatever its route.
#[derive(Clone)]
pub(crate) struct Edge(Arc<EdgeParts>);

pub(crate) struct EdgeParts {
    pub clock: Clock,
    pub tokens: Tokens,
    pub keys: ApiKeys,
    pub limiter: Limiter,
    pub trusted_proxies: usize,
    pub load: Load,
    /// Requests under way by address.
    pub crowd: Crowd,
    pub retiring: &'static [Retiring],
}

impl From<EdgeParts> for Edge {
    fn from(parts: EdgeParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl std::ops::Deref for Edge {
    type Target = EdgeParts;

    fn deref(&self) -> &EdgeParts {
        &self.0
    }
}

/// The router of the main address: REST, its documents, health, and metrics where a token is set.
pub fn router(state: ApiState) -> Router {
    let ApiState { flows, health, meters, config } = state;
    let edge = Edge::from(EdgeParts {
        clock: flows.clock.clone(),
        tokens: flows.identity.tokens().clone(),
        keys: flows.identity.api_keys().clone(),
        limiter: flows.limiter.clone(),
        trusted_proxies: config.trusted_proxies,
        load: Load::new(config.in_flight),
        crowd: crowd(&flows.limiter, config.in_flight),
        retiring: RETIRING,
    });
    let (api, document) = routes::all().split_for_parts();
    let outside = node::routes(health, meters, config.metrics_token.as_ref())
        .merge(openapi::pages(openapi::finish(document)))
        .merge(live_page::routes());
    let keyed = from_fn_with_state(flows.clone(), keyed::keyed);
    assemble(&edge, &config, api.with_state(flows).layer(keyed), outside)
}

pub(crate) fn crowd(limiter: &Limiter, in_flight: usize) -> Crowd {
    Crowd::new(limiter.is_on().then_some((in_flight / ADDRESS_SHARE).max(1)))
}

/// Routes under their versions, wrapped in the layers of the edge; `outside` has no version.
pub(crate) fn assemble(edge: &Edge, config: &Config, api: Router, outside: Router) -> Router {
    let pinned = api.clone().layer(axum::middleware::from_fn(guard::pinned_version));
    Router::new()
        .nest("/api/v1", api)
        .nest("/api", pinned)
        .layer(from_fn_with_state(edge.clone(), guard::guard))
        .merge(outside)
        .fallback(guard::unknown_route)
        .method_not_allowed_fallback(guard::wrong_method)
        // The outermost is the last: headers reach every answer, the envelope closes over panics.
        .layer(DefaultBodyLimit::disable())
        .layer(CatchPanicLayer::custom(edge::panicked))
        .layer(from_fn_with_state(edge.clone(), edge::around))
        .layer(headers::cors(&config.origins))
        .layer(axum::middleware::map_response_with_state((), headers::secure))
}
