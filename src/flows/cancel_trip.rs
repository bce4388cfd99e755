//! Calling a trip off: rider, driver or admin, each with a reason.

use std::sync::Arc;

use base::{Caller, Problem, Role, TripId};
use storage::Who;
use trips::{CancelReason, Command, Party, Trip};

use crate::Flows;

impl Flows {
    /// The rider's or an admin's cancel ends the trip; the driver's sends it back to matching.
    /// Fees follow the rules frozen into the trip.
    pub async fn cancel_trip(
        &self,
        caller: &Caller,
        trip: TripId,
        reason: CancelReason,
    ) -> Result<Arc<Trip>, Problem> {
        self.trips.get(&Who::Caller(*caller), trip).await?;
        let by = match caller.role {
            Role::Rider => Party::Rider(caller.user.as_rider()),
            Role::Driver => Party::Driver(caller.user.as_driver()),
            Role::Admin => Party::Admin(caller.user),
        };
        Ok(self.trips.command(trip, Command::Cancel { by, reason }).await?)
    }

    /// Cancels while no driver has been found; a trip with a driver answers with its state.
    pub async fn cancel_search(&self, caller: &Caller, trip: TripId) -> Result<Arc<Trip>, Problem> {
        self.trips.get(&Who::Caller(*caller), trip).await?;
        let rider = caller.user.as_rider();
        Ok(self.trips.command(trip, Command::CancelSearch { rider }).await?)
    }
}
