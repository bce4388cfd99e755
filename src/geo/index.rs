//! The sharded index: moves by slot, questions by place.
//!
//! Locks, always in this order: shards by ascending number, then one slot. A question holds the
//! read locks of all shards it may look into at once, so a slot that crosses from one to another
//! is seen in exactly one of them. A move inside its tile takes only the slot's own lock, and so
//! does a question for a slot it means to keep.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use base::{Millis, Point};
use rstar::{Envelope, ParentNode, RTreeNode, RTreeObject};

use crate::fixed::{Cap, Fixed, half_y_of, metres};
use crate::shard::Shard;
use crate::slot::{Seen, Slot, Slots};
use crate::sync::{self, AtomicUsize, OnceLock, RwLock, RwLockReadGuard};
use crate::tile::{COLUMNS, ROWS, TileBox, TileKey, shard_of, shards_over};

/// The live map. Shared by reference; every method may be called from any thread.
pub struct TileIndex {
    slots: Slots,
    shards: Box<[OnceLock<Box<RwLock<Shard>>>]>,
    count: AtomicUsize,
}

/// A slot on its way into another tile.
struct Crossing<'a> {
    slot: u32,
    hot: &'a Slot,
    /// Where it is at home when the crossing begins.
    home: Option<TileKey>,
    to: Fixed,
    heard: Millis,
}

/// What is asked of [`TileIndex::nearest`].
#[derive(Clone, Copy, Debug)]
pub struct Query {
    pub from: Point,
    /// Metres, border included.
    pub radius_m: f64,
    /// Slots whose class has any of these bits.
    pub classes: u16,
    /// Slots heard at this moment or later.
    pub heard_since: Millis,
    /// At most this many, the nearest.
    pub limit: usize,
}

/// A slot that was found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Near {
    pub slot: u32,
    pub at: Point,
    /// Metres.
    pub distance_m: f64,
    pub heard: Millis,
    pub class: u16,
}

impl TileIndex {
    /// For slots 0 to `slots` (rounded up to whole chunks); memory is taken as they come into use.
    pub fn with_capacity(slots: usize) -> Self {
        Self {
            slots: Slots::with_capacity(slots),
            shards: (0..ROWS * COLUMNS).map(|_| OnceLock::new()).collect(),
            count: AtomicUsize::new(0),
        }
    }

    /// Slots beyond this number are a bug of the caller and panic.
    pub fn capacity(&self) -> usize {
        self.slots.capacity()
    }

    /// Puts the slot on the map or moves it. Its class stays (0 for a new slot).
    pub fn put(&self, slot: u32, at: Point, heard: Millis) {
        let (hot, to) = (self.slots.at(slot), Fixed::from(at));
        while !stay(hot, to, heard) && !self.cross(slot, hot, to, heard) {}
    }

    /// Takes the slot off the map, if it is on it, and clears its class, both at one moment.
    pub fn remove(&self, slot: u32) {
        let hot = self.slots.at(slot);
        while !self.leave(slot, hot) {}
    }

    /// What the slot is found by; kept until it is set again or the slot is removed.
    pub fn set_class(&self, slot: u32, class: u16) {
        self.slots.at(slot).set_class(class);
    }

    /// Where the slot is; `None` when it isn't on the map.
    pub fn position(&self, slot: u32) -> Option<Point> {
        let hot = self.slots.at(slot);
        let _held = hot.lock();
        hot.home().map(|_| hot.position().point())
    }

