//! At an airport whoever stands first is asked first, however drivers are found.

use std::time::Duration;

use super::city::{Play, north, search, seen};
use crate::eligibility::Standing;
use crate::model::{Decision, Outcome, Search, Seen};
use crate::strategy::Strategy;

/// Drivers 1 to 5 stand in line, the first farthest from the pickup; 11 to 13 are beside it.
fn airport() -> Play {
    let in_line = (1..=5_u32).map(|place| {
        let seen = seen(place.into(), 1_200.0 - 200.0 * f64::from(place));
        Seen { in_line: Some(place), ..seen }
    });
    let others = (11..=13).map(|number| seen(number, number as f64));
    Play::new(in_line.chain(others).collect())
}

fn ask(play: &mut Play, number: u128, strategy: Strategy) {
    let asked = search(number, play.now);
    play.board.search(Search { strategy: Some(strategy), ..asked }, play.now);
}

/// Who was considered in one tick, and how: `1 offered 1st, 11 behind_queue`.
fn told(play: &mut Play) -> String {
    let decisions = play.decide();
    let lines = decisions.iter().filter_map(|decision| {
        if let Decision::Considered(lines) = decision { Some(lines) } else { None }
    });
    let words = lines.flatten().map(|line| {
        let place = line.in_line.map(|place| format!(" at {place}")).unwrap_or_default();
        format!("{} {}{place}", line.driver.as_u128(), line.verdict.name())
    });
    words.collect::<Vec<_>>().join(", ")
}

#[test]
fn the_first_five_of_the_line_are_asked_at_once() {
    let mut play = airport();
    ask(&mut play, 1, Strategy::FirstAccept);
    assert_eq!(play.tick(), "1: 1 2 3 4 5");
    // They are the first's until he has one of them: the second rider is driven by another.
    ask(&mut play, 2, Strategy::FirstAccept);
    assert_eq!(play.tick(), "2: 11 12 13");
}

#[test]
fn one_by_one_goes_down_the_line() {
    let mut play = airport();
    ask(&mut play, 1, Strategy::Sequential);
    assert_eq!(play.tick(), "1: 1");
    ask(&mut play, 2, Strategy::Sequential);
    assert_eq!(play.tick(), "2: 2");
    play.end(1, Outcome::Declined);
    assert_eq!(play.tick(), "1: 3", "who was asked by another is not waited for");
    play.end(3, Outcome::Declined);
    play.end(2, Outcome::Revoked);
    assert_eq!(play.tick(), "1: 2, 2: 1");
}

#[test]
fn bids_are_asked_of_the_line() {
    let mut play = airport();
    ask(&mut play, 1, Strategy::BroadcastBid);
    assert_eq!(play.tick(), "1: 1 2 3 4 5");
}

#[test]
fn the_oldest_search_of_a_batch_has_the_first_of_the_line() {
    let mut play = airport();
    // An older search of the town would have had him: he is nobody else's.
    let (strategy, pickup) = (Some(Strategy::Batched), north(1_000.0));
    let town = Search { strategy, pickup, ..search(9, play.now - Duration::from_secs(50)) };
    for number in [1, 2, 3] {
        ask(&mut play, number, Strategy::Batched);
        play.now = play.now + Duration::from_millis(10);
    }
    play.board.search(town, play.now);
    for seen in &mut play.city.drivers {
        // Beside the one who is asked only where nobody is missed.
        seen.acceptance = 1.0;
    }
    play.city.airports = vec![north(0.0)];
    let decided = play.tick();
    for round in ["1: 1", "2: 2", "3: 3"] {
        assert!(decided.split(", ").any(|one| one == round), "{decided}");
    }
    let of_town = decided.split(", ").find_map(|round| round.strip_prefix("9: "));
    assert!(of_town.is_some_and(|asked| asked == "4"), "{decided}");
}

#[test]
fn who_may_not_be_asked_is_passed_over_and_keeps_his_place() {
    let mut play = airport();
    play.city.of(1).in_debt = true;
    play.city.of(2).standing = Standing::Offered;
    play.city.of(3).tier = base::Tier::Comfort;
    play.city.of(4).fraud = true;
    ask(&mut play, 1, Strategy::Sequential);
    let expected = "3 offered at 3, 5 ranked at 5, 1 in_debt at 1, 2 offered_elsewhere at 2, \
        4 fraud at 4";
    assert_eq!(told(&mut play), expected);
}

#[test]
fn without_a_line_the_best_are_asked_as_anywhere() {
    let mut play = airport();
    for number in 1..=5 {
        play.city.of(number).standing = Standing::Busy;
    }
    ask(&mut play, 1, Strategy::FirstAccept);
    assert_eq!(play.tick(), "1: 11 12 13");
    // All of the line have said no: those who are beside it are asked before nobody is.
    let mut play = airport();
    ask(&mut play, 1, Strategy::FirstAccept);
    play.tick();
    play.end_all(Outcome::Declined);
    assert_eq!(play.tick(), "1: 11 12 13");
}

#[test]
fn the_line_is_near_however_far_its_cars_stand() {
    let mut play = airport();
    play.city.of(1).at = north(7_000.0);
    play.city.airports = vec![north(0.0)];
    ask(&mut play, 1, Strategy::Sequential);
    assert_eq!(play.tick(), "1: 1");
}

#[test]
fn who_comes_first_is_asked_first_whatever_the_others_do() {
    let mut play = airport();
    let mut served = Vec::new();
    for number in 1..=5 {
        ask(&mut play, number, Strategy::Sequential);
        play.tick();
        let asked = play.open[0].driver.as_u128();
        served.push(asked);
        play.end(asked, Outcome::Accepted);
        let gone = play.city.of(asked);
        (gone.standing, gone.in_line) = (Standing::Busy, None);
        for seen in &mut play.city.drivers {
            seen.in_line = seen.in_line.map(|place| place - 1);
        }
    }
    assert_eq!(served, [1, 2, 3, 4, 5]);
}
