//! Moments of a city at work, each reached by locks of our own connections that stay until the
//! kill.

use sqlx::PgConnection;

use super::city::City;
use super::witness::GATE;
use crate::harness::{Moment, run, until};

/// The relay's turn, as the room `events` locks it.
const TURN: i64 = 742_009;
/// Facts of which people are told.
const NEWS: &str = "SELECT count(*) FROM outbox WHERE event_type <> 'TRIP_REQUESTED' \
    AND aggregate_type = 'trip'";

/// Jobs of facts that still stand in the outbox.
const TOLD: &str = "SELECT count(*) FROM outbox o JOIN jobs j ON j.key IN \
    (o.aggregate_id::text, format('%s:%s', o.aggregate_id, o.seq))";

pub struct Moments {
    moment: Moment,
    one: PgConnection,
    two: PgConnection,
}

impl Moments {
    pub async fn of(city: &City) -> Self {
        let house = &city.house;
        let moment = Moment::of(house).await;
        Self { moment, one: house.owner().await, two: house.owner().await }
    }

    /// A worker has a completed trip's job and has done nothing yet.
    pub async fn before_a_jobs_effect(&mut self) -> i32 {
        run(&mut self.one, "BEGIN; LOCK TABLE driver_days IN SHARE ROW EXCLUSIVE MODE").await;
        let worker = self.moment.stands_before("INSERT INTO driver_days").await;
        assert!(self.count("SELECT count(*) FROM jobs WHERE holder IS NOT NULL").await > 0);
        worker
    }

    /// A worker has added the trip to its driver's day and has not committed that.
    pub async fn effect_not_committed(&mut self) -> i32 {
        self.before_a_jobs_effect().await;
        let held = "BEGIN; SELECT FROM sagas WHERE status = 'running' AND step = 0 FOR UPDATE";
        run(&mut self.two, held).await;
        run(&mut self.one, "ROLLBACK").await;
        let worker = self.moment.stands_before("UPDATE sagas").await;
        assert!(self.moment.has_written(worker, "driver_days").await);
        worker
    }

    /// A worker has done and committed all of a job, and the job is still there.
    pub async fn effect_committed_and_job_not_ended(&mut self) -> i32 {
        self.effect_not_committed().await;
        let held = "BEGIN; SELECT FROM jobs WHERE kind = 'trip_aftermath' FOR UPDATE";
        run(&mut self.one, held).await;
        run(&mut self.two, "ROLLBACK").await;
        let worker = self.moment.stands_before("DELETE FROM jobs").await;
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
        let watch = &mut self.moment.watch;
        until("news", async || (count(watch, NEWS).await > 0).then_some(())).await;
        run(&mut self.two, "BEGIN; SELECT FROM outbox FOR UPDATE").await;
        run(&mut self.one, "SELECT pg_advisory_unlock_all()").await;
        let relay = self.moment.stands_before("DELETE FROM outbox").await;
        assert!(self.moment.has_written(relay, "jobs").await);
        // If any of it could be seen already, it would be done by now, and done again afterwards.
        let watch = &mut self.moment.watch;
        until("the end of jobs", async || (count(watch, TOLD).await == 0).then_some(())).await;
        relay
    }

    /// The relay has committed a batch and was not told so.
    pub async fn published_and_the_commit_unheard(&mut self) -> i32 {
        let relay = self.published_and_not_marked().await;
        // Of commits that notify one is under way at a time: the relay's must be the first that is
        // not answered, so the others, which write here, wait.
        run(&mut self.one, "BEGIN; LOCK TABLE event_store, notifications IN SHARE MODE").await;
        self.moment.mute_commits().await;
        run(&mut self.two, "ROLLBACK").await;
        self.moment.waits_for_its_commit(relay).await;
        relay
    }

    /// The database was asked for jobs and has taken none yet.
    pub async fn claim_asked(&mut self) -> i32 {
        run(&mut self.one, "BEGIN; LOCK TABLE jobs IN SHARE MODE").await;
        self.moment.stands_before("WITH due").await
    }

    /// The database has given a job to a worker and has not committed that.
    pub async fn claimed_and_not_committed(&mut self) -> i32 {
        sqlx::query("SELECT pg_advisory_lock($1)")
            .bind(GATE)
            .execute(&mut self.one)
            .await
            .expect("claims under way end");
        let claim = self.moment.stands_before("WITH due").await;
        assert!(self.moment.has_written(claim, "jobs").await);
        claim
    }

    /// The database has committed a claim and did not say so.
    pub async fn claimed_and_the_commit_unheard(&mut self) -> i32 {
        let claim = self.claimed_and_not_committed().await;
        self.moment.mute_commits().await;
        run(&mut self.one, "SELECT pg_advisory_unlock_all()").await;
        self.moment.waits_for_its_commit(claim).await;
        claim
    }

    async fn count(&mut self, sql: &'static str) -> i64 {
        count(&mut self.moment.watch, sql).await
    }
}

async fn count(conn: &mut PgConnection, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(conn).await.unwrap_or_else(|error| panic!("{sql}: {error}"))
}
