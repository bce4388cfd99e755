//! BATCHED: what is decided together, who is asked beside the best, how far is too far.

use std::time::Duration;

use super::city::{Play, REACH, START, driver, north, seen, trip};
use crate::board::Rules;
use crate::eligibility::Standing;
use crate::model::{Decision, Outcome, Verdict};
use crate::offers::{Candidate, OfferSet, chance};
use crate::strategy::{Batching, Preset, Presets};
use crate::supply::{Supply, shares};

/// A city where one driver is asked at a time, so that a batch reads as pairs.
fn exclusive() -> Rules {
    let preset = Preset { at_once: 1, ..Preset::batched() };
    let batched = Batching { preset, supply: REACH, ..Batching::default() };
    Rules { presets: Presets { batched, ..Presets::default() }, ..Rules::default() }
}

#[test]
fn searches_of_a_window_are_decided_together() {
    // On a line: driver 1 at 1 000 m is nearest to both riders. One by one, rider 1 at 700 m would
    // take him and leave rider 2 at 1 100 m the driver at 0 m; together it is the other way round.
    let mut play = Play::with(exclusive(), vec![seen(1, 1_000.0), seen(2, 0.0)]);
    play.ask_batched(1, 700.0).ask_batched(2, 1_100.0);
    assert_eq!(play.tick(), "1: 2, 2: 1");
}

#[test]
fn a_batch_waits_for_its_window() {
    let mut play = Play::with(exclusive(), (1..=3).map(|n| seen(n, n as f64 * 100.0)).collect());
    assert_eq!(play.ask_batched(1, 0.0).tick(), "1: 1");
    assert_eq!(play.at(1.0).ask_batched(2, 0.0).tick(), "");
    assert_eq!(play.at(1.999).ask_batched(3, 0.0).tick(), "");
    assert_eq!(play.at(2.0).tick(), "2: 2, 3: 3");
}

#[test]
fn ways_live_side_by_side_and_share_no_driver() {
    let mut play = Play::new((1..=8).map(|n| seen(n, n as f64 * 100.0)).collect());
    play.ask(1).ask_batched(2, 0.0);
    // The batch goes first; the lease of its drivers holds for the other, too.
    assert_eq!(play.tick(), "2: 1, 1: 2 3 4 5 6");
}

#[test]
fn who_said_no_is_not_asked_again_and_the_next_is() {
    let mut play = Play::with(exclusive(), vec![seen(1, 100.0), seen(2, 200.0)]);
    assert_eq!(play.ask_batched(1, 0.0).tick(), "1: 1");
    assert_eq!(play.at(4.0).end_all(Outcome::Declined).tick(), "1: 2");
    assert_eq!(play.at(9.0).end_all(Outcome::Declined).tick(), "");
    assert_eq!(play.at(178.0).tick(), "");
    assert_eq!(play.at(180.0).tick(), "1: no drivers");
}

#[test]
fn another_is_asked_where_drivers_are_plenty() {
    let few = |count: u128| Play::new((1..=count).map(|n| seen(n, n as f64 * 100.0)).collect());
    // 0.8 accept: one alone misses with 0.2, which is good enough.
    let sure = |play: &mut Play| play.city.drivers.iter_mut().for_each(|d| d.acceptance = 0.8);
    let mut play = few(8);
    sure(&mut play);
    assert_eq!(play.ask_batched(1, 0.0).tick(), "1: 1");
    // 0.4 accept: two miss with 0.36.
    let unsure = |play: &mut Play| play.city.drivers.iter_mut().for_each(|d| d.acceptance = 0.4);
    let mut play = few(8);
    unsure(&mut play);
    assert_eq!(play.ask_batched(1, 0.0).tick(), "1: 1 2");
    // Two searches among eight drivers have four each, three searches among eight have fewer.
    let mut play = few(8);
    unsure(&mut play);
    assert_eq!(play.ask_batched(1, 0.0).ask_batched(2, 0.0).tick(), "1: 1 3, 2: 2 4");
    let mut play = few(8);
    unsure(&mut play);
    play.ask_batched(1, 0.0).ask_batched(2, 0.0).ask_batched(3, 0.0);
    assert_eq!(play.tick(), "1: 1, 2: 2, 3: 3");
}

