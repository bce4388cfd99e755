//! Every socket of this node: how many one account may have, and one timer for all of them.
//!
//! Guarantees:
//! - a driver has one socket, the newest; a rider or admin has at most [`SOCKETS_PER_USER`];
//! - a socket whose token ended or whose session was revoked is closed within a second or so;
//! - a silent socket is closed; nobody keeps a timer of its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use base::{Clock, Dice, Role, SessionId, UserId};
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use metrics::gauge;
use parking_lot::Mutex;
use rooms::{Outlet, Rooms};
use smallvec::SmallVec;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::answer;
use crate::close;
use crate::connection::{Connection, Meters};
use crate::limits::MessageRate;
use crate::wire::ReconnectData;

/// Sockets of one rider or admin; a further one closes the oldest.
pub const SOCKETS_PER_USER: usize = 5;
/// Silence after which a socket is closed.
const SILENCE_MS: u64 = 20_000;
const PING_EVERY_MS: u64 = 10_000;
/// How long a new socket may take to say from where it resumes.
const HOLD_MS: u64 = 500;
/// The node's tick. Each tick looks at one part of the sockets, so each socket is looked at once a
/// second and pings are spread.
pub(crate) const TICK: Duration = Duration::from_millis(100);
const PARTS: usize = 10;
/// Streams of users who are gone are forgotten after one to two of these.
const SWEEP_TICKS: u64 = 3000;
/// Clients of a node that restarts come back within this time, not all at once.
const RECONNECT_WITHIN_MS: u64 = 5000;

// A ping must have had its chance before silence counts.
const _: () = assert!(PING_EVERY_MS < SILENCE_MS);

type Revoked = Box<dyn Fn(SessionId) -> bool + Send + Sync>;

pub(crate) struct Hub {
    parts: [Mutex<HashMap<u64, Arc<Connection>>>; PARTS],
    users: DashMap<UserId, SmallVec<[Arc<Connection>; 1]>>,
    count: AtomicUsize,
    next_id: AtomicU64,
    started: Instant,
    now_ms: AtomicU64,
    draining: AtomicBool,
    emptied: Notify,
    clock: Clock,
    dice: Dice,
    rate: MessageRate,
    meters: Arc<Meters>,
    revoked: Revoked,
}

impl Hub {
    pub(crate) fn new(clock: Clock, dice: Dice, rate: MessageRate, revoked: Revoked) -> Self {
        Self {
            parts: std::array::from_fn(|_| Mutex::default()),
            users: DashMap::new(),
            count: AtomicUsize::new(0),
            next_id: AtomicU64::new(1),
            started: Instant::now(),
            now_ms: AtomicU64::new(0),
            draining: AtomicBool::new(false),
            emptied: Notify::new(),
            clock,
            dice,
            rate,
            meters: Arc::new(Meters::new()),
            revoked,
        }
    }

    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// The node's tick: milliseconds since it started, in steps of [`TICK`].
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }

    pub(crate) const fn rate(&self) -> MessageRate {
        self.rate
    }

    pub(crate) const fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Sockets on this node.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::SeqCst)
    }

    pub(crate) fn add(&self, socket: &Arc<Connection>) {
        self.count.fetch_add(1, Ordering::SeqCst);
        self.part(socket).lock().insert(socket.id(), Arc::clone(socket));
        let most = match socket.role() {
            Role::Driver => 1,
            Role::Rider | Role::Admin => SOCKETS_PER_USER,
        };
        let mut theirs = self.users.entry(socket.user()).or_default();
        theirs.push(Arc::clone(socket));
        let surplus = theirs.len().saturating_sub(most);
        let oldest: SmallVec<[Arc<Connection>; 1]> = theirs.drain(..surplus).collect();
        drop(theirs);
        for older in oldest {
            older.close(close::REPLACED);
        }
        // Came while the others were being sent away.
        if self.is_draining() {
            self.send_away(socket);
        }
    }

    pub(crate) fn remove(&self, socket: &Arc<Connection>) {
        self.part(socket).lock().remove(&socket.id());
        if let Entry::Occupied(mut theirs) = self.users.entry(socket.user()) {
            theirs.get_mut().retain(|other| other.id() != socket.id());
            if theirs.get().is_empty() {
                theirs.remove();
            }
        }
        if self.count.fetch_sub(1, Ordering::SeqCst) == 1 {
            self.emptied.notify_waiters();
        }
    }

    fn part(&self, socket: &Connection) -> &Mutex<HashMap<u64, Arc<Connection>>> {
        &self.parts[socket.id() as usize % PARTS]
    }

    /// The node's one timer for sockets; ends when the node stops, after sending all away.
    pub(crate) async fn keep_time(
        self: Arc<Self>,
        rooms: Rooms,
        stopping: tokio_util::sync::CancellationToken,
    ) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for tick in 0_u64.. {
            tokio::select! {
                () = stopping.cancelled() => break,
                _ = ticks.tick() => self.tick(tick, &rooms),
            }
        }
        self.send_all_away();
    }

    fn tick(&self, tick: u64, rooms: &Rooms) {
        let now_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.now_ms.store(now_ms, Ordering::Relaxed);
        let part = tick as usize % PARTS;
        // The sockets are looked at outside of the lock: a ping writes.
        let sockets: Vec<_> = self.parts[part].lock().values().cloned().collect();
        for socket in sockets {
            self.look_at(&socket, now_ms, rooms);
        }
        if part == 0 {
            rooms.check_gaps();
            gauge!("smartline_sockets").set(self.count() as f64);
        }
        if tick % SWEEP_TICKS == SWEEP_TICKS - 1 {
            rooms.sweep();
        }
    }

    fn look_at(&self, socket: &Arc<Connection>, now_ms: u64, rooms: &Rooms) {
        let caller = socket.caller();
        if socket.silent_ms(now_ms) >= SILENCE_MS {
            socket.close(close::SILENT);
        } else if (self.revoked)(caller.session) {
            socket.close(close::REVOKED);
        } else if self.clock.now() >= caller.expires {
            socket.close(close::EXPIRED);
        } else {
            socket.ping(now_ms, PING_EVERY_MS);
            if now_ms.saturating_sub(socket.came_ms) >= HOLD_MS && socket.take_hold() {
                let outlet: Arc<dyn Outlet> = Arc::clone(socket) as _;
                rooms.release(&outlet);
            }
        }
    }

    /// Tells every client to come back, spread over some seconds, and closes its socket.
    pub(crate) fn send_all_away(&self) {
        self.draining.store(true, Ordering::SeqCst);
        for part in &self.parts {
            let sockets: Vec<_> = part.lock().values().cloned().collect();
            for socket in sockets {
                self.send_away(&socket);
            }
        }
    }

    fn send_away(&self, socket: &Connection) {
        let after_ms = 100 + self.dice.below(RECONNECT_WITHIN_MS);
        socket.reply(answer::push("reconnect", &ReconnectData { after_ms }));
        socket.close(close::RESTART);
    }

    /// Until no socket is left, at most `within`.
    pub(crate) async fn empty(&self, within: Duration) {
        let empty = async {
            loop {
                let emptied = self.emptied.notified();
                tokio::pin!(emptied);
                emptied.as_mut().enable();
                if self.count() == 0 {
                    return;
                }
                emptied.await;
            }
        };
        let _ = tokio::time::timeout(within, empty).await;
    }
}
