//! Moments at which the program or its database stands still, to be killed there.
//!
//! Each is reached by locks of our own connections, and is proven: the process is seen waiting in
//! the statement that comes next, and what it did before is seen in the locks it holds or in what
//! is committed. The locks stay until the kill, so it can't have gone on.

use sqlx::{Executor, PgConnection};
use tokio::task::JoinHandle;

use super::city::{City, until};
use super::witness::GATE;

/// The relay's turn, as the room `events` locks it.
const TURN: i64 = 742_009;
/// Facts of which people are told.
const NEWS: &str = "SELECT count(*) FROM outbox WHERE event_type <> 'TRIP_REQUESTED' \
    AND aggregate_type = 'trip'";

/// Jobs of facts that still stand in the outbox.
const TOLD: &str = "SELECT count(*) FROM outbox o JOIN jobs j ON j.key IN \
    (o.aggregate_id::text, format('%s:%s', o.aggregate_id, o.seq))";

pub struct Moments {
    watch: PgConnection,
    one: PgConnection,
    two: PgConnection,
    probe: Option<PgConnection>,
    muted: Option<JoinHandle<()>>,
}

impl Drop for Moments {
    fn drop(&mut self) {
        self.muted.iter().for_each(JoinHandle::abort);
    }
}

impl Moments {
    pub async fn of(city: &City) -> Self {
        Self {
            watch: city.owner().await,
            one: city.owner().await,
            two: city.owner().await,
            probe: Some(city.owner().await),
            muted: None,
        }
    }

    /// A worker has a completed trip's job and has done nothing yet.
    pub async fn before_a_jobs_effect(&mut self) -> i32 {
        run(&mut self.one, "BEGIN; LOCK TABLE driver_days IN SHARE ROW EXCLUSIVE MODE").await;
        let worker = self.stands_before("INSERT INTO driver_days").await;
        assert!(self.count("SELECT count(*) FROM jobs WHERE holder IS NOT NULL").await > 0);
        worker
    }

    /// A worker has added the trip to its driver's day and has not committed that.
    pub async fn effect_not_committed(&mut self) -> i32 {
        self.before_a_jobs_effect().await;
        let held = "BEGIN; SELECT FROM sagas WHERE status = 'running' AND step = 0 FOR UPDATE";
        run(&mut self.two, held).await;
        run(&mut self.one, "ROLLBACK").await;
        let worker = self.stands_before("UPDATE sagas").await;
        assert!(self.has_written(worker, "driver_days").await);
        worker
    }

    /// A worker has done and committed all of a job, and the job is still there.
    pub async fn effect_committed_and_job_not_ended(&mut self) -> i32 {
        self.effect_not_committed().await;
        let held = "BEGIN; SELECT FROM jobs WHERE kind = 'trip_aftermath' FOR UPDATE";
        run(&mut self.one, held).await;
        run(&mut self.two, "ROLLBACK").await;
        let worker = self.stands_before("DELETE FROM jobs").await;
        let done = "SELECT count(*) FROM jobs j JOIN sagas s ON j.key = s.subject::text \
            WHERE j.kind = 'trip_aftermath' AND s.status = 'done'";
        assert!(self.count(done).await > 0);
        worker
    }

    /// The relay has put down the jobs of a batch of facts that still stand in the outbox.
    pub async fn published_and_not_marked(&mut self) -> i32 {
        sqlx::query("SELECT pg_advisory_lock($1)")
            .bind(TURN)
            .execute(&mut self.one)
            .await
            .expect("the relay's turn ends");
        let watch = &mut self.watch;
        until("news", async || (count(watch, NEWS).await > 0).then_some(())).await;
        run(&mut self.two, "BEGIN; SELECT FROM outbox FOR UPDATE").await;
        run(&mut self.one, "SELECT pg_advisory_unlock_all()").await;
        let relay = self.stands_before("DELETE FROM outbox").await;
        assert!(self.has_written(relay, "jobs").await);
        // If any of it could be seen already, it would be done by now, and done again afterwards.
        let watch = &mut self.watch;
        until("the end of jobs", async || (count(watch, TOLD).await == 0).then_some(())).await;
        relay
    }

