//! Storage against a real PostgreSQL.

mod cluster;
mod schema;
mod security;
mod session;
