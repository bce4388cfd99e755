//! How a city finds drivers is an operator's choice: it counts at once, and under each of them a
//! whole city goes right: races, noes, silences, people who leave.

use std::collections::HashSet;

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    CAIRO, Outside, Person, Server, Socket, far_from, online_driver, point, until,
};

/// From now on the city finds drivers so.
pub async fn choose(admin: &Person, strategy: &str) {
    let choice = json!({"strategy": strategy, "reason": "a test"});
    admin.post("/admin/cities/1/dispatch", choice).await.data();
}

/// Drivers this far from the pickup, nearest first.
pub async fn drivers_at(server: &Outside, admin: &Person, metres: &[f64]) -> Vec<Person> {
    let places = metres.iter().map(|metres| far_from(CAIRO, *metres));
    join_all(places.map(|at| online_driver(server, admin, at))).await
}

pub async fn wheels_of(server: &Outside, drivers: &[Person]) -> Vec<Socket> {
    join_all(drivers.iter().map(|driver| Socket::listen(server, driver))).await
}

async fn asked_for(rider: &Person) -> String {
    text(&rider.request_trip(CAIRO).await.data()["tripId"])
}

async fn answer(wheel: &mut Socket, trip: &str, action: &str) -> Value {
    wheel.call("offer.respond", json!({"tripId": trip, "action": action})).await
}

/// How each round's offers ended, in the order of the rounds: `declined+lost, accepted`.
async fn rounds_of(admin: &Person, trip: &str) -> String {
    let reply = admin.get(&format!("/admin/trips/{trip}/dispatch-trace")).await;
    let rows = reply.data()["trace"].as_array().expect("a list").clone();
    let last = rows.iter().filter_map(|row| row["round"].as_u64()).max().unwrap_or(0);
    let of_round = |round| {
        let answers = rows.iter().filter(|row| row["round"] == round && row["answer"].is_string());
        let mut words: Vec<String> = answers.map(|row| text(&row["answer"])).collect();
        words.sort();
        words.join("+")
    };
    (1..=last).map(of_round).filter(|words| !words.is_empty()).collect::<Vec<_>>().join(", ")
}

/// The trace is written behind: it says this in the end.
pub async fn rounds_become(admin: &Person, trip: &str, expected: &str) {
    let mut seen = String::new();
    until(expected, async || {
        let now = rounds_of(admin, trip).await;
        if now != seen {
            eprintln!("rounds of {trip}: {now}");
            seen.clone_from(&now);
        }
        (now == expected).then_some(())
    })
    .await;
}

