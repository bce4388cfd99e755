//! Is an answer of the map what a scan of all drivers would answer? And does Redis find the same
//! drivers, so that both do the same work?

use anyhow::ensure;
use base::Point;
use geo::TileIndex;

use super::crowd::Crowd;
use super::theirs::Rival;
use super::{LIMIT, RADIUS_M, question};
use crate::Options;

/// Random questions against a scan; everyone was heard in the same round, so the lower slot is
/// first at equal distance.
pub(super) fn check(index: &TileIndex, crowd: &mut Crowd, options: &Options) -> anyhow::Result<()> {
    let scanned = if options.quick { 5_000_000 } else { 20_000_000 };
    let mut found = Vec::new();
    for _ in 0..(scanned / crowd.len()).clamp(5, 500) {
        let from = crowd.corner();
        index.nearest(&question(from), &mut found);
        let answer: Vec<(f64, u32)> =
            found.iter().map(|near| (near.distance_m, near.slot)).collect();
        let expected = scan(index, crowd.len(), from);
        ensure!(answer == expected, "from {from:?} the map says {answer:?}, a scan {expected:?}");
    }
    Ok(())
}

/// Right after both were filled. Redis keeps places to 60 cm, so it may order two drivers who are
/// equally far in another way, and the last of ten may be another.
pub(super) fn agree(
    index: &TileIndex,
    rival: &mut Rival<'_>,
    crowd: &mut Crowd,
) -> anyhow::Result<()> {
    let (mut found, mut ours, mut shared) = (Vec::new(), 0, 0);
    for _ in 0..20 {
        let from = crowd.corner();
        index.nearest(&question(from), &mut found);
        let theirs = rival.nearest(from)?;
        ours += found.len();
        shared += found.iter().filter(|near| theirs.contains(&near.slot)).count();
    }
    ensure!(
        shared * 10 >= ours * 9,
        "Redis found only {shared} of the {ours} drivers that we found"
    );
    Ok(())
}

fn scan(index: &TileIndex, size: usize, from: Point) -> Vec<(f64, u32)> {
    let slots = 0..u32::try_from(size).expect("slots are 32 bits");
    let mut near: Vec<(f64, u32)> = slots
        .filter_map(|slot| Some((geo::distance_m(from, index.position(slot)?), slot)))
        .filter(|(metres, _)| *metres <= RADIUS_M)
        .collect();
    near.sort_unstable_by(|one, two| one.0.total_cmp(&two.0).then(one.1.cmp(&two.1)));
    near.truncate(LIMIT);
    near
}
