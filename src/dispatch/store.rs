//! All SQL of dispatch: offers and trace lines, written behind, and the trace as it is read back.
//!
//! Durability class B: what is lost in a crash is the record of the last moments, never a trip. An
//! offer's row goes from `pending` to its outcome once; nothing that comes late overwrites it. What
//! its driver bids is written into it on the way.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base::{DriverId, Fault, Millis, OfferId, Piasters, TripId};
use fleet::Misconduct;
use ops::Tasks;
use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use storage::{Behind, BehindLimits, Db, Who};
use tracing::warn;
use uuid::Uuid;

use crate::board::{Ended, Rules};
use crate::model::{Considered, OfferPlan, Outcome, Part};
use crate::score::Parts;
use crate::snapshot::{self, Snapshot};
use crate::wire::TraceRow;

/// Offers that wait for the writer; the oldest are dropped first.
const OFFERS_WAITING: usize = 20_000;
/// Trace lines that wait for the writer; the oldest are dropped first.
const LINES_WAITING: usize = 50_000;
/// Snapshots that wait for the writer; the oldest are dropped first. Mostly some kilobytes each, a
/// large batch some hundred.
const SNAPSHOTS_WAITING: usize = 512;
/// Snapshots of one statement.
const SNAPSHOTS_AT_ONCE: usize = 64;
/// Rows of one statement.
const BATCH: usize = 1_000;
const EVERY: Duration = Duration::from_millis(250);
/// Most lines of a trace that are read back.
const TRACE_LINES: i64 = 5_000;

/// An offer as it stands: open, or over.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OfferRecord {
    plan: OfferPlan,
    end: Option<(Outcome, Millis)>,
}

impl OfferRecord {
    pub(crate) fn made(plan: &OfferPlan) -> Self {
        Self { plan: plan.clone(), end: None }
    }

    pub(crate) fn ended(ended: Ended) -> Self {
        Self { plan: ended.plan, end: Some((ended.outcome, ended.at)) }
    }

    fn status(&self) -> &'static str {
        self.end.map_or("pending", |(outcome, _)| outcome.name())
    }

    #[cfg(test)]
    pub(crate) fn in_words(&self) -> String {
        format!("{} {}", self.plan.driver.as_u128(), self.status())
    }
}

/// The writers.
pub(crate) struct Records {
    snapshots: Behind<snapshot::store::Row>,
    offers: Behind<OfferRecord>,
    lines: Behind<Considered>,
}

impl Records {
    /// `rules` are what every decision goes by that is kept.
    pub(crate) fn start(db: &Db, tasks: &Tasks, rules: &Rules) -> Self {
        let (for_offers, for_lines, for_snapshots) = (db.clone(), db.clone(), db.clone());
        let rules = Arc::new(rules.clone());
        Self::with(
            tasks,
            move |batch| {
                let db = for_offers.clone();
                async move { write_offers(&db, &batch).await }
            },
            move |batch| {
                let db = for_lines.clone();
                async move { write_lines(&db, &batch).await }
            },
            move |batch| {
                let (db, rules) = (for_snapshots.clone(), Arc::clone(&rules));
                async move { snapshot::store::write(&db, &rules, &batch).await }
            },
        )
    }

    /// With other writes in place of the database's.
    pub(crate) fn with<A, FutA, B, FutB, C, FutC>(
        tasks: &Tasks,
        offers: A,
        lines: B,
        snapshots: C,
    ) -> Self
    where
        A: Fn(Arc<[OfferRecord]>) -> FutA + Send + Sync + 'static,
        FutA: Future<Output = Result<(), Fault>> + Send + 'static,
        B: Fn(Arc<[Considered]>) -> FutB + Send + Sync + 'static,
        FutB: Future<Output = Result<(), Fault>> + Send + 'static,
        C: Fn(Arc<[snapshot::store::Row]>) -> FutC + Send + Sync + 'static,
        FutC: Future<Output = Result<(), Fault>> + Send + 'static,
    {
        let limits = |capacity| BehindLimits { capacity, batch: BATCH, every: EVERY };
        let few = BehindLimits { batch: SNAPSHOTS_AT_ONCE, ..limits(SNAPSHOTS_WAITING) };
        // No keys: an offer's two states may go in one batch or in two, but in their order.
        Self {
            offers: Behind::start(tasks, "offers", limits(OFFERS_WAITING), |_| None, offers),
            lines: Behind::start(tasks, "dispatch trace", limits(LINES_WAITING), |_| None, lines),
            snapshots: Behind::start(tasks, "dispatch snapshots", few, |_| None, snapshots),
        }
    }

    pub(crate) fn offer(&self, record: OfferRecord) {
        self.offers.push(record);
    }

    pub(crate) fn considered(&self, line: Considered) {
        self.lines.push(line);
    }

