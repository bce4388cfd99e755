//! A rider who waits for his driver is given one who is nearer: that one is asked like anybody, and
//! his yes takes the trip over.
//!
//! Part of the rules: decides, stores nothing, reads no clock. Who is worth asking, and how often,
//! is dispatch's business.
//!
//! Guarantees:
//! - the trip is its driver's until another one has said yes, and that one's from that commit on;
//! - once the driver is at the pickup, or has lost the trip, nobody takes it over (`swap` tests).

use base::{DriverId, Millis};

use crate::model::{Freed, OfferOutcome, Party, Status};
use crate::offers;
use crate::refusal::Refusal;
use crate::rules::{State, Step, Tell, reassigned};

/// Who is asked to take a trip over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakeOver {
    pub driver: DriverId,
    /// Whose trip it is.
    pub from: DriverId,
    /// The lease ends then, whatever happens.
    pub until: Millis,
    pub round: u16,
}

/// May it have another driver while one is on his way? A trip ahead has somebody who stands by
/// instead, one that waits for the end of another is nobody's way yet, and where its rider picked a
/// bid he chose who drives him.
pub(crate) fn may_change(state: &State) -> bool {
    let trip = &state.trip;
    let is_on_his_way = trip.status == Status::Accepted && !trip.is_queued();
    is_on_his_way && trip.scheduled_at.is_none() && trip.quoted_price.is_none()
}

pub(crate) fn ask(state: &State, asked: TakeOver) -> Result<Step, Refusal> {
    let TakeOver { driver, from, until, round } = asked;
    if state.trip.status != Status::Accepted {
        return Err(state.illegal());
    }
    if !may_change(state) || state.trip.driver != Some(from) || from == driver {
        return Err(Refusal::NotOfferable(driver));
    }
    offers::offer(state, driver, until, round, None)
}

/// The yes of who was asked.
pub(crate) fn take_over(state: &State, driver: DriverId, now: Millis) -> Result<Step, Refusal> {
    if now >= state.lease_of(driver)?.until {
        return Err(Refusal::OfferExpired);
    }
    let event = reassigned(state, driver, now)?;
    let mut step = state.recorded(event, Party::System, None);
    step.tells.push(Tell::OfferEnded { driver, outcome: OfferOutcome::Accepted });
    let before = state.trip.driver;
    step.tells.extend(before.map(|driver| Tell::DriverFreed { driver, how: Freed::TakenOver }));
    step.tells.push(Tell::Matched { driver });
    Ok(step)
}
