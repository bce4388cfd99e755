//! Tiles: quadtree cells inside a shard, each with a loose border of a quarter of its side.
//!
//! Shards are cells of one size: 512 columns, 256 rows. Inside them tiles start at an eighth of the
//! side, so that the loose border never reaches far into the neighbour, and go down to 19 m
//! (`scale`). A tile's key says all about it: no table is needed to know whether a move stays
//! inside.

use rstar::{AABB, RTreeObject};

use crate::fixed::Fixed;
use crate::scale::{BASE_LEVEL, SHARD_BITS};

pub(crate) const COLUMNS: u32 = 1 << (32 - SHARD_BITS);
pub(crate) const ROWS: u32 = 1 << (31 - SHARD_BITS);
/// The widest loose border, units.
pub(crate) const SLACK_MAX: u64 = (1 << (SHARD_BITS - BASE_LEVEL)) / 4;

/// A shard's number: row × 512 + column.
pub(crate) const fn shard_of(at: Fixed) -> u32 {
    (at.y >> SHARD_BITS) * COLUMNS + (at.x >> SHARD_BITS)
}

/// The shards whose tiles may hold something within the spans, ascending.
pub(crate) fn shards_over(at: Fixed, half_y: u64, half_x: u64, out: &mut Vec<usize>) {
    let (half_y, half_x) = (half_y + SLACK_MAX, half_x + SLACK_MAX);
    let y = u64::from(at.y);
    let south = y.saturating_sub(half_y) >> SHARD_BITS;
    let north = ((y + half_y) >> SHARD_BITS).min(u64::from(ROWS) - 1);
    let columns = u64::from(COLUMNS);
    let (west, count) = if 2 * half_x >= 1 << 32 {
        (0, columns)
    } else {
        let start = (u64::from(at.x) + (1 << 32) - half_x) & 0xFFFF_FFFF;
        let inside = start & ((1 << SHARD_BITS) - 1);
        (start >> SHARD_BITS, (((inside + 2 * half_x) >> SHARD_BITS) + 1).min(columns))
    };
    for row in south..=north {
        out.extend((west..west + count).map(|c| (row * columns + c % columns) as usize));
    }
    out.sort_unstable();
}

/// A tile's name: shard, level, and its column and row in the shard at that level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct TileKey(u64);

impl TileKey {
    pub(crate) const fn of(at: Fixed, level: u32) -> Self {
        let inside = (1 << SHARD_BITS) - 1;
        let shift = SHARD_BITS - level;
        Self::new(shard_of(at), level, (at.x & inside) >> shift, (at.y & inside) >> shift)
    }

    const fn new(shard: u32, level: u32, x: u32, y: u32) -> Self {
        Self(((shard as u64) << 28) | ((level as u64) << 24) | ((x as u64) << 12) | y as u64)
    }

    pub(crate) const fn bits(self) -> u64 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(crate) const fn shard(self) -> u32 {
        (self.0 >> 28) as u32
    }

    pub(crate) const fn level(self) -> u32 {
        (self.0 >> 24) as u32 & 0xF
    }

    const fn x(self) -> u32 {
        (self.0 >> 12) as u32 & 0xFFF
    }

    const fn y(self) -> u32 {
        self.0 as u32 & 0xFFF
    }

    pub(crate) fn parent(self) -> Option<Self> {
        let level = self.level();
        let up = || Self::new(self.shard(), level - 1, self.x() >> 1, self.y() >> 1);
        (level > BASE_LEVEL).then(up)
    }

    pub(crate) fn children(self) -> [Self; 4] {
        let child = |dx, dy| {
            Self::new(self.shard(), self.level() + 1, self.x() * 2 + dx, self.y() * 2 + dy)
        };
        [child(0, 0), child(1, 0), child(0, 1), child(1, 1)]
    }

    const fn side(self) -> u32 {
        1 << (SHARD_BITS - self.level())
    }

