//! SQL of the fleet: facts and wishes, positions, tracks, the map.

use std::sync::Arc;

use base::{CityId, DriverId, Fault, Millis, Piasters, Point, Tier, TripId};
use geo::{Fence, FenceKind};
use ops::Tasks;
use sqlx::FromRow;
use sqlx::types::Json;
use storage::{Behind, BehindLimits, Db, Who, at, breaks, fault, millis};
use uuid::Uuid;

use crate::conduct::{ConductMark, HistoryRow, Misconduct};
use crate::meter::TrackPoint;
use crate::model::{
    CancelTerms, City, DriverFacts, DriverStatus, Fix, Papers, Record, VehicleFacts,
};
use crate::papers::REQUIRED_DOCUMENTS;

/// The newest position of a driver.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LatestRow {
    pub(crate) driver: DriverId,
    pub(crate) fix: Fix,
}

/// What a driver's offers and trips add up to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordRow {
    pub(crate) driver: DriverId,
    pub(crate) record: Record,
}

/// A driver's wish, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// In this city.
    Online(CityId),
    Offline,
}

const FACTS: &str = "
SELECT d.id, d.city_id, d.status, d.wants_online, d.fraud_flag, d.offers_made, d.offers_accepted,
       d.trips_taken, d.trips_completed, u.name, u.rating_sum, u.rating_count,
       v.tier, v.make, v.model, v.plate, v.color, c.driver_debt_limit,
       coalesce(b.balance, 0) AS balance,
       p.kind AS paper, p.expires_at AS paper_until,
       m.reasons, m.penalties, m.since, m.until
FROM drivers d
JOIN users u ON u.id = d.id
JOIN cities c ON c.id = d.city_id
LEFT JOIN vehicles v ON v.driver_id = d.id
LEFT JOIN ledger_balance b ON b.owner = d.id
     AND b.account = (SELECT id FROM ledger_account_kind WHERE name = 'driver')
CROSS JOIN LATERAL (
  SELECT r.kind, f.expires_at
  FROM unnest($1::text[]) AS r (kind)
  LEFT JOIN driver_documents f ON f.driver_id = d.id AND f.kind = r.kind
  ORDER BY f.expires_at NULLS FIRST LIMIT 1
) p
CROSS JOIN LATERAL (
  SELECT coalesce(array_agg(reason), '{}') AS reasons,
         coalesce(array_agg(penalty), '{}') AS penalties,
         coalesce(array_agg(since), '{}') AS since, coalesce(array_agg(until), '{}') AS until
  FROM driver_conduct WHERE driver_id = d.id
) m
WHERE d.id = ANY($2)";

#[derive(FromRow)]
struct FactsRow {
    id: Uuid,
    city_id: i16,
    status: String,
    wants_online: bool,
    fraud_flag: bool,
    offers_made: i32,
    offers_accepted: i32,
    trips_taken: i32,
    trips_completed: i32,
    name: String,
    rating_sum: i32,
    rating_count: i32,
    tier: Option<String>,
    make: Option<String>,
    model: Option<String>,
    plate: Option<String>,
    color: Option<String>,
    driver_debt_limit: i64,
    balance: i64,
    paper: String,
    paper_until: Option<jiff_sqlx::Timestamp>,
    reasons: Vec<String>,
    penalties: Vec<i16>,
    since: Vec<jiff_sqlx::Timestamp>,
    until: Vec<jiff_sqlx::Timestamp>,
}

impl FactsRow {
    /// A reason that this program does not know is another's business.
    fn conduct(&self) -> Vec<ConductMark> {
        let times = self.since.iter().zip(&self.until);
        let marks = self.reasons.iter().zip(&self.penalties).zip(times);
        let mark = |((reason, penalty), times): ((&String, &i16), (&_, &_))| {
            let (since, until) = (millis(*times.0), millis(*times.1));
            let penalty = u8::try_from(*penalty).ok()?;
            Some(ConductMark { reason: Misconduct::parse(reason)?, penalty, since, until })
        };
        marks.filter_map(mark).collect()
    }

