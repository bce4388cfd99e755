//! All SQL of idempotency keys. Leases and ends are measured by the database's clock, which all
//! nodes share.

use std::time::Duration;

use base::Fault;
use storage::{Tx, fault};
use uuid::Uuid;

use super::{Asked, Begun};

/// Takes a key that is new, expired, or left by an attempt that was given up; `None` when it can't
/// be had, else what the effect was about, if it is committed already.
pub(crate) async fn take_in_tx(
    tx: &mut Tx,
    asked: &Asked<'_>,
    token: Uuid,
    lease: Duration,
) -> Result<Option<Option<Uuid>>, Fault> {
    sqlx::query_scalar(
        "INSERT INTO idempotency AS i (scope, route, key, fingerprint, token, lease_until, expires_at) \
         VALUES ($1, $2, $3, $4, $5, now() + make_interval(secs => $6), \
           now() + make_interval(secs => $7)) \
         ON CONFLICT (scope, route, key) DO UPDATE SET \
           token = excluded.token, fingerprint = excluded.fingerprint, \
           status = NULL, answer = NULL, \
           state = CASE WHEN i.expires_at < now() THEN 'running' ELSE i.state END, \
           subject = CASE WHEN i.expires_at < now() THEN NULL ELSE i.subject END, \
           lease_until = excluded.lease_until, expires_at = excluded.expires_at \
         WHERE (i.expires_at < now() AND (i.state = 'answered' OR i.lease_until < now())) \
           OR (i.state <> 'answered' AND i.lease_until < now() \
               AND i.fingerprint = excluded.fingerprint) \
         RETURNING subject",
    )
    .bind(asked.scope.0)
    .bind(asked.route)
    .bind(asked.key)
    .bind(asked.fingerprint.as_slice())
    .bind(token)
    .bind(lease.as_secs_f64())
    .bind(asked.keep.as_secs_f64())
    .fetch_optional(tx.conn())
    .await
    .map_err(fault)
}

/// Why a key could not be taken.
pub(crate) async fn found_in_tx(tx: &mut Tx, asked: &Asked<'_>) -> Result<Begun, Fault> {
    let found: Option<(Vec<u8>, Option<i16>, Option<String>)> = sqlx::query_as(
        "SELECT fingerprint, status, answer FROM idempotency \
         WHERE scope = $1 AND route = $2 AND key = $3",
    )
    .bind(asked.scope.0)
    .bind(asked.route)
    .bind(asked.key)
    .fetch_optional(tx.conn())
    .await
    .map_err(fault)?;
    Ok(match found {
        Some((print, ..)) if print != asked.fingerprint => Begun::Reused,
        Some((_, Some(status), Some(answer))) => {
            Begun::Replay { status: status.unsigned_abs(), answer }
        }
        // Released between the two statements counts as under way: the caller tries again.
        Some(_) | None => Begun::Running,
    })
}

pub(crate) async fn mark_in_tx(tx: &mut Tx, marks: &[(Uuid, Uuid)]) -> Result<Vec<Uuid>, Fault> {
    let (tokens, subjects): (Vec<Uuid>, Vec<Uuid>) = marks.iter().copied().unzip();
    sqlx::query_scalar(
        "UPDATE idempotency i SET state = 'applied', subject = m.subject \
         FROM unnest($1::uuid[], $2::uuid[]) m (token, subject) \
         WHERE i.token = m.token AND i.state = 'running' RETURNING i.token",
    )
    .bind(tokens)
    .bind(subjects)
    .fetch_all(tx.conn())
    .await
    .map_err(fault)
}

pub(crate) async fn answer_in_tx(
    tx: &mut Tx,
    token: Uuid,
    status: u16,
    answer: &str,
) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE idempotency SET state = 'answered', status = $2, answer = $3 WHERE token = $1",
    )
    .bind(token)
    .bind(i16::try_from(status).unwrap_or(i16::MAX))
    .bind(answer)
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

pub(crate) async fn release_in_tx(tx: &mut Tx, token: Uuid) -> Result<(), Fault> {
    for statement in [
        "DELETE FROM idempotency WHERE token = $1 AND state = 'running'",
        "UPDATE idempotency SET lease_until = now() - interval '1 second' \
         WHERE token = $1 AND state = 'applied'",
    ] {
        sqlx::query(statement).bind(token).execute(tx.conn()).await.map_err(fault)?;
    }
    Ok(())
}

pub(crate) async fn sweep_in_tx(tx: &mut Tx, most: u64) -> Result<u64, Fault> {
    let swept = sqlx::query(
        "DELETE FROM idempotency WHERE (scope, route, key) IN ( \
           SELECT scope, route, key FROM idempotency \
           WHERE expires_at < now() AND lease_until < now() LIMIT $1)",
    )
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(swept.rows_affected())
}
