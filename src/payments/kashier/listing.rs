//! All transactions of a business day, as the gateway lists them: for comparing with our own.

use std::collections::HashSet;

use base::{Fault, Millis, Piasters};
use jiff::ToSpan;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::{CallFailed, Kashier};
use super::{Currency, amount_of};

/// Rows of a page.
const PAGE: usize = 100;
/// Pages of one reading: a day with more is read wrong rather than for ever.
const PAGES: usize = 2_000;
/// Business days are days of this zone.
const ZONE: &str = "Africa/Cairo";

/// A transaction in the gateway's list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub transaction: String,
    /// Our reference, where it has one.
    pub order: Option<String>,
    pub operation: Option<String>,
    pub status: String,
    pub amount: Option<Piasters>,
    pub currency: Option<Currency>,
    pub at: Millis,
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum ListFailed {
    #[error(transparent)]
    Call(#[from] CallFailed),
    #[error("the gateway's list can't be read: {0}")]
    Unreadable(&'static str),
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A business day from its first moment to the first moment after it: 23, 24 or 25 hours.
pub fn business_day(day: Date) -> Result<(Millis, Millis), Fault> {
    let broken = |error: jiff::Error| Fault::internal(format!("business day {day}: {error}"));
    let zone = TimeZone::get(ZONE).map_err(broken)?;
    let start = |day: Date| -> Result<Millis, jiff::Error> {
        Ok(Millis::from(day.to_zoned(zone.clone())?.timestamp()))
    };
    let next = day.checked_add(1.day()).map_err(broken)?;
    Ok((start(day).map_err(broken)?, start(next).map_err(broken)?))
}

impl Kashier {
    /// The transactions of `day`, newest first. The list has no filter by date that is documented:
    /// it is read from its newest end until the day is passed.
    pub async fn transactions(&self, day: Date) -> Result<Vec<Listed>, ListFailed> {
        let (from, to) = business_day(day)?;
        let (mut seen, mut listed) = (HashSet::new(), Vec::new());
        for page in 1..=PAGES {
            let (page, limit) = (page.to_string(), PAGE.to_string());
            let query = [
                ("page", page.as_str()),
                ("limit", limit.as_str()),
                ("sortBy", "creationDate"),
                ("sortType", "-1"),
            ];
            let body = self.ask("/v2/aggregator/transactions", &query).await?;
            let body = body.ok_or(ListFailed::Unreadable("there is none"))?;
            let rows = rows(&body).ok_or(ListFailed::Unreadable("a row is not as documented"))?;
            let (count, oldest) = (rows.len(), rows.last().map(|row| row.at));
            for row in rows {
                // What comes in while we read moves the rest down: a row may be met twice.
                if row.at >= from && row.at < to && seen.insert(row.transaction.clone()) {
                    listed.push(row);
                }
            }
            if count < PAGE || oldest.is_none_or(|at| at < from) {
                return Ok(listed);
            }
        }
        Err(ListFailed::Unreadable("it has no end"))
    }
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    body: Vec<Row<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    transaction_id: String,
    merchant_order_id: Option<String>,
    operation: Option<String>,
    status: String,
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
    currency: Option<String>,
    #[serde(alias = "createdAt", alias = "date")]
    creation_date: String,
}

fn rows(body: &[u8]) -> Option<Vec<Listed>> {
    let list: List<'_> = serde_json::from_slice(body).ok()?;
    list.body
        .into_iter()
        .map(|row| {
            Some(Listed {
                transaction: row.transaction_id,
                order: row.merchant_order_id,
                operation: row.operation,
                status: row.status,
                amount: row.amount.and_then(amount_of),
                currency: row.currency.as_deref().and_then(Currency::parse),
                at: Millis::parse(&row.creation_date)?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    #[test]
    fn a_business_day_has_as_many_hours_as_cairos_clocks_say() {
        let check = |day: Date, hours: i64, from: &str| {
            let (start, end) = business_day(day).expect("a day");
            assert_eq!(end.since(start), hours * 3_600_000, "{day}");
            assert_eq!(start.to_string(), from, "{day}");
        };
        check(date(2026, 1, 10), 24, "2026-01-09T22:00:00.000Z");
        // Summer time begins at midnight: the day's first hour does not exist.
        check(date(2026, 4, 24), 23, "2026-04-23T22:00:00.000Z");
        check(date(2026, 7, 1), 24, "2026-06-30T21:00:00.000Z");
        // It ends at midnight too: the last hour of the day before comes twice.
        check(date(2026, 10, 29), 25, "2026-10-28T21:00:00.000Z");
        check(date(2026, 10, 30), 24, "2026-10-29T22:00:00.000Z");
    }
}
