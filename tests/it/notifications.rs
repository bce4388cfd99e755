//! Phones, wishes and the list, as apps see them; and reports of carriers, who have no token.

use std::time::Duration;

use notify::FcmConfig;
use secrecy::SecretString;
use serde_json::json;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::harness::{CAIRO, Person, Server, Socket, online_driver, until};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_is_told_on_the_riders_socket_and_stands_in_his_list() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    rider.post("/notifications/preferences", json!({"language": "en"})).await.data();
    let mut seat = Socket::open(&server, &rider).await;
    let mut wheel = Socket::open(&server, &driver).await;
    let trip = rider.request_trip(CAIRO).await.data()["tripId"].clone();
    wheel.next("offer").await;
    wheel.ok("offer.respond", json!({"tripId": trip, "action": "accept"})).await;
    let notice = seat.next("notice").await;
    assert_eq!(notice["room"], format!("user:{}", rider.id));
    assert_eq!(notice["data"]["kind"], "trip_accepted", "{notice}");
    assert_eq!(notice["data"]["about"], trip);
    let body = notice["data"]["body"].as_str().expect("a text");
    assert!(body.contains("\u{2068}white Lada 2107\u{2069}"), "{body}");

    // The notice may be on the screen before it is written down that it is.
    let listed = until("its delivery", async || {
        let listed = rider.get("/notifications").await.data()["notifications"][0].clone();
        (listed["deliveries"][0]["channel"] == "socket").then_some(listed)
    })
    .await;
    assert_eq!((&listed["kind"], &listed["id"]), (&json!("trip_accepted"), &notice["data"]["id"]));
    let others = driver.get("/notifications").await;
    assert_eq!(others.data()["notifications"], json!([]), "what he did himself is no news");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_completed_trip_is_told_and_its_receipt_stands_in_the_list() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let trip = crate::races::started_trip(&server, &rider, &driver).await;
    let done = json!({"status": "completed"});
    driver.post(&format!("/trips/{trip}/status"), done).await.data();
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let told = loop {
        let list = rider.get("/notifications").await.data()["notifications"].clone();
        let rows = list.as_array().expect("a list");
        let mut kinds: Vec<&str> = rows.iter().filter_map(|row| row["kind"].as_str()).collect();
        kinds.sort_unstable();
        if kinds.len() == 5 {
            break kinds.join(" ");
        }
        tick.tick().await;
    };
    assert_eq!(told, "receipt trip_accepted trip_arrived trip_completed trip_started");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offer_reaches_the_phone_of_a_driver_without_a_socket() {
    let firebase = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", firebase.local_addr().expect("an address"));
    let account = json!({
        "project_id": "test-project", "private_key_id": "test-key",
        "private_key": include_str!("../../src/notify/tests/keys/fcm_private.pem"),
        "client_email": "push@example.com", "token_uri": format!("{url}/token"),
    });
    let account = SecretString::from(account.to_string());
    let fcm = FcmConfig { account, url };
    let server = Server::with(|setup| setup.providers.fcm = Some(fcm)).await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let phone = json!({"platform": "android", "token": "token-of-ali"});
    driver.post("/devices", phone).await.data();
    let trip = rider.request_trip(CAIRO).await.data()["tripId"].clone();
    let (mut asked, _) = firebase.accept().await.expect("somebody calls");
    let mut first = [0; 11];
    asked.read_exact(&mut first).await.expect("a request");
    assert_eq!(&first, b"POST /token");
    let listed = driver.get("/notifications").await.data()["notifications"][0].clone();
    assert_eq!((&listed["kind"], &listed["about"]), (&json!("offer"), &trip), "{listed}");
    assert_eq!(listed["deliveries"][0]["channel"], "push", "{listed}");
    assert!(!listed.to_string().contains("token-of-ali"), "{listed}");
}
