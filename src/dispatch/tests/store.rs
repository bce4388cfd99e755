//! Offers and trace lines against a real PostgreSQL.

use std::time::Duration;

use base::{Caller, DriverId, Millis, Piasters, Role, SessionId, TripId, UserId};
use fleet::Misconduct;
use sqlx::Row;
use sqlx::postgres::PgConnection;
use storage::{Db, Who};
use uuid::Uuid;

use super::city::START;
use crate::board::Ended;
use crate::eligibility::Gate;
use crate::model::{Considered, OfferPlan, Outcome, Part, Verdict};
use crate::score::Parts;
use crate::store::{OfferRecord, write_lines, write_offers};
use crate::trace::read as trace;

/// A database with one trip and two drivers.
struct Books {
    db: Db,
    owner: PgConnection,
    trip: TripId,
    drivers: [DriverId; 2],
}

async fn user(owner: &mut PgConnection, phone: &str, role: &str) -> Uuid {
    let id = Uuid::now_v7();
    sqlx::query(
        "INSERT INTO users (id, phone, name, role, password_hash) VALUES ($1, $2, 'N', $3, '-')",
    )
    .bind(id)
    .bind(phone)
    .bind(role)
    .execute(&mut *owner)
    .await
    .expect("a user");
    if role == "driver" {
        sqlx::query("INSERT INTO drivers (id, status) VALUES ($1, 'approved')")
            .bind(id)
            .execute(&mut *owner)
            .await
            .expect("a driver");
    }
    id
}

impl Books {
    async fn open() -> Self {
        let db = storage::testing::database().await;
        let mut owner = storage::testing::owner(&db).await;
        let rider = user(&mut owner, "+201000000001", "rider").await;
        let one = user(&mut owner, "+201000000002", "driver").await;
        let two = user(&mut owner, "+201000000003", "driver").await;
        let trip = TripId::new();
        sqlx::query(
            "INSERT INTO trips (id, city_id, rider_id, status, payment_method, tier, version,
               pickup_lat, pickup_lng, destination_lat, destination_lng, price, commission_bp,
               quoted_distance_m, quoted_duration_s, requested_at, created_at)
             VALUES ($1, 1, $2, 'requested', 'cash', 'economy', 1, 30, 31, 30.1, 31, 5000, 1500,
               8000, 1200, now(), now())",
        )
        .bind(trip.0)
        .bind(rider)
        .execute(&mut owner)
        .await
        .expect("a trip");
        Self { db, owner, trip, drivers: [DriverId(one), DriverId(two)] }
    }

    fn plan(&self, driver: usize, trip: TripId) -> OfferPlan {
        OfferPlan {
            offer: base::OfferId::new(),
            trip,
            driver: self.drivers[driver],
            round: 1,
            made: START,
            until: START + Duration::from_secs(15),
            score: 0.75,
            distance_m: 1_200,
            eta_s: 240,
            bids: None,
            bid: None,
            role: Part::Drive,
            instead_of: None,
        }
    }

    async fn write(&self, records: &[OfferRecord]) {
        write_offers(&self.db, records).await.expect("the offers are written");
    }

    /// The states of each driver's offers.
    async fn check(&mut self, expected: &str) {
        let rows = sqlx::query(
            "SELECT coalesce(string_agg(o.status, ',' ORDER BY o.id), '-') AS words
             FROM drivers d LEFT JOIN trip_offers o ON o.driver_id = d.id
             GROUP BY d.id ORDER BY d.id",
        )
        .fetch_all(&mut self.owner)
        .await
        .expect("the owner reads everything");
        let words: Vec<String> = rows.iter().map(|row| row.get("words")).collect();
        assert_eq!(words.join("; "), expected);
    }
}

fn end(plan: &OfferPlan, outcome: Outcome) -> OfferRecord {
    let at = START + Duration::from_secs(5);
    OfferRecord::ended(Ended { plan: plan.clone(), outcome, at })
}

