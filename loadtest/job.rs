//! What a driver does about offers and trips, step by step.
//!
//! Owns the driver's side of a trip: answer, fetch, board, carry, or give back. Every step is
//! asked of the server and taken only when it says so; a step whose answer was lost is asked
//! again, and "you are there already" counts as yes.

use std::time::{Duration, Instant};

use rand::RngExt;
use serde::Serialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::api::{Ask, Failure};
use crate::client::Socket;
use crate::driver::{Driver, Parting};
use crate::geometry::Place;
use crate::invariants::{Subscription, TripFollow};
use crate::setup;
use crate::stats::add;
use crate::wire::{Offer, Status, Tier, TripView};
use crate::world::Phase;

/// Silence about his trip after which a driver asks how it stands.
const ASK_AFTER: Duration = Duration::from_secs(20);
/// How long a rider takes to get in, seconds of city time.
const BOARDING_S: std::ops::Range<f64> = 15.0..60.0;
/// Owing so much, worst case, a driver looks whether he should settle, piasters.
const LOOK_AT_DEBT: i64 = 8_000;

/// A trip that is his.
pub struct Job {
    pub trip: Uuid,
    pub destination: Place,
    /// When anything was last heard of it.
    pub heard: Instant,
    pub follow: TripFollow,
    price: i64,
}

impl Job {
    fn new(offer: &Offer) -> Self {
        Self {
            trip: offer.trip_id,
            destination: offer.destination,
            heard: Instant::now(),
            follow: TripFollow::joining(offer.trip_id),
            price: offer.estimated_price.unwrap_or_default().0,
        }
    }

    /// Whether what was heard says that the trip is over or somebody else's.
    pub fn is_gone(&self, me: Uuid) -> bool {
        match self.follow.status() {
            None => false,
            Some(status) if status.ended() => true,
            Some(Status::Requested) => true,
            Some(_) => self.follow.driver().is_some_and(|driver| driver != me),
        }
    }
}

/// What a driver says to an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Accept,
    Decline,
}

/// What a driver is about.
pub enum Doing {
    Idle,
    Weighing {
        offer: Offer,
        answer: Answer,
        at: Instant,
    },
    /// He accepted and the answer was lost.
    Unsure(Offer),
    Fetching {
        job: Box<Job>,
        gives_back: Option<Instant>,
    },
    Boarding {
        job: Box<Job>,
        until: Instant,
    },
    Carrying(Box<Job>),
}

impl Doing {
    /// When something is due, other than the next position.
    pub fn wake(&self) -> Option<Instant> {
        match self {
            Self::Weighing { at, .. } => Some(*at),
            Self::Boarding { until, .. } => Some(*until),
            Self::Fetching { gives_back, .. } => *gives_back,
            Self::Idle | Self::Unsure(_) | Self::Carrying(_) => None,
        }
        .filter(|at| *at > Instant::now())
    }

    pub fn weighs(&self, trip: Uuid) -> bool {
        matches!(self, Self::Weighing { offer, .. } if offer.trip_id == trip)
    }

    pub fn on_trip(&self) -> bool {
        match self {
            Self::Idle | Self::Weighing { .. } => false,
            Self::Unsure(_) | Self::Fetching { .. } | Self::Boarding { .. } | Self::Carrying(_) => {
                true
            }
        }
    }

    pub fn job(&mut self) -> Option<&mut Job> {
        match self {
            Self::Fetching { job, .. } | Self::Boarding { job, .. } | Self::Carrying(job) => {
                Some(job)
            }
            Self::Idle | Self::Weighing { .. } | Self::Unsure(_) => None,
        }
    }
}

/// What became of a step.
enum Step {
    Done,
    /// The trip is over or somebody else's.
    Gone,
    /// Not now.
    Later,
}

impl Driver {
    /// Does what is due.
    pub async fn act(&mut self, socket: &mut Socket) -> Result<(), Parting> {
        let now = Instant::now();
        self.ask_how_it_stands().await;
        self.answer_next(socket).await?;
        if matches!(self.doing, Doing::Idle) {
            self.drive_on(socket).await?;
        }
        match std::mem::replace(&mut self.doing, Doing::Idle) {
            Doing::Weighing { offer, answer, at } if now >= at => {
                self.answer(socket, offer, answer).await
            }
            Doing::Fetching { job, gives_back: Some(at) } if now >= at => self.give_back(job).await,
            Doing::Fetching { job, gives_back } if self.car.stands() => {
                self.arrive(socket, job, gives_back).await
            }
            Doing::Boarding { job, until } if now >= until => self.start(socket, job).await,
            Doing::Carrying(job) if self.car.stands() || self.world.now() >= Phase::Hurrying => {
                self.complete(socket, job).await
            }
            other => {
                self.doing = other;
                Ok(())
            }
        }
    }

