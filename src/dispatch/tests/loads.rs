//! The rule of overload: when a city goes up a step, when it comes down, and that it never swings.

use std::time::Duration;

use base::Millis;
use proptest::prelude::*;

use super::city::START;
use crate::load::{Load, Relief, Step, Tick, is_news};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn tick(took_ms: u64, looked: usize, left: usize) -> Tick {
    Tick { took: ms(took_ms), looked, left, wants: looked + left, oldest: ms(100) }
}

/// A city that is told of a tick each second.
struct City {
    load: Load,
    now: Millis,
}

impl City {
    fn new() -> Self {
        Self { load: Load::new(&Relief::default(), START), now: START }
    }

    fn hear(&mut self, tick: Tick) -> Step {
        self.now = self.now + Duration::from_secs(1);
        self.load.hear(tick, &Relief::default(), self.now);
        self.load.step
    }

    /// So many ticks alike; the step after each, in words.
    fn many(&mut self, count: usize, tick: Tick) -> String {
        let words = (0..count).map(|_| self.hear(tick).name());
        words.collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn a_city_that_is_behind_goes_up_and_comes_back() {
    let mut city = City::new();
    // Somebody left over twice is nothing yet; a tick that keeps up begins the count anew.
    assert_eq!(city.many(2, tick(200, 50, 1)), "normal normal");
    assert_eq!(city.many(1, tick(150, 50, 0)), "normal");
    assert_eq!(city.many(3, tick(200, 50, 1)), "normal normal longer_windows");
    let up = "longer_windows longer_windows simple_distance simple_distance simple_distance queued";
    assert_eq!(city.many(6, tick(200, 50, 1)), up);
    assert_eq!(city.many(9, tick(200, 50, 1)).replace("queued", "").trim(), "");
    // It needs half of its budget: that is kept, and not calm.
    assert_eq!(city.many(99, tick(101, 50, 0)).replace("queued", "").trim(), "");
    // Ten seconds of calm for each step.
    assert!(city.many(10, tick(100, 50, 0)).ends_with("queued"));
    assert_eq!(city.hear(tick(100, 50, 0)), Step::SimpleDistance);
    assert!(city.many(10, tick(100, 50, 0)).ends_with("simple_distance"));
    assert_eq!(city.hear(tick(0, 0, 0)), Step::LongerWindows);
    assert!(city.many(11, tick(0, 0, 0)).ends_with("longer_windows normal"));
}

#[test]
fn who_is_far_behind_goes_up_at_once() {
    let check = |tick: Tick, expected: &str| assert_eq!(City::new().many(3, tick), expected);
    check(tick(200, 50, 499), "normal normal longer_windows");
    check(tick(200, 50, 500), "longer_windows simple_distance queued");
    check(tick(0, 0, 10), "longer_windows simple_distance queued");
    let late = |oldest: u64| Tick { oldest: ms(oldest), ..tick(200, 50, 1) };
    check(late(4_999), "normal normal longer_windows");
    check(late(5_000), "longer_windows simple_distance queued");
    // Further and further back: not at once, while it gets shorter.
    let mut city = City::new();
    assert_eq!(city.hear(tick(200, 50, 4_000)), Step::LongerWindows);
    let getting_on = (1..=5_usize).map(|n| city.hear(tick(200, 50, 4_000 - n * 50)).name());
    let steps: Vec<&str> = getting_on.collect();
    let up = "longer_windows longer_windows simple_distance simple_distance simple_distance";
    assert_eq!(steps.join(" "), up);
    // What is worked off in ten more ticks is left to that.
    let mut city = City::new();
    assert_eq!(city.hear(tick(200, 50, 500)), Step::LongerWindows);
    let getting_on = (1..=9_usize).map(|n| city.hear(tick(200, 50, 500 - n * 50)));
    assert!(getting_on.into_iter().all(|step| step == Step::LongerWindows));
    // More than the budget and nobody left over: a tick alone was dear.
    check(tick(201, 1, 0), "normal normal longer_windows");
    check(tick(200, 1, 0), "normal normal normal");
}

#[test]
fn after_a_relapse_calm_must_last_longer() {
    let mut city = City::new();
    let (much, nothing) = (tick(200, 50, 1), tick(0, 0, 0));
    let mut waited = Vec::new();
    for _ in 0..7 {
        while city.hear(much) == Step::Normal {}
        let mut calm = 0;
        while city.hear(nothing) != Step::Normal {
            calm += 1;
        }
        waited.push(calm);
    }
    assert_eq!(waited, [10, 20, 40, 80, 160, 160, 160]);
    // Calm for as long as that, and it is forgotten.
    city.many(170, nothing);
    while city.hear(much) == Step::Normal {}
    assert_eq!(city.many(11, nothing).split(' ').filter(|step| *step == "normal").count(), 1);
}

#[test]
fn a_look_costs_what_looks_cost_lately() {
    let mut city = City::new();
    city.hear(tick(100, 50, 0));
    assert_eq!(city.load.look, ms(2));
    city.hear(tick(0, 0, 0));
    assert_eq!((city.load.look, city.load.last.took), (ms(2), ms(100)), "nothing says nothing");
    city.hear(tick(180, 10, 0));
    assert_eq!(city.load.look, ms(4));
}

#[test]
fn a_machine_that_stood_still_says_nothing_of_looks() {
    let mut city = City::new();
    city.hear(tick(5_000, 2, 0));
    assert_eq!(city.load.look, ms(50), "a quarter of the budget");
    let mut city = City::new();
    city.hear(tick(100, 50, 0));
    city.hear(tick(5_000, 2, 0));
    assert_eq!(city.load.look, ms(8), "(7 * 2 + 50) / 8");
    assert_eq!(city.many(20, tick(100, 50, 0)).replace("normal", "").trim(), "");
}

#[test]
fn what_normal_would_carry_is_calm_however_long_its_window() {
    let waits = |took, looked, left, wants| Tick { wants, ..tick(took, looked, left) };
    let back = |tick: Tick| {
        let mut city = City::new();
        city.load.step = Step::LongerWindows;
        city.many(11, tick).ends_with(" normal")
    };
    // 4 ms a look, of which normal has 150: 37 of them.
    assert!(back(waits(200, 50, 98, 37)), "cut off, and four of its windows in one");
    assert!(!back(waits(200, 50, 98, 38)));
    assert!(!back(waits(20, 5, 0, 38)), "most of them rest");
    assert!(back(waits(148, 37, 0, 37)));
    assert!(!back(waits(201, 51, 0, 10)), "longer than the budget, and nobody left over");
    assert!(!back(waits(0, 0, 10, 10)), "what a look costs is not known");
    assert!(!back(waits(300, 1, 1, 2)), "each of its looks is dearer than the budget");
    // One dear tick between others is a machine that stood still.
    let mut city = City::new();
    city.load.step = Step::LongerWindows;
    city.many(5, tick(100, 25, 0));
    city.hear(waits(200, 1, 30, 31));
    assert!(city.many(5, tick(100, 25, 0)).ends_with(" normal"));
}

#[test]
fn a_place_is_news_when_it_matters_and_not_too_often() {
    let check = |told: u32, place: u32, after_ms: u64, expected: bool| {
        let told = Some((told, START));
        assert_eq!(is_news(told, place, START + ms(after_ms)), expected, "{told:?} {place}");
    };
    assert!(is_news(None, 5_000, START));
    check(1_000, 801, 3_000, false);
    check(1_000, 800, 3_000, true);
    check(1_000, 800, 2_999, false);
    check(12, 11, 3_000, false);
    check(12, 10, 3_000, true);
    check(10, 9, 3_000, true);
    check(9, 9, 60_000, false);
}

fn any_tick() -> impl Strategy<Value = Tick> {
    let left = prop_oneof![3 => Just(0_usize), 1 => 1_usize..2_000];
    (0_u64..400, 0_usize..200, left, 0_u64..9_000).prop_map(|(took, looked, left, oldest)| Tick {
        took: ms(took),
        looked,
        left,
        wants: looked + left,
        oldest: ms(oldest),
    })
}

proptest! {
    #[test]
    fn every_walk_comes_back_to_normal(
        walk in prop::collection::vec((any_tick(), 1_usize..30), 0..60),
    ) {
        let mut city = City::new();
        let relief = Relief::default();
        let (mut changed, mut last) = (None::<Millis>, Step::Normal);
        for (tick, times) in walk {
            for _ in 0..times {
                let step = city.hear(tick);
                prop_assert!(step.level().abs_diff(last.level()) <= 1, "{last} to {step}");
                if step.level() < last.level() {
                    // A step is held for ten seconds at least before it is left downwards.
                    let held = changed.map_or(Duration::MAX, |at| city.now.after(at));
                    prop_assert!(held >= relief.calm, "{last} to {step} after {held:?}");
                }
                if step != last {
                    (changed, last) = (Some(city.now), step);
                }
            }
        }
        // The longest that calm can take is sixteen times the usual, for each of three steps.
        city.many(3 * 161, Tick::default());
        prop_assert_eq!(city.load.step, Step::Normal);
    }

    /// A city that always asks for the same: each step makes it cheaper, by no matter how much.
    #[test]
    fn no_load_makes_it_swing(
        demand in 1.0_f64..4_000.0,
        cheaper in prop::array::uniform3(0.1_f64..1.0),
    ) {
        let mut city = City::new();
        let (mut last, mut changes, mut backlog) = (Step::Normal, 0, 0.0);
        for _ in 0..3_600 {
            let part: f64 = cheaper.iter().take(last.level().into()).product();
            // Milliseconds that are asked for, of which the budget is done.
            let (asked, budget) = (demand * part + backlog, 200.0);
            backlog = f64::max(asked - budget, 0.0).min(100_000.0);
            let (took, left) = (f64::min(asked, budget) as u64, backlog.ceil() as usize);
            let step = city.hear(tick(took, took as usize, left));
            changes += usize::from(step != last);
            last = step;
        }
        // Up once, and then a step down every 160 s, up to three each after 10, 20, 40 and 80 s,
        // and up again: less than a swing a minute, which would be 120.
        prop_assert!(changes <= 3 + 2 * (3 * 4 + 3_600 / 160), "{changes} changes in an hour");
    }
}
