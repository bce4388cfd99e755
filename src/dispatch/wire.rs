//! How a search and its trace look from outside.

use base::{CityId, DriverId, Millis, UserId};
use serde::Serialize;
use utoipa::ToSchema;

use crate::score::Parts;
use crate::strategy::Strategy;

/// Where the finding of a driver stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Matching {
    Searching,
    OffersPending,
    Matched,
    NoDrivers,
    Cancelled,
}

/// `GET /trips/{id}/matching-status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MatchingStatus {
    pub status: Matching,
    /// 1 is next; only while nobody is being asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u32>,
}

impl MatchingStatus {
    pub const fn searching(queue_position: Option<u32>) -> Self {
        Self { status: Matching::Searching, queue_position }
    }

    pub const fn offers_pending() -> Self {
        Self { status: Matching::OffersPending, queue_position: None }
    }

    pub const fn matched() -> Self {
        Self { status: Matching::Matched, queue_position: None }
    }

    pub const fn no_drivers() -> Self {
        Self { status: Matching::NoDrivers, queue_position: None }
    }

    pub const fn cancelled() -> Self {
        Self { status: Matching::Cancelled, queue_position: None }
    }
}

/// How a city finds drivers: `GET /admin/cities/{id}/dispatch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CityDispatchView {
    #[schema(value_type = i16)]
    pub city_id: CityId,
    pub strategy: Strategy,
    /// What a request may name beside it.
    pub allowed: Vec<Strategy>,
    /// Absent where nobody chose yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_at: Option<Millis>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed_by: Option<UserId>,
}

/// One line of `GET /admin/trips/{id}/dispatch-trace`: a driver, and what was made of him.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TraceRow {
    pub at: Millis,
    pub round: u16,
    pub driver_id: DriverId,
    /// `offered`, `ranked` (eligible, others were asked first), or what kept the driver out.
    pub verdict: String,
    pub score: Option<f32>,
    /// Driver to pickup, metres.
    pub distance: u32,
    /// Driver to pickup, seconds.
    pub eta: Option<u32>,
    pub parts: Option<Parts>,
    /// How the offer of this round ended: `pending`, `accepted`, `declined`, `expired`, `revoked`
    /// or `lost`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Millis>,
}
