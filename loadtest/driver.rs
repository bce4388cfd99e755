//! A driver and his phone.
//!
//! Owns one driver for the whole run: he stays connected, reports his position, weighs offers,
//! fetches riders, carries them, and cruises towards demand in between. A lost connection is
//! opened again and what he was doing goes on; positions he could not send are sent afterwards.
//! What he does on a trip is in `job.rs`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::accounts::Account;
use crate::api::Failure;
use crate::car::Car;
use crate::client::{Down, Encoding, Socket};
use crate::geometry::Place;
use crate::job::{Doing, Job};
use crate::next::Next;
use crate::setup;
use crate::stats::{Up, add};
use crate::wire::{Fix, Offer, now_ms};
use crate::world::{Phase, Trail, World};

/// Most positions that fit one backfill by socket.
const BACKFILL: usize = 200;
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_LAST: Duration = Duration::from_secs(8);
/// Chance per position that a driver with nothing to do sets off towards demand.
const CRUISE: f64 = 0.04;
/// Cruising is slower than driving to a place.
const CRUISE_PACE: f64 = 0.6;

pub struct Driver {
    pub world: Arc<World>,
    pub account: Account,
    pub rng: StdRng,
    pub car: Car,
    pub doing: Doing,
    pub next: Next,
    /// What he may owe, as far as he can tell: the worst case, piasters.
    pub owes: i64,
    encoding: Encoding,
    trail: Arc<Mutex<Trail>>,
    missed: Vec<Fix>,
    next_fix: Instant,
    cut_at: Option<Instant>,
    /// Number (and epoch) of the last event of his own stream, from the socket before.
    resume_user: Option<(Option<u64>, u64)>,
}

/// Why a connection is over.
pub enum Parting {
    Over,
    /// On purpose, to see what happens.
    Cut,
    /// The server asked for it.
    Reconnect(Duration),
    Lost(Failure),
}

impl Driver {
    pub fn new(world: Arc<World>, account: Account, start: Place) -> Self {
        let rng = world.rng(u64::from(account.index) << 1);
        Self {
            encoding: world.encoding(account.index),
            trail: world.trail(account.id),
            world,
            account,
            rng,
            car: Car::new(start),
            doing: Doing::Idle,
            next: Next::Nothing,
            owes: 0,
            missed: Vec::new(),
            next_fix: Instant::now(),
            cut_at: None,
            resume_user: None,
        }
    }

    /// Drives until the run is over; hands the account back.
    pub async fn run(mut self) -> Account {
        let mut retry = RETRY_FIRST;
        while self.world.now() < Phase::Over {
            let mut socket = match self.connect().await {
                Ok(socket) => socket,
                Err(failure) => {
                    self.mention(&failure);
                    self.stay_away(retry).await;
                    retry = (retry * 2).min(RETRY_LAST);
                    continue;
                }
            };
            let begun = Instant::now();
            let parting = self.session(&mut socket).await;
            self.resume_user = socket.user_stream().or(self.resume_user);
            self.world.judge.report(socket.found());
            match parting {
                Parting::Over => {
                    let offline = json!({"isOnline": false});
                    let _: Result<Value, _> = socket.ask("status", &offline).await;
                    socket.close().await;
                }
                Parting::Cut => {
                    add(&self.world.stats.totals.cut);
                    drop(socket);
                    let away = self.world.args.away.draw(&mut self.rng);
                    self.stay_away(away).await;
                }
                Parting::Reconnect(after) => {
                    socket.close().await;
                    self.stay_away(after).await;
                }
                Parting::Lost(failure) => {
                    add(&self.world.stats.totals.lost);
                    let what = "driver's socket";
                    self.world.stats.failed(what, failure.code(), &failure.to_string());
                    self.mention(&failure);
                    if begun.elapsed() > RETRY_LAST {
                        retry = RETRY_FIRST;
                    }
                    self.stay_away(retry).await;
                    retry = (retry * 2).min(RETRY_LAST);
                }
            }
        }
        self.account
    }

