//! Changes of trips: drivers arrive and set out, through the trips' door and its group writer,
//! beside the same changes as a transaction each.
//!
//! Two rivals. One is the product's own way with a single change at a time: its transaction, its
//! function of the database, which checks actor, step and lease. The other is what a program
//! without a group writer does: BEGIN, UPDATE of the row with its version, INSERT of event and
//! outbox, COMMIT, as the owner and without any of those checks.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use base::{
    BasisPoints, Caller, CityId, Clock, DriverId, Millis, PaymentMethod, Piasters, Point, Role,
    SessionId, Tier, TripId, UserId,
};
use ops::Tasks;
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection, SqlSafeStr};
use storage::{Db, at};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use trips::{
    Command, EventName, NewTrip, Place, Side, Status, Terms, Trip, TripEvent, Trips, TripsConfig,
    evolve,
};

use super::{CONNECTIONS, Stopwatch, Taken};
use crate::Options;
use crate::postgres::Postgres;

/// Drivers who wait for an answer at the same time.
const CALLERS: usize = 400;
/// Arrived and started.
const CHANGES: usize = 2;
/// Above the numbers of the tracks' drivers.
const PEOPLE_FROM: u128 = 1_000_000;

const MOVE: &str = "SELECT r_id FROM trip_transitions($1::text::jsonb)";

const UPDATE: &str = "
    UPDATE trips SET version = $2, status = $3, arrived_at = $4, started_at = $5
    WHERE id = $1 AND version = $2 - 1";
const EVENT: &str = "
    INSERT INTO event_store (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
    VALUES ('trip', $1, $2, $3, $4::text::jsonb, $5)";
const OUTBOX: &str = "
    INSERT INTO outbox (aggregate_type, aggregate_id, seq, event_type, payload, created_at)
    VALUES ('trip', $1, $2, $3, $4::text::jsonb, $5)";

/// A change, ready to be written in either way.
#[derive(Clone)]
struct Change {
    after: Trip,
    event: TripEvent,
    payload: String,
    /// For the function of the database.
    argument: String,
}

struct Stage<'a> {
    postgres: &'a Postgres,
    trips: Trips,
    people: std::vec::IntoIter<(UserId, DriverId)>,
    count: usize,
}

/// What the runs took.
#[derive(Default)]
pub(super) struct Changes {
    /// Through the trips' door.
    pub(super) grouped: Taken,
    /// How many changes shared a commit.
    pub(super) shared: Vec<f64>,
    /// The product's transaction and function for each.
    pub(super) single: Taken,
    /// A plain transaction for each.
    pub(super) plain: Taken,
}

pub(super) async fn measure(postgres: &Postgres, options: &Options) -> anyhow::Result<Changes> {
    let count = if options.quick { 400 } else { 4000 };
    let tasks = Tasks::new();
    let (tell, mut told) = mpsc::channel(4096);
    tasks.spawn("effects", async move { while told.recv().await.is_some() {} });
    let config = TripsConfig { deadline: Duration::from_secs(60), ..TripsConfig::default() };
    let trips = Trips::start(postgres.db.clone(), &tasks, Clock::system(), tell, config);
    trips.rebuild().await?;
    let needed = count * 3 * options.runs as usize;
    let riders = postgres.add_users("rider", PEOPLE_FROM, needed).await?;
    let drivers = postgres.add_users("driver", PEOPLE_FROM + needed as u128, needed).await?;
    let drivers = drivers.into_iter().map(UserId::as_driver);
    let people = riders.into_iter().zip(drivers).collect::<Vec<_>>().into_iter();
    let mut stage = Stage { postgres, trips, people, count };
    let writers = postgres.writers(CONNECTIONS).await?;
    let mut taken = Changes::default();
    for run in 0..options.runs {
        eprintln!("durable: changes of trips, run {}", run + 1);
        let commits = stage.grouped(&mut taken.grouped).await?;
        taken.shared.push((count * CHANGES) as f64 / commits);
        stage.one_by_one(&writers, &mut taken.single).await?;
        stage.plainly(&mut taken.plain).await?;
    }
    writers.close().await;
    drop(stage);
    tasks.stop(Duration::from_secs(60)).await;
    Ok(taken)
}

