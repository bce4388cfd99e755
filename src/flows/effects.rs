//! Carries out what `trips`, `dispatch` and `fleet` decided: pushes, offers, freed drivers,
//! searches.
//!
//! One task per source takes effects in the order they were made, so a trip's followers see its
//! events in order. An effect never fails the commit it came from: that is already done; what can't
//! be carried out (a driver who left meanwhile) is answered to the room that can do something else.

use std::sync::Arc;
use std::time::Duration;

use backon::{ExponentialBuilder, Retryable};
use base::{DriverId, Piasters, TripId, UserId};
use dispatch::{OfferPlan, Outcome, Part, QueueNews, Search, Strategy};
use fleet::{Finish, State};
use futures_util::future::join_all;
use metrics::counter;
use ops::Tasks;
use rooms::{Delivery, Topic};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};
use trips::{
    AheadCommand, BidTerms, Command, EventName, Freed, OfferOutcome, Side, Status, TakeOver, Trip,
    TripError, TripEvent, TripEventView,
};

use crate::Flows;
use crate::follow_trip::trip_event_frame;
use crate::wire::{BidRange, MatchingView, OfferRevokedView, OfferView, event_frame};

/// Room for effects that are not carried out yet; a full inbox makes its source wait.
pub const INBOX: usize = 4096;
/// First search radius of a city that is not on the map (any more), metres.
const RING_M: u32 = 5000;
/// Effects of dispatch that are carried out at the same time.
const AT_ONCE: usize = 256;
/// Tracks of live trips that are read back at the same time after a start.
pub(crate) const RESTORES: usize = 4;
/// How long effects are waited for once the node stops.
const LINGER: Duration = Duration::from_secs(1);
/// For a trip that was booked ahead a driver is searched until so long after its pickup.
const SEARCHED_PAST_PICKUP: Duration = Duration::from_secs(5 * 60);
/// An acknowledging socket has this long to say that an offer came.
const DELIVERED_WITHIN: Duration = Duration::from_secs(2);

/// Where the rooms below leave their effects.
pub struct Inbox {
    pub trips: mpsc::Receiver<trips::Effect>,
    pub dispatch: mpsc::Receiver<dispatch::Effect>,
    pub fleet: mpsc::Receiver<fleet::Effect>,
}

/// Starts the tasks that carry effects out. When the node stops they go on until their sources have
/// been silent for a moment, so that what the last commits told is still carried out.
pub fn run(flows: &Flows, tasks: &Tasks, inbox: Inbox) {
    let Inbox { mut trips, mut dispatch, mut fleet } = inbox;
    let (for_trips, for_dispatch, for_fleet) = (flows.clone(), flows.clone(), flows.clone());
    let stopping = tasks.stopping();
    tasks.spawn_vital("trip effects", async move {
        while let Some(effect) = next(&mut trips, &stopping).await {
            for_trips.on_trip(effect);
        }
    });
    let stopping = tasks.stopping();
    tasks.spawn_vital("dispatch effects", async move {
        let permits = Arc::new(Semaphore::new(AT_ONCE));
        while let Some(effect) = next(&mut dispatch, &stopping).await {
            if let dispatch::Effect::Queued(news) = &effect {
                // In order: no place comes after the news that it is his turn.
                for_dispatch.tell_line(news);
                continue;
            }
            // Different trips owe each other no order, and each trip's actor keeps its own.
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let flows = for_dispatch.clone();
            for_dispatch.tasks.spawn("dispatch effect", async move {
                flows.on_dispatch(effect).await;
                drop(permit);
            });
        }
    });
    let stopping = tasks.stopping();
    tasks.spawn_vital("fleet effects", async move {
        while let Some(effect) = next(&mut fleet, &stopping).await {
            for_fleet.on_fleet(effect).await;
        }
    });
}

