//! What a trip costs: tariffs, times of day, surge, and quotes that are a promise.
//!
//! Owns the price rules and the surge of each zone, in memory; tariffs are read from the database
//! and replaced whole. Does not find the way (the caller passes a [`base::Route`]) nor move money.
//!
//! Guarantees:
//! - a price is worked out in whole numbers and rounded once, to half pounds;
//! - a quote can't be forged or altered, and its price is the trip's price;
//! - surge never passes three times, rises and falls in steps, and stays at least five minutes;
//! - what operators change of the prices is in force, on this node, when they have their answer;
//! - a rider in an experiment sees the prices of one variant as long as it lasts, and his quote
//!   says which.

mod calendar;
mod desk;
mod experiments;
mod quote;
mod rulebook;
mod store;
mod surge;
mod tariff;
#[cfg(test)]
mod tests;
mod wire;

pub use desk::{Ask, Asker, Booking, Pricing, PricingError, Shown};
pub use experiments::{
    Arm, DISCOUNT_MAX, ExperimentView, ExperimentsPage, NewExperiment, RATE_FACTORS, Twist,
    VARIANTS_MAX, Variant, VariantView, WEIGHT_MAX, experiment_add_in_tx, experiment_end_in_tx,
    experiment_in_tx, experiment_lock_in_tx, experiments_in_tx,
};
pub use quote::{Quote, QuoteKey, QuoteRefused};
pub use rulebook::{
    ChangeSubject, ChangeView, ChangesPage, EventView, EventsPage, HoursView, NewEvent, NewHours,
    NewTariff, RULES, TariffView, Withdrawn, changes_in_tx, event_add_in_tx, event_approve_in_tx,
    event_end_in_tx, event_in_tx, event_lock_in_tx, events_in_tx, hours_add_in_tx, hours_end_in_tx,
    hours_in_tx, hours_of_city_in_tx, tariff_in_tx, tariff_schedule_in_tx, tariff_withdraw_in_tx,
    tariffs_of_city_in_tx,
};
pub use tariff::Factor;
pub use wire::{
    Breakdown, Estimate, EstimatePromo, EstimateReply, EtaMinutes, PriceRange, PriceReason,
    QuoteView,
};
pub use wire::{ReasonKind, RouteView, SurgeLevel, SurgeZone};
