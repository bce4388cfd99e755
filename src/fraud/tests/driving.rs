//! Rules about driving: each at its threshold, and honest drivers beside them.

use std::time::Duration;

use base::{Dice, Millis, Piasters, Point, TripId};

use crate::conduct::{Answer, Evidence, Manner, Replay, Spot, TREND_NEW, judge, penalty};
use crate::model::Rule;
use crate::prints::{MARKS, prints};
use crate::thresholds::{Threshold, Thresholds};

const NOW: Millis = Millis(1_800_000_000_000);

fn place(north_m: f64, east_m: f64) -> Point {
    let east = east_m / (111_195.0 * 30f64.to_radians().cos());
    Point::new(30.0 + north_m / 111_195.0, 31.0 + east).expect("a place of the test")
}

/// `rule action weight`, for each rule that is met.
fn met(evidence: &Evidence<'_>) -> String {
    let met = judge(evidence, &Thresholds::default(), NOW);
    let met = met.iter().map(|met| format!("{} {} {}", met.rule, met.action, met.weight));
    met.collect::<Vec<_>>().join("; ")
}

#[track_caller]
fn positions(spots: &[Spot], expected: &str) {
    assert_eq!(met(&Evidence { spots, ..Evidence::default() }), expected);
}

#[track_caller]
fn answers(answers: &[Answer], expected: &str) {
    assert_eq!(met(&Evidence { answers, ..Evidence::default() }), expected);
}

fn spot(second: i64, at: Point) -> Spot {
    let time = Millis(NOW.0 - 3_600_000 + second * 1000);
    Spot { at, time, speed_kmh: Some(30.0), on_trip: false, suspect: false }
}

/// A drive north with a jump to the far east in each of the first `minutes` minutes.
fn jumpy(minutes: i64) -> Vec<Spot> {
    let drive = (0..1200).map(|n| {
        let here = spot(n * 3, place(n as f64 * 25.0, 0.0));
        if n % 20 == 10 && n / 20 < minutes {
            Spot { at: place(0.0, 9_000.0), suspect: true, ..here }
        } else {
            here
        }
    });
    drive.collect()
}

#[test]
fn minutes_in_which_no_car_could_be_there_are_counted() {
    positions(&jumpy(0), "");
    positions(&jumpy(4), "");
    positions(&jumpy(5), "teleports flag 5");
    // However many: whoever drives where receivers are jammed is seen, and keeps his money.
    positions(&jumpy(60), "teleports flag 60");
    // One minute of a bad receiver is one minute, however many positions it was.
    let burst: Vec<Spot> =
        (0..60).map(|n| Spot { suspect: true, ..spot(n, place(0.0, 9_000.0)) }).collect();
    positions(&burst, "");
    let spots = jumpy(5);
    let found =
        judge(&Evidence { spots: &spots, ..Evidence::default() }, &Thresholds::default(), NOW);
    let farthest = found[0].reasons["farthestMetres"].as_u64().expect("metres");
    assert!((9_000..11_500).contains(&farthest), "{}", found[0].reasons);
}

/// `seconds` at one place, a position every three.
fn still(seconds: i64, change: impl Fn(&mut Spot)) -> Vec<Spot> {
    let mut spots: Vec<Spot> = (0..=seconds / 3).map(|n| spot(n * 3, place(0.0, 0.0))).collect();
    spots.iter_mut().for_each(change);
    spots
}

