//! All SQL of the job queue.

use std::time::Duration;

use base::{Cursor, Fault, Millis, UserId};
use jiff_sqlx::Timestamp;
use sqlx::Row;
use sqlx::postgres::PgRow;
use storage::{Db, Tx, Who, at, fault, millis};
use uuid::Uuid;

use super::letters::{DeadLetter, LetterFilter, LetterStatus};
use super::model::{Job, NewJob, OnDead, Priority, Queue};
use super::queue::ring;
use super::rules;

pub(crate) async fn add_in_tx(tx: &mut Tx, jobs: &[NewJob]) -> Result<usize, Fault> {
    let text = serde_json::to_string(jobs).map_err(|e| Fault::internal(e.to_string()))?;
    let added: i32 = sqlx::query_scalar("SELECT jobs_add($1::jsonb)")
        .bind(text)
        .fetch_one(tx.conn())
        .await
        .map_err(fault)?;
    Ok(usize::try_from(added).unwrap_or(0))
}

/// Which kinds a worker knows, and up to which version.
pub(crate) struct Known {
    pub(crate) kinds: Vec<String>,
    pub(crate) versions: Vec<i16>,
}

/// Takes up to `most` due jobs of `queue`, whoever waited too long first, each for `lease`. The try
/// is counted here, before anything is done. A lane's job is taken only when none is before it.
pub(crate) async fn claim(
    db: &Db,
    queue: Queue,
    known: &Known,
    holder: Uuid,
    lease: Duration,
    most: usize,
) -> Result<Vec<Job>, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    // The time of the statement stays the same while it runs, so the index can be asked for it; the
    // rows are locked, so they are where they were found.
    let rows = sqlx::query(
        "WITH due AS MATERIALIZED ( \
           SELECT j.ctid, j.run_at FROM jobs j \
           JOIN unnest($2::text[], $3::smallint[]) k (kind, version) \
             ON k.kind = j.kind AND j.version <= k.version \
           WHERE j.queue = $1 AND j.run_at <= statement_timestamp() \
             AND j.rank_at <= statement_timestamp() + make_interval(secs => $4) \
             AND (j.lane IS NULL OR NOT EXISTS \
               (SELECT FROM jobs e WHERE e.lane = j.lane AND e.id < j.id)) \
           ORDER BY j.rank_at, j.run_at, j.id LIMIT $5 FOR UPDATE OF j SKIP LOCKED) \
         UPDATE jobs j SET attempts = j.attempts + 1, holder = $6, \
           run_at = clock_timestamp() + make_interval(secs => $7) \
         FROM due d WHERE j.ctid = d.ctid \
         RETURNING j.id, j.kind, j.version, j.payload::text AS payload, j.attempts, \
           j.max_attempts, j.trace, d.run_at AS due",
    )
    .bind(queue.name())
    .bind(&known.kinds)
    .bind(&known.versions)
    .bind(rules::PATIENCE_MAX.as_secs_f64())
    .bind(i64::try_from(most).unwrap_or(i64::MAX))
    .bind(holder)
    .bind(lease.as_secs_f64())
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    let jobs = rows.iter().map(|row| job(row, queue, holder)).collect::<Result<_, _>>();
    let jobs = jobs.map_err(fault)?;
    tx.commit().await?;
    Ok(jobs)
}

fn job(row: &PgRow, queue: Queue, holder: Uuid) -> Result<Job, sqlx::Error> {
    Ok(Job {
        id: row.try_get("id")?,
        queue,
        kind: row.try_get("kind")?,
        version: row.try_get("version")?,
        payload: row.try_get("payload")?,
        attempt: row.try_get("attempts")?,
        attempts: row.try_get("max_attempts")?,
        trace: row.try_get("trace")?,
        due: millis(row.try_get::<Timestamp, _>("due")?),
        holder,
    })
}

