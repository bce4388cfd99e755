//! One trip at a time, stored for real: settlement, refusals, lists, and the database's own checks.

use std::time::Duration;

use base::{Caller, DriverId, Millis, PaymentMethod, Piasters, RiderId, TripId};
use events::Once;
use serde_json::json;
use storage::Who;

use super::stand::{Stand, refusal, stand, standing_still};
use super::{new_trip, pickup};
use crate::effect::Effect;
use crate::model::{CancelReason, Party, PaymentStatus, Status};
use crate::refusal::{Refusal, TripError};
use crate::rules::Command;
use crate::{EventName, Filter};

#[tokio::test]
async fn a_cash_trip_is_settled_with_its_completion() {
    let mut stand = stand().await;
    let (rider, driver) = (stand.rider().await, stand.driver().await);
    let booked = stand.book(&rider, PaymentMethod::Cash).await;
    let done = stand.completed(booked.id, driver).await;
    assert_eq!((done.status, done.payment_status), (Status::Completed, PaymentStatus::Paid));
    // 15 % of 100.00 is what he owes of the cash in his hand.
    assert_eq!(stand.balance("driver", driver.into()).await, -1500);
    assert_eq!(stand.balance("rider_wallet", rider.user).await, 0);
    stand.replays(&booked).await;
    stand.money_adds_up().await;
    let mut told = Vec::new();
    while let Ok(effect) = stand.effects.try_recv() {
        match effect {
            Effect::Event { event, .. } => told.push(event.event),
            Effect::Completed { driver_balance, .. } => {
                assert_eq!(driver_balance, Some(Piasters(-1500)));
            }
            _ => {}
        }
    }
    let way = [
        EventName::Requested,
        EventName::Accepted,
        EventName::Arrived,
        EventName::Started,
        EventName::Completed,
    ];
    assert_eq!(told, way);
}

#[tokio::test]
async fn a_wallet_trip_holds_and_pays() {
    let stand = stand().await;
    let (rider, driver) = (stand.rider().await, stand.driver().await);
    stand.fund(&rider, Piasters(20_000)).await;
    let booked = stand.book(&rider, PaymentMethod::Wallet).await;
    assert_eq!(booked.hold, Piasters(12_000));
    assert_eq!(stand.balance("rider_wallet", rider.user).await, 8000);
    assert_eq!(stand.balance("rider_hold", rider.user).await, 12_000);
    let done = stand.completed(booked.id, driver).await;
    assert_eq!((done.payment_status, done.hold), (PaymentStatus::Paid, Piasters::ZERO));
    assert_eq!(stand.balance("rider_wallet", rider.user).await, 10_000);
    assert_eq!(stand.balance("rider_hold", rider.user).await, 0);
    assert_eq!(stand.balance("driver", driver.into()).await, 8500);
    stand.replays(&booked).await;
    stand.money_adds_up().await;
}

/// A completed wallet trip of 300.00 that could not be paid, by a rider who has 120.00.
async fn unpaid() -> (Stand, Caller, DriverId, TripId) {
    let stand = stand().await;
    let (rider, driver) = (stand.rider().await, stand.driver().await);
    stand.fund(&rider, Piasters(12_000)).await;
    let booked = stand.book(&rider, PaymentMethod::Wallet).await;
    stand.started(booked.id, driver).await;
    // The price grew by rule, far over what is held and may be owed.
    sqlx::query("UPDATE trips SET price = 30000")
        .execute(&mut stand.owner().await)
        .await
        .expect("the owner may");
    let stand = stand.restart().await;
    assert_eq!(stand.trips.rebuild().await.expect("it comes back"), 1);
    let done =
        stand.does(booked.id, Command::Complete { driver, distance_m: 90, cash: None }).await;
    assert_eq!((done.status, done.payment_status), (Status::Completed, PaymentStatus::Failed));
    (stand, rider, driver, booked.id)
}

#[tokio::test]
async fn a_wallet_that_became_too_short_fails_the_payment_and_not_the_trip() {
    let (stand, rider, driver, trip) = unpaid().await;
    assert_eq!(stand.balance("rider_wallet", rider.user).await, 12_000);
    assert_eq!(stand.balance("driver", driver.into()).await, 0);
    let last = stand.trips.events_since(trip, 4).await.expect("events can be read");
    assert_eq!(last[0].payment_status, PaymentStatus::Failed);
    assert_eq!(stand.stored(trip).await.payment_status, PaymentStatus::Failed);
}

