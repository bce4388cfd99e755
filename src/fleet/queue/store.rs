//! SQL of places in queues: written behind, read at the start.

use std::sync::Arc;
use std::time::Duration;

use base::{DriverId, Fault, Millis};
use jiff_sqlx::Timestamp;
use ops::Tasks;
use storage::{Behind, BehindLimits, Db, Who, at, fault, millis};
use uuid::Uuid;

use super::rules::Spot;

/// An order that is lost angers those who stood in it: written soon.
const LIMITS: BehindLimits =
    BehindLimits { capacity: 20_000, batch: 1000, every: Duration::from_millis(250) };

/// A driver's place, or that he has none any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SpotRow {
    pub(crate) driver: DriverId,
    pub(crate) spot: Option<Spot>,
}

const FREE: &str = "DELETE FROM airport_queue WHERE driver_id = ANY($1)";

// A fence that is gone, or a driver: nobody stands there.
const KEEP: &str = "\
INSERT INTO airport_queue AS q (driver_id, fence_id, since, refusals)
SELECT s.driver_id, s.fence_id, s.since, s.refusals
FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[], $4::smallint[])
  AS s (driver_id, fence_id, since, refusals)
JOIN drivers d ON d.id = s.driver_id
JOIN geofences g ON g.id = s.fence_id
ON CONFLICT (driver_id) DO UPDATE SET
  fence_id = excluded.fence_id, since = excluded.since, refusals = excluded.refusals";

const ALL: &str = "SELECT driver_id, fence_id, since, refusals FROM airport_queue ORDER BY since";

pub(crate) fn spots_behind(db: &Db, tasks: &Tasks) -> Behind<SpotRow> {
    let db = db.clone();
    let key = |row: &SpotRow| Some(row.driver.as_u128());
    Behind::start(tasks, "airport_queue", LIMITS, key, move |rows| write(db.clone(), rows))
}

pub(crate) async fn write(db: Db, rows: Arc<[SpotRow]>) -> Result<(), Fault> {
    // In order of the key, so that two nodes can't lock the same rows crosswise.
    let mut rows: Vec<SpotRow> = rows.to_vec();
    rows.sort_unstable_by_key(|row| row.driver);
    let free = rows.iter().filter(|row| row.spot.is_none()).map(|row| row.driver.0);
    let free: Vec<Uuid> = free.collect();
    let kept = || rows.iter().filter_map(|row| row.spot.map(|spot| (row.driver, spot)));
    let mut tx = db.begin(&Who::System).await?;
    if !free.is_empty() {
        sqlx::query(FREE).bind(free).execute(tx.conn()).await.map_err(fault)?;
    }
    if kept().next().is_some() {
        sqlx::query(KEEP)
            .bind(kept().map(|(driver, _)| driver.0).collect::<Vec<_>>())
            .bind(kept().map(|(_, spot)| spot.fence).collect::<Vec<_>>())
            .bind(kept().map(|(_, spot)| at(spot.since)).collect::<Vec<_>>())
            .bind(kept().map(|(_, spot)| i16::from(spot.refusals)).collect::<Vec<_>>())
            .execute(tx.conn())
            .await
            .map_err(fault)?;
    }
    tx.commit().await
}

/// Every place, the oldest first.
pub(crate) async fn all(db: &Db) -> Result<Vec<(DriverId, Spot)>, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let rows: Vec<(Uuid, Uuid, Timestamp, i16)> =
        sqlx::query_as(ALL).fetch_all(tx.conn()).await.map_err(fault)?;
    tx.commit().await?;
    let place = |(driver, fence, since, refusals)| {
        let since: Millis = millis(since);
        let refusals = u8::try_from(refusals).unwrap_or(u8::MAX);
        (DriverId(driver), Spot { fence, since, refusals })
    };
    Ok(rows.into_iter().map(place).collect())
}
