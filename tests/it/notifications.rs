//! Phones, wishes and the list, as apps see them; and reports of carriers, who have no token.

use serde_json::json;

use crate::harness::{Person, Server};

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_is_registered_and_its_token_never_shown() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let phone = json!({"platform": "ios", "token": " abcdef0123456789 ", "locale": "ar-EG"});
    let reply = rider.post("/devices", phone.clone()).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let device = reply.data()["device"].clone();
    assert_eq!((&device["platform"], &device["locale"]), (&json!("ios"), &json!("ar-EG")));
    assert!(!reply.body.to_string().contains("abcdef0123456789"), "{reply:?}");
    let again = rider.post("/devices", phone).await;
    assert_eq!(again.data()["device"]["id"], device["id"], "the same phone");
    let gone = rider.post("/devices/remove", json!({"token": "abcdef0123456789"})).await;
    assert_eq!(gone.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_phones_and_wishes_is_named() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let check = async |path: &str, body: serde_json::Value, field: &str| {
        let reply = rider.post(path, body.clone()).await;
        reply.refused(400, "VALIDATION_FAILED");
        assert_eq!(reply.body["error"]["details"]["fields"][0]["field"], field, "{body}");
    };
    check("/devices", json!({"platform": "symbian", "token": "x".repeat(20)}), "platform").await;
    check("/devices", json!({"platform": "ios", "token": "short"}), "token").await;
    check("/devices", json!({"platform": "ios", "token": "x".repeat(513)}), "token").await;
    check("/devices", json!({"platform": "ios", "token": "two words here"}), "token").await;
    let locale = json!({"platform": "ios", "token": "x".repeat(20), "locale": "<b>"});
    check("/devices", locale, "locale").await;
    let path = "/notifications/preferences";
    check(path, json!({"email": "nobody"}), "email").await;
    check(path, json!({"language": "fr"}), "language").await;
    let hours = json!({"quietHours": {"from": "25:00", "to": "07:00"}});
    check(path, hours, "quietHours.from").await;
    let muted = json!({"muted": [{"group": "everything", "channel": "sms"}]});
    check(path, muted, "muted[0].group").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wishes_are_ones_own_and_replaced_whole() {
    let server = Server::start().await;
    let (rider, other) = (Person::rider(&server).await, Person::rider(&server).await);
    let wishes = json!({"language": "en", "email": "mona@example.com",
        "quietHours": {"from": "22:30", "to": "07:00"},
        "muted": [{"group": "trips", "channel": "sms"}]});
    let path = "/notifications/preferences";
    assert_eq!(rider.post(path, wishes.clone()).await.data()["preferences"], wishes);
    assert_eq!(rider.get(path).await.data()["preferences"], wishes);
    let empty = json!({"language": null, "email": null, "quietHours": null, "muted": []});
    assert_eq!(other.get(path).await.data()["preferences"], empty);
    rider.post(path, json!({})).await.data();
    assert_eq!(rider.get(path).await.data()["preferences"], empty);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_no_carrier_signed_is_not_taken() {
    let server = Server::start().await;
    let url = server.url("/api/v1/webhooks/twilio/00000000-0000-0000-0000-000000000007");
    let post = async |signature: &str, body: String| {
        let request = reqwest::Client::new().post(&url).header("x-twilio-signature", signature);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        request.body(body).send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(post("", "MessageStatus=delivered".to_owned()).await, 404);
    assert_eq!(post("AAAA", "MessageStatus=delivered&%zz=\u{0}".to_owned()).await, 404);
    assert_eq!(post("", "x".repeat(20_000)).await, 413);
}
