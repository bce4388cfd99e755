//! `smartline serve`: one process is a whole city.
//!
//! Start: database → migrations → rooms from the lowest layer up → live trips rebuilt → sockets
//! opened → ready. Stop: not ready any more → sockets told to reconnect → tasks end, what is
//! written
//! behind is written → database closed.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use analytics::Analytics;
use anyhow::Context;
use base::{Clock, Dice, Piasters};
use books::Books;
use bus::Redis;
use demand::Demand;
use dispatch::{Dispatch, DispatchConfig};
use events::{IdempotencyKeys, Jobs};
use fleet::{Fleet, FleetConfig};
use flows::{Flows, House, INBOX, Inbox};
use fraud::{Fraud, FraudConfig};
use identity::{HashCost, Identity, Keys, Settings};
use notify::{Notify, Providers};
use ops::{
    Breakers, Crowd, Dependency, Health, Limiter, LogFormat, Meters, Phase, RateLimits, Rates,
    SharedCounts, Tarpit, Tasks,
};
use payments::{ActLimits, Payments, PaymentsConfig, Payouts, PayoutsConfig};
use pricing::Pricing;
use realtime::Realtime;
use rooms::Rooms;
use routing::{Osrm, RoadGraph, Router, SpeedTable, Traffic};
use secrecy::{ExposeSecret, SecretString};
use storage::{Cluster, Db, PoolLimits};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tracing::{info, warn};
use trips::{Trips, TripsConfig};

use crate::config::{LogStyle, Secrets, ServeArgs, Stage, Switch};
use crate::database::{Database, open_database};
use crate::{keys, listen, roads, speeds};

/// How long sockets may take to go. With the two below a drain stays under 30 s.
const DRAIN_SOCKETS: Duration = Duration::from_secs(5);
/// How long running tasks may take to end.
const DRAIN: Duration = Duration::from_secs(18);
/// How long what is written behind may take to be stored.
const FLUSH: Duration = Duration::from_secs(4);
/// How often the database is asked whether it still answers.
const PING_EVERY: Duration = Duration::from_secs(2);
/// How often dispatch is asked whether it does with less.
const LOAD_EVERY: Duration = Duration::from_secs(1);
/// How often supply and demand are compared.
const SURGE_EVERY: Duration = Duration::from_secs(5);
/// Statements of reports and of reconciliation that run at the same time on this node.
const SLOW_CONNECTIONS: u32 = 2;
/// How long one of them may take, and how long the next waits for its turn.
const SLOW_STATEMENT: Duration = Duration::from_secs(60);
const SLOW_TURN: Duration = Duration::from_secs(30);

/// What a server is started with.
pub struct Setup {
    pub listen: SocketAddr,
    /// Address for metrics and health; none in tests.
    pub operators: Option<SocketAddr>,
    pub keys: Keys,
    pub rate_limits: Switch,
    pub rates: Rates,
    /// Held at once by one address.
    pub connections_per_address: usize,
    pub sockets_per_address: usize,
    pub requests_at_once: usize,
    pub origins: Vec<String>,
    pub trusted_proxies: usize,
    pub socket_threads: Option<NonZeroUsize>,
    pub metrics_token: Option<SecretString>,
    pub redis_url: Option<SecretString>,
    pub hash_cost: HashCost,
    pub fleet: FleetConfig,
    pub dispatch: DispatchConfig,
    pub trips: TripsConfig,
    pub roads: Vec<RoadGraph>,
    pub osrm_url: Option<String>,
    pub speeds: Option<SpeedTable>,
    pub providers: Providers,
    pub payments: PaymentsConfig,
    pub payouts: PayoutsConfig,
    pub act_limits: ActLimits,
    pub fraud: FraudConfig,
    /// How often surge is looked at anew.
    pub surge_every: Duration,
    pub clock: Clock,
}

