//! The daily partitions of history: made ahead, dropped whole, never emptied by DELETE.

use std::time::Duration;

use base::{Clock, Fault, Millis};
use metrics::counter;
use ops::Tasks;
use tracing::{info, warn};

use crate::db::Db;
use crate::fault::{at, fault};
use crate::tx::Who;

/// Days of history kept by default.
pub const HISTORY_DAYS: u16 = 90;

/// Partitions reach a week ahead, so an hour more or less doesn't matter.
const EVERY: Duration = Duration::from_secs(3600);
const AFTER_A_FAILURE: Duration = Duration::from_secs(60);

/// What a turn changed, by the partitions' names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PartitionChanges {
    pub made: Vec<String>,
    pub dropped: Vec<String>,
}

/// Makes the partitions from two days before `now` to seven days ahead and drops those that ended
/// more than `keep_days` ago. Several nodes may do it at once: one at a time works.
pub async fn partitions(db: &Db, now: Millis, keep_days: u16) -> Result<PartitionChanges, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT partition, done FROM history_partitions(($1 AT TIME ZONE 'UTC')::date, $2)",
    )
    .bind(at(now))
    .bind(i32::from(keep_days))
    .fetch_all(&mut *tx)
    .await
    .map_err(fault)?;
    tx.commit().await?;
    let mut changes = PartitionChanges::default();
    for (name, done) in rows {
        let list = if done == "made" { &mut changes.made } else { &mut changes.dropped };
        list.push(name);
    }
    Ok(changes)
}

/// Keeps the partitions in step with time until the node stops. The first turn is taken at once.
pub fn keep_partitions(db: Db, tasks: &Tasks, clock: Clock, keep_days: u16) {
    let stopping = tasks.stopping();
    tasks.spawn("history partitions", async move {
        loop {
            let wait = match partitions(&db, clock.now(), keep_days).await {
                Ok(PartitionChanges { made, dropped }) => {
                    if !made.is_empty() || !dropped.is_empty() {
                        info!(?made, ?dropped, "history partitions changed");
                    }
                    EVERY
                }
                Err(fault) => {
                    counter!("smartline_partition_failures_total").increment(1);
                    warn!(%fault, "history partitions were left as they are");
                    AFTER_A_FAILURE
                }
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    });
}
