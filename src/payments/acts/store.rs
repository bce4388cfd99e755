//! All SQL of admins' acts.

use base::{Cursor, Fault, JournalId, Millis, Piasters, TripId, UserId};
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use storage::{Tx, at, breaks, fault, millis};
use uuid::Uuid;

use super::model::{ActDetails, ActFilter, ActId, ActKind, ActStatus, AtFault, MoneyAct, NewAct};
use crate::disputes::DisputeId;
use crate::model::DepositId;

/// Two acts of one admin count each other.
const ALONE_LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1::text, 742014))";
const TRIP_LOCK: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1::text, 742015))";
const ALONE: &str = "\
SELECT coalesce(sum(abs(amount)), 0)::bigint FROM admin_acts
WHERE asked_by = $1 AND asked_at > $2 AND status = 'done'";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, kind, user_id, trip_id, deposit_id, dispute_id, fault, amount, reason, ",
            "status, asked_by, asked_at, decided_by, decided_at, decision_reason, journal_id, ",
            "details FROM admin_acts ",
            $rest
        )
    };
}

/// A page, newest first, of the rows for which `rest` holds.
macro_rules! page {
    ($rest:literal) => {
        concat!(select!("WHERE "), $rest, " ORDER BY asked_at DESC, id DESC LIMIT $3")
    };
}

const BY_ID: &str = select!("WHERE id = $1");
const LOCKED: &str = select!("WHERE id = $1 FOR NO KEY UPDATE");
// A statement for each filter, so that each has an index whatever it is asked for.
const ALL: &str = page!("(asked_at, id) < ($1, $2)");
const IN_STATUS: &str = page!("status = $4 AND (asked_at, id) < ($1, $2)");
const ON_ACCOUNT: &str = page!("user_id = $4 AND (asked_at, id) < ($1, $2)");
const ON_ACCOUNT_IN_STATUS: &str =
    page!("user_id = $4 AND status = $5 AND (asked_at, id) < ($1, $2)");

/// Sum of what an admin did alone since then; his next act waits until this transaction ends.
pub async fn alone_since_in_tx(
    tx: &mut Tx,
    admin: UserId,
    since: Millis,
) -> Result<Piasters, Fault> {
    sqlx::query(ALONE_LOCK).bind(admin.0).execute(tx.conn()).await.map_err(fault)?;
    let sum: i64 = sqlx::query_scalar(ALONE)
        .bind(admin.0)
        .bind(at(since))
        .fetch_one(tx.conn())
        .await
        .map_err(fault)?;
    Ok(Piasters(sum))
}

/// Refunds of one trip see each other: the next waits until this transaction ends.
pub async fn refunds_of_trip_wait_in_tx(tx: &mut Tx, trip: TripId) -> Result<(), Fault> {
    sqlx::query(TRIP_LOCK).bind(trip.0).execute(tx.conn()).await.map_err(fault)?;
    Ok(())
}

/// Stores an act; false when its key was used for one before.
pub async fn act_add_in_tx(tx: &mut Tx, act: &MoneyAct) -> Result<bool, Fault> {
    let added = sqlx::query(
        "INSERT INTO admin_acts (id, kind, user_id, trip_id, deposit_id, dispute_id, fault, \
           amount, reason, status, asked_by, asked_at, journal_id, details) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)",
    )
    .bind(act.id.0)
    .bind(act.what.kind.name())
    .bind(act.what.user.map(|user| user.0))
    .bind(act.what.trip.map(|trip| trip.0))
    .bind(act.what.deposit.map(|deposit| deposit.0))
    .bind(act.what.dispute.map(|dispute| dispute.0))
    .bind(act.what.fault.map(AtFault::name))
    .bind(act.what.amount.0)
    .bind(&act.what.reason)
    .bind(act.status.name())
    .bind(act.asked_by.0)
    .bind(at(act.asked_at))
    .bind(act.journal.map(|journal| journal.0))
    .bind(act.what.details.as_ref().map(Json))
    .execute(tx.conn())
    .await;
    match added {
        Ok(_) => Ok(true),
        Err(error) if breaks(&error, "admin_acts_pkey") => Ok(false),
        Err(error) => Err(fault(error)),
    }
}

