//! `/admin/cities/{city}/demand`: what was asked for and what is expected, by cell.

use axum::extract::State;
use base::CityId;
use demand::DemandView;
use flows::Flows;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::asked::Id;
use crate::callers::Admin;
use crate::envelope::Success;
use crate::reply::{Answer, Reply};

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new().routes(routes!(demand))
}

/// A city's demand as a heat map: requests of the last quarter of an hour and forecasts of the next
/// two, by H3 cell, beside the drivers who are free there; and how far off the forecasts of the
/// last seven days were. Trips that are booked ahead are not in it. Admins only.
#[utoipa::path(
    get, path = "/admin/cities/{city}/demand", tag = "admin", params(("city" = CityId, Path)),
    responses((status = 200, body = Success<'static, DemandView>)),
    security(("bearer" = []))
)]
async fn demand(_: Admin, State(flows): State<Flows>, Id(city): Id<CityId>) -> Answer<DemandView> {
    Ok(Reply::ok(flows.demand(city).await?))
}
