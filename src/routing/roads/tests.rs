//! Roads as callers see them: small towns drawn here, and Monaco against the real OSRM.

use std::sync::LazyLock;

use base::{Dice, Point};

use super::extract::{Extract, Points, Spot, Way};
use super::profile::{Tags, blocks, drivable};
use super::*;

mod files;
mod lines;
mod search;

/// Built from the real extract, once for all tests.
static MONACO: LazyLock<RoadGraph> = LazyLock::new(|| {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/monaco.osm.pbf");
    RoadGraph::from_extract(&std::fs::read(path).expect("the extract")).expect("a graph")
});

fn at(lat: f64, lng: f64) -> Point {
    Point::new(lat, lng).expect("in range")
}

/// A town around 30° N 31° E; its points are a hundredth of a degree apart: `(row, column)`.
fn place((row, column): (i32, i32)) -> Spot {
    [300_000_000 + row * 100_000, 310_000_000 + column * 100_000]
}

fn corner(row: f64, column: f64) -> Point {
    at(30.0 + row * 0.01, 31.0 + column * 0.01)
}

type Sketch<'a> = (&'a [(i32, i32)], &'a [(&'a str, &'a str)]);

/// The extract that has these ways; `blocked` are points that a car can't pass.
fn extract(ways: &[Sketch<'_>], blocked: &[(i32, i32)]) -> Extract {
    let mut spots: Vec<(i32, i32)> = ways.iter().flat_map(|(points, _)| *points).copied().collect();
    spots.sort_unstable();
    spots.dedup();
    let known = |spot: &(i32, i32)| spots.binary_search(spot).expect("listed") as u32;
    let ways = ways
        .iter()
        .filter_map(|(points, tags)| {
            let drivable = drivable(&Tags(tags.to_vec()))?;
            Some(Way { points: points.iter().map(known).collect(), drivable })
        })
        .collect();
    let points = Points {
        spots: spots.iter().map(|spot| Some(place(*spot))).collect(),
        blocked: spots.iter().map(|spot| blocked.contains(spot)).collect(),
    };
    Extract { ways, points }
}

fn town(ways: &[Sketch<'_>]) -> RoadGraph {
    RoadGraph::build(&extract(ways, &[])).expect("a town")
}

const STREET: &[(&str, &str)] = &[("highway", "residential")];
const ONE_WAY: &[(&str, &str)] = &[("highway", "residential"), ("oneway", "yes")];
const AGAINST: &[(&str, &str)] = &[("highway", "residential"), ("oneway", "-1")];
const CIRCLE: &[(&str, &str)] = &[("highway", "residential"), ("junction", "roundabout")];

#[test]
fn tags_open_and_close_a_way() {
    let check = |tags: &str, expected: &str| {
        let pairs = tags.split(' ').filter_map(|tag| tag.split_once('=')).collect();
        let drive = |drive: Option<profile::Drive>| {
            drive.map_or("-".to_owned(), |d| format!("{:.1}/{:.1}", d.speed_kmh, d.worth_kmh))
        };
        let found = drivable(&Tags(pairs)).map_or("no".to_owned(), |way| {
            let stops = if way.stops { "" } else { " no stops" };
            format!("{} {}{stops}", drive(way.forward), drive(way.backward))
        });
        assert_eq!(found, expected, "{tags}");
    };
    check("highway=residential", "25.0/25.0 25.0/25.0");
    check("building=yes", "no");
    check("highway=footway", "no");
    check("highway=footway motor_vehicle=yes", "10.0/10.0 10.0/10.0");
    check("highway=track access=private", "no");
    check("highway=motorway", "90.0/90.0 -");
    check("highway=motorway oneway=no", "90.0/90.0 90.0/90.0");
    check("highway=primary oneway=yes", "65.0/65.0 -");
    check("highway=primary oneway=-1", "- 65.0/65.0");
    check("highway=primary oneway=-1 oneway:vehicle=no", "65.0/65.0 65.0/65.0");
    check("highway=primary oneway=reversible", "no");
    check("highway=tertiary junction=roundabout", "40.0/40.0 -");
    check("highway=primary maxspeed=50", "40.0/40.0 40.0/40.0");
    check("highway=primary maxspeed=30mph", "38.6/38.6 38.6/38.6");
    check("highway=primary maxspeed=FR:urban", "40.0/40.0 40.0/40.0");
    check("highway=primary maxspeed=FR:rural", "64.0/64.0 64.0/64.0");
    check("highway=primary maxspeed=walk", "65.0/65.0 65.0/65.0");
    check("highway=primary maxspeed:forward=50", "40.0/40.0 65.0/65.0");
    check("highway=residential surface=sand", "20.0/20.0 20.0/20.0");
    check("highway=residential smoothness=impassable", "no");
    check("highway=residential access=no", "no");
    check("highway=residential access=no motorcar=yes", "25.0/25.0 25.0/25.0");
    check("highway=residential access=no;destination", "25.0/2.5 25.0/2.5");
    check("highway=residential vehicle:backward=no", "25.0/25.0 -");
    check("highway=residential access=private", "25.0/2.5 25.0/2.5");
    check("highway=service access=private", "15.0/1.5 15.0/1.5 no stops");
    check("highway=service service=parking_aisle", "15.0/7.5 15.0/7.5");
    check("highway=service service=emergency_access", "no");
    check("highway=residential lanes=1", "25.0/12.5 25.0/12.5");
    check("highway=residential lanes=1 oneway=yes", "25.0/25.0 -");
    check("highway=residential width=3.5", "25.0/15.0 25.0/15.0");
    check("highway=residential priority=forward", "25.0/25.0 25.0/17.5");
    check("highway=residential maxheight=1.9", "no");
    check("highway=residential maxheight=6'7\"", "25.0/25.0 25.0/25.0");
    check("highway=residential maxweight=1.5", "no");
    check("highway=residential maxweight=3500kg", "25.0/25.0 25.0/25.0");
    check("highway=residential maxwidth=1.9", "no");
    check("highway=construction", "no");
    check("highway=residential construction=minor", "25.0/25.0 25.0/25.0");
    check("highway=primary bridge=movable", "5.0/5.0 5.0/5.0");
}

#[test]
fn a_car_passes_a_gate_but_no_bollard() {
    let check = |tags: &str, expected: bool| {
        let pairs = tags.split(' ').filter_map(|tag| tag.split_once('=')).collect();
        assert_eq!(blocks(&Tags(pairs)), expected, "{tags}");
    };
    check("highway=crossing", false);
    check("barrier=gate", false);
    check("barrier=toll_booth", false);
    check("barrier=bollard", true);
    check("barrier=bollard bollard=rising", false);
    check("barrier=bollard motor_vehicle=yes", false);
    check("barrier=gate access=no", true);
    check("barrier=gate access=private", false);
    check("barrier=kerb kerb=lowered", false);
    check("barrier=kerb", true);
    check("barrier=height_restrictor maxheight=1.8", true);
    check("barrier=height_restrictor maxheight=2.1", false);
}

/// Seconds of a way of so many hundredths of a degree of latitude at 25 km/h.
fn rows_s(rows: f64) -> f64 {
    rows * 0.01_f64.to_radians() * base::EARTH_RADIUS_M / (25.0 / 3.6)
}

#[track_caller]
fn near(found: f64, expected: f64) {
    assert!((found - expected).abs() < 0.1, "{found} instead of {expected}");
}

#[test]
fn one_ways_are_kept() {
    // Up the left side; from its head back to its foot only around the right.
    let up = [(0, 0), (1, 0)];
    let around: &[(i32, i32)] = &[(1, 0), (1, 1), (0, 1), (0, 0)];
    let (foot, head) = (corner(0.1, 0.0), corner(0.9, 0.0));
    let check = |graph: &RoadGraph| {
        near(graph.eta_s(foot, head).expect("up"), rows_s(0.8));
        let back = graph.eta_s(head, foot).expect("around");
        assert!(back > rows_s(2.8), "{back}");
    };
    check(&town(&[(&up, ONE_WAY), (around, STREET)]));
    check(&town(&[(&[(1, 0), (0, 0)], AGAINST), (around, STREET)]));
    check(&town(&[
        (&[(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)], CIRCLE),
        (&[(0, 0), (-1, 0)], STREET),
    ]));
    let free = town(&[(&up, STREET), (around, STREET)]);
    near(free.eta_s(head, foot).expect("straight"), rows_s(0.8));
}

#[test]
fn a_point_that_cant_be_passed_ends_the_road() {
    let ways: &[Sketch<'_>] =
        &[(&[(0, 0), (1, 0), (2, 0)], STREET), (&[(0, 0), (0, 3), (2, 3), (2, 0)], STREET)];
    let (below, above) = (corner(0.9, 0.0), corner(1.1, 0.0));
    near(town(ways).eta_s(below, above).expect("a way"), rows_s(0.2));
    let blocked = RoadGraph::build(&extract(ways, &[(1, 0)])).expect("a town");
    assert!(blocked.eta_s(below, above).expect("around") > rows_s(5.0));
}

#[test]
fn places_off_the_map_and_ways_that_dont_exist_are_refused() {
    // Two islands of a size, and a stub that can't be left.
    let islands = town(&[
        (&[(0, 0), (1, 0), (1, 1), (0, 0)], STREET),
        (&[(0, 8), (1, 8), (1, 9), (0, 8)], STREET),
        (&[(1, 1), (1, 2)], ONE_WAY),
    ]);
    let (west, east) = (corner(0.5, 0.0), corner(0.5, 8.0));
    assert_eq!(islands.eta_s(west, east), Err(NoRoad::Unreachable));
    assert_eq!(islands.route(east, west), Err(NoRoad::Unreachable));
    // 0.004° are 445 m, 0.005° are 556 m.
    let check = |from: Point, to: Point, expected: Result<(), NoRoad>| {
        assert_eq!(islands.eta_s(from, to).map(drop), expected, "{from:?} {to:?}");
        assert_eq!(islands.route(from, to).map(drop), expected, "{from:?} {to:?}");
    };
    check(west, corner(-0.4, 0.0), Ok(()));
    check(corner(-0.4, 0.0), west, Ok(()));
    check(west, corner(-0.5, 0.0), Err(NoRoad::OffMap));
    check(corner(-0.5, 0.0), west, Err(NoRoad::OffMap));
    check(west, at(0.0, 0.0), Err(NoRoad::OffMap));
    check(at(90.0, 0.0), west, Err(NoRoad::OffMap));
    // The stub's far end is off the map, for its road leads nowhere.
    check(west, corner(1.0, 2.0), Err(NoRoad::OffMap));
}

#[test]
fn an_extract_without_roads_is_refused() {
    let footpath: &[(&str, &str)] = &[("highway", "footway")];
    let error = RoadGraph::build(&extract(&[(&[(0, 0), (1, 0)], footpath)], &[])).map(drop);
    assert_eq!(error, Err(RoadsError::NoRoads));
    let error = RoadGraph::from_extract(b"no extract at all").map(drop);
    assert!(matches!(error, Err(RoadsError::Extract(_))), "{error:?}");
}

#[test]
fn a_road_for_residents_is_no_short_cut_but_leads_home() {
    let private: &[(&str, &str)] = &[("highway", "residential"), ("access", "private")];
    let graph = town(&[
        (&[(0, 0), (1, 0)], private),
        (&[(0, 0), (0, 1), (1, 1), (1, 0)], STREET),
        (&[(-1, 0), (0, 0)], STREET),
        (&[(1, 0), (2, 0)], STREET),
    ]);
    let through = graph.eta_s(corner(-0.5, 0.0), corner(1.5, 0.0)).expect("around");
    assert!(through > rows_s(3.5), "{through}");
    near(graph.eta_s(corner(-0.5, 0.0), corner(0.4, 0.0)).expect("home"), rows_s(0.9));
}

/// 1 000 real ways: figures of OSRM 26.10.0 (data/README.md).
#[test]
fn times_are_those_of_osrm() {
    let csv = include_str!("../data/monaco_osrm.csv");
    let (mut times, mut lengths) = (Vec::new(), Vec::new());
    for line in csv.lines().skip(1) {
        let cells: Vec<f64> = line.split(',').filter_map(|cell| cell.parse().ok()).collect();
        let [lat_1, lng_1, lat_2, lng_2, seconds, metres] = cells[..] else {
            panic!("six numbers: {line}")
        };
        let route = MONACO.route(at(lat_1, lng_1), at(lat_2, lng_2)).expect(line);
        times.push((route.seconds - seconds).abs() / seconds.max(1.0));
        lengths.push((route.metres - metres).abs() / metres.max(1.0));
    }
    assert_eq!(times.len(), 1_000);
    let share = |list: &mut Vec<f64>, share: f64| {
        list.sort_by(f64::total_cmp);
        list[(list.len() as f64 * share) as usize]
    };
    let figures = [0.5, 0.9, 0.99].map(|at| (share(&mut times, at), share(&mut lengths, at)));
    eprintln!("deviation of time and length at p50, p90, p99: {figures:.4?}");
    // Beyond p90 lie ways around a turn that is not allowed, and places at the extract's edge,
    // where OSRM starts on stubs of one-way roads.
    for (times, lengths) in &figures[..2] {
        assert!(*times <= 0.02 && *lengths <= 0.02, "{figures:.4?}");
    }
}

/// A place within the extract's box.
fn somewhere(dice: &Dice) -> Point {
    at(43.715 + dice.unit() * 0.055, 7.349 + dice.unit() * 0.142)
}
