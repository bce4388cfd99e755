//! DESIGN 7's table, leg by leg.

mod cards;

use base::{BasisPoints, PaymentMethod, TripId};
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::model::{Journal, RiderFunds};

const TRIP: TripId = TripId::from_u128(7);
const RIDER: RiderId = RiderId::from_u128(1);
const DRIVER: DriverId = DriverId::from_u128(2);

fn fare(method: PaymentMethod, price: i64, promo: i64) -> Settlement {
    Settlement {
        trip: TRIP,
        rider: RIDER,
        driver: DRIVER,
        method,
        price: Piasters(price),
        promo: Piasters(promo),
        cash_step: Piasters(1),
        commission: BasisPoints(1500),
        hold: Piasters::ZERO,
        due_limit: Piasters(5000),
        debt_limit: Piasters(20_000),
    }
}

fn settle(method: PaymentMethod, price: i64, hold: i64) -> TripMoney {
    TripMoney::Settle(Settlement { hold: Piasters(hold), ..fare(method, price, 0) })
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
    let funds = RiderFunds { wallet: Piasters(wallet), hold: Piasters(hold), due: Piasters(due) };
    let said = match decide(step, &funds) {
        Ok(journals) => journals.iter().map(text).collect::<Vec<_>>().join("; "),
        Err(failed) => {
            let release = failed.release.as_deref().map_or_else(String::new, text);
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
        hold_for(Piasters(price), Piasters(wallet)).map(|amount| amount.0).map_err(|e| e.price.0)
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
fn a_promo_is_paid_by_the_company() {
    let promo = |method| TripMoney::Settle(fare(method, 10_000, 2_000));
    check(
        &promo(Cash),
        (0, 0, 0),
        "settle obligation: driver +500, commission +1316, vat +184, promo_expense -2000",
    );
    check(
        &promo(Card),
        (0, 0, 0),
        "settle obligation: driver +8500, commission +1316, vat +184, \
         gateway_receivable -8000, promo_expense -2000",
    );
    check(
        &promo(Wallet),
        (9_000, 0, 0),
        "settle obligation: rider_wallet -8000, driver +8500, commission +1316, vat +184, \
         promo_expense -2000",
    );
    // More than the price is the price.
    check(
        &TripMoney::Settle(fare(Wallet, 10_000, 12_000)),
        (0, 0, 0),
        "settle obligation: driver +8500, commission +1316, vat +184, promo_expense -10000",
    );
}

#[test]
fn cash_is_rounded_to_what_can_be_handed_over() {
    let rounded =
        |price| TripMoney::Settle(Settlement { cash_step: Piasters(100), ..fare(Cash, price, 0) });
    // 100.50 is handed over as 101: the half pound in the driver's hand is the company's.
    check(
        &rounded(10_050),
        (0, 0, 0),
        "settle obligation: driver -1558, commission +1323, vat +185, adjustments +50",
    );
    check(
        &rounded(10_040),
        (0, 0, 0),
        "settle obligation: driver -1466, commission +1321, vat +185, adjustments -40",
    );
    let TripMoney::Settle(paid) = rounded(10_050) else { unreachable!("a settlement") };
    assert_eq!(paid.to_pay(), Piasters(10_100));
}

#[test]
fn a_late_capture_settles_what_was_completed() {
    let late = Settlement { hold: Piasters(500), ..fare(Wallet, 10_000, 0) };
    let none = RiderFunds::default();
    let journal = captured(&late, Piasters(10_000), &none);
    assert_eq!(
        text(&journal),
        "settle obligation: driver +8500, commission +1316, vat +184, gateway_receivable -10000"
    );
    assert_eq!(journal.key, format!("settle:{TRIP}"));
    assert_eq!(journal.paid, Some(Piasters(10_000)));
}

#[test]
fn a_tip_goes_from_wallet_to_driver() {
    assert_eq!(
        text(&tip(TRIP, RIDER, DRIVER, Piasters(1_000))),
        "tip authorising: rider_wallet -1000, driver +1000"
    );
}

#[test]
fn wrong_cash_is_put_right() {
    let check = |taken, due, expected: &str| {
        let (trip, rider, driver) = (TRIP, RIDER, DRIVER);
        let (to_pay, due_limit) = (Piasters(10_000), Piasters(5_000));
        let cash = CashTaken { trip, rider, driver, to_pay, taken: Piasters(taken), due_limit };
        let funds = RiderFunds { due: Piasters(due), ..Default::default() };
        let said = match cash_difference(&cash, &funds) {
            Ok(journal) => journal.as_ref().map_or_else(String::new, text),
            Err(over) => format!("OVER {}", over.due.0),
        };
        assert_eq!(said, expected);
    };
    check(10_000, 0, "");
    check(12_000, 0, "cash_difference obligation: rider_wallet +2000, driver -2000");
    check(9_500, 0, "cash_difference obligation: rider_due -500, driver +500");
    check(9_500, 4_500, "cash_difference obligation: rider_due -500, driver +500");
    check(9_500, 4_501, "OVER 5001");
}

#[test]
fn money_comes_through_the_gateway() {
    let id = Uuid::from_u128(5);
    assert_eq!(
        text(&deposit(id, super::Wallet::Rider(RIDER), Piasters(20_000))),
        "deposit obligation: rider_wallet +20000, gateway_receivable -20000"
    );
    assert_eq!(
        text(&deposit(id, super::Wallet::Driver(DRIVER), Piasters(700))),
        "deposit obligation: driver +700, gateway_receivable -700"
    );
    let back = deposit_refund(id, super::Wallet::Rider(RIDER), Piasters(5_000), "a mistake");
    assert_eq!(
        text(&back),
        "deposit_refund authorising: rider_wallet -5000, gateway_receivable +5000"
    );
    assert_eq!(
        (back.key.clone(), back.note.as_deref()),
        (format!("deposit_refund:{id}"), Some("a mistake"))
    );
    assert_eq!(
        text(&deposit_refund_failed(id, super::Wallet::Driver(DRIVER), Piasters(5_000))),
        "deposit_refund_failed obligation: driver +5000, gateway_receivable -5000"
    );
    assert_eq!(
        text(&gateway_settled(id, Piasters(20_000), Piasters(550))),
        "gateway_settled obligation: gateway_receivable +20000, gateway_fees -550, bank -19450"
    );
}

#[test]
fn an_unknown_capture_waits_in_suspense() {
    let (id, amount) = (Uuid::from_u128(5), Piasters(300));
    let resolved = |how| text(&suspense_resolved(id, amount, how));
    assert_eq!(
        text(&suspense(id, amount)),
        "suspense obligation: gateway_receivable -300, suspense +300"
    );
    assert_eq!(
        resolved(Resolution::Found(super::Wallet::Rider(RIDER))),
        "suspense_resolved obligation: rider_wallet +300, suspense -300"
    );
    assert_eq!(
        resolved(Resolution::Returned),
        "suspense_resolved obligation: gateway_receivable +300, suspense -300"
    );
}

#[test]
fn a_withdrawal_goes_step_by_step() {
    let step = |step| {
        let journal = withdrawal(Uuid::from_u128(5), DRIVER, Piasters(900), step);
        assert!(journal.key.starts_with(&format!("withdraw:{}:", Uuid::from_u128(5))));
        text(&journal)
    };
    assert_eq!(
        [
            step(WithdrawStep::Requested),
            step(WithdrawStep::Rejected),
            step(WithdrawStep::Sent),
            step(WithdrawStep::Confirmed),
            step(WithdrawStep::Failed),
        ],
        [
            "withdraw_requested authorising: driver -900, driver_hold +900",
            "withdraw_rejected obligation: driver +900, driver_hold -900",
            "withdraw_sent authorising: driver_hold -900, payout_clearing +900",
            "withdraw_confirmed obligation: bank +900, payout_clearing -900",
            "withdraw_failed obligation: driver +900, payout_clearing -900",
        ]
    );
}

fn giving_back(amount: i64, before: i64, promo: i64) -> Refund {
    Refund {
        refund: Uuid::from_u128(5),
        trip: TRIP,
        rider: RIDER,
        driver: DRIVER,
        price: Piasters(10_000),
        promo: Piasters(promo),
        commission: BasisPoints(1500),
        before: Piasters(before),
        amount: Piasters(amount),
        burden: Burden::Driver,
        to: RefundTo::Wallet,
        reason: "a long way round".to_owned(),
    }
}

#[test]
fn a_refund_reverses_the_settlement_or_costs_the_company() {
    let whole = giving_back(10_000, 0, 0);
    assert_eq!(
        text(&refund(&whole)),
        "refund obligation: rider_wallet +10000, driver -8500, commission -1316, vat -184"
    );
    assert_eq!(refund(&whole).paid, Some(Piasters(-10_000)));
    assert_eq!(refund(&whole).parent, Some(TRIP));
    let to_card = Refund { to: RefundTo::Card, ..whole.clone() };
    assert_eq!(
        text(&refund(&to_card)),
        "refund obligation: driver -8500, commission -1316, vat -184, gateway_receivable +10000"
    );
    let goodwill = Refund { burden: Burden::Company, ..whole };
    assert_eq!(
        text(&refund(&goodwill)),
        "goodwill authorising: rider_wallet +10000, refund_contra -10000"
    );
    let promo = giving_back(8_000, 0, 2_000);
    assert_eq!(
        text(&refund(&promo)),
        "refund obligation: rider_wallet +8000, driver -8500, commission -1316, vat -184, \
         promo_expense +2000"
    );
    // Paid with a coin more than the fare: that comes from where it went.
    let rounded = giving_back(10_050, 0, 0);
    assert_eq!(
        text(&refund(&rounded)),
        "refund obligation: rider_wallet +10050, driver -8500, commission -1316, vat -184, \
         adjustments -50"
    );
}

#[test]
fn a_partial_refund_is_in_proportion() {
    assert_eq!(
        text(&refund(&giving_back(1_030, 0, 0))),
        "refund obligation: rider_wallet +1030, driver -876, commission -135, vat -19"
    );
}

#[test]
fn debts_are_given_up_by_name() {
    let admin = UserId::from_u128(9);
    let off = |debtor| write_off(admin, debtor, Piasters(900), "gone", Some("k"));
    assert_eq!(
        text(&off(Debtor::Rider(RIDER))),
        "write_off authorising: rider_due +900, bad_debt -900"
    );
    assert_eq!(
        text(&off(Debtor::Driver(DRIVER))),
        "write_off authorising: driver +900, bad_debt -900"
    );
    assert_eq!(off(Debtor::Driver(DRIVER)).key, format!("write_off:{admin}:k"));
}

#[test]
fn an_amount_that_is_not_positive_is_none() {
    let id = Uuid::from_u128(5);
    let to = super::Wallet::Rider(RIDER);
    for amount in [Piasters(0), Piasters(-5)] {
        let journals = [
            tip(TRIP, RIDER, DRIVER, amount),
            deposit(id, to, amount),
            deposit_refund(id, to, amount, ""),
            deposit_refund_failed(id, to, amount),
            gateway_settled(id, amount, Piasters(3)),
            suspense(id, amount),
            suspense_resolved(id, amount, Resolution::Found(to)),
            withdrawal(id, DRIVER, amount, WithdrawStep::Requested),
            refund(&giving_back(amount.0, 0, 0)),
            write_off(UserId::from_u128(9), Debtor::Rider(RIDER), amount, "", None),
        ];
        for journal in journals {
            assert_eq!(journal.legs, [], "{journal:?}");
        }
    }
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
        if let TripMoney::Settle(Settlement { commission, .. }) = &mut step {
            *commission = BasisPoints(rate);
        }
        let (wallet, hold) = (Piasters(wallet), Piasters(hold));
        (step, RiderFunds { wallet, hold, due: Piasters(due) })
    })
}

/// What is posted whether the step was paid or not.
fn outcome(step: &TripMoney, funds: &RiderFunds) -> Vec<Journal> {
    decide(step, funds)
        .unwrap_or_else(|failed| failed.release.map(|release| *release).into_iter().collect())
}

proptest! {
    /// However a trip is given back, in parts, everybody is where he was before it.
    #[test]
    fn refunds_in_parts_undo_the_settlement(
        price in 1..200_000i64, promo in 0..200_000i64, rate in 0..10_000i64,
        cuts in proptest::collection::vec(1..60_000i64, 1..6), step in 1..101i64,
    ) {
        let settlement = Settlement {
            commission: BasisPoints(rate),
            cash_step: Piasters(step),
            ..fare(Cash, price, promo)
        };
        let funds = RiderFunds::default();
        let mut all = decide(&TripMoney::Settle(settlement.clone()), &funds).expect("cash is paid");
        let (mut left, mut before) = (settlement.to_pay(), Piasters::ZERO);
        // What the rider handed over is outside the ledger; the refund is in his wallet.
        let handed = left;
        for cut in cuts.into_iter().chain([i64::MAX]) {
            let amount = left.min(Piasters(cut));
            all.push(refund(&Refund {
                price: settlement.price,
                commission: settlement.commission,
                ..giving_back(amount.0, before.0, promo)
            }));
            (left, before) = (left - amount, before + amount);
        }
        let total = |account| all.iter().map(|j| j.amount_on(account)).sum::<Piasters>();
        for journal in &all {
            let sum: Piasters = journal.legs.iter().map(|leg| leg.amount).sum();
            prop_assert_eq!(sum, Piasters::ZERO);
        }
        prop_assert_eq!(total(Account::RiderWallet(RIDER.into())), handed);
        // Coins rounded off are a part that he never paid, nor gets back.
        let own = settlement.price - settlement.promo.min(settlement.price);
        if own > Piasters::ZERO && settlement.to_pay() >= own {
            // He keeps the cash in his hand and gives as much from his account.
            prop_assert_eq!(total(Account::Driver(DRIVER.into())), -handed);
            prop_assert_eq!(total(Account::Commission), Piasters::ZERO);
            prop_assert_eq!(total(Account::Vat), Piasters::ZERO);
            prop_assert_eq!(total(Account::PromoExpense), Piasters::ZERO);
            prop_assert_eq!(total(Account::Adjustments), Piasters::ZERO);
        }
    }

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
        } else if let TripMoney::Settle(Settlement { due_limit, .. }) = step {
            prop_assert!(owed <= due_limit.max(funds.due));
        }
    }
}
