//! SQL of what operators change of the prices. Every change rings [`RULES`]; the record of it is
//! written by the tables themselves.

use base::{CityId, Cursor, Fault, Millis, Piasters, Tier, UserId};
use jiff_sqlx::Timestamp;
use serde_json::Value;
use sqlx::FromRow;
use sqlx::postgres::PgRow;
use sqlx::types::Json;
use storage::{Tx, at, before, breaks, fault, millis};
use uuid::Uuid;

use super::wire::{ChangeView, ChangesPage, EventView, EventsPage, HoursView, TariffView};
use super::{
    ChangeSubject, EVENTS_MAX, Fit, HOURS_MAX, NewEvent, NewHours, NewTariff, RULES, Span,
    Withdrawn, fit,
};
use crate::store::{Corners, multiplier, outline, place};
use crate::tariff::Factor;

/// Columns of a tariff, where the rest of the statement holds.
macro_rules! tariffs {
    ($rest:literal) => {
        concat!(
            "SELECT id, city_id, tier, base_fare, per_km, per_minute, minimum_fare, booking_fee, ",
            "commission_bp, lower(valid) AS valid_from, upper(valid) AS valid_until ",
            "FROM tariffs WHERE ",
            $rest
        )
    };
}

const TARIFF: &str = tariffs!("id = $1");

const TARIFFS_OF_CITY: &str = tariffs!(
    "city_id = $1 AND (upper_inf(valid) OR upper(valid) > $2) ORDER BY tier, lower(valid)"
);

// Whoever changes tariffs of the same city and tier waits here, before he looks: of rows alone he
// would not see one that was put between them meanwhile.
const TURN: &str = "SELECT pg_advisory_xact_lock(hashtextextended($1::text || ' ' || $2, 742020))";

const SPANS: &str = "\
SELECT id, lower(valid) AS valid_from, upper(valid) AS valid_until FROM tariffs
WHERE city_id = $1 AND tier = $2 AND (upper_inf(valid) OR upper(valid) > $3)
ORDER BY lower(valid)";

const TARIFF_ENDS: &str = "UPDATE tariffs SET valid = tstzrange(lower(valid), $2) WHERE id = $1";

const TARIFF_ADD: &str = "\
INSERT INTO tariffs (id, city_id, tier, base_fare, per_km, per_minute, minimum_fare, booking_fee,
  commission_bp, valid)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, tstzrange($10, $11))";

const HOURS: &str = "\
SELECT id, city_id, day_of_week, start_hour, end_hour, multiplier_bp, description
FROM time_multipliers WHERE id = $1";

const HOURS_OF_CITY: &str = "\
SELECT id, city_id, day_of_week, start_hour, end_hour, multiplier_bp, description
FROM time_multipliers WHERE city_id = $1 ORDER BY day_of_week NULLS FIRST, start_hour, id";

const HOURS_ADD: &str = "\
INSERT INTO time_multipliers (id, city_id, day_of_week, start_hour, end_hour, multiplier_bp,
  description)
SELECT $1, $2, $3, $4, $5, $6, $7
WHERE (SELECT count(*) FROM time_multipliers WHERE city_id = $2) < $8
RETURNING id, city_id, day_of_week, start_hour, end_hour, multiplier_bp, description";

const EVENT: &str = "SELECT * FROM event_multipliers WHERE id = $1";
const EVENT_LOCK: &str = "SELECT * FROM event_multipliers WHERE id = $1 FOR UPDATE";

const EVENTS_OF_CITY: &str = "\
SELECT * FROM event_multipliers
WHERE city_id = $1 AND (date_trunc('milliseconds', created_at), id) < ($2, $3)
ORDER BY created_at DESC, id DESC LIMIT $4";

const EVENT_ADD: &str = "\
INSERT INTO event_multipliers (id, city_id, name, center_lat, center_lng, radius_m, corners,
  starts_at, ends_at, multiplier_bp, asked_bp, created_by, created_at)
SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13
WHERE (SELECT count(*) FROM event_multipliers WHERE city_id = $2 AND ends_at > $13) < $14
RETURNING *";

