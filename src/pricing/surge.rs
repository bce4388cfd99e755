//! Decides the surge of each zone from what was asked for and who is free.
//!
//! Pure: the caller passes the time and the free drivers. The raw factor of a zone comes from the
//! ratio of its requests of the last ten minutes to its free drivers; the zone's factor follows it
//! in small steps and, once risen, stays for five minutes after the last time it was called for.

use std::collections::HashMap;
use std::time::Duration;

use base::Millis;
use geo::Cell;

use crate::tariff::Factor;

/// Demand is what was asked for within this time, counted in slots.
const WINDOW: Duration = Duration::from_secs(600);
const SLOT: Duration = Duration::from_secs(10);
const SLOTS: usize = (WINDOW.as_secs() / SLOT.as_secs()) as usize;
/// A zone's factor moves by at most this much at a time…
const STEP: u32 = 1_000;
/// … and not more often than this.
const STEP_EVERY: Duration = Duration::from_secs(10);
/// How long a factor outlives the demand that called for it.
const HOLD: Duration = Duration::from_secs(300);
/// Never more than three times the fare.
const MAX: Factor = Factor::CAP;

/// The factor that a ratio of requests to free drivers calls for (no drivers count as one).
pub(crate) fn called_for(requests: u32, drivers: u32) -> Factor {
    let (requests, drivers) = (u64::from(requests), u64::from(drivers.max(1)));
    if requests < drivers {
        Factor::ONE
    } else if requests * 2 < drivers * 3 {
        Factor(11_000)
    } else if requests < drivers * 2 {
        Factor(13_000)
    } else if requests < drivers * 3 {
        Factor(15_000)
    } else if requests < drivers * 4 {
        Factor(18_000)
    } else {
        let half_ratio = requests * u64::from(Factor::ONE.0) / (drivers * 2);
        Factor(u32::try_from(half_ratio).unwrap_or(MAX.0)).min(MAX)
    }
}

/// The zones where something was asked for lately, or that still surge.
#[derive(Default)]
pub(crate) struct SurgeEngine {
    zones: HashMap<Cell, Zone>,
}

impl SurgeEngine {
    pub(crate) fn requested(&mut self, cell: Cell, now: Millis) {
        self.zones.entry(cell).or_insert_with(|| Zone::new(now)).count(now);
    }

    /// Moves every zone one step towards what its demand calls for. `free` says how many drivers
    /// are free in a cell.
    pub(crate) fn refresh(&mut self, now: Millis, free: impl Fn(Cell) -> u32) {
        self.zones.retain(|cell, zone| {
            let requests = zone.requests(now);
            zone.follow(called_for(requests, free(*cell)), now);
            requests > 0 || zone.factor > Factor::ONE
        });
    }

    /// The zones with surge.
    pub(crate) fn surging(&self) -> HashMap<Cell, Factor> {
        let zones = self.zones.iter().filter(|(_, zone)| zone.factor > Factor::ONE);
        zones.map(|(cell, zone)| (*cell, zone.factor)).collect()
    }
}

struct Zone {
    /// Requests by slot of time, a ring.
    counts: [u32; SLOTS],
    /// Number of the newest slot in the ring, since 1970.
    newest: i64,
    factor: Factor,
    held_until: Millis,
    stepped: Option<Millis>,
}

impl Zone {
    fn new(now: Millis) -> Self {
        Self {
            counts: [0; SLOTS],
            newest: slot(now),
            factor: Factor::ONE,
            held_until: now,
            stepped: None,
        }
    }

    fn count(&mut self, now: Millis) {
        self.turn(now);
        let place = place(self.newest);
        self.counts[place] = self.counts[place].saturating_add(1);
    }

    fn requests(&mut self, now: Millis) -> u32 {
        self.turn(now);
        self.counts.iter().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// Empties the slots that time has passed over. A clock that went back changes nothing.
    fn turn(&mut self, now: Millis) {
        let to = slot(now);
        for number in (self.newest + 1..=to).take(SLOTS) {
            self.counts[place(number)] = 0;
        }
        self.newest = self.newest.max(to);
    }

    fn follow(&mut self, target: Factor, now: Millis) {
        if target >= self.factor && target > Factor::ONE {
            self.held_until = now + HOLD;
        }
        if self.stepped.is_some_and(|at| now.after(at) < STEP_EVERY) {
            return;
        }
        if target > self.factor {
            self.factor = target.min(Factor(self.factor.0 + STEP));
            self.stepped = Some(now);
        } else if target < self.factor && now >= self.held_until {
            self.factor = target.max(Factor(self.factor.0 - STEP.min(self.factor.0)));
            self.stepped = Some(now);
        }
    }
}

fn slot(at: Millis) -> i64 {
    at.0.div_euclid(SLOT.as_millis() as i64)
}

fn place(slot: i64) -> usize {
    slot.rem_euclid(SLOTS as i64) as usize
}

#[cfg(test)]
mod tests {
    use base::Point;
    use proptest::prelude::*;

