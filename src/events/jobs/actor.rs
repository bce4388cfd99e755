//! The workers of this node: a loop per queue takes what is due and hands it to its handler.
//!
//! Owns what runs at the moment. A job is taken with a lease, renewed while its handler works; a
//! worker that dies lets it lapse, and another takes the job. Ends of jobs are written together,
//! several in one statement.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use base::{Clock, Fault};
use futures_util::FutureExt;
use metrics::{counter, gauge, histogram};
use ops::Tasks;
use storage::in_background;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};
use uuid::Uuid;

use super::letters::{DeadLetters, announce};
use super::model::{Done, Failure, Handler, Job, Kind, OnDead, Queue};
use super::queue::Jobs;
use super::rules::{self, Fate};
use super::schedule::Schedule;
use super::store::{self, Known};

/// Most characters of an error that are kept.
const ERROR_MAX: usize = 500;
/// Between two counts of what waits.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// Between two attempts to write down how jobs ended, once the node stops.
const SETTLE_AGAIN: Duration = Duration::from_millis(500);
/// Between two looks at schedules and letters.
const SCHEDULE_EVERY: Duration = Duration::from_secs(10);

/// How a node works.
#[derive(Clone, Copy, Debug)]
pub struct WorkerConfig {
    /// Jobs of one queue that run at the same time.
    pub at_once: usize,
    /// How long a job is a worker's without a sign of life.
    pub lease: Duration,
    /// How often a queue is looked into when nobody rings.
    pub poll: Duration,
    /// How long running jobs may take once the node stops.
    pub drain: Duration,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            at_once: 32,
            lease: Duration::from_secs(30),
            poll: Duration::from_secs(1),
            drain: Duration::from_secs(10),
        }
    }
}

/// Who does which kind of job, and what recurs.
#[derive(Default)]
pub struct Handlers {
    by_kind: BTreeMap<&'static str, (&'static Kind, Arc<dyn Handler>)>,
    schedules: Vec<&'static Schedule>,
}

impl Handlers {
    #[must_use]
    pub fn on(mut self, kind: &'static Kind, handler: Arc<dyn Handler>) -> Self {
        self.by_kind.insert(kind.name, (kind, handler));
        self
    }

    #[must_use]
    pub fn every(mut self, schedule: &'static Schedule) -> Self {
        self.schedules.push(schedule);
        self
    }

    fn known(&self, queue: Queue) -> Known {
        let kinds = self.by_kind.values().map(|(kind, _)| *kind).filter(|k| k.queue == queue);
        let (kinds, versions) = kinds.map(|kind| (kind.name.to_owned(), kind.version)).unzip();
        Known { kinds, versions }
    }
}

impl Jobs {
    /// Starts the workers of this node: one loop per queue that has a handler.
    pub fn work(&self, tasks: &Tasks, clock: &Clock, handlers: Handlers, config: WorkerConfig) {
        let handlers = Arc::new(handlers);
        for queue in Queue::ALL {
            let known = handlers.known(*queue);
            if known.kinds.is_empty() {
                continue;
            }
            let worker = Worker {
                jobs: self.clone(),
                queue: *queue,
                known,
                handlers: Arc::clone(&handlers),
                config,
                tasks: tasks.clone(),
                holder: Uuid::now_v7(),
                running: BTreeMap::new(),
                unsettled: Vec::new(),
            };
            tasks.spawn_vital("job worker", worker.run(tasks.stopping()));
        }
        tasks.spawn("job counter", count(self.clone(), tasks.stopping()));
        let keeper = keep(self.clone(), clock.clone(), handlers, tasks.stopping());
        tasks.spawn("job schedules", keeper);
    }
}

/// A job's id and the number of the try: a job that was lost may come back while it still runs.
type Try = (i64, i16);

/// A job whose handler has answered.
struct Ended {
    job: Job,
    result: Result<Done, Failure>,
}

struct Worker {
    jobs: Jobs,
    queue: Queue,
    known: Known,
    handlers: Arc<Handlers>,
    config: WorkerConfig,
    tasks: Tasks,
    holder: Uuid,
    /// What ends the handler of each running job.
    running: BTreeMap<Try, CancellationToken>,
    /// Ends that could not be written yet.
    unsettled: Vec<Ended>,
}