#[test]
fn the_offer_set_is_a_rule() {
    let rule = Batching::default().offers;
    assert_eq!(rule, OfferSet { miss: 0.5, extra_eta_s: 90, spare: 3.0 });
    let check = |first: (u32, f64), others: &[(u32, f64)], share: f64, expected: &[usize]| {
        let candidate = |(eta_s, chance)| Candidate { eta_s, chance };
        let others = others.iter().map(|&other| candidate(other)).enumerate();
        assert_eq!(rule.beside(candidate(first), others, share, 3), expected, "{first:?} {share}");
    };
    let four = [(100, 0.3), (110, 0.3), (120, 0.3), (130, 0.3)];
    check((100, 0.50), &four, 9.0, &[]);
    check((100, 0.49), &four, 9.0, &[0]);
    check((100, 0.29), &four, 9.0, &[0]);
    check((100, 0.26), &four, 9.0, &[0, 1]);
    check((100, 0.26), &four, 3.0, &[]);
    check((100, 0.26), &four, 3.01, &[0, 1]);
    check((100, 0.26), &[(191, 0.9), (190, 0.9)], 9.0, &[1]);
    check((100, 0.26), &[], 9.0, &[]);
}

#[test]
fn drivers_mind_long_pickups() {
    let check = |rate: f32, eta_s: u32, expected: f64| {
        let found = chance(rate, eta_s);
        assert!((found - expected).abs() < 1e-6, "{rate} at {eta_s} s: {found}");
    };
    check(0.65, 0, 0.65);
    check(0.65, 180, 0.65);
    check(0.65, 600, 0.325);
    check(0.65, 1_020, 0.1625);
    check(1.0, 0, 0.95);
    check(0.0, 0, 0.05);
    check(0.65, 100_000, 0.05);
    check(f32::NAN, 0, 0.05);
}

#[test]
fn the_reach_shrinks_in_a_shortage_and_grows_with_the_wait() {
    let check = |share: f64, waited_s: f64, expected: f64| {
        assert_eq!(REACH.reach_s(share, waited_s), expected, "{share} {waited_s}");
    };
    check(0.0, 0.0, 240.0);
    check(1.0, 0.0, 460.0);
    check(3.0, 0.0, 900.0);
    check(15.0, 0.0, 900.0);
    check(0.0, 60.0, 300.0);
    check(3.0, 60.0, 960.0);
    check(f64::NAN, -1.0, 240.0);
    check(0.0, 3_600.0, 2_040.0);
}

#[test]
fn a_driver_wanted_by_many_is_a_part_of_one_to_each() {
    let drivers = |numbers: &[u128]| numbers.iter().map(|n| driver(*n)).collect::<Vec<_>>();
    let found = shares(&[drivers(&[1, 2]), drivers(&[1, 3]), drivers(&[]), drivers(&[1])]);
    let third = 1.0 / 3.0;
    let expected = [1.0 + third, 1.0 + third, 0.0, third];
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?}");
}

/// At 0.195 s/m a driver 4 900 m away takes 955 s, beyond the reach of a lone search that has
/// him only (240 + a third of 660 = 460 s).
#[test]
fn a_far_rider_is_served_in_bounded_time() {
    let mut play = Play::with(exclusive(), vec![seen(1, 4_900.0)]);
    play.city.drivers[0].acceptance = 1.0;
    play.ask_batched(1, 0.0);
    let mut second = 0.0;
    let words = loop {
        let words = play.at(second).tick();
        if !words.is_empty() {
            break words;
        }
        second += 1.0;
    };
    assert_eq!(words, "1: no drivers");
    // While somebody near by always wants him, too, the one who waits longest gets him in the end.
    let mut rules = exclusive();
    rules.presets.batched.preset.at_least = Duration::from_secs(1_200);
    let mut play = Play::with(rules, vec![seen(1, 4_900.0)]);
    play.ask_batched(1, 0.0);
    for second in (0..1_200).step_by(2) {
        // A fresh rival at every batch, a minute from the driver.
        let rival = 100 + second as u128;
        play.at(f64::from(second)).ask_batched(rival, 4_600.0);
        let words = play.tick();
        if words.starts_with("1: ") {
            assert!((600..1_000).contains(&second), "{words} after {second} s");
            return;
        }
        play.end_all(Outcome::Lost);
        play.board.stop(trip(rival));
    }
    panic!("the far rider was never served");
}

