//! The task of one socket: reads, limits, hands messages to the desk, and ends it decently.
//!
//! Positions and other things that need no waiting are dealt with at once; commands that wait are
//! worked off one after the other, so that answers come in order, while reading goes on.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use base::{Code, Problem};
use rooms::codec::{self, Position};
use rooms::{Format, Outlet, Rooms, Topic};

use crate::answer;
use crate::close::{self, Close};
use crate::connection::{Connection, Woken, format_index};
use crate::hub::Hub;
use crate::limits::{Allowance, Excess, Strikes};
use crate::message::Message;
use crate::transport::{Broken, Received};

/// Commands of one socket that wait for their turn; one more is refused.
const COMMANDS: usize = 16;
/// How long commands under way may still take when the socket ends.
const FINISH: Duration = Duration::from_secs(5);
/// How long a client may take to answer the close frame.
const HANG_UP: Duration = Duration::from_secs(2);
/// How long the close frame may travel to a client whose input is not read any more. Closing at
/// once would reset the connection and could overtake the frame.
const LINGER: Duration = Duration::from_millis(500);

/// After these nothing more is read: what comes can't be, or is the flood that ended the socket.
const UNHEARD: [Close; 5] =
    [close::TOO_BIG, close::PROTOCOL, close::NOT_TEXT, close::MALFORMED, close::TOO_MANY];

/// A command that has to wait; answers by itself.
pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What became of a message.
pub(crate) enum Taken {
    Done,
    Later(Work),
    /// Refused for a reason that a correct client may meet.
    Refused(Problem),
    /// Out of protocol: counts against the socket.
    Malformed(Problem),
}

/// The house behind the sockets: the flows, or a stand-in for tests.
pub(crate) trait Desk: Send + Sync {
    /// Something came from this client, whatever it was.
    fn heard(&self, socket: &Connection);
    /// The hot path: a position, checked in form.
    fn position(&self, socket: &Connection, position: &Position) -> Result<(), Problem>;
    fn message(&self, socket: &Arc<Connection>, message: &Message<'_>) -> Taken;
}

pub(crate) struct Session {
    socket: Arc<Connection>,
    hub: Arc<Hub>,
    rooms: Rooms,
    desk: Arc<dyn Desk>,
    allowance: Allowance,
    strikes: Strikes,
    excess: Excess,
    work: Option<Work>,
    waiting: VecDeque<Work>,
}

impl Session {
    pub(crate) fn new(
        socket: Arc<Connection>,
        hub: Arc<Hub>,
        rooms: Rooms,
        desk: Arc<dyn Desk>,
    ) -> Self {
        let allowance = Allowance::new(hub.rate(), hub.now_ms());
        let (strikes, excess) = (Strikes::default(), Excess::default());
        let (work, waiting) = (None, VecDeque::new());
        Self { socket, hub, rooms, desk, allowance, strikes, excess, work, waiting }
    }

    /// Until the client leaves or has to.
    pub(crate) async fn run(mut self) {
        let registered = Registered::new(&self.socket, &self.hub, &self.rooms);
        let why = poll_fn(|cx| self.poll(cx)).await;
        // What was begun is finished: the client may have left, but the command was given.
        let finished = tokio::time::timeout(FINISH, poll_fn(|cx| self.poll_work(cx))).await;
        if finished.is_err() {
            tracing::warn!("a command outlived its socket and was given up");
        }
        if let Some(why) = why {
            say_farewell(&self.socket, why).await;
        }
        drop(registered);
    }

    /// Ready when the socket ends: with a reason when it is ours.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Close>> {
        loop {
            // Ready or not: a new command may come below.
            let _ = self.poll_work(cx);
            let woken = std::task::ready!(self.socket.poll_next(cx));
            match woken {
                Woken::Received(received) => self.take(&received),
                Woken::Closing(why) => return Poll::Ready(Some(why)),
                Woken::Broken(Broken::TooBig) => {
                    return Poll::Ready(Some(close::TOO_BIG));
                }
                Woken::Broken(Broken::Protocol) => {
                    return Poll::Ready(Some(close::PROTOCOL));
                }
                Woken::Broken(Broken::Text) => {
                    return Poll::Ready(Some(close::NOT_TEXT));
                }
                Woken::Broken(Broken::Gone) => return Poll::Ready(None),
            }
        }
    }

    /// Ready when no command is left.
    fn poll_work(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(work) = &mut self.work {
            std::task::ready!(work.as_mut().poll(cx));
            self.work = self.waiting.pop_front();
        }
        Poll::Ready(())
    }

