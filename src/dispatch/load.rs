//! How much of the node's time a city's search for drivers may take, and what it does without when
//! it wants more: in named steps, and back again.
//!
//! Owns the rule. It measures nothing: what a tick of the city cost and what it left over comes in
//! as numbers, the step comes out. A city's tick is its part of one sweep over all searches.
//!
//! Guarantees:
//! - a city that is behind goes up a step at a time, at once when it is far behind (test:
//!   `a_city_that_is_behind_goes_up_and_comes_back`);
//! - it comes down a step at a time, each after a time of calm, which is longer after a relapse: it
//!   can't swing (test: `no_load_makes_it_swing`);
//! - whatever happened, calm brings it back to normal (test: `every_walk_comes_back_to_normal`).

use std::time::Duration;

use base::{Millis, words};
use serde::{Deserialize, Serialize};

use crate::board::Rules;
use crate::strategy::{Batching, Preset, Presets};

/// Ticks in a row that left somebody over, and more than are soon worked off, before the next step
/// is taken.
const BEHIND: u8 = 3;
/// Left over as many times as much as was looked at: no need to see it thrice.
const FAR: usize = 10;
/// Or whoever waits longest has waited so long.
const LATE: Duration = Duration::from_secs(5);
/// After a relapse calm must last twice as long as before, up to so many times the usual.
const LONGEST: u32 = 16;

words! {
    /// What a city's search for drivers does without while it is overloaded; each step does what
    /// the ones before it do, and more.
    Step {
        /// Nothing.
        Normal = "normal",
        /// Batches and looks come less often, and nobody's driver is swapped.
        LongerWindows = "longer_windows",
        /// Times by the air line instead of roads, and fewer drivers.
        SimpleDistance = "simple_distance",
        /// Riders whom nobody has looked at stand in a line, and are told their place.
        Queued = "queued",
    }
}

impl Step {
    /// 0 for normal, to 3.
    pub const fn level(self) -> u8 {
        self as u8
    }

    const fn is_simple(self) -> bool {
        self.level() >= Self::SimpleDistance.level()
    }

    /// What is decided by at this step.
    pub(crate) const fn of<'a>(self, rules: &'a Rules, simple: &'a Rules) -> &'a Rules {
        if self.is_simple() { simple } else { rules }
    }

    const fn up(self) -> Self {
        match self {
            Self::Normal => Self::LongerWindows,
            Self::LongerWindows => Self::SimpleDistance,
            Self::SimpleDistance | Self::Queued => Self::Queued,
        }
    }

    const fn down(self) -> Self {
        match self {
            Self::Normal | Self::LongerWindows => Self::Normal,
            Self::SimpleDistance => Self::LongerWindows,
            Self::Queued => Self::SimpleDistance,
        }
    }
}

/// What a tick may cost, and the numbers of the steps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Relief {
    /// What one tick of a city may take; what is not looked at by then comes first in the next.
    pub budget: Duration,
    /// Least time between two ticks of an overloaded city, however often it is woken. One that left
    /// somebody over rests for as long as that tick took, a quarter of this at least.
    pub pause: Duration,
    /// How long a city must be calm before it comes down a step.
    pub calm: Duration,
    /// From longer windows on: so many windows of BATCHED are one.
    pub windows: u32,
    /// From longer windows on: a search that nobody was found for rests so long.
    pub rest: Duration,
    /// From simple distance on, in place of the rules' own.
    pub considered: usize,
    pub scored: usize,
    /// From simple distance on: drivers of a search who take part in an assignment.
    pub candidates: usize,
    /// From simple distance on: seconds to a pickup for each metre of air.
    pub air_s_per_m: f64,
}

impl Default for Relief {
    fn default() -> Self {
        Self {
            budget: Duration::from_millis(200),
            pause: Duration::from_millis(900),
            calm: Duration::from_secs(10),
            windows: 4,
            rest: Duration::from_secs(4),
            considered: 64,
            scored: 16,
            candidates: 5,
            // As `routing` has it where it knows no roads: 24 km/h and a detour of 1.3.
            air_s_per_m: 0.195,
        }
    }
}

