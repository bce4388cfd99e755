//! Trips: what they may do, who runs them, how they are stored.
//!
//! Owns the life of every trip from the booking to its end, its offers (leases with a deadline) and
//! its timers. Doesn't know dispatch, sockets or the fleet: it tells what happened through
//! [`Effect`]s on a bounded channel.
//!
//! Guarantees (DESIGN 9):
//! - T1, T2: a driver is on one active trip, a rider on one immediate trip: unique indexes decide;
//! - T3, T7: one accept wins, of an asked driver, before his offer's deadline;
//! - T4, T5: status moves along the graph, event numbers have no gap, the events make the row;
//! - T6: every live trip has an actor, also after a crash;
//! - a trip booked ahead is searched in time, by a driver who says again that he comes (`ahead`);
//! - what is answered is committed, and nothing is told before.

mod actor;
mod ahead;
mod booking;
mod cancel;
mod card;
mod cash;
mod effect;
mod event;
mod late;
mod model;
mod offers;
mod pick;
mod pins;
mod pulse;
mod refusal;
mod registry;
mod replay;
mod rules;
mod standbys;
mod store;
mod swap;
mod wire;
mod writer;

#[cfg(test)]
mod tests;

pub use ahead::{Ahead, AheadCommand};
pub use card::{CardDue, CardSettled, card_settle_in_tx, trip_in_tx};
pub use cash::{CASH_OVER_MAX, CASH_WITHIN_MS};
pub use effect::Effect;
pub use event::{EventName, Opened, TripEvent, evolve};
pub use late::PaidLate;
pub use model::{
    CancelReason, Freed, NewTrip, OfferOutcome, Party, Passenger, PaymentStatus, Place, PriceArm,
    Side, Status, Terms, Trip,
};
pub use offers::{Bid, BidStatus, BidTerms};
pub use pulse::PulseView;
pub use refusal::{Refusal, TripError};
pub use registry::{Filter, Page, Trips, TripsConfig};
pub use replay::{Replayed, replay, replay_all};
pub use rules::{ARRIVED_WITHIN_M, Command};
pub use store::{DrivenTrip, driven_in_tx, started_in_tx};
pub use swap::TakeOver;
pub use wire::{DriverCard, StatusView, TripEventView, TripList, TripView, VehicleCard};
