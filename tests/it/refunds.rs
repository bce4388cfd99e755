//! Deposits go back to their cards: off the wallet first, asked of the gateway once.

use base::Piasters;
use payments::ActLimits;
use serde_json::{Value, json};
use standins::Play;

use crate::acts::balance;
use crate::harness::{Person, Reply, Till, deposit_that_is, until};

/// A rider who paid 100 pounds in; the order.
async fn paid(till: &Till, rider: &Person) -> String {
    let order = till.order(rider, 100.0).await;
    assert_eq!(till.gateway.tell(&till.gateway.pay(&order)).await, 200);
    deposit_that_is(rider, &order, "paid").await;
    order
}

async fn refund(admin: &Person, order: &str, amount: Option<f64>, key: &str) -> Reply {
    let mut body = json!({"reason": "paid by mistake"});
    if let Some(amount) = amount {
        body["amount"] = json!(amount);
    }
    admin.post_once(&format!("/admin/deposits/{order}/refund"), body, key).await
}

pub fn act_of(reply: &Reply) -> String {
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.data()["act"]["id"].as_str().expect("an id").to_owned()
}

/// The refund once it is `status`.
pub async fn refund_that_is(admin: &Person, id: &str, status: &str) -> Value {
    until(&format!("refund {status}"), async || {
        let page = admin.get("/admin/refunds?limit=100").await;
        let refunds = page.data()["refunds"].as_array().cloned().unwrap_or_default();
        let found = refunds.into_iter().find(|refund| refund["id"] == id);
        found.filter(|refund| refund["status"] == status)
    })
    .await
}

