//! The ways to find a driver, as presets of one engine.
//!
//! A preset is numbers, not code: how many are asked at once, for how long, how far and how often.
//! A way that needs more than numbers (assignment) becomes a variant here and a branch of the
//! engine's tick.

use std::time::Duration;

use base::{BasisPoints, Millis, limits, words};
use serde::{Deserialize, Serialize};

use crate::board::Promised;
use crate::offers::OfferSet;
use crate::slack::capped;
use crate::supply::Supply;

words! {
    /// A way to find a driver.
    Strategy {
        /// The best few are asked at once, the first to accept has the trip.
        FirstAccept = "first_accept",
        /// The best few are asked one after the other, then several at once.
        Sequential = "sequential",
        /// All searches of a short window against all drivers near them, solved as an assignment.
        Batched = "batched",
        /// The best ten are asked at once, each may bid a price, the rider picks one.
        BroadcastBid = "broadcast_bid",
        /// Of trips that were booked ahead: one after the other, until after the pickup. No city's
        /// usual one, and named by no request.
        Scheduled = "scheduled",
    }
}

impl Strategy {
    /// What a city has that nobody chose for.
    pub const USUAL: Self = Self::FirstAccept;
    /// In `trips.strategy` where a request named none: whatever the city has at the time.
    pub const OF_CITY: &str = "city";

    /// May it be a city's, or named by a request?
    pub fn is_chosen(self) -> bool {
        self != Self::Scheduled
    }
}

/// The numbers of a strategy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Preset {
    /// Drivers asked in one round.
    pub at_once: usize,
    /// Rounds after which more are asked at once, and how many then; none where it stays the same.
    pub broadcast: Option<(u16, usize)>,
    /// How long they may look at the offer.
    pub offer_ttl: Duration,
    /// Radii of the rings, in units of the city's search radius, growing.
    pub rings: Vec<f64>,
    /// Rounds that ended in a no from somebody, after which the next ring is searched.
    pub rounds_per_ring: u16,
    /// A search lasts at least this long, shared evenly by the rings.
    pub at_least: Duration,
    /// A driver this close to the end of his trip may be promised the next one; zero asks only
    /// those who are free.
    pub chain: Duration,
    /// Those who are asked bid prices; none where the first to accept has the trip at its own.
    #[serde(default)]
    pub bids: Option<Bids>,
}

/// How prices are bid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bids {
    /// Prices are bid for so long; what is left of the offer's time is the rider's, to choose in.
    pub open: Duration,
    /// Least that may be bid, as a share of the quoted price.
    pub floor: BasisPoints,
    /// Most that may be bid.
    pub ceiling: BasisPoints,
}

impl Preset {
    /// Top 5 at once, 15 s, the next 5, then wider: 1, 1.5 and 2 times the city's radius.
    pub fn first_accept() -> Self {
        Self {
            at_once: 5,
            broadcast: None,
            offer_ttl: limits::OFFER_TTL,
            rings: vec![1.0, 1.5, 2.0],
            rounds_per_ring: 2,
            at_least: Duration::from_secs(60),
            chain: Duration::ZERO,
            bids: None,
        }
    }

    /// One at a time, 10 s each, five of them; then ten at once, and wider.
    pub fn sequential() -> Self {
        Self {
            at_once: 1,
            broadcast: Some((5, 10)),
            offer_ttl: Duration::from_secs(10),
            rings: vec![1.0, 1.5, 2.0],
            rounds_per_ring: 5,
            at_least: Duration::from_secs(60),
            chain: Duration::ZERO,
            bids: None,
        }
    }

    /// Of BATCHED: three at once where drivers are plenty, wider by time only (the reach says how
    /// far is worth it), and for three minutes: waiting for the next free driver is part of it.
    pub fn batched() -> Self {
        Self {
            at_once: 3,
            broadcast: None,
            offer_ttl: limits::OFFER_TTL,
            rings: vec![1.0, 1.5, 2.0],
            rounds_per_ring: u16::MAX,
            at_least: Duration::from_secs(180),
            chain: Duration::from_secs(300),
            bids: None,
        }
    }

    /// Ten at once, 30 s of bids and 15 s more for the rider to choose; wider after each round of
    /// which he took none.
    pub fn broadcast_bid() -> Self {
        Self {
            at_once: 10,
            broadcast: None,
            offer_ttl: Duration::from_secs(45),
            rings: vec![1.0, 1.5, 2.0],
            rounds_per_ring: 1,
            at_least: Duration::from_secs(60),
            chain: Duration::ZERO,
            bids: Some(Bids {
                open: Duration::from_secs(30),
                floor: BasisPoints(8_000),
                ceiling: BasisPoints(15_000),
            }),
        }
    }

    /// One at a time, 20 s each, five of them; then three at once, and wider: there is time. How
    /// long it lasts at least, the search itself says.
    pub fn scheduled() -> Self {
        Self {
            at_once: 1,
            broadcast: Some((5, 3)),
            offer_ttl: Duration::from_secs(20),
            rings: vec![1.0, 1.5, 2.0],
            rounds_per_ring: 5,
            at_least: Duration::from_secs(180),
            chain: Duration::ZERO,
            bids: None,
        }
    }

