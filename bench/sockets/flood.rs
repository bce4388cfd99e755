//! One client floods the server, limits on as a deployment has them: what do the others feel, and
//! what does it cost the server in memory?
//!
//! The others are drivers whose riders follow them over sockets, and riders who look for cars, ask
//! for prices and book over REST; the attacker has an address of its own. Each stretch is measured
//! beside a quiet one just before. Once a run a neighbour floods nobody but is as busy: at the
//! lowest priority he, too, takes all that is left of the machine.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use futures_util::future::join_all;
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::time::{Instant, sleep, sleep_until};

use super::Scale;
use super::attack::{self, Flood, Report};
use super::crowd::{Crowd, spread};
use super::pairs::{Pairs, wish};
use super::town::{Api, Limits, Person, Town};
use super::wire::{Format, Spot};
use crate::cpu::{Cpu, resident};
use crate::table::{Bound, Figure, Row, median, quantile};

const POSITION_EVERY: Duration = Duration::from_millis(500);
const LOOK_EVERY: Duration = Duration::from_secs(2);
const PRICE_EVERY: Duration = Duration::from_secs(4);
/// A rider looks for a driver this long, then gives up.
const GIVE_UP: Duration = Duration::from_secs(1);
const SAMPLE: Duration = Duration::from_millis(50);
/// Accounts of the attacker.
const STOLEN: usize = 100;
/// After a flood: what it held is given up, what the server kept of it is gone.
const REST: Duration = Duration::from_secs(3);
/// Tokens live for 15 minutes, and nobody renews them here.
const RUNS: u32 = 3;
/// p99 beside a flood, over quiet.
const TIMES: f64 = 2.0;
/// What a flood may add to the server's memory, MiB.
const GROWTH: f64 = 64.0;

/// Who lives in the town beside the attacker.
struct Others {
    crowd: Crowd,
    riders: Vec<Person>,
    length: Duration,
    stretches: usize,
}

/// What the others felt in one stretch.
#[derive(Clone, Copy)]
struct Felt {
    /// p99 from driver to rider, and of REST, milliseconds.
    relay: f64,
    rest: f64,
    /// Memory of the server, MiB: in the middle, and at most.
    usual: f64,
    most: f64,
}

/// One kind of flood in one run.
struct Taken {
    quiet: Felt,
    beside: Felt,
    sent: Report,
}

pub(crate) async fn run(town: &mut Town, scale: &Scale) -> anyhow::Result<Vec<Row>> {
    let (pairs, asking) = (scale.pick(50, 10), scale.pick(100, 20));
    eprintln!("flood: {pairs} trips, {asking} riders who ask");
    town.drivers(pairs).await?;
    town.riders(pairs + asking + STOLEN).await?;
    town.restart().await?;
    let trips = Pairs::book(town, 0, pairs).await?;
    let riders = town.riders(pairs + asking + STOLEN).await?;
    let stolen: Vec<_> = riders[pairs + asking..].iter().map(|r| r.token.as_str()).collect();
    let tokens = NamedTempFile::new()?;
    std::fs::write(tokens.path(), stolen.join("\n"))?;
    town.restart_with(Limits::On)?;
    let crowd = trips.open(town, Format::Binary).await?;
    let riders = riders[pairs..pairs + asking].to_vec();
    let mut others = Others { crowd, riders, length: scale.span(8, 4), stretches: 0 };
    // Warms up.
    others.stretch(town).await?;
    let mut taken: Vec<Vec<Taken>> = Flood::ALL.iter().map(|_| Vec::new()).collect();
    let mut busy = Vec::new();
    for _run in 0..scale.runs.min(RUNS) {
        for (flood, taken) in Flood::ALL.into_iter().zip(&mut taken) {
            taken.push(others.against(town, flood, tokens.path()).await?);
        }
        busy.push(others.against(town, Flood::Burn, tokens.path()).await?);
    }
    drop(others);
    town.restart_with(Limits::Off)?;
    trips.end(town).await?;
    let quiet: Vec<_> = taken.iter().flatten().map(|taken| taken.quiet).collect();
    let figure = |of: fn(&Felt) -> f64| Figure::new("ms", quiet.iter().map(of).collect());
    let mut rows = vec![
        Row::alone("no flood: p99 from driver to rider", figure(|felt| felt.relay)),
        Row::alone("no flood: p99 of REST", figure(|felt| felt.rest)),
    ];
    for (flood, taken) in Flood::ALL.into_iter().zip(&taken) {
        rows.extend(judged(flood, taken, &busy, scale));
    }
    Ok(rows)
}

