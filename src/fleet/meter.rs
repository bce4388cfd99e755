//! Measures a trip: one filtered distance, and the track that is kept of it.
//!
//! The distance is the one that rider, driver and fare see. Points that only jitter around a place
//! add nothing, nor does a jump that no car can drive. A point that comes late is put where it
//! belongs and the distance is measured again.

use base::{Millis, Point, limits};

/// A point of a track.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TrackPoint {
    pub at: Point,
    pub time: Millis,
}

/// How a point follows from the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Link {
    Driven,
    /// No car drives that: the way there is not counted.
    Jumped,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    point: TrackPoint,
    /// Nearer than this to the last counted place is jitter, metres.
    jitter_m: f64,
    link: Link,
}

/// A point closer than this to the last counted one is jitter even when it claims to be exact.
const JITTER_MIN_M: f64 = 10.0;
/// … and one farther away is not, even when it claims to be coarse.
const JITTER_MAX_M: f64 = 50.0;
const JITTER_UNKNOWN_M: f64 = 15.0;

/// Raw points held before the older ones are thinned: more than three hours at one in 3 s.
const RAW_MAX: usize = 4096;

/// The running sum and the place it was last counted at.
#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    metres: f64,
    anchor: Option<Point>,
}

impl Sum {
    fn add(&mut self, kept: &Kept, since: Millis) {
        let at = kept.point.at;
        let Some(anchor) = self.anchor else {
            self.anchor = Some(at);
            return;
        };
        // Up to the start only the place counts; a jump moves the place and adds nothing.
        if kept.point.time <= since || kept.link == Link::Jumped {
            self.anchor = Some(at);
            return;
        }
        let metres = anchor.distance_m(at);
        if metres >= kept.jitter_m {
            *self = Self { metres: self.metres + metres, anchor: Some(at) };
        }
    }
}

/// The meter of one trip.
#[derive(Debug)]
pub(crate) struct Meter {
    /// In order of time.
    points: Vec<Kept>,
    /// So many of them are thinned already and measured for good.
    settled: usize,
    settled_sum: Sum,
    sum: Sum,
    opened: Millis,
    /// The distance counts from here on.
    since: Millis,
}

impl Meter {
    /// Keeps the track from `opened` on; counts no distance before [`Meter::start`].
    pub(crate) fn open(opened: Millis) -> Self {
        Self {
            points: Vec::with_capacity(512),
            settled: 0,
            settled_sum: Sum::default(),
            sum: Sum::default(),
            opened,
            since: Millis(i64::MAX),
        }
    }

    pub(crate) fn opened(&self) -> Millis {
        self.opened
    }

    /// The trip began earlier than this meter.
    pub(crate) fn reopen(&mut self, opened: Millis) {
        self.opened = self.opened.min(opened);
    }

    /// The rider is in the car: the distance counts from `since`. A second start changes nothing.
    pub(crate) fn start(&mut self, since: Millis) {
        if !self.is_started() {
            self.since = since;
            self.settled_sum.metres = 0.0;
            self.measure_again();
        }
    }

    pub(crate) fn is_started(&self) -> bool {
        self.since != Millis(i64::MAX)
    }

    pub(crate) fn add(&mut self, point: TrackPoint, accuracy_m: Option<f32>, link: Link) {
        let jitter_m =
            accuracy_m.map_or(JITTER_UNKNOWN_M, f64::from).clamp(JITTER_MIN_M, JITTER_MAX_M);
        let kept = Kept { point, jitter_m, link };
        // Nearly always it is the newest: a search through thousands of cold points costs more than
        // all the rest of a position.
        let newest = self.points.last().is_none_or(|last| last.point.time <= point.time);
        let place = match newest {
            true => self.points.len(),
            false => self.points.partition_point(|other| other.point.time <= point.time),
        };
        if point.time < self.opened || place < self.settled {
            return;
        }
        if place == self.points.len() {
            self.points.push(kept);
            self.sum.add(&kept, self.since);
        } else {
            self.points.insert(place, kept);
            self.measure_again();
        }
        if self.points.len() >= RAW_MAX {
            self.settle();
        }
    }

