//! Acts as admins see them.

use base::{JournalId, Millis, Piasters, TripId, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::model::{ActDetails, ActId, ActKind, ActStatus, AtFault, MoneyAct};
use crate::disputes::DisputeId;
use crate::model::DepositId;

/// What an admin did with somebody's money, or wants to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActView {
    pub id: ActId,
    pub kind: ActKind,
    /// Whose money it is; absent: the company's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trip_id: Option<TripId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deposit_id: Option<DepositId>,
    /// The complaint that it answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispute_id: Option<DisputeId>,
    /// Who bears a refund.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fault: Option<AtFault>,
    pub amount: Piasters,
    pub reason: String,
    /// Of the kinds that have more to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<ActDetails>,
    /// `pending` waits for a second admin.
    pub status: ActStatus,
    pub asked_by: UserId,
    pub asked_at: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_reason: Option<String>,
    /// The ledger's, once it is done by a posting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub journal_id: Option<JournalId>,
}

impl From<&MoneyAct> for ActView {
    fn from(act: &MoneyAct) -> Self {
        Self {
            id: act.id,
            kind: act.what.kind,
            user_id: act.what.user,
            trip_id: act.what.trip,
            deposit_id: act.what.deposit,
            dispute_id: act.what.dispute,
            fault: act.what.fault,
            amount: act.what.amount,
            reason: act.what.reason.clone(),
            details: act.what.details.clone(),
            status: act.status,
            asked_by: act.asked_by,
            asked_at: act.asked_at,
            decided_by: act.decided_by,
            decided_at: act.decided_at,
            decision_reason: act.decision_reason.clone(),
            journal_id: act.journal,
        }
    }
}

/// A page of acts, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ActsPage {
    pub acts: Vec<ActView>,
    pub next_cursor: Option<String>,
}
