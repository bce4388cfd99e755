//! Trips that are booked ahead, as a table and on a real database: searched in time, confirmed,
//! given to who stands by.

use std::time::Duration;

use base::{PaymentMethod, Piasters, RiderId};
use events::Once;

use super::stand::{Stand, refusal, standing_still};
use super::table::{accept, after, cancel, check, tell};
use super::{RIDER, at_s, driver, new_trip, pickup, point};
use crate::model::{CancelReason, Party, Status, Trip};
use crate::refusal::{Refusal, TripError};
use crate::rules::{Command, State};
use crate::{Ahead, AheadCommand, Effect};

fn offer(n: u128, until_s: i64) -> Command {
    Command::Offer { driver: driver(n), until: at_s(until_s), round: 1 }
}

fn ask(n: u128, until_s: i64) -> Command {
    AheadCommand::AskStandby { driver: driver(n), until: at_s(until_s), round: 1 }.into()
}

fn confirm(n: u128) -> Command {
    AheadCommand::Confirm { driver: driver(n) }.into()
}

fn silent(n: u128) -> Command {
    AheadCommand::Silent { driver: driver(n) }.into()
}

fn leaves(n: u128) -> Command {
    AheadCommand::Leaves { driver: driver(n) }.into()
}

/// With its pickup at an hour, searched from 45 minutes on, and accepted by 1 at `at_s`.
fn accepted(at_s: i64) -> State {
    let story = [(2700, Command::Activate), (2701, offer(1, 9999)), (at_s, accept(1))];
    tell(after(Status::Scheduled), &story)
}

/// The same, and 2 stands by.
fn backed() -> State {
    tell(accepted(2800), &[(2801, ask(2, 2821)), (2802, accept(2))])
}

#[test]
fn it_is_searched_in_time_or_called_off() {
    let scheduled = after(Status::Scheduled);
    assert_eq!(scheduled.due(), Some(at_s(3600 - 900)));
    assert_eq!(scheduled.on_time(), Command::Activate);
    // A timer of days rings now and then before its time.
    check(&scheduled, Command::Activate, 2699, "1 - scheduled []");
    let begins = "2 requested requested [event needs_driver]";
    check(&scheduled, Command::Activate, 2700, begins);
    check(&scheduled, Command::Activate, 3600 + 599, begins);
    // The program was away until it was too late.
    check(&scheduled, Command::Activate, 3600 + 600, "2 cancelled cancelled [event ended]");
}

#[test]
fn who_accepts_early_confirms_and_who_accepts_late_need_not() {
    let early = "3 accepted accepted by 1 [event offer(1 accepted) over matched(1) needs_standby]";
    let late = "3 accepted accepted by 1 [event offer(1 accepted) over matched(1)]";
    let offered =
        tell(after(Status::Scheduled), &[(2700, Command::Activate), (2701, offer(1, 9999))]);
    check(&offered, accept(1), 2999, early);
    check(&offered, accept(1), 3000, late);
    let early = accepted(2999);
    assert_eq!(early.trip.confirm_by, Some(at_s(3300)));
    assert_eq!(
        (early.due(), early.on_time()),
        (Some(at_s(3300)), AheadCommand::Unconfirmed.into())
    );
    check(&early, confirm(1), 3299, "4 confirmed accepted by 1 [event]");
    check(&early, confirm(1), 3300, "TOO_LATE");
    check(&early, confirm(2), 3000, "NOT_FOUND");
    let confirmed = tell(early, &[(3299, confirm(1))]);
    assert_eq!((confirmed.trip.confirm_by, confirmed.due()), (None, None));
    check(&confirmed, confirm(1), 3301, "4 - accepted by 1 []");
    check(&accepted(3000), confirm(1), 3001, "3 - accepted by 1 []");
    // Whoever is there comes.
    let here = Command::Arrive { driver: driver(1), at: Some(pickup()) };
    let arrived = tell(accepted(2999), &[(3100, here)]);
    assert_eq!((arrived.trip.confirm_by, arrived.due()), (None, None));
    check(&after(Status::Accepted), confirm(1), 9, "INVALID_TRANSITION {\"current\":\"accepted\"}");
}

