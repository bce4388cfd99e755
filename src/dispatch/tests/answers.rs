//! What drivers said to offers, read back from a real PostgreSQL.

use base::{DriverId, Millis, Piasters};
use sqlx::{Executor, Row};
use storage::{Who, testing};

use crate::answers::{Manner, answers_in_tx, store::ANSWERS};

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
       unnest(ARRAY['pending', 'accepted', 'declined', 'expired', 'revoked', 'lost', 'unchosen', \
         'stands_by']) AS s (status), unnest(ARRAY['1 hour', '30 days']::interval[]) AS a (ago)",
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
        // Three are asked at once: who lets that pass has said nothing.
        assert_eq!((own().count(), taken), (3, 2), "{answers:?}");
        assert!(own().all(|answer| !answer.manner.alone), "{answers:?}");
    }
    assert_eq!(answers.len(), 6);
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

/// A trip each for one driver and sometimes for another, what becomes of his offer, and the trip.
const SAID: &str = "
WITH said AS (
  INSERT INTO trips (id, city_id, rider_id, status, payment_method, tier, strategy, version,
    pickup_lat, pickup_lng, destination_lat, destination_lng, price, quoted_price, commission_bp,
    quoted_distance_m, quoted_duration_s, requested_at, created_at, scheduled_at)
  VALUES ($1, 1, $2, 'no_drivers', 'cash', 'economy', $5, 1, 30, 31, 30.1, 31, 5000, $6, 1500,
    8000, 1200, now(), now(), CASE WHEN $5 = 'scheduled' THEN now() END) RETURNING id)
INSERT INTO trip_offers (id, trip_id, driver_id, round, status, score, distance_m, eta_s,
  created_at, expires_at, ended_at)
SELECT gen_random_uuid(), id, $2, 1, $3, 1, 1, 1, at, at + interval '15 s', at + interval '15 s'
FROM said, (SELECT now() - interval '1 hour' AS at) t
UNION ALL
SELECT gen_random_uuid(), id, $4, 1, 'declined', 1, 1, 1, at - interval '5 s',
  at + interval '10 s', at + interval '2 s'
FROM said, (SELECT now() - interval '1 hour' AS at) t WHERE $7";

/// What counts of an offer with this end: taken, asked how, for how much.
#[tokio::test]
async fn silence_counts_of_who_was_asked_alone_and_bids_change_no_price() {
    let db = testing::database().await;
    let mut owner = testing::owner(&db).await;
    owner.execute(CITY[0]).await.expect("the owner may");
    let (ali, mona) = (DriverId::from_u128(1), DriverId::from_u128(2));
    let check =
        async |status: &str, way: &str, quoted: Option<i64>, beside: bool, expected: &str| {
            let mut owner = testing::owner(&db).await;
            owner.execute("DELETE FROM trip_offers").await.expect("the owner may");
            let query = sqlx::query(SAID).bind(uuid::Uuid::now_v7()).bind(ali.0).bind(status);
            let query = query.bind(mona.0).bind(way).bind(quoted).bind(beside);
            query.execute(&mut owner).await.expect("the owner may");
            let since = Millis(base::Clock::system().now().0 - 86_400_000);
            let mut tx = db.begin(&Who::System).await.expect("a transaction");
            let answers = answers_in_tx(&mut tx, &[ali], since).await.expect("read");
            let said = answers.iter().map(|answer| {
                let Manner { named, lease_s, alone } = answer.manner;
                let (price, way) = (answer.price.0, named.unwrap_or("-"));
                format!("{} {price} {way} {lease_s} {alone}", answer.taken)
            });
            let said = said.collect::<Vec<_>>().join("; ");
            assert_eq!(said, expected, "{status} {way} {beside}");
        };
    check("accepted", "city", None, false, "true 5000 - 15 true").await;
    check("declined", "city", None, false, "false 5000 - 15 true").await;
    check("expired", "city", None, false, "false 5000 - 15 true").await;
    check("accepted", "city", None, true, "true 5000 - 15 false").await;
    check("declined", "first_accept", None, true, "false 5000 first_accept 15 false").await;
    check("expired", "city", None, true, "").await;
    check("revoked", "city", None, false, "").await;
    // The trip was offered for 40 and bid up to 50.
    check("unchosen", "broadcast_bid", Some(4000), true, "true 4000 broadcast_bid 15 false").await;
    // For trips ahead somebody may be asked to stand by.
    check("stands_by", "scheduled", None, false, "").await;
    check("declined", "scheduled", None, false, "").await;
}
