//! The daily partitions of history and of dispatch's snapshots: made ahead, dropped whole, never
//! emptied by DELETE.

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

/// Days for which snapshots of dispatch's decisions are kept: complaints come within a few.
pub const SNAPSHOT_DAYS: u16 = 7;

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
    let history =
        "SELECT partition, done FROM history_partitions(($1 AT TIME ZONE 'UTC')::date, $2)";
    turn(db, history, now, keep_days).await
}

/// The same for what dispatch's decisions were made from.
pub async fn snapshot_partitions(
    db: &Db,
    now: Millis,
    keep_days: u16,
) -> Result<PartitionChanges, Fault> {
    let snapshots = "SELECT partition, done \
        FROM unnest(ARRAY['dispatch_snapshots', 'dispatch_rounds']) AS parent, \
          day_partitions(parent, ($1 AT TIME ZONE 'UTC')::date, $2)";
    turn(db, snapshots, now, keep_days).await
}

async fn turn(
    db: &Db,
    sql: &'static str,
    now: Millis,
    keep_days: u16,
) -> Result<PartitionChanges, Fault> {
    let mut tx = db.begin(&Who::System).await?;
    let rows: Vec<(String, String)> = sqlx::query_as(sql)
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
            let now = clock.now();
            let turns = [
                ("history", partitions(&db, now, keep_days).await),
                ("snapshots", snapshot_partitions(&db, now, SNAPSHOT_DAYS).await),
            ];
            let mut wait = EVERY;
            for (of, turn) in turns {
                match turn {
                    Ok(PartitionChanges { made, dropped }) => {
                        if !made.is_empty() || !dropped.is_empty() {
                            info!(?made, ?dropped, "partitions of {of} changed");
                        }
                    }
                    Err(fault) => {
                        counter!("smartline_partition_failures_total").increment(1);
                        warn!(%fault, "partitions of {of} were left as they are");
                        wait = AFTER_A_FAILURE;
                    }
                }
            }
            tokio::select! {
                () = stopping.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    });
}
