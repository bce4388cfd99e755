//! A made-up city: drivers on a line north of one pickup, and a board to play them against.

use std::collections::BTreeSet;
use std::time::Duration;

use base::{CityId, DriverId, Millis, PaymentMethod, Piasters, Point, Tier, TripId, UserId};

use crate::board::{Board, Rules};
use crate::eligibility::Standing;
use crate::engine::tick;
use crate::model::{Decision, OfferPlan, Outcome, Part, Said, Search, Seen, View};
use crate::strategy::{Strategy, Swap};
use crate::supply::Supply;

/// A reach of round numbers to reckon with; the product's own come from measurements.
pub(super) const REACH: Supply = Supply { short_s: 240.0, ample_s: 900.0, ample: 3.0, growth: 1.0 };

/// A minute and a half sooner is worth a swap, and each look is for it.
pub(super) const EAGER: Swap = Swap { gain: Duration::from_secs(90), every: Duration::ZERO };

/// When every test begins.
pub(super) const START: Millis = Millis(1_700_000_000_000);

pub(super) fn driver(number: u128) -> DriverId {
    DriverId::from_u128(number)
}

pub(super) fn trip(number: u128) -> TripId {
    TripId::from_u128(number)
}

/// A place `metres` north of the pickup.
pub(super) fn north(metres: f64) -> Point {
    Point::new(30.0 + metres / 111_195.08, 31.0).expect("a place near Cairo")
}

/// Economy, cash, 5 km.
pub(super) fn search(number: u128, asked_at: Millis) -> Search {
    Search {
        trip: trip(number),
        city: CityId(1),
        rider: UserId::from_u128(number).as_rider(),
        pickup: north(0.0),
        destination: north(8_000.0),
        tier: Tier::Economy,
        method: PaymentMethod::Cash,
        price: Piasters::pounds(50),
        asked_at,
        excluded: Vec::new(),
        familiar: Vec::new(),
        distance_m: 8_000,
        duration_s: 1_200,
        ring_m: 5_000,
        strategy: None,
        first: None,
        role: Part::Drive,
        until: None,
    }
}

/// An average driver who may be asked.
pub(super) fn seen(number: u128, metres: f64) -> Seen {
    Seen {
        driver: driver(number),
        at: north(metres),
        distance_m: metres,
        standing: Standing::Available,
        tier: Tier::Economy,
        rating: 4.5,
        acceptance: 0.8,
        completion: 0.9,
        waiting_since: START,
        recent_trips: 0,
        heard: START,
        documents_until: START + Duration::from_secs(86_400),
        approved: true,
        fraud: false,
        conduct: None,
        in_debt: false,
        in_line: None,
    }
}

/// How one drives in this city.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Ways {
    /// 24 km/h, 1.3 times the air distance.
    Straight,
    /// The pickup's own bank of the river is ten minutes farther than the other.
    RoundTheRiver,
}

/// The drivers as the engine sees them; everybody was heard of just now.
pub(super) struct City {
    pub(super) drivers: Vec<Seen>,
    pub(super) ways: Ways,
    /// Where places in line count; nowhere named: everywhere.
    pub(super) airports: Vec<Point>,
}

impl City {
    pub(super) fn new(drivers: Vec<Seen>) -> Self {
        Self { drivers, ways: Ways::Straight, airports: Vec::new() }
    }

    pub(super) fn of(&mut self, number: u128) -> &mut Seen {
        let id = driver(number);
        self.drivers.iter_mut().find(|seen| seen.driver == id).expect("a driver of this city")
    }
}

impl View for City {
    fn drivers(
        &self,
        at: Point,
        radius_m: f64,
        limit: usize,
        _ahead: Duration,
        out: &mut Vec<Seen>,
    ) {
        let mut near: Vec<Seen> = self.drivers.clone();
        let has_line = self.airports.is_empty() || self.airports.contains(&at);
        for seen in &mut near {
            seen.distance_m = seen.distance_from(at);
            seen.in_line = seen.in_line.filter(|_| has_line);
        }
        near.retain(|seen| seen.in_line.is_some() || seen.distance_m <= radius_m);
        near.sort_by(|a, b| {
            let place = |seen: &Seen| (seen.in_line.is_none(), seen.in_line);
            place(a).cmp(&place(b)).then(a.distance_m.total_cmp(&b.distance_m))
        });
        near.truncate(limit);
        out.extend(near);
    }

    fn driver(&self, driver: DriverId, at: Point) -> Option<Seen> {
        let mut found = self.drivers.iter().find(|seen| seen.driver == driver)?.clone();
        found.distance_m = found.distance_from(at);
        let has_line = self.airports.is_empty() || self.airports.contains(&at);
        found.in_line = found.in_line.filter(|_| has_line);
        Some(found)
    }

