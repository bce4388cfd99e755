//! All SQL of refunds to cards.

use std::time::Duration;

use base::{Cursor, Fault, Millis, Piasters, UserId};
use sqlx::Row;
use sqlx::postgres::PgRow;
use storage::{Tx, at, breaks, fault, millis, raised};

use super::model::{CardRefund, RefundId, RefundStatus};
use crate::model::DepositId;
use crate::store::{due, due_in_tx};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, deposit_id, user_id, amount, status, transaction, failure, asked_at, ",
            "sent_at, ended_at FROM refunds ",
            $rest
        )
    };
}

const BY_ID: &str = select!("WHERE id = $1");
const LOCKED: &str = select!("WHERE id = $1 FOR NO KEY UPDATE");
const OF_DEPOSIT: &str =
    select!("WHERE deposit_id = $1 ORDER BY asked_at DESC, id DESC FOR NO KEY UPDATE");
// A statement for each filter, so that each has an index whatever it is asked for.
const ALL: &str =
    select!("WHERE (asked_at, id) < ($1, $2) ORDER BY asked_at DESC, id DESC LIMIT $3");
const IN_STATUS: &str = select!(
    "WHERE status = $4 AND (asked_at, id) < ($1, $2) ORDER BY asked_at DESC, id DESC LIMIT $3"
);

/// What the database made of a new refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Added {
    Yes,
    /// One of the same deposit is open; the transaction is over.
    Open,
    /// More than was paid would go back; the transaction is over.
    TooMuch,
}

pub(crate) async fn refund_add_in_tx(tx: &mut Tx, refund: &CardRefund) -> Result<Added, Fault> {
    let added = sqlx::query(
        "INSERT INTO refunds (id, deposit_id, user_id, amount, asked_at) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(refund.id.0)
    .bind(refund.deposit.0)
    .bind(refund.user.0)
    .bind(refund.amount.0)
    .bind(at(refund.asked_at))
    .execute(tx.conn())
    .await;
    match added {
        Ok(_) => Ok(Added::Yes),
        Err(error) if breaks(&error, "one_open_refund_per_deposit") => Ok(Added::Open),
        Err(error) if raised(&error) == Some("SL403") => Ok(Added::TooMuch),
        Err(error) => Err(fault(error)),
    }
}

pub(crate) async fn refund_in_tx(tx: &mut Tx, id: RefundId) -> Result<Option<CardRefund>, Fault> {
    let row = sqlx::query(BY_ID).bind(id.0).fetch_optional(tx.conn()).await.map_err(fault)?;
    row.map(|row| refund(&row).map_err(fault)).transpose()
}

/// The same, unchanged by others until the transaction ends.
pub(crate) async fn refund_lock_in_tx(
    tx: &mut Tx,
    id: RefundId,
) -> Result<Option<CardRefund>, Fault> {
    let row = sqlx::query(LOCKED).bind(id.0).fetch_optional(tx.conn()).await.map_err(fault)?;
    row.map(|row| refund(&row).map_err(fault)).transpose()
}

/// All of a deposit's, newest first, unchanged by others until the transaction ends.
pub(crate) async fn refunds_lock_in_tx(
    tx: &mut Tx,
    deposit: DepositId,
) -> Result<Vec<CardRefund>, Fault> {
    let rows = sqlx::query(OF_DEPOSIT).bind(deposit.0).fetch_all(tx.conn()).await.map_err(fault)?;
    rows.iter().map(|row| refund(row).map_err(fault)).collect()
}

/// Newest first.
pub(crate) async fn refunds_in_tx(
    tx: &mut Tx,
    status: Option<RefundStatus>,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<CardRefund>, Fault> {
    let (before, id) = storage::before(after);
    let page = |sql| sqlx::query(sql).bind(before).bind(id).bind(limit);
    let query = match status {
        None => page(ALL),
        Some(status) => page(IN_STATUS).bind(status.name()),
    };
    let rows = query.fetch_all(tx.conn()).await.map_err(fault)?;
    rows.iter().map(|row| refund(row).map_err(fault)).collect()
}

/// Stores where a refund stands, and when it is looked at next.
pub(crate) async fn refund_move_in_tx(
    tx: &mut Tx,
    moved: &CardRefund,
    look_at: Option<Millis>,
) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE refunds SET status = $2, transaction = $3, failure = $4, look_at = $5, \
           sent_at = $6, ended_at = $7 WHERE id = $1",
    )
    .bind(moved.id.0)
    .bind(moved.status.name())
    .bind(&moved.transaction)
    .bind(&moved.failure)
    .bind(look_at.map(at))
    .bind(moved.sent_at.map(at))
    .bind(moved.ended_at.map(at))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// See [`due_in_tx`].
pub(crate) async fn refunds_due_in_tx(
    tx: &mut Tx,
    now: Millis,
    again: Duration,
    most: i64,
) -> Result<Vec<RefundId>, Fault> {
    let ids = due_in_tx(tx, due!("refunds"), now, again, most).await?;
    Ok(ids.into_iter().map(RefundId).collect())
}

fn refund(row: &PgRow) -> Result<CardRefund, sqlx::Error> {
    let unknown = || sqlx::Error::Decode("unknown word in status".into());
    let moment = |column: &str| {
        row.try_get::<Option<jiff_sqlx::Timestamp>, _>(column).map(|at| at.map(millis))
    };
    Ok(CardRefund {
        id: RefundId(row.try_get("id")?),
        deposit: DepositId(row.try_get("deposit_id")?),
        user: UserId(row.try_get("user_id")?),
        amount: Piasters(row.try_get("amount")?),
        status: RefundStatus::parse(row.try_get("status")?).ok_or_else(unknown)?,
        transaction: row.try_get("transaction")?,
        failure: row.try_get("failure")?,
        asked_at: millis(row.try_get::<jiff_sqlx::Timestamp, _>("asked_at")?),
        sent_at: moment("sent_at")?,
        ended_at: moment("ended_at")?,
    })
}
