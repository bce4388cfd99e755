//! The schema's versions, the partitions of history, and the indexes behind the hot queries.

use base::{Millis, Role};
use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};

use super::session::{caller, patient};
use crate::db::connect;
use crate::{
    Address, Db, MigrationState, Who, migrate, migrate_down, migration_status, partitions,
    snapshot_partitions, testing,
};

/// Everything that migrations make, as one text.
async fn shape(conn: &mut PgConnection) -> String {
    let parts: Vec<String> = sqlx::query_scalar(
        "SELECT format('%s %s %s', c.relkind, c.relname, c.relacl) FROM pg_class c
         WHERE relnamespace = 'public'::regnamespace AND relname !~ '^_sqlx'
         UNION ALL SELECT format('column %s.%s %s %s', attrelid::regclass, attname,
           atttypid::regtype, attacl)
         FROM pg_attribute JOIN pg_class c ON c.oid = attrelid
         WHERE relnamespace = 'public'::regnamespace AND attnum > 0 AND relname !~ '^_sqlx'
           AND NOT attisdropped
         UNION ALL SELECT format('function %s %s %s', oid::regprocedure, proowner::regrole, proacl)
         FROM pg_proc WHERE pronamespace = 'public'::regnamespace
         UNION ALL SELECT format('policy %s on %s', polname, polrelid::regclass) FROM pg_policy
         UNION ALL SELECT format('constraint %s on %s', conname, conrelid::regclass)
         FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND conname !~ '^_sqlx'
         UNION ALL SELECT format('trigger %s on %s', tgname, tgrelid::regclass)
         FROM pg_trigger WHERE NOT tgisinternal
         ORDER BY 1",
    )
    .fetch_all(conn)
    .await
    .unwrap();
    parts.join("\n")
}

#[tokio::test]
async fn the_schema_goes_up_and_down_and_up_again() {
    let (address, owner) = testing::empty_copy("template0").await;
    let login = address.login();
    let mut conn = owner.connect_once().await.unwrap();
    let empty = shape(&mut conn).await;
    let states = async || -> Vec<MigrationState> {
        migration_status(&owner).await.unwrap().into_iter().map(|status| status.state).collect()
    };
    assert!(states().await.iter().all(|state| *state == MigrationState::Pending));

    migrate(&owner, login).await.unwrap();
    let full = shape(&mut conn).await;
    assert!(states().await.iter().all(|s| matches!(s, MigrationState::Applied { .. })));
    migrate(&owner, login).await.unwrap(); // A second start changes nothing.
    assert_eq!(shape(&mut conn).await, full);

    // Each step down and up by itself, then all the way.
    let versions: Vec<i64> =
        migration_status(&owner).await.unwrap().iter().map(|status| status.version).collect();
    for target in versions.iter().rev().skip(1) {
        migrate_down(&owner, *target).await.unwrap();
        migrate(&owner, login).await.unwrap();
        assert_eq!(shape(&mut conn).await, full, "down to {target} and up again");
    }
    migrate_down(&owner, 0).await.unwrap();
    assert_eq!(shape(&mut conn).await, empty);
    migrate(&owner, login).await.unwrap();
    assert_eq!(shape(&mut conn).await, full);
}

#[tokio::test]
async fn an_applied_migration_that_changed_is_refused() {
    let db = testing::database().await;
    let mut conn = testing::owner(&db).await;
    conn.execute("UPDATE _sqlx_migrations SET checksum = 'x' WHERE version = 1").await.unwrap();
    conn.execute(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'newer', true, 'x', 0)",
    )
    .await
    .unwrap();
    let owner = testing::owner_address(&db).await;
    let status = migration_status(&owner).await.unwrap();
    assert_eq!(status.first().unwrap().state, MigrationState::Changed);
    assert_eq!(status.last().unwrap().state, MigrationState::Unknown);
    assert!(migrate(&owner, "smartline_node").await.is_err());
}

