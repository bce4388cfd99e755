//! Decides what a credit gives for a trip. Pure.
//!
//! Guarantees:
//! - nothing is given beyond the fare, the credit and the campaign's budget;
//!   (test: `no_offer_passes_a_limit`)
//! - of equal offers the one that ends sooner is taken.

use base::{Millis, Piasters, PromoCreditId};

use crate::model::{Credit, Fare, Off, Source};

/// What a credit gives for a trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    pub credit: PromoCreditId,
    pub amount: Piasters,
}

/// Why a credit gives nothing for a trip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("its time is over")]
    Expired,
    #[error("its time has not begun")]
    NotYet,
    #[error("it is used up")]
    UsedUp,
    #[error("it is not for this kind of car")]
    OtherTier,
    #[error("it is not for this city")]
    OtherCity,
    #[error("it is for higher fares")]
    FareTooLow,
}

impl Unfit {
    /// As `details.reason` says it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::NotYet => "not_yet",
            Self::UsedUp => "used_up",
            Self::OtherTier => "other_tier",
            Self::OtherCity => "other_city",
            Self::FareTooLow => "fare_too_low",
        }
    }
}

/// What `credit` gives for `fare` at `now`.
pub fn offer(credit: &Credit, fare: &Fare, now: Millis) -> Result<Offer, Unfit> {
    if now >= credit.expires_at {
        return Err(Unfit::Expired);
    }
    let amount = match &credit.source {
        Source::Grant { left, .. } => *left,
        Source::Code {
            off,
            min_fare,
            tiers,
            cities,
            trips_left,
            budget_left,
            open,
            valid_from,
            code: _,
        } => {
            if now < *valid_from {
                return Err(Unfit::NotYet);
            }
            if !open || *trips_left == 0 {
                return Err(Unfit::UsedUp);
            }
            if !tiers.is_empty() && !tiers.contains(&fare.tier) {
                return Err(Unfit::OtherTier);
            }
            if !cities.is_empty() && !cities.contains(&fare.city) {
                return Err(Unfit::OtherCity);
            }
            if fare.price < *min_fare {
                return Err(Unfit::FareTooLow);
            }
            off_of(*off, fare.price).min(*budget_left)
        }
    };
    let amount = amount.min(fare.price);
    match amount > Piasters::ZERO {
        true => Ok(Offer { credit: credit.id, amount }),
        false => Err(Unfit::UsedUp),
    }
}

/// The most that one of `credits` gives; of equal ones that which ends first.
pub fn best(credits: &[Credit], fare: &Fare, now: Millis) -> Option<Offer> {
    let offers = credits.iter().filter_map(|credit| Some((offer(credit, fare, now).ok()?, credit)));
    offers
        .max_by(|(one, a), (two, b)| {
            one.amount.cmp(&two.amount).then(b.expires_at.cmp(&a.expires_at))
        })
        .map(|(offer, _)| offer)
}

fn off_of(off: Off, price: Piasters) -> Piasters {
    match off {
        Off::Amount(amount) => amount,
        Off::Share { of_fare, at_most } => price.share(of_fare).min(at_most),
    }
}

#[cfg(test)]
mod tests {
    use base::{BasisPoints, CityId, Tier};
    use proptest::prelude::*;

    use super::*;

    const NOW: Millis = Millis(1_000);
    const FARE: Fare = Fare { city: CityId(1), tier: Tier::Economy, price: Piasters(10_000) };

    fn grant(left: i64, expires: i64) -> Credit {
        let source = Source::Grant { amount: Piasters(left), left: Piasters(left) };
        let (id, reason) = (PromoCreditId::from_u128(1), "a gift".to_owned());
        Credit { id, source, reason, expires_at: Millis(expires) }
    }

    fn code(off: Off) -> Credit {
        let source = Source::Code {
            code: "EID".to_owned(),
            off,
            min_fare: Piasters::ZERO,
            tiers: Vec::new(),
            cities: Vec::new(),
            trips_left: 1,
            budget_left: Piasters(1_000_000),
            open: true,
            valid_from: Millis(0),
        };
        Credit { source, ..grant(1, 2_000) }
    }

