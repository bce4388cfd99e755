//! Bad input gets the documented error and loses nothing; the server goes on.

use serde_json::{Value, json};

use crate::harness::{CAIRO, Person, Server, Socket, online_driver, point, send};

#[tokio::test(flavor = "multi_thread")]
async fn wrong_fields_are_named() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let ask = |pickup: Value| json!({"pickup": pickup, "destination": point(CAIRO), "vehicleType": "economy"});
    let cases = [
        (ask(json!({"lat": 91, "lng": 31})), "pickup"),
        (ask(json!({"lat": "30", "lng": 31})), "pickup"),
        (ask(json!({"lat": 30})), "pickup"),
        (
            json!({"pickup": point(CAIRO), "destination": point(CAIRO), "vehicleType": "tank"}),
            "vehicleType",
        ),
        (json!({"pickup": point(CAIRO), "vehicleType": "economy"}), "destination"),
        (
            json!({"pickup": point(CAIRO), "destination": point(CAIRO), "vehicleType": "economy",
            "price": 10.005}),
            "price",
        ),
    ];
    for (body, field) in cases {
        let reply = rider.post("/trips/request", body.clone()).await;
        reply.refused(400, "VALIDATION_FAILED");
        let named = reply.body["error"]["details"]["fields"][0]["field"].as_str().unwrap_or("");
        assert!(named.starts_with(field), "{body} names {named}");
    }
    assert_eq!(rider.get("/trips").await.data()["trips"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_are_no_json_or_too_large_are_refused() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let url = server.url("/api/v1/trips/request");
    // A body that is cut off takes its connection with it, so each has one of its own.
    let post = |kind: &'static str, body: String| {
        let request = reqwest::Client::new().post(&url).bearer_auth(&rider.token);
        request.header("content-type", kind).body(body).send()
    };
    let status = |reply: Result<reqwest::Response, reqwest::Error>| {
        reply.expect("an answer").status().as_u16()
    };
    assert_eq!(status(post("application/json", "{\"pickup\":".to_owned()).await), 400);
    assert_eq!(status(post("application/json", "{\"lat\":NaN}".to_owned()).await), 400);
    assert_eq!(status(post("text/plain", "{\"a\":1}".to_owned()).await), 415);
    assert_eq!(status(post("application/json", "x".repeat(1_100_000)).await), 413);
    assert_eq!(rider.get("/nowhere").await.status, 404);
    assert_eq!(rider.get("/auth/login").await.status, 405);
    rider.get("/wallet").await.data();
}

#[tokio::test(flavor = "multi_thread")]
async fn weak_accounts_are_refused_field_by_field() {
    let server = Server::start().await;
    let good =
        json!({"phone": "01098765432", "password": "tahrir99", "name": "Mona", "role": "rider"});
    let cases = [
        ("phone", json!("0131234567")),
        ("phone", json!("0223456789")),
        ("password", json!("short1")),
        ("password", json!("onlyletters")),
        ("name", json!("   ")),
        ("role", json!("admin")),
        ("role", json!("pilot")),
    ];
    for (field, value) in cases {
        let mut body = good.clone();
        body[field] = value;
        let reply = send(&server.http, &server.url("/api/v1/auth/signup"), None, Some(body)).await;
        reply.refused(400, "VALIDATION_FAILED");
        let fields = &reply.body["error"]["details"]["fields"];
        assert_eq!(fields[0]["field"], field, "{fields}");
    }
    // Arabic-Indic digits are digits.
    let mut body = good;
    body["phone"] = json!("٠١٠٩٨٧٦٥٤٣٢");
    let reply = send(&server.http, &server.url("/api/v1/auth/signup"), None, Some(body)).await;
    assert_eq!(reply.data()["user"]["phone"], "+201098765432");
}

