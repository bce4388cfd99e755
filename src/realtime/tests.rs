//! Claims about one socket: who writes, what is answered, and how it ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use base::{Caller, Clock, Code, Dice, Millis, Problem, Role, SessionId, UserId};
use bytes::Bytes;
use parking_lot::Mutex;
use rooms::codec::Position;
use rooms::{Format, Frame, Outlet, Rooms};

use crate::close::Close;
use crate::connection::{Connection, Made};
use crate::hub::{Hub, TICK};
use crate::limits::{self, MessageRate};
use crate::message::Message;
use crate::session::{Desk, Session, Taken};
use crate::transport::{Broken, Outgoing, Received, Transport};

/// The client's end of a socket that lives in memory.
#[derive(Default)]
struct Client {
    up: VecDeque<Result<Received, Broken>>,
    down: Vec<Outgoing>,
    /// Takes nothing while set.
    full: bool,
    waker: Option<Waker>,
}

struct Wire(Arc<Mutex<Client>>);

impl Transport for Wire {
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, Broken>> {
        let mut client = self.0.lock();
        client.waker = Some(cx.waker().clone());
        client.up.pop_front().map_or(Poll::Pending, Poll::Ready)
    }

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        if self.0.lock().full { Poll::Pending } else { Poll::Ready(Ok(())) }
    }

    fn send(&mut self, message: Outgoing) -> Result<(), Broken> {
        self.0.lock().down.push(message);
        Ok(())
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.poll_ready(cx)
    }
}

/// A desk that knows a few messages.
#[derive(Default)]
pub(crate) struct Stub {
    positions: AtomicUsize,
}

impl Desk for Stub {
    fn heard(&self, _: &Connection) {}

    fn position(&self, _: &Connection, _: &Position) -> Result<(), Problem> {
        self.positions.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }

    fn message(&self, socket: &Arc<Connection>, message: &Message<'_>) -> Taken {
        let ack = crate::answer::ack(message.id, 1);
        match &*message.kind {
            "now" | "resume" => {
                ack.into_iter().for_each(|ack| socket.reply(ack));
                Taken::Done
            }
            "later" => {
                let socket = Arc::clone(socket);
                Taken::Later(Box::pin(async move {
                    tokio::task::yield_now().await;
                    ack.into_iter().for_each(|ack| socket.reply(ack));
                }))
            }
            "slow" => {
                let socket = Arc::clone(socket);
                Taken::Later(Box::pin(async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    ack.into_iter().for_each(|ack| socket.reply(ack));
                }))
            }
            "forbidden" => Taken::Refused(Problem::new(Code::Forbidden, "no")),
            _ => Taken::Malformed(Problem::new(Code::UnknownType, "what")),
        }
    }
}

/// A node with one desk, its time turned by tokio's paused clock.
struct Node {
    hub: Arc<Hub>,
    rooms: Rooms,
    tasks: ops::Tasks,
    desk: Arc<Stub>,
    clock: Clock,
    revoked: Arc<Mutex<Vec<SessionId>>>,
}

impl Node {
    fn start(rate: MessageRate) -> Self {
        let (rooms, tasks) = (Rooms::new(&Dice::seeded(1)), ops::Tasks::new());
        let (clock, revoked) = (Clock::manual(Millis(0)), Arc::new(Mutex::new(Vec::new())));
        let list = Arc::clone(&revoked);
        let is_revoked = Box::new(move |session| list.lock().contains(&session));
        let hub = Arc::new(Hub::new(clock.clone(), Dice::seeded(1), rate, is_revoked));
        let time = Arc::clone(&hub).keep_time(rooms.clone(), tasks.stopping());
        tasks.spawn("time", time);
        Self { hub, rooms, tasks, desk: Arc::default(), clock, revoked }
    }

