//! `/admin`: how the node itself is doing.

use axum::extract::State;
use flows::Flows;
use ops::BreakerView;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::callers::Admin;
use crate::envelope::Success;
use crate::reply::{Answer, Reply};

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new().routes(routes!(breakers))
}

#[derive(Serialize, ToSchema)]
struct BreakersReply {
    breakers: Vec<BreakerView>,
}

/// The circuit breakers of the node that answers: which third party is left alone, and until when.
/// Admins only.
#[utoipa::path(
    get, path = "/admin/breakers", tag = "admin",
    responses((status = 200, body = Success<'static, BreakersReply>)),
    security(("bearer" = []))
)]
async fn breakers(_: Admin, State(flows): State<Flows>) -> Answer<BreakersReply> {
    Ok(Reply::ok(BreakersReply { breakers: flows.breakers.view() }))
}
