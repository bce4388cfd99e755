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
use crate::cpu::Cpu;
use crate::postgres::Postgres;
use crate::table::{Bound, Figure, Row, median};

/// Connections of the rival.
const CONNECTIONS: usize = 20;

/// What a run took, as the rows show it.
#[derive(Clone, Default)]
pub(crate) struct Taken {
    per_s: Vec<f64>,
    /// CPU of PostgreSQL.
    server_us: Vec<f64>,
    /// CPU of this program, those who ask included.
    client_us: Vec<f64>,
}

impl Taken {
    pub fn join(&mut self, other: Self) {
        self.per_s.extend(other.per_s);
        self.server_us.extend(other.server_us);
        self.client_us.extend(other.client_us);
    }

    /// How many a second, run by run.
    pub fn rates(&self) -> Vec<f64> {
        self.per_s.clone()
    }

    pub fn rate(&self) -> f64 {
        median(&self.per_s)
    }
}

/// Wall and CPU from when it is made.
pub(crate) struct Stopwatch<'a> {
    postgres: &'a Postgres,
    begun: Instant,
    server: Duration,
    client: Duration,
}

impl<'a> Stopwatch<'a> {
    pub fn start(postgres: &'a Postgres) -> anyhow::Result<Self> {
        let (server, client) = (postgres.cpu()?, Cpu::of(std::process::id())?);
        Ok(Self { postgres, begun: Instant::now(), server, client })
    }

    pub fn stop(self, count: usize, taken: &mut Taken) -> anyhow::Result<()> {
        let wall = self.begun.elapsed();
        let client = Cpu::of(std::process::id())? - self.client;
        let server = self.postgres.cpu()?.saturating_sub(self.server);
        let each_us = |cpu: Duration| cpu.as_secs_f64() * 1e6 / count as f64;
        taken.per_s.push(count as f64 / wall.as_secs_f64());
        taken.server_us.push(each_us(server));
        taken.client_us.push(each_us(client));
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
    let [batched, single] = Box::pin(tracks::measure(&postgres, options)).await?;
    rows.extend(beside("a row of a track", &batched, "INSERT each", &single, Some(5.0)));
    let changes = Box::pin(changes::measure(&postgres, options)).await?;
    let Changes { grouped, shared, single, plain } = changes;
    rows.push(Row::alone("changes of trips that share a commit", Figure::new("", shared)));
    let what = "a change of a trip";
    rows.extend(beside(what, &grouped, "the same one by one", &single, Some(4.0)));
    rows.extend(beside(what, &grouped, "plain transaction each", &plain, None));
    postgres.stop().await;
    Ok(rows)
}

/// By the clock, and what it costs.
pub(crate) fn beside(
    what: &str,
    ours: &Taken,
    name: &str,
    theirs: &Taken,
    times: Option<f64>,
) -> impl Iterator<Item = Row> {
    let rate = |taken: &Taken| Figure::new("/s", taken.per_s.clone());
    let server = |taken: &Taken| Figure::new("µs CPU", taken.server_us.clone());
    let client = |taken: &Taken| Figure::new("µs CPU", taken.client_us.clone());
    let faster = Row::more(what, rate(ours), name, rate(theirs));
    let rows = [
        Row { bound: times.map(Bound::RatioMin), ..faster },
        Row::less(format!("{what}: PostgreSQL"), server(ours), name, server(theirs)),
        Row::less(format!("{what}: program"), client(ours), name, client(theirs)),
    ];
    rows.into_iter()
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
