//! Finds the private cluster that another process of this program runs: operators' commands work
//! beside a running server.

use std::path::Path;

use sqlx::postgres::{PgConnectOptions, PgSslMode};

use crate::cluster::{Cluster, DATABASE, LOGIN, OWNER};
use crate::db::Address;
use crate::home::ClusterError;

/// Line of `postmaster.pid` that names the directory of the socket (PostgreSQL's miscadmin.h).
const SOCKET_LINE: usize = 4;

impl Cluster {
    /// The addresses (as the pools log in, as the owner) of the cluster that runs in `dir`.
    pub fn reach(dir: &Path) -> Result<(Address, Address), ClusterError> {
        let path = dir.join("pg").join("cluster").join("postmaster.pid");
        let text = std::fs::read_to_string(&path).map_err(ClusterError::files("read", &path))?;
        let socket = text.lines().nth(SOCKET_LINE).unwrap_or_default().trim();
        if socket.is_empty() {
            return Err(ClusterError::Start("it is being started by another program".to_owned()));
        }
        let at = |user: &str| {
            let options = PgConnectOptions::new_without_pgpass()
                .socket(socket)
                .port(5432)
                .ssl_mode(PgSslMode::Disable)
                .username(user)
                .database(DATABASE);
            Address::new(options)
        };
        Ok((at(LOGIN), at(OWNER)))
    }
}
