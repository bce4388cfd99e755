//! SQL of answers: offers by their driver, each with its trip.

use base::{DriverId, Fault, Millis, Piasters, Point};
use sqlx::FromRow;
use storage::{Tx, at, fault, millis};
use uuid::Uuid;

use super::OfferAnswer;

/// Most offers that are read of one driver, the newest.
const MOST: i64 = 2_000;

// A price that is bid says yes to the trip, whoever the rider chose. What was said to standing by
// says nothing about trips.
pub(crate) const ANSWERS: &str = "
SELECT a.id AS driver_id, o.created_at, o.status IN ('accepted', 'unchosen') AS taken, t.price,
       t.destination_lat, t.destination_lng
FROM unnest($1::uuid[]) AS a (id)
CROSS JOIN LATERAL (
  SELECT trip_id, created_at, status FROM trip_offers
  WHERE driver_id = a.id AND created_at >= $2
    AND status IN ('accepted', 'declined', 'expired', 'unchosen') AND NOT standby
  ORDER BY created_at DESC LIMIT $3
) o
JOIN trips t ON t.id = o.trip_id";

#[derive(FromRow)]
struct Row {
    driver_id: Uuid,
    created_at: jiff_sqlx::Timestamp,
    taken: bool,
    price: i64,
    destination_lat: f64,
    destination_lng: f64,
}

/// Of these drivers since then, in any order.
pub async fn answers_in_tx(
    tx: &mut Tx,
    drivers: &[DriverId],
    since: Millis,
) -> Result<Vec<OfferAnswer>, Fault> {
    let ids: Vec<Uuid> = drivers.iter().map(|driver| driver.0).collect();
    let rows: Vec<Row> = sqlx::query_as(ANSWERS)
        .bind(ids)
        .bind(at(since))
        .bind(MOST)
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    let answer = |row: Row| {
        let to = Point::new(row.destination_lat, row.destination_lng).ok()?;
        Some(OfferAnswer {
            driver: DriverId(row.driver_id),
            at: millis(row.created_at),
            taken: row.taken,
            price: Piasters(row.price),
            to,
        })
    };
    Ok(rows.into_iter().filter_map(answer).collect())
}
