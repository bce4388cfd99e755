//! Finds the driver for a trip.
//!
//! Owns the running searches, the offers that are open, and the record of why each driver was asked
//! or left out. Does not know trips, sockets or money: a search comes in, effects go out, and who
//! carries them out says how each offer ended.
//!
//! Guarantees:
//! - a driver holds at most one open offer, whatever happens at the same time (test:
//!   `a_hundred_searches_never_share_a_driver`);
//! - every offer ends: by its outcome, or by lapsing (test: `every_lease_ends`);
//! - a driver who refused, was excluded or let the offer pass is not asked again by that search
//!   (test: `nobody_is_asked_twice`);
//! - a city's strategy changes between two ticks: running searches follow, open offers end as they
//!   would have (test: `every_lease_ends`);
//! - a search lasts at least its preset's time over all its rings before it says "no drivers"
//!   (test: `an_empty_city_is_searched_for_sixty_seconds`);
//! - a search that BATCHED can serve at all is served, however far its driver is (test:
//!   `a_far_rider_is_served_in_bounded_time`);
//! - where drivers are swapped before the pickup, a rider's is once at most, and never for one who
//!   is not much nearer (tests: `a_nearer_driver_takes_over_once`,
//!   `a_swap_must_gain_what_was_asked_for`);
//! - who stood by is asked before all others, and one who stands by is nobody's driver (test:
//!   `who_stood_by_is_asked_alone_and_first`);
//! - what was decided is decided again from what was kept of it (test:
//!   `whatever_happens_is_decided_again_the_same`);
//! - a city's tick keeps its budget, whatever is asked of it: the search does without something, in
//!   named steps and back again, and nobody starves (test:
//!   `a_tick_keeps_its_budget_and_everybody_has_his_turn`).
//!
//! The decision is pure: [`tick`] looks at a [`Board`] and a [`View`] at a given moment. The actor,
//! a replay and a simulator run the same function.

mod actor;
mod answers;
mod assign;
mod batch;
mod board;
mod choice;
mod eligibility;
mod engine;
mod live;
mod load;
mod look;
mod model;
mod offers;
mod score;
mod shadow;
mod slack;
mod snapshot;
mod store;
mod strategy;
mod supply;
mod trace;
mod turns;
mod wire;

#[cfg(test)]
mod tests;

pub use actor::{Dispatch, DispatchConfig};
pub use answers::{Manner, OfferAnswer, answers_in_tx};
pub use board::{Board, Ended, Found, Rules};
pub use choice::store::{choice_in_tx, choose_in_tx, shadow_in_tx, shadow_of_in_tx};
pub use choice::{Choice, ShadowChoice};
pub use eligibility::{Gate, Hold, Standing, gate};
pub use engine::{tick, tick_and_keep, tick_timed};
pub use load::{Meter, Relief, Step, Untimed};
pub use model::{
    BidTerms, Considered, Decision, Effect, OfferPlan, Outcome, Part, QueueNews, Said, Search,
    Seen, Verdict, View,
};
pub use offers::{OfferSet, chance};
pub use score::{Acquaintance, Fairness, Merits, Parts, Reach, Vehicle, Weights, score};
pub use snapshot::{ReplayedRound, Snapshot, replay_trip};
pub use strategy::{Batching, Bids, Preset, Presets, Strategy, Swap};
pub use supply::Supply;
pub use wire::{
    CityDispatchView, LoadView, Matching, MatchingStatus, RoundView, ShadowCounts, ShadowSide,
    ShadowView, Trace, TraceRow,
};
