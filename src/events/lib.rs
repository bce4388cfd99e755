//! What happened and what is still to be done: facts, jobs, sagas, idempotency keys. Mechanism
//! only; what a fact means and what a job does is known by the rooms that write them.
//!
//! Owns the event store's door for other rooms, the relay from the outbox to its consumers, the job
//! queue with its dead letters and schedules, the runner of sagas, and the records of idempotency
//! keys. Its state is PostgreSQL's; memory holds only what runs at the moment.
//!
//! Guarantees:
//! - a fact is told to every consumer at least once, in its aggregate's order, and none is skipped;
//!   what a consumer makes of it is stored in the transaction that ends the telling, so exactly
//!   once;   (test: `every_fact_becomes_one_job_whatever_dies`)
//! - a job that was committed is run until it succeeds or becomes a dead letter, also when its
//!   worker dies, and an effect that shares the job's transaction happens once;
//!   (test: `a_job_whose_worker_died_is_run_again_and_its_effect_is_one`)
//! - no priority starves another;   (test: `the_least_urgent_job_is_the_most_urgent_some_day`)
//! - of the requests with one idempotency key at most one has an effect, and the record of it is
//!   part of that effect's transaction.   (test: `one_key_one_effect`)

mod jobs;
mod once;
mod outbox;
mod saga;
#[cfg(test)]
mod tests;

pub use jobs::{
    AddError, DeadLetter, DeadLetters, Decision, Done, Failure, Handler, Handlers, Job, Jobs, Kind,
    LetterFilter, LetterStatus, NewJob, OnDead, Priority, Queue, Schedule, WorkerConfig, add_in_tx,
};
pub use once::{Asked, Begun, IdempotencyKeys, Once, Superseded, fingerprint, mark_all_in_tx};
pub use outbox::{Consumer, FACTS, Fact, Published, Relay, append_in_tx, append_once_in_tx};
pub use saga::{Saga, SagaKind, SagaRunner, Stepped, Stepping};