#[tokio::test(flavor = "multi_thread")]
async fn positions_are_checked_by_their_time_and_place() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let send = async |lat: Value, at: &str| {
        driver.post("/location/update", json!({"lat": lat, "lng": 31.2357, "timestamp": at})).await
    };
    send(json!(91), "2026-01-01T00:00:00Z").await.refused(400, "VALIDATION_FAILED");
    send(json!(30.0444), "2001-01-01T00:00:00Z").await.refused(400, "TOO_OLD");
    send(json!(30.0444), "soon").await.refused(400, "VALIDATION_FAILED");
    // From the future: clamped to now, and taken.
    send(json!(30.0444), "2199-01-01T00:00:00Z").await.data();
    let batch = json!({"locations": [
        {"lat": 30.0444, "lng": 31.2357, "timestamp": "2001-01-01T00:00:00Z"},
        {"lat": 30.0444, "lng": 31.2357, "timestamp": jiff::Timestamp::now().to_string()},
    ]});
    let reply = driver.post("/location/batch-update", batch).await;
    assert_eq!(reply.data()["accepted"], 1, "{reply:?}");
    assert_eq!(reply.data()["rejected"], json!([{"index": 0, "code": "TOO_OLD"}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_teleporting_driver_stays_where_he_was_on_the_map() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let near = "/location/nearby?lat=30.0444&lng=31.2357&radius=1";
    assert_eq!(rider.get(near).await.data()["drivers"].as_array().map(Vec::len), Some(1));
    driver.report((30.9, 31.9)).await.data();
    assert_eq!(rider.get(near).await.data()["drivers"].as_array().map(Vec::len), Some(1));
    let there = "/location/nearby?lat=30.9&lng=31.9&radius=1";
    assert_eq!(rider.get(there).await.data()["drivers"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_answers_nonsense_and_closes_on_the_tenth() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let mut socket = Socket::open(&server, &rider).await;
    let nonsense = ["{", "[]", "null", "{\"type\":7}", "{\"type\":\"dance\",\"id\":\"1\"}"];
    for text in nonsense {
        socket.send_text(text).await;
        assert_eq!(socket.next("error").await["type"], "error", "{text}");
    }
    socket.send_binary(vec![9; 31]).await;
    socket.next("error").await;
    for _ in 0..4 {
        socket.send_text("{").await;
    }
    assert_eq!(socket.closed().await, 1008);
    let mut other = Socket::open(&server, &rider).await;
    other.send_text(format!("{{\"type\":\"ping\",\"x\":\"{}\"}}", "y".repeat(70_000))).await;
    assert_eq!(other.closed().await, 1009);
    // Nobody else notices.
    Socket::open(&server, &rider).await.ok("ping", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pickup_nobody_serves_is_refused_with_the_reason() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    rider.request_trip((52.5, 13.4)).await.refused(409, "OUTSIDE_SERVICE_AREA");
    let body = json!({"pickup": point((52.5, 13.4)), "destination": point((52.5, 13.5))});
    rider.post("/pricing/estimate", body).await.refused(409, "OUTSIDE_SERVICE_AREA");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_version_is_not_spoken() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let get = |path: &str, accept: &'static str| {
        let request = server.http.get(server.url(path)).bearer_auth(&rider.token);
        request.header("accept", accept).send()
    };
    let status = |reply: Result<reqwest::Response, reqwest::Error>| {
        reply.expect("an answer").status().as_u16()
    };
    assert_eq!(status(get("/api/wallet", "*/*").await), 200);
    assert_eq!(status(get("/api/wallet", "application/vnd.smartline.v1+json").await), 200);
    assert_eq!(status(get("/api/wallet", "application/vnd.smartline.v7+json").await), 406);
    assert_eq!(status(get("/api/wallet?version=9", "*/*").await), 406);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nul_character_is_refused_over_the_socket_too() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let mut seat = Socket::open(&server, &rider).await;
    let place = json!({"lat": CAIRO.0, "lng": CAIRO.1, "address": "Tahrir\u{0}Square"});
    let body = json!({"pickup": place, "destination": point(CAIRO), "vehicleType": "economy"});
    let answer = seat.call("trip.request", body.clone()).await;
    assert_eq!(answer["type"], "error", "{answer}");
    rider.post("/trips/request", body).await.refused(400, "MALFORMED_BODY");
    assert_eq!(rider.get("/trips").await.data()["trips"], json!([]));
    seat.ok("ping", json!({})).await;
}
