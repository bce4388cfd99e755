//! A tick of dispatch: all the riders who wait in a city matched with its idle drivers at once.
//!
//! The engine runs as a node runs it: BATCHED, with the snapshot that makes each decision
//! replayable, over the map's own index. Every tick begins with nobody asked. Two cities: a made-up
//! one of 20 × 20 km where times are those of the air line, and Monaco, where they are driven along
//! its roads. Beside it the assignment alone by a library that wants every rider against every
//! driver; its matrix is filled before the clock starts.
//!
//! Then a city that is asked for more than it can do, with the budget of a tick and without one.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use ::dispatch::{
    Board, Decision, Meter, Outcome, Part, Relief, Rules, Search, Seen, Standing, Strategy, View,
    tick_and_keep, tick_timed,
};
use anyhow::{Context, ensure};
use base::{CityId, Dice, DriverId, Millis, PaymentMethod, Piasters, Point, RiderId, Tier, TripId};
use geo::{Near, Query, TileIndex};
use pathfinding::kuhn_munkres::kuhn_munkres_min;
use pathfinding::matrix::Matrix;
use routing::{RoadGraph, Router};

use crate::Options;
use crate::table::{Bound, Figure, Row, quantile};

const EXTRACT: &str = "src/routing/data/monaco.osm.pbf";
const NOW: Millis = Millis(1_790_000_000_000);
const CITY: CityId = CityId(1);
const FREE: u16 = 1;

/// A corner and the degrees from there to the opposite one.
#[derive(Clone, Copy)]
struct Square {
    south: f64,
    west: f64,
    height: f64,
    width: f64,
}

/// 20 × 20 km around Cairo.
const CAIRO: Square = Square { south: 29.95, west: 31.13, height: 0.18, width: 0.207 };
/// The streets of Monaco.
const MONACO: Square = Square { south: 43.7275, west: 7.4100, height: 0.020, width: 0.025 };

impl Square {
    fn place(&self, dice: &Dice) -> anyhow::Result<Point> {
        let (lat, lng) = (dice.unit() * self.height, dice.unit() * self.width);
        Ok(Point::new(self.south + lat, self.west + lng)?)
    }
}

struct City {
    index: TileIndex,
    drivers: Vec<Seen>,
    router: Router,
}

impl View for City {
    fn drivers(
        &self,
        at: Point,
        radius_m: f64,
        limit: usize,
        _ahead: Duration,
        out: &mut Vec<Seen>,
    ) {
        let heard_since = Millis(i64::MIN);
        let mut found: Vec<Near> = Vec::new();
        let query = Query { from: at, radius_m, classes: FREE, heard_since, limit };
        self.index.nearest(&query, &mut found);
        out.extend(found.iter().map(|near| {
            let driver = &self.drivers[near.slot as usize];
            Seen { distance_m: near.distance_m, ..driver.clone() }
        }));
    }

    fn driver(&self, driver: DriverId, at: Point) -> Option<Seen> {
        let found = self.drivers.iter().find(|seen| seen.driver == driver)?;
        Some(Seen { distance_m: found.distance_from(at), ..found.clone() })
    }

    fn eta_s(&self, from: Point, to: Point, now: Millis) -> u32 {
        self.router.eta_s(from, to, now)
    }
}

