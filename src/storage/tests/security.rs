//! The second wall: what the policies, grants and guards of the database refuse, whatever the
//! program asks.

use base::Role;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Executor};
use uuid::Uuid;

use super::session::caller;
use crate::{Db, Who, breaks, testing};

const RIDER: u128 = 0x11;
const OTHER: u128 = 0x12;
const DRIVER: u128 = 0x21;
/// Was offered the trip, didn't get it.
const ASKED: u128 = 0x22;
const STRANGER: u128 = 0x23;
const ADMIN: u128 = 0x31;

/// Two riders, three drivers, an admin; a trip of `RIDER` with `DRIVER`, offered to `ASKED` too.
async fn city() -> Db {
    let db = testing::database().await;
    let mut conn = testing::owner(&db).await;
    conn.execute(include_str!("city.sql")).await.unwrap();
    db
}

fn all_people() -> [(&'static str, Who); 7] {
    [
        ("rider", caller(RIDER, Role::Rider)),
        ("other", caller(OTHER, Role::Rider)),
        ("driver", caller(DRIVER, Role::Driver)),
        ("asked", caller(ASKED, Role::Driver)),
        ("stranger", caller(STRANGER, Role::Driver)),
        ("admin", caller(ADMIN, Role::Admin)),
        ("system", Who::System),
    ]
}

async fn count(conn: &mut PgConnection, table: &str) -> i64 {
    let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
    sqlx::query_scalar(sql).fetch_one(conn).await.unwrap()
}

#[tokio::test]
async fn everybody_sees_his_own_rows_and_nothing_else() {
    let db = city().await;
    //                 rider other driver asked stranger admin system
    let expected: [(&str, [i64; 7]); 38] = [
        ("users", [1, 1, 1, 1, 1, 6, 6]),
        ("sessions", [1, 1, 1, 1, 1, 1, 6]),
        ("drivers", [0, 0, 1, 1, 1, 3, 3]),
        ("vehicles", [0, 0, 1, 1, 1, 3, 3]),
        ("driver_documents", [0, 0, 1, 1, 1, 3, 3]),
        ("driver_latest", [0, 0, 1, 1, 1, 3, 3]),
        ("driver_history", [0, 0, 1, 1, 1, 3, 3]),
        ("trips", [1, 0, 1, 1, 0, 1, 1]),
        ("trip_offers", [2, 0, 1, 1, 0, 2, 2]),
        ("trip_tracks", [1, 0, 1, 1, 0, 1, 1]),
        ("dispatch_trace", [0, 0, 0, 0, 0, 2, 2]),
        ("dispatch_snapshots", [0, 0, 0, 0, 0, 1, 1]),
        ("dispatch_rounds", [0, 0, 0, 0, 0, 1, 1]),
        ("city_dispatch", [0, 0, 0, 0, 0, 1, 1]),
        ("city_shadows", [0, 0, 0, 0, 0, 1, 1]),
        ("airport_queue", [0, 0, 0, 0, 0, 1, 1]),
        // Nobody sees what he is marked for.
        ("driver_conduct", [0, 0, 0, 0, 0, 3, 3]),
        ("fraud_tracks", [0, 0, 0, 0, 0, 0, 1]),
        ("fraud_prints", [0, 0, 0, 0, 0, 0, 1]),
        // One of the trip, one of each rider's wallet.
        ("event_store", [1, 0, 1, 1, 0, 3, 3]),
        ("outbox", [0, 0, 0, 0, 0, 0, 3]),
        ("ledger_entry", [1, 1, 0, 0, 0, 4, 4]),
        ("ledger_journal", [1, 1, 0, 0, 0, 2, 2]),
        ("jobs", [0, 0, 0, 0, 0, 0, 1]),
        ("dead_letters", [0, 0, 0, 0, 0, 1, 1]),
        ("job_schedules", [0, 0, 0, 0, 0, 0, 1]),
        ("sagas", [0, 0, 0, 0, 0, 0, 1]),
        ("idempotency", [1, 1, 0, 0, 0, 0, 2]),
        ("audit_log", [0, 0, 0, 0, 0, 1, 1]),
        ("api_keys", [0, 0, 0, 0, 0, 1, 1]),
        ("api_key_usage", [0, 0, 0, 0, 0, 1, 1]),
        ("devices", [1, 1, 1, 1, 1, 1, 6]),
        ("notification_preferences", [1, 1, 1, 1, 1, 1, 6]),
        ("notifications", [1, 1, 1, 1, 1, 6, 6]),
        ("notification_deliveries", [1, 1, 1, 1, 1, 6, 6]),
        ("deposits", [1, 1, 1, 1, 1, 5, 5]),
        ("gateway_notices", [0, 0, 0, 0, 0, 1, 1]),
        ("card_authorisations", [1, 1, 0, 0, 0, 2, 2]),
    ];
    for (table, counts) in expected {
        for ((name, who), expected) in all_people().into_iter().zip(counts) {
            let mut tx = db.begin(&who).await.unwrap();
            assert_eq!(count(&mut tx, table).await, expected, "{name} sees rows of {table}");
        }
    }
}

/// Without a caller, and as the bare login, nothing is to be seen.
#[tokio::test]
async fn whoever_says_nothing_sees_nothing() {
    let db = city().await;
    let mut tx = db.begin(&Who::System).await.unwrap();
    tx.execute("SELECT set_config('app.role', '', true)").await.unwrap();
    for table in ["users", "drivers", "trips", "trip_offers", "ledger_entry", "driver_history"] {
        assert_eq!(count(&mut tx, table).await, 0, "{table}");
    }
    let mut login = db.address().connect_once().await.unwrap();
    for table in ["users", "trips", "cities", "ledger_balance"] {
        let sql = AssertSqlSafe(format!("SELECT count(*) FROM {table}"));
        let error = login.execute(sql).await.unwrap_err().to_string();
        assert!(error.contains("permission denied"), "{table}: {error}");
    }
}

/// What a statement did: how many rows, or why not.
async fn attempt(db: &Db, who: &Who, sql: &'static str) -> String {
    let mut tx = db.begin(who).await.unwrap();
    match tx.execute(sql).await {
        Ok(done) => format!("{} rows", done.rows_affected()),
        Err(error) if error.to_string().contains("permission denied") => "no permission".into(),
        Err(error) if error.to_string().contains("row-level security") => "not his row".into(),
        Err(error) if breaks(&error, "drivers_dont_decide") => "drivers don't decide".into(),
        Err(error) if error.to_string().contains("is not told by") => "not his fact".into(),
        Err(error) => error.to_string(),
    }
}

#[tokio::test]
async fn nobody_changes_what_is_not_his_to_change() {
    let db = city().await;
    let (rider, driver) = (caller(RIDER, Role::Rider), caller(DRIVER, Role::Driver));
    let (admin, system) = (caller(ADMIN, Role::Admin), Who::System);
    let check = async |who: &Who, sql: &'static str, expected: &str| {
        assert_eq!(attempt(&db, who, sql).await, expected, "{who:?}: {sql}");
    };
    // Columns: nobody raises his role, and neither does the program by mistake.
    check(&rider, "UPDATE users SET name = 'new'", "1 rows").await;
    check(&rider, "UPDATE users SET role = 'admin'", "no permission").await;
    check(&system, "UPDATE users SET role = 'admin'", "no permission").await;
    check(&rider, "UPDATE users SET phone = '+201000000099'", "no permission").await;
    check(&rider, "UPDATE users SET rating_sum = 500", "no permission").await;
    check(&rider, "DELETE FROM users", "no permission").await;
    // Rows: an update that names nobody still reaches only one's own.
    check(&rider, "UPDATE sessions SET revoked_at = now()", "1 rows").await;
    check(&rider, "UPDATE sessions SET user_id = gen_random_uuid()", "no permission").await;
    check(
        &rider,
        "INSERT INTO users (id, phone, name, role, password_hash) \
         VALUES (gen_random_uuid(), '+201000000098', 'n', 'rider', 'x')",
        "not his row",
    )
    .await;
    // Money moves through the doors only.
    check(&rider, "UPDATE ledger_balance SET balance = 1000000", "no permission").await;
    check(&system, "UPDATE ledger_balance SET balance = 1000000", "no permission").await;
    check(&system, "DELETE FROM ledger_entry", "no permission").await;
    check(&system, "INSERT INTO ledger_journal (id) VALUES (gen_random_uuid())", "no permission")
        .await;
    // Trips and events too.
    check(&rider, "UPDATE trips SET price = 1", "no permission").await;
    check(&driver, "UPDATE trips SET status = 'completed'", "no permission").await;
    check(&admin, "UPDATE trips SET status = 'cancelled'", "no permission").await;
    check(&system, "UPDATE trips SET status = 'cancelled'", "no permission").await;
    check(&system, "UPDATE event_store SET payload = '{}'", "no permission").await;
    check(&system, "DELETE FROM event_store", "no permission").await;
    // Work to be done is the program's; whose key it is can't be changed.
    check(&admin, "DELETE FROM jobs", "0 rows").await;
    check(&rider, "UPDATE idempotency SET state = 'applied'", "1 rows").await;
    check(&rider, "UPDATE idempotency SET scope = gen_random_uuid()", "no permission").await;
    check(
        &rider,
        "SELECT event_append('driver', gen_random_uuid(), 'X', 1::smallint, '{}', now())",
        "not his fact",
    )
    .await;
    // Offers are the program's.
    check(&driver, "UPDATE trip_offers SET status = 'accepted'", "0 rows").await;
    check(&system, "UPDATE trip_offers SET status = 'accepted'", "2 rows").await;
    check(&system, "UPDATE trip_offers SET driver_id = gen_random_uuid()", "no permission").await;
    // Positions and prices.
    check(&driver, "UPDATE driver_latest SET lat = 0", "0 rows").await;
    check(
        &driver,
        "INSERT INTO driver_history (driver_id, lat, lng, recorded_at) \
         VALUES (lpad('21', 32, '0')::uuid, 30, 31, now())",
        "not his row",
    )
    .await;
    check(&system, "UPDATE driver_history SET lat = 0", "no permission").await;
    check(&driver, "UPDATE tariffs SET valid = valid", "0 rows").await;
    check(&admin, "UPDATE tariffs SET valid = valid", "8 rows").await;
    check(&admin, "UPDATE tariffs SET per_km = 1", "no permission").await;
}

