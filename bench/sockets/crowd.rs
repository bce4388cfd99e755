//! Drivers who send at a pace and whoever hears of it, each a task with a socket of its own.
//!
//! The same code drives every server. Sends are spread over the pace, and what comes is matched
//! with the moment it was sent by the place it names.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use futures_util::{SinkExt, StreamExt};
use tokio::sync::{Mutex as AsyncMutex, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant as Tick, sleep};
use tokio_tungstenite::tungstenite::Message;

use super::town::now_ms;
use super::wire::{Dialect, Socket, Spot};

/// South-west corner of where the cars are.
const CORNER: Spot = Spot { lat: 300_300_000, lng: 312_200_000 };
/// Cars drive north and south on roads of their own, about 4 m apart.
const ROAD: i32 = 416;
/// How far south to north their starts are spread, about 4 km.
const SPREAD: f64 = 360_000.0;
/// Places on a road.
const STEPS: usize = 64;
/// What is under way when a window closes may still arrive.
const SETTLE: Duration = Duration::from_millis(300);

/// Where cars are, and when they said so.
pub(crate) struct Cars {
    /// Ten-millionths of a degree between two places of a road.
    stride: i32,
    began: Instant,
    /// Nanoseconds since `began`, by car and place; 0 for never.
    sent: Vec<AtomicU64>,
}

impl Cars {
    pub fn new(count: usize, stride: i32) -> Self {
        let sent = (0..count * STEPS).map(|_| AtomicU64::new(0)).collect();
        Self { stride, began: Instant::now(), sent }
    }

    /// Where a car is after so many moves: up its road and down again.
    pub fn spot(&self, car: usize, moves: usize) -> Spot {
        let turn = moves % (2 * STEPS);
        let place = turn.min(2 * STEPS - 1 - turn) as i32;
        Spot { lat: start(car) + place * self.stride, lng: CORNER.lng + car as i32 * ROAD }
    }

    /// Where the moment of this place is kept.
    fn slot(&self, spot: Spot) -> Option<usize> {
        let east = spot.lng - CORNER.lng;
        let car = usize::try_from(east / ROAD).ok().filter(|_| east % ROAD == 0)?;
        let north = spot.lat - start(car);
        let place = usize::try_from(north / self.stride).ok()?;
        let slot = car * STEPS + place;
        (north % self.stride == 0 && place < STEPS && slot < self.sent.len()).then_some(slot)
    }

    fn note(&self, spot: Spot) {
        if let Some(slot) = self.slot(spot) {
            self.sent[slot].store(self.began.elapsed().as_nanos() as u64, Ordering::Relaxed);
        }
    }

    /// How long ago the car was there.
    fn lag(&self, spot: Spot) -> Option<Duration> {
        let sent = self.sent[self.slot(spot)?].load(Ordering::Relaxed);
        (sent > 0).then(|| self.began.elapsed().saturating_sub(Duration::from_nanos(sent)))
    }
}

fn start(car: usize) -> i32 {
    CORNER.lat + (spread(car) * SPREAD) as i32
}

/// Numbers spread evenly over 0 to 1, the same in every run: multiples of the golden ratio.
pub(crate) fn spread(number: usize) -> f64 {
    (number as f64 * 0.618_033_988_749_895).fract()
}

/// What arrived in the window that is open.
#[derive(Default)]
struct Tally {
    open: AtomicBool,
    sent: AtomicU64,
    /// Milliseconds.
    lags: Mutex<Vec<f64>>,
    /// Sockets that ended by themselves, and why the first did.
    lost: Mutex<(u64, String)>,
}

impl Tally {
    fn add(&self, ms: &[f64]) {
        self.lags.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(ms);
    }

