//! What a trip is: its row, its words, and what may be asked for when one is created.
//!
//! Owns the names of states, parties and reasons as they stand in the database and on the wire.
//! Decides nothing: that is `rules`.

use base::{
    BasisPoints, CityId, DriverId, Millis, PaymentMethod, Piasters, Point, RiderId, Tier, TripId,
    UserId, words,
};
use ledger::Settlement;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

words! {
    /// Where a trip stands.
    Status {
        /// Booked for later, not searched yet.
        Scheduled = "scheduled",
        /// A driver is searched.
        Requested = "requested",
        /// A driver is on his way, or will be once he has ended the trip before (`queued_behind`).
        Accepted = "accepted",
        /// The driver waits at the pickup.
        Arrived = "arrived",
        Started = "started",
        Completed = "completed",
        Cancelled = "cancelled",
        /// Nobody was found.
        NoDrivers = "no_drivers",
    }
}

words! {
    /// Whether the trip is paid, beside its status.
    PaymentStatus { Pending = "pending", Paid = "paid", Failed = "failed" }
}

words! {
    /// Why a trip was cancelled.
    CancelReason {
        ChangedMind = "changed_mind",
        WaitedTooLong = "waited_too_long",
        DriverAsked = "driver_asked",
        WrongPickup = "wrong_pickup",
        /// Said by a driver at the pickup after the city's waiting time: ends the trip.
        RiderNoShow = "rider_no_show",
        VehicleProblem = "vehicle_problem",
        Unsafe = "unsafe",
        Other = "other",
        /// Said by the program of a driver who did not confirm in time that he comes.
        NotConfirmed = "not_confirmed",
        /// Said by the program of a driver who went silent, where another one stands by.
        DriverSilent = "driver_silent",
        /// Said by the program: the wallet did not cover the trip when its search began.
        NotCovered = "not_covered",
        /// Said by the program: nobody searched in time.
        Missed = "missed",
    }
}

words! {
    /// In which role somebody changed a trip.
    Side { Rider = "rider", Driver = "driver", Admin = "admin", System = "system" }
}

words! {
    /// How an offer ended.
    OfferOutcome {
        Accepted = "accepted",
        Declined = "declined",
        /// Its time was over.
        Expired = "expired",
        /// Someone else has the trip, or there is no trip any more.
        Revoked = "revoked",
        /// The driver went silent or offline.
        Lost = "lost",
        /// He bid a price, and the rider let it pass.
        Unchosen = "unchosen",
        /// He stands by should the driver not come, and is free meanwhile.
        StandsBy = "stands_by",
    }
}

words! {
    /// Why a driver is free of a trip.
    Freed {
        Completed = "completed",
        /// The trip was cancelled by another than him.
        Cancelled = "cancelled",
        /// He gave it back; the trip goes on without him.
        GaveBack = "gave_back",
        NoShow = "no_show",
        /// The trip was given to another driver.
        TakenOver = "taken_over",
    }
}

impl CancelReason {
    /// Is it a word of people, and not of the program about them?
    pub const fn is_said(self) -> bool {
        !matches!(self, Self::NotConfirmed | Self::DriverSilent | Self::NotCovered | Self::Missed)
    }
}

impl Status {
    /// Does the trip still have something ahead of it?
    pub const fn is_live(self) -> bool {
        match self {
            Self::Scheduled | Self::Requested | Self::Accepted | Self::Arrived | Self::Started => {
                true
            }
            Self::Completed | Self::Cancelled | Self::NoDrivers => false,
        }
    }

    /// The graph of SPEC 6. `accepted → accepted` is a reassignment, or a queued trip's turn.
    pub const fn may_become(self, next: Self) -> bool {
        use Status::{
            Accepted, Arrived, Cancelled, Completed, NoDrivers, Requested, Scheduled, Started,
        };
        matches!(
            (self, next),
            (Scheduled, Requested | Cancelled)
                | (Requested, Accepted | NoDrivers | Cancelled)
                | (Accepted, Accepted | Arrived | Requested | Cancelled)
                | (Arrived, Started | Requested | Cancelled)
                | (Started, Completed)
        )
    }
}

