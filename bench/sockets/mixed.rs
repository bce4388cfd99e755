//! Everything at once: trips that are followed, maps that are watched, trips that come and go.
//!
//! Short as a scenario; as a soak for as long as asked, to see whether memory grows.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::Scale;
use super::nearby::{go_offline, go_online, watch};
use super::pairs::Pairs;
use super::rides::ride;
use super::town::Town;
use super::wire::Format;
use crate::cpu::{Cpu, resident};
use crate::table::{Bound, Figure, Row};

/// Account numbers of the three kinds of people.
const PAIRS: usize = 150;
const FREE: usize = 300;
const RIDES: usize = 8;
const WATCHERS: usize = 20;
const LOOK: f64 = 1.5;
const RELAY_EVERY: Duration = Duration::from_millis(500);
const MAP_EVERY: Duration = Duration::from_secs(1);
/// Tokens live for 15 minutes: everybody comes back with a fresh one before.
const SHIFT: Duration = Duration::from_secs(8 * 60);
const SAMPLE: Duration = Duration::from_secs(5);
/// What comes before a soak: rings of recent events fill, ten minutes of requests make the surge.
const WARM_UP: Duration = Duration::from_secs(2 * 8 * 60);
/// Memory is level when its trend adds less than this over the whole soak, %.
const LEVEL: f64 = 5.0;

/// How many of each.
struct Load {
    pairs: usize,
    free: usize,
    rides: usize,
    watchers: usize,
}

/// What one stretch of load showed.
struct Shift {
    cpu: f64,
    relay: f64,
    map: f64,
    trips: f64,
    lost: f64,
}

impl Load {
    fn new(scale: &Scale) -> Self {
        let few = |whole: usize| scale.pick(whole, whole / 8 + 1);
        Self { pairs: few(PAIRS), free: few(FREE), rides: few(RIDES), watchers: few(WATCHERS) }
    }

    fn all(&self) -> usize {
        self.pairs + self.free + self.rides
    }

    async fn people(&self, town: &mut Town) -> anyhow::Result<Pairs> {
        town.drivers(self.all()).await?;
        town.riders(self.all()).await?;
        town.restart().await?;
        Pairs::book(town, 0, self.pairs).await
    }

    /// Everybody comes, works for so long, and goes.
    async fn shift(
        &self,
        town: &mut Town,
        pairs: &Pairs,
        length: Duration,
    ) -> anyhow::Result<Shift> {
        let relay = pairs.open(town, Format::Binary).await?;
        let free = self.pairs..self.pairs + self.free;
        let map = go_online(town, free.clone()).await?;
        for watcher in 0..self.watchers {
            let at = map.cars.spot(watcher * self.free / self.watchers, 0);
            watch(town, &map, self.pairs + watcher, at, LOOK).await?;
        }
        let (pid, used) = (town.pid(), Cpu::of(town.pid())?);
        let cpu = || Cpu::of(pid);
        let (seen, shown, driven) = tokio::join!(
            relay.window(RELAY_EVERY, length, cpu),
            map.window(MAP_EVERY, length, cpu),
            ride(town, free.end, self.rides, (length, None)),
        );
        let used = Cpu::of(pid)?.saturating_sub(used);
        let (seen, shown, count) = (seen?, shown?, driven?);
        drop(map);
        go_offline(town, free).await?;
        Ok(Shift {
            cpu: used.as_secs_f64() / length.as_secs_f64() * 100.0,
            relay: seen.lag(0.99),
            map: shown.lag(0.99),
            trips: count.trips.load(Ordering::Relaxed) as f64,
            lost: count.missing.load(Ordering::Relaxed) as f64,
        })
    }

    fn name(&self, what: &str) -> String {
        format!(
            "{what}: {} trips followed at 2/s, {} free drivers at 1/s, {} maps, {} pairs on trips",
            self.pairs, self.free, self.watchers, self.rides
        )
    }
}

