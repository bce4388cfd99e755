//! The followers of one topic whose numbers come from outside (a trip), or that has none (a cell).
//!
//! Pure: the caller holds the lock, nothing here waits. A follower is either *catching up*, and
//! what is published meanwhile is kept for it, or *live* at its last number; a number that arrives
//! early is kept until the ones before it are there.

use std::collections::VecDeque;
use std::sync::Arc;

use base::{Millis, UserId};

use crate::model::Newest;
use crate::{Frame, Item, Outlet, Topic};

/// Most events kept for one follower while it catches up or while a number is missing.
pub(crate) const KEPT: usize = 31;
/// Checks (see [`Room::miss`]) that a follower may wait for a missing number.
const PATIENCE: u8 = 2;

#[derive(Default)]
pub(crate) struct Room {
    pub(crate) followers: Vec<Follower>,
    newest: Newest,
    /// Number of the last event there will ever be.
    ends: Option<u64>,
}

pub(crate) struct Follower {
    pub(crate) outlet: Arc<dyn Outlet>,
    state: State,
}

enum State {
    /// Waits for its backlog; `ticket` tells a later attempt of the same socket from this one.
    Catching { ticket: u64, kept: Kept },
    /// Was handed everything up to `last`.
    Live { last: u64, kept: Kept, missed: u8 },
    /// Follows a topic without numbers.
    Unnumbered,
}

/// Events that came early, by number.
#[derive(Default)]
struct Kept {
    events: VecDeque<(u64, Frame)>,
    /// Some didn't fit and must be read from the replay source again.
    overrun: bool,
}

/// Where a follower stands after its backlog.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Caught {
    /// It is live, the last number it was handed.
    Up(u64),
    /// More happened than could be kept; read on from here.
    Behind(u64),
    /// Numbers are missing in the backlog itself: only a snapshot helps.
    Torn,
    /// It left, or another attempt of the same socket took over.
    Gone,
}

/// What became of a published event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Told {
    InOrder,
    /// Some follower waits for a number before this one.
    Early,
}

impl Kept {
    fn keep(&mut self, seq: u64, frame: Frame) {
        let Err(at) = self.events.binary_search_by_key(&seq, |(kept, _)| *kept) else { return };
        if self.events.len() < KEPT {
            self.events.insert(at, (seq, frame));
        } else {
            self.overrun = true;
        }
    }

    /// The kept event that follows `last`; older ones are dropped on the way.
    fn next(&mut self, last: u64) -> Option<(u64, Frame)> {
        while self.events.front().is_some_and(|(seq, _)| *seq <= last) {
            self.events.pop_front();
        }
        match self.events.front() {
            Some((seq, _)) if *seq == last + 1 => self.events.pop_front(),
            _ => None,
        }
    }
}

impl Room {
    pub(crate) fn is_empty(&self) -> bool {
        self.followers.is_empty()
    }

    /// Starts to keep events for `outlet`; an earlier following of the same socket ends here.
    pub(crate) fn enter(&mut self, outlet: &Arc<dyn Outlet>, ticket: u64) {
        self.leave(outlet.id());
        let state = State::Catching { ticket, kept: Kept::default() };
        self.followers.push(Follower { outlet: Arc::clone(outlet), state });
    }

    /// Follows a topic that has no numbers.
    pub(crate) fn join(&mut self, outlet: &Arc<dyn Outlet>) {
        self.leave(outlet.id());
        let outlet = Arc::clone(outlet);
        self.followers.push(Follower { outlet, state: State::Unnumbered });
    }

    pub(crate) fn leave(&mut self, outlet: u64) {
        self.followers.retain(|follower| follower.outlet.id() != outlet);
    }

    /// Removes every socket of `user`; their ids.
    pub(crate) fn expel(&mut self, user: UserId) -> Vec<u64> {
        let ids = |f: &Follower| (f.outlet.user() == user).then(|| f.outlet.id());
        let gone = self.followers.iter().filter_map(ids).collect();
        self.followers.retain(|follower| follower.outlet.user() != user);
        gone
    }

    /// Hands the backlog to the follower of `ticket`, then what was kept meanwhile.
    /// `last` is the number the backlog starts behind.
    pub(crate) fn catch_up(
        &mut self,
        topic: Topic,
        ticket: u64,
        mut last: u64,
        backlog: Vec<(u64, Frame)>,
    ) -> Caught {
        let Some(follower) = self.followers.iter_mut().find(|f| f.waits_with(ticket)) else {
            return Caught::Gone;
        };
        let State::Catching { kept, .. } = &mut follower.state else { return Caught::Gone };
        for (seq, frame) in backlog {
            if seq <= last {
                continue;
            }
            if seq != last + 1 {
                return Caught::Torn;
            }
            follower.outlet.push(Item::Event { topic, seq, frame });
            // A backlog may be as long as the lane: make room as it goes.
            follower.outlet.turn();
            last = seq;
        }
        while let Some((seq, frame)) = kept.next(last) {
            follower.outlet.push(Item::Event { topic, seq, frame });
            last = seq;
        }
        // Published before its turn: the ones before it are in the source by now.
        if kept.overrun || !kept.events.is_empty() {
            kept.overrun = false;
            return Caught::Behind(last);
        }
        let kept = std::mem::take(kept);
        follower.state = State::Live { last, kept, missed: 0 };
        Caught::Up(last)
    }

