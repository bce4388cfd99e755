//! Where a change fits, and what the tables refuse, in a real PostgreSQL.

use std::time::Duration;

use base::{Caller, Clock, Point, Role, SessionId};
use storage::{Db, Tx, Who, testing};

use super::*;
use crate::desk::Pricing;
use crate::quote::QuoteKey;

const DAY: Duration = Duration::from_secs(86_400);

fn admin(number: u128) -> UserId {
    UserId::from_u128(number)
}

async fn begin(db: &Db, user: UserId) -> Tx {
    let (role, session, expires) = (Role::Admin, SessionId::from_u128(1), Millis(0));
    let mut tx = db.begin(&Who::Caller(Caller { user, role, session, expires })).await.expect("it");
    tx.because("a test").await.expect("a reason");
    tx
}

fn now() -> Millis {
    Millis::from(jiff::Timestamp::now())
}

fn tariff(per_km: i64, from: Millis) -> NewTariff {
    NewTariff {
        id: Uuid::now_v7(),
        city: CityId(1),
        tier: Tier::Economy,
        base_fare: Piasters(1000),
        per_km: Piasters(per_km),
        per_minute: Piasters(50),
        minimum_fare: Piasters(1500),
        booking_fee: Piasters(0),
        commission: BasisPoints(1500),
        from,
    }
}

/// Economy's tariffs of Cairo: per kilometre, and hours from `now` until they end.
async fn course(db: &Db, now: Millis) -> String {
    let mut tx = begin(db, admin(1)).await;
    let tariffs = tariffs_of_city_in_tx(&mut tx, CityId(1), now).await.expect("read");
    let economy = tariffs.iter().filter(|tariff| tariff.vehicle_type == Tier::Economy);
    let parts = economy.map(|tariff| match tariff.valid_until {
        Some(until) => format!("{} until {} h", tariff.per_km, until.since(now) / 3_600_000),
        None => format!("{} on", tariff.per_km),
    });
    parts.collect::<Vec<_>>().join(", ")
}

#[test]
fn a_tariff_fits_until_the_next_change() {
    let span = |id, from, until: Option<i64>| Span {
        id: Uuid::from_u128(id),
        from: Millis(from),
        until: until.map(Millis),
    };
    let check = |spans: &[Span], from, expected: &str| {
        let found = match fit(spans, Millis(from)) {
            Fit::Taken => "taken".to_owned(),
            Fit::Free { ends, until } => {
                format!("{:?} {:?}", ends.map(|id| id.as_u128()), until.map(|until| until.0))
            }
        };
        assert_eq!(found, expected, "{from}");
    };
    check(&[], 5, "None None");
    let open = [span(1, 0, None)];
    check(&open, 5, "Some(1) None");
    check(&open, 0, "taken");
    check(&open, -5, "None Some(0)");
    let scheduled = [span(1, 0, Some(10)), span(2, 10, Some(20)), span(3, 30, None)];
    check(&scheduled, 5, "Some(1) Some(10)");
    check(&scheduled, 10, "taken");
    check(&scheduled, 15, "Some(2) Some(20)");
    check(&scheduled, 20, "None Some(30)");
    check(&scheduled, 25, "None Some(30)");
    check(&scheduled, 35, "Some(3) None");
}

