//! What the steps of a trip cost whom.

use std::cmp::Ordering;

use base::{
    BasisPoints, Code, DriverId, OfferId, PaymentMethod, Piasters, Problem, RiderId, TripId, UserId,
};

use super::{leg, moved};
use crate::model::{Account, Journal, Kind, Leg, Mode, RiderFunds};

/// Value added tax of Egypt, percent; it is inside the commission.
const VAT_PERCENT: i64 = 14;
/// A wallet trip holds this share of its price, so that a longer way is covered too.
const HOLD_SHARE: BasisPoints = BasisPoints(12_000);
/// The company keeps one part in this many of a cancellation fee, the driver the rest.
const CANCEL_PARTS: i64 = 3;

/// A step of a trip that moves money.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TripMoney {
    /// The trip is completed.
    Settle(Settlement),
    /// The trip ended without a fare.
    ReleaseHold { trip: TripId, rider: RiderId, hold: Piasters },
    /// The rider cancelled late; `driver` was on his way.
    CancelFee {
        trip: TripId,
        rider: RiderId,
        driver: Option<DriverId>,
        fee: Piasters,
        hold: Piasters,
    },
}

/// What a completed trip costs, and how it is paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settlement {
    pub trip: TripId,
    pub rider: RiderId,
    pub driver: DriverId,
    pub method: PaymentMethod,
    pub price: Piasters,
    /// What the company pays of the price; the rider pays the rest.
    pub promo: Piasters,
    /// Cash is handed over in multiples of this; one piaster where the city doesn't round.
    pub cash_step: Piasters,
    pub commission: BasisPoints,
    /// What this trip set aside, zero for cash.
    pub hold: Piasters,
    /// Most that a rider may owe.
    pub due_limit: Piasters,
    /// Most that a driver may owe and still take cash trips.
    pub debt_limit: Piasters,
}

impl Settlement {
    /// The company's part of the price.
    fn promo(&self) -> Piasters {
        self.promo.clamp(Piasters::ZERO, self.price)
    }

    /// The rider's part of the price.
    fn rest(&self) -> Piasters {
        self.price - self.promo()
    }

    /// What the rider pays: his part, in coins there are when it is cash.
    pub fn to_pay(&self) -> Piasters {
        match self.method {
            PaymentMethod::Cash => self.rest().round_to(self.cash_step.0.max(1)),
            PaymentMethod::Card | PaymentMethod::Wallet => self.rest(),
        }
    }
}

/// A completed trip that could not be paid: `release` gives the hold back, nothing else moves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rider is {short} pounds short")]
pub struct PaymentFailed {
    /// What is missing beyond hold and wallet.
    pub short: Piasters,
    pub release: Option<Box<Journal>>,
}

/// The wallet doesn't cover the price.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the wallet has {available}, the trip costs {price}")]
pub struct Insufficient {
    pub available: Piasters,
    pub price: Piasters,
}

impl From<Insufficient> for Problem {
    fn from(short: Insufficient) -> Self {
        Self::new(Code::InsufficientBalance, "the wallet doesn't cover the price")
            .with("available", short.available)
            .with("price", short.price)
    }
}

/// How a fare is split; the three add up to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares {
    pub driver: Piasters,
    /// The company's, without the tax.
    pub commission: Piasters,
    pub vat: Piasters,
}

/// Splits a fare. The gross commission and the tax inside it are each rounded once; their
/// counterparts are what remains.
pub fn shares(price: Piasters, rate: BasisPoints) -> Shares {
    let gross = price.share(rate);
    let vat = gross.part(VAT_PERCENT, 100 + VAT_PERCENT);
    Shares { driver: price - gross, commission: gross - vat, vat }
}

/// What a wallet trip sets aside when it is asked for: 1.2 × its price, or all there is.
pub fn hold_for(price: Piasters, available: Piasters) -> Result<Piasters, Insufficient> {
    if available < price {
        return Err(Insufficient { available, price });
    }
    Ok(price.share(HOLD_SHARE).min(available))
}

/// Sets `amount` aside for a trip; key `hold:<trip>`.
pub fn hold_journal(trip: TripId, rider: RiderId, amount: Piasters) -> Journal {
    let user = UserId::from(rider);
    let legs = moved(Account::RiderWallet(user), Account::RiderHold(user), amount);
    Journal::new(Kind::Hold, trip.0, format!("hold:{trip}"), Mode::Authorising, &legs)
}

/// Sets `amount` more aside, for a bid that costs more than is set aside; once per offer, key
/// `hold:<trip>:<offer>`.
pub fn raise_hold(trip: TripId, rider: RiderId, offer: OfferId, amount: Piasters) -> Journal {
    let user = UserId::from(rider);
    let legs = moved(Account::RiderWallet(user), Account::RiderHold(user), amount);
    let key = format!("hold:{trip}:{offer}");
    let journal = Journal::new(Kind::Hold, offer.0, key, Mode::Authorising, &legs);
    Journal { parent: Some(trip), ..journal }
}

