//! `/admin/api-keys`: what other companies' programs may ask with.

use axum::extract::State;
use base::ApiKeyId;
use flows::Flows;
use identity::{ApiKeyDay, ApiKeyView, ApiKeysPage, MadeApiKey, NewApiKey, RotateApiKey};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::asked::{Asked, Id, PageAsked};
use crate::body::Valid;
use crate::callers::Admin;
use crate::envelope::Success;
use crate::fields::{Check, Fields};
use crate::reply::{Answer, Reply};

const NAME_MAX: usize = 100;
const PER_MINUTE_MAX: u32 = 100_000;
/// A week.
const GRACE_MAX_S: u32 = 604_800;
/// Days of usage when nothing is said, and at most.
const DAYS: u32 = 30;
const DAYS_MAX: u32 = 366;

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(rotate))
        .routes(routes!(revoke))
        .routes(routes!(usage))
}

impl Check for NewApiKey {
    fn check(&self, fields: &mut Fields) {
        fields.text("name", &self.name, 1, NAME_MAX);
        if self.scopes.is_empty() {
            fields.wrong("scopes", "required", "must name at least one");
        }
        if self.per_minute.is_some_and(|n| !(1..=PER_MINUTE_MAX).contains(&n)) {
            fields.wrong("perMinute", "out_of_range", "must be between 1 and 100000");
        }
    }
}

impl Check for RotateApiKey {
    fn check(&self, fields: &mut Fields) {
        if self.grace_seconds.is_some_and(|seconds| seconds > GRACE_MAX_S) {
            fields.wrong("graceSeconds", "out_of_range", "must be at most 604800");
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct UsageAsked {
    /// At most 366; 30 when absent.
    #[param(minimum = 1, maximum = 366)]
    days: Option<u32>,
}

impl UsageAsked {
    fn days(&self) -> u32 {
        self.days.unwrap_or(DAYS)
    }
}

impl Check for UsageAsked {
    fn check(&self, fields: &mut Fields) {
        if !(1..=DAYS_MAX).contains(&self.days()) {
            fields.wrong("days", "out_of_range", "must be between 1 and 366");
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ApiKeyReply {
    api_key: ApiKeyView,
}

#[derive(Serialize, ToSchema)]
struct UsageReply {
    usage: Vec<ApiKeyDay>,
}

/// Makes a key. The answer shows it, this once. Admins only.
#[utoipa::path(
    post, path = "/admin/api-keys", tag = "admin", request_body = NewApiKey,
    responses((status = 201, body = Success<'static, MadeApiKey>)),
    security(("bearer" = []))
)]
async fn create(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Valid(asked): Valid<NewApiKey>,
) -> Answer<MadeApiKey> {
    Ok(Reply::created(flows.create_api_key(&caller, &asked).await?))
}

/// Keys, newest first; ended ones too. Admins only.
#[utoipa::path(
    get, path = "/admin/api-keys", tag = "admin", params(PageAsked),
    responses((status = 200, body = Success<'static, ApiKeysPage>)),
    security(("bearer" = []))
)]
async fn list(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Asked(page): Asked<PageAsked>,
) -> Answer<ApiKeysPage> {
    Ok(Reply::ok(flows.api_keys(&caller, page.after(), page.limit()).await?))
}

/// Puts a new key in the place of an old one, which goes on for the grace. The answer shows the
/// new key, this once. Admins only.
#[utoipa::path(
    post, path = "/admin/api-keys/{id}/rotate", tag = "admin", params(("id" = ApiKeyId, Path)),
    request_body = Option<RotateApiKey>,
    responses((status = 200, body = Success<'static, MadeApiKey>)),
    security(("bearer" = []))
)]
async fn rotate(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<ApiKeyId>,
    Valid(asked): Valid<RotateApiKey>,
) -> Answer<MadeApiKey> {
    Ok(Reply::ok(flows.rotate_api_key(&caller, id, asked).await?))
}

/// Ends a key, for good. Admins only.
#[utoipa::path(
    post, path = "/admin/api-keys/{id}/revoke", tag = "admin", params(("id" = ApiKeyId, Path)),
    responses((status = 200, body = Success<'static, ApiKeyReply>)),
    security(("bearer" = []))
)]
async fn revoke(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<ApiKeyId>,
) -> Answer<ApiKeyReply> {
    Ok(Reply::ok(ApiKeyReply { api_key: flows.revoke_api_key(&caller, id).await? }))
}

/// How often a key was used, by day (UTC), newest first. Admins only.
#[utoipa::path(
    get, path = "/admin/api-keys/{id}/usage", tag = "admin",
    params(("id" = ApiKeyId, Path), UsageAsked),
    responses((status = 200, body = Success<'static, UsageReply>)),
    security(("bearer" = []))
)]
async fn usage(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<ApiKeyId>,
    Asked(asked): Asked<UsageAsked>,
) -> Answer<UsageReply> {
    Ok(Reply::ok(UsageReply { usage: flows.api_key_usage(&caller, id, asked.days()).await? }))
}
