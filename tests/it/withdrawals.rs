//! Drivers take money out: set aside, decided, paid out once, or given back.

use futures_util::future::join_all;
use serde_json::{Value, json};
use standins::{Payout, Play};

use crate::harness::{Person, Server, Vault, fund, until, withdraw, withdrawal_that_is};

const MANAGE: &str = "/payment/withdraw/manage";

fn id_of(reply: &crate::harness::Reply) -> String {
    assert_eq!(reply.status, 201, "{reply:?}");
    reply.data()["request"]["id"].as_str().expect("an id").to_owned()
}

async fn manage(admin: &Person, id: &str, action: &str, more: Value) -> crate::harness::Reply {
    let mut body = json!({"requestId": id, "action": action});
    for (name, value) in more.as_object().into_iter().flatten() {
        body[name] = value.clone();
    }
    admin.post(MANAGE, body).await
}

async fn money(person: &Person) -> (Value, Value) {
    let wallet = person.get("/wallet").await.data().clone();
    (wallet["balance"].clone(), wallet["held"].clone())
}

async fn told(admin: &Person, object: &str) -> Vec<String> {
    let reply = admin.get(&format!("/admin/audit?objectId={object}&limit=100")).await;
    let entries = reply.data()["entries"].as_array().expect("a list").clone();
    let actions = entries.iter().rev().map(|entry| entry["action"].as_str().unwrap_or(""));
    actions.filter(|action| *action != "withdrawal.read").map(str::to_owned).collect()
}

async fn news(person: &Person) -> Vec<String> {
    let page = person.get("/notifications").await;
    let all = page.data()["notifications"].as_array().expect("a list").clone();
    all.iter().rev().map(|one| one["kind"].as_str().unwrap_or("").to_owned()).collect()
}

async fn facts(server: &Server, id: &str) -> String {
    let sql = "SELECT coalesce(string_agg(event_type, ' ' ORDER BY seq), '') FROM event_store \
               WHERE aggregate_type = 'withdrawal' AND aggregate_id = $1::uuid";
    let mut owner = storage::testing::owner(server.db()).await;
    let facts = sqlx::query_scalar(sql).bind(id).fetch_one(&mut owner).await;
    facts.expect("facts are readable")
}