    /// Metres since the start.
    pub(crate) fn distance_m(&self) -> u32 {
        self.sum.metres.round() as u32
    }

    /// The track, at most `limit` points, both ends kept.
    pub(crate) fn track(&self, limit: usize) -> Vec<TrackPoint> {
        let points: Vec<TrackPoint> = self.points.iter().map(|kept| kept.point).collect();
        simplify(&points, limit)
    }

    pub(crate) fn len(&self) -> usize {
        self.points.len()
    }

    fn measure_again(&mut self) {
        self.sum = self.settled_sum;
        for kept in &self.points[self.settled..] {
            self.sum.add(kept, self.since);
        }
    }

    /// Thins what there is; late points for that time no longer count.
    fn settle(&mut self) {
        let thinned = self.track(limits::TRACK_POINTS);
        self.points.clear();
        self.points.extend(thinned.into_iter().map(|point| Kept {
            point,
            jitter_m: JITTER_MIN_M,
            link: Link::Driven,
        }));
        self.settled = self.points.len();
        self.settled_sum = self.sum;
    }
}

/// The `limit` points that say most about the shape (Douglas-Peucker, by importance), in order; the
/// first and the last always. A limit under 2 counts as 2.
pub(crate) fn simplify(points: &[TrackPoint], limit: usize) -> Vec<TrackPoint> {
    let limit = limit.max(2);
    if points.len() <= limit {
        return points.to_vec();
    }
    let weights = weights(points);
    let mut order: Vec<usize> = (1..points.len() - 1).collect();
    order.sort_by(|one, two| weights[*two].total_cmp(&weights[*one]).then(one.cmp(two)));
    order.truncate(limit - 2);
    order.extend([0, points.len() - 1]);
    order.sort_unstable();
    order.into_iter().map(|number| points[number]).collect()
}

/// For every point how far the track would be off without it, metres; never more than for the point
/// that split the stretch it lies in, so that a stretch is refined from the coarse to the fine.
fn weights(points: &[TrackPoint]) -> Vec<f64> {
    let mut weights = vec![0.0; points.len()];
    let mut stretches = vec![(0, points.len() - 1, f64::INFINITY)];
    while let Some((first, last, most)) = stretches.pop() {
        let farthest = (first + 1..last)
            .map(|number| (number, off(points[first].at, points[last].at, points[number].at)))
            .max_by(|one, two| one.1.total_cmp(&two.1));
        if let Some((number, metres)) = farthest {
            let weight = metres.min(most);
            weights[number] = weight;
            stretches.push((first, number, weight));
            stretches.push((number, last, weight));
        }
    }
    weights
}

