//! Facts and jobs on a private PostgreSQL that forces every commit to disk: how many a second pass
//! through the whole cycle, and how long the way from a commit to a handler is.
//!
//! Beside the queue stands what most would write first: a row per job, and workers that take the
//! oldest with `SKIP LOCKED`, do it and delete it in one transaction. It has no priorities, lanes,
//! leases or dead letters, and doesn't sleep between looks, so what it costs is a lower bound.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base::{Clock, Dice, Millis};
use events::{
    Consumer, Done, Fact, Failure, Handler, Handlers, Job, Jobs, Kind, NewJob, OnDead, Priority,
    Published, Queue, Relay, WorkerConfig,
};
use futures_util::future::try_join_all;
use hdrhistogram::Histogram;
use ops::Tasks;
use parking_lot::Mutex;
use serde_json::json;
use sqlx::{Connection, PgConnection};
use storage::{Db, Durability, Who};
use tokio::sync::Notify;
use uuid::Uuid;

use crate::Options;
use crate::durable::{Stopwatch, Taken, beside};
use crate::postgres::Postgres;
use crate::table::{Bound, Figure, Row};

/// Connections of the rival, and hands of ours.
const HANDS: usize = 20;
const CALM: f64 = 200.0;
const BUSY: f64 = 500.0;

/// Longest wait that is told apart from longer ones, microseconds.
const LONGEST_US: u64 = 60_000_000;

static WORK: Kind = Kind {
    name: "work",
    queue: Queue::TripEvents,
    priority: Priority::High,
    version: 1,
    attempts: 5,
    on_dead: OnDead::Support,
};

/// Counts what it is given, and how long each was on its way.
struct Counter {
    begun: Instant,
    count: AtomicUsize,
    waits: Mutex<Histogram<u64>>,
    rang: Notify,
}

impl Counter {
    fn new() -> anyhow::Result<Arc<Self>> {
        let waits = Mutex::new(Histogram::new_with_max(LONGEST_US, 3)?);
        let (begun, count) = (Instant::now(), AtomicUsize::new(0));
        Ok(Arc::new(Self { begun, count, waits, rang: Notify::new() }))
    }

    /// Microseconds since the counter was made.
    fn now(&self) -> u64 {
        u64::try_from(self.begun.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    async fn reached(&self, count: usize) {
        loop {
            let rang = self.rang.notified();
            if self.count.load(Ordering::SeqCst) >= count {
                return;
            }
            rang.await;
        }
    }

    fn p99_ms(&self) -> f64 {
        self.waits.lock().value_at_quantile(0.99) as f64 / 1000.0
    }
}

impl Handler for Counter {
    fn run<'a>(
        &'a self,
        job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>> {
        Box::pin(async move {
            let sent: u64 = job.read()?;
            self.waits.lock().saturating_record(self.now().saturating_sub(sent));
            self.count.fetch_add(1, Ordering::SeqCst);
            self.rang.notify_waiters();
            Ok(Done::Finished)
        })
    }
}

/// Every fact is a job.
struct Passing;

impl Consumer for Passing {
    fn name(&self) -> &'static str {
        "passing"
    }

    fn jobs(&self, fact: &Published) -> Result<Vec<NewJob>, base::Fault> {
        Ok(vec![NewJob::new(&WORK, &fact.read::<u64>()?)?])
    }
}

/// A node's queue at work.
struct Works {
    jobs: Jobs,
    tasks: Tasks,
    counter: Arc<Counter>,
}

impl Works {
    fn start(db: &Db) -> anyhow::Result<Self> {
        let (jobs, tasks) = (Jobs::new(db.clone(), Dice::system()), Tasks::new());
        let counter = Counter::new()?;
        let relay = Relay::new(db.clone(), vec![Arc::new(Passing)]);
        relay.start(&tasks);
        let handlers = Handlers::default().on(&WORK, Arc::clone(&counter) as _);
        jobs.work(&tasks, &Clock::system(), handlers, WorkerConfig::default());
        storage::listen(db, &tasks);
        Ok(Self { jobs, tasks, counter })
    }

