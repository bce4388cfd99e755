//! Facts of drivers' sessions: who went online and who went offline, written behind.
//!
//! A crash may lose those of the last seconds: nobody's money or trip depends on them. Positions
//! are no facts, so these say in which city, not where.

use std::sync::Arc;
use std::time::Duration;

use base::{CityId, DriverId, Fault, Millis, Tier};
use events::Fact;
use ops::Tasks;
use serde::Serialize;
use storage::{Behind, BehindLimits, Db, Who};

const LIMITS: BehindLimits =
    BehindLimits { capacity: 50_000, batch: 200, every: Duration::from_secs(2) };

/// Payload of `DRIVER_ONLINE` and `DRIVER_OFFLINE`, version 1.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Session {
    pub(crate) driver_id: DriverId,
    pub(crate) city_id: CityId,
    pub(crate) vehicle_type: Tier,
    pub(crate) at: Millis,
    #[serde(skip)]
    pub(crate) turn: Turn,
}

/// Which end of a session it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turn {
    Online,
    Offline,
}

impl Turn {
    const fn kind(self) -> &'static str {
        match self {
            Self::Online => "DRIVER_ONLINE",
            Self::Offline => "DRIVER_OFFLINE",
        }
    }
}

pub(crate) fn sessions_behind(db: &Db, tasks: &Tasks) -> Behind<Session> {
    let db = db.clone();
    Behind::start(tasks, "driver_sessions", LIMITS, |_| None, move |rows| write(db.clone(), rows))
}

async fn write(db: Db, rows: Arc<[Session]>) -> Result<(), Fault> {
    // In order of the driver, so that two nodes can't hold the same ones crosswise; stable, so that
    // his own stay in order.
    let mut rows: Vec<&Session> = rows.iter().collect();
    rows.sort_by_key(|row| row.driver_id);
    let mut tx = db.begin(&Who::System).await?;
    for row in rows {
        let fact = Fact {
            aggregate: "driver",
            id: row.driver_id.0,
            kind: row.turn.kind(),
            version: 1,
            payload: row,
            at: row.at,
        };
        // A batch whose commit got lost comes again.
        events::append_once_in_tx(&mut tx, &fact).await?;
    }
    tx.commit().await
}
