//! What a picked bid asks of its rider's money: more of his wallet is set aside where what is set
//! aside doesn't cover it, and his card must have been authorised for as much. Pure.

use base::{PaymentMethod, Piasters, TripId};
use ledger::{Journal, RiderFunds};

use crate::ahead;
use crate::event::TripEvent;
use crate::model::Trip;
use crate::refusal::Refusal;
use crate::rules::Record;

impl Record {
    /// Does a bid change what the trip costs?
    pub(crate) const fn picks_bid(&self) -> bool {
        self.event.price.is_some() && self.event.offer_id.is_some()
    }

    /// Does it ask what its rider has?
    pub(crate) fn asks_funds(&self, trip: &Trip) -> bool {
        self.money.is_some() || self.picks_bid() || ahead::begins_search(trip, &self.event)
    }

    /// The trip whose card has to be asked how much it is good for.
    pub(crate) fn asks_card(&self, trip: &Trip) -> Option<TripId> {
        (self.picks_bid() && trip.method == PaymentMethod::Card).then_some(trip.id)
    }
}

/// Sets aside what the bid of `event` takes, if it takes more than before; `card` is what the
/// trip's card was authorised for. A bid that nothing covers can't be picked.
pub(crate) fn cover(
    trip: &Trip,
    event: &mut TripEvent,
    funds: &RiderFunds,
    card: Option<Piasters>,
) -> Result<Option<Journal>, Refusal> {
    let Some((price, offer)) = event.price.zip(event.offer_id) else { return Ok(None) };
    let rest = price - trip.promo;
    match trip.method {
        PaymentMethod::Cash => Ok(None),
        PaymentMethod::Card => {
            let authorised = card.unwrap_or_default();
            match authorised >= rest {
                true => Ok(None),
                false => Err(Refusal::BidOverCard { authorised, price: rest }),
            }
        }
        PaymentMethod::Wallet if trip.hold >= rest => Ok(None),
        PaymentMethod::Wallet => {
            let available = trip.hold + funds.wallet;
            let hold = ledger::hold_for(rest, available)
                .map_err(|_| Refusal::BidUncovered { available, price: rest })?;
            event.hold = Some(hold);
            Ok(Some(ledger::raise_hold(trip.id, trip.rider, offer, hold - trip.hold)))
        }
    }
}

#[cfg(test)]
mod tests {
    use base::OfferId;

    use super::*;
    use crate::event::EventName;
    use crate::model::{Side, Status};
    use crate::tests::{at_s, trip};

    /// A bid of `price` for a trip of 100 that has `hold` set aside and `wallet` left.
    fn check(trip: &Trip, wallet: i64, card: Option<i64>, price: i64, expected: &str) {
        let event =
            TripEvent::next(trip, EventName::Accepted, Status::Accepted, Side::Rider, at_s(9));
        let mut event =
            TripEvent { price: Some(Piasters(price)), offer_id: Some(OfferId::new()), ..event };
        let funds = RiderFunds { wallet: Piasters(wallet), ..RiderFunds::default() };
        let said = match cover(trip, &mut event, &funds, card.map(Piasters)) {
            Err(refusal) => refusal.to_string(),
            Ok(None) => "covered".to_owned(),
            Ok(Some(journal)) => {
                let moved: Vec<String> =
                    journal.legs.iter().map(|leg| leg.amount.to_string()).collect();
                let hold = event.hold.unwrap_or_default();
                format!("{} {}, holds {hold}", journal.kind.name(), moved.join(" "))
            }
        };
        assert_eq!(said, expected, "{price} with {wallet}");
    }

    #[test]
    fn a_bid_is_covered_or_not_picked() {
        let by = |method, hold| Trip { method, hold: Piasters(hold), ..trip() };
        check(&by(PaymentMethod::Cash, 0), 0, None, 15_000, "covered");
        let wallet = by(PaymentMethod::Wallet, 12_000);
        check(&wallet, 0, None, 12_000, "covered");
        check(&wallet, 0, None, 12_050, "the wallet has 120, the bid costs 120.5");
        check(&wallet, 50, None, 12_050, "hold -0.5 0.5, holds 120.5");
        check(&wallet, 90_000, None, 15_000, "hold -60 60, holds 180");
        // A promo pays its part of a bid, too.
        let promo = Trip { promo: Piasters(2_000), ..wallet };
        check(&promo, 0, None, 14_000, "covered");
        check(&promo, 0, None, 14_050, "the wallet has 120, the bid costs 120.5");
        let card = by(PaymentMethod::Card, 0);
        check(&card, 0, Some(12_000), 12_000, "covered");
        check(
            &card,
            90_000,
            Some(12_000),
            12_050,
            "the card was authorised for 120, the bid costs 120.5",
        );
        check(&card, 0, None, 8_000, "the card was authorised for 0, the bid costs 80");
    }
}