    pub(crate) fn keep(&self, snapshot: &Snapshot) {
        self.snapshots.push(snapshot::store::Row::of(snapshot));
    }

    pub(crate) async fn flush(&self) {
        self.offers.flush().await;
        self.lines.flush().await;
        // Last: they are the largest and the least missed.
        self.snapshots.flush().await;
    }
}

/// The newest record of each offer: one statement can't touch a row twice.
fn newest(batch: &[OfferRecord]) -> Vec<&OfferRecord> {
    let mut order: Vec<OfferId> = Vec::with_capacity(batch.len());
    let mut newest: HashMap<OfferId, &OfferRecord> = HashMap::with_capacity(batch.len());
    for record in batch {
        let known = newest.entry(record.plan.offer).or_insert_with(|| {
            order.push(record.plan.offer);
            record
        });
        if known.end.is_none() {
            *known = record;
        }
    }
    order.iter().filter_map(|offer| newest.remove(offer)).collect()
}

pub(crate) async fn write_offers(db: &Db, batch: &[OfferRecord]) -> Result<(), Fault> {
    let records = newest(batch);
    match offers_upsert(db, &records).await {
        Err(Refused::NoSuchOwner) => {}
        Err(Refused::Fault(fault)) => return Err(fault),
        Ok(()) => return Ok(()),
    }
    // One offer of a trip or driver that is gone must not hold up the others for ever.
    for record in records {
        match offers_upsert(db, &[record]).await {
            Ok(()) => {}
            Err(Refused::NoSuchOwner) => {
                warn!(offer.id = %record.plan.offer, trip.id = %record.plan.trip,
                    "the trip or driver of an offer is gone; the offer is not recorded");
            }
            Err(Refused::Fault(fault)) => return Err(fault),
        }
    }
    Ok(())
}

enum Refused {
    /// The trip or the driver is not in the database.
    NoSuchOwner,
    Fault(Fault),
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

const OFFERS_UPSERT: &str = "
INSERT INTO trip_offers AS o
  (id, trip_id, driver_id, round, status, score, distance_m, eta_s, created_at, expires_at,
   ended_at, price, standby)
SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::uuid[], $4::smallint[], $5::text[], $6::real[],
  $7::integer[], $8::integer[], $9::timestamptz[], $10::timestamptz[], $11::timestamptz[],
  $12::bigint[], $13::boolean[])
ON CONFLICT (id) DO UPDATE SET status = excluded.status, ended_at = excluded.ended_at,
  price = excluded.price
  WHERE o.status = 'pending'";

async fn offers_upsert(db: &Db, records: &[&OfferRecord]) -> Result<(), Refused> {
    let column = |pick: fn(&OfferRecord) -> Uuid| -> Vec<Uuid> {
        records.iter().map(|record| pick(record)).collect()
    };
    let number = |pick: fn(&OfferRecord) -> u32| -> Vec<i32> {
        records.iter().map(|record| i32::try_from(pick(record)).unwrap_or(i32::MAX)).collect()
    };
    let mut tx = db.begin(&Who::System).await?;
    let result = sqlx::query(OFFERS_UPSERT)
        .bind(column(|r| r.plan.offer.into()))
        .bind(column(|r| r.plan.trip.into()))
        .bind(column(|r| r.plan.driver.into()))
        .bind(records.iter().map(|r| small(r.plan.round)).collect::<Vec<_>>())
        .bind(records.iter().map(|r| r.status()).collect::<Vec<_>>())
        .bind(records.iter().map(|r| r.plan.score).collect::<Vec<_>>())
        .bind(number(|r| r.plan.distance_m))
        .bind(number(|r| r.plan.eta_s))
        .bind(records.iter().map(|r| storage::at(r.plan.made)).collect::<Vec<_>>())
        .bind(records.iter().map(|r| storage::at(r.plan.until)).collect::<Vec<_>>())
        .bind(records.iter().map(|r| r.end.map(|(_, at)| storage::at(at))).collect::<Vec<_>>())
        .bind(records.iter().map(|r| r.plan.bid.map(|bid| bid.0)).collect::<Vec<_>>())
        .bind(records.iter().map(|r| r.plan.role == Part::StandBy).collect::<Vec<_>>())
        .execute(tx.conn())
        .await;
    match result {
        Ok(_) => Ok(tx.commit().await?),
        Err(e)
            if storage::breaks(&e, "trip_offers_trip_id_fkey")
                || storage::breaks(&e, "trip_offers_driver_id_fkey") =>
        {
            Err(Refused::NoSuchOwner)
        }
        Err(e) => Err(Refused::Fault(storage::fault(e))),
    }
}

const LINES_INSERT: &str = "
INSERT INTO dispatch_trace
  (trip_id, at, round, driver_id, verdict, score, distance_m, eta_s, parts, queue_place, conduct)
