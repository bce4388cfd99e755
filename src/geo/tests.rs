//! The index against a plain scan.

use base::{Millis, Point};
use proptest::prelude::*;

use crate::fixed::{distance_m, snap};
use crate::{Near, Query, TileIndex};

pub(crate) fn at(lat: f64, lng: f64) -> Point {
    Point::new(lat.clamp(-90.0, 90.0), (lng + 180.0).rem_euclid(360.0) - 180.0).expect("wrapped")
}

/// What the index must answer, found by looking at everything.
pub(crate) fn scan(world: &[Option<Near>], query: &Query) -> Vec<Near> {
    let mut found: Vec<Near> = world
        .iter()
        .flatten()
        .map(|near| Near { distance_m: distance_m(query.from, near.at), ..*near })
        .filter(|near| near.class & query.classes != 0)
        .filter(|near| near.heard >= query.heard_since)
        .filter(|near| near.distance_m <= query.radius_m)
        .collect();
    found.sort_by(|one, two| {
        (one.distance_m.total_cmp(&two.distance_m))
            .then(two.heard.cmp(&one.heard))
            .then(one.slot.cmp(&two.slot))
    });
    found.truncate(query.limit);
    found
}

#[derive(Clone, Debug)]
enum Step {
    Put { slot: u32, north: f64, east: f64, heard: i64 },
    Class { slot: u32, class: u16 },
    Remove { slot: u32 },
}

/// Where crowds gather: a city, shard borders, the antimeridian, both poles, the whole Earth.
fn crowds() -> impl Strategy<Value = (f64, f64, f64)> {
    prop_oneof![
        Just((30.0444, 31.2357, 0.2)),
        Just((40.78, -73.9855, 0.02)),
        Just((40.78125, -73.828125, 0.004)), // a corner of four shards
        Just((-17.0, 180.0, 0.05)),
        Just((0.0, -180.0, 0.001)),
        Just((90.0, 0.0, 0.5)),
        Just((-89.99, 100.0, 0.3)),
        Just((0.0, 0.0, 180.0)),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    // Coarse offsets on purpose for some: ties must happen.
    let offset = prop_oneof![-1.0..1.0f64, (-3..=3i32).prop_map(|n| f64::from(n) / 3.0)];
    let put = (0..300u32, offset.clone(), offset, 0..5i64)
        .prop_map(|(slot, north, east, heard)| Step::Put { slot, north, east, heard });
    let step = prop_oneof![
        12 => put,
        2 => (0..300u32, 0..8u16).prop_map(|(slot, class)| Step::Class { slot, class }),
        1 => (0..300u32).prop_map(|slot| Step::Remove { slot }),
    ];
    proptest::collection::vec(step, 1..900)
}

fn queries() -> impl Strategy<Value = Vec<(f64, f64, f64, u16, i64, usize)>> {
    let radius = prop_oneof![Just(0.0), 1.0..2000.0f64, 2000.0..60_000.0f64, 0.0..21_000_000.0f64];
    let limit = prop_oneof![Just(1usize), 2..20usize, Just(usize::MAX)];
    let query = (-1.2..1.2f64, -1.2..1.2f64, radius, 0..8u16, 0..5i64, limit);
    proptest::collection::vec(query, 1..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn answers_equal_a_scan(
        (lat, lng, spread) in crowds(), steps in steps(), queries in queries(),
    ) {
        let index = TileIndex::with_capacity(300);
        let mut world: Vec<Option<Near>> = vec![None; 300];
        let place = |north: f64, east: f64| at(lat + north * spread.min(90.0), lng + east * spread);
        for step in steps {
            match step {
                Step::Put { slot, north, east, heard } => {
                    let (to, heard) = (place(north, east), Millis(heard));
                    index.put(slot, to, heard);
                    let near = &mut world[slot as usize];
                    let class = near.map_or(1, |near| near.class);
                    index.set_class(slot, class);
                    *near = Some(Near { slot, at: snap(to), distance_m: 0.0, heard, class });
                }
                Step::Class { slot, class } => {
                    if let Some(near) = &mut world[slot as usize] {
                        near.class = class;
                        index.set_class(slot, class);
                    }
                }
                Step::Remove { slot } => {
                    index.remove(slot);
                    world[slot as usize] = None;
                }
            }
        }
        prop_assert_eq!(index.check(), world.iter().flatten().count());
        prop_assert_eq!(index.len(), world.iter().flatten().count());
        let mut found = Vec::new();
        for (north, east, radius_m, classes, heard_since, limit) in queries {
            let from = place(north, east);
            let heard_since = Millis(heard_since);
            let query = Query { from, radius_m, classes, heard_since, limit };
            index.nearest(&query, &mut found);
            prop_assert_eq!(&found, &scan(&world, &query), "{:?}", query);
        }
    }
}

#[test]
fn at_equal_distance_the_freshest_comes_first() {
    let index = TileIndex::with_capacity(10);
    let place = at(30.0, 31.0);
    for (slot, heard) in [(0, 100), (1, 300), (2, 200), (3, 300)] {
        index.put(slot, place, Millis(heard));
        index.set_class(slot, 1);
    }
    let check = |limit: usize, expected: &[u32]| {
        let mut found = Vec::new();
        let heard_since = Millis(0);
        let query = Query { from: place, radius_m: 10.0, classes: 1, heard_since, limit };
        index.nearest(&query, &mut found);
        let slots: Vec<u32> = found.iter().map(|near| near.slot).collect();
        assert_eq!(slots, expected, "limit {limit}");
    };
    check(4, &[1, 3, 2, 0]);
    check(2, &[1, 3]);
    check(0, &[]);
}

#[test]
fn a_crowd_that_gathers_and_leaves_splits_and_joins_its_tiles() {
    let index = TileIndex::with_capacity(5000);
    for slot in 0..5000u32 {
        let (row, column) = (f64::from(slot / 70), f64::from(slot % 70));
        index.put(slot, at(30.0 + row * 1e-4, 31.0 + column * 1e-4), Millis(0));
    }
    assert_eq!(index.check(), 5000);
    // All on one spot: tiles stop splitting at their smallest size.
    for slot in 0..5000u32 {
        index.put(slot, at(30.001, 31.001), Millis(1));
    }
    assert_eq!(index.check(), 5000);
    for slot in 0..4990u32 {
        index.remove(slot);
    }
    assert_eq!((index.check(), index.len()), (10, 10));
    assert_eq!(index.position(0), None);
    assert_eq!(index.position(4995), Some(snap(at(30.001, 31.001))));
}
