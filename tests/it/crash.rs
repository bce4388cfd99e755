//! `kill -9` in mid-traffic: what was acknowledged is there, live trips go on, clients resume.
//!
//! The server is the real program with its private PostgreSQL; both die with the kill.

use serde_json::json;

use crate::harness::{ADMIN, CAIRO, Folder, Outside, Person, Program, Server, Socket, far_from};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_comes_back_with_every_acknowledged_change() {
    let dir = Folder::new();
    let program = Program::start(&dir.0).await;
    let server = Outside::new(program.address);
    crate::harness::create_admin(&dir.0);
    let admin = Person::log_in(&server, ADMIN, "tahrir99").await;
    let driver = crate::harness::online_driver(&server, &admin, CAIRO).await;
    let (rider, waiting) = (Person::rider(&server).await, Person::rider(&server).await);
    let mut wheel = Socket::open(&server, &driver).await;

    let trip = rider.request_trip(CAIRO).await.data()["tripId"].clone();
    let mut seat = Socket::open(&server, &rider).await;
    seat.ok("trip.subscribe", json!({"tripId": trip})).await;
    let mut seen = seat.next("snapshot").await["seq"].as_u64().expect("a number");
    wheel.next("offer").await;
    wheel.ok("offer.respond", json!({"tripId": trip, "action": "accept"})).await;
    seen = seat.event("accepted").await["seq"].as_u64().unwrap_or(seen);
    // Acknowledged to the driver; the rider may not have heard of it yet.
    wheel.ok("trip.status", json!({"tripId": trip, "status": "arrived"})).await;
    let unmatched = waiting.request_trip(far_from(CAIRO, 500.0)).await.data()["tripId"].clone();

    program.kill();
    drop((seat, wheel));
    let program = Program::start_at(&dir.0, server.address).await;

    let mut seat = Socket::open(&server, &rider).await;
    seat.ok("trip.subscribe", json!({"tripId": trip, "afterSeq": seen})).await;
    let missed = seat.next("trip.event").await;
    assert_eq!((&missed["seq"], &missed["data"]["event"]), (&json!(seen + 1), &json!("arrived")));

    let mut wheel = Socket::open(&server, &driver).await;
    driver.report(CAIRO).await.data();
    for status in ["started", "completed"] {
        wheel.ok("trip.status", json!({"tripId": trip, "status": status})).await;
        let event = seat.event(status).await;
        seen += 1;
        assert_eq!(event["seq"], seen + 1, "{event}");
    }
    // The other trip is searched again: it ends by a driver or by its own deadline, not by the
    // crash.
    let id = unmatched.as_str().expect("an id");
    assert_eq!(waiting.trip(id).await["status"], "requested");
    waiting.post(&format!("/trips/{id}/cancel"), json!({"reason": "changed_mind"})).await.data();
    program.stop();
}

#[tokio::test(flavor = "multi_thread")]
async fn trips_are_built_from_their_events_again_and_a_planted_fault_is_found() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = crate::harness::online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let trip = crate::races::started_trip(&server, &rider, &driver).await;
    driver.post(&format!("/trips/{trip}/status"), json!({"status": "completed"})).await.data();
    let id = trip.parse().expect("an id");
    let replayed = trips::replay(server.db(), id).await.expect("it can be read");
    let replayed = replayed.expect("it is there");
    assert_eq!((replayed.events, replayed.differences), (5, Vec::new()));
    let mut owner = storage::testing::owner(server.db()).await;
    sqlx::query("UPDATE trips SET final_price = final_price + 50")
        .execute(&mut owner)
        .await
        .expect("the owner may plant a fault");
    let mut found = Vec::new();
    trips::replay_all(server.db(), |replayed| found.push(replayed)).await.expect("all are read");
    let differences = &found[0].differences;
    assert!(differences.len() == 1 && differences[0].starts_with("final price"), "{found:?}");
}
