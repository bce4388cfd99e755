//! All transactions of a business day, as the gateway lists them: for comparing with our own.

use std::collections::HashSet;

use base::{BusinessDay, Fault, Millis, Piasters};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::{CallFailed, Kashier};
use super::{Currency, amount_of};

/// Rows of a page.
const PAGE: usize = 100;
/// Pages of one reading: a day with more is read wrong rather than for ever.
const PAGES: usize = 2_000;

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

impl Kashier {
    /// The transactions of `day`, newest first. The list has no filter by date that is documented:
    /// it is read from its newest end until the day is passed.
    pub async fn transactions(&self, day: BusinessDay) -> Result<Vec<Listed>, ListFailed> {
        let (from, to) = (day.start(), day.end());
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
