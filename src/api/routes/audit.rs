//! `/admin/audit`: who did what to which object.

use axum::extract::State;
use base::UserId;
use flows::Flows;
use identity::{AuditFilter, AuditPage};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::asked::{Asked, PageAsked};
use crate::callers::Admin;
use crate::envelope::Success;
use crate::fields::{Check, Fields};
use crate::reply::{Answer, Reply};

/// Longest word of a filter: what the log itself may hold.
const WORD_MAX: usize = 64;

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new().routes(routes!(log))
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct LogAsked {
    /// Who did it.
    actor: Option<UserId>,
    /// What was done: `driver.decide`, `wallet.adjust`, `trip.read`, …
    #[param(max_length = 64)]
    action: Option<String>,
    /// What it was done to: `driver`, `trip`, `wallet`, …
    #[param(max_length = 64)]
    object_kind: Option<String>,
    /// Which one.
    #[param(max_length = 64)]
    object_id: Option<String>,
}

impl Check for LogAsked {
    fn check(&self, fields: &mut Fields) {
        let words = [
            ("action", &self.action),
            ("objectKind", &self.object_kind),
            ("objectId", &self.object_id),
        ];
        for (field, word) in words {
            if let Some(word) = word {
                fields.text(field, word, 1, WORD_MAX);
            }
        }
    }
}

/// What operators did and what they looked at, newest first. Admins only.
#[utoipa::path(
    get, path = "/admin/audit", tag = "admin", params(LogAsked, PageAsked),
    responses((status = 200, body = Success<'static, AuditPage>)),
    security(("bearer" = []))
)]
async fn log(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Asked(asked): Asked<LogAsked>,
    Asked(page): Asked<PageAsked>,
) -> Answer<AuditPage> {
    let filter = AuditFilter {
        actor: asked.actor,
        action: asked.action,
        object_kind: asked.object_kind,
        object_id: asked.object_id,
    };
    Ok(Reply::ok(flows.audit_log(&caller, &filter, page.after(), page.limit()).await?))
}
