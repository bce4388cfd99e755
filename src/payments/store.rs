//! All SQL of deposits and of what the gateway told.

use std::time::Duration;

use base::{Fault, Millis, Piasters, Role, UserId};
use sqlx::Row;
use sqlx::postgres::PgRow;
use storage::{Tx, at, fault, millis};
use uuid::Uuid;

use crate::kashier::{Currency, Event, Notice, NoticeStatus, Page};
use crate::model::{Deposit, DepositId, DepositStatus, Reference};

const COLUMNS: &str = "SELECT id, user_id, role, amount, currency, status, attempt, session, \
    page_url, gateway_order, transaction, failure, expires_at, created_at, paid_at FROM deposits";

/// A new deposit, as its caller asked for it.
pub(crate) struct NewDeposit {
    pub id: DepositId,
    pub user: UserId,
    pub role: Role,
    pub amount: Piasters,
    pub currency: Currency,
    pub look_at: Millis,
    pub expires_at: Millis,
    pub created_at: Millis,
}

pub(crate) async fn deposit_add_in_tx(tx: &mut Tx, new: &NewDeposit) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO deposits (id, user_id, role, amount, currency, look_at, expires_at, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(new.id.0)
    .bind(new.user.0)
    .bind(new.role.name())
    .bind(new.amount.0)
    .bind(new.currency.name())
    .bind(at(new.look_at))
    .bind(at(new.expires_at))
    .bind(at(new.created_at))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// As far as the transaction's caller may see it.
pub(crate) async fn deposit_in_tx(tx: &mut Tx, id: DepositId) -> Result<Option<Deposit>, Fault> {
    read(tx, id, "").await
}

/// The same, unchanged by others until the transaction ends.
pub(crate) async fn deposit_lock_in_tx(
    tx: &mut Tx,
    id: DepositId,
) -> Result<Option<Deposit>, Fault> {
    read(tx, id, "FOR NO KEY UPDATE").await
}

async fn read(tx: &mut Tx, id: DepositId, lock: &'static str) -> Result<Option<Deposit>, Fault> {
    let row = sqlx::query(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE id = $1 {lock}")))
        .bind(id.0)
        .fetch_optional(tx.conn())
        .await
        .map_err(fault)?;
    row.map(|row| deposit(&row).map_err(fault)).transpose()
}

/// Stores where the attempt of `reference` is paid; false when another attempt is under way.
pub(crate) async fn deposit_page_in_tx(
    tx: &mut Tx,
    reference: Reference,
    page: &Page,
) -> Result<bool, Fault> {
    let stored = sqlx::query(
        "UPDATE deposits SET session = $3, page_url = $4 WHERE id = $1 AND attempt = $2",
    )
    .bind(reference.deposit.0)
    .bind(reference.attempt)
    .bind(&page.session)
    .bind(&page.url)
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(stored.rows_affected() == 1)
}

/// Begins the attempt after that of `reference`, also of a deposit that is over; false when another
/// did, or it is paid.
pub(crate) async fn deposit_again_in_tx(
    tx: &mut Tx,
    reference: Reference,
    look_at: Millis,
    expires_at: Millis,
) -> Result<bool, Fault> {
    let stored = sqlx::query(
        "UPDATE deposits SET attempt = attempt + 1, status = 'pending', failure = NULL, \
           session = NULL, page_url = NULL, look_at = $3, expires_at = $4 \
         WHERE id = $1 AND attempt = $2 AND status <> 'paid'",
    )
    .bind(reference.deposit.0)
    .bind(reference.attempt)
    .bind(at(look_at))
    .bind(at(expires_at))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(stored.rows_affected() == 1)
}

/// What a payment leaves on its deposit.
pub(crate) struct Payment<'a> {
    pub transaction: Option<&'a str>,
    pub gateway_order: Option<&'a str>,
    pub method: Option<&'a str>,
    pub at: Millis,
}

pub(crate) async fn deposit_pay_in_tx(
    tx: &mut Tx,
    id: DepositId,
    payment: &Payment<'_>,
) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE deposits SET status = 'paid', transaction = $2, gateway_order = $3, method = $4, \
           failure = NULL, look_at = NULL, paid_at = $5 WHERE id = $1",
    )
    .bind(id.0)
    .bind(payment.transaction)
    .bind(payment.gateway_order)
    .bind(payment.method)
    .bind(at(payment.at))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// Ends a deposit, or a try at it, without money. `look_at` is when it is looked at next.
pub(crate) async fn deposit_fail_in_tx(
    tx: &mut Tx,
    id: DepositId,
    status: DepositStatus,
    failure: &str,
    look_at: Option<Millis>,
) -> Result<(), Fault> {
    sqlx::query("UPDATE deposits SET status = $2, failure = $3, look_at = $4 WHERE id = $1")
        .bind(id.0)
        .bind(status.name())
        .bind(failure)
        .bind(look_at.map(at))
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(())
}

pub(crate) async fn deposit_look_in_tx(
    tx: &mut Tx,
    id: DepositId,
    look_at: Option<Millis>,
) -> Result<(), Fault> {
    sqlx::query("UPDATE deposits SET look_at = $2 WHERE id = $1")
        .bind(id.0)
        .bind(look_at.map(at))
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(())
}

/// What [`due_in_tx`] asks of a table.
macro_rules! due {
    ($table:literal) => {
        concat!(
            "UPDATE ",
            $table,
            " SET look_at = $2 WHERE id IN (SELECT id FROM ",
            $table,
            " WHERE look_at <= $1 ORDER BY look_at LIMIT $3 FOR NO KEY UPDATE SKIP LOCKED) \
             RETURNING id"
        )
    };
}
pub(crate) use due;

