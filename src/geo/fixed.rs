//! Fixed-point places and the haversine term on them.
//!
//! A place is two 32-bit numbers in units of 360°/2³² (9.3 mm at the equator): `x` runs east from
//! −180° and wraps by itself, `y` runs north from −90°. Everything the index compares is computed
//! here from these whole numbers, so that a bound and the distance it bounds round the same way.

use base::{EARTH_RADIUS_M, Point};

pub(crate) const UNIT_DEG: f64 = 360.0 / 4_294_967_296.0;
pub(crate) const UNIT_RAD: f64 = std::f64::consts::TAU / 4_294_967_296.0;
/// The northernmost `y`, one unit south of the pole, so that shard rows stay within 0..256.
pub(crate) const TOP_Y: u32 = (1 << 31) - 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Fixed {
    pub(crate) y: u32,
    pub(crate) x: u32,
}

impl Fixed {
    pub(crate) const fn pack(self) -> u64 {
        ((self.y as u64) << 32) | self.x as u64
    }

    pub(crate) const fn unpack(packed: u64) -> Self {
        Self { y: (packed >> 32) as u32, x: packed as u32 }
    }

    pub(crate) fn point(self) -> Point {
        let lat = f64::from(self.y) * UNIT_DEG - 90.0;
        let lng = f64::from(self.x) * UNIT_DEG - 180.0;
        Point::new(lat, lng).expect("32-bit fixed point spans exactly the ranges of a place")
    }
}

impl From<Point> for Fixed {
    fn from(at: Point) -> Self {
        let y = ((at.lat() + 90.0) / UNIT_DEG).round() as u32;
        // 180° east wraps to 180° west, which is the same meridian.
        let x = ((at.lng() + 180.0) / UNIT_DEG).round() as u64 as u32;
        Self { y: y.min(TOP_Y), x }
    }
}

/// The place as the index keeps it: at most 5 mm from `at`.
pub fn snap(at: Point) -> Point {
    Fixed::from(at).point()
}

/// Distance in metres between two places as the index keeps them.
pub fn distance_m(from: Point, to: Point) -> f64 {
    metres(Origin::new(Fixed::from(from)).term(Fixed::from(to)))
}

/// Metres of a haversine term.
pub(crate) fn metres(term: f64) -> f64 {
    2.0 * EARTH_RADIUS_M * term.sqrt().min(1.0).asin()
}

pub(crate) fn cos_lat(y: f64) -> f64 {
    (y * UNIT_RAD - std::f64::consts::FRAC_PI_2).cos().max(0.0)
}

/// The place a query asks from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    pub(crate) at: Fixed,
    cos: f64,
}

impl Origin {
    pub(crate) fn new(at: Fixed) -> Self {
        Self { at, cos: cos_lat(f64::from(at.y)) }
    }

    /// sin²(half the angle) to `other`: grows with the distance, 0 to 1.
    pub(crate) fn term(&self, other: Fixed) -> f64 {
        let dx = other.x.wrapping_sub(self.at.x);
        let dx = dx.min(dx.wrapping_neg());
        let dy = self.at.y.abs_diff(other.y);
        self.combine(f64::from(dy), f64::from(dx), cos_lat(f64::from(other.y)))
    }

    /// No place in the box has a smaller term. The box may lie across the antimeridian (`x` below
    /// zero or over 2³²) and reach over a pole (then only its part on Earth counts).
    pub(crate) fn term_to_box(&self, lower: [i64; 2], upper: [i64; 2]) -> f64 {
        let (south, north) = (lower[1].max(0), upper[1].min(i64::from(TOP_Y)));
        let y = i64::from(self.at.y);
        let dy = (south - y).max(y - north).max(0);
        let dx = self.gap_x(lower[0], upper[0]);
        let cos = cos_lat(south as f64).min(cos_lat(north as f64));
        // One part in 10¹² covers the rounding of the sines: monotone, but for the last bit.
        self.combine(dy as f64, dx as f64, cos) * (1.0 - 1e-12)
    }

    /// Units of longitude from here to the span, the short way round; 0 inside.
    fn gap_x(&self, west: i64, east: i64) -> i64 {
        const TURN: i64 = 1 << 32;
        if east - west >= TURN {
            return 0;
        }
        let x = i64::from(self.at.x);
        let inside = (x - west).rem_euclid(TURN) <= east - west;
        if inside { 0 } else { (west - x).rem_euclid(TURN).min((x - east).rem_euclid(TURN)) }
    }

