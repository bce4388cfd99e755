//! Squares of a grid in degrees: what lies near each other, found in a few instructions.
//!
//! H3 would cost a third of a microsecond for each of the thousands of pairs of a dispatch tick.

use base::Point;

/// A square, by its row and column from the south-west.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Square {
    pub(crate) row: i32,
    pub(crate) col: i32,
}

impl Square {
    /// Of 1/2000 degree, 56 m from south to north: who stands in one, waits in the same street.
    pub(crate) fn fine(at: Point) -> Self {
        Self::of(at, 2000.0)
    }

    /// Of 1/50 degree, 2.2 km from south to north: a quarter of a city.
    pub(crate) fn coarse(at: Point) -> Self {
        Self::of(at, 50.0)
    }

    fn of(at: Point, per_degree: f64) -> Self {
        // At most 360 000 either way.
        let count = |degrees: f64| (degrees * per_degree).floor() as i32;
        Self { row: count(at.lat()), col: count(at.lng()) }
    }
}
