//! The edge around routes of the test's own: no database is needed for what happens before a flow.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::routing::{get, post};
use base::{Clock, Code, Millis, Problem, Role, SessionId, TripId, UserId};
use identity::{ApiKeys, Keys, LogIn, Tokens};
use ops::{Limiter, RateLimits, Rates};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::asked::{Asked, Id, PageAsked};
use crate::body::Valid;
use crate::callers::{Admin, Anyone, Driver, Member, Rider};
use crate::policy::Retiring;
use crate::reply::{Answer, Refusal, Reply};
use crate::shedding::Load;
use crate::state::{Config, Edge, EdgeParts, assemble, crowd};

const NOW: Millis = Millis(1_700_000_000_000);

struct Bench {
    router: Router,
    tokens: Tokens,
    clock: Clock,
}

struct Told {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

/// A route of the test's own that is about to go.
const RETIRING: &[Retiring] = &[Retiring {
    method: "GET",
    route: "/page",
    deprecated: Millis(1_688_169_599_000),
    sunset: Millis(1_719_791_999_000),
    link: "https://example.com/pages",
}];

/// The edge without limits.
fn bench(config: &Config) -> Bench {
    made(config, RateLimits::Off, Rates::default())
}

fn made(config: &Config, switch: RateLimits, rates: Rates) -> Bench {
    let clock = Clock::manual(NOW);
    let secret = "a-secret-of-enough-characters-for-a-test";
    let keys = Keys { secret: secret.into(), previous: None };
    let tokens = Tokens::new(&keys, clock.clone());
    let limiter = Limiter::new(switch, rates, clock.clone(), None);
    let crowd = crowd(&limiter, config.in_flight);
    let edge = Edge::from(EdgeParts {
        crowd,
        clock: clock.clone(),
        tokens: tokens.clone(),
        keys: ApiKeys::new(clock.clone()),
        limiter,
        trusted_proxies: config.trusted_proxies,
        load: Load::new(config.in_flight),
        retiring: RETIRING,
    });
    Bench { router: assemble(&edge, config, probes(), Router::new()), tokens, clock }
}

/// Handlers with the extractors of the real ones.
fn probes() -> Router {
    async fn log_in(Valid(body): Valid<LogIn>) -> Answer<Value> {
        Ok(Reply::created(json!({ "phone": body.phone })))
    }
    async fn anyone(Anyone(caller): Anyone) -> Answer<UserId> {
        Ok(Reply::ok(caller.user))
    }
    async fn member(Member(caller): Member) -> Answer<UserId> {
        Ok(Reply::ok(caller.user))
    }
    async fn rider(Rider(caller): Rider) -> Answer<UserId> {
        Ok(Reply::ok(caller.user))
    }
    async fn driver(driver: Driver) -> Answer<UserId> {
        Ok(Reply::ok(driver.caller.user))
    }
    async fn admin(Admin(caller): Admin) -> Answer<UserId> {
        Ok(Reply::ok(caller.user))
    }
    async fn trip(_: Anyone, Id(id): Id<TripId>) -> Answer<TripId> {
        Ok(Reply::ok(id))
    }
    async fn page(Asked(page): Asked<PageAsked>) -> Answer<u32> {
        Ok(Reply::ok(page.limit()))
    }
    async fn slow() -> Answer<()> {
        std::future::pending().await
    }
    async fn breaks() -> Answer<()> {
        panic!("on purpose, with a secret inside")
    }
    async fn faulty() -> Result<(), Refusal> {
        Err(Problem::from(base::Fault::internal("SELECT secret")).into())
    }
    Router::new()
        .route("/auth/login", post(log_in))
        .route("/anyone", get(anyone))
        .route("/member", get(member))
        .route("/rider", get(rider))
        .route("/driver", get(driver))
        .route("/admin", get(admin))
        .route("/trips/{id}", get(trip).post(trip))
        .route("/page", get(page))
        .route("/location/slow", get(slow))
        .route("/breaks", get(breaks))
        .route("/faulty", get(faulty))
}

impl Bench {
    fn token(&self, role: Role) -> String {
        self.tokens.issue(UserId::from_u128(7), role, SessionId::from_u128(8))
    }

