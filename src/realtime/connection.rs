//! One socket: its two lanes, and whose turn it is to write.
//!
//! Whoever publishes writes: [`Outlet::turn`] takes the socket if nobody holds it and writes what
//! the lanes hold, with no task switch. What doesn't fit stays in the lanes and the socket's own
//! task is woken to finish. Nobody waits for a client here.
//!
//! Guarantees:
//! - nothing queued is forgotten: whoever lets go of the socket looks into the lanes once more;
//!   (test: `what_is_queued_while_another_writes_is_written`)
//! - a socket that is being closed sends what waits first, except to a reader that is too slow.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use base::{Caller, Role, UserId};
use bytes::Bytes;
use fleet::Seat;
use futures_util::task::AtomicWaker;
use metrics::{Counter, counter};
use parking_lot::Mutex;
use rooms::{Format, Item, Lanes, Outlet, Pushed, Topic};
use tokio::task::coop::unconstrained;

use crate::close::{self, Close};
use crate::transport::{Broken, Outgoing, Received, Transport};

/// Counters that every socket turns, looked up once.
pub(crate) struct Meters {
    pub(crate) down: [Counter; 2],
    pub(crate) up: [Counter; 2],
    pub(crate) conflated: Counter,
    pub(crate) slow_readers: Counter,
    pub(crate) limited: Counter,
}

impl Meters {
    pub(crate) fn new() -> Self {
        let frames = |direction: &'static str| {
            ["json", "binary"].map(|format| {
                counter!("smartline_frames_total", "direction" => direction, "format" => format)
            })
        };
        Self {
            down: frames("down"),
            up: frames("up"),
            conflated: counter!("smartline_positions_conflated_total"),
            slow_readers: counter!("smartline_slow_readers_total"),
            limited: counter!("smartline_messages_limited_total"),
        }
    }
}

pub(crate) const fn format_index(format: Format) -> usize {
    match format {
        Format::Json => 0,
        Format::Binary => 1,
    }
}

/// What a connection is made of.
pub(crate) struct Made {
    pub(crate) id: u64,
    pub(crate) caller: Caller,
    pub(crate) format: Format,
    /// The node's tick.
    pub(crate) now_ms: u64,
    pub(crate) meters: Arc<Meters>,
    pub(crate) transport: Box<dyn Transport>,
}

pub(crate) struct Connection {
    id: u64,
    user: UserId,
    role: Role,
    format: Format,
    /// Changes when the client shows a fresh token.
    caller: Mutex<Caller>,
    queue: Mutex<Queue>,
    socket: Mutex<Socket>,
    /// The socket's own task.
    task: AtomicWaker,
    /// A driver's place in the fleet, once he said something that needs it.
    seat: OnceLock<Seat>,
    meters: Arc<Meters>,
    /// Its user's stream waits for a resume, or for anything else that is heard.
    held: AtomicBool,
    pub(crate) came_ms: u64,
    heard_ms: AtomicU64,
    pinged_ms: AtomicU64,
}

/// What waits. Locked for moments only, also under a room's lock.
struct Queue {
    lanes: Lanes,
    ping: bool,
    /// The end is decided.
    closing: Option<Close>,
    /// The close frame may go as soon as the lanes are empty.
    farewell: bool,
}

/// The socket itself. Held while writing, so only ever tried for by publishers.
struct Socket {
    transport: Box<dyn Transport>,
    /// Full, or broken: the own task goes on, nobody else tries.
    parked: bool,
    unflushed: bool,
    said_farewell: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    All,
    Full,
    Broken,
}

/// What the socket's own task is woken for.
#[derive(Debug)]
pub(crate) enum Woken {
    Received(Received),
    Broken(Broken),
    Closing(Close),
}

