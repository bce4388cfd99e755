//! Carries out what `trips`, `dispatch` and `fleet` decided: pushes, offers, freed drivers, searches.
//!
//! One task per source takes effects in the order they were made, so a trip's followers see its
//! events in order. An effect never fails the commit it came from: that is already done; what can't
//! be carried out (a driver who left meanwhile) is answered to the room that can do something else.

use std::sync::Arc;

use backon::{ExponentialBuilder, Retryable};
use base::{DriverId, TripId};
use dispatch::{OfferPlan, Outcome, Search, Strategy};
use fleet::Finish;
use ops::Tasks;
use rooms::Topic;
use tokio::sync::mpsc;
use tracing::{debug, error, warn};
use trips::{Command, EventName, Freed, OfferOutcome, Trip, TripEvent, TripEventView};

use crate::Flows;
use crate::follow_trip::trip_event_frame;
use crate::wire::{OfferRevokedView, OfferView, event_frame};

/// Room for effects that are not carried out yet; a full inbox makes its source wait.
pub const INBOX: usize = 4096;
/// First search radius of a city that is not on the map (any more), metres.
const RING_M: u32 = 5000;
/// How often storing a track is tried before it is given up.
const TRACK_TRIES: usize = 8;

/// Where the rooms below leave their effects.
pub struct Inbox {
    pub trips: mpsc::Receiver<trips::Effect>,
    pub dispatch: mpsc::Receiver<dispatch::Effect>,
    pub fleet: mpsc::Receiver<fleet::Effect>,
}

/// Starts the tasks that carry effects out, until the node stops.
pub fn run(flows: &Flows, tasks: &Tasks, inbox: Inbox) {
    let Inbox { mut trips, mut dispatch, mut fleet } = inbox;
    let (for_trips, for_dispatch, for_fleet) = (flows.clone(), flows.clone(), flows.clone());
    // These end when their senders are gone, so effects of the last commits are still carried out;
    // the token ends them if a sender outlives the drain.
    tasks.spawn("trip effects", async move {
        while let Some(effect) = trips.recv().await {
            for_trips.on_trip(effect);
        }
    });
    tasks.spawn("dispatch effects", async move {
        while let Some(effect) = dispatch.recv().await {
            for_dispatch.on_dispatch(effect).await;
        }
    });
    tasks.spawn("fleet effects", async move {
        while let Some(effect) = fleet.recv().await {
            for_fleet.on_fleet(effect).await;
        }
    });
}

impl Flows {
    /// Never waits for a trip's answer: trips wait while this inbox is full.
    fn on_trip(&self, effect: trips::Effect) {
        match effect {
            trips::Effect::Event { trip, event } => {
                if let (EventName::Started, Some(driver)) = (event.event, trip.driver) {
                    self.fleet.start_meter(driver, trip.id);
                }
                self.publish(trip.id, &event);
            }
            trips::Effect::NeedsDriver { trip } => self.search(&trip),
            trips::Effect::OfferEnded { trip, driver, outcome } => {
                self.end_offer(trip, driver, outcome);
            }
            trips::Effect::SearchOver { trip } => self.dispatch.stop(trip),
            trips::Effect::Matched { trip, driver } => self.take_driver(&trip, driver),
            trips::Effect::Adopted { trip, driver } => self.adopt(trip, driver),
            trips::Effect::DriverFreed { trip, driver, how } => self.free_driver(&trip, driver, how),
            trips::Effect::Completed { trip, driver_balance }
            | trips::Effect::Ended { trip, driver_balance } => {
                if let (Some(driver), Some(balance)) = (trip.driver, driver_balance) {
                    self.fleet.set_balance(driver, balance);
                }
            }
        }
    }

    fn publish(&self, trip: TripId, event: &TripEvent) {
        let seq = u64::try_from(event.seq).unwrap_or(0);
        let frame = trip_event_frame(trip, seq, &TripEventView::from(event));
        self.rooms.publish_event(Topic::Trip(trip), seq, frame);
    }

    fn search(&self, trip: &Trip) {
        let ring_m = self.fleet.city(trip.city).map_or(RING_M, |city| city.search_radius_m);
        self.dispatch.search(Search {
            trip: trip.id,
            city: trip.city,
            rider: trip.rider,
            pickup: trip.pickup.at,
            destination: trip.destination.at,
            tier: trip.tier,
            method: trip.method,
            price: trip.price,
            asked_at: trip.requested_at,
            excluded: trip.excluded.clone(),
            familiar: Vec::new(),
            distance_m: trip.quoted_distance_m,
            duration_s: trip.quoted_duration_s,
            ring_m,
            strategy: Strategy::default(),
        });
    }

