//! The one owner of the board: takes commands, ticks, hands effects on, writes the record.
//!
//! Commands change the board under a short lock and wake the loop; nothing waits inside the lock. A
//! tick looks at a bounded slice of the searches per locking, so a command never waits for a whole
//! sweep. Effects go through a bounded channel; when it is full the loop waits, and with it the
//! search for drivers, because offers that nobody carries out help no rider.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use base::{CityId, Clock, DriverId, Fault, Piasters, TripId};
use fleet::Fleet;
use metrics::{counter, gauge, histogram};
use ops::Tasks;
use parking_lot::Mutex;
use routing::Router;
use storage::{Db, Who};
use tokio::sync::{Notify, mpsc};
use tracing::{debug, info, warn};

use crate::board::{Board, Ended, Found, Rules};
use crate::choice::{self, Choice, Choices};
use crate::engine::tick_timed;
use crate::live::LiveView;
use crate::load::{Change, Meter, Step};
use crate::model::{Decision, Effect, Outcome, Said, Search, View};
use crate::shadow::{Pass, Shadows};
use crate::snapshot::Snapshot;
use crate::store::{OfferRecord, Records};
use crate::trace;
use crate::turns::News;
use crate::wire::{LoadView, MatchingStatus, ShadowCounts, Trace};

/// Ticks are at least this far apart, however often they are asked for: what happens in between is
/// decided together.
const COALESCE: Duration = Duration::from_millis(20);

/// How often the cities' choices are read again: an operator may have asked another node.
const CHOICES_EVERY: Duration = Duration::from_secs(5);

/// How dispatch runs.
#[derive(Clone, Debug, PartialEq)]
pub struct DispatchConfig {
    /// Time between two ticks when nothing wakes the loop.
    pub tick: Duration,
    pub rules: Rules,
}

impl Default for DispatchConfig {
    fn default() -> Self {
        Self { tick: Duration::from_secs(1), rules: Rules::default() }
    }
}

/// The search for drivers of this node. Cheap to clone.
#[derive(Clone)]
pub struct Dispatch {
    desk: Desk,
    db: Db,
}

impl Dispatch {
    /// Starts the loop and the writers. What is decided comes out of `effects`.
    pub fn start(
        db: Db,
        tasks: &Tasks,
        clock: Clock,
        fleet: Fleet,
        router: Router,
        effects: mpsc::Sender<Effect>,
        config: DispatchConfig,
    ) -> Self {
        let records = Records::start(&db, tasks, &config.rules);
        let view = Arc::new(LiveView::new(fleet, router));
        let desk = Desk::start(tasks, clock, view, records, effects, config);
        let dispatch = Self { desk, db };
        dispatch.keep_choices(tasks);
        dispatch
    }

    /// Reads how each city finds drivers, and what runs beside it.
    pub async fn load_choices(&self) -> Result<(), Fault> {
        for choice in choice::store::all(&self.db).await? {
            self.adopt(choice);
        }
        let shadows = choice::store::shadows(&self.db).await?;
        self.desk.0.shadows.lock().run(&shadows);
        Ok(())
    }

    /// What this node counted of the strategy that runs beside the city's own.
    pub fn shadow_counts(&self, city: CityId) -> Option<ShadowCounts> {
        self.desk.0.shadows.lock().counts(city)
    }

