//! What admins do with other people's money: corrections, write-offs, refunds. Four eyes above a
//! limit.
//!
//! Owns the record of each act, and who may do it alone. Does not carry acts out: whoever does
//! posts in the transaction that stores the record.
//!
//! Guarantees:
//! - an act above the limit, or beyond what an admin may do alone in a day, waits for another
//!   admin; nobody says yes to himself, by rule and by the database;
//! - an act that is done by a posting names its journal, and the database looks that it is there;
//! - an act is decided once.

mod model;
mod rules;
mod store;
mod wire;

pub use model::{
    ActDetails, ActFilter, ActId, ActKind, ActLimits, ActStatus, AtFault, MoneyAct, NewAct,
};
pub use rules::{NotDecided, Verdict, decide, needs_another};
pub use store::{
    act_add_in_tx, act_decide_in_tx, act_in_tx, act_lock_in_tx, acts_in_tx, alone_since_in_tx,
    refunds_of_trip_wait_in_tx,
};
pub use wire::{ActView, ActsPage};
