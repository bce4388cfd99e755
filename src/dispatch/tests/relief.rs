//! A city that does with less: whose turn it is in its lines, what it does without, and how it
//! comes back under a load that it carries.

use std::time::Duration;

use base::TripId;

use super::city::{Play, START, driver, north, search, seen, trip};
use super::overload::{CITY, LOOK, rules, step, steps, sweep, sweep_where};
use crate::board::Rules;
use crate::eligibility::Standing;
use crate::load::{Relief, Step};
use crate::model::{Decision, Outcome, Part, Search};
use crate::strategy::Strategy;
use crate::wire::MatchingStatus;

/// A hundred milliseconds: in `normal` a look takes one and a tenth for each driver.
fn roomy() -> Rules {
    let relief = Relief { budget: Duration::from_millis(100), ..Relief::default() };
    let mut rules = Rules { relief, ..Rules::default() };
    // Riders wait for looks here, and not for drivers.
    rules.presets.first_accept.at_once = 1;
    rules
}

fn ask(play: &mut Play, numbers: std::ops::RangeInclusive<u128>, way: Strategy) {
    for number in numbers {
        let asked = Search { strategy: Some(way), ..search(number, play.now) };
        play.board.search(asked, play.now);
    }
}

/// For whom drivers were asked, in order.
fn asked(decisions: &[Decision]) -> Vec<TripId> {
    let trip = |decision: &Decision| match decision {
        Decision::Offers { plans, .. } => Some(plans[0].trip),
        Decision::Considered(_) | Decision::Lapsed(_) | Decision::NoDrivers { .. } => None,
    };
    decisions.iter().filter_map(trip).collect()
}

/// A burst, then so many riders a second, in a city that is woken ten times a second: the steps
/// that it took. Sixty drivers take every trip and are free again at once.
fn rush(way: Strategy, burst: u128, a_second: u32, seconds: u32) -> (Vec<&'static str>, Play) {
    let mut play = Play::with(roomy(), (0..60).map(|n| seen(n, n as f64 * 10.0)).collect());
    let ask = |play: &mut Play, numbers: std::ops::RangeInclusive<u128>| {
        for number in numbers {
            let pickup = north((number % 60) as f64 * 10.0);
            let asked = Search { strategy: Some(way), pickup, ..search(number, play.now) };
            play.board.search(asked, play.now);
        }
    };
    ask(&mut play, 1..=burst);
    let (mut path, mut last) = (Vec::new(), burst);
    for tenth in 0..seconds * 10 {
        play.at(f64::from(tenth) / 10.0);
        let due = u128::from(tenth * a_second / 10);
        ask(&mut play, last + 1..=burst + due);
        last = burst + due;
        path.extend(steps(&sweep(&mut play).news));
        play.end_all(Outcome::Accepted);
    }
    (path, play)
}

#[test]
fn what_normal_carries_well_is_carried_in_normal_after_a_burst() {
    for way in [Strategy::FirstAccept, Strategy::Sequential, Strategy::Batched] {
        let (path, _) = rush(way, 0, 4, 20);
        assert_eq!(path, [""; 0], "{way} carries it");
        let (path, play) = rush(way, 900, 4, 150);
        assert!(path.contains(&"longer_windows"), "{way}: {path:?}");
        assert_eq!(step(&play), Step::Normal, "{way}: {path:?}");
        // As far up as the burst drove it, and down again, with one relapse at most.
        assert!(path.len() <= 8, "{way}: {path:?}");
    }
}

#[test]
fn no_stream_of_riders_makes_it_swing() {
    for (way, a_second) in
        [(Strategy::FirstAccept, 12), (Strategy::Batched, 6), (Strategy::Batched, 15)]
    {
        let (path, _) = rush(way, 100, a_second, 100);
        // Up to the top, and tries after 10, 20 and 40 s.
        assert!(path.len() <= 3 + 2 * 3, "{way}, {a_second} a second: {path:?}");
    }
}

#[test]
fn from_simple_distance_on_a_batch_asks_only_who_is_free() {
    for (step, expected) in [(Step::LongerWindows, "1: 1"), (Step::SimpleDistance, "1: 999")] {
        let ending = |n: u128| {
            let standing = Standing::Finishing { left_s: 20 };
            crate::Seen { standing, ..seen(n, 100.0 + n as f64) }
        };
        let mut drivers: Vec<crate::Seen> = (1..=100).map(ending).collect();
        drivers.push(seen(999, 900.0));
        let mut rules = Rules::default();
        rules.presets.batched.preset.at_once = 1;
        let mut play = Play::with(rules, drivers);
        play.board.overload(CITY, step, play.now);
        assert_eq!(play.ask_batched(1, 0.0).tick(), expected, "{step}");
    }
}

