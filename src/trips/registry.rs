//! The handle to all trips: finds a live trip's actor, books new ones, adopts them at boot.
//!
//! Owns the list of live trips of this node. Guarantees:
//! - a live trip has one actor here; one whose actor broke is adopted again with the next command;
//! - after [`Trips::rebuild`] every live trip of the database has an actor, its timers run, and
//!   whoever ran it before can't write it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base::{Caller, CityId, Clock, Cursor, DriverId, Fault, Millis, Point, RiderId, Role, TripId};
use dashmap::mapref::entry::Entry as Place;
use dashmap::{DashMap, DashSet};
use events::Once;
use metrics::{counter, gauge, histogram};
use ops::Tasks;
use storage::{Db, Who};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::info;

use crate::actor::{Actor, Answer, Entry, Gone, Message, World};
use crate::ahead::{Ahead, BACK_AGAIN};
use crate::booking::{self, Begin};
use crate::card::CardSettled;
use crate::effect::Effect;
use crate::event::TripEvent;
use crate::late::{self, PaidLate};
use crate::model::{NewTrip, Party, Status, Trip};
use crate::offers::{Bid, Lease};
use crate::pulse::{Pulse, PulseView};
use crate::refusal::TripError;
use crate::rules::{self, Command, State};
use crate::store;
use crate::writer::{Group, Writer};

/// How many live trips are read at once at boot.
const PAGE: i64 = 2000;
/// Between two questions what became of a booking, doubling up to the longest.
const ASK_AGAIN: Duration = Duration::from_millis(50);
const ASK_AGAIN_MAX: Duration = Duration::from_secs(2);

/// Sizes and times of the trips' machinery.
#[derive(Clone, Copy, Debug)]
pub struct TripsConfig {
    /// Commands that may wait for one trip; more are refused.
    pub mailbox: usize,
    /// Changes that may wait for the group writer; more are refused.
    pub writer_queue: usize,
    /// Changes in one commit at most.
    pub group_items: usize,
    /// How long a change waits for company.
    pub group_wait: Duration,
    /// How long a command may take before it is answered with 503.
    pub deadline: Duration,
    /// Of trips that are booked ahead.
    pub ahead: Ahead,
}

impl Default for TripsConfig {
    fn default() -> Self {
        Self {
            mailbox: 32,
            writer_queue: 8192,
            group_items: 100,
            group_wait: Duration::from_millis(5),
            deadline: Duration::from_secs(5),
            ahead: Ahead::default(),
        }
    }
}

/// Which trips of a list.
#[derive(Clone, Copy, Debug, Default)]
pub struct Filter {
    pub status: Option<Status>,
    /// Only those whose payment failed, or only the others.
    pub payment_failed: Option<bool>,
}

/// A page of a list, newest first.
#[derive(Clone, Debug)]
pub struct Page {
    pub trips: Vec<Trip>,
    /// Where the next page starts; none after the last.
    pub next: Option<Cursor>,
}

/// All trips, as the rest of the program sees them. Cheap to clone.
#[derive(Clone)]
pub struct Trips(Arc<Inner>);

struct Inner {
    db: Db,
    tasks: Tasks,
    world: World,
    config: TripsConfig,
    live: DashMap<TripId, Arc<Entry>>,
    /// Trips whose actor broke.
    orphans: DashSet<TripId>,
    /// Of this node's lease on all trips; 0 before it has one.
    epoch: AtomicI64,
}

impl Trips {
    /// Starts the group writer. Live trips come with [`Trips::rebuild`].
    ///
    /// What trips tell is sent to `effects`; its reader must never wait for a trip's answer,
    /// because a trip waits for room in the channel.
    pub fn start(
        db: Db,
        tasks: &Tasks,
        clock: Clock,
        effects: mpsc::Sender<Effect>,
        config: TripsConfig,
    ) -> Self {
        let (writer, inbox) = mpsc::channel(config.writer_queue);
        let group = Group { items: config.group_items, wait: config.group_wait };
        let stopping = tasks.stopping();
        tasks.spawn_vital(
            "trips.writer",
            Writer::new(db.clone(), group, inbox, tasks.clone()).run(),
        );
        let pulse = Arc::new(Pulse::default());
        let deadline = config.deadline;
        let standbys = Arc::default();
        let world = World { clock, writer, effects, stopping, pulse, standbys, deadline };
        Self(Arc::new(Inner {
            db,
            tasks: tasks.clone(),
            world,
            config,
            live: DashMap::new(),
            orphans: DashSet::new(),
            epoch: AtomicI64::new(0),
        }))
    }

