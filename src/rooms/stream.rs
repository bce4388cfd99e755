//! A user's own stream: offers, bids, chat, notices, numbered here.
//!
//! Pure: the caller holds the lock. Numbers start at 1 within an epoch; a stream that was forgotten
//! and made again has another epoch, so a number never means two events.
//!
//! A new socket is *held*: it gets nothing until it either resumes from a number or says anything
//! else, so that what it missed comes before what happens now.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::{Delivery, Followed, Frame, Item, Outlet, Topic};

/// Newest events kept per user for sockets that resume.
pub const RING: usize = 64;

pub(crate) struct Stream {
    pub(crate) epoch: u64,
    /// Number of the newest event, 0 before the first.
    seq: u64,
    ring: VecDeque<(u64, Frame)>,
    listeners: Vec<Listener>,
    /// Nothing happened since the last sweep.
    idle: bool,
}

struct Listener {
    outlet: Arc<dyn Outlet>,
    state: State,
    /// Highest number this socket said it has; `None` until it says any.
    acked: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Attached when the stream stood at `from`.
    Held {
        from: u64,
    },
    Live {
        from: u64,
    },
}

/// Where a client left off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    pub(crate) epoch: u64,
    pub(crate) after: u64,
}

impl Stream {
    pub(crate) fn new(epoch: u64) -> Self {
        let (ring, listeners) = (VecDeque::new(), Vec::new());
        Self { epoch, seq: 0, ring, listeners, idle: false }
    }

    pub(crate) fn attach(&mut self, outlet: &Arc<dyn Outlet>) {
        self.detach(outlet.id());
        let state = State::Held { from: self.seq };
        self.listeners.push(Listener { outlet: Arc::clone(outlet), state, acked: None });
    }

    pub(crate) fn detach(&mut self, outlet: u64) {
        self.listeners.retain(|listener| listener.outlet.id() != outlet);
        self.idle = false;
    }

    pub(crate) fn listeners(&self) -> usize {
        self.listeners.len()
    }

    /// Numbers an event, keeps it, queues it; the sockets to give their turn.
    pub(crate) fn tell(
        &mut self,
        topic: Topic,
        make: impl FnOnce(u64, u64) -> Frame,
        mut turn: impl FnMut(&Arc<dyn Outlet>),
    ) -> u64 {
        self.idle = false;
        self.seq += 1;
        let (seq, frame) = (self.seq, make(self.epoch, self.seq));
        for listener in &self.listeners {
            if matches!(listener.state, State::Live { .. }) {
                listener.outlet.push(Item::Event { topic, seq, frame: frame.clone() });
                turn(&listener.outlet);
            }
        }
        if self.ring.len() == RING {
            self.ring.pop_front();
        }
        self.ring.push_back((seq, frame));
        seq
    }

    /// Lets a held socket go on from where the stream stood when it came.
    pub(crate) fn release(&mut self, topic: Topic, outlet: u64) {
        let from = match self.listener(outlet).map(|listener| listener.state) {
            Some(State::Held { from }) => from,
            Some(State::Live { .. }) | None => return,
        };
        self.go_on(topic, outlet, from, Some(from));
    }

    /// Lets a socket go on behind `mark`. A held one gets what it missed, or a snapshot when that
    /// is older than the ring; one that is live already gets a snapshot unless it missed nothing.
    pub(crate) fn resume(
        &mut self,
        topic: Topic,
        outlet: u64,
        mark: Option<Mark>,
    ) -> Option<Followed> {
        let known = mark.filter(|mark| mark.epoch == self.epoch && mark.after <= self.seq);
        match self.listener(outlet)?.state {
            State::Held { from } => self.go_on(topic, outlet, from, known.map(|mark| mark.after)),
            State::Live { from } if known.is_some_and(|mark| mark.after >= from) => {}
            State::Live { from } => self.go_on(topic, outlet, from, None),
        }
        Some(Followed { epoch: self.epoch, seq: self.seq })
    }

    fn go_on(&mut self, topic: Topic, outlet: u64, from: u64, after: Option<u64>) {
        let oldest = self.ring.front().map_or(self.seq + 1, |(seq, _)| *seq);
        let kept = after.filter(|after| after + 1 >= oldest);
        let Some(listener) = self.listeners.iter_mut().find(|l| l.outlet.id() == outlet) else {
            return;
        };
        match kept {
            Some(after) => {
                for (seq, frame) in self.ring.iter().filter(|(seq, _)| *seq > after) {
                    let item = Item::Event { topic, seq: *seq, frame: frame.clone() };
                    listener.outlet.push(item);
                }
            }
            None => {
                let frame = snapshot(topic, self.epoch, self.seq);
                listener.outlet.push(Item::Event { topic, seq: self.seq, frame });
            }
        }
        listener.state = State::Live { from };
    }

    pub(crate) fn acked(&mut self, outlet: u64, seq: u64) {
        // A number from the future is a client's mistake and says nothing.
        if seq > self.seq {
            return;
        }
        if let Some(listener) = self.listeners.iter_mut().find(|l| l.outlet.id() == outlet) {
            listener.acked = listener.acked.max(Some(seq));
        }
    }

    pub(crate) fn delivery(&self, seq: u64) -> Delivery {
        let acks = || self.listeners.iter().filter_map(|listener| listener.acked);
        if self.listeners.is_empty() {
            Delivery::NoSocket
        } else if acks().any(|acked| acked >= seq) {
            Delivery::Acknowledged
        } else if acks().next().is_some() {
            Delivery::Outstanding
        } else {
            Delivery::Unknown
        }
    }

    /// True when nobody listens and nothing happened since the last sweep: it may be forgotten.
    pub(crate) fn sweep(&mut self) -> bool {
        let forgotten = self.idle && self.listeners.is_empty();
        self.idle = true;
        forgotten
    }

    fn listener(&self, outlet: u64) -> Option<&Listener> {
        self.listeners.iter().find(|listener| listener.outlet.id() == outlet)
    }
}

/// The stream holds no state of its own: the snapshot says from which number on the client is up to
/// date once it has read the rest by REST.
fn snapshot(topic: Topic, epoch: u64, seq: u64) -> Frame {
    let json = format!(
        r#"{{"type":"snapshot","room":"{topic}","epoch":{epoch},"seq":{seq},"data":{{}}}}"#
    );
    Frame::json(json.into())
}
