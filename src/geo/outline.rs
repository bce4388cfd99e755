//! Polygons as people draw them: what is accepted as one, and which places it holds.
//!
//! Decides in the whole numbers of [`crate::Fences`]. An outline runs around one piece of the map:
//! it has three corners or more, and its edges meet at their common corners and nowhere else.

use base::Point;

use crate::fence::{Shape, TURN, side, within};
use crate::fixed::Fixed;

/// Most corners of one outline.
const CORNERS_MAX: usize = 500;

/// Why corners are no outline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutlineError {
    #[error("must have at least 3 corners")]
    TooFew,
    #[error("must have at most 500 corners")]
    TooMany,
    #[error("its edges must not cross or touch each other")]
    Crosses,
}

impl OutlineError {
    /// As it is named on the wire.
    pub const fn code(self) -> &'static str {
        match self {
            Self::TooFew => "too_few",
            Self::TooMany => "too_many",
            Self::Crosses => "crosses_itself",
        }
    }
}

/// A polygon and the box around it.
#[derive(Clone, Debug, PartialEq)]
pub struct Outline {
    corners: Vec<Point>,
    shape: Shape,
    /// South-west and north-east, in the units of the shape.
    low: (i64, i64),
    high: (i64, i64),
}

impl Outline {
    /// Takes corners in order, closed (the first one again at the end) or not.
    pub fn parse(mut corners: Vec<Point>) -> Result<Self, OutlineError> {
        if corners.len() > 1 && corners.first() == corners.last() {
            corners.pop();
        }
        match corners.len() {
            0..=2 => return Err(OutlineError::TooFew),
            3..=CORNERS_MAX => {}
            _ => return Err(OutlineError::TooMany),
        }
        let outline = Self::drawn(corners);
        if outline.crosses_itself() { Err(OutlineError::Crosses) } else { Ok(outline) }
    }

    /// Takes corners that somebody else has checked; of a polygon that crosses itself, what an odd
    /// number of turns goes around is inside. Fewer than three corners hold nothing.
    pub fn drawn(corners: Vec<Point>) -> Self {
        let shape = Shape::new(&corners);
        let first = shape.corners.first().copied().unwrap_or_default();
        let (mut low, mut high) = (first, first);
        for (x, y) in &shape.corners {
            low = (low.0.min(*x), low.1.min(*y));
            high = (high.0.max(*x), high.1.max(*y));
        }
        Self { corners, shape, low, high }
    }

    /// In order, not closed.
    pub fn corners(&self) -> &[Point] {
        &self.corners
    }

    /// Is the place inside, or on an edge?
    pub fn holds(&self, place: Point) -> bool {
        let at = Fixed::from(place);
        let (x, y) = (i64::from(at.x), i64::from(at.y));
        // Shapes lie anywhere from one turn west to one turn east of the map.
        self.corners.len() >= 3
            && [x - TURN, x, x + TURN].into_iter().any(|x| {
                within(self.low.0, self.high.0, x)
                    && within(self.low.1, self.high.1, y)
                    && self.shape.holds(x, y)
            })
    }

    /// The middle of the box around it.
    pub fn center(&self) -> Point {
        let middle = |low: i64, high: i64| low + (high - low) / 2;
        let x = middle(self.low.0, self.high.0).rem_euclid(TURN);
        let y = middle(self.low.1, self.high.1);
        let unit = |value: i64| u32::try_from(value).unwrap_or_default();
        Fixed { x: unit(x), y: unit(y) }.point()
    }

    /// From the centre to the farthest corner, metres.
    pub fn radius_m(&self) -> f64 {
        let center = self.center();
        self.corners.iter().map(|corner| corner.distance_m(center)).fold(0.0, f64::max)
    }

    /// Does any edge meet another one, beside the corner that neighbours share?
    fn crosses_itself(&self) -> bool {
        let corners = &self.shape.corners;
        let edge = |n: usize| (corners[n], corners[(n + 1) % corners.len()]);
        let last = corners.len() - 1;
        // The edge that closes it has to be a short one too: no outline goes around a pole.
        let (from, to) = edge(last);
        if (from.0 - to.0).abs() > TURN / 2 {
            return true;
        }
        (0..=last).any(|one| {
            let (from, to) = edge(one);
            let beyond = edge((one + 1) % corners.len()).1;
            let neighbours = from == to || folds_back(from, to, beyond);
            neighbours
                || (one + 2..=last)
                    .filter(|two| !(one == 0 && *two == last))
                    .any(|two| meet((from, to), edge(two)))
        })
    }
}

type Corner = (i64, i64);

/// Does the way from `from` over `at` to `to` go back on itself?
fn folds_back(from: Corner, at: Corner, to: Corner) -> bool {
    let along = |end: Corner| (i128::from(end.0 - at.0), i128::from(end.1 - at.1));
    let ((ax, ay), (bx, by)) = (along(from), along(to));
    side(from, at, to) == 0 && ax * bx + ay * by >= 0
}