#[test]
fn in_line_a_batch_keeps_its_window_and_the_order_of_asking() {
    let mut play = Play::with(rules(), (1..=9).map(|n| seen(n, n as f64 * 10.0)).collect());
    play.board.overload(CITY, Step::SimpleDistance, START);
    ask(&mut play, 1..=1, Strategy::Batched);
    assert_eq!(asked(&sweep(&mut play).decisions), [trip(1)], "its window begins");
    play.end_all(Outcome::Accepted);
    // They wait for the next one; the city goes up by others' looks, each of which is dear.
    ask(play.at(1.0), 2..=3, Strategy::Batched);
    ask(&mut play, 100..=140, Strategy::FirstAccept);
    for number in 100..=140 {
        let hopeless = Search { excluded: (1..=9).map(driver).collect(), ..search(number, START) };
        play.board.search(Search { strategy: Some(Strategy::FirstAccept), ..hopeless }, play.now);
    }
    let mut second = 1.0;
    while step(&play) != Step::Queued {
        assert_eq!(asked(&sweep_where(play.at(second), LOOK * 20).decisions), [], "{second}");
        second += 0.5;
    }
    assert!(second < 8.0, "the window is not over");
    let place = |play: &Play, number| match play.board.status(trip(number)) {
        Some(status) => status.queue_position,
        None => None,
    };
    assert_eq!([place(&play, 2), place(&play, 3)], [Some(1), Some(2)]);
    ask(play.at(second), 4..=4, Strategy::Batched);
    assert_eq!(place(&play, 4), Some(3), "behind those who asked before");
    for number in 100..=140 {
        play.board.stop(trip(number));
    }
    while second < 7.9 {
        assert_eq!(asked(&sweep(play.at(second)).decisions), [], "{second}");
        second += 0.5;
    }
    let decided = asked(&sweep(play.at(8.9)).decisions);
    assert_eq!(decided, [trip(2), trip(3), trip(4)]);
}

#[test]
fn who_lost_his_driver_waits_for_no_rest() {
    for way in [Strategy::FirstAccept, Strategy::Sequential] {
        for outcome in [Outcome::Declined, Outcome::Lost] {
            let mut play = Play::with(rules(), vec![seen(1, 100.0)]);
            play.board.overload(CITY, Step::LongerWindows, START);
            ask(&mut play, 1..=1, way);
            assert_eq!(asked(&sweep(&mut play).decisions), [trip(1)]);
            play.city.drivers.push(seen(2, 200.0));
            play.at(0.5).end_all(outcome);
            let swept = sweep(play.at(1.0));
            assert_eq!(asked(&swept.decisions), [trip(1)], "{way}, {}", outcome.name());
            // A look that finds nobody is another matter.
            play.at(2.0).end_all(Outcome::Declined);
            play.city.drivers.clear();
            assert_eq!(sweep(&mut play).looks.len(), 1);
            play.city.drivers.push(seen(3, 100.0));
            assert_eq!(asked(&sweep(play.at(5.0)).decisions), []);
            assert_eq!(asked(&sweep(play.at(6.0)).decisions), [trip(1)]);
        }
    }
}

#[test]
fn no_line_starves_behind_the_other() {
    let mut play = Play::with(rules(), Vec::new());
    ask(&mut play, 1..=40, Strategy::Batched);
    ask(&mut play, 101..=110, Strategy::FirstAccept);
    for number in 101..=110 {
        let alone = Search { pickup: north(3_000.0), ..search(number, START) };
        play.board.search(Search { strategy: Some(Strategy::FirstAccept), ..alone }, START);
    }
    // Each look takes all of the budget, and the batch is never through with its line.
    let (mut batch, mut alone) = (0, 0);
    for second in 0..20_u32 {
        let swept = sweep_where(play.at(f64::from(second)), Duration::from_millis(20));
        let of_alone = swept.looks.iter().filter(|at| **at == north(3_000.0)).count();
        alone += of_alone;
        batch += swept.looks.len() - of_alone;
    }
    assert!(batch >= 15 && alone >= 15, "{batch} and {alone} looks in twenty ticks");
}