    fn combine(&self, dy: f64, dx: f64, cos_other: f64) -> f64 {
        let sin_y = (dy * (UNIT_RAD / 2.0)).sin();
        let sin_x = (dx * (UNIT_RAD / 2.0)).sin();
        sin_y * sin_y + self.cos * cos_other * (sin_x * sin_x)
    }
}

/// No place of at most this term is more units of latitude away.
pub(crate) fn half_y_of(term: f64) -> u64 {
    // Two units to spare for rounding, and the flat top of the sine with them.
    (2.0 * term.sqrt().min(1.0).asin() * (1.0 + 1e-7) / UNIT_RAD).ceil() as u64 + 2
}

/// A circle on the sphere and the latitudes and longitudes it spans.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cap {
    pub(crate) origin: Origin,
    /// Metres.
    pub(crate) radius_m: f64,
    /// Units of latitude to either side.
    pub(crate) half_y: u64,
    /// Units of longitude to either side; at least half a turn when the circle holds a pole.
    pub(crate) half_x: u64,
}

const HALF_TURN: u64 = 1 << 31;

impl Cap {
    /// A radius that is negative or not a number finds nothing but what is at `from` itself.
    pub(crate) fn new(from: Point, radius_m: f64) -> Self {
        let origin = Origin::new(Fixed::from(from));
        let radius_m = radius_m.max(0.0);
        let angle = (radius_m / EARTH_RADIUS_M).min(std::f64::consts::PI);
        // Two units to spare: rounding here may only make the span wider.
        let units = |radians: f64| (radians / UNIT_RAD).ceil() as u64 + 2;
        let lat = f64::from(origin.at.y) * UNIT_RAD - std::f64::consts::FRAC_PI_2;
        let holds_pole = lat.abs() + angle >= std::f64::consts::FRAC_PI_2 - 1e-6;
        let half_x = if holds_pole {
            HALF_TURN
        } else {
            units((angle.sin() / lat.cos()).clamp(0.0, 1.0).asin()).min(HALF_TURN)
        };
        Self { origin, radius_m, half_y: units(angle), half_x }
    }

    /// Cheap first look: is `other` within the spans?
    pub(crate) fn may_hold(&self, other: Fixed) -> bool {
        let dx = other.x.wrapping_sub(self.origin.at.x);
        let dx = dx.min(dx.wrapping_neg());
        let dy = self.origin.at.y.abs_diff(other.y);
        u64::from(dy) <= self.half_y && u64::from(dx) <= self.half_x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(lat: f64, lng: f64) -> Point {
        Point::new(lat, lng).expect("a place of the test")
    }

    #[test]
    fn a_place_is_kept_to_five_millimetres() {
        for place in [at(30.0444, 31.2357), at(-89.99, 179.999), at(0.0, -180.0), at(90.0, 5.0)] {
            assert!(place.distance_m(snap(place)) < 0.01, "{place:?}");
            assert_eq!(snap(snap(place)), snap(place), "snapping twice changes nothing");
        }
        assert_eq!(snap(at(1.0, 180.0)).lng(), -180.0);
    }

    #[test]
    fn the_term_measures_what_the_haversine_formula_measures() {
        let check = |a: Point, b: Point| {
            let (ours, theirs) = (distance_m(a, b), a.distance_m(b));
            assert!((ours - theirs).abs() < 0.02, "{a:?} {b:?}: {ours} {theirs}");
        };
        check(at(30.0, 31.0), at(30.01, 31.02));
        check(at(-17.0, 179.99), at(-17.02, -179.98));
        check(at(89.99, 0.0), at(89.99, 180.0));
        check(at(-33.0, 151.0), at(40.7, -74.0));
    }

    #[test]
    fn no_place_of_a_term_lies_farther_north_or_south_than_it_says() {
        let from = Origin::new(Fixed::from(at(-60.0, 10.0)));
        for step in 0..20_000u32 {
            let y = step.wrapping_mul(2_654_435_761) >> 1;
            // Straight north, and on the far side of the Earth where the sine is flat.
            for x in [from.at.x, from.at.x.wrapping_add(1 << 31), y.wrapping_mul(7)] {
                let place = Fixed { y, x };
                assert!(
                    half_y_of(from.term(place)) >= u64::from(from.at.y.abs_diff(y)),
                    "{place:?}"
                );
            }
        }
        assert_eq!(half_y_of(0.0), 2);
        assert!(half_y_of(1.1) >= HALF_TURN);
    }
}
