//! Each rule at its threshold: one below, one at it.

use std::time::Duration;

use base::{Millis, Piasters, Point, UserId};

use crate::model::{
    Action, Admission, Count, Decision, Facts, History, Known, Movement, Rule, Signal, Status, What,
};
use crate::rules::{
    BUCKET, DAY, HOUR, Meeting, Told, admission, bucket, decide, is_circular, judge, meet,
    standing, told,
};
use crate::thresholds::Thresholds;

const NOW: Millis = Millis(1_800_000_000_000);
const ALI: UserId = UserId::from_u128(7);
const NOBODY: UserId = UserId::from_u128(0);

fn at(what: What, times: u32, pounds: i64, bucket: Millis) -> Count {
    Count { what, other: NOBODY, bucket, times, amount: Piasters::pounds(pounds) }
}

fn lately(what: What, times: u32, pounds: i64) -> Count {
    at(what, times, pounds, bucket(NOW))
}

fn with(other: UserId, times: u32) -> Count {
    Count { other, ..lately(What::Circular, times, 0) }
}

fn counted(counts: &[Count]) -> Facts {
    Facts { counts: counts.to_vec(), ..Facts::default() }
}

fn asked(movement: Movement, pounds: i64, times: i64, average: i64) -> Facts {
    let before = History { times, total: Piasters::pounds(average * times) };
    Facts { asked: Some((movement, Piasters::pounds(pounds), before)), ..Facts::default() }
}

/// `rule action weight`, for each rule that is met.
#[track_caller]
fn check_with(thresholds: &str, facts: &Facts, expected: &str) {
    let thresholds: Thresholds = thresholds.parse().expect("thresholds");
    let met = judge(facts, &thresholds, NOW);
    let met = met.iter().map(|met| format!("{} {} {}", met.rule, met.action, met.weight));
    assert_eq!(met.collect::<Vec<_>>().join("; "), expected);
}

#[track_caller]
fn check(facts: &Facts, expected: &str) {
    check_with("", facts, expected);
}

#[test]
fn each_rule_at_its_threshold() {
    let moved = |times| counted(&[lately(What::Moved, times, 0)]);
    check(&moved(10), "");
    check(&moved(11), "velocity hold 11");
    check(&moved(29), "velocity hold 29");
    check(&moved(30), "velocity block 30");

    let failed = |times| counted(&[lately(What::PaymentFailed, times, 0)]);
    check(&failed(4), "");
    check(&failed(5), "repeated_failures hold 5");
    check(&failed(20), "repeated_failures block 20");

    let refused = |times| counted(&[lately(What::Refused, times, 0)]);
    check(&refused(9), "");
    check(&refused(10), "refused_postings flag 10");
    check(&refused(30), "refused_postings hold 30");

    check(&counted(&[with(ALI, 2)]), "");
    check(&counted(&[with(ALI, 3)]), "circular_trips flag 3");
    check(&counted(&[with(ALI, 5)]), "circular_trips hold 5");
    // Twice with each of many people is a round of errands.
    check(&counted(&[with(ALI, 2), with(UserId::from_u128(8), 2)]), "");

    let phone = |accounts| Facts { accounts_of_device: accounts, ..Facts::default() };
    check(&phone(3), "");
    check(&phone(4), "shared_device flag 4");
}

#[test]
fn an_amount_is_measured_by_the_accounts_own_average() {
    use Movement::{Deposit, WalletBooking, Withdrawal};
    check(&asked(Deposit, 500, 5, 50), "");
    check(&asked(Deposit, 501, 5, 50), "amount_anomaly flag 10");
    check(&asked(WalletBooking, 600, 5, 50), "amount_anomaly flag 12");
    check(&asked(Withdrawal, 501, 5, 50), "amount_anomaly hold 10");
    // Four movements are no habit.
    check(&asked(Withdrawal, 10_000, 4, 50), "");
    check(&asked(Withdrawal, 10_000, 0, 0), "");
    check_with("amount.times=0", &asked(Withdrawal, 10_000, 5, 50), "");
    // Amounts that would not fit when multiplied.
    let huge = Piasters(i64::MAX);
    let before = History { times: i64::MAX, total: huge };
    check(
        &Facts { asked: Some((Deposit, huge, before)), ..Facts::default() },
        "amount_anomaly flag 9223372036854775807",
    );
}

