//! All SQL of runs and findings.

use base::{BusinessDay, Caller, Cursor, Fault, Millis, UserId};
use sqlx::Row;
use sqlx::postgres::PgRow;
use storage::{Db, Tx, Who, at, fault, millis};
use uuid::Uuid;

use super::super::model::{
    AskedBy, Discrepancy, FindingFilter, FindingKind, FindingStatus, Resolution,
};
use super::super::wire::{FindingView, OpenFindings, RunView};

pub(crate) async fn run_add_in_tx(
    tx: &mut Tx,
    id: Uuid,
    day: BusinessDay,
    asked_by: AskedBy,
    now: Millis,
) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO reconciliation_runs (id, day, asked_by, started_at) \
         VALUES ($1, $2::date, $3, $4)",
    )
    .bind(id)
    .bind(day.to_string())
    .bind(asked_by.name())
    .bind(at(now))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// How a run ended.
pub(crate) struct RunEnd<'a> {
    pub gateway: &'static str,
    pub faults: i32,
    pub opened: i32,
    pub failure: Option<&'a str>,
}

pub(crate) async fn run_end_in_tx(
    tx: &mut Tx,
    id: Uuid,
    end: &RunEnd<'_>,
    now: Millis,
) -> Result<RunView, Fault> {
    let row = sqlx::query(
        "UPDATE reconciliation_runs \
         SET ended_at = $2, gateway = $3, faults = $4, opened = $5, failure = $6 WHERE id = $1 \
         RETURNING *, day::text AS day_text",
    )
    .bind(id)
    .bind(at(now))
    .bind(end.gateway)
    .bind(end.faults)
    .bind(end.opened)
    .bind(end.failure)
    .fetch_one(tx.conn())
    .await
    .map_err(fault)?;
    run(&row).map_err(fault)
}

/// The newest day that was looked at whole.
pub(crate) async fn last_done(db: &Db) -> Result<Option<BusinessDay>, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let day: Option<String> = sqlx::query_scalar(
        "SELECT max(day)::text FROM reconciliation_runs \
         WHERE ended_at IS NOT NULL AND failure IS NULL AND asked_by = 'schedule'",
    )
    .fetch_one(tx.conn())
    .await
    .map_err(fault)?;
    Ok(day.as_deref().and_then(BusinessDay::parse))
}

/// Stores what was found: each fault is one finding, however often it is found. Answers those that
/// were opened by it.
pub(crate) async fn findings_add_in_tx(
    tx: &mut Tx,
    day: BusinessDay,
    found: &[Discrepancy],
    now: Millis,
) -> Result<Vec<FindingView>, Fault> {
    let rows = sqlx::query(
        "INSERT INTO reconciliation_findings AS f \
           (id, kind, subject, day, expected, actual, first_seen, last_seen, opened_at) \
         SELECT n.id, n.kind, n.subject, $2::date, n.expected, n.actual, $1, $1, $1 \
         FROM (SELECT DISTINCT ON (kind, subject) * \
               FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[], $7::text[]) \
                 AS u (id, kind, subject, expected, actual) ORDER BY kind, subject) n \
         ON CONFLICT ON CONSTRAINT one_finding_per_fault DO UPDATE SET \
           day = excluded.day, expected = excluded.expected, actual = excluded.actual, \
           last_seen = excluded.last_seen, times = f.times + 1, \
           (status, opened_at, resolution, reason, resolved_by, resolved_at) = ( \
             SELECT CASE WHEN s.stays THEN f.status ELSE 'open' END, \
                    CASE WHEN s.stays THEN f.opened_at ELSE excluded.last_seen END, \
                    CASE WHEN s.stays THEN f.resolution END, CASE WHEN s.stays THEN f.reason END, \
                    CASE WHEN s.stays THEN f.resolved_by END, \
                    CASE WHEN s.stays THEN f.resolved_at END \
             FROM (SELECT f.status = 'open' OR (f.resolution = 'accepted' AND \
                     (f.expected, f.actual) = (excluded.expected, excluded.actual)) AS stays) s) \
         RETURNING f.*, f.day::text AS day_text",
    )
    .bind(at(now))
    .bind(day.to_string())
    .bind(found.iter().map(|_| Uuid::now_v7()).collect::<Vec<_>>())
    .bind(found.iter().map(|fault| fault.kind.name()).collect::<Vec<_>>())
    .bind(found.iter().map(|fault| short(&fault.subject)).collect::<Vec<_>>())
    .bind(found.iter().map(|fault| fault.expected.as_str()).collect::<Vec<_>>())
    .bind(found.iter().map(|fault| fault.actual.as_str()).collect::<Vec<_>>())
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    let all = rows.iter().map(|row| finding(row).map_err(fault));
    let all: Vec<FindingView> = all.collect::<Result<_, _>>()?;
    let is_new = |view: &FindingView| view.status == FindingStatus::Open && view.opened_at == now;
    Ok(all.into_iter().filter(is_new).collect())
}

/// A subject as it is stored: a stranger's transaction may be called anything.
fn short(subject: &str) -> String {
    subject.chars().take(200).collect()
}

/// Open findings by kind; kinds without any are left out.
pub(crate) async fn open_in_tx(tx: &mut Tx) -> Result<Vec<OpenFindings>, Fault> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT kind, count(*) FROM reconciliation_findings WHERE status = 'open' \
         GROUP BY kind ORDER BY kind",
    )
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    let open = |(kind, count): (String, i64)| {
        FindingKind::parse(&kind).map(|kind| OpenFindings { kind, count })
    };
    Ok(rows.into_iter().filter_map(open).collect())
}

