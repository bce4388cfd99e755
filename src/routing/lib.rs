//! How far and how long: the way between places.
//!
//! Owns the models that answer it. Knows no trip and no price. Three models: the roads of a city
//! (a contraction hierarchy over an OpenStreetMap extract); where a scenario brings one, a table of
//! measured mean speeds by zone pair and quarter-hour; and air distance times a detour at a default
//! speed. All are arithmetic in memory: nothing waits, nothing is cached beyond the last place
//! asked for.
//!
//! Guarantees:
//! - every question gets an answer: what the roads don't know the table answers, and what that
//!   doesn't know the default speed;
//! - a stop never makes a way shorter (test: `a_stop_never_shortens_a_way`).

mod roads;
mod router;
mod speeds;
#[cfg(test)]
mod tests;
mod zones;

pub use base::{Route, RouteSource};
pub use roads::{NoRoad, RoadGraph, RoadRoute, RoadsError};
pub use router::Router;
pub use speeds::{SpeedTable, SpeedTableError};
pub use zones::ZoneShape;
