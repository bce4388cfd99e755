//! How often, how many, from where: floods end where they come from (SECURITY: rate limits).

use std::sync::Arc;

use app::{Setup, Switch};
use bus::testing::RedisServer;
use reqwest::Response;
use serde_json::{Value, json};

use crate::harness::{CAIRO, Person, Reply, Server, Socket, far_from, point, send};

/// Limits that refill so slowly that no test sees it; accounts are made freely.
const RATES: &str = "signup=1000/60,login=1000/60,login-phone=3/86400,check-phone=5/86400,\
                     check-phone-phone=5/86400,trip-request=5/86400,nearby=2/86400,socket=4/86400";

fn limited(setup: &mut Setup) {
    setup.rate_limits = Switch::On;
    setup.rates = RATES.parse().expect("rates");
}

/// Behind one proxy of ours.
fn proxied(setup: &mut Setup) {
    limited(setup);
    setup.trusted_proxies = 1;
}

/// A request whose proxies said `forwarded`.
async fn from(server: &Server, forwarded: &str, path: &str, body: Value) -> Response {
    let request = server.http.post(server.url(path)).header("x-forwarded-for", forwarded);
    request.json(&body).send().await.expect("an answer")
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn ride() -> Value {
    json!({"pickup": point(CAIRO), "destination": point(far_from(CAIRO, 2000.0)),
        "vehicleType": "economy"})
}

fn is_limited(answer: &Value) -> bool {
    answer["error"]["code"] == "RATE_LIMITED"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_and_the_command_of_the_same_meaning_share_one_bucket() {
    let server = Server::with(limited).await;
    let (rider, other) = (Person::rider(&server).await, Person::rider(&server).await);
    let mut socket = Socket::open(&server, &rider).await;
    for _ in 0..3 {
        assert_ne!(rider.post("/trips/request", ride()).await.status, 429);
    }
    for _ in 0..2 {
        assert!(!is_limited(&socket.call("trip.request", ride()).await));
    }
    let answer = socket.call("trip.request", ride()).await;
    assert!(is_limited(&answer), "{answer}");
    assert!(answer["error"]["details"]["retryAfter"].as_u64() > Some(10_000), "{answer}");
    rider.post("/trips/request", ride()).await.refused(429, "RATE_LIMITED");
    other.request_trip(CAIRO).await.data();

    let map = json!({"lat": CAIRO.0, "lng": CAIRO.1, "radius": 1});
    rider.get("/location/nearby?lat=30&lng=31").await.data();
    socket.ok("nearby.subscribe", map.clone()).await;
    assert!(is_limited(&socket.call("nearby.subscribe", map).await));
    rider.get("/location/nearby?lat=30&lng=31").await.refused(429, "RATE_LIMITED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_tells_what_is_allowed_and_when_to_come_back() {
    let server = Server::with(proxied).await;
    let body = json!({"phone": "01012345678"});
    let first = from(&server, "203.0.113.7", "/api/v1/auth/check-phone", body.clone()).await;
    assert_eq!(header(&first, "ratelimit-policy"), "\"check-phone\";q=5;w=86400");
    assert_eq!(header(&first, "ratelimit"), "\"check-phone\";r=4");
    let mut last = first;
    for _ in 0..5 {
        last = from(&server, "203.0.113.7", "/api/v1/auth/check-phone", body.clone()).await;
    }
    assert_eq!(last.status(), 429);
    let seconds: u64 = header(&last, "retry-after").parse().expect("seconds");
    assert!(seconds >= 60, "{seconds}");
    assert_eq!(header(&last, "ratelimit"), format!("\"check-phone\";r=0;t={seconds}"));
}

/// What a caller adds on the left of the list is his own claim; our proxy adds on the right.
#[tokio::test(flavor = "multi_thread")]
async fn a_spoofed_address_does_not_help_and_a_flood_hurts_its_sender_only() {
    let server = Server::with(proxied).await;
    let ask = async |forwarded: String, n: u32| {
        let phone = format!("010{n:08}");
        let path = "/api/v1/auth/check-phone";
        from(&server, &forwarded, path, json!({"phone": phone})).await.status().as_u16()
    };
    let mut taken = 0;
    for n in 0..200 {
        let forwarded = format!("198.51.100.{n}, 203.0.113.7");
        taken += u32::from(ask(forwarded, n).await == 200);
    }
    assert_eq!(taken, 5);
    for n in 0..5 {
        assert_eq!(ask("203.0.113.8".to_owned(), 1000 + n).await, 200, "a neighbour is served");
    }
    // One customer's IPv6 network is one caller.
    let mut taken = 0;
    for n in 0..20 {
        taken += u32::from(ask(format!("2001:db8:1:2::{n:x}"), 2000 + n).await == 200);
    }
    assert_eq!(taken, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn guesses_at_one_phone_are_counted_wherever_they_come_from_and_however_it_is_written() {
    let server = Server::with(proxied).await;
    let rider = Person::rider(&server).await;
    let local = format!("0{}", &rider.phone[3..]);
    let spaced = format!("{} {} {}", &rider.phone[..3], &rider.phone[3..7], &rider.phone[7..]);
    let mut told = Vec::new();
    for (n, phone) in [&rider.phone, &local, &spaced, &rider.phone, &local].iter().enumerate() {
        let body = json!({"phone": phone, "password": "wrong0000"});
        let reply = from(&server, &format!("203.0.113.{n}"), "/api/v1/auth/login", body).await;
        told.push(reply.status().as_u16());
    }
    assert_eq!(told, [401, 401, 401, 429, 429]);
    let body = json!({"phone": "01099999999", "password": "wrong0000"});
    let reply = from(&server, "203.0.113.9", "/api/v1/auth/login", body).await;
    assert_eq!(reply.status(), 401, "another phone is not concerned");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_holds_so_many_sockets_and_the_others_theirs() {
    let server = Server::with(|setup| {
        limited(setup);
        setup.sockets_per_address = 2;
    })
    .await;
    let riders =
        [Person::rider(&server).await, Person::rider(&server).await, Person::rider(&server).await];
    let first = Socket::open(&server, &riders[0]).await;
    let _second = Socket::open(&server, &riders[1]).await;
    let third = Socket::try_open(&server, Some(&riders[2].token)).await.err();
    assert_eq!(third, Some(429));
    drop(first);
    // Its place is free as soon as the server has seen it go.
    while Socket::try_open(&server, Some(&riders[2].token)).await.is_err() {}
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_opens_sockets_only_so_fast() {
    let server = Server::with(limited).await;
    let (rider, other) = (Person::rider(&server).await, Person::rider(&server).await);
    let mut told = Vec::new();
    for _ in 0..6 {
        told.push(Socket::try_open(&server, Some(&rider.token)).await.err());
    }
    assert_eq!(told, [None, None, None, None, Some(429), Some(429)]);
    Socket::open(&server, &other).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_count_together_through_redis_and_each_alone_when_it_is_killed() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    let joined = |setup: &mut Setup| {
        limited(setup);
        setup.redis_url = Some(url.clone());
    };
    let (one, other) = (Server::with(joined).await, Server::with(joined).await);
    for server in [&one, &other] {
        until(server, "/health/ready?strict=1", 200).await;
    }
    let ask = async |server: &Server, phone: &str| {
        let body = Some(json!({"phone": phone}));
        let url = server.url("/api/v1/auth/check-phone");
        send(&server.http, &url, None, body).await.status
    };
    // By address they share one bucket of five.
    for (server, phone) in [(&one, "01012345671"), (&other, "01012345672"), (&one, "01012345673")] {
        assert_eq!(ask(server, phone).await, 200);
    }
    assert_eq!(ask(&other, "01012345674").await, 200);
    assert_eq!(ask(&other, "01012345675").await, 200);
    assert_eq!(ask(&other, "01012345676").await, 429, "five in all, two of them elsewhere");

    let admin = Person::admin(&one).await;
    let rider = Arc::new(Person::rider(&one).await);
    for _ in 0..3 {
        assert_ne!(rider.post("/trips/request", ride()).await.status, 429);
    }
    redis.kill().await;
    for _ in 0..2 {
        assert_ne!(rider.post("/trips/request", ride()).await.status, 429, "not closed");
    }
    rider.post("/trips/request", ride()).await.refused(429, "RATE_LIMITED");
    until(&one, "/health/ready?strict=1", 503).await;
    assert_eq!(get(&one, "/health/ready").await.status, 200, "sockets are served all the same");
    let breakers = admin.get("/admin/breakers").await.data()["breakers"].clone();
    assert_eq!(breakers[0]["name"], "redis");
    rider.get("/admin/breakers").await.refused(403, "FORBIDDEN");
    get(&one, "/api/v1/admin/breakers").await.refused(401, "UNAUTHENTICATED");
}

async fn get(server: &Server, path: &str) -> Reply {
    send(&server.http, &server.url(path), None, None).await
}

/// Asks until the answer is `status`.
async fn until(server: &Server, path: &str, status: u16) {
    while get(server, path).await.status != status {
        tokio::task::yield_now().await;
    }
}
