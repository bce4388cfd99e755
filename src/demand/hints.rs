//! Which idle drivers are told of a place where drivers will be missing. Pure.
//!
//! A cell lacks what is expected there in the next quarter beyond the drivers who are free in it,
//! and has to spare what is free beyond that. Who has waited longest is served first, and goes
//! where most is lacking for the way; what he brings there no longer lacks.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use base::{DriverId, Millis, Point};
use geo::Cell;

/// Who waits shorter than this is where he should be.
const IDLE: Duration = Duration::from_secs(600);
/// Farther than this a driver arrives when the quarter is over, metres.
const REACH_M: f64 = 5_000.0;
/// A metre more weighs against what is lacking as if the way had this much of it before, metres.
const NEAR_M: f64 = 1_000.0;
/// A driver is sent for a whole request, not for a part of one.
const LEAST: f64 = 1.0;

/// A driver who is free.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Idle {
    pub driver: DriverId,
    pub at: Point,
    pub waiting_since: Millis,
}

/// Told to one driver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hint {
    pub driver: DriverId,
    pub cell: Cell,
    /// From him to its middle as the crow flies, metres.
    pub distance_m: f64,
    /// Requests in the next quarter of an hour.
    pub expected: f64,
    /// Drivers who are free there now.
    pub free: u32,
}

/// `told`: who has been told lately of which cell. He is left alone, and counts as on his way.
pub(crate) fn hints(
    expected: &BTreeMap<Cell, f64>,
    idle: &[Idle],
    told: &HashMap<DriverId, Cell>,
    now: Millis,
) -> Vec<Hint> {
    let mut free: HashMap<Cell, u32> = HashMap::new();
    for driver in idle {
        *free.entry(geo::surge_cell(driver.at)).or_default() += 1;
    }
    let mut coming: HashMap<Cell, u32> = HashMap::new();
    for driver in idle {
        if let Some(cell) = told.get(&driver.driver)
            && geo::surge_cell(driver.at) != *cell
        {
            *coming.entry(*cell).or_default() += 1;
        }
    }
    let lacks = |cell: &Cell| {
        let there = [&free, &coming].map(|drivers| drivers.get(cell).copied().unwrap_or(0));
        expected.get(cell).copied().unwrap_or(0.0) - f64::from(there[0] + there[1])
    };
    let mut lacking: BTreeMap<Cell, f64> = expected
        .keys()
        .map(|cell| (*cell, lacks(cell)))
        .filter(|(_, lack)| *lack >= LEAST)
        .collect();
    let mut spare: HashMap<Cell, f64> = free.keys().map(|cell| (*cell, -lacks(cell))).collect();
    let mut waiting: Vec<&Idle> =
        idle.iter().filter(|driver| now.after(driver.waiting_since) >= IDLE).collect();
    waiting.sort_by_key(|driver| (driver.waiting_since, driver.driver));
    let mut hints = Vec::new();
    for driver in waiting.into_iter().filter(|driver| !told.contains_key(&driver.driver)) {
        let here = spare.entry(geo::surge_cell(driver.at)).or_default();
        if *here < LEAST {
            continue;
        }
        let worth = |cell: Cell, lack: f64| {
            let distance_m = cell.center().distance_m(driver.at);
            (lack >= LEAST && distance_m <= REACH_M)
                .then(|| (lack / (distance_m + NEAR_M), cell, distance_m))
        };
        let best = lacking.iter().filter_map(|(cell, lack)| worth(*cell, *lack));
        let Some((_, cell, distance_m)) = best.max_by(|one, two| one.0.total_cmp(&two.0)) else {
            continue;
        };
        *here -= 1.0;
        lacking.entry(cell).and_modify(|lack| *lack -= 1.0);
        hints.push(Hint {
            driver: driver.driver,
            cell,
            distance_m,
            expected: expected.get(&cell).copied().unwrap_or(0.0),
            free: free.get(&cell).copied().unwrap_or(0),
        });
    }
    hints
}
