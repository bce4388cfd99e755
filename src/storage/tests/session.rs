//! Transactions: who they run as, what survives them, what a commit promises.

use std::time::Duration;

use base::{Caller, Fault, Millis, Role, SessionId, UserId};
use sqlx::Executor;

use crate::db::{PoolLimits, connect};
use crate::{Db, Tx, Who, breaks, in_background, testing};

pub(super) fn caller(user: u128, role: Role) -> Who {
    Who::Caller(Caller {
        user: UserId::from_u128(user),
        role,
        session: SessionId::from_u128(1),
        expires: Millis(0),
    })
}

/// Limits for a machine that is busy with other tests.
pub(super) fn patient() -> PoolLimits {
    PoolLimits { min: 0, acquire: Duration::from_secs(60), ..PoolLimits::default() }
}

/// Role, caller and kind of the transaction, as the database sees them.
async fn identity(tx: &mut Tx) -> (String, String, String) {
    sqlx::query_as(
        "SELECT current_user::text, current_setting('app.uid', true),
                current_setting('app.role', true)",
    )
    .fetch_one(&mut **tx)
    .await
    .unwrap()
}

async fn cities(db: &Db) -> i64 {
    let mut tx = db.begin(&Who::System).await.unwrap();
    sqlx::query_scalar("SELECT count(*) FROM cities").fetch_one(&mut *tx).await.unwrap()
}

const ADD_CITY: &str = "INSERT INTO cities (id, name, time_zone, center_lat, center_lng, radius_m) \
                        VALUES (9, 'Tanta', 'Africa/Cairo', 30.8, 31.0, 1000)";

#[tokio::test]
async fn a_transaction_carries_its_caller() {
    let db = testing::database().await;
    let mut tx = db.begin(&caller(7, Role::Driver)).await.unwrap();
    let id = UserId::from_u128(7).to_string();
    assert_eq!(identity(&mut tx).await, ("smartline_app".into(), id, "driver".into()));
    let mut tx = db.begin(&Who::System).await.unwrap();
    let system = ("smartline_app".into(), String::new(), "system".into());
    assert_eq!(identity(&mut tx).await, system);
    let mut tx = db.begin_writer().await.unwrap();
    assert_eq!(identity(&mut tx).await.0, "smartline_writer");
}

#[tokio::test]
async fn a_dropped_transaction_is_rolled_back_and_a_committed_one_stays() {
    let db = testing::database().await;
    let before = cities(&db).await;
    let mut tx = db.begin(&Who::System).await.unwrap();
    tx.execute(ADD_CITY).await.unwrap();
    drop(tx);
    assert_eq!(cities(&db).await, before);
    let mut tx = db.begin(&Who::System).await.unwrap();
    tx.execute(ADD_CITY).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(cities(&db).await, before + 1);
}

#[tokio::test]
async fn a_transaction_that_failed_midway_is_never_reported_as_committed() {
    let db = testing::database().await;
    let before = cities(&db).await;
    let mut tx = db.begin(&Who::System).await.unwrap();
    tx.execute(ADD_CITY).await.unwrap();
    let error = tx.execute(ADD_CITY).await.unwrap_err();
    assert!(breaks(&error, "cities_pkey"), "{error}");
    assert!(matches!(tx.commit().await, Err(Fault::Internal(_))));
    assert_eq!(cities(&db).await, before);
}

#[tokio::test]
async fn a_transaction_that_can_not_open_poisons_no_connection() {
    let (address, owner) = testing::empty_copy("template0").await;
    let limits = PoolLimits { max: 1, ..patient() };
    // A role that this login may not become: BEGIN succeeds, SET ROLE doesn't.
    let db = connect(&address.with_login("smartline_stranger"), &limits).await;
    assert!(db.is_err(), "a login that doesn't exist got in");
    let mut conn = owner.connect_once().await.unwrap();
    conn.execute("CREATE ROLE smartline_stranger LOGIN").await.unwrap();
    let db = connect(&address.with_login("smartline_stranger"), &limits).await.unwrap();
    for _ in 0..3 {
        let error = db.begin(&Who::System).await.err().unwrap().to_string();
        assert!(error.contains("permission denied to set role"), "{error}");
    }
    conn.execute("GRANT smartline_app TO smartline_stranger").await.unwrap();
    db.begin(&Who::System).await.unwrap();
}

