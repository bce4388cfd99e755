//! SQL of what operators chose.

use base::{CityId, Fault, Millis, UserId};
use sqlx::FromRow;
use storage::{Db, Tx, Who};
use tracing::warn;
use uuid::Uuid;

use super::Choice;
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
