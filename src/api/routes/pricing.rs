//! `/pricing`: what a trip would cost.

use axum::extract::State;
use base::{Millis, Point, Tier};
use flows::{EstimateRequest, Flows};
use pricing::{EstimateReply, SurgeZone};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::asked::Asked;
use crate::body::Valid;
use crate::callers::{Anyone, PriceAsker};
use crate::envelope::Success;
use crate::fields::{Check, Fields};
use crate::reply::{Answer, Reply};
use crate::routes::places::PointBody;

const RADIUS_MAX_KM: f64 = 50.0;
const RADIUS_KM: f64 = 5.0;
/// Most stops that are looked at; the flow knows how many are allowed.
const STOPS_READ: usize = 50;

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new().routes(routes!(estimate)).routes(routes!(surge_map))
}

/// A question for prices.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct EstimateBody {
    pickup: PointBody,
    destination: PointBody,
    #[serde(default)]
    stops: Vec<PointBody>,
    /// Every tier when absent.
    #[serde(default)]
    vehicle_types: Vec<Tier>,
    /// The moment of the pickup, from half an hour to a week ahead: the price is of that moment,
    /// without the surge of now. At once when absent.
    scheduled_at: Option<Millis>,
}

impl Check for EstimateBody {
    fn check(&self, fields: &mut Fields) {
        self.pickup.check("pickup", fields);
        self.destination.check("destination", fields);
        for (index, stop) in self.stops.iter().take(STOPS_READ).enumerate() {
            stop.check(&format!("stops[{index}]"), fields);
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct SurgeAsked {
    lat: f64,
    lng: f64,
    /// Kilometres, at most 50; 5 when absent.
    radius: Option<f64>,
}

impl SurgeAsked {
    fn radius_km(&self) -> f64 {
        self.radius.unwrap_or(RADIUS_KM)
    }
}

impl Check for SurgeAsked {
    fn check(&self, fields: &mut Fields) {
        fields.point("", self.lat, self.lng);
        let radius = self.radius_km();
        // NaN is in no range.
        if !(radius > 0.0 && radius <= RADIUS_MAX_KM) {
            fields.wrong("radius", "out_of_range", "must be above 0 and at most 50");
        }
    }
}

#[derive(Serialize, ToSchema)]
struct SurgeReply {
    zones: Vec<SurgeZone>,
}

/// Prices and arrival times of every tier. A quote holds ten minutes. Riders, and partners
/// with the scope `pricing:estimate`.
#[utoipa::path(
    post, path = "/pricing/estimate", tag = "pricing", request_body = EstimateBody,
    responses((status = 200, body = Success<'static, EstimateReply>)),
    security(("bearer" = []), ("apiKey" = []))
)]
async fn estimate(
    PriceAsker(asker): PriceAsker,
    State(flows): State<Flows>,
    Valid(body): Valid<EstimateBody>,
) -> Answer<EstimateReply> {
    // More stops than are allowed stay too many for the flow to refuse.
    let stops: Vec<Point> =
        body.stops.iter().take(STOPS_READ).filter_map(|stop| stop.point()).collect();
    let (Some(pickup), Some(destination)) = (body.pickup.point(), body.destination.point()) else {
        return Err(base::Problem::field("pickup", "invalid", "must be a place").into());
    };
    let mut tiers = body.vehicle_types;
    tiers.sort_unstable();
    tiers.dedup();
    let pickup_at = body.scheduled_at;
    let ask = EstimateRequest { pickup, destination, stops, tiers, pickup_at };
    Ok(Reply::ok(flows.estimate(asker, ask).await?))
}

/// Zones around a place where prices are higher.
#[utoipa::path(
    get, path = "/pricing/surge-map", tag = "pricing", params(SurgeAsked),
    responses((status = 200, body = Success<'static, SurgeReply>)),
    security(("bearer" = []))
)]
async fn surge_map(
    _caller: Anyone,
    State(flows): State<Flows>,
    Asked(asked): Asked<SurgeAsked>,
) -> Answer<SurgeReply> {
    let zones = Point::new(asked.lat, asked.lng)
        .map(|at| flows.surge_map(at, asked.radius_km() * 1000.0))
        .unwrap_or_default();
    Ok(Reply::ok(SurgeReply { zones }))
}
