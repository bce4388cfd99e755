//! H3 cells: rooms of the nearby map and zones of surge.

use base::Point;
use h3o::{CellIndex, LatLng, Resolution};
use serde::{Deserialize, Serialize};

/// Edge about 0.5 km: a rider's map of 2 km is some thirty rooms.
const NEARBY: Resolution = Resolution::Eight;
/// Edge about 1.4 km: wide enough for demand and supply to be counted, not guessed.
const SURGE: Resolution = Resolution::Seven;

/// Widest circle that [`cells_around`] covers, metres.
const RADIUS_MAX_M: f64 = 30_000.0;

/// A hexagon of the H3 grid, as its 64-bit index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cell(u64);

/// The cell of the nearby map that holds the place.
pub fn cell_of(at: Point) -> Cell {
    Cell(lat_lng(at).to_cell(NEARBY).into())
}

/// The surge zone that holds the place.
pub fn surge_cell(at: Point) -> Cell {
    Cell(lat_lng(at).to_cell(SURGE).into())
}

/// Cells of the nearby map that together cover the circle (at most 30 km; a wider one is cut):
/// every place within `radius_m` of `at` lies in one of them.
pub fn cells_around(at: Point, radius_m: f64) -> Vec<Cell> {
    let radius_m = radius_m.clamp(0.0, RADIUS_MAX_M);
    let edge_m = NEARBY.edge_length_m();
    // Hexagons are up to a third smaller or larger than the average, by where they lie.
    let step_m = edge_m * 1.1;
    let rings = (radius_m / step_m).ceil() as u32 + 1;
    let disk: Vec<CellIndex> = lat_lng(at).to_cell(NEARBY).grid_disk(rings);
    let reach_m = radius_m + edge_m * 1.5;
    disk.into_iter()
        .map(|cell| Cell(cell.into()))
        .filter(|cell| cell.center().distance_m(at) <= reach_m)
        .collect()
}

impl Cell {
    /// The H3 index.
    pub const fn id(self) -> u64 {
        self.0
    }

    /// `None` when the number is no H3 cell.
    pub fn from_id(id: u64) -> Option<Self> {
        CellIndex::try_from(id).ok().map(|cell| Self(cell.into()))
    }

    pub fn center(self) -> Point {
        point(LatLng::from(self.index()))
    }

    /// The corners, not closed.
    pub fn boundary(self) -> Vec<Point> {
        self.index().boundary().iter().map(|corner| point(*corner)).collect()
    }

    fn index(self) -> CellIndex {
        CellIndex::try_from(self.0).expect("a Cell is made from a valid index only")
    }
}

fn lat_lng(at: Point) -> LatLng {
    LatLng::new(at.lat(), at.lng()).expect("a Point is finite")
}

fn point(at: LatLng) -> Point {
    let lng = (at.lng() + 180.0).rem_euclid(360.0) - 180.0;
    Point::new(at.lat().clamp(-90.0, 90.0), lng).expect("clamped into range")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_cells_cover_the_circle(
            lat in -89.0..89.0f64, lng in -180.0..180.0f64, radius in 0.0..6000.0f64,
            bearing in 0.0..std::f64::consts::TAU, share in 0.0..1.0f64,
        ) {
            let from = Point::new(lat, lng).expect("in range");
            let step = radius * share / base::EARTH_RADIUS_M;
            let to_lat = lat + (step * bearing.cos()).to_degrees();
            let to_lng = lng + (step * bearing.sin() / lat.to_radians().cos()).to_degrees();
            let to_lng = (to_lng + 180.0).rem_euclid(360.0) - 180.0;
            let to = Point::new(to_lat.clamp(-90.0, 90.0), to_lng).expect("in range");
            prop_assume!(from.distance_m(to) <= radius);
            prop_assert!(cells_around(from, radius).contains(&cell_of(to)));
        }
    }

    #[test]
    fn a_cell_is_told_by_its_number() {
        let cairo = Point::new(30.0444, 31.2357).expect("Cairo");
        let cell = cell_of(cairo);
        assert_eq!(Cell::from_id(cell.id()), Some(cell));
        assert_eq!(Cell::from_id(7), None);
        assert_eq!(cell.boundary().len(), 6);
        assert!(cell.center().distance_m(cairo) < 700.0);
        assert_ne!(surge_cell(cairo), cell);
    }
}
