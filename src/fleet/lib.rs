//! The drivers: where they are, whether they work, what they measure, and who may drive at all.
//!
//! Owns every driver's state on this node (a lock per driver), presence, the live map's contents,
//! trip meters, and the tables of drivers, positions, cities and fences. Doesn't know trips beyond
//! their number: `trips` and `dispatch` hear of it through [`Effect`]s.
//!
//! Guarantees:
//! - a driver moves only along the edges of `rules.rs`, each a compare-and-set under his lock
//!   (test: `every_walk_is_legal`);
//! - [`Fleet::ingest`] waits for nothing: no await, no database, no allocation once the driver is
//!   seated (a meter's list of points grows by doubling; entering or leaving a fence allocates);
//! - the live map never goes back in time, and shows no position that a car can't have reached
//!   (test: `a_jump_stays_off_the_map_until_confirmed`);
//! - who isn't heard for 30 s is offline, unless he is on a trip (test: `silence_takes_him_out`);
//! - the queue of an airport has the order in which its drivers came, and no position within its
//!   margin costs a place (test: `the_queue_is_served_in_the_order_in_which_they_came`).

mod cells;
mod check;
mod conduct;
mod days;
mod fences;
mod fleet;
mod map;
mod meter;
mod model;
mod nearby;
mod papers;
mod position;
mod presence;
mod queue;
mod roster;
mod rules;
mod sessions;
mod shift;
mod store;
mod tally;
mod visits;
mod wire;

#[cfg(test)]
mod conduct_tests;
#[cfg(test)]
mod store_tests;
#[cfg(test)]
mod tests;

pub use cells::{CellDelta, Moved};
pub use conduct::{
    Conduct, ConductMark, HistoryRow, Misconduct, conduct_forget_in_tx, conduct_mark_in_tx,
    heard_since_in_tx, history_in_tx,
};
pub use days::{DayView, DaysView, Driven, add_to_day_in_tx, days, take_from_day_in_tx};
pub use fences::{
    FenceForm, FenceView, FencesPage, MAP, NewFence, fence_add_in_tx, fence_change_in_tx,
    fence_disable_in_tx, fence_in_tx, fence_lock_in_tx, fences_in_tx,
};
pub use fleet::{Fleet, FleetConfig};
pub use meter::TrackPoint;
pub use model::{
    BatchOutcome, CancelTerms, Candidate, City, Count, DriverBrief, DriverFacts, DriverStatus,
    Effect, Finish, Finishing, Fix, FixError, FleetError, Ingested, NearbyDriver, NearbyQuery,
    OnDuty, Papers, Record, State, VehicleFacts,
};
pub use papers::{Barred, Expiring, Onboarding, OnboardingError, REQUIRED_DOCUMENTS, bar_in_tx};
pub use position::{Meter, Seat};
pub use queue::{FenceQueueView, LostPlace, QueuePlaceView, QueuedView};
pub use sessions::{DriverAtFence, DriverSession, FENCE_FACTS, SESSION_FACTS};
pub use visits::FenceTerms;
pub use wire::{
    Decision, DecisionKind, DocumentBody, DocumentView, DriverView, DriversPage, LocationReport,
    NearbyDriverView, NearbyMovedView, NearbyUpdateView, Profile, TrackPointView, TrackView,
    VehicleBody,
};
