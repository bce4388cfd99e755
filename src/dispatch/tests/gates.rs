//! Who may be asked, and why not.

use std::time::Duration;

use base::{PaymentMethod, Tier};

use super::city::{START, driver, search, seen};
use crate::eligibility::{Gate, Hold, Standing, gate};
use crate::model::{Search, Seen};

/// Changes an eligible pair and compares the verdict.
fn check(change: impl FnOnce(&mut Search, &mut Seen, &mut Hold), expected: &str) {
    let (mut search, mut seen, mut hold) = (search(1, START), seen(7, 1_000.0), Hold::None);
    change(&mut search, &mut seen, &mut hold);
    let verdict = gate(&search, 5_000.0, &seen, hold, START);
    assert_eq!(verdict.map_or_else(Gate::name, |()| "eligible"), expected);
}

#[test]
fn an_available_approved_fresh_driver_near_by_is_eligible() {
    check(|_, _, _| {}, "eligible");
}

#[test]
fn only_an_available_driver_is_asked() {
    check(|_, d, _| d.standing = Standing::Offline, "offline");
    check(|_, d, _| d.standing = Standing::Offered, "offered_elsewhere");
    check(|_, d, _| d.standing = Standing::Busy, "busy");
    check(|_, d, _| d.standing = Standing::Cooldown, "cooldown");
    check(|_, _, hold| *hold = Hold::Offer, "offered_elsewhere");
    check(|_, _, hold| *hold = Hold::Asked, "asked");
}

#[test]
fn a_position_older_than_sixty_seconds_is_stale() {
    check(|_, d, _| d.heard = START - Duration::from_millis(60_000), "eligible");
    check(|_, d, _| d.heard = START - Duration::from_millis(60_001), "stale");
    // A clock that was set back makes nobody stale.
    check(|_, d, _| d.heard = START + Duration::from_secs(5), "eligible");
}

#[test]
fn good_standing_is_needed() {
    check(|_, d, _| d.approved = false, "not_approved");
    check(|_, d, _| d.fraud = true, "fraud");
    check(|_, d, _| d.documents_until = START, "documents_expired");
    check(|_, d, _| d.documents_until = START + Duration::from_millis(1), "eligible");
}

#[test]
fn the_same_tier_or_a_higher_one_is_asked() {
    check(|s, _, _| s.tier = Tier::Comfort, "wrong_tier");
    check(|s, _, _| s.tier = Tier::Xl, "wrong_tier");
    check(|_, d, _| d.tier = Tier::Premium, "eligible");
    check(|_, d, _| d.tier = Tier::Xl, "eligible");
}

#[test]
fn the_ring_has_an_edge() {
    check(|_, d, _| d.distance_m = 5_000.0, "eligible");
    check(|_, d, _| d.distance_m = 5_000.1, "out_of_radius");
    check(|_, d, _| d.distance_m = f64::NAN, "out_of_radius");
}

#[test]
fn a_driver_in_debt_takes_no_cash() {
    check(|_, d, _| d.in_debt = true, "in_debt");
    let pays_by = |method| {
        move |s: &mut Search, d: &mut Seen, _: &mut Hold| {
            (s.method, d.in_debt) = (method, true);
        }
    };
    check(pays_by(PaymentMethod::Wallet), "eligible");
    check(pays_by(PaymentMethod::Card), "eligible");
}

#[test]
fn an_excluded_driver_is_out_before_anything_else() {
    check(|s, _, _| s.excluded.push(driver(7)), "excluded");
    check(|s, _, _| s.excluded.push(driver(8)), "eligible");
    check(
        |s, d, _| {
            s.excluded.push(driver(7));
            d.standing = Standing::Busy;
            d.fraud = true;
        },
        "excluded",
    );
}

#[test]
fn the_lasting_reason_is_named_before_the_passing_one() {
    check(
        |_, d, _| (d.tier, d.standing, d.approved) = (Tier::Xl, Standing::Busy, false),
        "not_approved",
    );
    check(|_, d, _| (d.standing, d.distance_m) = (Standing::Cooldown, 9e9), "cooldown");
}

#[test]
fn every_gate_has_a_name_of_its_own() {
    let names: std::collections::BTreeSet<_> = Gate::ALL.into_iter().map(Gate::name).collect();
    assert_eq!(names.len(), Gate::ALL.len());
    assert!(!names.contains("offered") && !names.contains("ranked"), "those are verdicts");
}
