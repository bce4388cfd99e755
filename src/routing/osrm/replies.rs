//! What OSRM answers, read. Pure.

use base::Point;
use serde::Deserialize;
use tracing::warn;

use super::{NoWay, SNAP_MOST_M};
use crate::roads::{NoRoad, RoadRoute};

#[derive(Deserialize)]
struct Reply {
    code: String,
    #[serde(default)]
    routes: Vec<Found>,
    #[serde(default)]
    waypoints: Vec<Snapped>,
    #[serde(default)]
    durations: Vec<Vec<Option<f64>>>,
    #[serde(default)]
    sources: Vec<Snapped>,
    #[serde(default)]
    destinations: Vec<Snapped>,
}

#[derive(Deserialize)]
struct Found {
    /// Metres.
    distance: f64,
    /// Seconds.
    duration: f64,
    geometry: Geometry,
}

#[derive(Deserialize)]
struct Geometry {
    /// `[lng, lat]`
    coordinates: Vec<[f64; 2]>,
}

/// A place of the question on the road where it was put.
#[derive(Deserialize)]
struct Snapped {
    /// How far that is, metres.
    distance: f64,
}

impl Snapped {
    fn is_near(&self) -> bool {
        self.distance <= SNAP_MOST_M
    }
}

/// The way in a reply of `route`.
pub(super) fn way(body: &[u8]) -> Result<RoadRoute, NoWay> {
    let reply = read(body)?;
    if reply.waypoints.len() != 2 {
        return Err(unreadable());
    }
    if !reply.waypoints.iter().all(Snapped::is_near) {
        return Err(NoRoad::OffMap.into());
    }
    let found = reply.routes.into_iter().next().ok_or_else(unreadable)?;
    let line = found.geometry.coordinates.iter().map(|[lng, lat]| Point::new(*lat, *lng).ok());
    let line = line.collect::<Option<Vec<_>>>().ok_or_else(unreadable)?;
    let (metres, seconds) = (measure(found.distance)?, measure(found.duration)?);
    Ok(RoadRoute { metres, seconds, line })
}

/// Seconds from each of `count` places, in a reply of `table`.
pub(super) fn times(body: &[u8], count: usize) -> Result<Vec<Result<f64, NoRoad>>, NoWay> {
    let reply = read(body)?;
    let [destination] = reply.destinations.as_slice() else { return Err(unreadable()) };
    if reply.durations.len() != count || reply.sources.len() != count {
        return Err(unreadable());
    }
    let rows = reply.durations.iter().zip(&reply.sources);
    rows.map(|(row, source)| {
        let [seconds] = row.as_slice() else { return Err(unreadable()) };
        Ok(match seconds {
            _ if !source.is_near() || !destination.is_near() => Err(NoRoad::OffMap),
            Some(seconds) => Ok(measure(*seconds)?),
            None => Err(NoRoad::Unreachable),
        })
    })
    .collect()
}

fn read(body: &[u8]) -> Result<Reply, NoWay> {
    let reply: Reply = serde_json::from_slice(body).map_err(|_| unreadable())?;
    match reply.code.as_str() {
        "Ok" => Ok(reply),
        "NoSegment" => Err(NoRoad::OffMap.into()),
        "NoRoute" | "NoTable" => Err(NoRoad::Unreachable.into()),
        code => {
            warn!(code, "the routing engine refuses a question");
            Err(NoWay::Away("refused"))
        }
    }
}

fn measure(value: f64) -> Result<f64, NoWay> {
    (value.is_finite() && value >= 0.0).then_some(value).ok_or_else(unreadable)
}

const fn unreadable() -> NoWay {
    NoWay::Away("unreadable")
}
