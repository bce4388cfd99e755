//! Outward shapes of wallets and their transactions.

use base::{JournalId, Millis, Piasters, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::model::{Account, Journal, Posted};

/// The currency of every account.
pub(crate) const CURRENCY: &str = "EGP";

/// What a user has. A driver's balance may be negative: then `due` is what he owes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WalletView {
    /// Free to spend, without `held`.
    pub balance: Piasters,
    /// Set aside for the trip or withdrawal under way.
    pub held: Piasters,
    /// Owed, zero or more.
    pub due: Piasters,
    pub currency: &'static str,
}

/// Payload of `WALLET_CREDITED` and `WALLET_DEBITED`, version 1; the database writes it with the
/// entry that it speaks of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WalletFact {
    pub user_id: UserId,
    /// `rider_wallet` or `driver`.
    pub account: String,
    /// Of the entry within its account, and of the fact.
    pub seq: i64,
    /// Piasters, more than zero.
    pub amount: i64,
    /// Piasters, after the entry.
    pub balance: i64,
    /// Kind of the journal.
    pub reason: String,
    pub journal_id: JournalId,
    /// The trip, deposit, withdrawal … that the journal is about.
    pub reference: Uuid,
    pub at: Millis,
}

/// One journal as its owner sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransactionView {
    pub id: JournalId,
    /// What it was for: `deposit`, `settle`, `tip`, `refund` and so on.
    pub kind: String,
    /// What was paid (negative) or received, wallet and hold together; zero when money was only
    /// set aside or given back.
    pub amount: Piasters,
    /// Change of what is set aside.
    pub held: Piasters,
    /// Change of what is owed: positive when the debt grew.
    pub due: Piasters,
    /// The wallet after it; absent when the wallet itself was not touched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance_after: Option<Piasters>,
    /// The trip it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trip_id: Option<Uuid>,
    /// Why, for a correction by an admin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    pub created_at: Millis,
}

/// A page of transactions, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TransactionsPage {
    pub transactions: Vec<TransactionView>,
    pub next_cursor: Option<String>,
}

/// A correction by an admin, as it stands in the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AdjustmentView {
    pub id: JournalId,
    pub kind: &'static str,
    pub user_id: Uuid,
    pub amount: Piasters,
    /// The corrected account after it.
    pub balance_after: Piasters,
    pub reason: Option<String>,
}

impl Posted {
    /// The posted correction `journal` as the admin sees it.
    pub fn view(&self, journal: &Journal) -> AdjustmentView {
        AdjustmentView {
            id: self.journal,
            kind: journal.kind.name(),
            user_id: journal.reference,
            amount: -journal.amount_on(Account::Adjustments),
            balance_after: self.balances.first().map_or(Piasters::ZERO, |(_, balance)| *balance),
            reason: journal.note.clone(),
        }
    }
}
