//! Where a run takes place: the synthetic square, Manhattan as it was recorded, or the roads of a
//! map.
//!
//! Owns what a way takes, where drivers begin and who wishes to go where. In Manhattan trips come
//! from the recorded pairs of zones, quarter-hour by quarter-hour, with the recorded speeds; a way
//! follows the grid. On a map every road sends and gets as many riders as any other, and ways are
//! driven along the roads by the product's own router. How patient riders are is the same in all.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use base::{Millis, Point};
use rand::RngExt;
use rand::rngs::StdRng;
use routing::RoadGraph;

use super::plane::{self, Commute, DETOUR, Place, SPEED_MPS, Wish, apart};
use crate::city::{City, Scenario, Start};
use crate::demand::{QUARTER_S, QUARTERS};
use crate::geometry;

/// Width of a cell of the zones' mesh, metres.
const MESH_M: f64 = 100.0;
/// Manhattan from the Battery to Inwood, metres.
const ISLAND_M: f64 = 24_000.0;
const METRES_PER_DEGREE: f64 = 111_195.0;
/// Nobody takes a car for less, metres of air: two places of one zone may be neighbours.
const SHORTEST_M: f64 = 400.0;

/// The ground of a run. Cheap to clone.
#[derive(Clone)]
pub enum Town {
    Square(Commute),
    Manhattan(Arc<Streets>),
    Roads(Arc<Map>),
}

/// The roads of a map.
pub struct Map {
    graph: RoadGraph,
    /// All lead to each other; at least two are `SHORTEST_M` apart.
    places: Vec<Point>,
    centre: (f64, f64),
    side_m: f64,
}

impl Map {
    /// Of an OpenStreetMap extract, or of a file that `smartline admin roads build` wrote.
    fn load(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path)
            .with_context(|| format!("can't read the map {}", path.display()))?;
        let is_extract = path.extension().is_some_and(|ends| ends == "pbf");
        let graph = if is_extract {
            RoadGraph::from_extract(&bytes)?
        } else {
            RoadGraph::from_bytes(&bytes)?
        };
        let places = graph.places();
        let range = |of: fn(Point) -> f64| {
            let degrees = || places.iter().map(|place| of(*place));
            (degrees().fold(f64::INFINITY, f64::min), degrees().fold(f64::NEG_INFINITY, f64::max))
        };
        let ((south, north), (west, east)) = (range(Point::lat), range(Point::lng));
        let centre = ((south + north) / 2.0, (west + east) / 2.0);
        let width = (east - west) * centre.0.to_radians().cos();
        // What lies at the edge is inside.
        let side_m = (north - south).max(width) * METRES_PER_DEGREE + 2.0 * SHORTEST_M;
        ensure!(side_m >= 4.0 * SHORTEST_M, "{} is too small for trips", path.display());
        Ok(Self { graph, places, centre, side_m })
    }

    /// Along the roads; to or from a place that the air line led to where no road goes on, by the
    /// air.
    fn metres(&self, from: Point, to: Point) -> f64 {
        self.graph.route(from, to).map_or_else(|_| by_air_m(from, to), |way| way.metres)
    }

    fn seconds(&self, from: Point, to: Point) -> f64 {
        self.graph.eta_s(from, to).unwrap_or_else(|_| by_air_m(from, to) / SPEED_MPS)
    }

    fn draw(&self, rng: &mut StdRng) -> Point {
        self.places[rng.random_range(0..self.places.len())]
    }
}

fn by_air_m(from: Point, to: Point) -> f64 {
    from.distance_m(to) * DETOUR
}

/// Manhattan's streets on the plane.
pub struct Streets {
    city: City,
    /// When the run begins.
    begin: Start,
    /// The zone of each cell of the mesh, row by row from the south-western corner.
    mesh: Vec<u8>,
}

impl Streets {
    fn zone(&self, place: Place) -> usize {
        let side = ISLAND_M / MESH_M;
        let cell = |metres: f64| (metres / MESH_M).clamp(0.0, side - 1.0) as usize;
        usize::from(self.mesh[cell(place.y) * side as usize + cell(place.x)])
    }

    /// Along the avenues and across them.
    fn road_m(&self, from: Place, to: Place) -> f64 {
        let (sin, cos) = self.city.grid_deg.to_radians().sin_cos();
        let (east, north) = (to.x - from.x, to.y - from.y);
        (east * sin + north * cos).abs() + (east * cos - north * sin).abs()
    }

    fn slot(&self, since_begin_s: f64) -> usize {
        self.begin.slot() + (since_begin_s / QUARTER_S).max(0.0) as usize
    }

