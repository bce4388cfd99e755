//! The whole room on a real database: accounts, money, and a look behind the scenes.

use std::sync::Arc;
use std::time::Duration;

use base::{
    Caller, Clock, DriverId, Millis, PaymentMethod, Piasters, Role, SessionId, TripId, UserId,
};
use events::Once;
use ops::{Stopped, Tasks};
use sqlx::postgres::PgConnection;
use storage::{Db, Who};
use tokio::sync::mpsc;

use super::{new_trip, pickup};
use crate::effect::Effect;
use crate::event::evolve;
use crate::model::Trip;
use crate::refusal::{Refusal, TripError};
use crate::rules::Command;
use crate::{Trips, TripsConfig, store};

pub(super) struct Stand {
    pub(super) db: Db,
    pub(super) trips: Trips,
    pub(super) effects: mpsc::Receiver<Effect>,
    pub(super) clock: Clock,
    pub(super) tasks: Tasks,
}

/// A node on a fresh database.
pub(super) async fn stand() -> Stand {
    stand_at(Clock::system()).await
}

/// The same, on a clock that stands until the test turns it.
pub(super) async fn standing_still() -> Stand {
    stand_at(Clock::manual(Clock::system().now())).await
}

async fn stand_at(clock: Clock) -> Stand {
    let stand = Stand::on(storage::testing::database().await, clock);
    assert_eq!(stand.trips.rebuild().await.expect("the lease is free"), 0);
    stand
}

fn caller(user: UserId, role: Role) -> Caller {
    Caller { user, role, session: SessionId::new(), expires: Millis(i64::MAX) }
}

impl Stand {
    pub(super) fn on(db: Db, clock: Clock) -> Self {
        let tasks = Tasks::new();
        // Roomy enough that no test needs a reader.
        let (tell, effects) = mpsc::channel(10_000);
        let config = TripsConfig { deadline: Duration::from_secs(60), ..TripsConfig::default() };
        let trips = Trips::start(db.clone(), &tasks, clock.clone(), tell, config);
        Self { db, trips, effects, clock, tasks }
    }

    /// Stops the node and starts another on the same database, which runs no trip yet.
    pub(super) async fn restart(self) -> Self {
        assert_eq!(self.tasks.stop(Duration::from_secs(30)).await, Stopped::Clean);
        Self::on(self.db.clone(), self.clock.clone())
    }

    pub(super) async fn owner(&self) -> PgConnection {
        storage::testing::owner(&self.db).await
    }

    async fn accounts(&self, role: Role, count: usize) -> Vec<UserId> {
        let ids: Vec<UserId> = (0..count).map(|_| UserId::new()).collect();
        let raw: Vec<uuid::Uuid> = ids.iter().map(|id| id.0).collect();
        sqlx::query(
            "INSERT INTO users (id, phone, name, role, password_hash) \
             SELECT i, '+2010' || lpad(((SELECT count(*) FROM users) + n)::text, 8, '0'), \
             'Somebody', $2, '-' \
             FROM unnest($1::uuid[]) WITH ORDINALITY AS u (i, n)",
        )
        .bind(raw)
        .bind(role.name())
        .execute(&mut self.owner().await)
        .await
        .expect("accounts are made");
        ids
    }

    pub(super) async fn riders(&self, count: usize) -> Vec<Caller> {
        let ids = self.accounts(Role::Rider, count).await;
        ids.into_iter().map(|id| caller(id, Role::Rider)).collect()
    }

    pub(super) async fn rider(&self) -> Caller {
        self.riders(1).await.remove(0)
    }

    pub(super) async fn drivers(&self, count: usize) -> Vec<DriverId> {
        let ids = self.accounts(Role::Driver, count).await;
        ids.into_iter().map(UserId::as_driver).collect()
    }

    pub(super) async fn driver(&self) -> DriverId {
        self.drivers(1).await.remove(0)
    }

    pub(super) fn as_driver(driver: DriverId) -> Caller {
        caller(driver.into(), Role::Driver)
    }

    pub(super) async fn admin(&self) -> Caller {
        caller(self.accounts(Role::Admin, 1).await[0], Role::Admin)
    }

