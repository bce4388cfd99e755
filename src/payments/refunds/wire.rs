//! Refunds to cards as they are seen from outside.

use base::{Millis, Piasters, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::model::{CardRefund, RefundId, RefundStatus};
use crate::model::DepositId;

/// A deposit, or a part of it, that goes back to its card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefundView {
    pub id: RefundId,
    pub deposit_id: DepositId,
    pub user_id: UserId,
    pub amount: Piasters,
    pub status: RefundStatus,
    /// The gateway's name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction: Option<String>,
    /// Why it did not happen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    pub asked_at: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Millis>,
}

impl From<&CardRefund> for RefundView {
    fn from(refund: &CardRefund) -> Self {
        Self {
            id: refund.id,
            deposit_id: refund.deposit,
            user_id: refund.user,
            amount: refund.amount,
            status: refund.status,
            transaction: refund.transaction.clone(),
            failure: refund.failure.clone(),
            asked_at: refund.asked_at,
            sent_at: refund.sent_at,
            ended_at: refund.ended_at,
        }
    }
}

/// A page of refunds to cards, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RefundsPage {
    pub refunds: Vec<RefundView>,
    pub next_cursor: Option<String>,
}
