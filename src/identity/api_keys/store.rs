//! SQL of partners' keys.

use std::collections::HashMap;
use std::time::Duration;

use base::{ApiKeyId, Caller, Cursor, Fault};
use jiff_sqlx::Timestamp;
use sqlx::FromRow;
use storage::{Tx, Who, at, fault, millis};
use uuid::Uuid;

use super::memory::{Good, Used};
use super::{ApiKeyDay, ApiKeyView, Drawn, NewApiKey, Scope};
use crate::Audit;
use crate::audit::audit_in_tx;
use crate::store::Store;

const INSERT: &str = "\
INSERT INTO api_keys
  (id, name, key_hash, hint, scopes, per_minute, created_by, created_at, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
RETURNING *";

const ROTATE: &str = "\
UPDATE api_keys SET previous_hash = key_hash, previous_until = $2, key_hash = $3, hint = $4,
  rotated_at = $5
WHERE id = $1 AND revoked_at IS NULL
RETURNING *";

const REVOKE: &str = "\
UPDATE api_keys SET revoked_at = coalesce(revoked_at, $2) WHERE id = $1 RETURNING *";

const PAGE: &str = "\
SELECT * FROM api_keys
WHERE $1::timestamptz IS NULL OR (date_trunc('milliseconds', created_at), id) < ($1, $2)
ORDER BY created_at DESC, id DESC LIMIT $3";

// A rotated key is good under two hashes for a while.
const GOOD: &str = "\
SELECT id, h.hash, scopes, per_minute, least(expires_at, h.until) AS until
FROM api_keys,
  LATERAL (VALUES (key_hash, NULL::timestamptz), (previous_hash, previous_until)) AS h (hash, until)
WHERE revoked_at IS NULL AND h.hash IS NOT NULL
  AND coalesce(least(expires_at, h.until) > $1, true)";

const USED: &str = "\
INSERT INTO api_key_usage AS u (key_id, day, requests, refused)
SELECT k.id, ($1::timestamptz AT TIME ZONE 'UTC')::date, n.requests, n.refused
FROM unnest($2::uuid[], $3::bigint[], $4::bigint[]) AS n (id, requests, refused)
JOIN api_keys k ON k.id = n.id
ON CONFLICT (key_id, day) DO UPDATE SET
  requests = u.requests + excluded.requests, refused = u.refused + excluded.refused";

const DAYS: &str = "\
SELECT day::text, requests, refused FROM api_key_usage WHERE key_id = $1
ORDER BY day DESC LIMIT $2";

#[derive(FromRow)]
struct Row {
    id: Uuid,
    name: String,
    hint: String,
    scopes: Vec<String>,
    per_minute: i32,
    created_at: Timestamp,
    rotated_at: Option<Timestamp>,
    previous_until: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    revoked_at: Option<Timestamp>,
}

impl From<Row> for ApiKeyView {
    fn from(row: Row) -> Self {
        Self {
            id: ApiKeyId(row.id),
            name: row.name,
            hint: row.hint,
            scopes: row.scopes.iter().filter_map(|name| Scope::parse(name)).collect(),
            per_minute: u32::try_from(row.per_minute).unwrap_or(1),
            created_at: millis(row.created_at),
            rotated_at: row.rotated_at.map(millis),
            previous_until: row.previous_until.map(millis),
            expires_at: row.expires_at.map(millis),
            revoked_at: row.revoked_at.map(millis),
        }
    }
}

#[derive(FromRow)]
struct GoodRow {
    id: Uuid,
    hash: Vec<u8>,
    scopes: Vec<String>,
    per_minute: i32,
    until: Option<Timestamp>,
}

impl Store {
    pub(super) async fn key_insert(
        &self,
        admin: &Caller,
        id: ApiKeyId,
        key: &Drawn,
        asked: &NewApiKey,
        per_minute: u32,
        record: Audit,
    ) -> Result<ApiKeyView, Fault> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let row: Row = sqlx::query_as(INSERT)
            .bind(id.0)
            .bind(&asked.name)
            .bind(&key.hash[..])
            .bind(&key.hint)
            .bind(asked.scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>())
            .bind(i32::try_from(per_minute).unwrap_or(i32::MAX))
            .bind(admin.user.0)
            .bind(at(self.clock.now()))
            .bind(asked.expires_at.map(at))
            .fetch_one(tx.conn())
            .await
            .map_err(fault)?;
        audit_in_tx(&mut tx, &[record]).await?;
        tx.commit().await?;
        Ok(row.into())
    }

    /// `None`: there is no such key, or it was ended.
    pub(super) async fn key_rotate(
        &self,
        admin: &Caller,
        id: ApiKeyId,
        key: &Drawn,
        grace: Duration,
        record: Audit,
    ) -> Result<Option<ApiKeyView>, Fault> {
        let now = self.clock.now();
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let row: Option<Row> = sqlx::query_as(ROTATE)
            .bind(id.0)
            .bind(at(now + grace))
            .bind(&key.hash[..])
            .bind(&key.hint)
            .bind(at(now))
            .fetch_optional(tx.conn())
            .await
            .map_err(fault)?;
        changed(tx, row, record).await
    }

    pub(super) async fn key_revoke(
        &self,
        admin: &Caller,
        id: ApiKeyId,
        record: Audit,
    ) -> Result<Option<ApiKeyView>, Fault> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let row: Option<Row> = sqlx::query_as(REVOKE)
            .bind(id.0)
            .bind(at(self.clock.now()))
            .fetch_optional(tx.conn())
            .await
            .map_err(fault)?;
        changed(tx, row, record).await
    }

    pub(super) async fn keys_page(
        &self,
        admin: &Caller,
        after: Option<Cursor>,
        limit: u32,
    ) -> Result<Vec<ApiKeyView>, Fault> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let rows: Vec<Row> = sqlx::query_as(PAGE)
            .bind(after.map(|last| at(last.at)))
            .bind(after.map(|last| last.id))
            .bind(i64::from(limit))
            .fetch_all(tx.conn())
            .await
            .map_err(fault)?;
        Ok(rows.into_iter().map(ApiKeyView::from).collect())
    }

    pub(super) async fn keys_good(&self) -> Result<HashMap<[u8; 32], Good>, Fault> {
        let mut tx = self.db.begin(&Who::System).await?;
        let rows: Vec<GoodRow> = sqlx::query_as(GOOD)
            .bind(at(self.clock.now()))
            .fetch_all(tx.conn())
            .await
            .map_err(fault)?;
        let good = rows.into_iter().filter_map(|row| {
            let scopes = row.scopes.iter().filter_map(|name| Scope::parse(name));
            let per_minute = u32::try_from(row.per_minute).unwrap_or(1);
            let until = row.until.map(millis);
            let hash: [u8; 32] = row.hash.try_into().ok()?;
            Some((hash, Good::new(ApiKeyId(row.id), scopes, per_minute, until)))
        });
        Ok(good.collect())
    }

    pub(super) async fn key_usage_add(&self, used: &HashMap<ApiKeyId, Used>) -> Result<(), Fault> {
        let whole = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let (mut keys, mut requests, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (key, used) in used {
            keys.push(key.0);
            requests.push(whole(used.requests));
            refused.push(whole(used.refused));
        }
        let mut tx = self.db.begin(&Who::System).await?;
        sqlx::query(USED)
            .bind(at(self.clock.now()))
            .bind(keys)
            .bind(requests)
            .bind(refused)
            .execute(tx.conn())
            .await
            .map_err(fault)?;
        tx.commit().await
    }

    /// `None`: there is no such key.
    pub(super) async fn key_days(
        &self,
        admin: &Caller,
        id: ApiKeyId,
        days: u32,
    ) -> Result<Option<Vec<ApiKeyDay>>, Fault> {
        let mut tx = self.db.begin(&Who::Caller(*admin)).await?;
        let known: bool = sqlx::query_scalar("SELECT EXISTS (SELECT FROM api_keys WHERE id = $1)")
            .bind(id.0)
            .fetch_one(tx.conn())
            .await
            .map_err(fault)?;
        if !known {
            return Ok(None);
        }
        let rows: Vec<(String, i64, i64)> = sqlx::query_as(DAYS)
            .bind(id.0)
            .bind(i64::from(days))
            .fetch_all(tx.conn())
            .await
            .map_err(fault)?;
        let day = |(day, requests, refused): (String, i64, i64)| ApiKeyDay {
            day,
            requests: requests.unsigned_abs(),
            refused: refused.unsigned_abs(),
        };
        Ok(Some(rows.into_iter().map(day).collect()))
    }
}

/// Ends a change of a key: it stands in the audit log by the same commit. `None`: there was no such
/// key to change.
async fn changed(mut tx: Tx, row: Option<Row>, record: Audit) -> Result<Option<ApiKeyView>, Fault> {
    let Some(row) = row else { return Ok(None) };
    audit_in_tx(&mut tx, &[record]).await?;
    tx.commit().await?;
    Ok(Some(row.into()))
}