impl Setup {
    /// For tests: a free port, no limits, a password hash that costs next to nothing.
    pub fn for_tests() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            operators: None,
            keys: Keys { secret: SecretString::from("t".repeat(32)), previous: None },
            rate_limits: Switch::Off,
            rates: Rates::default(),
            connections_per_address: 2000,
            sockets_per_address: 1000,
            requests_at_once: 1024,
            origins: vec!["https://app.example.com".to_owned()],
            trusted_proxies: 0,
            socket_threads: None,
            metrics_token: None,
            redis_url: None,
            hash_cost: HashCost::Cheap,
            fleet: FleetConfig::default(),
            dispatch: DispatchConfig::default(),
            trips: TripsConfig::default(),
            roads: Vec::new(),
            osrm_url: None,
            speeds: None,
            providers: Providers::default(),
            payments: PaymentsConfig::default(),
            payouts: PayoutsConfig::default(),
            // Tests have one admin, who gives what they need.
            act_limits: ActLimits {
                alone: Piasters::pounds(100_000),
                alone_per_day: Piasters::pounds(100_000_000),
            },
            // A machine under test may be busy: what is claimed of limits must not depend on it.
            fraud: FraudConfig { patience: Duration::from_secs(30), ..FraudConfig::default() },
            surge_every: SURGE_EVERY,
            clock: Clock::system(),
        }
    }
}

/// A server at work.
pub struct Running {
    address: SocketAddr,
    flows: Flows,
    realtime: Realtime,
    tasks: Tasks,
    health: Health,
    db: Db,
    cluster: Option<Cluster>,
}

/// Starts a server; when this returns it answers.
pub async fn start(mut setup: Setup, database: Database) -> anyhow::Result<Running> {
    // Before live trips are claimed: a start that fails must not take them from a node that runs.
    let listener = listen::bind(setup.listen).await?;
    let address = listener.local_addr()?;
    let tasks = Tasks::new();
    let health = Health::default();
    let meters = Meters::install();
    meters.keep_up(&tasks);
    let Database { db, cluster } = database;
    watch_database(&tasks, &db, &health);
    storage::keep_partitions(db.clone(), &tasks, setup.clock.clone(), storage::HISTORY_DAYS);

    let flows = furnish(&mut setup, &db, &tasks, &health).await?;
    let live = flows.trips.rebuild().await.context("live trips could not be rebuilt")?;
    if live > 0 {
        info!(live, "live trips go on");
    }
    keep_surge(&tasks, &flows, setup.surge_every);
    watch_matching(&tasks, &flows, &health);
    flows::keep_hinting(&flows, &tasks);
    flows::keep_telling_places(&flows, &tasks);
    worker::start(&flows, &tasks);

    let realtime = Realtime::start(flows.clone(), &tasks, realtime_config(&setup))?;
    let state =
        api::ApiState::new(flows.clone(), health.clone(), meters.clone(), api_config(&setup));
    let router = api::router(state.clone()).merge(realtime::router(realtime.clone()));
    let limiter = flows.limiter.clone();
    let (tarpit, clock) = (Tarpit::default(), flows.clock.clone());
    let (proxies, own) = (setup.trusted_proxies, tarpit.clone());
    let router = api::door(router, limiter.clone(), proxies, own, clock);
    // Behind a proxy all connections come from its address.
    let counted = setup.rate_limits == Switch::On && setup.trusted_proxies == 0;
    let crowd = Crowd::new(counted.then_some(setup.connections_per_address));
    let door = listen::Door { crowd, limiter: counted.then_some(limiter), tarpit };
    listen::serve(&tasks, "apps' address", listener, router, door);
    if let Some(operators) = setup.operators {
        listen::serve_operators(&tasks, operators, api::operators_router(state)).await;
    }
    health.enter(Phase::Serving);
    info!(%address, "ready at http://{address}, docs at http://{address}/api/docs");
    Ok(Running { address, flows, realtime, tasks, health, db, cluster })
}

