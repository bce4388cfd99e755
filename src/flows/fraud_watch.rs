//! What facts say about accounts over time: each that matters is noted once, in the transaction
//! that ends its job, and the account is looked at anew.

use std::future::Future;
use std::pin::Pin;

use base::{Fault, Piasters, TripId, UserId};
use events::{
    Consumer, Done, Failure, Handler, Job, Kind, NewJob, OnDead, Priority, Published, Queue,
    Schedule,
};
use fraud::{Movement, Note, is_circular};
use ledger::WalletFact;
use serde::{Deserialize, Serialize};
use storage::Who;
use trips::{EventName, PaymentStatus, TripEvent};

use crate::Flows;

/// A fact that says something about an account.
pub static FRAUD_WATCH: Kind = Kind {
    name: "fraud_watch",
    queue: Queue::Payments,
    priority: Priority::Normal,
    version: 1,
    attempts: 10,
    on_dead: OnDead::Recover,
};

/// Forgets old counts.
pub static FRAUD_SWEEP: Kind = Kind {
    name: "fraud_sweep",
    queue: Queue::Cleanup,
    priority: Priority::Low,
    version: 1,
    attempts: 3,
    on_dead: OnDead::Support,
};

pub static FRAUD_SWEEPS: Schedule =
    Schedule { name: "fraud_sweep", cron: "*/10 * * * * UTC", kind: &FRAUD_SWEEP };

/// What a fact says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
enum Seen {
    Moved { user: UserId, movement: Movement, piasters: i64 },
    PaymentFailed { user: UserId },
    Driven { trip: TripId },
}

/// As far as it matters here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PaymentFailed {
    user_id: UserId,
    error: String,
}

/// Hears of money and of trips.
#[derive(Clone, Copy, Debug)]
pub struct FraudWatch;

impl Consumer for FraudWatch {
    fn name(&self) -> &'static str {
        "fraud_watch"
    }

    fn jobs(&self, fact: &Published) -> Result<Vec<NewJob>, Fault> {
        let Some(seen) = seen(fact)? else { return Ok(Vec::new()) };
        let key = format!("{}:{}:{}", fact.aggregate, fact.aggregate_id, fact.seq);
        Ok(vec![NewJob::new(&FRAUD_WATCH, &seen)?.key(key)])
    }
}

fn seen(fact: &Published) -> Result<Option<Seen>, Fault> {
    match (fact.aggregate.as_str(), fact.kind.as_str()) {
        ("wallet", "WALLET_CREDITED" | "WALLET_DEBITED") => {
            let WalletFact { user_id: user, amount: piasters, reason, .. } = fact.read()?;
            let movement = movement_of(&reason);
            Ok(movement.map(|movement| Seen::Moved { user, movement, piasters }))
        }
        ("payment", "PAYMENT_FAILED") => {
            let PaymentFailed { user_id: user, error } = fact.read()?;
            // A page that nobody paid on is no failed payment.
            Ok((error != "expired").then_some(Seen::PaymentFailed { user }))
        }
        ("trip", kind) if kind == EventName::Completed.domain() => {
            Ok(Some(Seen::Driven { trip: fact.read::<TripEvent>()?.trip_id }))
        }
        _ => Ok(None),
    }
}

/// What an account asked for, by the journal that came of it.
fn movement_of(journal: &str) -> Option<Movement> {
    let movements = [
        (ledger::Kind::Deposit, Movement::Deposit),
        (ledger::Kind::WithdrawRequested, Movement::Withdrawal),
        (ledger::Kind::Hold, Movement::WalletBooking),
    ];
    let found = movements.into_iter().find(|(kind, _)| kind.name() == journal);
    found.map(|(_, movement)| movement)
}

/// Does both kinds of jobs.
#[derive(Clone)]
pub struct Watcher(pub Flows);

impl Handler for Watcher {
    fn run<'a>(
        &'a self,
        job: &'a Job,
    ) -> Pin<Box<dyn Future<Output = Result<Done, Failure>> + Send + 'a>> {
        Box::pin(async move {
            if job.kind == FRAUD_SWEEP.name {
                self.0.fraud.sweep().await?;
                return Ok(Done::Finished);
            }
            self.note(job).await
        })
    }
}

impl Watcher {
    async fn note(&self, job: &Job) -> Result<Done, Failure> {
        let notes = match job.read()? {
            Seen::Moved { user, movement, piasters } => {
                vec![(user, Note::Moved(movement, Piasters(piasters)))]
            }
            Seen::PaymentFailed { user } => vec![(user, Note::PaymentFailed)],
            Seen::Driven { trip } => self.notes_of_trip(trip).await?,
        };
        if notes.is_empty() {
            return Ok(Done::Finished);
        }
        let mut tx = self.0.db.begin(&Who::System).await?;
        let mut turns = Vec::with_capacity(notes.len());
        for (account, note) in notes {
            turns.push(self.0.note_of_in_tx(&mut tx, account, note).await?);
        }
        job.finish_in_tx(&mut tx).await?;
        tx.commit().await?;
        for turned in turns {
            self.0.after_turn(turned).await;
        }
        Ok(Done::Stored)
    }

    /// Rider first, driver second: whoever locks two accounts does it in this order.
    async fn notes_of_trip(&self, trip: TripId) -> Result<Vec<(UserId, Note<'static>)>, Failure> {
        let trip = self.0.trips.get(&Who::System, trip).await;
        let trip = trip.map_err(|error| Failure::again(error.to_string()))?;
        let rider = UserId::from(trip.rider);
        let mut notes = Vec::new();
        if trip.payment_status == PaymentStatus::Failed {
            notes.push((rider, Note::PaymentFailed));
        }
        let (from, to) = (trip.pickup.at, trip.destination.at);
        let thresholds = self.0.fraud.thresholds();
        if let Some(driver) = trip.driver.map(UserId::from)
            && is_circular(from, to, trip.distance_m, thresholds)
        {
            notes.extend([(rider, Note::Circular(driver)), (driver, Note::Circular(rider))]);
        }
        Ok(notes)
    }
}
