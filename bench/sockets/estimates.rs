//! What does a price cost? `POST /pricing/estimate` for all tiers, along the roads of Monaco.
//!
//! One rider asks for one ride after the other, then many riders at a steady pace in all. Rides are
//! drawn anew each time between places on roads, so that no cache of ways helps; there are free
//! drivers around, whose way to the pickup is driven along roads, too.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::ensure;
use base::{Dice, Point};
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use sqlx::{ConnectOptions, Executor};
use tokio::time::{Instant, interval};

use super::Scale;
use super::town::{Person, Town, binary};
use crate::roads::places;
use crate::table::{Bound, Figure, Row, quantile};

const EXTRACT: &str = "src/routing/data/monaco.osm.pbf";
/// Rides a second in all, when many ask.
const RATE: u32 = 100;
const RIDERS: usize = 20;
const DRIVERS: usize = 50;

pub(crate) async fn run(town: &mut Town, scale: &Scale) -> anyhow::Result<Vec<Row>> {
    let (alone, together) = (scale.pick(2_000, 100), scale.pick(2_000, 100));
    eprintln!("estimates: {alone} one after another, then {together} at {RATE} a second");
    let drivers = town.drivers(DRIVERS).await?;
    let riders = town.riders(RIDERS).await?;
    let roads = prepare(town).await?;
    town.restart_on(&roads).await?;
    let places = places()?;
    let dice = Dice::seeded(7);
    for driver in &drivers {
        let at = any(&places, &dice);
        let online = json!({"isOnline": true, "lat": at.lat(), "lng": at.lng()});
        town.api.must("/drivers/status", &driver.token, &online).await?;
    }
    let [mut one, mut many] = [const { Vec::new() }; 2];
    for run in 0..=scale.runs {
        town.renew_tokens().await?;
        let mut taken = Vec::with_capacity(alone);
        for _ in 0..alone {
            taken.push(ask(town, &riders[0], &ride(&places, &dice)).await?);
        }
        let rides: Vec<Value> = (0..together).map(|_| ride(&places, &dice)).collect();
        let paced = at_pace(town, &riders, &rides).await?;
        // The first one warms up.
        if run > 0 {
            for (name, all, of) in [("alone", &mut one, taken), ("together", &mut many, paced)] {
                let mut of = of;
                of.sort_unstable_by(f64::total_cmp);
                let (half, p99) = (quantile(&of, 0.5), quantile(&of, 0.99));
                eprintln!("  {name}: median {half:.2} ms, p99 {p99:.2} ms");
                all.push((half, p99));
            }
        }
    }
    let figure = |of: &[(f64, f64)], pick: fn(&(f64, f64)) -> f64| {
        Figure::new("ms", of.iter().map(pick).collect())
    };
    let what = "estimate of four tiers along roads";
    Ok(vec![
        Row::alone(format!("{what}, one after another: median"), figure(&one, |f| f.0)),
        Row::alone(format!("{what}, one after another: 99 of 100"), figure(&one, |f| f.1))
            .bound(Bound::Max(100.0)),
        Row::alone(format!("{what}, {RATE}/s: median"), figure(&many, |f| f.0)),
        Row::alone(format!("{what}, {RATE}/s: 99 of 100"), figure(&many, |f| f.1))
            .bound(Bound::Max(100.0)),
    ])
}

/// A city of Monaco with the prices of the first one, and its roads.
async fn prepare(town: &Town) -> anyhow::Result<PathBuf> {
    let mut owner = town.database().connect().await?;
    owner
        .execute(
            "INSERT INTO cities (id, name, time_zone, center_lat, center_lng, radius_m)
             VALUES (7, 'Monaco', 'Europe/Monaco', 43.7384, 7.4246, 8000);
             INSERT INTO tariffs (city_id, tier, base_fare, per_km, per_minute, minimum_fare,
                                  booking_fee, commission_bp, valid)
             SELECT 7, tier, base_fare, per_km, per_minute, minimum_fare, booking_fee,
                    commission_bp, valid
             FROM tariffs WHERE city_id = 1",
        )
        .await?;
    let file = town.home().join("monaco.roads");
    let mut build = Command::new(binary()?);
    build.args(["admin", "roads", "build", "--from", EXTRACT, "--to"]).arg(&file);
    let built = tokio::task::block_in_place(|| build.status())?;
    ensure!(built.success() && Path::new(&file).exists(), "the roads were not built");
    Ok(file)
}

fn any(places: &[Point], dice: &Dice) -> Point {
    places[dice.below(places.len() as u64) as usize]
}

fn ride(places: &[Point], dice: &Dice) -> Value {
    let place = || {
        let at = any(places, dice);
        json!({"lat": at.lat(), "lng": at.lng()})
    };
    json!({"pickup": place(), "destination": place()})
}

/// Milliseconds to the answer.
async fn ask(town: &Town, rider: &Person, ride: &Value) -> anyhow::Result<f64> {
    let begun = Instant::now();
    let answer = town.api.must("/pricing/estimate", &rider.token, ride).await?;
    let took = begun.elapsed();
    let tiers = answer["estimates"].as_array().map_or(0, Vec::len);
    ensure!(tiers == 4, "an estimate without all tiers: {answer}");
    Ok(took.as_secs_f64() * 1e3)
}

async fn at_pace(town: &Town, riders: &[Person], rides: &[Value]) -> anyhow::Result<Vec<f64>> {
    let mut beat = interval(Duration::from_secs(1) / RATE);
    let mut asked = stream::FuturesUnordered::new();
    let mut taken = Vec::with_capacity(rides.len());
    for (ride, rider) in rides.iter().zip(riders.iter().cycle()) {
        loop {
            tokio::select! {
                _ = beat.tick() => break,
                Some(took) = asked.next(), if !asked.is_empty() => taken.push(took?),
            }
        }
        asked.push(ask(town, rider, ride));
    }
    while let Some(took) = asked.next().await {
        taken.push(took?);
    }
    Ok(taken)
}
