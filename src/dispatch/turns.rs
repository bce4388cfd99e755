//! Whose turn it is to be looked at: the searches of each city in a line, first come first served,
//! and how much of its budget a city's tick has left.
//!
//! A sweep gives each city its tick. Whoever wants a look joins the line of his city at its begin,
//! in the order of asking; the tick takes them from the front until the budget is used up, and who
//! is left comes first in the next. While a city keeps up, its line is empty after each tick.
//!
//! Guarantees:
//! - a city's tick takes no longer than its budget and one look (test:
//!   `a_tick_keeps_its_budget_and_everybody_has_his_turn`);
//! - nobody is looked at twice while another waits for his turn (same test);
//! - a place in the line never grows (test: `a_place_only_gets_better_and_his_turn_clears_it`).

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use base::{CityId, Millis, TripId};

use crate::board::{Board, Hunt, Key, Rules, Want, Ways, key_of};
use crate::engine::Go;
use crate::load::{Change, Load, Relief, Step, Tick, is_news};
use crate::model::QueueNews;
use crate::strategy::Strategy;
use crate::wire::{LoadView, MatchingStatus};

/// Whose turn it is.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    cities: BTreeMap<CityId, City>,
    /// The cities whose tick is under way (the first) or still to come in this sweep.
    sweep: VecDeque<CityId>,
    /// Looks so far.
    looks: u64,
    news: News,
}

/// What happened beside the decisions.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) changes: Vec<(CityId, Change)>,
    /// Riders whose place in line is another one, or whose turn it is.
    pub(crate) places: Vec<QueueNews>,
    /// How long each of those who had a place waited for their turn.
    pub(crate) waits: Vec<Duration>,
    /// Who had a place and has none any more.
    cleared: Vec<TripId>,
}

/// One or more searches that are to be looked at now.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) go: Go,
    /// How long looks may take now.
    pub(crate) purse: Duration,
    city: CityId,
    /// Of those who stood in line: since when.
    stood: Vec<(Key, Millis)>,
}

#[derive(Debug)]
struct City {
    load: Load,
    /// Of BATCHED: what a window brought together, and was not decided yet.
    batch: Line,
    singles: Line,
    batch_is_due: bool,
    /// When the newest window was over.
    window: Option<Millis>,
    /// When the newest tick began.
    ticked: Option<Millis>,
    /// The tick under way.
    tick: Tick,
}

#[derive(Debug, Default)]
struct Line {
    order: VecDeque<Key>,
    members: HashSet<Key>,
}

impl Line {
    fn join(&mut self, key: Key) {
        if self.members.insert(key) {
            self.order.push_back(key);
        }
    }

    fn next(&mut self) -> Option<Key> {
        let key = self.order.pop_front()?;
        self.members.remove(&key);
        Some(key)
    }

    /// Those whose turn did not come after all, in their order.
    fn put_back(&mut self, keys: &[Key]) {
        for key in keys.iter().rev() {
            if self.members.insert(*key) {
                self.order.push_front(*key);
            }
        }
    }

    fn keep(&mut self, wants: impl Fn(&Key) -> bool) {
        let Self { order, members } = self;
        order.retain(|key| wants(key) || !members.remove(key));
    }

    /// 1 is next.
    fn place(&self, key: Key) -> Option<u32> {
        let before = self.order.iter().position(|other| *other == key)?;
        u32::try_from(before + 1).ok()
    }
}

/// Who joins a city's lines: since which look they wait, and who, in the order of asking.
#[derive(Default)]
struct Comers {
    together: Vec<(Want, u64, Key)>,
    alone: Vec<(u64, Key)>,
}

/// What a search waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Batch(Want),
    Look,
}

/// Not what it asks drivers for an answer already.
fn wish(hunt: &Hunt, ways: &Ways, rules: &Rules, now: Millis) -> Option<Wish> {
    if !hunt.open.is_empty() {
        return None;
    }
    if ways.of(&hunt.search) == Strategy::Batched {
        let want = hunt.wants(rules.presets.batched.swap, now);
        return (want != Want::Nothing).then_some(Wish::Batch(want));
    }
    hunt.promised.is_none().then_some(Wish::Look)
}

