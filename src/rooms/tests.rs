//! Claims about rooms under concurrent publishers, and about resuming.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use base::{Dice, Millis, Problem, TripId, UserId};
use bytes::Bytes;

use super::*;

/// A socket that is always writable and remembers what it was sent.
struct Reader {
    id: u64,
    user: UserId,
    format: Format,
    lanes: Mutex<Lanes>,
    read: Mutex<Vec<String>>,
    /// Doesn't read while set.
    asleep: AtomicBool,
    overflows: AtomicU64,
}

impl Reader {
    fn new(id: u64) -> Arc<Self> {
        Self::with(id, Format::Json)
    }

    fn with(id: u64, format: Format) -> Arc<Self> {
        Arc::new(Self {
            id,
            user: UserId::from_u128(u128::from(id)),
            format,
            lanes: Mutex::new(Lanes::new()),
            read: Mutex::new(Vec::new()),
            asleep: AtomicBool::new(false),
            overflows: AtomicU64::new(0),
        })
    }

    fn outlet(self: &Arc<Self>) -> Arc<dyn Outlet> {
        Arc::clone(self) as Arc<dyn Outlet>
    }

    fn seen(&self) -> Vec<String> {
        self.read.lock().unwrap().clone()
    }
}

impl Outlet for Reader {
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
        let pushed = self.lanes.lock().unwrap().put(item, self.format);
        if pushed == Pushed::Overflow {
            self.overflows.fetch_add(1, Ordering::SeqCst);
        }
        pushed
    }

    fn turn(&self) {
        if self.asleep.load(Ordering::SeqCst) {
            return;
        }
        // Both locks for the whole turn, as a real socket does, so that two turns can't interleave.
        let mut read = self.read.lock().unwrap();
        loop {
            let Some(body) = self.lanes.lock().unwrap().take() else { return };
            read.push(String::from_utf8_lossy(body.bytes()).into_owned());
        }
    }
}

/// The event store of one trip: numbers 1 to `newest` exist.
struct Store {
    newest: AtomicU64,
}

impl Store {
    /// The next number, up to `most`.
    fn append(&self, most: u64) -> Option<u64> {
        let next = |newest| (newest < most).then_some(newest + 1);
        let before = self.newest.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
        before.ok().map(|before| before + 1)
    }
}

fn frame(text: String) -> Frame {
    Frame::json(Bytes::from(text))
}

impl Replay for Store {
    fn since(
        &self,
        _: Topic,
        after: Option<u64>,
    ) -> Pin<Box<dyn Future<Output = Result<Backlog, Problem>> + Send + '_>> {
        let newest = self.newest.load(Ordering::SeqCst);
        Box::pin(async move {
            // Gives others a chance to publish between the read and its answer.
            tokio::task::yield_now().await;
            Ok(match after {
                Some(after) => Backlog::Events(
                    (after + 1..=newest).map(|seq| (seq, frame(format!("{seq}")))).collect(),
                ),
                None => Backlog::Snapshot { seq: newest, frame: frame(format!("={newest}")) },
            })
        })
    }
}

fn trip() -> Topic {
    Topic::Trip(TripId::from_u128(1))
}

fn rooms() -> Rooms {
    Rooms::new(&Dice::seeded(1))
}

fn now<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

/// Snapshots (`=7`) set the number, events must follow it one by one.
fn assert_in_order(seen: &[String], first: u64) {
    let mut last = first;
    for text in seen {
        match text.strip_prefix('=') {
            Some(seq) => last = seq.parse().unwrap(),
            None => {
                assert_eq!(text.parse::<u64>().unwrap(), last + 1, "{seen:?}");
                last += 1;
            }
        }
    }
}

fn assert_ends_at(reader: &Reader, newest: u64) {
    let last = reader.seen().last().cloned().unwrap();
    assert_eq!(last.trim_start_matches('='), newest.to_string());
}

