//! `loadtest`: a city of drivers and riders against a SmartLine server, over the wire and
//! nothing else.
//!
//! Owns the program's start and its exit code: 0 when every promise held, 1 when one was broken,
//! 2 when the run could not be made. What it knows of the server is what the documents of the wire
//! say; only `loadtest sim` knows crates of it, as it plays the engine's own decisions on virtual
//! time and speaks to no server.
//!
//! Reading order: `config` (what is asked), `run` (phases), `driver` and `job`, `rider` and
//! `ride` (the people), `client` and `api` (the wire), `invariants` and `books` (the judges),
//! `report` and `page` (what comes out); `city` with `manhattan` and `cairo` is where it happens.
//! `sim` stands alone: the engine on virtual time.
#![expect(clippy::print_stdout, reason = "the report is the program's output")]
#![expect(unreachable_pub, reason = "a program has no outside; `pub` is what other files may use")]

mod accounts;
mod api;
mod books;
mod cairo;
mod car;
mod city;
mod client;
mod config;
mod demand;
mod driver;
mod geometry;
mod invariants;
mod job;
mod manhattan;
mod next;
mod page;
mod plots;
mod progress;
mod report;
mod ride;
mod rider;
mod run;
mod setup;
mod sim;
mod stats;
mod traces;
mod usage;
mod wire;
mod world;

use std::process::ExitCode;

use clap::Parser;

use crate::config::Args;

fn main() -> ExitCode {
    match start() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            progress::finish();
            eprintln!("loadtest: {error:#}");
            ExitCode::from(2)
        }
    }
}

/// Whether every promise held.
fn start() -> anyhow::Result<bool> {
    let mut words = std::env::args_os();
    if words.nth(1).is_some_and(|word| word == "sim") {
        return sim::start(&sim::Args::parse_from(
            ["loadtest sim".into()].into_iter().chain(words),
        ));
    }
    let args = Args::checked()?;
    let dir = args.report_dir.clone();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let report = runtime.block_on(Box::pin(run::run(args)))?;
    let page = report.write(&dir)?;
    println!("\n{}\nthe page with plots: {}", report.text(), page.display());
    runtime.shutdown_background();
    Ok(report.good())
}