    const fn corner(self) -> Fixed {
        let shift = SHARD_BITS - self.level();
        Fixed {
            y: ((self.shard() / COLUMNS) << SHARD_BITS) + (self.y() << shift),
            x: ((self.shard() % COLUMNS) << SHARD_BITS) + (self.x() << shift),
        }
    }

    /// Is the place inside the tile or its loose border?
    pub(crate) const fn holds(self, at: Fixed) -> bool {
        let (corner, side) = (self.corner(), self.side());
        let slack = side / 4;
        // Wrapping: a place west of 180° is just left of a tile that starts at −180°. Latitudes
        // never come near a wrap: y has one bit to spare.
        let dx = at.x.wrapping_sub(corner.x.wrapping_sub(slack));
        let dy = at.y.wrapping_add(slack).wrapping_sub(corner.y);
        dx < side + 2 * slack && dy < side + 2 * slack
    }

    /// The child whose cell is nearest to the place (which may lie in the loose border).
    pub(crate) fn child_towards(self, at: Fixed) -> Self {
        let (corner, side) = (self.corner(), self.side());
        let clamp = |value: u32, low: u32| {
            let offset = value.wrapping_sub(low);
            // More than half a turn away is "just below" the corner.
            if offset > 1 << 31 { low } else { low + offset.min(side - 1) }
        };
        let inside = Fixed { y: clamp(at.y, corner.y), x: clamp(at.x, corner.x) };
        Self::of(inside, self.level() + 1)
    }
}

/// A tile as the R-tree sees it: the loose box, in units, not wrapped.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct TileBox {
    pub(crate) key: TileKey,
    /// Where its members are in the shard's list of tiles.
    pub(crate) tile: u32,
}

impl RTreeObject for TileBox {
    type Envelope = AABB<[i64; 2]>;

    fn envelope(&self) -> Self::Envelope {
        let (corner, side) = (self.key.corner(), i64::from(self.key.side()));
        let (x, y, slack) = (i64::from(corner.x), i64::from(corner.y), side / 4);
        AABB::from_bounds([x - slack, y - slack], [x + side + slack, y + side + slack])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scale::MAX_LEVEL;

    #[test]
    fn a_tile_holds_its_cell_and_a_quarter_around_it() {
        let side = 1 << (SHARD_BITS - BASE_LEVEL);
        let key = TileKey::of(Fixed { y: 1 << 30, x: 0 }, BASE_LEVEL);
        let check = |dy: i64, dx: i64, expected: bool| {
            let place = Fixed { y: ((1i64 << 30) + dy) as u32, x: dx.rem_euclid(1 << 32) as u32 };
            assert_eq!(key.holds(place), expected, "{dy} {dx}");
        };
        check(0, 0, true);
        check(side / 2, -side / 4, true); // across the antimeridian
        check(side / 2, -side / 4 - 1, false);
        check(-side / 4, 0, true);
        check(-side / 4 - 1, 0, false);
        check(side + side / 4 - 1, side - 1, true);
        check(side + side / 4, side - 1, false);
    }

    #[test]
    fn a_child_lies_in_its_parent() {
        let place = Fixed { y: 1_234_567_890, x: 3_456_789_012 };
        for level in BASE_LEVEL..MAX_LEVEL {
            let key = TileKey::of(place, level);
            let child = TileKey::of(place, level + 1);
            assert_eq!(child.parent(), Some(key).filter(|_| level >= BASE_LEVEL));
            assert!(key.children().contains(&child));
            assert_eq!(key.child_towards(place), child);
        }
    }

    #[test]
    fn spans_that_wrap_visit_both_sides() {
        let mut out = Vec::new();
        shards_over(Fixed { y: 5 << SHARD_BITS | 1 << (SHARD_BITS - 1), x: 3 }, 1, 1, &mut out);
        let columns = COLUMNS as usize;
        assert_eq!(out, [5 * columns, 6 * columns - 1]);
        out.clear();
        shards_over(Fixed { y: 0, x: 1 << (SHARD_BITS - 1) }, 1, 1 << 31, &mut out);
        assert_eq!(out.len(), columns);
    }
}
