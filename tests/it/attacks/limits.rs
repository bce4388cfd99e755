//! Rate limits, as somebody meets them who tries to get around them.

use app::{Setup, Switch};
use reqwest::{Client, Response};
use serde_json::{Value, json};

use crate::harness::{Outside, Person, Server, Socket, next_phone};

/// More than any limit of the table lets through in a minute.
const MANY: usize = 70;

fn limited(setup: &mut Setup) {
    setup.rate_limits = Switch::On;
}

/// A login that fails, from wherever `forwarded` says it comes.
async fn log_in(server: &Outside, path: &str, forwarded: Option<&str>) -> Response {
    // A connection of its own: nothing else tells them apart.
    let request = Client::new().post(server.url(path));
    let request = match forwarded {
        Some(forwarded) => request.header("x-forwarded-for", forwarded),
        None => request,
    };
    // A phone of its own too: the address is what counts here.
    let body = json!({"phone": next_phone(), "password": "wrong1234"});
    request.json(&body).send().await.expect("the server answers")
}

/// Asks until it is refused; how often it was let through.
async fn exhaust(server: &Outside, forwarded: Option<&str>) -> usize {
    for passed in 0..MANY {
        if log_in(server, "/api/v1/auth/login", forwarded).await.status() == 429 {
            return passed;
        }
    }
    MANY
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let server = Server::with(limited).await;
    let passed = exhaust(&server, None).await;
    assert!((1..=10).contains(&passed), "{passed} passed");
    let refused = log_in(&server, "/api/v1/auth/login", None).await;
    assert_eq!(refused.status(), 429);
    let wait = refused.headers()["retry-after"].to_str().ok().and_then(|text| text.parse().ok());
    assert!(wait.is_some_and(|seconds: u64| (1..=60).contains(&seconds)), "{wait:?}");
    let limit = refused.headers()["ratelimit"].to_str().expect("plain text").to_owned();
    assert!(limit.contains("r=0"), "{limit}");
    let body: Value = serde_json::from_str(&refused.text().await.expect("a body")).expect("JSON");
    assert_eq!(body["error"]["code"], "RATE_LIMITED", "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_spelling_of_the_path_is_the_same_bucket_or_no_route() {
    let server = Server::with(limited).await;
    exhaust(&server, None).await;
    for path in [
        "/api/v1/auth/login",
        "/api/auth/login",
        "/api/auth/login?version=1",
        "/api/v1/auth/login?x=1",
        "/api/v1/auth/login/",
        "/api/v1//auth/login",
        "/api/v1/auth/./login",
        "/api/v1/auth/../auth/login",
        "/API/v1/auth/login",
        "/api/v1/Auth/Login",
        "/api/v1/auth/login%2F",
        "/api/v1/auth/%6Cogin",
        "/api/v01/auth/login",
    ] {
        let status = log_in(&server, path, None).await.status().as_u16();
        assert!([429, 404, 406].contains(&status), "{path} got {status}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_anyone_can_claim_is_not_believed() {
    let server = Server::with(limited).await;
    exhaust(&server, None).await;
    for forwarded in ["10.0.0.1", "10.0.0.2, 10.0.0.3", "::1", "", "nonsense"] {
        let status = log_in(&server, "/api/v1/auth/login", Some(forwarded)).await.status();
        assert_eq!(status, 429, "{forwarded}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_proxy_of_ours_the_address_it_saw_counts() {
    let server = Server::with(|setup| {
        limited(setup);
        setup.trusted_proxies = 1;
    })
    .await;
    let check = async |forwarded: &str, free: bool| {
        let status = log_in(&server, "/api/v1/auth/login", Some(forwarded)).await.status();
        assert_eq!(status != 429, free, "{forwarded} got {status}");
    };
    exhaust(&server, Some("203.0.113.7")).await;
    // What stands before it was said by the client.
    check("198.51.100.1, 203.0.113.7", false).await;
    check("203.0.113.8", true).await;

    exhaust(&server, Some("2001:db8:1:2::1")).await;
    // A household has a whole /64.
    check("2001:db8:1:2:ffff::9", false).await;
    check("2001:db8:1:3::1", true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_an_account_are_its_own() {
    let server = Server::with(limited).await;
    let (greedy, modest) = (Person::rider(&server).await, Person::rider(&server).await);
    let path = "/location/nearby?lat=30.0444&lng=31.2357";
    let mut refused = 0;
    for _ in 0..MANY {
        refused += usize::from(greedy.get(path).await.status == 429);
    }
    assert!(refused > 0, "nobody may look around {MANY} times a minute");
    modest.get(path).await.data();
    // Nor is one limit another's.
    greedy.get("/wallet").await.data();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_that_floods_is_told_so_or_shown_the_door_and_others_go_on() {
    let server = Server::with(limited).await;
    let (greedy, modest) = (Person::rider(&server).await, Person::rider(&server).await);
    let mut witness = Socket::open(&server, &modest).await;
    let mut flood = Socket::open(&server, &greedy).await;
    for _ in 0..500 {
        flood.send_text(r#"{"type":"ping"}"#).await;
    }
    let refused = flood.next("error").await;
    assert_eq!(refused["error"]["code"], "RATE_LIMITED", "{refused}");
    witness.ok("ping", json!({})).await;
}
