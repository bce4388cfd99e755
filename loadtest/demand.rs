//! When and where riders want to go.
//!
//! Owns the table of expected trips per quarter-hour and pair of zones, and draws arrivals from
//! it. Does not know positions, clocks or accounts: times are seconds inside a quarter-hour of
//! the city's own day.
//!
//! Guarantees: arrivals of a quarter-hour are a Poisson process whose mean is the table's sum
//! times the factor (test: `draws_have_the_mean_of_the_table`), pairs fall in proportion to their
//! counts (test: `pairs_fall_in_proportion`), and the same seed draws the same arrivals.

use rand::{Rng, RngExt};

/// Length of a slot of the table, seconds.
pub const QUARTER_S: f64 = 900.0;
/// Slots of a day.
pub const QUARTERS: usize = 96;

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Position in [`Demand`]: day × 96 + quarter-hour of the day.
    pub slot: usize,
    pub from: u8,
    pub to: u8,
    /// Trips expected in this quarter-hour.
    pub expected: f64,
}

/// A wish to travel.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Arrival {
    /// Seconds after the quarter-hour began, on the city's clock.
    pub at_s: f64,
    pub from: usize,
    pub to: usize,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    pairs: Vec<(u8, u8)>,
    /// Running sums of `expected`, as long as `pairs`.
    sums: Vec<f64>,
}

/// Expected trips per quarter-hour and pair of zones, over one or more days that repeat.
#[derive(Clone, Debug)]
pub struct Demand {
    slots: Vec<Slot>,
}

impl Demand {
    pub fn new(days: usize, rows: impl IntoIterator<Item = Row>) -> Self {
        let mut slots = vec![Slot::default(); days * QUARTERS];
        for row in rows {
            let slot = &mut slots[row.slot];
            slot.pairs.push((row.from, row.to));
            slot.sums.push(slot.sums.last().copied().unwrap_or(0.0) + row.expected);
        }
        Self { slots }
    }

    /// Trips expected in a slot; slots past the last day begin anew.
    pub fn expected(&self, slot: usize) -> f64 {
        self.slot(slot).sums.last().copied().unwrap_or(0.0)
    }

    /// The arrivals of one quarter-hour, in order.
    pub fn draw(&self, slot: usize, factor: f64, rng: &mut impl Rng) -> Vec<Arrival> {
        let per_second = self.expected(slot) * factor / QUARTER_S;
        let mut arrivals = Vec::new();
        if per_second <= 0.0 {
            return arrivals;
        }
        let mut at_s = 0.0;
        loop {
            // Exponential gaps make the count Poisson, exactly and for any mean.
            at_s += -(1.0 - rng.random::<f64>()).ln() / per_second;
            if at_s >= QUARTER_S {
                return arrivals;
            }
            if let Some((from, to)) = self.pair(slot, rng) {
                arrivals.push(Arrival { at_s, from, to });
            }
        }
    }

    /// A pair of zones, in proportion to its expected trips; `None` in an empty slot.
    pub fn pair(&self, slot: usize, rng: &mut impl Rng) -> Option<(usize, usize)> {
        let slot = self.slot(slot);
        let total = slot.sums.last().copied().filter(|sum| *sum > 0.0)?;
        let mark = rng.random_range(0.0..total);
        let index = slot.sums.partition_point(|sum| *sum <= mark).min(slot.pairs.len() - 1);
        let (from, to) = slot.pairs[index];
        Some((usize::from(from), usize::from(to)))
    }

    /// Trips expected to begin in each zone, most first.
    pub fn busiest(&self, slot: usize) -> Vec<(usize, f64)> {
        let (slot, mut before) = (self.slot(slot), 0.0);
        let mut zones: Vec<(usize, f64)> = (0..256).map(|zone| (zone, 0.0)).collect();
        for ((from, _), sum) in slot.pairs.iter().zip(&slot.sums) {
            zones[usize::from(*from)].1 += sum - before;
            before = *sum;
        }
        zones.retain(|(_, expected)| *expected > 0.0);
        zones.sort_by(|a, b| b.1.total_cmp(&a.1));
        zones
    }

    fn slot(&self, slot: usize) -> &Slot {
        &self.slots[slot % self.slots.len()]
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn table() -> Demand {
        let row = |slot, from, to, expected| Row { slot, from, to, expected };
        Demand::new(1, [row(0, 0, 1, 30.0), row(0, 1, 0, 10.0), row(5, 2, 2, 0.5)])
    }

    #[test]
    fn sums_match_the_rows() {
        let demand = table();
        assert_eq!(demand.expected(0), 40.0);
        assert_eq!(demand.expected(1), 0.0);
        assert_eq!(demand.expected(5), 0.5);
        assert_eq!(demand.expected(QUARTERS), 40.0, "the day repeats");
        assert_eq!(demand.busiest(0), [(0, 30.0), (1, 10.0)]);
    }

    #[test]
    fn draws_have_the_mean_of_the_table() {
        let (demand, mut rng) = (table(), StdRng::seed_from_u64(7));
        let counts: Vec<f64> =
            (0..2_000).map(|_| demand.draw(0, 0.5, &mut rng).len() as f64).collect();
        let mean = counts.iter().sum::<f64>() / 2_000.0;
        let variance = counts.iter().map(|c| (c - mean).powi(2)).sum::<f64>() / 2_000.0;
        // Poisson: mean and variance are both 20; four standard errors wide.
        assert!((mean - 20.0).abs() < 0.4, "{mean}");
        assert!((variance - 20.0).abs() < 2.6, "{variance}");
        assert!(demand.draw(1, 10.0, &mut rng).is_empty());
    }

    #[test]
    fn pairs_fall_in_proportion() {
        let (demand, mut rng) = (table(), StdRng::seed_from_u64(3));
        let there = (0..8_000).filter(|_| demand.pair(0, &mut rng) == Some((0, 1))).count();
        assert!((5_800..6_200).contains(&there), "{there} of 8000 went the way of 3 in 4");
        assert_eq!(demand.pair(1, &mut rng), None);
    }

    #[test]
    fn arrivals_are_in_order_and_inside_the_quarter() {
        let arrivals = table().draw(0, 3.0, &mut StdRng::seed_from_u64(9));
        assert!(arrivals.windows(2).all(|two| two[0].at_s <= two[1].at_s));
        assert!(arrivals.iter().all(|a| (0.0..QUARTER_S).contains(&a.at_s)));
        assert_eq!(arrivals, table().draw(0, 3.0, &mut StdRng::seed_from_u64(9)));
    }
}
