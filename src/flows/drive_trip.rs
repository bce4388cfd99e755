//! The driver moves the trip along: confirmed where it was booked ahead, arrived, started,
//! completed.

use std::sync::Arc;

use base::{DriverId, Piasters, Problem, TripId};
use events::Once;
use storage::Who;
use trips::{AheadCommand, Command, Trip};

use crate::Flows;

/// A step of the trip that its driver takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Arrived,
    Started,
    Completed,
}

/// A step with what it needs.
#[derive(Clone, Debug)]
pub struct Advance {
    pub step: Step,
    /// The rider's PIN, where the city asks for it at the start.
    pub pin: Option<String>,
    /// What the driver was given, at the end of a trip paid in cash.
    pub cash: Option<Piasters>,
}

impl Flows {
    /// The driver of a trip that was booked ahead says again that he comes.
    pub async fn confirm_trip(
        &self,
        driver: DriverId,
        trip: TripId,
        once: Once,
    ) -> Result<Arc<Trip>, Problem> {
        let command = AheadCommand::Confirm { driver }.into();
        self.command_once(&Who::System, trip, command, once).await
    }

    /// Where the driver is and how far he drove is what the fleet measured, not what the app says.
    pub async fn advance_trip(
        &self,
        driver: DriverId,
        trip: TripId,
        advance: Advance,
        once: Once,
    ) -> Result<Arc<Trip>, Problem> {
        let command = match advance.step {
            Step::Arrived => {
                self.turn_overdue(trip).await;
                let at = self.fleet.position(driver).map(|(at, _)| at);
                Command::Arrive { driver, at }
            }
            Step::Started => Command::Start { driver, pin: advance.pin },
            Step::Completed => {
                let distance_m = self.fleet.meter(trip).map_or(0, |meter| meter.distance_m);
                Command::Complete { driver, distance_m, cash: advance.cash }
            }
        };
        self.command_once(&Who::System, trip, command, once).await
    }
}
