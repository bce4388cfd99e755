//! `/admin`: what admins do with other people's money, and the second admin's word.

use axum::extract::State;
use base::{Piasters, Problem, TripId, UserId, trimmed, trimmed_option};
use flows::{Acted, Flows, FoundOut};
use ledger::AdjustmentView;
use payments::{
    ActFilter, ActId, ActStatus, ActView, ActsPage, AtFault, CardId, CardView, Reference, RefundId,
    RefundStatus, RefundView, RefundsPage, Verdict,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::asked::{Asked, Id, PageAsked};
use crate::body::Valid;
use crate::callers::Admin;
use crate::envelope::Success;
use crate::fields::{Check, Fields};
use crate::keyed::Attempt;
use crate::reply::{Answer, Reply};

const REASON_MAX: usize = 500;

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .routes(routes!(adjust))
        .routes(routes!(write_off))
        .routes(routes!(refund_trip))
        .routes(routes!(refund_deposit))
        .routes(routes!(refunds))
        .routes(routes!(settle_refund))
        .routes(routes!(settle_card))
        .routes(routes!(acts))
        .routes(routes!(decide))
}

/// A correction of a wallet.
#[derive(Deserialize, ToSchema)]
struct AdjustBody {
    /// Added to the wallet; negative: taken from it.
    amount: Piasters,
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

/// Money given back, or up.
#[derive(Deserialize, ToSchema)]
struct WriteOffBody {
    /// More than zero, and at most what is owed.
    amount: Piasters,
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

#[derive(Deserialize, ToSchema)]
struct TripRefundBody {
    /// All that is left of what was paid, when absent.
    amount: Option<Piasters>,
    /// Who bears it.
    fault: AtFault,
    /// The rider reads it; with `driver`, the driver too.
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

#[derive(Deserialize, ToSchema)]
struct DepositRefundBody {
    /// All of it, when absent.
    amount: Option<Piasters>,
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

fn checked(fields: &mut Fields, reason: &str) {
    fields.text("reason", reason, 1, REASON_MAX);
}

impl Check for AdjustBody {
    fn check(&self, fields: &mut Fields) {
        checked(fields, &self.reason);
    }
}

impl Check for WriteOffBody {
    fn check(&self, fields: &mut Fields) {
        checked(fields, &self.reason);
    }
}

impl Check for TripRefundBody {
    fn check(&self, fields: &mut Fields) {
        checked(fields, &self.reason);
    }
}

impl Check for DepositRefundBody {
    fn check(&self, fields: &mut Fields) {
        checked(fields, &self.reason);
    }
}

/// What was done, or (202, `act.status` is `pending`) what waits for a second admin.
#[derive(Serialize, ToSchema)]
struct AdjustReply {
    /// As it stands in the ledger; absent while it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    transaction: Option<AdjustmentView>,
    act: ActView,
}

/// What was done, or (202, `act.status` is `pending`) what waits for a second admin.
#[derive(Serialize, ToSchema)]
pub(super) struct ActReply {
    act: ActView,
}

impl ActReply {
    pub(super) fn of(acted: &Acted) -> Reply<Self> {
        let act = acted.view();
        match act.status {
            ActStatus::Pending => Reply::accepted(Self { act }),
            ActStatus::Done | ActStatus::Approved | ActStatus::Declined => {
                Reply::created(Self { act })
            }
        }
    }
}

/// Corrects a wallet, with a reason that stays in the ledger. The same `Idempotency-Key` twice
/// moves the money once. Above an admin's limit it waits for a second one (202). Admins only.
#[utoipa::path(
    post, path = "/admin/wallets/{userId}/adjust", tag = "admin",
    params(("userId" = UserId, Path)),
    request_body = AdjustBody,
    responses(
        (status = 201, body = Success<'static, AdjustReply>),
        (status = 202, body = Success<'static, AdjustReply>, description = "waits for another admin")
    ),
    security(("bearer" = []))
)]
async fn adjust(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(user): Id<UserId>,
    Attempt(once): Attempt,
    Valid(body): Valid<AdjustBody>,
) -> Answer<AdjustReply> {
    let acted = flows.adjust_wallet(&caller, user, body.amount, &body.reason, once).await?;
    let (transaction, act) = (acted.adjustment(), acted.view());
    let waits = act.status == ActStatus::Pending;
    let reply = AdjustReply { transaction, act };
    Ok(if waits { Reply::accepted(reply) } else { Reply::created(reply) })
}

/// Gives up what a rider or driver owes. Above an admin's limit it waits for a second one (202).
/// Admins only.
#[utoipa::path(
    post, path = "/admin/wallets/{userId}/write-off", tag = "admin",
    params(("userId" = UserId, Path)),
    request_body = WriteOffBody,
    responses(
        (status = 201, body = Success<'static, ActReply>),
        (status = 202, body = Success<'static, ActReply>, description = "waits for another admin")
    ),
    security(("bearer" = []))
)]
async fn write_off(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(user): Id<UserId>,
    Attempt(once): Attempt,
    Valid(body): Valid<WriteOffBody>,
) -> Answer<ActReply> {
    let acted = flows.write_off(&caller, user, body.amount, &body.reason, once).await?;
    Ok(ActReply::of(&acted))
}

/// Gives a rider back what he paid for a trip, in whole or in part, into his wallet. Needs an
/// `Idempotency-Key`. Above an admin's limit it waits for a second one (202). Admins only.
#[utoipa::path(
    post, path = "/admin/trips/{id}/refund", tag = "admin", params(("id" = TripId, Path)),
    request_body = TripRefundBody,
    responses(
        (status = 201, body = Success<'static, ActReply>),
        (status = 202, body = Success<'static, ActReply>, description = "waits for another admin")
    ),
    security(("bearer" = []))
)]
async fn refund_trip(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(trip): Id<TripId>,
    Attempt(once): Attempt,
    Valid(body): Valid<TripRefundBody>,
) -> Answer<ActReply> {
    let TripRefundBody { amount, fault, reason } = body;
    let acted = flows.refund_trip(&caller, trip, amount, fault, &reason, once).await?;
    Ok(ActReply::of(&acted))
}

/// Gives a deposit back to the card that paid it, in whole or in part: off the wallet at once, and
/// asked of the gateway. Needs an `Idempotency-Key`. Above an admin's limit it waits for a second
/// one (202). Admins only.
#[utoipa::path(
    post, path = "/admin/deposits/{orderId}/refund", tag = "admin",
    params(("orderId" = String, Path, description = "as `orderId` of the answer that began it")),
    request_body = DepositRefundBody,
    responses(
        (status = 201, body = Success<'static, ActReply>),
        (status = 202, body = Success<'static, ActReply>, description = "waits for another admin")
    ),
    security(("bearer" = []))
)]
async fn refund_deposit(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(order): Id<String>,
    Attempt(once): Attempt,
    Valid(body): Valid<DepositRefundBody>,
) -> Answer<ActReply> {
    let deposit: Reference = order.parse().map_err(|_| Problem::not_found())?;
    let DepositRefundBody { amount, reason } = body;
    let acted = flows.refund_deposit(&caller, deposit, amount, &reason, once).await?;
    Ok(ActReply::of(&acted))
}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct RefundsAsked {
    /// Those in this status only.
    status: Option<RefundStatus>,
}

impl Check for RefundsAsked {}

/// Refunds to cards and how they stand, newest first. Admins only.
#[utoipa::path(
    get, path = "/admin/refunds", tag = "admin", params(RefundsAsked, PageAsked),
    responses((status = 200, body = Success<'static, RefundsPage>)),
    security(("bearer" = []))
)]
async fn refunds(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Asked(asked): Asked<RefundsAsked>,
    Asked(page): Asked<PageAsked>,
) -> Answer<RefundsPage> {
    let found = flows.card_refunds(&caller, asked.status, page.after(), page.limit()).await?;
    Ok(Reply::ok(found))
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum SettleOutcome {
    Done,
    /// A refund's amount goes back to the wallet; a trip is left to it, and the card let go.
    Failed,
}

impl From<SettleOutcome> for FoundOut {
    fn from(outcome: SettleOutcome) -> Self {
        match outcome {
            SettleOutcome::Done => Self::Done,
            SettleOutcome::Failed => Self::Failed,
        }
    }
}

#[derive(Deserialize, ToSchema)]
struct SettleBody {
    outcome: SettleOutcome,
    #[serde(deserialize_with = "trimmed")]
    #[schema(min_length = 1, max_length = 500)]
    reason: String,
}

impl Check for SettleBody {
    fn check(&self, fields: &mut Fields) {
        checked(fields, &self.reason);
    }
}

#[derive(Serialize, ToSchema)]
struct RefundReply {
    refund: RefundView,
    /// What puts the amount on the wallet again; pending (202): it waits for a second admin.
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<ActView>,
}

/// Says what became of a refund whose answer got lost, as the gateway's own page shows it. That it
/// failed waits for a second admin above the limit of the first (202). Admins only.
#[utoipa::path(
    post, path = "/admin/refunds/{id}/settle", tag = "admin", params(("id" = RefundId, Path)),
    request_body = SettleBody,
    responses(
        (status = 200, body = Success<'static, RefundReply>),
        (status = 202, description = "waits for another admin",
            body = Success<'static, RefundReply>)
    ),
    security(("bearer" = []))
)]
async fn settle_refund(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<RefundId>,
    Attempt(once): Attempt,
    Valid(body): Valid<SettleBody>,
) -> Answer<RefundReply> {
    let found_out = body.outcome.into();
    let (refund, act) =
        flows.settle_card_refund(&caller, id, found_out, &body.reason, once).await?;
    let waits = act.as_ref().is_some_and(|act| act.status == ActStatus::Pending);
    let reply = RefundReply { refund, act };
    Ok(if waits { Reply::accepted(reply) } else { Reply::ok(reply) })
}

#[derive(Serialize, ToSchema)]
struct SettledCardReply {
    authorisation: CardView,
}

/// Says what became of a trip's capture whose answer got lost, as the gateway's own page shows it.
/// Admins only.
#[utoipa::path(
    post, path = "/admin/cards/{id}/settle", tag = "admin", params(("id" = CardId, Path)),
    request_body = SettleBody,
    responses((status = 200, body = Success<'static, SettledCardReply>)),
    security(("bearer" = []))
)]
async fn settle_card(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<CardId>,
    Valid(body): Valid<SettleBody>,
) -> Answer<SettledCardReply> {
    let outcome = body.outcome.into();
    let authorisation = flows.settle_card(&caller, id, outcome, &body.reason).await?;
    Ok(Reply::ok(SettledCardReply { authorisation }))
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct ActsAsked {
    /// Those in this status only; `pending` wait for a second admin.
    status: Option<ActStatus>,
    /// Those on this account only.
    user_id: Option<UserId>,
}

impl Check for ActsAsked {}

/// What admins did with other people's money and what waits for a second admin, newest first.
/// Admins only.
#[utoipa::path(
    get, path = "/admin/approvals", tag = "admin", params(ActsAsked, PageAsked),
    responses((status = 200, body = Success<'static, ActsPage>)),
    security(("bearer" = []))
)]
async fn acts(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Asked(asked): Asked<ActsAsked>,
    Asked(page): Asked<PageAsked>,
) -> Answer<ActsPage> {
    let filter = ActFilter { status: asked.status, user: asked.user_id };
    Ok(Reply::ok(flows.acts(&caller, &filter, page.after(), page.limit()).await?))
}

#[derive(Deserialize, ToSchema)]
struct DecideBody {
    decision: Verdict,
    #[serde(default, deserialize_with = "trimmed_option")]
    #[schema(max_length = 500)]
    reason: Option<String>,
}

impl Check for DecideBody {
    fn check(&self, fields: &mut Fields) {
        if let Some(reason) = &self.reason {
            checked(fields, reason);
        }
    }
}

/// Consents to an act, which is done by that, or declines it. Whoever asked for it can only take it
/// back. Admins only.
#[utoipa::path(
    post, path = "/admin/approvals/{id}/decide", tag = "admin", params(("id" = ActId, Path)),
    request_body = DecideBody,
    responses((status = 200, body = Success<'static, ActReply>)),
    security(("bearer" = []))
)]
async fn decide(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<ActId>,
    Attempt(once): Attempt,
    Valid(body): Valid<DecideBody>,
) -> Answer<ActReply> {
    let act = flows.decide_act(&caller, id, body.decision, body.reason.as_deref(), once).await?;
    Ok(Reply::ok(ActReply { act }))
}
