//! Tracks: positions reported to the fleet, whose writer stores them behind in batches, beside
//! single INSERTs of the same columns.
//!
//! Ours carries more than it is charged for: the newest position of every driver is stored too.

use std::time::Duration;

use anyhow::ensure;
use base::{Clock, Dice, DriverId, Point};
use fleet::{Fix, Fleet, FleetConfig};
use ops::Tasks;
use sqlx::PgConnection;
use storage::at;
use tokio::sync::mpsc;

use super::{CONNECTIONS, Stopwatch, Taken};
use crate::Options;
use crate::postgres::Postgres;

const DRIVERS: usize = 1000;
/// Off trip every point 50 m from the one before is kept; 60 m in 5 s are 43 km/h.
const STEP_M: f64 = 60.0;
const BETWEEN: Duration = Duration::from_secs(5);

const INSERT: &str = "
    INSERT INTO driver_history (driver_id, lat, lng, heading, speed_kmh, accuracy_m, recorded_at,
                                trip_id, suspect)
    VALUES ($1, $2, $3, $4, $5, $6, $7, NULL, false)";

/// Ours, then the single INSERTs.
pub(super) async fn measure(postgres: &Postgres, options: &Options) -> anyhow::Result<[Taken; 2]> {
    let drivers = postgres.add_drivers(DRIVERS).await?;
    let (tasks, clock) = (Tasks::new(), Clock::manual(Clock::system().now()));
    let (tell, mut told) = mpsc::channel(4096);
    tasks.spawn("effects", async move { while told.recv().await.is_some() {} });
    let (dice, config) = (Dice::seeded(7), FleetConfig::default());
    let fleet = Fleet::start(postgres.db.clone(), &tasks, clock.clone(), dice, config, tell);
    fleet.load().await?;
    let seats: Vec<_> =
        drivers.iter().map(|driver| fleet.seat(*driver)).collect::<Result<_, _>>()?;
    let mut connections = Vec::new();
    for _ in 0..CONNECTIONS {
        connections.push(postgres.owner().await?);
    }
    let mut taken = [Taken::default(), Taken::default()];
    // Below the ring's capacity, so that nothing is dropped.
    let (steps, singles) = if options.quick { (20, 2000) } else { (100, 20_000) };
    let mut north_m = 0.0;
    for run in 0..options.runs {
        eprintln!("durable: tracks, run {}", run + 1);
        let fixes = way(&clock, &mut north_m, steps);
        let before = rows(postgres).await?;
        let watch = Stopwatch::start(postgres)?;
        for fix in &fixes {
            clock.advance(fix.timestamp.after(clock.now()));
            for seat in &seats {
                fleet.ingest(seat, fix)?;
            }
            // Sockets give way to each other too.
            tokio::task::yield_now().await;
        }
        fleet.flush().await;
        let expected = fixes.len() * DRIVERS;
        watch.stop(expected, &mut taken[0])?;
        let stored = rows(postgres).await? - before;
        ensure!(stored == expected, "of {expected} rows of tracks {stored} were stored");
        single(postgres, &mut connections, &drivers, &fixes, singles, &mut taken[1]).await?;
    }
    drop(fleet);
    tasks.stop(Duration::from_secs(60)).await;
    Ok(taken)
}

/// All drivers go the same way, one after another of the fixes.
fn way(clock: &Clock, north_m: &mut f64, steps: u32) -> Vec<Fix> {
    let mut timestamp = clock.now();
    let fixes = (0..steps).map(|_| {
        timestamp = timestamp + BETWEEN;
        *north_m += STEP_M;
        let at = Point::new(29.5 + *north_m / 111_195.0, 31.2357).expect("a way within Egypt");
        let (heading, speed_kmh, accuracy_m) = (Some(0.0), Some(43.0), Some(5.0));
        Fix { at, heading, speed_kmh, accuracy_m, timestamp }
    });
    fixes.collect()
}

async fn single(
    postgres: &Postgres,
    connections: &mut Vec<PgConnection>,
    drivers: &[DriverId],
    fixes: &[Fix],
    count: usize,
    taken: &mut Taken,
) -> anyhow::Result<()> {
    let before = rows(postgres).await?;
    let points = fixes.iter().flat_map(|fix| drivers.iter().map(move |driver| (*driver, *fix)));
    let points: Vec<(DriverId, Fix)> = points.take(count).collect();
    let watch = Stopwatch::start(postgres)?;
    let mut tasks = tokio::task::JoinSet::new();
    for (mut connection, share) in
        connections.drain(..).zip(points.chunks(count.div_ceil(CONNECTIONS)))
    {
        let share = share.to_vec();
        tasks.spawn(async move {
            for (driver, fix) in share {
                insert(&mut connection, driver, &fix).await?;
            }
            Ok::<_, sqlx::Error>(connection)
        });
    }
    while let Some(done) = tasks.join_next().await {
        connections.push(done??);
    }
    watch.stop(points.len(), taken)?;
    let stored = rows(postgres).await? - before;
    ensure!(stored == points.len(), "of {} single rows {stored} were stored", points.len());
    Ok(())
}

async fn insert(to: &mut PgConnection, driver: DriverId, fix: &Fix) -> Result<(), sqlx::Error> {
    sqlx::query(INSERT)
        .bind(driver.0)
        .bind(fix.at.lat())
        .bind(fix.at.lng())
        .bind(fix.heading)
        .bind(fix.speed_kmh)
        .bind(fix.accuracy_m)
        .bind(at(fix.timestamp))
        .execute(to)
        .await?;
    Ok(())
}

async fn rows(postgres: &Postgres) -> anyhow::Result<usize> {
    let count: i64 = sqlx::query_scalar("SELECT count(*) FROM driver_history")
        .fetch_one(&mut postgres.owner().await?)
        .await?;
    Ok(usize::try_from(count)?)
}
