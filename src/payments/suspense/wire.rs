//! Money in suspense as admins see it.

use base::{Millis, Piasters};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::store::Kept;
use crate::model::DepositId;

/// Money that came and that nobody had asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuspenseView {
    pub capture_id: Uuid,
    /// The gateway's names for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_order: Option<String>,
    /// What it was paid for, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deposit_id: Option<DepositId>,
    /// Why it is no deposit's: `unknown_order`, `other_amount`, `paid_twice` …
    pub why: String,
    pub amount: Piasters,
    pub kept_at: Millis,
}

impl From<Kept> for SuspenseView {
    fn from(kept: Kept) -> Self {
        let Kept { id, transaction, gateway_order, deposit, why, amount, kept_at, .. } = kept;
        let (capture_id, deposit_id) = (id, deposit);
        Self { capture_id, transaction, gateway_order, deposit_id, why, amount, kept_at }
    }
}

/// A page of what waits, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SuspensePage {
    pub captures: Vec<SuspenseView>,
    pub next_cursor: Option<String>,
}
