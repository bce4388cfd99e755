//! Closing the books: the company's accounts added up, business days sealed.
//!
//! System accounts have no balance row that postings would wait for each other at. What they hold
//! is a roll-up, moved on every few minutes, and the entries since. A business day is from midnight
//! to midnight of Egypt, 23 or 25 hours long when the clocks change; once it is over it is sealed:
//! count, sum, and a hash over its journals in order, chained to the day before.

mod store;

use base::{Fault, Millis, Piasters};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use storage::{Db, Tx, Who};
use tracing::info;

use crate::model::Account;

/// Where business days begin and end.
const ZONE: &str = "Africa/Cairo";

/// A day of business: `begins <= moment < ends`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BusinessDay {
    pub date: Date,
    pub begins: Millis,
    pub ends: Millis,
}

impl BusinessDay {
    pub fn of(date: Date) -> Result<Self, Fault> {
        let zone = TimeZone::get(ZONE).map_err(|e| Fault::internal(format!("{ZONE}: {e}")))?;
        let at_midnight = |date: Date| {
            let midnight = date.to_zoned(zone.clone()).and_then(|day| day.start_of_day());
            midnight.map(|day| Millis::from(day.timestamp()))
        };
        let ends = date.tomorrow().and_then(at_midnight);
        match (at_midnight(date), ends) {
            (Ok(begins), Ok(ends)) => Ok(Self { date, begins, ends }),
            (Err(e), _) | (_, Err(e)) => Err(Fault::internal(format!("day {date}: {e}"))),
        }
    }

    /// The day in which `moment` lies.
    pub fn at(moment: Millis) -> Result<Self, Fault> {
        let zone = TimeZone::get(ZONE).map_err(|e| Fault::internal(format!("{ZONE}: {e}")))?;
        let moment = moment.timestamp().ok_or_else(|| Fault::internal("no calendar has this"))?;
        Self::of(moment.to_zoned(zone).date())
    }
}

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
        if day.ends > now || !seal_day_in_tx(&mut tx, &day).await? {
            return Ok(sealed);
        }
        tx.commit().await?;
        info!(day = %day.date, "a business day of the ledger is sealed");
        sealed += 1;
    }
}

/// Seals the day after the last one sealed; `false` while something may still be posted to it.
pub async fn seal_day_in_tx(tx: &mut Tx, day: &BusinessDay) -> Result<bool, Fault> {
    store::seal_day_in_tx(tx, day).await
}
