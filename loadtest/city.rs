//! A city to drive in: zones, demand and speeds.
//!
//! Owns the data of a scenario once it is loaded, and answers where to start, where to go and how
//! fast. Does not know what a trip is. Two scenarios build one: `manhattan` from recorded data,
//! `cairo` from hot spots at real landmarks.

use std::fmt;
use std::str::FromStr;

use anyhow::{Result, bail};
use rand::Rng;

use crate::demand::{Demand, QUARTERS};
use crate::geometry::{Area, First, Path, Place};

/// Ratio of a way through a city to the air line, where no grid says better.
const DETOUR: f64 = 1.3;

/// A part of the city between which demand and speeds are known.
#[derive(Clone, Debug)]
pub struct Zone {
    pub name: String,
    pub area: Area,
    pub centre: Place,
}

/// How fast traffic is.
#[derive(Clone, Debug)]
pub enum Speeds {
    /// Mean speed per (from, to, quarter-hour of the day), km/h, in that order of indices.
    Table(Vec<f32>),
    /// Mean speed per quarter-hour of the day, km/h.
    Daily(Vec<f32>),
}

/// Everything a scenario knows.
#[derive(Clone, Debug)]
pub struct City {
    pub name: &'static str,
    pub zones: Vec<Zone>,
    pub demand: Demand,
    pub speeds: Speeds,
    /// How far the street grid is turned from north, degrees clockwise.
    pub grid_deg: f64,
}

impl City {
    pub fn load(scenario: Scenario) -> Result<Self> {
        match scenario {
            Scenario::Manhattan => crate::manhattan::load(),
            Scenario::Cairo => Ok(crate::cairo::load()),
        }
    }

    /// A random place in a zone, to seven decimals.
    pub fn draw(&self, zone: usize, rng: &mut impl Rng) -> Place {
        self.zones[zone].area.draw(rng).rounded()
    }

    /// A random place where somebody is likely to want a ride.
    pub fn draw_pickup(&self, slot: usize, rng: &mut impl Rng) -> Place {
        let zone = self.demand.pair(slot, rng).map_or(0, |(from, _)| from);
        self.draw(zone, rng)
    }

    /// The zone that holds `place`, else the one whose centre is nearest.
    pub fn zone_of(&self, place: Place) -> usize {
        let away = |zone: &Zone| zone.centre.distance_m(place);
        self.zones
            .iter()
            .position(|zone| zone.area.contains(place))
            .or_else(|| {
                let zones = self.zones.iter().enumerate();
                zones.min_by(|a, b| away(a.1).total_cmp(&away(b.1))).map(|(index, _)| index)
            })
            .unwrap_or(0)
    }

    /// Mean speed of a ride that starts in the given quarter-hour of the day, km/h of city time.
    pub fn speed_kmh(&self, from: Place, to: Place, quarter: usize) -> f64 {
        match &self.speeds {
            Speeds::Table(_) => self.kmh_between(self.zone_of(from), self.zone_of(to), quarter),
            // No zone matters.
            Speeds::Daily(_) => self.kmh_between(0, 0, quarter),
        }
    }

    /// The same for a ride from one zone to another.
    pub fn kmh_between(&self, from: usize, to: usize, quarter: usize) -> f64 {
        let quarter = quarter % QUARTERS;
        let kmh = match &self.speeds {
            Speeds::Table(table) => table[(from * self.zones.len() + to) * QUARTERS + quarter],
            Speeds::Daily(day) => day[quarter],
        };
        f64::from(kmh)
    }

    /// A way through the streets.
    pub fn path(&self, from: Place, to: Place, rng: &mut impl Rng) -> Path {
        Path::along_grid(from, to, self.grid_deg, First::draw(rng))
    }

    /// Names of the zones where most trips begin.
    pub fn busiest(&self, slot: usize, most: usize) -> String {
        let zones = self.demand.busiest(slot);
        let names: Vec<&str> =
            zones.iter().take(most).map(|(zone, _)| self.zones[*zone].name.as_str()).collect();
        names.join(", ")
    }