    async fn connect(&self, user: u128, role: Role) -> Socket {
        let client = Arc::new(Mutex::new(Client::default()));
        let caller = Caller {
            user: UserId::from_u128(user),
            role,
            session: SessionId::from_u128(user),
            expires: Millis(900_000),
        };
        let socket = Arc::new(Connection::new(Made {
            id: self.hub.next_id(),
            caller,
            format: Format::Json,
            now_ms: self.hub.now_ms(),
            meters: Arc::clone(self.hub.meters()),
            transport: Box::new(Wire(Arc::clone(&client))),
        }));
        let (hub, rooms) = (Arc::clone(&self.hub), self.rooms.clone());
        let session = Session::new(Arc::clone(&socket), hub, rooms, self.desk.clone());
        self.tasks.spawn("socket", session.run());
        settle().await;
        Socket { client, socket }
    }
}

struct Socket {
    client: Arc<Mutex<Client>>,
    socket: Arc<Connection>,
}

/// Lets every task that can go on do so.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

impl Socket {
    fn wake(&self) {
        let waker = self.client.lock().waker.take();
        waker.into_iter().for_each(Waker::wake);
    }

    async fn give(&self, received: Result<Received, Broken>) {
        self.client.lock().up.push_back(received);
        self.wake();
        settle().await;
    }

    async fn say(&self, text: &str) {
        self.give(Ok(Received::Text(text.to_owned()))).await;
    }

    async fn set_full(&self, full: bool) {
        self.client.lock().full = full;
        self.wake();
        settle().await;
    }

    fn texts(&self) -> Vec<String> {
        let client = self.client.lock();
        let text = |message: &Outgoing| match message {
            Outgoing::Body(body) => Some(String::from_utf8_lossy(body.bytes()).into_owned()),
            Outgoing::Ping | Outgoing::Close(_) => None,
        };
        client.down.iter().filter_map(text).collect()
    }

    fn closed(&self) -> Option<u16> {
        self.client.lock().down.iter().find_map(|message| match message {
            Outgoing::Close(Close { code, .. }) => Some(*code),
            Outgoing::Body(_) | Outgoing::Ping => None,
        })
    }

    fn pings(&self) -> usize {
        self.client.lock().down.iter().filter(|message| **message == Outgoing::Ping).count()
    }
}