    fn take(&mut self, received: &Received) {
        let now_ms = self.hub.now_ms();
        self.socket.hear(now_ms);
        self.desk.heard(&self.socket);
        let allowed = self.allowance.take(now_ms);
        let format = match received {
            Received::Text(_) => Format::Json,
            Received::Binary(_) => Format::Binary,
            Received::Sign if !allowed => return self.strike(),
            Received::Sign | Received::Closing => return,
        };
        self.hub.meters().up[format_index(format)].increment(1);
        if !allowed {
            // The id is not known yet, and reading it is what is being limited.
            self.hub.meters().limited.increment(1);
            let why = "too many messages, slow down";
            self.refuse(&Problem::new(Code::RateLimited, why));
            if self.excess.out(now_ms) {
                self.socket.close(close::TOO_MANY);
            }
            return;
        }
        match received {
            Received::Text(text) => self.take_text(text),
            Received::Binary(bytes) => self.take_position(bytes),
            Received::Sign | Received::Closing => {}
        }
    }

    fn take_position(&mut self, frame: &[u8]) {
        self.let_flow();
        match codec::decode(frame) {
            Ok((position, ack)) => {
                if ack > 0 {
                    self.rooms.acked(self.socket.user(), self.socket.id(), u64::from(ack));
                }
                if let Err(problem) = self.desk.position(&self.socket, &position) {
                    self.refuse(&problem);
                }
            }
            Err(error) => {
                let why = Problem::field("frame", "invalid", &error.to_string());
                self.refuse(&why);
                self.strike();
            }
        }
    }

    fn take_text(&mut self, text: &str) {
        let message = match Message::parse(text) {
            Ok(message) => message,
            Err(problem) => {
                self.refuse(&problem);
                return self.strike();
            }
        };
        // A resume decides itself from where the user's stream flows.
        if message.kind != "resume" {
            self.let_flow();
        }
        let taken = match self.take_acks(&message) {
            Ok(()) => self.desk.message(&self.socket, &message),
            Err(problem) => Taken::Malformed(problem),
        };
        match taken {
            Taken::Done => {}
            Taken::Later(work) => self.put_off(work, &message),
            Taken::Refused(problem) => self.socket.reply(answer::refusal(message.id, &problem)),
            Taken::Malformed(problem) => {
                self.socket.reply(answer::refusal(message.id, &problem));
                self.strike();
            }
        }
    }

    fn take_acks(&self, message: &Message<'_>) -> Result<(), Problem> {
        for (topic, seq) in message.acks()? {
            if topic == Topic::User(self.socket.user()) {
                self.rooms.acked(self.socket.user(), self.socket.id(), seq);
            }
        }
        Ok(())
    }

    fn put_off(&mut self, work: Work, message: &Message<'_>) {
        if self.work.is_none() {
            self.work = Some(work);
        } else if self.waiting.len() < COMMANDS {
            self.waiting.push_back(work);
        } else {
            let why = "this socket has too many commands under way";
            let problem = Problem::new(Code::Unavailable, why);
            self.socket.reply(answer::refusal(message.id, &problem));
        }
    }

    fn let_flow(&self) {
        if self.socket.take_hold() {
            let outlet: Arc<dyn Outlet> = Arc::clone(&self.socket) as _;
            self.rooms.release(&outlet);
        }
    }

    fn refuse(&self, problem: &Problem) {
        self.socket.reply(answer::refusal(None, problem));
    }

    fn strike(&mut self) {
        if self.strikes.out(self.hub.now_ms()) {
            self.socket.close(close::MALFORMED);
        }
    }
}

/// Sends what waits and the close frame, and lets the client hang up.
async fn say_farewell(socket: &Connection, why: Close) {
    let said = poll_fn(|cx| socket.poll_farewell(why, cx));
    if tokio::time::timeout(HANG_UP, said).await.is_err() {
        return;
    }
    if UNHEARD.contains(&why) {
        tokio::time::sleep(LINGER).await;
        return;
    }
    // A client that does not answer is left behind.
    let _ = tokio::time::timeout(HANG_UP, poll_fn(|cx| socket.poll_hang_up(cx))).await;
}

/// A socket in the books of hub and rooms; taken out however its task ends.
struct Registered {
    socket: Arc<Connection>,
    hub: Arc<Hub>,
    rooms: Rooms,
}

impl Registered {
    fn new(socket: &Arc<Connection>, hub: &Arc<Hub>, rooms: &Rooms) -> Self {
        hub.add(socket);
        let outlet: Arc<dyn Outlet> = Arc::clone(socket) as _;
        rooms.attach(&outlet);
        Self { socket: Arc::clone(socket), hub: Arc::clone(hub), rooms: rooms.clone() }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.rooms.gone(self.socket.id());
        self.hub.remove(&self.socket);
    }
}