    /// Mean time of a trip in a slot, seconds of city time, from a sample of draws.
    pub fn mean_trip_s(&self, slot: usize, rng: &mut impl Rng) -> f64 {
        const SAMPLE: usize = 300;
        let mut total = 0.0;
        for _ in 0..SAMPLE {
            let Some((from, to)) = self.demand.pair(slot, rng) else { return 600.0 };
            let (from, to) = (self.draw(from, rng), self.draw(to, rng));
            let metres = from.distance_m(to) * DETOUR;
            total += metres / (self.speed_kmh(from, to, slot) / 3.6);
        }
        total / SAMPLE as f64
    }
}

/// Which city, and with what demand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// 62.4 million real rides of 2018, per quarter-hour and pair of zones, with their speeds.
    Manhattan,
    /// Hot spots at real landmarks of Cairo and Giza, with a daily curve of demand.
    Cairo,
}

impl Scenario {
    /// The server's number of the city.
    pub const fn city(self) -> u16 {
        match self {
            Self::Cairo => 1,
            Self::Manhattan => 2,
        }
    }
}

/// A moment of the city's week: the day of the table and the quarter-hour in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    pub day: usize,
    pub quarter: usize,
}

const DAYS: [&str; 3] = ["Mon", "Tue", "Wed"];

impl Start {
    pub const fn slot(self) -> usize {
        self.day * QUARTERS + self.quarter
    }
}

impl FromStr for Start {
    type Err = anyhow::Error;

    /// `Tue 18:00`: the recorded days are Mon, Tue and Wed.
    fn from_str(text: &str) -> Result<Self> {
        let Some((day, time)) = text.trim().split_once(' ') else {
            bail!("expected a day and a time like \"Tue 18:00\"");
        };
        let Some(day) = DAYS.iter().position(|name| name.eq_ignore_ascii_case(day)) else {
            bail!("demand is recorded for Mon, Tue and Wed, not \"{day}\"");
        };
        let (hour, minute) = time.split_once(':').unwrap_or((time, "0"));
        let (hour, minute): (usize, usize) = (hour.parse()?, minute.parse()?);
        if hour > 23 || minute > 59 {
            bail!("\"{time}\" is no time of day");
        }
        Ok(Self { day, quarter: hour * 4 + minute / 15 })
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&clock_text(self.slot() as f64 * crate::demand::QUARTER_S))
    }
}

/// `Tue 18:07` from seconds since the table's Monday, midnight.
pub fn clock_text(seconds: f64) -> String {
    let minutes = (seconds / 60.0) as usize;
    let day = DAYS[minutes / 1_440 % DAYS.len()];
    format!("{day} {:02}:{:02}", minutes / 60 % 24, minutes % 60)
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn a_start_is_read_and_shown() {
        let check = |text: &str, expected: &str| {
            let shown = text.parse::<Start>().map_or_else(|e| e.to_string(), |s| s.to_string());
            assert_eq!(shown, expected, "{text}");
        };
        check("Tue 18:00", "Tue 18:00");
        check("wed 07:44", "Wed 07:30");
        check("Sun 10:00", "demand is recorded for Mon, Tue and Wed, not \"Sun\"");
        check("18:00", "expected a day and a time like \"Tue 18:00\"");
        check("Mon 25:00", "\"25:00\" is no time of day");
    }

    #[test]
    fn both_cities_have_trips_inside_their_zones_at_sane_speeds() {
        let mut rng = StdRng::seed_from_u64(4);
        for scenario in [Scenario::Manhattan, Scenario::Cairo] {
            let city = City::load(scenario).expect("the data is good");
            for slot in [8, 72, QUARTERS + 72] {
                assert!(city.demand.expected(slot) > 0.0);
                let (from, to) = city.demand.pair(slot, &mut rng).expect("there is demand");
                let (from, to) = (city.draw(from, &mut rng), city.draw(to, &mut rng));
                let speed = city.speed_kmh(from, to, slot);
                assert!((3.0..90.0).contains(&speed), "{scenario:?} {speed} km/h");
                let mean = city.mean_trip_s(slot, &mut rng);
                assert!((120.0..4_000.0).contains(&mean), "{scenario:?} {mean} s");
            }
        }
    }
}
