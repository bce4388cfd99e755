//! A rider's trip, followed from booking to receipt.
//!
//! Owns what she sees of it: numbered events (checked), positions (checked and timed), her
//! patience, lost connections and resumes, and the receipt that goes into the books. Events are
//! believed, but now and then REST is asked too: an event that never came is a broken promise.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rand::RngExt;
use serde_json::{Value, json};

use crate::api::Failure;
use crate::books::Receipt;
use crate::client::{Down, Socket};
use crate::geometry::Place;
use crate::invariants::{PositionOrder, Rule, Subscription, TripFollow, Violation};
use crate::rider::{Afterwards, Booking, Rider};
use crate::stats::{Stats, Up, add};
use crate::wire::{PaymentMethod, Sighting, Status, TripEvent, TripView};
use crate::world::{Phase, Trail};

/// How often she looks at the clock.
const TICK: Duration = Duration::from_secs(1);
/// How often REST is asked whether an event was missed.
const WATCH: Duration = Duration::from_secs(15);
/// How long to wait before a refused cancel is asked again.
const CANCEL_AGAIN: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_millis(700);
/// Times a receipt is asked for before its absence is told.
const RECEIPT_TRIES: u32 = 6;

pub struct Ride<'a> {
    rider: &'a mut Rider,
    stats: Arc<Stats>,
    booking: Booking,
    follow: TripFollow,
    order: PositionOrder,
    trail: Option<Arc<Mutex<Trail>>>,
    asked: Instant,
    matched: Option<Instant>,
    arrived: Option<Instant>,
    started: Option<Instant>,
    /// When she has waited long enough for a driver.
    gives_up: Instant,
    /// Not before this does she ask (again) to cancel.
    next_cancel: Instant,
    /// When she changes her mind, with or without a driver.
    whim: Option<Instant>,
    watch: Instant,
    /// What REST said last time when the socket said something else.
    rest_said: Option<Status>,
    cut_at: Option<Instant>,
}

/// Why the loop over one socket ended.
enum Parting {
    Ended,
    Over,
    Cut,
    Reconnect(Duration),
    Lost(Failure),
}

impl<'a> Ride<'a> {
    pub fn new(rider: &'a mut Rider, booking: Booking) -> Self {
        let (now, world) = (Instant::now(), rider.world.clone());
        let rng = &mut rider.rng;
        let whim = rng.random_bool(world.args.rider_cancels).then(|| rng.random_range(1..25));
        let per_second = world.args.disconnects / 3_600.0;
        let cut = -(1.0 - rng.random::<f64>()).ln() / per_second.max(1e-9);
        Self {
            stats: world.stats.clone(),
            follow: TripFollow::new(booking.trip),
            order: PositionOrder::default(),
            trail: None,
            asked: now,
            matched: None,
            arrived: None,
            started: None,
            gives_up: now + world.args.patience.draw(rng),
            next_cancel: now + Duration::from_secs(1),
            whim: whim.map(|seconds| now + Duration::from_secs(seconds)),
            watch: now + WATCH,
            rest_said: None,
            cut_at: (per_second > 0.0).then(|| now + Duration::from_secs_f64(cut.min(1e6))),
            booking,
            rider,
        }
    }

