//! All SQL of learnt traffic.

use base::{CityId, Fault};
use geo::Square;
use storage::{Db, Tx, Who, fault};

use super::{LEAST, LEAST_GAIN, MOST, PRIOR, Row};

/// Moves the factors of these squares, each named once, by a trip's surprise.
pub(crate) async fn move_in_tx(
    tx: &mut Tx,
    city: CityId,
    squares: &[Square],
    slot: usize,
    surprise: f64,
) -> Result<(), Fault> {
    let (rows, cols): (Vec<i32>, Vec<i32>) = squares.iter().map(|s| (s.row, s.col)).unzip();
    // A square without a row stands at 0, as if after no trips.
    sqlx::query(
        "INSERT INTO traffic_factors AS f \
           (city_id, square_row, square_col, slot, log_factor, trips) \
         SELECT $1, s.square_row, s.square_col, $4, $5 / $6, 1 \
         FROM unnest($2::int[], $3::int[]) AS s (square_row, square_col) \
         ON CONFLICT ON CONSTRAINT one_factor_per_hour DO UPDATE SET \
           log_factor = least(greatest( \
             f.log_factor + greatest(1 / (f.trips + $6), $7) * $5, $8), $9), \
           trips = f.trips + 1",
    )
    .bind(city.0)
    .bind(rows)
    .bind(cols)
    .bind(i16::try_from(slot).expect("a day has 48 slots"))
    .bind(surprise)
    .bind(PRIOR)
    .bind(LEAST_GAIN)
    .bind(LEAST.ln())
    .bind(MOST.ln())
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// Everything: a few thousand rows for each city.
pub(crate) async fn all(db: &Db) -> Result<Vec<Row>, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let rows: Vec<(i32, i32, String, i16, f64)> = sqlx::query_as(
        "SELECT f.square_row, f.square_col, c.time_zone, f.slot, f.log_factor \
         FROM traffic_factors f JOIN cities c ON c.id = f.city_id \
         ORDER BY f.city_id, f.square_row, f.square_col, f.slot",
    )
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    let row = |(row, col, time_zone, slot, log_factor): (_, _, _, i16, _)| Row {
        square: Square { row, col },
        time_zone,
        slot: usize::try_from(slot).unwrap_or_default(),
        log_factor,
    };
    Ok(rows.into_iter().map(row).collect())
}
