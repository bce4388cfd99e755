//! BROADCAST_BID in a city: drivers name their prices, the rider sees them come and picks one, and
//! whatever happens at the same time, one has the trip and nobody stays leased.

use std::time::Duration;

use app::Setup;
use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    CAIRO, Person, Reply, Server, Socket, far_from, flat_city, fund, online_driver, point, until,
};
use crate::strategies::{choose, drivers_at, no_lease_is_left, rounds_become, wheels_of};

/// Every trip is quoted with 40: bids are between 32 and 60.
const QUOTE: i64 = 40;

/// Where nobody has to hurry: bids close after a time that no test takes, unless it waits for it.
async fn patient() -> Server {
    let change = |setup: &mut Setup| {
        let preset = &mut setup.dispatch.rules.presets.broadcast_bid;
        preset.bids.as_mut().expect("prices are bid").open = Duration::from_secs(200);
        preset.offer_ttl = Duration::from_secs(240);
    };
    Server::on(flat_city(QUOTE).await, change).await
}

/// A city where drivers bid, and its operator.
async fn city() -> (Server, Person) {
    let server = patient().await;
    let admin = Person::admin(&server).await;
    choose(&admin, "broadcast_bid").await;
    (server, admin)
}

async fn asked_for(rider: &Person) -> String {
    text(&rider.request_trip(CAIRO).await.data()["tripId"])
}

/// The offer of this trip.
async fn offered(wheel: &mut Socket, trip: &str) -> Value {
    wheel.wait(|frame| frame["type"] == "offer" && frame["data"]["tripId"] == trip).await
}

async fn bid(wheel: &mut Socket, trip: &str, price: f64) -> Value {
    wheel.call("offer.respond", json!({"tripId": trip, "action": "bid", "price": price})).await
}

/// Bids, and is heard.
async fn bids(wheel: &mut Socket, trip: &str, price: f64) {
    offered(wheel, trip).await;
    let answer = bid(wheel, trip, price).await;
    assert_eq!(answer["type"], "ack", "{answer}");
}

/// What may be picked now, as offer and price, the lowest first.
async fn open_bids(rider: &Person, trip: &str) -> Vec<(String, f64)> {
    let reply = rider.get(&format!("/trips/{trip}/offers")).await;
    let offers = reply.data()["offers"].as_array().expect("a list").clone();
    offers.iter().map(|one| (text(&one["offerId"]), pounds(&one["price"]))).collect()
}

async fn pick(rider: &Person, trip: &str, offer: &str, body: Value) -> Reply {
    rider.post(&format!("/trips/{trip}/offers/{offer}/accept"), body).await
}

/// Every trip is what its events make it.
async fn every_trip_replays(db: &storage::Db) {
    let mut wrong = Vec::new();
    let replayed = trips::replay_all(db, |trip| wrong.extend(trip.differences)).await;
    replayed.expect("trips are read");
    assert_eq!(wrong, [""; 0]);
}

