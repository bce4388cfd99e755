//! A driver's position comes in: the hot path.
//!
//! One call, no await: the live map and the track are updated, and whoever follows the trip is sent
//! the point, encoded once. Nothing is encoded when nobody follows.

use base::{DriverId, Problem, TripId};
use fleet::Fix;
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
    /// Takes one position. A suspect or late one is kept for history and not shown.
    pub fn report_position(&self, driver: DriverId, fix: &Fix) -> Result<(), Problem> {
        let taken = self.fleet.ingest(driver, fix)?;
        if let (Some(trip), true) = (taken.trip, taken.live) {
            self.push_position(trip, driver, fix);
        }
        Ok(())
    }

    /// Takes positions that were recorded while the driver was out of reach, oldest first.
    pub fn report_batch(&self, driver: DriverId, fixes: &[Fix]) -> BatchReply {
        let outcome = self.fleet.ingest_batch(driver, fixes);
        let rejected = outcome
            .rejected
            .into_iter()
            .map(|(index, code)| RejectedPoint { index, code: code.name() })
            .collect();
        BatchReply { accepted: outcome.accepted, rejected }
    }

    fn push_position(&self, trip: TripId, driver: DriverId, fix: &Fix) {
        // An app's clock that runs ahead must not make its later positions look old.
        let fix = Fix { timestamp: fix.timestamp.min(self.clock.now()), ..*fix };
        self.rooms.publish_position(Topic::Trip(trip), driver.as_u128(), fix.timestamp, |format| {
            encode_trip_location(trip, &fix, format)
        });
    }
}