/// Who is found out must not be able to hide it, nor to put it on somebody else.
#[tokio::test]
async fn the_audit_log_is_only_ever_added_to_and_signed_truly() {
    let db = city().await;
    let (rider, admin) = (caller(RIDER, Role::Rider), caller(ADMIN, Role::Admin));
    let check = async |who: &Who, sql: &'static str, expected: &str| {
        assert_eq!(attempt(&db, who, sql).await, expected, "{who:?}: {sql}");
    };
    const OWN: &str = "INSERT INTO audit_log (id, actor_id, action, object_kind, object_id)
        VALUES (gen_random_uuid(), lpad('31', 32, '0')::uuid, 'driver.read', 'driver', '1')";
    const ANOTHERS: &str = "INSERT INTO audit_log (id, actor_id, action, object_kind, object_id)
        VALUES (gen_random_uuid(), lpad('32', 32, '0')::uuid, 'driver.read', 'driver', '1')";
    check(&admin, OWN, "1 rows").await;
    check(&admin, ANOTHERS, "not his row").await;
    check(&rider, OWN, "not his row").await;
    check(&Who::System, ANOTHERS, "1 rows").await;
    check(&admin, "UPDATE audit_log SET actor_id = NULL", "no permission").await;
    check(&Who::System, "DELETE FROM audit_log", "no permission").await;
    check(
        &Who::System,
        "INSERT INTO audit_log (id, at, action, object_kind, object_id)
         VALUES (gen_random_uuid(), now() - interval '1 day', 'driver.read', 'driver', '1')",
        "no permission",
    )
    .await;
    let mut owner = testing::owner(&db).await;
    for sql in
        ["UPDATE audit_log SET actor_id = NULL", "DELETE FROM audit_log", "TRUNCATE audit_log"]
    {
        let error = owner.execute(sql).await.unwrap_err();
        assert!(breaks(&error, "audit_never_changes"), "{sql}: {error}");
    }
}