    /// `count` jobs by many hands, each in a transaction of its own, all done.
    async fn cycle(&self, count: usize) -> anyhow::Result<()> {
        let before = self.counter.count.load(Ordering::SeqCst);
        try_join_all((0..HANDS).map(|_| async {
            for _ in 0..count / HANDS {
                self.jobs.add(&[NewJob::new(&WORK, &self.counter.now())?]).await?;
            }
            anyhow::Ok(())
        }))
        .await?;
        self.counter.reached(before + count / HANDS * HANDS).await;
        Ok(())
    }

    /// The same for facts: appended, told by the relay, run as jobs.
    async fn tell(&self, db: &Db, count: usize) -> anyhow::Result<()> {
        let before = self.counter.count.load(Ordering::SeqCst);
        try_join_all((0..HANDS).map(|_| async {
            for _ in 0..count / HANDS {
                append(db.clone(), self.counter.now()).await?;
            }
            anyhow::Ok(())
        }))
        .await?;
        self.counter.reached(before + count / HANDS * HANDS).await;
        Ok(())
    }

    /// So many a second for so long, each by `put`; the handlers' p99 in milliseconds.
    async fn paced<F>(
        &self,
        rate: f64,
        length: Duration,
        put: impl Fn(u64) -> F,
    ) -> anyhow::Result<f64>
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        self.counter.waits.lock().reset();
        let before = self.counter.count.load(Ordering::SeqCst);
        let count = (rate * length.as_secs_f64()) as usize;
        let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / rate));
        let mut sent = Vec::with_capacity(count);
        for _ in 0..count {
            tick.tick().await;
            // Not one after the other: a slow commit must not slow the ones behind it down.
            sent.push(tokio::spawn(put(self.counter.now())));
        }
        for done in try_join_all(sent).await? {
            done?;
        }
        self.counter.reached(before + count).await;
        Ok(self.counter.p99_ms())
    }
}

async fn put_down(jobs: Jobs, sent: u64) -> anyhow::Result<()> {
    jobs.add(&[NewJob::new(&WORK, &sent)?]).await?;
    Ok(())
}

/// A fact of an aggregate of its own, in a transaction of its own.
async fn append(db: Db, sent: u64) -> anyhow::Result<()> {
    let mut tx = db.begin(&Who::System).await?;
    let id = Uuid::now_v7();
    let at = Millis(1_700_000_000_000);
    let fact = Fact {
        aggregate: "bench",
        id,
        kind: "BENCH_PASSED",
        version: 1,
        payload: &json!(sent),
        at,
    };
    events::append_in_tx(&mut tx, &fact).await?;
    tx.commit().await?;
    Ok(())
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let postgres = Postgres::start(Durability::Full).await?;
    eprintln!("jobs: {}", postgres.describe().await?);
    let works = Works::start(&postgres.db)?;
    let count = if options.quick { 2_000 } else { 20_000 };
    let length = Duration::from_secs(if options.quick { 2 } else { 10 });
    let [mut ours, mut told, mut theirs] = <[Taken; 3]>::default();
    let (mut calm, mut facts) = (Vec::new(), Vec::new());
    for run in 0..=options.runs {
        let [mut own, mut fact, mut plain] = <[Taken; 3]>::default();
        let watch = Stopwatch::start(&postgres)?;
        works.cycle(count).await?;
        watch.stop(count, &mut own)?;
        let watch = Stopwatch::start(&postgres)?;
        works.tell(&postgres.db, count).await?;
        watch.stop(count, &mut fact)?;
        let mut rival = Rival::open(&postgres).await?;
        let watch = Stopwatch::start(&postgres)?;
        rival.cycle(count).await?;
        watch.stop(count, &mut plain)?;
        drop(rival);
        let calm_ms = works.paced(CALM, length, |sent| put_down(works.jobs.clone(), sent)).await?;
        let facts_ms = works.paced(BUSY, length, |sent| append(postgres.db.clone(), sent)).await?;
        // The first one warms up.
        if run > 0 {
            let (jobs_s, facts_s) = (own.rate(), fact.rate());
            eprintln!(
                "  run {run}: {jobs_s:.0} jobs/s, {facts_s:.0} facts/s, {calm_ms:.1} ms, \
                 {facts_ms:.1} ms"
            );
            ours.join(own);
            told.join(fact);
            theirs.join(plain);
            calm.push(calm_ms);
            facts.push(facts_ms);
        }
    }
    works.tasks.stop(Duration::from_secs(10)).await;
    postgres.stop().await;
    let rows = rates(&ours, &told, &theirs);
    Ok(rows.into_iter().chain(waits(calm, facts)).collect())
}