/// Builds the rooms, lowest layer first, and joins them by their effects.
async fn furnish(
    setup: &mut Setup,
    db: &Db,
    tasks: &Tasks,
    health: &Health,
) -> anyhow::Result<Flows> {
    let (clock, dice) = (setup.clock.clone(), Dice::system());
    let (to_trips, trips) = mpsc::channel(INBOX);
    let (to_dispatch, dispatch) = mpsc::channel(INBOX);
    let (to_fleet, fleet) = mpsc::channel(INBOX);
    let settings = Settings { keys: setup.keys.clone(), hash_cost: setup.hash_cost, hash_slots: 2 };
    let identity = Identity::start(db.clone(), tasks, clock.clone(), &settings)?;
    identity.load_revocations().await?;
    identity.load_api_keys().await?;
    let breakers = Breakers::new(clock.clone());
    let router = router(setup, db, tasks, &breakers).await?;
    let quote_key = pricing::QuoteKey::derive(setup.keys.secret.expose_secret().as_bytes());
    let pricing = Pricing::start(db.clone(), tasks, clock.clone(), quote_key).await?;
    let config = setup.fleet;
    let map = Fleet::start(db.clone(), tasks, clock.clone(), dice.clone(), config, to_fleet);
    map.load().await?;
    let trips_room = Trips::start(db.clone(), tasks, clock.clone(), to_trips, setup.trips);
    let (view, ways, config) = (map.clone(), router.clone(), setup.dispatch.clone());
    let desk = Dispatch::start(db.clone(), tasks, clock.clone(), view, ways, to_dispatch, config);
    desk.load_choices().await?;
    let rooms = Rooms::new(&dice);
    let limiter = limiter(setup, &breakers, tasks, health)?;
    let notify = Notify::new(
        db.clone(),
        clock.clone(),
        dice.clone(),
        rooms.clone(),
        &breakers,
        &setup.providers,
    )?;
    let payments =
        Payments::new(db.clone(), clock.clone(), dice.clone(), &breakers, setup.payments.clone())?;
    let payouts = Payouts::new(db.clone(), clock.clone(), &breakers, setup.payouts.clone())?;
    let fraud = Fraud::new(db.clone(), clock.clone(), setup.fraud);
    let slow = slow(db);
    let books = Books::new(db.clone(), slow.clone(), clock.clone());
    let flows = Flows::new(House {
        demand: Demand::start(db.clone(), tasks, clock.clone()),
        analytics: Analytics::start(db.clone(), slow.clone(), tasks, clock.clone()),
        db: db.clone(),
        slow,
        breakers,
        limiter,
        clock,
        rooms,
        router,
        pricing,
        identity,
        fleet: map,
        trips: trips_room,
        dispatch: desk,
        notify,
        payments,
        payouts,
        act_limits: setup.act_limits,
        fraud,
        books,
        keys: IdempotencyKeys::new(db.clone()),
        jobs: Jobs::new(db.clone(), dice),
        tasks: tasks.clone(),
    });
    flows::run(&flows, tasks, Inbox { trips, dispatch, fleet });
    Ok(flows)
}

/// The way to the database of what takes long.
pub(crate) fn slow(db: &Db) -> Db {
    db.apart(
        "slow",
        &PoolLimits {
            max: SLOW_CONNECTIONS,
            background: SLOW_CONNECTIONS,
            acquire: SLOW_TURN,
            statement: SLOW_STATEMENT,
            // A statement that is slow here is no news.
            slow: SLOW_STATEMENT,
            by_key: false,
            ..PoolLimits::default()
        },
    )
}

/// Ways and times: the roads at hand, the engine where there is one, traffic as trips taught it.
async fn router(
    setup: &mut Setup,
    db: &Db,
    tasks: &Tasks,
    breakers: &Breakers,
) -> anyhow::Result<Router> {
    let traffic = Traffic::keep(db.clone(), tasks).await?;
    let router = Router::new(std::mem::take(&mut setup.roads), setup.speeds.take());
    let router = router.with_traffic(traffic);
    Ok(match &setup.osrm_url {
        Some(url) => router.with_engine(Osrm::new(url, breakers)?, tasks),
        None => router,
    })
}