#[test]
fn what_came_in_today_may_not_go_out_today() {
    let day = |deposited, withdrawn| {
        let counts = [lately(What::Deposited, 1, deposited), lately(What::Withdrawn, 1, withdrawn)];
        counted(&counts)
    };
    check(&day(1000, 899), "");
    check(&day(1000, 900), "deposit_withdraw hold 90000");
    check(&day(99, 99), "");
    check(&day(100, 90), "deposit_withdraw hold 9000");
    check(&day(1000, 0), "");
    // Drivers take out what they earned: without a deposit there is nothing to it.
    check(&day(0, 5000), "");
    check_with("deposit.percent=0", &day(1000, 1000), "");
}

#[test]
fn logins_count_when_money_is_about_to_go_out_and_never_block() {
    let mut facts = asked(Movement::Withdrawal, 50, 0, 0);
    facts.counts = vec![lately(What::LoginFailed, 4, 0)];
    check(&facts, "");
    facts.counts = vec![lately(What::LoginFailed, 4, 0), lately(What::PaymentFailed, 1, 0)];
    check(&facts, "repeated_failures hold 5");
    facts.counts = vec![lately(What::LoginFailed, 400, 0)];
    check(&facts, "repeated_failures hold 400");
    facts.asked = asked(Movement::WalletBooking, 50, 0, 0).asked;
    check(&facts, "");
}

#[test]
fn a_window_misses_nothing_and_sees_five_minutes_too_far() {
    let moved = |ago: Duration| counted(&[at(What::Moved, 11, 0, bucket(NOW - ago))]);
    let met = |ago| !judge(&moved(ago), &Thresholds::default(), NOW).is_empty();
    assert!(met(Duration::ZERO) && met(HOUR - Duration::from_secs(1)));
    // Whatever happened within the hour is in it, whichever second it is now.
    for second in 0..BUCKET.as_secs() {
        let now = NOW + Duration::from_secs(second);
        let facts =
            counted(&[at(What::Moved, 11, 0, bucket(now - HOUR + Duration::from_millis(1)))]);
        assert!(!judge(&facts, &Thresholds::default(), now).is_empty(), "{second}");
        let facts = counted(&[at(What::Moved, 11, 0, bucket(now - HOUR - BUCKET))]);
        assert!(judge(&facts, &Thresholds::default(), now).is_empty(), "{second}");
    }
    let old = at(What::Deposited, 1, 1000, bucket(NOW - DAY - BUCKET));
    check(&counted(&[old, lately(What::Withdrawn, 1, 1000)]), "");
}

#[test]
fn a_busy_day_is_no_fraud() {
    // Thirty cash trips and their tips ask for nothing; he takes his earnings out once.
    let mut facts = asked(Movement::Withdrawal, 1800, 40, 900);
    facts.counts = vec![
        lately(What::Moved, 1, 1800),
        lately(What::Withdrawn, 1, 1800),
        with(ALI, 1),
        lately(What::LoginFailed, 1, 0),
    ];
    facts.accounts_of_device = 1;
    check(&facts, "");
    // A rider who tops up, books and pays all evening.
    let mut facts = asked(Movement::WalletBooking, 85, 60, 40);
    facts.counts = vec![lately(What::Moved, 6, 500), lately(What::Deposited, 2, 400)];
    facts.counts.push(lately(What::PaymentFailed, 2, 0));
    check(&facts, "");
}