impl Worker {
    async fn run(mut self, stopping: CancellationToken) {
        let (tell, mut ended) = mpsc::channel(self.config.at_once);
        // What is taken at the start has its whole lease.
        let every = self.config.lease / 3;
        let mut beat = tokio::time::interval_at(Instant::now() + every, every);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut look = true;
        while !stopping.is_cancelled() {
            if look {
                look = self.take(&tell).await;
            }
            let jobs = self.jobs.clone();
            let has_room = self.room() > 0;
            let mut batch = Vec::new();
            tokio::select! {
                biased;
                () = stopping.cancelled() => break,
                // Before the ends: under load there is always one more of them.
                _ = beat.tick() => self.renew().await,
                _ = ended.recv_many(&mut batch, self.config.at_once) => {
                    self.settle(batch).await;
                    look = true;
                }
                () = jobs.line(self.queue).bell.notified(), if has_room => look = true,
                () = tokio::time::sleep(self.config.poll), if has_room => look = true,
            }
        }
        self.drain(ended).await;
    }

    fn room(&self) -> usize {
        self.config.at_once - self.running.len()
    }

    /// Takes and starts what is due, as far as there is room; true when there may be more.
    async fn take(&mut self, tell: &mpsc::Sender<Ended>) -> bool {
        let room = self.room();
        if room == 0 {
            return false;
        }
        let (db, lease) = (&self.jobs.0.db, self.config.lease);
        let taken = store::claim(db, self.queue, &self.known, self.holder, lease, room).await;
        let jobs = match taken {
            Ok(jobs) => jobs,
            Err(fault) => {
                debug!(queue = self.queue.name(), %fault, "no jobs can be taken, trying again");
                return false;
            }
        };
        let full = jobs.len() == room;
        for job in jobs {
            self.start(job, tell.clone());
        }
        full
    }

    fn start(&mut self, job: Job, tell: mpsc::Sender<Ended>) {
        let stop = CancellationToken::new();
        self.running.insert((job.id, job.attempt), stop.clone());
        let handler = self.handlers.by_kind.get(job.kind.as_str()).map(|(_, h)| Arc::clone(h));
        let now = Clock::system().now();
        histogram!("smartline_job_wait_seconds", "queue" => self.queue.name())
            .record(now.after(job.due).as_secs_f64());
        self.tasks.spawn("job", async move {
            let result = tokio::select! {
                biased;
                () = stop.cancelled() => Err(Failure::Lost),
                result = in_background(attempt(handler, &job)) => result,
            };
            tell.send(Ended { job, result }).await.ok();
        });
    }

    /// Writes down how jobs ended; what can't be written is kept for the next time.
    async fn settle(&mut self, batch: Vec<Ended>) {
        let mut batch: Vec<Ended> = self.unsettled.drain(..).chain(batch).collect();
        for ended in &batch {
            self.running.remove(&(ended.job.id, ended.job.attempt));
        }
        let is_done = |e: &Ended| e.result == Ok(Done::Finished);
        let done: Vec<Try> =
            batch.iter().filter(|e| is_done(e)).map(|e| (e.job.id, e.job.attempt)).collect();
        if !done.is_empty() {
            match store::finish(&self.jobs.0.db, self.holder, &done).await {
                Ok(_) => batch.retain(|ended| !is_done(ended)),
                Err(fault) => warn!(jobs = done.len(), %fault, "ends of jobs wait to be written"),
            }
        }
        for ended in batch {
            if is_done(&ended) || self.end(&ended).await.is_err() {
                self.unsettled.push(ended);
            }
        }
    }

    /// One that failed, or that its handler has ended by itself.
    async fn end(&self, ended: &Ended) -> Result<(), Fault> {
        let Ended { job, result } = ended;
        let Err(failure) = result else { return Ok(()) };
        let why: String = failure.to_string().chars().take(ERROR_MAX).collect();
        let fate = rules::fate(job.attempt, job.attempts, failure, self.jobs.0.dice.unit());
        let db = &self.jobs.0.db;
        match fate {
            Fate::Nothing => Ok(()),
            Fate::Again(wait) => {
                debug!(job.id, kind = job.kind, attempt = job.attempt, "job failed: {why}");
                store::put_back(db, job, wait, &why).await
            }
            Fate::Dead => {
                let rule = self.handlers.by_kind.get(job.kind.as_str());
                let rule = rule.map_or(OnDead::Support, |(kind, _)| kind.on_dead);
                if store::bury(db, job, &why).await? {
                    announce(job, rule, &why);
                }
                Ok(())
            }
        }
    }

