//! Secrets sent everywhere, and looked for where they must not be: logs, metrics, errors.

use std::collections::BTreeSet;

use app::Document;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Folder, Outside, Person, Program, Socket, create_admin, send};

const PASSWORD: &str = "canaryPassword1";
const WRONG_PASSWORD: &str = "canaryPassword2";
const JUNK_TOKEN: &str = "canaryToken3";
const DIGITS: u64 = 990_011_223_344;
/// Both spellings.
const PHONE: &str = "01077123456";
const PHONE_TAIL: &str = "1077123456";

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_found_in_logs_metrics_or_errors() {
    let dir = Folder::new();
    let program = Program::start_talkative(&dir.0).await;
    let server = Outside::new(program.address);
    create_admin(&dir.0);
    let admin = Person::log_in(&server, ADMIN, "tahrir99").await;

    let mut errors = Vec::new();
    let mut post = async |path: &str, token: Option<&str>, body: Value| {
        let url = server.url(&format!("/api/v1{path}"));
        let reply = send(&server.http, &url, token, Some(body)).await;
        if reply.status >= 400 {
            errors.push(reply.body.to_string());
        }
        reply
    };
    let account = json!({"phone": PHONE, "password": PASSWORD, "name": "Mona", "role": "rider"});
    let made = post("/auth/signup", None, account.clone()).await.data().clone();
    let text = |part: &str| made[part].as_str().expect("a text").to_owned();
    let (token, refresh) = (text("token"), text("refreshToken"));
    post("/auth/signup", None, account).await;
    post("/auth/check-phone", None, json!({"phone": PHONE})).await;
    post("/auth/login", None, json!({"phone": PHONE, "password": PASSWORD})).await;
    for secret in [json!(WRONG_PASSWORD), json!(DIGITS), json!({"a": WRONG_PASSWORD}), json!(null)]
    {
        post("/auth/login", None, json!({"phone": PHONE, "password": secret})).await;
        post("/auth/login", None, json!({"phone": secret, "password": PASSWORD})).await;
        post("/auth/signup", None, json!({"phone": PHONE, "password": secret})).await;
        post("/auth/refresh", None, json!({"refreshToken": secret})).await;
        post("/auth/exchange", None, json!({"code": secret})).await;
        post("/auth/logout", Some(&token), json!({"refreshToken": [secret]})).await;
    }
    let renewed = post("/auth/refresh", None, json!({"refreshToken": refresh})).await;
    let renewed = renewed.data()["refreshToken"].as_str().expect("a text").to_owned();
    post("/auth/login", None, json!([PHONE, PASSWORD])).await;
    post("/auth/login", Some(JUNK_TOKEN), json!(PASSWORD)).await;
    for operation in operations() {
        let (method, path) = operation.split_once(' ').expect("a method and a path");
        let path = path.replace("{}", JUNK_TOKEN);
        for bearer in [token.as_str(), admin.token.as_str(), JUNK_TOKEN] {
            let url = server.url(&format!("/api/v1{path}?password={PASSWORD}&token={token}"));
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let request = server.http.request(method.clone(), url).bearer_auth(bearer);
            // A logout would end the others' session.
            if path == "/auth/logout" && bearer != JUNK_TOKEN {
                continue;
            }
            let answer = request.json(&json!({"password": PASSWORD})).send().await;
            let answer = answer.expect("the server answers");
            if answer.status().as_u16() >= 400 {
                errors.push(answer.text().await.expect("a body"));
            }
        }
    }
    over_a_socket(&server, &token, &mut errors).await;
    let metrics = format!("http://{}/metrics", program.operators);
    let metrics = reqwest::get(metrics).await.expect("metrics").text().await.expect("a body");
    assert!(metrics.contains("http_server_request_duration_seconds"), "{metrics}");
    let log = program.stop_and_read().await;
    assert!(
        log.contains("INVALID_CREDENTIALS") && log.contains("\"request\""),
        "it says something"
    );

    let signature = |token: &str| token.rsplit('.').next().unwrap_or(token).to_owned();
    let digits = DIGITS.to_string();
    let (token, refresh, renewed) = (signature(&token), signature(&refresh), signature(&renewed));
    let secrets = [PASSWORD, WRONG_PASSWORD, JUNK_TOKEN, &digits, &token, &refresh, &renewed];
    for (place, text) in [("log", &log), ("metrics", &metrics), ("errors", &errors.join("\n"))] {
        for secret in secrets.iter().chain([&PHONE_TAIL]) {
            let line = text.lines().find(|line| line.contains(secret));
            assert_eq!(line, None, "{secret} in the {place}");
        }
    }
}

/// Every operation of the document, its ids left out.
fn operations() -> BTreeSet<String> {
    let text = Document::Openapi.text().expect("it prints");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let mut found = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("methods").keys() {
            let path = crate::harness::nameless(path);
            found.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    found
}

async fn over_a_socket(server: &Outside, token: &str, errors: &mut Vec<String>) {
    let refused = Socket::try_open_at(server, &format!("/ws?token={token}"), &[]).await;
    assert_eq!(refused.err(), Some(401));
    assert_eq!(Socket::try_open(server, Some(JUNK_TOKEN)).await.err(), Some(401));
    let protocols = format!("smartline.v1, bearer.{token}");
    let headers = [("sec-websocket-protocol", protocols.as_str())];
    let mut seat = Socket::try_open_at(server, "/ws", &headers).await.expect("it opens");
    for (kind, data) in [
        ("auth", json!({"token": JUNK_TOKEN})),
        ("auth", json!({"token": DIGITS})),
        ("auth", json!({"password": PASSWORD, "token": {"a": PASSWORD}})),
        ("resume", json!({"room": "user:x", "token": PASSWORD})),
        ("trip.cancel", json!({"tripId": DIGITS, "reason": 1})),
    ] {
        errors.push(seat.call(kind, data).await.to_string());
    }
}