impl Stage<'_> {
    /// How many commits it took.
    async fn grouped(&mut self, taken: &mut Taken) -> anyhow::Result<f64> {
        let accepted = self.accepted().await?;
        let before = transactions(self.postgres).await?;
        let watch = Stopwatch::start(self.postgres)?;
        let mut tasks = JoinSet::new();
        for share in shares(&accepted, CALLERS) {
            let trips = self.trips.clone();
            tasks.spawn(async move {
                for trip in share {
                    let driver = trip.driver.context("it was accepted")?;
                    let at = Some(trip.pickup.at);
                    trips.command(trip.id, Command::Arrive { driver, at }).await?;
                    trips.command(trip.id, Command::Start { driver, pin: None }).await?;
                }
                anyhow::Ok(())
            });
        }
        all(tasks).await?;
        watch.stop(accepted.len() * CHANGES, taken)?;
        // Less the one that counts.
        Ok(transactions(self.postgres).await? - before - 1.0)
    }

    async fn one_by_one(&mut self, db: &Db, taken: &mut Taken) -> anyhow::Result<()> {
        let changes = changes(&self.accepted().await?);
        let watch = Stopwatch::start(self.postgres)?;
        let mut tasks = JoinSet::new();
        for share in shares(&changes, CONNECTIONS) {
            let db = db.clone();
            tasks.spawn(async move {
                for change in share.iter().flatten() {
                    let mut tx = db.begin_writer().await?;
                    let query = sqlx::query(MOVE).bind(&change.argument);
                    let rows = query.fetch_all(tx.conn()).await?;
                    ensure!(rows.len() == 1, "a trip didn't move: {}", change.argument);
                    tx.commit().await?;
                }
                anyhow::Ok(())
            });
        }
        all(tasks).await?;
        watch.stop(changes.len() * CHANGES, taken)
    }

    async fn plainly(&mut self, taken: &mut Taken) -> anyhow::Result<()> {
        let changes = changes(&self.accepted().await?);
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut connection = self.postgres.owner().await?;
            for sql in [UPDATE, EVENT, OUTBOX] {
                connection.prepare(sql.into_sql_str()).await?;
            }
            connections.push(connection);
        }
        let watch = Stopwatch::start(self.postgres)?;
        let mut tasks = JoinSet::new();
        for (share, mut connection) in shares(&changes, CONNECTIONS).zip(connections) {
            tasks.spawn(async move {
                for change in share.iter().flatten() {
                    plain(&mut connection, change).await?;
                }
                // Kept open until the server's clock is read.
                anyhow::Ok(connection)
            });
        }
        let open = all(tasks).await?;
        watch.stop(changes.len() * CHANGES, taken)?;
        drop(open);
        Ok(())
    }

    /// New trips, each accepted by a driver of its own.
    async fn accepted(&mut self) -> anyhow::Result<Vec<Arc<Trip>>> {
        let people: Vec<_> = self.people.by_ref().take(self.count).collect();
        let mut tasks = JoinSet::new();
        for share in shares(&people, CALLERS) {
            let trips = self.trips.clone();
            tasks.spawn(async move {
                let mut accepted = Vec::new();
                for (rider, driver) in share {
                    accepted.push(accept(&trips, rider, driver).await?);
                }
                anyhow::Ok(accepted)
            });
        }
        let accepted: Vec<Arc<Trip>> = all(tasks).await?.into_iter().flatten().collect();
        ensure!(accepted.len() == self.count, "only {} trips were accepted", accepted.len());
        Ok(accepted)
    }
}

async fn accept(trips: &Trips, rider: UserId, driver: DriverId) -> anyhow::Result<Arc<Trip>> {
    let session = SessionId::from_u128(rider.0.as_u128());
    let caller = Caller { user: rider, role: Role::Rider, session, expires: Millis(i64::MAX) };
    let trip = trips.create(&caller, booking(rider)?, events::Once::NONE).await?;
    let until = Clock::system().now() + Duration::from_secs(600);
    trips.command(trip.id, Command::Offer { driver, until, round: 1 }).await?;
    Ok(trips.command(trip.id, Command::Accept { driver }).await?)
}