    /// Books a trip: row, first event, outbox and hold in one commit, then its search begins.
    /// Goes on when whoever asked is gone: a stored trip without an actor would bar its rider.
    /// The use of the caller's idempotency key is part of that commit.
    pub async fn create(
        &self,
        caller: &Caller,
        new: NewTrip,
        once: Once,
    ) -> Result<Arc<Trip>, TripError> {
        let (trips, caller) = (self.clone(), *caller);
        let (reply, answer) = oneshot::channel();
        self.0.tasks.spawn("trip booking", async move {
            reply.send(trips.book(&caller, new, once).await).ok();
        });
        answer.await.map_err(|_| Fault::internal("a booking broke off"))?
    }

    async fn book(
        &self,
        caller: &Caller,
        new: NewTrip,
        once: Once,
    ) -> Result<Arc<Trip>, TripError> {
        let inner = &self.0;
        let now = inner.world.clock.now();
        let ahead = inner.config.ahead;
        let status = match new.scheduled_at {
            Some(at) if now < at - ahead.search => Status::Scheduled,
            Some(_) | None => Status::Requested,
        };
        let id = new.id;
        let begin = Begin { status, epoch: self.epoch()?, now, ahead };
        let (trip, event) =
            match booking::store::create(&inner.db, caller, new.clone(), begin, once).await {
                Err(TripError::Fault(Fault::Unknown(why))) => {
                    self.create_until_known(caller, new, begin, once, why).await?
                }
                other => other?,
            };
        counter!("smartline_trip_requests_total", "status" => status.name()).increment(1);
        let trip = Arc::new(trip);
        self.adopt(State { ahead, ..State::new(trip.clone()) });
        info!(trip.id = %id, status = %status, "trip booked");
        self.tell(Effect::Event { trip: trip.clone(), event: Arc::new(event) }).await;
        if status == Status::Requested {
            self.tell(Effect::NeedsDriver { trip: trip.clone(), first: None }).await;
        }
        Ok(trip)
    }

    /// After a commit whose answer got lost: asks until the database says whether there is a trip,
    /// also when it is down for long and whoever booked is gone.
    async fn create_until_known(
        &self,
        caller: &Caller,
        new: NewTrip,
        begin: Begin,
        once: Once,
        why: String,
    ) -> Result<(Trip, TripEvent), TripError> {
        let mut rest = ASK_AGAIN;
        loop {
            let again = self.create_again(caller, new.clone(), begin, once, &why).await;
            match again {
                Err(TripError::Fault(Fault::Unknown(_) | Fault::Unavailable(_))) => {}
                known => return known,
            }
            tokio::select! {
                biased;
                // Whoever starts next adopts what is stored.
                () = self.0.world.stopping.cancelled() => return Err(Fault::Unknown(why).into()),
                () = tokio::time::sleep(rest) => {}
            }
            rest = (rest * 2).min(ASK_AGAIN_MAX);
        }
    }

    /// The same booking again. A first one that is still
    /// under way makes the second wait at the primary key: then there is a row, or there was none.
    async fn create_again(
        &self,
        caller: &Caller,
        new: NewTrip,
        begin: Begin,
        once: Once,
        why: &str,
    ) -> Result<(Trip, TripEvent), TripError> {
        let id = new.id;
        let second = booking::store::create(&self.0.db, caller, new, begin, once).await;
        let Err(refused) = second else { return second };
        let Some(trip) = store::get(&self.0.db, &Who::System, id).await? else {
            return Err(refused);
        };
        let first = store::events_since(&self.0.db, id, 0).await?.into_iter().next();
        let event = first.ok_or_else(|| Fault::Unknown(why.to_owned()))?;
        Ok((trip, event))
    }

