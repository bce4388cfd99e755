//! The words of promo credit: what a code gives, what a rider has.

use base::{
    BasisPoints, CityId, Millis, Piasters, PromoCodeId, PromoCreditId, RiderId, Tier, TripId,
    UserId,
};

/// What one trip gets off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Off {
    Amount(Piasters),
    Share { of_fare: BasisPoints, at_most: Piasters },
}

/// A campaign to be made. Everything in it is already checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewCode {
    pub id: PromoCodeId,
    /// As it is compared: upper case.
    pub code: String,
    pub reason: String,
    pub off: Off,
    pub min_fare: Piasters,
    /// Empty: every tier.
    pub tiers: Vec<Tier>,
    /// Empty: every city.
    pub cities: Vec<CityId>,
    /// Trips that each rider gets it for.
    pub per_rider: u32,
    /// Trips in all; none: no limit.
    pub uses_max: Option<u32>,
    /// Money in all.
    pub budget: Piasters,
    pub valid_from: Millis,
    pub valid_until: Millis,
    pub created_by: UserId,
    pub at: Millis,
}

/// An amount for one rider, to be used up by any of his trips.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewGrant {
    pub id: PromoCreditId,
    pub rider: RiderId,
    pub amount: Piasters,
    pub expires_at: Millis,
    pub reason: String,
    pub granted_by: UserId,
    pub at: Millis,
}

/// Where a credit came from, and what is left of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Grant {
        amount: Piasters,
        left: Piasters,
    },
    Code {
        code: String,
        off: Off,
        min_fare: Piasters,
        tiers: Vec<Tier>,
        cities: Vec<CityId>,
        trips_left: u32,
        /// What the campaign has left.
        budget_left: Piasters,
        /// It was not ended and has trips left.
        open: bool,
        valid_from: Millis,
    },
}

/// A rider's right to something off his trips.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credit {
    pub id: PromoCreditId,
    pub source: Source,
    pub reason: String,
    pub expires_at: Millis,
}

/// A trip as far as promo asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fare {
    pub city: CityId,
    pub tier: Tier,
    pub price: Piasters,
}

/// What became of a trip's promo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The settlement stands in the same commit.
    Spent(TripId),
    /// The trip ended without a fare.
    Freed(TripId),
}
