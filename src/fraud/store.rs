//! All SQL of fraud: counters, histories, phones, cases.

use base::{Cursor, DriverId, Fault, Millis, Piasters, TripId, UserId};
use serde_json::Value;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use storage::{Tx, at, fault, millis};
use uuid::Uuid;

use crate::conduct::Replay;
use crate::desk::Drive;
use crate::model::{
    Action, CaseFilter, Count, History, Known, Movement, Rule, Signal, Status, What,
};
use crate::wire::FraudCase;

/// Everything about one account happens one after the other; held until the transaction ends.
pub(crate) async fn account_lock_in_tx(tx: &mut Tx, account: UserId) -> Result<(), Fault> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('fraud:' || $1::text, 0))")
        .bind(account.0)
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(())
}

/// Adds to the buckets that the counts name.
pub(crate) async fn counters_add_in_tx(
    tx: &mut Tx,
    account: UserId,
    counts: &[Count],
) -> Result<(), Fault> {
    if counts.is_empty() {
        return Ok(());
    }
    sqlx::query(
        "INSERT INTO fraud_counters AS c (account, bucket, what, other, times, amount) \
         SELECT $1, * FROM UNNEST($2::timestamptz[], $3::text[], $4::uuid[], $5::int[], \
           $6::bigint[]) \
         ON CONFLICT ON CONSTRAINT one_counter_per_bucket DO UPDATE SET \
           times = c.times + excluded.times, amount = c.amount + excluded.amount",
    )
    .bind(account.0)
    .bind(counts.iter().map(|count| at(count.bucket)).collect::<Vec<_>>())
    .bind(counts.iter().map(|count| count.what.name()).collect::<Vec<_>>())
    .bind(counts.iter().map(|count| count.other.0).collect::<Vec<_>>())
    .bind(counts.iter().map(|count| small(count.times)).collect::<Vec<_>>())
    .bind(counts.iter().map(|count| count.amount.0).collect::<Vec<_>>())
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// What was counted in buckets that begin after `since`.
pub(crate) async fn counters_in_tx(
    tx: &mut Tx,
    account: UserId,
    since: Millis,
) -> Result<Vec<Count>, Fault> {
    let rows = sqlx::query(
        "SELECT bucket, what, other, times, amount FROM fraud_counters \
         WHERE account = $1 AND bucket > $2",
    )
    .bind(account.0)
    .bind(at(since))
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    rows.iter().map(|row| count(row).map_err(fault)).collect()
}

/// What the account moved so before.
pub(crate) async fn history_in_tx(
    tx: &mut Tx,
    account: UserId,
    movement: Movement,
) -> Result<History, Fault> {
    let found: Option<(i64, i64)> = sqlx::query_as(
        "SELECT times, amount FROM fraud_history WHERE account = $1 AND movement = $2",
    )
    .bind(account.0)
    .bind(movement.name())
    .fetch_optional(tx.conn())
    .await
    .map_err(fault)?;
    let (times, total) = found.unwrap_or_default();
    Ok(History { times, total: Piasters(total) })
}

/// Adds a movement to the account's own history.
pub(crate) async fn history_add_in_tx(
    tx: &mut Tx,
    account: UserId,
    movement: Movement,
    amount: Piasters,
) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO fraud_history AS h (account, movement, times, amount) VALUES ($1, $2, 1, $3) \
         ON CONFLICT ON CONSTRAINT one_history_per_movement DO UPDATE SET \
           times = h.times + 1, amount = h.amount + excluded.amount",
    )
    .bind(account.0)
    .bind(movement.name())
    .bind(amount.0)
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// The account is on this phone; how many accounts were seen on it since `since`. Two accounts at
/// once on one phone wait for each other here.
pub(crate) async fn device_seen_in_tx(
    tx: &mut Tx,
    account: UserId,
    device: &[u8; 32],
    now: Millis,
    since: Millis,
) -> Result<u32, Fault> {
    sqlx::query("SELECT pg_advisory_xact_lock(hashtextextended('phone:' || $1::text, 0))")
        .bind(&device[..])
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    sqlx::query(
        "INSERT INTO fraud_devices (device, account, seen_at) VALUES ($1, $2, $3) \
         ON CONFLICT ON CONSTRAINT one_sight_per_device_and_account DO UPDATE SET \
           seen_at = excluded.seen_at",
    )
    .bind(&device[..])
    .bind(account.0)
    .bind(at(now))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    let accounts: i64 =
        sqlx::query_scalar("SELECT count(*) FROM fraud_devices WHERE device = $1 AND seen_at > $2")
            .bind(&device[..])
            .bind(at(since))
            .fetch_one(tx.conn())
            .await
            .map_err(fault)?;
    Ok(u32::try_from(accounts).unwrap_or(u32::MAX))
}

