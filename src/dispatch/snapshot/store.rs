//! SQL of snapshots: written behind, read by the trip. They are kept a week, in daily partitions.

use base::{Fault, Millis, TripId};
use sqlx::Row as _;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use storage::{Db, Who};
use tracing::warn;
use uuid::Uuid;

use super::Snapshot;
use super::codec::{decode, encode};
use crate::board::Rules;

/// Most rounds of a trip that are read back, the newest.
const ROUNDS: i64 = 60;

/// A snapshot on its way into the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    at: Millis,
    /// Whose searches were decided; the first names the snapshot.
    trips: Vec<Uuid>,
    pub(crate) body: Vec<u8>,
}

impl Row {
    pub(crate) fn of(snapshot: &Snapshot) -> Self {
        let trips = snapshot.decided.iter().map(|decided| decided.trip.0).collect();
        Self { at: snapshot.now, trips, body: encode(snapshot) }
    }

    fn lead(&self) -> Uuid {
        self.trips.first().copied().unwrap_or_default()
    }
}

// A batch whose commit was not known is written again.
const INSERT: &str = "
INSERT INTO dispatch_snapshots (at, lead, body, rules)
SELECT s.at, s.lead, s.body, $4
FROM UNNEST($1::timestamptz[], $2::uuid[], $3::bytea[]) AS s (at, lead, body)
ON CONFLICT DO NOTHING";

const INSERT_ROUNDS: &str = "
INSERT INTO dispatch_rounds (trip_id, at, lead)
SELECT * FROM UNNEST($1::uuid[], $2::timestamptz[], $3::uuid[])
ON CONFLICT DO NOTHING";

pub(crate) async fn write(db: &Db, rules: &Rules, rows: &[Row]) -> Result<(), Fault> {
    let mut tx = db.begin(&Who::System).await?;
    sqlx::query(INSERT)
        .bind(rows.iter().map(|row| storage::at(row.at)).collect::<Vec<_>>())
        .bind(rows.iter().map(Row::lead).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| row.body.as_slice()).collect::<Vec<_>>())
        .bind(Json(rules))
        .execute(tx.conn())
        .await
        .map_err(storage::fault)?;
    let rounds = || rows.iter().flat_map(|row| row.trips.iter().map(move |trip| (*trip, row)));
    sqlx::query(INSERT_ROUNDS)
        .bind(rounds().map(|(trip, _)| trip).collect::<Vec<_>>())
        .bind(rounds().map(|(_, row)| storage::at(row.at)).collect::<Vec<_>>())
        .bind(rounds().map(|(_, row)| row.lead()).collect::<Vec<_>>())
        .execute(tx.conn())
        .await
        .map_err(storage::fault)?;
    tx.commit().await
}

/// A snapshot as it was kept.
pub(crate) struct Kept {
    pub(crate) snapshot: Snapshot,
    /// What the engine went by.
    pub(crate) rules: Rules,
}

// Nobody is searched for before he was asked for: partitions of days before it are left alone.
const OF_TRIP: &str = "
SELECT s.rules, s.body FROM dispatch_rounds r
JOIN dispatch_snapshots s ON s.at = r.at AND s.lead = r.lead
WHERE r.trip_id = $1 AND r.at >= (SELECT created_at FROM trips WHERE id = $1)
ORDER BY r.at DESC LIMIT $2";

/// The kept rounds of a trip, oldest first, and how many more this program can't read.
pub(crate) async fn of_trip(db: &Db, who: &Who, trip: TripId) -> Result<(Vec<Kept>, usize), Fault> {
    let mut tx = db.begin(who).await?;
    let rows = sqlx::query(OF_TRIP)
        .bind(trip.0)
        .bind(ROUNDS)
        .fetch_all(tx.conn())
        .await
        .map_err(storage::fault)?;
    tx.commit().await?;
    let kept: Vec<Kept> = rows.iter().rev().filter_map(kept).collect();
    let unreadable = rows.len() - kept.len();
    if unreadable > 0 {
        warn!(trip.id = %trip, unreadable, "snapshots that this program can't read are passed over");
    }
    Ok((kept, unreadable))
}

fn kept(row: &PgRow) -> Option<Kept> {
    let Json(rules) = row.try_get("rules").ok()?;
    let snapshot = decode(row.try_get("body").ok()?)?;
    Some(Kept { snapshot, rules })
}
