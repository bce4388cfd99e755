//! Claims about sockets over real TCP: that a publisher's turn and the socket's own task together
//! lose nothing, and that a client learns why it was sent away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::Request;
use axum::routing::any;
use base::{Caller, Clock, Dice, Millis, Role, SessionId, TripId, UserId};
use bytes::Bytes;
use futures_util::{FutureExt, Sink, Stream};
use rooms::{Format, Frame, Outlet, Rooms, Topic};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::connection::{Connection, Made, Meters};
use crate::handshake::Handshake;
use crate::hub::Hub;
use crate::limits::MessageRate;
use crate::session::{Desk, Session};
use crate::tests::Stub;
use crate::websocket::WebSocket;

const USER: UserId = UserId::from_u128(1);

/// A node with real sockets and the stub's desk.
struct Node {
    address: SocketAddr,
    rooms: Rooms,
    tasks: ops::Tasks,
}

impl Node {
    async fn start() -> Self {
        let (rooms, tasks) = (Rooms::new(&Dice::seeded(1)), ops::Tasks::new());
        let clock = Clock::manual(Millis(0));
        let hub = Hub::new(clock, Dice::seeded(1), MessageRate::Off, Box::new(|_| false));
        let (hub, desk) = (Arc::new(hub), Arc::new(Stub::default()));
        let (house, supervisor) = (rooms.clone(), tasks.clone());
        let route = any(move |mut request: Request| {
            let (hub, rooms, desk, tasks) =
                (Arc::clone(&hub), house.clone(), Arc::clone(&desk), supervisor.clone());
            async move {
                let handshake = Handshake::of(&mut request).unwrap();
                let answer = handshake.answer(None);
                tasks.spawn("socket", async move {
                    let transport = Box::new(handshake.socket().await.unwrap());
                    let made = Made {
                        id: hub.next_id(),
                        caller: caller(),
                        format: Format::Json,
                        now_ms: 0,
                        meters: Arc::clone(hub.meters()),
                        transport,
                    };
                    let desk: Arc<dyn Desk> = desk;
                    let socket = Arc::new(Connection::new(made));
                    let outlet: Arc<dyn Outlet> = Arc::clone(&socket) as _;
                    rooms.join(room(), &outlet).unwrap();
                    Session::new(socket, hub, rooms, desk).run().await;
                });
                answer
            }
        });
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/ws", route);
        tasks.spawn("server", async move {
            use axum::serve::ListenerExt;
            let listener = listener.tap_io(|stream| crate::tune_socket(stream));
            axum::serve(listener, router).await.unwrap();
        });
        Self { address, rooms, tasks }
    }

