//! Facts of drivers' sessions, written behind: who went online and who went offline, and which
//! fences he entered, stayed in and left meanwhile, each driver's in their order.
//!
//! A crash may lose those of the last seconds: nobody's money or trip depends on them. Positions
//! are no facts, so these say in which city and fence, not where.

use std::sync::Arc;
use std::time::Duration;

use base::{CityId, DriverId, Fault, Millis, Tier};
use events::Fact;
use geo::FenceKind;
use ops::Tasks;
use serde::Serialize;
use storage::{Behind, BehindLimits, Db, Tx, Who};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::visits;

const LIMITS: BehindLimits =
    BehindLimits { capacity: 50_000, batch: 200, every: Duration::from_secs(2) };

/// The facts that this file tells.
pub const SESSION_FACTS: [&str; 2] = [Turn::Online.kind(), Turn::Offline.kind()];
pub const FENCE_FACTS: [&str; 3] = [
    fence_kind(visits::Turn::Entered),
    fence_kind(visits::Turn::Dwelt),
    fence_kind(visits::Turn::Left),
];

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

/// Payload of `DRIVER_ENTERED_FENCE`, `DRIVER_DWELT_IN_FENCE` and `DRIVER_LEFT_FENCE`, version 1.
/// Who goes offline leaves; of a restart nobody is told, and who is seen again enters.
#[derive(Clone, Copy, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriverAtFence {
    pub driver_id: DriverId,
    pub city_id: CityId,
    pub fence_id: Uuid,
    /// What the fence is: `service_area`, `restricted`, `airport` or `surge`.
    #[schema(value_type = String)]
    pub kind: FenceKind,
    pub at: Millis,
    #[serde(skip)]
    pub(crate) turn: visits::Turn,
}

const fn fence_kind(turn: visits::Turn) -> &'static str {
    match turn {
        visits::Turn::Entered => "DRIVER_ENTERED_FENCE",
        visits::Turn::Dwelt => "DRIVER_DWELT_IN_FENCE",
        visits::Turn::Left => "DRIVER_LEFT_FENCE",
    }
}

/// A fact that waits to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Note {
    Session(DriverSession),
    Fence(DriverAtFence),
}

impl Note {
    const fn driver(&self) -> DriverId {
        match self {
            Self::Session(session) => session.driver_id,
            Self::Fence(at_fence) => at_fence.driver_id,
        }
    }

    // A batch whose commit got lost comes again.
    async fn append_in_tx(&self, tx: &mut Tx) -> Result<(), Fault> {
        let (aggregate, id, version) = ("driver", self.driver().0, 1);
        let told = match self {
            Self::Session(payload) => {
                let (kind, at) = (payload.turn.kind(), payload.at);
                let fact = Fact { aggregate, id, kind, version, payload, at };
                events::append_once_in_tx(tx, &fact).await
            }
            Self::Fence(payload) => {
                let (kind, at) = (fence_kind(payload.turn), payload.at);
                let fact = Fact { aggregate, id, kind, version, payload, at };
                events::append_once_in_tx(tx, &fact).await
            }
        };
        told.map(drop)
    }
}

pub(crate) fn notes_behind(db: &Db, tasks: &Tasks) -> Behind<Note> {
    let db = db.clone();
    Behind::start(tasks, "driver_sessions", LIMITS, |_| None, move |rows| write(db.clone(), rows))
}

async fn write(db: Db, rows: Arc<[Note]>) -> Result<(), Fault> {
    // In order of the driver, so that two nodes can't hold the same ones crosswise; stable, so that
    // his own stay in order.
    let mut rows: Vec<&Note> = rows.iter().collect();
    rows.sort_by_key(|row| row.driver());
    let mut tx = db.begin(&Who::System).await?;
    for row in rows {
        row.append_in_tx(&mut tx).await?;
    }
    tx.commit().await
}
