//! Cases as operators read them.

use base::{Millis, UserId};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::model::{Action, Rule, Status};

/// A reason to look at an account, and what was decided about it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FraudCase {
    pub id: Uuid,
    pub user_id: UserId,
    pub rule: Rule,
    pub action: Action,
    pub status: Status,
    /// The numbers that met the rule, as they were last.
    #[schema(value_type = Object)]
    pub reasons: Value,
    /// How often there was more.
    pub times: i32,
    pub opened_at: Millis,
    /// When there was more the last time.
    pub seen_at: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decided_at: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decision_reason: Option<String>,
}

/// A page of cases, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FraudPage {
    pub cases: Vec<FraudCase>,
    pub next_cursor: Option<String>,
}