    async fn answer(
        &mut self,
        socket: &mut Socket,
        offer: Offer,
        says: Answer,
    ) -> Result<(), Parting> {
        let takes = says == Answer::Accept;
        let body = json!({"tripId": offer.trip_id, "action": says});
        let answer = socket.ask::<Value>("offer.respond", &body).await;
        let totals = &self.world.stats.totals;
        match answer {
            Ok(_) if takes => self.take(socket, &offer).await,
            Ok(_) => {
                add(&totals.offers_declined);
                Ok(())
            }
            Err(failure @ (Failure::Lost(_) | Failure::TimedOut)) => {
                if takes {
                    self.doing = Doing::Unsure(offer);
                }
                // After a time-out the socket can't be trusted with the next question either.
                Err(Parting::Lost(failure))
            }
            Err(failure) => {
                if takes {
                    add(&totals.offers_lost);
                }
                self.mention(&failure);
                Ok(())
            }
        }
    }

    /// The trip is his: off to the pickup.
    pub async fn take(&mut self, socket: &mut Socket, offer: &Offer) -> Result<(), Parting> {
        let world = self.world.clone();
        add(&world.stats.totals.offers_accepted);
        world.judge.accepted(self.account.id, offer.trip_id);
        let gives_back = self
            .rng
            .random_bool(world.args.driver_cancels)
            .then(|| Instant::now() + Duration::from_secs(self.rng.random_range(2..20)));
        self.drive_to(offer.pickup, 1.0);
        self.doing = Doing::Fetching { job: Box::new(Job::new(offer)), gives_back };
        self.subscribe(socket, None).await
    }

    /// Follows the trip's room; `after` is the last event seen on a socket before this one.
    async fn subscribe(&mut self, socket: &mut Socket, after: Option<u64>) -> Result<(), Parting> {
        let Some(job) = self.doing.job() else { return Ok(()) };
        let mut body = json!({"tripId": job.trip});
        if let Some(after) = after {
            body["afterSeq"] = after.into();
            job.follow.subscribing(Subscription::Resume);
        }
        match socket.ask::<Value>("trip.subscribe", &body).await {
            Err(failure) if failure.is_lost() => Err(Parting::Lost(failure)),
            // He will ask how it stands now and then.
            _ => Ok(()),
        }
    }

    /// After a new connection: finds out about an unsure acceptance, follows the trip again.
    pub async fn pick_up(&mut self, socket: &mut Socket) -> Result<(), Failure> {
        if let Doing::Unsure(offer) = &self.doing {
            let offer = offer.clone();
            let mine = self.is_his(offer.trip_id).await;
            self.doing = Doing::Idle;
            if mine {
                return self.take(socket, &offer).await.or_else(only_lost);
            }
            return Ok(());
        }
        let after = self.doing.job().map(|job| job.follow.last()).filter(|last| *last > 0);
        self.subscribe(socket, after).await.or_else(only_lost)
    }

    async fn arrive(
        &mut self,
        socket: &mut Socket,
        job: Box<Job>,
        gives_back: Option<Instant>,
    ) -> Result<(), Parting> {
        let trip = job.trip;
        self.doing = Doing::Fetching { job, gives_back };
        match self.step(socket, trip, Status::Arrived).await? {
            Step::Done => {
                let city_s = self.rng.random_range(BOARDING_S);
                let takes = Duration::from_secs_f64(city_s / self.world.args.lapse);
                self.replace(|job| Doing::Boarding { job, until: Instant::now() + takes });
            }
            Step::Gone => self.leave(trip),
            Step::Later => {}
        }
        Ok(())
    }

    async fn start(&mut self, socket: &mut Socket, job: Box<Job>) -> Result<(), Parting> {
        let (trip, destination) = (job.trip, job.destination);
        self.doing = Doing::Boarding { job, until: Instant::now() };
        match self.step(socket, trip, Status::Started).await? {
            Step::Done => {
                self.drive_to(destination, 1.0);
                self.replace(Doing::Carrying);
            }
            Step::Gone => self.leave(trip),
            Step::Later => {}
        }
        Ok(())
    }

