//! Places, zones and ways through a city: plane geometry good for tens of kilometres.
//!
//! Owns distances, polygons and the line a vehicle follows. Knows nothing of trips or time: a
//! caller says how many metres to go. Places are WGS84 degrees, lengths metres, angles degrees
//! clockwise from north.

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

const EARTH_RADIUS_M: f64 = 6_371_008.8;
const METRES_PER_DEGREE: f64 = EARTH_RADIUS_M * std::f64::consts::PI / 180.0;

/// A place in degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub lat: f64,
    pub lng: f64,
}

impl Place {
    pub const fn new(lat: f64, lng: f64) -> Self {
        Self { lat, lng }
    }

    /// Great-circle distance, metres.
    pub fn distance_m(self, other: Self) -> f64 {
        let (phi1, phi2) = (self.lat.to_radians(), other.lat.to_radians());
        let sin_phi = ((phi2 - phi1) / 2.0).sin();
        let sin_lambda = ((other.lng - self.lng).to_radians() / 2.0).sin();
        let h = sin_phi * sin_phi + phi1.cos() * phi2.cos() * sin_lambda * sin_lambda;
        2.0 * EARTH_RADIUS_M * h.sqrt().min(1.0).asin()
    }

    /// The place so many metres east and north of here.
    pub fn moved(self, east_m: f64, north_m: f64) -> Self {
        let lng_scale = METRES_PER_DEGREE * self.lat.to_radians().cos();
        Self { lat: self.lat + north_m / METRES_PER_DEGREE, lng: self.lng + east_m / lng_scale }
    }

    /// Metres east and north from here to `other`.
    pub fn towards(self, other: Self) -> (f64, f64) {
        let lng_scale = METRES_PER_DEGREE * self.lat.to_radians().cos();
        ((other.lng - self.lng) * lng_scale, (other.lat - self.lat) * METRES_PER_DEGREE)
    }

    /// Direction of `other` seen from here, 0–360.
    pub fn bearing_to(self, other: Self) -> f64 {
        let (east, north) = self.towards(other);
        east.atan2(north).to_degrees().rem_euclid(360.0)
    }

    /// Rounded to a ten-millionth of a degree, which both encodings of a position carry exactly.
    pub fn rounded(self) -> Self {
        let (lat, lng) = self.e7();
        Self { lat: f64::from(lat) / 1e7, lng: f64::from(lng) / 1e7 }
    }

    /// Latitude and longitude in ten-millionths of a degree.
    pub fn e7(self) -> (i32, i32) {
        ((self.lat * 1e7).round() as i32, (self.lng * 1e7).round() as i32)
    }
}

/// A way with corners, walked from its start to its end.
#[derive(Clone, Debug)]
pub struct Path {
    corners: Vec<Place>,
    /// The corner that lies ahead.
    next: usize,
    at: Place,
    heading: f64,
}

impl Path {
    /// From `from` to `to` along two streets of a grid turned by `grid_deg`; `first_along` says
    /// which of the two streets comes first.
    pub fn along_grid(from: Place, to: Place, grid_deg: f64, first: First) -> Self {
        let (east, north) = from.towards(to);
        let (sin, cos) = grid_deg.to_radians().sin_cos();
        // Length along the grid's "north" street; the rest is along its "east" street.
        let along = east * sin + north * cos;
        let (avenue_east, avenue_north) = (along * sin, along * cos);
        let corner = match first {
            First::Avenue => from.moved(avenue_east, avenue_north),
            First::Street => from.moved(east - avenue_east, north - avenue_north),
        };
        Self::through(vec![from, corner, to])
    }

    /// Through the given corners, of which there is at least one.
    fn through(corners: Vec<Place>) -> Self {
        let at = corners[0];
        let mut path = Self { corners, next: 1, at, heading: 0.0 };
        path.turn();
        path
    }

    pub const fn heading(&self) -> f64 {
        self.heading
    }

    pub fn done(&self) -> bool {
        self.next >= self.corners.len()
    }

