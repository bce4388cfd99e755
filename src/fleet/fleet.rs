//! The fleet itself: its parts, its tasks, and the one function that moves a driver along.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base::{CityId, Clock, Dice, DriverId, Fault, Millis, Point, Tier, TripId, limits};
use dashmap::DashMap;
use geo::TileIndex;
use metrics::{Counter, counter, gauge};
use ops::Tasks;
use parking_lot::Mutex;
use storage::{Behind, BehindLimits, Db};
use tokio::sync::{Notify, mpsc};
use tracing::warn;

use crate::cells::CellBoard;
use crate::conduct::HistoryRow;
use crate::fences::MAP;
use crate::map::CityMap;
use crate::meter::{Link, Meter, TrackPoint};
use crate::model::{Effect, Finish, FleetError, State};
use crate::papers::Onboarding;
use crate::presence::Wheel;
use crate::queue::Lines;
use crate::queue::store::{SpotRow, spots_behind};
use crate::roster::{Core, Entry, Roster};
use crate::rules::{self, Command, Phase, Told};
use crate::sessions::{DriverSession, Note, Turn, notes_behind};
use crate::store::{self, LatestRow, RecordRow};
use crate::tally::Tally;
use crate::visits::FenceTerms;

/// How large the fleet may get and how it rests.
#[derive(Clone, Copy, Debug)]
pub struct FleetConfig {
    /// Drivers this node may hear of before it is restarted.
    pub drivers_max: usize,
    /// Rest after a completed trip, in place of every city's own.
    pub cooldown: Option<Duration>,
    /// How often cities and fences are read again when nobody says that they changed.
    pub map_every: Duration,
    pub fences: FenceTerms,
}

impl Default for FleetConfig {
    fn default() -> Self {
        let map_every = Duration::from_secs(30);
        Self { drivers_max: 500_000, cooldown: None, map_every, fences: FenceTerms::default() }
    }
}

/// Drivers whose facts wait to be loaded; past this a later position asks again.
const LOADS: usize = 4096;
/// Drivers loaded with one statement.
const LOAD_BATCH: usize = 256;
/// How soon after its end a trip's track is stored.
const TRACKS_EVERY: Duration = Duration::from_secs(1);

const LATEST: BehindLimits =
    BehindLimits { capacity: 200_000, batch: 5000, every: Duration::from_secs(5) };
const HISTORY: BehindLimits =
    BehindLimits { capacity: 200_000, batch: 1000, every: Duration::from_millis(500) };
const RECORDS: BehindLimits =
    BehindLimits { capacity: 50_000, batch: 1000, every: Duration::from_secs(2) };

/// Bits of a driver's class on the map: one per tier for the available, one per tier for the other
/// online states.
pub(crate) const ANY_ONLINE: u16 = 0xFF;

pub(crate) const fn free_bit(tier: Tier) -> u16 {
    1 << tier.index()
}

const fn class_of(phase: Phase, tier: Tier) -> u16 {
    match phase {
        Phase::Offline => 0,
        Phase::Available => free_bit(tier),
        Phase::Offered { .. } | Phase::Busy { .. } | Phase::Cooldown { .. } => free_bit(tier) << 4,
    }
}

/// The drivers of this node. Cheap to clone.
#[derive(Clone)]
pub struct Fleet(Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    dice: Dice,
    pub(crate) config: FleetConfig,
    pub(crate) index: TileIndex,
    /// Those who drive a rider, where he gets out.
    pub(crate) drop_offs: TileIndex,
    pub(crate) roster: Roster,
    pub(crate) tally: Tally,
    pub(crate) wheel: Wheel,
    pub(crate) cells: CellBoard,
    pub(crate) map: CityMap,
    pub(crate) meters: DashMap<TripId, Arc<Mutex<Meter>>>,
    /// Meters of trips that are over for their driver: on their way to the table of tracks.
    pub(crate) closing: DashMap<TripId, Arc<Mutex<Meter>>>,
    pub(crate) latest: Behind<LatestRow>,
    pub(crate) history: Behind<HistoryRow>,
    records: Behind<RecordRow>,
    pub(crate) notes: Behind<Note>,
    pub(crate) spots: Behind<SpotRow>,
    /// Lines of airports. Taken after a driver's lock, and before no other.
    pub(crate) lines: Mutex<Lines>,
    pub(crate) effects: Effects,
    wanted: mpsc::Sender<DriverId>,
    pub(crate) count: Counters,
}

