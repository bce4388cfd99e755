//! The ledger against a real PostgreSQL: what the database itself guarantees.

use base::{BasisPoints, DriverId, PaymentMethod, Piasters, RiderId, Role, TripId, UserId};
use storage::{Db, Tx};

use super::*;

mod actor;
mod closing;
mod kinds;

async fn tx(db: &Db) -> Tx {
    db.begin_writer().await.expect("a transaction")
}

fn adjust(user: UserId, role: Role, amount: i64, key: &str) -> Journal {
    let admin = UserId::from_u128(99);
    adjustment(admin, user, role, Piasters(amount), "test", Some(key)).expect("a wallet")
}

async fn post(db: &Db, journal: &Journal) -> Result<Posted, PostError> {
    let mut tx = tx(db).await;
    let posted = post_in_tx(&mut tx, journal).await?;
    tx.commit().await?;
    Ok(posted)
}

async fn rich_rider(db: &Db, pounds: i64) -> UserId {
    let user = UserId::new();
    let amount = Piasters::pounds(pounds).0;
    post(db, &adjust(user, Role::Rider, amount, &user.to_string())).await.expect("credited");
    user
}

async fn view(db: &Db, user: UserId, role: Role) -> (i64, i64, i64) {
    let view = wallet(&mut tx(db).await, user, role).await.expect("a wallet");
    (view.balance.0, view.held.0, view.due.0)
}

async fn assert_sound(db: &Db) {
    let findings = check_invariants(&mut tx(db).await).await.expect("checked");
    // No trips are stored here: what compares trips with the ledger says so.
    let money: Vec<_> = findings
        .into_iter()
        .filter(|f| f.invariant != "M2" && !f.detail.starts_with("rider "))
        .collect();
    assert_eq!(money, []);
}

fn settle(trip: TripId, rider: UserId, driver: UserId, hold: i64) -> TripMoney {
    TripMoney::Settle(Settlement {
        trip,
        rider: rider.as_rider(),
        driver: driver.as_driver(),
        method: if hold > 0 { PaymentMethod::Wallet } else { PaymentMethod::Cash },
        price: Piasters(10_000),
        promo: Piasters::ZERO,
        cash_step: Piasters(1),
        commission: BasisPoints(1500),
        hold: Piasters(hold),
        due_limit: Piasters(5_000),
        debt_limit: Piasters(20_000),
    })
}