impl Connection {
    pub(crate) fn new(made: Made) -> Self {
        let Made { id, caller, format, now_ms, meters, transport } = made;
        let queue = Queue { lanes: Lanes::new(), ping: false, closing: None, farewell: false };
        let socket = Socket { transport, parked: false, unflushed: false, said_farewell: false };
        Self {
            id,
            user: caller.user,
            role: caller.role,
            format,
            caller: Mutex::new(caller),
            queue: Mutex::new(queue),
            socket: Mutex::new(socket),
            task: AtomicWaker::new(),
            seat: OnceLock::new(),
            meters,
            held: AtomicBool::new(true),
            came_ms: now_ms,
            heard_ms: AtomicU64::new(now_ms),
            pinged_ms: AtomicU64::new(now_ms),
        }
    }

    pub(crate) const fn role(&self) -> Role {
        self.role
    }

    pub(crate) fn caller(&self) -> Caller {
        *self.caller.lock()
    }

    /// The same account with a fresh token.
    pub(crate) fn renew(&self, caller: Caller) {
        *self.caller.lock() = caller;
    }

    /// The driver's place in the fleet; `find` makes it the first time.
    pub(crate) fn seat<E>(&self, find: impl FnOnce() -> Result<Seat, E>) -> Result<&Seat, E> {
        match self.seat.get() {
            Some(seat) => Ok(seat),
            None => find().map(|seat| self.seat.get_or_init(|| seat)),
        }
    }

    /// True once: the caller lets the user's stream flow.
    pub(crate) fn take_hold(&self) -> bool {
        self.held.load(Ordering::Relaxed) && self.held.swap(false, Ordering::AcqRel)
    }

    pub(crate) fn hear(&self, now_ms: u64) {
        self.heard_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Milliseconds of silence.
    pub(crate) fn silent_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.heard_ms.load(Ordering::Relaxed))
    }

    /// Sends a ping when the last is `every_ms` old.
    pub(crate) fn ping(&self, now_ms: u64, every_ms: u64) {
        if now_ms.saturating_sub(self.pinged_ms.load(Ordering::Relaxed)) < every_ms {
            return;
        }
        self.pinged_ms.store(now_ms, Ordering::Relaxed);
        self.queue.lock().ping = true;
        self.turn();
    }

    /// Answers a command, at once where the socket takes it.
    pub(crate) fn reply(&self, json: Bytes) {
        self.push(Item::Reply(json));
        self.turn();
    }

    /// Drops what waits of maps that are not watched any more.
    pub(crate) fn forget_cells(&self) {
        let mut queue = self.queue.lock();
        queue.lanes.forget(|slot| matches!(slot.topic, Topic::Cell(..)));
    }

    /// Ends the socket; the first reason stays.
    pub(crate) fn close(&self, why: Close) {
        let mut queue = self.queue.lock();
        if queue.closing.is_some() {
            return;
        }
        queue.closing = Some(why);
        if why == close::SLOW {
            queue.lanes.drop_all();
            self.meters.slow_readers.increment(1);
        }
        drop(queue);
        self.task.wake();
    }

    /// For the own task: the next thing to deal with. Also finishes what publishers could not
    /// write.
    pub(crate) fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Woken> {
        self.task.register(cx.waker());
        if let Some(why) = self.queue.lock().closing {
            return Poll::Ready(Woken::Closing(why));
        }
        let mut socket = self.socket.lock();
        if socket.parked && self.go_on(&mut socket, cx) == Written::Broken {
            return Poll::Ready(Woken::Broken(Broken::Gone));
        }
        let received = socket.transport.poll_receive(cx);
        drop(socket);
        // A publisher may have found the socket taken meanwhile.
        self.turn();
        received.map(|received| match received {
            Ok(received) => Woken::Received(received),
            Err(broken) => Woken::Broken(broken),
        })
    }

    /// For the own task: sends what waits, then the close frame; ready when the client has it or is
    /// gone.
    pub(crate) fn poll_farewell(&self, why: Close, cx: &mut Context<'_>) -> Poll<()> {
        self.task.register(cx.waker());
        let mut queue = self.queue.lock();
        queue.closing = Some(why);
        queue.farewell = true;
        queue.lanes.shut();
        drop(queue);
        let mut socket = self.socket.lock();
        match self.go_on(&mut socket, cx) {
            Written::Full => Poll::Pending,
            Written::All | Written::Broken => Poll::Ready(()),
        }
    }

    /// For the own task, after the farewell: ready when the client has hung up.
    pub(crate) fn poll_hang_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut socket = self.socket.lock();
        loop {
            match socket.transport.poll_receive(cx) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Of what the publisher may do before it has to give way nothing is taken: a tick that serves
    /// thousands of sockets would find all but the first full.
    fn write_at_once(&self, socket: &mut Socket) -> Written {
        let write = poll_fn(|cx| Poll::Ready(self.go_on(socket, cx)));
        let mut cx = Context::from_waker(Waker::noop());
        match pin!(unconstrained(write)).poll(&mut cx) {
            Poll::Ready(written) => written,
            Poll::Pending => Written::Full,
        }
    }

    fn go_on(&self, socket: &mut Socket, cx: &mut Context<'_>) -> Written {
        let written = socket.write_out(&self.queue, &self.meters, cx);
        socket.parked = written != Written::All;
        written
    }
}

