//! How far and how long: the way between places.
//!
//! Owns the models that answer it. Knows no trip and no price. Two models so far: air distance
//! times a detour at a default speed, and, where a scenario brings one, a table of measured mean
//! speeds by zone pair and quarter-hour. Both are arithmetic on a few numbers: nothing is cached.
//!
//! Guarantees:
//! - every question gets an answer; a place outside the table falls back to the default speed;
//! - a stop never makes a way shorter (test: `a_stop_never_shortens_a_way`).

mod router;
mod speeds;
#[cfg(test)]
mod tests;
mod zones;

pub use base::{Route, RouteSource};
pub use router::Router;
pub use speeds::{SpeedTable, SpeedTableError};
pub use zones::ZoneShape;
