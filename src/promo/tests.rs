//! The room on a real database: limits under races, and what its doors refuse.

use base::{
    BasisPoints, Caller, Millis, Piasters, PromoCodeId, PromoCreditId, RiderId, Role, SessionId,
    TripId, UserId,
};
use futures_util::future::join_all;
use sqlx::types::Uuid;
use storage::{Db, Who, testing};

use crate::{
    Ended, NewCode, NewGrant, Off, Offer, Redeemed, Unfit, code_disable_in_tx, code_insert_in_tx,
    code_open_in_tx, credits_in_tx, end_in_tx, grant_in_tx, redeem_in_tx, reserve_in_tx,
};

const NOW: Millis = Millis(1_800_000_000_000);
const LATER: Millis = Millis(1_900_000_000_000);

struct Stand {
    db: Db,
    admin: UserId,
}

async fn stand() -> Stand {
    let db = testing::database().await;
    let admin = account(&db, Role::Admin).await;
    Stand { db, admin }
}

async fn account(db: &Db, role: Role) -> UserId {
    let id = UserId::new();
    sqlx::query(
        "INSERT INTO users (id, phone, name, role, password_hash) \
         VALUES ($1, '+2010' || lpad((SELECT count(*) FROM users)::text, 8, '0'), 'n', $2, '-')",
    )
    .bind(id.0)
    .bind(role.name())
    .execute(&mut testing::owner(db).await)
    .await
    .expect("an account is made");
    id
}

fn who(user: UserId, role: Role) -> Who {
    Who::Caller(Caller { user, role, session: SessionId::new(), expires: Millis(i64::MAX) })
}

impl Stand {
    async fn rider(&self) -> RiderId {
        account(&self.db, Role::Rider).await.as_rider()
    }

    /// 20 off each trip, with `change` made to it.
    async fn code(&self, name: &str, change: impl FnOnce(&mut NewCode)) -> PromoCodeId {
        let mut new = NewCode {
            id: PromoCodeId::new(),
            code: name.to_owned(),
            reason: "the feast".to_owned(),
            off: Off::Amount(Piasters(2_000)),
            min_fare: Piasters::ZERO,
            tiers: Vec::new(),
            cities: Vec::new(),
            per_rider: 1,
            uses_max: None,
            budget: Piasters(1_000_000),
            valid_from: Millis(0),
            valid_until: LATER,
            created_by: self.admin,
            at: NOW,
        };
        change(&mut new);
        let mut tx = self.db.begin(&who(self.admin, Role::Admin)).await.expect("a transaction");
        let made = code_insert_in_tx(&mut tx, &new).await.expect("it is made");
        assert!(made.is_some_and(|made| made.opened_at.is_none()), "nobody has the code yet");
        assert!(code_open_in_tx(&mut tx, new.id, NOW).await.expect("it is opened"));
        tx.commit().await.expect("it is kept");
        new.id
    }

    async fn redeem(&self, rider: RiderId, code: &str) -> Redeemed {
        let mut tx = self.db.begin(&Who::System).await.expect("a transaction");
        let redeemed = redeem_in_tx(&mut tx, rider, code, NOW).await.expect("it is answered");
        tx.commit().await.expect("it is kept");
        redeemed
    }

    async fn credit(&self, rider: RiderId, code: &str) -> PromoCreditId {
        match self.redeem(rider, code).await {
            Redeemed::Now(credit) => credit,
            other => panic!("expected a credit, got {other:?}"),
        }
    }

    async fn grant(&self, rider: RiderId, amount: i64) -> PromoCreditId {
        let grant = NewGrant {
            id: PromoCreditId::new(),
            rider,
            amount: Piasters(amount),
            expires_at: LATER,
            reason: "sorry".to_owned(),
            granted_by: self.admin,
            at: NOW,
        };
        let mut tx = self.db.begin(&who(self.admin, Role::Admin)).await.expect("a transaction");
        grant_in_tx(&mut tx, &grant).await.expect("it is granted");
        tx.commit().await.expect("it is kept");
        grant.id
    }

