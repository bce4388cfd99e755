//! The price desk: answers what a trip costs, redeems quotes, keeps the surge of each zone.
//!
//! Reads never wait: tariffs and surge are snapshots that are replaced whole. Only counting a
//! request and the periodic refresh take the surge engine's lock, briefly.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use base::{BasisPoints, CityId, Clock, Fault, Millis, Piasters, Point, Problem, Route};
use base::{Tier, UserId, limits};
use geo::Cell;
use ops::Tasks;
use parking_lot::Mutex;
use storage::Db;
use tokio::sync::Notify;
use tracing::warn;

use crate::calendar::{self, Event, SurgeArea, Window};
use crate::experiments::{Arm, Experiment, Twist};
use crate::quote::{Promise, Quote, QuoteKey, QuoteRefused, Trial, Way};
use crate::rulebook::RULES;
use crate::store;
use crate::surge::SurgeEngine;
use crate::tariff::{Factor, Factors, Fare, Tariff, fare};
use crate::wire::{Breakdown, Estimate, EstimateReply, EtaMinutes, PriceRange, PriceReason};
use crate::wire::{ReasonKind, RouteView};
use crate::wire::{SurgeLevel, SurgeZone};

/// How often tariffs, windows and events are read again when nobody says that they changed.
const RELOAD_EVERY: Duration = Duration::from_secs(60);
/// A quote is refused once surge is this many half times the quoted one (3 halves: 1.5 times).
const SURGE_ROSE_HALVES: u32 = 3;
/// The shown range around the price, when the way or the waiting changes.
const RANGE_LOW: BasisPoints = BasisPoints(9_300);
const RANGE_HIGH: BasisPoints = BasisPoints(11_500);
/// Shown beside higher prices.
const SURGE_MESSAGE: &str = "Prices are higher due to increased demand";

/// A question for the prices of several tiers.
#[derive(Clone, Copy, Debug)]
pub struct Ask<'a> {
    pub asker: Asker,
    pub city: CityId,
    /// IANA name, `Africa/Cairo`.
    pub time_zone: &'a str,
    pub pickup: Point,
    pub destination: Point,
    pub stops: &'a [Point],
    /// The moment of the pickup; none: at once.
    pub pickup_at: Option<Millis>,
    pub route: &'a Route,
    /// The tiers asked for, each with the seconds until a car could be at the pickup.
    pub tiers: &'a [(Tier, Option<u32>)],
}

/// Who wants to know prices, and may use the quotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    Rider(UserId),
    /// Asks for people whom nobody here knows: in no experiment.
    Partner(UserId),
}

impl Asker {
    pub const fn user(self) -> UserId {
        match self {
            Self::Rider(user) | Self::Partner(user) => user,
        }
    }
}

/// Prices, and what is counted of them.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    pub reply: EstimateReply,
    /// The variant of an experiment that set them.
    pub arm: Option<Arm>,
    /// What is charged of the surge.
    pub surge: Factor,
}

/// A trip about to be booked.
#[derive(Clone, Copy, Debug)]
pub struct Booking<'a> {
    pub rider: UserId,
    pub city: CityId,
    /// IANA name, `Africa/Cairo`.
    pub time_zone: &'a str,
    pub pickup: Point,
    pub destination: Point,
    pub stops: &'a [Point],
    pub tier: Tier,
    /// The moment of the pickup; none: at once.
    pub pickup_at: Option<Millis>,
    /// What the rider's app showed; checked, never taken.
    pub price: Option<Piasters>,
}

/// Why there is no price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PricingError {
    #[error("{} is not served in city {}", tier.name(), city.0)]
    NotServed { city: CityId, tier: Tier },
    #[error("city {} has a time zone that nobody knows", city.0)]
    NoTimeZone { city: CityId },
}

impl From<PricingError> for Problem {
    fn from(error: PricingError) -> Self {
        match error {
            PricingError::NotServed { tier, .. } => {
                let text = format!("{} is not served in this city", tier.name());
                Self::field("vehicleType", "not_served", &text)
            }
            PricingError::NoTimeZone { .. } => Fault::internal(error.to_string()).into(),
        }
    }
}

/// Everything that sets prices but surge; replaced whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    pub tariffs: Vec<Tariff>,
    pub windows: Vec<Window>,
    pub events: Vec<Event>,
    pub surge_areas: Vec<SurgeArea>,
    pub experiments: Vec<Experiment>,
}