#[tokio::test]
async fn a_schedule_is_made_and_taken_back_without_a_gap() {
    let db = testing::database().await;
    let now = now();
    assert_eq!(course(&db, now).await, "3.5 on");
    let (tomorrow, later) = (tariff(400, now + DAY), tariff(500, now + DAY * 2));
    let mut tx = begin(&db, admin(1)).await;
    for new in [&later, &tomorrow] {
        let made = tariff_schedule_in_tx(&mut tx, new).await.expect("scheduled");
        assert_eq!(made.map(|made| made.id), Some(new.id));
    }
    tx.commit().await.expect("committed");
    assert_eq!(course(&db, now).await, "3.5 until 24 h, 4 until 48 h, 5 on");

    let mut tx = begin(&db, admin(1)).await;
    let taken = tariff_schedule_in_tx(&mut tx, &tariff(450, now + DAY)).await.expect("asked");
    assert_eq!(taken, None, "two begin at one moment");
    for (id, at, expected) in [
        (tomorrow.id, now, Withdrawn::Done),
        (tomorrow.id, now, Withdrawn::Unknown),
        (later.id, now + DAY * 3, Withdrawn::Begun),
    ] {
        assert_eq!(tariff_withdraw_in_tx(&mut tx, id, at).await.expect("asked"), expected);
    }
    tx.commit().await.expect("committed");
    assert_eq!(course(&db, now).await, "3.5 until 48 h, 5 on");

    // Two schedule at once, the second one without having seen what the first one did.
    let (mut one, mut two) = (begin(&db, admin(1)).await, begin(&db, admin(2)).await);
    let first = tariff_schedule_in_tx(&mut one, &tariff(600, now + DAY)).await.expect("first");
    assert!(first.is_some());
    let new = tariff(700, now + DAY + Duration::from_secs(3600));
    let waiting = tariff_schedule_in_tx(&mut two, &new);
    let (waited, committed) = tokio::join!(waiting, one.commit());
    committed.expect("committed");
    match waited.expect("asked") {
        // It waited for the row that the first one cut.
        None => drop(two),
        Some(_) => two.commit().await.expect("committed"),
    }
    let course = course(&db, now).await;
    assert!(course.starts_with("3.5 until 24 h, 6 until "), "{course}");
}

/// Between a tariff and the one that is taken back another is put meanwhile: it goes on.
#[tokio::test]
async fn what_is_withdrawn_leaves_no_gap_behind_one_that_came_meanwhile() {
    let (db, now) = (testing::database().await, now());
    let mut tx = begin(&db, admin(1)).await;
    let last = tariff_schedule_in_tx(&mut tx, &tariff(500, now + DAY * 2)).await.expect("asked");
    tx.commit().await.expect("committed");
    let last = last.expect("there is room").id;

    let (mut one, mut two) = (begin(&db, admin(1)).await, begin(&db, admin(2)).await);
    tariff_schedule_in_tx(&mut one, &tariff(400, now + DAY)).await.expect("asked");
    let mut owner = testing::owner(&db).await;
    let meanwhile = async {
        // Not before the other one waits for it.
        let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity
                     WHERE datname = current_database() AND wait_event_type = 'Lock')";
        while !sqlx::query_scalar::<_, bool>(waits).fetch_one(&mut owner).await.expect("asked") {}
        one.commit().await.expect("committed");
    };
    let meanwhile = tokio::time::timeout(Duration::from_secs(60), meanwhile);
    let (withdrawn, seen) = tokio::join!(tariff_withdraw_in_tx(&mut two, last, now), meanwhile);
    seen.expect("nobody waited");
    assert_eq!(withdrawn.expect("asked"), Withdrawn::Done);
    two.commit().await.expect("committed");
    assert_eq!(course(&db, now).await, "3.5 until 24 h, 4 on");
}

