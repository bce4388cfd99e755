//! A strategy beside the city's own: what is counted of it, and that nothing else comes of it.

use std::time::Duration;

use base::{CityId, Millis, UserId};

use super::city::{Play, START, seen, trip};
use crate::choice::ShadowChoice;
use crate::load::Step;
use crate::model::{Decision, Outcome, Said};
use crate::shadow::{Beside, Shadows};
use crate::strategy::Strategy;
use crate::wire::{ShadowCounts, ShadowSide};

const CITY: CityId = CityId(1);

fn chosen(strategy: Option<Strategy>, at: Millis) -> ShadowChoice {
    ShadowChoice { city: CITY, strategy, at, by: UserId::from_u128(9) }
}

fn shadows(strategy: Strategy) -> Shadows {
    let mut shadows = Shadows::default();
    shadows.run(&[chosen(Some(strategy), START)]);
    shadows
}

/// The shadow looks at those who wait; everybody was heard of just now.
fn look(play: &mut Play, shadows: &mut Shadows) {
    for seen in &mut play.city.drivers {
        seen.heard = play.now;
    }
    for pass in shadows.due(&play.board, play.now) {
        let city = pass.city;
        let said = pass.decide(&play.city);
        shadows.hear(city, said, play.now, Duration::ZERO);
    }
}

/// The shadow looks, then the city decides; how each of its decisions compares.
fn sweep(play: &mut Play, shadows: &mut Shadows) -> Vec<Beside> {
    look(play, shadows);
    let decisions = play.decide();
    let compared = decisions.iter().filter_map(|one| shadows.compare(one, &play.board));
    compared.map(|compared| compared.verdict).collect()
}

fn counts(shadows: &Shadows) -> ShadowCounts {
    shadows.counts(CITY).expect("a shadow runs")
}

#[test]
fn both_ask_the_nearest_and_the_shadow_fewer() {
    let mut play = Play::new((1..=9).map(|n| seen(n, n as f64 * 100.0)).collect());
    let mut shadows = shadows(Strategy::Sequential);
    assert_eq!(sweep(play.ask(1), &mut shadows), [Beside::Same]);
    let (own, shadow) =
        (ShadowSide { pickup_s: 19, asked: 5 }, ShadowSide { pickup_s: 19, asked: 1 });
    let expected = ShadowCounts { same: 1, own, shadow, ..ShadowCounts::default() };
    assert_eq!(counts(&shadows), expected);
}

#[test]
fn a_shadow_that_would_ask_somebody_else_or_nobody_is_counted_so() {
    let mut play = Play::new(vec![seen(1, 1_000.0), seen(2, 4_900.0)]);
    let mut shadows = shadows(Strategy::Batched);
    assert_eq!(sweep(play.ask(1), &mut shadows), [Beside::Same]);
    // Only a driver who is too far for a batch is left.
    assert_eq!(sweep(play.at(1.0).ask(2), &mut shadows), []);
    play.at(2.0).end(1, Outcome::Declined).end(2, Outcome::Declined);
    assert_eq!(sweep(&mut play, &mut shadows), [Beside::Same], "the second rider has them now");
    let mut play = Play::new(vec![seen(2, 4_900.0)]);
    assert_eq!(sweep(play.ask(1), &mut shadows), [Beside::Waits]);
    assert_eq!((counts(&shadows).waits, counts(&shadows).other), (1, 0));
}

#[test]
fn by_how_much_a_shadow_would_have_been_sooner() {
    let mut play = Play::new(vec![seen(1, 2_900.0)]);
    play.board.choose(CITY, Strategy::Batched);
    let mut shadows = shadows(Strategy::FirstAccept);
    assert_eq!(sweep(play.ask(1), &mut shadows), []);
    // The reach has grown to him by now.
    assert_eq!(sweep(play.at(120.0), &mut shadows), [Beside::Same]);
    assert_eq!((counts(&shadows).sooner, counts(&shadows).sooner_ms), (1, 120_000));
}

