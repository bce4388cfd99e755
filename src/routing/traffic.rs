//! How much longer a drive takes than the models say, learnt from trips: by quarter of the city
//! and hour of the day, apart for workdays and weekends.
//!
//! A factor multiplies what roads, engine or air line say. It is kept as its logarithm, one for
//! each square and hour; a drive has the mean of where it starts and where it ends. Each completed
//! trip moves both by a share of `ln(driven / promised)`: the share is `1 / (trips + 10)` and never
//! less than 1/50, so that new squares start at 1 and old ones follow the city. As the promise
//! already holds the factor of its hour, the step vanishes where the factor is right (a
//! Robbins–Monro approximation of the mean logarithm of driven over modelled time).
//!
//! Guarantees:
//! - the factor of a pair that is driven `x` times as long as modelled becomes `x`
//!   (test: `the_factor_becomes_what_is_driven`), within 0.5 and 3;
//! - one strange trip moves nothing much (test: `a_strange_trip_is_not_believed`).

mod store;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base::{CityId, Fault, Millis, Point};
use geo::Square;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use ops::Tasks;
use storage::{Db, Tx};
use tracing::warn;

/// Squares of a degree: one is a quarter of a city, 2.2 km from south to north.
const COARSE: f64 = 50.0;
/// Hours of a day, twice: workdays, then weekends.
pub(crate) const SLOTS: usize = 48;
/// Trips that a new square is believed to have had, all of them as modelled.
pub(crate) const PRIOR: f64 = 10.0;
/// Least weight of a trip.
pub(crate) const LEAST_GAIN: f64 = 0.02;
/// A factor stays within these.
pub(crate) const LEAST: f64 = 0.5;
pub(crate) const MOST: f64 = 3.0;
/// A drive this many times as long as promised, or as short, counts as no more than that.
const BELIEVED: f64 = 4.0;
/// Shorter promises are mostly the time to get in and out, seconds.
const SHORTEST_S: u32 = 120;
/// Between promise and start: later it is another hour's promise.
const LATEST: Duration = Duration::from_secs(45 * 60);
/// Driven metres over promised ones beyond which it was another way.
const OTHER_WAY: f64 = 1.3;
const READ_EVERY: Duration = Duration::from_secs(300);

/// A drive that has ended, beside what was promised of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drive {
    pub city: CityId,
    pub from: Point,
    pub to: Point,
    pub promised_at: Millis,
    pub started: Millis,
    /// Seconds.
    pub promised_s: u32,
    pub driven_s: u32,
    /// Metres.
    pub promised_m: u32,
    pub driven_m: u32,
}

impl Drive {
    /// `ln(driven / promised)`; none where it says nothing about traffic.
    fn surprise(&self) -> Option<f64> {
        let longer = f64::from(self.driven_m) / f64::from(self.promised_m.max(1));
        let same_way = (OTHER_WAY.recip()..=OTHER_WAY).contains(&longer);
        let in_time = self.started.after(self.promised_at) <= LATEST;
        (self.promised_s >= SHORTEST_S && self.driven_s > 0 && same_way && in_time).then(|| {
            let ratio = f64::from(self.driven_s) / f64::from(self.promised_s);
            ratio.clamp(BELIEVED.recip(), BELIEVED).ln()
        })
    }
}

/// Learns from the drive. In the transaction that makes sure that it counts once.
pub async fn learn_in_tx(tx: &mut Tx, drive: &Drive, time_zone: &str) -> Result<(), Fault> {
    let Some(surprise) = drive.surprise() else { return Ok(()) };
    let slot = slot_of(drive.started, &zone(time_zone));
    let mut squares = vec![Square::of(drive.from, COARSE), Square::of(drive.to, COARSE)];
    // In one order, so that two drives the other way round don't wait for each other.
    squares.sort_unstable();
    squares.dedup();
    store::move_in_tx(tx, drive.city, &squares, slot, surprise).await
}

/// The factors at hand. Cheap to clone; without a database every factor is 1.
#[derive(Clone, Default)]
pub struct Traffic(Arc<ArcSwap<Factors>>);

/// By square: its city's zone, and a logarithm for each slot.
#[derive(Default)]
struct Factors {
    zones: Vec<TimeZone>,
    squares: HashMap<Square, (usize, [f32; SLOTS])>,
}

impl Traffic {
    /// Reads what is known, and again every few minutes.
    pub async fn keep(db: Db, tasks: &Tasks) -> Result<Self, Fault> {
        let traffic = Self::default();
        traffic.read(&db).await?;
        let (kept, stopping) = (traffic.clone(), tasks.stopping());
        tasks.spawn("traffic", async move {
            let mut tick = tokio::time::interval(READ_EVERY);
            tick.tick().await;
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    _ = tick.tick() => {
                        if let Err(fault) = kept.read(&db).await {
                            warn!(%fault, "traffic stays as it was read before");
                        }
                    }
                }
            }
        });
        Ok(traffic)
    }

    async fn read(&self, db: &Db) -> Result<(), Fault> {
        let rows = store::all(db).await?;
        self.0.store(Arc::new(Factors::of(&rows)));
        Ok(())
    }

    /// What a drive's modelled seconds are multiplied by.
    pub(crate) fn factor(&self, from: Point, to: Point, at: Millis) -> f64 {
        let factors = self.0.load();
        if factors.squares.is_empty() {
            return 1.0;
        }
        ((factors.log(from, at) + factors.log(to, at)) / 2.0).exp()
    }
}

/// A row of what was learnt.
pub(crate) struct Row {
    pub(crate) square: Square,
    pub(crate) time_zone: String,
    pub(crate) slot: usize,
    pub(crate) log_factor: f64,
}

impl Factors {
    fn of(rows: &[Row]) -> Self {
        let mut factors = Self::default();
        let mut names: Vec<&str> = Vec::new();
        for row in rows {
            let name = row.time_zone.as_str();
            let place = names.iter().position(|known| *known == name).unwrap_or_else(|| {
                names.push(name);
                factors.zones.push(zone(name));
                names.len() - 1
            });
            let square = factors.squares.entry(row.square).or_insert((place, [0.0; SLOTS]));
            if let Some(log) = square.1.get_mut(row.slot) {
                *log = row.log_factor as f32;
            }
        }
        factors
    }

    fn log(&self, at: Point, when: Millis) -> f64 {
        let Some((zone, slots)) = self.squares.get(&Square::of(at, COARSE)) else { return 0.0 };
        self.zones.get(*zone).map_or(0.0, |zone| f64::from(slots[slot_of(when, zone)]))
    }
}

/// The hour of the city's day; Fridays and Saturdays, its weekend, have hours of their own.
fn slot_of(at: Millis, zone: &TimeZone) -> usize {
    let local = zone.to_datetime(at.timestamp().unwrap_or_default());
    let weekend = matches!(local.weekday(), Weekday::Friday | Weekday::Saturday);
    let hour = usize::from(local.hour().unsigned_abs());
    if weekend { hour + SLOTS / 2 } else { hour }
}

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap_or(TimeZone::UTC)
}
