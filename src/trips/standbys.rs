//! Who stands by for which trips of this node.
//!
//! An index beside the trips, so that a driver who leaves is missed without a walk over all.
//! Each trip's actor says what changes; the truth is what the actor holds.

use std::collections::BTreeSet;

use base::{DriverId, TripId};
use parking_lot::Mutex;

#[derive(Default)]
pub(crate) struct Standbys(Mutex<BTreeSet<(DriverId, TripId)>>);

impl Standbys {
    /// Of this trip another one stands by, or nobody.
    pub(crate) fn moved(&self, trip: TripId, before: Option<DriverId>, now: Option<DriverId>) {
        if before != now {
            let mut all = self.0.lock();
            all.extend(now.map(|driver| (driver, trip)));
            if let Some(driver) = before {
                all.remove(&(driver, trip));
            }
        }
    }

    /// The trips for which he stands by: one, or a few.
    pub(crate) fn of(&self, driver: DriverId) -> Vec<TripId> {
        let least = (driver, TripId::from_u128(0));
        let own = |(of, _): &&(DriverId, TripId)| *of == driver;
        self.0.lock().range(least..).take_while(own).map(|(_, trip)| *trip).collect()
    }
}
