//! Sockets that say nothing: how much memory of the server each one holds.
//!
//! Measured from a fresh process to all sockets open and every one pinged once.

use std::time::Duration;

use anyhow::ensure;
use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::time::sleep;

use super::Scale;
use super::crowd::{Cars, Crowd};
use super::socketio::Installed;
use super::town::Town;
use super::wire::{Dialect, Format};
use crate::cpu::{Cpu, resident};
use crate::table::{Bound, Figure, Row};

const AT_ONCE: usize = 64;
/// A rider may have as many.
const SOCKETS_EACH: usize = 5;
/// Longer than the time between two pings of SmartLine.
const SETTLE: Duration = Duration::from_secs(12);
const CALM: Duration = Duration::from_secs(2);

pub(crate) async fn run(
    town: &mut Town,
    peer: &Installed,
    scale: &Scale,
) -> anyhow::Result<Vec<Row>> {
    let riders = scale.pick(2000, 100);
    let sockets = riders * SOCKETS_EACH;
    eprintln!("idle: {riders} accounts");
    town.riders(riders).await?;
    let (mut ours, mut theirs, mut cpu) = (Vec::new(), Vec::new(), Vec::new());
    for run in 1..=scale.runs {
        town.restart().await?;
        sleep(CALM).await;
        let before = resident(town.pid())?;
        let tokens: Vec<_> = town.riders(riders).await?.into_iter().map(|r| r.token).collect();
        let crowd = hold(Dialect::SmartLine, &town.address, &tokens).await?;
        let used = Cpu::of(town.pid())?;
        sleep(SETTLE).await;
        let used = Cpu::of(town.pid())?.saturating_sub(used);
        ours.push(kib(before, resident(town.pid())?, sockets));
        cpu.push(used.as_secs_f64() * 1e6 / SETTLE.as_secs_f64() / sockets as f64);
        drop(crowd);

        let node = peer.start()?;
        sleep(CALM).await;
        let before = node.resident()?;
        let crowd = hold(Dialect::SocketIo, &node.address, &tokens).await?;
        sleep(SETTLE).await;
        theirs.push(kib(before, node.resident()?, sockets));
        drop(crowd);
        eprintln!("  run {run}: {:?} KiB, socket.io {:?} KiB", ours.last(), theirs.last());
    }
    ensure!(ours.iter().all(|kib| *kib > 0.0), "memory shrank while sockets came");
    let what = format!("idle: memory of each of {sockets} sockets");
    let (ours, theirs) = (Figure::new("KiB", ours), Figure::new("KiB", theirs));
    Ok(vec![
        Row::less(what, ours, "socket.io", theirs).bound(Bound::Max(12.0)),
        Row::alone("idle: CPU per socket and second", Figure::new("µs", cpu)),
    ])
}

async fn hold(dialect: Dialect, address: &str, tokens: &[String]) -> anyhow::Result<Crowd> {
    let crowd = Crowd::new(dialect, Cars::new(0, 1));
    let opened = tokens.iter().flat_map(|token| std::iter::repeat_n(token, SOCKETS_EACH)).map(
        |token| async {
            let socket = dialect.open(address, token, Format::Json).await?;
            crowd.listener(socket).await;
            anyhow::Ok(())
        },
    );
    stream::iter(opened).buffer_unordered(AT_ONCE).try_collect::<()>().await?;
    Ok(crowd)
}

fn kib(before: u64, after: u64, sockets: usize) -> f64 {
    (after as f64 - before as f64) / 1024.0 / sockets as f64
}
