//! A vehicle: where it is, where it goes, how fast; and the positions it reports.
//!
//! Owns movement in real time. Guarantees that its reported positions have rising timestamps and
//! are never further apart than its speed allows.

use std::time::Instant;

use rand::{Rng, RngExt};

use crate::geometry::{Path, Place};
use crate::wire::{Fix, now_ms};

pub struct Car {
    at: Place,
    heading: f64,
    path: Option<Path>,
    kmh: f64,
    stepped: Instant,
    reported_ms: i64,
}

impl Car {
    pub fn new(at: Place) -> Self {
        Self { at, heading: 0.0, path: None, kmh: 0.0, stepped: Instant::now(), reported_ms: 0 }
    }

    pub const fn at(&self) -> Place {
        self.at
    }

    /// Sets off along a path that begins here.
    pub fn go(&mut self, path: Path, kmh: f64) {
        self.step();
        self.heading = path.heading();
        self.path = Some(path);
        self.kmh = kmh;
    }

    /// Whether there is nowhere left to go.
    pub fn stands(&self) -> bool {
        self.path.as_ref().is_none_or(Path::done)
    }

    /// Moves as far as the time since the last step allows.
    pub fn step(&mut self) {
        let now = Instant::now();
        let seconds = now.duration_since(self.stepped).as_secs_f64();
        self.stepped = now;
        let Some(path) = &mut self.path else { return };
        if !path.done() {
            self.at = path.advance(self.kmh / 3.6 * seconds).rounded();
            self.heading = path.heading();
        }
    }

    /// Moves, and says where it is now.
    pub fn report(&mut self, rng: &mut impl Rng) -> Fix {
        self.step();
        self.reported_ms = now_ms().max(self.reported_ms + 1);
        Fix {
            at: self.at,
            heading: self.heading,
            speed_kmh: if self.stands() { 0.0 } else { self.kmh },
            accuracy_m: rng.random_range(3.0..15.0),
            timestamp: self.reported_ms,
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::geometry::First;

    #[test]
    fn reports_rise_in_time_and_a_car_that_stands_says_so() {
        let (mut rng, here) = (StdRng::seed_from_u64(1), Place::new(40.75, -73.98));
        let mut car = Car::new(here);
        let first = car.report(&mut rng);
        let second = car.report(&mut rng);
        assert!(second.timestamp > first.timestamp);
        assert!(car.stands() && second.speed_kmh == 0.0);
        car.go(Path::along_grid(here, here.moved(5_000.0, 0.0), 0.0, First::Street), 90.0);
        assert!(!car.stands());
        assert!((car.report(&mut rng).heading - 90.0).abs() < 0.1);
    }
}
