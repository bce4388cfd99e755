//! Partners: what their keys open, and that they open nothing else.

use app::Switch;
use reqwest::RequestBuilder;
use serde_json::{Value, json};

use crate::harness::{CAIRO, Person, Reply, Server, Socket, far_from, point, send};

const NEARBY: &str = "/api/v1/location/nearby?lat=30.0444&lng=31.2357";

/// A fresh key with these scopes, and its id.
async fn key(admin: &Person, scopes: Value, per_minute: u32) -> (String, String) {
    let body = json!({"name": "Nile Hotels", "scopes": scopes, "perMinute": per_minute});
    let reply = admin.post("/admin/api-keys", body).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&reply.data()["key"]), text(&reply.data()["apiKey"]["id"]))
}

async fn answer(request: RequestBuilder) -> Reply {
    let answer = request.send().await.expect("the server answers");
    let status = answer.status().as_u16();
    let body = answer.json().await.unwrap_or(Value::Null);
    Reply { status, body }
}

async fn ask(server: &Server, path: &str, key: &str) -> Reply {
    answer(server.http.get(server.url(path)).header("x-api-key", key)).await
}

async fn estimate(server: &Server, key: &str) -> Reply {
    let body = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 2000.0))});
    let request = server.http.post(server.url("/api/v1/pricing/estimate")).json(&body);
    answer(request.header("authorization", format!("ApiKey {key}"))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_its_scopes_and_nothing_else() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    let (prices, _) = key(&admin, json!(["pricing:estimate"]), 600).await;
    let (both, _) = key(&admin, json!(["pricing:estimate", "location:nearby"]), 600).await;

    let quote = estimate(&server, &prices).await.data()["estimates"][0].clone();
    ask(&server, NEARBY, &prices).await.refused(403, "FORBIDDEN");
    ask(&server, NEARBY, &both).await.data();
    for path in ["/trips", "/wallet", "/admin/drivers", "/admin/api-keys", "/pricing/surge-map"] {
        let path = format!("/api/v1{path}?lat=30&lng=31");
        ask(&server, &path, &both).await.refused(403, "FORBIDDEN");
    }
    assert_eq!(Socket::try_open(&server, Some(&both)).await.err(), Some(401));
    // A partner's quote is nobody's to book with.
    let mut ride = json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 2000.0)),
        "vehicleType": "economy"});
    ride["quoteId"] = quote["quoteId"].clone();
    rider.post("/trips/request", ride).await.refused(409, "QUOTE_INVALID");

    for wrong in ["sl_wrong", "", &both[..45], &format!("{both}x"), &rider.token] {
        ask(&server, NEARBY, wrong).await.refused(401, "UNAUTHENTICATED");
    }
    let two = server.http.get(server.url(NEARBY)).header("x-api-key", &both);
    answer(two.bearer_auth(&rider.token)).await.refused(401, "UNAUTHENTICATED");
    let bearer = server.http.get(server.url(NEARBY)).bearer_auth(&both);
    answer(bearer).await.refused(401, "UNAUTHENTICATED");
}

