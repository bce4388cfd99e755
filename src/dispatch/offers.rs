//! Whether a driver will say yes, and how many are asked at once.
//!
//! Asking one at a time loses ten seconds with every no; asking five at once makes four of them
//! look at a trip that is gone. So a second and third are asked only where the first may well say
//! no, and where nobody else needs them.

use serde::{Deserialize, Serialize};

/// How long a pickup may be before drivers begin to mind, seconds.
///
/// Three minutes, from the issue ("falling with pickup times above 3 min").
const EASY_S: f64 = 180.0;
/// Time beyond that after which half of those who would have said yes say no, seconds. An estimate
/// to be replaced by each city's own answers; a wrong one costs order, not correctness.
const HALVES_S: f64 = 420.0;
/// Nobody is sure, and nobody is hopeless: a new driver has a rate of 0 or 1.
const LEAST: f64 = 0.05;
const MOST: f64 = 0.95;

/// Chance that a driver who accepts this share of his offers takes one with this way to the
/// pickup, seconds.
pub fn chance(acceptance: f32, way_s: u32) -> f64 {
    let rate = f64::from(acceptance);
    let rate = if rate.is_nan() { LEAST } else { rate.clamp(LEAST, MOST) };
    let beyond_s = (f64::from(way_s) - EASY_S).max(0.0);
    (rate * (-beyond_s / HALVES_S).exp2()).max(LEAST)
}

/// When another driver is asked beside the first.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OfferSet {
    /// Chance of nobody saying yes that is good enough.
    pub miss: f64,
    /// How much farther than the first another one may be, seconds.
    pub extra_eta_s: u32,
    /// Idle drivers per waiting rider above which a driver more is no loss to others.
    pub spare: f64,
}

/// A driver who could be asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) eta_s: u32,
    pub(crate) chance: f64,
}

impl OfferSet {
    /// The places of those who are asked: the first, then of the `others`, best first, as many as
    /// it takes and `most` in all. `share` is idle drivers per waiting rider.
    pub(crate) fn beside(
        &self,
        first: Candidate,
        others: impl IntoIterator<Item = (usize, Candidate)>,
        share: f64,
        most: usize,
    ) -> Vec<usize> {
        let mut beside = Vec::new();
        let mut miss = 1.0 - first.chance;
        if share <= self.spare {
            return beside;
        }
        for (place, other) in others {
            if miss <= self.miss || beside.len() + 1 >= most {
                break;
            }
            if other.eta_s <= first.eta_s.saturating_add(self.extra_eta_s) {
                miss *= 1.0 - other.chance;
                beside.push(place);
            }
        }
        beside
    }
}
