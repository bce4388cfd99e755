//! Experiments with prices: who of a city's riders sees which variant, and what a variant changes.
//!
//! Owns the definition and the drawing of riders. Results are no business of prices: `analytics`
//! measures them.
//!
//! Guarantees:
//! - a rider's variant follows from his id and the experiment's alone: it is the same on every
//!   node, after every start, as long as the experiment lasts (test: `riders_are_drawn_for_ever`);
//! - variants never change and two experiments of a city never overlap: the table refuses both
//!   (migration 0026).

mod store;
#[cfg(test)]
mod tests;
mod wire;

use base::{BasisPoints, CityId, Millis, Piasters, UserId};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::tariff::Factor;

pub(crate) use store::load_in_tx;
pub use store::{
    experiment_add_in_tx, experiment_end_in_tx, experiment_in_tx, experiment_lock_in_tx,
    experiments_in_tx,
};
pub use wire::{ExperimentView, ExperimentsPage, VariantView};

/// What is hashed in front of the ids; another way to draw gets another number.
const DRAWN_BY: &[u8] = b"smartline experiment 1";

/// The control and what is compared with it, at most.
pub const VARIANTS_MAX: usize = 5;
pub const WEIGHT_MAX: u32 = 1000;
/// What a variant may multiply a rate with.
pub const RATE_FACTORS: (Factor, Factor) = (Factor(5_000), Factor(15_000));
/// The most a variant may take off a trip: 100 pounds.
pub const DISCOUNT_MAX: Piasters = Piasters::pounds(100);

/// What a variant changes of a price; the tariff's minimum and three times its fare stay the
/// borders of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Twist {
    pub base: Factor,
    pub per_km: Factor,
    pub per_minute: Factor,
    /// Surge beyond it is not charged.
    pub surge_cap: Factor,
    /// Taken off what the trip costs.
    pub discount: Piasters,
}

impl Twist {
    /// What everybody pays who is in no experiment.
    pub const NONE: Self = Self {
        base: Factor::ONE,
        per_km: Factor::ONE,
        per_minute: Factor::ONE,
        surge_cap: Factor::CAP,
        discount: Piasters::ZERO,
    };
}

/// One of the ways to price that are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variant {
    pub name: String,
    /// Riders are drawn in these proportions.
    pub weight: u32,
    pub twist: Twist,
}

/// What is to be tried in a city; the first variant is the control and changes nothing.
#[derive(Clone, Debug)]
pub struct NewExperiment {
    pub id: Uuid,
    pub city: CityId,
    pub name: String,
    pub starts: Millis,
    pub ends: Millis,
    /// Of the riders; the others are left out and not measured.
    pub share: BasisPoints,
    pub variants: Vec<Variant>,
    pub by: UserId,
    pub at: Millis,
}

/// The variant of an experiment that a rider is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arm {
    pub experiment: Uuid,
    /// Its place in the list, 0 is the control.
    pub variant: u8,
}

/// An experiment as prices need it.
#[derive(Clone, Debug)]
pub(crate) struct Experiment {
    pub id: Uuid,
    pub city: CityId,
    pub starts: Millis,
    pub ends: Millis,
    pub share: BasisPoints,
    pub variants: Vec<Variant>,
}

impl Experiment {
    pub(crate) fn runs(&self, now: Millis) -> bool {
        self.starts <= now && now < self.ends
    }

    /// The variant that the rider is in, if he is in the experiment at all.
    pub(crate) fn draw(&self, rider: UserId) -> Option<(Arm, &Twist)> {
        let [whether, which] = numbers(self.id, rider);
        if below(whether, 10_000) >= self.share.0.unsigned_abs() {
            return None;
        }
        let total = self.variants.iter().map(|variant| u64::from(variant.weight)).sum();
        let mut drawn = below(which, total);
        for (place, variant) in (0_u8..).zip(&self.variants) {
            match drawn.checked_sub(variant.weight.into()) {
                Some(rest) => drawn = rest,
                None => {
                    let arm = Arm { experiment: self.id, variant: place };
                    return Some((arm, &variant.twist));
                }
            }
        }
        None
    }
}

/// Two independent numbers of a rider: the first and the second eight bytes, big-endian, of
/// SHA-256 over `smartline experiment 1`, the experiment's id and the rider's (16 bytes each).
/// Whether he takes part must not say which variant he is in.
fn numbers(experiment: Uuid, rider: UserId) -> [u64; 2] {
    let hash = Sha256::new()
        .chain_update(DRAWN_BY)
        .chain_update(experiment.as_bytes())
        .chain_update(rider.0.as_bytes())
        .finalize();
    let number = |at: usize| {
        hash[at..at + 8].iter().fold(0, |number: u64, byte| number << 8 | u64::from(*byte))
    };
    [number(0), number(8)]
}

/// Brings an even number of 64 bits below `end`, as evenly as that goes: its share of the whole
/// range, which no division by a remainder could favour.
fn below(number: u64, end: u64) -> u64 {
    let scaled = (u128::from(number) * u128::from(end)) >> 64;
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// A variant as the table has it.
#[derive(Serialize, Deserialize)]
struct Stored {
    name: String,
    weight: u32,
    base_bp: u32,
    per_km_bp: u32,
    per_minute_bp: u32,
    surge_cap_bp: u32,
    discount: i64,
}

impl From<&Variant> for Stored {
    fn from(variant: &Variant) -> Self {
        let Variant { name, weight, twist } = variant;
        Self {
            name: name.clone(),
            weight: *weight,
            base_bp: twist.base.0,
            per_km_bp: twist.per_km.0,
            per_minute_bp: twist.per_minute.0,
            surge_cap_bp: twist.surge_cap.0,
            discount: twist.discount.0,
        }
    }
}

impl From<Stored> for Variant {
    fn from(stored: Stored) -> Self {
        let twist = Twist {
            base: Factor(stored.base_bp),
            per_km: Factor(stored.per_km_bp),
            per_minute: Factor(stored.per_minute_bp),
            surge_cap: Factor(stored.surge_cap_bp),
            discount: Piasters(stored.discount),
        };
        Self { name: stored.name, weight: stored.weight, twist }
    }
}
