//! SQL of experiments. Every change rings [`RULES`]; the record of it is written by the table
//! itself.

use base::{BasisPoints, CityId, Cursor, Fault, Millis, UserId};
use jiff_sqlx::Timestamp;
use sqlx::FromRow;
use sqlx::types::Json;
use storage::{Tx, at, before, breaks, fault, millis};
use uuid::Uuid;

use super::wire::{ExperimentView, ExperimentsPage, VariantView};
use super::{Experiment, NewExperiment, Stored, Variant};
use crate::rulebook::RULES;

const TO_COME: &str = "SELECT * FROM pricing_experiments WHERE ends_at > $1";

const ONE: &str = "SELECT * FROM pricing_experiments WHERE id = $1";
const ONE_LOCKED: &str = "SELECT * FROM pricing_experiments WHERE id = $1 FOR UPDATE";

pub(super) const OF_CITY: &str = "\
SELECT * FROM pricing_experiments
WHERE city_id = $1 AND (date_trunc('milliseconds', created_at), id) < ($2, $3)
ORDER BY created_at DESC, id DESC LIMIT $4";

const ADD: &str = "\
INSERT INTO pricing_experiments (id, city_id, name, starts_at, ends_at, share_bp, variants,
  created_by, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) RETURNING *";

// One that has not begun never will.
const ENDS: &str = "\
UPDATE pricing_experiments SET ends_at = greatest(starts_at, $2)
WHERE id = $1 AND ends_at > greatest(starts_at, $2) RETURNING *";

#[derive(FromRow)]
struct Row {
    id: Uuid,
    city_id: i16,
    name: String,
    starts_at: Timestamp,
    ends_at: Timestamp,
    share_bp: i32,
    variants: Json<Vec<Stored>>,
    created_by: Uuid,
    created_at: Timestamp,
}

impl Row {
    fn view(self) -> ExperimentView {
        let variants = self.variants.0.into_iter().map(Variant::from);
        ExperimentView {
            id: self.id,
            city_id: CityId(self.city_id),
            name: self.name,
            starts_at: millis(self.starts_at),
            ends_at: millis(self.ends_at),
            share_percent: f64::from(self.share_bp) / 100.0,
            variants: variants.map(VariantView::from).collect(),
            created_by: UserId(self.created_by),
            created_at: millis(self.created_at),
        }
    }
}

/// Those that run at `now` or later.
pub(crate) async fn load_in_tx(tx: &mut Tx, now: Millis) -> Result<Vec<Experiment>, Fault> {
    let rows: Vec<Row> =
        sqlx::query_as(TO_COME).bind(at(now)).fetch_all(tx.conn()).await.map_err(fault)?;
    let experiment = |row: Row| Experiment {
        id: row.id,
        city: CityId(row.city_id),
        starts: millis(row.starts_at),
        ends: millis(row.ends_at),
        share: BasisPoints(row.share_bp.into()),
        variants: row.variants.0.into_iter().map(Variant::from).collect(),
    };
    Ok(rows.into_iter().map(experiment).collect())
}

pub async fn experiment_in_tx(tx: &mut Tx, id: Uuid) -> Result<Option<ExperimentView>, Fault> {
    read_in_tx(tx, ONE, id).await
}

/// The experiment, for whoever is about to decide about it.
pub async fn experiment_lock_in_tx(tx: &mut Tx, id: Uuid) -> Result<Option<ExperimentView>, Fault> {
    read_in_tx(tx, ONE_LOCKED, id).await
}

async fn read_in_tx(
    tx: &mut Tx,
    statement: &'static str,
    id: Uuid,
) -> Result<Option<ExperimentView>, Fault> {
    let row: Option<Row> =
        sqlx::query_as(statement).bind(id).fetch_optional(tx.conn()).await.map_err(fault)?;
    Ok(row.map(Row::view))
}

/// Experiments of a city, the newest first, those that are over too.
pub async fn experiments_in_tx(
    tx: &mut Tx,
    city: CityId,
    after: Option<Cursor>,
    limit: u32,
) -> Result<ExperimentsPage, Fault> {
    let limit = limit.clamp(1, base::limits::PAGE_MAX) as usize;
    let (time, id) = before(after);
    let rows: Vec<Row> = sqlx::query_as(OF_CITY)
        .bind(city.0)
        .bind(time)
        .bind(id)
        .bind(limit as i64 + 1)
        .fetch_all(tx.conn())
        .await
        .map_err(fault)?;
    let more = rows.len() > limit;
    let experiments: Vec<ExperimentView> = rows.into_iter().take(limit).map(Row::view).collect();
    let last = experiments.last().filter(|_| more);
    let next_cursor = last.map(|last| Cursor { at: last.created_at, id: last.id }.to_string());
    Ok(ExperimentsPage { experiments, next_cursor })
}

/// `None` when another one of the city runs at some time of it.
pub async fn experiment_add_in_tx(
    tx: &mut Tx,
    new: &NewExperiment,
) -> Result<Option<ExperimentView>, Fault> {
    let added: Result<Row, _> = sqlx::query_as(ADD)
        .bind(new.id)
        .bind(new.city.0)
        .bind(&new.name)
        .bind(at(new.starts))
        .bind(at(new.ends))
        .bind(i32::try_from(new.share.0).unwrap_or(i32::MAX))
        .bind(Json(new.variants.iter().map(Stored::from).collect::<Vec<_>>()))
        .bind(new.by.0)
        .bind(at(new.at))
        .fetch_one(tx.conn())
        .await;
    tx.rings(RULES);
    match added {
        Err(error) if breaks(&error, "one_experiment_at_a_time") => Ok(None),
        other => other.map(|row| Some(row.view())).map_err(fault),
    }
}

/// Over from now on; `None` when it is over already.
pub async fn experiment_end_in_tx(
    tx: &mut Tx,
    id: Uuid,
    now: Millis,
) -> Result<Option<ExperimentView>, Fault> {
    let row: Option<Row> = sqlx::query_as(ENDS)
        .bind(id)
        .bind(at(now))
        .fetch_optional(tx.conn())
        .await
        .map_err(fault)?;
    tx.rings(RULES);
    Ok(row.map(Row::view))
}
