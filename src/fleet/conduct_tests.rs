//! Marks against drivers and the positions they are made from, on a real PostgreSQL.

use std::time::Duration;

use base::{DriverId, Millis, Piasters, UserId};
use sqlx::{Executor, Row};
use storage::{Db, Who, testing};

use crate::conduct::store::{HISTORY, heard_since_in_tx, history_in_tx};
use crate::conduct::{ConductMark, Misconduct, conduct_forget_in_tx, conduct_mark_in_tx};
use crate::model::{DriverFacts, Fix};
use crate::store;
use crate::store_tests::fresh;
use crate::tests::{at, facts, scene};

const ALI: DriverId = DriverId::from_u128(1);
const MONA: DriverId = DriverId::from_u128(2);
const NOBODY: DriverId = DriverId::from_u128(9);

async fn drivers(db: &Db) {
    let mut owner = testing::owner(db).await;
    for id in [ALI, MONA] {
        let user = "INSERT INTO users (id, phone, name, role, password_hash) \
                    VALUES ($1, $2, 'N', 'driver', '')";
        let phone = format!("+2010{:08}", id.as_u128());
        let query = sqlx::query(user).bind(UserId::from(id).0).bind(phone);
        owner.execute(query).await.expect("a user");
        let driver = sqlx::query("INSERT INTO drivers (id) VALUES ($1)").bind(id.0);
        owner.execute(driver).await.expect("a driver");
    }
}

#[tokio::test]
async fn a_mark_is_kept_renewed_and_taken_away() {
    let house = fresh().await;
    drivers(&house.db).await;
    let mark = |reason, penalty, hours: u64| ConductMark {
        reason,
        penalty,
        since: Millis(1_800_000_000_000),
        until: Millis(1_800_000_000_000) + Duration::from_secs(3600 * hours),
    };
    let of = async |driver| {
        let facts = store::facts(&house.db, &[driver]).await.expect("facts").pop();
        facts.map_or_else(Vec::new, |(_, facts)| facts.conduct)
    };
    let put = async |driver, mark: &ConductMark| {
        let mut tx = house.db.begin(&Who::System).await.expect("a transaction");
        conduct_mark_in_tx(&mut tx, driver, mark).await.expect("marked");
        tx.commit().await.expect("stored");
    };
    let (jumps, picks) =
        (mark(Misconduct::Teleports, 30, 10), mark(Misconduct::CherryPicking, 10, 20));
    put(ALI, &jumps).await;
    put(ALI, &picks).await;
    put(NOBODY, &picks).await;
    let mut marks = of(ALI).await;
    marks.sort_by_key(|mark| mark.penalty);
    assert_eq!(marks, [picks, jumps]);
    assert_eq!((of(MONA).await, of(NOBODY).await), (Vec::new(), Vec::new()));
    let renewed = mark(Misconduct::Teleports, 20, 30);
    put(ALI, &renewed).await;
    let mut tx = house.db.begin(&Who::System).await.expect("a transaction");
    conduct_forget_in_tx(&mut tx, ALI, Misconduct::CherryPicking).await.expect("forgotten");
    conduct_forget_in_tx(&mut tx, MONA, Misconduct::CherryPicking).await.expect("nothing");
    tx.commit().await.expect("stored");
    assert_eq!(of(ALI).await, [renewed]);
}

/// Three hundred drivers over a day, a position a minute.
const MANY: [&str; 5] = [
    "INSERT INTO driver_history (driver_id, recorded_at, lat, lng) \
     SELECT lpad(to_hex(d), 32, '0')::uuid, now() - n * interval '1 minute', 30, 31 \
     FROM generate_series(1, 300) d, generate_series(0, 200) n",
    "UPDATE driver_history SET suspect = true, speed_kmh = 7 \
     WHERE driver_id = lpad('1', 32, '0')::uuid AND recorded_at > now() - interval '30 seconds'",
    "INSERT INTO driver_latest (driver_id, recorded_at, lat, lng) \
     SELECT lpad(to_hex(d), 32, '0')::uuid, now() - d * interval '1 hour', 30, 31 \
     FROM generate_series(1, 300) d",
    "ANALYZE driver_history",
    "ANALYZE driver_latest",
];

/// What the node counted since stays, and a node that doesn't know him learns nothing.
#[tokio::test]
async fn a_mark_changes_nothing_else_of_a_driver() {
    let scene = scene().await;
    scene.online(ALI, 0.0);
    let newer = DriverFacts { balance: Piasters(-700), ..facts() };
    scene.fleet.set_facts(ALI, newer.clone());
    drivers(&scene.fleet.inner().db).await;
    let since = scene.clock.now();
    let until = since + Duration::from_secs(3600);
    let mark = ConductMark { reason: Misconduct::Teleports, penalty: 30, since, until };
    for driver in [ALI, MONA] {
        let mut tx = scene.fleet.inner().db.begin(&Who::System).await.expect("a transaction");
        conduct_mark_in_tx(&mut tx, driver, &mark).await.expect("marked");
        tx.commit().await.expect("stored");
        scene.fleet.reload_conduct(driver).await.expect("read");
    }
    let entry = scene.fleet.inner().roster.find(ALI).expect("he is known");
    let known = entry.core.lock().facts.as_deref().cloned();
    assert_eq!(known, Some(DriverFacts { conduct: vec![mark], ..newer.clone() }));
    assert!(scene.fleet.inner().roster.find(MONA).is_none());
    scene.fleet.set_conduct(ALI, Vec::new());
    assert_eq!(entry.core.lock().facts.as_deref(), Some(&newer));
}

