//! Whose turn it is, and a nearer driver for a rider who has one.

use std::time::Duration;

use super::city::{EAGER, Play, REACH, START, driver, north, seen, trip};
use crate::board::Rules;
use crate::eligibility::Standing;
use crate::model::Outcome;
use crate::slack::Slack;
use crate::strategy::{Batching, Preset, Presets, Swap};
use crate::wire::MatchingStatus;

fn rules(batched: Batching) -> Rules {
    let preset = Preset { at_once: 1, ..Preset::batched() };
    let batched = Batching { preset, supply: REACH, ..batched };
    Rules { presets: Presets { batched, ..Presets::default() }, ..Rules::default() }
}

fn swapping() -> Rules {
    rules(Batching { swap: Some(EAGER), ..Batching::default() })
}

/// Rider 1 has driver 1, who is `metres` away and said yes after a second.
fn promised(rules: Rules, metres: f64) -> Play {
    let mut play = Play::with(rules, vec![seen(1, metres)]);
    assert_eq!(play.ask_batched(1, 0.0).tick(), "1: 1");
    play.at(1.0).end_all(Outcome::Accepted);
    play.city.of(1).standing = Standing::Busy;
    play
}

#[test]
fn a_nearer_driver_takes_over_once() {
    let mut play = promised(swapping(), 2_000.0);
    assert_eq!(play.at(3.0).tick(), "");
    play.city.drivers.push(seen(2, 500.0));
    assert_eq!(play.at(5.0).tick(), "1: 2");
    assert_eq!(play.board.status(trip(1)), Some(MatchingStatus::matched()));
    play.at(9.0).end_all(Outcome::Accepted);
    play.city.of(2).standing = Standing::Busy;
    play.city.drivers.push(seen(3, 10.0));
    assert_eq!(play.at(11.0).tick(), "");
    assert_eq!(play.board.status(trip(1)), None);
}

#[test]
fn who_has_a_driver_is_looked_at_again_after_ten_seconds() {
    let swap = Swap { every: Swap::default().every, ..EAGER };
    let mut play = promised(rules(Batching { swap: Some(swap), ..Batching::default() }), 2_000.0);
    play.city.drivers.push(seen(2, 500.0));
    // The look that found him his first one was at the start.
    assert_eq!(play.at(9.0).tick(), "");
    assert_eq!(play.at(11.0).tick(), "1: 2");
    play.at(12.0).end_all(Outcome::Declined);
    play.city.drivers.push(seen(3, 400.0));
    assert_eq!(play.at(20.0).tick(), "");
    // Who gives the trip back leaves a rider who waits for nobody's turn.
    play.at(20.5).ask_batched(1, 0.0);
    assert_eq!(play.at(20.9).tick(), "1: 3");
}

#[test]
fn a_swap_must_gain_what_was_asked_for() {
    let product = Swap { gain: Duration::from_secs(240), every: Duration::from_secs(10) };
    assert_eq!(Batching::default().swap, Some(product));
    // Driver 1 comes at 195 s; at 3 s another must be there within 102 s.
    let check = |metres: f64, expected: &str| {
        let mut play = promised(swapping(), 1_000.0);
        play.city.drivers.push(seen(2, metres));
        assert_eq!(play.at(3.0).tick(), expected, "{metres} m");
    };
    check(520.0, "1: 2");
    check(530.0, "");
}

#[test]
fn who_has_nobody_comes_first() {
    let mut play = promised(swapping(), 2_000.0);
    play.city.drivers.push(seen(2, 300.0));
    play.at(3.0).ask_batched(2, 600.0);
    assert_eq!(play.tick(), "2: 2");
    assert_eq!(play.board.searches(), 1, "one rider has nobody");
}

#[test]
fn who_has_nobody_comes_first_however_much_another_would_gain() {
    let mut rules = swapping();
    rules.presets.batched.supply = Batching::default().supply;
    let mut play = Play::with(rules, vec![seen(1, 3_900.0)]);
    play.ask_batched(1, 0.0);
    let asked = (1..180).map(f64::from).find(|second| play.at(*second).tick() == "1: 1");
    let asked = asked.expect("his reach grows to a driver thirteen minutes away");
    play.at(asked + 1.0).end_all(Outcome::Accepted);
    play.city.of(1).standing = Standing::Busy;
    // A minute from both: it would spare the one ten minutes, and the other asked just now.
    play.city.drivers.push(seen(2, 300.0));
    assert_eq!(play.at(asked + 3.0).ask_batched(2, 600.0).tick(), "2: 2");
}

