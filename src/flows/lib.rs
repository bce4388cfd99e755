//! What people can do with SmartLine, one file per use case: the only door for whoever wants to
//! change something.
//!
//! Owns nothing: each flow asks the rooms that own the state, in an order that keeps the promises.
//! Knows no HTTP and no socket; REST and socket call the same flow and so can't disagree.
//!
//! Guarantees:
//! - whoever may not see a thing is told that it does not exist;
//! - what a flow answers is committed; what follows from it (offers, pushes, freed drivers) goes
//!   through the effects of `trips`, `dispatch` and `fleet`, carried out in order by [`effects`].

mod acts;
mod aftermath;
mod airport_queue;
mod answer_offer;
mod audit;
mod bids;
mod book_trip;
mod bookkeeping;
mod cancel_trip;
mod cards;
mod choose_strategy;
mod city_map;
mod dead_letters;
mod deposits;
mod disputes;
mod drive_trip;
mod effects;
mod experiments;
mod fences;
mod follow_trip;
mod forecast_demand;
mod fraud_desk;
mod fraud_watch;
mod go_online;
mod late_payment;
mod money;
mod next_trip;
mod notifications;
mod onboard_driver;
mod once;
mod partners;
mod pay_trip;
mod promo;
mod quote_price;
mod read;
mod receipt;
mod refunds;
mod remind_of_documents;
mod report_position;
mod rulebook;
mod sign_in;
mod suspense;
mod tell_people;
mod trip_form;
mod trip_news;
mod watch_city;
mod watch_conduct;
mod wire;
mod withdrawals;

use std::ops::Deref;
use std::sync::Arc;

use analytics::Analytics;
use base::Clock;
use books::Books;
use demand::Demand;
use dispatch::Dispatch;
use events::{IdempotencyKeys, Jobs};
use fleet::Fleet;
use fraud::Fraud;
use identity::Identity;
use notify::Notify;
use ops::{Breakers, Limiter, Tasks};
use payments::{ActLimits, Payments, Payouts};
use pricing::Pricing;
use rooms::Rooms;
use routing::Router;
use storage::Db;
use tokio::sync::Semaphore;
use trips::Trips;

pub use acts::Acted;
pub use aftermath::{AFTERMATH, Aftermath, Completions};
pub use airport_queue::keep_telling_places;
pub use answer_offer::{Answer, Answered, OfferAction};
pub use bids::{BidView, BidderVehicle, BidderView, BidsView};
pub use book_trip::{TripRequest, TripRequested};
pub use bookkeeping::{
    BOOKS_ARE_CLOSED, BOOKS_ARE_COMPARED, Bookkeeper, CLOSE_DAYS, RECONCILE_DAYS, look_at_day,
};
pub use cards::{CARD_TRIP, CardCashier, CardTrips};
pub use city_map::{CityMapView, CityName, CityView, Feature, FeatureFacts, Features, Shape};
pub use deposits::Cashier;
pub use disputes::Resolve;
pub use drive_trip::{Advance, Step};
pub use effects::{INBOX, Inbox, run};
pub use experiments::ExperimentRequest;
pub use fences::FenceRequest;
pub use follow_trip::TripReplay;
pub use forecast_demand::{EVERY_QUARTER, FORECAST_DEMAND, Forecaster, keep_hinting};
pub use fraud_watch::{FRAUD_SWEEP, FRAUD_SWEEPS, FRAUD_WATCH, FraudWatch, Watcher};
pub use go_online::OnlineWish;
pub use late_payment::{EVERY_SIX_HOURS, LATE_PAYMENTS, LATE_PAYMENTS_OF_ALL, LatePayer};
pub use once::{Attempt, Said, Sent, Turn, idempotency_key};
pub use pay_trip::{CashView, TipView};
pub use promo::{PromoCodeRequest, PromoFact, PromoWish};
pub use quote_price::EstimateRequest;
pub use receipt::{ChargeView, EarningsView, ReceiptView, RefundView};
pub use refunds::{FoundOut, Refunder};
pub use report_position::{BatchReply, RejectedPoint};
pub use rulebook::{EventRequest, HoursRequest, TariffRequest};
pub use suspense::GatewayPayout;
pub use trip_form::TripForm;
pub use trip_news::{DOCUMENT_REMINDERS, EVERY_MORNING, TRIP_NEWS, Teller, TripNews};
pub use watch_city::Scene;
pub use watch_conduct::{
    ANSWERS_ARE_WATCHED, CONDUCT_ANSWERS, CONDUCT_TRACKS, ConductWatcher, TRACKS_ARE_WATCHED,
};
pub use wire::{BidRange, MatchingView, OfferRevokedView, OfferView, TripLocationView};
pub use withdrawals::{Payer, Ruling};

/// The rooms that flows lead through, wired once by `app`.
pub struct House {
    pub db: Db,
    /// The way to the same database of what takes long: few connections, a longer time-out.
    pub slow: Db,
    pub clock: Clock,
    pub rooms: Rooms,
    pub router: Router,
    pub pricing: Pricing,
    pub identity: Identity,
    pub fleet: Fleet,
    pub trips: Trips,
    pub dispatch: Dispatch,
    pub notify: Notify,
    pub payments: Payments,
    pub payouts: Payouts,
    /// What an admin may do alone.
    pub act_limits: ActLimits,
    pub fraud: Fraud,
    pub books: Books,
    pub demand: Demand,
    pub analytics: Analytics,
    /// Idempotency keys.
    pub keys: IdempotencyKeys,
    /// What is to be done later.
    pub jobs: Jobs,
    pub tasks: Tasks,
    pub limiter: Limiter,
    pub breakers: Breakers,
}

/// Cheap to clone; derefs to the rooms for reads that change nothing.
#[derive(Clone)]
pub struct Flows {
    house: Arc<House>,
    /// Turns to read tracks of live trips back.
    restores: Arc<Semaphore>,
    /// Turns to note logins that failed.
    logins: Arc<Semaphore>,
}

/// Failed logins that are noted at once.
const LOGINS_NOTED: usize = 8;

impl Flows {
    pub fn new(house: House) -> Self {
        let restores = Arc::new(Semaphore::new(effects::RESTORES));
        let logins = Arc::new(Semaphore::new(LOGINS_NOTED));
        Self { house: Arc::new(house), restores, logins }
    }
}

impl Deref for Flows {
    type Target = House;

    fn deref(&self) -> &House {
        &self.house
    }
}
