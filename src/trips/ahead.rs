//! Trips that are booked ahead: when they are searched, whether their driver still comes, and who
//! stands by should he not.
//!
//! Part of the rules: decides, stores nothing, reads no clock.
//!
//! Guarantees:
//! - a scheduled trip is searched in time, and called off where nobody was there to do it;
//! - who accepted early says again that he comes, or another is searched;
//! - nobody loses a trip because he could not confirm it while the program was away;
//! - who stands by drives nothing: he is free, and asked first once the trip is searched again; one
//!   who leaves is replaced. (`ahead` tests)

use std::time::Duration;

use base::{DriverId, Millis, PaymentMethod, Piasters};
use ledger::{Journal, RiderFunds};

use crate::cancel::{call_off, search_again};
use crate::event::{EventName, TripEvent};
use crate::model::{CancelReason, OfferOutcome, Party, Side, Status, Trip};
use crate::offers::{Lease, decline, end_offer, expire};
use crate::refusal::Refusal;
use crate::rules::{Command, State, Step, Tell, drives};
use crate::swap;

/// After a start of the program drivers have at least so long to confirm.
pub(crate) const BACK_AGAIN: Duration = Duration::from_secs(90);

/// Times and numbers of trips that are booked ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ahead {
    /// A pickup is at least so far ahead when it is booked,
    pub least: Duration,
    /// and at most so far.
    pub most: Duration,
    /// Two pickups of one rider are at least so far apart.
    pub apart: Duration,
    /// Trips that one rider may have ahead of him.
    pub per_rider: u32,
    /// A driver is searched from so long before the pickup.
    pub search: Duration,
    /// Who accepts earlier than so long before the pickup confirms,
    pub early: Duration,
    /// until so long before it.
    pub confirm: Duration,
    /// A trip that nobody searched until so long after its pickup is called off.
    pub late: Duration,
}

impl Default for Ahead {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Self {
            least: minutes(30),
            most: minutes(7 * 24 * 60),
            apart: minutes(30),
            per_rider: 5,
            search: minutes(15),
            early: minutes(10),
            confirm: minutes(5),
            late: minutes(10),
        }
    }
}

impl Ahead {
    /// May a pickup at this moment be booked at `now`?
    pub fn takes(&self, pickup: Millis, now: Millis) -> bool {
        (now + self.least..=now + self.most).contains(&pickup)
    }
}

/// What may be asked of a trip that was booked ahead and has a driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AheadCommand {
    /// Dispatch asks a driver to stand by; the lease ends at `until` whatever happens.
    AskStandby { driver: DriverId, until: Millis, round: u16 },
    /// The driver says again that he comes.
    Confirm { driver: DriverId },
    /// A timer: a driver who has not confirmed by now doesn't come.
    Unconfirmed,
    /// Nothing is heard of the driver.
    Silent { driver: DriverId },
    /// Who stands by went offline or drives another trip.
    Leaves { driver: DriverId },
}

impl State {
    /// Until when a driver who accepts at `now` must confirm; none: he is as good as there.
    pub(crate) fn confirm_by(&self, now: Millis) -> Option<Millis> {
        let pickup = self.trip.scheduled_at?;
        (now < pickup - self.ahead.early).then(|| pickup - self.ahead.confirm)
    }

    /// Until when its driver may confirm: one who could not, because the program was away, may a
    /// little longer.
    pub(crate) fn confirms_until(&self) -> Option<Millis> {
        self.trip.confirm_by.map(|by| by.max(self.confirm_from))
    }

    /// What a step leaves of open offers and of who stands by. Told in `tells`: what ends of it.
    pub(crate) fn leaves(
        &self,
        event: &TripEvent,
        tells: &mut Vec<Tell>,
    ) -> (Vec<Lease>, Option<DriverId>) {
        if event.event == EventName::Confirmed {
            return (self.offers.clone(), self.standby);
        }
        // Of a search for a driver, whoever ends it says how its offers do.
        if self.trip.status != Status::Requested {
            tells.extend(self.revoked(event.driver_id));
        }
        if event.status == Status::Requested {
            return (Vec::new(), self.standby);
        }
        if self.trip.status == Status::Accepted && self.trip.scheduled_at.is_some() {
            tells.push(Tell::SearchOver);
        }
        let is_told = |driver: &DriverId| {
            let asked = self.trip.status == Status::Requested && self.was_asked(*driver);
            event.driver_id == Some(*driver) || asked
        };
        let over = self.standby.filter(|driver| !is_told(driver));
        tells.extend(over.map(|driver| Tell::StandbyOver { driver }));
        (Vec::new(), None)
    }
}

/// Decides what only trips that were booked ahead know.
pub(crate) fn step(state: &State, command: AheadCommand, now: Millis) -> Result<Step, Refusal> {
    let is_accepted = state.trip.status == Status::Accepted;
    match command {
        AheadCommand::AskStandby { driver, until, round } if is_accepted => {
            ask_standby(state, driver, until, round)
        }
        AheadCommand::AskStandby { .. } => Err(state.illegal()),
        AheadCommand::Confirm { driver } => confirm(state, driver, now),
        AheadCommand::Unconfirmed => {
            match (is_accepted, state.trip.driver, state.confirms_until()) {
                (true, Some(driver), Some(by)) if now >= by => {
                    Ok(take_back(state, driver, CancelReason::NotConfirmed, now))
                }
                _ => Ok(state.unchanged()),
            }
        }
        // A tunnel is no reason to have nobody: he loses it to who stands by, or not at all. A trip
        // that he is to drive after another waits for nobody knows how long: it is searched again.
        AheadCommand::Silent { driver } => {
            let waits = state.standby.is_some() || state.trip.is_queued();
            match is_accepted && state.trip.driver == Some(driver) && waits {
                true => Ok(take_back(state, driver, CancelReason::DriverSilent, now)),
                false => Ok(state.unchanged()),
            }
        }
        AheadCommand::Leaves { driver } if state.standby == Some(driver) => {
            let mut step = state.unchanged();
            step.next.standby = None;
            step.tells.extend(is_accepted.then_some(Tell::NeedsStandby));
            Ok(step)
        }
        AheadCommand::Leaves { .. } => Ok(state.unchanged()),
    }
}

