//! The live map: moves and questions for the nearest ten within 5 km, beside Redis GEO.
//!
//! Every size and crowd gets an index and a Redis of its own making. In each run both do moves,
//! questions and a mixture of 95 to 5, ours first, theirs right after. Ours does the whole stream
//! on one thread; Redis does as much of the same stream as fits its budget, pipelined. A wrong
//! answer, by comparison with a scan, fails the run.

mod by_sql;
mod crowd;
mod exact;
mod hot_path;
mod memory;
mod ours;
mod theirs;

use geo::TileIndex;

use crate::Options;
use crate::redis::Redis;
use crate::table::{Bound, Figure, Row};
use crowd::{Crowd, Shape, Work};

pub(crate) const RADIUS_M: f64 = 5000.0;
pub(crate) const LIMIT: usize = 10;
/// Where the bounds apply.
const BOUND_AT: usize = 100_000;

/// What one side took, a value per run.
#[derive(Default)]
struct Taken {
    cpu_us: Vec<f64>,
    per_s: Vec<f64>,
}

impl Taken {
    fn add(&mut self, count: usize, wall_s: f64, cpu_s: f64) {
        self.cpu_us.push(cpu_s * 1e6 / count as f64);
        self.per_s.push(count as f64 / wall_s);
    }
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let sizes: &[usize] =
        if options.quick { &[10_000, 100_000] } else { &[10_000, 100_000, 1_000_000] };
    let mut rows = Vec::new();
    for shape in [Shape::Cairo, Shape::World] {
        for size in sizes {
            eprintln!("index: {} {size}", shape.name());
            rows.extend(beside_redis(shape, *size, options)?);
        }
    }
    let size = sizes.last().copied().unwrap_or(BOUND_AT);
    for shape in [Shape::Cairo, Shape::World] {
        eprintln!("index: memory, {} {size}", shape.name());
        rows.extend(memory::rows(shape, size, options));
    }
    eprintln!("index: through the fleet");
    rows.extend(Box::pin(hot_path::rows(BOUND_AT, options)).await?);
    Ok(rows)
}

fn beside_redis(shape: Shape, size: usize, options: &Options) -> anyhow::Result<Vec<Row>> {
    // At a million a run is short, so that five of them and the rival's take minutes.
    let rounds = if options.quick { 4 } else { (4_000_000 / size).clamp(4, 20) as u32 };
    let mut crowd = Crowd::new(shape, size);
    let index = ours::filled(&crowd);
    let redis = Redis::start()?;
    let mut rival = theirs::Rival::filled(&redis, &crowd)?;
    exact::agree(&index, &mut rival, &mut crowd)?;
    let works = [Work::Moves, Work::Questions, Work::Mixed];
    let mut taken: Vec<(Taken, Taken)> = works.map(|_| Default::default()).into();
    let mut waits = (Vec::new(), Vec::new());
    for _ in 0..options.runs {
        for (work, (mine, other)) in works.into_iter().zip(&mut taken) {
            let first = crowd.round(work);
            if work == Work::Questions {
                let (p50, p99) = ours::waits(&index, &first);
                waits.0.push(p50);
                waits.1.push(p99);
            }
            ours::measure(&index, &mut crowd, work, (rounds, &first), mine)?;
            rival.measure(&first, work, options, other)?;
        }
        exact::check(&index, &mut crowd, options)?;
    }
    let mut rows = compared(shape, size, &works, taken, &redis);
    if size == BOUND_AT {
        let what = |of: &str| format!("{}: one question, {of}", title(shape, size));
        let millis = |waits| Figure::new("ms", waits);
        rows.push(Row::alone(what("median"), millis(waits.0)));
        let p99 = Row::alone(what("99 of 100"), millis(waits.1));
        rows.push(p99.bound(Bound::Max(1.0)));
    }
    Ok(rows)
}

fn compared(
    shape: Shape,
    size: usize,
    works: &[Work],
    taken: Vec<(Taken, Taken)>,
    redis: &Redis,
) -> Vec<Row> {
    let rival = format!("Redis {} GEO", redis.version());
    let mut rows = Vec::new();
    for (work, (mine, other)) in works.iter().zip(taken) {
        let what = format!("{}: {}", title(shape, size), work.name());
        let cpu = |taken: &Taken| Figure::new("µs CPU", taken.cpu_us.clone());
        let row = Row::less(what.clone(), cpu(&mine), &rival, cpu(&other));
        let bounded = (shape, *work, size) == (Shape::Cairo, Work::Mixed, BOUND_AT);
        rows.push(if bounded { row.bound(Bound::RatioMin(300.0)) } else { row });
        if *work == Work::Mixed {
            let rate = |taken: Taken| Figure::new("/s", taken.per_s);
            rows.push(Row::more(format!("{what}, by the clock"), rate(mine), &rival, rate(other)));
        }
    }
    rows
}

fn title(shape: Shape, size: usize) -> String {
    match size {
        1_000_000.. => format!("{} {}M", shape.name(), size / 1_000_000),
        _ => format!("{} {}k", shape.name(), size / 1000),
    }
}

/// A question as the map is asked in these measurements.
fn question(from: base::Point) -> geo::Query {
    let heard_since = base::Millis(0);
    geo::Query { from, radius_m: RADIUS_M, classes: u16::MAX, heard_since, limit: LIMIT }
}

/// Puts a driver where he is now.
fn put(index: &TileIndex, slot: u32, at: base::Point, round: i64) {
    index.put(slot, at, base::Millis(round));
}
