//! How a trip ends before the ride, and how it loses its driver: by its rider, its driver, an admin
//! or the program.
//!
//! Part of the rules: decides, stores nothing, reads no clock.

use base::{DriverId, Millis, PaymentMethod, Piasters, RiderId};
use ledger::TripMoney;

use crate::card;
use crate::event::{EventName, TripEvent};
use crate::model::{CancelReason, Freed, Party, Status};
use crate::refusal::Refusal;
use crate::rules::{State, Step, Tell, drives, out_of_order, released};

pub(crate) fn cancel_search(state: &State, rider: RiderId, now: Millis) -> Result<Step, Refusal> {
    match matches!(state.trip.status, Status::Scheduled | Status::Requested) {
        true => call_off(state, Party::Rider(rider), CancelReason::ChangedMind, now),
        // Found meanwhile: the rider cancels the trip itself if he still wants to.
        false => Err(out_of_order(state, Party::Rider(rider))),
    }
}

/// Cancelled before anyone drives: costs nothing.
pub(crate) fn call_off(
    state: &State,
    by: Party,
    reason: CancelReason,
    now: Millis,
) -> Result<Step, Refusal> {
    if !state.trip.concerns(by) {
        return Err(out_of_order(state, by));
    }
    let event = TripEvent {
        reason: Some(reason),
        card_due: card::due(&state.trip, Piasters::ZERO),
        ..state.event(EventName::Cancelled, Status::Cancelled, by.side(), now)
    };
    let mut step = state.recorded(event, by, released(&state.trip));
    step.tells.extend(state.revoked(None));
    if state.trip.status == Status::Requested {
        step.tells.push(Tell::SearchOver);
    }
    step.tells.push(Tell::Ended);
    Ok(step)
}

/// Cancelled by the rider, an admin or the program while a driver is on his way or waits.
pub(crate) fn cancel(
    state: &State,
    by: Party,
    reason: CancelReason,
    now: Millis,
) -> Result<Step, Refusal> {
    if !state.trip.concerns(by) {
        return Err(Refusal::NotYours);
    }
    let fee = match by {
        Party::Rider(_) => state.trip.late_fee(now),
        Party::Driver(_) | Party::Admin(_) | Party::System => Piasters::ZERO,
    };
    Ok(end_with_fee(state, by, reason, fee, Freed::Cancelled, now))
}

pub(crate) fn driver_cancels(
    state: &State,
    driver: DriverId,
    reason: CancelReason,
    now: Millis,
) -> Result<Step, Refusal> {
    drives(state, driver)?;
    if reason == CancelReason::RiderNoShow {
        return no_show(state, driver, now);
    }
    Ok(search_again(state, driver, reason, Party::Driver(driver), now))
}

/// The driver doesn't drive it: another one is searched.
pub(crate) fn search_again(
    state: &State,
    driver: DriverId,
    reason: CancelReason,
    by: Party,
    now: Millis,
) -> Step {
    let event = TripEvent {
        driver_id: None,
        previous_driver_id: Some(driver),
        reason: Some(reason),
        // The bid was his own: whoever is searched now starts from the quote.
        price: state.trip.quoted_price,
        ..state.event(EventName::DriverCancelled, Status::Requested, by.side(), now)
    };
    let mut step = state.recorded(event, by, None);
    step.tells.push(Tell::DriverFreed { driver, how: Freed::GaveBack });
    step.tells.push(Tell::NeedsDriver);
    step
}

/// The rider didn't come: the driver may say so once he has waited long enough at the pickup.
fn no_show(state: &State, driver: DriverId, now: Millis) -> Result<Step, Refusal> {
    let wait_ms = i64::from(state.trip.terms.no_show_wait_s) * 1000;
    // Whoever booked ahead need not be there before his time.
    let since = state.trip.arrived_at.max(state.trip.scheduled_at);
    let waited_ms = since.map_or(0, |at| now.since(at).max(0));
    if state.trip.arrived_at.is_none() || waited_ms < wait_ms {
        let left_ms = (wait_ms - waited_ms).max(0) as u64;
        let wait_s = u32::try_from(left_ms.div_ceil(1000)).unwrap_or(u32::MAX);
        return Err(Refusal::NoShowTooEarly { wait_s });
    }
    let fee = state.trip.terms.no_show_fee;
    let by = Party::Driver(driver);
    Ok(end_with_fee(state, by, CancelReason::RiderNoShow, fee, Freed::NoShow, now))
}

fn end_with_fee(
    state: &State,
    by: Party,
    reason: CancelReason,
    fee: Piasters,
    how: Freed,
    now: Millis,
) -> Step {
    let trip = &state.trip;
    let event = TripEvent {
        reason: Some(reason),
        cancel_fee: (fee > Piasters::ZERO).then_some(fee),
        card_due: card::due(trip, fee),
        ..state.event(EventName::Cancelled, Status::Cancelled, by.side(), now)
    };
    // A card pays its fee once the gateway has answered.
    let money = if fee > Piasters::ZERO && trip.method != PaymentMethod::Card {
        Some(TripMoney::CancelFee {
            trip: trip.id,
            rider: trip.rider,
            driver: trip.driver,
            fee,
            hold: trip.hold,
        })
    } else {
        released(trip)
    };
    let mut step = state.recorded(event, by, money);
    step.tells.extend(trip.driver.map(|driver| Tell::DriverFreed { driver, how }));
    step.tells.push(Tell::Ended);
    step
}