#[test]
fn who_does_not_confirm_loses_the_trip() {
    let early = accepted(2800);
    let unconfirmed = || Command::from(AheadCommand::Unconfirmed);
    check(&early, unconfirmed(), 3299, "3 - accepted by 1 []");
    let lost = "4 driver_cancelled requested [event freed(1 gave_back) needs_driver]";
    check(&early, unconfirmed(), 3300, lost);
    let searched = tell(early, &[(3300, unconfirmed())]);
    assert_eq!(searched.trip.excluded, [driver(1)]);
    check(&searched, confirm(1), 3301, "INVALID_TRANSITION {\"current\":\"requested\"}");
    check(&searched, offer(1, 9999), 3301, "NOT_OFFERED");
    check(&accepted(3001), unconfirmed(), 3400, "3 - accepted by 1 []");
}

#[test]
fn who_could_not_confirm_may_do_it_a_little_later() {
    // The program was away until 20 s after the time to confirm was over.
    let back = State { confirm_from: at_s(3410), ..accepted(2800) };
    let unconfirmed = || Command::from(AheadCommand::Unconfirmed);
    assert_eq!((back.due(), back.on_time()), (Some(at_s(3410)), unconfirmed()));
    check(&back, unconfirmed(), 3409, "3 - accepted by 1 []");
    check(&back, confirm(1), 3409, "4 confirmed accepted by 1 [event]");
    let lost = "4 driver_cancelled requested [event freed(1 gave_back) needs_driver]";
    check(&back, unconfirmed(), 3410, lost);
    check(&back, confirm(1), 3410, "TOO_LATE");
    // It is no longer for who has time enough.
    let early = State { confirm_from: at_s(2900), ..accepted(2800) };
    assert_eq!(early.due(), Some(at_s(3300)));
    assert_eq!(tell(back, &[(3409, confirm(1))]).due(), None);
}

#[test]
fn one_stands_by_and_is_free_meanwhile() {
    let early = accepted(2800);
    check(&early, ask(1, 2820), 2801, "NOT_OFFERED");
    check(&early, offer(2, 2820), 2801, "INVALID_TRANSITION {\"current\":\"accepted\"}");
    check(
        &after(Status::Requested),
        ask(2, 20),
        1,
        "INVALID_TRANSITION {\"current\":\"requested\"}",
    );
    check(&after(Status::Accepted), ask(2, 20), 9, "INVALID_TRANSITION {\"current\":\"accepted\"}");
    let asked = tell(early, &[(2801, ask(2, 2820)), (2801, ask(3, 2820))]);
    assert_eq!((asked.due(), asked.on_time()), (Some(at_s(2820)), Command::Expire));
    check(&asked, ask(2, 2830), 2802, "NOT_OFFERED");
    check(&asked, accept(2), 2819, "3 - accepted by 1 [offer(2 stands_by) offer(3 revoked)]");
    check(&asked, accept(2), 2820, "OFFER_EXPIRED");
    check(&asked, accept(4), 2802, "NOT_FOUND");
    // He ends another trip first: he stands by like anybody, and nothing is queued.
    let next = Command::AcceptNext { driver: driver(2), behind: base::TripId::from_u128(0x66) };
    check(&asked, next, 2819, "3 - accepted by 1 [offer(2 stands_by) offer(3 revoked)]");
    let no = Command::Decline { driver: driver(2) };
    check(&asked, no, 2802, "3 - accepted by 1 open 3 [offer(2 declined)]");
    let lost = Command::Withdraw { driver: driver(2) };
    check(&asked, lost, 2802, "3 - accepted by 1 open 3 [offer(2 lost)]");
    let ended = "3 - accepted by 1 [offer(2 expired) offer(3 expired)]";
    check(&asked, Command::Expire, 2820, ended);
    // Whoever confirms leaves the others asked; whoever is there has no need of them.
    check(&asked, confirm(1), 2803, "4 confirmed accepted by 1 open 2,3 [event]");
    let here = Command::Arrive { driver: driver(1), at: Some(pickup()) };
    let arrived = "4 arrived arrived by 1 [event offer(2 revoked) offer(3 revoked) over]";
    check(&asked, here, 2803, arrived);
    check(&backed(), ask(3, 2900), 2810, "NOT_OFFERED");
    check(&backed(), accept(2), 2810, "TRIP_TAKEN");
}