    /// The code with `change` made to it.
    fn changed(change: impl FnOnce(&mut Source)) -> Credit {
        let mut credit = code(Off::Amount(Piasters(2_000)));
        change(&mut credit.source);
        credit
    }

    #[track_caller]
    fn check(credit: &Credit, expected: &str) {
        let said = match offer(credit, &FARE, NOW) {
            Ok(offer) => offer.amount.to_string(),
            Err(unfit) => unfit.name().to_owned(),
        };
        assert_eq!(said, expected, "{credit:?}");
    }

    #[test]
    fn a_credit_gives_what_it_says_and_no_more_than_the_fare() {
        check(&grant(2_000, 2_000), "20");
        check(&grant(20_000, 2_000), "100");
        check(&grant(0, 2_000), "used_up");
        check(&code(Off::Amount(Piasters(2_000))), "20");
        let share = |at_most| Off::Share { of_fare: BasisPoints(1_500), at_most };
        check(&code(share(Piasters(5_000))), "15");
        check(&code(share(Piasters(1_000))), "10");
    }

    #[test]
    fn a_credit_says_why_it_gives_nothing() {
        // At the deadline itself it is over.
        check(&grant(2_000, 1_000), "expired");
        check(&grant(2_000, 1_001), "20");
        let set = |change: fn(&mut Source)| changed(change);
        let not_yet = set(|source| {
            if let Source::Code { valid_from, .. } = source {
                *valid_from = Millis(1_001);
            }
        });
        check(&not_yet, "not_yet");
        let ended = set(|source| {
            if let Source::Code { open, .. } = source {
                *open = false;
            }
        });
        check(&ended, "used_up");
        let premium = set(|source| {
            if let Source::Code { tiers, .. } = source {
                *tiers = vec![Tier::Premium];
            }
        });
        check(&premium, "other_tier");
        let elsewhere = set(|source| {
            if let Source::Code { cities, .. } = source {
                *cities = vec![CityId(2)];
            }
        });
        check(&elsewhere, "other_city");
        let long_ways = set(|source| {
            if let Source::Code { min_fare, .. } = source {
                *min_fare = Piasters(10_001);
            }
        });
        check(&long_ways, "fare_too_low");
        let nearly_spent = set(|source| {
            if let Source::Code { budget_left, .. } = source {
                *budget_left = Piasters(700);
            }
        });
        check(&nearly_spent, "7");
        let spent = set(|source| {
            if let Source::Code { budget_left, .. } = source {
                *budget_left = Piasters(0);
            }
        });
        check(&spent, "used_up");
    }

    #[test]
    fn the_best_credit_is_taken() {
        let named =
            |id: u128, credit: Credit| Credit { id: PromoCreditId::from_u128(id), ..credit };
        let credits = [
            named(1, grant(1_500, 5_000)),
            named(2, code(Off::Amount(Piasters(2_000)))),
            named(3, grant(2_000, 1_500)),
            named(4, grant(9_000, 900)),
        ];
        let found =
            best(&credits, &FARE, NOW).map(|offer| (offer.credit.as_u128(), offer.amount.0));
        assert_eq!(found, Some((3, 2_000)), "as much as the code, and sooner over");
        assert_eq!(best(&credits[3..], &FARE, NOW), None);
    }

    proptest! {
        #[test]
        fn no_offer_passes_a_limit(
            price in 0..1_000_000i64, share in 1..10_001i64, cap in 1..1_000_000i64,
            budget in 0..1_000_000i64, granted in 0..1_000_000i64,
        ) {
            let fare = Fare { price: Piasters(price), ..FARE };
            let off = Off::Share { of_fare: BasisPoints(share), at_most: Piasters(cap) };
            let mut campaign = code(off);
            if let Source::Code { budget_left, .. } = &mut campaign.source {
                *budget_left = Piasters(budget);
            }
            let limits = [(campaign, cap.min(budget)), (grant(granted, 2_000), granted)];
            for (credit, limit) in limits {
                if let Ok(offer) = offer(&credit, &fare, NOW) {
                    prop_assert!(offer.amount > Piasters::ZERO);
                    prop_assert!(offer.amount.0 <= limit.min(price));
                }
            }
        }
    }
}
