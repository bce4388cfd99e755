//! `/drivers`: a driver's papers and his shift.

use axum::extract::State;
use base::Point;
use fleet::{DaysView, DriverView, Fix, Profile, QueuePlaceView};
use flows::{Flows, OnlineWish};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::body::Valid;
use crate::callers::Driver;
use crate::envelope::Success;
use crate::fields::{Check, Fields};
use crate::reply::{Answer, Reply};

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .routes(routes!(save_profile, profile))
        .routes(routes!(set_status))
        .routes(routes!(statistics))
        .routes(routes!(queue))
}

/// A driver with his papers.
#[derive(Serialize, ToSchema)]
pub(crate) struct DriverReply {
    pub driver: DriverView,
}

/// A shift begins or ends; the position, where given, counts as the first.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ShiftBody {
    is_online: bool,
    #[schema(minimum = -90, maximum = 90)]
    lat: Option<f64>,
    #[schema(minimum = -180, maximum = 180)]
    lng: Option<f64>,
}

#[derive(Serialize, ToSchema)]
struct ShiftReply {
    state: fleet::State,
}

impl Check for ShiftBody {
    fn check(&self, fields: &mut Fields) {
        match (self.lat, self.lng) {
            (None, None) => {}
            (Some(lat), Some(lng)) => {
                fields.point("", lat, lng);
            }
            (Some(_), None) => fields.wrong("lng", "required", "is required beside lat"),
            (None, Some(_)) => fields.wrong("lat", "required", "is required beside lng"),
        }
    }
}

// What is wrong with the papers is known to `fleet`.
impl Check for Profile {}

/// Saves vehicle and documents; the driver waits for an admin's decision. `driving_licence`,
/// `vehicle_licence` and `insurance` are required. Drivers only.
#[utoipa::path(
    post, path = "/drivers/profile", tag = "drivers", request_body = Profile,
    responses((status = 201, body = Success<'static, DriverReply>)),
    security(("bearer" = []))
)]
async fn save_profile(
    driver: Driver,
    State(flows): State<Flows>,
    Valid(body): Valid<Profile>,
) -> Answer<DriverReply> {
    let driver = flows.save_profile(&driver.caller, body).await?;
    Ok(Reply::created(DriverReply { driver }))
}

/// The driver's own papers. Drivers only.
#[utoipa::path(
    get, path = "/drivers/profile", tag = "drivers",
    responses((status = 200, body = Success<'static, DriverReply>)),
    security(("bearer" = []))
)]
async fn profile(driver: Driver, State(flows): State<Flows>) -> Answer<DriverReply> {
    let driver = flows.driver_profile(&driver.caller).await?;
    Ok(Reply::ok(DriverReply { driver }))
}

/// Begins or ends a shift. Online needs approval and papers that are not expired. Drivers only.
#[utoipa::path(
    post, path = "/drivers/status", tag = "drivers", request_body = ShiftBody,
    responses((status = 200, body = Success<'static, ShiftReply>)),
    security(("bearer" = []))
)]
async fn set_status(
    driver: Driver,
    State(flows): State<Flows>,
    Valid(body): Valid<ShiftBody>,
) -> Answer<ShiftReply> {
    let at = body.lat.zip(body.lng).and_then(|(lat, lng)| Point::new(lat, lng).ok());
    let now = flows.clock.now();
    let fix =
        at.map(|at| Fix { at, heading: None, speed_kmh: None, accuracy_m: None, timestamp: now });
    let wish = if body.is_online { OnlineWish::Online } else { OnlineWish::Offline };
    Ok(Reply::ok(ShiftReply { state: flows.set_online(driver.id, wish, fix).await? }))
}

/// The driver's newest days: trips, way and fares. A day is counted soon after its trips end, by
/// the calendar of the city. Drivers only.
#[utoipa::path(
    get, path = "/drivers/statistics", tag = "drivers",
    responses((status = 200, body = Success<'static, DaysView>)),
    security(("bearer" = []))
)]
async fn statistics(driver: Driver, State(flows): State<Flows>) -> Answer<DaysView> {
    Ok(Reply::ok(flows.driver_days(&driver.caller).await?))
}

/// The driver's place in the queue of an airport; null while he is in none.
#[derive(Serialize, ToSchema)]
struct QueueReply {
    queue: Option<QueuePlaceView>,
}

/// The driver's place in the queue of the airport where he waits. He is told of every change by
/// socket, too (`queue.position`). Drivers only.
#[utoipa::path(
    get, path = "/drivers/queue", tag = "drivers",
    responses((status = 200, body = Success<'static, QueueReply>)),
    security(("bearer" = []))
)]
async fn queue(driver: Driver, State(flows): State<Flows>) -> Answer<QueueReply> {
    Ok(Reply::ok(QueueReply { queue: flows.queue_place(driver.id) }))
}