/// Of each rule the case that is in force, or the last one; of rules that this program doesn't know
/// what they mean for the account.
pub(crate) async fn cases_known_in_tx(tx: &mut Tx, account: UserId) -> Result<Vec<Known>, Fault> {
    let rows = sqlx::query(
        "SELECT DISTINCT ON (rule) rule, status, action, weight, decided_at FROM fraud_cases \
         WHERE account = $1 ORDER BY rule, status = 'cleared', opened_at DESC, id DESC",
    )
    .bind(account.0)
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    rows.iter().map(|row| known(row).map_err(fault)).collect()
}

pub(crate) async fn case_open_in_tx(
    tx: &mut Tx,
    account: UserId,
    signal: &Signal,
    now: Millis,
) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO fraud_cases (id, account, rule, action, weight, reasons, opened_at, seen_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7)",
    )
    .bind(Uuid::now_v7())
    .bind(account.0)
    .bind(signal.rule.name())
    .bind(signal.action.name())
    .bind(signal.weight)
    .bind(Json(&signal.reasons))
    .bind(at(now))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// There is more in the open case of this rule; its action never gets milder.
pub(crate) async fn case_grow_in_tx(
    tx: &mut Tx,
    account: UserId,
    signal: &Signal,
    action: Action,
    now: Millis,
) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE fraud_cases SET action = $3, weight = greatest(weight, $4), reasons = $5, \
           times = times + 1, seen_at = $6 \
         WHERE account = $1 AND rule = $2 AND status = 'open'",
    )
    .bind(account.0)
    .bind(signal.rule.name())
    .bind(action.name())
    .bind(signal.weight)
    .bind(Json(&signal.reasons))
    .bind(at(now))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// An open case was seen again, with these figures and no more weight.
pub(crate) async fn case_renew_in_tx(
    tx: &mut Tx,
    account: UserId,
    signal: &Signal,
    now: Millis,
) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE fraud_cases SET reasons = $3, seen_at = $4 \
         WHERE account = $1 AND rule = $2 AND status = 'open'",
    )
    .bind(account.0)
    .bind(signal.rule.name())
    .bind(Json(&signal.reasons))
    .bind(at(now))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

macro_rules! cases {
    ($rest:literal) => {
        concat!(
            "SELECT id, account, rule, action, status, reasons, times, opened_at, seen_at, ",
            "decided_by, decided_at, decision_reason FROM fraud_cases WHERE ",
            $rest
        )
    };
}

/// A page, newest first, of the cases for which `rest` holds.
macro_rules! page {
    ($rest:literal) => {
        concat!(
            cases!("(opened_at, id) < ($1, $2)"),
            $rest,
            " ORDER BY opened_at DESC, id DESC LIMIT $3"
        )
    };
}

// Cases of rules that this program doesn't know are a later one's to show and to decide.
const CASE: &str = cases!("id = $1 AND rule = ANY($2)");
// A statement for each filter, so that each has an index whatever it is asked for.
pub(crate) const ALL: &str = page!(" AND rule = ANY($4)");
pub(crate) const IN_STATUS: &str = page!(" AND rule = ANY($4) AND status = $5");
pub(crate) const OF_RULE: &str = page!(" AND rule = $4");
pub(crate) const OF_RULE_IN_STATUS: &str = page!(" AND rule = $4 AND status = $5");

pub(crate) async fn case_in_tx(tx: &mut Tx, id: Uuid) -> Result<Option<FraudCase>, Fault> {
    let row = sqlx::query(CASE)
        .bind(id)
        .bind(known_rules())
        .fetch_optional(tx.conn())
        .await
        .map_err(fault)?;
    row.map(|row| case(&row).map_err(fault)).transpose()
}

/// Newest first.
pub(crate) async fn cases_in_tx(
    tx: &mut Tx,
    filter: &CaseFilter,
    after: Option<Cursor>,
    limit: i64,
) -> Result<Vec<FraudCase>, Fault> {
    let (rule, status) = (filter.rule.map(Rule::name), filter.status.map(Status::name));
    let sql = match (rule, status) {
        (None, None) => ALL,
        (None, Some(_)) => IN_STATUS,
        (Some(_), None) => OF_RULE,
        (Some(_), Some(_)) => OF_RULE_IN_STATUS,
    };
    let (before, id) = storage::before(after);
    let query = sqlx::query(sql).bind(before).bind(id).bind(limit);
    let query = if rule.is_none() { query.bind(known_rules()) } else { query };
    let query = [rule, status].into_iter().flatten().fold(query, |query, word| query.bind(word));
    let rows = query.fetch_all(tx.conn()).await.map_err(fault)?;
    rows.iter().map(|row| case(row).map_err(fault)).collect()
}

