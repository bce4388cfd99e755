//! A rider and her phone, from the wish to travel to the receipt.
//!
//! Owns one errand: look at prices, book by socket (by REST when the socket fails), and hand over
//! to `ride.rs`, which follows the trip. A rider who can't be used again in this run (she owes
//! money, or sits in a trip that can't be ended) is not given back.

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::accounts::Account;
use crate::api::{Ask, Failure};
use crate::books::Receipt;
use crate::client::Socket;
use crate::geometry::Place;
use crate::invariants::{Rule, Violation};
use crate::ride::Ride;
use crate::setup;
use crate::stats::add;
use crate::wire::{Booked, Estimate, Estimates, PaymentMethod, Tier, TripPage, TripView};
use crate::world::{Phase, World};

/// Times a rider asks anew when prices change or the server is busy.
const TRIES: u32 = 4;
/// How far around herself a rider looks for drivers, kilometres.
const WATCH_KM: f64 = 2.0;

/// From where to where.
#[derive(Clone, Copy, Debug)]
pub struct Errand {
    pub from: Place,
    pub to: Place,
}

pub struct Rider {
    pub world: Arc<World>,
    pub account: Account,
    pub rng: StdRng,
    errand: Errand,
}

/// A booked trip and what it was booked with.
#[derive(Clone, Copy, Debug)]
pub struct Booking {
    pub trip: Uuid,
    pub tier: Tier,
    pub method: PaymentMethod,
}

/// Whether the account may be used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Afterwards {
    Free,
    Retired,
}

impl Rider {
    pub const fn new(world: Arc<World>, account: Account, errand: Errand, rng: StdRng) -> Self {
        Self { world, account, rng, errand }
    }

    /// Runs the errand; hands the account back when it is of further use.
    pub async fn run(mut self) -> (Account, Afterwards) {
        let afterwards = self.errand().await;
        (self.account, afterwards)
    }

    async fn errand(&mut self) -> Afterwards {
        let mut socket = match self.connect().await {
            Ok(socket) => socket,
            Err(failure) => return self.give_up(&failure),
        };
        if self.rng.random_bool(self.world.args.watchers) {
            self.watch(&mut socket).await;
        }
        if setup::pays_by_wallet(&self.world, self.account.index) {
            let world = self.world.clone();
            if let Err(failure) = setup::fill_wallet(&world, &mut self.account).await {
                self.mention(&failure);
            }
        }
        match self.book(&mut socket).await {
            Ok(None) => {
                socket.close().await;
                Afterwards::Free
            }
            Ok(Some(booking)) => {
                add(&self.world.stats.totals.asked);
                Ride::new(self, booking).follow(socket).await
            }
            Err(failure) => {
                socket.close().await;
                self.give_up(&failure)
            }
        }
    }

    fn give_up(&self, failure: &Failure) -> Afterwards {
        add(&self.world.stats.totals.refused);
        self.mention(failure);
        if failure.is("PAYMENT_DUE") || failure.is("TRIP_IN_PROGRESS") {
            Afterwards::Retired
        } else {
            Afterwards::Free
        }
    }

    /// Opens a socket with a token that is good for a while.
    pub async fn connect(&mut self) -> Result<Socket, Failure> {
        let token = self.account.token(&self.world).await?;
        let (world, encoding) = (&self.world, self.world.encoding(self.account.index));
        let opened = Socket::open(&world.args.url, &token, encoding, &world.stats).await;
        if let Err(failure) = &opened {
            world.stats.failed("socket", failure.code(), &failure.to_string());
            if matches!(failure, Failure::Refused(_)) {
                self.account.forget_token();
            }
        }
        opened
    }

    /// Looks at the drivers around for a moment.
    async fn watch(&mut self, socket: &mut Socket) {
        let at = self.errand.from;
        let body = json!({"lat": at.lat, "lng": at.lng, "radius": WATCH_KM});
        if let Err(failure) = socket.ask::<Value>("nearby.subscribe", &body).await {
            self.mention(&failure);
            return;
        }
        let looks = Duration::from_secs_f64(self.rng.random_range(1.0..4.0));
        let frames = async { while socket.next().await.is_ok() {} };
        let _ = tokio::time::timeout(looks, frames).await;
    }