impl Rules {
    /// What is decided by from `simple_distance` on.
    pub(crate) fn simple(&self) -> Self {
        let Self { relief, presets, .. } = self;
        // Who drives somebody would take the place of one who is free, and the way to his drop-off
        // is a road.
        let free = |preset: &Preset| Preset { chain: Duration::ZERO, ..preset.clone() };
        let batched = Batching {
            preset: free(&presets.batched.preset),
            candidates: presets.batched.candidates.min(relief.candidates),
            swap: None,
            ..presets.batched.clone()
        };
        let presets = Presets {
            first_accept: free(&presets.first_accept),
            sequential: free(&presets.sequential),
            batched,
            broadcast_bid: free(&presets.broadcast_bid),
            scheduled: free(&presets.scheduled),
        };
        Self {
            considered: self.considered.min(relief.considered),
            scored: self.scored.min(relief.scored),
            air_s_per_m: Some(relief.air_s_per_m),
            presets,
            ..self.clone()
        }
    }
}

/// How much time went by since some moment: the only way by which time comes into the engine. No
/// decision depends on it, only how many are made now.
pub trait Meter {
    fn elapsed(&self) -> Duration;
}

/// Where time costs nothing: replays, simulations, most tests.
pub struct Untimed;

impl Meter for Untimed {
    fn elapsed(&self) -> Duration {
        Duration::ZERO
    }
}

/// What came of one tick of a city.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tick {
    pub(crate) took: Duration,
    /// Searches that were looked at.
    pub(crate) looked: usize,
    /// Searches whose turn did not come.
    pub(crate) left: usize,
    /// Searches that a tick of normal would have looked at: all that wait, and of those whom only
    /// the longer window brought together its part.
    pub(crate) wants: usize,
    /// How long the first of those has waited for it.
    pub(crate) oldest: Duration,
}

impl Tick {
    fn is_behind(&self, relief: &Relief) -> bool {
        self.left > 0 || self.took > relief.budget
    }

    /// What a tick of normal would take for those who wait, by what looks cost in this tick or in
    /// the one before, whichever is less: one that was dear says nothing, two do.
    fn need(&self, before: Self) -> Duration {
        let look = [self.each(), before.each()].into_iter().flatten().min().unwrap_or_default();
        look.saturating_mul(u32::try_from(self.wants).unwrap_or(u32::MAX))
    }

    /// What one of its looks cost.
    fn each(&self) -> Option<Duration> {
        self.took.checked_div(u32::try_from(self.looked).ok()?)
    }

    /// And gets no nearer?
    fn is_far_behind(&self, before: Self) -> bool {
        let is_far = self.left >= self.looked.max(1) * FAR || self.oldest >= LATE;
        self.left > 0 && is_far && self.left >= before.left
    }

    /// Is what was left over done in some more ticks, at this pace? A step that was just taken
    /// needs time to work off what it was taken for.
    fn is_catching_up(&self, before: Self) -> bool {
        self.left > 0 && before.left.saturating_sub(self.left) * FAR >= self.left
    }

    /// Is there room for what the step below costs more? Not measured by what the tick took: it may
    /// have been cut off from a window that is longer than those of normal.
    fn is_calm(&self, step: Step, before: Self, relief: &Relief) -> bool {
        let room = match step {
            // Looks cost the same below, and a batch is cut off there, too.
            Step::Normal | Step::LongerWindows => relief.budget / 4 * 3,
            Step::SimpleDistance | Step::Queued => relief.budget / 2,
        };
        let is_known = if self.left > 0 { self.looked > 0 } else { self.took <= relief.budget };
        is_known && self.need(before) <= room
    }
}

/// A step that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) from: Step,
    pub(crate) to: Step,
}