/// Ends jobs that `holder` still has for the given try; how many. Named one by one, here and below:
/// else the whole index may be read beside them, and of a busy queue most of that is of the dead.
pub(crate) async fn finish_in_tx(
    tx: &mut Tx,
    holder: Uuid,
    jobs: &[(i64, i16)],
) -> Result<u64, Fault> {
    let (ids, attempts): (Vec<i64>, Vec<i16>) = jobs.iter().copied().unzip();
    let done = sqlx::query(
        "DELETE FROM jobs j USING unnest($1::bigint[], $2::smallint[]) d (id, attempts) \
         WHERE j.id = ANY($1) AND j.id = d.id AND j.attempts = d.attempts AND j.holder = $3",
    )
    .bind(ids)
    .bind(attempts)
    .bind(holder)
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(done.rows_affected())
}

pub(crate) async fn finish(db: &Db, holder: Uuid, jobs: &[(i64, i16)]) -> Result<u64, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let done = finish_in_tx(&mut tx, holder, jobs).await?;
    tx.commit().await?;
    Ok(done)
}

/// Puts a failed job back for another try in `wait`. It keeps its rank: when it is due again it has
/// waited longer than others.
pub(crate) async fn put_back(db: &Db, job: &Job, wait: Duration, why: &str) -> Result<(), Fault> {
    let mut tx = db.begin(&Who::System).await?;
    sqlx::query(
        "UPDATE jobs SET holder = NULL, run_at = clock_timestamp() + make_interval(secs => $4), \
           rank_at = greatest(rank_at, clock_timestamp() + make_interval(secs => $4)), \
           errors = errors || jsonb_build_array( \
             jsonb_build_object('at', now(), 'try', attempts, 'error', $5::text)) \
         WHERE id = $1 AND attempts = $2 AND holder = $3",
    )
    .bind(job.id)
    .bind(job.attempt)
    .bind(job.holder)
    .bind(wait.as_secs_f64())
    .bind(why)
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await
}

/// Gives back jobs that were not ended, as if nobody had taken them.
pub(crate) async fn release(db: &Db, holder: Uuid, tries: &[(i64, i16)]) -> Result<(), Fault> {
    let (ids, attempts): (Vec<i64>, Vec<i16>) = tries.iter().copied().unzip();
    let mut tx = db.begin(&Who::System).await?;
    sqlx::query(
        "UPDATE jobs j SET holder = NULL, run_at = clock_timestamp(), attempts = j.attempts - 1 \
         FROM unnest($1::bigint[], $2::smallint[]) t (id, attempts) \
         WHERE j.id = ANY($1) AND j.id = t.id AND j.attempts = t.attempts AND j.holder = $3",
    )
    .bind(ids)
    .bind(attempts)
    .bind(holder)
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await
}

/// Renews the leases of running jobs; those that are still this worker's.
pub(crate) async fn renew(
    db: &Db,
    holder: Uuid,
    tries: &[(i64, i16)],
    lease: Duration,
) -> Result<Vec<(i64, i16)>, Fault> {
    let (ids, attempts): (Vec<i64>, Vec<i16>) = tries.iter().copied().unzip();
    let mut tx = db.begin(&Who::System).await?;
    let kept = sqlx::query_as(
        "UPDATE jobs j SET run_at = clock_timestamp() + make_interval(secs => $4) \
         FROM unnest($1::bigint[], $2::smallint[]) t (id, attempts) \
         WHERE j.id = ANY($1) AND j.id = t.id AND j.attempts = t.attempts AND j.holder = $3 \
         RETURNING j.id, j.attempts",
    )
    .bind(ids)
    .bind(attempts)
    .bind(holder)
    .bind(lease.as_secs_f64())
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await?;
    Ok(kept)
}

