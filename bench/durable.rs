//! Durable writing on a private PostgreSQL that forces every commit to disk: tracks and trip
//! changes as the product writes them, beside one statement or one transaction each through twenty
//! connections.
//!
//! In each run ours comes first and the rival right after, on the same server and tables. The
//! rival's statements are prepared, its connections are open, and its data is ready before the
//! clock starts.

mod changes;
mod tracks;

use std::io::Write;
use std::time::{Duration, Instant};

use storage::Durability;

use self::changes::Changes;
use crate::Options;
use crate::postgres::Postgres;
use crate::table::{Bound, Figure, Row, median};

/// Connections of the rival.
const CONNECTIONS: usize = 20;

/// What a run took, as the rows show it.
#[derive(Clone, Default)]
struct Taken {
    per_s: Vec<f64>,
    server_us: Vec<f64>,
}

/// Wall and PostgreSQL's CPU from when it is made.
struct Stopwatch<'a> {
    postgres: &'a Postgres,
    begun: Instant,
    cpu: Duration,
}

impl<'a> Stopwatch<'a> {
    fn start(postgres: &'a Postgres) -> anyhow::Result<Self> {
        Ok(Self { postgres, begun: Instant::now(), cpu: postgres.cpu()? })
    }

    fn stop(self, count: usize, taken: &mut Taken) -> anyhow::Result<()> {
        let wall = self.begun.elapsed();
        let cpu = self.postgres.cpu()?.saturating_sub(self.cpu);
        taken.per_s.push(count as f64 / wall.as_secs_f64());
        taken.server_us.push(cpu.as_secs_f64() * 1e6 / count as f64);
        Ok(())
    }
}

pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let postgres = Postgres::start(Durability::Full).await?;
    eprintln!("durable: {}", postgres.describe().await?);
    let disk = forced_write_ms(options)?;
    let forced =
        Row::alone("a write forced to this disk (8 KiB, fdatasync)", Figure::new("ms", disk));
    let mut rows = vec![forced];
    let tracks = Box::pin(tracks::measure(&postgres, options)).await?;
    let [batched, single] = tracks;
    rows.push(faster("rows of tracks", "single INSERTs", &batched, &single, Some(5.0)));
    rows.push(lighter("a row of a track", "single INSERTs", batched, single));
    let changes = Box::pin(changes::measure(&postgres, options)).await?;
    let Changes { grouped, shared, single, plain } = changes;
    rows.push(Row::alone("changes of trips that share a commit", Figure::new("", shared)));
    let (same, bare) = ("the same one by one", "plain transactions without checks");
    rows.push(faster("changes of trips", same, &grouped, &single, Some(4.0)));
    rows.push(lighter("a change of a trip", same, grouped.clone(), single));
    rows.push(faster("changes of trips", bare, &grouped, &plain, None));
    rows.push(lighter("a change of a trip", bare, grouped, plain));
    postgres.stop().await;
    Ok(rows)
}

fn faster(what: &str, name: &str, ours: &Taken, other: &Taken, times: Option<f64>) -> Row {
    let figure = |taken: &Taken| Figure::new("/s", taken.per_s.clone());
    let row =
        Row::more(what, figure(ours), &format!("{name}, {CONNECTIONS} connections"), figure(other));
    match times {
        Some(times) => row.bound(Bound::RatioMin(times)),
        None => row,
    }
}

fn lighter(what: &str, name: &str, ours: Taken, other: Taken) -> Row {
    let figure = |taken: Taken| Figure::new("µs of PostgreSQL's CPU", taken.server_us);
    Row::less(what, figure(ours), name, figure(other))
}

/// What the disk under the cluster takes for one forced write: without it the figures say little
/// about another machine.
fn forced_write_ms(options: &Options) -> anyhow::Result<Vec<f64>> {
    let mut file = tempfile::tempfile()?;
    let mut medians = Vec::new();
    for _ in 0..options.runs {
        let mut waits = Vec::new();
        for _ in 0..50 {
            file.write_all(&[7; 8192])?;
            let begun = Instant::now();
            file.sync_data()?;
            waits.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        medians.push(median(&waits));
    }
    Ok(medians)
}
