//! `/admin/dead-letters`: jobs that nobody tries any more, and what is to become of them.

use axum::extract::State;
use base::{Cursor, trimmed};
use events::{DeadLetter, Decision, LetterFilter, LetterStatus, Queue};
use flows::Flows;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::asked::{Asked, Id, PageAsked};
use crate::body::Valid;
use crate::callers::Admin;
use crate::envelope::Success;
use crate::fields::{Check, Fields};
use crate::reply::{Answer, Reply};

/// Longest reason, characters.
const REASON_MAX: usize = 500;

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(decide))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct LettersAsked {
    /// Letters in this status only.
    status: Option<LetterStatus>,
    /// Letters of this queue only.
    queue: Option<Queue>,
}

impl Check for LettersAsked {}

/// A page of letters, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LettersReply {
    letters: Vec<DeadLetter>,
    next_cursor: Option<String>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum DecisionName {
    /// Its job is put down again and starts over with all its tries.
    Retry,
    Discard,
}

/// What is to become of a letter.
#[derive(Deserialize, ToSchema)]
struct DecisionBody {
    decision: DecisionName,
    /// Kept with the letter and in the audit log.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

impl Check for DecisionBody {
    fn check(&self, fields: &mut Fields) {
        fields.text("reason", &self.reason, 1, REASON_MAX);
    }
}

/// Jobs that are not tried any more, each with its payload and everything that went wrong. Admins
/// only.
#[utoipa::path(
    get, path = "/admin/dead-letters", tag = "admin", params(LettersAsked, PageAsked),
    responses((status = 200, body = Success<'static, LettersReply>)),
    security(("bearer" = []))
)]
async fn list(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Asked(asked): Asked<LettersAsked>,
    Asked(page): Asked<PageAsked>,
) -> Answer<LettersReply> {
    let filter = LetterFilter { status: asked.status, queue: asked.queue };
    let limit = page.limit() as usize;
    let mut letters = flows.dead_letters(&caller, &filter, page.after(), page.limit() + 1).await?;
    let more = letters.len() > limit;
    letters.truncate(limit);
    let last = letters.last().filter(|_| more);
    let next_cursor = last.map(|last| Cursor { at: last.died_at, id: last.id }.to_string());
    Ok(Reply::ok(LettersReply { letters, next_cursor }))
}

/// Retries or discards an open dead letter, with a reason. Admins only.
#[utoipa::path(
    post, path = "/admin/dead-letters/{id}/decision", tag = "admin",
    params(("id" = Uuid, Path)), request_body = DecisionBody,
    responses((status = 200, body = Success<'static, DeadLetter>)),
    security(("bearer" = []))
)]
async fn decide(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<Uuid>,
    Valid(body): Valid<DecisionBody>,
) -> Answer<DeadLetter> {
    let decision = match body.decision {
        DecisionName::Retry => Decision::Retry,
        DecisionName::Discard => Decision::Discard,
    };
    Ok(Reply::ok(flows.decide_letter(&caller, id, decision, &body.reason).await?))
}
