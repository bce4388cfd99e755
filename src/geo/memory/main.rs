//! What the index takes: nothing for a move inside a tile, little for the rest, 64 bytes a driver.
//!
//! A program of its own, because a counting allocator counts for the whole program. It counts per
//! thread, so that tests beside each other don't disturb.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use base::{Dice, Millis, Point};
use geo::TileIndex;

thread_local! {
    static TAKEN: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<i64> = const { Cell::new(0) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn note(taken: u64, bytes: i64) {
    TAKEN.set(TAKEN.get() + taken);
    HELD.set(HELD.get() + bytes);
}

#[expect(unsafe_code, reason = "an allocator can't be written without")]
// SAFETY: every call goes to the system's allocator unchanged; counting touches two cells that need
// neither memory nor a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size() as i64);
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        note(0, -(layout.size() as i64));
        // SAFETY: `at` came from `alloc` above with this layout, which came from the system's.
        unsafe { System.dealloc(at, layout) }
    }
}

/// Allocations and bytes kept by this thread while `work` ran.
fn counted<T>(work: impl FnOnce() -> T) -> (u64, i64, T) {
    let before = (TAKEN.get(), HELD.get());
    let done = work();
    (TAKEN.get() - before.0, HELD.get() - before.1, done)
}

fn at(lat: f64, lng: f64) -> Point {
    Point::new(lat, lng).expect("a place of the test")
}

/// Drivers as a city has them: thick in a dozen quarters, thin around.
fn city(drivers: usize, dice: &Dice) -> Vec<(f64, f64)> {
    let spread =
        |middle: f64, width: f64| middle + width * ((0..6).map(|_| dice.unit()).sum::<f64>() - 3.0);
    let quarters: Vec<(f64, f64, f64)> = (0..12)
        .map(|_| (spread(30.0444, 0.1), spread(31.2357, 0.1), 0.01 + 0.04 * dice.unit()))
        .collect();
    let place = |_| {
        let (lat, lng, width) = quarters[dice.below(12) as usize];
        (spread(lat, width), spread(lng, width))
    };
    (0..drivers).map(place).collect()
}

fn filled(places: &[(f64, f64)]) -> TileIndex {
    let index = TileIndex::with_capacity(places.len());
    for (slot, (lat, lng)) in (0..).zip(places) {
        index.put(slot, at(*lat, *lng), Millis(0));
        index.set_class(slot, 1);
    }
    index
}

#[test]
fn a_move_inside_its_tile_allocates_nothing() {
    let dice = Dice::seeded(1);
    let places = city(100_000, &dice);
    let index = filled(&places);
    // 3 m either way: less than the border of the smallest tile.
    let nudge = || (2.0 * dice.unit() - 1.0) * 2.7e-5;
    let (taken, held, ()) = counted(|| {
        for step in 0..200_000 {
            let slot = dice.below(places.len() as u64) as usize;
            let (lat, lng) = places[slot];
            index.put(slot as u32, at(lat + nudge(), lng + nudge()), Millis(step));
        }
    });
    assert_eq!((taken, held), (0, 0));
}

#[test]
fn a_crossing_between_tiles_that_stay_allocates_nothing() {
    // Thirty in each: no tile splits, joins or goes when one leaves or comes. The third crowd is in
    // another shard.
    let crowds = [(30.01, 31.01), (30.01, 31.20), (30.01, 31.75)];
    let places: Vec<(f64, f64)> = (0..90).map(|slot| crowds[slot % 3]).collect();
    let index = filled(&places);
    let lap = || {
        for (lat, lng) in crowds {
            index.put(0, at(lat, lng), Millis(1));
        }
    };
    lap();
    let (taken, held, ()) = counted(|| (0..1000).for_each(|_| lap()));
    assert_eq!((taken, held), (0, 0));
}

#[test]
fn a_move_that_makes_splits_or_joins_tiles_allocates_little() {
    let dice = Dice::seeded(3);
    let mut places = city(20_000, &dice);
    let index = filled(&places);
    let stride = || (2.0 * dice.unit() - 1.0) * 0.002;
    let (mut all, mut most) = (0, 0);
    let moves = 300_000;
    for step in 0..moves {
        let slot = dice.below(places.len() as u64) as usize;
        let place = &mut places[slot];
        *place = (place.0 + stride(), place.1 + stride());
        let to = at(place.0, place.1);
        let (taken, _, ()) = counted(|| index.put(slot as u32, to, Millis(step)));
        all += taken;
        most = most.max(taken);
    }
    // Strides of 100 m leave most tiles; few of these moves make or split one.
    assert!(all < moves as u64 / 100, "{all} allocations");
    // A crowd on one spot splits its tile down to the smallest.
    for slot in 0..200 {
        let (taken, _, ()) = counted(|| index.put(slot, at(30.5, 31.5), Millis(moves)));
        most = most.max(taken);
    }
    assert!(most <= 100, "{most} allocations in one move");
}

#[test]
fn two_hundred_thousand_drivers_take_64_bytes_each() {
    let dice = Dice::seeded(4);
    let mut places = city(200_000, &dice);
    let (_, fresh, index) = counted(|| filled(&places));
    let each = fresh as f64 / places.len() as f64;
    assert!(each <= 64.0, "{each} bytes");
    // Later, all elsewhere: what splits and joins leave behind counts too.
    let stride = || (2.0 * dice.unit() - 1.0) * 0.004;
    let (_, grown, ()) = counted(|| {
        for step in 0..1_000_000 {
            let slot = dice.below(places.len() as u64) as usize;
            let place = &mut places[slot];
            *place = (place.0 + stride(), place.1 + stride());
            index.put(slot as u32, at(place.0, place.1), Millis(step));
        }
    });
    let each = (fresh + grown) as f64 / places.len() as f64;
    assert!(each <= 64.0, "{each} bytes");
}