/// Takes rows that are due to be looked at; whoever looks says when it is next, and a look that got
/// lost is made up for after `again`.
pub(crate) async fn due_in_tx(
    tx: &mut Tx,
    sql: &'static str,
    now: Millis,
    again: Duration,
    most: i64,
) -> Result<Vec<Uuid>, Fault> {
    sqlx::query_scalar(sql)
        .bind(at(now))
        .bind(at(now + again))
        .bind(most)
        .fetch_all(tx.conn())
        .await
        .map_err(fault)
}

/// See [`due_in_tx`].
pub(crate) async fn deposits_due_in_tx(
    tx: &mut Tx,
    now: Millis,
    again: Duration,
    most: i64,
) -> Result<Vec<DepositId>, Fault> {
    let ids = due_in_tx(tx, due!("deposits"), now, again, most).await?;
    Ok(ids.into_iter().map(DepositId).collect())
}

/// Keeps a verified notice; `None` for one that was told before.
pub(crate) async fn notice_add_in_tx(
    tx: &mut Tx,
    notice: &Notice,
    now: Millis,
) -> Result<Option<i64>, Fault> {
    sqlx::query_scalar(
        "INSERT INTO gateway_notices (transaction, status, event, reference, gateway_order, amount, \
           currency, stated, merchant, method, response_code, received_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) \
         ON CONFLICT ON CONSTRAINT one_notice_per_transaction_and_status DO NOTHING RETURNING id",
    )
    .bind(&notice.transaction)
    .bind(notice.status.name())
    .bind(notice.event.name())
    .bind(&notice.order)
    .bind(&notice.gateway_order)
    .bind(notice.amount.map(|amount| amount.0))
    .bind(notice.currency.map(Currency::name))
    .bind(&notice.stated)
    .bind(&notice.merchant)
    .bind(&notice.method)
    .bind(&notice.response_code)
    .bind(at(now))
    .fetch_optional(tx.conn())
    .await
    .map_err(fault)
}

/// A notice, and what came of it if it was applied.
pub(crate) struct KeptNotice {
    pub notice: Notice,
    pub outcome: Option<String>,
}

/// Reads a notice and keeps it from being applied by another.
pub(crate) async fn notice_lock_in_tx(tx: &mut Tx, id: i64) -> Result<Option<KeptNotice>, Fault> {
    let row = sqlx::query(
        "SELECT transaction, status, event, reference, gateway_order, amount, currency, stated, \
           merchant, method, response_code, outcome FROM gateway_notices WHERE id = $1 FOR UPDATE",
    )
    .bind(id)
    .fetch_optional(tx.conn())
    .await
    .map_err(fault)?;
    row.map(|row| notice(&row).map_err(fault)).transpose()
}

pub(crate) async fn notice_applied_in_tx(
    tx: &mut Tx,
    id: i64,
    outcome: &str,
    now: Millis,
) -> Result<(), Fault> {
    sqlx::query("UPDATE gateway_notices SET applied_at = $2, outcome = $3 WHERE id = $1")
        .bind(id)
        .bind(at(now))
        .bind(outcome)
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(())
}

/// A text column that holds one of the words of a check constraint, or of our own writing.
fn word<T>(row: &PgRow, column: &str, parse: fn(&str) -> Option<T>) -> Result<T, sqlx::Error> {
    let text: &str = row.try_get(column)?;
    let unknown = || sqlx::Error::Decode(format!("column {column} holds {text}").into());
    parse(text).ok_or_else(unknown)
}

fn deposit(row: &PgRow) -> Result<Deposit, sqlx::Error> {
    let moment = |column: &str| row.try_get::<jiff_sqlx::Timestamp, _>(column).map(millis);
    Ok(Deposit {
        id: DepositId(row.try_get("id")?),
        user: UserId(row.try_get("user_id")?),
        role: word(row, "role", Role::parse)?,
        amount: Piasters(row.try_get("amount")?),
        currency: word(row, "currency", Currency::parse)?,
        status: word(row, "status", DepositStatus::parse)?,
        attempt: row.try_get("attempt")?,
        session: row.try_get("session")?,
        page_url: row.try_get("page_url")?,
        gateway_order: row.try_get("gateway_order")?,
        transaction: row.try_get("transaction")?,
        failure: row.try_get("failure")?,
        expires_at: moment("expires_at")?,
        created_at: moment("created_at")?,
        paid_at: row.try_get::<Option<jiff_sqlx::Timestamp>, _>("paid_at")?.map(millis),
    })
}

fn notice(row: &PgRow) -> Result<KeptNotice, sqlx::Error> {
    let currency: Option<&str> = row.try_get("currency")?;
    Ok(KeptNotice {
        notice: Notice {
            event: word(row, "event", Event::parse)?,
            order: row.try_get("reference")?,
            gateway_order: row.try_get("gateway_order")?,
            transaction: row.try_get("transaction")?,
            status: word(row, "status", NoticeStatus::parse)?,
            amount: row.try_get::<Option<i64>, _>("amount")?.map(Piasters),
            currency: currency.and_then(Currency::parse),
            stated: row.try_get("stated")?,
            merchant: row.try_get("merchant")?,
            method: row.try_get("method")?,
            response_code: row.try_get("response_code")?,
        },
        outcome: row.try_get("outcome")?,
    })
}
