//! Completed trips that could not be paid, paid when there is money.
//!
//! Such a trip has no actor any more: the version in its row is what keeps two payers apart, and
//! the ledger's once-only settlement behind it.

use std::sync::Arc;

use base::{Clock, Fault, PaymentMethod, Piasters, RiderId, TripId};
use ledger::{Account, Settlement, TripMoney};
use metrics::counter;
use storage::{Db, Tx};

use crate::card;
use crate::event::{EventName, TripEvent, evolve};
use crate::model::{PaymentStatus, Side, Trip};
use crate::store;

/// A trip that is paid now.
#[derive(Clone, Debug)]
pub struct PaidLate {
    pub trip: Arc<Trip>,
    pub event: Arc<TripEvent>,
    /// The driver's account afterwards.
    pub driver_balance: Option<Piasters>,
}

/// Pays the oldest of the rider's unpaid trips, settled as it would have been at its completion;
/// `None` when there is none, or his wallet doesn't cover it: a newer one does not go before.
pub(crate) async fn pay_next(
    db: &Db,
    clock: &Clock,
    rider: RiderId,
) -> Result<Option<PaidLate>, Fault> {
    match store::unpaid(db, rider).await? {
        Some(trip) => pay(db, clock, rider, trip).await,
        None => Ok(None),
    }
}

async fn pay(
    db: &Db,
    clock: &Clock,
    rider: RiderId,
    id: TripId,
) -> Result<Option<PaidLate>, Fault> {
    let mut tx = db.begin_writer().await?;
    let funds = ledger::lock_funds_in_tx(&mut tx, &[rider.into()]).await?;
    let funds = funds.get(&rider.into()).copied().unwrap_or_default();
    let Some(trip) = store::look_in_tx(&mut tx, id).await? else { return Ok(None) };
    let Some(money) = settlement(&trip) else { return Ok(None) };
    let Ok(journals) = ledger::decide(&money, &funds) else { return Ok(None) };
    let event = TripEvent {
        payment_status: PaymentStatus::Paid,
        final_price: trip.final_price,
        card_due: card::due(&trip, Piasters::ZERO),
        ..TripEvent::next(&trip, EventName::Paid, trip.status, Side::System, clock.now())
    };
    if !store::pay_late_in_tx(&mut tx, &event).await? {
        return Ok(None);
    }
    if trip.promo > Piasters::ZERO {
        promo::end_in_tx(&mut tx, &[promo::Ended::Spent(id)], event.at).await?;
    }
    let mut driver_balance = None;
    for journal in &journals {
        let posted = post(&mut tx, journal, id).await?;
        let account = trip.driver.map(|driver| Account::Driver(driver.into()));
        driver_balance = account.and_then(|account| posted.balance_of(account)).or(driver_balance);
    }
    tx.commit().await?;
    counter!("smartline_trips_paid_late_total").increment(1);
    let trip = Arc::new(evolve(&trip, &event));
    Ok(Some(PaidLate { trip, event: Arc::new(event), driver_balance }))
}

/// What the trip's completion would have posted. Its hold was given back then.
fn settlement(trip: &Trip) -> Option<TripMoney> {
    // Cash is in the driver's hand. A card that failed to pay leaves it to the wallet.
    if trip.payment_status != PaymentStatus::Failed || trip.method == PaymentMethod::Cash {
        return None;
    }
    let fare = trip.settlement(trip.driver?);
    Some(TripMoney::Settle(Settlement { method: PaymentMethod::Wallet, ..fare }))
}

async fn post(
    tx: &mut Tx,
    journal: &ledger::Journal,
    trip: TripId,
) -> Result<ledger::Posted, Fault> {
    ledger::post_in_tx(tx, journal).await.map_err(|error| match error {
        ledger::PostError::Fault(fault) => fault,
        // The funds are locked and the trip was unpaid: any other refusal is a bug.
        other => Fault::internal(format!("the late payment of trip {trip}: {other}")),
    })
}