/// The program before trips ahead knows one live trip per rider.
#[tokio::test]
async fn the_way_back_from_trips_ahead_waits_until_nobody_has_one() {
    let db = testing::database().await;
    let mut conn = testing::owner(&db).await;
    conn.execute(
        "INSERT INTO users (id, phone, name, role, password_hash)
         VALUES ('00000000-0000-0000-0000-000000000001', '+201000000001', 'n', 'rider', 'x');
         INSERT INTO trips (id, city_id, rider_id, status, payment_method, tier, strategy, version,
           pickup_lat, pickup_lng, destination_lat, destination_lng, price, commission_bp,
           quoted_distance_m, quoted_duration_s, requested_at, created_at, scheduled_at)
         SELECT gen_random_uuid(), 1, '00000000-0000-0000-0000-000000000001', 'requested', 'cash',
           'economy', way, 1, 30, 31, 30.1, 31, 5000, 1500, 8000, 1200, now(), now(), pickup
         FROM (VALUES ('city', NULL), ('scheduled', now()), ('scheduled', now())) t (way, pickup)",
    )
    .await
    .unwrap();
    let again = conn.execute(
        "INSERT INTO trips (id, city_id, rider_id, status, payment_method, tier, strategy, version,
           pickup_lat, pickup_lng, destination_lat, destination_lng, price, commission_bp,
           quoted_distance_m, quoted_duration_s, requested_at, created_at)
         SELECT gen_random_uuid(), city_id, rider_id, status, payment_method, tier, strategy, 1,
           30, 31, 30.1, 31, 5000, 1500, 8000, 1200, now(), now()
         FROM trips WHERE scheduled_at IS NULL",
    );
    assert!(again.await.unwrap_err().to_string().contains("one_live_trip_per_rider"));
    let owner = testing::owner_address(&db).await;
    let refused = migrate_down(&owner, 28).await.unwrap_err().to_string();
    assert!(refused.contains("end those first"), "{refused}");
    conn.execute("UPDATE trips SET status = 'scheduled' WHERE scheduled_at IS NOT NULL")
        .await
        .unwrap();
    // Nobody would search them.
    let refused = migrate_down(&owner, 28).await.unwrap_err().to_string();
    assert!(refused.contains("wait for their search"), "{refused}");
    conn.execute("UPDATE trips SET status = 'cancelled' WHERE scheduled_at IS NOT NULL")
        .await
        .unwrap();
    migrate_down(&owner, 28).await.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM trips WHERE strategy = 'city'")
        .fetch_one(&mut conn)
        .await
        .unwrap();
    assert_eq!(left, 3);
}

async fn history_days(conn: &mut PgConnection) -> Vec<String> {
    sqlx::query_scalar(
        "SELECT right(relname, 8) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
         WHERE inhparent = 'driver_history'::regclass ORDER BY 1",
    )
    .fetch_all(conn)
    .await
    .unwrap()
}

/// Noon of a day in January 2020, in UTC.
fn noon(day: i64) -> Millis {
    Millis(1_577_880_000_000 + (day - 1) * 86_400_000)
}

#[tokio::test]
async fn history_has_a_partition_per_day_from_two_back_to_seven_ahead() {
    let db = testing::database().await;
    let mut conn = testing::owner(&db).await;
    let migrated = history_days(&mut conn).await;
    assert_eq!(migrated.len(), 10);
    // Long before the migration's own days, so that they don't touch.
    let changes = partitions(&db, noon(10), 90).await.unwrap();
    let names: Vec<String> = (8..=17).map(|day| format!("driver_history_202001{day:02}")).collect();
    assert_eq!((changes.made, changes.dropped), (names, vec![]));
    let again = partitions(&db, noon(10), 90).await.unwrap();
    assert_eq!((again.made, again.dropped), (vec![], vec![]));
    let next = partitions(&db, noon(11), 90).await.unwrap();
    assert_eq!(next.made, ["driver_history_20200118"]);
    // A partition has the parent's index.
    let indexed: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_indexes WHERE tablename = 'driver_history_20200118')",
    )
    .fetch_one(&mut conn)
    .await
    .unwrap();
    assert!(indexed);
}

