//! A run from the first log-in to the last look at the wallets.
//!
//! Owns the phases and everybody's tasks: fleet and riders get ready, demand arrives, and the run
//! winds down in bounded time: first nobody asks any more, then trips end where they are, then
//! everybody goes home and the money is counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::StreamExt;
use parking_lot::Mutex;
use rand::rngs::StdRng;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::accounts::{Account, Accounts};
use crate::api::{Api, Failure};
use crate::city::{City, Scenario};
use crate::config::Args;
use crate::demand::{Arrival, QUARTER_S};
use crate::driver::Driver;
use crate::invariants::{Rule, Violation};
use crate::progress::{self, Progress, say};
use crate::report::{Moment, Report};
use crate::rider::{Afterwards, Errand, Rider};
use crate::setup::{self, Riders};
use crate::stats::{Stats, add};
use crate::traces;
use crate::usage;
use crate::world::{Phase, World};

/// How long the server may take to answer for the first time.
const SERVER_UP: Duration = Duration::from_secs(60);
/// How long the fleet may take until half of it is online.
const FLEET_UP: Duration = Duration::from_secs(180);
/// How long trips that are ended by force may take.
const HURRY: Duration = Duration::from_secs(25);
const GO_HOME: Duration = Duration::from_secs(20);
/// Drivers getting ready at a time.
const READYING: usize = 16;
const WALLETS_AT_A_TIME: usize = 8;
/// Shortest errand anybody takes a car for, metres.
const SHORTEST_M: f64 = 250.0;
/// The part of a driver's cycle that no table knows, seconds of city time.
const FETCH_AND_BOARD_S: f64 = 280.0;

/// Who may move the run on.
#[derive(Clone)]
struct Control(Arc<watch::Sender<Phase>>);

impl Control {
    fn advance(&self, to: Phase) {
        self.0.send_if_modified(|phase| {
            let forward = to > *phase;
            *phase = to.max(*phase);
            forward
        });
    }
}

pub async fn run(args: Args) -> Result<Report> {
    let dir = &args.report_dir;
    std::fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
    say(&format!("reading the city ({:?})", args.scenario));
    let scenario: Scenario = args.scenario;
    let city = tokio::task::spawn_blocking(move || City::load(scenario)).await??;
    let (sender, phase) = watch::channel(Phase::Running);
    let control = Control(Arc::new(sender));
    let stats = Arc::new(Stats::default());
    let api = Api::new(&args.url, stats.clone())?;
    let accounts = Accounts::load(&args.accounts_file(), &args.url, args.seed);
    let world = Arc::new(World::new(args, city, (api, stats), phase, accounts));
    wait_for_server(&world).await?;
    setup::choose_strategy(&world).await.context("the strategy was not chosen")?;
    listen_for_ctrl_c(control.clone());
    let watcher = tokio::spawn(show(world.clone()));

    let riders = Arc::new(Riders::new(world.args.riders));
    let mut fleet = start_fleet(&world);
    let ready = world.clone();
    let pool = riders.clone();
    let ahead = world.args.drivers / 2 + 10;
    let preparing = tokio::spawn(async move { pool.prepare(&ready, ahead).await });
    wait_for_fleet(&world).await?;

    let factor = demand_factor(&world);
    say(&format!(
        "{} opens at {}, ×{}, demand factor {factor:.4}; busiest: {}",
        world.city.name,
        world.args.start,
        world.args.lapse,
        world.city.busiest(world.args.start.slot(), 4),
    ));
    world.open();
    let opened = moment(&world);
    let retired = Arc::new(Mutex::new(Vec::new()));
    let mut rides = JoinSet::new();
    end_in_time(&world, control.clone());
    let errands =
        Errands { world: world.clone(), riders: riders.clone(), retired: retired.clone() };
    errands.arrive(factor, &mut rides).await;
    let closed = moment(&world);
    preparing.abort();
    wind_down(&world, &control, &mut rides).await;

    let mut everybody = go_home(&world, &mut fleet).await;
    everybody.extend(riders.all());
    everybody.append(&mut retired.lock());
    watcher.abort();
    say("counting the money");
    audit(&world, &mut everybody).await;
    let traces = traces::read(&world).await;
    say(&format!("{traces} dispatch traces were read"));
    keep(&world, &everybody)?;
    progress::finish();
    Ok(Report::new(&world, factor, (opened, closed)))
}

