//! The drivers of the synthetic city, and the engine's view of them.
//!
//! Owns where each driver is and what he does. Decides nothing: the events of `play` move him.

use std::collections::VecDeque;
use std::time::Duration;

use base::{DriverId, Millis, Point, Tier};
use dispatch::{Seen, Standing, View};
use rand::RngExt;
use rand::rngs::StdRng;

use super::plane::Place;
use super::town::Town;

/// A driver is shown as finishing in the last minutes of a trip; how far the engine plans ahead is
/// its own matter.
const FINISHING_MS: i64 = 600_000;
/// What a new driver's acceptance is worth, in offers, until his own answers outweigh it.
const PRIOR_OFFERS: f64 = 4.0;
const PRIOR: f64 = 0.65;
/// Trips of this long count as recent.
const RECENT_MS: i64 = 3_600_000;
const CELL_M: f64 = 1_000.0;

/// What a driver does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Doing {
    Idle,
    /// On the way to his rider, from where he was when he set out.
    Fetching {
        rider: usize,
        from: Place,
        since: Millis,
        until: Millis,
    },
    Driving {
        rider: usize,
        from: Place,
        to: Place,
        since: Millis,
        until: Millis,
    },
    Resting,
}

/// One driver.
#[derive(Clone, Debug)]
pub struct Car {
    pub at: Place,
    pub doing: Doing,
    /// Promised to him after the trip under way.
    pub next: Option<usize>,
    /// Raised by every change of plan, so that an event of an old plan is known as such.
    pub plan: u32,
    /// Chance that he takes an offer with a short pickup.
    pub accepts: f64,
    pub waiting_since: Millis,
    pub asked: u32,
    pub accepted: u32,
    pub taken: u32,
    pub completed: u32,
    pub ends: VecDeque<Millis>,
    pub earned: f64,
}

impl Car {
    pub fn draw(town: &Town, now: Millis, acceptance: f64, rng: &mut StdRng) -> Self {
        let spread = 0.15_f64.min(acceptance).min(1.0 - acceptance);
        Self {
            at: town.start(rng),
            doing: Doing::Idle,
            next: None,
            plan: 0,
            accepts: acceptance + spread * rng.random_range(-1.0..1.0),
            waiting_since: now,
            asked: 0,
            accepted: 0,
            taken: 0,
            completed: 0,
            ends: VecDeque::new(),
            earned: 0.0,
        }
    }

    pub fn place(&self, now: Millis) -> Place {
        match self.doing {
            Doing::Idle | Doing::Resting => self.at,
            Doing::Fetching { from, since, until, .. } => {
                from.towards(self.at, share(since, until, now))
            }
            Doing::Driving { from, to, since, until, .. } => {
                from.towards(to, share(since, until, now))
            }
        }
    }

    /// Share of offers taken, with a newcomer's benefit.
    fn acceptance(&self) -> f64 {
        let accepted = f64::from(self.accepted) + PRIOR * PRIOR_OFFERS;
        accepted / (f64::from(self.asked) + PRIOR_OFFERS)
    }

    fn standing(&self, offered: bool, now: Millis) -> (Standing, Place) {
        match self.doing {
            Doing::Idle if offered => (Standing::Offered, self.at),
            Doing::Idle => (Standing::Available, self.at),
            Doing::Resting => (Standing::Cooldown, self.at),
            Doing::Driving { to, until, .. }
                if self.next.is_none() && until.since(now) <= FINISHING_MS =>
            {
                let left_s = (until.since(now).max(0) + 999) / 1_000;
                (Standing::Finishing { left_s: left_s as u32 }, to)
            }
            Doing::Fetching { .. } | Doing::Driving { .. } => (Standing::Busy, self.place(now)),
        }
    }
}

/// How much of the time between two moments is over.
fn share(since: Millis, until: Millis, now: Millis) -> f64 {
    now.since(since) as f64 / until.since(since).max(1) as f64
}

pub fn driver_id(car: usize) -> DriverId {
    DriverId::from_u128(car as u128 + 1)
}

pub fn car_of(driver: DriverId) -> usize {
    usize::try_from(driver.as_u128() - 1).expect("the simulator numbers its drivers")
}

/// The fleet at one moment, sorted into cells.
pub struct Snapshot<'a> {
    town: &'a Town,
    /// When the run began.
    begin: Millis,
    cars: Vec<(Place, Seen)>,
    /// Cells of a row.
    width: usize,
    cells: Vec<Vec<usize>>,
}

