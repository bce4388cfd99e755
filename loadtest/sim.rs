//! `loadtest sim`: the dispatch engine's own code on virtual time, in a synthetic city.
//!
//! Owns the policies that are compared and the runs over demands and seeds; `report` shows what
//! they came to. What riders and drivers do, and what is counted how, is said at the head of
//! `play`; they are the same in the synthetic square and in Manhattan. One seed is one city: every
//! policy meets the same riders at the same moments and the same drivers at the same places.

mod cars;
mod measures;
mod plane;
mod play;
mod report;
#[cfg(test)]
mod tests;
mod town;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use dispatch::{Batching, Preset, Presets, Rules, Strategy, Supply, Swap};
use parking_lot::Mutex;
use serde::Serialize;

use self::measures::Measures;
use self::plane::Commute;
use self::play::{Play, Setting};
use self::report::Scene;
use self::town::Town;
use crate::city::Start;

/// Plays dispatch policies against each other on virtual time.
///
/// In a synthetic city (20 × 20 km, riders between homes and work, roads 1.3 times the air at
/// 24 km/h), in Manhattan, or along the roads of a map. Prints tables, mean and standard deviation
/// over the seeds, and how riders were lost; writes every run to a JSON file and a page with plots
/// when asked to.
#[derive(clap::Parser, Clone, Debug)]
#[command(name = "loadtest sim")]
pub struct Args {
    #[arg(long, value_enum, default_value = "square")]
    pub city: Where,
    /// Of the square's trips the shares that go to work and that come from there; the difference is
    /// what drivers must make good by driving empty, as in a morning's rush (0.45,0.25).
    #[arg(long, value_parser = commute, default_value = "0.35,0.35")]
    pub commute: Commute,
    /// When a run in Manhattan begins, its warm-up included.
    #[arg(long, default_value = "Mon 15:00")]
    pub begin: Start,
    /// With `--city roads`: an OpenStreetMap extract (`.osm.pbf`), or what `smartline admin roads
    /// build` made of one. Monaco's from the source tree unless you name another.
    #[arg(long, default_value = "src/routing/data/monaco.osm.pbf")]
    pub map: PathBuf,
    /// Requests per minute, one city each; in Manhattan on average, by the recorded day's curve.
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
    /// extra-eta, spare, short, ample-reach, ample, growth, point, decline, earlier, around, turn,
    /// swap (the gain, 0 for none), swap-every, chain, at-once, at-least; seconds where it is a
    /// time.
    #[arg(long, value_delimiter = ',', value_parser = tuning)]
    pub tune: Vec<(String, f64)>,
    /// Cities played at a time.
    #[arg(long, default_value_t = 2)]
    pub threads: usize,
    /// File for every run's measures.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// File for the tables with plots, a page that needs nothing else.
    #[arg(long)]
    pub html: Option<PathBuf>,
}

/// Where it is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Where {
    /// 20 × 20 km, made up: riders between homes and work.
    Square,
    /// As it was recorded in 2018: trips, speeds and zones.
    Manhattan,
    /// The roads of `--map`, each with as many riders as any other.
    Roads,
}

/// As long a pickup as a rider agrees to who is patient, seconds: no cap on the reach.
const UNCAPPED_S: f64 = 900.0;

