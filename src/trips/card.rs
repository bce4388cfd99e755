//! Trips paid by card: what their end asks of the card, and what becomes of them once it answered.
//!
//! The card itself is the business of whoever asks the gateway. A trip is booked with what was
//! authorised, and says in its last event how much of it is to be taken.

use std::sync::Arc;

use base::{Fault, Millis, PaymentMethod, Piasters, TripId};
use ledger::{CancelFee, Settlement};
use storage::Tx;

use crate::event::{EventName, TripEvent, evolve};
use crate::model::{PaymentStatus, Side, Status, Trip};
use crate::store;

/// A completed trip after its card's answer; to be told once it is committed.
#[derive(Clone, Debug)]
pub struct CardSettled {
    pub trip: Arc<Trip>,
    pub event: Arc<TripEvent>,
}

/// What the trip's last event says of its card; nothing where there is none.
pub(crate) fn due(trip: &Trip, amount: Piasters) -> Option<Piasters> {
    (trip.method == PaymentMethod::Card).then_some(amount)
}

/// Is it for its card to pay for the completed trip? A promo may have left nothing to pay.
pub(crate) fn pays_for(trip: &Trip) -> bool {
    due(trip, trip.to_pay()).is_some_and(|due| due > Piasters::ZERO)
}

/// What is to be paid for a trip that is paid by card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CardDue {
    /// The trip goes on.
    NotYet,
    /// The ride; it was not paid so far.
    Fare(Settlement),
    /// It was cancelled late.
    Fee(CancelFee),
    /// Nothing, or no more.
    Nothing,
}

impl Trip {
    /// What its card is asked for, as things stand.
    pub fn card_due(&self) -> CardDue {
        match (self.status, self.payment_status) {
            (
                Status::Scheduled
                | Status::Requested
                | Status::Accepted
                | Status::Arrived
                | Status::Started,
                _,
            ) => CardDue::NotYet,
            (Status::Completed, PaymentStatus::Pending | PaymentStatus::Failed) => {
                let driver = self.driver.unwrap_or_default();
                CardDue::Fare(self.settlement(driver))
            }
            (Status::Cancelled, _) if self.cancel_fee > Piasters::ZERO => CardDue::Fee(CancelFee {
                trip: self.id,
                rider: self.rider,
                driver: self.driver,
                fee: self.cancel_fee,
            }),
            (Status::Completed, PaymentStatus::Paid)
            | (Status::Cancelled | Status::NoDrivers, _) => CardDue::Nothing,
        }
    }
}

/// The trip as the transaction's caller may see it.
pub async fn trip_in_tx(tx: &mut Tx, id: TripId) -> Result<Option<Trip>, Fault> {
    store::get_in_tx(tx, id).await
}

/// Makes a completed trip paid by its card, or says that it did not pay. The settlement is posted
/// in the same transaction. `None` when the trip moved meanwhile: nothing is to be committed then.
pub async fn card_settle_in_tx(
    tx: &mut Tx,
    trip: &Trip,
    to: PaymentStatus,
    now: Millis,
) -> Result<Option<CardSettled>, Fault> {
    let name = match to {
        PaymentStatus::Paid => EventName::Paid,
        PaymentStatus::Pending | PaymentStatus::Failed => EventName::PaymentFailed,
    };
    let event = TripEvent {
        payment_status: to,
        final_price: trip.final_price,
        ..TripEvent::next(trip, name, trip.status, Side::System, now)
    };
    if !store::card_settle_in_tx(tx, &event).await? {
        return Ok(None);
    }
    let trip = Arc::new(evolve(trip, &event));
    Ok(Some(CardSettled { trip, event: Arc::new(event) }))
}
