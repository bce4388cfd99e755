//! The one owner of a live trip: take a command, decide, record, then tell.
//!
//! Owns the trip's state, its offers and its timers (computed from stored deadlines, one pending at
//! most). Does no SQL: records go to the group writer.
//!
//! Guarantees:
//! - nothing changes and nobody is told before the record is safe;
//! - a record whose fate is unknown is looked up before anything else happens to the trip;
//! - after the trip's end every command that still waits is answered.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base::{Clock, DriverId, Fault, Piasters};
use events::Once;
use metrics::counter;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::effect::Effect;
use crate::event::TripEvent;
use crate::model::{CancelReason, Party, Status, Trip};
use crate::offers::Lease;
use crate::pins::PinGuard;
use crate::pulse::Pulse;
use crate::refusal::{Refusal, TripError};
use crate::rules::{self, Command, Record, State, Step, Tell};
use crate::standbys::Standbys;
use crate::writer::{Item, Looked, Outcome, Recorded, Work};

/// How long a timer that could not do its work waits before it tries again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// A timer of days follows a clock that was set, or that went on while the machine slept, at the
/// latest after this.
const LONGEST_SLEEP: Duration = Duration::from_secs(5 * 60);

/// What a command is answered with.
pub(crate) type Answer = Result<Arc<Trip>, TripError>;

/// What may be put into a trip's mailbox.
pub(crate) enum Message {
    Do {
        command: Command,
        once: Once,
        reply: oneshot::Sender<Answer>,
    },
    /// Another actor has the trip.
    Retire,
}

/// What others may read of a live trip without asking it.
pub(crate) struct View {
    pub(crate) trip: Arc<Trip>,
    pub(crate) offers: Vec<Lease>,
    /// Who would come should the driver not.
    pub(crate) standby: Option<DriverId>,
}

impl View {
    fn of(state: &State) -> Self {
        let State { trip, offers, standby, .. } = state;
        Self { trip: trip.clone(), offers: offers.clone(), standby: *standby }
    }
}

/// A live trip's address: its mailbox and its newest snapshot.
pub(crate) struct Entry {
    pub(crate) mailbox: mpsc::Sender<Message>,
    pub(crate) view: ArcSwap<View>,
}

/// What an actor needs of its node.
#[derive(Clone)]
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) writer: mpsc::Sender<Work>,
    pub(crate) effects: mpsc::Sender<Effect>,
    pub(crate) stopping: CancellationToken,
    pub(crate) pulse: Arc<Pulse>,
    pub(crate) standbys: Arc<Standbys>,
    /// How long a record may wait for its commit.
    pub(crate) deadline: Duration,
}

/// Why an actor ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// The trip has reached its end.
    Over,
    /// The node stops.
    Stopped,
    /// Another node runs the trip now.
    LostLease,
}

pub(crate) struct Actor {
    state: State,
    world: World,
    entry: Arc<Entry>,
    mailbox: mpsc::Receiver<Message>,
    /// A step whose commit has an unknown result.
    doubt: Option<Step>,
    gone: Option<Gone>,
    pins: PinGuard,
    /// The last timer failed: the next one is not at once.
    troubled: bool,
}

/// What became of a step in doubt.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Committed,
    NotCommitted,
}

impl Actor {
    /// An actor and the address under which it is reached.
    pub(crate) fn new(state: State, world: World, mailbox: usize) -> (Self, Arc<Entry>) {
        let (send, receive) = mpsc::channel(mailbox);
        let view = ArcSwap::from_pointee(View::of(&state));
        let entry = Arc::new(Entry { mailbox: send, view });
        let actor = Self {
            state,
            world,
            entry: entry.clone(),
            mailbox: receive,
            doubt: None,
            gone: None,
            pins: PinGuard::default(),
            troubled: false,
        };
        (actor, entry)
    }

    /// Lives as long as its trip, or until the node stops.
    pub(crate) async fn run(mut self) -> Gone {
        let stopping = self.world.stopping.clone();
        loop {
            if let Some(gone) = self.gone {
                self.refuse_the_rest(gone);
                return gone;
            }
            let ring = self.next_ring();
            tokio::select! {
                biased;
                () = stopping.cancelled() => self.gone = Some(Gone::Stopped),
                // Before the mailbox, so that a flood of commands keeps no dead offer alive.
                () = tokio::time::sleep(ring.unwrap_or_default()), if ring.is_some() => {
                    self.on_timer().await;
                }
                message = self.mailbox.recv() => match message {
                    Some(Message::Do { command, once, reply }) => {
                        let answer = self.handle(&command, once).await;
                        reply.send(answer).ok();
                    }
                    Some(Message::Retire) => self.gone = Some(Gone::LostLease),
                    None => self.gone = Some(Gone::Stopped),
                },
            }
        }
    }

