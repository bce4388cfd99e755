//! Calling a trip off: rider, driver or admin, each with a reason.

use std::sync::Arc;

use base::{Caller, Problem, Role, TripId};
use events::Once;
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
        once: Once,
    ) -> Result<Arc<Trip>, Problem> {
        if !reason.is_said() {
            return Err(Problem::field("reason", "unsupported", "only the program says that"));
        }
        let who = Who::Caller(*caller);
        self.trips.get(&who, trip).await?;
        let by = match caller.role {
            Role::Rider => Party::Rider(caller.user.as_rider()),
            Role::Driver => Party::Driver(caller.user.as_driver()),
            Role::Admin => Party::Admin(caller.user),
        };
        self.command_once(&who, trip, Command::Cancel { by, reason }, once).await
    }

    /// Cancels while no driver has been found; a trip with a driver answers with its state.
    pub async fn cancel_search(
        &self,
        caller: &Caller,
        trip: TripId,
        once: Once,
    ) -> Result<Arc<Trip>, Problem> {
        let who = Who::Caller(*caller);
        self.trips.get(&who, trip).await?;
        let rider = caller.user.as_rider();
        self.command_once(&who, trip, Command::CancelSearch { rider }, once).await
    }

    /// A command under an idempotency key. Where an earlier attempt was stored and its answer got
    /// lost, the answer is how the trip stands for `who`.
    pub(crate) async fn command_once(
        &self,
        who: &Who,
        trip: TripId,
        command: Command,
        once: Once,
    ) -> Result<Arc<Trip>, Problem> {
        match once.applied() {
            Some(_) => Ok(self.trips.get(who, trip).await?),
            None => Ok(self.trips.command_once(trip, command, once).await?),
        }
    }
}