#[tokio::test]
async fn admins_make_keys_in_their_own_name_and_never_widen_one() {
    let db = city().await;
    let (rider, admin) = (caller(RIDER, Role::Rider), caller(ADMIN, Role::Admin));
    let check = async |who: &Who, sql: &'static str, expected: &str| {
        assert_eq!(attempt(&db, who, sql).await, expected, "{who:?}: {sql}");
    };
    const OWN: &str = "INSERT INTO api_keys
          (id, name, key_hash, hint, scopes, per_minute, created_by, created_at)
        VALUES (gen_random_uuid(), 'n', sha256('new'), 'abcd', ARRAY['location:nearby'], 1,
          lpad('31', 32, '0')::uuid, now())";
    const ANOTHERS: &str = "INSERT INTO api_keys
          (id, name, key_hash, hint, scopes, per_minute, created_by, created_at)
        VALUES (gen_random_uuid(), 'n', sha256('new'), 'abcd', ARRAY['location:nearby'], 1,
          lpad('32', 32, '0')::uuid, now())";
    check(&admin, OWN, "1 rows").await;
    check(&admin, ANOTHERS, "not his row").await;
    check(&rider, OWN, "not his row").await;
    check(&Who::System, OWN, "not his row").await;
    check(&admin, "UPDATE api_keys SET revoked_at = now()", "1 rows").await;
    check(&rider, "UPDATE api_keys SET revoked_at = NULL", "0 rows").await;
    check(&Who::System, "UPDATE api_keys SET revoked_at = NULL", "0 rows").await;
    check(&admin, "UPDATE api_keys SET scopes = ARRAY['location:nearby']", "no permission").await;
    check(&admin, "UPDATE api_keys SET per_minute = 100000", "no permission").await;
    check(&admin, "DELETE FROM api_keys", "no permission").await;
    check(&admin, "UPDATE api_key_usage SET requests = 0", "0 rows").await;
    check(&Who::System, "UPDATE api_key_usage SET requests = requests + 1", "1 rows").await;
}

