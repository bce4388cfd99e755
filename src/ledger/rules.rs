//! Decides which journals a step of a trip posts.
//!
//! Owns the split of a fare and who pays what is missing. Does no I/O: the caller passes the
//! rider's funds, read under lock, and posts what comes back.
//!
//! Guarantees:
//! - every journal sums to zero;                              (test: `every_journal_sums_to_zero`)
//! - no journal takes more from a rider than he has;       (test: `riders_are_never_left_negative`)
//! - rounding happens once, half to even; the driver gets the residual.

use base::{BasisPoints, Code, DriverId, PaymentMethod, Piasters, Problem, RiderId, Role};
use base::{TripId, UserId};
use uuid::Uuid;

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
    /// The trip is completed. `hold` is what this trip set aside, zero for cash.
    Settle {
        trip: TripId,
        rider: RiderId,
        driver: DriverId,
        method: PaymentMethod,
        price: Piasters,
        commission: BasisPoints,
        hold: Piasters,
        /// Most that a rider may owe.
        due_limit: Piasters,
        /// Most that a driver may owe and still take cash trips.
        debt_limit: Piasters,
    },
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

/// A completed trip that could not be paid: `release` gives the hold back, nothing else moves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rider is {short} pounds short")]
pub struct PaymentFailed {
    /// What is missing beyond hold and wallet.
    pub short: Piasters,
    pub release: Option<Journal>,
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
    let legs = [leg(Account::RiderWallet(user), -amount), leg(Account::RiderHold(user), amount)];
    Journal::new(Kind::Hold, trip.0, format!("hold:{trip}"), Mode::Authorising, &legs)
}

