//! All SQL of withdrawals.

use std::time::Duration;

use base::{Cursor, DriverId, Fault, Millis, Piasters, UserId};
use sqlx::Row;
use sqlx::postgres::PgRow;
use storage::{Tx, at, fault, millis};
use uuid::Uuid;

use super::account::{PayoutAccount, PayoutMethod};
use super::model::{PayoutChannel, Withdrawal, WithdrawalFilter, WithdrawalId, WithdrawalStatus};
use crate::store::{due, due_in_tx};

const ADD: &str = "\
INSERT INTO withdrawals (id, driver_id, amount, method, account, requested_at)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (driver_id) WHERE status IN ('requested', 'approved', 'sent') DO NOTHING";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, driver_id, amount, method, account, status, channel, provider_id, ",
            "bank_reference, reason, requested_at, decided_by, decided_at, sent_at, ended_at ",
            "FROM withdrawals ",
            $rest
        )
    };
}

/// A page, newest first, of the rows for which `rest` holds.
macro_rules! page {
    ($rest:literal) => {
        concat!(select!("WHERE "), $rest, " ORDER BY requested_at DESC, id DESC LIMIT $3")
    };
}

const BY_ID: &str = select!("WHERE id = $1");
const LOCKED: &str = select!("WHERE id = $1 FOR NO KEY UPDATE");
const OPEN: &str = select!("WHERE driver_id = $1 AND status IN ('requested', 'approved', 'sent')");
// A statement for each filter, so that each has an index whatever it is asked for.
const ALL: &str = page!("(requested_at, id) < ($1, $2)");
const IN_STATUS: &str = page!("status = $4 AND (requested_at, id) < ($1, $2)");
const OF_DRIVER: &str = page!("driver_id = $4 AND (requested_at, id) < ($1, $2)");
const OF_DRIVER_IN_STATUS: &str =
    page!("driver_id = $4 AND status = $5 AND (requested_at, id) < ($1, $2)");

/// Adds one; false when the driver has an open one.
pub(crate) async fn withdrawal_add_in_tx(tx: &mut Tx, new: &Withdrawal) -> Result<bool, Fault> {
    let added = sqlx::query(ADD)
        .bind(new.id.0)
        .bind(new.driver.0)
        .bind(new.amount.0)
        .bind(new.account.method().name())
        .bind(new.account.number())
        .bind(at(new.requested_at))
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(added.rows_affected() == 1)
}

/// As far as the transaction's caller may see it.
pub(crate) async fn withdrawal_in_tx(
    tx: &mut Tx,
    id: WithdrawalId,
) -> Result<Option<Withdrawal>, Fault> {
    one(tx, BY_ID, id.0).await
}

/// The same, unchanged by others until the transaction ends.
pub(crate) async fn withdrawal_lock_in_tx(
    tx: &mut Tx,
    id: WithdrawalId,
) -> Result<Option<Withdrawal>, Fault> {
    one(tx, LOCKED, id.0).await
}

/// The one that keeps the driver from asking for another.
pub(crate) async fn withdrawal_open_in_tx(
    tx: &mut Tx,
    driver: DriverId,
) -> Result<Option<Withdrawal>, Fault> {
    one(tx, OPEN, driver.0).await
}

async fn one(tx: &mut Tx, sql: &'static str, id: Uuid) -> Result<Option<Withdrawal>, Fault> {
    let row = sqlx::query(sql).bind(id).fetch_optional(tx.conn()).await.map_err(fault)?;
    row.map(|row| withdrawal(&row).map_err(fault)).transpose()
}

/// How many the driver asked for since then; rejected ones don't count.
pub(crate) async fn withdrawals_since_in_tx(
    tx: &mut Tx,
    driver: DriverId,
    since: Millis,
) -> Result<u32, Fault> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM withdrawals \
         WHERE driver_id = $1 AND requested_at > $2 AND status <> 'rejected'",
    )
    .bind(driver.0)
    .bind(at(since))
    .fetch_one(tx.conn())
    .await
    .map_err(fault)?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

