//! What the facts of payments and withdrawals say: payloads, version 1. Amounts are pounds, as on
//! the wire.

use base::{Millis, Piasters, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{DepositId, PayoutChannel, RefundId, WithdrawalId, WithdrawalStatus};

/// Facts of the aggregate `withdrawal`.
pub const WITHDRAWAL_FACTS: [&str; 6] = [
    withdrawal_fact(WithdrawalStatus::Requested),
    withdrawal_fact(WithdrawalStatus::Approved),
    withdrawal_fact(WithdrawalStatus::Rejected),
    withdrawal_fact(WithdrawalStatus::Sent),
    withdrawal_fact(WithdrawalStatus::Confirmed),
    withdrawal_fact(WithdrawalStatus::Failed),
];

/// Facts of the aggregate `card`.
pub const CARD_FACTS: [&str; 4] =
    ["CARD_AUTHORISED", "CARD_CAPTURED", "CARD_CHARGED", "CARD_RELEASED"];

/// The fact that a withdrawal got there.
pub(crate) const fn withdrawal_fact(status: WithdrawalStatus) -> &'static str {
    match status {
        WithdrawalStatus::Requested => "WITHDRAWAL_REQUESTED",
        WithdrawalStatus::Approved => "WITHDRAWAL_APPROVED",
        WithdrawalStatus::Sent => "WITHDRAWAL_SENT",
        WithdrawalStatus::Confirmed => "WITHDRAWAL_CONFIRMED",
        WithdrawalStatus::Failed => "WITHDRAWAL_FAILED",
        WithdrawalStatus::Rejected => "WITHDRAWAL_REJECTED",
    }
}

/// `PAYMENT_INITIATED`: somebody asked for a page to pay on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentInitiated<'a> {
    pub payment_id: DepositId,
    pub user_id: UserId,
    pub amount: Piasters,
    /// The gateway.
    pub method: &'a str,
    pub timestamp: Millis,
}

/// `PAYMENT_COMPLETED`: the gateway has the money, and the wallet too.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentCompleted<'a> {
    pub payment_id: DepositId,
    pub user_id: UserId,
    pub amount: Piasters,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transaction_id: Option<&'a str>,
    pub timestamp: Millis,
}

/// `PAYMENT_FAILED`; a later try on the same page may still complete it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentFailed<'a> {
    pub payment_id: DepositId,
    pub user_id: UserId,
    pub error: &'a str,
    pub timestamp: Millis,
}

/// `PAYMENT_REFUNDED` and `PAYMENT_REFUND_FAILED`: back to the card.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PaymentRefunded<'a> {
    pub payment_id: DepositId,
    pub user_id: UserId,
    pub refund_id: RefundId,
    pub amount: Piasters,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
    pub timestamp: Millis,
}

/// Every fact of a withdrawal.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WithdrawalMoved {
    pub withdrawal_id: WithdrawalId,
    pub user_id: UserId,
    pub amount: Piasters,
    pub status: WithdrawalStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<PayoutChannel>,
    pub timestamp: Millis,
}
