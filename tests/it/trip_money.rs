//! What a trip costs, to the last piaster: wallet, cash, what could not be paid, tips, fees.
//!
//! Fares are fixed by the test's own tariff; the company has 15 % of them.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use sqlx::PgConnection;

use crate::harness::{
    CAIRO, Outside, Person, Server, Socket, far_from, next_key, online_driver, point,
};
use crate::races::started_trip;

/// Where every trip costs `pounds`: an admin, a driver who waits, a rider.
pub async fn scene(pounds: i64) -> (Server, Person, Person, Person) {
    let server = Server::where_trips_cost(pounds).await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    (server, admin, driver, rider)
}

pub async fn top_up(admin: &Person, user: &Person, amount: f64) {
    let body = json!({"amount": amount, "reason": "test money"});
    admin.post(&format!("/admin/wallets/{}/adjust", user.id), body).await.data();
}

pub async fn wallet(person: &Person) -> Value {
    let wallet = person.get("/wallet").await.data().clone();
    json!([wallet["balance"], wallet["held"], wallet["due"]])
}

/// Books with `more` in the request; the answer.
pub async fn booked(server: &Outside, rider: &Person, driver: &Person, more: Value) -> Value {
    booked_at(server, rider, driver, CAIRO, more).await
}

/// The same elsewhere.
pub async fn booked_at(
    server: &Outside,
    rider: &Person,
    driver: &Person,
    at: (f64, f64),
    more: Value,
) -> Value {
    let mut wheel = Socket::listen(server, driver).await;
    let mut body = json!({"pickup": point(at), "destination": point(far_from(at, 3000.0)),
        "vehicleType": "economy"});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    // Under a key of its own: the same body within seconds is the same trip.
    let asked = rider.post_once("/trips/request", body, &next_key()).await.data().clone();
    wheel.next("offer").await;
    let path = format!("/trips/{}/driver-response", text(&asked["tripId"]));
    driver.post(&path, json!({"action": "accept"})).await.data();
    asked
}

/// The same, and the rider sits in the car; the trip's id.
pub async fn started(server: &Outside, rider: &Person, driver: &Person, more: Value) -> String {
    started_at(server, rider, driver, CAIRO, more).await
}

/// The same elsewhere.
pub async fn started_at(
    server: &Outside,
    rider: &Person,
    driver: &Person,
    at: (f64, f64),
    more: Value,
) -> String {
    let trip = text(&booked_at(server, rider, driver, at, more).await["tripId"]);
    driver.report(at).await.data();
    for status in ["arrived", "started"] {
        driver.post(&format!("/trips/{trip}/status"), json!({"status": status})).await.data();
    }
    trip
}