SELECT * FROM UNNEST($1::uuid[], $2::timestamptz[], $3::smallint[], $4::uuid[], $5::text[],
  $6::real[], $7::integer[], $8::integer[], $9::jsonb[], $10::integer[], $11::text[])";

pub(crate) async fn write_lines(db: &Db, lines: &[Considered]) -> Result<(), Fault> {
    let mut tx = db.begin(&Who::System).await?;
    sqlx::query(LINES_INSERT)
        .bind(lines.iter().map(|l| l.trip.0).collect::<Vec<_>>())
        .bind(lines.iter().map(|l| storage::at(l.at)).collect::<Vec<_>>())
        .bind(lines.iter().map(|l| small(l.round)).collect::<Vec<_>>())
        .bind(lines.iter().map(|l| l.driver.0).collect::<Vec<_>>())
        .bind(lines.iter().map(|l| l.verdict.name()).collect::<Vec<_>>())
        .bind(lines.iter().map(|l| l.score).collect::<Vec<_>>())
        .bind(lines.iter().map(|l| int(l.distance_m)).collect::<Vec<_>>())
        .bind(lines.iter().map(|l| l.eta_s.map(int)).collect::<Vec<_>>())
        .bind(lines.iter().map(|l| l.parts.map(Json)).collect::<Vec<_>>())
        .bind(lines.iter().map(|l| l.in_line.map(int)).collect::<Vec<_>>())
        .bind(lines.iter().map(|l| l.conduct.map(Misconduct::name)).collect::<Vec<_>>())
        .execute(tx.conn())
        .await
        .map_err(storage::fault)?;
    tx.commit().await
}

fn small(round: u16) -> i16 {
    i16::try_from(round).unwrap_or(i16::MAX)
}

fn int(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

const LINES: &str = "
SELECT at, round, driver_id, verdict, score, distance_m, eta_s, parts, queue_place, conduct
FROM dispatch_trace WHERE trip_id = $1 ORDER BY at LIMIT $2";

const ANSWERS: &str = "
SELECT driver_id, created_at, status, ended_at, price FROM trip_offers
WHERE trip_id = $1 ORDER BY created_at LIMIT $2";

/// How an offer stands, or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: String,
    pub(crate) ended: Option<Millis>,
    pub(crate) bid: Option<Piasters>,
}

/// What was said of drivers, and what those said who were asked, by the moment of the offer.
pub(crate) async fn trace(
    db: &Db,
    who: &Who,
    trip: TripId,
) -> Result<(Vec<TraceRow>, HashMap<(DriverId, Millis), Answer>), Fault> {
    let mut tx = db.begin(who).await?;
    let mut read = async |sql: &'static str| {
        let query = sqlx::query(sql).bind(trip.0).bind(TRACE_LINES);
        query.fetch_all(tx.conn()).await.map_err(storage::fault)
    };
    let (lines, answers) = (read(LINES).await?, read(ANSWERS).await?);
    tx.commit().await?;
    let lines = lines.iter().map(trace_row).collect::<Result<_, _>>().map_err(storage::fault)?;
    let answers = answers.iter().map(answer).collect::<Result<_, _>>().map_err(storage::fault)?;
    Ok((lines, answers))
}

fn answer(row: &PgRow) -> Result<((DriverId, Millis), Answer), sqlx::Error> {
    let key = (DriverId(row.try_get("driver_id")?), storage::millis(row.try_get("created_at")?));
    let ended = row.try_get::<Option<_>, _>("ended_at")?.map(storage::millis);
    let bid = row.try_get::<Option<_>, _>("price")?.map(Piasters);
    Ok((key, Answer { status: row.try_get("status")?, ended, bid }))
}

fn trace_row(row: &PgRow) -> Result<TraceRow, sqlx::Error> {
    let unsigned = |number: i32| u32::try_from(number).unwrap_or(0);
    Ok(TraceRow {
        at: storage::millis(row.try_get("at")?),
        round: u16::try_from(row.try_get::<i16, _>("round")?).unwrap_or(0),
        driver_id: DriverId(row.try_get("driver_id")?),
        verdict: row.try_get("verdict")?,
        score: row.try_get("score")?,
        distance: unsigned(row.try_get("distance_m")?),
        eta: row.try_get::<Option<i32>, _>("eta_s")?.map(unsigned),
        parts: row.try_get::<Option<Json<Parts>>, _>("parts")?.map(|parts| parts.0),
        queue_place: row.try_get::<Option<i32>, _>("queue_place")?.map(unsigned),
        conduct: row.try_get::<Option<&str>, _>("conduct")?.and_then(Misconduct::parse),
        answer: None,
        answered_at: None,
        bid: None,
    })
}