#[test]
fn the_very_same_position_of_a_car_that_moves_is_frozen() {
    positions(&still(299, |_| ()), "");
    positions(&still(300, |_| ()), "frozen_position flag 5");
    positions(&still(1199, |_| ()), "frozen_position flag 19");
    positions(&still(1200, |_| ()), "frozen_position hold 20");
    // Who stands stands: many receivers say the same place then, and a speed of nought.
    positions(&still(3500, |spot| spot.speed_kmh = Some(0.0)), "");
    positions(&still(3500, |spot| spot.speed_kmh = None), "");
    // On a trip nobody stands that long; more is not said without a speed.
    let parked = |spot: &mut Spot| (spot.speed_kmh, spot.on_trip) = (Some(0.0), true);
    positions(&still(1199, parked), "");
    positions(&still(1200, parked), "frozen_position flag 20");
    // A hair's breadth ends it, and so does silence.
    let mut moved = still(400, |_| ());
    moved[60].at = place(0.1, 0.0);
    positions(&moved, "");
    let mut silent = still(400, |_| ());
    silent.iter_mut().skip(60).for_each(|spot| spot.time = spot.time + Duration::from_secs(130));
    positions(&silent, "");
    // A car that is not on a trip is kept every half minute only.
    let rare: Vec<Spot> = (0..=10).map(|n| spot(n * 30, place(0.0, 0.0))).collect();
    positions(&rare, "frozen_position flag 5");
    // Fewer than four positions are no stand.
    let few: Vec<Spot> = (0..3).map(|n| spot(n * 119, place(0.0, 0.0))).collect();
    positions(&few, "");
}

#[test]
fn a_track_that_was_driven_before_is_counted_by_trips() {
    let check = |trips: u128, expected: &str| {
        let of = TripId::from_u128(99);
        let replays: Vec<Replay> =
            (0..trips).map(|n| Replay { trip: TripId::from_u128(n), of, shared: 8 }).collect();
        assert_eq!(met(&Evidence { replays: &replays, ..Evidence::default() }), expected);
    };
    check(0, "");
    check(1, "replayed_track flag 1");
    check(2, "replayed_track hold 2");
    check(5, "replayed_track block 5");
}

/// A drive with the noise of a receiver: so many metres either way.
fn noisy(dice: &Dice, from: i64, noise_m: f64) -> Vec<Spot> {
    let wander = || (dice.unit() - 0.5) * 2.0 * noise_m;
    let drive = (from..from + 200)
        .map(|n| spot(n * 3, place(n as f64 * 25.0 + wander(), wander() + n as f64)));
    drive.collect()
}

fn shared(one: &[Spot], other: &[Spot]) -> usize {
    let (one, other) = (prints(one), prints(other));
    one.iter().filter(|print| other.contains(print)).count()
}

#[test]
fn a_track_is_known_again_and_another_drive_of_the_road_is_not() {
    let dice = Dice::seeded(7);
    let track = noisy(&dice, 0, 4.0);
    assert_eq!(shared(&track, &track), MARKS);
    // At another time of day, with stops in between, begun a little later.
    let mut later: Vec<Spot> = track.iter().skip(5).flat_map(|spot| [*spot; 2]).collect();
    later.iter_mut().for_each(|spot| spot.time = spot.time + Duration::from_secs(86_400));
    assert!(shared(&track, &later) >= 6, "{}", shared(&track, &later));
    // Half of it, and then somewhere else.
    let mut half = track[..120].to_vec();
    half.extend(noisy(&dice, 400, 4.0));
    assert!(shared(&track, &half) >= 1);
    // The same road at the same speed, by another phone or on another day: metres apart.
    for seed in 0..50 {
        assert_eq!(shared(&track, &noisy(&Dice::seeded(seed), 0, 4.0)), usize::from(seed == 7) * 8);
    }
    assert_eq!(prints(&track[..23]), [0_i64; 0]);
    assert_eq!(prints(&still(3000, |_| ())), [0_i64; 0]);
    // What is stored is compared with what the next program makes.
    let road: Vec<Spot> = (0..40).map(|n| spot(n, place(n as f64 * 25.0, 0.0))).collect();
    assert_eq!(prints(&road)[0], FIRST_PRINT);
}

const FIRST_PRINT: i64 = -8_565_127_834_297_677_911;

fn answer(hours_ago: u64, taken: bool, pounds: i64) -> Answer {
    let at = NOW - Duration::from_secs(hours_ago * 3600);
    let (price, manner) = (Piasters::pounds(pounds), Manner::default());
    Answer { at, taken, price, to: place(0.0, 0.0), manner }
}

/// Of `of` offers in halves so many of the dear ones and of the cheap ones are taken.
fn halves(of: u64, dear: u64, cheap: u64) -> Vec<Answer> {
    let half = |taken: u64, pounds: i64| {
        (0..of / 2).map(move |n| answer(n, n < taken, pounds + i64::try_from(n).unwrap_or(0)))
    };
    half(dear, 100).chain(half(cheap, 30)).collect()
}

