//! What the database itself says to each kind of journal.

use uuid::Uuid;

use super::*;

const REFUND: u128 = 700;

#[tokio::test]
async fn the_tables_know_the_programs_kinds() {
    let db = storage::testing::database().await;
    let check: String = sqlx::query_scalar(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint
         WHERE conname = 'journal_kind_is_known'",
    )
    .fetch_one(tx(&db).await.conn())
    .await
    .expect("a constraint");
    let once: String = sqlx::query_scalar(
        "SELECT pg_get_expr(indpred, indrelid) FROM pg_index
         WHERE indexrelid = 'once_per_reference'::regclass",
    )
    .fetch_one(tx(&db).await.conn())
    .await
    .expect("an index");
    assert_eq!(check.matches("::text").count(), once.matches("::text").count() + 3, "{check}");
    for kind in Kind::ALL {
        let name = format!("'{}'::text", kind.name());
        assert!(check.contains(&name), "{name} is not in {check}");
        assert_eq!(once.contains(&name), kind.is_once(), "{name} in {once}");
    }
}

/// A cash trip of 100.00 that the driver got 15.00 of debt by.
async fn ridden(db: &Db, rider: UserId, driver: UserId) -> TripId {
    let trip = TripId::new();
    let step = settle(trip, rider, driver, 0);
    let journals = decide(&step, &RiderFunds::default()).expect("cash");
    post(db, &journals[0]).await.expect("settled");
    trip
}

fn giving_back(trip: TripId, rider: UserId, driver: UserId, amount: i64, n: u128) -> Journal {
    refund(&Refund {
        refund: Uuid::from_u128(REFUND + n),
        trip,
        rider: rider.as_rider(),
        driver: driver.as_driver(),
        price: Piasters(10_000),
        promo: Piasters::ZERO,
        commission: BasisPoints(1500),
        before: Piasters::ZERO,
        amount: Piasters(amount),
        burden: if n.is_multiple_of(2) { Burden::Driver } else { Burden::Company },
        to: if n < 2 { RefundTo::Wallet } else { RefundTo::Card },
        reason: "test".to_owned(),
    })
}

