//! How prices, surge and earnings went between two days, and the same as a table.

use std::collections::{BTreeMap, HashMap};

use base::csv::{self, Cell as Written};
use base::{BasisPoints, BusinessDay, CityId, DayRange, DriverId, Millis, Piasters, Point, Tier};
use geo::Cell;
use pricing::SurgeLevel;
use serde::Serialize;
use utoipa::ToSchema;

use crate::counted::LEVELS;
use crate::results::rounded;
use crate::stats::{gini, quantile};

/// Which days, of which city.
#[derive(Clone, Copy, Debug)]
pub struct ReportAsked {
    pub days: DayRange,
    pub city: Option<CityId>,
}

/// Prices, surge and earnings; days are Cairo's, oldest first.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PriceReport {
    pub from: String,
    pub to: String,
    pub currency: &'static str,
    pub prices: Vec<PriceLine>,
    pub acceptance: Vec<AcceptanceLine>,
    pub surge: Vec<SurgeLine>,
    pub zones: Vec<ZoneLine>,
    pub earnings: Vec<EarningsLine>,
}

/// Completed trips of a day, a city and a tier; a trip counts on the day on which it ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PriceLine {
    /// `2026-01-31`, in Cairo.
    pub day: String,
    pub city: CityId,
    #[schema(inline)]
    pub tier: Tier,
    pub trips: u64,
    pub fares: Piasters,
    /// The company's, with the tax.
    pub commission: Piasters,
    pub metres: u64,
    /// Trips that surge made dearer.
    pub surged: u64,
    /// On average.
    pub fare: Piasters,
    /// Null where nothing was driven.
    pub price_per_km: Option<Piasters>,
}

/// Estimates that were shown on a day at a level of surge, and trips asked for at the same level.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AcceptanceLine {
    pub day: String,
    pub city: CityId,
    /// Null: no surge.
    pub level: Option<SurgeLevel>,
    pub shown: u64,
    pub requested: u64,
    /// Null where nothing was shown. Above 1 where trips are asked for without an estimate.
    pub rate: Option<f64>,
}

/// How often, how long and how high cells of a city surged that began to on a day.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SurgeLine {
    pub day: String,
    pub city: CityId,
    pub episodes: u64,
    /// Different cells.
    pub cells: u64,
    pub mean_seconds: f64,
    pub p95_seconds: f64,
    pub longest_seconds: f64,
    pub peak_multiplier: f32,
}

/// Completed trips that began in an H3 cell (resolution 7), over all the days.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ZoneLine {
    pub city: CityId,
    /// The cell's number, in hexadecimal digits.
    pub cell: String,
    pub center: Point,
    #[schema(inline)]
    pub tier: Tier,
    pub trips: u64,
    pub fares: Piasters,
    pub metres: u64,
    pub price_per_km: Option<Piasters>,
}

/// What drivers of a city earned over all the days: fares less commission, of those who drove.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EarningsLine {
    pub city: CityId,
    pub drivers: u64,
    pub mean: Piasters,
    /// A tenth of the drivers earned less.
    pub p10: Piasters,
    pub p25: Piasters,
    pub p50: Piasters,
    pub p75: Piasters,
    pub p90: Piasters,
    /// 0: all the same; towards 1: one has it all.
    pub gini: f64,
}

/// A completed trip, as the report needs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ridden {
    pub ended: Millis,
    pub city: CityId,
    pub tier: Tier,
    pub driver: DriverId,
    pub pickup: Point,
    pub price: Piasters,
    pub commission: BasisPoints,
    pub metres: u64,
    pub surged: bool,
}

#[derive(Default)]
struct Sum {
    trips: u64,
    fares: Piasters,
    commission: Piasters,
    metres: u64,
    surged: u64,
}

impl Sum {
    fn add(&mut self, trip: &Ridden, commission: Piasters) {
        self.trips += 1;
        self.fares += trip.price;
        self.commission += commission;
        self.metres += trip.metres;
        self.surged += u64::from(trip.surged);
    }

