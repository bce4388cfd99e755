//! Contracts the road network, so that a search only ever climbs (contraction hierarchies:
//! Geisberger, Sanders, Schultes, Delling 2008).
//!
//! Junctions are taken out one after another, the least needed first; where that would make a way
//! longer, a shortcut over the junction takes its place. A junction's number is its rank.
//!
//! Guarantees:
//! - every arc leads to a junction of higher rank, so arcs form no circle;
//! - between any two junctions some lightest way climbs from both ends to where they meet
//!   (test: `the_hierarchy_finds_what_dijkstra_finds`).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::roads::network::{Network, Road};

/// Junctions that a search for a way around looks at before a shortcut is made without need.
const WITNESS_LIMIT: usize = 200;
/// The same while the order is weighed up, which asks far more often.
const WITNESS_LIMIT_ORDER: usize = 40;

/// An arc of the hierarchy to or from a junction of higher rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arc {
    pub(crate) junction: u32,
    pub(crate) weight: u32,
    pub(crate) time: u32,
    pub(crate) over: Over,
}

/// What an arc stands for: a road in one direction, or two arcs over a junction of lower rank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Over(u32);

pub(crate) enum Kind {
    Road { road: u32, way: usize },
    Junction(u32),
}

impl Over {
    const JUNCTION: u32 = 1 << 31;
    /// More roads or junctions than this have no place in a file.
    pub(crate) const MOST: usize = 1 << 30;

    pub(crate) const fn road(road: u32, way: usize) -> Self {
        Self(road << 1 | way as u32)
    }

    const fn junction(junction: u32) -> Self {
        Self(junction | Self::JUNCTION)
    }

    pub(crate) const fn kind(self) -> Kind {
        if self.0 & Self::JUNCTION == 0 {
            Kind::Road { road: self.0 >> 1, way: (self.0 & 1) as usize }
        } else {
            Kind::Junction(self.0 & !Self::JUNCTION)
        }
    }

    pub(crate) const fn bits(self) -> u32 {
        self.0
    }

    pub(crate) const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }
}

/// The arcs of all junctions, one after another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arcs {
    /// Where each junction's arcs begin; one more at the end.
    pub(crate) first: Vec<u32>,
    pub(crate) arcs: Vec<Arc>,
}

impl Arcs {
    pub(crate) fn of(&self, junction: u32) -> &[Arc] {
        &self.arcs[self.range(junction)]
    }

    pub(crate) fn range(&self, junction: u32) -> std::ops::Range<usize> {
        let place = junction as usize;
        self.first[place] as usize..self.first[place + 1] as usize
    }

    pub(crate) fn between(&self, low: u32, high: u32) -> Option<&Arc> {
        self.of(low).iter().find(|arc| arc.junction == high)
    }
}

/// Upward arcs out of a junction, and upward arcs that a car drives down into it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub(crate) up: Arcs,
    pub(crate) down: Arcs,
}

impl Hierarchy {
    /// Contracts the network and numbers its junctions anew, by rank.
    pub(crate) fn new(network: &mut Network) -> Self {
        let mut work = Contraction::new(network);
        let rank = work.run();
        let arcs = |lists: Vec<Vec<Arc>>| {
            let mut by_rank: Vec<(u32, Vec<Arc>)> = rank.iter().copied().zip(lists).collect();
            by_rank.sort_unstable_by_key(|(rank, _)| *rank);
            let mut arcs = Arcs { first: vec![0], arcs: Vec::new() };
            for (_, list) in by_rank {
                arcs.arcs.extend(list.into_iter().map(|arc| ranked(arc, &rank)));
                arcs.first.push(arcs.arcs.len() as u32);
            }
            arcs
        };
        let hierarchy = Self { up: arcs(work.out), down: arcs(work.into) };
        for road in &mut network.roads {
            *road = Road { from: rank[road.from as usize], to: rank[road.to as usize], ..*road };
        }
        hierarchy
    }
}

fn ranked(arc: Arc, rank: &[u32]) -> Arc {
    let over = match arc.over.kind() {
        Kind::Road { .. } => arc.over,
        Kind::Junction(middle) => Over::junction(rank[middle as usize]),
    };
    Arc { junction: rank[arc.junction as usize], over, ..arc }
}

/// The network while it shrinks. A junction that is taken out keeps its arcs to those that stay:
/// these are its arcs in the hierarchy.
struct Contraction {
    out: Vec<Vec<Arc>>,
    into: Vec<Vec<Arc>>,
    /// How often a junction's neighbours were taken out: keeps the shrinking even.
    depth: Vec<u32>,
    search: Witness,
}

/// A shortcut that is needed: from, to, what it stands for.
struct Shortcut {
    from: u32,
    arc: Arc,
}

impl Contraction {
    fn new(network: &Network) -> Self {
        let count = network.junctions as usize;
        let mut work = Self {
            out: vec![Vec::new(); count],
            into: vec![Vec::new(); count],
            depth: vec![0; count],
            search: Witness::new(count),
        };
        for (from, to, number, way) in network.arcs().filter(|(from, to, ..)| from != to) {
            let road = &network.roads[number as usize];
            let over = Over::road(number, way);
            let (weight, time) = (road.weight[way], road.time[way]);
            work.connect(from, Arc { junction: to, weight, time, over });
        }
        work
    }

