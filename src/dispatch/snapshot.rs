//! What a decision was made from, kept so that it can be made again.
//!
//! A snapshot holds one go of the engine: the searches that were decided together as they stood
//! before, every driver they saw, every time to a pickup, and what was decided. It is taken at the
//! [`View`], the only door through which the engine sees the city, so that nothing it looked at can
//! be missing. Only a go that asked somebody or gave a search up is kept.

mod codec;
mod replay;
pub(crate) mod store;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use base::{DriverId, Millis, Point, TripId};
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use crate::board::{Board, Hunt, Key};
use crate::engine::{Go, decide};
use crate::load::Step;
use crate::model::{Decision, OfferPlan, Said, Seen, View};
use crate::strategy::Strategy;

#[cfg(test)]
pub(crate) use codec::decode;
#[cfg(test)]
pub(crate) use replay::rounds_of;
pub use replay::{ReplayedRound, replay_trip};

/// One go of the engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub(crate) now: Millis,
    pub(crate) way: Strategy,
    /// What was done without, because the city was overloaded.
    pub(crate) step: Step,
    /// The searches, in the order in which they were taken up.
    pub(crate) hunts: Vec<Hunt>,
    /// Those of `drivers` who held an offer before.
    pub(crate) leased: Vec<DriverId>,
    /// Every sighting once, without its distance: that follows from the two places.
    pub(crate) drivers: Vec<Seen>,
    /// What the engine asked the view for, in order.
    pub(crate) glances: Vec<Glance>,
    /// Times to pickups, seconds, in the order in which they were asked for.
    pub(crate) etas: Vec<u32>,
    pub(crate) decided: Vec<Decided>,
}

/// One answer of the view.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Glance {
    pub(crate) radius_m: f64,
    /// None at all: it was asked for one driver by his id.
    pub(crate) limit: usize,
    /// Places in the snapshot's `drivers`, ascending.
    pub(crate) seen: Vec<u32>,
}

/// What became of one search.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Decided {
    pub(crate) trip: TripId,
    /// Who was asked, best first, with his score; nobody: the search was given up.
    pub(crate) asked: Vec<(DriverId, f32)>,
}

impl Decided {
    /// What of these decisions is worth a snapshot.
    fn all(decisions: &[Decision]) -> Vec<Self> {
        let of = |decision: &Decision| match decision {
            Decision::Offers { plans, .. } => {
                let asked = |plan: &OfferPlan| (plan.driver, plan.score);
                let trip = plans.first()?.trip;
                Some(Self { trip, asked: plans.iter().map(asked).collect() })
            }
            Decision::NoDrivers { trip, said: Said::First } => {
                Some(Self { trip: *trip, asked: Vec::new() })
            }
            Decision::NoDrivers { said: Said::Again, .. }
            | Decision::Considered(_)
            | Decision::Lapsed(_) => None,
        };
        decisions.iter().filter_map(of).collect()
    }
}

/// Decides a go as [`decide`] does; the snapshot goes to `kept` if it is worth keeping.
pub(crate) fn decide_and_keep(
    board: &mut Board,
    view: &dyn View,
    go: &Go,
    goes_on: &dyn Fn() -> bool,
    now: Millis,
    out: &mut Vec<Decision>,
    kept: &mut Vec<Snapshot>,
) -> usize {
    let before = |key: &Key| board.hunts.get(key).filter(|hunt| hunt.over.is_none());
    let hunts: Vec<Option<Hunt>> = go.keys.iter().map(|key| before(key).map(Hunt::bare)).collect();
    let witness = Witness { view, heard: Mutex::default() };
    let first = out.len();
    let looked = decide(board, &witness, go, goes_on, now, out);
    let decided = Decided::all(&out[first..]);
    if decided.is_empty() {
        return looked;
    }
    // Of the others nothing was seen and nothing decided: a replay never hears of them.
    let hunts = hunts.into_iter().take(looked).flatten().collect();
    let Heard { drivers, glances, etas, .. } = witness.heard.into_inner();
    // A driver who changed between two glances was seen twice.
    let mut known: HashSet<DriverId> =
        decided.iter().flat_map(|one| &one.asked).map(|(driver, _)| *driver).collect();
    let leased = |seen: &Seen| {
        (board.leases.holds(seen.driver) && known.insert(seen.driver)).then_some(seen.driver)
    };
    let leased = drivers.iter().filter_map(leased).collect();
    let Go { way, step, .. } = *go;
    kept.push(Snapshot { now, way, step, hunts, leased, drivers, glances, etas, decided });
    looked
}

/// Stands between the engine and the view and writes down what is answered.
struct Witness<'a> {
    view: &'a dyn View,
    heard: Mutex<Heard>,
}

#[derive(Default)]
struct Heard {
    drivers: Vec<Seen>,
    /// The newest sighting of each driver among them, by his place in a queue: searches in its
    /// airport and in the town around see him by turns.
    newest: HashMap<(DriverId, Option<u32>), u32, RandomState>,
    glances: Vec<Glance>,
    etas: Vec<u32>,
}

impl Heard {
    /// The place of this sighting. Who was seen otherwise before (he moves while a go runs) is a
    /// sighting more.
    fn place_of(&mut self, seen: &Seen) -> u32 {
        let seen = Seen { distance_m: 0.0, ..seen.clone() };
        let who = (seen.driver, seen.in_line);
        if let Some(&place) = self.newest.get(&who)
            && self.drivers[place as usize] == seen
        {
            return place;
        }
        let place = u32::try_from(self.drivers.len()).unwrap_or(u32::MAX);
        self.newest.insert(who, place);
        self.drivers.push(seen);
        place
    }
}

impl View for Witness<'_> {
    fn drivers(
        &self,
        at: Point,
        radius_m: f64,
        limit: usize,
        ahead: Duration,
        out: &mut Vec<Seen>,
    ) {
        let first = out.len();
        self.view.drivers(at, radius_m, limit, ahead, out);
        let mut heard = self.heard.lock();
        let mut seen: Vec<u32> = out[first..].iter().map(|seen| heard.place_of(seen)).collect();
        // The engine orders them itself.
        seen.sort_unstable();
        heard.glances.push(Glance { radius_m, limit, seen });
    }

    fn driver(&self, driver: DriverId, at: Point) -> Option<Seen> {
        let found = self.view.driver(driver, at);
        let mut heard = self.heard.lock();
        let seen = found.iter().map(|seen| heard.place_of(seen)).collect();
        heard.glances.push(Glance { radius_m: 0.0, limit: 0, seen });
        found
    }

    fn eta_s(&self, from: Point, to: Point, now: Millis) -> u32 {
        let eta_s = self.view.eta_s(from, to, now);
        self.heard.lock().etas.push(eta_s);
        eta_s
    }
}
