//! Jobs: what has to be done later, at least once.

mod actor;
mod letters;
mod model;
mod queue;
mod rules;
mod schedule;
mod store;

pub use actor::{Handlers, WorkerConfig};
pub use letters::{DeadLetter, DeadLetters, Decision, LetterFilter, LetterStatus};
pub use model::{Done, Failure, Handler, Job, Kind, NewJob, OnDead, Priority, Queue};
pub use queue::{AddError, Jobs, add_in_tx};
pub use schedule::Schedule;
