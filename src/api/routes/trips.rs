//! `/trips`: booking, following and driving a trip.

use axum::extract::State;
use base::{Piasters, TripId, trimmed_option};
use dispatch::MatchingStatus;
use fleet::TrackView;
use flows::{
    Advance, Answer as Said, Answered, CashView, Flows, OfferAction, ReceiptView, Step, TipView,
    TripForm, TripRequested,
};
use serde::Deserialize;
use trips::{CancelReason, Filter, Status, StatusView, TripList, TripView};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::asked::{Asked, Id, PageAsked};
use crate::body::Valid;
use crate::callers::{Anyone, Driver, Rider};
use crate::envelope::{Failure, Success};
use crate::fields::{Check, Fields};
use crate::keyed::Attempt;
use crate::reply::{Answer, Reply};

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .routes(routes!(request))
        .routes(routes!(list))
        .routes(routes!(read))
        .routes(routes!(matching_status))
        .routes(routes!(driver_response))
        .routes(routes!(confirm))
        .routes(routes!(advance))
        .routes(routes!(cancel))
        .routes(routes!(cancel_search))
        .routes(routes!(track))
        .routes(routes!(pay))
        .routes(routes!(tip))
        .routes(routes!(cash))
        .routes(routes!(receipt))
}

// It checks itself while it becomes a request, over the socket too.
impl Check for TripForm {}

/// A driver's word on an offer.
#[derive(Deserialize, ToSchema)]
struct ResponseBody {
    action: OfferAction,
    /// With a bid: within the offer's `bid`.
    #[schema(minimum = 0, maximum = 10000)]
    price: Option<Piasters>,
}

impl Check for ResponseBody {}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum StepName {
    Arrived,
    Started,
    Completed,
}

/// A step of the trip under way.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct StepBody {
    status: StepName,
    /// The rider's four digits, where the city asks for them at the start.
    #[serde(default, deserialize_with = "trimmed_option")]
    pin: Option<String>,
    /// What the driver was given, at the end of a trip paid in cash: too much goes into the
    /// rider's wallet, too little is owed. As it should be, when absent.
    cash_collected: Option<Piasters>,
}

impl Check for StepBody {
    fn check(&self, fields: &mut Fields) {
        if self.pin.as_ref().is_some_and(|pin| pin.len() > 16) {
            fields.wrong("pin", "length", "must have four digits");
        }
    }
}

#[derive(Deserialize, ToSchema)]
struct CancelBody {
    reason: CancelReason,
}

impl Check for CancelBody {}

/// Nothing needs to be said.
#[derive(Deserialize, ToSchema)]
struct Nothing {}

impl Check for Nothing {}

#[derive(Deserialize, ToSchema)]
struct TipBody {
    /// 1 to 500.
    #[schema(minimum = 1, maximum = 500)]
    amount: Piasters,
}

impl Check for TipBody {}

#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct CashBody {
    /// All that was given.
    #[schema(minimum = 0)]
    cash_collected: Piasters,
}

impl Check for CashBody {}

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
struct TripsAsked {
    /// Trips in this status only.
    status: Option<StatusView>,
}

impl Check for TripsAsked {}

impl TripsAsked {
    /// A completed trip that could not be paid is stored as completed and read as failed.
    fn filter(&self) -> Filter {
        let status = match self.status {
            None => return Filter::default(),
            Some(StatusView::Scheduled) => Status::Scheduled,
            Some(StatusView::Requested) => Status::Requested,
            Some(StatusView::Accepted) => Status::Accepted,
            Some(StatusView::Arrived) => Status::Arrived,
            Some(StatusView::Started) => Status::Started,
            Some(StatusView::Completed | StatusView::PaymentFailed) => Status::Completed,
            Some(StatusView::Cancelled) => Status::Cancelled,
            Some(StatusView::NoDrivers) => Status::NoDrivers,
        };
        let failed = self.status == Some(StatusView::PaymentFailed);
        Filter {
            status: Some(status),
            payment_failed: (status == Status::Completed).then_some(failed),
        }
    }
}

/// Asks for a trip; a driver is searched at once, or in time for `scheduledAt`. Riders only.
#[utoipa::path(
    post, path = "/trips/request", tag = "trips", request_body = TripForm,
    responses((status = 201, body = Success<'static, TripRequested>)),
    security(("bearer" = []))
)]
async fn request(
    Rider(caller): Rider,
    State(flows): State<Flows>,
    Attempt(once): Attempt,
    Valid(form): Valid<TripForm>,
) -> Answer<TripRequested> {
    Ok(Reply::created(flows.request_trip(&caller, form.request()?, once).await?))
}

