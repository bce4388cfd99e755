//! All SQL of sagas. Every change is a compare-and-set on where the saga stood, so that a runner
//! that only seemed dead changes nothing.

use base::Fault;
use serde_json::Value;
use sqlx::Row as _;
use sqlx::types::Json;
use storage::{Db, Tx, Who, fault};
use uuid::Uuid;

use super::{Course, Row};

impl Course {
    const ALL: [Self; 4] = [Self::Forward, Self::Back, Self::Done, Self::Undone];

    const fn name(self) -> &'static str {
        match self {
            Self::Forward => "running",
            Self::Back => "undoing",
            Self::Done => "done",
            Self::Undone => "undone",
        }
    }
}

/// The saga of `subject`; begun when there is none.
pub(crate) async fn open(db: &Db, kind: &str, subject: Uuid, state: &Value) -> Result<Row, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    sqlx::query(
        "INSERT INTO sagas (id, kind, subject, state) VALUES ($1, $2, $3, $4) \
         ON CONFLICT (kind, subject) DO NOTHING",
    )
    .bind(Uuid::now_v7())
    .bind(kind)
    .bind(subject)
    .bind(Json(state))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    let row = sqlx::query(
        "SELECT id, status, step, state, failure FROM sagas WHERE kind = $1 AND subject = $2",
    )
    .bind(kind)
    .bind(subject)
    .fetch_one(tx.conn())
    .await
    .map_err(fault)?;
    tx.commit().await?;
    let status: &str = row.try_get("status").map_err(fault)?;
    let course = Course::ALL.into_iter().find(|course| course.name() == status);
    Ok(Row {
        id: row.try_get("id").map_err(fault)?,
        course: course.ok_or_else(|| Fault::internal(format!("a saga is {status}")))?,
        step: row.try_get("step").map_err(fault)?,
        state: row.try_get::<Json<Value>, _>("state").map_err(fault)?.0,
        failure: row.try_get("failure").map_err(fault)?,
    })
}

pub(crate) async fn note_in_tx(
    tx: &mut Tx,
    row: &Row,
    step: i16,
    state: &Value,
) -> Result<bool, Fault> {
    let noted = sqlx::query(
        "UPDATE sagas SET step = $4, state = $5, changed_at = now() \
         WHERE id = $1 AND status = $2 AND step = $3",
    )
    .bind(row.id)
    .bind(row.course.name())
    .bind(row.step)
    .bind(step)
    .bind(Json(state))
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(noted.rows_affected() == 1)
}

pub(crate) async fn turn_in_tx(
    tx: &mut Tx,
    row: &Row,
    course: Course,
    step: i16,
    failure: Option<&str>,
) -> Result<bool, Fault> {
    let turned = sqlx::query(
        "UPDATE sagas SET status = $4, step = $5, failure = $6, changed_at = now() \
         WHERE id = $1 AND status = $2 AND step = $3",
    )
    .bind(row.id)
    .bind(row.course.name())
    .bind(row.step)
    .bind(course.name())
    .bind(step)
    .bind(failure)
    .execute(tx.conn())
    .await
    .map_err(fault)?;
    Ok(turned.rows_affected() == 1)
}
