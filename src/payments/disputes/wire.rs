//! Complaints as they are seen from outside.

use base::{Millis, Piasters, Role, TripId, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use super::model::{Dispute, DisputeId, DisputeReason, DisputeStatus, Outcome};
use crate::acts::ActId;

/// A complaint about a trip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DisputeView {
    pub id: DisputeId,
    pub trip_id: TripId,
    pub opened_by: UserId,
    pub role: Role,
    pub reason: DisputeReason,
    pub text: String,
    pub status: DisputeStatus,
    pub opened_at: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Outcome>,
    /// What the operator has to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Piasters>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Millis>,
    /// For admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<UserId>,
    /// The act that moved the money, or will; for admins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub act_id: Option<ActId>,
}

impl DisputeView {
    /// For whoever complained: an answer that waits for a second admin is none yet.
    pub fn of(dispute: &Dispute) -> Self {
        let is_waiting = dispute.status == DisputeStatus::Waiting;
        let made = dispute.resolution.as_ref().filter(|_| !is_waiting);
        Self {
            id: dispute.id,
            trip_id: dispute.trip,
            opened_by: dispute.opened_by,
            role: dispute.role,
            reason: dispute.reason,
            text: dispute.text.clone(),
            status: if is_waiting { DisputeStatus::Open } else { dispute.status },
            opened_at: dispute.opened_at,
            resolution: made.map(|made| made.outcome),
            answer: made.map(|made| made.answer.clone()),
            amount: made.and_then(|made| made.amount),
            decided_at: made.map(|made| made.at),
            decided_by: None,
            act_id: None,
        }
    }

    /// For operators.
    pub fn for_staff(dispute: &Dispute) -> Self {
        let made = dispute.resolution.as_ref();
        Self {
            status: dispute.status,
            resolution: made.map(|made| made.outcome),
            answer: made.map(|made| made.answer.clone()),
            amount: made.and_then(|made| made.amount),
            decided_at: made.map(|made| made.at),
            decided_by: made.map(|made| made.by),
            act_id: made.and_then(|made| made.act),
            ..Self::of(dispute)
        }
    }
}

/// A page of complaints, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DisputesPage {
    pub disputes: Vec<DisputeView>,
    pub next_cursor: Option<String>,
}
