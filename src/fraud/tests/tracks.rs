//! Cases about driving on a real PostgreSQL: opened once, renewed, dismissed; tracks known again.

use std::time::Duration;

use base::{Caller, Clock, Dice, DriverId, Millis, Point, Role, SessionId, TripId, UserId};
use sqlx::{Executor, Row};
use storage::{Db, Who, testing};

use crate::conduct::Spot;
use crate::{store, *};

const START: Millis = Millis(1_800_000_000_000);

struct Stand {
    db: Db,
    clock: Clock,
    fraud: Fraud,
}

impl Stand {
    async fn new() -> Self {
        let (db, clock) = (testing::database().await, Clock::manual(START));
        let fraud = Fraud::new(db.clone(), clock.clone(), FraudConfig::default());
        Self { db, clock, fraud }
    }

    async fn driver(&self, number: u128) -> DriverId {
        let id = UserId::from_u128(number);
        let sql = "INSERT INTO users (id, phone, name, role, password_hash) \
                   VALUES ($1, $2, 'Ali', 'driver', 'x')";
        let query = sqlx::query(sql).bind(id.0).bind(format!("+2010{number:08}"));
        testing::owner(&self.db).await.execute(query).await.expect("an account");
        id.as_driver()
    }

    async fn look(&self, driver: DriverId, evidence: &Evidence<'_>) -> Found {
        let mut tx = self.db.begin(&Who::System).await.expect("a transaction");
        let found = self.fraud.look_at_driver_in_tx(&mut tx, driver, evidence).await;
        tx.commit().await.expect("stored");
        found.expect("looked at")
    }

    async fn keep(&self, trip: u128, driver: DriverId, ended: Millis, spots: &[Spot]) {
        let mut tx = self.db.begin(&Who::System).await.expect("a transaction");
        let drive = Drive { trip: TripId::from_u128(trip), driver, ended, spots };
        self.fraud.keep_track_in_tx(&mut tx, &drive).await.expect("kept");
        tx.commit().await.expect("stored");
    }

    /// `driver: trip of trip, trip of trip`, for each who replayed within the day.
    async fn compared(&self) -> Vec<String> {
        self.fraud.compare_tracks(&self.db).await.expect("compared");
        let (mut said, mut after) = (Vec::new(), DriverId::from_u128(0));
        loop {
            let mut tx = self.db.begin(&Who::System).await.expect("a transaction");
            let found = self.fraud.replayers_in_tx(&mut tx, after).await.expect("read");
            let Some(last) = found.last() else { return said };
            after = last.driver;
            said.extend(found.iter().map(|found| {
                let replays = found.replays.iter();
                let replays: Vec<String> = replays
                    .map(|r| format!("{} of {}", r.trip.as_u128(), r.of.as_u128()))
                    .collect();
                format!("{}: {}", found.driver.as_u128(), replays.join(", "))
            }));
        }
    }

    /// `rule action status times seen`, newest first; seen in minutes after the start.
    async fn shown(&self) -> Vec<String> {
        let page = self.fraud.list(&admin(), &CaseFilter::default(), None, 100).await;
        let cases = page.expect("a page").cases;
        let shown = cases.iter().map(|case| {
            let seen = case.seen_at.since(START) / 60_000;
            format!("{} {} {} {} {seen}", case.rule, case.action, case.status, case.times)
        });
        shown.collect()
    }
}

fn admin() -> Caller {
    let (user, session) = (UserId::from_u128(99), SessionId::from_u128(1));
    Caller { user, role: Role::Admin, session, expires: Millis(i64::MAX) }
}

fn track(seed: u64) -> Vec<Spot> {
    let dice = Dice::seeded(seed);
    let spots = (0..100).map(|n| {
        let wander = || (dice.unit() - 0.5) * 1e-4;
        let at = Point::new(30.0 + f64::from(n) * 3e-4 + wander(), 31.0 + wander());
        let at = at.expect("a place of the test");
        let time = START + Duration::from_secs(3) * n;
        Spot { at, time, speed_kmh: Some(40.0), on_trip: true, suspect: false }
    });
    spots.collect()
}

/// Minutes at one place while a speed is reported.
fn frozen(minutes: u32) -> Vec<Spot> {
    let first = track(1)[0];
    let spot = |n| Spot { time: first.time + Duration::from_secs(30) * n, ..first };
    (0..=minutes * 2).map(spot).collect()
}