#[tokio::test]
async fn what_people_were_told_is_the_programs_to_write() {
    let db = city().await;
    let rider = caller(RIDER, Role::Rider);
    let check = async |who: &Who, sql: &'static str, expected: &str| {
        assert_eq!(attempt(&db, who, sql).await, expected, "{who:?}: {sql}");
    };
    // A phone is registered through its door, in the caller's name only.
    check(&rider, "UPDATE devices SET user_id = gen_random_uuid()", "no permission").await;
    check(
        &rider,
        "INSERT INTO devices SELECT gen_random_uuid(), user_id, platform, 'another', locale,
           registered_at FROM devices",
        "no permission",
    )
    .await;
    check(&rider, "DELETE FROM devices", "1 rows").await;
    check(&rider, "UPDATE notification_preferences SET language = 'en'", "1 rows").await;
    check(&rider, "UPDATE notifications SET state = 'delivered'", "0 rows").await;
    check(&rider, "UPDATE notifications SET facts = '{}'", "no permission").await;
    check(&rider, "DELETE FROM notifications", "no permission").await;
    check(&rider, "UPDATE notification_deliveries SET state = 'failed'", "0 rows").await;
    // Nobody tells another anything but the staff.
    let tell = "INSERT INTO notifications (id, user_id, kind, facts, once, created_at, expires_at)
        VALUES (gen_random_uuid(), lpad('12', 32, '0')::uuid, 'x', '{}', 'y', now(), now())";
    check(&rider, tell, "not his row").await;
    check(&caller(ADMIN, Role::Admin), tell, "1 rows").await;
}