#[test]
fn who_stands_by_is_asked_first_and_let_go_when_he_is_not_needed() {
    let again = "4 driver_cancelled requested [event freed(1 gave_back) needs_driver]";
    let gives_back = cancel(Party::Driver(driver(1)));
    check(&backed(), gives_back.clone(), 2900, again);
    check(&backed(), AheadCommand::Unconfirmed.into(), 3300, again);
    check(&backed(), silent(1), 2900, again);
    check(&backed(), silent(2), 2900, "3 - accepted by 1 []");
    check(&accepted(2800), silent(1), 2900, "3 - accepted by 1 []");
    // One who leaves is replaced, and is no reason to take the trip from anybody.
    check(&backed(), leaves(2), 2900, "3 - accepted by 1 [needs_standby]");
    check(&backed(), leaves(3), 2900, "3 - accepted by 1 []");
    let left = tell(backed(), &[(2900, leaves(2))]);
    check(&left, silent(1), 2901, "3 - accepted by 1 []");
    let other = tell(left, &[(2902, ask(3, 2922)), (2903, accept(3))]);
    assert_eq!(other.standby, Some(driver(3)));
    let searched = tell(backed(), &[(2900, gives_back)]);
    assert_eq!(searched.standby, Some(driver(2)));
    let asked = tell(searched.clone(), &[(2901, offer(2, 2920)), (2901, offer(3, 2920))]);
    let his = "5 accepted accepted by 2 \
        [event offer(2 accepted) offer(3 revoked) over matched(2) needs_standby]";
    check(&asked, accept(2), 2902, his);
    let other = tell(searched, &[(2901, offer(3, 2920))]);
    let others = "5 accepted accepted by 3 \
        [event standby_over(2) offer(3 accepted) over matched(3) needs_standby]";
    check(&other, accept(3), 2902, others);
    let ended =
        "4 cancelled cancelled by 1 fee 15 [event over standby_over(2) freed(1 cancelled) ended]";
    check(&backed(), cancel(Party::Rider(RIDER)), 3000, ended);
}

#[test]
fn nobody_has_to_be_there_before_his_time() {
    let here = Command::Arrive { driver: driver(1), at: Some(point(30.0444, 31.2357)) };
    let arrived = tell(accepted(2800), &[(2900, here)]);
    let gone = Command::Cancel { by: Party::Driver(driver(1)), reason: CancelReason::RiderNoShow };
    check(&arrived, gone.clone(), 3600, "NO_SHOW_TOO_EARLY {\"waitSeconds\":300}");
    check(&arrived, gone, 3900, "5 cancelled cancelled by 1 fee 15 [event freed(1 no_show) ended]");
}

/// Books a pickup so many minutes ahead.
async fn book(
    stand: &Stand,
    rider: &base::Caller,
    method: PaymentMethod,
    minutes: u64,
) -> Result<std::sync::Arc<Trip>, TripError> {
    let at = stand.clock.now() + Duration::from_secs(minutes * 60);
    let new = new_trip(rider.user.as_rider(), method);
    let new = crate::NewTrip { scheduled_at: Some(at), strategy: "scheduled".to_owned(), ..new };
    stand.trips.create(rider, new, Once::NONE).await
}

/// Waits until a trip becomes this; what never comes fails the test.
async fn becomes(stand: &mut Stand, status: Status) {
    let seen = async {
        loop {
            match stand.effects.recv().await.expect("it goes on") {
                Effect::Event { trip, .. } if trip.status == status => return,
                _ => {}
            }
        }
    };
    let seen = tokio::time::timeout(Duration::from_secs(60), seen).await;
    assert!(seen.is_ok(), "no trip became {status}");
}

