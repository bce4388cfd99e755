//! Claims about trips: the rules as tables and as random walks, the actor on paused time, and the
//! whole room against a real database.

mod ahead;
mod bids;
mod database;
mod money;
mod picks;
mod races;
mod stand;
mod swap;
mod table;
mod timers;
mod walks;

use std::sync::Arc;

use base::{
    BasisPoints, CityId, DriverId, Millis, PaymentMethod, Piasters, Point, RiderId, Tier, TripId,
};

use crate::model::{NewTrip, PaymentStatus, Place, Status, Terms, Trip};

/// When every story of these tests begins.
const T0: i64 = 1_700_000_000_000;

/// `seconds` into the story.
pub(crate) fn at_s(seconds: i64) -> Millis {
    Millis(T0 + seconds * 1000)
}

pub(crate) fn driver(n: u128) -> DriverId {
    DriverId::from_u128(n)
}

const RIDER: RiderId = RiderId::from_u128(0xA11);

fn point(lat: f64, lng: f64) -> Point {
    Point::new(lat, lng).expect("a place on Earth")
}

/// Tahrir Square, where every pickup is.
fn pickup() -> Point {
    point(30.0444, 31.2357)
}

const TERMS: Terms = Terms {
    free_cancel_s: 120,
    cancel_fee: Piasters(1500),
    no_show_wait_s: 300,
    no_show_fee: Piasters(1500),
    due_limit: Piasters(5000),
    debt_limit: Piasters(20_000),
    cash_step: Piasters(50),
};

fn new_trip(rider: RiderId, method: PaymentMethod) -> NewTrip {
    NewTrip {
        id: TripId::new(),
        rider,
        city: CityId(1),
        pickup: Place { at: pickup(), address: Some("ميدان التحرير".to_owned()) },
        destination: Place { at: point(30.06, 31.22), address: None },
        stops: Vec::new(),
        passenger: None,
        tier: Tier::Economy,
        method,
        strategy: "first_accept".to_owned(),
        price: Piasters(10_000),
        card: None,
        promo: None,
        arm: None,
        due_allowed: Piasters::ZERO,
        commission: BasisPoints(1500),
        surge: 1.0,
        quote_id: None,
        distance_m: 4000,
        duration_s: 600,
        pin: None,
        terms: TERMS,
        scheduled_at: None,
    }
}

/// A trip as it stands right after it was requested.
pub(crate) fn trip() -> Trip {
    let new = new_trip(RIDER, PaymentMethod::Cash);
    Trip {
        id: TripId::from_u128(0x77),
        city: new.city,
        rider: new.rider,
        driver: None,
        queued_behind: None,
        status: Status::Requested,
        payment_status: PaymentStatus::Pending,
        method: new.method,
        tier: new.tier,
        strategy: new.strategy,
        version: 1,
        epoch: 1,
        pickup: new.pickup,
        destination: new.destination,
        stops: new.stops,
        passenger: None,
        price: new.price,
        quoted_price: None,
        promo: Piasters::ZERO,
        final_price: None,
        hold: Piasters::ZERO,
        commission: new.commission,
        surge: new.surge,
        quote_id: None,
        quoted_distance_m: new.distance_m,
        quoted_duration_s: new.duration_s,
        distance_m: None,
        duration_s: None,
        pin: None,
        rounds: 0,
        excluded: Vec::new(),
        cancelled_by: None,
        cancel_reason: None,
        cancel_fee: Piasters::ZERO,
        scheduled_at: None,
        confirm_by: None,
        requested_at: at_s(0),
        accepted_at: None,
        arrived_at: None,
        started_at: None,
        ended_at: None,
        created_at: at_s(0),
        terms: new.terms,
    }
}

fn state(trip: Trip) -> crate::rules::State {
    crate::rules::State::new(Arc::new(trip))
}