pub(crate) async fn runs_in_tx(
    tx: &mut Tx,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Vec<RunView>, Fault> {
    let rows = sqlx::query(
        "SELECT *, day::text AS day_text FROM reconciliation_runs \
         WHERE $1::timestamptz IS NULL OR (started_at, id) < ($1, $2) \
         ORDER BY started_at DESC, id DESC LIMIT $3",
    )
    .bind(after.map(|cursor| at(cursor.at)))
    .bind(after.map(|cursor| cursor.id))
    .bind(i64::from(limit))
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    rows.iter().map(|row| run(row).map_err(fault)).collect()
}

pub(crate) async fn finding_in_tx(tx: &mut Tx, id: Uuid) -> Result<Option<FindingView>, Fault> {
    let row =
        sqlx::query("SELECT *, day::text AS day_text FROM reconciliation_findings WHERE id = $1")
            .bind(id)
            .fetch_optional(tx.conn())
            .await
            .map_err(fault)?;
    row.map(|row| finding(&row).map_err(fault)).transpose()
}

pub(crate) async fn findings_in_tx(
    tx: &mut Tx,
    filter: FindingFilter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Vec<FindingView>, Fault> {
    let rows = sqlx::query(
        "SELECT *, day::text AS day_text FROM reconciliation_findings \
         WHERE ($1::timestamptz IS NULL OR (opened_at, id) < ($1, $2)) \
           AND ($3::text IS NULL OR status = $3) AND ($4::text IS NULL OR kind = $4) \
         ORDER BY opened_at DESC, id DESC LIMIT $5",
    )
    .bind(after.map(|cursor| at(cursor.at)))
    .bind(after.map(|cursor| cursor.id))
    .bind(filter.status.map(FindingStatus::name))
    .bind(filter.kind.map(FindingKind::name))
    .bind(i64::from(limit))
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    rows.iter().map(|row| finding(row).map_err(fault)).collect()
}

/// Open findings whose newest look was that at `day`.
pub(crate) async fn open_of_day_in_tx(
    tx: &mut Tx,
    day: BusinessDay,
) -> Result<Vec<FindingView>, Fault> {
    let rows = sqlx::query(
        "SELECT *, day::text AS day_text FROM reconciliation_findings \
         WHERE status = 'open' AND day = $1::date ORDER BY kind, subject",
    )
    .bind(day.to_string())
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    rows.iter().map(|row| finding(row).map_err(fault)).collect()
}

/// Closes an open finding; `None` when there is none with this id.
pub(crate) async fn resolve_in_tx(
    tx: &mut Tx,
    admin: &Caller,
    id: Uuid,
    resolution: Resolution,
    reason: &str,
    now: Millis,
) -> Result<Option<FindingView>, Fault> {
    let row = sqlx::query(
        "UPDATE reconciliation_findings SET status = 'resolved', resolution = $2, reason = $3, \
           resolved_by = $4, resolved_at = $5 \
         WHERE id = $1 AND status = 'open' RETURNING *, day::text AS day_text",
    )
    .bind(id)
    .bind(resolution.name())
    .bind(reason)
    .bind(admin.user.0)
    .bind(at(now))
    .fetch_optional(tx.conn())
    .await
    .map_err(fault)?;
    row.map(|row| finding(&row).map_err(fault)).transpose()
}

fn moment(row: &PgRow, column: &str) -> Result<Millis, sqlx::Error> {
    row.try_get::<jiff_sqlx::Timestamp, _>(column).map(millis)
}

fn later(row: &PgRow, column: &str) -> Result<Option<Millis>, sqlx::Error> {
    Ok(row.try_get::<Option<jiff_sqlx::Timestamp>, _>(column)?.map(millis))
}

/// A column that holds one of the words of a check constraint.
fn word<T>(row: &PgRow, column: &str, parse: fn(&str) -> Option<T>) -> Result<T, sqlx::Error> {
    let text: &str = row.try_get(column)?;
    parse(text).ok_or_else(|| sqlx::Error::Decode(format!("{column} holds {text}").into()))
}

fn run(row: &PgRow) -> Result<RunView, sqlx::Error> {
    Ok(RunView {
        id: row.try_get("id")?,
        day: row.try_get("day_text")?,
        asked_by: word(row, "asked_by", AskedBy::parse)?,
        started_at: moment(row, "started_at")?,
        ended_at: later(row, "ended_at")?,
        gateway: row.try_get("gateway")?,
        faults: row.try_get("faults")?,
        opened: row.try_get("opened")?,
        failure: row.try_get("failure")?,
    })
}

fn finding(row: &PgRow) -> Result<FindingView, sqlx::Error> {
    let resolution: Option<&str> = row.try_get("resolution")?;
    Ok(FindingView {
        id: row.try_get("id")?,
        kind: word(row, "kind", FindingKind::parse)?,
        subject: row.try_get("subject")?,
        day: row.try_get("day_text")?,
        expected: row.try_get("expected")?,
        actual: row.try_get("actual")?,
        status: word(row, "status", FindingStatus::parse)?,
        first_seen: moment(row, "first_seen")?,
        last_seen: moment(row, "last_seen")?,
        times: row.try_get("times")?,
        opened_at: moment(row, "opened_at")?,
        resolution: resolution.and_then(Resolution::parse),
        reason: row.try_get("reason")?,
        resolved_by: row.try_get::<Option<Uuid>, _>("resolved_by")?.map(UserId),
        resolved_at: later(row, "resolved_at")?,
    })
}
