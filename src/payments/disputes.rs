//! Complaints about trips: opened by the rider or the driver, resolved by an operator.
//!
//! Owns the complaints and who may make one when. Money that answers one is an act of its admin's.
//!
//! Guarantees:
//! - one complaint per trip and person, within its time;
//! - a complaint that is resolved stays so.

mod model;
mod rules;
mod store;
mod wire;

pub use model::{
    Dispute, DisputeFilter, DisputeId, DisputeReason, DisputeStatus, Outcome, Resolution,
};
pub use rules::{NotOpened, NotResolved, OPEN_WITHIN, may_open, remedy};
pub use store::{
    dispute_add_in_tx, dispute_lock_in_tx, dispute_of_trip_in_tx, dispute_resolve_in_tx,
    disputes_in_tx,
};
pub use wire::{DisputeView, DisputesPage};