    async fn connect(&mut self) -> Result<Socket, Failure> {
        let token = self.account.token(&self.world).await?;
        let world = &self.world;
        // A driver's phone gets no positions, so it asks for nothing special.
        let opened = Socket::open(&world.args.url, &token, Encoding::Json, &world.stats).await;
        if let Err(failure) = &opened {
            world.stats.failed("socket", failure.code(), &failure.to_string());
            if matches!(failure, Failure::Refused(_)) {
                self.account.forget_token();
            }
        }
        opened
    }

    async fn session(&mut self, socket: &mut Socket) -> Parting {
        if let Err(failure) = self.begin(socket).await {
            return Parting::Lost(failure);
        }
        let world = self.world.clone();
        let _online = Up::new(&world.stats.gauges.drivers_online);
        let per_second = world.args.disconnects / 3_600.0;
        self.cut_at = (per_second > 0.0).then(|| {
            let seconds = -(1.0 - self.rng.random::<f64>()).ln() / per_second;
            Instant::now() + Duration::from_secs_f64(seconds.min(1e6))
        });
        loop {
            let due = self.doing.wake().into_iter().chain(self.next.wake());
            let wake = due.fold(self.next_fix, Instant::min);
            let step = tokio::select! {
                down = socket.next() => match down {
                    Ok(down) => self.hear(socket, down).await,
                    Err(failure) => Err(Parting::Lost(failure)),
                },
                () = tokio::time::sleep_until(wake.into()) => self.tick(socket).await,
            };
            if let Err(parting) = step {
                return parting;
            }
        }
    }

    /// Says who and where he is, and picks up what he was doing.
    async fn begin(&mut self, socket: &mut Socket) -> Result<(), Failure> {
        if let Some(mark) = self.resume_user.take() {
            let room = format!("user:{}", self.account.id);
            self.shrug(socket.resume_user(&room, mark).await)?;
        }
        if !self.doing.on_trip() {
            self.go_online(socket).await?;
        }
        self.backfill(socket).await?;
        self.pick_up(socket).await
    }

