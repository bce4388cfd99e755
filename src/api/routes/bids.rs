//! `/trips/{id}/offers`: the prices that drivers bid, for the rider to pick one.

use axum::extract::State;
use base::{OfferId, Piasters, TripId};
use flows::{BidsView, Flows};
use serde::Deserialize;
use trips::TripView;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::asked::Id;
use crate::body::Valid;
use crate::callers::Rider;
use crate::envelope::{Failure, Success};
use crate::fields::Check;
use crate::keyed::Attempt;
use crate::reply::{Answer, Reply};

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(pick))
}

/// What the rider saw of the bid.
#[derive(Deserialize, ToSchema)]
struct PickBody {
    /// Refused when the bid is of another price by now. May be absent where the bid was never
    /// raised.
    #[schema(minimum = 0, maximum = 10000)]
    price: Option<Piasters>,
}

impl Check for PickBody {}

/// The bids that can be picked, the lowest first. The trip's rider only.
#[utoipa::path(
    get, path = "/trips/{id}/offers", tag = "trips", params(("id" = TripId, Path)),
    responses((status = 200, body = Success<'static, BidsView>)),
    security(("bearer" = []))
)]
async fn list(
    Rider(caller): Rider,
    State(flows): State<Flows>,
    Id(trip): Id<TripId>,
) -> Answer<BidsView> {
    Ok(Reply::ok(flows.bids(&caller, trip).await?))
}

/// Takes a bid: its driver has the trip, for its price. The trip's rider only.
#[utoipa::path(
    post, path = "/trips/{id}/offers/{offerId}/accept", tag = "trips",
    params(("id" = TripId, Path), ("offerId" = OfferId, Path)),
    request_body = Option<PickBody>,
    responses(
        (status = 200, body = Success<'static, TripView>),
        (status = 409, body = Failure<'static>,
            description = "the bid is over or of another price, its driver is gone, the wallet or \
                the card doesn't cover it, or the trip has a driver")
    ),
    security(("bearer" = []))
)]
async fn pick(
    Rider(caller): Rider,
    State(flows): State<Flows>,
    Id((trip, offer)): Id<(TripId, OfferId)>,
    Attempt(once): Attempt,
    Valid(body): Valid<PickBody>,
) -> Answer<TripView> {
    let trip = flows.pick_bid(&caller, trip, offer, body.price, once).await?;
    Ok(Reply::ok(flows.view(&caller, &trip)))
}
