//! SQL of trips: group transitions, reading, boot; booking has its own.
//!
//! Writes go through the functions of migration 0003, which check actor, version and lease again.

use std::collections::HashMap;

use base::{
    BasisPoints, CityId, Cursor, DriverId, Fault, Millis, PaymentMethod, Piasters, Point, RiderId,
    Role, Tier, TripId,
};
use serde::Serialize;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use storage::{Db, Tx, Who, at, breaks, fault, millis};
use uuid::Uuid;

use crate::event::TripEvent;
use crate::model::{CancelReason, Passenger, PaymentStatus, Place, Side, Status, Terms, Trip};
use crate::refusal::Refusal;
use crate::registry::Filter;
use crate::writer::Move;

/// One live trip per rider: the database's own refusal.
pub(crate) const ONE_PER_RIDER: &str = "one_live_trip_per_rider";

/// Of a rider's past, so many trips count as recent.
const PAST_TRIPS: i64 = 200;

/// Why a group of moves did not go through.
#[derive(Debug)]
pub(crate) enum GroupError {
    /// The database is away or in another's way: nothing happened.
    Away(Fault),
    /// The database refused one of them: whose fault it is shows when they go singly.
    Refused(Refusal),
    Broken(Fault),
}

impl From<Fault> for GroupError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Unavailable(_) => Self::Away(fault),
            Fault::Unknown(_) | Fault::Internal(_) => Self::Broken(fault),
        }
    }
}

/// Moves trips that are where their moves expect them; the ids of those that moved.
pub(crate) async fn transitions_in_tx(
    tx: &mut Tx,
    moves: &[Move<'_>],
) -> Result<Vec<TripId>, GroupError> {
    tx.rings(events::FACTS);
    let rows = sqlx::query("SELECT r_id FROM trip_transitions($1::text::jsonb)")
        .bind(json(&moves)?)
        .fetch_all(tx.conn())
        .await
        .map_err(|error| {
            let busy = ["one_live_trip_per_driver", "one_queued_trip_per_driver"];
            if busy.iter().any(|name| breaks(&error, name)) {
                GroupError::Refused(Refusal::DriverBusy)
            } else if breaks(&error, ONE_PER_RIDER) {
                GroupError::Refused(Refusal::TripInProgress)
            } else {
                fault(error).into()
            }
        })?;
    rows.iter().map(|row| Ok(TripId(row.try_get("r_id").map_err(fault)?))).collect()
}

/// What the cards of these trips are authorised for.
pub(crate) async fn cards_bound_in_tx(
    tx: &mut Tx,
    trips: &[TripId],
) -> Result<HashMap<TripId, Piasters>, Fault> {
    let ids: Vec<Uuid> = trips.iter().map(|id| id.0).collect();
    let rows: Vec<(Uuid, i64)> = sqlx::query_as("SELECT r_trip, r_amount FROM cards_bound($1)")
        .bind(ids)
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    Ok(rows.into_iter().map(|(trip, amount)| (TripId(trip), Piasters(amount))).collect())
}

/// Where trips stand for certain, and the epoch of the lease: waits for writers still at it.
pub(crate) async fn look(db: &Db, ids: &[TripId]) -> Result<(i64, Vec<Trip>), Fault> {
    let ids: Vec<Uuid> = ids.iter().map(|id| id.0).collect();
    let mut tx = db.begin_writer().await?;
    let rows = sqlx::query("SELECT * FROM trips_look($1)")
        .bind(ids)
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    let epoch = sqlx::query_scalar("SELECT epoch FROM trip_lease")
        .fetch_one(tx.conn())
        .await
        .map_err(fault)?;
    tx.commit().await?;
    let trips: Result<Vec<Trip>, Fault> = rows.iter().map(|row| trip(row).map_err(fault)).collect();
    Ok((epoch, trips?))
}

/// Where one trip stands, unchanged until the transaction ends.
pub(crate) async fn look_in_tx(tx: &mut Tx, id: TripId) -> Result<Option<Trip>, Fault> {
    let row = sqlx::query("SELECT * FROM trips_look($1)")
        .bind(vec![id.0])
        .fetch_optional(tx.conn())
        .await
        .map_err(fault)?;
    row.map(|row| trip(&row).map_err(fault)).transpose()
}

/// Marks a trip as paid after its end; false when it is not where `event` thinks.
pub(crate) async fn pay_late_in_tx(tx: &mut Tx, event: &TripEvent) -> Result<bool, Fault> {
    sqlx::query_scalar("SELECT trip_pay_late($1, $2, $3, $4::text::jsonb, $5)")
        .bind(event.trip_id.0)
        .bind(event.seq)
        .bind(event.event.domain())
        .bind(json(event)?)
        .bind(at(event.at))
        .fetch_one(tx.conn())
        .await
        .map_err(fault)
}

/// Marks a trip that is paid by card as `event` says; false when it is not where that thinks.
pub(crate) async fn card_settle_in_tx(tx: &mut Tx, event: &TripEvent) -> Result<bool, Fault> {
    tx.rings(events::FACTS);
    sqlx::query_scalar("SELECT trip_card_settle($1, $2, $3, $4::text::jsonb, $5, $6)")
        .bind(event.trip_id.0)
        .bind(event.seq)
        .bind(event.event.domain())
        .bind(json(event)?)
        .bind(at(event.at))
        .bind(event.payment_status.name())
        .fetch_one(tx.conn())
        .await
        .map_err(fault)
}

/// The rider's oldest completed trip that could not be paid, and that his wallet may pay.
pub(crate) async fn unpaid(db: &Db, rider: RiderId) -> Result<Option<TripId>, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let id: Option<Uuid> = sqlx::query_scalar(
        "SELECT id FROM trips \
         WHERE rider_id = $1 AND payment_status = 'failed' \
           AND payment_method IN ('wallet', 'card') \
         ORDER BY ended_at, id LIMIT 1",
    )
    .bind(rider.0)
    .fetch_optional(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await?;
    Ok(id.map(TripId))
}

/// Riders after `after` who owe for completed trips, in the order of their ids.
pub(crate) async fn owing(db: &Db, after: RiderId, limit: i64) -> Result<Vec<RiderId>, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "SELECT DISTINCT rider_id FROM trips WHERE payment_status = 'failed' AND rider_id > $1 \
         ORDER BY rider_id LIMIT $2",
    )
    .bind(after.0)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await?;
    Ok(ids.into_iter().map(RiderId).collect())
}

