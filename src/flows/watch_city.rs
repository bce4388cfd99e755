//! Operators look at a whole city at work.

use std::sync::Arc;

use base::{CityId, Millis, Problem, TripId};
use fleet::{City, OnDuty};
use trips::{PulseView, Status, Trip};

use crate::Flows;

/// A city at one moment: who works, which trips live, how it went so far.
#[derive(Clone, Debug)]
pub struct Scene {
    pub at: Millis,
    pub drivers: Vec<OnDuty>,
    pub trips: Vec<Arc<Trip>>,
    /// Those that ended in the last seconds, and how.
    pub ended: Vec<(TripId, Status)>,
    pub pulse: PulseView,
}

impl Flows {
    /// Reads memory only; costs a walk over all drivers and all live trips.
    pub fn scene(&self, city: CityId) -> Scene {
        Scene {
            at: self.clock.now(),
            drivers: self.fleet.on_duty(city),
            trips: self.trips.live_in(city),
            ended: self.trips.ended_lately(city),
            pulse: self.trips.pulse(city),
        }
    }

    /// The city asked for; without one, the city where most drivers work.
    pub fn watched_city(&self, asked: Option<CityId>) -> Result<Arc<City>, Problem> {
        if let Some(id) = asked {
            return self.fleet.city(id).ok_or_else(Problem::not_found);
        }
        let counts = self.fleet.counts();
        let working = |city: &Arc<City>| -> u32 {
            counts.iter().filter(|count| count.city == city.id).map(|count| count.drivers).sum()
        };
        // Of equals the one with the lowest number.
        let cities = self.fleet.cities().into_iter().rev();
        cities.max_by_key(working).ok_or_else(Problem::not_found)
    }
}
