//! The ways to find a driver, as presets of one engine.
//!
//! A preset is numbers, not code: how many are asked at once, for how long, how far and how often.
//! A way that needs more than numbers (bids, assignment) becomes a variant here and a branch of the
//! engine's step.

use std::time::Duration;

use base::limits;

/// A way to find a driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Strategy {
    /// The best few are asked at once, the first to accept has the trip.
    #[default]
    FirstAccept,
}

impl Strategy {
    /// As in `trips.strategy`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::FirstAccept => "first_accept",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::FirstAccept].into_iter().find(|strategy| strategy.name() == text)
    }
}

/// The numbers of a strategy.
#[derive(Clone, Debug, PartialEq)]
pub struct Preset {
    /// Drivers asked in one round.
    pub at_once: usize,
    /// How long they may look at the offer.
    pub offer_ttl: Duration,
    /// Radii of the rings, in units of the city's search radius, growing.
    pub rings: Vec<f64>,
    /// Rounds that ended in a no from somebody, after which the next ring is searched.
    pub rounds_per_ring: u16,
    /// A search lasts at least this long, shared evenly by the rings.
    pub at_least: Duration,
}

impl Preset {
    /// Top 5 at once, 15 s, the next 5, then wider: 1, 1.5 and 2 times the city's radius.
    pub fn first_accept() -> Self {
        Self {
            at_once: 5,
            offer_ttl: limits::OFFER_TTL,
            rings: vec![1.0, 1.5, 2.0],
            rounds_per_ring: 2,
            at_least: Duration::from_secs(60),
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

/// The numbers in use for each strategy.
#[derive(Clone, Debug, PartialEq)]
pub struct Presets {
    pub first_accept: Preset,
}

impl Default for Presets {
    fn default() -> Self {
        Self { first_accept: Preset::first_accept() }
    }
}

impl Presets {
    pub const fn of(&self, strategy: Strategy) -> &Preset {
        match strategy {
            Strategy::FirstAccept => &self.first_accept,
        }
    }
}