/// Newest first, as far as the transaction's caller may see them.
pub(crate) async fn withdrawals_in_tx(
    tx: &mut Tx,
    filter: &WithdrawalFilter,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<Withdrawal>, Fault> {
    let (status, driver) = (filter.status.map(WithdrawalStatus::name), filter.driver);
    let sql = match (driver, status) {
        (None, None) => ALL,
        (None, Some(_)) => IN_STATUS,
        (Some(_), None) => OF_DRIVER,
        (Some(_), Some(_)) => OF_DRIVER_IN_STATUS,
    };
    let (before, id) = storage::before(after);
    let mut query = sqlx::query(sql).bind(before).bind(id).bind(limit);
    if let Some(driver) = driver {
        query = query.bind(driver.0);
    }
    if let Some(status) = status {
        query = query.bind(status);
    }
    let rows = query.fetch_all(tx.conn()).await.map_err(fault)?;
    rows.iter().map(|row| withdrawal(row).map_err(fault)).collect()
}

/// Stores what a step made of a withdrawal.
pub(crate) async fn withdrawal_move_in_tx(
    tx: &mut Tx,
    moved: &Withdrawal,
    look_at: Option<Millis>,
) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE withdrawals SET status = $2, channel = $3, provider_id = $4, bank_reference = $5, \
           reason = $6, decided_by = $7, decided_at = $8, sent_at = $9, ended_at = $10, \
           look_at = $11 WHERE id = $1",
    )
    .bind(moved.id.0)
    .bind(moved.status.name())
    .bind(moved.channel.map(PayoutChannel::name))
    .bind(&moved.provider_id)
    .bind(&moved.bank_reference)
    .bind(&moved.reason)
    .bind(moved.decided_by.map(|user| user.0))
    .bind(moved.decided_at.map(at))
    .bind(moved.sent_at.map(at))
    .bind(moved.ended_at.map(at))
    .bind(look_at.map(at))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// Notes what the provider said of one that is on its way, and when it is asked again.
pub(crate) async fn withdrawal_note_in_tx(
    tx: &mut Tx,
    id: WithdrawalId,
    provider_id: Option<&str>,
    look_at: Millis,
) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE withdrawals SET provider_id = coalesce($2, provider_id), look_at = $3 \
         WHERE id = $1 AND status = 'sent' AND channel = 'provider'",
    )
    .bind(id.0)
    .bind(provider_id)
    .bind(at(look_at))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// When one that is approved is looked at next.
pub(crate) async fn withdrawal_wait_in_tx(
    tx: &mut Tx,
    id: WithdrawalId,
    look_at: Millis,
) -> Result<(), Fault> {
    sqlx::query("UPDATE withdrawals SET look_at = $2 WHERE id = $1 AND status = 'approved'")
        .bind(id.0)
        .bind(at(look_at))
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(())
}

/// See [`due_in_tx`].
pub(crate) async fn withdrawals_due_in_tx(
    tx: &mut Tx,
    now: Millis,
    again: Duration,
    most: i64,
) -> Result<Vec<WithdrawalId>, Fault> {
    let ids = due_in_tx(tx, due!("withdrawals"), now, again, most).await?;
    Ok(ids.into_iter().map(WithdrawalId).collect())
}

fn withdrawal(row: &PgRow) -> Result<Withdrawal, sqlx::Error> {
    let text = |column: &str| row.try_get::<&str, _>(column);
    let unknown = |column: &str| sqlx::Error::Decode(format!("unknown word in {column}").into());
    let moment = |column: &str| {
        row.try_get::<Option<jiff_sqlx::Timestamp>, _>(column).map(|at| at.map(millis))
    };
    let method = PayoutMethod::parse(text("method")?).ok_or_else(|| unknown("method"))?;
    let status = WithdrawalStatus::parse(text("status")?).ok_or_else(|| unknown("status"))?;
    Ok(Withdrawal {
        id: WithdrawalId(row.try_get("id")?),
        driver: DriverId(row.try_get("driver_id")?),
        amount: Piasters(row.try_get("amount")?),
        account: PayoutAccount::stored(method, row.try_get("account")?),
        status,
        channel: row.try_get::<Option<&str>, _>("channel")?.and_then(PayoutChannel::parse),
        provider_id: row.try_get("provider_id")?,
        bank_reference: row.try_get("bank_reference")?,
        reason: row.try_get("reason")?,
        requested_at: millis(row.try_get::<jiff_sqlx::Timestamp, _>("requested_at")?),
        decided_by: row.try_get::<Option<Uuid>, _>("decided_by")?.map(UserId),
        decided_at: moment("decided_at")?,
        sent_at: moment("sent_at")?,
        ended_at: moment("ended_at")?,
    })
}
