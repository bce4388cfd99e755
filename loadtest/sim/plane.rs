//! The synthetic city: a square of 20 km and its spots of demand.
//!
//! Owns places on a plane, and the wishes of the square. Knows no driver and no offer.

use base::Millis;
use rand::rngs::StdRng;
use rand::{Rng, RngExt};

/// Side of the city, metres.
pub const SIDE_M: f64 = 20_000.0;
/// A road is that much longer than the air.
pub const DETOUR: f64 = 1.3;
/// 24 km/h.
pub const SPEED_MPS: f64 = 24.0 / 3.6;

/// Where people live: middle, standard deviation and weight of each spot.
const HOMES: [Spot; 6] = [
    Spot { x: 3_500.0, y: 4_000.0, sigma: 1_600.0 },
    Spot { x: 4_500.0, y: 15_500.0, sigma: 1_800.0 },
    Spot { x: 10_000.0, y: 17_500.0, sigma: 1_500.0 },
    Spot { x: 16_500.0, y: 14_500.0, sigma: 1_800.0 },
    Spot { x: 16_000.0, y: 4_500.0, sigma: 1_600.0 },
    Spot { x: 9_500.0, y: 2_500.0, sigma: 1_500.0 },
];
/// Where they work.
const WORKS: [Spot; 3] = [
    Spot { x: 9_500.0, y: 9_500.0, sigma: 1_300.0 },
    Spot { x: 12_500.0, y: 11_500.0, sigma: 1_000.0 },
    Spot { x: 7_000.0, y: 11_000.0, sigma: 1_000.0 },
];
/// Nobody takes a car for less, metres of air.
const SHORTEST_M: f64 = 1_500.0;

/// Where trips go: so many of a hundred to work, so many from there, the rest anywhere.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Commute {
    pub to_work: f64,
    pub from_work: f64,
}

impl Default for Commute {
    fn default() -> Self {
        Self { to_work: 0.35, from_work: 0.35 }
    }
}

struct Spot {
    x: f64,
    y: f64,
    sigma: f64,
}

/// A place in metres from the south-western corner.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Place {
    pub x: f64,
    pub y: f64,
}

impl Place {
    pub fn air_m(self, other: Self) -> f64 {
        (self.x - other.x).hypot(self.y - other.y)
    }

    /// The place after a share of the way to `other`.
    pub fn towards(self, other: Self, share: f64) -> Self {
        let share = share.clamp(0.0, 1.0);
        Self { x: self.x + (other.x - self.x) * share, y: self.y + (other.y - self.y) * share }
    }

    pub fn anywhere(rng: &mut StdRng) -> Self {
        Self { x: rng.random_range(0.0..SIDE_M), y: rng.random_range(0.0..SIDE_M) }
    }

    fn near(spots: &[Spot], rng: &mut StdRng) -> Self {
        let spot = &spots[rng.random_range(0..spots.len())];
        // Box and Muller: two normal numbers from two even ones.
        let away = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt() * spot.sigma;
        let angle = rng.random_range(0.0..std::f64::consts::TAU);
        let (x, y) = (spot.x + away * angle.cos(), spot.y + away * angle.sin());
        Self { x: x.clamp(0.0, SIDE_M), y: y.clamp(0.0, SIDE_M) }
    }
}

/// A wish to travel, and how patient its rider is.
#[derive(Clone, Debug)]
pub struct Wish {
    pub at: Millis,
    pub from: Place,
    pub to: Place,
    /// Until a driver has accepted.
    pub patience_ms: i64,
    /// Longest pickup time he agrees to once a driver has accepted.
    pub pickup_limit_ms: i64,
}

/// Patience, and longest pickup: what everybody has, and the mean of what comes on top, seconds.
const PATIENCE_S: (f64, f64) = (30.0, 120.0);
const PICKUP_LIMIT_S: (f64, f64) = (540.0, 350.0);

impl Wish {
    pub fn draw(at: Millis, from: Place, to: Place, rng: &mut StdRng) -> Self {
        Self {
            at,
            from,
            to,
            patience_ms: draw_ms(PATIENCE_S, rng),
            pickup_limit_ms: draw_ms(PICKUP_LIMIT_S, rng),
        }
    }
}

fn draw_ms((least_s, more_s): (f64, f64), rng: &mut StdRng) -> i64 {
    ((least_s + exponential(rng, more_s)) * 1_000.0) as i64
}

/// Wishes for such trips, from `start` for `length_ms`, in order of time.
pub fn demand(
    trip: impl Fn(&mut StdRng) -> (Place, Place),
    (start, length_ms): (Millis, i64),
    per_minute: f64,
    rng: &mut StdRng,
) -> Vec<Wish> {
    let (mut wishes, mut at_s) = (Vec::new(), 0.0);
    loop {
        at_s += exponential(rng, 60.0 / per_minute);
        let at_ms = (at_s * 1_000.0) as i64;
        if at_ms >= length_ms {
            return wishes;
        }
        let (from, to) = trip(rng);
        wishes.push(Wish::draw(Millis(start.0 + at_ms), from, to, rng));
    }
}

impl Commute {
    /// Where a trip of the square begins and ends.
    pub fn trip(self, rng: &mut StdRng) -> (Place, Place) {
        apart(SHORTEST_M, || self.ends(rng))
    }

    fn ends(self, rng: &mut StdRng) -> (Place, Place) {
        let kind = rng.random::<f64>();
        if kind < self.to_work {
            (Place::near(&HOMES, rng), Place::near(&WORKS, rng))
        } else if kind < self.to_work + self.from_work {
            (Place::near(&WORKS, rng), Place::near(&HOMES, rng))
        } else {
            (Place::anywhere(rng), Place::anywhere(rng))
        }
    }
}

/// The first draw whose places are so many metres of air apart.
pub fn apart(least_m: f64, mut draw: impl FnMut() -> (Place, Place)) -> (Place, Place) {
    loop {
        let (from, to) = draw();
        if from.air_m(to) >= least_m {
            return (from, to);
        }
    }
}

pub fn exponential(rng: &mut impl Rng, mean: f64) -> f64 {
    -(1.0 - rng.random::<f64>()).ln() * mean
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn demand_is_poisson_and_riders_are_as_patient_as_said() {
        let mut rng = StdRng::seed_from_u64(2);
        let trip = |rng: &mut StdRng| Commute::default().trip(rng);
        let wishes = demand(trip, (Millis(0), 36_000_000), 34.0, &mut rng);
        // 20 400 expected; four standard deviations.
        assert!((19_800..21_000).contains(&wishes.len()), "{}", wishes.len());
        assert!(wishes.windows(2).all(|two| two[0].at <= two[1].at));
        assert!(wishes.iter().all(|wish| wish.from.air_m(wish.to) >= SHORTEST_M));
        let mean = |of: fn(&Wish) -> i64| {
            wishes.iter().map(of).sum::<i64>() as f64 / wishes.len() as f64 / 1_000.0
        };
        assert!((mean(|wish| wish.patience_ms) - 150.0).abs() < 4.0);
        assert!((mean(|wish| wish.pickup_limit_ms) - 890.0).abs() < 12.0);
    }
}