// One that has not begun never will.
const EVENT_ENDS: &str = "\
UPDATE event_multipliers SET ends_at = greatest(starts_at, $2) WHERE id = $1 AND ends_at > $2
RETURNING *";

const EVENT_APPROVED: &str = "\
UPDATE event_multipliers SET multiplier_bp = asked_bp, approved_by = $2 WHERE id = $1
RETURNING *";

pub(super) const CHANGES: &str = "\
SELECT seq, at, subject, object_id, actor_id, reason, before, after FROM city_changes
WHERE city_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3";

pub(super) const CHANGES_OF: &str = "\
SELECT seq, at, subject, object_id, actor_id, reason, before, after FROM city_changes
WHERE city_id = $1 AND seq < $2 AND subject = $4 ORDER BY seq DESC LIMIT $3";

#[derive(FromRow)]
struct TariffRow {
    id: Uuid,
    city_id: i16,
    tier: String,
    base_fare: i64,
    per_km: i64,
    per_minute: i64,
    minimum_fare: i64,
    booking_fee: i64,
    commission_bp: i32,
    valid_from: Option<Timestamp>,
    valid_until: Option<Timestamp>,
}

impl TariffRow {
    fn view(self) -> Result<TariffView, Fault> {
        let tier = Tier::parse(&self.tier)
            .ok_or_else(|| Fault::internal(format!("tariff of unknown tier {}", self.tier)))?;
        Ok(TariffView {
            id: self.id,
            city_id: CityId(self.city_id),
            vehicle_type: tier,
            base_fare: Piasters(self.base_fare),
            per_km: Piasters(self.per_km),
            per_minute: Piasters(self.per_minute),
            minimum_fare: Piasters(self.minimum_fare),
            booking_fee: Piasters(self.booking_fee),
            commission_percent: f64::from(self.commission_bp) / 100.0,
            valid_from: self.valid_from.map(millis),
            valid_until: self.valid_until.map(millis),
        })
    }
}

#[derive(FromRow)]
struct SpanRow {
    id: Uuid,
    valid_from: Option<Timestamp>,
    valid_until: Option<Timestamp>,
}

#[derive(FromRow)]
struct HoursRow {
    id: Uuid,
    city_id: i16,
    day_of_week: Option<i16>,
    start_hour: i16,
    end_hour: i16,
    multiplier_bp: i32,
    description: String,
}

impl HoursRow {
    fn view(self) -> Result<HoursView, Fault> {
        Ok(HoursView {
            id: self.id,
            city_id: CityId(self.city_id),
            day: self.day_of_week,
            start_hour: self.start_hour,
            end_hour: self.end_hour,
            multiplier: multiplier(self.multiplier_bp)?.as_f32(),
            name: self.description,
        })
    }
}

#[derive(FromRow)]
struct EventRow {
    id: Uuid,
    city_id: i16,
    name: String,
    center_lat: f64,
    center_lng: f64,
    radius_m: i32,
    corners: Option<Corners>,
    starts_at: Timestamp,
    ends_at: Timestamp,
    multiplier_bp: i32,
    asked_bp: Option<i32>,
    created_by: Option<Uuid>,
    created_at: Timestamp,
    approved_by: Option<Uuid>,
}

impl EventRow {
    fn view(self) -> Result<EventView, Fault> {
        let corners = self.corners.map(outline).transpose()?;
        let asked = self.asked_bp.map(multiplier).transpose()?;
        Ok(EventView {
            id: self.id,
            city_id: CityId(self.city_id),
            name: self.name,
            corners: corners.map(|outline| outline.corners().to_vec()),
            center: place(self.center_lat, self.center_lng)?,
            radius: self.radius_m,
            starts_at: millis(self.starts_at),
            ends_at: millis(self.ends_at),
            multiplier: multiplier(self.multiplier_bp)?.as_f32(),
            asked_multiplier: asked.map(Factor::as_f32),
            created_by: self.created_by.map(UserId),
            created_at: millis(self.created_at),
            approved_by: self.approved_by.map(UserId),
        })
    }
}

