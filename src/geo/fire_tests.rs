//! The index under fire: real threads move, hide, remove and bring back slots while others ask.
//!
//! What every slot does is written down beforehand, step by step. A slot's thread says which step
//! it begins and which is done, so that each answer can be held against what each slot was between
//! the question and the answer.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use base::{Dice, Millis, Point};

use crate::fixed::{distance_m, snap};
use crate::tests::{at, scan};
use crate::{Near, Query, TileIndex};

const SLOTS: u32 = 480;
const STEPS: u32 = 600;
const MOVERS: u32 = 3;
const READERS: u64 = 2;
const SEEDS: [u64; 2] = [20_260_101, 7];
const ALL: u16 = u16::MAX;

/// A middle, and how far around it the slots wander; the second reach is taken every other while.
struct Scene {
    middle: (f64, f64),
    reach: (f64, f64),
}

const fn scene(lat: f64, lng: f64, wide: f64, close: f64) -> Scene {
    Scene { middle: (lat, lng), reach: (wide, close) }
}

const SCENES: [Scene; 8] = [
    scene(30.0444, 31.2357, 0.00005, 0.00005), // inside a tile
    scene(30.10, 31.30, 0.03, 0.0002),         // a crowd gathers and leaves: splits and joins
    scene(30.10, 31.30, 0.05, 0.0001),
    scene(40.78125, -73.828125, 0.02, 0.002), // a corner of four shards
    scene(0.703125, 180.0, 0.02, 0.001),      // the antimeridian, and a border of shards
    scene(-17.0, 180.0, 0.3, 0.004),
    scene(90.0, 0.0, 0.02, 0.001),
    scene(-90.0, 0.0, 0.3, 0.0005),
];

#[derive(Clone, Copy)]
enum Act {
    Put(Point, Millis),
    Class(u16),
    Remove,
}

/// What a slot is after a step, as far as its lane says.
#[derive(Clone, Copy)]
struct State {
    placed: Option<(Point, Millis)>,
    class: u16,
}

/// What one thread does with one slot; `states[n]` is what comes of the first `n` acts.
struct Lane {
    acts: Vec<Act>,
    states: Vec<State>,
    begun: AtomicU32,
    done: AtomicU32,
}

/// A slot is moved by one thread. Every third keeps its place on the map and has its class changed
/// by another thread; the others are also removed, brought back and given a class by their own.
struct Life {
    moves: Lane,
    classes: Lane,
}

impl Lane {
    fn new(start: State, acts: Vec<Act>) -> Self {
        let mut states = vec![start];
        let mut state = start;
        for act in &acts {
            match *act {
                Act::Put(to, heard) => state.placed = Some((snap(to), heard)),
                Act::Class(class) => state.class = class,
                Act::Remove => state = State { placed: None, class: 0 },
            }
            states.push(state);
        }
        Self { acts, states, begun: AtomicU32::new(0), done: AtomicU32::new(0) }
    }

    fn act(&self, index: &TileIndex, slot: u32, step: u32) {
        let Some(act) = self.acts.get(step as usize) else { return };
        self.begun.store(step + 1, Ordering::SeqCst);
        match *act {
            Act::Put(to, heard) => index.put(slot, to, heard),
            Act::Class(class) => index.set_class(slot, class),
            Act::Remove => index.remove(slot),
        }
        self.done.store(step + 1, Ordering::SeqCst);
    }

    fn last(&self) -> State {
        self.states[self.states.len() - 1]
    }
}

impl Life {
    fn new(slot: u32, dice: &Dice) -> Self {
        let mut scene = &SCENES[slot as usize % SCENES.len()];
        let mut place = |step: u32| {
            // Now and then far away, to stay there for a while.
            if dice.below(60) == 0 {
                scene = &SCENES[dice.below(SCENES.len() as u64) as usize];
            }
            let (wide, close) = scene.reach;
            somewhere(scene, if (step / 50).is_multiple_of(2) { wide } else { close }, dice)
        };
        let start = State { placed: Some((snap(place(0)), Millis(0))), class: 1 };
        let mut moves = Vec::new();
        let mut classes = Vec::new();
        for step in 1..=STEPS {
            // Not always later than before: a late position is the caller's affair.
            let put = Act::Put(place(step), Millis(i64::from(step) - dice.below(4) as i64));
            if slot.is_multiple_of(3) {
                moves.push(put);
                classes.push(Act::Class(dice.below(4) as u16));
            } else {
                moves.push(match dice.below(20) {
                    0 => Act::Remove,
                    1..=4 => Act::Class(dice.below(4) as u16),
                    _ => put,
                });
            }
        }
        let shown = |class: u16| State { class, ..start };
        // The lane that says nothing of the class shows every bit.
        let (own, other) = if slot.is_multiple_of(3) { (ALL, 1) } else { (1, ALL) };
        Self { moves: Lane::new(shown(own), moves), classes: Lane::new(shown(other), classes) }
    }

