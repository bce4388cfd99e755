//! Questions to the live map: who is near, who could take a trip, how many are free where.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use base::{DriverId, Millis, Point, Tier, limits};
use geo::{Cell, Near, Query};

use crate::conduct::conduct;
use crate::fleet::{ANY_ONLINE, Fleet, Inner, free_bit};
use crate::model::{Candidate, DriverStatus, Finishing, NearbyDriver, NearbyQuery, State};
use crate::rules::{After, Phase};

/// Trips that ended within this count as recent.
const RECENT: Duration = Duration::from_secs(3600);

/// How an alias looks outside: 16 hex digits.
pub(crate) fn alias_text(alias: u64) -> String {
    format!("{alias:016x}")
}

impl Fleet {
    /// Available drivers with a position of the last 60 s, nearest first, freshest on ties.
    pub fn nearby(&self, query: &NearbyQuery, now: Millis) -> Vec<NearbyDriver> {
        let classes = match query.tier {
            Some(tier) => free_bit(tier),
            None => Tier::ALL.into_iter().map(free_bit).sum(),
        };
        let found = self.inner().ask(&Query {
            from: query.at,
            radius_m: query.radius_m,
            classes,
            heard_since: now - limits::FRESH_TTL,
            limit: query.limit,
        });
        found.iter().filter_map(|near| self.inner().sighting(near)).collect()
    }

    /// Every online driver in the circle, with what eligibility and score need: first those in the
    /// queue of the airport there, wherever they are, then the nearest, `limit` in all. Whether
    /// somebody may be asked is not decided here.
    pub fn candidates(&self, at: Point, radius_m: f64, limit: usize) -> Vec<Candidate> {
        let inner = self.inner();
        let heard_since = Millis(i64::MIN);
        let query = Query { from: at, radius_m, classes: ANY_ONLINE, heard_since, limit };
        let now = inner.clock.now();
        let found = inner.ask(&query);
        let line = inner.line_at(at);
        if line.is_empty() {
            return found.iter().filter_map(|near| inner.candidate(near, None, now)).collect();
        }
        let place = |(place, slot): (u32, u32)| {
            let near = inner.where_he_is(slot, at)?;
            inner.candidate(&near, Some(place), now)
        };
        let mut first: Vec<Candidate> = line.into_iter().filter_map(place).take(limit).collect();
        let met: HashSet<DriverId> = first.iter().map(|candidate| candidate.driver).collect();
        let others = found.iter().filter_map(|near| inner.candidate(near, None, now));
        let others = others.filter(|candidate| !met.contains(&candidate.driver));
        first.extend(others.take(limit - first.len()));
        first
    }

    /// This driver as seen from there, however far he is; none who is offline or was seen nowhere.
    pub fn candidate(&self, driver: DriverId, from: Point) -> Option<Candidate> {
        let inner = self.inner();
        let slot = inner.roster.find(driver)?.slot;
        let in_line = inner.line_at(from).into_iter().find(|(_, stands)| *stands == slot);
        let near = inner.where_he_is(slot, from)?;
        inner.candidate(&near, in_line.map(|(place, _)| place), inner.clock.now())
    }

    /// Those who drive a rider to a place in the circle and have nothing to do after that, nearest
    /// first, `limit` at most: seen from where they will be free.
    pub fn finishing(&self, at: Point, radius_m: f64, limit: usize) -> Vec<Finishing> {
        let inner = self.inner();
        let heard_since = Millis(i64::MIN);
        let query = Query { from: at, radius_m, classes: ANY_ONLINE, heard_since, limit };
        let (now, mut found) = (inner.clock.now(), Vec::new());
        inner.drop_offs.nearest(&query, &mut found);
        let of = |near: &Near| {
            let from = inner.ending_from(near.slot)?;
            Some(Finishing { candidate: inner.candidate(near, None, now)?, from })
        };
        found.iter().filter_map(of).collect()
    }

    /// Where the nearest free car is that may take a trip of this tier, within the widest ring of
    /// the city.
    pub fn nearest_free(&self, at: Point, tier: Tier, now: Millis) -> Option<Point> {
        let serving = Tier::ALL.into_iter().filter(|car| car.serves(tier));
        let ring_m = self.city_of(at).map_or(5000, |city| city.search_radius_m);
        let found = self.inner().ask(&Query {
            from: at,
            radius_m: f64::from(ring_m) * 2.0,
            classes: serving.map(free_bit).sum(),
            heard_since: now - limits::FRESH_TTL,
            limit: 1,
        });
        found.first().map(|near| near.at)
    }

    /// Free drivers by surge zone.
    pub fn free_per_surge_cell(&self, now: Millis) -> HashMap<Cell, u32> {
        let mut free = HashMap::new();
        for entry in self.inner().roster.all() {
            let core = entry.core.lock();
            let fresh = core.live.filter(|live| live.heard >= now - limits::FRESH_TTL);
            if let (State::Available, Some(live)) = (core.phase.state(), fresh) {
                *free.entry(geo::surge_cell(live.at)).or_insert(0) += 1;
            }
        }
        free
    }
}

impl Inner {
    fn ask(&self, query: &Query) -> Vec<Near> {
        let mut found = Vec::new();
        self.index.nearest(query, &mut found);
        found
    }

    /// `None` for who was taken between the question and this look.
    fn sighting(&self, near: &Near) -> Option<NearbyDriver> {
        let entry = self.roster.at_slot(near.slot)?;
        let core = entry.core.lock();
        (core.phase.state() == State::Available).then(|| NearbyDriver {
            alias: alias_text(core.alias),
            at: near.at,
            distance_m: Some(near.distance_m),
            tier: core.tier(),
            rating: core.facts.as_ref().map_or(5.0, |facts| facts.rating),
            heading: core.live.and_then(|live| live.heading),
            last_update: near.heard,
        })
    }

    /// As the index would show him; `None` for who was seen nowhere.
    fn where_he_is(&self, slot: u32, from: Point) -> Option<Near> {
        let entry = self.roster.at_slot(slot)?;
        let core = entry.core.lock();
        let live = core.live?;
        let (at, heard) = (geo::snap(live.at), live.heard);
        Some(Near { slot, at, distance_m: geo::distance_m(from, at), heard, class: 0 })
    }

    /// Where he is who drives his rider to the drop-off and has nothing to do after that.
    fn ending_from(&self, slot: u32) -> Option<Point> {
        let entry = self.roster.at_slot(slot)?;
        let core = entry.core.lock();
        let ending = matches!(core.phase, Phase::Busy { after: After::Nothing, .. });
        core.live.filter(|_| ending && core.drop_off.is_some()).map(|live| live.at)
    }

    fn candidate(&self, near: &Near, in_line: Option<u32>, now: Millis) -> Option<Candidate> {
        let entry = self.roster.at_slot(near.slot)?;
        let core = entry.core.lock();
        let state = core.phase.state();
        let facts = core.facts.as_ref().filter(|_| state != State::Offline)?;
        Some(Candidate {
            driver: entry.driver,
            at: near.at,
            distance_m: near.distance_m,
            state,
            tier: facts.tier,
            rating: facts.rating,
            acceptance: facts.record.acceptance(),
            completion: facts.record.completion(),
            waiting_since: core.waiting_since,
            recent_trips: core.recent.since(now - RECENT),
            heard: core.live.map_or(near.heard, |live| live.heard),
            documents_until: facts.papers.until,
            fraud: facts.fraud,
            conduct: conduct(&facts.conduct, now),
            in_debt: facts.balance < -facts.debt_limit,
            approved: facts.status == DriverStatus::Approved,
            in_line,
        })
    }
}
