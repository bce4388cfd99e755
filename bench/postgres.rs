//! A private PostgreSQL of our own with the product's schema, started as the product starts its
//! own, and people to put into it.
//!
//! Everything lies in a temporary directory and is removed at the end.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use base::{Clock, DriverId, UserId};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor, PgConnection};
use storage::{Cluster, ClusterOptions, Db, Durability, PoolLimits};
use tempfile::TempDir;

use crate::cpu::{self, Cpu};

pub(crate) struct Postgres {
    cluster: Cluster,
    /// As the product reaches it.
    pub db: Db,
    login: PgConnectOptions,
    pid: u32,
    home: TempDir,
}

impl Postgres {
    pub async fn start(durability: Durability) -> anyhow::Result<Self> {
        let home = tempfile::Builder::new().prefix("smartline-bench-").tempdir()?;
        // As root the server runs as another user, who must be able to pass.
        std::fs::set_permissions(home.path(), PermissionsExt::from_mode(0o711))?;
        let others = servers();
        // Rivals have a connection for each of their clients, beside ours.
        let connections = 200;
        let options =
            ClusterOptions { durability, connections, ..ClusterOptions::new(home.path()) };
        let cluster = Cluster::start(&options).await?;
        let [pid] =
            servers().into_iter().filter(|pid| !others.contains(pid)).collect::<Vec<_>>()[..]
        else {
            bail!("PostgreSQL's process can't be told from others");
        };
        storage::migrate(&cluster.owner(), cluster.address().login()).await?;
        // Batches of history may take their time on a busy machine.
        let limits = PoolLimits { acquire: Duration::from_secs(60), ..PoolLimits::default() };
        let db = storage::connect(&cluster.address(), &limits).await?;
        storage::partitions(&db, Clock::system().now(), storage::HISTORY_DAYS).await?;
        let login = login(home.path());
        Ok(Self { cluster, db, login, pid, home })
    }

    /// A connection as the owner, to whom no policy applies: for whoever does without the
    /// product's roles, and for making people.
    pub async fn owner(&self) -> anyhow::Result<PgConnection> {
        let whose = || format!("the server in {} can't be reached", self.home.path().display());
        PgConnection::connect_with(&self.login).await.with_context(whose)
    }

    /// CPU time of the server and its workers.
    pub fn cpu(&self) -> anyhow::Result<Duration> {
        Cpu::tree(self.pid)
    }

    /// Version and what it promises about a power cut.
    pub async fn describe(&self) -> anyhow::Result<String> {
        let text = "SELECT 'PostgreSQL ' || current_setting('server_version') || ', fsync ' ||
                    current_setting('fsync') || ', synchronous_commit ' ||
                    current_setting('synchronous_commit')";
        Ok(sqlx::query_scalar(text).fetch_one(&mut self.owner().await?).await?)
    }

    /// Approved drivers who want to be online, with car and papers: 1 to `count`.
    pub async fn add_drivers(&self, count: usize) -> anyhow::Result<Vec<DriverId>> {
        let drivers = self.add_users("driver", 1, count).await?;
        let sql = "
            INSERT INTO drivers (id, status, wants_online)
              SELECT id, 'approved', true FROM users WHERE role = 'driver';
            INSERT INTO vehicles (driver_id, tier, make, model, plate, color, year)
              SELECT id, 'economy', 'Fiat', 'Tipo', 'P ' || row_number() OVER (), 'white', 2021
              FROM drivers;
            INSERT INTO driver_documents (driver_id, kind, number, expires_at)
              SELECT id, kind, '7', now() + interval '30 days'
              FROM drivers, unnest(ARRAY['driving_licence', 'vehicle_licence', 'insurance']) kind;
            ANALYZE";
        self.owner().await?.execute(sql).await?;
        Ok(drivers.into_iter().map(UserId::as_driver).collect())
    }

    /// Accounts with numbers from `from` on.
    pub async fn add_users(
        &self,
        role: &str,
        from: u128,
        count: usize,
    ) -> anyhow::Result<Vec<UserId>> {
        let until = from + count as u128;
        let sql = format!(
            "INSERT INTO users (id, phone, name, role, password_hash)
             SELECT lpad(to_hex(n), 32, '0')::uuid, '+20' || 1000000000 + n, 'A', '{role}', '-'
             FROM generate_series({from}, {until} - 1) n"
        );
        self.owner().await?.execute(AssertSqlSafe(sql)).await?;
        Ok((from..until).map(UserId::from_u128).collect())
    }

    /// Another door to the same database, with so many connections for writers of changes.
    pub async fn writers(&self, connections: usize) -> anyhow::Result<Db> {
        let writers = u32::try_from(connections)?;
        let acquire = Duration::from_secs(60);
        let limits = PoolLimits { writers, min: 1, acquire, ..PoolLimits::default() };
        Ok(storage::connect(&self.cluster.address(), &limits).await?)
    }

    pub async fn stop(self) {
        self.db.close().await;
        self.cluster.stop().await;
    }
}

/// How the owner reaches the private server in a data directory.
pub(crate) fn login(home: &Path) -> PgConnectOptions {
    PgConnectOptions::new_without_pgpass()
        .socket(home.join("pg/run"))
        .ssl_mode(PgSslMode::Disable)
        .username("postgres")
        .database("smartline")
        .disable_statement_logging()
}

/// PostgreSQL servers that this program has started.
fn servers() -> Vec<u32> {
    let named = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|c| c.trim() == "postgres")
    };
    cpu::children(std::process::id()).into_iter().filter(named).collect()
}
