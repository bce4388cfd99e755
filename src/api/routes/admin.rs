//! `/admin`: what operators do.

use axum::extract::State;
use base::{DriverId, TripId};
use dispatch::Trace;
use fleet::{Decision, DriversPage};
use flows::Flows;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::asked::{Asked, Id, PageAsked};
use crate::body::Valid;
use crate::callers::Admin;
use crate::envelope::Success;
use crate::fields::{Check, Fields};
use crate::reply::{Answer, Reply};
use crate::routes::drivers::DriverReply;

const REASON_MAX: usize = 500;

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .routes(routes!(drivers))
        .routes(routes!(decide))
        .routes(routes!(dispatch_trace))
}

/// The only list there is so far: who waits for a decision.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Waiting {
    Pending,
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DriversAsked {
    /// `pending`, which is also what is meant when absent.
    #[expect(dead_code, reason = "one value: reading it is checking it")]
    #[param(inline)]
    status: Option<Waiting>,
}

impl Check for DriversAsked {}

impl Check for Decision {
    fn check(&self, fields: &mut Fields) {
        if let Some(reason) = &self.reason {
            fields.text("reason", reason, 0, REASON_MAX);
        }
    }
}

/// Drivers who wait for a decision, oldest first. Admins only.
#[utoipa::path(
    get, path = "/admin/drivers", tag = "admin", params(DriversAsked, PageAsked),
    responses((status = 200, body = Success<'static, DriversPage>)),
    security(("bearer" = []))
)]
async fn drivers(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    _asked: Asked<DriversAsked>,
    Asked(page): Asked<PageAsked>,
) -> Answer<DriversPage> {
    Ok(Reply::ok(flows.pending_drivers(&caller, page.after(), page.limit()).await?))
}

/// Approves, rejects or suspends a driver. Admins only.
#[utoipa::path(
    post, path = "/admin/drivers/{id}/decision", tag = "admin", params(("id" = DriverId, Path)),
    request_body = Decision,
    responses((status = 200, body = Success<'static, DriverReply>)),
    security(("bearer" = []))
)]
async fn decide(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(driver): Id<DriverId>,
    Valid(decision): Valid<Decision>,
) -> Answer<DriverReply> {
    let driver = flows.decide_driver(&caller, driver, decision).await?;
    Ok(Reply::ok(DriverReply { driver }))
}

/// Why each driver was or was not asked for a trip, round by round. Admins only.
#[utoipa::path(
    get, path = "/admin/trips/{id}/dispatch-trace", tag = "admin", params(("id" = TripId, Path)),
    responses((status = 200, body = Success<'static, Trace>)),
    security(("bearer" = []))
)]
async fn dispatch_trace(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(trip): Id<TripId>,
) -> Answer<Trace> {
    Ok(Reply::ok(flows.dispatch_trace(&caller, trip).await?))
}
