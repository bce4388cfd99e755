//! Roll-up, seals, and what tries to break them.

use base::{BusinessDay, Clock, Millis};

use super::*;

const HOUR: i64 = 3_600_000;

async fn system(db: &Db) -> Vec<(Account, i64)> {
    let balances = system_balances(&mut tx(db).await).await.expect("summed");
    balances.into_iter().map(|(account, balance)| (account, balance.0)).collect()
}

async fn found(db: &Db) -> Vec<&'static str> {
    let findings = check_invariants(&mut tx(db).await).await.expect("checked");
    findings.iter().map(|finding| finding.invariant).collect()
}

/// Takes in so many entries. Transactions of other tests' databases are waited for, too.
async fn roll_up_all(db: &Db, entries: i64) {
    let mut taken = 0;
    while taken < entries {
        taken += roll_up(db).await.expect("rolled up");
    }
    assert_eq!(taken, entries);
}

#[tokio::test]
async fn what_is_rolled_up_and_what_came_since_is_the_balance() {
    let db = storage::testing::database().await;
    let user = UserId::new();
    assert_eq!(system(&db).await, []);
    for n in 1..=5 {
        post(&db, &adjust(user, Role::Rider, 10, &n.to_string())).await.expect("posted");
        assert_eq!(system(&db).await, [(Account::Adjustments, -10 * n)]);
        if n == 2 || n == 4 {
            roll_up_all(&db, 2).await;
        }
    }
    // What a transaction under way brings is not passed by when it comes at last.
    let mut open = tx(&db).await;
    post_in_tx(&mut open, &adjust(user, Role::Rider, 10, "open")).await.expect("posted");
    let other = UserId::new();
    post(&db, &adjust(other, Role::Rider, 1, "other")).await.expect("posted");
    roll_up_all(&db, 1).await;
    assert_eq!(system(&db).await, [(Account::Adjustments, -51)]);
    open.commit().await.expect("committed");
    assert_eq!(system(&db).await, [(Account::Adjustments, -61)]);
    roll_up_all(&db, 2).await;
    assert_eq!(system(&db).await, [(Account::Adjustments, -61)]);
    assert_sound(&db).await;
    let mut owner = storage::testing::owner(&db).await;
    sqlx::raw_sql("UPDATE ledger_rollup SET balance = balance + 1")
        .execute(&mut owner)
        .await
        .expect("tampered");
    assert_eq!(found(&db).await, ["M6"]);
}

#[tokio::test]
async fn a_restored_database_is_rolled_up_anew() {
    let db = storage::testing::database().await;
    post(&db, &adjust(UserId::new(), Role::Rider, 10, "a")).await.expect("posted");
    roll_up_all(&db, 1).await;
    // As if it had been dumped where transactions counted far ahead.
    let mut owner = storage::testing::owner(&db).await;
    sqlx::raw_sql("UPDATE ledger_watermark SET up_to = up_to + 1000000000000")
        .execute(&mut owner)
        .await
        .expect("moved");
    assert_eq!(system(&db).await, [(Account::Adjustments, -10)]);
    post(&db, &adjust(UserId::new(), Role::Rider, 10, "b")).await.expect("posted");
    assert_eq!(system(&db).await, [(Account::Adjustments, -20)]);
    assert_sound(&db).await;
    roll_up_all(&db, 2).await;
    assert_eq!(system(&db).await, [(Account::Adjustments, -20)]);
    assert_sound(&db).await;
}

/// A day of the test's own making: the ledger's times can't be chosen.
struct Day {
    name: BusinessDay,
    begins: Millis,
    ends: Millis,
}

/// Three days of which the last ends now.
fn days(now: Millis) -> [Day; 3] {
    [("07", 3), ("08", 2), ("09", 1)].map(|(name, ago)| Day {
        name: BusinessDay::parse(&format!("2026-01-{name}")).expect("a day"),
        begins: Millis(now.0 - 24 * HOUR * ago),
        ends: Millis(now.0 - 24 * HOUR * (ago - 1)),
    })
}

async fn seal(db: &Db, day: &Day) -> Result<bool, base::Fault> {
    let mut tx = db.begin(&storage::Who::System).await?;
    let sealed = crate::closing::store::seal_in_tx(&mut tx, day.name, day.begins, day.ends).await?;
    tx.commit().await?;
    Ok(sealed)
}

/// Asks until the day is over by the database's clock and transactions of other tests' databases
/// have ended.
async fn seal_at_last(db: &Db, day: &Day) {
    loop {
        for _ in 0..50 {
            if seal(db, day).await.expect("asked") {
                return;
            }
        }
        roll_up(db).await.expect("rolled up");
    }
}

