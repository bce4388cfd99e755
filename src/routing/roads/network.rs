//! Turns ways into roads between junctions, and keeps those that lead somewhere.
//!
//! Guarantees:
//! - a junction is where ways meet or end; a point that a car can't pass ends the roads on each
//!   side without joining them;
//! - from every junction each other one of the same component can be reached, both ways;
//! - roads of no component are gone. So are small components: a car park that the map joins to
//!   nothing, or the stub of a motorway at the extract's edge. A place there belongs to the next
//!   road of the city. An island of its own size stays, and ways to it are refused.

use base::haversine_m;

use crate::roads::extract::{Extract, Spot};
use crate::roads::profile::Drive;

/// Time or weight of a direction that is closed.
pub(crate) const CLOSED: u32 = u32::MAX;
/// A component counts when it has at least one road for so many of the largest one.
const SMALLEST_SHARE: usize = 20;

/// A piece of road between two junctions. Times and weights in milliseconds, forward and backward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Road {
    pub(crate) from: u32,
    pub(crate) to: u32,
    /// Place of its first point among all points; its last is before the next road's first.
    pub(crate) first: u32,
    pub(crate) length_mm: u32,
    pub(crate) time: [u32; 2],
    /// What counts where a way is chosen: the time, and more where a road is better avoided.
    pub(crate) weight: [u32; 2],
    pub(crate) component: u32,
    /// Does a place snap to it?
    pub(crate) stops: bool,
}

/// Roads and their points.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Network {
    pub(crate) junctions: u32,
    pub(crate) roads: Vec<Road>,
    pub(crate) spots: Vec<Spot>,
}

impl Network {
    pub(crate) fn new(extract: &Extract) -> Self {
        let mut network = cut(extract);
        network.keep_components();
        network
    }

    /// The road's points, first to last.
    pub(crate) fn points(&self, road: u32) -> &[Spot] {
        let first = self.roads[road as usize].first as usize;
        let next = self.roads.get(road as usize + 1);
        &self.spots[first..next.map_or(self.spots.len(), |next| next.first as usize)]
    }

    /// Directed pieces: from, to, road, direction (0 forward, 1 backward).
    pub(crate) fn arcs(&self) -> impl Iterator<Item = (u32, u32, u32, usize)> {
        self.roads.iter().zip(0..).flat_map(|(road, number)| {
            let both = [(road.from, road.to, number, 0), (road.to, road.from, number, 1)];
            both.into_iter().filter(|(.., way)| road.weight[*way] != CLOSED)
        })
    }

    pub(crate) fn keep_components(&mut self) {
        let component = components(self);
        let mut sizes = vec![0usize; self.junctions as usize];
        for road in &self.roads {
            if component[road.from as usize] == component[road.to as usize] {
                sizes[component[road.from as usize] as usize] += 1;
            }
        }
        let largest = sizes.iter().copied().max().unwrap_or(0);
        let least = largest.div_ceil(SMALLEST_SHARE).max(1);
        let mut numbers = vec![None; sizes.len()];
        let kept = (0..sizes.len()).filter(|place| sizes[*place] >= least);
        for (place, number) in kept.zip(0u32..) {
            numbers[place] = Some(number);
        }
        let mut junction = vec![None; self.junctions as usize];
        let mut kept = Self::default();
        for (road, place) in self.roads.iter().zip(0..) {
            let home = component[road.from as usize];
            let Some(number) = numbers[home as usize] else { continue };
            if component[road.to as usize] != home {
                continue;
            }
            let mut renamed = |old: u32| {
                *junction[old as usize].get_or_insert_with(|| {
                    kept.junctions += 1;
                    kept.junctions - 1
                })
            };
            let (from, to) = (renamed(road.from), renamed(road.to));
            let first = kept.spots.len() as u32;
            kept.spots.extend_from_slice(self.points(place));
            kept.roads.push(Road { from, to, first, component: number, ..*road });
        }
        *self = kept;
    }
}

