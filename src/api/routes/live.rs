//! `/live`: what the live page draws the city on.

use axum::extract::State;
use base::CityId;
use flows::{CityMapView, Flows};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::asked::Asked;
use crate::callers::Admin;
use crate::envelope::{Failure, Success};
use crate::fields::Check;
use crate::reply::{Answer, Reply};

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new().routes(routes!(map))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct MapAsked {
    /// The city where most drivers work when absent.
    city: Option<CityId>,
}

impl Check for MapAsked {}

/// A city's circle, zones and fences, and the cities there are. Admins only.
#[utoipa::path(
    get, path = "/live/map", tag = "live", params(MapAsked),
    responses(
        (status = 200, body = Success<'static, CityMapView>),
        (status = 404, body = Failure<'static>, description = "there is no such city")
    ),
    security(("bearer" = []))
)]
async fn map(
    _: Admin,
    State(flows): State<Flows>,
    Asked(asked): Asked<MapAsked>,
) -> Answer<CityMapView> {
    Ok(Reply::ok(flows.city_map(asked.city)?))
}
