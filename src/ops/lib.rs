//! What every running room needs from its node: supervised tasks, health, logs, metrics, rate
//! limits, and calls to third parties with the circuit breakers before them.
//!
//! Owns the list of running tasks and the node's phase (starting, serving, draining). Knows nothing
//! of trips or drivers.
//!
//! Guarantees:
//! - a task that panics is logged and counted, and takes nothing else down;
//! - after [`Tasks::stop`] every task has ended or is named in the log;
//! - secrets in log fields are masked.

mod breaker;
mod calls;
mod health;
mod limiter;
mod logs;
mod meters;
mod tasks;

pub use breaker::{Breaker, BreakerPolicy, BreakerState, BreakerView, Breakers, CallError};
pub use calls::{Answer, NoAnswer, exchange, http_client};
pub use health::{Dependency, Health, Phase};
pub use limiter::{
    By, Counted, Crowd, Limit, Limiter, Penalty, Rate, RateLimits, Rates, Seat, SharedCounts,
    Tarpit, Verdict, WrongRates, client_address, limited,
};
pub use logs::{LogFormat, start_logs};
pub use meters::{Meters, process_meters};
pub use tasks::{Stopped, Tasks};