/// The next effect; `None` once the node stops and nothing more comes.
async fn next<T>(inbox: &mut mpsc::Receiver<T>, stopping: &CancellationToken) -> Option<T> {
    tokio::select! {
        biased;
        effect = inbox.recv() => return effect,
        () = stopping.cancelled() => {}
    }
    tokio::time::timeout(LINGER, inbox.recv()).await.ok().flatten()
}

impl Flows {
    /// Never waits for a trip's answer: trips wait while this inbox is full.
    fn on_trip(&self, effect: trips::Effect) {
        match effect {
            trips::Effect::Event { trip, event } => {
                if let (EventName::Started, Some(driver)) = (event.event, trip.driver) {
                    self.fleet.start_meter(driver, trip.id);
                    self.tell_drop_off(&trip, driver);
                }
                if let (EventName::Activated, Some(driver)) = (event.event, trip.driver) {
                    self.fleet.adopt(driver, trip.id);
                }
                // A rider who booked ahead waits from now on, too.
                if (event.event, event.by) == (EventName::Requested, Side::System) {
                    self.pricing.requested(trip.pickup.at, event.at);
                }
                self.publish(&trip, &event);
                // Nobody can be nearer than a driver who is there.
                if matches!(trip.status, Status::Arrived | Status::Cancelled) {
                    self.dispatch.stop(trip.id);
                }
            }
            trips::Effect::NeedsDriver { trip, first } => self.search(trip, first, Part::Drive),
            trips::Effect::NeedsStandby { trip } => self.search(trip, None, Part::StandBy),
            trips::Effect::StandbyOver { trip, driver } => {
                let over = OfferRevokedView { trip_id: trip, reason: "standby_over" };
                self.tell(driver, "offer.revoked", &over);
            }
            trips::Effect::OfferEnded { trip, driver, outcome, to_stand_by } => {
                let role = if to_stand_by { Part::StandBy } else { Part::Drive };
                self.end_offer(trip, driver, outcome, role);
            }
            trips::Effect::Bid { trip, bid, stands } => self.on_bid(&trip, &bid, stands),
            trips::Effect::SearchOver { trip } => self.end_search(trip),
            trips::Effect::Matched { trip, driver } => self.take_driver(&trip, driver),
            trips::Effect::Adopted { trip, driver } => self.adopt(trip, driver),
            trips::Effect::DriverFreed { trip, driver, how } => {
                self.free_driver(&trip, driver, how)
            }
            trips::Effect::Completed { trip, driver_balance }
            | trips::Effect::Ended { trip, driver_balance } => {
                if let (Some(driver), Some(balance)) = (trip.driver, driver_balance) {
                    self.fleet.set_balance(driver, balance);
                }
            }
        }
    }

    fn publish(&self, trip: &Trip, event: &TripEvent) {
        let seq = u64::try_from(event.seq).unwrap_or(0);
        let frame = trip_event_frame(trip.id, seq, &TripEventView::from(event));
        self.rooms.publish_event(Topic::Trip(trip.id), seq, frame);
        if trip.is_over() {
            self.rooms.end(Topic::Trip(trip.id), seq);
        }
    }

    /// Looks up who drove this rider before, without making other effects wait, and searches.
    fn search(&self, trip: Arc<Trip>, first: Option<DriverId>, role: Part) {
        let flows = self.clone();
        self.tasks.spawn("search", async move {
            let familiar = flows.trips.drivers_of(trip.rider).await.unwrap_or_else(|fault| {
                warn!(trip.id = %trip.id, %fault, "searching without the rider's past drivers");
                Vec::new()
            });
            // Cancelled meanwhile: its end was told before this search began.
            let wanted = flows.trips.live(trip.id);
            if wanted.is_some_and(|trip| trip.status == wanted_in(role)) {
                let ring_m =
                    flows.fleet.city(trip.city).map_or(RING_M, |city| city.search_radius_m);
                let search = search_for(&trip, familiar, ring_m);
                let until = match role {
                    Part::Drive => search.until,
                    // From then on his driver is there, or the trip is searched again.
                    Part::StandBy => trip.scheduled_at,
                };
                flows.dispatch.search(Search { first, role, until, ..search });
            }
        });
    }