/// Handles of the hot path's counters, looked up once.
pub(crate) struct Counters {
    pub(crate) updates: Counter,
    pub(crate) suspect: Counter,
    pub(crate) future: Counter,
    pub(crate) late: Counter,
    pub(crate) refused: Counter,
}

impl Fleet {
    /// Starts the fleet's tasks. [`Fleet::load`] comes before the first driver.
    pub fn start(
        db: Db,
        tasks: &Tasks,
        clock: Clock,
        dice: Dice,
        config: FleetConfig,
        effects: mpsc::Sender<Effect>,
    ) -> Self {
        let (wanted, wishes) = mpsc::channel(LOADS);
        let fleet = Self(Arc::new(Inner {
            latest: store::latest_behind(&db, tasks, LATEST),
            history: store::history_behind(&db, tasks, HISTORY),
            records: store::records_behind(&db, tasks, RECORDS),
            notes: notes_behind(&db, tasks),
            spots: spots_behind(&db, tasks),
            lines: Mutex::default(),
            index: TileIndex::with_capacity(config.drivers_max),
            drop_offs: TileIndex::with_capacity(config.drivers_max),
            roster: Roster::new(config.drivers_max),
            tally: Tally::default(),
            wheel: Wheel::new(clock.now()),
            cells: CellBoard::new(),
            map: CityMap::default(),
            meters: DashMap::new(),
            closing: DashMap::new(),
            effects: Effects::new(effects),
            wanted,
            count: Counters {
                updates: counter!("smartline_location_updates_total"),
                suspect: counter!("smartline_location_suspect_total"),
                future: counter!("smartline_location_future_total"),
                late: counter!("smartline_location_late_total"),
                refused: counter!("smartline_location_refused_total"),
            },
            db,
            clock,
            dice,
            config,
        }));
        fleet.keep_presence(tasks);
        fleet.keep_loading(tasks, wishes);
        fleet.keep_map(tasks);
        fleet.keep_tracks(tasks);
        fleet
    }

    /// Reads cities, fences, the drivers who want to be online (their next position makes them
    /// available), and who stood in which queue.
    pub async fn load(&self) -> Result<(), Fault> {
        self.reload_map().await?;
        for facts in store::wishing(&self.0.db).await? {
            self.set_facts(facts.0, facts.1);
        }
        self.load_queues().await
    }

    pub fn onboarding(&self) -> Onboarding {
        Onboarding::new(self.clone())
    }

    /// Waits until positions, history, records, places in queues and facts are written.
    pub async fn flush(&self) {
        self.0.latest.flush().await;
        self.0.history.flush().await;
        self.0.records.flush().await;
        self.0.spots.flush().await;
        self.0.notes.flush().await;
    }

    pub(crate) fn inner(&self) -> &Inner {
        &self.0
    }

    fn keep_presence(&self, tasks: &Tasks) {
        let (fleet, stopping) = (self.clone(), tasks.stopping());
        tasks.spawn("fleet presence", async move {
            let mut tick = tokio::time::interval(Duration::from_secs(1));
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    _ = tick.tick() => {}
                }
                fleet.0.sweep(fleet.0.clock.now());
                fleet.report();
            }
        });
    }

    /// Loads the facts of drivers who were heard of first by a position.
    fn keep_loading(&self, tasks: &Tasks, mut wishes: mpsc::Receiver<DriverId>) {
        let (fleet, stopping) = (self.clone(), tasks.stopping());
        tasks.spawn("fleet facts", async move {
            let mut drivers = Vec::with_capacity(LOAD_BATCH);
            loop {
                drivers.clear();
                tokio::select! {
                    () = stopping.cancelled() => return,
                    _ = wishes.recv_many(&mut drivers, LOAD_BATCH) => {}
                }
                match store::facts(&fleet.0.db, &drivers).await {
                    Ok(found) => {
                        for (driver, facts) in found {
                            fleet.set_facts(driver, facts);
                        }
                    }
                    Err(fault) => {
                        let drivers = drivers.len();
                        warn!(%fault, drivers, "facts could not be loaded, asked again later");
                    }
                }
            }
        });
    }

    fn keep_map(&self, tasks: &Tasks) {
        let (fleet, stopping) = (self.clone(), tasks.stopping());
        let changed = Arc::new(Notify::new());
        let waking = Arc::clone(&changed);
        self.0.db.on_ring(MAP.channel, move |_| waking.notify_one());
        tasks.spawn("fleet map", async move {
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = changed.notified() => {}
                    () = tokio::time::sleep(fleet.0.config.map_every) => {}
                }
                if let Err(fault) = fleet.reload_map().await {
                    warn!(%fault, "cities and fences stay as they were read last");
                }
            }
        });
    }

    /// Stores the tracks of ended trips; what fails is tried again.
    fn keep_tracks(&self, tasks: &Tasks) {
        let (fleet, stopping) = (self.clone(), tasks.stopping());
        tasks.spawn("fleet tracks", async move {
            loop {
                let stopped = tokio::select! {
                    () = stopping.cancelled() => true,
                    () = tokio::time::sleep(TRACKS_EVERY) => false,
                };
                if let Err(fault) = fleet.store_tracks().await {
                    warn!(%fault, "tracks of ended trips could not be stored, tried again later");
                }
                if stopped {
                    return;
                }
            }
        });
    }

    fn report(&self) {
        let counts = self.0.tally.counts();
        let mut online = std::collections::BTreeMap::new();
        for count in &counts {
            *online.entry((count.city, count.tier)).or_insert(0) += count.drivers;
        }
        for ((city, tier), drivers) in online {
            let city = self.city(city).map_or_else(|| city.0.to_string(), |c| c.name.clone());
            gauge!("smartline_online_drivers", "city" => city, "vehicle_type" => tier.name())
                .set(f64::from(drivers));
        }
        gauge!("smartline_live_positions").set(self.0.index.len() as f64);
        self.report_queues();
    }
}

