//! What lies under the picture of a city: its circle, its zones, its fences, as GeoJSON (RFC 7946).

use std::sync::Arc;

use base::{CityId, Point, Problem};
use fleet::City;
use geo::FenceKind;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Flows;

/// A city as it is drawn.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CityMapView {
    pub city: CityView,
    /// Every city there is, to choose from.
    pub cities: Vec<CityName>,
    pub zones: Features,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CityView {
    pub id: CityId,
    pub name: String,
    /// IANA name.
    pub time_zone: String,
    pub center: Point,
    /// Metres.
    pub radius: u32,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct CityName {
    pub id: CityId,
    pub name: String,
}

/// A GeoJSON feature collection of polygons.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Features {
    /// `FeatureCollection`.
    pub r#type: &'static str,
    pub features: Vec<Feature>,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Feature {
    /// `Feature`.
    pub r#type: &'static str,
    pub properties: FeatureFacts,
    pub geometry: Shape,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct FeatureFacts {
    /// `zone`, `service_area`, `restricted`, `airport_pickup` or `surge_zone`.
    pub kind: &'static str,
    pub name: String,
}

#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Shape {
    /// `MultiPolygon`.
    pub r#type: &'static str,
    /// Polygons of rings of [lng, lat].
    pub coordinates: Vec<Vec<Vec<[f64; 2]>>>,
}

impl Flows {
    /// The map of `city`, or of the city where most drivers work.
    pub fn city_map(&self, city: Option<CityId>) -> Result<CityMapView, Problem> {
        let city = self.watched_city(city)?;
        let name = |city: Arc<City>| CityName { id: city.id, name: city.name.clone() };
        let mut features = self.zones_of(&city);
        features.extend(self.fences_of(&city));
        Ok(CityMapView {
            city: CityView {
                id: city.id,
                name: city.name.clone(),
                time_zone: city.time_zone.clone(),
                center: city.center,
                radius: city.radius_m,
            },
            cities: self.fleet.cities().into_iter().map(name).collect(),
            zones: Features { r#type: "FeatureCollection", features },
        })
    }

    fn zones_of(&self, city: &City) -> Vec<Feature> {
        let here = |zone: &routing::ZoneShape| {
            let corner = zone.polygons.iter().flatten().flatten().next();
            let corner = corner.and_then(|[lng, lat]| Point::new(*lat, *lng).ok());
            corner.is_some_and(|at| at.distance_m(city.center) <= f64::from(city.radius_m))
        };
        let zones = self.router.zones().into_iter().filter(here);
        zones.map(|zone| feature("zone", zone.name, zone.polygons)).collect()
    }

    fn fences_of(&self, city: &City) -> Vec<Feature> {
        let fences = self.fleet.fences();
        let here = fences.all().filter(|fence| fence.city == city.id);
        let shown = here.map(|fence| {
            let mut ring: Vec<[f64; 2]> =
                fence.corners.iter().map(|c| [c.lng(), c.lat()]).collect();
            ring.extend(ring.first().copied());
            feature(kind_of(fence.kind), fence.name.clone(), vec![vec![ring]])
        });
        shown.collect()
    }
}

fn feature(kind: &'static str, name: String, coordinates: Vec<Vec<Vec<[f64; 2]>>>) -> Feature {
    Feature {
        r#type: "Feature",
        properties: FeatureFacts { kind, name },
        geometry: Shape { r#type: "MultiPolygon", coordinates },
    }
}

const fn kind_of(kind: FenceKind) -> &'static str {
    match kind {
        FenceKind::ServiceArea => "service_area",
        FenceKind::Restricted => "restricted",
        FenceKind::Airport => "airport_pickup",
        FenceKind::Surge => "surge_zone",
    }
}
