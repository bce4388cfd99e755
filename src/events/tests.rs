//! Claims about facts, jobs, sagas and keys, on a real PostgreSQL.
//!
//! A worker that dies is one whose tasks are dropped with their runtime: nothing of it ends in
//! order. Leases are short here, so that a dead worker's jobs come back at once.

mod jobs;
mod letters;
mod once;
mod outbox;
mod sagas;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Dice};
use ops::Tasks;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor};
use storage::{Db, testing};
use tokio::sync::{Mutex, Notify};
use uuid::Uuid;

use crate::*;

pub(crate) static WORK: Kind = Kind {
    name: "work",
    queue: Queue::TripEvents,
    priority: Priority::Normal,
    version: 1,
    attempts: 3,
    on_dead: OnDead::Support,
};

/// What a handler in a test is to do with a job.
pub(crate) type Deed =
    Box<dyn Fn(Job) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send>> + Send + Sync>;

/// A handler that does what the test says and remembers what it was given.
pub(crate) struct Hand {
    deed: Deed,
    pub(crate) seen: Mutex<Vec<(String, i16)>>,
    rang: Notify,
}

impl Hand {
    pub(crate) fn new(deed: Deed) -> Arc<Self> {
        Arc::new(Self { deed, seen: Mutex::default(), rang: Notify::new() })
    }

    /// Everything goes well.
    pub(crate) fn willing() -> Arc<Self> {
        Self::new(Box::new(|_| Box::pin(async { Ok(Done::Finished) })))
    }

    /// Waits until so many jobs were given to it.
    pub(crate) async fn given(&self, count: usize) -> Vec<(String, i16)> {
        loop {
            let rang = self.rang.notified();
            let seen = self.seen.lock().await.clone();
            if seen.len() >= count {
                return seen;
            }
            rang.await;
        }
    }
}

impl Handler for Hand {
    fn run<'a>(
        &'a self,
        job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>> {
        Box::pin(async move {
            let result = (self.deed)(job.clone()).await;
            self.seen.lock().await.push((job.payload.clone(), job.attempt));
            self.rang.notify_waiters();
            result
        })
    }
}

/// A database with its queue.
pub(crate) struct Stand {
    pub(crate) db: Db,
    pub(crate) jobs: Jobs,
}

impl Stand {
    pub(crate) async fn new() -> Self {
        Self::on(testing::database().await)
    }

    pub(crate) fn on(db: Db) -> Self {
        let jobs = Jobs::new(db.clone(), Dice::seeded(7));
        Self { db, jobs }
    }

    /// Starts workers for jobs of the kind `work`.
    pub(crate) fn work(&self, hand: &Arc<Hand>, config: WorkerConfig) -> Tasks {
        self.work_on(Handlers::default().on(&WORK, Arc::clone(hand) as _), config)
    }

    pub(crate) fn work_on(&self, handlers: Handlers, config: WorkerConfig) -> Tasks {
        let tasks = Tasks::new();
        self.jobs.work(&tasks, &Clock::system(), handlers, config);
        tasks
    }

    pub(crate) async fn add(&self, jobs: &[NewJob]) {
        self.jobs.add(jobs).await.unwrap();
    }

    /// As the owner, to whom no policy applies.
    pub(crate) async fn owner(&self) -> PgConnection {
        testing::owner(&self.db).await
    }

    pub(crate) async fn count(&self, sql: &str) -> i64 {
        let mut conn = self.owner().await;
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut conn).await.unwrap()
    }

    pub(crate) async fn run(&self, sql: &str) {
        self.owner().await.execute(AssertSqlSafe(sql.to_owned())).await.unwrap();
    }

    /// Waits until the question is answered with `expected`; asked again whenever the room did
    /// something, at the latest every few milliseconds.
    pub(crate) async fn until(&self, sql: &str, expected: i64) {
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while self.count(sql).await != expected {
            tick.tick().await;
        }
    }
}

pub(crate) fn work(number: usize) -> NewJob {
    NewJob::new(&WORK, &number).unwrap()
}

pub(crate) fn quick() -> WorkerConfig {
    WorkerConfig {
        at_once: 8,
        lease: Duration::from_millis(900),
        poll: Duration::from_millis(20),
        drain: Duration::from_secs(5),
    }
}

pub(crate) fn uuid(number: u128) -> Uuid {
    Uuid::from_u128(number)
}
