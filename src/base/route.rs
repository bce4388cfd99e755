//! A way between places: what `routing` finds and `pricing` charges for.

/// Which model answered; figures of different sources are not comparable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RouteSource {
    /// Air distance times a detour factor, at a default speed.
    GreatCircle,
    /// The same distance at the measured speed between the zones at that time of day.
    SpeedTable,
    /// Along the streets of a map.
    Roads,
}

/// A way from the pickup over the stops to the destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Road distance, metres.
    pub distance_m: u32,
    /// Driving time, seconds.
    pub duration_s: u32,
    /// Encoded polyline (precision 5); `None` where the source knows no road.
    pub polyline: Option<String>,
    pub source: RouteSource,
}
