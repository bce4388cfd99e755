//! The same question in SQL: `find_nearby_drivers` on the positions stored behind the live map.

use std::time::Instant;

use anyhow::ensure;
use base::Millis;
use fleet::{Fleet, NearbyQuery};

use super::crowd::Crowd;
use super::{LIMIT, RADIUS_M};
use crate::Options;
use crate::postgres::Postgres;
use crate::table::{Bound, Figure, Row, quantile};

/// Questions per run.
const QUESTIONS: usize = 50;
/// The map keeps places in steps of a centimetre.
const STEP_M: f64 = 0.02;
/// A SQL console has to feel immediate, milliseconds.
const BOUND_MS: f64 = 50.0;

/// Asks both, which must find the same drivers; what SQL took. Nobody reports meanwhile.
pub(super) async fn rows(
    what: impl Fn(&str) -> String,
    fleet: &Fleet,
    crowd: &mut Crowd,
    (postgres, now): (&Postgres, Millis),
    options: &Options,
) -> anyhow::Result<Vec<Row>> {
    fleet.flush().await;
    let mut conn = postgres.owner().await?;
    sqlx::query("ANALYZE").execute(&mut conn).await?;
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for _ in 0..options.runs {
        let mut waits = Vec::with_capacity(QUESTIONS);
        for _ in 0..QUESTIONS {
            let at = crowd.corner();
            let begun = Instant::now();
            // The bench turns its own clock, so that the database's says nothing about age.
            let found: Vec<f64> = sqlx::query_scalar(
                "SELECT distance_meters
                 FROM find_nearby_drivers($1, $2, $3::int, $4::int, '10 years')",
            )
            .bind(at.lat())
            .bind(at.lng())
            .bind(RADIUS_M as i32)
            .bind(i32::try_from(LIMIT)?)
            .fetch_all(&mut conn)
            .await?;
            waits.push(begun.elapsed().as_secs_f64() * 1e3);
            let query = NearbyQuery { at, radius_m: RADIUS_M, tier: None, limit: LIMIT };
            let live = fleet.nearby(&query, now);
            let live: Vec<f64> = live.iter().filter_map(|near| near.distance_m).collect();
            let apart = |(one, two): (&f64, &f64)| (one - two).abs() > STEP_M;
            let differ = found.len() != live.len() || found.iter().zip(&live).any(apart);
            ensure!(!differ, "SQL finds {found:?} m from {at:?}, the map {live:?}");
        }
        waits.sort_unstable_by(f64::total_cmp);
        p50.push(quantile(&waits, 0.5));
        p99.push(quantile(&waits, 0.99));
    }
    let row = |of: &str, values| Row::alone(what(of), Figure::new("ms", values));
    Ok(vec![
        row("find_nearby_drivers in SQL, median", p50),
        row("find_nearby_drivers in SQL, 99 of 100", p99).bound(Bound::Max(BOUND_MS)),
    ])
}
