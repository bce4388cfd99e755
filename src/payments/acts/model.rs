//! An act of an admin's, and the limit of what one may do alone.

use std::fmt;

use base::{JournalId, Millis, Piasters, PromoCodeId, TripId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::disputes::DisputeId;
use crate::model::DepositId;
use crate::refunds::RefundId;

base::words! {
    /// What an admin does with somebody's money.
    ActKind {
        /// Adds to an account, or takes from it.
        Adjustment = "adjustment",
        /// Gives up what somebody owes.
        WriteOff = "write_off",
        /// Gives a rider back what he paid for a trip, into his wallet.
        Refund = "refund",
        /// Gives a deposit back to the card that paid it.
        DepositRefund = "deposit_refund",
        /// Gives a rider an amount for his trips.
        PromoGrant = "promo_grant",
        /// Opens a campaign: the amount is its budget.
        PromoCode = "promo_code",
        /// Says that a refund to a card did not happen: the amount is on the wallet again.
        RefundFailed = "refund_failed",
        /// Gives money that nobody had asked for to somebody, or back through the gateway.
        Suspense = "suspense",
        /// Books what the gateway paid out to the bank.
        GatewaySettled = "gateway_settled",
    }
}

base::words! {
    /// How far an act has come.
    ActStatus {
        /// Done by one admin alone.
        Done = "done",
        /// It waits for a second admin.
        Pending = "pending",
        /// Done, with the consent of a second admin.
        Approved = "approved",
        /// It will not be done.
        Declined = "declined",
    }
}

base::words! {
    /// Whose fault it was, and so who bears a refund.
    AtFault {
        /// Driver and company give back what they earned, in proportion.
        Driver = "driver",
        /// Goodwill.
        Company = "company",
    }
}

/// An act. Made of the request's idempotency key where there is one, and the ledger's reference of
/// a refund.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
#[schema(value_type = Uuid)]
pub struct ActId(pub Uuid);

impl fmt::Display for ActId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an admin asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewAct {
    pub kind: ActKind,
    /// Whose money it is; none: the company's.
    pub user: Option<UserId>,
    pub trip: Option<TripId>,
    pub deposit: Option<DepositId>,
    /// The complaint that it answers.
    pub dispute: Option<DisputeId>,
    /// Of a trip's refund.
    pub fault: Option<AtFault>,
    /// More than zero, but for a correction that takes.
    pub amount: Piasters,
    pub reason: String,
    /// Of the kinds that have more to say.
    pub details: Option<ActDetails>,
}

/// What an act has to know beside its amount, kept so that it can be done later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ActDetails {
    /// Until when an amount for trips can be used.
    #[serde(rename_all = "camelCase")]
    Grant { expires_at: Millis },
    /// The campaign that waits to be opened.
    #[serde(rename_all = "camelCase")]
    Code { code_id: PromoCodeId },
    /// The refund to a card that did not happen.
    #[serde(rename_all = "camelCase")]
    Refund { refund_id: RefundId },
    /// The capture that is given away.
    #[serde(rename_all = "camelCase")]
    Capture { capture_id: Uuid },
    /// What the gateway calls its payout, what it kept for itself, and whose captures it pays.
    #[serde(rename_all = "camelCase")]
    Payout {
        reference: String,
        fee: Piasters,
        #[serde(skip_serializing_if = "Option::is_none", default)]
        day: Option<String>,
    },
}

impl NewAct {
    /// An act on somebody's account that has to do with nothing else.
    pub const fn on_account(kind: ActKind, user: UserId, amount: Piasters, reason: String) -> Self {
        let (trip, deposit, dispute, fault, details) = (None, None, None, None, None);
        Self { kind, user: Some(user), trip, deposit, dispute, fault, amount, reason, details }
    }

    /// An act with the company's own money.
    pub const fn of_company(
        kind: ActKind,
        amount: Piasters,
        reason: String,
        details: ActDetails,
    ) -> Self {
        let (user, trip, deposit, dispute, fault) = (None, None, None, None, None);
        let details = Some(details);
        Self { kind, user, trip, deposit, dispute, fault, amount, reason, details }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MoneyAct {
    pub id: ActId,
    pub what: NewAct,
    pub status: ActStatus,
    pub asked_by: UserId,
    pub asked_at: Millis,
    pub decided_by: Option<UserId>,
    pub decided_at: Option<Millis>,
    pub decision_reason: Option<String>,
    /// Once it is done, where that is a posting.
    pub journal: Option<JournalId>,
}

/// What one admin may do alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActLimits {
    /// In one act.
    pub alone: Piasters,
    /// In all acts of 24 hours, so that a large one can't be done in small pieces.
    pub alone_per_day: Piasters,
}

impl Default for ActLimits {
    fn default() -> Self {
        Self { alone: Piasters::pounds(1_000), alone_per_day: Piasters::pounds(5_000) }
    }
}

/// Which acts are looked for; what is absent doesn't narrow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActFilter {
    pub status: Option<ActStatus>,
    pub user: Option<UserId>,
}
