//! `/payment`: money comes in through the gateway.

use axum::body::to_bytes;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use base::{Code, Piasters, Problem, limits};
use flows::Flows;
use payments::{CardId, CardOpened, CardView, DepositOpened, DepositView, Reference};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::asked::Id;
use crate::body::{Valid, too_large};
use crate::callers::{Member, Rider};
use crate::envelope::{Failure, Success};
use crate::fields::{Check, Fields};
use crate::keyed::Attempt;
use crate::reply::{Answer, Refusal, Reply};

/// Carries the gateway's signature of what it tells.
const SIGNATURE: &str = "x-kashier-signature";

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .routes(routes!(open_deposit))
        .routes(routes!(deposit))
        .routes(routes!(open_card))
        .routes(routes!(card))
        .routes(routes!(callback))
        .routes(routes!(back))
}

#[derive(Deserialize, ToSchema)]
struct DepositBody {
    /// Added to the rider's wallet, or to the driver's account, once it is paid; of a card's
    /// authorisation: reserved, to pay for a trip.
    amount: Piasters,
}

impl Check for DepositBody {
    fn check(&self, fields: &mut Fields) {
        if self.amount <= Piasters::ZERO {
            fields.wrong("amount", "out_of_range", "must be more than zero");
        }
    }
}

#[derive(Serialize, ToSchema)]
struct DepositReply {
    deposit: DepositView,
}

/// What the gateway tells, as far as it is read here; its signature says which members are signed.
#[derive(ToSchema)]
#[expect(dead_code, reason = "for the document: the bytes themselves are verified")]
struct GatewayNotice {
    /// `pay`, `capture`, `refund`, …
    event: String,
    #[schema(value_type = Object)]
    data: (),
}

/// Begins a top-up: of a rider's wallet, or of a driver's account, which pays what he owes. Needs
/// an `Idempotency-Key`; the same again gives the same order. Riders and drivers.
#[utoipa::path(
    post, path = "/payment/deposit/init", tag = "payment", request_body = DepositBody,
    responses((status = 201, body = Success<'static, DepositOpened>)),
    security(("bearer" = []))
)]
async fn open_deposit(
    Member(caller): Member,
    State(flows): State<Flows>,
    Attempt(once): Attempt,
    Valid(body): Valid<DepositBody>,
) -> Answer<DepositOpened> {
    Ok(Reply::created(flows.open_deposit(&caller, body.amount, once).await?))
}

/// How a deposit of the caller's stands, as after the gateway's page. Riders and drivers.
#[utoipa::path(
    get, path = "/payment/deposits/{orderId}", tag = "payment",
    params(("orderId" = String, Path, description = "as `orderId` of the answer that began it")),
    responses((status = 200, body = Success<'static, DepositReply>)),
    security(("bearer" = []))
)]
async fn deposit(
    Member(caller): Member,
    State(flows): State<Flows>,
    Id(order): Id<String>,
) -> Answer<DepositReply> {
    let reference: Reference = order.parse().map_err(|_| Problem::not_found())?;
    Ok(Reply::ok(DepositReply { deposit: flows.deposit(&caller, reference).await? }))
}

#[derive(Serialize, ToSchema)]
struct CardReply {
    authorisation: CardView,
}

/// Begins what is authorised on a card before a trip is booked that it pays for: the rider goes to
/// the gateway's page, and books with `cardAuthorisation` once it is `authorised`. Each pays for
/// one trip; what the trip does not need is let go. Needs an `Idempotency-Key`. Riders only.
#[utoipa::path(
    post, path = "/payment/card/init", tag = "payment", request_body = DepositBody,
    responses((status = 201, body = Success<'static, CardOpened>)),
    security(("bearer" = []))
)]
async fn open_card(
    Rider(caller): Rider,
    State(flows): State<Flows>,
    Attempt(once): Attempt,
    Valid(body): Valid<DepositBody>,
) -> Answer<CardOpened> {
    Ok(Reply::created(flows.open_card(&caller, body.amount, once).await?))
}

/// How an authorisation of the caller's stands, as after the gateway's page. Riders only.
#[utoipa::path(
    get, path = "/payment/card/{id}", tag = "payment", params(("id" = CardId, Path)),
    responses((status = 200, body = Success<'static, CardReply>)),
    security(("bearer" = []))
)]
async fn card(
    Rider(caller): Rider,
    State(flows): State<Flows>,
    Id(id): Id<CardId>,
) -> Answer<CardReply> {
    Ok(Reply::ok(CardReply { authorisation: flows.card(&caller, id).await? }))
}

/// What became of a payment, told by the gateway, who signs what it says in `x-kashier-signature`.
/// Told again, it is taken again and counts once.
#[utoipa::path(
    post, path = "/payment/callback", tag = "webhooks", request_body = GatewayNotice,
    params(("x-kashier-signature" = String, Header, description = "HMAC-SHA256, lowercase hex")),
    responses(
        (status = 200, body = Success<'static, Taken>),
        (status = 401, body = Failure<'static>, description = "not signed by the gateway")
    )
)]
async fn callback(
    State(flows): State<Flows>,
    headers: HeaderMap,
    request: Request,
) -> Answer<Taken> {
    let body = to_bytes(request.into_body(), limits::BODY_BYTES).await.map_err(|_| too_large())?;
    let signature = headers.get(SIGNATURE).and_then(|value| value.to_str().ok());
    flows.gateway_notice(&body, signature.unwrap_or_default()).await?;
    Ok(Reply::ok(Taken { taken: true }))
}

#[derive(Serialize, ToSchema)]
struct Taken {
    /// Always true.
    taken: bool,
}

/// Where the gateway's page sends the browser afterwards: goes on to the app, which asks how the
/// deposit stands. What the query says is not believed.
#[utoipa::path(
    get, path = "/payment/return", tag = "payment",
    responses((status = 303, description = "to the app, with `orderId` where the gateway sent it"))
)]
async fn back(
    State(flows): State<Flows>,
    RawQuery(query): RawQuery,
) -> Result<(StatusCode, [(header::HeaderName, HeaderValue); 1]), Refusal> {
    let target = flows.back_from_gateway(query.as_deref().unwrap_or_default()).await?;
    let target = HeaderValue::from_str(&target).map_err(|_| {
        let mut problem = Problem::new(Code::Internal, "something went wrong on our side");
        problem.cause = Some("the app's address is no header value".to_owned());
        problem
    })?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, target)]))
}