    fn speed_mps(&self, from: Place, to: Place, since_begin_s: f64) -> f64 {
        let quarter = self.slot(since_begin_s) % QUARTERS;
        self.city.kmh_between(self.zone(from), self.zone(to), quarter) / 3.6
    }
}

impl Town {
    pub fn manhattan(begin: Start) -> Result<Self> {
        let city = City::load(Scenario::Manhattan)?;
        let mut streets = Streets { city, begin, mesh: Vec::new() };
        let side = (ISLAND_M / MESH_M) as usize;
        let corner = Self::corner((40.79, -73.97), ISLAND_M);
        for cell in 0..side * side {
            let middle = |index: usize| (index as f64 + 0.5) * MESH_M;
            let place = corner.moved(middle(cell % side), middle(cell / side));
            streets.mesh.push(u8::try_from(streets.city.zone_of(place))?);
        }
        Ok(Self::Manhattan(Arc::new(streets)))
    }

    pub fn roads(map: &Path) -> Result<Self> {
        Ok(Self::Roads(Arc::new(Map::load(map)?)))
    }

    fn centre(&self) -> (f64, f64) {
        match self {
            Self::Roads(map) => map.centre,
            Self::Square(_) => (30.05, 31.25),
            Self::Manhattan(_) => (40.79, -73.97),
        }
    }

    /// Side of the square that holds everything, metres.
    pub fn side_m(&self) -> f64 {
        match self {
            Self::Roads(map) => map.side_m,
            Self::Square(_) => plane::SIDE_M,
            Self::Manhattan(_) => ISLAND_M,
        }
    }

    fn corner((lat, lng): (f64, f64), side_m: f64) -> geometry::Place {
        let north = side_m / 2.0 / METRES_PER_DEGREE;
        let east = side_m / 2.0 / (METRES_PER_DEGREE * lat.to_radians().cos());
        geometry::Place::new(lat - north, lng - east)
    }

    pub fn point(&self, place: Place) -> Point {
        let (lat, lng) = self.centre();
        let half = self.side_m() / 2.0;
        let north = (place.y - half) / METRES_PER_DEGREE;
        let east = (place.x - half) / (METRES_PER_DEGREE * lat.to_radians().cos());
        Point::new(lat + north, lng + east).expect("the city lies on the earth")
    }

    pub fn place(&self, point: Point) -> Place {
        let (lat, lng) = self.centre();
        let half = self.side_m() / 2.0;
        let x = (point.lng() - lng) * METRES_PER_DEGREE * lat.to_radians().cos();
        Place { x: x + half, y: (point.lat() - lat) * METRES_PER_DEGREE + half }
    }

    /// Length of a way, metres.
    pub fn road_m(&self, from: Place, to: Place) -> f64 {
        match self {
            Self::Square(_) => from.air_m(to) * DETOUR,
            Self::Manhattan(streets) => streets.road_m(from, to),
            Self::Roads(map) => map.metres(self.point(from), self.point(to)),
        }
    }

    /// Driving time for one who sets out `since_begin_ms` after the run began, milliseconds.
    pub fn drive_ms(&self, from: Place, to: Place, since_begin_ms: i64) -> i64 {
        let mps = match self {
            Self::Square(_) => SPEED_MPS,
            Self::Manhattan(streets) => {
                streets.speed_mps(from, to, since_begin_ms as f64 / 1_000.0)
            }
            Self::Roads(map) => {
                let seconds = map.seconds(self.point(from), self.point(to));
                return (seconds * 1_000.0).round() as i64;
            }
        };
        (self.road_m(from, to) / mps * 1_000.0).round() as i64
    }

    /// Where a driver begins.
    pub fn start(&self, rng: &mut StdRng) -> Place {
        match self {
            Self::Square(_) => Place::anywhere(rng),
            Self::Manhattan(streets) => {
                let slot = streets.begin.slot();
                self.drawn(streets.city.draw_pickup(slot, rng))
            }
            Self::Roads(map) => self.place(map.draw(rng)),
        }
    }

    fn drawn(&self, place: geometry::Place) -> Place {
        self.place(Point::new(place.lat, place.lng).expect("a zone lies on the earth"))
    }

