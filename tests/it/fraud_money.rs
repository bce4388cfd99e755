//! Money that comes in and goes out of accounts that somebody should look at.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    Person, Reply, Server, Till, deposit_that_is, fund, open, withdraw, withdrawal_that_is,
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