    /// A trip that gets `amount` off, put there as its booking would; none when it was refused.
    async fn book(&self, rider: RiderId, credit: PromoCreditId, amount: i64) -> Option<TripId> {
        let trip = TripId::new();
        let mut tx = self.db.begin(&who(rider.into(), Role::Rider)).await.expect("a transaction");
        let row = format!(
            r#"{{"id":"{trip}","epoch":0,"city_id":1,"rider_id":"{rider}","status":"scheduled",
              "payment_method":"cash","tier":"economy","strategy":"city","pickup_lat":30,
              "pickup_lng":31,"destination_lat":30,"destination_lng":31,"stops":[],"price":10000,
              "hold":0,"commission_bp":1500,"surge":1,"quoted_distance_m":1,"quoted_duration_s":1,
              "created_at":"2027-01-15T08:00:00Z","free_cancel_s":1,"late_cancel_fee":1,
              "no_show_wait_s":1,"due_limit":1,"debt_limit":1,"promo":{amount}}}"#
        );
        sqlx::query("SELECT trip_create($1::jsonb, '{}', 'TRIP_SCHEDULED')")
            .bind(row)
            .execute(tx.conn())
            .await
            .expect("the trip is booked");
        let offer = Offer { credit, amount: Piasters(amount) };
        let kept = reserve_in_tx(&mut tx, trip, &offer, NOW).await.expect("it is answered");
        if kept {
            tx.commit().await.expect("it is kept");
        }
        kept.then_some(trip)
    }

    /// The trip ends so, its promo with it.
    async fn end(&self, trip: TripId, status: &str, ended: Ended) {
        let mut owner = testing::owner(&self.db).await;
        let mut tx = sqlx::Connection::begin(&mut owner).await.expect("a transaction");
        let (driver, price) = match status {
            "completed" => (Some(account(&self.db, Role::Driver).await.0), Some(10_000_i64)),
            _ => (None, None),
        };
        sqlx::query(
            "UPDATE trips SET status = $2, driver_id = $3, final_price = $4,
               payment_status = CASE $2 WHEN 'completed' THEN 'paid' ELSE 'pending' END
             WHERE id = $1",
        )
        .bind(trip.0)
        .bind(status)
        .bind(driver)
        .bind(price)
        .execute(&mut *tx)
        .await
        .expect("the owner moves it");
        let (trip, spent) = match ended {
            Ended::Spent(trip) => (trip, true),
            Ended::Freed(trip) => (trip, false),
        };
        sqlx::query("SELECT promo_end($1, $2, now())")
            .bind(vec![trip.0])
            .bind(vec![spent])
            .execute(&mut *tx)
            .await
            .expect("the promo ends");
        tx.commit().await.expect("the two agree");
    }

    /// `uses given` of a code.
    async fn counted(&self, code: PromoCodeId) -> (i32, i64) {
        sqlx::query_as("SELECT uses, given FROM promo_codes WHERE id = $1")
            .bind(code.0)
            .fetch_one(&mut testing::owner(&self.db).await)
            .await
            .expect("the code is there")
    }
}

