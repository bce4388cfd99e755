//! A driver's position comes in: the hot path.
//!
//! One call, no await: the live map and the track are updated, and whoever follows the trip is sent
//! the point, encoded once. Nothing is encoded when nobody follows.

use base::{DriverId, Problem, TripId};
use fleet::{Fix, Seat};
use rooms::Topic;
use serde::Serialize;
use utoipa::ToSchema;

use crate::Flows;
use crate::wire::encode_trip_location;

/// Answer to a backfill.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchReply {
    pub accepted: usize,
    pub rejected: Vec<RejectedPoint>,
}

/// A point of a backfill that was not taken.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RejectedPoint {
    pub index: usize,
    pub code: &'static str,
}

impl Flows {
    /// The driver's place in the fleet: one who reports again and again keeps it.
    pub fn seat(&self, driver: DriverId) -> Result<Seat, Problem> {
        Ok(self.fleet.seat(driver)?)
    }

    /// Takes one position. A suspect or late one is kept for history and not shown.
    pub fn report_position(&self, seat: &Seat, fix: &Fix) -> Result<(), Problem> {
        let taken = self.fleet.ingest(seat, fix)?;
        if let (Some(trip), true) = (taken.trip, taken.live) {
            let shown = Fix { timestamp: taken.timestamp, ..*fix };
            self.push_position(trip, seat.driver(), &shown);
        }
        Ok(())
    }

    /// Takes positions that were recorded while the driver was out of reach, oldest first.
    pub fn report_batch(&self, seat: &Seat, fixes: &[Fix]) -> BatchReply {
        let outcome = self.fleet.ingest_batch(seat, fixes);
        let rejected = outcome
            .rejected
            .into_iter()
            .map(|(index, code)| RejectedPoint { index, code: code.name() })
            .collect();
        BatchReply { accepted: outcome.accepted, rejected }
    }

    fn push_position(&self, trip: TripId, driver: DriverId, fix: &Fix) {
        self.rooms.publish_position(Topic::Trip(trip), driver.as_u128(), fix.timestamp, |format| {
            encode_trip_location(trip, fix, format)
        });
    }
}
