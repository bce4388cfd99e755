//! `/location`: positions in, drivers nearby out.

use axum::extract::State;
use base::{Millis, Point, Tier, limits};
use fleet::{LocationReport, NearbyDriverView, NearbyQuery};
use flows::{BatchReply, Flows, RejectedPoint};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::asked::Asked;
use crate::body::Valid;
use crate::callers::{Driver, Looker};
use crate::envelope::Success;
use crate::fields::{Check, Fields};
use crate::reply::{Answer, Reply};

/// Widest look around, kilometres.
const RADIUS_MAX_KM: f64 = 50.0;
const RADIUS_KM: f64 = 5.0;
/// Drivers in an answer when nothing is said, and at most.
const NEARBY: u32 = 20;
const NEARBY_MAX: u32 = 100;

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .routes(routes!(update))
        .routes(routes!(batch_update))
        .routes(routes!(nearby))
}

impl Check for LocationReport {
    fn check(&self, fields: &mut Fields) {
        fields.point("", self.lat, self.lng);
    }
}

/// Positions recorded while out of reach, oldest first.
#[derive(Deserialize, ToSchema)]
struct BatchBody {
    #[schema(max_items = 500)]
    locations: Vec<LocationReport>,
}

impl Check for BatchBody {
    fn check(&self, fields: &mut Fields) {
        if self.locations.is_empty() || self.locations.len() > limits::BATCH_POINTS_REST {
            fields.wrong("locations", "length", "must have 1 to 500 positions");
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct UpdateReply {
    server_time: Millis,
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct NearbyAsked {
    lat: f64,
    lng: f64,
    /// Kilometres, at most 50; 5 when absent.
    radius: Option<f64>,
    vehicle_type: Option<Tier>,
    /// At most 100; 20 when absent.
    limit: Option<u32>,
}

impl NearbyAsked {
    fn radius_km(&self) -> f64 {
        self.radius.unwrap_or(RADIUS_KM)
    }

    fn limit(&self) -> u32 {
        self.limit.unwrap_or(NEARBY)
    }
}

impl Check for NearbyAsked {
    fn check(&self, fields: &mut Fields) {
        fields.point("", self.lat, self.lng);
        let radius = self.radius_km();
        // NaN is in no range.
        if !(radius > 0.0 && radius <= RADIUS_MAX_KM) {
            fields.wrong("radius", "out_of_range", "must be above 0 and at most 50");
        }
        if !(1..=NEARBY_MAX).contains(&self.limit()) {
            fields.wrong("limit", "out_of_range", "must be between 1 and 100");
        }
    }
}

#[derive(Serialize, ToSchema)]
struct NearbyReply {
    drivers: Vec<NearbyDriverView>,
}

/// Reports the driver's position; the socket is the better way. Drivers only.
#[utoipa::path(
    post, path = "/location/update", tag = "location", request_body = LocationReport,
    responses((status = 200, body = Success<'static, UpdateReply>)),
    security(("bearer" = []))
)]
async fn update(
    driver: Driver,
    State(flows): State<Flows>,
    Valid(body): Valid<LocationReport>,
) -> Answer<UpdateReply> {
    let seat = flows.seat(driver.id)?;
    flows.report_position(&seat, &body.fix()?)?;
    Ok(Reply::ok(UpdateReply { server_time: flows.clock.now() }))
}

/// Reports positions recorded while out of reach. A bad one is named and the others are taken.
/// Drivers only.
#[utoipa::path(
    post, path = "/location/batch-update", tag = "location", request_body = BatchBody,
    responses((status = 200, body = Success<'static, BatchReply>)),
    security(("bearer" = []))
)]
async fn batch_update(
    driver: Driver,
    State(flows): State<Flows>,
    Valid(body): Valid<BatchBody>,
) -> Answer<BatchReply> {
    let mut rejected = Vec::new();
    let (mut fixes, mut indices) = (Vec::new(), Vec::new());
    for (index, position) in body.locations.iter().enumerate() {
        match position.fix() {
            Ok(fix) => {
                fixes.push(fix);
                indices.push(index);
            }
            Err(problem) => rejected.push(RejectedPoint { index, code: problem.code.name() }),
        }
    }
    let taken = flows.report_batch(&flows.seat(driver.id)?, &fixes);
    let refused = taken.rejected.into_iter().filter_map(|point| {
        Some(RejectedPoint { index: *indices.get(point.index)?, code: point.code })
    });
    rejected.extend(refused);
    rejected.sort_by_key(|point| point.index);
    Ok(Reply::ok(BatchReply { accepted: taken.accepted, rejected }))
}

/// Available drivers around a place, nearest first. Anyone who is logged in, and partners with the
/// scope `location:nearby`.
#[utoipa::path(
    get, path = "/location/nearby", tag = "location", params(NearbyAsked),
    responses((status = 200, body = Success<'static, NearbyReply>)),
    security(("bearer" = []), ("apiKey" = []))
)]
async fn nearby(
    _: Looker,
    State(flows): State<Flows>,
    Asked(asked): Asked<NearbyAsked>,
) -> Answer<NearbyReply> {
    let found = Point::new(asked.lat, asked.lng).map(|at| {
        let query = NearbyQuery {
            at,
            radius_m: asked.radius_km() * 1000.0,
            tier: asked.vehicle_type,
            limit: asked.limit() as usize,
        };
        flows.fleet.nearby(&query, flows.clock.now())
    });
    let drivers = found.unwrap_or_default().iter().map(NearbyDriverView::from).collect();
    Ok(Reply::ok(NearbyReply { drivers }))
}
