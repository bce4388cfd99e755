//! All SQL of demand.

use std::collections::{BTreeMap, HashMap};

use base::{CityId, Fault, Millis};
use geo::Cell;
use storage::{Db, Tx, Who, at, fault, millis};

use crate::forecast::Counts;
use crate::quarter::Quarter;
use crate::wire::AccuracyView;

/// How far off the guesses at a quarter were, summed over its cells.
pub(crate) struct Judged {
    pub(crate) forecast: f64,
    pub(crate) week_ago: f64,
    pub(crate) quarter_ago: f64,
}

/// One closes a city's quarters at a time.
pub(crate) async fn lock_in_tx(tx: &mut Tx, city: CityId) -> Result<(), Fault> {
    sqlx::query("SELECT pg_advisory_xact_lock(7305021774100000 + $1)")
        .bind(i64::from(city.0))
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(())
}

/// The first and the last quarter that is closed.
pub(crate) async fn closed_in_tx(
    tx: &mut Tx,
    city: CityId,
) -> Result<Option<(Quarter, Quarter)>, Fault> {
    let (first, last): (Option<jiff_sqlx::Timestamp>, Option<jiff_sqlx::Timestamp>) =
        sqlx::query_as(
            "SELECT (SELECT quarter FROM demand_quarters WHERE city_id = $1 \
                     ORDER BY quarter LIMIT 1), \
                    (SELECT quarter FROM demand_quarters WHERE city_id = $1 \
                     ORDER BY quarter DESC LIMIT 1)",
        )
        .bind(city.0)
        .fetch_one(tx.conn())
        .await
        .map_err(fault)?;
    let quarter = |at| Quarter::of(millis(at));
    Ok(first.map(quarter).zip(last.map(quarter)))
}