pub(crate) fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let extract = Path::new(EXTRACT);
    let bytes = fs::read(extract)
        .with_context(|| format!("can't read {} (run from the root)", extract.display()))?;
    let air = Router::new(Vec::new(), None);
    let roads = Router::new(vec![RoadGraph::from_extract(&bytes)?], None);
    let mut rows = Vec::new();
    for (name, square, router) in [("air line", CAIRO, &air), ("Monaco's roads", MONACO, &roads)] {
        let scene = Scene { square, router, waiting: 200, idle: 800 };
        let ticks = if options.quick { 5 } else { 50 };
        let (mut half, mut most, mut dense) = (Vec::new(), Vec::new(), Vec::new());
        for run in 0..options.runs {
            let taken = scene.ticks(ticks, run)?;
            half.push(quantile(&taken, 0.5));
            most.push(quantile(&taken, 0.99));
            dense.push(scene.dense(run)?);
        }
        let what = format!("a tick, 200 waiting × 800 idle, {name}");
        let rival = Figure::new("ms", dense);
        rows.push(Row::less(
            format!("{what}: median"),
            Figure::new("ms", half),
            "the assignment alone, dense",
            rival,
        ));
        let most = Row::alone(format!("{what}: 99 of 100"), Figure::new("ms", most));
        rows.push(most.bound(Bound::Max(20.0)));
    }
    let scene = Scene { square: CAIRO, router: &air, waiting: 1000, idle: 5000 };
    let ticks = if options.quick { 1 } else { 10 };
    let mut half = Vec::new();
    for run in 0..options.runs {
        half.push(quantile(&scene.ticks(ticks, run)?, 0.5));
    }
    let what = "a tick, 1 000 waiting × 5 000 idle, air line: median";
    rows.push(Row::alone(what, Figure::new("ms", half)));
    let scene = Scene { square: CAIRO, router: &air, waiting: 5_000, idle: 5_000 };
    let seconds = if options.quick { 5 } else { 60 };
    let budget = Relief::default().budget;
    let within = format!("within {} ms", budget.as_millis());
    let most = |budget| {
        let runs = (0..options.runs).map(|run| scene.overloaded(budget, seconds, run));
        let taken = runs.map(|taken| taken.map(|taken| quantile(&taken, 0.99)));
        taken.collect::<anyhow::Result<Vec<f64>>>()
    };
    for (budget, how, bound) in [
        (Duration::MAX, "without a budget", None),
        (budget, within.as_str(), Some(budget.as_secs_f64() * 1e3 * 1.25)),
    ] {
        let what = format!("a tick, 5 000 waiting × 5 000 idle, {how}: 99 of 100");
        let row = Row::alone(what, Figure::new("ms", most(budget)?));
        rows.push(match bound {
            Some(bound) => row.bound(Bound::Max(bound)),
            None => row,
        });
    }
    Ok(rows)
}

struct Watch(Instant);

impl Meter for Watch {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

struct Scene<'a> {
    square: Square,
    router: &'a Router,
    waiting: usize,
    idle: usize,
}