/// Nobody holds an offer, by the offers' record and by the fleet.
pub async fn no_lease_is_left(server: &Server, drivers: &[Person]) {
    let mut owner = storage::testing::owner(server.db()).await;
    let flows = server.running().flows().clone();
    until("the end of every offer", async || {
        let open = "SELECT count(*) FROM trip_offers WHERE status = 'pending'";
        let open: i64 = sqlx::query_scalar(open).fetch_one(&mut owner).await.expect("offers");
        let leased = drivers.iter().any(|driver| {
            let id = driver.id.parse().expect("an id");
            flows.fleet.state(id).name() == "offered"
        });
        (open == 0 && !leased && flows.dispatch.open_offers() == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn running_searches_follow_the_choice_and_open_offers_end_as_they_would() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let metres: Vec<f64> = (0..8).map(|n| 400.0 * f64::from(n)).collect();
    let drivers = drivers_at(&server, &admin, &metres).await;
    let mut wheels = wheels_of(&server, &drivers).await;
    let rider = Person::rider(&server).await;
    let trip = asked_for(&rider).await;
    for wheel in &mut wheels[..5] {
        wheel.next("offer").await;
    }
    choose(&admin, "sequential").await;
    // All at once, for an offer waits only so long, and a socket that says nothing, too.
    let noes = wheels[..5].iter_mut().map(|wheel| answer(wheel, &trip, "decline"));
    assert!(join_all(noes).await.iter().all(|answer| answer["type"] == "ack"));
    join_all(wheels[5..].iter_mut().map(|wheel| wheel.ok("ping", json!({})))).await;
    // One of the three who are left is asked, then the next; the third never.
    for (wheel, action) in wheels[5..7].iter_mut().zip(["decline", "accept"]) {
        wheel.next("offer").await;
        assert_eq!(answer(wheel, &trip, action).await["type"], "ack");
    }
    let all = "declined+declined+declined+declined+declined, declined, accepted";
    rounds_become(&admin, &trip, all).await;
    wheels[7].ok("ping", json!({})).await;
    assert!(wheels[7].waiting("offer").is_none(), "the last one was asked, too");
    no_lease_is_left(&server, &drivers).await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_names_what_the_city_allows_and_nothing_else() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    let ask = async |strategy: &str| {
        let body = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 2000.0)),
            "vehicleType": "economy", "strategy": strategy});
        rider.post("/trips/request", body).await
    };
    let refused = async |strategy: &str, code: &str| {
        let reply = ask(strategy).await;
        reply.refused(400, "VALIDATION_FAILED");
        let field = &reply.body["error"]["details"]["fields"][0];
        assert_eq!((&field["field"], &field["code"]), (&json!("strategy"), &json!(code)));
    };
    refused("sequential", "not_allowed").await;
    refused("by_lot", "invalid").await;
    let path = "/admin/cities/1/dispatch";
    let choice = json!({"strategy": "batched", "allowed": ["sequential"], "reason": "a test"});
    admin.post(path, choice).await.data();
    refused("first_accept", "not_allowed").await;
    // What is not said stays.
    choose(&admin, "batched").await;
    let drivers = drivers_at(&server, &admin, &[0.0, 400.0]).await;
    let mut wheels = wheels_of(&server, &drivers).await;
    let trip = text(&ask("sequential").await.data()["tripId"]);
    for (wheel, action) in wheels.iter_mut().zip(["decline", "accept"]) {
        wheel.next("offer").await;
        answer(wheel, &trip, action).await;
    }
    rounds_become(&admin, &trip, "declined, accepted").await;
    let view = admin.get(path).await.data().clone();
    assert_eq!(view["strategy"], "batched");
    assert_eq!((&view["allowed"], &view["changedBy"]), (&json!(["sequential"]), &json!(admin.id)));
    let log = admin.get("/admin/audit?action=city.choose_strategy").await.data().clone();
    let details = &log["entries"][1]["details"];
    assert_eq!((&details["from"], &details["to"]), (&json!("first_accept"), &json!("batched")));
    assert_eq!(log["entries"].as_array().map(Vec::len), Some(2), "{log}");
    admin.get("/admin/cities/99/dispatch").await.refused(404, "NOT_FOUND");
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_batched_requests_for_twenty_drivers_book_nobody_twice() {
    a_crowd("batched").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_requests_one_by_one_for_twenty_drivers_book_nobody_twice() {
    a_crowd("sequential").await;
}

/// Every other driver says no once before he says yes.
async fn a_crowd(strategy: &str) {
    const RIDERS: usize = 100;
    const DRIVERS: usize = 20;
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    choose(&admin, strategy).await;
    let riders = join_all((0..RIDERS).map(|_| Person::rider(&server))).await;
    let metres: Vec<f64> = (0..DRIVERS).map(|n| 20.0 * n as f64).collect();
    let drivers = drivers_at(&server, &admin, &metres).await;
    let wheels = wheels_of(&server, &drivers).await;
    let takes = wheels.into_iter().enumerate().map(|(n, wheel)| take_a_trip(wheel, n % 2));
    let asks = riders.iter().map(|rider| rider.request_trip(CAIRO));
    let (taken, asked) = tokio::join!(join_all(takes), join_all(asks));

    let trips: Vec<String> = asked.iter().map(|reply| text(&reply.data()["tripId"])).collect();
    each_has_one(&riders, &trips, &taken).await;
    cancel_the_others(&riders, &trips, &taken).await;
    no_lease_is_left(&server, &drivers).await;
    server.running().flows().dispatch.flush().await;
    for trip in &taken {
        let trace = admin.get(&format!("/admin/trips/{trip}/dispatch-trace")).await.data().clone();
        let rounds = trace["rounds"].as_array().expect("rounds");
        let same = rounds.iter().all(|round| round["reproduced"] == true);
        assert!(same && !rounds.is_empty(), "{trip}: {rounds:#?}");
    }
    server.check_invariants().await;
}

/// Every driver took a trip of his own, and no other trip has a driver.
pub async fn each_has_one(riders: &[Person], trips: &[String], taken: &[String]) {
    let won: HashSet<&String> = taken.iter().collect();
    assert_eq!(won.len(), taken.len(), "every driver has a trip of his own");
    let mut matched = 0;
    for (trip, rider) in trips.iter().zip(riders) {
        let view = rider.trip(trip).await;
        assert_eq!(view["status"] == "accepted", won.contains(trip), "{view}");
        assert_eq!(view["driverId"].is_string(), won.contains(trip), "{view}");
        matched += usize::from(won.contains(trip));
    }
    assert_eq!(matched, taken.len());
}

/// Those who found nobody give up; a search that has ended by now has nothing to give up.
pub async fn cancel_the_others(riders: &[Person], trips: &[String], taken: &[String]) {
    for (trip, rider) in trips.iter().zip(riders).filter(|(trip, _)| !taken.contains(trip)) {
        let cancel = json!({"reason": "changed_mind"});
        rider.post(&format!("/trips/{trip}/cancel"), cancel).await;
    }
}

/// Nothing holds him: he may go.
pub async fn is_free(driver: &Person) {
    until("a driver who is free", async || {
        let off = driver.post("/drivers/status", json!({"isOnline": false})).await;
        (off.status == 200).then_some(())
    })
    .await;
}

/// Says yes to a trip after so many noes, and no to standing by; the trip.
pub async fn take_a_trip(mut wheel: Socket, mut noes: usize) -> String {
    loop {
        let offer = wheel.next("offer").await["data"].clone();
        let (trip, stands_by) = (text(&offer["tripId"]), offer["standby"] == true);
        let action = if stands_by || noes > 0 { "decline" } else { "accept" };
        let answered = answer(&mut wheel, &trip, action).await["type"] == "ack";
        if answered && action == "accept" {
            return trip;
        }
        noes -= usize::from(noes > 0 && !stands_by);
    }
}

/// Whoever was asked let his time run out.
pub async fn is_searched_again(rider: &Person, trip: &str) {
    until("the end of his time", async || {
        let path = format!("/trips/{trip}/matching-status");
        (rider.get(&path).await.data()["status"] == "searching").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batched_goes_on_after_a_no_a_silence_and_people_who_leave() {
    who_does_not_drive("batched", "declined, lost, expired, accepted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sequential_goes_on_after_a_no_a_silence_and_people_who_leave() {
    who_does_not_drive("sequential", "declined, lost, expired, accepted").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_accept_goes_on_after_a_no_a_silence_and_people_who_leave() {
    who_does_not_drive("first_accept", "declined+expired+lost, accepted").await;
}

async fn who_does_not_drive(strategy: &str, rounds: &str) {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    choose(&admin, strategy).await;
    let drivers = drivers_at(&server, &admin, &[0.0, 300.0, 600.0]).await;
    let mut wheels = wheels_of(&server, &drivers).await;
    let rider = Person::rider(&server).await;
    let taker = Person::driver(&server).await;
    taker.approve(&admin, "economy").await;
    let trip = asked_for(&rider).await;
    wheels[0].next("offer").await;
    answer(&mut wheels[0], &trip, "decline").await;
    wheels[1].next("offer").await;
    drivers[1].post("/drivers/status", json!({"isOnline": false})).await.data();
    // The third vanishes without a word: his time runs out, before he is taken for gone.
    wheels[2].next("offer").await;
    drivers[2].report(far_from(CAIRO, 600.0)).await.data();
    wheels.pop().expect("the third").drop_connection();
    is_searched_again(&rider, &trip).await;
    // Who listens before he comes misses no offer.
    let mut wheel = Socket::listen(&server, &taker).await;
    taker.go_online(far_from(CAIRO, 100.0)).await.data();
    wheel.next("offer").await;
    assert_eq!(answer(&mut wheel, &trip, "accept").await["type"], "ack");
    assert_eq!(rider.trip(&trip).await["driverId"], taker.id.as_str());
    rounds_become(&admin, &trip, rounds).await;
    no_lease_is_left(&server, &drivers).await;
    // Whoever is still there can be asked again: he is free, and this is another trip.
    let other = Person::rider(&server).await;
    let mut wheel = Socket::listen(&server, &drivers[0]).await;
    drivers[0].report(CAIRO).await.data();
    let next = asked_for(&other).await;
    let offered = wheel.wait(|frame| frame["data"]["tripId"] == next.as_str()).await;
    assert_eq!(offered["type"], "offer");
    assert_eq!(answer(&mut wheel, &next, "accept").await["type"], "ack");
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn accept_against_cancel_leaves_one_of_the_two_however_drivers_are_found() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    for strategy in ["batched", "sequential", "batched", "sequential"] {
        choose(&admin, strategy).await;
        let driver = online_driver(&server, &admin, CAIRO).await;
        let mut wheel = Socket::listen(&server, &driver).await;
        let rider = Person::rider(&server).await;
        let trip = asked_for(&rider).await;
        wheel.next("offer").await;
        let (response, cancel) =
            (format!("/trips/{trip}/driver-response"), format!("/trips/{trip}/cancel"));
        let (accepted, cancelled) = tokio::join!(
            driver.post(&response, json!({"action": "accept"})),
            rider.post(&cancel, json!({"reason": "changed_mind"})),
        );
        cancelled.data();
        assert_eq!(rider.trip(&trip).await["status"], "cancelled", "{accepted:?}");
        let drivers = [driver];
        no_lease_is_left(&server, &drivers).await;
        is_free(&drivers[0]).await;
    }
    server.check_invariants().await;
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strategy_beside_the_citys_own_is_counted_and_asks_nobody() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let path = "/admin/cities/1/dispatch/shadow";
    assert!(admin.get(path).await.data()["strategy"].is_null(), "none runs");
    let choice = json!({"strategy": "sequential", "reason": "a test"});
    let view = admin.post(path, choice).await.data().clone();
    assert_eq!((&view["strategy"], &view["changedBy"]), (&json!("sequential"), &json!(admin.id)));
    let drivers = drivers_at(&server, &admin, &[0.0, 200.0, 400.0]).await;
    let mut wheels = wheels_of(&server, &drivers).await;
    let rider = Person::rider(&server).await;
    let trip = asked_for(&rider).await;
    // All three are asked at once, as the city's own asks; the shadow would ask one.
    for wheel in &mut wheels {
        wheel.next("offer").await;
    }
    answer(&mut wheels[0], &trip, "accept").await;
    let counts = admin.get(path).await.data()["counts"].clone();
    assert_eq!((&counts["same"], &counts["other"]), (&json!(1), &json!(0)), "{counts}");
    assert_eq!((&counts["own"]["asked"], &counts["shadow"]["asked"]), (&json!(3), &json!(1)));
    let log = admin.get("/admin/audit?action=city.choose_shadow").await.data().clone();
    assert_eq!(log["entries"][0]["details"]["strategy"], "sequential");
    let ended = admin.post(path, json!({"reason": "enough"})).await.data().clone();
    assert!(ended["strategy"].is_null() && ended["counts"].is_null(), "{ended}");
    let wrong = json!({"strategy": "by_lot", "reason": "a test"});
    admin.post(path, wrong).await.refused(400, "VALIDATION_FAILED");
    server.check_invariants().await;
}
