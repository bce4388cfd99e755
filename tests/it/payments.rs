//! Money end to end (PLAN-SEED 10.4, as corrected): what a trip costs is what moves, once.

use serde_json::{Value, json};

use crate::harness::{CAIRO, Person, Server, far_from, online_driver, point};
use crate::races::started_trip;

/// A wallet of `amount` pounds, given by an admin.
async fn top_up(admin: &Person, user: &Person, amount: f64) {
    let body = json!({"amount": amount, "reason": "test money"});
    let path = format!("/admin/wallets/{}/adjust", user.id);
    assert_eq!(admin.post(&path, body).await.status, 201);
}

async fn money(person: &Person, field: &str) -> f64 {
    person.get("/wallet").await.data()[field].as_f64().expect("an amount")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_trip_holds_then_pays_rider_to_driver() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    top_up(&admin, &rider, 100.0).await;

    let body = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 3000.0)),
        "vehicleType": "economy", "paymentMethod": "wallet"});
    let mut wheel = crate::harness::Socket::open(&server, &driver).await;
    let asked = rider.post("/trips/request", body).await;
    assert_eq!(asked.status, 201, "{asked:?}");
    let price = asked.data()["price"].as_f64().expect("a price");
    let trip = asked.data()["tripId"].as_str().expect("an id").to_owned();
    let held = money(&rider, "held").await;
    assert!((held - (price * 1.2).min(100.0)).abs() < 0.01, "held {held} of {price}");
    assert!((money(&rider, "balance").await - (100.0 - held)).abs() < 0.005);

    wheel.next("offer").await;
    let path = format!("/trips/{trip}/driver-response");
    driver.post(&path, json!({"action": "accept"})).await.data();
    driver.report(CAIRO).await.data();
    for status in ["arrived", "started", "completed"] {
        driver.post(&format!("/trips/{trip}/status"), json!({"status": status})).await.data();
    }
    assert!((money(&rider, "balance").await - (100.0 - price)).abs() < 0.005);
    assert_eq!(money(&rider, "held").await, 0.0);
    assert!((money(&driver, "balance").await - price * 0.85).abs() < 0.011);
    assert_eq!(rider.trip(&trip).await["paymentStatus"], "paid");
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_does_not_cover_the_price_is_refused_when_asked() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    top_up(&admin, &rider, 10.0).await;
    let body = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 9000.0)),
        "vehicleType": "economy", "paymentMethod": "wallet"});
    rider.post("/trips/request", body).await.refused(409, "INSUFFICIENT_BALANCE");
    assert_eq!(money(&rider, "balance").await, 10.0);
    assert_eq!(money(&rider, "held").await, 0.0);
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_search_gives_the_hold_back() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    top_up(&admin, &rider, 100.0).await;
    let body = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 3000.0)),
        "vehicleType": "economy", "paymentMethod": "wallet"});
    let trip = rider.post("/trips/request", body).await.data()["tripId"].clone();
    assert!(money(&rider, "held").await > 0.0);
    let path = format!("/trips/{}/cancel-search", trip.as_str().expect("an id"));
    rider.post(&path, json!({})).await.data();
    assert_eq!(money(&rider, "held").await, 0.0);
    assert_eq!(money(&rider, "balance").await, 100.0);
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_quoted_price_is_the_price_and_a_changed_one_is_refused() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let ask = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 5000.0))});
    let estimates = rider.post("/pricing/estimate", ask.clone()).await.data()["estimates"].clone();
    assert_eq!(estimates.as_array().map(Vec::len), Some(4), "every tier: {estimates}");
    let economy = &estimates[0];
    assert_eq!(economy["vehicleType"], "economy");

    let mut booking = ask;
    booking["vehicleType"] = json!("economy");
    booking["quoteId"] = economy["quoteId"].clone();
    booking["price"] = json!(1);
    let refused = rider.post("/trips/request", booking.clone()).await;
    refused.refused(409, "PRICE_CHANGED");
    assert!(refused.body["error"]["details"]["quote"]["quoteId"].is_string());

    booking["price"] = economy["price"].clone();
    let mut forged = booking.clone();
    forged["quoteId"] = json!(format!("{}x", economy["quoteId"].as_str().expect("an id")));
    rider.post("/trips/request", forged).await.refused(409, "QUOTE_INVALID");
    let booked = rider.post("/trips/request", booking).await;
    assert_eq!(booked.data()["price"], economy["price"]);
    let path = format!("/trips/{}/cancel", booked.data()["tripId"].as_str().expect("an id"));
    rider.post(&path, json!({"reason": "changed_mind"})).await.data();

    let trip = started_trip(&server, &rider, &driver).await;
    let done = json!({"status": "completed"});
    driver.post(&format!("/trips/{trip}/status"), done).await.data();
    let view = rider.trip(&trip).await;
    assert_eq!(view["finalPrice"], view["price"]);
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adjustment_needs_an_admin_and_a_sane_amount() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    let path = format!("/admin/wallets/{}/adjust", rider.id);
    let body = json!({"amount": 10, "reason": "please"});
    rider.post(&path, body).await.refused(403, "FORBIDDEN");
    for wrong in [json!(0), json!(1.005), json!("10"), json!(1e9)] {
        let body = json!({"amount": wrong, "reason": "no"});
        admin.post(&path, body).await.refused(400, "VALIDATION_FAILED");
    }
    // A rider's wallet never goes below zero, not even by an admin's hand.
    let body = json!({"amount": -5, "reason": "no"});
    admin.post(&path, body).await.refused(409, "INSUFFICIENT_BALANCE");
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_adjustment_with_a_key_happens_once_and_the_key_is_for_it_alone() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    let adjust = |amount: i32| {
        let path = format!("/api/v1/admin/wallets/{}/adjust", rider.id);
        let request = server.http.post(server.url(&path)).bearer_auth(&admin.token);
        let request = request.header("idempotency-key", "one-and-only");
        request.json(&json!({"amount": amount, "reason": "a present"})).send()
    };
    for _ in 0..3 {
        assert_eq!(adjust(10).await.expect("an answer").status().as_u16(), 201);
    }
    let other = adjust(11).await.expect("an answer");
    assert_eq!(other.status().as_u16(), 422);
    let body: Value = other.json().await.expect("JSON");
    assert_eq!(body["error"]["code"], "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(money(&rider, "balance").await, 10.0);
    server.check_invariants().await;
}