#[tokio::test]
async fn a_trip_that_could_not_be_paid_is_paid_once_when_there_is_money() {
    let (stand, rider, driver, trip) = unpaid().await;
    let owing = async || {
        let owing = stand.trips.riders_owing(RiderId::from_u128(0), 10).await;
        owing.expect("they are listed")
    };
    let pay = async || {
        let paid = stand.trips.pay_late(rider.user.as_rider()).await;
        paid.expect("it is tried").len()
    };
    assert_eq!(owing().await, [rider.user.as_rider()]);
    assert_eq!(pay().await, 0, "he has as little as before");
    stand.fund(&rider, Piasters(14_000)).await;
    // Two at once, as after two top-ups.
    let (one, two) = tokio::join!(pay(), pay());
    assert_eq!(one + two, 1);
    let stored = stand.stored(trip).await;
    assert_eq!((stored.status, stored.payment_status), (Status::Completed, PaymentStatus::Paid));
    assert_eq!(stand.balance("rider_wallet", rider.user).await, 0);
    // A rest within the limit is owed, as it would have been at the trip's end.
    assert_eq!(stand.balance("rider_due", rider.user).await, -4000);
    assert_eq!(stand.balance("driver", driver.into()).await, 25_500);
    let last = stand.trips.events_since(trip, 5).await.expect("events can be read");
    assert_eq!(last[0].event, EventName::Paid);
    assert_eq!(owing().await, []);
    let replayed = crate::replay(&stand.db, trip).await.expect("it can be read");
    // All but the price, which the test made grow behind the events' back.
    let grown = "price: the row says Piasters(30000), the events say Piasters(10000)";
    assert_eq!(replayed.expect("it is there").differences, [grown]);
    stand.money_adds_up().await;
}

#[tokio::test]
async fn a_late_cancel_costs_the_fee_and_releases_the_hold() {
    let stand = standing_still().await;
    let (rider, driver) = (stand.rider().await, stand.driver().await);
    stand.fund(&rider, Piasters(20_000)).await;
    let booked = stand.book(&rider, PaymentMethod::Wallet).await;
    stand.accepted(booked.id, driver).await;
    stand.clock.advance(Duration::from_secs(121));
    let by = Party::Rider(rider.user.as_rider());
    let reason = CancelReason::ChangedMind;
    let ended = stand.does(booked.id, Command::Cancel { by, reason }).await;
    assert_eq!((ended.status, ended.cancel_fee), (Status::Cancelled, Piasters(1500)));
    assert_eq!(stand.balance("rider_wallet", rider.user).await, 18_500);
    assert_eq!(stand.balance("driver", driver.into()).await, 1000);
    stand.replays(&booked).await;
    stand.money_adds_up().await;
}

#[tokio::test]
async fn a_rider_books_one_trip_at_a_time_and_only_what_he_can_pay() {
    let stand = stand().await;
    let rider = stand.rider().await;
    let new = new_trip(rider.user.as_rider(), PaymentMethod::Wallet);
    match stand.trips.create(&rider, new.clone(), Once::NONE).await {
        Err(TripError::InsufficientBalance { available, price }) => {
            assert_eq!((available, price), (Piasters::ZERO, Piasters(10_000)));
        }
        other => panic!("expected too little money, got {other:?}"),
    }
    stand.book(&rider, PaymentMethod::Cash).await;
    let second = new_trip(rider.user.as_rider(), PaymentMethod::Cash);
    assert_eq!(
        refusal(stand.trips.create(&rider, second, Once::NONE).await),
        Refusal::TripInProgress
    );
    // A refused booking leaves nothing.
    assert_eq!(stand.count("SELECT count(*) FROM trips").await, 1);
    assert_eq!(stand.count("SELECT count(*) FROM event_store").await, 1);
}

#[tokio::test]
async fn who_owes_for_an_earlier_trip_books_no_other() {
    let stand = standing_still().await;
    let (rider, driver) = (stand.rider().await, stand.driver().await);
    let booked = stand.book(&rider, PaymentMethod::Cash).await;
    stand.accepted(booked.id, driver).await;
    stand.clock.advance(Duration::from_secs(600));
    let by = Party::Rider(rider.user.as_rider());
    stand.does(booked.id, Command::Cancel { by, reason: CancelReason::Other }).await;
    let next = new_trip(rider.user.as_rider(), PaymentMethod::Cash);
    match stand.trips.create(&rider, next, Once::NONE).await {
        Err(TripError::PaymentDue { due }) => assert_eq!(due, Piasters(1500)),
        other => panic!("expected a due, got {other:?}"),
    }
}

#[tokio::test]
async fn a_trip_is_booked_by_its_rider_only() {
    let stand = stand().await;
    let riders = stand.riders(2).await;
    let foreign = new_trip(riders[0].user.as_rider(), PaymentMethod::Cash);
    assert!(matches!(
        stand.trips.create(&riders[1], foreign, Once::NONE).await,
        Err(TripError::Fault(_))
    ));
    assert_eq!(stand.count("SELECT count(*) FROM trips").await, 0);
}

