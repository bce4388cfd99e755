//! PostgreSQL for every room: where it runs, how it is reached, who may see what.
//!
//! Owns the private cluster, the pools, the transactions with their row-level-security session,
//! the migrations, the write-behind writer and the partitions of history. Knows no table's meaning:
//! rooms write their own SQL in their `store.rs`, inside a [`Tx`].
//!
//! Guarantees:
//! - a [`Tx`] runs as `smartline_app` or `smartline_writer`, never as owner, and carries its caller
//!   to the policies; the connection's next user sees nothing of it;  (test: `no_caller_leaks`)
//! - a commit that returns `Ok` is on disk; one whose result is unknown says
//!   [`base::Fault::Unknown`]; a transaction that failed midway can't be committed by mistake;
//!   (test: `a_transaction_that_failed_midway_is_never_reported_as_committed`)
//! - connections that died at rest, as all do when the server is restarted, are nobody's trouble;
//!   (test: `connections_that_died_at_rest_are_nobodys_trouble`)
//! - the private cluster survives `kill -9` of itself and of the program;  (tests: `cluster`)
//! - a full write-behind ring drops its oldest item and counts it, it never blocks or grows.
//!   (test: `a_full_ring_loses_the_oldest_while_the_database_is_away`)

mod background;
mod behind;
mod bells;
mod binaries;
mod cluster;
mod db;
mod fault;
mod home;
mod keeper;
mod listen;
mod migrate;
mod partitions;
mod reach;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tx;

#[cfg(test)]
mod tests;

pub use background::in_background;
pub use behind::{Behind, BehindLimits};
pub use bells::Ring;
pub use cluster::{Cluster, ClusterOptions, Durability};
pub use db::{Address, Db, PoolLimits, Via, connect};
pub use fault::{at, before, breaks, fault, millis, raised};
pub use home::ClusterError;
pub use listen::listen;
pub use migrate::{MigrationState, MigrationStatus, migrate, migrate_down, migration_status};
pub use partitions::{
    HISTORY_DAYS, PartitionChanges, SNAPSHOT_DAYS, keep_partitions, partitions, snapshot_partitions,
};
pub use tx::{Tx, Who};