    /// Puts money into a rider's wallet.
    pub(super) async fn fund(&self, rider: &Caller, amount: Piasters) {
        let admin = self.admin().await;
        let journal =
            ledger::adjustment(admin.user, rider.user, Role::Rider, amount, "a gift", None)
                .expect("riders have wallets");
        let mut tx = self.db.begin(&Who::Caller(admin)).await.expect("the database answers");
        ledger::post_in_tx(&mut tx, &journal).await.expect("gifts are taken");
        tx.commit().await.expect("and kept");
    }

    /// Balance of an account by its kind's name.
    pub(super) async fn balance(&self, kind: &str, user: UserId) -> i64 {
        sqlx::query_scalar(
            "SELECT coalesce((SELECT b.balance FROM ledger_balance b \
             JOIN ledger_account_kind k ON k.id = b.account \
             WHERE k.name = $1 AND b.owner = $2), 0)",
        )
        .bind(kind)
        .bind(user.0)
        .fetch_one(&mut self.owner().await)
        .await
        .expect("balances can be read")
    }

    pub(super) async fn book(&self, rider: &Caller, method: PaymentMethod) -> Arc<Trip> {
        let new = new_trip(rider.user.as_rider(), method);
        self.trips.create(rider, new, Once::NONE).await.expect("the trip is booked")
    }

    pub(super) async fn offer(&self, trip: TripId, driver: DriverId) {
        let until = self.clock.now() + Duration::from_secs(600);
        let offer = Command::Offer { driver, until, round: 1 };
        self.trips.command(trip, offer).await.expect("the driver can be asked");
    }

    pub(super) async fn accepted(&self, trip: TripId, driver: DriverId) -> Arc<Trip> {
        self.offer(trip, driver).await;
        self.does(trip, Command::Accept { driver }).await
    }

    pub(super) async fn does(&self, trip: TripId, command: Command) -> Arc<Trip> {
        self.trips.command(trip, command).await.expect("the command is in order")
    }

    /// From booking to the drive.
    pub(super) async fn started(&self, trip: TripId, driver: DriverId) -> Arc<Trip> {
        self.accepted(trip, driver).await;
        self.does(trip, Command::Arrive { driver, at: Some(pickup()) }).await;
        self.does(trip, Command::Start { driver, pin: None }).await
    }

    pub(super) async fn completed(&self, trip: TripId, driver: DriverId) -> Arc<Trip> {
        self.started(trip, driver).await;
        self.does(trip, Command::Complete { driver, distance_m: 4100, cash: None }).await
    }

    pub(super) async fn stored(&self, trip: TripId) -> Trip {
        let row = store::get(&self.db, &Who::System, trip).await.expect("the database answers");
        row.expect("the trip is there")
    }

    /// T5: the events have no gap and make the row; the outbox has each of them.
    pub(super) async fn replays(&self, booked: &Trip) {
        let events = self.trips.events_since(booked.id, 0).await.expect("events can be read");
        assert!(events.iter().zip(1..).all(|(event, seq)| event.seq == seq), "{events:?}");
        let row = self.stored(booked.id).await;
        let made = events.iter().skip(1).fold(booked.clone(), |trip, event| evolve(&trip, event));
        assert_eq!(Trip { epoch: row.epoch, ..made }, row);
        let published: i64 =
            sqlx::query_scalar("SELECT count(*) FROM outbox WHERE aggregate_id = $1")
                .bind(booked.id.0)
                .fetch_one(&mut self.owner().await)
                .await
                .expect("the outbox can be read");
        assert_eq!(published, events.len() as i64);
    }

    /// M1, M3, M5 and the rest of the ledger's own list.
    pub(super) async fn money_adds_up(&self) {
        let mut tx = self.db.begin(&Who::System).await.expect("the database answers");
        let findings = ledger::check_invariants(&mut tx).await.expect("the ledger can be read");
        assert!(findings.is_empty(), "{findings:?}");
    }

    pub(super) async fn count(&self, question: &'static str) -> i64 {
        sqlx::query_scalar(question)
            .fetch_one(&mut self.owner().await)
            .await
            .expect("the question can be answered")
    }
}

/// The refusal in an answer.
pub(super) fn refusal<T: std::fmt::Debug>(answer: Result<T, TripError>) -> Refusal {
    match answer {
        Err(TripError::Refused(refusal)) => refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}
