//! Deposits as they are seen from outside.

use base::{Millis, Piasters};
use serde::Serialize;
use utoipa::ToSchema;

use crate::kashier::Currency;
use crate::model::{Deposit, DepositStatus};

/// Where a deposit is paid.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DepositOpened {
    /// Names the deposit, here and at the gateway.
    pub order_id: String,
    /// The gateway's page, for a browser or a web view.
    pub payment_url: String,
}

impl DepositOpened {
    pub(crate) fn of(deposit: &Deposit) -> Self {
        Self {
            order_id: deposit.reference().to_string(),
            payment_url: deposit.page_url.clone().unwrap_or_default(),
        }
    }
}

/// How a deposit stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DepositView {
    pub order_id: String,
    pub amount: Piasters,
    pub currency: Currency,
    pub status: DepositStatus,
    /// Why it is not paid, in the gateway's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
    /// While it may still be paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payment_url: Option<String>,
    pub created_at: Millis,
    /// When its page closes.
    pub expires_at: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid_at: Option<Millis>,
}

impl DepositView {
    pub(crate) fn of(deposit: &Deposit) -> Self {
        let is_open = matches!(deposit.status, DepositStatus::Pending | DepositStatus::Failed);
        Self {
            order_id: deposit.reference().to_string(),
            amount: deposit.amount,
            currency: deposit.currency,
            status: deposit.status,
            failure: deposit.failure.clone(),
            payment_url: deposit.page_url.clone().filter(|_| is_open),
            created_at: deposit.created_at,
            expires_at: deposit.expires_at,
            paid_at: deposit.paid_at,
        }
    }
}