    /// The relay has committed a batch and was not told so.
    pub async fn published_and_the_commit_unheard(&mut self) -> i32 {
        let relay = self.published_and_not_marked().await;
        // Of commits that notify one is under way at a time: the relay's must be the first that is
        // not answered, so the others, which write here, wait.
        run(&mut self.one, "BEGIN; LOCK TABLE event_store, notifications IN SHARE MODE").await;
        self.mute_commits().await;
        run(&mut self.two, "ROLLBACK").await;
        self.waits_for_its_commit(relay).await;
        relay
    }

    /// The database was asked for jobs and has taken none yet.
    pub async fn claim_asked(&mut self) -> i32 {
        run(&mut self.one, "BEGIN; LOCK TABLE jobs IN SHARE MODE").await;
        self.stands_before("WITH due").await
    }

    /// The database has given a job to a worker and has not committed that.
    pub async fn claimed_and_not_committed(&mut self) -> i32 {
        sqlx::query("SELECT pg_advisory_lock($1)")
            .bind(GATE)
            .execute(&mut self.one)
            .await
            .expect("claims under way end");
        let claim = self.stands_before("WITH due").await;
        assert!(self.has_written(claim, "jobs").await);
        claim
    }

    /// The database has committed a claim and did not say so.
    pub async fn claimed_and_the_commit_unheard(&mut self) -> i32 {
        let claim = self.claimed_and_not_committed().await;
        self.mute_commits().await;
        run(&mut self.one, "SELECT pg_advisory_unlock_all()").await;
        self.waits_for_its_commit(claim).await;
        claim
    }

    /// The process that serves the program, once that waits for a lock in a statement that begins
    /// like this.
    async fn stands_before(&mut self, statement: &str) -> i32 {
        let watch = &mut self.watch;
        until(statement, async || {
            sqlx::query_scalar(
                "SELECT pid FROM pg_stat_activity WHERE usename = 'smartline_node' \
                 AND state = 'active' AND wait_event_type = 'Lock' AND starts_with(query, $1)",
            )
            .bind(statement)
            .fetch_optional(&mut *watch)
            .await
            .expect("processes show what they do")
        })
        .await
    }

    /// Holds the transaction of this process what writing into the table takes?
    async fn has_written(&mut self, pid: i32, table: &str) -> bool {
        sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM pg_locks WHERE pid = $1 AND relation = $2::regclass \
             AND mode = 'RowExclusiveLock' AND granted)",
        )
        .bind(pid)
        .bind(table)
        .fetch_one(&mut self.watch)
        .await
        .expect("locks show")
    }

    async fn count(&mut self, sql: &'static str) -> i64 {
        count(&mut self.watch, sql).await
    }

    /// From now on what is committed is durable, and nobody is told: each commit waits for a
    /// standby that does not exist. The next start of the server knows nothing of it.
    async fn mute_commits(&mut self) {
        run(&mut self.watch, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await;
        run(&mut self.watch, "SELECT pg_reload_conf()").await;
        let mut probe = self.probe.take().expect("commits are muted once");
        let pid = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut probe).await;
        self.muted = Some(tokio::spawn(async move {
            // Commits until one is not answered any more.
            while probe.execute("INSERT INTO witness.commits DEFAULT VALUES").await.is_ok() {}
        }));
        self.waits_for_its_commit(pid.expect("it answers")).await;
        run(&mut self.watch, "ALTER SYSTEM RESET synchronous_standby_names").await;
    }

    async fn waits_for_its_commit(&mut self, pid: i32) {
        let watch = &mut self.watch;
        until("a commit without an answer", async || {
            let sql = "SELECT pid FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'";
            let found = sqlx::query_scalar::<_, i32>(sql).bind(pid).fetch_optional(&mut *watch);
            found.await.expect("processes show what they do")
        })
        .await;
    }
}

async fn run(conn: &mut PgConnection, sql: &'static str) {
    conn.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}

async fn count(conn: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(conn).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}
