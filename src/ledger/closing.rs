//! Closing the books: the company's accounts added up, business days sealed.
//!
//! System accounts have no balance row that postings would wait for each other at. What they hold
//! is a roll-up, moved on every few minutes, and the entries since. A business day is from midnight
//! to midnight of Egypt, 23 or 25 hours long when the clocks change; once it is over it is sealed:
//! count, sum, and a hash over its journals in order, chained to the day before.

pub(crate) mod store;

use base::{BusinessDay, Fault, Millis, Piasters};
use storage::{Db, Tx, Who};
use tracing::info;

use crate::model::Account;

/// Balances of the company's accounts; accounts without entries are left out.
pub async fn system_balances(tx: &mut Tx) -> Result<Vec<(Account, Piasters)>, Fault> {
    store::system_balances(tx).await
}

/// Moves the roll-up on; how many entries it took in. Many may call it: one works, the others wait.
pub async fn roll_up(db: &Db) -> Result<i64, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let entries = store::roll_up_in_tx(&mut tx).await?;
    tx.commit().await?;
    Ok(entries)
}

/// Seals the business days that are over by `now`, oldest first; how many. A day waits for a
/// roll-up after its end and for the transactions that were under way then: call it again later.
pub async fn seal_days(db: &Db, now: Millis) -> Result<u32, Fault> {
    let mut sealed = 0;
    loop {
        let mut tx = db.begin(&Who::System).await?;
        let Some(day) = store::day_to_seal(&mut tx).await? else { return Ok(sealed) };
        if day.end() > now || !seal_day_in_tx(&mut tx, day).await? {
            return Ok(sealed);
        }
        tx.commit().await?;
        info!(%day, "a business day of the ledger is sealed");
        sealed += 1;
    }
}

/// Seals the day after the last one sealed; `false` while something may still be posted to it.
pub async fn seal_day_in_tx(tx: &mut Tx, day: BusinessDay) -> Result<bool, Fault> {
    store::seal_in_tx(tx, day, day.start(), day.end()).await
}