/// Have two edges a place in common?
fn meet((a, b): (Corner, Corner), (c, d): (Corner, Corner)) -> bool {
    let sides = [side(a, b, c), side(a, b, d), side(c, d, a), side(c, d, b)].map(i128::signum);
    if sides[0] * sides[1] < 0 && sides[2] * sides[3] < 0 {
        return true;
    }
    let on = |side: i128, (from, to): (Corner, Corner), at: Corner| {
        side == 0 && within(from.0, to.0, at.0) && within(from.1, to.1, at.1)
    };
    on(sides[0], (a, b), c)
        || on(sides[1], (a, b), d)
        || on(sides[2], (c, d), a)
        || on(sides[3], (c, d), b)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn corners(places: &[(f64, f64)]) -> Vec<Point> {
        places.iter().map(|(lat, lng)| Point::new(*lat, *lng).expect("a corner")).collect()
    }

    #[track_caller]
    fn check(places: &[(f64, f64)], expected: Result<usize, &str>) {
        let mut places = places.to_vec();
        // Wherever one begins, and whichever way around.
        for _ in 0..2 {
            for _ in 0..places.len() {
                let found = Outline::parse(corners(&places));
                let found = found.map(|outline| outline.corners().len());
                assert_eq!(found.map_err(OutlineError::code), expected, "{places:?}");
                places.rotate_left(1);
            }
            places.reverse();
        }
    }

    #[test]
    fn an_outline_goes_around_one_piece() {
        check(&[(0.0, 0.0), (0.0, 4.0), (4.0, 0.0)], Ok(3));
        check(&[(0.0, 0.0), (0.0, 4.0), (4.0, 4.0), (1.0, 2.0), (4.0, 0.0)], Ok(5));
        // A corner in the middle of a straight edge.
        check(&[(0.0, 0.0), (0.0, 2.0), (0.0, 4.0), (4.0, 4.0)], Ok(4));
        check(&[(-17.0, 179.5), (-17.0, -179.5), (-16.0, -179.5), (-16.0, 179.5)], Ok(4));
        check(&[(0.0, 0.0), (0.0, 4.0)], Err("too_few"));
        // A bow, a corner on another edge, a corner twice, there and back.
        check(&[(0.0, 0.0), (4.0, 4.0), (4.0, 0.0), (0.0, 4.0)], Err("crosses_itself"));
        check(&[(0.0, 0.0), (0.0, 4.0), (4.0, 4.0), (0.0, 2.0), (4.0, 0.0)], Err("crosses_itself"));
        check(&[(0.0, 0.0), (0.0, 4.0), (4.0, 4.0), (0.0, 4.0)], Err("crosses_itself"));
        check(&[(0.0, 0.0), (0.0, 2.0), (0.0, 4.0)], Err("crosses_itself"));
        check(&[(0.0, 0.0), (0.0, 4.0), (0.0, 2.0), (4.0, 2.0)], Err("crosses_itself"));
        let twice = [(0.0, 0.0), (0.0, 4.0), (0.0, 4.0), (4.0, 4.0)];
        assert_eq!(Outline::parse(corners(&twice)), Err(OutlineError::Crosses));
        // Around the pole.
        check(&[(80.0, 0.0), (80.0, 120.0), (80.0, -120.0)], Err("crosses_itself"));
    }

    #[test]
    fn a_ring_may_be_closed_and_has_its_most_corners() {
        let ring = [(0.0, 0.0), (0.0, 4.0), (4.0, 0.0), (0.0, 0.0)];
        let outline = Outline::parse(corners(&ring)).expect("a triangle");
        assert_eq!(outline.corners(), &corners(&ring)[..3]);
        let round = |count: u32| -> Vec<Point> {
            let at = |n| std::f64::consts::TAU * f64::from(n) / f64::from(count);
            let places = (0..count).map(|n| (30.0 + at(n).sin(), 31.0 + at(n).cos()));
            corners(&places.collect::<Vec<_>>())
        };
        assert!(Outline::parse(round(500)).is_ok());
        assert_eq!(Outline::parse(round(501)), Err(OutlineError::TooMany));
        assert_eq!(Outline::parse(Vec::new()), Err(OutlineError::TooFew));
        let around = Outline::parse(round(500)).expect("an outline");
        assert!(around.center().distance_m(Point::new(30.0, 31.0).expect("a place")) < 1.0);
        assert!((111_000.0..111_300.0).contains(&around.radius_m()), "{}", around.radius_m());
    }

    #[test]
    fn it_holds_what_a_fence_holds() {
        let square = [(-17.0, 179.5), (-17.0, -179.5), (-16.0, -179.5), (-16.0, 179.5)];
        let outline = Outline::parse(corners(&square)).expect("a square");
        for (lat, lng, expected) in [
            (-16.5, 179.9, true),
            (-16.5, -179.9, true),
            (-16.5, 180.0, true),
            (-17.0, 179.5, true),
            (-16.5, 0.0, false),
            (-15.9, 180.0, false),
        ] {
            let place = Point::new(lat, lng).expect("a place");
            assert_eq!(outline.holds(place), expected, "{lat}, {lng}");
        }
        assert!(!Outline::drawn(corners(&square[..2])).holds(corners(&square)[0]));
        assert_eq!(outline.center().lng().abs().round(), 180.0);
    }

    proptest! {
        /// Corners in the order of their direction from the middle never cross.
        #[test]
        fn a_star_is_an_outline_that_holds_its_middle(
            reaches in prop::collection::vec(0.1..1.0f64, 5..40),
        ) {
            let count = reaches.len();
            let star: Vec<(f64, f64)> = reaches.iter().enumerate().map(|(n, reach)| {
                let turn = std::f64::consts::TAU * n as f64 / count as f64;
                (30.0 + turn.sin() * reach, 31.0 + turn.cos() * reach)
            }).collect();
            let outline = Outline::parse(corners(&star));
            prop_assert!(outline.is_ok(), "{:?}", outline);
            let middle = Point::new(30.0, 31.0).expect("a place");
            prop_assert!(outline.is_ok_and(|outline| outline.holds(middle)));
        }
    }
}
