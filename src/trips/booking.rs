//! How a trip begins: the row and its first event, before anything is stored.

pub(crate) mod store;

use base::{Caller, Millis, Piasters, Role};

use crate::ahead::Ahead;
use crate::model::{NewTrip, PaymentStatus, Side, Status, Trip};

/// How a trip begins.
#[derive(Clone, Copy)]
pub(crate) struct Begin {
    pub(crate) status: Status,
    /// Of this node's lease.
    pub(crate) epoch: i64,
    pub(crate) now: Millis,
    pub(crate) ahead: Ahead,
}

/// A booked trip that is in no table yet.
pub(crate) fn draft(new: NewTrip, begin: Begin, hold: Piasters) -> Trip {
    let Begin { status, epoch, now, .. } = begin;
    Trip {
        id: new.id,
        city: new.city,
        rider: new.rider,
        driver: None,
        queued_behind: None,
        status,
        payment_status: PaymentStatus::Pending,
        method: new.method,
        tier: new.tier,
        strategy: new.strategy,
        version: 1,
        epoch,
        pickup: new.pickup,
        destination: new.destination,
        stops: new.stops,
        passenger: new.passenger,
        price: new.price,
        quoted_price: None,
        promo: new.promo.map_or(Piasters::ZERO, |offer| offer.amount),
        final_price: None,
        hold,
        commission: new.commission,
        surge: new.surge,
        quote_id: new.quote_id,
        quoted_distance_m: new.distance_m,
        quoted_duration_s: new.duration_s,
        distance_m: None,
        duration_s: None,
        pin: new.pin,
        rounds: 0,
        excluded: Vec::new(),
        cancelled_by: None,
        cancel_reason: None,
        cancel_fee: Piasters::ZERO,
        scheduled_at: new.scheduled_at,
        confirm_by: None,
        requested_at: now,
        accepted_at: None,
        arrived_at: None,
        started_at: None,
        ended_at: None,
        created_at: now,
        terms: new.terms,
    }
}

/// In which role `caller` books.
pub(crate) const fn side(caller: &Caller) -> Side {
    match caller.role {
        Role::Rider => Side::Rider,
        Role::Driver => Side::Driver,
        Role::Admin => Side::Admin,
    }
}