/// Is this span over? So it is when the clock was set back.
fn is_over(from: Option<Millis>, span: Duration, now: Millis) -> bool {
    from.is_none_or(|from| now < from || now.after(from) >= span)
}

impl City {
    fn new(relief: &Relief, now: Millis) -> Self {
        Self {
            load: Load::new(relief, now),
            batch: Line::default(),
            singles: Line::default(),
            batch_is_due: false,
            window: None,
            ticked: None,
            tick: Tick::default(),
        }
    }

    fn has_a_tick(&self, relief: &Relief, now: Millis) -> bool {
        self.load.step == Step::Normal || is_over(self.ticked, relief.pause, now)
    }

    /// Was it looked at a moment ago, and found nobody?
    fn rests(&self, hunt: &Hunt, relief: &Relief, now: Millis) -> bool {
        self.load.step != Step::Normal
            && hunt.looked.is_some()
            && !is_over(hunt.looked, relief.rest, now)
    }

    fn window(&self, rules: &Rules) -> Duration {
        let window = rules.presets.batched.window;
        if self.load.step == Step::Normal { window } else { window * rules.relief.windows }
    }

    /// Those who wait for a look join; who wants to be decided together with others, if it is time.
    fn begin(&mut self, comers: Comers, rules: &Rules, now: Millis) {
        self.ticked = Some(now);
        let Comers { mut together, mut alone } = comers;
        if self.load.step != Step::Normal {
            alone.sort_unstable();
        }
        alone.iter().for_each(|(_, key)| self.singles.join(*key));
        // What the budget cut off from the last window goes on now.
        let goes_on = !self.batch.order.is_empty();
        if (goes_on || !together.is_empty()) && is_over(self.window, self.window(rules), now) {
            self.window = Some(now);
            together.sort_unstable();
            together.iter().for_each(|(_, _, key)| self.batch.join(*key));
        }
        self.batch_is_due = !self.batch.order.is_empty();
    }

    fn lines(&self) -> [&Line; 2] {
        [&self.batch, &self.singles]
    }
}

impl Turns {
    pub(crate) fn step(&self, city: CityId) -> Step {
        self.cities.get(&city).map_or(Step::Normal, |city| city.load.step)
    }

    /// Where riders stand in line, a new one does at once.
    pub(crate) fn line_up(&mut self, hunt: &mut Hunt, way: Strategy) {
        if hunt.looked.is_some() {
            return;
        }
        hunt.turn = self.looks;
        let city = self.cities.get_mut(&hunt.search.city);
        if let Some(city) = city.filter(|city| city.load.step == Step::Queued) {
            let line = if way == Strategy::Batched { &mut city.batch } else { &mut city.singles };
            line.join(key_of(&hunt.search));
        }
    }

    /// The place in line of a search that nobody has looked at.
    pub(crate) fn place(&self, hunt: &Hunt) -> Option<u32> {
        if hunt.looked.is_some() {
            return None;
        }
        let lines = self.cities.get(&hunt.search.city)?.lines();
        lines.iter().find_map(|line| line.place(key_of(&hunt.search)))
    }

    /// Every city's step, and how many its last tick left over.
    pub(crate) fn loads(&self) -> impl Iterator<Item = (CityId, Step, usize)> {
        self.cities.iter().map(|(id, city)| (*id, city.load.step, city.load.last.left))
    }
}

impl Board {
    /// Begins a sweep: whoever wants a look joins his city's line.
    pub(crate) fn begin_sweep(&mut self, now: Millis) {
        let Self { rules, simple, hunts, ways, turns, .. } = self;
        let relief = &rules.relief;
        let mut comers: BTreeMap<CityId, Comers> = BTreeMap::new();
        for (id, city) in &mut turns.cities {
            if city.has_a_tick(relief, now) {
                comers.insert(*id, Comers::default());
                let rules = city.load.step.of(rules, simple);
                city.forget(|hunt| wish(hunt, ways, rules, now), hunts);
            }
        }
        for (key, hunt) in hunts.iter() {
            let id = hunt.search.city;
            let city = turns.cities.entry(id).or_insert_with(|| {
                comers.insert(id, Comers::default());
                City::new(relief, now)
            });
            let Some(comers) = comers.get_mut(&id) else { continue };
            match wish(hunt, ways, city.load.step.of(rules, simple), now) {
                Some(Wish::Batch(want)) => comers.together.push((want, hunt.turn, *key)),
                Some(Wish::Look) if !city.rests(hunt, relief, now) => {
                    comers.alone.push((hunt.turn, *key));
                }
                Some(Wish::Look) | None => {}
            }
        }
        for (id, comers) in comers {
            if let Some(city) = turns.cities.get_mut(&id) {
                city.begin(comers, rules, now);
                turns.sweep.push_back(id);
            }
        }
    }