/// The journals of a step, none when nothing moves. Keys: `settle:<trip>`, `release:<trip>`,
/// `cancel:<trip>`.
pub fn decide(step: &TripMoney, funds: &RiderFunds) -> Result<Vec<Journal>, PaymentFailed> {
    match *step {
        TripMoney::Settle(ref fare) => {
            let mut legs = match fare.method {
                PaymentMethod::Cash => from_cash(fare),
                PaymentMethod::Card => from_card(fare),
                PaymentMethod::Wallet => from_wallet(fare, funds)?,
            };
            legs.extend(give_back(fare.rider, fare.hold));
            Ok(posted(settled(fare, legs)))
        }
        TripMoney::ReleaseHold { trip, rider, hold } => Ok(posted(release(trip, rider, hold))),
        TripMoney::CancelFee { trip, rider, hold, fee, .. } if fee <= Piasters::ZERO => {
            Ok(posted(release(trip, rider, hold)))
        }
        TripMoney::CancelFee { trip, rider, driver, fee, hold } => {
            Ok(posted(cancel_fee(trip, rider, driver, fee, hold, funds)))
        }
    }
}

/// The settlement of a trip that is completed already and of whose card the gateway took `taken`
/// now, however it was to be paid at first. The trip's hold is gone by then. What the card does not
/// cover comes from the wallet or is owed, whatever the limit: the money was taken, and
/// [`is_covered`] was asked before. What is too much goes into the wallet. Key `settle:<trip>`.
pub fn captured(fare: &Settlement, taken: Piasters, funds: &RiderFunds) -> Journal {
    let fare = Settlement { method: PaymentMethod::Card, ..fare.clone() };
    let legs = by_card(fare.rider, fare.to_pay(), taken, funds);
    settled(&fare, legs)
}

/// Does a card of which `taken` can be had pay for the trip, with the wallet and what may be owed?
pub fn is_covered(fare: &Settlement, taken: Piasters, funds: &RiderFunds) -> bool {
    let fare = Settlement { method: PaymentMethod::Card, ..fare.clone() };
    let short = fare.to_pay() - taken - funds.wallet;
    short <= Piasters::ZERO || funds.due + short <= fare.due_limit
}

/// The fee of a late cancellation of which the gateway took `taken` from the rider's card; the rest
/// as of any other trip. Key `cancel:<trip>`.
pub fn fee_captured(fee: &CancelFee, taken: Piasters, funds: &RiderFunds) -> Journal {
    let legs = by_card(fee.rider, fee.fee, taken, funds);
    fee_of(fee.trip, fee.driver, fee.fee, legs)
}

/// What a rider owes for having cancelled late; `driver` was on his way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CancelFee {
    pub trip: TripId,
    pub rider: RiderId,
    pub driver: Option<DriverId>,
    pub fee: Piasters,
}

/// From the rider's wallet to the driver, once per trip; key `tip:<trip>`. Cash is given by hand,
/// and a card pays into the wallet first.
pub fn tip(trip: TripId, rider: RiderId, driver: DriverId, amount: Piasters) -> Journal {
    let legs = moved(Account::RiderWallet(rider.into()), Account::Driver(driver.into()), amount);
    Journal::new(Kind::Tip, trip.0, format!("tip:{trip}"), Mode::Authorising, &legs)
}

/// What the driver says that he was given in cash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CashTaken {
    pub trip: TripId,
    pub rider: RiderId,
    pub driver: DriverId,
    /// See [`Settlement::to_pay`].
    pub to_pay: Piasters,
    pub taken: Piasters,
    /// Most that a rider may owe.
    pub due_limit: Piasters,
}

/// The rider would owe more than he may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rider would owe {due}, at most {limit} is allowed")]
pub struct OverDueLimit {
    pub due: Piasters,
    pub limit: Piasters,
}

/// More cash than was to pay goes from the driver into the rider's wallet; less is owed by the
/// rider and made good to the driver. `None` when it was right. Once per trip; key `cash:<trip>`.
pub fn cash_difference(
    cash: &CashTaken,
    funds: &RiderFunds,
) -> Result<Option<Journal>, OverDueLimit> {
    let (rider, driver) = (UserId::from(cash.rider), Account::Driver(cash.driver.into()));
    let short = cash.to_pay - cash.taken;
    let legs = match short.cmp(&Piasters::ZERO) {
        Ordering::Equal => return Ok(None),
        Ordering::Less => moved(driver, Account::RiderWallet(rider), -short),
        Ordering::Greater if funds.due + short > cash.due_limit => {
            return Err(OverDueLimit { due: funds.due + short, limit: cash.due_limit });
        }
        Ordering::Greater => moved(Account::RiderDue(rider), driver, short),
    };
    let key = format!("cash:{}", cash.trip);
    Ok(Some(Journal::new(Kind::CashDifference, cash.trip.0, key, Mode::Obligation, &legs)))
}

