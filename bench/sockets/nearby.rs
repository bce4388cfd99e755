//! The map of free drivers: CPU time per position that reaches a watcher, and how old it is then.
//!
//! SmartLine gathers what moved and tells each cell's watchers once a tick; socket.io with Redis
//! sends each position to the watchers of its cell as it comes.

use std::ops::Range;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::json;
use tokio::time::sleep;

use super::Scale;
use super::crowd::{Cars, Crowd, spread};
use super::pairs::OPENING;
use super::socketio::Installed;
use super::town::Town;
use super::wire::{Dialect, Format, Spot};
use crate::cpu::Cpu;
use crate::table::{Bound, Figure, Row};

/// About 8 m a message.
const STRIDE: i32 = 720;
/// How far a watcher looks, km.
const LOOK: f64 = 1.0;
const EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn run(
    town: &mut Town,
    peer: &Installed,
    scale: &Scale,
) -> anyhow::Result<Vec<Row>> {
    let (drivers, watchers) = (scale.pick(1000, 100), scale.pick(50, 10));
    eprintln!("nearby: {drivers} drivers");
    town.drivers(drivers).await?;
    town.riders(watchers).await?;
    town.restart().await?;
    let crowd = go_online(town, 0..drivers).await?;
    for number in 0..watchers {
        watch(town, &crowd, number, middle(&crowd, number, drivers, watchers), LOOK).await?;
    }
    let node = peer.start()?;
    let peers = Crowd::new(Dialect::SocketIo, Cars::new(drivers, STRIDE));
    for car in 0..drivers {
        let socket = Dialect::SocketIo.open(&node.address, "", Format::Json).await?;
        peers.driver(socket, car, "").await;
    }
    for number in 0..watchers {
        let mut socket = Dialect::SocketIo.open(&node.address, "", Format::Json).await?;
        let at = middle(&peers, number, drivers, watchers);
        Dialect::SocketIo.watch(&mut socket, at, LOOK).await?;
        peers.listener(socket).await;
    }
    let length = scale.span(8, 3);
    let (mut ours, mut theirs) = ([vec![], vec![], vec![]], [vec![], vec![], vec![]]);
    for run in 0..=scale.runs {
        let own = crowd.window(EVERY, length, || Cpu::of(town.pid())).await?;
        let other = peers.window(EVERY, length, || node.cpu()).await?;
        for (name, window, all) in
            [("SmartLine", own, &mut ours), ("socket.io", other, &mut theirs)]
        {
            // The first one warms up.
            if run > 0 {
                let each = window.lags.len() as f64 / window.sent as f64;
                let (cost, p99) = (window.cost(), window.lag(0.99));
                eprintln!("  {name}: {cost:.2} µs, p99 {p99:.0} ms, {each:.1} watchers each");
                all[0].push(cost);
                all[1].push(p99);
                all[2].push(each);
            }
        }
    }
    drop(crowd);
    go_offline(town, 0..drivers).await?;
    let [[cost, p99, each], [peer_cost, peer_p99, peer_each]] = [ours, theirs]
        .map(|[cost, p99, each]| [("µs", cost), ("ms", p99), ("watchers", each)])
        .map(|all| all.map(|(unit, runs)| Figure::new(unit, runs)));
    let what = format!("map, {drivers} drivers at 1/s, {watchers} watchers: CPU per delivery");
    Ok(vec![
        scale
            .bound(Row::less(what, cost, "socket.io + Redis GEO", peer_cost), Bound::RatioMin(8.0)),
        Row::less("map: age at receipt, p99", p99, "socket.io", peer_p99).bound(Bound::Max(250.0)),
        Row::more("map: watchers that a position reaches", each, "socket.io", peer_each),
    ])
}

/// Drivers with these numbers, available, their sockets open.
pub(crate) async fn go_online(town: &mut Town, who: Range<usize>) -> anyhow::Result<Crowd> {
    let drivers = town.drivers(who.end).await?;
    let crowd = Crowd::new(Dialect::SmartLine, Cars::new(who.len(), STRIDE));
    let (shared, town) = (&crowd, &*town);
    let opened = drivers[who].iter().enumerate().map(|(car, driver)| async move {
        let (lat, lng) = shared.cars.spot(car, 0).degrees();
        let online = json!({"isOnline": true, "lat": lat, "lng": lng});
        town.api.must("/drivers/status", &driver.token, &online).await?;
        let dialect = Dialect::SmartLine;
        let wheel = dialect.open(&town.address, &driver.token, Format::Binary).await?;
        shared.driver(wheel, car, "").await;
        anyhow::Ok(())
    });
    stream::iter(opened).buffer_unordered(OPENING).try_collect::<()>().await?;
    Ok(crowd)
}

/// The other way round, so that the next scenario finds nobody.
pub(crate) async fn go_offline(town: &mut Town, who: Range<usize>) -> anyhow::Result<()> {
    // Whoever ended a trip just now rests first.
    sleep(Duration::from_millis(1500)).await;
    let drivers = town.drivers(who.end).await?;
    for driver in &drivers[who] {
        let home = json!({"isOnline": false});
        town.api.must("/drivers/status", &driver.token, &home).await?;
    }
    Ok(())
}

/// The rider with this number looks at the map around a place.
pub(crate) async fn watch(
    town: &mut Town,
    crowd: &Crowd,
    rider: usize,
    at: Spot,
    km: f64,
) -> anyhow::Result<()> {
    let riders = town.riders(rider + 1).await?;
    let token = &riders[rider].token;
    let mut socket = Dialect::SmartLine.open(&town.address, token, Format::Json).await?;
    Dialect::SmartLine.watch(&mut socket, at, km).await?;
    crowd.listener(socket).await;
    Ok(())
}

/// Watchers stand among the cars.
fn middle(crowd: &Crowd, watcher: usize, drivers: usize, watchers: usize) -> Spot {
    let car = watcher * drivers / watchers;
    crowd.cars.spot(car, (spread(watcher) * 60.0) as usize)
}
