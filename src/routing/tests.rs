//! Ways and arrival times as callers see them, on the real table of Manhattan too.

use std::io::Read;

use base::{Millis, Point};
use proptest::prelude::*;

use super::*;

const ZONES: &str = r#"{"type":"FeatureCollection","features":[
  {"properties":{"zone_id":"1"},"geometry":{"type":"Polygon","coordinates":[
    [[31.0,30.0],[31.1,30.0],[31.1,30.1],[31.0,30.1]]]}},
  {"properties":{"zone_id":"2"},"geometry":{"type":"Polygon","coordinates":[
    [[31.1,30.0],[31.2,30.0],[31.2,30.1],[31.1,30.1]]]}}]}"#;

fn point(lat: f64, lng: f64) -> Point {
    Point::new(lat, lng).expect("in range")
}

fn at(utc: &str) -> Millis {
    Millis::parse(utc).expect("a time")
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(work)
}

/// 10 m/s from zone 1 to 2 before 07:00, 5 m/s from then on; nothing back.
fn table() -> SpeedTable {
    let mut csv = String::from("puzone,dozone,min,speed_mean,speed_stddev\n");
    for minute in (0..1440).step_by(15) {
        let speed = if minute < 420 { 0.01 } else { 0.005 };
        csv += &format!("1,2,{minute},{speed},0.001\n");
    }
    SpeedTable::parse(&csv, ZONES, "Africa/Cairo").expect("a table")
}

#[test]
fn without_a_table_a_way_is_the_air_line_times_a_detour_at_24_km_per_hour() {
    let router = Router::new(Vec::new(), None);
    let (from, to) = (point(30.0, 31.0), point(30.0, 31.1));
    let route = wait(router.route(from, &[], to, Millis(0)));
    let road_m = from.distance_m(to) * 1.3;
    assert_eq!(route.distance_m, road_m.round() as u32);
    assert_eq!(route.duration_s, (road_m / 24.0 * 3.6).round() as u32);
    assert_eq!(route.source, RouteSource::GreatCircle);
    assert_eq!(router.eta_s(from, to, Millis(0)), route.duration_s);
    assert_eq!(router.eta_s(from, from, Millis(0)), 0);
}

#[test]
fn the_table_gives_the_speed_of_the_zones_at_the_citys_time() {
    let router = Router::new(Vec::new(), Some(table()));
    let (from, to) = (point(30.05, 31.05), point(30.05, 31.15));
    let road_m = from.distance_m(to) * 1.3;
    let check = |utc: &str, speed: f64| {
        assert_eq!(router.eta_s(from, to, at(utc)), (road_m / speed).round() as u32, "{utc}");
    };
    check("2026-01-14T04:59:59Z", 10.0); // 06:59 in winter
    check("2026-01-14T05:00:00Z", 5.0); // 07:00
    check("2026-07-15T03:59:59Z", 10.0); // 06:59 in summer
    check("2026-07-15T04:00:00Z", 5.0);
    let route = wait(router.route(from, &[], to, at("2026-01-14T05:00:00Z")));
    assert_eq!(route.source, RouteSource::SpeedTable);
}

#[test]
fn what_the_table_does_not_know_is_driven_at_the_default_speed() {
    let known = Router::new(Vec::new(), Some(table()));
    let plain = Router::new(Vec::new(), None);
    let noon = at("2026-01-14T10:00:00Z");
    let check = |from: Point, to: Point| {
        let route = wait(known.route(from, &[], to, noon));
        assert_eq!(route, wait(plain.route(from, &[], to, noon)));
    };
    check(point(30.05, 31.15), point(30.05, 31.05)); // the way back
    check(point(30.05, 31.05), point(31.20, 29.90)); // another city
    let (from, to) = (point(30.05, 31.05), point(30.05, 31.15));
    assert!(known.eta_s(from, to, Millis(i64::MAX)) > 0);
}

#[test]
fn a_table_with_a_wrong_line_is_refused_with_its_number() {
    let check = |csv: &str, expected: &str| {
        let error = SpeedTable::parse(csv, ZONES, "Africa/Cairo").expect_err(csv);
        assert!(error.to_string().starts_with(expected), "{error}");
    };
    let head = "puzone,dozone,min,speed_mean,speed_stddev\n1,2,0,0.01,0.001\n";
    check("", "line 1");
    check("a,b,c\n", "line 1");
    check(&format!("{head}1,2,0"), "line 3: no speed_mean");
    check(&format!("{head}\n1,9,0,0.01,0"), "line 4: zone 9");
    check(&format!("{head}1,2,1440,0.01,0"), "line 3: minute 1440");
    check(&format!("{head}1,2,x,0.01,0"), "line 3: minute x");
    check(&format!("{head}1,2,0,NaN,0"), "line 3: speed NaN");
    check(&format!("{head}1,2,0,0,0"), "line 3: speed 0");
    check(&format!("{head}1,2,0,20,0"), "line 3: speed 20");
    let error = SpeedTable::parse(head, ZONES, "Mars/Olympus").expect_err("no such zone");
    assert_eq!(error, SpeedTableError::TimeZone("Mars/Olympus".to_owned()));
}

