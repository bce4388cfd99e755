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
//! - nobody is looked at twice while another waits for his turn (same test), and no way to search
//!   keeps another's riders waiting for good (test: `no_line_starves_behind_the_other`);
//! - a place in the line never grows (test: `a_place_only_gets_better_and_his_turn_clears_it`).

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use base::{CityId, Millis, TripId};

use crate::board::{Board, Hunt, Key, Rules, Want, Ways, key_of};
use crate::engine::Go;
use crate::load::{Change, Load, Relief, Step, Tick, is_news};
use crate::model::{Part, QueueNews};
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
    /// Searches for somebody to stand by: once nobody else waits, and in no overloaded city.
    standbys: Line,
    batch_is_due: bool,
    /// Was the budget used up before the last of the newest window?
    is_cut_off: bool,
    /// When the newest window was over.
    window: Option<Millis>,
    /// When the newest tick began.
    ticked: Option<Millis>,
    /// The tick under way.
    tick: Tick,
    /// Has it looked at one of the singles?
    had_single: bool,
    /// Did the newest tick leave somebody over whose turn it was?
    goes_on: bool,
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
    standbys: Vec<Key>,
    /// Of those alone, how many rest.
    resting: usize,
    /// Of those together, how many have a driver; of the others, how many nobody has looked at.
    nearer: usize,
    new: usize,
}

impl Comers {
    fn come(&mut self, wish: Wish, key: Key, hunt: &Hunt, rests: bool) {
        match wish {
            Wish::Batch(want) => {
                match want {
                    Want::Nearer => self.nearer += 1,
                    _ => self.new += usize::from(hunt.looked.is_none()),
                }
                self.together.push((want, hunt.turn, key));
            }
            Wish::Look if rests => self.resting += 1,
            Wish::Look => self.alone.push((hunt.turn, key)),
            Wish::StandBy => self.standbys.push(key),
        }
    }

    /// As [`Tick::wants`], where so many windows of normal are one.
    fn wants(&self, windows: u32) -> usize {
        let windows = usize::try_from(windows).unwrap_or(usize::MAX).max(1);
        let known = self.together.len() - self.nearer - self.new;
        let together = known + self.new.div_ceil(windows);
        together + self.alone.len() + self.resting
    }
}

/// What a search waits for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wish {
    Batch(Want),
    Look,
    /// A look for somebody to stand by, when there is time.
    StandBy,
}

