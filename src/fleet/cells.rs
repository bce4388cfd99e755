//! What followers of the nearby map are told: per cell and tier, who entered, moved, left.
//!
//! Positions only mark their driver; the tick looks at the marked ones and compares with what was
//! told before. So a driver who moves ten times between two ticks is told once, and what followers
//! know adds up to what the map shows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::Ordering;

use base::{Millis, Point, Tier, limits};
use geo::Cell;
use parking_lot::Mutex;

use crate::fleet::{Fleet, Inner};
use crate::model::{NearbyDriver, State};
use crate::nearby::alias_text;
use crate::roster::Entry;

/// A driver who is where he was told to be no more.
#[derive(Clone, Debug, PartialEq)]
pub struct Moved {
    pub alias: String,
    pub at: Point,
    /// Degrees.
    pub heading: Option<f32>,
}

/// What changed in a cell since the last tick, for cars of one tier.
#[derive(Clone, Debug, PartialEq)]
pub struct CellDelta {
    pub cell: Cell,
    pub tier: Tier,
    pub entered: Vec<NearbyDriver>,
    pub moved: Vec<Moved>,
    /// Aliases.
    pub left: Vec<String>,
}

/// What followers know of a driver.
#[derive(Clone, Debug)]
struct Shown {
    cell: Cell,
    alias: u64,
    driver: NearbyDriver,
}

/// Marked drivers, and what was told so far.
pub(crate) struct CellBoard {
    marked: Mutex<Vec<u32>>,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    shown: HashMap<u32, Shown>,
    cells: HashMap<Cell, HashSet<u32>>,
}

impl CellBoard {
    pub(crate) fn new() -> Self {
        // Room for a tick of a large city, so that the hot path doesn't have to make it.
        Self { marked: Mutex::new(Vec::with_capacity(16 * 1024)), told: Mutex::default() }
    }
}

type Deltas = BTreeMap<(Cell, Tier), CellDelta>;

impl Inner {
    /// The driver changed in a way that riders may see.
    pub(crate) fn mark(&self, entry: &Entry) {
        if !entry.dirty.swap(true, Ordering::AcqRel) {
            self.cells.marked.lock().push(entry.slot);
        }
    }

    fn visible(&self, entry: &Entry, now: Millis) -> Option<Shown> {
        let core = entry.core.lock();
        let live = core.live?;
        let fresh = live.heard >= now - limits::FRESH_TTL;
        if core.phase.state() != State::Available || !fresh {
            return None;
        }
        let driver = NearbyDriver {
            alias: alias_text(core.alias),
            at: live.at,
            distance_m: None,
            tier: core.tier(),
            rating: core.facts.as_ref().map_or(5.0, |facts| facts.rating),
            heading: live.heading,
            last_update: live.heard,
        };
        Some(Shown { cell: geo::cell_of(live.at), alias: core.alias, driver })
    }
}

impl Fleet {
    /// What changed on the nearby map since the last call. There is one caller: the nearby tick.
    pub fn moved_cells(&self) -> Vec<CellDelta> {
        let inner = self.inner();
        let now = inner.clock.now();
        let mut told = inner.cells.told.lock();
        let marked = {
            let mut marked = inner.cells.marked.lock();
            let room = Vec::with_capacity(marked.capacity());
            std::mem::replace(&mut *marked, room)
        };
        let mut deltas = Deltas::new();
        for slot in marked {
            let Some(entry) = inner.roster.at_slot(slot) else { continue };
            // Before looking, so that a change during the look is seen by the next tick.
            entry.dirty.store(false, Ordering::Release);
            told.tell(slot, inner.visible(&entry, now), &mut deltas);
        }
        deltas.into_values().collect()
    }

    /// Whom followers of the cell have been told of, as of the last tick; a new follower starts
    /// with this and then takes the deltas.
    pub fn cell_view(&self, cell: Cell, tier: Option<Tier>) -> Vec<NearbyDriver> {
        let told = self.inner().cells.told.lock();
        let slots = told.cells.get(&cell).into_iter().flatten();
        slots
            .filter_map(|slot| told.shown.get(slot))
            .map(|shown| &shown.driver)
            .filter(|driver| tier.is_none_or(|tier| tier == driver.tier))
            .cloned()
            .collect()
    }
}

impl Told {
    fn tell(&mut self, slot: u32, now: Option<Shown>, deltas: &mut Deltas) {
        let before = self.shown.remove(&slot);
        match (&before, &now) {
            (None, None) => {}
            (Some(old), Some(new)) if same_place(old, new) => {
                if old.driver.at != new.driver.at || old.driver.heading != new.driver.heading {
                    delta(deltas, new).moved.push(Moved {
                        alias: new.driver.alias.clone(),
                        at: new.driver.at,
                        heading: new.driver.heading,
                    });
                }
            }
            (old, new) => {
                if let Some(old) = old {
                    delta(deltas, old).left.push(old.driver.alias.clone());
                    self.leave(old.cell, slot);
                }
                if let Some(new) = new {
                    delta(deltas, new).entered.push(new.driver.clone());
                    self.cells.entry(new.cell).or_default().insert(slot);
                }
            }
        }
        if let Some(now) = now {
            self.shown.insert(slot, now);
        }
    }

    fn leave(&mut self, cell: Cell, slot: u32) {
        if let Some(slots) = self.cells.get_mut(&cell) {
            slots.remove(&slot);
            if slots.is_empty() {
                self.cells.remove(&cell);
            }
        }
    }
}

/// The same car to the same followers.
fn same_place(old: &Shown, new: &Shown) -> bool {
    old.cell == new.cell && old.alias == new.alias && old.driver.tier == new.driver.tier
}

fn delta<'a>(deltas: &'a mut Deltas, shown: &Shown) -> &'a mut CellDelta {
    let (cell, tier) = (shown.cell, shown.driver.tier);
    deltas.entry((cell, tier)).or_insert_with(|| CellDelta {
        cell,
        tier,
        entered: Vec::new(),
        moved: Vec::new(),
        left: Vec::new(),
    })
}