#[tokio::test]
async fn a_case_about_driving_is_opened_once_renewed_and_dismissed() {
    let stand = Stand::new().await;
    let ali = stand.driver(1).await;
    let (some, more) = (frozen(6), frozen(13));
    let (some, more) = (evidence(&some), evidence(&more));
    assert_eq!(stand.look(ali, &Evidence::default()).await, Found::default());

    let found = stand.look(ali, &some).await;
    assert_eq!(found.turned.map(|turned| turned.after), Some(Some(Action::Flag)));
    let mark = found.marks[0];
    assert_eq!((mark.rule, mark.penalty, mark.since), (Rule::FrozenPosition, 30, START));
    assert_eq!(mark.until, START + Duration::from_secs(14 * 24 * 3600));
    assert_eq!(stand.shown().await, ["frozen_position flag open 1 0"]);

    // Seen again: the same case, the mark is as young as the look.
    stand.clock.advance(Duration::from_secs(3600));
    let found = stand.look(ali, &some).await;
    assert_eq!((found.turned, found.marks[0].since), (None, stand.clock.now()));
    assert_eq!(stand.shown().await, ["frozen_position flag open 1 60"]);
    stand.look(ali, &more).await;
    assert_eq!(stand.shown().await, ["frozen_position flag open 2 60"]);

    // An operator's word holds: the same again opens nothing and marks nobody, twice as much does.
    let page = stand.fraud.list(&admin(), &CaseFilter::default(), None, 1).await;
    let id = page.expect("a page").cases[0].id;
    let mut tx = stand.db.begin(&Who::Caller(admin())).await.expect("a transaction");
    let decided = stand.fraud.decide_in_tx(&mut tx, admin().user, id, Decision::Clear, "a tunnel");
    decided.await.expect("cleared");
    tx.commit().await.expect("stored");
    assert_eq!(stand.look(ali, &more).await, Found::default());
    assert_eq!(stand.shown().await, ["frozen_position flag cleared 2 60"]);
    let long = frozen(26);
    let found = stand.look(ali, &evidence(&long)).await;
    assert_eq!(found.turned.map(|turned| turned.after), Some(Some(Action::Hold)));
    assert_eq!(stand.shown().await[0], "frozen_position hold open 1 60");
}

fn evidence(spots: &[Spot]) -> Evidence<'_> {
    Evidence { spots, ..Evidence::default() }
}

#[tokio::test]
async fn a_replayed_track_is_found_and_nothing_beside_it() {
    let stand = Stand::new().await;
    let (ali, mona) = (DriverId::from_u128(1), DriverId::from_u128(2));
    let hour = |n: u32| START - Duration::from_secs(3600) * (20 - n);
    // Twenty honest trips, then Mona drives Ali's third.
    for n in 0..20_u32 {
        let driver = if n % 2 == 0 { ali } else { mona };
        stand.keep(100 + u128::from(n), driver, hour(n), &track(u64::from(n))).await;
    }
    assert_eq!(stand.compared().await, [""; 0]);
    stand.keep(200, mona, START, &track(2)[4..]).await;
    assert_eq!(stand.compared().await, ["2: 200 of 102"]);
    // A look twice says the same again, should the first have come to nothing; a track is kept
    // once, whatever comes for it later.
    stand.keep(200, mona, START, &track(3)).await;
    assert_eq!(stand.compared().await, ["2: 200 of 102"]);
    let mut tx = stand.db.begin(&Who::System).await.expect("a transaction");
    let trips = [TripId::from_u128(200), TripId::from_u128(201)];
    let new = stand.fraud.new_tracks_in_tx(&mut tx, &trips).await.expect("asked");
    assert_eq!(new, [TripId::from_u128(201)]);
    drop(tx);
    // The earlier one comes later: still it is the later one that is the replay.
    stand.keep(301, ali, START, &track(77)).await;
    stand.keep(300, mona, START - Duration::from_secs(60), &track(77)).await;
    let both = ["1: 301 of 300", "2: 200 of 102"];
    assert_eq!(stand.compared().await, both);
    // Too short to say anything.
    stand.keep(400, ali, START, &track(2)[..20]).await;
    assert_eq!(stand.compared().await, both);
    // A day later it is too long ago.
    stand.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(stand.compared().await, [""; 0]);

    // Two weeks later nothing of it is left.
    stand.clock.advance(Duration::from_secs(15 * 24 * 3600));
    stand.fraud.sweep().await.expect("swept");
    let mut owner = testing::owner(&stand.db).await;
    let left = "SELECT (SELECT count(*) FROM fraud_tracks) + (SELECT count(*) FROM fraud_prints)";
    let left: i64 = sqlx::query_scalar(left).fetch_one(&mut owner).await.expect("counted");
    assert_eq!(left, 0);
}

