//! Money that came through the gateway and that nobody here had asked for.
//!
//! Owns the list of it; the money itself is the ledger's. It waits until an admin says whose it is,
//! or that the gateway gives it back.
//!
//! Guarantees:
//! - a capture is listed once, with the posting that keeps it, and given away once, with the
//!   posting that does; the database looks that they are there.

mod store;
mod wire;

pub(crate) use store::suspense_keep_in_tx;
pub use store::{Kept, suspense_in_tx, suspense_lock_in_tx, suspense_resolve_in_tx};
pub use wire::{SuspensePage, SuspenseView};
