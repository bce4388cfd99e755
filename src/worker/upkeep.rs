//! What has to be swept up regularly.

use std::future::Future;
use std::pin::Pin;

use events::{
    Done, Failure, Handler, IdempotencyKeys, Job, Kind, OnDead, Priority, Queue, Schedule,
};

pub(crate) static SWEEP_KEYS: Kind = Kind {
    name: "sweep_idempotency_keys",
    queue: Queue::Cleanup,
    priority: Priority::Low,
    version: 1,
    attempts: 3,
    on_dead: OnDead::Support,
};

pub(crate) static EVERY_FEW_MINUTES: Schedule =
    Schedule { name: "sweep_idempotency_keys", cron: "*/5 * * * * UTC", kind: &SWEEP_KEYS };

/// Deletes keys whose answers nobody may ask for any more.
pub(crate) struct SweepKeys(pub(crate) IdempotencyKeys);

impl Handler for SweepKeys {
    fn run<'a>(
        &'a self,
        _job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>> {
        Box::pin(async move {
            self.0.sweep().await?;
            Ok(Done::Finished)
        })
    }
}
