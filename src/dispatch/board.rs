//! The running searches and the open offers: all that the engine remembers between two ticks.
//!
//! Decides nothing about who is asked; keeps the books so that the engine can't go wrong: a driver
//! has one entry in [`Leases`] or none, and an entry always has a deadline.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use base::{CityId, DriverId, Millis, Piasters, RiderId, TripId};
use foldhash::fast::RandomState;
use serde::{Deserialize, Serialize};

use crate::eligibility::Hold;
use crate::load::{Relief, Step};
use crate::model::{OfferPlan, Outcome, Part, Search, Seen, Verdict};
use crate::score::{Fairness, Weights};
use crate::strategy::{Preset, Presets, Strategy, Swap};
use crate::turns::Turns;
use crate::wire::MatchingStatus;

/// By driver. Their ids are made here, so that nobody can choose ones that collide.
pub(crate) type ByDriver<V> = HashMap<DriverId, V, RandomState>;
pub(crate) type Drivers = HashSet<DriverId, RandomState>;

/// How the engine decides. Fixed for the life of a board.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Rules {
    pub weights: Weights,
    pub fairness: Fairness,
    pub presets: Presets,
    /// Nearest drivers of a ring that one look takes in, eligible or not. Four times as many when
    /// none of them is eligible.
    pub considered: usize,
    /// Nearest eligible drivers who are scored.
    pub scored: usize,
    /// Nearest drivers of a look who are left out and appear in the trace.
    pub traced_barred: usize,
    /// Nearest eligible drivers beyond `scored` who appear in the trace.
    pub traced_unscored: usize,
    /// Searches that one tick looks at; the next tick goes on with the others.
    pub slice: usize,
    /// How long after its deadline an offer may still be answered before the board lets it lapse:
    /// the trip's own timer ends it first, unless something is broken.
    pub grace: Duration,
    /// How long a search leaves a driver alone who was lost to it.
    pub rest: Duration,
    /// Time between two reminders that a search found nobody.
    pub remind: Duration,
    /// Seconds to a pickup for each metre of air; none: as the view knows the way.
    pub air_s_per_m: Option<f64>,
    /// What a tick may cost, and what is done without when it costs more.
    pub relief: Relief,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            weights: Weights::default(),
            fairness: Fairness::default(),
            presets: Presets::default(),
            considered: 256,
            scored: 64,
            traced_barred: 32,
            traced_unscored: 0,
            slice: 32,
            grace: Duration::from_secs(10),
            rest: Duration::from_secs(5),
            remind: Duration::from_secs(5),
            air_s_per_m: None,
            relief: Relief::default(),
        }
    }
}

/// An offer that is over.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    pub plan: OfferPlan,
    pub outcome: Outcome,
    pub at: Millis,
}

/// A search that came to its end by an accepted offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Found {
    /// From the start of the search to the answer, what its rider stood in line included.
    pub searched: Duration,
    /// Rounds it took.
    pub rounds: u16,
}

/// Who asked first comes first; the trip's id breaks ties.
pub(crate) type Key = (Millis, TripId);

pub(crate) const fn key_of(search: &Search) -> Key {
    (search.asked_at, search.trip)
}

/// Open offers, one per driver at most.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leases {
    by_driver: ByDriver<OfferPlan>,
    by_deadline: BTreeSet<(Millis, DriverId)>,
}

impl Leases {
    pub(crate) fn holds(&self, driver: DriverId) -> bool {
        self.by_driver.contains_key(&driver)
    }

    /// The caller has checked that the driver holds none.
    pub(crate) fn grant(&mut self, plan: OfferPlan) {
        self.by_deadline.insert((plan.until, plan.driver));
        let before = self.by_driver.insert(plan.driver, plan);
        debug_assert!(before.is_none(), "a driver holds one offer at most");
    }

    /// Ends the driver's offer if it is of this trip.
    fn take(&mut self, driver: DriverId, trip: TripId) -> Option<OfferPlan> {
        if self.by_driver.get(&driver)?.trip != trip {
            return None;
        }
        let plan = self.by_driver.remove(&driver)?;
        self.by_deadline.remove(&(plan.until, driver));
        Some(plan)
    }

    /// Notes what the driver bids for this trip; his offer with it.
    fn bid(&mut self, driver: DriverId, trip: TripId, price: Piasters) -> Option<&OfferPlan> {
        let plan = self.by_driver.get_mut(&driver).filter(|plan| plan.trip == trip)?;
        plan.bid = Some(price);
        Some(plan)
    }