/// Looks at a refund now, as its schedule would later.
async fn look(till: &Till, id: &str) {
    till.no_jobs("card_refund").await;
    let again = "INSERT INTO jobs (queue, kind, version, payload, priority, run_at, rank_at, \
        max_attempts, on_dead) VALUES ('payment-processing', 'card_refund', 1, \
        jsonb_build_object('refundId', $1), 1, now(), now(), 3, 'by_hand')";
    let mut owner = storage::testing::owner(till.db()).await;
    sqlx::query(again).bind(id).execute(&mut owner).await.expect("the owner may");
    till.no_jobs("card_refund").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deposit_goes_back_to_its_card_in_parts_and_no_more_than_it_was() {
    let till = Till::start().await;
    let (admin, rider) = (Person::admin(&till).await, Person::rider(&till).await);
    let order = paid(&till, &rider).await;
    let path = format!("/admin/deposits/{order}/refund");
    admin.post(&path, json!({"reason": "x"})).await.refused(400, "IDEMPOTENCY_KEY_REQUIRED");
    let first = act_of(&refund(&admin, &order, Some(40.0), "a").await);
    assert_eq!(balance(&rider).await, json!(60));
    let done = refund_that_is(&admin, &first, "done").await;
    assert!(done["transaction"].is_string(), "{done}");
    assert_eq!(
        till.postings("deposit_refund", &first).await,
        "rider_wallet -4000, gateway_receivable +4000"
    );
    // Nor more than the wallet holds.
    refund(&admin, &order, Some(60.01), "b").await.refused(409, "INSUFFICIENT_BALANCE");
    refund(&admin, &order, Some(100.01), "c").await.refused(400, "VALIDATION_FAILED");
    let second = act_of(&refund(&admin, &order, Some(60.0), "d").await);
    refund_that_is(&admin, &second, "done").await;
    assert_eq!((till.gateway.seen("PUT /v3/orders"), balance(&rider).await), (2, json!(0)));
    let told = rider.get("/notifications").await.data()["notifications"][0].clone();
    assert_eq!(told["kind"], "refunded", "{told}");
    let unpaid = till.order(&rider, 50.0).await;
    refund(&admin, &unpaid, None, "e").await.refused(409, "INVALID_TRANSITION");
    rider.post_once(&path, json!({"reason": "x"}), "f").await.refused(403, "FORBIDDEN");
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_is_asked_for_once_whatever_becomes_of_the_answer() {
    let till = Till::start().await;
    let (admin, rider) = (Person::admin(&till).await, Person::rider(&till).await);
    let order = paid(&till, &rider).await;
    till.gateway.play("/v3/orders", Play::Lose);
    let id = act_of(&refund(&admin, &order, None, "a").await);
    refund_that_is(&admin, &id, "sent").await;
    refund(&admin, &order, Some(1.0), "b").await.refused(409, "INSUFFICIENT_BALANCE");
    // Looked at again and again it is never asked for again.
    for _ in 0..3 {
        look(&till, &id).await;
    }
    assert_eq!(till.gateway.seen("PUT /v3/orders"), 1);
    let before = refund_that_is(&admin, &id, "sent").await;
    assert_eq!(before["transaction"], Value::Null);
    // The gateway tells of it, twice.
    let told = till.gateway.refund(&order);
    assert_eq!(till.gateway.tell(&told).await, 200);
    refund_that_is(&admin, &id, "done").await;
    assert_eq!(till.gateway.tell(&told).await, 200);
    assert_eq!(
        (balance(&rider).await, till.journals("deposit_refund_failed").await),
        (json!(0), 0)
    );
    let letters = admin.get("/admin/dead-letters?status=open").await;
    assert_eq!(letters.data()["letters"], json!([]), "nobody has to look");
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_refuses_is_on_the_wallet_again() {
    let till = Till::start().await;
    let (admin, rider) = (Person::admin(&till).await, Person::rider(&till).await);
    let order = paid(&till, &rider).await;
    till.gateway.play("/v3/orders", Play::Refuse(400));
    let id = act_of(&refund(&admin, &order, Some(30.0), "a").await);
    let failed = refund_that_is(&admin, &id, "failed").await;
    assert_eq!(failed["failure"], "the gateway refused with 400");
    assert_eq!(
        till.postings("deposit_refund_failed", &id).await,
        "rider_wallet +3000, gateway_receivable -3000"
    );
    assert_eq!(balance(&rider).await, json!(100));
    // One whose answer got lost is settled by who can see the gateway's own page.
    till.gateway.play("/v3/orders", Play::Lose);
    let lost = act_of(&refund(&admin, &order, Some(30.0), "b").await);
    refund_that_is(&admin, &lost, "sent").await;
    assert_eq!(balance(&rider).await, json!(70));
    let settle = json!({"outcome": "failed", "reason": "the gateway has no refund"});
    let path = format!("/admin/refunds/{lost}/settle");
    admin.post(&path, settle.clone()).await.data();
    admin.post(&path, settle).await.refused(409, "INVALID_TRANSITION");
    assert_eq!(balance(&rider).await, json!(100));
    // Money that is spent can't go back.
    let spent = json!({"amount": -80, "reason": "spent"});
    admin.post(&format!("/admin/wallets/{}/adjust", rider.id), spent).await.data();
    refund(&admin, &order, None, "c").await.refused(409, "INSUFFICIENT_BALANCE");
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_is_put_off_ends_by_the_gateways_last_word() {
    let till = Till::start().await;
    let (admin, rider) = (Person::admin(&till).await, Person::rider(&till).await);
    let order = paid(&till, &rider).await;
    till.gateway.put_refunds_off();
    let id = act_of(&refund(&admin, &order, Some(40.0), "a").await);
    look(&till, &id).await;
    let sent = refund_that_is(&admin, &id, "sent").await;
    assert!(sent["transaction"].is_string(), "{sent}");
    assert_eq!(balance(&rider).await, json!(60));
    // The bank says no in the end, and says it twice.
    let told = till.gateway.refuse_refund(&order);
    assert_eq!(told.data["transactionId"], sent["transaction"]);
    for _ in 0..2 {
        assert_eq!(till.gateway.tell(&told).await, 200);
    }
    let failed = refund_that_is(&admin, &id, "failed").await;
    assert_eq!(failed["failure"], "the gateway refused it (51)");
    assert_eq!(
        till.postings("deposit_refund_failed", &id).await,
        "rider_wallet +4000, gateway_receivable -4000"
    );
    assert_eq!(balance(&rider).await, json!(100));
    // Should it say later that the money went all the same, a person looks.
    let mut late = told;
    late.data["status"] = json!("SUCCESS");
    till.gateway.sign(&mut late);
    assert_eq!(till.gateway.tell(&late).await, 200);
    assert!(till.letter(&admin, "orderId", &order).await.starts_with("refund_contradicted"));
    assert_eq!(balance(&rider).await, json!(100));

    // The next one arrives.
    let next = act_of(&refund(&admin, &order, Some(70.0), "b").await);
    look(&till, &next).await;
    assert_eq!(till.gateway.tell(&till.gateway.refund(&order)).await, 200);
    refund_that_is(&admin, &next, "done").await;
    assert_eq!(
        (balance(&rider).await, till.journals("deposit_refund_failed").await),
        (json!(30), 1)
    );
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_known_by_the_sum_that_went_back() {
    let till = Till::start().await;
    let (admin, rider) = (Person::admin(&till).await, Person::rider(&till).await);
    let order = paid(&till, &rider).await;
    // Nothing came of the first, and somebody gave something back by hand.
    till.gateway.play("/v3/orders", Play::Refuse(502));
    let first = act_of(&refund(&admin, &order, Some(30.0), "a").await);
    till.gateway.stands(&order, "PARTIALLY_REFUNDED");
    look(&till, &first).await;
    refund_that_is(&admin, &first, "sent").await;
    let settle = json!({"outcome": "failed", "reason": "the gateway has no refund of ours"});
    admin.post(&format!("/admin/refunds/{first}/settle"), settle).await.data();
    assert_eq!(balance(&rider).await, json!(100));
    for (key, amount, left) in [("b", 45.0, 55), ("c", 55.0, 0)] {
        till.gateway.play("/v3/orders", Play::Lose);
        let id = act_of(&refund(&admin, &order, Some(amount), key).await);
        look(&till, &id).await;
        refund_that_is(&admin, &id, "done").await;
        assert_eq!(balance(&rider).await, json!(left));
    }
    assert_eq!(till.gateway.seen("PUT /v3/orders"), 3);
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_not_forgotten_when_it_can_not_be_stored_at_once() {
    let till = Till::start().await;
    let (admin, rider) = (Person::admin(&till).await, Person::rider(&till).await);
    let order = paid(&till, &rider).await;
    // A sequence counts on whatever is rolled back: three tries break.
    let breaks = [
        "CREATE SEQUENCE tries",
        "CREATE FUNCTION break_thrice() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ \
         BEGIN IF nextval('public.tries') <= 3 THEN RAISE EXCEPTION 'broken'; END IF; \
         RETURN NEW; END $$",
        "CREATE TRIGGER break_thrice BEFORE UPDATE ON refunds FOR EACH ROW \
         WHEN (NEW.status = 'failed') EXECUTE FUNCTION break_thrice()",
    ];
    let mut owner = storage::testing::owner(till.db()).await;
    for sql in breaks {
        sqlx::query(sql).execute(&mut owner).await.expect("the owner may");
    }
    till.gateway.play("/v3/orders", Play::Refuse(400));
    let id = act_of(&refund(&admin, &order, Some(30.0), "a").await);
    refund_that_is(&admin, &id, "failed").await;
    let tries = "SELECT last_value FROM tries WHERE $1 <> ''";
    assert_eq!(till.count(tries, "x").await, 4);
    assert_eq!((balance(&rider).await, till.gateway.seen("PUT /v3/orders")), (json!(100), 1));
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_admin_alone_puts_no_large_refund_on_a_wallet_again() {
    let limits = ActLimits { alone: Piasters::pounds(50), alone_per_day: Piasters::pounds(1000) };
    let till = Till::with(|setup| setup.act_limits = limits).await;
    let (admin, other) = (Person::admin(&till).await, Person::admin(&till).await);
    let rider = Person::rider(&till).await;
    let order = paid(&till, &rider).await;
    till.gateway.play("/v3/orders", Play::Lose);
    let asked = refund(&admin, &order, Some(80.0), "a").await;
    assert_eq!(asked.status, 202, "{asked:?}");
    let id = asked.data()["act"]["id"].as_str().expect("an id").to_owned();
    let decide = async |act: &str, by: &Person| {
        by.post(&format!("/admin/approvals/{act}/decide"), json!({"decision": "approve"})).await
    };
    decide(&id, &other).await.data();
    refund_that_is(&admin, &id, "sent").await;
    let path = format!("/admin/refunds/{id}/settle");
    let settle = json!({"outcome": "failed", "reason": "the gateway has no refund"});
    let waits = admin.post_once(&path, settle.clone(), "b").await;
    assert_eq!(waits.status, 202, "{waits:?}");
    assert_eq!(admin.post_once(&path, settle, "b").await.data(), waits.data(), "the same key");
    refund_that_is(&admin, &id, "sent").await;
    assert_eq!(balance(&rider).await, json!(20));
    let act = waits.data()["act"]["id"].as_str().expect("an id").to_owned();
    decide(&act, &admin).await.refused(403, "SECOND_ADMIN_NEEDED");
    decide(&act, &other).await.data();
    refund_that_is(&admin, &id, "failed").await;
    assert_eq!(balance(&rider).await, json!(100));
    till.check_invariants().await;
}
