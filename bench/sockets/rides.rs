//! Trips that go through their events, and clients who follow them over sockets that may be cut.
//!
//! A follower knows the number of the last event of each trip and resumes behind it. Every number
//! is checked: the next one, nothing twice, nothing left out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::ensure;
use futures_util::{SinkExt, StreamExt};
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use super::crowd::spread;
use super::pairs::{advance, book};
use super::town::{Api, Person, Town};
use super::wire::{Dialect, Format, Socket, Spot};

/// Between two steps of a trip.
const PAUSE: Duration = Duration::from_millis(200);
/// The driver's rest after a trip, and a little more.
const REST: Duration = Duration::from_millis(1200);
/// How long the last events may take.
const LAST: Duration = Duration::from_secs(15);
const AGAIN: Duration = Duration::from_millis(50);
/// Connections that fail one after another before a follower gives up.
const TRIES: u32 = 200;
const NEWS: usize = 8;

/// What all followers saw.
#[derive(Default)]
pub(crate) struct Count {
    /// In order, each once.
    pub arrived: AtomicU64,
    pub twice: AtomicU64,
    pub missing: AtomicU64,
    pub snapshots: AtomicU64,
    pub cuts: AtomicU64,
    pub trips: AtomicU64,
}

fn add(counter: &AtomicU64, more: u64) {
    counter.fetch_add(more, Ordering::Relaxed);
}

/// Where the trips of a pair begin: too far from each other's and from everybody else for offers
/// to go astray, all within the city.
pub(crate) fn place(pair: usize) -> Spot {
    let (row, column) = ((pair / 5) as i32, (pair % 5) as i32);
    let lat = [298_000_000, 296_600_000, 302_800_000, 304_200_000][(row % 4) as usize];
    Spot { lat, lng: 309_500_000 + column * 1_500_000 }
}

