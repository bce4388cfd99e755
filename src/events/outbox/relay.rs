//! From the outbox to the consumers.
//!
//! One relay at a time does it, by a lock that lasts as long as its transaction: a relay that dies
//! gives it back with its connection. What consumers make of a batch is stored, and the batch taken
//! out of the outbox, by one commit.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use base::Fault;
use metrics::{counter, gauge, histogram};
use ops::Tasks;
use storage::{Db, Who};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};
use uuid::Uuid;

use super::{Consumer, FACTS, Published, store};
use crate::{NewJob, add_in_tx};

/// Facts told by one commit.
const BATCH: i64 = 500;
/// How often the outbox is looked into when nobody rings.
const POLL: Duration = Duration::from_millis(500);
/// Between two measurements of what waits.
const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// A fact that can't be told waits so long, twice as long each time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Tells facts to consumers. Cheap to clone.
#[derive(Clone)]
pub struct Relay(Arc<Inner>);

struct Inner {
    db: Db,
    consumers: Vec<Arc<dyn Consumer>>,
    bell: Notify,
}

/// What became of one look into the outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// So many facts were told.
    Told(usize),
    /// Another relay is at it.
    NotOurs,
}

impl Relay {
    pub fn new(db: Db, consumers: Vec<Arc<dyn Consumer>>) -> Self {
        let inner = Arc::new(Inner { db, consumers, bell: Notify::new() });
        let waiting = Arc::downgrade(&inner);
        inner.db.on_ring(FACTS.channel, move |_| {
            if let Some(inner) = waiting.upgrade() {
                inner.bell.notify_one();
            }
        });
        Self(inner)
    }

    /// Tells facts as they come until the node stops.
    pub fn start(&self, tasks: &Tasks) {
        tasks.spawn_vital("outbox relay", self.clone().run(tasks.stopping()));
        let (relay, stopping) = (self.clone(), tasks.stopping());
        tasks.spawn("outbox measure", async move {
            let mut tick = tokio::time::interval(MEASURE_EVERY);
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    _ = tick.tick() => relay.measure().await,
                }
            }
        });
    }

    async fn run(self, stopping: CancellationToken) {
        loop {
            if let Err(fault) = self.catch_up().await {
                warn!(%fault, "facts wait to be told");
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = self.0.bell.notified() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Tells everything that waits; how many facts were told.
    pub async fn catch_up(&self) -> Result<usize, Fault> {
        let mut told = 0;
        while let Round::Told(some) = self.round().await? {
            told += some;
            if some == 0 {
                break;
            }
        }
        Ok(told)
    }

    async fn round(&self) -> Result<Round, Fault> {
        let mut tx = self.0.db.begin(&Who::System).await?;
        if !store::turn_in_tx(&mut tx).await? {
            return Ok(Round::NotOurs);
        }
        let facts = store::waiting_in_tx(&mut tx, BATCH).await?;
        if facts.is_empty() {
            // Not left to be rolled back some time: the turn must be free when this returns.
            tx.commit().await?;
            return Ok(Round::Told(0));
        }
        let (mut told, mut jobs, mut held) = (Vec::new(), Vec::new(), HashSet::<Uuid>::new());
        for fact in &facts {
            if held.contains(&fact.aggregate_id) {
                continue;
            }
            match self.ask(fact) {
                Ok(wanted) => {
                    jobs.extend(wanted);
                    told.push(fact.id);
                }
                Err(why) => {
                    held.insert(fact.aggregate_id);
                    error!(kind = fact.kind, aggregate.id = %fact.aggregate_id, seq = fact.seq,
                        "a fact can't be told, its aggregate waits: {why}");
                    counter!("smartline_outbox_failures_total").increment(1);
                    store::delay_in_tx(&mut tx, fact.id, wait_after(fact.attempts)).await?;
                }
            }
        }
        add_in_tx(&mut tx, &jobs).await?;
        store::told_in_tx(&mut tx, &told).await?;
        tx.commit().await?;
        counter!("smartline_outbox_published_total").increment(told.len() as u64);
        let now = base::Clock::system().now();
        for fact in &facts {
            histogram!("smartline_outbox_lag_seconds").record(now.after(fact.at).as_secs_f64());
        }
        Ok(Round::Told(told.len()))
    }

    fn ask(&self, fact: &Published) -> Result<Vec<NewJob>, String> {
        let mut jobs = Vec::new();
        for consumer in &self.0.consumers {
            let wanted = consumer.jobs(fact);
            jobs.extend(wanted.map_err(|why| format!("{}: {why}", consumer.name()))?);
        }
        Ok(jobs)
    }

    async fn measure(&self) {
        let measured = async {
            let mut tx = self.0.db.begin(&Who::System).await?;
            let lag = store::lag_in_tx(&mut tx).await?;
            tx.commit().await?;
            Ok::<_, Fault>(lag)
        };
        if let Ok((seconds, waiting)) = measured.await {
            gauge!("smartline_outbox_oldest_seconds").set(seconds);
            gauge!("smartline_outbox_waiting").set(waiting as f64);
        }
    }
}

fn wait_after(attempts: i16) -> Duration {
    let doublings = u32::from(attempts.unsigned_abs()).min(16);
    (FIRST_WAIT * 2_u32.pow(doublings)).min(LONGEST_WAIT)
}
