//! What follows a trip's completion: the settlement is committed with it, the rest happens here.
//!
//! A saga, so that each step happens once and a crash between two costs nothing. It is asked for by
//! the fact `TRIP_COMPLETED` and runs on the queue of trip facts.

use base::{Fault, TripId};
use events::{
    Consumer, Failure, Kind, NewJob, OnDead, Priority, Published, Queue, Saga, SagaKind,
    SagaRunner, Stepped, Stepping,
};
use fleet::Driven;
use routing::Drive;
use serde_json::{Value, json};
use storage::Who;
use trips::Trip;
use uuid::Uuid;

use crate::Flows;

static JOB: Kind = Kind {
    name: "trip_aftermath",
    queue: Queue::TripEvents,
    priority: Priority::High,
    version: 1,
    attempts: 12,
    on_dead: OnDead::Recover,
};

/// The saga of a completed trip.
pub static AFTERMATH: SagaKind = SagaKind { job: &JOB, steps: &["statistics", "receipt"] };

/// Asks for the saga of each completed trip.
pub struct Completions;

impl Consumer for Completions {
    fn name(&self) -> &'static str {
        "aftermath"
    }

    fn jobs(&self, fact: &Published) -> Result<Vec<NewJob>, Fault> {
        match (fact.aggregate.as_str(), fact.kind.as_str()) {
            ("trip", "TRIP_COMPLETED") => {
                Ok(vec![SagaRunner::job(&AFTERMATH, fact.aggregate_id, json!({}))?])
            }
            _ => Ok(Vec::new()),
        }
    }
}

/// Which way a step goes.
#[derive(Clone, Copy)]
enum Way {
    Forth,
    Back,
}

/// Knows the steps.
pub struct Aftermath(pub Flows);

impl Aftermath {
    /// Adds the trip to its driver's day, by the calendar of the trip's city, or takes it back.
    /// What it taught of traffic stays: it was driven.
    async fn statistics(&self, trip: TripId, way: Way) -> Result<Stepped, Failure> {
        let trip = self.0.trips.get(&Who::System, trip).await;
        let trip = trip.map_err(|error| Failure::again(error.to_string()))?;
        let (Some(driver), Some(ended)) = (trip.driver, trip.ended_at) else {
            return Err(Failure::never("a completed trip without a driver or an end"));
        };
        let city = self.0.fleet.city(trip.city);
        let zone = city.map_or_else(|| "UTC".to_owned(), |city| city.time_zone.clone());
        let driven = Driven {
            driver,
            ended,
            distance_m: trip.distance_m.unwrap_or(0),
            duration_s: trip.duration_s.unwrap_or(0),
            fare: trip.final_price.unwrap_or_default(),
        };
        let mut tx = self.0.db.begin(&Who::System).await?;
        match way {
            Way::Forth => {
                fleet::add_to_day_in_tx(&mut tx, &driven, &zone).await?;
                let commission = driven.fare.share(trip.commission);
                self.0.analytics.completed(trip.tier, driven.fare, commission, driven.distance_m);
                if let Some(drive) = drive(&trip) {
                    routing::learn_in_tx(&mut tx, &drive, &zone).await?;
                }
            }
            Way::Back => fleet::take_from_day_in_tx(&mut tx, &driven, &zone).await?,
        }
        Ok(Stepped::within(tx))
    }

    async fn receipt(&self, trip: TripId) -> Result<Stepped, Failure> {
        let trip = self.0.trips.get(&Who::System, trip).await;
        let trip = trip.map_err(|error| Failure::again(error.to_string()))?;
        let mut tx = self.0.db.begin(&Who::System).await?;
        self.0.tell_receipt_in_tx(&mut tx, &trip).await?;
        Ok(Stepped::within(tx))
    }
}

/// The drive beside what was promised of it. Over stops it took as long as people stood there.
fn drive(trip: &Trip) -> Option<Drive> {
    let plain = trip.stops.is_empty();
    Some(Drive {
        city: trip.city,
        from: trip.pickup.at,
        to: trip.destination.at,
        promised_at: trip.created_at,
        started: trip.started_at.filter(|_| plain)?,
        promised_s: trip.quoted_duration_s,
        driven_s: trip.duration_s?,
        promised_m: trip.quoted_distance_m,
        driven_m: trip.distance_m?,
    })
}

impl Saga for Aftermath {
    fn kind(&self) -> &'static SagaKind {
        &AFTERMATH
    }

    fn step<'a>(&'a self, step: usize, subject: Uuid, _state: &'a Value) -> Stepping<'a> {
        Box::pin(async move {
            match step {
                0 => self.statistics(TripId(subject), Way::Forth).await,
                1 => self.receipt(TripId(subject)).await,
                _ => Err(Failure::never("there is no such step")),
            }
        })
    }

    /// A receipt that was told stays told: telling it again under its key changes nothing.
    fn undo<'a>(&'a self, step: usize, subject: Uuid, _state: &'a Value) -> Stepping<'a> {
        Box::pin(async move {
            match step {
                0 => self.statistics(TripId(subject), Way::Back).await,
                _ => Ok(Stepped::nothing()),
            }
        })
    }
}
