//! Third parties played on this machine, for tests and for the demo: they check what they receive,
//! and misbehave on command.
//!
//! Knows nothing of the house: what is signed and how is written here a second time, from the same
//! documents, so that a mistake on either side shows.

#![expect(clippy::panic, reason = "a test that asks for what is not there can not go on")]

mod bank;
mod gateway;
mod http;
mod page;
mod plays;
mod signing;

pub use bank::{Bank, Payout};
pub use gateway::{Credentials, Gateway, Payment, Told};
pub use plays::Play;
pub use signing::{canonical, sign};