/// Who does something to a trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    Rider(RiderId),
    Driver(DriverId),
    Admin(UserId),
    /// The program itself: dispatch, a timer.
    System,
}

impl Party {
    pub const fn side(self) -> Side {
        match self {
            Self::Rider(_) => Side::Rider,
            Self::Driver(_) => Side::Driver,
            Self::Admin(_) => Side::Admin,
            Self::System => Side::System,
        }
    }

    /// The account behind it; none for the program.
    pub const fn user(self) -> Option<UserId> {
        match self {
            Self::Rider(id) => Some(UserId(id.0)),
            Self::Driver(id) => Some(UserId(id.0)),
            Self::Admin(id) => Some(id),
            Self::System => None,
        }
    }
}

/// A place as people name it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Place {
    #[serde(flatten)]
    pub at: Point,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// Who rides, when it is not the one who booked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Passenger {
    pub name: String,
    pub phone: String,
}

/// The city's rules as they were when the trip was booked; later changes don't touch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The rider cancels for nothing within this time after a driver accepted, seconds.
    pub free_cancel_s: u32,
    /// What he pays afterwards.
    pub cancel_fee: Piasters,
    /// How long the driver waits at the pickup before he may call it a no-show, seconds.
    pub no_show_wait_s: u32,
    /// What the rider pays for not showing up.
    pub no_show_fee: Piasters,
    /// How much of the fare the rider may owe after a wallet trip.
    pub due_limit: Piasters,
    /// How far below zero the driver's account may be for him to take cash trips.
    pub debt_limit: Piasters,
    /// Cash is handed over in multiples of this.
    pub cash_step: Piasters,
}

/// A trip: the row of table `trips`.
#[derive(Clone, Debug, PartialEq)]
pub struct Trip {
    pub id: TripId,
    pub city: CityId,
    pub rider: RiderId,
    pub driver: Option<DriverId>,
    /// The trip its driver is still ending; none once this one is active.
    pub queued_behind: Option<TripId>,
    pub status: Status,
    pub payment_status: PaymentStatus,
    pub method: PaymentMethod,
    pub tier: Tier,
    /// The dispatch preset's name.
    pub strategy: String,
    /// The number of the last event.
    pub version: i32,
    /// The lease of the node that runs the trip.
    pub epoch: i64,
    pub pickup: Place,
    pub destination: Place,
    pub stops: Vec<Place>,
    pub passenger: Option<Passenger>,
    /// A promise: the quoted price, or that of the bid which its rider picked.
    pub price: Piasters,
    /// What it was quoted with, while its price is a bid's.
    pub quoted_price: Option<Piasters>,
    /// What the company pays of the price, reserved when the trip was booked.
    pub promo: Piasters,
    /// Set when the trip completes, never before.
    pub final_price: Option<Piasters>,
    /// What is held of the rider's wallet; zero once the trip has ended.
    pub hold: Piasters,
    pub commission: BasisPoints,
    pub surge: f32,
    pub quote_id: Option<String>,
    pub quoted_distance_m: u32,
    pub quoted_duration_s: u32,
    /// Driven, filtered.
    pub distance_m: Option<u32>,
    /// From start to completion.
    pub duration_s: Option<u32>,
    /// Four digits that the rider tells the driver, where the city asks for it.
    pub pin: Option<String>,
    /// The last round of offers made.
    pub rounds: u16,
    /// Drivers who gave the trip back or lost it: not asked again.
    pub excluded: Vec<DriverId>,
    pub cancelled_by: Option<Side>,
    pub cancel_reason: Option<CancelReason>,
    /// What the cancellation cost the rider.
    pub cancel_fee: Piasters,
    /// The pickup of a trip that was booked ahead; none: at once.
    pub scheduled_at: Option<Millis>,
    /// Until then its driver, who accepted early, must say again that he comes.
    pub confirm_by: Option<Millis>,
    pub requested_at: Millis,
    pub accepted_at: Option<Millis>,
    pub arrived_at: Option<Millis>,
    pub started_at: Option<Millis>,
    pub ended_at: Option<Millis>,
    pub created_at: Millis,
    pub terms: Terms,
}

