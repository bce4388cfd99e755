//! What has to be swept up regularly.

use std::future::Future;
use std::pin::Pin;

use base::Clock;
use events::{
    Done, Failure, Handler, IdempotencyKeys, Job, Kind, OnDead, Priority, Queue, Schedule,
};
use storage::Db;

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

/// Adds the company's accounts of the ledger up.
pub(crate) static ROLL_UP: Kind = Kind { name: "ledger_roll_up", ..SWEEP_KEYS };
pub(crate) static EVERY_SHORT_WHILE: Schedule =
    Schedule { name: "ledger_roll_up", cron: "2-59/5 * * * * UTC", kind: &ROLL_UP };

/// Seals business days of the ledger. By the hour, since a day waits for what is under way.
pub(crate) static SEAL_DAYS: Kind = Kind { name: "ledger_seal_days", ..SWEEP_KEYS };
pub(crate) static EVERY_HOUR: Schedule =
    Schedule { name: "ledger_seal_days", cron: "20 * * * * Africa/Cairo", kind: &SEAL_DAYS };

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

pub(crate) struct RollUp(pub(crate) Db);

impl Handler for RollUp {
    fn run<'a>(
        &'a self,
        _job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>> {
        Box::pin(async move {
            ledger::roll_up(&self.0).await?;
            Ok(Done::Finished)
        })
    }
}

pub(crate) struct SealDays {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
}

impl Handler for SealDays {
    fn run<'a>(
        &'a self,
        _job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>> {
        Box::pin(async move {
            ledger::seal_days(&self.db, self.clock.now()).await?;
            Ok(Done::Finished)
        })
    }
}