/// With the product's own numbers the same driver is asked before the search ends: 955 s are less
/// than 277 and 3 s more for each second of the wait, and he is sent farther as he idles.
#[test]
fn a_lone_far_driver_is_found_within_the_search() {
    let product = Batching::default().supply;
    assert_eq!(product, Supply { short_s: 240.0, ample_s: 350.0, ample: 3.0, growth: 3.0 });
    let mut play = Play::new(vec![seen(1, 4_900.0)]);
    play.ask_batched(1, 0.0);
    let asked = (0..180).find(|second| !play.at(f64::from(*second)).tick().is_empty());
    assert!(asked.is_some_and(|second| (100..170).contains(&second)), "{asked:?}");
    assert_eq!(play.open.len(), 1);
}

#[test]
fn a_driver_about_to_be_free_is_promised_the_next_trip() {
    let mut play = Play::with(exclusive(), vec![seen(1, 200.0), seen(2, 2_000.0)]);
    play.city.of(1).standing = Standing::Finishing { left_s: 300 };
    // 300 s and 39 s of way are before 390 s.
    play.ask_batched(1, 0.0);
    assert_eq!(play.tick(), "1: 1");
    assert_eq!(play.open[0].eta_s, 339);
    // He is preferred to an idle driver who would be there a little earlier: 200 s of his 219 are
    // spent on a rider, the other's 195 on nobody.
    let mut play = Play::with(exclusive(), vec![seen(1, 100.0), seen(2, 1_000.0)]);
    play.city.of(1).standing = Standing::Finishing { left_s: 200 };
    play.ask_batched(1, 0.0);
    assert_eq!(play.tick(), "1: 1");
    // A second farther than the plan reaches, or asked by a way that doesn't chain, he is busy.
    let mut play = Play::with(exclusive(), vec![seen(1, 200.0), seen(2, 2_000.0)]);
    play.city.of(1).standing = Standing::Finishing { left_s: 301 };
    play.ask_batched(1, 0.0);
    assert_eq!(play.tick(), "1: 2");
    let mut play = Play::new(vec![seen(1, 200.0), seen(2, 2_000.0)]);
    play.city.of(1).standing = Standing::Finishing { left_s: 30 };
    assert_eq!(play.ask(1).tick(), "1: 2");
}

#[test]
fn the_trace_says_who_is_too_far_and_says_it_once() {
    let mut play = Play::with(exclusive(), vec![seen(1, 100.0), seen(2, 4_900.0)]);
    play.city.of(2).standing = Standing::Finishing { left_s: 200 };
    let verdicts = |decisions: &[Decision]| {
        let lines = decisions.iter().filter_map(|decision| match decision {
            Decision::Considered(lines) => Some(lines),
            _ => None,
        });
        let words = lines
            .flatten()
            .map(|line| format!("{} {}", line.driver.as_u128(), Verdict::name(line.verdict)));
        words.collect::<Vec<_>>().join(", ")
    };
    let decisions = play.ask_batched(1, 0.0).decide();
    assert_eq!(verdicts(&decisions), "1 offered, 2 too_far");
    play.end_all(Outcome::Declined);
    play.now = START + Duration::from_secs(4);
    assert_eq!(verdicts(&play.decide()), "2 too_far, 1 asked");
    play.now = START + Duration::from_secs(8);
    assert_eq!(verdicts(&play.decide()), "");
}

#[test]
fn the_same_board_decides_the_same() {
    let decide = || {
        let drivers = (1..=60).map(|n| {
            let mut seen = seen(n, (n * 7919 % 5_000) as f64);
            seen.acceptance = (n % 10) as f32 / 10.0;
            seen.at = north((n * 7919 % 5_000) as f64);
            seen
        });
        let mut play = Play::new(drivers.collect());
        for number in 1..=30 {
            play.ask_batched(number, (number * 104_729 % 5_000) as f64);
        }
        play.decide()
    };
    assert_eq!(decide(), decide());
}

#[test]
fn sequential_asks_five_in_turn_and_then_many() {
    let mut play = Play::new((1..=20).map(|n| seen(n, n as f64 * 100.0)).collect());
    let mut search = super::city::search(1, START);
    search.strategy = Some(crate::strategy::Strategy::Sequential);
    play.board.search(search, START);
    for turn in 1..=5_u32 {
        let at = f64::from(turn - 1) * 10.0;
        assert_eq!(play.at(at).tick(), format!("1: {turn}"));
        assert_eq!(play.open[0].until, play.now + Duration::from_secs(10));
        play.at(at + 10.0).end_all(Outcome::Expired);
    }
    assert_eq!(play.tick(), "1: 6 7 8 9 10 11 12 13 14 15");
}
