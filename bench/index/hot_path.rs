//! The map as the program uses it: a position from the driver's frame to the live map, and the
//! nearest drivers as riders ask for them, on a fleet with its database.
//!
//! What the fleet writes behind is written meanwhile by other threads, as it is in the program; the
//! clocks and counts are this thread's. Questions come when all of it is written, so that they are
//! timed and not the burst before them.

use std::time::{Duration, Instant};

use base::{Clock, Dice, Point};
use fleet::{Fix, Fleet, FleetConfig, NearbyQuery, Seat};
use ops::Tasks;
use rooms::codec::{Position, UP_BYTES, decode, encode};
use storage::Durability;
use tokio::sync::mpsc;

use super::by_sql;
use super::crowd::{Crowd, Shape, Step, Work};
use super::{LIMIT, RADIUS_M, title};
use crate::Options;
use crate::alloc::count;
use crate::cpu::Cpu;
use crate::postgres::Postgres;
use crate::table::{Bound, Figure, Row, quantile};

/// Between two positions of a driver: at 10 to 15 m he goes 9 to 14 km/h.
const BETWEEN: Duration = Duration::from_secs(4);
/// Rounds until tables and rings have their size.
const WARM_UP: u32 = 10;
const QUESTIONS: usize = 20_000;
/// Degrees of latitude: half a metre, less than the narrowest loose border of a tile.
const SWAY: f64 = 0.5 / 111_195.0;

struct Scene {
    fleet: Fleet,
    clock: Clock,
    seats: Vec<Seat>,
    crowd: Crowd,
}

pub(super) async fn rows(size: usize, options: &Options) -> anyhow::Result<Vec<Row>> {
    let postgres = Postgres::start(Durability::Throwaway).await?;
    let drivers = postgres.add_drivers(size).await?;
    let (tasks, clock) = (Tasks::new(), Clock::manual(Clock::system().now()));
    let (tell, mut told) = mpsc::channel(4096);
    tasks.spawn("effects", async move { while told.recv().await.is_some() {} });
    let config = FleetConfig::default();
    let db = postgres.db.clone();
    let fleet = Fleet::start(db, &tasks, clock.clone(), Dice::seeded(7), config, tell);
    fleet.load().await?;
    let seats = drivers.into_iter().map(|driver| fleet.seat(driver)).collect::<Result<_, _>>()?;
    let mut scene = Scene { fleet, clock, seats, crowd: Crowd::new(Shape::Cairo, size) };
    for _ in 0..WARM_UP {
        scene.round(Gait::Drive)?;
    }
    let (mut cpu, mut calls, mut p50, mut p99) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..options.runs {
        let (cpu_us, allocations) = scene.round(Gait::Drive)?;
        cpu.push(cpu_us);
        calls.push(allocations);
        scene.fleet.flush().await;
        let waits = scene.ask()?;
        p50.push(quantile(&waits, 0.5));
        p99.push(quantile(&waits, 0.99));
    }
    let still = scene.standing(options)?;
    let what = |of: &str| format!("{}, through the fleet: {of}", title(Shape::Cairo, size));
    let (place, now) = (&mut scene.crowd, scene.clock.now());
    let by_sql = by_sql::rows(what, &scene.fleet, place, (&postgres, now), options).await?;
    drop(scene);
    tasks.stop(Duration::from_secs(60)).await;
    postgres.stop().await;
    let mut rows = vec![
        Row::alone(what("a position, frame to map"), Figure::new("µs CPU", cpu)),
        Row::alone(what("a position inside the tile"), Figure::new("allocations", still))
            .bound(Bound::Max(0.0)),
        Row::alone(what("any position"), Figure::new("allocations", calls)),
        Row::alone(what("one question, median"), Figure::new("ms", p50)),
        Row::alone(what("one question, 99 of 100"), Figure::new("ms", p99)).bound(Bound::Max(1.0)),
    ];
    rows.extend(by_sql);
    Ok(rows)
}

/// How everyone gets to his next position.
#[derive(Clone, Copy)]
enum Gait {
    /// 10 to 15 m along the street.
    Drive,
    /// Stands this far north (degrees) of where he drove last.
    Stand(f64),
}

impl Scene {
    /// Allocations per position of who doesn't leave his tile.
    fn standing(&mut self, options: &Options) -> anyhow::Result<Vec<f64>> {
        // Whoever stood at the border of his tile has crossed it after this.
        for _ in 0..WARM_UP {
            self.round(Gait::Stand(SWAY))?;
            self.round(Gait::Stand(0.0))?;
        }
        (0..options.runs).map(|_| Ok(self.round(Gait::Stand(SWAY))?.1)).collect()
    }

    /// Everyone reports once: CPU µs and allocations per position.
    fn round(&mut self, gait: Gait) -> anyhow::Result<(f64, f64)> {
        self.clock.advance(BETWEEN);
        let frames = self.frames(gait)?;
        let (begun, cpu) = (count(), Cpu::thread()?);
        for (seat, frame) in &frames {
            let (position, _ack) = decode(frame)?;
            self.fleet.ingest(seat, &fix(position))?;
        }
        let took = Cpu::thread()? - cpu;
        let calls = count().calls - begun.calls;
        // The tick of the nearby map, so that everyone is marked anew in the next round.
        drop(self.fleet.moved_cells());
        let each = 1.0 / frames.len() as f64;
        Ok((took.as_secs_f64() * 1e6 * each, calls as f64 * each))
    }

    fn frames(&mut self, gait: Gait) -> anyhow::Result<Vec<(Seat, [u8; UP_BYTES])>> {
        let timestamp = self.clock.now();
        let frame = |at: Point| {
            let (heading, speed_kmh, accuracy_m) = (Some(90.0), Some(12.0), Some(5.0));
            encode(&Position { at, heading, speed_kmh, accuracy_m, timestamp }, 0)
        };
        let places: Vec<(u32, Point)> = match gait {
            Gait::Drive => self.crowd.round(Work::Moves).into_iter().filter_map(moved).collect(),
            Gait::Stand(north) => {
                let swayed = |(slot, at): (u32, Point)| {
                    anyhow::Ok((slot, Point::new(at.lat() + north, at.lng())?))
                };
                self.crowd.places().map(swayed).collect::<Result<_, _>>()?
            }
        };
        let places = places.into_iter();
        Ok(places.map(|(slot, at)| (self.seats[slot as usize].clone(), frame(at))).collect())
    }

    /// Milliseconds per question, sorted.
    fn ask(&mut self) -> anyhow::Result<Vec<f64>> {
        let now = self.clock.now();
        let mut waits = Vec::with_capacity(QUESTIONS);
        for _ in 0..QUESTIONS {
            let at = self.crowd.corner();
            let query = NearbyQuery { at, radius_m: RADIUS_M, tier: None, limit: LIMIT };
            let begun = Instant::now();
            let found = self.fleet.nearby(&query, now);
            waits.push(begun.elapsed().as_secs_f64() * 1e3);
            anyhow::ensure!(!found.is_empty(), "nobody is near {at:?}: the fleet is not online");
        }
        waits.sort_unstable_by(f64::total_cmp);
        Ok(waits)
    }
}

fn moved(step: Step) -> Option<(u32, Point)> {
    match step {
        Step::Move { slot, to } => Some((slot, to)),
        Step::Ask { .. } => None,
    }
}

fn fix(position: Position) -> Fix {
    let Position { at, heading, speed_kmh, accuracy_m, timestamp } = position;
    Fix { at, heading, speed_kmh, accuracy_m, timestamp }
}