#[tokio::test]
async fn the_tables_kinds_are_the_programs() {
    let db = storage::testing::database().await;
    let rows: Vec<(i16, String, bool)> =
        sqlx::query_as("SELECT id, name, wallet FROM ledger_account_kind ORDER BY id")
            .fetch_all(tx(&db).await.conn())
            .await
            .expect("read");
    let ours: Vec<_> = Account::all(UserId::from_u128(1))
        .into_iter()
        .map(|account| (account.kind(), account.name().to_owned(), account.owner().is_some()))
        .collect();
    assert_eq!(rows, ours);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sixty_four_concurrent_posts_on_one_account_stay_exact() {
    let db = storage::testing::database().await;
    let user = rich_rider(&db, 100).await;
    let mut posts = tokio::task::JoinSet::new();
    for n in 0..64i64 {
        let db = db.clone();
        posts.spawn(async move {
            let amount = if n % 2 == 0 { 100 + n } else { -50 };
            post(&db, &adjust(user, Role::Rider, amount, &n.to_string())).await
        });
    }
    while let Some(posted) = posts.join_next().await {
        posted.expect("joined").expect("posted");
    }
    let expected = 10_000 + (0..64).step_by(2).map(|n| 100 + n).sum::<i64>() - 32 * 50;
    assert_eq!(view(&db, user, Role::Rider).await, (expected, 0, 0));
    assert_sound(&db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn one_key_posts_once_under_a_race() {
    let db = storage::testing::database().await;
    let user = UserId::new();
    let journal = adjust(user, Role::Rider, 500, "same");
    let mut posts = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let (db, journal) = (db.clone(), journal.clone());
        posts.spawn(async move { post(&db, &journal).await.expect("posted") });
    }
    let mut answers = Vec::new();
    while let Some(posted) = posts.join_next().await {
        answers.push(posted.expect("joined"));
    }
    let first = answers.iter().filter(|posted| posted.repeat == Repeat::First).count();
    assert_eq!(first, 1);
    assert!(answers.iter().all(|posted| posted.journal == answers[0].journal));
    assert!(answers.iter().all(|posted| posted.balances == answers[0].balances));
    assert_eq!(view(&db, user, Role::Rider).await, (500, 0, 0));
}

#[tokio::test]
async fn a_key_with_another_body_is_refused() {
    let db = storage::testing::database().await;
    let user = rich_rider(&db, 1).await;
    post(&db, &adjust(user, Role::Rider, 500, "k")).await.expect("posted");
    let altered = [
        adjust(user, Role::Rider, 501, "k"),
        adjust(UserId::new(), Role::Rider, 500, "k"),
        Journal { note: Some("another".to_owned()), ..adjust(user, Role::Rider, 500, "k") },
        Journal { mode: Mode::Obligation, ..adjust(user, Role::Rider, 500, "k") },
    ];
    for journal in altered {
        let refused = post(&db, &journal).await;
        assert!(matches!(refused, Err(PostError::KeyReused)), "{journal:?}: {refused:?}");
    }
    assert_eq!(view(&db, user, Role::Rider).await, (600, 0, 0));
}

#[tokio::test]
async fn a_trip_is_settled_once_whatever_the_key() {
    let db = storage::testing::database().await;
    let (trip, driver) = (TripId::new(), UserId::new());
    let step = settle(trip, UserId::new(), driver, 0);
    let mut journal = decide(&step, &RiderFunds::default()).expect("cash").remove(0);
    post(&db, &journal).await.expect("posted");
    journal.key = "another".to_owned();
    assert!(matches!(post(&db, &journal).await, Err(PostError::KeyReused)));
    let batch = post_batch_in_tx(&mut tx(&db).await, &[journal]).await.expect("answered");
    assert!(matches!(batch[..], [Err(PostError::KeyReused)]), "{batch:?}");
    assert_eq!(view(&db, driver, Role::Driver).await, (-1500, 0, 1500));
}

#[tokio::test]
async fn a_journal_that_does_not_balance_is_refused() {
    let db = storage::testing::database().await;
    let user = rich_rider(&db, 10).await;
    let good = adjust(user, Role::Rider, 500, "k");
    let mut crooked = good.clone();
    crooked.legs[0].amount = Piasters(499);
    let mut lonely = good.clone();
    lonely.legs.truncate(1);
    let mut empty = good.clone();
    empty.legs.clear();
    let mut double = good.clone();
    double.legs.extend(good.legs.clone());
    for journal in [crooked, lonely, empty, double] {
        let refused = post(&db, &journal).await;
        assert!(matches!(refused, Err(PostError::Unbalanced)), "{journal:?}: {refused:?}");
        let batch = [journal, adjust(user, Role::Rider, 1, "fine")];
        let mut tx = tx(&db).await;
        let answers = post_batch_in_tx(&mut tx, &batch).await.expect("answered");
        assert!(matches!(answers[..], [Err(PostError::Unbalanced), Ok(_)]), "{answers:?}");
    }
    assert_eq!(view(&db, user, Role::Rider).await, (1000, 0, 0));
}

/// Each would change what was posted, or post what does not belong there.
const REWRITES: [&str; 11] = [
    "UPDATE ledger_entry SET amount = amount + 1",
    "DELETE FROM ledger_entry",
    "TRUNCATE ledger_entry",
    "UPDATE ledger_journal SET kind = 'hold'",
    "DELETE FROM ledger_journal",
    // One-sided, and a balanced pair put into a journal that stands.
    "INSERT INTO ledger_entry (journal_id, account, owner, amount, created_at)
     SELECT id, 20, '00000000-0000-0000-0000-000000000000', 5, now() FROM ledger_journal",
    "INSERT INTO ledger_entry (journal_id, account, owner, amount, created_at)
     SELECT id, a, '00000000-0000-0000-0000-000000000000', x, now()
     FROM ledger_journal, (VALUES (20, 5), (21, -5)) v (a, x)",
    // A gap in an account's numbers, a balance out of thin air, a key under a false fingerprint.
    "WITH j AS (INSERT INTO ledger_journal
       SELECT gen_random_uuid(), 'gap', ledger_fingerprint('adjustment', owner, 'authorising', NULL,
         format('1:%s:5,27:00000000-0000-0000-0000-000000000000:-5', owner)), 'adjustment', owner,
         'authorising', 2, NULL, now() FROM ledger_balance WHERE account = 1 RETURNING *)
     INSERT INTO ledger_entry
       (journal_id, account, owner, amount, account_seq, balance_after, created_at)
     SELECT j.id, 1, j.reference, 5, 7, 1005, now() FROM j UNION ALL
     SELECT j.id, 27, '00000000-0000-0000-0000-000000000000', -5, NULL, NULL, now() FROM j",
    "WITH j AS (INSERT INTO ledger_journal
       SELECT gen_random_uuid(), 'air', ledger_fingerprint('adjustment', owner, 'authorising', NULL,
         format('1:%s:5,27:00000000-0000-0000-0000-000000000000:-5', owner)), 'adjustment', owner,
         'authorising', 2, NULL, now() FROM ledger_balance WHERE account = 1 RETURNING *)
     INSERT INTO ledger_entry
       (journal_id, account, owner, amount, account_seq, balance_after, created_at)
     SELECT j.id, 1, j.reference, 5, 2, 9999, now() FROM j UNION ALL
     SELECT j.id, 27, '00000000-0000-0000-0000-000000000000', -5, NULL, NULL, now() FROM j",
    "WITH j AS (INSERT INTO ledger_journal
       SELECT gen_random_uuid(), 'false', sha256('false'), 'adjustment', owner,
         'authorising', 2, NULL, now() FROM ledger_balance WHERE account = 1 RETURNING *)
     INSERT INTO ledger_entry
       (journal_id, account, owner, amount, account_seq, balance_after, created_at)
     SELECT j.id, 1, j.reference, 5, 2, 1005, now() FROM j UNION ALL
     SELECT j.id, 27, '00000000-0000-0000-0000-000000000000', -5, NULL, NULL, now() FROM j",
    "UPDATE ledger_journal SET fingerprint = sha256('false')",
];

