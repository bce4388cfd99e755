//! Prices that are bid, as a table: driver `n` has offer `n`, bids until 30 s, and holds the trip
//! of 100 until 45 s.

use base::{BasisPoints, OfferId, Piasters, RiderId};

use super::table::{accept, after, cancel, check, tell};
use super::{RIDER, at_s, driver, state, trip};
use crate::model::{Party, Status, Trip};
use crate::offers::BidTerms;
use crate::rules::{Command, State};

const FLOOR: BasisPoints = BasisPoints(8_000);
const CEILING: BasisPoints = BasisPoints(15_000);

fn ask(n: u128) -> (i64, Command) {
    let (offer, open_until) = (OfferId::from_u128(n), at_s(30));
    let terms = BidTerms { offer, open_until, floor: FLOOR, ceiling: CEILING, eta_s: 240 };
    (0, Command::AskBid { driver: driver(n), until: at_s(45), round: 1, terms })
}

fn bid(n: u128, pounds: &str) -> Command {
    Command::Bid { driver: driver(n), price: Piasters::parse(pounds).expect("an amount") }
}

fn pick(n: u128, seen: Option<i64>) -> Command {
    let price = seen.map(Piasters::pounds);
    Command::PickBid { rider: RIDER, offer: OfferId::from_u128(n), price }
}

/// 1, 2 and 3 are asked; 1 bids 90, 2 bids 110.
fn two_bids() -> State {
    let story = [ask(1), ask(2), ask(3), (5, bid(1, "90")), (6, bid(2, "110"))];
    tell(state(trip()), &story)
}

