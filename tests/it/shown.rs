//! What protects the node shows: in the headers of what is refused, and in its metrics.
//!
//! Against the program itself: metrics belong to a process, and other tests refuse things too.

use std::net::{Ipv4Addr, SocketAddr};

use futures_util::future::select_all;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use crate::harness::{ADMIN, Folder, Outside, Person, Program, Socket, create_admin, free_address};

/// Loopback has many addresses.
const FLOODER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 77);

/// The program with its limits on, and where it answers.
struct Node {
    program: Program,
    outside: Outside,
    home: Folder,
}

impl Node {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let home = Folder::new();
        let limits = [("SMARTLINE_RATE_LIMITS", "on"), ("REDIS_URL", "redis://127.0.0.1:1")];
        let settings = limits.iter().chain(settings);
        let settings: Vec<_> = settings.map(|(name, value)| (*name, (*value).to_owned())).collect();
        let program = Program::start_set(&home.0, free_address(), &settings).await;
        let outside = Outside::new(program.address);
        Self { program, outside, home }
    }

    /// What the node has counted under this name and these labels, 0 when it never did.
    async fn counted(&self, series: &str) -> f64 {
        let url = format!("http://{}/metrics", self.program.operators);
        let text = Client::new().get(url).send().await.expect("an answer");
        let text = text.text().await.expect("metrics are text");
        let found = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        found.map_or(0.0, |number| number.parse().expect("a number"))
    }

    async fn has_counted(&self, series: &str) {
        assert!(self.counted(series).await > 0.0, "{series}");
    }

    /// A connection from another address than the test's own.
    async fn connect(&self, from: Ipv4Addr) -> TcpStream {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind(SocketAddr::from((from, 0))).expect("loopback has this address");
        socket.connect(self.program.address).await.expect("connects")
    }

    async fn get(&self, path: &str, token: Option<&str>) -> Response {
        let request = self.outside.http.get(self.outside.url(path));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.expect("an answer")
    }
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Whatever comes until the other side hangs up, or breaks off.
async fn rest(stream: &mut TcpStream) -> String {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.ok();
    String::from_utf8_lossy(&all).into_owned()
}

