//! The work behind the answers: facts become jobs, jobs find their handlers, what recurs recurs.
//!
//! Owns only the wiring: which consumer hears of facts, which handler does which kind of job, what
//! is done at which time. What the work is, the flows and the rooms below know.
//!
//! Guarantees:
//! - every kind of job that a consumer asks for has a handler here;
//! - whoever waits for facts or jobs is woken by the commit that brings them, and looks by itself
//!   where the waking can't reach it.

mod facts;
mod upkeep;

use std::sync::Arc;

use events::{Handlers, Relay, SagaRunner, WorkerConfig};
use flows::{
    AFTERMATH, ANSWERS_ARE_WATCHED, Aftermath, BOOKS_ARE_CLOSED, BOOKS_ARE_COMPARED, Bookkeeper,
    CARD_TRIP, CLOSE_DAYS, CONDUCT_ANSWERS, CONDUCT_TRACKS, CardCashier, CardTrips, Cashier,
    Completions, ConductWatcher, DOCUMENT_REMINDERS, EVERY_MORNING, EVERY_QUARTER, EVERY_SIX_HOURS,
    FORECAST_DEMAND, FRAUD_SWEEP, FRAUD_SWEEPS, FRAUD_WATCH, Flows, Forecaster, FraudWatch,
    LATE_PAYMENTS, LATE_PAYMENTS_OF_ALL, LatePayer, Payer, RECONCILE_DAYS, Refunder,
    TRACKS_ARE_WATCHED, TRIP_NEWS, Teller, TripNews, Watcher,
};
use notify::{CALM_NOTIFICATION, NOTIFICATION};
use ops::Tasks;
use payments::{
    CARD, CARD_LOOKS, CARDS_EVERY_MINUTE, DEPOSIT_LOOK, DEPOSIT_LOOKS, EVERY_MINUTE,
    PAYMENT_NOTICE, PAYOUT, PAYOUT_LOOKS, PAYOUTS_EVERY_MINUTE, REFUND, REFUND_LOOKS,
    REFUNDS_EVERY_MINUTE,
};

pub use facts::facts;

/// Starts the node's background work: relay, workers, schedules.
pub fn start(flows: &Flows, tasks: &Tasks) {
    let relay = Relay::new(
        flows.db.clone(),
        vec![Arc::new(Completions), Arc::new(TripNews), Arc::new(FraudWatch), Arc::new(CardTrips)],
    );
    relay.start(tasks);
    let aftermath = SagaRunner::new(flows.db.clone(), Arc::new(Aftermath(flows.clone())));
    let (teller, notify) = (Arc::new(Teller(flows.clone())), Arc::new(flows.notify.clone()));
    let (cashier, payer) = (Arc::new(Cashier(flows.clone())), Arc::new(LatePayer(flows.clone())));
    let (payouts, refunder) = (Arc::new(Payer(flows.clone())), Arc::new(Refunder(flows.clone())));
    let cards = Arc::new(CardCashier(flows.clone()));
    let watcher = Arc::new(Watcher(flows.clone()));
    let seal_days = upkeep::SealDays { db: flows.slow.clone(), clock: flows.clock.clone() };
    let forecaster = Arc::new(Forecaster(flows.clone()));
    let bookkeeper = Arc::new(Bookkeeper(flows.clone()));
    let handlers = conduct(flows)
        .on(AFTERMATH.job, Arc::new(aftermath))
        .on(&upkeep::SWEEP_KEYS, Arc::new(upkeep::SweepKeys(flows.keys.clone())))
        .on(&TRIP_NEWS, Arc::clone(&teller) as _)
        .on(&DOCUMENT_REMINDERS, teller)
        .on(&NOTIFICATION, Arc::clone(&notify) as _)
        .on(&CALM_NOTIFICATION, notify)
        .on(&PAYMENT_NOTICE, Arc::clone(&cashier) as _)
        .on(&DEPOSIT_LOOK, Arc::clone(&cashier) as _)
        .on(&DEPOSIT_LOOKS, cashier)
        .on(&LATE_PAYMENTS, Arc::clone(&payer) as _)
        .on(&LATE_PAYMENTS_OF_ALL, payer)
        .on(&upkeep::ROLL_UP, Arc::new(upkeep::RollUp(flows.db.clone())))
        .on(&upkeep::SEAL_DAYS, Arc::new(seal_days))
        .every(&upkeep::EVERY_SHORT_WHILE)
        .every(&upkeep::EVERY_HOUR)
        .every(&EVERY_MORNING)
        .on(&PAYOUT, Arc::clone(&payouts) as _)
        .on(&PAYOUT_LOOKS, payouts)
        .on(&REFUND, Arc::clone(&refunder) as _)
        .on(&REFUND_LOOKS, refunder)
        .on(&CARD_TRIP, Arc::clone(&cards) as _)
        .on(&CARD, Arc::clone(&cards) as _)
        .on(&CARD_LOOKS, cards)
        .every(&CARDS_EVERY_MINUTE)
        .every(&EVERY_MINUTE)
        .every(&PAYOUTS_EVERY_MINUTE)
        .every(&REFUNDS_EVERY_MINUTE)
        .every(&EVERY_SIX_HOURS)
        .on(&FRAUD_WATCH, Arc::clone(&watcher) as _)
        .on(&FRAUD_SWEEP, watcher)
        .every(&FRAUD_SWEEPS)
        .on(&FORECAST_DEMAND, forecaster)
        .every(&EVERY_QUARTER)
        .on(&CLOSE_DAYS, Arc::clone(&bookkeeper) as _)
        .on(&RECONCILE_DAYS, bookkeeper)
        .every(&BOOKS_ARE_CLOSED)
        .every(&BOOKS_ARE_COMPARED)
        .every(&upkeep::EVERY_FEW_MINUTES);
    flows.jobs.work(tasks, &flows.clock, handlers, WorkerConfig::default());
    storage::listen(&flows.db, tasks);
}

/// Where drivers are not looked at these kinds are not known, and wait for a node that does.
fn conduct(flows: &Flows) -> Handlers {
    if !flows.fraud.watches_driving() {
        return Handlers::default();
    }
    let watcher = Arc::new(ConductWatcher(flows.clone()));
    Handlers::default()
        .on(&CONDUCT_TRACKS, Arc::clone(&watcher) as _)
        .on(&CONDUCT_ANSWERS, watcher)
        .every(&TRACKS_ARE_WATCHED)
        .every(&ANSWERS_ARE_WATCHED)
}
