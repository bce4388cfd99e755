//! `/admin/suspense` and `/admin/gateway`: money that nobody had asked for, and what the gateway
//! pays out to the bank.

use axum::extract::State;
use base::{BusinessDay, Piasters, UserId, trimmed, trimmed_option};
use flows::{Flows, GatewayPayout};
use payments::SuspensePage;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::acts::ActReply;
use crate::asked::{Asked, Id, PageAsked};
use crate::body::Valid;
use crate::callers::Admin;
use crate::envelope::Success;
use crate::fields::{Check, Fields};
use crate::keyed::Attempt;
use crate::reply::{Answer, Reply};

const REASON_MAX: usize = 500;
const REFERENCE_MAX: usize = 100;
/// One payout of the gateway, at most.
const GROSS_MAX: Piasters = Piasters::pounds(100_000_000);
/// In place of somebody: whoever paid has it back from the gateway.
const GATEWAY: &str = "gateway";

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(resolve)).routes(routes!(settle))
}

/// Money that came through the gateway and that nobody had asked for, newest first, as far as it
/// waits for its owner. Admins only.
#[utoipa::path(
    get, path = "/admin/suspense", tag = "admin", params(PageAsked),
    responses((status = 200, body = Success<'static, SuspensePage>)),
    security(("bearer" = []))
)]
async fn list(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Asked(page): Asked<PageAsked>,
) -> Answer<SuspensePage> {
    Ok(Reply::ok(flows.suspense(&caller, page.after(), page.limit()).await?))
}

#[derive(Deserialize, ToSchema)]
struct ResolveBody {
    /// Whose it is, by his id; or `gateway`, which gives it back.
    #[serde(deserialize_with = "trimmed")]
    to: String,
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

impl ResolveBody {
    fn owner(&self) -> Result<Option<UserId>, uuid::Error> {
        match self.to.as_str() {
            GATEWAY => Ok(None),
            id => id.parse().map(|id: Uuid| Some(UserId(id))),
        }
    }
}

impl Check for ResolveBody {
    fn check(&self, fields: &mut Fields) {
        fields.text("reason", &self.reason, 1, REASON_MAX);
        if self.owner().is_err() {
            fields.wrong("to", "invalid", "must be the id of an account, or gateway");
        }
    }
}

/// Gives money that nobody had asked for to whoever paid it, or back through the gateway. Above an
/// admin's limit it waits for a second one (202). Admins only.
#[utoipa::path(
    post, path = "/admin/suspense/{captureId}/resolve", tag = "admin",
    params(("captureId" = Uuid, Path)), request_body = ResolveBody,
    responses(
        (status = 201, body = Success<'static, ActReply>),
        (status = 202, body = Success<'static, ActReply>, description = "waits for another admin")
    ),
    security(("bearer" = []))
)]
async fn resolve(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(capture): Id<Uuid>,
    Attempt(once): Attempt,
    Valid(body): Valid<ResolveBody>,
) -> Answer<ActReply> {
    // It was checked with the body: what is no id is the gateway.
    let to = body.owner().unwrap_or_default();
    let acted = flows.resolve_suspense(&caller, capture, to, &body.reason, once).await?;
    Ok(ActReply::of(&acted))
}

/// What the gateway paid out to the bank.
#[derive(Deserialize, ToSchema)]
struct SettlementBody {
    /// The gateway's name for it; each is booked once.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 100)]
    reference: String,
    /// What it had captured.
    gross: Piasters,
    /// What it kept of that.
    fee: Piasters,
    /// The business day whose captures it pays, `2026-11-28`.
    #[serde(default, deserialize_with = "trimmed_option")]
    day: Option<String>,
}

impl SettlementBody {
    fn day(&self) -> Option<BusinessDay> {
        self.day.as_deref().and_then(BusinessDay::parse)
    }
}

impl Check for SettlementBody {
    fn check(&self, fields: &mut Fields) {
        fields.text("reference", &self.reference, 1, REFERENCE_MAX);
        if self.gross <= Piasters::ZERO || self.gross > GROSS_MAX {
            let text = format!("must be more than zero, and at most {GROSS_MAX}");
            fields.wrong("gross", "out_of_range", &text);
        }
        if self.fee < Piasters::ZERO || self.fee > self.gross {
            fields.wrong("fee", "out_of_range", "must be between zero and gross");
        }
        if self.day.is_some() && self.day().is_none() {
            fields.wrong("day", "invalid", "must be a day, as 2026-11-28");
        }
    }
}

/// Books what the gateway paid out to the bank, and its fee; once per reference. Above an admin's
/// limit it waits for a second one (202). Admins only.
#[utoipa::path(
    post, path = "/admin/gateway/settlements", tag = "admin", request_body = SettlementBody,
    responses(
        (status = 201, body = Success<'static, ActReply>),
        (status = 202, body = Success<'static, ActReply>, description = "waits for another admin")
    ),
    security(("bearer" = []))
)]
async fn settle(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Attempt(once): Attempt,
    Valid(body): Valid<SettlementBody>,
) -> Answer<ActReply> {
    let day = body.day();
    let SettlementBody { reference, gross, fee, .. } = body;
    let payout = GatewayPayout { reference, gross, fee, day };
    Ok(ActReply::of(&flows.settle_gateway(&caller, payout, once).await?))
}
