//! What admins do with other people's money: exact postings, and four eyes above a limit.

use base::{BasisPoints, Piasters};
use futures_util::future::join_all;
use payments::ActLimits;
use serde_json::{Value, json};

use crate::harness::{CAIRO, Person, Reply, Server, far_from, fund, online_driver, point};
use crate::races::started_trip;

/// One admin alone: 100 pounds at once, 150 a day.
async fn strict() -> Server {
    let limits = ActLimits { alone: Piasters::pounds(100), alone_per_day: Piasters::pounds(150) };
    Server::with(|setup| setup.act_limits = limits).await
}

pub async fn balance(person: &Person) -> Value {
    person.get("/wallet").await.data()["balance"].clone()
}

fn act_of(reply: &Reply) -> (String, String) {
    let act = &reply.data()["act"];
    let text = |name: &str| act[name].as_str().expect("a text").to_owned();
    (text("id"), text("status"))
}

async fn adjust(admin: &Person, user: &Person, amount: f64, key: &str) -> Reply {
    let body = json!({"amount": amount, "reason": "a present"});
    admin.post_once(&format!("/admin/wallets/{}/adjust", user.id), body, key).await
}

/// Again while the server is too busy to say: many wait for the same row at once.
async fn decide(admin: &Person, act: &str, decision: &str) -> Reply {
    let body = json!({"decision": decision, "reason": "looked at"});
    loop {
        let path = format!("/admin/approvals/{act}/decide");
        let reply = admin.post(&path, body.clone()).await;
        if reply.status != 503 {
            return reply;
        }
    }
}

/// A completed trip; its id and what it cost, piasters.
pub async fn completed_trip(server: &Server, rider: &Person, driver: &Person) -> (String, i64) {
    let trip = started_trip(server, rider, driver).await;
    let done = json!({"status": "completed"});
    let view = driver.post(&format!("/trips/{trip}/status"), done).await.data().clone();
    let price = Piasters::parse(&view["finalPrice"].to_string()).expect("a price");
    (trip, price.0)
}

