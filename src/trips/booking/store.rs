//! Books trips.

use base::{Caller, CityId, Fault, Millis, PaymentMethod, Piasters, RiderId, Tier, TripId};
use events::Once;
use serde::Serialize;
use storage::{Db, Tx, Who, at, breaks, fault, millis, raised};
use uuid::Uuid;

use super::{Begin, draft, side};
use crate::ahead::Ahead;
use crate::event::TripEvent;
use crate::model::{NewTrip, Passenger, Place, PriceArm, Status, Trip};
use crate::refusal::{Refusal, TripError};
use crate::store::{ONE_PER_RIDER, json};

/// The SQLSTATE of a booking by a node whose lease is over.
const LEASE_LOST: &str = "SL102";

/// So long a card's authorisation must be good from the pickup on: the ride, and a gateway that is
/// away for a night.
const CARD_GOOD_MS: i64 = 24 * 60 * 60 * 1000;

/// The booked row as `trip_create` reads it.
#[derive(Serialize)]
struct NewRow<'a> {
    id: TripId,
    epoch: i64,
    city_id: CityId,
    rider_id: RiderId,
    status: Status,
    payment_method: PaymentMethod,
    tier: Tier,
    strategy: &'a str,
    pickup_lat: f64,
    pickup_lng: f64,
    pickup_address: Option<&'a str>,
    destination_lat: f64,
    destination_lng: f64,
    destination_address: Option<&'a str>,
    stops: &'a [Place],
    passenger: Option<&'a Passenger>,
    price: i64,
    hold: i64,
    commission_bp: i64,
    surge: f32,
    quote_id: Option<&'a str>,
    quoted_distance_m: u32,
    quoted_duration_s: u32,
    pin: Option<&'a str>,
    scheduled_at: Option<Millis>,
    created_at: Millis,
    free_cancel_s: u32,
    late_cancel_fee: i64,
    no_show_wait_s: u32,
    due_limit: i64,
    debt_limit: i64,
    promo: i64,
    cash_step: i64,
    no_show_fee: i64,
}

impl<'a> NewRow<'a> {
    fn of(trip: &'a Trip) -> Self {
        Self {
            id: trip.id,
            epoch: trip.epoch,
            city_id: trip.city,
            rider_id: trip.rider,
            status: trip.status,
            payment_method: trip.method,
            tier: trip.tier,
            strategy: &trip.strategy,
            pickup_lat: trip.pickup.at.lat(),
            pickup_lng: trip.pickup.at.lng(),
            pickup_address: trip.pickup.address.as_deref(),
            destination_lat: trip.destination.at.lat(),
            destination_lng: trip.destination.at.lng(),
            destination_address: trip.destination.address.as_deref(),
            stops: &trip.stops,
            passenger: trip.passenger.as_ref(),
            price: trip.price.0,
            hold: trip.hold.0,
            commission_bp: trip.commission.0,
            surge: trip.surge,
            quote_id: trip.quote_id.as_deref(),
            quoted_distance_m: trip.quoted_distance_m,
            quoted_duration_s: trip.quoted_duration_s,
            pin: trip.pin.as_deref(),
            scheduled_at: trip.scheduled_at,
            created_at: trip.created_at,
            free_cancel_s: trip.terms.free_cancel_s,
            late_cancel_fee: trip.terms.cancel_fee.0,
            no_show_wait_s: trip.terms.no_show_wait_s,
            due_limit: trip.terms.due_limit.0,
            debt_limit: trip.terms.debt_limit.0,
            promo: trip.promo.0,
            cash_step: trip.terms.cash_step.0,
            no_show_fee: trip.terms.no_show_fee.0,
        }
    }
}

/// Books a trip as its caller, in one commit: funds, row, first event, outbox, its variant, hold,
/// promo.
pub(crate) async fn create(
    db: &Db,
    caller: &Caller,
    new: NewTrip,
    begin: Begin,
    once: Once,
) -> Result<(Trip, TripEvent), TripError> {
    let mut tx = db.begin(&Who::Caller(*caller)).await?;
    let funds = ledger::lock_funds_in_tx(&mut tx, &[new.rider.into()]).await?;
    let funds = funds.get(&new.rider.into()).copied().unwrap_or_default();
    // Under the lock: a trip that fails to be paid takes it too.
    let unpaid = unpaid_in_tx(&mut tx, new.rider).await?;
    if unpaid > Piasters::ZERO || funds.due > new.due_allowed {
        return Err(TripError::PaymentDue { due: funds.due + unpaid });
    }
    let (promo, card, arm) = (new.promo, new.card, new.arm);
    let rest = new.price - promo.map_or(Piasters::ZERO, |offer| offer.amount);
    if let Some(pickup) = new.scheduled_at {
        has_room_ahead_in_tx(&mut tx, new.rider, pickup, &begin.ahead).await?;
    }
    let hold = match new.method {
        PaymentMethod::Wallet => ledger::hold_for(rest, funds.wallet).map_err(|short| {
            TripError::InsufficientBalance { available: short.available, price: short.price }
        })?,
        PaymentMethod::Cash | PaymentMethod::Card => Piasters::ZERO,
    };
    // Nothing is held for days: that is done when the search begins.
    let hold = if begin.status == Status::Scheduled { Piasters::ZERO } else { hold };
    let trip = draft(new, begin, hold);
    let event = TripEvent::first(&trip, side(caller));
    create_in_tx(&mut tx, &trip, &event).await?;
    if let Some(arm) = arm {
        note_arm_in_tx(&mut tx, trip.id, arm).await?;
    }
    if hold > Piasters::ZERO {
        hold_in_tx(&mut tx, &trip, funds.wallet).await?;
    }
    if trip.method == PaymentMethod::Card {
        bind_card_in_tx(&mut tx, &trip, card).await?;
    }
    once.mark_in_tx(&mut tx, trip.id.0).await?;
    // Last, so that the campaign's row is held no longer than a commit takes.
    if let Some(offer) = promo
        && !promo::reserve_in_tx(&mut tx, trip.id, &offer, begin.now).await?
    {
        return Err(TripError::PromoGone);
    }
    tx.commit().await?;
    Ok((trip, event))
}

