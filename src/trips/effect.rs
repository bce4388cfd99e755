//! What trips tell the world: sent in order, and only about what is already stored.

use std::sync::Arc;

use base::{DriverId, Piasters, TripId};

use crate::event::TripEvent;
use crate::model::{Freed, OfferOutcome, Trip};
use crate::offers::{Bid, BidStatus};

/// One thing the world has to know. The channel is bounded and a full one makes trips wait, so its
/// reader must never wait for a trip's answer.
#[derive(Clone, Debug)]
pub enum Effect {
    /// A committed change: goes to the trip's room. `trip` is the row after it.
    Event {
        trip: Arc<Trip>,
        event: Arc<TripEvent>,
    },
    /// The trip wants a driver: created, searched again, or found waiting at boot.
    NeedsDriver {
        trip: Arc<Trip>,
        /// Who stood by and is asked before all others.
        first: Option<DriverId>,
    },
    /// The trip has a driver and wants one more who would come should he not.
    NeedsStandby {
        trip: Arc<Trip>,
    },
    /// Who stood by is not needed any more.
    StandbyOver {
        trip: TripId,
        driver: DriverId,
    },
    OfferEnded {
        trip: TripId,
        driver: DriverId,
        outcome: OfferOutcome,
        /// It was to stand by, which commits nobody to anything.
        to_stand_by: bool,
    },
    /// Of a trip whose rider picks: how a driver's bid stands now.
    Bid {
        trip: Arc<Trip>,
        bid: Bid,
        stands: BidStatus,
    },
    /// Nobody is searched any more, neither to drive it nor to stand by.
    SearchOver {
        trip: TripId,
    },
    Matched {
        trip: Arc<Trip>,
        driver: DriverId,
    },
    /// At boot: this driver is on this live trip, whether he is connected or not.
    Adopted {
        trip: Arc<Trip>,
        driver: DriverId,
    },
    DriverFreed {
        trip: Arc<Trip>,
        driver: DriverId,
        how: Freed,
    },
    /// `driver_balance`: his account after the settlement, when it changed.
    Completed {
        trip: Arc<Trip>,
        driver_balance: Option<Piasters>,
    },
    /// The trip has reached its end, whichever; `driver_balance` as above (a late cancel pays him).
    Ended {
        trip: Arc<Trip>,
        driver_balance: Option<Piasters>,
    },
}
