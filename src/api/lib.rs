//! REST: translates requests into flows and their answers into envelopes.
//!
//! Owns the routes, who may call them (the role stands in each handler's type), the form of
//! requests and answers, and the limits of the edge: size, time, rate, number at once. Decides
//! nothing of the business.
//!
//! Guarantees:
//! - every answer of a route is an envelope with the request's id, a panic's too;
//! - a body that is not understood as a whole changes nothing;
//! - a request is refused rather than queued when the node is full;
//! - the documents of `schema/` are generated from these types.

mod asked;
mod body;
mod callers;
mod door;
mod edge;
mod envelope;
mod fields;
mod guard;
mod headers;
mod keyed;
mod live_page;
mod node;
mod openapi;
mod policy;
mod reply;
mod routes;
mod shedding;
mod state;

#[cfg(test)]
mod tests;

pub use door::door;
pub use node::operators_router;
pub use openapi::{openapi, refusals};
pub use state::{ApiState, Config, router};
