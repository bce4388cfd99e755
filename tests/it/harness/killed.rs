//! Requests and jobs whose program, or whose PostgreSQL, is killed at a proven moment.

use serde_json::Value;
use sqlx::{Executor, PgConnection};

use super::house::{House, Victim};
use super::looks::until;
use super::moment::{Moment, run};
use super::person::{Person, Reply, next_key};

/// Where whatever is done stands when somebody is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// At the gate: nothing is committed.
    Gate,
    /// Committed behind the gate, and nobody heard of it.
    Commit,
}

/// A lock of the test's, and how the statement begins that waits for it.
#[derive(Clone, Copy, Debug)]
pub struct Gate {
    pub lock: &'static str,
    pub statement: &'static str,
}

const LEDGER: &str = "BEGIN; LOCK TABLE ledger_balance IN SHARE MODE";
/// What a rider has is read before anything is decided about it.
pub const FUNDS: Gate = Gate { lock: LEDGER, statement: "SELECT r_owner" };
/// One journal is posted.
pub const POSTING: Gate = Gate { lock: LEDGER, statement: "SELECT 1, NULL::text, r_journal" };

/// Who is killed, of the process that stands there.
pub type Kill = fn(i32) -> Victim;
pub const PROGRAM: Kill = |_| Victim::Program;
/// PostgreSQL as a whole.
pub const POSTGRES: Kill = |_| Victim::Server;
/// The one process of PostgreSQL that serves it: then PostgreSQL ends the others.
pub const BACKEND: Kill = Victim::Backend;

/// Everybody, before and after the commit.
pub const ROUNDS: [(At, Kill); 4] =
    [(At::Gate, PROGRAM), (At::Commit, PROGRAM), (At::Gate, POSTGRES), (At::Commit, BACKEND)];

/// A request under a key of its own, which may be sent again.
#[derive(Clone, Debug)]
pub struct Ask {
    who: Person,
    path: String,
    body: Value,
    key: String,
}

impl Ask {
    pub fn new(who: &Person, path: impl Into<String>, body: Value) -> Self {
        Self { who: who.clone(), path: path.into(), body, key: next_key() }
    }

    /// Sent until somebody says what became of it.
    pub async fn insist(&mut self) -> Reply {
        self.who.insist(&self.path, &self.body, &self.key).await
    }
}

/// A gate that is closed.
struct Closed {
    gate: Gate,
    held: PgConnection,
    moment: Moment,
}

impl Closed {
    /// Returns when a process of PostgreSQL stands where it is to be killed: its id.
    async fn reached(&mut self, at: At) -> i32 {
        let backend = self.moment.stands_before(self.gate.statement).await;
        if at == At::Commit {
            self.moment.mute_commits().await;
            run(&mut self.held, "ROLLBACK").await;
            self.moment.waits_for_its_commit(backend).await;
        }
        backend
    }

    /// Lets whoever lived on go on.
    async fn open(mut self) {
        // PostgreSQL may have died meanwhile, and the lock with it.
        self.held.execute("ROLLBACK").await.ok();
    }
}

impl House {
    async fn close(&self, gate: Gate) -> Closed {
        let mut held = self.owner().await;
        run(&mut held, gate.lock).await;
        Closed { gate, held, moment: Moment::of(self).await }
    }

    /// Sends a request, kills whoever `victim` says of the process that stands there, and sends it
    /// again: what its sender knows in the end. Whoever was answered hears the same again.
    pub async fn killed_while_asked(
        &mut self,
        ask: &mut Ask,
        gate: Gate,
        at: At,
        victim: Kill,
    ) -> Reply {
        let mut closed = self.close(gate).await;
        let asking = tokio::spawn({
            let Ask { who, path, body, key } = ask.clone();
            async move { who.try_post(&path, &body, &key).await }
        });
        let victim = victim(closed.reached(at).await);
        self.fell(victim).await;
        closed.open().await;
        let first = match victim {
            Victim::Program => {
                assert!(asking.await.expect("it ends").is_err(), "somebody answered");
                self.keys_are_free().await;
                None
            }
            // The program lives: it says what it knows, and gives the key back.
            Victim::Server | Victim::Backend(_) => asking.await.expect("it ends").ok(),
        };
        self.rise().await;
        let told = ask.insist().await;
        let answers = [first.filter(Reply::says_what_became), Some(ask.insist().await)];
        for answer in answers.into_iter().flatten() {
            let same = answer.status == told.status && answer.body["data"] == told.body["data"];
            assert!(same, "one key, one answer: {answer:?}, {told:?}");
        }
        told
    }

    /// Sends a request and stops PostgreSQL once that is committed and nobody heard of it; starts
    /// it again when the program has seen that it is away. The request is sent again: what its
    /// sender knows in the end.
    pub async fn away_while_asked(&mut self, ask: &mut Ask, gate: Gate) -> Reply {
        let mut closed = self.close(gate).await;
        let Ask { who, path, body, key } = ask.clone();
        let rider = who.clone();
        let asking = tokio::spawn(async move { who.try_post(&path, &body, &key).await });
        closed.reached(At::Commit).await;
        self.lose_postgres().await;
        let missed = async || rider.try_get("/wallet").await.is_ok_and(|reply| reply.status == 503);
        until("the program misses PostgreSQL", async || missed().await.then_some(())).await;
        self.find_postgres().await;
        asking.await.expect("it ends").ok();
        ask.insist().await
    }

    /// The same where a job does it that `begin` brings about: it is done again.
    pub async fn killed_in_a_job(
        &mut self,
        gate: Gate,
        at: At,
        victim: Kill,
        begin: impl AsyncFnOnce(&Self),
    ) {
        let mut closed = self.close(gate).await;
        begin(self).await;
        let victim = victim(closed.reached(at).await);
        self.fell(victim).await;
        closed.open().await;
        self.jobs_are_due().await;
        self.rise().await;
    }

    /// Keys that were taken are free again, as they will be by themselves in time.
    pub async fn keys_are_free(&self) {
        let sql = "UPDATE idempotency SET lease_until = now() - interval '1 second'";
        run(&mut self.owner().await, sql).await;
    }

    /// Jobs that were taken are free again, and those that wait are due.
    pub async fn jobs_are_due(&self) {
        run(&mut self.owner().await, "UPDATE jobs SET run_at = now(), rank_at = now()").await;
    }

    /// From now on jobs of this kind are not due before [`House::jobs_are_due`].
    pub async fn jobs_wait(&self, kind: &str) {
        let mut owner = self.owner().await;
        let later = "CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS \
            'BEGIN NEW.run_at := now() + interval ''1 day''; NEW.rank_at := NEW.run_at; \
            RETURN NEW; END'";
        run(&mut owner, later).await;
        let kept = format!(
            "CREATE TRIGGER later BEFORE INSERT ON jobs FOR EACH ROW \
             WHEN (NEW.kind = '{kind}') EXECUTE FUNCTION later()"
        );
        owner.execute(sqlx::AssertSqlSafe(kept)).await.expect("the owner may");
    }
}
