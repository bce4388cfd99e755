//! Money from and to the world outside: what the gateway is asked, what it says, what becomes of
//! it.
//!
//! Owns the gateway's protocol and client. Does not own balances: every movement is a journal of
//! `ledger`.
//!
//! Guarantees:
//! - nothing the gateway says is believed before its signature is found right;
//! - an amount is read from its digits, never through a float.

mod kashier;

pub use kashier::{Currency, Event, NotGenuine, Notice, NoticeStatus, SigningKey};