/// Many tracks that were compared, each with its own marks.
const MANY: [&str; 4] = [
    "INSERT INTO fraud_tracks (trip_id, driver_id, ended_at, compared) \
     SELECT gen_random_uuid(), gen_random_uuid(), now() - n * interval '1 minute', true \
     FROM generate_series(1, 5000) n",
    "INSERT INTO fraud_prints (print, trip_id, ended_at) \
     SELECT hashtextextended(trip_id::text, n), trip_id, ended_at \
     FROM fraud_tracks, generate_series(1, 8) n",
    "ANALYZE fraud_tracks",
    "ANALYZE fraud_prints",
];

#[tokio::test]
async fn tracks_are_compared_by_indexes() {
    let stand = Stand::new().await;
    let mut owner = testing::owner(&stand.db).await;
    for sql in MANY {
        owner.execute(sql).await.expect("the owner may");
    }
    let mut tx = stand.db.begin(&Who::System).await.expect("a transaction");
    let explain = format!("EXPLAIN {}", store::COMPARE.replace("$1", "4").replace("$2", "50"));
    let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(explain)).fetch_all(tx.conn()).await;
    let plan: Vec<String> = rows.expect("a plan").iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    for index in ["fraud_tracks_to_compare", "fraud_prints_by_track", "one_print_per_track"] {
        assert!(plan.contains(index), "{index}\n{plan}");
    }
    assert!(!plan.contains("Seq Scan"), "{plan}");
    let replayers = store::REPLAYERS.replace("$1", "'00000000-0000-0000-0000-000000000001'");
    let replayers = replayers.replace("$2", "now() - interval '1 day'").replace("$3", "100");
    let explain = format!("EXPLAIN {replayers}");
    let rows = sqlx::raw_sql(sqlx::AssertSqlSafe(explain)).fetch_all(tx.conn()).await;
    let plan: Vec<String> = rows.expect("a plan").iter().map(|row| row.get(0)).collect();
    assert!(plan.join("\n").contains("fraud_tracks_replayed"), "{plan:?}");
}

/// What a later program writes: a rule that this one doesn't know.
#[tokio::test]
async fn a_case_of_an_unknown_rule_counts_and_is_not_shown() {
    let stand = Stand::new().await;
    let ali = stand.driver(1).await;
    let mut owner = testing::owner(&stand.db).await;
    owner
        .execute("ALTER TABLE fraud_cases DROP CONSTRAINT case_rule_is_known")
        .await
        .expect("the owner may");
    let put = async |owner: &mut sqlx::PgConnection, rule: &str, action: &str, status: &str| {
        let sql = "INSERT INTO fraud_cases (id, account, rule, action, status, weight, reasons, \
                     opened_at, seen_at, decided_by, decided_at, decision_reason) \
                   SELECT gen_random_uuid(), $1, $2, $3, $4, 1, '{}', now(), now(), \
                     by, CASE WHEN by IS NOT NULL THEN now() END, \
                     CASE WHEN by IS NOT NULL THEN 'seen' END \
                   FROM (SELECT CASE WHEN $4 <> 'open' THEN $1 END AS by) b RETURNING id";
        let query = sqlx::query_scalar(sql).bind(ali.0).bind(rule).bind(action).bind(status);
        query.fetch_one(owner).await.expect("a case")
    };
    let standing = async || {
        let mut tx = stand.db.begin(&Who::System).await.expect("a transaction");
        stand.fraud.standing_in_tx(&mut tx, ali.into()).await.expect("asked")
    };
    let _: uuid::Uuid = put(&mut owner, "one_of_tomorrow", "flag", "open").await;
    let _: uuid::Uuid = put(&mut owner, "cleared_tomorrow", "block", "cleared").await;
    assert_eq!(standing().await, Some(Action::Flag));
    let id: uuid::Uuid = put(&mut owner, "another_of_tomorrow", "hold", "open").await;
    assert_eq!(standing().await, Some(Action::Hold));
    assert_eq!(stand.shown().await, [""; 0]);
    let open = CaseFilter { status: Some(Status::Open), ..CaseFilter::default() };
    assert_eq!(stand.fraud.list(&admin(), &open, None, 9).await.expect("a page").cases, []);
    let mut tx = stand.db.begin(&Who::Caller(admin())).await.expect("a transaction");
    assert_eq!(stand.fraud.case_in_tx(&mut tx, id).await.expect("asked"), None);
    drop(tx);
    // What this program knows is found beside them.
    let some = frozen(6);
    let found = stand.look(ali, &evidence(&some)).await;
    assert_eq!((found.turned, found.marks.len()), (None, 1));
    assert_eq!(stand.shown().await, ["frozen_position flag open 1 0"]);
}
