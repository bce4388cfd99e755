//! What is written behind, and what results and reports find, in a real PostgreSQL.

use std::collections::HashMap;
use std::sync::Arc;

use base::{Caller, CityId, Millis, Role, SessionId, UserId};
use pricing::{Arm, ExperimentView, Factor, NewExperiment, Twist, Variant};
use serde_json::{Value, json};
use storage::{Db, Who, testing};
use uuid::Uuid;

use crate::counted::{Episode, ShownRow};
use crate::results::compared;
use crate::store::{self, Exposure, Window};

fn now() -> Millis {
    Millis::from(jiff::Timestamp::now())
}

fn admin() -> Who {
    let (user, session) = (UserId::from_u128(1), SessionId::from_u128(1));
    Who::Caller(Caller { user, role: Role::Admin, session, expires: Millis(0) })
}

/// An experiment of Cairo with two variants.
async fn experiment(db: &Db) -> ExperimentView {
    let mut tx = db.begin(&admin()).await.expect("it");
    tx.because("a test").await.expect("a reason");
    let variant = |name: &str| Variant { name: name.to_owned(), weight: 1, twist: Twist::NONE };
    let new = NewExperiment {
        id: Uuid::now_v7(),
        city: CityId(1),
        name: "A and A".to_owned(),
        starts: now(),
        ends: Millis(now().0 + 86_400_000),
        share: base::BasisPoints(10_000),
        variants: vec![variant("a"), variant("b")],
        by: UserId::from_u128(1),
        at: now(),
    };
    let made = pricing::experiment_add_in_tx(&mut tx, &new).await.expect("added");
    tx.commit().await.expect("committed");
    made.expect("alone")
}

async fn expose(db: &Db, experiment: Uuid, rows: &[(u8, u128, &str)]) {
    let exposure = |(variant, rider, day): &(u8, u128, &str)| Exposure {
        arm: Arm { experiment, variant: *variant },
        rider: UserId::from_u128(*rider).as_rider(),
        day: (*day).to_owned(),
    };
    let rows: Arc<[Exposure]> = rows.iter().map(exposure).collect();
    store::exposures_add(db.clone(), rows).await.expect("added");
}

