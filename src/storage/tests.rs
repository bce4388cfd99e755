//! Storage against a real PostgreSQL.

mod cluster;
mod find_nearby;
mod schema;
mod security;
mod session;
