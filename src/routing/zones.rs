//! Which zone a place is in: polygons of a GeoJSON file.

use base::{Point, haversine_m};
use serde::Deserialize;
use serde_json::Value;

use crate::speeds::SpeedTableError;

/// A place on a river or a bridge belongs to the nearest zone, up to this far from its edge.
const REACH_M: f64 = 2_000.0;

/// Zones in the order of the file.
#[derive(Clone, Debug)]
pub(crate) struct Zones {
    zones: Vec<Zone>,
}

#[derive(Clone, Debug)]
struct Zone {
    id: String,
    name: String,
    /// Each a polygon: the outer ring, then its holes.
    polygons: Vec<Vec<Ring>>,
    low: [f64; 2],
    high: [f64; 2],
}

/// A zone as it is drawn.
#[derive(Clone, Debug)]
pub struct ZoneShape {
    pub name: String,
    /// Each a polygon: the outer ring, then its holes; corners as [lng, lat].
    pub polygons: Vec<Vec<Vec<[f64; 2]>>>,
}

/// Corners as [lng, lat], as GeoJSON has them.
type Ring = Vec<[f64; 2]>;

#[derive(Deserialize)]
struct Collection {
    features: Vec<Feature>,
}

#[derive(Deserialize)]
struct Feature {
    properties: Properties,
    geometry: Geometry,
}

#[derive(Deserialize)]
struct Properties {
    zone_id: Value,
    zone_name: Option<String>,
}

#[derive(Deserialize)]
#[serde(tag = "type", content = "coordinates")]
enum Geometry {
    Polygon(Vec<Ring>),
    MultiPolygon(Vec<Vec<Ring>>),
}

impl Zones {
    /// Reads a feature collection of polygons with the property `zone_id` (text or number); a
    /// `zone_name` is what people call it.
    pub(crate) fn parse(geojson: &str) -> Result<Self, SpeedTableError> {
        let file: Collection = serde_json::from_str(geojson)
            .map_err(|error| SpeedTableError::Zones(error.to_string()))?;
        let zones: Vec<Zone> =
            file.features.into_iter().map(zone).collect::<Result<_, SpeedTableError>>()?;
        if zones.is_empty() {
            return Err(SpeedTableError::Zones("no zones".to_owned()));
        }
        Ok(Self { zones })
    }

    pub(crate) fn shapes(&self) -> Vec<ZoneShape> {
        let shape =
            |zone: &Zone| ZoneShape { name: zone.name.clone(), polygons: zone.polygons.clone() };
        self.zones.iter().map(shape).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.zones.len()
    }

    /// Place in the list of the zone with this id.
    pub(crate) fn place_of(&self, id: &str) -> Option<usize> {
        self.zones.iter().position(|zone| zone.id == id)
    }

    /// The zone that holds the place, else the nearest one within reach.
    pub(crate) fn at(&self, at: Point) -> Option<usize> {
        let inside = self.zones.iter().position(|zone| zone.holds(at));
        inside.or_else(|| self.nearest(at))
    }

    fn nearest(&self, at: Point) -> Option<usize> {
        let mut best = (REACH_M, None);
        for (place, zone) in self.zones.iter().enumerate() {
            if zone.box_distance_m(at) > best.0 {
                continue;
            }
            let distance = zone.edge_distance_m(at);
            if distance <= best.0 {
                best = (distance, Some(place));
            }
        }
        best.1
    }
}

fn zone(feature: Feature) -> Result<Zone, SpeedTableError> {
    let id = match feature.properties.zone_id {
        Value::String(text) => text,
        Value::Number(number) => number.to_string(),
        other => return Err(SpeedTableError::Zones(format!("zone_id {other} is no id"))),
    };
    let polygons = match feature.geometry {
        Geometry::Polygon(rings) => vec![rings],
        Geometry::MultiPolygon(polygons) => polygons,
    };
    let corners = || polygons.iter().flatten().flatten();
    if corners().any(|[lng, lat]| Point::new(*lat, *lng).is_err()) || corners().count() < 3 {
        return Err(SpeedTableError::Zones(format!("zone {id} is no polygon")));
    }
    let low = corners().fold([f64::MAX; 2], |low, c| [low[0].min(c[0]), low[1].min(c[1])]);
    let high = corners().fold([f64::MIN; 2], |high, c| [high[0].max(c[0]), high[1].max(c[1])]);
    let name = feature.properties.zone_name.unwrap_or_else(|| id.clone());
    Ok(Zone { id, name, polygons, low, high })
}

impl Zone {
    fn holds(&self, at: Point) -> bool {
        let (x, y) = (at.lng(), at.lat());
        if x < self.low[0] || x > self.high[0] || y < self.low[1] || y > self.high[1] {
            return false;
        }
        // Even-odd over all rings of a polygon: a hole takes away what its outer ring gave.
        self.polygons.iter().any(|rings| {
            rings.iter().flat_map(edges).filter(|edge| crosses(*edge, x, y)).count() % 2 == 1
        })
    }