    /// Asks a trip to do something; answered once it is stored. The trip after it comes back.
    pub async fn command(&self, id: TripId, command: Command) -> Result<Arc<Trip>, TripError> {
        self.command_once(id, command, Once::NONE).await
    }

    /// As [`Trips::command`]; the use of an idempotency key is part of the commit that stores it.
    pub async fn command_once(
        &self,
        id: TripId,
        command: Command,
        once: Once,
    ) -> Result<Arc<Trip>, TripError> {
        let begun = Instant::now();
        let answer = match self.ask(id, &command, once).await {
            Some(answer) => answer,
            None => self.without_actor(id, &command, once).await,
        };
        histogram!("smartline_trip_command_seconds").record(begun.elapsed().as_secs_f64());
        answer
    }

    /// Pays what the rider's wallet covers of his completed trips that could not be paid, oldest
    /// first; each is told once it is committed.
    pub async fn pay_late(&self, rider: RiderId) -> Result<Vec<PaidLate>, Fault> {
        let mut all = Vec::new();
        while let Some(paid) = late::pay_next(&self.0.db, &self.0.world.clock, rider).await? {
            let (trip, event) = (paid.trip.clone(), paid.event.clone());
            self.tell(Effect::Event { trip, event }).await;
            all.push(paid);
        }
        Ok(all)
    }

    /// Tells what a card's answer made of its trip, once that is committed.
    pub async fn card_settled(&self, settled: &CardSettled) {
        let CardSettled { trip, event } = settled.clone();
        self.tell(Effect::Event { trip, event }).await;
    }

    /// Riders after `after` with completed trips that could not be paid, in the order of their ids.
    pub async fn riders_owing(&self, after: RiderId, limit: i64) -> Result<Vec<RiderId>, Fault> {
        store::owing(&self.0.db, after, limit).await
    }

    /// The live trip's newest snapshot, from memory.
    pub fn live(&self, id: TripId) -> Option<Arc<Trip>> {
        self.0.live.get(&id).map(|entry| entry.view.load().trip.clone())
    }

    /// The bids that the live trip's rider may pick, as they came.
    pub fn bids(&self, id: TripId) -> Vec<Bid> {
        let entry = self.0.live.get(&id);
        let view = entry.map(|entry| entry.view.load_full());
        view.iter().flat_map(|view| view.offers.iter().filter_map(Lease::bid)).collect()
    }

    /// Who would come should the live trip's driver not.
    pub fn standby(&self, id: TripId) -> Option<DriverId> {
        self.0.live.get(&id)?.view.load().standby
    }

    /// The live trips for which this driver stands by.
    pub fn stands_by(&self, driver: DriverId) -> Vec<TripId> {
        self.0.world.standbys.of(driver)
    }

    /// What holds for trips that are booked ahead.
    pub fn ahead(&self) -> Ahead {
        self.0.config.ahead
    }

    /// The newest snapshots of a city's live trips: a walk over all of them.
    pub fn live_in(&self, city: CityId) -> Vec<Arc<Trip>> {
        let views = self.0.live.iter().map(|entry| entry.view.load().trip.clone());
        views.filter(|trip| trip.city == city).collect()
    }

    /// How the city's trips went since this node started.
    pub fn pulse(&self, city: CityId) -> PulseView {
        self.0.world.pulse.of(city, self.0.world.clock.now())
    }

    /// The city's trips that ended in the last seconds, and how.
    pub fn ended_lately(&self, city: CityId) -> Vec<(TripId, Status)> {
        self.0.world.pulse.ended_lately(city, self.0.world.clock.now())
    }

    /// How many trips have an actor here.
    pub fn live_count(&self) -> usize {
        self.0.live.len()
    }

    /// A trip as far as `who` may see it: from memory while it lives, else from the database.
    pub async fn get(&self, who: &Who, id: TripId) -> Result<Arc<Trip>, TripError> {
        if let Some(trip) = self.live(id) {
            return match trip.concerns(party(who)) {
                true => Ok(trip),
                false => Err(TripError::NotFound),
            };
        }
        let trip = store::get(&self.0.db, who, id).await?.ok_or(TripError::NotFound)?;
        match trip.concerns(party(who)) {
            true => Ok(Arc::new(trip)),
            false => Err(TripError::NotFound),
        }
    }