impl Scene<'_> {
    /// Milliseconds of each of so many ticks, sorted.
    fn ticks(&self, count: u32, run: u32) -> anyhow::Result<Vec<f64>> {
        let mut taken = Vec::new();
        for number in 0..=count {
            let dice = Dice::seeded(u64::from(run) * 1000 + u64::from(number));
            let city = self.city(&dice)?;
            let mut board = Board::new(Rules::default());
            board.choose(CITY, Strategy::Batched);
            for search in self.searches(&dice)? {
                board.search(search, NOW);
            }
            let mut kept = Vec::new();
            let begun = Instant::now();
            let decisions = tick_and_keep(&mut board, &city, NOW, Some(&mut kept));
            let took = begun.elapsed().as_secs_f64() * 1e3;
            let asked = |decision: &&Decision| matches!(decision, Decision::Offers { .. });
            let rounds = decisions.iter().filter(asked).count();
            ensure!(rounds * 2 > self.waiting, "only {rounds} riders were offered a driver");
            ensure!(!kept.is_empty(), "the tick can't be replayed");
            // The first one warms up.
            if number > 0 {
                taken.push(took);
            }
        }
        taken.sort_by(f64::total_cmp);
        Ok(taken)
    }

    /// Milliseconds of each tick of a city in which all are asked one second and lost the next,
    /// sorted; riders are looked at one by one.
    fn overloaded(&self, budget: Duration, seconds: u32, run: u32) -> anyhow::Result<Vec<f64>> {
        let dice = Dice::seeded(u64::from(run) * 1000);
        let mut city = self.city(&dice)?;
        let relief = Relief { budget, ..Relief::default() };
        let mut board = Board::new(Rules { relief, ..Rules::default() });
        for search in self.searches(&dice)? {
            board.search(search, NOW);
        }
        let mut taken = Vec::new();
        for second in 0..seconds {
            let now = NOW + Duration::from_secs(second.into());
            city.drivers.iter_mut().for_each(|seen| seen.heard = now);
            let (mut kept, mut decisions) = (Vec::new(), Vec::new());
            let watch = Watch(Instant::now());
            loop {
                decisions.extend(tick_timed(&mut board, &city, &watch, now, Some(&mut kept)));
                if !board.is_mid_sweep() {
                    break;
                }
            }
            taken.push(watch.elapsed().as_secs_f64() * 1e3);
            ensure!(second > 0 || !kept.is_empty(), "nobody was offered a driver");
            for decision in decisions {
                let Decision::Offers { plans, .. } = decision else { continue };
                for plan in plans {
                    board.offer_ended(plan.trip, plan.driver, Outcome::Lost, now);
                }
            }
        }
        taken.sort_by(f64::total_cmp);
        Ok(taken)
    }

    /// Milliseconds of the library.
    fn dense(&self, run: u32) -> anyhow::Result<f64> {
        let dice = Dice::seeded(u64::from(run) * 1000);
        let city = self.city(&dice)?;
        let searches = self.searches(&dice)?;
        let etas = searches.iter().map(|search| {
            let eta = |driver: &Seen| city.eta_s(driver.at, search.pickup, NOW);
            city.drivers.iter().map(|driver| i64::from(eta(driver))).collect::<Vec<_>>()
        });
        let matrix = Matrix::from_rows(etas)?;
        let begun = Instant::now();
        let (total, _) = kuhn_munkres_min(&matrix);
        let took = begun.elapsed().as_secs_f64() * 1e3;
        ensure!(total > 0, "somebody has a way");
        Ok(took)
    }

    fn city(&self, dice: &Dice) -> anyhow::Result<City> {
        let index = TileIndex::with_capacity(self.idle);
        let mut drivers = Vec::with_capacity(self.idle);
        for number in 0..self.idle {
            let at = self.square.place(dice)?;
            let slot = u32::try_from(number)?;
            index.put(slot, at, NOW);
            index.set_class(slot, FREE);
            drivers.push(seen(number, at, dice));
        }
        Ok(City { index, drivers, router: self.router.clone() })
    }

    fn searches(&self, dice: &Dice) -> anyhow::Result<Vec<Search>> {
        let search = |number: usize| {
            let id = 1 + number as u128;
            anyhow::Ok(Search {
                trip: TripId::from_u128(id),
                city: CITY,
                rider: RiderId::from_u128(id),
                pickup: self.square.place(dice)?,
                destination: self.square.place(dice)?,
                tier: Tier::Economy,
                method: PaymentMethod::Cash,
                price: Piasters::pounds(50),
                asked_at: Millis(NOW.0 - i64::try_from(number)?),
                excluded: Vec::new(),
                familiar: Vec::new(),
                distance_m: 8_000,
                duration_s: 1_200,
                ring_m: 5_000,
                strategy: None,
                first: None,
                role: Part::Drive,
                until: None,
            })
        };
        (0..self.waiting).map(search).collect()
    }
}

fn seen(number: usize, at: Point, dice: &Dice) -> Seen {
    Seen {
        driver: DriverId::from_u128(1 + number as u128),
        at,
        distance_m: 0.0,
        standing: Standing::Available,
        tier: Tier::Economy,
        rating: 4.0 + dice.unit() as f32,
        acceptance: 0.4 + 0.6 * dice.unit() as f32,
        completion: 0.9,
        waiting_since: Millis(NOW.0 - i64::try_from(dice.below(1_200_000)).unwrap_or(0)),
        recent_trips: 2,
        heard: NOW,
        documents_until: Millis(i64::MAX),
        approved: true,
        fraud: false,
        conduct: None,
        in_debt: false,
        in_line: None,
    }
}
