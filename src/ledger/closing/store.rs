//! SQL of roll-up and seals; the work is done by the functions of migration 0012.

use base::{BusinessDay, Fault, Millis, Piasters};
use storage::Tx;
use uuid::Uuid;

use crate::model::Account;
use crate::store::account_of;

// A database that was restored elsewhere counts its transactions from another number: what was
// rolled up there is passed by until the next roll-up.
const SYSTEM_BALANCES: &str = "\
WITH mark AS (
  SELECT up_to, up_to <= pg_snapshot_xmax(pg_current_snapshot())::text::bigint AS ours
  FROM ledger_watermark)
SELECT b.account, sum(b.amount)::bigint
FROM (SELECT r.account, r.balance AS amount FROM ledger_rollup r, mark WHERE mark.ours
      UNION ALL
      SELECT e.account, e.amount FROM ledger_entry e
      WHERE e.account_seq IS NULL
        AND e.xid >= (SELECT CASE WHEN mark.ours THEN mark.up_to ELSE 0 END FROM mark)) b
GROUP BY b.account ORDER BY b.account";

const NEXT_DAY: &str = "SELECT (max(day) + 1)::text FROM ledger_seal";

const FIRST_JOURNAL: &str = "SELECT min(created_at) FROM ledger_journal";

pub(super) async fn system_balances(tx: &mut Tx) -> Result<Vec<(Account, Piasters)>, Fault> {
    let rows: Vec<(i16, i64)> =
        sqlx::query_as(SYSTEM_BALANCES).fetch_all(tx.conn()).await.map_err(storage::fault)?;
    rows.into_iter()
        .map(|(kind, total)| Ok((account_of(kind, Uuid::nil())?, Piasters(total))))
        .collect()
}

pub(super) async fn roll_up_in_tx(tx: &mut Tx) -> Result<i64, Fault> {
    sqlx::query_scalar("SELECT ledger_roll_up()").fetch_one(tx.conn()).await.map_err(storage::fault)
}

/// The day after the last one sealed, or that of the first journal; `None` in an empty ledger.
pub(super) async fn day_to_seal(tx: &mut Tx) -> Result<Option<BusinessDay>, Fault> {
    let next: Option<String> =
        sqlx::query_scalar(NEXT_DAY).fetch_one(tx.conn()).await.map_err(storage::fault)?;
    if let Some(next) = next {
        let day = BusinessDay::parse(&next);
        return day.map(Some).ok_or_else(|| Fault::internal(format!("day {next} to seal")));
    }
    let first: Option<jiff_sqlx::Timestamp> =
        sqlx::query_scalar(FIRST_JOURNAL).fetch_one(tx.conn()).await.map_err(storage::fault)?;
    Ok(first.map(|first| BusinessDay::of(storage::millis(first))))
}

pub(crate) async fn seal_in_tx(
    tx: &mut Tx,
    day: BusinessDay,
    begins: Millis,
    ends: Millis,
) -> Result<bool, Fault> {
    sqlx::query_scalar("SELECT ledger_seal_day($1::date, $2, $3)")
        .bind(day.to_string())
        .bind(storage::at(begins))
        .bind(storage::at(ends))
        .fetch_one(tx.conn())
        .await
        .map_err(storage::fault)
}