impl Change {
    pub(crate) const fn is_up(self) -> bool {
        self.to.level() > self.from.level()
    }
}

/// How loaded a city is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) step: Step,
    /// When the step was taken.
    pub(crate) since: Millis,
    /// The newest tick in which there was something to do.
    pub(crate) last: Tick,
    /// What one look has cost lately.
    pub(crate) look: Duration,
    /// Ticks in a row that spoke for the next step.
    behind: u8,
    calm_since: Option<Millis>,
    /// How long calm must last now.
    patience: Duration,
    /// When it came down last.
    fell: Option<Millis>,
}

impl Load {
    pub(crate) fn new(relief: &Relief, now: Millis) -> Self {
        Self {
            step: Step::Normal,
            since: now,
            last: Tick::default(),
            look: Duration::ZERO,
            behind: 0,
            calm_since: None,
            patience: relief.calm,
            fell: None,
        }
    }

    /// A tick is over.
    pub(crate) fn hear(&mut self, tick: Tick, relief: &Relief, now: Millis) -> Option<Change> {
        if let Some(cost) = tick.each() {
            // One of eight: an outlier moves it little. And a machine that stood still for a second
            // must not leave room for one look a tick, or a small city is behind for good.
            let cost = cost.min(relief.budget / 4);
            self.look = if self.look.is_zero() { cost } else { (self.look * 7 + cost) / 8 };
        }
        let before = self.last;
        if tick.looked > 0 || tick.left > 0 {
            self.last = tick;
        }
        let is_calm = tick.is_calm(self.step, before, relief);
        // Where a longer window is cut off and normal would carry what waits, nothing is wrong.
        if tick.is_behind(relief) && (self.step == Step::Normal || !is_calm) {
            self.calm_since = None;
            if tick.is_catching_up(before) {
                return None;
            }
            self.behind = self.behind.saturating_add(1);
            let enough = self.behind >= BEHIND || tick.is_far_behind(before);
            return enough.then(|| self.rise(relief, now)).flatten();
        }
        self.behind = 0;
        if !is_calm {
            self.calm_since = None;
            return None;
        }
        // Not from later than now, where the clock was set back.
        let since = self.calm_since.map_or(now, |since| since.min(now));
        self.calm_since = Some(since);
        let calm = now.after(since);
        if self.step == Step::Normal {
            if calm >= relief.calm * LONGEST {
                self.patience = relief.calm;
            }
            return None;
        }
        (calm >= self.patience).then(|| self.fall(now)).flatten()
    }

    fn rise(&mut self, relief: &Relief, now: Millis) -> Option<Change> {
        // The step below did not hold for as long as it was waited for.
        if self.fell.take().is_some_and(|fell| now.after(fell) < self.patience) {
            self.patience = (self.patience * 2).min(relief.calm * LONGEST);
        }
        self.take(self.step.up(), now)
    }

    fn fall(&mut self, now: Millis) -> Option<Change> {
        self.fell = Some(now);
        self.take(self.step.down(), now)
    }

    fn take(&mut self, to: Step, now: Millis) -> Option<Change> {
        (self.behind, self.calm_since) = (0, None);
        let from = std::mem::replace(&mut self.step, to);
        if from == to {
            return None;
        }
        self.since = now;
        Some(Change { from, to })
    }
}

/// A rider is told his place at most so often.
const TELL_EVERY: Duration = Duration::from_secs(3);
/// Down to this place every step forward is news.
const NEAR: u32 = 10;

/// Is this place worth telling to somebody who was told another one, and when?
pub(crate) fn is_news(told: Option<(u32, Millis)>, place: u32, now: Millis) -> bool {
    let Some((last, at)) = told else { return true };
    let moved = last.abs_diff(place);
    let matters = if place <= NEAR { moved > 0 } else { moved >= last.div_ceil(5) };
    matters && now.after(at) >= TELL_EVERY
}