impl Inner {
    /// Moves a driver along and does what follows from it. The caller holds his lock.
    pub(crate) fn apply(
        &self,
        entry: &Entry,
        core: &mut Core,
        command: Command,
        now: Millis,
    ) -> Result<State, FleetError> {
        let before = core.phase;
        let (next, told) = rules::step(before, command, now)?;
        if next != before {
            self.enter(entry, core, next, now);
        }
        match told {
            Some(Told::LostOffer(trip)) => {
                self.effects.tell(Effect::Lost { driver: entry.driver, trip });
            }
            Some(Told::Silent(trip)) => {
                self.effects.tell(Effect::Silent { driver: entry.driver, trip });
            }
            Some(Told::Arrived) if self.may_go_on(core, now) => {
                self.effects.tell(Effect::Arrived { city: core.city });
            }
            // His approval ended while he was busy: he isn't free but off.
            Some(Told::Arrived) => self.enter(entry, core, Phase::Offline, now),
            None => {}
        }
        Ok(core.phase.state())
    }

    fn may_go_on(&self, core: &Core, now: Millis) -> bool {
        core.wants_online && core.facts.as_ref().is_none_or(|facts| facts.may_work(now).is_ok())
    }

    fn enter(&self, entry: &Entry, core: &mut Core, next: Phase, now: Millis) {
        let before = core.phase;
        if before == Phase::Offline {
            self.begin_session(core, now);
        }
        let was = (core.city, core.tier(), before.state());
        core.phase = next;
        self.tally.moved(was, (core.city, core.tier(), next.state()));
        match (before, next) {
            (_, Phase::Offline) => {
                self.effects.tell(Effect::Left { driver: entry.driver });
                self.index.remove(entry.slot);
                self.leave_fences(entry, core, now);
                self.note(entry, core, Turn::Offline, now);
            }
            (Phase::Offline, _) => {
                self.note(entry, core, Turn::Online, now);
                if let Some(live) = core.live.filter(|live| live.heard >= now - limits::FRESH_TTL) {
                    self.index.put(entry.slot, live.at, live.heard);
                }
            }
            (_, _) => {}
        }
        self.index.set_class(entry.slot, class_of(next, core.tier()));
        let waits = matches!(next, Phase::Available | Phase::Offered { .. });
        if waits && !matches!(before, Phase::Available | Phase::Offered { .. }) {
            core.waiting_since = now;
        }
        self.follow_trip(entry, core, before, next, now);
        self.follow_queue(entry, core, (before, next), now);
        self.mark(entry);
        self.look_again(entry, core, now);
    }

    fn note(&self, entry: &Entry, core: &mut Core, turn: Turn, now: Millis) {
        let at = self.moment(core, now);
        let (driver_id, city_id, vehicle_type) = (entry.driver, core.city, core.tier());
        let session = DriverSession { driver_id, city_id, vehicle_type, at, turn };
        self.notes.push(Note::Session(session));
    }

    /// A new alias, and the city he is in: riders can't tie two sessions together.
    fn begin_session(&self, core: &mut Core, now: Millis) {
        core.alias = self.dice.next_u64();
        core.flagged = false;
        core.located = false;
        if let Some(facts) = &core.facts {
            core.city = facts.city;
        }
        if let Some(live) = core.live.filter(|live| live.heard >= now - limits::FRESH_TTL) {
            self.locate(core, live.at);
        }
    }

