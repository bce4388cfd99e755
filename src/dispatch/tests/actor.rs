//! The loop around the engine, on paused time: when it ticks, what it tells, what it records.

use std::sync::Arc;
use std::time::Duration;

use base::{Clock, DriverId, Millis, Point};
use ops::Tasks;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::city::{City, START, driver, search, seen, trip};
use crate::actor::{Desk, DispatchConfig};
use crate::eligibility::Standing;
use crate::model::{Effect, Outcome, Seen, View};
use crate::store::{OfferRecord, Records};

/// A city that changes while it is looked at, as the real one does.
struct Streets(Mutex<City>, Clock);

impl View for Streets {
    fn drivers(
        &self,
        at: Point,
        radius_m: f64,
        limit: usize,
        ahead: Duration,
        out: &mut Vec<Seen>,
    ) {
        let first = out.len();
        self.0.lock().drivers(at, radius_m, limit, ahead, out);
        for seen in &mut out[first..] {
            seen.heard = self.1.now();
        }
    }

    fn driver(&self, driver: DriverId, at: Point) -> Option<Seen> {
        let found = self.0.lock().driver(driver, at)?;
        Some(Seen { heard: self.1.now(), ..found })
    }

    fn eta_s(&self, from: Point, to: Point, now: Millis) -> u32 {
        self.0.lock().eta_s(from, to, now)
    }
}

struct Scene {
    desk: Desk,
    clock: Clock,
    streets: Arc<Streets>,
    effects: mpsc::Receiver<Effect>,
    offers: Arc<Mutex<Vec<OfferRecord>>>,
    lines: Arc<Mutex<usize>>,
    tasks: Tasks,
}

impl Scene {
    fn new(drivers: Vec<Seen>) -> Self {
        Self::with(drivers, DispatchConfig::default())
    }

    fn with(drivers: Vec<Seen>, config: DispatchConfig) -> Self {
        let began = tokio::time::Instant::now();
        let clock = Clock::custom(move || START + began.elapsed());
        let tasks = Tasks::new();
        let offers: Arc<Mutex<Vec<OfferRecord>>> = Arc::default();
        let lines: Arc<Mutex<usize>> = Arc::default();
        let (to_offers, to_lines) = (Arc::clone(&offers), Arc::clone(&lines));
        let records = Records::with(
            &tasks,
            move |batch: Arc<[OfferRecord]>| {
                to_offers.lock().extend(batch.iter().cloned());
                std::future::ready(Ok(()))
            },
            move |batch: Arc<[crate::Considered]>| {
                *to_lines.lock() += batch.len();
                std::future::ready(Ok(()))
            },
            |_| std::future::ready(Ok(())),
        );
        let streets = Arc::new(Streets(Mutex::new(City::new(drivers)), clock.clone()));
        let (send, effects) = mpsc::channel(64);
        let view: Arc<dyn View> = streets.clone();
        let desk = Desk::start(&tasks, clock.clone(), view, records, send, config);
        Self { desk, clock, streets, effects, offers, lines, tasks }
    }

    fn ask(&self, number: u128) {
        self.desk.search(search(number, self.clock.now()));
    }

    /// The next effect, in words, with the milliseconds since the start at which it came.
    async fn next(&mut self) -> String {
        let effect = self.effects.recv().await.expect("the loop runs");
        let words = match effect {
            Effect::Offers(plans) => {
                let drivers: Vec<String> =
                    plans.iter().map(|plan| plan.driver.as_u128().to_string()).collect();
                format!("{}: {}", plans[0].trip.as_u128(), drivers.join(" "))
            }
            Effect::NoDrivers { trip } => format!("{}: no drivers", trip.as_u128()),
            Effect::Lapsed { trip, driver } => {
                format!("{}: {} lapsed", trip.as_u128(), driver.as_u128())
            }
            Effect::Queued(news) => format!("{} in line", news.len()),
        };
        format!("{} {words}", self.clock.now().since(START))
    }
}

/// Lets everything that is ready run, without letting time pass.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_search_is_taken_up_at_once_and_not_at_the_next_tick() {
    let mut scene = Scene::new(vec![seen(1, 100.0)]);
    tokio::time::sleep(Duration::from_millis(300)).await;
    scene.ask(1);
    assert_eq!(scene.next().await, "300 1: 1");
}

#[tokio::test(start_paused = true)]
async fn an_arrival_wakes_the_search() {
    let mut scene = Scene::new(Vec::new());
    scene.ask(1);
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    scene.streets.0.lock().drivers.push(seen(4, 100.0));
    scene.desk.wake();
    assert_eq!(scene.next().await, "5500 1: 4");
}

