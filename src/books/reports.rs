//! Daily reports: closed days from roll-ups, today from the tables themselves.

mod keep;
mod model;
pub(crate) mod store;

pub use model::{CompanyDay, DailyReport, ReportAsked, TripDay};