#[tokio::test]
async fn history_can_not_be_rewritten() {
    let db = storage::testing::database().await;
    rich_rider(&db, 10).await;
    let mut owner = storage::testing::owner(&db).await;
    for attempt in REWRITES {
        let refused = sqlx::query(attempt).execute(tx(&db).await.conn()).await;
        assert!(refused.is_err(), "{attempt} went through");
        // Not even by whom no privilege stops.
        let refused = sqlx::query(attempt).execute(&mut owner).await.expect_err(attempt);
        let state = storage::raised(&refused);
        assert!(matches!(state, Some("SL003" | "SL004")), "{attempt}: {refused}");
    }
    for attempt in [
        "UPDATE ledger_balance SET balance = balance + 1",
        "SELECT * FROM ledger_write('{}','{}','{}','{}','{}','{}','{}','{}','{}','{}','{}')",
    ] {
        let refused = sqlx::query(attempt).execute(tx(&db).await.conn()).await;
        assert!(refused.is_err(), "{attempt} went through");
    }
    assert_sound(&db).await;
}

#[tokio::test]
async fn tampering_is_found() {
    let db = storage::testing::database().await;
    let rider = rich_rider(&db, 10).await;
    let hold = hold_journal(TripId::new(), rider.as_rider(), Piasters(400));
    post(&db, &hold).await.expect("held");
    let mut owner = storage::testing::owner(&db).await;
    let mut found = async |tamper: &'static str| {
        sqlx::raw_sql(tamper).execute(&mut owner).await.expect(tamper);
        let findings = check_invariants(&mut tx(&db).await).await.expect("checked");
        findings.iter().map(|finding| finding.invariant).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        found("UPDATE ledger_balance SET balance = balance + 1 WHERE account = 1").await,
        "M5 M7"
    );
    let off = "UPDATE ledger_balance SET balance = balance - 1 WHERE account = 1;
               ALTER TABLE ledger_entry DISABLE TRIGGER ledger_entry_immutable";
    assert_eq!(found(off).await, "M7 M9");
    let doubled = "UPDATE ledger_entry e SET amount = amount * 2, balance_after = balance_after * 2
                   WHERE journal_id IN (SELECT id FROM ledger_journal WHERE kind = 'adjustment')";
    assert_eq!(found(doubled).await, "M5 M5 M7 M9 M9");
    let lost = "DELETE FROM ledger_entry WHERE account = 27";
    assert_eq!(found(lost).await, "M1 M5 M5 M7 M9 M9");
}