/// A decision, as it is stored.
pub(crate) struct Ruling<'a> {
    pub id: Uuid,
    pub status: Status,
    pub action: Action,
    pub by: UserId,
    pub at: Millis,
    pub reason: &'a str,
}

pub(crate) async fn case_decide_in_tx(tx: &mut Tx, ruling: &Ruling<'_>) -> Result<(), Fault> {
    sqlx::query(
        "UPDATE fraud_cases SET status = $2, action = $3, decided_by = $4, decided_at = $5, \
           decision_reason = $6 WHERE id = $1",
    )
    .bind(ruling.id)
    .bind(ruling.status.name())
    .bind(ruling.action.name())
    .bind(ruling.by.0)
    .bind(at(ruling.at))
    .bind(ruling.reason)
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// Forgets counts and phones that no rule looks at any more.
pub(crate) async fn sweep_in_tx(
    tx: &mut Tx,
    counts_before: Millis,
    devices_before: Millis,
) -> Result<(), Fault> {
    sqlx::query("DELETE FROM fraud_counters WHERE bucket < $1")
        .bind(at(counts_before))
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    sqlx::query("DELETE FROM fraud_devices WHERE seen_at < $1")
        .bind(at(devices_before))
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(())
}

/// Of these trips those that were not looked at.
pub(crate) async fn new_tracks_in_tx(tx: &mut Tx, trips: &[TripId]) -> Result<Vec<TripId>, Fault> {
    let ids: Vec<Uuid> = trips.iter().map(|trip| trip.0).collect();
    let new: Vec<Uuid> = sqlx::query_scalar(
        "SELECT a.id FROM unnest($1::uuid[]) AS a (id) \
         WHERE NOT EXISTS (SELECT FROM fraud_tracks t WHERE t.trip_id = a.id)",
    )
    .bind(ids)
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    Ok(new.into_iter().map(TripId).collect())
}

/// A track is looked at once; one without marks is compared with nothing.
pub(crate) async fn track_keep_in_tx(
    tx: &mut Tx,
    drive: &Drive<'_>,
    prints: &[i64],
) -> Result<(), Fault> {
    sqlx::query(
        "WITH kept AS ( \
           INSERT INTO fraud_tracks (trip_id, driver_id, ended_at, compared) \
           VALUES ($1, $2, $3, $4) ON CONFLICT ON CONSTRAINT one_look_per_track DO NOTHING \
           RETURNING trip_id, ended_at) \
         INSERT INTO fraud_prints (print, trip_id, ended_at) \
         SELECT p.print, kept.trip_id, kept.ended_at \
         FROM kept, unnest($5::bigint[]) AS p (print)",
    )
    .bind(drive.trip.0)
    .bind(drive.driver.0)
    .bind(at(drive.ended))
    .bind(prints.is_empty())
    .bind(prints)
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// Of each track the earlier one that shares most with it, if that is much.
pub(crate) const COMPARE: &str = "\
    WITH due AS MATERIALIZED ( \
      SELECT trip_id, ended_at FROM fraud_tracks WHERE NOT compared \
      ORDER BY ended_at, trip_id LIMIT $2), \
    alike AS ( \
      SELECT d.trip_id, o.trip_id AS earlier, count(*)::smallint AS shared, \
        min(o.ended_at) AS ended_at \
      FROM due d JOIN fraud_prints p ON p.trip_id = d.trip_id \
      JOIN fraud_prints o ON o.print = p.print \
        AND (o.ended_at, o.trip_id) < (d.ended_at, d.trip_id) \
      GROUP BY d.trip_id, o.trip_id HAVING count(*) >= $1), \
    found AS ( \
      SELECT DISTINCT ON (trip_id) trip_id, earlier, shared FROM alike \
      ORDER BY trip_id, shared DESC, ended_at, earlier) \
    UPDATE fraud_tracks t \
    SET compared = true, replay_of = found.earlier, shared = found.shared \
    FROM due LEFT JOIN found USING (trip_id) WHERE t.trip_id = due.trip_id";

/// Compares the oldest that are due; how many were.
pub(crate) async fn tracks_compare_in_tx(tx: &mut Tx, least: i16, most: i64) -> Result<u64, Fault> {
    let done = sqlx::query(COMPARE).bind(least).bind(most).execute(tx.conn()).await;
    Ok(done.map_err(fault)?.rows_affected())
}

pub(crate) const REPLAYERS: &str = "\
    SELECT DISTINCT driver_id FROM fraud_tracks \
    WHERE replay_of IS NOT NULL AND driver_id > $1 AND ended_at > $2 \
    ORDER BY driver_id LIMIT $3";

/// Drivers after `after` who replayed in trips that ended after `since`, in order.
pub(crate) async fn replayers_in_tx(
    tx: &mut Tx,
    after: DriverId,
    since: Millis,
    most: i64,
) -> Result<Vec<DriverId>, Fault> {
    let query = sqlx::query_scalar(REPLAYERS).bind(after.0).bind(at(since)).bind(most);
    let ids: Vec<Uuid> = query.fetch_all(tx.conn()).await.map_err(fault)?;
    Ok(ids.into_iter().map(DriverId).collect())
}

/// What the driver replayed in trips that ended after `since`, oldest first.
pub(crate) async fn replays_in_tx(
    tx: &mut Tx,
    driver: DriverId,
    since: Millis,
) -> Result<Vec<Replay>, Fault> {
    let rows: Vec<(Uuid, Uuid, i16)> = sqlx::query_as(
        "SELECT trip_id, replay_of, shared FROM fraud_tracks \
         WHERE driver_id = $1 AND ended_at > $2 AND replay_of IS NOT NULL \
         ORDER BY ended_at, trip_id",
    )
    .bind(driver.0)
    .bind(at(since))
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    let replay = |(trip, of, shared): (Uuid, Uuid, i16)| {
        let shared = u32::try_from(shared).unwrap_or(0);
        Replay { trip: TripId(trip), of: TripId(of), shared }
    };
    Ok(rows.into_iter().map(replay).collect())
}

/// Forgets tracks that are not known again any more.
pub(crate) async fn sweep_tracks_in_tx(tx: &mut Tx, before: Millis) -> Result<(), Fault> {
    for sql in [
        "DELETE FROM fraud_prints WHERE ended_at < $1",
        "DELETE FROM fraud_tracks WHERE ended_at < $1",
    ] {
        sqlx::query(sql).bind(at(before)).execute(tx.conn()).await.map_err(fault)?;
    }
    Ok(())
}

/// Cases that wait for a decision, by what they mean.
pub(crate) async fn cases_open_in_tx(tx: &mut Tx) -> Result<Vec<(Action, i64)>, Fault> {
    let rows: Vec<(String, i64)> = sqlx::query_as(
        "SELECT action, count(*) FROM fraud_cases WHERE status = 'open' GROUP BY action",
    )
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    Ok(rows.into_iter().filter_map(|(name, n)| Some((Action::parse(&name)?, n))).collect())
}

fn known_rules() -> Vec<&'static str> {
    Rule::ALL.iter().map(|rule| rule.name()).collect()
}

fn small(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A text column that holds one of the words of a check constraint.
fn word<T>(row: &PgRow, column: &str, parse: fn(&str) -> Option<T>) -> Result<T, sqlx::Error> {
    let text: &str = row.try_get(column)?;
    let unknown = || sqlx::Error::Decode(format!("column {column} holds {text}").into());
    parse(text).ok_or_else(unknown)
}

fn moment(row: &PgRow, column: &str) -> Result<Millis, sqlx::Error> {
    row.try_get::<jiff_sqlx::Timestamp, _>(column).map(millis)
}

fn moment_if_any(row: &PgRow, column: &str) -> Result<Option<Millis>, sqlx::Error> {
    row.try_get::<Option<jiff_sqlx::Timestamp>, _>(column).map(|at| at.map(millis))
}

fn count(row: &PgRow) -> Result<Count, sqlx::Error> {
    Ok(Count {
        what: word(row, "what", What::parse)?,
        other: UserId(row.try_get("other")?),
        bucket: moment(row, "bucket")?,
        times: u32::try_from(row.try_get::<i32, _>("times")?).unwrap_or(0),
        amount: Piasters(row.try_get("amount")?),
    })
}

fn known(row: &PgRow) -> Result<Known, sqlx::Error> {
    Ok(Known {
        rule: Rule::parse(row.try_get("rule")?),
        status: word(row, "status", Status::parse)?,
        action: word(row, "action", Action::parse)?,
        weight: row.try_get("weight")?,
        decided_at: moment_if_any(row, "decided_at")?,
    })
}

fn case(row: &PgRow) -> Result<FraudCase, sqlx::Error> {
    Ok(FraudCase {
        id: row.try_get("id")?,
        user_id: UserId(row.try_get("account")?),
        rule: word(row, "rule", Rule::parse)?,
        action: word(row, "action", Action::parse)?,
        status: word(row, "status", Status::parse)?,
        reasons: row.try_get::<Json<Value>, _>("reasons")?.0,
        times: row.try_get("times")?,
        opened_at: moment(row, "opened_at")?,
        seen_at: moment(row, "seen_at")?,
        decided_by: row.try_get::<Option<Uuid>, _>("decided_by")?.map(UserId),
        decided_at: moment_if_any(row, "decided_at")?,
        decision_reason: row.try_get("decision_reason")?,
    })
}