    /// Never more than the distance to the zone itself.
    fn box_distance_m(&self, at: Point) -> f64 {
        let lng = at.lng().clamp(self.low[0], self.high[0]);
        let lat = at.lat().clamp(self.low[1], self.high[1]);
        // A box is not convex on the sphere; a city's box is, but for centimetres.
        haversine_m(at.lat(), at.lng(), lat, lng) * 0.999
    }

    fn edge_distance_m(&self, at: Point) -> f64 {
        let rings = self.polygons.iter().flatten();
        rings.flat_map(edges).map(|edge| distance_to_edge_m(at, edge)).fold(f64::INFINITY, f64::min)
    }
}

/// The sides of a ring, closed or not.
fn edges(ring: &Ring) -> impl Iterator<Item = ([f64; 2], [f64; 2])> {
    let next = ring.iter().cycle().skip(1);
    ring.iter().copied().zip(next.copied())
}

/// Does a ray from the place to the east cross this side?
fn crosses(([x1, y1], [x2, y2]): ([f64; 2], [f64; 2]), x: f64, y: f64) -> bool {
    (y1 > y) != (y2 > y) && x < (x2 - x1) * (y - y1) / (y2 - y1) + x1
}

/// Distance to a short side, on the plane that touches the Earth there.
fn distance_to_edge_m(at: Point, ([x1, y1], [x2, y2]): ([f64; 2], [f64; 2])) -> f64 {
    let shrink = at.lat().to_radians().cos();
    let (ax, ay) = ((x1 - at.lng()) * shrink, y1 - at.lat());
    let (bx, by) = ((x2 - at.lng()) * shrink, y2 - at.lat());
    let (dx, dy) = (bx - ax, by - ay);
    let length = dx * dx + dy * dy;
    let along = if length > 0.0 { (-(ax * dx + ay * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
    (ax + along * dx).hypot(ay + along * dy).to_radians() * base::EARTH_RADIUS_M
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A square with a hole, a second square to its east, and one in two parts.
    const SQUARES: &str = r#"{"type":"FeatureCollection","features":[
      {"type":"Feature","properties":{"zone_id":"a"},"geometry":{"type":"Polygon","coordinates":[
        [[31.0,30.0],[31.1,30.0],[31.1,30.1],[31.0,30.1],[31.0,30.0]],
        [[31.04,30.04],[31.06,30.04],[31.06,30.06],[31.04,30.06],[31.04,30.04]]]}},
      {"type":"Feature","properties":{"zone_id":7},"geometry":{"type":"Polygon","coordinates":[
        [[31.1,30.0],[31.2,30.0],[31.2,30.1],[31.1,30.1],[31.1,30.0]]]}},
      {"type":"Feature","properties":{"zone_id":"c"},
       "geometry":{"type":"MultiPolygon","coordinates":[
        [[[31.3,30.0],[31.4,30.0],[31.4,30.1],[31.3,30.1]]],
        [[[31.5,30.0],[31.6,30.0],[31.6,30.1],[31.5,30.1]]]]}}]}"#;

    #[test]
    fn a_place_belongs_to_the_zone_that_holds_it_or_the_nearest() {
        let zones = Zones::parse(SQUARES).expect("zones");
        let check = |lat, lng, expected: Option<&str>| {
            let at = zones.at(Point::new(lat, lng).expect("in range"));
            assert_eq!(at, expected.and_then(|id| zones.place_of(id)), "{lat} {lng}");
        };
        check(30.02, 31.02, Some("a"));
        check(30.02, 31.15, Some("7"));
        check(30.05, 31.35, Some("c"));
        check(30.05, 31.55, Some("c"));
        // In the hole, on the river, and too far out.
        check(30.05, 31.05, Some("a"));
        check(30.05, 31.21, Some("7"));
        check(30.05, 31.29, Some("c"));
        check(29.99, 31.02, Some("a"));
        check(30.05, 31.25, None);
        check(31.0, 31.0, None);
    }

    #[test]
    fn a_file_that_holds_no_zones_is_refused() {
        let feature = |properties: &str, geometry: &str| {
            format!(r#"{{"features":[{{"properties":{properties},"geometry":{geometry}}}]}}"#)
        };
        let id = r#"{"zone_id":1}"#;
        let empty = r#"{"type":"Polygon","coordinates":[]}"#;
        for wrong in [
            String::new(),
            "{}".to_owned(),
            r#"{"features":[]}"#.to_owned(),
            feature("{}", empty),
            feature(id, empty),
            feature(id, r#"{"type":"Point","coordinates":[1,2]}"#),
            feature(id, r#"{"type":"Polygon","coordinates":[[[1,2],[1,95],[3,4]]]}"#),
        ] {
            assert!(Zones::parse(&wrong).is_err(), "{wrong}");
        }
    }
}