/// What the rider's trips cost that could not be paid.
async fn unpaid_in_tx(tx: &mut Tx, rider: RiderId) -> Result<Piasters, Fault> {
    sqlx::query_scalar(
        "SELECT coalesce(sum(final_price - promo), 0)::bigint FROM trips \
         WHERE rider_id = $1 AND payment_status = 'failed'",
    )
    .bind(rider.0)
    .fetch_one(tx.conn())
    .await
    .map(Piasters)
    .map_err(fault)
}

/// Has the rider few enough trips ahead of him, and none about this time? Asked under his lock.
async fn has_room_ahead_in_tx(
    tx: &mut Tx,
    rider: RiderId,
    pickup: Millis,
    ahead: &Ahead,
) -> Result<(), TripError> {
    let rows: Vec<jiff_sqlx::Timestamp> = sqlx::query_scalar(
        "SELECT scheduled_at FROM trips WHERE rider_id = $1 AND scheduled_at IS NOT NULL \
         AND status IN ('scheduled', 'requested', 'accepted', 'arrived', 'started') \
         ORDER BY scheduled_at",
    )
    .bind(rider.0)
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    let mut booked = rows.into_iter().map(millis);
    let near = |at: &Millis| at.after(pickup).max(pickup.after(*at)) < ahead.apart;
    if let Some(at) = booked.clone().find(near) {
        return Err(TripError::Overlaps { at });
    }
    match booked.nth(ahead.per_rider.saturating_sub(1) as usize) {
        Some(_) => Err(TripError::TooManyAhead { limit: ahead.per_rider }),
        None => Ok(()),
    }
}

/// What the rider authorised pays for this trip from here on, and for no other.
async fn bind_card_in_tx(tx: &mut Tx, trip: &Trip, card: Option<Uuid>) -> Result<(), TripError> {
    let Some(card) = card else { return Err(TripError::CardUnfit { why: "missing".to_owned() }) };
    let pickup = trip.scheduled_at.unwrap_or(trip.created_at);
    let unfit: Option<String> = sqlx::query_scalar("SELECT card_bind($1, $2, $3)")
        .bind(card)
        .bind(trip.id.0)
        .bind(at(Millis(pickup.0 + CARD_GOOD_MS)))
        .fetch_one(tx.conn())
        .await
        .map_err(fault)?;
    unfit.map_or(Ok(()), |why| Err(TripError::CardUnfit { why }))
}

/// Notes the variant by which the trip is priced, so that its experiment can be measured.
async fn note_arm_in_tx(tx: &mut Tx, trip: TripId, arm: PriceArm) -> Result<(), Fault> {
    sqlx::query("SELECT experiment_book($1, $2, $3)")
        .bind(trip.0)
        .bind(arm.experiment)
        .bind(i32::from(arm.variant))
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(())
}

async fn hold_in_tx(tx: &mut Tx, trip: &Trip, available: Piasters) -> Result<(), TripError> {
    let journal = ledger::hold_journal(trip.id, trip.rider, trip.hold);
    ledger::post_in_tx(tx, &journal).await.map_err(|error| match error {
        ledger::PostError::InsufficientFunds => {
            TripError::InsufficientBalance { available, price: trip.to_pay() }
        }
        ledger::PostError::Fault(fault) => fault.into(),
        ledger::PostError::KeyReused
        | ledger::PostError::RefundTooLarge
        | ledger::PostError::Unbalanced => {
            Fault::internal(format!("hold of trip {}: {error}", trip.id)).into()
        }
    })?;
    Ok(())
}

async fn create_in_tx(tx: &mut Tx, trip: &Trip, event: &TripEvent) -> Result<(), TripError> {
    tx.rings(events::FACTS);
    sqlx::query("SELECT trip_create($1::text::jsonb, $2::text::jsonb, $3)")
        .bind(json(&NewRow::of(trip))?)
        .bind(json(event)?)
        .bind(event.event.domain())
        .execute(tx.conn())
        .await
        .map_err(|error| match raised(&error) {
            Some(LEASE_LOST) => Fault::unavailable("another node runs the trips").into(),
            _ if breaks(&error, ONE_PER_RIDER) => Refusal::TripInProgress.into(),
            _ => TripError::Fault(fault(error)),
        })?;
    Ok(())
}
