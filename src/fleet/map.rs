//! Cities and fences as snapshots, replaced whole when the tables change.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use base::{CityId, Fault, Point};
use geo::{FenceKind, Fences};
use uuid::Uuid;

use crate::fleet::Fleet;
use crate::model::{City, FleetError};
use crate::store;

#[derive(Default)]
pub(crate) struct CityMap {
    cities: ArcSwap<BTreeMap<CityId, Arc<City>>>,
    fences: ArcSwap<Fences>,
    /// One reads at a time, so that nobody puts down what he read before another one did.
    turn: tokio::sync::Mutex<()>,
}

impl CityMap {
    pub(crate) fn replace(&self, cities: Vec<City>, fences: Fences) {
        let cities = cities.into_iter().map(|city| (city.id, Arc::new(city))).collect();
        self.cities.store(Arc::new(cities));
        self.fences.store(Arc::new(fences));
    }

    pub(crate) fn fences(&self) -> Guard<Arc<Fences>> {
        self.fences.load()
    }

    /// The airport whose fence holds the place; of several always the same one.
    pub(crate) fn airport_at(&self, at: Point) -> Option<Uuid> {
        let fences = self.fences.load();
        let airports = fences.at(at).filter(|fence| fence.kind == FenceKind::Airport);
        airports.map(|fence| fence.id).min()
    }

    pub(crate) fn city(&self, id: CityId) -> Option<Arc<City>> {
        self.cities.load().get(&id).cloned()
    }

    /// The city whose circle holds the place; of several the one whose centre is nearest.
    pub(crate) fn city_of(&self, at: Point) -> Option<Arc<City>> {
        let cities = self.cities.load();
        let near = cities.values().map(|city| (city.center.distance_m(at), city));
        near.filter(|(metres, city)| *metres <= f64::from(city.radius_m))
            .min_by(|one, two| one.0.total_cmp(&two.0))
            .map(|(_, city)| Arc::clone(city))
    }

    fn pickup_allowed(&self, at: Point) -> Result<Arc<City>, FleetError> {
        let fences = self.fences.load();
        let city = self.city_of(at).ok_or(FleetError::OutsideServiceArea)?;
        if let Some(zone) = fences.at(at).find(|fence| fence.kind == FenceKind::Restricted) {
            return Err(FleetError::RestrictedZone { zone: zone.name.clone() });
        }
        let of_city =
            |fence: &&geo::Fence| fence.kind == FenceKind::ServiceArea && fence.city == city.id;
        let drawn = fences.has(city.id, FenceKind::ServiceArea);
        if drawn && fences.at(at).find(of_city).is_none() {
            return Err(FleetError::OutsideServiceArea);
        }
        Ok(city)
    }
}

impl Fleet {
    /// Reads cities and fences again; what was committed before is in force after.
    pub async fn reload_map(&self) -> Result<(), Fault> {
        let inner = self.inner();
        let _turn = inner.map.turn.lock().await;
        let (cities, fences) = store::map(&inner.db).await?;
        inner.map.replace(cities, Fences::new(fences));
        inner.close_queues(inner.clock.now());
        Ok(())
    }

    pub fn fences(&self) -> Guard<Arc<Fences>> {
        self.inner().map.fences()
    }

    pub fn cities(&self) -> Vec<Arc<City>> {
        self.inner().map.cities.load().values().cloned().collect()
    }

    pub fn city(&self, id: CityId) -> Option<Arc<City>> {
        self.inner().map.city(id)
    }

    /// The city whose circle holds the place; of several the one whose centre is nearest.
    pub fn city_of(&self, at: Point) -> Option<Arc<City>> {
        self.inner().map.city_of(at)
    }

    /// May a trip start here? A city without service areas serves its whole circle.
    pub fn pickup_allowed(&self, at: Point) -> Result<Arc<City>, FleetError> {
        self.inner().map.pickup_allowed(at)
    }
}

#[cfg(test)]
mod tests {
    use base::Piasters;
    use geo::Fence;

    use super::*;
    use crate::CancelTerms;

    fn at(lat: f64, lng: f64) -> Point {
        Point::new(lat, lng).expect("a place of the test")
    }

    fn city(id: i16, lat: f64, radius_m: u32) -> City {
        City {
            id: CityId(id),
            name: format!("city {id}"),
            time_zone: "Africa/Cairo".to_owned(),
            center: at(lat, 31.0),
            radius_m,
            search_radius_m: 5000,
            cooldown_s: 60,
            start_pin: false,
            cancel: CancelTerms {
                free_s: 120,
                fee: Piasters(1500),
                no_show_wait_s: 300,
                no_show_fee: Piasters(1500),
            },
            cancel_by_tier: Vec::new(),
            rider_due_limit: Piasters(5000),
            booking_due_limit: Piasters::ZERO,
            driver_debt_limit: Piasters(20_000),
            cash_step: Piasters(50),
        }
    }

    fn fence(kind: FenceKind, south: f64, north: f64) -> Fence {
        let corners = vec![at(south, 30.9), at(south, 31.1), at(north, 31.1), at(north, 30.9)];
        let (id, name) = (Uuid::from_u128(1), format!("{kind:?}"));
        Fence { id, city: CityId(1), kind, name, corners }
    }

    #[test]
    fn a_pickup_is_refused_with_the_reason() {
        let map = CityMap::default();
        let check = |lat: f64, expected: &str| {
            let found = match map.pickup_allowed(at(lat, 31.0)) {
                Ok(city) => city.name.clone(),
                Err(error) => error.to_string(),
            };
            assert_eq!(found, expected, "{lat}");
        };
        check(30.0, "the pickup is outside the service area");
        map.replace(vec![city(1, 30.0, 50_000), city(2, 30.6, 50_000)], Fences::default());
        check(30.0, "city 1");
        check(30.31, "city 2"); // in both circles, nearer to the second's centre
        check(32.0, "the pickup is outside the service area");
        let fences = vec![
            fence(FenceKind::ServiceArea, 29.9, 30.1),
            fence(FenceKind::Restricted, 30.0, 30.05),
        ];
        map.replace(vec![city(1, 30.0, 50_000), city(2, 30.6, 50_000)], Fences::new(fences));
        check(29.95, "city 1");
        check(30.02, "pickups are not allowed in Restricted");
        check(30.2, "the pickup is outside the service area");
        check(30.5, "city 2");
    }
}
