//! A city's roads: how long a car drives between places, along which streets.
//!
//! Made from an OpenStreetMap extract, kept as a file, held in memory. Pure: bytes in, bytes out.
//! Turns cost nothing and are all allowed; lights cost nothing.
//!
//! Guarantees:
//! - a way is driven in the directions that its tags allow
//!   (tests: `one_ways_are_kept`, `tags_open_and_close_a_way`);
//! - times are those of OSRM's car profile without turn and signal penalties, within 2 % at the
//!   median (test: `times_are_those_of_osrm`);
//! - a place with no road within 500 m is refused, and so are two that no road joins.

mod extract;
mod file;
mod hierarchy;
mod network;
mod polyline;
mod profile;
mod search;
mod snap;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use base::Point;
use parking_lot::Mutex;

use crate::roads::extract::Extract;
use crate::roads::hierarchy::{Hierarchy, Over};
use crate::roads::network::{CLOSED, Network};
pub(crate) use crate::roads::polyline::encode;
use crate::roads::search::{Cost, NEVER, Scratch};
use crate::roads::snap::{Grid, Snap};

/// Work spaces that are kept: as many as there are likely to be threads that ask at once. One costs
/// 32 bytes a junction, and is made when it is first needed.
const SCRATCHES_KEPT: usize = 16;

/// Snaps that each work space keeps: a power of two. They take a quarter of a MiB.
const SNAPS_KEPT: usize = 4_096;

/// Why there is no road graph.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RoadsError {
    #[error("the extract can't be read: {0}")]
    Extract(String),
    #[error("there is no road for cars in it")]
    NoRoads,
    #[error("it has more roads than a road file can hold")]
    TooLarge,
    #[error("this is no road file")]
    NoRoadFile,
    #[error("it is of version {found}, this program reads {known}: build it again")]
    Version { found: u32, known: u32 },
    #[error("it is cut off")]
    Truncated,
    #[error("it is damaged: {0} is wrong")]
    Damaged(&'static str),
}

/// Why roads don't lead from one place to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRoad {
    /// No road of the map within reach of a place.
    #[error("a place is off the map")]
    OffMap,
    /// Both are on the map, but on roads that nothing joins.
    #[error("no road leads there")]
    Unreachable,
}

/// A way along roads.
#[derive(Clone, Debug, PartialEq)]
pub struct RoadRoute {
    pub metres: f64,
    pub seconds: f64,
    /// From where the start snapped to where the destination did.
    pub line: Vec<Point>,
}

/// The roads of a city, ready for questions from many threads.
pub struct RoadGraph {
    network: Network,
    hierarchy: Hierarchy,
    grid: Grid,
    /// The one used last lies on top: its place is likely the one asked for next.
    scratches: Mutex<Vec<Work>>,
}

/// A work space and the place that it was last aimed at.
struct Work {
    scratch: Scratch,
    target: Option<(Point, Snap)>,
    /// Where places snapped that were asked for lately, each in the slot of its hash: an idle
    /// driver is a candidate of many pickups and of many ticks.
    snaps: Vec<Option<(Point, Snap)>>,
    roads: Vec<(u32, usize)>,
}

/// The first step of a way: along one road, or to one of its ends and on from there.
#[derive(Clone, Copy)]
enum Start {
    Along { way: usize },
    To { junction: u32, way: usize },
}

impl RoadGraph {
    /// Builds the graph from an OpenStreetMap extract (`.osm.pbf`): about a minute for a large
    /// city.
    pub fn from_extract(pbf: &[u8]) -> Result<Self, RoadsError> {
        Self::build(&Extract::read(pbf)?)
    }

    fn build(extract: &Extract) -> Result<Self, RoadsError> {
        let mut network = Network::new(extract);
        let most = network.roads.len().max(network.spots.len());
        if most > Over::MOST {
            return Err(RoadsError::TooLarge);
        }
        if network.roads.is_empty() {
            return Err(RoadsError::NoRoads);
        }
        let hierarchy = Hierarchy::new(&mut network);
        Ok(Self::new(network, hierarchy))
    }

    /// Reads what `to_bytes` wrote.
    pub fn from_bytes(file: &[u8]) -> Result<Self, RoadsError> {
        let (network, hierarchy) = file::read(file)?;
        Ok(Self::new(network, hierarchy))
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        file::write(&self.network, &self.hierarchy)
    }

    fn new(network: Network, hierarchy: Hierarchy) -> Self {
        let grid = Grid::new(&network);
        Self { network, hierarchy, grid, scratches: Mutex::new(Vec::new()) }
    }

    pub fn roads(&self) -> usize {
        self.network.roads.len()
    }

    pub fn junctions(&self) -> usize {
        self.network.junctions as usize
    }

