//! Withdrawals as they are seen from outside: accounts are masked.

use base::{DriverId, Millis, Piasters, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::account::PayoutMethod;
use super::model::{PayoutChannel, Withdrawal, WithdrawalId, WithdrawalStatus};

/// A withdrawal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WithdrawalView {
    pub id: WithdrawalId,
    pub driver_id: DriverId,
    pub amount: Piasters,
    pub method: PayoutMethod,
    /// Its end only.
    pub account: String,
    /// All of it: for the admin who pays it out by hand, and who asked for this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account_number: Option<String>,
    pub status: WithdrawalStatus,
    /// Why it was rejected, or came back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What the bank calls the transfer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank_reference: Option<String>,
    /// Who pays it out; for admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<PayoutChannel>,
    /// The provider's name for it; for admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// For admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<UserId>,
    pub requested_at: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Millis>,
}

impl WithdrawalView {
    /// For its driver.
    pub fn of(withdrawal: &Withdrawal) -> Self {
        Self {
            id: withdrawal.id,
            driver_id: withdrawal.driver,
            amount: withdrawal.amount,
            method: withdrawal.account.method(),
            account: withdrawal.account.masked(),
            account_number: None,
            status: withdrawal.status,
            reason: withdrawal.reason.clone(),
            bank_reference: withdrawal.bank_reference.clone(),
            channel: None,
            provider_id: None,
            decided_by: None,
            requested_at: withdrawal.requested_at,
            decided_at: withdrawal.decided_at,
            sent_at: withdrawal.sent_at,
            ended_at: withdrawal.ended_at,
        }
    }

    /// For operators.
    pub fn for_staff(withdrawal: &Withdrawal) -> Self {
        Self {
            channel: withdrawal.channel,
            provider_id: withdrawal.provider_id.clone(),
            decided_by: withdrawal.decided_by,
            ..Self::of(withdrawal)
        }
    }

    /// For the one operator who pays it out.
    #[must_use]
    pub fn with_number(self, withdrawal: &Withdrawal) -> Self {
        Self { account_number: Some(withdrawal.account.number().to_owned()), ..self }
    }
}

/// A page of withdrawals, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WithdrawalsPage {
    pub requests: Vec<WithdrawalView>,
    pub next_cursor: Option<String>,
}
