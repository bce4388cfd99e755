//! `/devices`, `/notifications`: where a person is reached, what he wants to hear, what he heard.

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use base::{Code, Problem};
use flows::Flows;
use notify::{DeviceBody, DeviceGone, DeviceView, NotificationsPage, PreferencesView, SmsReport};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::asked::{Asked, Id, PageAsked};
use crate::body::Valid;
use crate::callers::{Anyone, Member};
use crate::envelope::Success;
use crate::fields::{Check, Fields};
use crate::reply::{Answer, Refusal, Reply};

/// Largest report of a carrier, bytes.
const REPORT_BYTES: usize = 16 * 1024;

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .routes(routes!(register))
        .routes(routes!(remove))
        .routes(routes!(preferences, save_preferences))
        .routes(routes!(notifications))
        .routes(routes!(sms_report))
}

impl Check for DeviceBody {
    fn check(&self, fields: &mut Fields) {
        Self::check(self, fields);
    }
}

impl Check for DeviceGone {
    fn check(&self, fields: &mut Fields) {
        Self::check(self, fields);
    }
}

// What is wrong with preferences is known to `notify`.
impl Check for PreferencesView {
    // They replace what was there.
    const MUST_BE_SAID: bool = true;
}

#[derive(Serialize, ToSchema)]
struct DeviceReply {
    device: DeviceView,
}

#[derive(Serialize, ToSchema)]
struct PreferencesReply {
    preferences: PreferencesView,
}

/// Registers the caller's phone for pushes. The same token again refreshes it; a token of another
/// account moves to this one. The ten newest phones are kept. Riders and drivers.
#[utoipa::path(
    post, path = "/devices", tag = "notifications", request_body = DeviceBody,
    responses((status = 201, body = Success<'static, DeviceReply>)),
    security(("bearer" = []))
)]
async fn register(
    Member(caller): Member,
    State(flows): State<Flows>,
    Valid(body): Valid<DeviceBody>,
) -> Answer<DeviceReply> {
    Ok(Reply::created(DeviceReply { device: flows.register_device(&caller, &body).await? }))
}

/// Ends pushes to the caller's phone, as before a logout. Riders and drivers.
#[utoipa::path(
    post, path = "/devices/remove", tag = "notifications", request_body = DeviceGone,
    responses((status = 204, description = "no more pushes go there")),
    security(("bearer" = []))
)]
async fn remove(
    Member(caller): Member,
    State(flows): State<Flows>,
    Valid(body): Valid<DeviceGone>,
) -> Result<StatusCode, Refusal> {
    flows.remove_device(&caller, &body.token).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What the caller wants to be told, and how. Riders and drivers.
#[utoipa::path(
    get, path = "/notifications/preferences", tag = "notifications",
    responses((status = 200, body = Success<'static, PreferencesReply>)),
    security(("bearer" = []))
)]
async fn preferences(
    Member(caller): Member,
    State(flows): State<Flows>,
) -> Answer<PreferencesReply> {
    let preferences = flows.notification_preferences(&caller).await?;
    Ok(Reply::ok(PreferencesReply { preferences }))
}

/// Replaces all preferences: what is left out is back at its default. Riders and drivers.
#[utoipa::path(
    post, path = "/notifications/preferences", tag = "notifications",
    request_body = PreferencesView,
    responses((status = 200, body = Success<'static, PreferencesReply>)),
    security(("bearer" = []))
)]
async fn save_preferences(
    Member(caller): Member,
    State(flows): State<Flows>,
    Valid(body): Valid<PreferencesView>,
) -> Answer<PreferencesReply> {
    let preferences = flows.save_notification_preferences(&caller, &body).await?;
    Ok(Reply::ok(PreferencesReply { preferences }))
}

/// What the caller was told, newest first, and how far each came.
#[utoipa::path(
    get, path = "/notifications", tag = "notifications", params(PageAsked),
    responses((status = 200, body = Success<'static, NotificationsPage>)),
    security(("bearer" = []))
)]
async fn notifications(
    Anyone(caller): Anyone,
    State(flows): State<Flows>,
    Asked(page): Asked<PageAsked>,
) -> Answer<NotificationsPage> {
    Ok(Reply::ok(flows.notifications(&caller, page.after(), page.limit()).await?))
}

/// What became of an SMS, told by the carrier (Twilio), who signs what it says.
#[utoipa::path(
    post, path = "/webhooks/twilio/{id}", tag = "webhooks", params(("id" = Uuid, Path)),
    request_body(content = String, content_type = "application/x-www-form-urlencoded"),
    responses((status = 204, description = "taken"))
)]
async fn sms_report(
    Id(delivery): Id<Uuid>,
    State(flows): State<Flows>,
    request: Request,
) -> Result<StatusCode, Refusal> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, REPORT_BYTES).await.map_err(|_| {
        let why = format!("a report may have at most {REPORT_BYTES} bytes");
        Problem::new(Code::PayloadTooLarge, why)
    })?;
    let signature = parts.headers.get("x-twilio-signature").and_then(|value| value.to_str().ok());
    let signature = signature.unwrap_or_default().to_owned();
    let form = form_urlencoded::parse(&body).into_owned().collect();
    flows.sms_report(delivery, &SmsReport { form, signature }).await?;
    Ok(StatusCode::NO_CONTENT)
}