#[tokio::test(flavor = "multi_thread")]
async fn by_hand_a_withdrawal_goes_all_the_way() {
    let server = Server::start().await;
    let (admin, driver) = (Person::admin(&server).await, Person::driver(&server).await);
    fund(&admin, &driver, 300.0).await;
    let asked = withdraw(&driver, 120.5, "k").await;
    let id = id_of(&asked);
    let request = &asked.data()["request"];
    assert_eq!((&request["status"], &request["account"]), (&json!("requested"), &json!("…0002")));
    assert_eq!(money(&driver).await, (json!(179.5), json!(120.5)));
    assert_eq!(withdraw(&driver, 120.5, "k").await.data(), asked.data(), "the same key");
    let posted = |kind: &'static str| server.postings(kind, &id);
    assert_eq!(posted("withdraw_requested").await, "driver -12050, driver_hold +12050");

    let list = admin.get("/admin/withdrawals?status=requested").await;
    assert_eq!(list.data()["requests"][0]["id"], json!(id));
    assert!(!list.body.to_string().contains("EG38"), "{list:?}");
    let whole = admin.get(&format!("/admin/withdrawals/{id}")).await;
    assert_eq!(whole.data()["request"]["accountNumber"], "EG380019000500000000263180002");

    manage(&admin, &id, "approve", json!({})).await.data();
    manage(&admin, &id, "sent", json!({})).await.refused(400, "VALIDATION_FAILED");
    let paid = json!({"bankReference": "FT26-1"});
    manage(&admin, &id, "confirm", json!({})).await.refused(409, "INVALID_TRANSITION");
    manage(&admin, &id, "sent", paid).await.data();
    assert_eq!(posted("withdraw_sent").await, "driver_hold -12050, payout_clearing +12050");
    let done = manage(&admin, &id, "confirm", json!({})).await;
    assert_eq!(done.data()["request"]["status"], "confirmed");
    assert_eq!(posted("withdraw_confirmed").await, "bank +12050, payout_clearing -12050");
    let again = manage(&admin, &id, "confirm", json!({})).await;
    again.refused(409, "INVALID_TRANSITION");
    assert_eq!(again.body["error"]["details"]["current"], "confirmed");

    assert_eq!(money(&driver).await, (json!(179.5), json!(0)));
    let own = withdrawal_that_is(&driver, &id, "confirmed").await;
    assert_eq!((&own["bankReference"], &own["decidedBy"]), (&json!("FT26-1"), &Value::Null));
    let acts =
        ["read_account", "approve", "send", "confirm"].map(|act| format!("withdrawal.{act}"));
    assert_eq!(told(&admin, &id).await, acts);
    let kinds = ["withdrawal_approved", "withdrawal_paid", "withdrawal_arrived"];
    assert_eq!(news(&driver).await, kinds);
    let expected =
        ["REQUESTED", "APPROVED", "SENT", "CONFIRMED"].map(|f| format!("WITHDRAWAL_{f}"));
    assert_eq!(facts(&server, &id).await, expected.join(" "));
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_rejected_or_comes_back_is_the_drivers_again() {
    let server = Server::start().await;
    let (admin, driver) = (Person::admin(&server).await, Person::driver(&server).await);
    fund(&admin, &driver, 300.0).await;
    let first = id_of(&withdraw(&driver, 100.0, "a").await);
    manage(&admin, &first, "reject", json!({})).await.refused(400, "VALIDATION_FAILED");
    manage(&admin, &first, "reject", json!({"reason": "papers"})).await.data();
    assert_eq!(
        server.postings("withdraw_rejected", &first).await,
        "driver +10000, driver_hold -10000"
    );
    let own = withdrawal_that_is(&driver, &first, "rejected").await;
    assert_eq!(own["reason"], "papers");
    let second = id_of(&withdraw(&driver, 300.0, "b").await);
    manage(&admin, &second, "approve", json!({})).await.data();
    manage(&admin, &second, "sent", json!({"bankReference": "FT26-2"})).await.data();
    manage(&admin, &second, "fail", json!({"reason": "the account is closed"})).await.data();
    assert_eq!(
        server.postings("withdraw_failed", &second).await,
        "driver +30000, payout_clearing -30000"
    );
    assert_eq!(money(&driver).await, (json!(300), json!(0)));
    assert_eq!(
        news(&driver).await,
        ["withdrawal_rejected", "withdrawal_approved", "withdrawal_paid", "withdrawal_failed"]
    );
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_driver_asks_for_what_he_earned_and_an_admin_decides() {
    let server = Server::start().await;
    let (admin, driver) = (Person::admin(&server).await, Person::driver(&server).await);
    driver.approve(&admin, "economy").await;
    fund(&admin, &driver, 100.0).await;
    let suspend = json!({"decision": "suspend", "reason": "complaints"});
    admin.post(&format!("/admin/drivers/{}/decision", driver.id), suspend).await.data();
    let id = id_of(&withdraw(&driver, 100.0, "k").await);
    withdrawal_that_is(&driver, &id, "requested").await;
    manage(&admin, &id, "approve", json!({})).await.data();
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_checked() {
    let server = Server::start().await;
    let (admin, driver) = (Person::admin(&server).await, Person::driver(&server).await);
    let rider = Person::rider(&server).await;
    let path = "/payment/withdraw/request";
    let wish = |amount: Value, method: &str, account: &str| json!({"amount": amount, "method": method, "accountNumber": account});
    let good = || wish(json!(100), "wallet", "01012345678");
    driver.post(path, good()).await.refused(400, "IDEMPOTENCY_KEY_REQUIRED");
    for person in [&rider, &admin] {
        person.post_once(path, good(), "k").await.refused(403, "FORBIDDEN");
    }
    let wrong = [
        wish(json!(0), "wallet", "01012345678"),
        wish(json!(-100), "wallet", "01012345678"),
        wish(json!(100.005), "wallet", "01012345678"),
        wish(json!(49.99), "wallet", "01012345678"),
        wish(json!(10_000.01), "wallet", "01012345678"),
        wish(json!(100), "cheque", "01012345678"),
        wish(json!(100), "wallet", "0233334444"),
        wish(json!(100), "bank", "EG380019000500000000263180003"),
        wish(json!(100), "instapay", "mona@example.com"),
    ];
    for (at, body) in wrong.into_iter().enumerate() {
        let reply = driver.post_once(path, body.clone(), &format!("wrong {at}")).await;
        assert_eq!((reply.status, reply.code()), (400, "VALIDATION_FAILED"), "{body}");
    }
    // What is owed, or not there, can't be taken out.
    driver.post_once(path, good(), "poor").await.refused(409, "INSUFFICIENT_BALANCE");
    fund(&admin, &driver, 250.0).await;
    let id = id_of(&driver.post_once(path, good(), "one").await);
    let other = withdraw(&driver, 100.0, "two").await;
    other.refused(409, "WITHDRAWAL_OPEN");
    assert_eq!(other.body["error"]["details"]["requestId"], json!(id));
    let reused = driver.post_once(path, wish(json!(101), "wallet", "01012345678"), "one").await;
    reused.refused(422, "IDEMPOTENCY_KEY_REUSED");
    // The same wish within seconds is the same request, whatever its key.
    assert_eq!(id_of(&driver.post_once(path, good(), "three").await), id);
    manage(&driver, &id, "approve", json!({})).await.refused(403, "FORBIDDEN");
    let nothing = "0190b8a0-0000-7000-8000-00000000dead";
    manage(&admin, nothing, "approve", json!({})).await.refused(404, "NOT_FOUND");
    assert_eq!(money(&driver).await, (json!(150), json!(100)));
    server.check_invariants().await;
}

/// What the provider was asked to pay, once it was asked.
async fn paid_out(vault: &Vault) -> Vec<Payout> {
    let asked = || Some(vault.bank.payouts()).filter(|payouts| !payouts.is_empty());
    until("a payout", async || asked()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_pays_out_once_whatever_is_told_how_often() {
    let vault = Vault::start().await;
    let (admin, driver) = (Person::admin(&vault).await, Person::driver(&vault).await);
    fund(&admin, &driver, 300.0).await;
    let id = id_of(&withdraw(&driver, 100.0, "k").await);
    assert_eq!(vault.bank.payouts(), []);
    manage(&admin, &id, "approve", json!({})).await.data();
    withdrawal_that_is(&driver, &id, "sent").await;
    let payouts = paid_out(&vault).await;
    let payout = &payouts[0];
    assert_eq!((payout.amount.as_str(), payout.method.as_str()), ("100.00", "bank"));
    assert_eq!(payout.account, "EG380019000500000000263180002");
    // Not an admin's to end, as long as the provider has it: it may arrive, or come back.
    for action in ["fail", "confirm"] {
        let by_hand = manage(&admin, &id, action, json!({"reason": "too slow"})).await;
        by_hand.refused(409, "INVALID_TRANSITION");
    }
    withdrawal_that_is(&driver, &id, "sent").await;
    vault.bank.end(&payout.reference, "paid");
    join_all((0..50).map(|_| vault.tell(&id))).await;
    let own = withdrawal_that_is(&driver, &id, "confirmed").await;
    assert_eq!(own["bankReference"], "FT-PO-1");
    vault.tell(&id).await;
    assert_eq!(
        vault.postings("withdraw_confirmed", &id).await,
        "bank +10000, payout_clearing -10000"
    );
    let payouts = vault.bank.payouts();
    assert_eq!((payouts.len(), payouts[0].asked), (1, 1));
    assert_eq!(vault.bank.seen("POST /payouts"), 1);
    assert_eq!(money(&driver).await, (json!(200), json!(0)));
    vault.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_looked_up_and_a_refusal_gives_back() {
    let vault = Vault::start().await;
    let (admin, driver) = (Person::admin(&vault).await, Person::driver(&vault).await);
    fund(&admin, &driver, 300.0).await;
    let id = id_of(&withdraw(&driver, 100.0, "a").await);
    vault.bank.play("/payouts", Play::Lose);
    manage(&admin, &id, "approve", json!({})).await.data();
    withdrawal_that_is(&driver, &id, "sent").await;
    vault.bank.end(&paid_out(&vault).await[0].reference, "paid");
    vault.tell(&id).await;
    withdrawal_that_is(&driver, &id, "confirmed").await;
    assert_eq!(vault.bank.seen("POST /payouts"), 1);
    // The bank says no at once: the money is his again.
    let next = id_of(&withdraw(&driver, 60.0, "b").await);
    vault.bank.play("/payouts", Play::Refuse(422));
    manage(&admin, &next, "approve", json!({})).await.data();
    let own = withdrawal_that_is(&driver, &next, "failed").await;
    assert_eq!(own["reason"], "the provider refused it (422)");
    // And later: it came back.
    let last = id_of(&withdraw(&driver, 70.0, "c").await);
    vault.bank.ends("failed");
    manage(&admin, &last, "approve", json!({})).await.data();
    let own = withdrawal_that_is(&driver, &last, "failed").await;
    assert_eq!(own["reason"], "the account is closed");
    assert_eq!(money(&driver).await, (json!(200), json!(0)));
    vault.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_who_decide_at_once_decide_once() {
    let vault = Vault::start().await;
    let admins = [Person::admin(&vault).await, Person::admin(&vault).await];
    let driver = Person::driver(&vault).await;
    fund(&admins[0], &driver, 600.0).await;
    vault.bank.ends("paid");
    for round in 0..5 {
        let id = id_of(&withdraw(&driver, 60.0 + f64::from(round), &format!("{round}")).await);
        let decisions = (0..12).map(|n| {
            let admin = &admins[n % 2];
            let act = if n % 3 == 0 { "reject" } else { "approve" };
            manage(admin, &id, act, json!({"reason": "at once"}))
        });
        let decided = join_all(decisions).await;
        let made: Vec<_> = decided.iter().filter(|reply| reply.status == 200).collect();
        assert_eq!(made.len(), 1, "{decided:?}");
        for reply in decided.iter().filter(|reply| reply.status != 200) {
            reply.refused(409, "INVALID_TRANSITION");
        }
        let end = match made[0].data()["request"]["status"].as_str() {
            Some("approved") => "confirmed",
            _ => "rejected",
        };
        withdrawal_that_is(&driver, &id, end).await;
        // No more than three a day, of which the rejected ones don't count.
        let sql = "UPDATE withdrawals SET requested_at = requested_at - interval '2 days'";
        let mut owner = storage::testing::owner(vault.db()).await;
        sqlx::query(sql).execute(&mut owner).await.expect("the owner may");
    }
    let payouts = vault.bank.payouts();
    assert!(payouts.iter().all(|payout| payout.asked == 1), "{payouts:?}");
    let confirmed = admins[0].get("/admin/withdrawals?status=confirmed").await;
    let confirmed = confirmed.data()["requests"].as_array().map(Vec::len);
    assert_eq!(confirmed, Some(payouts.len()));
    vault.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_bank_did_not_sign_is_refused_and_a_drivers_requests_are_his_own() {
    let vault = Vault::start().await;
    let (admin, driver) = (Person::admin(&vault).await, Person::driver(&vault).await);
    fund(&admin, &driver, 300.0).await;
    let id = id_of(&withdraw(&driver, 100.0, "k").await);
    let call = async |body: &'static str, signature: &str| {
        let url = vault.url("/api/v1/payment/payout/callback");
        let request = vault.http.post(url).header("x-payout-signature", signature).body(body);
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(call("{\"reference\":\"wd-1\"}", "").await, 401);
    assert_eq!(call("{\"reference\":\"wd-1\"}", &"0".repeat(64)).await, 401);
    assert_eq!(call("{}", &vault.bank.sign("{}")).await, 400);
    assert_eq!(call("{\"reference\":\"x\"}", &vault.bank.sign("{\"reference\":\"x\"}")).await, 200);
    let other = Person::driver(&vault).await;
    let theirs = other.get("/payment/withdrawals").await;
    assert_eq!(theirs.data()["requests"], json!([]));
    other.get(&format!("/admin/withdrawals/{id}")).await.refused(403, "FORBIDDEN");
    // One that approved nothing is told of in vain.
    vault.tell(&id).await;
    assert_eq!(vault.bank.seen("/payouts"), 0);
    vault.check_invariants().await;
}
