//! The room against a gateway that stands in for the real one, and a real database.

mod calls;
mod holds;
mod lookups;
mod stand;
