//! What happened, counted: totals, gauges, times, errors, and a series over the run.
//!
//! Owns the numbers of the live display and of the report. Every method is cheap and may be
//! called from any task. Times are real time, not the city's.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use parking_lot::Mutex;
use serde::Serialize;

/// Longest series kept; a longer run is thinned to half, again and again.
const SERIES_MAX: usize = 1_200;
/// Histograms reach an hour, in microseconds.
const LONGEST_US: u64 = 3_600_000_000;
const FIGURES: u8 = 3;

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Totals since the start.
        #[derive(Default)]
        pub struct Totals { $($(#[$doc])* pub $name: AtomicU64,)* }

        /// The same, read at one moment.
        #[derive(Clone, Copy, Debug, Default, Serialize)]
        pub struct Counted { $($(#[$doc])* pub $name: u64,)* }

        impl Totals {
            pub fn read(&self) -> Counted {
                Counted { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Wishes to travel that demand brought.
    arrivals,
    /// Wishes nobody could voice because every rider account was travelling.
    unheard,
    /// Trips the server took.
    asked,
    /// Requests the server refused for good.
    refused,
    /// Trips that found a driver (each once).
    matched,
    completed,
    cancelled,
    no_drivers,
    /// Trips that were still open when the run was over.
    unfinished,
    /// Offers that drivers saw.
    offers,
    offers_accepted,
    offers_declined,
    /// Accepted too late: another had the trip, or the offer was over.
    offers_lost,
    offers_revoked,
    /// Offers seen by a driver who was on a trip.
    offers_while_busy,
    driver_cancels,
    /// Positions sent, live and backfilled.
    positions_up,
    positions_backfilled,
    /// Positions seen in trip rooms.
    positions_down,
    /// … which could not be matched with one that a driver of this run sent.
    positions_unmatched,
    /// Frames of the live map of near drivers.
    nearby_down,
    frames_down,
    connects,
    /// Connections lost without being asked for.
    lost,
    /// Connections cut on purpose.
    cut,
    snapshots,
    /// Trips whose end a driver learned by asking, no event having come.
    polled,
    sign_ups,
    log_ins,
    top_ups,
}

pub fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Numbers that go up and down.
#[derive(Default)]
pub struct Gauges {
    pub drivers_online: AtomicI64,
    /// Trips that wait for a driver.
    pub waiting: AtomicI64,
    /// Trips that have one.
    pub running: AtomicI64,
    pub riders_made: AtomicI64,
}

/// Holds a gauge up for as long as it lives.
pub struct Up<'a>(&'a AtomicI64);

impl<'a> Up<'a> {
    pub fn new(gauge: &'a AtomicI64) -> Self {
        gauge.fetch_add(1, Ordering::Relaxed);
        Self(gauge)
    }
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A histogram of durations.
pub struct Times(Mutex<Histogram<u64>>);

impl Default for Times {
    fn default() -> Self {
        Self(Mutex::new(blank()))
    }
}

fn blank() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_US, FIGURES).expect("the bounds are constants in range")
}

impl Times {
    pub fn record(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(LONGEST_US);
        self.0.lock().saturating_record(micros.max(1));
    }

    pub fn spread(&self) -> Spread {
        Spread::of(&self.0.lock())
    }

    /// The spread since the last call.
    fn take(&self) -> Spread {
        let mut histogram = self.0.lock();
        let spread = Spread::of(&histogram);
        histogram.reset();
        spread
    }

    /// Counts per step of `width`, the last one open.
    pub fn bars(&self, width: Duration, steps: usize) -> Vec<u64> {
        let histogram = self.0.lock();
        let width_us = u64::try_from(width.as_micros()).unwrap_or(LONGEST_US).max(1);
        let mut bars = vec![0; steps];
        for bucket in histogram.iter_recorded() {
            let step = (bucket.value_iterated_to() / width_us) as usize;
            bars[step.min(steps - 1)] += bucket.count_at_value();
        }
        bars
    }
}

/// A distribution in short, milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Spread {
    pub count: u64,
    pub mean_ms: f64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub p999_ms: f64,
    pub max_ms: f64,
}

impl Spread {
    fn of(histogram: &Histogram<u64>) -> Self {
        if histogram.is_empty() {
            return Self::default();
        }
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            count: histogram.len(),
            mean_ms: histogram.mean() / 1e3,
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1e3,
        }
    }
}

/// The server process, where it can be seen.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Usage {
    /// CPU time of the process itself, seconds.
    pub cpu_s: f64,
    /// CPU time of its descendants (a private PostgreSQL), seconds.
    pub children_cpu_s: f64,
    /// Resident memory of the process itself, MiB.
    pub rss_mib: f64,
    /// CPU time of this program, seconds.
    pub own_cpu_s: f64,
}

/// One moment of the series.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Sample {
    /// Seconds since the start.
    pub at_s: f64,
    pub online: i64,
    pub waiting: i64,
    pub running: i64,
    pub asked: u64,
    pub completed: u64,
    pub cancelled: u64,
    pub no_drivers: u64,
    pub positions_up: u64,
    pub positions_down: u64,
    /// Driver to rider, since the sample before.
    pub latency_p50_ms: f64,
    pub latency_p99_ms: f64,
    pub usage: Option<Usage>,
}

#[derive(Default)]
struct Series {
    samples: Vec<Sample>,
    /// Every how many samples one is kept.
    every: usize,
    skipped: usize,
}

/// Everything that is counted.
pub struct Stats {
    started: Instant,
    pub totals: Totals,
    pub gauges: Gauges,
    /// From asking to having a driver.
    pub wait: Times,
    /// From having a driver to his arrival.
    pub pickup: Times,
    /// From start to completion.
    pub ride: Times,
    /// A position from the driver's send to the rider's receipt.
    pub latency: Times,
    recent: Times,
    asks: Mutex<BTreeMap<&'static str, Histogram<u64>>>,
    errors: Mutex<BTreeMap<String, u64>>,
    first_errors: Mutex<BTreeMap<String, String>>,
    series: Mutex<Series>,
}

impl Default for Stats {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            totals: Totals::default(),
            gauges: Gauges::default(),
            wait: Times::default(),
            pickup: Times::default(),
            ride: Times::default(),
            latency: Times::default(),
            recent: Times::default(),
            asks: Mutex::default(),
            errors: Mutex::default(),
            first_errors: Mutex::default(),
            series: Mutex::new(Series { every: 1, ..Series::default() }),
        }
    }
}

