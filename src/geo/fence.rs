//! Fences: polygons on the map and what they mean.
//!
//! Decides in whole numbers (units of 9 mm), so the answer is exact and doesn't depend on rounding:
//! a place on an edge or a corner is inside. An edge takes the short way round the Earth, so a
//! fence may lie across the antimeridian; no fence holds a pole.

use std::collections::HashMap;

use base::{CityId, EARTH_RADIUS_M, Point};
use rstar::{AABB, RTree, RTreeObject};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::fixed::Fixed;

pub(crate) const TURN: i64 = 1 << 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FenceKind {
    /// Pickups are served here.
    ServiceArea,
    /// No pickups here.
    Restricted,
    /// Pickups by queue.
    Airport,
    /// A surge zone drawn by hand.
    Surge,
}

impl FenceKind {
    pub const ALL: [Self; 4] = [Self::ServiceArea, Self::Restricted, Self::Airport, Self::Surge];

    /// As it is stored and sent.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ServiceArea => "service_area",
            Self::Restricted => "restricted",
            Self::Airport => "airport",
            Self::Surge => "surge",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == text)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Fence {
    pub id: Uuid,
    pub city: CityId,
    pub kind: FenceKind,
    pub name: String,
    /// At least three, in order, not closed.
    pub corners: Vec<Point>,
}

/// All fences with an R-tree over their boxes. Replaced whole when the table changes.
#[derive(Debug, Default)]
pub struct Fences {
    fences: Vec<(Fence, Shape)>,
    by_id: HashMap<Uuid, usize>,
    boxes: RTree<FenceBox>,
}

impl Fences {
    /// Fences of fewer than three corners hold nothing.
    pub fn new(fences: Vec<Fence>) -> Self {
        let fences: Vec<_> =
            fences.into_iter().map(|fence| (Shape::new(&fence.corners), fence)).collect();
        let boxes = fences
            .iter()
            .enumerate()
            .filter(|(_, (shape, _))| shape.corners.len() >= 3)
            .map(|(number, (shape, _))| FenceBox { number, envelope: shape.envelope() })
            .collect();
        let by_id = fences.iter().enumerate().map(|(number, (_, fence))| (fence.id, number));
        let by_id = by_id.collect();
        let fences = fences.into_iter().map(|(shape, fence)| (fence, shape)).collect();
        Self { fences, by_id, boxes: RTree::bulk_load(boxes) }
    }

    pub fn is_empty(&self) -> bool {
        self.fences.is_empty()
    }

    pub fn find(&self, id: Uuid) -> Option<&Fence> {
        self.by_id.get(&id).map(|number| &self.fences[*number].0)
    }

    /// How far a place is from the edge of this fence, metres, on whichever side. `None` where
    /// there is no such fence, or one that holds nothing.
    pub fn edge_m(&self, id: Uuid, place: Point) -> Option<f64> {
        let (fence, shape) = &self.fences[*self.by_id.get(&id)?];
        (shape.corners.len() >= 3).then(|| edge_m(&fence.corners, place))
    }

    /// The fences that hold the place.
    pub fn at(&self, place: Point) -> impl Iterator<Item = &Fence> {
        let at = Fixed::from(place);
        // Shapes lie anywhere from one turn west to one turn east of the map.
        [-TURN, 0, TURN].into_iter().flat_map(move |turn| {
            let (x, y) = (i64::from(at.x) + turn, i64::from(at.y));
            self.boxes
                .locate_all_at_point([x as f64, y as f64])
                .map(|boxed| &self.fences[boxed.number])
                .filter(move |(_, shape)| shape.holds(x, y))
                .map(|(fence, _)| fence)
        })
    }

    pub fn all(&self) -> impl Iterator<Item = &Fence> {
        self.fences.iter().map(|(fence, _)| fence)
    }

    /// Has the city any fence of this kind?
    pub fn has(&self, city: CityId, kind: FenceKind) -> bool {
        self.all().any(|fence| fence.city == city && fence.kind == kind)
    }
}

/// Corners in units, unrolled: each within half a turn of the one before.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Shape {
    pub(crate) corners: Vec<(i64, i64)>,
}