/// A journal in which nothing moves is none.
fn posted(journal: Journal) -> Vec<Journal> {
    if journal.legs.is_empty() { Vec::new() } else { vec![journal] }
}

/// The settlement whose rider pays by `legs`: promo, driver and company are always the same. What
/// the driver got in his hand is in `legs` too.
fn settled(fare: &Settlement, mut legs: Vec<Leg>) -> Journal {
    let split = shares(fare.price, fare.commission);
    legs.push(leg(Account::PromoExpense, -fare.promo()));
    legs.push(Leg {
        account: Account::Driver(fare.driver.into()),
        amount: split.driver,
        floor: Some(-fare.debt_limit),
    });
    legs.push(leg(Account::Commission, split.commission));
    legs.push(leg(Account::Vat, split.vat));
    let key = format!("settle:{}", fare.trip);
    let mut journal = Journal::new(Kind::Settle, fare.trip.0, key, Mode::Obligation, &legs);
    journal.paid = Some(fare.to_pay());
    journal
}

/// The driver has the cash in his hand: he owes what of it is not his.
fn from_cash(fare: &Settlement) -> Vec<Leg> {
    let handed = fare.to_pay();
    let rounding = handed - fare.rest();
    vec![leg(Account::Driver(fare.driver.into()), -handed), leg(Account::Adjustments, rounding)]
}

fn from_card(fare: &Settlement) -> Vec<Leg> {
    vec![leg(Account::GatewayReceivable, -fare.to_pay())]
}

/// `due` by a card of which `taken` was taken: the wallet has what is too much, and pays or owes
/// what is too little.
fn by_card(rider: RiderId, due: Piasters, taken: Piasters, funds: &RiderFunds) -> Vec<Leg> {
    let user = UserId::from(rider);
    let rest = due - taken;
    let paid = rest.min(funds.wallet);
    vec![
        leg(Account::GatewayReceivable, -taken),
        leg(Account::RiderWallet(user), -paid),
        leg(Account::RiderDue(user), paid - rest),
    ]
}

/// The hold pays first, then the wallet; what is still missing is owed, up to the limit.
fn from_wallet(fare: &Settlement, funds: &RiderFunds) -> Result<Vec<Leg>, PaymentFailed> {
    let user = UserId::from(fare.rider);
    let paid = fare.to_pay().min(fare.hold + funds.wallet);
    let short = fare.to_pay() - paid;
    if short > Piasters::ZERO && funds.due + short > fare.due_limit {
        let release = posted(release(fare.trip, fare.rider, fare.hold)).pop().map(Box::new);
        return Err(PaymentFailed { short, release });
    }
    Ok(vec![leg(Account::RiderWallet(user), -paid), leg(Account::RiderDue(user), -short)])
}

fn cancel_fee(
    trip: TripId,
    rider: RiderId,
    driver: Option<DriverId>,
    fee: Piasters,
    hold: Piasters,
    funds: &RiderFunds,
) -> Journal {
    let user = UserId::from(rider);
    let paid = fee.min(hold + funds.wallet);
    let mut legs = give_back(rider, hold).to_vec();
    legs.push(leg(Account::RiderWallet(user), -paid));
    legs.push(leg(Account::RiderDue(user), paid - fee));
    fee_of(trip, driver, fee, legs)
}

/// The fee that its rider pays by `legs`: driver and company have the same of it in any case.
fn fee_of(trip: TripId, driver: Option<DriverId>, fee: Piasters, mut legs: Vec<Leg>) -> Journal {
    let kept = match driver {
        Some(_) => fee.part(1, CANCEL_PARTS),
        None => fee,
    };
    legs.push(leg(Account::CancelRevenue, kept));
    if let Some(driver) = driver {
        legs.push(leg(Account::Driver(driver.into()), fee - kept));
    }
    let key = format!("cancel:{trip}");
    let mut journal = Journal::new(Kind::CancelFee, trip.0, key, Mode::Obligation, &legs);
    journal.paid = Some(fee);
    journal
}

fn release(trip: TripId, rider: RiderId, hold: Piasters) -> Journal {
    let legs = give_back(rider, hold);
    Journal::new(Kind::Release, trip.0, format!("release:{trip}"), Mode::Authorising, &legs)
}

/// From the hold back into the wallet; netting leaves what was really used.
fn give_back(rider: RiderId, hold: Piasters) -> [Leg; 2] {
    moved(Account::RiderHold(rider.into()), Account::RiderWallet(rider.into()), hold)
}