impl Book {
    /// What the experiment that runs in a city does to a rider's prices, if he is in it.
    fn drawn(&self, city: CityId, rider: UserId, now: Millis) -> Option<(Trial, Twist)> {
        let running = self.experiments.iter().find(|one| one.city == city && one.runs(now))?;
        let (arm, twist) = running.draw(rider)?;
        Some((Trial { arm, surge_cap: twist.surge_cap }, *twist))
    }
}

/// Where the book is read from.
struct Source {
    db: Db,
    clock: Clock,
    /// One reads at a time, so that nobody puts down what he read before another one did.
    turn: tokio::sync::Mutex<()>,
}

struct Inner {
    book: ArcSwap<Book>,
    /// None where the book was given.
    source: Option<Source>,
    /// Zones with surge, as of the last refresh.
    surging: ArcSwap<HashMap<Cell, Factor>>,
    engine: Mutex<SurgeEngine>,
    key: QuoteKey,
}

/// The price desk. Cheap to clone.
#[derive(Clone)]
pub struct Pricing(Arc<Inner>);

impl Pricing {
    /// Loads the tariffs and keeps them fresh until the node stops: read again when somebody
    /// changes them, on whichever node, and from time to time.
    pub async fn start(db: Db, tasks: &Tasks, clock: Clock, key: QuoteKey) -> Result<Self, Fault> {
        let changed = Arc::new(Notify::new());
        let waking = Arc::clone(&changed);
        db.on_ring(RULES.channel, move |_| waking.notify_one());
        let source = Source { db, clock, turn: tokio::sync::Mutex::default() };
        let desk = Self::with(Book::default(), Some(source), key);
        desk.reload().await?;
        let (reloading, stopping) = (desk.clone(), tasks.stopping());
        tasks.spawn("tariffs", async move {
            let mut tick = tokio::time::interval(RELOAD_EVERY);
            tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            tick.tick().await;
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = changed.notified() => {}
                    _ = tick.tick() => {}
                }
                if let Err(fault) = reloading.reload().await {
                    // The last ones stay good; the next turn tries again.
                    warn!("tariffs could not be read again: {fault}");
                }
            }
        });
        Ok(desk)
    }

    /// Reads tariffs, windows, events and surge areas again; what was committed before is in force
    /// after.
    pub async fn reload(&self) -> Result<(), Fault> {
        let Some(source) = &self.0.source else { return Ok(()) };
        let _turn = source.turn.lock().await;
        let book = store::load(&source.db, source.clock.now()).await?;
        self.0.book.store(Arc::new(book));
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn with_book(book: Book, key: QuoteKey) -> Self {
        Self::with(book, None, key)
    }

    fn with(book: Book, source: Option<Source>, key: QuoteKey) -> Self {
        Self(Arc::new(Inner {
            book: ArcSwap::from_pointee(book),
            source,
            surging: ArcSwap::default(),
            engine: Mutex::default(),
            key,
        }))
    }

    /// Prices every tier asked for that the city serves; refused when it serves none of them.
    pub fn estimate(&self, ask: &Ask<'_>, now: Millis) -> Result<Shown, PricingError> {
        let book = self.0.book.load();
        let drawn = match ask.asker {
            Asker::Rider(rider) => book.drawn(ask.city, rider, now),
            Asker::Partner(_) => None,
        };
        let mut estimates = Vec::with_capacity(ask.tiers.len());
        let (mut unserved, mut surge) = (None, Factor::ONE);
        for (tier, pickup_s) in ask.tiers {
            let booking = Booking {
                rider: ask.asker.user(),
                city: ask.city,
                time_zone: ask.time_zone,
                pickup: ask.pickup,
                destination: ask.destination,
                stops: ask.stops,
                tier: *tier,
                pickup_at: ask.pickup_at,
                price: None,
            };
            match self.price(&book, &booking, ask.route, drawn, now) {
                Ok(priced) => {
                    surge = priced.surge;
                    estimates.push(estimate(priced, ask.route, *pickup_s));
                }
                Err(PricingError::NotServed { city, tier }) => {
                    unserved = Some(PricingError::NotServed { city, tier });
                }
                Err(error @ PricingError::NoTimeZone { .. }) => return Err(error),
            }
        }
        match unserved {
            Some(error) if estimates.is_empty() => Err(error),
            _ => {
                let surge_active = surge > Factor::ONE;
                let surge_message = surge_active.then_some(SURGE_MESSAGE);
                let reply = EstimateReply { estimates, surge_active, surge_message };
                Ok(Shown { reply, arm: drawn.map(|(trial, _)| trial.arm), surge })
            }
        }
    }

    /// The price of the booking, as a fresh quote for the rider who books.
    pub fn quote_now(
        &self,
        booking: &Booking<'_>,
        route: &Route,
        now: Millis,
    ) -> Result<Quote, PricingError> {
        let book = self.0.book.load();
        let drawn = book.drawn(booking.city, booking.rider, now);
        self.price(&book, booking, route, drawn, now).map(|priced| priced.quote)
    }

    /// Takes a rider at his quote, if it is one of ours, for this booking, and still good.
    pub fn redeem(
        &self,
        id: &str,
        booking: &Booking<'_>,
        now: Millis,
    ) -> Result<Quote, QuoteRefused> {
        let way = way(booking);
        let promise = Promise::open(id, way, &self.0.key).ok_or(QuoteRefused::Invalid)?;
        if promise.rider != booking.rider
            || promise.tier != booking.tier
            || promise.pickup_at != booking.pickup_at
        {
            return Err(QuoteRefused::Invalid);
        }
        if now >= promise.expires {
            return Err(QuoteRefused::Expired);
        }
        if booking.price.is_some_and(|price| price != promise.price) {
            return Err(QuoteRefused::PriceChanged);
        }
        let cap = promise.trial.map_or(Factor::CAP, |trial| trial.surge_cap);
        // What is charged ahead is not of today's demand.
        let surge = match booking.pickup_at {
            Some(_) => Factor::ONE,
            None => self.factor_at(booking.pickup).min(cap),
        };
        if surge.0 * 2 >= promise.surge.0 * SURGE_ROSE_HALVES {
            return Err(QuoteRefused::SurgeRose);
        }
        Ok(Quote {
            id: id.to_owned(),
            tier: promise.tier,
            price: promise.price,
            distance_m: promise.distance_m,
            duration_s: promise.duration_s,
            surge: promise.surge.as_f32(),
            commission: promise.commission,
            pickup_at: promise.pickup_at,
            arm: promise.trial.map(|trial| trial.arm),
            expires: promise.expires,
        })
    }

    /// Counts a request for the surge of its zone.
    pub fn requested(&self, pickup: Point, now: Millis) {
        self.0.engine.lock().requested(geo::surge_cell(pickup), now);
    }

    /// Moves the surge of every zone a step; call it every few seconds. `available` says how many
    /// drivers are free in a surge cell. Answers with the zones that surge.
    pub fn refresh_surge(
        &self,
        available: impl Fn(Cell) -> u32,
        now: Millis,
    ) -> Arc<HashMap<Cell, Factor>> {
        let surging = {
            let mut engine = self.0.engine.lock();
            engine.refresh(now, available);
            engine.surging()
        };
        let surging = Arc::new(surging);
        self.0.surging.store(Arc::clone(&surging));
        surging
    }

    /// The multiplier of the zone that holds the place; 1 is none.
    pub fn surge_at(&self, at: Point) -> f32 {
        self.factor_at(at).as_f32()
    }

    /// The zones with surge whose centre is within `radius_m` metres, or that hold the place, the
    /// strongest first.
    pub fn surge_map(&self, at: Point, radius_m: f64) -> Vec<SurgeZone> {
        let (surging, book) = (self.0.surging.load(), self.0.book.load());
        let mut near: Vec<(Cell, Factor)> = surging
            .iter()
            .map(|(cell, factor)| (*cell, *factor))
            .filter(|(cell, _)| cell.center().distance_m(at) <= radius_m)
            .collect();
        near.sort_by_key(|(cell, factor)| (std::cmp::Reverse(*factor), *cell));
        let cells = near
            .into_iter()
            .map(|(cell, factor)| (factor, zone(cell.center(), cell.boundary(), factor, None)));
        let drawn = book.surge_areas.iter().filter(|area| {
            area.factor > Factor::ONE
                && (area.outline.center().distance_m(at) <= radius_m || area.outline.holds(at))
        });
        let drawn = drawn.map(|area| {
            let corners = area.outline.corners().to_vec();
            let name = Some(area.name.clone());
            (area.factor, zone(area.outline.center(), corners, area.factor, name))
        });
        let mut zones: Vec<(Factor, SurgeZone)> = cells.chain(drawn).collect();
        zones.sort_by_key(|(factor, _)| std::cmp::Reverse(*factor));
        zones.into_iter().map(|(_, zone)| zone).collect()
    }

    fn factor_at(&self, at: Point) -> Factor {
        self.surge_in(&self.0.book.load(), at).0
    }

    /// The surge of a place, and the drawn area that sets it where demand alone calls for less.
    fn surge_in<'a>(&self, book: &'a Book, at: Point) -> (Factor, Option<&'a SurgeArea>) {
        let surging = self.0.surging.load();
        let asked = surging.get(&geo::surge_cell(at)).copied().unwrap_or(Factor::ONE);
        match calendar::surge_area(&book.surge_areas, at) {
            Some(area) if area.factor > asked => (area.factor, Some(area)),
            _ => (asked, None),
        }
    }

    fn price(
        &self,
        book: &Book,
        booking: &Booking<'_>,
        route: &Route,
        drawn: Option<(Trial, Twist)>,
        now: Millis,
    ) -> Result<Priced, PricingError> {
        let (city, tier) = (booking.city, booking.tier);
        let at = booking.pickup_at.unwrap_or(now);
        let tariff = book
            .tariffs
            .iter()
            .find(|tariff| tariff.city == city && tariff.tier == tier && tariff.is_valid(at))
            .ok_or(PricingError::NotServed { city, tier })?;
        let local =
            calendar::local(at, booking.time_zone).ok_or(PricingError::NoTimeZone { city })?;
        let (surge, area) = match booking.pickup_at {
            Some(_) => (Factor::ONE, None),
            None => self.surge_in(book, booking.pickup),
        };
        let window = calendar::time_of_day(&book.windows, city, local);
        let event = calendar::event(&book.events, city, booking.pickup, at);
        let factors = Factors {
            surge,
            time_of_day: window.map_or(Factor::ONE, |window| window.factor),
            event: event.map_or(Factor::ONE, |event| event.factor),
            twist: drawn.map_or(Twist::NONE, |(_, twist)| twist),
        };
        let charged = factors.charged_surge();
        let reasons = [
            reason(
                if area.is_some() { ReasonKind::SurgeZone } else { ReasonKind::Demand },
                area.map(|area| &area.name),
                charged,
            ),
            reason(ReasonKind::Hours, window.map(|window| &window.name), factors.time_of_day),
            reason(ReasonKind::Event, event.map(|event| &event.name), factors.event),
        ];
        let fare = fare(tariff, route.distance_m, route.duration_s, factors);
        let promise = Promise {
            rider: booking.rider,
            tier,
            price: fare.total,
            distance_m: route.distance_m,
            duration_s: route.duration_s,
            surge: charged,
            commission: tariff.commission,
            expires: now + limits::QUOTE_TTL,
            pickup_at: booking.pickup_at,
            trial: drawn.map(|(trial, _)| trial),
        };
        let quote = promise.quote(way(booking), &self.0.key);
        let reasons = reasons.into_iter().flatten().collect();
        Ok(Priced { quote, fare, surge: charged, reasons })
    }
}