/// The limits, counted together with other nodes where there is a Redis.
fn limiter(
    setup: &Setup,
    breakers: &Breakers,
    tasks: &Tasks,
    health: &Health,
) -> anyhow::Result<Limiter> {
    let switch = match setup.rate_limits {
        Switch::On => RateLimits::On,
        Switch::Off => RateLimits::Off,
    };
    let shared: Option<Arc<dyn SharedCounts>> = match &setup.redis_url {
        Some(url) => {
            let redis = Redis::open(url, breakers).context("REDIS_URL")?;
            redis.keep_watch(tasks, health.clone());
            Some(Arc::new(redis))
        }
        None => None,
    };
    Ok(Limiter::new(switch, setup.rates.clone(), setup.clock.clone(), shared))
}

fn realtime_config(setup: &Setup) -> realtime::Config {
    realtime::Config {
        origins: setup.origins.clone(),
        rate_limits: setup.rate_limits == Switch::On,
        sockets_per_address: setup.sockets_per_address,
        trusted_proxies: setup.trusted_proxies,
        threads: setup.socket_threads,
        ..realtime::Config::default()
    }
}

fn api_config(setup: &Setup) -> api::Config {
    api::Config {
        origins: setup.origins.clone(),
        trusted_proxies: setup.trusted_proxies,
        metrics_token: setup.metrics_token.clone(),
        in_flight: setup.requests_at_once,
    }
}

fn watch_database(tasks: &Tasks, db: &Db, health: &Health) {
    let (db, health, stopping) = (db.clone(), health.clone(), tasks.stopping());
    tasks.spawn("database watch", async move {
        let mut tick = tokio::time::interval(PING_EVERY);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = tick.tick() => {
                    let up = db.ping().await.is_ok();
                    let state = if up { Dependency::Up } else { Dependency::Down };
                    health.report("postgresql", state);
                }
            }
        }
    });
}

/// An overloaded city is nothing to be taken out of service for: operators see it by its name.
fn watch_matching(tasks: &Tasks, flows: &Flows, health: &Health) {
    let (dispatch, health, stopping) = (flows.dispatch.clone(), health.clone(), tasks.stopping());
    tasks.spawn("matching watch", async move {
        let mut tick = tokio::time::interval(LOAD_EVERY);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = tick.tick() => {
                    let less = dispatch.is_overloaded();
                    let state = if less { Dependency::Degraded } else { Dependency::Up };
                    health.report("matching", state);
                }
            }
        }
    });
}

fn keep_surge(tasks: &Tasks, flows: &Flows, every: Duration) {
    let (flows, stopping) = (flows.clone(), tasks.stopping());
    tasks.spawn("surge", async move {
        let mut tick = tokio::time::interval(every);
        loop {
            tokio::select! {
                () = stopping.cancelled() => return,
                _ = tick.tick() => flows.refresh_surge(),
            }
        }
    });
}

impl Running {
    pub const fn addr(&self) -> SocketAddr {
        self.address
    }

    pub const fn flows(&self) -> &Flows {
        &self.flows
    }

    /// What `smartline admin create` does.
    pub async fn create_admin(
        &self,
        phone: &str,
        name: &str,
        password: &str,
    ) -> anyhow::Result<()> {
        self.flows.identity.create_admin(phone, name, password).await?;
        Ok(())
    }

    /// Ends when something vital broke and the node can't go on.
    pub async fn broken(&self) {
        self.tasks.stopping().cancelled().await;
    }

    async fn flush(&self) {
        if let Err(fault) = self.flows.fleet.store_tracks().await {
            warn!(%fault, "tracks of ended trips were not stored");
        }
        self.flows.fleet.flush().await;
        self.flows.dispatch.flush().await;
    }

