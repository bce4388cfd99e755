//! The private cluster: started, stopped, killed, and started again over what was left.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Connection, Executor};
use tempfile::TempDir;

use crate::{Cluster, ClusterError, ClusterOptions, Durability, testing};

fn place() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    testing::open_to_all(dir.path());
    dir
}

fn options(dir: &Path) -> ClusterOptions {
    ClusterOptions { durability: Durability::Throwaway, ..ClusterOptions::new(dir) }
}

async fn run(cluster: &Cluster, sql: &'static str) {
    let mut conn = cluster.owner().connect_once().await.unwrap();
    conn.execute(sql).await.unwrap();
}

async fn kept(cluster: &Cluster) -> i64 {
    let mut conn = cluster.owner().connect_once().await.unwrap();
    sqlx::query_scalar("SELECT count(*) FROM kept").fetch_one(&mut conn).await.unwrap()
}

/// Waits until the process is gone; a zombie is.
async fn gone(pid: Pid) {
    let stat = PathBuf::from(format!("/proc/{pid}/stat"));
    let alive = || std::fs::read_to_string(&stat).is_ok_and(|text| !text.contains(") Z "));
    while alive() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_is_stored_survives_a_clean_stop_and_is_private() {
    let dir = place();
    let cluster = Cluster::start(&options(dir.path())).await.unwrap();
    run(&cluster, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").await;
    let setting = async |name: &'static str| -> String {
        let mut conn = cluster.owner().connect_once().await.unwrap();
        sqlx::query_scalar("SELECT current_setting($1)")
            .bind(name)
            .fetch_one(&mut conn)
            .await
            .unwrap()
    };
    assert_eq!(setting("listen_addresses").await, "");
    assert_eq!(setting("data_checksums").await, "on");
    assert_eq!(setting("lc_collate").await, "C.UTF-8");
    assert_eq!(setting("TimeZone").await, "UTC");
    let run_dir = std::fs::metadata(dir.path().join("pg/run")).unwrap();
    assert_eq!(std::os::unix::fs::MetadataExt::mode(&run_dir) & 0o777, 0o700);
    let pid = cluster.pid().unwrap();
    cluster.stop().await;
    gone(pid).await;

    let cluster = Cluster::start(&options(dir.path())).await.unwrap();
    assert_eq!(kept(&cluster).await, 1);
    cluster.stop().await;
}

#[tokio::test]
async fn a_second_owner_is_refused_and_disturbs_nothing() {
    let dir = place();
    let cluster = Cluster::start(&options(dir.path())).await.unwrap();
    let second = Cluster::start(&options(dir.path())).await;
    assert!(matches!(second.err(), Some(ClusterError::InUse { .. })));
    run(&cluster, "SELECT 1").await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_killed_server_is_started_again_with_what_was_committed() {
    let dir = place();
    let cluster = Cluster::start(&options(dir.path())).await.unwrap();
    run(&cluster, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").await;
    let mut watch = cluster.owner().connect_once().await.unwrap();
    let pid = cluster.pid().unwrap();
    kill(pid, Signal::SIGKILL).unwrap();
    gone(pid).await;
    // Its backends notice; this connection is lost.
    assert!(watch.ping().await.is_err());
    let conn = loop {
        match cluster.owner().connect_once().await {
            Ok(conn) => break conn,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    conn.close().await.unwrap();
    assert_eq!(kept(&cluster).await, 1);
    assert_ne!(cluster.pid(), Some(pid));
    cluster.stop().await;
}

/// The next program finds the directory as `kill -9` of the last one left it: its server may still
/// be running, and the pid file may name a process that has nothing to do with it.
#[tokio::test]
async fn a_start_finds_its_way_over_a_server_that_still_runs_and_a_stale_pid_file() {
    let dir = place();
    let cluster = Cluster::start(&options(dir.path())).await.unwrap();
    run(&cluster, "CREATE TABLE kept (n int); INSERT INTO kept VALUES (1)").await;
    cluster.stop().await;

    // A server that nobody owns, started as the program would start it.
    let pgdata = dir.path().join("pg/cluster").canonicalize().unwrap();
    let orphan = orphan(&pgdata);
    let cluster = Cluster::start(&options(dir.path())).await.unwrap();
    gone(orphan).await;
    assert_eq!(kept(&cluster).await, 1);
    cluster.stop().await;

    // A number that belongs to somebody else by now: this test.
    let stale = format!("{}\n{}\n0\n5432\n\n\n", std::process::id(), pgdata.display());
    std::fs::write(pgdata.join("postmaster.pid"), stale).unwrap();
    let cluster = Cluster::start(&options(dir.path())).await.unwrap();
    assert_eq!(kept(&cluster).await, 1);
    cluster.stop().await;
}

fn orphan(pgdata: &Path) -> Pid {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::process::CommandExt;
    let owner = std::fs::metadata(pgdata).unwrap();
    let program = crate::binaries::Binaries::find(None, None).unwrap().program("postgres");
    let mut command = Command::new(program);
    command
        .arg("-D")
        .arg(pgdata)
        .args(["-c", "listen_addresses=", "-c", "unix_socket_directories="])
        .current_dir("/")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    if nix::unistd::geteuid().is_root() {
        command.uid(owner.uid()).gid(owner.gid());
    }
    let mut child = command.spawn().unwrap();
    let pid = Pid::from_raw(i32::try_from(child.id()).unwrap());
    while std::fs::read_to_string(pgdata.join("postmaster.pid")).is_err() {
        std::thread::yield_now();
    }
    // Reaped by somebody, as an orphan is by init.
    std::thread::spawn(move || child.wait());
    pid
}

#[tokio::test]
async fn half_an_initdb_is_not_taken_for_a_cluster() {
    let dir = place();
    let half = dir.path().join("pg/cluster.new");
    Cluster::start(&options(dir.path())).await.unwrap().stop().await;
    std::fs::rename(dir.path().join("pg/cluster"), &half).unwrap();
    std::fs::remove_file(half.join("PG_VERSION")).unwrap();
    let cluster = Cluster::start(&options(dir.path())).await.unwrap();
    run(&cluster, "SELECT 1").await;
    assert!(!half.exists());
    cluster.stop().await;
}

#[tokio::test]
async fn a_long_path_gets_a_short_socket() {
    let dir = place();
    let long = dir.path().join("x".repeat(90));
    std::fs::create_dir(&long).unwrap();
    testing::open_to_all(&long);
    let cluster = Cluster::start(&options(&long)).await.unwrap();
    run(&cluster, "SELECT 1").await;
    cluster.stop().await;
}

#[tokio::test]
async fn a_server_that_can_not_start_says_why() {
    let dir = place();
    Cluster::start(&options(dir.path())).await.unwrap().stop().await;
    std::fs::write(dir.path().join("pg/cluster/postgresql.conf"), "no_such_setting = on\n")
        .unwrap();
    let error = Cluster::start(&options(dir.path())).await.err().unwrap().to_string();
    assert!(error.contains("no_such_setting"), "{error}");
}

/// Root's home is closed to the user that PostgreSQL runs as: the cluster goes elsewhere, a link
/// says where. Anybody else keeps it in the directory.
#[tokio::test]
async fn a_directory_closed_to_the_server_s_user_still_works() {
    let dir = tempfile::tempdir().unwrap();
    let closed = dir.path().join("closed");
    std::fs::create_dir(&closed).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&closed, mode).unwrap();
    let cluster = Cluster::start(&options(&closed)).await.unwrap();
    run(&cluster, "SELECT 1").await;
    cluster.stop().await;
    let root = closed.join("pg");
    if nix::unistd::geteuid().is_root() {
        let target = std::fs::read_link(&root).unwrap();
        std::fs::remove_dir_all(target).unwrap();
    } else {
        assert!(!root.is_symlink());
    }
}