/// Takes the lease on all trips; its epoch.
pub(crate) async fn claim(db: &Db) -> Result<i64, Fault> {
    let mut tx = db.begin_writer().await?;
    let epoch =
        sqlx::query_scalar("SELECT trips_claim()").fetch_one(tx.conn()).await.map_err(fault)?;
    tx.commit().await?;
    Ok(epoch)
}

/// The next live trips after `after`, in the order of their ids.
pub(crate) async fn live(db: &Db, after: TripId, limit: i64) -> Result<Vec<Trip>, Fault> {
    let mut tx = db.begin_writer().await?;
    let rows = sqlx::query(
        "SELECT * FROM trips \
         WHERE status IN ('scheduled', 'requested', 'accepted', 'arrived', 'started') AND id > $1 \
         ORDER BY id LIMIT $2",
    )
    .bind(after.0)
    .bind(limit)
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await?;
    rows.iter().map(|row| trip(row).map_err(fault)).collect()
}

/// Ends the stored offers of these trips that are still open: whose they were.
pub(crate) async fn expire_offers(
    db: &Db,
    trips: &[TripId],
    now: Millis,
) -> Result<Vec<(TripId, DriverId)>, Fault> {
    let ids: Vec<Uuid> = trips.iter().map(|id| id.0).collect();
    let mut tx = db.begin_writer().await?;
    let rows = sqlx::query("SELECT r_trip, r_driver FROM trip_offers_expire($1, $2)")
        .bind(ids)
        .bind(at(now))
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    tx.commit().await?;
    rows.iter()
        .map(|row| {
            let trip = TripId(row.try_get("r_trip").map_err(fault)?);
            Ok((trip, DriverId(row.try_get("r_driver").map_err(fault)?)))
        })
        .collect()
}