    /// Time until something is due by itself; of a long one a part, after which nothing happens.
    fn next_ring(&self) -> Option<Duration> {
        if self.doubt.is_some() {
            return Some(TRY_AGAIN);
        }
        let due = self.state.due()?.after(self.world.clock.now()).min(LONGEST_SLEEP);
        Some(if self.troubled { due.max(TRY_AGAIN) } else { due })
    }

    async fn on_timer(&mut self) {
        let result = if self.doubt.is_some() {
            self.resolve().await.map(|_| ())
        } else {
            self.on_time().await
        };
        self.troubled = result.is_err();
        if let Err(problem) = result {
            warn!(trip.id = %self.state.trip.id, "a trip's timer has to try again: {problem}");
        }
    }

    async fn on_time(&mut self) -> Result<(), TripError> {
        let done = self.handle(&self.state.on_time(), Once::NONE).await;
        let Err(TripError::Refused(Refusal::Unfunded { .. })) = done else {
            return done.map(|_| ());
        };
        // Nobody is sent to a rider who can't pay.
        let (by, reason) = (Party::System, CancelReason::NotCovered);
        self.handle(&Command::Cancel { by, reason }, Once::NONE).await.map(|_| ())
    }

    async fn handle(&mut self, command: &Command, once: Once) -> Answer {
        if self.doubt.is_some() {
            self.resolve().await?;
        }
        let now = self.world.clock.now();
        self.pins.admit(command, now)?;
        let step = rules::step(&self.state, command, now);
        let mut step = step.inspect_err(|refusal| {
            counter!("smartline_trip_refusals_total").increment(1);
            self.pins.note(refusal, now);
        })?;
        let Some(record) = step.record.take() else {
            self.take(step.next);
            self.tell(&step.tells, None).await;
            return Ok(self.state.trip.clone());
        };
        match self.write(record.clone(), once).await? {
            Outcome::Recorded(done) => Ok(self.settle(step, done).await),
            Outcome::Refused(refusal) => {
                self.on_refused(command, refusal).await;
                Err(refusal.into())
            }
            Outcome::Failed(fault) => Err(fault.into()),
            Outcome::InDoubt => {
                step.record = Some(record);
                self.doubt = Some(step);
                match self.resolve().await? {
                    Fate::Committed => Ok(self.state.trip.clone()),
                    Fate::NotCommitted => {
                        Err(Fault::unavailable("the change was not stored").into())
                    }
                }
            }
        }
    }

    async fn write(&self, record: Record, once: Once) -> Result<Outcome, TripError> {
        let (reply, answer) = oneshot::channel();
        let item = Item {
            before: self.state.trip.clone(),
            record,
            once,
            give_up: Instant::now() + self.world.deadline,
            reply,
        };
        self.submit(Work::Write(Box::new(item)))?;
        // A writer that vanished may have committed: only the row knows.
        Ok(answer.await.unwrap_or(Outcome::InDoubt))
    }

    fn submit(&self, work: Work) -> Result<(), TripError> {
        self.world.writer.try_send(work).map_err(|refused| match refused {
            TrySendError::Full(_) => TripError::Overloaded("the writer's queue is full"),
            TrySendError::Closed(_) => Fault::unavailable("the node is stopping").into(),
        })
    }

    /// Takes the recorded step as the trip's state and tells the world.
    async fn settle(&mut self, step: Step, done: Recorded) -> Arc<Trip> {
        counter!("smartline_trip_transitions_total", "event" => done.event.event.name())
            .increment(1);
        self.world.pulse.felt(&done.trip, done.event.event, self.world.clock.now());
        let mut next = step.next;
        // The settlement may have made `failed` of `paid`: the row is right, not the plan.
        next.trip = done.trip.clone();
        self.take(next);
        self.tell(&step.tells, Some(&done)).await;
        if !done.trip.status.is_live() {
            self.gone = Some(Gone::Over);
        }
        done.trip
    }

    fn take(&mut self, next: State) {
        self.world.standbys.moved(next.trip.id, self.state.standby, next.standby);
        self.state = next;
        self.entry.view.store(Arc::new(View::of(&self.state)));
    }