fn judged(flood: Flood, taken: &[Taken], busy: &[Taken], scale: &Scale) -> Vec<Row> {
    let name = flood.name();
    let times = |of: fn(&Felt) -> f64, taken: &[Taken]| {
        let each = taken.iter().map(|taken| of(&taken.beside) / of(&taken.quiet));
        Figure::new("×", each.collect())
    };
    let row = |what: &str, of: fn(&Felt) -> f64| {
        let what = format!("flood of {name}: {what}, p99 over quiet");
        let row = Row::less(what, times(of, taken), "as busy a neighbour", times(of, busy));
        scale.bound(Row { ratio: None, ..row }, Bound::Max(TIMES))
    };
    let grown = taken.iter().map(|taken| taken.beside.most - taken.quiet.usual).collect();
    let sent = taken.iter().map(|taken| taken.sent.sent as f64 / scale.span(8, 4).as_secs_f64());
    vec![
        row("others' positions", |felt| felt.relay),
        row("others' requests", |felt| felt.rest),
        Row::alone(format!("flood of {name}: most memory of the server over quiet"), {
            Figure::new("MiB", grown)
        })
        .bound(Bound::Max(GROWTH)),
        Row::alone(format!("flood of {name}: sent"), Figure::new("/s", sent.collect())),
    ]
}

impl Others {
    /// A quiet stretch, then one beside the attacker.
    async fn against(&mut self, town: &Town, flood: Flood, tokens: &Path) -> anyhow::Result<Taken> {
        let quiet = self.stretch(town).await?;
        let (address, tokens) = (town.address.clone(), tokens.to_owned());
        let length = self.length + Duration::from_millis(500);
        let (used, begun) = (Cpu::of(town.pid())?, Instant::now());
        let attacker =
            tokio::task::spawn_blocking(move || attack::start(flood, &address, &tokens, length));
        let beside = self.stretch(town).await?;
        let sent = attacker.await??;
        let server = Cpu::of(town.pid())?.saturating_sub(used).as_secs_f64();
        let wall = begun.elapsed().as_secs_f64();
        eprintln!(
            "  {:<24} {:>7} sent, {:>7} taken; relay {:.2} → {:.2} ms, REST {:.2} → {:.2} ms, \
             memory {:.0} → {:.0} MiB; CPU of the server {:.0} %, of the attacker {:.0} %",
            flood.name(),
            sent.sent,
            sent.taken,
            quiet.relay,
            beside.relay,
            quiet.rest,
            beside.rest,
            quiet.usual,
            beside.most,
            server / wall * 100.0,
            sent.cpu_s / wall * 100.0,
        );
        sleep(REST).await;
        Ok(Taken { quiet, beside, sent })
    }