/// Cuts ways at junctions, at points that can't be passed, and where the extract ends.
fn cut(extract: &Extract) -> Network {
    let points = &extract.points;
    let mut uses = vec![0u32; points.spots.len()];
    for way in &extract.ways {
        way.points.iter().for_each(|point| uses[*point as usize] += 1);
        let ends = way.points.first().into_iter().chain(way.points.last());
        ends.for_each(|point| uses[*point as usize] += 1);
    }
    let mut network = Network::default();
    let mut junction: Vec<Option<u32>> = vec![None; uses.len()];
    let mut junctions = 0;
    let mut next = || {
        junctions += 1;
        junctions - 1
    };
    for way in &extract.ways {
        // The piece so far: the junction it began at, and its points.
        let mut open: Option<(u32, Vec<Spot>)> = None;
        for point in way.points.iter().map(|point| *point as usize) {
            let Some(spot) = points.spots[point] else {
                // The extract ends here; the piece before it led to its edge.
                if let Some((from, piece)) = open.take() {
                    network.add(from, next(), piece, way);
                }
                continue;
            };
            let Some((from, mut piece)) = open.take() else {
                let start = if points.blocked[point] {
                    next()
                } else {
                    *junction[point].get_or_insert_with(&mut next)
                };
                open = Some((start, vec![spot]));
                continue;
            };
            piece.push(spot);
            open = if points.blocked[point] {
                network.add(from, next(), piece, way);
                Some((next(), vec![spot]))
            } else if uses[point] > 1 {
                let to = *junction[point].get_or_insert_with(&mut next);
                network.add(from, to, piece, way);
                Some((to, vec![spot]))
            } else {
                Some((from, piece))
            };
        }
    }
    network.junctions = junctions;
    network
}

impl Network {
    fn add(&mut self, from: u32, to: u32, piece: Vec<Spot>, way: &crate::roads::extract::Way) {
        if piece.len() < 2 {
            return;
        }
        let metres: f64 = piece.windows(2).map(|pair| between_m(pair[0], pair[1])).sum();
        // A road of no length still takes a moment: a way around can't be free.
        let millis = |kmh: f64| ((metres / kmh * 3_600.0).round() as u32).clamp(1, CLOSED - 1);
        let drives = [way.drivable.forward, way.drivable.backward];
        let figure = |of: fn(&Drive) -> f64| {
            drives.map(|drive| drive.as_ref().map_or(CLOSED, |drive| millis(of(drive))))
        };
        self.roads.push(Road {
            from,
            to,
            first: self.spots.len() as u32,
            length_mm: (metres * 1_000.0).round() as u32,
            time: figure(|drive| drive.speed_kmh),
            weight: figure(|drive| drive.worth_kmh),
            component: 0,
            stops: way.drivable.stops,
        });
        self.spots.extend(piece);
    }
}

/// The number of each junction's strongly connected component (Tarjan's algorithm, on a stack of
/// its own: a city is deeper than a thread's).
fn components(network: &Network) -> Vec<u32> {
    const NEW: u32 = u32::MAX;
    let count = network.junctions as usize;
    let mut heads: Vec<Vec<u32>> = vec![Vec::new(); count];
    network.arcs().for_each(|(from, to, ..)| heads[from as usize].push(to));
    let mut found = vec![NEW; count];
    let (mut index, mut low) = (vec![NEW; count], vec![0u32; count]);
    let (mut clock, mut components) = (0u32, 0u32);
    let (mut path, mut waiting): (Vec<(u32, usize)>, Vec<u32>) = (Vec::new(), Vec::new());
    for start in 0..network.junctions {
        if index[start as usize] != NEW {
            continue;
        }
        path.push((start, 0));
        while let Some((at, arc)) = path.pop() {
            let here = at as usize;
            if arc == 0 {
                (index[here], low[here]) = (clock, clock);
                clock += 1;
                waiting.push(at);
            }
            if let Some(to) = heads[here].get(arc).copied() {
                path.push((at, arc + 1));
                if index[to as usize] == NEW {
                    path.push((to, 0));
                } else if found[to as usize] == NEW {
                    low[here] = low[here].min(index[to as usize]);
                }
                continue;
            }
            if let Some((above, _)) = path.last() {
                low[*above as usize] = low[*above as usize].min(low[here]);
            }
            if low[here] == index[here] {
                while let Some(member) = waiting.pop() {
                    found[member as usize] = components;
                    if member == at {
                        break;
                    }
                }
                components += 1;
            }
        }
    }
    found
}

fn between_m(a: Spot, b: Spot) -> f64 {
    let degrees = |value: i32| f64::from(value) / 1e7;
    haversine_m(degrees(a[0]), degrees(a[1]), degrees(b[0]), degrees(b[1]))
}