#[test]
fn what_was_stood_in_line_is_searched() {
    let mut play = Play::with(rules(), vec![seen(1, 100.0)]);
    play.board.overload(CITY, Step::Queued, START);
    sweep(&mut play);
    ask(&mut play, 1..=1, Strategy::FirstAccept);
    // It was the city's tick just now.
    assert_eq!(asked(&sweep(play.at(0.5)).decisions), []);
    assert_eq!(asked(&sweep(play.at(30.0)).decisions), [trip(1)]);
    play.at(34.0);
    let (_, found) = play.board.offer_ended(trip(1), driver(1), Outcome::Accepted, play.now);
    assert_eq!(found.map(|found| found.searched), Some(Duration::from_secs(34)));
}

#[test]
fn the_next_sweep_is_when_an_overloaded_city_has_its_tick() {
    let mut play = Play::with(rules(), Vec::new());
    ask(&mut play, 1..=1, Strategy::FirstAccept);
    sweep(&mut play);
    assert_eq!(play.board.next_tick(), None, "nothing is skipped");
    play.board.overload(CITY, Step::LongerWindows, START);
    assert_eq!(play.board.next_tick(), Some(START + Duration::from_millis(900)));
    assert_eq!(sweep(play.at(0.899)).looks.len(), 0);
    // Who is left over is not left for longer than the tick took, or a quarter of the pause.
    ask(&mut play, 2..=60, Strategy::FirstAccept);
    let swept = sweep(play.at(1.0));
    assert_eq!(swept.took, Duration::from_millis(20));
    assert_eq!(play.board.next_tick(), Some(play.now + Duration::from_millis(20 + 225)));
    assert!(!play.board.hurries());
}

/// Somebody is looked for who stands by, until a minute after the start.
fn standby(play: &mut Play, number: u128) {
    let until = Some(START + Duration::from_secs(60));
    let (strategy, role) = (Some(Strategy::Scheduled), Part::StandBy);
    let asked = Search { strategy, role, until, ..search(number, START) };
    play.board.search(asked, play.now);
}

#[test]
fn an_overloaded_city_looks_for_nobody_to_stand_by() {
    let mut play = Play::with(rules(), vec![seen(1, 100.0)]);
    for over in [Step::LongerWindows, Step::SimpleDistance, Step::Queued] {
        play.board.overload(CITY, over, play.now);
        standby(&mut play, 1);
        let swept = sweep(play.at(f64::from(over.level()) * 2.0));
        assert_eq!((swept.looks.len(), swept.news.places.len()), (0, 0), "{over}");
        assert_eq!(play.board.status(trip(1)), Some(MatchingStatus::matched()));
    }
    play.board.overload(CITY, Step::Normal, play.now);
    assert_eq!(asked(&sweep(play.at(9.0)).decisions), [trip(1)]);
}

#[test]
fn who_wants_a_driver_comes_before_who_wants_a_standby() {
    let mut play = Play::with(rules(), vec![seen(1, 100.0)]);
    standby(&mut play, 1);
    ask(play.at(5.0), 2..=2, Strategy::FirstAccept);
    assert_eq!(asked(&sweep(&mut play).decisions), [trip(2)], "asked later, and more urgent");
    // Also where the budget ends before all had their turn: nobody counts as left over then.
    let mut play = Play::with(rules(), Vec::new());
    for number in 1..=50 {
        standby(&mut play, number);
    }
    for second in 0..20_u32 {
        let swept = sweep(play.at(f64::from(second)));
        assert!((10..=20).contains(&swept.looks.len()), "{}", swept.looks.len());
    }
    assert_eq!(step(&play), Step::Normal);
}

#[test]
fn one_is_asked_at_a_time_to_stand_by_and_at_the_pickup_nobody() {
    let mut play = Play::with(Rules::default(), (1..=9).map(|n| seen(n, n as f64)).collect());
    standby(&mut play, 1);
    for number in 1..=6 {
        assert_eq!(play.tick(), format!("1: {number}"));
        play.end_all(Outcome::Declined);
    }
    assert_eq!(play.at(59.9).tick(), "1: 7");
    assert_eq!(play.end_all(Outcome::Declined).at(60.0).tick(), "");
    assert_eq!(play.board.status(trip(1)), None);
}