    /// The rank of each junction.
    fn run(&mut self) -> Vec<u32> {
        let count = self.out.len() as u32;
        let mut rank = vec![0; self.out.len()];
        let mut queue: BinaryHeap<Reverse<(i64, u32)>> =
            (0..count).map(|junction| Reverse((self.cost(junction), junction))).collect();
        let mut next = 0;
        while let Some(Reverse((cost, junction))) = queue.pop() {
            // What was taken out since may have changed its cost: it goes back if it's no longer
            // the least.
            let now = self.cost(junction);
            if now > cost && queue.peek().is_some_and(|Reverse((least, _))| now > *least) {
                queue.push(Reverse((now, junction)));
                continue;
            }
            self.contract(junction);
            rank[junction as usize] = next;
            next += 1;
        }
        rank
    }

    /// How much more there is to search through without the junction.
    fn cost(&mut self, junction: u32) -> i64 {
        let place = junction as usize;
        let removed = self.out[place].len() + self.into[place].len();
        let added = self.shortcuts(junction, WITNESS_LIMIT_ORDER).len();
        2 * (added as i64 - removed as i64) + i64::from(self.depth[place])
    }

    fn contract(&mut self, junction: u32) {
        let shortcuts = self.shortcuts(junction, WITNESS_LIMIT);
        let place = junction as usize;
        let depth = self.depth[place] + 1;
        for arc in &self.out[place] {
            let other = arc.junction as usize;
            self.into[other].retain(|back| back.junction != junction);
            self.depth[other] = self.depth[other].max(depth);
        }
        for arc in &self.into[place] {
            let other = arc.junction as usize;
            self.out[other].retain(|back| back.junction != junction);
            self.depth[other] = self.depth[other].max(depth);
        }
        for Shortcut { from, arc } in shortcuts {
            self.connect(from, arc);
        }
    }

    /// Of two arcs between the same junctions the lighter one stays.
    fn connect(&mut self, from: u32, arc: Arc) {
        let back = Arc { junction: from, ..arc };
        let lists =
            [(&mut self.out[from as usize], arc), (&mut self.into[arc.junction as usize], back)];
        for (list, arc) in lists {
            match list.iter_mut().find(|known| known.junction == arc.junction) {
                Some(known) if known.weight <= arc.weight => {}
                Some(known) => *known = arc,
                None => list.push(arc),
            }
        }
    }

    /// Pairs of neighbours whose lightest way leads over the junction, as far as a short search
    /// can tell: one too many costs time, one too few would cost the answer.
    fn shortcuts(&mut self, junction: u32, limit: usize) -> Vec<Shortcut> {
        let mut needed = Vec::new();
        let (out, into) = (&self.out[junction as usize], &self.into[junction as usize]);
        for entry in into {
            let heaviest = out.iter().filter(|exit| exit.junction != entry.junction);
            let Some(heaviest) = heaviest.map(|exit| exit.weight).max() else { continue };
            let bound = entry.weight.saturating_add(heaviest);
            self.search.run(&self.out, entry.junction, junction, bound, limit);
            for exit in out.iter().filter(|exit| exit.junction != entry.junction) {
                let weight = entry.weight.saturating_add(exit.weight);
                if self.search.weight(exit.junction) <= weight {
                    continue;
                }
                let time = entry.time.saturating_add(exit.time);
                let over = Over::junction(junction);
                let arc = Arc { junction: exit.junction, weight, time, over };
                needed.push(Shortcut { from: entry.junction, arc });
            }
        }
        needed
    }
}

/// A short Dijkstra's search for ways around a junction.
struct Witness {
    weight: Vec<u32>,
    seen: Vec<u32>,
    queue: BinaryHeap<Reverse<(u32, u32)>>,
}

impl Witness {
    fn new(count: usize) -> Self {
        Self { weight: vec![u32::MAX; count], seen: Vec::new(), queue: BinaryHeap::new() }
    }

    fn weight(&self, junction: u32) -> u32 {
        self.weight[junction as usize]
    }

    fn run(&mut self, out: &[Vec<Arc>], from: u32, without: u32, bound: u32, limit: usize) {
        self.seen.drain(..).for_each(|junction| self.weight[junction as usize] = u32::MAX);
        self.queue.clear();
        self.reach(from, 0);
        let mut settled = 0;
        while let Some(Reverse((weight, junction))) = self.queue.pop() {
            if weight > self.weight[junction as usize] {
                continue;
            }
            settled += 1;
            if weight > bound || settled > limit {
                return;
            }
            for arc in out[junction as usize].iter().filter(|arc| arc.junction != without) {
                self.reach(arc.junction, weight.saturating_add(arc.weight));
            }
        }
    }

    fn reach(&mut self, junction: u32, weight: u32) {
        let known = &mut self.weight[junction as usize];
        if weight < *known {
            if *known == u32::MAX {
                self.seen.push(junction);
            }
            *known = weight;
            self.queue.push(Reverse((weight, junction)));
        }
    }
}