    /// Books, unless the run winds down first.
    async fn book(&mut self, socket: &mut Socket) -> Result<Option<Booking>, Failure> {
        let mut by_wallet = setup::pays_by_wallet(&self.world, self.account.index);
        let (mut last, mut paid_due) = (Failure::TimedOut, false);
        for _ in 0..TRIES {
            if self.world.now() > Phase::Running {
                return Ok(None);
            }
            let method = if by_wallet { PaymentMethod::Wallet } else { PaymentMethod::Cash };
            let quote = self.quote().await?;
            let failure = match self.ask(socket, &quote, method).await {
                Ok(booked) => return Ok(Some(self.booked(&booked, &quote, method))),
                Err(failure) => failure,
            };
            self.mention(&failure);
            match failure.code() {
                "INSUFFICIENT_BALANCE" | "PAYMENT_METHOD_UNAVAILABLE" => by_wallet = false,
                "PAYMENT_DUE" if !paid_due => {
                    paid_due = true;
                    setup::pay_due(&self.world.clone(), &mut self.account).await?;
                }
                "PRICE_CHANGED" | "QUOTE_EXPIRED" | "QUOTE_INVALID" => {}
                // An earlier request of hers may have gone through although its answer was lost.
                "TRIP_IN_PROGRESS" => self.end_open_trip().await?,
                _ if failure.passes() => tokio::time::sleep(Duration::from_secs(1)).await,
                _ => return Err(failure),
            }
            last = failure;
        }
        Err(last)
    }

    /// The price of the tier she wants.
    async fn quote(&mut self) -> Result<Estimate, Failure> {
        let world = self.world.clone();
        let token = self.account.token(&world).await?;
        let body = json!({"pickup": self.errand.from, "destination": self.errand.to});
        let ask = Ask::post("estimate", "/pricing/estimate", &token);
        let estimates: Estimates = world.api.post(ask, &body).await?;
        let wanted = self.tier();
        let mut offers = estimates.estimates;
        let index = offers.iter().position(|offer| offer.vehicle_type == wanted).unwrap_or(0);
        if index < offers.len() {
            return Ok(offers.swap_remove(index));
        }
        Err(Failure::Odd("an estimate without a single tier".to_owned()))
    }

    fn tier(&mut self) -> Tier {
        match self.rng.random_range(0..100) {
            0..=3 => Tier::Xl,
            4..=6 => Tier::Premium,
            7..=17 => Tier::Comfort,
            _ => Tier::Economy,
        }
    }

    async fn ask(
        &mut self,
        socket: &mut Socket,
        quote: &Estimate,
        method: PaymentMethod,
    ) -> Result<Booked, Failure> {
        let body = json!({
            "pickup": self.errand.from,
            "destination": self.errand.to,
            "vehicleType": quote.vehicle_type,
            "paymentMethod": method,
            "quoteId": quote.quote_id,
            "price": quote.price,
        });
        match socket.ask::<Booked>("trip.request", &body).await {
            Err(failure) if failure.is_lost() => self.mention(&failure),
            answer => return answer,
        }
        *socket = self.connect().await?;
        let token = self.account.token(&self.world).await?;
        let ask = Ask::post("trip.request by REST", "/trips/request", &token);
        self.world.api.post(ask.with_key(Uuid::new_v4()), &body).await
    }

    fn booked(&self, booked: &Booked, quote: &Estimate, method: PaymentMethod) -> Booking {
        if let Some(price) = booked.price
            && price != quote.price
        {
            let what = format!("trip {}: quoted {}, booked {price}", booked.trip_id, quote.price);
            self.world.judge.report([Violation::new(Rule::Q1, what)]);
        }
        self.world.booked.lock().push(booked.trip_id);
        Booking { trip: booked.trip_id, tier: quote.vehicle_type, method }
    }

    /// Ends a trip she has without knowing it.
    async fn end_open_trip(&mut self) -> Result<(), Failure> {
        let world = self.world.clone();
        let token = self.account.token(&world).await?;
        let ask = Ask::get("trips", "/trips?limit=5", &token);
        let page: TripPage = world.api.get(ask).await?;
        for trip in page.trips.iter().filter(|trip| !trip.status.ended()) {
            let ask = Ask::post("cancel", format!("/trips/{}/cancel", trip.id), &token);
            world.api.post::<Value>(ask, &json!({"reason": "other"})).await?;
            let ended = self.view(trip.id).await?;
            let receipt =
                Receipt::of(&ended, self.account.id, (Tier::Economy, PaymentMethod::Cash));
            world.judge.report(world.judge.books(|books| books.settle(&receipt)));
        }
        Ok(())
    }

    /// The trip as REST shows it.
    pub async fn view(&mut self, trip: Uuid) -> Result<TripView, Failure> {
        let world = self.world.clone();
        let token = self.account.token(&world).await?;
        world.api.get(Ask::get("trip", format!("/trips/{trip}"), &token)).await
    }

    pub fn mention(&self, failure: &Failure) {
        self.world.mention(&format!("rider {}", self.account.index), failure);
    }
}
