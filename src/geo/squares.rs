//! Squares of a grid in degrees: what lies near each other, found in a few instructions, where an
//! H3 cell would cost a third of a microsecond for each place.

use base::Point;

/// A square, by its row and column from where equator and prime meridian cross.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Square {
    pub row: i32,
    pub col: i32,
}

impl Square {
    /// The one that holds the place, where a degree has so many of them: at most a few thousand.
    pub fn of(at: Point, per_degree: f64) -> Self {
        let count = |degrees: f64| (degrees * per_degree).floor() as i32;
        Self { row: count(at.lat()), col: count(at.lng()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_goes_from_its_south_western_corner() {
        let check = |lat: f64, lng: f64, row: i32, col: i32| {
            let at = Point::new(lat, lng).expect("in range");
            assert_eq!(Square::of(at, 100.0), Square { row, col }, "{lat} {lng}");
        };
        check(30.05, 31.25, 3_005, 3_125);
        check(30.059_9, 31.259_9, 3_005, 3_125);
        check(30.06, 31.249_9, 3_006, 3_124);
        check(-0.001, -0.001, -1, -1);
        check(90.0, -180.0, 9_000, -18_000);
    }
}
