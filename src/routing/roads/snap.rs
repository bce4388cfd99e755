//! Finds the road next to a place: a grid of the city, each cell with the road pieces in it.
//!
//! Guarantees: the nearest piece within reach is found, and nothing beyond it
//! (test: `a_place_snaps_to_the_nearest_road`).

use base::{EARTH_RADIUS_M, Point};

use crate::roads::extract::Spot;
use crate::roads::network::Network;

/// A place farther than this from any road is not on this map.
pub(crate) const REACH_M: f64 = 500.0;
/// Height of a cell in ten-millionths of a degree: about 100 m.
const CELL: i64 = 9_000;
/// A map that is too large for such cells gets larger ones.
const CELLS_MOST: i64 = 4_000_000;
const METRES_PER_UNIT: f64 = EARTH_RADIUS_M * std::f64::consts::PI / 180.0 / 1e7;

/// A place on a road.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Snap {
    pub(crate) road: u32,
    /// Which piece of the road, from 0.
    pub(crate) piece: u32,
    /// Share of the road's length that lies before the place.
    pub(crate) along: f64,
    pub(crate) at: Point,
    /// From the place asked for.
    pub(crate) away_m: f64,
}

/// Where road pieces lie. A piece is known by the place of its first point.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grid {
    low: [i64; 2],
    cell: i64,
    rows: i64,
    columns: i64,
    /// Where each cell's pieces begin; one more at the end.
    first: Vec<u32>,
    pieces: Vec<u32>,
}

impl Grid {
    pub(crate) fn new(network: &Network) -> Self {
        let spots = || network.spots.iter().map(|spot| spot.map(i64::from));
        let Some(start) = spots().next() else { return Self::default() };
        let low = spots().fold(start, |low, spot| [low[0].min(spot[0]), low[1].min(spot[1])]);
        let high = spots().fold(start, |high, spot| [high[0].max(spot[0]), high[1].max(spot[1])]);
        let size = |cell: i64| [0, 1].map(|axis| (high[axis] - low[axis]) / cell + 1);
        let mut cell = CELL;
        while size(cell).iter().product::<i64>() > CELLS_MOST {
            cell *= 2;
        }
        let [rows, columns] = size(cell);
        let mut grid = Self { low, cell, rows, columns, ..Self::default() };
        // Counted, then placed.
        let mut counts = vec![0u32; (rows * columns) as usize + 1];
        grid.each_piece(network, |cell, _| counts[cell + 1] += 1);
        for place in 1..counts.len() {
            counts[place] += counts[place - 1];
        }
        grid.first.clone_from(&counts);
        grid.pieces = vec![0; counts.last().copied().unwrap_or(0) as usize];
        let mut pieces = std::mem::take(&mut grid.pieces);
        grid.each_piece(network, |cell, piece| {
            pieces[counts[cell] as usize] = piece;
            counts[cell] += 1;
        });
        grid.pieces = pieces;
        grid
    }

    fn each_piece(&self, network: &Network, mut tell: impl FnMut(usize, u32)) {
        for (road, number) in network.roads.iter().zip(0..).filter(|(road, _)| road.stops) {
            for (pair, piece) in network.points(number).windows(2).zip(road.first..) {
                let ends = [self.cell_of(pair[0]), self.cell_of(pair[1])];
                let rows = ends[0][0].min(ends[1][0])..=ends[0][0].max(ends[1][0]);
                for row in rows {
                    let columns = ends[0][1].min(ends[1][1])..=ends[0][1].max(ends[1][1]);
                    columns.for_each(|column| tell((row * self.columns + column) as usize, piece));
                }
            }
        }
    }

    fn cell_of(&self, spot: Spot) -> [i64; 2] {
        [0, 1].map(|axis| (i64::from(spot[axis]) - self.low[axis]).div_euclid(self.cell))
    }

    /// Could the place have a road of this map within reach?
    pub(crate) fn covers(&self, at: Point) -> bool {
        if self.pieces.is_empty() {
            return false;
        }
        let [row, column] = self.cell_of(spot(at));
        let margin = self.margin();
        let inside = |place: i64, count: i64| (-margin..count + margin).contains(&place);
        inside(row, self.rows) && inside(column, self.columns)
    }

    /// Cells around the map from where it may still be in reach: enough up to 80° north.
    fn margin(&self) -> i64 {
        (6.0 * REACH_M / METRES_PER_UNIT / self.cell as f64).ceil() as i64
    }