#[test]
fn a_look_for_a_nearer_driver_makes_nobody_wait() {
    let mut play = promised(swapping(), 2_000.0);
    assert_eq!(play.at(3.0).tick(), "");
    play.city.drivers.push(seen(2, 1_900.0));
    assert_eq!(play.at(4.0).ask_batched(2, 0.0).tick(), "2: 2");
}

#[test]
fn a_no_to_a_swap_changes_nothing() {
    let mut play = promised(swapping(), 2_000.0);
    play.city.drivers.push(seen(2, 500.0));
    assert_eq!(play.at(3.0).tick(), "1: 2");
    play.at(6.0).end_all(Outcome::Declined);
    assert_eq!(play.at(8.0).tick(), "", "he is not asked again");
    assert_eq!(play.board.status(trip(1)), Some(MatchingStatus::matched()));
    play.board.stop(trip(1));
    play.city.drivers.push(seen(3, 500.0));
    assert_eq!(play.at(10.0).tick(), "", "he was picked up");
}

#[test]
fn a_driver_who_gives_the_trip_back_leaves_a_rider_with_nobody() {
    let mut play = promised(swapping(), 2_000.0);
    play.city.drivers.push(seen(2, 1_990.0));
    assert_eq!(play.at(3.0).tick(), "", "no gain");
    play.at(4.0).ask_batched(1, 0.0);
    assert_eq!(play.at(6.0).tick(), "1: 2");
}

#[test]
fn who_loses_his_driver_late_is_searched_for_anew() {
    let mut play = promised(swapping(), 2_000.0);
    play.city.drivers.push(seen(2, 300.0));
    assert_eq!(play.at(3.0).tick(), "1: 2");
    play.at(6.0).end_all(Outcome::Declined);
    // Three minutes are as long as a search lasts: this one begins now, and whoever would not come
    // sooner may come at all.
    play.city.of(2).standing = Standing::Cooldown;
    play.at(220.0).ask_batched(1, 0.0);
    assert_eq!(play.tick(), "");
    play.city.of(2).standing = Standing::Available;
    assert_eq!(play.at(223.0).tick(), "1: 2");
}

#[test]
fn a_search_that_can_gain_nothing_any_more_is_over() {
    let mut play = promised(swapping(), 1_000.0);
    assert_eq!(play.at(100.0).tick(), "");
    assert_eq!(play.board.status(trip(1)), Some(MatchingStatus::matched()));
    assert_eq!(play.at(106.0).tick(), "");
    assert_eq!(play.board.status(trip(1)), None);
}

#[test]
fn without_swaps_a_yes_ends_the_search() {
    let mut play = promised(rules(Batching { swap: None, ..Batching::default() }), 2_000.0);
    play.city.drivers.push(seen(2, 10.0));
    assert_eq!(play.at(3.0).tick(), "");
    assert_eq!(play.board.status(trip(1)), None);
}

#[test]
fn a_driver_who_is_not_missed_is_sent_farther() {
    let drivers = || {
        let mut waits = seen(2, -1_500.0);
        waits.at = north(-1_500.0);
        waits.waiting_since = START - Duration::from_secs(600);
        vec![seen(1, 1_000.0), waits]
    };
    let mut play = Play::with(rules(Batching::default()), drivers());
    assert_eq!(play.ask_batched(1, 0.0).tick(), "1: 2");
    let placeless = Batching { around: 0.0, turn: 0.0, ..Batching::default() };
    let mut play = Play::with(rules(placeless), drivers());
    assert_eq!(play.ask_batched(1, 0.0).tick(), "1: 1");
    // He goes farther than the reach of a lone search with one driver (460 s), too.
    let mut far = seen(1, 2_600.0);
    far.waiting_since = START - Duration::from_secs(60);
    let mut play = Play::with(rules(Batching::default()), vec![far.clone()]);
    assert_eq!(play.ask_batched(1, 0.0).tick(), "1: 1");
    far.waiting_since = START;
    let mut play = Play::with(rules(Batching::default()), vec![far]);
    assert_eq!(play.ask_batched(1, 0.0).tick(), "");
}

#[test]
fn slack_is_the_mean_wait_of_those_around() {
    let at = |number: u128, metres: f64, idle_s: f64| (driver(number), north(metres), idle_s);
    let slack = Slack::of([
        at(1, 100.0, 60.0),
        at(2, 900.0, 120.0),
        at(2, 900.0, 120.0),
        at(3, 9_000.0, 5_000.0),
    ]);
    let check = |metres: f64, expected: f64| {
        let found = slack.around_s(north(metres));
        assert!((found - expected).abs() < 1e-9, "{metres} m: {found}");
    };
    check(100.0, 90.0);
    check(1_500.0, 90.0);
    check(4_500.0, 0.0);
    // Twenty minutes are as much as counts.
    check(9_000.0, 1_200.0);
}
