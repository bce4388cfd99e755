//! Our side of the map: one thread, the whole stream.

use std::time::Instant;

use geo::TileIndex;

use super::crowd::{Crowd, Step, Work};
use super::{Taken, put, question};
use crate::cpu::Cpu;
use crate::table::quantile;

pub(super) fn filled(crowd: &Crowd) -> TileIndex {
    let index = TileIndex::with_capacity(crowd.len());
    for (slot, at) in crowd.places() {
        put(&index, slot, at, 1);
        index.set_class(slot, 1);
    }
    index
}

/// So many rounds, the first of them given; making a round is outside of the clocks.
pub(super) fn measure(
    index: &TileIndex,
    crowd: &mut Crowd,
    work: Work,
    (rounds, first): (u32, &[Step]),
    taken: &mut Taken,
) -> anyhow::Result<()> {
    let (mut count, mut wall_s, mut cpu_s) = (0, 0.0, 0.0);
    let mut found = Vec::new();
    for round in 0..rounds {
        let made = if round > 0 { crowd.round(work) } else { Vec::new() };
        let steps = if round > 0 { &made } else { first };
        let (begun, cpu) = (Instant::now(), Cpu::thread()?);
        for step in steps {
            match *step {
                Step::Move { slot, to } => put(index, slot, to, i64::from(round) + 2),
                Step::Ask { from } => index.nearest(&question(from), &mut found),
            }
            std::hint::black_box(&found);
        }
        cpu_s += (Cpu::thread()? - cpu).as_secs_f64();
        wall_s += begun.elapsed().as_secs_f64();
        count += steps.len();
    }
    taken.add(count, wall_s, cpu_s);
    Ok(())
}

/// How long a question takes, milliseconds: the median and the 99th of 100.
pub(super) fn waits(index: &TileIndex, steps: &[Step]) -> (f64, f64) {
    let mut found = Vec::new();
    let mut waits = Vec::with_capacity(steps.len());
    for step in steps {
        let Step::Ask { from } = *step else { continue };
        let begun = Instant::now();
        index.nearest(&question(from), &mut found);
        std::hint::black_box(&found);
        waits.push(begun.elapsed().as_secs_f64() * 1e3);
    }
    waits.sort_unstable_by(f64::total_cmp);
    (quantile(&waits, 0.5), quantile(&waits, 0.99))
}
