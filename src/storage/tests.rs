//! Storage against a real PostgreSQL.

mod bells;
mod cluster;
mod find_nearby;
mod schema;
mod security;
mod session;