    /// The database knows better than memory: the driver is on another trip, his offer ends.
    async fn on_refused(&mut self, command: &Command, refusal: Refusal) {
        let driver = match command {
            Command::Accept { driver } | Command::AcceptNext { driver, .. } => Some(*driver),
            Command::PickBid { offer, .. } => {
                self.state.bids().find(|bid| bid.offer == *offer).map(|bid| bid.driver)
            }
            _ => None,
        };
        let (Refusal::DriverBusy, Some(driver)) = (refusal, driver) else { return };
        let withdraw = Command::Withdraw { driver };
        if let Ok(step) = rules::step(&self.state, &withdraw, self.world.clock.now()) {
            self.take(step.next);
            self.tell(&step.tells, None).await;
        }
    }

    /// Finds out what became of the step in doubt. Nothing else happens to the trip before that.
    async fn resolve(&mut self) -> Result<Fate, TripError> {
        let Some(step) = self.doubt.take() else { return Ok(Fate::NotCommitted) };
        let looked = match self.look().await {
            Ok(looked) => looked,
            Err(problem) => {
                self.doubt = Some(step);
                return Err(problem);
            }
        };
        let seq = step.record.as_ref().map(|record| record.event.seq);
        match looked {
            Some(Looked { lease, .. }) if lease != self.state.trip.epoch => {}
            Some(Looked { trip, .. }) if trip.version == self.state.trip.version => {
                return Ok(Fate::NotCommitted);
            }
            Some(Looked { trip, event, .. }) if Some(trip.version) == seq => {
                let done = Recorded { trip, event, driver_balance: None };
                self.settle(step, done).await;
                return Ok(Fate::Committed);
            }
            Some(_) | None => {
                error!(trip.id = %self.state.trip.id, "a trip moved without its owner")
            }
        }
        self.gone = Some(Gone::LostLease);
        Err(Fault::unavailable("another node runs the trip").into())
    }

    async fn look(&self) -> Result<Option<Looked>, TripError> {
        let (reply, answer) = oneshot::channel();
        self.submit(Work::Look { trip: self.state.trip.id, reply })?;
        let looked = answer.await.map_err(|_| Fault::unavailable("the writer has ended"))?;
        Ok(looked?)
    }

    async fn tell(&self, tells: &[Tell], done: Option<&Recorded>) {
        let balance = done.and_then(|done| done.driver_balance);
        let event = done.map(|done| done.event.clone());
        for tell in tells {
            let Some(effect) = self.effect(*tell, event.as_ref(), balance) else { continue };
            tokio::select! {
                biased;
                sent = self.world.effects.send(effect) => { sent.ok(); }
                // Nobody may be left to read; whoever resumes reads the stored events.
                () = self.world.stopping.cancelled() => return,
            }
        }
    }

    fn effect(
        &self,
        tell: Tell,
        event: Option<&Arc<TripEvent>>,
        driver_balance: Option<Piasters>,
    ) -> Option<Effect> {
        let trip = self.state.trip.clone();
        Some(match tell {
            Tell::Event => Effect::Event { trip, event: event?.clone() },
            Tell::NeedsDriver => Effect::NeedsDriver { trip, first: self.state.standby },
            Tell::NeedsStandby => Effect::NeedsStandby { trip },
            Tell::StandbyOver { driver } => Effect::StandbyOver { trip: trip.id, driver },
            Tell::OfferEnded { driver, outcome } => {
                // Until it is searched again, a trip ahead that has a driver asks for nothing else.
                let to_stand_by = trip.status == Status::Accepted && trip.scheduled_at.is_some();
                Effect::OfferEnded { trip: trip.id, driver, outcome, to_stand_by }
            }
            Tell::Bid { bid, stands } => Effect::Bid { trip, bid, stands },
            Tell::SearchOver => Effect::SearchOver { trip: trip.id },
            Tell::Matched { driver } => Effect::Matched { trip, driver },
            Tell::DriverFreed { driver, how } => Effect::DriverFreed { trip, driver, how },
            Tell::Completed => Effect::Completed { trip, driver_balance },
            Tell::Ended => Effect::Ended { trip, driver_balance },
        })
    }

    /// Answers what came too late.
    fn refuse_the_rest(&mut self, gone: Gone) {
        self.mailbox.close();
        while let Ok(message) = self.mailbox.try_recv() {
            let Message::Do { command, reply, .. } = message else { continue };
            let answer = match gone {
                Gone::Over => rules::step(&self.state, &command, self.world.clock.now())
                    .map(|step| step.next.trip)
                    .map_err(TripError::from),
                Gone::Stopped => Err(Fault::unavailable("the node is stopping").into()),
                Gone::LostLease => Err(Fault::unavailable("another node runs the trip").into()),
            };
            reply.send(answer).ok();
        }
    }
}
