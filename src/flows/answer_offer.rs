//! A driver answers an offer.

use base::{DriverId, Problem, TripId};
use events::Once;
use serde::Serialize;
use storage::Who;
use trips::{Command, StatusView};
use utoipa::ToSchema;

use crate::Flows;

/// What the driver says to an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Accept,
    Decline,
}

/// Where the trip stands after the answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    pub trip_id: TripId,
    pub status: StatusView,
}

impl Flows {
    /// The trip's actor decides: only the asked driver, before the deadline, and one of several.
    /// Whoever was never asked is told that the trip does not exist.
    pub async fn answer_offer(
        &self,
        driver: DriverId,
        trip: TripId,
        answer: Answer,
        once: Once,
    ) -> Result<Answered, Problem> {
        let command = match answer {
            Answer::Accept => Command::Accept { driver },
            Answer::Decline => Command::Decline { driver },
        };
        let trip = self.command_once(&Who::System, trip, command, once).await?;
        Ok(Answered { trip_id: trip.id, status: StatusView::of(trip.status, trip.payment_status) })
    }
}