#[derive(FromRow)]
struct ChangeRow {
    seq: i64,
    at: Timestamp,
    subject: String,
    object_id: Uuid,
    actor_id: Option<Uuid>,
    reason: String,
    before: Option<Value>,
    after: Option<Value>,
}

impl ChangeRow {
    fn view(self) -> Result<ChangeView, Fault> {
        let known = ChangeSubject::ALL.into_iter().find(|one| one.name() == self.subject);
        let subject =
            known.ok_or_else(|| Fault::internal(format!("change of {}", self.subject)))?;
        Ok(ChangeView {
            at: millis(self.at),
            subject,
            object_id: self.object_id,
            actor_id: self.actor_id.map(UserId),
            reason: self.reason,
            before: self.before,
            after: self.after,
        })
    }
}

/// Tariffs of a city that are or will be in force.
pub async fn tariffs_of_city_in_tx(
    tx: &mut Tx,
    city: CityId,
    now: Millis,
) -> Result<Vec<TariffView>, Fault> {
    let rows: Vec<TariffRow> = sqlx::query_as(TARIFFS_OF_CITY)
        .bind(city.0)
        .bind(at(now))
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    rows.into_iter().map(TariffRow::view).collect()
}

pub async fn tariff_in_tx(tx: &mut Tx, id: Uuid) -> Result<Option<TariffView>, Fault> {
    let row: Option<TariffRow> =
        sqlx::query_as(TARIFF).bind(id).fetch_optional(tx.conn()).await.map_err(fault)?;
    row.map(TariffRow::view).transpose()
}

/// The tariff from its moment on, until the next change that is scheduled; the one before ends
/// there. `None` when another one begins just then, or somebody else schedules at the same time.
pub async fn tariff_schedule_in_tx(
    tx: &mut Tx,
    new: &NewTariff,
) -> Result<Option<TariffView>, Fault> {
    let spans = spans_in_tx(tx, new.city, new.tier.name(), new.from).await?;
    let Fit::Free { ends, until } = fit(&spans, new.from) else { return Ok(None) };
    if let Some(id) = ends {
        tariff_end_in_tx(tx, id, Some(new.from)).await?;
    }
    let added = sqlx::query(TARIFF_ADD)
        .bind(new.id)
        .bind(new.city.0)
        .bind(new.tier.name())
        .bind(new.base_fare.0)
        .bind(new.per_km.0)
        .bind(new.per_minute.0)
        .bind(new.minimum_fare.0)
        .bind(new.booking_fee.0)
        .bind(i32::try_from(new.commission.0).unwrap_or(i32::MAX))
        .bind(at(new.from))
        .bind(until.map(at))
        .execute(tx.conn())
        .await;
    match added {
        Err(error) if breaks(&error, "one_tariff_at_a_time") => return Ok(None),
        other => other.map_err(fault)?,
    };
    tx.rings(RULES);
    tariff_in_tx(tx, new.id).await
}

/// Takes a tariff back that is not in force yet; the one that would have ended there goes on.
pub async fn tariff_withdraw_in_tx(tx: &mut Tx, id: Uuid, now: Millis) -> Result<Withdrawn, Fault> {
    let Some(tariff) = tariff_in_tx(tx, id).await? else { return Ok(Withdrawn::Unknown) };
    let spans = spans_in_tx(tx, tariff.city_id, tariff.vehicle_type.name(), now).await?;
    // As it stands now that nobody else changes it.
    let Some(span) = spans.iter().find(|span| span.id == id) else {
        return Ok(Withdrawn::Unknown);
    };
    if span.from <= now {
        return Ok(Withdrawn::Begun);
    }
    sqlx::query("DELETE FROM tariffs WHERE id = $1")
        .bind(id)
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    if let Some(former) = spans.iter().find(|former| former.until == Some(span.from)) {
        tariff_end_in_tx(tx, former.id, span.until).await?;
    }
    tx.rings(RULES);
    Ok(Withdrawn::Done)
}