#[tokio::test]
async fn a_code_is_redeemed_once_and_says_why_not() {
    let stand = stand().await;
    let rider = stand.rider().await;
    let eid = stand.code("EID", |_| {}).await;
    stand.code("OLD", |code| code.valid_until = NOW).await;
    let first = stand.redeem(rider, "EID").await;
    assert!(matches!(first, Redeemed::Now(_)), "{first:?}");
    assert_eq!(stand.redeem(rider, "EID").await, Redeemed::Before);
    assert_eq!(stand.redeem(rider, "OLD").await, Redeemed::Refused(Unfit::Expired));
    assert_eq!(stand.redeem(rider, "NONE").await, Redeemed::Unknown);
    let mut tx = stand.db.begin(&who(rider.into(), Role::Rider)).await.expect("a transaction");
    let mine = credits_in_tx(&mut tx, rider, NOW).await.expect("they are read");
    assert_eq!(mine.len(), 1);
    drop(tx);

    let mut tx = stand.db.begin(&who(stand.admin, Role::Admin)).await.expect("a transaction");
    let ended = code_disable_in_tx(&mut tx, eid, NOW).await.expect("it is ended");
    assert_eq!(ended.and_then(|code| code.disabled_at), Some(NOW));
    tx.commit().await.expect("it is kept");
    assert_eq!(stand.redeem(stand.rider().await, "EID").await, Redeemed::Unknown);
    let mut tx = stand.db.begin(&Who::System).await.expect("a transaction");
    assert_eq!(credits_in_tx(&mut tx, rider, NOW).await.expect("they are read"), []);
}

#[tokio::test]
async fn a_code_that_waits_is_as_if_it_were_not() {
    let stand = stand().await;
    let rider = stand.rider().await;
    let code = stand.code("SOON", |_| {}).await;
    let mut owner = storage::testing::owner(&stand.db).await;
    let wait = "UPDATE promo_codes SET opened_at = NULL WHERE id = $1";
    sqlx::query(wait).bind(code.0).execute(&mut owner).await.expect("the owner may");
    assert_eq!(stand.redeem(rider, "SOON").await, Redeemed::Unknown);
    let open = async || {
        let who = who(stand.admin, Role::Admin);
        let mut tx = stand.db.begin(&who).await.expect("a transaction");
        let opened = code_open_in_tx(&mut tx, code, NOW).await.expect("it is answered");
        tx.commit().await.expect("it is kept");
        opened
    };
    assert!(open().await && !open().await, "once");
    assert!(matches!(stand.redeem(rider, "SOON").await, Redeemed::Now(_)));
}

#[tokio::test]
async fn a_budget_is_never_overdrawn_however_many_book() {
    let stand = stand().await;
    // Enough money for five trips, and for seven of them by number.
    let code = stand
        .code("FIVE", |code| {
            code.budget = Piasters(10_500);
            code.uses_max = Some(7);
            code.off = Off::Share { of_fare: BasisPoints(2_000), at_most: Piasters(2_000) };
        })
        .await;
    let mut asking = Vec::new();
    for _ in 0..20 {
        let rider = stand.rider().await;
        asking.push((rider, stand.credit(rider, "FIVE").await));
    }
    let booked =
        join_all(asking.iter().map(|(rider, credit)| stand.book(*rider, *credit, 2_000))).await;
    let trips: Vec<TripId> = booked.into_iter().flatten().collect();
    assert_eq!(trips.len(), 5);
    assert_eq!(stand.counted(code).await, (5, 10_000));

    // What is given back can be had by others, and what is spent stays spent.
    stand.end(trips[0], "cancelled", Ended::Freed(trips[0])).await;
    stand.end(trips[1], "completed", Ended::Spent(trips[1])).await;
    assert_eq!(stand.counted(code).await, (4, 8_000));
    let again =
        join_all(asking.iter().map(|(rider, credit)| stand.book(*rider, *credit, 2_000))).await;
    assert_eq!(again.iter().flatten().count(), 1);
    assert_eq!(stand.counted(code).await, (5, 10_000));
}

#[tokio::test]
async fn a_grant_is_used_up_by_trips_and_never_more_than_once() {
    let stand = stand().await;
    let rider = stand.rider().await;
    let credit = stand.grant(rider, 3_000).await;
    let trips = join_all((0..4).map(|_| stand.book(rider, credit, 2_000))).await;
    let trips: Vec<TripId> = trips.into_iter().flatten().collect();
    assert_eq!(trips.len(), 1, "the second 20 are not there");
    assert!(stand.book(rider, credit, 1_000).await.is_some());
    stand.end(trips[0], "cancelled", Ended::Freed(trips[0])).await;
    assert!(stand.book(rider, credit, 2_001).await.is_none());
    assert!(stand.book(rider, credit, 2_000).await.is_some());
    // Another's credit is nobody else's, and an expired one is nobody's.
    let other = stand.rider().await;
    assert!(stand.book(other, stand.grant(rider, 500).await, 100).await.is_none());
}

