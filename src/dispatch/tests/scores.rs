//! What a driver is worth to a search.

use std::time::Duration;

use super::city::{Play, START, seen};
use crate::eligibility::Standing;
use crate::look::waited;
use crate::model::{Considered, Decision, Seen};
use crate::score::{Acquaintance, Fairness, Merits, Reach, Vehicle, Weights, score};

/// A driver as PLAN's own test describes him: the rest is the best there is.
fn merits(km: f64, radius_km: f64, rating: f32, acceptance: f32) -> Merits {
    Merits {
        reach: Reach::Straight { distance_m: km * 1_000.0, within_m: radius_km * 1_000.0 },
        rating,
        acceptance,
        completion: 1.0,
        vehicle: Vehicle::Exact,
        acquaintance: Acquaintance::Stranger,
        waiting: Duration::ZERO,
        recent_trips: 0,
        penalty: 0,
    }
}

fn total(merits: &Merits) -> f32 {
    score(merits, &Weights::default(), &Fairness::default()).total()
}

fn check(merits: &Merits, expected: f32) {
    let total = total(merits);
    assert!((total - expected).abs() < 1e-5, "{merits:?}: {total}, not {expected}");
}

#[test]
fn the_weights_are_those_of_the_plan() {
    check(&merits(0.0, 5.0, 5.0, 1.0), 0.95);
    check(&Merits { acquaintance: Acquaintance::Repeat, ..merits(0.0, 5.0, 5.0, 1.0) }, 1.0);
    check(&merits(5.0, 5.0, 5.0, 1.0), 0.55);
    check(&merits(2.5, 5.0, 5.0, 1.0), 0.75);
    check(&merits(0.0, 5.0, 2.5, 1.0), 0.85);
    check(&merits(0.0, 5.0, 5.0, 0.0), 0.80);
    check(&Merits { completion: 0.5, ..merits(0.0, 5.0, 5.0, 1.0) }, 0.90);
    check(&Merits { vehicle: Vehicle::Higher, ..merits(0.0, 5.0, 5.0, 1.0) }, 0.85);
    let Weights { distance, rating, acceptance, completion, vehicle, repeat } = Weights::default();
    let sum = distance + rating + acceptance + completion + vehicle + repeat;
    assert!((sum - 1.0).abs() < 1e-12);
}

#[test]
fn a_closer_driver_ranks_higher() {
    assert!(total(&merits(1.0, 5.0, 4.5, 0.8)) > total(&merits(5.0, 5.0, 4.5, 0.8)));
}

#[test]
fn a_better_rated_driver_beats_a_closer_one_in_a_wide_ring_only() {
    let close = |radius| total(&merits(1.0, radius, 3.0, 0.8));
    let good = |radius| total(&merits(3.0, radius, 5.0, 0.95));
    assert!(good(10.0) > close(10.0));
    assert!(good(5.0) < close(5.0));
    // With equal acceptance the plan's two drivers are exactly even at 10 km.
    let (even, rated) = (total(&merits(1.0, 10.0, 3.0, 0.8)), total(&merits(3.0, 10.0, 5.0, 0.8)));
    assert!((even - rated).abs() < 1e-6);
}

#[test]
fn roads_and_air_agree_where_the_road_is_average() {
    let straight = merits(2.0, 5.0, 4.0, 0.8);
    let road = |eta_s| Merits { reach: Reach::Road { eta_s, within_s: 975.0 }, ..straight };
    check(&road(390), total(&straight));
    let (jam, road) = (road(780), road(390));
    assert!(total(&jam) < total(&road));
}

#[test]
fn waiting_lifts_and_recent_trips_lower_up_to_a_limit() {
    let plain = merits(1.0, 5.0, 4.5, 0.8);
    let waited = |minutes: u64| Merits { waiting: Duration::from_secs(minutes * 60), ..plain };
    let drove = |recent_trips| Merits { recent_trips, ..plain };
    assert!(total(&waited(10)) > total(&plain));
    check(&waited(20), total(&plain) + 0.15);
    check(&waited(600), total(&plain) + 0.15);
    assert!(total(&drove(3)) < total(&plain));
    check(&drove(10), total(&plain) - 0.15);
    check(&drove(60_000), total(&plain) - 0.15);
}

#[test]
fn only_who_is_free_has_waited() {
    let later = START + Duration::from_secs(600);
    let check = |standing: Standing, expected: Option<u64>| {
        let found = waited(&Seen { standing, ..seen(1, 100.0) }, later);
        assert_eq!(found, expected.map(Duration::from_secs), "{standing:?}");
    };
    check(Standing::Available, Some(600));
    check(Standing::Finishing { left_s: 30 }, None);
    check(Standing::Busy, None);
    check(Standing::Offered, None);
    // And his score has no part of it, where one who is free has.
    let mut play = Play::new(vec![seen(1, 100.0), seen(2, 100.0)]);
    play.city.of(2).standing = Standing::Finishing { left_s: 30 };
    let decisions = play.at(600.0).ask_batched(1, 0.0).decide();
    let parts = decisions.iter().flat_map(|decision| match decision {
        Decision::Considered(lines) => lines.as_slice(),
        Decision::Offers { .. } | Decision::Lapsed(_) | Decision::NoDrivers { .. } => &[],
    });
    let waiting = |line: &Considered| Some((line.driver.as_u128(), line.parts?.waiting > 0.0));
    let mut waiting: Vec<_> = parts.filter_map(waiting).collect();
    waiting.sort_unstable();
    assert_eq!(waiting, [(1, true), (2, false)]);
}

#[test]
fn conduct_lowers_a_score_by_what_is_left_of_it() {
    let plain = merits(1.0, 5.0, 4.5, 0.8);
    let marked = |penalty| Merits { penalty, ..plain };
    check(&marked(0), total(&plain));
    check(&marked(10), total(&plain) - 0.1);
    check(&marked(30), total(&plain) - 0.3);
    check(&marked(255), total(&plain) - 1.0);
}

#[test]
fn numbers_out_of_range_do_no_harm() {
    let odd = Merits {
        rating: f32::NAN,
        acceptance: 9.0,
        completion: -1.0,
        ..merits(1.0, 5.0, 0.0, 0.0)
    };
    check(&odd, 0.4 * 0.8 + 0.15 + 0.1);
    check(&merits(99.0, 5.0, 0.0, 0.0), 0.2);
    check(&merits(1.0, 0.0, 0.0, 0.0), 0.2);
}
