//! All rooms of this node, and which socket is in which.
//!
//! Lock order: a room or stream, then a socket's lanes (inside `push`). The list of a socket's
//! topics is never held together with a room. Sockets write outside of the locks, in [`Turns`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base::{Dice, Millis, Tier, UserId};
use bytes::Bytes;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::RandomState;
use parking_lot::Mutex;
use smallvec::SmallVec;

use crate::lanes::EVENTS;
use crate::room::{Caught, KEPT, Room, Told};
use crate::stream::{Mark, Stream};
use crate::{
    Backlog, Body, Delivery, FollowError, Followed, Format, Frame, Item, Outlet, Pushed, Replay,
    Slot, Topic,
};

/// Most topics one socket follows.
const TOPICS: usize = 640;
/// A longer backlog is answered with a snapshot: it would fill the socket's lane.
const BACKLOG: usize = 32;
// Whoever catches up is handed both at once: an empty lane must take them.
const _: () = assert!(BACKLOG + KEPT < EVENTS);
/// Times a follower reads on before it gives up on a room that moves too fast.
const CATCH_UPS: usize = 8;

/// Sockets that were given something and still have to write. Dropping it writes.
#[derive(Default)]
pub struct Turns(SmallVec<[Arc<dyn Outlet>; 4]>);

impl Turns {
    fn add(&mut self, outlet: &Arc<dyn Outlet>) {
        self.0.push(Arc::clone(outlet));
    }

    /// Lets each socket write once, however often it was added.
    pub fn take(&mut self) {
        // Up to a few there is nothing to sort out: a second turn of an empty lane costs nothing.
        if self.0.len() > 4 {
            self.0.sort_unstable_by_key(|outlet| outlet.id());
            self.0.dedup_by_key(|outlet| outlet.id());
        }
        for outlet in self.0.drain(..) {
            outlet.turn();
        }
    }
}

impl Drop for Turns {
    fn drop(&mut self) {
        self.take();
    }
}

struct House {
    /// Hashed once per position: a trip's number is random enough for a quick hash.
    rooms: DashMap<Topic, Room, RandomState>,
    streams: DashMap<UserId, Stream>,
    /// Topics by socket, to leave them all when it goes.
    sockets: DashMap<u64, SmallVec<[Topic; 2]>>,
    /// Rooms in which somebody waits for a missing number.
    torn: Mutex<Vec<Topic>>,
    /// Epoch of the next stream made; its start is drawn per process.
    epoch: AtomicU64,
    tickets: AtomicU64,
}

/// Every room of this node. Cheap to clone.
#[derive(Clone)]
pub struct Rooms(Arc<House>);

impl Rooms {
    pub fn new(dice: &Dice) -> Self {
        // Below 2^52, so that a JSON reader that knows only doubles can hold it for ever.
        let epoch = (dice.next_u64() >> 24) << 12 | 1;
        Self(Arc::new(House {
            rooms: DashMap::default(),
            streams: DashMap::new(),
            sockets: DashMap::new(),
            torn: Mutex::new(Vec::new()),
            epoch: AtomicU64::new(epoch),
            tickets: AtomicU64::new(1),
        }))
    }

    /// Follows a trip: first what it missed after event `after` (a snapshot for `None`), then
    /// everything that is published, each once and in order.
    pub async fn follow(
        &self,
        topic: Topic,
        after: Option<u64>,
        outlet: &Arc<dyn Outlet>,
        replay: &dyn Replay,
    ) -> Result<Followed, FollowError> {
        let ticket = self.0.tickets.fetch_add(1, Ordering::Relaxed);
        self.remember(outlet.id(), topic)?;
        self.0.rooms.entry(topic).or_default().enter(outlet, ticket);
        let caught = self.catch_up(topic, after, ticket, outlet, replay).await;
        outlet.turn();
        match caught {
            Ok(seq) => Ok(Followed { epoch: 1, seq }),
            Err(error) => {
                self.leave(topic, outlet.id());
                Err(error)
            }
        }
    }

    async fn catch_up(
        &self,
        topic: Topic,
        after: Option<u64>,
        ticket: u64,
        outlet: &Arc<dyn Outlet>,
        replay: &dyn Replay,
    ) -> Result<u64, FollowError> {
        let mut from = after;
        for _ in 0..CATCH_UPS {
            let backlog = match replay.since(topic, from).await? {
                Backlog::Events(events) if events.len() > BACKLOG => {
                    from = None;
                    replay.since(topic, None).await?
                }
                backlog => backlog,
            };
            let Some(mut room) = self.0.rooms.get_mut(&topic) else {
                return Err(FollowError::Gone);
            };
            let caught = match backlog {
                Backlog::Events(events) => room.catch_up(topic, ticket, from.unwrap_or(0), events),
                Backlog::Snapshot { seq, frame } => room.snapshot(topic, ticket, seq, frame),
            };
            drop(room);
            // What this round handed over makes place for the next one.
            outlet.turn();
            match caught {
                Caught::Up(seq) => {
                    self.dismiss(topic, Room::dismiss);
                    return Ok(seq);
                }
                Caught::Behind(seq) => from = Some(seq),
                Caught::Torn => from = None,
                Caught::Gone => return Err(FollowError::Gone),
            }
        }
        Err(FollowError::Gone)
    }

