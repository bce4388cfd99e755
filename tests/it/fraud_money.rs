//! Money that comes in and goes out of accounts that somebody should look at.

use std::time::Duration;

use serde_json::{Value, json};

use crate::acts::completed_trip;
use crate::harness::{
    CAIRO, Person, Reply, Server, Till, Vault, deposit_that_is, fund, online_driver, open,
    withdraw, withdrawal_that_is,
};

fn id_of(reply: &Reply) -> String {
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.data()["request"]["id"].as_str().expect("an id").to_owned()
}

async fn manage(admin: &Person, id: &str, action: &str) -> Reply {
    let body = json!({"requestId": id, "action": action, "reason": "no", "bankReference": "FT-1"});
    admin.post("/payment/withdraw/manage", body).await
}

/// The account's case that is in force, once there is one.
async fn case_of(admin: &Person, user: &Person, rule: &str) -> Value {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        let page = admin.get(&format!("/admin/fraud?status=open&rule={rule}")).await;
        let cases = page.data()["cases"].as_array().expect("a list").clone();
        if let Some(case) = cases.into_iter().find(|case| case["userId"] == json!(user.id)) {
            return case;
        }
        tick.tick().await;
    }
}

async fn decide(admin: &Person, case: &Value, decision: &str) {
    let path = format!("/admin/fraud/{}/decide", case["id"].as_str().expect("an id"));
    admin.post(&path, json!({"decision": decision, "reason": "looked at it"})).await.data();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_withdrawal_waits_and_goes_through_once_cleared() {
    let server = Server::with(|setup| {
        setup.fraud.thresholds = "velocity.hold=2".parse().expect("numbers");
    })
    .await;
    let (admin, driver) = (Person::admin(&server).await, Person::driver(&server).await);
    fund(&admin, &driver, 500.0).await;
    let first = id_of(&withdraw(&driver, 100.0, "one").await);
    manage(&admin, &first, "reject").await.data();
    let id = id_of(&withdraw(&driver, 120.0, "two").await);
    manage(&admin, &id, "approve").await.refused(409, "ACCOUNT_UNDER_REVIEW");
    withdrawal_that_is(&driver, &id, "requested").await;
    let case = case_of(&admin, &driver, "velocity").await;
    decide(&admin, &case, "clear").await;
    for action in ["approve", "sent", "confirm"] {
        manage(&admin, &id, action).await.data();
    }
    withdrawal_that_is(&driver, &id, "confirmed").await;
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_account_takes_nothing_out_and_pays_nothing_in() {
    let till = Till::start().await;
    let (admin, driver) = (Person::admin(&till).await, Person::driver(&till).await);
    fund(&admin, &driver, 500.0).await;
    let body = json!({"platform": "android", "token": "the-same-phone"});
    for person in [&Person::rider(&till).await, &Person::rider(&till).await] {
        person.post("/devices", body.clone()).await.data();
    }
    admin.post("/devices", body.clone()).await.refused(403, "FORBIDDEN");
    Person::rider(&till).await.post("/devices", body.clone()).await.data();
    driver.post("/devices", body).await.data();
    decide(&admin, &case_of(&admin, &driver, "shared_device").await, "confirm").await;
    withdraw(&driver, 100.0, "one").await.refused(409, "ACCOUNT_BLOCKED");
    open(&driver, 100.0, "two").await.refused(409, "ACCOUNT_BLOCKED");
    assert_eq!(driver.get("/wallet").await.data()["balance"], 500);
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_paid_in_today_is_not_taken_out_today() {
    let till = Till::start().await;
    let (admin, driver) = (Person::admin(&till).await, Person::driver(&till).await);
    let order = till.order(&driver, 500.0).await;
    till.gateway.tell(&till.gateway.pay(&order)).await;
    deposit_that_is(&driver, &order, "paid").await;
    let id = id_of(&withdraw(&driver, 450.0, "one").await);
    let case = case_of(&admin, &driver, "deposit_withdraw").await;
    assert_eq!(case["reasons"], json!({"deposited": 500, "withdrawn": 450, "within": "24h"}));
    manage(&admin, &id, "approve").await.refused(409, "ACCOUNT_UNDER_REVIEW");
    manage(&admin, &id, "reject").await.data();
    assert_eq!(driver.get("/wallet").await.data()["balance"], 500);
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawal_that_could_not_be_checked_waits_for_a_person() {
    let server = Server::start().await;
    let (admin, driver) = (Person::admin(&server).await, Person::driver(&server).await);
    fund(&admin, &driver, 500.0).await;
    let mut owner = storage::testing::owner(server.db()).await;
    sqlx::query("ALTER TABLE fraud_counters RENAME TO elsewhere")
        .execute(&mut owner)
        .await
        .expect("the owner may");
    let id = id_of(&withdraw(&driver, 100.0, "one").await);
    let case = case_of(&admin, &driver, "unchecked").await;
    manage(&admin, &id, "approve").await.refused(409, "ACCOUNT_UNDER_REVIEW");
    decide(&admin, &case, "clear").await;
    manage(&admin, &id, "approve").await.data();
    server.check_invariants().await;
}

/// Somebody has to decide about the account from now on.
async fn hold(server: &Server, person: &Person) {
    let mut owner = storage::testing::owner(server.db()).await;
    let case = "INSERT INTO fraud_cases (id, account, rule, action, weight, reasons, opened_at, \
        seen_at) VALUES (gen_random_uuid(), $1::uuid, 'velocity', 'hold', 1, '{}', now(), now())";
    sqlx::query(case).bind(&person.id).execute(&mut owner).await.expect("the owner may");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_held_gives_no_tips() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let (trip, _) = completed_trip(&server, &rider, &driver).await;
    fund(&admin, &rider, 50.0).await;
    let tip = async || rider.post(&format!("/trips/{trip}/tip"), json!({"amount": 10})).await;
    hold(&server, &rider).await;
    tip().await.refused(409, "ACCOUNT_UNDER_REVIEW");
    let case = case_of(&admin, &rider, "velocity").await;
    decide(&admin, &case, "confirm").await;
    tip().await.refused(409, "ACCOUNT_BLOCKED");
    assert_eq!(rider.get("/wallet").await.data()["balance"], 50);
    decide(&admin, &case, "release").await;
    tip().await.data();
    assert_eq!(rider.get("/wallet").await.data()["balance"], 40);
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_approved_before_the_hold_is_not_sent_by_hand() {
    let server = Server::start().await;
    let (admin, driver) = (Person::admin(&server).await, Person::driver(&server).await);
    fund(&admin, &driver, 500.0).await;
    let id = id_of(&withdraw(&driver, 100.0, "one").await);
    manage(&admin, &id, "approve").await.data();
    hold(&server, &driver).await;
    manage(&admin, &id, "sent").await.refused(409, "ACCOUNT_UNDER_REVIEW");
    withdrawal_that_is(&driver, &id, "approved").await;
    decide(&admin, &case_of(&admin, &driver, "velocity").await, "clear").await;
    manage(&admin, &id, "sent").await.data();
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_approved_before_the_hold_waits_for_a_person_and_goes_on_with_his_word() {
    let vault = Vault::start().await;
    let (admin, driver) = (Person::admin(&vault).await, Person::driver(&vault).await);
    fund(&admin, &driver, 500.0).await;
    // Whoever pays out comes later.
    let mut owner = storage::testing::owner(vault.db()).await;
    for sql in [
        "CREATE FUNCTION later() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         NEW.run_at := now() + interval '1 hour'; RETURN NEW; END $$",
        "CREATE TRIGGER later BEFORE INSERT ON jobs FOR EACH ROW WHEN (NEW.kind = 'payout') \
         EXECUTE FUNCTION later()",
    ] {
        sqlx::query(sql).execute(&mut owner).await.expect("the owner may");
    }
    let id = id_of(&withdraw(&driver, 100.0, "one").await);
    manage(&admin, &id, "approve").await.data();
    hold(&vault, &driver).await;
    for sql in [
        "DROP TRIGGER later ON jobs",
        "UPDATE jobs SET run_at = now(), rank_at = now() WHERE kind = 'payout'",
    ] {
        sqlx::query(sql).execute(&mut owner).await.expect("the owner may");
    }
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let letter = loop {
        tick.tick().await;
        let page = admin.get("/admin/dead-letters?status=open").await;
        let letters = page.data()["letters"].as_array().cloned().unwrap_or_default();
        let found = letters.into_iter().find(|letter| letter["payload"]["withdrawalId"] == id);
        if let Some(letter) = found {
            break letter;
        }
    };
    let why = letter["errors"][0]["error"].as_str().expect("a text");
    assert!(why.contains("decide about the account first"), "{why}");
    withdrawal_that_is(&driver, &id, "approved").await;
    assert_eq!(vault.bank.seen("/payouts"), 0);
    let due = "SELECT count(*) FROM withdrawals WHERE look_at < now() + interval '1 hour'";
    let due = async |owner: &mut _| -> i64 {
        sqlx::query_scalar(due).fetch_one(owner).await.expect("a count")
    };
    assert_eq!(due(&mut owner).await, 0);
    decide(&admin, &case_of(&admin, &driver, "velocity").await, "clear").await;
    assert_eq!(due(&mut owner).await, 1, "it is looked at soon");
    let path = format!("/admin/dead-letters/{}/decision", letter["id"].as_str().expect("an id"));
    admin.post(&path, json!({"decision": "retry", "reason": "cleared"})).await.data();
    withdrawal_that_is(&driver, &id, "sent").await;
    vault.check_invariants().await;
}
