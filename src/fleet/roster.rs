//! The roster: every driver this node has heard of, by account and by slot of the live map.
//!
//! A slot is a driver's for as long as the program runs, so a slot found on the map always means
//! the same driver.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use base::{CityId, DriverId, Millis, Point, Tier, TripId};
use dashmap::DashMap;
use parking_lot::{Mutex, RwLock};

use crate::check::Track;
use crate::meter::Meter;
use crate::model::DriverFacts;
use crate::queue::Ground;
use crate::rules::Phase;

/// A driver's newest accepted position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Live {
    pub(crate) at: Point,
    pub(crate) heading: Option<f32>,
    /// When it came in, by ours.
    pub(crate) heard: Millis,
}

/// Ends of a driver's last trips, newest overwriting oldest.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Recent {
    ends: [i64; 16],
    next: u8,
}

impl Recent {
    pub(crate) fn add(&mut self, at: Millis) {
        self.ends[usize::from(self.next)] = at.0;
        self.next = (self.next + 1) % 16;
    }

    pub(crate) fn since(&self, since: Millis) -> u16 {
        self.ends.iter().map(|end| u16::from(*end >= since.0)).sum()
    }
}

/// What a driver's lock guards.
pub(crate) struct Core {
    pub(crate) phase: Phase,
    /// Apart, so that what every position needs lies close together.
    pub(crate) facts: Option<Box<DriverFacts>>,
    /// His wish, as stored.
    pub(crate) wants_online: bool,
    /// The city he works in now.
    pub(crate) city: CityId,
    /// … was found by his position in this session, not only by his papers.
    pub(crate) located: bool,
    /// What riders know him by in this online session.
    pub(crate) alias: u64,
    pub(crate) track: Track,
    pub(crate) live: Option<Live>,
    pub(crate) waiting_since: Millis,
    pub(crate) recent: Recent,
    pub(crate) meter: Option<(TripId, Arc<Mutex<Meter>>)>,
    /// Where the rider in his car gets out.
    pub(crate) drop_off: Option<Point>,
    /// The last point kept for history while off trip.
    pub(crate) kept: Option<(Point, Millis)>,
    /// Silence on a trip has been told.
    pub(crate) flagged: bool,
    /// No facts are asked for before this.
    pub(crate) load_after: Millis,
    /// The second at which presence looks at him next; 0 = not at all.
    pub(crate) due_s: i64,
    /// The fences he is in, and his place in a queue.
    pub(crate) ground: Ground,
}

impl Core {
    /// Until the facts are loaded (he was adopted with a live trip) he counts as economy.
    pub(crate) fn tier(&self) -> Tier {
        self.facts.as_ref().map_or(Tier::Economy, |facts| facts.tier)
    }
}

pub(crate) struct Entry {
    pub(crate) driver: DriverId,
    pub(crate) slot: u32,
    /// When anything was last heard from him, milliseconds.
    heard: AtomicI64,
    /// He stands in line for the next tick of the nearby map.
    pub(crate) dirty: AtomicBool,
    pub(crate) core: Mutex<Core>,
}

impl Entry {
    fn new(driver: DriverId, slot: u32) -> Self {
        Self {
            driver,
            slot,
            heard: AtomicI64::new(i64::MIN),
            dirty: AtomicBool::new(false),
            core: Mutex::new(Core {
                phase: Phase::Offline,
                facts: None,
                wants_online: false,
                city: CityId(0),
                located: false,
                alias: 0,
                track: Track::default(),
                live: None,
                waiting_since: Millis(0),
                recent: Recent::default(),
                meter: None,
                drop_off: None,
                kept: None,
                flagged: false,
                load_after: Millis(i64::MIN),
                due_s: 0,
                ground: Ground::default(),
            }),
        }
    }

    pub(crate) fn hear(&self, now: Millis) {
        self.heard.fetch_max(now.0, Ordering::Relaxed);
    }

    pub(crate) fn heard(&self) -> Millis {
        Millis(self.heard.load(Ordering::Relaxed))
    }
}

pub(crate) struct Roster {
    by_driver: DashMap<DriverId, Arc<Entry>>,
    by_slot: RwLock<Vec<Arc<Entry>>>,
    capacity: usize,
}

impl Roster {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { by_driver: DashMap::new(), by_slot: RwLock::new(Vec::new()), capacity }
    }

    pub(crate) fn find(&self, driver: DriverId) -> Option<Arc<Entry>> {
        self.by_driver.get(&driver).map(|entry| Arc::clone(&entry))
    }

    /// The driver's entry, made when he is new; `None` when the node is full.
    pub(crate) fn entry(&self, driver: DriverId) -> Option<Arc<Entry>> {
        if let Some(entry) = self.find(driver) {
            return Some(entry);
        }
        let mut slots = self.by_slot.write();
        if let Some(entry) = self.find(driver) {
            return Some(entry);
        }
        let slot = u32::try_from(slots.len()).ok()?;
        if slots.len() >= self.capacity {
            return None;
        }
        let entry = Arc::new(Entry::new(driver, slot));
        slots.push(Arc::clone(&entry));
        self.by_driver.insert(driver, Arc::clone(&entry));
        Some(entry)
    }

    pub(crate) fn at_slot(&self, slot: u32) -> Option<Arc<Entry>> {
        self.by_slot.read().get(slot as usize).cloned()
    }

    /// Everyone, as of now.
    pub(crate) fn all(&self) -> Vec<Arc<Entry>> {
        self.by_slot.read().clone()
    }
}
