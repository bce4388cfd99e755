//! The audit log: who did what to which object, and who looked at what is another person's.
//!
//! Whoever carries an operator's act out writes the record in the same transaction, so that there
//! is no act without one; a look is recorded before its answer leaves. Records never change.

mod store;
#[cfg(test)]
mod tests;

use base::{Caller, Cursor, Fault, Millis, UserId};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::accounts::Identity;

pub use store::audit_in_tx;

/// One record on its way into the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Audit {
    /// `None`: somebody at the server's own terminal.
    pub actor: Option<UserId>,
    /// What was done, as `object.verb`: `driver.decide`.
    pub action: &'static str,
    pub object: AuditObject,
    /// What there is to say beyond that; an object.
    pub details: Value,
}

/// What something was done to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct AuditObject {
    /// `driver`, `trip`, `wallet`, …
    pub kind: String,
    pub id: String,
}

impl AuditObject {
    pub fn new(kind: &str, id: impl ToString) -> Self {
        Self { kind: kind.to_owned(), id: id.to_string() }
    }
}

impl Audit {
    /// An act of the caller's; there is nothing to add to it yet.
    pub fn by(caller: &Caller, action: &'static str, object: AuditObject) -> Self {
        Self { actor: Some(caller.user), action, object, details: json!({}) }
    }

    /// An act of whoever may use the server's own terminal.
    pub fn by_terminal(action: &'static str, object: AuditObject) -> Self {
        Self { actor: None, action, object, details: json!({}) }
    }

    #[must_use]
    pub fn with(mut self, details: Value) -> Self {
        self.details = details;
        self
    }
}

/// Which records are looked for; what is absent doesn't narrow.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditFilter {
    pub actor: Option<UserId>,
    pub action: Option<String>,
    pub object_kind: Option<String>,
    pub object_id: Option<String>,
}

/// A record as operators read it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct AuditEntry {
    pub id: Uuid,
    pub at: Millis,
    /// Absent when it was done at the server's own terminal.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub actor: Option<UserId>,
    pub action: String,
    pub object: AuditObject,
    #[schema(value_type = Object)]
    pub details: Value,
}

/// A page of the log, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditPage {
    pub entries: Vec<AuditEntry>,
    pub next_cursor: Option<String>,
}

impl Identity {
    /// Records looks of an admin's, in a transaction of their own: they have no effect to go with.
    pub async fn audit(&self, records: &[Audit]) -> Result<(), Fault> {
        if records.is_empty() {
            return Ok(());
        }
        self.store().audit_insert(records).await
    }

    /// The log as this admin may read it.
    pub async fn audit_log(
        &self,
        admin: &Caller,
        filter: &AuditFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<AuditPage, Fault> {
        let entries = self.store().audit_page(admin, filter, after, limit).await?;
        let next_cursor = entries
            .last()
            .filter(|_| entries.len() == limit as usize)
            .map(|last| Cursor { at: last.at, id: last.id }.to_string());
        Ok(AuditPage { entries, next_cursor })
    }
}
