//! How finely the map is cut. The model check has a map of its own with few, large pieces.

/// A shard is a cell of 2²³ units (0.703125°).
pub(crate) const SHARD_BITS: u32 = 23;
/// Tiles are never larger than a shard's side over 2³ (9.8 km).
pub(crate) const BASE_LEVEL: u32 = 3;
/// … and never smaller than over 2¹² (19 m): a crowd on one spot makes a longer tile, not a deeper
/// tree.
pub(crate) const MAX_LEVEL: u32 = 12;
/// A tile splits when it holds more than this.
pub(crate) const TILE_MAX: usize = 64;
/// Four sisters join when they hold no more than this together: well below, so that a crowd that
/// breathes doesn't split and join with every breath.
pub(crate) const JOIN_MAX: usize = 24;
/// Slots that are made together.
pub(crate) const CHUNK: usize = 4096;

// A tile's key has twelve bits for its column and row.
const _: () = assert!(BASE_LEVEL <= MAX_LEVEL && MAX_LEVEL <= 12);
const _: () = assert!(JOIN_MAX < TILE_MAX);
