//! What the map weighs, and whether a move allocates.

use super::crowd::{Crowd, Shape, Step, Work};
use super::{put, title};
use crate::Options;
use crate::alloc::{Count, count};
use crate::table::{Bound, Figure, Row};

pub(super) fn rows(shape: Shape, size: usize, options: &Options) -> Vec<Row> {
    let rounds = if options.quick { 2 } else { 20 };
    let mut crowd = Crowd::new(shape, size);
    let before = count();
    let index = super::ours::filled(&crowd);
    let inside = near_home(&index, &crowd);
    let mut along = 0;
    for round in 0..rounds {
        let steps = crowd.round(Work::Moves);
        let begun = count();
        for step in &steps {
            if let Step::Move { slot, to } = *step {
                put(&index, slot, to, i64::from(round) + 3);
            }
        }
        along += count().calls - begun.calls;
        drop(steps);
    }
    // The crowd's own memory was taken before and is as large as it was.
    let Count { bytes, .. } = count();
    let each = (bytes - before.bytes) as f64 / size as f64;
    let moves = f64::from(rounds) * size as f64;
    drop(index);
    let what = |of: &str| format!("{}: {of}", title(shape, size));
    let weight = Row::alone(what("memory of a driver"), Figure::new("bytes", vec![each]));
    // The table of shards is the same for every crowd: a small one can't carry it.
    let weight = if size >= 1_000_000 { weight.bound(Bound::Max(64.0)) } else { weight };
    let figure = |unit, value| Figure::new(unit, vec![value]);
    vec![
        weight,
        Row::alone(what("a move inside the tile"), figure("allocations", inside))
            .bound(Bound::Max(0.0)),
        Row::alone(what("any move of 10–15 m"), figure("allocations", along as f64 / moves)),
    ]
}

/// Allocations per move of moves that can't leave the tile: everyone was put into the tile of his
/// place and goes 1 m, less than the narrowest loose border.
fn near_home(index: &geo::TileIndex, crowd: &Crowd) -> f64 {
    let begun = count();
    for (slot, at) in crowd.places() {
        let north = base::Point::new(at.lat() + 1.0 / 111_195.0, at.lng());
        put(index, slot, north.unwrap_or(at), 2);
    }
    (count().calls - begun.calls) as f64 / crowd.len() as f64
}