    /// The offer whose deadline comes first, if that is at `limit` or before.
    fn due(&self, limit: Millis) -> Option<(DriverId, TripId)> {
        let (until, driver) = *self.by_deadline.first()?;
        let plan = self.by_driver.get(&driver)?;
        (until <= limit).then_some((driver, plan.trip))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_driver.len()
    }
}

/// What a search remembers of a driver whom it asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Memory {
    /// Asked now, or refused: not again.
    Asked,
    /// Was lost; may be asked again from then on.
    RestsUntil(Millis),
}

/// How each city's searches are carried out.
#[derive(Debug, Default)]
pub(crate) struct Ways(BTreeMap<CityId, Strategy>);

impl Ways {
    pub(crate) fn of(&self, search: &Search) -> Strategy {
        let citys = || self.0.get(&search.city).copied().unwrap_or(Strategy::USUAL);
        search.strategy.unwrap_or_else(citys)
    }
}

/// Faster than anybody comes nearer to a pickup, metres of air per second.
const FASTEST_MPS: f64 = 15.0;

/// What a search is about; who has nobody comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Want {
    Driver,
    Nearer,
    Nothing,
}

/// One search under way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Hunt {
    pub(crate) search: Search,
    /// How it was carried out last.
    pub(crate) way: Option<Strategy>,
    /// When the search began, not when the trip was asked for.
    pub(crate) began: Millis,
    /// From when its rings and its end are counted: where its rider stood in line, his first look.
    pub(crate) since: Millis,
    pub(crate) ring: usize,
    /// Rounds of this ring in which somebody said no.
    pub(crate) ring_rounds: u16,
    /// Has somebody said no in the round under way?
    pub(crate) refused: bool,
    /// Rounds made so far.
    pub(crate) round: u16,
    /// Drivers who are asked now.
    pub(crate) open: Vec<DriverId>,
    pub(crate) memory: ByDriver<Memory>,
    /// The last line of each driver in the trace.
    traced: ByDriver<(u16, Verdict)>,
    /// When it was last said that nobody was found.
    pub(crate) over: Option<Millis>,
    /// Somebody said yes and is on his way; the search only looks for one who is nearer.
    pub(crate) promised: Option<Promised>,
    /// When it was looked at last.
    pub(crate) looked: Option<Millis>,
    /// The same, if that look found nobody to ask.
    pub(crate) rests_from: Option<Millis>,
    /// The number of that look; of the newest of all before its first one.
    pub(crate) turn: u64,
    /// The place in line that its rider was told last, and when.
    pub(crate) told: Option<(u32, Millis)>,
}

/// The driver whom a rider waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Promised {
    pub(crate) driver: DriverId,
    /// When he will be at the pickup.
    pub(crate) due: Millis,
}

impl Hunt {
    pub(crate) fn new(search: Search, now: Millis) -> Self {
        Self {
            search,
            way: None,
            began: now,
            since: now,
            ring: 0,
            ring_rounds: 0,
            refused: false,
            round: 0,
            open: Vec::new(),
            memory: ByDriver::default(),
            traced: ByDriver::default(),
            over: None,
            promised: None,
            looked: None,
            rests_from: None,
            turn: 0,
            told: None,
        }
    }

    /// The same without what the trace and the rider were told and when it is its turn, on which no
    /// decision depends.
    pub(crate) fn bare(&self) -> Self {
        Self {
            search: self.search.clone(),
            open: self.open.clone(),
            memory: self.memory.clone(),
            traced: ByDriver::default(),
            began: self.since,
            looked: None,
            rests_from: None,
            turn: 0,
            told: None,
            ..*self
        }
    }

    /// The strategy that carries it on. What another one tried in this ring doesn't count.
    pub(crate) fn take_way(&mut self, way: Strategy) {
        if self.way.replace(way) != Some(way) {
            self.ring_rounds = 0;
        }
    }

    /// How far it looks, metres of air: for a nearer driver, as far as one may come from in time.
    pub(crate) fn radius_m(&self, preset: &Preset, swap: Option<Swap>, now: Millis) -> f64 {
        let ring_m = preset.radius_m(self.ring, self.search.ring_m);
        match self.promised.zip(swap) {
            None => ring_m,
            Some((promised, swap)) => {
                ring_m.min(swap.within_s(promised, now).max(0.0) * FASTEST_MPS)
            }
        }
    }

