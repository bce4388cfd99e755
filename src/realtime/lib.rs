//! The socket of apps: one long-lived WebSocket per phone, JSON text and a compact binary position.
//!
//! Owns the open sockets of this node. Decides nothing about trips or drivers: every message
//! becomes a call of `flows`. What it sends down comes through the rooms of `rooms`.
//!
//! Guarantees:
//! - a message with an id is answered by exactly one `ack` or `error`;
//!   (test: `every_message_with_an_id_is_answered_once`)
//! - whatever a client sends, it costs at most its own socket;
//!   (test: `the_tenth_malformed_message_ends_the_socket`)
//! - no client can make the node wait or remember without bound: `rooms::Lanes`, `limits`;
//! - a position up allocates nothing and builds no JSON tree when it is binary.

mod answer;
mod asyncapi;
mod close;
mod connection;
mod cores;
mod desk;
mod frame;
mod handshake;
mod hub;
mod keyed;
mod limits;
mod listener;
mod live;
mod message;
mod nearby;
mod reader;
mod realtime;
mod session;
#[cfg(test)]
mod tcp_tests;
#[cfg(test)]
mod tests;
mod transport;
mod upgrade;
#[cfg(test)]
mod watcher;
mod websocket;
mod wire;

pub use asyncapi::asyncapi;
pub use hub::SOCKETS_PER_USER;
pub use limits::MessageRate;
pub use listener::tune_socket;
pub use realtime::{Config, Realtime};
pub use upgrade::router;
