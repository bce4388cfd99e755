//! What operators do leaves a record, and so does what they look at.

use serde_json::{Value, json};

use crate::harness::{CAIRO, Person, Server, Socket, online_driver, send};

/// Actions in the log about one object, oldest first.
async fn told(admin: &Person, object: &str) -> Vec<String> {
    let reply = admin.get(&format!("/admin/audit?objectId={object}&limit=100")).await;
    let entries = reply.data()["entries"].as_array().expect("a list").clone();
    let actions = entries.iter().rev().map(|entry| entry["action"].as_str().unwrap_or(""));
    actions.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_act_of_an_admin_and_every_look_of_his_stands_in_the_log() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let waiting = Person::driver(&server).await;
    waiting.hand_in_papers("economy").await;
    admin.get("/admin/drivers").await.data();
    let path = format!("/admin/drivers/{}/decision", waiting.id);
    let no = json!({"decision": "reject", "reason": "blurred photo"});
    admin.post(&path, no).await.data();
    assert_eq!(told(&admin, &waiting.id).await, ["driver.read", "driver.decide"]);

    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let body = json!({"amount": 12.5, "reason": "lost and found"});
    admin.post(&format!("/admin/wallets/{}/adjust", rider.id), body).await.data();
    let entry = last(&admin, "wallet.adjust").await;
    assert_eq!(entry["actor"], json!(admin.id));
    assert_eq!(entry["object"], json!({"kind": "wallet", "id": rider.id}));
    assert_eq!(entry["details"]["amount"], 12.5);

    let trip = rider.request_trip(CAIRO).await.data()["tripId"].clone();
    let trip = trip.as_str().expect("an id").to_owned();
    rider.get(&format!("/trips/{trip}")).await.data();
    driver.get(&format!("/trips/{trip}")).await;
    assert_eq!(told(&admin, &trip).await, [""; 0], "people who look at their own leave no record");
    admin.get(&format!("/trips/{trip}")).await.data();
    admin.get("/trips").await.data();
    admin.get(&format!("/trips/{trip}/track")).await.data();
    admin.get(&format!("/admin/trips/{trip}/dispatch-trace")).await.data();
    let mut socket = Socket::open(&server, &admin).await;
    socket.call("trip.subscribe", json!({"tripId": trip})).await;
    socket.call("live.subscribe", json!({"city": 1})).await;
    assert_eq!(
        told(&admin, &trip).await,
        ["trip.read", "trip.read", "trip.read_track", "trip.read_trace", "trip.follow"]
    );
    assert_eq!(last(&admin, "city.watch").await["object"]["id"], "1");
    // Reading the log is a look too.
    assert_eq!(last(&admin, "audit.read").await["details"]["action"], "city.watch");
}

async fn last(admin: &Person, action: &str) -> Value {
    let reply = admin.get(&format!("/admin/audit?action={action}&limit=1")).await;
    reply.data()["entries"][0].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_for_admins_and_an_act_that_failed_is_not_in_it() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    rider.get("/admin/audit").await.refused(403, "FORBIDDEN");
    send(&server.http, &server.url("/api/v1/admin/audit"), None, None)
        .await
        .refused(401, "UNAUTHENTICATED");
    admin.get("/admin/audit?actor=me").await.refused(400, "VALIDATION_FAILED");
    admin.get("/admin/audit?objectId=").await.refused(400, "VALIDATION_FAILED");

    // The wallet would be below zero: nothing moved, so nothing is told.
    let body = json!({"amount": -5, "reason": "a mistake"});
    admin
        .post(&format!("/admin/wallets/{}/adjust", rider.id), body)
        .await
        .refused(409, "INSUFFICIENT_BALANCE");
    let nobody = "00000000-0000-0000-0000-000000000001";
    let path = format!("/admin/drivers/{nobody}/decision");
    admin.post(&path, json!({"decision": "approve"})).await.refused(404, "NOT_FOUND");
    assert_eq!(told(&admin, &rider.id).await, [""; 0]);
    assert_eq!(told(&admin, nobody).await, [""; 0]);
}