    fn end_offer(&self, trip: TripId, driver: DriverId, outcome: OfferOutcome, role: Part) {
        let (ended, told) = match outcome {
            OfferOutcome::Accepted => (Outcome::Accepted, None),
            OfferOutcome::Declined => (Outcome::Declined, None),
            OfferOutcome::Expired => (Outcome::Expired, Some("expired")),
            OfferOutcome::Revoked => (Outcome::Revoked, Some(self.revocation(trip))),
            OfferOutcome::Lost => (Outcome::Lost, Some("lost")),
            OfferOutcome::Unchosen => (Outcome::Unchosen, Some("expired")),
            OfferOutcome::StandsBy => (Outcome::StandsBy, None),
        };
        if outcome != OfferOutcome::Accepted {
            self.fleet.release(driver, trip);
        }
        // Standing by is a favour: a no to it says nothing about trips.
        let counts = role == Part::Drive;
        if counts && matches!(outcome, OfferOutcome::Declined | OfferOutcome::Expired) {
            let pickup = self.trips.live(trip).map(|trip| trip.pickup.at);
            self.fleet.missed_offer(driver, pickup);
        }
        self.dispatch.offer_ended(trip, driver, ended);
        if let Some(reason) = told {
            self.tell(driver, "offer.revoked", &OfferRevokedView { trip_id: trip, reason });
        }
        if outcome == OfferOutcome::StandsBy {
            let drives = self.trips.live(trip).and_then(|trip| trip.driver);
            let silent = drives.filter(|driver| self.fleet.is_silent(*driver));
            silent.into_iter().for_each(|driver| self.on_silence(trip, driver));
        }
    }

