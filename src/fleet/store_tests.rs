//! The fleet with its database: papers, wishes, what is written behind, tracks.

use std::time::Duration;

use base::{
    Caller, CityId, Clock, Code, Dice, DriverId, Millis, Piasters, Point, Problem, Role, SessionId,
    Tier, TripId, UserId,
};
use geo::FenceKind;
use ops::Tasks;
use sqlx::PgConnection;
use storage::{Db, Who};
use tokio::sync::mpsc;

use crate::{
    CancelTerms, Decision, DecisionKind, DocumentBody, DriverStatus, Effect, Finish, Fix, Fleet,
    FleetConfig, Profile, Seat, State, VehicleBody,
};

pub(crate) struct House {
    pub(crate) fleet: Fleet,
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) tasks: Tasks,
    _effects: mpsc::Receiver<Effect>,
}

pub(crate) async fn house(db: &Db, clock: &Clock) -> House {
    let tasks = Tasks::new();
    let (sender, effects) = mpsc::channel(64);
    let config = FleetConfig { drivers_max: 1000, ..FleetConfig::default() };
    let dice = Dice::seeded(7);
    let fleet = Fleet::start(db.clone(), &tasks, clock.clone(), dice, config, sender);
    fleet.load().await.expect("the database answers");
    House { fleet, db: db.clone(), clock: clock.clone(), tasks, _effects: effects }
}

pub(crate) async fn fresh() -> House {
    let db = storage::testing::database().await;
    // History has partitions around today only.
    let clock = Clock::manual(Clock::system().now());
    house(&db, &clock).await
}

fn caller(user: u128, role: Role) -> Caller {
    let (user, session) = (UserId::from_u128(user), SessionId::from_u128(user));
    Caller { user, role, session, expires: Millis(i64::MAX) }
}

async fn add_user(owner: &mut PgConnection, id: u128, role: &str) {
    sqlx::query(
        "INSERT INTO users (id, phone, name, role, password_hash) VALUES ($1, $2, $3, $4, '')",
    )
    .bind(UserId::from_u128(id).0)
    .bind(format!("+2010{id:08}"))
    .bind(format!("{role} {id}"))
    .bind(role)
    .execute(owner)
    .await
    .expect("a user of the test");
}

fn profile(plate: &str, until: Millis) -> Profile {
    let document = |kind: &str| DocumentBody {
        kind: kind.to_owned(),
        number: "7".to_owned(),
        expires_at: until,
    };
    Profile {
        vehicle: VehicleBody {
            tier: Tier::Comfort,
            make: "Skoda".to_owned(),
            model: "Octavia".to_owned(),
            plate: plate.to_owned(),
            color: "blue".to_owned(),
            year: 2021,
        },
        documents: crate::REQUIRED_DOCUMENTS.map(document).to_vec(),
    }
}

impl House {
    pub(crate) fn seat(&self, driver: DriverId) -> Seat {
        self.fleet.seat(driver).expect("there is room")
    }

    fn days(&self, days: u64) -> Millis {
        self.clock.now() + Duration::from_secs(days * 86_400)
    }

    pub(crate) fn fix(&self, north_m: f64) -> Fix {
        let at = Point::new(40.75 + north_m / 111_195.0, -73.98).expect("a place of the test");
        let (heading, speed_kmh, accuracy_m) = (Some(10.0), Some(20.0), Some(5.0));
        Fix { at, heading, speed_kmh, accuracy_m, timestamp: self.clock.now() }
    }

    /// An approved driver.
    pub(crate) async fn approved(&self, id: u128) -> DriverId {
        let mut owner = storage::testing::owner(&self.db).await;
        add_user(&mut owner, id, "driver").await;
        add_user(&mut owner, id + 1000, "admin").await;
        let desk = self.fleet.onboarding();
        let profile = profile(&format!("P {id}"), self.days(30));
        desk.save_profile(&caller(id, Role::Driver), profile).await.expect("a good profile");
        let approve = Decision { decision: DecisionKind::Approve, reason: None };
        let driver = DriverId::from_u128(id);
        let decided = desk.decide(&caller(id + 1000, Role::Admin), driver, approve).await;
        assert_eq!(decided.expect("an admin decides").status, DriverStatus::Approved);
        driver
    }
}

fn code(problem: impl Into<Problem>) -> &'static str {
    problem.into().code.name()
}