    /// Who is looked at next; none when the sweep is over.
    pub(crate) fn next_turn(&mut self, now: Millis) -> Option<Turn> {
        loop {
            let city = *self.turns.sweep.front()?;
            if let Some(turn) = self.take_turn(city, now) {
                return Some(turn);
            }
            self.turns.sweep.pop_front();
            self.end_tick(city, now);
        }
    }

    fn take_turn(&mut self, id: CityId, now: Millis) -> Option<Turn> {
        let Self { rules, simple, hunts, ways, turns, .. } = self;
        let city = turns.cities.get_mut(&id)?;
        let (step, look) = (city.load.step, city.load.look);
        let rules = step.of(rules, simple);
        let mut purse = rules.relief.budget.saturating_sub(city.tick.took);
        let has = |key: &Key| hunts.get(key).and_then(|hunt| wish(hunt, ways, rules, now));
        let (way, keys) = if std::mem::take(&mut city.batch_is_due) {
            // When its last search was looked at a batch has the assignment still before it.
            purse = purse / 4 * 3;
            let fit = purse.as_nanos().checked_div(look.as_nanos()).unwrap_or(u128::MAX);
            let most = usize::try_from(fit).unwrap_or(usize::MAX).max(1);
            let wants = |key: Key| match has(&key)? {
                Wish::Batch(want) => Some((want, key)),
                Wish::Look => None,
            };
            let of_line = std::iter::from_fn(|| city.batch.next()).filter_map(wants);
            let mut keys: Vec<_> = of_line.take(most.min(rules.presets.batched.most)).collect();
            if step == Step::Normal {
                // All are in it, and who asked first comes first.
                keys.sort_unstable();
            }
            (Strategy::Batched, keys.into_iter().map(|(_, key)| key).collect())
        } else {
            // What a look costs is known by then: the tick ends before it is too long.
            let may_go_on = city.tick.looked == 0 || look <= purse && !purse.is_zero();
            let next = || may_go_on.then(|| city.singles.next()).flatten();
            let key = std::iter::from_fn(next).find(|key| has(key) == Some(Wish::Look))?;
            (ways.of(&hunts.get(&key)?.search), vec![key])
        };
        let mut stood = Vec::new();
        for key in keys.iter().filter(|_| step == Step::Queued) {
            // The search begins with its turn: what was waited for it shortens nothing.
            if let Some(hunt) = hunts.get_mut(key).filter(|hunt| hunt.looked.is_none()) {
                stood.push((*key, std::mem::replace(&mut hunt.since, now)));
            }
        }
        Some(Turn { go: Go { way, step, keys }, purse, city: id, stood })
    }

    /// The first so many of a turn's searches were looked at, which took so long.
    pub(crate) fn turn_over(&mut self, turn: &Turn, looked: usize, took: Duration, now: Millis) {
        let Self { hunts, turns, .. } = self;
        let Some(city) = turns.cities.get_mut(&turn.city) else { return };
        city.tick.took += took;
        city.tick.looked += looked;
        let (looked, others) = turn.go.keys.split_at(looked.min(turn.go.keys.len()));
        city.batch.put_back(others);
        for (key, since) in &turn.stood {
            match hunts.get_mut(key) {
                Some(hunt) if others.contains(key) => hunt.since = *since,
                Some(_) | None => turns.news.waits.push(now.after(*since)),
            }
        }
        for key in looked {
            let Some(hunt) = hunts.get_mut(key) else { continue };
            turns.looks += 1;
            (hunt.looked, hunt.turn) = (Some(now), turns.looks);
            if hunt.told.take().is_some() {
                turns.news.cleared.push(hunt.search.trip);
            }
        }
    }