    /// A place in the middle of each road where a car may stop, of the largest part of the map
    /// whose roads all lead to each other.
    pub fn places(&self) -> Vec<Point> {
        let stops = || (0..).zip(&self.network.roads).filter(|(_, road)| road.stops);
        let mut parts: BTreeMap<u32, u32> = BTreeMap::new();
        stops().for_each(|(_, road)| *parts.entry(road.component).or_default() += 1);
        let largest = parts.into_iter().max_by_key(|(_, roads)| *roads).map(|(part, _)| part);
        let middle = |number: u32| {
            let points = self.network.points(number);
            let piece = (points.len() - 1) / 2;
            let (one, two) = (point(&points[piece]), point(&points[piece + 1]));
            Point::new(one.lat().midpoint(two.lat()), one.lng().midpoint(two.lng()))
                .expect("between two places on Earth")
        };
        let within = stops().filter(|(_, road)| Some(road.component) == largest);
        within.map(|(number, _)| middle(number)).collect()
    }

    /// Does the place lie where this map could have a road for it?
    pub fn covers(&self, at: Point) -> bool {
        self.grid.covers(at)
    }

    /// Seconds to drive from `from` to `to`. Asked again for the same `to`, it costs a fraction.
    pub fn eta_s(&self, from: Point, to: Point) -> Result<f64, NoRoad> {
        self.aimed(to, |work, target| self.time_from(work, target, from))?
    }

    /// Seconds to drive to `to` from each of `from`, told in their order. `Err` when `to` itself
    /// is off the map.
    pub fn etas_to(
        &self,
        to: Point,
        from: &[Point],
        mut tell: impl FnMut(Point, Result<f64, NoRoad>),
    ) -> Result<(), NoRoad> {
        self.aimed(to, |work, target| {
            from.iter().for_each(|from| tell(*from, self.time_from(work, target, *from)));
        })
    }

    /// The way from `from` to `to` with its line.
    pub fn route(&self, from: Point, to: Point) -> Result<RoadRoute, NoRoad> {
        self.aimed(to, |work, target| {
            let source = self.snap(from)?;
            let (cost, start) = self.best(work, &source, target)?;
            let (metres, line) = self.drawn(work, &source, target, start);
            Ok(RoadRoute { metres, seconds: f64::from(cost.time) / 1e3, line })
        })?
    }

    fn snap(&self, at: Point) -> Result<Snap, NoRoad> {
        self.grid.snap(&self.network, at).ok_or(NoRoad::OffMap)
    }

    /// Does work in a space that is aimed at the place.
    fn aimed<T>(&self, to: Point, work: impl FnOnce(&mut Work, &Snap) -> T) -> Result<T, NoRoad> {
        let kept = self.scratches.lock().pop();
        let mut own = kept.unwrap_or_else(|| Work {
            scratch: Scratch::new(&self.hierarchy),
            target: None,
            snaps: vec![None; SNAPS_KEPT],
            roads: Vec::new(),
        });
        let known = own.target.filter(|(place, _)| *place == to).map(|(_, snap)| Ok(snap));
        let done =
            known.unwrap_or_else(|| self.aim(&mut own, to)).map(|snap| work(&mut own, &snap));
        let mut scratches = self.scratches.lock();
        if scratches.len() < SCRATCHES_KEPT {
            scratches.push(own);
        }
        done
    }

    fn aim(&self, work: &mut Work, to: Point) -> Result<Snap, NoRoad> {
        let snap = self.snap(to)?;
        let (ends, count) = self.ends(&snap);
        work.scratch.aim(&self.hierarchy, &ends[..count]);
        work.target = Some((to, snap));
        Ok(snap)
    }

    fn time_from(&self, work: &mut Work, target: &Snap, from: Point) -> Result<f64, NoRoad> {
        let source = self.snap_again(work, from)?;
        let (cost, _) = self.best(work, &source, target)?;
        Ok(f64::from(cost.time) / 1e3)
    }

    fn snap_again(&self, work: &mut Work, at: Point) -> Result<Snap, NoRoad> {
        let slot = &mut work.snaps[slot_of(at)];
        if let Some((_, snap)) = slot.filter(|(place, _)| *place == at) {
            return Ok(snap);
        }
        let snap = self.snap(at)?;
        *slot = Some((at, snap));
        Ok(snap)
    }

