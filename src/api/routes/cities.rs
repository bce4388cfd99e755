//! `/admin/cities`: how a city is run.

use axum::extract::State;
use base::{CityId, trimmed};
use dispatch::{CityDispatchView, ShadowView, Strategy};
use flows::Flows;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::asked::Id;
use crate::body::Valid;
use crate::callers::Admin;
use crate::envelope::Success;
use crate::fields::{Check, Fields};
use crate::keyed::Attempt;
use crate::reply::{Answer, Reply};

/// Longest reason, characters.
const REASON_MAX: usize = 500;

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .routes(routes!(city_dispatch, choose_strategy))
        .routes(routes!(shadow, choose_shadow))
}

/// How the city is to find drivers from now on.
#[derive(Deserialize, ToSchema)]
struct ChooseBody {
    strategy: Strategy,
    /// What a request may name beside it; as it was when absent.
    allowed: Option<Vec<Strategy>>,
    /// Kept in the audit log.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

impl Check for ChooseBody {
    fn check(&self, fields: &mut Fields) {
        if self.allowed.as_ref().is_some_and(|list| list.len() > Strategy::ALL.len()) {
            fields.wrong("allowed", "too_many", "each strategy once");
        }
        is_citys(fields, "strategy", Some(self.strategy));
        is_citys(fields, "allowed", self.allowed.iter().flatten().copied());
        fields.text("reason", &self.reason, 1, REASON_MAX);
    }
}

/// A strategy of trips that are booked ahead is no city's.
fn is_citys(fields: &mut Fields, field: &str, named: impl IntoIterator<Item = Strategy>) {
    if named.into_iter().any(|strategy| !strategy.is_chosen()) {
        fields.wrong(field, "unsupported", "it is of trips that are booked ahead");
    }
}

/// What is to run beside the city's own from now on.
#[derive(Deserialize, ToSchema)]
struct ShadowBody {
    /// None runs when absent.
    strategy: Option<Strategy>,
    /// Kept in the audit log.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

impl Check for ShadowBody {
    fn check(&self, fields: &mut Fields) {
        is_citys(fields, "strategy", self.strategy);
        fields.text("reason", &self.reason, 1, REASON_MAX);
    }
}

/// How a city finds drivers. Admins only.
#[utoipa::path(
    get, path = "/admin/cities/{id}/dispatch", tag = "admin", params(("id" = i16, Path)),
    responses((status = 200, body = Success<'static, CityDispatchView>)),
    security(("bearer" = []))
)]
async fn city_dispatch(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(city): Id<CityId>,
) -> Answer<CityDispatchView> {
    Ok(Reply::ok(flows.city_dispatch(&caller, city).await?))
}

/// Chooses how a city finds drivers. Running searches follow at once; open offers stay open.
/// Admins only.
#[utoipa::path(
    post, path = "/admin/cities/{id}/dispatch", tag = "admin", params(("id" = i16, Path)),
    request_body = ChooseBody,
    responses((status = 200, body = Success<'static, CityDispatchView>)),
    security(("bearer" = []))
)]
async fn choose_strategy(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(city): Id<CityId>,
    Attempt(once): Attempt,
    Valid(body): Valid<ChooseBody>,
) -> Answer<CityDispatchView> {
    let ChooseBody { strategy, allowed, reason } = body;
    let allowed = allowed.as_deref();
    let chosen = flows.choose_strategy(&caller, city, strategy, allowed, &reason, once).await?;
    Ok(Reply::ok(chosen))
}

/// What another strategy would have done beside the city's own. Admins only.
#[utoipa::path(
    get, path = "/admin/cities/{id}/dispatch/shadow", tag = "admin",
    params(("id" = i16, Path)),
    responses((status = 200, body = Success<'static, ShadowView>)),
    security(("bearer" = []))
)]
async fn shadow(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(city): Id<CityId>,
) -> Answer<ShadowView> {
    Ok(Reply::ok(flows.shadow(&caller, city).await?))
}

/// Lets a second strategy decide beside the city's own: it is counted, never acted on. Counting
/// begins anew. Admins only.
#[utoipa::path(
    post, path = "/admin/cities/{id}/dispatch/shadow", tag = "admin",
    params(("id" = i16, Path)), request_body = ShadowBody,
    responses((status = 200, body = Success<'static, ShadowView>)),
    security(("bearer" = []))
)]
async fn choose_shadow(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(city): Id<CityId>,
    Attempt(once): Attempt,
    Valid(body): Valid<ShadowBody>,
) -> Answer<ShadowView> {
    let ShadowBody { strategy, reason } = body;
    Ok(Reply::ok(flows.choose_shadow(&caller, city, strategy, &reason, once).await?))
}
