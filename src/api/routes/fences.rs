//! `/admin/…/fences`: where a city is served and where not, airports, surge zones.

use axum::extract::State;
use base::{CityId, trimmed};
use fleet::{FenceQueueView, FenceView, FencesPage};
use flows::{FenceRequest, Flows};
use geo::FenceKind;
use pricing::Factor;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::asked::{Asked, Id, PageAsked};
use crate::body::Valid;
use crate::callers::Admin;
use crate::envelope::Success;
use crate::fields::{Check, Fields};
use crate::keyed::Attempt;
use crate::reply::{Answer, Reply};
use crate::routes::places::PointBody;
use crate::routes::rulebook::{
    NAME_MAX, REASON_MAX, ReasonBody, check_corners, check_factor, corners, factor,
};

/// What a surge zone may multiply with.
const ZONE_FACTORS: (Factor, Factor) = (Factor::ONE, Factor::CAP);

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .routes(routes!(list, add))
        .routes(routes!(change))
        .routes(routes!(disable))
        .routes(routes!(queue))
}

/// A fence as it is to be.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FenceBody {
    /// `service_area`: pickups are served here, and where a city has one, nowhere else.
    /// `restricted`: no pickups. `airport`: drivers who are free here stand in a queue, and pickups
    /// are offered in its order. `surge`: prices are higher.
    #[schema(value_type = String)]
    kind: FenceKind,
    /// Riders read it where pickups are refused, and beside the price.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 100)]
    name: String,
    /// Around it, in order; closed or not. It must not cross itself, and lie within the city.
    #[schema(min_items = 3, max_items = 500)]
    corners: Vec<PointBody>,
    /// Of a surge zone, and of nothing else: its surge is at least this. At most two decimals.
    #[schema(minimum = 1, maximum = 3)]
    multiplier: Option<f64>,
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

impl FenceBody {
    fn request(self) -> (FenceRequest, String) {
        let corners = corners(&self.corners);
        let multiplier = self.multiplier.map(factor);
        (FenceRequest { kind: self.kind, name: self.name, corners, multiplier }, self.reason)
    }
}

impl Check for FenceBody {
    fn check(&self, fields: &mut Fields) {
        fields.text("name", &self.name, 1, NAME_MAX);
        check_corners(&self.corners, fields);
        if let Some(value) = self.multiplier {
            check_factor(value, ZONE_FACTORS, fields);
        }
        fields.text("reason", &self.reason, 1, REASON_MAX);
    }
}

#[derive(Serialize, ToSchema)]
struct FenceReply {
    fence: FenceView,
}

/// Fences of a city, the newest first; disabled ones too. Admins only.
#[utoipa::path(
    get, path = "/admin/cities/{city}/fences", tag = "admin",
    params(("city" = CityId, Path), PageAsked),
    responses((status = 200, body = Success<'static, FencesPage>)),
    security(("bearer" = []))
)]
async fn list(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(city): Id<CityId>,
    Asked(page): Asked<PageAsked>,
) -> Answer<FencesPage> {
    Ok(Reply::ok(flows.fences(&caller, city, page.after(), page.limit()).await?))
}

/// Draws a fence; it is in force at once. Trips that are booked go on. Admins only.
#[utoipa::path(
    post, path = "/admin/cities/{city}/fences", tag = "admin", params(("city" = CityId, Path)),
    request_body = FenceBody,
    responses((status = 201, body = Success<'static, FenceReply>)),
    security(("bearer" = []))
)]
async fn add(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(city): Id<CityId>,
    Attempt(once): Attempt,
    Valid(body): Valid<FenceBody>,
) -> Answer<FenceReply> {
    let (asked, reason) = body.request();
    let fence = flows.add_fence(&caller, city, asked, &reason, once).await?;
    Ok(Reply::created(FenceReply { fence }))
}

/// Draws a fence anew; its kind stays. Admins only.
#[utoipa::path(
    post, path = "/admin/fences/{id}", tag = "admin", params(("id" = Uuid, Path)),
    request_body = FenceBody,
    responses((status = 200, body = Success<'static, FenceReply>)),
    security(("bearer" = []))
)]
async fn change(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<Uuid>,
    Attempt(once): Attempt,
    Valid(body): Valid<FenceBody>,
) -> Answer<FenceReply> {
    let (asked, reason) = body.request();
    let fence = flows.change_fence(&caller, id, asked, &reason, once).await?;
    Ok(Reply::ok(FenceReply { fence }))
}

/// A fence means nothing from now on. Admins only.
#[utoipa::path(
    post, path = "/admin/fences/{id}/disable", tag = "admin", params(("id" = Uuid, Path)),
    request_body = ReasonBody,
    responses((status = 200, body = Success<'static, FenceReply>)),
    security(("bearer" = []))
)]
async fn disable(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<Uuid>,
    Attempt(once): Attempt,
    Valid(body): Valid<ReasonBody>,
) -> Answer<FenceReply> {
    let fence = flows.disable_fence(&caller, id, &body.reason, once).await?;
    Ok(Reply::ok(FenceReply { fence }))
}

/// The queue of an airport, first to last. 404 for a fence that is no airport, or not in force.
/// Admins only.
#[utoipa::path(
    get, path = "/admin/fences/{id}/queue", tag = "admin", params(("id" = Uuid, Path)),
    responses((status = 200, body = Success<'static, FenceQueueView>)),
    security(("bearer" = []))
)]
async fn queue(_: Admin, State(flows): State<Flows>, Id(id): Id<Uuid>) -> Answer<FenceQueueView> {
    Ok(Reply::ok(flows.fence_queue(id)?))
}
