//! Who may do what: tokens, roles, other people's things (SECURITY: tokens, refresh, IDOR).

use futures_util::future::join_all;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use crate::harness::{CAIRO, Person, Server, Socket, online_driver, send};

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_every_protected_route_answers_401() {
    let server = Server::start().await;
    let routes = [
        ("/api/v1/trips", None),
        ("/api/v1/wallet", None),
        ("/api/v1/trips/request", Some(json!({}))),
        ("/api/v1/drivers/status", Some(json!({"isOnline": true}))),
        ("/api/v1/location/update", Some(json!({}))),
        ("/api/v1/pricing/estimate", Some(json!({}))),
        ("/api/v1/admin/audit", None),
        ("/api/v1/admin/breakers", None),
        ("/api/v1/admin/api-keys", None),
        ("/api/v1/admin/api-keys", Some(json!({}))),
        ("/api/v1/devices", Some(json!({}))),
        ("/api/v1/devices/remove", Some(json!({}))),
        ("/api/v1/notifications", None),
        ("/api/v1/notifications/preferences", None),
        ("/api/v1/notifications/preferences", Some(json!({}))),
    ];
    for (path, body) in routes {
        let reply = send(&server.http, &server.url(path), None, body).await;
        reply.refused(401, "UNAUTHENTICATED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_role_is_403_and_a_foreign_trip_is_404() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let (rider, other) = (Person::rider(&server).await, Person::rider(&server).await);
    let driver = Person::driver(&server).await;
    let trip = rider.request_trip(CAIRO).await.data()["tripId"].clone();
    let trip = trip.as_str().expect("an id");

    driver.request_trip(CAIRO).await.refused(403, "FORBIDDEN");
    rider.post("/drivers/status", json!({"isOnline": true})).await.refused(403, "FORBIDDEN");
    rider.report(CAIRO).await.refused(403, "FORBIDDEN");
    let decision = json!({"decision": "approve"});
    let path = format!("/admin/drivers/{}/decision", driver.id);
    driver.post(&path, decision.clone()).await.refused(403, "FORBIDDEN");
    rider.get(&format!("/admin/trips/{trip}/dispatch-trace")).await.refused(403, "FORBIDDEN");

    let phone = json!({"platform": "android", "token": "token-of-an-operator"});
    admin.post("/devices", phone.clone()).await.refused(403, "FORBIDDEN");
    admin.post("/devices/remove", phone).await.refused(403, "FORBIDDEN");
    admin.get("/notifications/preferences").await.refused(403, "FORBIDDEN");
    admin.post("/notifications/preferences", json!({})).await.refused(403, "FORBIDDEN");

    for stranger in [&other, &driver] {
        stranger.get(&format!("/trips/{trip}")).await.refused(404, "NOT_FOUND");
        stranger.get(&format!("/trips/{trip}/track")).await.refused(404, "NOT_FOUND");
    }
    let reason = json!({"reason": "changed_mind"});
    other.post(&format!("/trips/{trip}/cancel"), reason).await.refused(404, "NOT_FOUND");
    let done = json!({"status": "completed"});
    driver.post(&format!("/trips/{trip}/status"), done).await.refused(404, "NOT_FOUND");
    let own = other.get("/trips").await;
    assert_eq!(own.data()["trips"], json!([]), "lists show one's own trips only");
    admin.get(&format!("/trips/{trip}")).await.data();
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_tokens_are_refused_by_routes_and_sockets() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    for (what, token) in forgeries(&rider) {
        let reply = send(&server.http, &server.url("/api/v1/wallet"), Some(&token), None).await;
        assert_eq!(reply.status, 401, "{what}: {reply:?}");
        let socket = Socket::try_open(&server, Some(&token)).await.err();
        assert_eq!(socket, Some(401), "{what}");
    }
    assert_eq!(Socket::try_open(&server, None).await.err(), Some(401));
    rider.get("/wallet").await.data();
}

/// The rider's own claims under signatures that are not ours.
fn forgeries(rider: &Person) -> Vec<(&'static str, String)> {
    let body = rider.token.split('.').nth(1).expect("a JWT has three parts");
    let (head, tail) = rider.token.rsplit_once('.').expect("a JWT has three parts");
    let claims = json!({"sub": rider.id, "role": "admin", "sid": rider.id, "jti": rider.id,
        "iat": 1, "exp": 4_000_000_000u64, "iss": "smartline", "aud": "smartline"});
    let signed = |header: &Header, key: &[u8]| {
        jsonwebtoken::encode(header, &claims, &EncodingKey::from_secret(key)).expect("it signs")
    };
    let mut strange_kid = Header::new(Algorithm::HS256);
    strange_kid.kid = Some("../../etc/passwd".to_owned());
    vec![
        ("no signature, alg none", format!("eyJhbGciOiJub25lIn0.{body}.")),
        ("signature cut off", format!("{head}.")),
        ("another's signature", format!("{head}.{}", tail.chars().rev().collect::<String>())),
        (
            "another key",
            signed(&Header::new(Algorithm::HS256), b"another key of enough bytes 1234"),
        ),
        ("HS512 with our key", signed(&Header::new(Algorithm::HS512), "t".repeat(32).as_bytes())),
        ("a kid that is a path", signed(&strange_kid, "t".repeat(32).as_bytes())),
        ("not a token", "hello".to_owned()),
        ("very long", "x".repeat(60_000)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_used_refresh_token_ends_the_session_and_its_sockets() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let mut socket = Socket::open(&server, &rider).await;
    let first = refresh(&server, &rider.refresh).await.data().clone();
    // The predecessor, asked again at once, gets the same successor: its answer may have been lost.
    let again = refresh(&server, &rider.refresh).await.data().clone();
    assert_eq!(first["refreshToken"], again["refreshToken"]);

    let second = refresh(&server, text(&first["refreshToken"])).await.data().clone();
    refresh(&server, &rider.refresh).await.refused(401, "INVALID_REFRESH_TOKEN");
    let newest = refresh(&server, text(&second["refreshToken"])).await;
    newest.refused(401, "INVALID_REFRESH_TOKEN");
    assert_eq!(rider.get("/wallet").await.status, 401, "the family's access tokens end too");
    assert_eq!(socket.closed().await, 4401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logout_ends_access_at_once() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let mut socket = Socket::open(&server, &rider).await;
    assert_eq!(rider.post("/auth/logout", json!({})).await.status, 204);
    assert_eq!(rider.get("/wallet").await.status, 401);
    assert_eq!(socket.closed().await, 4401);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_phone_is_one_account_however_many_ask() {
    let server = Server::start().await;
    let body = json!({"phone": "01012345678", "password": "tahrir99", "name": "Mona",
        "role": "customer"});
    let url = server.url("/api/v1/auth/signup");
    let asked = (0..8).map(|_| send(&server.http, &url, None, Some(body.clone())));
    let replies = join_all(asked).await;
    assert_eq!(replies.iter().filter(|reply| reply.status == 201).count(), 1, "{replies:?}");
    for reply in replies.iter().filter(|reply| reply.status != 201) {
        reply.refused(409, "PHONE_TAKEN");
    }
    let login = json!({"phone": "+20 10 1234 5678", "password": "tahrir99"});
    let url = server.url("/api/v1/auth/login");
    let reply = send(&server.http, &url, None, Some(login)).await;
    assert_eq!(reply.data()["user"]["role"], "rider");
    let wrong = json!({"phone": "01012345678", "password": "tahrir98"});
    send(&server.http, &url, None, Some(wrong)).await.refused(401, "INVALID_CREDENTIALS");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_approved_driver_goes_online() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = Person::driver(&server).await;
    driver.go_online(CAIRO).await.refused(409, "DRIVER_NOT_APPROVED");
    driver.approve(&admin, "comfort").await;
    assert_eq!(driver.go_online(CAIRO).await.data()["state"], "available");
    let suspend = json!({"decision": "suspend", "reason": "complaints"});
    let path = format!("/admin/drivers/{}/decision", driver.id);
    admin.post(&path, suspend).await.data();
    driver.go_online(CAIRO).await.refused(409, "DRIVER_NOT_APPROVED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rider_can_not_speak_as_a_driver_on_his_socket() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let mut seat = Socket::open(&server, &rider).await;
    let location = json!({"lat": 30.0, "lng": 31.0, "timestamp": "2026-01-01T00:00:00Z"});
    for (kind, data) in [("location", location), ("status", json!({"isOnline": true}))] {
        let answer = seat.call(kind, data).await;
        assert_eq!(answer["error"]["code"], "FORBIDDEN", "{answer}");
    }
    let mut wheel = Socket::open(&server, &driver).await;
    let trip = rider.request_trip(CAIRO).await.data()["tripId"].clone();
    let answer = wheel.call("trip.subscribe", json!({"tripId": trip})).await;
    assert_eq!(answer["error"]["code"], "NOT_FOUND", "being asked is not being on the trip");
}

async fn refresh(server: &Server, token: &str) -> crate::harness::Reply {
    let body = json!({"refreshToken": token});
    send(&server.http, &server.url("/api/v1/auth/refresh"), None, Some(body)).await
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}