    fn keep_choices(&self, tasks: &Tasks) {
        let (dispatch, stopping) = (self.clone(), tasks.stopping());
        tasks.spawn("dispatch choices", async move {
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = tokio::time::sleep(CHOICES_EVERY) => {}
                }
                if let Err(fault) = dispatch.load_choices().await {
                    warn!(%fault, "cities find drivers as was read last");
                }
            }
        });
    }

    /// How this city finds drivers.
    pub fn choice(&self, city: CityId) -> Choice {
        self.desk.0.choices.of(city)
    }

    /// From the next tick on the city finds drivers so, unless a newer choice is known already.
    pub fn adopt(&self, choice: Choice) {
        self.desk.adopt(choice);
    }

    /// Looks for a driver until one accepts, nobody is left, or [`Dispatch::stop`].
    pub fn search(&self, search: Search) {
        self.desk.search(search);
    }

    /// Ends a search: the trip has a driver, was cancelled, or is told that there is none.
    pub fn stop(&self, trip: TripId) {
        self.desk.stop(trip);
    }

    /// Ends a search for somebody who stands by; one for a driver goes on.
    pub fn stop_standby(&self, trip: TripId) {
        self.desk.0.board.lock().stop_standby(trip);
    }

    /// The trip has this driver: its search ends, or goes on for one who is nearer than him.
    pub fn matched(&self, trip: TripId, driver: DriverId) {
        self.desk.0.board.lock().matched(trip, driver);
    }

    /// The driver bids this price for the trip that he was asked for: it is kept beside his offer.
    pub fn bid(&self, trip: TripId, driver: DriverId, price: Piasters) {
        self.desk.bid(trip, driver, price);
    }

    /// An offer is over. Once all of its round are, the search goes on at once.
    pub fn offer_ended(&self, trip: TripId, driver: DriverId, outcome: Outcome) {
        self.desk.offer_ended(trip, driver, outcome);
    }

    /// Something changed that a search may wait for: a driver arrived or became free.
    pub fn wake(&self) {
        self.desk.wake();
    }

    /// Where the search for this trip stands; `searching` without a position when there is none
    /// (yet) for a trip that wants a driver.
    pub fn status(&self, trip: TripId) -> MatchingStatus {
        self.desk.status(trip).unwrap_or(MatchingStatus::searching(None))
    }

    /// How loaded a city is on this node; none before its first search.
    pub fn load(&self, city: CityId) -> Option<LoadView> {
        self.desk.0.board.lock().load(city)
    }

    /// Does this node do without something in any city?
    pub fn is_overloaded(&self) -> bool {
        self.desk.0.board.lock().turns.loads().any(|(_, step, _)| step != Step::Normal)
    }

    /// Offers that are open on this node.
    pub fn open_offers(&self) -> usize {
        self.desk.0.board.lock().open_offers()
    }

    /// Who was considered for a trip and what was made of him, in order; as fresh as the writers
    /// behind (a second at most).
    pub async fn trace(&self, who: &Who, trip: TripId) -> Result<Trace, Fault> {
        trace::read(&self.db, who, trip).await
    }

    /// Waits until offers and trace lines are written.
    pub async fn flush(&self) {
        self.desk.0.records.flush().await;
    }
}

/// The board with its lock and its bell; all of dispatch but the database's reads.
#[derive(Clone)]
pub(crate) struct Desk(Arc<Inner>);

struct Inner {
    board: Mutex<Board>,
    choices: Choices,
    shadows: Mutex<Shadows>,
    bell: Notify,
    clock: Clock,
    records: Records,
}

