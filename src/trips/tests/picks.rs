//! A picked bid is stored, paid and replayed: the whole room on a real database.

use std::time::Duration;

use base::{BasisPoints, Caller, DriverId, OfferId, PaymentMethod, Piasters, TripId};
use events::Once;
use ledger::Kind;
use storage::Who;
use uuid::Uuid;

use super::new_trip;
use super::stand::{Stand, refusal, stand};
use crate::model::{CancelReason, Party, PaymentStatus, Status, Trip};
use crate::offers::BidTerms;
use crate::refusal::Refusal;
use crate::replay;
use crate::rules::Command;

impl Stand {
    /// Asks `driver` for a bid and has him bid so many piasters.
    async fn bid(&self, trip: TripId, driver: DriverId, price: i64) -> OfferId {
        let (now, offer) = (self.clock.now(), OfferId::new());
        let terms = BidTerms {
            offer,
            open_until: now + Duration::from_secs(500),
            floor: BasisPoints(8_000),
            ceiling: BasisPoints(15_000),
            eta_s: 60,
        };
        let until = now + Duration::from_secs(600);
        self.does(trip, Command::AskBid { driver, until, round: 1, terms }).await;
        self.does(trip, Command::Bid { driver, price: Piasters(price) }).await;
        offer
    }

    async fn replays_as_it_is(&self, trip: TripId) {
        let replayed = replay(&self.db, trip).await.expect("it can be read").expect("it is there");
        assert_eq!(replayed.differences, [""; 0]);
    }

    /// What the owner has authorised on his card, so many piasters.
    async fn card(&self, rider: &Caller, amount: i64) -> Uuid {
        let card = Uuid::now_v7();
        sqlx::query(
            "INSERT INTO card_authorisations (id, rider_id, amount, currency, status, page_until, \
               created_at, authorised_at, expires_at) VALUES ($1, $2, $3, 'EGP', 'authorised', \
               now(), now(), now(), now() + interval '7 days')",
        )
        .bind(card)
        .bind(rider.user.0)
        .bind(amount)
        .execute(&mut self.owner().await)
        .await
        .expect("the owner may");
        card
    }
}

fn pick(rider: &Caller, offer: OfferId) -> Command {
    Command::PickBid { rider: rider.user.as_rider(), offer, price: None }
}

async fn drives_to_the_end(stand: &Stand, trip: TripId, driver: DriverId) -> Trip {
    let at = Some(super::pickup());
    stand.does(trip, Command::Arrive { driver, at }).await;
    stand.does(trip, Command::Start { driver, pin: None }).await;
    stand.does(trip, Command::Complete { driver, distance_m: 4100, cash: None }).await;
    stand.stored(trip).await
}

#[tokio::test]
async fn the_picked_price_is_what_the_trip_costs() {
    let stand = stand().await;
    let (rider, drivers) = (stand.rider().await, stand.drivers(2).await);
    let trip = stand.book(&rider, PaymentMethod::Cash).await.id;
    let offer = stand.bid(trip, drivers[0], 11_950).await;
    stand.bid(trip, drivers[1], 9_000).await;
    let picked = stand.does(trip, pick(&rider, offer)).await;
    assert_eq!((picked.status, picked.driver), (Status::Accepted, Some(drivers[0])));
    let row = stand.stored(trip).await;
    assert_eq!((row.price, row.quoted_price), (Piasters(11_950), Some(Piasters(10_000))));
    stand.replays_as_it_is(trip).await;
    let done = drives_to_the_end(&stand, trip, drivers[0]).await;
    assert_eq!((done.final_price, done.to_pay()), (Some(Piasters(11_950)), Piasters(11_950)));
    // 15 % of the bid, not of the quote.
    assert_eq!(stand.balance("driver", drivers[0].into()).await, -1_792);
    stand.replays_as_it_is(trip).await;
    stand.money_adds_up().await;
}