/// A quote, and how its price came about.
struct Priced {
    quote: Quote,
    fare: Fare,
    /// What is charged of it.
    surge: Factor,
    reasons: Vec<PriceReason>,
}

/// What a factor is shown as; one that changes nothing is no reason.
fn reason(kind: ReasonKind, name: Option<&String>, factor: Factor) -> Option<PriceReason> {
    let multiplier = factor.as_f32();
    (factor != Factor::ONE).then(|| PriceReason { kind, name: name.cloned(), multiplier })
}

fn zone(center: Point, boundary: Vec<Point>, factor: Factor, name: Option<String>) -> SurgeZone {
    SurgeZone { center, boundary, multiplier: factor.as_f32(), level: SurgeLevel::of(factor), name }
}

const fn way<'a>(booking: &Booking<'a>) -> Way<'a> {
    Way { pickup: booking.pickup, stops: booking.stops, destination: booking.destination }
}

fn estimate(priced: Priced, route: &Route, pickup_s: Option<u32>) -> Estimate {
    let Priced { quote, fare, reasons, .. } = priced;
    let minutes = |seconds: u32| seconds.div_ceil(60).max(1);
    let edge = |share| quote.price.share(share).round_to(50);
    Estimate {
        vehicle_type: quote.tier,
        price: quote.price,
        promo: None,
        price_range: PriceRange { min: edge(RANGE_LOW), max: edge(RANGE_HIGH) },
        eta: EtaMinutes { pickup: pickup_s.map(minutes), trip: minutes(route.duration_s) },
        surge_multiplier: quote.surge,
        breakdown: Breakdown {
            trip: fare.trip,
            surge: fare.surge,
            booking_fee: fare.booking_fee,
            total: fare.total,
            reasons,
        },
        route: RouteView {
            distance: route.distance_m,
            duration: route.duration_s,
            polyline: route.polyline.clone(),
        },
        expires_at: quote.expires,
        quote_id: quote.id,
    }
}
