//! The room against a gateway that stands in for the real one, and a real database.

mod calls;
mod lookups;
mod stand;
