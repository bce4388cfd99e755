//! All SQL of analytics.

use std::sync::Arc;

use base::{BasisPoints, CityId, DriverId, Fault, Millis, Piasters, Point, RiderId, Tier};
use futures_util::TryStreamExt;
use jiff_sqlx::Timestamp;
use pricing::{Arm, Factor};
use sqlx::FromRow;
use storage::{Db, Tx, Who, at, fault, millis};
use uuid::Uuid;

use crate::counted::{Episode, ShownRow};
use crate::report::{Added, Asking, Ridden, SurgeLine};
use crate::results::{Counted, rounded};
use crate::stats::Sums;

/// A look at many rows takes one connection and one core.
const CALM: &str = "SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL jit = off; \
                    SET LOCAL work_mem = '32MB'";

const EXPOSED: &str = "\
INSERT INTO experiment_exposures (experiment_id, rider_id, day, variant)
SELECT e.experiment, e.rider, e.day::date, e.variant
FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::smallint[])
  AS e (experiment, rider, day, variant)
ON CONFLICT DO NOTHING";

const SHOWN: &str = "\
INSERT INTO price_shown (hour, city_id, level, run, shown)
SELECT s.hour, s.city, s.level, $5, s.shown
FROM unnest($1::timestamptz[], $2::smallint[], $3::smallint[], $4::bigint[])
  AS s (hour, city, level, shown)
ON CONFLICT (hour, city_id, level, run) DO UPDATE
  SET shown = greatest(price_shown.shown, excluded.shown)";

const EPISODES: &str = "\
INSERT INTO surge_episodes (started_at, city_id, cell, run, last_at, peak_bp)
SELECT e.started, e.city, e.cell, $6, e.last, e.peak
FROM unnest($1::timestamptz[], $2::smallint[], $3::bigint[], $4::timestamptz[], $5::integer[])
  AS e (started, city, cell, last, peak)
ON CONFLICT (started_at, city_id, cell, run) DO UPDATE
  SET last_at = greatest(surge_episodes.last_at, excluded.last_at),
      peak_bp = greatest(surge_episodes.peak_bp, excluded.peak_bp)";

// A rider is one row of `rider`, whether he was shown prices, booked without, or both; what he did
// is added up before riders are. Scheduled trips wait for their time, not for a driver.
pub(crate) const RESULTS: &str = "\
WITH rider AS (
  SELECT s.rider_id, s.variant, sum(s.days) AS days FROM (
    SELECT rider_id, variant, 1 AS days FROM experiment_exposures WHERE experiment_id = $1
    UNION ALL
    SELECT rider_id, variant, 0 FROM experiment_trips WHERE experiment_id = $1) s
  GROUP BY s.rider_id, s.variant
), did AS (
  SELECT b.rider_id, b.variant, count(*) AS requests,
    count(*) FILTER (WHERE t.status = 'completed') AS trips,
    count(*) FILTER (WHERE t.status NOT IN ('scheduled', 'requested')) AS decided,
    count(*) FILTER (WHERE t.status NOT IN ('scheduled', 'requested')
      AND t.accepted_at IS NOT NULL) AS found,
    coalesce(sum(t.final_price), 0)::float8 AS revenue,
    coalesce(sum(round(t.final_price * t.commission_bp / 10000.0)), 0)::float8 AS commission,
    count(w.wait) AS waits, coalesce(sum(w.wait), 0) AS wait,
    coalesce(sum(w.wait * w.wait), 0) AS waits2
  FROM experiment_trips b JOIN trips t ON t.id = b.trip_id
  CROSS JOIN LATERAL (SELECT CASE WHEN t.scheduled_at IS NULL
    THEN extract(epoch FROM t.arrived_at - t.requested_at)::float8 END AS wait) w
  WHERE b.experiment_id = $1 GROUP BY b.rider_id, b.variant
)
SELECT r.variant, count(*) AS riders, sum(r.days)::bigint AS rider_days,
  count(d.requests) AS booked, count(*) FILTER (WHERE d.trips > 0) AS completed,
  coalesce(sum(d.requests), 0)::bigint AS requests, coalesce(sum(d.trips), 0)::bigint AS trips,
  coalesce(sum(d.decided), 0)::bigint AS decided, coalesce(sum(d.found), 0)::bigint AS found,
  coalesce(sum(d.revenue), 0) AS revenue, coalesce(sum(d.revenue * d.revenue), 0) AS revenue2,
  coalesce(sum(d.commission), 0) AS commission,
  coalesce(sum(d.commission * d.commission), 0) AS commission2,
  coalesce(sum(d.waits), 0)::bigint AS waits, coalesce(sum(d.wait), 0) AS wait,
  coalesce(sum(d.waits2), 0) AS waits2