    /// A client whose user stream flows.
    async fn connect(&self) -> Client {
        let (stream, _) = connect_async(format!("ws://{}/ws", self.address)).await.unwrap();
        let mut client = Client(stream);
        client.say(r#"{"type":"now","id":"1"}"#).await;
        assert_eq!(client.text().await, r#"{"type":"ack","id":"1","data":1}"#);
        client
    }
}

fn caller() -> Caller {
    let session = SessionId::from_u128(1);
    Caller { user: USER, role: Role::Rider, session, expires: Millis(i64::MAX) }
}

/// Its positions go to every socket of these tests.
fn room() -> Topic {
    Topic::Trip(TripId::from_u128(7))
}

struct Client(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Client {
    async fn say(&mut self, text: &str) {
        self.send(Message::text(text)).await.unwrap();
    }

    async fn send(&mut self, message: Message) -> Result<(), Error> {
        let mut message = Some(message);
        std::future::poll_fn(|cx| {
            let mut socket = std::pin::Pin::new(&mut self.0);
            if message.is_some() {
                std::task::ready!(socket.as_mut().poll_ready(cx))?;
                message.take().map_or(Ok(()), |message| socket.as_mut().start_send(message))?;
            }
            socket.poll_flush(cx)
        })
        .await
    }

    async fn next(&mut self) -> Option<Result<Message, Error>> {
        std::future::poll_fn(|cx| std::pin::Pin::new(&mut self.0).poll_next(cx)).await
    }

    async fn text(&mut self) -> String {
        loop {
            match self.next().await.expect("the socket is open").unwrap() {
                Message::Text(text) => return text.to_string(),
                Message::Ping(_) | Message::Pong(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }

    /// Reads on until the server closes.
    async fn closed(&mut self) -> CloseCode {
        loop {
            if let Message::Close(Some(frame)) = self.next().await.expect("a close frame").unwrap()
            {
                return frame.code;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_many_publishers_arrive_in_order_and_complete() {
    const EVENTS: u64 = 4000;
    let node = Node::start().await;
    let mut client = node.connect().await;
    let read = Arc::new(AtomicU64::new(0));
    let (rooms, seen) = (node.rooms.clone(), Arc::clone(&read));
    let publishers = std::thread::spawn(move || {
        let told = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while told.fetch_add(1, Ordering::SeqCst) < EVENTS {
                        rooms.tell_user(USER, |_, seq| Frame::json(seq.to_string().into()));
                        // Faster than the lane is allowed to be: this claim is not about that.
                        while told.load(Ordering::SeqCst) > seen.load(Ordering::SeqCst) + 48 {
                            std::thread::yield_now();
                        }
                    }
                });
            }
        });
    });
    for expected in 1..=EVENTS {
        assert_eq!(client.text().await, expected.to_string());
        read.store(expected, Ordering::SeqCst);
    }
    publishers.join().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_late_gets_old_frames_and_then_the_newest() {
    const POSITIONS: i64 = 5000;
    let node = Node::start().await;
    let mut client = node.connect().await;
    // Some megabytes, more than the kernel holds: most must be replaced where they wait.
    let padding = "x".repeat(2000);
    for at in 1..=POSITIONS {
        let make = |_| Bytes::from(format!("{at} {padding}"));
        node.rooms.publish_position(room(), 7, Millis(at), make);
    }
    let (mut read, mut last) = (0, 0);
    while last < POSITIONS {
        let text = client.text().await;
        let at: i64 = text.split(' ').next().unwrap().parse().unwrap();
        assert!(at > last, "{at} after {last}");
        (read, last) = (read + 1, at);
    }
    assert!(read < POSITIONS, "nothing was replaced");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_why_it_is_sent_away() {
    let node = Node::start().await;
    let mut big = node.connect().await;
    // The server may hang up while the rest of it is still on its way.
    let _ = big.send(Message::text("x".repeat(64 * 1024 + 1))).await;
    assert_eq!(big.closed().await, CloseCode::Size);

    let mut rude = node.connect().await;
    for _ in 0..10 {
        rude.say("{").await;
    }
    assert_eq!(rude.closed().await, CloseCode::Policy);

    let mut fits = node.connect().await;
    let text = format!(r#"{{"type":"now","id":"2","data":"{}"}}"#, "x".repeat(60_000));
    fits.say(&text).await;
    assert_eq!(fits.text().await, r#"{"type":"ack","id":"2","data":1}"#);
    node.tasks.stopping().cancel();
}

#[tokio::test]
async fn a_publisher_writes_to_hundreds_of_sockets_in_one_turn() {
    let meters = Arc::new(Meters::new());
    let (mut sockets, mut clients) = (Vec::new(), Vec::new());
    for id in 0..400 {
        let (server, client) = tokio::io::duplex(64);
        let (caller, format, meters) = (caller(), Format::Json, Arc::clone(&meters));
        let transport = Box::new(WebSocket::new(server, &[]));
        sockets.push(Connection::new(Made { id, caller, format, now_ms: 0, meters, transport }));
        clients.push(client);
    }
    // No await in between: a task that writes may not be told to wait.
    sockets.iter().for_each(|socket| socket.reply(Bytes::from_static(b"{}")));
    for (id, client) in clients.iter_mut().enumerate() {
        let mut frame = [0; 4];
        let read = tokio::task::unconstrained(client.read_exact(&mut frame)).now_or_never();
        assert!(read.is_some_and(|read| read.is_ok()), "socket {id} was left to its own task");
        assert_eq!(frame, [0x81, 2, b'{', b'}']);
    }
}
