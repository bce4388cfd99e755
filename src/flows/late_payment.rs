//! Trips that could not be paid at their end are tried again: when money came in, and now and then.

use std::future::Future;
use std::pin::Pin;

use base::{Fault, RiderId};
use events::{Done, Failure, Handler, Job, Kind, NewJob, OnDead, Priority, Queue, Schedule};
use serde::{Deserialize, Serialize};
use tracing::info;

use crate::Flows;

/// Tries one rider's unpaid trips.
pub static LATE_PAYMENTS: Kind = Kind {
    name: "late_payments",
    queue: Queue::Payments,
    priority: Priority::High,
    version: 1,
    attempts: 12,
    on_dead: OnDead::ByHand,
};

/// Puts down such a job for each rider who owes for a trip.
pub static LATE_PAYMENTS_OF_ALL: Kind = Kind {
    name: "late_payments_of_all",
    queue: Queue::Payments,
    priority: Priority::Low,
    version: 1,
    attempts: 3,
    on_dead: OnDead::Support,
};

pub static EVERY_SIX_HOURS: Schedule = Schedule {
    name: "late_payments",
    cron: "15 3,9,15,21 * * * Africa/Cairo",
    kind: &LATE_PAYMENTS_OF_ALL,
};

/// Riders looked up at a time.
const PAGE: i64 = 500;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct OfRider {
    rider_id: RiderId,
}

/// To be put down with whatever brings a rider money.
pub(crate) fn late_payments(rider: RiderId) -> Result<NewJob, Fault> {
    NewJob::new(&LATE_PAYMENTS, &OfRider { rider_id: rider })
}

/// Does both kinds of jobs.
#[derive(Clone)]
pub struct LatePayer(pub Flows);

impl Handler for LatePayer {
    fn run<'a>(
        &'a self,
        job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>> {
        Box::pin(async move {
            if job.kind == LATE_PAYMENTS_OF_ALL.name {
                self.ask_all().await?;
            } else {
                let OfRider { rider_id } = job.read()?;
                self.pay(rider_id).await?;
            }
            Ok(Done::Finished)
        })
    }
}

impl LatePayer {
    /// Pays what the rider's wallet covers.
    pub(crate) async fn pay(&self, rider: RiderId) -> Result<(), Fault> {
        for paid in self.0.trips.pay_late(rider).await? {
            info!(trip.id = %paid.trip.id, "a trip was paid late");
            if let (Some(driver), Some(balance)) = (paid.trip.driver, paid.driver_balance) {
                self.0.fleet.set_balance(driver, balance);
            }
        }
        Ok(())
    }

    async fn ask_all(&self) -> Result<(), Failure> {
        let mut after = RiderId::from_u128(0);
        loop {
            let riders = self.0.trips.riders_owing(after, PAGE).await?;
            let Some(last) = riders.last() else { return Ok(()) };
            after = *last;
            let jobs = riders.into_iter().map(|rider| {
                // One that waits already sees the money too.
                Ok(late_payments(rider)?.key(rider.to_string()))
            });
            let jobs = jobs.collect::<Result<Vec<_>, Fault>>()?;
            self.0.jobs.add(&jobs).await.map_err(|full| Failure::again(full.to_string()))?;
        }
    }
}
