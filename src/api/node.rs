//! The node itself: is it alive, is it ready, what does it measure. No version, no envelope: these
//! are read by machines that know neither.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use base::{Code, Problem};
use ops::{Dependency, Health, Meters, Phase};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::reply::Refusal;
use crate::state::ApiState;

const METRICS_TYPE: &str = "text/plain; version=0.0.4";

/// Health and metrics for the operators' own address.
pub fn operators_router(state: ApiState) -> Router {
    let (health, meters) = (state.health, state.meters);
    let metrics = Router::new().route("/metrics", get(metrics)).with_state(meters);
    health_routes(health).merge(metrics)
}

/// Health, and metrics for who brings `token`.
pub(crate) fn routes(health: Health, meters: Meters, token: Option<&SecretString>) -> Router {
    let routes = health_routes(health);
    match token {
        None => routes,
        Some(token) => {
            let state = Guarded { meters, token: token.clone() };
            routes.merge(Router::new().route("/metrics", get(guarded)).with_state(state))
        }
    }
}

fn health_routes(health: Health) -> Router {
    Router::new()
        .route("/health/live", get(live))
        .route("/health/ready", get(ready))
        .route("/health/startup", get(startup))
        .with_state(health)
}

#[derive(Clone)]
struct Guarded {
    meters: Meters,
    token: SecretString,
}

#[derive(Serialize)]
struct HealthBody {
    status: &'static str,
    phase: Phase,
    dependencies: BTreeMap<&'static str, Dependency>,
    /// Those that are away, or do with less than they should.
    degraded: Vec<&'static str>,
}

#[derive(Deserialize)]
struct Strictness {
    #[serde(default)]
    strict: Option<String>,
}

/// The process answers: nothing else is asked.
async fn live() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "alive" }))
}

/// Can the node serve its sockets? A lost database degrades it; only `?strict=1` fails on that.
async fn ready(State(health): State<Health>, Query(asked): Query<Strictness>) -> Response {
    let strict = asked.strict.is_some_and(|text| text == "1" || text == "true");
    let is_ready = if strict { health.ready_strict() } else { health.ready() };
    body(&health, is_ready)
}

async fn startup(State(health): State<Health>) -> Response {
    let started = health.phase() != Phase::Starting;
    body(&health, started)
}

fn body(health: &Health, good: bool) -> Response {
    let dependencies = health.dependencies();
    let degraded = dependencies.iter().filter(|(_, state)| **state != Dependency::Up);
    let body = HealthBody {
        status: if good { "ready" } else { "not_ready" },
        phase: health.phase(),
        degraded: degraded.map(|(name, _)| *name).collect(),
        dependencies,
    };
    let status = if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

async fn metrics(State(meters): State<Meters>) -> Response {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], meters.render()).into_response()
}

async fn guarded(State(guarded): State<Guarded>, headers: HeaderMap) -> Response {
    let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|text| text.strip_prefix("Bearer ")).unwrap_or_default();
    let token = guarded.token.expose_secret();
    if bool::from(given.as_bytes().ct_eq(token.as_bytes())) {
        return metrics(State(guarded.meters)).await;
    }
    let why = "the metrics token is needed";
    Refusal(Problem::new(Code::Unauthenticated, why)).into_response()
}