    /// The wishes of a run, from `start` for `length_ms`, in order of time: `per_minute` of them on
    /// average.
    pub fn wishes(
        &self,
        start: Millis,
        length_ms: i64,
        per_minute: f64,
        rng: &mut StdRng,
    ) -> Vec<Wish> {
        let streets = match self {
            Self::Square(commute) => {
                let trip = |rng: &mut StdRng| commute.trip(rng);
                return plane::demand(trip, (start, length_ms), per_minute, rng);
            }
            Self::Roads(map) => {
                let place = |rng: &mut StdRng| self.place(map.draw(rng));
                let trip = |rng: &mut StdRng| apart(SHORTEST_M, || (place(rng), place(rng)));
                return plane::demand(trip, (start, length_ms), per_minute, rng);
            }
            Self::Manhattan(streets) => streets,
        };
        let length_s = length_ms as f64 / 1_000.0;
        let quarters = (length_s / QUARTER_S).ceil() as usize;
        let slots = || (0..quarters).map(|quarter| streets.begin.slot() + quarter);
        let recorded: f64 = slots().map(|slot| streets.city.demand.expected(slot)).sum();
        let factor = per_minute * (quarters as f64 * QUARTER_S / 60.0) / recorded.max(1e-9);
        let mut wishes = Vec::new();
        for (quarter, slot) in slots().enumerate() {
            for arrival in streets.city.demand.draw(slot, factor, rng) {
                let at_s = quarter as f64 * QUARTER_S + arrival.at_s;
                let (from, to) = apart(SHORTEST_M, || {
                    let from = self.drawn(streets.city.draw(arrival.from, rng));
                    (from, self.drawn(streets.city.draw(arrival.to, rng)))
                });
                if at_s < length_s {
                    let at = Millis(start.0 + (at_s * 1_000.0) as i64);
                    wishes.push(Wish::draw(at, from, to, rng));
                }
            }
        }
        wishes
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn a_place_and_its_point_are_the_same() {
        let mut rng = StdRng::seed_from_u64(1);
        let begin = "Mon 15:00".parse().expect("a start");
        let manhattan = Town::manhattan(begin).expect("the data is good");
        for town in [Town::Square(Commute::default()), manhattan, monaco()] {
            for _ in 0..1_000 {
                let (one, two) = (Place::anywhere(&mut rng), Place::anywhere(&mut rng));
                assert!(town.place(town.point(one)).air_m(one) < 0.1);
                // The plane is good to half a percent of the sphere.
                let sphere_m = town.point(one).distance_m(town.point(two));
                assert!((sphere_m - one.air_m(two)).abs() < 0.005 * sphere_m + 0.1);
            }
        }
    }

    fn monaco() -> Town {
        let map = concat!(env!("CARGO_MANIFEST_DIR"), "/../src/routing/data/monaco.osm.pbf");
        Town::roads(Path::new(map)).expect("the map is good")
    }

    #[test]
    fn a_map_is_driven_along_its_roads() {
        let (town, mut rng) = (monaco(), StdRng::seed_from_u64(4));
        let wishes = town.wishes(Millis(0), 3_600_000, 30.0, &mut rng);
        assert!((1_630..1_970).contains(&wishes.len()), "{}", wishes.len());
        let (mut road_m, mut air_m) = (0.0, 0.0);
        for wish in &wishes {
            let metres = town.road_m(wish.from, wish.to);
            let kmh = metres / town.drive_ms(wish.from, wish.to, 0) as f64 * 3_600.0;
            assert!((5.0..130.0).contains(&kmh), "{kmh} km/h");
            road_m += metres;
            air_m += wish.from.air_m(wish.to);
        }
        // Streets on a slope are longer than the 1.3 times the air that stand in for no road.
        let detour = road_m / air_m;
        assert!((1.35..3.0).contains(&detour), "{detour}");
    }

    #[test]
    fn manhattan_is_driven_as_it_was_recorded() {
        let begin: Start = "Mon 15:00".parse().expect("a start");
        let town = Town::manhattan(begin).expect("the data is good");
        let Town::Manhattan(streets) = &town else { unreachable!("it is Manhattan") };
        let mut rng = StdRng::seed_from_u64(3);
        let wishes = town.wishes(Millis(0), 3_600_000, 30.0, &mut rng);
        // 1 800 expected; four standard deviations.
        assert!((1_630..1_970).contains(&wishes.len()), "{}", wishes.len());
        assert!(wishes.windows(2).all(|two| two[0].at <= two[1].at));
        for wish in &wishes {
            let (air_m, road_m) = (wish.from.air_m(wish.to), town.road_m(wish.from, wish.to));
            assert!(road_m >= air_m - 0.1 && road_m <= air_m * 1.4143 + 0.1, "{air_m} {road_m}");
            let kmh = road_m / town.drive_ms(wish.from, wish.to, 0) as f64 * 3_600.0;
            let (from, to) = (streets.zone(wish.from), streets.zone(wish.to));
            let recorded = streets.city.kmh_between(from, to, begin.slot() % QUARTERS);
            assert!((kmh - recorded).abs() < 0.1, "{kmh} {recorded}");
        }
    }
}
