//! Sagas: steps that belong together, each in a transaction of its own, taken back in reverse where
//! one can't be done.
//!
//! A saga is a job that remembers how far it came. A step's effect and the note that it is done are
//! one commit, so a saga that dies goes on where it stood. A step that can't be done, or has failed
//! for the last time, turns the saga around; when all is taken back its job becomes a dead letter,
//! for a person to see. An operator's retry starts an undone saga over.

mod store;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use storage::{Db, Tx, Who};
use uuid::Uuid;

use crate::{Done, Failure, Handler, Job, Kind, NewJob};
use base::Fault;

/// A kind of saga, declared once by the room that knows its steps.
#[derive(Debug)]
pub struct SagaKind {
    /// The job that carries it; its name is the saga's.
    pub job: &'static Kind,
    /// Names of the steps, in order, for logs and letters.
    pub steps: &'static [&'static str],
}

/// What a step did: an open transaction with its effect, which the runner commits together with the
/// note that the step is done, and what later steps need to know.
#[derive(Default)]
pub struct Stepped {
    tx: Option<Tx>,
    state: Option<Value>,
}

impl Stepped {
    /// Nothing to store: the step's effect is elsewhere, or there was nothing to do.
    pub fn nothing() -> Self {
        Self::default()
    }

    pub fn within(tx: Tx) -> Self {
        Self { tx: Some(tx), state: None }
    }

    /// Replaces what the saga remembers.
    #[must_use]
    pub fn remember(mut self, state: Value) -> Self {
        self.state = Some(state);
        self
    }
}

/// The future of a step.
pub type Stepping<'a> = Pin<Box<dyn Future<Output = Result<Stepped, Failure>> + Send + 'a>>;

/// Whoever knows the steps. A step may be begun again after it was done outside but not noted, so
/// what it does outside must bear that.
pub trait Saga: Send + Sync {
    fn kind(&self) -> &'static SagaKind;

    fn step<'a>(&'a self, step: usize, subject: Uuid, state: &'a Value) -> Stepping<'a>;

    /// Takes a step back. By default there is nothing to take back.
    fn undo<'a>(&'a self, step: usize, subject: Uuid, state: &'a Value) -> Stepping<'a> {
        let _nothing = (step, subject, state);
        Box::pin(async { Ok(Stepped::nothing()) })
    }
}

#[derive(Serialize, Deserialize)]
struct Payload {
    subject: Uuid,
    state: Value,
}

/// Runs sagas of one kind.
pub struct SagaRunner {
    db: Db,
    saga: Arc<dyn Saga>,
}

/// Where a saga stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    Forward,
    Back,
    Done,
    Undone,
}

/// A saga as stored.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: Uuid,
    pub(crate) course: Course,
    /// The next step to do, or to take back.
    pub(crate) step: i16,
    pub(crate) state: Value,
    pub(crate) failure: Option<String>,
}

impl SagaRunner {
    pub fn new(db: Db, saga: Arc<dyn Saga>) -> Self {
        Self { db, saga }
    }

    /// The job that runs the saga of `subject`; at most one saga of a kind per subject ever runs.
    pub fn job(kind: &'static SagaKind, subject: Uuid, state: Value) -> Result<NewJob, Fault> {
        let job = NewJob::new(kind.job, &Payload { subject, state })?;
        Ok(job.key(subject.to_string()))
    }

    async fn go(&self, job: &Job) -> Result<Done, Failure> {
        let Payload { subject, state } = job.read()?;
        let kind = self.saga.kind();
        let mut row = store::open(&self.db, kind.job.name, subject, &state).await?;
        if row.course == Course::Undone {
            self.turn(&mut row, Course::Forward, 0, None).await?;
        }
        while row.course == Course::Forward {
            let step = usize::try_from(row.step).unwrap_or(0);
            if step >= kind.steps.len() {
                let end = row.step;
                self.turn(&mut row, Course::Done, end, None).await?;
                break;
            }
            match self.saga.step(step, subject, &row.state).await {
                Ok(stepped) => self.note(&mut row, stepped, 1).await?,
                Err(Failure::Lost) => return Err(Failure::Lost),
                Err(failure @ Failure::Again { .. }) if !job.is_last() => return Err(failure),
                Err(failure) => {
                    let why = format!("{}: {failure}", kind.steps[step]);
                    let last = row.step - 1;
                    self.turn(&mut row, Course::Back, last, Some(why)).await?;
                }
            }
        }
        while row.course == Course::Back {
            let Ok(step) = usize::try_from(row.step) else {
                let why = row.failure.clone();
                self.turn(&mut row, Course::Undone, 0, why).await?;
                break;
            };
            let stepped = self.saga.undo(step, subject, &row.state).await?;
            self.note(&mut row, stepped, -1).await?;
        }
        match row.failure {
            Some(why) if row.course == Course::Undone => Err(Failure::never(why)),
            Some(_) | None => Ok(Done::Finished),
        }
    }

    /// Commits what a step did together with the note of it.
    async fn note(&self, row: &mut Row, stepped: Stepped, by: i16) -> Result<(), Failure> {
        let mut tx = match stepped.tx {
            Some(tx) => tx,
            None => self.db.begin(&Who::System).await?,
        };
        let state = stepped.state.unwrap_or_else(|| row.state.clone());
        let noted = store::note_in_tx(&mut tx, row, row.step + by, &state).await?;
        if !noted {
            return Err(Failure::Lost);
        }
        tx.commit().await?;
        row.step += by;
        row.state = state;
        Ok(())
    }

    async fn turn(
        &self,
        row: &mut Row,
        course: Course,
        step: i16,
        failure: Option<String>,
    ) -> Result<(), Failure> {
        let mut tx = self.db.begin(&Who::System).await?;
        if !store::turn_in_tx(&mut tx, row, course, step, failure.as_deref()).await? {
            return Err(Failure::Lost);
        }
        tx.commit().await?;
        (row.course, row.step, row.failure) = (course, step, failure);
        Ok(())
    }
}

impl Handler for SagaRunner {
    fn run<'a>(
        &'a self,
        job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>> {
        Box::pin(self.go(job))
    }
}
