//! What each party of a trip may know of the others, and for how long.

use serde_json::json;

use crate::harness::{CAIRO, Person, Server, Socket, far_from, online_driver, point};

#[tokio::test(flavor = "multi_thread")]
async fn a_passengers_phone_is_for_who_booked_and_not_for_the_driver() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let mut wheel = Socket::open(&server, &driver).await;
    let body = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 2000.0)),
        "vehicleType": "economy", "passenger": {"name": "Mona", "phone": "01099999999"}});
    let trip = rider.post("/trips/request", body).await.data()["tripId"].clone();
    let offer = wheel.next("offer").await;
    assert!(!offer.to_string().contains("01099999999"), "{offer}");
    wheel.ok("offer.respond", json!({"tripId": trip, "action": "accept"})).await;

    let trip = trip.as_str().expect("an id");
    let seen = driver.trip(trip).await;
    assert_eq!(seen["passenger"], json!({"name": "Mona"}), "he calls her by name only");
    assert_eq!(rider.trip(trip).await["passenger"]["phone"], "01099999999");
    wheel.ok("trip.subscribe", json!({"tripId": trip})).await;
    let snapshot = wheel.next("snapshot").await;
    assert!(!snapshot.to_string().contains("01099999999"), "{snapshot}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rider_sees_where_his_driver_is_until_the_trip_ends() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let trip = crate::races::started_trip(&server, &rider, &driver).await;
    let seen = rider.trip(&trip).await;
    assert_eq!(seen["driver"]["lat"].as_f64(), Some(CAIRO.0), "{seen}");

    let done = json!({"status": "completed"});
    driver.post(&format!("/trips/{trip}/status"), done).await.data();
    driver.report(far_from(CAIRO, 50.0)).await.data();
    let seen = rider.trip(&trip).await;
    assert_eq!(seen["driver"]["id"], driver.id.as_str());
    assert!(seen["driver"]["lat"].is_null(), "where he goes next is his own affair: {seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_who_was_never_asked_does_not_learn_of_the_trip() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    let near = online_driver(&server, &admin, CAIRO).await;
    let far = online_driver(&server, &admin, far_from(CAIRO, 15_000.0)).await;
    let mut wheel = Socket::open(&server, &near).await;
    let trip = rider.request_trip(CAIRO).await.data()["tripId"].clone();
    let trip = trip.as_str().expect("an id").to_owned();
    wheel.next("offer").await;
    let path = format!("/trips/{trip}/driver-response");
    for action in ["accept", "decline"] {
        far.post(&path, json!({"action": action})).await.refused(404, "NOT_FOUND");
    }
    wheel.ok("offer.respond", json!({"tripId": trip, "action": "accept"})).await;
}
