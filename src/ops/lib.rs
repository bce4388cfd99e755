//! What every running room needs from its node: supervised tasks, health, logs, metrics, circuit
//! breakers.
//!
//! Owns the list of running tasks and the node's phase (starting, serving, draining). Knows nothing
//! of trips or drivers.
//!
//! Guarantees:
//! - a task that panics is logged and counted, and takes nothing else down;
//! - after [`Tasks::stop`] every task has ended or is named in the log;
//! - secrets in log fields are masked.

mod breaker;
mod health;
mod logs;
mod meters;
mod tasks;

pub use breaker::{Breaker, BreakerPolicy, BreakerState, BreakerView, Breakers, CallError};
pub use health::{Dependency, Health, Phase};
pub use logs::{LogFormat, start_logs};
pub use meters::{Meters, process_meters};
pub use tasks::{Stopped, Tasks};