    /// How far ahead it plans with drivers who are busy: who takes over from another is free now.
    pub(crate) fn chain(&self, preset: &Preset) -> Duration {
        if self.promised.is_some() { Duration::ZERO } else { preset.chain }
    }

    /// Is there somebody to look for: a driver, or one who is nearer than the one on his way?
    pub(crate) fn wants(&self, swap: Option<Swap>, now: Millis) -> Want {
        match (self.promised, swap) {
            (None, _) => Want::Driver,
            (Some(promised), Some(swap)) if swap.within_s(promised, now) > 0.0 => Want::Nearer,
            (Some(_), _) => Want::Nothing,
        }
    }

    /// Nobody stands by a trip that is under way, also not where there was no time to look for him;
    /// nor is anybody near enough to take over from a driver who is nearly there.
    fn is_late(&self, swap: Option<Swap>, now: Millis) -> bool {
        let stands_by = self.search.role == Part::StandBy;
        let is_under_way = self.search.until.is_some_and(|until| now >= until);
        let takes_over = self.promised.is_some() && self.open.is_empty();
        stands_by && is_under_way || takes_over && self.wants(swap, now) == Want::Nothing
    }

    /// Does its rider have nobody, and is nobody asked?
    pub(crate) fn waits(&self) -> bool {
        let is_driver = self.search.role == Part::Drive;
        is_driver && self.open.is_empty() && self.over.is_none() && self.promised.is_none()
    }

    /// What the search itself has to do with the driver.
    pub(crate) fn hold(&self, driver: DriverId, now: Millis) -> Hold {
        match self.memory.get(&driver) {
            Some(Memory::Asked) => Hold::Asked,
            Some(Memory::RestsUntil(at)) if now < *at => Hold::Asked,
            Some(Memory::RestsUntil(_)) | None => Hold::None,
        }
    }

    /// Moves on to the ring that is due, by time or because this one has said no often enough.
    pub(crate) fn widen(&mut self, preset: &Preset, now: Millis) {
        let worn_out = self.ring_rounds >= preset.rounds_per_ring;
        let by_refusals = if worn_out { self.ring + 1 } else { self.ring };
        let by_time = preset.ring_at(now.after(self.since));
        let ring = by_refusals.max(by_time).min(preset.last_ring());
        if ring > self.ring {
            self.ring = ring;
            self.ring_rounds = 0;
        }
    }

    /// May the search give up when it finds nobody now: long enough, and wide enough?
    pub(crate) fn has_searched_enough(&self, preset: &Preset, now: Millis) -> bool {
        self.ring >= preset.last_ring()
            && now.after(self.since) >= preset.at_least
            && self.search.until.is_none_or(|until| now >= until)
    }

    /// Has the last ring, too, said no often enough?
    pub(crate) const fn is_worn_out(&self, preset: &Preset) -> bool {
        self.ring_rounds >= preset.rounds_per_ring
    }

    pub(crate) fn ask(&mut self, driver: DriverId) {
        self.open.push(driver);
        self.memory.insert(driver, Memory::Asked);
    }

    /// Is this verdict news since the last trace line about the driver? Remembers it.
    pub(crate) fn is_news(&mut self, driver: DriverId, round: u16, verdict: Verdict) -> bool {
        let passed_over = |verdict| match verdict {
            Verdict::Ranked | Verdict::TooFar | Verdict::NotScored | Verdict::BehindQueue => true,
            Verdict::Offered | Verdict::Barred(_) => false,
        };
        if let Some((of, last)) = self.traced.get(&driver)
            && *of == round
            && passed_over(*last)
            && passed_over(verdict)
        {
            // The reach breathes with supply: not every breath is news.
            return false;
        }
        self.traced.insert(driver, (round, verdict)) != Some((round, verdict))
    }

    /// How long it took until the first driver said yes.
    fn found(&self, now: Millis) -> Option<Found> {
        let found = Found { searched: now.after(self.began), rounds: self.round };
        self.promised.is_none().then_some(found)
    }

    fn promise(&mut self, plan: &OfferPlan) {
        let due = plan.made + Duration::from_secs(u64::from(plan.eta_s));
        self.promised = Some(Promised { driver: plan.driver, due });
    }