#[tokio::test]
async fn deposits_are_the_programs_to_write_and_a_paid_one_stays_paid() {
    let db = city().await;
    let (rider, system) = (caller(RIDER, Role::Rider), Who::System);
    let check = async |who: &Who, sql: &'static str, expected: &str| {
        assert_eq!(attempt(&db, who, sql).await, expected, "{who:?}: {sql}");
    };
    let ask = "INSERT INTO deposits (id, user_id, role, amount, currency, expires_at, created_at)
        VALUES (gen_random_uuid(), lpad('11', 32, '0')::uuid, 'rider', 1, 'EGP', now(), now())";
    check(&rider, ask, "not his row").await;
    check(&system, ask, "1 rows").await;
    check(&rider, "UPDATE deposits SET status = 'paid', paid_at = now()", "0 rows").await;
    check(&rider, "INSERT INTO gateway_notices (transaction) VALUES ('TX-2')", "not his row").await;
    // Whose it is and how much was asked for stays as it was asked.
    for fixed in [
        "UPDATE deposits SET amount = 1",
        "UPDATE deposits SET user_id = gen_random_uuid()",
        "UPDATE gateway_notices SET amount = 1",
        "DELETE FROM deposits",
        "DELETE FROM gateway_notices",
        "SELECT trip_pay_late(gen_random_uuid(), 1, 'TRIP_PAID', '{}', now())",
    ] {
        check(&system, fixed, "no permission").await;
    }
    // Not even the tables' owner takes a payment back by mistake.
    let mut owner = testing::owner(&db).await;
    for back in [
        "UPDATE deposits SET status = 'pending', paid_at = NULL",
        "UPDATE deposits SET transaction = 'TX-9'",
        "UPDATE deposits SET paid_at = now() + interval '1 day'",
    ] {
        let refused = owner.execute(back).await.unwrap_err();
        assert_eq!(crate::raised(&refused), Some("SL301"), "{back}");
    }
    let twice =
        "INSERT INTO deposits (id, user_id, role, amount, currency, transaction, expires_at,
        created_at) SELECT gen_random_uuid(), user_id, role, 1, 'EGP', transaction, now(), now()
        FROM deposits";
    let refused = owner.execute(twice).await.unwrap_err();
    assert!(breaks(&refused, "one_deposit_per_transaction"), "{refused}");
}

#[tokio::test]
async fn cards_are_the_programs_to_move_and_go_one_way() {
    let db = city().await;
    let (rider, system) = (caller(RIDER, Role::Rider), Who::System);
    let check = async |who: &Who, sql: &'static str, expected: &str| {
        assert_eq!(attempt(&db, who, sql).await, expected, "{who:?}: {sql}");
    };
    let ask = "INSERT INTO card_authorisations (id, rider_id, amount, currency, page_until, \
        created_at) VALUES (gen_random_uuid(), lpad('11', 32, '0')::uuid, 1, 'EGP', now(), now())";
    check(&rider, ask, "not his row").await;
    check(&system, ask, "1 rows").await;
    check(&rider, "UPDATE card_authorisations SET status = 'failed'", "0 rows").await;
    for fixed in [
        "UPDATE card_authorisations SET amount = 1",
        "UPDATE card_authorisations SET rider_id = gen_random_uuid()",
        "UPDATE card_authorisations SET trip_id = gen_random_uuid()",
        "DELETE FROM card_authorisations",
    ] {
        check(&system, fixed, "no permission").await;
    }
    let settle = "SELECT trip_card_settle(gen_random_uuid(), 1, 'TRIP_PAID', '{}', now(), 'paid')";
    let refused = attempt(&db, &rider, settle).await;
    assert!(refused.contains("only the program settles a trip"), "{refused}");
    // What was let go is not bound any more, whoever writes it.
    let mut owner = testing::owner(&db).await;
    let away = "UPDATE card_authorisations SET status = 'voided' WHERE status = 'authorised'";
    owner.execute(away).await.unwrap();
    for back in [
        "UPDATE card_authorisations SET status = 'authorised' WHERE status = 'voided'",
        "UPDATE card_authorisations SET status = 'captured', captured = 1, \
           trip_id = (SELECT id FROM trips LIMIT 1) \
           WHERE id = (SELECT id FROM card_authorisations LIMIT 1)",
    ] {
        let refused = owner.execute(back).await.unwrap_err();
        assert_eq!(crate::raised(&refused), Some("SL801"), "{back}");
    }
}

