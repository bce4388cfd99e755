//! What joins the nodes of a deployment.
//!
//! Owns the connection to Redis; no other room knows it. So far nodes share the counts of their
//! rate limits there.
//!
//! Guarantees:
//! - Redis holds nothing that can't be rebuilt, and nothing without an end;
//! - nobody waits for a Redis that doesn't answer: a circuit breaker stands before it, and who asks
//!   goes on with what his own node knows.

mod redis;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

pub use redis::Redis;
