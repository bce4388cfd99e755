//! REST, when a socket is not to be had: positions and bookings over plain requests.

use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until};

use super::Scale;
use super::crowd::{Cars, spread};
use super::nearby::go_offline;
use super::pairs::wish;
use super::town::{Api, Person, Town, timestamp};
use super::wire::Spot;
use crate::cpu::Cpu;
use crate::table::{Bound, Figure, Row, quantile};

/// About 30 m a message.
const STRIDE: i32 = 2700;
const POSITION_EVERY: Duration = Duration::from_secs(3);
/// A rider looks for a driver this long, then gives up and asks again.
const BOOK_EVERY: Duration = Duration::from_secs(6);
const GIVE_UP: Duration = Duration::from_secs(3);

/// What became of one kind of request.
#[derive(Default)]
struct Answers {
    ms: Vec<f64>,
    failed: u64,
    /// For the reader of a failed run.
    why: Option<String>,
}

type Shared = Mutex<Answers>;

pub(crate) async fn run(town: &mut Town, scale: &Scale) -> anyhow::Result<Vec<Row>> {
    let (drivers, riders) = (scale.pick(1000, 60), scale.pick(100, 10));
    eprintln!("rest: {drivers} drivers, {riders} riders");
    let (cars, length) = (Cars::new(drivers, STRIDE), scale.span(20, 7));
    let moving = town.drivers(drivers).await?;
    let asking = town.riders(riders).await?;
    town.restart().await?;
    for (car, driver) in moving.iter().enumerate() {
        let (lat, lng) = cars.spot(car, 0).degrees();
        let online = json!({"isOnline": true, "lat": lat, "lng": lng});
        town.api.must("/drivers/status", &driver.token, &online).await?;
    }
    let [mut p99, mut lost, mut p95, mut refused, mut cpu] = [const { Vec::new() }; 5];
    for run in 0..=scale.runs {
        let (positions, bookings) = (Shared::default(), Shared::default());
        let used = Cpu::of(town.pid())?;
        let begin = Instant::now();
        let times = Times { begin, end: begin + length };
        let report = moving
            .iter()
            .enumerate()
            .map(|(car, driver)| report(&town.api, driver, (&cars, car), times, &positions));
        let book = asking.iter().enumerate().map(|(number, rider)| {
            let from = cars.spot(number * drivers / riders, 7);
            book(&town.api, rider, (from, number), times, &bookings)
        });
        tokio::join!(join_all(report), join_all(book));
        let used = Cpu::of(town.pid())?.saturating_sub(used);
        let (positions, bookings) = (figures(positions, 0.99), figures(bookings, 0.95));
        // The first one warms up.
        if run > 0 {
            eprintln!("  positions {positions:?}, bookings {bookings:?}");
            p99.push(positions.0);
            lost.push(positions.1);
            p95.push(bookings.0);
            refused.push(bookings.1);
            cpu.push(used.as_secs_f64() / length.as_secs_f64() * 100.0);
        }
    }
    go_offline(town, 0..drivers).await?;
    let what = format!("REST: {drivers} drivers report every 3 s, p99");
    Ok(vec![
        Row::alone(what, Figure::new("ms", p99)).bound(Bound::Max(100.0)),
        Row::alone("REST: positions that failed", Figure::new("%", lost)).bound(Bound::Max(0.1)),
        Row::alone(format!("REST: {riders} riders book, p95"), Figure::new("ms", p95))
            .bound(Bound::Max(500.0)),
        Row::alone("REST: bookings that failed", Figure::new("%", refused)).bound(Bound::Max(1.0)),
        Row::alone("REST: CPU of the server, of one core", Figure::new("%", cpu)),
    ])
}

#[derive(Clone, Copy)]
struct Times {
    begin: Instant,
    end: Instant,
}

async fn report(
    api: &Api,
    driver: &Person,
    (cars, car): (&Cars, usize),
    times: Times,
    answers: &Shared,
) {
    let mut at = times.begin + POSITION_EVERY.mul_f64(spread(car));
    for moves in 0.. {
        if at >= times.end {
            return;
        }
        sleep_until(at).await;
        let body = position(cars.spot(car, moves));
        ask(api, "/location/update", &driver.token, &body, answers).await;
        at += POSITION_EVERY;
    }
}

async fn book(
    api: &Api,
    rider: &Person,
    (from, number): (Spot, usize),
    times: Times,
    answers: &Shared,
) {
    let mut at = times.begin + BOOK_EVERY.mul_f64(spread(number));
    for asked in 0.. {
        if at + GIVE_UP >= times.end {
            return;
        }
        sleep_until(at).await;
        // Another place each time: the same body again would be the same booking.
        let from = Spot { lng: from.lng + asked * 50, ..from };
        let booked = ask(api, "/trips/request", &rider.token, &wish(from), answers).await;
        sleep_until(at + GIVE_UP).await;
        if let Some(trip) = booked.as_ref().and_then(|data| data["tripId"].as_str()) {
            let path = format!("/trips/{trip}/cancel");
            let why = json!({"reason": "changed_mind"});
            let ended = api.must(&path, &rider.token, &why).await;
            if let Err(error) = ended.context("giving up") {
                note(answers, Err(format!("{error:#}")));
            }
        }
        at += BOOK_EVERY;
    }
}

/// One request with its clock; the data of a success.
async fn ask(api: &Api, path: &str, token: &str, body: &Value, answers: &Shared) -> Option<Value> {
    let asked = Instant::now();
    match api.must(path, token, body).await {
        Ok(data) => {
            note(answers, Ok(asked.elapsed()));
            Some(data)
        }
        Err(error) => {
            note(answers, Err(format!("{error:#}")));
            None
        }
    }
}

fn note(answers: &Shared, outcome: Result<Duration, String>) {
    let mut answers = answers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    match outcome {
        Ok(took) => answers.ms.push(took.as_secs_f64() * 1e3),
        Err(why) => {
            answers.failed += 1;
            answers.why.get_or_insert(why);
        }
    }
}

/// The quantile in milliseconds, and the share that failed in per cent.
fn figures(answers: Shared, share: f64) -> (f64, f64) {
    let Answers { mut ms, failed, why } =
        answers.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(why) = why {
        eprintln!("  {failed} failed, the first: {why}");
    }
    ms.sort_unstable_by(f64::total_cmp);
    let all = ms.len() as f64 + failed as f64;
    (quantile(&ms, share), failed as f64 / all * 100.0)
}

fn position(at: Spot) -> Value {
    let (lat, lng) = at.degrees();
    json!({"lat": lat, "lng": lng, "speed": 36, "timestamp": timestamp()})
}