#[test]
fn who_takes_the_dear_and_leaves_the_cheap_is_seen() {
    answers(&halves(40, 20, 20), "");
    answers(&halves(40, 19, 8), "cherry_picking flag 55");
    answers(&halves(38, 19, 0), "");
    answers(&halves(80, 36, 20), "cherry_picking flag 40");
    // By so much, but it may be chance; hardly by chance, but not by so much.
    answers(&halves(40, 16, 10), "");
    answers(&halves(400, 180, 130), "");
    // Who leaves the dear ones games nobody.
    answers(&halves(80, 10, 38), "");
    // All at one price: there are no halves.
    let same: Vec<Answer> = (0..80).map(|n| answer(n, n % 2 == 0, 50)).collect();
    answers(&same, "");
    // A week and no more.
    let old: Vec<Answer> =
        halves(80, 40, 0).into_iter().map(|a| Answer { at: a.at - TREND_NEW * 4, ..a }).collect();
    answers(&old, "");
}

#[test]
fn who_leaves_a_part_of_the_town_is_seen() {
    let far = place(20_000.0, 0.0);
    let town = |there_taken: u64, elsewhere_taken: u64| -> Vec<Answer> {
        let there = (0..20).map(|n| Answer { to: far, ..answer(n, n < there_taken, 50) });
        let elsewhere = (0..60).map(|n| answer(n, n < elsewhere_taken, 50));
        there.chain(elsewhere).collect()
    };
    answers(&town(14, 50), "");
    answers(&town(1, 54), "cherry_picking flag 85");
    answers(&town(10, 60), "cherry_picking flag 50");
    answers(&town(11, 60), "");
}

#[test]
fn who_takes_far_fewer_than_before_is_seen() {
    let trend = |new: (u64, u64), old: (u64, u64)| -> Vec<Answer> {
        let some = |(taken, of): (u64, u64), days: u64| {
            (0..of).map(move |n| answer(days * 24 + n % 24, n < taken, 50))
        };
        some(old, 5).chain(some(new, 0)).collect()
    };
    answers(&trend((16, 20), (32, 40)), "");
    answers(&trend((6, 20), (36, 40)), "acceptance_drop flag 60");
    answers(&trend((5, 19), (36, 40)), "");
    answers(&trend((6, 20), (35, 39)), "");
    answers(&trend((39, 60), (108, 120)), "acceptance_drop flag 25");
    answers(&trend((40, 60), (108, 120)), "");
    // More than before is nobody's concern.
    answers(&trend((20, 20), (10, 40)), "");
    // The city asks another way since: what was said before doesn't compare.
    let mut changed = trend((6, 20), (36, 40));
    for answer in changed.iter_mut().skip(40) {
        answer.manner = Manner { alone: true, ..answer.manner };
    }
    answers(&changed, "");
}

/// Takes offers by chance and by how far the pickup is, whatever they bring; drives with the noise
/// of a receiver, stands in jams and at taxi ranks, and has a bad minute now and then.
struct Honest {
    spots: Vec<Spot>,
    answers: Vec<Answer>,
}

fn honest(seed: u64) -> Honest {
    let dice = Dice::seeded(seed);
    let willing = 0.5 + 0.45 * dice.unit();
    let (mut north, mut speed) = (0.0, 30.0_f64);
    let mut spots = Vec::new();
    for n in 0..1200_i64 {
        if dice.unit() < 0.02 {
            speed = if speed > 0.0 { 0.0 } else { 10.0 + 50.0 * dice.unit() };
        }
        north += speed / 3.6 * 3.0;
        let noise = || (dice.unit() - 0.5) * 8.0;
        // A receiver that holds still while the car does.
        let at = if speed > 0.0 { place(north + noise(), noise()) } else { place(north, 0.0) };
        let mut here =
            Spot { speed_kmh: Some(speed as f32), on_trip: n % 600 < 400, ..spot(n * 3, at) };
        if dice.unit() < 0.0005 {
            (here.at, here.suspect) = (place(north, 2_000.0), true);
        }
        spots.push(here);
    }
    let answers = (0..16 * 24 / 2).map(|n| {
        let pickup = dice.unit();
        let to = place(dice.unit() * 30_000.0, dice.unit() * 30_000.0);
        let taken = dice.unit() < (willing * (1.25 - 0.5 * pickup)).min(1.0);
        let price = 20 + i64::try_from(dice.below(150)).unwrap_or(0);
        Answer { to, ..answer(n * 2, taken, price) }
    });
    Honest { spots, answers: answers.collect() }
}