#[tokio::test]
async fn what_was_charged_stays_and_whoever_changes_says_why() {
    let db = testing::database().await;
    let refused = async |user, statement: &'static str| {
        let mut tx = begin(&db, admin(user)).await;
        if user == 9 {
            tx.because("").await.expect("no reason");
        }
        let error = sqlx::query(statement).execute(tx.conn()).await.expect_err(statement);
        let name = error.as_database_error().and_then(|error| error.constraint());
        name.map_or_else(|| error.to_string(), str::to_owned)
    };
    let past = "tariff_past_stays";
    assert_eq!(refused(1, "DELETE FROM tariffs").await, past);
    let cut = "UPDATE tariffs SET valid = tstzrange(lower(valid), '2021-01-01')";
    assert_eq!(refused(1, cut).await, past);
    let moved = "UPDATE tariffs SET valid = tstzrange('2021-01-01', NULL)";
    assert_eq!(refused(1, moved).await, past);
    let past_one = "INSERT INTO tariffs SELECT city_id, tier, 1, 1, 1, 1, 0, 1, \
        '[2010-01-01,2011-01-01)' FROM tariffs";
    assert_eq!(refused(1, past_one).await, past);
    let why = "change_has_a_reason";
    assert_eq!(refused(9, "DELETE FROM time_multipliers").await, why);
    for closed in [
        "UPDATE tariffs SET per_km = 1",
        "UPDATE time_multipliers SET multiplier_bp = 30000",
        "DELETE FROM event_multipliers",
        "DELETE FROM geofences",
        "DELETE FROM city_changes",
        "INSERT INTO city_changes (city_id, subject, object_id, reason, after) \
         VALUES (1, 'tariff', gen_random_uuid(), 'x', '{}')",
    ] {
        let error = refused(1, closed).await;
        assert!(error.contains("permission denied"), "{closed}: {error}");
    }
    let mut owner = testing::owner(&db).await;
    let error = sqlx::query("DELETE FROM city_changes").execute(&mut owner).await;
    assert!(storage::breaks(&error.expect_err("never"), "city_changes_never_change"));
}

fn triangle() -> Outline {
    let corners = [(30.0, 31.2), (30.0, 31.3), (30.1, 31.2)];
    let corners = corners.map(|(lat, lng)| Point::new(lat, lng).expect("a corner"));
    Outline::parse(corners.to_vec()).expect("an outline")
}

fn event(factor: u32, by: UserId, at: Millis) -> NewEvent {
    NewEvent {
        id: Uuid::now_v7(),
        city: CityId(1),
        name: "Match".to_owned(),
        outline: triangle(),
        starts: at,
        ends: at + DAY,
        factor: Factor(factor),
        by,
        at,
    }
}

#[tokio::test]
async fn above_three_times_the_fare_there_are_two() {
    let db = testing::database().await;
    let now = now();
    let new = event(40_000, admin(1), now);
    let mut tx = begin(&db, admin(1)).await;
    let made = event_add_in_tx(&mut tx, &new).await.expect("added").expect("there is room");
    assert_eq!((made.multiplier, made.asked_multiplier), (3.0, Some(4.0)));
    tx.commit().await.expect("committed");
    let attempt = async |user, statement: &'static str| {
        let mut tx = begin(&db, admin(user)).await;
        let asked = sqlx::query(statement).bind(admin(user).0).execute(tx.conn()).await;
        let error = asked.expect_err(statement);
        error.as_database_error().and_then(|error| error.constraint()).map(str::to_owned)
    };
    let alone = "UPDATE event_multipliers SET multiplier_bp = 40000, approved_by = $1";
    assert_eq!(attempt(1, alone).await.as_deref(), Some("nobody_approves_his_own"));
    let unasked = "UPDATE event_multipliers SET multiplier_bp = 50000, approved_by = $1";
    assert_eq!(attempt(2, unasked).await.as_deref(), Some("above_the_cap_by_two"));
    let silent = "UPDATE event_multipliers SET multiplier_bp = asked_bp WHERE $1 IS NOT NULL";
    assert_eq!(attempt(2, silent).await.as_deref(), Some("above_the_cap_by_two"));
    let forged = "UPDATE event_multipliers SET multiplier_bp = asked_bp, \
        approved_by = gen_random_uuid() WHERE $1 IS NOT NULL";
    assert_eq!(attempt(1, forged).await.as_deref(), Some("event_approved_truly"));

    let mut tx = begin(&db, admin(2)).await;
    let approved = event_approve_in_tx(&mut tx, new.id, admin(2)).await.expect("approved");
    assert_eq!((approved.multiplier, approved.approved_by), (4.0, Some(admin(2))));
    let later = now + Duration::from_secs(60);
    let ended = event_end_in_tx(&mut tx, new.id, later).await.expect("ended").expect("it ran");
    assert_eq!(ended.ends_at, later);
    assert_eq!(event_end_in_tx(&mut tx, new.id, later).await.expect("asked"), None);
    // One that never began is never in force.
    let coming =
        NewEvent { starts: now + DAY, ends: now + DAY * 2, ..event(20_000, admin(2), now) };
    event_add_in_tx(&mut tx, &coming).await.expect("added").expect("there is room");
    let ended = event_end_in_tx(&mut tx, coming.id, now).await.expect("ended").expect("it was to");
    assert_eq!((ended.starts_at, ended.ends_at), (now + DAY, now + DAY));
    let first = events_in_tx(&mut tx, CityId(1), None, 1).await.expect("a page");
    let cursor = first.next_cursor.as_deref().and_then(base::Cursor::parse);
    let second = events_in_tx(&mut tx, CityId(1), cursor, 1).await.expect("a page");
    assert_eq!(second.next_cursor, None);
    assert_ne!(first.events[0].id, second.events[0].id);
}

