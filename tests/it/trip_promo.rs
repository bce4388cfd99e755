//! Promo end to end: made by an admin, redeemed, shown, reserved, spent or given back.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{CAIRO, Person, Server, far_from, point};
use crate::trip_money::{booked, complete, postings, scene, started, told, wallet};

const FOREVER: &str = "2099-01-01T00:00:00Z";

async fn code(admin: &Person, name: &str, more: Value) -> Value {
    let mut body =
        json!({"code": name, "reason": "the feast", "budget": 500, "validUntil": FOREVER});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    admin.post("/admin/promo/codes", body).await.data()["code"].clone()
}

async fn redeem(rider: &Person, code: &str) -> Value {
    rider.post("/promo/redeem", json!({"code": code})).await.data()["promos"].clone()
}

/// `uses given` of the newest code.
async fn given(admin: &Person) -> Value {
    let codes = admin.get("/admin/promo/codes").await.data()["codes"].clone();
    json!([codes[0]["uses"], codes[0]["given"]])
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_off_a_cash_trip_of_a_hundred_is_paid_by_the_company() {
    let (server, admin, driver, rider) = scene(100).await;
    code(&admin, "eid2026", json!({"percent": 20, "budget": 1000})).await;
    let mine = redeem(&rider, "Eid2026").await;
    assert_eq!((&mine[0]["code"], &mine[0]["percent"]), (&json!("EID2026"), &json!(20)));
    assert_eq!(mine[0]["tripsLeft"], 1);

    let ask = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 3000.0))});
    let shown = rider.post("/pricing/estimate", ask).await.data()["estimates"][0].clone();
    let promo = json!({"promoId": mine[0]["id"], "amount": 20, "priceAfter": 80});
    assert_eq!((&shown["price"], &shown["promo"]), (&json!(100), &promo));

    let asked = booked(&server, &rider, &driver, json!({})).await;
    assert_eq!(
        (&asked["price"], &asked["promo"], &asked["toPay"]),
        (&json!(100), &json!(20), &json!(80))
    );
    assert_eq!(given(&admin).await, json!([1, 20]), "reserved");
    let trip = asked["tripId"].as_str().expect("an id").to_owned();
    driver.report(CAIRO).await.data();
    for status in ["arrived", "started"] {
        driver.post(&format!("/trips/{trip}/status"), json!({"status": status})).await.data();
    }
    assert_eq!(complete(&driver, &trip).await["toPay"], 80);
    // He has 80 in his hand and earned 85.
    assert_eq!(wallet(&driver).await, json!([5, 0, 0]));
    let posted = ["settle: driver 500, commission 1316, vat 184, promo_expense -2000"];
    assert_eq!(postings(&server, &trip).await, posted);
    let receipt = admin.get(&format!("/trips/{trip}/receipt")).await.data().clone();
    let charge = json!({"fare": 100, "promo": 20, "rounding": 0, "toPay": 80, "paid": 80, "owed": 0,
        "cancelFee": 0, "change": 0, "tip": 0, "refunds": [], "refunded": 0, "total": 80});
    assert_eq!(receipt["charge"], charge);
    assert_eq!(
        (&receipt["earnings"]["total"], &receipt["earnings"]["cash"]),
        (&json!(85), &json!(80))
    );
    assert_eq!(rider.get("/promo").await.data()["promos"], json!([]), "it is used up");
    assert_eq!(given(&admin).await, json!([1, 20]), "spent");
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cash_after_a_promo_is_rounded_to_coins_and_the_rounding_has_its_own_account() {
    let (server, admin, driver, rider) = scene(75).await;
    code(&admin, "THIRD", json!({"percent": 33})).await;
    redeem(&rider, "THIRD").await;
    // 75 − 24.75 = 50.25: halves go up to the next 0.50.
    let trip = started(&server, &rider, &driver, json!({})).await;
    assert_eq!(complete(&driver, &trip).await["toPay"], 50.5);
    let posted =
        ["settle: driver 1325, commission 987, vat 138, adjustments 25, promo_expense -2475"];
    assert_eq!(postings(&server, &trip).await, posted);
    let charge = rider.get(&format!("/trips/{trip}/receipt")).await.data()["charge"].clone();
    assert_eq!((&charge["rounding"], &charge["paid"]), (&json!(0.25), &json!(50.5)));
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promo_that_was_not_ridden_is_given_back() {
    let (server, admin, _driver, rider) = scene(100).await;
    let grant = json!({"userId": rider.id, "amount": 30, "reason": "sorry", "expiresAt": FOREVER});
    let granted = admin.post("/admin/promo/grants", grant).await.data()["promo"].clone();
    assert_eq!(granted["left"], 30);
    assert_eq!(told(&rider).await, ["promo_granted"]);
    let asked = rider.request_trip(CAIRO).await.data().clone();
    assert_eq!((&asked["promo"], &asked["toPay"]), (&json!(30), &json!(70)));
    assert_eq!(rider.get("/promo").await.data()["promos"], json!([]));
    let path = format!("/trips/{}/cancel", asked["tripId"].as_str().expect("an id"));
    rider.post(&path, json!({"reason": "changed_mind"})).await.data();
    assert_eq!(rider.get("/promo").await.data()["promos"][0]["left"], 30);

    // He may keep it for another trip, or name what is not his.
    let ask = |more: Value| {
        let mut body = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 2500.0)),
            "vehicleType": "economy"});
        for (name, value) in more.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        body
    };
    let none = "0190b8a0-0000-7000-8000-00000000dead";
    let refused = rider.post("/trips/request", ask(json!({"promoId": none}))).await;
    refused.refused(409, "PROMO_UNFIT");
    let kept = rider.post("/trips/request", ask(json!({"usePromo": false}))).await.data().clone();
    assert_eq!((&kept["promo"], &kept["toPay"]), (&json!(null), &json!(100)));
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_for_three_trips_is_used_three_times_however_many_ask_at_once() {
    const RIDERS: usize = 12;
    let server = Server::where_trips_cost(100).await;
    let admin = Person::admin(&server).await;
    code(&admin, "THREE", json!({"offMax": 15, "maxUses": 3})).await;
    let riders = join_all((0..RIDERS).map(|_| Person::rider(&server))).await;
    join_all(riders.iter().map(|rider| redeem(rider, "THREE"))).await;
    let asked = join_all(riders.iter().map(|rider| rider.request_trip(CAIRO))).await;
    let with = asked.iter().filter(|reply| reply.status == 201 && reply.data()["promo"] == 15);
    assert_eq!(with.count(), 3, "{asked:?}");
    // The others came too late for it: told so, or booked without.
    for reply in asked.iter().filter(|reply| reply.status != 201) {
        reply.refused(409, "PROMO_UNFIT");
    }
    assert_eq!(given(&admin).await, json!([3, 45]));
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_say_why_they_give_nothing() {
    let (server, admin, _driver, rider) = scene(100).await;
    let reason = async |code: &str| {
        let reply = rider.post("/promo/redeem", json!({"code": code})).await;
        reply.refused(409, "PROMO_UNFIT");
        reply.body["error"]["details"]["reason"].clone()
    };
    assert_eq!(reason("NONE").await, "unknown");
    rider.post("/promo/redeem", json!({"code": "a b"})).await.refused(400, "VALIDATION_FAILED");
    let made = code(&admin, "GONE", json!({"percent": 10})).await;
    let taken = json!({"code": "gone", "reason": "again", "percent": 5, "budget": 50,
        "validUntil": FOREVER});
    admin.post("/admin/promo/codes", taken).await.refused(409, "PROMO_CODE_TAKEN");
    let path = format!("/admin/promo/codes/{}/disable", made["id"].as_str().expect("an id"));
    assert!(admin.post(&path, json!({})).await.data()["code"]["disabledAt"].is_string());
    assert_eq!(reason("GONE").await, "unknown", "as if it had never been");
    for wrong in [
        json!({}),
        json!({"percent": 0}),
        json!({"percent": 101}),
        json!({"offMax": 0}),
        json!({"offMax": 10.005}),
        json!({"percent": 5, "perRider": 0}),
        json!({"percent": 5, "budget": 0}),
        json!({"percent": 5, "budget": null}),
        json!({"percent": 5, "cities": [99]}),
        json!({"percent": 5, "validUntil": "2020-01-01T00:00:00Z"}),
    ] {
        let mut body =
            json!({"code": "WRONG", "reason": "no", "budget": 50, "validUntil": FOREVER});
        for (name, value) in wrong.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        admin.post("/admin/promo/codes", body).await.refused(400, "VALIDATION_FAILED");
    }
    let to = |user: &str, amount: f64| json!({"userId": user, "amount": amount, "reason": "x", "expiresAt": FOREVER});
    for amount in [0.0, -1.0, 10_000.5] {
        let refused = admin.post("/admin/promo/grants", to(&rider.id, amount)).await;
        refused.refused(400, "VALIDATION_FAILED");
    }
    admin.post("/admin/promo/grants", to(&admin.id, 5.0)).await.refused(404, "NOT_FOUND");
    let kinds = admin.get("/admin/audit?objectKind=promo_code").await.data()["entries"].clone();
    assert_eq!(kinds.as_array().map(Vec::len), Some(2), "made and ended: {kinds}");
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_that_was_ended_stays_so_and_who_was_not_answered_is_told() {
    let (server, admin, _driver, _rider) = scene(100).await;
    let made = code(&admin, "GONE", json!({"percent": 10})).await;
    let path = format!("/admin/promo/codes/{}/disable", made["id"].as_str().expect("an id"));
    let ended = admin.post_once(&path, json!({}), "k").await;
    let lose = "UPDATE idempotency SET state = 'applied', status = NULL, answer = NULL, \
                lease_until = now() - interval '1 second'";
    let mut owner = storage::testing::owner(server.db()).await;
    sqlx::query(lose).execute(&mut owner).await.expect("the owner may");
    let again = admin.post_once(&path, json!({}), "k").await;
    assert_eq!((again.status, again.data()), (ended.status, ended.data()));
    let log = admin.get("/admin/audit?objectKind=promo_code").await.data()["entries"].clone();
    assert_eq!(log.as_array().map(Vec::len), Some(2), "made and ended once: {log}");
    server.check_invariants().await;
}
