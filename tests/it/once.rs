//! One request, one effect, one answer: over REST and sockets, at once and after a crash.

use base::Piasters;
use futures_util::future::join_all;
use payments::ActLimits;
use serde_json::{Value, json};

use crate::acts::completed_trip;
use crate::harness::{
    ADMIN, CAIRO, Folder, Outside, Person, Program, Server, Socket, far_from, online_driver, point,
    withdraw,
};

fn wish(from: (f64, f64)) -> Value {
    json!({"pickup": point(from), "destination": point(far_from(from, 2000.0)),
        "vehicleType": "economy"})
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once_under_one_key_book_one_trip_and_hear_the_same() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let ask = || rider.post_once("/trips/request", wish(CAIRO), "abc");
    let first = join_all((0..50).map(|_| ask())).await;
    // While the first is worked on the others are told so; then all hear its answer.
    for reply in first.iter().filter(|reply| reply.status != 201) {
        reply.refused(409, "REQUEST_IN_PROGRESS");
    }
    assert!(first.iter().any(|reply| reply.status == 201), "{first:?}");
    let answers = join_all((0..50).map(|_| ask())).await;
    for reply in &answers {
        assert_eq!((reply.status, reply.data()), (201, answers[0].data()));
    }
    let trips = rider.get("/trips").await.data()["trips"].clone();
    assert_eq!(trips.as_array().map(Vec::len), Some(1), "{trips}");
    let other = rider.post_once("/trips/request", wish(far_from(CAIRO, 300.0)), "abc").await;
    other.refused(422, "IDEMPOTENCY_KEY_REUSED");
    // Another person's key is another key.
    let stranger = Person::rider(&server).await;
    let own = stranger.post_once("/trips/request", wish(CAIRO), "abc").await;
    assert_ne!(own.data()["tripId"], answers[0].data()["tripId"]);
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_sent_again_within_seconds_is_one_booking_and_a_repeated_step_is_refused() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let mut wheel = Socket::open(&server, &driver).await;
    let asked = join_all((0..10).map(|_| rider.request_trip(CAIRO))).await;
    for reply in &asked {
        assert_eq!((reply.status, reply.data()), (201, asked[0].data()));
    }
    let trip = asked[0].data()["tripId"].as_str().expect("an id").to_owned();
    wheel.next("offer").await;
    wheel.ok("offer.respond", json!({"tripId": trip, "action": "accept"})).await;
    let path = format!("/trips/{trip}/status");
    let arrived = json!({"status": "arrived"});
    driver.post(&path, arrived.clone()).await.data();
    driver.post(&path, arrived).await.refused(409, "INVALID_TRANSITION");
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_and_its_route_share_their_keys() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let mut seat = Socket::open(&server, &rider).await;
    let mut wheel = Socket::open(&server, &driver).await;
    let booked = seat.once("trip.request", wish(CAIRO), "book").await;
    assert_eq!(booked["type"], "ack", "{booked}");
    let again = rider.post_once("/trips/request", wish(CAIRO), "book").await;
    assert_eq!((again.status, again.data()), (201, &booked["data"]));
    let trip = booked["data"]["tripId"].clone();

    wheel.next("offer").await;
    let accept = json!({"tripId": trip, "action": "accept"});
    let accepted = wheel.once("offer.respond", accept.clone(), "take").await;
    assert_eq!(wheel.once("offer.respond", accept, "take").await["data"], accepted["data"]);
    let path = format!("/trips/{}/driver-response", trip.as_str().expect("an id"));
    let by_rest = driver.post_once(&path, json!({"action": "accept"}), "take").await;
    assert_eq!(by_rest.data(), &accepted["data"]);
    let other = wheel.once("offer.respond", json!({"tripId": trip, "action": "decline"}), "take");
    assert_eq!(other.await["error"]["code"], "IDEMPOTENCY_KEY_REUSED");
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_an_answer_too_and_a_mistake_is_not() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let mut broken = wish(CAIRO);
    broken["vehicleType"] = json!("rocket");
    rider.post_once("/trips/request", broken, "k").await.refused(400, "VALIDATION_FAILED");
    // The key is free: nothing had been tried.
    let trip = rider.post_once("/trips/request", wish(CAIRO), "k").await;
    let path = format!("/trips/{}/cancel", trip.data()["tripId"].as_str().expect("an id"));
    let second = wish(far_from(CAIRO, 400.0));
    let refused = rider.post_once("/trips/request", second.clone(), "k2").await;
    refused.refused(409, "TRIP_IN_PROGRESS");
    rider.post_once(&path, json!({"reason": "other"}), "k").await.data();
    rider.post_once("/trips/request", second.clone(), "k2").await.refused(409, "TRIP_IN_PROGRESS");
    assert_eq!(rider.post_once("/trips/request", second, "k3").await.status, 201);
    let long = "x".repeat(256);
    let mistake = rider.post_once("/trips/request", wish(CAIRO), &long).await;
    mistake.refused(400, "VALIDATION_FAILED");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_crash_the_same_request_has_the_same_answer() {
    let dir = Folder::new();
    let program = Program::start(&dir.0).await;
    let server = Outside::new(program.address);
    crate::harness::create_admin(&dir.0);
    let admin = Person::log_in(&server, ADMIN, "tahrir99").await;
    let rider = Person::rider(&server).await;
    let booked = rider.post_once("/trips/request", wish(CAIRO), "k").await.data().clone();
    let path = format!("/admin/wallets/{}/adjust", rider.id);
    let gift = json!({"amount": 50, "reason": "a gift"});
    let given = admin.post_once(&path, gift.clone(), "gift").await.data().clone();
    program.kill();
    let program = Program::start_at(&dir.0, server.address).await;
    let again = rider.post_once("/trips/request", wish(CAIRO), "k").await;
    assert_eq!(again.data(), &booked);
    assert_eq!(admin.post_once(&path, gift, "gift").await.data(), &given);
    assert_eq!(rider.get("/wallet").await.data()["balance"], 50);
    program.stop();
}

/// The node dies after the commit and before the answer is kept: so it looks then.
async fn lose_answers(server: &Server) {
    let lose = "UPDATE idempotency SET state = CASE WHEN subject IS NULL THEN 'running' \
        ELSE 'applied' END, status = NULL, answer = NULL, lease_until = now() - interval '1 second'";
    let mut owner = storage::testing::owner(server.db()).await;
    sqlx::query(lose).execute(&mut owner).await.expect("the owner may");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_admin_decided_is_told_again_when_its_answer_got_lost() {
    let server = Server::with(|setup| {
        setup.act_limits =
            ActLimits { alone: Piasters::pounds(100), alone_per_day: Piasters::pounds(10_000) };
    })
    .await;
    let (admin, other) = (Person::admin(&server).await, Person::admin(&server).await);
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let again = async |by: &Person, path: &str, body: Value| {
        let first = by.post_once(path, body.clone(), "once").await;
        let said = first.data().clone();
        lose_answers(&server).await;
        let second = by.post_once(path, body, "once").await;
        assert_eq!((second.status, second.data()), (first.status, &said), "{path}");
        said
    };
    let text = |value: &Value| value.as_str().expect("an id").to_owned();

    // An act.
    let gift = json!({"amount": 200, "reason": "a present"});
    let asked = admin.post(&format!("/admin/wallets/{}/adjust", driver.id), gift).await;
    let act = text(&asked.data()["act"]["id"]);
    let path = format!("/admin/approvals/{act}/decide");
    again(&other, &path, json!({"decision": "approve", "reason": "seen"})).await;

    // A withdrawal: each step has its own key.
    let request = withdraw(&driver, 100.0, "k").await.data()["request"]["id"].clone();
    for (key, action) in [("approve", "approve"), ("sent", "sent"), ("confirm", "confirm")] {
        let body = json!({"requestId": request, "action": action, "bankReference": "FT-1"});
        let first = admin.post_once("/payment/withdraw/manage", body.clone(), key).await;
        lose_answers(&server).await;
        let second = admin.post_once("/payment/withdraw/manage", body, key).await;
        assert_eq!(second.data(), first.data(), "{action}");
    }

    // A complaint.
    let (trip, _) = completed_trip(&server, &rider, &driver).await;
    let body = json!({"reason": "fare", "text": "It was not as agreed."});
    let opened = rider.post(&format!("/trips/{trip}/dispute"), body).await;
    let dispute = text(&opened.data()["dispute"]["id"]);
    let answer = json!({"resolution": "refund", "amount": 3, "reason": "we looked at it"});
    again(&admin, &format!("/admin/disputes/{dispute}/resolve"), answer).await;
    assert_eq!(rider.get("/wallet").await.data()["balance"], 3, "once");

    // An account that met a rule, and a finding.
    let mut owner = storage::testing::owner(server.db()).await;
    let case = "INSERT INTO fraud_cases (id, account, rule, action, weight, reasons, opened_at, \
        seen_at) VALUES (gen_random_uuid(), $1::uuid, 'velocity', 'hold', 1, '{}', now(), now()) \
        RETURNING id::text";
    let case: String =
        sqlx::query_scalar(case).bind(&rider.id).fetch_one(&mut owner).await.expect("a case");
    let clear = json!({"decision": "clear", "reason": "looked at it"});
    again(&admin, &format!("/admin/fraud/{case}/decide"), clear).await;
    let finding = "INSERT INTO reconciliation_findings (id, kind, subject, day, expected, actual, \
        first_seen, last_seen, opened_at) SELECT gen_random_uuid(), 'missing_settlement', 'x', \
        current_date, '1', '2', now(), now(), now() RETURNING id::text";
    let finding: String =
        sqlx::query_scalar(finding).fetch_one(&mut owner).await.expect("a finding");
    let fixed = json!({"resolution": "accepted", "reason": "a test"});
    again(&admin, &format!("/admin/reconciliation/findings/{finding}/resolve"), fixed).await;
    server.check_invariants().await;
}
