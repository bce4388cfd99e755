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

use crate::model::{OfferOutcome, Status};
use crate::offers;
use crate::refusal::Refusal;
use crate::rules::{State, Step, reassign};

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

pub(crate) fn ask(state: &State, asked: TakeOver) -> Result<Step, Refusal> {
    let TakeOver { driver, from, until, round } = asked;
    if state.trip.status != Status::Accepted {
        return Err(state.illegal());
    }
    if !state.trip.may_change_driver() || state.trip.driver != Some(from) || from == driver {
        return Err(Refusal::NotOfferable(driver));
    }
    offers::offer(state, driver, until, round, None)
}

/// The yes of who was asked.
pub(crate) fn take_over(state: &State, driver: DriverId, now: Millis) -> Result<Step, Refusal> {
    if now >= state.lease_of(driver)?.until {
        return Err(Refusal::OfferExpired);
    }
    reassign(state, driver, OfferOutcome::Accepted, now)
}
