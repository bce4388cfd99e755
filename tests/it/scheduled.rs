//! Trips that are booked ahead: priced for their moment, searched in time, confirmed by who accepts
//! early, and given to who stands by where he doesn't.

use std::time::Duration;

use app::Setup;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    CAIRO, House, Person, Server, Socket, Victim, far_from, fund, online_driver, point, until,
};
use crate::strategies::{drivers_at, no_lease_is_left, wheels_of};
use crate::strategies_killed::every_offer_ends;

/// So far ahead trips are booked here, seconds. Drivers are searched some seconds later.
pub const AHEAD_S: i64 = 300;

/// A city whose drivers confirm within so many seconds after the booking, and its operator.
pub async fn city(confirm_s: u64) -> (Server, Person) {
    let seconds = Duration::from_secs;
    let change = |setup: &mut Setup| {
        let ahead = &mut setup.trips.ahead;
        ahead.least = seconds(10);
        ahead.search = seconds(AHEAD_S as u64 - 5);
        // Everybody accepts early, however slow the machine is.
        ahead.early = seconds(1);
        ahead.confirm = seconds(AHEAD_S as u64 - confirm_s);
    };
    let server = Server::with(change).await;
    let admin = Person::admin(&server).await;
    (server, admin)
}

fn in_s(seconds: i64) -> String {
    (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds)).to_string()
}

fn ride(at: &str, more: Value) -> Value {
    let mut body = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 2000.0)),
        "vehicleType": "economy", "scheduledAt": at});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    body
}

pub async fn booked(rider: &Person) -> String {
    let reply = rider.post("/trips/request", ride(&in_s(AHEAD_S), json!({}))).await;
    assert_eq!(reply.data()["status"], "scheduled");
    text(&reply.data()["tripId"])
}

/// The next offer to this driver: of this trip, to drive it or to stand by.
pub async fn asked(wheel: &mut Socket, trip: &str, standby: bool) -> Value {
    let offer = wheel.next("offer").await["data"].clone();
    assert_eq!(offer["tripId"], trip);
    assert_eq!(offer["standby"] == true, standby, "{offer}");
    assert!(offer["scheduledAt"].is_string(), "{offer}");
    offer
}

pub async fn answers(wheel: &mut Socket, trip: &str, action: &str) -> Value {
    wheel.ok("offer.respond", json!({"tripId": trip, "action": action})).await
}

