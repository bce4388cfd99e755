//! One trip from the request to the last piaster (PLAN-SEED 10.3, as corrected).

use serde_json::{Value, json};

use crate::harness::{CAIRO, Person, Server, Socket, far_from, online_driver, point};

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_is_asked_for_matched_driven_and_paid_in_cash() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    let driver = online_driver(&server, &admin, far_from(CAIRO, 400.0)).await;
    let mut wheel = Socket::open(&server, &driver).await;

    let asked = rider.request_trip(CAIRO).await.data().clone();
    let trip = asked["tripId"].as_str().expect("an id").to_owned();
    assert_eq!(asked["status"], "requested");

    let offer = wheel.next("offer").await;
    assert_eq!(offer["data"]["tripId"], trip.as_str());
    assert_eq!(offer["data"]["estimatedPrice"], asked["price"]);
    let accept = json!({"action": "accept"});
    let path = format!("/trips/{trip}/driver-response");
    assert_eq!(driver.post(&path, accept).await.data()["status"], "accepted");

    drive(&driver, &trip, CAIRO, far_from(CAIRO, 2000.0)).await;

    let ended = rider.trip(&trip).await;
    assert_eq!(ended["status"], "completed");
    assert_eq!(ended["driverId"], driver.id.as_str());
    assert_eq!(ended["finalPrice"], asked["price"]);
    assert_eq!(ended["paymentStatus"], "paid");
    // Cash stays with the driver; his account pays the commission of 15 %, rounded half-even.
    let piasters = |amount: &Value| (amount.as_f64().expect("an amount") * 100.0).round();
    let commission = (piasters(&asked["price"]) * 15.0 / 100.0).round_ties_even();
    let balance = driver.get("/wallet").await.data()["balance"].clone();
    assert_eq!(piasters(&balance), -commission, "{asked}");
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rider_follows_events_and_positions_over_the_socket() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let (mut seat, mut wheel) =
        (Socket::open(&server, &rider).await, Socket::open(&server, &driver).await);

    let body = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 1500.0)),
        "vehicleType": "economy"});
    let trip = seat.ok("trip.request", body).await["tripId"].clone();
    let snapshot = follow(&mut seat, &trip).await;
    assert_eq!(snapshot["data"]["status"], "requested");
    let mut last = snapshot["seq"].as_u64().expect("a number");

    wheel.next("offer").await;
    wheel.ok("offer.respond", json!({"tripId": trip, "action": "accept"})).await;
    for (name, status) in
        [("accepted", None), ("arrived", Some("arrived")), ("started", Some("started"))]
    {
        if let Some(status) = status {
            wheel.ok("trip.status", json!({"tripId": trip, "status": status})).await;
        }
        let event = seat.event(name).await;
        last += 1;
        assert_eq!(event["seq"], last, "numbers have no gap: {event}");
    }

    let at = far_from(CAIRO, 30.0);
    let now = jiff::Timestamp::now().to_string();
    wheel.ok("location", json!({"lat": at.0, "lng": at.1, "speed": 30, "timestamp": now})).await;
    let seen = seat.next("trip.location").await;
    assert_eq!(seen["data"]["lat"].as_f64(), Some(at.0));
    server.check_invariants().await;
}

async fn follow(socket: &mut Socket, trip: &Value) -> Value {
    socket.ok("trip.subscribe", json!({"tripId": trip})).await;
    socket.next("snapshot").await
}

/// Arrives at the pickup, starts, and completes at the destination.
async fn drive(driver: &Person, trip: &str, pickup: (f64, f64), destination: (f64, f64)) {
    let path = format!("/trips/{trip}/status");
    driver.report(pickup).await.data();
    for status in ["arrived", "started"] {
        driver.post(&path, json!({"status": status})).await.data();
    }
    driver.report(destination).await.data();
    driver.post(&path, json!({"status": "completed"})).await.data();
}
