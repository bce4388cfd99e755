//! The door for whoever wants something done later.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::{Code, Dice, Fault, Problem};
use metrics::counter;
use storage::{Db, Ring, Tx, Who};
use tokio::sync::Notify;

use super::model::{NewJob, Priority, Queue};
use super::{rules, store};

/// Where workers wait for jobs, a part per queue.
const CHANNEL: &str = "smartline_jobs";

/// Puts jobs down in the caller's transaction: they exist if and only if it commits, and workers
/// are called then. How many were new; one whose key waits already is not.
pub async fn add_in_tx(tx: &mut Tx, jobs: &[NewJob]) -> Result<usize, Fault> {
    if jobs.is_empty() {
        return Ok(0);
    }
    for job in jobs {
        tx.rings(ring(job.queue()));
    }
    store::add_in_tx(tx, jobs).await
}

/// What a transaction that brings jobs into `queue` rings.
pub(crate) const fn ring(queue: Queue) -> Ring {
    Ring { channel: CHANNEL, part: queue.name() }
}

/// Why a job was not put down.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AddError {
    /// Too many wait already; what is more urgent would still be taken.
    #[error("the queue {} is full", .0.name())]
    Full(Queue),
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<AddError> for Problem {
    fn from(error: AddError) -> Self {
        match error {
            AddError::Full(queue) => {
                Self::new(Code::Unavailable, "too much waits to be done, try again later")
                    .with("queue", queue.name())
            }
            AddError::Fault(fault) => fault.into(),
        }
    }
}

/// One queue as this node sees it.
#[derive(Default)]
pub(crate) struct Line {
    /// Rung when jobs may have come.
    pub(crate) bell: Notify,
    /// How many waited when they were last counted.
    pub(crate) depth: AtomicU64,
}

pub(crate) struct Shared {
    pub(crate) db: Db,
    pub(crate) dice: Dice,
    lines: HashMap<Queue, Line>,
}

/// The queues. Cheap to clone.
#[derive(Clone)]
pub struct Jobs(pub(crate) Arc<Shared>);

impl Jobs {
    pub fn new(db: Db, dice: Dice) -> Self {
        let lines = Queue::ALL.iter().map(|queue| (*queue, Line::default())).collect();
        let jobs = Self(Arc::new(Shared { db, dice, lines }));
        let shared = Arc::downgrade(&jobs.0);
        jobs.0.db.on_ring(CHANNEL, move |part| {
            if let Some(shared) = shared.upgrade() {
                Self(shared).ring(Queue::parse(part));
            }
        });
        jobs
    }

    /// Puts jobs down in a transaction of their own; refused where a queue is too long for them.
    pub async fn add(&self, jobs: &[NewJob]) -> Result<usize, AddError> {
        for job in jobs {
            self.admit(job.queue(), job.priority)?;
        }
        let mut tx = self.0.db.begin(&Who::System).await?;
        let added = add_in_tx(&mut tx, jobs).await?;
        tx.commit().await?;
        Ok(added)
    }

    /// Would a job of this priority be taken now? For whoever adds it in a transaction of his own.
    pub fn admit(&self, queue: Queue, priority: Priority) -> Result<(), AddError> {
        if rules::admits(priority, self.depth(queue)) {
            return Ok(());
        }
        counter!("smartline_jobs_refused_total", "queue" => queue.name()).increment(1);
        Err(AddError::Full(queue))
    }

    /// Jobs may have come into `queue`, or into any for `None`.
    fn ring(&self, queue: Option<Queue>) {
        for (name, line) in &self.0.lines {
            if queue.is_none_or(|queue| queue == *name) {
                line.bell.notify_one();
            }
        }
    }

    /// How many jobs waited in `queue` when they were last counted.
    pub fn depth(&self, queue: Queue) -> u64 {
        self.line(queue).depth.load(Ordering::Relaxed)
    }

    pub(crate) fn line(&self, queue: Queue) -> &Line {
        &self.0.lines[&queue]
    }
}