/// What dispatch said about `driver` when it looked for somebody to drive `trip`.
async fn gates(admin: &Person, trip: &str, driver: &Person) -> String {
    let path = format!("/admin/trips/{trip}/dispatch-trace");
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(20));
    loop {
        let trace = admin.get(&path).await.data().to_string();
        if trace.contains(&driver.id) {
            return trace;
        }
        tick.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_past_his_debt_limit_is_told_and_gets_no_cash_trips_until_he_pays() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let riders =
        [Person::rider(&server).await, Person::rider(&server).await, Person::rider(&server).await];
    // He was given too much cash once, and owes a piaster less than he may.
    let owed = ledger::CashTaken {
        trip: base::TripId::new(),
        rider: riders[2].id.parse().expect("an id"),
        driver: driver.id.parse().expect("an id"),
        to_pay: base::Piasters::ZERO,
        taken: base::Piasters(19_999),
        due_limit: base::Piasters::ZERO,
    };
    let owed = ledger::cash_difference(&owed, &ledger::RiderFunds::default());
    let owed = owed.expect("too much").expect("a journal");
    let mut tx = server.db().begin_writer().await.expect("a transaction");
    ledger::post_in_tx(&mut tx, &owed).await.expect("posted");
    tx.commit().await.expect("committed");

    let trip = started_trip(&server, &riders[0], &driver).await;
    driver.post(&format!("/trips/{trip}/status"), json!({"status": "completed"})).await.data();
    assert!(money(&driver, "due").await > 200.0);
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(20));
    let told = loop {
        let list = driver.get("/notifications").await.data()["notifications"].clone();
        if let Some(told) = list.as_array().and_then(|list| list.first()) {
            break told.clone();
        }
        tick.tick().await;
    };
    assert_eq!(told["kind"], "debt_limit", "{told}");

    let asked = riders[1].request_trip(CAIRO).await.data()["tripId"].clone();
    let said = gates(&admin, asked.as_str().expect("an id"), &driver).await;
    assert!(said.contains("in_debt"), "{said}");
    top_up(&admin, &driver, 50.0).await;
    let asked = riders[2].request_trip(CAIRO).await.data()["tripId"].clone();
    let said = gates(&admin, asked.as_str().expect("an id"), &driver).await;
    assert!(!said.contains("in_debt"), "{said}");
}
