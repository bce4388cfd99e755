//! What the run came to: numbers, verdict, and the three files they are written to.
//!
//! Owns the report as data and as text; the page with plots is in `page.rs`. Times are of real
//! time; the city's clock ran `lapse` times faster.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, LineStyle, Table, presets};
use serde::Serialize;

use crate::city::clock_text;
use crate::invariants::{Rule, Verdict};
use crate::stats::{Counted, Failures, Sample, Spread, Times, Usage};
use crate::world::World;

/// Bars of a histogram; the last one holds everything above.
const BARS: usize = 40;

/// Totals and usage at one moment of the run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Moment {
    pub at_s: f64,
    pub counted: Counted,
    pub usage: Option<Usage>,
}

/// What the server spent while demand arrived.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// Cores busy, of the server itself.
    pub cores: f64,
    /// … of its children (a private PostgreSQL).
    pub children_cores: f64,
    /// … of this program, for comparison.
    pub own_cores: f64,
    /// CPU of the server per position it took, everything else it did included.
    pub cpu_us_per_update: f64,
    pub cpu_ms_per_trip: f64,
    pub rss_mib: f64,
}

/// A histogram.
#[derive(Clone, Debug, Serialize)]
pub struct Bars {
    /// Width of a bar, milliseconds.
    pub step_ms: f64,
    pub counts: Vec<u64>,
}

impl Bars {
    /// Wide enough that nearly all of the distribution fits.
    fn of(times: &Times) -> Self {
        let wanted = times.spread().p99_ms * 1.1 / (BARS - 1) as f64;
        let step_ms = crate::plots::nice(wanted.max(0.05));
        Self { step_ms, counts: times.bars(Duration::from_secs_f64(step_ms / 1e3), BARS) }
    }
}

#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub scenario: String,
    pub url: String,
    pub seed: u64,
    pub drivers: u32,
    pub riders: i64,
    pub lapse: f64,
    pub demand_factor: f64,
    pub city_from: String,
    pub city_to: String,
    /// From opening to winding down, seconds.
    pub open_s: f64,
    pub totals: Counted,
    pub offers_per_trip: f64,
    pub updates_per_s: f64,
    pub deliveries_per_s: f64,
    pub trips_per_minute: f64,
    pub wait: Spread,
    pub pickup: Spread,
    pub ride: Spread,
    /// A position from driver to rider.
    pub latency: Spread,
    /// Questions and their answers, by socket and REST.
    pub answers: BTreeMap<&'static str, Spread>,
    pub failures: Vec<Failures>,
    pub cost: Option<Cost>,
    pub verdict: Verdict,
    pub wait_bars: Bars,
    pub delay_bars: Bars,
    pub series: Vec<Sample>,
}

impl Report {
    /// `open` is the time in which demand arrived.
    pub fn new(world: &World, demand_factor: f64, open: (Moment, Moment)) -> Self {
        let (stats, totals) = (&world.stats, world.stats.totals.read());
        let (from, to) = (&open.0, &open.1);
        let open_s = (to.at_s - from.at_s).max(0.001);
        let updates = to.counted.positions_up - from.counted.positions_up;
        let deliveries = to.counted.positions_down - from.counted.positions_down;
        let made = &stats.gauges.riders_made;
        Self {
            scenario: world.city.name.to_owned(),
            url: world.args.url.clone(),
            seed: world.args.seed,
            drivers: world.args.drivers,
            riders: made.load(std::sync::atomic::Ordering::Relaxed),
            lapse: world.args.lapse,
            demand_factor,
            city_from: world.args.start.to_string(),
            city_to: clock_text(world.city_s()),
            open_s,
            offers_per_trip: ratio(totals.offers, totals.asked),
            updates_per_s: updates as f64 / open_s,
            deliveries_per_s: deliveries as f64 / open_s,
            trips_per_minute: totals.completed as f64 / open_s * 60.0,
            wait: stats.wait.spread(),
            pickup: stats.pickup.spread(),
            ride: stats.ride.spread(),
            latency: stats.latency.spread(),
            answers: stats.asks(),
            failures: stats.failures(),
            cost: cost(from, to, updates),
            verdict: world.judge.verdict(),
            wait_bars: Bars::of(&stats.wait),
            delay_bars: Bars::of(&stats.latency),
            series: stats.series(),
            totals,
        }
    }

    pub fn good(&self) -> bool {
        self.verdict.total() == 0
    }

