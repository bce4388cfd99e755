//! The forecast: what the week usually brings, at the level of the last hour. Pure.
//!
//! A cell's usual count is the mean of the same quarter of the week (and, at half its weight, of
//! the quarters beside it) over the weeks that are known, each worth 0.7 of the one after it:
//! simple exponential smoothing of a seasonal series. The level is what came in the last hour
//! over what is usual for it, first for the whole city, then for the cell, each drawn towards 1
//! and towards the city as a Gamma prior would draw the rate of a Poisson count. Of what came
//! where nothing is usual a part is expected to come again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use geo::Cell;
use jiff::tz::TimeZone;

use crate::quarter::Quarter;

/// Weeks that are looked back.
const WEEKS: i64 = 8;
/// What a week is worth beside the one after it.
const FADES: f64 = 0.7;
/// Quarters whose level counts.
pub(crate) const LEVEL: i64 = 4;
/// Requests as usual that a city, and a cell, is believed to have had beside the real ones.
const CITY_PRIOR: f64 = 20.0;
const CELL_PRIOR: f64 = 5.0;
/// Share of unusual requests that comes again.
const LASTS: f64 = 0.3;
/// Less than this is not worth a row.
const LEAST: f64 = 0.01;

/// Counts by quarter and cell; a cell that is missing in a quarter had none.
pub(crate) type Counts = HashMap<Quarter, HashMap<Cell, u32>>;

/// The quarters that a forecast for `target` made at the end of `last` wants to know.
pub(crate) fn wanted(last: Quarter, target: Quarter, zone: &TimeZone) -> Vec<Quarter> {
    let recent = recent(last);
    let mut all: BTreeSet<Quarter> = recent.clone().collect();
    for quarter in recent.chain([target]) {
        for weeks in 1..=WEEKS {
            let then = quarter.weeks_ago(weeks, zone);
            all.extend([then.plus(-1), then, then.plus(1)]);
        }
    }
    all.into_iter().collect()
}

fn recent(last: Quarter) -> impl Iterator<Item = Quarter> + Clone {
    (1 - LEVEL..=0).map(move |back| last.plus(back))
}

/// Expected requests by cell in `target`, from what is known at the end of `last`. `since`: the
/// first quarter that was counted.
pub(crate) fn forecast(
    counts: &Counts,
    since: Quarter,
    last: Quarter,
    target: Quarter,
    zone: &TimeZone,
) -> BTreeMap<Cell, f64> {
    let usual = usual(counts, since, target, zone);
    let mut came: HashMap<Cell, f64> = HashMap::new();
    let mut known = 0.0;
    for quarter in recent(last).filter(|quarter| *quarter >= since) {
        known += 1.0;
        for (cell, count) in counts.get(&quarter).into_iter().flatten() {
            *came.entry(*cell).or_default() += f64::from(*count);
        }
    }
    let Some(usual) = usual else {
        // No week is known yet: it goes on as in the last hour.
        return kept(came.into_iter().map(|(cell, count)| (cell, count / known)));
    };
    let mut before: HashMap<Cell, f64> = HashMap::new();
    for quarter in recent(last).filter(|quarter| *quarter >= since) {
        for (cell, count) in self::usual(counts, since, quarter, zone).into_iter().flatten() {
            *before.entry(cell).or_default() += count;
        }
    }
    let (all_came, all_before) = (came.values().sum::<f64>(), before.values().sum::<f64>());
    let level = (all_came + CITY_PRIOR) / (all_before + CITY_PRIOR);
    let cells: BTreeSet<Cell> = usual.keys().chain(came.keys()).copied().collect();
    kept(cells.into_iter().map(|cell| {
        let of = |map: &HashMap<Cell, f64>| map.get(&cell).copied().unwrap_or(0.0);
        let (came, before) = (of(&came), of(&before));
        let own = (came + CELL_PRIOR * level) / (before + CELL_PRIOR);
        let unusual = (came - own * before).max(0.0) / known.max(1.0);
        (cell, own * of(&usual) + LASTS * unusual)
    }))
}

fn kept(cells: impl Iterator<Item = (Cell, f64)>) -> BTreeMap<Cell, f64> {
    cells.filter(|(_, expected)| *expected >= LEAST).collect()
}

/// What is usual for this quarter; none before a first week is known.
fn usual(
    counts: &Counts,
    since: Quarter,
    quarter: Quarter,
    zone: &TimeZone,
) -> Option<HashMap<Cell, f64>> {
    let mut sums: HashMap<Cell, f64> = HashMap::new();
    let (mut weight, mut weights) = (1.0, 0.0);
    for weeks in 1..=WEEKS {
        let then = quarter.weeks_ago(weeks, zone);
        if then.plus(-1) < since {
            break;
        }
        for (beside, share) in [(-1, 0.25), (0, 0.5), (1, 0.25)] {
            for (cell, count) in counts.get(&then.plus(beside)).into_iter().flatten() {
                *sums.entry(*cell).or_default() += weight * share * f64::from(*count);
            }
        }
        weights += weight;
        weight *= FADES;
    }
    if weights == 0.0 {
        return None;
    }
    sums.values_mut().for_each(|sum| *sum /= weights);
    Some(sums)
}

/// Sum over all cells of how far a guess was from what came.
pub(crate) fn off(guess: &BTreeMap<Cell, f64>, came: &HashMap<Cell, u32>) -> f64 {
    let cells: BTreeSet<Cell> = guess.keys().chain(came.keys()).copied().collect();
    let cell_off = |cell: &Cell| {
        let came = came.get(cell).copied().map_or(0.0, f64::from);
        (guess.get(cell).copied().unwrap_or(0.0) - came).abs()
    };
    cells.iter().map(cell_off).sum()
}
