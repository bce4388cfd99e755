//! All SQL of money in suspense.

use base::{Cursor, Fault, Millis, Piasters, UserId};
use sqlx::Row;
use sqlx::postgres::PgRow;
use storage::{Tx, at, fault, millis};
use uuid::Uuid;

use crate::model::DepositId;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, transaction, gateway_order, deposit_id, why, amount, kept_at, resolved_at ",
            "FROM suspense_captures ",
            $rest
        )
    };
}

const LOCKED: &str = select!("WHERE id = $1 FOR NO KEY UPDATE");
const OPEN: &str = select!(
    "WHERE resolved_at IS NULL AND (kept_at, id) < ($1, $2) \
     ORDER BY kept_at DESC, id DESC LIMIT $3"
);

/// A capture that nobody had asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The ledger's name of it.
    pub id: Uuid,
    pub transaction: Option<String>,
    pub gateway_order: Option<String>,
    /// What it was paid for, where that is known.
    pub deposit: Option<DepositId>,
    pub why: String,
    pub amount: Piasters,
    pub kept_at: Millis,
    pub resolved_at: Option<Millis>,
}

/// Lists a capture, beside the posting that keeps it; one that is listed stays as it is.
pub(crate) async fn suspense_keep_in_tx(tx: &mut Tx, kept: &Kept) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO suspense_captures \
           (id, transaction, gateway_order, deposit_id, why, amount, kept_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (id) DO NOTHING",
    )
    .bind(kept.id)
    .bind(&kept.transaction)
    .bind(&kept.gateway_order)
    .bind(kept.deposit.map(|deposit| deposit.0))
    .bind(&kept.why)
    .bind(kept.amount.0)
    .bind(at(kept.kept_at))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// Unchanged by others until the transaction ends.
pub async fn suspense_lock_in_tx(tx: &mut Tx, id: Uuid) -> Result<Option<Kept>, Fault> {
    let row = sqlx::query(LOCKED).bind(id).fetch_optional(tx.conn()).await.map_err(fault)?;
    row.map(|row| kept(&row).map_err(fault)).transpose()
}

/// What waits, newest first.
pub async fn suspense_in_tx(
    tx: &mut Tx,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Vec<Kept>, Fault> {
    let (before, id) = storage::before(after);
    let page = sqlx::query(OPEN).bind(before).bind(id).bind(i64::from(limit));
    let rows = page.fetch_all(tx.conn()).await.map_err(fault)?;
    rows.iter().map(|row| kept(row).map_err(fault)).collect()
}

/// Notes that a capture was given to somebody, or goes back, beside the posting that does it.
pub async fn suspense_resolve_in_tx(
    tx: &mut Tx,
    id: Uuid,
    to: Option<UserId>,
    now: Millis,
) -> Result<(), Fault> {
    sqlx::query("UPDATE suspense_captures SET resolved_at = $2, given_to = $3 WHERE id = $1")
        .bind(id)
        .bind(at(now))
        .bind(to.map(|user| user.0))
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(())
}

fn kept(row: &PgRow) -> Result<Kept, sqlx::Error> {
    let resolved_at: Option<jiff_sqlx::Timestamp> = row.try_get("resolved_at")?;
    Ok(Kept {
        id: row.try_get("id")?,
        transaction: row.try_get("transaction")?,
        gateway_order: row.try_get("gateway_order")?,
        deposit: row.try_get::<Option<Uuid>, _>("deposit_id")?.map(DepositId),
        why: row.try_get("why")?,
        amount: Piasters(row.try_get("amount")?),
        kept_at: millis(row.try_get::<jiff_sqlx::Timestamp, _>("kept_at")?),
        resolved_at: resolved_at.map(millis),
    })
}
