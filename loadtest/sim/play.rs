//! One run: the engine's own `tick` on virtual time, against riders and drivers who follow rules.
//!
//! The engine ticks once a second. Between two ticks things happen at their millisecond:
//! - a rider asks. While no driver has accepted he waits for his patience (30 s + exp 120 s), then
//!   he **gave up**. When he is told that there are no drivers he asks again 5 s later, as long as
//!   his patience lasts, and keeps his place in the queue;
//! - a driver who is offered a trip answers after 2 to 10 s, yes with his own chance (mean 65 %,
//!   ±15 points from driver to driver), which falls by 7 points of a hundred for each minute of way
//!   to the pickup above three (never below 15 % of it). An offer that is withdrawn before he has
//!   answered because another said yes was **taken**;
//! - the rider learns the pickup time with the yes. Is it above what he agrees to (9 min + exp 350
//!   s), he hopes for a nearer driver for a quarter of that; then he **called it off**, and the
//!   driver is free where he then is;
//! - a rider who has a driver may be given a nearer one (where the policy swaps): that one is asked
//!   like any other; with his yes the first is free where he then is, as long waiting as he was;
//! - at the pickup he is **served**. His wait is from his first asking to the pickup;
//! - after the drop-off the driver rests for 60 s, unless a next trip was promised to him;
//! - an idle driver stays where he is.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::time::Duration;

use base::{CityId, DriverId, Millis, OfferId, PaymentMethod, Piasters, Tier, TripId, UserId};
use dispatch::{Board, Decision, OfferPlan, Outcome, Part, Rules, Said, Search, Strategy, tick};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::cars::{Car, Doing, Snapshot, car_of, driver_id};
use super::measures::{Loss, Tally};
use super::plane::{Place, Wish};
use super::town::Town;

/// When a run begins, on the clock of the simulated city.
const START: Millis = Millis(1_700_000_000_000);
const RETRY_MS: i64 = 5_000;
const REST_MS: i64 = 60_000;
/// The part of the longest pickup he agrees to that a rider waits before he calls a longer one off.
const HOPES: i64 = 4;
/// How long after the measured hours riders go on asking, so that those before find a full city.
const TAIL_MS: i64 = 1_800_000;
/// Fare: to begin with, and per kilometre of road, pounds.
const FARE: (f64, f64) = (10.0, 5.0);

/// The city of one run.
#[derive(Clone)]
pub struct Setting {
    pub town: Town,
    pub seed: u64,
    pub drivers: usize,
    pub per_minute: f64,
    pub acceptance: f64,
    pub warm_up: Duration,
    pub measured: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Asks(usize),
    AsksAgain(usize),
    GivesUp(usize),
    CallsOff(usize),
    Answers(DriverId, OfferId),
    /// A car has come to the end of this plan.
    Arrives(usize, u32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Away,
    Waiting,
    /// Told that there are no drivers; asks again soon.
    Refused,
    Matched {
        car: usize,
        /// When the first driver said yes.
        at: Millis,
        /// When this one will be there.
        due: Millis,
    },
    Served,
    Gone,
}

struct Rider {
    wish: Wish,
    state: State,
    /// Asked within the measured hours.
    counts: bool,
    /// Drivers who were offered his trip.
    asked: u32,
}

pub struct Play {
    town: Town,
    now: Millis,
    board: Board,
    strategy: Strategy,
    cars: Vec<Car>,
    riders: Vec<Rider>,
    open: HashMap<DriverId, OfferPlan>,
    /// Whom each search that runs has asked.
    asked: HashSet<(TripId, DriverId)>,
    events: BinaryHeap<Reverse<(Millis, u64, Event)>>,
    events_made: u64,
    answers: StdRng,
    window: (Millis, Millis),
    tally: Tally,
}

impl Play {
    pub fn new(setting: &Setting, strategy: Strategy, rules: Rules) -> Self {
        // One stream each, so that every policy meets the same riders and drivers.
        let stream = |number: u64| StdRng::seed_from_u64(setting.seed * 16 + number);
        let length = setting.warm_up + setting.measured;
        let length_ms = length.as_millis() as i64 + TAIL_MS;
        let window = (START + setting.warm_up, START + length);
        let town = setting.town.clone();
        let wishes = town.wishes(START, length_ms, setting.per_minute, &mut stream(1));
        let mut fleet = stream(2);
        let cars = (0..setting.drivers)
            .map(|_| Car::draw(&town, START, setting.acceptance, &mut fleet))
            .collect();
        let counts = |wish: &Wish| (window.0..window.1).contains(&wish.at);
        let riders: Vec<Rider> = wishes
            .into_iter()
            .map(|wish| Rider { counts: counts(&wish), wish, state: State::Away, asked: 0 })
            .collect();
        let mut play = Self {
            town,
            now: START,
            board: Board::new(rules),
            strategy,
            cars,
            riders,
            open: HashMap::new(),
            asked: HashSet::new(),
            events: BinaryHeap::new(),
            events_made: 0,
            answers: stream(3),
            window,
            tally: Tally::default(),
        };
        for rider in 0..play.riders.len() {
            play.plan(play.riders[rider].wish.at, Event::Asks(rider));
        }
        play
    }