/// Is it about an offer to stand by, or to take over?
pub(crate) fn is_answer(state: &State, command: &Command) -> bool {
    match command {
        Command::Accept { driver }
        | Command::AcceptNext { driver, .. }
        | Command::Decline { driver }
        | Command::Withdraw { driver } => state.offers.iter().any(|lease| lease.driver == *driver),
        Command::Expire => true,
        _ => false,
    }
}

pub(crate) fn answer(state: &State, command: &Command, now: Millis) -> Result<Step, Refusal> {
    match command {
        Command::Accept { driver } if state.trip.may_change_driver() => {
            swap::take_over(state, *driver, now)
        }
        // Only who is free takes over.
        Command::AcceptNext { driver, .. } if state.trip.may_change_driver() => {
            Err(Refusal::NotOfferable(*driver))
        }
        // Also of one who is still ending another trip: he comes after that, and nothing is queued.
        Command::Accept { driver } | Command::AcceptNext { driver, .. } => {
            stand_by(state, *driver, now)
        }
        Command::Decline { driver } => decline(state, *driver),
        Command::Withdraw { driver } => Ok(end_offer(state, *driver, OfferOutcome::Lost)),
        Command::Expire => Ok(expire(state, now)),
        _ => Err(state.illegal()),
    }
}

/// The search begins; a trip that is too late for it is called off. Its timer rings early, too.
pub(crate) fn activate(state: &State, now: Millis) -> Result<Step, Refusal> {
    if state.due().is_some_and(|due| now < due) {
        return Ok(state.unchanged());
    }
    if state.trip.scheduled_at.is_some_and(|pickup| now >= pickup + state.ahead.late) {
        return call_off(state, Party::System, CancelReason::Missed, now);
    }
    let event = state.event(EventName::Requested, Status::Requested, Side::System, now);
    let mut step = state.recorded(event, Party::System, None);
    step.tells.push(Tell::NeedsDriver);
    Ok(step)
}

fn ask_standby(
    state: &State,
    driver: DriverId,
    until: Millis,
    round: u16,
) -> Result<Step, Refusal> {
    let drives = state.trip.driver == Some(driver);
    let asked = state.offers.iter().any(|lease| lease.driver == driver);
    if state.trip.scheduled_at.is_none() {
        return Err(state.illegal());
    }
    if drives || asked || state.standby.is_some() || state.trip.excluded.contains(&driver) {
        return Err(Refusal::NotOfferable(driver));
    }
    let mut step = state.unchanged();
    step.next.asked.retain(|asked| *asked != driver);
    step.next.offers.push(Lease { driver, round, until, bidding: None });
    Ok(step)
}

/// The yes of a driver who was asked to stand by.
fn stand_by(state: &State, driver: DriverId, now: Millis) -> Result<Step, Refusal> {
    if now >= state.lease_of(driver)?.until {
        return Err(Refusal::OfferExpired);
    }
    let mut step = state.unchanged();
    step.next.standby = Some(driver);
    step.next.asked.extend(step.next.offers.drain(..).map(|lease| lease.driver));
    step.tells.push(Tell::OfferEnded { driver, outcome: OfferOutcome::StandsBy });
    step.tells.extend(state.revoked(Some(driver)));
    Ok(step)
}

fn confirm(state: &State, driver: DriverId, now: Millis) -> Result<Step, Refusal> {
    drives(state, driver)?;
    if state.trip.status != Status::Accepted || state.trip.scheduled_at.is_none() {
        return Err(state.illegal());
    }
    match state.confirms_until() {
        // He need not, or he did.
        None => Ok(state.unchanged()),
        Some(by) if now >= by => Err(Refusal::TooLate),
        Some(_) => {
            let event = state.event(EventName::Confirmed, Status::Accepted, Side::Driver, now);
            Ok(state.recorded(event, Party::Driver(driver), None))
        }
    }
}

fn take_back(state: &State, driver: DriverId, reason: CancelReason, now: Millis) -> Step {
    search_again(state, driver, reason, Party::System, now)
}

/// Does the search of a trip that was booked ahead begin with this event?
pub(crate) fn begins_search(trip: &Trip, event: &TripEvent) -> bool {
    trip.status == Status::Scheduled && event.status == Status::Requested
}

/// Nothing is held of a wallet for days: it is set aside when the search begins, or nobody is
/// searched.
pub(crate) fn set_aside(
    trip: &Trip,
    event: &mut TripEvent,
    funds: &RiderFunds,
) -> Result<Option<Journal>, Refusal> {
    if trip.method != PaymentMethod::Wallet || !begins_search(trip, event) {
        return Ok(None);
    }
    let rest = trip.price - trip.promo;
    let hold = ledger::hold_for(rest, funds.wallet)
        .map_err(|short| Refusal::Unfunded { available: short.available, price: short.price })?;
    event.hold = Some(hold);
    Ok((hold > Piasters::ZERO).then(|| ledger::hold_journal(trip.id, trip.rider, hold)))
}

impl From<AheadCommand> for Command {
    fn from(command: AheadCommand) -> Self {
        Self::Ahead(command)
    }
}
