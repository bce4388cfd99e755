//! SQL of the audit log.

use base::{Caller, Cursor, Fault, UserId};
use jiff_sqlx::Timestamp;
use serde_json::Value;
use sqlx::FromRow;
use sqlx::types::Json;
use storage::{Tx, Who, at, fault, millis};
use uuid::Uuid;

use super::{Audit, AuditEntry, AuditFilter, AuditObject};
use crate::store::Store;

const INSERT: &str = "\
INSERT INTO audit_log (id, actor_id, action, object_kind, object_id, details)
SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::jsonb[])";

const PAGE: &str = "\
SELECT id, at, actor_id, action, object_kind, object_id, details FROM audit_log
WHERE ($1::uuid IS NULL OR actor_id = $1) AND ($2::text IS NULL OR action = $2)
  AND ($3::text IS NULL OR object_kind = $3) AND ($4::text IS NULL OR object_id = $4)
  AND ($5::timestamptz IS NULL OR (at, id) < ($5, $6))
ORDER BY at DESC, id DESC LIMIT $7";

/// Writes records down in the transaction of what they tell.
pub async fn audit_in_tx(tx: &mut Tx, records: &[Audit]) -> Result<(), Fault> {
    let ids: Vec<Uuid> = records.iter().map(|_| Uuid::now_v7()).collect();
    let actors: Vec<Option<Uuid>> = records.iter().map(|r| r.actor.map(|user| user.0)).collect();
    let actions: Vec<&str> = records.iter().map(|record| record.action).collect();
    let kinds: Vec<&str> = records.iter().map(|record| record.object.kind.as_str()).collect();
    let objects: Vec<&str> = records.iter().map(|record| record.object.id.as_str()).collect();
    let details: Vec<Json<&Value>> = records.iter().map(|record| Json(&record.details)).collect();
    sqlx::query(INSERT)
        .bind(ids)
        .bind(actors)
        .bind(actions)
        .bind(kinds)
        .bind(objects)
        .bind(details)
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(())
}

#[derive(FromRow)]
struct Row {
    id: Uuid,
    at: Timestamp,
    actor_id: Option<Uuid>,
    action: String,
    object_kind: String,
    object_id: String,
    details: Value,
}

impl From<Row> for AuditEntry {
    fn from(row: Row) -> Self {
        Self {
            id: row.id,
            at: millis(row.at),
            actor: row.actor_id.map(UserId),
            action: row.action,
            object: AuditObject { kind: row.object_kind, id: row.object_id },
            details: row.details,
        }
    }
}

impl Store {
    pub(super) async fn audit_insert(&self, records: &[Audit]) -> Result<(), Fault> {
        let mut tx = self.db.begin(&Who::System).await?;
        audit_in_tx(&mut tx, records).await?;
        tx.commit().await
    }

    pub(super) async fn audit_page(
        &self,
        admin: &Caller,
        filter: &AuditFilter,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<AuditEntry>, Fault> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let rows: Vec<Row> = sqlx::query_as(PAGE)
            .bind(filter.actor.map(|user| user.0))
            .bind(&filter.action)
            .bind(&filter.object_kind)
            .bind(&filter.object_id)
            .bind(after.map(|last| at(last.at)))
            .bind(after.map(|last| last.id))
            .bind(i64::from(limit))
            .fetch_all(tx.conn())
            .await
            .map_err(fault)?;
        Ok(rows.into_iter().map(AuditEntry::from).collect())
    }
}