    /// Plays to the end, until nobody waits and nobody is asked.
    pub fn run(mut self) -> Tally {
        while !self.events.is_empty() || !self.open.is_empty() {
            self.second();
        }
        assert_eq!(self.board.open_offers(), 0, "a lease outlives the city");
        let (from, to) = self.window;
        self.tally.driver_hours = to.since(from) as f64 / 3.6e6 * self.cars.len() as f64;
        self.tally.earnings = self.cars.iter().map(|car| car.earned).collect();
        self.tally
    }

    fn second(&mut self) {
        self.now = self.now + Duration::from_secs(1);
        let until = self.now;
        while let Some(Reverse((at, _, event))) = self.events.peek().copied() {
            if at > until {
                break;
            }
            self.events.pop();
            self.now = at;
            self.happen(event);
        }
        self.now = until;
        let offered = |car: usize| self.open.contains_key(&driver_id(car));
        let town = self.town.clone();
        let snapshot = Snapshot::take(&town, START, &self.cars, offered, until);
        loop {
            for decision in tick(&mut self.board, &snapshot, until) {
                self.carry_out(decision);
            }
            if !self.board.is_mid_sweep() {
                break;
            }
        }
        assert_eq!(self.board.open_offers(), self.open.len(), "the board and the city disagree");
    }

    fn plan(&mut self, at: Millis, event: Event) {
        self.events_made += 1;
        self.events.push(Reverse((at, self.events_made, event)));
    }

    fn after(&mut self, ms: i64, event: Event) {
        self.plan(Millis(self.now.0 + ms), event);
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Asks(rider) => {
                let Rider { wish, counts, .. } = &self.riders[rider];
                let patience_ms = wish.patience_ms;
                self.tally.asked += u32::from(*counts);
                self.after(patience_ms, Event::GivesUp(rider));
                self.search(rider);
            }
            Event::AsksAgain(rider) if self.riders[rider].state == State::Refused => {
                self.search(rider);
            }
            Event::GivesUp(rider)
                if matches!(self.riders[rider].state, State::Waiting | State::Refused) =>
            {
                self.riders[rider].state = State::Gone;
                self.lose(rider, Loss::gave_up(self.riders[rider].asked));
                self.end_search(rider);
            }
            Event::CallsOff(rider) => self.call_off(rider),
            Event::Answers(driver, offer) => self.answer(driver, offer),
            Event::Arrives(car, plan) if self.cars[car].plan == plan => self.arrive(car),
            // Overtaken by what happened before.
            Event::AsksAgain(_) | Event::GivesUp(_) | Event::Arrives(..) => {}
        }
    }

    fn search(&mut self, rider: usize) {
        let Wish { at, from, to, .. } = self.riders[rider].wish;
        self.riders[rider].state = State::Waiting;
        let search = Search {
            trip: trip_id(rider),
            city: CityId(1),
            rider: UserId::from_u128(rider as u128 + 1).as_rider(),
            pickup: self.town.point(from),
            destination: self.town.point(to),
            tier: Tier::Economy,
            method: PaymentMethod::Cash,
            price: Piasters::pounds(self.fare(rider) as i64),
            asked_at: at,
            excluded: Vec::new(),
            familiar: Vec::new(),
            distance_m: self.town.road_m(from, to) as u32,
            duration_s: (self.drive_ms(from, to) / 1_000) as u32,
            ring_m: 5_000,
            strategy: Some(self.strategy),
            first: None,
            role: Part::Drive,
            until: None,
        };
        self.board.search(search, self.now);
    }

    fn carry_out(&mut self, decision: Decision) {
        match decision {
            Decision::Offers { plans, .. } => {
                for plan in plans {
                    let (driver, rider) = (plan.driver, rider_of(plan.trip));
                    assert!(self.asked.insert((plan.trip, driver)), "{driver} is asked twice");
                    self.tally.offers += u32::from(self.riders[rider].counts);
                    self.riders[rider].asked += 1;
                    let think_ms = self.answers.random_range(2_000..10_000);
                    self.after(think_ms, Event::Answers(driver, plan.offer));
                    let before = self.open.insert(driver, plan);
                    assert!(before.is_none(), "{driver} holds two offers");
                }
            }
            Decision::NoDrivers { trip, said: Said::First } => {
                let rider = rider_of(trip);
                self.end_search(rider);
                self.riders[rider].state = State::Refused;
                self.after(RETRY_MS, Event::AsksAgain(rider));
            }
            Decision::NoDrivers { said: Said::Again, .. } | Decision::Considered(_) => {}
            Decision::Lapsed(ended) => unreachable!("{ended:?} lapsed though every driver answers"),
        }
    }

