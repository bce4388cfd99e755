//! Where facts become news: a trip's fact puts down a job, the job tells people; and what reminds
//! of documents every day.

use std::future::Future;
use std::pin::Pin;

use base::Fault;
use events::{
    Consumer, Done, Failure, Handler, Job, Kind, NewJob, OnDead, Priority, Published, Queue,
    Schedule,
};
use storage::Who;
use trips::{EventName, Side, TripError, TripEvent};

use crate::Flows;

/// A trip's event that is news to somebody. The payload is the event, which names people by ids.
pub static TRIP_NEWS: Kind = Kind {
    name: "trip_news",
    queue: Queue::Notifications,
    priority: Priority::High,
    version: 1,
    attempts: 10,
    on_dead: OnDead::Support,
};

/// Looks for documents that run out.
pub static DOCUMENT_REMINDERS: Kind = Kind {
    name: "document_reminders",
    queue: Queue::Notifications,
    priority: Priority::Low,
    version: 1,
    attempts: 10,
    on_dead: OnDead::Support,
};

/// Late in the morning, when nobody minds.
pub static EVERY_MORNING: Schedule = Schedule {
    name: "document_reminders",
    cron: "0 11 * * * Africa/Cairo",
    kind: &DOCUMENT_REMINDERS,
};

/// Hears of trips' facts.
#[derive(Clone, Copy, Debug)]
pub struct TripNews;

impl Consumer for TripNews {
    fn name(&self) -> &'static str {
        "trip_news"
    }

    fn jobs(&self, fact: &Published) -> Result<Vec<NewJob>, Fault> {
        if fact.aggregate != "trip" || !is_news(&fact.kind) {
            return Ok(Vec::new());
        }
        let event: TripEvent = fact.read()?;
        // Whoever asks for a driver knows it.
        if event.event == EventName::Requested && event.by != Side::System {
            return Ok(Vec::new());
        }
        let key = format!("{}:{}", event.trip_id, event.seq);
        // In a lane of its own: what is told of a trip comes in the order in which it happened.
        let job = NewJob::new(&TRIP_NEWS, &event)?.key(key).lane(event.trip_id.0);
        Ok(vec![job])
    }
}

/// May a fact of this kind be news to somebody?
fn is_news(kind: &str) -> bool {
    [
        EventName::Scheduled,
        EventName::Requested,
        EventName::Accepted,
        EventName::Queued,
        EventName::Reassigned,
        EventName::Arrived,
        EventName::Started,
        EventName::Completed,
        EventName::Paid,
        EventName::PaymentFailed,
        EventName::Cancelled,
        EventName::DriverCancelled,
        EventName::NoDrivers,
    ]
    .into_iter()
    .any(|event| event.domain() == kind)
}

/// Does both kinds of jobs.
#[derive(Clone)]
pub struct Teller(pub Flows);

impl Handler for Teller {
    fn run<'a>(
        &'a self,
        job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>> {
        Box::pin(async move {
            if job.kind == DOCUMENT_REMINDERS.name {
                self.0.remind_of_documents().await?;
                return Ok(Done::Finished);
            }
            self.tell_of_trip(job).await
        })
    }
}

impl Teller {
    /// Tells in the transaction that ends the job.
    async fn tell_of_trip(&self, job: &Job) -> Result<Done, Failure> {
        let event: TripEvent = job.read()?;
        let trip = self.0.trips.get(&Who::System, event.trip_id).await;
        let trip = trip.map_err(|error| match error {
            TripError::Fault(fault) => Failure::from(fault),
            other => Failure::again(other.to_string()),
        })?;
        let mut tx = self.0.db.begin(&Who::System).await?;
        self.0.tell_of_trip_in_tx(&mut tx, &trip, &event).await?;
        job.finish_in_tx(&mut tx).await?;
        tx.commit().await?;
        Ok(Done::Stored)
    }
}
