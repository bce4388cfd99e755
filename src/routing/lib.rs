//! How far and how long: the way between places.
//!
//! Owns the models that answer it. Knows no trip and no price. Four models: the roads of a city
//! (a contraction hierarchy over an OpenStreetMap extract); an OSRM server, where there is one;
//! where a scenario brings one, a table of measured mean speeds by zone pair and quarter-hour; and
//! air distance times a detour at a default speed. All but the engine are arithmetic in memory; its
//! answers are kept by pair of places. Over all of them lies what trips taught of traffic.
//!
//! Guarantees:
//! - every question gets an answer: what one model doesn't know the next one answers, and the last
//!   one knows everything; an engine that fails costs a bounded time, then none;
//! - a stop never makes a way shorter (test: `a_stop_never_shortens_a_way`).

mod engine;
mod osrm;
mod roads;
mod router;
mod speeds;
#[cfg(test)]
mod tests;
mod traffic;
mod zones;

pub use base::{Route, RouteSource};
pub use osrm::Osrm;
pub use roads::{NoRoad, RoadGraph, RoadRoute, RoadsError};
pub use router::Router;
pub use speeds::{SpeedTable, SpeedTableError};
pub use traffic::{Drive, Traffic, learn_in_tx};
pub use zones::ZoneShape;
