//! Answers ways and arrival times from the best model at hand.

use std::sync::Arc;

use base::{Millis, Point, Route, RouteSource};

use crate::speeds::{Clocked, SpeedTable};
use crate::zones::ZoneShape;

/// Roads are longer than the air line by this factor, on average over a city.
const DETOUR: f64 = 1.3;
/// Mean speed of city traffic where nothing better is known: 24 km/h, in metres a second.
const DEFAULT_MPS: f64 = 24.0 / 3.6;

/// Finds ways. Cheap to clone.
#[derive(Clone, Default)]
pub struct Router {
    speeds: Option<Arc<SpeedTable>>,
}

impl Router {
    /// Without a table every way is driven at the default speed.
    pub fn new(speeds: Option<SpeedTable>) -> Self {
        Self { speeds: speeds.map(Arc::new) }
    }

    /// The way from `from` over `via` to `to`, started at `at`.
    // A road engine answers over the network; callers already wait for it here.
    pub async fn route(&self, from: Point, via: &[Point], to: Point, at: Millis) -> Route {
        let clocked = self.clocked(at);
        let (mut metres, mut seconds) = (0.0, 0.0);
        let mut source = RouteSource::SpeedTable;
        let mut here = from;
        for next in via.iter().copied().chain([to]) {
            let leg = leg(clocked.as_ref(), here, next);
            metres += leg.metres;
            seconds += leg.seconds;
            if leg.source == RouteSource::GreatCircle {
                source = RouteSource::GreatCircle;
            }
            here = next;
        }
        Route { distance_m: whole(metres), duration_s: whole(seconds), polyline: None, source }
    }

    /// Seconds to drive from `from` to `to`, started at `at`. A few microseconds at most: for
    /// ranking candidates.
    pub fn eta_s(&self, from: Point, to: Point, at: Millis) -> u32 {
        whole(leg(self.clocked(at).as_ref(), from, to).seconds)
    }

    /// The zones whose speeds are known; none without a table.
    pub fn zones(&self) -> Vec<ZoneShape> {
        self.speeds.as_ref().map(|table| table.zones().shapes()).unwrap_or_default()
    }

    fn clocked(&self, at: Millis) -> Option<Clocked<'_>> {
        self.speeds.as_ref().and_then(|table| table.at(at))
    }
}

struct LegTime {
    metres: f64,
    seconds: f64,
    source: RouteSource,
}

/// The table's speeds are road distance over time, so they apply to the road distance.
fn leg(speeds: Option<&Clocked<'_>>, from: Point, to: Point) -> LegTime {
    let metres = from.distance_m(to) * DETOUR;
    match speeds.and_then(|speeds| speeds.mean_mps(from, to)) {
        Some(speed) => LegTime { metres, seconds: metres / speed, source: RouteSource::SpeedTable },
        None => LegTime { metres, seconds: metres / DEFAULT_MPS, source: RouteSource::GreatCircle },
    }
}

fn whole(value: f64) -> u32 {
    // At most half of the Earth per leg: far inside a u32; the cast saturates anyway.
    value.round() as u32
}
