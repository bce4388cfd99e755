//! The books against a real PostgreSQL with real postings in it.

mod days;
mod faults;
mod findings;
mod plans;
mod reports;
mod stand;
mod statements;