#[test]
fn a_follower_sees_every_event_once_in_order() {
    const EVENTS: u64 = 2000;
    let (rooms, store) = (rooms(), Arc::new(Store { newest: AtomicU64::new(0) }));
    let readers: Vec<_> = (1..=12).map(Reader::new).collect();
    // What each publisher has stored and not published yet.
    let flights = Mutex::new([u64::MAX; 3]);
    std::thread::scope(|scope| {
        // What is stored in order is published in whatever order they get to it, but never further
        // apart than a follower keeps, however long one of them is kept from going on.
        for publisher in 0..3 {
            let (rooms, store, flights) = (rooms.clone(), Arc::clone(&store), &flights);
            scope.spawn(move || {
                loop {
                    let mut flying = flights.lock().unwrap();
                    flying[publisher] = u64::MAX;
                    let oldest = flying.iter().copied().min().unwrap_or(u64::MAX);
                    if oldest.saturating_add(24) <= store.newest.load(Ordering::SeqCst) {
                        drop(flying);
                        std::thread::yield_now();
                        continue;
                    }
                    let Some(seq) = store.append(EVENTS) else { return };
                    flying[publisher] = seq;
                    drop(flying);
                    rooms.publish_event(trip(), seq, frame(format!("{seq}")));
                }
            });
        }
        for (at, reader) in readers.iter().enumerate() {
            let (rooms, store) = (rooms.clone(), Arc::clone(&store));
            scope.spawn(move || {
                while store.newest.load(Ordering::SeqCst) < EVENTS / 20 * (at as u64) {
                    std::thread::yield_now();
                }
                // A room under this fire may be too fast to follow; the client asks again.
                while now(rooms.follow(trip(), None, &reader.outlet(), &*store)).is_err() {}
            });
        }
    });
    for reader in &readers {
        assert_in_order(&reader.seen(), 0);
        assert_eq!(reader.overflows.load(Ordering::SeqCst), 0);
        assert_ends_at(reader, EVENTS);
    }
}

#[test]
fn a_resuming_follower_gets_what_it_missed_and_nothing_twice() {
    let check = |newest: u64, after: Option<u64>, expected: &[&str]| {
        let (rooms, store) = (rooms(), Store { newest: AtomicU64::new(newest) });
        let reader = Reader::new(1);
        let followed = now(rooms.follow(trip(), after, &reader.outlet(), &store)).unwrap();
        assert_eq!(followed.seq, newest);
        // A repeat of the last one, then two that come in the wrong order.
        for seq in [newest, newest + 2, newest + 1] {
            rooms.publish_event(trip(), seq, frame(format!("{seq}")));
        }
        assert_eq!(reader.seen(), expected);
    };
    check(5, None, &["=5", "6", "7"]);
    check(5, Some(3), &["4", "5", "6", "7"]);
    check(5, Some(5), &["6", "7"]);
    check(500, Some(3), &["=500", "501", "502"]);
}

#[test]
fn a_number_that_stays_missing_ends_the_socket() {
    let (rooms, store) = (rooms(), Store { newest: AtomicU64::new(1) });
    let reader = Reader::new(1);
    now(rooms.follow(trip(), None, &reader.outlet(), &store)).unwrap();
    rooms.publish_event(trip(), 3, frame("3".to_owned()));
    for expected in [0, 0, 1] {
        rooms.check_gaps();
        assert_eq!(reader.overflows.load(Ordering::SeqCst), expected);
    }
    assert_eq!(reader.seen(), ["=1"]);
}

#[test]
fn positions_never_go_back() {
    let (rooms, store) = (rooms(), Store { newest: AtomicU64::new(0) });
    let reader = Reader::new(1);
    now(rooms.follow(trip(), None, &reader.outlet(), &store)).unwrap();
    let turn = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let at @ 0..5000 = turn.fetch_add(1, Ordering::SeqCst) {
                    let at = Millis(i64::try_from(at).unwrap());
                    rooms.publish_position(trip(), 7, at, |_| Bytes::from(at.0.to_string()));
                }
            });
        }
    });
    let seen: Vec<i64> = reader.seen().iter().skip(1).map(|at| at.parse().unwrap()).collect();
    assert!(seen.is_sorted(), "an older position came after a newer");
    assert_eq!(seen.last(), Some(&4999));
}

#[test]
fn a_slow_reader_gets_the_newest_position_and_only_that() {
    let (rooms, store) = (rooms(), Store { newest: AtomicU64::new(0) });
    let reader = Reader::new(1);
    now(rooms.follow(trip(), None, &reader.outlet(), &store)).unwrap();
    reader.asleep.store(true, Ordering::SeqCst);
    for at in 1..100 {
        rooms.publish_position(trip(), 7, Millis(at), |_| Bytes::from(at.to_string()));
    }
    rooms.publish_event(trip(), 1, frame("1".to_owned()));
    reader.asleep.store(false, Ordering::SeqCst);
    reader.turn();
    assert_eq!(reader.seen(), ["=0", "1", "99"]);
}

