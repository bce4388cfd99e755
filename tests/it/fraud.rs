//! Accounts that somebody should look at: held, cleared, blocked, and a day that is nobody's
//! business.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{CAIRO, Person, Server, Socket, far_from, online_driver, point};

/// A place `metres` away, never the same: a body that comes again within seconds is the same
/// request.
fn another_place(metres: f64) -> Value {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    point(far_from(CAIRO, metres + f64::from(ASKED.fetch_add(1, Ordering::Relaxed)) * 0.1))
}

/// Asks for a wallet trip of some three kilometres and gives it up again.
async fn book(rider: &Person) -> crate::harness::Reply {
    let body = json!({"pickup": point(CAIRO), "destination": another_place(3000.0),
        "vehicleType": "economy", "paymentMethod": "wallet"});
    let reply = rider.post("/trips/request", body).await;
    if let Some(trip) = reply.body["data"]["tripId"].as_str() {
        rider.post(&format!("/trips/{trip}/cancel-search"), json!({})).await.data();
    }
    reply
}

async fn top_up(admin: &Person, user: &Person, amount: u32) {
    let body = json!({"amount": amount, "reason": "test money"});
    admin.post(&format!("/admin/wallets/{}/adjust", user.id), body).await.data();
}

async fn cases(admin: &Person, query: &str) -> Vec<Value> {
    let reply = admin.get(&format!("/admin/fraud?limit=100{query}")).await;
    reply.data()["cases"].as_array().expect("a list").clone()
}

/// The account's case of this rule, once there is one.
async fn case_of(admin: &Person, user: &Person, rule: &str) -> Value {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        let found = cases(admin, &format!("&rule={rule}")).await;
        if let Some(case) = found.into_iter().find(|case| case["userId"] == json!(user.id)) {
            return case;
        }
        tick.tick().await;
    }
}

async fn decide(admin: &Person, case: &Value, decision: &str) -> crate::harness::Reply {
    let path = format!("/admin/fraud/{}/decide", case["id"].as_str().expect("an id"));
    admin.post(&path, json!({"decision": decision, "reason": "looked at it"})).await
}