    /// Finds the city of a session by its first position.
    pub(crate) fn locate(&self, core: &mut Core, at: Point) {
        core.located = true;
        let Some(city) = self.map.city_of(at) else { return };
        let (state, tier, was) = (core.phase.state(), core.tier(), core.city);
        core.city = city.id;
        self.tally.moved((was, tier, state), (city.id, tier, state));
    }

    /// Opens the meter of the trip he begins; the meter of an ended one stays until its track is
    /// stored.
    fn follow_trip(&self, entry: &Entry, core: &mut Core, before: Phase, next: Phase, now: Millis) {
        if before.trip() == next.trip() {
            return;
        }
        if core.drop_off.take().is_some() {
            self.drop_offs.remove(entry.slot);
        }
        core.meter = next.trip().map(|trip| (trip, self.meter_of(trip, now)));
        // Where he sets out from is the first point of the track.
        if let (Some((_, meter)), Some(live)) = (&core.meter, core.live)
            && live.heard >= now - limits::FRESH_TTL
        {
            let point = TrackPoint { at: live.at, time: now };
            meter.lock().add(point, None, Link::Driven);
        }
    }

    /// Facts changed while he is online: counted and found under the new ones.
    pub(crate) fn reclass(&self, entry: &Entry, core: &Core, was: (CityId, Tier)) {
        let (state, tier) = (core.phase.state(), core.tier());
        self.tally.moved((was.0, was.1, state), (core.city, tier, state));
        if core.phase != Phase::Offline {
            self.index.set_class(entry.slot, class_of(core.phase, tier));
            self.mark(entry);
        }
    }

    /// Asks the loader for the driver's facts; again at most every half minute.
    pub(crate) fn want_facts(&self, entry: &Entry, core: &mut Core, now: Millis) {
        if now >= core.load_after && self.wanted.try_send(entry.driver).is_ok() {
            core.load_after = now + limits::PRESENCE_TTL;
        }
    }

    /// When a rest that begins now ends.
    pub(crate) fn rest_until(&self, core: &Core, now: Millis) -> Millis {
        let of_city = || {
            let city = self.map.city(core.city)?;
            Some(Duration::from_secs(u64::from(city.cooldown_s)))
        };
        now + self.config.cooldown.or_else(of_city).unwrap_or(limits::COOLDOWN)
    }

    /// Counts for or against a driver and writes it behind.
    pub(crate) fn score(&self, entry: &Entry, core: &mut Core, what: Scored) {
        let Some(facts) = core.facts.as_mut() else { return };
        let record = &mut facts.record;
        match what {
            Scored::OfferTaken => {
                record.offers_made += 1;
                record.offers_accepted += 1;
            }
            Scored::OfferMissed => record.offers_made += 1,
            Scored::Trip(Finish::Completed) => {
                record.trips_taken += 1;
                record.trips_completed += 1;
            }
            Scored::Trip(Finish::GaveBack) => record.trips_taken += 1,
            // Not his doing.
            Scored::Trip(Finish::Freed | Finish::TakenOver | Finish::Stale) => return,
        }
        self.records.push(RecordRow { driver: entry.driver, record: *record });
    }
}

/// What counts for or against a driver.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scored {
    OfferTaken,
    OfferMissed,
    Trip(Finish),
}

/// The way out for effects: bounded, and nothing that matters is lost when it is full.
pub(crate) struct Effects {
    sender: mpsc::Sender<Effect>,
    /// What didn't fit, in order; at most one or two per driver.
    waiting: Mutex<VecDeque<Effect>>,
}

impl Effects {
    fn new(sender: mpsc::Sender<Effect>) -> Self {
        Self { sender, waiting: Mutex::new(VecDeque::new()) }
    }

    pub(crate) fn tell(&self, effect: Effect) {
        let mut waiting = self.waiting.lock();
        if waiting.is_empty() && self.sender.try_send(effect).is_ok() {
            return;
        }
        // An arrival only wakes dispatch, which looks every second anyway.
        if !matches!(effect, Effect::Arrived { .. }) && !self.sender.is_closed() {
            waiting.push_back(effect);
        }
    }

    pub(crate) fn retry(&self) {
        let mut waiting = self.waiting.lock();
        while let Some(effect) = waiting.front() {
            if self.sender.try_send(*effect).is_err() {
                return;
            }
            waiting.pop_front();
        }
    }
}