/// The caller's trips, newest first; an admin sees all.
#[utoipa::path(
    get, path = "/trips", tag = "trips", params(TripsAsked, PageAsked),
    responses((status = 200, body = Success<'static, TripList>)),
    security(("bearer" = []))
)]
async fn list(
    Anyone(caller): Anyone,
    State(flows): State<Flows>,
    Asked(asked): Asked<TripsAsked>,
    Asked(page): Asked<PageAsked>,
) -> Answer<TripList> {
    let trips = flows.trips(&caller, &asked.filter(), page.after(), page.limit()).await?;
    Ok(Reply::ok(trips))
}

/// A trip of the caller's own; an admin sees any.
#[utoipa::path(
    get, path = "/trips/{id}", tag = "trips", params(("id" = TripId, Path)),
    responses((status = 200, body = Success<'static, TripView>)),
    security(("bearer" = []))
)]
async fn read(
    Anyone(caller): Anyone,
    State(flows): State<Flows>,
    Id(trip): Id<TripId>,
) -> Answer<TripView> {
    Ok(Reply::ok(flows.trip(&caller, trip).await?))
}

/// How the search for a driver stands.
#[utoipa::path(
    get, path = "/trips/{id}/matching-status", tag = "trips", params(("id" = TripId, Path)),
    responses((status = 200, body = Success<'static, MatchingStatus>)),
    security(("bearer" = []))
)]
async fn matching_status(
    Anyone(caller): Anyone,
    State(flows): State<Flows>,
    Id(trip): Id<TripId>,
) -> Answer<MatchingStatus> {
    Ok(Reply::ok(flows.matching_status(&caller, trip).await?))
}

/// Answers an offer; where prices are bid, with a price. Drivers only.
#[utoipa::path(
    post, path = "/trips/{id}/driver-response", tag = "trips", params(("id" = TripId, Path)),
    request_body = ResponseBody,
    responses((status = 200, body = Success<'static, Answered>)),
    security(("bearer" = []))
)]
async fn driver_response(
    driver: Driver,
    State(flows): State<Flows>,
    Id(trip): Id<TripId>,
    Attempt(once): Attempt,
    Valid(body): Valid<ResponseBody>,
) -> Answer<Answered> {
    let said = Said::of(body.action, body.price)?;
    Ok(Reply::ok(flows.answer_offer(driver.id, trip, said, once).await?))
}

/// Says again that the driver comes to a trip that was booked ahead, where the trip has a
/// `confirmBy`: who doesn't by then loses it. The trip's driver only.
#[utoipa::path(
    post, path = "/trips/{id}/confirm", tag = "trips", params(("id" = TripId, Path)),
    request_body = Option<Nothing>,
    responses(
        (status = 200, body = Success<'static, TripView>),
        (status = 409, body = Failure<'static>,
            description = "the time is over, or the trip is not one to confirm")
    ),
    security(("bearer" = []))
)]
async fn confirm(
    driver: Driver,
    State(flows): State<Flows>,
    Id(trip): Id<TripId>,
    Attempt(once): Attempt,
    Valid(Nothing {}): Valid<Nothing>,
) -> Answer<TripView> {
    let trip = flows.confirm_trip(driver.id, trip, once).await?;
    Ok(Reply::ok(flows.view(&driver.caller, &trip)))
}

/// Moves the trip along. The trip's driver only.
#[utoipa::path(
    post, path = "/trips/{id}/status", tag = "trips", params(("id" = TripId, Path)),
    request_body = StepBody,
    responses((status = 200, body = Success<'static, TripView>)),
    security(("bearer" = []))
)]
async fn advance(
    driver: Driver,
    State(flows): State<Flows>,
    Id(trip): Id<TripId>,
    Attempt(once): Attempt,
    Valid(body): Valid<StepBody>,
) -> Answer<TripView> {
    let step = match body.status {
        StepName::Arrived => Step::Arrived,
        StepName::Started => Step::Started,
        StepName::Completed => Step::Completed,
    };
    let advance = Advance { step, pin: body.pin, cash: body.cash_collected };
    let trip = flows.advance_trip(driver.id, trip, advance, once).await?;
    Ok(Reply::ok(flows.view(&driver.caller, &trip)))
}

