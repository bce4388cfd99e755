//! Money from and to the world outside: what the gateway is asked, what it says, what becomes of
//! it.
//!
//! Owns the gateway's protocol and client, deposits, and what the gateway told. Does not own
//! balances: every movement is a journal of `ledger`. Tells nobody: who applies news (the flows)
//! tells in the same transaction.
//!
//! Guarantees:
//! - nothing the gateway says is believed before its signature is found right, and what it says is
//!   kept before it is answered;
//! - a deposit is booked once, by exactly the amount and currency that were asked for, and a paid
//!   one never goes back;   (test: `a_payment_makes_a_deposit_paid_once`)
//! - money that belongs to no deposit is kept in suspense, and a person is told;
//! - an amount is read from its digits, never through a float.

mod apply;
mod desk;
mod job;
mod kashier;
mod model;
mod rules;
mod store;
#[cfg(test)]
mod tests;
mod wire;

pub use apply::{Applied, ApplyError, NoticeApplied, Paid};
pub use desk::{DepositLimits, Looked, Payments, PaymentsConfig};
pub use job::{DEPOSIT_LOOK, DEPOSIT_LOOKS, EVERY_MINUTE, LookJob, NoticeJob, PAYMENT_NOTICE};
pub use kashier::{
    CallFailed, Currency, Event, Found, GatewayMode, Kashier, KashierConfig, ListFailed, Listed,
    NotGenuine, Notice, NoticeStatus, Order, Page, PayPage, Reversal, SigningKey, Standing,
    business_day,
};
pub use model::{Claim, Deposit, DepositId, DepositStatus, News, NoReference, Reference};
pub use wire::{DepositOpened, DepositView};