    fn take(&self) -> Vec<f64> {
        std::mem::take(&mut *self.lags.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// When to send.
#[derive(Clone, Copy)]
struct Beat {
    from: Tick,
    every: Duration,
    until: Tick,
}

/// What a window showed.
pub(crate) struct Window {
    pub sent: u64,
    pub cpu: Duration,
    /// Milliseconds from send to receipt, sorted; one per delivered position.
    pub lags: Vec<f64>,
}

impl Window {
    /// CPU microseconds per delivered position.
    pub fn cost(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.lags.len() as f64
    }

    pub fn lag(&self, share: f64) -> f64 {
        crate::table::quantile(&self.lags, share)
    }
}

pub(crate) struct Crowd {
    dialect: Dialect,
    pub cars: Arc<Cars>,
    tally: Arc<Tally>,
    beat: watch::Sender<Option<Beat>>,
    /// Ended with the crowd.
    tasks: AsyncMutex<JoinSet<()>>,
}

impl Crowd {
    pub fn new(dialect: Dialect, cars: Cars) -> Self {
        let (beat, _) = watch::channel(None);
        let (cars, tally) = (Arc::new(cars), Arc::default());
        Self { dialect, cars, tally, beat, tasks: AsyncMutex::default() }
    }

    /// A driver with a socket; he also hears what comes down on it.
    pub async fn driver(&self, socket: Socket, car: usize, trip: &str) {
        let (ear, beat) = (self.ear(), self.beat.subscribe());
        let driver = Driver { car, trip: trip.to_owned(), moves: 0, cars: Arc::clone(&self.cars) };
        self.tasks.lock().await.spawn(driver.drive(socket, ear, beat));
    }

    /// Somebody who only listens.
    pub async fn listener(&self, mut socket: Socket) {
        let ear = self.ear();
        self.tasks
            .lock()
            .await
            .spawn(async move { while ear.hear(&mut socket).await.is_some() {} });
    }

    /// Whether all sockets are still open.
    pub fn check(&self) -> anyhow::Result<()> {
        let lost = self.tally.lost.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, why) = &*lost;
        ensure!(*count == 0, "{count} sockets of {:?} were lost, the first: {why}", self.dialect);
        Ok(())
    }

    fn ear(&self) -> Ear {
        let (cars, tally) = (Arc::clone(&self.cars), Arc::clone(&self.tally));
        Ear { dialect: self.dialect, cars, tally }
    }

    /// Sends at a pace for a while and counts what arrives; `cpu` reads the server's clock.
    pub async fn window(
        &self,
        every: Duration,
        length: Duration,
        cpu: impl Fn() -> anyhow::Result<Duration>,
    ) -> anyhow::Result<Window> {
        self.check()?;
        let _before = self.tally.take();
        self.tally.sent.store(0, Ordering::Relaxed);
        self.tally.open.store(true, Ordering::Relaxed);
        let used = cpu()?;
        let from = Tick::now();
        let beat = Beat { from, every, until: from + length };
        self.beat.send_replace(Some(beat));
        sleep(length + SETTLE).await;
        let cpu = cpu()?.saturating_sub(used);
        self.tally.open.store(false, Ordering::Relaxed);
        let mut lags = self.tally.take();
        lags.sort_unstable_by(f64::total_cmp);
        self.check()?;
        Ok(Window { sent: self.tally.sent.load(Ordering::Relaxed), cpu, lags })
    }
}

/// The receiving side of a socket.
struct Ear {
    dialect: Dialect,
    cars: Arc<Cars>,
    tally: Arc<Tally>,
}

impl Ear {
    /// The next frame; none when the socket is gone.
    async fn hear(&self, socket: &mut Socket) -> Option<()> {
        let message = match socket.next().await {
            Some(Ok(Message::Close(why))) => return self.lose(&format!("{why:?}")),
            Some(Ok(message)) => message,
            Some(Err(error)) => return self.lose(&error.to_string()),
            None => return self.lose("the connection ended"),
        };
        let open = self.tally.open.load(Ordering::Relaxed);
        let mut lags = [0.0; 32];
        let mut count = 0;
        let answer = self.dialect.read(&message, &mut |spot| {
            let Some(lag) = self.cars.lag(spot).filter(|_| open) else { return };
            lags[count] = lag.as_secs_f64() * 1e3;
            count += 1;
            if count == lags.len() {
                self.tally.add(&lags);
                count = 0;
            }
        });
        if count > 0 {
            self.tally.add(&lags[..count]);
        }
        if let Some(answer) = answer {
            socket.send(answer).await.ok()?;
        }
        Some(())
    }
}

impl Ear {
    fn lose(&self, why: &str) -> Option<()> {
        let mut lost = self.tally.lost.lock().unwrap_or_else(PoisonError::into_inner);
        if lost.0 == 0 {
            why.clone_into(&mut lost.1);
        }
        lost.0 += 1;
        None
    }
}

struct Driver {
    car: usize,
    trip: String,
    moves: usize,
    cars: Arc<Cars>,
}

impl Driver {
    async fn drive(
        mut self,
        mut socket: Socket,
        ear: Ear,
        mut beat: watch::Receiver<Option<Beat>>,
    ) {
        let far = Duration::from_secs(24 * 3600);
        let (mut pace, timer) = (None::<Beat>, sleep(far));
        tokio::pin!(timer);
        loop {
            tokio::select! {
                heard = ear.hear(&mut socket) => if heard.is_none() { return },
                changed = beat.changed() => {
                    if changed.is_err() { return }
                    pace = *beat.borrow_and_update();
                    if let Some(beat) = pace {
                        timer.as_mut().reset(beat.from + beat.every.mul_f64(spread(self.car)));
                    }
                }
                () = &mut timer => match pace.filter(|beat| timer.deadline() < beat.until) {
                    Some(beat) => {
                        if self.send(&mut socket, &ear).await.is_none() { return }
                        let next = timer.deadline() + beat.every;
                        timer.as_mut().reset(next);
                    }
                    None => timer.as_mut().reset(Tick::now() + far),
                },
            }
        }
    }

    async fn send(&mut self, socket: &mut Socket, ear: &Ear) -> Option<()> {
        let spot = self.cars.spot(self.car, self.moves);
        self.moves += 1;
        let message = ear.dialect.position(spot, now_ms(), self.car, &self.trip);
        self.cars.note(spot);
        ear.tally.sent.fetch_add(1, Ordering::Relaxed);
        socket.send(message).await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_names_its_car_and_moves_are_small() {
        let cars = Cars::new(50, 90);
        for car in [0, 7, 49] {
            for moves in 0..300 {
                let (here, next) = (cars.spot(car, moves), cars.spot(car, moves + 1));
                assert!((here.lat - next.lat).abs() <= 90);
                assert_eq!(cars.slot(here).map(|slot| slot / STEPS), Some(car));
            }
        }
        assert!(cars.slot(Spot { lat: 0, lng: 0 }).is_none());
    }
}
