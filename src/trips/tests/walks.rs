//! Random walks through the rules: whatever is asked in whatever order, the invariants hold.

use std::sync::Arc;

use base::{BasisPoints, OfferId, Piasters, RiderId, TripId, UserId};
use proptest::prelude::*;

use super::{RIDER, at_s, driver, pickup, point, state, trip};
use crate::AheadCommand;
use crate::event::{EventName, TripEvent, evolve};
use crate::model::{CancelReason, OfferOutcome, Party, PaymentStatus, Status, Trip};
use crate::offers::BidTerms;
use crate::rules::{Command, State, Step, Tell, step};

fn commands() -> impl Strategy<Value = Command> {
    let who = 1u128..5;
    let place = prop_oneof![Just(None), Just(Some(pickup())), Just(Some(point(30.1, 31.3)))];
    let pin = prop_oneof![Just(None), Just(Some("0427".to_owned())), Just(Some("9".to_owned()))];
    let party = prop_oneof![
        Just(Party::Rider(RIDER)),
        Just(Party::Rider(RiderId::from_u128(9))),
        who.clone().prop_map(|n| Party::Driver(driver(n))),
        Just(Party::Admin(UserId::from_u128(8))),
        Just(Party::System),
    ];
    let reason = prop_oneof![Just(CancelReason::Other), Just(CancelReason::RiderNoShow)];
    prop_oneof![
        6 => (who.clone(), 0i64..4000, 1u16..4).prop_map(|(n, until, round)| Command::Offer {
            driver: driver(n), until: at_s(until), round
        }),
        4 => (who.clone(), 0i64..4000, 0i64..2000).prop_map(|(n, until, open)| Command::AskBid {
            driver: driver(n), until: at_s(until), round: 1, terms: terms(n, open)
        }),
        4 => (who.clone(), 7_000i64..16_000).prop_map(|(n, price)| Command::Bid {
            driver: driver(n), price: Piasters(price)
        }),
        4 => (who.clone(), 9u128..12).prop_map(|(n, rider)| Command::PickBid {
            rider: if rider == 9 { RiderId::from_u128(9) } else { RIDER },
            offer: OfferId::from_u128(n),
            price: None,
        }),
        1 => who.clone().prop_map(|n| Command::Decline { driver: driver(n) }),
        1 => who.clone().prop_map(|n| Command::Withdraw { driver: driver(n) }),
        1 => Just(Command::Expire),
        6 => who.clone().prop_map(|n| Command::Accept { driver: driver(n) }),
        1 => who.clone().prop_map(|n| Command::AcceptNext {
            driver: driver(n), behind: TripId::from_u128(0x66)
        }),
        1 => Just(Command::NoDrivers),
        2 => Just(Command::Activate),
        5 => (who.clone(), place).prop_map(|(n, at)| Command::Arrive { driver: driver(n), at }),
        5 => (who.clone(), pin).prop_map(|(n, pin)| Command::Start { driver: driver(n), pin }),
        5 => (who.clone(), 0u32..90_000).prop_map(|(n, distance_m)| Command::Complete {
            driver: driver(n), distance_m, cash: None
        }),
        1 => (party, reason).prop_map(|(by, reason)| Command::Cancel { by, reason }),
        1 => who.clone().prop_map(|n| Command::Reassign { driver: driver(n) }),
        5 => (who, 0i64..4000, 0u8..5).prop_map(|(n, until, which)| ahead(n, until, which)),
    ]
}

fn ahead(n: u128, until_s: i64, which: u8) -> Command {
    let driver = driver(n);
    Command::Ahead(match which {
        0 => AheadCommand::AskStandby { driver, until: at_s(until_s), round: 1 },
        1 => AheadCommand::Confirm { driver },
        2 => AheadCommand::Unconfirmed,
        3 => AheadCommand::Silent { driver },
        _ => AheadCommand::Leaves { driver },
    })
}

/// The offer of driver `n` is always called `n`.
fn terms(n: u128, open_s: i64) -> BidTerms {
    let (floor, ceiling) = (BasisPoints(8_000), BasisPoints(15_000));
    BidTerms { offer: OfferId::from_u128(n), open_until: at_s(open_s), floor, ceiling, eta_s: 60 }
}

fn begin(scheduled: bool, pin: bool) -> Trip {
    let mut begun = trip();
    begun.hold = Piasters(12_000);
    if scheduled {
        begun.status = Status::Scheduled;
        begun.scheduled_at = Some(at_s(2000));
    }
    if pin {
        begun.pin = Some("0427".to_owned());
    }
    begun
}