    async fn send(&self, mut request: Request<Body>) -> Told {
        let peer: SocketAddr = "203.0.113.7:4000".parse().expect("an address");
        request.extensions_mut().insert(ConnectInfo(peer));
        let response = self.router.clone().oneshot(request).await.expect("always an answer");
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.expect("a body");
        let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Told { status: parts.status, headers: parts.headers, body }
    }

    async fn get(&self, path: &str, token: Option<&str>) -> Told {
        let mut request = Request::get(path);
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        self.send(request.body(Body::empty()).expect("a request")).await
    }

    async fn post(&self, path: &str, content_type: &str, body: impl Into<Body>) -> Told {
        let request = Request::post(path).header(header::CONTENT_TYPE, content_type);
        self.send(request.body(body.into()).expect("a request")).await
    }

    async fn log_in(&self) -> Told {
        let body = json!({ "phone": "01012345678", "password": "tahrir99" }).to_string();
        self.post("/api/v1/auth/login", "application/json", body).await
    }
}

impl Told {
    fn code(&self) -> &str {
        self.body["error"]["code"].as_str().unwrap_or_default()
    }

    fn refused(&self, status: u16, code: Code) {
        assert_eq!((self.status.as_u16(), self.code()), (status, code.name()), "{}", self.body);
        assert_eq!(self.body["success"], false);
        assert!(self.body["meta"]["requestId"].is_string(), "{}", self.body);
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

#[tokio::test]
async fn a_success_and_a_refusal_wear_their_envelopes() {
    let bench = bench(&Config::default());
    let request = Request::get("/api/v1/anyone")
        .header("x-request-id", "from-the-app")
        .header(header::AUTHORIZATION, format!("bearer {}", bench.token(Role::Rider)))
        .body(Body::empty())
        .expect("a request");
    let told = bench.send(request).await;
    assert_eq!(told.status, StatusCode::OK);
    let expected = json!({
        "success": true,
        "data": UserId::from_u128(7),
        "meta": {
            "requestId": "from-the-app", "timestamp": "2023-11-14T22:13:20.000Z", "version": "v1",
        },
    });
    assert_eq!(told.body, expected);
    assert_eq!(told.header("x-request-id"), "from-the-app");
    assert_eq!(told.header("content-type"), "application/json");

    let told = bench.get("/api/v1/anyone", None).await;
    told.refused(401, Code::Unauthenticated);
    assert_eq!(told.body["error"]["details"], json!({}));
    assert_eq!(told.header("www-authenticate"), "Bearer");
}

#[tokio::test]
async fn a_role_reaches_its_own_handlers_only() {
    let bench = bench(&Config::default());
    let check = async |path: &str, role: Option<Role>, expected: u16| {
        let token = role.map(|role| bench.token(role));
        let told = bench.get(&format!("/api/v1/{path}"), token.as_deref()).await;
        assert_eq!(told.status.as_u16(), expected, "{path} {role:?}");
    };
    let (rider, driver, admin) = (Some(Role::Rider), Some(Role::Driver), Some(Role::Admin));
    for (path, rider_status, driver_status, admin_status) in [
        ("anyone", 200, 200, 200),
        ("member", 200, 200, 403),
        ("rider", 200, 403, 403),
        ("driver", 403, 200, 403),
        ("admin", 403, 403, 200),
    ] {
        check(path, None, 401).await;
        check(path, rider, rider_status).await;
        check(path, driver, driver_status).await;
        check(path, admin, admin_status).await;
    }
}

#[tokio::test]
async fn a_bad_token_is_told_from_an_ended_one() {
    let bench = bench(&Config::default());
    let token = bench.token(Role::Rider);
    bench.get("/api/v1/rider", Some("junk")).await.refused(401, Code::Unauthenticated);
    bench.clock.advance(identity::ACCESS_TTL);
    bench.get("/api/v1/rider", Some(&token)).await.refused(401, Code::TokenExpired);
    let two = Request::get("/api/v1/rider")
        .header(header::AUTHORIZATION, format!("Bearer {}", bench.token(Role::Rider)))
        .header(header::AUTHORIZATION, "Bearer other")
        .body(Body::empty())
        .expect("a request");
    bench.send(two).await.refused(401, Code::Unauthenticated);
    let basic = Request::get("/api/v1/rider")
        .header(header::AUTHORIZATION, "Basic YTpi")
        .body(Body::empty())
        .expect("a request");
    bench.send(basic).await.refused(401, Code::Unauthenticated);
}

#[tokio::test]
async fn a_body_of_the_wrong_form_is_refused() {
    let bench = bench(&Config::default());
    let path = "/api/v1/auth/login";
    let told = bench.log_in().await;
    assert_eq!((told.status.as_u16(), &told.body["data"]["phone"]), (201, &json!("01012345678")));
    bench.post(path, "text/plain", "{}x").await.refused(415, Code::UnsupportedMediaType);
    bench.post(path, "application/json", "{nope").await.refused(400, Code::MalformedBody);
    let told = bench.post(path, "application/json", r#"{"phone":5}"#).await;
    told.refused(400, Code::ValidationFailed);
    let field = &told.body["error"]["details"]["fields"][0];
    assert_eq!((&field["field"], &field["code"]), (&json!("phone"), &json!("invalid")));
    let huge = "x".repeat(base::limits::BODY_BYTES + 1);
    bench.post(path, "application/json", huge.clone()).await.refused(413, Code::PayloadTooLarge);
    // Without a length that could be looked at first.
    let chunks = [huge].map(Ok::<_, std::io::Error>);
    let streamed = Body::from_stream(futures_util::stream::iter(chunks));
    bench.post(path, "application/json", streamed).await.refused(413, Code::PayloadTooLarge);
}

#[tokio::test]
async fn what_is_not_there_is_said_to_be_so() {
    let bench = bench(&Config::default());
    let token = bench.token(Role::Rider);
    bench.get("/api/v1/nothing", Some(&token)).await.refused(404, Code::NotFound);
    bench.get("/nothing", None).await.refused(404, Code::NotFound);
    bench.get("/api/v1/rider/", Some(&token)).await.refused(404, Code::NotFound);
    bench.get("/api/v1/RIDER", Some(&token)).await.refused(404, Code::NotFound);
    bench.get("/api/v1/auth/login", None).await.refused(405, Code::MethodNotAllowed);
    bench.get("/api/v1/trips/no-id", Some(&token)).await.refused(404, Code::NotFound);
    let id = TripId::from_u128(9);
    let told = bench.get(&format!("/api/v1/trips/{id}"), Some(&token)).await;
    assert_eq!(told.body["data"], json!(id));
}

#[tokio::test]
async fn a_path_without_a_version_is_pinned_to_the_first() {
    let bench = bench(&Config::default());
    let check = async |path: &str, accept: &str, expected: u16| {
        let request = Request::get(path).header(header::ACCEPT, accept);
        let told = bench.send(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(told.status.as_u16(), expected, "{path} {accept}");
        if expected == 406 {
            told.refused(406, Code::UnsupportedVersion);
        }
    };
    check("/api/page", "*/*", 200).await;
    check("/api/page?version=1", "*/*", 200).await;
    check("/api/page?version=2", "*/*", 406).await;
    check("/api/page", "application/vnd.smartline.v1+json", 200).await;
    check("/api/page", "application/vnd.smartline.v2+json", 406).await;
    check("/api/v1/page", "*/*", 200).await;
    check("/api/v2/page", "*/*", 406).await;
    check("/api/vulture", "*/*", 404).await;
}

#[tokio::test]
async fn a_limit_tells_when_to_come_back_and_has_one_bucket_for_all_aliases() {
    let bench = made(&Config::default(), RateLimits::On, Rates::default());
    for _ in 0..9 {
        assert_eq!(bench.log_in().await.status.as_u16(), 201);
    }
    let body = json!({ "phone": "01012345678", "password": "tahrir99" }).to_string();
    let told = bench.post("/api/auth/login", "application/json", body).await;
    assert_eq!(told.status.as_u16(), 201);
    assert_eq!(told.header("ratelimit"), "\"login\";r=0");
    let told = bench.log_in().await;
    told.refused(429, Code::RateLimited);
    assert_eq!(told.header("retry-after"), "60");
    assert_eq!(told.header("ratelimit-policy"), "\"login\";q=10;w=60");
    assert_eq!(told.header("ratelimit"), "\"login\";r=0;t=60");
    bench.clock.advance(Duration::from_secs(60));
    assert_eq!(bench.log_in().await.status.as_u16(), 201);
}

#[tokio::test]
async fn a_deployment_has_limits_of_its_own() {
    let rates = "login=2/3600:1".parse().expect("rates");
    let bench = made(&Config::default(), RateLimits::On, rates);
    assert_eq!(bench.log_in().await.status.as_u16(), 201);
    let told = bench.log_in().await;
    told.refused(429, Code::RateLimited);
    assert_eq!(told.header("ratelimit-policy"), "\"login\";q=2;w=3600");
    assert_eq!(told.header("retry-after"), "1800");
    assert_eq!(told.body["error"]["details"], json!({ "limit": "login", "retryAfter": 1800 }));
}

/// However the path is written, it is one route with one bucket, or no route at all.
#[tokio::test]
async fn no_spelling_of_a_path_evades_its_limit() {
    let bench = made(&Config::default(), RateLimits::On, Rates::default());
    let paths = [
        "/api/v1/auth/login",
        "/api/auth/login",
        "/api/auth/login?version=1",
        "/api/v1/auth/login?x=1",
        "/api/v1/auth/login/",
        "/api/v1/AUTH/login",
        "/api/v1//auth/login",
        "/api/v1/auth/./login",
        "/api/v1/auth/%6cogin",
        "/api/v01/auth/login",
    ];
    let mut taken = 0;
    for path in paths.iter().cycle().take(60) {
        let body = json!({ "phone": "01012345678", "password": "tahrir99" }).to_string();
        let told = bench.post(path, "application/json", body).await;
        match told.status.as_u16() {
            201 => taken += 1,
            404 | 406 | 429 => {}
            other => panic!("{path} answers {other}"),
        }
    }
    assert_eq!(taken, 10);
}

/// Who is not behind a proxy of ours can say what he likes: he is counted by his own address.
#[tokio::test]
async fn a_forwarded_address_is_not_believed_from_just_anyone() {
    let bench = made(&Config::default(), RateLimits::On, Rates::default());
    let mut taken = 0;
    for n in 0..30 {
        let body = json!({ "phone": "01012345678", "password": "tahrir99" }).to_string();
        let request = Request::post("/api/v1/auth/login")
            .header(header::CONTENT_TYPE, "application/json")
            .header("x-forwarded-for", format!("198.51.100.{n}"))
            .body(Body::from(body))
            .expect("a request");
        taken += u32::from(bench.send(request).await.status == StatusCode::CREATED);
    }
    assert_eq!(taken, 10);
}

#[tokio::test]
async fn a_route_that_is_about_to_go_says_so() {
    let bench = bench(&Config::default());
    for path in ["/api/v1/page", "/api/page"] {
        let told = bench.get(path, None).await;
        assert_eq!(told.header("deprecation"), "@1688169599", "{path}");
        assert_eq!(told.header("sunset"), "Sun, 30 Jun 2024 23:59:59 GMT");
        assert_eq!(told.header("link"), "<https://example.com/pages>; rel=\"deprecation\"");
    }
    assert_eq!(bench.get("/api/v1/anyone", None).await.header("deprecation"), "");
}

#[tokio::test]
async fn limits_can_be_lifted() {
    let bench = bench(&Config::default());
    for _ in 0..30 {
        assert_eq!(bench.log_in().await.status.as_u16(), 201);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_takes_too_long_is_given_up() {
    let told = bench(&Config::default()).get("/api/v1/location/slow", None).await;
    told.refused(503, Code::Timeout);
    assert_eq!(told.header("retry-after"), "1");
}

#[tokio::test]
async fn a_full_node_refuses_rather_than_queues() {
    let full = bench(&Config { in_flight: 0, ..Config::default() });
    let told = full.get("/api/v1/page", None).await;
    told.refused(503, Code::Unavailable);
    assert_eq!(told.header("retry-after"), "1");
}

#[tokio::test]
async fn when_room_is_short_trips_go_on_and_lists_wait() {
    // Room for two, the second place only for what matters most.
    let bench = bench(&Config { in_flight: 2, ..Config::default() });
    let token = bench.token(Role::Admin);
    let mut held = Box::pin(bench.get("/api/v1/location/slow", None));
    let waits = poll_fn(|cx| Poll::Ready(held.as_mut().poll(cx).is_pending()));
    assert!(waits.await);
    bench.get("/api/v1/admin", Some(&token)).await.refused(503, Code::Unavailable);
    bench.log_in().await.refused(503, Code::Unavailable);
    let request = Request::post(format!("/api/v1/trips/{}", TripId::from_u128(9)))
        .header(header::AUTHORIZATION, format!("Bearer {token}"));
    let told = bench.send(request.body(Body::empty()).expect("a request")).await;
    assert_eq!(told.status, StatusCode::OK);
    drop(held);
    assert_eq!(bench.get("/api/v1/admin", Some(&token)).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_fault_of_ours_says_nothing_of_its_inside() {
    let bench = bench(&Config::default());
    for path in ["/api/v1/breaks", "/api/v1/faulty"] {
        let told = bench.get(path, None).await;
        told.refused(500, Code::Internal);
        assert!(!told.body.to_string().contains("secret"), "{}", told.body);
    }
}

#[tokio::test]
async fn a_refusal_can_be_had_as_problem_json() {
    let request = Request::get("/api/v1/rider").header(header::ACCEPT, "application/problem+json");
    let told =
        bench(&Config::default()).send(request.body(Body::empty()).expect("a request")).await;
    assert_eq!(told.header("content-type"), "application/problem+json");
    assert_eq!(
        (&told.body["status"], &told.body["code"]),
        (&json!(401), &json!("UNAUTHENTICATED"))
    );
}

#[tokio::test]
async fn every_answer_has_the_security_headers() {
    let bench = bench(&Config::default());
    for path in ["/api/v1/page", "/nothing", "/api/v1/breaks"] {
        let told = bench.get(path, None).await;
        assert!(told.header("strict-transport-security").starts_with("max-age="), "{path}");
        assert!(told.header("content-security-policy").contains("default-src 'none'"), "{path}");
        assert_eq!(told.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(told.header("x-frame-options"), "DENY", "{path}");
    }
}

#[tokio::test]
async fn only_browsers_of_listed_origins_may_call() {
    let bench =
        bench(&Config { origins: vec!["https://app.example.com".to_owned()], ..Config::default() });
    let check = async |origin: &str, expected: &str| {
        let request = Request::options("/api/v1/auth/login")
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "POST");
        let told = bench.send(request.body(Body::empty()).expect("a request")).await;
        assert_eq!(told.header("access-control-allow-origin"), expected, "{origin}");
    };
    check("https://app.example.com", "https://app.example.com").await;
    check("https://app.example.com.evil.example", "").await;
    check("null", "").await;
}

#[test]
fn the_document_lists_every_code_and_guards_every_route() {
    let document = serde_json::to_value(crate::openapi()).expect("it serialises");
    assert_eq!(document["openapi"], "3.1.0");
    let codes = document["components"]["schemas"]["ErrorCode"]["enum"].as_array();
    assert_eq!(codes.map(Vec::len), Some(Code::ALL.len()));
    let paths = document["paths"].as_object().expect("paths");
    for (path, item) in paths {
        for (method, operation) in item.as_object().expect("operations") {
            // Who logs in has no token yet; carriers, gateways and banks sign what they tell.
            let open = (path.starts_with("/auth/") && path != "/auth/logout")
                || operation["tags"][0] == "webhooks"
                || path == "/payment/return";
            assert_eq!(operation["security"].is_null(), open, "{method} {path}");
            for status in ["429", "500", "503"] {
                assert!(operation["responses"][status].is_object(), "{method} {path} {status}");
            }
            assert!(operation["tags"].is_array(), "{method} {path}");
        }
    }
    assert!(paths.len() >= 25, "{} paths", paths.len());
    let text = document.to_string();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap_or_default();
        assert!(document["components"]["schemas"][name].is_object(), "{name} is not described");
    }
}