/// Makes a dead letter of a job; false when it is another worker's by now.
pub(crate) async fn bury(db: &Db, job: &Job, why: &str) -> Result<bool, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let buried = sqlx::query(
        "WITH gone AS (DELETE FROM jobs WHERE id = $1 AND attempts = $2 AND holder = $3 RETURNING *) \
         INSERT INTO dead_letters (queue, kind, version, payload, priority, key, lane, \
           max_attempts, rule, attempts, errors, trace, made_at, recoveries) \
         SELECT queue, kind, version, payload, priority, key, lane, max_attempts, on_dead, \
           attempts, errors || jsonb_build_array( \
             jsonb_build_object('at', now(), 'try', attempts, 'error', $4::text)), \
           trace, created_at, recoveries FROM gone",
    )
    .bind(job.id)
    .bind(job.attempt)
    .bind(job.holder)
    .bind(why)
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await?;
    Ok(buried.rows_affected() == 1)
}

/// Jobs in each queue, and the open letters by rule.
pub(crate) async fn depths(db: &Db) -> Result<(Vec<(Queue, u64)>, Vec<(OnDead, u64)>), Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let jobs: Vec<(String, i64)> =
        sqlx::query_as("SELECT queue, count(*) FROM jobs GROUP BY queue")
            .fetch_all(tx.conn())
            .await
            .map_err(fault)?;
    let letters: Vec<(String, i64)> = sqlx::query_as(
        "SELECT rule, count(*) FROM dead_letters WHERE status = 'open' GROUP BY rule",
    )
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await?;
    let count = |n: i64| u64::try_from(n).unwrap_or(0);
    let jobs = jobs.into_iter().filter_map(|(name, n)| Some((Queue::parse(&name)?, count(n))));
    let letters =
        letters.into_iter().filter_map(|(name, n)| Some((OnDead::parse(&name)?, count(n))));
    Ok((jobs.collect(), letters.collect()))
}

/// A letter with what is needed to decide about it.
fn letter(row: &PgRow) -> Result<DeadLetter, sqlx::Error> {
    let word = |column: &str, text: &str| sqlx::Error::Decode(format!("{column} {text}").into());
    let queue: &str = row.try_get("queue")?;
    let rule: &str = row.try_get("rule")?;
    let status: &str = row.try_get("status")?;
    let priority: i16 = row.try_get("priority")?;
    let payload: String = row.try_get("payload")?;
    let errors: String = row.try_get("errors")?;
    Ok(DeadLetter {
        id: row.try_get("id")?,
        queue: Queue::parse(queue).ok_or_else(|| word("queue", queue))?,
        kind: row.try_get("kind")?,
        version: row.try_get("version")?,
        payload: serde_json::from_str(&payload).map_err(|e| sqlx::Error::Decode(e.into()))?,
        priority: usize::try_from(priority)
            .ok()
            .and_then(|n| Priority::ALL.get(n).copied())
            .ok_or_else(|| word("priority", &priority.to_string()))?,
        rule: OnDead::parse(rule).ok_or_else(|| word("rule", rule))?,
        attempts: row.try_get("attempts")?,
        errors: serde_json::from_str(&errors).map_err(|e| sqlx::Error::Decode(e.into()))?,
        trace: row.try_get("trace")?,
        recoveries: row.try_get("recoveries")?,
        made_at: millis(row.try_get::<Timestamp, _>("made_at")?),
        died_at: millis(row.try_get::<Timestamp, _>("died_at")?),
        status: LetterStatus::parse(status).ok_or_else(|| word("status", status))?,
        decided_at: row.try_get::<Option<Timestamp>, _>("decided_at")?.map(millis),
        decided_by: row.try_get::<Option<Uuid>, _>("decided_by")?.map(UserId),
        reason: row.try_get("reason")?,
    })
}