    fn facts(self) -> Result<(DriverId, DriverFacts), Fault> {
        let count = |number: i32| number.unsigned_abs();
        let conduct = self.conduct();
        let rating = match self.rating_count {
            0 => 5.0,
            times => self.rating_sum as f32 / times as f32,
        };
        let facts = DriverFacts {
            name: self.name,
            status: status_of(&self.status)?,
            papers: Papers {
                kind: self.paper,
                until: self.paper_until.map_or(Millis(i64::MIN), millis),
            },
            city: CityId(self.city_id),
            tier: self.tier.as_deref().map_or(Ok(Tier::Economy), tier_of)?,
            vehicle: VehicleFacts {
                make: self.make.unwrap_or_default(),
                model: self.model.unwrap_or_default(),
                plate: self.plate.unwrap_or_default(),
                color: self.color.unwrap_or_default(),
            },
            rating,
            record: Record {
                offers_made: count(self.offers_made),
                offers_accepted: count(self.offers_accepted),
                trips_taken: count(self.trips_taken),
                trips_completed: count(self.trips_completed),
            },
            fraud: self.fraud_flag,
            conduct,
            wants_online: self.wants_online,
            balance: Piasters(self.balance),
            debt_limit: Piasters(self.driver_debt_limit),
        };
        Ok((DriverId(self.id), facts))
    }
}

pub(crate) fn status_of(text: &str) -> Result<DriverStatus, Fault> {
    DriverStatus::parse(text).ok_or_else(|| Fault::internal(format!("driver status {text}")))
}

pub(crate) fn tier_of(text: &str) -> Result<Tier, Fault> {
    Tier::parse(text).ok_or_else(|| Fault::internal(format!("vehicle tier {text}")))
}

pub(crate) fn place(lat: f64, lng: f64) -> Result<Point, Fault> {
    Point::new(lat, lng).map_err(|error| Fault::internal(format!("{lat}, {lng}: {error}")))
}

/// What is known of those of the drivers who have a profile.
pub(crate) async fn facts(
    db: &Db,
    drivers: &[DriverId],
) -> Result<Vec<(DriverId, DriverFacts)>, Fault> {
    let ids: Vec<Uuid> = drivers.iter().map(|driver| driver.0).collect();
    let mut tx = db.begin(&Who::System).await?;
    let rows: Vec<FactsRow> = sqlx::query_as(FACTS)
        .bind(&REQUIRED_DOCUMENTS[..])
        .bind(ids)
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    tx.commit().await?;
    rows.into_iter().map(FactsRow::facts).collect()
}

/// The drivers who want to be online.
pub(crate) async fn wishing(db: &Db) -> Result<Vec<(DriverId, DriverFacts)>, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let ids: Vec<Uuid> = sqlx::query_scalar("SELECT id FROM drivers WHERE wants_online")
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    tx.commit().await?;
    let drivers: Vec<DriverId> = ids.into_iter().map(DriverId).collect();
    let mut found = Vec::with_capacity(drivers.len());
    for some in drivers.chunks(5000) {
        found.extend(facts(db, some).await?);
    }
    Ok(found)
}

pub(crate) async fn wish(db: &Db, driver: DriverId, wish: Wish) -> Result<(), Fault> {
    let (online, city) = match wish {
        Wish::Online(city) => (true, Some(city.0)),
        Wish::Offline => (false, None),
    };
    let mut tx = db.begin(&Who::System).await?;
    sqlx::query(
        "UPDATE drivers SET wants_online = $2, city_id = coalesce($3, city_id) WHERE id = $1",
    )
    .bind(driver.0)
    .bind(online)
    .bind(city)
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await
}

