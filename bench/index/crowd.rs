//! Crowds of drivers that drive: where they are, where they go next, what is asked meanwhile.
//!
//! Seeded, so that every run of the program sees the same city. In Cairo two of three drivers stand
//! around hot spots, the rest anywhere in a circle of 25 km; in the world they stand in five
//! hundred cities. A step is 10 to 15 m along a street; at one corner in ten they turn.

use base::Point;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

const SEED: u64 = 0x5eed;
/// Metres of a degree of latitude.
const DEGREE_M: f64 = 111_195.0;
/// One question to nineteen moves.
const MOVES_PER_QUESTION: usize = 19;
/// Questions of a round that has nothing else.
const QUESTIONS: usize = 2000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Cairo,
    World,
}

impl Shape {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Cairo => "Cairo",
            Self::World => "world",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Moves,
    Questions,
    Mixed,
}

impl Work {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Moves => "a move",
            Self::Questions => "the nearest 10",
            Self::Mixed => "95 moves to 5 questions",
        }
    }
}

#[derive(Clone, Copy)]
pub(crate) enum Step {
    Move { slot: u32, to: Point },
    Ask { from: Point },
}

#[derive(Clone, Copy)]
struct Driver {
    at: Point,
    /// Radians from north.
    heading: f32,
}

pub(crate) struct Crowd {
    rng: StdRng,
    drivers: Vec<Driver>,
    /// Whose turn it is, in ever new order.
    order: Vec<u32>,
}

impl Crowd {
    pub(crate) fn new(shape: Shape, size: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(SEED);
        let spots = spots(shape, &mut rng);
        let drivers = (0..size)
            .map(|_| Driver { at: home(shape, &spots, &mut rng), heading: street(&mut rng) })
            .collect();
        let order = (0..u32::try_from(size).expect("slots are 32 bits")).collect();
        Self { rng, drivers, order }
    }

    pub(crate) fn len(&self) -> usize {
        self.drivers.len()
    }

    /// By slot.
    pub(crate) fn places(&self) -> impl Iterator<Item = (u32, Point)> {
        (0..).zip(self.drivers.iter().map(|driver| driver.at))
    }

    /// A turn of everyone (or only questions), as one stream.
    pub(crate) fn round(&mut self, work: Work) -> Vec<Step> {
        if work == Work::Questions {
            return (0..QUESTIONS).map(|_| Step::Ask { from: self.corner() }).collect();
        }
        let mut order = std::mem::take(&mut self.order);
        order.shuffle(&mut self.rng);
        let mut steps = Vec::with_capacity(order.len() * 20 / MOVES_PER_QUESTION + 1);
        for (place, slot) in order.iter().enumerate() {
            steps.push(Step::Move { slot: *slot, to: self.advance(*slot) });
            if work == Work::Mixed && place % MOVES_PER_QUESTION == MOVES_PER_QUESTION / 2 {
                steps.push(Step::Ask { from: self.corner() });
            }
        }
        self.order = order;
        steps
    }

    /// Where somebody may stand who wants a car: within some 300 m of one.
    pub(crate) fn corner(&mut self) -> Point {
        let near = self.rng.random_range(0..self.drivers.len());
        let (north, east) = (self.rng.random::<f64>() - 0.5, self.rng.random::<f64>() - 0.5);
        shifted(self.drivers[near].at, north * 600.0, east * 600.0)
    }

    fn advance(&mut self, slot: u32) -> Point {
        let driver = &mut self.drivers[slot as usize];
        if self.rng.random_range(0..10) == 0 {
            driver.heading += std::f32::consts::FRAC_PI_2 * self.rng.random_range(1..4) as f32;
        }
        let metres = self.rng.random_range(10.0..15.0);
        let (sin, cos) = f64::from(driver.heading).sin_cos();
        driver.at = shifted(driver.at, metres * cos, metres * sin);
        driver.at
    }
}

/// A centre, how far its crowd reaches (metres), and its weight added to those before.
type Spot = (Point, f64, f64);

fn spots(shape: Shape, rng: &mut StdRng) -> Vec<Spot> {
    let (count, reach_m) = match shape {
        Shape::Cairo => (40, 300.0..1500.0),
        Shape::World => (500, 4000.0..12_000.0),
    };
    let mut weight = 0.0;
    (1..=count)
        .map(|rank| {
            weight += 1.0 / f64::from(rank);
            let at = match shape {
                Shape::Cairo => in_circle(rng, 15_000.0),
                Shape::World => {
                    let (lat, lng) =
                        (rng.random_range(-45.0..62.0), rng.random_range(-180.0..180.0));
                    place(lat, lng)
                }
            };
            (at, rng.random_range(reach_m.clone()), weight)
        })
        .collect()
}

fn home(shape: Shape, spots: &[Spot], rng: &mut StdRng) -> Point {
    if shape == Shape::Cairo && rng.random_range(0..3) == 0 {
        return in_circle(rng, 25_000.0);
    }
    let total = spots.last().map_or(0.0, |spot| spot.2);
    let drawn = rng.random::<f64>() * total;
    let spot = spots.partition_point(|spot| spot.2 < drawn).min(spots.len() - 1);
    let (centre, reach_m, _) = spots[spot];
    shifted(centre, reach_m * normal(rng), reach_m * normal(rng))
}

fn in_circle(rng: &mut StdRng, radius_m: f64) -> Point {
    let (turn, share) = (rng.random::<f64>() * std::f64::consts::TAU, rng.random::<f64>());
    let metres = radius_m * share.sqrt();
    shifted(place(30.0444, 31.2357), metres * turn.cos(), metres * turn.sin())
}

/// Standard normal, by Box and Muller.
fn normal(rng: &mut StdRng) -> f64 {
    let (one, two): (f64, f64) = (rng.random(), rng.random());
    (-2.0 * (1.0 - one).ln()).sqrt() * (std::f64::consts::TAU * two).cos()
}

/// Along one of the streets of a city built square, a little askew.
fn street(rng: &mut StdRng) -> f32 {
    0.3 + std::f32::consts::FRAC_PI_2 * rng.random_range(0..4) as f32
}

fn shifted(from: Point, north_m: f64, east_m: f64) -> Point {
    let lat = from.lat() + north_m / DEGREE_M;
    place(lat, from.lng() + east_m / (DEGREE_M * from.lat().to_radians().cos()))
}

fn place(lat: f64, lng: f64) -> Point {
    let wrapped = (lng + 180.0).rem_euclid(360.0) - 180.0;
    Point::new(lat.clamp(-85.0, 85.0), wrapped).expect("clamped and wrapped")
}
