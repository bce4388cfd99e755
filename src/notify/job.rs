//! Notifications as jobs: one run takes what is due, and puts down the next one.

use std::future::Future;
use std::pin::Pin;

use base::{Fault, NotificationId};
use events::{Done, Failure, Handler, Job, NewJob, OnDead, Priority, Queue, add_in_tx};
use serde::{Deserialize, Serialize};

use crate::Notify;
use crate::model::Kind;
use crate::plan::{Urgency, rule};

/// A notification that is to be carried on. Its tries are those of our own faults: what a provider
/// does is settled within a run.
pub static NOTIFICATION: events::Kind = events::Kind {
    name: "notification",
    queue: Queue::Notifications,
    priority: Priority::High,
    version: 1,
    attempts: 10,
    on_dead: OnDead::Support,
};

/// One that can wait: ten thousand statements hold up no car that has arrived.
pub static CALM_NOTIFICATION: events::Kind = events::Kind {
    name: "notification_calm",
    queue: Queue::Notifications,
    priority: Priority::Normal,
    version: 1,
    attempts: 10,
    on_dead: OnDead::Support,
};

/// Names nobody: a dead letter shows it to operators.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payload {
    notification_id: NotificationId,
}

/// The job that carries a notification of this kind on.
pub(crate) fn first_job(id: NotificationId, kind: Kind) -> Result<NewJob, Fault> {
    match rule(kind).urgency {
        Urgency::Critical | Urgency::Live => new_job(id, &NOTIFICATION),
        Urgency::Calm => new_job(id, &CALM_NOTIFICATION),
    }
}

fn new_job(id: NotificationId, kind: &'static events::Kind) -> Result<NewJob, Fault> {
    Ok(NewJob::new(kind, &Payload { notification_id: id })?.key(id.to_string()))
}

impl Handler for Notify {
    fn run<'a>(
        &'a self,
        job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>> {
        Box::pin(async move {
            let Payload { notification_id } = job.read()?;
            let (mut tx, next) = self.deliver(notification_id).await?;
            job.finish_in_tx(&mut tx).await?;
            // The next one in the same commit: there is always exactly one.
            if let Some(next) = next {
                let is_calm = job.kind == CALM_NOTIFICATION.name;
                let kind = if is_calm { &CALM_NOTIFICATION } else { &NOTIFICATION };
                add_in_tx(&mut tx, &[new_job(notification_id, kind)?.at(next)]).await?;
            }
            tx.commit().await?;
            Ok(Done::Stored)
        })
    }
}