impl Shape {
    pub(crate) fn new(corners: &[Point]) -> Self {
        let mut unrolled: Vec<(i64, i64)> = Vec::with_capacity(corners.len());
        for corner in corners {
            let at = Fixed::from(*corner);
            let (mut x, y) = (i64::from(at.x), i64::from(at.y));
            if let Some((before, _)) = unrolled.last() {
                x += (before - x + TURN / 2).div_euclid(TURN) * TURN;
            }
            unrolled.push((x, y));
        }
        Self { corners: unrolled }
    }

    fn envelope(&self) -> AABB<[f64; 2]> {
        let corners: Vec<_> = self.corners.iter().map(|(x, y)| [*x as f64, *y as f64]).collect();
        AABB::from_points(&corners)
    }

    /// Counts the edges that a ray to the east crosses.
    pub(crate) fn holds(&self, x: i64, y: i64) -> bool {
        let mut inside = false;
        let mut from = *self.corners.last().expect("a fence in the tree has corners");
        for to in &self.corners {
            // Most edges pass north or south of the place: nothing is to be multiplied.
            if !within(from.1, to.1, y) {
                from = *to;
                continue;
            }
            let side = side(from, *to, (x, y));
            if side == 0 && within(from.0, to.0, x) {
                return true;
            }
            let upward = from.1 <= y && y < to.1;
            let downward = to.1 <= y && y < from.1;
            if (upward && side > 0) || (downward && side < 0) {
                inside = !inside;
            }
            from = *to;
        }
        inside
    }
}

/// To the nearest edge, metres, on a plane that touches the Earth at the place: right to a metre
/// within a city.
fn edge_m(corners: &[Point], place: Point) -> f64 {
    let east_m = EARTH_RADIUS_M * place.lat().to_radians().cos();
    let seen = |corner: &Point| {
        let lng = (corner.lng() - place.lng() + 540.0).rem_euclid(360.0) - 180.0;
        let north = (corner.lat() - place.lat()).to_radians() * EARTH_RADIUS_M;
        (lng.to_radians() * east_m, north)
    };
    let ends = corners.iter().cycle().skip(1);
    let edges = corners.iter().zip(ends).map(|(from, to)| (seen(from), seen(to)));
    edges.map(|(from, to)| origin_to_m(from, to)).fold(f64::INFINITY, f64::min)
}

/// From the origin to a line between two places.
fn origin_to_m(from: (f64, f64), to: (f64, f64)) -> f64 {
    let (dx, dy) = (to.0 - from.0, to.1 - from.1);
    let length2 = dx * dx + dy * dy;
    let along = if length2 > 0.0 { -(from.0 * dx + from.1 * dy) / length2 } else { 0.0 };
    let along = along.clamp(0.0, 1.0);
    (from.0 + along * dx).hypot(from.1 + along * dy)
}

/// Above zero when the place is left of the line, below when right, zero on it. In 128 bits: the
/// product of two differences of 34 bits doesn't fit 64.
pub(crate) fn side(from: (i64, i64), to: (i64, i64), place: (i64, i64)) -> i128 {
    let (dx, dy) = (i128::from(to.0 - from.0), i128::from(to.1 - from.1));
    dx * i128::from(place.1 - from.1) - dy * i128::from(place.0 - from.0)
}

pub(crate) fn within(one: i64, two: i64, value: i64) -> bool {
    one.min(two) <= value && value <= one.max(two)
}

#[derive(Clone, Debug)]
struct FenceBox {
    number: usize,
    envelope: AABB<[f64; 2]>,
}

impl RTreeObject for FenceBox {
    type Envelope = AABB<[f64; 2]>;

    fn envelope(&self) -> Self::Envelope {
        self.envelope
    }
}

