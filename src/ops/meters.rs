//! Prometheus metrics: one recorder per process, rendered as text.
//!
//! Rooms use the `metrics` macros directly; names are `smartline_…` in base units (`_seconds`,
//! `_bytes`, `_total`), never with ids as labels.

use std::time::Duration;

use metrics::{describe_gauge, gauge};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use crate::Tasks;

/// Bucket borders in seconds for everything that ends in `_seconds`.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
/// A match, a trip or a surge takes minutes, not milliseconds.
const LONG_SECONDS: &[f64] = &[0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0];

/// The process's metrics. Cheap to clone.
#[derive(Clone)]
pub struct Meters(PrometheusHandle);

impl Meters {
    /// Installs the recorder, or returns a detached one when the process has one already (tests
    /// start several servers in one process).
    pub fn install() -> Self {
        let builder = PrometheusBuilder::new()
            .set_buckets(SECONDS)
            .and_then(|b| {
                let matcher = Matcher::Full("smartline_matching_duration_seconds".to_owned());
                b.set_buckets_for_metric(matcher, LONG_SECONDS)
            })
            .and_then(|b| {
                let matcher = Matcher::Full("smartline_trip_duration_seconds".to_owned());
                b.set_buckets_for_metric(matcher, LONG_SECONDS)
            })
            .and_then(|b| {
                let matcher = Matcher::Full("smartline_surge_episode_seconds".to_owned());
                b.set_buckets_for_metric(matcher, LONG_SECONDS)
            })
            .unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        let handle = recorder.handle();
        // A second server in one process: the first recorder stays.
        drop(metrics::set_global_recorder(recorder));
        Self(handle)
    }

    /// The text format 0.0.4 of Prometheus.
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds old samples every few seconds until the node stops.
    pub fn keep_up(&self, tasks: &Tasks) {
        let (handle, stopping) = (self.0.clone(), tasks.stopping());
        tasks.spawn("metrics upkeep", async move {
            let mut tick = tokio::time::interval(Duration::from_secs(5));
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    _ = tick.tick() => {
                        handle.run_upkeep();
                        process_meters();
                    }
                }
            }
        });
    }
}

/// Resident memory and CPU time of this process, from `/proc/self` (Linux).
pub fn process_meters() {
    describe_gauge!("process_resident_memory_bytes", "Resident memory");
    describe_gauge!("process_cpu_seconds", "CPU time used, user and system");
    if let Ok(text) = std::fs::read_to_string("/proc/self/statm") {
        let pages = text.split(' ').nth(1).and_then(|p| p.parse::<f64>().ok()).unwrap_or(0.0);
        gauge!("process_resident_memory_bytes").set(pages * 4096.0);
    }
    if let Ok(text) = std::fs::read_to_string("/proc/self/stat") {
        // The second field is the name in brackets, which may hold spaces; count from behind it.
        let after_name = text.rsplit(") ").next().unwrap_or("");
        let ticks: f64 =
            after_name.split(' ').skip(11).take(2).filter_map(|t| t.parse::<f64>().ok()).sum();
        gauge!("process_cpu_seconds").set(ticks / 100.0);
    }
}
