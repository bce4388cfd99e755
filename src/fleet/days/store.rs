//! All SQL of drivers' days.

use base::{DriverId, Fault, Piasters};
use storage::{Tx, at, fault};

use super::{DayView, Driven};

/// `trips` is 1 to add the trip, -1 to take it back.
pub(crate) async fn add_in_tx(
    tx: &mut Tx,
    driven: &Driven,
    zone: &str,
    trips: i32,
) -> Result<(), Fault> {
    sqlx::query(
        "INSERT INTO driver_days AS d (driver_id, day, trips, distance_m, duration_s, fares) \
         VALUES ($1, ($2::timestamptz AT TIME ZONE $3)::date, $7, $7 * $4, $7 * $5, $7 * $6) \
         ON CONFLICT (driver_id, day) DO UPDATE SET trips = d.trips + excluded.trips, \
           distance_m = d.distance_m + excluded.distance_m, \
           duration_s = d.duration_s + excluded.duration_s, fares = d.fares + excluded.fares",
    )
    .bind(driven.driver.0)
    .bind(at(driven.ended))
    .bind(zone)
    .bind(i64::from(driven.distance_m))
    .bind(i64::from(driven.duration_s))
    .bind(driven.fare.0)
    .bind(trips)
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

pub(crate) async fn days_in_tx(
    tx: &mut Tx,
    driver: DriverId,
    most: u32,
) -> Result<Vec<DayView>, Fault> {
    let rows: Vec<(String, i32, i64, i64, i64)> = sqlx::query_as(
        "SELECT day::text, trips, distance_m, duration_s, fares FROM driver_days \
         WHERE driver_id = $1 ORDER BY driver_days.day DESC LIMIT $2",
    )
    .bind(driver.0)
    .bind(i64::from(most))
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    let view = |(day, trips, distance, duration, fares)| DayView {
        day,
        trips,
        distance,
        duration,
        fares: Piasters(fares),
    };
    Ok(rows.into_iter().map(view).collect())
}
