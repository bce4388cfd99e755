//! How a queue looks from outside.

use base::{DriverId, Millis};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::rules::LostPlace;
use crate::model::State;

/// A driver's place in the queue of an airport: `queue.position`, `GET /drivers/queue`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueuePlaceView {
    pub fence_id: Uuid,
    pub airport: String,
    /// 1 is next; null: he has no place here any more.
    pub position: Option<u32>,
    /// Drivers in the queue.
    pub waiting: u32,
    /// Since when he has his place.
    pub since: Option<Millis>,
    /// Where he lost the place he had: why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<LostPlace>,
}

/// The queue of an airport: `GET /admin/fences/{id}/queue`.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FenceQueueView {
    pub fence_id: Uuid,
    pub airport: String,
    /// All who stand in it; of them the first 500 are in the list.
    pub waiting: u32,
    pub drivers: Vec<QueuedView>,
}

/// A driver in the queue.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct QueuedView {
    /// 1 is next.
    pub position: u32,
    pub driver_id: DriverId,
    /// Since when he has his place.
    pub since: Millis,
    /// Trips of this airport that he refused since he came.
    pub refusals: u8,
    /// `available`, `offered`, or `offline` where the program was restarted and expects him back.
    pub state: State,
}