#[test]
fn what_it_has_not_seen_and_whom_it_would_have_found() {
    let mut play = Play::new(vec![seen(1, 100.0)]);
    let mut shadows = shadows(Strategy::Sequential);
    let decisions = play.ask(1).decide();
    let mut compared = decisions.iter().filter_map(|one| shadows.compare(one, &play.board));
    assert_eq!(compared.next().expect("a round").verdict, Beside::Unseen);
    play.end_all(Outcome::Lost).at(10.0);
    look(&mut play, &mut shadows);
    let given_up = |said| Decision::NoDrivers { trip: trip(1), said };
    let found = shadows.compare(&given_up(Said::First), &play.board).expect("it would ask him");
    assert_eq!(found.verdict, Beside::Found);
    assert_eq!(shadows.compare(&given_up(Said::Again), &play.board), None);
}

#[test]
fn a_shadow_changes_nothing() {
    let drivers = || (1..=20).map(|n| seen(n, n as f64 * 150.0)).collect();
    let (mut alone, mut beside) = (Play::new(drivers()), Play::new(drivers()));
    let mut shadows = shadows(Strategy::Batched);
    for second in 0..40_u32 {
        for play in [&mut alone, &mut beside] {
            play.at(f64::from(second));
            if second % 3 == 0 {
                play.ask(u128::from(second) + 1);
            }
            if second % 7 == 6 {
                play.end_all(Outcome::Declined);
            }
        }
        look(&mut beside, &mut shadows);
        assert_eq!(alone.decide(), beside.decide(), "at {second} s");
    }
}

#[test]
fn it_rests_after_a_long_pass() {
    let mut play = Play::new(vec![seen(1, 100.0)]);
    let mut shadows = shadows(Strategy::Batched);
    play.ask(1);
    let pass = shadows.due(&play.board, START).remove(0);
    let said = pass.decide(&play.city);
    shadows.hear(CITY, said, START, Duration::from_millis(100));
    assert!(shadows.due(&play.board, START + Duration::from_millis(1_899)).is_empty());
    assert_eq!(shadows.due(&play.board, START + Duration::from_millis(1_900)).len(), 1);
}

#[test]
fn an_overloaded_city_does_without_it() {
    let mut play = Play::new(vec![seen(1, 100.0)]);
    let shadows = shadows(Strategy::Batched);
    play.ask(1);
    assert_eq!(shadows.due(&play.board, START).len(), 1);
    play.board.overload(CITY, Step::LongerWindows, START);
    assert!(shadows.due(&play.board, START).is_empty());
}

#[test]
fn while_a_city_is_overloaded_nothing_is_compared() {
    let mut play = Play::new(vec![seen(1, 100.0), seen(2, 200.0)]);
    let mut shadows = shadows(Strategy::Sequential);
    look(play.ask(1).ask(2), &mut shadows);
    play.board.overload(CITY, Step::LongerWindows, START);
    assert_eq!(sweep(&mut play, &mut shadows), []);
    assert_eq!(counts(&shadows), ShadowCounts::default());
    // What it said before says nothing of what is decided afterwards.
    play.end_all(Outcome::Lost).board.overload(CITY, Step::Normal, START);
    let decisions = play.at(10.0).decide();
    let compared = decisions.iter().filter_map(|one| shadows.compare(one, &play.board));
    assert_eq!(compared.map(|one| one.verdict).collect::<Vec<_>>(), [Beside::Unseen]);
}

#[test]
fn a_choice_that_stays_goes_on_counting_and_a_new_one_begins_anew() {
    let mut play = Play::new(vec![seen(1, 100.0)]);
    let mut shadows = shadows(Strategy::Sequential);
    sweep(play.ask(1), &mut shadows);
    shadows.run(&[chosen(Some(Strategy::Sequential), START)]);
    assert_eq!(counts(&shadows).same, 1);
    shadows.run(&[chosen(Some(Strategy::Sequential), START + Duration::from_secs(1))]);
    assert_eq!(counts(&shadows), ShadowCounts::default());
    shadows.run(&[chosen(None, START + Duration::from_secs(2))]);
    assert_eq!(shadows.counts(CITY), None);
    assert!(shadows.due(&play.board, play.now).is_empty());
}
