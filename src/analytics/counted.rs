//! What is counted in memory until it is written: shown prices by hour, and how long cells surge.
//! Pure: the caller passes the time, and writes what is to be written.

use std::collections::{BTreeMap, HashMap};

use base::{CityId, Millis, Point};
use geo::Cell;
use pricing::{Factor, SurgeLevel};

const HOUR_MS: i64 = 3_600_000;
/// An episode that goes on is written again after this long, so that a crash costs no more of it.
const TOLD_EVERY_MS: i64 = 60_000;

/// Estimates of an hour in a city at a level of surge, as this run of the program counted them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ShownRow {
    pub hour: Millis,
    pub city: CityId,
    pub level: u8,
    /// All of this run so far, never what came since it was written last.
    pub shown: i64,
}

impl ShownRow {
    /// Rows of the same hour, city and level replace each other while they wait.
    pub(crate) fn key(&self) -> u128 {
        let hour = u128::from((self.hour.0 / HOUR_MS).unsigned_abs());
        hour << 32 | u128::from(self.city.0.unsigned_abs()) << 8 | u128::from(self.level)
    }
}

/// Estimates that were shown, by hour, city and level of surge.
#[derive(Default)]
pub(crate) struct Tally {
    counts: HashMap<(i64, CityId, u8), i64>,
    newest: i64,
}

impl Tally {
    pub(crate) fn count(&mut self, city: CityId, surge: Factor, now: Millis) -> ShownRow {
        let hour = now.0.div_euclid(HOUR_MS);
        if hour > self.newest {
            self.newest = hour;
            // A clock that is set back a little still finds its hour.
            self.counts.retain(|(counted, ..), _| *counted >= hour - 1);
        }
        let level = level(surge);
        let shown = self.counts.entry((hour, city, level)).or_insert(0);
        *shown += 1;
        ShownRow { hour: Millis(hour * HOUR_MS), city, level, shown: *shown }
    }
}

/// 0 without surge, then 1 to 4 as [`LEVELS`] has them.
pub(crate) fn level(surge: Factor) -> u8 {
    if surge <= Factor::ONE {
        return 0;
    }
    let of = SurgeLevel::of(surge);
    (0..).zip(LEVELS).find(|(_, level)| *level == Some(of)).map_or(0, |(number, _)| number)
}

/// The levels by their numbers in the tables.
pub(crate) const LEVELS: [Option<SurgeLevel>; 5] = [
    None,
    Some(SurgeLevel::Low),
    Some(SurgeLevel::Medium),
    Some(SurgeLevel::High),
    Some(SurgeLevel::VeryHigh),
];

/// A cell surges, or did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Episode {
    pub city: CityId,
    pub cell: Cell,
    pub started: Millis,
    /// When it was seen last.
    pub last: Millis,
    pub peak: Factor,
    pub is_over: bool,
}

impl Episode {
    pub(crate) fn key(&self) -> u128 {
        u128::from(self.cell.id()) << 64 | u128::from(self.started.0.unsigned_abs())
    }
}

/// The cells that surge now.
#[derive(Default)]
pub(crate) struct Surging {
    open: HashMap<Cell, Open>,
    /// How many of each city; one that had some stays, with none.
    cells: BTreeMap<CityId, u32>,
}

struct Open {
    episode: Episode,
    told: Millis,
}

impl Surging {
    /// Compares what surges now with what did before; what is to be written of it.
    pub(crate) fn follow(
        &mut self,
        zones: &HashMap<Cell, Factor>,
        city_of: impl Fn(Point) -> Option<CityId>,
        now: Millis,
    ) -> Vec<Episode> {
        let mut told = Vec::new();
        for (cell, factor) in zones {
            if let Some(open) = self.open.get_mut(cell) {
                let rose = *factor > open.episode.peak;
                open.episode.peak = open.episode.peak.max(*factor);
                // The clock may be set back.
                open.episode.last = now.max(open.episode.last);
                if rose || now.since(open.told) >= TOLD_EVERY_MS {
                    open.told = now;
                    told.push(open.episode);
                }
            } else if let Some(city) = city_of(cell.center()) {
                let (cell, peak, is_over) = (*cell, *factor, false);
                let episode = Episode { city, cell, started: now, last: now, peak, is_over };
                *self.cells.entry(city).or_insert(0) += 1;
                self.open.insert(cell, Open { episode, told: now });
                told.push(episode);
            }
        }
        self.open.retain(|cell, open| {
            let goes_on = zones.contains_key(cell);
            if !goes_on {
                let last = now.max(open.episode.last);
                told.push(Episode { last, is_over: true, ..open.episode });
                if let Some(cells) = self.cells.get_mut(&open.episode.city) {
                    *cells -= 1;
                }
            }
            goes_on
        });
        told
    }

    /// How many cells of each city surge.
    pub(crate) const fn cells(&self) -> &BTreeMap<CityId, u32> {
        &self.cells
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CITY: CityId = CityId(1);

    #[test]
    fn shown_prices_are_counted_up_by_hour_city_and_level() {
        let mut tally = Tally::default();
        let mut check = |city: i16, surge: u32, now: i64, level: u8, hour: i64, shown: i64| {
            let (row, city) = (tally.count(CityId(city), Factor(surge), Millis(now)), CityId(city));
            assert_eq!(row, ShownRow { hour: Millis(hour * HOUR_MS), city, level, shown });
        };
        check(1, 10_000, 5, 0, 0, 1);
        check(1, 10_000, HOUR_MS - 1, 0, 0, 2);
        check(1, 11_000, HOUR_MS - 1, 1, 0, 1);
        check(2, 10_000, 5, 0, 0, 1);
        check(1, 13_000, HOUR_MS, 2, 1, 1);
        check(1, 10_000, 5, 0, 0, 3);
        check(1, 15_000, HOUR_MS * 2, 3, 2, 1);
        check(1, 30_000, HOUR_MS * 2, 4, 2, 1);
        assert_eq!(tally.counts.len(), 3, "what is long over is forgotten");
    }

    #[test]
    fn an_episode_is_told_when_it_begins_rises_goes_on_and_ends() {
        let place = |lat: f64| Point::new(lat, 31.2).expect("in range");
        let (here, there) = (geo::surge_cell(place(30.0)), geo::surge_cell(place(10.0)));
        let city_of = |at: Point| (at.lat() > 20.0).then_some(CITY);
        let mut surging = Surging::default();
        let mut check = |factor: Option<u32>, now: i64, expected: Option<(i64, u32, bool)>| {
            let zones = factor.map(|factor| [(here, Factor(factor)), (there, Factor(factor))]);
            let zones = zones.into_iter().flatten().collect();
            let told = surging.follow(&zones, city_of, Millis(now));
            let said: Vec<_> =
                told.iter().map(|one| (one.started.0, one.peak.0, one.is_over)).collect();
            assert_eq!(said, expected.into_iter().collect::<Vec<_>>(), "at {now}");
            assert!(told.iter().all(|one| one.cell == here && one.last == Millis(now)));
            let cells = u32::from(factor.is_some());
            assert_eq!(surging.cells(), &BTreeMap::from([(CITY, cells)]));
        };
        check(Some(11_000), 1_000, Some((1_000, 11_000, false)));
        check(Some(11_000), 11_000, None);
        check(Some(12_000), 21_000, Some((1_000, 12_000, false)));
        check(Some(11_000), 80_000, None);
        check(Some(11_000), 81_000, Some((1_000, 12_000, false)));
        check(None, 90_000, Some((1_000, 12_000, true)));
        check(None, 95_000, None);
        check(Some(13_000), 99_000, Some((99_000, 13_000, false)));
    }
}
