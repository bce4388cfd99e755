//! The seam to whoever pays withdrawals out.

use std::future::Future;
use std::pin::Pin;

use base::Piasters;

use super::account::PayoutAccount;
use crate::kashier::CallFailed;

/// What is to be paid out.
#[derive(Clone, Debug)]
pub struct PayoutOrder<'a> {
    /// The provider takes each reference once, and answers a repeated one with what it has.
    pub reference: &'a str,
    pub amount: Piasters,
    pub account: &'a PayoutAccount,
}

/// How a payout stands at the provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayoutStanding {
    /// On its way.
    Pending,
    Paid,
    /// It came back, or could not be sent.
    Failed,
}

/// A payout as the provider has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayoutState {
    /// The provider's name for it.
    pub id: String,
    pub standing: PayoutStanding,
    pub amount: Piasters,
    /// What the bank calls the transfer, once it has.
    pub bank_reference: Option<String>,
    /// Why it failed.
    pub reason: Option<String>,
}

/// The future of a question to a provider.
pub type Asking<'a, T> = Pin<Box<dyn Future<Output = Result<T, CallFailed>> + Send + 'a>>;

/// Pays out. Each call is made once; what may be repeated, and when, its caller knows.
pub trait PayoutProvider: Send + Sync {
    fn send<'a>(&'a self, order: &'a PayoutOrder<'a>) -> Asking<'a, PayoutState>;

    /// `None` when it knows none under this reference.
    fn look_up<'a>(&'a self, reference: &'a str) -> Asking<'a, Option<PayoutState>>;

    /// Is `signature` the provider's own under `body`?
    fn is_genuine(&self, body: &[u8], signature: &str) -> bool;
}
