//! A map of few, large pieces: shards of 22.5°, three slots split a tile, few steps per schedule.

pub(crate) const SHARD_BITS: u32 = 28;
pub(crate) const BASE_LEVEL: u32 = 3;
pub(crate) const MAX_LEVEL: u32 = 5;
pub(crate) const TILE_MAX: usize = 2;
pub(crate) const JOIN_MAX: usize = 1;
pub(crate) const CHUNK: usize = 4;
