//! Sockets and REST beside peers: real processes, real sockets, the same client for all of them.
//!
//! Owns the order of the scenarios and their scale. Each scenario gets a fresh SmartLine process
//! in one town of accounts; CPU is that of the measured processes, never of the load.

pub(crate) mod attack;
mod commits;
mod crowd;
mod drops;
pub(crate) mod echo;
mod estimates;
mod flood;
mod idle;
mod mixed;
mod nearby;
mod pairs;
mod process;
mod relay;
mod rest;
mod rides;
mod slow;
mod socketio;
mod town;
mod wire;

use std::time::Duration;

use clap::ValueEnum;

use self::socketio::Installed;
use self::town::Town;
use crate::Options;
use crate::table::{Bound, Row};

/// How large a run is.
pub(crate) struct Scale {
    pub runs: u32,
    quick: bool,
}

impl Scale {
    pub fn pick(&self, whole: usize, quick: usize) -> usize {
        if self.quick { quick } else { whole }
    }

    /// A bound that holds at full size only: a small crowd pays for wake-ups, not for messages.
    pub fn bound(&self, row: Row, bound: Bound) -> Row {
        if self.quick { row } else { row.bound(bound) }
    }

    /// Seconds.
    pub fn span(&self, whole: u64, quick: u64) -> Duration {
        Duration::from_secs(if self.quick { quick } else { whole })
    }
}

/// One of them, for `--only`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// A position from a driver to his rider.
    Relay,
    /// Sockets that say nothing.
    Idle,
    /// The map of free drivers.
    Nearby,
    /// Positions and bookings without a socket.
    Rest,
    /// One rider stops reading.
    Slow,
    /// Connections break all the time.
    Drops,
    /// Everything at once.
    Mixed,
}

const ORDER: [Scenario; 7] = [
    Scenario::Relay,
    Scenario::Idle,
    Scenario::Nearby,
    Scenario::Rest,
    Scenario::Slow,
    Scenario::Drops,
    Scenario::Mixed,
];

pub(crate) async fn run(options: &Options) -> anyhow::Result<Vec<Row>> {
    let scale = Scale { runs: options.runs, quick: options.quick };
    let peer = tokio::task::block_in_place(Installed::new)?;
    let mut town = Town::found().await?;
    let mut rows = Vec::new();
    for scenario in ORDER {
        if options.only.is_some_and(|only| only != scenario) {
            continue;
        }
        rows.extend(match scenario {
            Scenario::Relay => relay::run(&mut town, &peer, &scale).await?,
            Scenario::Idle => idle::run(&mut town, &peer, &scale).await?,
            Scenario::Nearby => nearby::run(&mut town, &peer, &scale).await?,
            Scenario::Rest => rest::run(&mut town, &scale).await?,
            Scenario::Slow => slow::run(&mut town, &scale).await?,
            Scenario::Drops => drops::run(&mut town, &scale).await?,
            Scenario::Mixed => mixed::run(&mut town, &scale).await?,
        });
    }
    Ok(rows)
}

/// From PostgreSQL's commit of a trip's change to its rider and driver.
pub(crate) async fn commits(options: &Options) -> anyhow::Result<Vec<Row>> {
    let scale = Scale { runs: options.runs, quick: options.quick };
    commits::run(&mut Town::found().await?, &scale).await
}

/// What a price along roads costs.
pub(crate) async fn estimates(options: &Options) -> anyhow::Result<Vec<Row>> {
    let scale = Scale { runs: options.runs, quick: options.quick };
    estimates::run(&mut Town::found().await?, &scale).await
}

/// One client floods the server.
pub(crate) async fn flood(options: &Options) -> anyhow::Result<Vec<Row>> {
    let scale = Scale { runs: options.runs, quick: options.quick };
    flood::run(&mut Town::found().await?, &scale).await
}

/// One server under everything at once, for minutes.
pub(crate) async fn soak(options: &Options, minutes: u64) -> anyhow::Result<Vec<Row>> {
    let scale = Scale { runs: options.runs, quick: options.quick };
    let mut town = Town::found().await?;
    mixed::soak(&mut town, &scale, Duration::from_secs(minutes * 60)).await
}