/// Distance of `at` from the line between two places, metres, on a plane that is true around them.
fn off(from: Point, to: Point, at: Point) -> f64 {
    let scale = from.lat().to_radians().cos();
    let plane = |place: Point| {
        let east = (place.lng() - from.lng() + 540.0).rem_euclid(360.0) - 180.0;
        (east * scale, place.lat() - from.lat())
    };
    let ((bx, by), (px, py)) = (plane(to), plane(at));
    let length = bx * bx + by * by;
    let along = if length > 0.0 { ((px * bx + py * by) / length).clamp(0.0, 1.0) } else { 0.0 };
    let (dx, dy) = (px - along * bx, py - along * by);
    (dx * dx + dy * dy).sqrt().to_radians() * base::EARTH_RADIUS_M
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(north_m: f64, east_m: f64) -> Point {
        let lng = 31.0 + east_m / (111_195.0 * 30f64.to_radians().cos());
        Point::new(30.0 + north_m / 111_195.0, lng).expect("a place of the test")
    }

    fn point(seconds: i64, north_m: f64) -> TrackPoint {
        TrackPoint { at: at(north_m, 0.0), time: Millis(seconds * 1000) }
    }

    fn started() -> Meter {
        let mut meter = Meter::open(Millis(0));
        meter.start(Millis(0));
        meter
    }

    fn check(points: &[(i64, f64)], expected_m: u32) {
        let mut meter = started();
        for (seconds, north_m) in points {
            meter.add(point(*seconds, *north_m), Some(8.0), Link::Driven);
        }
        assert_eq!(meter.distance_m(), expected_m, "{points:?}");
    }

    #[test]
    fn a_drive_adds_up_and_jitter_does_not() {
        check(&[(0, 0.0), (3, 40.0), (6, 80.0), (9, 120.0)], 120);
        check(&[(0, 0.0), (3, 6.0), (6, -5.0), (9, 7.0), (12, 0.0), (15, 3.0)], 0);
        // A slow car is not jitter: it gets away from the counted place.
        check(&[(0, 0.0), (3, 6.0), (6, 12.0), (9, 18.0), (12, 24.0)], 24);
    }

    #[test]
    fn a_jump_adds_nothing_and_the_drive_goes_on_from_there() {
        let mut meter = started();
        meter.add(point(0, 0.0), None, Link::Driven);
        meter.add(point(3, 100.0), None, Link::Driven);
        meter.add(point(9, 9000.0), None, Link::Jumped);
        meter.add(point(12, 9050.0), None, Link::Driven);
        assert_eq!(meter.distance_m(), 150);
    }

    #[test]
    fn the_way_to_the_pickup_is_tracked_and_not_counted() {
        let mut meter = Meter::open(Millis(0));
        meter.add(point(0, 0.0), None, Link::Driven);
        meter.add(point(10, 500.0), None, Link::Driven);
        meter.start(Millis(15_000));
        meter.add(point(20, 600.0), None, Link::Driven);
        meter.start(Millis(25_000));
        assert_eq!((meter.distance_m(), meter.len()), (100, 3));
    }

    #[test]
    fn a_late_point_is_put_where_it_belongs() {
        let mut meter = started();
        for seconds in [0, 10, 20] {
            meter.add(point(seconds, 0.0), None, Link::Driven);
        }
        assert_eq!(meter.distance_m(), 0);
        meter.add(point(15, 300.0), None, Link::Driven);
        assert_eq!(meter.distance_m(), 600);
        meter.add(point(-5, 900.0), None, Link::Driven);
        assert_eq!(meter.distance_m(), 600, "from before the trip");
    }

    #[test]
    fn a_long_drive_keeps_its_distance_and_a_bounded_track() {
        let mut meter = started();
        for number in 0..20_000i64 {
            meter.add(point(number * 3, number as f64 * 20.0), None, Link::Driven);
        }
        assert!(meter.len() < RAW_MAX);
        assert_eq!(meter.distance_m(), 19_999 * 20);
        let track = meter.track(limits::TRACK_POINTS);
        assert!(track.len() <= limits::TRACK_POINTS);
        assert_eq!(track.first(), Some(&point(0, 0.0)));
        assert_eq!(track.last().map(|p| p.time), Some(Millis(19_999 * 3000)));
    }

    #[test]
    fn the_corners_stay_when_a_track_is_simplified() {
        let mut points: Vec<TrackPoint> = (0..100).map(|n| point(n, n as f64 * 10.0)).collect();
        points.extend((0..100i64).map(|n| TrackPoint {
            at: at(1000.0, n as f64 * 10.0),
            time: Millis((100 + n) * 1000),
        }));
        let kept = simplify(&points, 3);
        assert_eq!(kept.len(), 3);
        assert!(kept[1].at.distance_m(at(1000.0, 0.0)) < 11.0, "{kept:?}");
    }

    proptest! {
        #[test]
        fn a_simplified_track_keeps_its_ends_and_order(
            places in proptest::collection::vec((-500.0..500.0f64, -500.0..500.0f64), 0..300),
            limit in 0..60usize,
        ) {
            let points: Vec<TrackPoint> = places
                .iter()
                .zip(0..)
                .map(|((n, e), time)| TrackPoint { at: at(*n, *e), time: Millis(time) })
                .collect();
            let kept = simplify(&points, limit);
            prop_assert!(kept.len() <= limit.max(2));
            prop_assert_eq!(kept.first(), points.first());
            prop_assert_eq!(kept.last(), points.last());
            prop_assert!(kept.windows(2).all(|pair| pair[0].time < pair[1].time));
        }
    }
}
