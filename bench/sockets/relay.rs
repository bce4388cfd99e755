//! A position from a driver to the rider who follows his trip: CPU time per delivered message.
//!
//! Every driver is on a started trip with one rider in its room. SmartLine checks the position,
//! moves it in the live map, appends it to the trip's track, writes it behind and pushes it. The
//! bare server only answers; socket.io stores it in Redis GEO and pushes it to the trip's room.

use std::time::Duration;

use tokio::time::sleep;

use super::crowd::{Cars, Crowd, Window};
use super::pairs::{Pairs, STRIDE};
use super::socketio::Installed;
use super::town::Town;
use super::wire::{Dialect, Format};
use super::{Scale, echo};
use crate::cpu::Cpu;
use crate::table::{Bound, Figure, Row};

/// One server's readings.
#[derive(Default)]
struct Readings {
    costs: Vec<f64>,
    p99: Vec<f64>,
    sent: u64,
    delivered: u64,
}

impl Readings {
    fn add(&mut self, name: &str, window: &Window) {
        eprintln!(
            "  {name}: {:.1} µs, p50 {:.2} ms, p99 {:.2} ms, {} of {} delivered",
            window.cost(),
            window.lag(0.5),
            window.lag(0.99),
            window.lags.len(),
            window.sent,
        );
        self.costs.push(window.cost());
        self.p99.push(window.lag(0.99));
        self.sent += window.sent;
        self.delivered += window.lags.len() as u64;
    }

    fn share(&self) -> f64 {
        self.delivered as f64 / self.sent as f64 * 100.0
    }
}

pub(crate) async fn run(
    town: &mut Town,
    peer: &Installed,
    scale: &Scale,
) -> anyhow::Result<Vec<Row>> {
    let pairs = scale.pick(500, 40);
    let threads = std::thread::available_parallelism()?.get();
    eprintln!("relay: booking {pairs} trips");
    let booked = Pairs::book(town, 0, pairs).await?;
    town.restart().await?;
    let ours = booked.open(town, Format::Binary).await?;
    let (bare, address) = echo::start(threads, None)?;
    let bare_crowd = echoes(&address, pairs).await?;
    let (through, address) = echo::start(threads, None)?;
    let through_crowd = relays(&address, pairs).await?;
    let node = peer.start()?;
    let node_crowd = socketio(&node.address, pairs).await?;

    let (every, length) = (Duration::from_millis(100), scale.span(8, 2));
    let mut readings: [Readings; 4] = Default::default();
    let mut database = Vec::new();
    for run in 0..=scale.runs {
        let before = town.database_cpu()?;
        let own = ours.window(every, length, || Cpu::of(town.pid())).await?;
        let stored = town.database_cpu()?.saturating_sub(before);
        let bare = bare_crowd.window(every, length, || Cpu::of(bare.pid())).await?;
        let through = through_crowd.window(every, length, || Cpu::of(through.pid())).await?;
        let node = node_crowd.window(every, length, || node.cpu()).await?;
        // The first one warms up.
        if run == 0 {
            continue;
        }
        database.push(stored.as_secs_f64() * 1e6 / own.lags.len() as f64);
        let names = ["SmartLine", "bare echo", "bare relay", "socket.io"];
        for (slot, (name, window)) in names.iter().zip([own, bare, through, node]).enumerate() {
            readings[slot].add(name, &window);
        }
    }
    drop(ours);
    booked.end(town).await?;
    Ok(rows(scale, (pairs, threads), readings, database))
}

fn rows(
    scale: &Scale,
    (pairs, threads): (usize, usize),
    readings: [Readings; 4],
    database: Vec<f64>,
) -> Vec<Row> {
    let [ours, bare, through, node] = readings;
    let cpu = |costs: &[f64]| Figure::new("µs", costs.to_vec());
    let ms = |values: Vec<f64>| Figure::new("ms", values);
    let delivered = Figure::new("%", vec![ours.share()]);
    let bare_name = format!("bare tungstenite echo, {threads} threads");
    let what = format!("relay, {pairs} pairs at 10/s: CPU per delivered position");
    let echo = Row::more(&what, cpu(&ours.costs), &bare_name, cpu(&bare.costs));
    let peer = Row::less(&what, cpu(&ours.costs), "socket.io + Redis GEO", cpu(&node.costs));
    vec![
        scale.bound(echo, Bound::RatioMax(1.4)),
        Row::more(&what, cpu(&ours.costs), "bare tungstenite relay", cpu(&through.costs)),
        scale.bound(peer, Bound::RatioMin(5.0)),
        Row::alone("relay: PostgreSQL's CPU per position, apart", cpu(&database)),
        Row::less("relay: p99 from driver to rider", ms(ours.p99), "socket.io", ms(node.p99)),
        Row::alone("relay: delivered of what was sent", delivered),
    ]
}

async fn echoes(address: &str, pairs: usize) -> anyhow::Result<Crowd> {
    let crowd = Crowd::new(Dialect::Echo, Cars::new(pairs, STRIDE));
    for car in 0..pairs {
        let socket = Dialect::Echo.open(address, "", Format::Binary).await?;
        crowd.driver(socket, car, "").await;
    }
    Ok(crowd)
}

async fn relays(address: &str, pairs: usize) -> anyhow::Result<Crowd> {
    let crowd = Crowd::new(Dialect::Echo, Cars::new(pairs, STRIDE));
    for car in 0..pairs {
        let out = Dialect::Echo.open(address, &format!("out/{car}"), Format::Binary).await?;
        crowd.listener(out).await;
        // The server has to know it before anything comes for it.
        sleep(Duration::from_millis(1)).await;
        let wheel = Dialect::Echo.open(address, &format!("in/{car}"), Format::Binary).await?;
        crowd.driver(wheel, car, "").await;
    }
    Ok(crowd)
}

async fn socketio(address: &str, pairs: usize) -> anyhow::Result<Crowd> {
    let crowd = Crowd::new(Dialect::SocketIo, Cars::new(pairs, STRIDE));
    for car in 0..pairs {
        // As long as SmartLine's.
        let trip = format!("0190b8a0-0000-7000-8000-{car:012}");
        let mut seat = Dialect::SocketIo.open(address, "", Format::Json).await?;
        Dialect::SocketIo.follow(&mut seat, &trip).await?;
        crowd.listener(seat).await;
        let wheel = Dialect::SocketIo.open(address, "", Format::Json).await?;
        crowd.driver(wheel, car, &trip).await;
    }
    Ok(crowd)
}