    /// How many slots are on the map.
    pub fn len(&self) -> usize {
        self.count.load(sync::Ordering::Relaxed)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The nearest slots that match, nearest first; at equal distance the one heard last, then the
    /// lower number. `out` is cleared first.
    pub fn nearest(&self, query: &Query, out: &mut Vec<Near>) {
        out.clear();
        if query.limit == 0 {
            return;
        }
        let cap = Cap::new(query.from, query.radius_m);
        let mut numbers = Vec::new();
        shards_over(cap.origin.at, cap.half_y, cap.half_x, &mut numbers);
        let made = |number: &usize| self.shards[*number].get();
        loop {
            let shards: Vec<_> = numbers.iter().filter_map(made).map(|s| s.read()).collect();
            // A shard made before the last lock was ours may hold a slot that left one of these;
            // once all locks are held nothing can leave.
            if numbers.iter().filter_map(made).count() == shards.len() {
                self.search(query, &cap, &shards, out);
                return;
            }
        }
    }

    fn search(
        &self,
        query: &Query,
        cap: &Cap,
        shards: &[RwLockReadGuard<'_, Shard>],
        out: &mut Vec<Near>,
    ) {
        let mut frontier = BinaryHeap::new();
        for shard in shards {
            spread(shard, shard.root(), cap, f64::INFINITY, &mut frontier);
        }
        let mut best = Best::new(query.limit, cap);
        while let Some(step) = frontier.pop() {
            if step.bound > best.worst_term {
                break;
            }
            match step.node {
                RTreeNode::Parent(node) => {
                    spread(step.shard, node, cap, best.worst_term, &mut frontier);
                }
                RTreeNode::Leaf(tile) => {
                    for slot in step.shard.members(tile.tile) {
                        self.consider(*slot, query, cap, &mut best);
                    }
                }
            }
        }
        out.extend(best.ranked.into_sorted_vec().into_iter().map(|ranked| ranked.near));
    }

    fn consider(&self, slot: u32, query: &Query, cap: &Cap, best: &mut Best) {
        let hot = self.slots.at(slot);
        // A look without the lock turns most away: what it saw amiss was amiss at that moment. What
        // is kept must have been true all at once.
        let glance = hot.glance();
        let Some(mut term) = fitting(glance, query, cap, best) else { return };
        let seen = hot.seen();
        if seen != glance {
            let Some(again) = fitting(seen, query, cap, best) else { return };
            term = again;
        }
        let distance_m = metres(term);
        if distance_m <= cap.radius_m {
            let Seen { at, heard, class } = seen;
            let near = Near { slot, at: at.point(), distance_m, heard, class };
            best.offer(Ranked { near, term });
        }
    }

    /// The slow path: into another tile. False when the slot's home changed under us: try again.
    fn cross(&self, slot: u32, hot: &Slot, to: Fixed, heard: Millis) -> bool {
        let crossing = Crossing { slot, hot, home: hot.home(), to, heard };
        let (from, target) = (crossing.home.map(TileKey::shard), shard_of(to));
        let new = self.shard(target);
        let Some(from) = from.filter(|from| *from != target) else {
            let mut new = new.write();
            return self.enter(&crossing, &mut new, None);
        };
        let old = self.shard(from);
        // By number, so that two crossings in opposite directions can't wait for each other.
        if from < target {
            let mut old = old.write();
            self.enter(&crossing, &mut new.write(), Some(&mut old))
        } else {
            let mut new = new.write();
            self.enter(&crossing, &mut new, Some(&mut old.write()))
        }
    }

    /// Into the new tile, then out of the old one (in `old`, or in `new` when that is the same).
    fn enter(&self, crossing: &Crossing, new: &mut Shard, old: Option<&mut Shard>) -> bool {
        let Crossing { slot, hot, home, to, heard } = *crossing;
        let held = hot.lock();
        if hot.home() != home || home.is_some_and(|home| home.holds(to)) {
            return false;
        }
        let key = new.insert(slot, to);
        hot.set_home(Some(key));
        hot.place(to, heard);
        drop(held);
        new.split_where_full(key, &self.slots);
        match home {
            Some(home) => {
                let old = old.unwrap_or(new);
                old.remove(slot, home);
                old.join_where_empty(home, &self.slots);
            }
            None => drop(self.count.fetch_add(1, sync::Ordering::Relaxed)),
        }
        true
    }

    /// Off the map. False when the slot's home changed under us: try again.
    fn leave(&self, slot: u32, hot: &Slot) -> bool {
        let home = hot.home();
        let mut shard = home.map(|home| self.shard(home.shard()).write());
        let held = hot.lock();
        // A split or join, or another thread, may have changed it before the locks were ours.
        if hot.home() != home {
            return false;
        }
        hot.set_class(0);
        if let (Some(home), Some(shard)) = (home, &mut shard) {
            hot.set_home(None);
            shard.remove(slot, home);
            drop(held);
            shard.join_where_empty(home, &self.slots);
            self.count.fetch_sub(1, sync::Ordering::Relaxed);
        }
        true
    }

    fn shard(&self, number: u32) -> &RwLock<Shard> {
        self.shards[number as usize].get_or_init(Box::default)
    }

    #[cfg(test)]
    pub(crate) fn check(&self) -> usize {
        self.shards.iter().filter_map(OnceLock::get).map(|s| s.read().check(&self.slots)).sum()
    }
}

/// The fast path: a move that stays inside the home tile's loose box.
fn stay(hot: &Slot, to: Fixed, heard: Millis) -> bool {
    let _held = hot.lock();
    let inside = hot.home().is_some_and(|home| home.holds(to));
    if inside {
        hot.place(to, heard);
    }
    inside
}

/// Its term when it matches and may be among the best. The exact cut is made on metres.
fn fitting(seen: Seen, query: &Query, cap: &Cap, best: &Best) -> Option<f64> {
    let matches = seen.class & query.classes != 0
        && seen.heard >= query.heard_since
        && cap.may_hold(seen.at)
        && u64::from(cap.origin.at.y.abs_diff(seen.at.y)) <= best.half_y;
    matches.then(|| cap.origin.term(seen.at)).filter(|term| *term <= best.worst_term)
}

/// Queues a node's children that may hold something better than the worst kept so far.
fn spread<'a>(
    shard: &'a Shard,
    node: &'a ParentNode<TileBox>,
    cap: &Cap,
    worst: f64,
    frontier: &mut BinaryHeap<Step<'a>>,
) {
    for child in node.children() {
        let envelope = match child {
            RTreeNode::Leaf(tile) => tile.envelope(),
            RTreeNode::Parent(node) => node.envelope(),
        };
        if envelope.is_empty() {
            continue;
        }
        let bound = cap.origin.term_to_box(envelope.lower(), envelope.upper());
        if bound <= worst {
            frontier.push(Step { bound, shard, node: child });
        }
    }
}

/// A node to look into, the nearest bound first.
struct Step<'a> {
    bound: f64,
    shard: &'a Shard,
    node: &'a RTreeNode<TileBox>,
}