#[test]
fn a_position_is_encoded_once_per_format_and_not_for_nobody() {
    let (rooms, store) = (rooms(), Store { newest: AtomicU64::new(0) });
    let made = AtomicU64::new(0);
    let publish = |at| {
        rooms.publish_position(trip(), 7, Millis(at), |format| {
            made.fetch_add(1, Ordering::SeqCst);
            Bytes::from(format!("{format:?}"))
        });
        made.swap(0, Ordering::SeqCst)
    };
    assert_eq!(publish(1), 0);
    let readers = [Format::Json, Format::Binary, Format::Json, Format::Binary];
    let readers: Vec<_> = (1..).zip(readers).map(|(id, format)| Reader::with(id, format)).collect();
    for reader in &readers {
        now(rooms.follow(trip(), None, &reader.outlet(), &store)).unwrap();
    }
    assert_eq!(publish(2), 2);
    assert_eq!(readers[1].seen(), ["=0", "Binary"]);
    assert_eq!(readers[2].seen(), ["=0", "Json"]);
    for reader in &readers {
        rooms.gone(reader.id);
    }
    assert_eq!((publish(3), rooms.followers(trip())), (0, 0));
}

#[test]
fn a_socket_that_is_gone_or_expelled_hears_nothing() {
    let (rooms, store) = (rooms(), Store { newest: AtomicU64::new(0) });
    let (gone, expelled, stays) = (Reader::new(1), Reader::new(2), Reader::new(3));
    for reader in [&gone, &expelled, &stays] {
        now(rooms.follow(trip(), None, &reader.outlet(), &store)).unwrap();
    }
    rooms.gone(gone.id);
    rooms.expel(trip(), expelled.user);
    rooms.publish_event(trip(), 1, frame("1".to_owned()));
    assert_eq!(gone.seen(), ["=0"]);
    assert_eq!(expelled.seen(), ["=0"]);
    assert_eq!(stays.seen(), ["=0", "1"]);
}

/// The numbers of the user frames a reader saw, a snapshot as `=n`.
fn user_seen(reader: &Reader) -> String {
    let number = |text: &String| match text.split_once(r#""seq":"#) {
        Some((_, rest)) => format!("={}", rest.split(',').next().unwrap()),
        None => text.clone(),
    };
    reader.seen().iter().map(number).collect::<Vec<_>>().join(" ")
}

fn tell(rooms: &Rooms, user: UserId, times: u64) -> u64 {
    (0..times).fold(0, |_, _| rooms.tell_user(user, |_, seq| frame(seq.to_string())))
}

#[test]
fn a_user_stream_resumes_from_its_ring_or_with_a_snapshot() {
    let check = |missed: u64, mark: Option<u64>, expected: &str| {
        let rooms = rooms();
        let (before, after) = (Reader::new(1), Reader::new(1));
        rooms.attach(&before.outlet());
        rooms.release(&before.outlet());
        let epoch = rooms.resume(&before.outlet(), None).unwrap().epoch;
        assert_eq!(tell(&rooms, before.user, 2), 2);
        rooms.gone(before.id);
        tell(&rooms, before.user, missed);
        rooms.attach(&after.outlet());
        // Comes while the socket is held: must wait for what was missed.
        let newest = tell(&rooms, before.user, 1);
        let resumed = rooms.resume(&after.outlet(), mark.map(|seq| (epoch, seq))).unwrap();
        assert_eq!(resumed, Followed { epoch, seq: newest });
        tell(&rooms, before.user, 1);
        assert_eq!(user_seen(&after), expected);
    };
    check(2, Some(2), "3 4 5 6");
    check(2, Some(0), "1 2 3 4 5 6");
    check(2, Some(5), "6");
    check(2, None, "=5 6");
    check(2, Some(99), "=5 6");
    check(100, Some(2), "=103 104");
}

#[test]
fn a_socket_that_does_not_resume_hears_from_its_coming_on() {
    let rooms = rooms();
    let reader = Reader::new(1);
    tell(&rooms, reader.user, 3);
    rooms.attach(&reader.outlet());
    tell(&rooms, reader.user, 2);
    assert_eq!(user_seen(&reader), "");
    rooms.release(&reader.outlet());
    rooms.release(&reader.outlet());
    tell(&rooms, reader.user, 1);
    assert_eq!(user_seen(&reader), "4 5 6");
    // Too late to get the first three in order: what it knows starts over.
    let epoch = rooms.resume(&reader.outlet(), None).unwrap().epoch;
    rooms.resume(&reader.outlet(), Some((epoch, 5))).unwrap();
    rooms.resume(&reader.outlet(), Some((epoch, 1))).unwrap();
    assert_eq!(user_seen(&reader), "4 5 6 =6 =6");
}