#[tokio::test]
async fn a_bid_beyond_the_hold_raises_it_or_is_refused() {
    let stand = stand().await;
    let (rider, drivers) = (stand.rider().await, stand.drivers(2).await);
    stand.fund(&rider, Piasters(13_000)).await;
    let trip = stand.book(&rider, PaymentMethod::Wallet).await.id;
    assert_eq!(stand.balance("rider_hold", rider.user).await, 12_000);
    let dear = stand.bid(trip, drivers[0], 14_000).await;
    let refused = refusal(stand.trips.command(trip, pick(&rider, dear)).await);
    let (available, price) = (Piasters(13_000), Piasters(14_000));
    assert_eq!(refused, Refusal::BidUncovered { available, price });
    assert_eq!(stand.stored(trip).await.status, Status::Requested, "nothing happened");
    let fits = stand.bid(trip, drivers[1], 12_500).await;
    let picked = stand.does(trip, pick(&rider, fits)).await;
    assert_eq!((picked.price, picked.hold), (Piasters(12_500), Piasters(13_000)));
    assert_eq!(stand.balance("rider_hold", rider.user).await, 13_000);
    stand.replays_as_it_is(trip).await;
    stand.money_adds_up().await;
    let done = drives_to_the_end(&stand, trip, drivers[1]).await;
    assert_eq!((done.payment_status, done.hold), (PaymentStatus::Paid, Piasters::ZERO));
    assert_eq!(stand.balance("rider_wallet", rider.user).await, 500);
    assert_eq!(stand.balance("driver", drivers[1].into()).await, 10_625);
    let mut tx = stand.db.begin(&Who::System).await.expect("the database answers");
    let lines = ledger::trip_lines(&mut tx, trip).await.expect("they are read");
    drop(tx);
    let kinds = lines.iter().map(|line| line.kind);
    assert!(kinds.clone().count() > 0 && kinds.into_iter().all(|kind| kind == Kind::Settle));
    stand.replays_as_it_is(trip).await;
    stand.money_adds_up().await;
}

#[tokio::test]
async fn a_bid_trip_that_is_given_back_is_bid_for_again_from_the_quote() {
    let stand = stand().await;
    let (rider, drivers) = (stand.rider().await, stand.drivers(2).await);
    stand.fund(&rider, Piasters(50_000)).await;
    let trip = stand.book(&rider, PaymentMethod::Wallet).await.id;
    let first = stand.bid(trip, drivers[0], 13_000).await;
    stand.does(trip, pick(&rider, first)).await;
    let by = Party::Driver(drivers[0]);
    stand.does(trip, Command::Cancel { by, reason: CancelReason::VehicleProblem }).await;
    let row = stand.stored(trip).await;
    assert_eq!((row.price, row.quoted_price, row.hold), (Piasters(10_000), None, Piasters(15_600)));
    stand.replays_as_it_is(trip).await;
    // The hold that was raised covers the next bid; one beyond it raises it again.
    let second = stand.bid(trip, drivers[1], 15_000).await;
    let picked = stand.does(trip, pick(&rider, second)).await;
    assert_eq!((picked.price, picked.hold), (Piasters(15_000), Piasters(15_600)));
    let by = Party::Rider(rider.user.as_rider());
    stand.does(trip, Command::Cancel { by, reason: CancelReason::ChangedMind }).await;
    assert_eq!(stand.balance("rider_wallet", rider.user).await, 50_000);
    stand.replays_as_it_is(trip).await;
    stand.money_adds_up().await;
}

#[tokio::test]
async fn a_card_pays_for_bids_that_it_was_authorised_for() {
    let stand = stand().await;
    let (rider, drivers) = (stand.rider().await, stand.drivers(2).await);
    let mut new = new_trip(rider.user.as_rider(), PaymentMethod::Card);
    new.card = Some(stand.card(&rider, 12_000).await);
    let trip = stand.trips.create(&rider, new, Once::NONE).await.expect("booked").id;
    let dear = stand.bid(trip, drivers[0], 12_050).await;
    let refused = refusal(stand.trips.command(trip, pick(&rider, dear)).await);
    let (authorised, price) = (Piasters(12_000), Piasters(12_050));
    assert_eq!(refused, Refusal::BidOverCard { authorised, price });
    let fits = stand.bid(trip, drivers[1], 12_000).await;
    stand.does(trip, pick(&rider, fits)).await;
    let done = drives_to_the_end(&stand, trip, drivers[1]).await;
    assert_eq!((done.final_price, done.to_pay()), (Some(Piasters(12_000)), Piasters(12_000)));
    stand.replays_as_it_is(trip).await;
}

