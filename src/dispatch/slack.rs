//! How little a driver is missed where he is.
//!
//! Where demand flows one way drivers heap up at one end and are missed at the other; an idle
//! driver stays where he is. The one whom nobody needs is known by how long those around him have
//! waited: he is sent farther, so that those who are few stay near the riders who come next. It
//! stands for the difference of place in value-based matching (Xu et al., "Large-scale order
//! dispatch in on-demand ride-hailing platforms", 2018), without anything to be learnt. It is fair
//! as well: who waits long is asked first.

use std::collections::HashMap;

use base::{DriverId, Point};
use geo::Square;

use crate::board::Drivers;

/// A wait beyond that says no more, seconds.
const LONGEST_S: f64 = 1_200.0;
/// Squares of a degree: about a kilometre each, and three by three are around a driver.
const PER_DEGREE: f64 = 100.0;

/// The waits of the idle drivers that a batch sees, by square.
pub(crate) struct Slack(HashMap<Square, Waits>);

#[derive(Clone, Copy, Default)]
struct Waits {
    sum_s: f64,
    drivers: u32,
}

impl Slack {
    /// Of idle drivers, where they are and for how long they have waited, seconds. One who comes
    /// twice counts once.
    pub(crate) fn of(idle: impl IntoIterator<Item = (DriverId, Point, f64)>) -> Self {
        let mut met = Drivers::default();
        let mut squares: HashMap<Square, Waits> = HashMap::new();
        for (driver, at, idle_s) in idle {
            if met.insert(driver) {
                let waits = squares.entry(Square::of(at, PER_DEGREE)).or_default();
                waits.sum_s += capped(idle_s);
                waits.drivers += 1;
            }
        }
        Self(squares)
    }

    /// Mean wait of those around a place, seconds; 0 where nobody is.
    pub(crate) fn around_s(&self, at: Point) -> f64 {
        let Square { row, col } = Square::of(at, PER_DEGREE);
        let mut all = Waits::default();
        for (down, right) in (-1..=1).flat_map(|down| (-1..=1).map(move |right| (down, right))) {
            if let Some(waits) = self.0.get(&Square { row: row + down, col: col + right }) {
                all.sum_s += waits.sum_s;
                all.drivers += waits.drivers;
            }
        }
        all.sum_s / f64::from(all.drivers.max(1))
    }
}

/// As much of a wait as counts, seconds.
pub(crate) const fn capped(idle_s: f64) -> f64 {
    idle_s.clamp(0.0, LONGEST_S)
}