#[tokio::test(flavor = "multi_thread")]
async fn admins_make_rotate_and_end_keys_and_leave_a_record() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let (first, id) = key(&admin, json!(["location:nearby"]), 600).await;
    ask(&server, NEARBY, &first).await.data();

    let path = format!("/admin/api-keys/{id}");
    let rotated = admin.post(&format!("{path}/rotate"), json!({"graceSeconds": 0})).await;
    let second = rotated.data()["key"].as_str().expect("a key").to_owned();
    ask(&server, NEARBY, &first).await.refused(401, "UNAUTHENTICATED");
    ask(&server, NEARBY, &second).await.data();
    let usage = admin.get(&format!("{path}/usage")).await.data()["usage"].clone();
    assert_eq!((&usage[0]["requests"], &usage[0]["refused"]), (&json!(2), &json!(0)));

    let ended = admin.post(&format!("{path}/revoke"), json!({})).await;
    assert!(ended.data()["apiKey"]["revokedAt"].is_string());
    ask(&server, NEARBY, &second).await.refused(401, "UNAUTHENTICATED");
    let list = admin.get("/admin/api-keys").await;
    assert_eq!(list.data()["apiKeys"][0]["id"], json!(id));
    let text = list.body.to_string();
    assert!(!text.contains(&first[3..40]) && !text.contains(&second[3..40]), "{text}");
    let log = admin.get(&format!("/admin/audit?objectId={id}")).await.data()["entries"].clone();
    let actions: Vec<_> = (0..3).map(|n| log[n]["action"].as_str().unwrap_or("")).collect();
    assert_eq!(actions, ["api_key.revoke", "api_key.rotate", "api_key.create"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_admins_keep_keys_and_wrong_wishes_are_named() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let rider = Person::rider(&server).await;
    let id = "00000000-0000-0000-0000-000000000001";
    let wish = json!({"name": "x", "scopes": ["pricing:estimate"]});
    let posts = [
        ("/admin/api-keys".to_owned(), wish.clone()),
        (format!("/admin/api-keys/{id}/rotate"), json!({})),
        (format!("/admin/api-keys/{id}/revoke"), json!({})),
    ];
    for (path, body) in posts {
        rider.post(&path, body.clone()).await.refused(403, "FORBIDDEN");
        let url = server.url(&format!("/api/v1{path}"));
        send(&server.http, &url, None, Some(body.clone())).await.refused(401, "UNAUTHENTICATED");
        if path.contains(id) {
            admin.post(&path, body).await.refused(404, "NOT_FOUND");
        }
    }
    for path in ["/admin/api-keys".to_owned(), format!("/admin/api-keys/{id}/usage")] {
        rider.get(&path).await.refused(403, "FORBIDDEN");
        let url = server.url(&format!("/api/v1{path}"));
        send(&server.http, &url, None, None).await.refused(401, "UNAUTHENTICATED");
    }
    admin.get(&format!("/admin/api-keys/{id}/usage")).await.refused(404, "NOT_FOUND");
    let with = |field: &str, value: Value| {
        let mut wish = wish.clone();
        wish[field] = value;
        wish
    };
    for (field, value) in [
        ("name", json!("  ")),
        ("name", json!("x".repeat(101))),
        ("scopes", json!([])),
        ("scopes", json!(["trips:all"])),
        ("perMinute", json!(0)),
        ("perMinute", json!(100_001)),
        ("expiresAt", json!("2001-01-01T00:00:00Z")),
    ] {
        let reply = admin.post("/admin/api-keys", with(field, value)).await;
        reply.refused(400, "VALIDATION_FAILED");
        let named = reply.body["error"]["details"]["fields"][0]["field"].as_str().unwrap_or("");
        assert!(named.starts_with(field), "{field}: {named}");
    }
    let long = json!({"graceSeconds": 604_801});
    let path = format!("/admin/api-keys/{id}/rotate");
    admin.post(&path, long).await.refused(400, "VALIDATION_FAILED");
    let path = format!("/admin/api-keys/{id}/usage?days=0");
    admin.get(&path).await.refused(400, "VALIDATION_FAILED");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_key_has_a_measure_of_its_own() {
    let server = Server::with(|setup| setup.rate_limits = Switch::On).await;
    let admin = Person::admin(&server).await;
    let (small, id) = key(&admin, json!(["location:nearby"]), 3).await;
    let (large, _) = key(&admin, json!(["location:nearby"]), 3).await;
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(ask(&server, NEARBY, &small).await.status);
    }
    assert_eq!(told, [200, 200, 200, 429]);
    ask(&server, NEARBY, &large).await.data();
    let path = format!("/admin/api-keys/{id}/usage");
    let usage = admin.get(&path).await.data()["usage"][0].clone();
    assert_eq!((&usage["requests"], &usage["refused"]), (&json!(4), &json!(1)));
}
