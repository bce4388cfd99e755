//! SQL of answers: offers by their driver, each with its trip.

use base::{DriverId, Fault, Millis, Piasters, Point};
use sqlx::FromRow;
use storage::{Tx, at, fault, millis};
use uuid::Uuid;

use super::{Manner, OfferAnswer};
use crate::strategy::Strategy;

/// Most offers that are read of one driver, the newest.
const MOST: i64 = 2_000;

// A price that is bid says yes to the trip, whoever the rider chose. Silence is an answer only of
// who was asked alone: among several, how often an offer lives to its end goes by how much the
// others want the trip. The price is the one that was offered, not the one that was bid. Trips
// ahead are left out, and with them what was said to standing by.
pub(crate) const ANSWERS: &str = "
SELECT a.id AS driver_id, o.created_at, o.status IN ('accepted', 'unchosen') AS taken,
       coalesce(t.quoted_price, t.price) AS price, t.destination_lat, t.destination_lng,
       t.strategy, extract(epoch FROM o.expires_at - o.created_at)::integer AS lease_s, s.alone
FROM unnest($1::uuid[]) AS a (id)
CROSS JOIN LATERAL (
  SELECT trip_id, created_at, status, expires_at, ended_at FROM trip_offers
  WHERE driver_id = a.id AND created_at >= $2
    AND status IN ('accepted', 'declined', 'expired', 'unchosen') AND NOT standby
  ORDER BY created_at DESC LIMIT $3
) o
JOIN trips t ON t.id = o.trip_id AND t.scheduled_at IS NULL
CROSS JOIN LATERAL (
  SELECT NOT EXISTS (
    SELECT FROM trip_offers p WHERE p.trip_id = o.trip_id AND p.driver_id <> a.id
      AND p.created_at < coalesce(o.ended_at, o.expires_at)
      AND o.created_at < coalesce(p.ended_at, p.expires_at)
  ) AS alone
) s
WHERE o.status <> 'expired' OR s.alone";

#[derive(FromRow)]
struct Row {
    driver_id: Uuid,
    created_at: jiff_sqlx::Timestamp,
    taken: bool,
    price: i64,
    destination_lat: f64,
    destination_lng: f64,
    strategy: String,
    lease_s: i32,
    alone: bool,
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
            manner: Manner {
                named: Strategy::parse(&row.strategy).map(Strategy::name),
                lease_s: u32::try_from(row.lease_s).unwrap_or(0),
                alone: row.alone,
            },
        })
    };
    Ok(rows.into_iter().filter_map(answer).collect())
}