/// One trip, as far as `who` may see it.
pub(crate) async fn get(db: &Db, who: &Who, id: TripId) -> Result<Option<Trip>, Fault> {
    let mut tx = db.begin(who).await?;
    let found = get_in_tx(&mut tx, id).await?;
    tx.commit().await?;
    Ok(found)
}

/// The same, in a transaction of the caller's.
pub(crate) async fn get_in_tx(tx: &mut Tx, id: TripId) -> Result<Option<Trip>, Fault> {
    let row = sqlx::query("SELECT * FROM trips WHERE id = $1")
        .bind(id.0)
        .fetch_optional(tx.conn())
        .await
        .map_err(fault)?;
    row.map(|row| trip(&row).map_err(fault)).transpose()
}

const BY_RIDER: &str = "SELECT * FROM trips WHERE rider_id = $1 AND (created_at, id) < ($2, $3) \
     AND ($4::text IS NULL OR status = $4) \
     AND ($5::boolean IS NULL OR (payment_status = 'failed') = $5) \
     ORDER BY created_at DESC, id DESC LIMIT $6";
const BY_DRIVER: &str = "SELECT * FROM trips WHERE driver_id = $1 AND (created_at, id) < ($2, $3) \
     AND ($4::text IS NULL OR status = $4) \
     AND ($5::boolean IS NULL OR (payment_status = 'failed') = $5) \
     ORDER BY created_at DESC, id DESC LIMIT $6";
const ALL: &str = "SELECT * FROM trips WHERE $1::uuid IS NULL AND (created_at, id) < ($2, $3) \
     AND ($4::text IS NULL OR status = $4) \
     AND ($5::boolean IS NULL OR (payment_status = 'failed') = $5) \
     ORDER BY created_at DESC, id DESC LIMIT $6";

/// The trips of `who`, newest first, at most `limit`, after `cursor`.
pub(crate) async fn list(
    db: &Db,
    who: &Who,
    filter: &Filter,
    cursor: Option<Cursor>,
    limit: u32,
) -> Result<Vec<Trip>, Fault> {
    let (text, user) = match who {
        Who::Caller(caller) => match caller.role {
            Role::Rider => (BY_RIDER, Some(caller.user.0)),
            Role::Driver => (BY_DRIVER, Some(caller.user.0)),
            Role::Admin => (ALL, None),
        },
        Who::System => (ALL, None),
    };
    let after = cursor.unwrap_or(Cursor { at: Millis(i64::MAX), id: Uuid::max() });
    let mut tx = db.begin(who).await?;
    let rows = sqlx::query(text)
        .bind(user)
        .bind(at(after.at))
        .bind(after.id)
        .bind(filter.status.map(Status::name))
        .bind(filter.payment_failed)
        .bind(i64::from(limit))
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    tx.commit().await?;
    rows.iter().map(|row| trip(row).map_err(fault)).collect()
}

/// The events of a trip after number `after`, in order.
pub(crate) async fn events_since(db: &Db, id: TripId, after: i32) -> Result<Vec<TripEvent>, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let rows = sqlx::query(
        "SELECT payload::text AS payload FROM event_store \
         WHERE aggregate_type = 'trip' AND aggregate_id = $1 AND seq > $2 ORDER BY seq",
    )
    .bind(id.0)
    .bind(after)
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await?;
    rows.iter()
        .map(|row| {
            let text: &str = row.try_get("payload").map_err(fault)?;
            serde_json::from_str(text)
                .map_err(|error| Fault::internal(format!("event of trip {id}: {error}")))
        })
        .collect()
}

/// Drivers who completed one of the rider's newest trips.
pub(crate) async fn drivers_of(db: &Db, rider: RiderId) -> Result<Vec<DriverId>, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "SELECT DISTINCT driver_id FROM (SELECT driver_id, status FROM trips \
         WHERE rider_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2) past \
         WHERE status = 'completed'",
    )
    .bind(rider.0)
    .bind(PAST_TRIPS)
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await?;
    Ok(ids.into_iter().map(DriverId).collect())
}

/// A trip that was driven to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrivenTrip {
    pub trip: TripId,
    pub driver: DriverId,
    pub started: Millis,
    pub ended: Millis,
}

