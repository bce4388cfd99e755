//! How many trips will be asked for, where, in the next quarters of an hour; and which idle drivers
//! might want to know.
//!
//! Owns what was asked for by quarter of an hour and H3 cell, the forecasts made from it, and how
//! far off each of them was. Knows neither trips nor drivers: flows bring what was asked for and
//! who is free, and carry hints to drivers.
//!
//! Guarantees:
//! - a quarter is closed once, whoever closes it and however often
//!   (test: `a_quarter_is_closed_once`);
//! - a forecast is judged by what it said before its quarter began, beside two plain guesses (the
//!   same quarter a week ago, the last quarter); on days that it hasn't seen it is better than both
//!   (test: `on_days_it_has_not_seen_it_beats_both_guesses`);
//! - hints never send more drivers to a place than are missing there
//!   (test: `no_place_gets_more_than_it_lacks`).

mod desk;
mod forecast;
mod hints;
mod quarter;
mod store;
#[cfg(test)]
mod tests;
mod wire;

pub use desk::{Closed, Demand};
pub use hints::{Hint, Idle};
pub use quarter::Quarter;
pub use wire::{AccuracyView, DemandCellView, DemandView, HintView};
