//! What waits for one socket: events in order, positions newest only.
//!
//! Two lanes, bounded by construction. Events and replies are never dropped: when their lane is
//! full the reader is too slow and the socket has to end. A position replaces the older one of its
//! slot. Events always go first.

use std::collections::{HashMap, VecDeque};

use crate::{Body, Format, Item, Pushed, Slot};

/// Most events and replies that wait for one socket.
pub const EVENTS: usize = 64;
/// Most bytes of events and replies that wait for one socket. A single larger one still passes.
pub const WAITING_BYTES: usize = 256 * 1024;
/// Most slots that wait for one socket; also bounded by the rooms it may follow.
const SLOTS: usize = 1024;
/// Slots that are looked through one by one; more are looked up.
const FEW: usize = 16;
/// An emptied lane larger than this gives its memory back.
const KEEP: usize = 8;

/// The queue of one socket. Its owner locks it; nothing here waits.
#[derive(Debug, Default)]
pub struct Lanes {
    events: VecDeque<Body>,
    bytes: usize,
    /// Slots in the order they were first asked for, each with what to send. They are numbered as
    /// they come.
    slots: VecDeque<(Slot, Body)>,
    /// Number of the first slot.
    first: usize,
    /// Where a slot stands, while there are more than a few.
    places: HashMap<Slot, usize>,
    shut: bool,
}

impl Lanes {
    pub fn new() -> Self {
        Self::default()
    }

    /// Queues `item` for a socket that reads `format`.
    pub fn put(&mut self, item: Item, format: Format) -> Pushed {
        if self.shut {
            return Pushed::Closed;
        }
        match item {
            Item::Event { frame, .. } => self.put_event(frame.body(format)),
            Item::Reply(json) => self.put_event(Body::Text(json)),
            Item::Position { slot, body } => self.put_position(slot, body),
            Item::Lost => Pushed::Overflow,
        }
    }

    fn put_event(&mut self, body: Body) -> Pushed {
        let size = body.bytes().len();
        let heavy = !self.events.is_empty() && self.bytes + size > WAITING_BYTES;
        if self.events.len() >= EVENTS || heavy {
            return Pushed::Overflow;
        }
        self.bytes += size;
        self.events.push_back(body);
        Pushed::Queued
    }

    fn put_position(&mut self, slot: Slot, body: Body) -> Pushed {
        if let Some(older) = self.place(&slot).and_then(|place| self.slots.get_mut(place)) {
            // It keeps its place in line, so that no slot starves behind busier ones.
            older.1 = body;
            return Pushed::Conflated;
        }
        if self.slots.len() >= SLOTS {
            return Pushed::Overflow;
        }
        self.slots.push_back((slot, body));
        if !self.places.is_empty() {
            self.places.insert(slot, self.first + self.slots.len() - 1);
        } else if self.slots.len() > FEW {
            self.number();
        }
        Pushed::Queued
    }

    fn place(&self, slot: &Slot) -> Option<usize> {
        if self.places.is_empty() {
            return self.slots.iter().position(|(waiting, _)| waiting == slot);
        }
        self.places.get(slot).map(|number| number - self.first)
    }

    fn number(&mut self) {
        let numbers = self.first..;
        self.places = self.slots.iter().map(|(slot, _)| *slot).zip(numbers).collect();
    }

    /// The next message to send, events first.
    pub fn take(&mut self) -> Option<Body> {
        if let Some(body) = self.events.pop_front() {
            self.bytes -= body.bytes().len();
            if self.events.is_empty() && self.events.capacity() > KEEP {
                self.events = VecDeque::new();
            }
            return Some(body);
        }
        let (slot, body) = self.slots.pop_front()?;
        self.first += 1;
        if !self.places.is_empty() {
            self.places.remove(&slot);
        }
        if self.slots.is_empty() {
            if self.slots.capacity() > KEEP {
                (self.slots, self.places) = (VecDeque::new(), HashMap::new());
            }
            // The next one takes the same place in memory, not the one behind it.
            self.slots.clear();
        }
        Some(body)
    }