    fn per_km(&self) -> Option<Piasters> {
        let metres = i64::try_from(self.metres).ok().filter(|metres| *metres > 0)?;
        Some(self.fares.part(1000, metres))
    }

    fn fare(&self) -> Piasters {
        self.fares.part(1, i64::try_from(self.trips).unwrap_or(i64::MAX).max(1))
    }
}

/// Trips added up one by one, so that no more of them is kept than sums.
#[derive(Default)]
pub(crate) struct Added {
    days: BTreeMap<(BusinessDay, CityId, Tier), Sum>,
    zones: BTreeMap<(CityId, Cell, Tier), Sum>,
    drivers: HashMap<(CityId, DriverId), i64>,
}

impl Added {
    pub(crate) fn add(&mut self, trip: &Ridden) {
        let commission = trip.price.share(trip.commission);
        let day = BusinessDay::of(trip.ended);
        self.days.entry((day, trip.city, trip.tier)).or_default().add(trip, commission);
        let cell = geo::surge_cell(trip.pickup);
        self.zones.entry((trip.city, cell, trip.tier)).or_default().add(trip, commission);
        *self.drivers.entry((trip.city, trip.driver)).or_default() += (trip.price - commission).0;
    }

    pub(crate) fn prices(&self) -> Vec<PriceLine> {
        let line = |((day, city, tier), sum): (&(BusinessDay, CityId, Tier), &Sum)| PriceLine {
            day: day.to_string(),
            city: *city,
            tier: *tier,
            trips: sum.trips,
            fares: sum.fares,
            commission: sum.commission,
            metres: sum.metres,
            surged: sum.surged,
            fare: sum.fare(),
            price_per_km: sum.per_km(),
        };
        self.days.iter().map(line).collect()
    }

    pub(crate) fn zones(&self) -> Vec<ZoneLine> {
        let line = |((city, cell, tier), sum): (&(CityId, Cell, Tier), &Sum)| ZoneLine {
            city: *city,
            cell: format!("{:x}", cell.id()),
            center: cell.center(),
            tier: *tier,
            trips: sum.trips,
            fares: sum.fares,
            metres: sum.metres,
            price_per_km: sum.per_km(),
        };
        self.zones.iter().map(line).collect()
    }

    pub(crate) fn earnings(&self) -> Vec<EarningsLine> {
        let mut cities: BTreeMap<CityId, Vec<i64>> = BTreeMap::new();
        for ((city, _), earned) in &self.drivers {
            cities.entry(*city).or_default().push(*earned);
        }
        let line = |(city, mut earned): (CityId, Vec<i64>)| {
            earned.sort_unstable();
            let drivers = earned.len();
            let at = |q| Piasters(quantile(&earned, q).round() as i64);
            let sum: i64 = earned.iter().sum();
            EarningsLine {
                city,
                drivers: drivers as u64,
                mean: Piasters(sum).part(1, i64::try_from(drivers).unwrap_or(i64::MAX)),
                p10: at(0.1),
                p25: at(0.25),
                p50: at(0.5),
                p75: at(0.75),
                p90: at(0.9),
                gini: rounded(gini(&earned), 4),
            }
        };
        cities.into_iter().map(line).collect()
    }
}

/// What was shown and asked for, by day, city and level.
#[derive(Default)]
pub(crate) struct Asking(BTreeMap<(String, CityId, u8), (u64, u64)>);

impl Asking {
    pub(crate) fn shown(&mut self, day: String, city: CityId, level: u8, count: u64) {
        self.0.entry((day, city, level)).or_default().0 += count;
    }

    pub(crate) fn requested(&mut self, day: String, city: CityId, level: u8, count: u64) {
        self.0.entry((day, city, level)).or_default().1 += count;
    }

    pub(crate) fn lines(self) -> Vec<AcceptanceLine> {
        let line =
            |((day, city, level), (shown, requested)): ((String, CityId, u8), (u64, u64))| {
                AcceptanceLine {
                    day,
                    city,
                    level: LEVELS.get(usize::from(level)).copied().flatten(),
                    shown,
                    requested,
                    rate: (shown > 0).then(|| rounded(requested as f64 / shown as f64, 4)),
                }
            };
        self.0.into_iter().map(line).collect()
    }
}