impl<'a> Snapshot<'a> {
    pub fn take(
        town: &'a Town,
        begin: Millis,
        cars: &[Car],
        offered: impl Fn(usize) -> bool,
        now: Millis,
    ) -> Self {
        let width = (town.side_m() / CELL_M) as usize;
        let mut cells = vec![Vec::new(); width * width];
        let seen = |(index, car): (usize, &Car)| {
            let (standing, at) = car.standing(offered(index), now);
            cells[cell(at.y, width) * width + cell(at.x, width)].push(index);
            let completion =
                if car.taken == 0 { 1.0 } else { car.completed as f32 / car.taken as f32 };
            let recent =
                car.ends.iter().rev().take_while(|end| now.since(**end) < RECENT_MS).count();
            let seen = Seen {
                driver: driver_id(index),
                at: town.point(at),
                distance_m: 0.0,
                standing,
                tier: Tier::Economy,
                rating: 4.5,
                acceptance: car.acceptance() as f32,
                completion,
                waiting_since: car.waiting_since,
                recent_trips: recent as u16,
                heard: now,
                documents_until: now + Duration::from_secs(86_400),
                approved: true,
                fraud: false,
                conduct: None,
                in_debt: false,
                in_line: None,
            };
            (at, seen)
        };
        let cars = cars.iter().enumerate().map(seen).collect();
        Self { town, begin, cars, width, cells }
    }
}

fn cell(metres: f64, width: usize) -> usize {
    ((metres / CELL_M).max(0.0) as usize).min(width - 1)
}

impl View for Snapshot<'_> {
    fn drivers(
        &self,
        at: Point,
        radius_m: f64,
        limit: usize,
        _ahead: Duration,
        out: &mut Vec<Seen>,
    ) {
        let (at, width) = (self.town.place(at), self.width);
        let cell = |metres: f64| cell(metres, width);
        let (left, right) = (cell(at.x - radius_m), cell(at.x + radius_m));
        let mut near: Vec<(f64, usize)> = Vec::new();
        for row in cell(at.y - radius_m)..=cell(at.y + radius_m) {
            for index in self.cells[row * width + left..=row * width + right].iter().flatten() {
                let air_m = at.air_m(self.cars[*index].0);
                if air_m <= radius_m {
                    near.push((air_m, *index));
                }
            }
        }
        if near.len() > limit {
            near.select_nth_unstable_by(limit, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            near.truncate(limit);
        }
        out.extend(
            near.into_iter()
                .map(|(air_m, index)| Seen { distance_m: air_m, ..self.cars[index].1.clone() }),
        );
    }

    fn driver(&self, driver: DriverId, at: Point) -> Option<Seen> {
        let at = self.town.place(at);
        let found = self.cars.iter().find(|(_, seen)| seen.driver == driver);
        found.map(|(place, seen)| Seen { distance_m: at.air_m(*place), ..seen.clone() })
    }

    fn eta_s(&self, from: Point, to: Point, now: Millis) -> u32 {
        let (from, to) = (self.town.place(from), self.town.place(to));
        ((self.town.drive_ms(from, to, now.since(self.begin)) + 999) / 1_000) as u32
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn the_view_shows_the_nearest_as_a_look_at_everybody_would() {
        let (town, mut rng) = (Town::Square(Default::default()), StdRng::seed_from_u64(5));
        let cars: Vec<Car> =
            (0..300).map(|_| Car::draw(&town, Millis(0), 0.65, &mut rng)).collect();
        let snapshot = Snapshot::take(&town, Millis(0), &cars, |_| false, Millis(0));
        for (radius_m, limit) in [(5_000.0, 1_000), (5_000.0, 7), (300.0, 10), (40_000.0, 1_000)] {
            let at = Place::anywhere(&mut rng);
            let mut shown = Vec::new();
            snapshot.drivers(town.point(at), radius_m, limit, Duration::ZERO, &mut shown);
            let mut shown: Vec<DriverId> = shown.iter().map(|seen| seen.driver).collect();
            let mut all: Vec<(f64, DriverId)> = cars
                .iter()
                .enumerate()
                .map(|(index, car)| (town.place(town.point(at)).air_m(car.at), driver_id(index)))
                .filter(|(air_m, _)| *air_m <= radius_m)
                .collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut expected: Vec<DriverId> =
                all.into_iter().take(limit).map(|(_, driver)| driver).collect();
            shown.sort_unstable();
            expected.sort_unstable();
            assert_eq!(shown, expected, "{radius_m} m, {limit}");
        }
    }

    #[test]
    fn a_car_is_where_its_way_has_brought_it() {
        let town = Town::Square(Default::default());
        let mut car = Car::draw(&town, Millis(0), 0.65, &mut StdRng::seed_from_u64(1));
        let (from, to) = (Place { x: 0.0, y: 0.0 }, Place { x: 1_000.0, y: 0.0 });
        let (since, until) = (Millis(0), Millis(town.drive_ms(from, to, 0)));
        assert_eq!(until, Millis(195_000));
        car.doing = Doing::Driving { rider: 0, from, to, since, until };
        assert_eq!(car.place(Millis(97_500)), Place { x: 500.0, y: 0.0 });
        let left = |now| car.standing(false, Millis(now)).0;
        assert_eq!(left(0), Standing::Finishing { left_s: 195 });
        assert_eq!(left(194_001), Standing::Finishing { left_s: 1 });
        let promised = Car { next: Some(3), ..car.clone() };
        assert_eq!(promised.standing(false, Millis(0)).0, Standing::Busy);
    }
}
