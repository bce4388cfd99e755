//! SQL of fences that operators change. Every change rings [`MAP`]; the record of it is written by
//! the table itself.

use base::{CityId, Cursor, Fault, Millis};
use geo::FenceKind;
use jiff_sqlx::Timestamp;
use sqlx::FromRow;
use sqlx::types::Json;
use storage::{Tx, at, before, fault, millis};
use uuid::Uuid;

use super::{FENCES_MAX, FenceForm, FenceView, FencesPage, MAP, NewFence};
use crate::store::place;

const FENCE: &str = "SELECT * FROM geofences WHERE id = $1";
const FENCE_LOCK: &str = "SELECT * FROM geofences WHERE id = $1 FOR UPDATE";

const FENCES: &str = "\
SELECT * FROM geofences
WHERE city_id = $1 AND (date_trunc('milliseconds', created_at), id) < ($2, $3)
ORDER BY created_at DESC, id DESC LIMIT $4";

const FENCE_ADD: &str = "\
INSERT INTO geofences (id, city_id, kind, name, corners, multiplier_bp, created_at)
SELECT $1, $2, $3, $4, $5, $6, $7
WHERE (SELECT count(*) FROM geofences WHERE city_id = $2 AND disabled_at IS NULL) < $8
RETURNING *";

const FENCE_CHANGE: &str = "\
UPDATE geofences SET name = $2, corners = $3, multiplier_bp = $4 WHERE id = $1 RETURNING *";

const FENCE_DISABLE: &str = "UPDATE geofences SET disabled_at = $2 WHERE id = $1 RETURNING *";

#[derive(FromRow)]
struct FenceRow {
    id: Uuid,
    city_id: i16,
    kind: String,
    name: String,
    corners: Json<Vec<(f64, f64)>>,
    multiplier_bp: Option<i32>,
    created_at: Timestamp,
    disabled_at: Option<Timestamp>,
}

impl FenceRow {
    fn view(self) -> Result<FenceView, Fault> {
        let kind = FenceKind::parse(&self.kind)
            .ok_or_else(|| Fault::internal(format!("fence kind {}", self.kind)))?;
        let corners = self.corners.0.into_iter().map(|(lat, lng)| place(lat, lng));
        Ok(FenceView {
            id: self.id,
            city_id: CityId(self.city_id),
            kind,
            name: self.name,
            corners: corners.collect::<Result<_, Fault>>()?,
            multiplier: self.multiplier_bp.map(|share| f64::from(share) / 10_000.0),
            created_at: millis(self.created_at),
            disabled_at: self.disabled_at.map(millis),
        })
    }
}

pub async fn fence_in_tx(tx: &mut Tx, id: Uuid) -> Result<Option<FenceView>, Fault> {
    read_in_tx(tx, FENCE, id).await
}

/// The fence, for whoever is about to change it.
pub async fn fence_lock_in_tx(tx: &mut Tx, id: Uuid) -> Result<Option<FenceView>, Fault> {
    read_in_tx(tx, FENCE_LOCK, id).await
}

async fn read_in_tx(
    tx: &mut Tx,
    statement: &'static str,
    id: Uuid,
) -> Result<Option<FenceView>, Fault> {
    let row: Option<FenceRow> =
        sqlx::query_as(statement).bind(id).fetch_optional(tx.conn()).await.map_err(fault)?;
    row.map(FenceRow::view).transpose()
}

/// Fences of a city, the newest first, disabled ones too.
pub async fn fences_in_tx(
    tx: &mut Tx,
    city: CityId,
    after: Option<Cursor>,
    limit: u32,
) -> Result<FencesPage, Fault> {
    let limit = limit.clamp(1, base::limits::PAGE_MAX) as usize;
    let (time, id) = before(after);
    let rows: Vec<FenceRow> = sqlx::query_as(FENCES)
        .bind(city.0)
        .bind(time)
        .bind(id)
        .bind(limit as i64 + 1)
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    let more = rows.len() > limit;
    let fences = rows.into_iter().take(limit).map(FenceRow::view);
    let fences: Vec<FenceView> = fences.collect::<Result<_, Fault>>()?;
    let last = fences.last().filter(|_| more);
    let next_cursor = last.map(|last| Cursor { at: last.created_at, id: last.id }.to_string());
    Ok(FencesPage { fences, next_cursor })
}

/// `None` when the city has as many as it may.
pub async fn fence_add_in_tx(tx: &mut Tx, new: &NewFence) -> Result<Option<FenceView>, Fault> {
    let row: Option<FenceRow> = sqlx::query_as(FENCE_ADD)
        .bind(new.id)
        .bind(new.city.0)
        .bind(new.kind.name())
        .bind(&new.form.name)
        .bind(corners(&new.form))
        .bind(multiplier(&new.form))
        .bind(at(new.at))
        .bind(FENCES_MAX)
        .fetch_optional(tx.conn())
        .await
        .map_err(fault)?;
    tx.rings(MAP);
    row.map(FenceRow::view).transpose()
}

pub async fn fence_change_in_tx(
    tx: &mut Tx,
    id: Uuid,
    form: &FenceForm,
) -> Result<FenceView, Fault> {
    let row: FenceRow = sqlx::query_as(FENCE_CHANGE)
        .bind(id)
        .bind(&form.name)
        .bind(corners(form))
        .bind(multiplier(form))
        .fetch_one(tx.conn())
        .await
        .map_err(fault)?;
    tx.rings(MAP);
    row.view()
}

/// It means nothing from now on.
pub async fn fence_disable_in_tx(tx: &mut Tx, id: Uuid, now: Millis) -> Result<FenceView, Fault> {
    let row: FenceRow = sqlx::query_as(FENCE_DISABLE)
        .bind(id)
        .bind(at(now))
        .fetch_one(tx.conn())
        .await
        .map_err(fault)?;
    tx.rings(MAP);
    row.view()
}

fn corners(form: &FenceForm) -> Json<Vec<(f64, f64)>> {
    Json(form.outline.corners().iter().map(|corner| (corner.lat(), corner.lng())).collect())
}

fn multiplier(form: &FenceForm) -> Option<i32> {
    form.multiplier.map(|share| i32::try_from(share.0).unwrap_or(i32::MAX))
}
