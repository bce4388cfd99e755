//! Decides what a trip may do next.
//!
//! Owns the legal steps of a trip; those of its open offers are in `offers`. Does no I/O and reads
//! no clock: the caller passes `now`.
//!
//! Guarantees:
//! - status moves only along the graph, event numbers have no gap; (test: `every_walk_is_legal`)
//! - only an asked driver accepts, and only before his offer's deadline; (`accept_…` tests)
//! - a refused command changes nothing.

use std::sync::Arc;

use base::{DriverId, Millis, OfferId, Piasters, Point, RiderId, TripId};
use ledger::{CashTaken, TripMoney};

use crate::ahead::{self, Ahead, AheadCommand, activate, answer, is_answer};
use crate::cancel::{call_off, cancel, cancel_search, driver_cancels};
use crate::event::{EventName, TripEvent, evolve};
use crate::model::{CancelReason, Freed, OfferOutcome, Party, PaymentStatus, Side, Status, Trip};
use crate::offers::{
    Bid, BidStatus, BidTerms, Lease, accept, bid, decline, end_offer, expire, offer, pick,
};
use crate::refusal::Refusal;
use crate::swap::{self, TakeOver};
use crate::{card, cash};

// The table of `step` is read side by side: short names, for this file.
use Command as C;
use Status::{Accepted, Arrived, Cancelled, Completed, NoDrivers, Requested, Scheduled, Started};

/// A driver has arrived when he is this near to the pickup, metres.
pub const ARRIVED_WITHIN_M: f64 = 200.0;

/// What may be asked of a trip.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Dispatch asks a driver; the lease ends at `until` whatever happens.
    Offer {
        driver: DriverId,
        until: Millis,
        round: u16,
    },
    /// The same, where the driver bids a price and the rider picks.
    AskBid {
        driver: DriverId,
        until: Millis,
        round: u16,
        terms: BidTerms,
    },
    /// Dispatch asks a driver who is nearer than the one on his way.
    AskTakeOver(TakeOver),
    /// An asked driver's price, or another one in its place. Declining takes it back.
    Bid {
        driver: DriverId,
        price: Piasters,
    },
    /// The rider takes a bid, if it is still of the price that he saw.
    PickBid {
        rider: RiderId,
        offer: OfferId,
        price: Option<Piasters>,
    },
    Decline {
        driver: DriverId,
    },
    /// The asked driver went silent or offline.
    Withdraw {
        driver: DriverId,
    },
    /// A timer: offers whose time is over end now.
    Expire,
    Accept {
        driver: DriverId,
    },
    /// Accepted as the next trip of a driver who is still ending `behind`.
    AcceptNext {
        driver: DriverId,
        behind: TripId,
    },
    /// Dispatch gives up.
    NoDrivers,
    /// A scheduled trip's search begins, or a queued trip's turn has come.
    Activate,
    Arrive {
        driver: DriverId,
        at: Option<Point>,
    },
    Start {
        driver: DriverId,
        pin: Option<String>,
    },
    /// `distance_m`: driven, filtered. `cash`: what the driver was given, where he says so.
    Complete {
        driver: DriverId,
        distance_m: u32,
        cash: Option<Piasters>,
    },
    Cancel {
        by: Party,
        reason: CancelReason,
    },
    /// The rider calls the search off; a trip that has a driver stays as it is.
    CancelSearch {
        rider: RiderId,
    },
    /// Before pickup the trip goes to another driver.
    Reassign {
        driver: DriverId,
    },
    Ahead(AheadCommand),
}

/// A live trip as its owner holds it: the stored row and what needs no storing.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub trip: Arc<Trip>,
    /// Open offers: of a trip that is requested, or has a driver and wants one who stands by.
    pub offers: Vec<Lease>,
    /// Drivers whose offer of this search ended: a late answer of theirs is told so.
    pub asked: Vec<DriverId>,
    /// Who would come should the driver not.
    pub standby: Option<DriverId>,
    /// Before this nobody loses a trip because he didn't confirm it.
    pub confirm_from: Millis,
    pub ahead: Ahead,
}

/// What the world has to be told once the step is safe, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tell {
    /// The recorded event itself.
    Event,
    NeedsDriver,
    NeedsStandby,
    StandbyOver {
        driver: DriverId,
    },
    OfferEnded {
        driver: DriverId,
        outcome: OfferOutcome,
    },
    Bid {
        bid: Bid,
        stands: BidStatus,
    },
    SearchOver,
    Matched {
        driver: DriverId,
    },
    DriverFreed {
        driver: DriverId,
        how: Freed,
    },
    Completed,
    Ended,
}

/// The event to be stored, who caused it, and the money that moves in the same commit.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub event: TripEvent,
    pub actor: Party,
    pub money: Option<TripMoney>,
    /// Of a trip paid in cash: what was given for it.
    pub cash: Option<CashTaken>,
}