async fn all_is_well(server: &Server, drivers: &[Person]) {
    no_lease_is_left(server, drivers).await;
    every_trip_replays(server.db()).await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rider_sees_the_bids_and_picks_one_at_the_price_that_he_saw() {
    let (server, admin) = city().await;
    let drivers = drivers_at(&server, &admin, &[0.0, 300.0, 600.0, 900.0]).await;
    let mut wheels = wheels_of(&server, &drivers).await;
    let rider = Person::rider(&server).await;
    let mut seat = Socket::listen(&server, &rider).await;
    let trip = asked_for(&rider).await;
    seat.ok("trip.subscribe", json!({"tripId": trip})).await;
    let offer = offered(&mut wheels[0], &trip).await;
    let range = &offer["data"]["bid"];
    assert_eq!((pounds(&range["min"]), pounds(&range["max"])), (32.0, 60.0), "{offer}");
    // Over the socket, over REST, and by a plain yes.
    let first = bid(&mut wheels[0], &trip, 45.1).await;
    assert_eq!(
        (&first["data"]["status"], pounds(&first["data"]["price"])),
        (&json!("requested"), 45.0),
        "rounded as quotes are: {first}"
    );
    for wheel in &mut wheels[1..] {
        offered(wheel, &trip).await;
    }
    let path = format!("/trips/{trip}/driver-response");
    let second = drivers[1].post(&path, json!({"action": "bid", "price": 52})).await;
    assert_eq!(pounds(&second.data()["price"]), 52.0);
    wheels[2].ok("offer.respond", json!({"tripId": trip, "action": "accept"})).await;
    for (name, price) in [("the first", 45.0), ("the second", 52.0), ("the third", 40.0)] {
        let is_it = |frame: &Value| frame["type"] == "bid" && frame["data"]["price"] == price;
        let seen = seat.wait_for(name, is_it).await;
        assert_eq!(seen["data"]["status"], "open");
        assert_eq!(seen["data"]["driver"]["vehicle"]["make"], "Lada");
        assert_eq!(seen["data"]["driver"]["vehicle"]["plate"], Value::Null, "not before he picks");
    }
    // A socket is read now and then, or it is taken for dead.
    join_all(wheels.iter_mut().map(|wheel| wheel.ok("ping", json!({})))).await;
    // What can't be bid.
    for (body, field) in [
        (json!({"action": "bid", "price": 31.7}), "price"),
        (json!({"action": "bid", "price": 60.3}), "price"),
        (json!({"action": "bid"}), "price"),
        (json!({"action": "bid", "price": "much"}), "price"),
    ] {
        let refused = drivers[0].post(&path, body).await;
        refused.refused(400, "VALIDATION_FAILED");
        assert_eq!(refused.body["error"]["details"]["fields"][0]["field"], field);
    }
    // One changes his mind, another is out of it.
    assert_eq!(bid(&mut wheels[0], &trip, 38.5).await["type"], "ack");
    wheels[1].ok("offer.respond", json!({"tripId": trip, "action": "decline"})).await;
    seat.wait(|frame| frame["type"] == "bid" && frame["data"]["status"] == "withdrawn").await;
    let late = drivers[1].post(&path, json!({"action": "bid", "price": 35})).await;
    late.refused(409, "OFFER_EXPIRED");
    let open = open_bids(&rider, &trip).await;
    let prices: Vec<f64> = open.iter().map(|(_, price)| *price).collect();
    assert_eq!(prices, [38.5, 40.0]);
    // At the price that he saw, or not at all.
    let lowest = &open[0].0;
    let stale = pick(&rider, &trip, lowest, json!({"price": 45})).await;
    stale.refused(409, "PRICE_CHANGED");
    assert_eq!(pounds(&stale.body["error"]["details"]["price"]), 38.5);
    let other = Person::rider(&server).await;
    pick(&other, &trip, lowest, json!({})).await.refused(404, "NOT_FOUND");
    other.get(&format!("/trips/{trip}/offers")).await.refused(404, "NOT_FOUND");
    let pick_it = json!({"tripId": trip, "offerId": lowest, "price": 38.5});
    let won = seat.ok("bid.accept", pick_it).await;
    assert_eq!((&won["status"], &won["driverId"]), (&json!("accepted"), &json!(drivers[0].id)));
    assert_eq!(pounds(&won["price"]), 38.5);
    let event = seat.event("accepted").await;
    assert_eq!(pounds(&event["data"]["price"]), 38.5, "{event}");
    let told = wheels[0].next("bid").await;
    assert_eq!((&told["data"]["status"], &told["data"]["tripId"]), (&json!("won"), &json!(trip)));
    for wheel in &mut wheels[2..] {
        assert_eq!(wheel.next("offer.revoked").await["data"]["reason"], "taken");
    }
    // Too late, whoever comes.
    let again = pick(&rider, &trip, &open[1].0, json!({})).await;
    again.refused(409, "INVALID_TRANSITION");
    assert!(open_bids(&rider, &trip).await.is_empty());
    rounds_become(&admin, &trip, "accepted+declined+revoked+revoked").await;
    the_trace_knows_the_prices(&admin, &trip).await;
    drive(&drivers[0], &trip).await;
    let done = rider.trip(&trip).await;
    assert_eq!((&done["status"], pounds(&done["finalPrice"])), (&json!("completed"), 38.5));
    // 15 % of 38.50, of which 14/114 are tax.
    let settled = server.postings("settle", &trip).await;
    assert_eq!(settled, "driver -578, commission +507, vat +71");
    all_is_well(&server, &drivers).await;
}

async fn the_trace_knows_the_prices(admin: &Person, trip: &str) {
    let trace = admin.get(&format!("/admin/trips/{trip}/dispatch-trace")).await.data().clone();
    let rows = trace["trace"].as_array().expect("a list").iter();
    let of_offers = rows.filter(|row| row["answer"].is_string());
    let mut said: Vec<String> =
        of_offers.map(|row| format!("{} {}", text(&row["answer"]), row["bid"])).collect();
    said.sort();
    assert_eq!(said, ["accepted 38.5", "declined 52", "revoked 40", "revoked null"]);
    assert_eq!(trace["rounds"][0]["strategy"], "broadcast_bid");
    assert_eq!(trace["rounds"][0]["reproduced"], true, "{trace}");
}

async fn drive(driver: &Person, trip: &str) {
    driver.report(CAIRO).await.data();
    for status in ["arrived", "started", "completed"] {
        let path = format!("/trips/{trip}/status");
        driver.post(&path, json!({"status": status})).await.data();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rider_who_was_away_gets_the_bids_that_he_missed() {
    let (server, admin) = city().await;
    let drivers = drivers_at(&server, &admin, &[0.0, 300.0]).await;
    let mut wheels = wheels_of(&server, &drivers).await;
    let rider = Person::rider(&server).await;
    let room = format!("user:{}", rider.id);
    let mut seat = Socket::open(&server, &rider).await;
    let mark = seat.ok("resume", json!({"room": room})).await;
    let trip = asked_for(&rider).await;
    bids(&mut wheels[0], &trip, 44.0).await;
    seat.next("bid").await;
    seat.drop_connection();
    bids(&mut wheels[1], &trip, 43.0).await;
    assert_eq!(bid(&mut wheels[0], &trip, 42.0).await["type"], "ack");
    let mut seat = Socket::open(&server, &rider).await;
    let known = json!({"room": room, "epoch": mark["epoch"], "afterSeq": mark["seq"]});
    seat.ok("resume", known).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let frame = seat.next("bid").await;
        seen.push((frame["seq"].as_u64().expect("a number"), pounds(&frame["data"]["price"])));
    }
    let first = mark["seq"].as_u64().expect("a number") + 1;
    assert_eq!(seen, [(first, 44.0), (first + 1, 43.0), (first + 2, 42.0)]);
    rider.post(&format!("/trips/{trip}/cancel-search"), json!({})).await.data();
    for wheel in &mut wheels {
        assert_eq!(wheel.next("offer.revoked").await["data"]["reason"], "cancelled");
    }
    all_is_well(&server, &drivers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_meets_a_pick_one_of_the_two_happens() {
    let (server, admin) = city().await;
    for race in ["another pick", "a cancel", "the driver's no", "the driver's leaving"] {
        eprintln!("a pick against {race}");
        let drivers = drivers_at(&server, &admin, &[0.0, 200.0]).await;
        let mut wheels = wheels_of(&server, &drivers).await;
        let rider = Person::rider(&server).await;
        let trip = asked_for(&rider).await;
        bids(&mut wheels[0], &trip, 41.0).await;
        bids(&mut wheels[1], &trip, 42.0).await;
        let open = open_bids(&rider, &trip).await;
        assert_eq!(open.len(), 2);
        let picked = pick(&rider, &trip, &open[0].0, json!({"price": 41}));
        let no = json!({"action": "decline"});
        let response = format!("/trips/{trip}/driver-response");
        let cancel = format!("/trips/{trip}/cancel");
        let (picked, met) = match race {
            "another pick" => {
                tokio::join!(picked, pick(&rider, &trip, &open[1].0, json!({"price": 42})))
            }
            "a cancel" => {
                tokio::join!(picked, rider.post(&cancel, json!({"reason": "changed_mind"})))
            }
            "the driver's no" => tokio::join!(picked, drivers[0].post(&response, no)),
            _ => {
                let off = json!({"isOnline": false});
                tokio::join!(picked, drivers[0].post("/drivers/status", off))
            }
        };
        let (view, both) = (rider.trip(&trip).await, format!("{race}: {picked:?} {met:?}"));
        match race {
            "another pick" => {
                assert_eq!(
                    [picked.status, met.status].iter().filter(|s| **s == 200).count(),
                    1,
                    "{both}"
                );
                let winner = if picked.status == 200 { 0 } else { 1 };
                let price = [41.0, 42.0][winner];
                assert_eq!(view["driverId"], drivers[winner].id.as_str(), "{both}");
                assert_eq!(pounds(&view["price"]), price, "{both}");
            }
            "a cancel" => {
                met.data();
                assert_eq!(view["status"], "cancelled", "{both}");
            }
            "the driver's no" => {
                assert_ne!(picked.status == 200, met.status == 200, "{both}");
                let status = if picked.status == 200 { "accepted" } else { "requested" };
                assert_eq!(view["status"], status, "{both}");
            }
            _ => {
                // Whoever has a trip can't leave; whoever has left is not picked.
                let status = if picked.status == 200 { "accepted" } else { "requested" };
                assert_eq!(view["status"], status, "{both}");
            }
        }
        if view["status"] != "cancelled" {
            rider.post(&cancel, json!({"reason": "changed_mind"})).await.data();
        }
        no_lease_is_left(&server, &drivers).await;
        // They are in nobody's way in the next race.
        for driver in &drivers {
            until("a driver who leaves", async || {
                let off = driver.post("/drivers/status", json!({"isOnline": false})).await;
                (off.status == 200).then_some(())
            })
            .await;
        }
    }
    every_trip_replays(server.db()).await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pick_that_is_sent_again_is_the_same_pick() {
    let (server, admin) = city().await;
    let drivers = drivers_at(&server, &admin, &[0.0]).await;
    let mut wheels = wheels_of(&server, &drivers).await;
    let rider = Person::rider(&server).await;
    let mut seat = Socket::listen(&server, &rider).await;
    let trip = asked_for(&rider).await;
    bids(&mut wheels[0], &trip, 41.0).await;
    let offer = open_bids(&rider, &trip).await.remove(0).0;
    let path = format!("/trips/{trip}/offers/{offer}/accept");
    let first = rider.post_once(&path, json!({"price": 41}), "mine").await;
    let again = rider.post_once(&path, json!({"price": 41}), "mine").await;
    assert_eq!((first.status, again.status), (200, 200), "{again:?}");
    assert_eq!(first.data(), again.data());
    // The socket knows the key, too.
    let same = json!({"tripId": trip, "offerId": offer, "price": 41});
    let over = seat.once("bid.accept", same, "mine").await;
    assert_eq!((&over["type"], &over["data"]), (&json!("ack"), first.data()));
    rider
        .post_once(&path, json!({"price": 42}), "mine")
        .await
        .refused(422, "IDEMPOTENCY_KEY_REUSED");
    rider.post_once(&path, json!({"price": 41}), "other").await.refused(409, "INVALID_TRANSITION");
    all_is_well(&server, &drivers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_covers_the_bid_or_it_is_not_picked() {
    let (server, admin) = city().await;
    let drivers = drivers_at(&server, &admin, &[0.0]).await;
    let mut wheels = wheels_of(&server, &drivers).await;
    let rider = Person::rider(&server).await;
    fund(&admin, &rider, 45.0).await;
    let body = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 2000.0)),
        "vehicleType": "economy", "paymentMethod": "wallet"});
    let trip = text(&rider.post("/trips/request", body).await.data()["tripId"]);
    bids(&mut wheels[0], &trip, 50.0).await;
    let offer = open_bids(&rider, &trip).await.remove(0).0;
    let short = pick(&rider, &trip, &offer, json!({})).await;
    short.refused(409, "INSUFFICIENT_BALANCE");
    assert_eq!(pounds(&short.body["error"]["details"]["available"]), 45.0);
    assert_eq!(rider.trip(&trip).await["status"], "requested");
    fund(&admin, &rider, 10.0).await;
    assert_eq!(pounds(&pick(&rider, &trip, &offer, json!({})).await.data()["price"]), 50.0);
    let wallet = rider.get("/wallet").await.data().clone();
    assert_eq!((pounds(&wallet["balance"]), pounds(&wallet["held"])), (0.0, 55.0));
    server.check_invariants().await;
    drive(&drivers[0], &trip).await;
    let settled = server.postings("settle", &trip).await;
    let legs = "rider_wallet +500, rider_hold -5500, driver +4250, commission +658, vat +92";
    assert_eq!(settled, legs);
    all_is_well(&server, &drivers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_city_of_bids_serves_every_rider_and_shares_no_driver() {
    const RIDERS: usize = 5;
    const DRIVERS: usize = 8;
    let (server, admin) = city().await;
    let metres: Vec<f64> = (0..DRIVERS).map(|n| 100.0 * n as f64).collect();
    let drivers = drivers_at(&server, &admin, &metres).await;
    let riders = join_all((0..RIDERS).map(|_| Person::rider(&server))).await;
    let seats = join_all(riders.iter().map(|rider| Socket::listen(&server, rider))).await;
    let wheels = wheels_of(&server, &drivers).await;
    // Until the last rider is served; some say no to the first trip that they see.
    let (served, over) = tokio::sync::watch::channel(false);
    let bidders = wheels.into_iter().enumerate().map(|(n, wheel)| {
        let mut over = over.clone();
        async move {
            tokio::select! {
                trip = bids_until_he_wins(wheel, 36.0 + n as f64, n % 4 == 3) => Some(trip),
                _ = over.wait_for(|over| *over) => None,
            }
        }
    });
    let asking = async {
        let rides = riders.iter().zip(seats).map(|(rider, seat)| takes_the_first(rider, seat));
        let trips = join_all(rides).await;
        served.send(true).expect("drivers listen");
        trips
    };
    let (won, taken) = tokio::join!(join_all(bidders), asking);
    let mut taken: Vec<(String, String)> = taken;
    taken.sort();
    let mut by: Vec<&String> = taken.iter().map(|(_, driver)| driver).collect();
    by.sort();
    by.dedup();
    assert_eq!(by.len(), RIDERS, "each has a driver of his own: {taken:?}");
    for trip in won.into_iter().flatten() {
        assert!(taken.iter().any(|(taken, _)| *taken == trip), "{trip} was told to be won");
    }
    all_is_well(&server, &drivers).await;
}

/// Bids the same price for whatever is offered, until it is taken; the trip.
async fn bids_until_he_wins(mut wheel: Socket, price: f64, mut unwilling: bool) -> String {
    loop {
        let frame = wheel.wait(|frame| {
            let won = frame["type"] == "bid" && frame["data"]["status"] == "won";
            won || frame["type"] == "offer"
        });
        let frame = frame.await;
        let trip = text(&frame["data"]["tripId"]);
        if frame["type"] == "bid" {
            return trip;
        }
        // What is over by now is answered so, which changes nothing.
        if std::mem::take(&mut unwilling) {
            wheel.call("offer.respond", json!({"tripId": trip, "action": "decline"})).await;
        } else {
            bid(&mut wheel, &trip, price).await;
        }
    }
}

/// Asks for a trip and picks bids as they come until one is his; the trip and its driver.
async fn takes_the_first(rider: &Person, mut seat: Socket) -> (String, String) {
    let trip = asked_for(rider).await;
    let seen = until("a bid that can be picked", async || {
        let open = open_bids(rider, &trip).await;
        let (offer, price) = open.into_iter().next()?;
        let data = json!({"tripId": trip, "offerId": offer, "price": price});
        let answer = seat.call("bid.accept", data).await;
        (answer["type"] == "ack").then(|| answer["data"].clone())
    })
    .await;
    (trip, text(&seen["driverId"]))
}

#[tokio::test(flavor = "multi_thread")]
async fn who_bids_nothing_or_is_not_chosen_is_free_and_a_farther_one_is_asked() {
    let change = |setup: &mut Setup| {
        let preset = &mut setup.dispatch.rules.presets.broadcast_bid;
        // As short as a busy machine allows; only noes lead to the next ring.
        preset.bids.as_mut().expect("prices are bid").open = Duration::from_secs(15);
        preset.offer_ttl = Duration::from_secs(16);
        preset.at_least = Duration::from_secs(600);
    };
    let server = Server::on(flat_city(QUOTE).await, change).await;
    let admin = Person::admin(&server).await;
    choose(&admin, "broadcast_bid").await;
    let drivers = drivers_at(&server, &admin, &[0.0, 300.0, 600.0]).await;
    let mut wheels = wheels_of(&server, &drivers).await;
    let far = Person::driver(&server).await;
    far.approve(&admin, "economy").await;
    let rider = Person::rider(&server).await;
    let mut seat = Socket::listen(&server, &rider).await;
    let trip = asked_for(&rider).await;
    bids(&mut wheels[0], &trip, 41.0).await;
    offered(&mut wheels[1], &trip).await;
    drivers[1].report(far_from(CAIRO, 300.0)).await.data();
    bids(&mut wheels[2], &trip, 33.0).await;
    seat.next("bid").await;
    drivers[2].post("/drivers/status", json!({"isOnline": false})).await.data();
    seat.wait(|frame| frame["type"] == "bid" && frame["data"]["status"] == "lost").await;
    let gone = open_bids(&rider, &trip).await;
    assert!(gone.iter().all(|(_, price)| *price == 41.0), "{gone:?}");
    // Beyond the first ring, within the second.
    let mut his = Socket::listen(&server, &far).await;
    far.go_online(far_from(CAIRO, 6_000.0)).await.data();
    bids(&mut his, &trip, 60.0).await;
    let open = open_bids(&rider, &trip).await;
    let picked = pick(&rider, &trip, &open[0].0, json!({"price": 60})).await;
    assert_eq!(picked.data()["driverId"], far.id.as_str());
    rounds_become(&admin, &trip, "expired+lost+unchosen, accepted").await;
    all_is_well(&server, &drivers).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_may_name_bids_and_a_driver_who_gives_up_leaves_the_quote() {
    let server = patient().await;
    let admin = Person::admin(&server).await;
    let choice = json!({"strategy": "first_accept", "allowed": ["broadcast_bid"],
        "reason": "a test"});
    admin.post("/admin/cities/1/dispatch", choice).await.data();
    let drivers = drivers_at(&server, &admin, &[0.0, 300.0]).await;
    let mut wheels = wheels_of(&server, &drivers).await;
    let rider = Person::rider(&server).await;
    let body = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 2000.0)),
        "vehicleType": "economy", "strategy": "broadcast_bid"});
    let trip = text(&rider.post("/trips/request", body).await.data()["tripId"]);
    bids(&mut wheels[0], &trip, 60.0).await;
    let open = open_bids(&rider, &trip).await;
    pick(&rider, &trip, &open[0].0, json!({"price": 60})).await.data();
    wheels[0].next("bid").await;
    let path = format!("/trips/{trip}/cancel");
    drivers[0].post(&path, json!({"reason": "vehicle_problem"})).await.data();
    let view = rider.trip(&trip).await;
    assert_eq!((&view["status"], pounds(&view["price"])), (&json!("requested"), 40.0));
    // He was asked before; of the new search he is bid for by the same bounds.
    wheels[1].next("offer").await;
    let offer = offered(&mut wheels[1], &trip).await;
    assert_eq!(pounds(&offer["data"]["bid"]["max"]), 60.0, "{offer}");
    assert_eq!(bid(&mut wheels[1], &trip, 35.0).await["type"], "ack");
    let open = open_bids(&rider, &trip).await;
    let picked = pick(&rider, &trip, &open[0].0, json!({"price": 35})).await;
    assert_eq!(picked.data()["driverId"], drivers[1].id.as_str());
    // Where nothing is bid, nothing is.
    let other = Person::rider(&server).await;
    let taker = online_driver(&server, &admin, far_from(CAIRO, 100.0)).await;
    let mut wheel = Socket::listen(&server, &taker).await;
    taker.report(far_from(CAIRO, 100.0)).await.data();
    let plain = asked_for(&other).await;
    let offer = offered(&mut wheel, &plain).await;
    assert_eq!(offer["data"]["bid"], Value::Null);
    let refused = bid(&mut wheel, &plain, 41.0).await;
    assert_eq!(refused["error"]["details"]["fields"][0]["field"], "action", "{refused}");
    assert!(open_bids(&other, &plain).await.is_empty());
    wheel.ok("offer.respond", json!({"tripId": plain, "action": "accept"})).await;
    all_is_well(&server, &drivers).await;
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn pounds(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no amount: {value}"))
}