    /// Why there is nothing left to accept: told once the trip has changed.
    fn revocation(&self, trip: TripId) -> &'static str {
        let has_driver = self.trips.live(trip).is_some_and(|trip| trip.driver.is_some());
        if has_driver { "taken" } else { "cancelled" }
    }

    fn take_driver(&self, trip: &Arc<Trip>, driver: DriverId) {
        if let Some(behind) = trip.queued_behind {
            self.follow_next(trip, driver, behind);
        } else if let Err(refused) = self.fleet.assign(driver, trip.id) {
            // The commit stands: the database says he drives this trip, so the fleet must follow.
            warn!(trip.id = %trip.id, driver.id = %driver, %refused, "fleet follows the commit");
            self.fleet.adopt(driver, trip.id);
        }
        self.dispatch.matched(trip.id, driver);
        self.leave_standby(driver);
    }

    /// Of a trip that has a driver dispatch is told which: it may look on for one who is nearer.
    fn end_search(&self, trip: TripId) {
        if !self.trips.live(trip).is_some_and(|trip| trip.may_change_driver()) {
            self.dispatch.stop(trip);
        }
    }

    /// He went offline or drives another trip: somebody else stands by.
    fn leave_standby(&self, driver: DriverId) {
        for trip in self.trips.stands_by(driver) {
            self.say(trip, AheadCommand::Leaves { driver });
        }
    }

    /// Nothing is heard of the driver of this trip: he loses it if it waits for the end of another,
    /// or if somebody stands by who is free.
    fn on_silence(&self, trip: TripId, driver: DriverId) {
        let is_free = |standby| self.fleet.state(standby) == State::Available;
        let waits = self.trips.live(trip).is_some_and(|trip| trip.is_queued());
        if waits || self.trips.standby(trip).is_some_and(is_free) {
            self.say(trip, AheadCommand::Silent { driver });
        }
    }

    /// Tells a trip without waiting for its answer.
    fn say(&self, trip: TripId, command: AheadCommand) {
        let flows = self.clone();
        self.tasks.spawn("word to a trip", async move {
            if let Err(refused) = flows.trips.command(trip, command.into()).await {
                debug!(trip.id = %trip, %refused, "the trip does not want to know");
            }
        });
    }

    fn free_driver(&self, trip: &Trip, driver: DriverId, how: Freed) {
        let finish = match how {
            Freed::Completed => Finish::Completed,
            Freed::GaveBack => Finish::GaveBack,
            Freed::Cancelled | Freed::NoShow => Finish::Freed,
            Freed::TakenOver => Finish::TakenOver,
        };
        if let Some(next) = self.fleet.finish(driver, trip.id, finish) {
            self.take_turn(next, driver);
        }
        match how {
            // The trip is another's from here on.
            Freed::GaveBack | Freed::TakenOver => {
                self.rooms.expel(Topic::Trip(trip.id), driver.into());
            }
            Freed::Completed | Freed::Cancelled | Freed::NoShow => {}
        }
        self.dispatch.wake();
    }

    /// Where he will be free. What is left of a trip with stops on its way nobody knows.
    fn tell_drop_off(&self, trip: &Trip, driver: DriverId) {
        if trip.stops.is_empty() {
            self.fleet.drives_to(driver, trip.id, trip.destination.at);
        }
    }

    /// At boot: the driver is on this trip, and what he drove so far comes back from history.
    fn adopt(&self, trip: Arc<Trip>, driver: DriverId) {
        // It may have gone on since: then its driver was told of the same way.
        if self.trips.live(trip.id).is_none_or(|now| now.driver != Some(driver)) {
            return;
        }
        if let Some(behind) = trip.queued_behind {
            return self.follow_next(&trip, driver, behind);
        }
        self.fleet.adopt(driver, trip.id);
        if trip.status == Status::Started {
            self.tell_drop_off(&trip, driver);
        }
        let (fleet, turns) = (self.fleet.clone(), Arc::clone(&self.restores));
        self.tasks.spawn("trip track", async move {
            let Ok(_turn) = turns.acquire().await else { return };
            let accepted = trip.accepted_at.unwrap_or(trip.created_at);
            let restore = || fleet.restore_track(driver, trip.id, accepted, trip.started_at);
            let patient = ExponentialBuilder::default().with_jitter();
            if let Err(fault) = restore.retry(patient).await {
                error!(trip.id = %trip.id, %fault, "the track of a live trip was not restored");
            }
        });
    }

    async fn on_dispatch(&self, effect: dispatch::Effect) {
        match effect {
            dispatch::Effect::Offers(plans) => {
                join_all(plans.into_iter().map(|plan| self.make_offer(plan))).await;
            }
            dispatch::Effect::NoDrivers { trip } => {
                if let Err(refused) = self.trips.command(trip, Command::NoDrivers).await {
                    debug!(trip.id = %trip, %refused, "nobody searches this trip any more");
                    self.stop_if_over(trip);
                }
            }
            dispatch::Effect::Lapsed { trip, driver } => self.fleet.release(driver, trip),
            dispatch::Effect::Queued(news) => self.tell_line(&news),
        }
    }

    fn tell_line(&self, news: &[QueueNews]) {
        for QueueNews { trip, rider, status } in news {
            let (status, queue_position) = (status.status, status.queue_position);
            let view = MatchingView { trip_id: *trip, status, queue_position };
            self.tell(*rider, "matching.status", &view);
        }
    }

    /// Fleet first (the driver is free, or about to be, and now leased), then the trip (still wants
    /// one), then the push: each refusal undoes what came before it.
    async fn make_offer(&self, plan: OfferPlan) {
        let (trip, driver) = (plan.trip, plan.driver);
        if self.is_as_near(&plan) || self.fleet.offer(driver, trip).is_err() {
            self.dispatch.offer_ended(trip, driver, Outcome::Lost);
            return;
        }
        match self.trips.command(trip, asks(&plan)).await {
            // He left before the trip knew of the offer, so his leaving ended nothing.
            Ok(_) if !self.fleet.is_asked(driver, trip) => {
                self.trips.command(trip, Command::Withdraw { driver }).await.ok();
            }
            Ok(snapshot) => self.push_offer(&snapshot, &plan),
            Err(refused) => {
                debug!(trip.id = %trip, %refused, "the trip takes no offers any more");
                self.fleet.release(driver, trip);
                self.dispatch.offer_ended(trip, driver, Outcome::Revoked);
                if matches!(refused, TripError::Fault(_) | TripError::Overloaded(_)) {
                    // It may still take the offer later, from a mailbox that was slow.
                    self.trips.command(trip, Command::Withdraw { driver }).await.ok();
                }
                match plan.role {
                    Part::Drive => self.stop_if_over(trip),
                    Part::StandBy => self.stop_standby_if_over(trip),
                }
            }
        }
    }

    /// Has the driver whom this one would take the trip over from come as near to the pickup
    /// meanwhile? When he will be there was reckoned when he was asked.
    fn is_as_near(&self, plan: &OfferPlan) -> bool {
        let from = plan.instead_of.and_then(|from| self.fleet.position(from));
        let pickup = self.trips.live(plan.trip).map(|trip| trip.pickup.at);
        from.zip(pickup)
            .is_some_and(|((at, _), pickup)| at.distance_m(pickup) <= f64::from(plan.distance_m))
    }

    /// A search that outlived its trip ends here; one whose trip could not be asked goes on, and so
    /// does one for a driver who is nearer.
    fn stop_if_over(&self, trip: TripId) {
        match self.trips.live(trip) {
            Some(live) if live.status == Status::Requested => {}
            Some(live) if live.status == Status::Accepted => {
                if let Some(driver) = live.driver {
                    self.dispatch.matched(trip, driver);
                }
            }
            Some(_) | None => self.dispatch.stop(trip),
        }
    }

    /// The search for somebody who stands by ends when he is found, or when there is nothing to
    /// stand by for; not because one was refused or a trip could not be asked.
    fn stop_standby_if_over(&self, trip: TripId) {
        let is_wanted = |live: &Trip| live.status == wanted_in(Part::StandBy);
        let goes_on = self.trips.live(trip).is_some_and(|live| is_wanted(&live));
        if !goes_on || self.trips.standby(trip).is_some() {
            self.dispatch.stop_standby(trip);
        }
    }

    fn push_offer(&self, trip: &Arc<Trip>, plan: &OfferPlan) {
        let view = OfferView {
            trip_id: trip.id,
            pickup: trip.pickup.clone(),
            destination: trip.destination.clone(),
            estimated_price: trip.price,
            estimated_distance: trip.quoted_distance_m,
            estimated_duration: trip.quoted_duration_s,
            pickup_eta: plan.eta_s,
            expires_at: plan.answer_by(),
            after_trip: self.fleet.ends_before(plan.driver, trip.id),
            scheduled_at: trip.scheduled_at,
            standby: (plan.role == Part::StandBy).then_some(true),
            bid: plan.bids.map(|terms| {
                let (min, max) = trip.bid_range(terms.floor, terms.ceiling);
                BidRange { min, max, until: terms.until }
            }),
        };
        let seq = self.tell(plan.driver, "offer", &view);
        self.watch_delivery(plan.clone(), trip.price, seq);
    }

    /// An offer that a socket which does acknowledge has not acknowledged in time never arrived:
    /// the lease ends, and somebody else is asked. Where no socket is, or none that says what it
    /// has, the driver's phone is pushed.
    fn watch_delivery(&self, plan: OfferPlan, price: Piasters, seq: u64) {
        let flows = self.clone();
        let stopping = self.tasks.stopping();
        let driver = plan.driver.into();
        self.tasks.spawn("offer delivery", async move {
            if flows.rooms.delivery(driver, seq) != Delivery::NoSocket {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = tokio::time::sleep(DELIVERED_WITHIN) => {}
                }
            }
            match flows.rooms.delivery(driver, seq) {
                Delivery::Acknowledged => {}
                // Whoever bids has seen it, however he says so.
                Delivery::Outstanding
                    if flows.trips.bids(plan.trip).iter().any(|bid| bid.driver == plan.driver) => {}
                Delivery::Outstanding => {
                    counter!("smartline_offers_undelivered_total").increment(1);
                    let withdraw = Command::Withdraw { driver: plan.driver };
                    flows.trips.command(plan.trip, withdraw).await.ok();
                }
                Delivery::Unknown | Delivery::NoSocket if !flows.notify.can_push() => {}
                Delivery::Unknown | Delivery::NoSocket => {
                    if let Err(fault) = flows.tell_offer(&plan, price).await {
                        warn!(trip.id = %plan.trip, %fault, "an offer was not pushed");
                    }
                }
            }
        });
    }

    async fn on_fleet(&self, effect: fleet::Effect) {
        match effect {
            fleet::Effect::Arrived { .. } => self.dispatch.wake(),
            fleet::Effect::Lost { driver, trip } => {
                if let Err(refused) = self.trips.command(trip, Command::Withdraw { driver }).await {
                    debug!(trip.id = %trip, %refused, "the lost driver's offer had ended already");
                }
            }
            fleet::Effect::Silent { driver, trip } => {
                warn!(trip.id = %trip, driver.id = %driver, "driver went silent on a trip");
                for trip in [Some(trip), self.fleet.next_of(driver)].into_iter().flatten() {
                    self.on_silence(trip, driver);
                }
            }
            fleet::Effect::Left { driver } => self.leave_standby(driver),
        }
    }

    /// Pushes a numbered message to somebody; its number in his stream.
    pub(crate) fn tell<T: serde::Serialize>(
        &self,
        to: impl Into<UserId>,
        kind: &str,
        data: &T,
    ) -> u64 {
        let user = to.into();
        let room = format!("user:{user}");
        let frame = |epoch, seq| event_frame(kind, room, epoch, seq, data);
        self.rooms.tell_user(user, frame)
    }
}