    /// Follows a picture, which has no numbers: from the next update on.
    pub fn join(&self, topic: Topic, outlet: &Arc<dyn Outlet>) -> Result<(), FollowError> {
        self.remember(outlet.id(), topic)?;
        self.0.rooms.entry(topic).or_default().join(outlet);
        Ok(())
    }

    /// Gives the socket its user's stream, held until [`Rooms::resume`] or [`Rooms::release`].
    pub fn attach(&self, outlet: &Arc<dyn Outlet>) {
        let user = outlet.user();
        // The first topic of a socket always fits.
        if self.remember(outlet.id(), Topic::User(user)).is_ok() {
            self.stream(user, |stream| stream.attach(outlet));
        }
    }

    /// Lets a held socket have what happened since it came, and everything from now on.
    pub fn release(&self, outlet: &Arc<dyn Outlet>) {
        let user = outlet.user();
        if let Some(mut stream) = self.0.streams.get_mut(&user) {
            stream.release(Topic::User(user), outlet.id());
        }
        outlet.turn();
    }

    /// As [`Rooms::release`], from `(epoch, after)` on: the missed events in order, or a snapshot
    /// when they are older than what is kept. `None` when the socket was never attached.
    pub fn resume(&self, outlet: &Arc<dyn Outlet>, mark: Option<(u64, u64)>) -> Option<Followed> {
        let user = outlet.user();
        let mark = mark.map(|(epoch, after)| Mark { epoch, after });
        let mut stream = self.0.streams.get_mut(&user)?;
        let followed = stream.resume(Topic::User(user), outlet.id(), mark);
        drop(stream);
        outlet.turn();
        followed
    }

    /// A socket says that it has its user's events up to `seq`.
    pub fn acked(&self, user: UserId, outlet: u64, seq: u64) {
        if let Some(mut stream) = self.0.streams.get_mut(&user) {
            stream.acked(outlet, seq);
        }
    }

    /// How far event `seq` of the user's stream is known to have come.
    pub fn delivery(&self, user: UserId, seq: u64) -> Delivery {
        self.0.streams.get(&user).map_or(Delivery::NoSocket, |stream| stream.delivery(seq))
    }

    pub fn leave(&self, topic: Topic, outlet: u64) {
        self.forget(topic, outlet);
        if let Some(mut topics) = self.0.sockets.get_mut(&outlet) {
            topics.retain(|followed| *followed != topic);
        }
    }

    /// Leaves every cell: the map was closed or moved.
    pub fn leave_cells(&self, outlet: u64) {
        let mut left: SmallVec<[Topic; 2]> = SmallVec::new();
        if let Some(mut topics) = self.0.sockets.get_mut(&outlet) {
            topics.retain(|topic| {
                let cell = matches!(topic, Topic::Cell(..));
                if cell {
                    left.push(*topic);
                }
                !cell
            });
        }
        for topic in left {
            self.forget(topic, outlet);
        }
    }

    /// The socket is no more: it leaves everything.
    pub fn gone(&self, outlet: u64) {
        let Some((_, topics)) = self.0.sockets.remove(&outlet) else { return };
        for topic in topics {
            self.forget(topic, outlet);
        }
    }

    /// Takes every socket of `user` out of the room: he has no part in it any more.
    pub fn expel(&self, topic: Topic, user: UserId) {
        self.dismiss(topic, |room| room.expel(user));
    }

    /// Event `seq` was the topic's last: whoever has it leaves, and whoever still catches up leaves
    /// once it has it.
    pub fn end(&self, topic: Topic, seq: u64) {
        self.dismiss(topic, |room| room.end(seq));
    }

    /// Takes out of the room whom `choose` removed from it.
    fn dismiss(&self, topic: Topic, choose: impl FnOnce(&mut Room) -> Vec<u64>) {
        let Entry::Occupied(mut room) = self.0.rooms.entry(topic) else { return };
        let gone = choose(room.get_mut());
        if room.get().is_empty() {
            room.remove();
        } else {
            drop(room);
        }
        for outlet in gone {
            if let Some(mut topics) = self.0.sockets.get_mut(&outlet) {
                topics.retain(|followed| *followed != topic);
            }
        }
    }

    /// Tells the followers of a trip its event number `seq`.
    pub fn publish_event(&self, topic: Topic, seq: u64, frame: Frame) {
        let mut turns = Turns::default();
        let Some(mut room) = self.0.rooms.get_mut(&topic) else { return };
        let told = room.tell(topic, seq, &frame);
        room.followers.iter().for_each(|follower| turns.add(&follower.outlet));
        let ending = room.ends();
        drop(room);
        if ending {
            self.dismiss(topic, Room::dismiss);
        }
        if told == Told::Early {
            let mut torn = self.0.torn.lock();
            if !torn.contains(&topic) {
                torn.push(topic);
            }
        }
    }

