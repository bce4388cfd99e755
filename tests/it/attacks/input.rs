//! Numbers, sizes and shapes that no app sends: refused with the documented error, and the server
//! is as it was.

use serde_json::{Value, json};

use crate::harness::{CAIRO, Person, Server, Socket, online_driver, point, status_of};

/// JSON that serde_json would not write.
fn request_with(pickup: &str, rest: &str) -> String {
    format!(
        r#"{{"pickup":{pickup},"destination":{{"lat":30.05,"lng":31.24}},"vehicleType":"economy"{rest}}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_that_are_none_or_too_large_book_nothing() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let mut seat = Socket::open(&server, &rider).await;
    let here = r#"{"lat":30.0444,"lng":31.2357}"#;
    let cases = [
        request_with(r#"{"lat":NaN,"lng":31.2}"#, ""),
        request_with(r#"{"lat":Infinity,"lng":31.2}"#, ""),
        request_with(r#"{"lat":-Infinity,"lng":31.2}"#, ""),
        request_with(r#"{"lat":1e309,"lng":31.2}"#, ""),
        request_with(r#"{"lat":"NaN","lng":31.2}"#, ""),
        request_with(r#"{"lat":null,"lng":31.2}"#, ""),
        request_with(r#"{"lat":90.0000001,"lng":31.2}"#, ""),
        request_with(r#"{"lat":30.0,"lng":-180.0000001}"#, ""),
        request_with(r#"{"lat":30.0,"lng":1e30}"#, ""),
        request_with(here, r#","price":9223372036854775808"#),
        request_with(here, r#","price":92233720368547758.08"#),
        request_with(here, r#","price":1e30"#),
        request_with(here, r#","price":-0.01"#),
        request_with(here, r#","price":10000.01"#),
        request_with(here, r#","price":42.505"#),
        request_with(here, r#","price":"42.5""#),
        request_with(here, r#","price":NaN"#),
    ];
    for case in cases {
        let status = post_text(&server, &rider, "/trips/request", &case).await;
        assert_eq!(status, 400, "{case}");
        seat.send_text(format!(r#"{{"type":"trip.request","id":"x","data":{case}}}"#)).await;
        let answer = seat.next("error").await;
        assert_eq!(status_of(&answer), 400, "{case}: {answer}");
        // Ten such in ten seconds would end it.
        seat = Socket::open(&server, &rider).await;
    }
    assert_eq!(rider.get("/trips").await.data()["trips"], json!([]));
}

async fn post_text(server: &Server, person: &Person, path: &str, body: &str) -> u16 {
    let request = server.http.post(server.url(&format!("/api/v1{path}")));
    let request = request.bearer_auth(&person.token).header("content-type", "application/json");
    let answer = request.body(body.to_owned()).send().await.expect("the server answers");
    answer.status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zero_is_a_zero_and_swapped_degrees_are_elsewhere() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    rider.request_trip((-0.0, -0.0)).await.refused(409, "OUTSIDE_SERVICE_AREA");
    rider.request_trip((CAIRO.1, CAIRO.0)).await.refused(409, "OUTSIDE_SERVICE_AREA");
    let near = rider.get("/location/nearby?lat=-0&lng=-0&radius=1").await;
    assert_eq!(near.data()["drivers"], json!([]));
    for query in ["lat=NaN&lng=31", "lat=inf&lng=31", "lat=1e309&lng=31", "lat=91&lng=31"] {
        let reply = rider.get(&format!("/location/nearby?{query}")).await;
        reply.refused(400, "VALIDATION_FAILED");
        let reply = rider.get(&format!("/pricing/surge-map?{query}")).await;
        reply.refused(400, "VALIDATION_FAILED");
    }
    for radius in ["NaN", "inf", "-1", "0", "1e300", "50.0001"] {
        let path = format!("/location/nearby?lat=30&lng=31&radius={radius}");
        rider.get(&path).await.refused(400, "VALIDATION_FAILED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_million_points_are_refused_before_they_are_read() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let now = jiff::Timestamp::now().to_string();
    let place = json!({"lat": CAIRO.0, "lng": CAIRO.1, "timestamp": now});
    let batch = |points: usize| json!({"locations": vec![place.clone(); points]});
    driver.post("/location/batch-update", batch(501)).await.refused(400, "VALIDATION_FAILED");
    driver.post("/location/batch-update", batch(0)).await.refused(400, "VALIDATION_FAILED");
    let body = batch(1_000_000).to_string();
    // The server may close before it has read all of it.
    let request = reqwest::Client::new().post(server.url("/api/v1/location/batch-update"));
    let request = request.bearer_auth(&driver.token).header("content-type", "application/json");
    if let Ok(answer) = request.body(body).send().await {
        assert_eq!(answer.status(), 413);
    }
    let mut wheel = Socket::open(&server, &driver).await;
    let answer = wheel.call("location.batch", batch(201)).await;
    assert_eq!(answer["error"]["code"], "VALIDATION_FAILED", "{answer}");
    wheel.send_text(json!({"type": "location.batch", "data": batch(2000)}).to_string()).await;
    assert_eq!(wheel.closed().await, 1009);
    driver.report(CAIRO).await.data();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tower_of_brackets_falls_on_nobody() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let mut seat = Socket::open(&server, &rider).await;
    for tower in [
        "[".repeat(30_000),
        r#"{"a":"#.repeat(10_000),
        format!("{}1{}", "[".repeat(9000), "]".repeat(9000)),
    ] {
        seat.send_text(format!(r#"{{"type":"trip.request","data":{tower}}}"#)).await;
        seat.next("error").await;
        assert_eq!(post_text(&server, &rider, "/trips/request", &tower).await, 400);
    }
    seat.ok("ping", json!({})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_amounts_move_no_money() {
    let server = Server::start().await;
    let (admin, rider) = (Person::admin(&server).await, Person::rider(&server).await);
    let path = format!("/admin/wallets/{}/adjust", rider.id);
    for amount in ["9223372036854775808", "1e30", "0.001", "\"5\"", "NaN", "null", "-1e18"] {
        let body = format!(r#"{{"amount":{amount},"reason":"a gift"}}"#);
        assert_eq!(post_text(&server, &admin, &path, &body).await, 400, "{amount}");
    }
    // Taking what is not there is refused too, with another answer.
    let reply = admin.post(&path, json!({"amount": -5, "reason": "a mistake"})).await;
    assert!((400..500).contains(&reply.status), "{reply:?}");
    assert_eq!(rider.get("/wallet").await.data()["balance"], json!(0));
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_that_are_not_ours_change_nothing() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let ask = json!({
        "pickup": point(CAIRO), "destination": point((30.06, 31.24)), "vehicleType": "economy",
        "status": "completed", "riderId": "0190b8a0-0000-7000-8000-00000000dead",
        "driverId": rider.id, "finalPrice": 0.01, "__proto__": {"price": 0}, "surgeMultiplier": 0,
    });
    let trip = rider.post("/trips/request", ask).await.data()["tripId"].clone();
    let seen = rider.trip(trip.as_str().expect("an id")).await;
    assert_eq!(seen["status"], "requested");
    assert_eq!(seen["riderId"], rider.id.as_str());
    assert_eq!((&seen["driverId"], &seen["finalPrice"]), (&Value::Null, &Value::Null));

    let body = json!({"phone": "01087654321", "password": "tahrir99", "name": "Mona",
        "role": "rider", "id": rider.id, "isAdmin": true, "rating": 5});
    let url = server.url("/api/v1/auth/signup");
    let made = crate::harness::send(&server.http, &url, None, Some(body)).await;
    assert_eq!(made.data()["user"]["role"], "rider");
    assert_ne!(made.data()["user"]["id"], rider.id.as_str());
}