#[tokio::test]
async fn history_older_than_its_retention_is_dropped_whole() {
    let db = testing::database().await;
    let mut conn = testing::owner(&db).await;
    partitions(&db, noon(10), 90).await.unwrap();
    partitions(&db, noon(20), 90).await.unwrap();
    let old = async |conn: &mut PgConnection| -> Vec<String> {
        history_days(conn).await.into_iter().filter(|day| day.starts_with("2020")).collect()
    };
    assert_eq!(old(&mut conn).await.len(), 20);
    let changes = partitions(&db, noon(20), 5).await.unwrap();
    assert_eq!(changes.dropped.len(), 7); // 8 to 14 January; 15 is five days back.
    assert_eq!(old(&mut conn).await.first().unwrap(), "20200115");
    // A retention of nothing still keeps two days, and a clock that runs years ahead drops nothing
    // that the server's own date wants.
    partitions(&db, noon(20), 0).await.unwrap();
    assert_eq!(old(&mut conn).await.first().unwrap(), "20200118");
    let before = history_days(&mut conn).await.len();
    let far = Millis(4_102_444_800_000); // 2100
    let changes = partitions(&db, far, 36_500).await.unwrap();
    assert_eq!(changes.dropped, [""; 0]);
    assert_eq!(history_days(&mut conn).await.len(), before + 10);
}

#[tokio::test]
async fn snapshots_are_kept_by_the_day_and_dropped_whole() {
    let db = testing::database().await;
    let names = |from: u32, to: u32| -> Vec<String> {
        let days = ["dispatch_snapshots", "dispatch_rounds"].into_iter();
        days.flat_map(|of| (from..=to).map(move |day| format!("{of}_202001{day:02}"))).collect()
    };
    let changes = snapshot_partitions(&db, noon(10), 7).await.unwrap();
    assert_eq!((changes.made, changes.dropped), (names(8, 17), vec![]));
    let changes = snapshot_partitions(&db, noon(20), 7).await.unwrap();
    assert_eq!((changes.made, changes.dropped), (names(18, 27), names(8, 12)));
    let mut tx = db.begin(&Who::System).await.unwrap();
    let other = "SELECT day_partitions('driver_history', current_date, 7)";
    assert!(tx.execute(other).await.is_err());
    drop(tx);
    let mut tx = db.begin(&caller(1, Role::Admin)).await.unwrap();
    let as_admin = "SELECT day_partitions('dispatch_snapshots', current_date, 7)";
    assert!(tx.execute(as_admin).await.is_err());
}

#[tokio::test]
async fn partitions_are_kept_by_the_program_alone_and_by_many_nodes_at_once() {
    let db = testing::database().await;
    let mut tx = db.begin(&caller(1, Role::Admin)).await.unwrap();
    assert!(tx.execute("SELECT history_partitions(current_date, 2)").await.is_err());
    drop(tx);
    let nodes: Vec<_> = (0..4)
        .map(|_| {
            let db = db.clone();
            async move { partitions(&db, noon(10), 90).await.unwrap().made.len() }
        })
        .collect();
    let mut made = 0;
    let mut crowd = tokio::task::JoinSet::new();
    nodes.into_iter().for_each(|node| {
        crowd.spawn(node);
    });
    while let Some(one) = crowd.join_next().await {
        made += one.unwrap();
    }
    assert_eq!(made, 10);
}

/// A city's worth of ended trips, a few live ones, and two days of one driver's track among many.
async fn filled() -> Db {
    let db = testing::database().await;
    let mut conn = testing::owner(&db).await;
    conn.execute(include_str!("crowd.sql")).await.unwrap();
    db
}