async fn spans_in_tx(
    tx: &mut Tx,
    city: CityId,
    tier: &str,
    since: Millis,
) -> Result<Vec<Span>, Fault> {
    sqlx::query(TURN).bind(city.0).bind(tier).execute(tx.conn()).await.map_err(fault)?;
    let rows: Vec<SpanRow> = sqlx::query_as(SPANS)
        .bind(city.0)
        .bind(tier)
        .bind(at(since))
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    let span = |row: SpanRow| Span {
        id: row.id,
        from: row.valid_from.map_or(Millis(i64::MIN), millis),
        until: row.valid_until.map(millis),
    };
    Ok(rows.into_iter().map(span).collect())
}

async fn tariff_end_in_tx(tx: &mut Tx, id: Uuid, until: Option<Millis>) -> Result<(), Fault> {
    sqlx::query(TARIFF_ENDS)
        .bind(id)
        .bind(until.map(at))
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    Ok(())
}

pub async fn hours_in_tx(tx: &mut Tx, id: Uuid) -> Result<Option<HoursView>, Fault> {
    let row: Option<HoursRow> =
        sqlx::query_as(HOURS).bind(id).fetch_optional(tx.conn()).await.map_err(fault)?;
    row.map(HoursRow::view).transpose()
}

pub async fn hours_of_city_in_tx(tx: &mut Tx, city: CityId) -> Result<Vec<HoursView>, Fault> {
    let rows: Vec<HoursRow> =
        sqlx::query_as(HOURS_OF_CITY).bind(city.0).fetch_all(tx.conn()).await.map_err(fault)?;
    rows.into_iter().map(HoursRow::view).collect()
}

/// `None` when the city has as many as it may.
pub async fn hours_add_in_tx(tx: &mut Tx, new: &NewHours) -> Result<Option<HoursView>, Fault> {
    let row: Option<HoursRow> = sqlx::query_as(HOURS_ADD)
        .bind(new.id)
        .bind(new.city.0)
        .bind(new.day)
        .bind(new.start_hour)
        .bind(new.end_hour)
        .bind(basis_points(new.factor))
        .bind(&new.name)
        .bind(HOURS_MAX)
        .fetch_optional(tx.conn())
        .await
        .map_err(fault)?;
    tx.rings(RULES);
    row.map(HoursRow::view).transpose()
}

/// Were there such hours?
pub async fn hours_end_in_tx(tx: &mut Tx, id: Uuid) -> Result<bool, Fault> {
    let ended = sqlx::query("DELETE FROM time_multipliers WHERE id = $1")
        .bind(id)
        .execute(tx.conn())
        .await
        .map_err(fault)?;
    tx.rings(RULES);
    Ok(ended.rows_affected() > 0)
}

pub async fn event_in_tx(tx: &mut Tx, id: Uuid) -> Result<Option<EventView>, Fault> {
    event_read_in_tx(tx, EVENT, id).await
}

/// The event, for whoever is about to decide about it.
pub async fn event_lock_in_tx(tx: &mut Tx, id: Uuid) -> Result<Option<EventView>, Fault> {
    event_read_in_tx(tx, EVENT_LOCK, id).await
}

async fn event_read_in_tx(
    tx: &mut Tx,
    statement: &'static str,
    id: Uuid,
) -> Result<Option<EventView>, Fault> {
    let row: Option<EventRow> =
        sqlx::query_as(statement).bind(id).fetch_optional(tx.conn()).await.map_err(fault)?;
    row.map(EventRow::view).transpose()
}

/// Events of a city, the newest first, ended ones too.
pub async fn events_in_tx(
    tx: &mut Tx,
    city: CityId,
    after: Option<Cursor>,
    limit: u32,
) -> Result<EventsPage, Fault> {
    let limit = limit.clamp(1, base::limits::PAGE_MAX) as usize;
    let (time, id) = before(after);
    let rows: Vec<EventRow> = sqlx::query_as(EVENTS_OF_CITY)
        .bind(city.0)
        .bind(time)
        .bind(id)
        .bind(limit as i64 + 1)
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    let more = rows.len() > limit;
    let events = rows.into_iter().take(limit).map(EventRow::view);
    let events: Vec<EventView> = events.collect::<Result<_, Fault>>()?;
    let last = events.last().filter(|_| more);
    let next_cursor = last.map(|last| Cursor { at: last.created_at, id: last.id }.to_string());
    Ok(EventsPage { events, next_cursor })
}