/// What the trip is told of an offer.
const fn asks(plan: &OfferPlan) -> Command {
    let OfferPlan { offer, driver, until, round, eta_s, .. } = *plan;
    if matches!(plan.role, Part::StandBy) {
        return Command::Ahead(AheadCommand::AskStandby { driver, until, round });
    }
    if let Some(from) = plan.instead_of {
        return Command::AskTakeOver(TakeOver { driver, from, until, round });
    }
    match plan.bids {
        None => Command::Offer { driver, until, round },
        Some(dispatch::BidTerms { until: open_until, floor, ceiling }) => {
            let terms = BidTerms { offer, open_until, floor, ceiling, eta_s };
            Command::AskBid { driver, until, round, terms }
        }
    }
}

/// Where a trip stands while somebody is searched for this.
const fn wanted_in(role: Part) -> Status {
    match role {
        Part::Drive => Status::Requested,
        Part::StandBy => Status::Accepted,
    }
}

fn search_for(trip: &Trip, familiar: Vec<DriverId>, ring_m: u32) -> Search {
    Search {
        trip: trip.id,
        city: trip.city,
        rider: trip.rider,
        pickup: trip.pickup.at,
        destination: trip.destination.at,
        tier: trip.tier,
        method: trip.method,
        price: trip.price,
        asked_at: trip.requested_at,
        // Who drives it can't stand by.
        excluded: trip.excluded.iter().copied().chain(trip.driver).collect(),
        familiar,
        distance_m: trip.quoted_distance_m,
        duration_s: trip.quoted_duration_s,
        ring_m,
        strategy: Strategy::parse(&trip.strategy),
        first: None,
        role: Part::Drive,
        until: trip.scheduled_at.map(|pickup| pickup + SEARCHED_PAST_PICKUP),
    }
}
