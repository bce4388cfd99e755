//! What prices do to people: experiments measured, and how prices, surge and earnings went.
//!
//! Owns what is counted of shown prices and of surge, written behind (class B: a crash loses the
//! counts of a few seconds), and what is worked out of it. Reads trips and experiments; changes no
//! price and moves no money.
//!
//! Guarantees:
//! - a rider counts once in an experiment, however often he asks or books, under one variant
//!   (test: `a_rider_counts_once`);
//! - counts that are written twice are counted once (test: `counts_written_twice_count_once`);
//! - intervals are those of the books (tests of `stats`, against figures made elsewhere);
//! - reports read a bounded time by indexes, on connections that nobody else needs
//!   (test: `reports_use_their_indexes`).

mod counted;
mod desk;
mod report;
mod results;
mod stats;
mod store;
#[cfg(test)]
mod tests;

pub use desk::{Analytics, REPORT_DAYS_MAX};
pub use report::{
    AcceptanceLine, EarningsLine, PriceLine, PriceReport, ReportAsked, SurgeLine, ZoneLine,
};
pub use results::{
    AgainstControl, ExperimentResults, Interval, MeanDifference, MeanView, RateDifference,
    RateView, VariantResults,
};