#[tokio::test]
async fn a_trip_is_seen_by_its_people_only() {
    let stand = stand().await;
    let riders = stand.riders(2).await;
    let drivers = stand.drivers(2).await;
    let admin = stand.admin().await;
    let booked = stand.book(&riders[0], PaymentMethod::Cash).await;
    stand.started(booked.id, drivers[0]).await;
    let see = async |who: Who| match stand.trips.get(&who, booked.id).await {
        Ok(_) => true,
        Err(TripError::NotFound) => false,
        Err(other) => panic!("{other}"),
    };
    for alive in [true, false] {
        assert!(see(Who::Caller(riders[0])).await, "its rider, alive: {alive}");
        assert!(see(Who::Caller(Stand::as_driver(drivers[0]))).await, "its driver, alive: {alive}");
        assert!(see(Who::Caller(admin)).await, "an admin, alive: {alive}");
        assert!(!see(Who::Caller(riders[1])).await, "another rider, alive: {alive}");
        assert!(
            !see(Who::Caller(Stand::as_driver(drivers[1]))).await,
            "another driver, alive: {alive}"
        );
        if alive {
            let done = Command::Complete { driver: drivers[0], distance_m: 1, cash: None };
            stand.does(booked.id, done).await;
        }
    }
    let nothing = stand.trips.get(&Who::System, TripId::new()).await;
    assert!(matches!(nothing, Err(TripError::NotFound)));
}