/// A decision: the state after it, what must be stored first, what is told afterwards.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub next: State,
    /// None: only offers changed, and those live in memory.
    pub record: Option<Record>,
    pub tells: Vec<Tell>,
}

impl State {
    pub(crate) fn new(trip: Arc<Trip>) -> Self {
        Self {
            trip,
            offers: Vec::new(),
            asked: Vec::new(),
            standby: None,
            confirm_from: Millis(0),
            ahead: Ahead::default(),
        }
    }

    /// When something is due by itself: the earliest offer's end, a scheduled trip's search, or the
    /// end of its driver's time to confirm.
    pub(crate) fn due(&self) -> Option<Millis> {
        let offers = self.offers.iter().map(Lease::ends);
        match self.trip.status {
            Status::Requested => offers.min(),
            Status::Scheduled => self.trip.scheduled_at.map(|at| at - self.ahead.search),
            Status::Accepted => offers.chain(self.confirms_until()).min(),
            Status::Arrived
            | Status::Started
            | Status::Completed
            | Status::Cancelled
            | Status::NoDrivers => None,
        }
    }

    /// What is asked then.
    pub(crate) fn on_time(&self) -> Command {
        let confirms = self.confirms_until().filter(|by| self.due() == Some(*by));
        match self.trip.status {
            Status::Scheduled => C::Activate,
            Status::Accepted if confirms.is_some() => C::Ahead(AheadCommand::Unconfirmed),
            _ => C::Expire,
        }
    }

    pub(crate) fn illegal(&self) -> Refusal {
        Refusal::InvalidTransition { current: self.trip.status }
    }

    /// Nothing to do and nothing wrong.
    pub(crate) fn unchanged(&self) -> Step {
        Step { next: self.clone(), record: None, tells: Vec::new() }
    }

    /// The start of an event of this trip.
    pub(crate) fn event(
        &self,
        name: EventName,
        status: Status,
        by: Side,
        now: Millis,
    ) -> TripEvent {
        TripEvent::next(&self.trip, name, status, by, now)
    }

    /// The step that `event` makes: every open offer ends, as `outcome` says for its driver.
    pub(crate) fn recorded(
        &self,
        event: TripEvent,
        actor: Party,
        money: Option<TripMoney>,
    ) -> Step {
        let trip = Arc::new(evolve(&self.trip, &event));
        let asked = match trip.status {
            // Another search asks anew.
            Status::Requested => Vec::new(),
            _ => self.ever_asked().collect(),
        };
        let mut tells = vec![Tell::Event];
        let (offers, standby) = self.leaves(&event, &mut tells);
        Step {
            next: Self { trip, offers, asked, standby, ..*self },
            record: Some(Record { event, actor, money, cash: None }),
            tells,
        }
    }

    /// Drivers who were asked in this search, whatever became of it.
    fn ever_asked(&self) -> impl Iterator<Item = DriverId> {
        self.asked.iter().copied().chain(self.offers.iter().map(|lease| lease.driver))
    }

    pub(crate) fn was_asked(&self, driver: DriverId) -> bool {
        self.ever_asked().any(|asked| asked == driver)
    }

    /// Open offers that end because there is nothing left to accept.
    pub(crate) fn revoked(&self, except: Option<DriverId>) -> impl Iterator<Item = Tell> {
        self.offers
            .iter()
            .filter(move |lease| Some(lease.driver) != except)
            .map(|lease| Tell::OfferEnded { driver: lease.driver, outcome: OfferOutcome::Revoked })
    }
}