impl rstar::PointDistance for FenceBox {
    fn distance_2(&self, point: &[f64; 2]) -> f64 {
        self.envelope.distance_2(point)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(kind: FenceKind, corners: &[(f64, f64)]) -> Fence {
        let corners = corners.iter().map(|(lat, lng)| Point::new(*lat, *lng).expect("a corner"));
        Fence {
            id: Uuid::from_u128(1),
            city: CityId(1),
            kind,
            name: "fence".to_owned(),
            corners: corners.collect(),
        }
    }

    fn check(corners: &[(f64, f64)], place: (f64, f64), expected: bool) {
        let mut turned = corners.to_vec();
        turned.reverse();
        for corners in [corners, &turned] {
            let fences = Fences::new(vec![fence(FenceKind::Restricted, corners)]);
            let place = Point::new(place.0, place.1).expect("a place");
            assert_eq!(fences.at(place).count(), usize::from(expected), "{place:?} {corners:?}");
        }
    }

    #[test]
    fn edges_and_corners_are_inside() {
        let square = [(30.0, 31.0), (30.0, 31.25), (30.25, 31.25), (30.25, 31.0)];
        check(&square, (30.1, 31.1), true);
        check(&square, (30.0, 31.0), true);
        check(&square, (30.25, 31.25), true);
        check(&square, (30.25, 31.1), true);
        check(&square, (30.1, 31.25), true);
        check(&square, (30.1, 31.2500001), false);
        check(&square, (29.999_999_9, 31.1), false);
    }

    #[test]
    fn a_notch_is_outside() {
        let notched = [(0.0, 0.0), (0.0, 4.0), (4.0, 4.0), (1.0, 2.0), (4.0, 0.0)];
        check(&notched, (3.0, 2.0), false);
        check(&notched, (0.5, 2.0), true);
        check(&notched, (3.0, 3.9), true);
        check(&notched, (1.0, 2.0), true);
    }

    #[test]
    fn a_fence_may_lie_across_the_antimeridian() {
        let square = [(-17.0, 179.5), (-17.0, -179.5), (-16.0, -179.5), (-16.0, 179.5)];
        check(&square, (-16.5, 179.9), true);
        check(&square, (-16.5, -179.9), true);
        check(&square, (-16.5, 180.0), true);
        check(&square, (-16.5, -180.0), true);
        check(&square, (-16.5, 0.0), false);
        check(&square, (-16.5, 179.4), false);
    }

    #[test]
    fn a_place_is_so_far_from_a_fence() {
        let check = |corners: &[(f64, f64)], place: (f64, f64), expected: &str| {
            let fences = Fences::new(vec![fence(FenceKind::Airport, corners)]);
            let place = Point::new(place.0, place.1).expect("a place");
            let found = fences.edge_m(Uuid::from_u128(1), place);
            let words = found.map_or("no such fence".to_owned(), |metres| format!("{metres:.0}"));
            assert_eq!(words, expected, "{place:?}");
        };
        let square = [(30.0, 31.0), (30.0, 31.1), (30.1, 31.1), (30.1, 31.0)];
        check(&square, (30.099, 31.05), "111");
        check(&square, (30.0, 31.0), "0");
        // A thousandth of a degree north is 111 m, and so is 1.155 thousandths east, here.
        check(&square, (30.101, 31.05), "111");
        check(&square, (30.05, 31.101_155), "111");
        check(&square, (30.101, 31.101_155), "157");
        let far_east = [(0.0, 179.9), (0.0, -179.9), (0.1, -179.9), (0.1, 179.9)];
        check(&far_east, (0.099, 180.0), "111");
        check(&far_east, (0.05, -179.899), "111");
        check(&far_east, (0.05, 179.899), "111");
        check(&square[..2], (30.0, 31.0), "no such fence");
    }

    #[test]
    fn only_the_fences_that_hold_the_place_are_named() {
        let fences = Fences::new(vec![
            fence(FenceKind::ServiceArea, &[(0.0, 0.0), (0.0, 9.0), (9.0, 9.0), (9.0, 0.0)]),
            fence(FenceKind::Airport, &[(1.0, 1.0), (1.0, 2.0), (2.0, 2.0), (2.0, 1.0)]),
        ]);
        let kinds = |lat, lng| -> Vec<FenceKind> {
            let place = Point::new(lat, lng).expect("a place");
            fences.at(place).map(|fence| fence.kind).collect()
        };
        assert_eq!(kinds(5.0, 5.0), [FenceKind::ServiceArea]);
        assert_eq!(kinds(1.5, 1.5).len(), 2);
        assert!(kinds(-1.0, 5.0).is_empty());
        assert!(fences.has(CityId(1), FenceKind::Airport));
        assert!(!fences.has(CityId(2), FenceKind::Airport));
    }
}
