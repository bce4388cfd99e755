//! What Kashier answers, read: pure.

use base::Piasters;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::client::Page;
use super::{Currency, amount_of};

/// Where a payment stands at the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It may still be paid.
    Open,
    Paid,
    /// The money is reserved, not taken.
    Authorized,
    /// It was paid, and some or all of it went back.
    Returned,
    /// It was paid, and whether any of it goes back is not decided.
    Returning,
    /// It was not paid and won't be.
    Over,
    /// A word that is not documented.
    Unknown,
}

/// A payment as the gateway has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub standing: Standing,
    /// The gateway's name for the order.
    pub order: Option<String>,
    /// The payment that succeeded.
    pub transaction: Option<String>,
    /// What was captured; of one that is not paid, what was asked for.
    pub amount: Option<Piasters>,
    /// What of it went back.
    pub returned: Option<Piasters>,
    pub currency: Option<Currency>,
    pub method: Option<String>,
}

impl Found {
    /// What the session said, with what only the order knows.
    pub(super) fn with_order(self, order: Self) -> Self {
        use Standing::{Authorized, Open, Over, Paid, Returned, Returning, Unknown};
        let standing = match (self.standing, order.standing) {
            // They disagree after a refund: the order is the newer word.
            (_, newer @ (Returned | Returning)) => newer,
            // An order that is not paid captured nothing yet.
            (Paid, behind @ (Open | Authorized | Over)) => behind,
            (known, Open | Paid | Authorized | Over | Unknown) => known,
        };
        Self {
            standing,
            order: order.order.or(self.order),
            transaction: order.transaction.or(self.transaction),
            // The session's is what was asked for.
            amount: order.amount,
            returned: order.returned,
            currency: self.currency.or(order.currency),
            method: self.method.or(order.method),
        }
    }
}

/// What a card was asked to reserve, as the gateway has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    pub standing: HoldStanding,
    /// The gateway's name for the order.
    pub order: Option<String>,
    /// As the page was asked for; only the session says so.
    pub amount: Option<Piasters>,
    pub currency: Option<Currency>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HoldStanding {
    /// The page may still be used.
    Open,
    /// It is reserved, and nothing of it was taken.
    Held { transaction: Option<String> },
    /// It was taken, in whole or in part.
    Taken { transaction: Option<String>, amount: Option<Piasters> },
    /// It was let go.
    Freed,
    /// Nothing was reserved and won't be.
    Over,
    /// A word that is not documented.
    Unknown,
}

impl Hold {
    /// What the order said, with what only the session knows.
    pub(super) fn with_session(self, session: Self) -> Self {
        use HoldStanding::{Open, Over, Unknown};
        // The order's transactions are what happened; without any it is the page that counts.
        let standing = match self.standing {
            Open | Over | Unknown => session.standing,
            happened @ (HoldStanding::Held { .. }
            | HoldStanding::Taken { .. }
            | HoldStanding::Freed) => happened,
        };
        Self {
            standing,
            order: self.order.or(session.order),
            amount: session.amount.or(self.amount),
            currency: session.currency.or(self.currency),
        }
    }
}