async fn refund(admin: &Person, trip: &str, body: Value, key: &str) -> Reply {
    admin.post_once(&format!("/admin/trips/{trip}/refund"), body, key).await
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_limit_a_second_admin_consents_and_nobody_to_himself() {
    let server = strict().await;
    let (admin, other) = (Person::admin(&server).await, Person::admin(&server).await);
    let rider = Person::rider(&server).await;
    let asked = adjust(&admin, &rider, 100.01, "k").await;
    assert_eq!(asked.status, 202, "{asked:?}");
    assert_eq!(asked.data()["transaction"], Value::Null);
    let (act, status) = act_of(&asked);
    assert_eq!((status.as_str(), balance(&rider).await), ("pending", json!(0)));
    let again = adjust(&admin, &rider, 100.01, "k").await;
    assert_eq!((again.status, again.data()), (202, asked.data()));
    let waiting = other.get("/admin/approvals?status=pending").await;
    assert_eq!(waiting.data()["acts"][0]["id"], json!(act));

    decide(&admin, &act, "approve").await.refused(403, "SECOND_ADMIN_NEEDED");
    rider
        .post(&format!("/admin/approvals/{act}/decide"), json!({"decision": "approve"}))
        .await
        .refused(403, "FORBIDDEN");
    assert_eq!(balance(&rider).await, json!(0));
    // Many say yes at once: it is done once.
    let said = join_all((0..10).map(|_| decide(&other, &act, "approve"))).await;
    assert_eq!(said.iter().filter(|reply| reply.status == 200).count(), 1, "{said:?}");
    for reply in said.iter().filter(|reply| reply.status != 200) {
        reply.refused(409, "INVALID_TRANSITION");
    }
    assert_eq!(balance(&rider).await, json!(100.01));
    decide(&other, &act, "decline").await.refused(409, "INVALID_TRANSITION");
    assert_eq!(
        server.postings("adjustment", &rider.id).await,
        "rider_wallet +10001, adjustments -10001"
    );

    let (declined, _) = act_of(&adjust(&admin, &rider, -100.01, "l").await);
    decide(&other, &declined, "decline").await.data();
    let (taken_back, _) = act_of(&adjust(&admin, &rider, 5000.0, "m").await);
    decide(&admin, &taken_back, "decline").await.data();
    assert_eq!(balance(&rider).await, json!(100.01));
    let log = admin.get(&format!("/admin/audit?objectId={act}&limit=100")).await;
    let actions = log.data()["entries"].as_array().expect("a list").clone();
    let actions: Vec<_> = actions.iter().rev().map(|entry| entry["action"].clone()).collect();
    assert_eq!(actions, [json!("act.ask"), json!("act.read"), json!("act.approve")]);
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_act_in_small_pieces_is_large() {
    let server = strict().await;
    let (admin, other) = (Person::admin(&server).await, Person::admin(&server).await);
    let rider = Person::rider(&server).await;
    // Six of 30 at once: five are within 150.
    let keys: Vec<String> = (0..6).map(|n| n.to_string()).collect();
    let given = join_all(keys.iter().map(|key| adjust(&admin, &rider, 30.0, key))).await;
    assert_eq!(given.iter().filter(|reply| reply.status == 201).count(), 5, "{given:?}");
    assert_eq!(given.iter().filter(|reply| reply.status == 202).count(), 1, "{given:?}");
    assert_eq!(balance(&rider).await, json!(150));
    // Another admin's day is his own; what he takes counts as what he gives.
    assert_eq!(adjust(&other, &rider, -100.0, "take").await.status, 201);
    assert_eq!(adjust(&other, &rider, -50.0, "take more").await.status, 201);
    assert_eq!(adjust(&other, &rider, 0.01, "give").await.status, 202);
    assert_eq!(balance(&rider).await, json!(0));
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_act_whose_answer_got_lost_is_read_and_not_done_again() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    let given = adjust(&admin, &rider, 40.0, "k").await;
    assert_eq!(given.data()["transaction"]["balanceAfter"], 40);
    let mut owner = storage::testing::owner(server.db()).await;
    let lose = "UPDATE idempotency SET state = 'applied', status = NULL, answer = NULL, \
                lease_until = now() - interval '1 second'";
    sqlx::query(lose).execute(&mut owner).await.expect("the owner may");
    let again = adjust(&admin, &rider, 40.0, "k").await;
    assert_eq!((again.status, again.data()), (201, given.data()));
    // Long after: the key is forgotten, what it did is not.
    sqlx::query("DELETE FROM idempotency").execute(&mut owner).await.expect("the owner may");
    adjust(&admin, &rider, 40.0, "k").await.refused(422, "IDEMPOTENCY_KEY_REUSED");
    adjust(&admin, &rider, 41.0, "k").await.refused(422, "IDEMPOTENCY_KEY_REUSED");
    assert_eq!(balance(&rider).await, json!(40));
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_is_given_back_at_the_drivers_fault_in_parts_that_add_up() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let (trip, price) = completed_trip(&server, &rider, &driver).await;
    let settled = server.postings("settle", &trip).await;
    let before = balance(&driver).await.as_f64().expect("an amount");
    let body = |amount: Value| json!({"amount": amount, "fault": "driver", "reason": "a detour"});
    let path = format!("/admin/trips/{trip}/refund");
    admin.post(&path, body(json!(5))).await.refused(400, "IDEMPOTENCY_KEY_REQUIRED");
    let part = refund(&admin, &trip, body(json!(10.01)), "a").await;
    assert_eq!(part.status, 201, "{part:?}");
    assert_eq!(refund(&admin, &trip, body(json!(10.01)), "a").await.data(), part.data());
    assert_eq!(balance(&rider).await, json!(10.01));
    let too_much = json!((price - 1000) as f64 / 100.0);
    refund(&admin, &trip, body(too_much), "b").await.refused(409, "REFUND_TOO_LARGE");
    for wrong in [json!(0), json!(-1), json!(1.001)] {
        refund(&admin, &trip, body(wrong), "wrong").await.refused(400, "VALIDATION_FAILED");
    }
    // The rest, by two at once.
    let rest = json!({"fault": "driver", "reason": "the rest"});
    let rests = [refund(&admin, &trip, rest.clone(), "c"), refund(&admin, &trip, rest, "d")];
    let rests = join_all(rests).await;
    assert_eq!(rests.iter().filter(|reply| reply.status == 201).count(), 1, "{rests:?}");
    rests.iter().find(|reply| reply.status != 201).expect("one").refused(409, "REFUND_TOO_LARGE");
    assert_eq!(balance(&rider).await.as_f64(), Some(price as f64 / 100.0));
    // Cash: the driver had the fare in hand and gave the commission; he has given all of it back.
    let sums = "SELECT string_agg(format('%s %s', name, total), ', ' ORDER BY name) FROM ( \
        SELECT k.name, sum(e.amount) AS total FROM ledger_journal j \
        JOIN ledger_entry e ON e.journal_id = j.id JOIN ledger_account_kind k ON k.id = e.account \
        WHERE j.parent = $1::uuid GROUP BY k.name) s";
    let mut owner = storage::testing::owner(server.db()).await;
    let given_back: String =
        sqlx::query_scalar(sums).bind(&trip).fetch_one(&mut owner).await.expect("sums");
    let gross = Piasters(price).share(BasisPoints(1500));
    let vat = gross.part(14, 114);
    assert_eq!(
        settled,
        format!(
            "driver -{gross}, commission +{commission}, vat +{vat}",
            gross = gross.0,
            commission = (gross - vat).0,
            vat = vat.0
        )
    );
    assert_eq!(
        given_back,
        format!(
            "commission {}, driver {}, rider_wallet {price}, vat {}",
            -(gross - vat).0,
            -(price - gross.0),
            -vat.0
        )
    );
    let after = balance(&driver).await.as_f64().expect("an amount");
    assert!((before - after - (price - gross.0) as f64 / 100.0).abs() < 0.005);
    let told = rider.get("/notifications").await.data()["notifications"].clone();
    let refunded = told.as_array().into_iter().flatten().filter(|one| one["kind"] == "refunded");
    assert_eq!(refunded.count(), 2, "{told}");
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn goodwill_costs_the_company_and_a_due_is_paid_first() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let (trip, _) = completed_trip(&server, &rider, &driver).await;
    let was = balance(&driver).await;
    let body = json!({"amount": 7.5, "fault": "company", "reason": "a long wait"});
    let given = refund(&admin, &trip, body, "k").await;
    let (act, _) = act_of(&given);
    assert_eq!(server.postings("goodwill", &act).await, "rider_wallet +750, refund_contra -750");
    assert_eq!((balance(&rider).await, balance(&driver).await), (json!(7.5), was));
    let lines = rider.get("/wallet/transactions").await.data()["transactions"].clone();
    assert_eq!((&lines[0]["tripId"], &lines[0]["reason"]), (&json!(trip), &json!("a long wait")));
    let nothing = "0190b8a0-0000-7000-8000-00000000dead";
    let all = json!({"fault": "company", "reason": "x"});
    refund(&admin, nothing, all.clone(), "l").await.refused(404, "NOT_FOUND");
    // A trip that nobody paid for has nothing to give back.
    let other = Person::rider(&server).await;
    let booking = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 2000.0)),
        "vehicleType": "economy"});
    let asked = other.post("/trips/request", booking).await.data()["tripId"].clone();
    let asked = asked.as_str().expect("an id");
    refund(&admin, asked, all, "m").await.refused(409, "REFUND_TOO_LARGE");
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_debt_is_given_up_and_no_more_than_that() {
    let server = strict().await;
    let (admin, other) = (Person::admin(&server).await, Person::admin(&server).await);
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let (_, price) = completed_trip(&server, &rider, &driver).await;
    let owed = Piasters(price).share(BasisPoints(1500));
    assert_eq!(balance(&driver).await.as_f64(), Some(-owed.0 as f64 / 100.0));
    let off = async |amount: Value, key: &str| {
        let body = json!({"amount": amount, "reason": "hardship"});
        admin.post_once(&format!("/admin/wallets/{}/write-off", driver.id), body, key).await
    };
    let more = json!((owed.0 + 1) as f64 / 100.0);
    off(more, "a").await.refused(409, "MORE_THAN_OWED");
    off(json!(-1), "b").await.refused(400, "VALIDATION_FAILED");
    let all = json!(owed.0 as f64 / 100.0);
    assert_eq!(off(all, "c").await.status, 201);
    let o = owed.0;
    assert_eq!(
        server.postings("write_off", &driver.id).await,
        format!("driver +{o}, bad_debt -{o}")
    );
    assert_eq!(balance(&driver).await, json!(0));
    // Above the limit it waits, and is refused when it is consented to and nothing is owed.
    let waits = off(json!(101), "d").await;
    assert_eq!(waits.status, 202, "{waits:?}");
    let (act, _) = act_of(&waits);
    decide(&other, &act, "approve").await.refused(409, "MORE_THAN_OWED");
    let still = other.get("/admin/approvals?status=pending").await;
    assert_eq!(still.data()["acts"][0]["id"], json!(act));
    decide(&other, &act, "decline").await.data();
    let path = format!("/admin/wallets/{}/write-off", other.id);
    let own = admin.post_once(&path, json!({"amount": 1, "reason": "x"}), "e").await;
    own.refused(404, "NOT_FOUND");
    fund(&admin, &rider, 5.0).await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_above_the_limit_waits_and_is_done_with_the_second_word() {
    let server = Server::with(|setup| {
        setup.act_limits = ActLimits { alone: Piasters(500), alone_per_day: Piasters(100_000) };
    })
    .await;
    let (admin, other) = (Person::admin(&server).await, Person::admin(&server).await);
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let (trip, price) = completed_trip(&server, &rider, &driver).await;
    let all = json!({"fault": "driver", "reason": "never taken"});
    let waits = refund(&admin, &trip, all, "a").await;
    assert_eq!((waits.status, balance(&rider).await), (202, json!(0)));
    let (act, _) = act_of(&waits);
    let said = decide(&other, &act, "approve").await;
    assert_eq!(said.data()["act"]["status"], "approved");
    assert_eq!(balance(&rider).await.as_f64(), Some(price as f64 / 100.0));
    assert!(server.postings("refund", &act).await.starts_with(&format!("rider_wallet +{price}, ")));
    server.check_invariants().await;
}

const FOREVER: &str = "2099-01-01T00:00:00Z";

#[tokio::test(flavor = "multi_thread")]
async fn presents_for_trips_are_counted_as_money_is() {
    let server = strict().await;
    let (admin, other) = (Person::admin(&server).await, Person::admin(&server).await);
    let rider = Person::rider(&server).await;
    let give = async |amount: f64, key: &str| {
        let body = json!({"userId": rider.id, "amount": amount, "reason": "sorry",
            "expiresAt": FOREVER});
        admin.post_once("/admin/promo/grants", body, key).await
    };
    let has = async || {
        let mine = rider.get("/promo").await.data()["promos"].clone();
        let left = mine.as_array().into_iter().flatten().filter_map(|one| one["left"].as_i64());
        let mut left: Vec<i64> = left.collect();
        left.sort_unstable();
        left
    };
    assert_eq!(give(100.0, "a").await.status, 201);
    let waits = give(60.0, "b").await;
    assert_eq!((waits.status, &waits.data()["promo"]), (202, &Value::Null));
    assert_eq!(give(60.0, "b").await.data(), waits.data(), "the same key");
    // What was given in trips is gone for wallets too.
    let (gift, _) = act_of(&adjust(&admin, &rider, 60.0, "c").await);
    assert_eq!((has().await, balance(&rider).await), (vec![100], json!(0)));
    let (act, _) = act_of(&waits);
    decide(&admin, &act, "approve").await.refused(403, "SECOND_ADMIN_NEEDED");
    decide(&other, &act, "approve").await.data();
    decide(&other, &act, "approve").await.refused(409, "INVALID_TRANSITION");
    decide(&other, &gift, "decline").await.data();
    assert_eq!(has().await, [60, 100]);
    // One that came to its end while it waited gives nothing.
    let (late, _) = act_of(&give(70.0, "d").await);
    let mut owner = storage::testing::owner(server.db()).await;
    let over = "UPDATE admin_acts SET details = jsonb_build_object('grant', \
        jsonb_build_object('expiresAt', '2020-01-01T00:00:00.000Z')) WHERE id = $1::uuid";
    // An act is changed by its decision only.
    sqlx::query("ALTER TABLE admin_acts DISABLE TRIGGER USER")
        .execute(&mut owner)
        .await
        .expect("it");
    sqlx::query(over).bind(&late).execute(&mut owner).await.expect("the owner may");
    sqlx::query("ALTER TABLE admin_acts ENABLE TRIGGER USER")
        .execute(&mut owner)
        .await
        .expect("it");
    decide(&other, &late, "approve").await.refused(400, "VALIDATION_FAILED");
    let log = admin.get("/admin/audit?action=promo.grant").await;
    assert_eq!(log.data()["entries"].as_array().map(Vec::len), Some(1), "{log:?}");
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_campaign_is_worth_its_budget_and_waits_closed() {
    let server = strict().await;
    let (admin, other) = (Person::admin(&server).await, Person::admin(&server).await);
    let rider = Person::rider(&server).await;
    let make = async |code: &str, budget: f64| {
        let body = json!({"code": code, "reason": "the feast", "percent": 20, "budget": budget,
            "validUntil": FOREVER});
        admin.post_once("/admin/promo/codes", body, code).await
    };
    let redeem = async |code: &str| rider.post("/promo/redeem", json!({"code": code})).await;
    let small = make("SMALL", 100.0).await;
    assert_eq!(small.status, 201, "{small:?}");
    assert!(small.data()["code"]["openedAt"].is_string(), "{small:?}");
    redeem("SMALL").await.data();
    let large = make("LARGE", 5000.0).await;
    assert_eq!((large.status, &large.data()["code"]["openedAt"]), (202, &Value::Null));
    assert_eq!(make("LARGE", 5000.0).await.data(), large.data(), "the same key");
    redeem("LARGE").await.refused(409, "PROMO_UNFIT");
    let (act, _) = act_of(&large);
    decide(&admin, &act, "approve").await.refused(403, "SECOND_ADMIN_NEEDED");
    redeem("LARGE").await.refused(409, "PROMO_UNFIT");
    decide(&other, &act, "approve").await.data();
    redeem("LARGE").await.data();
    // One that is ended while it waits is never opened.
    let ended = make("ENDED", 5000.0).await;
    let id = ended.data()["code"]["id"].as_str().expect("an id").to_owned();
    admin.post(&format!("/admin/promo/codes/{id}/disable"), json!({})).await.data();
    let (act, _) = act_of(&ended);
    decide(&other, &act, "approve").await.refused(409, "INVALID_TRANSITION");
    decide(&other, &act, "decline").await.data();
    redeem("ENDED").await.refused(409, "PROMO_UNFIT");
    server.check_invariants().await;
}