/// Pairs of a driver and a rider, each with a socket that is cut every `cut`, on one trip after
/// another for so long.
pub(crate) async fn ride(
    town: &mut Town,
    first: usize,
    pairs: usize,
    (length, cut): (Duration, Option<Duration>),
) -> anyhow::Result<Arc<Count>> {
    let (drivers, riders) = (town.drivers(first + pairs).await?, town.riders(first + pairs).await?);
    let (count, end) = (Arc::new(Count::default()), Instant::now() + length);
    let mut tasks = tokio::task::JoinSet::new();
    for pair in 0..pairs {
        let (driver, rider) = (drivers[first + pair].clone(), riders[first + pair].clone());
        town.fund(&driver).await?;
        let follow = |person: &Person, side: usize| {
            let (tell, news) = mpsc::channel(NEWS);
            let (address, token) = (town.address.clone(), person.token.clone());
            let count = Arc::clone(&count);
            let phase = cut.map(|cut| cut.mul_f64(spread(2 * pair + side)));
            let trips = Vec::new();
            let follower = Follower { address, token, news, trips, cut, phase, count };
            (tell, tokio::spawn(follower.run()))
        };
        let ((tell_rider, rider_ends), (tell_driver, driver_ends)) =
            (follow(&rider, 0), follow(&driver, 1));
        let (api, count) = (town.api.clone(), Arc::clone(&count));
        tasks.spawn(async move {
            let tell = [tell_rider, tell_driver];
            let driven = drive(&api, (&driver, &rider), (place(pair), end), &tell, &count).await;
            drop(tell);
            rider_ends.await?;
            driver_ends.await?;
            driven
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(count)
}

async fn drive(
    api: &Api,
    (driver, rider): (&Person, &Person),
    (at, end): (Spot, Instant),
    tell: &[mpsc::Sender<String>],
    count: &Count,
) -> anyhow::Result<()> {
    while Instant::now() < end {
        let trip = book(api, driver, rider, at).await?;
        for follower in tell {
            follower.send(trip.clone()).await?;
        }
        for step in ["arrived", "started", "completed"] {
            sleep(PAUSE).await;
            advance(api, driver, &trip, step).await?;
        }
        add(&count.trips, 1);
        sleep(REST).await;
    }
    let home = serde_json::json!({"isOnline": false});
    api.must("/drivers/status", &driver.token, &home).await?;
    Ok(())
}

struct Follower {
    address: String,
    token: String,
    news: mpsc::Receiver<String>,
    trips: Vec<Followed>,
    /// How long a connection lasts.
    cut: Option<Duration>,
    /// How long the first one lasts, so that not all are cut at once.
    phase: Option<Duration>,
    count: Arc<Count>,
}

struct Followed {
    trip: String,
    last: u64,
}

/// Why a connection is over.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Cut,
    /// Nothing more will be told, or not in time.
    Done,
}

#[derive(Deserialize)]
struct Frame<'a> {
    r#type: &'a str,
    room: Option<&'a str>,
    id: Option<&'a str>,
    seq: Option<u64>,
    data: Option<Event<'a>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    event: Option<&'a str>,
}

impl Follower {
    async fn run(mut self) {
        let mut refused = 0;
        while refused < TRIES {
            let opened = Dialect::SmartLine.open(&self.address, &self.token, Format::Binary).await;
            let Ok(mut socket) = opened else {
                refused += 1;
                sleep(AGAIN).await;
                continue;
            };
            let life = self.phase.take().or(self.cut).unwrap_or(Duration::MAX / 4);
            match self.connected(&mut socket, life).await {
                Ok(Over::Done) => break,
                Ok(Over::Cut) => {
                    refused = 0;
                    add(&self.count.cuts, 1);
                    // A reset, as when the network is gone: no goodbye, nothing more is sent.
                    let _gone = socket.get_ref().set_zero_linger();
                }
                // Ended by the server or by the last reset: come back.
                Err(_) => {
                    refused += 1;
                    sleep(AGAIN).await;
                }
            }
        }
        // Trips whose last event never came.
        add(&self.count.missing, self.trips.len() as u64);
    }

    async fn connected(&mut self, socket: &mut Socket, life: Duration) -> anyhow::Result<Over> {
        for followed in &self.trips {
            subscribe(socket, followed).await?;
        }
        let cut = sleep(life.min(Duration::from_secs(24 * 3600)));
        tokio::pin!(cut);
        let mut open = !self.news.is_closed() || !self.news.is_empty();
        let far = Instant::now() + Duration::from_secs(24 * 3600);
        loop {
            if !open && self.trips.is_empty() {
                return Ok(Over::Done);
            }
            let late = if open { far } else { Instant::now() + LAST };
            tokio::select! {
                () = &mut cut => return Ok(Over::Cut),
                () = sleep_until(late) => return Ok(Over::Done),
                trip = self.news.recv(), if open => match trip {
                    Some(trip) => {
                        let followed = Followed { trip, last: 0 };
                        subscribe(socket, &followed).await?;
                        self.trips.push(followed);
                    }
                    None => open = false,
                },
                message = socket.next() => {
                    let Some(message) = message else { return Ok(Over::Cut) };
                    if let Message::Text(text) = message? {
                        self.take(socket, &text).await?;
                    }
                }
            }
        }
    }

    async fn take(&mut self, socket: &mut Socket, text: &str) -> anyhow::Result<()> {
        let Ok(frame) = serde_json::from_str::<Frame<'_>>(text) else { return Ok(()) };
        if frame.r#type == "error" {
            // Not his trip yet: the driver's acceptance is being carried out.
            let asked = self.trips.iter().find(|known| Some(known.trip.as_str()) == frame.id);
            ensure!(asked.is_some(), "SmartLine refused: {text}");
            sleep(AGAIN).await;
            if let Some(followed) = asked {
                subscribe(socket, followed).await?;
            }
            return Ok(());
        }
        let trip = frame.room.and_then(|room| room.strip_prefix("trip:"));
        let place = self.trips.iter().position(|known| Some(known.trip.as_str()) == trip);
        let (Some(seq), Some(place)) = (frame.seq, place) else { return Ok(()) };
        if frame.r#type == "snapshot" {
            add(&self.count.snapshots, 1);
        }
        if frame.r#type != "trip.event" {
            return Ok(());
        }
        let followed = &mut self.trips[place];
        if seq <= followed.last {
            add(&self.count.twice, 1);
            return Ok(());
        }
        add(&self.count.missing, seq - followed.last - 1);
        add(&self.count.arrived, 1);
        followed.last = seq;
        if frame.data.and_then(|data| data.event) == Some("completed") {
            self.trips.swap_remove(place);
        }
        Ok(())
    }
}

async fn subscribe(socket: &mut Socket, followed: &Followed) -> anyhow::Result<()> {
    let Followed { trip, last } = followed;
    let text = format!(
        r#"{{"type":"trip.subscribe","id":"{trip}","data":{{"tripId":"{trip}","afterSeq":{last}}}}}"#
    );
    Ok(socket.send(Message::text(text)).await?)
}