#[tokio::test]
async fn a_trip_gives_back_no_more_than_was_paid() {
    let db = storage::testing::database().await;
    let (rider, driver) = (UserId::new(), UserId::new());
    let trip = ridden(&db, rider, driver).await;
    let back = |amount, n| giving_back(trip, rider, driver, amount, n);
    post(&db, &back(6_000, 0)).await.expect("a part");
    for (amount, n) in [(4_001, 1), (4_001, 2), (10_000, 3)] {
        let refused = post(&db, &back(amount, n)).await;
        assert!(matches!(refused, Err(PostError::RefundTooLarge)), "{amount}: {refused:?}");
    }
    // In one batch each of them alone fits, and together they don't.
    let batch = [back(3_000, 10), back(2_000, 11), back(1_000, 12)];
    let mut tx1 = tx(&db).await;
    let answers = post_batch_in_tx(&mut tx1, &batch).await.expect("answered");
    assert!(matches!(answers[..], [Ok(_), Err(PostError::RefundTooLarge), Ok(_)]), "{answers:?}");
    tx1.commit().await.expect("committed");
    // Nothing is left, and a trip that was never paid has nothing.
    assert!(matches!(post(&db, &back(1, 13)).await, Err(PostError::RefundTooLarge)));
    let unknown = giving_back(TripId::new(), rider, driver, 1, 14);
    assert!(matches!(post(&db, &unknown).await, Err(PostError::RefundTooLarge)));
    assert_sound(&db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn refunds_that_race_share_what_was_paid() {
    let db = storage::testing::database().await;
    let (rider, driver) = (UserId::new(), UserId::new());
    let trip = ridden(&db, rider, driver).await;
    let mut posts = tokio::task::JoinSet::new();
    for n in 0..16u128 {
        let db = db.clone();
        // To the card at the company's cost: no wallet's lock keeps them apart.
        let journal = giving_back(trip, rider, driver, 3_000, 2 * n + 101);
        posts.spawn(async move { post(&db, &journal).await });
    }
    let mut through = 0;
    while let Some(posted) = posts.join_next().await {
        match posted.expect("joined") {
            Ok(_) => through += 1,
            Err(error) => assert!(matches!(error, PostError::RefundTooLarge), "{error}"),
        }
    }
    assert_eq!(through, 3);
    assert_sound(&db).await;
}

#[tokio::test]
async fn a_refund_says_what_it_gives_back() {
    let db = storage::testing::database().await;
    let (rider, driver) = (UserId::new(), UserId::new());
    let trip = ridden(&db, rider, driver).await;
    let good = giving_back(trip, rider, driver, 500, 0);
    let lies = [
        Journal { paid: Some(Piasters(-1)), ..good.clone() },
        Journal { paid: None, ..good.clone() },
        Journal { parent: None, ..good.clone() },
        Journal { kind: Kind::Tip, ..good.clone() },
    ];
    for lie in lies {
        let refused = post(&db, &lie).await;
        assert!(matches!(refused, Err(PostError::Unbalanced)), "{lie:?}: {refused:?}");
    }
    post(&db, &good).await.expect("the truth");
    // The trip belongs to the body.
    let other = Journal { parent: Some(TripId::new()), ..good };
    assert!(matches!(post(&db, &other).await, Err(PostError::KeyReused)));
}

#[tokio::test]
async fn a_withdrawal_ends_in_one_way() {
    let db = storage::testing::database().await;
    let driver = UserId::new();
    // Since a trip for cash he has a debt limit.
    ridden(&db, UserId::new(), driver).await;
    post(&db, &adjust(driver, Role::Driver, 2_500, "earned")).await.expect("credited");
    let step = |id: u128, amount, step| {
        withdrawal(Uuid::from_u128(id), driver.as_driver(), Piasters(amount), step)
    };
    use WithdrawStep::{Confirmed, Failed, Rejected, Requested, Sent};
    // It doesn't let him take out what he doesn't have.
    let too_much = post(&db, &step(1, 1_001, Requested)).await;
    assert!(matches!(too_much, Err(PostError::InsufficientFunds)), "{too_much:?}");
    post(&db, &step(1, 600, Requested)).await.expect("set aside");
    assert_eq!(view(&db, driver, Role::Driver).await, (400, 600, 0));
    post(&db, &step(1, 600, Sent)).await.expect("sent");
    post(&db, &step(1, 600, Failed)).await.expect("came back");
    assert_eq!(view(&db, driver, Role::Driver).await, (1_000, 0, 0));
    post(&db, &step(2, 700, Requested)).await.expect("set aside");
    post(&db, &step(2, 700, Rejected)).await.expect("rejected");
    post(&db, &step(3, 1_000, Requested)).await.expect("set aside");
    post(&db, &step(3, 1_000, Sent)).await.expect("sent");
    post(&db, &step(3, 1_000, Confirmed)).await.expect("arrived");
    let other_ways = [
        (1, 600, Rejected),
        (1, 600, Confirmed),
        (2, 700, Sent),
        (3, 1_000, Rejected),
        (3, 1_000, Failed),
    ];
    for (id, amount, other) in other_ways {
        let journal = step(id, amount, other);
        let refused = post(&db, &journal).await;
        let fine = matches!(refused, Err(PostError::KeyReused | PostError::InsufficientFunds));
        assert!(fine, "{journal:?}: {refused:?}");
        let batch = post_batch_in_tx(&mut tx(&db).await, &[journal]).await.expect("answered");
        assert!(batch[0].is_err(), "{batch:?}");
    }
    assert_eq!(view(&db, driver, Role::Driver).await, (0, 0, 0));
    assert_sound(&db).await;
}

#[tokio::test]
async fn no_more_is_forgiven_than_is_owed() {
    let db = storage::testing::database().await;
    let (rider, driver, admin) = (UserId::new(), UserId::new(), UserId::new());
    ridden(&db, rider, driver).await;
    let off = |debtor, amount| write_off(admin, debtor, Piasters(amount), "gone", None);
    let debtor = Debtor::Driver(driver.as_driver());
    let refused = post(&db, &off(debtor, 1_501)).await;
    assert!(matches!(refused, Err(PostError::InsufficientFunds)), "{refused:?}");
    post(&db, &off(debtor, 1_500)).await.expect("given up");
    assert_eq!(view(&db, driver, Role::Driver).await, (0, 0, 0));
    let refused = post(&db, &off(Debtor::Rider(rider.as_rider()), 1)).await;
    assert!(matches!(refused, Err(PostError::InsufficientFunds)), "{refused:?}");
    assert_sound(&db).await;
}

#[tokio::test]
async fn every_kind_goes_through() {
    let db = storage::testing::database().await;
    let (rider, driver) = (UserId::new(), UserId::new());
    let (id, trip) = (Uuid::from_u128(5), ridden(&db, rider, driver).await);
    let to_rider = Wallet::Rider(rider.as_rider());
    let (rider_id, driver_id) = (rider.as_rider(), driver.as_driver());
    let more = CashTaken {
        trip,
        rider: rider_id,
        driver: driver_id,
        to_pay: Piasters(10_000),
        taken: Piasters(10_200),
        due_limit: Piasters(5_000),
    };
    let more = cash_difference(&more, &RiderFunds::default()).expect("more").expect("a journal");
    let all = [
        deposit(id, to_rider, Piasters(20_000)),
        deposit(Uuid::from_u128(6), Wallet::Driver(driver_id), Piasters(1_500)),
        gateway_settled(id, Piasters(21_500), Piasters(550)),
        suspense(id, Piasters(300)),
        suspense_resolved(id, Piasters(300), Resolution::Found(to_rider)),
        tip(trip, rider_id, driver_id, Piasters(1_000)),
        more,
    ];
    for journal in &all {
        let posted = post(&db, journal).await;
        assert!(posted.is_ok(), "{journal:?}: {posted:?}");
        // Another key doesn't make it another event.
        let twice = Journal { key: format!("{} again", journal.key), ..journal.clone() };
        let refused = post(&db, &twice).await;
        assert!(matches!(refused, Err(PostError::KeyReused)), "{twice:?}: {refused:?}");
    }
    assert_eq!(view(&db, rider, Role::Rider).await, (20_000 + 300 - 1_000 + 200, 0, 0));
    assert_eq!(view(&db, driver, Role::Driver).await, (1_000 - 200, 0, 0));
    assert_sound(&db).await;
}