pub(crate) async fn run(town: &mut Town, scale: &Scale) -> anyhow::Result<Vec<Row>> {
    let load = Load::new(scale);
    let length = scale.span(15, 5);
    eprintln!("mixed: {} drivers", load.all());
    let pairs = load.people(town).await?;
    let mut seen = Vec::new();
    for run in 0..=scale.runs {
        let shift = load.shift(town, &pairs, length).await?;
        // The first one warms up.
        if run > 0 {
            seen.push(shift);
        }
    }
    pairs.end(town).await?;
    let figure = |unit, of: fn(&Shift) -> f64| Figure::new(unit, seen.iter().map(of).collect());
    Ok(vec![
        Row::alone(load.name("mixed"), figure("% of a core", |seen| seen.cpu)),
        Row::alone("mixed: p99 from driver to rider", figure("ms", |seen| seen.relay)),
        Row::alone("mixed: p99 from driver to map", figure("ms", |seen| seen.map)),
        Row::alone("mixed: trip events that did not arrive", figure("", |seen| seen.lost)),
    ])
}

/// The same for so long, after a warm-up that is not judged; how memory goes.
pub(crate) async fn soak(
    town: &mut Town,
    scale: &Scale,
    length: Duration,
) -> anyhow::Result<Vec<Row>> {
    let load = Load::new(scale);
    let warm_up = scale.span(WARM_UP.as_secs(), 10);
    eprintln!("soak: {} drivers, {} s of warm-up first", load.all(), warm_up.as_secs());
    let pairs = load.people(town).await?;
    let (begin, pid, whole) = (Instant::now(), town.pid(), warm_up + length);
    let sampled = tokio::spawn(async move {
        let mut samples = Vec::new();
        while begin.elapsed() < whole {
            samples.push((begin.elapsed().as_secs_f64() / 60.0, resident(pid)? as f64 / 1024.0));
            sleep(SAMPLE).await;
        }
        anyhow::Ok(samples)
    });
    let mut seen = Vec::new();
    while begin.elapsed() < whole {
        town.renew_tokens().await?;
        let left = whole.saturating_sub(begin.elapsed()).max(Duration::from_secs(1));
        let shift = load.shift(town, &pairs, left.min(SHIFT)).await?;
        eprintln!(
            "  {:.0} min: {:.0} MiB, CPU {:.1} %, relay p99 {:.1} ms, map p99 {:.0} ms, {} trips, \
             {} events missing",
            begin.elapsed().as_secs_f64() / 60.0,
            resident(pid)? as f64 / 1024.0 / 1024.0,
            shift.cpu,
            shift.relay,
            shift.map,
            shift.trips,
            shift.lost,
        );
        seen.push(shift);
    }
    let samples = sampled.await??;
    let warm = samples.iter().take_while(|(minute, _)| *minute * 60.0 < warm_up.as_secs_f64());
    Ok(soaked(scale, &load, &seen, &samples[warm.count()..]))
}

/// `samples` are (minute, KiB) after the warm-up.
fn soaked(scale: &Scale, load: &Load, seen: &[Shift], samples: &[(f64, f64)]) -> Vec<Row> {
    let last = samples.last().map_or(f64::NAN, |sample| sample.1);
    let minutes = samples.last().zip(samples.first()).map_or(0.0, |(last, first)| last.0 - first.0);
    let trend = slope(samples);
    let figure = |unit, of: fn(&Shift) -> f64| Figure::new(unit, seen.iter().map(of).collect());
    let growth = Figure::new("%", vec![trend * minutes / last * 100.0]);
    let growth = Row::alone(format!("soak: growth of memory in {minutes:.0} min"), growth);
    let lost = Row::alone("soak: trip events that did not arrive", figure("", |seen| seen.lost));
    vec![
        Row::alone(load.name("soak"), figure("% of a core", |seen| seen.cpu)),
        scale.bound(growth, Bound::Max(LEVEL)),
        Row::alone("soak: memory per minute", Figure::new("KiB", vec![trend])),
        Row::alone("soak: memory at the end", Figure::new("MiB", vec![last / 1024.0])),
        Row::alone("soak: trips", Figure::new("", vec![seen.iter().map(|s| s.trips).sum()])),
        Row::alone("soak: p99 from driver to rider", figure("ms", |seen| seen.relay)),
        scale.bound(lost, Bound::Max(0.0)),
    ]
}

/// Least squares.
fn slope(samples: &[(f64, f64)]) -> f64 {
    let count = samples.len() as f64;
    let mean_x = samples.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = samples.iter().map(|(_, y)| y).sum::<f64>() / count;
    let above: f64 = samples.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let below: f64 = samples.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    above / below
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_its_slope() {
        let line: Vec<_> = (0..10).map(|x| (f64::from(x), f64::from(x) * 3.0 + 1.0)).collect();
        assert!((slope(&line) - 3.0).abs() < 1e-9);
    }
}
