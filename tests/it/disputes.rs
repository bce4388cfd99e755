//! Riders and drivers complain about trips; operators answer, with money or without.

use base::Piasters;
use payments::ActLimits;
use serde_json::{Value, json};

use crate::acts::{balance, completed_trip};
use crate::harness::{CAIRO, Person, Reply, Server, online_driver};
use crate::races::started_trip;

async fn complain(person: &Person, trip: &str) -> Reply {
    let body = json!({"reason": "fare", "text": "  <b>It was not as agreed.</b>  "});
    person.post(&format!("/trips/{trip}/dispute"), body).await
}

fn id_of(reply: &Reply) -> String {
    reply.data()["dispute"]["id"].as_str().expect("an id").to_owned()
}

async fn resolve(admin: &Person, id: &str, resolution: &str, amount: Option<f64>) -> Reply {
    let mut body = json!({"resolution": resolution, "reason": "we looked at it"});
    if let Some(amount) = amount {
        body["amount"] = json!(amount);
    }
    admin.post(&format!("/admin/disputes/{id}/resolve"), body).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_is_complained_about_once_by_its_people_and_in_time() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let (rider, stranger) = (Person::rider(&server).await, Person::rider(&server).await);
    let trip = started_trip(&server, &rider, &driver).await;
    complain(&rider, &trip).await.refused(409, "TRIP_IN_PROGRESS");
    driver.post(&format!("/trips/{trip}/status"), json!({"status": "completed"})).await.data();
    complain(&stranger, &trip).await.refused(404, "NOT_FOUND");
    complain(&admin, &trip).await.refused(403, "FORBIDDEN");
    let opened = complain(&rider, &trip).await;
    assert_eq!(opened.status, 201, "{opened:?}");
    assert_eq!(opened.data()["dispute"]["text"], "<b>It was not as agreed.</b>");
    complain(&rider, &trip).await.refused(409, "ALREADY_DISPUTED");
    for body in [json!({"reason": "fare", "text": " "}), json!({"reason": "mood", "text": "x"})] {
        let reply = rider.post(&format!("/trips/{trip}/dispute"), body).await;
        reply.refused(400, "VALIDATION_FAILED");
    }
    assert_eq!(complain(&driver, &trip).await.status, 201, "the driver has his own");
    let own = rider.get("/disputes").await.data()["disputes"].clone();
    assert_eq!(own.as_array().map(Vec::len), Some(1), "{own}");
    assert_eq!(stranger.get("/disputes").await.data()["disputes"], json!([]));
    let queue = admin.get("/admin/disputes?status=open").await.data()["disputes"].clone();
    assert_eq!(queue.as_array().map(Vec::len), Some(2), "{queue}");

    // The first driver rests.
    let next = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let (late, _) = completed_trip(&server, &rider, &next).await;
    let mut owner = storage::testing::owner(server.db()).await;
    sqlx::query(
        "UPDATE trips SET ended_at = ended_at - interval '7 days 1 second' WHERE id = $1::uuid",
    )
    .bind(&late)
    .execute(&mut owner)
    .await
    .expect("the owner may");
    complain(&rider, &late).await.refused(409, "DISPUTE_TOO_LATE");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_complaint_ends_with_a_refund_a_clawback_or_a_no() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let (trip, _) = completed_trip(&server, &rider, &driver).await;
    let id = id_of(&complain(&rider, &trip).await);
    resolve(&admin, &id, "clawback", None).await.refused(400, "VALIDATION_FAILED");
    resolve(&admin, &id, "clawback", Some(9000.0)).await.refused(409, "REFUND_TOO_LARGE");
    let done = resolve(&admin, &id, "clawback", Some(10.0)).await;
    let act = done.data()["dispute"]["actId"].as_str().expect("an act").to_owned();
    assert_eq!(done.data()["dispute"]["status"], "resolved");
    assert_eq!(
        server.postings("refund", &act).await,
        "rider_wallet +1000, driver -850, commission -132, vat -18"
    );
    resolve(&admin, &id, "rejected", None).await.refused(409, "INVALID_TRANSITION");
    let own = rider.get("/disputes").await.data()["disputes"][0].clone();
    assert_eq!(
        (&own["resolution"], &own["answer"]),
        (&json!("clawback"), &json!("we looked at it"))
    );
    assert_eq!(own["actId"], Value::Null);
    let told = rider.get("/notifications").await.data()["notifications"].clone();
    let kinds: Vec<_> =
        told.as_array().expect("a list").iter().map(|n| n["kind"].clone()).collect();
    assert!(kinds.contains(&json!("dispute_resolved")) && kinds.contains(&json!("refunded")));

    // The driver's own complaint: the company pays him, or says no.
    let was = balance(&driver).await.as_f64().expect("an amount");
    let theirs = id_of(&complain(&driver, &trip).await);
    resolve(&admin, &theirs, "clawback", Some(5.0)).await.refused(400, "VALIDATION_FAILED");
    for wrong in [0.0, -5.0, 100_000.01] {
        resolve(&admin, &theirs, "refund", Some(wrong)).await.refused(400, "VALIDATION_FAILED");
    }
    resolve(&admin, &theirs, "refund", Some(5.0)).await.data();
    assert!((balance(&driver).await.as_f64().expect("an amount") - was - 5.0).abs() < 0.005);

    let other = online_driver(&server, &admin, CAIRO).await;
    let second = Person::rider(&server).await;
    let (next, _) = completed_trip(&server, &second, &other).await;
    let refused = id_of(&complain(&second, &next).await);
    resolve(&admin, &refused, "rejected", None).await.data();
    let log = admin.get(&format!("/admin/audit?objectId={refused}")).await;
    assert_eq!(log.data()["entries"][0]["action"], "dispute.resolve");
    assert_eq!(balance(&rider).await, json!(10));
    server.check_invariants().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_above_the_limit_waits_and_a_declined_one_opens_the_complaint_again() {
    let server = Server::with(|setup| {
        setup.act_limits = ActLimits { alone: Piasters(500), alone_per_day: Piasters(100_000) };
    })
    .await;
    let (admin, other) = (Person::admin(&server).await, Person::admin(&server).await);
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let (trip, _) = completed_trip(&server, &rider, &driver).await;
    let id = id_of(&complain(&rider, &trip).await);
    let decide = async |act: &Value, decision: &str| {
        let path = format!("/admin/approvals/{}/decide", act.as_str().expect("an id"));
        other.post(&path, json!({"decision": decision})).await.data().clone()
    };
    let waits = resolve(&admin, &id, "refund", Some(9.0)).await.data()["dispute"].clone();
    assert_eq!(waits["status"], "waiting");
    resolve(&other, &id, "rejected", None).await.refused(409, "INVALID_TRANSITION");
    let own = rider.get("/disputes").await.data()["disputes"][0].clone();
    assert_eq!((&own["status"], &own["answer"]), (&json!("open"), &Value::Null));
    decide(&waits["actId"], "decline").await;
    let waits = resolve(&admin, &id, "refund", Some(8.0)).await.data()["dispute"].clone();
    assert_eq!((waits["status"].clone(), balance(&rider).await), (json!("waiting"), json!(0)));
    decide(&waits["actId"], "approve").await;
    let own = rider.get("/disputes").await.data()["disputes"][0].clone();
    assert_eq!((&own["status"], &own["amount"]), (&json!("resolved"), &json!(8)));
    assert_eq!(balance(&rider).await, json!(8));
    server.check_invariants().await;
}