pub async fn complete(driver: &Person, trip: &str) -> Value {
    let done = json!({"status": "completed"});
    driver.post(&format!("/trips/{trip}/status"), done).await.data().clone()
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

/// The kinds of what the person was told, newest first.
pub async fn told(person: &Person) -> Vec<String> {
    let told = person.get("/notifications").await.data()["notifications"].clone();
    told.as_array().into_iter().flatten().map(|news| text(&news["kind"])).collect()
}

/// `kind: account amount, …` of everything that was posted for the trip, in order.
pub async fn postings(server: &Server, trip: &str) -> Vec<String> {
    postings_of(&mut storage::testing::owner(server.db()).await, trip).await
}

/// The same, asked through a connection of the owner's.
pub async fn postings_of(owner: &mut PgConnection, trip: &str) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT j.kind || ': ' || string_agg(format('%s %s', k.name, e.amount), ', ' \
           ORDER BY e.account) \
         FROM ledger_journal j JOIN ledger_entry e ON e.journal_id = j.id \
         JOIN ledger_account_kind k ON k.id = e.account \
         WHERE j.reference = $1::uuid OR j.parent = $1::uuid \
         GROUP BY j.id, j.kind, j.created_at ORDER BY j.created_at, j.id",
    )
    .bind(trip)
    .fetch_all(owner)
    .await
    .expect("the ledger can be read")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_trip_of_50_leaves_the_rider_50_and_the_driver_42_50() {
    let (server, admin, driver, rider) = scene(50).await;
    top_up(&admin, &rider, 100.0).await;
    let trip = started(&server, &rider, &driver, json!({"paymentMethod": "wallet"})).await;
    assert_eq!(wallet(&rider).await, json!([40, 60, 0]));
    complete(&driver, &trip).await;
    assert_eq!(wallet(&rider).await, json!([50, 0, 0]));
    assert_eq!(wallet(&driver).await, json!([42.5, 0, 0]));
    let posted = [
        "hold: rider_wallet -6000, rider_hold 6000",
        "settle: rider_wallet 1000, rider_hold -6000, driver 4250, commission 658, vat 92",
    ];
    assert_eq!(postings(&server, &trip).await, posted);

    let receipt = rider.get(&format!("/trips/{trip}/receipt")).await.data().clone();
    assert_eq!(receipt["charge"]["paid"], 50);
    assert_eq!(receipt["earnings"], json!(null), "what he earned is the driver's business");
    let receipt = driver.get(&format!("/trips/{trip}/receipt")).await.data().clone();
    assert_eq!(receipt["charge"], json!(null));
    let earned = json!({"fare": 50, "commission": 7.5, "vat": 0.92, "cancelShare": 0, "tip": 0,
        "refunded": 0, "total": 42.5, "cash": 0});
    assert_eq!(receipt["earnings"], earned);
    let both = admin.get(&format!("/trips/{trip}/receipt")).await.data().clone();
    assert_eq!((&both["charge"]["total"], &both["earnings"]), (&json!(50), &earned));
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_completions_at_once_charge_the_wallet_once() {
    let (server, admin, driver, rider) = scene(50).await;
    top_up(&admin, &rider, 100.0).await;
    let trip = started(&server, &rider, &driver, json!({"paymentMethod": "wallet"})).await;
    let path = format!("/trips/{trip}/status");
    let tries = join_all((0..3).map(|_| driver.post(&path, json!({"status": "completed"})))).await;
    let done = tries.iter().filter(|reply| reply.status == 200).count();
    assert_eq!(done, 1, "{tries:?}");
    for reply in tries.iter().filter(|reply| reply.status != 200) {
        reply.refused(409, "INVALID_TRANSITION");
    }
    assert_eq!(wallet(&rider).await, json!([50, 0, 0]));
    assert_eq!(wallet(&driver).await, json!([42.5, 0, 0]));
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_in_the_wallet_do_not_ask_for_a_trip_of_50() {
    let (server, admin, _driver, rider) = scene(50).await;
    top_up(&admin, &rider, 10.0).await;
    let body = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 3000.0)),
        "vehicleType": "economy", "paymentMethod": "wallet"});
    let refused = rider.post("/trips/request", body).await;
    refused.refused(409, "INSUFFICIENT_BALANCE");
    assert_eq!(refused.body["error"]["details"], json!({"available": 10, "price": 50}));
    assert_eq!(wallet(&rider).await, json!([10, 0, 0]));
    server.check_invariants().await;
}