    /// Drains and stops; nothing that was acknowledged is lost.
    pub async fn stop(self) {
        self.health.enter(Phase::Draining);
        self.realtime.drain(DRAIN_SOCKETS).await;
        self.tasks.stop(DRAIN).await;
        // What the last commits told was carried out after the writers behind had begun to end.
        if tokio::time::timeout(FLUSH, self.flush()).await.is_err() {
            warn!("not everything written behind could be stored");
        }
        self.db.close().await;
        if let Some(cluster) = self.cluster {
            cluster.stop().await;
        }
    }
}

/// `smartline serve`, until SIGTERM or Ctrl-C.
pub fn run_server(args: &ServeArgs) -> anyhow::Result<()> {
    let secrets = Secrets::from_env()?;
    args.check(&secrets)?;
    small_pages();
    runtime()?.block_on(async {
        start_logs(args);
        let database = open_database(&args.data, &secrets).await?;
        // Before it says that it is ready: whoever heard that may stop it the moment after.
        let mut stop = StopSignals::listen()?;
        let running = Box::pin(start(setup(args, &secrets)?, database)).await?;
        let broken = tokio::select! {
            () = stop.asked() => false,
            () = running.broken() => true,
        };
        info!("stopping");
        running.stop().await;
        info!("stopped");
        anyhow::ensure!(!broken, "a vital part ended by itself, see the log");
        Ok(())
    })
}

/// The crypto provider is installed first: whoever opens TLS or signs without it would panic.
pub(crate) fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("no runtime")
}

/// The allocator asks for huge pages, and the kernel makes them of half-empty memory some minutes
/// later: what is resident would grow for an hour without anything more being kept. They gain
/// nothing that could be measured (decision 0006).
fn small_pages() {
    if let Err(error) = nix::sys::prctl::set_thp_disable(true) {
        warn!("huge pages stay on: {error}");
    }
}

fn start_logs(args: &ServeArgs) {
    let format = match args.data.log_format {
        LogStyle::Json => LogFormat::Json,
        LogStyle::Plain => LogFormat::Plain,
    };
    ops::start_logs(&args.data.log, format);
}

fn setup(args: &ServeArgs, secrets: &Secrets) -> anyhow::Result<Setup> {
    let secret = keys::signing_key(secrets.jwt.as_ref(), &args.data.data_dir)?;
    // Load tests and demos make thousands of accounts; only there the hash may be cheap.
    let demo = args.rate_limits == Switch::Off && args.data.stage == Stage::Development;
    Ok(Setup {
        listen: args.listen,
        operators: Some(args.ops_listen),
        keys: Keys { secret, previous: secrets.jwt_previous.clone() },
        rate_limits: args.rate_limits,
        rates: args.rates.clone().unwrap_or_default(),
        connections_per_address: args.connections_per_address.get(),
        sockets_per_address: args.sockets_per_address.get(),
        requests_at_once: args.requests_at_once.get(),
        origins: args.origins.clone(),
        trusted_proxies: args.trusted_proxies,
        socket_threads: args.socket_threads,
        metrics_token: secrets.metrics_token.clone(),
        redis_url: secrets.redis_url.clone(),
        hash_cost: if demo { HashCost::Cheap } else { HashCost::Standard },
        fleet: args.fleet(),
        dispatch: args.dispatch(),
        trips: args.trips(),
        roads: roads::load(args.roads.as_deref())?,
        osrm_url: args.osrm_url.clone(),
        speeds: speeds::load(
            args.speed_table.as_deref(),
            args.speed_zones.as_deref(),
            &args.speed_time_zone,
        )?,
        providers: args.providers.providers(secrets)?,
        payments: args.gateway.payments(secrets)?,
        payouts: args.payouts.payouts(secrets)?,
        act_limits: args.payouts.act_limits()?,
        fraud: args.fraud(),
        surge_every: SURGE_EVERY,
        clock: Clock::system(),
    })
}

/// SIGTERM and Ctrl-C; once they are listened to they don't end the process by themselves.
struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    fn listen() -> std::io::Result<Self> {
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
