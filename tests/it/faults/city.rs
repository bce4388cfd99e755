//! A city whose processes are killed: the program with its private PostgreSQL, and its traffic.

use std::net::SocketAddr;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use sqlx::PgConnection;
use storage::{Cluster, PoolLimits};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

use super::traffic::Traffic;
use super::witness;
use crate::harness::{
    ADMIN, Folder, Outside, Person, Program, broken_rules, create_admin, free_address,
};

/// How long anything may take that must come: leases of jobs and of idempotency keys, half a minute
/// each, have to end in it. Beyond it something hangs.
const PATIENCE: Duration = Duration::from_secs(180);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// Who is killed.
pub enum Victim {
    /// The program; its PostgreSQL goes with it.
    Program,
    /// PostgreSQL's first process.
    Server,
    /// One of PostgreSQL's processes, by its id.
    Backend(i32),
}

pub struct City {
    program: Option<Program>,
    traffic: Traffic,
    begun: Instant,
    kills: usize,
    dir: Folder,
}

impl City {
    pub async fn start() -> Self {
        let dir = Folder::new();
        let program = start(&dir, free_address()).await;
        let server = Outside::new(program.address);
        create_admin(&dir.0);
        witness::take_seat(&mut owner(&dir).await).await;
        let admin = Person::log_in(&server, ADMIN, "tahrir99").await;
        let traffic = Traffic::start(&server, &admin).await;
        Self { program: Some(program), traffic, begun: Instant::now(), kills: 0, dir }
    }

    /// A connection as the owner of everything, once the server takes one.
    pub async fn owner(&self) -> PgConnection {
        owner(&self.dir).await
    }

    /// Returns when `more` requests were answered from now on.
    pub async fn answers(&self, more: usize) {
        let wanted = self.traffic.answered() + more;
        until("answers", async || (self.traffic.answered() >= wanted).then_some(())).await;
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
        self.kills += 1;
        match victim {
            Victim::Program => {
                let program = self.program.take().expect("it runs");
                let address = program.address;
                program.kill();
                let again = timeout(PATIENCE, start(&self.dir, address));
                self.program = Some(again.await.expect("it gets ready again"));
            }
            Victim::Server => self.kill_in_postgres(self.server()).await,
            Victim::Backend(pid) => self.kill_in_postgres(pid).await,
        }
    }

    async fn kill_in_postgres(&mut self, pid: i32) {
        let mut witness = self.owner().await;
        kill(Pid::from_raw(pid), Signal::SIGKILL).expect("it was running");
        let sql = "SELECT 1";
        until("the end", async || sqlx::query(sql).execute(&mut witness).await.err()).await;
        // Where the first process lived on, it has in mind what `Moments` set for this round.
        let sql = "SELECT pg_reload_conf()";
        sqlx::query(sql).execute(&mut self.owner().await).await.expect("it is up again");
        let program = self.program.as_mut().expect("it was started");
        assert!(program.is_running(), "the program ended with its PostgreSQL");
    }

    /// The id of PostgreSQL's first process.
    fn server(&self) -> i32 {
        let path = self.dir.0.join("pg/cluster/postmaster.pid");
        let text = std::fs::read_to_string(path).expect("it runs");
        text.lines().next().and_then(|line| line.parse().ok()).expect("a process id")
    }

    /// Lets the traffic end and all work be done; then nothing may be lost, double or out of order.
    pub async fn settle(mut self, what: &str) {
        let mut asked = self.traffic.end().await;
        let mut owner = self.owner().await;
        until("quiet", async || witness::is_quiet(&mut owner).await.then_some(())).await;
        for request in &mut asked {
            let again = request.again().await;
            assert_eq!(again, request.answer, "one key, one answer: {request:?}");
        }
        let (address, _) = Cluster::reach(&self.dir.0).expect("it runs");
        let limits = PoolLimits { min: 0, ..PoolLimits::default() };
        let db = storage::connect(&address, &limits).await.expect("it answers");
        let mut broken = broken_rules(&db, &mut owner).await;
        broken.extend(witness::broken(&mut owner).await);
        broken.extend(witness::forgotten(&mut owner, &asked).await);
        let replayed = trips::replay_all(&db, |trip| {
            let differs = !trip.differences.is_empty();
            broken.extend(differs.then(|| format!("T5: {trip:?}")));
        });
        replayed.await.expect("trips are readable");
        assert!(broken.is_empty(), "{broken:#?}");
        db.close().await;
        let (kills, took) = (self.kills, self.begun.elapsed().as_secs());
        let figures = witness::figures(&mut owner).await;
        eprintln!("{what}: {kills} kills in {took} s; {} requests, {figures}", asked.len());
        self.program.take().expect("it runs").stop();
    }
}

/// Whose operator may hand out as much as he likes by himself, and where the same two may ride in
/// circles all day without being looked at.
async fn start(dir: &Folder, address: SocketAddr) -> Program {
    let settings = [
        ("SMARTLINE_ADMIN_ALONE", "1000000000"),
        ("SMARTLINE_ADMIN_ALONE_PER_DAY", "1000000000"),
        ("SMARTLINE_FRAUD", "velocity.hold=0,velocity.block=0,circular.flag=0,circular.hold=0"),
    ];
    let settings = settings.map(|(name, value)| (name, value.to_owned()));
    Program::start_set(&dir.0, address, &settings).await
}

async fn owner(dir: &Folder) -> PgConnection {
    let connect = async || {
        let (_, owner) = Cluster::reach(&dir.0).ok()?;
        storage::testing::connect_once(&owner).await.ok()
    };
    until("a connection", connect).await
}

/// Looks at something that must come, again and again.
pub struct Looks<'a> {
    what: &'a str,
    tick: Interval,
    begun: Instant,
}

impl<'a> Looks<'a> {
    pub fn at(what: &'a str) -> Self {
        let mut tick = interval(LOOK_AGAIN);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { what, tick, begun: Instant::now() }
    }

    /// Time for the next look; fails the test when it is the last.
    pub async fn next(&mut self) {
        assert!(self.begun.elapsed() < PATIENCE, "{} never came", self.what);
        self.tick.tick().await;
    }
}

/// Asks until there is something.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let mut looks = Looks::at(what);
    loop {
        looks.next().await;
        if let Some(found) = ask().await {
            return found;
        }
    }
}