    /// Hands the state as of `seq` to the follower of `ticket`, then what was kept meanwhile.
    pub(crate) fn snapshot(&mut self, topic: Topic, ticket: u64, seq: u64, frame: Frame) -> Caught {
        let Some(follower) = self.followers.iter_mut().find(|f| f.waits_with(ticket)) else {
            return Caught::Gone;
        };
        follower.outlet.push(Item::Event { topic, seq, frame });
        self.catch_up(topic, ticket, seq, Vec::new())
    }

    /// Tells every follower; an event it has already is not repeated.
    pub(crate) fn tell(&mut self, topic: Topic, seq: u64, frame: &Frame) -> Told {
        let mut told = Told::InOrder;
        for follower in &mut self.followers {
            if follower.tell(topic, seq, frame) == Told::Early {
                told = Told::Early;
            }
        }
        told
    }

    /// Nothing comes after event `seq`: whoever has it leaves, now or when it catches up.
    pub(crate) fn end(&mut self, seq: u64) -> Vec<u64> {
        self.ends = Some(seq);
        self.dismiss()
    }

    /// Is its last event known?
    pub(crate) fn ends(&self) -> bool {
        self.ends.is_some()
    }

    /// Removes the sockets that have everything there will ever be; their ids.
    pub(crate) fn dismiss(&mut self) -> Vec<u64> {
        let Some(ends) = self.ends else { return Vec::new() };
        let through = |f: &Follower| matches!(f.state, State::Live { last, .. } if last >= ends);
        let ids = |f: &Follower| through(f).then(|| f.outlet.id());
        let gone = self.followers.iter().filter_map(ids).collect();
        self.followers.retain(|follower| !through(follower));
        gone
    }

    /// Is `at` not older than the newest position shown for `key`? Then it is the newest.
    pub(crate) fn advance(&mut self, key: u128, at: Millis) -> bool {
        match self.newest.iter_mut().find(|(known, _)| *known == key) {
            Some((_, newest)) if at < *newest => false,
            Some((_, newest)) => {
                *newest = at;
                true
            }
            None => {
                self.newest.push((key, at));
                true
            }
        }
    }

    /// Counts one more check during which a number was missing; a follower out of patience is told
    /// to resume. True while somebody still waits.
    pub(crate) fn miss(&mut self) -> bool {
        let mut waiting = false;
        for follower in &mut self.followers {
            let State::Live { kept, missed, .. } = &mut follower.state else { continue };
            if kept.events.is_empty() {
                *missed = 0;
                continue;
            }
            *missed += 1;
            if *missed > PATIENCE {
                kept.events.clear();
                follower.outlet.push(Item::Lost);
            } else {
                waiting = true;
            }
        }
        waiting
    }
}

impl Follower {
    fn waits_with(&self, asked: u64) -> bool {
        matches!(&self.state, State::Catching { ticket, .. } if *ticket == asked)
    }

    /// Does it get what has no number? Not before its backlog: a snapshot must come first.
    pub(crate) fn takes_positions(&self) -> bool {
        !matches!(self.state, State::Catching { .. })
    }

    fn tell(&mut self, topic: Topic, seq: u64, frame: &Frame) -> Told {
        match &mut self.state {
            State::Catching { kept, .. } => {
                kept.keep(seq, frame.clone());
                Told::InOrder
            }
            State::Live { last, .. } if seq <= *last => Told::InOrder,
            State::Live { last, kept, .. } if seq == *last + 1 => {
                *last = seq;
                self.outlet.push(Item::Event { topic, seq, frame: frame.clone() });
                while let Some((seq, frame)) = kept.next(*last) {
                    *last = seq;
                    self.outlet.push(Item::Event { topic, seq, frame });
                }
                Told::InOrder
            }
            State::Live { kept, .. } => {
                kept.keep(seq, frame.clone());
                if kept.overrun {
                    self.outlet.push(Item::Lost);
                }
                Told::Early
            }
            State::Unnumbered => {
                self.outlet.push(Item::Event { topic, seq, frame: frame.clone() });
                Told::InOrder
            }
        }
    }
}