#[test]
fn an_honest_driver_is_hardly_ever_found() {
    let found = |seed: &u64| {
        let Honest { spots, answers } = honest(*seed);
        !met(&Evidence { spots: &spots, answers: &answers, replays: &[] }).is_empty()
    };
    let runs = 1000;
    let found = (0..runs).filter(found).count();
    assert!(found < 5, "{found} of {runs}");
}

/// Which offers are answers.
#[derive(Clone, Copy, PartialEq)]
enum Counted {
    /// What he said himself; silence where he was asked alone.
    Said,
    /// Every offer that was open to its end.
    Silence,
}

/// Two weeks in a town that asks five at once, where the others want nearly every trip and leave
/// the cheap ones, for which drivers are asked again and again. He wants all trips alike, and every
/// second one like him lets pass what he doesn't want instead of declining it.
fn among_others(seed: u64, counted: Counted) -> Vec<Answer> {
    let dice = Dice::seeded(seed);
    let (willing, ignores) = (0.4 + 0.5 * dice.unit(), seed % 2 == 0);
    let mut answers = Vec::new();
    for hour in (0..16 * 24).flat_map(|hour| [hour; 4]) {
        let dear = dice.unit() < 0.85;
        let price = if dear { 90 } else { 20 } + i64::try_from(dice.below(60)).unwrap_or(0);
        let wanted = if dear { 0.9 } else { 0.05 };
        let to = place(dice.unit() * 30_000.0, dice.unit() * 30_000.0);
        // Five at once, twice, and at last himself alone.
        for others in [4, 4, 0] {
            let first = (0..others).filter(|_| dice.unit() < wanted).map(|_| 15.0 * dice.unit());
            let first = first.fold(f64::INFINITY, f64::min);
            let (takes, after) = (dice.unit() < willing, 15.0 * dice.unit());
            let after = if takes || !ignores { after } else { 15.0 };
            if first < after {
                // Revoked: somebody else has it.
                break;
            }
            let manner = Manner { named: None, lease_s: 15, alone: others == 0 };
            let expired = !takes && ignores;
            if !expired || manner.alone || counted == Counted::Silence {
                let manner = if counted == Counted::Said { manner } else { Manner::default() };
                answers.push(Answer { to, manner, ..answer(hour, takes, price) });
            }
            if takes || first < 15.0 {
                break;
            }
        }
    }
    answers
}

#[test]
fn what_others_want_does_not_make_an_honest_driver_choosy() {
    let found = |counted| {
        let found = |seed: &u64| {
            let answers = among_others(*seed, counted);
            !met(&Evidence { answers: &answers, ..Evidence::default() }).is_empty()
        };
        (0..1000).filter(found).count()
    };
    let (said, silence) = (found(Counted::Said), found(Counted::Silence));
    assert!(said < 10, "{said} of 1000");
    // Silence among others is no answer of his own: it would find the honest.
    assert!(silence > 100, "{silence} of 1000");
}

#[test]
fn a_rule_that_is_not_about_driving_costs_no_score() {
    let thresholds = Thresholds::default();
    let costs = Rule::ALL.iter().filter(|rule| penalty(**rule, &thresholds) > 0);
    let costs: Vec<String> =
        costs.map(|rule| format!("{rule} {}", penalty(*rule, &thresholds))).collect();
    let expected = [
        "teleports 30",
        "frozen_position 30",
        "replayed_track 30",
        "cherry_picking 10",
        "acceptance_drop 5",
    ];
    assert_eq!(costs, expected);
    assert_eq!(thresholds.of(Threshold::PenaltyDays), 14);
}