#[tokio::test]
async fn documents_that_run_out_are_found_by_their_end() {
    let house = fresh().await;
    let driver = house.approved(1).await;
    let found = async |from: u64, to: u64| {
        let (from, to) = (house.days(from), house.days(to));
        let found =
            house.fleet.onboarding().expiring(from, to).await.expect("the database answers");
        assert!(found.iter().all(|document| document.driver == driver), "{found:?}");
        found.len()
    };
    assert_eq!(found(0, 29).await, 0);
    assert_eq!(found(0, 30).await, 3, "all three of his end on day thirty");
    assert_eq!(found(30, 60).await, 0, "what is over is over");
}

#[tokio::test]
async fn papers_are_handed_in_and_decided_on() {
    let house = fresh().await;
    let mut owner = storage::testing::owner(&house.db).await;
    for (id, role) in [(1, "driver"), (2, "driver"), (3, "admin"), (4, "rider")] {
        add_user(&mut owner, id, role).await;
    }
    let (ali, mona, admin) =
        (caller(1, Role::Driver), caller(2, Role::Driver), caller(3, Role::Admin));
    let desk = house.fleet.onboarding();
    let until = house.days(30);
    let view = desk.save_profile(&ali, profile("A 1", until)).await.expect("a good profile");
    assert_eq!((view.status, view.documents.len()), (DriverStatus::Pending, 3));
    assert_eq!(view.name, "driver 1");
    let taken =
        desk.save_profile(&mona, profile("A 1", until)).await.expect_err("one plate, one car");
    assert_eq!(code(taken), "VALIDATION_FAILED");
    let rider = desk.save_profile(&caller(4, Role::Rider), profile("R 1", until)).await;
    assert_eq!(code(rider.expect_err("riders drive nothing")), "FORBIDDEN");
    desk.save_profile(&mona, profile("M 1", until)).await.expect("a good profile");
    let foreign = desk.profile_of(&mona, DriverId::from_u128(1)).await;
    assert_eq!(code(foreign.expect_err("someone else's papers")), "NOT_FOUND");

    let first = desk.pending(&admin, None, 1).await.expect("a page");
    assert_eq!(first.drivers[0].id, DriverId::from_u128(1));
    let cursor = first.next_cursor.and_then(|text| base::Cursor::parse(&text));
    house.clock.advance(Duration::from_secs(1));
    let second = desk.pending(&admin, cursor, 5).await.expect("a page");
    assert_eq!(second.drivers.len(), 1);
    assert_eq!((second.drivers[0].id, second.next_cursor), (DriverId::from_u128(2), None));
    assert_eq!(code(desk.pending(&ali, None, 5).await.expect_err("not his")), "FORBIDDEN");

    let decide = |decision| Decision { decision, reason: Some(" because ".to_owned()) };
    let nobody = desk.decide(&admin, DriverId::from_u128(9), decide(DecisionKind::Approve)).await;
    assert_eq!(code(nobody.expect_err("no such driver")), "NOT_FOUND");
    let own = desk.decide(&ali, DriverId::from_u128(1), decide(DecisionKind::Approve)).await;
    assert_eq!(code(own.expect_err("not his to decide")), "FORBIDDEN");
    let driver = DriverId::from_u128(1);
    let view = desk.decide(&admin, driver, decide(DecisionKind::Suspend)).await.expect("decided");
    assert_eq!(
        (view.status, view.status_reason.as_deref()),
        (DriverStatus::Suspended, Some("because"))
    );
    let again = desk.save_profile(&ali, profile("A 2", until)).await.expect_err("suspended");
    assert_eq!(code(again), "DRIVER_NOT_APPROVED");
    desk.decide(&admin, driver, decide(DecisionKind::Approve)).await.expect("decided");
    let view = desk.save_profile(&ali, profile("A 2", until)).await.expect("new papers");
    assert_eq!(view.status, DriverStatus::Pending, "new papers wait for a decision again");
}