#[test]
fn a_bid_is_of_who_was_asked_within_the_bounds_and_in_time() {
    let asked = tell(state(trip()), &[ask(1), ask(2)]);
    let said = |price: &str| format!("1 - requested open 1,2 [bid(1 {price} open)]");
    check(&asked, bid(1, "80"), 5, &said("80"));
    check(&asked, bid(1, "150"), 29, &said("150"));
    // Rounded as quotes are, before it is compared.
    check(&asked, bid(1, "79.75"), 5, &said("80"));
    check(&asked, bid(1, "99.8"), 5, &said("100"));
    let fields = |price: &str| {
        let refused = Command::Bid { driver: driver(1), price: Piasters::parse(price).unwrap() };
        let refusal = crate::rules::step(&asked, &refused, at_s(5)).unwrap_err();
        let problem = base::Problem::from(refusal);
        format!(
            "{} {} {}",
            problem.details["fields"][0]["code"], problem.details["min"], problem.details["max"]
        )
    };
    assert_eq!(fields("79.7"), r#""out_of_range" 80 150"#);
    assert_eq!(fields("150.01"), r#""out_of_range" 80 150"#);
    assert_eq!(fields("90000000000000000"), r#""out_of_range" 80 150"#);
    check(&asked, bid(1, "90"), 30, "OFFER_EXPIRED");
    check(&asked, bid(3, "90"), 5, "NOT_FOUND");
    // A yes is a bid of the trip's own price.
    check(&asked, accept(1), 5, &said("100"));
    check(&asked, accept(1), 30, "OFFER_EXPIRED");
    // Where nothing is bid, nothing is.
    let offered = after(Status::Requested);
    let refusal = crate::rules::step(&offered, &bid(1, "90"), at_s(5)).unwrap_err();
    assert_eq!(refusal.to_string(), "no prices are bid for the trip");
}

#[test]
fn a_bid_is_changed_and_taken_back() {
    let bids = two_bids();
    check(&bids, bid(1, "85.5"), 7, "1 - requested open 1,2,3 [bid(1 85.5 open)]");
    // The same again is no news.
    check(&bids, bid(1, "90"), 7, "1 - requested open 1,2,3 []");
    let gone = "1 - requested open 2,3 [offer(1 declined) bid(1 90 withdrawn)]";
    check(&bids, Command::Decline { driver: driver(1) }, 7, gone);
    let lost = "1 - requested open 2,3 [offer(1 lost) bid(1 90 lost)]";
    check(&bids, Command::Withdraw { driver: driver(1) }, 7, lost);
    // Who bid nothing has nothing to take back.
    let quiet = "1 - requested open 1,2 [offer(3 declined)]";
    check(&bids, Command::Decline { driver: driver(3) }, 7, quiet);
}

#[test]
fn a_bid_that_was_raised_is_picked_by_its_price_only() {
    let raised = tell(two_bids(), &[(7, bid(2, "115"))]);
    check(&raised, pick(2, None), 8, "PRICE_CHANGED {\"price\":115}");
    let named = tell(raised.clone(), &[(8, pick(2, Some(115)))]);
    assert_eq!(named.trip.price, Piasters::pounds(115));
    // Also after it was lowered again: which of them the rider saw nobody knows.
    let lowered = tell(raised, &[(8, bid(2, "112"))]);
    check(&lowered, pick(2, None), 9, "PRICE_CHANGED {\"price\":112}");
    let cheaper = tell(two_bids(), &[(7, bid(2, "105")), (8, pick(2, None))]);
    assert_eq!(cheaper.trip.price, Piasters::pounds(105));
}

#[test]
fn the_rider_picks_one_and_the_others_end() {
    let bids = two_bids();
    let won = "2 accepted accepted by 2 \
               [event offer(2 accepted) offer(1 revoked) offer(3 revoked) over matched(2) \
               bid(2 110 won)]";
    check(&bids, pick(2, None), 7, won);
    check(&bids, pick(2, Some(110)), 44, won);
    check(&bids, pick(2, Some(90)), 7, "PRICE_CHANGED {\"price\":110}");
    check(&bids, pick(3, None), 7, "OFFER_EXPIRED");
    check(&bids, pick(9, None), 7, "OFFER_EXPIRED");
    check(&bids, pick(2, None), 45, "OFFER_EXPIRED");
    let other = RiderId::from_u128(4);
    let strangers = Command::PickBid { rider: other, offer: OfferId::from_u128(2), price: None };
    check(&bids, strangers.clone(), 7, "NOT_FOUND");
    let picked = tell(bids.clone(), &[(7, pick(2, None))]);
    assert_eq!(
        (picked.trip.price, picked.trip.quoted_price),
        (Piasters::pounds(110), Some(Piasters::pounds(100)))
    );
    // Whatever comes second finds the trip taken.
    check(&picked, pick(1, None), 8, "INVALID_TRANSITION {\"current\":\"accepted\"}");
    check(&picked, strangers, 8, "NOT_FOUND");
    check(&picked, bid(1, "80"), 8, "TRIP_TAKEN");
    check(&picked, accept(3), 8, "TRIP_TAKEN");
    let called_off = tell(bids, &[(7, cancel(Party::Rider(RIDER)))]);
    check(&called_off, pick(2, None), 8, "INVALID_TRANSITION {\"current\":\"cancelled\"}");
    check(&called_off, bid(1, "80"), 8, "INVALID_TRANSITION {\"current\":\"cancelled\"}");
}

#[test]
fn who_bids_nothing_is_free_when_bids_close_and_bids_stand_a_while() {
    let bids = two_bids();
    assert_eq!(bids.due(), Some(at_s(30)));
    check(&bids, Command::Expire, 29, "1 - requested open 1,2,3 []");
    check(&bids, Command::Expire, 30, "1 - requested open 1,2 [offer(3 expired)]");
    let closed = tell(bids, &[(30, Command::Expire)]);
    assert_eq!(closed.due(), Some(at_s(45)));
    check(&closed, bid(1, "80"), 31, "OFFER_EXPIRED");
    let let_pass = "1 - requested [offer(1 unchosen) bid(1 90 expired) offer(2 unchosen) \
                    bid(2 110 expired)]";
    check(&closed, Command::Expire, 45, let_pass);
    let over = tell(closed, &[(45, Command::Expire)]);
    check(&over, pick(1, None), 46, "OFFER_EXPIRED");
    check(&over, bid(1, "80"), 46, "OFFER_EXPIRED");
}

#[test]
fn a_driver_who_gives_a_bid_trip_back_leaves_the_quote_behind() {
    let gave_back = cancel(Party::Driver(driver(2)));
    let again = tell(two_bids(), &[(7, pick(2, None)), (9, gave_back)]);
    assert_eq!((again.trip.price, again.trip.quoted_price), (Piasters::pounds(100), None));
    // The next bids are not measured by the last.
    let (least, most) = again.trip.bid_range(FLOOR, CEILING);
    assert_eq!((least, most), (Piasters::pounds(80), Piasters::pounds(150)));
    // An answer to the first search is of no use to the second.
    check(&again, bid(1, "80"), 10, "NOT_FOUND");
}

#[test]
fn bounds_are_shares_of_the_quote() {
    let check = |trip: &Trip, expected: (i64, i64)| {
        let (least, most) = trip.bid_range(FLOOR, CEILING);
        assert_eq!((least.0, most.0), expected);
    };
    check(&Trip { price: Piasters(4_250), ..trip() }, (3_400, 6_400));
    // A bid's price is no measure of another bid.
    let quoted_price = Some(Piasters(10_000));
    check(&Trip { price: Piasters(15_000), quoted_price, ..trip() }, (8_000, 15_000));
    // A promo was reckoned from the quote: below it, it might give too much.
    check(&Trip { promo: Piasters(2_000), ..trip() }, (10_000, 15_000));
    // No fare is above all fares.
    check(&Trip { price: Piasters(900_000), ..trip() }, (720_000, 1_000_000));
}