#[tokio::test]
async fn a_slow_statement_is_ended_as_unavailable() {
    let db = testing::database().await;
    let limits = PoolLimits { statement: Duration::from_millis(50), ..patient() };
    let db = connect(db.address(), &limits).await.unwrap();
    let mut tx = db.begin(&Who::System).await.unwrap();
    let error = tx.execute("SELECT pg_sleep(30)").await.unwrap_err();
    assert!(matches!(crate::fault(error), Fault::Unavailable(_)));
}

#[tokio::test]
async fn a_full_pool_is_unavailable_after_the_acquire_timeout() {
    let db = testing::database().await;
    let limits = PoolLimits { max: 1, acquire: Duration::from_secs(2), ..patient() };
    let db = connect(db.address(), &limits).await.unwrap();
    let held = db.begin(&Who::System).await.unwrap();
    assert!(matches!(db.begin(&Who::System).await.err(), Some(Fault::Unavailable(_))));
    // The group writer doesn't stand in that line.
    db.begin_writer().await.unwrap();
    drop(held);
    db.begin(&Who::System).await.unwrap();
}

#[tokio::test]
async fn what_nobody_waits_for_leaves_connections_to_those_who_ask() {
    let db = testing::database().await;
    let statement = Duration::from_millis(500);
    let limits = PoolLimits { max: 3, background: 2, statement, ..patient() };
    let db = connect(db.address(), &limits).await.unwrap();
    let begin = || in_background(db.begin(&Who::System));
    let held = [begin().await.unwrap(), begin().await.unwrap()];
    assert!(matches!(begin().await.err(), Some(Fault::Unavailable(_))));
    db.begin(&caller(7, Role::Rider)).await.unwrap().commit().await.unwrap();
    db.begin(&Who::System).await.unwrap().commit().await.unwrap();
    for tx in held {
        tx.commit().await.unwrap();
    }
    begin().await.unwrap();
}

#[tokio::test]
async fn work_in_the_background_has_one_place() {
    let db = testing::database().await;
    let limits = PoolLimits { max: 3, background: 1, ..patient() };
    let db = connect(db.address(), &limits).await.unwrap();
    in_background(async {
        let first = db.begin(&Who::System).await.unwrap();
        let second = db.begin(&Who::System).await.unwrap();
        drop((first, second));
        db.begin(&Who::System).await.unwrap();
    })
    .await;
    // It was given back.
    in_background(db.begin(&Who::System)).await.unwrap();
}

/// As after a restart of the server: nobody but the pool learns of it.
#[tokio::test]
async fn connections_that_died_at_rest_are_nobodys_trouble() {
    let direct = testing::database().await;
    let limits = PoolLimits { max: 3, ..patient() };
    let db = connect(direct.address(), &limits).await.unwrap();
    let mut open = Vec::new();
    for _ in 0..3 {
        open.push(db.begin(&caller(7, Role::Rider)).await.unwrap());
    }
    for tx in open {
        tx.commit().await.unwrap();
    }
    let ended: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity a, pg_terminate_backend(a.pid, 60000) ended
         WHERE ended AND a.datname = current_database() AND a.pid <> pg_backend_pid()",
    )
    .fetch_one(&mut testing::owner(&db).await)
    .await
    .unwrap();
    assert!(ended >= 3, "{ended}");
    db.begin(&caller(7, Role::Rider)).await.unwrap().commit().await.unwrap();
}