#[tokio::test]
async fn nobody_spends_what_he_does_not_have() {
    let db = storage::testing::database().await;
    let user = rich_rider(&db, 10).await;
    let over = adjust(user, Role::Rider, -1001, "over");
    assert!(matches!(post(&db, &over).await, Err(PostError::InsufficientFunds)));
    // Not even as an obligation: riders are never negative.
    let over = Journal { mode: Mode::Obligation, ..over };
    assert!(matches!(post(&db, &over).await, Err(PostError::InsufficientFunds)));
    post(&db, &adjust(user, Role::Rider, -1000, "all")).await.expect("to zero");

    // A driver goes below his floor by obligation only.
    let driver = UserId::new();
    for n in 0..14u128 {
        let step = settle(TripId::from_u128(1000 + n), UserId::new(), driver, 0);
        let journals = decide(&step, &RiderFunds::default()).expect("cash");
        post(&db, &journals[0]).await.expect("an obligation");
    }
    assert_eq!(view(&db, driver, Role::Driver).await, (-21_000, 0, 21_000));
    let more = adjust(driver, Role::Driver, -1, "more");
    assert!(matches!(post(&db, &more).await, Err(PostError::InsufficientFunds)));
    post(&db, &adjust(driver, Role::Driver, 2_000, "less")).await.expect("a credit always goes");
    post(&db, &adjust(driver, Role::Driver, -1_000, "to the floor")).await.expect("at the floor");
    assert_sound(&db).await;
}

#[tokio::test]
async fn a_wallet_trip_from_hold_to_settlement() {
    let db = storage::testing::database().await;
    let (rider, driver, trip) = (rich_rider(&db, 100).await, UserId::new(), TripId::new());
    let mut tx1 = tx(&db).await;
    let funds = lock_funds_in_tx(&mut tx1, &[rider]).await.expect("locked")[&rider];
    let amount = hold_for(Piasters(8_000), funds.wallet).expect("covered");
    post_in_tx(&mut tx1, &hold_journal(trip, RiderId(rider.0), amount)).await.expect("held");
    tx1.commit().await.expect("committed");
    assert_eq!(view(&db, rider, Role::Rider).await, (400, 9_600, 0));

    // The way was longer: 100.00 instead of 80.00, all there is pays.
    let mut tx2 = tx(&db).await;
    let funds = lock_funds_in_tx(&mut tx2, &[rider]).await.expect("locked")[&rider];
    let journals = decide(&settle(trip, rider, driver, amount.0), &funds).expect("paid");
    let posted = post_batch_in_tx(&mut tx2, &journals).await.expect("answered");
    let posted = posted[0].as_ref().expect("settled");
    assert_eq!(posted.balance_of(Account::Driver(driver)), Some(Piasters(8_500)));
    tx2.commit().await.expect("committed");
    assert_eq!(view(&db, rider, Role::Rider).await, (0, 0, 0));
    assert_eq!(view(&db, driver, Role::Driver).await, (8_500, 0, 0));
    let system = system_balances(&mut tx(&db).await).await.expect("summed");
    assert_eq!(
        system,
        [
            (Account::Commission, Piasters(1316)),
            (Account::Vat, Piasters(184)),
            (Account::Adjustments, Piasters(-10_000)),
        ]
    );
    assert_sound(&db).await;
}

#[tokio::test]
async fn a_debt_is_paid_when_money_comes() {
    let db = storage::testing::database().await;
    let (rider, driver) = (rich_rider(&db, 6).await, DriverId::new());
    let fee = TripMoney::CancelFee {
        trip: TripId::new(),
        rider: rider.as_rider(),
        driver: Some(driver),
        fee: Piasters(1500),
        hold: Piasters::ZERO,
    };
    let mut tx1 = tx(&db).await;
    let funds = lock_funds_in_tx(&mut tx1, &[rider]).await.expect("locked")[&rider];
    post_in_tx(&mut tx1, &decide(&fee, &funds).expect("a fee")[0]).await.expect("posted");
    tx1.commit().await.expect("committed");
    assert_eq!(view(&db, rider, Role::Rider).await, (0, 0, 900));

    let mut tx2 = tx(&db).await;
    let credit = adjust(rider, Role::Rider, 1_000, "credit");
    let credited = post_in_tx(&mut tx2, &credit).await.expect("credited");
    let paid = pay_due_in_tx(&mut tx2, rider.as_rider(), credited.journal).await.expect("paid");
    assert!(paid.is_some());
    let again = pay_due_in_tx(&mut tx2, rider.as_rider(), credited.journal).await.expect("asked");
    assert_eq!(again, None);
    tx2.commit().await.expect("committed");
    assert_eq!(view(&db, rider, Role::Rider).await, (100, 0, 0));
    assert_sound(&db).await;
}