FROM rider r LEFT JOIN did d USING (rider_id, variant)
GROUP BY r.variant ORDER BY r.variant";

pub(crate) const RIDDEN: &str = "\
SELECT t.ended_at, t.city_id, t.tier, t.driver_id, t.pickup_lat, t.pickup_lng, t.final_price,
  t.commission_bp, coalesce(t.distance_m, t.quoted_distance_m) AS metres, t.surge > 1 AS surged
FROM trips t
WHERE t.ended_at >= $1 AND t.ended_at < $2 AND t.status = 'completed'
  AND ($3::smallint IS NULL OR t.city_id = $3)";

pub(crate) const SHOWN_BY_DAY: &str = "\
SELECT (hour AT TIME ZONE 'Africa/Cairo')::date::text, city_id, level, sum(shown)::bigint
FROM price_shown WHERE hour >= $1 AND hour < $2 AND ($3::smallint IS NULL OR city_id = $3)
GROUP BY 1, 2, 3";

// A real number of 1.3 is a little less than 1.3.
pub(crate) const REQUESTED_BY_DAY: &str = "\
SELECT (created_at AT TIME ZONE 'Africa/Cairo')::date::text, city_id,
  (CASE WHEN s <= 1 THEN 0 WHEN s < 1.3 THEN 1 WHEN s < 1.5 THEN 2 WHEN s < 2 THEN 3 ELSE 4 END)
    ::smallint,
  count(*)
FROM (SELECT created_at, city_id, round(surge::numeric, 2) AS s FROM trips
      WHERE created_at >= $1 AND created_at < $2 AND ($3::smallint IS NULL OR city_id = $3)) t
GROUP BY 1, 2, 3";

pub(crate) const SURGE_BY_DAY: &str = "\
SELECT (started_at AT TIME ZONE 'Africa/Cairo')::date::text, city_id, count(*),
  count(DISTINCT cell), avg(seconds), percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds),
  max(seconds), max(peak_bp)
FROM (SELECT *, extract(epoch FROM last_at - started_at)::float8 AS seconds FROM surge_episodes
      WHERE started_at >= $1 AND started_at < $2 AND ($3::smallint IS NULL OR city_id = $3)) e
GROUP BY 1, 2 ORDER BY 1, 2";

/// A rider saw prices of his variant on a day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Exposure {
    pub arm: Arm,
    pub rider: RiderId,
    /// In Cairo.
    pub day: String,
}

/// From when to when, and of which city.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window {
    pub from: Millis,
    pub until: Millis,
    pub city: Option<CityId>,
}

/// One that is there already stays.
pub(crate) async fn exposures_add(db: Db, rows: Arc<[Exposure]>) -> Result<(), Fault> {
    // In one order everywhere, so that two nodes can't hold the same ones crosswise.
    let mut rows: Vec<&Exposure> = rows.iter().collect();
    rows.sort_by_key(|row| (row.arm.experiment, row.rider));
    let experiments: Vec<Uuid> = rows.iter().map(|row| row.arm.experiment).collect();
    let riders: Vec<Uuid> = rows.iter().map(|row| row.rider.0).collect();
    let days: Vec<&str> = rows.iter().map(|row| row.day.as_str()).collect();
    let variants: Vec<i16> = rows.iter().map(|row| row.arm.variant.into()).collect();
    let mut tx = db.begin(&Who::System).await?;
    sqlx::query(EXPOSED)
        .bind(experiments)
        .bind(riders)
        .bind(days)
        .bind(variants)
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    tx.commit().await
}

