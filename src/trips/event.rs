//! What happened to a trip: facts with gapless numbers, from which its row follows.
//!
//! Guarantees: [`evolve`] over a trip's events in order gives its row (T5). An event names people
//! by their ids only and holds no place, no address and no PIN, so that a person can be erased
//! without touching it.

use std::fmt;

use base::{CityId, DriverId, Millis, OfferId, PaymentMethod, Piasters, RiderId, Tier, TripId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::model::{CancelReason, PaymentStatus, Side, Status, Trip};

/// What may happen to a trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventName {
    /// Booked for later.
    Scheduled,
    /// A driver is searched from now on.
    Requested,
    Accepted,
    /// Accepted by a driver who is still ending another trip.
    Queued,
    /// A queued trip's turn has come.
    Activated,
    /// The driver, who accepted early, says again that he comes.
    Confirmed,
    Arrived,
    Started,
    Completed,
    /// A completed trip is paid after its end: by its card, or after it could not be paid.
    Paid,
    /// The card of a completed trip did not pay.
    PaymentFailed,
    Cancelled,
    /// The driver gave the trip back, or it was taken from him (`reason`); another is searched.
    DriverCancelled,
    /// The trip has another driver.
    Reassigned,
    NoDrivers,
}

impl EventName {
    pub const ALL: [Self; 15] = [
        Self::Scheduled,
        Self::Requested,
        Self::Accepted,
        Self::Queued,
        Self::Activated,
        Self::Confirmed,
        Self::Arrived,
        Self::Started,
        Self::Completed,
        Self::Cancelled,
        Self::DriverCancelled,
        Self::Reassigned,
        Self::NoDrivers,
        Self::Paid,
        Self::PaymentFailed,
    ];

    /// The name in trip rooms.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Requested => "requested",
            Self::Accepted => "accepted",
            Self::Queued => "queued",
            Self::Activated => "activated",
            Self::Confirmed => "confirmed",
            Self::Arrived => "arrived",
            Self::Started => "started",
            Self::Completed => "completed",
            Self::Paid => "paid",
            Self::PaymentFailed => "payment_failed",
            Self::Cancelled => "cancelled",
            Self::DriverCancelled => "driver_cancelled",
            Self::Reassigned => "reassigned",
            Self::NoDrivers => "no_drivers",
        }
    }

    /// The type of the domain event in the event store and the outbox.
    pub const fn domain(self) -> &'static str {
        match self {
            Self::Scheduled => "TRIP_SCHEDULED",
            Self::Requested => "TRIP_REQUESTED",
            Self::Accepted => "TRIP_MATCHED",
            Self::Queued => "TRIP_QUEUED",
            Self::Activated => "TRIP_ACTIVATED",
            Self::Confirmed => "TRIP_CONFIRMED",
            Self::Arrived => "TRIP_DRIVER_ARRIVED",
            Self::Started => "TRIP_STARTED",
            Self::Completed => "TRIP_COMPLETED",
            Self::Paid => "TRIP_PAID",
            Self::PaymentFailed => "TRIP_PAYMENT_FAILED",
            Self::Cancelled => "TRIP_CANCELLED",
            Self::DriverCancelled => "TRIP_DRIVER_CANCELLED",
            Self::Reassigned => "TRIP_REASSIGNED",
            Self::NoDrivers => "TRIP_NO_DRIVERS",
        }
    }
}

impl fmt::Display for EventName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the first event says beside the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Opened {
    pub rider_id: RiderId,
    pub city_id: CityId,
    pub tier: Tier,
    pub payment_method: PaymentMethod,
    pub price: Piasters,
    pub hold: Piasters,
    #[serde(default, skip_serializing_if = "is_nothing")]
    pub promo: Piasters,
}

fn is_nothing(amount: &Piasters) -> bool {
    *amount == Piasters::ZERO
}

/// One committed change. Its JSON is the payload in `event_store` and `outbox`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TripEvent {
    pub trip_id: TripId,
    /// 1, 2, 3 … without a gap; the trip's `version` after it.
    pub seq: i32,
    pub event: EventName,
    /// After the event, like all that follows.
    pub status: Status,
    pub payment_status: PaymentStatus,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver_id: Option<DriverId>,
    pub at: Millis,
    pub by: Side,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<CancelReason>,
    /// The driver who is no longer on the trip.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous_driver_id: Option<DriverId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued_behind: Option<TripId>,
    /// Until then the driver must say again that he comes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm_by: Option<Millis>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rounds: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub final_price: Option<Piasters>,
    /// Metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distance_m: Option<u32>,
    /// Seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cancel_fee: Option<Piasters>,
    /// What the trip costs from here on: the bid that its rider picked, or the quote again once
    /// its driver gave it back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Piasters>,
    /// The offer of whose driver the rider picked the bid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offer_id: Option<OfferId>,
    /// What is held of the rider's wallet from here on, where a bid made it more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<Piasters>,
    /// What the driver says he was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cash_collected: Option<Piasters>,
    /// Of a trip paid by card: what is to be taken of what the rider authorised, once nothing more
    /// comes; 0 lets it go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card_due: Option<Piasters>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened: Option<Opened>,
}