#[tokio::test]
async fn a_wallet_pays_for_a_trip_ahead_when_its_search_begins() {
    let stand = standing_still().await;
    let rider = stand.rider().await;
    let short = book(&stand, &rider, PaymentMethod::Wallet, 60).await;
    assert!(matches!(short, Err(TripError::InsufficientBalance { .. })), "{short:?}");
    stand.fund(&rider, Piasters(20_000)).await;
    let booked = book(&stand, &rider, PaymentMethod::Wallet, 60).await.expect("it is booked");
    assert_eq!((booked.status, booked.hold), (Status::Scheduled, Piasters::ZERO));
    assert_eq!(stand.balance("rider_hold", rider.user).await, 0);
    stand.clock.advance(Duration::from_secs(45 * 60));
    // After a crash its timer is there again, and rings at once.
    let mut stand = stand.restart().await;
    assert_eq!(stand.trips.rebuild().await.expect("it comes back"), 1);
    becomes(&mut stand, Status::Requested).await;
    assert_eq!(stand.balance("rider_hold", rider.user).await, 12_000);
    stand.replays(&booked).await;
    stand.does(booked.id, cancel(Party::Rider(rider.user.as_rider()))).await;
    assert_eq!(stand.balance("rider_wallet", rider.user).await, 20_000);
    stand.money_adds_up().await;
}

#[tokio::test]
async fn a_trip_ahead_that_is_not_covered_by_then_is_called_off() {
    let stand = standing_still().await;
    let rider = stand.rider().await;
    stand.fund(&rider, Piasters(12_000)).await;
    let booked = book(&stand, &rider, PaymentMethod::Wallet, 60).await.expect("it is booked");
    // Meanwhile another trip has it.
    stand.book(&rider, PaymentMethod::Wallet).await;
    stand.clock.advance(Duration::from_secs(45 * 60));
    let mut stand = stand.restart().await;
    stand.trips.rebuild().await.expect("they come back");
    becomes(&mut stand, Status::Cancelled).await;
    let ended = stand.stored(booked.id).await;
    assert_eq!(ended.cancel_reason, Some(CancelReason::NotCovered));
    stand.replays(&booked).await;
    stand.money_adds_up().await;
}

#[tokio::test]
async fn a_rider_has_few_trips_ahead_none_about_the_same_time_and_one_beside_them() {
    let stand = standing_still().await;
    let rider = stand.rider().await;
    let cash = PaymentMethod::Cash;
    book(&stand, &rider, cash, 60).await.expect("it is booked");
    for minutes in [31, 60, 89] {
        let near = book(&stand, &rider, cash, minutes).await;
        assert!(matches!(near, Err(TripError::Overlaps { .. })), "{minutes}: {near:?}");
    }
    for minutes in [90, 120, 150, 180] {
        book(&stand, &rider, cash, minutes).await.expect("there is room");
    }
    let more = book(&stand, &rider, cash, 300).await;
    assert!(matches!(more, Err(TripError::TooManyAhead { limit: 5 })), "{more:?}");
    // T2 is about immediate trips: one, beside those ahead, also once they are searched.
    let now = stand.book(&rider, cash).await;
    stand.clock.advance(Duration::from_secs(45 * 60));
    let mut stand = stand.restart().await;
    assert_eq!(stand.trips.rebuild().await.expect("they come back"), 6);
    becomes(&mut stand, Status::Requested).await;
    let again = new_trip(RiderId(rider.user.0), cash);
    let second = stand.trips.create(&rider, again, Once::NONE).await;
    assert_eq!(refusal(second), Refusal::TripInProgress);
    assert_eq!(stand.stored(now.id).await.status, Status::Requested);
    let live = "SELECT count(*) FROM trips WHERE status = 'requested'";
    assert_eq!(stand.count(live).await, 2);
}