#[tokio::test]
async fn a_day_is_sealed_in_its_turn_and_once_nothing_comes_any_more() {
    let db = storage::testing::database().await;
    post(&db, &adjust(UserId::new(), Role::Rider, 10, "a")).await.expect("posted");
    let mut open = tx(&db).await;
    post_in_tx(&mut open, &adjust(UserId::new(), Role::Rider, 20, "b")).await.expect("posted");
    let now = Clock::system().now();
    let [one, two, three] = days(Millis(now.0 + 1));
    assert!(!seal(&db, &one).await.expect("asked"), "there was no roll-up since");
    roll_up(&db).await.expect("rolled up");
    assert!(!seal(&db, &one).await.expect("asked"), "a transaction is under way");
    open.commit().await.expect("committed");
    seal_at_last(&db, &one).await;
    assert!(seal(&db, &one).await.expect("asked"), "it is sealed already");
    assert!(seal(&db, &three).await.is_err(), "out of turn");
    seal_at_last(&db, &two).await;
    seal_at_last(&db, &three).await;
    let sealed: Vec<(i64, i64, i64)> =
        sqlx::query_as("SELECT journals, entries, volume FROM ledger_seal ORDER BY day")
            .fetch_all(tx(&db).await.conn())
            .await
            .expect("read");
    assert_eq!(sealed, [(0, 0, 0), (0, 0, 0), (2, 4, 30)]);
    assert_sound(&db).await;
}

#[tokio::test]
async fn a_change_of_a_sealed_day_is_found() {
    let db = storage::testing::database().await;
    let user = UserId::new();
    post(&db, &adjust(user, Role::Rider, 10, "a")).await.expect("posted");
    post(&db, &adjust(user, Role::Rider, -10, "b")).await.expect("posted");
    for day in days(Millis(Clock::system().now().0 + 1)) {
        seal_at_last(&db, &day).await;
    }
    assert_sound(&db).await;
    let mut owner = storage::testing::owner(&db).await;
    let mut tampered = async |tamper: &'static str| {
        let sql = format!(
            "BEGIN; ALTER TABLE ledger_journal DISABLE TRIGGER USER;
             ALTER TABLE ledger_seal DISABLE TRIGGER USER; {tamper};
             ALTER TABLE ledger_journal ENABLE TRIGGER USER;
             ALTER TABLE ledger_seal ENABLE TRIGGER USER; COMMIT"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&mut owner).await.expect(tamper);
        found(&db).await
    };
    // A key that nobody would miss, put back again, and a seal that is left out.
    let key = "UPDATE ledger_journal SET key = key || '!' WHERE id IN
               (SELECT id FROM ledger_journal ORDER BY id LIMIT 1)";
    assert_eq!(tampered(key).await, ["M9"]);
    let back = "UPDATE ledger_journal SET key = rtrim(key, '!')";
    assert_eq!(tampered(back).await, [""; 0]);
    let days_lost = "DELETE FROM ledger_seal WHERE day = '2026-01-08'";
    assert_eq!(tampered(days_lost).await, ["M9", "M9"]);
}

#[tokio::test]
async fn days_are_sealed_as_they_end() {
    let db = storage::testing::database().await;
    let now = Clock::system().now();
    assert_eq!(seal_days(&db, now).await.expect("nothing to seal"), 0);
    post(&db, &adjust(UserId::new(), Role::Rider, 10, "a")).await.expect("posted");
    assert_eq!(seal_days(&db, now).await.expect("today goes on"), 0);
    // Whatever a node's clock says, the database knows that the day is not over.
    let later = Millis(now.0 + 72 * HOUR);
    roll_up(&db).await.expect("rolled up");
    assert_eq!(seal_days(&db, later).await.expect("not over"), 0);
}

#[tokio::test]
async fn nobody_closes_the_books_but_the_program() {
    let db = storage::testing::database().await;
    roll_up(&db).await.expect("rolled up");
    let admin = base::Caller {
        user: UserId::new(),
        role: Role::Admin,
        session: base::SessionId::new(),
        expires: Millis(i64::MAX),
    };
    for attempt in [
        "SELECT ledger_roll_up()",
        "SELECT ledger_seal_day('2026-01-01', '2026-01-01', '2026-01-02')",
        "UPDATE ledger_rollup SET balance = 0",
        "UPDATE ledger_watermark SET up_to = 0",
        "INSERT INTO ledger_seal VALUES ('2026-01-01', '2026-01-01', '2026-01-02', 0, 0, 0, '')",
        "DELETE FROM ledger_seal",
    ] {
        let mut tx = db.begin(&storage::Who::Caller(admin)).await.expect("a transaction");
        let refused = sqlx::query(attempt).execute(tx.conn()).await;
        assert!(refused.is_err(), "{attempt} went through");
    }
}