#[tokio::test]
async fn a_batch_answers_each_item_on_its_own() {
    let db = storage::testing::database().await;
    let (one, two) = (rich_rider(&db, 10).await, rich_rider(&db, 10).await);
    let old = adjust(one, Role::Rider, 5, "old");
    post(&db, &old).await.expect("posted");
    let batch = [
        adjust(one, Role::Rider, -1_000, "a"),
        adjust(one, Role::Rider, -6, "too much"),
        old,
        adjust(two, Role::Rider, -300, "b"),
        adjust(two, Role::Rider, -300, "b"),
        adjust(one, Role::Rider, -5, "the rest"),
    ];
    let mut tx1 = tx(&db).await;
    let answers = post_batch_in_tx(&mut tx1, &batch).await.expect("answered");
    tx1.commit().await.expect("committed");
    let said: Vec<String> = answers
        .iter()
        .map(|answer| match answer {
            Ok(posted) => format!("{:?} {}", posted.repeat, posted.balances[0].1.0),
            Err(error) => format!("{error:?}"),
        })
        .collect();
    assert_eq!(
        said,
        ["First 5", "InsufficientFunds", "Again 1005", "First 700", "Again 700", "First 0"]
    );
    assert_sound(&db).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_over_the_same_people_never_deadlock() {
    let db = storage::testing::database().await;
    let mut riders = Vec::new();
    for _ in 0..6 {
        riders.push(rich_rider(&db, 1_000).await);
    }
    let drivers: Vec<UserId> = (0..4).map(|_| UserId::new()).collect();
    let mut batches = tokio::task::JoinSet::new();
    for n in 0..24usize {
        let (db, mut riders, drivers) = (db.clone(), riders.clone(), drivers.clone());
        batches.spawn(async move {
            riders.rotate_left(n % 6);
            let mut tx = tx(&db).await;
            let funds = lock_funds_in_tx(&mut tx, &riders).await.expect("locked");
            let journals: Vec<Journal> = riders
                .iter()
                .zip(drivers.iter().cycle().skip(n))
                .flat_map(|(rider, driver)| {
                    let step = TripMoney::CancelFee {
                        trip: TripId::new(),
                        rider: rider.as_rider(),
                        driver: Some(driver.as_driver()),
                        fee: Piasters(300),
                        hold: Piasters::ZERO,
                    };
                    decide(&step, &funds[rider]).expect("a fee")
                })
                .collect();
            let answers = post_batch_in_tx(&mut tx, &journals).await.expect("answered");
            assert!(answers.iter().all(Result::is_ok), "{answers:?}");
            tx.commit().await.expect("committed");
        });
    }
    while let Some(done) = batches.join_next().await {
        done.expect("no deadlock");
    }
    for rider in riders {
        assert_eq!(view(&db, rider, Role::Rider).await, (100_000 - 24 * 300, 0, 0));
    }
    assert_sound(&db).await;
}

#[tokio::test]
async fn transactions_come_in_pages_newest_first() {
    let db = storage::testing::database().await;
    let rider = UserId::new();
    for n in 1..=5 {
        post(&db, &adjust(rider, Role::Rider, n, &n.to_string())).await.expect("posted");
    }
    let hold = hold_journal(TripId::new(), rider.as_rider(), Piasters(4));
    post(&db, &hold).await.expect("held");
    let mut seen = Vec::new();
    let mut after = None;
    loop {
        let mut tx = tx(&db).await;
        let page = transactions(&mut tx, rider, Role::Rider, after, 4).await.expect("a page");
        assert!(page.transactions.len() <= 4);
        seen.extend(page.transactions);
        match page.next_cursor {
            Some(text) => after = base::Cursor::parse(&text),
            None => break,
        }
    }
    let amounts: Vec<_> =
        seen.iter().map(|t| (t.kind.as_str(), t.amount.0, t.held.0, t.balance_after)).collect();
    let left = |balance| Some(Piasters(balance));
    assert_eq!(
        amounts,
        [
            ("hold", 0, 4, left(11)),
            ("adjustment", 5, 0, left(15)),
            ("adjustment", 4, 0, left(10)),
            ("adjustment", 3, 0, left(6)),
            ("adjustment", 2, 0, left(3)),
            ("adjustment", 1, 0, left(1)),
        ]
    );
    assert_eq!(seen[0].trip_id, Some(hold.reference));
    assert_eq!(seen[1].reason.as_deref(), Some("test"));
}