    /// Goes `metres` on, at most to the end.
    pub fn advance(&mut self, metres: f64) -> Place {
        let mut left = metres;
        while !self.done() {
            let corner = self.corners[self.next];
            let leg = self.at.distance_m(corner);
            if leg > left {
                let (east, north) = self.at.towards(corner);
                let share = left / leg;
                self.at = self.at.moved(east * share, north * share);
                return self.at;
            }
            left -= leg;
            self.at = corner;
            self.next += 1;
            self.turn();
        }
        self.at
    }

    fn turn(&mut self) {
        if let Some(corner) = self.corners.get(self.next)
            && self.at.distance_m(*corner) > 0.5
        {
            self.heading = self.at.bearing_to(*corner);
        }
    }
}

/// Which street of the grid a way takes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum First {
    Avenue,
    Street,
}

impl First {
    pub fn draw(rng: &mut impl Rng) -> Self {
        if rng.random_bool(0.5) { Self::Avenue } else { Self::Street }
    }
}

/// Where trips of a zone begin and end.
#[derive(Clone, Debug)]
pub enum Area {
    /// A closed line; even-odd rule.
    Polygon(Vec<Place>),
    /// A round hot spot, denser in the middle.
    Spot { centre: Place, radius_m: f64 },
}

impl Area {
    pub fn contains(&self, place: Place) -> bool {
        match self {
            Self::Spot { centre, radius_m } => centre.distance_m(place) <= *radius_m,
            Self::Polygon(ring) => {
                let mut inside = false;
                for (a, b) in edges(ring) {
                    if (a.lat > place.lat) != (b.lat > place.lat) {
                        let t = (place.lat - a.lat) / (b.lat - a.lat);
                        inside ^= place.lng < a.lng + t * (b.lng - a.lng);
                    }
                }
                inside
            }
        }
    }

    pub fn centre(&self) -> Place {
        match self {
            Self::Spot { centre, .. } => *centre,
            Self::Polygon(ring) => centroid(ring),
        }
    }

    /// A random place inside.
    pub fn draw(&self, rng: &mut impl Rng) -> Place {
        match self {
            Self::Spot { centre, radius_m } => {
                let angle = rng.random_range(0.0..std::f64::consts::TAU);
                let away = radius_m * rng.random_range(0.0..1.0f64);
                centre.moved(away * angle.sin(), away * angle.cos())
            }
            Self::Polygon(ring) => {
                let (low, high) = bounds(ring);
                // A zone fills at least a tenth of its box, so this all but never gives up.
                for _ in 0..1_000 {
                    let place = Place::new(
                        rng.random_range(low.lat..=high.lat),
                        rng.random_range(low.lng..=high.lng),
                    );
                    if self.contains(place) {
                        return place;
                    }
                }
                self.centre()
            }
        }
    }
}

fn edges(ring: &[Place]) -> impl Iterator<Item = (Place, Place)> + '_ {
    (0..ring.len()).map(|i| (ring[i], ring[(i + 1) % ring.len()]))
}

fn bounds(ring: &[Place]) -> (Place, Place) {
    ring.iter().fold((ring[0], ring[0]), |(low, high), p| {
        (
            Place::new(low.lat.min(p.lat), low.lng.min(p.lng)),
            Place::new(high.lat.max(p.lat), high.lng.max(p.lng)),
        )
    })
}

