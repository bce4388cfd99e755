//! The real city as the engine's view: drivers from the fleet, times from routing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use base::{DriverId, Millis, Point};
use fleet::{Candidate, Finishing, Fleet, State};
use parking_lot::Mutex;
use routing::Router;

use crate::eligibility::Standing;
use crate::model::{Seen, View};

/// Faster than anybody comes to his drop-off, metres of air per second: who is farther than that
/// from it needs no way looked up.
const FASTEST_MPS: f64 = 15.0;
/// A way that was looked up is good for so long: time that passes is taken off it.
const GOOD_FOR: Duration = Duration::from_secs(10);
/// One of so many drivers whom a look takes in may be near the end of a trip: the others' places
/// are for those who are free.
const FINISHING: usize = 4;
/// Ways to drop-offs that are kept until all are forgotten.
const WAYS: usize = 16_384;

/// Reads memory only: neither the fleet's candidates nor a router's estimate waits for anything.
pub(crate) struct LiveView {
    fleet: Fleet,
    router: Router,
    /// What is left of drivers' trips: the searches of a tick ask for the same ones, and a way
    /// through roads is dear.
    ways: Mutex<HashMap<DriverId, Way>>,
}

/// From a driver's place to his drop-off.
struct Way {
    as_of: Millis,
    drop_off: Point,
    left_s: u32,
}

impl LiveView {
    pub(crate) fn new(fleet: Fleet, router: Router) -> Self {
        Self { fleet, router, ways: Mutex::default() }
    }

    /// Until he is at his drop-off, seconds; none when that is more than `ahead`.
    fn left_s(&self, finishing: &Finishing, ahead: Duration) -> Option<u32> {
        let Candidate { driver, at: drop_off, heard, .. } = finishing.candidate;
        if geo::distance_m(finishing.from, drop_off) > ahead.as_secs_f64() * FASTEST_MPS {
            return None;
        }
        let left_s = match self.known(driver, drop_off, heard) {
            Some(left_s) => left_s,
            None => {
                let left_s = self.router.eta_s(finishing.from, drop_off, heard);
                let mut ways = self.ways.lock();
                if ways.len() >= WAYS {
                    ways.clear();
                }
                ways.insert(driver, Way { as_of: heard, drop_off, left_s });
                left_s
            }
        };
        (u64::from(left_s) <= ahead.as_secs()).then_some(left_s)
    }

    /// What is left at `heard` of the way that was looked up a moment before.
    fn known(&self, driver: DriverId, drop_off: Point, heard: Millis) -> Option<u32> {
        let ways = self.ways.lock();
        let way = ways.get(&driver).filter(|way| way.drop_off == drop_off)?;
        let since = heard.since(way.as_of);
        let is_good = (0..=GOOD_FOR.as_millis() as i64).contains(&since);
        is_good.then(|| way.left_s.saturating_sub((since / 1_000) as u32))
    }
}

impl View for LiveView {
    fn drivers(
        &self,
        at: Point,
        radius_m: f64,
        limit: usize,
        ahead: Duration,
        out: &mut Vec<Seen>,
    ) {
        let mut ending = HashSet::new();
        if !ahead.is_zero() {
            for finishing in self.fleet.finishing(at, radius_m, limit / FINISHING) {
                let Some(left_s) = self.left_s(&finishing, ahead) else { continue };
                ending.insert(finishing.candidate.driver);
                out.push(seen(finishing.candidate, Standing::Finishing { left_s }));
            }
        }
        let others = self.fleet.candidates(at, radius_m, limit).into_iter();
        // Whom this shows at his drop-off is not at his place, too.
        let others = others.filter(|candidate| !ending.contains(&candidate.driver));
        out.extend(others.take(limit - ending.len()).map(|candidate| {
            let standing = standing(candidate.state);
            seen(candidate, standing)
        }));
    }

    fn driver(&self, driver: DriverId, at: Point) -> Option<Seen> {
        let candidate = self.fleet.candidate(driver, at)?;
        let standing = standing(candidate.state);
        Some(seen(candidate, standing))
    }

    fn eta_s(&self, from: Point, to: Point, now: Millis) -> u32 {
        self.router.eta_s(from, to, now)
    }
}

fn seen(candidate: Candidate, standing: Standing) -> Seen {
    Seen {
        driver: candidate.driver,
        at: candidate.at,
        distance_m: candidate.distance_m,
        standing,
        tier: candidate.tier,
        rating: candidate.rating,
        acceptance: candidate.acceptance,
        completion: candidate.completion,
        waiting_since: candidate.waiting_since,
        recent_trips: candidate.recent_trips,
        heard: candidate.heard,
        documents_until: candidate.documents_until,
        approved: candidate.approved,
        fraud: candidate.fraud,
        conduct: candidate.conduct,
        in_debt: candidate.in_debt,
        in_line: candidate.in_line,
    }
}

const fn standing(state: State) -> Standing {
    match state {
        State::Offline => Standing::Offline,
        State::Available => Standing::Available,
        State::Offered => Standing::Offered,
        State::Busy => Standing::Busy,
        State::Cooldown => Standing::Cooldown,
    }
}