/// Starts a writer of `write`'s rows under a name; `key` says which rows replace each other.
fn behind<T, W>(
    db: &Db,
    tasks: &Tasks,
    (name, limits): (&'static str, BehindLimits),
    key: fn(&T) -> Option<u128>,
    write: fn(Db, Arc<[T]>) -> W,
) -> Behind<T>
where
    T: Send + Sync + 'static,
    W: Future<Output = Result<(), Fault>> + Send + 'static,
{
    let db = db.clone();
    Behind::start(tasks, name, limits, key, move |rows| write(db.clone(), rows))
}

/// Newest positions, one row per driver: an older one never replaces a newer one.
pub(crate) fn latest_behind(db: &Db, tasks: &Tasks, limits: BehindLimits) -> Behind<LatestRow> {
    behind(db, tasks, ("driver_latest", limits), |row| Some(row.driver.as_u128()), write_latest)
}

async fn write_latest(db: Db, rows: Arc<[LatestRow]>) -> Result<(), Fault> {
    // In order of the key, so that two nodes can't lock the same rows crosswise.
    let mut rows: Vec<&LatestRow> = rows.iter().collect();
    rows.sort_unstable_by_key(|row| row.driver);
    let fixes = Fixes::of(rows.iter().map(|row| &row.fix));
    let drivers: Vec<Uuid> = rows.iter().map(|row| row.driver.0).collect();
    let mut tx = db.begin(&Who::System).await?;
    sqlx::query(
        "INSERT INTO driver_latest AS l
           (driver_id, lat, lng, heading, speed_kmh, accuracy_m, recorded_at)
         SELECT * FROM unnest($1::uuid[], $2::float8[], $3::float8[], $4::float4[], $5::float4[],
                              $6::float4[], $7::timestamptz[])
         ON CONFLICT (driver_id) DO UPDATE SET
           lat = excluded.lat, lng = excluded.lng, heading = excluded.heading,
           speed_kmh = excluded.speed_kmh, accuracy_m = excluded.accuracy_m,
           recorded_at = excluded.recorded_at
         WHERE l.recorded_at <= excluded.recorded_at",
    )
    .bind(drivers)
    .bind(fixes.lat)
    .bind(fixes.lng)
    .bind(fixes.heading)
    .bind(fixes.speed)
    .bind(fixes.accuracy)
    .bind(fixes.recorded)
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await
}

/// Tracks of all drivers, every row kept.
pub(crate) fn history_behind(db: &Db, tasks: &Tasks, limits: BehindLimits) -> Behind<HistoryRow> {
    behind(db, tasks, ("driver_history", limits), |_| None, write_history)
}

async fn write_history(db: Db, rows: Arc<[HistoryRow]>) -> Result<(), Fault> {
    let fixes = Fixes::of(rows.iter().map(|row| &row.fix));
    let drivers: Vec<Uuid> = rows.iter().map(|row| row.driver.0).collect();
    let trips: Vec<Option<Uuid>> = rows.iter().map(|row| row.trip.map(|trip| trip.0)).collect();
    let suspect: Vec<bool> = rows.iter().map(|row| row.suspect).collect();
    let mut tx = db.begin(&Who::System).await?;
    sqlx::query(
        "INSERT INTO driver_history (driver_id, lat, lng, heading, speed_kmh, accuracy_m,
                                     recorded_at, trip_id, suspect)
         SELECT * FROM unnest($1::uuid[], $2::float8[], $3::float8[], $4::float4[], $5::float4[],
                              $6::float4[], $7::timestamptz[], $8::uuid[], $9::boolean[])",
    )
    .bind(drivers)
    .bind(fixes.lat)
    .bind(fixes.lng)
    .bind(fixes.heading)
    .bind(fixes.speed)
    .bind(fixes.accuracy)
    .bind(fixes.recorded)
    .bind(trips)
    .bind(suspect)
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await
}

/// Positions column by column, as UNNEST takes them.
struct Fixes {
    lat: Vec<f64>,
    lng: Vec<f64>,
    heading: Vec<Option<f32>>,
    speed: Vec<Option<f32>>,
    accuracy: Vec<Option<f32>>,
    recorded: Vec<jiff_sqlx::Timestamp>,
}

impl Fixes {
    fn of<'a>(fixes: impl Iterator<Item = &'a Fix> + Clone) -> Self {
        Self {
            lat: fixes.clone().map(|fix| fix.at.lat()).collect(),
            lng: fixes.clone().map(|fix| fix.at.lng()).collect(),
            heading: fixes.clone().map(|fix| fix.heading).collect(),
            speed: fixes.clone().map(|fix| fix.speed_kmh).collect(),
            accuracy: fixes.clone().map(|fix| fix.accuracy_m).collect(),
            recorded: fixes.map(|fix| at(fix.timestamp)).collect(),
        }
    }
}

/// Offers and trips of drivers, the newest sums.
pub(crate) fn records_behind(db: &Db, tasks: &Tasks, limits: BehindLimits) -> Behind<RecordRow> {
    behind(db, tasks, ("driver_records", limits), |row| Some(row.driver.as_u128()), write_records)
}