    /// What the slot may have been at `move_step` of its own thread and `class_step` of the other.
    fn was(&self, slot: u32, move_step: u32, class_step: u32) -> Option<Near> {
        let state = self.moves.states[move_step as usize];
        let class = state.class & self.classes.states[class_step as usize].class;
        state.placed.map(|(at, heard)| Near { slot, at, distance_m: 0.0, heard, class })
    }

    fn ended(&self, slot: u32) -> Option<Near> {
        let class = self.moves.last().class & self.classes.last().class;
        let placed = self.moves.last().placed;
        placed.map(|(at, heard)| Near { slot, at, distance_m: 0.0, heard, class })
    }
}

fn somewhere(scene: &Scene, reach: f64, dice: &Dice) -> Point {
    let (lat, lng) = scene.middle;
    let (north, east) = (2.0 * dice.unit() - 1.0, 2.0 * dice.unit() - 1.0);
    // At a pole every longitude is near.
    let turn = if lat.abs() == 90.0 { 180.0 } else { reach };
    at(lat + north * reach, lng + east * turn)
}

fn question(lives: &[Life], dice: &Dice) -> Query {
    let scene = &SCENES[dice.below(SCENES.len() as u64) as usize];
    let now = lives[0].moves.done.load(Ordering::SeqCst);
    let radii = [30.0, 300.0, 300.0, 2500.0, 2500.0, 15_000.0, 150_000.0, 21_000_000.0];
    Query {
        from: somewhere(scene, scene.reach.0, dice),
        radius_m: radii[dice.below(radii.len() as u64) as usize],
        classes: 1 + dice.below(3) as u16,
        heard_since: Millis(i64::from(now) - dice.below(30) as i64),
        limit: [1, 5, 40, usize::MAX][dice.below(4) as usize],
    }
}

/// The steps of both lanes that may have been the last one at some moment of the question.
type Span = (RangeInclusive<u32>, RangeInclusive<u32>);

fn ask(index: &TileIndex, lives: &[Life], dice: &Dice, found: &mut Vec<Near>) {
    let query = question(lives, dice);
    let done = |life: &Life| {
        (life.moves.done.load(Ordering::SeqCst), life.classes.done.load(Ordering::SeqCst))
    };
    let low: Vec<(u32, u32)> = lives.iter().map(done).collect();
    index.nearest(&query, found);
    let span = |(life, low): (&Life, (u32, u32))| {
        (
            low.0..=life.moves.begun.load(Ordering::SeqCst),
            low.1..=life.classes.begun.load(Ordering::SeqCst),
        )
    };
    let spans: Vec<Span> = lives.iter().zip(low).map(span).collect();
    explain(lives, &query, found, &spans);
}

/// Everyone in the answer was just so at some moment of the question and matched; everyone left out
/// didn't match, or was behind the last one of a full answer, at some moment of it.
fn explain(lives: &[Life], query: &Query, found: &[Near], spans: &[Span]) {
    let full = found.len() == query.limit;
    let matches = |near: &Near| {
        near.class & query.classes != 0
            && near.heard >= query.heard_since
            && distance_m(query.from, near.at) <= query.radius_m
    };
    let behind = |near: &Near, last: &Near| {
        let away = distance_m(query.from, near.at);
        (last.distance_m.total_cmp(&away)).then(near.heard.cmp(&last.heard)).is_le()
    };
    for pair in found.windows(2) {
        assert!(pair[0].distance_m <= pair[1].distance_m, "nearest first: {pair:?}");
        assert!(behind(&pair[1], &pair[0]), "at equal distance the freshest first: {pair:?}");
    }
    let mut seen = vec![false; lives.len()];
    for near in found {
        let slot = near.slot as usize;
        assert!(!std::mem::replace(&mut seen[slot], true), "slot {slot} twice: {found:?}");
        assert!(matches(near), "slot {slot} wasn't asked for: {near:?} {query:?}");
        assert_eq!(near.distance_m, distance_m(query.from, near.at));
        let was = |near_was: Near| Near { distance_m: near.distance_m, ..near_was } == *near;
        let explained = moments(&lives[slot], near.slot, &spans[slot]).flatten().any(was);
        assert!(explained, "slot {slot} never was {near:?}, steps {:?}", spans[slot]);
    }
    for slot in (0..lives.len()).filter(|slot| !seen[*slot]) {
        let explained = moments(&lives[slot], slot as u32, &spans[slot]).any(|was| {
            was.is_none_or(|was| {
                !matches(&was) || found.last().is_some_and(|last| full && behind(&was, last))
            })
        });
        assert!(explained, "slot {slot} is missing: {query:?}, steps {:?}", spans[slot]);
    }
}

