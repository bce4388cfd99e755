//! What drivers said to offers, read back from a real PostgreSQL.

use base::{DriverId, Millis, Piasters};
use sqlx::{Executor, Row};
use storage::{Who, testing};

use crate::answers::{answers_in_tx, store::ANSWERS};

/// A trip to the north for 50 pounds and 300 more; three drivers with an offer of each kind on
/// it, an hour ago and long ago, and the first of them with many more.
const CITY: [&str; 8] = [
    "INSERT INTO users (id, phone, name, role, password_hash) \
     SELECT lpad(to_hex(n), 32, '0')::uuid, '+2010' || lpad(n::text, 8, '0'), 'N', \
       CASE WHEN n <= 300 THEN 'driver' ELSE 'rider' END, '-' FROM generate_series(1, 301) n",
    "INSERT INTO trips (id, city_id, rider_id, status, payment_method, tier, version, pickup_lat, \
       pickup_lng, destination_lat, destination_lng, price, commission_bp, quoted_distance_m, \
       quoted_duration_s, requested_at, created_at) \
     SELECT lpad(to_hex(n), 32, '0')::uuid, 1, lpad('12d', 32, '0')::uuid, 'no_drivers', 'cash', \
       'economy', 1, 30, 31, 30.1, 31, 5000, 1500, 8000, 1200, now(), now() \
     FROM generate_series(1, 300) n",
    "INSERT INTO trip_offers (id, trip_id, driver_id, round, status, score, distance_m, eta_s, \
       created_at, expires_at) \
     SELECT gen_random_uuid(), lpad('1', 32, '0')::uuid, d.id, 1, s.status, 1, 1, 1, \
       now() - ago, now() \
     FROM (SELECT id FROM users ORDER BY id LIMIT 3) d, \
       unnest(ARRAY['pending', 'accepted', 'declined', 'expired', 'revoked', 'lost', 'unchosen']) \
         AS s (status), unnest(ARRAY['1 hour', '30 days']::interval[]) AS a (ago)",
    // To stand by: it says nothing about trips.
    "INSERT INTO trip_offers (id, trip_id, driver_id, round, status, score, distance_m, eta_s, \
       created_at, expires_at, standby) \
     SELECT gen_random_uuid(), lpad('1', 32, '0')::uuid, d.id, 1, s.status, 1, 1, 1, \
       now() - interval '2 hours', now(), true \
     FROM (SELECT id FROM users ORDER BY id LIMIT 3) d, \
       unnest(ARRAY['declined', 'expired', 'stands_by']) AS s (status)",
    "INSERT INTO trip_offers (id, trip_id, driver_id, round, status, score, distance_m, eta_s, \
       created_at, expires_at) \
     SELECT gen_random_uuid(), lpad(to_hex(1 + n % 300), 32, '0')::uuid, \
       lpad(to_hex(4 + n % 297), 32, '0')::uuid, 1, 'declined', 1, 1, 1, \
       now() - n * interval '1 minute', now() FROM generate_series(1, 30000) n",
    "ANALYZE users",
    "ANALYZE trips",
    "ANALYZE trip_offers",
];

#[tokio::test]
async fn what_was_a_drivers_to_take_or_leave_is_read_by_an_index() {
    let db = testing::database().await;
    let mut owner = testing::owner(&db).await;
    for sql in CITY {
        owner.execute(sql).await.expect("the owner may");
    }
    let now = base::Clock::system().now();
    let since = Millis(now.0 - 16 * 24 * 3_600_000);
    let drivers = [1, 2, 999].map(DriverId::from_u128);
    let mut tx = db.begin(&Who::System).await.expect("a transaction");
    let answers = answers_in_tx(&mut tx, &drivers, since).await.expect("read");
    for driver in &drivers[..2] {
        let own = || answers.iter().filter(|answer| answer.driver == *driver);
        let taken = own().filter(|answer| answer.taken).count();
        assert_eq!((own().count(), taken), (4, 2), "{answers:?}");
    }
    assert_eq!(answers.len(), 8);
    assert_eq!((answers[0].price, answers[0].to.lat()), (Piasters::pounds(50), 30.1));

    let prepared = format!("PREPARE said (uuid[], timestamptz, bigint) AS {ANSWERS}");
    for sql in ["SET LOCAL plan_cache_mode = force_generic_plan", &prepared] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(tx.conn()).await.expect("it is set");
    }
    let said = "EXPLAIN EXECUTE said (ARRAY[gen_random_uuid()], now(), 2000)";
    let rows = sqlx::raw_sql(said).fetch_all(tx.conn()).await.expect("a plan");
    let plan: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    sqlx::raw_sql("DEALLOCATE said").execute(tx.conn()).await.expect("it is forgotten");
    assert!(plan.contains("using offers_by_driver"), "{plan}");
    assert!(!plan.contains("Seq Scan on trip_offers"), "{plan}");
}