/// Decides `command` at `now`. A refusal means that nothing happened.
pub(crate) fn step(state: &State, command: &Command, now: Millis) -> Result<Step, Refusal> {
    match (state.trip.status, command) {
        // Offers, while a driver is searched.
        (Requested, C::Offer { driver, until, round }) => {
            offer(state, *driver, *until, *round, None)
        }
        (Requested, C::AskBid { driver, until, round, terms }) => {
            offer(state, *driver, *until, *round, Some(terms))
        }
        (Requested, C::Bid { driver, price }) => bid(state, *driver, *price, now),
        (Requested, C::PickBid { rider, offer, price }) => pick(state, *rider, *offer, *price, now),
        (Requested, C::Decline { driver }) => decline(state, *driver),
        (Requested, C::Withdraw { driver }) => Ok(end_offer(state, *driver, OfferOutcome::Lost)),
        (Requested, C::Expire) => Ok(expire(state, now)),
        (Requested, C::Accept { driver }) => accept(state, *driver, None, now),
        (Requested, C::AcceptNext { driver, behind }) => accept(state, *driver, Some(*behind), now),
        (Requested, C::NoDrivers) => Ok(no_drivers(state, now)),
        // While a driver is on his way, offers are to stand by should he not come, or to take over.
        (_, C::AskTakeOver(asked)) => swap::ask(state, *asked),
        (Accepted, command) if is_answer(state, command) => answer(state, command, now),
        (_, C::Ahead(command)) => ahead::step(state, *command, now),
        // The way of a trip.
        (Scheduled, C::Activate) => activate(state, now),
        (Accepted, C::Activate) => take_turn(state, now),
        (Accepted, C::Arrive { driver, at }) => arrive(state, *driver, *at, now),
        (Arrived, C::Start { driver, pin }) => start(state, *driver, pin.as_deref(), now),
        (Started, C::Complete { driver, distance_m, cash }) => {
            complete(state, *driver, *distance_m, *cash, now)
        }
        (Accepted, C::Reassign { driver }) => reassign(state, *driver, OfferOutcome::Revoked, now),
        // Ends before the ride.
        (Scheduled | Requested, C::Cancel { by, reason }) => call_off(state, *by, *reason, now),
        (_, C::CancelSearch { rider }) => cancel_search(state, *rider, now),
        (Accepted | Arrived, C::Cancel { by: Party::Driver(driver), reason }) => {
            driver_cancels(state, *driver, *reason, now)
        }
        (Accepted | Arrived, C::Cancel { by, reason }) => cancel(state, *by, *reason, now),

        // Out of place; nothing happens.
        (
            Scheduled | Accepted | Arrived | Started | Completed | Cancelled | NoDrivers,
            C::Offer { .. }
            | C::AskBid { .. }
            | C::Accept { .. }
            | C::AcceptNext { .. }
            | C::Bid { .. }
            | C::PickBid { .. }
            | C::Decline { .. }
            | C::Withdraw { .. }
            | C::Expire
            | C::NoDrivers,
        )
        | (Started | Completed | Cancelled | NoDrivers, C::Cancel { .. })
        | (
            Scheduled | Requested | Arrived | Started | Completed | Cancelled | NoDrivers,
            C::Arrive { .. } | C::Reassign { .. },
        )
        | (
            Scheduled | Requested | Accepted | Started | Completed | Cancelled | NoDrivers,
            C::Start { .. },
        )
        | (
            Scheduled | Requested | Accepted | Arrived | Completed | Cancelled | NoDrivers,
            C::Complete { .. },
        )
        | (Requested | Arrived | Started | Completed | Cancelled | NoDrivers, C::Activate) => {
            out_of_place(state, command)
        }
    }
}

/// What is said to a command that the trip can't follow as it stands.
fn out_of_place(state: &State, command: &Command) -> Result<Step, Refusal> {
    match command {
        // Late answers to offers: who was asked learns why.
        C::Accept { driver }
        | C::AcceptNext { driver, .. }
        | C::Bid { driver, .. }
        | C::Decline { driver } => Err(too_late(state, *driver)),
        // The driver's loss and the timer may come after the search; there is nothing left to end.
        C::Withdraw { .. } | C::Expire => Ok(state.unchanged()),
        // Only its own people are told where the trip stands.
        C::PickBid { rider, .. } | C::CancelSearch { rider } => {
            Err(out_of_order(state, Party::Rider(*rider)))
        }
        C::Arrive { driver, .. } | C::Start { driver, .. } | C::Complete { driver, .. } => {
            Err(out_of_order(state, Party::Driver(*driver)))
        }
        C::Cancel { by, .. } => Err(out_of_order(state, *by)),
        C::Offer { .. }
        | C::AskBid { .. }
        | C::AskTakeOver(_)
        | C::NoDrivers
        | C::Reassign { .. }
        | C::Activate
        | C::Ahead(_) => Err(state.illegal()),
    }
}

fn too_late(state: &State, driver: DriverId) -> Refusal {
    match state.trip.driver {
        // The winner asks again.
        Some(winner) if winner == driver => state.illegal(),
        _ if !state.was_asked(driver) => Refusal::NotOffered(driver),
        Some(_) => Refusal::TripTaken,
        None => state.illegal(),
    }
}

fn no_drivers(state: &State, now: Millis) -> Step {
    let event = TripEvent {
        card_due: card::due(&state.trip, Piasters::ZERO),
        ..state.event(EventName::NoDrivers, Status::NoDrivers, Side::System, now)
    };
    let mut step = state.recorded(event, Party::System, released(&state.trip));
    step.tells.extend(state.revoked(None));
    step.tells.extend([Tell::SearchOver, Tell::Ended]);
    step
}

fn take_turn(state: &State, now: Millis) -> Result<Step, Refusal> {
    if !state.trip.is_queued() {
        return Err(state.illegal());
    }
    let event = state.event(EventName::Activated, Status::Accepted, Side::System, now);
    Ok(state.recorded(event, Party::System, None))
}

