//! All SQL of statements.

use base::{BasisPoints, Fault, JournalId, Millis, PaymentMethod, Piasters, UserId};
use sqlx::Row;
use sqlx::postgres::PgRow;
use storage::{Tx, at, fault, millis};

use super::rules::{Accounts, Fare, Moved, Sums};

/// One picture for all statements of the transaction.
const STILL: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY";

// The newest entry of each account before $2.
const STANDING: &str = "\
SELECT a.account, e.balance_after
FROM unnest($3::smallint[]) AS a (account)
CROSS JOIN LATERAL (
  SELECT e.balance_after FROM ledger_entry e
  WHERE e.account = a.account AND e.owner = $1 AND e.account_seq IS NOT NULL AND e.created_at < $2
  ORDER BY e.account_seq DESC LIMIT 1) e";

// Journals of one moment come in the order of their entries.
const MOVES: &str = "\
WITH moved AS (
  SELECT e.journal_id, e.created_at,
         coalesce(sum(e.amount) FILTER (WHERE e.account = $4), 0)::bigint AS free,
         coalesce(sum(e.amount) FILTER (WHERE e.account = $5), 0)::bigint AS held,
         coalesce(sum(e.amount) FILTER (WHERE e.account = $6), 0)::bigint AS due,
         max(e.balance_after) FILTER (WHERE e.account = $4) AS balance_after,
         max(e.account_seq) FILTER (WHERE e.account = $4) AS place,
         max(e.account_seq) AS any_place
  FROM ledger_entry e
  WHERE e.owner = $1 AND e.account_seq IS NOT NULL AND e.created_at >= $2 AND e.created_at < $3
  GROUP BY e.journal_id, e.created_at
  ORDER BY e.created_at LIMIT $7)
SELECT m.*, j.kind, j.note, x.trip, t.final_price, t.commission_bp, t.payment_method
FROM moved m
JOIN ledger_journal j ON j.id = m.journal_id
CROSS JOIN LATERAL (SELECT coalesce(j.parent, CASE WHEN j.kind IN
  ('hold', 'release', 'settle', 'cancel_fee', 'cash_difference', 'tip') THEN j.reference END)
  AS trip) x
LEFT JOIN trips t ON t.id = x.trip AND t.status = 'completed'
ORDER BY m.created_at, m.place NULLS FIRST, m.any_place, m.journal_id";

pub(crate) async fn still_in_tx(tx: &mut Tx) -> Result<(), Fault> {
    sqlx::raw_sql(STILL).execute(tx.conn()).await.map_err(fault)?;
    Ok(())
}

/// A person's accounts as they stood just before `moment`.
pub(crate) async fn standing_in_tx(
    tx: &mut Tx,
    user: UserId,
    accounts: Accounts,
    moment: Millis,
) -> Result<Sums, Fault> {
    let asked: Vec<i16> =
        [Some(accounts.free), Some(accounts.held), accounts.due].into_iter().flatten().collect();
    let rows: Vec<(i16, i64)> = sqlx::query_as(STANDING)
        .bind(user.0)
        .bind(at(moment))
        .bind(asked)
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    let of = |account: Option<i16>| {
        let row = rows.iter().find(|(kind, _)| Some(*kind) == account);
        row.map_or(Piasters::ZERO, |(_, balance)| Piasters(*balance))
    };
    Ok(Sums {
        balance: of(Some(accounts.free)),
        held: of(Some(accounts.held)),
        due: of(accounts.due),
    })
}

/// What moved on a person's accounts from the first moment to before the second, oldest first.
pub(crate) async fn moves_in_tx(
    tx: &mut Tx,
    user: UserId,
    accounts: Accounts,
    (from, to): (Millis, Millis),
    limit: usize,
) -> Result<Vec<Moved>, Fault> {
    let rows = sqlx::query(MOVES)
        .bind(user.0)
        .bind(at(from))
        .bind(at(to))
        .bind(accounts.free)
        .bind(accounts.held)
        .bind(accounts.due)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    rows.iter().map(|row| moved(row).map_err(fault)).collect()
}

fn moved(row: &PgRow) -> Result<Moved, sqlx::Error> {
    let price: Option<i64> = row.try_get("final_price")?;
    let rate: Option<i32> = row.try_get("commission_bp")?;
    let method: Option<&str> = row.try_get("payment_method")?;
    let fare = match (price, rate, method.and_then(PaymentMethod::parse)) {
        (Some(price), Some(rate), Some(method)) => {
            Some(Fare { price: Piasters(price), rate: BasisPoints(i64::from(rate)), method })
        }
        _ => None,
    };
    Ok(Moved {
        journal: JournalId(row.try_get("journal_id")?),
        at: millis(row.try_get("created_at")?),
        kind: row.try_get("kind")?,
        free: Piasters(row.try_get("free")?),
        held: Piasters(row.try_get("held")?),
        due: Piasters(row.try_get("due")?),
        balance_after: row.try_get::<Option<i64>, _>("balance_after")?.map(Piasters),
        trip: row.try_get("trip")?,
        reason: row.try_get("note")?,
        fare,
    })
}
