//! Trips paid by card, to the last piaster: captured at the end, let go, refused, lost.
//!
//! Fares are fixed by the test's own tariff; the company has 15 % of them.

use serde_json::{Value, json};
use standins::Play;

use crate::cards::request;
use crate::harness::{CAIRO, Person, Till, authorise, card_that_is, online_driver, until};
use crate::trip_money::{booked, complete, postings, started, told, top_up, wallet};

/// A city, its people, and what the rider authorised: authorisation and order.
struct Scene {
    till: Till,
    admin: Person,
    driver: Person,
    rider: Person,
    card: String,
    order: String,
}

impl Scene {
    /// Every trip costs `pounds`, `reserved` are on the card.
    async fn new(pounds: i64, reserved: f64) -> Self {
        Self::of(Till::where_trips_cost(pounds).await, reserved).await
    }

    async fn of(till: Till, reserved: f64) -> Self {
        let admin = Person::admin(&till).await;
        let driver = online_driver(&till, &admin, CAIRO).await;
        let rider = Person::rider(&till).await;
        let (card, order) = authorise(&till.gateway, &rider, reserved).await;
        Self { till, admin, driver, rider, card, order }
    }

    fn by_card(&self) -> Value {
        json!({"paymentMethod": "card", "cardAuthorisation": self.card})
    }

    /// The rider sits in the car.
    async fn started(&self) -> String {
        started(&self.till, &self.rider, &self.driver, self.by_card()).await
    }

    /// A driver is on his way.
    async fn accepted(&self) -> String {
        let asked = booked(&self.till, &self.rider, &self.driver, self.by_card()).await;
        asked["tripId"].as_str().expect("an id").to_owned()
    }

    async fn trip_that_is(&self, trip: &str, payment: &str) -> Value {
        until(&format!("trip {payment}"), async || {
            let found = self.rider.trip(trip).await;
            (found["paymentStatus"] == payment).then_some(found)
        })
        .await
    }

    async fn card_that_is(&self, status: &str) -> Value {
        card_that_is(&self.rider, &self.card, status).await
    }

    async fn postings(&self, trip: &str) -> Vec<String> {
        postings(&self.till, trip).await
    }

    /// Taken at the gateway, and how often it was asked for anything.
    fn taken(&self) -> (Vec<String>, usize) {
        let taken = self.till.gateway.payment(&self.order).taken();
        (taken, self.till.gateway.seen("PUT /v3/orders"))
    }
}

fn once(amount: &str) -> (Vec<String>, usize) {
    (vec![amount.to_owned()], 1)
}