async fn plan(conn: &mut PgConnection, query: &'static str) -> String {
    let explain = sqlx::AssertSqlSafe(format!("EXPLAIN {query}"));
    let rows = sqlx::raw_sql(explain).fetch_all(conn).await.unwrap();
    rows.iter().map(|row| row.get::<String, _>(0)).collect::<Vec<_>>().join("\n")
}

/// Under the policies, as the program asks: the query goes through this index. The writer asks
/// where nobody else does.
async fn uses(db: &Db, who: Option<Who>, query: &'static str, index: &str) {
    let plan = finds_by(db, who, query, index).await;
    // A page is read off the index; a sort would read everything before it.
    assert!(!query.contains("LIMIT") || !plan.contains("Sort"), "{query}\n{plan}");
}

/// The same for few rows, which may be sorted after they are found; their plan.
async fn finds_by(db: &Db, who: Option<Who>, query: &'static str, index: &str) -> String {
    let mut tx = match who {
        Some(who) => db.begin(&who).await.unwrap(),
        None => db.begin_writer().await.unwrap(),
    };
    let plan = plan(&mut tx, query).await;
    assert!(plan.contains(index), "{query}\nwithout {index}:\n{plan}");
    assert!(!plan.contains("Seq Scan on trips"), "{query}\n{plan}");
    plan
}

#[tokio::test]
async fn hot_queries_use_their_indexes() {
    let db = filled().await;
    let check = async |who: Option<Who>, query: &'static str, index: &str| {
        uses(&db, who, query, index).await;
    };
    let (rider, driver) = (caller(1, Role::Rider), caller(2, Role::Driver));
    check(
        None,
        "SELECT * FROM trips \
         WHERE status IN ('scheduled', 'requested', 'accepted', 'arrived', 'started') \
         AND id > '00000000-0000-0000-0000-000000000000' ORDER BY id LIMIT 500",
        "trips_live",
    )
    .await;
    check(
        Some(rider),
        "SELECT * FROM trips WHERE rider_id = '00000000-0000-0000-0000-000000000001' \
         AND (created_at, id) < (now(), '00000000-0000-0000-0000-000000000fff') \
         ORDER BY created_at DESC, id DESC LIMIT 20",
        "trips_by_rider",
    )
    .await;
    check(
        Some(driver),
        "SELECT * FROM trips WHERE driver_id = '00000000-0000-0000-0000-000000000002' \
         AND (created_at, id) < (now(), '00000000-0000-0000-0000-000000000fff') \
         ORDER BY created_at DESC, id DESC LIMIT 20",
        "trips_by_driver",
    )
    .await;
    check(
        Some(rider),
        "SELECT scheduled_at FROM trips \
         WHERE rider_id = '00000000-0000-0000-0000-000000000001' AND scheduled_at IS NOT NULL \
         AND status IN ('scheduled', 'requested', 'accepted', 'arrived', 'started') \
         ORDER BY scheduled_at",
        "trips_ahead",
    )
    .await;
    check(
        Some(driver),
        "SELECT recorded_at, lat, lng FROM driver_history \
         WHERE driver_id = '00000000-0000-0000-0000-000000000002' \
         AND recorded_at >= now() - interval '1 hour' AND recorded_at < now() ORDER BY recorded_at",
        "driver_id_recorded_at_idx",
    )
    .await;
    check(
        Some(driver),
        "SELECT * FROM trip_offers WHERE driver_id = '00000000-0000-0000-0000-000000000002' \
         AND (created_at, id) < (now(), '00000000-0000-0000-0000-000000000fff') \
         ORDER BY created_at DESC, id DESC LIMIT 20",
        "offers_by_driver",
    )
    .await;
}