#[test]
fn a_cleared_pattern_needs_more_evidence_to_open_again() {
    let week = Thresholds::default().remember();
    let check = |status, action, weight: i64, days: u64, expected| {
        let decided = (status != Status::Open).then(|| NOW - DAY * u32::try_from(days).unwrap());
        let known =
            Known { rule: Some(Rule::Velocity), status, action, weight, decided_at: decided };
        let signal = Signal {
            rule: Rule::Velocity,
            action: Action::Hold,
            weight: 12,
            reasons: serde_json::json!({}),
        };
        let name = format!("{status} {action} {weight} {days}");
        assert_eq!(meet(&signal, Some(&known), week, NOW), expected, "{name}");
    };
    use Action::{Block, Flag, Hold};
    use Meeting::{Grow, Known as Same, Open};
    check(Status::Open, Hold, 12, 0, Same);
    check(Status::Open, Hold, 11, 0, Grow);
    check(Status::Open, Flag, 12, 0, Grow);
    check(Status::Open, Block, 30, 0, Same);
    check(Status::Confirmed, Block, 11, 0, Same);
    check(Status::Confirmed, Block, 11, 300, Same);
    check(Status::Cleared, Hold, 12, 0, Same);
    check(Status::Cleared, Hold, 7, 6, Same);
    check(Status::Cleared, Hold, 6, 6, Open);
    check(Status::Cleared, Flag, 12, 6, Open);
    check(Status::Cleared, Hold, 12, 6, Same);
    check(Status::Cleared, Hold, 12, 7, Open);
}

#[test]
fn every_decision_in_every_status() {
    let allowed = |status| -> Vec<String> {
        let all = Decision::ALL.iter();
        let moves = all.filter_map(|decision| Some((decision, decide(status, *decision)?)));
        moves.map(|(decision, to)| format!("{decision}: {to}")).collect()
    };
    assert_eq!(allowed(Status::Open), ["clear: cleared", "confirm: confirmed"]);
    assert_eq!(allowed(Status::Confirmed), ["release: cleared"]);
    assert_eq!(allowed(Status::Cleared), [""; 0]);
}

#[test]
fn what_an_account_of_each_standing_may_do() {
    use Admission::{Blocked, Go, UnderReview, Waits};
    let check = |standing, expected: [Admission; 3]| {
        let said = Movement::ALL.iter().map(|movement| admission(standing, *movement));
        assert_eq!(said.collect::<Vec<_>>(), expected, "{standing:?}");
    };
    // Deposit, withdrawal, booking by wallet.
    check(None, [Go, Go, Go]);
    check(Some(Action::Flag), [Go, Go, Go]);
    check(Some(Action::Hold), [Go, Waits, UnderReview]);
    check(Some(Action::Block), [Blocked, Blocked, Blocked]);
}

#[test]
fn the_sternest_case_in_force_stands_and_a_flag_is_told_to_nobody() {
    let case = |status, action| Known {
        rule: Some(Rule::Velocity),
        status,
        action,
        weight: 1,
        decided_at: None,
    };
    let cleared = case(Status::Cleared, Action::Block);
    let (flag, hold) = (case(Status::Open, Action::Flag), case(Status::Open, Action::Hold));
    assert_eq!(standing(&[]), None);
    assert_eq!(standing(&[cleared]), None);
    assert_eq!(standing(&[hold, cleared, flag]), Some(Action::Hold));
    assert_eq!(standing(&[flag, case(Status::Confirmed, Action::Block)]), Some(Action::Block));

    use Action::{Block, Flag, Hold};
    assert_eq!(told(None, Some(Flag)), None);
    assert_eq!(told(Some(Flag), Some(Hold)), Some(Told::Held));
    assert_eq!(told(Some(Hold), Some(Block)), None);
    assert_eq!(told(Some(Block), Some(Flag)), Some(Told::Released));
    assert_eq!(told(Some(Hold), None), Some(Told::Released));
}

#[test]
fn a_trip_that_goes_nowhere_is_circular() {
    let tahrir = Point::new(30.0444, 31.2357).expect("a point");
    let check = |metres: f64, driven, expected| {
        let end = Point::new(30.0444 + metres / 111_195.0, 31.2357).expect("a point");
        let said = is_circular(tahrir, end, driven, &Thresholds::default());
        assert_eq!(said, expected, "{metres} {driven:?}");
    };
    check(299.0, Some(9000), true);
    check(301.0, Some(9000), false);
    check(2000.0, Some(300), true);
    check(2000.0, Some(301), false);
    check(2000.0, None, false);
}
