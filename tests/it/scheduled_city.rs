//! SCHEDULED in a whole city: many trips ahead searched at the same moment, noes, silences, people
//! who leave, an answer that meets a cancellation. One has each trip, and nobody stays leased.

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::{CAIRO, Person, Socket, far_from, online_driver};
use crate::scheduled::{AHEAD_S, answers, asked, booked, city};
use crate::strategies::{
    cancel_the_others, drivers_at, each_has_one, is_free, is_searched_again, no_lease_is_left,
    rounds_become, take_a_trip, wheels_of,
};

/// So long after the booking is the deadline to confirm: beyond the end of these tests.
const LATE_S: u64 = AHEAD_S as u64 - 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_trips_ahead_for_twenty_drivers_book_nobody_twice() {
    const RIDERS: usize = 100;
    const DRIVERS: usize = 20;
    let (server, admin) = city(LATE_S).await;
    let riders = join_all((0..RIDERS).map(|_| Person::rider(&server))).await;
    let metres: Vec<f64> = (0..DRIVERS).map(|n| 20.0 * n as f64).collect();
    let drivers = drivers_at(&server, &admin, &metres).await;
    let wheels = wheels_of(&server, &drivers).await;
    let takes = wheels.into_iter().enumerate().map(|(n, wheel)| take_a_trip(wheel, n % 2));
    let (taken, trips) = tokio::join!(join_all(takes), join_all(riders.iter().map(booked)));
    each_has_one(&riders, &trips, &taken).await;
    cancel_the_others(&riders, &trips, &taken).await;
    no_lease_is_left(&server, &drivers).await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn scheduled_goes_on_after_a_no_a_silence_and_people_who_leave() {
    let (server, admin) = city(LATE_S).await;
    let drivers = drivers_at(&server, &admin, &[0.0, 300.0, 600.0]).await;
    let mut wheels = wheels_of(&server, &drivers).await;
    let rider = Person::rider(&server).await;
    let taker = Person::driver(&server).await;
    taker.approve(&admin, "economy").await;
    let trip = booked(&rider).await;
    asked(&mut wheels[0], &trip, false).await;
    answers(&mut wheels[0], &trip, "decline").await;
    asked(&mut wheels[1], &trip, false).await;
    drivers[1].post("/drivers/status", json!({"isOnline": false})).await.data();
    // The third vanishes without a word: his time runs out, before he is taken for gone.
    asked(&mut wheels[2], &trip, false).await;
    drivers[2].report(far_from(CAIRO, 600.0)).await.data();
    wheels.pop().expect("the third").drop_connection();
    is_searched_again(&rider, &trip).await;
    // Who listens before he comes misses no offer. The first was long enough silent to be hung up.
    let mut wheel = Socket::listen(&server, &taker).await;
    wheels[0] = Socket::listen(&server, &drivers[0]).await;
    drivers[0].report(CAIRO).await.data();
    taker.go_online(far_from(CAIRO, 100.0)).await.data();
    asked(&mut wheel, &trip, false).await;
    answers(&mut wheel, &trip, "accept").await;
    assert_eq!(rider.trip(&trip).await["driverId"], taker.id.as_str());
    // Who said no to driving stands by, and is let go once the driver is there.
    asked(&mut wheels[0], &trip, true).await;
    answers(&mut wheels[0], &trip, "accept").await;
    // Whoever stands by is searched for from a first round on again.
    rounds_become(&admin, &trip, "declined+stands_by, lost, expired, accepted").await;
    taker.report(CAIRO).await.data();
    wheel.ok("trip.status", json!({"tripId": trip, "status": "arrived"})).await;
    let over = wheels[0].next("offer.revoked").await["data"].clone();
    assert_eq!((&over["tripId"], &over["reason"]), (&json!(trip), &json!("standby_over")));
    no_lease_is_left(&server, &drivers).await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accept_against_cancel_leaves_one_of_the_two_ahead_as_well() {
    let (server, admin) = city(LATE_S).await;
    for _ in 0..4 {
        let driver = online_driver(&server, &admin, CAIRO).await;
        let mut wheel = Socket::listen(&server, &driver).await;
        let rider = Person::rider(&server).await;
        let trip = booked(&rider).await;
        asked(&mut wheel, &trip, false).await;
        let cancel = format!("/trips/{trip}/cancel");
        let (accepted, cancelled) = tokio::join!(
            wheel.call("offer.respond", json!({"tripId": trip, "action": "accept"})),
            rider.post(&cancel, json!({"reason": "changed_mind"})),
        );
        cancelled.data();
        assert_eq!(rider.trip(&trip).await["status"], "cancelled", "{accepted}");
        let drivers = [driver];
        no_lease_is_left(&server, &drivers).await;
        is_free(&drivers[0]).await;
    }
    server.check_invariants().await;
}
