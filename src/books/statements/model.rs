//! What a statement says, and how it is written as a table.

use base::csv::{self, Cell};
use base::{JournalId, Millis, Piasters};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

/// An account at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Standing {
    /// Free to spend; negative where a driver owes.
    pub balance: Piasters,
    /// Set aside.
    pub held: Piasters,
    /// Owed, zero or more.
    pub due: Piasters,
}

/// One journal as the account's owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatementLine {
    pub id: JournalId,
    pub at: Millis,
    /// What it was for: `deposit`, `settle`, `tip`, `refund` and so on.
    pub kind: String,
    /// Paid (negative) or received, free and set-aside money together.
    pub amount: Piasters,
    /// Change of what is set aside.
    pub held: Piasters,
    /// Change of what is owed.
    pub due: Piasters,
    /// The account after it; absent when only what is held or owed changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance_after: Option<Piasters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trip_id: Option<Uuid>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// To a driver, of a trip that was settled: its price …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fare: Option<Piasters>,
    /// … the company's part of it, with the tax …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commission: Option<Piasters>,
    /// … and what he took in cash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cash: Option<Piasters>,
}

/// Lines of a kind together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct KindTotal {
    pub kind: String,
    pub count: u32,
    pub amount: Piasters,
}

/// What a driver did between two days.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriverTotals {
    /// Trips that were settled.
    pub trips: u32,
    /// Prices of them.
    pub fares: Piasters,
    /// The company's part of the prices, with the tax.
    pub commission: Piasters,
    /// The driver's part of the prices.
    pub earnings: Piasters,
    /// Of his part and the company's, what he took in cash.
    pub cash_collected: Piasters,
    pub tips: Piasters,
    /// Sent out, less what came back.
    pub withdrawals: Piasters,
}

/// What moved on an account between two days, both included.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StatementView {
    /// `2026-01-01`, in Cairo.
    pub from: String,
    pub to: String,
    pub currency: &'static str,
    /// Before the first day.
    pub opening: Standing,
    /// After the last day, or now.
    pub closing: Standing,
    /// Oldest first.
    pub lines: Vec<StatementLine>,
    pub totals: Vec<KindTotal>,
    /// Drivers only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<DriverTotals>,
}

impl StatementView {
    /// A table of the lines between a row `opening` and a row `closing`.
    pub fn csv(&self) -> String {
        let mut out =
            "at,kind,amount,held,due,balance_after,trip,reason,fare,commission,cash\r\n".to_owned();
        standing(&mut out, &self.from, "opening", &self.opening);
        for line in &self.lines {
            let (at, trip) = (line.at.to_string(), line.trip_id.map(|trip| trip.to_string()));
            let maybe = |amount: Option<Piasters>| match amount {
                Some(amount) => Cell::Number(amount.to_string()),
                None => Cell::Empty,
            };
            let cells = [
                Cell::Text(&at),
                Cell::Text(&line.kind),
                Cell::Number(line.amount.to_string()),
                Cell::Number(line.held.to_string()),
                Cell::Number(line.due.to_string()),
                maybe(line.balance_after),
                trip.as_deref().map_or(Cell::Empty, Cell::Text),
                line.reason.as_deref().map_or(Cell::Empty, Cell::Text),
                maybe(line.fare),
                maybe(line.commission),
                maybe(line.cash),
            ];
            csv::row(&mut out, &cells);
        }
        standing(&mut out, &self.to, "closing", &self.closing);
        out
    }
}

fn standing(out: &mut String, day: &str, name: &str, standing: &Standing) {
    let mut cells = vec![
        Cell::Text(day),
        Cell::Text(name),
        Cell::Empty,
        Cell::Number(standing.held.to_string()),
        Cell::Number(standing.due.to_string()),
        Cell::Number(standing.balance.to_string()),
    ];
    cells.extend((0..5).map(|_| Cell::Empty));
    csv::row(out, &cells);
}
