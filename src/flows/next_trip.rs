//! A trip that its driver has accepted while he ends another one: its turn comes with the drop-off.
//!
//! The database has it as *queued* behind the one before (`trips.queued_behind`), the fleet as what
//! comes after the trip he drives. Which of the two ends first nobody knows: whoever finds the one
//! before over lets the next one have its turn, and a turn that is given twice is taken once.

use std::sync::Arc;

use backon::{ExponentialBuilder, Retryable};
use base::{DriverId, TripId};
use fleet::Finish;
use storage::Who;
use tracing::{debug, error, warn};
use trips::{Command, Trip, TripError};

use crate::Flows;

impl Flows {
    /// A driver accepted `trip` as his next one, or a queued trip was found at the start.
    pub(crate) fn follow_next(&self, trip: &Arc<Trip>, driver: DriverId, behind: TripId) {
        if let Err(refused) = self.fleet.queue_next(driver, trip.id) {
            debug!(trip.id = %trip.id, driver.id = %driver, %refused, "fleet follows the commit");
            self.fleet.adopt_next(driver, trip.id, behind);
        }
        let (flows, next) = (self.clone(), trip.id);
        self.tasks.spawn("next trip", async move {
            let before = || flows.trips.get(&Who::System, behind);
            match before.retry(ExponentialBuilder::default().with_jitter()).await {
                // Its end may have been told before it was known that something comes after it.
                Ok(before) if before.is_over() => {
                    flows.fleet.finish(driver, behind, Finish::Freed);
                    flows.give_turn(next).await;
                }
                Ok(_) => {}
                Err(fault) => error!(trip.id = %next, %fault, "is it this trip's turn?"),
            }
        });
    }

    /// The drop-off before it has committed: from here on the driver is on his way to its rider.
    pub(crate) fn take_turn(&self, next: TripId) {
        let flows = self.clone();
        self.tasks.spawn("next trip", async move { flows.give_turn(next).await });
    }

    async fn give_turn(&self, next: TripId) {
        let activate = || async { self.trips.command(next, Command::Activate).await };
        let patient = ExponentialBuilder::default().with_jitter();
        let away =
            |error: &TripError| matches!(error, TripError::Fault(_) | TripError::Overloaded(_));
        match activate.retry(patient).when(away).await {
            Ok(_) => {}
            Err(error) if away(&error) => {
                warn!(trip.id = %next, %error, "a next trip's turn waits for its driver to arrive");
            }
            // It was given before, or the trip was called off.
            Err(refused) => debug!(trip.id = %next, %refused, "no turn to take"),
        }
    }

    /// For a driver who stands at the pickup of a next trip whose turn could not be stored.
    pub(crate) async fn turn_overdue(&self, trip: TripId) {
        let behind = self.trips.live(trip).and_then(|trip| trip.queued_behind);
        if behind.is_some_and(|behind| self.trips.live(behind).is_none()) {
            self.give_turn(trip).await;
        }
    }
}