fn moments(life: &Life, slot: u32, span: &Span) -> impl Iterator<Item = Option<Near>> {
    let (moves, classes) = span.clone();
    moves.flat_map(move |step| classes.clone().map(move |class| life.was(slot, step, class)))
}

/// Ends the readers also when a writer has failed.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Says which seed it was when the test fails.
struct Seed(u64);

impl Drop for Seed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failed with seed {}", self.0);
        }
    }
}

#[test]
fn every_answer_is_explained_under_concurrent_moves() {
    for seed in SEEDS {
        let seed = Seed(seed);
        let dice = Dice::seeded(seed.0);
        let lives: Vec<Life> = (0..SLOTS).map(|slot| Life::new(slot, &dice)).collect();
        let index = TileIndex::with_capacity(SLOTS as usize);
        for (slot, life) in (0..).zip(&lives) {
            let (place, heard) = life.moves.states[0].placed.expect("all begin on the map");
            index.put(slot, place, heard);
            index.set_class(slot, 1);
        }
        let asked = fire(&index, &lives, seed.0);
        assert!(asked >= 100);
        let world: Vec<Option<Near>> =
            (0..).zip(&lives).map(|(slot, life)| life.ended(slot)).collect();
        let left = world.iter().flatten().count();
        assert_eq!((index.check(), index.len()), (left, left));
        let mut found = Vec::new();
        for _ in 0..300 {
            let query = question(&lives, &dice);
            index.nearest(&query, &mut found);
            assert_eq!(found, scan(&world, &query), "{query:?}");
        }
    }
}

/// Lets the writers run through all lives while readers ask; how often they did.
fn fire(index: &TileIndex, lives: &[Life], seed: u64) -> u32 {
    let over = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        let stop = Over(over);
        let mut writers = Vec::new();
        for mover in 0..MOVERS {
            writers.push(scope.spawn(move || {
                for step in 0..STEPS {
                    for slot in (mover..SLOTS).step_by(MOVERS as usize) {
                        lives[slot as usize].moves.act(index, slot, step);
                    }
                }
            }));
        }
        writers.push(scope.spawn(move || {
            for step in 0..STEPS {
                (0..SLOTS).for_each(|slot| lives[slot as usize].classes.act(index, slot, step));
            }
        }));
        let ask_on = move |reader| {
            let (dice, mut found, mut asked) = (Dice::seeded(seed ^ reader), Vec::new(), 0u32);
            while !over.load(Ordering::SeqCst) || asked < 50 {
                ask(index, lives, &dice, &mut found);
                asked += 1;
            }
            asked
        };
        let readers: Vec<_> = (1..=READERS).map(|r| scope.spawn(move || ask_on(r))).collect();
        for writer in writers {
            writer.join().expect("a writer ends well");
        }
        drop(stop);
        readers.into_iter().map(|reader| reader.join().expect("a reader ends well")).sum()
    })
}

#[test]
fn threads_that_move_and_remove_one_slot_leave_it_in_one_place() {
    let index = &TileIndex::with_capacity(4);
    std::thread::scope(|scope| {
        for thread in 0..3u64 {
            scope.spawn(move || {
                let dice = Dice::seeded(thread);
                for step in 0..3000 {
                    let scene = &SCENES[dice.below(SCENES.len() as u64) as usize];
                    match dice.below(7) {
                        0 => index.remove(1),
                        1 => index.set_class(1, thread as u16),
                        _ => index.put(1, somewhere(scene, scene.reach.0, &dice), Millis(step)),
                    }
                }
            });
        }
    });
    let held = index.check();
    assert_eq!(held, index.len());
    assert!(held <= 1);
}