    fn offer_ended(&mut self, driver: DriverId, outcome: Outcome, now: Millis, rest: Duration) {
        let Some(place) = self.open.iter().position(|open| *open == driver) else { return };
        self.open.swap_remove(place);
        match outcome {
            Outcome::Declined | Outcome::Expired => self.refused = true,
            // He was willing, and in a thin place there may be nobody else: the next round may ask
            // him again. A ring still ends after its rounds.
            Outcome::Unchosen => {
                self.refused = true;
                self.memory.insert(driver, Memory::RestsUntil(now + rest));
            }
            // Nobody said no: he may be asked again after a pause that keeps a broken fleet or a
            // database that is away from turning the search into a busy loop.
            Outcome::Lost | Outcome::Revoked => {
                self.memory.insert(driver, Memory::RestsUntil(now + rest));
            }
            // The whole search is over; the board has taken it away.
            Outcome::Accepted | Outcome::StandsBy => {}
        }
        if self.open.is_empty() && self.refused {
            self.refused = false;
            self.ring_rounds = self.ring_rounds.saturating_add(1);
        }
    }
}

/// The searches and offers of one node.
#[derive(Debug)]
pub struct Board {
    pub(crate) rules: Rules,
    /// What an overloaded city's searches are decided by.
    pub(crate) simple: Rules,
    pub(crate) hunts: BTreeMap<Key, Hunt>,
    keys: HashMap<TripId, Key>,
    pub(crate) ways: Ways,
    pub(crate) leases: Leases,
    pub(crate) turns: Turns,
    /// Kept between looks for its memory only.
    pub(crate) seen: Vec<Seen>,
}

impl Board {
    pub fn new(rules: Rules) -> Self {
        Self {
            simple: rules.simple(),
            rules,
            hunts: BTreeMap::new(),
            keys: HashMap::new(),
            ways: Ways::default(),
            leases: Leases::default(),
            turns: Turns::default(),
            seen: Vec::new(),
        }
    }

    /// From the next tick on the city's searches are carried out so. Offers that are open end as
    /// they would have: until then their searches wait.
    pub fn choose(&mut self, city: CityId, way: Strategy) {
        self.ways.0.insert(city, way);
    }

    /// Starts a search. A second call for a running one only updates it, so that a repeated request
    /// asks nobody twice; for one that has found nobody it starts anew. One for a driver takes the
    /// place of one for somebody who stands by, and never the other way round.
    pub fn search(&mut self, search: Search, now: Millis) {
        let running = self.keys.get(&search.trip).and_then(|old| self.hunts.remove(old));
        let mut hunt = match running {
            Some(hunt) if hunt.search.role != search.role && search.role == Part::StandBy => hunt,
            Some(hunt) if hunt.search.role != search.role => Hunt::new(search, now),
            // Its driver is gone: what was asked for one who is nearer than him counts for nothing.
            Some(hunt) if hunt.promised.is_some() => Hunt::new(search, now),
            Some(hunt) if hunt.over.is_none() => Hunt { search, ..hunt },
            Some(_) | None => Hunt::new(search, now),
        };
        let way = self.ways.of(&hunt.search);
        self.turns.line_up(&mut hunt, way);
        self.put_back(hunt);
    }

    /// A search as it stood once.
    pub(crate) fn put_back(&mut self, hunt: Hunt) {
        let key = key_of(&hunt.search);
        self.keys.insert(hunt.search.trip, key);
        self.hunts.insert(key, hunt);
    }

    /// The city of the search for this trip.
    pub(crate) fn city_of(&self, trip: TripId) -> Option<CityId> {
        let hunt = self.hunts.get(self.keys.get(&trip)?)?;
        Some(hunt.search.city)
    }

    pub(crate) fn rider_of(&self, trip: TripId) -> Option<RiderId> {
        Some(self.hunts.get(self.keys.get(&trip)?)?.search.rider)
    }

    /// Ends a search, if there is one. Its open offers stay with their drivers until they end.
    pub fn stop(&mut self, trip: TripId) {
        if let Some(key) = self.keys.remove(&trip) {
            self.hunts.remove(&key);
        }
    }

    /// Ends a search for somebody who stands by; one for a driver goes on.
    pub fn stop_standby(&mut self, trip: TripId) {
        let hunt = self.keys.get(&trip).and_then(|key| self.hunts.get(key));
        if hunt.is_some_and(|hunt| hunt.search.role == Part::StandBy) {
            self.stop(trip);
        }
    }