    fn end_offer(&self, trip: TripId, driver: DriverId, outcome: OfferOutcome) {
        let (ended, told) = match outcome {
            OfferOutcome::Accepted => (Outcome::Accepted, None),
            OfferOutcome::Declined => (Outcome::Declined, None),
            OfferOutcome::Expired => (Outcome::Expired, Some("expired")),
            OfferOutcome::Revoked => (Outcome::Revoked, Some("taken")),
            OfferOutcome::Lost => (Outcome::Lost, Some("lost")),
        };
        if outcome != OfferOutcome::Accepted {
            self.fleet.release(driver, trip);
        }
        if matches!(outcome, OfferOutcome::Declined | OfferOutcome::Expired) {
            self.fleet.missed_offer(driver);
        }
        self.dispatch.offer_ended(trip, driver, ended);
        if let Some(reason) = told {
            self.tell(driver, "offer.revoked", &OfferRevokedView { trip_id: trip, reason });
        }
    }

    fn take_driver(&self, trip: &Arc<Trip>, driver: DriverId) {
        if let Err(refused) = self.fleet.assign(driver, trip.id) {
            // The commit stands: the database says he drives this trip, so the fleet must follow.
            warn!(trip.id = %trip.id, driver.id = %driver, %refused, "fleet follows the commit");
            self.fleet.adopt(driver, trip.id);
        }
        self.dispatch.stop(trip.id);
    }

    fn free_driver(&self, trip: &Trip, driver: DriverId, how: Freed) {
        let finish = match how {
            Freed::Completed => Finish::Completed,
            Freed::GaveBack => Finish::GaveBack,
            Freed::Cancelled | Freed::NoShow | Freed::TakenOver => Finish::Freed,
        };
        self.fleet.finish(driver, trip.id, finish);
        match how {
            // The trip is another's from here on.
            Freed::GaveBack | Freed::TakenOver => {
                self.rooms.expel(Topic::Trip(trip.id), driver.into());
            }
            Freed::Completed | Freed::Cancelled | Freed::NoShow => self.keep_track(trip.id),
        }
        self.dispatch.wake();
    }

    /// Stores the track of an ended trip without making other effects wait for the database.
    fn keep_track(&self, trip: TripId) {
        let fleet = self.fleet.clone();
        self.tasks.spawn("trip track", async move {
            let store = || async { fleet.close_track(trip).await };
            let patient = ExponentialBuilder::default().with_jitter().with_max_times(TRACK_TRIES);
            if let Err(fault) = store.retry(patient).await {
                error!(trip.id = %trip, %fault, "the track of an ended trip was not stored");
            }
        });
    }

    /// At boot: the driver is on this trip, and what he drove so far comes back from history.
    fn adopt(&self, trip: Arc<Trip>, driver: DriverId) {
        self.fleet.adopt(driver, trip.id);
        let fleet = self.fleet.clone();
        self.tasks.spawn("trip track", async move {
            let accepted = trip.accepted_at.unwrap_or(trip.created_at);
            let restored = fleet.restore_track(driver, trip.id, accepted, trip.started_at).await;
            if let Err(fault) = restored {
                error!(trip.id = %trip.id, %fault, "the track of a live trip was not restored");
            }
        });
    }

    async fn on_dispatch(&self, effect: dispatch::Effect) {
        match effect {
            dispatch::Effect::Offers(plans) => {
                for plan in plans {
                    self.make_offer(plan).await;
                }
            }
            dispatch::Effect::NoDrivers { trip } => {
                if let Err(refused) = self.trips.command(trip, Command::NoDrivers).await {
                    debug!(trip.id = %trip, %refused, "no_drivers came too late");
                }
            }
        }
    }

    /// Fleet first (the driver is free and now leased), then the trip (still wants one), then the
    /// push: each refusal undoes what came before it.
    async fn make_offer(&self, plan: OfferPlan) {
        let (trip, driver) = (plan.trip, plan.driver);
        if self.fleet.offer(driver, trip).is_err() {
            self.dispatch.offer_ended(trip, driver, Outcome::Lost);
            return;
        }
        let offer = Command::Offer { driver, until: plan.until, round: plan.round };
        match self.trips.command(trip, offer).await {
            Ok(snapshot) => self.push_offer(&snapshot, &plan),
            Err(refused) => {
                debug!(trip.id = %trip, %refused, "the trip takes no offers any more");
                self.fleet.release(driver, trip);
                self.dispatch.offer_ended(trip, driver, Outcome::Revoked);
            }
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
            expires_at: plan.until,
        };
        self.tell(plan.driver, "offer", &view);
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
            }
        }
    }

    fn tell<T: serde::Serialize>(&self, driver: DriverId, kind: &str, data: &T) {
        let room = format!("user:{driver}");
        self.rooms.tell_user(driver.into(), |epoch, seq| event_frame(kind, room, epoch, seq, data));
    }
}
