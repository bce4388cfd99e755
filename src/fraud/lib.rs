//! Who moves money or drives in a way that somebody should look at, and what waits until somebody
//! has.
//!
//! Owns what accounts did lately (counters by account and window), the cases that the rules open,
//! and what operators decided about them. Does not own money, bookings or notifications: whoever
//! is about to move money asks here first, and carries out what an account's new standing means.
//!
//! Guarantees:
//! - an account's movements are counted one after the other, so that two at once don't slip under
//!   a limit together;   (test: `two_at_once_do_not_slip_under_the_limit`)
//! - an account has one case per rule in force at most, whatever comes together;
//! - what an operator cleared stays cleared for the same evidence;
//!   (test: `a_cleared_pattern_needs_more_evidence_to_open_again`)
//! - whichever of two trips ended first, the later one is the replay, in whatever order they are
//!   looked at;   (test: `a_replayed_track_is_found_and_nothing_beside_it`)
//! - nothing here reads the ledger: a check costs a handful of reads by key.

mod conduct;
mod desk;
mod model;
mod prints;
mod rules;
mod store;
#[cfg(test)]
mod tests;
mod thresholds;
mod wire;

pub use conduct::{Answer, CHOSEN, Evidence, Manner, Replay, Spot, TRACKED, TREND_NEW, TREND_OLD};
pub use desk::{Asked, DecideError, Decided, Drive, Found, Fraud, Mark, Replayer, Turned};
pub use model::{Action, Admission, CaseFilter, Decision, Movement, Note, Rule, Status};
pub use rules::{Told, admission, is_circular, told};
pub use thresholds::{FraudConfig, Threshold, Thresholds, WrongThresholds};
pub use wire::{FraudCase, FraudPage};