    async fn go_online(&mut self, socket: &mut Socket) -> Result<(), Failure> {
        let at = self.car.at();
        let online = json!({"isOnline": true, "lat": at.lat, "lng": at.lng});
        match socket.ask::<Value>("status", &online).await {
            Ok(_) => Ok(()),
            Err(failure) if failure.is("DRIVER_NOT_APPROVED") || failure.is("DOCUMENT_EXPIRED") => {
                setup::approve(&self.world, &mut self.account).await?;
                socket.ask::<Value>("status", &online).await.map(|_| ())
            }
            Err(failure) if failure.is("DRIVER_BUSY") => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    async fn backfill(&mut self, socket: &mut Socket) -> Result<(), Failure> {
        for fixes in std::mem::take(&mut self.missed).chunks(BACKFILL) {
            let locations: Vec<_> = fixes.iter().map(Fix::json).collect();
            self.remember(fixes);
            let body = json!({"locations": locations});
            self.shrug(socket.ask::<Value>("location.batch", &body).await)?;
            for _ in fixes {
                add(&self.world.stats.totals.positions_backfilled);
            }
        }
        Ok(())
    }

    fn remember(&self, fixes: &[Fix]) {
        let mut trail = self.trail.lock();
        for fix in fixes {
            trail.sent(fix.timestamp, fix.at, Instant::now());
        }
    }

    async fn tick(&mut self, socket: &mut Socket) -> Result<(), Parting> {
        let now = Instant::now();
        if self.world.now() >= Phase::Over {
            return Err(Parting::Over);
        }
        if self.cut_at.is_some_and(|at| now >= at) {
            return Err(Parting::Cut);
        }
        if now >= self.next_fix {
            self.next_fix = now + self.world.args.every.draw(&mut self.rng);
            self.report(socket).await?;
            self.renew(socket).await?;
            self.cruise();
        }
        self.act(socket).await
    }

    async fn report(&mut self, socket: &mut Socket) -> Result<(), Parting> {
        let fix = self.car.report(&mut self.rng);
        self.remember(&[fix]);
        socket.position(&fix, self.encoding).await.map_err(Parting::Lost)?;
        add(&self.world.stats.totals.positions_up);
        Ok(())
    }

    /// Tells the socket of a fresh token before the old one ends.
    async fn renew(&mut self, socket: &mut Socket) -> Result<(), Parting> {
        if self.account.renew_at().is_some_and(|at| Instant::now() < at) {
            return Ok(());
        }
        let Ok(token) = self.account.token(&self.world).await else { return Ok(()) };
        let answer = socket.ask::<Value>("auth", &json!({"token": token})).await;
        self.shrug(answer).map_err(Parting::Lost)
    }

    fn cruise(&mut self) {
        let idle = matches!(self.doing, Doing::Idle) && self.car.stands();
        if idle && self.rng.random_bool(CRUISE) {
            let there = self.world.city.draw_pickup(self.world.slot(), &mut self.rng);
            self.drive_to(there, CRUISE_PACE);
        }
    }

    /// Sets off from where the car is now.
    pub fn drive_to(&mut self, there: Place, pace: f64) {
        self.car.step();
        let here = self.car.at();
        let path = self.world.city.path(here, there, &mut self.rng);
        self.car.go(path, self.world.speed_kmh(here, there) * pace);
    }

    async fn hear(&mut self, socket: &mut Socket, down: Down) -> Result<(), Parting> {
        match down {
            Down::Offer(offer) => self.weigh(offer),
            Down::OfferRevoked(of) => {
                add(&self.world.stats.totals.offers_revoked);
                if self.doing.weighs(of.trip_id) {
                    self.doing = Doing::Idle;
                }
                if self.next.weighs(of.trip_id) {
                    self.next = Next::Nothing;
                }
            }
            Down::TripEvent { seq, event } => {
                let trip = event.trip_id;
                self.follow(trip, |job| job.follow.event(seq, &event));
            }
            Down::Snapshot { seq, trip } => {
                self.follow(trip.id, |job| job.follow.snapshot(seq, trip.status, trip.driver_id));
            }
            Down::Reconnect { after } => return Err(Parting::Reconnect(after)),
            Down::Error { refusal, .. } => {
                self.world.stats.failed("pushed error", &refusal.code, &refusal.message);
            }
            Down::Ack { .. } | Down::Location(_) | Down::Other => {}
        }
        self.world.judge.report(socket.found());
        Ok(())
    }

    fn weigh(&mut self, offer: Offer) {
        add(&self.world.stats.totals.offers);
        if self.doing.on_trip() {
            return self.weigh_next(offer);
        }
        if offer.expires_at <= now_ms() {
            return;
        }
        let (answer, at) = self.make_up_his_mind();
        self.doing = Doing::Weighing { offer, answer, at };
    }

    /// Feeds what was heard of his trip to its checker, and leaves the trip when it is his no more.
    fn follow<F>(&mut self, trip: uuid::Uuid, feed: F)
    where
        F: FnOnce(&mut Job) -> Vec<crate::invariants::Violation>,
    {
        let me = self.account.id;
        let Some(job) = self.doing.job().filter(|job| job.trip == trip) else { return };
        job.heard = Instant::now();
        let found = feed(job);
        let gone = job.is_gone(me);
        self.world.judge.report(found);
        if gone {
            self.leave(trip);
        }
    }

    /// He has nothing more to do with the trip.
    pub fn leave(&mut self, trip: uuid::Uuid) {
        self.world.judge.left(self.account.id, trip);
        self.doing = Doing::Idle;
    }

    /// Off the air: the car goes on, and what it would have reported is kept.
    async fn stay_away(&mut self, away: Duration) {
        let until = Instant::now() + away;
        while Instant::now() < until && self.world.now() < Phase::Over {
            let nap = self.world.args.every.draw(&mut self.rng);
            tokio::time::sleep(nap.min(until.saturating_duration_since(Instant::now()))).await;
            if self.missed.len() < BACKFILL {
                let fix = self.car.report(&mut self.rng);
                self.missed.push(fix);
            }
        }
    }

    /// A refusal that changes nothing here: it is counted already. A lost socket still ends all.
    fn shrug<T>(&self, answer: Result<T, Failure>) -> Result<(), Failure> {
        match answer {
            Err(failure) if failure.is_lost() => Err(failure),
            Err(failure) => {
                self.mention(&failure);
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    pub fn mention(&self, failure: &Failure) {
        self.world.mention(&format!("driver {}", self.account.index), failure);
    }
}