impl Stats {
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// A rider saw a position this long after its driver sent it.
    pub fn saw_position(&self, after: Duration) {
        self.latency.record(after);
        self.recent.record(after);
    }

    /// A question was answered (well or not) after this time.
    pub fn answered(&self, what: &'static str, after: Duration) {
        let micros = u64::try_from(after.as_micros()).unwrap_or(LONGEST_US);
        self.asks.lock().entry(what).or_insert_with(blank).saturating_record(micros.max(1));
    }

    pub fn asks(&self) -> BTreeMap<&'static str, Spread> {
        self.asks.lock().iter().map(|(what, times)| (*what, Spread::of(times))).collect()
    }

    /// Counts a failure by what was asked and its code; keeps the first message of each.
    pub fn failed(&self, what: &str, code: &str, message: &str) {
        let key = format!("{what} {code}");
        let mut first = self.first_errors.lock();
        if !first.contains_key(&key) {
            first.insert(key.clone(), message.to_owned());
        }
        drop(first);
        *self.errors.lock().entry(key).or_default() += 1;
    }

    /// Failures by what and code, with the first message of each.
    pub fn failures(&self) -> Vec<Failures> {
        let first = self.first_errors.lock();
        let errors = self.errors.lock();
        let mut all: Vec<Failures> = errors
            .iter()
            .map(|(what, count)| Failures {
                what: what.clone(),
                count: *count,
                first: first.get(what).cloned().unwrap_or_default(),
            })
            .collect();
        all.sort_by_key(|failures| std::cmp::Reverse(failures.count));
        all
    }

    pub fn failure_count(&self) -> u64 {
        self.errors.lock().values().sum()
    }

    /// Adds a moment to the series and returns it, for the live display.
    pub fn sample(&self, usage: Option<Usage>) -> Sample {
        let counted = self.totals.read();
        let recent = self.recent.take();
        let gauge = |gauge: &AtomicI64| gauge.load(Ordering::Relaxed);
        let sample = Sample {
            at_s: self.elapsed().as_secs_f64(),
            online: gauge(&self.gauges.drivers_online),
            waiting: gauge(&self.gauges.waiting),
            running: gauge(&self.gauges.running),
            asked: counted.asked,
            completed: counted.completed,
            cancelled: counted.cancelled,
            no_drivers: counted.no_drivers,
            positions_up: counted.positions_up,
            positions_down: counted.positions_down,
            latency_p50_ms: recent.p50_ms,
            latency_p99_ms: recent.p99_ms,
            usage,
        };
        self.series.lock().push(sample);
        sample
    }

    pub fn series(&self) -> Vec<Sample> {
        self.series.lock().samples.clone()
    }
}

impl Series {
    fn push(&mut self, sample: Sample) {
        self.skipped += 1;
        if self.skipped < self.every {
            return;
        }
        self.skipped = 0;
        self.samples.push(sample);
        if self.samples.len() >= SERIES_MAX {
            let mut index = 0;
            self.samples.retain(|_| {
                index += 1;
                index % 2 == 0
            });
            self.every *= 2;
        }
    }
}

/// Failures of one kind.
#[derive(Clone, Debug, Serialize)]
pub struct Failures {
    /// What was asked, and the code of the answer.
    pub what: String,
    pub count: u64,
    /// The first message.
    pub first: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_knows_its_quantiles() {
        let times = Times::default();
        for ms in 1..=1_000 {
            times.record(Duration::from_millis(ms));
        }
        let spread = times.spread();
        assert_eq!(spread.count, 1_000);
        assert!((spread.p50_ms - 500.0).abs() < 2.0 && (spread.p99_ms - 990.0).abs() < 2.0);
        assert_eq!(times.bars(Duration::from_millis(250), 3).iter().sum::<u64>(), 1_000);
    }

    #[test]
    fn a_long_series_is_thinned_and_stays_in_order() {
        let mut series = Series { every: 1, ..Series::default() };
        for second in 0..10_000 {
            series.push(Sample { at_s: f64::from(second), ..Sample::default() });
        }
        assert!(series.samples.len() < SERIES_MAX && series.samples.len() > SERIES_MAX / 4);
        assert!(series.samples.windows(2).all(|two| two[0].at_s < two[1].at_s));
    }

    #[test]
    fn failures_are_counted_by_kind_and_keep_their_first_message() {
        let stats = Stats::default();
        stats.failed("offer.respond", "TRIP_TAKEN", "someone was faster");
        stats.failed("offer.respond", "TRIP_TAKEN", "again");
        stats.failed("login", "RATE_LIMITED", "slow down");
        let failures = stats.failures();
        assert_eq!((failures[0].what.as_str(), failures[0].count), ("offer.respond TRIP_TAKEN", 2));
        assert_eq!(failures[0].first, "someone was faster");
        assert_eq!(stats.failure_count(), 3);
    }
}