const COLUMNS: [&str; 32] = [
    "part",
    "day",
    "city",
    "tier",
    "level",
    "cell",
    "lat",
    "lng",
    "trips",
    "fares",
    "commission",
    "metres",
    "surged",
    "fare",
    "price_per_km",
    "shown",
    "requested",
    "acceptance",
    "episodes",
    "cells",
    "mean_seconds",
    "p95_seconds",
    "longest_seconds",
    "peak_multiplier",
    "drivers",
    "mean",
    "p10",
    "p25",
    "p50",
    "p75",
    "p90",
    "gini",
];

/// A row of the table: what it says of some columns, all of it our own digits and words.
fn row(out: &mut String, part: &str, said: &[(&str, &dyn ToString)]) {
    let cells = COLUMNS.map(|column| match said.iter().find(|(name, _)| *name == column) {
        Some((_, value)) => Written::Number(value.to_string()),
        None if column == "part" => Written::Text(part),
        None => Written::Empty,
    });
    csv::row(out, &cells);
}

impl PriceReport {
    /// One table: `part` says which list of the report a row is of, the columns of others are
    /// empty.
    pub fn csv(&self) -> String {
        let mut out = format!("{}\r\n", COLUMNS.join(","));
        let amount =
            |amount: Option<Piasters>| amount.map_or_else(String::new, |it| it.to_string());
        for line in &self.prices {
            let said: [(&str, &dyn ToString); 10] = [
                ("day", &line.day),
                ("city", &line.city.0),
                ("tier", &line.tier.name()),
                ("trips", &line.trips),
                ("fares", &line.fares),
                ("commission", &line.commission),
                ("metres", &line.metres),
                ("surged", &line.surged),
                ("fare", &line.fare),
                ("price_per_km", &amount(line.price_per_km)),
            ];
            row(&mut out, "prices", &said);
        }
        for line in &self.acceptance {
            let rate = line.rate.map_or_else(String::new, |rate| rate.to_string());
            let said: [(&str, &dyn ToString); 6] = [
                ("day", &line.day),
                ("city", &line.city.0),
                ("level", &line.level.map_or("none", SurgeLevel::name)),
                ("shown", &line.shown),
                ("requested", &line.requested),
                ("acceptance", &rate),
            ];
            row(&mut out, "acceptance", &said);
        }
        for line in &self.surge {
            let said: [(&str, &dyn ToString); 8] = [
                ("day", &line.day),
                ("city", &line.city.0),
                ("episodes", &line.episodes),
                ("cells", &line.cells),
                ("mean_seconds", &line.mean_seconds),
                ("p95_seconds", &line.p95_seconds),
                ("longest_seconds", &line.longest_seconds),
                ("peak_multiplier", &line.peak_multiplier),
            ];
            row(&mut out, "surge", &said);
        }
        self.whole_rows(&mut out);
        out
    }

