//! The live map: who is near, which cell is this, which fence is he in.
//!
//! Owns positions in memory, keyed by dense integers; it doesn't know drivers. Does no I/O, reads
//! no clock.
//!
//! Guarantees:
//! - [`TileIndex::nearest`] answers exactly what a scan of all slots would answer, also across
//!   shard borders, the antimeridian and the poles (test: `answers_equal_a_scan`);
//! - under concurrent moves every answer is explained by a position each slot had between the
//!   question and the answer (test: `every_answer_is_explained_under_concurrent_moves`);
//! - a move inside the home tile takes one uncontended lock and allocates nothing;
//! - [`Fences`] decide in whole numbers: a point on an edge is always inside.

mod fence;
mod fixed;
mod hex;
mod index;
mod shard;
mod slot;
mod tile;

#[cfg(test)]
mod tests;

pub use fence::{Fence, FenceKind, Fences};
pub use fixed::{distance_m, snap};
pub use hex::{Cell, cell_of, cells_around, surge_cell};
pub use index::{Near, Query, TileIndex};
