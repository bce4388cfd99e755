//! What a card pays, and what it leaves.

use super::*;

#[test]
fn what_a_card_does_not_cover_is_the_wallets_and_what_is_too_much_goes_there() {
    let check = |taken, promo, (wallet, due), expected: &str| {
        let fare = fare(Card, 10_000, promo);
        let (wallet, due, hold) = (Piasters(wallet), Piasters(due), Piasters::ZERO);
        let funds = RiderFunds { wallet, hold, due };
        let taken = Piasters(taken);
        let said = match is_covered(&fare, taken, &funds) {
            true => text(&captured(&fare, taken, &funds)),
            false => "SHORT".to_owned(),
        };
        assert_eq!(said.replace("driver +8500, commission +1316, vat +184", "…"), expected);
    };
    check(10_000, 0, (0, 0), "settle obligation: …, gateway_receivable -10000");
    check(
        8_000,
        2_000,
        (0, 0),
        "settle obligation: …, gateway_receivable -8000, promo_expense -2000",
    );
    check(
        7_000,
        0,
        (9_000, 0),
        "settle obligation: rider_wallet -3000, …, gateway_receivable -7000",
    );
    check(
        7_000,
        0,
        (1_000, 3_000),
        "settle obligation: rider_wallet -1000, rider_due -2000, …, gateway_receivable -7000",
    );
    check(7_000, 0, (1_000, 3_001), "SHORT");
    check(12_000, 0, (0, 0), "settle obligation: rider_wallet +2000, …, gateway_receivable -12000");
}

#[test]
fn a_card_pays_the_fee_of_a_late_cancellation() {
    let check = |taken, wallet, expected: &str| {
        let fee = Piasters(3_000);
        let fee = CancelFee { trip: TRIP, rider: RIDER, driver: Some(DRIVER), fee };
        let funds = RiderFunds { wallet: Piasters(wallet), ..Default::default() };
        let journal = fee_captured(&fee, Piasters(taken), &funds);
        assert_eq!((text(&journal), journal.paid), (expected.to_owned(), Some(Piasters(3_000))));
    };
    let split = "driver +2000, cancel_revenue +1000";
    check(3_000, 0, &format!("cancel_fee obligation: {split}, gateway_receivable -3000"));
    check(
        2_000,
        400,
        &format!(
            "cancel_fee obligation: rider_wallet -400, rider_due -600, {split}, \
             gateway_receivable -2000"
        ),
    );
    // As cash: nothing of it from the card.
    check(0, 0, &format!("cancel_fee obligation: rider_due -3000, {split}"));
}
