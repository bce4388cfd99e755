//! The index under a scheduler that tries thousands of orders of its locks and atomics.
//!
//! The same sources as the library's, on shuttle's locks and a small map (`scale`). A failing
//! schedule is printed and can be played again with `shuttle::replay`.

#[path = "../fixed.rs"]
pub mod fixed;
mod history;
#[path = "../index.rs"]
pub mod index;
mod scale;
#[path = "../shard.rs"]
mod shard;
#[path = "../slot.rs"]
mod slot;
mod sync;
#[path = "../tile.rs"]
mod tile;

use base::{Millis, Point};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::{Config, Runner};

use crate::history::Step;
use crate::index::Query;

/// Schedules per scheduler and scenario.
const SCHEDULES: usize = 500;

// Two places in one tile, its neighbour, and the neighbour's neighbour: one shard.
const HERE: (f64, f64) = (5.0, 1.0);
const BESIDE: (f64, f64) = (5.5, 2.0);
const NEXT_TILE: (f64, f64) = (5.0, 4.0);
const FAR_TILE: (f64, f64) = (5.0, 10.0);
// The shards around: lower numbers to the west and south, a higher one to the east.
const WEST: (f64, f64) = (5.0, -2.0);
const EAST: (f64, f64) = (5.0, 24.0);
const SOUTH: (f64, f64) = (-2.0, 1.0);

fn at((lat, lng): (f64, f64)) -> Point {
    Point::new(lat, lng).expect("a place of the test")
}

fn put(slot: u32, place: (f64, f64), heard: i64) -> Step {
    Step::Put { slot, at: at(place), heard }
}

fn class(slot: u32, class: u16) -> Step {
    Step::Class { slot, class }
}

fn remove(slot: u32) -> Step {
    Step::Remove { slot }
}

/// All of class 1 around the meeting of the shards.
fn ask() -> Step {
    ask_from((5.0, 12.0), usize::MAX, 0)
}

fn ask_from(place: (f64, f64), limit: usize, heard_since: i64) -> Step {
    let heard_since = Millis(heard_since);
    Step::Ask(Query { from: at(place), radius_m: 1_700_000.0, classes: 1, heard_since, limit })
}

fn check(slots: u32, setup: &[Step], threads: &[&[Step]]) {
    let owned: Vec<Vec<Step>> = threads.iter().map(|steps| steps.to_vec()).collect();
    let setup = setup.to_vec();
    let scenario = move || {
        let threads: Vec<&[Step]> = owned.iter().map(Vec::as_slice).collect();
        history::run(slots, &setup, &threads, &[ask()]);
    };
    let mut config = Config::new();
    config.silence_warnings = true;
    Runner::new(RandomScheduler::new(SCHEDULES), config.clone()).run(scenario.clone());
    Runner::new(PctScheduler::new(3, SCHEDULES), config).run(scenario);
}

#[test]
fn a_slot_that_crosses_tiles_is_always_found_once() {
    let setup = [put(0, HERE, 1), class(0, 1), put(1, FAR_TILE, 1), class(1, 1)];
    let there_and_back = [put(0, NEXT_TILE, 2), put(0, FAR_TILE, 3), put(0, HERE, 4)];
    check(2, &setup, &[&there_and_back, &[ask(), ask()]]);
}

#[test]
fn a_slot_that_crosses_shards_is_always_found_once() {
    let setup = [put(0, HERE, 1), class(0, 1), put(1, EAST, 1), class(1, 1)];
    check(2, &setup, &[&[put(0, EAST, 2), put(0, HERE, 3)], &[ask(), ask()]]);
    // Into a shard that isn't made yet and comes before his own in the order of locks.
    check(1, &setup[..2], &[&[put(0, WEST, 2)], &[ask()]]);
    check(1, &setup[..2], &[&[put(0, SOUTH, 2), put(0, EAST, 3), put(0, WEST, 4)], &[ask()]]);
}

#[test]
fn slots_that_cross_in_opposite_directions_never_wait_for_each_other() {
    let setup = [put(0, HERE, 1), class(0, 1), put(1, EAST, 1), class(1, 1)];
    check(2, &setup, &[&[put(0, EAST, 2)], &[put(1, HERE, 2)], &[ask()]]);
    check(2, &setup, &[&[put(0, EAST, 2), put(0, WEST, 3)], &[put(1, WEST, 2), put(1, HERE, 3)]]);
}

#[test]
fn a_tile_splits_and_joins_under_who_moves_in_it() {
    let two = [put(0, HERE, 1), class(0, 1), put(1, BESIDE, 1), class(1, 1), class(2, 1)];
    // The third splits the tile while one moves inside it, or out of it.
    check(3, &two, &[&[put(2, (5.2, 1.2), 2)], &[put(0, BESIDE, 2)], &[ask()]]);
    check(3, &two, &[&[put(2, HERE, 2)], &[put(0, NEXT_TILE, 2)], &[ask()]]);
    let mut three = two.to_vec();
    three.push(put(2, (5.2, 1.2), 1));
    // Who leaves joins the tiles again.
    check(3, &three, &[&[put(2, FAR_TILE, 2), remove(1)], &[put(0, BESIDE, 2)], &[ask()]]);
}

#[test]
fn a_removal_against_a_move_and_a_class_leaves_what_one_order_leaves() {
    let setup = [put(0, HERE, 1), class(0, 1)];
    check(1, &setup, &[&[remove(0)], &[put(0, EAST, 2), class(0, 1)], &[ask()]]);
    check(1, &setup, &[&[remove(0)], &[put(0, BESIDE, 2), class(0, 3)], &[remove(0)]]);
    check(1, &[], &[&[put(0, HERE, 1), class(0, 1)], &[remove(0)], &[Step::Where { slot: 0 }]]);
    check(1, &setup, &[&[put(0, EAST, 2)], &[put(0, WEST, 3)], &[remove(0), ask()]]);
}

#[test]
fn an_answer_shows_place_time_and_class_of_one_moment() {
    let setup = [put(0, EAST, 1), class(0, 1)];
    // Hidden while he comes near: he must not be shown there with the class he had far away.
    check(1, &setup, &[&[class(0, 2), put(0, HERE, 2), class(0, 1)], &[ask(), ask()]]);
    check(1, &setup, &[&[remove(0), put(0, HERE, 2), class(0, 3)], &[ask(), ask()]]);
    let inside = [put(0, HERE, 1), class(0, 1)];
    check(1, &inside, &[&[class(0, 2), put(0, BESIDE, 2), class(0, 1)], &[ask()]]);
    check(1, &inside, &[&[put(0, BESIDE, 5), put(0, HERE, 2)], &[ask_from(HERE, 9, 2)]]);
}

#[test]
fn the_nearest_one_is_no_farther_than_who_was_left_out() {
    let setup = [put(0, HERE, 1), class(0, 1), put(1, NEXT_TILE, 1), class(1, 1)];
    let nearest = [ask_from(HERE, 1, 0)];
    check(2, &setup, &[&[put(0, FAR_TILE, 2), put(0, HERE, 3)], &[put(1, BESIDE, 2)], &nearest]);
}