async fn write_records(db: Db, rows: Arc<[RecordRow]>) -> Result<(), Fault> {
    let mut rows: Vec<&RecordRow> = rows.iter().collect();
    rows.sort_unstable_by_key(|row| row.driver);
    let drivers: Vec<Uuid> = rows.iter().map(|row| row.driver.0).collect();
    let column = |pick: fn(&Record) -> u32| -> Vec<i32> {
        rows.iter().map(|row| i32::try_from(pick(&row.record)).unwrap_or(i32::MAX)).collect()
    };
    let mut tx = db.begin(&Who::System).await?;
    sqlx::query(
        "UPDATE drivers d SET offers_made = n.made, offers_accepted = n.accepted,
                trips_taken = n.taken, trips_completed = n.completed
         FROM unnest($1::uuid[], $2::int[], $3::int[], $4::int[], $5::int[])
              AS n (id, made, accepted, taken, completed)
         WHERE d.id = n.id",
    )
    .bind(drivers)
    .bind(column(|record| record.offers_made))
    .bind(column(|record| record.offers_accepted))
    .bind(column(|record| record.trips_taken))
    .bind(column(|record| record.trips_completed))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await
}

/// Latitude, longitude, milliseconds since 1970.
type StoredPoint = (f64, f64, i64);

/// Stores a trip's track; a later one of the same trip replaces it.
pub(crate) async fn keep_track(
    db: &Db,
    trip: TripId,
    points: &[TrackPoint],
    distance_m: u32,
    now: Millis,
) -> Result<(), Fault> {
    let points: Vec<StoredPoint> =
        points.iter().map(|p| (p.at.lat(), p.at.lng(), p.time.0)).collect();
    let mut tx = db.begin(&Who::System).await?;
    let stored = sqlx::query(
        "INSERT INTO trip_tracks (trip_id, points, distance_m, stored_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (trip_id) DO UPDATE SET
           points = excluded.points, distance_m = excluded.distance_m,
           stored_at = excluded.stored_at",
    )
    .bind(trip.0)
    .bind(Json(points))
    .bind(i32::try_from(distance_m).unwrap_or(i32::MAX))
    .bind(at(now))
    .execute(tx.conn())
    .await;
    match stored {
        Ok(_) => tx.commit().await,
        // There is no such trip (any more): nobody will ask for its track.
        Err(error) if breaks(&error, "trip_tracks_trip_id_fkey") => Ok(()),
        Err(error) => Err(fault(error)),
    }
}

/// The stored track of a trip and its distance in metres.
pub(crate) async fn track(db: &Db, trip: TripId) -> Result<Option<(Vec<TrackPoint>, u32)>, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let found: Option<(Json<Vec<StoredPoint>>, i32)> =
        sqlx::query_as("SELECT points, distance_m FROM trip_tracks WHERE trip_id = $1")
            .bind(trip.0)
            .fetch_optional(tx.conn())
            .await
            .map_err(fault)?;
    tx.commit().await?;
    let Some((Json(points), distance_m)) = found else { return Ok(None) };
    let points = points
        .into_iter()
        .map(|(lat, lng, time)| Ok(TrackPoint { at: place(lat, lng)?, time: Millis(time) }))
        .collect::<Result<_, Fault>>()?;
    Ok(Some((points, distance_m.unsigned_abs())))
}

#[derive(FromRow)]
struct TripPointRow {
    lat: f64,
    lng: f64,
    accuracy_m: Option<f32>,
    recorded_at: jiff_sqlx::Timestamp,
}

/// What history holds of a trip since `since`, in order, without what was suspect; with the
/// accuracy in metres.
pub(crate) async fn trip_history(
    db: &Db,
    driver: DriverId,
    trip: TripId,
    since: Millis,
) -> Result<Vec<(TrackPoint, Option<f32>)>, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let rows: Vec<TripPointRow> = sqlx::query_as(
        "SELECT lat, lng, accuracy_m, recorded_at FROM driver_history
         WHERE driver_id = $1 AND recorded_at >= $3 AND trip_id = $2 AND NOT suspect
         ORDER BY recorded_at",
    )
    .bind(driver.0)
    .bind(trip.0)
    .bind(at(since))
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await?;
    rows.into_iter()
        .map(|row| {
            let time = millis(row.recorded_at);
            Ok((TrackPoint { at: place(row.lat, row.lng)?, time }, row.accuracy_m))
        })
        .collect()
}