/// Through the whole cycle, by the clock and by what it costs.
fn rates(ours: &Taken, told: &Taken, theirs: &Taken) -> Vec<Row> {
    let enough = Bound::Min(1000.0);
    let whole = Row::alone("a job, put down, taken, done", Figure::new("/s", ours.rates()));
    let mut rows = vec![whole.bound(enough)];
    rows.extend(beside("a job", ours, "INSERT and poll", theirs, None));
    let what = "a fact, appended, told, its job done";
    rows.extend(beside(what, told, "INSERT and poll", theirs, None));
    rows
}

fn waits(calm: Vec<f64>, facts: Vec<f64>) -> [Row; 2] {
    let late = |name: String, ms| Row::alone(name, Figure::new("ms", ms));
    let queue = format!("from commit to handler at {CALM:.0} jobs/s, 99 of 100");
    let relay = format!("from a fact to its handler at {BUSY:.0} facts/s, 99 of 100");
    [late(queue, calm).bound(Bound::Max(100.0)), late(relay, facts)]
}

/// A table, an INSERT each, and as many workers who take the oldest until all are gone. Its
/// connections outlive the measurement: the CPU of one that ended can't be read any more.
struct Rival {
    writers: Vec<PgConnection>,
    readers: Vec<PgConnection>,
}

impl Rival {
    async fn open(postgres: &Postgres) -> anyhow::Result<Self> {
        let mut owner = postgres.owner().await?;
        sqlx::raw_sql(
            "CREATE TABLE IF NOT EXISTS plain_jobs \
             (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, payload jsonb NOT NULL); \
             TRUNCATE plain_jobs",
        )
        .execute(&mut owner)
        .await?;
        let open = || try_join_all((0..HANDS).map(|_| postgres.owner()));
        Ok(Self { writers: open().await?, readers: open().await? })
    }

    async fn cycle(&mut self, count: usize) -> anyhow::Result<()> {
        let left = AtomicUsize::new(count / HANDS * HANDS);
        let writers = self.writers.iter_mut().map(async |conn| {
            for number in 0..count / HANDS {
                sqlx::query("INSERT INTO plain_jobs (payload) VALUES ($1)")
                    .bind(json!(number))
                    .execute(&mut *conn)
                    .await?;
            }
            anyhow::Ok(())
        });
        let readers = self.readers.iter_mut().map(async |conn| {
            while left.load(Ordering::SeqCst) > 0 {
                let mut tx = conn.begin().await?;
                let taken = sqlx::query(
                    "DELETE FROM plain_jobs WHERE id = (SELECT id FROM plain_jobs ORDER BY id \
                     LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING payload",
                )
                .fetch_optional(&mut *tx)
                .await?;
                tx.commit().await?;
                if taken.is_some() {
                    left.fetch_sub(1, Ordering::SeqCst);
                }
            }
            anyhow::Ok(())
        });
        tokio::try_join!(try_join_all(writers), try_join_all(readers))?;
        Ok(())
    }
}