#[tokio::test]
async fn what_waits_for_money_is_found_by_index() {
    let db = filled().await;
    let deposits = "SELECT id FROM deposits WHERE look_at <= now() ORDER BY look_at LIMIT 500 \
         FOR NO KEY UPDATE SKIP LOCKED";
    uses(&db, Some(Who::System), deposits, "deposits_to_look_up").await;
    let cards = "SELECT id FROM card_authorisations WHERE look_at <= now() ORDER BY look_at \
         LIMIT 500 FOR NO KEY UPDATE SKIP LOCKED";
    uses(&db, Some(Who::System), cards, "cards_to_look_up").await;
    let of_trip = "SELECT id FROM card_authorisations \
         WHERE trip_id = '00000000-0000-0000-0000-000000000001'";
    uses(&db, Some(Who::System), of_trip, "one_trip_per_card").await;
    let first = "SELECT id FROM trips WHERE rider_id = '00000000-0000-0000-0000-000000000001' \
         AND payment_status = 'failed' AND payment_method IN ('wallet', 'card') \
         ORDER BY ended_at, id LIMIT 1";
    finds_by(&db, Some(Who::System), first, "trips_unpaid").await;
    let riders = "SELECT DISTINCT rider_id FROM trips WHERE payment_status = 'failed' \
         AND rider_id > '00000000-0000-0000-0000-000000000001' ORDER BY rider_id LIMIT 500";
    finds_by(&db, Some(Who::System), riders, "trips_unpaid").await;
}

/// Only the partitions of the days asked for are looked at.
#[tokio::test]
async fn history_by_time_prunes_the_other_days() {
    let db = filled().await;
    let mut tx = db.begin(&caller(2, Role::Driver)).await.unwrap();
    let text = plan(
        &mut tx,
        "SELECT lat FROM driver_history WHERE driver_id = '00000000-0000-0000-0000-000000000002' \
         AND recorded_at >= date_trunc('day', now(), 'UTC') \
         AND recorded_at < date_trunc('day', now(), 'UTC') + interval '1 day'",
    )
    .await;
    assert!(text.contains("Subplans Removed: 9"), "{text}");
}

/// The newest position is rewritten in its page: no index changes with it.
#[tokio::test]
async fn the_newest_position_is_updated_in_place() {
    let db = testing::database().await;
    let mut tx = db.begin(&Who::System).await.unwrap();
    for _ in 0..50 {
        tx.execute(
            "INSERT INTO driver_latest (driver_id, lat, lng, recorded_at)
             SELECT lpad(to_hex(n), 32, '0')::uuid, 30, 31, now() FROM generate_series(1, 20) n
             ON CONFLICT (driver_id) DO UPDATE
               SET lat = excluded.lat, recorded_at = excluded.recorded_at",
        )
        .await
        .unwrap();
    }
    let (updates, in_place): (i64, i64) = sqlx::query_as(
        "SELECT pg_stat_get_xact_tuples_updated('driver_latest'::regclass),
                pg_stat_get_xact_tuples_hot_updated('driver_latest'::regclass)",
    )
    .fetch_one(&mut *tx)
    .await
    .unwrap();
    assert_eq!(updates, 980);
    // In one transaction nothing is cleaned up, so pages do fill; with an index on what changes it
    // would be none.
    assert!(in_place > 0, "{in_place} of {updates}");
}

/// A migrated database whose owner may own it and make roles, and no more; and who may all.
async fn plainly_owned(login: &str) -> (Address, PgConnection) {
    let (address, superuser) = testing::empty_copy("template0").await;
    let database = superuser.database().unwrap();
    let mut conn = superuser.connect_once().await.unwrap();
    for sql in [
        format!("CREATE ROLE {login} LOGIN CREATEROLE NOSUPERUSER NOBYPASSRLS"),
        format!("ALTER DATABASE {database} OWNER TO {login}"),
    ] {
        conn.execute(sqlx::AssertSqlSafe(sql)).await.unwrap();
    }
    let owner = address.with_login(login);
    migrate(&owner, login).await.unwrap();
    (owner, conn)
}

