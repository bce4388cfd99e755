//! Wires the house together and runs it in one of its roles.
//!
//! Owns the order of starting and stopping, and the configuration. Decides nothing of the business.

mod admin;
mod config;
mod database;
mod documents;
mod gateway;
mod keys;
mod listen;
mod payouts;
mod providers;
mod roads;
mod server;
mod speeds;

pub use admin::{AdminCommand, MigrateCommand, run_admin, run_migrate};
pub use config::{DataArgs, LogStyle, Secrets, ServeArgs, Stage, Switch};
pub use database::Database;
pub use documents::{Document, print_document};
pub use roads::RoadsCommand;
pub use server::{Running, Setup, run_server, start};