    /// Keeps the leases of what runs; a job that became another's is stopped here.
    async fn renew(&mut self) {
        self.settle(Vec::new()).await;
        // Those whose end could not be written are still this worker's.
        let unsettled = self.unsettled.iter().map(|ended| (ended.job.id, ended.job.attempt));
        let tries: Vec<Try> = self.running.keys().copied().chain(unsettled).collect();
        if tries.is_empty() {
            return;
        }
        let (db, lease) = (&self.jobs.0.db, self.config.lease);
        match store::renew(db, self.holder, &tries, lease).await {
            Ok(kept) => {
                let lost = |running: &(&Try, &CancellationToken)| !kept.contains(running.0);
                // It may also have ended by itself a moment ago.
                self.running.iter().filter(lost).for_each(|(_, stop)| stop.cancel());
            }
            Err(fault) => warn!(queue = self.queue.name(), %fault, "leases could not be renewed"),
        }
    }

    /// What runs may end; what doesn't in time is given back, uncounted.
    async fn drain(mut self, mut ended: mpsc::Receiver<Ended>) {
        let until = Instant::now() + self.config.drain;
        while !self.running.is_empty() || !self.unsettled.is_empty() {
            let mut batch = Vec::new();
            let next = ended.recv_many(&mut batch, self.config.at_once);
            let turn = Instant::now() + SETTLE_AGAIN;
            let quiet = tokio::time::timeout_at(turn.min(until), next).await.is_err();
            self.settle(batch).await;
            if quiet && Instant::now() >= until {
                break;
            }
        }
        let left: Vec<Try> = self.running.keys().copied().collect();
        self.running.values().for_each(CancellationToken::cancel);
        if !left.is_empty()
            && let Err(fault) = store::release(&self.jobs.0.db, self.holder, &left).await
        {
            warn!(jobs = left.len(), %fault, "running jobs come back when their leases end");
        }
    }
}

async fn attempt(handler: Option<Arc<dyn Handler>>, job: &Job) -> Result<Done, Failure> {
    if job.attempt > job.attempts {
        // Every worker that took it was gone before it could say anything.
        return Err(Failure::never("its workers ended without a word"));
    }
    let Some(handler) = handler else { return Err(Failure::again("nobody does this")) };
    let begun = Instant::now();
    let result = AssertUnwindSafe(handler.run(job)).catch_unwind().await;
    let result = result.unwrap_or_else(|_| Err(Failure::again("its handler panicked")));
    let outcome = match &result {
        Ok(_) => "done",
        Err(Failure::Again { .. }) => "failed",
        Err(Failure::Never { .. }) => "refused",
        Err(Failure::Lost) => "lost",
    };
    counter!("smartline_jobs_total", "kind" => job.kind.clone(), "outcome" => outcome).increment(1);
    histogram!("smartline_job_seconds", "kind" => job.kind.clone())
        .record(begun.elapsed().as_secs_f64());
    result
}

/// Counts what waits: for metrics, and for whoever wants to put more down.
async fn count(jobs: Jobs, stopping: CancellationToken) {
    let mut tick = tokio::time::interval(COUNT_EVERY);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = tick.tick() => {}
        }
        match store::depths(&jobs.0.db).await {
            Ok((depths, letters)) => jobs.counted(&depths, &letters),
            Err(fault) => debug!(%fault, "queues can't be counted"),
        }
    }
}

impl Jobs {
    fn counted(&self, depths: &[(Queue, u64)], letters: &[(OnDead, u64)]) {
        for queue in Queue::ALL {
            let depth = depths.iter().find(|(name, _)| name == queue).map_or(0, |(_, n)| *n);
            self.line(*queue).depth.store(depth, std::sync::atomic::Ordering::Relaxed);
            gauge!("smartline_queue_depth", "queue" => queue.name()).set(depth as f64);
        }
        for rule in OnDead::ALL {
            let open = letters.iter().find(|(name, _)| name == rule).map_or(0, |(_, n)| *n);
            gauge!("smartline_dead_letters_open", "rule" => rule.name()).set(open as f64);
        }
    }
}

/// Puts recurring jobs down and brings letters back.
async fn keep(jobs: Jobs, clock: Clock, handlers: Arc<Handlers>, stopping: CancellationToken) {
    let letters = DeadLetters::new(&jobs.0.db);
    let mut tick = tokio::time::interval(SCHEDULE_EVERY);
    loop {
        tokio::select! {
            () = stopping.cancelled() => return,
            _ = tick.tick() => {}
        }
        let now = clock.now();
        for schedule in &handlers.schedules {
            if let Err(fault) = schedule.tick(&jobs.0.db, now).await {
                warn!(schedule = schedule.name, %fault, "a schedule has to wait");
            }
        }
        if let Err(fault) = letters.recover(&clock).await {
            debug!(%fault, "dead letters can't be looked at");
        }
    }
}