    /// The trips of `who` (an admin's: all), newest first.
    pub async fn list(
        &self,
        who: &Who,
        filter: &Filter,
        cursor: Option<Cursor>,
        limit: u32,
    ) -> Result<Page, Fault> {
        let limit = limit.clamp(1, base::limits::PAGE_MAX);
        let mut trips = store::list(&self.0.db, who, filter, cursor, limit + 1).await?;
        let more = trips.len() > limit as usize;
        trips.truncate(limit as usize);
        let last = trips.last().filter(|_| more);
        let next = last.map(|trip| Cursor { at: trip.created_at, id: trip.id.0 });
        Ok(Page { trips, next })
    }

    /// The stored events of a trip after number `after`, in order.
    pub async fn events_since(&self, id: TripId, after: i32) -> Result<Vec<TripEvent>, Fault> {
        store::events_since(&self.0.db, id, after).await
    }

    /// Drivers who completed a recent trip of this rider.
    pub async fn drivers_of(&self, rider: RiderId) -> Result<Vec<DriverId>, Fault> {
        store::drivers_of(&self.0.db, rider).await
    }

    /// Where trips of the city were asked for in `[from, to)`, other than those booked ahead.
    pub async fn asked_between(
        &self,
        city: CityId,
        from: Millis,
        to: Millis,
    ) -> Result<Vec<Point>, Fault> {
        store::asked_between(&self.0.db, city, from, to).await
    }

    /// Takes the lease on all trips and runs every live one of the database: its actor, its timers.
    /// Offers that were open, to stand by too, are over; trips that wait for a driver ask for one
    /// again. How many there were. Before this nothing can be booked.
    pub async fn rebuild(&self) -> Result<usize, Fault> {
        let inner = &self.0;
        let epoch = store::claim(&inner.db).await?;
        inner.epoch.store(epoch, Ordering::SeqCst);
        let mut after = TripId::from_u128(0);
        let mut count = 0;
        loop {
            let trips = store::live(&inner.db, after, PAGE).await?;
            let Some(last) = trips.last() else { break };
            after = last.id;
            count += trips.len();
            // For a driver, to stand by, or to take over.
            let asks = |trip: &&Trip| matches!(trip.status, Status::Requested | Status::Accepted);
            let asking: Vec<TripId> = trips.iter().filter(asks).map(|trip| trip.id).collect();
            let now = inner.world.clock.now();
            let mut expired = store::expire_offers(&inner.db, &asking, now).await?;
            expired.sort_unstable();
            for trip in trips {
                let from = expired.partition_point(|(id, _)| *id < trip.id);
                let asked = expired[from..].iter().take_while(|(id, _)| *id == trip.id);
                let asked = asked.map(|(_, driver)| *driver).collect();
                self.take_over(trip, asked, epoch).await;
            }
        }
        info!(count, "live trips are running again");
        Ok(count)
    }

    async fn take_over(&self, mut trip: Trip, asked: Vec<DriverId>, epoch: i64) {
        let inner = &self.0;
        trip.epoch = epoch;
        let trip = Arc::new(trip);
        let old = inner.live.remove_if(&trip.id, |_, old| old.view.load().trip.epoch < epoch);
        // An actor that ran under the old lease would be refused by the database anyway.
        if let Some((_, old)) = old {
            old.mailbox.send(Message::Retire).await.ok();
        }
        let ahead = inner.config.ahead;
        let confirm_from = inner.world.clock.now() + BACK_AGAIN;
        if !self.adopt(State { asked, ahead, confirm_from, ..State::new(trip.clone()) }) {
            // Booked under this lease while the others were read.
            return;
        }
        match (trip.status, trip.driver) {
            (Status::Requested, _) => self.tell(Effect::NeedsDriver { trip, first: None }).await,
            (_, Some(driver)) => {
                self.tell(Effect::Adopted { trip: trip.clone(), driver }).await;
                // Who stood by was known in memory only, and for whom: one who accepted late may
                // get somebody, too.
                if wants_standby(&trip) {
                    self.tell(Effect::NeedsStandby { trip }).await;
                }
            }
            (_, None) => {}
        }
    }

