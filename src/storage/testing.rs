//! A real PostgreSQL for tests: one throw-away cluster per test process, a fresh migrated database
//! per call.
//!
//! The cluster ends with the process; its files are removed by the next test process that starts.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use base::{Clock, Millis};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tokio::sync::OnceCell;

use crate::cluster::{Cluster, ClusterOptions, Durability};
use crate::db::{Address, Db, PoolLimits, connect};
use crate::home::Home;
use crate::migrate::migrate;

const PREFIX: &str = "smartline-test-";
/// A directory younger than this may belong to a process that is just starting.
const LEFT_BEHIND: Duration = Duration::from_secs(120);

static CLUSTER: OnceCell<Cluster> = OnceCell::const_new();
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A fresh database with the whole schema and nothing in it, reached as the program reaches its
/// own: with a login that owns nothing.
pub async fn database() -> Db {
    let address = empty_copy("template_smartline").await.0;
    let acquire = Duration::from_secs(30);
    let limits = PoolLimits { min: 0, max: 10, background: 10, acquire, ..PoolLimits::default() };
    connect(&address, &limits).await.expect("a database that was just made answers")
}

/// The same database through pools of its own, as another process would have them.
pub async fn another(db: &Db) -> Db {
    let acquire = Duration::from_secs(30);
    let limits = PoolLimits { min: 0, max: 10, background: 10, acquire, ..PoolLimits::default() };
    connect(db.address(), &limits).await.expect("a test database answers")
}

/// A connection to the same database as its owner, to whom no policy applies: for preparing and for
/// looking at what the program itself may not see.
pub async fn owner(db: &Db) -> PgConnection {
    let address = owner_address(db).await;
    address.connect_once().await.expect("the cluster runs as long as the tests")
}

/// One connection outside the pools, to a server that may be away.
pub async fn connect_once(address: &Address) -> Result<PgConnection, sqlx::Error> {
    address.connect_once().await
}

/// Where the owner of this database logs in.
pub async fn owner_address(db: &Db) -> Address {
    let name = db.address().database().expect("test databases are named");
    cluster().await.owner().with_database(name)
}

/// The database as a program of its own is told of it: as it logs in, and as its owner does.
pub async fn urls(db: &Db) -> (String, String) {
    (url(db.address()), url(&owner_address(db).await))
}

/// An address as a program of its own is told of it.
pub fn url(address: &Address) -> String {
    ConnectOptions::to_url_lossy(&address.options).to_string()
}

/// A new database copied from `template`: its address for the program and for the owner.
pub(crate) async fn empty_copy(template: &str) -> (Address, Address) {
    let cluster = cluster().await;
    let name = format!("test_{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let sql = format!("CREATE DATABASE {name} TEMPLATE {template}");
    run(&cluster.owner().with_database("postgres"), sql).await;
    (cluster.address().with_database(&name), cluster.owner().with_database(&name))
}

async fn cluster() -> &'static Cluster {
    CLUSTER
        .get_or_init(|| async {
            sweep();
            let dir = tempfile::Builder::new().prefix(PREFIX).tempdir().expect("a place for tests");
            let dir = dir.keep();
            open_to_all(&dir);
            let options = ClusterOptions {
                durability: Durability::Throwaway,
                connections: 300,
                ..ClusterOptions::new(dir)
            };
            let cluster = Cluster::start(&options).await.expect("tests need PostgreSQL");
            let admin = cluster.owner().with_database("postgres");
            run(&admin, "CREATE DATABASE template_smartline".to_owned()).await;
            let owner = cluster.owner().with_database("template_smartline");
            migrate(&owner, cluster.address().login()).await.expect("the migrations apply");
            cluster
        })
        .await
}

async fn run(address: &Address, sql: String) {
    let mut conn = address.connect_once().await.expect("the cluster answers");
    conn.execute(AssertSqlSafe(sql)).await.expect("the owner may do that");
    conn.close().await.expect("the cluster answers");
}

/// As root the server runs as another user, who must be able to pass.
pub(crate) fn open_to_all(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o711);
    std::fs::set_permissions(dir, mode).expect("we just made it");
}

/// Removes the directories of test processes that are gone: their lock is free.
fn sweep() {
    let probe = tempfile::Builder::new().prefix(PREFIX).tempdir().expect("a place for tests");
    let folder = probe.path().parent().expect("it was made in a folder");
    let now = Clock::system().now();
    for entry in std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let named = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if named && made(&entry).is_some_and(|at| now.after(at) > LEFT_BEHIND) {
            // Whoever holds the lock still lives; so does one that is removed at the same time.
            if Home::open(&entry.path()).is_ok() {
                let _busy = std::fs::remove_dir_all(entry.path());
            }
        }
    }
}

fn made(entry: &std::fs::DirEntry) -> Option<Millis> {
    let at = entry.metadata().ok()?.modified().ok()?;
    let since = at.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(Millis(i64::try_from(since.as_millis()).ok()?))
}
