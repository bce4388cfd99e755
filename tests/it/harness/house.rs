//! The program and a PostgreSQL of its own, to be killed together or each for itself.

use std::net::SocketAddr;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::{Executor, PgConnection};
use storage::{Cluster, ClusterOptions, Db, PoolLimits};
use tokio::time::timeout;

use super::invariants::broken_rules;
use super::looks::{PATIENCE, until};
use super::person::Person;
use super::program::{ADMIN, Folder, Program, create_admin, free_address};
use super::server::Outside;

/// Who is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The program; where it runs its PostgreSQL itself, that goes with it.
    Program,
    /// PostgreSQL's first process.
    Server,
    /// One of PostgreSQL's processes, by its id.
    Backend(i32),
}

pub type Settings = Vec<(&'static str, String)>;

// In the order in which they end.
pub struct House {
    program: Option<Program>,
    /// Where PostgreSQL is not the program's own.
    cluster: Option<Cluster>,
    pub address: SocketAddr,
    settings: Settings,
    dir: Folder,
}

impl House {
    /// A program that runs its PostgreSQL itself.
    pub async fn start(settings: Settings) -> Self {
        let (address, dir) = (free_address(), Folder::new());
        let mut house = Self { program: None, cluster: None, address, settings, dir };
        house.rise().await;
        create_admin(&house.dir.0);
        house
    }

    /// A program beside a PostgreSQL that outlives it; `prepare` is done before it starts, with the
    /// settings that belong to its address.
    pub async fn beside(
        prepare: &'static str,
        settings: impl FnOnce(SocketAddr) -> Settings,
    ) -> Self {
        let (address, dir) = (free_address(), Folder::new());
        let mut settings = settings(address);
        let cluster = Cluster::start(&ClusterOptions::new(&dir.0)).await.expect("PostgreSQL");
        let (login, owner) = (cluster.address(), cluster.owner());
        storage::migrate(&owner, login.login()).await.expect("the migrations apply");
        settings.push(("JWT_SECRET", "t".repeat(32)));
        settings.push(("DATABASE_URL", storage::testing::url(&login)));
        settings.push(("DATABASE_DIRECT_URL", storage::testing::url(&owner)));
        let mut house = Self { program: None, cluster: Some(cluster), address, settings, dir };
        house.owner().await.execute(prepare).await.expect("the owner may");
        house.rise().await;
        create_admin(&house.dir.0);
        house
    }

    pub fn outside(&self) -> Outside {
        Outside::new(self.address)
    }

    /// Who operates it.
    pub async fn admin(&self) -> Person {
        Person::log_in(&self.outside(), ADMIN, "tahrir99").await
    }

    /// Somebody else who does.
    pub async fn another_admin(&self) -> Person {
        let person = Person::rider(&self.outside()).await;
        sqlx::query("UPDATE users SET role = 'admin' WHERE id = $1::uuid")
            .bind(&person.id)
            .execute(&mut self.owner().await)
            .await
            .expect("the owner may");
        Person::log_in(&self.outside(), &person.phone, "tahrir99").await
    }

    /// A connection as the owner of everything, once the server takes one.
    pub async fn owner(&self) -> PgConnection {
        let connect = async || {
            let (_, owner) = Cluster::reach(&self.dir.0).ok()?;
            storage::testing::connect_once(&owner).await.ok()
        };
        until("a connection", connect).await
    }

    /// The n-th of the processes that serve the program, counted around.
    pub async fn some_backend(&self, n: usize) -> i32 {
        let mut conn = self.owner().await;
        let sql = "SELECT pid FROM pg_stat_activity WHERE usename = 'smartline_node' ORDER BY pid";
        let pids: Vec<i32> = sqlx::query_scalar(sql).fetch_all(&mut conn).await.expect("they show");
        pids[n % pids.len()]
    }

    /// Kills with SIGKILL; returns when the house is up again.
    pub async fn kill(&mut self, victim: Victim) {
        self.fell(victim).await;
        self.rise().await;
    }

    /// Kills with SIGKILL. PostgreSQL comes up again by itself, the program doesn't.
    pub async fn fell(&mut self, victim: Victim) {
        match victim {
            Victim::Program => {
                self.program.take().expect("it runs").kill();
                if self.cluster.is_some() {
                    self.forget_moments().await;
                }
            }
            Victim::Server => self.fell_in_postgres(self.server()).await,
            Victim::Backend(pid) => self.fell_in_postgres(pid).await,
        }
    }

    /// Stops the PostgreSQL that is not the program's own.
    pub async fn lose_postgres(&mut self) {
        self.cluster.take().expect("it runs beside the program").stop().await;
    }

    /// Starts it again.
    pub async fn find_postgres(&mut self) {
        let cluster = Cluster::start(&ClusterOptions::new(&self.dir.0)).await;
        self.cluster = Some(cluster.expect("PostgreSQL"));
    }

    /// Starts the program if it doesn't run.
    pub async fn rise(&mut self) {
        if self.program.is_none() {
            let start = Program::start_set(&self.dir.0, self.address, &self.settings);
            self.program = Some(timeout(PATIENCE, start).await.expect("it gets ready"));
        }
    }

    async fn fell_in_postgres(&mut self, pid: i32) {
        let mut witness = self.owner().await;
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it was running");
        let sql = "SELECT 1";
        until("the end", async || sqlx::query(sql).execute(&mut witness).await.err()).await;
        self.forget_moments().await;
        let program = self.program.as_mut().expect("it was started");
        assert!(program.is_running(), "the program ended with its PostgreSQL");
    }

    /// Where PostgreSQL's first process lived on, it has in mind what a `Moment` set.
    async fn forget_moments(&self) {
        let sql = "SELECT pg_reload_conf()";
        sqlx::query(sql).execute(&mut self.owner().await).await.expect("it is up");
    }

    /// The id of PostgreSQL's first process.
    fn server(&self) -> i32 {
        let path = self.dir.0.join("pg/cluster/postmaster.pid");
        let text = std::fs::read_to_string(path).expect("it runs");
        text.lines().next().and_then(|line| line.parse().ok()).expect("a process id")
    }

    /// The database as the program has it, through pools of the test's own.
    pub async fn db(&self) -> Db {
        let (address, _) = Cluster::reach(&self.dir.0).expect("it runs");
        let limits = PoolLimits { min: 0, ..PoolLimits::default() };
        storage::connect(&address, &limits).await.expect("it answers")
    }

    /// Every broken rule, and what breaks it.
    pub async fn broken_rules(&self) -> Vec<String> {
        let db = self.db().await;
        let broken = broken_rules(&db, &mut self.owner().await).await;
        db.close().await;
        broken
    }

    /// Ends well, with every rule kept.
    pub async fn end(mut self) {
        let broken = self.broken_rules().await;
        assert!(broken.is_empty(), "{broken:#?}");
        self.program.take().expect("it runs").stop();
        if let Some(cluster) = self.cluster.take() {
            cluster.stop().await;
        }
    }
}