fn standing_of(status: &str) -> Standing {
    match status {
        "CREATED" | "OPENED" | "PENDING" => Standing::Open,
        "PAID" | "CAPTURED" => Standing::Paid,
        "AUTHORIZED" => Standing::Authorized,
        "REFUNDED" | "PARTIALLY_REFUNDED" => Standing::Returned,
        "REFUND_PENDING" => Standing::Returning,
        "FAILED" | "EXPIRED" | "ABANDONED" | "REJECTED" | "VOIDED" | "REVERSED" => Standing::Over,
        _ => Standing::Unknown,
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Made {
    #[serde(rename = "_id")]
    id: String,
    session_url: String,
}

/// The page of a new session.
pub(super) fn session(body: &[u8]) -> Option<Page> {
    let made: Made = serde_json::from_slice(body).ok()?;
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
    let is_web =
        made.session_url.starts_with("https://") || made.session_url.starts_with("http://");
    // It becomes part of paths later.
    let is_name = made.id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    (plain(&made.id) && is_name && is_web && plain(&made.session_url))
        .then_some(Page { session: Some(made.id), url: made.session_url })
}

#[derive(Deserialize)]
struct Data<T> {
    data: T,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Payment<'a> {
    merchant_order_id: String,
    order_id: Option<String>,
    status: String,
    #[serde(borrow)]
    amount: Option<&'a RawValue>,
    currency: Option<String>,
    method: Option<String>,
    #[serde(default)]
    transactions: Vec<Tried>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tried {
    operation: Option<String>,
    status: Option<String>,
    transaction_id: Option<String>,
}

impl Payment<'_> {
    fn found(self) -> Found {
        let standing = standing_of(&self.status);
        let transaction = self.transactions.into_iter().find(Tried::is_paid);
        Found {
            standing,
            order: self.order_id,
            transaction: transaction.and_then(|tried| tried.transaction_id),
            amount: self.amount.and_then(amount_of),
            returned: None,
            currency: self.currency.as_deref().and_then(Currency::parse),
            method: self.method,
        }
    }
}

impl Payment<'_> {
    fn hold(self) -> Hold {
        let done = |words: &[&str]| self.transactions.iter().find(|tried| tried.succeeded(words));
        let name = |tried: Option<&Tried>| tried.and_then(|tried| tried.transaction_id.clone());
        let (taken, freed) = (done(&["pay", "capture"]), done(&["void", "reversal"]));
        let held = done(&["authorize"]);
        let standing = match standing_of(&self.status) {
            _ if taken.is_some() => HoldStanding::Taken { transaction: name(taken), amount: None },
            Standing::Paid | Standing::Returned | Standing::Returning => {
                HoldStanding::Taken { transaction: None, amount: None }
            }
            _ if freed.is_some() || matches!(self.status.as_str(), "VOIDED" | "REVERSED") => {
                HoldStanding::Freed
            }
            Standing::Authorized => HoldStanding::Held { transaction: name(held) },
            _ if held.is_some() => HoldStanding::Held { transaction: name(held) },
            Standing::Open => HoldStanding::Open,
            Standing::Over => HoldStanding::Over,
            Standing::Unknown => HoldStanding::Unknown,
        };
        Hold {
            standing,
            order: self.order_id,
            amount: self.amount.and_then(amount_of),
            currency: self.currency.as_deref().and_then(Currency::parse),
        }
    }
}

impl Tried {
    fn is_paid(&self) -> bool {
        self.succeeded(&["pay", "capture"])
    }

    fn succeeded(&self, operations: &[&str]) -> bool {
        let is = |text: &Option<String>, word: &str| {
            text.as_deref().is_some_and(|text| text.eq_ignore_ascii_case(word))
        };
        operations.iter().any(|word| is(&self.operation, word)) && is(&self.status, "SUCCESS")
    }
}

/// As [`of_session`], of what is reserved.
pub(super) fn hold_of_session(body: &[u8], reference: &str) -> Option<Hold> {
    let Data { data }: Data<Payment<'_>> = serde_json::from_slice(body).ok()?;
    (data.merchant_order_id == reference).then(|| data.hold())
}

/// As [`of_orders`], of what is reserved.
pub(super) fn hold_of_orders(body: &[u8], reference: &str) -> Option<Option<Hold>> {
    let Data { data }: Data<Vec<Payment<'_>>> = serde_json::from_slice(body).ok()?;
    Some(data.into_iter().find(|one| one.merchant_order_id == reference).map(Payment::hold))
}

/// A session's payment, if it is the one of `reference`.
pub(super) fn of_session(body: &[u8], reference: &str) -> Option<Found> {
    let Data { data }: Data<Payment<'_>> = serde_json::from_slice(body).ok()?;
    (data.merchant_order_id == reference).then(|| data.found())
}

/// The order of exactly this reference among those that a search found.
pub(super) fn of_orders(body: &[u8], reference: &str) -> Option<Option<Found>> {
    let Data { data }: Data<Vec<Payment<'_>>> = serde_json::from_slice(body).ok()?;
    Some(data.into_iter().find(|one| one.merchant_order_id == reference).map(Payment::found))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Totals<'a> {
    #[serde(borrow)]
    total_captured_amount: &'a RawValue,
    #[serde(borrow)]
    total_refunded_amount: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Response<T> {
    response: T,
}

/// How much of an order was captured, and how much went back where that is told.
pub(super) fn totals(body: &[u8]) -> Option<(Piasters, Option<Piasters>)> {
    let Response { response }: Response<Totals<'_>> = serde_json::from_slice(body).ok()?;
    let captured = amount_of(response.total_captured_amount)?;
    Some((captured, response.total_refunded_amount.and_then(amount_of)))
}

/// What became of a refund or a void.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reversal {
    Done {
        transaction: Option<String>,
    },
    /// The gateway will tell by a notice.
    Pending {
        transaction: Option<String>,
    },
    Failed,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reversed {
    status: String,
    transaction_id: Option<String>,
}

/// `None` for an answer that doesn't say: the status outside of `response` only means "received".
pub(super) fn reversal(body: &[u8]) -> Option<Reversal> {
    let Response { response }: Response<Reversed> = serde_json::from_slice(body).ok()?;
    let transaction = response.transaction_id;
    match response.status.as_str() {
        "SUCCESS" => Some(Reversal::Done { transaction }),
        "PENDING" => Some(Reversal::Pending { transaction }),
        "FAILURE" => Some(Reversal::Failed),
        _ => None,
    }
}