#[tokio::test]
async fn an_offer_ends_once() {
    let mut books = Books::open().await;
    let (one, two) = (books.plan(0, books.trip), books.plan(1, books.trip));
    books.write(&[OfferRecord::made(&one), OfferRecord::made(&two)]).await;
    books.check("pending; pending").await;
    let ends = [end(&one, Outcome::Declined), end(&two, Outcome::Accepted)];
    books.write(&ends).await;
    books.check("declined; accepted").await;
    // A batch whose commit was not known is written again, and late news change nothing.
    books.write(&ends).await;
    books.write(&[OfferRecord::made(&one), end(&two, Outcome::Expired)]).await;
    books.check("declined; accepted").await;
}

#[tokio::test]
async fn both_states_of_an_offer_may_come_in_one_batch() {
    let mut books = Books::open().await;
    let (one, two) = (books.plan(0, books.trip), books.plan(1, books.trip));
    books
        .write(&[
            OfferRecord::made(&one),
            OfferRecord::made(&two),
            end(&one, Outcome::Unchosen),
            end(&two, Outcome::Revoked),
        ])
        .await;
    books.check("unchosen; revoked").await;
}

#[tokio::test]
async fn an_offer_of_a_trip_that_is_gone_holds_nobody_up() {
    let mut books = Books::open().await;
    let (lost, kept) = (books.plan(0, TripId::new()), books.plan(1, books.trip));
    books.write(&[OfferRecord::made(&lost), OfferRecord::made(&kept)]).await;
    books.check("-; pending").await;
}

#[tokio::test]
async fn the_trace_shows_verdict_score_parts_and_answer_to_admins_only() {
    let mut books = Books::open().await;
    let plan = books.plan(0, books.trip);
    books.write(&[OfferRecord::made(&plan)]).await;
    let plan = OfferPlan { bid: Some(Piasters(4_250)), ..plan };
    books.write(&[OfferRecord::made(&plan), end(&plan, Outcome::Accepted)]).await;
    let parts =
        Parts { distance: 0.3, rating: 0.2, recent: -0.05, conduct: -0.1, ..Parts::default() };
    let line = |driver, verdict, at: Millis| Considered {
        trip: plan.trip,
        at,
        round: 1,
        driver,
        verdict,
        score: None,
        distance_m: 900,
        eta_s: None,
        parts: None,
        in_line: None,
        conduct: None,
    };
    let offered = Considered {
        in_line: Some(3),
        conduct: Some(Misconduct::CherryPicking),
        score: Some(parts.total()),
        eta_s: Some(240),
        parts: Some(parts),
        ..line(books.drivers[0], Verdict::Offered, START)
    };
    let barred = line(books.drivers[1], Verdict::Barred(Gate::Busy), START);
    write_lines(&books.db, &[barred, offered]).await.expect("the lines are written");

    let who = |role| {
        let (user, session) = (UserId::new(), SessionId::new());
        Who::Caller(Caller { user, role, session, expires: START })
    };
    let rows = trace(&books.db, &who(Role::Admin), plan.trip).await.expect("a trace");
    let rows = rows.trace;
    let words: Vec<String> = rows
        .iter()
        .map(|row| {
            let answer = row.answer.as_deref().unwrap_or("-");
            format!("{} {} {:?} {answer}", row.verdict, row.distance, row.eta)
        })
        .collect();
    assert_eq!(words, ["offered 900 Some(240) accepted", "busy 900 None -"]);
    assert_eq!(
        (rows[0].at, rows[0].parts, rows[0].score),
        (START, Some(parts), Some(parts.total()))
    );
    assert_eq!((rows[0].queue_place, rows[1].queue_place), (Some(3), None));
    assert_eq!((rows[0].conduct, rows[1].conduct), (Some(Misconduct::CherryPicking), None));
    assert_eq!(rows[0].answered_at, Some(START + Duration::from_secs(5)));
    assert_eq!((rows[0].bid, rows[1].bid), (Some(Piasters(4_250)), None));
    assert!(trace(&books.db, &who(Role::Rider), plan.trip).await.expect("none").trace.is_empty());
    books.check("accepted; -").await;
}