    /// Of the lease that this node has.
    fn epoch(&self) -> Result<i64, Fault> {
        match self.0.epoch.load(Ordering::SeqCst) {
            0 => Err(Fault::unavailable("the trips are not running yet")),
            epoch => Ok(epoch),
        }
    }

    /// Starts the trip's actor; false when it has one.
    fn adopt(&self, state: State) -> bool {
        let id = state.trip.id;
        let inner = &self.0;
        let Place::Vacant(place) = inner.live.entry(id) else { return false };
        let (actor, entry) = Actor::new(state, inner.world.clone(), inner.config.mailbox);
        place.insert(entry.clone());
        gauge!("smartline_trips_live").increment(1);
        let seat = Seat { trips: self.clone(), id, entry, gone: None };
        inner.tasks.spawn("trips.actor", async move {
            // Named here, so that the whole seat moves in: it is given up when this task ends.
            let mut seat = seat;
            seat.gone = Some(actor.run().await);
        });
        true
    }

    /// None when there is no actor to answer.
    async fn ask(&self, id: TripId, command: &Command, once: Once) -> Option<Answer> {
        let entry = self.0.live.get(&id).map(|entry| entry.clone())?;
        let (reply, answer) = oneshot::channel();
        match entry.mailbox.try_send(Message::Do { command: command.clone(), once, reply }) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                return Some(Err(TripError::Overloaded("the trip has too many commands waiting")));
            }
            Err(TrySendError::Closed(_)) => return None,
        }
        match tokio::time::timeout(self.0.config.deadline, answer).await {
            Ok(answer) => answer.ok(),
            // It may still be done: whoever asks again learns it.
            Err(_) => Some(Err(Fault::Unknown("the command took too long".to_owned()).into())),
        }
    }

    /// The trip has ended (its rules refuse everything), or its actor is missing.
    async fn without_actor(&self, id: TripId, command: &Command, once: Once) -> Answer {
        let inner = &self.0;
        if inner.world.stopping.is_cancelled() {
            return Err(Fault::unavailable("the node is stopping").into());
        }
        let trip = store::get(&inner.db, &Who::System, id).await?.ok_or(TripError::NotFound)?;
        if trip.status.is_live() {
            if inner.orphans.remove(&id).is_none() {
                return Err(Fault::unavailable("the trip runs elsewhere").into());
            }
            self.take_over(trip, Vec::new(), self.epoch()?).await;
            return match self.ask(id, command, once).await {
                Some(answer) => answer,
                None => Err(Fault::unavailable("the trip's actor has ended").into()),
            };
        }
        let step = rules::step(&State::new(Arc::new(trip)), command, inner.world.clock.now())?;
        Ok(step.next.trip)
    }

    async fn tell(&self, effect: Effect) {
        tokio::select! {
            biased;
            sent = self.0.world.effects.send(effect) => { sent.ok(); }
            () = self.0.world.stopping.cancelled() => {}
        }
    }
}

/// An actor's place in the list, given up when the actor ends, also by a panic.
struct Seat {
    trips: Trips,
    id: TripId,
    entry: Arc<Entry>,
    /// None while it runs: dropped so, it broke.
    gone: Option<Gone>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let inner = &self.trips.0;
        // Marked first: whoever finds the place empty then knows why.
        if self.gone.is_none() {
            inner.orphans.insert(self.id);
        }
        inner.live.remove_if(&self.id, |_, entry| Arc::ptr_eq(entry, &self.entry));
        gauge!("smartline_trips_live").decrement(1);
    }
}

/// May somebody have stood by for it, or been asked to?
fn wants_standby(trip: &Trip) -> bool {
    trip.status == Status::Accepted && trip.scheduled_at.is_some()
}

fn party(who: &Who) -> Party {
    match who {
        Who::System => Party::System,
        Who::Caller(caller) => match caller.role {
            Role::Rider => Party::Rider(caller.user.as_rider()),
            Role::Driver => Party::Driver(DriverId(caller.user.0)),
            Role::Admin => Party::Admin(caller.user),
        },
    }
}