/// A completed wallet trip of 150 whose rider has 60; the server after it.
async fn unpaid_trip() -> (Server, Person, Person, Person, String) {
    let (server, admin, driver, rider) = scene(50).await;
    top_up(&admin, &rider, 60.0).await;
    let trip = started(&server, &rider, &driver, json!({"paymentMethod": "wallet"})).await;
    // The price grew by rule; the trip's owner learns of it when he takes the trip up again.
    sqlx::query("UPDATE trips SET price = 15000")
        .execute(&mut storage::testing::owner(server.db()).await)
        .await
        .expect("the owner may");
    let server = server.restart().await;
    let again = async |person: &Person| Person::log_in(&server, &person.phone, "tahrir99").await;
    let (admin, driver, rider) = (again(&admin).await, again(&driver).await, again(&rider).await);
    let done = complete(&driver, &trip).await;
    assert_eq!(
        (&done["status"], &done["paymentStatus"]),
        (&json!("payment_failed"), &json!("failed"))
    );
    (server, admin, driver, rider, trip)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_no_longer_covers_the_fare_moves_nothing_and_is_paid_after_a_top_up() {
    let (server, admin, driver, rider, trip) = Box::pin(unpaid_trip()).await;
    assert_eq!(wallet(&rider).await, json!([60, 0, 0]), "the hold is back, nothing else moved");
    assert_eq!(wallet(&driver).await, json!([0, 0, 0]));
    let listed = rider.get("/trips?status=payment_failed").await.data()["trips"].clone();
    assert_eq!(listed[0]["id"], trip.as_str());

    // Until it is paid nothing else can be booked, and it can't be tipped.
    let barred = rider.request_trip(CAIRO).await;
    barred.refused(409, "PAYMENT_DUE");
    assert_eq!(barred.body["error"]["details"]["due"], 150);
    let pay = format!("/trips/{trip}/pay");
    let short = rider.post(&pay, json!({})).await;
    short.refused(409, "INSUFFICIENT_BALANCE");
    assert_eq!(short.body["error"]["details"], json!({"available": 60, "price": 150}));
    rider
        .post(&format!("/trips/{trip}/tip"), json!({"amount": 5}))
        .await
        .refused(409, "PAYMENT_DUE");

    // The top-up, its own retry and the rider's button, all at once.
    let more = top_up(&admin, &rider, 100.0);
    let pays = join_all((0..8).map(|_| rider.post(&pay, json!({}))));
    let (_, answers) = tokio::join!(more, pays);
    for answer in answers {
        // Before the money came he was told so.
        if answer.status != 200 {
            answer.refused(409, "INSUFFICIENT_BALANCE");
        }
    }
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while rider.trip(&trip).await["status"] != "completed" {
        tick.tick().await;
    }
    assert_eq!(wallet(&rider).await, json!([10, 0, 0]));
    assert_eq!(wallet(&driver).await, json!([127.5, 0, 0]));
    let posted = [
        "hold: rider_wallet -6000, rider_hold 6000",
        "release: rider_wallet 6000, rider_hold -6000",
        "settle: rider_wallet -15000, driver 12750, commission 1974, vat 276",
    ];
    assert_eq!(postings(&server, &trip).await, posted);
    // Asked once more it is as it is.
    assert_eq!(rider.post(&pay, json!({})).await.data()["paymentStatus"], "paid");
    rider.request_trip(CAIRO).await.data();
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_within_the_limit_is_owed_and_the_next_top_up_pays_it() {
    let (server, admin, driver, rider, trip) = Box::pin(unpaid_trip()).await;
    // 60 and 40 are 50 short: as much as may be owed.
    top_up(&admin, &rider, 40.0).await;
    rider.post(&format!("/trips/{trip}/pay"), json!({})).await.data();
    assert_eq!(wallet(&rider).await, json!([0, 0, 50]));
    assert_eq!(wallet(&driver).await, json!([127.5, 0, 0]));
    let charge = rider.get(&format!("/trips/{trip}/receipt")).await.data()["charge"].clone();
    assert_eq!((&charge["paid"], &charge["owed"]), (&json!(100), &json!(50)));
    let barred = rider.request_trip(CAIRO).await;
    barred.refused(409, "PAYMENT_DUE");
    assert_eq!(barred.body["error"]["details"]["due"], 50);
    top_up(&admin, &rider, 30.0).await;
    assert_eq!(wallet(&rider).await, json!([0, 0, 20]));
    rider.request_trip(CAIRO).await.refused(409, "PAYMENT_DUE");
    top_up(&admin, &rider, 30.0).await;
    assert_eq!(wallet(&rider).await, json!([10, 0, 0]));
    rider.request_trip(CAIRO).await.data();
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_city_may_let_riders_book_who_owe_a_little() {
    let (server, admin, _driver, rider, trip) = Box::pin(unpaid_trip()).await;
    top_up(&admin, &rider, 60.0).await;
    rider.post(&format!("/trips/{trip}/pay"), json!({})).await.data();
    assert_eq!(wallet(&rider).await, json!([0, 0, 30]));
    sqlx::query("UPDATE cities SET booking_due_limit = 3000")
        .execute(&mut storage::testing::owner(server.db()).await)
        .await
        .expect("the owner may");
    let server = server.restart().await;
    let rider = Person::log_in(&server, &rider.phone, "tahrir99").await;
    rider.request_trip(CAIRO).await.data();
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_is_tipped_once() {
    let (server, admin, driver, rider) = scene(50).await;
    top_up(&admin, &rider, 20.0).await;
    let trip = started_trip(&server, &rider, &driver).await;
    let path = format!("/trips/{trip}/tip");
    let tip = |amount: f64| json!({"amount": amount});
    rider.post(&path, tip(10.0)).await.refused(409, "INVALID_TRANSITION");
    complete(&driver, &trip).await;
    for wrong in [0.0, 0.5, -5.0, 500.01] {
        rider.post(&path, tip(wrong)).await.refused(400, "VALIDATION_FAILED");
    }
    rider.post(&path, tip(20.01)).await.refused(409, "INSUFFICIENT_BALANCE");
    Person::rider(&server).await.post(&path, tip(1.0)).await.refused(404, "NOT_FOUND");
    let tries = join_all((0..5).map(|_| rider.post(&path, tip(10.0)))).await;
    assert_eq!(tries.iter().filter(|reply| reply.status == 201).count(), 1, "{tries:?}");
    for reply in tries.iter().filter(|reply| reply.status != 201) {
        reply.refused(409, "ALREADY_DONE");
    }
    rider.post(&path, tip(9.0)).await.refused(409, "ALREADY_DONE");
    assert_eq!(wallet(&rider).await, json!([10, 0, 0]));
    assert_eq!(wallet(&driver).await, json!([2.5, 0, 0]), "of a cash trip he owed 7.50");
    let posted = postings(&server, &trip).await;
    assert_eq!(posted.last().map(String::as_str), Some("tip: rider_wallet -1000, driver 1000"));
    assert!(told(&driver).await.contains(&"tip".to_owned()));
    let charge = rider.get(&format!("/trips/{trip}/receipt")).await.data()["charge"].clone();
    assert_eq!((&charge["tip"], &charge["total"]), (&json!(10), &json!(60)));
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tip_under_a_key_is_answered_again_and_given_once() {
    let (server, admin, driver, rider) = scene(50).await;
    top_up(&admin, &rider, 20.0).await;
    let trip = started_trip(&server, &rider, &driver).await;
    complete(&driver, &trip).await;
    for _ in 0..3 {
        let given = rider.post_once(&format!("/trips/{trip}/tip"), json!({"amount": 5}), "k").await;
        assert_eq!((given.status, &given.data()["amount"]), (201, &json!(5)));
    }
    assert_eq!(wallet(&rider).await, json!([15, 0, 0]));
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cash_that_was_not_the_fare_is_made_good() {
    let server = Server::where_trips_cost(50).await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let (one, two) = (Person::rider(&server).await, Person::rider(&server).await);

    // A hundred for a trip of fifty, said with the completion.
    let trip = started_trip(&server, &one, &driver).await;
    let path = format!("/trips/{trip}/status");
    for wrong in [json!(-1), json!(250.01), json!("100")] {
        let done = json!({"status": "completed", "cashCollected": wrong});
        driver.post(&path, done).await.refused(400, "VALIDATION_FAILED");
    }
    let done = json!({"status": "completed", "cashCollected": 100});
    driver.post(&path, done).await.data();
    assert_eq!(wallet(&one).await, json!([50, 0, 0]));
    assert_eq!(wallet(&driver).await, json!([-57.5, 0, 57.5]));
    let posted = [
        "settle: driver -750, commission 658, vat 92",
        "cash_difference: rider_wallet 5000, driver -5000",
    ];
    assert_eq!(postings(&server, &trip).await, posted);
    let receipt = admin.get(&format!("/trips/{trip}/receipt")).await.data().clone();
    assert_eq!(
        (&receipt["charge"]["paid"], &receipt["charge"]["change"]),
        (&json!(50), &json!(50))
    );
    assert_eq!(
        (&receipt["earnings"]["total"], &receipt["earnings"]["cash"]),
        (&json!(42.5), &json!(100))
    );
    let again = json!({"cashCollected": 40});
    driver.post(&format!("/trips/{trip}/cash"), again).await.refused(409, "ALREADY_DONE");

    // Thirty for a trip of fifty, said afterwards.
    let driver = online_driver(&server, &admin, CAIRO).await;
    let trip = started_trip(&server, &two, &driver).await;
    complete(&driver, &trip).await;
    let path = format!("/trips/{trip}/cash");
    let said = driver.post(&path, json!({"cashCollected": 30})).await.data().clone();
    assert_eq!(
        said,
        json!({"tripId": trip, "toPay": 50, "collected": 30, "change": 0, "short": 20})
    );
    assert_eq!(wallet(&two).await, json!([0, 0, 20]));
    assert_eq!(wallet(&driver).await, json!([12.5, 0, 0]));
    driver.post(&path, json!({"cashCollected": 20})).await.refused(409, "ALREADY_DONE");
    assert!(told(&two).await.contains(&"cash_owed".to_owned()));
    // Elsewhere: the same request within seconds would get its first answer.
    two.request_trip(far_from(CAIRO, 100.0)).await.refused(409, "PAYMENT_DUE");
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_than_may_be_owed_is_refused_with_the_limit() {
    let (server, _, driver, rider) = scene(80).await;
    let trip = started_trip(&server, &rider, &driver).await;
    let done = json!({"status": "completed", "cashCollected": 29.5});
    let refused = driver.post(&format!("/trips/{trip}/status"), done).await;
    refused.refused(409, "DUE_LIMIT");
    assert_eq!(refused.body["error"]["details"], json!({"due": 50.5, "limit": 50}));
    assert_eq!(rider.trip(&trip).await["status"], "started");
    complete(&driver, &trip).await;
    let path = format!("/trips/{trip}/cash");
    driver.post(&path, json!({"cashCollected": 29.5})).await.refused(409, "DUE_LIMIT");
    driver.post(&path, json!({"cashCollected": 30})).await.data();
    assert_eq!(wallet(&rider).await, json!([0, 0, 50]));
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_cancellation_costs_what_the_tier_says() {
    let server = Server::where_trips_cost(50).await;
    let mut owner = storage::testing::owner(server.db()).await;
    sqlx::query(
        "INSERT INTO cancel_rules (city_id, tier, free_cancel_s, cancel_fee, no_show_wait_s, \
           no_show_fee) VALUES (1, 'economy', 0, 2400, 0, 3000)",
    )
    .execute(&mut owner)
    .await
    .expect("the owner may");
    let server = server.restart().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let (rider, absent) = (Person::rider(&server).await, Person::rider(&server).await);
    top_up(&admin, &rider, 6.0).await;
    let trip = text(&booked(&server, &rider, &driver, json!({})).await["tripId"]);
    let ended =
        rider.post(&format!("/trips/{trip}/cancel"), json!({"reason": "changed_mind"})).await;
    assert_eq!(ended.data()["cancelFee"], 24);
    assert_eq!(wallet(&rider).await, json!([0, 0, 18]));
    assert_eq!(wallet(&driver).await, json!([16, 0, 0]));
    let posted =
        ["cancel_fee: rider_wallet -600, rider_due -1800, driver 1600, cancel_revenue 800"];
    assert_eq!(postings(&server, &trip).await, posted);
    let receipt = admin.get(&format!("/trips/{trip}/receipt")).await.data().clone();
    assert_eq!(
        (&receipt["charge"]["cancelFee"], &receipt["charge"]["owed"]),
        (&json!(24), &json!(18))
    );
    assert_eq!(receipt["earnings"]["cancelShare"], 16);

    let trip = text(&booked(&server, &absent, &driver, json!({})).await["tripId"]);
    driver.report(CAIRO).await.data();
    driver.post(&format!("/trips/{trip}/status"), json!({"status": "arrived"})).await.data();
    let gone = json!({"reason": "rider_no_show"});
    assert_eq!(driver.post(&format!("/trips/{trip}/cancel"), gone).await.data()["cancelFee"], 30);
    assert_eq!(wallet(&absent).await, json!([0, 0, 30]));
    server.check_invariants().await;
}
