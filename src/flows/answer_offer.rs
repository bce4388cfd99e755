//! A driver answers an offer: yes, no, or a price where the rider picks among bids.

use base::{DriverId, Piasters, Problem, TripId};
use events::Once;
use serde::{Deserialize, Serialize};
use storage::Who;
use trips::{Command, StatusView};
use utoipa::ToSchema;

use crate::Flows;

/// What a driver may say to an offer, over REST and over the socket.
#[derive(Clone, Copy, Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum OfferAction {
    /// He takes the trip; where prices are bid, he bids the estimated one.
    Accept,
    /// No; a bid is taken back.
    Decline,
    /// His price, or another one in its place.
    Bid,
}

/// What the driver says to an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Accept,
    Decline,
    Bid(Piasters),
}

impl Answer {
    /// A bid names its price.
    pub fn of(action: OfferAction, price: Option<Piasters>) -> Result<Self, Problem> {
        match (action, price) {
            (OfferAction::Accept, _) => Ok(Self::Accept),
            (OfferAction::Decline, _) => Ok(Self::Decline),
            (OfferAction::Bid, Some(price)) => Ok(Self::Bid(price)),
            (OfferAction::Bid, None) => {
                Err(Problem::field("price", "required", "a bid names its price"))
            }
        }
    }
}

/// Where the trip stands after the answer.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    pub trip_id: TripId,
    pub status: StatusView,
    /// What he bids now, to half pounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub price: Option<Piasters>,
    /// He stands by: another one drives the trip, and he is asked first should that one not come.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub standby: Option<bool>,
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
            Answer::Accept => match self.fleet.ends_before(driver, trip) {
                Some(behind) => Command::AcceptNext { driver, behind },
                None => Command::Accept { driver },
            },
            Answer::Decline => Command::Decline { driver },
            Answer::Bid(price) => Command::Bid { driver, price },
        };
        let trip = self.command_once(&Who::System, trip, command, once).await?;
        let is_backed = trip.driver.is_some_and(|drives| drives != driver);
        let bid = self.trips.bids(trip.id).into_iter().find(|bid| bid.driver == driver);
        Ok(Answered {
            trip_id: trip.id,
            status: StatusView::of(trip.status, trip.payment_status),
            price: bid.map(|bid| bid.price),
            standby: (is_backed && answer == Answer::Accept).then_some(true),
        })
    }
}
