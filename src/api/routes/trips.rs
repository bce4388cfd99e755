//! `/trips`: booking, following and driving a trip.

use axum::extract::State;
use base::{Millis, PaymentMethod, Piasters, Problem, Tier, TripId, limits};
use dispatch::MatchingStatus;
use fleet::TrackView;
use flows::{Advance, Answer as Said, Answered, Flows, Step, TripRequest, TripRequested};
use serde::Deserialize;
use trips::{CancelReason, Filter, Passenger, Status, StatusView, TripList, TripView};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::asked::{Asked, Id, PageAsked};
use crate::body::Valid;
use crate::callers::{Anyone, Driver, Rider};
use crate::envelope::Success;
use crate::fields::{Check, Fields, trimmed, trimmed_option};
use crate::reply::{Answer, Reply};
use crate::routes::places::PlaceBody;

/// Most stops that are looked at; the flow knows how many are allowed.
const STOPS_READ: usize = 50;
/// Longest quote id, bytes: a few times what one has.
const QUOTE_MAX: usize = 1000;

pub(crate) fn routes() -> OpenApiRouter<Flows> {
    OpenApiRouter::new()
        .routes(routes!(request))
        .routes(routes!(list))
        .routes(routes!(read))
        .routes(routes!(matching_status))
        .routes(routes!(driver_response))
        .routes(routes!(advance))
        .routes(routes!(cancel))
        .routes(routes!(cancel_search))
        .routes(routes!(track))
}

/// A request for a trip.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct TripBody {
    pickup: PlaceBody,
    destination: PlaceBody,
    #[serde(default)]
    stops: Vec<PlaceBody>,
    vehicle_type: Tier,
    #[serde(default = "cash")]
    #[schema(default = "cash")]
    payment_method: PaymentMethod,
    /// From an estimate; without one the trip is priced now.
    #[serde(default, deserialize_with = "trimmed_option")]
    quote_id: Option<String>,
    /// What the rider was shown: checked against the quote.
    price: Option<Piasters>,
    /// Not taken yet: trips are for now.
    scheduled_at: Option<Millis>,
    passenger: Option<PassengerBody>,
}

/// Who rides, when it is not the one who books.
#[derive(Deserialize, ToSchema)]
struct PassengerBody {
    #[serde(deserialize_with = "trimmed")]
    name: String,
    #[serde(deserialize_with = "trimmed")]
    phone: String,
}

const fn cash() -> PaymentMethod {
    PaymentMethod::Cash
}

impl Check for TripBody {
    fn check(&self, fields: &mut Fields) {
        self.pickup.check("pickup", fields);
        self.destination.check("destination", fields);
        for (index, stop) in self.stops.iter().take(STOPS_READ).enumerate() {
            stop.check(&format!("stops[{index}]"), fields);
        }
        let fare = 0..=limits::FARE_MAX;
        if self.price.is_some_and(|price| !fare.contains(&price.0)) {
            fields.wrong("price", "out_of_range", "must be between 0 and 10000");
        }
        if self.quote_id.as_ref().is_some_and(|id| id.len() > QUOTE_MAX) {
            fields.wrong("quoteId", "length", "is no quote's id");
        }
        if self.scheduled_at.is_some() {
            fields.wrong("scheduledAt", "unsupported", "trips can't be booked ahead yet");
        }
        if let Some(passenger) = &self.passenger {
            fields.text("passenger.name", &passenger.name, 1, 100);
            fields.text("passenger.phone", &passenger.phone, 5, 30);
        }
    }
}

impl TripBody {
    /// `None` only for what the check refuses.
    fn request(self) -> Option<TripRequest> {
        let stops = self.stops.into_iter().take(STOPS_READ).filter_map(PlaceBody::place);
        Some(TripRequest {
            pickup: self.pickup.place()?,
            destination: self.destination.place()?,
            stops: stops.collect(),
            tier: self.vehicle_type,
            method: self.payment_method,
            quote_id: self.quote_id,
            price: self.price,
            passenger: self.passenger.map(|p| Passenger { name: p.name, phone: p.phone }),
        })
    }
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OfferAction {
    Accept,
    Decline,
}

/// A driver's word on an offer.
#[derive(Deserialize, ToSchema)]
struct ResponseBody {
    action: OfferAction,
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
struct StepBody {
    status: StepName,
    /// The rider's four digits, where the city asks for them at the start.
    #[serde(default, deserialize_with = "trimmed_option")]
    pin: Option<String>,
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

/// Asks for a trip; a driver is searched at once. Riders only.
#[utoipa::path(
    post, path = "/trips/request", tag = "trips", request_body = TripBody,
    responses((status = 201, body = Success<'static, TripRequested>)),
    security(("bearer" = []))
)]
async fn request(
    Rider(caller): Rider,
    State(flows): State<Flows>,
    Valid(body): Valid<TripBody>,
) -> Answer<TripRequested> {
    let Some(request) = body.request() else {
        return Err(Problem::field("pickup", "invalid", "must be a place").into());
    };
    Ok(Reply::created(flows.request_trip(&caller, request).await?))
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

/// Answers an offer. Drivers only.
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
    Valid(body): Valid<ResponseBody>,
) -> Answer<Answered> {
    let said = match body.action {
        OfferAction::Accept => Said::Accept,
        OfferAction::Decline => Said::Decline,
    };
    Ok(Reply::ok(flows.answer_offer(driver.id, trip, said).await?))
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
    Valid(body): Valid<StepBody>,
) -> Answer<TripView> {
    let step = match body.status {
        StepName::Arrived => Step::Arrived,
        StepName::Started => Step::Started,
        StepName::Completed => Step::Completed,
    };
    let trip = flows.advance_trip(driver.id, trip, Advance { step, pin: body.pin }).await?;
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
    Valid(body): Valid<CancelBody>,
) -> Answer<TripView> {
    let trip = flows.cancel_trip(&caller, trip, body.reason).await?;
    Ok(Reply::ok(flows.view(&caller, &trip)))
}

/// Calls the trip off while no driver was found. Riders only.
#[utoipa::path(
    post, path = "/trips/{id}/cancel-search", tag = "trips", params(("id" = TripId, Path)),
    request_body = Nothing,
    responses((status = 200, body = Success<'static, TripView>)),
    security(("bearer" = []))
)]
async fn cancel_search(
    Rider(caller): Rider,
    State(flows): State<Flows>,
    Id(trip): Id<TripId>,
    Valid(Nothing {}): Valid<Nothing>,
) -> Answer<TripView> {
    let trip = flows.cancel_search(&caller, trip).await?;
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
