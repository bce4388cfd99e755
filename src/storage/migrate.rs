//! The schema's versions: applied at start and by `smartline migrate`, under an advisory lock.
//!
//! Every migration is a pair of files. One runs in one transaction together with its bookkeeping,
//! unless its first line is `-- no-transaction` (for `CREATE INDEX CONCURRENTLY`, one statement).
//! An applied file must never change: its checksum is compared at every start.

use std::collections::HashMap;

use base::{Fault, Millis};
use sqlx::migrate::{MigrateError, Migration, MigrationType, Migrator};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection, Executor, SqlSafeStr};

use crate::db::Address;
use crate::fault::{fault, millis};
use crate::tx::{APP, WRITER};

struct File {
    version: i64,
    name: &'static str,
    up: &'static str,
    down: &'static str,
}

macro_rules! file {
    ($version:literal, $name:literal, $stem:literal) => {
        File {
            version: $version,
            name: $name,
            up: include_str!(concat!("../../migrations/", $stem, ".up.sql")),
            down: include_str!(concat!("../../migrations/", $stem, ".down.sql")),
        }
    };
}

/// Every migration, in order. (test: `every_file_is_listed`)
const FILES: &[File] = &[
    file!(1, "schema", "0001_schema"),
    file!(2, "ledger", "0002_ledger"),
    file!(3, "transitions", "0003_transitions"),
    file!(4, "partitions", "0004_partitions"),
    file!(5, "security", "0005_security"),
    file!(6, "login_codes", "0006_login_codes"),
    file!(7, "find_nearby", "0007_find_nearby"),
    file!(8, "events", "0008_events"),
    file!(9, "access", "0009_access"),
    file!(10, "notify", "0010_notify"),
    file!(11, "bells", "0011_bells"),
    file!(12, "ledger", "0012_ledger"),
    file!(13, "payments", "0013_payments"),
    file!(14, "payouts", "0014_payouts"),
    file!(15, "trip_money", "0015_trip_money"),
    file!(16, "books", "0016_books"),
    file!(17, "fraud", "0017_fraud"),
    file!(18, "cards", "0018_cards"),
    file!(19, "due_jobs", "0019_due_jobs"),
    file!(20, "city_rules", "0020_city_rules"),
    file!(21, "strategies", "0021_strategies"),
    file!(22, "bids", "0022_bids"),
    file!(23, "traffic", "0023_traffic"),
    file!(24, "demand", "0024_demand"),
    file!(26, "experiments", "0026_experiments"),
    file!(27, "airport_queue", "0027_airport_queue"),
    file!(28, "shadows", "0028_shadows"),
    file!(29, "scheduled", "0029_scheduled"),
    file!(30, "conduct", "0030_conduct"),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MigrationState {
    Pending,
    Applied {
        at: Millis,
    },
    /// Applied once, but the file is another one now.
    Changed,
    /// Applied by a newer program.
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    pub version: i64,
    pub name: String,
    pub state: MigrationState,
}

/// Brings the schema up to this program's version, and lets `login` become the roles that
/// transactions run as. `owner` must reach the server directly.
pub async fn migrate(owner: &Address, login: &str) -> Result<(), Fault> {
    let mut conn = owner.connect_once().await.map_err(fault)?;
    migrator().run_direct(None, &mut conn, false).await.map_err(explain)?;
    admit(&mut conn, login).await.map_err(fault)?;
    conn.close().await.map_err(fault)
}

/// Takes back every migration above `target`; 0 empties the database.
pub async fn migrate_down(owner: &Address, target: i64) -> Result<(), Fault> {
    let mut conn = owner.connect_once().await.map_err(fault)?;
    migrator().undo(&mut conn, target).await.map_err(explain)?;
    conn.close().await.map_err(fault)
}

/// What is applied and what is not, by version.
pub async fn migration_status(owner: &Address) -> Result<Vec<MigrationStatus>, Fault> {
    let mut conn = owner.connect_once().await.map_err(fault)?;
    let mut applied = applied(&mut conn).await.map_err(fault)?;
    conn.close().await.map_err(fault)?;
    let mut all: Vec<_> = migrations(MigrationType::ReversibleUp)
        .into_iter()
        .map(|file| {
            let state = match applied.remove(&file.version) {
                None => MigrationState::Pending,
                Some((_, at, checksum)) if *checksum == *file.checksum => {
                    MigrationState::Applied { at }
                }
                Some(_) => MigrationState::Changed,
            };
            MigrationStatus { version: file.version, name: file.description.into_owned(), state }
        })
        .collect();
    all.extend(applied.into_iter().map(|(version, (name, ..))| MigrationStatus {
        version,
        name,
        state: MigrationState::Unknown,
    }));
    all.sort_by_key(|status| status.version);
    Ok(all)
}

type Applied = HashMap<i64, (String, Millis, Vec<u8>)>;

async fn applied(conn: &mut PgConnection) -> Result<Applied, sqlx::Error> {
    let table: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *conn)
        .await?;
    if !table {
        return Ok(HashMap::new());
    }
    let rows: Vec<(i64, String, jiff_sqlx::Timestamp, Vec<u8>)> =
        sqlx::query_as("SELECT version, description, installed_on, checksum FROM _sqlx_migrations")
            .fetch_all(conn)
            .await?;
    Ok(rows.into_iter().map(|(v, name, at, sum)| (v, (name, millis(at), sum))).collect())
}

/// A login that isn't a member yet is made one; whoever may not grant that learns it here and not
/// at the first request.
async fn admit(conn: &mut PgConnection, login: &str) -> Result<(), sqlx::Error> {
    for role in [APP, WRITER] {
        let member: Option<bool> = sqlx::query_scalar(
            "SELECT pg_has_role(oid, $2, 'MEMBER') FROM pg_roles WHERE rolname = $1",
        )
        .bind(login)
        .bind(role)
        .fetch_optional(&mut *conn)
        .await?;
        if member != Some(true) {
            let login = login.replace('"', "\"\"");
            let grant = format!("GRANT {role} TO \"{login}\"");
            conn.execute(AssertSqlSafe(grant)).await?;
        }
    }
    Ok(())
}

fn migrator() -> Migrator {
    let mut all = migrations(MigrationType::ReversibleUp);
    all.extend(migrations(MigrationType::ReversibleDown));
    Migrator::with_migrations(all)
}

fn migrations(kind: MigrationType) -> Vec<Migration> {
    let one = |file: &'static File| {
        let sql = if kind == MigrationType::ReversibleDown { file.down } else { file.up };
        let no_transaction = sql.starts_with("-- no-transaction");
        Migration::new(file.version, file.name.into(), kind, sql.into_sql_str(), no_transaction)
    };
    FILES.iter().map(one).collect()
}

fn explain(error: MigrateError) -> Fault {
    match error {
        MigrateError::Execute(e) => fault(e),
        MigrateError::ExecuteMigration(e, version) => match fault(e) {
            Fault::Unavailable(text) => Fault::Unavailable(text),
            Fault::Unknown(text) | Fault::Internal(text) => {
                Fault::Internal(format!("migration {version}: {text}"))
            }
        },
        other => Fault::internal(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_is_listed() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations");
        let mut found: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| name.strip_suffix(".up.sql").map(str::to_owned))
            .collect();
        found.sort();
        let listed: Vec<String> =
            FILES.iter().map(|file| format!("{:04}_{}", file.version, file.name)).collect();
        assert_eq!(found, listed);
    }
}
