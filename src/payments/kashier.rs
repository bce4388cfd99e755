//! Kashier: what is signed and how, what its notices say, and what it is asked.
//!
//! One key, the Payment API key, signs everything: the address of a hosted page, the query that the
//! rider's browser comes back with, and the notices. What the browser brings is for display: it is
//! never evidence of a payment.
//!
//! Guarantees:
//! - signatures are those of Kashier's own code      (tests: the vectors, made with its libraries);
//! - a notice whose signature doesn't cover order, transaction, status, amount and currency is
//!   refused, whatever else is right: the list of what is signed travels with the notice;
//! - what is read from a notice is read from the very members that were verified.

mod canonical;
mod client;
mod listing;
mod notice;
mod replies;
mod sign;

#[cfg(test)]
mod tests;

pub(crate) use client::call;
pub use client::{CallFailed, GatewayMode, Intent, Kashier, KashierConfig, Order, Page, PayPage};
pub use listing::{ListFailed, Listed};
pub use notice::{Event, NotGenuine, Notice, NoticeStatus};
pub use replies::{Found, Hold, HoldStanding, Reversal, Standing};
pub use sign::SigningKey;

use base::Piasters;
use serde_json::value::RawValue;

base::words! {
    /// A currency that the gateway settles in.
    Currency {
        Egp = "EGP",
    }
}

/// An amount as the gateway takes it: pounds with two decimals, `150.50`.
pub(crate) fn amount_text(amount: Piasters) -> String {
    let sign = if amount.is_negative() { "-" } else { "" };
    let piasters = amount.0.unsigned_abs();
    format!("{sign}{}.{:02}", piasters / 100, piasters % 100)
}

/// Reads an amount from its digits, which stand bare or as a text.
pub(crate) fn amount_of(raw: &RawValue) -> Option<Piasters> {
    Piasters::parse(raw.get().trim_matches('"')).ok()
}
