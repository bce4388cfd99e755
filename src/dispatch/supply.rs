//! How far a search may reach for a driver: far while drivers are plenty, near while they are
//! short, and farther the longer it waits.
//!
//! A driver who crosses the city for one rider is missed by two others: in a shortage long pickups
//! eat the hours that trips need (Castillo, Knoepfle and Weyl, "Surge pricing solves the wild goose
//! chase", 2017). A cap on the pickup time prevents that; a cap that grows with the wait keeps it
//! from starving anybody.

use std::collections::HashMap;

use base::DriverId;
use serde::{Deserialize, Serialize};

/// The wait widens the cap by no more than this, seconds: as far as the widest ring reaches, so
/// that a rider whose driver gave him back late outbids the others and not the whole town.
const WIDEST_S: f64 = 1_800.0;

/// The numbers of the cap.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Supply {
    /// Longest pickup when there is nobody to spare, seconds.
    pub short_s: f64,
    /// Longest pickup when drivers are plenty, seconds.
    pub ample_s: f64,
    /// Idle drivers per waiting rider from which on they are plenty.
    pub ample: f64,
    /// Seconds that the cap grows by for each second a search has waited.
    pub growth: f64,
}

impl Supply {
    /// Longest pickup, seconds, for a search with so many idle drivers to itself.
    pub fn reach_s(&self, share: f64, waited_s: f64) -> f64 {
        let plenty = if share.is_nan() { 0.0 } else { (share / self.ample).clamp(0.0, 1.0) };
        let wider_s = (self.growth * waited_s).clamp(0.0, WIDEST_S);
        self.short_s + (self.ample_s - self.short_s) * plenty + wider_s
    }
}

/// Idle drivers per waiting rider, as each search sees it: a driver whom `n` searches could have is
/// an `n`th of a driver to each of them. Near a stadium this is small while it is large across the
/// town, which one number per city would hide.
pub(crate) fn shares(candidates: &[Vec<DriverId>]) -> Vec<f64> {
    let mut wanted: HashMap<DriverId, u32> = HashMap::new();
    for driver in candidates.iter().flatten() {
        *wanted.entry(*driver).or_default() += 1;
    }
    let part = |driver: &DriverId| 1.0 / f64::from(wanted.get(driver).copied().unwrap_or(1));
    candidates.iter().map(|of_one| of_one.iter().map(part).sum()).collect()
}
