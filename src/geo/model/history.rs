//! What several threads asked and were told, and whether one order of all steps explains it.
//!
//! Slot by slot: the steps that touch a slot must have happened one after the other, each within
//! its own time, and every answer must fit what the slot was at that place in the order. A question
//! for several slots may have looked at each of them at another moment.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::{Millis, Point};

use crate::fixed::{distance_m, snap};
use crate::index::{Near, Query, TileIndex};

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Put { slot: u32, at: Point, heard: i64 },
    Class { slot: u32, class: u16 },
    Remove { slot: u32 },
    Where { slot: u32 },
    Ask(Query),
}

#[derive(Clone, Debug)]
enum Told {
    Nothing,
    Place(Option<Point>),
    Found(Vec<Near>),
}

/// A step that was done, and when it began and ended.
#[derive(Clone, Debug)]
struct Done {
    step: Step,
    told: Told,
    begun: u64,
    ended: u64,
}

/// What a slot is, by the rules.
#[derive(Clone, Copy, Default)]
struct State {
    placed: Option<(Point, Millis)>,
    class: u16,
}

/// Runs `setup`, then the threads side by side, then asks for everything; all of it must have one
/// explanation, and the index must be in order.
pub(crate) fn run(slots: u32, setup: &[Step], threads: &[&[Step]], last: &[Step]) {
    let index = Arc::new(TileIndex::with_capacity(slots as usize));
    let clock = Arc::new(AtomicU64::new(0));
    let before = perform(&index, &clock, setup);
    let spawned: Vec<_> = threads
        .iter()
        .map(|steps| {
            let (index, clock, steps) = (index.clone(), clock.clone(), steps.to_vec());
            shuttle::thread::spawn(move || perform(&index, &clock, &steps))
        })
        .collect();
    let mut lanes = vec![before];
    lanes.extend(spawned.into_iter().map(|thread| thread.join().expect("a thread ends well")));
    let mut end: Vec<Step> = (0..slots).map(|slot| Step::Where { slot }).collect();
    end.extend(last);
    lanes.push(perform(&index, &clock, &end));
    assert_eq!(index.check(), index.len());
    for slot in 0..slots {
        let lanes: Vec<Vec<&Done>> = lanes
            .iter()
            .map(|lane| lane.iter().filter(|done| done.step.touches(slot)).collect())
            .collect();
        let mut next = vec![0; lanes.len()];
        let explained = explain(slot, &lanes, &mut next, State::default());
        assert!(explained, "no order explains slot {slot}: {lanes:#?}");
    }
}

fn perform(index: &TileIndex, clock: &AtomicU64, steps: &[Step]) -> Vec<Done> {
    let act = |step: &Step| {
        let begun = clock.fetch_add(1, Ordering::SeqCst);
        let told = step.perform(index);
        Done { step: *step, told, begun, ended: clock.fetch_add(1, Ordering::SeqCst) }
    };
    steps.iter().map(act).collect()
}

/// Is there an order of what is left that explains all answers?
fn explain(slot: u32, lanes: &[Vec<&Done>], next: &mut [usize], state: State) -> bool {
    let heads: Vec<(usize, &Done)> = (lanes.iter().zip(&*next).enumerate())
        .filter_map(|(lane, (steps, place))| Some((lane, *steps.get(*place)?)))
        .collect();
    // A step may come next unless another one ended before it began.
    let first_end = heads.iter().map(|(_, head)| head.ended).min();
    let Some(first_end) = first_end else { return true };
    heads.iter().filter(|(_, head)| head.begun < first_end).any(|(lane, head)| {
        let Some(after) = state.after(slot, head) else { return false };
        next[*lane] += 1;
        let explained = explain(slot, lanes, next, after);
        next[*lane] -= 1;
        explained
    })
}

impl Step {
    fn touches(&self, own: u32) -> bool {
        match *self {
            Self::Put { slot, .. } | Self::Class { slot, .. } => slot == own,
            Self::Remove { slot } | Self::Where { slot } => slot == own,
            Self::Ask(_) => true,
        }
    }

    fn perform(&self, index: &TileIndex) -> Told {
        match *self {
            Self::Put { slot, at, heard } => index.put(slot, at, Millis(heard)),
            Self::Class { slot, class } => index.set_class(slot, class),
            Self::Remove { slot } => index.remove(slot),
            Self::Where { slot } => return Told::Place(index.position(slot)),
            Self::Ask(query) => {
                let mut found = Vec::new();
                index.nearest(&query, &mut found);
                for pair in found.windows(2) {
                    assert!(pair[0].distance_m <= pair[1].distance_m, "nearest first");
                }
                return Told::Found(found);
            }
        }
        Told::Nothing
    }
}

impl State {
    /// The state after the step; `None` when what was told doesn't fit the state.
    fn after(self, slot: u32, done: &Done) -> Option<Self> {
        match (done.step, &done.told) {
            (Step::Put { at, heard, .. }, _) => {
                Some(Self { placed: Some((snap(at), Millis(heard))), ..self })
            }
            (Step::Class { class, .. }, _) => Some(Self { class, ..self }),
            (Step::Remove { .. }, _) => Some(Self::default()),
            (_, Told::Place(at)) => (self.placed.map(|(at, _)| at) == *at).then_some(self),
            (Step::Ask(query), Told::Found(found)) => {
                self.explains(slot, &query, found).then_some(self)
            }
            (_, _) => None,
        }
    }

    fn explains(self, slot: u32, query: &Query, found: &[Near]) -> bool {
        let near = self.placed.map(|(at, heard)| Near {
            slot,
            at,
            distance_m: distance_m(query.from, at),
            heard,
            class: self.class,
        });
        let near = near.filter(|near| {
            near.class & query.classes != 0
                && near.heard >= query.heard_since
                && near.distance_m <= query.radius_m
        });
        let mut told = found.iter().filter(|told| told.slot == slot);
        match (told.next(), told.next()) {
            (Some(told), None) => near.as_ref() == Some(told),
            (Some(_), Some(_)) => false,
            (None, _) => near.is_none_or(|near| {
                let farther = |last: &Near| near.distance_m >= last.distance_m;
                found.len() == query.limit && found.last().is_some_and(farther)
            }),
        }
    }
}