#[derive(FromRow)]
struct CityRow {
    id: i16,
    name: String,
    time_zone: String,
    center_lat: f64,
    center_lng: f64,
    radius_m: i32,
    search_radius_m: i32,
    cooldown_s: i32,
    start_pin: bool,
    no_show_wait_s: i32,
    free_cancel_s: i32,
    cancel_fee: i64,
    no_show_fee: Option<i64>,
    rider_due_limit: i64,
    booking_due_limit: i64,
    driver_debt_limit: i64,
    cash_step: i64,
}

/// Of one tier of a city; what is absent is the city's.
#[derive(FromRow)]
struct CancelRow {
    city_id: i16,
    tier: String,
    free_cancel_s: Option<i32>,
    cancel_fee: Option<i64>,
    no_show_wait_s: Option<i32>,
    no_show_fee: Option<i64>,
}

#[derive(FromRow)]
struct FenceRow {
    id: Uuid,
    city_id: i16,
    kind: String,
    name: String,
    corners: Json<Vec<(f64, f64)>>,
}

/// All cities and fences.
pub(crate) async fn map(db: &Db) -> Result<(Vec<City>, Vec<Fence>), Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let cities: Vec<CityRow> =
        sqlx::query_as("SELECT * FROM cities").fetch_all(tx.conn()).await.map_err(fault)?;
    let rules: Vec<CancelRow> =
        sqlx::query_as("SELECT * FROM cancel_rules").fetch_all(tx.conn()).await.map_err(fault)?;
    let fences: Vec<FenceRow> = sqlx::query_as(
        "SELECT id, city_id, kind, name, corners FROM geofences WHERE disabled_at IS NULL",
    )
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await?;
    let cities = cities.into_iter().map(|city| city.city(&rules)).collect::<Result<_, Fault>>()?;
    let fences = fences.into_iter().map(FenceRow::fence).collect::<Result<_, Fault>>()?;
    Ok((cities, fences))
}

fn positive(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

impl CancelRow {
    fn terms(&self, city: CancelTerms) -> CancelTerms {
        CancelTerms {
            free_s: self.free_cancel_s.map_or(city.free_s, positive),
            fee: self.cancel_fee.map_or(city.fee, Piasters),
            no_show_wait_s: self.no_show_wait_s.map_or(city.no_show_wait_s, positive),
            no_show_fee: self.no_show_fee.map_or(city.no_show_fee, Piasters),
        }
    }
}

impl CityRow {
    fn city(self, rules: &[CancelRow]) -> Result<City, Fault> {
        let cancel = CancelTerms {
            free_s: positive(self.free_cancel_s),
            fee: Piasters(self.cancel_fee),
            no_show_wait_s: positive(self.no_show_wait_s),
            no_show_fee: Piasters(self.no_show_fee.unwrap_or(self.cancel_fee)),
        };
        let own = rules.iter().filter(|rule| rule.city_id == self.id);
        let by_tier = own.filter_map(|rule| Some((Tier::parse(&rule.tier)?, rule.terms(cancel))));
        Ok(City {
            id: CityId(self.id),
            center: place(self.center_lat, self.center_lng)?,
            name: self.name,
            time_zone: self.time_zone,
            radius_m: positive(self.radius_m),
            search_radius_m: positive(self.search_radius_m),
            cooldown_s: positive(self.cooldown_s),
            start_pin: self.start_pin,
            cancel,
            cancel_by_tier: by_tier.collect(),
            rider_due_limit: Piasters(self.rider_due_limit),
            booking_due_limit: Piasters(self.booking_due_limit),
            driver_debt_limit: Piasters(self.driver_debt_limit),
            cash_step: Piasters(self.cash_step),
        })
    }
}

impl FenceRow {
    fn fence(self) -> Result<Fence, Fault> {
        let kind = FenceKind::parse(&self.kind)
            .ok_or_else(|| Fault::internal(format!("fence kind {}", self.kind)))?;
        let corners = self.corners.0.into_iter().map(|(lat, lng)| place(lat, lng));
        Ok(Fence {
            id: self.id,
            city: CityId(self.city_id),
            kind,
            name: self.name,
            corners: corners.collect::<Result<_, Fault>>()?,
        })
    }
}
