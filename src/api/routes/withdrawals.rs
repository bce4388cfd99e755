//! `/payment/withdraw`: drivers take money out, admins decide, the payout provider tells.

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use base::{DriverId, Piasters, Problem, limits, trimmed, trimmed_option};
use flows::{Flows, Ruling};
use payments::{
    Act, PayoutAccount, PayoutChannel, PayoutMethod, WithdrawalFilter, WithdrawalId,
    WithdrawalStatus, WithdrawalView, WithdrawalsPage,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::asked::{Asked, Id, PageAsked};
use crate::body::{Valid, too_large};
use crate::callers::{Admin, Driver};
use crate::envelope::{Failure, Success};
use crate::fields::{Check, Fields};
use crate::keyed::Attempt;
use crate::reply::{Answer, Reply};

/// Carries the payout provider's signature of what it tells.
const SIGNATURE: &str = "x-payout-signature";
const REASON_MAX: usize = 500;
const REFERENCE_MAX: usize = 100;

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .routes(routes!(request))
        .routes(routes!(own))
        .routes(routes!(manage))
        .routes(routes!(list))
        .routes(routes!(one))
        .routes(routes!(callback))
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WithdrawBody {
    amount: Piasters,
    method: PayoutMethod,
    /// An IBAN, a mobile number or an InstaPay address, by method.
    #[serde(deserialize_with = "trimmed")]
    account_number: String,
}

impl WithdrawBody {
    fn account(&self) -> Result<PayoutAccount, payments::NotAnAccount> {
        PayoutAccount::parse(self.method, &self.account_number)
    }
}

impl Check for WithdrawBody {
    fn check(&self, fields: &mut Fields) {
        if self.amount <= Piasters::ZERO {
            fields.wrong("amount", "out_of_range", "must be more than zero");
        }
        if let Err(why) = self.account() {
            fields.wrong("accountNumber", "invalid", &why.to_string());
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ManageAction {
    /// It may be paid out: by the provider at once, or by hand.
    Approve,
    /// The amount is the driver's again.
    Reject,
    /// An approved one was ordered at the bank, by hand.
    Sent,
    /// It arrived.
    Confirm,
    /// One that was sent by hand came back.
    Fail,
}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ManageBody {
    request_id: WithdrawalId,
    action: ManageAction,
    /// Needed to reject, and when it came back: the driver reads it.
    #[serde(default, deserialize_with = "trimmed_option")]
    reason: Option<String>,
    /// What the bank calls the transfer; needed when it was sent by hand.
    #[serde(default, deserialize_with = "trimmed_option")]
    bank_reference: Option<String>,
}

impl Check for ManageBody {
    fn check(&self, fields: &mut Fields) {
        match (&self.reason, self.action) {
            (Some(reason), _) => fields.text("reason", reason, 1, REASON_MAX),
            (None, ManageAction::Reject | ManageAction::Fail) => {
                fields.wrong("reason", "required", "is required");
            }
            (None, ManageAction::Approve | ManageAction::Sent | ManageAction::Confirm) => {}
        }
        match (&self.bank_reference, self.action) {
            (Some(reference), _) => fields.text("bankReference", reference, 1, REFERENCE_MAX),
            (None, ManageAction::Sent) => fields.wrong("bankReference", "required", "is required"),
            (None, _) => {}
        }
    }
}

#[derive(Deserialize, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
struct WithdrawalsAsked {
    /// Those in this status only.
    status: Option<WithdrawalStatus>,
    /// This driver's only.
    driver_id: Option<DriverId>,
}

impl Check for WithdrawalsAsked {}

#[derive(Serialize, ToSchema)]
struct WithdrawalReply {
    request: WithdrawalView,
}

/// Asks for money to be paid out. The amount is set aside until an admin has decided; one request
/// at a time. Needs an `Idempotency-Key`. Drivers only.
#[utoipa::path(
    post, path = "/payment/withdraw/request", tag = "payment", request_body = WithdrawBody,
    responses((status = 201, body = Success<'static, WithdrawalReply>)),
    security(("bearer" = []))
)]
async fn request(
    Driver { caller, .. }: Driver,
    State(flows): State<Flows>,
    Attempt(once): Attempt,
    Valid(body): Valid<WithdrawBody>,
) -> Answer<WithdrawalReply> {
    let account = body.account().map_err(|why| {
        // It was checked with the body.
        Problem::field("accountNumber", "invalid", &why.to_string())
    })?;
    let request = flows.request_withdrawal(&caller, body.amount, account, once).await?;
    Ok(Reply::created(WithdrawalReply { request }))
}

/// The driver's own withdrawals, newest first; account numbers show their end. Drivers only.
#[utoipa::path(
    get, path = "/payment/withdrawals", tag = "payment", params(PageAsked),
    responses((status = 200, body = Success<'static, WithdrawalsPage>)),
    security(("bearer" = []))
)]
async fn own(
    Driver { caller, .. }: Driver,
    State(flows): State<Flows>,
    Asked(page): Asked<PageAsked>,
) -> Answer<WithdrawalsPage> {
    Ok(Reply::ok(flows.own_withdrawals(&caller, page.after(), page.limit()).await?))
}

/// Approves or rejects a withdrawal, or says what became of one that is paid out by hand. Admins
/// only.
#[utoipa::path(
    post, path = "/payment/withdraw/manage", tag = "admin", request_body = ManageBody,
    responses(
        (status = 200, body = Success<'static, WithdrawalReply>),
        (status = 404, body = Failure<'static>, description = "there is no such request"),
    ),
    security(("bearer" = []))
)]
async fn manage(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Attempt(once): Attempt,
    Valid(body): Valid<ManageBody>,
) -> Answer<WithdrawalReply> {
    let act = match body.action {
        ManageAction::Approve => Act::Approve,
        ManageAction::Reject => Act::Reject,
        ManageAction::Sent => Act::Send(PayoutChannel::Hand),
        ManageAction::Confirm => Act::Confirm,
        ManageAction::Fail => Act::Fail,
    };
    let ManageBody { request_id, reason, bank_reference, .. } = body;
    let ruling = Ruling { act, reason, bank_reference };
    let request = flows.rule_on_withdrawal(&caller, request_id, ruling, once).await?;
    Ok(Reply::ok(WithdrawalReply { request }))
}

/// Everybody's withdrawals, newest first. Admins only.
#[utoipa::path(
    get, path = "/admin/withdrawals", tag = "admin", params(WithdrawalsAsked, PageAsked),
    responses((status = 200, body = Success<'static, WithdrawalsPage>)),
    security(("bearer" = []))
)]
async fn list(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Asked(asked): Asked<WithdrawalsAsked>,
    Asked(page): Asked<PageAsked>,
) -> Answer<WithdrawalsPage> {
    let filter = WithdrawalFilter { status: asked.status, driver: asked.driver_id };
    Ok(Reply::ok(flows.withdrawals(&caller, &filter, page.after(), page.limit()).await?))
}

/// One withdrawal with the whole number of its account, for whoever pays it out by hand; the look
/// is recorded. Admins only.
#[utoipa::path(
    get, path = "/admin/withdrawals/{id}", tag = "admin", params(("id" = WithdrawalId, Path)),
    responses((status = 200, body = Success<'static, WithdrawalReply>)),
    security(("bearer" = []))
)]
async fn one(
    Admin(caller): Admin,
    State(flows): State<Flows>,
    Id(id): Id<WithdrawalId>,
) -> Answer<WithdrawalReply> {
    Ok(Reply::ok(WithdrawalReply { request: flows.withdrawal(&caller, id).await? }))
}

/// What the payout provider tells: which payout changed. It is asked how; nothing said here is
/// booked.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document: the bytes themselves are verified")]
struct PayoutNotice {
    /// As it was given with the payout.
    reference: String,
}

#[derive(Serialize, ToSchema)]
struct NoticeTaken {
    /// Always true.
    taken: bool,
}

/// Something changed about a payout, told by the provider, who signs it in `x-payout-signature`.
#[utoipa::path(
    post, path = "/payment/payout/callback", tag = "webhooks", request_body = PayoutNotice,
    params(("x-payout-signature" = String, Header, description = "HMAC-SHA256, lowercase hex")),
    responses(
        (status = 200, body = Success<'static, NoticeTaken>),
        (status = 401, body = Failure<'static>, description = "not signed by the provider")
    )
)]
async fn callback(
    State(flows): State<Flows>,
    headers: HeaderMap,
    request: Request,
) -> Answer<NoticeTaken> {
    let body = to_bytes(request.into_body(), limits::BODY_BYTES).await.map_err(|_| too_large())?;
    let signature = headers.get(SIGNATURE).and_then(|value| value.to_str().ok());
    flows.payout_notice(&body, signature.unwrap_or_default()).await?;
    Ok(Reply::ok(NoticeTaken { taken: true }))
}