/// By their end, whenever they were booked.
pub(crate) const DRIVEN: &str = "\
    SELECT t.id, t.driver_id, t.started_at, t.ended_at \
    FROM unnest($1::uuid[]) AS a (id) JOIN trips t ON t.driver_id = a.id \
      AND t.status = 'completed' AND t.ended_at >= $2 \
    WHERE t.started_at IS NOT NULL ORDER BY t.ended_at, t.id";

/// Since when the rider has been in the car, of those of these trips where he is or was.
pub async fn started_in_tx(
    tx: &mut Tx,
    trips: &[TripId],
) -> Result<HashMap<TripId, Millis>, Fault> {
    let ids: Vec<Uuid> = trips.iter().map(|trip| trip.0).collect();
    let rows: Vec<(Uuid, jiff_sqlx::Timestamp)> = sqlx::query_as(
        "SELECT id, started_at FROM trips WHERE id = ANY($1) AND started_at IS NOT NULL",
    )
    .bind(ids)
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    Ok(rows.into_iter().map(|(id, started)| (TripId(id), millis(started))).collect())
}

/// Trips of these drivers that were driven to their end since then, oldest first.
pub async fn driven_in_tx(
    tx: &mut Tx,
    drivers: &[DriverId],
    since: Millis,
) -> Result<Vec<DrivenTrip>, Fault> {
    let ids: Vec<Uuid> = drivers.iter().map(|driver| driver.0).collect();
    let rows =
        sqlx::query(DRIVEN).bind(ids).bind(at(since)).fetch_all(tx.conn()).await.map_err(fault)?;
    let driven = |row: &PgRow| {
        Ok(DrivenTrip {
            trip: TripId(row.try_get("id")?),
            driver: DriverId(row.try_get("driver_id")?),
            started: millis(row.try_get("started_at")?),
            ended: millis(row.try_get("ended_at")?),
        })
    };
    rows.iter().map(|row| driven(row).map_err(fault)).collect()
}

/// Pickups of trips that were made in `[from, to)` for at once.
pub(crate) async fn asked_between(
    db: &Db,
    city: CityId,
    from: Millis,
    to: Millis,
) -> Result<Vec<Point>, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let places: Vec<(f64, f64)> = sqlx::query_as(
        "SELECT pickup_lat, pickup_lng FROM trips \
         WHERE created_at >= $2 AND created_at < $3 AND city_id = $1 AND scheduled_at IS NULL",
    )
    .bind(city.0)
    .bind(at(from))
    .bind(at(to))
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await?;
    Ok(places.into_iter().filter_map(|(lat, lng)| Point::new(lat, lng).ok()).collect())
}

pub(crate) fn json(value: &impl Serialize) -> Result<String, Fault> {
    serde_json::to_string(value).map_err(|error| Fault::internal(error.to_string()))
}

/// A text column that holds one of the words of a check constraint.
fn word<T>(row: &PgRow, column: &str, parse: fn(&str) -> Option<T>) -> Result<T, sqlx::Error> {
    let text: &str = row.try_get(column)?;
    parse(text).ok_or_else(|| unreadable(column, text))
}

fn word_if<T>(
    row: &PgRow,
    column: &str,
    parse: fn(&str) -> Option<T>,
) -> Result<Option<T>, sqlx::Error> {
    let text: Option<&str> = row.try_get(column)?;
    text.map(|text| parse(text).ok_or_else(|| unreadable(column, text))).transpose()
}

fn unreadable(column: &str, text: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("column {column} holds {text}").into())
}

fn moment(row: &PgRow, column: &str) -> Result<Option<Millis>, sqlx::Error> {
    Ok(row.try_get::<Option<jiff_sqlx::Timestamp>, _>(column)?.map(millis))
}

/// A whole number that is never negative.
fn count(row: &PgRow, column: &str) -> Result<u32, sqlx::Error> {
    let value: i32 = row.try_get(column)?;
    u32::try_from(value).map_err(|_| unreadable(column, &value.to_string()))
}

