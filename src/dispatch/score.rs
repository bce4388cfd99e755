//! Ranks the drivers who may be asked: the weighted sum of PLAN 4.1, then fairness,
//! then what his conduct costs a driver.
//!
//! Every part is its weight times a number between 0 and 1, so the parts of a score add up to it
//! and can be shown beside it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What counts how much; sums to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Weights {
    pub distance: f64,
    pub rating: f64,
    pub acceptance: f64,
    pub completion: f64,
    pub vehicle: f64,
    pub repeat: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            distance: 0.40,
            rating: 0.20,
            acceptance: 0.15,
            completion: 0.10,
            vehicle: 0.10,
            repeat: 0.05,
        }
    }
}

/// How the score is bent so that trips are spread over the drivers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fairness {
    /// Added for a driver who waits as long as `waiting_full` or longer.
    pub waiting: f64,
    pub waiting_full: Duration,
    /// Taken from a driver with `recent_full` recent trips or more.
    pub recent: f64,
    pub recent_full: u16,
}

impl Default for Fairness {
    fn default() -> Self {
        Self {
            waiting: 0.15,
            waiting_full: Duration::from_secs(20 * 60),
            recent: 0.15,
            recent_full: 6,
        }
    }
}

/// How far the pickup is, against the farthest that is still searched.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Reach {
    /// Metres, great circle.
    Straight { distance_m: f64, within_m: f64 },
    /// Seconds along roads, against the seconds that the ring's radius takes.
    Road { eta_s: u32, within_s: f64 },
}

impl Reach {
    /// 1 at the pickup, 0 at the edge and beyond.
    fn closeness(self) -> f64 {
        match self {
            Self::Straight { distance_m, within_m } => unit(1.0 - distance_m / within_m),
            Self::Road { eta_s, within_s } => unit(1.0 - f64::from(eta_s) / within_s),
        }
    }
}

/// The driver's car against what was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Vehicle {
    Exact,
    /// A higher tier: he may take the trip, but his car is better used elsewhere.
    Higher,
}

/// Have driver and rider met before?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acquaintance {
    Stranger,
    Repeat,
}

/// What a driver is ranked by.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Merits {
    pub reach: Reach,
    /// 0 to 5.
    pub rating: f32,
    /// 0 to 1.
    pub acceptance: f32,
    /// 0 to 1.
    pub completion: f32,
    pub vehicle: Vehicle,
    pub acquaintance: Acquaintance,
    pub waiting: Duration,
    pub recent_trips: u16,
    /// What his conduct costs him, hundredths.
    pub penalty: u8,
}

/// The parts of a score; they sum to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Parts {
    pub distance: f32,
    pub rating: f32,
    pub acceptance: f32,
    pub completion: f32,
    pub vehicle: f32,
    pub repeat: f32,
    /// Boost for waiting long.
    pub waiting: f32,
    /// Penalty for many recent trips: zero or below.
    pub recent: f32,
    /// Penalty for his conduct: zero or below.
    #[serde(default)]
    pub conduct: f32,
}

impl Parts {
    /// The score itself.
    pub fn total(&self) -> f32 {
        self.distance
            + self.rating
            + self.acceptance
            + self.completion
            + self.vehicle
            + self.repeat
            + self.waiting
            + self.recent
            + self.conduct
    }
}

/// Scores one driver.
pub fn score(merits: &Merits, weights: &Weights, fairness: &Fairness) -> Parts {
    let vehicle = match merits.vehicle {
        Vehicle::Exact => 1.0,
        Vehicle::Higher => 0.0,
    };
    let repeat = match merits.acquaintance {
        Acquaintance::Repeat => 1.0,
        Acquaintance::Stranger => 0.0,
    };
    let waited = merits.waiting.as_secs_f64() / fairness.waiting_full.as_secs_f64();
    let busy = f64::from(merits.recent_trips) / f64::from(fairness.recent_full);
    Parts {
        distance: part(weights.distance, merits.reach.closeness()),
        rating: part(weights.rating, f64::from(merits.rating) / 5.0),
        acceptance: part(weights.acceptance, f64::from(merits.acceptance)),
        completion: part(weights.completion, f64::from(merits.completion)),
        vehicle: part(weights.vehicle, vehicle),
        repeat: part(weights.repeat, repeat),
        waiting: part(fairness.waiting, waited),
        recent: -part(fairness.recent, busy),
        conduct: -part(1.0, f64::from(merits.penalty) / 100.0),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a number near 1, kept to single precision")]
fn part(weight: f64, share: f64) -> f32 {
    (weight * unit(share)) as f32
}

/// Into 0 to 1; what is no number counts as nothing.
fn unit(share: f64) -> f64 {
    if share.is_nan() { 0.0 } else { share.clamp(0.0, 1.0) }
}