async fn wait_for_server(world: &World) -> Result<()> {
    let begun = Instant::now();
    loop {
        match world.admin.token(world).await {
            Ok(_) => return Ok(()),
            Err(failure @ Failure::Lost(_)) if begun.elapsed() < SERVER_UP => {
                world.mention("waiting for the server", &failure);
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            Err(failure) => bail!("the admin can't log in at {}: {failure}", world.args.url),
        }
    }
}

/// The first Ctrl-C winds down, the second ends trips by force, the third ends the program.
fn listen_for_ctrl_c(control: Control) {
    tokio::spawn(async move {
        for (phase, says) in [
            (Phase::WindingDown, "winding down; once more to end trips at once"),
            (Phase::Hurrying, "ending trips; once more to leave everything"),
        ] {
            if tokio::signal::ctrl_c().await.is_err() {
                return;
            }
            say(says);
            control.advance(phase);
        }
        let _ = tokio::signal::ctrl_c().await;
        std::process::exit(130);
    });
}

/// Takes a sample and shows it, every second.
async fn show(world: Arc<World>) {
    let mut progress = Progress::new();
    let mut beat = tokio::time::interval(Duration::from_secs(1));
    // Two samples close together would show rates that never were.
    beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut usage = None;
    for second in 0_u64.. {
        beat.tick().await;
        // Walking /proc is not free: every fifth second is enough.
        if second.is_multiple_of(5) {
            usage = world.args.server_pid.and_then(usage::read);
        }
        let sample = world.stats.sample(usage);
        progress.show(&world, sample);
    }
}

fn moment(world: &World) -> Moment {
    Moment {
        at_s: world.stats.elapsed().as_secs_f64(),
        counted: world.stats.totals.read(),
        usage: world.args.server_pid.and_then(usage::read),
    }
}

fn start_fleet(world: &Arc<World>) -> JoinSet<Option<Account>> {
    let mut fleet = JoinSet::new();
    let turns = Arc::new(Semaphore::new(READYING));
    for index in 0..world.args.drivers {
        let (world, turns) = (world.clone(), turns.clone());
        fleet.spawn(Box::pin(drive(world, turns, index)));
    }
    fleet
}

async fn drive(world: Arc<World>, turns: Arc<Semaphore>, index: u32) -> Option<Account> {
    let account = {
        let _turn = turns.acquire().await.ok()?;
        ready_driver(&world, index).await?
    };
    let mut rng: StdRng = world.rng(1_000_000 + u64::from(index));
    let start = world.city.draw_pickup(world.args.start.slot(), &mut rng);
    Some(Driver::new(world, account, start).run().await)
}

async fn ready_driver(world: &World, index: u32) -> Option<Account> {
    for pause_s in [1, 3, 6] {
        if world.now() > Phase::Running {
            return None;
        }
        match setup::driver(world, index).await {
            Ok(account) => return Some(account),
            Err(failure) => world.mention(&format!("driver {index} can't get ready"), &failure),
        }
        tokio::time::sleep(Duration::from_secs(pause_s)).await;
    }
    None
}

/// Until half of the fleet is online, or all that can be in the time there is.
async fn wait_for_fleet(world: &World) -> Result<()> {
    let begun = Instant::now();
    let online = || world.stats.gauges.drivers_online.load(std::sync::atomic::Ordering::Relaxed);
    while online() * 2 < i64::from(world.args.drivers) {
        if world.now() > Phase::Running {
            return Ok(());
        }
        if begun.elapsed() > FLEET_UP {
            if online() > 0 {
                return Ok(());
            }
            let failures = world.stats.failures();
            let why: Vec<String> = failures
                .iter()
                .take(5)
                .map(|f| format!("  {} × {}: {}", f.count, f.what, f.first))
                .collect();
            bail!("no driver came online; most frequent failures:\n{}", why.join("\n"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// The share of recorded demand: as asked, or what keeps the wanted part of the fleet busy.
fn demand_factor(world: &World) -> f64 {
    if let Some(factor) = world.args.demand {
        return factor;
    }
    let (args, slot) = (&world.args, world.args.start.slot());
    let per_second = world.city.demand.expected(slot) / QUARTER_S * args.lapse;
    let trip_s = world.city.mean_trip_s(slot, &mut world.rng(99));
    let cycle_s = (trip_s + FETCH_AND_BOARD_S) / args.lapse + args.think.mean_s() + args.cooldown;
    if per_second <= 0.0 {
        return 1.0;
    }
    args.load * f64::from(args.drivers) / (per_second * cycle_s)
}

fn end_in_time(world: &World, control: Control) {
    if world.args.minutes <= 0.0 {
        return;
    }
    let length = Duration::from_secs_f64(world.args.minutes * 60.0);
    tokio::spawn(async move {
        tokio::time::sleep(length).await;
        control.advance(Phase::WindingDown);
    });
}

/// Turns arrivals of the demand table into riders on their way.
struct Errands {
    world: Arc<World>,
    riders: Arc<Riders>,
    retired: Arc<Mutex<Vec<Account>>>,
}

impl Errands {
    /// Lets riders arrive, quarter-hour after quarter-hour, until the run winds down.
    async fn arrive(&self, factor: f64, rides: &mut JoinSet<()>) {
        let (mut rng, lapse) = (self.world.rng(7), self.world.args.lapse);
        let mut begun = Instant::now();
        for slot in self.world.args.start.slot().. {
            let arrivals = self.world.city.demand.draw(slot, factor, &mut rng);
            for (number, arrival) in arrivals.into_iter().enumerate() {
                let due = begun + Duration::from_secs_f64(arrival.at_s / lapse);
                if !self.sleep_until(due).await {
                    return;
                }
                while rides.try_join_next().is_some() {}
                let stream = (slot as u64) << 32 | number as u64;
                let rng = self.world.rng(0x7269_6465 ^ stream.rotate_left(17));
                self.send(arrival, rng, rides);
            }
            begun += Duration::from_secs_f64(QUARTER_S / lapse);
            if !self.sleep_until(begun).await {
                return;
            }
        }
    }

    /// `false` when the run winds down before.
    async fn sleep_until(&self, due: Instant) -> bool {
        tokio::select! {
            () = tokio::time::sleep_until(due.into()) => true,
            () = self.world.reached(Phase::WindingDown) => false,
        }
    }

    fn send(&self, arrival: Arrival, mut rng: StdRng, rides: &mut JoinSet<()>) {
        let (world, riders, retired) =
            (self.world.clone(), self.riders.clone(), self.retired.clone());
        add(&world.stats.totals.arrivals);
        let errand = errand(&world.city, arrival, &mut rng);
        rides.spawn(Box::pin(async move {
            let Some(account) = riders.take(&world).await else {
                add(&world.stats.totals.unheard);
                return;
            };
            let (account, afterwards) = Rider::new(world, account, errand, rng).run().await;
            match afterwards {
                Afterwards::Free => riders.give_back(account),
                Afterwards::Retired => retired.lock().push(account),
            }
        }));
    }
}

fn errand(city: &City, arrival: Arrival, rng: &mut StdRng) -> Errand {
    let from = city.draw(arrival.from, rng);
    let mut to = city.draw(arrival.to, rng);
    for _ in 0..20 {
        if from.distance_m(to) >= SHORTEST_M {
            break;
        }
        to = city.draw(arrival.to, rng);
    }
    Errand { from, to }
}

async fn wind_down(world: &World, control: &Control, rides: &mut JoinSet<()>) {
    let length = Duration::from_secs(world.args.wind_down);
    say(&format!("nobody asks any more; trips have {} s to end", length.as_secs()));
    control.advance(Phase::WindingDown);
    let ended = tokio::select! {
        () = all(rides) => true,
        () = tokio::time::sleep(length) => false,
        () = world.reached(Phase::Hurrying) => false,
    };
    if !ended {
        control.advance(Phase::Hurrying);
        let _ = tokio::time::timeout(HURRY, all(rides)).await;
    }
    control.advance(Phase::Over);
    if tokio::time::timeout(GO_HOME, all(rides)).await.is_err() {
        let what = format!("{} riders could not leave their trip", rides.len());
        world.judge.report([Violation::new(Rule::T6, what)]);
        rides.abort_all();
    }
}

async fn all(rides: &mut JoinSet<()>) {
    while rides.join_next().await.is_some() {}
}

async fn go_home(world: &World, fleet: &mut JoinSet<Option<Account>>) -> Vec<Account> {
    let mut accounts = Vec::new();
    let leave = async {
        while let Some(done) = fleet.join_next().await {
            accounts.extend(done.ok().flatten());
        }
    };
    if tokio::time::timeout(GO_HOME, leave).await.is_err() {
        say(&format!("{} drivers are left behind", fleet.len()));
        fleet.abort_all();
    }
    world.accounts.lock().keep_all(&accounts);
    accounts
}

/// Compares every account with its book.
async fn audit(world: &World, everybody: &mut [Account]) {
    let checks = everybody.iter_mut().map(|account| async move {
        match setup::wallet(world, account).await {
            Ok(wallet) => {
                let found =
                    world.judge.books(|books| books.judge(account.id, wallet.net(account.role)));
                world.judge.report(found);
            }
            Err(failure) => {
                let what = format!("the account of {} can't be read: {failure}", account.phone);
                world.judge.report([Violation::new(Rule::M5, what)]);
            }
        }
    });
    let mut checks = futures_util::stream::iter(checks).buffer_unordered(WALLETS_AT_A_TIME);
    while checks.next().await.is_some() {}
}

fn keep(world: &World, everybody: &[Account]) -> Result<()> {
    let mut accounts = world.accounts.lock();
    accounts.keep_all(everybody);
    accounts.save(&world.args.accounts_file())
}
