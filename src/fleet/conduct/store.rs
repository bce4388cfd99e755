//! SQL of conduct: marks against drivers, and the positions that such marks are made from.

use base::{DriverId, Fault, Millis, Point, TripId};
use sqlx::FromRow;
use storage::{Db, Tx, Who, at, fault, millis};
use uuid::Uuid;

use super::{ConductMark, Misconduct};
use crate::model::Fix;

/// Most positions that are read of one driver, a second each: an hour of them and a little.
const MOST_SPOTS: i64 = 4_000;

/// A point of a driver's track, as it is kept.
#[derive(Clone, Copy, Debug)]
pub struct HistoryRow {
    pub driver: DriverId,
    pub fix: Fix,
    pub trip: Option<TripId>,
    /// No car could have driven there.
    pub suspect: bool,
}

/// Marks a driver, or renews a mark; nothing happens to who has no profile. Follow it by
/// [`crate::Fleet::reload_conduct`] once it is committed.
pub async fn conduct_mark_in_tx(
    tx: &mut Tx,
    driver: DriverId,
    mark: &ConductMark,
) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO driver_conduct (driver_id, reason, penalty, since, until)
         SELECT id, $2, $3, $4, $5 FROM drivers WHERE id = $1
         ON CONFLICT ON CONSTRAINT one_mark_per_driver_and_reason DO UPDATE SET
           penalty = excluded.penalty, since = excluded.since, until = excluded.until",
    )
    .bind(driver.0)
    .bind(mark.reason.name())
    .bind(i16::from(mark.penalty))
    .bind(at(mark.since))
    .bind(at(mark.until))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// Takes a mark away. Follow it by [`crate::Fleet::reload_conduct`] once it is committed.
pub async fn conduct_forget_in_tx(
    tx: &mut Tx,
    driver: DriverId,
    reason: Misconduct,
) -> Result<(), Fault> {
    sqlx::query("DELETE FROM driver_conduct WHERE driver_id = $1 AND reason = $2")
        .bind(driver.0)
        .bind(reason.name())
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(())
}

/// Drivers after `after` of whom there is a position since then, in order, a page of them. Goes
/// through the newest positions, of which a driver has one.
pub async fn heard_since_in_tx(
    tx: &mut Tx,
    after: DriverId,
    since: Millis,
    limit: i64,
) -> Result<Vec<DriverId>, Fault> {
    let ids: Vec<Uuid> = sqlx::query_scalar(
        "SELECT driver_id FROM driver_latest WHERE driver_id > $1 AND recorded_at >= $2
         ORDER BY driver_id LIMIT $3",
    )
    .bind(after.0)
    .bind(at(since))
    .bind(limit)
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    Ok(ids.into_iter().map(DriverId).collect())
}

pub(crate) const MARKS: &str = "
SELECT reason, penalty, since, until FROM driver_conduct WHERE driver_id = $1";

/// A driver's marks; a reason that this program does not know is another's business.
pub(crate) async fn marks(db: &Db, driver: DriverId) -> Result<Vec<ConductMark>, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let rows: Vec<MarkRow> =
        sqlx::query_as(MARKS).bind(driver.0).fetch_all(tx.conn()).await.map_err(fault)?;
    tx.commit().await?;
    let mark = |(reason, penalty, since, until): MarkRow| {
        let (reason, penalty) = (Misconduct::parse(&reason)?, u8::try_from(penalty).ok()?);
        Some(ConductMark { reason, penalty, since: millis(since), until: millis(until) })
    };
    Ok(rows.into_iter().filter_map(mark).collect())
}

type MarkRow = (String, i16, jiff_sqlx::Timestamp, jiff_sqlx::Timestamp);

// One of each second, so that a flood of them hides nothing that comes after it; and the one that
// no car could have driven to, so that it isn't hidden behind another of its second.
pub(crate) const HISTORY: &str = "
SELECT a.id AS driver_id, h.lat, h.lng, h.heading, h.speed_kmh, h.accuracy_m, h.recorded_at,
       h.trip_id, h.suspect
FROM unnest($1::uuid[]) AS a (id)
CROSS JOIN LATERAL (
  SELECT DISTINCT ON (date_trunc('second', d.recorded_at)) * FROM driver_history d
  WHERE d.driver_id = a.id AND d.recorded_at >= $2 AND d.recorded_at <= $3
  ORDER BY date_trunc('second', d.recorded_at), d.suspect DESC, d.recorded_at LIMIT $4
) h";

#[derive(FromRow)]
struct Row {
    driver_id: Uuid,
    lat: f64,
    lng: f64,
    heading: Option<f32>,
    speed_kmh: Option<f32>,
    accuracy_m: Option<f32>,
    recorded_at: jiff_sqlx::Timestamp,
    trip_id: Option<Uuid>,
    suspect: bool,
}

impl Row {
    fn row(self) -> Option<HistoryRow> {
        let fix = Fix {
            at: Point::new(self.lat, self.lng).ok()?,
            heading: self.heading,
            speed_kmh: self.speed_kmh,
            accuracy_m: self.accuracy_m,
            timestamp: millis(self.recorded_at),
        };
        let (driver, trip) = (DriverId(self.driver_id), self.trip_id.map(TripId));
        Some(HistoryRow { driver, fix, trip, suspect: self.suspect })
    }
}

/// What history holds of these drivers from `from` to `to`, a position a second: driver by driver,
/// each in order of time. Only the days in between are touched.
pub async fn history_in_tx(
    tx: &mut Tx,
    drivers: &[DriverId],
    from: Millis,
    to: Millis,
) -> Result<Vec<HistoryRow>, Fault> {
    let ids: Vec<Uuid> = drivers.iter().map(|driver| driver.0).collect();
    let rows: Vec<Row> = sqlx::query_as(HISTORY)
        .bind(ids)
        .bind(at(from))
        .bind(at(to))
        .bind(MOST_SPOTS)
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    Ok(rows.into_iter().filter_map(Row::row).collect())
}
