//! Amounts that riders let the gateway reserve on their cards, each for one trip.
//!
//! Owns each authorisation from the gateway's page to its last word: captured, let go, or fallen by
//! the bank's time. Does not know what a trip costs: who ends the trip says what is to be taken.
//! No card and no token of one is ever here.
//!
//! Guarantees:
//! - what a notice says of a card is a reason to look, never evidence: its event is not signed;
//! - an authorisation pays for one trip and is captured once; the gateway is asked only by who
//!   noted that it will be, in a commit before the call, and never again once an answer is lost;
//!   (test: `a_capture_is_asked_for_once_whatever_becomes_of_the_answer`)
//! - money that the gateway took and that no trip waits for is the rider's: it goes to his wallet.

mod desk;
mod job;
mod model;
mod rules;
mod store;
mod wire;

pub use desk::{CardLimits, CardLooked};
pub(crate) use job::card as look_at;
pub use job::{CARD, CARD_LOOKS, CARDS_EVERY_MINUTE, CardJob};
pub use model::{CardAuthorisation, CardId, CardReference, CardStatus};
pub use rules::{CardWord, Outcome as CardOutcome};
pub use wire::{CardMoved, CardOpened, CardView};