fn lawful(
    before: &State,
    command: &Command,
    done: &Step,
    now: base::Millis,
) -> Result<(), TestCaseError> {
    let (old, new) = (&before.trip, &done.next.trip);
    let Some(record) = &done.record else {
        // Only offers changed.
        prop_assert_eq!(&**old, &**new);
        prop_assert!(!done.tells.contains(&Tell::Event));
        return Ok(());
    };
    prop_assert!(old.status.may_become(new.status), "{} -> {}", old.status, new.status);
    prop_assert_eq!(record.event.seq, old.version + 1);
    prop_assert_eq!(new.version, old.version + 1);
    prop_assert_eq!(done.tells.first(), Some(&Tell::Event));
    prop_assert_eq!(done.tells.contains(&Tell::Ended), !new.status.is_live());
    let confirmed = record.event.event == EventName::Confirmed;
    prop_assert!(new.status == Status::Requested || done.next.offers.is_empty() || confirmed);
    // Who drives a trip does not stand by for it, and after its drive nobody does.
    prop_assert!(done.next.standby.is_none_or(|driver| new.driver != Some(driver)));
    prop_assert!(
        done.next.standby.is_none() || matches!(new.status, Status::Requested | Status::Accepted)
    );
    // T7: who is new on the trip was asked in time, or put there by name.
    if let (Some(winner), true) = (new.driver, new.driver != old.driver) {
        let reassigned = matches!(command, Command::Reassign { driver } if *driver == winner);
        let asked = before.offers.iter().any(|lease| lease.driver == winner && now < lease.until);
        prop_assert!(asked || reassigned);
        prop_assert!(!old.excluded.contains(&winner));
    }
    // A price changes to what its winner bid and its rider picked, and back to the quote.
    match (command, record.event.price) {
        (Command::PickBid { rider, .. }, Some(price)) => {
            prop_assert_eq!((*rider, new.price), (old.rider, price));
            let bid = before.bids().find(|bid| Some(bid.driver) == new.driver);
            prop_assert_eq!(bid.map(|bid| bid.price), Some(price));
            prop_assert!((8_000..=15_000).contains(&price.0) && price.0 % 50 == 0);
            prop_assert_eq!(new.quoted_price, Some(Piasters(10_000)));
        }
        (_, Some(price)) => {
            prop_assert_eq!((new.status, price), (Status::Requested, Piasters(10_000)));
            prop_assert_eq!((new.price, new.quoted_price), (price, None));
        }
        (_, None) => {
            prop_assert_eq!((new.price, new.quoted_price), (old.price, old.quoted_price));
        }
    }
    // Every open offer ends when the search ends, and when who stands by is of no use.
    if confirmed {
        prop_assert_eq!(&done.next.offers, &before.offers);
        return Ok(());
    }
    let ended = done.tells.iter().filter(|tell| matches!(tell, Tell::OfferEnded { .. })).count();
    prop_assert_eq!(ended, before.offers.len());
    let winners = done
        .tells
        .iter()
        .filter(|tell| matches!(tell, Tell::OfferEnded { outcome: OfferOutcome::Accepted, .. }));
    prop_assert!(winners.count() <= 1);
    // M2: money at the end, once.
    prop_assert_eq!(record.money.is_some(), !new.status.is_live());
    prop_assert_eq!(new.final_price.is_some(), new.status == Status::Completed);
    Ok(())
}

proptest! {
    #[test]
    fn every_walk_is_legal(
        scheduled in any::<bool>(),
        pin in any::<bool>(),
        walk in prop::collection::vec((commands(), 0i64..120), 1..80),
    ) {
        let first = begin(scheduled, pin);
        let mut state = state(first.clone());
        let mut events: Vec<TripEvent> = Vec::new();
        let mut clock = 0;
        for (command, pause) in walk {
            clock += pause;
            let now = at_s(clock);
            let was = state.clone();
            let Ok(mut done) = step(&state, &command, now) else { continue };
            lawful(&was, &command, &done, now)?;
            if let Some(mut record) = done.record.take() {
                // As the writer does when the wallet is short.
                if record.event.payment_status == PaymentStatus::Paid && clock % 2 == 0 {
                    record.event.payment_status = PaymentStatus::Failed;
                    done.next.trip = Arc::new(evolve(&was.trip, &record.event));
                }
                events.push(record.event);
            }
            state = done.next;
        }
        // T5: the events make the row, also after they were stored as text.
        let replayed = events.iter().fold(first, |trip, event| {
            let text = serde_json::to_string(event).expect("an event prints");
            evolve(&trip, &serde_json::from_str(&text).expect("and reads"))
        });
        prop_assert_eq!(&replayed, &*state.trip);
        prop_assert!(events.iter().zip(2..).all(|(event, seq)| event.seq == seq));
    }
}