pub(crate) async fn close_in_tx(
    tx: &mut Tx,
    city: CityId,
    quarter: Quarter,
    came: &HashMap<Cell, u32>,
    judged: Option<&Judged>,
) -> Result<(), Fault> {
    let requests: u32 = came.values().sum();
    sqlx::query(
        "INSERT INTO demand_quarters \
           (city_id, quarter, requests, off, off_week_ago, off_quarter_ago) \
         VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(city.0)
    .bind(at(quarter.start()))
    .bind(i32::try_from(requests).unwrap_or(i32::MAX))
    .bind(judged.map(|judged| judged.forecast))
    .bind(judged.map(|judged| judged.week_ago))
    .bind(judged.map(|judged| judged.quarter_ago))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    let (cells, counts): (Vec<i64>, Vec<i32>) = came
        .iter()
        .map(|(cell, count)| (number(*cell), i32::try_from(*count).unwrap_or(i32::MAX)))
        .unzip();
    sqlx::query(
        "INSERT INTO demand_counts (city_id, quarter, cell, requests) \
         SELECT $1, $2, c.cell, c.requests FROM unnest($3::bigint[], $4::int[]) \
           AS c (cell, requests)",
    )
    .bind(city.0)
    .bind(at(quarter.start()))
    .bind(cells)
    .bind(counts)
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

/// Counts of these quarters.
pub(crate) async fn counts_in_tx(
    tx: &mut Tx,
    city: CityId,
    quarters: &[Quarter],
) -> Result<Counts, Fault> {
    let starts: Vec<_> = quarters.iter().map(|quarter| at(quarter.start())).collect();
    let rows: Vec<(jiff_sqlx::Timestamp, i64, i32)> = sqlx::query_as(
        "SELECT quarter, cell, requests FROM demand_counts \
         WHERE city_id = $1 AND quarter = ANY($2)",
    )
    .bind(city.0)
    .bind(starts)
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    let mut counts = Counts::new();
    for (quarter, cell, requests) in rows {
        if let Some(cell) = cell_of(cell) {
            let of_quarter = counts.entry(Quarter::of(millis(quarter))).or_default();
            of_quarter.insert(cell, u32::try_from(requests).unwrap_or_default());
        }
    }
    Ok(counts)
}

/// What is expected in `quarter`, said `ahead` quarters before its end.
pub(crate) async fn put_forecast_in_tx(
    tx: &mut Tx,
    city: CityId,
    quarter: Quarter,
    ahead: i16,
    expected: &BTreeMap<Cell, f64>,
) -> Result<(), Fault> {
    let (cells, values): (Vec<i64>, Vec<f64>) =
        expected.iter().map(|(cell, value)| (number(*cell), *value)).unzip();
    sqlx::query(
        "INSERT INTO demand_forecasts (city_id, quarter, ahead, cell, expected) \
         SELECT $1, $2, $3, c.cell, c.expected FROM unnest($4::bigint[], $5::float8[]) \
           AS c (cell, expected)",
    )
    .bind(city.0)
    .bind(at(quarter.start()))
    .bind(ahead)
    .bind(cells)
    .bind(values)
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(())
}

pub(crate) async fn forecast_in_tx(
    tx: &mut Tx,
    city: CityId,
    quarter: Quarter,
    ahead: i16,
) -> Result<BTreeMap<Cell, f64>, Fault> {
    let rows: Vec<(i64, f64)> = sqlx::query_as(
        "SELECT cell, expected FROM demand_forecasts \
         WHERE city_id = $1 AND quarter = $2 AND ahead = $3",
    )
    .bind(city.0)
    .bind(at(quarter.start()))
    .bind(ahead)
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    let known = |(cell, expected)| cell_of(cell).map(|cell| (cell, expected));
    Ok(rows.into_iter().filter_map(known).collect())
}

/// Forgets what no forecast looks back to.
pub(crate) async fn forget_in_tx(
    tx: &mut Tx,
    city: CityId,
    counts_before: Quarter,
    forecasts_before: Quarter,
) -> Result<(), Fault> {
    for (sql, before) in [
        ("DELETE FROM demand_counts WHERE city_id = $1 AND quarter < $2", counts_before),
        ("DELETE FROM demand_quarters WHERE city_id = $1 AND quarter < $2", counts_before),
        ("DELETE FROM demand_forecasts WHERE city_id = $1 AND quarter < $2", forecasts_before),
    ] {
        let query = sqlx::query(sql).bind(city.0).bind(at(before.start()));
        query.execute(tx.conn()).await.map_err(fault)?;
    }
    Ok(())
}

/// How far off the forecasts since then were.
pub(crate) async fn accuracy_in_tx(
    tx: &mut Tx,
    city: CityId,
    since: Millis,
) -> Result<AccuracyView, Fault> {
    let (quarters, requests, off, week_ago, quarter_ago): (i64, i64, f64, f64, f64) =
        sqlx::query_as(
            "SELECT count(*), coalesce(sum(requests), 0), coalesce(sum(off), 0), \
               coalesce(sum(off_week_ago), 0), coalesce(sum(off_quarter_ago), 0) \
             FROM demand_quarters \
             WHERE city_id = $1 AND quarter >= $2 AND off IS NOT NULL",
        )
        .bind(city.0)
        .bind(at(since))
        .fetch_one(tx.conn())
        .await
        .map_err(fault)?;
    let of_all = |off: f64| (requests > 0).then(|| off / requests as f64);
    Ok(AccuracyView {
        quarters: u32::try_from(quarters).unwrap_or(u32::MAX),
        requests: requests.unsigned_abs(),
        error: of_all(off),
        error_week_ago: of_all(week_ago),
        error_quarter_ago: of_all(quarter_ago),
    })
}

/// The last closed quarter of each city.
pub(crate) async fn last_closed(db: &Db) -> Result<Vec<(CityId, Quarter)>, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let rows: Vec<(i16, jiff_sqlx::Timestamp)> = sqlx::query_as(
        "SELECT c.id, q.quarter FROM cities c CROSS JOIN LATERAL \
           (SELECT quarter FROM demand_quarters WHERE city_id = c.id \
            ORDER BY quarter DESC LIMIT 1) q",
    )
    .fetch_all(tx.conn())
    .await
    .map_err(fault)?;
    let city = |(city, quarter)| (CityId(city), Quarter::of(millis(quarter)));
    Ok(rows.into_iter().map(city).collect())
}

/// An H3 index has its highest bit clear.
fn number(cell: Cell) -> i64 {
    i64::try_from(cell.id()).unwrap_or(i64::MAX)
}

fn cell_of(number: i64) -> Option<Cell> {
    u64::try_from(number).ok().and_then(Cell::from_id)
}
