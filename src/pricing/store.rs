//! Reads the tariffs, windows, events and surge areas that are or will be valid.

use base::{BasisPoints, CityId, Fault, Millis, Piasters, Point, Tier};
use geo::Outline;
use sqlx::types::Json;
use storage::{Db, Who};

use crate::calendar::{Area, Event, SurgeArea, Window};
use crate::desk::Book;
use crate::experiments;
use crate::tariff::{Factor, Tariff};

const TARIFFS: &str = "\
SELECT city_id, tier, base_fare, per_km, per_minute, minimum_fare, booking_fee, commission_bp,
       lower(valid) AS valid_from, upper(valid) AS valid_until
FROM tariffs WHERE NOT isempty(valid) AND (upper_inf(valid) OR upper(valid) > $1)";

const WINDOWS: &str = "\
SELECT city_id, day_of_week, start_hour, end_hour, multiplier_bp, description
FROM time_multipliers";

const EVENTS: &str = "\
SELECT city_id, center_lat, center_lng, radius_m, corners, starts_at, ends_at, multiplier_bp, name
FROM event_multipliers WHERE ends_at > $1";

const SURGE_AREAS: &str = "\
SELECT corners, multiplier_bp, name FROM geofences
WHERE kind = 'surge' AND multiplier_bp IS NOT NULL AND disabled_at IS NULL";

#[derive(sqlx::FromRow)]
struct TariffRow {
    city_id: i16,
    tier: String,
    base_fare: i64,
    per_km: i64,
    per_minute: i64,
    minimum_fare: i64,
    booking_fee: i64,
    commission_bp: i32,
    valid_from: Option<jiff_sqlx::Timestamp>,
    valid_until: Option<jiff_sqlx::Timestamp>,
}

type WindowRow = (i16, Option<i16>, i16, i16, i32, String);

/// Corners as `[[lat, lng], …]`.
pub(crate) type Corners = Json<Vec<(f64, f64)>>;

#[derive(sqlx::FromRow)]
struct EventRow {
    city_id: i16,
    center_lat: f64,
    center_lng: f64,
    radius_m: i32,
    corners: Option<Corners>,
    starts_at: jiff_sqlx::Timestamp,
    ends_at: jiff_sqlx::Timestamp,
    multiplier_bp: i32,
    name: String,
}

/// Everything that prices at `now` or later may need.
pub(crate) async fn load(db: &Db, now: Millis) -> Result<Book, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let tariffs: Vec<TariffRow> = sqlx::query_as(TARIFFS)
        .bind(storage::at(now))
        .fetch_all(tx.conn())
        .await
        .map_err(storage::fault)?;
    let windows: Vec<WindowRow> =
        sqlx::query_as(WINDOWS).fetch_all(tx.conn()).await.map_err(storage::fault)?;
    let events: Vec<EventRow> = sqlx::query_as(EVENTS)
        .bind(storage::at(now))
        .fetch_all(tx.conn())
        .await
        .map_err(storage::fault)?;
    let areas: Vec<(Corners, i32, String)> =
        sqlx::query_as(SURGE_AREAS).fetch_all(tx.conn()).await.map_err(storage::fault)?;
    let experiments = experiments::load_in_tx(&mut tx, now).await?;
    Ok(Book {
        tariffs: tariffs.into_iter().map(tariff).collect::<Result<_, _>>()?,
        windows: windows.into_iter().map(window).collect::<Result<_, _>>()?,
        events: events.into_iter().map(event).collect::<Result<_, _>>()?,
        experiments,
        surge_areas: areas.into_iter().map(surge_area).collect::<Result<_, _>>()?,
    })
}

fn tariff(row: TariffRow) -> Result<Tariff, Fault> {
    let tier = Tier::parse(&row.tier)
        .ok_or_else(|| Fault::internal(format!("tariff of unknown tier {}", row.tier)))?;
    Ok(Tariff {
        city: CityId(row.city_id),
        tier,
        base_fare: Piasters(row.base_fare),
        per_km: Piasters(row.per_km),
        per_minute: Piasters(row.per_minute),
        minimum_fare: Piasters(row.minimum_fare),
        booking_fee: Piasters(row.booking_fee),
        commission: BasisPoints(row.commission_bp.into()),
        from: row.valid_from.map_or(Millis(i64::MIN), storage::millis),
        until: row.valid_until.map(storage::millis),
    })
}

fn window((city, day, start, end, factor, name): WindowRow) -> Result<Window, Fault> {
    let small = |number: i16| {
        i8::try_from(number).map_err(|_| Fault::internal(format!("{number} is no day or hour")))
    };
    Ok(Window {
        city: CityId(city),
        day: day.map(small).transpose()?,
        start_hour: small(start)?,
        end_hour: small(end)?,
        factor: multiplier(factor)?,
        name,
    })
}

fn event(row: EventRow) -> Result<Event, Fault> {
    let area = match row.corners {
        Some(corners) => Area::Outline(outline(corners)?),
        None => Area::Circle {
            center: place(row.center_lat, row.center_lng)?,
            radius_m: f64::from(row.radius_m),
        },
    };
    Ok(Event {
        city: CityId(row.city_id),
        area,
        starts: storage::millis(row.starts_at),
        ends: storage::millis(row.ends_at),
        factor: multiplier(row.multiplier_bp)?,
        name: row.name,
    })
}

fn surge_area((corners, factor, name): (Corners, i32, String)) -> Result<SurgeArea, Fault> {
    Ok(SurgeArea { outline: outline(corners)?, factor: multiplier(factor)?, name })
}

/// Corners that were checked before they were stored.
pub(crate) fn outline(corners: Corners) -> Result<Outline, Fault> {
    let places = corners.0.into_iter().map(|(lat, lng)| place(lat, lng));
    Ok(Outline::drawn(places.collect::<Result<_, Fault>>()?))
}

pub(crate) fn place(lat: f64, lng: f64) -> Result<Point, Fault> {
    Point::new(lat, lng).map_err(|error| Fault::internal(format!("{lat}, {lng}: {error}")))
}

pub(crate) fn multiplier(bp: i32) -> Result<Factor, Fault> {
    u32::try_from(bp).map(Factor).map_err(|_| Fault::internal(format!("multiplier {bp} bp")))
}