impl Desk {
    pub(crate) fn start(
        tasks: &Tasks,
        clock: Clock,
        view: Arc<dyn View>,
        records: Records,
        effects: mpsc::Sender<Effect>,
        config: DispatchConfig,
    ) -> Self {
        let board = Mutex::new(Board::new(config.rules));
        let (choices, shadows, bell) = (Choices::default(), Mutex::default(), Notify::new());
        let desk = Self(Arc::new(Inner { board, choices, shadows, bell, clock, records }));
        let (stopping, runs) = (tasks.stopping(), desk.clone());
        tasks.spawn_vital("dispatch", async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = runs.run(view, effects, config.tick) => {}
            }
        });
        desk
    }

    pub(crate) fn search(&self, search: Search) {
        let now = self.0.clock.now();
        debug!(trip.id = %search.trip, "searching a driver");
        self.0.board.lock().search(search, now);
        self.wake();
    }

    pub(crate) fn stop(&self, trip: TripId) {
        self.0.board.lock().stop(trip);
    }

    fn bid(&self, trip: TripId, driver: DriverId, price: Piasters) {
        let mut board = self.0.board.lock();
        if let Some(plan) = board.bid(trip, driver, price) {
            self.0.records.offer(OfferRecord::made(plan));
        }
    }

    pub(crate) fn offer_ended(&self, trip: TripId, driver: DriverId, outcome: Outcome) {
        let now = self.0.clock.now();
        let (ended, found) = self.0.board.lock().offer_ended(trip, driver, outcome, now);
        if let Some(ended) = ended {
            self.record_end(ended);
        }
        if let Some(found) = found {
            measure_match(found);
        }
        self.wake();
    }

    pub(crate) fn adopt(&self, choice: Choice) {
        self.0.choices.adopt(choice, |choice| {
            info!(city.id = choice.city.0, strategy = %choice.strategy, "a city finds drivers so");
            self.0.board.lock().choose(choice.city, choice.strategy);
        });
        self.wake();
    }

    pub(crate) fn wake(&self) {
        self.0.bell.notify_one();
    }

    pub(crate) fn status(&self, trip: TripId) -> Option<MatchingStatus> {
        self.0.board.lock().status(trip)
    }

    /// Ticks until the receiver of the effects is gone.
    async fn run(&self, view: Arc<dyn View>, effects: mpsc::Sender<Effect>, tick: Duration) {
        loop {
            let last = tokio::time::Instant::now();
            if self.sweep(&*view, &effects).await.is_break() {
                return;
            }
            tokio::select! {
                () = self.0.bell.notified() => {}
                () = tokio::time::sleep_until(self.next_sweep(last + tick)) => {}
            }
            tokio::time::sleep_until(last + COALESCE).await;
        }
    }

    /// When nothing wakes the loop: then, or before that when an overloaded city has its tick,
    /// which the last sweep may have skipped.
    fn next_sweep(&self, latest: tokio::time::Instant) -> tokio::time::Instant {
        let next = self.0.board.lock().next_tick();
        let rest = next.map(|next| next.after(self.0.clock.now()));
        rest.map_or(latest, |rest| latest.min(tokio::time::Instant::now() + rest))
    }

    /// Looks at every search once.
    async fn sweep(&self, view: &dyn View, effects: &mpsc::Sender<Effect>) -> ControlFlow<()> {
        loop {
            let Ticked { decisions, kept, passes, news, mid_sweep } = self.tick_once(view);
            self.compare(view, passes, &decisions);
            if self.tell(news, effects).await.is_break() {
                return ControlFlow::Break(());
            }
            for decision in decisions {
                let Some(effect) = self.record(decision) else { continue };
                if effects.send(effect).await.is_err() {
                    return ControlFlow::Break(());
                }
            }
            kept.iter().for_each(|snapshot| self.0.records.keep(snapshot));
            if !mid_sweep {
                self.measure();
                return ControlFlow::Continue(());
            }
            tokio::task::yield_now().await;
        }
    }

    fn tick_once(&self, view: &dyn View) -> Ticked {
        let (began, now) = (tokio::time::Instant::now(), self.0.clock.now());
        let mut kept = Vec::new();
        let mut board = self.0.board.lock();
        let passes = self.0.shadows.lock().due(&board, now);
        let decisions = tick_timed(&mut board, view, &Stopwatch(began), now, Some(&mut kept));
        let (mid_sweep, news) = (board.is_mid_sweep(), board.take_news());
        drop(board);
        histogram!("smartline_dispatch_tick_seconds").record(began.elapsed());
        Ticked { decisions, kept, passes, news, mid_sweep }
    }

    /// Says which cities do without something from now on, and to riders where they stand.
    async fn tell(&self, news: News, effects: &mpsc::Sender<Effect>) -> ControlFlow<()> {
        for (city, change) in news.changes {
            note_change(city, change);
        }
        for wait in news.waits {
            histogram!("smartline_dispatch_queue_seconds").record(wait);
        }
        if !news.places.is_empty() && effects.send(Effect::Queued(news.places)).await.is_err() {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    }

    /// Lets the shadows decide, too, before what the cities' own decided is carried out and the
    /// view shows it. Outside of the board's lock: no command waits for what only is counted.
    fn compare(&self, view: &dyn View, passes: Vec<Pass>, decisions: &[Decision]) {
        for pass in passes {
            let (city, now, began) = (pass.city, pass.now, tokio::time::Instant::now());
            let said = pass.decide(view);
            let took = began.elapsed();
            histogram!("smartline_shadow_pass_seconds").record(took);
            self.0.shadows.lock().hear(city, said, now, took);
        }
        if decisions.is_empty() || self.0.shadows.lock().is_empty() {
            return;
        }
        let board = self.0.board.lock();
        let mut shadows = self.0.shadows.lock();
        for compared in decisions.iter().filter_map(|one| shadows.compare(one, &board)) {
            let labels =
                [("strategy", compared.strategy.name()), ("beside", compared.verdict.name())];
            counter!("smartline_shadow_rounds_total", &labels).increment(1);
        }
    }

    /// At the end of a sweep: what is left, and whether the next one is due at once.
    #[expect(clippy::cast_precision_loss, reason = "a count far below 2^52")]
    fn measure(&self) {
        let board = self.0.board.lock();
        gauge!("smartline_searches").set(board.searches() as f64);
        for (city, step, left) in board.turns.loads() {
            let city = city.0.to_string();
            gauge!("smartline_dispatch_load_step", "city" => city.clone()).set(step.level());
            gauge!("smartline_dispatch_left_over", "city" => city).set(left as f64);
        }
        if board.hurries() {
            self.wake();
        }
    }

    /// Writes a decision down, and says what others have to do about it.
    fn record(&self, decision: Decision) -> Option<Effect> {
        match decision {
            Decision::Offers { plans, since } => {
                for plan in &plans {
                    self.0.records.offer(OfferRecord::made(plan));
                }
                if let Some(first) = plans.first().filter(|plan| plan.round == 1) {
                    histogram!("smartline_first_offer_seconds").record(first.made.after(since));
                }
                Some(Effect::Offers(plans))
            }
            Decision::Considered(lines) => {
                for line in lines {
                    self.0.records.considered(line);
                }
                None
            }
            Decision::Lapsed(ended) => {
                info!(
                    trip.id = %ended.plan.trip, driver.id = %ended.plan.driver,
                    "nobody said how an offer ended; it lapsed"
                );
                let (trip, driver) = (ended.plan.trip, ended.plan.driver);
                self.record_end(ended);
                Some(Effect::Lapsed { trip, driver })
            }
            Decision::NoDrivers { trip, said } => {
                if said == Said::First {
                    counter!("smartline_no_drivers_total").increment(1);
                    info!(trip.id = %trip, "no driver found");
                }
                Some(Effect::NoDrivers { trip })
            }
        }
    }

    fn record_end(&self, ended: Ended) {
        counter!("smartline_offers_total", "outcome" => ended.outcome.name()).increment(1);
        self.0.records.offer(OfferRecord::ended(ended));
    }
}

/// One tick, and what it was made beside.
struct Ticked {
    decisions: Vec<Decision>,
    kept: Vec<Snapshot>,
    /// Of the board as it stood before.
    passes: Vec<Pass>,
    news: News,
    mid_sweep: bool,
}

/// Real time, since a tick began.
struct Stopwatch(tokio::time::Instant);

impl Meter for Stopwatch {
    fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

fn note_change(city: CityId, change: Change) {
    let (from, to) = (change.from.name(), change.to.name());
    let labels = [("city", city.0.to_string()), ("to", to.to_owned())];
    counter!("smartline_dispatch_load_changes_total", &labels).increment(1);
    if change.is_up() {
        warn!(city.id = city.0, from, to, "dispatch is overloaded in a city and does with less");
    } else {
        info!(city.id = city.0, from, to, "dispatch has room again in a city");
    }
}

fn measure_match(found: Found) {
    histogram!("smartline_matching_duration_seconds").record(found.searched);
    let round = if found.rounds <= 1 { "first" } else { "later" };
    counter!("smartline_matches_total", "round" => round).increment(1);
}
