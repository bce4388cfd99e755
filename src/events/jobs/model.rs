//! Words of the job queue, and the seam to whoever does the work.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use base::{Fault, Millis};
use serde::Serialize;
use serde::de::DeserializeOwned;
use storage::Tx;
use uuid::Uuid;

use super::rules;
use super::store;

base::words! {
    /// Jobs by purpose. A queue's workers don't wait for another queue's.
    Queue {
        /// What follows a trip's facts.
        TripEvents = "trip-events",
        Notifications = "notifications",
        Payments = "payment-processing",
        Analytics = "analytics",
        Cleanup = "cleanup",
    }
}

base::words! {
    /// How urgent a job is; none starves another.
    Priority {
        /// Payments, changes of trips.
        Critical = "critical",
        /// What somebody waits for.
        High = "high",
        Normal = "normal",
        /// Clean-up, batches.
        Low = "low",
    }
}

base::words! {
    /// What becomes of a job that is not tried any more.
    OnDead {
        /// People look at it when they have time.
        Support = "support",
        /// Money: an alarm, and nobody but a person touches it.
        ByHand = "by_hand",
        /// It is brought back a few times by itself, then it is an alarm.
        Recover = "recover",
    }
}

/// A kind of job, declared once by the room that does it.
#[derive(Debug)]
pub struct Kind {
    pub name: &'static str,
    pub queue: Queue,
    pub priority: Priority,
    /// Of the payload. A worker leaves jobs of a newer version to newer workers.
    pub version: i16,
    /// How often it is tried.
    pub attempts: i16,
    pub on_dead: OnDead,
}

/// A job to put down.
#[derive(Clone, Debug, Serialize)]
pub struct NewJob {
    queue: Queue,
    kind: &'static str,
    version: i16,
    payload: serde_json::Value,
    #[serde(rename = "priority")]
    rank: i16,
    #[serde(skip)]
    pub(crate) priority: Priority,
    key: Option<String>,
    lane: Option<Uuid>,
    run_at: Option<Millis>,
    patience_s: f64,
    max_attempts: i16,
    on_dead: OnDead,
    trace: Option<String>,
}

impl NewJob {
    /// `payload` names people by ids only: a dead letter shows it to operators.
    pub fn new(kind: &'static Kind, payload: &impl Serialize) -> Result<Self, Fault> {
        let payload = serde_json::to_value(payload)
            .map_err(|error| Fault::internal(format!("payload of {}: {error}", kind.name)))?;
        Ok(Self {
            queue: kind.queue,
            kind: kind.name,
            version: kind.version,
            payload,
            rank: kind.priority as i16,
            priority: kind.priority,
            key: None,
            lane: None,
            run_at: None,
            patience_s: rules::patience(kind.priority).as_secs_f64(),
            max_attempts: kind.attempts,
            on_dead: kind.on_dead,
            trace: None,
        })
    }

    /// While a job of this kind with this key waits or runs, another one is not put down.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Jobs of a lane run one at a time, in the order they were put down.
    #[must_use]
    pub const fn lane(mut self, lane: Uuid) -> Self {
        self.lane = Some(lane);
        self
    }

    /// Not before `at`.
    #[must_use]
    pub const fn at(mut self, at: Millis) -> Self {
        self.run_at = Some(at);
        self
    }

    /// The W3C trace it belongs to.
    #[must_use]
    pub fn trace(mut self, trace: Option<String>) -> Self {
        self.trace = trace;
        self
    }

    pub(crate) const fn queue(&self) -> Queue {
        self.queue
    }
}

/// A job in a worker's hands.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: i64,
    pub queue: Queue,
    pub kind: String,
    pub version: i16,
    /// JSON.
    pub payload: String,
    /// This is try number…
    pub attempt: i16,
    /// …of so many.
    pub attempts: i16,
    pub trace: Option<String>,
    /// When it became due for this try, by the database's clock.
    pub due: Millis,
    pub(crate) holder: Uuid,
}

impl Job {
    /// The payload as the kind's own type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_str(&self.payload)
            .map_err(|error| Failure::never(format!("payload can't be read: {error}")))
    }

    /// Is this the last try?
    pub const fn is_last(&self) -> bool {
        self.attempt >= self.attempts
    }

    /// Ends the job in the transaction of its effect, so that both happen or neither. Fails when
    /// another worker has the job by now: then the effect is that one's.
    pub async fn finish_in_tx(&self, tx: &mut Tx) -> Result<(), Failure> {
        match store::finish_in_tx(tx, self.holder, &[(self.id, self.attempt)]).await {
            Ok(1) => Ok(()),
            Ok(_) => Err(Failure::Lost),
            Err(fault) => Err(fault.into()),
        }
    }
}

/// What became of a job that went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// The worker ends it.
    Finished,
    /// The handler ended it with [`Job::finish_in_tx`].
    Stored,
}

/// Why a job did not succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It may work later; `after` where somebody said when.
    #[error("{why}")]
    Again { why: String, after: Option<Duration> },
    /// It never will.
    #[error("{why}")]
    Never { why: String },
    /// Another worker has it: nothing is to be done.
    #[error("another worker has the job")]
    Lost,
}

impl Failure {
    pub fn again(why: impl Into<String>) -> Self {
        Self::Again { why: why.into(), after: None }
    }

    pub fn never(why: impl Into<String>) -> Self {
        Self::Never { why: why.into() }
    }
}

/// Faults pass, or may be mended by the next version of the program.
impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::again(fault.to_string())
    }
}

/// Whoever does jobs of a kind. May be run again for a job it did already, when its word was lost.
pub trait Handler: Send + Sync {
    fn run<'a>(
        &'a self,
        job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>>;
}