#[tokio::test(start_paused = true)]
async fn without_a_call_the_tick_finds_the_arrival_within_a_second() {
    let mut scene = Scene::new(Vec::new());
    scene.ask(1);
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    scene.streets.0.lock().drivers.push(seen(4, 100.0));
    let found = scene.next().await;
    let (ms, words) = found.split_once(' ').expect("time and words");
    assert_eq!(words, "1: 4");
    assert!((5_500..=6_500).contains(&ms.parse::<i64>().expect("milliseconds")), "{found}");
}

#[tokio::test(start_paused = true)]
async fn calls_close_together_are_decided_together() {
    let mut scene = Scene::new((1..=10).map(|n| seen(n, n as f64 * 100.0)).collect());
    scene.ask(1);
    assert_eq!(scene.next().await, "0 1: 1 2 3 4 5");
    scene.ask(3);
    scene.ask(2);
    // Twenty milliseconds after the last tick, once for both, the older first.
    assert_eq!(scene.next().await, "20 2: 6 7 8 9 10");
    settle().await;
    assert!(scene.effects.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn the_search_goes_on_at_once_when_the_round_is_answered() {
    let mut scene = Scene::new((1..=6).map(|n| seen(n, n as f64 * 100.0)).collect());
    scene.ask(1);
    scene.next().await;
    tokio::time::sleep(Duration::from_millis(3_210)).await;
    for number in 1..=5 {
        scene.desk.offer_ended(trip(1), driver(number), Outcome::Declined);
    }
    assert_eq!(scene.next().await, "3210 1: 6");
}

#[tokio::test(start_paused = true)]
async fn an_empty_city_answers_no_drivers_after_sixty_seconds_until_stopped() {
    let mut scene = Scene::new(Vec::new());
    scene.ask(1);
    let first = scene.next().await;
    let (ms, words) = first.split_once(' ').expect("time and words");
    assert_eq!(words, "1: no drivers");
    assert!((60_000..62_000).contains(&ms.parse::<i64>().expect("milliseconds")), "{first}");
    assert!(scene.next().await.ends_with("1: no drivers"));
    scene.desk.stop(trip(1));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(scene.effects.try_recv().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_sweep_that_skips_an_overloaded_city_makes_its_tick_no_later() {
    let mut config = DispatchConfig::default();
    // A look each tick: eleven are left over, and the city is overloaded at once.
    config.rules.relief.budget = Duration::ZERO;
    let mut scene = Scene::with(Vec::new(), config);
    for number in 1..=12 {
        scene.ask(number);
    }
    settle().await;
    for number in 1..=12 {
        scene.desk.stop(trip(number));
    }
    // Its ticks are at 225 ms (it had left somebody over), and 900 ms after that.
    tokio::time::sleep(Duration::from_millis(900)).await;
    scene.streets.0.lock().drivers.push(seen(1, 100.0));
    scene.ask(20);
    assert_eq!(scene.next().await, "1125 20: 1");
}

#[tokio::test(start_paused = true)]
async fn a_full_channel_holds_the_loop_and_loses_nothing() {
    let mut scene = Scene::new((1..=200).map(|n| seen(n, n as f64 * 20.0)).collect());
    let asked = 100;
    for number in 1..=asked {
        scene.ask(number);
    }
    // Nobody takes effects for a while: the channel holds 64.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut trips = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let words = scene.next().await;
        assert!(trips.insert(words.split(' ').nth(1).map(str::to_owned)), "{words} twice");
    }
    assert_eq!(trips.len(), 40, "200 drivers are enough for 40 rounds of five");
}

#[tokio::test(start_paused = true)]
async fn offers_are_recorded_open_and_then_ended_in_order() {
    let mut scene = Scene::new((1..=2).map(|n| seen(n, n as f64 * 100.0)).collect());
    scene.ask(1);
    scene.next().await;
    scene.streets.0.lock().of(2).standing = Standing::Busy;
    scene.desk.offer_ended(trip(1), driver(2), Outcome::Accepted);
    scene.desk.offer_ended(trip(1), driver(1), Outcome::Revoked);
    scene.tasks.stop(Duration::from_secs(5)).await;
    let words: Vec<String> = scene.offers.lock().iter().map(OfferRecord::in_words).collect();
    assert_eq!(words, ["1 pending", "2 pending", "2 accepted", "1 revoked"]);
    assert_eq!(*scene.lines.lock(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_loop_ends_with_the_node() {
    let scene = Scene::new(vec![seen(1, 100.0)]);
    scene.ask(1);
    settle().await;
    assert_eq!(scene.tasks.stop(Duration::from_secs(5)).await, ops::Stopped::Clean);
}