pub async fn act_in_tx(tx: &mut Tx, id: ActId) -> Result<Option<MoneyAct>, Fault> {
    one(tx, BY_ID, id).await
}

/// The same, unchanged by others until the transaction ends.
pub async fn act_lock_in_tx(tx: &mut Tx, id: ActId) -> Result<Option<MoneyAct>, Fault> {
    one(tx, LOCKED, id).await
}

async fn one(tx: &mut Tx, sql: &'static str, id: ActId) -> Result<Option<MoneyAct>, Fault> {
    let row = sqlx::query(sql).bind(id.0).fetch_optional(tx.conn()).await.map_err(fault)?;
    row.map(|row| act(&row).map_err(fault)).transpose()
}

/// Newest first.
pub async fn acts_in_tx(
    tx: &mut Tx,
    filter: &ActFilter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Vec<MoneyAct>, Fault> {
    let (status, user) = (filter.status.map(ActStatus::name), filter.user);
    let sql = match (user, status) {
        (None, None) => ALL,
        (None, Some(_)) => IN_STATUS,
        (Some(_), None) => ON_ACCOUNT,
        (Some(_), Some(_)) => ON_ACCOUNT_IN_STATUS,
    };
    let (before, id) = storage::before(after);
    let mut query = sqlx::query(sql).bind(before).bind(id).bind(i64::from(limit));
    if let Some(user) = user {
        query = query.bind(user.0);
    }
    if let Some(status) = status {
        query = query.bind(status);
    }
    let rows = query.fetch_all(tx.conn()).await.map_err(fault)?;
    rows.iter().map(|row| act(row).map_err(fault)).collect()
}

/// Stores what was decided about a pending act.
pub async fn act_decide_in_tx(tx: &mut Tx, decided: &MoneyAct) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE admin_acts SET status = $2, decided_by = $3, decided_at = $4, \
           decision_reason = $5, journal_id = $6 WHERE id = $1",
    )
    .bind(decided.id.0)
    .bind(decided.status.name())
    .bind(decided.decided_by.map(|user| user.0))
    .bind(decided.decided_at.map(at))
    .bind(&decided.decision_reason)
    .bind(decided.journal.map(|journal| journal.0))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

fn act(row: &PgRow) -> Result<MoneyAct, sqlx::Error> {
    let unknown = |column: &str| sqlx::Error::Decode(format!("unknown word in {column}").into());
    let id = |column: &str| row.try_get::<Option<Uuid>, _>(column);
    let decided_at: Option<jiff_sqlx::Timestamp> = row.try_get("decided_at")?;
    let what = NewAct {
        kind: ActKind::parse(row.try_get("kind")?).ok_or_else(|| unknown("kind"))?,
        user: id("user_id")?.map(UserId),
        trip: id("trip_id")?.map(TripId),
        deposit: id("deposit_id")?.map(DepositId),
        dispute: id("dispute_id")?.map(DisputeId),
        fault: row.try_get::<Option<&str>, _>("fault")?.and_then(AtFault::parse),
        amount: Piasters(row.try_get("amount")?),
        reason: row.try_get("reason")?,
        details: row.try_get::<Option<Json<ActDetails>>, _>("details")?.map(|details| details.0),
    };
    Ok(MoneyAct {
        id: ActId(row.try_get("id")?),
        what,
        status: ActStatus::parse(row.try_get("status")?).ok_or_else(|| unknown("status"))?,
        asked_by: UserId(row.try_get("asked_by")?),
        asked_at: millis(row.try_get::<jiff_sqlx::Timestamp, _>("asked_at")?),
        decided_by: id("decided_by")?.map(UserId),
        decided_at: decided_at.map(millis),
        decision_reason: row.try_get("decision_reason")?,
        journal: id("journal_id")?.map(JournalId),
    })
}