fn count_if(row: &PgRow, column: &str) -> Result<Option<u32>, sqlx::Error> {
    let value: Option<i32> = row.try_get(column)?;
    Ok(value.and_then(|value| u32::try_from(value).ok()))
}

fn place(row: &PgRow, lat: &str, lng: &str, address: &str) -> Result<Place, sqlx::Error> {
    let at = Point::new(row.try_get(lat)?, row.try_get(lng)?)
        .map_err(|error| sqlx::Error::Decode(error.into()))?;
    Ok(Place { at, address: row.try_get(address)? })
}

fn money(row: &PgRow, column: &str) -> Result<Piasters, sqlx::Error> {
    Ok(Piasters(row.try_get(column)?))
}

fn trip(row: &PgRow) -> Result<Trip, sqlx::Error> {
    let excluded: Vec<Uuid> = row.try_get("excluded")?;
    let rounds: i16 = row.try_get("rounds")?;
    let created_at = moment(row, "created_at")?.unwrap_or_default();
    let cancel_fee = money(row, "late_cancel_fee")?;
    // Of a trip from before it was told apart.
    let no_show_fee: Option<i64> = row.try_get("no_show_fee")?;
    Ok(Trip {
        id: TripId(row.try_get("id")?),
        city: CityId(row.try_get("city_id")?),
        rider: RiderId(row.try_get("rider_id")?),
        driver: row.try_get::<Option<Uuid>, _>("driver_id")?.map(DriverId),
        queued_behind: row.try_get::<Option<Uuid>, _>("queued_behind")?.map(TripId),
        status: word(row, "status", Status::parse)?,
        payment_status: word(row, "payment_status", PaymentStatus::parse)?,
        method: word(row, "payment_method", PaymentMethod::parse)?,
        tier: word(row, "tier", Tier::parse)?,
        strategy: row.try_get("strategy")?,
        version: row.try_get("version")?,
        epoch: row.try_get("epoch")?,
        pickup: place(row, "pickup_lat", "pickup_lng", "pickup_address")?,
        destination: place(row, "destination_lat", "destination_lng", "destination_address")?,
        stops: row.try_get::<Json<Vec<Place>>, _>("stops")?.0,
        passenger: row.try_get::<Option<Json<Passenger>>, _>("passenger")?.map(|json| json.0),
        price: money(row, "price")?,
        quoted_price: row.try_get::<Option<i64>, _>("quoted_price")?.map(Piasters),
        promo: money(row, "promo")?,
        final_price: row.try_get::<Option<i64>, _>("final_price")?.map(Piasters),
        hold: money(row, "hold")?,
        commission: BasisPoints(row.try_get::<i32, _>("commission_bp")?.into()),
        surge: row.try_get("surge")?,
        quote_id: row.try_get("quote_id")?,
        quoted_distance_m: count(row, "quoted_distance_m")?,
        quoted_duration_s: count(row, "quoted_duration_s")?,
        distance_m: count_if(row, "distance_m")?,
        duration_s: count_if(row, "duration_s")?,
        pin: row.try_get("pin")?,
        rounds: rounds.unsigned_abs(),
        excluded: excluded.into_iter().map(DriverId).collect(),
        cancelled_by: word_if(row, "cancelled_by", Side::parse)?,
        cancel_reason: word_if(row, "cancel_reason", CancelReason::parse)?,
        cancel_fee: money(row, "cancel_fee")?,
        scheduled_at: moment(row, "scheduled_at")?,
        confirm_by: moment(row, "confirm_by")?,
        requested_at: moment(row, "requested_at")?.unwrap_or(created_at),
        accepted_at: moment(row, "accepted_at")?,
        arrived_at: moment(row, "arrived_at")?,
        started_at: moment(row, "started_at")?,
        ended_at: moment(row, "ended_at")?,
        created_at,
        terms: Terms {
            free_cancel_s: count(row, "free_cancel_s")?,
            cancel_fee,
            no_show_wait_s: count(row, "no_show_wait_s")?,
            no_show_fee: no_show_fee.map_or(cancel_fee, Piasters),
            due_limit: money(row, "due_limit")?,
            debt_limit: money(row, "debt_limit")?,
            cash_step: money(row, "cash_step")?,
        },
    })
}