    /// Numbers an event of the user's stream and tells his sockets; `make` gets epoch and number.
    pub fn tell_user(&self, user: UserId, make: impl FnOnce(u64, u64) -> Frame) -> u64 {
        let mut turns = Turns::default();
        self.stream(user, |stream| stream.tell(Topic::User(user), make, |outlet| turns.add(outlet)))
    }

    /// Shows the position of `key` at time `at` to the followers. One older than the newest shown
    /// is dropped: two publishers of the same driver can't turn him back. Encodes each format at
    /// most once, and nothing when nobody follows.
    pub fn publish_position(
        &self,
        topic: Topic,
        key: u128,
        at: Millis,
        make: impl Fn(Format) -> Bytes,
    ) {
        let mut turns = Turns::default();
        let Some(mut room) = self.0.rooms.get_mut(&topic) else { return };
        if !room.advance(key, at) {
            return;
        }
        let slot = Slot { topic, key };
        let (mut json, mut binary) = (None, None);
        for follower in room.followers.iter().filter(|follower| follower.takes_positions()) {
            let format = follower.outlet.format();
            let made = match format {
                Format::Json => &mut json,
                Format::Binary => &mut binary,
            };
            let bytes = made.get_or_insert_with(|| make(format)).clone();
            follower.outlet.push(Item::Position { slot, body: Body::new(format, bytes) });
            turns.add(&follower.outlet);
        }
        drop(room);
    }

    /// Shows what changed in a picture; a socket that had not sent the change before gets the whole
    /// instead, so that no change is lost. The caller lets `turns` write when all are told.
    pub fn publish_picture(
        &self,
        topic: Topic,
        change: impl FnOnce() -> Bytes,
        whole: impl Fn() -> Bytes,
        turns: &mut Turns,
    ) {
        let Some(room) = self.0.rooms.get(&topic) else { return };
        let slot = Slot::picture(topic);
        let (change, mut all) = (Body::Text(change()), None);
        for follower in &room.followers {
            let item = Item::Position { slot, body: change.clone() };
            if follower.outlet.push(item) == Pushed::Conflated {
                let body = Body::Text(all.get_or_insert_with(&whole).clone());
                follower.outlet.push(Item::Position { slot, body });
            }
            turns.add(&follower.outlet);
        }
    }

    /// Followers of a topic on this node.
    pub fn followers(&self, topic: Topic) -> usize {
        match topic {
            Topic::User(user) => self.0.streams.get(&user).map_or(0, |stream| stream.listeners()),
            Topic::Trip(_) | Topic::Cell(..) | Topic::Live(_) => {
                self.0.rooms.get(&topic).map_or(0, |room| room.followers.len())
            }
        }
    }

    /// Has the user a socket on this node?
    pub fn connected(&self, user: UserId) -> bool {
        self.followers(Topic::User(user)) > 0
    }

    /// The variants of a cell that somebody follows: all cars, or those of one tier.
    pub fn cell_topics(&self, cell: u64) -> impl Iterator<Item = (Topic, Option<Tier>)> + '_ {
        let tiers = std::iter::once(None).chain(Tier::ALL.into_iter().map(Some));
        let topics = tiers.map(move |tier| (Topic::Cell(cell, tier), tier));
        topics.filter(|(topic, _)| self.0.rooms.contains_key(topic))
    }

    /// To be called about once a second: a follower for whom a number stays missing is told to
    /// resume, instead of waiting for ever.
    pub fn check_gaps(&self) {
        let torn = std::mem::take(&mut *self.0.torn.lock());
        for topic in torn {
            let waiting = self.0.rooms.get_mut(&topic).is_some_and(|mut room| room.miss());
            if waiting {
                self.0.torn.lock().push(topic);
            }
        }
    }

    /// To be called every few minutes: forgets streams that nobody listens to and in which nothing
    /// happened since the last call.
    pub fn sweep(&self) {
        self.0.streams.retain(|_, stream| !stream.sweep());
    }

    fn stream<T>(&self, user: UserId, act: impl FnOnce(&mut Stream) -> T) -> T {
        let mut stream = self
            .0
            .streams
            .entry(user)
            .or_insert_with(|| Stream::new(self.0.epoch.fetch_add(1, Ordering::Relaxed)));
        act(&mut stream)
    }

    fn remember(&self, outlet: u64, topic: Topic) -> Result<(), FollowError> {
        let mut topics = self.0.sockets.entry(outlet).or_default();
        if topics.contains(&topic) {
            return Ok(());
        }
        if topics.len() >= TOPICS {
            return Err(FollowError::TooMany(TOPICS));
        }
        topics.push(topic);
        Ok(())
    }

    fn forget(&self, topic: Topic, outlet: u64) {
        if let Topic::User(user) = topic {
            if let Some(mut stream) = self.0.streams.get_mut(&user) {
                stream.detach(outlet);
            }
            return;
        }
        if let Entry::Occupied(mut room) = self.0.rooms.entry(topic) {
            room.get_mut().leave(outlet);
            if room.get().is_empty() {
                room.remove();
            }
        }
    }
}