#[tokio::test]
async fn a_wish_to_confirm_is_kept_through_a_crash() {
    let stand = standing_still().await;
    let (rider, one) = (stand.rider().await, stand.driver().await);
    let booked = book(&stand, &rider, PaymentMethod::Cash, 60).await.expect("it is booked");
    stand.clock.advance(Duration::from_secs(45 * 60));
    stand.does(booked.id, Command::Activate).await;
    let taken = stand.accepted(booked.id, one).await;
    let by = taken.scheduled_at.expect("a time") - Ahead::default().confirm;
    assert_eq!(taken.confirm_by, Some(by));
    stand.replays(&booked).await;
    let mut stand = stand.restart().await;
    stand.trips.rebuild().await.expect("it comes back");
    let standby = async |stand: &mut Stand| loop {
        if let Effect::NeedsStandby { trip } = stand.effects.recv().await.expect("it goes on") {
            return trip.id;
        }
    };
    assert_eq!(standby(&mut stand).await, booked.id);
    // The program was away when the time to confirm was over: he still may, a little longer.
    stand.clock.advance(Duration::from_secs(10 * 60 + 1));
    let stand = stand.restart().await;
    stand.trips.rebuild().await.expect("it comes back");
    stand.does(booked.id, AheadCommand::Unconfirmed.into()).await;
    stand.does(booked.id, AheadCommand::Confirm { driver: one }.into()).await;
    let kept = stand.stored(booked.id).await;
    assert_eq!((kept.status, kept.confirm_by, kept.driver), (Status::Accepted, None, Some(one)));
    stand.replays(&booked).await;
}

#[tokio::test]
async fn offers_to_stand_by_end_with_a_crash_and_one_is_asked_for_again() {
    let stand = standing_still().await;
    let (rider, one, two) = (stand.rider().await, stand.driver().await, stand.driver().await);
    let booked = book(&stand, &rider, PaymentMethod::Cash, 60).await.expect("it is booked");
    // Accepted so late that nothing has to be confirmed.
    stand.clock.advance(Duration::from_secs(55 * 60));
    stand.does(booked.id, Command::Activate).await;
    assert_eq!(stand.accepted(booked.id, one).await.confirm_by, None);
    sqlx::query(
        "INSERT INTO trip_offers (id, trip_id, driver_id, round, score, distance_m, eta_s, \
         created_at, expires_at, standby) \
         VALUES (gen_random_uuid(), $1, $2, 1, 1, 1, 1, now(), now(), true)",
    )
    .bind(booked.id.0)
    .bind(two.0)
    .execute(&mut stand.owner().await)
    .await
    .expect("an offer is stored");
    let mut stand = stand.restart().await;
    stand.trips.rebuild().await.expect("it comes back");
    assert_eq!(stand.count("SELECT count(*) FROM trip_offers WHERE status = 'pending'").await, 0);
    let mut wanted = false;
    while let Ok(effect) = stand.effects.try_recv() {
        wanted |= matches!(effect, Effect::NeedsStandby { .. });
    }
    assert!(wanted, "somebody is asked to stand by");
}

#[tokio::test]
async fn it_is_known_for_which_trips_a_driver_stands_by() {
    let stand = standing_still().await;
    let (rider, one, two) = (stand.rider().await, stand.driver().await, stand.driver().await);
    let booked = book(&stand, &rider, PaymentMethod::Cash, 60).await.expect("it is booked");
    stand.clock.advance(Duration::from_secs(45 * 60));
    stand.does(booked.id, Command::Activate).await;
    stand.accepted(booked.id, one).await;
    let until = stand.clock.now() + Duration::from_secs(20);
    let ask = AheadCommand::AskStandby { driver: two, until, round: 1 };
    let stands = async || {
        stand.does(booked.id, ask.into()).await;
        stand.does(booked.id, Command::Accept { driver: two }).await;
    };
    stands().await;
    assert_eq!(stand.trips.standby(booked.id), Some(two));
    assert_eq!(stand.trips.stands_by(two), [booked.id]);
    assert_eq!(stand.trips.stands_by(one), []);
    stand.does(booked.id, AheadCommand::Leaves { driver: two }.into()).await;
    assert_eq!((stand.trips.standby(booked.id), stand.trips.stands_by(two).len()), (None, 0));
    stands().await;
    stand.does(booked.id, cancel(Party::Rider(rider.user.as_rider()))).await;
    assert_eq!(stand.trips.stands_by(two), []);
}