async fn follows(server: &Server, rider: &Person, trip: &str) -> Socket {
    let mut seat = Socket::listen(server, rider).await;
    seat.ok("trip.subscribe", json!({"tripId": trip, "afterSeq": 1})).await;
    seat
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_is_booked_ahead_searched_in_time_confirmed_and_driven() {
    let (server, admin) = city(AHEAD_S as u64 - 10).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let mut wheel = Socket::listen(&server, &driver).await;
    let rider = Person::rider(&server).await;
    // It takes a while until it is booked.
    let at = in_s(AHEAD_S + 5);
    let ask = ride(&at, json!({"vehicleTypes": ["economy"]}));
    let shown = rider.post("/pricing/estimate", ask).await.data()["estimates"][0].clone();
    assert!(shown["eta"]["pickup"].is_null(), "nobody knows who will be near: {shown}");
    let with = json!({"quoteId": shown["quoteId"], "price": shown["price"]});
    let mut seat = Socket::listen(&server, &rider).await;
    let made = seat.ok("trip.request", ride(&at, with)).await;
    assert_eq!((&made["status"], &made["price"]), (&json!("scheduled"), &shown["price"]));
    let trip = text(&made["tripId"]);
    seat.ok("trip.subscribe", json!({"tripId": trip, "afterSeq": 0})).await;
    seat.event("scheduled").await;
    assert_eq!(seat.event("requested").await["data"]["status"], "requested");

    asked(&mut wheel, &trip, false).await;
    answers(&mut wheel, &trip, "accept").await;
    let accepted = seat.event("accepted").await["data"].clone();
    assert!(accepted["confirmBy"].is_string(), "{accepted}");
    let path = format!("/trips/{trip}/confirm");
    rider.post(&path, json!({})).await.refused(403, "FORBIDDEN");
    let stranger = Person::driver(&server).await;
    stranger.approve(&admin, "economy").await;
    stranger.post(&path, json!({})).await.refused(404, "NOT_FOUND");
    let confirmed = wheel.ok("trip.confirm", json!({"tripId": trip})).await;
    assert!(confirmed["confirmBy"].is_null() && confirmed["status"] == "accepted", "{confirmed}");
    seat.event("confirmed").await;
    // To say it again changes nothing.
    assert_eq!(driver.post(&path, json!({})).await.data()["seq"], confirmed["seq"]);
    for status in ["arrived", "started", "completed"] {
        wheel.ok("trip.status", json!({"tripId": trip, "status": status})).await;
    }
    let done = rider.trip(&trip).await;
    assert_eq!((&done["status"], &done["finalPrice"]), (&json!("completed"), &shown["price"]));
    driver.post(&path, json!({})).await.refused(409, "INVALID_TRANSITION");
    no_lease_is_left(&server, &[driver]).await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_booking_ahead_is_refused_and_one_trip_goes_on_beside_it() {
    let (server, admin) = city(AHEAD_S as u64 - 10).await;
    let rider = Person::rider(&server).await;
    let ask = async |at: &str, more: Value| rider.post("/trips/request", ride(at, more)).await;
    for (at, more, field) in [
        (in_s(2), json!({}), "scheduledAt"),
        (in_s(8 * 86_400), json!({}), "scheduledAt"),
        (in_s(AHEAD_S), json!({"strategy": "sequential"}), "strategy"),
    ] {
        let reply = ask(&at, more).await;
        reply.refused(400, "VALIDATION_FAILED");
        assert_eq!(reply.body["error"]["details"]["fields"][0]["field"], field, "{reply:?}");
    }
    rider
        .post("/pricing/estimate", ride(&in_s(2), json!({})))
        .await
        .refused(400, "VALIDATION_FAILED");
    // A price is of its moment, and of no other.
    let at = in_s(3600);
    let estimate = async |body: Value| {
        text(&rider.post("/pricing/estimate", body).await.data()["estimates"][0]["quoteId"])
    };
    let now = estimate(json!({"pickup": point(CAIRO),
        "destination": point(far_from(CAIRO, 2000.0)), "vehicleTypes": ["economy"]}))
    .await;
    ask(&at, json!({"quoteId": now})).await.refused(409, "QUOTE_INVALID");
    let ahead = estimate(ride(&at, json!({"vehicleTypes": ["economy"]}))).await;
    ask(&in_s(7200), json!({"quoteId": ahead})).await.refused(409, "QUOTE_INVALID");
    let mut at_once = ride(&at, json!({"quoteId": ahead}));
    at_once.as_object_mut().expect("an object").remove("scheduledAt");
    rider.post("/trips/request", at_once).await.refused(409, "QUOTE_INVALID");

    let trip = text(&ask(&at, json!({"quoteId": ahead})).await.data()["tripId"]);
    let reply = ask(&in_s(3600 + 1700), json!({})).await;
    reply.refused(409, "TRIP_OVERLAPS");
    for n in 2..=5 {
        ask(&in_s(3600 * n), json!({})).await.data();
    }
    ask(&in_s(3600 * 9), json!({})).await.refused(409, "TOO_MANY_SCHEDULED");
    // One at once, and no other.
    let beside = text(&rider.request_trip(CAIRO).await.data()["tripId"]);
    rider.request_trip(far_from(CAIRO, 50.0)).await.refused(409, "TRIP_IN_PROGRESS");
    let ahead = rider.get("/trips?status=scheduled").await.data()["trips"].clone();
    assert_eq!(ahead.as_array().map(Vec::len), Some(5));
    server.check_invariants().await;

    let cancel = |trip: &str| format!("/trips/{trip}/cancel");
    let said = rider.post(&cancel(&trip), json!({"reason": "not_confirmed"})).await;
    said.refused(400, "VALIDATION_FAILED");
    let ended = rider.post(&cancel(&trip), json!({"reason": "changed_mind"})).await.data().clone();
    assert_eq!((&ended["status"], &ended["cancelFee"]), (&json!("cancelled"), &Value::Null));
    let other = text(&ahead[0]["id"]);
    let ended = admin.post(&cancel(&other), json!({"reason": "other"})).await.data().clone();
    assert_eq!(ended["cancelledBy"], "admin");
    rider.post(&cancel(&beside), json!({"reason": "changed_mind"})).await.data();
    // What is over makes room.
    ask(&at, json!({})).await.data();
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_confirm_loses_the_trip_to_who_stands_by() {
    let (server, admin) = city(20).await;
    let drivers = drivers_at(&server, &admin, &[0.0, 400.0]).await;
    let mut wheels = wheels_of(&server, &drivers).await;
    let rider = Person::rider(&server).await;
    let trip = booked(&rider).await;
    let mut seat = follows(&server, &rider, &trip).await;
    asked(&mut wheels[0], &trip, false).await;
    answers(&mut wheels[0], &trip, "accept").await;
    asked(&mut wheels[1], &trip, true).await;
    let stands = answers(&mut wheels[1], &trip, "accept").await;
    assert_eq!(stands["standby"], true, "{stands}");
    // He is free meanwhile, and an offer of another trip may reach him.
    let flows = server.running().flows().clone();
    let state = |driver: &Person| flows.fleet.state(driver.id.parse().expect("an id")).name();
    until("a driver who is free", async || (state(&drivers[1]) == "available").then_some(())).await;
    until("the end of the time to confirm", async || {
        // A socket that nobody reads answers no ping, and is closed after a while.
        join_all([&mut seat, &mut wheels[1]].map(|socket| socket.ok("ping", json!({})))).await;
        drivers[1].report(far_from(CAIRO, 400.0)).await.data();
        (rider.trip(&trip).await["status"] == "requested").then_some(())
    })
    .await;
    let lost = seat.event("driver_cancelled").await["data"].clone();
    assert_eq!(lost["reason"], "not_confirmed", "{lost}");
    drivers[0]
        .post(&format!("/trips/{trip}/confirm"), json!({}))
        .await
        .refused(409, "INVALID_TRANSITION");
    asked(&mut wheels[1], &trip, false).await;
    answers(&mut wheels[1], &trip, "accept").await;
    until("another driver", async || {
        (rider.trip(&trip).await["driverId"] == drivers[1].id.as_str()).then_some(())
    })
    .await;
    rider.post(&format!("/trips/{trip}/cancel"), json!({"reason": "changed_mind"})).await.data();
    no_lease_is_left(&server, &drivers).await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stands_by_is_asked_first_and_told_when_he_is_not_needed() {
    let (server, admin) = city(AHEAD_S as u64 - 10).await;
    let mut drivers = drivers_at(&server, &admin, &[0.0, 400.0]).await;
    let mut wheels = wheels_of(&server, &drivers).await;
    let rider = Person::rider(&server).await;
    let trip = booked(&rider).await;
    asked(&mut wheels[0], &trip, false).await;
    answers(&mut wheels[0], &trip, "accept").await;
    asked(&mut wheels[1], &trip, true).await;
    answers(&mut wheels[1], &trip, "accept").await;
    // Somebody nearer comes; who stood by is asked before him all the same.
    drivers.push(online_driver(&server, &admin, far_from(CAIRO, 20.0)).await);
    wheels.push(Socket::listen(&server, &drivers[2]).await);
    let cancel = json!({"reason": "vehicle_problem"});
    drivers[0].post(&format!("/trips/{trip}/cancel"), cancel).await.data();
    asked(&mut wheels[1], &trip, false).await;
    assert!(wheels[2].waiting("offer").is_none());
    answers(&mut wheels[1], &trip, "decline").await;
    asked(&mut wheels[2], &trip, false).await;
    answers(&mut wheels[2], &trip, "accept").await;
    // Who did not want to drive may still stand by.
    asked(&mut wheels[1], &trip, true).await;
    answers(&mut wheels[1], &trip, "accept").await;
    wheels[2].ok("trip.confirm", json!({"tripId": trip})).await;
    drivers[2].report(CAIRO).await.data();
    wheels[2].ok("trip.status", json!({"tripId": trip, "status": "arrived"})).await;
    let over = wheels[1].next("offer.revoked").await["data"].clone();
    assert_eq!((&over["tripId"], &over["reason"]), (&json!(trip), &json!("standby_over")));
    no_lease_is_left(&server, &drivers).await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_trips_share_who_stands_by_and_drive_nobody_twice() {
    let (server, admin) = city(AHEAD_S as u64 - 10).await;
    let drivers = drivers_at(&server, &admin, &[0.0, 300.0, 600.0]).await;
    let mut wheels = wheels_of(&server, &drivers).await;
    let riders = [Person::rider(&server).await, Person::rider(&server).await];
    let first = booked(&riders[0]).await;
    asked(&mut wheels[0], &first, false).await;
    answers(&mut wheels[0], &first, "accept").await;
    asked(&mut wheels[1], &first, true).await;
    answers(&mut wheels[1], &first, "accept").await;
    // Whoever stands by may drive another trip. Then he can't be asked for this one.
    let at_once = text(&riders[1].request_trip(CAIRO).await.data()["tripId"]);
    let offered = wheels[1].next("offer").await;
    assert_eq!(offered["data"]["tripId"], at_once.as_str());
    answers(&mut wheels[1], &at_once, "accept").await;
    assert_eq!(wheels[2].next("offer").await["data"]["tripId"], at_once.as_str());
    // So another one is asked to stand by.
    asked(&mut wheels[2], &first, true).await;
    answers(&mut wheels[2], &first, "accept").await;
    let cancel = json!({"reason": "vehicle_problem"});
    drivers[0].post(&format!("/trips/{first}/cancel"), cancel).await.data();
    asked(&mut wheels[2], &first, false).await;
    answers(&mut wheels[2], &first, "accept").await;
    assert_eq!(riders[1].trip(&at_once).await["driverId"], drivers[1].id.as_str());
    assert_eq!(riders[0].trip(&first).await["driverId"], drivers[2].id.as_str());
    no_lease_is_left(&server, &drivers).await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_to_standing_by_costs_nothing_and_who_loses_a_trip_is_told() {
    let (server, admin) = city(20).await;
    let drivers = drivers_at(&server, &admin, &[0.0, 400.0]).await;
    let mut wheels = wheels_of(&server, &drivers).await;
    let rider = Person::rider(&server).await;
    let trip = booked(&rider).await;
    let mut seat = follows(&server, &rider, &trip).await;
    asked(&mut wheels[0], &trip, false).await;
    answers(&mut wheels[0], &trip, "accept").await;
    let flows = server.running().flows().clone();
    let at = base::Point::new(CAIRO.0, CAIRO.1).expect("a place");
    let other = drivers[1].id.parse().expect("an id");
    let record = || flows.fleet.candidate(other, at).map(|seen| seen.acceptance);
    let before = record();
    assert!(before.is_some());
    asked(&mut wheels[1], &trip, true).await;
    answers(&mut wheels[1], &trip, "decline").await;
    // What a trip tells is carried out in order: after this the no was dealt with.
    seat.event("driver_cancelled").await;
    assert_eq!(record(), before);
    until("the news that the trip is another's", async || {
        let list = drivers[0].get("/notifications").await.data()["notifications"].clone();
        let kinds = list.as_array().expect("a list").clone();
        kinds.iter().any(|one| one["kind"] == "trip_taken_back").then_some(())
    })
    .await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_pays_and_what_is_decided_is_decided_again() {
    let (server, admin) = city(AHEAD_S as u64 - 10).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let mut wheel = Socket::listen(&server, &driver).await;
    let rider = Person::rider(&server).await;
    let wallet = json!({"paymentMethod": "wallet"});
    let poor = rider.post("/trips/request", ride(&in_s(AHEAD_S), wallet.clone())).await;
    poor.refused(409, "INSUFFICIENT_BALANCE");
    fund(&admin, &rider, 500.0).await;
    let made = rider.post("/trips/request", ride(&in_s(AHEAD_S), wallet)).await.data().clone();
    let trip = text(&made["tripId"]);
    asked(&mut wheel, &trip, false).await;
    assert!(rider.get("/wallet").await.data()["held"].as_f64() > Some(0.0));
    answers(&mut wheel, &trip, "accept").await;
    for status in ["arrived", "started", "completed"] {
        wheel.ok("trip.status", json!({"tripId": trip, "status": status})).await;
    }
    let wallet = rider.get("/wallet").await.data().clone();
    assert_eq!(wallet["held"].as_f64(), Some(0.0), "{wallet}");
    server.running().flows().dispatch.flush().await;
    let trace = admin.get(&format!("/admin/trips/{trip}/dispatch-trace")).await.data().clone();
    assert_eq!(trace["rounds"][0]["strategy"], "scheduled", "{trace}");
    assert_eq!(trace["rounds"][0]["reproduced"], true, "{trace}");
    let choice = json!({"strategy": "scheduled", "reason": "a test"});
    for path in ["/admin/cities/1/dispatch", "/admin/cities/1/dispatch/shadow"] {
        admin.post(path, choice.clone()).await.refused(400, "VALIDATION_FAILED");
    }
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_before_and_in_the_search_and_before_the_confirmation_loses_nothing() {
    let set = |name, seconds: &str| (name, seconds.to_owned());
    let mut house = House::start(vec![
        set("SMARTLINE_SCHEDULED_LEAST_S", "10"),
        set("SMARTLINE_SCHEDULED_SEARCH_S", "290"),
        set("SMARTLINE_SCHEDULED_EARLY_S", "2"),
        set("SMARTLINE_SCHEDULED_CONFIRM_S", "1"),
    ])
    .await;
    let server = house.outside();
    let admin = house.admin().await;
    let drivers = drivers_at(&server, &admin, &[0.0, 400.0]).await;
    let rider = Person::rider(&server).await;
    let trip = booked(&rider).await;
    house.kill(Victim::Program).await;

    let mut wheels = back(&server, &drivers).await;
    asked(&mut wheels[0], &trip, false).await;
    drop(wheels);
    house.kill(Victim::Program).await;

    let mut wheels = back(&server, &drivers).await;
    let first = asked_any(&mut wheels, &trip).await;
    answers(&mut wheels[first], &trip, "accept").await;
    drop(wheels);
    house.kill(Victim::Program).await;

    // Whoever stands by was known in memory only: another is asked.
    let mut wheels = back(&server, &drivers).await;
    let other = 1 - first;
    asked(&mut wheels[other], &trip, true).await;
    let mut owner = house.owner().await;
    until("an offer to stand by that is stored", async || {
        let open = "SELECT 1 FROM trip_offers WHERE standby AND status = 'pending'";
        sqlx::query(open).fetch_optional(&mut owner).await.expect("the owner reads")
    })
    .await;
    drop((owner, wheels));
    house.kill(Victim::Program).await;

    // That offer is over, and he is asked anew.
    let mut wheels = back(&server, &drivers).await;
    asked(&mut wheels[other], &trip, true).await;
    answers(&mut wheels[other], &trip, "accept").await;
    let path = format!("/trips/{trip}/confirm");
    assert!(drivers[first].post(&path, json!({})).await.data()["confirmBy"].is_null());
    let view = rider.trip(&trip).await;
    assert_eq!(view["driverId"], drivers[first].id.as_str(), "{view}");
    rider.post(&format!("/trips/{trip}/cancel"), json!({"reason": "changed_mind"})).await.data();
    every_offer_ends(&house).await;
    house.end().await;
}

/// Everybody is there again, after a start.
async fn back(server: &crate::harness::Outside, drivers: &[Person]) -> Vec<Socket> {
    let wheels = wheels_of(server, drivers).await;
    for (n, driver) in drivers.iter().enumerate() {
        driver.report(far_from(CAIRO, 400.0 * n as f64)).await.data();
    }
    wheels
}

/// Which of two drivers is asked to drive.
async fn asked_any(wheels: &mut [Socket], trip: &str) -> usize {
    let (one, two) = wheels.split_at_mut(1);
    tokio::select! {
        _ = asked(&mut one[0], trip, false) => 0,
        _ = asked(&mut two[0], trip, false) => 1,
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
