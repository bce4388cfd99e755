//! Manhattan as it was in 2018: recorded demand, recorded speeds, taxi zones.
//!
//! Owns the reading of the three data files (`data/`, Apache-2.0, compiled in so that the program
//! runs from anywhere). Counts are over a year of Mondays, Tuesdays and Wednesdays, 52 each, so
//! an expected number is the count divided by 52 (test: `the_year_adds_up`).

use std::collections::HashMap;
use std::io::Read;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::city::{City, Speeds, Zone};
use crate::demand::{Demand, QUARTERS, Row};
use crate::geometry::{Area, Place};

const TRIPS: &[u8] = include_bytes!("data/manhattan_2018_trips_mon_wed.csv.xz");
const SPEEDS: &[u8] = include_bytes!("data/manhattan_2018_speeds.csv.xz");
const ZONES: &str = include_str!("data/manhattan_zones.geojson");

/// Days of each kind in the year that was counted.
const WEEKS: f64 = 52.0;
const DAYS: usize = 3;
/// The avenues run 29° east of north.
const GRID_DEG: f64 = 29.0;
/// Speed where the record has none, km/h.
const USUAL_KMH: f32 = 16.0;

pub fn load() -> Result<City> {
    let (zones, index) = zones().context("the zones of Manhattan")?;
    let demand = Demand::new(DAYS, trips(&index).context("the trips of Manhattan")?);
    let speeds = speeds(&index).context("the speeds of Manhattan")?;
    Ok(City { name: "Manhattan", zones, demand, speeds, grid_deg: GRID_DEG })
}

#[derive(Deserialize)]
struct Collection {
    features: Vec<Feature>,
}

#[derive(Deserialize)]
struct Feature {
    geometry: Geometry,
    properties: Properties,
}

#[derive(Deserialize)]
struct Geometry {
    coordinates: Vec<Vec<(f64, f64)>>,
}

#[derive(Deserialize)]
struct Properties {
    zone_id: String,
    zone_name: String,
}

/// The zones, and the index of each by the number it has in the tables.
fn zones() -> Result<(Vec<Zone>, HashMap<u32, u8>)> {
    let collection: Collection = serde_json::from_str(ZONES)?;
    let (mut zones, mut index) = (Vec::new(), HashMap::new());
    for feature in collection.features {
        let ring = feature.geometry.coordinates.into_iter().next().context("a zone has no line")?;
        ensure!(ring.len() >= 3, "zone {} has no area", feature.properties.zone_name);
        let corners = ring.into_iter().map(|(lng, lat)| Place::new(lat, lng)).collect();
        let area = Area::Polygon(corners);
        index.insert(feature.properties.zone_id.parse()?, u8::try_from(zones.len())?);
        zones.push(Zone { name: feature.properties.zone_name, centre: area.centre(), area });
    }
    Ok((zones, index))
}

fn trips(index: &HashMap<u32, u8>) -> Result<Vec<Row>> {
    let text = unpacked(TRIPS)?;
    let mut rows = Vec::with_capacity(1_000_000);
    for line in text.lines().skip(1) {
        let mut cells = line.split(',').map(str::parse::<u32>);
        let mut cell = || cells.next().context("a line is short")?.context("a number is bad");
        let (day, quarter) = (cell()? as usize, cell()? as usize);
        let (from, to, count) = (cell()?, cell()?, cell()?);
        ensure!(day < DAYS && quarter < QUARTERS, "no such quarter-hour: {line}");
        // A zone that is not drawn can't be a place to stand in.
        if let (Some(from), Some(to)) = (index.get(&from), index.get(&to)) {
            let expected = f64::from(count) / WEEKS;
            rows.push(Row { slot: day * QUARTERS + quarter, from: *from, to: *to, expected });
        }
    }
    Ok(rows)
}

fn speeds(index: &HashMap<u32, u8>) -> Result<Speeds> {
    let text = unpacked(SPEEDS)?;
    let zones = index.len();
    let mut table = vec![USUAL_KMH; zones * zones * QUARTERS];
    for line in text.lines().skip(1) {
        let mut cells = line.split(',');
        let mut cell = || cells.next().context("a line is short");
        let (from, to): (u32, u32) = (cell()?.parse()?, cell()?.parse()?);
        let (minute, km_per_s): (usize, f32) = (cell()?.parse()?, cell()?.parse()?);
        let (Some(from), Some(to)) = (index.get(&from), index.get(&to)) else { continue };
        let pair = usize::from(*from) * zones + usize::from(*to);
        if minute < QUARTERS * 15 && km_per_s > 0.0 {
            table[pair * QUARTERS + minute / 15] = km_per_s * 3_600.0;
        }
    }
    Ok(Speeds::Table(table))
}

fn unpacked(packed: &[u8]) -> Result<String> {
    let mut text = String::new();
    liblzma::read::XzDecoder::new(packed).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_year_adds_up() {
        let (zones, index) = zones().expect("zones read");
        assert_eq!(zones.len(), 61);
        let rows = trips(&index).expect("trips read");
        assert_eq!(rows.len(), 953_486, "every line of the table counts");
        let year: f64 = rows.iter().map(|row| row.expected * WEEKS).sum();
        assert!((62.3e6..62.5e6).contains(&year), "{year}");
        let demand = Demand::new(DAYS, rows);
        let slots: f64 = (0..DAYS * QUARTERS).map(|slot| demand.expected(slot)).sum();
        assert!((slots * WEEKS - year).abs() < 1.0);
    }

    #[test]
    fn every_zone_holds_its_centre_or_a_draw() {
        use rand::SeedableRng;
        let mut rng = rand::rngs::StdRng::seed_from_u64(2);
        let (zones, _) = zones().expect("zones read");
        for zone in &zones {
            assert!(zone.area.contains(zone.area.draw(&mut rng)), "{}", zone.name);
        }
    }
}