    use super::*;

    fn cell() -> Cell {
        geo::surge_cell(Point::new(30.0444, 31.2357).expect("Cairo"))
    }

    fn at(seconds: i64) -> Millis {
        Millis(1_700_000_000_000 + seconds * 1000)
    }

    #[test]
    fn the_ratio_calls_for_the_tables_factor() {
        let check = |requests, drivers, expected| {
            assert_eq!(called_for(requests, drivers).0, expected, "{requests}/{drivers}");
        };
        check(0, 0, 10_000);
        check(9, 10, 10_000);
        check(10, 10, 11_000);
        check(14, 10, 11_000);
        check(15, 10, 13_000);
        check(19, 10, 13_000);
        check(20, 10, 15_000);
        check(29, 10, 15_000);
        check(30, 10, 18_000);
        check(39, 10, 18_000);
        check(40, 10, 20_000);
        check(50, 10, 25_000);
        check(60, 10, 30_000);
        check(6_000, 1, 30_000);
        check(u32::MAX, 0, 30_000);
        // No free driver counts as one.
        check(1, 0, 11_000);
        check(3, 0, 18_000);
    }

    /// Asks `requests` times at 0 s, refreshes every ten seconds with one free driver, and tells
    /// the factor at each moment of `asked`.
    fn course(requests: usize, asked: &[i64]) -> Vec<u32> {
        let mut engine = SurgeEngine::default();
        for _ in 0..requests {
            engine.requested(cell(), at(0));
        }
        let last = asked.iter().copied().max().unwrap_or(0);
        let mut seen = Vec::new();
        for second in (0..=last).step_by(10) {
            engine.refresh(at(second), |_| 1);
            if asked.contains(&second) {
                seen.push(engine.surging().get(&cell()).map_or(10_000, |factor| factor.0));
            }
        }
        seen
    }

    #[test]
    fn surge_rises_in_steps_to_what_is_called_for() {
        let rising = course(2, &[0, 10, 20, 30, 40, 50]);
        assert_eq!(rising, [11_000, 12_000, 13_000, 14_000, 15_000, 15_000]);
        assert_eq!(course(100, &[400]), [30_000]);
    }

    #[test]
    fn surge_stays_five_minutes_after_it_was_last_called_for_then_falls_in_steps() {
        // The requests leave the window at 600 s; the last call for 1.5 was at 590 s.
        let falling = course(2, &[590, 600, 880, 890, 900, 930, 940]);
        assert_eq!(falling, [15_000, 15_000, 15_000, 14_000, 13_000, 10_000, 10_000]);
    }

    #[test]
    fn refreshing_more_often_does_not_raise_faster() {
        let mut engine = SurgeEngine::default();
        (0..9).for_each(|_| engine.requested(cell(), at(0)));
        for _ in 0..50 {
            engine.refresh(at(1), |_| 1);
        }
        assert_eq!(engine.surging()[&cell()], Factor(11_000));
    }

    #[test]
    fn drivers_arriving_calm_a_zone_and_a_quiet_zone_is_forgotten() {
        let mut engine = SurgeEngine::default();
        engine.requested(cell(), at(0));
        engine.refresh(at(0), |_| 2);
        assert!(engine.surging().is_empty());
        engine.refresh(at(601), |_| 2);
        assert!(engine.zones.is_empty());
    }

    #[test]
    fn a_clock_that_goes_back_counts_on() {
        let mut zone = Zone::new(at(100));
        zone.count(at(100));
        zone.count(at(50));
        assert_eq!(zone.requests(at(0)), 2);
        assert_eq!(zone.requests(at(1_000_000)), 0);
    }

    proptest! {
        #[test]
        fn surge_is_bounded_and_moves_in_steps(
            turns in prop::collection::vec((0..40u32, 0..5u32, 1..60i64), 1..100),
        ) {
            let mut engine = SurgeEngine::default();
            let (mut now, mut before) = (0, 10_000u32);
            for (requests, drivers, wait) in turns {
                now += wait;
                (0..requests).for_each(|_| engine.requested(cell(), at(now)));
                engine.refresh(at(now), |_| drivers);
                let factor = engine.surging().get(&cell()).map_or(10_000, |factor| factor.0);
                prop_assert!((10_000..=30_000).contains(&factor));
                prop_assert!(factor.abs_diff(before) <= STEP);
                before = factor;
            }
        }
    }
}