    /// Drops the positions that wait in `slots` of a room that is not followed any more.
    pub fn forget(&mut self, gone: impl Fn(&Slot) -> bool) {
        self.slots.retain(|(slot, _)| !gone(slot));
        if !self.places.is_empty() {
            self.number();
        }
    }

    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.slots.is_empty()
    }

    /// Messages that wait.
    pub fn len(&self) -> usize {
        self.events.len() + self.slots.len()
    }

    /// Takes nothing more; what waits may still be taken.
    pub fn shut(&mut self) {
        self.shut = true;
    }

    /// Takes nothing more and drops what waits.
    pub fn drop_all(&mut self) {
        *self = Self { shut: true, ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use base::TripId;
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::{Frame, Topic};

    fn topic() -> Topic {
        Topic::Trip(TripId::from_u128(1))
    }

    fn event(text: &str) -> Item {
        let frame = Frame::json(Bytes::copy_from_slice(text.as_bytes()));
        Item::Event { topic: topic(), seq: 1, frame }
    }

    fn position(key: u128, text: &str) -> Item {
        let body = Body::Text(Bytes::copy_from_slice(text.as_bytes()));
        Item::Position { slot: Slot { topic: topic(), key }, body }
    }

    /// Puts the items, then takes everything: what each put said, and what came out.
    fn check(items: Vec<Item>, expected: &str) {
        let mut lanes = Lanes::new();
        let mut said: Vec<String> = Vec::new();
        for item in items {
            said.push(match lanes.put(item, Format::Json) {
                Pushed::Queued => "+".to_owned(),
                Pushed::Conflated => "~".to_owned(),
                other => format!("{other:?}"),
            });
        }
        said.push("→".to_owned());
        while let Some(body) = lanes.take() {
            said.push(String::from_utf8_lossy(body.bytes()).into_owned());
        }
        assert!(lanes.is_empty());
        assert_eq!(said.join(" "), expected);
    }

    #[test]
    fn events_go_first_and_positions_are_the_newest() {
        check(vec![position(1, "p1"), event("e1"), event("e2")], "+ + + → e1 e2 p1");
        check(vec![position(1, "old"), position(2, "x"), position(1, "new")], "+ + ~ → new x");
        check(vec![Item::Reply(Bytes::from_static(b"ack")), event("e")], "+ + → ack e");
        check(vec![Item::Lost], "Overflow →");
    }

    #[test]
    fn a_full_event_lane_says_so_and_a_shut_one_takes_nothing() {
        let mut lanes = Lanes::new();
        for _ in 0..EVENTS {
            assert_eq!(lanes.put(event("e"), Format::Json), Pushed::Queued);
        }
        assert_eq!(lanes.put(event("one too many"), Format::Json), Pushed::Overflow);
        lanes.drop_all();
        assert_eq!(lanes.put(event("late"), Format::Json), Pushed::Closed);
        assert!(lanes.is_empty());
    }

    proptest! {
        #[test]
        fn lanes_stay_bounded(
            puts in prop::collection::vec((0_u8..4, 0_u128..2000, 0_usize..40_000), 1..3000),
        ) {
            let mut lanes = Lanes::new();
            let text = "x".repeat(40_000);
            for (kind, key, size) in puts {
                match kind {
                    0 => { lanes.put(event(&text[..size]), Format::Json); }
                    1 => { lanes.take(); }
                    _ => { lanes.put(position(key, "p"), Format::Json); }
                }
                prop_assert!(lanes.events.len() <= EVENTS);
                prop_assert!(lanes.bytes <= WAITING_BYTES);
                prop_assert!(lanes.slots.len() <= SLOTS);
                prop_assert!(lanes.places.is_empty() || lanes.places.len() == lanes.slots.len());
                prop_assert_eq!(
                    lanes.bytes,
                    lanes.events.iter().map(|body| body.bytes().len()).sum::<usize>()
                );
            }
        }

        /// Beside the plainest thing that could work, few slots and many.
        #[test]
        fn positions_are_the_newest_in_the_order_first_asked_for(
            puts in prop::collection::vec((0_u8..9, 0_u128..40), 1..300),
        ) {
            let (mut lanes, mut plain) = (Lanes::new(), Vec::<(u128, String)>::new());
            for (n, (kind, key)) in puts.into_iter().enumerate() {
                match kind {
                    0..=1 => {
                        let taken = lanes.take().map(|body| body.bytes().to_vec());
                        let expected = (!plain.is_empty()).then(|| plain.remove(0).1.into_bytes());
                        prop_assert_eq!(taken, expected);
                    }
                    2 if key == 0 => {
                        lanes.forget(|slot| slot.key % 3 == 0);
                        plain.retain(|(key, _)| key % 3 != 0);
                    }
                    _ => {
                        let pushed = lanes.put(position(key, &n.to_string()), Format::Json);
                        let older = plain.iter_mut().find(|(known, _)| *known == key);
                        let expected = older.map_or(Pushed::Queued, |older| {
                            older.1 = n.to_string();
                            Pushed::Conflated
                        });
                        if expected == Pushed::Queued {
                            plain.push((key, n.to_string()));
                        }
                        prop_assert_eq!(pushed, expected);
                    }
                }
                prop_assert_eq!(lanes.len(), plain.len());
            }
        }
    }
}
