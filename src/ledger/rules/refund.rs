//! What a rider gets back for a trip, and at whose cost.

use base::{BasisPoints, DriverId, Piasters, RiderId, TripId, UserId};
use uuid::Uuid;

use super::{leg, shares};
use crate::model::{Account, Journal, Kind, Leg, Mode};

/// Who bears it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Burden {
    /// The driver and the company give back what they earned, in proportion. Taken even from a
    /// driver who doesn't have it.
    Driver,
    Company,
}

/// Where it goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundTo {
    Wallet,
    /// Through the gateway, to the card that paid.
    Card,
}

/// Something given back for a trip that was settled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    pub refund: Uuid,
    pub trip: TripId,
    pub rider: RiderId,
    pub driver: DriverId,
    /// As the trip was settled.
    pub price: Piasters,
    pub promo: Piasters,
    pub commission: BasisPoints,
    /// Given back for the trip before, so that parts add up to the whole.
    pub before: Piasters,
    pub amount: Piasters,
    pub burden: Burden,
    pub to: RefundTo,
    /// Shown to rider and driver.
    pub reason: String,
}

/// Key `refund:<refund>`. The database refuses to give back more than was paid for the trip.
pub fn refund(refund: &Refund) -> Journal {
    let amount = refund.amount.max(Piasters::ZERO);
    let to = match refund.to {
        RefundTo::Wallet => Account::RiderWallet(refund.rider.into()),
        RefundTo::Card => Account::GatewayReceivable,
    };
    let (kind, mode, mut legs) = match refund.burden {
        Burden::Driver => (Kind::Refund, Mode::Obligation, given_back(refund, amount)),
        Burden::Company => {
            (Kind::Goodwill, Mode::Authorising, vec![leg(Account::RefundContra, -amount)])
        }
    };
    legs.push(leg(to, amount));
    let key = format!("refund:{}", refund.refund);
    let mut journal = Journal::new(kind, refund.refund, key, mode, &legs);
    journal.parent = Some(refund.trip);
    journal.paid = Some(-amount);
    journal.note = Some(refund.reason.clone());
    journal
}

/// The settlement in reverse, between what was given back before and what is then: the difference
/// of two roundings, so that all parts together are the settlement exactly.
fn given_back(refund: &Refund, amount: Piasters) -> Vec<Leg> {
    let (old, new) = (reversed(refund, refund.before), reversed(refund, refund.before + amount));
    let split = |fare| shares(fare, refund.commission);
    let (was, is) = (split(old.fare), split(new.fare));
    let driver = UserId::from(refund.driver);
    // Cash that was rounded up is more than the fare: what is over it comes from where it went.
    let rounding = (new.fare - old.fare) - (new.promo - old.promo) - amount;
    vec![
        leg(Account::Driver(driver), was.driver - is.driver),
        leg(Account::Commission, was.commission - is.commission),
        leg(Account::Vat, was.vat - is.vat),
        leg(Account::PromoExpense, new.promo - old.promo),
        leg(Account::Adjustments, rounding),
    ]
}

/// The part of a fare that goes with an amount given back, and the promo in that part.
struct Reversed {
    fare: Piasters,
    promo: Piasters,
}

fn reversed(refund: &Refund, amount: Piasters) -> Reversed {
    let promo = refund.promo.clamp(Piasters::ZERO, refund.price);
    let own = refund.price - promo;
    let amount = amount.min(own);
    if own == Piasters::ZERO {
        return Reversed { fare: Piasters::ZERO, promo: Piasters::ZERO };
    }
    let promo = promo.part(amount.0, own.0);
    Reversed { fare: amount + promo, promo }
}