fn seconds(response: &Response) -> u64 {
    header(response, "retry-after").parse().expect("whole seconds")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_caller_may_ask_and_that_he_asked_too_much() {
    let rates = "signup=100/60,nearby=2/86400,socket=2/86400,address=1000/60";
    let node = Node::start(&[("SMARTLINE_RATES", rates)]).await;
    let rider = Person::rider(&node.outside).await;

    let nearby = "/api/v1/location/nearby?lat=30&lng=31";
    let first = node.get(nearby, Some(&rider.token)).await;
    assert_eq!(first.status(), 200);
    assert_eq!(header(&first, "ratelimit-policy"), "\"nearby\";q=2;w=86400");
    assert_eq!(header(&first, "ratelimit"), "\"nearby\";r=1");
    node.get(nearby, Some(&rider.token)).await;
    let refused = node.get(nearby, Some(&rider.token)).await;
    assert_eq!(refused.status(), 429);
    let wait = seconds(&refused);
    assert!(wait > 40_000, "{wait}");
    assert_eq!(header(&refused, "ratelimit"), format!("\"nearby\";r=0;t={wait}"));
    node.has_counted("smartline_requests_limited_total{limit=\"nearby\"}").await;
    // Being told to log in costs something too: it is counted by address.
    let stranger = node.get(nearby, None).await;
    assert_eq!(stranger.status(), 401);
    assert_eq!(header(&stranger, "ratelimit-policy"), "\"other\";q=600;w=60");

    let mut socket = Socket::open(&node.outside, &rider).await;
    let _other = Socket::open(&node.outside, &rider).await;
    let refused = upgrade(&node, &rider.token).await;
    assert_eq!(refused.status(), 429);
    let wait = seconds(&refused);
    assert_eq!(header(&refused, "ratelimit-policy"), "\"socket\";q=2;w=86400");
    assert_eq!(header(&refused, "ratelimit"), format!("\"socket\";r=0;t={wait}"));
    node.has_counted("smartline_requests_limited_total{limit=\"socket\"}").await;
    node.has_counted("smartline_sockets_refused_total{code=\"RATE_LIMITED\"}").await;
    assert_eq!(upgrade(&node, "no token").await.status(), 401);
    node.has_counted("smartline_sockets_refused_total{code=\"UNAUTHENTICATED\"}").await;

    // Who goes on when he is told to slow down is shown the door.
    for _ in 0..400 {
        socket.send_text(json!({"type": "ping"}).to_string()).await;
    }
    let refused = socket.next("error").await;
    assert_eq!(refused["error"]["code"], "RATE_LIMITED", "{refused}");
    assert_eq!(socket.closed().await, 1008);
    assert!(node.counted("smartline_messages_limited_total").await >= 200.0);
}

async fn upgrade(node: &Node, token: &str) -> Response {
    let request = node.outside.http.get(node.outside.url("/ws")).bearer_auth(token);
    let request = request.header("connection", "upgrade").header("upgrade", "websocket");
    let request = request.header("sec-websocket-version", "13");
    let request = request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    request.send().await.expect("an answer")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_from_one_address_is_turned_away_at_the_door() {
    let settings = [
        ("SMARTLINE_RATES", "address=60/86400"),
        ("SMARTLINE_CONNECTIONS_PER_ADDRESS", "5"),
        ("SMARTLINE_SOCKETS_PER_ADDRESS", "1"),
    ];
    let node = Node::start(&settings).await;
    // A connection takes one place, each request another.
    let mut flooder = node.connect(FLOODER).await;
    let mut answer = String::new();
    let mut asked = 0;
    while !answer.contains("429 Too Many Requests") {
        assert!(asked < 60, "never refused: {answer}");
        let request = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n";
        flooder.write_all(request).await.expect("it is open");
        let mut some = [0; 4096];
        let read = flooder.read(&mut some).await.expect("an answer");
        answer = String::from_utf8_lossy(&some[..read]).into_owned();
        asked += 1;
    }
    assert_eq!(asked, 60);
    answer += &rest(&mut flooder).await;
    let answer = answer.to_lowercase();
    for part in [
        "connection: close",
        "ratelimit-policy: \"address\";q=60;w=86400",
        "ratelimit: \"address\";r=0;t=",
        "retry-after: ",
        "\"code\":\"rate_limited\"",
        "\"requestid\":",
    ] {
        assert!(answer.contains(part), "{part} is missing: {answer}");
    }
    assert_eq!(rest(&mut node.connect(FLOODER).await).await, "");
    node.has_counted("smartline_requests_limited_total{limit=\"address\"}").await;
    node.has_counted("smartline_connections_refused_total{reason=\"address_busy\"}").await;
    // Everybody else is served.
    assert_eq!(node.get("/health/live", None).await.status(), 200);

    let neighbour = Ipv4Addr::new(127, 0, 0, 78);
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(node.connect(neighbour).await);
    }
    assert_eq!(rest(&mut node.connect(neighbour).await).await, "");
    node.has_counted("smartline_connections_refused_total{reason=\"address_full\"}").await;
    // An upgrade that is never finished is dropped.
    let half = b"GET /ws HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nx-slow: ";
    held[0].write_all(half).await.expect("it is open");
    assert!(!rest(&mut held[0]).await.contains("200"));
    node.has_counted("smartline_connections_refused_total{reason=\"silent\"}").await;

    let rider = Person::rider(&node.outside).await;
    let _socket = Socket::open(&node.outside, &rider).await;
    let refused = upgrade(&node, &rider.token).await;
    assert_eq!((refused.status().as_u16(), seconds(&refused)), (429, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_node_says_so_and_open_circuits_are_seen() {
    let settings = [("SMARTLINE_RATES", "signup=100/60"), ("SMARTLINE_REQUESTS_AT_ONCE", "16")];
    let node = Node::start(&settings).await;
    create_admin(&node.home.0);
    let rider = Person::rider(&node.outside).await;

    // Bodies that never end: each holds a place, an address at most two of sixteen. Which of an
    // address's three comes last is the node's to see.
    let mut held = Vec::new();
    for host in [2, 2, 1, 1, 1] {
        held.push(half_sent(&node, Ipv4Addr::new(127, 0, 1, host), &rider.token).await);
    }
    let answers = held[2..].iter_mut().map(|stream| {
        Box::pin(async move {
            let mut answer = [0; 12];
            stream.read_exact(&mut answer).await.expect("an answer");
            answer
        })
    });
    let (answer, ..) = select_all(answers).await;
    assert_eq!(&answer, b"HTTP/1.1 429");
    for host in [3, 3, 4, 4] {
        held.push(half_sent(&node, Ipv4Addr::new(127, 0, 1, host), &rider.token).await);
    }
    node.has_counted("smartline_requests_limited_total{limit=\"under-way\"}").await;
    // Lists are given up when half of the places are taken; what matters more is not.
    let mut refused = node.get("/api/v1/trips", Some(&rider.token)).await;
    while refused.status() == 200 {
        refused = node.get("/api/v1/trips", Some(&rider.token)).await;
    }
    assert_eq!((refused.status().as_u16(), seconds(&refused)), (503, 1));
    let body: Value = refused.json().await.expect("JSON");
    assert_eq!(body["error"]["code"], "UNAVAILABLE", "{body}");
    node.has_counted("smartline_requests_shed_total{importance=\"low\"}").await;
    let nearby = "/api/v1/location/nearby?lat=30&lng=31";
    assert_eq!(node.get(nearby, Some(&rider.token)).await.status(), 200);
    drop(held);

    // Nobody answers for Redis here, so its circuit is open, and limits are counted alone.
    let admin = Person::log_in(&node.outside, ADMIN, "tahrir99").await;
    let breakers = admin.get("/admin/breakers").await.data()["breakers"].clone();
    let redis = breakers.as_array().expect("a list").iter().find(|each| each["name"] == "redis");
    assert_eq!(redis.expect("it is listed")["state"], "open", "{breakers}");
    assert_eq!(node.counted("smartline_breaker_state{breaker=\"redis\"}").await, 2.0);
    let refused = "smartline_breaker_calls_total{breaker=\"redis\",result=\"refused\"}";
    node.has_counted(refused).await;
    node.has_counted("smartline_requests_counted_alone_total").await;
}

/// A request whose body never comes to its end.
async fn half_sent(node: &Node, from: Ipv4Addr, token: &str) -> TcpStream {
    let mut stream = node.connect(from).await;
    let head = format!(
        "POST /api/v1/devices HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n\
         content-length: 100\r\nauthorization: Bearer {token}\r\n\r\n{{"
    );
    stream.write_all(head.as_bytes()).await.expect("it is open");
    stream
}
