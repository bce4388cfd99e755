//! Dead letters: what nobody tries any more, whole, until somebody decides.

use base::{Caller, Clock, Code, Cursor, Fault, Millis, Problem, UserId};
use metrics::counter;
use serde::Serialize;
use storage::{Db, Tx, Who};
use tracing::{error, info, warn};
use utoipa::ToSchema;
use uuid::Uuid;

use super::model::{Job, OnDead, Priority, Queue};
use super::store;

base::words! {
    /// Where a dead letter stands.
    LetterStatus {
        Open = "open",
        /// Its job was put down again.
        Retried = "retried",
        Discarded = "discarded",
    }
}

/// A job that is not tried any more, with everything known about it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    pub id: Uuid,
    pub queue: Queue,
    pub kind: String,
    pub version: i16,
    #[schema(value_type = Object)]
    pub payload: serde_json::Value,
    pub priority: Priority,
    /// Who has to see to it.
    pub rule: OnDead,
    pub attempts: i32,
    /// `[{at, try, error}]`, newest last.
    #[schema(value_type = Vec<Object>)]
    pub errors: serde_json::Value,
    pub trace: Option<String>,
    /// How often the program brought it back by itself.
    pub recoveries: i16,
    pub made_at: Millis,
    pub died_at: Millis,
    pub status: LetterStatus,
    pub decided_at: Option<Millis>,
    /// Absent when the program decided.
    pub decided_by: Option<UserId>,
    pub reason: Option<String>,
}

/// What is to become of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    Retry,
    Discard,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct LetterFilter {
    pub status: Option<LetterStatus>,
    pub queue: Option<Queue>,
}

/// The letters, for operators and for the program's own recovery. Cheap to clone.
#[derive(Clone)]
pub struct DeadLetters {
    db: Db,
}

impl DeadLetters {
    pub fn new(db: &Db) -> Self {
        Self { db: db.clone() }
    }

    /// Newest first, at most `limit`.
    pub async fn list(
        &self,
        caller: &Caller,
        filter: &LetterFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<DeadLetter>, Fault> {
        store::letters(&self.db, &Who::Caller(*caller), filter, after, limit).await
    }

    /// Decides about an open letter in the caller's transaction, which may also say who did it in
    /// the audit log. A retried one starts over with all its tries.
    pub async fn decide_in_tx(
        tx: &mut Tx,
        by: UserId,
        id: Uuid,
        decision: Decision,
        reason: &str,
    ) -> Result<DeadLetter, Problem> {
        let status = match decision {
            Decision::Retry => LetterStatus::Retried,
            Decision::Discard => LetterStatus::Discarded,
        };
        let decided = store::decide_in_tx(tx, id, status, Some(by), reason).await?;
        let why = "there is no open dead letter with this id";
        decided.ok_or_else(|| Problem::new(Code::NotFound, why))
    }

    /// Brings back what may be brought back by itself; to be called about once a minute.
    pub async fn recover(&self, clock: &Clock) -> Result<usize, Fault> {
        let mut recovered = 0;
        for id in store::recoverable(&self.db, clock.now()).await? {
            let mut tx = self.db.begin(&Who::System).await?;
            let why = "brought back by the program";
            let letter = store::decide_in_tx(&mut tx, id, LetterStatus::Retried, None, why).await?;
            tx.commit().await?;
            if let Some(letter) = letter {
                info!(letter.id = %id, kind = letter.kind, "a dead letter is tried again");
                recovered += 1;
            }
        }
        Ok(recovered)
    }
}

/// Says aloud that a job died, as loud as its rule asks for.
pub(crate) fn announce(job: &Job, rule: OnDead, why: &str) {
    counter!("smartline_dead_letters_total", "queue" => job.queue.name(), "rule" => rule.name())
        .increment(1);
    let (id, kind, tries) = (job.id, &job.kind, job.attempt);
    match rule {
        OnDead::ByHand => {
            error!(job.id = id, kind, tries, "a payment's job is dead, somebody must look: {why}");
        }
        OnDead::Recover => {
            warn!(job.id = id, kind, tries, "a trip's job is dead, it will be tried again: {why}");
        }
        OnDead::Support => info!(job.id = id, kind, tries, "a job is dead: {why}"),
    }
}
