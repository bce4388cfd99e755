//! Deposits that go back to the card they came from.
//!
//! Owns each refund from the posting that takes it off the wallet to the gateway's last word. The
//! gateway is asked once: it knows no idempotency key, so a lost answer is settled by a notice, a
//! look, or an operator, and never by asking again.
//!
//! Guarantees:
//! - the money leaves the wallet before the gateway is asked, and comes back once if that says no,
//!   at once or later;
//! - one refund of a deposit at a time, and together no more than was paid;
//! - the gateway is asked only by who noted that it will be, in a commit before the call.
//!   (test: `a_refund_is_asked_for_once_whatever_becomes_of_the_answer`)

mod desk;
mod job;
mod model;
mod rules;
mod store;
mod wire;

pub use desk::RefundMoved;
pub(crate) use desk::{Told, told_in_tx};
pub use job::{REFUND, REFUND_LOOKS, REFUNDS_EVERY_MINUTE, RefundJob};
pub use model::{CardRefund, RefundId, RefundStatus};
pub use rules::RefundWord;
pub use wire::{RefundView, RefundsPage};
