//! What riders authorise on their cards, before any trip: pages, notices, who may use what.

use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::future::join_all;
use serde_json::{Value, json};
use standins::Play;

use crate::harness::{
    CAIRO, Person, Reply, Server, Till, authorise, card_that_is, far_from, open_card, point,
};
use crate::trip_money::wallet;

/// Asks for a trip that `card` is to pay for. Each goes a little further, since the same request
/// within seconds would get its first answer.
pub async fn request(rider: &Person, card: Option<&str>) -> Reply {
    static ASKED: AtomicU32 = AtomicU32::new(0);
    let away = f64::from(ASKED.fetch_add(1, Ordering::Relaxed));
    let mut body = json!({"pickup": point(CAIRO), "vehicleType": "economy",
        "destination": point(far_from(CAIRO, 3000.0 + away)), "paymentMethod": "card"});
    if let Some(card) = card {
        body["cardAuthorisation"] = json!(card);
    }
    rider.post("/trips/request", body).await
}

/// A refused request, and why.
async fn unfit(rider: &Person, card: Option<&str>, why: &str) {
    let refused = request(rider, card).await;
    refused.refused(409, "CARD_NOT_AUTHORISED");
    assert_eq!(refused.body["error"]["details"], json!({"reason": why}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_is_asked_for_under_a_key_and_within_limits() {
    let till = Till::start().await;
    let (rider, other) = (Person::rider(&till).await, Person::rider(&till).await);
    let path = "/payment/card/init";
    rider.post(path, json!({"amount": 50})).await.refused(400, "IDEMPOTENCY_KEY_REQUIRED");
    for (at, amount) in [json!(0), json!(9.99), json!(20_000.01), json!("50")].iter().enumerate() {
        let reply = rider.post_once(path, json!({"amount": amount}), &format!("k{at}")).await;
        reply.refused(400, "VALIDATION_FAILED");
    }
    assert_eq!(till.gateway.seen("POST"), 0);
    // The answer to the first call is lost: another name, the same authorisation.
    till.gateway.play("/v3/payment/sessions", Play::Lose);
    let first = rider.post_once(path, json!({"amount": 50}), "k").await.data().clone();
    let again = rider.post_once(path, json!({"amount": 50}), "k").await.data().clone();
    assert_eq!((&first, till.gateway.orders().len()), (&again, 2));
    assert!(first["orderId"].as_str().is_some_and(|order| order.ends_with("-2")), "{first}");
    let order = first["orderId"].as_str().expect("an order");
    assert!(till.gateway.payment(order).manual, "it is to be reserved, not taken");
    let id = first["authorisationId"].as_str().expect("an id");
    let card = card_that_is(&rider, id, "pending").await;
    assert_eq!((&card["amount"], &card["paymentUrl"]), (&json!(50), &first["paymentUrl"]));
    other.get(&format!("/payment/card/{id}")).await.refused(404, "NOT_FOUND");
    // Back from the page the browser goes on to the app.
    till.gateway.authorize(order);
    let query = till.gateway.redirect(order);
    let back = rider.get(&format!("/payment/return?{query}")).await;
    assert_eq!(back.status, 303);
    card_that_is(&rider, id, "authorised").await;

    let without = Server::start().await;
    let rider = Person::rider(&without).await;
    let refused = rider.post_once(path, json!({"amount": 50}), "k").await;
    refused.refused(503, "GATEWAY_UNAVAILABLE");
    request(&rider, None).await.refused(409, "PAYMENT_METHOD_UNAVAILABLE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_is_booked_only_with_what_its_rider_authorised_for_it() {
    let till = Till::where_trips_cost(50).await;
    let (rider, other) = (Person::rider(&till).await, Person::rider(&till).await);
    unfit(&rider, None, "missing").await;
    unfit(&rider, Some("0190b8a0-0000-7000-8000-00000000dead"), "unknown").await;
    let (pending, _) = open_card(&rider, 60.0).await;
    unfit(&rider, Some(&pending), "pending").await;
    let (small, _) = authorise(&till.gateway, &rider, 49.5).await;
    unfit(&rider, Some(&small), "too_little").await;
    let (card, _) = authorise(&till.gateway, &rider, 50.0).await;
    unfit(&other, Some(&card), "unknown").await;
    let cash = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 3000.0)),
        "vehicleType": "economy", "cardAuthorisation": card});
    rider.post("/trips/request", cash).await.refused(400, "VALIDATION_FAILED");
    card_that_is(&rider, &card, "authorised").await;

    // Many at once: one trip, one binding.
    let tries = join_all((0..8).map(|_| request(&rider, Some(&card)))).await;
    let booked: Vec<&Reply> = tries.iter().filter(|reply| reply.status == 201).collect();
    assert_eq!(booked.len(), 1, "{tries:?}");
    let trip = booked[0].data()["tripId"].clone();
    let bound = card_that_is(&rider, &card, "bound").await;
    assert_eq!(bound["tripId"], trip);
    // Once its trip is over it is nobody's again.
    let path = format!("/trips/{}/cancel-search", trip.as_str().expect("an id"));
    rider.post(&path, json!({})).await.data();
    unfit(&rider, Some(&card), "used").await;
    card_that_is(&rider, &card, "voided").await;
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_authorisation_is_bound_to_one_trip_whoever_asks_at_the_same_time() {
    let till = Till::where_trips_cost(50).await;
    let rider = Person::rider(&till).await;
    let (card, _) = authorise(&till.gateway, &rider, 50.0).await;
    let trip = request(&rider, Some(&card)).await.data()["tripId"].clone();
    // A second trip of the same rider, past the rule that he has one at a time.
    let mut owner = storage::testing::owner(till.db()).await;
    let second = "INSERT INTO trips (id, city_id, rider_id, status, payment_method, tier, strategy, \
          version, epoch, pickup_lat, pickup_lng, destination_lat, destination_lng, price, hold, \
          commission_bp, surge, quoted_distance_m, quoted_duration_s, requested_at, created_at, \
          ended_at) \
        SELECT gen_random_uuid(), city_id, rider_id, 'cancelled', 'card', tier, strategy, 1, \
          epoch, pickup_lat, pickup_lng, destination_lat, destination_lng, price, 0, \
          commission_bp, surge, quoted_distance_m, quoted_duration_s, requested_at, \
          created_at, now() \
        FROM trips WHERE id = $1::uuid RETURNING id::text";
    let second: String = sqlx::query_scalar(second)
        .bind(trip.as_str())
        .fetch_one(&mut owner)
        .await
        .expect("the owner may");
    let bind = "UPDATE card_authorisations SET trip_id = $2::uuid WHERE id = $1::uuid";
    let moved = sqlx::query(bind).bind(&card).bind(&second).execute(&mut owner).await;
    assert!(moved.is_err(), "a binding is for good");
    let (other, _) = authorise(&till.gateway, &rider, 50.0).await;
    let taken = sqlx::query(bind).bind(&other).bind(trip.as_str()).execute(&mut owner).await;
    let taken = taken.expect_err("the trip has a card").to_string();
    assert!(taken.contains("one_trip_per_card"), "{taken}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_copies_of_a_notice_in_any_order_authorise_once() {
    let till = Till::start().await;
    let rider = Person::rider(&till).await;
    let (id, order) = open_card(&rider, 60.0).await;
    // Declined first, told last; the good news a hundred times.
    let declined = till.gateway.decline(&order);
    let told = till.gateway.authorize(&order);
    let answers = join_all((0..100).map(|_| till.gateway.tell(&told))).await;
    assert_eq!(answers, [200; 100]);
    card_that_is(&rider, &id, "authorised").await;
    assert_eq!(till.gateway.tell(&declined).await, 200);
    assert_eq!(till.gateway.tell(&told).await, 200);
    till.look_at_card(&id).await;
    card_that_is(&rider, &id, "authorised").await;
    let facts = "SELECT count(*) FROM event_store WHERE aggregate_id = $1::uuid";
    assert_eq!(till.count(facts, &id).await, 1);
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_notice_says_of_a_card_is_never_evidence() {
    let till = Till::where_trips_cost(50).await;
    let rider = Person::rider(&till).await;
    let (id, order) = open_card(&rider, 60.0).await;
    // Signed, and not true any more or never: the gateway itself is asked.
    let mut told = till.gateway.decline(&order);
    told.event = "authorize".to_owned();
    told.data["status"] = json!("SUCCESS");
    assert_eq!(till.gateway.tell(&told).await, 401, "what is signed can not be changed");
    till.gateway.sign(&mut told);
    assert_eq!(till.gateway.tell(&told).await, 200);
    till.no_jobs("payment_notice").await;
    till.no_jobs("card_authorisation").await;
    card_that_is(&rider, &id, "pending").await;
    unfit(&rider, Some(&id), "pending").await;
    // Another amount than was asked for: somebody has to look, and no trip is paid by it.
    till.gateway.misprint(&order, "6.00");
    assert_eq!(till.gateway.tell(&till.gateway.authorize(&order)).await, 200);
    card_that_is(&rider, &id, "failed").await;
    unfit(&rider, Some(&id), "failed").await;
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_takes_the_money_at_once_fills_the_wallet() {
    let till = Till::where_trips_cost(50).await;
    let (admin, rider) = (Person::admin(&till).await, Person::rider(&till).await);
    let (id, order) = open_card(&rider, 60.0).await;
    // The event is not under the signature: it says that the money is only reserved.
    let mut told = till.gateway.pay(&order);
    told.event = "authorize".to_owned();
    assert_eq!(till.gateway.tell(&told).await, 200);
    let card = card_that_is(&rider, &id, "charged").await;
    assert_eq!((&card["captured"], wallet(&rider).await), (&json!(60), json!([60, 0, 0])));
    assert_eq!(till.postings("deposit", &id).await, "rider_wallet +6000, gateway_receivable -6000");
    unfit(&rider, Some(&id), "charged").await;
    assert_eq!(till.gateway.tell(&told).await, 200);
    till.look_at_nothing(&admin).await;
    till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_used_in_time_is_let_go() {
    let till = Till::where_trips_cost(50).await;
    let rider = Person::rider(&till).await;
    let (id, order) = authorise(&till.gateway, &rider, 50.0).await;
    let mut owner = storage::testing::owner(till.db()).await;
    let soon = "UPDATE card_authorisations SET expires_at = now() + interval '23 hours'";
    sqlx::query(soon).execute(&mut owner).await.expect("the owner may");
    unfit(&rider, Some(&id), "expired").await;
    let over = "UPDATE card_authorisations SET expires_at = now()";
    sqlx::query(over).execute(&mut owner).await.expect("the owner may");
    // The answer is lost: it is looked up, and never asked for again.
    till.gateway.play("/v3/orders", Play::Lose);
    till.look_at_card(&id).await;
    card_that_is(&rider, &id, "voiding").await;
    till.look_at_card(&id).await;
    card_that_is(&rider, &id, "voided").await;
    assert_eq!(till.gateway.seen("PUT /v3/orders"), 1);
    assert_eq!(till.gateway.payment(&order).status, "VOIDED");
    unfit(&rider, Some(&id), "voided").await;
    // A page that nobody uses ends with its time, and a bank may let go by itself.
    let (page, _) = open_card(&rider, 50.0).await;
    let past = "UPDATE card_authorisations SET page_until = now() - interval '1 hour' \
                WHERE status = 'pending'";
    sqlx::query(past).execute(&mut owner).await.expect("the owner may");
    till.look_at_card(&page).await;
    card_that_is(&rider, &page, "expired").await;
    let (lapsed, order) = authorise(&till.gateway, &rider, 50.0).await;
    assert_eq!(till.gateway.tell(&till.gateway.lapse(&order)).await, 200);
    card_that_is(&rider, &lapsed, "voided").await;
    till.check_invariants().await;
}

impl Till {
    /// A look at today finds nothing that does not fit, also beside the gateway's list.
    pub async fn look_at_nothing(&self, admin: &Person) {
        let flows = self.running().flows();
        let run = flows.look_at_day(flows.books.today(), books::AskedBy::Terminal).await;
        assert_eq!(run.expect("it was looked at").gateway.as_deref(), Some("compared"));
        let page = admin.get("/admin/reconciliation/findings?status=open").await;
        assert_eq!(page.data()["findings"], Value::Array(Vec::new()));
    }
}
