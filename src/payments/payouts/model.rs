//! A withdrawal, and the bounds it keeps.

use std::fmt;

use base::{DriverId, Millis, Piasters, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::account::PayoutAccount;

base::words! {
    /// Where a withdrawal stands.
    WithdrawalStatus {
        /// Its amount is set aside, and an operator has to look.
        Requested = "requested",
        /// It may be paid out.
        Approved = "approved",
        /// It is on its way.
        Sent = "sent",
        /// It arrived.
        Confirmed = "confirmed",
        /// It came back, and the amount is the driver's again.
        Failed = "failed",
        /// It was never sent, and the amount is the driver's again.
        Rejected = "rejected",
    }
}

impl WithdrawalStatus {
    /// Nothing comes after this.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Confirmed | Self::Failed | Self::Rejected)
    }
}

base::words! {
    /// Who pays a withdrawal out.
    PayoutChannel {
        Provider = "provider",
        /// An operator at the bank, who says when it is done.
        Hand = "hand",
    }
}

/// A withdrawal. Its id is the reference of every journal about it, and names it at the provider.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
#[schema(value_type = Uuid)]
pub struct WithdrawalId(pub Uuid);

impl WithdrawalId {
    /// What it is called at the provider, who takes each name once.
    pub fn reference(self) -> String {
        format!("wd-{}", self.0.simple())
    }

    /// Reads what [`Self::reference`] wrote; `None` for anything else.
    pub fn of_reference(text: &str) -> Option<Self> {
        let id = Self(Uuid::try_parse(text.strip_prefix("wd-")?).ok()?);
        // One spelling each.
        (id.reference() == text).then_some(id)
    }
}

impl fmt::Display for WithdrawalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Withdrawal {
    pub id: WithdrawalId,
    pub driver: DriverId,
    pub amount: Piasters,
    pub account: PayoutAccount,
    pub status: WithdrawalStatus,
    pub channel: Option<PayoutChannel>,
    pub provider_id: Option<String>,
    pub bank_reference: Option<String>,
    /// Why it was rejected or came back.
    pub reason: Option<String>,
    pub requested_at: Millis,
    pub decided_by: Option<UserId>,
    pub decided_at: Option<Millis>,
    pub sent_at: Option<Millis>,
    pub ended_at: Option<Millis>,
}

/// What a driver may take out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WithdrawLimits {
    pub least: Piasters,
    pub most: Piasters,
    /// Within 24 hours; rejected ones don't count.
    pub per_day: u32,
}

impl Default for WithdrawLimits {
    fn default() -> Self {
        Self { least: Piasters::pounds(50), most: Piasters::pounds(10_000), per_day: 3 }
    }
}

/// Which withdrawals an operator looks for; what is absent doesn't narrow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WithdrawalFilter {
    pub status: Option<WithdrawalStatus>,
    pub driver: Option<DriverId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_has_one_spelling() {
        let id = WithdrawalId(Uuid::from_u128(0x0190_b8a0_0000_7000_8000_0000_0000_dead));
        assert_eq!(id.reference(), "wd-0190b8a000007000800000000000dead");
        assert_eq!(WithdrawalId::of_reference(&id.reference()), Some(id));
        for wrong in ["wd-0190b8a0-0000-7000-8000-00000000dead", "dep-0190b8a0", "wd-", ""] {
            assert_eq!(WithdrawalId::of_reference(wrong), None, "{wrong}");
        }
        let shouted = id.reference().to_uppercase().replace("WD", "wd");
        assert_eq!(WithdrawalId::of_reference(&shouted), None);
    }
}