impl Trip {
    /// May this party see the trip at all? A driver who is only asked sees the offer, not this.
    pub fn concerns(&self, party: Party) -> bool {
        match party {
            Party::Rider(rider) => self.rider == rider,
            Party::Driver(driver) => self.driver == Some(driver),
            Party::Admin(_) | Party::System => true,
        }
    }

    /// Does nothing come after this? An ended trip may still be paid.
    pub const fn is_over(&self) -> bool {
        let settled = !matches!(self.status, Status::Completed)
            || matches!(self.payment_status, PaymentStatus::Paid);
        !self.status.is_live() && settled
    }

    /// What its rider pays who calls it off at `now`. Free within the window; at its end the fee is
    /// due. A driver still on another trip costs nothing.
    pub(crate) fn late_fee(&self, now: Millis) -> Piasters {
        let free_ms = i64::from(self.terms.free_cancel_s) * 1000;
        match self.accepted_at {
            Some(at) if !self.is_queued() && now.since(at) >= free_ms => self.terms.cancel_fee,
            Some(_) | None => Piasters::ZERO,
        }
    }

    /// Accepted by a driver who is still ending another trip.
    pub const fn is_queued(&self) -> bool {
        self.queued_behind.is_some()
    }

    /// May it have another driver while one is on his way? A trip ahead has somebody who stands by
    /// instead, one that waits for the end of another is nobody's way yet, and where its rider
    /// picked a bid he chose who drives him.
    pub fn may_change_driver(&self) -> bool {
        let is_on_his_way = self.status == Status::Accepted && !self.is_queued();
        is_on_his_way && self.scheduled_at.is_none() && self.quoted_price.is_none()
    }

    /// What the rider pays: the price without the promo, and in cash what there are coins for.
    pub fn to_pay(&self) -> Piasters {
        self.to_pay_at(self.price)
    }

    /// The same, if the trip cost so much.
    pub fn to_pay_at(&self, price: Piasters) -> Piasters {
        // Who drives makes no difference to it.
        let fare = self.settlement(self.driver.unwrap_or_default());
        Settlement { price, ..fare }.to_pay()
    }

    /// What it costs and how it is paid, once `driver` has completed it: the promised price is the
    /// price.
    pub(crate) const fn settlement(&self, driver: DriverId) -> Settlement {
        Settlement {
            trip: self.id,
            rider: self.rider,
            driver,
            method: self.method,
            price: self.price,
            promo: self.promo,
            cash_step: self.terms.cash_step,
            commission: self.commission,
            hold: self.hold,
            due_limit: self.terms.due_limit,
            debt_limit: self.terms.debt_limit,
        }
    }
}

/// The variant of an experiment with prices: the experiment's id and the variant's number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceArm {
    pub experiment: Uuid,
    pub variant: u8,
}

/// What a new trip is made of. Everything in it is already checked: the quote redeemed, the pickup
/// inside a service area, the texts trimmed.
#[derive(Clone, Debug)]
pub struct NewTrip {
    /// Made by the caller, so that a repeated request makes no second trip.
    pub id: TripId,
    pub rider: RiderId,
    pub city: CityId,
    pub pickup: Place,
    pub destination: Place,
    pub stops: Vec<Place>,
    pub passenger: Option<Passenger>,
    pub tier: Tier,
    pub method: PaymentMethod,
    pub strategy: String,
    pub price: Piasters,
    /// What its rider authorised on a card, where it is paid so; bound meanwhile, it is not booked.
    pub card: Option<Uuid>,
    /// Taken off the price; gone meanwhile, the trip is not booked.
    pub promo: Option<promo::Offer>,
    /// By which variant of an experiment it is priced.
    pub arm: Option<PriceArm>,
    /// What the rider may owe and still book.
    pub due_allowed: Piasters,
    pub commission: BasisPoints,
    pub surge: f32,
    pub quote_id: Option<String>,
    pub distance_m: u32,
    pub duration_s: u32,
    /// Four digits, where the city turns the start PIN on.
    pub pin: Option<String>,
    pub terms: Terms,
    /// None: now.
    pub scheduled_at: Option<Millis>,
}
