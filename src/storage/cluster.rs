//! The private PostgreSQL cluster: a server of our own from the machine's PostgreSQL programs.
//!
//! Owns the server process and its directory. Reachable through a Unix socket that only its owner
//! can open, never by TCP.
//!
//! Guarantees:
//! - one program per directory; the second one is refused;
//! - the server never outlives the program, however that ends;
//! - a start finds its way after any crash: nothing of the last run is left in the way.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{Connection, Executor};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use crate::binaries::Binaries;
use crate::db::Address;
use crate::home::{ClusterError, Home};
use crate::keeper::{Keeper, Launch, Run};

/// The superuser, for migrations.
pub(crate) const OWNER: &str = "postgres";
/// The login of the pools: owns nothing, may only become the roles that transactions run as.
pub(crate) const LOGIN: &str = "smartline_node";
pub(crate) const DATABASE: &str = "smartline";

/// Crash recovery replays at most a checkpoint's worth of log; this is far beyond it.
const START_WITHIN: Duration = Duration::from_secs(120);
const POLL: Duration = Duration::from_millis(10);
/// How long a fast shutdown may take before backends are cut off.
const STOP_WITHIN: Duration = Duration::from_secs(20);
const CUT_WITHIN: Duration = Duration::from_secs(5);
const LOG_BYTES_MAX: u64 = 10 * 1024 * 1024;

/// What the cluster promises about a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// What is committed is on disk.
    Full,
    /// For tests: nothing is forced to disk, and the server is cut off when the program dies.
    Throwaway,
}

#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The program's data directory; the cluster lives in `pg` in it.
    pub dir: PathBuf,
    /// The folder of `initdb` and `postgres`; looked for when not given.
    pub binaries: Option<PathBuf>,
    pub durability: Durability,
    /// Connections the server takes.
    pub connections: u16,
}

impl ClusterOptions {
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into(), binaries: None, durability: Durability::Full, connections: 100 }
    }
}

/// A running server. Call [`Cluster::stop`] last of all; a dropped one is told to end as well, but
/// nobody waits for it.
pub struct Cluster {
    keeper: Keeper,
    home: Home,
}

impl Cluster {
    /// Starts the server in its directory, making a new one when there is none.
    pub async fn start(options: &ClusterOptions) -> Result<Self, ClusterError> {
        let asked = Instant::now();
        let home = Home::open(&options.dir)?;
        let binaries = Binaries::find(options.binaries.as_deref(), home.major())?;
        if home.major().is_none() {
            init(&home, &binaries, options.durability).await?;
        }
        evict(&home.cluster()).await?;
        shorten_log(&home.log());
        let keeper = Keeper::start(launch(&home, &binaries, options))
            .map_err(|error| ClusterError::Start(error.to_string()))?;
        let cluster = Self { keeper, home };
        let conn = cluster.ready().await?;
        cluster.keeper.hold();
        provide(conn).await.map_err(|error| ClusterError::Start(error.to_string()))?;
        let (dir, took_ms) = (cluster.home.cluster(), asked.elapsed().as_millis());
        info!(took_ms, "private PostgreSQL {} runs in {}", binaries.major, dir.display());
        Ok(cluster)
    }

    /// As the pools log in.
    pub fn address(&self) -> Address {
        Address::new(self.options(LOGIN, DATABASE))
    }

    /// As the owner of everything, for migrations.
    pub fn owner(&self) -> Address {
        Address::new(self.options(OWNER, DATABASE))
    }

    /// Ends the server: first asking, then cutting its clients off, then hard.
    pub async fn stop(mut self) {
        for (signal, within) in [
            (Signal::SIGINT, STOP_WITHIN),
            (Signal::SIGQUIT, CUT_WITHIN),
            (Signal::SIGKILL, CUT_WITHIN),
        ] {
            self.keeper.signal(signal);
            if timeout(within, self.keeper.ended()).await.is_ok() {
                return;
            }
            warn!(%signal, "PostgreSQL didn't end in {} s", within.as_secs());
        }
    }

    #[cfg(test)]
    pub(crate) fn pid(&self) -> Option<Pid> {
        match self.keeper.run() {
            Run::Running(pid) => Some(pid),
            Run::Starting | Run::Ended(_) => None,
        }
    }

    fn options(&self, user: &str, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(self.home.socket_dir())
            .port(5432)
            .ssl_mode(PgSslMode::Disable)
            .username(user)
            .database(database)
    }