fn booking(rider: UserId) -> anyhow::Result<NewTrip> {
    let place = |lat, lng| anyhow::Ok(Place { at: Point::new(lat, lng)?, address: None });
    Ok(NewTrip {
        id: TripId::new(),
        rider: rider.as_rider(),
        city: CityId(1),
        pickup: place(30.0444, 31.2357)?,
        destination: place(30.06, 31.22)?,
        stops: Vec::new(),
        passenger: None,
        tier: Tier::Economy,
        method: PaymentMethod::Cash,
        strategy: "first_accept".to_owned(),
        price: Piasters(10_000),
        card: None,
        promo: None,
        arm: None,
        due_allowed: Piasters::ZERO,
        commission: BasisPoints(1500),
        surge: 1.0,
        quote_id: None,
        distance_m: 4000,
        duration_s: 600,
        pin: None,
        terms: Terms {
            free_cancel_s: 120,
            cancel_fee: Piasters(1500),
            no_show_wait_s: 300,
            no_show_fee: Piasters(1500),
            due_limit: Piasters(5000),
            debt_limit: Piasters(20_000),
            cash_step: Piasters(50),
        },
        scheduled_at: None,
    })
}

/// Transactions that have written anything so far, this one too.
async fn transactions(postgres: &Postgres) -> anyhow::Result<f64> {
    let count: i64 =
        sqlx::query_scalar("SELECT txid_current()").fetch_one(&mut postgres.owner().await?).await?;
    Ok(count as f64)
}

fn changes(accepted: &[Arc<Trip>]) -> Vec<[Change; CHANGES]> {
    let of_one = |trip: &Arc<Trip>| {
        let arrive = Change::of(trip, EventName::Arrived, Status::Arrived);
        let start = Change::of(&arrive.after, EventName::Started, Status::Started);
        [arrive, start]
    };
    accepted.iter().map(of_one).collect()
}

impl Change {
    fn of(before: &Trip, event: EventName, status: Status) -> Self {
        let at = Clock::system().now();
        let event = TripEvent::next(before, event, status, Side::Driver, at);
        let trip = evolve(before, &event);
        let row = json!([{
            "id": trip.id, "version": trip.version, "epoch": trip.epoch, "side": Side::Driver,
            "actor": trip.driver, "event": event.event.domain(), "payload": event, "at": at,
            "status": trip.status, "payment_status": trip.payment_status,
            "driver_id": trip.driver, "queued_behind": trip.queued_behind,
            "final_price": trip.final_price, "hold": trip.hold.0, "distance_m": trip.distance_m,
            "duration_s": trip.duration_s, "rounds": trip.rounds, "excluded": trip.excluded,
            "cancelled_by": trip.cancelled_by, "cancel_reason": trip.cancel_reason,
            "cancel_fee": trip.cancel_fee.0, "requested_at": trip.requested_at,
            "accepted_at": trip.accepted_at, "arrived_at": trip.arrived_at,
            "started_at": trip.started_at, "ended_at": trip.ended_at,
        }]);
        Self { payload: json!(event).to_string(), argument: row.to_string(), after: trip, event }
    }
}

async fn plain(connection: &mut PgConnection, change: &Change) -> anyhow::Result<()> {
    let Change { after, event, payload, .. } = change;
    let mut tx = connection.begin().await?;
    let moved = sqlx::query(UPDATE)
        .bind(after.id.0)
        .bind(after.version)
        .bind(after.status.name())
        .bind(after.arrived_at.map(at))
        .bind(after.started_at.map(at))
        .execute(&mut *tx)
        .await?;
    ensure!(moved.rows_affected() == 1, "trip {} didn't move", after.id);
    for insert in [EVENT, OUTBOX] {
        sqlx::query(insert)
            .bind(after.id.0)
            .bind(event.seq)
            .bind(event.event.domain())
            .bind(payload)
            .bind(at(event.at))
            .execute(&mut *tx)
            .await?;
    }
    Ok(tx.commit().await?)
}

/// The work of so many tasks.
fn shares<T: Clone>(of: &[T], tasks: usize) -> impl Iterator<Item = Vec<T>> {
    of.chunks(of.len().div_ceil(tasks).max(1)).map(<[T]>::to_vec)
}

async fn all<T: Send + 'static>(mut tasks: JoinSet<anyhow::Result<T>>) -> anyhow::Result<Vec<T>> {
    let mut answers = Vec::new();
    while let Some(answer) = tasks.join_next().await {
        answers.push(answer??);
    }
    Ok(answers)
}