    /// The trip has this driver: its search is over, unless it goes on for one who is nearer than
    /// him.
    pub fn matched(&mut self, trip: TripId, driver: DriverId) {
        let hunt = self.keys.get(&trip).and_then(|key| self.hunts.get(key));
        if hunt.is_some_and(|hunt| hunt.promised.is_none_or(|found| found.driver != driver)) {
            self.stop(trip);
        }
    }

    /// Ends searches that nothing can come of any more.
    pub(crate) fn end_late(&mut self, now: Millis) {
        let swap = self.rules.presets.batched.swap;
        let late = self.hunts.values().filter(|hunt| hunt.is_late(swap, now));
        let late: Vec<TripId> = late.map(|hunt| hunt.search.trip).collect();
        late.into_iter().for_each(|trip| self.stop(trip));
    }

    /// Takes an offer off the board. An accepted one ends the search, also when the offer itself
    /// had lapsed here: what is committed counts. So does a yes of one who stands by. Where drivers
    /// are swapped before the pickup the search goes on for a nearer one, until that one accepts,
    /// too, or [`Board::stop`].
    pub fn offer_ended(
        &mut self,
        trip: TripId,
        driver: DriverId,
        outcome: Outcome,
        now: Millis,
    ) -> (Option<Ended>, Option<Found>) {
        let rest = self.rules.rest;
        let plan = self.leases.take(driver, trip);
        let mut found = None;
        if let Some(hunt) = self.keys.get(&trip).and_then(|key| self.hunts.get_mut(key)) {
            hunt.offer_ended(driver, outcome, now, rest);
            if outcome == Outcome::Accepted {
                found = hunt.found(now);
                let swaps = self.rules.presets.swaps(self.ways.of(&hunt.search));
                match &plan {
                    Some(plan) if swaps && hunt.promised.is_none() => hunt.promise(plan),
                    _ => self.stop(trip),
                }
            } else if outcome == Outcome::StandsBy {
                self.stop_standby(trip);
            }
        }
        let ended = plan.map(|plan| Ended { plan, outcome, at: now });
        (ended, found)
    }

    /// The driver bids this price for the trip; none when he holds no offer of it.
    pub fn bid(&mut self, trip: TripId, driver: DriverId, price: Piasters) -> Option<&OfferPlan> {
        self.leases.bid(driver, trip, price)
    }

    /// Ends every offer whose deadline passed more than the grace ago.
    pub(crate) fn lapse(&mut self, now: Millis) -> Vec<Ended> {
        let limit = now - self.rules.grace;
        let mut lapsed = Vec::new();
        while let Some((driver, trip)) = self.leases.due(limit) {
            lapsed.extend(self.offer_ended(trip, driver, Outcome::Expired, now).0);
        }
        lapsed
    }

    /// Where the search for this trip stands; none when there is no such search.
    pub fn status(&self, trip: TripId) -> Option<MatchingStatus> {
        let key = self.keys.get(&trip)?;
        let hunt = self.hunts.get(key)?;
        if hunt.over.is_some() {
            return Some(MatchingStatus::no_drivers());
        }
        // Somebody is looked for who stands by: the rider has his driver.
        if hunt.promised.is_some() || hunt.search.role == Part::StandBy {
            return Some(MatchingStatus::matched());
        }
        if !hunt.open.is_empty() {
            return Some(MatchingStatus::offers_pending());
        }
        let city = hunt.search.city;
        if self.turns.step(city) == Step::Queued {
            return Some(MatchingStatus::searching(self.turns.place(hunt)));
        }
        let waits_before = |other: &Hunt| other.search.city == city && other.waits();
        let before = self.hunts.range(..*key).filter(|(_, other)| waits_before(other)).count();
        Some(MatchingStatus::searching(Some(u32::try_from(before).unwrap_or(u32::MAX) + 1)))
    }

    /// Searches on the board whose riders have no driver.
    pub fn searches(&self) -> usize {
        let wants = |hunt: &&Hunt| hunt.promised.is_none() && hunt.search.role == Part::Drive;
        self.hunts.values().filter(wants).count()
    }

    /// Offers that are open.
    pub fn open_offers(&self) -> usize {
        self.leases.len()
    }
}
