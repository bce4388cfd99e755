//! Races as races: many at once, and afterwards exactly one of what must be one (T1–T3, M2).

use futures_util::future::join_all;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{CAIRO, Outside, Person, Server, Socket, far_from, online_driver, point};
use crate::strategies::each_has_one;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_requests_for_twenty_drivers_book_nobody_twice() {
    const RIDERS: usize = 100;
    const DRIVERS: usize = 20;
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let places = (0..DRIVERS).map(|n| far_from(CAIRO, 20.0 * n as f64));
    let drivers = join_all(places.map(|at| online_driver(&server, &admin, at))).await;
    let riders = join_all((0..RIDERS).map(|_| Person::rider(&server))).await;

    let wheels = drivers.iter().map(|driver| accept_first_offer(&server, driver));
    let asking = riders.iter().map(|rider| rider.request_trip(CAIRO));
    let (taken, asked) = tokio::join!(join_all(wheels), join_all(asking));

    let trips: Vec<String> = asked.iter().map(|reply| text(&reply.data()["tripId"])).collect();
    let taken: Vec<String> = taken.into_iter().map(|trip| trip.expect("he was asked")).collect();
    each_has_one(&riders, &trips, &taken).await;
    server.check_invariants().await;
}

/// Accepts offers until one sticks; the trip.
async fn accept_first_offer(server: &Server, driver: &Person) -> Option<String> {
    let mut wheel = Socket::open(server, driver).await;
    loop {
        let offer = wheel.next("offer").await;
        let trip = text(&offer["data"]["tripId"]);
        let answer = json!({"tripId": trip, "action": "accept"});
        if wheel.call("offer.respond", answer).await["type"] == "ack" {
            return Some(trip);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_drivers_accept_one_trip_and_one_has_it() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let places = (0..5).map(|n| far_from(CAIRO, 50.0 * f64::from(n)));
    let drivers = join_all(places.map(|at| online_driver(&server, &admin, at))).await;
    let mut wheels = join_all(drivers.iter().map(|driver| Socket::open(&server, driver))).await;
    let rider = Person::rider(&server).await;
    let trip = text(&rider.request_trip(CAIRO).await.data()["tripId"]);
    join_all(wheels.iter_mut().map(|wheel| wheel.next("offer"))).await;

    let path = format!("/trips/{trip}/driver-response");
    let accept = || json!({"action": "accept"});
    let answers = join_all(drivers.iter().map(|driver| driver.post(&path, accept()))).await;

    let winners: Vec<usize> = (0..5).filter(|n| answers[*n].status == 200).collect();
    assert_eq!(winners.len(), 1, "{answers:?}");
    for (n, answer) in answers.iter().enumerate() {
        if n != winners[0] {
            answer.refused(409, "TRIP_TAKEN");
        }
    }
    let view = rider.trip(&trip).await;
    assert_eq!(view["driverId"], drivers[winners[0]].id.as_str());
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accept_against_cancel_leaves_one_of_the_two() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    for _ in 0..10 {
        let driver = online_driver(&server, &admin, CAIRO).await;
        let mut wheel = Socket::open(&server, &driver).await;
        let rider = Person::rider(&server).await;
        let trip = text(&rider.request_trip(CAIRO).await.data()["tripId"]);
        wheel.next("offer").await;
        let (response, cancel) =
            (format!("/trips/{trip}/driver-response"), format!("/trips/{trip}/cancel"));
        let (accepted, cancelled) = tokio::join!(
            driver.post(&response, json!({"action": "accept"})),
            rider.post(&cancel, json!({"reason": "changed_mind"})),
        );
        // The cancel comes through either way: before the accept, or right after it.
        cancelled.data();
        assert_eq!(rider.trip(&trip).await["status"], "cancelled", "{accepted:?}");
        driver.post("/drivers/status", json!({"isOnline": false})).await.data();
    }
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_completed_many_times_at_once_is_settled_once() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let trip = started_trip(&server, &rider, &driver).await;
    let path = format!("/trips/{trip}/status");
    let completions =
        join_all((0..8).map(|_| driver.post(&path, json!({"status": "completed"})))).await;
    let done = completions.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(done, 1, "{completions:?}");
    for reply in completions.iter().filter(|reply| reply.status != 200) {
        reply.refused(409, "INVALID_TRANSITION");
        assert_eq!(reply.body["error"]["details"]["current"], "completed");
    }
    let lines = driver.get("/wallet/transactions").await;
    assert_eq!(lines.data()["transactions"].as_array().map(Vec::len), Some(1), "{lines:?}");
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rider_who_asks_many_times_at_once_has_one_trip() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    // Ten different wishes: one comes true.
    let spot = |n: usize| (CAIRO.0 + n as f64 * 0.0001, CAIRO.1);
    let asked = join_all((0..10).map(|n| rider.request_trip(spot(n)))).await;
    assert_eq!(asked.iter().filter(|reply| reply.status == 201).count(), 1, "{asked:?}");
    for reply in asked.iter().filter(|reply| reply.status != 201) {
        reply.refused(409, "TRIP_IN_PROGRESS");
    }
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_booking_whose_caller_vanished_is_none_or_a_living_one() {
    let server = Server::start().await;
    let riders = join_all((0..20).map(|_| Person::rider(&server))).await;
    join_all(riders.iter().map(|rider| ask_and_vanish(&server, rider))).await;
    for rider in &riders {
        // Whichever came of it: the rider isn't barred by a trip that nobody looks after.
        let again = rider.request_trip(CAIRO).await;
        if again.status != 201 {
            again.refused(409, "TRIP_IN_PROGRESS");
        }
        let trips = rider.get("/trips?status=requested").await.data()["trips"].clone();
        let trip = text(&trips[0]["id"]);
        rider.post(&format!("/trips/{trip}/cancel-search"), json!({})).await.data();
    }
    server.check_invariants().await;
}

/// Sends a whole request and hangs up without waiting for the answer.
async fn ask_and_vanish(server: &Server, rider: &Person) {
    let body = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 2000.0)),
        "vehicleType": "economy"})
    .to_string();
    let head = format!(
        "POST /api/v1/trips/request HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        rider.token,
        body.len()
    );
    let mut stream = TcpStream::connect(server.address).await.expect("the server listens");
    stream.write_all((head + &body).as_bytes()).await.expect("the request leaves");
    stream.shutdown().await.ok();
}

/// A trip of `rider` that `driver` has taken and started.
pub async fn started_trip(server: &Outside, rider: &Person, driver: &Person) -> String {
    started_trip_at(server, rider, driver, CAIRO).await
}

/// The same, from another place.
pub async fn started_trip_at(
    server: &Outside,
    rider: &Person,
    driver: &Person,
    pickup: (f64, f64),
) -> String {
    let mut wheel = Socket::listen(server, driver).await;
    let trip = text(&rider.request_trip(pickup).await.data()["tripId"]);
    wheel.next("offer").await;
    let answer = json!({"action": "accept"});
    driver.post(&format!("/trips/{trip}/driver-response"), answer).await.data();
    driver.report(pickup).await.data();
    for status in ["arrived", "started"] {
        driver.post(&format!("/trips/{trip}/status"), json!({"status": status})).await.data();
    }
    trip
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().expect("a text").to_owned()
}
