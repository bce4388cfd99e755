//! The actor on paused time, with a writer that answers as the test wants.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use base::{Clock, Fault, Millis};
use events::Once;
use ops::{Stopped, Tasks};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::{RIDER, T0, at_s, driver, state, trip};
use crate::actor::{Actor, Answer, Entry, Message, World};
use crate::effect::Effect;
use crate::event::{EventName, evolve};
use crate::model::{CancelReason, OfferOutcome, Party, Status, Trip};
use crate::refusal::{Refusal, TripError};
use crate::rules::Command;
use crate::writer::{Item, Looked, Outcome, Recorded, Work};

/// One actor and both its neighbours.
struct Scene {
    entry: Arc<Entry>,
    writes: mpsc::Receiver<Work>,
    effects: mpsc::Receiver<Effect>,
    tasks: Tasks,
    clock: Clock,
}

fn scene(begin: Trip) -> Scene {
    let started = Instant::now();
    scene_at(begin, Clock::custom(move || Millis(T0) + started.elapsed()))
}

fn scene_at(begin: Trip, clock: Clock) -> Scene {
    let tasks = Tasks::new();
    let (writer, writes) = mpsc::channel(8);
    let (tell, effects) = mpsc::channel(64);
    let world = World {
        pulse: Arc::default(),
        standbys: Arc::default(),
        clock: clock.clone(),
        writer,
        effects: tell,
        stopping: tasks.stopping(),
        deadline: Duration::from_secs(5),
    };
    let (actor, entry) = Actor::new(state(begin), world, 8);
    tasks.spawn("actor", async move {
        actor.run().await;
    });
    Scene { entry, writes, effects, tasks, clock }
}

fn record(item: &Item) -> Recorded {
    let event = item.record.event.clone();
    let trip = Arc::new(evolve(&item.before, &event));
    Recorded { trip, event: Arc::new(event), driver_balance: None }
}

impl Scene {
    fn send(&self, command: Command) -> oneshot::Receiver<Answer> {
        let (reply, answer) = oneshot::channel();
        self.entry
            .mailbox
            .try_send(Message::Do { command, once: Once::NONE, reply })
            .expect("there is room");
        answer
    }

    async fn does(&self, command: Command) -> Answer {
        self.send(command).await.expect("the actor answers")
    }

    async fn item(&mut self) -> Box<Item> {
        match self.writes.recv().await {
            Some(Work::Write(item)) => item,
            Some(Work::Look { .. }) | None => panic!("expected a write"),
        }
    }

    async fn stores(&mut self) {
        let item = self.item().await;
        let done = record(&item);
        item.reply.send(Outcome::Recorded(done)).ok();
    }

    async fn looked(&mut self, answer: Result<Option<Looked>, Fault>) {
        match self.writes.recv().await {
            Some(Work::Look { reply, .. }) => reply.send(answer).expect("the actor waits"),
            Some(Work::Write(_)) | None => panic!("expected a look"),
        }
    }

    /// Offers driver `n` the trip until `until_s`, and accepts it for him.
    async fn accepted(&mut self, n: u128) -> Arc<Trip> {
        self.does(offer(n, 15)).await.expect("a driver can be asked");
        let answer = self.send(Command::Accept { driver: driver(n) });
        self.stores().await;
        answer.await.expect("the actor answers").expect("the offer is open")
    }

    /// What was told, in short.
    fn told(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Ok(effect) = self.effects.try_recv() {
            told.push(match effect {
                Effect::Event { trip, event } => {
                    format!("{}#{}@{}", event.event, event.seq, trip.version)
                }
                Effect::NeedsDriver { .. } => "needs_driver".to_owned(),
                Effect::NeedsStandby { .. } => "needs_standby".to_owned(),
                Effect::StandbyOver { driver, .. } => {
                    format!("standby_over({})", driver.as_u128())
                }
                Effect::OfferEnded { driver, outcome, .. } => {
                    format!("offer({} {outcome})", driver.as_u128())
                }
                Effect::Bid { bid, stands, .. } => {
                    format!("bid({} {stands})", bid.driver.as_u128())
                }
                Effect::SearchOver { .. } => "search_over".to_owned(),
                Effect::Matched { driver, .. } => format!("matched({})", driver.as_u128()),
                Effect::Adopted { driver, .. } => format!("adopted({})", driver.as_u128()),
                Effect::DriverFreed { driver, how, .. } => {
                    format!("freed({} {how})", driver.as_u128())
                }
                Effect::Completed { .. } => "completed".to_owned(),
                Effect::Ended { .. } => "ended".to_owned(),
            });
        }
        told
    }
}