impl Ord for Step<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.bound.total_cmp(&self.bound)
    }
}

impl PartialOrd for Step<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Step<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Step<'_> {}

/// The best so far, the worst of them on top.
struct Best {
    ranked: BinaryHeap<Ranked>,
    limit: usize,
    /// Nothing with a larger term can be kept any more.
    worst_term: f64,
    /// … and nothing farther north or south, in units: spares most of the sines.
    half_y: u64,
}

impl Best {
    fn new(limit: usize, cap: &Cap) -> Self {
        let half = (cap.radius_m / (2.0 * base::EARTH_RADIUS_M)).min(std::f64::consts::FRAC_PI_2);
        let term = half.sin() * half.sin();
        // A hair wider than the radius: the exact cut is made on metres.
        Self {
            ranked: BinaryHeap::new(),
            limit,
            worst_term: widened(term) + 1e-20,
            half_y: cap.half_y,
        }
    }

    fn offer(&mut self, ranked: Ranked) {
        if self.ranked.len() < self.limit {
            self.ranked.push(ranked);
        } else if let Some(mut worst) = self.ranked.peek_mut()
            && ranked < *worst
        {
            *worst = ranked;
        }
        if self.ranked.len() == self.limit
            && let Some(worst) = self.ranked.peek()
        {
            self.worst_term = self.worst_term.min(widened(worst.term));
            self.half_y = half_y_of(self.worst_term);
        }
    }
}

/// A hair more than the term, so that rounding never cuts off a tie.
fn widened(term: f64) -> f64 {
    term * (1.0 + 1e-9)
}

struct Ranked {
    near: Near,
    term: f64,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let (one, two) = (&self.near, &other.near);
        one.distance_m
            .total_cmp(&two.distance_m)
            .then(two.heard.cmp(&one.heard))
            .then(one.slot.cmp(&two.slot))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ranked {}