#[tokio::test]
async fn a_trip_and_its_promo_move_together_or_not_at_all() {
    let stand = stand().await;
    let rider = stand.rider().await;
    let credit = stand.grant(rider, 5_000).await;
    let trip = stand.book(rider, credit, 2_000).await.expect("there is enough");
    let refused = async |sql: &'static str| {
        let mut owner = testing::owner(&stand.db).await;
        let error = sqlx::query(sql).bind(trip.0).execute(&mut owner).await.expect_err(sql);
        assert!(storage::breaks(&error, "trip_promo_stands"), "{sql}: {error}");
    };
    refused("UPDATE trips SET status = 'cancelled' WHERE id = $1").await;
    refused("UPDATE trips SET promo = 1000 WHERE id = $1").await;
    // The writer ends it for a trip that lives on: then the trip can't move any more.
    let mut tx = stand.db.begin_writer().await.expect("a transaction");
    end_in_tx(&mut tx, &[Ended::Spent(trip)], NOW).await.expect("the door is open to it");
    tx.commit().await.expect("nothing looked at the trip");
    refused("UPDATE trips SET rounds = 1 WHERE id = $1").await;
}

#[tokio::test]
async fn nobody_gives_himself_anything() {
    let stand = stand().await;
    let rider = stand.rider().await;
    let credit = stand.grant(rider, 5_000).await;
    let code = stand.code("EID", |_| {}).await;
    let attempt = async |who: Who, sql: &'static str, id: Uuid| {
        let mut tx = stand.db.begin(&who).await.expect("a transaction");
        match sqlx::query(sql).bind(id).execute(tx.conn()).await {
            Ok(done) => format!("{} rows", done.rows_affected()),
            Err(error) if error.to_string().contains("permission denied") => "closed".to_owned(),
            Err(error) if error.to_string().contains("row-level security") => "not his".to_owned(),
            Err(error) => error.to_string(),
        }
    };
    let (rides, admin) = (who(rider.into(), Role::Rider), who(stand.admin, Role::Admin));
    const GRANT: &str = "INSERT INTO promo_credits
      (id, rider_id, amount, reason, granted_by, expires_at, created_at)
      VALUES (gen_random_uuid(), $1, 100, 'me', $1, now(), now())";
    assert_eq!(attempt(rides, GRANT, rider.0).await, "not his");
    assert_eq!(attempt(Who::System, GRANT, rider.0).await, "not his");
    let more = "UPDATE promo_credits SET amount = 900000 WHERE id = $1";
    assert_eq!(attempt(rides, more, credit.0).await, "closed");
    assert_eq!(attempt(admin, more, credit.0).await, "closed");
    let unlimited = "UPDATE promo_codes SET budget = 100000000 WHERE id = $1";
    assert_eq!(attempt(admin, unlimited, code.0).await, "closed");
    let over = "UPDATE promo_codes SET disabled_at = now() WHERE id = $1";
    assert_eq!(attempt(rides, over, code.0).await, "0 rows");
    assert_eq!(attempt(admin, over, code.0).await, "1 rows");
    let seen = "SELECT FROM promo_credits WHERE id = $1";
    assert_eq!(attempt(rides, seen, credit.0).await, "1 rows");
    let other = who(stand.rider().await.into(), Role::Rider);
    assert_eq!(attempt(other, seen, credit.0).await, "0 rows");
    assert_eq!(attempt(other, "SELECT FROM promo_codes WHERE id = $1", code.0).await, "0 rows");
    let end = "SELECT promo_end(ARRAY[$1], ARRAY[true], now())";
    assert_eq!(attempt(rides, end, credit.0).await, "closed");
}
