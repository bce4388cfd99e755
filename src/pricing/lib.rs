//! What a trip costs: tariffs, times of day, surge, and quotes that are a promise.
//!
//! Owns the price rules and the surge of each zone, in memory; tariffs are read from the database
//! and replaced whole. Does not find the way (the caller passes a [`base::Route`]) nor move money.
//!
//! Guarantees:
//! - a price is worked out in whole numbers and rounded once, to half pounds;
//! - a quote can't be forged or altered, and its price is the trip's price;
//! - surge never passes three times, rises and falls in steps, and stays at least five minutes.

mod calendar;
mod desk;
mod quote;
mod store;
mod surge;
mod tariff;
#[cfg(test)]
mod tests;
mod wire;

pub use desk::{Ask, Booking, Pricing, PricingError};
pub use quote::{Quote, QuoteKey, QuoteRefused};
pub use wire::{
    Breakdown, Estimate, EstimatePromo, EstimateReply, EtaMinutes, PriceRange, QuoteView,
};
pub use wire::{RouteView, SurgeLevel, SurgeZone};
