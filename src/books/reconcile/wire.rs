//! Outward shapes of runs and findings.

use base::{Millis, UserId};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::model::{AskedBy, FindingKind, FindingStatus, Resolution};

/// A look at a business day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunView {
    pub id: Uuid,
    /// `2026-01-31`, in Cairo.
    pub day: String,
    pub asked_by: AskedBy,
    pub started_at: Millis,
    /// Absent while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Millis>,
    /// `compared`, `not_set_up` or `unreadable`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// Faults that were seen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub faults: Option<i32>,
    /// Those of them that opened a finding.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub opened: Option<i32>,
    /// Why some of it could not be looked at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// Open findings of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct OpenFindings {
    pub kind: FindingKind,
    pub count: i64,
}

/// A page of looks, newest first, and how many findings are open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunsPage {
    pub open: Vec<OpenFindings>,
    pub runs: Vec<RunView>,
    pub next_cursor: Option<String>,
}

/// Something that does not fit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingView {
    pub id: Uuid,
    pub kind: FindingKind,
    /// `trip:<id>`, `rider_wallet:<user>`, `capture:<transaction>` …
    pub subject: String,
    /// The business day whose look found it last.
    pub day: String,
    pub expected: String,
    pub actual: String,
    pub status: FindingStatus,
    pub first_seen: Millis,
    pub last_seen: Millis,
    /// How often it was seen.
    pub times: i32,
    /// When it was opened, or opened again.
    pub opened_at: Millis,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<Resolution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_by: Option<UserId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_at: Option<Millis>,
}

/// A page of findings, the newest opened first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FindingsPage {
    pub findings: Vec<FindingView>,
    pub next_cursor: Option<String>,
}
