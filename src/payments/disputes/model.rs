//! A complaint about a trip.

use std::fmt;

use base::{Millis, Piasters, Role, TripId, UserId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::acts::ActId;

base::words! {
    /// What a complaint is about.
    DisputeReason {
        Fare = "fare",
        Route = "route",
        /// The trip never took place.
        NotTaken = "not_taken",
        /// Paid twice, not paid, or paid wrongly.
        Payment = "payment",
        CancellationFee = "cancellation_fee",
        Conduct = "conduct",
        LostItem = "lost_item",
        /// To the car.
        Damage = "damage",
        Other = "other",
    }
}

base::words! {
    /// Where a complaint stands.
    DisputeStatus {
        Open = "open",
        /// It was answered with money that a second admin has to consent to.
        Waiting = "waiting",
        Resolved = "resolved",
    }
}

base::words! {
    /// How a complaint ends.
    Outcome {
        /// The company pays whoever complained.
        Refund = "refund",
        /// The rider gets it back from the driver and the company's share.
        Clawback = "clawback",
        Rejected = "rejected",
    }
}

#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema,
)]
#[serde(transparent)]
#[schema(value_type = Uuid)]
pub struct DisputeId(pub Uuid);

impl fmt::Display for DisputeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dispute {
    pub id: DisputeId,
    pub trip: TripId,
    pub opened_by: UserId,
    /// [`Role::Rider`] or [`Role::Driver`].
    pub role: Role,
    pub reason: DisputeReason,
    pub text: String,
    pub status: DisputeStatus,
    pub resolution: Option<Resolution>,
    pub opened_at: Millis,
}

/// What an operator made of a complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolution {
    pub outcome: Outcome,
    /// What the person is told.
    pub answer: String,
    pub amount: Option<Piasters>,
    pub act: Option<ActId>,
    pub by: UserId,
    pub at: Millis,
}

/// Which complaints are looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DisputeFilter {
    All,
    In(DisputeStatus),
    /// This person's own.
    Of(UserId),
}
