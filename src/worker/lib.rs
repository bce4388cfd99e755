//! The work behind the answers: facts become jobs, jobs find their handlers, what recurs recurs.
//!
//! Owns only the wiring: which consumer hears of facts, which handler does which kind of job, what
//! is done at which time. What the work is, the flows and the rooms below know.
//!
//! Guarantees:
//! - every kind of job that a consumer asks for has a handler here;
//! - whoever waits for facts or jobs is woken by the commit that brings them, and looks by itself
//!   where the waking can't reach it.

mod upkeep;

use std::sync::Arc;

use events::{DeadLetters, Handlers, Relay, SagaRunner, WorkerConfig};
use flows::{AFTERMATH, Aftermath, Completions, Flows};
use ops::Tasks;

/// Notified by triggers of the outbox, and by whoever puts jobs down.
const CHANNELS: &[&str] = &["smartline_outbox", "smartline_jobs"];

/// The node's background work. Cheap to clone.
#[derive(Clone)]
pub struct Worker {
    pub relay: Relay,
    pub letters: DeadLetters,
}

/// Starts it: relay, workers, schedules.
pub fn start(flows: &Flows, tasks: &Tasks) -> Worker {
    let relay = Relay::new(flows.db.clone(), flows.jobs.clone(), vec![Arc::new(Completions)]);
    relay.start(tasks);
    let aftermath = SagaRunner::new(flows.db.clone(), Arc::new(Aftermath(flows.clone())));
    let handlers = Handlers::default()
        .on(AFTERMATH.job, Arc::new(aftermath))
        .on(&upkeep::SWEEP_KEYS, Arc::new(upkeep::SweepKeys(flows.keys.clone())))
        .every(&upkeep::EVERY_FEW_MINUTES);
    flows.jobs.work(tasks, &flows.clock, handlers, WorkerConfig::default());
    let (bell, jobs) = (relay.clone(), flows.jobs.clone());
    storage::listen(&flows.db, tasks, CHANNELS, move |channel, payload| match channel {
        "smartline_outbox" => bell.ring(),
        _ => jobs.ring(events::Queue::parse(payload)),
    });
    Worker { relay, letters: DeadLetters::new(&flows.jobs) }
}
