//! The door of the socket and what comes through it: foreign pages, tokens in the wrong place,
//! frames that no client of ours would send.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{CAIRO, Outside, Person, Server, Socket, far_from, online_driver};

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_opens_no_socket_with_its_visitors_token() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let bearer = format!("Bearer {}", rider.token);
    let own = format!("http://{}", server.address);
    let subprotocols = format!("smartline.v1, bearer.{}", rider.token);
    let check = async |headers: &[(&'static str, &str)], expected: Option<u16>| {
        let opened = Socket::try_open_at(&server, "/ws", headers).await;
        assert_eq!(opened.err(), expected, "{headers:?}");
    };
    for origin in ["https://evil.example", "https://app.example.com.evil.example", "null", ""] {
        check(&[("authorization", &bearer), ("origin", origin)], Some(403)).await;
        check(&[("sec-websocket-protocol", &subprotocols), ("origin", origin)], Some(403)).await;
    }
    for origin in ["https://app.example.com", own.as_str()] {
        check(&[("authorization", &bearer), ("origin", origin)], None).await;
        check(&[("sec-websocket-protocol", &subprotocols), ("origin", origin)], None).await;
    }
    // Apps send none.
    check(&[("authorization", &bearer)], None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_the_address_or_a_cookie_opens_nothing() {
    let server = Server::start().await;
    let rider = Person::rider(&server).await;
    let token = &rider.token;
    for name in ["token", "access_token", "bearer", "authorization"] {
        let path = format!("/ws?{name}={token}");
        assert_eq!(Socket::try_open_at(&server, &path, &[]).await.err(), Some(401), "{name}");
        let path = format!("/api/v1/wallet?{name}={token}");
        let answer = reqwest::get(server.url(&path)).await.expect("the server answers");
        assert_eq!(answer.status(), 401, "{name}");
        let cookie = format!("{name}={token}");
        let opened = Socket::try_open_at(&server, "/ws", &[("cookie", &cookie)]).await;
        assert_eq!(opened.err(), Some(401), "{name}");
    }
    // A refresh token is no access token.
    assert_eq!(Socket::try_open(&server, Some(&rider.refresh)).await.err(), Some(401));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_stays_who_it_was_whatever_token_it_is_shown() {
    let server = Server::start().await;
    let (rider, other) = (Person::rider(&server).await, Person::rider(&server).await);
    let trip = other.request_trip(CAIRO).await.data()["tripId"].clone();
    let mut seat = Socket::open(&server, &rider).await;
    let answer = seat.call("auth", json!({"token": other.token})).await;
    assert_eq!(answer["error"]["code"], "FORBIDDEN", "{answer}");
    for junk in ["", "a.b.c", &rider.refresh] {
        let answer = seat.call("auth", json!({"token": junk})).await;
        assert_eq!(answer["error"]["code"], "UNAUTHENTICATED", "{answer}");
    }
    let answer = seat.call("trip.subscribe", json!({"tripId": trip})).await;
    assert_eq!(answer["error"]["code"], "NOT_FOUND", "{answer}");
    seat.ok("auth", json!({"token": rider.token})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_position_sent_again_moves_nobody() {
    let server = Server::start().await;
    let admin = Person::admin(&server).await;
    let driver = online_driver(&server, &admin, CAIRO).await;
    let rider = Person::rider(&server).await;
    let mut wheel = Socket::open(&server, &driver).await;
    let report = |at: (f64, f64)| {
        let now = jiff::Timestamp::now().to_string();
        json!({"lat": at.0, "lng": at.1, "timestamp": now})
    };
    let (old, new) = (report(far_from(CAIRO, 100.0)), report(far_from(CAIRO, 200.0)));
    for data in [old.clone(), new.clone(), old.clone(), old, new] {
        wheel.ok("location", data).await;
    }
    let near = rider.get("/location/nearby?lat=30.0444&lng=31.2357&radius=1").await;
    let metres = near.data()["drivers"][0]["distance"].as_f64().expect("a distance");
    assert!((metres - 200.0).abs() < 1.0, "{metres}");
}

/// A client's frame with its mask, which is all zeros: the payload stands as it is.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short one");
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_against_the_protocol_end_their_socket_and_no_other() {
    let server = Server::start().await;
    let (attacker, rider) = (Person::rider(&server).await, Person::rider(&server).await);
    let mut witness = Socket::open(&server, &rider).await;
    let huge = [&[0x81, 0xFF][..], &u64::MAX.to_be_bytes()].concat();
    let endless: Vec<u8> = std::iter::once(masked(0x01, &[b'x'; 125]))
        .chain((0..600).map(|_| masked(0x00, &[b'x'; 125])))
        .collect::<Vec<_>>()
        .concat();
    let attacks = [
        ("without a mask", vec![0x81, 0x02, b'h', b'i'], 1002),
        ("a reserved bit", masked(0xC1, b"{}"), 1002),
        ("an unknown opcode", masked(0x83, b"{}"), 1002),
        ("a ping in parts", masked(0x09, b"x"), 1002),
        ("a continuation of nothing", masked(0x80, b"x"), 1002),
        ("a length of 2^64", huge, 1009),
        ("a message without an end", endless, 1009),
        ("no UTF-8", masked(0x81, &[0xC3, 0x28]), 1007),
    ];
    for (what, bytes, expected) in attacks {
        let mut stream = raw_socket(&server, &attacker).await;
        // It may be closed before all of it is sent.
        stream.write_all(&bytes).await.ok();
        assert_eq!(close_code(&mut stream).await, expected, "{what}");
        witness.ok("ping", json!({})).await;
    }
}

/// A WebSocket of which nobody keeps the rules.
async fn raw_socket(server: &Outside, person: &Person) -> TcpStream {
    let mut stream = TcpStream::connect(server.address).await.expect("it takes connections");
    let request = format!(
        "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
         Authorization: Bearer {}\r\n\r\n",
        server.address, person.token
    );
    stream.write_all(request.as_bytes()).await.expect("it is sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("it answers"));
    }
    assert!(head.starts_with(b"HTTP/1.1 101"), "{}", String::from_utf8_lossy(&head));
    stream
}

/// The code of the close frame, behind whatever was said before.
async fn close_code(stream: &mut TcpStream) -> u16 {
    loop {
        let first = stream.read_u8().await.expect("a close frame comes first");
        let length = match stream.read_u8().await.expect("a length") {
            126 => stream.read_u16().await.expect("a length").into(),
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        stream.read_exact(&mut payload).await.expect("a payload");
        if let (0x88, [high, low, ..]) = (first, payload.as_slice()) {
            return u16::from_be_bytes([*high, *low]);
        }
    }
}