/// The same statements through a pooler in transaction mode: nothing may outlive a transaction, and
/// every timeout is set inside it.
#[tokio::test]
async fn through_a_pooler_every_transaction_brings_its_own_settings() {
    let direct = testing::database().await;
    let db = connect(&direct.address().through_a_pooler(), &patient()).await.unwrap();
    for user in [1, 2, 1] {
        let mut tx = db.begin(&caller(user, Role::Rider)).await.unwrap();
        assert_eq!(identity(&mut tx).await.1, UserId::from_u128(user).to_string());
        let timeout: String =
            sqlx::query_scalar("SHOW statement_timeout").fetch_one(&mut *tx).await.unwrap();
        assert_eq!(timeout, "10s");
        let names: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_prepared_statements")
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        assert!(names <= 3, "{names} statements of earlier transactions are left");
    }
}

/// What the program does for itself is planned once, whatever keys it asks for, and by an index,
/// however few rows there were then; who works by other means than keys has the server's own plans.
#[tokio::test]
async fn plans_of_the_programs_own_work_are_made_once() {
    let db = testing::database().await;
    let db = connect(db.address(), &PoolLimits { max: 1, ..patient() }).await.unwrap();
    for keys in 1..9 {
        let mut tx = db.begin(&Who::System).await.unwrap();
        let ids: Vec<i16> = (0..keys).collect();
        let asked = sqlx::query("SELECT id FROM cities WHERE id = ANY($1)").bind(ids);
        asked.fetch_all(&mut *tx).await.unwrap();
    }
    let mut tx = db.begin(&Who::System).await.unwrap();
    let made: (i64, i64) = sqlx::query_as(
        "SELECT generic_plans, custom_plans FROM pg_prepared_statements
         WHERE statement LIKE 'SELECT id FROM cities%'",
    )
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    assert_eq!(made, (8, 0));
    let scans = "SELECT current_setting('enable_seqscan'), current_setting('plan_cache_mode')";
    let told: (String, String) = sqlx::query_as(scans).fetch_one(&mut *tx).await.unwrap();
    assert_eq!(told, ("off".to_owned(), "force_generic_plan".to_owned()));
    drop(tx);
    let slow = db.apart("slow", &PoolLimits { by_key: false, ..patient() });
    let mut tx = slow.begin(&Who::System).await.unwrap();
    let told: (String, String) = sqlx::query_as(scans).fetch_one(&mut *tx).await.unwrap();
    assert_eq!(told, ("on".to_owned(), "auto".to_owned()));
}

/// 1000 users in turn over two connections, some of them gone in the middle of a statement: each
/// sees himself and nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_caller_leaks() {
    let db = testing::database().await;
    let mut owner = testing::owner(&db).await;
    owner
        .execute(
            "INSERT INTO users (id, phone, name, role, password_hash)
             SELECT lpad(to_hex(n), 32, '0')::uuid, '+2010' || lpad(n::text, 8, '0'), 'n', 'rider',
                    'x' FROM generate_series(1, 1000) n",
        )
        .await
        .unwrap();
    let limits = PoolLimits { max: 2, ..patient() };
    let db = connect(db.address(), &limits).await.unwrap();
    let mut crowd = tokio::task::JoinSet::new();
    for user in 1..=1000_u128 {
        let db = db.clone();
        crowd.spawn(async move {
            let mut tx = db.begin(&caller(user, Role::Rider)).await.unwrap();
            if user % 7 == 0 {
                let nap = tx.execute("SELECT pg_sleep(0.002)");
                let _gone = tokio::time::timeout(Duration::from_millis(1), nap).await;
                return;
            }
            let seen: Vec<uuid::Uuid> =
                sqlx::query_scalar("SELECT id FROM users").fetch_all(&mut *tx).await.unwrap();
            assert_eq!(seen, [uuid::Uuid::from_u128(user)]);
            if user % 2 == 0 {
                tx.commit().await.unwrap();
            }
        });
    }
    while let Some(done) = crowd.join_next().await {
        done.unwrap();
    }
}