/// Four drivers with cases about their driving: the first is blocked by it alone, the second by
/// something else as well, the third's money waits by it alone, the fourth's by something else as
/// well. Each has a withdrawal that was put off.
const GAMED: &str = "
INSERT INTO users (id, phone, name, role, password_hash)
SELECT lpad(n::text, 32, '0')::uuid, '+20100000000' || n, 'N', 'driver', 'x'
FROM generate_series(1, 4) n;
INSERT INTO drivers (id, fraud_flag) SELECT id, phone < '+201000000003' FROM users;
INSERT INTO fraud_cases (id, account, rule, action, weight, reasons, opened_at, seen_at)
SELECT gen_random_uuid(), lpad(n::text, 32, '0')::uuid, rule, action, 1, '{}', now(), now()
FROM (VALUES (1, 'replayed_track', 'block'), (2, 'replayed_track', 'block'),
  (2, 'velocity', 'block'), (3, 'frozen_position', 'hold'), (4, 'frozen_position', 'hold'),
  (4, 'unchecked', 'hold'), (1, 'cherry_picking', 'flag')) c (n, rule, action);
INSERT INTO withdrawals (id, driver_id, amount, method, account, status, look_at, requested_at,
  decided_by, decided_at)
SELECT gen_random_uuid(), id, 10000, 'instapay', 'someone@instapay', 'approved',
  now() + interval '1 day', now(), id, now() FROM users;
INSERT INTO driver_conduct (driver_id, reason, penalty, since, until)
SELECT id, 'replayed_track', 30, now(), now() + interval '1 day' FROM drivers";

/// What is forced on the owner, too, he would not see, and change nothing without an error.
#[tokio::test]
async fn the_way_back_from_conduct_lets_go_whom_only_that_stopped() {
    let (owner, mut conn) = plainly_owned("plain_owner_back").await;
    sqlx::raw_sql(GAMED).execute(&mut conn).await.unwrap();
    migrate_down(&owner, 29).await.unwrap();
    let said: Vec<(String, bool, bool, String)> = sqlx::query_as(
        "SELECT right(u.phone, 1), d.fraud_flag, w.look_at > now(),
           coalesce((SELECT string_agg(rule, ' ') FROM fraud_cases WHERE account = u.id), '')
         FROM users u JOIN drivers d USING (id) JOIN withdrawals w ON w.driver_id = u.id
         ORDER BY u.phone",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    let said: Vec<_> = said.iter().map(|(n, b, w, c)| (n.as_str(), *b, *w, c.as_str())).collect();
    let expected = [
        ("1", false, false, ""),
        ("2", true, true, "velocity"),
        ("3", false, false, ""),
        ("4", false, true, "unchecked"),
    ];
    assert_eq!(said, expected);
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class WHERE relrowsecurity AND NOT relforcerowsecurity",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert_eq!(open, [""; 0]);
    migrate(&owner, "plain_owner_back").await.unwrap();
}

/// In production the schema's owner is no superuser: a login that owns the database and may make
/// roles is enough.
#[tokio::test]
async fn an_owner_without_special_rights_can_migrate_and_serve() {
    let (owner, _) = plainly_owned("plain_owner").await;
    let db = connect(&owner, &patient()).await.unwrap();
    partitions(&db, noon(10), 90).await.unwrap();
    let mut tx = db.begin_writer().await.unwrap();
    tx.execute("SELECT * FROM trip_transitions('[]')").await.unwrap();
    drop(tx);
    let mut tx = db.begin(&Who::System).await.unwrap();
    tx.execute(
        "INSERT INTO users (id, phone, name, role, password_hash)
                VALUES (gen_random_uuid(), '+201000000001', 'n', 'rider', 'x')",
    )
    .await
    .unwrap();
    tx.commit().await.unwrap();
    // The wall stands for the owner as well.
    let mut conn = owner.connect_once().await.unwrap();
    let seen: i64 =
        sqlx::query_scalar("SELECT count(*) FROM users").fetch_one(&mut conn).await.unwrap();
    assert_eq!(seen, 0);
    db.close().await;
    migrate_down(&owner, 0).await.unwrap();
}
