//! Money comes in through the gateway (SECURITY: Webhook): credited once, by the gateway's word
//! alone, whatever is told how often and in which order.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::harness::{
    CAIRO, Outside, Person, Reply, Server, Socket, Till, deposit_that_is, far_from, online_driver,
    open, point,
};

async fn balance(person: &Person) -> Value {
    person.get("/wallet").await.data()["balance"].clone()
}

/// Tells the server something in the gateway's name.
async fn callback(server: &Outside, body: &str, signature: Option<&str>) -> Reply {
    let request = server.http.post(server.url("/api/v1/payment/callback")).body(body.to_owned());
    let request = match signature {
        Some(signature) => request.header("x-kashier-signature", signature),
        None => request,
    };
    let answer = request.send().await.expect("the server answers");
    let status = answer.status().as_u16();
    Reply { status, body: answer.json().await.expect("JSON") }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_top_up_is_credited_when_the_gateway_says_that_it_is_paid() {
    let till = Till::start().await;
    let rider = Person::rider(&till).await;
    let opened = open(&rider, 150.5, "k").await;
    assert_eq!(opened.status, 201, "{opened:?}");
    let order = opened.data()["orderId"].as_str().expect("an order").to_owned();
    let page = opened.data()["paymentUrl"].as_str().expect("an address");
    assert!(page.starts_with(till.gateway.url()), "{page}");
    assert_eq!(open(&rider, 150.5, "k").await.data(), opened.data(), "the same key");
    let pending = deposit_that_is(&rider, &order, "pending").await;
    assert_eq!((&pending["amount"], &pending["currency"]), (&json!(150.5), &json!("EGP")));
    assert_eq!(till.gateway.payment(&order).amount, "150.50");

    let told = till.gateway.pay(&order);
    assert_eq!(till.gateway.tell(&told).await, 200);
    let paid = deposit_that_is(&rider, &order, "paid").await;
    assert!(paid["paidAt"].is_string() && paid["paymentUrl"].is_null(), "{paid}");
    assert_eq!(balance(&rider).await, 150.5);
    let told = rider.get("/notifications").await.data()["notifications"][0].clone();
    assert_eq!(told["kind"], "payment_succeeded", "{told}");
    let facts = "SELECT count(*) FROM event_store WHERE aggregate_type = 'payment' \
                 AND event_type IN ('PAYMENT_INITIATED', 'PAYMENT_COMPLETED') AND $1 <> ''";
    assert_eq!(till.count(facts, "x").await, 2);
    // Nobody else's business.
    let other = Person::rider(&till).await;
    other.get(&format!("/payment/deposits/{order}")).await.refused(404, "NOT_FOUND");
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_checked_and_needs_a_key() {
    let till = Till::start().await;
    let rider = Person::rider(&till).await;
    let path = "/payment/deposit/init";
    rider.post(path, json!({"amount": 50})).await.refused(400, "IDEMPOTENCY_KEY_REQUIRED");
    let wrong = [json!(0), json!(-5), json!(9.99), json!(20_000.01), json!(50.005), json!("50")];
    for (at, amount) in wrong.into_iter().enumerate() {
        let reply = rider.post_once(path, json!({"amount": amount}), &format!("k{at}")).await;
        reply.refused(400, "VALIDATION_FAILED");
    }
    assert_eq!(till.gateway.seen("POST"), 0);
    let without = Server::start().await;
    let rider = Person::rider(&without).await;
    open(&rider, 50.0, "k").await.refused(503, "GATEWAY_UNAVAILABLE");
    callback(&without, "{}", None).await.refused(503, "GATEWAY_UNAVAILABLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_copies_of_a_notice_at_once_credit_once() {
    let till = Till::start().await;
    let rider = Person::rider(&till).await;
    let order = till.order(&rider, 40.0).await;
    let told = till.gateway.pay(&order);
    let answers = join_all((0..100).map(|_| till.gateway.tell(&told))).await;
    assert_eq!(answers, [200; 100]);
    deposit_that_is(&rider, &order, "paid").await;
    // Replayed when all is over.
    assert_eq!(till.gateway.tell(&told).await, 200);
    let kept = till.count("SELECT count(*) FROM gateway_notices WHERE reference = $1", &order);
    assert_eq!(kept.await, 1);
    let waits = "SELECT count(*) FROM jobs WHERE kind = $1";
    assert_eq!(till.count(waits, "payment_notice").await, 0);
    assert_eq!((till.journals("deposit").await, balance(&rider).await), (1, json!(40)));
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_did_not_sign_is_refused_and_leaves_nothing() {
    let till = Till::start().await;
    let rider = Person::rider(&till).await;
    let order = till.order(&rider, 40.0).await;
    let told = till.gateway.pay(&order);
    let refused = async |body: &str, signature: Option<&str>, status: u16, code: &str| {
        callback(&till, body, signature).await.refused(status, code);
    };
    let (body, signature) = (told.body(), told.signature.as_str());
    refused(&body, None, 401, "INVALID_SIGNATURE").await;
    refused(&body, Some(""), 401, "INVALID_SIGNATURE").await;
    refused(&body, Some(&"0".repeat(64)), 401, "INVALID_SIGNATURE").await;
    refused(&body, Some(&signature.to_uppercase()), 401, "INVALID_SIGNATURE").await;
    for (name, value) in [
        ("amount", json!(4000)),
        ("currency", json!("USD")),
        ("merchantOrderId", json!("dep-1")),
        ("status", json!("FAILURE")),
        ("transactionId", json!("TX-2")),
        ("signatureKeys", json!(["status", "transactionId"])),
        ("signatureKeys", json!([])),
        ("signatureKeys", json!(null)),
    ] {
        let mut altered = told.clone();
        altered.data[name] = value;
        refused(&altered.body(), Some(signature), 401, "INVALID_SIGNATURE").await;
    }
    // Signed by the right key, over too little, or for something else.
    let mut narrow = told.clone();
    narrow.data["signatureKeys"] = json!(["status", "transactionId", "currency"]);
    till.gateway.sign(&mut narrow);
    refused(&narrow.body(), Some(&narrow.signature), 401, "INVALID_SIGNATURE").await;
    let redirect = till.gateway.redirect(&order);
    let redirect = redirect.split_once("&signature=").expect("it is signed").1;
    refused(&body, Some(&redirect[..64]), 401, "INVALID_SIGNATURE").await;
    refused("", Some(signature), 400, "MALFORMED_BODY").await;
    refused("[1, 2]", Some(signature), 400, "MALFORMED_BODY").await;

    let kept = till.count("SELECT count(*) FROM gateway_notices WHERE $1 <> ''", "x").await;
    assert_eq!((kept, balance(&rider).await), (0, json!(0)));
    // The bytes as they came are what is verified: white space and order don't matter to it.
    let spaced = body.replace(':', " : ");
    assert_eq!(callback(&till, &spaced, Some(signature)).await.status, 200);
    deposit_that_is(&rider, &order, "paid").await;
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notices_in_any_order_end_the_same() {
    let till = Till::start().await;
    let rider = Person::rider(&till).await;
    let gateway = &till.gateway;
    // Declined, then paid with another card.
    let first = till.order(&rider, 20.0).await;
    assert_eq!(gateway.tell(&gateway.decline(&first)).await, 200);
    let failed = deposit_that_is(&rider, &first, "failed").await;
    assert_eq!(failed["failure"], "51");
    assert!(failed["paymentUrl"].is_string(), "the page is still open: {failed}");
    assert_eq!(gateway.tell(&gateway.pay(&first)).await, 200);
    deposit_that_is(&rider, &first, "paid").await;
    // The news of the declined card comes last.
    let second = till.order(&rider, 30.0).await;
    let (declined, paid) = (gateway.decline(&second), gateway.pay(&second));
    assert_eq!(gateway.tell(&paid).await, 200);
    deposit_that_is(&rider, &second, "paid").await;
    assert_eq!(gateway.tell(&declined).await, 200);
    // One transaction that took its time: two facts under one name.
    let third = till.order(&rider, 50.0).await;
    let waiting = gateway.wait(&third);
    let paid = gateway.pay(&third);
    assert_eq!(waiting.data["transactionId"], paid.data["transactionId"]);
    assert_eq!(gateway.tell(&paid).await, 200);
    deposit_that_is(&rider, &third, "paid").await;
    assert_eq!(gateway.tell(&waiting).await, 200);
    // Reserved is not taken.
    let fourth = till.order(&rider, 70.0).await;
    assert_eq!(gateway.tell(&gateway.authorize(&fourth)).await, 200);
    let unapplied = "SELECT count(*) FROM gateway_notices WHERE applied_at IS NULL AND $1 <> ''";
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(20));
    while till.count(unapplied, "x").await > 0 {
        tick.tick().await;
    }
    for (order, status) in [(&first, "paid"), (&second, "paid"), (&third, "paid")] {
        deposit_that_is(&rider, order, status).await;
    }
    deposit_that_is(&rider, &fourth, "pending").await;
    assert_eq!((till.journals("deposit").await, balance(&rider).await), (3, json!(100)));
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_asked_for_goes_to_suspense_and_to_operators() {
    let till = Till::start().await;
    let admin = Person::admin(&till).await;
    let rider = Person::rider(&till).await;
    let lie = async |name: &str, value: Value, why: &str, status: &str| {
        let order = till.order(&rider, 40.0).await;
        let mut told = till.gateway.pay(&order);
        told.data[name] = value;
        till.gateway.sign(&mut told);
        let order = told.data["merchantOrderId"].as_str().expect("an order").to_owned();
        assert_eq!(till.gateway.tell(&told).await, 200, "{why}");
        // Told again it is no second letter and no second posting.
        assert_eq!(till.gateway.tell(&told).await, 200, "{why}");
        let letter = till.letter(&admin, "orderId", &order).await;
        assert!(letter.starts_with(why), "{letter}");
        if !status.is_empty() {
            let deposit = deposit_that_is(&rider, &order, status).await;
            assert_eq!(deposit["failure"], why, "{deposit}");
        }
    };
    lie("amount", json!(400), "other_amount", "failed").await;
    assert_eq!(till.suspense().await, 40_000);
    lie("amount", json!(40.005), "other_amount", "failed").await;
    lie("currency", json!("USD"), "other_currency", "failed").await;
    lie("merchantId", json!("MID-9-9"), "other_merchant", "failed").await;
    assert_eq!(till.suspense().await, 40_000);
    lie("merchantOrderId", json!("dep-nobodys-1"), "unknown_order", "").await;
    assert_eq!(till.suspense().await, 44_000);
    assert_eq!((till.journals("deposit").await, balance(&rider).await), (0, json!(0)));

    // A second payment of a paid order, and money that was given back by hand.
    let order = till.order(&rider, 60.0).await;
    assert_eq!(till.gateway.tell(&till.gateway.pay(&order)).await, 200);
    deposit_that_is(&rider, &order, "paid").await;
    assert_eq!(till.gateway.tell(&till.gateway.pay(&order)).await, 200);
    let letter = till.letter(&admin, "orderId", &order).await;
    assert!(letter.starts_with("paid_twice"), "{letter}");
    let refunded = till.order(&rider, 80.0).await;
    assert_eq!(till.gateway.tell(&till.gateway.pay(&refunded)).await, 200);
    deposit_that_is(&rider, &refunded, "paid").await;
    assert_eq!(till.gateway.tell(&till.gateway.refund(&refunded)).await, 200);
    let letter = till.letter(&admin, "orderId", &refunded).await;
    assert!(letter.starts_with("returned_at_gateway"), "{letter}");
    deposit_that_is(&rider, &refunded, "paid").await;
    assert_eq!((till.suspense().await, balance(&rider).await), (50_000, json!(140)));
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rider_who_comes_back_is_looked_up_and_a_forged_return_is_not() {
    let till = Till::start().await;
    let rider = Person::rider(&till).await;
    let order = till.order(&rider, 40.0).await;
    // Paid, and the notice never comes.
    till.gateway.pay(&order);
    let back = async |query: &str| {
        let path = format!("/api/v1/payment/return?{query}");
        let answer = till.http.get(till.url(&path)).send().await.expect("the server answers");
        assert_eq!(answer.status().as_u16(), 303);
        answer.headers()["location"].to_str().expect("an address").to_owned()
    };
    let genuine = till.gateway.redirect(&order);
    let forged = genuine.replace("signature=", "signature=0");
    assert_eq!(back(&forged).await, "https://app.example.com/paid");
    assert_eq!(back("").await, "https://app.example.com/paid");
    assert_eq!(till.gateway.seen("GET"), 0, "nobody was asked");
    assert_eq!(back(&genuine).await, format!("https://app.example.com/paid?orderId={order}"));
    deposit_that_is(&rider, &order, "paid").await;
    assert_eq!(balance(&rider).await, 40);
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rider_who_comes_back_is_not_paid_what_a_notice_put_in_suspense() {
    let till = Till::start().await;
    let (admin, rider) = (Person::admin(&till).await, Person::rider(&till).await);
    let order = till.order(&rider, 20.0).await;
    // Fifteen were taken where twenty had been asked for.
    let mut told = till.gateway.pay(&order);
    till.gateway.reprice(&order, "15.00");
    told.data["amount"] = json!(15);
    till.gateway.sign(&mut told);
    assert_eq!(till.gateway.tell(&told).await, 200);
    assert!(till.letter(&admin, "orderId", &order).await.starts_with("other_amount"));
    let path = format!("/api/v1/payment/return?{}", till.gateway.redirect(&order));
    let answer = till.http.get(till.url(&path)).send().await.expect("the server answers");
    assert_eq!(answer.status().as_u16(), 303);
    till.no_jobs("deposit_look").await;
    deposit_that_is(&rider, &order, "failed").await;
    assert_eq!((till.suspense().await, balance(&rider).await), (1500, json!(0)));
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_got_lost_uses_up_a_name_and_no_money() {
    let till = Till::start().await;
    let rider = Person::rider(&till).await;
    till.gateway.play("/v3/payment/sessions", standins::Play::Lose);
    let order = till.order(&rider, 40.0).await;
    let orders = till.gateway.orders();
    assert_eq!(orders.len(), 2, "{orders:?}");
    assert_eq!(orders[1], order);
    // The first name belongs to the same deposit: should anybody pay there, he has it.
    assert_eq!(till.gateway.tell(&till.gateway.pay(&orders[0])).await, 200);
    deposit_that_is(&rider, &order, "paid").await;
    assert_eq!(balance(&rider).await, 40);
    till.gateway.play("/v3/payment/sessions", standins::Play::Refuse(401));
    open(&rider, 50.0, "k").await.refused(503, "GATEWAY_UNAVAILABLE");
    // Nothing was final: the same key goes on with the same deposit.
    let again = open(&rider, 50.0, "k").await;
    assert!(again.data()["orderId"].as_str().expect("an order").ends_with("-2"), "{again:?}");
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_top_up_pays_the_trip_that_could_not_be_paid_and_what_is_owed() {
    let till = Till::start().await;
    let admin = Person::admin(&till).await;
    let driver = online_driver(&till, &admin, CAIRO).await;
    let rider = Person::rider(&till).await;
    let first = till.order(&rider, 100.0).await;
    assert_eq!(till.gateway.tell(&till.gateway.pay(&first)).await, 200);
    deposit_that_is(&rider, &first, "paid").await;
    let mut wheel = Socket::open(&till, &driver).await;
    let wish = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 2000.0)),
        "vehicleType": "economy", "paymentMethod": "wallet"});
    let trip = rider.post("/trips/request", wish).await.data()["tripId"].clone();
    wheel.next("offer").await;
    wheel.ok("offer.respond", json!({"tripId": trip, "action": "accept"})).await;
    driver.report(CAIRO).await.data();
    for status in ["arrived", "started"] {
        wheel.ok("trip.status", json!({"tripId": trip, "status": status})).await;
    }
    drop(wheel);
    // The way became far longer than what he has, and the program was renewed meanwhile.
    let till = till.restart("UPDATE trips SET price = 30000").await;
    let id = trip.as_str().expect("an id");
    let done = json!({"status": "completed"});
    let ended = driver.post(&format!("/trips/{id}/status"), done).await;
    assert_eq!(ended.data()["status"], "payment_failed", "{ended:?}");
    assert_eq!(balance(&rider).await, 100);

    // 300 are missing 50 less than the city lets him owe: the trip is paid, and he owes the rest.
    let second = till.order(&rider, 150.0).await;
    assert_eq!(till.gateway.tell(&till.gateway.pay(&second)).await, 200);
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(20));
    while rider.trip(id).await["paymentStatus"] != "paid" {
        tick.tick().await;
    }
    assert_eq!(rider.trip(id).await["status"], "completed");
    let wallet = rider.get("/wallet").await.data().clone();
    assert_eq!((&wallet["balance"], &wallet["due"]), (&json!(0), &json!(50)));
    assert_eq!(balance(&driver).await, 255);
    let third = till.order(&rider, 80.0).await;
    assert_eq!(till.gateway.tell(&till.gateway.pay(&third)).await, 200);
    deposit_that_is(&rider, &third, "paid").await;
    let wallet = rider.get("/wallet").await.data().clone();
    assert_eq!((&wallet["balance"], &wallet["due"]), (&json!(30), &json!(0)));
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_pays_into_his_account() {
    let till = Till::start().await;
    let driver = Person::driver(&till).await;
    let order = till.order(&driver, 200.0).await;
    assert_eq!(till.gateway.tell(&till.gateway.pay(&order)).await, 200);
    deposit_that_is(&driver, &order, "paid").await;
    assert_eq!(balance(&driver).await, 200);
    till.check_invariants().await;
}
