//! `/admin/fraud`: accounts that met a rule, and what is decided about them.

use axum::extract::State;
use base::trimmed;
use flows::Flows;
use fraud::{CaseFilter, Decision, FraudCase, FraudPage, Rule, Status};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
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

/// Longest reason, characters.
const REASON_MAX: usize = 500;

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(decide))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct CasesAsked {
    /// Cases in this status only.
    status: Option<Status>,
    /// Cases of this rule only.
    rule: Option<Rule>,
}

impl Check for CasesAsked {}

/// What is to become of a case.
#[derive(Deserialize, ToSchema)]
struct DecideBody {
    decision: Decision,
    /// Kept with the case and in the audit log.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

impl Check for DecideBody {
    fn check(&self, fields: &mut Fields) {
        fields.text("reason", &self.reason, 1, REASON_MAX);
    }
}

/// Accounts that met a rule of fraud, with the numbers that did, newest first. Admins only.
#[utoipa::path(
    get, path = "/admin/fraud", tag = "admin", params(CasesAsked, PageAsked),
    responses((status = 200, body = Success<'static, FraudPage>)),
    security(("bearer" = []))
)]
async fn list(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Asked(asked): Asked<CasesAsked>,
    Asked(page): Asked<PageAsked>,
) -> Answer<FraudPage> {
    let filter = CaseFilter { status: asked.status, rule: asked.rule };
    Ok(Reply::ok(flows.fraud_cases(&caller, &filter, page.after(), page.limit()).await?))
}

/// Clears or confirms an open case, or releases a confirmed one, with a reason. Admins only.
#[utoipa::path(
    post, path = "/admin/fraud/{id}/decide", tag = "admin", params(("id" = Uuid, Path)),
    request_body = DecideBody,
    responses((status = 200, body = Success<'static, FraudCase>)),
    security(("bearer" = []))
)]
async fn decide(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<Uuid>,
    Attempt(once): Attempt,
    Valid(body): Valid<DecideBody>,
) -> Answer<FraudCase> {
    Ok(Reply::ok(flows.decide_fraud(&caller, id, body.decision, &body.reason, once).await?))
}