    /// The nearest place on a road, if one is within reach.
    pub(crate) fn snap(&self, network: &Network, at: Point) -> Option<Snap> {
        if !self.covers(at) {
            return None;
        }
        let plane = Plane::around(at);
        let home = self.cell_of(spot(at));
        let narrow = self.cell as f64 * plane.shrink;
        let reach = REACH_M / METRES_PER_UNIT;
        let mut best = Near { piece: u32::MAX, share: 0.0, squared: reach * reach };
        for ring in 0..=self.rows.max(self.columns) + self.margin() {
            // What no ring before this one holds is at least this far.
            let least = (ring - 1).max(0) as f64 * narrow;
            if least * least > best.squared {
                break;
            }
            for cell in self.ring(home, ring) {
                let pieces = self.first[cell] as usize..self.first[cell + 1] as usize;
                for piece in &self.pieces[pieces] {
                    let near = plane.nearest(network, *piece);
                    let tie = near.squared == best.squared && near.piece < best.piece;
                    if near.squared < best.squared || tie {
                        best = near;
                    }
                }
            }
        }
        (best.piece != u32::MAX).then(|| plane.placed(network, &best))
    }

    /// The cells at this many steps around, inside the map.
    fn ring(&self, home: [i64; 2], steps: i64) -> impl Iterator<Item = usize> + '_ {
        let rows = (home[0] - steps).max(0)..=(home[0] + steps).min(self.rows - 1);
        rows.flat_map(move |row| {
            let whole = (row - home[0]).abs() == steps;
            let stride = if whole { 1 } else { (2 * steps).max(1) };
            let columns = (home[1] - steps..=home[1] + steps).step_by(stride as usize);
            columns
                .filter(|column| (0..self.columns).contains(column))
                .map(move |column| (row * self.columns + column) as usize)
        })
    }
}

struct Near {
    piece: u32,
    /// Share of the piece before the place.
    share: f64,
    /// Its distance, squared.
    squared: f64,
}

/// The plane that touches the Earth at a place, in ten-millionths of a degree of latitude: exact to
/// a millimetre within reach.
struct Plane {
    lat: f64,
    lng: f64,
    shrink: f64,
}

impl Plane {
    fn around(at: Point) -> Self {
        Self { lat: at.lat() * 1e7, lng: at.lng() * 1e7, shrink: at.lat().to_radians().cos() }
    }

    fn flat(&self, spot: Spot) -> [f64; 2] {
        [(f64::from(spot[1]) - self.lng) * self.shrink, f64::from(spot[0]) - self.lat]
    }

    fn nearest(&self, network: &Network, piece: u32) -> Near {
        let [ax, ay] = self.flat(network.spots[piece as usize]);
        let [bx, by] = self.flat(network.spots[piece as usize + 1]);
        let (dx, dy) = (bx - ax, by - ay);
        let length = dx * dx + dy * dy;
        let share =
            if length > 0.0 { (-(ax * dx + ay * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
        let (x, y) = (ax + share * dx, ay + share * dy);
        Near { piece, share, squared: x * x + y * y }
    }

    fn placed(&self, network: &Network, near: &Near) -> Snap {
        let after = network.roads.partition_point(|road| road.first <= near.piece);
        let road = after as u32 - 1;
        let points = network.points(road);
        let piece = near.piece - network.roads[road as usize].first;
        // Only the share counts: the plane's lengths will do, and cost a tenth.
        let (mut before, mut whole) = (0.0, 0.0);
        for (pair, place) in points.windows(2).zip(0..) {
            let [[ax, ay], [bx, by]] = [self.flat(pair[0]), self.flat(pair[1])];
            let (dx, dy) = (bx - ax, by - ay);
            let length = (dx * dx + dy * dy).sqrt();
            before += match place {
                _ if place < piece => length,
                _ if place == piece => length * near.share,
                _ => 0.0,
            };
            whole += length;
        }
        let along = if whole > 0.0 { (before / whole).clamp(0.0, 1.0) } else { 0.0 };
        let (a, b) = (points[piece as usize], points[piece as usize + 1]);
        let between = |axis: usize| {
            let (a, b) = (f64::from(a[axis]), f64::from(b[axis]));
            (a + near.share * (b - a)) / 1e7
        };
        let at = Point::new(between(0), between(1)).expect("between two places on Earth");
        Snap { road, piece, along, at, away_m: near.squared.sqrt() * METRES_PER_UNIT }
    }
}

fn spot(at: Point) -> Spot {
    [(at.lat() * 1e7).round() as i32, (at.lng() * 1e7).round() as i32]
}
