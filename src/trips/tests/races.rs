//! Many at once against a real database: whoever comes first, the invariants hold.

use std::collections::HashSet;
use std::time::Duration;

use base::{DriverId, PaymentMethod, Piasters, TripId};
use events::Once;
use futures_util::future::join_all;

use super::stand::{refusal, stand};
use super::{new_trip, pickup};
use crate::effect::Effect;
use crate::model::{CancelReason, Party, Status};
use crate::refusal::{Refusal, TripError};
use crate::rules::Command;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_several_accepts_of_one_trip_one_wins() {
    let stand = stand().await;
    let rider = stand.rider().await;
    let drivers = stand.drivers(8).await;
    let booked = stand.book(&rider, PaymentMethod::Cash).await;
    for driver in &drivers {
        stand.offer(booked.id, *driver).await;
    }
    let accepts = drivers
        .iter()
        .map(|driver| stand.trips.command(booked.id, Command::Accept { driver: *driver }));
    let answers = join_all(accepts).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for answer in lost {
        assert_eq!(refusal(answer), Refusal::TripTaken);
    }
    stand.replays(&booked).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_trips_that_one_driver_accepts_he_gets_one() {
    let mut stand = stand().await;
    let riders = stand.riders(2).await;
    let driver = stand.driver().await;
    let mut booked = Vec::new();
    for rider in &riders {
        let trip = stand.book(rider, PaymentMethod::Cash).await;
        stand.offer(trip.id, driver).await;
        booked.push(trip);
    }
    let accepts =
        booked.iter().map(|trip| stand.trips.command(trip.id, Command::Accept { driver }));
    let answers = join_all(accepts).await;
    let (won, mut lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((won.len(), lost.len()), (1, 1));
    assert_eq!(refusal(lost.remove(0)), Refusal::DriverBusy);
    for trip in &booked {
        stand.replays(trip).await;
    }
    // The other trip goes on without him.
    let mut ended = 0;
    while let Ok(effect) = stand.effects.try_recv() {
        ended += i32::from(matches!(effect, Effect::OfferEnded { .. }));
    }
    assert_eq!(ended, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_accept_and_cancel_both_are_answered_by_one_order() {
    let stand = stand().await;
    let riders = stand.riders(20).await;
    let drivers = stand.drivers(20).await;
    let rounds = riders.iter().zip(&drivers).map(async |(rider, driver)| {
        let booked = stand.book(rider, PaymentMethod::Cash).await;
        stand.offer(booked.id, *driver).await;
        let by = Party::Rider(rider.user.as_rider());
        let reason = CancelReason::ChangedMind;
        let (accepted, cancelled) = tokio::join!(
            stand.trips.command(booked.id, Command::Accept { driver: *driver }),
            stand.trips.command(booked.id, Command::Cancel { by, reason }),
        );
        // A cancel is legal before and after the accept; an accept only before.
        assert_eq!(cancelled.expect("the rider may always").status, Status::Cancelled);
        let version = match accepted {
            Ok(_) => 3,
            Err(TripError::Refused(Refusal::InvalidTransition { current: Status::Cancelled })) => 2,
            Err(other) => panic!("{other}"),
        };
        assert_eq!(stand.stored(booked.id).await.version, version);
        stand.replays(&booked).await;
    });
    join_all(rounds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trip_completed_twice_is_settled_once() {
    let stand = stand().await;
    let (rider, driver) = (stand.rider().await, stand.driver().await);
    stand.fund(&rider, Piasters(20_000)).await;
    let booked = stand.book(&rider, PaymentMethod::Wallet).await;
    stand.started(booked.id, driver).await;
    let complete = || {
        stand.trips.command(booked.id, Command::Complete { driver, distance_m: 4100, cash: None })
    };
    let answers = join_all((0..5).map(|_| complete())).await;
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!(won.len(), 1);
    for answer in lost {
        assert_eq!(refusal(answer), Refusal::InvalidTransition { current: Status::Completed });
    }
    assert_eq!(stand.balance("driver", driver.into()).await, 8500);
    assert_eq!(stand.count("SELECT count(*) FROM ledger_journal WHERE kind = 'settle'").await, 1);
    stand.money_adds_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_trips_share_commits_from_booking_to_settlement() {
    let stand = stand().await;
    let riders = stand.riders(200).await;
    let drivers = stand.drivers(200).await;
    let whole = riders.iter().zip(&drivers).map(async |(rider, driver)| {
        let booked = stand.book(rider, PaymentMethod::Cash).await;
        stand.completed(booked.id, *driver).await;
        booked
    });
    let booked = join_all(whole).await;
    assert_eq!(
        stand
            .count(
                "SELECT count(*) FROM trips WHERE status = 'completed' AND payment_status = 'paid'"
            )
            .await,
        200
    );
    let of_trips = "SELECT count(*) FROM event_store WHERE aggregate_type = 'trip'";
    assert_eq!(stand.count(of_trips).await, 1000);
    // Each driver owes the commission of his cash trip.
    let of_wallets = "SELECT count(*) FROM event_store WHERE aggregate_type = 'wallet'";
    assert_eq!(stand.count(of_wallets).await, 200);
    assert_eq!(stand.count("SELECT count(*) FROM ledger_journal WHERE kind = 'settle'").await, 200);
    assert_eq!(stand.trips.live_count(), 0);
    for trip in booked.iter().take(20) {
        stand.replays(trip).await;
    }
    stand.money_adds_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_requests_and_twenty_drivers_make_twenty_trips() {
    let stand = stand().await;
    let riders = stand.riders(100).await;
    let drivers = stand.drivers(20).await;
    let booked = join_all(riders.iter().map(|rider| stand.book(rider, PaymentMethod::Cash))).await;
    // Every driver is asked for every fifth trip, and takes them all at once.
    let pairs: Vec<(TripId, DriverId)> = booked
        .iter()
        .enumerate()
        .flat_map(|(n, trip)| (0..20).filter(move |d| n % 5 == d % 5).map(move |d| (trip.id, d)))
        .map(|(trip, d)| (trip, drivers[d]))
        .collect();
    join_all(pairs.iter().map(|(trip, driver)| stand.offer(*trip, *driver))).await;
    let accepts = pairs
        .iter()
        .map(|(trip, driver)| stand.trips.command(*trip, Command::Accept { driver: *driver }));
    let answers = join_all(accepts).await;
    let won: Vec<_> = answers.into_iter().filter_map(Result::ok).collect();
    let busy: HashSet<_> = won.iter().filter_map(|trip| trip.driver).collect();
    let taken: HashSet<_> = won.iter().map(|trip| trip.id).collect();
    assert_eq!((won.len(), busy.len(), taken.len()), (20, 20, 20));
    let doubled = "SELECT count(*) FROM (SELECT 1 FROM trips WHERE status = 'accepted' \
                   GROUP BY driver_id HAVING count(*) > 1) AS d";
    assert_eq!(stand.count(doubled).await, 0);
    for trip in &booked {
        stand.replays(trip).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_restart_every_live_trip_goes_on() {
    let stand = stand().await;
    let riders = stand.riders(4).await;
    let drivers = stand.drivers(4).await;
    let mut booked = Vec::new();
    for rider in &riders {
        booked.push(stand.book(rider, PaymentMethod::Cash).await);
    }
    // Requested with an open offer, accepted, started, completed.
    stand.offer(booked[0].id, drivers[0]).await;
    sqlx::query(
        "INSERT INTO trip_offers \
         (id, trip_id, driver_id, round, score, distance_m, eta_s, created_at, expires_at) \
         VALUES (gen_random_uuid(), $1, $2, 1, 1, 1, 1, now(), now())",
    )
    .bind(booked[0].id.0)
    .bind(drivers[0].0)
    .execute(&mut stand.owner().await)
    .await
    .expect("an offer is stored");
    stand.accepted(booked[1].id, drivers[1]).await;
    stand.started(booked[2].id, drivers[2]).await;
    stand.completed(booked[3].id, drivers[3]).await;

    let mut stand = stand.restart().await;
    assert_eq!(stand.trips.rebuild().await.expect("they come back"), 3);
    assert_eq!(stand.trips.live_count(), 3);
    let mut needs = Vec::new();
    let mut adopted = HashSet::new();
    while let Ok(effect) = stand.effects.try_recv() {
        match effect {
            Effect::NeedsDriver { trip, .. } => needs.push(trip.id),
            Effect::Adopted { driver, .. } => {
                adopted.insert(driver);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((needs, adopted), (vec![booked[0].id], HashSet::from([drivers[1], drivers[2]])));
    // The offer that was open is over, and its driver is told so.
    let late = stand.trips.command(booked[0].id, Command::Accept { driver: drivers[0] }).await;
    assert_eq!(refusal(late), Refusal::OfferExpired);
    assert_eq!(stand.count("SELECT count(*) FROM trip_offers WHERE status = 'expired'").await, 1);
    stand.completed(booked[0].id, drivers[0]).await;
    stand.does(booked[1].id, Command::Arrive { driver: drivers[1], at: Some(pickup()) }).await;
    stand
        .does(booked[2].id, Command::Complete { driver: drivers[2], distance_m: 7, cash: None })
        .await;
    for trip in &booked {
        stand.replays(trip).await;
    }
    stand.money_adds_up().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lost_its_lease_writes_nothing() {
    let old = stand().await;
    let (rider, driver) = (old.rider().await, old.driver().await);
    let booked = old.book(&rider, PaymentMethod::Cash).await;
    old.offer(booked.id, driver).await;
    let new = super::stand::Stand::on(old.db.clone(), old.clock.clone());
    assert_eq!(new.trips.rebuild().await.expect("taken over"), 1);
    let fenced = old.trips.command(booked.id, Command::Accept { driver }).await;
    assert!(matches!(fenced, Err(TripError::Fault(_))), "{fenced:?}");
    assert!(old.trips.command(booked.id, Command::NoDrivers).await.is_err());
    assert_eq!(new.stored(booked.id).await.version, 1);
    assert_eq!(new.accepted(booked.id, driver).await.version, 2);
    new.replays(&booked).await;
    let late = new_trip(old.rider().await.user.as_rider(), PaymentMethod::Cash);
    let refused = old.trips.create(&rider, late, Once::NONE).await;
    assert!(matches!(refused, Err(TripError::Fault(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_queued_when_the_node_stops_is_stored_or_refused() {
    let stand = stand().await;
    let riders = stand.riders(50).await;
    let booked = join_all(riders.iter().map(|rider| stand.book(rider, PaymentMethod::Cash))).await;
    let cancels = riders.iter().zip(&booked).map(async |(rider, trip)| {
        let by = Party::Rider(rider.user.as_rider());
        stand.trips.command(trip.id, Command::Cancel { by, reason: CancelReason::Other }).await
    });
    let (answers, _) = tokio::join!(join_all(cancels), stand.tasks.stop(Duration::from_secs(30)));
    for (answer, trip) in answers.iter().zip(&booked) {
        let status = stand.stored(trip.id).await.status;
        match answer {
            Ok(_) => assert_eq!(status, Status::Cancelled),
            Err(TripError::Fault(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
}
