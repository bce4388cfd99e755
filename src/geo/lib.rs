//! The live map: who is near, which cell is this, which fence is he in.
//!
//! Owns positions in memory, keyed by dense integers; it doesn't know drivers. Does no I/O, reads
//! no clock.
//!
//! Guarantees:
//! - [`TileIndex::nearest`] answers exactly what a scan of all slots would answer, also across
//!   shard borders, the antimeridian and the poles (test: `answers_equal_a_scan`);
//! - while slots move, hide, leave and come back, every slot in an answer was just so (place, time
//!   and class together) at one moment between question and answer, and every slot left out
//!   didn't match, or was no nearer than the last one, at some such moment (tests:
//!   `every_answer_is_explained_under_concurrent_moves`; `model/`, thousands of schedules);
//! - a removal takes place and class away at one moment (`model/`:
//!   `a_removal_against_a_move_and_a_class_leaves_what_one_order_leaves`);
//! - a move inside the home tile takes one uncontended lock and allocates nothing (`memory/`:
//!   `a_move_inside_its_tile_allocates_nothing`);
//! - 200 000 slots take at most 64 bytes each (`memory/`:
//!   `two_hundred_thousand_drivers_take_64_bytes_each`);
//! - [`Fences`] decide in whole numbers: a point on an edge is always inside;
//! - an [`Outline`] that was parsed crosses and touches itself nowhere.

mod fence;
mod fixed;
mod hex;
mod index;
mod outline;
mod scale;
mod shard;
mod slot;
mod squares;
mod sync;
mod tile;

#[cfg(test)]
mod fire_tests;
#[cfg(test)]
mod tests;

pub use fence::{Fence, FenceKind, Fences};
pub use fixed::{distance_m, snap};
pub use hex::{Cell, cell_of, cells_around, surge_cell};
pub use index::{Near, Query, TileIndex};
pub use outline::{Outline, OutlineError};
pub use squares::Square;

// Two to a cache line, and none across two.
const _: () = assert!(size_of::<slot::Slot>() == 32);
