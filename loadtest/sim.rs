//! `loadtest sim`: the dispatch engine's own code on virtual time, in a synthetic city.
//!
//! Owns the policies that are compared, the runs over demands and seeds, and the table. What riders
//! and drivers do, and what is counted how, is said at the head of `play`. One seed is one city:
//! every policy meets the same riders at the same moments and the same drivers at the same places.

mod cars;
mod measures;
mod plane;
mod play;
#[cfg(test)]
mod tests;

use std::fmt::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use comfy_table::{CellAlignment, Table};
use dispatch::{Batching, Preset, Presets, Rules, Strategy, Supply};
use parking_lot::Mutex;
use serde::Serialize;

use self::measures::{Measures, spread};
use self::play::{Play, Setting};

/// Plays dispatch policies against each other in a synthetic city, on virtual time.
///
/// 20 × 20 km, riders between homes and work, roads 1.3 times the air at 24 km/h. Prints a table,
/// mean and standard deviation over the seeds, and writes every run to a JSON file when asked to.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "loadtest sim")]
pub struct Args {
    /// Requests per minute, one city each.
    #[arg(long, value_delimiter = ',', default_value = "28,34,40")]
    pub per_minute: Vec<f64>,
    /// Mean chance that a driver takes an offer with a short pickup.
    #[arg(long, value_delimiter = ',', default_value = "0.65,0.26")]
    pub acceptance: Vec<f64>,
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "top-five,sequential,exclusive,full"
    )]
    pub policies: Vec<Policy>,
    #[arg(long, value_delimiter = ',', default_value = "1,2,3")]
    pub seeds: Vec<u64>,
    #[arg(long, default_value_t = 1_000)]
    pub drivers: usize,
    /// Hours before anything is counted.
    #[arg(long, default_value_t = 1.0)]
    pub warm_up: f64,
    /// Hours that are counted.
    #[arg(long, default_value_t = 3.0)]
    pub hours: f64,
    /// Numbers of BATCHED changed for this run, as name=number: window, candidates, miss,
    /// extra-eta, spare, short, ample-reach, ample, growth, point, decline, earlier, chain,
    /// at-once, at-least; seconds where it is a time.
    #[arg(long, value_delimiter = ',', value_parser = tuning)]
    pub tune: Vec<(String, f64)>,
    /// Cities played at a time.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// File for every run's measures.
    #[arg(long)]
    pub json: Option<PathBuf>,
}

/// A way to dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The seed's: the best five at once, first to accept has the trip.
    TopFive,
    /// One at a time, 10 s, five of them, then ten at once.
    Sequential,
    /// The batch alone: each search its own driver, one offer at a time, no reach that shrinks,
    /// nobody promised a next trip.
    Exclusive,
    /// All of BATCHED.
    Full,
    /// BATCHED without promised next trips.
    Unchained,
    /// BATCHED with one reach, whether drivers are short or not.
    Uncapped,
    /// BATCHED with one offer at a time.
    Single,
    /// BATCHED by time alone: no score, no fairness.
    Blind,
}

impl Policy {
    const fn strategy(self) -> Strategy {
        match self {
            Self::TopFive => Strategy::FirstAccept,
            Self::Sequential => Strategy::Sequential,
            _ => Strategy::Batched,
        }
    }

    fn rules(self, full: Batching) -> Rules {
        let wide = Supply { short_s: full.supply.ample_s, ..full.supply };
        let single = Preset { at_once: 1, ..full.preset.clone() };
        let unchained = |preset: Preset| Preset { chain: Duration::ZERO, ..preset };
        let batched = match self {
            Self::TopFive | Self::Sequential | Self::Full => full,
            Self::Exclusive => Batching { preset: unchained(single), supply: wide, ..full },
            Self::Unchained => Batching { preset: unchained(full.preset.clone()), ..full },
            Self::Uncapped => Batching { supply: wide, ..full },
            Self::Single => Batching { preset: single, ..full },
            Self::Blind => Batching { point_s: 0.0, ..full },
        };
        Rules { presets: Presets { batched, ..Presets::default() }, ..Rules::default() }
    }

    fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

fn tuning(text: &str) -> Result<(String, f64)> {
    let (name, value) = text.split_once('=').context("expected name=number")?;
    let value: f64 = value.parse()?;
    ensure!(value >= 0.0, "a number of BATCHED is not negative");
    ensure!(set(&mut Batching::default(), name, value), "BATCHED has no number {name}");
    Ok((name.to_owned(), value))
}

fn tuned(changes: &[(String, f64)]) -> Batching {
    let mut batching = Batching::default();
    for (name, value) in changes {
        set(&mut batching, name, *value);
    }
    batching
}

/// Whether there is such a number.
fn set(batching: &mut Batching, name: &str, value: f64) -> bool {
    let seconds = Duration::from_secs_f64(value);
    match name {
        "window" => batching.window = seconds,
        "candidates" => batching.candidates = value as usize,
        "miss" => batching.offers.miss = value,
        "extra-eta" => batching.offers.extra_eta_s = value as u32,
        "spare" => batching.offers.spare = value,
        "short" => batching.supply.short_s = value,
        "ample-reach" => batching.supply.ample_s = value,
        "ample" => batching.supply.ample = value,
        "growth" => batching.supply.growth = value,
        "point" => batching.point_s = value,
        "earlier" => batching.earlier = value,
        "decline" => batching.decline_s = value,
        "chain" => batching.preset.chain = seconds,
        "at-once" => batching.preset.at_once = value as usize,
        "at-least" => batching.preset.at_least = seconds,
        _ => return false,
    }
    true
}

/// One run.
#[derive(Clone, Copy, Debug, Serialize)]
struct Run {
    policy: Policy,
    per_minute: f64,
    acceptance: f64,
    seed: u64,
    measures: Measures,
}

/// Plays everything that is asked for; there are no promises to break here but the engine's own,
/// which a run checks as it goes.
pub fn start(args: &Args) -> Result<bool> {
    ensure!(args.drivers > 0 && args.threads > 0, "there must be drivers and threads");
    ensure!(args.per_minute.iter().all(|rate| *rate > 0.0), "there must be demand");
    ensure!(args.acceptance.iter().all(|p| (0.0..=1.0).contains(p)), "a chance is 0 to 1");
    ensure!(args.warm_up >= 0.0 && args.hours > 0.0, "hours can't be negative");
    let runs = play_all(args);
    println!("{}", text(args, &runs));
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&runs)?;
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(true)
}

fn play_all(args: &Args) -> Vec<Run> {
    let mut asked = Vec::new();
    for acceptance in &args.acceptance {
        for per_minute in &args.per_minute {
            for policy in &args.policies {
                asked.extend(
                    args.seeds.iter().map(|seed| (*policy, *per_minute, *acceptance, *seed)),
                );
            }
        }
    }
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..args.threads {
            scope.spawn(|| {
                while let Some(one) = asked.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let (policy, per_minute, acceptance, seed) = *one;
                    let measures = play_one(args, *one);
                    let run = Run { policy, per_minute, acceptance, seed, measures };
                    done.lock().push((*one, run));
                }
            });
        }
    });
    let done = done.into_inner();
    // As they were asked for, not as they came in.
    let of = |one| done.iter().find(|(asked, _)| asked == one).map(|(_, run)| *run);
    asked.iter().filter_map(of).collect()
}

fn play_one(
    args: &Args,
    (policy, per_minute, acceptance, seed): (Policy, f64, f64, u64),
) -> Measures {
    let hours = |hours: f64| Duration::from_secs_f64(hours * 3_600.0);
    let setting = Setting {
        seed,
        drivers: args.drivers,
        per_minute,
        acceptance,
        warm_up: hours(args.warm_up),
        measured: hours(args.hours),
    };
    Measures::of(&Play::new(&setting, policy.strategy(), policy.rules(tuned(&args.tune))).run())
}

fn text(args: &Args, runs: &[Run]) -> String {
    let mut text = String::new();
    for acceptance in &args.acceptance {
        for per_minute in &args.per_minute {
            let of = |policy| {
                let fits = move |run: &&Run| {
                    run.policy == policy
                        && run.per_minute == *per_minute
                        && run.acceptance == *acceptance
                };
                runs.iter().filter(fits).map(|run| run.measures.all()).collect::<Vec<_>>()
            };
            let _ = writeln!(
                text,
                "\n{per_minute} requests a minute, {} drivers, {:.0} % accept, {} seeds",
                args.drivers,
                acceptance * 100.0,
                args.seeds.len()
            );
            let rows: Vec<(String, Vec<[f64; 12]>)> =
                args.policies.iter().map(|policy| (policy.name(), of(*policy))).collect();
            let _ = writeln!(text, "{}", table(&rows));
        }
    }
    text
}

/// A row per policy, a column per measure: mean, and behind it the spread.
fn table(rows: &[(String, Vec<[f64; 12]>)]) -> Table {
    let mut table = crate::report::plain();
    table.set_header([""].into_iter().chain(Measures::NAMES));
    for (name, seeds) in rows {
        let cells = (0..Measures::NAMES.len()).map(|measure| {
            let values: Vec<f64> = seeds.iter().map(|all| all[measure]).collect();
            let (mean, sd) = spread(&values);
            let digits = if mean >= 100.0 {
                0
            } else if mean >= 10.0 {
                1
            } else {
                2
            };
            format!("{mean:.digits$} ±{sd:.digits$}")
        });
        table.add_row([name.clone()].into_iter().chain(cells));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