impl TripEvent {
    /// The next event of `trip`, with nothing changed but what the caller then sets.
    pub fn next(trip: &Trip, event: EventName, status: Status, by: Side, at: Millis) -> Self {
        Self {
            trip_id: trip.id,
            seq: trip.version + 1,
            event,
            status,
            payment_status: trip.payment_status,
            driver_id: trip.driver,
            at,
            by,
            reason: None,
            previous_driver_id: None,
            queued_behind: None,
            confirm_by: None,
            rounds: None,
            final_price: None,
            distance_m: None,
            duration_s: None,
            cancel_fee: None,
            price: None,
            offer_id: None,
            hold: None,
            cash_collected: None,
            card_due: None,
            opened: None,
        }
    }

    /// The event that a trip begins with; `trip` is the row as it is inserted, `version` 1.
    pub fn first(trip: &Trip, by: Side) -> Self {
        let name = match trip.status {
            Status::Scheduled => EventName::Scheduled,
            Status::Requested
            | Status::Accepted
            | Status::Arrived
            | Status::Started
            | Status::Completed
            | Status::Cancelled
            | Status::NoDrivers => EventName::Requested,
        };
        Self {
            seq: trip.version,
            opened: Some(Opened {
                rider_id: trip.rider,
                city_id: trip.city,
                tier: trip.tier,
                payment_method: trip.method,
                price: trip.price,
                hold: trip.hold,
                promo: trip.promo,
            }),
            ..Self::next(trip, name, trip.status, by, trip.created_at)
        }
    }
}

/// The trip after `event`. Total: what may happen at all was decided before, by `rules::step`.
pub fn evolve(before: &Trip, event: &TripEvent) -> Trip {
    let mut trip = before.clone();
    trip.version = event.seq;
    trip.status = event.status;
    trip.payment_status = event.payment_status;
    trip.driver = event.driver_id;
    trip.rounds = event.rounds.unwrap_or(trip.rounds);
    trip.hold = event.hold.unwrap_or(trip.hold);
    match event.event {
        EventName::Scheduled | EventName::Paid | EventName::PaymentFailed => {}
        EventName::Requested => trip.requested_at = event.at,
        EventName::Accepted | EventName::Queued => {
            trip.accepted_at = Some(event.at);
            trip.queued_behind = event.queued_behind;
            trip.confirm_by = event.confirm_by;
            if let Some(bid) = event.price {
                trip.quoted_price = Some(before.quoted_price.unwrap_or(before.price));
                trip.price = bid;
            }
        }
        // From here on he is on his way: what counts from his acceptance counts from now.
        EventName::Activated => {
            trip.queued_behind = None;
            trip.accepted_at = Some(event.at);
        }
        EventName::Confirmed => trip.confirm_by = None,
        EventName::Arrived => {
            trip.arrived_at = Some(event.at);
            trip.confirm_by = None;
        }
        EventName::Started => trip.started_at = Some(event.at),
        EventName::Completed => {
            trip.final_price = event.final_price;
            trip.distance_m = event.distance_m;
            trip.duration_s = event.duration_s;
        }
        EventName::Cancelled => {
            trip.cancelled_by = Some(event.by);
            trip.cancel_reason = event.reason;
            trip.cancel_fee = event.cancel_fee.unwrap_or_default();
        }
        EventName::DriverCancelled => {
            trip.accepted_at = None;
            trip.arrived_at = None;
            trip.queued_behind = None;
            trip.confirm_by = None;
            trip.excluded.extend(event.previous_driver_id);
            if let Some(quoted) = event.price {
                trip.price = quoted;
                trip.quoted_price = None;
            }
        }
        EventName::Reassigned => {
            trip.accepted_at = Some(event.at);
            trip.queued_behind = None;
            trip.confirm_by = event.confirm_by;
        }
        EventName::NoDrivers => {}
    }
    if !trip.status.is_live() {
        // What is paid late has ended long before.
        trip.ended_at = trip.ended_at.or(Some(event.at));
        trip.queued_behind = None;
        trip.confirm_by = None;
        trip.hold = Piasters::ZERO;
    }
    trip
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;
    use utoipa::PartialSchema;

    use super::*;

    #[test]
    fn words_are_the_same_in_json_in_documents_and_in_the_log() {
        let reason = CancelReason::ChangedMind;
        assert_eq!(serde_json::to_value(reason).unwrap(), "changed_mind");
        assert_eq!(reason.to_string(), "changed_mind");
        assert_eq!(CancelReason::parse("changed_mind"), Some(reason));
        let schema = serde_json::to_value(CancelReason::schema()).unwrap();
        assert_eq!(schema["enum"][0], "changed_mind");
        assert_eq!(schema["description"], "Why a trip was cancelled.");
    }

    /// Events are kept for years: what was written once is read for ever.
    #[test]
    fn every_event_of_the_vectors_is_read_and_loses_nothing() {
        let text = include_str!("../../schema/vectors/trip-events.json");
        let vectors: Value = serde_json::from_str(text).unwrap();
        let mut seen = BTreeSet::new();
        for vector in vectors["events"].as_array().unwrap() {
            let event: TripEvent = serde_json::from_value(vector["payload"].clone())
                .unwrap_or_else(|error| panic!("{error}: {vector}"));
            assert_eq!(event.event.domain(), vector["type"], "{vector}");
            let written = serde_json::to_value(&event).unwrap();
            for (field, value) in vector["payload"].as_object().unwrap() {
                assert_eq!(&written[field], value, "{field} of {vector}");
            }
            seen.insert(event.event.name());
        }
        let all = serde_json::to_value(EventName::schema()).unwrap();
        for name in all["enum"].as_array().unwrap() {
            assert!(seen.contains(name.as_str().unwrap()), "{name} has no vector");
        }
    }
}