    /// Drivers asked at once after so many rounds.
    pub fn at_once(&self, rounds: u16) -> usize {
        match self.broadcast {
            Some((after, many)) if rounds >= after => many,
            Some(_) | None => self.at_once,
        }
    }

    /// The last ring's number.
    pub fn last_ring(&self) -> usize {
        self.rings.len().saturating_sub(1)
    }

    /// The ring that is due at this age of the search by time alone.
    pub fn ring_at(&self, age: Duration) -> usize {
        let share = self.at_least.as_millis() / self.rings.len().max(1) as u128;
        let ring = age.as_millis().checked_div(share).unwrap_or(u128::MAX);
        usize::try_from(ring).unwrap_or(usize::MAX).min(self.last_ring())
    }

    /// Radius of ring `ring`, metres.
    pub fn radius_m(&self, ring: usize, ring_m: u32) -> f64 {
        f64::from(ring_m) * self.rings.get(ring).copied().unwrap_or(1.0)
    }
}

/// When a rider who waits for his driver is given a nearer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Swap {
    /// By how much the other one must be earlier: a rider who is told of another car wants to know
    /// what for.
    pub gain: Duration,
    /// How long after a look for him the next one is due: he has a driver, and whoever has none
    /// needs the tick's time more.
    #[serde(default)]
    pub every: Duration,
}

impl Default for Swap {
    fn default() -> Self {
        Self { gain: Duration::from_secs(240), every: Duration::from_secs(10) }
    }
}

impl Swap {
    /// The longest pickup that is worth a change, seconds.
    pub(crate) fn within_s(self, promised: Promised, now: Millis) -> f64 {
        promised.due.after(now).as_secs_f64() - self.gain.as_secs_f64()
    }
}

/// What BATCHED knows beyond a preset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batching {
    pub preset: Preset,
    /// Time between two batches of a city: what is asked in between is decided together.
    pub window: Duration,
    /// Drivers of a search, nearest by time, who take part in the assignment.
    pub candidates: usize,
    /// Searches of one batch, oldest first, so that a tick keeps its budget. Those beyond come up
    /// as soon as the oldest end.
    pub most: usize,
    pub offers: OfferSet,
    pub supply: Supply,
    /// What a point of score is worth, seconds.
    pub point_s: f64,
    /// What a no costs, seconds.
    pub decline_s: f64,
    /// What a second counts that a driver still spends on the trip before: the rider waits for it,
    /// but no driver's time is lost to it, as it is on the way to a pickup.
    pub earlier: f64,
    /// What a second counts that the idle drivers around a driver have waited on average: there he
    /// isn't missed.
    #[serde(default)]
    pub around: f64,
    /// What a second counts that he has waited himself: it is his turn.
    #[serde(default)]
    pub turn: f64,
    /// None: who said yes keeps the trip.
    #[serde(default)]
    pub swap: Option<Swap>,
}

impl Default for Batching {
    fn default() -> Self {
        Self {
            preset: Preset::batched(),
            window: Duration::from_secs(2),
            candidates: 15,
            most: 1_000,
            offers: OfferSet { miss: 0.5, extra_eta_s: 90, spare: 3.0 },
            supply: Supply { short_s: 240.0, ample_s: 350.0, ample: 3.0, growth: 3.0 },
            point_s: 300.0,
            decline_s: 30.0,
            earlier: 0.5,
            around: 0.5,
            turn: 1.2,
            swap: Some(Swap::default()),
        }
    }
}

impl Batching {
    /// What is taken off a driver's cost, seconds: idle drivers around him have waited `around_s`
    /// on average, and he himself `idle_s` if he is one.
    pub(crate) fn turn_s(&self, around_s: f64, idle_s: Option<f64>) -> f64 {
        self.around * around_s + self.turn * capped(idle_s.unwrap_or(0.0))
    }
}

/// The numbers in use for each strategy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Presets {
    pub first_accept: Preset,
    pub sequential: Preset,
    pub batched: Batching,
    pub broadcast_bid: Preset,
    pub scheduled: Preset,
}

impl Default for Presets {
    fn default() -> Self {
        Self {
            first_accept: Preset::first_accept(),
            sequential: Preset::sequential(),
            batched: Batching::default(),
            broadcast_bid: Preset::broadcast_bid(),
            scheduled: Preset::scheduled(),
        }
    }
}

impl Presets {
    /// Does a search of this strategy look on when somebody said yes?
    pub(crate) fn swaps(&self, strategy: Strategy) -> bool {
        strategy == Strategy::Batched && self.batched.swap.is_some()
    }

    pub const fn of(&self, strategy: Strategy) -> &Preset {
        match strategy {
            Strategy::FirstAccept => &self.first_accept,
            Strategy::Sequential => &self.sequential,
            Strategy::Batched => &self.batched.preset,
            Strategy::BroadcastBid => &self.broadcast_bid,
            Strategy::Scheduled => &self.scheduled,
        }
    }
}
