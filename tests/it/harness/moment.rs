//! Moments at which the program or its database stands still, to be killed there.
//!
//! A process is seen waiting in the statement that comes next; what it did before is seen in the
//! locks it holds or in what is committed. What keeps it there lasts until the kill, so it can't
//! have gone on.

use sqlx::{Executor, PgConnection};
use tokio::task::JoinHandle;

use super::house::House;
use super::looks::until;

pub struct Moment {
    pub watch: PgConnection,
    probe: Option<PgConnection>,
    muted: Option<JoinHandle<()>>,
}

impl Drop for Moment {
    fn drop(&mut self) {
        self.muted.iter().for_each(JoinHandle::abort);
    }
}

impl Moment {
    pub async fn of(house: &House) -> Self {
        Self { watch: house.owner().await, probe: Some(house.owner().await), muted: None }
    }

    /// The process that serves the program, once that waits for a lock in a statement that begins
    /// like this.
    pub async fn stands_before(&mut self, statement: &str) -> i32 {
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
    pub async fn has_written(&mut self, pid: i32, table: &str) -> bool {
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

    /// From now on what is committed is durable, and nobody is told: each commit waits for a
    /// standby that does not exist. The next start of the server knows nothing of it.
    pub async fn mute_commits(&mut self) {
        run(&mut self.watch, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'").await;
        run(&mut self.watch, "SELECT pg_reload_conf()").await;
        let mut probe = self.probe.take().expect("commits are muted once");
        let pid = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut probe).await;
        self.muted = Some(tokio::spawn(async move {
            // Commits until one is not answered any more.
            let commit = "SELECT pg_logical_emit_message(true, 'probe', '')";
            while probe.execute(commit).await.is_ok() {}
        }));
        self.waits_for_its_commit(pid.expect("it answers")).await;
        run(&mut self.watch, "ALTER SYSTEM RESET synchronous_standby_names").await;
    }

    pub async fn waits_for_its_commit(&mut self, pid: i32) {
        let watch = &mut self.watch;
        until("a commit without an answer", async || {
            let sql = "SELECT pid FROM pg_stat_activity WHERE pid = $1 AND wait_event = 'SyncRep'";
            let found = sqlx::query_scalar::<_, i32>(sql).bind(pid).fetch_optional(&mut *watch);
            found.await.expect("processes show what they do")
        })
        .await;
    }
}

pub async fn run(conn: &mut PgConnection, sql: &'static str) {
    conn.execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
}