/// Is `party` one of the trip's people? One who gave it back still is: he may know where it is.
fn concerned(trip: &Trip, party: Party) -> bool {
    let gave_back = matches!(party, Party::Driver(driver) if trip.excluded.contains(&driver));
    trip.concerns(party) || gave_back
}

pub(crate) fn out_of_order(state: &State, party: Party) -> Refusal {
    match concerned(&state.trip, party) {
        true => state.illegal(),
        false => Refusal::NotYours,
    }
}

pub(crate) fn drives(state: &State, driver: DriverId) -> Result<(), Refusal> {
    match state.trip.driver == Some(driver) {
        true => Ok(()),
        false => Err(out_of_order(state, Party::Driver(driver))),
    }
}

fn arrive(
    state: &State,
    driver: DriverId,
    at: Option<Point>,
    now: Millis,
) -> Result<Step, Refusal> {
    drives(state, driver)?;
    if state.trip.is_queued() {
        return Err(state.illegal());
    }
    let away = at.map(|at| at.distance_m(state.trip.pickup.at));
    match away {
        Some(metres) if metres <= ARRIVED_WITHIN_M => {}
        Some(_) | None => {
            let distance_m = away.map(|metres| metres.round() as u32);
            return Err(Refusal::TooFarFromPickup { distance_m });
        }
    }
    let event = state.event(EventName::Arrived, Status::Arrived, Side::Driver, now);
    Ok(state.recorded(event, Party::Driver(driver), None))
}

fn start(state: &State, driver: DriverId, pin: Option<&str>, now: Millis) -> Result<Step, Refusal> {
    drives(state, driver)?;
    if state.trip.pin.is_some() && state.trip.pin.as_deref() != pin {
        return Err(Refusal::WrongPin);
    }
    let event = state.event(EventName::Started, Status::Started, Side::Driver, now);
    Ok(state.recorded(event, Party::Driver(driver), None))
}

fn complete(
    state: &State,
    driver: DriverId,
    distance_m: u32,
    cash: Option<Piasters>,
    now: Millis,
) -> Result<Step, Refusal> {
    drives(state, driver)?;
    let trip = &state.trip;
    let taken = cash.map(|given| cash::taken(trip, driver, given)).transpose()?;
    let driven_ms = now.since(trip.started_at.unwrap_or(now)).max(0);
    let by_card = card::pays_for(trip);
    let event = TripEvent {
        // What the settlement finds out may turn `paid` into `failed`, in the same commit.
        payment_status: if by_card { trip.payment_status } else { PaymentStatus::Paid },
        card_due: card::due(trip, trip.to_pay()),
        // The quoted price is the price.
        final_price: Some(trip.price),
        cash_collected: cash,
        // As wide as the column.
        distance_m: Some(distance_m.min(i32::MAX.unsigned_abs())),
        duration_s: Some(u32::try_from(driven_ms / 1000).unwrap_or(i32::MAX.unsigned_abs())),
        ..state.event(EventName::Completed, Status::Completed, Side::Driver, now)
    };
    let money = (!by_card).then(|| TripMoney::Settle(trip.settlement(driver)));
    let mut step = state.recorded(event, Party::Driver(driver), money);
    step.record.iter_mut().for_each(|record| record.cash.clone_from(&taken));
    step.tells.push(Tell::Completed);
    step.tells.push(Tell::DriverFreed { driver, how: Freed::Completed });
    step.tells.push(Tell::Ended);
    Ok(step)
}

/// The trip goes to another driver; an offer of it that he held ends so.
pub(crate) fn reassign(
    state: &State,
    driver: DriverId,
    outcome: OfferOutcome,
    now: Millis,
) -> Result<Step, Refusal> {
    let previous = state.trip.driver;
    if previous == Some(driver) || state.trip.excluded.contains(&driver) {
        return Err(Refusal::NotOfferable(driver));
    }
    let event = TripEvent {
        driver_id: Some(driver),
        previous_driver_id: previous,
        confirm_by: state.confirm_by(now),
        ..state.event(EventName::Reassigned, Status::Accepted, Side::System, now)
    };
    let mut step = state.recorded(event, Party::System, None);
    let was_asked = state.offers.iter().any(|lease| lease.driver == driver);
    step.tells.extend(was_asked.then_some(Tell::OfferEnded { driver, outcome }));
    step.tells.extend(previous.map(|driver| Tell::DriverFreed { driver, how: Freed::TakenOver }));
    step.tells.push(Tell::Matched { driver });
    Ok(step)
}

pub(crate) fn released(trip: &Trip) -> Option<TripMoney> {
    let (rider, hold) = (trip.rider, trip.hold);
    (hold > Piasters::ZERO).then_some(TripMoney::ReleaseHold { trip: trip.id, rider, hold })
}