#[tokio::test]
async fn a_list_goes_on_where_its_page_ended() {
    let stand = stand().await;
    let riders = stand.riders(2).await;
    let mut booked = Vec::new();
    for rider in [0, 0, 1, 0, 0, 0] {
        let trip = stand.book(&riders[rider], PaymentMethod::Cash).await;
        let by = Party::Rider(riders[rider].user.as_rider());
        stand.does(trip.id, Command::Cancel { by, reason: CancelReason::Other }).await;
        if rider == 0 {
            booked.insert(0, trip.id);
        }
    }
    let who = Who::Caller(riders[0]);
    let mut seen = Vec::new();
    let mut cursor = None;
    loop {
        let page = stand.trips.list(&who, &Filter::default(), cursor, 2).await.expect("a page");
        assert!(page.trips.len() <= 2);
        seen.extend(page.trips.iter().map(|trip| trip.id));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(seen, booked);
    let live = Filter { status: Some(Status::Requested), payment_failed: None };
    let page = stand.trips.list(&who, &live, None, 10).await.expect("a page");
    assert!(page.trips.is_empty() && page.next.is_none());
    let all = stand.trips.list(&Who::System, &Filter::default(), None, 10).await.expect("a page");
    assert_eq!(all.trips.len(), 6);
}

#[tokio::test]
async fn an_ended_trip_refuses_everything_with_its_state() {
    let stand = stand().await;
    let (rider, drivers) = (stand.rider().await, stand.drivers(2).await);
    let booked = stand.book(&rider, PaymentMethod::Cash).await;
    stand.completed(booked.id, drivers[0]).await;
    let current = Refusal::InvalidTransition { current: Status::Completed };
    let again = Command::Complete { driver: drivers[0], distance_m: 1, cash: None };
    assert_eq!(refusal(stand.trips.command(booked.id, again).await), current);
    let late = Command::Accept { driver: drivers[1] };
    let stranger = Refusal::NotOffered(drivers[1]);
    assert_eq!(refusal(stand.trips.command(booked.id, late).await), stranger);
    let unknown = stand.trips.command(TripId::new(), Command::NoDrivers).await;
    assert!(matches!(unknown, Err(TripError::NotFound)));
}

#[tokio::test]
async fn the_functions_refuse_what_is_illegal() {
    let stand = stand().await;
    let rider = stand.rider().await;
    let drivers = stand.drivers(2).await;
    let booked = stand.book(&rider, PaymentMethod::Cash).await;
    stand.accepted(booked.id, drivers[0]).await;
    let now = Millis(booked.created_at.0 + 1000);
    let item = json!({
        "id": booked.id, "version": 3, "epoch": 1, "side": "driver", "actor": drivers[0],
        "event": "TRIP_DRIVER_ARRIVED", "payload": {}, "at": now, "status": "arrived",
        "payment_status": "pending", "driver_id": drivers[0], "hold": 0, "rounds": 1,
        "excluded": [], "cancel_fee": 0, "requested_at": now, "accepted_at": now,
    });
    let moved = async |field: &str, value: serde_json::Value| {
        let mut altered = item.clone();
        altered[field] = value;
        let mut tx = stand.db.begin_writer().await.expect("the database answers");
        let rows = sqlx::query("SELECT r_id FROM trip_transitions($1::text::jsonb)")
            .bind(json!([altered]).to_string())
            .fetch_all(tx.conn())
            .await
            .expect("it runs");
        rows.len()
    };
    assert_eq!(moved("actor", json!(drivers[0])).await, 1, "as it should be, then rolled back");
    assert_eq!(moved("actor", json!(drivers[1])).await, 0, "another driver");
    assert_eq!(moved("side", json!("rider")).await, 0, "a driver as rider");
    assert_eq!(moved("side", json!("admin")).await, 0, "a driver as admin");
    assert_eq!(moved("version", json!(4)).await, 0, "from another version");
    assert_eq!(moved("epoch", json!(2)).await, 0, "from another lease");
    assert_eq!(moved("status", json!("started")).await, 0, "off the graph");
    for from in Status::ALL {
        for to in Status::ALL {
            let legal: bool = sqlx::query_scalar("SELECT trip_may_become($1, $2)")
                .bind(from.name())
                .bind(to.name())
                .fetch_one(&mut stand.owner().await)
                .await
                .expect("it answers");
            assert_eq!(legal, from.may_become(*to), "{from} -> {to}");
        }
    }
    let at = Command::Arrive { driver: drivers[0], at: Some(pickup()) };
    assert_eq!(stand.does(booked.id, at).await.version, 3);
}

/// Many trips of many drivers; the plan is made for any of them.
const MANY: [&str; 2] = [
    "INSERT INTO trips (id, city_id, rider_id, driver_id, status, payment_method, tier, version, \
       pickup_lat, pickup_lng, destination_lat, destination_lng, price, commission_bp, \
       quoted_distance_m, quoted_duration_s, requested_at, accepted_at, created_at, started_at, \
       ended_at, final_price) \
     SELECT gen_random_uuid(), 1, u.id, u.id, 'completed', 'cash', 'economy', 5, 30, 31, 30.1, 31, \
       5000, 1500, 8000, 1200, t.at, t.at, t.at, t.at, t.at, 5000 \
     FROM users u, generate_series(1, 100) n, \
       LATERAL (SELECT now() - n * interval '1 day' AS at) t",
    "ANALYZE trips",
];

#[tokio::test]
async fn what_was_driven_is_found_by_its_end_whenever_it_was_booked() {
    let stand = stand().await;
    let (rider, driver) = (stand.rider().await, stand.driver().await);
    let booked = stand.book(&rider, PaymentMethod::Cash).await;
    let driven = async |since: Millis| {
        let mut tx = stand.db.begin(&Who::System).await.expect("a transaction");
        crate::driven_in_tx(&mut tx, &[driver], since).await.expect("read")
    };
    let started = async || {
        let mut tx = stand.db.begin(&Who::System).await.expect("a transaction");
        let trips = [booked.id, TripId::from_u128(404)];
        let started = crate::started_in_tx(&mut tx, &trips).await.expect("read");
        started.get(&booked.id).copied()
    };
    assert_eq!(started().await, None);
    let done = stand.completed(booked.id, driver).await;
    assert_eq!(started().await, done.started_at);
    // Booked a week ago for today.
    let mut owner = stand.owner().await;
    sqlx::query("UPDATE trips SET created_at = created_at - interval '7 days'")
        .execute(&mut owner)
        .await
        .expect("the owner may");
    let hour = Duration::from_secs(3600);
    let now = stand.clock.now();
    let found: Vec<TripId> = driven(now - hour).await.iter().map(|driven| driven.trip).collect();
    assert_eq!(found, [booked.id]);
    assert_eq!(driven(now + hour).await, []);

    stand.riders(50).await;
    for sql in MANY {
        sqlx::query(sql).execute(&mut owner).await.expect("the owner may");
    }
    let prepared = format!("PREPARE driven (uuid[], timestamptz) AS {}", crate::store::DRIVEN);
    let mut tx = stand.db.begin(&Who::System).await.expect("a transaction");
    for sql in ["SET LOCAL plan_cache_mode = force_generic_plan", &prepared] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(tx.conn()).await.expect("it is set");
    }
    let explain = "EXPLAIN EXECUTE driven (ARRAY[gen_random_uuid()], now() - interval '6 hours')";
    let rows = sqlx::raw_sql(explain).fetch_all(tx.conn()).await.expect("a plan");
    let plan: Vec<String> = rows.iter().map(|row| sqlx::Row::get(row, 0)).collect();
    sqlx::raw_sql("DEALLOCATE driven").execute(tx.conn()).await.expect("it is forgotten");
    assert!(plan.join("\n").contains("trips_driven"), "{plan:?}");
}