/// Centre of area; the mean of the corners when the area vanishes.
fn centroid(ring: &[Place]) -> Place {
    let origin = ring[0];
    let (mut area, mut x, mut y) = (0.0, 0.0, 0.0);
    for (a, b) in edges(ring) {
        let (ax, ay) = (a.lng - origin.lng, a.lat - origin.lat);
        let (bx, by) = (b.lng - origin.lng, b.lat - origin.lat);
        let cross = ax * by - bx * ay;
        area += cross;
        x += (ax + bx) * cross;
        y += (ay + by) * cross;
    }
    if area.abs() < 1e-15 {
        let n = ring.len() as f64;
        let (lat, lng) = ring.iter().fold((0.0, 0.0), |(s, t), p| (s + p.lat, t + p.lng));
        return Place::new(lat / n, lng / n);
    }
    Place::new(origin.lat + y / (3.0 * area), origin.lng + x / (3.0 * area))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    const CORNER: Place = Place::new(40.75, -73.98);

    fn length_m(path: &Path) -> f64 {
        path.corners.windows(2).map(|leg| leg[0].distance_m(leg[1])).sum()
    }

    #[test]
    fn moving_and_measuring_agree() {
        let there = CORNER.moved(3_000.0, -4_000.0);
        assert!((CORNER.distance_m(there) - 5_000.0).abs() < 5.0);
        let (east, north) = CORNER.towards(there);
        assert!((east - 3_000.0).abs() < 1e-6 && (north + 4_000.0).abs() < 1e-6);
        assert!((CORNER.bearing_to(CORNER.moved(10.0, 0.0)) - 90.0).abs() < 1e-6);
        assert!((CORNER.bearing_to(CORNER.moved(-10.0, 0.0)) - 270.0).abs() < 1e-6);
    }

    #[test]
    fn a_grid_path_is_the_manhattan_distance_and_ends_where_it_should() {
        let to = CORNER.moved(300.0, 400.0);
        for first in [First::Avenue, First::Street] {
            let mut path = Path::along_grid(CORNER, to, 0.0, first);
            assert!((length_m(&path) - 700.0).abs() < 1.0, "{}", length_m(&path));
            assert!((path.heading() - if first == First::Avenue { 0.0 } else { 90.0 }).abs() < 0.1);
            path.advance(350.0);
            assert!(!path.done());
            assert_eq!(path.advance(360.0), to);
            assert!(path.done());
        }
        // On a grid turned by 45° the diagonal is one straight street.
        let diagonal = Path::along_grid(CORNER, CORNER.moved(100.0, 100.0), 45.0, First::Avenue);
        assert!((length_m(&diagonal) - 141.4).abs() < 0.5, "{}", length_m(&diagonal));
    }

    #[test]
    fn a_path_never_moves_more_than_it_is_told() {
        let mut path = Path::along_grid(CORNER, CORNER.moved(-2_000.0, 900.0), 29.0, First::Street);
        let mut last = CORNER;
        while !path.done() {
            let here = path.advance(40.0);
            assert!(last.distance_m(here) <= 40.1);
            last = here;
        }
    }

    #[test]
    fn a_path_to_where_one_is_is_over_at_once() {
        let mut path = Path::along_grid(CORNER, CORNER, 29.0, First::Avenue);
        path.advance(0.0);
        assert!(path.done());
        assert_eq!(path.at, CORNER);
    }

    #[test]
    fn draws_fall_inside_the_area() {
        let mut rng = StdRng::seed_from_u64(1);
        // An L: its box has a corner which is outside.
        let l = [(0.0, 0.0), (0.0, 2.0), (1.0, 2.0), (1.0, 1.0), (2.0, 1.0), (2.0, 0.0)];
        let area = Area::Polygon(l.map(|(x, y)| CORNER.moved(x * 500.0, y * 500.0)).to_vec());
        assert!(!area.contains(CORNER.moved(750.0, 750.0)));
        assert!(area.contains(CORNER.moved(250.0, 750.0)));
        let spot = Area::Spot { centre: CORNER, radius_m: 200.0 };
        for _ in 0..500 {
            assert!(area.contains(area.draw(&mut rng)));
            assert!(spot.contains(spot.draw(&mut rng)));
        }
    }

    #[test]
    fn the_centroid_of_a_square_is_its_middle() {
        let square = [(0.0, 0.0), (0.0, 10.0), (10.0, 10.0), (10.0, 0.0)];
        let area = Area::Polygon(square.map(|(x, y)| CORNER.moved(x, y)).to_vec());
        assert!(area.centre().distance_m(CORNER.moved(5.0, 5.0)) < 0.01);
    }

    #[test]
    fn rounding_keeps_seven_decimals() {
        let place = Place::new(40.758_000_04, -73.985_500_06).rounded();
        assert_eq!(place.e7(), (407_580_000, -739_855_001));
        assert_eq!(place, place.rounded());
    }
}
