//! The books are kept: every day is compared with itself and with the world outside, added up for
//! reports, and shown to people as statements.
//!
//! Owns what reconciliation found and the roll-ups of closed days. Moves no money and mends
//! nothing: what it finds, a person resolves. Reads the tables of trips, ledger, deposits and
//! withdrawals; knows no gateway: what it lists is handed in.
//!
//! Guarantees:
//! - a fault that is found again is the finding it was;   (test: `the_same_fault_is_one_finding`)
//! - a look at a day reads that day by indexes, one statement at a time, each with an end, on
//!   connections that nobody else needs;   (test: `looks_at_a_day_use_its_indexes`)
//! - a statement adds up to the ledger's balance, or is not given.

mod reconcile;
mod reports;
mod statements;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use base::{BusinessDay, Clock};
use storage::Db;

pub use reconcile::{
    AskedBy, Captured, Compared, Discrepancy, FindingFilter, FindingKind, FindingStatus,
    FindingView, FindingsPage, GatewaySide, OpenFindings, PaidDeposit, PaidKind, Resolution,
    RunView, RunsPage,
};
pub use reports::{CompanyDay, DailyReport, ReportAsked, TripDay};
pub use statements::{DriverTotals, KindTotal, Standing, StatementLine, StatementView};

/// Cheap to clone.
#[derive(Clone)]
pub struct Books(Arc<Inner>);

struct Inner {
    db: Db,
    /// A pool of its own for what takes long, so that it can't hold up those who ask for a ride.
    slow: Db,
    clock: Clock,
}

impl Books {
    /// `slow` leads to the same database, by few connections and with a longer time-out.
    pub fn new(db: Db, slow: Db, clock: Clock) -> Self {
        Self(Arc::new(Inner { db, slow, clock }))
    }

    /// The day it is now.
    pub fn today(&self) -> BusinessDay {
        BusinessDay::of(self.0.clock.now())
    }
}