    /// Ends a rider's search and what is open of it.
    fn end_search(&mut self, rider: usize) -> u32 {
        let trip = trip_id(rider);
        self.board.stop(trip);
        self.asked.retain(|(of, _)| *of != trip);
        self.withdraw(rider)
    }

    /// Takes back what is open of a rider's search; how many drivers had it before their eyes.
    fn withdraw(&mut self, rider: usize) -> u32 {
        let trip = trip_id(rider);
        let mut drivers: Vec<DriverId> =
            self.open.values().filter(|plan| plan.trip == trip).map(|plan| plan.driver).collect();
        drivers.sort_unstable();
        for driver in &drivers {
            self.open.remove(driver);
            // He said nothing, so that he may be asked again.
            self.asked.remove(&(trip, *driver));
            self.board.offer_ended(trip, *driver, Outcome::Revoked, self.now);
        }
        drivers.len() as u32
    }

    fn answer(&mut self, driver: DriverId, offer: OfferId) {
        // Withdrawn meanwhile, so that this is no answer to anything.
        if self.open.get(&driver).is_none_or(|plan| plan.offer != offer) {
            return;
        }
        let plan = self.open.remove(&driver).expect("it was there a line before");
        let car = car_of(driver);
        let yes = self.answers.random::<f64>() < self.cars[car].accepts * self.willing(&plan);
        self.cars[car].asked += 1;
        if !yes {
            self.board.offer_ended(plan.trip, driver, Outcome::Declined, self.now);
            return;
        }
        self.cars[car].accepted += 1;
        self.board.offer_ended(plan.trip, driver, Outcome::Accepted, self.now);
        let rider = rider_of(plan.trip);
        let taken = self.withdraw(rider);
        self.tally.taken += if self.riders[rider].counts { taken } else { 0 };
        match self.riders[rider].state {
            State::Waiting => {
                let waited_ms = self.now.since(self.riders[rider].wish.at);
                self.tally.matched_60 +=
                    u32::from(self.riders[rider].counts && waited_ms <= 60_000);
                self.take(car, rider, self.now);
            }
            State::Matched { car: other, at, .. } => {
                self.tally.swaps += u32::from(self.riders[rider].counts);
                let waiting_since = self.cars[other].waiting_since;
                self.release(other, rider);
                // Who loses a rider to a nearer one is as far ahead in the line as he was.
                self.cars[other].waiting_since = waiting_since;
                self.take(car, rider, at);
            }
            state => unreachable!("a driver was offered a trip that is {state:?}"),
        }
    }

    /// The driver has said yes; `at` is when the first one did.
    fn take(&mut self, car: usize, rider: usize, at: Millis) {
        self.cars[car].taken += 1;
        let from = self.riders[rider].wish.from;
        let pickup_ms = match self.cars[car].doing {
            Doing::Driving { to, until, .. } => {
                assert!(self.cars[car].next.is_none(), "a driver is promised one trip");
                self.cars[car].next = Some(rider);
                // As on a server: a trip that is queued keeps its driver.
                self.board.stop(trip_id(rider));
                until.since(self.now) + self.drive_ms(to, from)
            }
            // He came to his drop-off while he thought.
            Doing::Idle | Doing::Resting => {
                let way_ms = self.drive_ms(self.cars[car].at, from);
                self.fetch(car, rider);
                way_ms
            }
            Doing::Fetching { .. } => unreachable!("a driver has one trip"),
        };
        let due = Millis(self.now.0 + pickup_ms);
        self.riders[rider].state = State::Matched { car, at, due };
        let limit_ms = self.riders[rider].wish.pickup_limit_ms;
        if pickup_ms > limit_ms {
            self.after(limit_ms / HOPES, Event::CallsOff(rider));
        }
    }

    /// The rider has another driver now, or wants none: it wasn't this one's doing.
    fn release(&mut self, car: usize, rider: usize) {
        self.cars[car].taken -= 1;
        if self.cars[car].next == Some(rider) {
            self.cars[car].next = None;
            return;
        }
        let place = self.cars[car].place(self.now);
        if let Doing::Fetching { from, .. } = self.cars[car].doing {
            self.count_empty(rider, self.town.road_m(from, place));
        }
        self.cars[car].at = place;
        self.set_free(car);
    }

    /// Sets out to a rider.
    fn fetch(&mut self, car: usize, rider: usize) {
        let (from, to) = (self.cars[car].place(self.now), self.riders[rider].wish.from);
        let until = Millis(self.now.0 + self.drive_ms(from, to));
        let state = &mut self.cars[car];
        state.doing = Doing::Fetching { rider, from, since: self.now, until };
        state.at = to;
        state.plan += 1;
        let plan = state.plan;
        self.plan(until, Event::Arrives(car, plan));
    }