/// A way to dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// The seed's: the best five at once, first to accept has the trip.
    TopFive,
    /// One at a time, 10 s, five of them, then ten at once.
    Sequential,
    /// The batch alone: each search its own driver, one offer at a time, no reach that shrinks,
    /// nobody promised a next trip, nobody given a nearer driver.
    Exclusive,
    /// All of BATCHED that a server does.
    Full,
    /// BATCHED where who said yes keeps the trip.
    Unswapped,
    /// BATCHED as if drivers were missed everywhere alike, and nobody's turn came.
    Placeless,
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
        let wide = Supply { short_s: UNCAPPED_S, ample_s: UNCAPPED_S, ..full.supply };
        let single = Preset { at_once: 1, ..full.preset.clone() };
        let unchained = |preset: Preset| Preset { chain: Duration::ZERO, ..preset };
        let batched = match self {
            Self::TopFive | Self::Sequential | Self::Full => full,
            Self::Exclusive => {
                let full = Batching { around: 0.0, turn: 0.0, swap: None, ..full };
                Batching { preset: unchained(single), supply: wide, ..full }
            }
            Self::Unchained => Batching { preset: unchained(full.preset.clone()), ..full },
            Self::Uncapped => Batching { supply: wide, ..full },
            Self::Single => Batching { preset: single, ..full },
            Self::Blind => Batching { point_s: 0.0, ..full },
            Self::Unswapped => Batching { swap: None, ..full },
            Self::Placeless => Batching { around: 0.0, turn: 0.0, ..full },
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

fn commute(text: &str) -> Result<Commute> {
    let (to_work, from_work) = text.split_once(',').context("expected two shares, as 0.45,0.25")?;
    let (to_work, from_work): (f64, f64) = (to_work.parse()?, from_work.parse()?);
    ensure!(to_work >= 0.0 && from_work >= 0.0, "a share is not negative");
    ensure!(to_work + from_work <= 1.0, "both shares together are 1 at most");
    Ok(Commute { to_work, from_work })
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
    let swap = batching.swap.unwrap_or_default();
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
        "around" => batching.around = value,
        "turn" => batching.turn = value,
        "swap" => batching.swap = (value > 0.0).then_some(Swap { gain: seconds, ..swap }),
        "swap-every" => batching.swap = batching.swap.map(|swap| Swap { every: seconds, ..swap }),
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
    let town = match args.city {
        Where::Square => Town::Square(args.commute),
        Where::Manhattan => Town::manhattan(args.begin)?,
        Where::Roads => Town::roads(&args.map)?,
    };
    let runs = play_all(args, &town);
    let (headline, scenes) = (headline(args), scenes(args, &runs));
    println!("{}", report::text(&headline, &scenes));
    if let Some(path) = &args.html {
        let page = report::page(&headline, &scenes);
        std::fs::write(path, page).with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&runs)?;
        std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(true)
}

fn play_all(args: &Args, town: &Town) -> Vec<Run> {
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
                    let measures = play_one(args, town, *one);
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
    town: &Town,
    (policy, per_minute, acceptance, seed): (Policy, f64, f64, u64),
) -> Measures {
    let hours = |hours: f64| Duration::from_secs_f64(hours * 3_600.0);
    let setting = Setting {
        town: town.clone(),
        seed,
        drivers: args.drivers,
        per_minute,
        acceptance,
        warm_up: hours(args.warm_up),
        measured: hours(args.hours),
    };
    Measures::of(&Play::new(&setting, policy.strategy(), policy.rules(tuned(&args.tune))).run())
}

/// One table each for what drivers accept and how much is asked for.
fn scenes(args: &Args, runs: &[Run]) -> Vec<Scene> {
    let mut scenes = Vec::new();
    for &acceptance in &args.acceptance {
        for &per_minute in &args.per_minute {
            let of = |policy: &Policy| {
                let fits = |run: &&Run| {
                    run.policy == *policy
                        && run.per_minute == per_minute
                        && run.acceptance == acceptance
                };
                (policy.name(), runs.iter().filter(fits).map(|run| run.measures).collect())
            };
            let rows = args.policies.iter().map(of).collect();
            scenes.push(Scene { per_minute, acceptance, rows });
        }
    }
    scenes
}

/// What all scenes have in common, in words.
fn headline(args: &Args) -> String {
    let city = match args.city {
        Where::Square => "the synthetic square of 20 km".to_owned(),
        Where::Manhattan => format!("Manhattan as recorded in 2018, from {}", args.begin),
        Where::Roads => format!("the roads of {}", args.map.display()),
    };
    format!(
        "{city}: {} drivers, {} h counted after {} h of warm-up, {} seeds",
        args.drivers,
        args.hours,
        args.warm_up,
        args.seeds.len(),
    )
}