/// Kinds of what a person was told, newest first.
async fn told(person: &Person) -> Vec<String> {
    let list = person.get("/notifications?limit=100").await;
    let list = list.data()["notifications"].as_array().expect("a list").clone();
    let kinds = list.iter().map(|one| one["kind"].as_str().unwrap_or_default().to_owned());
    kinds.filter(|kind| kind.starts_with("account")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_moves_too_often_waits_until_it_is_cleared() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    top_up(&admin, &rider, 500).await;
    for _ in 0..10 {
        book(&rider).await.data();
    }
    let refused = book(&rider).await;
    refused.refused(409, "ACCOUNT_UNDER_REVIEW");
    assert_eq!(refused.body["error"]["details"], json!({}), "he is not told which rule");
    assert_eq!(rider.get("/wallet").await.data()["held"], 0);
    // Cash was never the question.
    let cash = rider.request_trip(CAIRO).await;
    let trip = cash.data()["tripId"].as_str().expect("an id").to_owned();
    rider.post(&format!("/trips/{trip}/cancel-search"), json!({})).await.data();

    let case = case_of(&admin, &rider, "velocity").await;
    assert_eq!((&case["action"], &case["status"]), (&json!("hold"), &json!("open")));
    assert_eq!(case["reasons"]["movements"], 11);
    assert_eq!(told(&rider).await, ["account_held"]);
    decide(&admin, &case, "release").await.refused(409, "INVALID_TRANSITION");
    let cleared = decide(&admin, &case, "clear").await;
    assert_eq!(cleared.data()["status"], "cleared");
    assert_eq!(cleared.data()["decidedBy"], json!(admin.id));
    decide(&admin, &case, "confirm").await.refused(409, "INVALID_TRANSITION");
    assert_eq!(told(&rider).await, ["account_released", "account_held"]);
    book(&rider).await.data();
    assert_eq!(cases(&admin, "&status=open").await, [json!(null); 0]);
    let log = admin.get("/admin/audit?action=fraud.clear").await;
    assert_eq!(log.data()["entries"][0]["object"]["id"], case["id"]);
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_bookings_at_once_do_not_slip_under_the_limit() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    top_up(&admin, &rider, 500).await;
    for _ in 0..9 {
        book(&rider).await.data();
    }
    // Six different trips at once: one more is within the limit.
    let asking = (0..6).map(|_| {
        let body = json!({"pickup": point(CAIRO), "destination": another_place(3000.0),
            "vehicleType": "economy", "paymentMethod": "wallet"});
        rider.post("/trips/request", body)
    });
    let said = futures_util::future::join_all(asking).await;
    let code = |code: &str| said.iter().filter(|reply| reply.code() == code).count();
    assert_eq!(code("ACCOUNT_UNDER_REVIEW"), 5, "{said:?}");
    assert_eq!(code(""), 1, "{said:?}");
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_account_moves_no_money_and_is_offered_no_trip() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    top_up(&admin, &rider, 500).await;
    // Four accounts on one phone: the fourth is flagged, which changes nothing for it.
    let body = json!({"platform": "android", "token": "the-same-phone"});
    for person in [&Person::rider(&server).await, &Person::rider(&server).await, &driver, &rider] {
        person.post("/devices", body.clone()).await.data();
    }
    let case = case_of(&admin, &rider, "shared_device").await;
    assert_eq!((&case["action"], &case["reasons"]["accounts"]), (&json!("flag"), &json!(4)));
    assert_eq!(told(&rider).await, [""; 0]);
    book(&rider).await.data();
    decide(&admin, &case, "confirm").await.data();
    book(&rider).await.refused(409, "ACCOUNT_BLOCKED");
    assert_eq!(told(&rider).await, ["account_held"]);

    // The driver on it too: dispatch leaves him out, and says why.
    driver.post("/devices", body).await.data();
    let case = case_of(&admin, &driver, "shared_device").await;
    decide(&admin, &case, "confirm").await.data();
    let trip = rider.request_trip(CAIRO).await.data()["tripId"].clone();
    let trip = trip.as_str().expect("an id").to_owned();
    let verdict = async |expected: &str| {
        let path = format!("/admin/trips/{trip}/dispatch-trace");
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            let trace = admin.get(&path).await.data()["trace"].clone();
            let lines = trace.as_array().expect("a list").clone();
            if lines.iter().any(|line| line["verdict"] == expected) {
                return lines;
            }
            tick.tick().await;
        }
    };
    let lines = verdict("fraud").await;
    assert!(lines.iter().all(|line| line["verdict"] == "fraud"), "{lines:?}");
    let mut wheel = Socket::open(&server, &driver).await;
    decide(&admin, &case, "release").await.data();
    driver.report(CAIRO).await.data();
    wheel.next("offer").await;
    assert_eq!(told(&driver).await, ["account_released", "account_held"]);
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trips_that_go_nowhere_again_and_again_are_seen_on_both() {
    let server = Server::with(|setup| {
        setup.fleet.cooldown = Some(Duration::ZERO);
    })
    .await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let mut wheel = Socket::open(&server, &driver).await;
    for _ in 0..3 {
        let body = json!({"pickup": point(CAIRO), "destination": another_place(200.0),
            "vehicleType": "economy"});
        drive(&rider, &driver, &mut wheel, body).await;
    }
    for (person, other) in [(&rider, &driver), (&driver, &rider)] {
        let case = case_of(&admin, person, "circular_trips").await;
        assert_eq!(case["action"], "flag");
        assert_eq!(case["reasons"], json!({"trips": 3, "with": other.id, "within": "24h"}));
    }
    server.check_invariants().await;
}

/// One trip from the request to its end.
async fn drive(rider: &Person, driver: &Person, wheel: &mut Socket, body: Value) {
    driver.report(CAIRO).await.data();
    let asked = rider.post("/trips/request", body).await;
    let trip = asked.data()["tripId"].as_str().expect("an id").to_owned();
    let offer = wheel.next("offer").await;
    assert_eq!(offer["data"]["tripId"], json!(trip));
    driver
        .post(&format!("/trips/{trip}/driver-response"), json!({"action": "accept"}))
        .await
        .data();
    for status in ["arrived", "started", "completed"] {
        driver.post(&format!("/trips/{trip}/status"), json!({"status": status})).await.data();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_day_raises_nothing() {
    let server = Server::with(|setup| {
        setup.fleet.cooldown = Some(Duration::ZERO);
    })
    .await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    // He may owe what thirty cash trips cost him in commission.
    top_up(&admin, &driver, 2000).await;
    let body = json!({"platform": "android", "token": "his-own-phone"});
    driver.post("/devices", body).await.data();
    let mut wheel = Socket::open(&server, &driver).await;
    for number in 0..30_u32 {
        let rider = Person::rider(&server).await;
        let to = far_from(CAIRO, 2000.0 + f64::from(number) * 100.0);
        let body = json!({"pickup": point(CAIRO), "destination": point(to),
            "vehicleType": "economy"});
        drive(&rider, &driver, &mut wheel, body).await;
    }
    until_followed_up(&server).await;
    assert_eq!(cases(&admin, "").await, [json!(null); 0]);
    server.check_invariants().await;
}

/// Waits until every fact was told and every account looked at.
async fn until_followed_up(server: &Server) {
    let mut owner = storage::testing::owner(server.db()).await;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        let left: i64 = sqlx::query_scalar(
            "SELECT (SELECT count(*) FROM outbox) \
               + (SELECT count(*) FROM jobs WHERE kind = 'fraud_watch')",
        )
        .fetch_one(&mut owner)
        .await
        .expect("counted");
        if left == 0 {
            return;
        }
        tick.tick().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_is_not_there_tried_again_and_again_is_seen() {
    let server = Server::with(|setup| {
        let set = "velocity.hold=0,velocity.block=0,refused.hold=12";
        setup.fraud.thresholds = set.parse().expect("numbers");
    })
    .await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    for _ in 0..9 {
        book(&rider).await.refused(409, "INSUFFICIENT_BALANCE");
    }
    assert_eq!(cases(&admin, "").await, [json!(null); 0]);
    book(&rider).await.refused(409, "INSUFFICIENT_BALANCE");
    assert_eq!(case_of(&admin, &rider, "refused_postings").await["action"], "flag");
    for _ in 0..2 {
        book(&rider).await.refused(409, "INSUFFICIENT_BALANCE");
    }
    book(&rider).await.refused(409, "ACCOUNT_UNDER_REVIEW");
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn operators_page_through_the_queue() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let body = json!({"platform": "ios", "token": "a-shared-phone"});
    for _ in 0..6 {
        Person::rider(&server).await.post("/devices", body.clone()).await.data();
    }
    let first = admin.get("/admin/fraud?status=open&rule=shared_device&limit=2").await;
    assert_eq!(first.data()["cases"].as_array().map(Vec::len), Some(2));
    let cursor = first.data()["nextCursor"].as_str().expect("there is more").to_owned();
    let rest = admin.get(&format!("/admin/fraud?limit=2&cursor={cursor}")).await;
    assert_eq!(rest.data()["cases"].as_array().map(Vec::len), Some(1));
    assert_eq!(rest.data()["nextCursor"], json!(null));
    let first = &first.data()["cases"];
    let times = [&first[0], &first[1], &rest.data()["cases"][0]].map(|case| &case["openedAt"]);
    assert!(times[0].as_str() >= times[1].as_str() && times[1].as_str() >= times[2].as_str());
    admin.get("/admin/fraud?rule=none").await.refused(400, "VALIDATION_FAILED");
    let none = admin.get("/admin/fraud?status=confirmed").await;
    assert_eq!(none.data()["cases"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_that_breaks_holds_up_no_trip() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    top_up(&admin, &rider, 500).await;
    let mut owner = storage::testing::owner(server.db()).await;
    sqlx::query("ALTER TABLE fraud_counters RENAME TO elsewhere")
        .execute(&mut owner)
        .await
        .expect("the owner may");
    book(&rider).await.data();
    sqlx::query("ALTER TABLE elsewhere RENAME TO fraud_counters")
        .execute(&mut owner)
        .await
        .expect("the owner may");
    book(&rider).await.data();
    server.check_invariants().await;
}