impl Outlet for Connection {
    fn id(&self) -> u64 {
        self.id
    }

    fn user(&self) -> UserId {
        self.user
    }

    fn format(&self) -> Format {
        self.format
    }

    fn push(&self, item: Item) -> Pushed {
        let pushed = self.queue.lock().lanes.put(item, self.format);
        match pushed {
            Pushed::Queued | Pushed::Closed => {}
            Pushed::Conflated => self.meters.conflated.increment(1),
            Pushed::Overflow => self.close(close::SLOW),
        }
        pushed
    }

    fn turn(&self) {
        while self.queue.lock().waits() {
            // Whoever holds the socket looks into the lanes again when he lets go.
            let Some(mut socket) = self.socket.try_lock() else { return };
            if socket.parked || socket.said_farewell {
                return;
            }
            let written = self.write_at_once(&mut socket);
            drop(socket);
            if written != Written::All {
                // The waker above woke nobody: the own task has to ask for itself.
                self.task.wake();
                return;
            }
        }
    }
}

impl Queue {
    fn waits(&self) -> bool {
        self.ping || !self.lanes.is_empty()
    }

    fn take(&mut self) -> Option<Outgoing> {
        if std::mem::take(&mut self.ping) {
            return Some(Outgoing::Ping);
        }
        if let Some(body) = self.lanes.take() {
            return Some(Outgoing::Body(body));
        }
        match self.closing {
            Some(why) if std::mem::take(&mut self.farewell) => Some(Outgoing::Close(why)),
            Some(_) | None => None,
        }
    }
}

impl Socket {
    /// Writes until the queue is empty or the socket is full; one flush for all of it.
    fn write_out(
        &mut self,
        queue: &Mutex<Queue>,
        meters: &Meters,
        cx: &mut Context<'_>,
    ) -> Written {
        while !self.said_farewell {
            match self.transport.poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Written::Broken,
                Poll::Pending => return Written::Full,
            }
            let Some(message) = queue.lock().take() else { break };
            match &message {
                Outgoing::Body(rooms::Body::Text(_)) => meters.down[0].increment(1),
                Outgoing::Body(rooms::Body::Binary(_)) => meters.down[1].increment(1),
                Outgoing::Ping => {}
                Outgoing::Close(_) => self.said_farewell = true,
            }
            if self.transport.send(message).is_err() {
                return Written::Broken;
            }
            self.unflushed = true;
        }
        if !self.unflushed {
            return Written::All;
        }
        match self.transport.poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                self.unflushed = false;
                Written::All
            }
            Poll::Ready(Err(_)) => Written::Broken,
            Poll::Pending => Written::Full,
        }
    }
}