    /// The lightest of the ways that begin forward, backward, or never leave the road.
    fn best(&self, work: &mut Work, from: &Snap, to: &Snap) -> Result<(Cost, Start), NoRoad> {
        let road = &self.network.roads[from.road as usize];
        if road.component != self.network.roads[to.road as usize].component {
            return Err(NoRoad::Unreachable);
        }
        let mut best = (NEVER, Start::Along { way: 0 });
        let mut offer = |cost: Cost, start: Start| {
            if cost.weight < best.0.weight {
                best = (cost, start);
            }
        };
        if from.road == to.road {
            let ahead = to.along - from.along;
            if ahead >= 0.0 {
                offer(self.part(from.road, 0, ahead), Start::Along { way: 0 });
            }
            if ahead <= 0.0 {
                offer(self.part(from.road, 1, -ahead), Start::Along { way: 1 });
            }
        }
        let ends = [(road.to, 0, 1.0 - from.along), (road.from, 1, from.along)];
        for (junction, way, share) in ends {
            if road.weight[way] != CLOSED {
                let rest = work.scratch.cost(&self.hierarchy, junction);
                let cost = self.part(from.road, way, share).plus(rest);
                offer(cost, Start::To { junction, way });
            }
        }
        if best.0 == NEVER { Err(NoRoad::Unreachable) } else { Ok(best) }
    }

    /// Where the place's road is entered, with what is left from there.
    fn ends(&self, to: &Snap) -> ([(u32, Cost); 2], usize) {
        let road = &self.network.roads[to.road as usize];
        let all = [(road.from, 0, to.along), (road.to, 1, 1.0 - to.along)];
        let mut ends = [(0, NEVER); 2];
        let mut count = 0;
        for (junction, way, share) in all.into_iter().filter(|end| road.weight[end.1] != CLOSED) {
            ends[count] = (junction, self.part(to.road, way, share));
            count += 1;
        }
        (ends, count)
    }

    /// What a share of a road takes.
    fn part(&self, road: u32, way: usize, share: f64) -> Cost {
        let road = &self.network.roads[road as usize];
        if road.weight[way] == CLOSED {
            return NEVER;
        }
        let of = |whole: u32| (f64::from(whole) * share).round() as u32;
        Cost { weight: of(road.weight[way]), time: of(road.time[way]) }
    }

    fn drawn(&self, work: &mut Work, from: &Snap, to: &Snap, start: Start) -> (f64, Vec<Point>) {
        let network = &self.network;
        let length = |road: u32| f64::from(network.roads[road as usize].length_mm) / 1e3;
        let mut line = vec![from.at];
        let (first, middle) = (from.piece as usize, to.piece as usize);
        let (own, last) = (network.points(from.road), network.points(to.road));
        let metres = match start {
            Start::Along { way: 0 } => {
                line.extend(own[first + 1..=middle].iter().map(point));
                (to.along - from.along) * length(from.road)
            }
            Start::Along { .. } => {
                line.extend(own[middle + 1..=first].iter().rev().map(point));
                (from.along - to.along) * length(from.road)
            }
            Start::To { junction, way } => {
                work.roads.clear();
                let end = work.scratch.roads(&self.hierarchy, junction, &mut work.roads);
                let mut metres = if way == 0 {
                    line.extend(own[first + 1..].iter().map(point));
                    (1.0 - from.along) * length(from.road)
                } else {
                    line.extend(own[..=first].iter().rev().map(point));
                    from.along * length(from.road)
                };
                for (road, way) in &work.roads {
                    let points = network.points(*road);
                    if *way == 0 {
                        line.extend(points[1..].iter().map(point));
                    } else {
                        line.extend(points[..points.len() - 1].iter().rev().map(point));
                    }
                    metres += length(*road);
                }
                if self.entered_forward(to, end) {
                    line.extend(last[1..=middle].iter().map(point));
                    metres + to.along * length(to.road)
                } else {
                    line.extend(last[middle + 1..last.len() - 1].iter().rev().map(point));
                    metres + (1.0 - to.along) * length(to.road)
                }
            }
        };
        line.push(to.at);
        (metres, line)
    }

    /// A road that ends where it began is entered the lighter way.
    fn entered_forward(&self, to: &Snap, junction: u32) -> bool {
        let road = &self.network.roads[to.road as usize];
        if road.from != road.to {
            return road.from == junction;
        }
        let forward = self.part(to.road, 0, to.along);
        let backward = self.part(to.road, 1, 1.0 - to.along);
        forward.weight <= backward.weight
    }
}

/// Where among the kept snaps a place has its own (Fibonacci hashing of both degrees).
const fn slot_of(at: Point) -> usize {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let mixed = at.lat().to_bits().wrapping_mul(GOLDEN) ^ at.lng().to_bits();
    (mixed.wrapping_mul(GOLDEN) >> (u64::BITS - SNAPS_KEPT.ilog2())) as usize
}

fn point(spot: &extract::Spot) -> Point {
    let [lat, lng] = spot.map(|units| f64::from(units) / 1e7);
    Point::new(lat, lng).expect("checked when the graph was made")
}
