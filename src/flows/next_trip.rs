//! A trip that its driver has accepted while he ends another one: its turn comes with the drop-off.
//!
//! The database has it as *queued* behind the one before (`trips.queued_behind`), the fleet as what
//! comes after the trip he drives. Which of the two ends first nobody knows: whoever finds the one
//! before over lets the next one have its turn, and a turn that is given twice is taken once. When
//! its turn is stored the fleet follows, whatever it thought before.

use std::sync::Arc;

use backon::{ExponentialBuilder, Retryable};
use base::{DriverId, TripId};
use fleet::Finish;
use storage::Who;
use tracing::{debug, error, warn};
use trips::{CancelReason, Command, Party, Trip, TripError};

use crate::Flows;

impl Flows {
    /// A driver accepted `trip` as his next one, or a queued trip was found at the start.
    pub(crate) fn follow_next(&self, trip: &Arc<Trip>, driver: DriverId, behind: TripId) {
        let Err(refused) = self.fleet.queue_next(driver, trip.id) else {
            // He drives the one before, and its end will be told.
            return;
        };
        debug!(trip.id = %trip.id, driver.id = %driver, %refused, "fleet follows the commit");
        self.fleet.adopt_next(driver, trip.id, behind);
        let (flows, next) = (self.clone(), trip.id);
        self.tasks.spawn("next trip", async move {
            let before = || flows.trips.get(&Who::System, behind);
            match before.retry(patient()).when(is_away).await {
                // Its end was told before it was known that something comes after it.
                Ok(before) if !before.status.is_live() => {
                    flows.fleet.finish(driver, behind, Finish::Stale);
                    flows.give_turn(next).await;
                }
                Ok(_) => {}
                Err(fault) => error!(trip.id = %next, %fault, "is it this trip's turn?"),
            }
        });
    }

    /// The drop-off before it has committed: from here on the driver is on his way to its rider,
    /// unless his approval ended meanwhile.
    pub(crate) fn take_turn(&self, next: TripId, driver: DriverId) {
        let (flows, may_work) = (self.clone(), self.fleet.may_work(driver));
        self.tasks.spawn("next trip", async move {
            if may_work {
                return flows.give_turn(next).await;
            }
            warn!(trip.id = %next, driver.id = %driver, "the next trip's driver may not drive it");
            let (by, reason) = (Party::Driver(driver), CancelReason::Other);
            if let Err(refused) = flows.trips.command(next, Command::Cancel { by, reason }).await {
                error!(trip.id = %next, %refused, "the next trip stays with a barred driver");
            }
        });
    }

    async fn give_turn(&self, next: TripId) {
        let activate = || async { self.trips.command(next, Command::Activate).await };
        match activate.retry(patient()).when(is_away).await {
            Ok(_) => {}
            // It was given before, or the trip was called off.
            Err(refused) => debug!(trip.id = %next, %refused, "no turn to take"),
        }
    }

    /// For a driver who stands at the pickup of a next trip whose turn could not be stored.
    pub(crate) async fn turn_overdue(&self, trip: TripId) {
        let behind = self.trips.live(trip).and_then(|trip| trip.queued_behind);
        if behind.is_some_and(|behind| self.trips.live(behind).is_none()) {
            self.trips.command(trip, Command::Activate).await.ok();
        }
    }
}

/// As long as the database is away: without an end of its own, for nobody else asks again.
fn patient() -> ExponentialBuilder {
    ExponentialBuilder::default().with_jitter().without_max_times()
}

fn is_away(error: &TripError) -> bool {
    matches!(error, TripError::Fault(_) | TripError::Overloaded(_))
}