/// Counts only grow: an older one that comes later changes nothing.
pub(crate) async fn shown_put(db: Db, run: Uuid, rows: Arc<[ShownRow]>) -> Result<(), Fault> {
    let hours: Vec<Timestamp> = rows.iter().map(|row| at(row.hour)).collect();
    let cities: Vec<i16> = rows.iter().map(|row| row.city.0).collect();
    let levels: Vec<i16> = rows.iter().map(|row| row.level.into()).collect();
    let shown: Vec<i64> = rows.iter().map(|row| row.shown).collect();
    let mut tx = db.begin(&Who::System).await?;
    sqlx::query(SHOWN)
        .bind(hours)
        .bind(cities)
        .bind(levels)
        .bind(shown)
        .bind(run)
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    tx.commit().await
}

pub(crate) async fn episodes_put(db: Db, run: Uuid, rows: Arc<[Episode]>) -> Result<(), Fault> {
    let started: Vec<Timestamp> = rows.iter().map(|row| at(row.started)).collect();
    let cities: Vec<i16> = rows.iter().map(|row| row.city.0).collect();
    // An H3 index has its highest bit clear.
    let cell = |row: &Episode| i64::try_from(row.cell.id()).unwrap_or(i64::MAX);
    let cells: Vec<i64> = rows.iter().map(cell).collect();
    let last: Vec<Timestamp> = rows.iter().map(|row| at(row.last)).collect();
    let peaks: Vec<i32> =
        rows.iter().map(|row| i32::try_from(row.peak.0).unwrap_or(i32::MAX)).collect();
    let mut tx = db.begin(&Who::System).await?;
    sqlx::query(EPISODES)
        .bind(started)
        .bind(cities)
        .bind(cells)
        .bind(last)
        .bind(peaks)
        .bind(run)
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    tx.commit().await
}

pub(crate) async fn calm_in_tx(tx: &mut Tx) -> Result<(), Fault> {
    sqlx::raw_sql(CALM).execute(tx.conn()).await.map_err(fault)?;
    Ok(())
}

#[derive(FromRow)]
struct CountedRow {
    variant: i16,
    riders: i64,
    rider_days: i64,
    booked: i64,
    completed: i64,
    requests: i64,
    trips: i64,
    decided: i64,
    found: i64,
    revenue: f64,
    revenue2: f64,
    commission: f64,
    commission2: f64,
    waits: i64,
    wait: f64,
    waits2: f64,
}

impl CountedRow {
    fn counted(&self) -> Counted {
        let count = i64::unsigned_abs;
        let riders = count(self.riders);
        Counted {
            riders,
            rider_days: count(self.rider_days),
            booked: count(self.booked),
            completed: count(self.completed),
            requests: count(self.requests),
            trips: count(self.trips),
            decided: count(self.decided),
            found: count(self.found),
            revenue: Sums { n: riders, sum: self.revenue, squares: self.revenue2 },
            commission: Sums { n: riders, sum: self.commission, squares: self.commission2 },
            wait: Sums { n: count(self.waits), sum: self.wait, squares: self.waits2 },
        }
    }
}

/// What was counted of each of an experiment's variants.
pub(crate) async fn results_in_tx(
    tx: &mut Tx,
    experiment: Uuid,
    variants: usize,
) -> Result<Vec<Counted>, Fault> {
    let rows: Vec<CountedRow> =
        sqlx::query_as(RESULTS).bind(experiment).fetch_all(tx.conn()).await.map_err(fault)?;
    let mut counted = vec![Counted::default(); variants];
    for row in &rows {
        let place = usize::try_from(row.variant).ok();
        if let Some(place) = place.and_then(|place| counted.get_mut(place)) {
            *place = row.counted();
        }
    }
    Ok(counted)
}