const PAID_BY_CARD: [&str; 1] =
    ["settle: driver 4250, commission 658, vat 92, gateway_receivable -5000"];

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_of_50_takes_50_of_the_60_reserved_and_gives_the_driver_42_50() {
    let scene = Scene::new(50, 60.0).await;
    let trip = scene.started().await;
    scene.card_that_is("bound").await;
    let done = complete(&scene.driver, &trip).await;
    assert_eq!((&done["status"], &done["paymentStatus"]), (&json!("completed"), &json!("pending")));
    scene.trip_that_is(&trip, "paid").await;
    let card = scene.card_that_is("captured").await;
    assert_eq!((&card["captured"], &card["tripId"]), (&json!(50), &json!(trip)));
    assert_eq!(scene.taken(), once("50"));
    assert_eq!(scene.postings(&trip).await, PAID_BY_CARD);
    assert_eq!(wallet(&scene.driver).await, json!([42.5, 0, 0]));
    assert_eq!(wallet(&scene.rider).await, json!([0, 0, 0]));
    let receipt = scene.admin.get(&format!("/trips/{trip}/receipt")).await.data().clone();
    assert_eq!((&receipt["charge"]["paid"], &receipt["charge"]["owed"]), (&json!(50), &json!(0)));
    assert_eq!(receipt["earnings"]["total"], 42.5);
    let is_told = async || told(&scene.rider).await.contains(&"receipt".to_owned());
    until("a receipt", async || is_told().await.then_some(())).await;
    // What the gateway tells of it changes nothing any more.
    let late = scene.till.gateway.told_of_last(&scene.order);
    assert_eq!(scene.till.gateway.tell(&late).await, 200);
    // A tip comes from the wallet, as ever.
    let tip = format!("/trips/{trip}/tip");
    let refused = scene.rider.post(&tip, json!({"amount": 5})).await;
    refused.refused(409, "INSUFFICIENT_BALANCE");
    top_up(&scene.admin, &scene.rider, 5.0).await;
    scene.rider.post(&tip, json!({"amount": 5})).await.data();
    assert_eq!(wallet(&scene.driver).await, json!([47.5, 0, 0]));
    scene.till.look_at_nothing(&scene.admin).await;
    scene.till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_promo_is_taken_off_what_is_captured() {
    let till = Till::where_trips_cost(50).await;
    let scene = Scene::of(till, 40.0).await;
    let code = json!({"code": "CARD20", "reason": "the feast", "percent": 20, "budget": 500,
        "validUntil": "2099-01-01T00:00:00Z"});
    scene.admin.post("/admin/promo/codes", code).await.data();
    scene.rider.post("/promo/redeem", json!({"code": "CARD20"})).await.data();
    let trip = scene.started().await;
    complete(&scene.driver, &trip).await;
    scene.trip_that_is(&trip, "paid").await;
    assert_eq!(scene.taken(), once("40"));
    let posted = [
        "settle: driver 4250, commission 658, vat 92, gateway_receivable -4000, promo_expense -1000",
    ];
    assert_eq!(scene.postings(&trip).await, posted);
    scene.till.look_at_nothing(&scene.admin).await;
    scene.till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_that_costs_nothing_lets_the_card_go() {
    let scene = Scene::new(50, 60.0).await;
    // Called off in time by its rider.
    let trip = scene.accepted().await;
    let path = format!("/trips/{trip}/cancel");
    scene.rider.post(&path, json!({"reason": "changed_mind"})).await.data();
    scene.card_that_is("voided").await;
    assert_eq!(scene.taken(), (Vec::new(), 1));
    // Called off while a driver is searched.
    let (card, order) = authorise(&scene.till.gateway, &scene.rider, 50.0).await;
    scene.driver.post("/drivers/status", json!({"isOnline": false})).await.data();
    let trip = request(&scene.rider, Some(&card)).await.data()["tripId"].clone();
    let trip = trip.as_str().expect("an id");
    scene.rider.post(&format!("/trips/{trip}/cancel-search"), json!({})).await.data();
    card_that_is(&scene.rider, &card, "voided").await;
    assert_eq!(scene.till.gateway.payment(&order).status, "VOIDED");
    assert_eq!(scene.postings(trip).await, [""; 0]);
    scene.till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_found_and_the_card_is_let_go() {
    let scene = Scene::new(50, 60.0).await;
    scene.driver.post("/drivers/status", json!({"isOnline": false})).await.data();
    let trip = request(&scene.rider, Some(&scene.card)).await.data()["tripId"].clone();
    let id = trip.as_str().and_then(|id| id.parse().ok()).map(base::TripId).expect("an id");
    // As dispatch says it after its last ring.
    let trips = &scene.till.running().flows().trips;
    trips.command(id, trips::Command::NoDrivers).await.expect("nobody is found");
    scene.card_that_is("voided").await;
    scene.till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_cancellation_takes_its_fee_of_the_card() {
    let till = Till::where_trips_cost(50).await;
    let till = till
        .restart(
            "INSERT INTO cancel_rules (city_id, tier, free_cancel_s, cancel_fee, no_show_wait_s, \
               no_show_fee) VALUES (1, 'economy', 0, 2400, 0, 3000)",
        )
        .await;
    let scene = Scene::of(till, 60.0).await;
    let trip = scene.accepted().await;
    let path = format!("/trips/{trip}/cancel");
    let ended = scene.rider.post(&path, json!({"reason": "changed_mind"})).await;
    assert_eq!(ended.data()["cancelFee"], 24);
    assert_eq!(scene.card_that_is("captured").await["captured"], 24);
    assert_eq!(scene.taken(), once("24"));
    let posted = ["cancel_fee: driver 1600, cancel_revenue 800, gateway_receivable -2400"];
    assert_eq!(scene.postings(&trip).await, posted);
    assert_eq!(wallet(&scene.rider).await, json!([0, 0, 0]));
    assert_eq!(wallet(&scene.driver).await, json!([16, 0, 0]));

    // Where the card does not pay it, it is owed as of any other trip.
    let (card, _) = authorise(&scene.till.gateway, &scene.rider, 50.0).await;
    let scene = Scene { card, ..scene };
    scene.till.gateway.play("/v3/orders", Play::Refuse(400));
    let trip = scene.accepted().await;
    scene.driver.report(CAIRO).await.data();
    let arrived = json!({"status": "arrived"});
    scene.driver.post(&format!("/trips/{trip}/status"), arrived).await.data();
    let gone = json!({"reason": "rider_no_show"});
    scene.driver.post(&format!("/trips/{trip}/cancel"), gone).await.data();
    scene.card_that_is("voided").await;
    let posted = ["cancel_fee: rider_due -3000, driver 2000, cancel_revenue 1000"];
    assert_eq!(scene.postings(&trip).await, posted);
    assert_eq!(wallet(&scene.rider).await, json!([0, 0, 30]));
    scene.till.look_at_nothing(&scene.admin).await;
    scene.till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_is_asked_for_once_whatever_becomes_of_the_answer() {
    let scene = Scene::new(50, 60.0).await;
    let trip = scene.started().await;
    scene.till.gateway.play("/v3/orders", Play::Lose);
    complete(&scene.driver, &trip).await;
    scene.card_that_is("capturing").await;
    assert_eq!(scene.rider.trip(&trip).await["paymentStatus"], "pending");
    // While nobody knows, no wallet pays for it.
    scene
        .rider
        .post(&format!("/trips/{trip}/pay"), json!({}))
        .await
        .refused(409, "INVALID_TRANSITION");
    let told = scene.till.gateway.told_of_last(&scene.order);
    for _ in 0..3 {
        assert_eq!(scene.till.gateway.tell(&told).await, 200);
        scene.till.look_at_card(&scene.card).await;
    }
    scene.trip_that_is(&trip, "paid").await;
    scene.card_that_is("captured").await;
    assert_eq!(scene.taken(), once("50"));
    assert_eq!(scene.postings(&trip).await, PAID_BY_CARD);
    assert_eq!(wallet(&scene.driver).await, json!([42.5, 0, 0]));
    scene.till.look_at_nothing(&scene.admin).await;
    scene.till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_was_not_reached_is_asked_again_later() {
    let scene = Scene::new(50, 60.0).await;
    let trip = scene.started().await;
    scene.till.gateway.play("/v3/orders", Play::Busy { after_s: 1 });
    complete(&scene.driver, &trip).await;
    let asked = || scene.till.gateway.seen("PUT /v3/orders") > 0;
    until("a capture", async || asked().then_some(())).await;
    scene.card_that_is("bound").await;
    assert_eq!(scene.rider.trip(&trip).await["paymentStatus"], "pending");
    scene.till.look_at_card(&scene.card).await;
    scene.trip_that_is(&trip, "paid").await;
    assert_eq!(scene.taken(), (vec!["50".to_owned()], 2));
    scene.till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_is_refused_leaves_the_trip_to_the_wallet() {
    let scene = Scene::new(150, 150.0).await;
    let trip = scene.started().await;
    scene.till.gateway.play("/v3/orders", Play::Refuse(400));
    complete(&scene.driver, &trip).await;
    let failed = scene.trip_that_is(&trip, "failed").await;
    assert_eq!(failed["status"], "payment_failed");
    // What it reserved is let go, and nothing has moved.
    scene.card_that_is("voided").await;
    assert_eq!(scene.taken(), (Vec::new(), 2));
    assert_eq!(scene.postings(&trip).await, [""; 0]);
    scene.rider.request_trip(CAIRO).await.refused(409, "PAYMENT_DUE");
    top_up(&scene.admin, &scene.rider, 160.0).await;
    scene.trip_that_is(&trip, "paid").await;
    let posted = ["settle: rider_wallet -15000, driver 12750, commission 1974, vat 276"];
    assert_eq!(scene.postings(&trip).await, posted);
    assert_eq!(wallet(&scene.rider).await, json!([10, 0, 0]));
    assert!(told(&scene.rider).await.contains(&"payment_failed".to_owned()));
    scene.till.look_at_nothing(&scene.admin).await;
    scene.till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_by_anothers_hand_pays_and_the_rest_is_the_riders() {
    let scene = Scene::new(50, 60.0).await;
    let trip = scene.started().await;
    // All of it, on the gateway's own page; our call is refused then.
    scene.till.gateway.pay(&scene.order);
    complete(&scene.driver, &trip).await;
    scene.trip_that_is(&trip, "paid").await;
    assert_eq!(scene.card_that_is("captured").await["captured"], 60);
    let posted = [
        "settle: rider_wallet 1000, driver 4250, commission 658, vat 92, gateway_receivable -6000",
    ];
    assert_eq!(scene.postings(&trip).await, posted);
    assert_eq!(wallet(&scene.rider).await, json!([10, 0, 0]));
    scene.till.look_at_nothing(&scene.admin).await;
    scene.till.check_invariants().await;
}

/// A started trip whose price grew by rule; its owner learns of it when he takes the trip up again.
async fn dearer(sql: &'static str) -> (Scene, String) {
    let scene = Scene::new(50, 60.0).await;
    let trip = scene.started().await;
    let Scene { till, admin, driver, rider, card, order } = scene;
    let till = till.restart(sql).await;
    let again = async |person: &Person| Person::log_in(&till, &person.phone, "tahrir99").await;
    let (admin, driver, rider) = (again(&admin).await, again(&driver).await, again(&rider).await);
    (Scene { till, admin, driver, rider, card, order }, trip)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fare_above_what_is_reserved_is_the_wallets_and_then_owed() {
    let (scene, trip) = Box::pin(dearer("UPDATE trips SET price = 7000")).await;
    top_up(&scene.admin, &scene.rider, 4.0).await;
    complete(&scene.driver, &trip).await;
    scene.trip_that_is(&trip, "paid").await;
    assert_eq!(scene.taken(), once("60"));
    let posted =
        ["settle: rider_wallet -400, rider_due -600, driver 5950, commission 921, vat 129, \
         gateway_receivable -6000"];
    assert_eq!(scene.postings(&trip).await, posted);
    assert_eq!(wallet(&scene.rider).await, json!([0, 0, 6]));
    scene.till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fare_that_nothing_covers_moves_nothing_and_is_tried_again() {
    let (scene, trip) = Box::pin(dearer("UPDATE trips SET price = 15000")).await;
    complete(&scene.driver, &trip).await;
    scene.trip_that_is(&trip, "failed").await;
    scene.card_that_is("bound").await;
    assert_eq!((scene.taken(), scene.postings(&trip).await), ((Vec::new(), 0), Vec::new()));
    // 60 of the card, 40 of the wallet, 50 owed: as much as may be.
    top_up(&scene.admin, &scene.rider, 40.0).await;
    scene.till.look_at_card(&scene.card).await;
    scene.trip_that_is(&trip, "paid").await;
    assert_eq!(scene.taken(), once("60"));
    assert_eq!(wallet(&scene.rider).await, json!([0, 0, 50]));
    scene.till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wallet_that_pays_first_lets_the_card_go() {
    let (scene, trip) = Box::pin(dearer("UPDATE trips SET price = 15000")).await;
    complete(&scene.driver, &trip).await;
    scene.trip_that_is(&trip, "failed").await;
    top_up(&scene.admin, &scene.rider, 150.0).await;
    scene.trip_that_is(&trip, "paid").await;
    scene.card_that_is("voided").await;
    assert_eq!(scene.taken(), (Vec::new(), 1));
    assert_eq!(wallet(&scene.rider).await, json!([0, 0, 0]));
    scene.till.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_knows_for_a_day_is_somebodys_to_look_at() {
    let scene = Scene::new(50, 60.0).await;
    let trip = scene.started().await;
    // It never came there, though nobody here can tell.
    scene.till.gateway.play("/v3/orders", Play::Refuse(502));
    complete(&scene.driver, &trip).await;
    scene.card_that_is("capturing").await;
    scene.till.look_at_card(&scene.card).await;
    let mut owner = storage::testing::owner(scene.till.db()).await;
    let old = "UPDATE card_authorisations SET asked_at = now() - interval '24 hours'";
    sqlx::query(old).execute(&mut owner).await.expect("the owner may");
    scene.till.look_at_card(&scene.card).await;
    let letter = scene.till.letter(&scene.admin, "authorisationId", &scene.card).await;
    assert_eq!(letter, "a card was asked to pay a day ago, and nobody knows");
    assert_eq!(scene.taken(), (Vec::new(), 1), "it is not asked for again");
    // Whoever sees the gateway's own page says so: the wallet is to pay, the card is let go.
    let path = format!("/admin/cards/{}/settle", scene.card);
    let found = json!({"outcome": "failed", "reason": "the gateway has no capture"});
    scene.rider.post(&path, found.clone()).await.refused(403, "FORBIDDEN");
    scene.admin.post(&path, found.clone()).await.data();
    scene.admin.post(&path, found).await.refused(409, "INVALID_TRANSITION");
    scene.trip_that_is(&trip, "paid").await;
    assert_eq!(wallet(&scene.rider).await, json!([0, 0, 50]), "as much as may be owed");
    scene.till.look_at_card(&scene.card).await;
    scene.card_that_is("voided").await;
    let log = scene.admin.get("/admin/audit?action=card.settle").await;
    assert_eq!(log.data()["entries"][0]["details"]["outcome"], "failed");
    scene.till.check_invariants().await;
}