/// `None` when the city has as many as it may that are not over.
pub async fn event_add_in_tx(tx: &mut Tx, new: &NewEvent) -> Result<Option<EventView>, Fault> {
    let corners = new.outline.corners().iter().map(|corner| (corner.lat(), corner.lng()));
    let center = new.outline.center();
    let asked = (new.factor > Factor::CAP).then(|| basis_points(new.factor));
    let row: Option<EventRow> = sqlx::query_as(EVENT_ADD)
        .bind(new.id)
        .bind(new.city.0)
        .bind(&new.name)
        .bind(center.lat())
        .bind(center.lng())
        .bind(new.outline.radius_m().ceil().max(1.0) as i32)
        .bind(Json(corners.collect::<Vec<_>>()))
        .bind(at(new.starts))
        .bind(at(new.ends))
        .bind(basis_points(new.factor.min(Factor::CAP)))
        .bind(asked)
        .bind(new.by.0)
        .bind(at(new.at))
        .bind(EVENTS_MAX)
        .fetch_optional(tx.conn())
        .await
        .map_err(fault)?;
    tx.rings(RULES);
    row.map(EventRow::view).transpose()
}

/// Over from now on; `None` when it is over already.
pub async fn event_end_in_tx(
    tx: &mut Tx,
    id: Uuid,
    now: Millis,
) -> Result<Option<EventView>, Fault> {
    let row: Option<EventRow> = sqlx::query_as(EVENT_ENDS)
        .bind(id)
        .bind(at(now))
        .fetch_optional(tx.conn())
        .await
        .map_err(fault)?;
    tx.rings(RULES);
    row.map(EventRow::view).transpose()
}

/// What was asked for is in force, by the word of `by`.
pub async fn event_approve_in_tx(tx: &mut Tx, id: Uuid, by: UserId) -> Result<EventView, Fault> {
    let row: EventRow = sqlx::query_as(EVENT_APPROVED)
        .bind(id)
        .bind(by.0)
        .fetch_one(tx.conn())
        .await
        .map_err(fault)?;
    tx.rings(RULES);
    row.view()
}

/// What changed in a city, the newest first.
pub async fn changes_in_tx(
    tx: &mut Tx,
    city: CityId,
    subject: Option<ChangeSubject>,
    after: Option<Cursor>,
    limit: u32,
) -> Result<ChangesPage, Fault> {
    let limit = limit.clamp(1, base::limits::PAGE_MAX) as usize;
    // The number of the last one stands in the cursor's id.
    let below = after.and_then(|cursor| i64::try_from(cursor.id.as_u128()).ok());
    let statement = if subject.is_some() { CHANGES_OF } else { CHANGES };
    let mut asked =
        sqlx::query(statement).bind(city.0).bind(below.unwrap_or(i64::MAX)).bind(limit as i64 + 1);
    if let Some(subject) = subject {
        asked = asked.bind(subject.name());
    }
    let rows: Vec<PgRow> = asked.fetch_all(tx.conn()).await.map_err(fault)?;
    let more = rows.len() > limit;
    let rows = rows.iter().take(limit).map(ChangeRow::from_row);
    let rows: Vec<ChangeRow> = rows.collect::<Result<_, _>>().map_err(fault)?;
    let last = rows.last().filter(|_| more).map(|last| Cursor {
        at: millis(last.at),
        id: Uuid::from_u128(last.seq.unsigned_abs().into()),
    });
    let changes = rows.into_iter().map(ChangeRow::view).collect::<Result<_, Fault>>()?;
    Ok(ChangesPage { changes, next_cursor: last.map(|cursor| cursor.to_string()) })
}

fn basis_points(factor: Factor) -> i32 {
    i32::try_from(factor.0).unwrap_or(i32::MAX)
}
