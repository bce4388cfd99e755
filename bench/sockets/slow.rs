//! One rider of fifty stops reading: what does he cost the server, and what do the others feel?
//!
//! Measured beside an equal stretch in which he reads. He follows a trip and watches the map the
//! others watch.

use std::time::Duration;

use futures_util::StreamExt;
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use super::Scale;
use super::crowd::{Crowd, Window};
use super::nearby::{go_offline, go_online, watch};
use super::pairs::Pairs;
use super::town::Town;
use super::wire::{Dialect, Format, Socket};
use crate::cpu::{Cpu, resident};
use crate::table::{Bound, Figure, Row, median};

const EVERY: Duration = Duration::from_millis(500);
const SAMPLE: Duration = Duration::from_millis(250);
/// All cars are in sight.
const LOOK: f64 = 3.0;
/// Small, so that it is full soon.
const RECEIVE: u32 = 4096;
/// Each run takes two long stretches.
const RUNS: u32 = 3;

pub(crate) async fn run(town: &mut Town, scale: &Scale) -> anyhow::Result<Vec<Row>> {
    let (drivers, watchers) = (scale.pick(150, 40), scale.pick(49, 9));
    let length = scale.span(60, 10);
    eprintln!("slow reader: {drivers} drivers, {watchers} others");
    let (first, last) = (1, drivers + 1);
    town.drivers(last).await?;
    town.riders(watchers + 1).await?;
    town.restart().await?;
    let pair = Pairs::book(town, 0, 1).await?;
    let trip = pair.open(town, Format::Json).await?;
    let map = go_online(town, first..last).await?;
    let middle = map.cars.spot(drivers / 2, 0);
    for rider in 1..=watchers {
        watch(town, &map, rider, middle, LOOK).await?;
    }
    let (mut growth, mut times) = (Vec::new(), Vec::new());
    for run in 0..=scale.runs.min(RUNS) {
        let (stop, stopped) = watch::channel(false);
        let reader = tokio::spawn(stop_reading(slow_one(town, &pair, middle).await?, stopped));
        // Everybody reads; the first stretch of all warms up.
        let length = if run == 0 { length / 2 } else { length };
        let (calm, calm_kib) = stretch(town, &map, &trip, length).await?;
        stop.send_replace(true);
        let (full, full_kib) = stretch(town, &map, &trip, length).await?;
        reader.abort();
        let (before, after) = (calm.lag(0.99), full.lag(0.99));
        eprintln!(
            "  p99 {before:.1} ms, then {after:.1} ms; {calm_kib:.0} KiB, then {full_kib:.0} KiB"
        );
        if run > 0 {
            growth.push(full_kib - calm_kib);
            times.push(after / before);
        }
    }
    drop(map);
    drop(trip);
    pair.end(town).await?;
    go_offline(town, first..last).await?;
    let grown = Figure::new("KiB", growth);
    let what = format!("slow reader for {} s: growth of the server", length.as_secs());
    Ok(vec![
        Row::alone(what, grown).bound(Bound::Max(64.0)),
        Row::alone("slow reader: p99 of the others, with him over without", {
            Figure::new("×", times)
        })
        .bound(Bound::Max(1.5)),
    ])
}

/// Positions on map and trip for so long; delays of the map's watchers, and memory of the server.
async fn stretch(
    town: &Town,
    map: &Crowd,
    trip: &Crowd,
    length: Duration,
) -> anyhow::Result<(Window, f64)> {
    let cpu = || Cpu::of(town.pid());
    let sampled = async {
        let (mut kib, end) = (Vec::new(), Instant::now() + length);
        while Instant::now() < end {
            sleep(SAMPLE).await;
            kib.push(resident(town.pid())? as f64 / 1024.0);
        }
        anyhow::Ok(median(&kib[kib.len() / 2..]))
    };
    let (window, driven, kib) =
        tokio::join!(map.window(EVERY, length, cpu), trip.window(EVERY, length, cpu), sampled);
    // The trip's rider may be sent away for not reading, its driver not.
    driven?;
    Ok((window?, kib?))
}

/// The rider of the trip, once more, with a small window of TCP.
async fn slow_one(
    town: &mut Town,
    pair: &Pairs,
    middle: super::wire::Spot,
) -> anyhow::Result<Socket> {
    let dialect = Dialect::SmartLine;
    let tcp = TcpSocket::new_v4()?;
    tcp.set_recv_buffer_size(RECEIVE)?;
    let stream = tcp.connect(town.address.parse()?).await?;
    let token = town.riders(1).await?[0].token.clone();
    let address = town.address.clone();
    let mut socket = dialect.open_on(stream, &address, &token, Format::Json).await?;
    dialect.follow(&mut socket, pair.trip(0)).await?;
    dialect.watch(&mut socket, middle, LOOK).await?;
    Ok(socket)
}

/// Reads until told to stop; then holds the socket open.
async fn stop_reading(mut socket: Socket, mut stop: watch::Receiver<bool>) {
    while !*stop.borrow_and_update() {
        tokio::select! {
            message = socket.next() => if !matches!(message, Some(Ok(_))) { return },
            _ = stop.changed() => {}
        }
    }
    let forever = Duration::from_secs(24 * 3600);
    let _held = timeout(forever, std::future::pending::<()>()).await;
    drop(socket);
}
