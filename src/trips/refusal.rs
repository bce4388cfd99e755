//! Why a trip doesn't do what it was asked: refusals of the rules, and failures around them.

use base::{Code, DriverId, Fault, Millis, Piasters, Problem};

use crate::cash::CASH_OVER_MAX;
use crate::model::Status;

/// An answer of the rules: nothing happened, and asking again changes nothing by itself.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    #[error("driver {0} was not asked")]
    NotOffered(DriverId),
    #[error("driver {0} can't be asked (again)")]
    NotOfferable(DriverId),
    #[error("the offer is over")]
    OfferExpired,
    #[error("no prices are bid for the trip")]
    NothingToBid,
    #[error("a bid is between {least} and {most}")]
    BidOutOfRange { least: Piasters, most: Piasters },
    #[error("the bid is over")]
    BidOver,
    #[error("the bid is of {price} now")]
    BidChanged { price: Piasters },
    /// Beyond what is held for the trip.
    #[error("the wallet has {available}, the bid costs {price}")]
    BidUncovered { available: Piasters, price: Piasters },
    #[error("the card was authorised for {authorised}, the bid costs {price}")]
    BidOverCard { authorised: Piasters, price: Piasters },
    /// A trip booked ahead, when its search would begin.
    #[error("the wallet has {available}, the trip costs {price}")]
    Unfunded { available: Piasters, price: Piasters },
    #[error("another driver has the trip")]
    TripTaken,
    #[error("the driver is on another trip")]
    DriverBusy,
    #[error("the rider has another trip under way")]
    TripInProgress,
    #[error("a trip that is {current} can't do that")]
    InvalidTransition { current: Status },
    /// Someone else's trip; outside it looks like none.
    #[error("the trip is someone else's")]
    NotYours,
    #[error("the start PIN is wrong")]
    WrongPin,
    #[error("too many wrong PINs: {wait_s} s to wait")]
    PinPaused { wait_s: u32 },
    /// `distance_m` is none when nobody knows where the driver is.
    #[error("the driver is too far from the pickup: {distance_m:?} m")]
    TooFarFromPickup { distance_m: Option<u32> },
    #[error("the rider has {wait_s} s more to show up")]
    NoShowTooEarly { wait_s: u32 },
    #[error("the trip is not paid in cash")]
    NotPaidInCash,
    #[error("nobody pays so for a trip of {to_pay}")]
    CashOutOfRange { to_pay: Piasters },
    #[error("the rider would owe {due}, at most {limit} is allowed")]
    CashTooShort { due: Piasters, limit: Piasters },
    #[error("it is too late for that")]
    TooLate,
    /// Another attempt of the same request has its idempotency key.
    #[error("another attempt of the same request is under way")]
    Superseded,
}