/// Newest first.
pub(crate) async fn letters(
    db: &Db,
    who: &Who,
    filter: &LetterFilter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Vec<DeadLetter>, Fault> {
    let after = after.unwrap_or(Cursor { at: Millis(i64::MAX), id: Uuid::max() });
    let mut tx = db.begin(who).await?;
    let rows = sqlx::query(
        "SELECT *, payload::text AS payload, errors::text AS errors FROM dead_letters \
         WHERE ($1::text IS NULL OR status = $1) AND ($2::text IS NULL OR queue = $2) \
           AND (died_at, id) < ($3, $4) ORDER BY died_at DESC, id DESC LIMIT $5",
    )
    .bind(filter.status.map(LetterStatus::name))
    .bind(filter.queue.map(Queue::name))
    .bind(at(after.at))
    .bind(after.id)
    .bind(i64::from(limit))
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await?;
    rows.iter().map(|row| letter(row).map_err(fault)).collect()
}

/// Closes an open letter, and puts its job down again where it is to be retried. `None`: there is
/// no such letter, or it was decided already.
pub(crate) async fn decide_in_tx(
    tx: &mut Tx,
    id: Uuid,
    status: LetterStatus,
    by: Option<UserId>,
    reason: &str,
) -> Result<Option<DeadLetter>, Fault> {
    let row = sqlx::query(
        "UPDATE dead_letters SET status = $2, decided_at = now(), decided_by = $3, reason = $4 \
         WHERE id = $1 AND status = 'open' \
         RETURNING *, payload::text AS payload, errors::text AS errors",
    )
    .bind(id)
    .bind(status.name())
    .bind(by.map(|user| user.0))
    .bind(reason)
    .fetch_optional(tx.conn())
    .await
    .map_err(fault)?;
    let Some(row) = row else { return Ok(None) };
    if status == LetterStatus::Retried {
        sqlx::query(
            "SELECT jobs_add(jsonb_build_array(jsonb_build_object('queue', queue, 'kind', kind, \
               'version', version, 'payload', payload, 'priority', priority, 'key', key, \
               'lane', lane, 'patience_s', 0, 'max_attempts', max_attempts, 'on_dead', rule, \
               'recoveries', recoveries + $2, 'trace', trace))) FROM dead_letters WHERE id = $1",
        )
        .bind(id)
        // The program's own decision counts, so that it does not bring the same one back for ever.
        .bind(i32::from(by.is_none()))
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    }
    let letter = letter(&row).map_err(fault)?;
    tx.rings(ring(letter.queue));
    Ok(Some(letter))
}

/// Open letters that are due to be brought back by the program.
pub(crate) async fn recoverable(db: &Db, now: Millis) -> Result<Vec<Uuid>, Fault> {
    let waits: Vec<f64> = rules::RECOVERIES.iter().map(Duration::as_secs_f64).collect();
    let mut tx = db.begin(&Who::System).await?;
    let due = sqlx::query_scalar(
        "SELECT id FROM dead_letters WHERE status = 'open' AND rule = 'recover' \
           AND recoveries < cardinality($1::float8[]) \
           AND died_at + make_interval(secs => ($1::float8[])[recoveries + 1]) <= $2 \
         ORDER BY died_at LIMIT 100",
    )
    .bind(waits)
    .bind(at(now))
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await?;
    Ok(due)
}

/// When the schedule is due; it is written down the first time.
pub(crate) async fn schedule_due(
    tx: &mut Tx,
    name: &str,
    cron: &str,
    first: Millis,
) -> Result<Millis, Fault> {
    let due: Timestamp = sqlx::query_scalar(
        "INSERT INTO job_schedules AS s (name, cron, next_at) VALUES ($1, $2, $3) \
         ON CONFLICT (name) DO UPDATE SET cron = excluded.cron, next_at = \
           CASE WHEN s.cron = excluded.cron THEN s.next_at ELSE excluded.next_at END \
         RETURNING next_at",
    )
    .bind(name)
    .bind(cron)
    .bind(at(first))
    .fetch_one(tx.conn())
    .await
    .map_err(fault)?;
    Ok(millis(due))
}

/// Moves the schedule on; false when another worker did.
pub(crate) async fn schedule_move(
    tx: &mut Tx,
    name: &str,
    from: Millis,
    to: Millis,
) -> Result<bool, Fault> {
    let moved =
        sqlx::query("UPDATE job_schedules SET next_at = $3 WHERE name = $1 AND next_at = $2")
            .bind(name)
            .bind(at(from))
            .bind(at(to))
            .execute(tx.conn())
            .await
            .map_err(fault)?;
    Ok(moved.rows_affected() == 1)
}