#[tokio::test]
async fn the_record_says_who_changed_what_and_why_page_by_page() {
    let db = testing::database().await;
    let now = now();
    let hours = NewHours {
        id: Uuid::now_v7(),
        city: CityId(1),
        day: Some(5),
        start_hour: 22,
        end_hour: 4,
        factor: Factor(12_500),
        name: "Friday night".to_owned(),
    };
    let mut tx = begin(&db, admin(7)).await;
    hours_add_in_tx(&mut tx, &hours).await.expect("added").expect("there is room");
    tariff_schedule_in_tx(&mut tx, &tariff(400, now + DAY)).await.expect("scheduled");
    assert!(hours_end_in_tx(&mut tx, hours.id).await.expect("ended"));
    assert!(!hours_end_in_tx(&mut tx, hours.id).await.expect("asked"));
    tx.commit().await.expect("committed");

    let mut tx = begin(&db, admin(7)).await;
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = changes_in_tx(&mut tx, CityId(1), None, cursor, 2).await.expect("a page");
        seen.extend(page.changes);
        cursor = page.next_cursor.as_deref().and_then(base::Cursor::parse);
        if cursor.is_none() {
            break;
        }
    }
    let said: Vec<_> = seen
        .iter()
        .map(|change| (change.subject.name(), change.before.is_some(), change.after.is_some()))
        .collect();
    // The newest first: ended, the new tariff, the one before it cut, added.
    let expected = [
        ("hours", true, false),
        ("tariff", false, true),
        ("tariff", true, true),
        ("hours", false, true),
    ];
    assert_eq!(said, expected);
    assert!(seen.iter().all(|change| change.actor_id == Some(admin(7))));
    assert!(seen.iter().all(|change| change.reason == "a test"));
    let after = seen[1].after.as_ref().expect("the new one");
    assert_eq!(after["per_km"], 400);
    let tariffs = Some(ChangeSubject::Tariff);
    let page = changes_in_tx(&mut tx, CityId(1), tariffs, None, 10).await.expect("a page");
    assert_eq!(page.changes.len(), 2);
    let page = changes_in_tx(&mut tx, CityId(2), None, None, 10).await.expect("a page");
    assert!(page.changes.is_empty());

    // Few of many: the index, and nothing is sorted.
    let mut owner = testing::owner(&db).await;
    let many = "INSERT INTO city_changes (city_id, subject, object_id, reason, after)
        SELECT n % 7, 'event', gen_random_uuid(), '', '{}' FROM generate_series(1, 5000) n";
    sqlx::query(many).execute(&mut owner).await.expect("many");
    sqlx::query("ANALYZE city_changes").execute(&mut owner).await.expect("analysed");
    for (statement, index) in
        [(store::CHANGES, "city_changes_by_city"), (store::CHANGES_OF, "city_changes_by_subject")]
    {
        let asked = statement.replace("$1", "1").replace("$2", "9999999").replace("$3", "20");
        let asked = format!("EXPLAIN {}", asked.replace("$4", "'event'"));
        let plan: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(asked))
            .fetch_all(&mut owner)
            .await
            .expect("a plan");
        let plan = plan.join("\n");
        assert!(!plan.contains("Sort") && !plan.contains("Seq Scan"), "{index}: {plan}");
    }
}