    /// Writes report.txt, report.json and report.html; answers with the page's path.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        let file = |name: &str, text: String| {
            let path = dir.join(name);
            std::fs::write(&path, text).with_context(|| format!("can't write {}", path.display()))
        };
        file("report.txt", self.text())?;
        file("report.json", serde_json::to_string_pretty(self)?)?;
        file("report.html", crate::page::page(self))?;
        Ok(dir.join("report.html"))
    }

    /// The report as a person reads it in a terminal.
    pub fn text(&self) -> String {
        let mut text = format!("{}\n\n", self.headline());
        let _ = writeln!(text, "{}\n", pairs(&self.numbers()));
        let _ = writeln!(text, "{}\n", spreads("time", self.times().iter().copied()));
        let answers = self.answers.iter().map(|(what, spread)| (*what, spread));
        let _ = writeln!(text, "{}\n", spreads("answer to", answers));
        if !self.failures.is_empty() {
            let mut table = plain();
            table.set_header(["count", "what and code", "first message"]);
            for failures in &self.failures {
                let first: String = failures.first.chars().take(90).collect();
                table.add_row([failures.count.to_string(), failures.what.clone(), first]);
            }
            let _ = writeln!(text, "{table}\n");
        }
        text.push_str(&self.judgement());
        text
    }

    pub fn headline(&self) -> String {
        format!(
            "{} {} to {} (×{}), {} drivers, {:.1} minutes, demand factor {:.4}, seed {}",
            self.scenario,
            self.city_from,
            self.city_to,
            self.lapse,
            self.drivers,
            self.open_s / 60.0,
            self.demand_factor,
            self.seed,
        )
    }

    /// The numbers worth a line, with their names.
    pub fn numbers(&self) -> Vec<(&'static str, String)> {
        let t = &self.totals;
        let share = |n: u64| format!("{n} ({:.1} %)", 100.0 * ratio(n, t.asked));
        let mut rows = vec![
            ("trips asked", t.asked.to_string()),
            ("  served", share(t.completed)),
            ("  cancelled", share(t.cancelled)),
            ("  no driver found", share(t.no_drivers)),
            ("  unfinished", t.unfinished.to_string()),
            ("requests refused / no rider free", format!("{} / {}", t.refused, t.unheard)),
            ("trips served per minute", format!("{:.1}", self.trips_per_minute)),
            ("offers per trip", format!("{:.2}", self.offers_per_trip)),
            (
                "offers accepted / declined / too late",
                format!("{} / {} / {}", t.offers_accepted, t.offers_declined, t.offers_lost),
            ),
            ("positions sent per second", format!("{:.0}", self.updates_per_s)),
            ("positions delivered per second", format!("{:.0}", self.deliveries_per_s)),
            ("positions not recognised", t.positions_unmatched.to_string()),
            ("connections made / lost / cut", format!("{} / {} / {}", t.connects, t.lost, t.cut)),
            ("ends learned by asking", t.polled.to_string()),
        ];
        if let Some(cost) = &self.cost {
            rows.extend([
                ("server CPU per position, all in", format!("{:.0} µs", cost.cpu_us_per_update)),
                ("server CPU per trip, all in", format!("{:.1} ms", cost.cpu_ms_per_trip)),
                (
                    "cores: server / its children / this program",
                    format!(
                        "{:.2} / {:.2} / {:.2}",
                        cost.cores, cost.children_cores, cost.own_cores
                    ),
                ),
                ("server memory", format!("{:.0} MiB", cost.rss_mib)),
            ]);
        }
        rows
    }

    pub const fn times(&self) -> [(&'static str, &Spread); 4] {
        [
            ("wait for a driver", &self.wait),
            ("driver's way to the pickup", &self.pickup),
            ("ride", &self.ride),
            ("position, driver to rider", &self.latency),
        ]
    }

    /// Every promise and whether it held.
    pub fn judgement(&self) -> String {
        let mut text = String::new();
        for rule in Rule::ALL {
            let broken = self.verdict.counts.get(&rule).copied().unwrap_or(0);
            let mark = if broken == 0 { "held".to_owned() } else { format!("BROKEN {broken}×") };
            let _ = writeln!(text, "{rule:?}  {mark:<12} {}", rule.says());
        }
        for violation in self.verdict.violations.iter().take(25) {
            let _ = writeln!(text, "  {:?}: {}", violation.rule, violation.what);
        }
        let rest = self.verdict.total().saturating_sub(25);
        if rest > 0 {
            let _ = writeln!(text, "  … and {rest} more (report.json has the first 200)");
        }
        text
    }
}

fn cost(from: &Moment, to: &Moment, updates: u64) -> Option<Cost> {
    let (before, after) = (from.usage?, to.usage?);
    let seconds = (to.at_s - from.at_s).max(0.001);
    let cpu_s = after.cpu_s - before.cpu_s;
    let trips = to.counted.completed - from.counted.completed;
    Some(Cost {
        cores: cpu_s / seconds,
        children_cores: (after.children_cpu_s - before.children_cpu_s) / seconds,
        own_cores: (after.own_cpu_s - before.own_cpu_s) / seconds,
        cpu_us_per_update: cpu_s * 1e6 / updates.max(1) as f64,
        cpu_ms_per_trip: cpu_s * 1e3 / trips.max(1) as f64,
        rss_mib: after.rss_mib,
    })
}

fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole.max(1) as f64
}

fn pairs(rows: &[(&'static str, String)]) -> Table {
    let mut table = plain();
    for (name, value) in rows {
        table.add_row([*name, value.as_str()]);
    }
    right(&mut table, 1..2);
    table
}

pub fn plain() -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY.row_separator(LineStyle::none()));
    table
}

/// Numbers stand at the right of their columns.
fn right(table: &mut Table, columns: Range<usize>) {
    for index in columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
}

fn spreads<'a>(title: &str, rows: impl Iterator<Item = (&'a str, &'a Spread)>) -> Table {
    let mut table = plain();
    table.set_header([title, "count", "mean", "p50", "p90", "p99", "p99.9", "max"]);
    for (name, spread) in rows {
        let mut cells = vec![name.to_owned(), spread.count.to_string()];
        cells.extend(columns(spread).map(millis));
        table.add_row(cells);
    }
    right(&mut table, 1..8);
    table
}

pub const fn columns(spread: &Spread) -> [f64; 6] {
    let Spread { mean_ms, p50_ms, p90_ms, p99_ms, p999_ms, max_ms, .. } = *spread;
    [mean_ms, p50_ms, p90_ms, p99_ms, p999_ms, max_ms]
}

/// A duration in the unit that fits it.
pub fn millis(ms: f64) -> String {
    match ms {
        ms if ms >= 10_000.0 => format!("{:.0} s", ms / 1e3),
        ms if ms >= 1_000.0 => format!("{:.1} s", ms / 1e3),
        ms if ms >= 10.0 => format!("{ms:.0} ms"),
        ms => format!("{ms:.2} ms"),
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::invariants::Violation;

    /// A report with something in every part.
    pub fn sample() -> Report {
        let totals = Counted {
            asked: 200,
            completed: 150,
            cancelled: 40,
            no_drivers: 10,
            ..Counted::default()
        };
        let spread = Spread { count: 9, p50_ms: 1.5, p99_ms: 12_345.0, ..Spread::default() };
        let what = "trip 7: gap, event <3> after 1".to_owned();
        Report {
            scenario: "Manhattan".to_owned(),
            url: "http://127.0.0.1:8080".to_owned(),
            seed: 1,
            drivers: 300,
            riders: 90,
            lapse: 6.0,
            demand_factor: 0.03,
            city_from: "Tue 18:00".to_owned(),
            city_to: "Tue 18:30".to_owned(),
            open_s: 300.0,
            totals,
            offers_per_trip: 3.2,
            updates_per_s: 150.0,
            deliveries_per_s: 60.0,
            trips_per_minute: 30.0,
            wait: spread,
            pickup: spread,
            ride: spread,
            latency: spread,
            answers: BTreeMap::from([("offer.respond", spread)]),
            failures: vec![Failures {
                what: "offer.respond TRIP_TAKEN".to_owned(),
                count: 4,
                first: "TRIP_TAKEN: someone was faster".to_owned(),
            }],
            cost: None,
            verdict: Verdict {
                counts: BTreeMap::from([(Rule::S1, 1)]),
                violations: vec![Violation::new(Rule::S1, what)],
            },
            wait_bars: Bars { step_ms: 1_000.0, counts: vec![1, 2, 3] },
            delay_bars: Bars { step_ms: 1.0, counts: vec![3, 2, 1] },
            series: (0..10).map(|s| Sample { at_s: f64::from(s), ..Sample::default() }).collect(),
        }
    }

    #[test]
    fn the_text_says_what_matters() {
        let text = sample().text();
        for part in [
            "Manhattan Tue 18:00 to Tue 18:30 (×6), 300 drivers",
            "150 (75.0 %)",
            "12 s",
            "offer.respond TRIP_TAKEN",
            "S1  BROKEN 1×",
            "S2  held",
            "trip 7: gap",
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!sample().good());
    }

    #[test]
    fn the_json_reads_back() {
        let json = serde_json::to_string(&sample()).expect("it writes");
        let value: serde_json::Value = serde_json::from_str(&json).expect("it reads");
        assert_eq!(value["totals"]["completed"], 150);
        assert_eq!(value["verdict"]["counts"]["S1"], 1);
    }

    #[test]
    fn cost_is_what_was_spent_while_open() {
        let usage = |cpu_s, rss_mib| Some(Usage { cpu_s, rss_mib, ..Usage::default() });
        let from = Moment { at_s: 10.0, usage: usage(1.0, 50.0), ..Moment::default() };
        let to = Moment { at_s: 20.0, usage: usage(3.0, 60.0), ..Moment::default() };
        let cost = cost(&from, &to, 1_000).expect("both were read");
        assert!((cost.cores - 0.2).abs() < 1e-9 && (cost.cpu_us_per_update - 2_000.0).abs() < 1e-6);
        assert!(super::cost(&from, &Moment::default(), 1).is_none());
    }
}