    /// Follows the trip to its end.
    pub async fn follow(mut self, socket: Socket) -> Afterwards {
        let mut socket = Some((socket, Subscription::AfterBooking));
        loop {
            let (mut open, how) = match socket.take() {
                Some(open) => open,
                None => match self.rider.connect().await {
                    Ok(open) => (open, Subscription::Resume),
                    Err(_) if self.rider.world.now() >= Phase::Over => break,
                    Err(failure) => {
                        self.rider.mention(&failure);
                        tokio::time::sleep(RETRY).await;
                        continue;
                    }
                },
            };
            let parting = self.session(&mut open, how).await;
            self.rider.world.judge.report(open.found());
            match parting {
                Parting::Ended | Parting::Over => {
                    open.close().await;
                    break;
                }
                Parting::Cut => {
                    add(&self.stats.totals.cut);
                    self.cut_at = None;
                    drop(open);
                    let away = self.rider.world.args.away.draw(&mut self.rider.rng);
                    tokio::time::sleep(away).await;
                }
                Parting::Reconnect(after) => {
                    open.close().await;
                    tokio::time::sleep(after).await;
                }
                Parting::Lost(failure) => {
                    add(&self.stats.totals.lost);
                    let text = failure.to_string();
                    self.stats.failed("rider's socket", failure.code(), &text);
                    self.rider.mention(&failure);
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
        self.close_the_books().await
    }

    async fn session(&mut self, socket: &mut Socket, how: Subscription) -> Parting {
        if let Err(failure) = self.subscribe(socket, how).await {
            return Parting::Lost(failure);
        }
        let (stats, mut tick) = (self.stats.clone(), Instant::now() + TICK);
        let mut gauge = Up::new(&stats.gauges.waiting);
        let mut running = false;
        loop {
            if self.follow.status().is_some_and(Status::ended) {
                return Parting::Ended;
            }
            let has_driver = self.follow.driver().is_some();
            if has_driver != running {
                running = has_driver;
                gauge =
                    Up::new(if running { &stats.gauges.running } else { &stats.gauges.waiting });
            }
            let step = tokio::select! {
                down = socket.next() => match down {
                    Ok(down) => self.hear(down),
                    Err(failure) => Err(Parting::Lost(failure)),
                },
                () = tokio::time::sleep_until(tick.into()) => {
                    tick = Instant::now() + TICK;
                    self.tick(socket).await
                }
            };
            if let Err(parting) = step {
                drop(gauge);
                return parting;
            }
        }
    }

    async fn subscribe(&mut self, socket: &mut Socket, how: Subscription) -> Result<(), Failure> {
        let body = json!({"tripId": self.booking.trip, "afterSeq": self.follow.last()});
        self.follow.subscribing(how);
        match socket.ask::<Value>("trip.subscribe", &body).await {
            Err(failure) if failure.is_lost() => Err(failure),
            Err(failure) => {
                self.rider.mention(&failure);
                Ok(())
            }
            Ok(_) => Ok(()),
        }
    }

    fn hear(&mut self, down: Down) -> Result<(), Parting> {
        match down {
            Down::TripEvent { seq, event } if event.trip_id == self.booking.trip => {
                self.note(seq, &event);
            }
            Down::Snapshot { seq, trip } if trip.id == self.booking.trip => {
                let found = self.follow.snapshot(seq, trip.status, trip.driver_id);
                self.rider.world.judge.report(found);
                self.new_driver();
            }
            Down::Location(seen) if seen.trip_id == self.booking.trip => self.see(&seen),
            Down::Reconnect { after } => return Err(Parting::Reconnect(after)),
            Down::Error { refusal, .. } => {
                self.stats.failed("pushed error", &refusal.code, &refusal.message);
            }
            Down::TripEvent { .. }
            | Down::Snapshot { .. }
            | Down::Location(_)
            | Down::Offer(_)
            | Down::OfferRevoked(_)
            | Down::Ack { .. }
            | Down::Other => {}
        }
        Ok(())
    }

    fn note(&mut self, seq: u64, event: &TripEvent) {
        let before = (self.follow.status(), self.follow.driver());
        let found = self.follow.event(seq, event);
        self.rider.world.judge.report(found);
        let (now, stats) = (Instant::now(), &self.stats);
        if before.0 != self.follow.status() {
            match event.status {
                Status::Accepted => {
                    if self.matched.is_none() {
                        add(&stats.totals.matched);
                        stats.wait.record(now - self.asked);
                    }
                    self.matched = Some(now);
                }
                Status::Arrived => {
                    if let Some(matched) = self.matched {
                        stats.pickup.record(now - matched);
                    }
                    self.arrived = Some(now);
                }
                Status::Started => self.started = Some(now),
                Status::Completed | Status::PaymentFailed => {
                    if let Some(started) = self.started {
                        stats.ride.record(now - started);
                    }
                }
                Status::Scheduled | Status::Requested | Status::Cancelled | Status::NoDrivers => {}
            }
        }
        if before.1 != self.follow.driver() {
            self.new_driver();
        }
    }

    fn new_driver(&mut self) {
        self.order.new_driver();
        self.trail = self.follow.driver().map(|driver| self.rider.world.trail(driver));
    }

    fn see(&mut self, seen: &Sighting) {
        let now = Instant::now();
        add(&self.stats.totals.positions_down);
        let found = self.order.seen(seen.trip_id, seen.at);
        self.rider.world.judge.report(found);
        let place = Place::new(seen.lat, seen.lng);
        let sent = self.trail.as_ref().and_then(|trail| trail.lock().find(seen.at, place));
        match sent {
            Some(sent) => self.stats.saw_position(now.saturating_duration_since(sent)),
            None => add(&self.stats.totals.positions_unmatched),
        }
    }

    async fn tick(&mut self, socket: &mut Socket) -> Result<(), Parting> {
        let (now, phase) = (Instant::now(), self.rider.world.now());
        if phase >= Phase::Over {
            return Err(Parting::Over);
        }
        if self.cut_at.is_some_and(|at| now >= at) {
            return Err(Parting::Cut);
        }
        if let Some(reason) = self.wants_out(now, phase) {
            self.cancel(socket, reason).await?;
        }
        if now >= self.watch {
            self.watch = now + WATCH;
            self.compare_with_rest().await?;
        }
        if self.rider.account.renew_at().is_some_and(|at| now >= at) {
            self.renew(socket).await?;
        }
        Ok(())
    }

    /// Why she would rather not travel, if so.
    fn wants_out(&self, now: Instant, phase: Phase) -> Option<&'static str> {
        let searching = self.follow.driver().is_none();
        if now < self.next_cancel || self.follow.status() == Some(Status::Started) {
            return None;
        }
        if self.whim.is_some_and(|at| now >= at) {
            return Some("changed_mind");
        }
        if searching && now >= self.gives_up {
            return Some("waited_too_long");
        }
        let hurry = searching && phase >= Phase::WindingDown || phase >= Phase::Hurrying;
        hurry.then_some("other")
    }

    async fn cancel(&mut self, socket: &mut Socket, reason: &str) -> Result<(), Parting> {
        self.whim = None;
        self.next_cancel = Instant::now() + CANCEL_AGAIN;
        let body = json!({"tripId": self.booking.trip, "reason": reason});
        match socket.ask::<Value>("trip.cancel", &body).await {
            Err(failure) if failure.is_lost() => Err(Parting::Lost(failure)),
            Err(failure) => {
                self.rider.mention(&failure);
                Ok(())
            }
            // The event will say that it is over.
            Ok(_) => Ok(()),
        }
    }

    async fn renew(&mut self, socket: &mut Socket) -> Result<(), Parting> {
        let world = self.rider.world.clone();
        let Ok(token) = self.rider.account.token(&world).await else { return Ok(()) };
        match socket.ask::<Value>("auth", &json!({"token": token})).await {
            Err(failure) if failure.is_lost() => Err(Parting::Lost(failure)),
            _ => Ok(()),
        }
    }

    /// Twice in a row another status by REST, and the same one: an event never came.
    async fn compare_with_rest(&mut self) -> Result<(), Parting> {
        let Ok(view) = self.rider.view(self.booking.trip).await else { return Ok(()) };
        if self.follow.status() == Some(view.status) {
            self.rest_said = None;
            return Ok(());
        }
        if self.rest_said.replace(view.status) != Some(view.status) {
            return Ok(());
        }
        let what = format!(
            "trip {}: is {:?} for {} s, its room still said {:?} (event {})",
            self.booking.trip,
            view.status,
            WATCH.as_secs(),
            self.follow.status(),
            self.follow.last(),
        );
        self.rider.world.judge.report([Violation::new(Rule::S1, what)]);
        // What was missed must come on a fresh socket.
        Err(if view.status.ended() { Parting::Ended } else { Parting::Reconnect(RETRY) })
    }

    /// Counts how the trip ended and books its money.
    async fn close_the_books(mut self) -> Afterwards {
        let world = self.rider.world.clone();
        world.judge.stints(self.follow.stints());
        let view = match self.receipt().await {
            Ok(view) => view,
            Err(failure) => {
                add(&self.stats.totals.unfinished);
                let what = format!("trip {}: no receipt, {failure}", self.booking.trip);
                world.judge.report([Violation::new(Rule::T6, what)]);
                return Afterwards::Retired;
            }
        };
        let totals = &self.stats.totals;
        match view.status {
            Status::Completed | Status::PaymentFailed => add(&totals.completed),
            Status::Cancelled => add(&totals.cancelled),
            Status::NoDrivers => add(&totals.no_drivers),
            Status::Scheduled
            | Status::Requested
            | Status::Accepted
            | Status::Arrived
            | Status::Started => {
                add(&totals.unfinished);
                let what = format!("trip {}: still {:?} at the end", view.id, view.status);
                world.judge.report([Violation::new(Rule::T6, what)]);
                return Afterwards::Retired;
            }
        }
        let asked = (self.booking.tier, self.booking.method);
        let mut receipt = Receipt::of(&view, self.rider.account.id, asked);
        receipt.driver = receipt.driver.or_else(|| self.follow.driver());
        if receipt.status == Status::Cancelled && self.matched.is_none() && receipt.driver.is_none()
        {
            // Nobody was ever on the way, so nobody is owed anything.
            return Afterwards::Free;
        }
        world.judge.report(world.judge.books(|books| books.settle(&receipt)));
        if receipt.method == PaymentMethod::Wallet
            && let (Some(wallet), Some(price)) = (&mut self.rider.account.wallet, view.final_price)
        {
            *wallet -= price.0;
        }
        Afterwards::Free
    }

    /// The trip by REST, asked again while it lags behind its own last event.
    async fn receipt(&mut self) -> Result<TripView, Failure> {
        let mut last = Err(Failure::TimedOut);
        for _ in 0..RECEIPT_TRIES {
            last = self.rider.view(self.booking.trip).await;
            match &last {
                Ok(view) if view.status.ended() => return last,
                Ok(_) => {}
                Err(failure) if failure.passes() => {}
                Err(_) => return last,
            }
            tokio::time::sleep(RETRY).await;
        }
        last
    }
}