/// The journals of a step, none when nothing moves. Keys: `settle:<trip>`, `release:<trip>`,
/// `cancel:<trip>`.
pub fn decide(step: &TripMoney, funds: &RiderFunds) -> Result<Vec<Journal>, PaymentFailed> {
    match *step {
        TripMoney::Settle {
            trip,
            rider,
            driver,
            method,
            price,
            commission,
            hold,
            due_limit,
            debt_limit,
        } => {
            let fare = Fare { trip, rider, driver, price, split: shares(price, commission), hold };
            let mut legs = match method {
                PaymentMethod::Cash => from_cash(&fare),
                PaymentMethod::Card => from_card(&fare),
                PaymentMethod::Wallet => from_wallet(&fare, due_limit, funds)?,
            };
            for leg in &mut legs {
                if leg.account == Account::Driver(driver.into()) {
                    leg.floor = Some(-debt_limit);
                }
            }
            let key = format!("settle:{trip}");
            Ok(posted(Journal::new(Kind::Settle, trip.0, key, Mode::Obligation, &legs)))
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

/// A correction by an admin: `amount` into (or, negative, out of) the user's main account. `None`
/// for accounts without a wallet. `key` names the correction; without one each call is a new one.
pub fn adjustment(
    admin: UserId,
    user: UserId,
    role: Role,
    amount: Piasters,
    reason: &str,
    key: Option<&str>,
) -> Option<Journal> {
    let account = main_account(user, role)?;
    let key = match key {
        Some(key) => format!("adjust:{admin}:{key}"),
        None => format!("adjust:{}", Uuid::now_v7()),
    };
    let legs = [leg(Account::Adjustments, -amount), leg(account, amount)];
    let mut journal = Journal::new(Kind::Adjustment, user.0, key, Mode::Authorising, &legs);
    journal.note = Some(reason.to_owned());
    Some(journal)
}

/// Pays what a rider owes from his wallet, as far as it goes; `None` when there is nothing to pay
/// or to pay with. `after` is the journal that brought the money: each pays the due once.
pub fn pay_due(rider: RiderId, funds: &RiderFunds, after: Uuid) -> Option<Journal> {
    let paid = funds.due.min(funds.wallet);
    if paid <= Piasters::ZERO {
        return None;
    }
    let user = UserId::from(rider);
    let legs = [leg(Account::RiderWallet(user), -paid), leg(Account::RiderDue(user), paid)];
    Some(Journal::new(Kind::DuePaid, user.0, format!("due:{after}"), Mode::Authorising, &legs))
}

/// The account that a user's balance is read from.
pub(crate) const fn main_account(user: UserId, role: Role) -> Option<Account> {
    match role {
        Role::Rider => Some(Account::RiderWallet(user)),
        Role::Driver => Some(Account::Driver(user)),
        Role::Admin => None,
    }
}

const fn leg(account: Account, amount: Piasters) -> Leg {
    Leg { account, amount, floor: None }
}

/// A journal in which nothing moves is none.
fn posted(journal: Journal) -> Vec<Journal> {
    if journal.legs.is_empty() { Vec::new() } else { vec![journal] }
}

/// What a completed trip costs and earns.
struct Fare {
    trip: TripId,
    rider: RiderId,
    driver: DriverId,
    price: Piasters,
    split: Shares,
    hold: Piasters,
}

/// The driver has the cash in his hand; he owes the commission in it.
fn from_cash(fare: &Fare) -> Vec<Leg> {
    let mut legs = give_back(fare.rider, fare.hold);
    let owed = fare.split.commission + fare.split.vat;
    legs.push(leg(Account::Driver(fare.driver.into()), -owed));
    legs.extend(earned(fare.split));
    legs
}

fn from_card(fare: &Fare) -> Vec<Leg> {
    let mut legs = give_back(fare.rider, fare.hold);
    legs.push(leg(Account::GatewayReceivable, -fare.price));
    legs.push(leg(Account::Driver(fare.driver.into()), fare.split.driver));
    legs.extend(earned(fare.split));
    legs
}

/// The hold pays first, then the wallet; what is still missing is owed, up to the limit.
fn from_wallet(
    fare: &Fare,
    due_limit: Piasters,
    funds: &RiderFunds,
) -> Result<Vec<Leg>, PaymentFailed> {
    let user = UserId::from(fare.rider);
    let paid = fare.price.min(fare.hold + funds.wallet);
    let short = fare.price - paid;
    if short > Piasters::ZERO && funds.due + short > due_limit {
        let release = posted(release(fare.trip, fare.rider, fare.hold)).into_iter().next();
        return Err(PaymentFailed { short, release });
    }
    let mut legs = give_back(fare.rider, fare.hold);
    legs.push(leg(Account::RiderWallet(user), -paid));
    legs.push(leg(Account::RiderDue(user), -short));
    legs.push(leg(Account::Driver(fare.driver.into()), fare.split.driver));
    legs.extend(earned(fare.split));
    Ok(legs)
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
    let mut legs = give_back(rider, hold);
    legs.push(leg(Account::RiderWallet(user), -paid));
    legs.push(leg(Account::RiderDue(user), paid - fee));
    let kept = match driver {
        Some(_) => fee.part(1, CANCEL_PARTS),
        None => fee,
    };
    legs.push(leg(Account::CancelRevenue, kept));
    if let Some(driver) = driver {
        legs.push(leg(Account::Driver(driver.into()), fee - kept));
    }
    Journal::new(Kind::CancelFee, trip.0, format!("cancel:{trip}"), Mode::Obligation, &legs)
}

fn release(trip: TripId, rider: RiderId, hold: Piasters) -> Journal {
    let legs = give_back(rider, hold);
    Journal::new(Kind::Release, trip.0, format!("release:{trip}"), Mode::Authorising, &legs)
}

/// From the hold back into the wallet; netting leaves what was really used.
fn give_back(rider: RiderId, hold: Piasters) -> Vec<Leg> {
    let user = UserId::from(rider);
    vec![leg(Account::RiderHold(user), -hold), leg(Account::RiderWallet(user), hold)]
}

fn earned(split: Shares) -> [Leg; 2] {
    [leg(Account::Commission, split.commission), leg(Account::Vat, split.vat)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRIP: TripId = TripId::from_u128(7);
    const RIDER: RiderId = RiderId::from_u128(1);
    const DRIVER: DriverId = DriverId::from_u128(2);

    fn settle(method: PaymentMethod, price: i64, hold: i64) -> TripMoney {
        TripMoney::Settle {
            trip: TRIP,
            rider: RIDER,
            driver: DRIVER,
            method,
            price: Piasters(price),
            commission: BasisPoints(1500),
            hold: Piasters(hold),
            due_limit: Piasters(5000),
            debt_limit: Piasters(20_000),
        }
    }

    fn cancel(driver: Option<DriverId>, fee: i64, hold: i64) -> TripMoney {
        let (fee, hold) = (Piasters(fee), Piasters(hold));
        TripMoney::CancelFee { trip: TRIP, rider: RIDER, driver, fee, hold }
    }

    fn text(journal: &Journal) -> String {
        let legs: Vec<String> = journal
            .legs
            .iter()
            .map(|leg| format!("{} {:+}", leg.account.name(), leg.amount.0))
            .collect();
        format!("{} {}: {}", journal.kind.name(), journal.mode.name(), legs.join(", "))
    }

    /// `funds` are (wallet, hold, due).
    #[track_caller]
    fn check(step: &TripMoney, (wallet, hold, due): (i64, i64, i64), expected: &str) {
        let funds =
            RiderFunds { wallet: Piasters(wallet), hold: Piasters(hold), due: Piasters(due) };
        let said = match decide(step, &funds) {
            Ok(journals) => journals.iter().map(text).collect::<Vec<_>>().join("; "),
            Err(failed) => {
                let release = failed.release.as_ref().map_or_else(String::new, text);
                format!("FAILED short {}; {release}", failed.short.0)
            }
        };
        assert_eq!(said, expected);
    }

    use PaymentMethod::{Card, Cash, Wallet};

    #[test]
    fn a_cash_trip_owes_the_commission() {
        check(
            &settle(Cash, 10_000, 0),
            (0, 0, 0),
            "settle obligation: driver -1500, commission +1316, vat +184",
        );
    }

    #[test]
    fn a_wallet_trip_is_paid_by_its_hold_and_the_rest_goes_back() {
        check(
            &settle(Wallet, 10_000, 12_000),
            (0, 12_000, 0),
            "settle obligation: rider_wallet +2000, rider_hold -12000, driver +8500, \
             commission +1316, vat +184",
        );
        check(
            &settle(Wallet, 10_000, 10_000),
            (0, 10_000, 0),
            "settle obligation: rider_hold -10000, driver +8500, commission +1316, vat +184",
        );
    }

    #[test]
    fn a_longer_way_is_paid_by_the_wallet_then_owed_then_refused() {
        check(
            &settle(Wallet, 15_000, 12_000),
            (4_000, 12_000, 0),
            "settle obligation: rider_wallet -3000, rider_hold -12000, driver +12750, \
             commission +1974, vat +276",
        );
        check(
            &settle(Wallet, 15_000, 10_000),
            (0, 10_000, 0),
            "settle obligation: rider_hold -10000, rider_due -5000, driver +12750, \
             commission +1974, vat +276",
        );
        check(
            &settle(Wallet, 15_001, 10_000),
            (0, 10_000, 0),
            "FAILED short 5001; release authorising: rider_wallet +10000, rider_hold -10000",
        );
        // What was owed before counts towards the limit.
        check(
            &settle(Wallet, 15_000, 10_000),
            (0, 10_000, 1),
            "FAILED short 5000; release authorising: rider_wallet +10000, rider_hold -10000",
        );
        // Tried again later the hold is gone already.
        check(&settle(Wallet, 15_000, 0), (0, 0, 0), "FAILED short 15000; ");
    }

    #[test]
    fn a_captured_card_trip_is_owed_by_the_gateway() {
        check(
            &settle(Card, 10_000, 0),
            (0, 0, 0),
            "settle obligation: driver +8500, commission +1316, vat +184, \
             gateway_receivable -10000",
        );
    }

    #[test]
    fn a_trip_without_a_fare_gives_the_hold_back() {
        let step = TripMoney::ReleaseHold { trip: TRIP, rider: RIDER, hold: Piasters(12_000) };
        check(&step, (0, 12_000, 0), "release authorising: rider_wallet +12000, rider_hold -12000");
        let nothing = TripMoney::ReleaseHold { trip: TRIP, rider: RIDER, hold: Piasters(0) };
        check(&nothing, (0, 0, 0), "");
    }

    #[test]
    fn a_cancel_fee_takes_what_is_there_and_owes_the_rest() {
        check(
            &cancel(Some(DRIVER), 1500, 0),
            (600, 0, 0),
            "cancel_fee obligation: rider_wallet -600, rider_due -900, driver +1000, \
             cancel_revenue +500",
        );
        check(
            &cancel(Some(DRIVER), 1500, 12_000),
            (0, 12_000, 0),
            "cancel_fee obligation: rider_wallet +10500, rider_hold -12000, driver +1000, \
             cancel_revenue +500",
        );
        check(
            &cancel(None, 1500, 0),
            (9_000, 0, 0),
            "cancel_fee obligation: rider_wallet -1500, cancel_revenue +1500",
        );
        check(
            &cancel(Some(DRIVER), 0, 500),
            (0, 500, 0),
            "release authorising: rider_wallet +500, rider_hold -500",
        );
    }

    #[test]
    fn a_settlement_is_keyed_by_its_trip_and_sets_the_drivers_floor() {
        let journals = decide(&settle(Cash, 10_000, 0), &RiderFunds::default()).expect("cash");
        assert_eq!(journals[0].key, format!("settle:{TRIP}"));
        assert_eq!(journals[0].reference, TRIP.0);
        let floors: Vec<_> = journals[0].legs.iter().filter_map(|leg| leg.floor).collect();
        assert_eq!(floors, [Piasters(-20_000)]);
    }

    #[test]
    fn a_hold_covers_a_fifth_more_or_all_there_is() {
        let hold = |price, wallet| {
            hold_for(Piasters(price), Piasters(wallet))
                .map(|amount| amount.0)
                .map_err(|e| e.price.0)
        };
        assert_eq!(hold(10_000, 20_000), Ok(12_000));
        assert_eq!(hold(10_000, 11_000), Ok(11_000));
        assert_eq!(hold(10_000, 10_000), Ok(10_000));
        assert_eq!(hold(10_000, 9_999), Err(10_000));
    }

    #[test]
    fn an_adjustment_moves_the_main_account() {
        let user = UserId::from_u128(1);
        let journal = |role, amount| {
            adjustment(user, user, role, Piasters(amount), "why", Some("k")).map(|j| text(&j))
        };
        assert_eq!(
            journal(Role::Rider, 500).as_deref(),
            Some("adjustment authorising: rider_wallet +500, adjustments -500"),
        );
        assert_eq!(
            journal(Role::Driver, -500).as_deref(),
            Some("adjustment authorising: driver -500, adjustments +500"),
        );
        assert_eq!(journal(Role::Admin, 500), None);
    }

    #[test]
    fn what_is_owed_is_paid_as_far_as_the_wallet_goes() {
        let paid = |wallet, due| {
            let funds =
                RiderFunds { wallet: Piasters(wallet), due: Piasters(due), ..Default::default() };
            pay_due(RIDER, &funds, TRIP.0).map(|journal| text(&journal))
        };
        assert_eq!(
            paid(1_000, 900).as_deref(),
            Some("due_paid authorising: rider_wallet -900, rider_due +900"),
        );
        assert_eq!(
            paid(500, 900).as_deref(),
            Some("due_paid authorising: rider_wallet -500, rider_due +500"),
        );
        assert_eq!(paid(0, 900), None);
        assert_eq!(paid(500, 0), None);
    }

    #[test]
    fn a_fare_that_rounds_splits_without_loss() {
        let split = |price, rate| {
            let shares = shares(Piasters(price), BasisPoints(rate));
            (shares.driver.0, shares.commission.0, shares.vat.0)
        };
        assert_eq!(split(10_000, 1500), (8500, 1316, 184));
        assert_eq!(split(1_030, 1500), (876, 135, 19)); // 154.5 is rounded to 154, once
        assert_eq!(split(0, 1500), (0, 0, 0));
    }

    fn any_step() -> impl Strategy<Value = (TripMoney, RiderFunds)> {
        let amounts = (1..1_000_000i64, 0..10_000i64, 0..1_200_000i64, 0..2_000_000i64);
        (amounts, 0..5_000i64, 0..6usize).prop_map(|((price, rate, hold, wallet), due, which)| {
            let mut step = match which {
                0..=2 => settle([Cash, Wallet, Card][which], price, hold),
                3 => cancel(Some(DRIVER), price, hold),
                4 => cancel(None, price, hold),
                _ => TripMoney::ReleaseHold { trip: TRIP, rider: RIDER, hold: Piasters(hold) },
            };
            if let TripMoney::Settle { commission, .. } = &mut step {
                *commission = BasisPoints(rate);
            }
            let (wallet, hold) = (Piasters(wallet), Piasters(hold));
            (step, RiderFunds { wallet, hold, due: Piasters(due) })
        })
    }

    /// What is posted whether the step was paid or not.
    fn outcome(step: &TripMoney, funds: &RiderFunds) -> Vec<Journal> {
        decide(step, funds).unwrap_or_else(|failed| failed.release.into_iter().collect())
    }

    proptest! {
        #[test]
        fn every_journal_sums_to_zero((step, funds) in any_step()) {
            for journal in outcome(&step, &funds) {
                let sum: Piasters = journal.legs.iter().map(|leg| leg.amount).sum();
                prop_assert!(journal.legs.len() >= 2);
                prop_assert_eq!(sum, Piasters::ZERO);
                prop_assert!(journal.legs.iter().all(|leg| leg.amount != Piasters::ZERO));
            }
        }

        #[test]
        fn riders_are_never_left_negative((step, funds) in any_step()) {
            let user = UserId::from(RIDER);
            let failed = decide(&step, &funds).is_err();
            let journals = outcome(&step, &funds);
            let moved = |account| journals.iter().map(|j| j.amount_on(account)).sum::<Piasters>();
            prop_assert!(funds.wallet + moved(Account::RiderWallet(user)) >= Piasters::ZERO);
            // Every step ends the trip's hold.
            prop_assert_eq!(funds.hold + moved(Account::RiderHold(user)), Piasters::ZERO);
            let owed = funds.due - moved(Account::RiderDue(user));
            prop_assert!(owed >= Piasters::ZERO);
            if failed {
                prop_assert_eq!(owed, funds.due);
            } else if let TripMoney::Settle { due_limit, .. } = step {
                prop_assert!(owed <= due_limit.max(funds.due));
            }
        }
    }
}
