//! Money that drivers take out: asked for, decided, paid out, arrived or back again.
//!
//! Owns withdrawals, the form of the accounts they go to, and the line to whoever pays them out.
//! Without a provider an approved one waits for an operator who pays by hand and says so.
//!
//! Guarantees:
//! - a step of a withdrawal and its posting are one commit, and the database looks that they agree;
//! - a driver has one open withdrawal at most;
//! - a payout is sent under one reference only, and asked about before it is sent again;
//!   (test: `a_lost_answer_is_looked_up_before_anything_is_sent`)
//! - an account's number is shown whole to whoever pays it out by hand, and to nobody else.

mod account;
mod client;
mod desk;
mod job;
mod model;
mod provider;
mod rules;
mod store;
#[cfg(test)]
mod tests;
mod wire;

pub use account::{NotAnAccount, PayoutAccount, PayoutMethod};
pub use client::PayoutProviderConfig;
pub use desk::{
    AdvanceError, Advanced, Asked, NewWithdrawal, Payouts, PayoutsConfig, Pursued, With,
};
pub use job::{PAYOUT, PAYOUT_LOOKS, PAYOUTS_EVERY_MINUTE, PayoutJob};
pub use model::{
    PayoutChannel, WithdrawLimits, Withdrawal, WithdrawalFilter, WithdrawalId, WithdrawalStatus,
};
pub use provider::{Asking, PayoutOrder, PayoutProvider, PayoutStanding, PayoutState};
pub use rules::{Act, Refused};
pub use wire::{WithdrawalView, WithdrawalsPage};
