//! SQL of what operators chose.

use base::{CityId, Fault, Millis, UserId};
use sqlx::FromRow;
use storage::{Db, Tx, Who};
use tracing::warn;
use uuid::Uuid;

use super::{Choice, ShadowChoice};
use crate::strategy::Strategy;

#[derive(FromRow)]
struct Row {
    city_id: i16,
    strategy: String,
    allowed: Vec<String>,
    version: i32,
    changed_at: jiff_sqlx::Timestamp,
    changed_by: Uuid,
}

impl Row {
    /// `None` for a strategy that only a newer program knows.
    fn choice(self) -> Option<Choice> {
        let Some(strategy) = Strategy::parse(&self.strategy) else {
            warn!(city.id = self.city_id, strategy = self.strategy, "an unknown strategy");
            return None;
        };
        Some(Choice {
            city: CityId(self.city_id),
            strategy,
            allowed: self.allowed.iter().filter_map(|name| Strategy::parse(name)).collect(),
            version: self.version,
            chosen: Some((storage::millis(self.changed_at), UserId(self.changed_by))),
        })
    }
}

pub(crate) async fn all(db: &Db) -> Result<Vec<Choice>, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let rows: Vec<Row> = sqlx::query_as("SELECT * FROM city_dispatch")
        .fetch_all(tx.conn())
        .await
        .map_err(storage::fault)?;
    tx.commit().await?;
    Ok(rows.into_iter().filter_map(Row::choice).collect())
}

/// What is chosen for this city.
pub async fn choice_in_tx(tx: &mut Tx, city: CityId) -> Result<Choice, Fault> {
    let row: Option<Row> = sqlx::query_as("SELECT * FROM city_dispatch WHERE city_id = $1")
        .bind(city.0)
        .fetch_optional(tx.conn())
        .await
        .map_err(storage::fault)?;
    Ok(row.and_then(Row::choice).unwrap_or_else(|| Choice::usual(city)))
}

const CHOOSE: &str = "
INSERT INTO city_dispatch AS c (city_id, strategy, allowed, changed_at, changed_by)
VALUES ($1, $2, coalesce($3::text[], '{}'), $4, $5)
ON CONFLICT ON CONSTRAINT one_choice_per_city DO UPDATE SET strategy = excluded.strategy,
  allowed = coalesce($3::text[], c.allowed), version = c.version + 1,
  changed_at = excluded.changed_at, changed_by = excluded.changed_by
RETURNING *";

/// Chooses how the city finds drivers; `allowed` stays as it is when absent. It counts once the
/// caller has committed it and told [`crate::Dispatch::adopt`].
pub async fn choose_in_tx(
    tx: &mut Tx,
    city: CityId,
    strategy: Strategy,
    allowed: Option<&[Strategy]>,
    (by, at): (UserId, Millis),
) -> Result<Choice, Fault> {
    let names = |list: &[Strategy]| list.iter().map(|one| one.name()).collect::<Vec<_>>();
    let row: Row = sqlx::query_as(CHOOSE)
        .bind(city.0)
        .bind(strategy.name())
        .bind(allowed.map(names))
        .bind(storage::at(at))
        .bind(by.0)
        .fetch_one(tx.conn())
        .await
        .map_err(storage::fault)?;
    row.choice().ok_or_else(|| Fault::internal(format!("the choice of city {}", city.0)))
}

#[derive(FromRow)]
struct ShadowRow {
    city_id: i16,
    strategy: Option<String>,
    changed_at: jiff_sqlx::Timestamp,
    changed_by: Uuid,
}

impl ShadowRow {
    /// A strategy that only a newer program knows is no shadow.
    fn choice(self) -> ShadowChoice {
        ShadowChoice {
            city: CityId(self.city_id),
            strategy: self.strategy.as_deref().and_then(Strategy::parse),
            at: storage::millis(self.changed_at),
            by: UserId(self.changed_by),
        }
    }
}

/// What runs beside the cities' own.
pub(crate) async fn shadows(db: &Db) -> Result<Vec<ShadowChoice>, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let sql = "SELECT city_id, strategy, changed_at, changed_by FROM city_shadows";
    let rows: Vec<ShadowRow> =
        sqlx::query_as(sql).fetch_all(tx.conn()).await.map_err(storage::fault)?;
    tx.commit().await?;
    Ok(rows.into_iter().map(ShadowRow::choice).collect())
}

/// What runs beside this city's own; none where nobody ever chose.
pub async fn shadow_of_in_tx(tx: &mut Tx, city: CityId) -> Result<Option<ShadowChoice>, Fault> {
    let sql = "SELECT city_id, strategy, changed_at, changed_by FROM city_shadows \
               WHERE city_id = $1";
    let row: Option<ShadowRow> =
        sqlx::query_as(sql).bind(city.0).fetch_optional(tx.conn()).await.map_err(storage::fault)?;
    Ok(row.map(ShadowRow::choice))
}

const SHADOW: &str = "
INSERT INTO city_shadows (city_id, strategy, changed_at, changed_by) VALUES ($1, $2, $3, $4)
ON CONFLICT ON CONSTRAINT one_shadow_per_city DO UPDATE SET strategy = excluded.strategy,
  changed_at = excluded.changed_at, changed_by = excluded.changed_by";

/// Lets a strategy run beside the city's own, or none. It counts once the caller has committed it
/// and called [`crate::Dispatch::load_choices`].
pub async fn shadow_in_tx(tx: &mut Tx, choice: &ShadowChoice) -> Result<(), Fault> {
    sqlx::query(SHADOW)
        .bind(choice.city.0)
        .bind(choice.strategy.map(Strategy::name))
        .bind(storage::at(choice.at))
        .bind(choice.by.0)
        .execute(tx.conn())
        .await
        .map_err(storage::fault)?;
    Ok(())
}
