//! A refund to a card.

use std::fmt;

use base::{Millis, Piasters, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::model::DepositId;

base::words! {
    /// Where a refund to a card stands.
    RefundStatus {
        /// It is off the wallet, and the gateway has not been asked.
        Pending = "pending",
        /// The gateway was asked; what became of it may not be known.
        Sent = "sent",
        Done = "done",
        /// It did not happen, and the amount is back on the wallet.
        Failed = "failed",
    }
}

/// A refund; the number of the act that ordered it.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
#[schema(value_type = Uuid)]
pub struct RefundId(pub Uuid);

impl fmt::Display for RefundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CardRefund {
    pub id: RefundId,
    pub deposit: DepositId,
    pub user: UserId,
    pub amount: Piasters,
    pub status: RefundStatus,
    /// The gateway's name for it.
    pub transaction: Option<String>,
    pub failure: Option<String>,
    pub asked_at: Millis,
    pub sent_at: Option<Millis>,
    pub ended_at: Option<Millis>,
}