#[test]
fn a_forgotten_stream_starts_a_new_epoch() {
    let rooms = rooms();
    let reader = Reader::new(1);
    let mut epochs = Vec::new();
    for _ in 0..2 {
        rooms.tell_user(reader.user, |epoch, seq| {
            epochs.push((epoch, seq));
            frame(String::new())
        });
        rooms.sweep();
        rooms.sweep();
    }
    assert_eq!((epochs[0].1, epochs[1].1), (1, 1));
    assert_ne!(epochs[0].0, epochs[1].0);
    assert!(epochs[1].0 < 1 << 53);
}

#[test]
fn only_sockets_that_acknowledge_say_what_was_delivered() {
    let rooms = rooms();
    let reader = Reader::new(1);
    let user = reader.user;
    let first = tell(&rooms, user, 1);
    assert_eq!(rooms.delivery(user, first), Delivery::NoSocket);
    rooms.attach(&reader.outlet());
    assert_eq!(rooms.delivery(user, first), Delivery::Unknown);
    rooms.acked(user, reader.id, first);
    let second = tell(&rooms, user, 1);
    assert_eq!(rooms.delivery(user, first), Delivery::Acknowledged);
    assert_eq!(rooms.delivery(user, second), Delivery::Outstanding);
    rooms.acked(user, reader.id, 999);
    assert_eq!(rooms.delivery(user, second), Delivery::Outstanding);
}

#[test]
fn a_cell_change_that_was_not_sent_is_replaced_by_the_whole_cell() {
    let rooms = rooms();
    let (fast, slow) = (Reader::new(1), Reader::new(2));
    let topic = Topic::Cell(7, None);
    for reader in [&fast, &slow] {
        rooms.join(topic, &reader.outlet()).unwrap();
    }
    slow.asleep.store(true, Ordering::SeqCst);
    for tick in 1..=3 {
        let mut turns = Turns::default();
        let (change, whole) = (format!("+{tick}"), format!("all{tick}"));
        rooms.publish_picture(topic, || change.into(), || whole.clone().into(), &mut turns);
    }
    slow.asleep.store(false, Ordering::SeqCst);
    slow.turn();
    assert_eq!(fast.seen(), ["+1", "+2", "+3"]);
    assert_eq!(slow.seen(), ["all3"]);
    assert_eq!(rooms.cell_topics(7).collect::<Vec<_>>(), [(topic, None)]);
}

#[test]
fn one_socket_follows_a_bounded_number_of_rooms() {
    let rooms = rooms();
    let outlet = Reader::new(1).outlet();
    let joined =
        (0..10_000).take_while(|cell| rooms.join(Topic::Cell(*cell, None), &outlet).is_ok());
    assert_eq!(joined.count(), 640);
    rooms.leave_cells(1);
    assert_eq!(rooms.followers(Topic::Cell(1, None)), 0);
    assert!(rooms.join(Topic::Cell(1, None), &outlet).is_ok());
}

#[test]
fn rooms_are_named_on_the_wire_as_they_are_read() {
    for text in ["trip:00000000-0000-0000-0000-000000000001", "user:0199-no", "cell:8", "", "trip"]
    {
        let read = Topic::parse(text).map(|topic| topic.to_string());
        assert_eq!(read.is_some(), text.starts_with("trip:"), "{text}");
        assert!(read.is_none_or(|name| name == text));
    }
}

#[test]
fn whoever_has_the_last_event_leaves_and_the_late_leave_once_they_have_it() {
    let (rooms, store) = (rooms(), Store { newest: AtomicU64::new(2) });
    let (prompt, late) = (Reader::new(1), Reader::new(2));
    for reader in [&prompt, &late] {
        now(rooms.follow(trip(), Some(2), &reader.outlet(), &store)).unwrap();
    }
    rooms.publish_event(trip(), 3, frame("3".to_owned()));
    // Its last event is known before the one ahead of it was published.
    rooms.publish_event(trip(), 5, frame("5".to_owned()));
    rooms.end(trip(), 5);
    assert_eq!(rooms.followers(trip()), 2);
    rooms.publish_event(trip(), 4, frame("4".to_owned()));
    assert_eq!(rooms.followers(trip()), 0);
    for reader in [&prompt, &late] {
        assert_in_order(&reader.seen(), 2);
        assert_ends_at(reader, 5);
    }
    // Who comes after the end is told all of it and stays no longer.
    store.newest.store(5, Ordering::SeqCst);
    let after = Reader::new(3);
    now(rooms.follow(trip(), Some(4), &after.outlet(), &store)).unwrap();
    rooms.end(trip(), 5);
    assert_eq!((after.seen(), rooms.followers(trip())), (vec!["5".to_owned()], 0));
}
