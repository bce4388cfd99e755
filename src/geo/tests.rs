//! The index against a plain scan, and under concurrent moves.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use base::{Millis, Point};
use proptest::prelude::*;

use crate::fixed::{distance_m, snap};
use crate::{Near, Query, TileIndex};

const ALL: u16 = u16::MAX;

fn at(lat: f64, lng: f64) -> Point {
    Point::new(lat.clamp(-90.0, 90.0), (lng + 180.0).rem_euclid(360.0) - 180.0).expect("wrapped")
}

/// What the index must answer, found by looking at everything.
fn scan(world: &[Option<Near>], query: &Query) -> Vec<Near> {
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

/// Where mover `slot` is after `step` moves: it wanders around a corner of four shards (or the
/// antimeridian) in strides that stay in a tile, leave it, and leave the shard.
fn path(slot: u32, step: u32) -> Point {
    let (slot, step) = (f64::from(slot), f64::from(step));
    let reach = 0.002 + 0.02 * (slot * 0.37).sin().abs();
    let north = reach * (step * 0.61 + slot).sin();
    let east = reach * (step * 0.83 + slot * 2.0).cos();
    if (slot as u32).is_multiple_of(3) {
        at(0.703125 + north, 180.0 + east)
    } else {
        at(40.78125 + north, -73.828125 + east)
    }
}

struct Mover {
    /// The last step that was surely done, and the last that may have begun.
    done: AtomicU32,
    begun: AtomicU32,
}

/// Every mover in the answer is where it was at some step within the question's time; every mover
/// left out was, at some such step, outside the radius or no nearer than the farthest one kept.
fn explain(found: &[Near], query: &Query, spans: &[(u32, u32)]) {
    let farthest = found.last().map_or(0.0, |near| near.distance_m);
    let full = found.len() == query.limit;
    let mut seen = vec![false; spans.len()];
    for pair in found.windows(2) {
        assert!(pair[0].distance_m <= pair[1].distance_m, "nearest first");
    }
    for near in found {
        let (low, high) = spans[near.slot as usize];
        assert!(!std::mem::replace(&mut seen[near.slot as usize], true), "twice: {}", near.slot);
        let explained = (low..=high).any(|step| snap(path(near.slot, step)) == near.at);
        assert!(explained, "slot {} was never at {:?} in {low}..={high}", near.slot, near.at);
        assert_eq!(near.distance_m, distance_m(query.from, near.at));
    }
    for (slot, (low, high)) in spans.iter().enumerate().filter(|(slot, _)| !seen[*slot]) {
        let explained = (*low..=*high).any(|step| {
            let away = distance_m(query.from, path(slot as u32, step));
            away > query.radius_m || (full && away >= farthest)
        });
        assert!(explained, "slot {slot} is missing, steps {low}..={high}");
    }
}

#[test]
fn every_answer_is_explained_under_concurrent_moves() {
    const MOVERS: u32 = 400;
    const THREADS: u32 = 4;
    const STEPS: u32 = 1500;
    let index = TileIndex::with_capacity(MOVERS as usize);
    let movers: Vec<Mover> =
        (0..MOVERS).map(|_| Mover { done: AtomicU32::new(0), begun: AtomicU32::new(0) }).collect();
    for slot in 0..MOVERS {
        index.put(slot, path(slot, 0), Millis(0));
        index.set_class(slot, 1);
    }
    let (index, movers, over) = (&index, &movers, &AtomicBool::new(false));
    let asked = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..THREADS)
            .map(|thread| {
                scope.spawn(move || {
                    for step in 1..=STEPS {
                        for slot in (thread..MOVERS).step_by(THREADS as usize) {
                            let mover = &movers[slot as usize];
                            mover.begun.store(step, Ordering::SeqCst);
                            index.put(slot, path(slot, step), Millis(i64::from(step)));
                            mover.done.store(step, Ordering::SeqCst);
                        }
                    }
                })
            })
            .collect();
        let readers: Vec<_> = (0..2)
            .map(|reader| {
                scope.spawn(move || {
                    let (mut found, mut asked) = (Vec::new(), 0u32);
                    while !over.load(Ordering::SeqCst) || asked < 50 {
                        ask(index, movers, reader, asked, &mut found);
                        asked += 1;
                    }
                    asked
                })
            })
            .collect();
        for writer in writers {
            writer.join().expect("a writer ends well");
        }
        over.store(true, Ordering::SeqCst);
        readers.into_iter().map(|r| r.join().expect("a reader ends well")).sum::<u32>()
    });
    assert!(asked >= 100);
    assert_eq!(index.check(), MOVERS as usize);
}

fn ask(index: &TileIndex, movers: &[Mover], reader: u32, asked: u32, found: &mut Vec<Near>) {
    let query = Query {
        from: path(reader, asked),
        radius_m: [500.0, 2500.0, 10_000.0][asked as usize % 3],
        classes: ALL,
        heard_since: Millis(0),
        limit: [5, 40, usize::MAX][(asked as usize / 3) % 3],
    };
    let low: Vec<u32> = movers.iter().map(|m| m.done.load(Ordering::SeqCst)).collect();
    index.nearest(&query, found);
    let spans: Vec<(u32, u32)> =
        low.into_iter().zip(movers).map(|(low, m)| (low, m.begun.load(Ordering::SeqCst))).collect();
    explain(found, &query, &spans);
}

#[test]
fn two_threads_that_move_and_remove_one_slot_leave_it_in_one_place() {
    let index = &TileIndex::with_capacity(4);
    std::thread::scope(|scope| {
        for thread in 0..3u32 {
            scope.spawn(move || {
                for step in 0..3000u32 {
                    if (step + thread).is_multiple_of(7) {
                        index.remove(1);
                    } else {
                        index.put(1, path(thread, step * 3 + thread), Millis(i64::from(step)));
                    }
                }
            });
        }
    });
    let held = index.check();
    assert_eq!(held, index.len());
    assert!(held <= 1);
}