#[test]
fn the_real_table_of_manhattan_makes_nights_faster_than_noons() {
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/../../loadtest/data");
    let packed = std::fs::File::open(format!("{data}/manhattan_2018_speeds.csv.xz"));
    let mut csv = String::new();
    liblzma::read::XzDecoder::new(packed.expect("the table"))
        .read_to_string(&mut csv)
        .expect("it unpacks");
    let zones = std::fs::read_to_string(format!("{data}/manhattan_zones.geojson"));
    let table = SpeedTable::parse(&csv, &zones.expect("the zones"), "America/New_York");
    let router = Router::new(Vec::new(), Some(table.expect("a table")));
    let (times_square, wall_street) = (point(40.7580, -73.9855), point(40.7066, -74.0090));
    let speed_kmh = |utc: &str| {
        let route = wait(router.route(times_square, &[], wall_street, at(utc)));
        assert_eq!(route.source, RouteSource::SpeedTable);
        f64::from(route.distance_m) / f64::from(route.duration_s) * 3.6
    };
    let (noon, night) = (speed_kmh("2018-06-13T16:00:00Z"), speed_kmh("2018-06-13T07:00:00Z"));
    assert!((8.0..25.0).contains(&noon), "{noon}");
    assert!((20.0..50.0).contains(&night), "{night}");
}

fn monaco() -> RoadGraph {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/monaco.osm.pbf");
    RoadGraph::from_extract(&std::fs::read(path).expect("the extract")).expect("a graph")
}

#[test]
fn roads_answer_where_there_is_a_map_and_the_air_line_elsewhere() {
    let router = Router::new(vec![monaco()], Some(table()));
    let plain = Router::new(Vec::new(), Some(table()));
    let noon = at("2026-01-14T10:00:00Z");
    let (casino, harbour, stadium) =
        (point(43.7392, 7.4273), point(43.7351, 7.4210), point(43.7276, 7.4155));
    let road = wait(router.route(casino, &[], stadium, noon));
    assert_eq!(road.source, RouteSource::Roads);
    assert!(road.polyline.as_ref().is_some_and(|line| line.len() > 50), "{road:?}");
    assert_eq!(router.eta_s(casino, stadium, noon), road.duration_s);
    // Over a stop the line goes on, and the figures are those of both legs.
    let over = wait(router.route(casino, &[harbour], stadium, noon));
    let legs = [(casino, harbour), (harbour, stadium)]
        .map(|(from, to)| wait(router.route(from, &[], to, noon)));
    assert_eq!(over.source, RouteSource::Roads);
    assert!(over.distance_m.abs_diff(legs[0].distance_m + legs[1].distance_m) <= 1);
    assert!(over.duration_s.abs_diff(legs[0].duration_s + legs[1].duration_s) <= 1);
    let first = legs[0].polyline.as_ref().expect("a line");
    assert!(over.polyline.is_some_and(|line| line.starts_with(first.as_str())));
    // Off the map: what the table says, or the air line, and no line with it.
    let (sea, cairo) = (point(43.70, 7.45), [point(30.05, 31.05), point(30.05, 31.15)]);
    let check = |from: Point, to: Point, source: RouteSource| {
        let route = wait(router.route(from, &[], to, noon));
        assert_eq!((route.source, &route.polyline), (source, &None));
        assert_eq!(route, wait(plain.route(from, &[], to, noon)));
        assert_eq!(router.eta_s(from, to, noon), route.duration_s);
    };
    check(casino, sea, RouteSource::GreatCircle);
    check(sea, casino, RouteSource::GreatCircle);
    check(casino, cairo[0], RouteSource::GreatCircle);
    check(cairo[0], cairo[1], RouteSource::SpeedTable);
    // One leg by air, and the whole is only as good.
    let mixed = wait(router.route(casino, &[sea], stadium, noon));
    assert_eq!((mixed.source, mixed.polyline), (RouteSource::GreatCircle, None));
    // Many at once are each alone.
    let from = [casino, sea, harbour, cairo[0], stadium];
    for to in [stadium, sea, cairo[1]] {
        let mut etas = vec![7];
        router.etas_to_s(to, &from, noon, &mut etas);
        let alone = from.iter().map(|from| router.eta_s(*from, to, noon));
        assert_eq!(etas, [7].into_iter().chain(alone).collect::<Vec<_>>());
    }
}

#[test]
fn each_way_is_counted_with_the_reason_where_roads_have_none() {
    let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
    let (casino, sea) = (point(43.7392, 7.4273), point(43.70, 7.45));
    let (here, there) = (point(30.05, 31.05), point(30.05, 31.15));
    let router = Router::new(vec![monaco()], None);
    metrics::with_local_recorder(&recorder, || {
        router.eta_s(casino, sea, Millis(0));
        router.eta_s(casino, casino, Millis(0));
        wait(router.route(here, &[casino], there, Millis(0)));
        router.etas_to_s(casino, &[casino, sea, casino], Millis(0), &mut Vec::new());
    });
    let told = recorder.handle().render();
    let count = |name: &str| {
        let figure = |line: &str| line.strip_prefix(name).and_then(|rest| rest.trim().parse().ok());
        told.lines().find_map(figure).unwrap_or(0)
    };
    let without = |reason: &str| {
        count(&format!("smartline_ways_without_roads_total{{reason=\"{reason}\"}} "))
    };
    let counted = ["off_map", "no_graph", "unreachable"].map(without);
    assert_eq!((counted, count("smartline_ways_by_road_total ")), ([2, 2, 0], 3), "{told}");
}

proptest! {
    #[test]
    fn a_stop_never_shortens_a_way(
        places in prop::collection::vec((29.5..30.5f64, 30.5..31.5f64), 3),
    ) {
        let places: Vec<Point> = places.into_iter().map(|(lat, lng)| point(lat, lng)).collect();
        let router = Router::new(Vec::new(), None);
        let direct = wait(router.route(places[0], &[], places[2], Millis(0)));
        let over = wait(router.route(places[0], &places[1..2], places[2], Millis(0)));
        prop_assert!(over.distance_m + 1 >= direct.distance_m);
        prop_assert!(over.duration_s + 1 >= direct.duration_s);
    }
}