fn offer(n: u128, until_s: i64) -> Command {
    Command::Offer { driver: driver(n), until: at_s(until_s), round: 1 }
}

fn accept(n: u128) -> Command {
    Command::Accept { driver: driver(n) }
}

fn cancel() -> Command {
    Command::Cancel { by: Party::Rider(RIDER), reason: CancelReason::Other }
}

#[tokio::test(start_paused = true)]
async fn an_offer_ends_by_itself_at_its_deadline() {
    let mut scene = scene(trip());
    scene.does(offer(1, 15)).await.expect("a driver can be asked");
    scene.does(offer(2, 20)).await.expect("another too");
    match scene.effects.recv().await {
        Some(Effect::OfferEnded { driver: ended, outcome: OfferOutcome::Expired, .. }) => {
            assert_eq!((ended, scene.clock.now()), (driver(1), at_s(15)));
        }
        other => panic!("expected the offer's end, got {other:?}"),
    }
    assert_eq!(scene.entry.view.load().offers.len(), 1);
    assert!(matches!(scene.does(accept(1)).await, Err(TripError::Refused(Refusal::OfferExpired))));
}

#[tokio::test(start_paused = true)]
async fn no_timer_outlives_its_offer() {
    let mut scene = scene(trip());
    scene.accepted(1).await;
    assert_eq!(scene.told(), ["accepted#2@2", "offer(1 accepted)", "search_over", "matched(1)"]);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(scene.told(), Vec::<String>::new());
    assert!(scene.writes.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_trip_wakes_in_time_and_tries_again_when_refused() {
    let mut later = trip();
    later.status = Status::Scheduled;
    later.scheduled_at = Some(at_s(1800));
    let mut scene = scene(later);
    // The rider is still on another trip, twice.
    for second in 0..2 {
        let item = scene.item().await;
        assert_eq!(scene.clock.now(), at_s(900 + second));
        item.reply.send(Outcome::Refused(Refusal::TripInProgress)).expect("the actor waits");
    }
    scene.stores().await;
    assert!(matches!(scene.effects.recv().await, Some(Effect::Event { .. })));
    assert!(matches!(scene.effects.recv().await, Some(Effect::NeedsDriver { .. })));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_told_before_it_is_stored() {
    let mut scene = scene(trip());
    scene.does(offer(1, 15)).await.expect("a driver can be asked");
    let answer = scene.send(accept(1));
    let item = scene.item().await;
    assert_eq!(scene.told(), Vec::<String>::new());
    assert_eq!(scene.entry.view.load().trip.status, Status::Requested);
    item.reply.send(Outcome::Failed(Fault::unavailable("away"))).expect("the actor waits");
    assert!(matches!(answer.await.expect("answered"), Err(TripError::Fault(_))));
    assert_eq!(scene.told(), Vec::<String>::new());
    // Nothing happened: the offer still stands.
    assert_eq!(scene.accept_again().await.status, Status::Accepted);
}

impl Scene {
    async fn accept_again(&mut self) -> Arc<Trip> {
        let answer = self.send(accept(1));
        self.stores().await;
        answer.await.expect("answered").expect("the offer is open")
    }
}

#[tokio::test(start_paused = true)]
async fn a_driver_busy_elsewhere_loses_his_offer() {
    let mut scene = scene(trip());
    scene.does(offer(1, 15)).await.expect("a driver can be asked");
    let answer = scene.send(accept(1));
    let item = scene.item().await;
    item.reply.send(Outcome::Refused(Refusal::DriverBusy)).expect("the actor waits");
    let refused = answer.await.expect("answered");
    assert!(matches!(refused, Err(TripError::Refused(Refusal::DriverBusy))));
    assert_eq!(scene.told(), ["offer(1 lost)"]);
}

#[tokio::test(start_paused = true)]
async fn a_lost_commit_that_went_through_is_told_once() {
    let mut scene = scene(trip());
    scene.does(offer(1, 15)).await.expect("a driver can be asked");
    let answer = scene.send(accept(1));
    let item = scene.item().await;
    let Recorded { trip, event, .. } = record(&item);
    item.reply.send(Outcome::InDoubt).expect("the actor waits");
    scene.looked(Ok(Some(Looked { lease: 1, trip, event }))).await;
    assert_eq!(answer.await.expect("answered").expect("it was stored").status, Status::Accepted);
    assert_eq!(scene.told(), ["accepted#2@2", "offer(1 accepted)", "search_over", "matched(1)"]);
}

#[tokio::test(start_paused = true)]
async fn doubt_is_resolved_before_anything_else_happens() {
    let mut scene = scene(trip());
    scene.does(offer(1, 3600)).await.expect("a driver can be asked");
    let answer = scene.send(accept(1));
    let item = scene.item().await;
    let Recorded { trip, event, .. } = record(&item);
    item.reply.send(Outcome::InDoubt).expect("the actor waits");
    scene.looked(Err(Fault::unavailable("away"))).await;
    assert!(matches!(answer.await.expect("answered"), Err(TripError::Fault(_))));
    // The rider cancels meanwhile; first the trip finds out that it was accepted.
    let cancelled = scene.send(cancel());
    scene.looked(Ok(Some(Looked { lease: 1, trip, event }))).await;
    scene.stores().await;
    let ended = cancelled.await.expect("answered").expect("the rider may");
    assert_eq!(
        (ended.status, ended.version, ended.driver),
        (Status::Cancelled, 3, Some(driver(1)))
    );
}

#[tokio::test(start_paused = true)]
async fn a_trip_that_another_node_runs_is_let_go() {
    let mut scene = scene(trip());
    let answer = scene.send(cancel());
    let item = scene.item().await;
    let trip = item.before.clone();
    let Recorded { event, .. } = record(&item);
    item.reply.send(Outcome::InDoubt).expect("the actor waits");
    scene.looked(Ok(Some(Looked { lease: 2, trip, event }))).await;
    assert!(matches!(answer.await.expect("answered"), Err(TripError::Fault(_))));
    scene.entry.mailbox.closed().await;
    assert_eq!(scene.told(), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_still_waits_at_the_end_is_refused() {
    let mut scene = scene(trip());
    let ended = scene.send(cancel());
    let late = scene.send(cancel());
    scene.stores().await;
    assert_eq!(ended.await.expect("answered").expect("the rider may").status, Status::Cancelled);
    assert!(matches!(
        late.await.expect("answered"),
        Err(TripError::Refused(Refusal::InvalidTransition { current: Status::Cancelled }))
    ));
    assert_eq!(scene.told(), ["cancelled#2@2", "search_over", "ended"]);
}

#[tokio::test(start_paused = true)]
async fn a_timer_of_days_follows_a_clock_that_jumps() {
    let mut begin = trip();
    begin.status = Status::Scheduled;
    begin.scheduled_at = Some(at_s(2 * 86_400));
    let asleep = Arc::new(AtomicI64::new(0));
    let (started, jumped) = (Instant::now(), Arc::clone(&asleep));
    let slept = move || Duration::from_secs(jumped.load(Ordering::Relaxed).unsigned_abs());
    let mut scene =
        scene_at(begin, Clock::custom(move || Millis(T0) + started.elapsed() + slept()));
    // Between two rings nothing happens.
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(scene.writes.try_recv().is_err());
    // The machine sleeps for two days, of which a monotonic clock knows nothing.
    asleep.store(2 * 86_400 - 3600 - 600, Ordering::Relaxed);
    let written = tokio::time::timeout(Duration::from_secs(301), scene.item()).await;
    let event = written.expect("within five minutes").record.event.event;
    assert_eq!(event, EventName::Requested);
}

#[tokio::test(start_paused = true)]
async fn a_stopping_node_ends_its_actors() {
    let mut scene = scene(trip());
    scene.does(offer(1, 15)).await.expect("a driver can be asked");
    assert_eq!(scene.tasks.stop(Duration::from_secs(1)).await, Stopped::Clean);
    assert!(scene.entry.mailbox.is_closed());
    assert_eq!(scene.told(), Vec::<String>::new());
}
