//! Money that nobody had asked for finds its owner; what the gateway pays out is booked.

use base::Piasters;
use futures_util::future::join_all;
use payments::ActLimits;
use serde_json::{Value, json};

use crate::acts::balance;
use crate::harness::{Person, Reply, Till};

/// One admin alone: 100 pounds at once.
async fn strict() -> Till {
    let limits = ActLimits { alone: Piasters::pounds(100), alone_per_day: Piasters::pounds(1000) };
    Till::with(|setup| setup.act_limits = limits).await
}

/// Somebody pays so many pounds under a name that nobody gave; the capture as it waits.
async fn stranger_pays(till: &Till, admin: &Person, rider: &Person, pounds: i64) -> Value {
    let order = till.order(rider, 40.0).await;
    let mut told = till.gateway.pay(&order);
    let name = format!("dep-nobodys-{pounds}");
    (told.data["merchantOrderId"], told.data["amount"]) = (json!(name), json!(pounds));
    till.gateway.sign(&mut told);
    assert_eq!(till.gateway.tell(&told).await, 200);
    assert!(till.letter(admin, "orderId", &name).await.starts_with("unknown_order"));
    let waiting = admin.get("/admin/suspense").await.data()["captures"][0].clone();
    assert_eq!(waiting["transaction"], told.data["transactionId"]);
    assert_eq!(
        (&waiting["why"], &waiting["amount"]),
        (&json!("unknown_order"), &json!(pounds)),
        "{waiting}"
    );
    waiting
}

async fn resolve(admin: &Person, capture: &Value, to: &str, key: &str) -> Reply {
    let id = capture["captureId"].as_str().expect("an id");
    let body = json!({"to": to, "reason": "the bank says whose it is"});
    admin.post_once(&format!("/admin/suspense/{id}/resolve"), body, key).await
}

fn act_of(reply: &Reply) -> String {
    reply.data()["act"]["id"].as_str().expect("an id").to_owned()
}

async fn approve(admin: &Person, act: &str) -> Reply {
    let yes = json!({"decision": "approve", "reason": "seen"});
    admin.post(&format!("/admin/approvals/{act}/decide"), yes).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_in_suspense_is_given_to_its_owner_once() {
    let till = strict().await;
    let (admin, other) = (Person::admin(&till).await, Person::admin(&till).await);
    let (rider, driver) = (Person::rider(&till).await, Person::driver(&till).await);
    assert_eq!(admin.get("/admin/suspense").await.data()["captures"], json!([]));
    let small = stranger_pays(&till, &admin, &rider, 44).await;
    let id = small["captureId"].as_str().expect("an id").to_owned();
    for to in ["", "nobody", admin.id.as_str(), "0190b8a0-0000-7000-8000-00000000dead"] {
        resolve(&admin, &small, to, &format!("to {to}")).await.refused(400, "VALIDATION_FAILED");
    }
    // Many at once: one of them.
    let keys: Vec<String> = (0..8).map(|key| key.to_string()).collect();
    let given = join_all(keys.iter().map(|key| resolve(&admin, &small, &rider.id, key))).await;
    assert_eq!(given.iter().filter(|reply| reply.status == 201).count(), 1, "{given:?}");
    for reply in given.iter().filter(|reply| reply.status != 201) {
        reply.refused(409, "INVALID_TRANSITION");
    }
    assert_eq!(till.postings("suspense_resolved", &id).await, "rider_wallet +4400, suspense -4400");
    assert_eq!((balance(&rider).await, till.suspense().await), (json!(44), 0));
    assert_eq!(admin.get("/admin/suspense").await.data()["captures"], json!([]));
    let log = admin.get(&format!("/admin/audit?objectId={id}&action=suspense.resolve")).await;
    assert_eq!(log.data()["entries"].as_array().map(Vec::len), Some(1), "{log:?}");
    let told = rider.get("/notifications").await.data()["notifications"][0].clone();
    assert_eq!(told["kind"], "payment_succeeded", "{told}");

    // Above the limit by two, and not twice: two of them wait, one is done.
    let large = stranger_pays(&till, &admin, &rider, 400).await;
    let waits = resolve(&admin, &large, &driver.id, "large").await;
    assert_eq!((waits.status, balance(&driver).await), (202, json!(0)));
    let again = resolve(&admin, &large, &rider.id, "again").await;
    assert_eq!(again.status, 202, "{again:?}");
    approve(&admin, &act_of(&waits)).await.refused(403, "SECOND_ADMIN_NEEDED");
    approve(&other, &act_of(&waits)).await.data();
    approve(&other, &act_of(&again)).await.refused(409, "INVALID_TRANSITION");
    assert_eq!((balance(&driver).await, balance(&rider).await), (json!(400), json!(44)));

    let back = stranger_pays(&till, &admin, &rider, 60).await;
    assert_eq!(resolve(&admin, &back, "gateway", "back").await.status, 201);
    let id = back["captureId"].as_str().expect("an id");
    let posted = till.postings("suspense_resolved", id).await;
    assert_eq!(posted, "gateway_receivable +6000, suspense -6000");
    rider.get("/admin/suspense").await.refused(403, "FORBIDDEN");
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_pays_out_is_booked_once_under_its_name() {
    let till = strict().await;
    let (admin, other) = (Person::admin(&till).await, Person::admin(&till).await);
    let settle = async |reference: &str, gross: f64, fee: f64, key: &str| {
        let body = json!({"reference": reference, "gross": gross, "fee": fee, "day": "2026-11-27"});
        admin.post_once("/admin/gateway/settlements", body, key).await
    };
    let accounts = async || {
        let sql = "SELECT coalesce(string_agg(format('%s %s', k.name, e.amount), ', ' \
            ORDER BY k.name), '') FROM ledger_journal j JOIN ledger_entry e ON e.journal_id = j.id \
            JOIN ledger_account_kind k ON k.id = e.account WHERE j.kind = 'gateway_settled'";
        let mut owner = storage::testing::owner(till.db()).await;
        let posted: String = sqlx::query_scalar(sql).fetch_one(&mut owner).await.expect("a text");
        posted
    };
    for (gross, fee) in [(0.0, 0.0), (-5.0, 0.0), (5.0, -1.0), (5.0, 5.01), (5.001, 0.0)] {
        settle("PO-1", gross, fee, &format!("{gross} {fee}"))
            .await
            .refused(400, "VALIDATION_FAILED");
    }
    let body = json!({"reference": "PO-1", "gross": 5, "fee": 0, "day": "yesterday"});
    admin.post("/admin/gateway/settlements", body).await.refused(400, "VALIDATION_FAILED");
    let waits = settle("PO-1", 200.0, 5.5, "a").await;
    assert_eq!((waits.status, accounts().await.as_str()), (202, ""), "{waits:?}");
    let twice = settle("PO-1", 200.0, 5.5, "b").await;
    approve(&admin, &act_of(&waits)).await.refused(403, "SECOND_ADMIN_NEEDED");
    approve(&other, &act_of(&waits)).await.data();
    let posted = "bank -19450, gateway_fees -550, gateway_receivable 20000";
    assert_eq!(accounts().await, posted);
    approve(&other, &act_of(&twice)).await.refused(409, "ALREADY_DONE");
    settle("PO-1", 20.0, 0.5, "c").await.refused(409, "ALREADY_DONE");
    assert_eq!(accounts().await, posted);
    assert_eq!(settle("PO-2", 20.0, 0.5, "d").await.status, 201);
    till.check_invariants().await;
}
