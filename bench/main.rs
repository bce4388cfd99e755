//! `bench`: the product's performance claims, measured again beside what a user would pick
//! instead, in the same run on the same machine.
//!
//! Owns the program's start and its exit code: 0 when every bound was met, 1 when one was not,
//! 2 when the run could not be made. Depends on rooms only through their public doors.
//!
//! Reading order: `table` (what comes out), `cpu` and `alloc` (the meters), `redis` and `osrm`
//! (rivals), then the subjects: `index`, `durable`, `postings`, `jobs`, `dispatch`, `roads`,
//! `sockets` (also `commits`, `flood`, `soak`).
#![expect(clippy::print_stdout, reason = "the tables are the program's output")]
#![expect(unreachable_pub, reason = "a program has no outside; `pub` is what other files may use")]

mod alloc;
mod cpu;
mod dispatch;
mod durable;
mod index;
mod jobs;
mod osrm;
mod postgres;
mod postings;
mod redis;
mod roads;
mod sockets;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

use crate::table::Row;

#[global_allocator]
static ALLOCATOR: alloc::Counting = alloc::Counting;

#[derive(Parser)]
#[command(name = "bench", about = "SmartLine's performance claims, beside their rivals")]
struct Cli {
    #[command(subcommand)]
    subject: Subject,
    #[command(flatten)]
    options: Options,
}

#[derive(Clone, Subcommand)]
enum Subject {
    /// The live map: moves and nearest drivers, beside Redis GEO.
    Index,
    /// Durable writing: tracks and trip changes, beside one INSERT or transaction each.
    Durable,
    /// Money moved, beside balances locked and written by a statement each.
    Postings {
        /// So many random ones instead, good and bad, each answered as it must be.
        #[arg(long)]
        hammer: Option<u64>,
    },
    /// Facts and jobs, beside a table that is polled.
    Jobs,
    /// A tick of dispatch: riders who wait, matched with a city's idle drivers.
    Dispatch,
    /// Ways along roads, beside OSRM (OSRM_ROUTED names its server).
    Roads,
    /// Sockets and REST, beside peers.
    Sockets,
    /// From the commit of a trip's change to its rider and driver.
    Commits,
    /// Prices along roads, asked for over REST.
    Estimates,
    /// One client floods the server: what do the others feel?
    Flood,
    /// All of them, one after another, without the soak.
    All,
    /// One server under steady load: does it grow, does it slow down?
    Soak {
        #[arg(long, default_value_t = 60)]
        minutes: u64,
    },
    /// The bare server that `sockets` measures beside; started by it.
    #[command(hide = true)]
    Echo {
        #[arg(long)]
        threads: usize,
        /// Data directory of the PostgreSQL whose notices it passes on.
        #[arg(long)]
        database: Option<PathBuf>,
    },
    /// The client that `sockets` floods the server with; started by it.
    #[command(hide = true)]
    Attack(sockets::attack::Order),
}

/// What every subject is told.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// How often each figure is taken; the table shows the median.
    #[arg(long, global = true, default_value_t = 5)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub runs: u32,
    /// A short smoke run: smaller crowds, bounds only of what is still comparable.
    #[arg(long, global = true)]
    pub quick: bool,
    /// Puts the tables into the README.
    #[arg(long, global = true)]
    pub write: bool,
    /// One scenario of `sockets`.
    #[arg(long, global = true)]
    pub only: Option<sockets::Scenario>,
    /// Where `--write` writes.
    #[arg(long, global = true, default_value = "bench/README.md")]
    pub readme: PathBuf,
}

fn main() -> ExitCode {
    match start() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every bound was met.
fn start() -> anyhow::Result<bool> {
    let Cli { subject, options } = Cli::parse();
    match &subject {
        Subject::Echo { threads, database } => {
            return sockets::echo::serve(*threads, database.as_deref()).map(|()| true);
        }
        Subject::Attack(order) => return sockets::attack::carry_out(order).map(|()| true),
        Subject::Index | Subject::Durable | Subject::Jobs | Subject::Sockets => {}
        Subject::Commits
        | Subject::Estimates
        | Subject::Flood
        | Subject::Dispatch
        | Subject::All => {}
        Subject::Roads | Subject::Postings { .. } | Subject::Soak { .. } => {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.spawn(end_when_told());
    let good = runtime.block_on(Box::pin(run(subject, &options)));
    runtime.shutdown_background();
    good
}

/// A signal ends the servers that were started, then the program.
async fn end_when_told() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    for child in cpu::children(std::process::id()) {
        let _gone = kill(Pid::from_raw(child.cast_signed()), Signal::SIGINT);
    }
    std::process::exit(2);
}

async fn run(subject: Subject, options: &Options) -> anyhow::Result<bool> {
    let all = matches!(subject, Subject::All);
    let mut good = true;
    if all || matches!(subject, Subject::Index) {
        good &= shown("index", index::run(options).await?, options)?;
    }
    if all || matches!(subject, Subject::Durable) {
        good &= shown("durable", durable::run(options).await?, options)?;
    }
    if let Subject::Postings { hammer: Some(count) } = subject {
        return shown("hammer", Box::pin(postings::hammer(count)).await?, options);
    }
    if all || matches!(subject, Subject::Postings { .. }) {
        good &= shown("postings", Box::pin(postings::run(options)).await?, options)?;
    }
    if all || matches!(subject, Subject::Jobs) {
        good &= shown("jobs", Box::pin(jobs::run(options)).await?, options)?;
    }
    if all || matches!(subject, Subject::Dispatch) {
        good &= shown("dispatch", dispatch::run(options)?, options)?;
    }
    if all || matches!(subject, Subject::Roads) {
        good &= shown("roads", roads::run(options)?, options)?;
    }
    if all || matches!(subject, Subject::Sockets) {
        good &= shown("sockets", Box::pin(sockets::run(options)).await?, options)?;
    }
    if all || matches!(subject, Subject::Commits) {
        good &= shown("commits", Box::pin(sockets::commits(options)).await?, options)?;
    }
    if all || matches!(subject, Subject::Estimates) {
        good &= shown("estimates", Box::pin(sockets::estimates(options)).await?, options)?;
    }
    if all || matches!(subject, Subject::Flood) {
        good &= shown("flood", Box::pin(sockets::flood(options)).await?, options)?;
    }
    if let Subject::Soak { minutes } = subject {
        good &= shown("soak", Box::pin(sockets::soak(options, minutes)).await?, options)?;
    }
    Ok(good)
}

fn shown(name: &str, rows: Vec<Row>, options: &Options) -> anyhow::Result<bool> {
    println!("\n{name}\n{}", table::text(&rows));
    if options.write {
        table::write(&options.readme, name, &rows)?;
    }
    Ok(rows.iter().all(|row| row.met() != Some(false)))
}