#[tokio::test]
async fn every_node_hears_of_a_change() {
    let (db, tasks) = (testing::database().await, ops::Tasks::new());
    let other = testing::another(&db).await;
    let desk = async |db: &Db| {
        let key = QuoteKey::derive(b"a secret of the tests");
        let desk = Pricing::start(db.clone(), &tasks, Clock::system(), key).await.expect("a desk");
        storage::listen(db, &tasks);
        desk
    };
    let desks = [desk(&db).await, desk(&other).await];
    let at = Point::new(30.02, 31.22).expect("a place");
    assert_eq!(desks.each_ref().map(|desk| desk.surge_at(at)), [1.0, 1.0]);
    let mut owner = testing::owner(&db).await;
    let zone = "INSERT INTO geofences (id, city_id, kind, name, corners, multiplier_bp) VALUES
        (gen_random_uuid(), 1, 'surge', 'Mall', '[[30.0, 31.2], [30.0, 31.3], [30.1, 31.2]]', 15000)";
    sqlx::query(zone).execute(&mut owner).await.expect("drawn");
    let mut tx = begin(&db, admin(1)).await;
    tx.rings(RULES);
    tx.commit().await.expect("committed");
    let mut tick = tokio::time::interval(Duration::from_millis(10));
    let heard = async {
        while desks.iter().any(|desk| desk.surge_at(at) < 1.5) {
            tick.tick().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(180), heard).await.expect("every node hears of it");
}

#[tokio::test]
async fn the_book_has_outlines_and_drawn_surge() {
    let db = testing::database().await;
    let now = now();
    let mut tx = begin(&db, admin(1)).await;
    event_add_in_tx(&mut tx, &event(20_000, admin(1), now)).await.expect("added");
    tx.commit().await.expect("committed");
    let mut owner = testing::owner(&db).await;
    let zones =
        "INSERT INTO geofences (id, city_id, kind, name, corners, multiplier_bp, disabled_at)
        SELECT gen_random_uuid(), 1, 'surge', name, '[[30.0, 31.2], [30.0, 31.3], [30.1, 31.2]]',
               bp, over
        FROM (VALUES ('Mall', 15000, NULL), ('Only drawn', NULL, NULL), ('Over', 25000, now()))
          v (name, bp, over)";
    sqlx::query(zones).execute(&mut owner).await.expect("drawn");
    let book = crate::store::load(&db, now).await.expect("loaded");
    let names: Vec<&str> = book.surge_areas.iter().map(|area| area.name.as_str()).collect();
    assert_eq!((names, book.events.len()), (vec!["Mall"], 1));

    let desk = Pricing::with_book(book, QuoteKey::derive(b"a secret of the tests"));
    let at = |lat, lng| Point::new(lat, lng).expect("a place");
    let (inside, outside) = (at(30.02, 31.22), at(30.09, 31.29));
    assert_eq!((desk.surge_at(inside), desk.surge_at(outside)), (1.5, 1.0));
    let zones = desk.surge_map(inside, 10.0);
    assert_eq!((zones.len(), zones[0].name.as_deref()), (1, Some("Mall")));
    assert_eq!((zones[0].multiplier, zones[0].boundary.len()), (1.5, 3));
    assert!(desk.surge_map(outside, 10.0).is_empty());
}
