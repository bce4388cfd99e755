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
use utoipa::ToSchema;

const LIMITS: BehindLimits =
    BehindLimits { capacity: 50_000, batch: 200, every: Duration::from_secs(2) };

/// The facts that this file tells.
pub const SESSION_FACTS: [&str; 2] = [Turn::Online.kind(), Turn::Offline.kind()];

/// Payload of `DRIVER_ONLINE` and `DRIVER_OFFLINE`, version 1.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriverSession {
    pub driver_id: DriverId,
    pub city_id: CityId,
    pub vehicle_type: Tier,
    pub at: Millis,
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

pub(crate) fn sessions_behind(db: &Db, tasks: &Tasks) -> Behind<DriverSession> {
    let db = db.clone();
    Behind::start(tasks, "driver_sessions", LIMITS, |_| None, move |rows| write(db.clone(), rows))
}

async fn write(db: Db, rows: Arc<[DriverSession]>) -> Result<(), Fault> {
    // In order of the driver, so that two nodes can't hold the same ones crosswise; stable, so that
    // his own stay in order.
    let mut rows: Vec<&DriverSession> = rows.iter().collect();
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