#[tokio::test]
async fn a_driver_who_drives_elsewhere_can_not_be_picked_and_his_bid_ends() {
    let stand = stand().await;
    let (riders, drivers) = (stand.riders(2).await, stand.drivers(2).await);
    let trip = stand.book(&riders[0], PaymentMethod::Cash).await.id;
    let other = stand.book(&riders[1], PaymentMethod::Cash).await.id;
    let offer = stand.bid(trip, drivers[0], 9_000).await;
    // As if another node had given him away.
    stand.accepted(other, drivers[0]).await;
    let refused = refusal(stand.trips.command(trip, pick(&riders[0], offer)).await);
    assert_eq!(refused, Refusal::DriverBusy);
    assert!(stand.trips.bids(trip).is_empty(), "his bid is over");
    let free = stand.bid(trip, drivers[1], 9_000).await;
    let picked = stand.does(trip, pick(&riders[0], free)).await;
    assert_eq!(picked.driver, Some(drivers[1]));
}

#[tokio::test]
async fn of_many_picks_at_once_one_wins() {
    let stand = stand().await;
    let (rider, drivers) = (stand.rider().await, stand.drivers(5).await);
    let trip = stand.book(&rider, PaymentMethod::Cash).await.id;
    let mut offers = Vec::new();
    for (driver, price) in drivers.iter().zip([8_000, 9_000, 10_000, 11_000, 12_000]) {
        offers.push(stand.bid(trip, *driver, price).await);
    }
    let picks = offers.iter().map(|offer| stand.trips.command(trip, pick(&rider, *offer)));
    let answers = futures_util::future::join_all(picks).await;
    let won = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(won, 1, "{answers:?}");
    stand.replays_as_it_is(trip).await;
}

#[tokio::test]
async fn the_database_changes_a_price_for_a_pick_only() {
    let stand = stand().await;
    let (rider, driver) = (stand.rider().await, stand.driver().await);
    let trip = stand.book(&rider, PaymentMethod::Cash).await;
    let mut owner = stand.owner().await;
    let mut moved = async |price: Option<i64>, quoted: Option<i64>, side: &str, to: &str| {
        let mut item = serde_json::json!({
            "id": trip.id, "version": 2, "epoch": trip.epoch, "side": side, "actor": rider.user,
            "event": "TRIP_MATCHED", "payload": {}, "at": trip.created_at, "status": to,
            "payment_status": "pending", "driver_id": driver, "hold": 0, "rounds": 0,
            "excluded": [], "cancel_fee": 0, "requested_at": trip.created_at,
        });
        if let Some(price) = price {
            item["price"] = price.into();
        }
        item["quoted_price"] = quoted.into();
        sqlx::query("BEGIN").execute(&mut owner).await.expect("a transaction");
        let sql = "SELECT count(*) FROM trip_transitions(jsonb_build_array($1::text::jsonb))";
        let count: i64 = sqlx::query_scalar(sql)
            .bind(item.to_string())
            .fetch_one(&mut owner)
            .await
            .expect("an answer");
        sqlx::query("ROLLBACK").execute(&mut owner).await.expect("rolled back");
        count
    };
    assert_eq!(moved(Some(11_000), Some(10_000), "rider", "accepted").await, 1, "a pick");
    assert_eq!(moved(Some(10_000), None, "system", "accepted").await, 1, "as it was");
    assert_eq!(moved(None, None, "system", "accepted").await, 1, "by a program before bids");
    assert_eq!(moved(Some(11_000), Some(10_000), "system", "accepted").await, 0, "nobody picked");
    assert_eq!(moved(Some(11_000), Some(9_000), "rider", "accepted").await, 0, "no such quote");
    assert_eq!(moved(Some(11_000), None, "rider", "cancelled").await, 0, "no pick");
}