    /// Rows of what is of all the days.
    fn whole_rows(&self, out: &mut String) {
        for line in &self.zones {
            let per_km = line.price_per_km.map_or_else(String::new, |it| it.to_string());
            let said: [(&str, &dyn ToString); 9] = [
                ("city", &line.city.0),
                ("tier", &line.tier.name()),
                ("cell", &line.cell),
                ("lat", &line.center.lat()),
                ("lng", &line.center.lng()),
                ("trips", &line.trips),
                ("fares", &line.fares),
                ("metres", &line.metres),
                ("price_per_km", &per_km),
            ];
            row(out, "zones", &said);
        }
        for line in &self.earnings {
            let said: [(&str, &dyn ToString); 9] = [
                ("city", &line.city.0),
                ("drivers", &line.drivers),
                ("mean", &line.mean),
                ("p10", &line.p10),
                ("p25", &line.p25),
                ("p50", &line.p50),
                ("p75", &line.p75),
                ("p90", &line.p90),
                ("gini", &line.gini),
            ];
            row(out, "earnings", &said);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ridden(driver: u128, price: i64, metres: u64) -> Ridden {
        Ridden {
            ended: Millis::parse("2026-01-31T21:59:59Z").expect("a time"),
            city: CityId(1),
            tier: Tier::Economy,
            driver: DriverId::from_u128(driver),
            pickup: Point::new(30.0444, 31.2357).expect("in range"),
            price: Piasters(price),
            commission: BasisPoints(1500),
            metres,
            surged: false,
        }
    }

    fn report() -> PriceReport {
        let mut added = Added::default();
        added.add(&ridden(1, 5_000, 10_000));
        added.add(&Ridden { surged: true, ..ridden(1, 7_000, 10_000) });
        added.add(&ridden(2, 4_000, 5_000));
        // Two hours later it is the next day in Cairo; over there it is another zone.
        let ended = Millis::parse("2026-01-31T22:00:00Z").expect("a time");
        let pickup = Point::new(30.1, 31.4).expect("in range");
        added.add(&Ridden { ended, pickup, ..ridden(3, 1_500, 0) });
        let mut asking = Asking::default();
        asking.shown("2026-01-31".to_owned(), CityId(1), 0, 12);
        asking.requested("2026-01-31".to_owned(), CityId(1), 0, 3);
        asking.requested("2026-01-31".to_owned(), CityId(1), 4, 1);
        PriceReport {
            from: "2026-01-31".to_owned(),
            to: "2026-02-01".to_owned(),
            currency: "EGP",
            prices: added.prices(),
            acceptance: asking.lines(),
            surge: vec![],
            zones: added.zones(),
            earnings: added.earnings(),
        }
    }

    #[test]
    fn trips_add_up_by_day_zone_and_driver() {
        let report = report();
        let prices: Vec<String> = report
            .prices
            .iter()
            .map(|line| {
                let per_km = line.price_per_km.map(|it| it.to_string());
                let PriceLine { day, trips, fares, commission, surged, fare, .. } = line;
                format!("{day} {trips} {fares} {commission} {surged} {fare} {per_km:?}")
            })
            .collect();
        // 160 over 25 km; a trip that went nowhere has no price per kilometre.
        let expected =
            ["2026-01-31 3 160 24 1 53.33 Some(\"6.4\")", "2026-02-01 1 15 2.25 0 15 None"];
        assert_eq!(prices, expected);
        let zones: Vec<_> = report.zones.iter().map(|line| (line.trips, line.fares.0)).collect();
        assert!(zones == [(3, 16_000), (1, 1_500)] || zones == [(1, 1_500), (3, 16_000)]);
        let [earned] = &report.earnings[..] else { panic!("one city: {report:?}") };
        // 102, 34 and 12.75 after commission.
        assert_eq!(
            (earned.drivers, earned.mean, earned.p50),
            (3, Piasters(4_958), Piasters(3_400))
        );
        assert_eq!((earned.p10, earned.p90, earned.gini), (Piasters(1_700), Piasters(8_840), 0.4));
        let said: Vec<_> = report.acceptance.iter().map(|line| (line.level, line.rate)).collect();
        assert_eq!(said, [(None, Some(0.25)), (Some(SurgeLevel::VeryHigh), None)]);
    }

    #[test]
    fn every_row_has_every_column() {
        let report = report();
        let text = report.csv();
        let lines: Vec<&str> = text.lines().collect();
        let columns = |line: &str| line.split(',').count();
        assert!(lines.iter().all(|line| columns(line) == COLUMNS.len()), "{text}");
        let day = "prices,2026-01-31,1,economy,,,,,3,160,24,25000,1,53.33,6.4,,,,,,,,,,,,,,,,,";
        assert_eq!(lines[1], day);
        let dear = "acceptance,2026-01-31,1,,very_high,,,,,,,,,,,0,1,,,,,,,,,,,,,,,";
        assert_eq!(lines[4], dear);
        assert!(lines.last().is_some_and(|line| line.starts_with("earnings,,1,,,")), "{text}");
    }
}