    fn end_tick(&mut self, id: CityId, now: Millis) {
        let Self { rules, simple, hunts, ways, turns, .. } = self;
        let Turns { cities, news, .. } = turns;
        let Some(city) = cities.get_mut(&id) else { return };
        let by = city.load.step.of(rules, simple);
        city.forget(|hunt| wish(hunt, ways, by, now), hunts);
        let unseen = city.lines().into_iter().flat_map(|line| &line.order);
        let unseen = unseen.filter_map(|key| hunts.get(key)).filter(|hunt| hunt.looked.is_none());
        let oldest = unseen.map(|hunt| now.after(hunt.since)).max().unwrap_or_default();
        let left = city.lines().into_iter().map(|line| line.order.len()).sum();
        let tick = Tick { left, oldest, ..std::mem::take(&mut city.tick) };
        let change = city.load.hear(tick, &rules.relief, now);
        news.changes.extend(change.map(|change| (id, change)));
        if city.load.step == Step::Queued {
            city.tell_places(hunts, news, now);
        } else if change.is_some_and(|change| change.from == Step::Queued) {
            for hunt in hunts.values_mut().filter(|hunt| hunt.search.city == id) {
                news.cleared.extend(hunt.told.take().map(|_| hunt.search.trip));
            }
        }
    }

    /// Has the sweep begun and not reached the last search?
    pub fn is_mid_sweep(&self) -> bool {
        !self.turns.sweep.is_empty()
    }

    /// Did a city that nothing holds back leave searches over? The next sweep is due at once.
    pub(crate) fn hurries(&self) -> bool {
        let waits = |city: &City| city.lines().iter().any(|line| !line.order.is_empty());
        self.turns.cities.values().any(|city| city.load.step == Step::Normal && waits(city))
    }

    /// What happened since this was asked last.
    pub(crate) fn take_news(&mut self) -> News {
        let mut news = std::mem::take(&mut self.turns.news);
        for trip in std::mem::take(&mut news.cleared) {
            let status = self.status(trip).map(MatchingStatus::without_place);
            let rider = self.rider_of(trip);
            news.places.extend(rider.zip(status).map(|(rider, status)| QueueNews {
                trip,
                rider,
                status,
            }));
        }
        news
    }

    /// Puts a city at a step, wherever its own ticks would have it.
    #[cfg(test)]
    pub(crate) fn overload(&mut self, city: CityId, step: Step, now: Millis) {
        let Self { rules, turns, .. } = self;
        let new = || City::new(&rules.relief, now);
        let mut load = Load::new(&rules.relief, now);
        load.step = step;
        turns.cities.entry(city).or_insert_with(new).load = load;
    }

    /// How loaded a city is; none before its first search.
    pub(crate) fn load(&self, city: CityId) -> Option<LoadView> {
        let load = &self.turns.cities.get(&city)?.load;
        let waits = |hunt: &&Hunt| hunt.search.city == city && hunt.waits();
        Some(LoadView {
            step: load.step,
            since: load.since,
            waiting: self.hunts.values().filter(waits).count(),
            tick_ms: u64::try_from(load.last.took.as_millis()).unwrap_or(u64::MAX),
        })
    }
}

impl City {
    /// Who wants nothing any more leaves the lines.
    fn forget(&mut self, wish: impl Fn(&Hunt) -> Option<Wish>, hunts: &BTreeMap<Key, Hunt>) {
        let wish = |key: &Key| hunts.get(key).and_then(&wish);
        self.batch.keep(|key| matches!(wish(key), Some(Wish::Batch(_))));
        self.singles.keep(|key| wish(key) == Some(Wish::Look));
    }

    fn tell_places(&self, hunts: &mut BTreeMap<Key, Hunt>, news: &mut News, now: Millis) {
        for line in self.lines() {
            for (key, place) in line.order.iter().zip(1..) {
                let hunt = hunts.get_mut(key).filter(|hunt| hunt.looked.is_none());
                let Some(hunt) = hunt.filter(|hunt| is_news(hunt.told, place, now)) else {
                    continue;
                };
                hunt.told = Some((place, now));
                let (trip, rider) = (hunt.search.trip, hunt.search.rider);
                let status = MatchingStatus::searching(Some(place));
                news.places.push(QueueNews { trip, rider, status });
            }
        }
    }
}
