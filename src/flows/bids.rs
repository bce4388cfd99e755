//! Prices that drivers bid for a trip: its rider sees them as they come, and picks one.

use std::sync::Arc;

use base::{Caller, Millis, OfferId, Piasters, Problem, Tier, TripId};
use events::Once;
use fleet::DriverBrief;
use serde::Serialize;
use storage::Who;
use trips::{Bid, BidStatus, Command, Trip};
use utoipa::ToSchema;

use crate::Flows;

/// A driver's bid.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BidView {
    pub trip_id: TripId,
    pub offer_id: OfferId,
    pub price: Piasters,
    /// What of it the rider pays: without the promo; in cash, as there are coins for it.
    pub to_pay: Piasters,
    pub status: BidStatus,
    /// Seconds until the driver could be at the pickup.
    pub pickup_eta: u32,
    /// It can't be picked from then on.
    pub expires_at: Millis,
    /// Who bids, for the rider's eyes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<BidderView>,
}

/// What a rider sees of a driver who bids: enough to choose, and not yet who he is. His car's plate
/// and his place follow once he is chosen.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct BidderView {
    pub name: String,
    pub rating: f32,
    pub vehicle: BidderVehicle,
}

/// The car of a driver who bids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct BidderVehicle {
    #[serde(rename = "type")]
    pub tier: Tier,
    pub make: String,
    pub model: String,
    pub color: String,
}

/// The bids that can be picked, the lowest first.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct BidsView {
    pub offers: Vec<BidView>,
}

impl Flows {
    /// The bids for the rider's own trip; none once it has a driver, and where nothing is bid.
    pub async fn bids(&self, caller: &Caller, id: TripId) -> Result<BidsView, Problem> {
        let trip = self.trips.get(&Who::Caller(*caller), id).await?;
        let mut bids = self.trips.bids(id);
        bids.sort_by_key(|bid| (bid.price, bid.eta_s, bid.offer));
        let view = |bid: &Bid| self.bid_for_rider(&trip, bid, BidStatus::Open);
        Ok(BidsView { offers: bids.iter().map(view).collect() })
    }

    /// The rider takes this bid, if it still is of the price that he saw. One wins, whatever else
    /// happens at the same time.
    pub async fn pick_bid(
        &self,
        caller: &Caller,
        trip: TripId,
        offer: OfferId,
        price: Option<Piasters>,
        once: Once,
    ) -> Result<Arc<Trip>, Problem> {
        let who = Who::Caller(*caller);
        self.trips.get(&who, trip).await?;
        let command = Command::PickBid { rider: caller.user.as_rider(), offer, price };
        self.command_once(&who, trip, command, once).await
    }

    /// How a bid stands now: its rider is told, and the driver who won. Those who did not hear that
    /// their offer is over.
    pub(crate) fn on_bid(&self, trip: &Trip, bid: &Bid, stands: BidStatus) {
        match stands {
            BidStatus::Won => {
                self.tell(bid.driver, "bid", &bid_view(trip, bid, stands, None));
            }
            BidStatus::Open => {
                self.dispatch.bid(trip.id, bid.driver, bid.price);
                self.tell(trip.rider, "bid", &self.bid_for_rider(trip, bid, stands));
            }
            BidStatus::Withdrawn | BidStatus::Expired | BidStatus::Lost => {
                self.tell(trip.rider, "bid", &self.bid_for_rider(trip, bid, stands));
            }
        }
    }

    fn bid_for_rider(&self, trip: &Trip, bid: &Bid, stands: BidStatus) -> BidView {
        let bidder = self.fleet.brief(bid.driver).map(bidder);
        bid_view(trip, bid, stands, bidder)
    }
}

fn bid_view(trip: &Trip, bid: &Bid, status: BidStatus, driver: Option<BidderView>) -> BidView {
    BidView {
        trip_id: trip.id,
        offer_id: bid.offer,
        price: bid.price,
        to_pay: trip.to_pay_at(bid.price),
        status,
        pickup_eta: bid.eta_s,
        expires_at: bid.until,
        driver,
    }
}

fn bidder(brief: DriverBrief) -> BidderView {
    let DriverBrief { name, rating, tier, vehicle, .. } = brief;
    let vehicle =
        BidderVehicle { tier, make: vehicle.make, model: vehicle.model, color: vehicle.color };
    BidderView { name, rating, vehicle }
}