    fn call_off(&mut self, rider: usize) {
        let State::Matched { car, at, due } = self.riders[rider].state else { return };
        let pickup_ms = due.since(at);
        if pickup_ms <= self.riders[rider].wish.pickup_limit_ms {
            // A nearer driver was found while he thought about it.
            return;
        }
        self.riders[rider].state = State::Gone;
        self.lose(rider, Loss::called_off(pickup_ms));
        self.end_search(rider);
        self.release(car, rider);
    }

    fn lose(&mut self, rider: usize, loss: Loss) {
        let Rider { wish, counts, .. } = &self.riders[rider];
        if *counts {
            let seconds = self.now.since(wish.at) as f64 / 1_000.0;
            self.tally.losses.push((loss, seconds));
        }
    }

    fn count_empty(&mut self, rider: usize, metres: f64) {
        if self.riders[rider].counts {
            self.tally.empty_m += metres;
        }
    }

    fn set_free(&mut self, car: usize) {
        let state = &mut self.cars[car];
        state.doing = Doing::Idle;
        state.plan += 1;
        state.waiting_since = self.now;
    }

    /// A car is where its plan led it.
    fn arrive(&mut self, car: usize) {
        match self.cars[car].doing {
            Doing::Fetching { rider, from, until, .. } => self.pick_up(car, rider, from, until),
            Doing::Driving { rider, to, .. } => {
                self.cars[car].at = to;
                self.drop_off(car, rider);
            }
            Doing::Resting => self.set_free(car),
            Doing::Idle => unreachable!("an idle car has no plan"),
        }
    }

    fn pick_up(&mut self, car: usize, rider: usize, from: Place, at: Millis) {
        let State::Matched { at: matched, .. } = self.riders[rider].state else {
            unreachable!("who is picked up was matched")
        };
        let Wish { at: asked, from: pickup, to, .. } = self.riders[rider].wish;
        self.riders[rider].state = State::Served;
        let taken = self.end_search(rider);
        self.tally.taken += if self.riders[rider].counts { taken } else { 0 };
        if self.riders[rider].counts {
            self.tally.served += 1;
            self.tally.waits_s.push(at.since(asked) as f64 / 1_000.0);
            self.tally.pickups_s.push(at.since(matched) as f64 / 1_000.0);
        }
        self.count_empty(rider, self.town.road_m(from, pickup));
        let until = Millis(at.0 + self.drive_ms(pickup, to));
        let state = &mut self.cars[car];
        state.doing = Doing::Driving { rider, from: pickup, to, since: at, until };
        state.plan += 1;
        let plan = state.plan;
        self.plan(until, Event::Arrives(car, plan));
    }

    fn drop_off(&mut self, car: usize, rider: usize) {
        let (now, fare) = (self.now, self.fare(rider));
        let state = &mut self.cars[car];
        state.completed += 1;
        state.ends.push_back(now);
        if (self.window.0..self.window.1).contains(&now) {
            state.earned += fare;
            self.tally.ended += 1;
        }
        state.doing = Doing::Resting;
        state.plan += 1;
        let plan = state.plan;
        match state.next.take() {
            Some(next) => {
                state.waiting_since = now;
                self.fetch(car, next);
            }
            None => self.after(REST_MS, Event::Arrives(car, plan)),
        }
    }

    /// Driving time for one who sets out now, milliseconds.
    fn drive_ms(&self, from: Place, to: Place) -> i64 {
        self.town.drive_ms(from, to, self.now.since(START))
    }

    /// What is left of a driver's willingness with this way to the pickup.
    fn willing(&self, plan: &OfferPlan) -> f64 {
        let car = &self.cars[car_of(plan.driver)];
        let from = match car.doing {
            Doing::Driving { to, .. } => to,
            Doing::Idle | Doing::Resting | Doing::Fetching { .. } => car.at,
        };
        let way_ms = self.drive_ms(from, self.riders[rider_of(plan.trip)].wish.from);
        let minutes = (way_ms - 180_000).max(0) as f64 / 60_000.0;
        (1.0 - 0.07 * minutes).max(0.15)
    }

    fn fare(&self, rider: usize) -> f64 {
        let wish = &self.riders[rider].wish;
        FARE.0 + FARE.1 * self.town.road_m(wish.from, wish.to) / 1_000.0
    }
}

fn trip_id(rider: usize) -> TripId {
    TripId::from_u128(rider as u128 + 1)
}

fn rider_of(trip: TripId) -> usize {
    usize::try_from(trip.as_u128() - 1).expect("the simulator numbers its trips")
}