    fn eta_s(&self, from: Point, to: Point, _now: Millis) -> u32 {
        let metres = from.distance_m(to);
        let detour = if self.ways == Ways::RoundTheRiver && metres < 1_000.0 { 600 } else { 0 };
        (metres * 0.195) as u32 + detour
    }
}

/// A board, a city and a clock that stands until it is set.
pub(super) struct Play {
    pub(super) board: Board,
    pub(super) city: City,
    pub(super) now: Millis,
    /// Offers that are open, as the world outside sees them.
    pub(super) open: Vec<OfferPlan>,
}

impl Play {
    pub(super) fn new(drivers: Vec<Seen>) -> Self {
        Self::with(Rules::default(), drivers)
    }

    pub(super) fn with(rules: Rules, drivers: Vec<Seen>) -> Self {
        Self { board: Board::new(rules), city: City::new(drivers), now: START, open: Vec::new() }
    }

    /// Sets the clock to `seconds` after the start.
    pub(super) fn at(&mut self, seconds: f64) -> &mut Self {
        self.now = START + Duration::from_millis((seconds * 1_000.0).round() as u64);
        self
    }

    pub(super) fn ask_batched(&mut self, number: u128, pickup_m: f64) -> &mut Self {
        let asked = search(number, self.now);
        let (strategy, pickup) = (Some(Strategy::Batched), north(pickup_m));
        self.board.search(Search { strategy, pickup, ..asked }, self.now);
        self
    }

    pub(super) fn ask(&mut self, number: u128) -> &mut Self {
        self.board.search(search(number, self.now), self.now);
        self
    }

    /// One driver's open offer ends; does nothing when he has none.
    pub(super) fn end(&mut self, number: u128, outcome: Outcome) -> &mut Self {
        let Some(place) = self.open.iter().position(|plan| plan.driver == driver(number)) else {
            return self;
        };
        let plan = self.open.swap_remove(place);
        self.board.offer_ended(plan.trip, plan.driver, outcome, self.now);
        self
    }

    /// Every open offer ends the same way.
    pub(super) fn end_all(&mut self, outcome: Outcome) -> &mut Self {
        for plan in std::mem::take(&mut self.open) {
            self.board.offer_ended(plan.trip, plan.driver, outcome, self.now);
        }
        self
    }

    /// One tick; what it decided.
    pub(super) fn decide(&mut self) -> Vec<Decision> {
        for seen in &mut self.city.drivers {
            seen.heard = self.now;
        }
        let decisions = tick(&mut self.board, &self.city, self.now);
        self.follow(&decisions);
        decisions
    }

    /// Keeps count of the offers that these decisions open and end.
    pub(super) fn follow(&mut self, decisions: &[Decision]) {
        for decision in decisions {
            match decision {
                Decision::Offers { plans, .. } => self.take_offers(plans),
                Decision::Lapsed(ended) => {
                    self.open.retain(|plan| plan.offer != ended.plan.offer);
                }
                Decision::Considered(_) | Decision::NoDrivers { .. } => {}
            }
        }
    }

    /// The invariant of the whole room is checked here, after each tick of each test.
    fn take_offers(&mut self, plans: &[OfferPlan]) {
        self.open.extend(plans.iter().cloned());
        let drivers: BTreeSet<DriverId> = self.open.iter().map(|plan| plan.driver).collect();
        assert_eq!(drivers.len(), self.open.len(), "two open offers for one driver");
    }

    /// One tick, in words: `1: 7 8` (trip 1 is offered to drivers 7 and 8, best first).
    pub(super) fn tick(&mut self) -> String {
        let decisions = self.decide();
        let words = decisions.iter().filter_map(|decision| match decision {
            Decision::Offers { plans, .. } => {
                let drivers: Vec<String> =
                    plans.iter().map(|plan| plan.driver.as_u128().to_string()).collect();
                Some(format!("{}: {}", plans[0].trip.as_u128(), drivers.join(" ")))
            }
            Decision::NoDrivers { trip, said: Said::First } => {
                Some(format!("{}: no drivers", trip.as_u128()))
            }
            Decision::NoDrivers { trip, said: Said::Again } => {
                Some(format!("{}: still no drivers", trip.as_u128()))
            }
            Decision::Lapsed(ended) => Some(format!("lapsed {}", ended.plan.driver.as_u128())),
            Decision::Considered(_) => None,
        });
        words.collect::<Vec<_>>().join(", ")
    }
}