/// Calls the trip off. By its driver: another one is searched.
#[utoipa::path(
    post, path = "/trips/{id}/cancel", tag = "trips", params(("id" = TripId, Path)),
    request_body = CancelBody,
    responses((status = 200, body = Success<'static, TripView>)),
    security(("bearer" = []))
)]
async fn cancel(
    Anyone(caller): Anyone,
    State(flows): State<Flows>,
    Id(trip): Id<TripId>,
    Attempt(once): Attempt,
    Valid(body): Valid<CancelBody>,
) -> Answer<TripView> {
    let trip = flows.cancel_trip(&caller, trip, body.reason, once).await?;
    Ok(Reply::ok(flows.view(&caller, &trip)))
}

/// Calls the trip off while no driver was found. Riders only.
#[utoipa::path(
    post, path = "/trips/{id}/cancel-search", tag = "trips", params(("id" = TripId, Path)),
    request_body = Option<Nothing>,
    responses((status = 200, body = Success<'static, TripView>)),
    security(("bearer" = []))
)]
async fn cancel_search(
    Rider(caller): Rider,
    State(flows): State<Flows>,
    Id(trip): Id<TripId>,
    Attempt(once): Attempt,
    Valid(Nothing {}): Valid<Nothing>,
) -> Answer<TripView> {
    let trip = flows.cancel_search(&caller, trip, once).await?;
    Ok(Reply::ok(flows.view(&caller, &trip)))
}

/// The way that was driven.
#[utoipa::path(
    get, path = "/trips/{id}/track", tag = "trips", params(("id" = TripId, Path)),
    responses((status = 200, body = Success<'static, TrackView>)),
    security(("bearer" = []))
)]
async fn track(
    Anyone(caller): Anyone,
    State(flows): State<Flows>,
    Id(trip): Id<TripId>,
) -> Answer<TrackView> {
    Ok(Reply::ok(flows.track(&caller, trip).await?))
}

/// Pays a completed trip that could not be paid at its end, from the wallet as it is now. A trip
/// that is paid already is answered as it is. Riders only.
#[utoipa::path(
    post, path = "/trips/{id}/pay", tag = "trips", params(("id" = TripId, Path)),
    request_body = Option<Nothing>,
    responses((status = 200, body = Success<'static, TripView>)),
    security(("bearer" = []))
)]
async fn pay(
    Rider(caller): Rider,
    State(flows): State<Flows>,
    Id(trip): Id<TripId>,
    Valid(Nothing {}): Valid<Nothing>,
) -> Answer<TripView> {
    Ok(Reply::ok(flows.pay_trip(&caller, trip).await?))
}

/// Tips the driver of a completed trip from the wallet: within three days, once. Riders only.
#[utoipa::path(
    post, path = "/trips/{id}/tip", tag = "trips", params(("id" = TripId, Path)),
    request_body = TipBody,
    responses((status = 201, body = Success<'static, TipView>)),
    security(("bearer" = []))
)]
async fn tip(
    Rider(caller): Rider,
    State(flows): State<Flows>,
    Id(trip): Id<TripId>,
    Attempt(once): Attempt,
    Valid(body): Valid<TipBody>,
) -> Answer<TipView> {
    Ok(Reply::created(flows.tip_driver(&caller, trip, body.amount, once).await?))
}

/// Says what was given in cash, within an hour after the trip: once, where the completion did not
/// say it. The trip's driver only.
#[utoipa::path(
    post, path = "/trips/{id}/cash", tag = "trips", params(("id" = TripId, Path)),
    request_body = CashBody,
    responses((status = 200, body = Success<'static, CashView>)),
    security(("bearer" = []))
)]
async fn cash(
    driver: Driver,
    State(flows): State<Flows>,
    Id(trip): Id<TripId>,
    Attempt(once): Attempt,
    Valid(body): Valid<CashBody>,
) -> Answer<CashView> {
    Ok(Reply::ok(flows.report_cash(&driver.caller, trip, body.cash_collected, once).await?))
}

/// What an ended trip cost (for its rider) and earned (for its driver); an admin sees both.
#[utoipa::path(
    get, path = "/trips/{id}/receipt", tag = "trips", params(("id" = TripId, Path)),
    responses(
        (status = 200, body = Success<'static, ReceiptView>),
        (status = 409, body = Failure<'static>, description = "the trip has not ended")
    ),
    security(("bearer" = []))
)]
async fn receipt(
    Anyone(caller): Anyone,
    State(flows): State<Flows>,
    Id(trip): Id<TripId>,
) -> Answer<ReceiptView> {
    Ok(Reply::ok(flows.receipt(&caller, trip).await?))
}
