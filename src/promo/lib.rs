//! Promo credit: codes that riders redeem, amounts that admins grant, what a trip takes of them.
//!
//! Owns the tables `promo_codes`, `promo_credits` and `promo_uses`. Knows neither trips nor the
//! ledger: a trip reserves its part when it is booked, and its settlement books the expense.
//!
//! Guarantees:
//! - a code gives no more trips and no more money than it has, a credit no more than it holds,
//!   whoever asks at the same time;    (test: `a_budget_is_never_overdrawn_however_many_book`)
//! - what a trip reserved is spent once or given back whole;
//! - a trip gets the most that one of its rider's credits gives.
//!   (test: `the_best_credit_is_taken`)

mod model;
mod rules;
mod store;
#[cfg(test)]
mod tests;
mod wire;

pub use model::{Credit, Ended, Fare, NewCode, NewGrant, Off, Source};
pub use rules::{Offer, Unfit, best, offer};
pub use store::{
    Redeemed, code_disable_in_tx, code_in_tx, code_insert_in_tx, code_open_in_tx, codes,
    credits_in_tx, end_in_tx, grant_in_tx, redeem_in_tx, reserve_in_tx,
};
pub use wire::{PromoCodeView, PromoCodesPage, PromoView, PromosView};
