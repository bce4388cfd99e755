//! Measured speeds: a mean per pair of zones and quarter-hour of the city's day.

use base::{Millis, Point};
use jiff::tz::TimeZone;

use crate::zones::Zones;

/// Quarter-hours of a day.
const SLOTS: usize = 96;
const HEADER: &str = "puzone,dozone,min,speed_mean,speed_stddev";
/// Anything faster, in metres a second, is no car in a city: 180 km/h.
const FASTEST_MPS: f64 = 50.0;

/// Why a table can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpeedTableError {
    #[error("zones: {0}")]
    Zones(String),
    #[error("line {line}: {problem}")]
    Line { line: usize, problem: String },
    #[error("the time zone {0} is not known")]
    TimeZone(String),
}

/// Mean road speeds between zones over the day.
#[derive(Clone, Debug)]
pub struct SpeedTable {
    zones: Zones,
    time_zone: TimeZone,
    /// Metres a second by pickup zone, drop-off zone, quarter-hour; 0 where nothing was measured.
    speeds: Vec<f32>,
}

/// The table at one moment.
pub(crate) struct Clocked<'a> {
    table: &'a SpeedTable,
    slot: usize,
}

impl SpeedTable {
    /// `csv` has the columns `puzone,dozone,min,speed_mean,speed_stddev`: zone ids, minute of the
    /// local day, kilometres a second. `zones` is GeoJSON, polygons with the property `zone_id`.
    /// `time_zone` is the IANA name of the clock that the minutes are read on.
    pub fn parse(csv: &str, zones: &str, time_zone: &str) -> Result<Self, SpeedTableError> {
        let zones = Zones::parse(zones)?;
        let time_zone = TimeZone::get(time_zone)
            .map_err(|_| SpeedTableError::TimeZone(time_zone.to_owned()))?;
        let mut speeds = vec![0.0; zones.count() * zones.count() * SLOTS];
        let mut lines = csv.lines().zip(1..);
        match lines.next() {
            Some((header, _)) if header.trim() == HEADER => {}
            _ => return Err(wrong(1, &format!("expected the header {HEADER}"))),
        }
        for (text, line) in lines.filter(|(text, _)| !text.trim().is_empty()) {
            let row = row(text, &zones).map_err(|problem| wrong(line, &problem))?;
            speeds[index(&zones, row.from, row.to, row.slot)] = row.speed_mps;
        }
        Ok(Self { zones, time_zone, speeds })
    }

    pub(crate) const fn zones(&self) -> &Zones {
        &self.zones
    }

    /// `None` outside the years of the calendar.
    pub(crate) fn at(&self, at: Millis) -> Option<Clocked<'_>> {
        let local = at.timestamp()?.to_zoned(self.time_zone.clone());
        let minute = usize::from(local.hour().unsigned_abs()) * 60
            + usize::from(local.minute().unsigned_abs());
        Some(Clocked { table: self, slot: minute / 15 })
    }
}

impl Clocked<'_> {
    /// Mean road speed in metres a second; `None` for places or pairs that the table doesn't have.
    pub(crate) fn mean_mps(&self, from: Point, to: Point) -> Option<f64> {
        let zones = &self.table.zones;
        let place = index(zones, zones.at(from)?, zones.at(to)?, self.slot);
        let speed = f64::from(self.table.speeds[place]);
        (speed > 0.0).then_some(speed)
    }
}

struct Row {
    from: usize,
    to: usize,
    slot: usize,
    speed_mps: f32,
}

fn row(text: &str, zones: &Zones) -> Result<Row, String> {
    let mut cells = text.split(',').map(str::trim);
    let mut cell = |name: &str| cells.next().ok_or_else(|| format!("no {name}"));
    let from = cell("puzone")?;
    let to = cell("dozone")?;
    let minute = cell("min")?;
    let speed = cell("speed_mean")?;
    let zone = |id: &str| zones.place_of(id).ok_or_else(|| format!("zone {id} is not on the map"));
    let minute: usize = minute.parse().map_err(|_| format!("minute {minute}"))?;
    if minute >= SLOTS * 15 {
        return Err(format!("minute {minute} is in no day"));
    }
    let km_per_s: f64 = speed.parse().map_err(|_| format!("speed {speed}"))?;
    let mps = km_per_s * 1000.0;
    if !(mps > 0.0 && mps <= FASTEST_MPS) {
        return Err(format!("speed {speed} km/s is no car's"));
    }
    Ok(Row { from: zone(from)?, to: zone(to)?, slot: minute / 15, speed_mps: mps as f32 })
}

fn index(zones: &Zones, from: usize, to: usize, slot: usize) -> usize {
    (from * zones.count() + to) * SLOTS + slot
}

fn wrong(line: usize, problem: &str) -> SpeedTableError {
    SpeedTableError::Line { line, problem: problem.to_owned() }
}