/// Users 1 … `n` and trips of theirs, past every rule but the table's own. A trip: rider, variant
/// (none: in no experiment), status, final price, seconds until the driver arrived.
type Trip = (u128, Option<i16>, &'static str, Option<i64>, Option<f64>);

async fn trips(db: &Db, experiment: Uuid, trips: &[Trip]) {
    let mut owner = testing::owner(db).await;
    let users = "INSERT INTO users (id, phone, name, role, password_hash, created_at) \
        SELECT ('00000000-0000-0000-0000-' || lpad(to_hex(n), 12, '0'))::uuid, \
          '+20100' || lpad(n::text, 7, '0'), 'Test', \
          CASE n WHEN 99 THEN 'driver' ELSE 'rider' END, \
          '-', now() FROM generate_series(1, 99) n";
    sqlx::query(users).execute(&mut owner).await.expect("users");
    for (rider, variant, status, price, wait) in trips {
        let id = Uuid::now_v7();
        let driver = price.is_some() || wait.is_some();
        let trip = "INSERT INTO trips (id, city_id, rider_id, driver_id, status, payment_method, \
              tier, version, pickup_lat, pickup_lng, destination_lat, destination_lng, price, \
              final_price, commission_bp, surge, quoted_distance_m, quoted_duration_s, distance_m, \
              requested_at, accepted_at, arrived_at, ended_at, created_at) \
            VALUES ($1, 1, $2, CASE WHEN $3 THEN '00000000-0000-0000-0000-000000000063'::uuid END, \
              $4, 'cash', 'economy', 5, 30.0444, 31.2357, 30.06, 31.22, 5000, $5, 1500, 1.3::real, \
              10000, 900, 10000, now(), CASE WHEN $3 THEN now() END, \
              now() + make_interval(secs => $6), CASE WHEN $4 <> 'requested' THEN now() END, now())";
        sqlx::query(trip)
            .bind(id)
            .bind(Uuid::from_u128(*rider))
            .bind(driver)
            .bind(status)
            .bind(price)
            .bind(wait)
            .execute(&mut owner)
            .await
            .expect("a trip");
        if let Some(variant) = variant {
            let noted = "INSERT INTO experiment_trips (trip_id, experiment_id, variant, rider_id) \
                VALUES ($1, $2, $3, $4)";
            sqlx::query(noted)
                .bind(id)
                .bind(experiment)
                .bind(variant)
                .bind(Uuid::from_u128(*rider))
                .execute(&mut owner)
                .await
                .expect("noted");
        }
    }
}

#[tokio::test]
async fn a_rider_counts_once() {
    let db = testing::database().await;
    let experiment = experiment(&db).await;
    let (one, two) = ("2026-01-30", "2026-01-31");
    let of_control = [(0, 1, one), (0, 1, one), (0, 1, two), (0, 2, one), (0, 3, two)];
    expose(&db, experiment.id, &of_control).await;
    expose(&db, experiment.id, &[(0, 1, one), (1, 11, one), (1, 12, one), (1, 13, one)]).await;
    expose(&db, Uuid::from_u128(5), &[(1, 50, one)]).await;
    let rides = [
        (1, Some(0), "completed", Some(5_000), Some(100.0)),
        (1, Some(0), "completed", Some(3_000), Some(200.0)),
        (2, Some(0), "no_drivers", None, None),
        // Before the experiment, or by an old quote of no variant.
        (3, None, "completed", Some(9_000), Some(50.0)),
        (11, Some(1), "completed", Some(4_000), Some(300.0)),
        (12, Some(1), "requested", None, None),
        // Never shown prices: he booked without asking.
        (14, Some(1), "cancelled", None, Some(400.0)),
    ];
    trips(&db, experiment.id, &rides).await;

    let mut tx = db.begin(&admin()).await.expect("it");
    store::calm_in_tx(&mut tx).await.expect("calm");
    let counted = store::results_in_tx(&mut tx, experiment.id, 2).await.expect("counted");
    let results = compared(experiment, &counted, Millis(0));
    let value = serde_json::to_value(&results).expect("JSON");
    let check = |variant: usize, path: &str, expected: Value| {
        let found = value["variants"][variant].pointer(path).unwrap_or(&Value::Null);
        assert_eq!(found, &expected, "{variant}{path} of {value:#}");
    };
    check(0, "/riders", json!(3));
    check(0, "/riderDays", json!(4));
    check(0, "/requests", json!(3));
    check(0, "/completedTrips", json!(2));
    check(
        0,
        "/booked",
        json!({"count": 2, "of": 3, "rate": 0.666667,
        "interval": {"low": 0.20766, "high": 0.938508}}),
    );
    check(0, "/completed/count", json!(1));
    check(
        0,
        "/found",
        json!({"count": 2, "of": 3, "rate": 0.666667,
        "interval": {"low": 0.20766, "high": 0.938508}}),
    );
    // 80, 0 and 0 pounds.
    check(0, "/revenue/mean", json!(26.6667));
    check(0, "/commission/mean", json!(4.0));
    check(0, "/pickupWait/mean", json!(150.0));
    check(0, "/pickupWait/interval", Value::Null);
    check(0, "/againstControl", Value::Null);
    check(1, "/riders", json!(4));
    check(1, "/riderDays", json!(3));
    check(1, "/booked/count", json!(3));
    // The one that is still looking for a driver is not counted yet.
    check(
        1,
        "/found",
        json!({"count": 2, "of": 2, "rate": 1.0,
        "interval": {"low": 0.34238, "high": 1.0}}),
    );
    check(1, "/revenue/mean", json!(10.0));
    check(1, "/againstControl/revenue/difference", json!(-16.6667));
    check(1, "/againstControl/booked/difference", json!(0.083333));
    check(1, "/againstControl/pickupWait/interval", Value::Null);
}

#[tokio::test]
async fn counts_written_twice_count_once() {
    let db = testing::database().await;
    let (hour, city) = (Millis(now().0 / 3_600_000 * 3_600_000), CityId(1));
    let row = |level, shown| ShownRow { hour, city, level, shown };
    let (one, two) = (Uuid::from_u128(1), Uuid::from_u128(2));
    for (run, rows) in [
        (one, vec![row(0, 5), row(2, 1)]),
        (one, vec![row(0, 9)]),
        // The batch before once more: its commit was in doubt.
        (one, vec![row(0, 5), row(2, 1)]),
        (two, vec![row(0, 100)]),
    ] {
        store::shown_put(db.clone(), run, rows.into()).await.expect("written");
    }
    let cell = geo::surge_cell(base::Point::new(30.0444, 31.2357).expect("in range"));
    let started = Millis(hour.0 + 1_000);
    let episode = |seconds: i64, peak| Episode {
        city,
        cell,
        started,
        last: Millis(started.0 + seconds * 1_000),
        peak: Factor(peak),
        is_over: false,
    };
    for (seconds, peak) in [(0, 11_000), (300, 18_000), (60, 15_000)] {
        let rows = Arc::from([episode(seconds, peak)]);
        store::episodes_put(db.clone(), one, rows).await.expect("written");
    }
    let experiment = Uuid::from_u128(9);
    let ridden = (1, None, "completed", Some(5_000), Some(60.0));
    trips(&db, experiment, &[ridden, (2, None, "cancelled", None, None)]).await;

    let mut tx = db.begin(&admin()).await.expect("it");
    let (from, until) = (Millis(hour.0 - 3_600_000), Millis(hour.0 + 7_200_000));
    let window = Window { from, until, city: Some(city) };
    let asked = store::asking_in_tx(&mut tx, &window).await.expect("counted").lines();
    let mut by_level: HashMap<_, (u64, u64)> = HashMap::new();
    for line in &asked {
        let entry = by_level.entry(line.level.map(pricing::SurgeLevel::name)).or_default();
        *entry = (entry.0 + line.shown, entry.1 + line.requested);
    }
    // A surge of 1.3, as a real number has it, is medium.
    let expected = HashMap::from([(None, (109, 0)), (Some("medium"), (1, 2))]);
    assert_eq!(by_level, expected, "{asked:?}");
    let surge = store::surge_in_tx(&mut tx, &window).await.expect("counted");
    let [line] = &surge[..] else { panic!("one day: {surge:?}") };
    assert_eq!((line.episodes, line.cells, line.longest_seconds), (1, 1, 300.0));
    assert_eq!((line.mean_seconds, line.peak_multiplier), (300.0, 1.8));
    let added = store::ridden_in_tx(&mut tx, &window).await.expect("added up");
    let prices = added.prices();
    assert_eq!(prices.iter().map(|line| (line.trips, line.surged)).collect::<Vec<_>>(), [(1, 1)]);
    assert_eq!(added.earnings()[0].mean, base::Piasters(4_250));
    let elsewhere = Window { city: Some(CityId(2)), ..window };
    assert!(store::ridden_in_tx(&mut tx, &elsewhere).await.expect("read").prices().is_empty());
}

/// Nobody but the program writes counts, and riders see none of them.
#[tokio::test]
async fn only_operators_see_what_is_counted() {
    let db = testing::database().await;
    let experiment = experiment(&db).await;
    expose(&db, experiment.id, &[(0, 7, "2026-01-31")]).await;
    let (user, session) = (UserId::from_u128(7), SessionId::from_u128(1));
    let rider = Caller { user, role: Role::Rider, session, expires: Millis(0) };
    let mut tx = db.begin(&Who::Caller(rider)).await.expect("it");
    for table in ["experiment_exposures", "pricing_experiments", "experiment_trips"] {
        let sql = sqlx::AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let seen: i64 = sqlx::query_scalar(sql).fetch_one(tx.conn()).await.expect("a number");
        assert_eq!(seen, 0, "{table}");
    }
    let book = "SELECT experiment_book(gen_random_uuid(), $1, 0)";
    let refused = sqlx::query(book).bind(experiment.id).execute(tx.conn()).await;
    let why = refused.expect_err("no such trip").to_string();
    assert!(why.contains("no such variant for this trip"), "{why}");
}

#[tokio::test]
async fn reports_use_their_indexes() {
    let db = testing::database().await;
    let mut owner = testing::owner(&db).await;
    let fill = "\
        INSERT INTO price_shown SELECT date_trunc('hour', now()) - make_interval(hours => n), \
          1, 0, gen_random_uuid(), 1 FROM generate_series(1, 20000) n; \
        INSERT INTO surge_episodes SELECT now() - make_interval(mins => n), 1, n, \
          gen_random_uuid(), now(), 15000 FROM generate_series(1, 20000) n; \
        INSERT INTO experiment_exposures SELECT \
          ('00000000-0000-0000-0000-' || lpad((n % 200)::text, 12, '0'))::uuid, \
          gen_random_uuid(), '2026-01-31', 0 FROM generate_series(1, 20000) n; \
        ANALYZE price_shown, surge_episodes, experiment_exposures, trips";
    sqlx::raw_sql(fill).execute(&mut owner).await.expect("filled");
    // Of trips there are none: small tables are read whole, whatever indexes they have, and one of
    // their indexes is as good as another. The one that leads by driver would not do in a city.
    let calm = "SET enable_seqscan = off; DROP INDEX trips_driven";
    sqlx::raw_sql(calm).execute(&mut owner).await.expect("set");
    for (statement, indexes) in [
        (store::RIDDEN, &["trips_by_end"][..]),
        (store::REQUESTED_BY_DAY, &["trips_by_time"]),
        (store::SHOWN_BY_DAY, &["one_count_per_run"]),
        (store::SURGE_BY_DAY, &["one_episode_at_a_time"]),
        (store::RESULTS, &["one_exposure_per_day", "experiment_trips_by_rider"]),
    ] {
        let asked = match indexes {
            ["one_exposure_per_day", ..] => {
                statement.replace("$1", "'00000000-0000-0000-0000-000000000007'::uuid")
            }
            _ => statement
                .replace("$1", "now() - interval '1 day'")
                .replace("$2", "now()")
                .replace("$3", "1"),
        };
        let plan: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("EXPLAIN {asked}")))
            .fetch_all(&mut owner)
            .await
            .expect("a plan");
        let plan = plan.join("\n");
        let read = indexes.iter().all(|index| plan.contains(index));
        assert!(read && !plan.contains("Seq Scan"), "{indexes:?}: {plan}");
    }
}