/// Nothing while it asks drivers for an answer already.
fn wish(hunt: &Hunt, ways: &Ways, rules: &Rules, step: Step, now: Millis) -> Option<Wish> {
    if !hunt.open.is_empty() {
        return None;
    }
    if hunt.search.role == Part::StandBy {
        return (step == Step::Normal).then_some(Wish::StandBy);
    }
    if ways.of(&hunt.search) == Strategy::Batched {
        // A nearer driver is looked for where there is time.
        let swap = rules.presets.batched.swap.filter(|_| step == Step::Normal);
        return match hunt.wants(swap, now) {
            Want::Nothing => None,
            Want::Nearer if !is_over(hunt.looked, swap?.every, now) => None,
            want => Some(Wish::Batch(want)),
        };
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
            standbys: Line::default(),
            batch_is_due: false,
            is_cut_off: false,
            window: None,
            ticked: None,
            tick: Tick::default(),
            had_single: false,
            goes_on: false,
        }
    }

    fn has_a_tick(&self, relief: &Relief, now: Millis) -> bool {
        is_over(self.ticked, self.between_ticks(relief), now)
    }

    /// From the begin of a tick to the next: what is left over is worked off in half of the time.
    fn between_ticks(&self, relief: &Relief) -> Duration {
        match self.load.step {
            Step::Normal => Duration::ZERO,
            _ if self.goes_on => {
                let took = self.load.last.took;
                took + took.max(relief.pause / 4)
            }
            _ => relief.pause,
        }
    }

    /// Did a look find nobody a moment ago?
    fn rests(&self, hunt: &Hunt, relief: &Relief, now: Millis) -> bool {
        self.load.step != Step::Normal
            && hunt.rests_from.is_some()
            && !is_over(hunt.rests_from, relief.rest, now)
    }

    /// So many windows of normal are one.
    fn windows(&self, relief: &Relief) -> u32 {
        if self.load.step == Step::Normal { 1 } else { relief.windows }
    }

    /// Those who wait for a look join; who wants to be decided together with others, if it is time.
    fn begin(&mut self, comers: Comers, rules: &Rules, now: Millis) {
        (self.ticked, self.had_single) = (Some(now), false);
        let windows = self.windows(&rules.relief);
        self.tick.wants = comers.wants(windows);
        let Comers { mut together, mut alone, standbys, nearer, .. } = comers;
        if self.load.step != Step::Normal {
            alone.sort_unstable();
        }
        alone.iter().for_each(|(_, key)| self.singles.join(*key));
        standbys.iter().for_each(|key| self.standbys.join(*key));
        let window = rules.presets.batched.window * windows;
        let is_due = !together.is_empty() && is_over(self.window, window, now);
        if is_due {
            if together.len() > nearer {
                self.window = Some(now);
            }
            together.sort_unstable();
            together.iter().for_each(|(_, _, key)| self.batch.join(*key));
        }
        // What the budget cut off from the last window goes on now; who came since waits for the
        // next one, also where he stands in line.
        self.batch_is_due = is_due || self.is_cut_off;
    }

    /// Those whose turn it was and did not come.
    fn left(&self) -> impl Iterator<Item = (&Key, Option<Millis>)> {
        let batch = self.batch.order.iter().filter(|_| self.is_cut_off);
        let batch = batch.map(|key| (key, self.window));
        batch.chain(self.singles.order.iter().map(|key| (key, None)))
    }

    /// From here on everybody whom nobody has looked at stands in line: also who waits for the
    /// window, before those who come now.
    fn line_up(&mut self, hunts: &BTreeMap<Key, Hunt>, wish: impl Fn(&Hunt) -> Option<Wish>) {
        let own = hunts.iter().filter(|(_, hunt)| hunt.looked.is_none());
        let mut own: Vec<_> =
            own.filter_map(|(key, hunt)| Some((hunt.turn, *key, wish(hunt)?))).collect();
        own.sort_unstable_by_key(|(turn, key, _)| (*turn, *key));
        for (_, key, wish) in own {
            match wish {
                Wish::Batch(_) => self.batch.join(key),
                Wish::Look => self.singles.join(key),
                Wish::StandBy => {}
            }
        }
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
        if hunt.looked.is_some() || hunt.search.role == Part::StandBy {
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
        self.end_late(now);
        let Self { rules, simple, hunts, ways, turns, .. } = self;
        let relief = &rules.relief;
        let mut comers: BTreeMap<CityId, Comers> = BTreeMap::new();
        for (id, city) in &mut turns.cities {
            if city.has_a_tick(relief, now) {
                comers.insert(*id, Comers::default());
                let step = city.load.step;
                let rules = step.of(rules, simple);
                city.forget(|hunt| wish(hunt, ways, rules, step, now), hunts);
            }
        }
        for (key, hunt) in hunts.iter() {
            let id = hunt.search.city;
            let city = turns.cities.entry(id).or_insert_with(|| {
                comers.insert(id, Comers::default());
                City::new(relief, now)
            });
            let Some(comers) = comers.get_mut(&id) else { continue };
            let step = city.load.step;
            if let Some(wish) = wish(hunt, ways, step.of(rules, simple), step, now) {
                comers.come(wish, *key, hunt, city.rests(hunt, relief, now));
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
        let step = city.load.step;
        let rules = step.of(rules, simple);
        let mut purse = rules.relief.budget.saturating_sub(city.tick.took);
        let has = |key: &Key| hunts.get(key).and_then(|hunt| wish(hunt, ways, rules, step, now));
        let (way, keys) = if std::mem::take(&mut city.batch_is_due) {
            // When its last search was looked at a batch has the assignment still before it.
            purse = purse / 4 * 3;
            (Strategy::Batched, city.take_batch(purse, rules, has))
        } else {
            let key = city.take_single(purse, rules, has)?;
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
        let has_nobody = |key: &&Key| hunts.get(key).is_some_and(|hunt| hunt.promised.is_none());
        let others: Vec<Key> = others.iter().filter(has_nobody).copied().collect();
        city.batch.put_back(&others);
        city.is_cut_off |= !others.is_empty();
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
            hunt.rests_from = hunt.open.is_empty().then_some(now);
            if hunt.told.take().is_some() {
                turns.news.cleared.push(hunt.search.trip);
            }
        }
    }

    fn end_tick(&mut self, id: CityId, now: Millis) {
        let Self { rules, simple, hunts, ways, turns, .. } = self;
        let Turns { cities, news, .. } = turns;
        let Some(city) = cities.get_mut(&id) else { return };
        let step = city.load.step;
        city.forget(|hunt| wish(hunt, ways, step.of(rules, simple), step, now), hunts);
        // Before his window was over it was nobody's turn.
        let waited = |(key, window): (&Key, Option<Millis>)| {
            let hunt = hunts.get(key).filter(|hunt| hunt.looked.is_none())?;
            Some(now.after(window.map_or(hunt.since, |window| window.max(hunt.since))))
        };
        let oldest = city.left().filter_map(waited).max().unwrap_or_default();
        let left = city.left().count();
        city.goes_on = left > 0;
        let tick = Tick { left, oldest, ..std::mem::take(&mut city.tick) };
        let change = city.load.hear(tick, &rules.relief, now);
        news.changes.extend(change.map(|change| (id, change)));
        let step = city.load.step;
        if step == Step::Queued {
            if change.is_some() {
                let by = step.of(rules, simple);
                let own = |hunt: &Hunt| hunt.search.city == id;
                city.line_up(hunts, |hunt| {
                    own(hunt).then(|| wish(hunt, ways, by, step, now)).flatten()
                });
            }
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
        self.turns.cities.values().any(|city| city.load.step == Step::Normal && city.goes_on)
    }

    /// When the first of the overloaded cities has its next tick: a sweep before that skips it.
    pub(crate) fn next_tick(&self) -> Option<Millis> {
        let overloaded = |city: &&City| city.load.step != Step::Normal;
        let next = |city: &City| Some(city.ticked? + city.between_ticks(&self.rules.relief));
        self.turns.cities.values().filter(overloaded).filter_map(next).min()
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
    /// Those of the line who are decided together now; who came first, if not all can be.
    fn take_batch(
        &mut self,
        purse: Duration,
        rules: &Rules,
        has: impl Fn(&Key) -> Option<Wish>,
    ) -> Vec<Key> {
        let fit = purse.as_nanos().checked_div(self.load.look.as_nanos()).unwrap_or(u128::MAX);
        let most = usize::try_from(fit).unwrap_or(usize::MAX).max(1);
        let wants = |key: Key| match has(&key)? {
            Wish::Batch(want) => Some((want, key)),
            Wish::Look | Wish::StandBy => None,
        };
        let of_line = std::iter::from_fn(|| self.batch.next()).filter_map(wants);
        let mut keys: Vec<_> = of_line.take(most.min(rules.presets.batched.most)).collect();
        if self.load.step == Step::Normal {
            // All are in it, and who asked first comes first.
            keys.sort_unstable();
        }
        // Who has a driver doesn't stay in line: his look is due with the next window again.
        self.batch.keep(|key| has(key) == Some(Wish::Batch(Want::Driver)));
        self.is_cut_off = !self.batch.order.is_empty();
        keys.into_iter().map(|(_, key)| key).collect()
    }

    /// What a look costs is known by now: the tick ends before it is too long.
    fn take_single(
        &mut self,
        purse: Duration,
        rules: &Rules,
        has: impl Fn(&Key) -> Option<Wish>,
    ) -> Option<Key> {
        let fits = self.load.look <= purse && !purse.is_zero();
        // One in each tick, or a batch that takes all of each keeps the others out for good.
        if fits || !self.had_single {
            let of_line = std::iter::from_fn(|| self.singles.next());
            let key = of_line.into_iter().find(|key| has(key) == Some(Wish::Look));
            self.had_single |= key.is_some();
            if key.is_some() {
                return key;
            }
        }
        // Nobody else waits, and a look more makes no tick too long.
        let is_idle = self.tick.looked == 0 || fits && purse >= rules.relief.budget / 4;
        if self.singles.order.is_empty() && is_idle {
            return std::iter::from_fn(|| self.standbys.next())
                .find(|key| has(key) == Some(Wish::StandBy));
        }
        None
    }

    /// Who wants nothing any more leaves the lines.
    fn forget(&mut self, wish: impl Fn(&Hunt) -> Option<Wish>, hunts: &BTreeMap<Key, Hunt>) {
        let wish = |key: &Key| hunts.get(key).and_then(&wish);
        self.batch.keep(|key| matches!(wish(key), Some(Wish::Batch(_))));
        self.is_cut_off &= !self.batch.order.is_empty();
        self.singles.keep(|key| wish(key) == Some(Wish::Look));
        self.standbys.keep(|key| wish(key) == Some(Wish::StandBy));
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
