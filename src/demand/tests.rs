//! Demand over weeks: what is counted, what is expected, who is told.

use std::collections::{BTreeMap, HashMap};

use base::{CityId, Clock, DriverId, Millis, Point};
use geo::Cell;
use jiff::tz::TimeZone;

use super::*;
use crate::forecast::{Counts, forecast, off, wanted};
use crate::hints::hints;

const CITY: CityId = CityId(1);

fn cairo() -> TimeZone {
    TimeZone::get("Africa/Cairo").expect("it is known")
}

fn at(utc: &str) -> Millis {
    Millis::parse(utc).expect("a time")
}

fn place(lat: f64, lng: f64) -> Point {
    Point::new(lat, lng).expect("in range")
}

/// Cells some kilometres apart.
fn cells() -> Vec<Cell> {
    (0..16)
        .map(|n| {
            geo::surge_cell(place(29.9 + 0.03 * f64::from(n / 8), 31.1 + 0.03 * f64::from(n % 8)))
        })
        .collect()
}

/// Chance of the tests' own: a 64-bit linear congruential generator (Knuth's MMIX numbers).
struct Chance(u64);

impl Chance {
    fn unit(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// A Poisson count, by multiplying (Knuth).
    fn count(&mut self, mean: f64) -> u32 {
        let (limit, mut product, mut count) = ((-mean).exp(), self.unit(), 0);
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }
}

/// What a cell usually has in a quarter: two peaks on workdays, a late one on the weekend.
fn mean(number: usize, quarter: Quarter) -> f64 {
    let local = cairo().to_datetime(quarter.start().timestamp().expect("in range"));
    let hour = f64::from(local.hour()) + f64::from(local.minute()) / 60.0;
    let weekend =
        matches!(local.weekday(), jiff::civil::Weekday::Friday | jiff::civil::Weekday::Saturday);
    let peak = |at: f64, width: f64| (-((hour - at) / width).powi(2)).exp();
    let day = match (weekend, number % 2) {
        (false, 0) => 0.4 + 5.0 * peak(8.5, 1.5) + 1.5 * peak(18.0, 2.0),
        (false, _) => 0.4 + 1.5 * peak(8.5, 1.5) + 5.0 * peak(18.0, 2.0),
        (true, _) => 0.4 + 4.0 * peak(21.0, 2.5),
    };
    day * (0.3 + number as f64 / 8.0)
}

/// Quarters of `weeks` weeks from `first` on, drawn around the means at each day's own level.
fn drawn(first: Quarter, weeks: i64, chance: &mut Chance) -> (Counts, HashMap<Quarter, f64>) {
    let (mut counts, mut levels) = (Counts::new(), HashMap::new());
    let mut level = 1.0;
    for number in 0..weeks * 672 {
        let quarter = first.plus(number);
        if number % 96 == 0 {
            level = 0.7 + 0.6 * chance.unit();
        }
        levels.insert(quarter, level);
        let of_quarter: HashMap<Cell, u32> = cells()
            .into_iter()
            .enumerate()
            .map(|(number, cell)| (cell, chance.count(level * mean(number, quarter))))
            .filter(|(_, count)| *count > 0)
            .collect();
        counts.insert(quarter, of_quarter);
    }
    (counts, levels)
}

fn as_guess(counts: &Counts, quarter: Quarter) -> BTreeMap<Cell, f64> {
    let counts = counts.get(&quarter).into_iter().flatten();
    counts.map(|(cell, count)| (*cell, f64::from(*count))).collect()
}

#[test]
fn on_days_it_has_not_seen_it_beats_both_guesses() {
    let first = Quarter::of(at("2026-01-03T22:00:00Z"));
    let (counts, levels) = drawn(first, 6, &mut Chance(2026));
    let (mut ours, mut week_ago, mut quarter_ago, mut best) = (0.0, 0.0, 0.0, 0.0);
    // The sixth week is held out: each of its quarters is forecast from what came before it.
    for number in 5 * 672..6 * 672 {
        let (target, last) = (first.plus(number), first.plus(number - 2));
        let mut known = Counts::new();
        for quarter in wanted(last, target, &cairo()) {
            assert!(quarter <= last, "nothing of what is to be said");
            known.extend(counts.get(&quarter).map(|count| (quarter, count.clone())));
        }
        let came = &counts[&target];
        ours += off(&forecast(&known, first, last, target, &cairo()), came);
        week_ago += off(&as_guess(&counts, target.weeks_ago(1, &cairo())), came);
        quarter_ago += off(&as_guess(&counts, last), came);
        let truth = cells().into_iter().enumerate();
        let truth = truth.map(|(n, cell)| (cell, levels[&target] * mean(n, target)));
        best += off(&truth.collect(), came);
    }
    assert!(ours < 0.85 * week_ago, "{ours} beside {week_ago} as a week ago");
    assert!(ours < 0.85 * quarter_ago, "{ours} beside {quarter_ago} as the last quarter");
    assert!(ours < 1.15 * best, "{ours} where who knows the means is off by {best}");
}

#[test]
fn before_a_week_is_known_it_goes_on_as_in_the_last_hour() {
    let last = Quarter::of(at("2026-01-07T10:00:00Z"));
    let cell = cells()[0];
    let counts: Counts =
        (0..4).map(|back| (last.plus(-back), HashMap::from([(cell, 6)]))).collect();
    let expected = forecast(&counts, last.plus(-3), last, last.plus(1), &cairo());
    assert_eq!(expected, BTreeMap::from([(cell, 6.0)]));
    assert!(forecast(&Counts::new(), last, last, last.plus(1), &cairo()).is_empty());
}

#[test]
fn the_same_hour_of_the_clock_is_alike_also_when_the_clock_was_changed() {
    let check = |quarter: &str, weeks: i64, expected: &str| {
        let then = Quarter::of(at(quarter)).weeks_ago(weeks, &cairo());
        assert_eq!(then, Quarter::of(at(expected)), "{quarter} {weeks}");
    };
    check("2026-01-14T06:15:00Z", 1, "2026-01-07T06:15:00Z");
    // In Cairo the clock goes forward in the last week of April 2026.
    check("2026-04-29T05:15:00Z", 1, "2026-04-22T06:15:00Z");
}

fn idle(number: u128, at: Point, minutes: i64) -> Idle {
    Idle { driver: DriverId::from_u128(number), at, waiting_since: Millis(-minutes * 60_000) }
}

#[test]
fn no_place_gets_more_than_it_lacks() {
    let (nobody, crowd) = (HashMap::new(), place(30.05, 31.25));
    let near = geo::surge_cell(place(30.05, 31.28));
    let far = geo::surge_cell(place(30.5, 31.9));
    let drivers: Vec<Idle> = (1..=10).map(|n| idle(n, crowd, 10 + n as i64)).collect();
    let expected = BTreeMap::from([(near, 3.4), (far, 50.0), (geo::surge_cell(crowd), 2.0)]);
    let sent = hints(&expected, &drivers, &nobody, Millis(0));
    let numbers: Vec<DriverId> = sent.iter().map(|hint| hint.driver).collect();
    assert_eq!(numbers, [10, 9, 8].map(DriverId::from_u128), "who has waited longest first");
    assert!(sent.iter().all(|hint| hint.cell == near && hint.free == 0));
    let told = HashMap::from([(DriverId::from_u128(10), near)]);
    let others: Vec<DriverId> =
        hints(&expected, &drivers, &told, Millis(0)).iter().map(|hint| hint.driver).collect();
    assert_eq!(others, [9, 8].map(DriverId::from_u128), "one is on his way");
    let needed = BTreeMap::from([(near, 3.4), (geo::surge_cell(crowd), 9.5)]);
    assert!(hints(&needed, &drivers, &nobody, Millis(0)).is_empty(), "they are needed here");
    let just_came: Vec<Idle> = (1..=10).map(|n| idle(n, crowd, 9)).collect();
    assert!(hints(&expected, &just_came, &nobody, Millis(0)).is_empty());
}

#[tokio::test]
async fn a_quarter_is_closed_once() {
    let db = storage::testing::database().await;
    let clock = Clock::manual(at("2026-01-14T06:16:00Z"));
    let (one, other) = (Demand::new(db.clone(), clock.clone()), Demand::new(db.clone(), clock));
    let open = one.open_quarters(CITY).await.expect("read");
    assert_eq!(open, [Quarter::of(at("2026-01-14T06:00:00Z"))]);
    let spot = place(30.05, 31.25);
    let closed = [Closed { quarter: open[0], pickups: vec![spot; 8] }];
    let (first, second) = tokio::join!(
        one.close(CITY, "Africa/Cairo", &closed),
        other.close(CITY, "Africa/Cairo", &closed)
    );
    first.and(second).expect("closed, by one of them");
    assert!(one.open_quarters(CITY).await.expect("read").is_empty());
    let view = other.view(CITY, &HashMap::new()).await.expect("a view");
    assert_eq!(view.counted, Some(open[0].start()));
    let [cell] = &view.cells[..] else { unreachable!("one cell: {view:?}") };
    assert_eq!((cell.requests, cell.expected, cell.expected_next), (8, 8.0, 8.0));
    assert_eq!(view.accuracy, AccuracyView::default());
}

#[tokio::test]
async fn forecasts_are_judged_and_hints_told_once() {
    let db = storage::testing::database().await;
    let clock = Clock::manual(at("2026-01-04T00:01:00Z"));
    let demand = Demand::new(db.clone(), clock.clone());
    let (busy, crowd) = (place(30.05, 31.28), place(30.05, 31.25));
    // A week and an hour of six requests in each quarter.
    let first = Quarter::of(clock.now());
    let quarters: Vec<Closed> = (0..676)
        .map(|number| Closed { quarter: first.plus(number), pickups: vec![busy; 6] })
        .collect();
    clock.advance(Quarter::LENGTH * 676);
    demand.close(CITY, "Africa/Cairo", &quarters).await.expect("closed");
    let next = [Closed { quarter: first.plus(676), pickups: vec![busy; 6] }];
    clock.advance(Quarter::LENGTH);
    demand.close(CITY, "Africa/Cairo", &next).await.expect("closed");
    let view = demand.view(CITY, &HashMap::new()).await.expect("a view");
    assert_eq!(view.accuracy.error_week_ago, Some(0.0));
    assert!(view.accuracy.quarters > 0);
    let waiting_since = clock.now() - std::time::Duration::from_secs(1200);
    let drivers: Vec<Idle> = (1..=9)
        .map(|n| Idle { driver: DriverId::from_u128(n), at: crowd, waiting_since })
        .collect();
    assert_eq!(demand.hints(CITY, &drivers).len(), 6);
    assert!(demand.hints(CITY, &drivers).is_empty(), "as many as are needed are on their way");
}