#[tokio::test]
async fn a_driver_keeps_his_profile_and_does_not_decide_about_it() {
    let db = city().await;
    let (driver, admin) = (caller(DRIVER, Role::Driver), caller(ADMIN, Role::Admin));
    let check = async |who: &Who, sql: &'static str, expected: &str| {
        assert_eq!(attempt(&db, who, sql).await, expected, "{who:?}: {sql}");
    };
    const NO: &str = "drivers don't decide";
    check(&driver, "UPDATE drivers SET wants_online = true", "1 rows").await;
    check(&driver, "UPDATE drivers SET status = 'pending', decided_by = NULL", "1 rows").await;
    check(&driver, "UPDATE drivers SET status = 'rejected'", NO).await;
    check(&driver, "UPDATE drivers SET fraud_flag = NOT fraud_flag", NO).await;
    check(&driver, "UPDATE drivers SET trips_completed = 999", NO).await;
    check(&driver, "UPDATE drivers SET decided_by = id", NO).await;
    check(&admin, "UPDATE drivers SET status = 'suspended'", "3 rows").await;
    check(&Who::System, "UPDATE drivers SET offers_made = 5", "3 rows").await;
    testing::owner(&db).await.execute("UPDATE drivers SET status = 'suspended'").await.unwrap();
    check(&driver, "UPDATE drivers SET status = 'approved'", NO).await;
    check(&driver, "UPDATE drivers SET status = 'pending'", NO).await;
}

#[tokio::test]
async fn approved_papers_can_not_be_changed_without_a_new_decision() {
    let db = city().await;
    let driver = caller(DRIVER, Role::Driver);
    for change in [
        "UPDATE vehicles SET tier = 'premium'",
        "UPDATE driver_documents SET expires_at = now() + interval '30 years'",
        "DELETE FROM driver_documents",
    ] {
        let mut tx = db.begin(&driver).await.unwrap();
        tx.execute(change).await.unwrap();
        assert!(tx.commit().await.is_err(), "{change}");
        // In either order, as long as the profile waits for a decision in the end.
        let mut tx = db.begin(&driver).await.unwrap();
        tx.execute(change).await.unwrap();
        tx.execute("UPDATE drivers SET status = 'pending'").await.unwrap();
        tx.commit().await.unwrap();
        testing::owner(&db).await.execute("UPDATE drivers SET status = 'approved'").await.unwrap();
    }
}

#[tokio::test]
async fn the_writer_may_use_the_doors_and_nothing_else() {
    let db = city().await;
    let attempt = async |sql: &'static str| {
        let mut tx = db.begin_writer().await.unwrap();
        tx.execute(sql).await.err().map(|error| error.to_string()).unwrap_or_default()
    };
    for door in [
        "SELECT * FROM trip_transitions('[]')",
        "SELECT * FROM trips_look('{}')",
        "SELECT trips_claim()",
        "SELECT * FROM trip_offers_expire('{}', now())",
        "SELECT * FROM ledger_lock('{}')",
        "SELECT count(*) FROM trips",
        "SELECT jobs_add('[]')",
        "UPDATE idempotency SET state = 'applied' WHERE token = gen_random_uuid()",
    ] {
        assert_eq!(attempt(door).await, "", "{door}");
    }
    for wall in [
        "UPDATE trips SET status = 'cancelled'",
        "INSERT INTO event_store SELECT * FROM event_store",
        "UPDATE ledger_balance SET balance = 0",
        "SELECT * FROM users",
        "SELECT * FROM sessions",
        "SELECT * FROM driver_history",
        "SELECT * FROM idempotency",
        "SELECT * FROM jobs",
        "SELECT history_partitions(current_date, 2)",
        "SELECT day_partitions('dispatch_snapshots', current_date, 7)",
        "SELECT ledger_write('{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}')",
        "SET ROLE smartline_core",
        "SET ROLE postgres",
    ] {
        assert!(attempt(wall).await.contains("permission denied"), "{wall}");
    }
}

/// Posts `kind` from `from` to another account of `owner`, as `who`; what the database says.
async fn post(db: &Db, who: &Who, kind: &str, from: u8, owner: u128) -> String {
    let to = if kind == "adjustment" { 27 } else { from + 1 };
    let (nobody, owner) = (Uuid::nil(), Uuid::from_u128(owner));
    let other = if to == 27 { nobody } else { owner };
    let sql = format!(
        "SELECT * FROM ledger_post(gen_random_uuid(), gen_random_uuid()::text, '{kind}', \
         gen_random_uuid(), 'authorising', NULL, '{{{from},{to}}}', '{{{owner},{other}}}', \
         '{{-1,1}}', '{{NULL,NULL}}')"
    );
    let mut tx = db.begin(who).await.unwrap();
    let refused = tx.execute(AssertSqlSafe(sql)).await.err();
    refused.map(|error| error.to_string()).unwrap_or_default()
}