#[derive(FromRow)]
struct RiddenRow {
    ended_at: Timestamp,
    city_id: i16,
    tier: String,
    driver_id: Uuid,
    pickup_lat: f64,
    pickup_lng: f64,
    final_price: i64,
    commission_bp: i32,
    metres: i32,
    surged: bool,
}

impl RiddenRow {
    fn ridden(&self) -> Result<Ridden, Fault> {
        let tier = Tier::parse(&self.tier);
        let tier = tier.ok_or_else(|| Fault::internal(format!("trip of tier {}", self.tier)))?;
        let pickup = Point::new(self.pickup_lat, self.pickup_lng);
        Ok(Ridden {
            ended: millis(self.ended_at),
            city: CityId(self.city_id),
            tier,
            driver: DriverId(self.driver_id),
            pickup: pickup.map_err(|error| Fault::internal(error.to_string()))?,
            price: Piasters(self.final_price),
            commission: BasisPoints(self.commission_bp.into()),
            metres: self.metres.unsigned_abs().into(),
            surged: self.surged,
        })
    }
}

/// Adds up trips that ended in the window, as they come.
pub(crate) async fn ridden_in_tx(tx: &mut Tx, window: &Window) -> Result<Added, Fault> {
    let mut added = Added::default();
    let mut rows = sqlx::query_as::<_, RiddenRow>(RIDDEN)
        .bind(at(window.from))
        .bind(at(window.until))
        .bind(window.city.map(|city| city.0))
        .fetch(tx.conn());
    while let Some(row) = rows.try_next().await.map_err(fault)? {
        added.add(&row.ridden()?);
    }
    drop(rows);
    Ok(added)
}

type DayCount = (String, i16, i16, i64);

/// What was shown and what was asked for in the window.
pub(crate) async fn asking_in_tx(tx: &mut Tx, window: &Window) -> Result<Asking, Fault> {
    let mut asking = Asking::default();
    for (day, city, level, count) in days_in_tx(tx, SHOWN_BY_DAY, window).await? {
        let level = u8::try_from(level).unwrap_or(0);
        asking.shown(day, CityId(city), level, count.unsigned_abs());
    }
    for (day, city, level, count) in days_in_tx(tx, REQUESTED_BY_DAY, window).await? {
        let level = u8::try_from(level).unwrap_or(0);
        asking.requested(day, CityId(city), level, count.unsigned_abs());
    }
    Ok(asking)
}

async fn days_in_tx(
    tx: &mut Tx,
    statement: &'static str,
    window: &Window,
) -> Result<Vec<DayCount>, Fault> {
    sqlx::query_as(statement)
        .bind(at(window.from))
        .bind(at(window.until))
        .bind(window.city.map(|city| city.0))
        .fetch_all(tx.conn())
        .await
        .map_err(fault)
}

type SurgeRow = (String, i16, i64, i64, f64, f64, f64, i32);

pub(crate) async fn surge_in_tx(tx: &mut Tx, window: &Window) -> Result<Vec<SurgeLine>, Fault> {
    let rows: Vec<SurgeRow> = sqlx::query_as(SURGE_BY_DAY)
        .bind(at(window.from))
        .bind(at(window.until))
        .bind(window.city.map(|city| city.0))
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    let line = |(day, city, episodes, cells, mean, p95, longest, peak): SurgeRow| SurgeLine {
        day,
        city: CityId(city),
        episodes: episodes.unsigned_abs(),
        cells: cells.unsigned_abs(),
        mean_seconds: rounded(mean, 1),
        p95_seconds: rounded(p95, 1),
        longest_seconds: rounded(longest, 1),
        peak_multiplier: Factor(peak.unsigned_abs()).as_f32(),
    };
    Ok(rows.into_iter().map(line).collect())
}
