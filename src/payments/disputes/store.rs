//! All SQL of complaints.

use base::{Cursor, Fault, Millis, Piasters, Role, TripId, UserId};
use sqlx::Row;
use sqlx::postgres::PgRow;
use storage::{Tx, at, fault, millis};
use uuid::Uuid;

use super::model::{
    Dispute, DisputeFilter, DisputeId, DisputeReason, DisputeStatus, Outcome, Resolution,
};
use crate::acts::ActId;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, trip_id, opened_by, role, reason, text, status, resolution, answer, ",
            "amount, act_id, opened_at, decided_by, decided_at FROM disputes ",
            $rest
        )
    };
}

/// A page, newest first, of the rows for which `rest` holds.
macro_rules! page {
    ($rest:literal) => {
        concat!(select!("WHERE "), $rest, " ORDER BY opened_at DESC, id DESC LIMIT $3")
    };
}

const LOCKED: &str = select!("WHERE id = $1 FOR NO KEY UPDATE");
const OF_TRIP: &str = select!("WHERE trip_id = $1 AND opened_by = $2");
// A statement for each filter, so that each has an index whatever it is asked for.
const ALL: &str = page!("(opened_at, id) < ($1, $2)");
const IN_STATUS: &str = page!("status = $4 AND (opened_at, id) < ($1, $2)");
const OF_PERSON: &str = page!("opened_by = $4 AND (opened_at, id) < ($1, $2)");

/// Stores a new complaint; false when this person complained about the trip before.
pub async fn dispute_add_in_tx(tx: &mut Tx, dispute: &Dispute) -> Result<bool, Fault> {
    let added = sqlx::query(
        "INSERT INTO disputes (id, trip_id, opened_by, role, reason, text, opened_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) \
         ON CONFLICT ON CONSTRAINT one_dispute_per_trip_and_person DO NOTHING",
    )
    .bind(dispute.id.0)
    .bind(dispute.trip.0)
    .bind(dispute.opened_by.0)
    .bind(dispute.role.name())
    .bind(dispute.reason.name())
    .bind(&dispute.text)
    .bind(at(dispute.opened_at))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(added.rows_affected() == 1)
}

/// One, unchanged by others until the transaction ends.
pub async fn dispute_lock_in_tx(tx: &mut Tx, id: DisputeId) -> Result<Option<Dispute>, Fault> {
    let row = sqlx::query(LOCKED).bind(id.0).fetch_optional(tx.conn()).await.map_err(fault)?;
    row.map(|row| dispute(&row).map_err(fault)).transpose()
}

pub async fn dispute_of_trip_in_tx(
    tx: &mut Tx,
    trip: TripId,
    person: UserId,
) -> Result<Option<Dispute>, Fault> {
    let row = sqlx::query(OF_TRIP)
        .bind(trip.0)
        .bind(person.0)
        .fetch_optional(tx.conn())
        .await
        .map_err(fault)?;
    row.map(|row| dispute(&row).map_err(fault)).transpose()
}

/// Newest first, as far as the transaction's caller may see them.
pub async fn disputes_in_tx(
    tx: &mut Tx,
    filter: &DisputeFilter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Vec<Dispute>, Fault> {
    let (before, id) = storage::before(after);
    let page = |sql| sqlx::query(sql).bind(before).bind(id).bind(i64::from(limit));
    let query = match *filter {
        DisputeFilter::All => page(ALL),
        DisputeFilter::In(status) => page(IN_STATUS).bind(status.name()),
        DisputeFilter::Of(person) => page(OF_PERSON).bind(person.0),
    };
    let rows = query.fetch_all(tx.conn()).await.map_err(fault)?;
    rows.iter().map(|row| dispute(row).map_err(fault)).collect()
}

/// Stores where a complaint stands and what was made of it.
pub async fn dispute_resolve_in_tx(tx: &mut Tx, dispute: &Dispute) -> Result<(), Fault> {
    let resolution = dispute.resolution.as_ref();
    sqlx::query(
        "UPDATE disputes SET status = $2, resolution = $3, answer = $4, amount = $5, act_id = $6, \
           decided_by = $7, decided_at = $8 WHERE id = $1",
    )
    .bind(dispute.id.0)
    .bind(dispute.status.name())
    .bind(resolution.map(|made| made.outcome.name()))
    .bind(resolution.map(|made| made.answer.as_str()))
    .bind(resolution.and_then(|made| made.amount).map(|amount| amount.0))
    .bind(resolution.and_then(|made| made.act).map(|act| act.0))
    .bind(resolution.map(|made| made.by.0))
    .bind(resolution.map(|made| at(made.at)))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

fn dispute(row: &PgRow) -> Result<Dispute, sqlx::Error> {
    let unknown = |column: &str| sqlx::Error::Decode(format!("unknown word in {column}").into());
    let resolution = match row.try_get::<Option<&str>, _>("resolution")? {
        None => None,
        Some(outcome) => Some(Resolution {
            outcome: Outcome::parse(outcome).ok_or_else(|| unknown("resolution"))?,
            answer: row.try_get("answer")?,
            amount: row.try_get::<Option<i64>, _>("amount")?.map(Piasters),
            act: row.try_get::<Option<Uuid>, _>("act_id")?.map(ActId),
            by: UserId(row.try_get("decided_by")?),
            at: moment(row, "decided_at")?,
        }),
    };
    Ok(Dispute {
        id: DisputeId(row.try_get("id")?),
        trip: TripId(row.try_get("trip_id")?),
        opened_by: UserId(row.try_get("opened_by")?),
        role: Role::parse(row.try_get("role")?).ok_or_else(|| unknown("role"))?,
        reason: DisputeReason::parse(row.try_get("reason")?).ok_or_else(|| unknown("reason"))?,
        text: row.try_get("text")?,
        status: DisputeStatus::parse(row.try_get("status")?).ok_or_else(|| unknown("status"))?,
        resolution,
        opened_at: moment(row, "opened_at")?,
    })
}

fn moment(row: &PgRow, column: &str) -> Result<Millis, sqlx::Error> {
    row.try_get::<jiff_sqlx::Timestamp, _>(column).map(millis)
}