#[tokio::test]
async fn whoever_rides_or_drives_sets_his_own_money_aside_and_no_more() {
    let db = city().await;
    let (rider, driver) = (caller(RIDER, Role::Rider), caller(DRIVER, Role::Driver));
    assert_eq!(post(&db, &rider, "hold", 1, RIDER).await, "");
    assert!(post(&db, &driver, "withdraw_requested", 10, DRIVER).await.contains("can not move"));
    for (who, kind, from, owner) in [
        (&rider, "hold", 1, OTHER),
        (&rider, "adjustment", 1, RIDER),
        (&rider, "withdraw_requested", 10, DRIVER),
        (&driver, "withdraw_requested", 10, ASKED),
        (&driver, "adjustment", 10, DRIVER),
        (&driver, "hold", 1, RIDER),
    ] {
        let said = post(&db, who, kind, from, owner).await;
        assert!(said.contains("posts for himself alone"), "{kind} {owner:x}: {said}");
    }
    let look = async |who: &Who, rider: u128| {
        let sql = format!("SELECT * FROM ledger_lock('{{{}}}')", Uuid::from_u128(rider));
        let mut tx = db.begin(who).await.unwrap();
        tx.execute(AssertSqlSafe(sql)).await.is_ok()
    };
    assert!(look(&rider, RIDER).await && look(&Who::System, OTHER).await);
    assert!(!look(&rider, OTHER).await && !look(&driver, RIDER).await);
}

/// A table of a later migration can't be forgotten: it is closed or it is listed here.
#[tokio::test]
async fn every_table_is_behind_the_wall() {
    let db = testing::database().await;
    let mut conn = testing::owner(&db).await;
    let open: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class c
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
           AND NOT relispartition
           AND NOT (relrowsecurity AND relforcerowsecurity) ORDER BY 1",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    // Nobody's: the list of applied files, the names of accounts, the number of the lease.
    assert_eq!(open, ["_sqlx_migrations", "ledger_account_kind", "trip_lease"]);
    let loose: Vec<String> = sqlx::query_scalar(
        "SELECT oid::regprocedure::text FROM pg_proc
         WHERE pronamespace = 'public'::regnamespace AND prosecdef
           AND (NOT coalesce(proconfig::text, '') LIKE '%search_path%'
             OR has_function_privilege('public', oid, 'EXECUTE'))",
    )
    .fetch_all(&mut conn)
    .await
    .unwrap();
    assert_eq!(loose, [""; 0], "doors without a pinned search_path or open to all");
}

/// Whoever the program logs in as, and whatever it becomes, the policies bind him.
#[tokio::test]
async fn no_role_of_the_program_stands_above_the_policies() {
    let db = testing::database().await;
    let mut login = db.address().connect_once().await.unwrap();
    let above: Vec<String> = sqlx::query_scalar(
        "SELECT rolname::text FROM pg_roles
         WHERE (rolname = session_user OR rolname LIKE 'smartline%')
           AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb OR rolreplication)",
    )
    .fetch_all(&mut login)
    .await
    .unwrap();
    assert_eq!(above, [""; 0], "roles that policies don't bind");
    let owned: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class
         WHERE relnamespace = 'public'::regnamespace
           AND relowner IN (SELECT oid FROM pg_roles
             WHERE rolname IN (session_user, 'smartline_app', 'smartline_writer'))",
    )
    .fetch_all(&mut login)
    .await
    .unwrap();
    assert_eq!(owned, [""; 0], "tables of the roles that requests run as");
    let views: Vec<String> = sqlx::query_scalar(
        "SELECT relname::text FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm')
           AND NOT coalesce(reloptions::text, '') LIKE '%security_invoker=%'",
    )
    .fetch_all(&mut testing::owner(&db).await)
    .await
    .unwrap();
    assert_eq!(views, [""; 0], "views that read with their owner's rights");
}