/// Why a command or a booking came to nothing.
#[derive(Clone, Debug, thiserror::Error)]
pub enum TripError {
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error("no such trip")]
    NotFound,
    #[error("the wallet has {available}, the trip costs {price}")]
    InsufficientBalance { available: Piasters, price: Piasters },
    /// With what earlier trips that could not be paid cost.
    #[error("the rider owes {due}")]
    PaymentDue { due: Piasters },
    /// What was authorised on a card does not pay for this trip.
    #[error("the card does not pay for it: {why}")]
    CardUnfit { why: String },
    /// Another pickup that the rider booked ahead is about then.
    #[error("the rider has booked a pickup at {at}")]
    Overlaps { at: Millis },
    #[error("the rider has {limit} trips ahead of him")]
    TooManyAhead { limit: u32 },
    /// Between choosing it and booking with it.
    #[error("the promo is used up")]
    PromoGone,
    /// The mailbox or the writer's queue is full, or the time allowed for the command is over.
    #[error("overloaded: {0}")]
    Overloaded(&'static str),
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            // Whoever was never asked must not learn that there is such a trip.
            Refusal::NotOffered(_) | Refusal::NotYours => Self::not_found(),
            Refusal::NotOfferable(_) => {
                Self::new(Code::NotOffered, "this trip can't be offered to this driver")
            }
            Refusal::OfferExpired => Self::new(Code::OfferExpired, "the offer is over"),
            Refusal::NothingToBid => {
                Self::field("action", "unsupported", "no prices are bid for this trip")
            }
            Refusal::BidOutOfRange { least, most } => {
                let text = format!("must be between {least} and {most}");
                Self::field("price", "out_of_range", &text).with("min", least).with("max", most)
            }
            Refusal::BidOver => Self::new(Code::OfferExpired, "the bid is over"),
            Refusal::BidChanged { price } => {
                Self::new(Code::PriceChanged, "the driver bids another price now")
                    .with("price", price)
            }
            Refusal::BidUncovered { available, price } | Refusal::Unfunded { available, price } => {
                TripError::InsufficientBalance { available, price }.into()
            }
            Refusal::BidOverCard { authorised, price } => {
                let text = "the bid is more than was authorised on the card";
                Self::new(Code::CardNotAuthorised, text)
                    .with("reason", "too_little")
                    .with("authorised", authorised)
                    .with("price", price)
            }
            Refusal::TripTaken => Self::new(Code::TripTaken, "another driver has the trip"),
            Refusal::DriverBusy => Self::new(Code::DriverBusy, "the driver is on another trip"),
            Refusal::TripInProgress => {
                Self::new(Code::TripInProgress, "there is a trip under way already")
            }
            Refusal::InvalidTransition { current } => Self::new(
                Code::InvalidTransition,
                format!("a trip that is {current} can't do that"),
            )
            .with("current", current),
            Refusal::WrongPin => Self::new(Code::WrongPin, "the start PIN is wrong"),
            Refusal::PinPaused { wait_s } => {
                Self::new(Code::RateLimited, "too many wrong PINs, wait a moment")
                    .with("waitSeconds", wait_s)
            }
            Refusal::TooFarFromPickup { distance_m } => {
                Self::new(Code::TooFarFromPickup, "the driver is too far from the pickup")
                    .with("distance", distance_m)
            }
            Refusal::NoShowTooEarly { wait_s } => {
                Self::new(Code::NoShowTooEarly, "the waiting time is not over")
                    .with("waitSeconds", wait_s)
            }
            Refusal::NotPaidInCash => {
                Self::field("cashCollected", "unsupported", "the trip is not paid in cash")
            }
            Refusal::CashOutOfRange { to_pay } => {
                let text = format!("must be at least 0 and at most {}", to_pay + CASH_OVER_MAX);
                Self::field("cashCollected", "out_of_range", &text)
            }
            Refusal::CashTooShort { due, limit } => {
                let text = "the rider may not owe so much: ask for more, or leave it to support";
                Self::new(Code::DueLimit, text).with("due", due).with("limit", limit)
            }
            Refusal::TooLate => Self::new(Code::TooLate, "it is too late for that"),
            Refusal::Superseded => events::Superseded::ByAnother.into(),
        }
    }
}

impl From<events::Superseded> for TripError {
    fn from(error: events::Superseded) -> Self {
        match error {
            events::Superseded::ByAnother => Refusal::Superseded.into(),
            events::Superseded::Fault(fault) => fault.into(),
        }
    }
}

impl From<TripError> for Problem {
    fn from(error: TripError) -> Self {
        match error {
            TripError::Refused(refusal) => refusal.into(),
            TripError::NotFound => Self::not_found(),
            TripError::InsufficientBalance { available, price } => {
                Self::new(Code::InsufficientBalance, "the wallet doesn't cover the price")
                    .with("available", available)
                    .with("price", price)
            }
            TripError::PaymentDue { due } => {
                let text = "an earlier trip is not fully paid, top up your wallet first";
                Self::new(Code::PaymentDue, text).with("due", due)
            }
            TripError::CardUnfit { why } => {
                let text = "authorise the trip's price on the card first, each trip anew";
                Self::new(Code::CardNotAuthorised, text).with("reason", why)
            }
            TripError::Overlaps { at } => {
                let text = "you have booked a pickup about that time already";
                Self::new(Code::TripOverlaps, text).with("scheduledAt", at)
            }
            TripError::TooManyAhead { limit } => {
                let text = "no more trips can be booked ahead before one of them is over";
                Self::new(Code::TooManyScheduled, text).with("limit", limit)
            }
            TripError::PromoGone => {
                Self::new(Code::PromoUnfit, "the promo is used up").with("reason", "used_up")
            }
            TripError::Overloaded(why) => Fault::unavailable(why).into(),
            TripError::Fault(fault) => fault.into(),
        }
    }
}