    async fn complete(&mut self, socket: &mut Socket, job: Box<Job>) -> Result<(), Parting> {
        let (trip, price) = (job.trip, job.price);
        self.doing = Doing::Carrying(job);
        match self.step(socket, trip, Status::Completed).await? {
            Step::Done => {
                self.leave(trip);
                self.owes += crate::wire::Piasters(price).share(Tier::Premium.commission_bp()).0;
                if self.owes > LOOK_AT_DEBT {
                    self.owes = 0;
                    let world = self.world.clone();
                    if let Err(failure) = setup::settle_debt(&world, &mut self.account).await {
                        self.mention(&failure);
                    }
                }
            }
            Step::Gone => self.leave(trip),
            Step::Later => {}
        }
        Ok(())
    }

    /// Changes what he does about the trip he is on; if he left it meanwhile, nothing.
    fn replace(&mut self, next: impl FnOnce(Box<Job>) -> Doing) {
        self.doing = match std::mem::replace(&mut self.doing, Doing::Idle) {
            Doing::Fetching { job, .. } | Doing::Boarding { job, .. } | Doing::Carrying(job) => {
                next(job)
            }
            other @ (Doing::Idle | Doing::Weighing { .. } | Doing::Unsure(_)) => other,
        };
    }

    async fn step(
        &mut self,
        socket: &mut Socket,
        trip: Uuid,
        status: Status,
    ) -> Result<Step, Parting> {
        let body = json!({"tripId": trip, "status": status});
        let kind = match status {
            Status::Arrived => "trip.status arrived",
            Status::Started => "trip.status started",
            _ => "trip.status completed",
        };
        let failure = match socket.ask_as::<Value>(kind, "trip.status", &body).await {
            Ok(_) => return Ok(Step::Done),
            Err(failure) => failure,
        };
        self.mention(&failure);
        if matches!(failure, Failure::Lost(_) | Failure::TimedOut) {
            return Err(Parting::Lost(failure));
        }
        if failure.is_no_longer_his() {
            return Ok(Step::Gone);
        }
        let current = failure
            .current()
            .and_then(|name| serde_json::from_value::<Status>(Value::String(name.to_owned())).ok());
        Ok(match current {
            Some(current) if current == status => Step::Done,
            Some(current) if current.ended() || current == Status::Requested => Step::Gone,
            _ => {
                // Not to be asked again before the next position.
                if let Doing::Boarding { until, .. } = &mut self.doing {
                    *until = Instant::now() + Duration::from_secs(2);
                }
                Step::Later
            }
        })
    }

    /// Gives the trip back before the pickup: the server must find somebody else.
    async fn give_back(&mut self, job: Box<Job>) -> Result<(), Parting> {
        let (trip, me) = (job.trip, self.account.id);
        self.doing = Doing::Fetching { job, gives_back: None };
        let world = self.world.clone();
        let Ok(token) = self.account.token(&world).await else { return Ok(()) };
        // From the moment he asks, somebody else may have it.
        world.judge.left(me, trip);
        let ask = Ask::post("driver cancels", format!("/trips/{trip}/cancel"), &token);
        let body = json!({"reason": "vehicle_problem"});
        match world.api.post::<Value>(ask, &body).await {
            Ok(_) => {
                add(&world.stats.totals.driver_cancels);
                self.leave(trip);
            }
            Err(failure) if failure.is_no_longer_his() => self.leave(trip),
            Err(failure) => {
                self.mention(&failure);
                if !failure.passes() {
                    world.judge.accepted(me, trip);
                }
            }
        }
        Ok(())
    }

    /// A trip of which nothing was heard for long may have ended unheard.
    async fn ask_how_it_stands(&mut self) {
        let me = self.account.id;
        let Some(job) = self.doing.job() else { return };
        if job.heard.elapsed() < ASK_AFTER {
            return;
        }
        job.heard = Instant::now();
        let trip = job.trip;
        let is_gone = match self.view(trip).await {
            Ok(view) => view.status.ended() || view.driver_id != Some(me),
            Err(failure) => failure.is_no_longer_his(),
        };
        if is_gone {
            add(&self.world.stats.totals.polled);
            self.leave(trip);
        }
    }

    pub async fn view(&mut self, trip: Uuid) -> Result<TripView, Failure> {
        let world = self.world.clone();
        let token = self.account.token(&world).await?;
        world.api.get(Ask::get("trip", format!("/trips/{trip}"), &token)).await
    }
}

fn only_lost(parting: Parting) -> Result<(), Failure> {
    match parting {
        Parting::Lost(failure) => Err(failure),
        Parting::Over | Parting::Cut | Parting::Reconnect(_) => Ok(()),
    }
}
