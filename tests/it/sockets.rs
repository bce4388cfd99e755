//! Sockets under strain: lost connections, replaced ones, drains, the nearby map (S1–S4).

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::{CAIRO, Person, Server, Socket, far_from, online_driver};

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_resumes_without_gap_or_repeat() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let mut wheel = Socket::open(&server, &driver).await;
    let trip = rider.request_trip(CAIRO).await.data()["tripId"].clone();
    let mut seat = Socket::open(&server, &rider).await;
    seat.ok("trip.subscribe", json!({"tripId": trip})).await;
    let seen = seat.next("snapshot").await["seq"].as_u64().expect("a number");
    seat.drop_connection();

    wheel.next("offer").await;
    wheel.ok("offer.respond", json!({"tripId": trip, "action": "accept"})).await;
    wheel.ok("trip.status", json!({"tripId": trip, "status": "arrived"})).await;

    let mut seat = Socket::open(&server, &rider).await;
    seat.ok("trip.subscribe", json!({"tripId": trip, "afterSeq": seen})).await;
    wheel.ok("trip.status", json!({"tripId": trip, "status": "started"})).await;
    for (offset, name) in ["accepted", "arrived", "started"].into_iter().enumerate() {
        let event = seat.next("trip.event").await;
        assert_eq!(event["seq"], seen + 1 + offset as u64, "{event}");
        assert_eq!(event["data"]["event"], name);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drivers_newer_socket_closes_the_older_and_offers_resume() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let mut old = Socket::open(&server, &driver).await;
    rider.request_trip(CAIRO).await.data();
    let offer = old.next("offer").await;
    let mut new = Socket::open(&server, &driver).await;
    assert_eq!(old.closed().await, 4409);
    let before = offer["seq"].as_u64().expect("a number") - 1;
    let resume = json!({"room": offer["room"], "epoch": offer["epoch"], "afterSeq": before});
    new.ok("resume", resume).await;
    assert_eq!(new.next("offer").await["seq"], offer["seq"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nearby_map_shows_who_comes_moves_and_goes() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    let first = online_driver(&server, &admin, CAIRO).await;
    let mut seat = Socket::open(&server, &rider).await;
    let around = json!({"lat": CAIRO.0, "lng": CAIRO.1, "radius": 2});
    seat.ok("nearby.subscribe", around).await;

    let shown = seat.wait(|frame| has(frame, "entered")).await;
    let alias = shown["data"]["entered"][0]["id"].as_str().expect("an id").to_owned();
    assert_ne!(alias, first.id, "riders see pseudonyms");

    first.report(far_from(CAIRO, 40.0)).await.data();
    let moved = seat.wait(|frame| has(frame, "moved")).await;
    assert_eq!(moved["data"]["moved"][0]["id"], alias.as_str());

    first.post("/drivers/status", json!({"isOnline": false})).await.data();
    let left = seat.wait(|frame| has(frame, "left")).await;
    assert_eq!(left["data"]["left"][0], alias.as_str());
}

fn has(frame: &Value, list: &str) -> bool {
    frame["type"] == "nearby.update"
        && frame["data"][list].as_array().is_some_and(|items| !items.is_empty())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_binary_position_reaches_the_map_like_a_text_one() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let mut wheel = Socket::open(&server, &driver).await;
    let there = far_from(CAIRO, 300.0);
    wheel.send_binary(binary_position(there)).await;
    // A ping behind it: its answer says that the position was taken.
    wheel.ok("ping", json!({})).await;
    let near = rider.get("/location/nearby?lat=30.0444&lng=31.2357&radius=1").await;
    let metres = near.data()["drivers"][0]["distance"].as_f64().expect("a distance");
    assert!((metres - 300.0).abs() < 1.0, "{metres}");
}

/// The 32 bytes of `schema/`: kind, version, flags, ack, lat, lng, heading, speed, accuracy, 0,
/// time.
fn binary_position(at: (f64, f64)) -> Vec<u8> {
    let mut frame = vec![1u8, 1, 0, 0];
    frame.extend(0u32.to_le_bytes());
    frame.extend(((at.0 * 1e7) as i32).to_le_bytes());
    frame.extend(((at.1 * 1e7) as i32).to_le_bytes());
    frame.extend(9000u16.to_le_bytes());
    frame.extend(300u16.to_le_bytes());
    frame.extend(50u16.to_le_bytes());
    frame.extend(0u16.to_le_bytes());
    frame.extend(jiff::Timestamp::now().as_millisecond().to_le_bytes());
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_tells_clients_to_come_back_and_when() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let mut socket = Socket::open(&server, &rider).await;
    socket.ok("ping", json!({})).await;
    let stop = tokio::spawn(server.stop());
    let hint = socket.next("reconnect").await;
    assert!(hint["data"]["afterMs"].as_u64().is_some(), "{hint}");
    assert_eq!(socket.closed().await, 1012);
    stop.await.expect("the server stops");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sixth_socket_of_a_rider_closes_the_first() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let mut first = Socket::open(&server, &rider).await;
    let mut later = Vec::new();
    for _ in 0..5 {
        later.push(Socket::open(&server, &rider).await);
    }
    assert_eq!(first.closed().await, 4409);
    for socket in &mut later {
        socket.ok("ping", json!({})).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_command_with_an_id_gets_exactly_one_answer() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let mut seat = Socket::open(&server, &rider).await;
    for id in ["a", "b", "c"] {
        seat.send_text(json!({"type": "ping", "id": id}).to_string()).await;
    }
    let trip = json!({"tripId": rider.id});
    seat.send_text(json!({"type": "trip.subscribe", "id": "d", "data": trip}).to_string()).await;
    let mut answered = BTreeSet::new();
    for _ in 0..4 {
        let frame = seat.wait(|frame| frame["id"].is_string()).await;
        assert!(answered.insert(frame["id"].to_string()), "twice: {frame}");
    }
    assert_eq!(answered.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_no_handshake_is_told_what_is_spoken_here() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let request = reqwest::Client::new().get(server.url("/ws")).bearer_auth(&rider.token);
    let answer = request.send().await.expect("the server answers");
    assert_eq!(answer.status(), 426);
    assert_eq!(answer.headers()["upgrade"], "websocket");
    assert_eq!(answer.headers()["sec-websocket-version"], "13");
    let body: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
    assert_eq!(body["error"]["code"], "UPGRADE_REQUIRED", "{body}");
    // The next one on the same address is as welcome as ever.
    Socket::open(&server, &rider).await.ok("ping", json!({})).await;
}
