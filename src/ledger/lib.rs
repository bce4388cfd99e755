//! Money: accounts, balanced journals, the rules that make them, the tables that keep them.
//!
//! Owns what a step of a trip costs whom, and every write of the ledger's tables. Does not know
//! when a step happens (trips) nor who may ask for it (flows). Money never changes in memory first.
//!
//! Guarantees:
//! - a journal sums to zero, in the rules and again in the database;
//! - a journal's key posts once; the same key with another body is refused;
//! - rider balances are never negative, whatever the mode of posting;
//! - entries never change; a wallet's balance is the sum of its entries, always.

mod actor;
mod checks;
mod closing;
mod lines;
mod model;
mod rules;
mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;
mod wire;

pub use actor::Ledger;
pub use checks::check_invariants;
pub use closing::{roll_up, seal_day_in_tx, seal_days, system_balances};
pub use lines::{TripLine, trip_lines};
pub use model::{
    Account, Finding, Journal, Kind, Leg, Mode, PostError, Posted, Repeat, RiderFunds, TripPaid,
};
pub use rules::{
    Burden, CancelFee, CashTaken, Debtor, Insufficient, OverDueLimit, PaymentFailed, Refund,
    RefundTo, Resolution, Settlement, Shares, TripMoney, Wallet, WithdrawStep, adjustment,
    captured, cash_difference, decide, deposit, deposit_refund, deposit_refund_failed,
    fee_captured, gateway_settled, hold_for, hold_journal, is_covered, pay_due, raise_hold, refund,
    shares, suspense, suspense_resolved, tip, withdrawal, write_off,
};
pub use store::{
    lock_funds_in_tx, pay_due_in_tx, post_batch_in_tx, post_in_tx, posted_in_tx, transactions,
    trip_paid_in_tx, wallet,
};
pub use wire::{AdjustmentView, TransactionView, TransactionsPage, WalletFact, WalletView};
