//! Payouts against a provider that does as it is told, and a real database.

mod client;
mod database;
mod pursuit;
mod stand;
