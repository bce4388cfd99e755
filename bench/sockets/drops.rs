//! Connections that break every five seconds: does every event arrive, once and in order?

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Scale;
use super::rides::ride;
use super::town::Town;
use crate::table::{Bound, Figure, Row};

const PAIRS: usize = 20;
const CUT: Duration = Duration::from_secs(5);

pub(crate) async fn run(town: &mut Town, scale: &Scale) -> anyhow::Result<Vec<Row>> {
    let length = scale.span(60, 12);
    eprintln!("drops: {PAIRS} pairs for {length:?}");
    town.restart().await?;
    // One run: it counts events and takes no time of anything.
    let count = ride(town, 0, PAIRS, (length, Some(CUT))).await?;
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed) as f64;
    let (arrived, missing) = (read(&count.arrived), read(&count.missing));
    eprintln!(
        "  {} trips, {} connections cut, {arrived} events arrived, {missing} missing, {} twice, {} \
         snapshots",
        read(&count.trips),
        read(&count.cuts),
        read(&count.twice),
        read(&count.snapshots),
    );
    let what = format!("drops: events of {} trips that arrived", read(&count.trips));
    let share = arrived / (arrived + missing) * 100.0;
    Ok(vec![
        Row::alone(what, Figure::new("%", vec![share])).bound(Bound::Min(100.0)),
        Row::alone("drops: events that came twice", Figure::new("", vec![read(&count.twice)]))
            .bound(Bound::Max(0.0)),
        Row::alone("drops: connections that were cut", Figure::new("", vec![read(&count.cuts)])),
    ])
}
