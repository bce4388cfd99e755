//! All SQL of facts and their outbox.

use std::time::Duration;

use base::Fault;
use jiff_sqlx::Timestamp;
use sqlx::Row;
use sqlx::postgres::PgRow;
use storage::{Tx, at, fault, millis};

use super::{Fact, Published};

/// One relay at a time, whatever node it runs on: held until its transaction ends.
const TURN: i64 = 742_009;
/// How far back a fact that is told again is looked for.
const NEWEST: i64 = 200;

pub(crate) async fn append_in_tx<T>(
    tx: &mut Tx,
    fact: &Fact<'_, T>,
    payload: &str,
) -> Result<i32, Fault> {
    sqlx::query_scalar("SELECT event_append($1, $2, $3, $4, $5::jsonb, $6)")
        .bind(fact.aggregate)
        .bind(fact.id)
        .bind(fact.kind)
        .bind(fact.version)
        .bind(payload)
        .bind(at(fact.at))
        .fetch_one(tx.conn())
        .await
        .map_err(fault)
}

/// Is this fact among the newest of its aggregate? Holds the aggregate until the transaction ends.
pub(crate) async fn is_told_in_tx<T>(tx: &mut Tx, fact: &Fact<'_, T>) -> Result<bool, Fault> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended($1 || $2::text, 742008))")
        .bind(fact.aggregate)
        .bind(fact.id)
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM ( \
           SELECT event_type, created_at FROM event_store \
           WHERE aggregate_type = $1 AND aggregate_id = $2 ORDER BY seq DESC LIMIT $5) newest \
         WHERE event_type = $3 AND created_at = $4)",
    )
    .bind(fact.aggregate)
    .bind(fact.id)
    .bind(fact.kind)
    .bind(at(fact.at))
    .bind(NEWEST)
    .fetch_one(tx.conn())
    .await
    .map_err(fault)
}

/// Is it this transaction's turn to publish?
pub(crate) async fn turn_in_tx(tx: &mut Tx) -> Result<bool, Fault> {
    sqlx::query_scalar("SELECT pg_try_advisory_xact_lock($1)")
        .bind(TURN)
        .fetch_one(tx.conn())
        .await
        .map_err(fault)
}

/// The oldest facts that may be told now. Whatever is committed is seen, however late its number
/// became visible; a fact waits behind an earlier one of its aggregate that has to wait.
pub(crate) async fn waiting_in_tx(tx: &mut Tx, most: i64) -> Result<Vec<Published>, Fault> {
    let rows = sqlx::query(
        "SELECT o.id, o.aggregate_type, o.aggregate_id, o.seq, o.event_type, o.version, \
           o.payload::text AS payload, o.created_at, o.attempts FROM outbox o \
         WHERE o.next_at <= clock_timestamp() AND NOT EXISTS ( \
           SELECT FROM outbox e WHERE e.aggregate_type = o.aggregate_type \
             AND e.aggregate_id = o.aggregate_id AND e.seq < o.seq \
             AND e.next_at > clock_timestamp()) \
         ORDER BY o.id LIMIT $1",
    )
    .bind(most)
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    rows.iter().map(|row| published(row).map_err(fault)).collect()
}

fn published(row: &PgRow) -> Result<Published, sqlx::Error> {
    Ok(Published {
        id: row.try_get("id")?,
        aggregate: row.try_get("aggregate_type")?,
        aggregate_id: row.try_get("aggregate_id")?,
        seq: row.try_get("seq")?,
        kind: row.try_get("event_type")?,
        version: row.try_get("version")?,
        payload: row.try_get("payload")?,
        at: millis(row.try_get::<Timestamp, _>("created_at")?),
        attempts: row.try_get("attempts")?,
    })
}

pub(crate) async fn told_in_tx(tx: &mut Tx, ids: &[i64]) -> Result<(), Fault> {
    sqlx::query("DELETE FROM outbox WHERE id = ANY ($1)")
        .bind(ids)
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(())
}

/// A fact that some consumer could not take waits, and all of its aggregate behind it.
pub(crate) async fn delay_in_tx(tx: &mut Tx, id: i64, wait: Duration) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE outbox SET attempts = attempts + 1, \
           next_at = clock_timestamp() + make_interval(secs => $2) WHERE id = $1",
    )
    .bind(id)
    .bind(wait.as_secs_f64())
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// How long the oldest fact has waited, and how many wait.
pub(crate) async fn lag_in_tx(tx: &mut Tx) -> Result<(f64, i64), Fault> {
    sqlx::query_as(
        "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0)::float8, \
           count(*) FROM outbox",
    )
    .fetch_one(tx.conn())
    .await
    .map_err(fault)
}