#[tokio::test]
async fn only_the_approved_with_running_papers_go_online() {
    let house = fresh().await;
    let mut owner = storage::testing::owner(&house.db).await;
    add_user(&mut owner, 7, "driver").await;
    add_user(&mut owner, 8, "admin").await;
    let driver = DriverId::from_u128(7);
    let online = async || match house.fleet.go_online(driver, Some(house.fix(0.0))).await {
        Ok(state) => state.name(),
        Err(error) => code(error),
    };
    assert_eq!(online().await, "DRIVER_NOT_APPROVED");
    let desk = house.fleet.onboarding();
    let papers = profile("X 1", house.days(1));
    desk.save_profile(&caller(7, Role::Driver), papers).await.expect("a good profile");
    assert_eq!(online().await, "DRIVER_NOT_APPROVED");
    let approve = Decision { decision: DecisionKind::Approve, reason: None };
    desk.decide(&caller(8, Role::Admin), driver, approve).await.expect("decided");
    assert_eq!(online().await, "available");
    let city = house.fleet.online().into_iter().find(|(_, drivers)| *drivers > 0);
    assert_eq!(city, Some(((CityId(2), Tier::Comfort), 1)), "he works where he is");
    house.fleet.assign(driver, TripId::from_u128(1)).expect("he is free");
    let busy = house.fleet.go_offline(driver).await.expect_err("on a trip");
    assert_eq!(Problem::from(busy).code, Code::DriverBusy);
    house.fleet.finish(driver, TripId::from_u128(1), Finish::Freed);
    assert_eq!(house.fleet.go_offline(driver).await.expect("free"), State::Offline);
    house.fleet.ingest(&house.seat(driver), &house.fix(0.0)).expect("a good position");
    assert_eq!(house.fleet.state(driver), State::Offline, "he went off by his own wish");
    house.clock.advance(Duration::from_secs(86_401));
    assert_eq!(online().await, "DOCUMENT_EXPIRED");
    house.tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_wish_outlives_the_program() {
    let house = fresh().await;
    let driver = house.approved(11).await;
    house.fleet.go_online(driver, None).await.expect("approved");
    house.tasks.stop(Duration::from_secs(5)).await;
    let next = self::house(&house.db, &house.clock).await;
    assert_eq!(next.fleet.state(driver), State::Offline, "not heard yet");
    next.fleet.ingest(&next.seat(driver), &next.fix(0.0)).expect("a good position");
    assert_eq!(next.fleet.state(driver), State::Available);
    let brief = next.fleet.brief(driver).expect("loaded");
    assert_eq!((&*brief.name, &*brief.vehicle.plate), ("driver 11", "P 11"));
    next.fleet.go_offline(driver).await.expect("free");
    let last = self::house(&house.db, &house.clock).await;
    last.fleet.ingest(&last.seat(driver), &last.fix(0.0)).expect("a good position");
    assert_eq!(last.fleet.state(driver), State::Offline);
}

#[tokio::test]
async fn who_goes_online_and_offline_is_a_fact_and_told_once() {
    let house = fresh().await;
    let driver = house.approved(31).await;
    for _ in 0..2 {
        house.fleet.go_online(driver, None).await.expect("approved");
        house.fleet.ingest(&house.seat(driver), &house.fix(0.0)).expect("a good position");
        house.clock.advance(Duration::from_secs(1));
        house.fleet.go_offline(driver).await.expect("free");
        house.clock.advance(Duration::from_secs(1));
    }
    house.fleet.flush().await;
    let facts = sqlx::query_as::<_, (i32, String, String)>(
        "SELECT seq, event_type, payload ->> 'cityId' FROM event_store
         WHERE aggregate_type = 'driver' AND aggregate_id = $1 ORDER BY seq",
    )
    .bind(driver.0)
    .fetch_all(&mut storage::testing::owner(&house.db).await)
    .await
    .expect("facts");
    let told: Vec<_> = facts.iter().map(|(seq, kind, _)| format!("{seq} {kind}")).collect();
    let expected = ["1 DRIVER_ONLINE", "2 DRIVER_OFFLINE", "3 DRIVER_ONLINE", "4 DRIVER_OFFLINE"];
    assert_eq!(told, expected);
    assert!(facts.iter().all(|(_, _, city)| city == "1" || city == "2"), "{facts:?}");
    house.tasks.stop(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn positions_are_written_behind_and_thinned_off_trip() {
    let house = fresh().await;
    let mut owner = storage::testing::owner(&house.db).await;
    let driver = house.approved(21).await;
    house.fleet.go_online(driver, None).await.expect("approved");
    let trip = TripId::from_u128(5);
    let drive = |seconds: u64, north_m: f64| {
        house.clock.advance(Duration::from_secs(seconds));
        house.fleet.ingest(&house.seat(driver), &house.fix(north_m)).expect("a good position");
    };
    drive(0, 0.0); // kept: the first
    drive(3, 10.0);
    drive(3, 60.0); // kept: 50 m
    drive(3, 61.0);
    drive(30, 62.0); // kept: 30 s
    house.fleet.assign(driver, trip).expect("he is free");
    drive(3, 63.0); // kept: on a trip
    drive(3, 9000.0); // kept: suspect
    house.fleet.flush().await;
    let rows: Vec<(f64, bool, Option<uuid::Uuid>)> = sqlx::query_as(
        "SELECT lat, suspect, trip_id FROM driver_history WHERE driver_id = $1
         ORDER BY recorded_at",
    )
    .bind(driver.0)
    .fetch_all(&mut owner)
    .await
    .expect("the owner sees all");
    let north = |lat: f64| ((lat - 40.75) * 111_195.0).round();
    let kept: Vec<_> = rows.iter().map(|row| (north(row.0), row.1, row.2.is_some())).collect();
    assert_eq!(
        kept,
        [
            (0.0, false, false),
            (60.0, false, false),
            (62.0, false, false),
            (63.0, false, true),
            (9000.0, true, true),
        ]
    );
    let newest: f64 = sqlx::query_scalar("SELECT lat FROM driver_latest WHERE driver_id = $1")
        .bind(driver.0)
        .fetch_one(&mut owner)
        .await
        .expect("he has a newest position");
    assert_eq!(north(newest), 63.0, "the suspect point is not where he is");
    // The program died: the next one fills the meter from history.
    let next = self::house(&house.db, &house.clock).await;
    next.fleet.adopt(driver, trip);
    let accepted = house.clock.now() - Duration::from_secs(60);
    next.fleet.restore_track(driver, trip, accepted, Some(accepted)).await.expect("restored");
    house.clock.advance(Duration::from_secs(3));
    let taken = next.fleet.ingest(&next.seat(driver), &house.fix(163.0)).expect("a good position");
    assert_eq!((taken.trip, taken.distance_m), (Some(trip), 100));
}

#[tokio::test]
async fn an_ended_trip_has_a_stored_track() {
    let house = fresh().await;
    let mut owner = storage::testing::owner(&house.db).await;
    add_user(&mut owner, 30, "rider").await;
    let driver = house.approved(31).await;
    let trip = TripId::from_u128(77);
    sqlx::query(
        "INSERT INTO trips (id, city_id, rider_id, status, payment_method, tier, version,
           pickup_lat,
           pickup_lng, destination_lat, destination_lng, price, commission_bp, quoted_distance_m,
           quoted_duration_s, requested_at, created_at)
         VALUES ($1, 2, $2, 'requested', 'cash', 'comfort', 1, 40, -73, 40, -73, 0, 0, 0, 0,
           now(), now())",
    )
    .bind(trip.0)
    .bind(UserId::from_u128(30).0)
    .execute(&mut owner)
    .await
    .expect("a trip of the test");
    house.fleet.go_online(driver, None).await.expect("approved");
    house.fleet.assign(driver, trip).expect("he is free");
    house.fleet.start_meter(driver, trip);
    for step in 0..5 {
        house.clock.advance(Duration::from_secs(3));
        house
            .fleet
            .ingest(&house.seat(driver), &house.fix(f64::from(step) * 40.0))
            .expect("a good position");
    }
    let live = house.fleet.track(trip).await.expect("measured");
    assert_eq!((live.points.len(), live.distance), (5, 160));
    house.fleet.finish(driver, trip, Finish::Completed);
    house.fleet.store_tracks().await.expect("stored");
    assert_eq!(house.fleet.meter(trip), None);
    let stored = house.fleet.track(trip).await.expect("stored");
    assert_eq!(stored, live);
    // A trip that nobody knows has no track, and a meter of one is no failure.
    assert!(house.fleet.track(TripId::from_u128(78)).await.expect("empty").points.is_empty());
    house.fleet.assign(driver, TripId::from_u128(78)).expect_err("he rests");
    house.fleet.start_meter(driver, TripId::from_u128(78));
    house.fleet.close_track(TripId::from_u128(78)).await.expect("nothing to keep it for");
    let view = house.fleet.onboarding().profile_of(&caller(31, Role::Driver), driver).await;
    assert_eq!(view.expect("his own").city_id, CityId(1));
    house.fleet.flush().await;
    let (taken, completed): (i32, i32) =
        sqlx::query_as("SELECT trips_taken, trips_completed FROM drivers WHERE id = $1")
            .bind(driver.0)
            .fetch_one(&mut owner)
            .await
            .expect("the owner sees all");
    assert_eq!((taken, completed), (1, 1));
}

#[tokio::test]
async fn the_map_follows_the_tables() {
    let house = fresh().await;
    let mut owner = storage::testing::owner(&house.db).await;
    let at = Point::new(40.758, -73.985).expect("Manhattan");
    assert_eq!(house.fleet.pickup_allowed(at).expect("served").name, "Manhattan (demo)");
    assert_eq!(house.fleet.city(CityId(1)).expect("Cairo").time_zone, "Africa/Cairo");
    assert_eq!(house.fleet.city(CityId(2)).expect("it").driver_debt_limit, Piasters(20_000));
    sqlx::query(
        "INSERT INTO geofences (id, city_id, kind, name, corners) VALUES
         (gen_random_uuid(), 2, 'restricted', 'Times Square',
          '[[40.75, -74.0], [40.75, -73.97], [40.77, -73.97], [40.77, -74.0]]')",
    )
    .execute(&mut owner)
    .await
    .expect("a fence of the test");
    sqlx::query("INSERT INTO cancel_rules (city_id, tier, cancel_fee) VALUES (1, 'premium', 3000)")
        .execute(&mut owner)
        .await
        .expect("a rule of the test");
    sqlx::query("UPDATE cities SET no_show_fee = 2000 WHERE id = 1")
        .execute(&mut owner)
        .await
        .expect("a fee of the test");
    house.fleet.reload_map().await.expect("read again");
    let refused = Problem::from(house.fleet.pickup_allowed(at).expect_err("no pickups here"));
    assert_eq!(
        (refused.code, &refused.details["zone"]),
        (Code::RestrictedZone, &"Times Square".into())
    );
    assert_eq!(house.fleet.fences().at(at).next().map(|f| f.kind), Some(FenceKind::Restricted));

    // A tier's rule says only what is different.
    let cairo = house.fleet.city(CityId(1)).expect("Cairo");
    let city = CancelTerms {
        free_s: 120,
        fee: Piasters(1500),
        no_show_wait_s: 300,
        no_show_fee: Piasters(2000),
    };
    assert_eq!(cairo.cancel_terms(Tier::Economy), city);
    assert_eq!(cairo.cancel_terms(Tier::Premium), CancelTerms { fee: Piasters(3000), ..city });
    let elsewhere = house.fleet.city(CityId(2)).expect("Manhattan").cancel_terms(Tier::Premium);
    assert_eq!(elsewhere.no_show_fee, Piasters(1500), "as much as a late cancellation");
}

#[tokio::test]
async fn a_day_adds_trips_up_by_the_citys_calendar_and_gives_them_back() {
    let db = storage::testing::database().await;
    let driver = DriverId::new();
    let mut owner = storage::testing::owner(&db).await;
    for made in [
        "INSERT INTO users (id, phone, name, role, password_hash) \
         VALUES ($1, '+201012345678', 'n', 'driver', '-')",
        "INSERT INTO drivers (id) VALUES ($1)",
    ] {
        sqlx::query(made).bind(driver.0).execute(&mut owner).await.unwrap();
    }
    // 22:30 UTC is half past midnight in Cairo's winter.
    let ended = Millis::parse("2026-01-10T22:30:00Z").unwrap();
    let driven =
        crate::Driven { driver, ended, distance_m: 4000, duration_s: 600, fare: Piasters(4250) };
    let mut tx = db.begin(&Who::System).await.unwrap();
    crate::add_to_day_in_tx(&mut tx, &driven, "Africa/Cairo").await.unwrap();
    crate::add_to_day_in_tx(&mut tx, &driven, "Africa/Cairo").await.unwrap();
    crate::take_from_day_in_tx(&mut tx, &driven, "Africa/Cairo").await.unwrap();
    tx.commit().await.unwrap();
    let found: (String, i32, i64, i64, i64) =
        sqlx::query_as("SELECT day::text, trips, distance_m, duration_s, fares FROM driver_days")
            .fetch_one(&mut owner)
            .await
            .unwrap();
    assert_eq!(found, ("2026-01-11".to_owned(), 1, 4000, 600, 4250));
}
