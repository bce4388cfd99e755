//! Reads the journals of a trip.

use base::{Fault, JournalId, Piasters, TripId};
use storage::{Tx, fault, millis};
use uuid::Uuid;

use super::TripLine;
use crate::model::{Account, Kind};

// Each half by its own index: an OR over both would read neither.
const LINES: &str = "\
WITH journals AS (
  SELECT id, kind, note, created_at FROM ledger_journal
  WHERE kind IN ('settle', 'cancel_fee', 'cash_difference', 'tip') AND reference = $1
  UNION ALL
  SELECT id, kind, note, created_at FROM ledger_journal WHERE parent = $1 AND kind <> 'hold')
SELECT j.id, j.kind, j.note, j.created_at, e.account, e.owner, e.amount
FROM journals j JOIN ledger_entry e ON e.journal_id = j.id
ORDER BY j.created_at, j.id, e.account";

type LineRow = (Uuid, String, Option<String>, jiff_sqlx::Timestamp, i16, Uuid, i64);

pub(super) async fn trip_lines(tx: &mut Tx, trip: TripId) -> Result<Vec<TripLine>, Fault> {
    let rows: Vec<LineRow> =
        sqlx::query_as(LINES).bind(trip.0).fetch_all(tx.conn()).await.map_err(fault)?;
    rows.into_iter()
        .map(|(id, kind, note, at, account, owner, amount)| {
            let unknown = || Fault::internal(format!("journal {id} is of an unknown kind"));
            Ok(TripLine {
                journal: JournalId(id),
                kind: Kind::of_name(&kind).ok_or_else(unknown)?,
                account: Account::of_row(account, owner).ok_or_else(unknown)?,
                amount: Piasters(amount),
                note,
                at: millis(at),
            })
        })
        .collect()
}