#[tokio::test(start_paused = true)]
async fn every_message_with_an_id_is_answered_once() {
    let node = Node::start(MessageRate::Off);
    let socket = node.connect(1, Role::Rider).await;
    for kind in ["now", "later", "forbidden", "nonsense", "later"] {
        socket.say(&format!(r#"{{"type":"{kind}","id":"{kind}"}}"#)).await;
    }
    socket.say(r#"{"type":"now"}"#).await;
    let kinds: Vec<(String, String)> = socket
        .texts()
        .iter()
        .map(|text| {
            let answer: serde_json::Value = serde_json::from_str(text).unwrap();
            let text = |key: &str| answer[key].as_str().unwrap_or("").to_owned();
            (text("type"), text("id"))
        })
        .collect();
    let of = |kind: &str, id: &str| (kind.to_owned(), id.to_owned());
    assert_eq!(
        kinds,
        [
            of("ack", "now"),
            of("ack", "later"),
            of("error", "forbidden"),
            of("error", "nonsense"),
            of("ack", "later"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn the_tenth_malformed_message_ends_the_socket() {
    let node = Node::start(MessageRate::Off);
    let (rude, other) = (node.connect(1, Role::Rider).await, node.connect(2, Role::Rider).await);
    for _ in 0..9 {
        rude.say("{").await;
        rude.say(r#"{"type":"forbidden"}"#).await;
    }
    assert_eq!((rude.closed(), rude.texts().len()), (None, 18));
    rude.give(Ok(Received::Binary([1; 31][..].into()))).await;
    assert_eq!(rude.closed(), Some(1008));
    other.say(r#"{"type":"now","id":"1"}"#).await;
    assert_eq!((other.closed(), other.texts().len()), (None, 1));
}

#[tokio::test(start_paused = true)]
async fn what_breaks_the_frame_rules_is_told_so_and_a_peer_who_leaves_is_forgotten() {
    for (broken, expected) in
        [(Broken::TooBig, Some(1009)), (Broken::Protocol, Some(1002)), (Broken::Gone, None)]
    {
        let node = Node::start(MessageRate::Off);
        let socket = node.connect(1, Role::Rider).await;
        assert_eq!((node.hub.count(), node.rooms.connected(UserId::from_u128(1))), (1, true));
        socket.give(Err(broken)).await;
        assert_eq!(socket.closed(), expected);
        node.hub.empty(Duration::from_secs(5)).await;
        assert_eq!((node.hub.count(), node.rooms.connected(UserId::from_u128(1))), (0, false));
    }
}

#[tokio::test(start_paused = true)]
async fn positions_reach_the_desk_and_too_many_messages_are_refused() {
    let node = Node::start(MessageRate::On { per_second: 1, burst: 3 });
    let socket = node.connect(1, Role::Driver).await;
    let position = Position {
        at: base::Point::new(30.0, 31.0).unwrap(),
        heading: None,
        speed_kmh: None,
        accuracy_m: None,
        timestamp: Millis(0),
    };
    let frame = rooms::codec::encode(&position, 0);
    for _ in 0..5 {
        socket.give(Ok(Received::Binary(frame[..].into()))).await;
    }
    assert_eq!(node.desk.positions.load(Ordering::SeqCst), 3);
    let refused = socket.texts();
    assert_eq!(refused.len(), 2);
    assert!(refused[0].contains("RATE_LIMITED"));
    for _ in 2..limits::EXCESS {
        assert_eq!(socket.closed(), None);
        socket.give(Ok(Received::Binary(frame[..].into()))).await;
    }
    assert_eq!(socket.closed(), Some(1008), "who goes on is shown the door");
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_written_when_the_client_reads_again() {
    let node = Node::start(MessageRate::Off);
    let socket = node.connect(1, Role::Rider).await;
    socket.say(r#"{"type":"now"}"#).await;
    socket.set_full(true).await;
    let tell = |text: &'static str| {
        node.rooms.tell_user(UserId::from_u128(1), |_, _| {
            Frame::json(Bytes::from_static(text.as_bytes()))
        });
    };
    tell("1");
    settle().await;
    tell("2");
    assert_eq!(socket.texts(), [""; 0]);
    socket.set_full(false).await;
    assert_eq!(socket.texts(), ["1", "2"]);
    tell("3");
    assert_eq!(socket.texts(), ["1", "2", "3"], "written in the publisher's turn");
}

#[tokio::test(start_paused = true)]
async fn a_reader_that_stays_full_is_closed_and_can_resume() {
    let node = Node::start(MessageRate::Off);
    let socket = node.connect(1, Role::Rider).await;
    socket.say(r#"{"type":"now"}"#).await;
    socket.set_full(true).await;
    for _ in 0..=rooms::EVENTS {
        node.rooms.tell_user(UserId::from_u128(1), |_, _| Frame::json(Bytes::from_static(b"e")));
    }
    socket.set_full(false).await;
    assert_eq!((socket.closed(), socket.texts().len()), (Some(1013), 0));
}

#[tokio::test(start_paused = true)]
async fn a_silent_socket_is_pinged_then_closed_and_a_lively_one_stays() {
    let node = Node::start(MessageRate::Off);
    let (silent, lively) = (node.connect(1, Role::Rider).await, node.connect(2, Role::Rider).await);
    for _ in 0..25 {
        tokio::time::advance(Duration::from_secs(1)).await;
        lively.give(Ok(Received::Sign)).await;
        // A second's worth of ticks, so that every part is looked at.
        for _ in 0..10 {
            tokio::time::advance(TICK).await;
            settle().await;
        }
    }
    assert_eq!(silent.closed(), Some(4408));
    assert!(silent.pings() >= 1);
    assert_eq!(lively.closed(), None);
    assert!(lively.pings() >= 4);
}

async fn a_second(node: &Node) {
    node.clock.advance(Duration::from_secs(1));
    for _ in 0..11 {
        tokio::time::advance(TICK).await;
        settle().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_token_that_ended_or_a_login_that_was_revoked_ends_the_socket() {
    let node = Node::start(MessageRate::Off);
    let (one, two, three) = (
        node.connect(1, Role::Rider).await,
        node.connect(2, Role::Rider).await,
        node.connect(3, Role::Rider).await,
    );
    node.revoked.lock().push(SessionId::from_u128(1));
    a_second(&node).await;
    assert_eq!([&one, &two, &three].map(Socket::closed), [Some(4401), None, None]);
    let fresh = Caller { expires: Millis(2_000_000), ..two.socket.caller() };
    two.socket.renew(fresh);
    node.clock.advance(Duration::from_secs(900));
    a_second(&node).await;
    assert_eq!([&two, &three].map(Socket::closed), [None, Some(4401)]);
}

#[tokio::test(start_paused = true)]
async fn one_account_has_a_bounded_number_of_sockets() {
    let node = Node::start(MessageRate::Off);
    let (old, new) = (node.connect(1, Role::Driver).await, node.connect(1, Role::Driver).await);
    settle().await;
    assert_eq!((old.closed(), new.closed()), (Some(4409), None));
    let mut seats = Vec::new();
    for _ in 0..6 {
        seats.push(node.connect(2, Role::Rider).await);
    }
    settle().await;
    let closed: Vec<_> = seats.iter().map(Socket::closed).collect();
    assert_eq!(closed, [Some(4409), None, None, None, None, None]);
}

#[tokio::test(start_paused = true)]
async fn a_drain_tells_everyone_when_to_come_back_and_finishes_what_was_begun() {
    let node = Node::start(MessageRate::Off);
    let socket = node.connect(1, Role::Rider).await;
    socket.say(r#"{"type":"slow","id":"1"}"#).await;
    node.hub.send_all_away();
    node.hub.empty(Duration::from_secs(10)).await;
    assert_eq!(node.hub.count(), 0);
    let told = socket.texts();
    assert!(told[0].starts_with(r#"{"type":"reconnect","data":{"afterMs":"#), "{told:?}");
    assert_eq!(told[1..], [r#"{"type":"ack","id":"1","data":1}"#]);
    assert_eq!(socket.closed(), Some(1012));
    let late = node.connect(2, Role::Rider).await;
    settle().await;
    assert_eq!(late.closed(), Some(1012));
}

#[tokio::test(start_paused = true)]
async fn a_quiet_client_gets_its_stream_after_a_moment() {
    let node = Node::start(MessageRate::Off);
    let socket = node.connect(1, Role::Driver).await;
    node.rooms.tell_user(UserId::from_u128(1), |_, _| Frame::json(Bytes::from_static(b"offer")));
    settle().await;
    assert_eq!(socket.texts(), [""; 0]);
    a_second(&node).await;
    a_second(&node).await;
    assert_eq!(socket.texts(), ["offer"]);
}

#[test]
fn what_is_queued_while_another_writes_is_written() {
    let client = Arc::new(Mutex::new(Client::default()));
    let caller = Caller {
        user: UserId::from_u128(1),
        role: Role::Rider,
        session: SessionId::from_u128(1),
        expires: Millis(0),
    };
    let socket = Arc::new(Connection::new(Made {
        id: 1,
        caller,
        format: Format::Json,
        now_ms: 0,
        meters: Arc::new(crate::connection::Meters::new()),
        transport: Box::new(Wire(Arc::clone(&client))),
    }));
    let pushed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2000 {
                    // Below the lane's limit: here nobody is slow, only busy.
                    while pushed.load(Ordering::SeqCst) > client.lock().down.len() + 32 {
                        std::thread::yield_now();
                    }
                    pushed.fetch_add(1, Ordering::SeqCst);
                    socket.push(rooms::Item::Reply(Bytes::from_static(b"r")));
                    socket.turn();
                }
            });
        }
    });
    assert_eq!(client.lock().down.len(), 8000);
}
