//! Complaints about trips: by riders and drivers, answered by admins.

use axum::extract::State;
use base::{Piasters, TripId, trimmed};
use flows::{Flows, Resolve};
use payments::{
    DisputeFilter, DisputeId, DisputeReason, DisputeStatus, DisputeView, DisputesPage, Outcome,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::asked::{Asked, Id, PageAsked};
use crate::body::Valid;
use crate::callers::{Admin, Member};
use crate::envelope::Success;
use crate::fields::{Check, Fields};
use crate::keyed::Attempt;
use crate::reply::{Answer, Reply};

const TEXT_MAX: usize = 2000;
const ANSWER_MAX: usize = 500;

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .routes(routes!(open))
        .routes(routes!(own))
        .routes(routes!(list))
        .routes(routes!(resolve))
}

#[derive(Deserialize, ToSchema)]
struct DisputeBody {
    reason: DisputeReason,
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 2000)]
    text: String,
}

impl Check for DisputeBody {
    fn check(&self, fields: &mut Fields) {
        fields.text("text", &self.text, 1, TEXT_MAX);
    }
}

#[derive(Serialize, ToSchema)]
struct DisputeReply {
    dispute: DisputeView,
}

/// Complains about a trip of the caller's own, within seven days after its end and once. Riders and
/// drivers.
#[utoipa::path(
    post, path = "/trips/{id}/dispute", tag = "trips", params(("id" = TripId, Path)),
    request_body = DisputeBody,
    responses((status = 201, body = Success<'static, DisputeReply>)),
    security(("bearer" = []))
)]
async fn open(
    Member(caller): Member,
    State(flows): State<Flows>,
    Id(trip): Id<TripId>,
    Attempt(once): Attempt,
    Valid(body): Valid<DisputeBody>,
) -> Answer<DisputeReply> {
    let dispute = flows.open_dispute(&caller, trip, body.reason, &body.text, once).await?;
    Ok(Reply::created(DisputeReply { dispute }))
}

/// The caller's own complaints, newest first. Riders and drivers.
#[utoipa::path(
    get, path = "/disputes", tag = "trips", params(PageAsked),
    responses((status = 200, body = Success<'static, DisputesPage>)),
    security(("bearer" = []))
)]
async fn own(
    Member(caller): Member,
    State(flows): State<Flows>,
    Asked(page): Asked<PageAsked>,
) -> Answer<DisputesPage> {
    Ok(Reply::ok(flows.own_disputes(&caller, page.after(), page.limit()).await?))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct DisputesAsked {
    /// Those in this status only.
    status: Option<DisputeStatus>,
}

impl Check for DisputesAsked {}

/// Everybody's complaints, newest first. Admins only.
#[utoipa::path(
    get, path = "/admin/disputes", tag = "admin", params(DisputesAsked, PageAsked),
    responses((status = 200, body = Success<'static, DisputesPage>)),
    security(("bearer" = []))
)]
async fn list(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Asked(asked): Asked<DisputesAsked>,
    Asked(page): Asked<PageAsked>,
) -> Answer<DisputesPage> {
    let filter = asked.status.map_or(DisputeFilter::All, DisputeFilter::In);
    Ok(Reply::ok(flows.disputes(&caller, &filter, page.after(), page.limit()).await?))
}

#[derive(Deserialize, ToSchema)]
struct ResolveBody {
    resolution: Outcome,
    /// Needed but for a rejection.
    amount: Option<Piasters>,
    /// What whoever complained is told.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

impl Check for ResolveBody {
    fn check(&self, fields: &mut Fields) {
        fields.text("reason", &self.reason, 1, ANSWER_MAX);
    }
}

/// Answers a complaint: with money at the company's cost (`refund`) or the driver's (`clawback`),
/// or with a no. Money above the admin's limit waits for a second one, and the complaint with it.
/// Admins only.
#[utoipa::path(
    post, path = "/admin/disputes/{id}/resolve", tag = "admin", params(("id" = DisputeId, Path)),
    request_body = ResolveBody,
    responses((status = 200, body = Success<'static, DisputeReply>)),
    security(("bearer" = []))
)]
async fn resolve(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<DisputeId>,
    Attempt(once): Attempt,
    Valid(body): Valid<ResolveBody>,
) -> Answer<DisputeReply> {
    let ResolveBody { resolution, amount, reason } = body;
    let answer = Resolve { outcome: resolution, amount, answer: reason };
    let dispute = flows.resolve_dispute(&caller, id, answer, once).await?;
    Ok(Reply::ok(DisputeReply { dispute }))
}