    /// Positions and requests for so long.
    async fn stretch(&mut self, town: &Town) -> anyhow::Result<Felt> {
        self.stretches += 1;
        let answers = Answers::default();
        let begin = Instant::now();
        let asking = self.riders.iter().enumerate().map(|(number, rider)| {
            let turn = (number + self.stretches).is_multiple_of(2);
            let asker = Asker { api: &town.api, rider, number, answers: &answers };
            asker.ask(begin, self.length, turn, self.stretches)
        });
        let sampled = async {
            let mut mib = Vec::new();
            while begin.elapsed() < self.length {
                mib.push(resident(town.pid())? as f64 / 1024.0 / 1024.0);
                sleep(SAMPLE).await;
            }
            anyhow::Ok(mib)
        };
        let cpu = || Cpu::of(town.pid());
        let (window, _, mib) = tokio::join!(
            self.crowd.window(POSITION_EVERY, self.length, cpu),
            join_all(asking),
            sampled
        );
        let (window, mib) = (window?, mib?);
        let share = window.lags.len() as f64 / window.sent as f64;
        ensure!(share > 0.99, "only {:.1} % of the positions arrived", share * 100.0);
        let mut ms = answers.0.into_inner().unwrap_or_else(PoisonError::into_inner)?;
        ms.sort_unstable_by(f64::total_cmp);
        let most = mib.iter().copied().fold(f64::NAN, f64::max);
        let (relay, rest) = (window.lag(0.99), quantile(&ms, 0.99));
        Ok(Felt { relay, rest, usual: median(&mib), most })
    }
}

/// Milliseconds of each answer, or why one was no success.
struct Answers(Mutex<anyhow::Result<Vec<f64>>>);

impl Default for Answers {
    fn default() -> Self {
        Self(Mutex::new(Ok(Vec::new())))
    }
}

impl Answers {
    fn note(&self, answer: anyhow::Result<Duration>) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (&mut *all, answer) {
            (Ok(all), Ok(took)) => all.push(took.as_secs_f64() * 1e3),
            (Ok(_), Err(why)) => *all = Err(why),
            (Err(_), _) => {}
        }
    }
}

/// A rider without a socket.
struct Asker<'a> {
    api: &'a Api,
    rider: &'a Person,
    number: usize,
    answers: &'a Answers,
}

impl Asker<'_> {
    /// Looks for cars and asks for prices all the time; whose turn it is books once.
    async fn ask(self, begin: Instant, length: Duration, turn: bool, stretch: usize) {
        let phase = spread(self.number);
        let end = begin + length;
        let looks = async {
            let mut at = begin + LOOK_EVERY.mul_f64(phase);
            while at < end {
                sleep_until(at).await;
                let (lat, lng) = self.spot(stretch).degrees();
                let path = format!("/location/nearby?lat={lat}&lng={lng}");
                self.timed(self.api.get(&path, &self.rider.token)).await;
                at += LOOK_EVERY;
            }
        };
        let prices = async {
            let mut at = begin + PRICE_EVERY.mul_f64(phase);
            while at < end {
                sleep_until(at).await;
                let wish = wish(self.spot(stretch));
                self.timed(self.api.must("/pricing/estimate", &self.rider.token, &wish)).await;
                at += PRICE_EVERY;
            }
        };
        let books = async {
            if turn {
                sleep_until(begin + (length - GIVE_UP * 2).mul_f64(phase)).await;
                self.book(stretch).await;
            }
        };
        tokio::join!(looks, prices, books);
    }

    async fn book(&self, stretch: usize) {
        // Another place each time: the same body again would be the same booking.
        let wish = wish(self.spot(stretch));
        let booked = self.timed(self.api.must("/trips/request", &self.rider.token, &wish)).await;
        sleep(GIVE_UP).await;
        if let Some(trip) = booked.as_ref().and_then(|data| data["tripId"].as_str()) {
            let path = format!("/trips/{trip}/cancel");
            let why = json!({"reason": "changed_mind"});
            self.timed(self.api.must(&path, &self.rider.token, &why)).await;
        }
    }

    fn spot(&self, stretch: usize) -> Spot {
        let (number, stretch) = (self.number as i32, stretch as i32);
        Spot { lat: 300_400_000 + number * 500, lng: 312_300_000 + stretch * 500 }
    }

    async fn timed<T>(&self, asked: impl Future<Output = anyhow::Result<T>>) -> Option<T> {
        let begun = Instant::now();
        match asked.await {
            Ok(data) => {
                self.answers.note(Ok(begun.elapsed()));
                Some(data)
            }
            Err(why) => {
                self.answers.note(Err(why));
                None
            }
        }
    }
}