/// Two hundred positions in each of the first minutes, and what comes after them.
const FLOOD: &str = "INSERT INTO driver_history (driver_id, recorded_at, lat, lng, suspect) \
     SELECT lpad('1', 32, '0')::uuid, date_trunc('second', now()) - interval '20 minutes' \
       + n * interval '10 milliseconds', 30, 31, n % 100 = 50 \
     FROM generate_series(0, 9999) n \
     UNION ALL SELECT lpad('1', 32, '0')::uuid, now() - n * interval '1 minute', 30, 31, false \
     FROM generate_series(0, 9) n";

#[tokio::test]
async fn a_flood_of_positions_hides_nothing_that_follows() {
    let house = fresh().await;
    let mut owner = testing::owner(&house.db).await;
    owner.execute(FLOOD).await.expect("the owner may");
    let now = house.clock.now() + Duration::from_secs(60);
    let mut tx = house.db.begin(&Who::System).await.expect("a transaction");
    let rows = history_in_tx(&mut tx, &[ALI], now - Duration::from_secs(3600), now).await;
    let rows = rows.expect("read");
    // A hundred seconds of flood, in each of them the one that no car drove to.
    assert_eq!(rows.len(), 110);
    assert_eq!(rows.iter().filter(|row| row.suspect).count(), 100);
    assert!(rows.iter().map(|row| row.fix.timestamp).is_sorted());
    assert!(rows[109].fix.timestamp >= now - Duration::from_secs(180));
}

/// A phone whose clock is fast: what it kept comes at once and becomes one moment.
#[tokio::test]
async fn who_has_a_fast_clock_is_not_suspect_by_that() {
    let house = fresh().await;
    let seat = house.fleet.seat(ALI).expect("there is room");
    let fix = |ahead_s: u64, north_m: f64| Fix {
        at: at(north_m),
        heading: None,
        speed_kmh: Some(90.0),
        accuracy_m: Some(8.0),
        timestamp: house.clock.now() + Duration::from_secs(ahead_s),
    };
    house.fleet.ingest(&seat, &fix(0, 0.0)).expect("taken");
    // Some minutes at 90 km/h, two minutes ahead of the server.
    let kept: Vec<Fix> = (0..6_u32).map(|n| fix(120, 600.0 * f64::from(n + 1))).collect();
    assert_eq!(house.fleet.ingest_batch(&seat, &kept).accepted, 6);
    let suspects = async || {
        house.fleet.flush().await;
        let mut tx = house.db.begin(&Who::System).await.expect("a transaction");
        let sql = "SELECT count(*) FROM driver_history WHERE suspect";
        let suspects: i64 = sqlx::query_scalar(sql).fetch_one(tx.conn()).await.expect("counted");
        suspects
    };
    assert_eq!(suspects().await, 0);
    // The clock is right, and nobody drives so.
    house.clock.advance(Duration::from_secs(60));
    house.fleet.ingest(&seat, &fix(0, 60_000.0)).expect("taken");
    assert_eq!(suspects().await, 1);
}

#[tokio::test]
async fn the_past_of_a_few_drivers_is_read_by_an_index_and_of_its_days_only() {
    let house = fresh().await;
    let mut owner = testing::owner(&house.db).await;
    for sql in MANY {
        owner.execute(sql).await.expect("the owner may");
    }
    let now = house.clock.now() + Duration::from_secs(60);
    let mut tx = house.db.begin(&Who::System).await.expect("a transaction");
    let from = now - Duration::from_secs(3600);
    let rows = history_in_tx(&mut tx, &[ALI, MONA, NOBODY], from, now).await.expect("read");
    let of = |driver| rows.iter().filter(move |row| row.driver == driver);
    for driver in [ALI, MONA, NOBODY] {
        assert!((57..=60).contains(&of(driver).count()), "{}", of(driver).count());
        let times: Vec<Millis> = of(driver).map(|row| row.fix.timestamp).collect();
        assert!(times.is_sorted() && times[0] >= from);
    }
    let last = of(ALI).next_back().expect("a row");
    assert_eq!((last.suspect, last.fix.speed_kmh), (true, Some(7.0)));
    assert_eq!(rows.iter().filter(|row| row.suspect).count(), 1);

    let heard = async |after, hours: u64, limit| {
        let since = now - Duration::from_secs(3600 * hours + 1800);
        let mut tx = house.db.begin(&Who::System).await.expect("a transaction");
        heard_since_in_tx(&mut tx, after, since, limit).await.expect("read")
    };
    let ids = |from: u128, to| (from..=to).map(DriverId::from_u128).collect::<Vec<_>>();
    let nobody = DriverId::from_u128(0);
    assert_eq!(heard(nobody, 5, 100).await, ids(1, 5));
    assert_eq!(heard(nobody, 5, 3).await, ids(1, 3));
    assert_eq!(heard(DriverId::from_u128(3), 5, 3).await, ids(4, 5));

    let prepared = format!("PREPARE past (uuid[], timestamptz, timestamptz, bigint) AS {HISTORY}");
    for sql in ["SET LOCAL plan_cache_mode = force_generic_plan", &prepared] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(tx.conn()).await.expect("it is set");
    }
    let past = "EXPLAIN EXECUTE past (ARRAY[gen_random_uuid()], now() - interval '1 hour', \
                now(), 4000)";
    let rows = sqlx::raw_sql(past).fetch_all(tx.conn()).await.expect("a plan");
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    sqlx::raw_sql("DEALLOCATE past").execute(tx.conn()).await.expect("it is forgotten");
    assert!(plan.contains("Subplans Removed"), "{plan}");
    assert!(!plan.contains("Seq Scan"), "{plan}");
}
