//! Finds ways in the hierarchy: all to one place, or one.
//!
//! The place is searched once, upwards against the traffic. From each start the rest is a climb
//! whose results are kept, so that starts near each other, as candidates for a pickup are, share
//! nearly all of it (lazy RPHAST: Strasser, Zeitz 2021). Arcs form no circle, so neither needs a
//! queue. The same place asked for again is not searched again.

use crate::roads::hierarchy::{Arc, Arcs, Hierarchy, Kind};

/// Nothing leads there.
pub(crate) const NEVER: Cost = Cost { weight: u32::MAX, time: u32::MAX };

/// What a way takes, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cost {
    pub(crate) weight: u32,
    pub(crate) time: u32,
}

impl Cost {
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self {
            weight: self.weight.saturating_add(other.weight),
            time: self.time.saturating_add(other.time),
        }
    }
}

/// What is known of a junction in this round.
#[derive(Clone, Copy)]
struct Label {
    round: u32,
    /// From here to the place.
    cost: Cost,
    /// The arc that the way begins with; `NONE` where it turns from climbing to descending, or
    /// ends.
    arc: u32,
}

const NONE: u32 = u32::MAX;
const UNKNOWN: Label = Label { round: 0, cost: NEVER, arc: NONE };

/// What searches work on; made once, used again and again.
pub(crate) struct Scratch {
    round: u32,
    /// Costs by descending only.
    descents: Vec<Label>,
    /// Costs by any way.
    climbs: Vec<Label>,
    stack: Vec<(u32, usize)>,
    order: Vec<u32>,
}

impl Scratch {
    pub(crate) fn new(hierarchy: &Hierarchy) -> Self {
        let count = hierarchy.up.first.len() - 1;
        let labels = vec![UNKNOWN; count];
        Self {
            round: 0,
            descents: labels.clone(),
            climbs: labels,
            stack: Vec::new(),
            order: Vec::new(),
        }
    }

    /// Begins a round: `ends` are the junctions from where the place is reached, with the rest of
    /// the way.
    pub(crate) fn aim(&mut self, hierarchy: &Hierarchy, ends: &[(u32, Cost)]) {
        self.round = self.round.checked_add(1).unwrap_or_else(|| {
            self.descents.fill(UNKNOWN);
            self.climbs.fill(UNKNOWN);
            1
        });
        self.order.clear();
        for (junction, _) in ends {
            self.postorder(&hierarchy.down, *junction, Side::Descents);
        }
        for (junction, cost) in ends {
            let label = &mut self.descents[*junction as usize];
            if cost.weight < label.cost.weight {
                label.cost = *cost;
            }
        }
        // Backwards, so that a junction is done before what lies above it.
        for junction in self.order.iter().rev().copied() {
            let here = self.descents[junction as usize].cost;
            for (place, arc) in hierarchy.down.range(junction).zip(hierarchy.down.of(junction)) {
                let cost = arc_cost(arc).plus(here);
                let label = &mut self.descents[arc.junction as usize];
                if cost.weight < label.cost.weight {
                    (label.cost, label.arc) = (cost, place as u32);
                }
            }
        }
    }

    /// The least cost from the junction to the place of this round.
    pub(crate) fn cost(&mut self, hierarchy: &Hierarchy, from: u32) -> Cost {
        self.order.clear();
        self.postorder(&hierarchy.up, from, Side::Climbs);
        for junction in self.order.iter().copied() {
            let descent = &self.descents[junction as usize];
            let mut best = Label { round: self.round, cost: NEVER, arc: NONE };
            if descent.round == self.round {
                best.cost = descent.cost;
            }
            for (place, arc) in hierarchy.up.range(junction).zip(hierarchy.up.of(junction)) {
                let cost = arc_cost(arc).plus(self.climbs[arc.junction as usize].cost);
                if cost.weight < best.cost.weight {
                    (best.cost, best.arc) = (cost, place as u32);
                }
            }
            self.climbs[junction as usize] = best;
        }
        self.climbs[from as usize].cost
    }

    /// The roads of the way whose cost was found from the junction, and its last junction.
    pub(crate) fn roads(
        &self,
        hierarchy: &Hierarchy,
        from: u32,
        out: &mut Vec<(u32, usize)>,
    ) -> u32 {
        let mut here = from;
        while let Some(arc) = hierarchy.up.arcs.get(self.climbs[here as usize].arc as usize) {
            unpack(hierarchy, here, arc.junction, arc, out);
            here = arc.junction;
        }
        while let Some(arc) = hierarchy.down.arcs.get(self.descents[here as usize].arc as usize) {
            let place = self.descents[here as usize].arc;
            let low = hierarchy.down.first.partition_point(|first| *first <= place) as u32 - 1;
            unpack(hierarchy, here, low, arc, out);
            here = low;
        }
        here
    }

    /// Adds what can be reached over `arcs` and isn't known in this round, what lies above first.
    fn postorder(&mut self, arcs: &Arcs, from: u32, side: Side) {
        let labels = match side {
            Side::Descents => &mut self.descents,
            Side::Climbs => &mut self.climbs,
        };
        let round = self.round;
        let mut enter = |junction: u32, stack: &mut Vec<(u32, usize)>| {
            let label = &mut labels[junction as usize];
            if label.round != round {
                *label = Label { round, ..UNKNOWN };
                stack.push((junction, arcs.range(junction).start));
            }
        };
        enter(from, &mut self.stack);
        while let Some((junction, place)) = self.stack.last_mut() {
            if *place == arcs.range(*junction).end {
                self.order.push(*junction);
                self.stack.pop();
                continue;
            }
            let above = arcs.arcs[*place].junction;
            *place += 1;
            enter(above, &mut self.stack);
        }
    }
}

enum Side {
    Descents,
    Climbs,
}

const fn arc_cost(arc: &Arc) -> Cost {
    Cost { weight: arc.weight, time: arc.time }
}

/// The roads that an arc stands for, in the order they are driven.
fn unpack(hierarchy: &Hierarchy, from: u32, to: u32, arc: &Arc, out: &mut Vec<(u32, usize)>) {
    let mut open = vec![(from, to, *arc)];
    while let Some((from, to, arc)) = open.pop() {
        match arc.over.kind() {
            Kind::Road { road, way } => out.push((road, way)),
            Kind::Junction(middle) => {
                let [first, second] =
                    halves(hierarchy, from, middle, to).expect("checked when the graph was made");
                open.push((middle, to, second));
                open.push((from, middle, first));
            }
        }
    }
}

/// The two arcs that a shortcut from `from` over `middle` to `to` stands for.
pub(crate) fn halves(hierarchy: &Hierarchy, from: u32, middle: u32, to: u32) -> Option<[Arc; 2]> {
    let first = hierarchy.down.between(middle, from)?;
    let second = hierarchy.up.between(middle, to)?;
    Some([*first, *second])
}
