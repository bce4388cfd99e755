//! How trips look from outside: JSON of REST answers and of trip rooms (SPEC 11).

use base::{DriverId, Millis, PaymentMethod, Piasters, RiderId, Tier, TripId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::event::{EventName, TripEvent};
use crate::model::{CancelReason, Passenger, PaymentStatus, Place, Side, Status, Trip};

/// A trip's status as it is read from outside: a completed trip that could not be paid says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum StatusView {
    Scheduled,
    Requested,
    Accepted,
    Arrived,
    Started,
    Completed,
    PaymentFailed,
    Cancelled,
    NoDrivers,
}

impl StatusView {
    pub const fn of(status: Status, payment: PaymentStatus) -> Self {
        match (status, payment) {
            (Status::Completed, PaymentStatus::Failed) => Self::PaymentFailed,
            (Status::Completed, PaymentStatus::Pending | PaymentStatus::Paid) => Self::Completed,
            (Status::Scheduled, _) => Self::Scheduled,
            (Status::Requested, _) => Self::Requested,
            (Status::Accepted, _) => Self::Accepted,
            (Status::Arrived, _) => Self::Arrived,
            (Status::Started, _) => Self::Started,
            (Status::Cancelled, _) => Self::Cancelled,
            (Status::NoDrivers, _) => Self::NoDrivers,
        }
    }
}

/// What a rider sees of his driver.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriverCard {
    pub id: DriverId,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vehicle: Option<VehicleCard>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lat: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lng: Option<f64>,
}

/// The car to look for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VehicleCard {
    #[serde(rename = "type")]
    pub tier: Tier,
    pub make: String,
    pub model: String,
    pub plate: String,
    pub color: String,
}

/// Who rides, when it is not the one who booked. A driver learns the name, never the phone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PassengerView {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
}

impl PassengerView {
    fn of(passenger: &Passenger, viewer: Side) -> Self {
        let phone = match viewer {
            Side::Rider | Side::Admin | Side::System => Some(passenger.phone.clone()),
            Side::Driver => None,
        };
        Self { name: passenger.name.clone(), phone }
    }
}

/// A trip, as `GET /trips/{id}` answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TripView {
    pub id: TripId,
    pub status: StatusView,
    pub payment_status: PaymentStatus,
    pub rider_id: RiderId,
    pub driver_id: Option<DriverId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<DriverCard>,
    pub pickup: Place,
    pub destination: Place,
    pub stops: Vec<Place>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passenger: Option<PassengerView>,
    pub vehicle_type: Tier,
    pub payment_method: PaymentMethod,
    pub price: Piasters,
    /// What the company pays of the price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promo: Option<Piasters>,
    /// What the rider pays: the price without the promo; in cash, as there are coins for it.
    #[serde(default)]
    pub to_pay: Piasters,
    pub final_price: Option<Piasters>,
    pub surge_multiplier: f32,
    /// Metres: driven once completed, quoted before.
    pub distance: u32,
    /// Seconds: driven once completed, quoted before.
    pub duration: u32,
    /// The start PIN, for the rider's eyes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pin: Option<String>,
    /// The number of the trip's last event.
    pub seq: i32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancelled_by: Option<Side>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_reason: Option<CancelReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_fee: Option<Piasters>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheduled_at: Option<Millis>,
    /// Until then the driver must say again that he comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_by: Option<Millis>,
    pub requested_at: Millis,
    pub accepted_at: Option<Millis>,
    pub arrived_at: Option<Millis>,
    pub started_at: Option<Millis>,
    pub ended_at: Option<Millis>,
    pub created_at: Millis,
}

impl TripView {
    /// As `viewer` may see it: the PIN is the rider's (and an admin's), the driver is told it.
    pub fn of(trip: &Trip, viewer: Side) -> Self {
        let pin = match viewer {
            Side::Rider | Side::Admin | Side::System => trip.pin.clone(),
            Side::Driver => None,
        };
        Self {
            id: trip.id,
            status: StatusView::of(trip.status, trip.payment_status),
            payment_status: trip.payment_status,
            rider_id: trip.rider,
            driver_id: trip.driver,
            driver: None,
            pickup: trip.pickup.clone(),
            destination: trip.destination.clone(),
            stops: trip.stops.clone(),
            passenger: trip.passenger.as_ref().map(|who| PassengerView::of(who, viewer)),
            vehicle_type: trip.tier,
            payment_method: trip.method,
            price: trip.price,
            promo: (trip.promo > Piasters::ZERO).then_some(trip.promo),
            to_pay: trip.to_pay(),
            final_price: trip.final_price,
            surge_multiplier: trip.surge,
            distance: trip.distance_m.unwrap_or(trip.quoted_distance_m),
            duration: trip.duration_s.unwrap_or(trip.quoted_duration_s),
            pin,
            seq: trip.version,
            cancelled_by: trip.cancelled_by,
            cancel_reason: trip.cancel_reason,
            cancel_fee: (trip.cancel_fee > Piasters::ZERO).then_some(trip.cancel_fee),
            scheduled_at: trip.scheduled_at,
            confirm_by: trip.confirm_by,
            requested_at: trip.requested_at,
            accepted_at: trip.accepted_at,
            arrived_at: trip.arrived_at,
            started_at: trip.started_at,
            ended_at: trip.ended_at,
            created_at: trip.created_at,
        }
    }

    #[must_use]
    pub fn with_driver(mut self, driver: DriverCard) -> Self {
        self.driver = Some(driver);
        self
    }
}

/// A page of trips, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TripList {
    pub trips: Vec<TripView>,
    pub next_cursor: Option<String>,
}

/// The data of a `trip.event`; its number travels in the frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TripEventView {
    pub trip_id: TripId,
    pub event: EventName,
    pub status: StatusView,
    pub payment_status: PaymentStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver_id: Option<DriverId>,
    pub at: Millis,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<CancelReason>,
    /// What the trip costs from here on, where the event changed it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Piasters>,
    /// Until then the driver must say again that he comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_by: Option<Millis>,
}

impl From<&TripEvent> for TripEventView {
    fn from(event: &TripEvent) -> Self {
        Self {
            trip_id: event.trip_id,
            event: event.event,
            status: StatusView::of(event.status, event.payment_status),
            payment_status: event.payment_status,
            driver_id: event.driver_id,
            at: event.at,
            reason: event.reason,
            price: event.price,
            confirm_by: event.confirm_by,
        }
    }
}