    async fn ready(&self) -> Result<PgConnection, ClusterError> {
        let options = self.options(OWNER, "postgres");
        let asked = Instant::now();
        loop {
            if let Run::Ended(why) = self.keeper.run() {
                return Err(ClusterError::Start(format!(
                    "{why}; {}",
                    last_words(&self.home.log())
                )));
            }
            match PgConnection::connect_with(&options).await {
                Ok(conn) => return Ok(conn),
                Err(error) if asked.elapsed() > START_WITHIN => {
                    return Err(ClusterError::Start(error.to_string()));
                }
                // No socket yet, or still replaying its log.
                Err(_) => sleep(POLL).await,
            }
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !matches!(self.keeper.run(), Run::Ended(_)) {
            self.keeper.signal(Signal::SIGINT);
        }
    }
}

/// Makes a new cluster; half of one is never taken for a whole one.
async fn init(home: &Home, with: &Binaries, how: Durability) -> Result<(), ClusterError> {
    let (unfinished, cluster) = (home.unfinished(), home.cluster());
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(ClusterError::files("remove", &unfinished))?;
    }
    let mut command = Command::new(with.program("initdb"));
    command
        .arg("--pgdata")
        .arg(&unfinished)
        .args(["--username", OWNER, "--auth-local", "trust", "--auth-host", "reject"])
        .args(["--encoding", "UTF8", "--locale", "C.UTF-8", "--data-checksums"])
        .arg("--no-instructions")
        .env("LC_ALL", "C.UTF-8")
        .current_dir("/")
        .kill_on_drop(true);
    if how == Durability::Throwaway {
        command.arg("--no-sync");
    }
    if let Some(user) = home.run_as {
        command.uid(user.uid).gid(user.gid);
    }
    let output =
        command.output().await.map_err(ClusterError::files("run", &with.program("initdb")))?;
    if !output.status.success() {
        return Err(ClusterError::Init(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
    }
    fs::rename(&unfinished, &cluster).map_err(ClusterError::files("rename", &unfinished))
}

fn launch(home: &Home, with: &Binaries, options: &ClusterOptions) -> Launch {
    let socket = home.socket_dir().display().to_string().replace('"', "\"\"");
    let mut arguments = vec!["-D".to_owned(), home.cluster().display().to_string()];
    let mut set = |name: &str, value: &str| {
        arguments.push("-c".to_owned());
        arguments.push(format!("{name}={value}"));
    };
    set("listen_addresses", "");
    set("unix_socket_directories", &format!("\"{socket}\""));
    set("unix_socket_permissions", "0700");
    set("port", "5432");
    set("max_connections", &options.connections.to_string());
    set("timezone", "UTC");
    set("log_timezone", "UTC");
    // Every statement here is short: compiling one costs more than running it.
    set("jit", "off");
    if options.durability == Durability::Throwaway {
        set("fsync", "off");
        set("full_page_writes", "off");
        set("autovacuum", "off");
    }
    let last_will = match options.durability {
        Durability::Full => Signal::SIGINT,
        Durability::Throwaway => Signal::SIGQUIT,
    };
    let (program, log) = (with.program("postgres"), home.log());
    Launch { program, arguments, log, run_as: home.run_as, last_will }
}

/// The database and the login, on the first start.
async fn provide(mut conn: PgConnection) -> Result<(), sqlx::Error> {
    let database = sqlx::query("SELECT FROM pg_database WHERE datname = $1").bind(DATABASE);
    if database.fetch_optional(&mut conn).await?.is_none() {
        conn.execute("CREATE DATABASE smartline").await?;
    }
    let login = sqlx::query("SELECT FROM pg_roles WHERE rolname = $1").bind(LOGIN);
    if login.fetch_optional(&mut conn).await?.is_none() {
        conn.execute("CREATE ROLE smartline_node LOGIN NOINHERIT").await?;
    }
    conn.close().await
}

/// Ends what a killed program left behind. We hold the directory's lock, so whoever still runs in
/// it is an orphan: a server that is shutting down, or backends whose server was killed.
async fn evict(cluster: &Path) -> Result<(), ClusterError> {
    let asked = Instant::now();
    let mut told = 0;
    loop {
        let left = occupants(cluster);
        if left.is_empty() {
            break;
        }
        let waited = asked.elapsed();
        if waited > STOP_WITHIN + CUT_WITHIN + CUT_WITHIN {
            return Err(ClusterError::Start(format!("processes {left:?} won't end")));
        }
        let steps = [
            (Duration::ZERO, Signal::SIGINT),
            (STOP_WITHIN, Signal::SIGQUIT),
            (STOP_WITHIN + CUT_WITHIN, Signal::SIGKILL),
        ];
        if let Some((_, signal)) = steps.get(told).filter(|(after, _)| waited >= *after) {
            info!(%signal, ?left, "ending what the last run left behind");
            told += 1;
            for pid in left {
                let _gone = kill(pid, *signal);
            }
        }
        sleep(POLL).await;
    }
    // Nobody is here, so a leftover pid file is stale, even if its number belongs to another
    // process by now; PostgreSQL alone would refuse to start over that.
    let stale = cluster.join("postmaster.pid");
    match fs::remove_file(&stale) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(ClusterError::files("remove", &stale)(error))
        }
        _ => Ok(()),
    }
}

/// The PostgreSQL processes that run in this directory: their working directory is it, or, where
/// the kernel won't tell that, their command line names it.
fn occupants(cluster: &Path) -> Vec<Pid> {
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    processes
        .filter_map(Result::ok)
        .filter(|process| {
            let path = process.path();
            fs::read_to_string(path.join("comm")).is_ok_and(|name| name.trim() == "postgres")
                && (fs::read_link(path.join("cwd")).is_ok_and(|cwd| cwd == cluster)
                    || serves(&path, cluster))
        })
        .filter_map(|process| process.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
        .collect()
}

fn serves(process: &Path, cluster: &Path) -> bool {
    let line = fs::read(process.join("cmdline")).unwrap_or_default();
    let mut words = line.split(|byte| *byte == 0);
    words.any(|word| word == b"-D")
        && words.next().is_some_and(|dir| Path::new(&*String::from_utf8_lossy(dir)) == cluster)
}

fn shorten_log(log: &Path) {
    if fs::metadata(log).is_ok_and(|of| of.len() > LOG_BYTES_MAX) {
        // Only a log: if it can't be shortened it stays long.
        let _kept = fs::rename(log, log.with_extension("old"));
    }
}

/// The end of the server's log, for an error message.
fn last_words(log: &Path) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(5).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
}
